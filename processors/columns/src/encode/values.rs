//! A column of a batch, brought into the form in which its values go on the wire.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, ListArray, MapArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use prost_reflect::Kind;
use prost_reflect::prost::encoding::encode_varint;

/// Values of one scalar column, each as its bits on the wire.
pub(super) enum Scalars {
    Varint(Vec<u64>),
    Fixed32(Vec<u32>),
    Fixed64(Vec<u64>),
    Bytes(BinaryViewArray),
}

impl Scalars {
    /// `array` must be of a type that [`super::accept::scalar`] accepts for `kind`.
    pub(super) fn of(kind: &Kind, array: &ArrayRef) -> Result<Self, ArrowError> {
        let zigzag32 = |v: i32| u64::from(((v << 1) ^ (v >> 31)).cast_unsigned());
        let zigzag64 = |v: i64| ((v << 1) ^ (v >> 63)).cast_unsigned();
        Ok(match kind {
            Kind::Bool => {
                let array = cast(array, &DataType::Boolean)?;
                let array: &BooleanArray = array.as_boolean();
                Self::Varint(array.values().iter().map(u64::from).collect())
            }
            // Negative numbers take ten bytes, as if they were 64 bits wide.
            Kind::Int32 => Self::Varint(each::<Int32Type, _>(array, |v| i64::from(v).cast_unsigned())?),
            Kind::Sint32 => Self::Varint(each::<Int32Type, _>(array, zigzag32)?),
            Kind::Sfixed32 => Self::Fixed32(each::<Int32Type, _>(array, i32::cast_unsigned)?),
            Kind::Uint32 => Self::Varint(each::<UInt32Type, _>(array, u64::from)?),
            Kind::Fixed32 => Self::Fixed32(each::<UInt32Type, _>(array, |v| v)?),
            Kind::Int64 => Self::Varint(each::<Int64Type, _>(array, i64::cast_unsigned)?),
            Kind::Sint64 => Self::Varint(each::<Int64Type, _>(array, zigzag64)?),
            Kind::Sfixed64 => Self::Fixed64(each::<Int64Type, _>(array, i64::cast_unsigned)?),
            Kind::Uint64 => Self::Varint(each::<UInt64Type, _>(array, |v| v)?),
            Kind::Fixed64 => Self::Fixed64(each::<UInt64Type, _>(array, |v| v)?),
            Kind::Float => Self::Fixed32(each::<Float32Type, _>(array, f32::to_bits)?),
            Kind::Double => Self::Fixed64(each::<Float64Type, _>(array, f64::to_bits)?),
            Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => {
                let binary = match array.data_type() {
                    DataType::BinaryView => Arc::clone(array),
                    DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
                        cast(array, &DataType::BinaryView)?
                    }
                    _ => cast(&cast(array, &DataType::Utf8View)?, &DataType::BinaryView)?,
                };
                Self::Bytes(binary.as_binary_view().clone())
            }
        })
    }

    /// Whether the value is what an absent field stands for.
    pub(super) fn is_default(&self, row: usize) -> bool {
        match self {
            Self::Varint(values) | Self::Fixed64(values) => values[row] == 0,
            Self::Fixed32(values) => values[row] == 0,
            Self::Bytes(values) => values.value(row).is_empty(),
        }
    }

    /// The value without its key.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Varint(values) => encode_varint(values[row], out),
            Self::Fixed32(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::Fixed64(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::Bytes(values) => {
                let value = values.value(row);
                encode_varint(value.len() as u64, out);
                out.extend_from_slice(value);
            }
        }
    }
}

/// Casts and maps every value, those under nulls included.
fn each<T, U>(array: &ArrayRef, to: impl Fn(T::Native) -> U) -> Result<Vec<U>, ArrowError>
where
    T: arrow::array::ArrowPrimitiveType,
{
    let array = cast(array, &T::DATA_TYPE)?;
    let array: &PrimitiveArray<T> = array.as_primitive();
    Ok(array.values().iter().map(|value| to(*value)).collect())
}

/// Times as seconds and nanoseconds (0 to 999,999,999), whatever their unit and zone.
pub(super) fn times(array: &ArrayRef) -> Result<Vec<(i64, i32)>, ArrowError> {
    let unit = match array.data_type() {
        DataType::Timestamp(unit, _) | DataType::Duration(unit) => *unit,
        other => return Err(ArrowError::CastError(format!("{other} is not a time"))),
    };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let ticks = each::<Int64Type, _>(array, |ticks| ticks)?;
    let nanos = |ticks: i64| (ticks.rem_euclid(per_second) * (1_000_000_000 / per_second)) as i32;
    Ok(ticks.into_iter().map(|ticks| (ticks.div_euclid(per_second), nanos(ticks))).collect())
}

/// A column of lists or maps: where each row's elements begin and end, and the elements.
pub(super) fn list(array: &ArrayRef) -> Result<(OffsetBuffer<i32>, ArrayRef), ArrowError> {
    match array.data_type() {
        DataType::Map(..) => {
            let map: &MapArray = array.as_map();
            Ok((map.offsets().clone(), Arc::new(map.entries().clone())))
        }
        DataType::List(_) => {
            let list: &ListArray = array.as_list();
            Ok((list.offsets().clone(), Arc::clone(list.values())))
        }
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            list(&cast(array, &DataType::List(Arc::clone(item)))?)
        }
        other => Err(ArrowError::CastError(format!("{other} is not a list"))),
    }
}

/// Nulls of a column, whatever it is.
pub(super) fn nulls(array: &ArrayRef) -> Option<NullBuffer> {
    array.logical_nulls().filter(|nulls| nulls.null_count() > 0)
}
