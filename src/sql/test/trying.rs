//! One test: its steps on a rehearsal, and what is not as it says.

use crate::sql::{Planning, outlet::Outlets};
use amoskys_pipeline::{
    sql::{Dataflow, Statement},
    trial::{
        Action, COUNTERS, DEAD_LETTERS, Expectation, FAILURES, Rehearsal, Step, Tables, TextTable, Trial, counters,
        dead_letters, failures, query,
    },
};
use anyhow::Result;
use std::{collections::BTreeMap, ops::Range};

/// Something is not as the test says.
pub struct Failure {
    /// From 1.
    pub line: usize,
    pub message: String,
    /// What is expected and not there (`-`), and the other way (`+`).
    pub lines: Vec<String>,
    /// The table that would be right, and the lines of the file that it goes to.
    pub table: Option<(Range<usize>, TextTable)>,
}

/// Behind what is wrong.
const OPEN_STILL: &str = "; windows of the last rows are open still: -- close before the SELECT closes them (-- advance does where the stream has `idle`)";

impl Failure {
    /// Rows are expected that are not there, or none are there at all.
    fn lacks_rows(&self) -> bool {
        let others = self.lines.iter().filter(|line| line.starts_with('+')).count();
        let is_empty = self.table.as_ref().is_some_and(|(_, table)| table.rows.is_empty());
        is_empty || self.lines.iter().filter(|line| line.starts_with('-')).count() > others
    }
}

/// Runs tests one after another over one plan.
pub struct Trying<'a> {
    dataflow: &'a Dataflow,
    outlets: Outlets,
    planning: &'a Planning,
}

impl<'a> Trying<'a> {
    pub fn new(dataflow: &'a Dataflow, planning: &'a Planning) -> Result<Self> {
        Ok(Self { dataflow, outlets: Outlets::of(dataflow)?, planning })
    }

    pub fn run(&mut self, trial: &Trial) -> Result<Vec<Failure>> {
        let own: Vec<(&Step, &Statement)> = trial
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Define(statement) => Some((step, statement)),
                _ => None,
            })
            .collect();
        if own.is_empty() {
            return steps(trial, self.dataflow, &mut self.outlets);
        }
        let statements = own.iter().map(|(_, statement)| (*statement).clone());
        let asked = trial.steps.iter().filter_map(|step| match &step.action {
            Action::Expect(expectation) => Some(expectation.tables.iter().cloned()),
            _ => None,
        });
        let refusal = own.iter().find_map(|(step, _)| Some((*step, step.error.as_ref()?)));
        match (self.planning.plan_with(statements, asked.flatten())?, refusal) {
            (Ok(dataflow), None) => steps(trial, &dataflow, &mut Outlets::of(&dataflow)?),
            (Ok(_), Some((step, words))) => {
                Ok(vec![failure(step, format!("is planned, and was to be refused with `{words}`"))])
            }
            (Err(problems), Some((_, words))) if problems.0.iter().any(|problem| problem.message.contains(words)) => {
                Ok(Vec::new())
            }
            (Err(problems), _) => {
                let step = refusal.map_or(own[0].0, |(step, _)| step);
                let mut failure = failure(step, "is refused".to_owned());
                failure.lines = problems.0.iter().map(ToString::to_string).collect();
                Ok(vec![failure])
            }
        }
    }
}

fn failure(step: &Step, message: String) -> Failure {
    Failure { line: step.place.start().0, message, lines: Vec::new(), table: None }
}

fn steps(trial: &Trial, dataflow: &Dataflow, outlets: &mut Outlets) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    let mut rehearsal = match Rehearsal::new(dataflow, trial.partitions) {
        Ok(rehearsal) => rehearsal,
        Err(error) => {
            let line = trial.place.start().0;
            return Ok(vec![Failure { line, message: error.to_string(), lines: Vec::new(), table: None }]);
        }
    };
    // Rows came, and nothing since that would let windows close.
    let mut waits = false;
    for step in &trial.steps {
        match &step.action {
            Action::Deliver(_) => waits = true,
            Action::At(_) | Action::Advance(_) | Action::Close => waits = false,
            _ => {}
        }
        let done = match &step.action {
            Action::Deliver(rows) => rehearsal.deliver(rows),
            Action::At(time_ns) => rehearsal.at(*time_ns),
            Action::Advance(by_ns) => rehearsal.advance(*by_ns),
            Action::Restart => rehearsal.restart(),
            Action::Kill => rehearsal.kill(),
            Action::Move(partition) => rehearsal.move_partition(*partition),
            Action::Close => rehearsal.close(),
            Action::Define(_) => continue,
            Action::Expect(expectation) => {
                let mut failure = ask(step, expectation, &rehearsal, outlets)?;
                if let Some(failure) = failure.as_mut().filter(|failure| failure.lacks_rows() && waits) {
                    failure.message.push_str(OPEN_STILL);
                }
                failures.extend(failure);
                continue;
            }
        };
        match (done, &step.error) {
            (Ok(()), None) => {}
            (Ok(()), Some(words)) => {
                failures.push(failure(step, format!("did not fail, and was to fail with `{words}`")))
            }
            (Err(error), Some(words)) if error.to_string().contains(words) => {}
            (Err(error), words) => {
                let wanted = words.as_ref().map(|words| format!("; was to fail with `{words}`"));
                failures.push(failure(step, format!("fails: {error}{}", wanted.unwrap_or_default())));
                // What comes after it would only follow from it.
                return Ok(failures);
            }
        }
    }
    Ok(failures)
}

fn ask(
    step: &Step,
    expectation: &Expectation,
    rehearsal: &Rehearsal<'_>,
    outlets: &mut Outlets,
) -> Result<Option<Failure>> {
    let rows = query(&expectation.statement.ast, &tables(rehearsal, outlets)?).and_then(|rows| TextTable::of(&rows));
    let actual = match (rows, &step.error) {
        (Err(error), Some(words)) if error.contains(words) => return Ok(None),
        (Err(error), _) => return Ok(Some(failure(step, format!("fails: {error}")))),
        (Ok(_), Some(words)) => {
            return Ok(Some(failure(step, format!("did not fail, and was to fail with `{words}`"))));
        }
        (Ok(actual), None) => actual,
    };
    let (message, lines) = match &expectation.table {
        None => ("has no table behind it; --bless writes it".to_owned(), actual.lines()),
        Some(expected) => match expected.differences(&actual, expectation.is_ordered) {
            None => return Ok(None),
            Some(lines) => ("gives other rows".to_owned(), lines),
        },
    };
    Ok(Some(Failure { lines, table: Some((expectation.lines.clone(), actual)), ..failure(step, message) }))
}

/// All that came out so far.
fn tables(rehearsal: &Rehearsal<'_>, outlets: &mut Outlets) -> Result<Tables> {
    let mut tables: Tables =
        outlets.all().map(|(name, schema)| (name.to_owned(), (schema.clone(), Vec::new()))).collect::<BTreeMap<_, _>>();
    let names: Vec<String> = outlets.all().map(|(name, _)| name.to_owned()).collect();
    for (flow, emission) in rehearsal.emissions() {
        let (outlet, rows) = outlets.rows(*flow, emission)?;
        if let Some((_, all)) = tables.get_mut(&names[outlet]) {
            all.push(rows);
        }
    }
    // What the SQL defines by these names is meant.
    for (name, table) in
        [(COUNTERS, counters(rehearsal)?), (DEAD_LETTERS, dead_letters(rehearsal)?), (FAILURES, failures(rehearsal)?)]
    {
        tables.entry(name.to_owned()).or_insert(table);
    }
    Ok(tables)
}
