//! Says whose an envelope is: public keys from a folder, signatures checked one by one or many at once.
//!
//! Deliberately not here: which senders may write what, revocation lists (remove the file and restart), and whether
//! an unsigned envelope is acceptable (the caller's policy). Limits: [`KEYS_MAX`] keys; batches of any length are
//! checked [`BATCH_MAX`] at a time.
//!
//! A batch accepts what each signature alone would be accepted for, with one exception that needs the private key: its
//! holder can craft a signature that a batch accepts or not by chance. That forges nobody else's envelope.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::DecodePublicKey;
use ed25519_dalek::{Signature, Verifier, VerifyingKey, verify_batch};

use crate::signer::KEY_FILE_BYTES_MAX;
use crate::v1::DeadLetterReason;
use crate::{EnvelopeView, digest, key_id};

/// Most keys a folder may hold.
pub const KEYS_MAX: usize = 1_000_000;
/// Signatures checked by one multiplication; beyond this the gain per signature is small.
pub const BATCH_MAX: usize = 128;

/// The folder of public keys cannot be used: the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    #[error("cannot read the folder of public keys {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot read the public key {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} holds a private key; only public keys belong into this folder (move it to its agent)")]
    Private { path: PathBuf },
    #[error("{path} is not an ed25519 public key in PEM: {what} (openssl pkey -in KEY -pubout writes one)")]
    Format { path: PathBuf, what: String },
    #[error("{path} is a weak public key that verifies signatures nobody made")]
    Weak { path: PathBuf },
    #[error("two different public keys have the id {key_id}, one of them in {path}")]
    Collision { path: PathBuf, key_id: String },
    #[error("the folder {path} holds more than {KEYS_MAX} public keys")]
    TooMany { path: PathBuf },
}

/// Why an envelope is not believed: the sender's fault, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("the envelope is not signed")]
    Unsigned,
    #[error("no public key with id {key_id:?} (copy the agent's .pub file to the processor's key folder)")]
    UnknownKey { key_id: String },
    #[error("the signature does not fit the envelope's bytes (key {key_id})")]
    BadSignature { key_id: String },
}

impl VerifyError {
    /// What goes into a dead letter.
    pub fn reason(&self) -> DeadLetterReason {
        match self {
            Self::Unsigned => DeadLetterReason::Unsigned,
            Self::UnknownKey { .. } => DeadLetterReason::UnknownKey,
            Self::BadSignature { .. } => DeadLetterReason::BadSignature,
        }
    }
}

/// Public keys by id.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: HashMap<String, VerifyingKey>,
}

/// An envelope whose key is known and whose signature has the right length.
struct Claim {
    index: usize,
    key: VerifyingKey,
    signature: Signature,
    digest: [u8; 32],
}

impl KeyRing {
    /// Every `*.pub` and `*.pem` file of a folder; sub-folders and other files are ignored. All must be public keys.
    pub fn load(folder: &Path) -> Result<Self, KeyRingError> {
        let unreadable = |source| KeyRingError::Folder { path: folder.into(), source };
        let mut ring = Self::default();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let named_as_key = path.extension().is_some_and(|e| e == "pub" || e == "pem");
            if !named_as_key || path.is_dir() {
                continue;
            }
            if ring.keys.len() == KEYS_MAX {
                return Err(KeyRingError::TooMany { path: folder.into() });
            }
            let key = read_public(&path)?;
            ring.insert(key).map_err(|key_id| KeyRingError::Collision { path, key_id })?;
        }
        Ok(ring)
    }

    /// A ring of keys that are at hand already, e.g. of an agent in the same process.
    pub fn of(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self { keys: keys.into_iter().map(|key| (key_id(&key), key)).collect() }
    }

    fn insert(&mut self, key: VerifyingKey) -> Result<(), String> {
        let id = key_id(&key);
        match self.keys.insert(id.clone(), key) {
            Some(old) if old != key => Err(id),
            _ => Ok(()),
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks one envelope.
    pub fn verify_one(&self, envelope: &EnvelopeView<'_>) -> Result<(), VerifyError> {
        self.claim(0, envelope)?.verify(envelope)
    }

    /// Checks many envelopes, at about half the price of one by one. The results are in the order of `envelopes`; bad
    /// ones do not spoil their neighbours.
    pub fn verify(&self, envelopes: &[EnvelopeView<'_>]) -> Vec<Result<(), VerifyError>> {
        let mut results = vec![Ok(()); envelopes.len()];
        let mut claims = Vec::with_capacity(envelopes.len());
        for (index, envelope) in envelopes.iter().enumerate() {
            match self.claim(index, envelope) {
                Ok(claim) => claims.push(claim),
                Err(error) => results[index] = Err(error),
            }
        }
        for chunk in claims.chunks(BATCH_MAX) {
            if !verify_together(chunk) {
                for claim in chunk {
                    results[claim.index] = claim.verify(&envelopes[claim.index]);
                }
            }
        }
        results
    }

    fn claim(&self, index: usize, envelope: &EnvelopeView<'_>) -> Result<Claim, VerifyError> {
        if envelope.signature.is_empty() {
            return Err(VerifyError::Unsigned);
        }
        let key_id = &envelope.header.key_id;
        let Some(&key) = self.keys.get(key_id) else {
            return Err(VerifyError::UnknownKey { key_id: key_id.clone() });
        };
        let signature = Signature::from_slice(envelope.signature)
            .map_err(|_| VerifyError::BadSignature { key_id: key_id.clone() })?;
        Ok(Claim { index, key, signature, digest: digest(envelope.header_bytes, envelope.payload) })
    }
}

impl Claim {
    fn verify(&self, envelope: &EnvelopeView<'_>) -> Result<(), VerifyError> {
        self.key
            .verify(&self.digest, &self.signature)
            .map_err(|_| VerifyError::BadSignature { key_id: envelope.header.key_id.clone() })
    }
}

/// Whether all signatures are good. A batch of one costs more than a single check, so it is left to that.
fn verify_together(claims: &[Claim]) -> bool {
    if claims.len() < 2 {
        return false;
    }
    let digests: Vec<&[u8]> = claims.iter().map(|c| &c.digest[..]).collect();
    let signatures: Vec<Signature> = claims.iter().map(|c| c.signature).collect();
    let keys: Vec<VerifyingKey> = claims.iter().map(|c| c.key).collect();
    verify_batch(&digests, &signatures, &keys).is_ok()
}

fn read_public(path: &Path) -> Result<VerifyingKey, KeyRingError> {
    let mut pem = String::new();
    File::open(path)
        .and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut pem))
        .map_err(|source| KeyRingError::Read { path: path.into(), source })?;
    if pem.contains("PRIVATE KEY-----") {
        return Err(KeyRingError::Private { path: path.into() });
    }
    let key = VerifyingKey::from_public_key_pem(pem.trim())
        .map_err(|e| KeyRingError::Format { path: path.into(), what: e.to_string() })?;
    if key.is_weak() {
        return Err(KeyRingError::Weak { path: path.into() });
    }
    Ok(key)
}
