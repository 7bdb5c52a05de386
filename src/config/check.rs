//! File + variables → values that cannot be wrong, and every problem on the way.
//!
//! A pure function of its [`Input`]; whether files exist is asked through it. Values of both places are judged, also
//! of a key that is overridden: what is wrong in the file stays wrong when the variable goes.
//!
//! Deliberately not here: rules between keys, which belong to the role (`agent.rs`, `processor.rs`).

use super::{
    environment::{self, Variables},
    file::{self, Found},
    kind::{Kind, Needed, Value},
    problem::{Place, Problem, Severity},
    schema::{Fallback, Key, Role, Section, variable},
};
use std::{collections::BTreeMap, net::IpAddr, path::Path, path::PathBuf, time::Duration};

/// Why a configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be looked at, perhaps on another machine: files that are missing are warnings.
    Check,
    /// To start the role: files that are missing are errors.
    Run,
}

pub struct Input<'a> {
    /// What messages call the file.
    pub file: &'a str,
    pub text: &'a str,
    pub variables: &'a Variables,
    pub exists: &'a dyn Fn(&Path) -> bool,
    pub purpose: Purpose,
}

/// The judged values of a role, by section and key. A key whose value was refused is absent.
#[derive(Debug)]
pub struct Values {
    file: String,
    by_key: BTreeMap<(&'static str, &'static str), Judged>,
}

#[derive(Debug, Clone)]
struct Judged {
    /// `None`: nothing written and no default.
    value: Option<Value>,
    shown: String,
    place: Place,
}

/// Reads and judges all keys of the role, without the rules between keys.
pub fn values(role: &Role, input: &Input<'_>) -> (Values, Vec<Problem>) {
    let in_file = file::read(role, input.file, input.text);
    // Nothing is known of what stands in such a file, so nothing is said of defaults either.
    let unread = in_file.is_err();
    let (in_file, mut problems) = in_file.unwrap_or_else(|problem| (Vec::new(), vec![*problem]));
    let (in_variables, more) = environment::read(role, input.variables);
    problems.extend(more);
    let mut values = Values { file: input.file.to_owned(), by_key: BTreeMap::new() };
    let mut refused = Vec::new();
    for found in in_file.into_iter().chain(in_variables) {
        let at = (found.section.name, found.key.name);
        match found.key.kind.read(&found.written) {
            Ok(value) => {
                values.by_key.insert(at, Judged { value: Some(value), shown: found.shown, place: found.place });
            }
            Err(message) => {
                problems.push(refusal(&found, message));
                refused.push(at);
            }
        }
    }
    if !unread {
        values.fill_defaults(role, &refused);
    }
    problems.extend(values.missing_files(role, input));
    (values, problems)
}

fn refusal(found: &Found, message: String) -> Problem {
    let (section, key) = (found.section, found.key);
    let write = match &found.place {
        // By its name of today, also when the old one was used.
        Place::Variable(_) => {
            format!("{}={}", variable(section.name, key.name), key.kind.in_variable(key.example()))
        }
        _ => format!("{} = {}", key.name, key.kind.in_toml(key.example())),
    };
    Problem {
        severity: Severity::Error,
        place: found.place.clone(),
        key: format!("{}.{}", section.name, key.name),
        value: Some(found.shown.clone()),
        message,
        allowed: Some(key.kind.allowed()),
        write: Some(write),
    }
}

impl Values {
    fn fill_defaults(&mut self, role: &Role, refused: &[(&'static str, &'static str)]) {
        for (section, key) in role.keys() {
            let at = (section.name, key.name);
            if refused.contains(&at) {
                self.by_key.remove(&at);
            } else {
                let place = Place::File(self.file.clone());
                self.by_key.entry(at).or_insert_with(|| default_of(key, place));
            }
        }
    }

    fn missing_files(&self, role: &Role, input: &Input<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (section, key) in role.keys() {
            let Kind::Path { needs: Some(needed), .. } = key.kind else { continue };
            let Some(path) = self.path(section.name, key.name) else { continue };
            if self.is_needed(section, &needed) && !(input.exists)(&path) {
                problems.push(self.missing_file(section.name, key.name, &path, needed, input.purpose));
            }
        }
        problems
    }

    fn is_needed(&self, section: &Section, needed: &Needed) -> bool {
        needed.when.is_none_or(|(key, value)| self.text(section.name, key).as_deref() == Some(value))
    }

    /// The problem of a path that must be there and is not.
    pub fn missing_file(
        &self,
        section: &'static str,
        key: &'static str,
        path: &Path,
        needed: Needed,
        purpose: Purpose,
    ) -> Problem {
        let message = format!("names {}, which is not there", needed.what);
        let severity = if purpose == Purpose::Run { Severity::Error } else { Severity::Warning };
        let write = needed.hint.replace("PATH", &path.display().to_string());
        Problem { severity, value: Some(path.display().to_string()), ..self.broken_rule(section, key, message, write) }
    }

    /// The problem of a value that is fine alone and breaks a rule with others.
    pub fn broken_rule(&self, section: &'static str, key: &'static str, message: String, write: String) -> Problem {
        let judged = self.by_key.get(&(section, key));
        Problem {
            severity: Severity::Error,
            place: judged.map_or_else(|| Place::File(self.file.clone()), |judged| judged.place.clone()),
            key: format!("{section}.{key}"),
            value: judged.map(|judged| judged.shown.clone()).filter(|shown| !shown.is_empty()),
            message,
            allowed: None,
            write: Some(write),
        }
    }

