//! Compiles test schemas, makes wire bytes out of chance, and compares columns with what prost-reflect decodes.
#![allow(dead_code, reason = "each test file uses a part of it")]

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::*;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};

/// A message of `tests/support/rich.proto`.
pub fn rich(name: &str) -> MessageDescriptor {
    compiled("tests/support/rich.proto", "tests/support", &format!("test.{name}"))
}

pub fn compiled(file: &str, include: &str, message: &str) -> MessageDescriptor {
    // Tests run in their package's folder.
    let set = protox::compile([file], [include]).expect("the test schema compiles");
    let pool = DescriptorPool::from_file_descriptor_set(set).expect("the test schema is complete");
    pool.get_message_by_name(message).expect("the test schema has the message")
}

/// Every column of a message type.
pub fn all_columns(message: &MessageDescriptor) -> Vec<String> {
    let schema = amoskys_columns::message_schema(message).expect("a schema");
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

pub fn decoder(message: &MessageDescriptor, limits: amoskys_columns::Limits) -> amoskys_columns::Decoder {
    let columns = all_columns(message);
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    amoskys_columns::Decoder::new(amoskys_columns::Layout::new(message, &columns).expect("a layout"), limits)
}

/// Choices, drawn from bytes that proptest makes and shrinks. Zeros when they run out.
pub struct Chance<'a>(pub &'a [u8]);

impl Chance<'_> {
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// Small numbers often, edges sometimes.
    pub fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 | 2 => u64::from(self.byte()),
            3 => (u64::from(self.byte()) << 8 | u64::from(self.byte())).wrapping_neg(),
            4 => [u64::MAX, i64::MAX as u64, i32::MIN as u64, u64::from(u32::MAX), 1 << 35, 70_000][self.below(6)],
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    pub fn text(&mut self) -> String {
        const PIECES: [&str; 6] = ["a", "xyz", "ü", "0123456789ab", "0123456789abc", "a longer piece of text "];
        (0..self.below(4)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }
}

/// The wire bytes of a message as a careless but legal writer may make them: any order, fields twice, packed or not,
/// lengths and varints longer than needed, unknown fields and groups in between.
pub fn wire(message: &MessageDescriptor, chance: &mut Chance<'_>, depth: usize) -> Vec<u8> {
    let fields: Vec<FieldDescriptor> = message.fields().collect();
    let mut out = Vec::new();
    for _ in 0..chance.below(10) {
        if chance.below(12) == 11 || fields.is_empty() {
            unknown(chance, &mut out);
            continue;
        }
        let field = &fields[chance.below(fields.len())];
        if depth == 0 && matches!(field.kind(), Kind::Message(_)) {
            continue;
        }
        let packable = field.is_list() && !matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Message(_));
        if packable && chance.below(2) == 0 {
            let mut values = Vec::new();
            (0..chance.below(4)).for_each(|_| value(field, chance, depth, &mut values));
            put_key(field.number(), 2, &mut out);
            put_varint(values.len() as u64, chance.below(8) == 7, &mut out);
            out.extend(values);
        } else {
            put_key(field.number(), if field.is_group() { 3 } else { wire_type(&field.kind()) }, &mut out);
            value(field, chance, depth, &mut out);
        }
    }
    out
}

fn value(field: &FieldDescriptor, chance: &mut Chance<'_>, depth: usize, out: &mut Vec<u8>) {
    let long = chance.below(16) == 15;
    match field.kind() {
        Kind::String => put_bytes(chance.text().as_bytes(), long, out),
        Kind::Bytes => put_bytes(&chance.number().to_le_bytes().repeat(chance.below(3)), long, out),
        Kind::Message(message) if field.is_group() => {
            out.extend(wire(&message, chance, depth - 1));
            put_key(field.number(), 4, out);
        }
        Kind::Message(message)
            if ["google.protobuf.Timestamp", "google.protobuf.Duration"].contains(&message.full_name()) =>
        {
            put_bytes(&time(chance), long, out);
        }
        Kind::Message(message) => put_bytes(&wire(&message, chance, depth - 1), long, out),
        Kind::Enum(_) => {
            let number = [0, 1, 2, 3, 70000, -5, -6, i64::MAX][chance.below(8)];
            put_varint(number.cast_unsigned(), long, out);
        }
        kind => match wire_type(&kind) {
            0 => put_varint(chance.number(), long, out),
            1 => out.extend(chance.number().to_le_bytes()),
            _ => out.extend((chance.number() as u32).to_le_bytes()),
        },
    }
}

