//! What a confined process can still do and what it cannot, asked of the real kernel: a child is forked, confines itself as an agent does, tries,
//! and tells. Its end is a program that it may not start. Needs root.

use amoskys_collectors::confine::{Needs, confine};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{self, SocketAddrNetlink},
        recv, sendto, socket_with,
    },
};
use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::{
        fd::FromRawFd,
        unix::{
            fs::{PermissionsExt, chown},
            process::CommandExt,
        },
    },
    process::Command,
};

const EBPF: Needs = Needs { ebpf: true, audit: false, nice: 0 };
const PLAIN: Needs = Needs { ebpf: false, audit: false, nice: 0 };
const NOBODY: u32 = 65_534;
/// As the kernel has it, in the first argument of `bpf`.
const MAP_CREATE: i64 = 0;
const MAP_LOOKUP: i64 = 1;
const PROG_LOAD: i64 = 5;

/// What `body` tells in a forked child, by name; and how starting a program ended there.
#[allow(unsafe_code)]
fn in_child(
    body: impl Fn(&mut dyn FnMut(&str, String)) + Send + Sync + 'static,
) -> (BTreeMap<String, String>, io::Error) {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both were opened just now and belong to nobody else.
    let (mut read, write) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
    let mut command = Command::new("/bin/true");
    let told = write.try_clone().expect("a descriptor");
    // SAFETY: the C library's allocator is usable after fork, and no lock of this process is asked for.
    unsafe {
        command.pre_exec(move || {
            body(&mut |name, text| writeln!(&told, "{name}\t{text}").expect("told"));
            Ok(())
        });
    }
    let error = command.spawn().map(|mut child| drop(child.wait())).expect_err("a program was started");
    drop((write, command));
    let mut text = String::new();
    read.read_to_string(&mut text).expect("text");
    let line = |line: &str| line.split_once('\t').map(|(name, text)| (name.to_owned(), text.to_owned()));
    (text.lines().filter_map(line).collect(), error)
}

/// A call by its number, and how it ended: "0", or the error's name.
#[allow(unsafe_code)]
fn call(number: i64, arguments: [i64; 6]) -> String {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: no argument is a pointer to memory of this process, but for those that the kernel only reads.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 {
        return "done".to_owned();
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::ENOSYS) => "ENOSYS".to_owned(),
        Some(libc::EACCES) => "EACCES".to_owned(),
        other => format!("error {}", other.unwrap_or_default()),
    }
}

fn status_of(thread: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/status")).expect("it is there");
    text.lines().filter_map(|line| line.split_once(":\t")).map(|(key, value)| (key.into(), value.into())).collect()
}

