//! SQL that does not plan, told to people or to machines.

use amoskys_pipeline::sql::{Problem, Problems, Severity};
use serde_json::{Value, json};
use std::{fmt, io::IsTerminal};

/// Every problem of the SQL, as one error: ends with exit code 2.
#[derive(Debug)]
pub struct SqlIsWrong {
    /// Which of several versions it is.
    version: Option<String>,
    problems: Problems,
}

impl SqlIsWrong {
    pub fn new(problems: Problems) -> Self {
        Self { version: None, problems }
    }

    pub fn of(version: impl Into<String>, problems: Problems) -> Self {
        Self { version: Some(version.into()), problems }
    }

    /// Without the problems themselves.
    pub fn summary(&self) -> String {
        let summary = self.problems.summary();
        self.version.as_ref().map_or_else(|| summary.clone(), |name| format!("{name} does not plan: {summary}"))
    }

    pub fn objects(&self) -> Vec<Value> {
        objects(&self.problems)
    }
}

/// Each problem drawn with its lines, below the line that says how many there are.
impl fmt::Display for SqlIsWrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}", self.summary(), self.problems.drawn(std::io::stderr().is_terminal()).trim_end())
    }
}

impl std::error::Error for SqlIsWrong {}

/// What `amoskys sql check --format json` prints an array of.
pub fn objects(problems: &Problems) -> Vec<Value> {
    let object = |problem: &Problem| {
        let place = problem.place.as_ref();
        let ((line, column), (end_line, end_column)) =
            place.map_or(((0, 0), (0, 0)), |place| (place.start(), place.end()));
        json!({
            "file": place.map(|place| &place.file.path),
            "line": line, "column": column, "end_line": end_line, "end_column": end_column,
            "severity": match problem.severity {
                Severity::Error => "error",
                Severity::Warning(_) => "warning",
            },
            "name": match problem.severity {
                Severity::Error => None,
                Severity::Warning(name) => Some(name),
            },
            "message": problem.message, "help": problem.help,
        })
    };
    problems.0.iter().map(object).collect()
}
