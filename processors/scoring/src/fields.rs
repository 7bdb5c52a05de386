//! Reads a TOML table strictly: an unknown key, a missing key and a value of the wrong kind are all collected, each with
//! its line, so that one look shows everything that is wrong.

use toml_edit::{Item, Table};

use crate::error::{Problem, did_you_mean, nearest};

/// A table, what is known about it, and where its problems go.
pub(crate) struct Fields<'a> {
    pub text: &'a str,
    /// Put before each key in messages: `output.` or nothing.
    pub prefix: &'static str,
    pub table: &'a Table,
    pub problems: &'a mut Vec<Problem>,
}

impl Fields<'_> {
    /// Reports every key that is not among `known`.
    pub fn only(&mut self, known: &[&str]) {
        for (key, item) in self.table.iter().filter(|(key, _)| !known.contains(key)) {
            let hint = did_you_mean(&nearest(key, known.iter().copied()));
            let line = self.line_of_key(key, item);
            self.report(line, key, format!("unknown key{hint}"));
        }
    }

    /// The value of `key` as `read` takes it; otherwise reports that `expected` was expected.
    pub fn get<T>(&mut self, key: &str, expected: &str, read: impl Fn(&Item) -> Option<T>) -> Option<T> {
        let Some(item) = self.table.get(key) else {
            let line = line_at(self.text, self.table.span().map(|span| span.start));
            self.report(line, key, format!("missing; expected {expected}"));
            return None;
        };
        let value = read(item);
        if value.is_none() {
            let line = self.line_of_key(key, item);
            self.report(line, key, format!("{} is not {expected}", shown(item)));
        }
        value
    }

    pub fn report(&mut self, line: usize, key: &str, detail: String) {
        self.problems.push(Problem { line, key: format!("{}{key}", self.prefix), detail });
    }

    pub fn line_of(&self, key: &str) -> usize {
        self.table.get(key).map_or(1, |item| self.line_of_key(key, item))
    }

    fn line_of_key(&self, key: &str, item: &Item) -> usize {
        let key_span = self.table.key(key).and_then(|key| key.span());
        line_at(self.text, key_span.or(item.span()).map(|span| span.start))
    }
}

/// The line, counted from 1, that holds byte `at`.
pub(crate) fn line_at(text: &str, at: Option<usize>) -> usize {
    let before = text.as_bytes().get(..at.unwrap_or(0)).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// A value as written, cut so that a message stays one line.
fn shown(item: &Item) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    match item.as_value() {
        Some(value) => value.to_string().trim().chars().take(SHOWN_CHARS_MAX).collect(),
        None => format!("a {}", item.type_name()),
    }
}

pub(crate) fn text(item: &Item) -> Option<String> {
    item.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

pub(crate) fn finite(item: &Item) -> Option<f64> {
    let integer = item.as_integer().map(|value| value as f64);
    item.as_float().or(integer).filter(|value| value.is_finite())
}

pub(crate) fn fraction(item: &Item) -> Option<f64> {
    finite(item).filter(|value| (0.0..=1.0).contains(value))
}

pub(crate) fn count(item: &Item) -> Option<u64> {
    item.as_integer().and_then(|value| u64::try_from(value).ok())
}