#[test]
fn what_an_attacker_would_want_is_refused() {
    let parent = i64::from(std::process::id());
    let (told, error) = in_child(move |tell| {
        let confinement = confine(&EBPF).expect("it may be confined");
        tell("kept", confinement.kept.join(" "));
        let own = i64::from(std::process::id());
        let [family_unix, inet, netlink, packet, alg] =
            [libc::AF_UNIX, libc::AF_INET, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_ALG].map(i64::from);
        let stream = i64::from(libc::SOCK_STREAM);
        let [write, exec, private] =
            [libc::PROT_WRITE, libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS].map(i64::from);
        let namespaces = i64::from(libc::CLONE_NEWUSER | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM);
        let path = c"/bin/true".as_ptr() as i64;
        let calls: &[(&str, i64, &[i64])] = &[
            ("refused execve", libc::SYS_execve, &[path, 0, 0]),
            ("refused execveat", libc::SYS_execveat, &[-100, path, 0, 0, 0]),
            ("refused ptrace", libc::SYS_ptrace, &[i64::from(libc::PTRACE_SEIZE), parent, 0, 0]),
            ("refused process_vm_writev", libc::SYS_process_vm_writev, &[parent, 0, 0, 0, 0, 0]),
            ("refused process_vm_readv", libc::SYS_process_vm_readv, &[parent, 0, 0, 0, 0, 0]),
            ("refused pidfd_getfd", libc::SYS_pidfd_getfd, &[0, 0, 0]),
            ("refused mount", libc::SYS_mount, &[0, 0, 0, 0, 0]),
            ("refused umount2", libc::SYS_umount2, &[0, 0]),
            ("refused setns", libc::SYS_setns, &[0, 0]),
            ("refused unshare", libc::SYS_unshare, &[i64::from(libc::CLONE_NEWNS)]),
            ("refused init_module", libc::SYS_init_module, &[0, 0, 0]),
            ("refused finit_module", libc::SYS_finit_module, &[0, 0, 0]),
            ("refused kexec_load", libc::SYS_kexec_load, &[0, 0, 0, 0]),
            ("refused keyctl", libc::SYS_keyctl, &[0, 0, 0, 0, 0]),
            ("refused memfd_create", libc::SYS_memfd_create, &[path, 0]),
            ("refused io_uring_setup", libc::SYS_io_uring_setup, &[1, 0]),
            ("refused perf_event_open", libc::SYS_perf_event_open, &[0, 0, 0, 0, 0]),
            ("refused seccomp", libc::SYS_seccomp, &[0, 0, 0]),
            ("refused capset", libc::SYS_capset, &[0, 0]),
            ("refused setresuid", libc::SYS_setresuid, &[0, 0, 0]),
            ("refused fchmodat", libc::SYS_fchmodat, &[-100, path, 0o4755]),
            ("refused clone of a process", libc::SYS_clone, &[i64::from(libc::SIGCHLD), 0, 0, 0, 0]),
            ("refused clone into a namespace", libc::SYS_clone, &[namespaces, 0, 0, 0, 0]),
            ("refused socket of unix", libc::SYS_socket, &[family_unix, stream, 0]),
            ("refused socket of packets", libc::SYS_socket, &[packet, stream, 0]),
            ("refused socket of the kernel's ciphers", libc::SYS_socket, &[alg, i64::from(libc::SOCK_SEQPACKET), 0]),
            (
                "refused socket of the connector",
                libc::SYS_socket,
                &[netlink, stream, i64::from(libc::NETLINK_CONNECTOR)],
            ),
            (
                "refused socket of audit",
                libc::SYS_socket,
                &[netlink, i64::from(libc::SOCK_RAW), i64::from(libc::NETLINK_AUDIT)],
            ),
            ("refused bpf of a new map", libc::SYS_bpf, &[MAP_CREATE, 0, 0]),
            ("refused bpf of a new program", libc::SYS_bpf, &[PROG_LOAD, 0, 0]),
            ("refused mmap to write and execute", libc::SYS_mmap, &[0, 4096, write | exec, private, -1, 0]),
            ("refused mprotect to execute", libc::SYS_mprotect, &[0, 4096, exec]),
            ("refused prctl of dumps", libc::SYS_prctl, &[i64::from(libc::PR_SET_DUMPABLE), 1, 0, 0, 0]),
            ("refused kill of others", libc::SYS_kill, &[parent, 0]),
            ("refused tgkill of others", libc::SYS_tgkill, &[parent, parent, 0]),
            ("refused setrlimit", libc::SYS_prlimit64, &[0, 0, path, 0]),
            ("refused setpriority of others", libc::SYS_setpriority, &[0, parent, 0]),
            ("refused ioctl of terminals", libc::SYS_ioctl, &[0, 0x5412, path]),
            // As if the kernel had no such call, so that who asks goes on with an older one.
            ("absent clone3", libc::SYS_clone3, &[0, 0]),
            ("absent call of later kernels", 9_999, &[]),
            ("absent execve by the numbers of x32", 0x4000_0000 + 520, &[path, 0, 0]),
            ("done kill of itself", libc::SYS_kill, &[own, 0]),
            ("done socket of internet", libc::SYS_socket, &[inet, stream, 0]),
            ("done socket of addresses", libc::SYS_socket, &[netlink, i64::from(libc::SOCK_RAW), 0]),
            ("done mmap to write", libc::SYS_mmap, &[0, 4096, write, private, -1, 0]),
            ("done mmap to execute", libc::SYS_mmap, &[0, 4096, exec, private, -1, 0]),
            ("other bpf of a map that is open", libc::SYS_bpf, &[MAP_LOOKUP, 0, 0]),
        ];
        for (name, number, arguments) in calls {
            let mut six = [0; 6];
            six[..arguments.len()].copy_from_slice(arguments);
            tell(name, call(*number, six));
        }
    });
    assert_eq!(error.raw_os_error(), Some(libc::EPERM), "starting a program: {error}");
    assert_eq!(told["kept"], "CAP_BPF CAP_DAC_READ_SEARCH CAP_SYS_PTRACE");
    let ended = |name: &str| match name.split(' ').next() {
        Some("refused") => "EPERM",
        Some("absent") => "ENOSYS",
        Some("done") => "done",
        // The filter let it through, and the kernel did not like it.
        _ => "error 22",
    };
    let wrong: Vec<_> = told.iter().filter(|(name, text)| *name != "kept" && ended(name) != text.as_str()).collect();
    assert_eq!((wrong, told.len()), (vec![], 48));
}

#[test]
fn others_files_and_processes_are_read_and_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("others");
    fs::write(&file, "secret").expect("written");
    chown(&file, Some(NOBODY), Some(NOBODY)).expect("root may");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("root may");
    let mut others = Command::new("/bin/sleep").arg("1000").uid(NOBODY).gid(NOBODY).spawn().expect("it starts");
    let exe = format!("/proc/{}/exe", others.id());
    let environment = format!("/proc/{}/environ", others.id());
    let (told, _) = in_child(move |tell| {
        confine(&PLAIN).expect("it may be confined");
        tell("file", fs::read_to_string(&file).expect("read"));
        let written = fs::OpenOptions::new().write(true).open(&file).map(drop);
        tell("written", format!("{:?}", written.map_err(|error| error.kind())));
        tell("exe", fs::read_link(&exe).expect("told").display().to_string());
        tell("digest", File::open(&exe).is_ok().to_string());
        tell("environment", fs::read(&environment).is_ok().to_string());
        // Without programs in the kernel none of its calls.
        tell("bpf", call(libc::SYS_bpf, [MAP_LOOKUP, 0, 0, 0, 0, 0]));
    });
    others.kill().expect("it runs");
    others.wait().expect("it ends");
    assert_eq!((told["file"].as_str(), told["written"].as_str()), ("secret", "Err(PermissionDenied)"));
    assert!(told["exe"].ends_with("/sleep") || told["exe"].ends_with("/coreutils"), "{told:?}");
    assert_eq!((told["digest"].as_str(), told["environment"].as_str()), ("true", "true"));
    assert_eq!(told["bpf"], "EPERM");
}

