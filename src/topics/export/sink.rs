//! Where an export's rows go: collected into batches, written into a Parquet file that gets its name at the end.

use crate::topics::{
    content::Content,
    rows::{Rows, schema_of_first},
    text::visible,
};
use amoskys_bus::Record;
use amoskys_proto::{EnvelopeView, KeyRing};
use anyhow::Context;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use prost_reflect::DescriptorPool;
use std::path::Path;
use tempfile::NamedTempFile;

/// A batch goes to the file when it has as many rows or bytes of records.
const BATCH_ROWS_MAX: usize = 16 << 10;
const BATCH_BYTES_MAX: usize = 16 << 20;
const ROW_GROUP_ROWS_MAX: usize = 256 << 10;
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Records that are left out are told one by one up to this many, then counted.
const TOLD_MAX: u64 = 5;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: u64,
    pub rows: u64,
    pub records_bad: u64,
}

fn verified(keys: &KeyRing, record: &Record<'_>) -> Result<(), String> {
    let envelope = EnvelopeView::parse(record.payload).map_err(|error| error.to_string())?;
    keys.verify_one(&envelope, record.log_time_ms).map_err(|error| error.to_string())
}

/// Where rows go: a batch, then the file.
pub struct Sink<'a> {
    content: &'a Content,
    columns: Option<&'a [String]>,
    pool: &'a DescriptorPool,
    /// Envelopes that none of these has signed are left out.
    keys: Option<&'a KeyRing>,
    /// Opened with the first record whose columns are known.
    open: Option<(Rows, ArrowWriter<NamedTempFile>)>,
    file: Option<NamedTempFile>,
    batch_bytes: usize,
    pub counts: Counts,
}

impl<'a> Sink<'a> {
    pub fn new(
        content: &'a Content,
        columns: Option<&'a [String]>,
        pool: &'a DescriptorPool,
        keys: Option<&'a KeyRing>,
        file: NamedTempFile,
    ) -> anyhow::Result<Self> {
        let (open, file, batch_bytes, counts) = (None, Some(file), 0, Counts::default());
        let mut sink = Self { content, columns, pool, keys, open, file, batch_bytes, counts };
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

    pub fn take(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        self.counts.records += 1;
        if let (Some(keys), Content::Envelopes { .. }) = (self.keys, self.content)
            && let Err(refusal) = verified(keys, record)
        {
            self.refuse(record, &refusal);
            return Ok(());
        }
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
            1..=TOLD_MAX => tracing::warn!(partition, offset, reason = %visible(refusal), "the record is left out"),
            count if count == TOLD_MAX + 1 => tracing::warn!("more records are left out; they are only counted"),
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
    pub fn finish(mut self, output: &Path, force: bool) -> anyhow::Result<Counts> {
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
