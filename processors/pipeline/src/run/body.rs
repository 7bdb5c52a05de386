//! What a stream's records are decoded by: one of the formats that SQL names, behind one shape.
//!
//! Deliberately not here: envelopes' headers and signatures, and what becomes of bad records ([`super::decode`]).
//! Limits: [`amoskys_columns::Limits`] per record.

use super::duplicates::Seen;
use crate::{
    schemas::Writer,
    sql::{Format, OnError, Stream},
};
use amoskys_columns::{ArrowDecoder, AvroDecoder, AvroSchemaError, Decoder, JsonDecoder, Layout, LayoutError, Limits};
use amoskys_proto::v1::DeadLetterReason;
use arrow::{
    datatypes::{FieldRef, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};
use std::sync::Arc;

/// The stream's columns cannot be decoded: a fault of the SQL or of the message type.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Json(#[from] ArrowError),
    #[error(transparent)]
    Avro(#[from] AvroSchemaError),
    #[error("panes that were sent are no rows")]
    Panes,
}

/// Why a record gives no rows.
pub(super) struct Failure {
    pub reason: DeadLetterReason,
    pub detail: String,
    /// Nothing is wrong with the record, so it is not given up.
    pub is_passing: bool,
}

impl Failure {
    pub fn new(reason: DeadLetterReason, detail: impl std::fmt::Display) -> Self {
        Self { reason, detail: detail.to_string(), is_passing: false }
    }

    pub fn of(is_limit: bool, detail: impl std::fmt::Display) -> Self {
        let reason = if is_limit { DeadLetterReason::TooLarge } else { DeadLetterReason::Malformed };
        Self::new(reason, detail)
    }

    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(DeadLetterReason::Malformed, format_args!("a fault of the processor: {error}"))
    }
}

pub(super) enum Body {
    Envelope { decoder: Decoder, schema_name: String, seen: Box<Seen> },
    Protobuf(Decoder),
    Json(Box<JsonDecoder>),
    Arrow(ArrowDecoder),
    Avro(Box<AvroDecoder>),
}

/// The number of the only schema of records that do not begin with one.
const ONLY_SCHEMA: u32 = 0;

impl Body {
    /// Decodes these columns, all of them the record's own.
    pub fn new(stream: &Stream, columns: &[&str]) -> Result<Self, DecoderError> {
        let limits = Limits::default();
        let listed = || {
            let wanted = |field: &&FieldRef| columns.contains(&field.name().as_str());
            Arc::new(Schema::new(stream.columns.fields().iter().filter(wanted).cloned().collect::<Vec<_>>()))
        };
        Ok(match &stream.format {
            Format::Envelope { batch } => Self::Envelope {
                decoder: Decoder::new(Layout::batch(batch, columns)?, limits),
                schema_name: batch.full_name().to_owned(),
                seen: Box::default(),
            },
            Format::Protobuf { message } => Self::Protobuf(Decoder::new(Layout::new(message, columns)?, limits)),
            Format::Json => {
                let decoder = JsonDecoder::new(listed(), limits)?;
                let decoder = match &stream.event_time {
                    Some(time) => decoder.count_in(time, stream.event_time_unit)?,
                    None => decoder,
                };
                let nulls = stream.on_error == OnError::Null;
                Self::Json(Box::new(if nulls { decoder.null_wrong_values() } else { decoder }))
            }
            Format::Arrow => Self::Arrow(ArrowDecoder::new(listed(), limits)),
            Format::Avro { schema } => {
                let mut decoder = AvroDecoder::new(schema, columns, limits);
                if stream.framing.is_none() {
                    decoder.learn(ONLY_SCHEMA, schema.text())?;
                }
                Self::Avro(Box::new(decoder))
            }
            // None of them is read as a topic.
            Format::Panes | Format::Csv | Format::Parquet => return Err(DecoderError::Panes),
        })
    }

    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Envelope { decoder, .. } | Self::Protobuf(decoder) => decoder.schema(),
            Self::Json(decoder) => decoder.schema(),
            Self::Arrow(decoder) => decoder.schema(),
            Self::Avro(decoder) => decoder.schema(),
        }
    }

    pub fn rows(&self) -> usize {
        match self {
            Self::Envelope { decoder, .. } | Self::Protobuf(decoder) => decoder.rows(),
            Self::Json(decoder) => decoder.rows(),
            Self::Arrow(decoder) => decoder.rows(),
            Self::Avro(decoder) => decoder.rows(),
        }
    }

    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        match self {
            Self::Envelope { decoder, .. } | Self::Protobuf(decoder) => decoder.finish(),
            Self::Json(decoder) => decoder.finish(),
            Self::Arrow(decoder) => decoder.finish(),
            Self::Avro(decoder) => decoder.finish(),
        }
    }

    /// Values that are null instead of what was there, since the last call.
    pub fn take_nulled(&mut self) -> u64 {
        if let Self::Json(decoder) = self { decoder.take_nulled() } else { 0 }
    }

    /// Whether many records at once cost much less than each by itself.
    pub fn is_grouped(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Avro(_))
    }

    /// Records that begin with this number were written so.
    pub fn learn(&mut self, schema_id: u32, writer: Option<&Writer>) -> Result<(), Failure> {
        let Self::Avro(decoder) = self else { return Ok(()) };
        if decoder.knows(schema_id) {
            return Ok(());
        }
        let reason = DeadLetterReason::SchemaMismatch;
        match writer {
            Some(Writer::Avro(text)) => decoder.learn(schema_id, text).map_err(|error| {
                Failure::new(reason, format_args!("schema {schema_id} is not read by the stream's: {error}"))
            }),
            _ => Err(Failure::new(reason, format_args!("schema {schema_id} is not Avro"))),
        }
    }

    /// Adds a record's rows and gives how many; for what is not grouped.
    pub fn push(&mut self, record: &[u8]) -> Result<usize, Failure> {
        match self {
            Self::Protobuf(decoder) => decoder.push(record).map_err(|error| Failure::of(error.is_limit(), &error)),
            Self::Arrow(decoder) => decoder.push(record).map_err(|error| Failure::of(error.is_limit(), &error)),
            Self::Envelope { .. } | Self::Json(_) | Self::Avro(_) => Err(Failure::internal("records that are grouped")),
        }
    }

    /// Adds a row for each record that is good; for what is grouped. Each is told with its schema's number, if it has one.
    pub fn push_all(&mut self, records: &[(Option<u32>, &[u8])]) -> Vec<Result<(), Failure>> {
        match self {
            Self::Json(decoder) => {
                let records: Vec<&[u8]> = records.iter().map(|record| record.1).collect();
                let results = decoder.push_all(&records).into_iter();
                results.map(|result| result.map_err(|error| Failure::of(error.is_limit(), &error))).collect()
            }
            Self::Avro(decoder) => {
                let records: Vec<(u32, &[u8])> =
                    records.iter().map(|(id, bytes)| (id.unwrap_or(ONLY_SCHEMA), *bytes)).collect();
                let results = decoder.push_all(&records).into_iter();
                results.map(|result| result.map_err(|error| Failure::of(error.is_limit(), &error))).collect()
            }
            Self::Envelope { .. } | Self::Protobuf(_) | Self::Arrow(_) => {
                records.iter().map(|_| Err(Failure::internal("records that are not grouped"))).collect()
            }
        }
    }
}
