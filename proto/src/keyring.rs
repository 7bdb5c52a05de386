//! Says whose an envelope is: signatures checked one by one or many at once, and what each key is good for.
//!
//! Deliberately not here: how keys are read from files ([`crate::KeyFolder`]), and whether an unsigned envelope is
//! acceptable (the caller's policy). Limits: batches of any length are checked [`BATCH_MAX`] at a time.
//!
//! A batch accepts what each signature alone would be accepted for, with one exception that needs the private key: its
//! holder can craft a signature that a batch accepts or not by chance. That forges nobody else's envelope.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ed25519_dalek::{Signature, Verifier, VerifyingKey, verify_batch};

use crate::v1::DeadLetterReason;
use crate::{EnvelopeView, Terms, digest, key_id};

/// Signatures checked by one multiplication; beyond this the gain per signature is small.
pub const BATCH_MAX: usize = 128;

/// Why an envelope is not believed: the sender's fault, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("the envelope is not signed")]
    Unsigned,
    #[error("no public key with id {key_id:?} (copy the agent's .pub file to the processor's key folder)")]
    UnknownKey { key_id: String },
    #[error("the signature does not fit the envelope's bytes (key {key_id})")]
    BadSignature { key_id: String },
    #[error("key {key_id} is revoked, and the log took the record after that")]
    RevokedKey { key_id: String },
    #[error("key {key_id} is bound to other {whose}s, and the envelope says it is of {whose} {id:?}")]
    KeyOfAnother { key_id: String, whose: &'static str, id: String },
}

impl VerifyError {
    /// What goes into a dead letter.
    pub fn reason(&self) -> DeadLetterReason {
        match self {
            Self::Unsigned => DeadLetterReason::Unsigned,
            Self::UnknownKey { .. } => DeadLetterReason::UnknownKey,
            Self::BadSignature { .. } => DeadLetterReason::BadSignature,
            Self::RevokedKey { .. } => DeadLetterReason::RevokedKey,
            Self::KeyOfAnother { .. } => DeadLetterReason::KeyOfAnother,
        }
    }
}

/// Public keys by id.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: HashMap<String, Trusted>,
}

/// A key, and what is said of it where anything is; all of that has to be met.
#[derive(Debug, Clone)]
struct Trusted {
    key: VerifyingKey,
    terms: Vec<Terms>,
}

/// The ring in force now, for many that look at it and one that puts another in its place.
#[derive(Debug, Clone, Default)]
pub struct SharedKeys(Arc<RwLock<Arc<KeyRing>>>);

impl From<KeyRing> for SharedKeys {
    fn from(ring: KeyRing) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(ring))))
    }
}

impl SharedKeys {
    /// Stays as it is while it is held.
    pub fn now(&self) -> Arc<KeyRing> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn put(&self, ring: KeyRing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

/// An envelope whose key is known and whose signature has the right length.
struct Claim<'a> {
    index: usize,
    key: &'a Trusted,
    signature: Signature,
    digest: [u8; 32],
}

impl KeyRing {
    /// A ring of keys that are at hand already, e.g. of an agent in the same process.
    pub fn of(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let trusted = |key| (key_id(&key), Trusted { key, terms: Vec::new() });
        Self { keys: keys.into_iter().map(trusted).collect() }
    }

