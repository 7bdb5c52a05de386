//! `sql run`: what the SQL computes over files, as it would have live; or from now on, for a look.

use super::{
    Planning,
    outlet::Outlets,
    output::{Format, Named, Outputs, Target},
    over,
};
use crate::{
    cli::{self, DONE, Misuse},
    print::counted,
    stop,
    topics::Login,
};
use amoskys_bus::Address;
use amoskys_pipeline::{
    run::{Emission, HistoryCounts, HistoryOptions, TailError, TailFrom, TailOptions, TailTo, Verify, tail},
    sql::{Dataflow, Wanted},
};
use amoskys_proto::KeyRing;
use anyhow::{Result, bail};
use clap::Args;
use std::{collections::BTreeSet, io::IsTerminal, num::NonZeroUsize, ops::ControlFlow, path::PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
FILE is a file, a folder or a glob of Parquet, Arrow IPC (.arrow), JSON lines (.jsonl) or CSV. Folders such as
`_partition=3` or `day=2026-01-02` are columns. Rows are taken in the order of `_partition` and `_offset` where files
have them, as `amoskys topics export` writes them, sorted where the files are not in that order; else as one partition in
the order of the files and their lines, or of event time by --sort-by-time. All windows are closed at the end.

Without --view: what the INSERTs write, as it would be read from their topics. With it: the rows of views, or of tables
that are inserted into. Several go into a folder, a file for each, or to standard output as a table or JSON.

With --bus and without --from it follows the topics until it is interrupted: no consumer group, nothing is committed,
nothing written, so it disturbs nobody. Windows that were open when it began lack what came before.

Examples:
  amoskys topics export amoskys.telemetry.process.v1 --output processes.parquet
  amoskys sql run sql --from processes=processes.parquet
  amoskys sql run sql --from processes=processes.parquet --view process_activity --output features.parquet
  amoskys sql run sql --bus kafka://127.0.0.1:9092 --view process_activity
  amoskys sql run sql --from 'processes=history/day=2026-01-*' --partitions 0-3 --output out --format parquet")]
pub struct Command {
    /// Folders and files of SQL.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    /// What a stream is read from; may be given several times. Without it the streams' topics are followed.
    #[arg(long, value_name = "NAME=FILE", value_parser = over::source)]
    from: Vec<(String, PathBuf)>,
    #[command(flatten)]
    sorting: over::Sorting,
    /// The log whose topics are followed: kafka://host:port, nats://host:port or local:PATH.
    #[arg(long, value_name = "URL", env = "AMOSKYS_BUS", value_parser = cli::address)]
    bus: Option<Address>,
    #[command(flatten)]
    login: Login,
    /// With --bus: begin with all that the topics hold, not with what is written from now on.
    #[arg(long, conflicts_with = "from")]
    from_beginning: bool,
    /// With --bus: leave out envelopes that are signed by none of the public keys in this folder, as processors do.
    #[arg(long, value_name = "DIR", conflicts_with = "from")]
    keys_dir: Option<PathBuf>,
    /// End after this many rows.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// A view, or a table that is inserted into, whose rows are wanted; may be given several times.
    #[arg(long, value_name = "NAME")]
    view: Vec<String>,
    /// By the ending of --output when left out; else a table on a terminal, and JSON.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Where the rows go, a folder for several views; standard output when left out (not for Parquet).
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Overwrite files that exist.
    #[arg(long)]
    force: bool,
    /// Only these partitions, e.g. 0-3 or 0,4,8: a share of the whole, for as many machines as there are shares.
    #[arg(long, value_name = "LIST", value_parser = partitions)]
    partitions: Option<Partitions>,
    /// How many partitions are done at once; as many as there are cores when left out. The rows are the same.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
}

/// A set that clap takes as one value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Partitions(BTreeSet<i32>);

/// More is a mistake in writing.
const PARTITIONS_MAX: i32 = 1_000_000;

fn partitions(text: &str) -> Result<Partitions, String> {
    let wrong = |part: &str| format!("`{part}` is no partition and no range of them such as 0-3");
    let number = |part: &str| match part.trim().parse::<i32>() {
        Ok(number) if (0..PARTITIONS_MAX).contains(&number) => Ok(number),
        _ => Err(wrong(part)),
    };
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => match (number(first)?, number(last)?) {
                (first, last) if first <= last => all.extend(first..=last),
                _ => return Err(wrong(part)),
            },
            None => all.extend([number(part)?]),
        }
    }
    Ok(Partitions(all))
}

