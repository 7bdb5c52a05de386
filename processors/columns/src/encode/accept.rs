//! Which Arrow types a protobuf scalar holds without loss.

use arrow::datatypes::DataType;
use prost_reflect::Kind;

/// Whether every value of `got` survives in a field of `kind`. Messages and enums are not scalars.
pub(super) fn scalar(kind: &Kind, got: &DataType) -> bool {
    use DataType as T;
    if let T::Dictionary(_, values) = got {
        return scalar(kind, values);
    }
    let signed = |bits| matches!((got, bits), (T::Int8 | T::Int16 | T::Int32, _) | (T::Int64, 64));
    let unsigned = |bits| matches!((got, bits), (T::UInt8 | T::UInt16, _) | (T::UInt32, 32 | 64) | (T::UInt64, 64));
    match kind {
        Kind::Bool => matches!(got, T::Boolean),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => signed(32) || unsigned(31),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => signed(64) || unsigned(32),
        Kind::Uint32 | Kind::Fixed32 => unsigned(32),
        Kind::Uint64 | Kind::Fixed64 => unsigned(64),
        Kind::Float => matches!(got, T::Float16 | T::Float32 | T::Int8 | T::Int16 | T::UInt8 | T::UInt16),
        Kind::Double => matches!(got, T::Float16 | T::Float32 | T::Float64) || signed(32) || unsigned(32),
        Kind::String => is_text(got),
        Kind::Bytes => {
            is_text(got) || matches!(got, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_))
        }
        Kind::Message(_) | Kind::Enum(_) => false,
    }
}

/// Whether a column may go into a map of features: a number or a boolean. Large integers are rounded to a double.
pub(super) fn feature(got: &DataType) -> bool {
    got.is_numeric() || matches!(got, DataType::Boolean | DataType::Null)
}

pub(super) fn is_text(got: &DataType) -> bool {
    match got {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}
