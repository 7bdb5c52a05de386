//! What a role's file may hold: sections and keys, as data.
//!
//! One constant table per role (`agent.rs`, `processor.rs`) is the only place that names a key. Reading, overrides
//! from the environment, problems and the page `docs/configuration.md` all come from it.
//!
//! Deliberately not here: reading anything.

use super::kind::Kind;

/// Prefix of every override: `AMOSKYS_<SECTION>_<KEY>`.
pub const VARIABLE_PREFIX: &str = "AMOSKYS_";

/// A role of the program with a file of its own.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    /// As `amoskys config check --role` takes it.
    pub name: &'static str,
    /// What the file is for, one sentence for the page.
    pub about: &'static str,
    pub sections: &'static [Section],
}

#[derive(Debug, Clone, Copy)]
pub struct Section {
    pub name: &'static str,
    pub about: &'static str,
    pub keys: &'static [Key],
}

#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub fallback: Fallback,
    /// One sentence, with the unit where the kind does not say it.
    pub help: &'static str,
    /// Name of the variable that the system before this one read.
    pub old_variable: Option<&'static str>,
    /// A secret's value is never printed.
    pub secret: bool,
}

/// What holds when neither the file nor the environment says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Written as in the file, without quotes.
    Value(&'static str),
    /// No value; the text says what then happens.
    Unset(&'static str),
}

impl Key {
    pub const fn new(name: &'static str, kind: Kind, fallback: Fallback, help: &'static str) -> Self {
        Self { name, kind, fallback, help, old_variable: None, secret: false }
    }

    pub const fn formerly(mut self, variable: &'static str) -> Self {
        self.old_variable = Some(variable);
        self
    }

    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// What a user may write for this key: its default, or an example where there is none.
    pub fn example(&self) -> &'static str {
        match self.fallback {
            Fallback::Value(value) => value,
            Fallback::Unset(_) => self.kind.example(),
        }
    }
}

impl Role {
    pub fn section(&self, name: &str) -> Option<&'static Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// All keys with their section.
    pub fn keys(&self) -> impl Iterator<Item = (&'static Section, &'static Key)> {
        self.sections.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)))
    }
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Name of the variable that overrides a key.
pub fn variable(section: &str, key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}_{}", section.to_uppercase(), key.to_uppercase())
}

/// The name nearest to `written`, when it is near enough to be what was meant.
pub fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKENESS_MIN: f64 = 0.75;
    let written = written.to_lowercase();
    names
        .map(|name| (strsim::jaro_winkler(&written, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_the_section_and_the_key_in_capitals() {
        assert_eq!(variable("agent", "wal_path"), "AMOSKYS_AGENT_WAL_PATH");
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_key_and_a_stranger_finds_none() {
        let names = ["metrics_port", "health_port", "wal_path"];
        assert_eq!(nearest("metric_port", names.into_iter()), Some("metrics_port"));
        assert_eq!(nearest("WAL_PAHT", names.into_iter()), Some("wal_path"));
        assert_eq!(nearest("zzzz", names.into_iter()), None);
    }
}
