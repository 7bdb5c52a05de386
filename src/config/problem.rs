//! What is wrong with a configuration, all at once, for people (text) and for programs (JSON).
//!
//! Deliberately not here: finding problems. A secret's value never reaches this file.

use serde::Serialize;
use std::fmt::{self, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing starts with this.
    Error,
    Warning,
}

/// Where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Line and column count from 1; `text` is the line, unless it holds a secret.
    Line {
        file: String,
        line: usize,
        column: usize,
        width: usize,
        text: Option<String>,
    },
    /// The file as a whole, or a default that is written nowhere.
    File(String),
    Variable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    /// `section.key`; empty for a problem of the whole file.
    pub key: String,
    /// As it is written; `…` for a secret.
    pub value: Option<String>,
    /// What is wrong: the words after the key's name.
    pub message: String,
    pub allowed: Option<String>,
    /// What to write instead.
    pub write: Option<String>,
}

/// All problems of one check, in the order of the file, then variables by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.order().cmp(&b.place.order()));
        Self(problems)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Whether any of them keeps the role from starting (exit code 2).
    pub fn fatal(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// A JSON array, one object a problem, one line.
    pub fn to_json(&self) -> String {
        let rows: Vec<Row<'_>> = self.0.iter().map(Row::from).collect();
        serde_json::to_string(&rows).unwrap_or_else(|error| format!("[] // {error}"))
    }
}

impl fmt::Display for Problems {
    /// One paragraph a problem, then the count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        write!(f, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{severity}: ")?;
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        if let (Some(value), false) = (&self.value, self.key.is_empty()) {
            write!(f, "= {value} ")?;
        }
        writeln!(f, "{}", self.message)?;
        self.place.fmt(f)?;
        for (label, text) in [("allowed", &self.allowed), ("write", &self.write)] {
            if let Some(text) = text {
                writeln!(f, "  = {label}: {text}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(file) => writeln!(f, " --> {file}"),
            Place::Variable(name) => writeln!(f, " --> environment variable {name}"),
            Place::Line { file, line, column, width, text } => {
                writeln!(f, " --> {file}:{line}:{column}")?;
                let Some(text) = text else { return Ok(()) };
                let mut marks = String::new();
                write!(marks, "{:>offset$}{}", "", "^".repeat((*width).max(1)), offset = column.saturating_sub(1))?;
                let gutter = line.to_string().len();
                writeln!(f, "{:gutter$} |\n{line} | {text}\n{:gutter$} | {marks}", "", "")
            }
        }
    }
}

impl Place {
    fn order(&self) -> (u8, usize, usize, &str) {
        match self {
            Place::Line { line, column, file, .. } => (0, *line, *column, file),
            Place::File(file) => (1, 0, 0, file),
            Place::Variable(name) => (2, 0, 0, name),
        }
    }
}

/// A problem as JSON has it; keys without a value are left out.
#[derive(Serialize)]
struct Row<'a> {
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write: Option<&'a str>,
}

impl<'a> From<&'a Problem> for Row<'a> {
    fn from(problem: &'a Problem) -> Self {
        let (file, line, column, variable) = match &problem.place {
            Place::Line { file, line, column, .. } => (Some(file.as_str()), Some(*line), Some(*column), None),
            Place::File(file) => (Some(file.as_str()), None, None, None),
            Place::Variable(name) => (None, None, None, Some(name.as_str())),
        };
        Row {
            severity: problem.severity,
            file,
            line,
            column,
            variable,
            key: &problem.key,
            value: problem.value.as_deref(),
            message: &problem.message,
            allowed: problem.allowed.as_deref(),
            write: problem.write.as_deref(),
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(severity: Severity, place: Place) -> Problem {
        Problem {
            severity,
            place,
            key: "agent.metrics_port".into(),
            value: Some("0".into()),
            message: "is out of range".into(),
            allowed: Some("a whole number from 1 to 65535".into()),
            write: Some("metrics_port = 9101".into()),
        }
    }

    fn line(line: usize) -> Place {
        let text = Some("metrics_port = 0".to_owned());
        Place::Line { file: "agent.toml".into(), line, column: 16, width: 1, text }
    }

    #[test]
    fn a_problem_shows_its_line_and_marks_the_value() {
        let shown = problem(Severity::Error, line(12)).to_string();
        let expected = "error: `agent.metrics_port` = 0 is out of range\n --> agent.toml:12:16\n   |\n\
                        12 | metrics_port = 0\n   |                ^\n  = allowed: a whole number from 1 to 65535\n  \
                        = write: metrics_port = 9101\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_then_variables_and_are_counted() {
        let variable = problem(Severity::Warning, Place::Variable("AMOSKYS_AGENT_METRICS_PORT".into()));
        let problems =
            Problems::new(vec![variable, problem(Severity::Error, line(9)), problem(Severity::Error, line(2))]);
        let shown = problems.to_string();
        let places: Vec<_> = shown.lines().filter(|line| line.starts_with(" --> ")).collect();
        assert_eq!(
            places,
            [" --> agent.toml:2:16", " --> agent.toml:9:16", " --> environment variable AMOSKYS_AGENT_METRICS_PORT"]
        );
        assert!(shown.ends_with("2 errors, 1 warning"), "{shown}");
        assert!(problems.fatal());
    }

    #[test]
    fn warnings_alone_are_not_fatal() {
        assert!(!Problems::new(vec![problem(Severity::Warning, line(1))]).fatal());
        assert!(!Problems::default().fatal());
    }

    #[test]
    fn json_holds_what_text_holds() {
        let problems = Problems::new(vec![problem(Severity::Error, line(12))]);
        let json: serde_json::Value = serde_json::from_str(&problems.to_json()).expect("valid JSON");
        assert_eq!(json[0]["file"], "agent.toml");
        assert_eq!(json[0]["line"], 12);
        assert_eq!(json[0]["key"], "agent.metrics_port");
        assert_eq!(json[0]["value"], "0");
        assert_eq!(json[0]["severity"], "error");
        assert!(json[0].get("variable").is_none());
    }
}
