//! Rows into records.

mod accept;
mod error;
mod json;
mod json_values;
mod protobuf;
mod row;
mod target;
mod values;

pub use error::{EncodeError, Mismatch, Mismatches};
pub use json::{JsonEncoder, json_lines};
pub use protobuf::ProtobufEncoder;
