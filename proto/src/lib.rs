//! The wire contract: prost types of `amoskys/v1/*.proto`, their descriptors, and how envelopes are signed.
//!
//! - [`v1`] holds the messages; [`pool`] their descriptors, for code that is driven by a schema.
//! - [`EnvelopeView`] reads an envelope from a record without copying its payload.
//! - [`Signer`] seals envelopes; a [`KeyRing`] says whose they are, and a [`KeyFolder`] where its keys are read from.
//!
//! Deliberately not here: reading or writing topics, decoding payloads into columns, key distribution. The only files
//! touched are key files. Nothing is kept process-wide.

mod envelope;
mod keyfile;
mod keyfolder;
mod keyring;
mod signer;

pub use envelope::{EnvelopeError, EnvelopeView, write_envelope};
pub use keyfile::Terms;
pub use keyfolder::{KeyFolder, KeyRingError, KeysFound};
pub use keyring::{KeyRing, SharedKeys, VerifyError};
pub use signer::{SIGNATURE_BYTES, Signer, SignerError, digest, key_id};

pub use prost_reflect::DescriptorPool;

/// The messages of package `amoskys.v1`.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/amoskys.v1.rs"));
}

/// A serialized `google.protobuf.FileDescriptorSet`: the contract and the well-known types it builds on.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Descriptors of every message in [`v1`] and of Timestamp, Duration and the wrapper types.
///
/// Decodes [`DESCRIPTOR_SET`] anew (about a millisecond); a pool is cheap to clone, so keep one. The error cannot
/// happen with the set that this crate was built with.
pub fn pool() -> Result<DescriptorPool, prost_reflect::DescriptorError> {
    DescriptorPool::decode(DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_has_every_message_that_travels() {
        let pool = pool().expect("the embedded set decodes");
        for name in [
            "Envelope",
            "EnvelopeHeader",
            "ProcessBatch",
            "SyscallBatch",
            "SyscallActivityBatch",
            "Alert",
            "FeatureRow",
            "DeadLetter",
            "AgentStatusBatch",
        ] {
            assert!(pool.get_message_by_name(&format!("amoskys.v1.{name}")).is_some(), "{name} is missing");
        }
        for name in ["Timestamp", "Duration", "DoubleValue"] {
            assert!(pool.get_message_by_name(&format!("google.protobuf.{name}")).is_some(), "{name} is missing");
        }
    }
}
