//! Which Arrow type each protobuf type becomes.
//!
//! | protobuf | Arrow |
//! |---|---|
//! | `bool`, `float`, `double` | Boolean, Float32, Float64 |
//! | `int32`, `sint32`, `sfixed32` / `int64`, `sint64`, `sfixed64` | Int32 / Int64 |
//! | `uint32`, `fixed32` / `uint64`, `fixed64` | UInt32 / UInt64 |
//! | `string`, `bytes` | Utf8View, BinaryView |
//! | enum | Utf8View: the value's name; the number as text if the schema has no name for it |
//! | `google.protobuf.Timestamp`, `Duration` | Timestamp(ns) without zone (UTC), Duration(ns) |
//! | wrapper types (`google.protobuf.Int64Value` …) | the wrapped type, nullable |
//! | other messages, proto2's groups | Struct |
//! | `repeated`, `map` | List, Map; never null, empty if absent |
//!
//! A field with presence (`optional`, a message, a member of a oneof, proto2) is nullable, all others are not: absent
//! means the type's default. Everything inside a nullable struct is null where the struct is, so `sub.x` is NULL for
//! an absent `sub` whoever evaluates it.
//!
//! Left out: fields whose type holds itself again (`google.protobuf.Struct` for one). Asking for them by name says so,
//! see [`crate::Layout::new`]. Extensions of proto2 are unknown fields. That a `required` field is there is not checked.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::error::LayoutError;

/// How deep messages may nest in a column.
pub const NESTING_MAX: usize = 32;
/// How many columns a message may spread into, counting those in structs.
pub const COLUMNS_MAX: usize = 4096;

/// Every column that a message type offers, in the order of the .proto file. See the module's table.
pub fn message_schema(message: &MessageDescriptor) -> Result<Schema, LayoutError> {
    let mut walk = Walk::new(message);
    let mut fields: Vec<FieldRef> = Vec::new();
    for field in message.fields() {
        match walk.column(&field) {
            Ok(field) => fields.push(field),
            Err(LayoutError::Recursive { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Schema::new(fields))
}

/// The Arrow fields of some protobuf fields of `message`, or why they have none.
pub(crate) fn column_fields(message: &MessageDescriptor, fields: &[FieldDescriptor]) -> Result<Fields, LayoutError> {
    let mut walk = Walk::new(message);
    fields.iter().map(|field| walk.column(field)).collect()
}

/// What a protobuf type is to us, before cardinality.
pub(crate) enum Type {
    Scalar(DataType),
    Enum(EnumDescriptor),
    Timestamp,
    Duration,
    /// A message with one field `value`, which it stands for.
    Wrapper(FieldDescriptor),
    Message(MessageDescriptor),
}

impl Type {
    pub(crate) fn of(kind: &Kind) -> Self {
        Self::Scalar(match kind {
            Kind::Bool => DataType::Boolean,
            Kind::Float => DataType::Float32,
            Kind::Double => DataType::Float64,
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => DataType::Int32,
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => DataType::Int64,
            Kind::Uint32 | Kind::Fixed32 => DataType::UInt32,
            Kind::Uint64 | Kind::Fixed64 => DataType::UInt64,
            Kind::String => DataType::Utf8View,
            Kind::Bytes => DataType::BinaryView,
            Kind::Enum(descriptor) => return Self::Enum(descriptor.clone()),
            Kind::Message(message) => return Self::of_message(message),
        })
    }

    fn of_message(message: &MessageDescriptor) -> Self {
        match message.full_name() {
            "google.protobuf.Timestamp" => Self::Timestamp,
            "google.protobuf.Duration" => Self::Duration,
            name if is_wrapper(name) => match message.get_field(1) {
                Some(value) => Self::Wrapper(value),
                None => Self::Message(message.clone()),
            },
            _ => Self::Message(message.clone()),
        }
    }
}

fn is_wrapper(name: &str) -> bool {
    let Some(name) = name.strip_prefix("google.protobuf.").and_then(|name| name.strip_suffix("Value")) else {
        return false;
    };
    matches!(name, "Double" | "Float" | "Int64" | "UInt64" | "Int32" | "UInt32" | "Bool" | "String" | "Bytes")
}

/// Walks a message type downwards, watching for types that hold themselves.
struct Walk {
    top: String,
    /// The column that is being walked, for errors.
    column: String,
    above: Vec<String>,
    columns: usize,
}

impl Walk {
    fn new(message: &MessageDescriptor) -> Self {
        Self { top: message.full_name().to_owned(), column: String::new(), above: Vec::new(), columns: 0 }
    }

    fn column(&mut self, field: &FieldDescriptor) -> Result<FieldRef, LayoutError> {
        self.column = field.name().to_owned();
        self.above = vec![self.top.clone()];
        self.field(field, false)
    }

    fn field(&mut self, field: &FieldDescriptor, inside_nullable: bool) -> Result<FieldRef, LayoutError> {
        self.columns += 1;
        if self.columns > COLUMNS_MAX {
            return Err(LayoutError::TooManyColumns { message: self.top.clone(), max: COLUMNS_MAX });
        }
        let nullable = inside_nullable || (field.supports_presence() && !field.is_list() && !field.is_map());
        let data_type = if field.is_map() {
            self.map(field)?
        } else if field.is_list() {
            DataType::List(Arc::new(Field::new("item", self.value(field, false)?, false)))
        } else {
            self.value(field, nullable)?
        };
        Ok(Arc::new(Field::new(field.name(), data_type, nullable)))
    }

    /// The type of one value, whatever the cardinality.
    fn value(&mut self, field: &FieldDescriptor, nullable: bool) -> Result<DataType, LayoutError> {
        Ok(match Type::of(&field.kind()) {
            Type::Scalar(data_type) => data_type,
            Type::Enum(_) => DataType::Utf8View,
            Type::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Type::Duration => DataType::Duration(TimeUnit::Nanosecond),
            Type::Wrapper(value) => self.value(&value, nullable)?,
            Type::Message(message) => DataType::Struct(self.fields(&message, nullable)?),
        })
    }

    fn fields(&mut self, message: &MessageDescriptor, nullable: bool) -> Result<Fields, LayoutError> {
        let name = message.full_name();
        if let Some(first) = self.above.iter().position(|above| above == name) {
            let cycle = format!("{} → {name}", self.above[first..].join(" → "));
            return Err(LayoutError::Recursive { column: self.column.clone(), cycle });
        }
        if self.above.len() > NESTING_MAX {
            return Err(LayoutError::TooDeep { column: self.column.clone(), max: NESTING_MAX });
        }
        self.above.push(name.to_owned());
        let fields = message.fields().map(|field| self.field(&field, nullable)).collect::<Result<Fields, _>>()?;
        self.above.pop();
        Ok(fields)
    }

    fn map(&mut self, field: &FieldDescriptor) -> Result<DataType, LayoutError> {
        let Kind::Message(entry) = field.kind() else { return Ok(DataType::Null) };
        let key = self.value(&entry.map_entry_key_field(), false)?;
        let value = self.value(&entry.map_entry_value_field(), false)?;
        let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, false)]);
        Ok(DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false))
    }
}
