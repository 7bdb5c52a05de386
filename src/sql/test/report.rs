//! What became of the tests, for people, as JSON, and as JUnit's XML.

use super::Outcome;
use crate::print::counted;
use anyhow::Result;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::{fmt::Write, time::Duration};

pub struct Report<'a> {
    /// In the order of files and places.
    pub outcomes: &'a [Outcome<'a>],
    pub time: Duration,
}

impl Report<'_> {
    fn by_file(&self) -> impl Iterator<Item = &[Outcome<'_>]> {
        self.outcomes.chunk_by(|a, b| a.script.file.path == b.script.file.path)
    }

    fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count()
    }

    /// A line for each file, and what failed; `written` tables were blessed.
    pub fn text(&self, written: usize, is_coloured: bool) -> String {
        let paint = |text: &str, code: &str| {
            if is_coloured { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let mut text = String::new();
        for of_file in self.by_file() {
            let failed: Vec<&Outcome<'_>> = of_file.iter().filter(|outcome| !outcome.failures.is_empty()).collect();
            let is_left = failed.iter().flat_map(|outcome| &outcome.failures).any(|failure| failure.table.is_none());
            let word = match failed.is_empty() {
                true => paint("ok", "32"),
                false if written > 0 && !is_left => paint("written", "33"),
                false => paint("FAILED", "31"),
            };
            let count = counted(of_file.len(), "test");
            let file = of_file[0].file();
            let _ = match failed.len() {
                0 => writeln!(text, "{word} {file}: {count}"),
                failed => writeln!(text, "{word} {file}: {failed} of {count}"),
            };
            for outcome in failed {
                let _ = writeln!(text, "  {}", paint(&outcome.trial.name, "1"));
                for failure in &outcome.failures {
                    let _ = writeln!(text, "    {file}:{}: {}", failure.line, failure.message);
                    for line in &failure.lines {
                        let line = match line.as_bytes().first() {
                            Some(b'-') => paint(line, "31"),
                            Some(b'+') => paint(line, "32"),
                            _ => line.clone(),
                        };
                        let _ = writeln!(text, "      {line}");
                    }
                }
            }
        }
        let (passed, failed, seconds) = (self.outcomes.len() - self.failed(), self.failed(), self.time.as_secs_f64());
        let _ = match (failed, written) {
            (0, _) => writeln!(text, "{} passed in {seconds:.2} s", counted(passed, "test")),
            (_, 0) => writeln!(text, "{} passed, {failed} failed in {seconds:.2} s", counted(passed, "test")),
            _ => writeln!(text, "{} written; read them before you keep them", counted(written, "table")),
        };
        text
    }

    pub fn json(&self) -> Result<String> {
        let outcome = |outcome: &Outcome<'_>| {
            let failures = outcome.failures.iter().map(|failure| {
                serde_json::json!({ "line": failure.line, "message": failure.message, "lines": failure.lines })
            });
            serde_json::json!({
                "file": outcome.file(),
                "line": outcome.trial.place.start().0,
                "test": outcome.trial.name,
                "passed": outcome.failures.is_empty(),
                "seconds": outcome.time.as_secs_f64(),
                "failures": failures.collect::<Vec<_>>(),
            })
        };
        Ok(serde_json::to_string_pretty(&self.outcomes.iter().map(outcome).collect::<Vec<_>>())?)
    }

    /// A suite for each file.
    pub fn junit(&self) -> Result<String> {
        let mut report = quick_junit::Report::new("amoskys sql test");
        report.set_time(self.time);
        for of_file in self.by_file() {
            let mut suite = TestSuite::new(of_file[0].file());
            for outcome in of_file {
                let mut status = TestCaseStatus::success();
                if let Some(first) = outcome.failures.first() {
                    let failures = outcome.failures.iter().map(|failure| {
                        let place = format!("{}:{}: {}", outcome.file(), failure.line, failure.message);
                        [place].into_iter().chain(failure.lines.iter().cloned()).collect::<Vec<_>>().join("\n")
                    });
                    status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(first.message.clone());
                    status.set_description(failures.collect::<Vec<_>>().join("\n"));
                }
                let mut case = TestCase::new(outcome.trial.name.clone(), status);
                case.set_classname(outcome.file()).set_time(outcome.time);
                suite.add_test_case(case);
            }
            report.add_test_suite(suite);
        }
        Ok(report.to_string()?)
    }
}
