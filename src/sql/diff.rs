//! `sql diff`: two versions of the SQL over the same history, and what the second would have written otherwise.
//!
//! Both write what they give into files, which are sorted, on disk where they are larger than memory, and gone through together.
//! Deliberately not here: what a change means.

mod compare;
mod report;
mod spool;
mod version;

use super::{Planning, SqlIsWrong, models_below, over};
use crate::{
    cli::{DONE, FAILED, Misuse},
    print::{self, Format},
    roles::Models,
};
use amoskys_pipeline::{
    run::{History, HistoryOptions},
    sql::{Dataflow, Wanted},
};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use compare::{Comparison, compare};
use report::Report;
use spool::{Spool, Tables};
use std::{num::NonZeroUsize, ops::ControlFlow, path::PathBuf, sync::Arc};
use version::Version;

#[derive(Debug, Args)]
#[command(after_help = "\
OLD and NEW are folders or files of SQL, or revisions of git: HEAD~1 (then with the other's path) or main:sql.

Both run over the same history, as `sql run` does. Rows are the same when their keys are: of alerts detection, host_id, entity and
time; of feature rows view, host_id, entity and the window; of other tables all columns, so that their rows are new or lost, never
changed. --key says otherwise. Ids and provenance are not compared: they change with the SQL's text.

Exit code 0: compared; 1: a gate (--fail-on, --max-alerts-per-host-day) says no; 2: wrong use, or SQL that does not plan.

Examples:
  amoskys sql diff HEAD sql --from processes=history.parquet
  amoskys sql diff main:sql sql --from processes=history.parquet --fail-on lost --max-alerts-per-host-day 5
  amoskys sql diff old new --from logins=logins.jsonl --key scores=host,window --format json")]
pub struct Command {
    /// The version that runs, or ran.
    #[arg(value_name = "OLD")]
    old: String,
    /// The version that is to run.
    #[arg(value_name = "NEW")]
    new: String,
    /// What a stream is read from; may be given several times.
    #[arg(long, required = true, value_name = "NAME=FILE", value_parser = over::source)]
    from: Vec<(String, PathBuf)>,
    #[command(flatten)]
    sorting: over::Sorting,
    /// What makes rows of a table the same; may be given for several tables.
    #[arg(long, value_name = "TABLE=COLUMN,…", value_parser = key)]
    key: Vec<(String, Vec<String>)>,
    /// How many new, lost and changed rows of each table are shown.
    #[arg(long, default_value_t = 10, value_name = "N")]
    rows: usize,
    /// Fail when NEW alerts more often than this on any host and day (UTC).
    #[arg(long, value_name = "N")]
    max_alerts_per_host_day: Option<u64>,
    /// Fail when there is any such row; may be given several times.
    #[arg(long, value_enum)]
    fail_on: Vec<Kind>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// How many partitions are done at once; as many as there are cores when left out.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Models of both versions.
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    New,
    Lost,
    Changed,
}

fn key(text: &str) -> Result<(String, Vec<String>), String> {
    let parts = text.split_once('=').map(|(table, columns)| (table, columns.split(',').map(str::trim)));
    match parts {
        Some((table, columns)) if !table.is_empty() && columns.clone().all(|column| !column.is_empty()) => {
            Ok((table.to_owned(), columns.map(str::to_owned).collect()))
        }
        _ => Err(format!("`{text}` is not TABLE=COLUMN,COLUMN, e.g. alerts=detection,host_id")),
    }
}

pub fn diff(command: &Command) -> Result<u8> {
    let old = Version::of(&command.old, &command.new)?;
    let new = Version::of(&command.new, &command.old)?;
    let models = models_below(&command.models);
    let [old, new] = [&old, &new].map(|version| plans(version, &models, command.threads));
    let (old, new) = (old?, new?);
    let tables = Tables::of([&old[0], &new[0]], &command.key)?;
    let history = over::history(&command.from);
    if let Some(name) = history.keys().find(|name| ![&old, &new].iter().any(|plans| over::reads(&plans[0], name))) {
        bail!(Misuse(format!("neither version reads a stream `{name}`")));
    }
    let options = command.sorting.options();
    let before = spool(&old, (&history, &options), &tables)?;
    let after = spool(&new, (&history, &options), &tables)?;
    let comparisons: Vec<Comparison> = compare(&tables, &before, &after, command.rows)?;
    let report =
        Report { comparisons: &comparisons, limit: command.max_alerts_per_host_day, fail_on: &command.fail_on };
    match command.format {
        Format::Text => print::text(report.text())?,
        Format::Json => print::line(report.json()?)?,
    }
    Ok(if report.refusals().is_empty() { DONE } else { FAILED })
}

fn plans(version: &Version, models: &Arc<Models>, threads: Option<NonZeroUsize>) -> Result<Vec<Dataflow>> {
    let (sources, models) = (version.sources.clone(), models.clone());
    let planning = Planning { sources, models, wanted: Wanted::Inserts };
    let plan = || -> Result<Dataflow> {
        let planned = planning.plan()?;
        planned.map_err(|problems| SqlIsWrong::of(&version.name, problems).into())
    };
    (0..over::threads(threads)).map(|_| plan()).collect()
}

/// What a version gives, in files.
fn spool(plans: &[Dataflow], (history, options): (&History, &HistoryOptions), tables: &Tables) -> Result<Spool> {
    // What only the other version reads is nothing to this one.
    let history = over::part_of(history, &plans[0]);
    let (mut spool, mut written) = (Spool::open(tables)?, Ok(()));
    over::files(plans, &history, options, &mut |flow, emission| {
        written = spool.write(tables, &plans[0].streams[flow].inserts[emission.insert], &emission);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    spool.close()
}
