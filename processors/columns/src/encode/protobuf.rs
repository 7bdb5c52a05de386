//! Rows into protobuf messages, driven by a descriptor.
//!
//! Columns go into the fields of their name, if the field's type holds every value of the column's (see `accept`):
//! all that do not fit are reported at once, when planning. Columns of numbers or booleans that the message has no
//! field for go into its `map<string, double> features`, if it has one. Nulls are left out, as are defaults of fields
//! without presence; fields are written in the order of their numbers, so equal rows are equal bytes.
//!
//! Deliberately not here: keys, headers and topics of the records.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use prost_reflect::{Kind, MessageDescriptor};

use super::accept;
use super::error::{EncodeError, Mismatches};
use super::row::{Feature, bind_all, write_fields};
use super::target::{Target, holds_features, targets};
use super::values::{self, Scalars};

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

impl ProtobufEncoder {
    /// Matches columns with fields. The error lists every column that does not fit.
    pub fn new(schema: SchemaRef, message: &MessageDescriptor) -> Result<Self, Mismatches> {
        let mut bad = Vec::new();
        let features = message.get_field_by_name(FEATURES).filter(holds_features);
        let is_extra = |field: &Field| {
            features.is_some()
                && message.get_field_by_name(field.name()).is_none()
                && accept::feature(field.data_type())
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
        let same = |(a, b): (&Arc<Field>, &Arc<Field>)| a.name() == b.name() && a.data_type() == b.data_type();
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
