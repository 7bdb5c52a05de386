//! The system calls that are decoded: their numbers, what is read of them, and which ATT&CK techniques they show.
//!
//! The one table: the rules of the kernel's programs, the enum of `proto/amoskys/v1/syscall.proto` and `docs/syscalls.md` come from
//! it, the last two by a test (`collectors/tests/syscalls.rs`). Numbers are those of Linux on x86-64 and aarch64.

use super::names::Names;
use amoskys_ebpf::Directory;

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syscall {
    pub name: &'static str,
    /// On x86-64.
    pub number_x86_64: u32,
    /// On aarch64, which has no calls that others do as well.
    pub number_aarch64: Option<u32>,
    pub fields: &'static [Field],
    /// ATT&CK techniques.
    pub techniques: &'static [&'static str],
    /// Whether it is looked at where the configuration does not say which are: those that are rare on a quiet host.
    pub is_usual: bool,
}

/// What a call's argument is, counted from 0, and so which field of the event it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Path(u8),
    OtherPath(u8),
    /// Of the program that is started.
    Argv,
    /// A socket's address and how long it is.
    Address(u8, u8),
    /// The address of whom the socket is connected to that the call returns.
    Peer,
    /// A `struct open_how` and how long it is: flags and mode.
    Opening(u8, u8),
    Fd(u8),
    Flags(u8, Names),
    Protection(u8),
    Command(u8, Names),
    Mode(u8),
    TargetPid(u8),
    Signal(u8),
    Size(u8),
    NewId(u8),
    StartAddress(u8),
    /// What memory was before the call, which says where it begins and how many bytes it is.
    MemoryBefore(u8, u8),
}

/// Of memory: only calls that make it executable are told, others are too many and show little.
pub const PROT_EXEC: u32 = 4;
/// And of new memory only what may be written as well, or has no file behind it: every program maps its libraries to be executed.
pub const PROT_WRITE: u32 = 2;
pub const MAP_ANONYMOUS: u32 = 0x20;

use Field::{
    Address, Argv, Command, Fd, Flags, MemoryBefore, Mode, NewId, Opening, OtherPath, Path, Peer, Protection, Signal,
    Size, StartAddress, TargetPid,
};

const fn call(
    name: &'static str,
    number_x86_64: u32,
    number_aarch64: Option<u32>,
    fields: &'static [Field],
    techniques: &'static [&'static str],
) -> Syscall {
    Syscall { name, number_x86_64, number_aarch64, fields, techniques, is_usual: true }
}

/// One that busy programs make all the time.
const fn frequent(of: Syscall) -> Syscall {
    Syscall { is_usual: false, ..of }
}

