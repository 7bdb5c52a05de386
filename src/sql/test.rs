//! `sql test`: the tests beside the SQL, each on a clock and partitions of its own.
//!
//! Limits: a plan for each thread that tests run in; all tests of one run share the folder's SQL.

mod report;
mod trying;

use super::{Planning, SqlIsWrong, over};
use crate::{
    cli::{DONE, FAILED, Misuse},
    print::{self, Format},
};
use amoskys_pipeline::{
    sql::{self, Problem, Problems, Wanted, views_of},
    trial::{Action, Script, Trial, blessed},
};
use anyhow::{Context, Result, bail};
use clap::Args;
use report::Report;
use std::{
    collections::BTreeSet,
    io::IsTerminal,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use trying::{Failure, Trying};

/// Fewer tests than this are not worth another plan.
const TESTS_PER_THREAD: usize = 16;

#[derive(Debug, Args)]
#[command(after_help = "\
Tests of x.sql are in x.test.sql beside it. Comments that begin with a word and a colon are steps, and so are statements:

  -- test: three commands of discovery are an alert
  -- at: 12:00:00
  INSERT INTO processes (kind, comm, parent_comm, parent_pid) VALUES
    ('PROCESS_EVENT_KIND_EXEC', 'whoami', 'sh', 7);
  -- advance: 30s
  SELECT detection, entity FROM alerts;
  -- | detection | entity |
  -- |-----------|--------|

An INSERT of rows delivers a record for each. Columns that are left out are absent in it. Beside the stream's own there are
agent_id, host_id, boot_id and sequence (of an envelope), _partition, _log_time, and _payload (the record's bytes, in the place of
columns). The event time is the clock's where it is left out; a row comes when it happened, or now if that is later, where _log_time
does not say when. Times without a date are of 2026-01-01, where the clock begins.

  -- test: NAME        begins a test: its own clock, its own empty topics
  -- partitions: N     of every topic; 1 when left out
  -- at: TIME          sets the clock, never back
  -- advance: DURATION lets time pass; partitions that nothing comes to become idle
  -- restart           the processor commits and ends, another goes on
  -- kill              it ends before it has committed what came of the last step
  -- move: PARTITION   another processor gets the partition
  -- close             the topics end: every window closes, as at the end of history
  -- error: WORDS      what the step before this fails with

A SELECT is asked over views, the tables that are inserted into (their records, as `sql run` shows them), `counters`,
`dead_letters` and `failed_expressions` (which could not be computed for a row); the rows that it has to have stand behind it. Rows may come in any order unless it has ORDER BY. --bless writes
them. Other statements (CREATE VIEW …) are that test's own, beside the SQL of the files, or in the place of what has their name there.

Exit code 0: all tests passed; 1: some did not; 2: the SQL or a test is wrong.

Examples:
  amoskys sql test sql
  amoskys sql test sql --filter discovery --bless
  amoskys sql test sql --junit tests.xml")]
pub struct Command {
    /// Folders and files of SQL, with their tests.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    /// Only tests whose file or name has this in it.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write what comes out into the files, in the place of what was expected.
    #[arg(long)]
    bless: bool,
    /// Print the names of the tests, and run none.
    #[arg(long, conflicts_with = "bless")]
    list: bool,
    /// How many tests run at once; as many as there are cores when left out.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Write the results as JUnit's XML too, for CI.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
}

/// A test and what became of it.
struct Outcome<'a> {
    script: &'a Script,
    trial: &'a Trial,
    failures: Vec<Failure>,
    time: Duration,
}

impl Outcome<'_> {
    fn file(&self) -> String {
        self.script.file.path.display().to_string()
    }
}

