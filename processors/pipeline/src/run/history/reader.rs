//! A file's rows, batch by batch, in the [`Shape`] of their stream.
//!
//! Deliberately not here: which order they are taken in.
//! Limits: of JSON the first [`NAMES_ROWS`] rows say which columns there are for what has to be there.

use super::{
    BATCH_ROWS, HistoryError, Progress,
    files::{FileFormat, HistoryFile},
    lines::{CsvRows, JsonLines, Unread},
    records::{RecordBatches, Records},
    shape::{Adapter, Shape},
};
use arrow::{
    csv,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
    ipc,
    record_batch::RecordBatch,
};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};

/// How many objects of JSON are looked at for the names of columns, and how many lines for objects.
const NAMES_ROWS: usize = 100;
const NAMES_LINES: usize = 10_000;
const BUFFER_BYTES: usize = 256 << 10;
const ARROW_FILE_MAGIC: &[u8] = b"ARROW1";

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, Unread>> + Send>;

/// Batches of at most [`BATCH_ROWS`] rows.
pub(super) struct Reader {
    file: HistoryFile,
    adapter: Adapter,
    batches: Batches,
    progress: Progress,
    /// Rows that are still to be left out.
    skip: usize,
    /// Rows that are still to be taken.
    left: usize,
    rows_before: usize,
    /// For each row, where bytes are not counted as they are read.
    row_bytes: f64,
    /// What is left of a batch that was too long.
    rest: Option<RecordBatch>,
}

/// Names of the columns that a file has itself.
pub(super) fn names(file: &HistoryFile) -> Result<BTreeSet<String>, HistoryError> {
    let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect();
    match file.format {
        FileFormat::Parquet => Ok(names(parquet(file)?.schema())),
        FileFormat::Arrow => {
            let ignored = Progress::default();
            Ok(names(&arrow_batches(file, &ignored, &|_| None)?.1))
        }
        FileFormat::Csv => Ok(header(file)?.into_iter().collect()),
        FileFormat::JsonLines => keys(file),
    }
}

impl Reader {
    /// `rows`: which of the file's rows; all when left out.
    pub fn open(
        file: &HistoryFile,
        shape: &Arc<Shape>,
        rows: Option<Range<usize>>,
        progress: &Progress,
    ) -> Result<Self, HistoryError> {
        let (mut skip, mut left) = rows.map_or((0, usize::MAX), |rows| (rows.start, rows.len()));
        let mut row_bytes = 0.0;
        let (read, batches): (Vec<String>, Batches) = match file.format {
            FileFormat::Parquet => {
                let builder = parquet(file)?;
                row_bytes = file.bytes as f64 / (builder.metadata().file_metadata().num_rows() as f64).max(1.0);
                let schema = builder.schema().clone();
                let there = |name: &str| schema.index_of(name).is_ok();
                let records = shape.records(&there);
                let wanted: Vec<String> = match records {
                    Some(_) => Records::wanted(&there).map(str::to_owned).collect(),
                    None => shape.wanted(&there).iter().map(|field| field.name().clone()).collect(),
                };
                // In the file's order, as they will be read.
                let mut roots: Vec<usize> = wanted.iter().filter_map(|name| schema.index_of(name).ok()).collect();
                roots.sort_unstable();
                let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
                let mut builder = builder.with_batch_size(BATCH_ROWS).with_projection(mask);
                if left != usize::MAX {
                    builder = builder.with_offset(skip).with_limit(left);
                    skip = 0;
                }
                let batches = builder.build().map_err(|error| unreadable(file, &error))?;
                match records {
                    Some(records) => {
                        // Of records, of which a row is not one, the file gives no more than are wanted.
                        left = usize::MAX;
                        let rows = RecordBatches::new(batches, records, file, shape)?;
                        (rows.names(&there), Box::new(rows))
                    }
                    None => {
                        let names = roots.iter().map(|&root| schema.field(root).name().clone()).collect();
                        (names, Box::new(batches.map(somewhere)))
                    }
                }
            }
            FileFormat::Arrow => {
                let projected = |schema: &Schema| {
                    let wanted = shape.wanted(&|name| schema.index_of(name).is_ok());
                    let mut indices: Vec<usize> =
                        wanted.iter().filter_map(|field| schema.index_of(field.name()).ok()).collect();
                    indices.sort_unstable();
                    Some(indices)
                };
                let (batches, schema) = arrow_batches(file, progress, &projected)?;
                let names = projected(&schema).unwrap_or_default();
                (names.iter().map(|&index| schema.field(index).name().clone()).collect(), batches)
            }
            FileFormat::Csv => csv_batches(file, shape, progress)?,
            FileFormat::JsonLines => {
                let keys = keys(file)?;
                // What is null in all of the first rows may come later, but not what has to be there.
                let may_come = |name: &str| !shape.requires(name) && file.constant(name).is_none();
                let fields = shape.of_records(&|name| keys.is_empty() || keys.contains(name) || may_come(name));
                let read = fields.iter().map(|field| field.name().clone()).collect();
                let schema = Arc::new(Schema::new(fields));
                (read, Box::new(JsonLines::new(file, text(file, progress)?, schema, shape)?))
            }
        };
        let adapter = shape.adapter(file, &read)?;
        let (file, progress) = (file.clone(), progress.clone());
        Ok(Self { file, adapter, batches, progress, skip, left, rows_before: 0, row_bytes, rest: None })
    }

