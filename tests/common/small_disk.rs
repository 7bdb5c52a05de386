//! A small file system of the test's own, which can be filled up. Needs root; not on hosts that forbid mounting.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

const FILLER: &str = "filler";

/// Unmounted when dropped.
pub struct SmallDisk {
    path: PathBuf,
    folder: Option<tempfile::TempDir>,
}

impl SmallDisk {
    /// A tmpfs in a folder of `parent`, or a plain folder there, with a message, where none can be mounted.
    pub fn mount(parent: &Path, mib: u32) -> (Self, bool) {
        let folder = tempfile::Builder::new().prefix("disk-").tempdir_in(parent).expect("a folder");
        let path = folder.path().to_owned();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        let is_mounted = mounted.as_ref().is_ok_and(|output| output.status.success());
        if !is_mounted {
            println!("skipped: a full disk, as no tmpfs can be mounted here: {mounted:?}");
        }
        (Self { path, folder: Some(folder) }, is_mounted)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        let mut filler = File::create(self.path.join(FILLER)).expect("made");
        for bytes in [64 << 10, 4 << 10, 1] {
            while filler.write_all(&vec![1; bytes]).is_ok() {}
        }
    }

    pub fn free(&self) {
        let _ = fs::remove_file(self.path.join(FILLER));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing when it was not mounted.
        let _ = Command::new("umount").arg(&self.path).output();
        drop(self.folder.take());
    }
}
