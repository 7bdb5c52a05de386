//! `topics export`: what a topic holds now, as rows of a Parquet file.
//!
//! Reads up to where the topic ended when the export began, partition by partition, so that exporting the same records
//! twice gives the same rows in the same order. Goes into a temporary file beside the output, which takes its name at
//! the end; an interrupted export leaves nothing. Deliberately not here: verifying signatures, following.
//! Memory: one batch of rows and one row group, bounded by the constants below, and the reader's prefetch.

use super::{
    BusArguments, EXIT_DONE, EXIT_FAILED, Format, WrongUse,
    content::Content,
    partitions::{POLL, Patience, Span, Start, spans},
    progress::Progress,
    rows::{Rows, schema_of_first},
    text::visible,
};
use amoskys_bus::{Change, Reader, ReaderOptions, Record};
use anyhow::Context;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use prost_reflect::DescriptorPool;
use serde_json::json;
use std::{
    fs::Permissions,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};
use tempfile::NamedTempFile;

const PREFETCH_BYTES_MAX: usize = 32 << 20;
const POLL_RECORDS_MAX: usize = 512;
/// A batch goes to the file when it has as many rows or bytes of records.
const BATCH_ROWS_MAX: usize = 16 << 10;
const BATCH_BYTES_MAX: usize = 16 << 20;
const ROW_GROUP_ROWS_MAX: usize = 256 << 10;
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Records that do not decode are told one by one up to this many, then counted.
const TOLD_MAX: u64 = 5;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads from the beginning to where the topic ends now. A topic of envelopes gives a row per event, with agent_id, \
host_id, boot_id and sequence of its envelope; alerts, feature rows and dead letters a row per record; any other \
topic its records' key and payload, unless --message names what they are. `_partition`, `_offset` and `_log_time` \
(nanoseconds) are always there, so `amoskys sql run … --from NAME=FILE.parquet` computes over the file what it would \
have computed live. Records that do not decode are counted, told on standard error, and make the exit code 1 unless \
--skip-bad.

SIGNATURES ARE NOT VERIFIED here, so what the file says of its hosts is what somebody wrote.

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
    /// Exit with 0 although some records did not decode
    #[arg(long)]
    skip_bad: bool,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn export(arguments: &ExportArguments, out: &mut dyn Write, stop: &AtomicBool) -> anyhow::Result<u8> {
    let output = &arguments.output;
    if !arguments.force && output.symlink_metadata().is_ok() {
        anyhow::bail!(WrongUse(format!("{} exists; give another --output, or --force", output.display())));
    }
    let pool = amoskys_proto::pool()?;
    let content = Content::of(&arguments.topic, arguments.message.as_deref(), &pool)?;
    let bus = arguments.bus.open(false)?;
    let mut reader = bus.reader(&ReaderOptions { prefetch_bytes_max: PREFETCH_BYTES_MAX })?;
    let spans = spans(bus.as_ref(), reader.as_mut(), &arguments.topic, arguments.partition, Start::Earliest)?;
    let file = temporary_beside(output)?;
    let mut sink = Sink::new(&content, arguments.columns.as_deref(), &pool, file)?;
    let mut progress = Progress::new(spans.iter().map(|span| span.end - span.begin).sum(), Instant::now());
    for span in &spans {
        read(reader.as_mut(), span, &mut sink, &mut progress, stop)?;
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
    progress: &mut Progress,
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
        progress.show(sink.counts.records, sink.counts.rows, Instant::now());
    }
    Ok(())
}

/// The last offsets of a partition may hold no record, so reading on would wait for ever.
fn is_end(change: &Change, span: &Span) -> bool {
    matches!(change, Change::End { partition, .. } if *partition == span.partition)
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: u64,
    pub rows: u64,
    pub records_bad: u64,
}

