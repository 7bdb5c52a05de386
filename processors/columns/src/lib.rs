//! Bytes of records → Arrow columns, and back: protobuf driven by descriptors, JSON driven by a schema.
//!
//! - [`message_schema`] says which columns a message type offers, [`Layout`] which of them are wanted; a [`Decoder`]
//!   turns records into rows. [`JsonDecoder`] does the same for JSON.
//! - [`Constants`] adds what is the same for all rows of a record.
//! - [`ProtobufEncoder`] and [`JsonEncoder`] turn rows into records.
//!
//! Deliberately not here: envelopes and signatures (amoskys-proto), topics, SQL. No IO, no clock, no threads.
//! Limits: [`Limits`] per record.

mod assemble;
mod compile;
mod constants;
mod decode;
mod encode;
mod error;
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

pub use constants::{Constant, ConstantError, ConstantType, Constants};
pub use decode::Decoder;
pub use encode::{EncodeError, JsonEncoder, Mismatch, Mismatches, ProtobufEncoder, json_lines};
pub use error::{DecodeError, LayoutError, What};
pub use json::{JsonDecoder, JsonError};
pub use layout::{Layout, batch_element, batch_of};
pub use limits::Limits;
pub use schema::{COLUMNS_MAX, NESTING_MAX, message_schema};
