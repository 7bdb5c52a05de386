//! A hash of each value of a column, the same in every process, on every machine and in every version: XXH3 with 64
//! bits and seed 0 over bytes that stand for the value.
//!
//! Those bytes: integers, dates, times and truths as 8 bytes, lowest first, whatever their width; decimals as 16 or 32;
//! floats as the 8 bytes of a double, so that equal numbers are equal, with one zero and one NaN; text and binary as they are,
//! whatever array they are in; a dictionary's values as themselves. Lists, structs, maps and intervals go through Arrow's row format:
//! the same on every machine, though another version of Arrow might change it.

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int64Type, TimeUnit, UInt64Type},
    row::{RowConverter, SortField},
};
use datafusion::common::Result;
use xxhash_rust::xxh3::xxh3_64;

/// Calls with the row and the hash of every value of a column without nulls.
pub fn each(array: &ArrayRef, mut call: impl FnMut(usize, u64)) -> Result<()> {
    let mut bytes = |row: usize, bytes: &[u8]| call(row, xxh3_64(bytes));
    match array.data_type() {
        DataType::Utf8 => of(array.as_string::<i32>().iter(), bytes),
        DataType::LargeUtf8 => of(array.as_string::<i64>().iter(), bytes),
        DataType::Utf8View => of(array.as_string_view().iter(), bytes),
        DataType::Binary => of(array.as_binary::<i32>().iter(), bytes),
        DataType::LargeBinary => of(array.as_binary::<i64>().iter(), bytes),
        DataType::BinaryView => of(array.as_binary_view().iter(), bytes),
        DataType::FixedSizeBinary(_) => of(array.as_fixed_size_binary().iter(), bytes),
        DataType::Dictionary(_, values) => return each(&cast(array, values)?, call),
        DataType::UInt64 => numbers::<UInt64Type>(array, |row, value| bytes(row, &value.to_le_bytes())),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let array = cast(array, &DataType::Float64)?;
            numbers::<Float64Type>(&array, |row, value| {
                let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
                bytes(row, &value.to_bits().to_le_bytes());
            });
        }
        DataType::Decimal128(..) => {
            numbers::<Decimal128Type>(array, |row, value| bytes(row, &value.to_le_bytes()));
        }
        DataType::Decimal256(..) => {
            numbers::<Decimal256Type>(array, |row, value| bytes(row, &value.to_le_bytes()));
        }
        other if is_whole(other) => {
            let array = whole(array)?;
            numbers::<Int64Type>(&array, |row, value| bytes(row, &value.to_le_bytes()));
        }
        other => {
            let rows = RowConverter::new(vec![SortField::new(other.clone())])?;
            let rows = rows.convert_columns(std::slice::from_ref(array))?;
            rows.iter().enumerate().for_each(|(row, encoded)| bytes(row, encoded.as_ref()));
        }
    }
    Ok(())
}

fn of<T: AsRef<[u8]>>(values: impl Iterator<Item = Option<T>>, mut call: impl FnMut(usize, &[u8])) {
    for (row, value) in values.enumerate() {
        if let Some(value) = value {
            call(row, value.as_ref());
        }
    }
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef, mut call: impl FnMut(usize, T::Native)) {
    let array: &PrimitiveArray<T> = array.as_primitive();
    array.values().iter().enumerate().for_each(|(row, &value)| call(row, value));
}

/// Types whose values are whole numbers of up to 64 bits.
fn is_whole(data_type: &DataType) -> bool {
    use DataType::*;
    data_type.is_signed_integer()
        || matches!(data_type, UInt8 | UInt16 | UInt32 | Boolean | Date32 | Date64 | Time32(_) | Time64(_))
        || matches!(data_type, Timestamp(..) | Duration(_))
}

fn whole(array: &ArrayRef) -> Result<ArrayRef> {
    let array = match array.data_type() {
        // Through their own number; a time zone is not of the value.
        DataType::Timestamp(unit, Some(_)) => cast(array, &DataType::Timestamp(*unit, None))?,
        DataType::Time32(TimeUnit::Second | TimeUnit::Millisecond) | DataType::Date32 => cast(array, &DataType::Int32)?,
        _ => array.clone(),
    };
    Ok(cast(&array, &DataType::Int64)?)
}
