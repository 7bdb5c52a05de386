//! System calls: which are possible, and which are refused.
//!
//! Two filters, of which the stricter counts. The first lets through what is listed, and everything else is as in a kernel that has no such call
//! (ENOSYS): that is what the C library is prepared for, which tries newer calls first. The second refuses (EPERM) what an attacker would want of
//! those that are listed, by their arguments, and calls that the first has not either, so that they are told apart.
//! Limits: a filter sees numbers and not what pointers point to.

use super::Needs;
use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error,
    SeccompAction::{Allow, Errno},
    SeccompCmpArgLen::{Dword, Qword},
    SeccompCmpOp::{self, Eq, Gt, MaskedEq, Ne},
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Files, memory, time, threads, and connections.
const POSSIBLE: &[c_long] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_getcwd,
    libc::SYS_umask,
    libc::SYS_ioctl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // Waiting.
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Connections.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads and signals.
    libc::SYS_clone,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getcpu,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_kill,
    // Who and what this is.
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    // Maps of programs in the kernel; and the second filter.
    libc::SYS_bpf,
    libc::SYS_seccomp,
];

/// Names that later machines have not, or have by other numbers.
#[cfg(target_arch = "x86_64")]
const POSSIBLE_BY_OLD_NAMES: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_sync_file_range,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_arch_prctl,
];
/// `renameat`, by which glibc renames there, and `sync_file_range`: the library has no names for them.
#[cfg(not(target_arch = "x86_64"))]
const POSSIBLE_BY_OLD_NAMES: &[c_long] = &[38, 84];

/// Whatever their arguments are.
const REFUSED: &[c_long] = &[
    // Other programs, and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_memfd_create,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_kcmp,
    // What files and the system are.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_mknodat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_fanotify_init,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_seccomp,
    libc::SYS_personality,
    libc::SYS_pkey_mprotect,
    libc::SYS_shmat,
    // Who this is.
    libc::SYS_capset,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_setsid,
    libc::SYS_setpgid,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_BY_OLD_NAMES: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_mknod,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_uselib,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_BY_OLD_NAMES: &[c_long] = &[];

const FAMILY_INET: u64 = libc::AF_INET as u64;
const FAMILY_INET6: u64 = libc::AF_INET6 as u64;
const FAMILY_NETLINK: u64 = libc::AF_NETLINK as u64;
/// The C library asks for the host's addresses before it looks up a name.
const NETLINK_ROUTE: u64 = libc::NETLINK_ROUTE as u64;
const NETLINK_AUDIT: u64 = libc::NETLINK_AUDIT as u64;
/// Looking up, changing, removing, and the next key: of maps that are open.
const BPF_MAP_COMMAND_MAX: u64 = 4;
/// All that makes a namespace, in `clone`.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// Names of threads and of memory, and questions.
const PRCTL: [libc::c_int; 7] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    // The second filter asks for it again.
    libc::PR_SET_NO_NEW_PRIVS,
];
/// Puts letters into a terminal's input, as if they were typed; and a terminal's driver.
const IOCTL: [u64; 3] = [0x5412, 0x541C, 0x5423];

/// From here on for all threads; sets `no_new_privs`, which it takes.
pub fn restrict(needs: &Needs) -> Result<(), Error> {
    let own_pid = u64::from(std::process::id());
    let always = |calls: &[&[c_long]]| -> Rules { calls.concat().into_iter().map(|call| (call, Vec::new())).collect() };
    let possible = program(always(&[POSSIBLE, POSSIBLE_BY_OLD_NAMES]), Errno(libc::ENOSYS as u32), Allow)?;
    let mut refused = always(&[REFUSED, REFUSED_BY_OLD_NAMES]);
    refused.extend(by_arguments(needs, own_pid)?);
    let refused = program(refused, Allow, Errno(libc::EPERM as u32))?;
    seccompiler::apply_filter_all_threads(&possible)?;
    seccompiler::apply_filter_all_threads(&refused)
}

fn program(
    rules: Rules,
    otherwise: seccompiler::SeccompAction,
    listed: seccompiler::SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let machine: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, listed, machine)?.try_into()
}

/// Calls that are refused for what they are asked.
fn by_arguments(needs: &Needs, own_pid: u64) -> Result<Rules, BackendError> {
    let int = |argument, is: SeccompCmpOp, value: u64| SeccompCondition::new(argument, Dword, is, value);
    let long = |argument, is: SeccompCmpOp, value: u64| SeccompCondition::new(argument, Qword, is, value);
    let bits = |argument, mask: u64, value: u64| long(argument, MaskedEq(mask), value);
    let one = |condition: Result<SeccompCondition, BackendError>| SeccompRule::new(vec![condition?]);
    let all = |conditions: Vec<Result<SeccompCondition, BackendError>>| {
        SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
    };

    // Not AF_UNIX either: behind such sockets are those who start programs for root.
    let families = [FAMILY_INET, FAMILY_INET6, FAMILY_NETLINK].map(|family| int(0, Ne, family));
    let mut netlink = vec![int(0, Eq, FAMILY_NETLINK), int(2, Ne, NETLINK_ROUTE)];
    netlink.extend(needs.audit.then(|| int(2, Ne, NETLINK_AUDIT)));
    let bpf = if needs.ebpf { vec![one(int(0, Gt, BPF_MAP_COMMAND_MAX))?, one(int(0, Eq, 0))?] } else { Vec::new() };
    let (thread, executable) = (libc::CLONE_THREAD as u64, libc::PROT_EXEC as u64);
    let writable = libc::PROT_WRITE as u64;
    let mut clone = vec![one(bits(0, thread, 0))?];
    for namespace in NAMESPACES {
        let bit = u64::from(namespace.cast_unsigned());
        clone.push(one(bits(0, bit, bit))?);
    }
    let prctl = PRCTL.map(|option| int(0, Ne, u64::from(option.cast_unsigned())));
    let ioctl = IOCTL.into_iter().map(|request| one(int(1, Eq, request))).collect::<Result<_, _>>()?;
    Ok(BTreeMap::from([
        (libc::SYS_socket, vec![all(families.into())?, all(netlink)?]),
        (libc::SYS_bpf, bpf),
        (libc::SYS_clone, clone),
        // Memory is never writable and executable, nor made executable.
        (libc::SYS_mmap, vec![one(bits(2, writable | executable, writable | executable))?]),
        (libc::SYS_mprotect, vec![one(bits(2, executable, executable))?]),
        (libc::SYS_prctl, vec![all(prctl.into())?]),
        (libc::SYS_prlimit64, vec![one(long(2, Ne, 0))?]),
        (libc::SYS_ioctl, ioctl),
        // Of this process only.
        (libc::SYS_setpriority, vec![one(int(0, Ne, 0))?, one(int(1, Ne, 0))?]),
        (libc::SYS_sched_setaffinity, vec![all(vec![int(0, Ne, 0), int(0, Ne, own_pid)])?]),
        (libc::SYS_kill, vec![one(int(0, Ne, own_pid))?]),
        (libc::SYS_tgkill, vec![one(int(0, Ne, own_pid))?]),
    ]))
}
