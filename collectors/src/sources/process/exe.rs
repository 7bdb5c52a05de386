//! Which file a process runs: its path, whether it is deleted, set-user-id, and on what kind of filesystem it is.
//!
//! The kernel marks a deleted file by appending " (deleted)" to the link, which a real path may end in too; the inode
//! tells them apart. Limits: paths are as the process's own mount namespace shows them.

use super::parse;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags, Stat, fstatfs, major, minor, openat, readlinkat, statat},
};
use std::collections::HashMap;

/// The executable of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executable {
    /// Without the kernel's mark.
    pub path: String,
    pub deleted: bool,
    pub setuid: bool,
    /// "ext4", "tmpfs", "memfd" …; empty if unknown.
    pub fs_type: String,
    pub file: FileId,
}

/// A file as it was at one moment: another content has another of these. The time is that of the last change of the
/// file or of its inode, which no program can set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
    pub bytes: u64,
    pub changed_ns: i128,
}

impl FileId {
    pub fn of(stat: &Stat) -> Self {
        let changed_ns = i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec);
        Self { device: stat.st_dev, inode: stat.st_ino, bytes: stat.st_size as u64, changed_ns }
    }
}

const MARK: &str = " (deleted)";
/// A memfd's name begins with this.
pub(super) const MEMFD: &str = "/memfd:";
/// Devices whose filesystem type is remembered.
const DEVICES_MAX: usize = 256;
pub(super) const SET_USER_ID: u32 = 0o4000;

/// Decides from the link's text: the path without the mark, and whether the file is deleted. `links` is the inode's
/// link count; `same_file_there` tells whether the text, taken literally, names that inode.
pub fn without_mark(link: &str, links: u64, same_file_there: impl FnOnce() -> bool) -> (&str, bool) {
    match link.strip_suffix(MARK) {
        None => (link, false),
        // With links left it may be a path that really ends so, or one of several names that was removed.
        Some(_) if links > 0 && same_file_there() => (link, false),
        Some(path) => (path, true),
    }
}

/// Filesystem types by device, asked once per device.
#[derive(Debug, Default)]
pub struct FsTypes {
    by_device: HashMap<u64, String>,
}

impl FsTypes {
    /// Anonymous device numbers are given again after an unmount, so forget now and then.
    pub fn forget(&mut self) {
        self.by_device.clear();
    }

    /// Reads the executable of the process whose `/proc/PID` is open as `process`. An error when it is gone, a kernel
    /// thread, or not to be looked at.
    pub fn executable(&mut self, process: &OwnedFd) -> rustix::io::Result<Executable> {
        let link = readlinkat(process, "exe", Vec::with_capacity(256))?;
        let link = link.to_string_lossy();
        let stat = statat(process, "exe", AtFlags::empty())?;
        let same_file_there = || {
            let literal = format!("root{link}");
            statat(process, literal.as_str(), AtFlags::empty())
                .is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino))
        };
        let (path, deleted) = without_mark(&link, u64::from(stat.st_nlink as u32), same_file_there);
        let fs_type = if path.starts_with(MEMFD) && deleted { "memfd".into() } else { self.of(process, &stat) };
        let setuid = stat.st_mode & SET_USER_ID != 0;
        Ok(Executable { path: path.to_owned(), deleted, setuid, fs_type, file: FileId::of(&stat) })
    }

    fn of(&mut self, process: &OwnedFd, stat: &Stat) -> String {
        if let Some(known) = self.by_device.get(&stat.st_dev) {
            return known.clone();
        }
        let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        let found = parse::mount_type(&table, major(stat.st_dev), minor(stat.st_dev))
            // Filesystems of other mount namespaces, and those that show other device numbers than they mount by.
            .or_else(|| magic_of(process.as_fd()).map(type_by_magic))
            .unwrap_or_default();
        if self.by_device.len() >= DEVICES_MAX {
            self.by_device.clear();
        }
        self.by_device.insert(stat.st_dev, found.clone());
        found
    }
}

fn magic_of(process: rustix::fd::BorrowedFd<'_>) -> Option<u64> {
    let file = openat(process, "exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    fstatfs(&file).ok().map(|fs| fs.f_type as u64)
}

/// Names of the magic numbers in linux/magic.h; others in hex.
fn type_by_magic(magic: u64) -> String {
    match magic & 0xffff_ffff {
        0xef53 => "ext4".into(),
        0x0102_1994 => "tmpfs".into(),
        0x794c_7630 => "overlay".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        0x2fc1_2fc1 => "zfs".into(),
        0x7371_7368 => "squashfs".into(),
        0x6573_5546 => "fuse".into(),
        0x6969 => "nfs".into(),
        0xff53_4d42 | 0xfe53_4d42 => "cifs".into(),
        0x8584_58f6 => "ramfs".into(),
        0x9fa0 => "proc".into(),
        other => format!("0x{other:x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_believed_unless_the_path_really_ends_so() {
        assert_eq!(without_mark("/bin/ls", 1, || true), ("/bin/ls", false));
        assert_eq!(without_mark("/tmp/x (deleted)", 0, || true), ("/tmp/x", true));
        assert_eq!(without_mark("/tmp/x (deleted)", 1, || true), ("/tmp/x (deleted)", false));
        assert_eq!(without_mark("/tmp/x (deleted)", 1, || false), ("/tmp/x", true));
        assert_eq!(without_mark("/tmp/x (deleted) (deleted)", 0, || false), ("/tmp/x (deleted)", true));
    }
}
