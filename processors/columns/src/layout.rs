//! Which columns are read from which message type, checked and compiled once.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use prost_reflect::{
    FieldDescriptor, Kind, MessageDescriptor,
    prost::encoding::{WireType, encode_key, encode_varint},
};

use crate::Limits;
use crate::error::LayoutError;
use crate::plan::Plan;
use crate::schema::column_fields;
use crate::store::STEP_ROWS;
use crate::views::BLOCK_STEP_BYTES;
use crate::wire::LENGTH;

/// The columns wanted of a message type. Cheap to clone; one serves any number of decoders.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(crate) plan: Arc<Plan>,
    schema: SchemaRef,
    pub(crate) batch: Option<Batch>,
}

/// The repeated field of a batch message that holds the events.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Key of the field on the wire.
    pub key: u32,
    /// The batch message with none of its fields wanted, to step over the others.
    pub plan: Arc<Plan>,
}

impl Layout {
    /// Reads records that hold one `message` each, as one row with these `columns` in this order. No columns is fine:
    /// then only rows are counted, but the wire format is still checked.
    pub fn new(message: &MessageDescriptor, columns: &[&str]) -> Result<Self, LayoutError> {
        let fields = columns.iter().map(|column| find(message, column)).collect::<Result<Vec<_>, _>>()?;
        if let Some((_, column)) = columns.iter().enumerate().find(|(at, column)| columns[..*at].contains(column)) {
            return Err(LayoutError::Repeated { column: (*column).to_owned() });
        }
        let schema = Arc::new(Schema::new(column_fields(message, &fields)?));
        Ok(Self { plan: Plan::new(message, &fields), schema, batch: None })
    }

    /// Reads records that hold a batch message, such as `ProcessBatch { repeated ProcessEvent events = 1; }`: a row for
    /// each element of its first repeated message field, with these columns of the element.
    pub fn batch(batch: &MessageDescriptor, columns: &[&str]) -> Result<Self, LayoutError> {
        let events = batch_field(batch)?;
        let Kind::Message(element) = events.kind() else {
            return Err(LayoutError::NotABatch { message: batch.full_name().to_owned() });
        };
        let batch = Batch { key: events.number() << 3 | LENGTH, plan: Plan::new(batch, &[]) };
        Ok(Self { batch: Some(batch), ..Self::new(&element, columns)? })
    }

    /// The columns, in the order asked for.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The most memory, in bytes, that an empty decoder takes to decode one record within `limits`, whatever its bytes.
    ///
    /// Rows and elements times the width of their columns, and the record's strings, all times three, for vectors grow
    /// by doubling and are copied then; what finding repeated map keys takes; a step of blank rows in each list. A
    /// decoder that holds rows already takes at most three times what they have in addition.
    pub fn bytes_per_record_max(&self, limits: &Limits) -> usize {
        let columns = &self.plan.columns;
        let widths = columns.row_bytes();
        let (row, elements) = widths.split_first().map_or((0, &widths[..]), |(row, elements)| (*row, elements));
        let widest = elements.iter().copied().max().unwrap_or(0);
        // A hash set of keys, at its least load, in a row of which every element counts.
        let map_key = if columns.has_maps() { 80 } else { 0 };
        // Every event and element takes at least one byte of the record.
        let rows = limits.rows_per_record_max.min(limits.record_bytes_max);
        let elements = limits.elements_per_record_max.min(limits.record_bytes_max);
        let text = if columns.views.is_empty() { 0 } else { limits.record_bytes_max };
        let groups = limits.group_depth_max.min(limits.record_bytes_max).saturating_mul(12);
        let steps = widths.iter().sum::<usize>() * STEP_ROWS + columns.views.len() * BLOCK_STEP_BYTES;
        let grown = rows.saturating_mul(row).saturating_add(elements.saturating_mul(widest)).saturating_add(text);
        grown
            .saturating_add(steps)
            .saturating_mul(3)
            .saturating_add(elements.saturating_mul(map_key))
            .saturating_add(groups)
            .saturating_add(4096)
    }
}

/// The message type whose fields a batch message's rows have.
pub fn batch_element(batch: &MessageDescriptor) -> Result<MessageDescriptor, LayoutError> {
    match batch_field(batch)?.kind() {
        Kind::Message(element) => Ok(element),
        _ => Err(LayoutError::NotABatch { message: batch.full_name().to_owned() }),
    }
}

/// A batch message of these serialized elements.
///
/// # Errors
/// A message that is no batch.
pub fn batch_of(batch: &MessageDescriptor, elements: &[Vec<u8>]) -> Result<Vec<u8>, LayoutError> {
    let number = batch_field(batch)?.number();
    let mut bytes = Vec::new();
    for element in elements {
        encode_key(number, WireType::LengthDelimited, &mut bytes);
        encode_varint(element.len() as u64, &mut bytes);
        bytes.extend_from_slice(element);
    }
    Ok(bytes)
}

fn batch_field(batch: &MessageDescriptor) -> Result<FieldDescriptor, LayoutError> {
    batch
        .fields()
        .find(|f| f.is_list() && !f.is_group() && matches!(f.kind(), Kind::Message(_)))
        .ok_or_else(|| LayoutError::NotABatch { message: batch.full_name().to_owned() })
}

fn find(message: &MessageDescriptor, column: &str) -> Result<FieldDescriptor, LayoutError> {
    message.get_field_by_name(column).ok_or_else(|| LayoutError::UnknownColumn {
        message: message.full_name().to_owned(),
        column: column.to_owned(),
        fields: message.fields().map(|f| f.name().to_owned()).collect::<Vec<_>>().join(", "),
    })
}
