//! Columns whose value is the same for every row of a record: where it came from, who sent it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, PrimitiveArray, StringViewArray, UInt64Array};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampNanosecondType};

use crate::views::{Views, inline_view};

/// A value for each of the rows that a record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constant<'a> {
    Null,
    Text(&'a str),
    Int32(i32),
    Int64(i64),
    UInt64(u64),
    Boolean(bool),
    /// Nanoseconds since the Unix epoch.
    TimeNs(i64),
}

/// The type of a constant column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstantType {
    Text,
    Int32,
    Int64,
    UInt64,
    Boolean,
    TimeNs,
}

impl ConstantType {
    /// Utf8View, Int32, Int64, UInt64, Boolean, Timestamp(ns).
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8View,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt64 => DataType::UInt64,
            Self::Boolean => DataType::Boolean,
            Self::TimeNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        }
    }
}

/// The caller's fault: [`Constants::push`] was given something else than the columns it was made for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstantError {
    #[error("{got} values for {want} constant columns")]
    Count { got: usize, want: usize },
    #[error("constant column {column:?} is {want:?}, its value is {got}")]
    Type { column: String, want: ConstantType, got: String },
}

/// Builds constant columns beside a decoder: push once for each record with the number of rows it gave, finish when
/// the decoder is finished. A long text is stored once for each record, not for each row.
#[derive(Debug)]
pub struct Constants {
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Debug)]
struct Column {
    field: FieldRef,
    kind: ConstantType,
    values: Values,
    /// Runs of rows: how many, and whether they are valid. Equal neighbours are one run.
    runs: Vec<(usize, bool)>,
}

#[derive(Debug)]
enum Values {
    Words(Vec<i32>),
    Longs(Vec<u64>),
    Booleans(Vec<bool>),
    Views(Views),
}

impl Constants {
    /// Columns by name and type, all nullable.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, ConstantType)>) -> Self {
        let columns = columns.into_iter().map(|(name, kind)| Column {
            field: Arc::new(Field::new(name, kind.data_type(), true)),
            kind,
            values: Values::of(kind),
            runs: Vec::new(),
        });
        Self { columns: columns.collect(), rows: 0 }
    }

    /// One field for each column, in the order given to [`new`](Constants::new).
    pub fn fields(&self) -> Vec<FieldRef> {
        self.columns.iter().map(|column| Arc::clone(&column.field)).collect()
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds `rows` rows with these values, one for each column. Nothing is added after an error.
    pub fn push(&mut self, values: &[Constant<'_>], rows: usize) -> Result<(), ConstantError> {
        if values.len() != self.columns.len() {
            return Err(ConstantError::Count { got: values.len(), want: self.columns.len() });
        }
        for (column, value) in self.columns.iter().zip(values) {
            column.check(value)?;
        }
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value, rows);
        }
        self.rows += rows;
        Ok(())
    }

    /// The columns since the last call.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

impl Values {
    fn of(kind: ConstantType) -> Self {
        match kind {
            ConstantType::Text => Self::Views(Views::default()),
            ConstantType::Int32 => Self::Words(Vec::new()),
            ConstantType::Boolean => Self::Booleans(Vec::new()),
            ConstantType::Int64 | ConstantType::UInt64 | ConstantType::TimeNs => Self::Longs(Vec::new()),
        }
    }
}

impl Column {
    fn check(&self, value: &Constant<'_>) -> Result<(), ConstantError> {
        let fits = match value {
            Constant::Null => true,
            Constant::Text(_) => self.kind == ConstantType::Text,
            Constant::Int32(_) => self.kind == ConstantType::Int32,
            Constant::Int64(_) => self.kind == ConstantType::Int64,
            Constant::UInt64(_) => self.kind == ConstantType::UInt64,
            Constant::Boolean(_) => self.kind == ConstantType::Boolean,
            Constant::TimeNs(_) => self.kind == ConstantType::TimeNs,
        };
        if fits {
            return Ok(());
        }
        Err(ConstantError::Type { column: self.field.name().clone(), want: self.kind, got: format!("{value:?}") })
    }

    fn push(&mut self, value: &Constant<'_>, rows: usize) {
        match &mut self.values {
            Values::Words(values) => {
                let value = if let Constant::Int32(value) = value { *value } else { 0 };
                values.resize(values.len() + rows, value);
            }
            Values::Longs(values) => {
                let value = match value {
                    Constant::Int64(value) | Constant::TimeNs(value) => value.cast_unsigned(),
                    Constant::UInt64(value) => *value,
                    _ => 0,
                };
                values.resize(values.len() + rows, value);
            }
            Values::Booleans(values) => values.resize(values.len() + rows, *value == Constant::Boolean(true)),
            Values::Views(views) => {
                let text = if let Constant::Text(text) = value { text.as_bytes() } else { &[] };
                // What the record before had, as most headers repeat, is not stored again.
                let view = match views.values.last() {
                    Some(last) if views.is(*last, text) => *last,
                    _ if text.len() <= 12 => inline_view(text),
                    _ => views.keep(text),
                };
                views.values.resize(views.values.len() + rows, view);
            }
        }
        let valid = *value != Constant::Null;
        match self.runs.last_mut() {
            Some((run, run_valid)) if *run_valid == valid => *run += rows,
            _ => self.runs.push((rows, valid)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let runs = std::mem::take(&mut self.runs);
        let nulls = runs
            .iter()
            .any(|(_, valid)| !valid)
            .then(|| NullBuffer::from_iter(runs.iter().flat_map(|(rows, valid)| std::iter::repeat_n(*valid, *rows))));
        match &mut self.values {
            Values::Words(values) => Arc::new(Int32Array::new(take(values).into(), nulls)),
            Values::Longs(values) => {
                let values = Buffer::from_vec(take(values));
                match self.kind {
                    ConstantType::UInt64 => Arc::new(UInt64Array::new(values.into(), nulls)),
                    ConstantType::TimeNs => {
                        Arc::new(PrimitiveArray::<TimestampNanosecondType>::new(ScalarBuffer::from(values), nulls))
                    }
                    _ => Arc::new(Int64Array::new(values.into(), nulls)),
                }
            }
            Values::Booleans(values) => Arc::new(BooleanArray::new(take(values).into(), nulls)),
            Values::Views(views) => {
                let (values, blocks) = views.take();
                strings(values.into(), blocks, nulls)
            }
        }
    }
}

/// Takes the values and leaves room for as many.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let rows = values.len();
    std::mem::replace(values, Vec::with_capacity(rows))
}

#[allow(unsafe_code)]
fn strings(values: ScalarBuffer<u128>, blocks: Vec<Buffer>, nulls: Option<NullBuffer>) -> ArrayRef {
    // SAFETY: every view is of a whole `&str`, made by `inline_view` or by `Views::keep`, whose blocks these are.
    Arc::new(unsafe { StringViewArray::new_unchecked(values, blocks, nulls) })
}
