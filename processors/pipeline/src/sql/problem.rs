//! What is wrong with SQL, and where.

use std::{fmt, path::PathBuf};

/// One fault in one file, or in what was asked for (then `file` is empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// 1-based; where the statement, or the fault within it, begins. 0: the file as a whole.
    pub line: u64,
    pub column: u64,
    pub message: String,
}

/// Everything that is wrong, in the order of files and lines. Never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Problem {
    /// `FILE:LINE:COLUMN`, or what is known of it.
    fn place(&self) -> Option<String> {
        let is_somewhere = !self.file.as_os_str().is_empty();
        is_somewhere.then(|| match self.line {
            0 => self.file.display().to_string(),
            line => format!("{}:{line}:{}", self.file.display(), self.column),
        })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One cause may be in the way of many statements (a model that is not there): it is told once.
        let mut causes: Vec<(&Problem, Vec<String>)> = Vec::new();
        for problem in &self.0 {
            match causes.iter_mut().find(|(first, _)| first.message == problem.message) {
                Some((_, others)) => others.extend(problem.place()),
                None => causes.push((problem, Vec::new())),
            }
        }
        for (problem, others) in &causes {
            writeln!(f, "{problem}")?;
            if !others.is_empty() {
                writeln!(f, "  the same at {}", others.join(", "))?;
            }
        }
        write!(f, "{} problem{} in the SQL", causes.len(), if causes.len() == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(file: &str, message: &str) -> Problem {
        Problem { file: file.into(), line: 3, column: 1, message: message.into() }
    }

    #[test]
    fn one_cause_is_told_once_with_all_its_places() {
        let problems = [problem("a.sql", "no model"), problem("b.sql", "no table"), problem("c.sql", "no model")];
        let expected = "a.sql:3:1: no model\n  the same at c.sql:3:1\nb.sql:3:1: no table\n2 problems in the SQL";
        assert_eq!(Problems(problems.into()).to_string(), expected);
    }

    #[test]
    fn what_is_no_files_fault_names_none() {
        assert_eq!(problem("", "view `x` is not known").to_string(), "view `x` is not known");
    }
}
