//! Names of bits and of commands, as the manual has them.
//!
//! Source: Linux' headers (`include/uapi`), those that are the same on x86-64 and aarch64, but for flags of open.
//! Deliberately not here: what is seldom seen; it is shown as a number.

use std::fmt::Write;

/// Which names an argument's value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    At,
    Bpf,
    Clone,
    Memfd,
    Mmap,
    Mount,
    Open,
    Prctl,
    Protection,
    Ptrace,
    Rename,
    Socket,
}

/// Differs between the machines.
const O_DIRECTORY: u64 = if cfg!(target_arch = "aarch64") { 0o40000 } else { 0o200_000 };
const O_NOFOLLOW: u64 = if cfg!(target_arch = "aarch64") { 0o100_000 } else { 0o400_000 };
const O_DIRECT: u64 = if cfg!(target_arch = "aarch64") { 0o200_000 } else { 0o40000 };

const OPEN: &[(u64, &str)] = &[
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o4_010_000, "O_SYNC"),
    (0o10000, "O_DSYNC"),
    (O_DIRECT, "O_DIRECT"),
    (O_DIRECTORY, "O_DIRECTORY"),
    (O_NOFOLLOW, "O_NOFOLLOW"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
    (0o20_000_000, "O_TMPFILE"),
];
const AT: &[(u64, &str)] = &[(0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_REMOVEDIR"), (0x1000, "AT_EMPTY_PATH")];
const SOCKET: &[(u64, &str)] = &[(0o4000, "SOCK_NONBLOCK"), (0o2_000_000, "SOCK_CLOEXEC")];
const MEMFD: &[(u64, &str)] =
    &[(1, "MFD_CLOEXEC"), (2, "MFD_ALLOW_SEALING"), (4, "MFD_HUGETLB"), (8, "MFD_NOEXEC_SEAL"), (16, "MFD_EXEC")];
const PROTECTION: &[(u64, &str)] = &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")];
const MMAP: &[(u64, &str)] = &[
    (0x01, "MAP_SHARED"),
    (0x02, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x100, "MAP_GROWSDOWN"),
    (0x800, "MAP_DENYWRITE"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x20000, "MAP_STACK"),
    (0x40000, "MAP_HUGETLB"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];
const RENAME: &[(u64, &str)] = &[(1, "RENAME_NOREPLACE"), (2, "RENAME_EXCHANGE"), (4, "RENAME_WHITEOUT")];
const CLONE: &[(u64, &str)] = &[
    (0x80, "CLONE_NEWTIME"),
    (0x100, "CLONE_VM"),
    (0x200, "CLONE_FS"),
    (0x400, "CLONE_FILES"),
    (0x20000, "CLONE_NEWNS"),
    (0x40000, "CLONE_SYSVSEM"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];
const MOUNT: &[(u64, &str)] = &[
    (1, "MS_RDONLY"),
    (2, "MS_NOSUID"),
    (4, "MS_NODEV"),
    (8, "MS_NOEXEC"),
    (32, "MS_REMOUNT"),
    (4096, "MS_BIND"),
    (8192, "MS_MOVE"),
    (16384, "MS_REC"),
    (1 << 17, "MS_UNBINDABLE"),
    (1 << 18, "MS_PRIVATE"),
    (1 << 19, "MS_SLAVE"),
    (1 << 20, "MS_SHARED"),
];
const PTRACE: &[(u64, &str)] = &[
    (0, "PTRACE_TRACEME"),
    (1, "PTRACE_PEEKTEXT"),
    (2, "PTRACE_PEEKDATA"),
    (3, "PTRACE_PEEKUSER"),
    (4, "PTRACE_POKETEXT"),
    (5, "PTRACE_POKEDATA"),
    (6, "PTRACE_POKEUSER"),
    (7, "PTRACE_CONT"),
    (8, "PTRACE_KILL"),
    (9, "PTRACE_SINGLESTEP"),
    (12, "PTRACE_GETREGS"),
    (13, "PTRACE_SETREGS"),
    (16, "PTRACE_ATTACH"),
    (17, "PTRACE_DETACH"),
    (24, "PTRACE_SYSCALL"),
    (0x4200, "PTRACE_SETOPTIONS"),
    (0x4204, "PTRACE_GETREGSET"),
    (0x4205, "PTRACE_SETREGSET"),
    (0x4206, "PTRACE_SEIZE"),
    (0x4207, "PTRACE_INTERRUPT"),
    (0x4208, "PTRACE_LISTEN"),
];
const PRCTL: &[(u64, &str)] = &[
    (1, "PR_SET_PDEATHSIG"),
    (3, "PR_GET_DUMPABLE"),
    (4, "PR_SET_DUMPABLE"),
    (8, "PR_SET_KEEPCAPS"),
    (15, "PR_SET_NAME"),
    (16, "PR_GET_NAME"),
    (22, "PR_SET_SECCOMP"),
    (23, "PR_CAPBSET_READ"),
    (24, "PR_CAPBSET_DROP"),
    (35, "PR_SET_MM"),
    (36, "PR_SET_CHILD_SUBREAPER"),
    (38, "PR_SET_NO_NEW_PRIVS"),
    (47, "PR_CAP_AMBIENT"),
    (0x5961_6d61, "PR_SET_PTRACER"),
    (0x5356_4d41, "PR_SET_VMA"),
];
const BPF: &[(u64, &str)] = &[
    (0, "BPF_MAP_CREATE"),
    (1, "BPF_MAP_LOOKUP_ELEM"),
    (2, "BPF_MAP_UPDATE_ELEM"),
    (3, "BPF_MAP_DELETE_ELEM"),
    (4, "BPF_MAP_GET_NEXT_KEY"),
    (5, "BPF_PROG_LOAD"),
    (6, "BPF_OBJ_PIN"),
    (7, "BPF_OBJ_GET"),
    (8, "BPF_PROG_ATTACH"),
    (9, "BPF_PROG_DETACH"),
    (10, "BPF_PROG_TEST_RUN"),
    (15, "BPF_OBJ_GET_INFO_BY_FD"),
    (17, "BPF_RAW_TRACEPOINT_OPEN"),
    (18, "BPF_BTF_LOAD"),
    (28, "BPF_LINK_CREATE"),
];

impl Names {
    /// Bits joined by `|`, or the one name; what has none is a number.
    pub fn of(self, value: u64) -> String {
        match self {
            Self::Open => {
                let access = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][(value & 3) as usize];
                bits(OPEN, value & !3, access)
            }
            Self::Protection if value == 0 => "PROT_NONE".to_owned(),
            Self::Ptrace | Self::Prctl | Self::Bpf => {
                let name = self.list().iter().find(|(known, _)| *known == value).map(|(_, name)| (*name).to_owned());
                name.unwrap_or_else(|| value.to_string())
            }
            _ => bits(self.list(), value, ""),
        }
    }

    fn list(self) -> &'static [(u64, &'static str)] {
        match self {
            Self::At => AT,
            Self::Bpf => BPF,
            Self::Clone => CLONE,
            Self::Memfd => MEMFD,
            Self::Mmap => MMAP,
            Self::Mount => MOUNT,
            Self::Open => OPEN,
            Self::Prctl => PRCTL,
            Self::Protection => PROTECTION,
            Self::Ptrace => PTRACE,
            Self::Rename => RENAME,
            Self::Socket => SOCKET,
        }
    }
}

/// Behind `first`, where there is one. A name of several bits comes before those of some of them.
fn bits(names: &[(u64, &str)], value: u64, first: &str) -> String {
    let (mut text, mut left) = (first.to_owned(), value);
    let mut put = |name: std::fmt::Arguments<'_>| {
        let bar = if text.is_empty() { "" } else { "|" };
        // A string grows as needed.
        let _ = write!(text, "{bar}{name}");
    };
    for (of, name) in names {
        if *of != 0 && left & of == *of {
            left &= !of;
            put(format_args!("{name}"));
        }
    }
    if left != 0 {
        put(format_args!("{left:#x}"));
    }
    text
}

