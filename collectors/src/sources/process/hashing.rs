//! The thread that hashes executables and looks up their packages.
//!
//! A file whose content changes while it is read has no digest. One that is only deleted meanwhile has: programs do that
//! to themselves. Limits: one file at a time, so at most one core; a stop is noticed between two pieces of
//! [`PIECE_BYTES`]. A program that ended before its file was read may have rewritten it: then the digest is that of what
//! is there, as with all that look after the start.

use super::{
    dpkg::Installed,
    exe::FileId,
    files::{Answer, Digest, Facts},
    jobs::Jobs,
};
use crate::{clock::Moment, metrics::SharedNumbers, queue::StopOrder};
use rustix::fs::{Stat, fstat};
use sha2::{Digest as _, Sha256};
use std::{fs::File, io::Read, path::PathBuf, sync::Arc};

const PIECE_BYTES: usize = 128 << 10;
/// The coarsest that a file system tells the time of a change: within as much, two changes may look like one.
const CHANGE_NS: i128 = 2_000_000_000;

/// A file to be looked at.
pub struct Job {
    /// To be hashed; `None`: `known` holds, or no digest is wanted.
    pub content: Option<File>,
    pub known: Digest,
    pub file: FileId,
    /// Whose package is wanted.
    pub path: Option<String>,
    pub answer: Arc<Answer>,
}

pub struct Hashing {
    jobs: Jobs,
    installed: Option<Installed>,
    stop: StopOrder,
    numbers: SharedNumbers,
    piece: Vec<u8>,
}

impl Hashing {
    pub fn new(jobs: Jobs, dpkg_folder: Option<PathBuf>, stop: StopOrder, numbers: SharedNumbers) -> Self {
        let installed = dpkg_folder.map(|folder| Installed::new(folder, "/".into()));
        Self { jobs, installed, stop, numbers, piece: vec![0; PIECE_BYTES] }
    }

    /// Until nobody can ask any more.
    pub fn run(mut self) {
        while let Some(job) = self.jobs.take() {
            let sha256 = match job.content {
                Some(content) => self.digest(content, &job.file),
                None => job.known,
            };
            let mut facts = Facts { sha256, ..Facts::default() };
            if let (Some(installed), Some(path)) = (&mut self.installed, &job.path) {
                let owner = installed.owner(path, &job.file, Moment::now().boot_ns);
                (facts.package, facts.packages) = (owner, installed.state());
            }
            job.answer.give(facts);
        }
    }

    fn digest(&mut self, content: File, file: &FileId) -> Digest {
        let begun_ns = i128::from(Moment::now().wall_us) * 1_000;
        let Ok(before) = fstat(&content) else { return Digest::Failed };
        // The process may have gone on to another program after its executable was looked at.
        if (before.st_dev, before.st_ino) != (file.device, file.inode) {
            return Digest::Failed;
        }
        let Some((hex, bytes)) = self.hash(&content, file.bytes) else { return Digest::Failed };
        let mut numbers = self.numbers.lock();
        numbers.hashed_files += 1;
        numbers.hashed_bytes += bytes;
        drop(numbers);
        let content_of = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        match fstat(&content) {
            Ok(after) if content_of(&after) == content_of(&before) && bytes == file.bytes => {
                Digest::Known { hex, settled: FileId::of(&after) == *file && file.changed_ns + CHANGE_NS < begun_ns }
            }
            _ => Digest::Failed,
        }
    }

    /// `None` when it cannot be read, is longer than it was, or the agent stops.
    fn hash(&mut self, mut content: &File, bytes_max: u64) -> Option<(Arc<str>, u64)> {
        let (mut hasher, mut bytes) = (Sha256::new(), 0);
        loop {
            let count = content.read(&mut self.piece).ok()?;
            if count == 0 {
                break;
            }
            hasher.update(&self.piece[..count]);
            bytes += count as u64;
            if bytes > bytes_max || self.stop.is_given() {
                return None;
            }
        }
        Some((hex::encode(hasher.finalize()).into(), bytes))
    }
}
