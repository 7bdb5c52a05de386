//! `topics export`: what a topic holds now, as rows of a Parquet file.
//!
//! Reads up to where the topic ended when the export began, partition by partition, so that exporting the same records
//! twice gives the same rows in the same order. Goes into a temporary file beside the output, which takes its name at
//! the end; an interrupted export leaves nothing. Deliberately not here: following.
//! Memory: one batch of rows and one row group, bounded by constants here and in `sink`, and the reader's prefetch.

mod sink;

use super::{
    BusArguments, EXIT_DONE, EXIT_FAILED,
    content::Content,
    partitions::{POLL, Patience, Span, Start, spans},
    unfinished::{refuse_to_overwrite, unfinished_beside},
};
use crate::{
    cli::Misuse,
    print::Format,
    progress::{Done, Progress},
};
use amoskys_bus::{Change, Reader, ReaderOptions};
use amoskys_proto::KeyRing;
use serde_json::json;
use sink::{Counts, Sink};
use std::{
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

const PREFETCH_BYTES_MAX: usize = 32 << 20;
const POLL_RECORDS_MAX: usize = 512;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads from the beginning to where the topic ends now. A topic of envelopes gives a row per event, with agent_id, \
host_id, boot_id and sequence of its envelope; alerts, feature rows and dead letters a row per record; any other \
topic its records' key and payload, which `amoskys sql run` decodes as the stream says, unless --message names what they are. `_partition`, `_offset` and `_log_time` \
(nanoseconds) are always there, so `amoskys sql run … --from NAME=FILE.parquet` computes over the file what it would \
have computed live. Records that do not decode, or are not signed as they should be, are counted, told on standard error, and make the exit code 1 unless \
--skip-bad.

WITHOUT --keys-dir SIGNATURES ARE NOT VERIFIED, so what the file says of its hosts is what somebody wrote. With the \
keys of the processors, what they would refuse is left out.

Examples:
  export AMOSKYS_BUS=kafka://127.0.0.1:9092
  amoskys topics export amoskys.telemetry.process.v1 --output processes.parquet
  amoskys topics export amoskys.telemetry.process.v1 --output execs.parquet --force \\
      --columns host_id,observed_at,kind,pid,exe
  amoskys topics export amoskys.alerts.v1 --output a.parquet --bus local:/var/lib/amoskys/log")]
pub struct ExportArguments {
    /// The topic's name
    topic: String,
    #[command(flatten)]
    bus: BusArguments,
    /// The Parquet file to write
    #[arg(long, short, value_name = "FILE.parquet")]
    output: PathBuf,
    /// Overwrite the file if it exists
    #[arg(long)]
    force: bool,
    /// What the records are, by protobuf message, e.g. Envelope or Alert
    #[arg(long, value_name = "NAME")]
    message: Option<String>,
    /// Only these columns, in this order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// Only this partition
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// Leave out envelopes that are signed by none of the public keys in this folder
    #[arg(long, value_name = "DIR")]
    keys_dir: Option<PathBuf>,
    /// Exit with 0 although some records were left out
    #[arg(long)]
    skip_bad: bool,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

pub fn export(arguments: &ExportArguments, out: &mut dyn Write, stop: &AtomicBool) -> anyhow::Result<u8> {
    let output = &arguments.output;
    refuse_to_overwrite(output, arguments.force)?;
    let ending = output.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if ["csv", "json", "jsonl", "ndjson", "arrow", "txt"].contains(&ending) {
        return Err(Misuse(format!("{}: it is written as Parquet; name it .parquet", output.display())).into());
    }
    let pool = amoskys_proto::pool()?;
    let content = Content::of(&arguments.topic, arguments.message.as_deref(), &pool)?;
    let keys = arguments.keys_dir.as_deref().map(KeyRing::load).transpose().map_err(Misuse::because)?;
    let bus = arguments.bus.open(false)?;
    let mut reader = bus.reader(&ReaderOptions { prefetch_bytes_max: PREFETCH_BYTES_MAX, ..Default::default() })?;
    let spans = spans(bus.as_ref(), reader.as_mut(), &arguments.topic, arguments.partition, Start::Earliest)?;
    let file = unfinished_beside(output)?;
    let mut sink = Sink::new(&content, arguments.columns.as_deref(), &pool, keys.as_ref(), file)?;
    let total = spans.iter().map(|span| (span.end - span.begin).max(0) as u64).sum();
    let mut progress = Progress::new(Instant::now());
    for span in &spans {
        read(reader.as_mut(), span, &mut sink, (&mut progress, total), stop)?;
    }
    progress.finish();
    let counts = sink.finish(output, arguments.force)?;
    summary(arguments, &counts, out)?;
    Ok(if counts.records_bad > 0 && !arguments.skip_bad { EXIT_FAILED } else { EXIT_DONE })
}

/// Reads one partition to the end it had.
fn read(
    reader: &mut dyn Reader,
    span: &Span,
    sink: &mut Sink<'_>,
    (progress, total): (&mut Progress, u64),
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    if span.begin >= span.end {
        return Ok(());
    }
    reader.assign(&span.partition, span.begin)?;
    let mut patience = Patience::new(false, Instant::now());
    let mut next = span.begin;
    while next < span.end {
        if stop.load(Ordering::Relaxed) {
            anyhow::bail!("interrupted; no file was written");
        }
        let before = next;
        let mut taken = Ok(());
        let polled = reader.poll(POLL, POLL_RECORDS_MAX, &mut |record| {
            // Partitions read before go on giving what has been written since.
            let wanted = record.partition == span.partition.partition && record.offset < span.end;
            next = if record.partition == span.partition.partition { record.offset + 1 } else { next };
            if wanted && taken.is_ok() {
                taken = sink.take(record);
            }
        });
        taken?;
        match polled {
            Ok(changes) if changes.iter().any(|change| is_end(change, span)) => next = next.max(span.end),
            Ok(_) if next > before => patience.heard(Instant::now()),
            Ok(_) => patience.silent(Instant::now())?,
            Err(error) => patience.failed(error, Instant::now())?,
        }
        let done = Done { part: sink.counts.records, total, rows: sink.counts.rows };
        progress.show(done, Instant::now());
    }
    Ok(())
}

/// The last offsets of a partition may hold no record, so reading on would wait for ever.
fn is_end(change: &Change, span: &Span) -> bool {
    matches!(change, Change::End { partition, .. } if *partition == span.partition)
}

fn summary(arguments: &ExportArguments, counts: &Counts, out: &mut dyn Write) -> std::io::Result<()> {
    let Counts { records, rows, records_bad } = *counts;
    let output = arguments.output.display().to_string();
    match arguments.format {
        Format::Json => {
            let topic = &arguments.topic;
            let line =
                json!({"topic": topic, "output": output, "records": records, "rows": rows, "records_bad": records_bad});
            writeln!(out, "{line}")
        }
        Format::Text => {
            let bad = if records_bad > 0 { format!("; {records_bad} left out") } else { String::new() };
            writeln!(out, "{rows} rows of {records} records in {output}{bad}")
        }
    }
}
