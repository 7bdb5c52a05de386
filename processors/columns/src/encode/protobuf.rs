//! Rows into protobuf messages, driven by a descriptor.
//!
//! Columns go into the fields of their name, if the field's type holds every value of the column's (see `accept`):
//! all that do not fit are reported at once, when planning. Columns of numbers or booleans that the message has no
//! field for go into its `map<string, double> features`, if it has one. Nulls are left out, as are defaults of fields
//! without presence; fields are written in the order of their numbers, so equal rows are equal bytes.
//!
//! Deliberately not here: keys, headers and topics of the records.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use prost_reflect::prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::error::{EncodeError, Mismatch, Mismatches};
use super::values::{self, Scalars};
use super::accept;
use crate::schema::Type;

/// Name of the map that takes what the message has no field for.
const FEATURES: &str = "features";

/// Turns rows into messages of one type.
#[derive(Debug)]
pub struct ProtobufEncoder {
    schema: SchemaRef,
    fields: Vec<Target>,
    /// Number of the map of features, and the columns for it.
    features: Option<(u32, Vec<usize>)>,
}

/// A column and the field it goes into.
#[derive(Debug)]
struct Target {
    column: usize,
    number: u32,
    how: How,
}

#[derive(Debug)]
enum How {
    /// Nothing to write: the column's type is Null.
    Nothing,
    /// `bool`: absent and default differ.
    Scalar(Kind, bool),
    Enum(HashMap<String, i32>, String, bool),
    Time,
    /// Field 1 of a wrapper message.
    Wrapper(Kind),
    Message(Vec<Target>),
    /// `bool`: packed.
    List(Box<How>, bool),
    Map(Box<How>, Box<How>),
}

impl ProtobufEncoder {
    /// Matches columns with fields. The error lists every column that does not fit.
    pub fn new(schema: SchemaRef, message: &MessageDescriptor) -> Result<Self, Mismatches> {
        let mut bad = Vec::new();
        let features = message.get_field_by_name(FEATURES).filter(holds_features);
        let is_extra = |field: &Field| {
            features.is_some() && message.get_field_by_name(field.name()).is_none() && accept::feature(field.data_type())
        };
        let extra: Vec<usize> =
            schema.fields().iter().enumerate().filter(|(_, field)| is_extra(field)).map(|(at, _)| at).collect();
        let fields = targets(schema.fields(), message, &extra, &mut bad);
        if !bad.is_empty() {
            return Err(Mismatches(bad));
        }
        let features = features.filter(|_| !extra.is_empty()).map(|field| (field.number(), extra));
        Ok(Self { schema, fields, features })
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// One message for each row.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, EncodeError> {
        let same = |(a, b): (&std::sync::Arc<Field>, &std::sync::Arc<Field>)| {
            a.name() == b.name() && a.data_type() == b.data_type()
        };
        let given = batch.schema_ref().fields();
        if given.len() != self.schema.fields().len() || !given.iter().zip(self.schema.fields()).all(same) {
            return Err(EncodeError::OtherSchema);
        }
        let columns = bind_all(&self.fields, batch.columns(), given)?;
        let features = self.bind_features(batch)?;
        let mut messages = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut out = Vec::with_capacity(messages.last().map_or(64, Vec::len));
            let features_at = self.features.as_ref().map_or(u32::MAX, |(number, _)| *number);
            let (before, after) = columns.split_at(columns.partition_point(|c| c.number <= features_at));
            write_fields(before, row, &mut out)?;
            features.iter().for_each(|feature| feature.write(features_at, row, &mut out));
            write_fields(after, row, &mut out)?;
            messages.push(out);
        }
        Ok(messages)
    }

    fn bind_features(&self, batch: &RecordBatch) -> Result<Vec<Feature>, EncodeError> {
        let Some((_, columns)) = &self.features else { return Ok(Vec::new()) };
        let bind = |column: &usize| {
            let array = arrow::compute::cast(batch.column(*column), &DataType::Float64)?;
            let name = self.schema.field(*column).name().clone();
            Ok(Feature { name, nulls: values::nulls(&array), values: Scalars::of(&Kind::Double, &array)? })
        };
        columns.iter().map(bind).collect()
    }
}

fn holds_features(field: &FieldDescriptor) -> bool {
    match (field.is_map(), field.kind()) {
        (true, Kind::Message(entry)) => {
            matches!(entry.map_entry_key_field().kind(), Kind::String)
                && matches!(entry.map_entry_value_field().kind(), Kind::Double)
        }
        _ => false,
    }
}

/// Matches columns with the fields of a message, in the order of the fields' numbers.
fn targets(columns: &Fields, message: &MessageDescriptor, extra: &[usize], bad: &mut Vec<Mismatch>) -> Vec<Target> {
    let mut targets = Vec::new();
    for (column, field) in columns.iter().enumerate() {
        if columns[..column].iter().any(|before| before.name() == field.name()) {
            bad.push(Mismatch::Repeated { column: field.name().clone() });
        } else if extra.contains(&column) {
            continue;
        } else if let Some(into) = message.get_field_by_name(field.name()) {
            if let Some(how) = how(field.name(), field.data_type(), &into, bad) {
                targets.push(Target { column, number: into.number(), how });
            }
        } else {
            bad.push(Mismatch::NoField {
                column: field.name().clone(),
                got: field.data_type().clone(),
                message: message.full_name().to_owned(),
                fields: message.fields().map(|f| f.name().to_owned()).collect::<Vec<_>>().join(", "),
            });
        }
    }
    targets.sort_by_key(|target| target.number);
    targets
}

