//! Arrow columns → the row-major float32 matrix that ONNX models take, in one pass over a few rows at a time.
//!
//! A null becomes NaN, so that "not known" and "not a number" are one thing. Deliberately not here: names and plan-time
//! checks ([`crate::Model::bind`]).
//! Limits: holds 4 bytes for each value of the batch it is given.

use std::ops::Range;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray},
    compute::cast,
    datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type},
    error::ArrowError,
};

/// A batch's features, row by row.
pub(crate) struct Matrix {
    cells: Vec<f32>,
    width: usize,
    /// Per row, whether every feature is a finite number.
    complete: Vec<bool>,
}

/// Whether values of this type can be features.
pub(crate) fn is_numeric(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating() || matches!(data_type, DataType::Boolean | DataType::Null)
}

impl Matrix {
    /// `arrays` must be numeric or boolean and of one length; the caller has checked that.
    pub fn from_arrays(arrays: &[ArrayRef]) -> Result<Self, ArrowError> {
        // The rows that are written together must stay in the cache from one column to the next.
        const ROWS_AT_ONCE: usize = 32;
        let arrays: Vec<ArrayRef> = arrays.iter().map(readable).collect::<Result<_, _>>()?;
        let (rows, width) = (arrays.first().map_or(0, |array| array.len()), arrays.len());
        let mut cells = vec![0.0; rows * width];
        for start in (0..rows).step_by(ROWS_AT_ONCE) {
            let range = start..rows.min(start + ROWS_AT_ONCE);
            let tile = &mut cells[range.start * width..range.end * width];
            for (feature, array) in arrays.iter().enumerate() {
                copy_column(array, range.clone(), tile[feature..].iter_mut().step_by(width));
            }
        }
        let finite = |row: &[f32]| row.iter().fold(true, |all, value| all & value.is_finite());
        let complete = cells.chunks(width.max(1)).map(finite).collect();
        Ok(Self { cells, width, complete })
    }

    pub fn rows(&self) -> usize {
        self.complete.len()
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.cells[row * self.width..(row + 1) * self.width]
    }

    pub fn is_complete(&self, row: usize) -> bool {
        self.complete[row]
    }

    /// The rows, `rows_max` at a time.
    pub fn calls(&self, rows_max: usize) -> impl Iterator<Item = &[f32]> {
        self.cells.chunks(rows_max * self.width)
    }
}

/// The types that views usually have are read as they are, others are cast.
fn readable(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    use DataType::{Float32, Float64, Int32, Int64, UInt32, UInt64};
    match array.data_type() {
        Float32 | Float64 | Int32 | Int64 | UInt32 | UInt64 => Ok(ArrayRef::clone(array)),
        _ => cast(array, &Float32),
    }
}

fn copy_column<'a>(array: &ArrayRef, rows: Range<usize>, target: impl Iterator<Item = &'a mut f32>) {
    match array.data_type() {
        DataType::Float64 => copy::<Float64Type>(array, rows, target, |value| value as f32),
        DataType::Int64 => copy::<Int64Type>(array, rows, target, |value| value as f32),
        DataType::UInt64 => copy::<UInt64Type>(array, rows, target, |value| value as f32),
        DataType::Int32 => copy::<Int32Type>(array, rows, target, |value| value as f32),
        DataType::UInt32 => copy::<UInt32Type>(array, rows, target, |value| value as f32),
        _ => copy::<Float32Type>(array, rows, target, |value| value),
    }
}

fn copy<'a, T: ArrowPrimitiveType>(
    array: &ArrayRef,
    rows: Range<usize>,
    target: impl Iterator<Item = &'a mut f32>,
    to_f32: impl Fn(T::Native) -> f32,
) {
    let array = array.as_primitive::<T>();
    let values = &array.values()[rows.clone()];
    match array.nulls() {
        None => target.zip(values).for_each(|(cell, value)| *cell = to_f32(*value)),
        Some(nulls) => target.zip(values).zip(rows).for_each(|((cell, value), row)| {
            *cell = if nulls.is_valid(row) { to_f32(*value) } else { f32::NAN };
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{BooleanArray, Float64Array, Int64Array, NullArray, UInt8Array};

    #[test]
    fn columns_become_rows_whatever_their_types() {
        let rows = 70;
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter((0..rows).map(|row| (row != 3).then_some(row)))),
            Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 / 2.0))),
            Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 2 == 1)))),
            Arc::new(UInt8Array::from_iter_values((0..rows).map(|row| row as u8))),
        ];
        let matrix = Matrix::from_arrays(&arrays).expect("numeric columns");
        assert_eq!(matrix.rows(), 70);
        assert_eq!(matrix.row(69), [69.0, 34.5, 1.0, 69.0]);
        assert!(matrix.row(3)[0].is_nan());
        let incomplete: Vec<usize> = (0..70).filter(|row| !matrix.is_complete(*row)).collect();
        assert_eq!(incomplete, [3]);
        assert_eq!(matrix.calls(32).map(<[f32]>::len).collect::<Vec<_>>(), [128, 128, 24]);
        let sliced: Vec<ArrayRef> = arrays.iter().map(|array| array.slice(2, 2)).collect();
        let sliced = Matrix::from_arrays(&sliced).expect("numeric columns");
        assert_eq!(sliced.row(0), [2.0, 1.0, 0.0, 2.0]);
        assert!(!sliced.is_complete(1));
    }

    #[test]
    fn a_column_of_nulls_is_unknown() {
        let matrix = Matrix::from_arrays(&[Arc::new(NullArray::new(2))]).expect("nulls are numeric");
        assert!(!matrix.is_complete(0) && !matrix.is_complete(1));
    }
}