pub fn run(command: Command) -> Result<u8> {
    let wanted = if command.view.is_empty() { Wanted::Inserts } else { Wanted::Rows(command.view.clone()) };
    let planning = Planning::new(&command.sql, &command.models, wanted);
    if command.from.is_empty() {
        let Some(bus) = &command.bus else {
            bail!(Misuse("say by --from NAME=FILE what to read, or by --bus URL which topics to follow".into()));
        };
        return follow(&command, bus, &planning.planned()?);
    }
    cli::files_alone()?;
    let dataflows = planning.planned_for(over::threads(command.threads))?;
    let history = over::history(&command.from);
    let mut outlets = Outlets::some_of(&dataflows[0])?;
    let target = Target { format: command.format, path: command.output, force: command.force };
    // Who names a table wants to see its rows.
    let named = outlets.named(command.view.is_empty());
    if let (Some(_), Some(Named { name, .. })) = (command.max, named.iter().find(|named| named.file.is_some())) {
        bail!(Misuse(format!("--max would leave a part of `{name}` in its file; see its rows by --view {name}")));
    }
    let mut outputs = Outputs::open(&target, &named)?;
    let options =
        HistoryOptions { partitions: command.partitions.map(|Partitions(set)| set), ..command.sorting.options() };
    let (mut written, mut left) = (Ok(()), command.max.unwrap_or(usize::MAX));
    let counts = over::files(&dataflows, &history, &options, &mut |flow, emission| {
        written = write(&mut outlets, &mut outputs, &mut left, (flow, &emission));
        if written.is_ok() && left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    if let (Some(set), 0) = (&options.partitions, counts.rows) {
        let asked = counted(set.len(), "partition");
        tracing::warn!("none of the {asked} of --partitions has a row in these files");
    }
    let rows = outputs.close()?;
    summary(&counts, outlets.all().map(|(name, _)| name).zip(rows));
    Ok(DONE)
}

/// At most `left` of an emission's rows.
fn write(
    outlets: &mut Outlets,
    outputs: &mut Outputs,
    left: &mut usize,
    (flow, emission): (usize, &Emission),
) -> Result<()> {
    let (outlet, rows) = outlets.rows(flow, emission)?;
    let rows = rows.slice(0, rows.num_rows().min(*left));
    *left -= rows.num_rows();
    outputs.write(outlet, &rows)
}

/// Prints what comes of records as they come.
fn follow(command: &Command, bus: &Address, dataflow: &Dataflow) -> Result<u8> {
    let usual = if std::io::stdout().is_terminal() { Format::Table } else { Format::Json };
    let format = command.format.unwrap_or(usual);
    if command.output.is_some() || command.partitions.is_some() || !matches!(format, Format::Table | Format::Json) {
        let hint = "--output, --partitions and other formats are for files, by --from";
        bail!(Misuse(format!("what follows topics is printed as it comes, as a table or JSON; {hint}")));
    }
    let verify = match &command.keys_dir {
        Some(folder) => Verify::by(KeyRing::load(folder).map_err(Misuse::because)?),
        None => Verify::Off,
    };
    let mut outlets = Outlets::some_of(dataflow)?;
    let target = Target { format: Some(format), path: None, force: false };
    let mut outputs = Outputs::open(&target, &outlets.named(false))?;
    let stop = stop::on_signal()?;
    let from = if command.from_beginning { TailFrom::Earliest } else { TailFrom::Latest };
    let bus = command.login.open(bus, false)?;
    let (mut written, mut left) = (Ok(()), command.max.unwrap_or(usize::MAX));
    let options = TailOptions { verify, from, to: TailTo::Stop };
    tail(bus.as_ref(), dataflow, &options, &stop, &mut |flow, emission| {
        written = write(&mut outlets, &mut outputs, &mut left, (flow, &emission)).and_then(|()| outputs.flush());
        if written.is_ok() && left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .map_err(|error| match error {
        // Says itself whose fault it is.
        TailError::Bus(error) => anyhow::Error::from(error),
        error => error.into(),
    })?;
    written?;
    outputs.close()?;
    Ok(DONE)
}

/// What was read and what came of it; what did not count is told, since nobody sees it in the rows.
fn summary<'a>(counts: &HistoryCounts, outputs: impl Iterator<Item = (&'a str, usize)>) {
    let outputs: Vec<String> = outputs.map(|(name, rows)| format!("{} of {name}", counted(rows, "row"))).collect();
    tracing::info!(rows = counts.rows, windows = counts.closed_windows, "{}", outputs.join(", "));
    let left_out = [
        (counts.dead_records, "do not decode, which makes them dead letters of a processor (on_error)"),
        (counts.late_rows, "late for their window"),
        (counts.quarantined_rows, "ahead of the log's time, beyond what the stream allows"),
        (counts.rows_without_time, "without event time"),
        (counts.shed_rows, "over a bound of the stream's state"),
    ];
    for (rows, why) in left_out.into_iter().filter(|(rows, _)| *rows > 0) {
        tracing::warn!(rows, "left out: {why}");
    }
    if counts.late_rows > counts.rows / 10 {
        tracing::warn!(
            "more than a tenth came late: files without _offset are read in their own order, or in that of event time by --sort-by-time"
        );
    }
    if counts.nulled_values > 0 {
        let values = counts.nulled_values;
        tracing::warn!(values, "values of another type than their columns' are null (on_error)");
    }
    if counts.duplicate_records > 0 {
        tracing::info!(records = counts.duplicate_records, "left out: envelopes that came before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_numbers_and_ranges() {
        let set = |numbers: &[i32]| Ok(Partitions(numbers.iter().copied().collect()));
        assert_eq!(partitions("0-3"), set(&[0, 1, 2, 3]));
        assert_eq!(partitions("7, 1-2,7"), set(&[1, 2, 7]));
        for (text, part) in [("", ""), ("3-1", "3-1"), ("1,x", "x"), ("-1", ""), ("0-2000000", "2000000")] {
            let error = partitions(text).expect_err(text);
            assert_eq!(error, format!("`{part}` is no partition and no range of them such as 0-3"));
        }
    }
}
