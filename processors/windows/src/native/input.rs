//! The columns of a batch as the native aggregates read them: values as words, filters as bits.
//!
//! Prepared once for a batch, whichever panes its rows go to.

use super::layout::{Kind, Layout};
use arrow::{
    array::{Array, ArrayRef, AsArray},
    buffer::{BooleanBuffer, NullBuffer, ScalarBuffer},
    datatypes::ArrowNativeType,
};
use datafusion::error::{DataFusionError, Result};

/// Values of a primitive column.
#[derive(Debug)]
pub enum Values {
    I8(ScalarBuffer<i8>),
    I16(ScalarBuffer<i16>),
    I32(ScalarBuffer<i32>),
    U8(ScalarBuffer<u8>),
    U16(ScalarBuffer<u16>),
    U32(ScalarBuffer<u32>),
    /// Signed, unsigned or double: words as they are.
    Word(ScalarBuffer<u64>),
}

impl Values {
    /// `kind` is what the layout takes the column for.
    pub fn of(array: &dyn Array, kind: Kind) -> Result<Self> {
        let data_type = array.data_type();
        if Kind::of(data_type) != Some(kind) {
            return Err(DataFusionError::Internal(format!("a column of {data_type} for an aggregate of {kind:?}")));
        }
        Ok(match (kind, data_type.primitive_width()) {
            (Kind::Signed, Some(1)) => Self::I8(buffer(array)),
            (Kind::Signed, Some(2)) => Self::I16(buffer(array)),
            (Kind::Signed, Some(4)) => Self::I32(buffer(array)),
            (Kind::Unsigned, Some(1)) => Self::U8(buffer(array)),
            (Kind::Unsigned, Some(2)) => Self::U16(buffer(array)),
            (Kind::Unsigned, Some(4)) => Self::U32(buffer(array)),
            _ => Self::Word(buffer(array)),
        })
    }

    /// As [`Self::read`], of the rows from `first` on.
    pub fn read_run(&self, first: usize, words: &mut [u64]) {
        let rows = first..first + words.len();
        match self {
            Self::I8(values) => widen(&values[rows], words, |value| i64::from(value) as u64),
            Self::I16(values) => widen(&values[rows], words, |value| i64::from(value) as u64),
            Self::I32(values) => widen(&values[rows], words, |value| i64::from(value) as u64),
            Self::U8(values) => widen(&values[rows], words, u64::from),
            Self::U16(values) => widen(&values[rows], words, u64::from),
            Self::U32(values) => widen(&values[rows], words, u64::from),
            Self::Word(values) => words.copy_from_slice(&values[rows]),
        }
    }

    /// The values of some rows as words: sign-extended, zero-extended, or the bits of a double.
    pub fn read(&self, rows: &[u32], words: &mut [u64]) {
        match self {
            Self::I8(values) => gather(values, rows, words, |value| i64::from(value) as u64),
            Self::I16(values) => gather(values, rows, words, |value| i64::from(value) as u64),
            Self::I32(values) => gather(values, rows, words, |value| i64::from(value) as u64),
            Self::U8(values) => gather(values, rows, words, u64::from),
            Self::U16(values) => gather(values, rows, words, u64::from),
            Self::U32(values) => gather(values, rows, words, u64::from),
            Self::Word(values) => gather(values, rows, words, |value| value),
        }
    }
}

fn buffer<T: ArrowNativeType>(array: &dyn Array) -> ScalarBuffer<T> {
    let data = array.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

#[inline(always)]
fn gather<T: Copy>(values: &[T], rows: &[u32], words: &mut [u64], word: impl Fn(T) -> u64) {
    for (to, &row) in words.iter_mut().zip(rows) {
        *to = word(values[row as usize]);
    }
}

#[inline(always)]
fn widen<T: Copy>(values: &[T], words: &mut [u64], word: impl Fn(T) -> u64) {
    words.iter_mut().zip(values).for_each(|(to, &value)| *to = word(value));
}

/// What the native aggregates need of a batch.
#[derive(Debug, Default)]
pub struct Input {
    /// Distinct columns with values that are read.
    pub columns: Vec<Values>,
    /// For each lane: its place in `columns`, and which rows have a value.
    pub lanes: Vec<(Option<usize>, Option<NullBuffer>)>,
    /// For each counter: which rows pass; none when all do.
    pub filters: Vec<Option<BooleanBuffer>>,
}

impl Input {
    /// `columns` are [`crate::Rows::columns`].
    pub fn new(layout: &Layout, columns: &[ArrayRef]) -> Result<Self> {
        let mut input = Self::default();
        let mut known: Vec<usize> = Vec::new();
        for lane in &layout.lanes {
            let array = &columns[lane.column];
            let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
            let place = match lane.kind {
                None => None,
                Some(kind) => Some(match known.iter().position(|column| *column == lane.column) {
                    Some(place) => place,
                    None => {
                        known.push(lane.column);
                        input.columns.push(Values::of(array.as_ref(), kind)?);
                        known.len() - 1
                    }
                }),
            };
            input.lanes.push((place, nulls));
        }
        for counter in &layout.counters {
            input.filters.push(counter.filter.map(|column| passes(&columns[column])));
        }
        Ok(input)
    }
}

/// Null is not true.
fn passes(filter: &ArrayRef) -> BooleanBuffer {
    let filter = filter.as_boolean();
    match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    }
}
