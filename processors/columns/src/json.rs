//! JSON records, one object each, into rows: arrow-json's reader, made to say which record is at fault.
//!
//! Keys that no column has are ignored, missing ones are null. Times are RFC 3339 strings, or numbers counting the
//! column's unit from the Unix epoch. Where asked for ([`JsonDecoder::null_wrong_values`]), a column whose value is of another
//! type is null; what is no object, or lacks a value that is NOT NULL, is an error all the same.
//! Deliberately not here: guessing a schema, several objects in a record.
//! Limits: [`Limits::record_bytes_max`], and `NESTING_MAX` levels, as the reader's own stack grows with what it refuses; a
//! record's memory is a small multiple of its bytes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;

use crate::gathered::Gathered;
use crate::limits::Limits;

/// Records that are decoded at once, as long as all are good.
const GROUP_RECORDS_MAX: usize = 1024;

/// Levels of arrays and objects in a record, also in what no column has.
const NESTING_MAX: usize = 128;

/// A record is not a JSON object of the schema's types: the sender's fault, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("a record of {bytes} bytes, more than {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("a record of more than {max} levels of arrays and objects")]
    TooDeep { max: usize },
    #[error("not a JSON object of the stream's columns: {0}")]
    Malformed(String),
    #[error("the record ends in the middle of a JSON value")]
    Truncated,
    #[error("the record is empty, a JSON object was expected")]
    Empty,
    #[error("there is more after the record's JSON object (one object per record)")]
    Trailing,
}

impl JsonError {
    /// Whether a stated bound was exceeded.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooDeep { .. })
    }
}

/// Turns JSON records into rows; the shape of [`crate::Decoder`].
#[derive(Debug)]
pub struct JsonDecoder {
    limits: Limits,
    /// The schema with the unit that numbers of a time count.
    wire: SchemaRef,
    decoder: Decoder,
    done: Gathered,
    nulls_wrong_values: bool,
    /// Since they were taken.
    nulled: u64,
}

impl JsonDecoder {
    /// Reads the columns of `schema`. An error names a type that JSON cannot hold.
    pub fn new(schema: SchemaRef, limits: Limits) -> Result<Self, ArrowError> {
        let decoder = decoder(&schema)?;
        Ok(Self {
            limits,
            wire: schema.clone(),
            decoder,
            done: Gathered::new(schema),
            nulls_wrong_values: false,
            nulled: 0,
        })
    }