/// How a column goes into a field, or `None` after adding to `bad` why it does not.
fn how(column: &str, got: &DataType, into: &FieldDescriptor, bad: &mut Vec<Mismatch>) -> Option<How> {
    if into.is_group() {
        bad.push(Mismatch::Group { field: into.full_name().to_owned() });
        return None;
    }
    match (got, into.kind()) {
        (DataType::Null, _) => Some(How::Nothing),
        (DataType::Map(entries, _), Kind::Message(entry)) if into.is_map() => {
            let DataType::Struct(fields) = entries.data_type() else { return None };
            let [key, value] = &fields[..] else { return None };
            let key = one(column, key.data_type(), &entry.map_entry_key_field(), bad);
            let value = one(column, value.data_type(), &entry.map_entry_value_field(), bad);
            Some(How::Map(key?.into(), value?.into()))
        }
        (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _), _) if into.is_list() => {
            let element = one(column, item.data_type(), into, bad)?;
            Some(How::List(element.into(), into.is_packed()))
        }
        _ if into.is_list() || into.is_map() => {
            bad.push(mismatch(column, got, into));
            None
        }
        _ => one(column, got, into, bad),
    }
}

/// The same for one value, whatever the field's cardinality.
fn one(column: &str, got: &DataType, into: &FieldDescriptor, bad: &mut Vec<Mismatch>) -> Option<How> {
    let kind = into.kind();
    let presence = into.supports_presence() || into.is_list();
    match (Type::of(&kind), got) {
        (Type::Scalar(_), got) if accept::scalar(&kind, got) => return Some(How::Scalar(kind, presence)),
        (Type::Enum(of), got) if accept::is_text(got) => {
            let numbers = of.values().map(|value| (value.name().to_owned(), value.number())).collect();
            return Some(How::Enum(numbers, of.full_name().to_owned(), presence));
        }
        (Type::Enum(_), got) if accept::scalar(&Kind::Int32, got) => return Some(How::Scalar(Kind::Int32, presence)),
        (Type::Timestamp, DataType::Timestamp(..)) | (Type::Duration, DataType::Duration(_)) => return Some(How::Time),
        (Type::Wrapper(value), got) if accept::scalar(&value.kind(), got) => {
            return Some(How::Wrapper(value.kind()));
        }
        (Type::Message(message), DataType::Struct(fields)) => {
            let before = bad.len();
            let targets = targets(fields, &message, &[], bad);
            return (bad.len() == before).then_some(How::Message(targets));
        }
        _ => {}
    }
    bad.push(mismatch(column, got, into));
    None
}

fn mismatch(column: &str, got: &DataType, into: &FieldDescriptor) -> Mismatch {
    let cardinality = if into.is_list() { "repeated " } else { "" };
    let want = match into.kind() {
        _ if into.is_map() => "a map".to_owned(),
        kind => format!("{cardinality}{}", kind_name(&kind)),
    };
    Mismatch::Type { column: column.to_owned(), got: got.clone(), field: into.full_name().to_owned(), want }
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

/// A column that goes into the map of features.
struct Feature {
    name: String,
    nulls: Option<NullBuffer>,
    values: Scalars,
}

impl Feature {
    fn write(&self, number: u32, row: usize, out: &mut Vec<u8>) {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return;
        }
        encode_key(number, WireType::LengthDelimited, out);
        length_first(out, |out| {
            encode_key(1, WireType::LengthDelimited, out);
            encode_varint(self.name.len() as u64, out);
            out.extend_from_slice(self.name.as_bytes());
            encode_key(2, WireType::SixtyFourBit, out);
            self.values.write(row, out);
        });
    }
}

/// A column of a batch, bound to its field.
struct Bound {
    number: u32,
    column: String,
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Nothing,
    Scalar(Scalars, bool),
    Time(Vec<(i64, i32)>),
    Wrapper(Scalars),
    Message(Vec<Bound>),
    /// Key and value of a map's entries.
    Entry(Box<[Bound; 2]>),
    List(OffsetBuffer<i32>, Box<Bound>, bool),
}

fn bind_all(targets: &[Target], arrays: &[ArrayRef], fields: &Fields) -> Result<Vec<Bound>, EncodeError> {
    targets
        .iter()
        .map(|target| bind(target.number, fields[target.column].name(), &target.how, &arrays[target.column]))
        .collect()
}

