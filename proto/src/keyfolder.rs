//! A folder of public keys, read at a start and again when it has changed.
//!
//! A change is taken when two looks see the same, so that a file is not read while it is written, and at the latest at the
//! look after [`RESTLESS_LOOKS_MAX`] that each saw something else. Only files that changed are read again. One that does not read is told of once, and the key that it held before stays good: a broken file
//! revokes nobody, and keeps no other file's revocation from being taken. A file that is gone takes its key with it.
//! Deliberately not here: when to look, and threads. Limits: [`KEYS_MAX`] keys; a change that leaves a file's size, both
//! its times and its inode as they were is not seen.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::KeyRing;
use crate::keyfile::KeyFile;

/// Most keys a folder may hold.
pub const KEYS_MAX: usize = 1_000_000;

/// A folder that never stands still must not hold up a revocation.
const RESTLESS_LOOKS_MAX: u32 = 2;

/// The folder of public keys, or a file in it, cannot be used: the operator's fault.
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

/// What tells that a file has changed: size, modification and status times in nanoseconds, inode. The status time, too,
/// because copying with times may put another file of the same size and time in its place.
type Stamp = (u64, i128, i128, u64);
type Stamps = BTreeMap<PathBuf, Stamp>;

/// What the folder held when it was looked at last.
#[derive(Debug)]
pub struct KeyFolder {
    folder: PathBuf,
    /// Every key file; of one that has never read, nothing.
    files: BTreeMap<PathBuf, Option<Arc<KeyFile>>>,
    taken: Stamps,
    seen: Stamps,
    /// Looks in a row that each saw something else.
    restless_looks: u32,
    is_away: bool,
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct KeysFound {
    /// When keys have changed, or what is said of them.
    pub ring: Option<KeyRing>,
    /// Each is told once, until it changes again.
    pub failures: Vec<KeyRingError>,
}

impl KeyRing {
    /// Every `*.pub` and `*.pem` file of a folder; sub-folders and other files are ignored. All must be public keys.
    pub fn load(folder: &Path) -> Result<Self, KeyRingError> {
        KeyFolder::open(folder).map(|(_, ring)| ring)
    }
}

impl KeyFolder {
    /// Reads the folder; here all that is in it must be good. To be looked at again.
    pub fn open(folder: &Path) -> Result<(Self, KeyRing), KeyRingError> {
        let mut opened = Self {
            folder: folder.into(),
            files: BTreeMap::new(),
            taken: Stamps::new(),
            seen: Stamps::new(),
            restless_looks: 0,
            is_away: false,
        };
        let found = opened.take(opened.stamps()?);
        match found.failures.into_iter().next() {
            Some(failure) => Err(failure),
            None => Ok((opened, found.ring.unwrap_or_default())),
        }
    }

    /// Looks for changes and reads what has changed, once it stands still.
    pub fn look(&mut self) -> KeysFound {
        let now = match self.stamps() {
            Ok(now) => now,
            Err(failure) => {
                let is_told = std::mem::replace(&mut self.is_away, true);
                let failures = if is_told { Vec::new() } else { vec![failure] };
                return KeysFound { ring: None, failures };
            }
        };
        self.is_away = false;
        let (is_new, stands_still) = (now != self.taken, now == self.seen);
        if is_new && (stands_still || self.restless_looks == RESTLESS_LOOKS_MAX) {
            return self.take(now);
        }
        self.restless_looks = if is_new { self.restless_looks + 1 } else { 0 };
        self.seen = now;
        KeysFound::default()
    }

    fn take(&mut self, now: Stamps) -> KeysFound {
        let (mut files, mut failures) = (BTreeMap::new(), Vec::new());
        for (path, stamp) in &now {
            let before = self.files.remove(path);
            let is_as_before = before.is_some() && self.taken.get(path) == Some(stamp);
            let read = (!is_as_before).then(|| KeyFile::read(path));
            let kept = match read {
                None => before.flatten(),
                Some(Ok(file)) => Some(Arc::new(file)),
                Some(Err(failure)) => {
                    failures.push(failure);
                    before.flatten()
                }
            };
            files.insert(path.clone(), kept);
        }
        (self.files, self.taken, self.restless_looks) = (files, now, 0);
        let mut ring = KeyRing::default();
        for (path, file) in &self.files {
            let Some(file) = file else { continue };
            if !ring.insert(file.key, &file.terms) {
                let key_id = crate::key_id(&file.key);
                failures.push(KeyRingError::Collision { path: path.clone(), key_id });
            }
        }
        KeysFound { ring: Some(ring), failures }
    }

    fn stamps(&self) -> Result<Stamps, KeyRingError> {
        let unreadable = |source| KeyRingError::Folder { path: self.folder.clone(), source };
        let mut stamps = Stamps::new();
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let named_as_key = path.extension().is_some_and(|e| e == "pub" || e == "pem");
            if !named_as_key || path.is_dir() {
                continue;
            }
            if stamps.len() == KEYS_MAX {
                return Err(KeyRingError::TooMany { path: self.folder.clone() });
            }
            // A link that leads nowhere is told of when it is read.
            let stamp = fs::metadata(&path).map(|of| {
                let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
                (of.len(), ns(of.mtime(), of.mtime_nsec()), ns(of.ctime(), of.ctime_nsec()), of.ino())
            });
            stamps.insert(path, stamp.unwrap_or_default());
        }
        Ok(stamps)
    }
}