/// Of the errors that calls return, by number.
pub fn error(number: i64) -> String {
    const ERRORS: [&str; 41] = [
        "",
        "EPERM",
        "ENOENT",
        "ESRCH",
        "EINTR",
        "EIO",
        "ENXIO",
        "E2BIG",
        "ENOEXEC",
        "EBADF",
        "ECHILD",
        "EAGAIN",
        "ENOMEM",
        "EACCES",
        "EFAULT",
        "ENOTBLK",
        "EBUSY",
        "EEXIST",
        "EXDEV",
        "ENODEV",
        "ENOTDIR",
        "EISDIR",
        "EINVAL",
        "ENFILE",
        "EMFILE",
        "ENOTTY",
        "ETXTBSY",
        "EFBIG",
        "ENOSPC",
        "ESPIPE",
        "EROFS",
        "EMLINK",
        "EPIPE",
        "EDOM",
        "ERANGE",
        "EDEADLK",
        "ENAMETOOLONG",
        "ENOLCK",
        "ENOSYS",
        "ENOTEMPTY",
        "ELOOP",
    ];
    const OTHERS: [(usize, &str); 17] = [
        (88, "ENOTSOCK"),
        (95, "EOPNOTSUPP"),
        (97, "EAFNOSUPPORT"),
        (98, "EADDRINUSE"),
        (99, "EADDRNOTAVAIL"),
        (101, "ENETUNREACH"),
        (103, "ECONNABORTED"),
        (104, "ECONNRESET"),
        (106, "EISCONN"),
        (107, "ENOTCONN"),
        (110, "ETIMEDOUT"),
        (111, "ECONNREFUSED"),
        (113, "EHOSTUNREACH"),
        (114, "EALREADY"),
        (115, "EINPROGRESS"),
        (126, "ENOKEY"),
        (129, "EKEYREJECTED"),
    ];
    let number = usize::try_from(number).unwrap_or_default();
    let other = || OTHERS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    match ERRORS.get(number).copied().or_else(other) {
        Some(name) => name.to_owned(),
        None => format!("E{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_commands_have_their_names() {
        for (names, value, expected) in [
            (Names::Open, 0, "O_RDONLY"),
            (Names::Open, 0o2_001_102, "O_RDWR|O_CREAT|O_TRUNC|O_CLOEXEC"),
            (Names::Open, 0o4_010_001, "O_WRONLY|O_SYNC"),
            (Names::Protection, 0, "PROT_NONE"),
            (Names::Protection, 7, "PROT_READ|PROT_WRITE|PROT_EXEC"),
            (Names::Mmap, 0x22, "MAP_PRIVATE|MAP_ANONYMOUS"),
            (Names::Clone, 0x1002_0000, "CLONE_NEWNS|CLONE_NEWUSER"),
            (Names::Rename, 0, ""),
            (Names::At, 1 << 40, "0x10000000000"),
            (Names::Ptrace, 16, "PTRACE_ATTACH"),
            (Names::Prctl, 99, "99"),
        ] {
            assert_eq!(names.of(value), expected, "{names:?} {value:#x}");
        }
        assert_eq!([error(2), error(40), error(111), error(133)], ["ENOENT", "ELOOP", "ECONNREFUSED", "E133"]);
    }
}