    /// The next rows; `None` after the last.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, HistoryError> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            let batch = match self.rest.take() {
                Some(rest) => rest,
                None => match self.batches.next() {
                    None => return Ok(None),
                    Some(Ok(batch)) => batch,
                    Some(Err(Unread::At(detail))) => return Err(self.file.refuse(detail)),
                    Some(Err(Unread::Somewhere(error))) => {
                        let from = self.rows_before + 1;
                        return Err(self.file.refuse(format!("row {from} or one of those after it: {error}")));
                    }
                },
            };
            let skipped = self.skip.min(batch.num_rows());
            self.skip -= skipped;
            let taken = (batch.num_rows() - skipped).min(self.left).min(BATCH_ROWS);
            let after = skipped + taken;
            if after < batch.num_rows() && taken < self.left {
                self.rest = Some(batch.slice(after, batch.num_rows() - after));
            }
            let rows_before = self.rows_before;
            self.rows_before += after;
            if taken == 0 {
                continue;
            }
            self.left -= taken;
            self.progress.add_bytes((taken as f64 * self.row_bytes) as u64);
            let adapted = self.adapter.adapt(&batch.slice(skipped, taken));
            let told = |detail| {
                self.file.refuse(format!("rows {} to {}: {detail}", rows_before + skipped + 1, rows_before + after))
            };
            return adapted.map(Some).map_err(told);
        }
    }
}

fn somewhere(batch: Result<RecordBatch, ArrowError>) -> Result<RecordBatch, Unread> {
    batch.map_err(Unread::Somewhere)
}

fn unreadable(file: &HistoryFile, error: &dyn std::fmt::Display) -> HistoryError {
    let kind = match file.format {
        FileFormat::Parquet => "Parquet",
        FileFormat::Arrow => "Arrow",
        FileFormat::JsonLines => "JSON",
        FileFormat::Csv => "CSV",
    };
    file.refuse(format!("is no readable {kind} file: {error}"))
}

fn open(file: &HistoryFile) -> Result<File, HistoryError> {
    File::open(&file.path).map_err(|error| file.refuse(format!("cannot be opened: {error}")))
}

fn parquet(file: &HistoryFile) -> Result<ParquetRecordBatchReaderBuilder<File>, HistoryError> {
    ParquetRecordBatchReaderBuilder::try_new(open(file)?).map_err(|error| unreadable(file, &error))
}

/// A file's bytes, counted as they are read.
struct Counted<R> {
    inner: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.add_bytes(read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}

fn text(file: &HistoryFile, progress: &Progress) -> Result<impl BufRead + Seek + Send + use<>, HistoryError> {
    let counted = Counted { inner: open(file)?, progress: progress.clone() };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, counted);
    // The mark that some editors put before UTF-8; no other format begins so.
    if reader.fill_buf().is_ok_and(|start| start.starts_with(&[0xef, 0xbb, 0xbf])) {
        reader.consume(3);
    }
    Ok(reader)
}

/// Whether a file begins with the length of a message that it may hold: the reader takes memory for as much as is said there.
fn begins_a_stream(file: &HistoryFile) -> Result<bool, HistoryError> {
    let mut start = [0; 8];
    if text(file, &Progress::default())?.read_exact(&mut start).is_err() {
        return Ok(false);
    }
    let [first, second] = [0, 4].map(|at| start[at..].first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes)));
    // Since Arrow 0.15 there is a mark before the length.
    let length = if first == -1 { second } else { first };
    Ok(u64::try_from(length).is_ok_and(|length| length > 0 && length < file.bytes))
}

