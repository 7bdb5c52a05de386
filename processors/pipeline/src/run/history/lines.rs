//! Text files of records, JSON lines and CSV, where one that does not decode is what `on_error` says, as live: left out and told
//! (a processor would send it to the dead-letter topic), with its wrong values null, or the end.
//!
//! Limits: values that a line of CSV lacks at its end are null; one with more values than names ends the run whatever `on_error`
//! says, as what comes after it could be anything.

use super::{BATCH_ROWS, HistoryError, files::HistoryFile, shape::Shape};
use crate::sql::OnError;
use amoskys_columns::{JsonDecoder, Limits};
use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    compute::{CastOptions, cast_with_options, filter_record_batch},
    datatypes::SchemaRef,
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
    util::display::array_value_to_string,
};
use std::{
    fmt,
    io::{BufRead, Read},
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes of JSON that are decoded at once.
const BATCH_BYTES: usize = 1 << 20;
/// So many records that did not decode are told of; the others are counted.
const TOLD_MAX: usize = 20;
/// Of a value that does not fit its column.
const VALUE_CHARACTERS_MAX: usize = 80;

/// Why a file cannot be read on.
pub(super) enum Unread {
    /// Somewhere in what would have come next.
    Somewhere(ArrowError),
    /// Where it is, and what.
    At(String),
}

/// A record of a file that did not decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadRow {
    pub path: PathBuf,
    /// `line 3`, `row 7`.
    pub place: String,
    pub reason: String,
}

impl fmt::Display for DeadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.path.display(), self.place, self.reason)
    }
}

/// Those of all files of a stream.
#[derive(Debug, Default)]
pub(super) struct DeadRows(Mutex<(u64, Vec<DeadRow>)>);

impl DeadRows {
    fn add(&self, file: &HistoryFile, place: String, reason: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.0 += 1;
        if known.1.len() < TOLD_MAX {
            known.1.push(DeadRow { path: file.path.clone(), place, reason });
        }
    }

