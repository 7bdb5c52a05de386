//! A batch → a signed envelope, as bytes, at once where they are to be.
//!
//! The key may be another from one envelope to the next. Deliberately not here: sequence numbers (the write-ahead log gives
//! them), keys themselves (see `amoskys_proto::Signer`).

use crate::{batcher::Batch, sources::process::timestamp};
use amoskys_proto::{Signer, v1::EnvelopeHeader, write_envelope};
use prost::Message;
use std::sync::{Arc, Mutex, PoisonError};

/// What every envelope of an agent has in common.
pub struct Sealer {
    agent_id: String,
    host_id: String,
    boot_id: String,
    key: SigningKey,
}

/// What an agent signs with now; without a signer envelopes go unsigned.
#[derive(Clone, Default)]
pub struct SigningKey(Arc<Mutex<Option<Signer>>>);

impl SigningKey {
    pub fn new(signer: Option<Signer>) -> Self {
        Self(Arc::new(Mutex::new(signer)))
    }

    /// Of the next envelope on.
    pub fn put(&self, signer: Signer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(signer);
    }

    /// `None` where nothing is signed.
    pub fn id(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|signer| signer.key_id().to_owned())
    }
}

/// Most that a header's other fields, the signature and the framing take.
const OVERHEAD_BYTES: usize = 320;

impl Sealer {
    pub fn new(agent_id: String, host_id: String, boot_id: String, key: SigningKey) -> Self {
        Self { agent_id, host_id, boot_id, key }
    }

    /// Bytes that an envelope has at most beside its payload.
    pub fn overhead_bytes_max(&self) -> usize {
        OVERHEAD_BYTES + self.agent_id.len() + self.host_id.len() + self.boot_id.len()
    }

    /// Appends the envelope's bytes to `into`. `schema` names the payload's message.
    pub fn seal(&self, schema: &str, batch: &Batch, sequence: u64, into: &mut Vec<u8>) {
        let key = self.key.0.lock().unwrap_or_else(PoisonError::into_inner);
        let header = EnvelopeHeader {
            agent_id: self.agent_id.clone(),
            host_id: self.host_id.clone(),
            boot_id: self.boot_id.clone(),
            sequence,
            schema: schema.to_owned(),
            first_event_time: Some(timestamp(batch.first_event_time_us)),
            last_event_time: Some(timestamp(batch.last_event_time_us)),
            event_count: batch.events,
            key_id: key.as_ref().map(|signer| signer.key_id().to_owned()).unwrap_or_default(),
        };
        let header = header.encode_to_vec();
        let signature = key.as_ref().map(|signer| signer.sign(&header, &batch.payload));
        let signature = signature.as_ref().map_or(&[][..], |signature| signature);
        write_envelope(&header, &batch.payload, signature, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amoskys_proto::{EnvelopeView, KeyRing};

    fn batch(payload_bytes: usize) -> Batch {
        Batch { payload: vec![7; payload_bytes], events: 3, first_event_time_us: i64::MAX / 4, last_event_time_us: -1 }
    }

    #[test]
    fn sealed_envelopes_verify_and_stay_within_the_stated_overhead() {
        let signer = Signer::generate().expect("randomness");
        let ring = KeyRing::of([signer.public()]);
        let id = "x".repeat(300);
        let sealer = Sealer::new(id.clone(), id.clone(), "5".repeat(36), SigningKey::new(Some(signer)));
        for payload_bytes in [0, 1, 127, 128, 70_000, 3 << 20] {
            let mut bytes = Vec::new();
            sealer.seal("amoskys.v1.AgentStatusBatch", &batch(payload_bytes), u64::MAX, &mut bytes);
            assert!(bytes.len() <= payload_bytes + sealer.overhead_bytes_max());
            let view = EnvelopeView::parse(&bytes).expect("an envelope");
            assert_eq!((view.header.sequence, view.header.event_count), (u64::MAX, 3));
            ring.verify_one(&view, 0).expect("signed by a known key");
        }
    }

    #[test]
    fn without_a_key_envelopes_are_unsigned() {
        let sealer = Sealer::new("a".into(), "h".into(), "b".into(), SigningKey::default());
        let mut bytes = Vec::new();
        sealer.seal("s", &batch(1), 1, &mut bytes);
        assert!(EnvelopeView::parse(&bytes).expect("an envelope").signature.is_empty());
    }
}