/// Batches of the columns that `projected` picks, and the schema of all.
fn arrow_batches(
    file: &HistoryFile,
    progress: &Progress,
    projected: &dyn Fn(&Schema) -> Option<Vec<usize>>,
) -> Result<(Batches, SchemaRef), HistoryError> {
    let unreadable = |error: ArrowError| unreadable(file, &error);
    let is_file = text(file, &Progress::default())?.fill_buf().is_ok_and(|start| start.starts_with(ARROW_FILE_MAGIC));
    if is_file {
        let schema = ipc::reader::FileReader::try_new(text(file, &Progress::default())?, None);
        let schema = schema.map_err(unreadable)?.schema();
        let reader = ipc::reader::FileReader::try_new(text(file, progress)?, projected(&schema));
        return Ok((Box::new(reader.map_err(unreadable)?.map(somewhere)), schema));
    }
    if !begins_a_stream(file)? {
        return Err(file.refuse("is no Arrow IPC file, and no stream of it"));
    }
    let schema = ipc::reader::StreamReader::try_new(text(file, &Progress::default())?, None);
    let schema = schema.map_err(unreadable)?.schema();
    let reader = ipc::reader::StreamReader::try_new(text(file, progress)?, projected(&schema));
    Ok((Box::new(reader.map_err(unreadable)?.map(somewhere)), schema))
}

/// The names in the first line of a CSV.
fn header(file: &HistoryFile) -> Result<Vec<String>, HistoryError> {
    let format = csv::reader::Format::default().with_header(true);
    let (schema, _) =
        format.infer_schema(text(file, &Progress::default())?, Some(0)).map_err(|error| unreadable(file, &error))?;
    Ok(schema.fields().iter().map(|field| field.name().trim().to_owned()).collect())
}

fn csv_batches(file: &HistoryFile, shape: &Shape, progress: &Progress) -> Result<(Vec<String>, Batches), HistoryError> {
    let names = header(file)?;
    let wanted = shape.wanted(&|name| names.iter().any(|there| there == name));
    if let Some(field) = wanted.iter().find(|field| field.data_type().is_nested()) {
        let (name, is) = (field.name(), amoskys_functions::types::sql_type(field.data_type()));
        return Err(file.refuse(format!("column `{name}` is {is}, for which CSV has no form; use Parquet or JSON")));
    }
    let field_of = |name: &String| wanted.iter().find(|field| field.name() == name).cloned();
    let texts = names.iter().map(|name| Field::new(name, DataType::Utf8, true));
    let texts = Arc::new(Schema::new(texts.collect::<Vec<_>>()));
    let picked: Vec<usize> = (0..names.len()).filter(|&index| field_of(&names[index]).is_some()).collect();
    let fields: Vec<FieldRef> = picked.iter().filter_map(|&index| field_of(&names[index])).collect();
    let read = fields.iter().map(|field| field.name().clone()).collect();
    let builder = csv::ReaderBuilder::new(texts)
        .with_header(true)
        .with_truncated_rows(true)
        .with_batch_size(BATCH_ROWS)
        .with_projection(picked);
    let texts = builder.build_buffered(text(file, progress)?).map_err(|error| unreadable(file, &error))?;
    let (schema, dead) = (Arc::new(Schema::new(fields)), shape.dead().clone());
    Ok((read, Box::new(CsvRows { texts, file: file.clone(), schema, dead, rows_before: 0 })))
}

/// The names that the first rows of JSON lines have. Where none of these is an object the file is another kind of file.
fn keys(file: &HistoryFile) -> Result<BTreeSet<String>, HistoryError> {
    let (mut keys, mut wrong, mut objects) = (BTreeSet::new(), None, 0);
    for (number, line) in (1..).zip(text(file, &Progress::default())?.lines()).take(NAMES_LINES) {
        let line = line.map_err(|error| unreadable(file, &error))?;
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&line) {
            Ok(object) => {
                objects += 1;
                if objects > NAMES_ROWS {
                    break;
                }
                keys.extend(object.into_iter().map(|(key, _)| key));
            }
            Err(error) => drop(wrong.get_or_insert((number, error))),
        }
    }
    match wrong {
        Some((number, error)) if objects == 0 => {
            let hint = "one object in each line is wanted";
            Err(file
                .refuse(format!("line {number} is no JSON object ({hint}), nor is any that was looked at: {error}")))
        }
        _ => Ok(keys),
    }
}
