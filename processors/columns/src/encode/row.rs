//! Columns of a batch bound to their fields, and one row of them written as a message.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Fields};
use prost_reflect::prost::encoding::{WireType, encode_key, encode_varint};

use super::error::EncodeError;
use super::target::{How, Target};
use super::values::{self, Scalars};

/// A column that goes into the map of features.
pub(super) struct Feature {
    pub name: String,
    pub nulls: Option<NullBuffer>,
    pub values: Scalars,
}

impl Feature {
    pub(super) fn write(&self, number: u32, row: usize, out: &mut Vec<u8>) {
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
pub(super) struct Bound {
    pub number: u32,
    pub column: String,
    pub nulls: Option<NullBuffer>,
    pub values: Values,
}

pub(super) enum Values {
    Nothing,
    Scalar(Scalars, bool),
    Time(Vec<(i64, i32)>),
    Wrapper(Scalars),
    Message(Vec<Bound>),
    /// Key and value of a map's entries.
    Entry(Box<[Bound; 2]>),
    List(OffsetBuffer<i32>, Box<Bound>, bool),
}

pub(super) fn bind_all(targets: &[Target], arrays: &[ArrayRef], fields: &Fields) -> Result<Vec<Bound>, EncodeError> {
    targets
        .iter()
        .map(|target| bind(target.number, fields[target.column].name(), &target.how, &arrays[target.column]))
        .collect()
}

pub(super) fn bind(number: u32, column: &str, how: &How, array: &ArrayRef) -> Result<Bound, EncodeError> {
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
pub(super) fn enum_numbers(
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

pub(super) fn write_fields(fields: &[Bound], row: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
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

pub(super) fn write_time(seconds: i64, nanos: i32, out: &mut Vec<u8>) {
    for (number, value) in [(1, seconds), (2, i64::from(nanos))] {
        if value != 0 {
            encode_key(number, WireType::Varint, out);
            encode_varint(value.cast_unsigned(), out);
        }
    }
}

/// Writes something and puts its length in front of it.
pub(super) fn length_first(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
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
