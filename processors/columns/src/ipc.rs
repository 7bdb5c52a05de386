//! Arrow IPC records: a stream of batches in each, its rows taken as the columns that a stream declares; and rows back into
//! such records.
//!
//! Columns are found by name. One that a record lacks is null; one of another width, unit or encoding of the same kind is cast
//! where every value fits; anything else is the sender's fault, as are more rows than [`Limits::rows_per_record_max`].
//! Deliberately not here: compressed bodies, files with a footer. Limits: [`Limits::record_bytes_max`]; what arrow's reader
//! panics at (offsets that point outside) is caught and is an error of the record.

use crate::{gathered::Gathered, limits::Limits};
use arrow::{
    array::{
        Array, ArrayData, ArrayRef, MutableArrayData, RecordBatch, RecordBatchOptions, UInt32Array, make_array,
        new_null_array,
    },
    buffer::Buffer,
    compute::{CastOptions, cast_with_options, take},
    datatypes::{DataType, FieldRef, Schema, SchemaRef},
    error::ArrowError,
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// A record is not an Arrow stream of the declared columns: the sender's fault, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpcError {
    #[error("a record of {bytes} bytes, more than {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("more than {max} rows in a record")]
    TooManyRows { max: usize },
    #[error("not an Arrow IPC stream: {0}")]
    Malformed(String),
    #[error("the record ends in the middle of a message")]
    Truncated,
    #[error("column {column:?} is {got}, the stream's is {want}")]
    Type { column: String, got: DataType, want: DataType },
    #[error("column {column:?}: {detail}")]
    Value { column: String, detail: String },
    #[error("column {column:?} is NOT NULL, and the record has nulls or no such column")]
    Null { column: String },
}

impl IpcError {
    /// Whether a stated bound was exceeded.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooManyRows { .. })
    }
}

/// Turns Arrow IPC records into rows; the shape of [`crate::Decoder`].
#[derive(Debug)]
pub struct ArrowDecoder {
    limits: Limits,
    done: Gathered,
}

impl ArrowDecoder {
    /// Reads the columns of `schema`.
    pub fn new(schema: SchemaRef, limits: Limits) -> Self {
        Self { limits, done: Gathered::new(schema) }
    }

    pub fn schema(&self) -> &SchemaRef {
        self.done.schema()
    }

    /// Rows since the last [`finish`](ArrowDecoder::finish).
    pub fn rows(&self) -> usize {
        self.done.rows()
    }

    /// Adds all rows of a record, or none; gives how many.
    pub fn push(&mut self, record: &[u8]) -> Result<usize, IpcError> {
        let (bytes, max) = (record.len(), self.limits.record_bytes_max);
        if bytes > max {
            return Err(IpcError::TooLarge { bytes, max });
        }
        let read = AssertUnwindSafe(|| self.read(record));
        let batches = catch_unwind(read).map_err(|_| IpcError::Malformed("it points outside of itself".into()))??;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        batches.into_iter().for_each(|batch| self.done.add(batch));
        Ok(rows)
    }

    /// The rows since the last call, in the order of their records. An error is a fault of this crate.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.done.finish()
    }

    fn read(&self, record: &[u8]) -> Result<Vec<RecordBatch>, IpcError> {
        let malformed = |error: ArrowError| IpcError::Malformed(error.to_string());
        let mut decoder = StreamDecoder::new();
        let mut bytes = Buffer::from(record);
        let (mut batches, mut rows) = (Vec::new(), 0usize);
        while !bytes.is_empty() {
            let Some(batch) = decoder.decode(&mut bytes).map_err(malformed)? else { continue };
            rows = rows.saturating_add(batch.num_rows());
            if rows > self.limits.rows_per_record_max {
                return Err(IpcError::TooManyRows { max: self.limits.rows_per_record_max });
            }
            batches.push(self.columns(&batch)?);
        }
        match decoder.schema() {
            None => return Err(IpcError::Truncated),
            // Also a stream without an end marker is whole, as long as no message is cut.
            Some(_) => decoder.finish().map_err(|_| IpcError::Truncated)?,
        }
        Ok(batches)
    }

    fn columns(&self, batch: &RecordBatch) -> Result<RecordBatch, IpcError> {
        let column = |field: &FieldRef| {
            let array = match batch.column_by_name(field.name()) {
                Some(array) => converted(field, array)?,
                None => new_null_array(field.data_type(), batch.num_rows()),
            };
            match field.is_nullable() || array.logical_null_count() == 0 {
                true => Ok(array),
                false => Err(IpcError::Null { column: field.name().clone() }),
            }
        };
        let columns: Vec<ArrayRef> = self.schema().fields().iter().map(column).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema().clone(), columns, &options)
            .map_err(|error| IpcError::Malformed(error.to_string()))
    }
}