#[test]
fn who_has_no_rights_is_confined_as_well() {
    let (told, error) = in_child(|tell| {
        call(libc::SYS_setresuid, [i64::from(NOBODY); 6]);
        let confinement = confine(&EBPF).expect("it takes no rights");
        tell("kept", confinement.kept.join(" "));
        let status = status_of(&std::process::id().to_string());
        tell("status", ["CapPrm", "CapEff", "NoNewPrivs", "Seccomp"].map(|key| status[key].clone()).join(" "));
    });
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    assert_eq!(told["kept"], "");
    assert_eq!(told["status"], "0000000000000000 0000000000000000 1 2");
}

#[test]
fn threads_that_run_already_are_told_and_may_start_no_program_either() {
    let (told, _) = in_child(|tell| {
        let waiting = std::thread::Builder::new().name("early".into()).spawn(std::thread::park).expect("starts");
        let tid = || {
            let threads = fs::read_dir("/proc/self/task").expect("listed").map(|thread| thread.expect("listed").path());
            let mut early =
                threads.filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == "early\n"));
            early.next().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        };
        let tid = loop {
            if let Some(tid) = tid() {
                break tid;
            }
        };
        let (error, confinement) = confine(&PLAIN).expect_err("there is another thread");
        tell("error", error.to_string());
        tell("confinement", format!("{} {:?}", confinement.is_whole, confinement.problems));
        tell("own", call(libc::SYS_unshare, [0; 6]));
        let status = status_of(&tid);
        tell("early", format!("{} {}", status["NoNewPrivs"], status["Seccomp"]));
        drop(waiting);
    });
    let error = "threads that run already keep their capabilities: early";
    assert_eq!(told["error"], error);
    assert_eq!(told["confinement"], format!("false {:?}", [error]));
    assert_eq!((told["own"].as_str(), told["early"].as_str()), ("EPERM", "1 2"));
}

#[test]
fn what_is_refused_is_told_and_the_rest_is_given_up() {
    let (told, _) = in_child(|tell| {
        confine(&PLAIN).expect("it may be confined");
        // The second time its own filter refuses all of it.
        let (error, confinement) = confine(&PLAIN).expect_err("it is confined");
        tell("error", error.to_string());
        tell("problems", confinement.problems.len().to_string());
        tell("kept", confinement.kept.join(" "));
    });
    assert!(told["error"].starts_with("capabilities cannot be given up: "), "{told:?}");
    assert_eq!((told["problems"].as_str(), told["kept"].as_str()), ("2", "CAP_DAC_READ_SEARCH CAP_SYS_PTRACE"));
}

/// The answer of the kernel to AUDIT_GET: its type.
fn ask_audit() -> Result<u16, Errno> {
    let to = SocketAddrNetlink::new(0, 0);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::AUDIT))?;
    let mut message = [0; 16];
    message[..4].copy_from_slice(&16_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&1_000_u16.to_ne_bytes());
    message[6..8].copy_from_slice(&1_u16.to_ne_bytes());
    sendto(&socket, &message, SendFlags::empty(), &to)?;
    let mut answer = [0; 512];
    recv(&socket, &mut answer[..], RecvFlags::empty())?;
    Ok(u16::from_ne_bytes([answer[4], answer[5]]))
}

#[test]
fn the_kernels_audit_is_asked_by_who_looks_at_it_alone() {
    const ANSWER: u16 = 1_000;
    if ask_audit() != Ok(ANSWER) {
        // Not by eprintln!, which is shown of failed tests alone.
        let _ = writeln!(io::stderr(), "SKIPPED: the kernel does not say how its audit is");
        return;
    }
    let (told, _) = in_child(|tell| {
        let confinement = confine(&Needs { audit: true, ..PLAIN }).expect("it may be confined");
        tell("kept", confinement.kept.join(" "));
        tell("answer", format!("{:?}", ask_audit()));
    });
    assert_eq!(told["kept"], "CAP_AUDIT_CONTROL CAP_DAC_READ_SEARCH CAP_SYS_PTRACE");
    assert_eq!(told["answer"], format!("{:?}", Ok::<u16, Errno>(ANSWER)));
    let (told, _) = in_child(|tell| {
        confine(&PLAIN).expect("it may be confined");
        tell("answer", format!("{:?}", ask_audit().map_err(|errno| errno == Errno::PERM)));
    });
    assert_eq!(told["answer"], "Err(true)");
}
