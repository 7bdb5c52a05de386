//! The one shape that rows of a stream have, whatever file they come from: the columns that the SQL uses, and what the
//! log said of them.

use super::{HistoryError, files::HistoryFile, lines::Dead, records::Records};
use crate::sql::StreamFlow;
use arrow::{
    array::{ArrayRef, RecordBatchOptions, StringArray, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use std::{collections::BTreeSet, sync::Arc};

/// What exports of a topic say of each row, by the names that files have for it.
pub(super) const PARTITION: &str = "_partition";
pub(super) const OFFSET: &str = "_offset";
pub(super) const LOG_TIME: &str = "_log_time";
const OF_LOG: [(&str, DataType); 6] = [
    (PARTITION, DataType::Int32),
    (OFFSET, DataType::Int64),
    (LOG_TIME, DataType::Timestamp(TimeUnit::Nanosecond, None)),
    ("agent_id", DataType::Utf8View),
    ("boot_id", DataType::Utf8View),
    ("sequence", DataType::UInt64),
];

/// Columns of a stream's rows: first those of the SQL, then the six of [`OF_LOG`], null where a file lacks them.
#[derive(Debug)]
pub(super) struct Shape {
    columns: Vec<Column>,
    schema: SchemaRef,
    /// How many are the SQL's.
    of_sql: usize,
    /// The event time, and what numbers of it count in JSON.
    time: Option<(String, TimeUnit)>,
    dead: Arc<Dead>,
    /// How records are decoded, where files hold those.
    records: Option<Records>,
}

#[derive(Debug)]
struct Column {
    /// In the file.
    source: String,
    /// In the shape.
    field: FieldRef,
    is_required: bool,
    /// A record without it does not decode.
    is_not_null: bool,
}

fn of_log() -> impl Iterator<Item = Column> {
    OF_LOG.into_iter().map(|(name, data_type)| Column {
        source: name.to_owned(),
        field: Arc::new(Field::new(column_of_log(name), data_type, true)),
        is_required: false,
        is_not_null: false,
    })
}

/// The name in a shape, which no column of the SQL can have.
pub(super) fn column_of_log(name: &str) -> String {
    format!("log.{name}")
}

/// Where a column of the shape is taken from.
enum Source {
    /// Index in the batch that was read.
    Batch(usize),
    Constant(ArrayRef),
    Nowhere,
}

/// From a file's batches to the shape.
pub(super) struct Adapter {
    shape: Arc<Shape>,
    sources: Vec<Source>,
}

impl Shape {
    pub fn of(flow: &StreamFlow) -> Result<Self, HistoryError> {
        let stream = flow.stream.schema();
        let mut columns = Vec::new();
        for name in &flow.columns {
            let field = stream.field_with_name(name)?;
            columns.push(Column {
                source: name.clone(),
                is_required: !field.is_nullable() || flow.stream.event_time.as_ref() == Some(name),
                is_not_null: !field.is_nullable(),
                field: Arc::new(field.clone().with_nullable(true)),
            });
        }
        let of_sql = columns.len();
        columns.extend(of_log());
        let dead = Dead::on(flow.stream.on_error);
        let time = flow.stream.event_time.clone().map(|name| (name, flow.stream.event_time_unit));
        let records = Some(Records::of(flow));
        Ok(Self { dead: Arc::new(dead), time, records, ..Self::new(columns, of_sql) })
    }

    /// Of nothing but what rows are ordered by.
    pub fn of_order() -> Self {
        Self::new(of_log().take(2).collect(), 0)
    }

    fn new(columns: Vec<Column>, of_sql: usize) -> Self {
        let fields: Vec<FieldRef> = columns.iter().map(|column| column.field.clone()).collect();
        Self { columns, schema: Arc::new(Schema::new(fields)), of_sql, time: None, dead: Arc::default(), records: None }
    }

    pub fn time(&self) -> Option<(&str, TimeUnit)> {
        self.time.as_ref().map(|(name, unit)| (name.as_str(), *unit))
    }

    /// What decodes a file that has the columns `there`, if it holds records.
    pub fn records(&self, there: &dyn Fn(&str) -> bool) -> Option<&Records> {
        self.records.as_ref().filter(|records| records.are_in(there))
    }

    /// What becomes of records that do not decode, and did.
    pub fn dead(&self) -> &Arc<Dead> {
        &self.dead
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The SQL's columns of a batch.
    pub fn rows(&self, batch: &RecordBatch) -> Result<RecordBatch, HistoryError> {
        let fields = self.schema.fields()[..self.of_sql].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns()[..self.of_sql].to_vec();
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }

    /// What the log said of a batch, in the order of [`OF_LOG`].
    pub fn of_log<'a>(&self, batch: &'a RecordBatch) -> &'a [ArrayRef] {
        &batch.columns()[self.of_sql..]
    }

    /// Whether every file must have it.
    pub fn requires(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.is_required && column.source == name)
    }

    /// What to read of a file that has the columns `there`: each once, with the type it has in the shape.
    pub fn wanted(&self, there: &dyn Fn(&str) -> bool) -> Vec<FieldRef> {
        let mut seen = BTreeSet::new();
        let columns = self.columns.iter().filter(|column| there(&column.source) && seen.insert(&column.source));
        columns.map(|column| Arc::new(column.field.as_ref().clone().with_name(&column.source))).collect()
    }

    /// As [`Shape::wanted`], where NOT NULL is not null.
    pub fn of_records(&self, there: &dyn Fn(&str) -> bool) -> Vec<FieldRef> {
        let has_to_be = |name: &str| self.columns.iter().any(|column| column.is_not_null && column.source == name);
        let strictly = |field: FieldRef| {
            let may_be_null = !has_to_be(field.name());
            Arc::new(field.as_ref().clone().with_nullable(may_be_null))
        };
        self.wanted(there).into_iter().map(strictly).collect()
    }

    /// `read`: names of what is read of the file, in order.
    pub fn adapter(self: &Arc<Self>, file: &HistoryFile, read: &[String]) -> Result<Adapter, HistoryError> {
        let mut missing = Vec::new();
        let mut sources = Vec::new();
        for column in &self.columns {
            let constant = file.constant(&column.source);
            sources.push(match (read.iter().position(|name| *name == column.source), constant) {
                (Some(index), _) => Source::Batch(index),
                (None, Some(value)) => Source::Constant(
                    cast_strictly(&(Arc::new(StringArray::from(vec![value])) as ArrayRef), column)
                        .map_err(|detail| file.refuse(detail))?,
                ),
                (None, None) => {
                    if column.is_required {
                        missing.push(column.source.as_str());
                    }
                    Source::Nowhere
                }
            });
        }
        if !missing.is_empty() {
            return Err(file.refuse(format!("lacks the columns `{}`, which the SQL uses", missing.join("`, `"))));
        }
        Ok(Adapter { shape: self.clone(), sources })
    }
}

impl Adapter {
    /// Errors are for people, without the file's name.
    pub fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let rows = batch.num_rows();
        let adapt = |(source, column): (&Source, &Column)| match source {
            Source::Batch(index) => cast_strictly(batch.column(*index), column),
            Source::Constant(value) => {
                let repeated = arrow::compute::take(value, &arrow::array::UInt32Array::from_value(0, rows), None);
                repeated.map_err(|error| error.to_string())
            }
            Source::Nowhere => Ok(new_null_array(column.field.data_type(), rows)),
        };
        let columns = self.sources.iter().zip(&self.shape.columns).map(adapt).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.shape.schema.clone(), columns, &options)
            .map_err(|error| error.to_string())
    }
}

/// A value that has no place in the column's type is an error, not a null.
fn cast_strictly(array: &ArrayRef, column: &Column) -> Result<ArrayRef, String> {
    if array.data_type() == column.field.data_type() {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, column.field.data_type(), &options)
        .map_err(|error| format!("column `{}`: {error}", column.source))
}