/// Parts of a time within the range of 64 bits of nanoseconds, each there or not.
fn time(chance: &mut Chance<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..chance.below(4) {
        let number = chance.below(2) as u32 + 1;
        put_key(number, 0, &mut out);
        let value = chance.number() as i32;
        put_varint(i64::from(if number == 1 { value / 4 } else { value }).cast_unsigned(), false, &mut out);
    }
    out
}

fn unknown(chance: &mut Chance<'_>, out: &mut Vec<u8>) {
    let number = [50, 600, 100_000][chance.below(3)];
    match chance.below(5) {
        0 => {
            put_key(number, 0, out);
            put_varint(chance.number(), false, out);
        }
        1 => {
            put_key(number, 2, out);
            put_bytes(chance.text().as_bytes(), false, out);
        }
        2 => {
            put_key(number, 1, out);
            out.extend([1; 8]);
        }
        3 => {
            put_key(number, 5, out);
            out.extend([1; 4]);
        }
        _ => {
            put_key(number, 3, out);
            put_key(1, 3, out);
            put_key(1, 4, out);
            put_key(number, 4, out);
        }
    }
}

pub fn put_key(number: u32, wire_type: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | wire_type, false, out);
}

pub fn put_bytes(bytes: &[u8], long: bool, out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, long, out);
    out.extend(bytes);
}

/// `long`: in one byte more than needed.
pub fn put_varint(mut value: u64, long: bool, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    if long && value < 2 {
        out.push(value as u8 | 0x80);
        value = 0;
        // Ten bytes at most.
        if out.len() >= 10 && out[out.len() - 10..].iter().all(|byte| byte & 0x80 != 0) {
            if let Some(last) = out.last_mut() {
                *last &= 0x7f;
            }
            return;
        }
    }
    out.push(value as u8);
}

pub fn wire_type(kind: &Kind) -> u64 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        Kind::String | Kind::Bytes | Kind::Message(_) => 2,
        _ => 0,
    }
}

/// Panics unless row `row` of `batch` is `message`, field by field.
pub fn assert_row(batch: &RecordBatch, row: usize, message: &DynamicMessage) {
    for (column, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let field = message.descriptor().get_field_by_name(column.name()).expect("a field for each column");
        assert_field(array, row, message, &field, column.name());
    }
}

fn assert_field(array: &ArrayRef, row: usize, message: &DynamicMessage, field: &FieldDescriptor, path: &str) {
    if field.supports_presence() && !message.has_field(field) {
        assert!(array.is_null(row), "{path} should be null");
        return;
    }
    assert!(array.is_valid(row), "{path} should not be null");
    let value = message.get_field(field);
    match &*value {
        Value::List(values) => {
            let elements = array.as_list::<i32>().value(row);
            assert_eq!(elements.len(), values.len(), "{path}");
            for (at, value) in values.iter().enumerate() {
                assert_value(&elements, at, value, &field.kind(), &format!("{path}[{at}]"));
            }
        }
        Value::Map(values) => {
            let entries = array.as_map().value(row);
            let Kind::Message(entry) = field.kind() else { panic!("a map has entries") };
            assert_eq!(entries.len(), values.len(), "{path}");
            for at in 0..entries.len() {
                let key = map_key(entries.column(0), at, &entry.map_entry_key_field().kind());
                let value = values.get(&key).unwrap_or_else(|| panic!("{path} has {key:?}"));
                assert_value(
                    entries.column(1),
                    at,
                    value,
                    &entry.map_entry_value_field().kind(),
                    &format!("{path}[{key:?}]"),
                );
            }
        }
        value => assert_value(array, row, value, &field.kind(), path),
    }
}

