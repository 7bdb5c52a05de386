//! Rows into JSON records, one object each.
//!
//! Nulls are left out, times are RFC 3339 strings, enum names and maps as they are; bytes are hexadecimal. The bytes are
//! those of arrow-json's writer: what a row has most of is written by `json_values`, all else by arrow-json.

use super::json_values::Quick;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::json::{LineDelimitedWriter, WriterBuilder};

use std::sync::Arc;

/// Times are UTC and say so (`Z`), or other readers take them for local time.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// Turns rows into JSON records.
#[derive(Debug, Clone)]
pub struct JsonEncoder {
    schema: SchemaRef,
    options: EncoderOptions,
}

impl JsonEncoder {
    /// An error names a type that JSON cannot hold.
    pub fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        let options = EncoderOptions::default().with_timestamp_format(TIME_FORMAT.to_owned());
        let encoder = Self { schema, options: options.with_encoder_factory(Arc::new(Quick)) };
        encoder.encode(&RecordBatch::new_empty(Arc::clone(&encoder.schema)))?;
        Ok(encoder)
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// One record for each row.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
            let name = serde_json::to_string(field.name()).map_err(|error| ArrowError::JsonError(error.to_string()))?;
            Ok((format!("{name}:"), make_encoder(field, array, &self.options)?))
        });
        let mut columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        let (mut records, mut bytes_max) = (Vec::with_capacity(batch.num_rows()), 0);
        for row in 0..batch.num_rows() {
            let mut record = Vec::with_capacity(bytes_max);
            record.push(b'{');
            for (name, values) in columns.iter_mut().filter(|(_, values)| !values.is_null(row)) {
                if record.len() > 1 {
                    record.push(b',');
                }
                record.extend_from_slice(name.as_bytes());
                values.encode(row, &mut record);
            }
            record.push(b'}');
            bytes_max = bytes_max.max(record.len());
            records.push(record);
        }
        Ok(records)
    }
}

/// Writes rows as JSON lines, the same objects.
pub fn json_lines<W: std::io::Write>(out: W) -> LineDelimitedWriter<W> {
    let builder = WriterBuilder::new().with_timestamp_format(TIME_FORMAT.to_owned());
    builder.with_encoder_factory(Arc::new(Quick)).build(out)
}
