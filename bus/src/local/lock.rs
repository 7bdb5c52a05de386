//! One process per embedded log: a lock file that names its holder.
//!
//! The lock is the kernel's (`flock`), so it goes with the process however that ends; the text in the file only says
//! whose it is. Does not wait.

use crate::BusError;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Held for as long as the log is open.
pub(super) struct FolderLock {
    file: File,
}

impl Drop for FolderLock {
    /// Closing alone would leave the lock with a child that another thread is just starting: until it executes its own
    /// program it has this file open as well.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl FolderLock {
    /// Takes the lock of `folder`, which must exist; [`BusError::InUse`] names the process that has it.
    pub(super) fn take(folder: &Path) -> Result<Self, BusError> {
        let path = folder.join("LOCK");
        let failed = |error: std::io::Error| BusError::Misconfigured {
            detail: format!(
                "the lock file {} cannot be used: {error}; check the folder's owner and mode",
                path.display()
            ),
        };
        let mut file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(BusError::InUse { path: folder.display().to_string(), holder: describe(&holder) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(this_process().as_bytes()).map_err(failed)?;
        Ok(Self { file })
    }
}

/// `pid 123 (command line)`.
fn this_process() -> String {
    let command: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let command: String = command.join(" ").chars().take(200).collect();
    format!("pid {} ({command})", std::process::id())
}

fn describe(holder: &str) -> String {
    if holder.is_empty() { "another process".to_owned() } else { holder.to_owned() }
}
