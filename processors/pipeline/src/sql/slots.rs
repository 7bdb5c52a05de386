//! A table whose rows are put in before each execution of a plan that was planned once.

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    error::Result,
    execution::TaskContext,
    logical_expr::{Expr, TableType},
    physical_plan::{
        ExecutionPlan, SendableRecordBatchStream,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use std::sync::{Arc, Mutex, PoisonError};

/// The rows that the next execution sees.
#[derive(Debug)]
pub struct Slot {
    schema: SchemaRef,
    batch: Mutex<RecordBatch>,
}

impl Slot {
    pub fn new(schema: SchemaRef) -> Arc<Self> {
        let batch = Mutex::new(RecordBatch::new_empty(schema.clone()));
        Arc::new(Self { schema, batch })
    }

    /// `batch` must have the slot's columns.
    pub fn fill(&self, batch: RecordBatch) {
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = batch;
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter([Ok(batch)])))
    }
}

/// A slot as a table.
#[derive(Debug)]
pub struct SlotTable(pub Arc<Slot>);

#[async_trait]
impl TableProvider for SlotTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.0.schema.clone();
        let source: Arc<dyn PartitionStream> = self.0.clone();
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![source], projection, [], false, None)?))
    }
}