    /// Adds a key, or what is said of it once more. False, and nothing is changed, when another key has its id.
    pub fn insert(&mut self, key: VerifyingKey, terms: &Terms) -> bool {
        let trusted = self.keys.entry(key_id(&key)).or_insert(Trusted { key, terms: Vec::new() });
        if trusted.key != key {
            return false;
        }
        if *terms != Terms::default() {
            trusted.terms.push(terms.clone());
        }
        true
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many of them are revoked, be it from a time on that is to come.
    pub fn revoked(&self) -> usize {
        let is_revoked = |key: &&Trusted| key.terms.iter().any(|terms| terms.revoked_from_ms.is_some());
        self.keys.values().filter(is_revoked).count()
    }

    /// Checks one envelope, which the log took at `log_time_ms`, milliseconds since 1970.
    pub fn verify_one(&self, envelope: &EnvelopeView<'_>, log_time_ms: i64) -> Result<(), VerifyError> {
        let claim = self.claim(0, envelope)?;
        claim.verify(envelope)?;
        claim.meets_terms(envelope, log_time_ms)
    }

    /// Checks many envelopes, each with its log time, at about half the price of one by one. The results are in the order
    /// of `envelopes`; bad ones do not spoil their neighbours.
    pub fn verify(&self, envelopes: &[(EnvelopeView<'_>, i64)]) -> Vec<Result<(), VerifyError>> {
        let mut results = vec![Ok(()); envelopes.len()];
        let mut claims = Vec::with_capacity(envelopes.len());
        for (index, (envelope, _)) in envelopes.iter().enumerate() {
            match self.claim(index, envelope) {
                Ok(claim) => claims.push(claim),
                Err(error) => results[index] = Err(error),
            }
        }
        for chunk in claims.chunks(BATCH_MAX) {
            let all_good = verify_together(chunk);
            for claim in chunk {
                let (envelope, log_time_ms) = &envelopes[claim.index];
                let verified = if all_good { Ok(()) } else { claim.verify(envelope) };
                // After the signature: what is altered is told as such, whatever key it names.
                results[claim.index] = verified.and_then(|()| claim.meets_terms(envelope, *log_time_ms));
            }
        }
        results
    }

    fn claim(&self, index: usize, envelope: &EnvelopeView<'_>) -> Result<Claim<'_>, VerifyError> {
        if envelope.signature.is_empty() {
            return Err(VerifyError::Unsigned);
        }
        let key_id = &envelope.header.key_id;
        let Some(key) = self.keys.get(key_id) else {
            return Err(VerifyError::UnknownKey { key_id: key_id.clone() });
        };
        let signature = Signature::from_slice(envelope.signature)
            .map_err(|_| VerifyError::BadSignature { key_id: key_id.clone() })?;
        Ok(Claim { index, key, signature, digest: digest(envelope.header_bytes, envelope.payload) })
    }
}

impl Claim<'_> {
    fn verify(&self, envelope: &EnvelopeView<'_>) -> Result<(), VerifyError> {
        self.key
            .key
            .verify(&self.digest, &self.signature)
            .map_err(|_| VerifyError::BadSignature { key_id: envelope.header.key_id.clone() })
    }

    /// Whether the key may be used for it. The log's time decides and no clock, so that reading again decides the same.
    fn meets_terms(&self, envelope: &EnvelopeView<'_>, log_time_ms: i64) -> Result<(), VerifyError> {
        let header = &envelope.header;
        let key_id = || header.key_id.clone();
        if self.key.terms.iter().any(|terms| terms.revoked_from_ms.is_some_and(|from_ms| log_time_ms >= from_ms)) {
            return Err(VerifyError::RevokedKey { key_id: key_id() });
        }
        for terms in &self.key.terms {
            for (whose, bound_to, id) in
                [("agent", &terms.agents, &header.agent_id), ("host", &terms.hosts, &header.host_id)]
            {
                if !bound_to.is_empty() && !bound_to.contains(id) {
                    return Err(VerifyError::KeyOfAnother { key_id: key_id(), whose, id: id.clone() });
                }
            }
        }
        Ok(())
    }
}

/// Whether all signatures are good. A batch of one costs more than a single check, so it is left to that.
fn verify_together(claims: &[Claim<'_>]) -> bool {
    if claims.len() < 2 {
        return false;
    }
    let digests: Vec<&[u8]> = claims.iter().map(|c| &c.digest[..]).collect();
    let signatures: Vec<Signature> = claims.iter().map(|c| c.signature).collect();
    let keys: Vec<VerifyingKey> = claims.iter().map(|c| c.key.key).collect();
    verify_batch(&digests, &signatures, &keys).is_ok()
}