/// Never reordered: a call's place is its number in the enum, from 1.
pub const SYSCALLS: &[Syscall] = &[
    call("execve", 59, Some(221), &[Path(0), Argv], &["T1059", "T1204.002"]),
    call("execveat", 322, Some(281), &[Fd(0), Path(1), Argv, Flags(4, Names::At)], &["T1059", "T1620"]),
    frequent(call("open", 2, None, &[Path(0), Flags(1, Names::Open), Mode(2)], &["T1005", "T1003.008"])),
    frequent(call("openat", 257, Some(56), &[Path(1), Flags(2, Names::Open), Mode(3)], &["T1005", "T1003.008"])),
    frequent(call("openat2", 437, Some(437), &[Path(1), Opening(2, 3)], &["T1005", "T1003.008"])),
    frequent(call("creat", 85, None, &[Path(0), Mode(1)], &["T1105"])),
    call("connect", 42, Some(203), &[Fd(0), Address(1, 2)], &["T1071", "T1059.004"]),
    call("bind", 49, Some(200), &[Fd(0), Address(1, 2)], &["T1571"]),
    frequent(call("accept", 43, Some(202), &[Fd(0), Peer], &["T1571"])),
    frequent(call("accept4", 288, Some(242), &[Fd(0), Flags(3, Names::Socket), Peer], &["T1571"])),
    frequent(call("sendto", 44, Some(206), &[Fd(0), Size(2), Address(4, 5)], &["T1071.004", "T1048"])),
    call("ptrace", 101, Some(117), &[Command(0, Names::Ptrace), TargetPid(1), StartAddress(2)], &["T1055.008"]),
    call("process_vm_writev", 311, Some(271), &[TargetPid(0)], &["T1055.009"]),
    call(
        "mmap",
        9,
        Some(222),
        &[StartAddress(0), Size(1), Protection(2), Flags(3, Names::Mmap), Fd(4)],
        &["T1055", "T1620"],
    ),
    call("mprotect", 10, Some(226), &[StartAddress(0), Size(1), Protection(2), MemoryBefore(0, 1)], &["T1055"]),
    call("memfd_create", 319, Some(279), &[Path(0), Flags(1, Names::Memfd)], &["T1620"]),
    frequent(call("unlink", 87, None, &[Path(0)], &["T1070.004"])),
    frequent(call("unlinkat", 263, Some(35), &[Path(1), Flags(2, Names::At)], &["T1070.004"])),
    frequent(call("rename", 82, None, &[Path(0), OtherPath(1)], &["T1036"])),
    frequent(call("renameat", 264, Some(38), &[Path(1), OtherPath(3)], &["T1036"])),
    frequent(call("renameat2", 316, Some(276), &[Path(1), OtherPath(3), Flags(4, Names::Rename)], &["T1036"])),
    call("chmod", 90, None, &[Path(0), Mode(1)], &["T1222.002", "T1548.001"]),
    call("fchmod", 91, Some(52), &[Fd(0), Mode(1)], &["T1222.002", "T1548.001"]),
    call("fchmodat", 268, Some(53), &[Path(1), Mode(2)], &["T1222.002", "T1548.001"]),
    call("chown", 92, None, &[Path(0), NewId(1)], &["T1222.002"]),
    call("lchown", 94, None, &[Path(0), NewId(1)], &["T1222.002"]),
    call("fchown", 93, Some(55), &[Fd(0), NewId(1)], &["T1222.002"]),
    call("fchownat", 260, Some(54), &[Path(1), NewId(2), Flags(4, Names::At)], &["T1222.002"]),
    call("setuid", 105, Some(146), &[NewId(0)], &["T1548.001", "T1068"]),
    call("setgid", 106, Some(144), &[NewId(0)], &["T1548.001"]),
    call("setreuid", 113, Some(145), &[NewId(1)], &["T1548.001", "T1068"]),
    call("setregid", 114, Some(143), &[NewId(1)], &["T1548.001"]),
    call("setresuid", 117, Some(147), &[NewId(1)], &["T1548.001", "T1068"]),
    call("setresgid", 119, Some(149), &[NewId(1)], &["T1548.001"]),
    call("setfsuid", 122, Some(151), &[NewId(0)], &["T1548.001"]),
    call("setns", 308, Some(268), &[Fd(0), Flags(1, Names::Clone)], &["T1611"]),
    call("unshare", 272, Some(97), &[Flags(0, Names::Clone)], &["T1611"]),
    call("mount", 165, Some(40), &[Path(0), OtherPath(1), Flags(3, Names::Mount)], &["T1611", "T1564"]),
    call("init_module", 175, Some(105), &[Size(1), Path(2)], &["T1547.006", "T1014"]),
    call("finit_module", 313, Some(273), &[Fd(0), Path(1)], &["T1547.006", "T1014"]),
    call("bpf", 321, Some(280), &[Command(0, Names::Bpf), Size(2)], &["T1014", "T1205.002"]),
    call("kill", 62, Some(129), &[TargetPid(0), Signal(1)], &["T1489", "T1562.001"]),
    call("prctl", 157, Some(167), &[Command(0, Names::Prctl)], &["T1036.005", "T1562.001"]),
    call("io_uring_setup", 425, Some(425), &[Size(0)], &["T1562.001"]),
    call("pkey_mprotect", 329, Some(288), &[StartAddress(0), Size(1), Protection(2), MemoryBefore(0, 1)], &["T1055"]),
];

impl Syscall {
    /// What `path` is from where it is relative. `None`: it is no path of a file, or the call has none.
    pub fn directory(&self) -> Option<Directory> {
        let of = |field: &Field| match field {
            Path(0) => Some(Directory::Working),
            // Beside it, as in all calls whose names end with `at`.
            Path(1) => Some(Directory::Of(0)),
            _ => None,
        };
        let is_of_file = !matches!(self.name, "memfd_create" | "mount" | "init_module" | "finit_module");
        self.fields.iter().find_map(of).filter(|_| is_of_file)
    }

    /// The argument with the protection of memory.
    pub fn protection(&self) -> Option<u8> {
        self.fields.iter().find_map(|field| if let Field::Protection(place) = field { Some(*place) } else { None })
    }

    /// The argument with the flags of new memory.
    pub fn mapping_flags(&self) -> Option<u8> {
        let of = |field: &Field| if let Field::Flags(place, Names::Mmap) = field { Some(*place) } else { None };
        self.fields.iter().find_map(of)
    }

    /// On the machine that this is built for.
    pub fn number(&self) -> Option<u32> {
        if cfg!(target_arch = "aarch64") { self.number_aarch64 } else { Some(self.number_x86_64) }
    }

    /// With its number in the enum.
    pub fn of_number(number: u32) -> Option<(i32, &'static Self)> {
        (1..).zip(SYSCALLS).find(|(_, call)| call.number() == Some(number))
    }
}
