//! Rows that are in no order, sorted by partition and offset, or by event time where nobody knows offsets; more than memory holds goes through files that are gone
//! afterwards. The sorting is DataFusion's.

use super::{
    BATCH_ROWS, HistoryError, Progress,
    files::HistoryFile,
    reader::Reader,
    shape::{PARTITION, Shape, column_of_log},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    datatypes::{DataType, Field, FieldRef, Int32Type, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};
use datafusion::{
    catalog::streaming::StreamingTable,
    common::Column,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext, runtime_env::RuntimeEnvBuilder},
    logical_expr::Expr,
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
    prelude::{SessionConfig, SessionContext},
};
use futures::StreamExt;
use std::sync::Arc;

/// Keeps rows of one offset in the order of their files.
const ROW: &str = "log._row";

/// What is sorted, and how.
pub(super) struct Sorting {
    pub files: Vec<HistoryFile>,
    pub shape: Arc<Shape>,
    /// The column that rows of a partition are sorted by; else they stay in the order of their files.
    pub by: Option<String>,
    /// More goes through files.
    pub memory_bytes_max: usize,
    pub progress: Progress,
}

/// The rows of all files, as they come.
#[derive(Debug)]
struct Unsorted {
    files: Vec<HistoryFile>,
    shape: Arc<Shape>,
    schema: SchemaRef,
    progress: Progress,
}

impl PartitionStream for Unsorted {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (shape, schema, progress) = (self.shape.clone(), self.schema.clone(), self.progress.clone());
        let mut files = self.files.clone().into_iter();
        let mut reader: Option<Reader> = None;
        let mut rows_before = 0i64;
        let mut next = move || -> Result<Option<RecordBatch>, HistoryError> {
            loop {
                if reader.is_none() {
                    match files.next() {
                        Some(file) => reader = Some(Reader::open(&file, &shape, None, &progress)?),
                        None => return Ok(None),
                    }
                }
                if let Some(batch) = reader.as_mut().map(Reader::next_batch).transpose()?.flatten() {
                    let rows = batch.num_rows() as i64;
                    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows_before..rows_before + rows));
                    rows_before += rows;
                    let columns = batch.columns().iter().cloned().chain([numbers]).collect();
                    return Ok(Some(RecordBatch::try_new(schema.clone(), columns)?));
                }
                reader = None;
            }
        };
        let rows = std::iter::from_fn(move || next().transpose());
        let rows = rows.map(|rows| rows.map_err(|error| DataFusionError::External(Box::new(error))));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(rows)))
    }
}

impl Sorting {
    /// Rows in the stream's shape, each batch of one partition: `take` gets it, until it says that it has enough.
    pub fn run(
        &self,
        take: &mut dyn FnMut(i32, RecordBatch) -> Result<bool, HistoryError>,
    ) -> Result<(), HistoryError> {
        let fields = self.shape.schema().fields().iter().cloned();
        let row: FieldRef = Arc::new(Field::new(ROW, DataType::Int64, false));
        let schema: SchemaRef = Arc::new(Schema::new(fields.chain([row]).collect::<Vec<_>>()));
        let unsorted = Unsorted {
            files: self.files.clone(),
            shape: self.shape.clone(),
            schema: schema.clone(),
            progress: self.progress.clone(),
        };
        let by = |name: String| Expr::Column(Column::from_name(name)).sort(true, true);
        let within = self.by.clone().map(by);
        let order = [by(column_of_log(PARTITION))].into_iter().chain(within).chain([by(ROW.to_owned())]).collect();
        let sorted = || -> Result<_, DataFusionError> {
            let memory = RuntimeEnvBuilder::new().with_memory_limit(self.memory_bytes_max, 1.0).build_arc()?;
            let mut config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
            // A part of what there is, for merging what went through files.
            config = config.with_sort_spill_reservation_bytes(self.memory_bytes_max / 8);
            let state =
                SessionStateBuilder::new().with_config(config).with_runtime_env(memory).with_default_features().build();
            let table = StreamingTable::try_new(schema, vec![Arc::new(unsorted)])?;
            SessionContext::new_with_state(state).read_table(Arc::new(table))?.sort(order)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ArrowError::from)?;
        let batches = runtime.block_on(async { sorted()?.execute_stream().await });
        let mut batches = batches.map_err(HistoryError::of)?;
        // What takes the rows runs plans of its own, for which it must not be in here.
        while let Some(batch) = runtime.block_on(batches.next()) {
            for (partition, rows) in self.by_partition(&batch.map_err(HistoryError::of)?)? {
                if !take(partition, rows)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A batch in pieces of one partition each, without the row numbers.
    fn by_partition(&self, batch: &RecordBatch) -> Result<Vec<(i32, RecordBatch)>, HistoryError> {
        let shape = self.shape.schema();
        let columns = batch.columns()[..shape.fields().len()].to_vec();
        let batch = RecordBatch::try_new(shape.clone(), columns)?;
        let partitions = self.shape.of_log(&batch)[0].as_primitive::<Int32Type>().clone();
        let number = |row: usize| if partitions.is_valid(row) { partitions.value(row) } else { 0 };
        let mut found = Vec::new();
        let mut from = 0;
        for row in 1..=batch.num_rows() {
            if row == batch.num_rows() || number(row) != number(from) {
                found.push((number(from), batch.slice(from, row - from)));
                from = row;
            }
        }
        Ok(found)
    }
}