    /// How many, and the first of them.
    pub fn take(&self) -> (u64, Vec<DeadRow>) {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What becomes of records that do not decode.
#[derive(Debug, Default)]
pub(super) struct Dead {
    pub on_error: OnError,
    pub rows: DeadRows,
    /// Values that are null instead of what was there.
    nulled: AtomicU64,
}

impl Dead {
    pub fn on(on_error: OnError) -> Self {
        Self { on_error, ..Self::default() }
    }

    pub fn add_nulled(&self, values: u64) {
        self.nulled.fetch_add(values, Ordering::Relaxed);
    }

    pub fn take_nulled(&self) -> u64 {
        self.nulled.swap(0, Ordering::Relaxed)
    }

    pub fn take(&self, file: &HistoryFile, place: String, reason: String) -> Result<(), Unread> {
        if self.on_error == OnError::Stop {
            return Err(Unread::At(format!("{place}: {reason} (on_error is 'stop')")));
        }
        self.rows.add(file, place, reason);
        Ok(())
    }
}

/// Batches of a file of JSON lines.
pub(super) struct JsonLines<R> {
    text: R,
    file: HistoryFile,
    decoder: JsonDecoder,
    limits: Limits,
    dead: Arc<Dead>,
    /// Of the last one that was read, from 1.
    line: usize,
    buffer: Vec<u8>,
    rows_max: usize,
}

impl<R: BufRead> JsonLines<R> {
    pub fn new(file: &HistoryFile, text: R, schema: SchemaRef, shape: &Shape) -> Result<Self, HistoryError> {
        let (limits, dead, rows_max) = (Limits::default(), shape.dead(), BATCH_ROWS);
        let decoder = JsonDecoder::new(schema, limits).and_then(|decoder| match shape.time() {
            Some((time, unit)) => decoder.count_in(time, unit),
            None => Ok(decoder),
        });
        let decoder = decoder.map_err(|error| file.refuse(error.to_string()))?;
        let decoder = if dead.on_error == OnError::Null { decoder.null_wrong_values() } else { decoder };
        let (file, dead) = (file.clone(), dead.clone());
        Ok(Self { text, file, decoder, limits, dead, line: 0, buffer: Vec::new(), rows_max })
    }

    /// The next lines that are not blank: each one's number, and where it is in the buffer.
    fn lines(&mut self) -> Result<Vec<(usize, Range<usize>)>, Unread> {
        let mut lines = Vec::new();
        self.buffer.clear();
        while lines.len() < self.rows_max && self.buffer.len() < BATCH_BYTES {
            let start = self.buffer.len();
            // One byte more than may be, so that the decoder says that it is too long.
            let most = self.limits.record_bytes_max as u64 + 1;
            let read = self.text.by_ref().take(most).read_until(b'\n', &mut self.buffer).map_err(|e| self.lost(&e))?;
            if read == 0 {
                break;
            }
            self.line += 1;
            if self.buffer.last() != Some(&b'\n') && read as u64 == most {
                self.skip_line().map_err(|error| self.lost(&error))?;
            }
            if self.buffer[start..].iter().any(|byte| !byte.is_ascii_whitespace()) {
                lines.push((self.line, start..self.buffer.len()));
            }
        }
        Ok(lines)
    }

    fn lost(&self, error: &std::io::Error) -> Unread {
        Unread::At(format!("cannot be read behind line {}: {error}", self.line))
    }

    /// The rest of a line that is too long to be kept.
    fn skip_line(&mut self) -> std::io::Result<()> {
        loop {
            let there = self.text.fill_buf()?;
            let end = there.iter().position(|byte| *byte == b'\n');
            let passed = end.map_or(there.len(), |end| end + 1);
            self.text.consume(passed);
            if end.is_some() || passed == 0 {
                return Ok(());
            }
        }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, Unread> {
        loop {
            let lines = self.lines()?;
            if lines.is_empty() {
                return Ok(None);
            }
            let records: Vec<&[u8]> = lines.iter().map(|(_, range)| &self.buffer[range.clone()]).collect();
            for (result, (line, _)) in self.decoder.push_all(&records).into_iter().zip(&lines) {
                if let Err(error) = result {
                    self.dead.take(&self.file, format!("line {line}"), error.to_string())?;
                }
            }
            self.dead.add_nulled(self.decoder.take_nulled());
            let batch = self.decoder.finish().map_err(Unread::Somewhere)?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = Result<RecordBatch, Unread>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

/// Batches of a CSV, whose values were read as text and become those of `schema`.
pub(super) struct CsvRows<B> {
    pub texts: B,
    pub file: HistoryFile,
    pub schema: SchemaRef,
    pub dead: Arc<Dead>,
    pub rows_before: usize,
}

impl<B: Iterator<Item = Result<RecordBatch, ArrowError>>> CsvRows<B> {
    fn typed(&mut self, texts: &RecordBatch) -> Result<RecordBatch, Unread> {
        let rows = texts.num_rows();
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(texts.num_columns());
        let mut good = vec![true; rows];
        for (text, field) in texts.columns().iter().zip(self.schema.fields()) {
            let column = cast_with_options(text, field.data_type(), &options).map_err(Unread::Somewhere)?;
            if column.null_count() > text.null_count() && self.dead.on_error == OnError::Null {
                let nulled = (column.null_count() - text.null_count()) as u64;
                self.dead.add_nulled(nulled);
            } else if column.null_count() > text.null_count() {
                for row in (0..rows).filter(|&row| column.is_null(row) && text.is_valid(row)) {
                    if good[row] {
                        let text = array_value_to_string(text, row).unwrap_or_default();
                        let text: String = text.chars().take(VALUE_CHARACTERS_MAX).collect();
                        let kind = amoskys_functions::types::sql_type(field.data_type());
                        let reason = format!("`{text}` of column `{}` is no {kind}", field.name());
                        self.dead.take(&self.file, format!("row {}", self.rows_before + row + 1), reason)?;
                        good[row] = false;
                    }
                }
            }
            columns.push(column);
        }
        self.rows_before += rows;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        let batch = batch.map_err(Unread::Somewhere)?;
        if good.iter().all(|good| *good) {
            return Ok(batch);
        }
        filter_record_batch(&batch, &BooleanArray::from(good)).map_err(Unread::Somewhere)
    }
}

impl<B: Iterator<Item = Result<RecordBatch, ArrowError>>> Iterator for CsvRows<B> {
    type Item = Result<RecordBatch, Unread>;

    fn next(&mut self) -> Option<Self::Item> {
        let texts = self.texts.next()?;
        Some(texts.map_err(Unread::Somewhere).and_then(|texts| self.typed(&texts)))
    }
}
