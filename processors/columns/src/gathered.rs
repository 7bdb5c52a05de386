//! Batches that records became, until all of them are asked for as one; what the decoders of whole batches share.
//!
//! Limits: bounded by whoever asks for them.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

#[derive(Debug)]
pub(crate) struct Gathered {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Gathered {
    /// Of batches of this schema.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, batches: Vec::new(), rows: 0 }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows since the last [`finish`](Gathered::finish).
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn add(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.batches.push(batch);
    }

    /// All since the last call, in their order.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        match <[RecordBatch; 1]>::try_from(std::mem::take(&mut self.batches)) {
            Ok([batch]) => Ok(batch),
            Err(batches) => concat_batches(&self.schema, &batches),
        }
    }
}
