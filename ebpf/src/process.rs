//! A start, a program or an end of a process as it comes through the ring.

/// Before the texts; the layout of `struct event` in `bpf/processes.bpf.c`.
const HEADER_BYTES: usize = 188;
const KERNEL_THREAD: u8 = 1;
const EXE: PathBits = PathBits { deleted: 2, cut: 4, unreadable: 1 };
const CWD: PathBits = PathBits { deleted: 16, cut: 8, unreadable: 2 };
const NO_CMDLINE: u8 = 4;

/// Of arguments together, with their zeros; what is longer is cut there.
pub const CMDLINE_BYTES_MAX: usize = 16_384;
/// Descriptors of which it is looked at whether they are sockets: those with the lowest numbers.
pub const DESCRIPTORS_MAX: u32 = 256;

struct PathBits {
    deleted: u8,
    cut: u8,
    unreadable: u8,
}

/// What happened to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessChange {
    /// It is there, as a copy of its parent.
    Fork,
    /// It replaced its program.
    Exec,
    /// Its last thread ended.
    Exit,
}

/// A process at that moment. Texts are bytes: the kernel does not ask what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawProcess<'a> {
    pub change: ProcessChange,
    /// Nanoseconds since boot, time asleep included.
    pub at_ns: u64,
    /// When the process began, on the same clock: with the pid it names one process of a boot.
    pub started_ns: u64,
    pub pid: u32,
    pub parent_pid: u32,
    pub session: u32,
    /// Device number of the controlling terminal, as `/proc` shows it; 0 for none.
    pub terminal: u32,
    pub threads: u32,
    pub is_kernel_thread: bool,
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    /// `u32::MAX`: nobody logged in.
    pub login_uid: u32,
    /// User and system time by the scheduler's ticks, and how long it ran: of a short life the ticks have nothing.
    pub user_ns: u64,
    pub system_ns: u64,
    pub ran_ns: u64,
    /// A wait status; of an end.
    pub exit_code: i32,
    /// Of the process's first thread.
    pub comm: &'a [u8],
    /// Of a new program.
    pub program: Option<RawProgram<'a>>,
}

/// What a process runs from now on, and what it has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawProgram<'a> {
    /// Absent where they could not be read.
    pub exe: Option<RawPath<'a>>,
    pub cwd: Option<RawPath<'a>>,
    /// Arguments, each ended by a zero, cut at so many bytes as were asked for.
    pub cmdline: Option<&'a [u8]>,
    /// Of the executable: the device in the kernel's numbers, the file on it, what kind of file system that is.
    pub device: u32,
    pub inode: u64,
    pub fs_type: &'a [u8],
    /// The executable's length, permissions, links, and last change since 1970.
    pub file_bytes: u64,
    pub mode: u32,
    pub links: u32,
    pub changed_ns: i128,
    /// Of all its control groups together, so long as the host is up; not the number of any of them.
    pub cgroups_key: u64,
    pub open_files: u32,
    pub sockets: u32,
}

/// A path up to the root of all mounts that its process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawPath<'a> {
    /// Names, the last first, each ended by a zero.
    names: &'a [u8],
    pub is_deleted: bool,
    /// It has more than 64 names or 4,096 bytes; then the first ones are missing.
    pub is_cut: bool,
}

impl<'a> RawPath<'a> {
    /// One that is there, of names as the kernel tells them.
    pub(crate) fn whole(names: &'a [u8]) -> Self {
        Self { names, is_deleted: false, is_cut: false }
    }

    /// `/a/b/c`; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.names.len() + 1);
        let names = self.names.strip_suffix(b"\0").unwrap_or(self.names);
        for name in names.rsplit(|byte| *byte == 0) {
            text.push('/');
            text.push_str(&String::from_utf8_lossy(name));
        }
        text
    }
}

impl<'a> RawProcess<'a> {
    /// What [`Processes::poll`](crate::Processes::poll) handed over. `None`: it is none of ours, which does not happen.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, data) = bytes.split_at_checked(HEADER_BYTES)?;
        let u64_at = |at: usize| u64::from_ne_bytes(header[at..at + 8].try_into().unwrap_or_default());
        let u32_at = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap_or_default());
        let u16_at = |at: usize| usize::from(u16::from_ne_bytes(header[at..at + 2].try_into().unwrap_or_default()));
        let name = |at: usize| {
            let name = &header[at..at + 16];
            &name[..name.iter().position(|byte| *byte == 0).unwrap_or(name.len())]
        };
        let (flags, unreadable) = (header[179], header[180]);
        let change = match header[178] {
            0 => ProcessChange::Fork,
            1 => ProcessChange::Exec,
            _ => ProcessChange::Exit,
        };
        let program = || {
            let (exe, rest) = data.split_at_checked(u16_at(172))?;
            let (cwd, rest) = rest.split_at_checked(u16_at(174))?;
            let cmdline = rest.get(..u16_at(176))?;
            let path = |names, bits: &PathBits| {
                let is = |bit: u8| flags & bit != 0;
                let path = RawPath { names, is_deleted: is(bits.deleted), is_cut: is(bits.cut) };
                (unreadable & bits.unreadable == 0).then_some(path)
            };
            Some(RawProgram {
                exe: path(exe, &EXE),
                cwd: path(cwd, &CWD),
                cmdline: (unreadable & NO_CMDLINE == 0).then_some(cmdline),
                device: u32_at(76),
                inode: u64_at(16),
                fs_type: name(156),
                file_bytes: u64_at(24),
                mode: u32_at(80),
                links: u32_at(84),
                changed_ns: i128::from(u64_at(32).cast_signed()) * 1_000_000_000 + i128::from(u32_at(72)),
                cgroups_key: u64_at(40),
                open_files: u32_at(132),
                sockets: u32_at(136),
            })
        };
        Some(Self {
            change,
            at_ns: u64_at(0),
            started_ns: u64_at(8),
            pid: u32_at(88),
            parent_pid: u32_at(92),
            session: u32_at(96),
            terminal: u32_at(100),
            threads: u32_at(104),
            is_kernel_thread: flags & KERNEL_THREAD != 0,
            uid: u32_at(108),
            gid: u32_at(112),
            euid: u32_at(116),
            egid: u32_at(120),
            login_uid: u32_at(124),
            user_ns: u64_at(48),
            system_ns: u64_at(56),
            ran_ns: u64_at(64),
            exit_code: u32_at(128).cast_signed(),
            comm: name(140),
            program: if change == ProcessChange::Exec { Some(program()?) } else { None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_their_root() {
        let text = |names| RawPath { names, is_deleted: false, is_cut: false }.text();
        assert_eq!(text(b"sleep\0bin\0usr\0"), "/usr/bin/sleep");
        assert_eq!(text(b"memfd:x\0"), "/memfd:x");
        assert_eq!(text(b""), "/");
        assert_eq!(text(b"b\xff\0a\0"), "/a/b\u{fffd}");
    }

    #[test]
    fn what_is_too_short_is_none() {
        assert_eq!(RawProcess::parse(&[0; HEADER_BYTES - 1]), None);
        let mut exec = [0; HEADER_BYTES];
        exec[178] = 1;
        assert!(RawProcess::parse(&exec).is_some());
        exec[174] = 1;
        assert_eq!(RawProcess::parse(&exec), None);
    }
}