/// The array in the declared type.
fn converted(field: &FieldRef, array: &ArrayRef) -> Result<ArrayRef, IpcError> {
    let (got, want) = (array.data_type(), field.data_type());
    if got == want {
        return Ok(array.clone());
    }
    if !is_alike(got, want) {
        return Err(IpcError::Type { column: field.name().clone(), got: got.clone(), want: want.clone() });
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, want, &options)
        .map_err(|error| IpcError::Value { column: field.name().clone(), detail: error.to_string() })
}

/// Whether values of one type are values of the other, if they fit.
fn is_alike(got: &DataType, want: &DataType) -> bool {
    use DataType as T;
    let is_text = |of: &T| matches!(of, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let is_bytes = |of: &T| matches!(of, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    match (got, want) {
        (T::Null, _) => true,
        (T::Dictionary(_, value), want) => is_alike(value, want),
        (got, T::Dictionary(_, value)) => is_alike(got, value),
        (got, want) if got == want => true,
        (got, want) if got.is_integer() && (want.is_integer() || want.is_floating()) => true,
        (got, want) if got.is_floating() && want.is_floating() => true,
        (T::Timestamp(..), T::Timestamp(..)) | (T::Duration(_), T::Duration(_)) => true,
        (T::List(got) | T::LargeList(got), T::List(want) | T::LargeList(want)) => {
            is_alike(got.data_type(), want.data_type())
        }
        (T::Struct(got), T::Struct(want)) => {
            got.len() == want.len()
                && got
                    .iter()
                    .zip(want)
                    .all(|(got, want)| got.name() == want.name() && is_alike(got.data_type(), want.data_type()))
        }
        (got, want) => (is_text(got) && is_text(want)) || (is_bytes(got) && is_bytes(want)),
    }
}

/// Turns rows into Arrow IPC records. Views and dictionaries are written as what they stand for: a row's record would else
/// hold the bytes of all rows beside it.
#[derive(Debug, Clone)]
pub struct ArrowEncoder {
    schema: SchemaRef,
}

impl ArrowEncoder {
    /// Of rows with these columns. An error names a type that Arrow IPC cannot hold.
    pub fn new(rows: SchemaRef) -> Result<Self, ArrowError> {
        let encoder = Self { schema: Arc::new(Schema::new(rows.fields().iter().map(written).collect::<Vec<_>>())) };
        encoder.encode(&RecordBatch::new_empty(rows))?;
        Ok(encoder)
    }

    /// One record, a whole stream of one row, for each row.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
        let rows = self.batch(batch.num_rows(), self.plain(batch.columns())?)?;
        match rows.num_rows() {
            // Only whether the types can be written.
            0 => StreamWriter::try_new(Vec::new(), &self.schema).map(|_| Vec::new()),
            count => (0..count).map(|row| self.record(&rows.slice(row, 1))).collect(),
        }
    }

    /// One record of the rows with these numbers, in their order. Equal rows give equal bytes, whatever stood where they are
    /// null or beside them.
    pub fn encode_together(&self, batch: &RecordBatch, rows: &UInt32Array) -> Result<Vec<u8>, ArrowError> {
        let taken: Vec<ArrayRef> =
            batch.columns().iter().map(|column| take(column, rows, None)).collect::<Result<_, _>>()?;
        let columns = self.plain(&taken)?;
        let columns = columns.iter().map(|column| Ok(make_array(cleared(column.to_data())?)));
        let columns = columns.collect::<Result<_, ArrowError>>()?;
        self.record(&self.batch(rows.len(), columns)?)
    }

    fn plain(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let column = |(field, array): (&FieldRef, &ArrayRef)| cast_with_options(array, field.data_type(), &options);
        self.schema.fields().iter().zip(columns).map(column).collect()
    }

    fn batch(&self, rows: usize, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        let counted = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &counted)
    }

    fn record(&self, rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        writer.write(rows)?;
        writer.into_inner()
    }
}

/// The same values. What stands below a null depends on how it was computed, and so does whether an array without
/// nulls has room for them: both become the same always.
fn cleared(array: ArrayData) -> Result<ArrayData, ArrowError> {
    if array.nulls().is_none() && array.child_data().is_empty() {
        return Ok(array);
    }
    let children = array.child_data().iter().cloned().map(cleared).collect::<Result<_, _>>()?;
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
    let array = array.into_builder().child_data(children).nulls(nulls).build()?;
    let Some(nulls) = array.nulls() else { return Ok(array) };
    let mut same = MutableArrayData::new(vec![&array], true, array.len());
    let mut end = 0;
    for (from, past) in nulls.valid_slices() {
        same.try_extend_nulls(from - end)?;
        same.try_extend(0, from, past)?;
        end = past;
    }
    same.try_extend_nulls(array.len() - end)?;
    Ok(same.freeze())
}

/// The field as it is written.
fn written(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(plain(field.data_type())))
}

fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::List(item) => DataType::List(written(item)),
        DataType::LargeList(item) => DataType::LargeList(written(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(written).collect()),
        other => other.clone(),
    }
}
