//! What a file of tests says: `x.test.sql`, beside `x.sql`.
//!
//! Comments that begin with a word and a colon are steps, in the order in which they stand, and so are statements: an INSERT of
//! rows delivers records, a SELECT is asked and its result is in the comments behind it, as a table.

use super::table::{TextTable, context, references};
use crate::sql::{Place, Problem, SourceFile, Sources, Statement, name_of, nearest_of_all, table_of};
use amoskys_functions::fault::Fault;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use datafusion::{
    prelude::SessionContext,
    sql::{parser::Statement as Ast, sqlparser::ast},
};
use std::{ops::Range, path::Path, sync::Arc};

/// Where a test's clock begins, and the day of times without a date: 2026-01-01.
pub(super) const BEGIN_NS: i64 = 1_767_225_600_000_000_000;
const DAY: &str = "2026-01-01";

const STEPS: [&str; 9] = ["test", "partitions", "at", "advance", "restart", "kill", "move", "close", "error"];
/// More is a mistake in writing.
const PARTITIONS_MAX: i32 = 1_000;

/// The tests of a file.
#[derive(Debug, Clone)]
pub struct Script {
    pub file: Arc<SourceFile>,
    pub trials: Vec<Trial>,
}

/// One test.
#[derive(Debug, Clone)]
pub struct Trial {
    pub name: String,
    pub place: Place,
    /// Of every topic.
    pub partitions: i32,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub place: Place,
    pub action: Action,
    /// Words of the error that it has to fail with.
    pub error: Option<String>,
}

#[derive(Debug, Clone)]
pub enum Action {
    /// The clock is set, never back; nanoseconds since 1970.
    At(i64),
    Advance(i64),
    /// The processor commits, ends, and another begins.
    Restart,
    /// The processor ends before it committed what came of the last step, and another begins.
    Kill,
    /// One partition goes to another processor.
    Move(i32),
    /// The topics end: every window closes.
    Close,
    Deliver(Rows),
    /// SQL of this test alone, beside that of the files.
    Define(Statement),
    Expect(Expectation),
}

/// An INSERT of rows into a stream.
#[derive(Debug, Clone)]
pub struct Rows {
    pub stream: String,
    /// In the order of the query's columns.
    pub columns: Vec<String>,
    /// VALUES, or a SELECT that reads no table.
    pub query: Ast,
}

/// A SELECT over views, sinks and counters.
#[derive(Debug, Clone)]
pub struct Expectation {
    pub statement: Statement,
    /// What it reads.
    pub tables: Vec<String>,
    /// Whether the SELECT says in which order the rows come.
    pub is_ordered: bool,
    /// Absent before it is first written.
    pub table: Option<TextTable>,
    /// Where the table is, or is to be: lines of the file, from 0.
    pub lines: Range<usize>,
}

/// A comment that has a line for itself.
struct Comment<'a> {
    /// From 0.
    line: usize,
    text: &'a str,
}

impl Script {
    /// Every problem of the file at once.
    pub fn parse(path: &Path, text: String) -> Result<Self, Vec<Problem>> {
        let file = Arc::new(SourceFile { path: path.to_owned(), text });
        let (parts, problems) = Sources::parts(&file);
        let mut reading = Reading { file: &file, context: context(), trials: Vec::new(), problems };
        for part in parts {
            let before = &file.text[..part.before.start];
            let (line, is_within) = (before.matches('\n').count(), !before.is_empty() && !before.ends_with('\n'));
            // What stands behind a statement in its last line is about the statement.
            let lines = file.text[part.before.clone()].lines().enumerate().skip(usize::from(is_within));
            let comments = lines.filter_map(|(index, text)| {
                Some(Comment { line: line + index, text: text.trim().strip_prefix("--")?.trim() })
            });
            reading.comments(&comments.collect::<Vec<_>>());
            if let Some(statement) = part.statement {
                let behind = &file.text[statement.span.end..];
                if !part.is_ended && behind.lines().any(|line| line.trim_start().starts_with("-- |")) {
                    let place = statement.place(0..statement.text().len());
                    let fault = Fault::new("no semicolon ends what stands before this table");
                    let fault = fault.help("put ; behind it, or the table is a comment within it");
                    reading.problems.push(Problem::new(Some(place), fault));
                }
                reading.statement(statement);
            }
        }
        reading.finish()
    }
}