fn bind(number: u32, column: &str, how: &How, array: &ArrayRef) -> Result<Bound, EncodeError> {
    let values = match how {
        How::Nothing => Values::Nothing,
        How::Scalar(kind, presence) => Values::Scalar(Scalars::of(kind, array)?, *presence),
        How::Enum(numbers, of, presence) => Values::Scalar(enum_numbers(column, numbers, of, array)?, *presence),
        How::Time => Values::Time(values::times(array)?),
        How::Wrapper(kind) => Values::Wrapper(Scalars::of(kind, array)?),
        How::Message(targets) => {
            let array = array.as_struct();
            Values::Message(bind_all(targets, array.columns(), array.fields())?)
        }
        How::List(element, packed) => {
            let (offsets, elements) = values::list(array)?;
            Values::List(offsets, bind(number, column, element, &elements)?.into(), *packed)
        }
        How::Map(key, value) => {
            let (offsets, entries) = values::list(array)?;
            let entries = entries.as_struct();
            let key = bind(1, column, key, entries.column(0))?;
            let value = bind(2, column, value, entries.column(1))?;
            let entry = Values::Entry([key, value].into());
            let entry = Bound { number, column: column.to_owned(), nulls: None, values: entry };
            Values::List(offsets, entry.into(), false)
        }
    };
    let nulls = if matches!(how, How::Nothing) { None } else { values::nulls(array) };
    Ok(Bound { number, column: column.to_owned(), nulls, values })
}

/// Names to numbers; a number as text stands for itself, as it does when decoding.
fn enum_numbers(
    column: &str,
    numbers: &HashMap<String, i32>,
    of: &str,
    array: &ArrayRef,
) -> Result<Scalars, EncodeError> {
    let names = arrow::compute::cast(array, &DataType::Utf8View)?;
    let names = names.as_string_view();
    let number = |(row, name): (usize, Option<&str>)| {
        let Some(name) = name else { return Ok(0) };
        let number = numbers.get(name).copied().or_else(|| name.parse().ok());
        number.map(|number| i64::from(number).cast_unsigned()).ok_or_else(|| EncodeError::UnknownName {
            column: column.to_owned(),
            row,
            name: name.to_owned(),
            of: of.to_owned(),
        })
    };
    Ok(Scalars::Varint(names.iter().enumerate().map(number).collect::<Result<_, _>>()?))
}

fn write_fields(fields: &[Bound], row: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    fields.iter().try_for_each(|field| field.write(row, out))
}

impl Bound {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.is_null(row) {
            return Ok(());
        }
        match &self.values {
            Values::Nothing => {}
            Values::Scalar(values, presence) if *presence || !values.is_default(row) => {
                encode_key(self.number, values.wire_type(), out);
                values.write(row, out);
            }
            Values::Scalar(..) => {}
            Values::List(offsets, element, packed) => {
                let rows = offsets[row] as usize..offsets[row + 1] as usize;
                self.write_list(row, rows, element, *packed, out)?;
            }
            Values::Time(times) => {
                let (seconds, nanos) = times[row];
                self.nested(out, |out| write_time(seconds, nanos, out));
            }
            Values::Wrapper(values) => self.nested(out, |out| {
                if !values.is_default(row) {
                    encode_key(1, values.wire_type(), out);
                    values.write(row, out);
                }
            }),
            Values::Message(fields) => return self.write_message(fields, row, out),
            Values::Entry(fields) => return self.write_message(&fields[..], row, out),
        }
        Ok(())
    }

    fn write_message(&self, fields: &[Bound], row: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut result = Ok(());
        self.nested(out, |out| result = write_fields(fields, row, out));
        result
    }

    fn write_list(
        &self,
        row: usize,
        elements: std::ops::Range<usize>,
        element: &Bound,
        packed: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if elements.clone().any(|at| element.is_null(at) || element.is_null_entry(at)) {
            return Err(EncodeError::NullElement { column: self.column.clone(), row });
        }
        match &element.values {
            Values::Scalar(values, _) if packed && !matches!(values, Scalars::Bytes(_)) => {
                if !elements.is_empty() {
                    self.nested(out, |out| elements.for_each(|at| values.write(at, out)));
                }
                Ok(())
            }
            _ => elements.into_iter().try_for_each(|at| element.write(at, out)),
        }
    }

    /// Whether this is a map's entries and the value of one is null.
    fn is_null_entry(&self, row: usize) -> bool {
        matches!(&self.values, Values::Entry(entry) if entry[1].is_null(row))
    }

    fn nested(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        encode_key(self.number, WireType::LengthDelimited, out);
        length_first(out, write);
    }
}

impl Scalars {
    fn wire_type(&self) -> WireType {
        match self {
            Self::Varint(_) => WireType::Varint,
            Self::Fixed32(_) => WireType::ThirtyTwoBit,
            Self::Fixed64(_) => WireType::SixtyFourBit,
            Self::Bytes(_) => WireType::LengthDelimited,
        }
    }
}

fn write_time(seconds: i64, nanos: i32, out: &mut Vec<u8>) {
    for (number, value) in [(1, seconds), (2, i64::from(nanos))] {
        if value != 0 {
            encode_key(number, WireType::Varint, out);
            encode_varint(value.cast_unsigned(), out);
        }
    }
}

/// Writes something and puts its length in front of it.
fn length_first(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Room for one byte of length, which is enough for most.
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    encode_varint(length as u64, &mut prefix);
    out.splice(start..=start, prefix);
}
