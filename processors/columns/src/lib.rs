//! Bytes of records → Arrow columns, and back: protobuf driven by descriptors, JSON driven by a schema.
//!
//! - [`message_schema`] says which columns a message type offers, [`Layout`] which of them are wanted; a [`Decoder`]
//!   turns records into rows. [`JsonDecoder`], [`ArrowDecoder`] and [`AvroDecoder`] do the same for JSON, Arrow IPC and Avro.
//! - [`Constants`] adds what is the same for all rows of a record.
//! - [`ProtobufEncoder`], [`JsonEncoder`], [`ArrowEncoder`] and [`AvroEncoder`] turn rows into records.
//!
//! Deliberately not here: envelopes and signatures (amoskys-proto), topics, SQL. No IO, no clock, no threads.
//! Limits: [`Limits`] per record.

mod assemble;
mod avro;
mod compile;
mod constants;
mod decode;
mod encode;
mod error;
mod gathered;
mod ipc;
mod json;
mod layout;
mod limits;
mod names;
mod plan;
mod quick;
mod schema;
mod store;
mod text;
mod views;
mod wire;

pub use avro::{
    AvroDecoder, AvroEncoder, AvroError, AvroSchema, AvroSchemaError, VersionConflict, merged as merged_avro,
};
pub use constants::{Constant, ConstantError, ConstantType, Constants};
pub use decode::Decoder;
pub use encode::{EncodeError, JsonEncoder, Mismatch, Mismatches, ProtobufEncoder, json_lines};
pub use error::{DecodeError, LayoutError, What};
pub use ipc::{ArrowDecoder, ArrowEncoder, IpcError};
pub use json::{JsonDecoder, JsonError};
pub use layout::{Layout, batch_element, batch_of};
pub use limits::Limits;
pub use schema::{COLUMNS_MAX, NESTING_MAX, message_schema};