    /// Whether a value was written and is not allowed.
    pub fn refused(&self, section: &'static str, key: &'static str) -> bool {
        !self.by_key.contains_key(&(section, key))
    }

    fn value(&self, section: &'static str, key: &'static str) -> Option<&Value> {
        self.by_key.get(&(section, key))?.value.as_ref()
    }

    pub fn integer(&self, section: &'static str, key: &'static str) -> Option<u64> {
        let Value::Integer(number) = self.value(section, key)? else { return None };
        Some(*number)
    }

    /// As the type that the field has; its range is the key's, so it fits.
    pub fn number<T: TryFrom<u64>>(&self, section: &'static str, key: &'static str) -> Option<T> {
        T::try_from(self.integer(section, key)?).ok()
    }

    pub fn duration(&self, section: &'static str, key: &'static str) -> Option<Duration> {
        let Value::Duration(duration) = self.value(section, key)? else { return None };
        Some(*duration)
    }

    pub fn flag(&self, section: &'static str, key: &'static str) -> Option<bool> {
        let Value::Bool(flag) = self.value(section, key)? else { return None };
        Some(*flag)
    }

    pub fn text(&self, section: &'static str, key: &'static str) -> Option<String> {
        let Value::Text(text) = self.value(section, key)? else { return None };
        Some(text.clone())
    }

    pub fn path(&self, section: &'static str, key: &'static str) -> Option<PathBuf> {
        self.text(section, key).map(PathBuf::from)
    }

    pub fn ip(&self, section: &'static str, key: &'static str) -> Option<IpAddr> {
        self.text(section, key)?.parse().ok()
    }

    pub fn bus(&self, section: &'static str, key: &'static str) -> Option<amoskys_bus::Address> {
        self.text(section, key)?.parse().ok()
    }

    /// Empty where there is none.
    pub fn list(&self, section: &'static str, key: &'static str) -> Vec<String> {
        match self.value(section, key) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }

    pub fn pairs(&self, section: &'static str, key: &'static str) -> Vec<(String, String)> {
        match self.value(section, key) {
            Some(Value::Pairs(pairs)) => pairs.clone(),
            _ => Vec::new(),
        }
    }
}

/// A default is read like a value of a variable; a test holds every default to its own kind.
fn default_of(key: &Key, place: Place) -> Judged {
    let (value, shown) = match key.fallback {
        Fallback::Value(text) => (key.kind.read(&key.kind.written_in_variable(text)).ok(), key.kind.in_toml(text)),
        Fallback::Unset(_) => (None, String::new()),
    };
    Judged { value, shown, place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{agent::AGENT, processor::PROCESSOR};

    #[test]
    fn every_default_and_every_example_is_allowed() {
        for (section, key) in AGENT.keys().chain(PROCESSOR.keys()) {
            let written = key.kind.written_in_variable(&key.kind.in_variable(key.example()));
            assert!(key.kind.read(&written).is_ok(), "[{}] {} = {}", section.name, key.name, key.example());
        }
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        for role in [AGENT, PROCESSOR] {
            let mut names: Vec<String> = role.keys().map(|(section, key)| variable(section.name, key.name)).collect();
            names.extend(role.keys().filter_map(|(_, key)| key.old_variable).map(str::to_owned));
            let all = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all, "{}", role.name);
        }
    }

    /// Good and bad values under every old name: what the hints say to write is accepted, without another word.
    #[test]
    fn what_is_said_of_old_variables_is_accepted() {
        for (_, key) in AGENT.keys() {
            let Some(old) = key.old_variable else { continue };
            for value in ["5", "2.5", "0", "-1", "70000", "99999999999", "x y", "", "local:x", "30s"] {
                let of = |variables: &Variables| {
                    let exists: &dyn Fn(&Path) -> bool = &|_| true;
                    let input = Input { file: "f", text: "", variables, exists, purpose: Purpose::Run };
                    super::values(&AGENT, &input).1
                };
                let problems = of(&Variables::from([(old.to_owned(), value.to_owned())]));
                let hints: Vec<&str> = problems.iter().filter_map(|problem| problem.write.as_deref()).collect();
                assert_eq!(hints.len(), 1, "{old}={value}: {problems:?}");
                let (name, value) = hints[0].split_once('=').expect("NAME=VALUE");
                let problems = of(&Variables::from([(name.to_owned(), value.to_owned())]));
                assert!(problems.is_empty(), "{}: {problems:?}", hints[0]);
            }
        }
    }

    #[test]
    fn what_a_refusal_says_to_write_is_accepted() {
        for (section, key) in AGENT.keys().chain(PROCESSOR.keys()) {
            let text = format!("[{}]\n{} = {}\n", section.name, key.name, key.kind.in_toml(key.example()));
            let role = if AGENT.section(section.name).is_some_and(|section| section.key(key.name).is_some()) {
                AGENT
            } else {
                PROCESSOR
            };
            let input = Input {
                file: "f",
                text: &text,
                variables: &Variables::new(),
                exists: &|_| true,
                purpose: Purpose::Run,
            };
            let (_, problems) = values(&role, &input);
            assert!(problems.is_empty(), "{text} {problems:?}");
        }
    }
}
