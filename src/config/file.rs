//! The text of a TOML file → what it says about each key, with its place; and what no key explains.
//!
//! Values are not judged here (`check.rs` does). When the text is no TOML at all, that one problem is all there is to
//! say about it. Limits: a file of at most [`FILE_BYTES_MAX`].

use super::{
    kind::Written,
    problem::{Place, Problem, Severity},
    schema::{Key, Role, Section, nearest},
};
use std::ops::Range;
use toml_edit::{Document, Item, TableLike, Value as TomlValue};

pub const FILE_BYTES_MAX: usize = 1 << 20;
const SHOWN_CHARS_MAX: usize = 120;

/// One value found in the file or in a variable.
#[derive(Debug, Clone)]
pub struct Found {
    pub section: &'static Section,
    pub key: &'static Key,
    pub written: Written,
    /// As it stands there, for messages; `…` for a secret.
    pub shown: String,
    pub place: Place,
}

/// Reads `text`; `name` is how messages call the file. The error: it is no TOML, or too much.
pub fn read(role: &Role, name: &str, text: &str) -> Result<(Vec<Found>, Vec<Problem>), Box<Problem>> {
    let mut reading = Reading { role, name, text, found: Vec::new(), problems: Vec::new() };
    if text.len() > FILE_BYTES_MAX {
        return Err(Box::new(reading.whole_file(format!("the file is larger than {FILE_BYTES_MAX} bytes"))));
    }
    let document = Document::parse(text).map_err(|error| Box::new(reading.syntax(error.message(), error.span())))?;
    reading.sections(document.as_table());
    Ok((reading.found, reading.problems))
}

struct Reading<'a> {
    role: &'a Role,
    name: &'a str,
    text: &'a str,
    found: Vec<Found>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn sections(&mut self, root: &toml_edit::Table) {
        for (name, item) in root.iter() {
            let span = key_span(root, name).or_else(|| item.span());
            match (self.role.section(name), item.as_table_like()) {
                (Some(section), Some(table)) => self.keys(section, table),
                (Some(section), None) => {
                    let write = format!("[{0}]", section.name);
                    self.stray(name, span, "is a section and must be a table".to_owned(), Some(write));
                }
                (None, Some(_)) => self.unknown_section(name, span),
                (None, None) => self.outside_sections(name, span),
            }
        }
    }

    fn keys(&mut self, section: &'static Section, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let key_span = key_span(table, name);
            match section.key(name) {
                Some(key) => {
                    let span = item.span().or(key_span).unwrap_or(0..0);
                    let shown = if key.secret { "…".to_owned() } else { shortened(self.slice(&span)) };
                    let place = self.place(&span, key.secret);
                    self.found.push(Found { section, key, written: written(item), shown, place });
                }
                None => self.unknown_key(section, name, key_span),
            }
        }
    }

    fn unknown_section(&mut self, name: &str, span: Option<Range<usize>>) {
        let known = self.role.sections.iter().map(|section| section.name);
        let all = known.clone().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", ");
        let write = nearest(name, known).map(|near| format!("[{near}]"));
        let message = format!("is not a section of the {}'s file", self.role.name);
        self.push(name, span, message, Some(all), write);
    }

    fn outside_sections(&mut self, name: &str, span: Option<Range<usize>>) {
        let home = self.role.keys().find(|(_, key)| key.name == name);
        let home = home.or_else(|| {
            let near = nearest(name, self.role.keys().map(|(_, key)| key.name))?;
            self.role.keys().find(|(_, key)| key.name == near)
        });
        let write = home.map(|(section, key)| format!("{} under [{}]", key.name, section.name));
        self.stray(name, span, "stands outside any section".to_owned(), write);
    }

    fn unknown_key(&mut self, section: &'static Section, name: &str, span: Option<Range<usize>>) {
        let elsewhere = self.role.keys().find(|(_, key)| key.name == name);
        let write = match (elsewhere, nearest(name, section.keys.iter().map(|key| key.name))) {
            (Some((other, key)), _) => Some(format!("{} under [{}]", key.name, other.name)),
            (None, Some(near)) => Some(near.to_owned()),
            (None, None) => None,
        };
        let all = section.keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ");
        let message = format!("is not a key of [{}]", section.name);
        self.push(&format!("{}.{name}", section.name), span, message, Some(all), write);
    }

    fn stray(&mut self, key: &str, span: Option<Range<usize>>, message: String, write: Option<String>) {
        self.push(key, span, message, None, write);
    }

    fn push(
        &mut self,
        key: &str,
        span: Option<Range<usize>>,
        message: String,
        allowed: Option<String>,
        write: Option<String>,
    ) {
        // A key nobody knows may be a misspelt secret, so only its name is marked and its line is not shown.
        let place = self.place(&span.unwrap_or(0..0), true);
        self.problems.push(Problem {
            severity: Severity::Error,
            place,
            key: key.to_owned(),
            value: None,
            message,
            allowed,
            write,
        });
    }

    fn syntax(&self, message: &str, span: Option<Range<usize>>) -> Problem {
        let place = self.place(&span.unwrap_or(0..0), self.text.contains("password"));
        let message = format!("the file is not valid TOML: {}", message.trim().replace('\n', ", "));
        Problem { place, ..self.whole_file(message) }
    }

    fn whole_file(&self, message: String) -> Problem {
        Problem {
            severity: Severity::Error,
            place: Place::File(self.name.to_owned()),
            key: String::new(),
            value: None,
            message,
            allowed: None,
            write: None,
        }
    }

    fn slice(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    fn place(&self, span: &Range<usize>, hide_text: bool) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_text = self.text[line_start..].lines().next().unwrap_or_default();
        let column = self.text[line_start..before.len()].chars().count() + 1;
        let on_line = self.slice(span).lines().next().unwrap_or_default();
        let shown = !hide_text && line_text.chars().count() <= SHOWN_CHARS_MAX;
        Place::Line {
            file: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            width: on_line.chars().count(),
            text: shown.then(|| line_text.to_owned()),
        }
    }
}