/// Where rows go: a batch, then the file.
struct Sink<'a> {
    content: &'a Content,
    columns: Option<&'a [String]>,
    pool: &'a DescriptorPool,
    /// Opened with the first record whose columns are known.
    open: Option<(Rows, ArrowWriter<NamedTempFile>)>,
    file: Option<NamedTempFile>,
    batch_bytes: usize,
    counts: Counts,
}

impl<'a> Sink<'a> {
    fn new(
        content: &'a Content,
        columns: Option<&'a [String]>,
        pool: &'a DescriptorPool,
        file: NamedTempFile,
    ) -> anyhow::Result<Self> {
        let (open, file, batch_bytes, counts) = (None, Some(file), 0, Counts::default());
        let mut sink = Self { content, columns, pool, open, file, batch_bytes, counts };
        match content {
            Content::Envelopes { schema: None } => {}
            Content::Envelopes { schema } => sink.begin(*schema)?,
            Content::Messages(_) | Content::Bytes => sink.begin(None)?,
        }
        Ok(sink)
    }

    fn begin(&mut self, schema: Option<&str>) -> anyhow::Result<()> {
        let rows = Rows::new(self.content, schema, self.columns, self.pool)?;
        let level = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(level);
        let properties = properties.set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX));
        let properties = properties.set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX)).build();
        let file = self.file.take().context("the output was opened twice")?;
        let writer = ArrowWriter::try_new(file, rows.schema().clone(), Some(properties))?;
        self.open = Some((rows, writer));
        Ok(())
    }

    fn take(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        self.counts.records += 1;
        if self.open.is_none() {
            match schema_of_first(record.payload) {
                Ok(schema) => self.begin(Some(&schema))?,
                Err(refusal) => {
                    self.refuse(record, &refusal);
                    return Ok(());
                }
            }
        }
        if self.batch_bytes + record.payload.len() > BATCH_BYTES_MAX {
            self.flush()?;
        }
        let Some((rows, _)) = &mut self.open else { return Ok(()) };
        match rows.push(record) {
            Ok(count) => {
                self.counts.rows += count as u64;
                self.batch_bytes += record.payload.len();
                if rows.rows() >= BATCH_ROWS_MAX { self.flush() } else { Ok(()) }
            }
            Err(refusal) => {
                self.refuse(record, &refusal);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, record: &Record<'_>, refusal: &str) {
        self.counts.records_bad += 1;
        let (partition, offset) = (record.partition, record.offset);
        match self.counts.records_bad {
            1..=TOLD_MAX => tracing::warn!(partition, offset, reason = %visible(refusal), "the record does not decode"),
            count if count == TOLD_MAX + 1 => tracing::warn!("more records do not decode; they are only counted"),
            _ => {}
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.batch_bytes = 0;
        let Some((rows, writer)) = &mut self.open else { return Ok(()) };
        if rows.rows() > 0 {
            writer.write(&rows.finish()?).context("writing the Parquet file")?;
        }
        Ok(())
    }

    /// Writes what is left and gives the file its name.
    fn finish(mut self, output: &Path, force: bool) -> anyhow::Result<Counts> {
        self.flush()?;
        let Some((_, writer)) = self.open else {
            anyhow::bail!("the topic holds no envelope that could say which columns there are; no file was written");
        };
        let file = writer.into_inner().context("writing the Parquet file")?;
        let named = if force { file.persist(output) } else { file.persist_noclobber(output) };
        named
            .map_err(|error| error.error)
            .with_context(|| format!("giving the file its name, {}", output.display()))?;
        Ok(self.counts)
    }
}

/// In the same folder, so that it can be renamed; with the mode that a new file has.
fn temporary_beside(output: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".amoskys-export-").suffix(".parquet").permissions(Permissions::from_mode(0o666));
    let problem = |error| WrongUse(format!("{} cannot be written: {error}", output.display()));
    Ok(builder.tempfile_in(folder).map_err(problem)?)
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
            let bad = if records_bad > 0 { format!("; {records_bad} did not decode") } else { String::new() };
            writeln!(out, "{rows} rows of {records} records in {output}{bad}")
        }
    }
}