fn map_key(array: &ArrayRef, row: usize, kind: &Kind) -> MapKey {
    match kind {
        Kind::Bool => MapKey::Bool(array.as_boolean().value(row)),
        Kind::String => MapKey::String(array.as_string_view().value(row).to_owned()),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(array.as_primitive::<Int32Type>().value(row)),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(array.as_primitive::<Int64Type>().value(row)),
        Kind::Uint32 | Kind::Fixed32 => MapKey::U32(array.as_primitive::<UInt32Type>().value(row)),
        Kind::Uint64 | Kind::Fixed64 => MapKey::U64(array.as_primitive::<UInt64Type>().value(row)),
        other => panic!("protobuf has no maps with {other:?} keys"),
    }
}

fn assert_value(array: &ArrayRef, row: usize, value: &Value, kind: &Kind, path: &str) {
    assert!(array.is_valid(row), "{path} should not be null");
    match value {
        Value::Bool(v) => assert_eq!(array.as_boolean().value(row), *v, "{path}"),
        Value::I32(v) => assert_eq!(array.as_primitive::<Int32Type>().value(row), *v, "{path}"),
        Value::U32(v) => assert_eq!(array.as_primitive::<UInt32Type>().value(row), *v, "{path}"),
        Value::I64(v) => assert_eq!(array.as_primitive::<Int64Type>().value(row), *v, "{path}"),
        Value::U64(v) => assert_eq!(array.as_primitive::<UInt64Type>().value(row), *v, "{path}"),
        Value::F32(v) => assert_eq!(array.as_primitive::<Float32Type>().value(row).to_bits(), v.to_bits(), "{path}"),
        Value::F64(v) => assert_eq!(array.as_primitive::<Float64Type>().value(row).to_bits(), v.to_bits(), "{path}"),
        Value::String(v) => assert_eq!(array.as_string_view().value(row), v, "{path}"),
        Value::Bytes(v) => assert_eq!(array.as_binary_view().value(row), v, "{path}"),
        Value::EnumNumber(number) => {
            let Kind::Enum(of) = kind else { panic!("an enum number has an enum") };
            let name = of.get_value(*number).map_or(number.to_string(), |value| value.name().to_owned());
            assert_eq!(array.as_string_view().value(row), name, "{path}");
        }
        Value::Message(message) => assert_message(array, row, message, path),
        Value::List(_) | Value::Map(_) => panic!("handled by the field"),
    }
}

fn assert_message(array: &ArrayRef, row: usize, message: &DynamicMessage, path: &str) {
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => {
            assert_eq!(array.as_primitive::<TimestampNanosecondType>().value(row), nanos(message), "{path}");
        }
        "google.protobuf.Duration" => {
            assert_eq!(array.as_primitive::<DurationNanosecondType>().value(row), nanos(message), "{path}");
        }
        name if name.starts_with("google.protobuf.") => {
            let field = message.descriptor().get_field(1).expect("a wrapper has a value");
            assert_value(array, row, &message.get_field(&field), &field.kind(), path);
        }
        _ => {
            let array = array.as_struct();
            for (at, column) in array.fields().iter().enumerate() {
                let field = message.descriptor().get_field_by_name(column.name()).expect("a field for each column");
                assert_field(array.column(at), row, message, &field, &format!("{path}.{}", column.name()));
            }
        }
    }
}

/// Of a Timestamp or Duration within range.
pub fn nanos(message: &DynamicMessage) -> i64 {
    i64::try_from(wide_nanos(message)).expect("in range")
}

fn wide_nanos(message: &DynamicMessage) -> i128 {
    let part = |number| match message.get_field_by_number(number).as_deref() {
        Some(Value::I64(v)) => i128::from(*v),
        Some(Value::I32(v)) => i128::from(*v),
        _ => 0,
    };
    part(1) * 1_000_000_000 + part(2)
}