pub fn test(command: &Command) -> Result<u8> {
    let scripts = scripts(command)?;
    let wanted = |script: &Script, trial: &Trial| {
        let file = script.file.path.display().to_string();
        command.filter.as_ref().is_none_or(|text| trial.name.contains(text) || file.contains(text))
    };
    let all = || scripts.iter().flat_map(|script| script.trials.iter().map(move |trial| (script, trial)));
    let trials: Vec<_> = all().filter(|(script, trial)| wanted(script, trial)).collect();
    if trials.is_empty() {
        bail!(Misuse(format!(
            "none of {} tests has `{}` in its file or name",
            all().count(),
            command.filter.as_deref().unwrap_or_default()
        )));
    }
    if command.list {
        match command.format {
            Format::Text => trials.iter().try_for_each(|(script, trial)| {
                print::line(format_args!("{}: {}", script.file.path.display(), trial.name))
            })?,
            Format::Json => {
                let named = trials
                    .iter()
                    .map(|(script, trial)| serde_json::json!({ "file": script.file.path, "test": trial.name }));
                let all: Vec<serde_json::Value> = named.collect();
                print::line(serde_json::to_string_pretty(&all)?)?;
            }
        }
        return Ok(DONE);
    }
    let begun = Instant::now();
    let outcomes = run_all(command, &trials)?;
    let report = Report { outcomes: &outcomes, time: begun.elapsed() };
    if let Some(path) = &command.junit {
        std::fs::write(path, report.junit()?).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let written = if command.bless { bless(&outcomes)? } else { 0 };
    match command.format {
        Format::Text => print::text(report.text(written, std::io::stdout().is_terminal()))?,
        Format::Json => print::line(report.json()?)?,
    }
    let has_failed =
        outcomes.iter().any(|outcome| outcome.failures.iter().any(|failure| !command.bless || failure.table.is_none()));
    Ok(if has_failed { FAILED } else { DONE })
}

/// What is wrong with any of the files is told at once.
fn scripts(command: &Command) -> Result<Vec<Script>> {
    if let Some(path) = command.sql.iter().find(|path| !path.exists()) {
        bail!(Misuse(format!("{}: there is no such file or folder", path.display())));
    }
    let files = sql::tests_below(&command.sql)
        .map_err(|(path, error)| Misuse(format!("{} cannot be read: {error}", path.display())))?;
    if files.is_empty() {
        let hint = "tests of x.sql are in x.test.sql beside it (amoskys sql test --help)";
        bail!(Misuse(format!(
            "no test is below {}; {hint}",
            command.sql.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        )));
    }
    let (mut scripts, mut problems): (Vec<Script>, Vec<Problem>) = (Vec::new(), Vec::new());
    for file in files {
        let text =
            sql::text_of(&file).map_err(|error| Misuse(format!("{} cannot be read: {error}", file.display())))?;
        match Script::parse(&file, text) {
            Ok(script) => scripts.push(script),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(scripts) } else { Err(SqlIsWrong::new(Problems(problems)).into()) }
}

/// Every test, in their order.
fn run_all<'a>(command: &Command, trials: &[(&'a Script, &'a Trial)]) -> Result<Vec<Outcome<'a>>> {
    let files: Vec<PathBuf> = command.sql.iter().filter(|path| !sql::is_test(path)).cloned().collect();
    if files.is_empty() {
        bail!(Misuse(
            "tests need the SQL that they are of: give its folder, and --filter for some of its tests".into()
        ));
    }
    let mut planning = Planning::new(&files, &command.models, Wanted::Inserts);
    let views: BTreeSet<String> = views_of(&planning.sources).into_iter().collect();
    let asked = trials.iter().flat_map(|(_, trial)| &trial.steps).filter_map(|step| match &step.action {
        Action::Expect(expectation) => Some(expectation.tables.iter()),
        _ => None,
    });
    let asked: BTreeSet<String> = asked.flatten().filter(|name| views.contains(*name)).cloned().collect();
    planning.wanted = Wanted::All(asked.into_iter().collect());
    let useful = over::threads(None).min(trials.len().div_ceil(TESTS_PER_THREAD));
    let threads = command.jobs.map_or(useful, NonZeroUsize::get).min(trials.len());
    let dataflows = planning.planned_for(threads)?;
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let run = |dataflow| -> Result<()> {
            let mut trying = Trying::new(dataflow, &planning)?;
            while let Some(&(script, trial)) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begun = Instant::now();
                let failures = trying.run(trial)?;
                let outcome = Outcome { script, trial, failures, time: begun.elapsed() };
                done.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            }
            Ok(())
        };
        let running: Vec<_> = dataflows.iter().map(|dataflow| scope.spawn(move || run(dataflow))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut outcomes = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let place = |outcome: &Outcome<'_>| (outcome.script.file.path.clone(), outcome.trial.place.span.start);
    outcomes.sort_by_cached_key(place);
    Ok(outcomes)
}

/// Writes what came out into the files; how many tables.
fn bless(outcomes: &[Outcome<'_>]) -> Result<usize> {
    let mut written = 0;
    for of_file in outcomes.chunk_by(|a, b| a.script.file.path == b.script.file.path) {
        let failures = of_file.iter().flat_map(|outcome| &outcome.failures);
        let tables: Vec<_> = failures.filter_map(|failure| failure.table.clone()).collect();
        let [first, ..] = of_file else { continue };
        if !tables.is_empty() {
            let file = &first.script.file;
            std::fs::write(&file.path, blessed(&file.text, &tables))
                .with_context(|| format!("{} cannot be written", file.path.display()))?;
        }
        written += tables.len();
    }
    Ok(written)
}