struct Reading<'a> {
    file: &'a Arc<SourceFile>,
    context: SessionContext,
    trials: Vec<Trial>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn fail(&mut self, line: usize, fault: Fault) {
        let place = self.line(line);
        self.problems.push(Problem::new(Some(place), fault));
    }

    fn line(&self, line: usize) -> Place {
        let mut start = 0;
        for (index, content) in self.file.text.split_inclusive('\n').enumerate() {
            let blank = content.len() - content.trim_start().len();
            if index == line {
                return Place { file: self.file.clone(), span: start + blank..start + content.trim_end().len() };
            }
            start += content.len();
        }
        Place { file: self.file.clone(), span: 0..0 }
    }

    fn comments(&mut self, comments: &[Comment<'_>]) {
        let (table, rest) =
            comments.split_at(comments.iter().take_while(|comment| comment.text.starts_with('|')).count());
        if let (Some(first), Some(last)) = (table.first(), table.last()) {
            self.table(first.line..last.line + 1, table);
        }
        for comment in rest {
            if comment.text.starts_with('|') {
                let fault = Fault::new("a row of a table that no SELECT stands before");
                self.fail(
                    comment.line,
                    fault.help("put the table directly behind the SELECT that it is the result of"),
                );
            } else if let Some((word, rest)) = step(comment.text) {
                if let Err(fault) = self.step(comment.line, word, rest) {
                    self.fail(comment.line, fault);
                }
            } else if let Some(step) = nearly_a_step(comment.text) {
                let fault = Fault::new(format!("`{}` is a comment, and does nothing", comment.text));
                self.fail(comment.line, fault.help(format!("the step is -- {step}")));
            }
        }
    }

    fn table(&mut self, lines: Range<usize>, rows: &[Comment<'_>]) {
        let first = lines.start;
        let expectation =
            self.trials.last_mut().and_then(|trial| trial.steps.last_mut()).and_then(|step| match &mut step.action {
                Action::Expect(expectation) => Some(expectation),
                _ => None,
            });
        let Some(expectation) = expectation else {
            let fault = Fault::new("a table that no SELECT stands before");
            return self.fail(first, fault.help("put the table directly behind the SELECT that it is the result of"));
        };
        match TextTable::parse(rows.iter().map(|row| row.text)) {
            Ok(table) => (expectation.table, expectation.lines) = (Some(table), lines),
            Err((row, what)) => self.fail(first + row, Fault::new(what)),
        }
    }

    fn step(&mut self, line: usize, word: &str, rest: &str) -> Result<(), Fault> {
        if !STEPS.contains(&word) {
            let fault = Fault::new(format!("`{word}:` is no step of a test"));
            let note = "a comment that begins with a word and a colon is a step";
            return Err(fault.help(format!("{note}; {}", nearest_of_all(word, &STEPS))));
        }
        let place = self.line(line);
        if word == "test" {
            if rest.is_empty() {
                return Err(Fault::new("a test has a name").help("write -- test: what it shows"));
            }
            if self.trials.iter().any(|trial| trial.name == rest) {
                return Err(Fault::new(format!("there is a test `{rest}` above")).help("give one of them another name"));
            }
            self.trials.push(Trial { name: rest.to_owned(), place, partitions: 1, steps: Vec::new() });
            return Ok(());
        }
        let Some(trial) = self.trials.last_mut() else {
            return Err(before_the_first(&format!("`{word}`")));
        };
        let action = match word {
            "partitions" => {
                trial.partitions = match rest.parse() {
                    Ok(count @ 1..=PARTITIONS_MAX) if trial.steps.is_empty() => count,
                    Ok(1..=PARTITIONS_MAX) => return Err(Fault::new("stands before a test's other steps")),
                    _ => {
                        return Err(Fault::new(format!(
                            "`{rest}` is no number of partitions from 1 to {PARTITIONS_MAX}"
                        )));
                    }
                };
                return Ok(());
            }
            "error" => {
                let fault = || {
                    Fault::new("says what the step before it fails with").help("write -- error: and words of the error")
                };
                let step = trial.steps.last_mut().filter(|_| !rest.is_empty()).ok_or_else(fault)?;
                step.error = Some(rest.to_owned());
                return Ok(());
            }
            "at" => Action::At(time_ns(rest).ok_or_else(|| {
                Fault::new(format!("`{rest}` is no time"))
                    .help(format!("write 12:00:05 (on {DAY}) or 2026-01-02 12:00:05"))
            })?),
            "advance" => {
                let duration = humantime::parse_duration(rest);
                let fault =
                    |_| Fault::new(format!("`{rest}` is no duration")).help("write for example 10s, 500ms or 1h");
                Action::Advance(i64::try_from(duration.map_err(fault)?.as_nanos()).unwrap_or(i64::MAX))
            }
            "move" => {
                let partition = rest.trim_start_matches("partition").trim().parse().ok();
                let partition = partition.filter(|partition| (0..trial.partitions).contains(partition));
                Action::Move(partition.ok_or_else(|| {
                    let last = trial.partitions - 1;
                    Fault::new(format!("`{rest}` is no partition of this test"))
                        .help(format!("it has 0 to {last}; -- partitions: N says how many"))
                })?)
            }
            "restart" => Action::Restart,
            "kill" => Action::Kill,
            _ => Action::Close,
        };
        trial.steps.push(Step { place, action, error: None });
        Ok(())
    }

    fn statement(&mut self, statement: Statement) {
        let place = statement.place(0..statement.text().len());
        let action = match self.action(statement) {
            Ok(action) => action,
            Err(fault) => return self.problems.push(Problem::new(Some(place), fault)),
        };
        let is_closed = |trial: &Trial| trial.steps.iter().any(|step| matches!(step.action, Action::Close));
        match self.trials.last_mut() {
            Some(trial) if is_closed(trial) && matches!(action, Action::Deliver(_)) => {
                let fault = Fault::new("the topics have ended with -- close, so no rows come any more");
                self.problems.push(Problem::new(Some(place), fault.help("put -- close behind them")));
            }
            Some(trial) => trial.steps.push(Step { place, action, error: None }),
            None => self.problems.push(Problem::new(Some(place), before_the_first("a statement"))),
        }
    }

    fn action(&self, statement: Statement) -> Result<Action, Fault> {
        let tables = |ast: &Ast| references(&self.context, ast).map_err(Fault::new);
        let Ast::Statement(of) = &statement.ast else { return Ok(Action::Define(statement)) };
        match of.as_ref() {
            ast::Statement::Query(query) => {
                let behind = self.file.text[..statement.span.end].matches('\n').count() + 1;
                let (is_ordered, tables) = (query.order_by.is_some(), tables(&statement.ast)?);
                let (table, lines) = (None, behind..behind);
                Ok(Action::Expect(Expectation { statement, tables, is_ordered, table, lines }))
            }
            ast::Statement::Insert(insert) => {
                let Some(source) = &insert.source else { return Ok(Action::Define(statement)) };
                let query = Ast::Statement(Box::new(ast::Statement::Query(source.clone())));
                let Some(stream) = table_of(insert).filter(|_| tables(&query).is_ok_and(|tables| tables.is_empty()))
                else {
                    return Ok(Action::Define(statement));
                };
                let columns: Vec<String> = insert.columns.iter().map(name_of).collect();
                if columns.is_empty() {
                    let fault = Fault::new("an INSERT of rows names their columns");
                    return Err(fault.help(format!("write INSERT INTO {stream} (column, …) VALUES (…)")));
                }
                Ok(Action::Deliver(Rows { stream, columns, query }))
            }
            _ => Ok(Action::Define(statement)),
        }
    }

    fn finish(mut self) -> Result<Script, Vec<Problem>> {
        if self.trials.is_empty() && self.problems.is_empty() {
            let place = Place { file: self.file.clone(), span: 0..0 };
            let fault = Fault::new("holds no test").help("a test begins with -- test: what it shows");
            self.problems.push(Problem::new(Some(place), fault));
        }
        for trial in &self.trials {
            let asks = |step: &Step| step.error.is_some() || matches!(step.action, Action::Expect(_));
            if self.problems.is_empty() && !trial.steps.iter().any(asks) {
                let fault = Fault::new(format!("test `{}` expects nothing", trial.name));
                let help = "end it with a SELECT over a view, a table that is inserted into, or counters";
                self.problems.push(Problem::new(Some(trial.place.clone()), fault.help(help)));
            }
        }
        if self.problems.is_empty() {
            Ok(Script { file: self.file.clone(), trials: self.trials })
        } else {
            self.problems.sort_by_key(|problem| problem.place.as_ref().map(|place| place.span.start));
            Err(self.problems)
        }
    }
}

fn before_the_first(what: &str) -> Fault {
    Fault::new(format!("{what} stands before the first test")).help("a test begins with -- test: what it shows")
}

/// The word that a step begins with, and what stands behind it.
fn step(comment: &str) -> Option<(&str, &str)> {
    if BARE.contains(&comment) {
        return Some((comment, ""));
    }
    let (word, rest) = comment.split_once(':')?;
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_word.then(|| (word, rest.trim()))
}

/// Steps that are a word and nothing else.
const BARE: [&str; 3] = ["restart", "kill", "close"];

/// What would be a step if its word had a colon, or were written right.
fn nearly_a_step(comment: &str) -> Option<String> {
    if !comment.contains(' ') {
        let word = comment.trim_end_matches([':', '.', ';']).to_lowercase();
        let near = |known: &&&str| strsim::damerau_levenshtein(&word, known) <= 1;
        return BARE.iter().find(near).map(|known| (*known).to_owned());
    }
    let (word, rest) = comment.split_once(' ')?;
    let rest = rest.trim();
    let is_step = match word {
        "at" => time_ns(rest).is_some(),
        "advance" => humantime::parse_duration(rest).is_ok(),
        "move" | "partitions" => rest.parse::<i32>().is_ok(),
        _ => false,
    };
    is_step.then(|| format!("{word}: {rest}"))
}

/// A time, of the first day where it has no date; UTC.
pub(super) fn time_ns(text: &str) -> Option<i64> {
    let is_time = text.as_bytes().get(2) == Some(&b':');
    let whole = if is_time { format!("{DAY}T{text}") } else { text.to_owned() };
    string_to_timestamp_nanos(&whole).ok()
}

/// The text of a file with other tables: the lines that each stands for, and its rows.
pub fn blessed(text: &str, tables: &[(Range<usize>, TextTable)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut tables: Vec<_> = tables.iter().collect();
    tables.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    for (range, table) in tables {
        let written = table.lines().into_iter().map(|line| format!("-- {line}"));
        lines.splice(range.clone(), written);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, Vec<String>> {
        let problems = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
        Script::parse(Path::new("x.test.sql"), text.to_owned()).map_err(problems)
    }

    #[test]
    fn steps_come_in_the_order_in_which_they_are_written() {
        let text = "-- Words before.\n\n-- test: one; two\n-- partitions: 2\n-- at: 00:00:05\nINSERT INTO s (a) VALUES (1);\nCREATE VIEW w AS SELECT 1;\n\
                    -- advance: 2s\n-- kill\n-- move: partition 1\n-- A comment.\nSELECT a, b FROM v\nORDER BY a;\n\
                    -- | a | b |\n-- |---|---|\n-- | 1 | x |\n-- restart\n-- test: two\n-- close\n-- error: no\n";
        let script = parse(text).expect("parses");
        assert_eq!(script.trials.iter().map(|trial| trial.name.as_str()).collect::<Vec<_>>(), ["one; two", "two"]);
        let one = &script.trials[0];
        let words = |step: &Step| match &step.action {
            Action::At(time_ns) => format!("at {}", (time_ns - BEGIN_NS) / 1_000_000_000),
            Action::Advance(by_ns) => format!("advance {}", by_ns / 1_000_000_000),
            Action::Move(partition) => format!("move {partition}"),
            Action::Deliver(Rows { stream, columns, .. }) => format!("{stream} {columns:?}"),
            Action::Define(statement) => statement.text().to_owned(),
            Action::Expect(of) => format!("{} {} {:?} {:?}", of.statement.text(), of.is_ordered, of.table, of.lines),
            other => format!("{other:?}"),
        };
        let table = TextTable { columns: vec!["a".into(), "b".into()], rows: vec![vec!["1".into(), "x".into()]] };
        assert_eq!(
            one.steps.iter().map(words).collect::<Vec<_>>(),
            [
                "at 5".to_owned(),
                "s [\"a\"]".to_owned(),
                "CREATE VIEW w AS SELECT 1".to_owned(),
                "advance 2".to_owned(),
                "Kill".to_owned(),
                "move 1".to_owned(),
                format!("SELECT a, b FROM v\nORDER BY a true {:?} 13..16", Some(table)),
                "Restart".to_owned(),
            ]
        );
        assert_eq!((one.partitions, script.trials[1].steps[0].error.as_deref()), (2, Some("no")));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = "SELECT 1;\n-- test: a\n-- expct: x\n-- at: noon\n-- advance: soon\n-- move: 3\n-- partitions: 0\n\
                    -- | a |\nSELECT 1;\n-- | a | b |\n-- | 1 |\n-- test: a\nSELEC 2;\n";
        let problems = parse(text).expect_err("is refused");
        let expected = [
            "x.test.sql:1:1: a statement stands before the first test",
            "x.test.sql:3:1: `expct:` is no step of a test",
            "x.test.sql:4:1: `noon` is no time",
            "x.test.sql:5:1: `soon` is no duration",
            "x.test.sql:6:1: `3` is no partition of this test",
            "x.test.sql:7:1: `0` is no number of partitions from 1 to 1000",
            "x.test.sql:8:1: a row of a table that no SELECT stands before",
            "x.test.sql:11:1: has 1 cell, but the table has 2 columns",
            "x.test.sql:12:1: there is a test `a` above",
            "x.test.sql:13:1: Expected: an SQL statement, found: SELEC",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}\n{expected}");
        }
        assert_eq!(
            parse("-- no tests\n").expect_err("refused"),
            ["x.test.sql: holds no test; a test begins with -- test: what it shows"]
        );
        let nothing = parse("-- test: a\n-- close\n").expect_err("refused");
        assert!(nothing[0].starts_with("x.test.sql:1:1: test `a` expects nothing"), "{nothing:?}");
    }

    #[test]
    fn tables_are_written_where_they_stand() {
        let text =
            "-- test: a\nSELECT 1 AS a;\n-- | a |\n-- |---|\n-- | 2 |\nSELECT 2 AS b;\n\n-- test: b\nSELECT 3 AS c;";
        let script = parse(text).expect("parses");
        let steps = script.trials.iter().flat_map(|trial| &trial.steps);
        let tables: Vec<_> = steps
            .zip(["1", "2", "3"])
            .filter_map(|(step, value)| match &step.action {
                Action::Expect(of) => {
                    Some((of.lines.clone(), TextTable { columns: vec!["n".into()], rows: vec![vec![value.into()]] }))
                }
                _ => None,
            })
            .collect();
        assert_eq!(
            blessed(text, &tables),
            "-- test: a\nSELECT 1 AS a;\n-- | n |\n-- |---|\n-- | 1 |\nSELECT 2 AS b;\n-- | n |\n-- |---|\n-- | 2 |\n\n\
             -- test: b\nSELECT 3 AS c;\n-- | n |\n-- |---|\n-- | 3 |\n"
        );
    }
}
