//! A call as it comes through the ring.

use crate::RawPath;

/// Before the texts; the layout of `struct event` in `bpf/syscalls.bpf.c`.
const HEADER_BYTES: usize = 162;

/// Of a string, without its zero; what is longer is cut there. As in `bpf/syscalls.bpf.c`.
pub const STRING_BYTES_MAX: usize = 4095;
/// Of all arguments of a program together, with their zeros; what is longer is cut there.
pub const ARGV_BYTES_MAX: usize = 4096;

/// A call that has returned. Texts are bytes: the kernel does not ask what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawCall<'a> {
    /// Nanoseconds since boot, time asleep included.
    pub entered_ns: u64,
    pub duration_ns: u64,
    pub arguments: [u64; 6],
    /// Below 0: the error's number, negated.
    pub result: i64,
    pub cgroup_id: u64,
    /// When the process began, nanoseconds since boot: with the pid it names one process of a boot.
    pub process_started_ns: u64,
    pub number: u32,
    pub pid: u32,
    pub tid: u32,
    pub parent_pid: u32,
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    /// Of the thread.
    pub comm: &'a [u8],
    /// Of its process's first one. Empty where it is not known.
    pub process_comm: &'a [u8],
    /// `None`: not asked for, or not readable.
    pub first: Option<&'a [u8]>,
    pub second: Option<&'a [u8]>,
    /// Arguments of a program that was started, each ended by a zero.
    pub argv: Option<&'a [u8]>,
    pub address: Option<&'a [u8]>,
    /// What memory was before the call. `None`: not asked for, or not known.
    pub memory: Option<MemoryBefore>,
    /// What `first` is a path from. `None`: not asked for, it is absolute, or that directory is gone or too deep.
    pub directory: Option<RawPath<'a>>,
    /// The first string, the second, the address or argv.
    pub unreadable: [bool; 3],
}

/// What memory was, all of its areas together; of the first eight areas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryBefore {
    /// `PROT_READ`, `PROT_WRITE` and `PROT_EXEC`.
    pub protection: u8,
    /// It had pages of its own, as private memory has once it is written.
    pub written: bool,
}

/// Bits of `told`, as in `bpf/syscalls.bpf.c`.
const IS_ARGV: u8 = 1;
const MEMORY_KNOWN: u8 = 2;
const MEMORY_WRITTEN: u8 = 4;
const MEMORY_FOR_SHIFT: u32 = 3;
const MEMORY_FOR: u8 = 7;
const DIRECTORY_KNOWN: u8 = 64;

impl<'a> RawCall<'a> {
    /// `None`: it is none of ours, which does not happen.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, data) = bytes.split_at_checked(HEADER_BYTES)?;
        let u64_at = |at: usize| u64::from_ne_bytes(header[at..at + 8].try_into().unwrap_or_default());
        let u32_at = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap_or_default());
        let u16_at = |at: usize| usize::from(u16::from_ne_bytes(header[at..at + 2].try_into().unwrap_or_default()));
        let [first, second, third, directory] = [152, 154, 156, 160].map(u16_at);
        let (unreadable, told) = (header[158], header[159]);
        let (is_argv, is_known) = (told & IS_ARGV != 0, told & MEMORY_KNOWN != 0);
        let protection = told >> MEMORY_FOR_SHIFT & MEMORY_FOR;
        let memory = MemoryBefore { protection, written: told & MEMORY_WRITTEN != 0 };
        let (first, rest) = data.split_at_checked(first)?;
        let (second, rest) = rest.split_at_checked(second)?;
        let (third, rest) = rest.split_at_checked(third)?;
        let directory = RawPath::whole(rest.get(..directory)?);
        let there = |bytes: &'a [u8]| (!bytes.is_empty()).then_some(bytes);
        let text = |bytes: &'a [u8]| there(bytes).map(|bytes| bytes.strip_suffix(b"\0").unwrap_or(bytes));
        let name = |at: usize| {
            let name = &header[at..at + 16];
            &name[..name.iter().position(|byte| *byte == 0).unwrap_or(name.len())]
        };
        Some(Self {
            entered_ns: u64_at(0),
            duration_ns: u64_at(8),
            arguments: [16, 24, 32, 40, 48, 56].map(u64_at),
            result: u64_at(64).cast_signed(),
            cgroup_id: u64_at(72),
            process_started_ns: u64_at(80),
            number: u32_at(88),
            pid: u32_at(92),
            tid: u32_at(96),
            parent_pid: u32_at(100),
            uid: u32_at(104),
            gid: u32_at(108),
            euid: u32_at(112),
            egid: u32_at(116),
            comm: name(120),
            process_comm: name(136),
            first: text(first),
            second: text(second),
            argv: if is_argv { there(third) } else { None },
            address: if is_argv { None } else { there(third) },
            memory: is_known.then_some(memory),
            directory: (told & DIRECTORY_KNOWN != 0).then_some(directory),
            unreadable: [1, 2, 4].map(|bit| unreadable & bit != 0),
        })
    }
}