fn key_span(table: &dyn TableLike, name: &str) -> Option<Range<usize>> {
    table.get_key_value(name).and_then(|(key, _)| key.span())
}

fn written(item: &Item) -> Written {
    match item {
        Item::Value(TomlValue::Integer(number)) => Written::Integer((*number.value()).into()),
        Item::Value(TomlValue::Boolean(value)) => Written::Bool(*value.value()),
        Item::Value(TomlValue::String(text)) => Written::Text(text.value().clone()),
        Item::Value(TomlValue::Float(_)) => Written::Other("a number with a fraction"),
        Item::Value(TomlValue::Datetime(_)) => Written::Other("a date"),
        Item::Value(TomlValue::Array(items)) => items
            .iter()
            .map(item_text)
            .collect::<Option<_>>()
            .map_or(Written::Other("a list of other things"), Written::List),
        Item::ArrayOfTables(_) => Written::Other("a list of tables"),
        _ => item.as_table_like().and_then(pairs).map_or(Written::Other("a table of more than texts"), Written::Pairs),
    }
}

/// Of a list.
fn item_text(item: &TomlValue) -> Option<String> {
    item.as_str().map(str::to_owned).or_else(|| item.as_integer().map(|number| number.to_string()))
}

fn pairs(table: &dyn TableLike) -> Option<Vec<(String, String)>> {
    table.iter().map(|(name, item)| Some((name.to_owned(), item.as_str()?.to_owned()))).collect()
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::agent::AGENT;
    use proptest::prelude::*;

    fn read(role: &Role, name: &str, text: &str) -> (Vec<Found>, Vec<Problem>) {
        super::read(role, name, text).unwrap_or_else(|problem| (Vec::new(), vec![*problem]))
    }

    fn problems(text: &str) -> Vec<(String, String, Option<String>)> {
        let (_, problems) = read(&AGENT, "agent.toml", text);
        problems.into_iter().map(|problem| (problem.key, problem.message, problem.write)).collect()
    }

    #[test]
    fn values_come_with_their_line_and_column() {
        let (found, problems) = read(&AGENT, "agent.toml", "# ä\n[agent]\nwal_path = \"/x\"\nmetrics_port=1\n");
        assert!(problems.is_empty(), "{problems:?}");
        let places: Vec<_> = found.iter().map(|found| (found.key.name, found.shown.as_str(), &found.place)).collect();
        let line = |line, column, width, text: &str| Place::Line {
            file: "agent.toml".into(),
            line,
            column,
            width,
            text: Some(text.into()),
        };
        assert_eq!(
            places,
            [
                ("wal_path", "\"/x\"", &line(3, 12, 4, "wal_path = \"/x\"")),
                ("metrics_port", "1", &line(4, 14, 1, "metrics_port=1"))
            ]
        );
    }

    #[test]
    fn dotted_and_inline_tables_are_sections_too() {
        for text in ["agent.wal_path = \"/x\"", "agent = { wal_path = \"/x\" }", "[agent]\nwal_path = '/x'"] {
            let (found, problems) = read(&AGENT, "a", text);
            assert_eq!((found.len(), problems.len()), (1, 0), "{text}");
        }
    }

    #[test]
    fn unknown_keys_come_with_the_nearest_known_one() {
        let key = |text| problems(text).pop().expect("a problem");
        assert_eq!(
            key("[agent]\nwal_paht = 1"),
            ("agent.wal_paht".into(), "is not a key of [agent]".into(), Some("wal_path".into()))
        );
        assert_eq!(key("[agent]\nsnapshot_interval = '1s'").2, Some("snapshot_interval under [process]".into()));
        assert_eq!(key("[agnet]\n").2, Some("[agent]".into()));
        assert_eq!(key("wal_path = '/x'").2, Some("wal_path under [agent]".into()));
        assert_eq!(key("agent = 5").1, "is a section and must be a table");
        assert_eq!(key("[[agent]]\n").1, "is a section and must be a table");
        assert_eq!(key("[agent]\nqqqq = 1").2, None);
    }

    #[test]
    fn all_unknown_keys_are_reported() {
        assert_eq!(problems("x = 1\n[agent]\na = 1\nb = 2\n[c]\nd = 1").len(), 4);
    }

    #[test]
    fn text_that_is_no_toml_names_the_line() {
        let (_, problems) = read(&AGENT, "agent.toml", "[agent]\nwal_path = \n");
        assert_eq!(problems.len(), 1);
        assert!(matches!(&problems[0].place, Place::Line { line: 2, .. }), "{problems:?}");
        assert!(problems[0].message.starts_with("the file is not valid TOML"), "{problems:?}");
    }

    #[test]
    fn a_key_written_twice_is_not_valid() {
        assert_eq!(problems("[agent]\nwal_path='a'\nwal_path='b'").len(), 1);
    }

    #[test]
    fn a_huge_file_is_not_parsed() {
        let text = "# ".repeat(FILE_BYTES_MAX);
        assert!(problems(&text)[0].1.contains("larger than"));
    }

    #[test]
    fn a_secret_is_nowhere_in_what_is_said() {
        for text in [
            "[bus]\npassword = 'hunter2'",
            "[bus]\npassw0rd = 'hunter2'",
            "[bus]\npassword = 'hunter2",
            "password = 'hunter2'",
        ] {
            let (found, problems) = read(&AGENT, "a", text);
            let said =
                format!("{:?}{problems:?}", found.iter().map(|found| (&found.shown, &found.place)).collect::<Vec<_>>());
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\PC|\n|=|\\[|\\]|\"|agent|wal_path|\\{){0,60}") {
            read(&AGENT, "a", &text);
        }
    }
}
