//! Which field each column goes into, and how; everything that does not fit, found when planning.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Fields};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::accept;
use super::error::Mismatch;
use crate::schema::Type;

/// A column and the field it goes into.
#[derive(Debug)]
pub(super) struct Target {
    pub column: usize,
    pub number: u32,
    pub how: How,
}

#[derive(Debug)]
pub(super) enum How {
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

pub(super) fn holds_features(field: &FieldDescriptor) -> bool {
    match (field.is_map(), field.kind()) {
        (true, Kind::Message(entry)) => {
            matches!(entry.map_entry_key_field().kind(), Kind::String)
                && matches!(entry.map_entry_value_field().kind(), Kind::Double)
        }
        _ => false,
    }
}

/// Matches columns with the fields of a message, in the order of the fields' numbers.
pub(super) fn targets(
    columns: &Fields,
    message: &MessageDescriptor,
    extra: &[usize],
    bad: &mut Vec<Mismatch>,
) -> Vec<Target> {
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
pub(super) fn how(column: &str, got: &DataType, into: &FieldDescriptor, bad: &mut Vec<Mismatch>) -> Option<How> {
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
pub(super) fn one(column: &str, got: &DataType, into: &FieldDescriptor, bad: &mut Vec<Mismatch>) -> Option<How> {
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

pub(super) fn mismatch(column: &str, got: &DataType, into: &FieldDescriptor) -> Mismatch {
    let cardinality = if into.is_list() { "repeated " } else { "" };
    let want = match into.kind() {
        _ if into.is_map() => "a map".to_owned(),
        kind => format!("{cardinality}{}", kind_name(&kind)),
    };
    Mismatch::Type { column: column.to_owned(), got: got.clone(), field: into.full_name().to_owned(), want }
}

pub(super) fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}
