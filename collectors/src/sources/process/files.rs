//! What is told of executables: their SHA-256 and the package that they belong to, remembered by what the file was.
//!
//! A file is asked about when a process is told of or read: it is opened through `/proc/PID/exe` at once, so that it is the file that
//! runs, deleted or of another mount namespace, although the process may be gone when it is hashed. Hashing happens in a
//! thread of its own (see `hashing`); who asked gets an [`Answer`] that is filled later. The same file is asked about once:
//! a program cannot change a file without changing its [`FileId`].
//!
//! Limits: `files_max` files are remembered, the least recently used is forgotten. Some wait for the thread (see `jobs`); what
//! comes beyond has no digest until it is seen again. Files on file systems that a network or a user's program serves
//! are not opened: whoever serves them could hold the agent up for as long as he likes.

use super::{
    exe::{Executable, FileId},
    hashing::{Hashing, Job},
    jobs::{Haste, Jobs},
};
use crate::{config::FilesConfig, metrics::SharedNumbers, queue::StopOrder};
use lru::LruCache;
use rustix::{
    fd::AsFd,
    fs::{Mode, OFlags, openat, stat},
};
use std::{
    fs::File,
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
    thread::JoinHandle,
};

/// How often it is looked whether dpkg changed something.
const PACKAGES_LOOK_NS: u64 = 1_000_000_000;

/// What is told of a file, once it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    facts: OnceLock<Facts>,
    pub wants_digest: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub sha256: Digest,
    pub package: Option<Arc<Package>>,
    /// Of which state of dpkg `package` is.
    pub packages: Option<FileId>,
}

/// The digest of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Digest {
    /// The file is too large, not on a file system of this host, or nobody wants digests.
    #[default]
    NotWanted,
    /// It could not be read, or changed meanwhile, or there was no room to ask.
    Failed,
    /// Lower-case hex. Where `settled` is not set, the file changed so shortly before that a change right after could go
    /// unnoticed; then it is asked about again.
    Known { hex: Arc<str>, settled: bool },
}

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
}

impl Answer {
    pub fn asked(wants_digest: bool) -> Arc<Self> {
        Arc::new(Self { facts: OnceLock::new(), wants_digest })
    }

    /// Only the first counts.
    pub fn give(&self, facts: Facts) {
        let _ = self.facts.set(facts);
    }

    pub fn facts(&self) -> Option<&Facts> {
        self.facts.get()
    }
}

impl Facts {
    /// Whether it need not be asked again while dpkg is in this state.
    fn lasts(&self, packages: Option<FileId>) -> bool {
        !matches!(self.sha256, Digest::Failed | Digest::Known { settled: false, .. }) && self.packages == packages
    }
}

/// The memory of files, and the way to the thread.
pub struct Files {
    config: FilesConfig,
    by_file: LruCache<(FileId, u64), Arc<Answer>>,
    /// Paths are remembered as hashes, with keys of this process that nobody can know.
    hasher: RandomState,
    packages: Option<FileId>,
    packages_next_look_ns: u64,
    jobs: Jobs,
    thread: Option<JoinHandle<()>>,
    numbers: SharedNumbers,
}

impl Files {
    /// Starts the thread.
    pub fn start(config: &FilesConfig, stop: StopOrder, numbers: SharedNumbers) -> std::io::Result<Self> {
        let jobs = Jobs::default();
        let hashing = Hashing::new(jobs.clone(), config.dpkg_folder.clone(), stop, numbers.clone());
        let thread = std::thread::Builder::new().name("files".into()).spawn(move || hashing.run())?;
        Ok(Self {
            by_file: LruCache::new(config.files_max),
            hasher: RandomState::new(),
            packages: None,
            packages_next_look_ns: 0,
            jobs,
            thread: Some(thread),
            config: config.clone(),
            numbers,
        })
    }

    /// What is told of that executable, which `open` opens where it has to be read: `None` when it is not there any more.
    pub fn ask(
        &mut self,
        exe: &Executable,
        haste: Haste,
        now_ns: u64,
        open: impl FnOnce() -> Option<File>,
    ) -> Option<Arc<Answer>> {
        let wants_digest = exe.file.bytes <= self.config.sha256_file_bytes_max && self.config.sha256_file_bytes_max > 0;
        let wants_package = self.config.dpkg_folder.is_some() && !exe.deleted;
        if !(wants_digest || wants_package) || exe.path.is_empty() || !is_of_this_host(&exe.fs_type) {
            return None;
        }
        self.look_at_packages(now_ns);
        let key = (exe.file, self.hasher.hash_one(&exe.path));
        let packages = self.packages.filter(|_| wants_package);
        let mut before = Digest::NotWanted;
        if let Some(answer) = self.by_file.get(&key) {
            match answer.facts() {
                Some(facts) if !facts.lasts(packages) => before = facts.sha256.clone(),
                _ => return Some(answer.clone()),
            }
        }
        let answer = Answer::asked(wants_digest);
        let known = matches!(before, Digest::Known { settled: true, .. });
        let failed = |answer: Arc<Answer>, before: Digest| {
            let sha256 = if wants_digest && !known { Digest::Failed } else { before };
            answer.give(Facts { sha256, ..Facts::default() });
            Some(answer)
        };
        let content = if wants_digest && !known {
            match open() {
                Some(file) => Some(file),
                None => return failed(answer, before),
            }
        } else {
            None
        };
        let path = wants_package.then(|| exe.path.clone());
        let job = Job { content, known: before.clone(), file: exe.file, path, answer: answer.clone() };
        if !self.jobs.put(job, haste) {
            self.numbers.lock().unasked_files += 1;
            return failed(answer, before);
        }
        self.by_file.put(key, answer.clone());
        Some(answer)
    }

    fn look_at_packages(&mut self, now_ns: u64) {
        if let Some(folder) = self.config.dpkg_folder.as_ref().filter(|_| now_ns >= self.packages_next_look_ns) {
            self.packages = stat(folder.join("status")).ok().map(|stat| FileId::of(&stat));
            self.packages_next_look_ns = now_ns + PACKAGES_LOOK_NS;
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.jobs.close();
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// Opens a file that may be anything, so that opening it does nothing else.
pub fn open_to_read(folder: impl AsFd, path: &str) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    openat(folder, path, flags, Mode::empty()).ok().map(File::from)
}

/// By the type of its file system, as mountinfo or a magic number names it.
fn is_of_this_host(fs_type: &str) -> bool {
    let served =
        ["fuse", "nfs", "cifs", "smb", "9p", "afs", "ceph", "gfs", "glusterfs", "lustre", "ocfs", "coda", "virtiofs"];
    !fs_type.is_empty() && !served.iter().any(|served| fs_type.starts_with(served))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