    /// From now on numbers of this column count `unit`s from 1970, whatever the unit of its type.
    pub fn count_in(mut self, column: &str, unit: TimeUnit) -> Result<Self, ArrowError> {
        let fields = self.wire.fields().iter().map(|field| match field.data_type() {
            DataType::Timestamp(_, zone) if field.name() == column => {
                Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp(unit, zone.clone())))
            }
            _ => Arc::clone(field),
        });
        self.wire = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.decoder = decoder(&self.wire)?;
        Ok(self)
    }

    /// From now on a column whose value is of another type is null, and the record's other columns are kept.
    pub fn null_wrong_values(mut self) -> Self {
        self.nulls_wrong_values = true;
        self
    }

    pub fn schema(&self) -> &SchemaRef {
        self.done.schema()
    }

    /// Rows since the last [`finish`](JsonDecoder::finish).
    pub fn rows(&self) -> usize {
        self.done.rows()
    }

    /// Decodes one record into one row. Several at once cost much less: [`push_all`](JsonDecoder::push_all).
    pub fn push(&mut self, record: &[u8]) -> Result<(), JsonError> {
        let result = self.group(&[record]);
        match &result {
            Err(JsonError::Malformed(_)) if self.nulls_wrong_values => match self.right_values(record) {
                Some((right, wrong)) => {
                    self.group(&[&right])?;
                    self.nulled += wrong;
                    Ok(())
                }
                None => result,
            },
            _ => result,
        }
    }

    /// Values that were of another type than their columns', and are null, since the last call.
    pub fn take_nulled(&mut self) -> u64 {
        std::mem::take(&mut self.nulled)
    }

    /// The record without the columns whose values are wrong, and how many those are; `None` when it is no object, or none is wrong.
    fn right_values(&self, record: &[u8]) -> Option<(Vec<u8>, u64)> {
        let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(record).ok()?;
        let before = object.len();
        object.retain(|name, value| {
            let Ok(field) = self.wire.field_with_name(name) else { return true };
            let alone = Arc::new(Schema::new(vec![field.clone()]));
            let one = serde_json::json!({ name: value }).to_string();
            Self::new(alone, self.limits).is_ok_and(|mut decoder| decoder.group(&[one.as_bytes()]).is_ok())
        });
        let wrong = (before - object.len()) as u64;
        (wrong > 0).then(|| (serde_json::Value::Object(object).to_string().into_bytes(), wrong))
    }

    /// Decodes records, each into one row, and says of each whether it was good; bad ones add nothing.
    pub fn push_all(&mut self, records: &[&[u8]]) -> Vec<Result<(), JsonError>> {
        let mut results = Vec::with_capacity(records.len());
        for group in records.chunks(GROUP_RECORDS_MAX) {
            if self.group(group).is_ok() {
                results.extend(group.iter().map(|_| Ok(())));
            } else {
                results.extend(group.iter().map(|record| self.push(record)));
            }
        }
        results
    }

    /// The rows since the last call, in the order of their records. An error is a fault of this crate.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.done.finish()
    }

    /// All records or none.
    fn group(&mut self, records: &[&[u8]]) -> Result<(), JsonError> {
        let batch = self.read(records);
        if batch.is_err() {
            // The reader keeps what it had read before the fault.
            self.decoder = decoder(&self.wire).map_err(|e| JsonError::Malformed(e.to_string()))?;
        }
        self.done.add(batch?);
        Ok(())
    }

    fn read(&mut self, records: &[&[u8]]) -> Result<RecordBatch, JsonError> {
        for (at, record) in records.iter().enumerate() {
            let (bytes, max) = (record.len(), self.limits.record_bytes_max);
            if bytes > max {
                return Err(JsonError::TooLarge { bytes, max });
            }
            if is_deep(record) {
                return Err(JsonError::TooDeep { max: NESTING_MAX });
            }
            let read = self.decoder.decode(record).map_err(malformed)?;
            if self.decoder.has_partial_record() {
                return Err(JsonError::Truncated);
            }
            if self.decoder.len() > at + 1 || !record[read..].trim_ascii().is_empty() {
                return Err(JsonError::Trailing);
            }
            if self.decoder.len() == at {
                return Err(JsonError::Empty);
            }
        }
        let batch = self.decoder.flush().map_err(malformed)?;
        match batch {
            Some(batch) if self.wire.fields() == self.schema().fields() => Ok(batch),
            Some(batch) => widened(&batch, self.schema()).map_err(malformed),
            None => Ok(RecordBatch::new_empty(Arc::clone(self.schema()))),
        }
    }
}

/// Times in the units of `schema`; one that has none there is an error.
fn widened(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast_with_options(column, field.data_type(), &options));
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

/// Whether there are more than [`NESTING_MAX`] levels.
fn is_deep(record: &[u8]) -> bool {
    // Nearly always there are not even as many brackets, and counting them is cheap: `[` and `{` differ in one bit.
    let is_opened = |byte: &u8| u8::from(byte | 0x20 == b'{');
    let in_part = |part: &[u8]| usize::from(part.iter().map(is_opened).sum::<u8>());
    let opened: usize = record.chunks(usize::from(u8::MAX)).map(in_part).sum();
    if opened <= NESTING_MAX {
        return false;
    }
    let (mut depth, mut in_text, mut is_escaped) = (0usize, false, false);
    for byte in record {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return true;
        }
    }
    false
}

fn decoder(schema: &SchemaRef) -> Result<Decoder, ArrowError> {
    // One more, so that a second object in the last record is noticed.
    ReaderBuilder::new(Arc::clone(schema)).with_batch_size(GROUP_RECORDS_MAX + 1).build_decoder()
}

fn malformed(error: ArrowError) -> JsonError {
    JsonError::Malformed(match error {
        ArrowError::JsonError(text) => text,
        other => other.to_string(),
    })
}
