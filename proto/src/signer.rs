//! Seals envelopes: ed25519 over a BLAKE3 digest of header and payload, with a key kept in a file.
//!
//! A key file is PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it, readable by its owner only.
//! Deliberately not here: when another key is taken, and handing out public ones (copy the `.pub` file). Unix only.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, KeypairBytes};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use prost::Message;
use prost::bytes::Bytes;

use crate::Terms;
use crate::v1::{Envelope, EnvelopeHeader};

/// Length of an ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Longest key file that is read; a real one has about 120 bytes.
pub(crate) const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Separates these signatures from any other use of the same key.
const CONTEXT: &[u8] = b"amoskys.envelope.v1";

/// What is signed: BLAKE3(`"amoskys.envelope.v1"`, length of `header` as u64 little-endian, `header`, `payload`).
pub fn digest(header: &[u8], payload: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(CONTEXT).update(&(header.len() as u64).to_le_bytes()).update(header).update(payload);
    *hasher.finalize().as_bytes()
}

/// Name of a public key in envelopes: lower-case hex of the first 8 bytes of BLAKE3(public key).
pub fn key_id(public: &VerifyingKey) -> String {
    hex::encode(&blake3::hash(public.as_bytes()).as_bytes()[..8])
}

/// A key file cannot be used: the operator's fault, except [`SignerError::Random`].
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("cannot read the signing key {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write the key file {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the signing key {path} has mode {mode:04o}, so others can read it (run: chmod 600 {path})")]
    Mode { path: PathBuf, mode: u32 },
    #[error(
        "the signing key {path} is not an ed25519 key in PKCS#8 PEM: {what} (openssl genpkey -algorithm ed25519 writes one)"
    )]
    Format { path: PathBuf, what: String },
    #[error("the system gave no random bytes for a new key: {0}")]
    Random(getrandom::Error),
}

/// Holds a private key and signs with it. The key is wiped from memory on drop and never printed.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    key_id: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Signer {
    fn new(key: SigningKey) -> Self {
        let key_id = key_id(&key.verifying_key());
        Self { key, key_id }
    }

    /// A new key from the system's random source. Not written anywhere; see [`Signer::write_files`].
    pub fn generate() -> Result<Self, SignerError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(SignerError::Random)?;
        Ok(Self::new(SigningKey::from_bytes(&secret)))
    }

    /// Reads a private key. Refuses a file that group or others may read, write or run.
    pub fn from_pem_file(path: &Path) -> Result<Self, SignerError> {
        let read = |source| SignerError::Read { path: path.into(), source };
        let file = File::open(path).map_err(read)?;
        // Asked of the opened file, so that it cannot be swapped in between.
        let mode = file.metadata().map_err(read)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SignerError::Mode { path: path.into(), mode });
        }
        let mut pem = String::new();
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut pem).map_err(read)?;
        let key = SigningKey::from_pkcs8_pem(&pem)
            .map_err(|e| SignerError::Format { path: path.into(), what: e.to_string() })?;
        Ok(Self::new(key))
    }

    /// Writes the private key to `path` (mode 0600; an existing file is not touched but an error) and the public key
    /// beside it with the extension `pub`, for processors' key folders.
    pub fn write_files(&self, path: &Path) -> Result<PathBuf, SignerError> {
        self.write_files_of(path, &Terms::default())
    }

    /// The same, and the public key's file says what the key is good for.
    pub fn write_files_of(&self, path: &Path, terms: &Terms) -> Result<PathBuf, SignerError> {
        let format = |what: &dyn std::fmt::Display| SignerError::Format { path: path.into(), what: what.to_string() };
        // Without the public half, as openssl writes it: older versions cannot read the form that has it.
        let private = KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        let private = private.to_pkcs8_pem(LineEnding::LF).map_err(|e| format(&e))?;
        write_new(path, private.as_bytes(), 0o600)?;
        let public_path = path.with_extension("pub");
        let pem = self.public_pem().map_err(|e| format(&e))?;
        let public = format!("# key {}\n{}{pem}", self.key_id, terms.to_lines());
        write_new(&public_path, public.as_bytes(), 0o644)?;
        Ok(public_path)
    }

    fn public_pem(&self) -> Result<String, ed25519_dalek::pkcs8::spki::Error> {
        self.key.verifying_key().to_public_key_pem(LineEnding::LF)
    }

    /// Goes into [`EnvelopeHeader::key_id`].
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// Signs serialized header and payload; the header must already hold [`Signer::key_id`].
    pub fn sign(&self, header: &[u8], payload: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(&digest(header, payload)).to_bytes()
    }

    /// A signed envelope. Sets the header's `key_id`.
    pub fn seal(&self, mut header: EnvelopeHeader, payload: Bytes) -> Envelope {
        header.key_id.clone_from(&self.key_id);
        let header = Bytes::from(header.encode_to_vec());
        let signature = Bytes::copy_from_slice(&self.sign(&header, &payload));
        Envelope { header, payload, signature }
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SignerError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|source| SignerError::Write { path: path.into(), source })
}
