//! Where the messages and schemas of streams come from: files beside the SQL, and a schema registry.
//!
//! - [`messages_of_file`]: a `.proto` file with what it imports, or a set of descriptors.
//! - [`Registry`]: a schema registry's HTTP interface as Confluent published it; [`Framing`]: records that begin with the number
//!   of the schema that wrote them.
//!
//! Deliberately not here: how bytes become columns (amoskys-columns), what SQL says of a stream ([`crate::sql`]).
//! Limits: files are read when the SQL is planned; a registry is asked then, and for each number that was not seen before.

mod files;
mod framing;
mod protobuf;
mod registry;

pub use files::{SchemaFileError, messages_of_file, text_of_file};
pub use framing::{Body, Framing, Subject, SubjectError, Unframed, Writer};
pub use protobuf::MessageConflict;
pub use registry::{Kind, Registered, Registry, RegistryError};
