//! Rows into JSON records, one object each, by arrow-json's writer.
//!
//! Nulls are left out, times are RFC 3339 strings, enum names and maps as they are; bytes are hexadecimal.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::{LineDelimitedWriter, WriterBuilder};

use std::sync::Arc;

/// Turns rows into JSON records.
#[derive(Debug, Clone)]
pub struct JsonEncoder {
    schema: SchemaRef,
}

impl JsonEncoder {
    /// An error names a type that JSON cannot hold.
    pub fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        let encoder = Self { schema };
        encoder.encode(&RecordBatch::new_empty(Arc::clone(&encoder.schema)))?;
        Ok(encoder)
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// One record for each row.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
        let mut writer = json_lines(Vec::new());
        writer.write(batch)?;
        writer.finish()?;
        // Within an object line feeds are escaped.
        let lines = writer.into_inner();
        Ok(lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
    }
}

/// Writes rows as JSON lines. Times are UTC and say so (`Z`), or other readers take them for local time.
pub fn json_lines<W: std::io::Write>(out: W) -> LineDelimitedWriter<W> {
    WriterBuilder::new().with_timestamp_format("%Y-%m-%dT%H:%M:%S%.fZ".to_owned()).build(out)
}
