//! System calls of a program of ours, through the real kernel and the table: every call that is decoded, with its fields and its
//! result.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON) and BTF; where that is not to be had it says so loudly and counts as skipped.

#[path = "support/told.rs"]
mod told;

use amoskys_collectors::sources::syscall::{Choice, Clock, decode, rules, table::SYSCALLS};
use amoskys_ebpf::{
    Filters, List,
    testing::{Stopped, compile, probe},
};
use amoskys_proto::v1::{Syscall, SyscallEvent};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use told::{line, sorted};

#[test]
fn every_call_of_the_table_comes_out_as_it_was_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("syscalls");
    compile(Path::new("tests/syscalls.c"), &program);
    let stopped = Stopped::start(&program, &[]);
    let (pid, stat) = (stopped.pid(), stopped.stat());
    let started_ticks: u64 =
        stat.rsplit_once(") ").expect("a name").1.split(' ').nth(19).expect("a time").parse().expect("a number");
    let filters = Filters { trees: List::Only(vec![pid]), ..Filters::default() };
    let all: Vec<Choice> = SYSCALLS.iter().map(Choice::every).collect();
    let Some(mut probe) = probe(&rules(&all), &filters, 1 << 22) else { return };
    let printed: Vec<String> = stopped.go().iter().map(|line| sorted(line)).collect();
    let mut events: Vec<SyscallEvent> = Vec::new();
    let clock = Clock::now();
    while probe
        .poll(Duration::from_millis(50), usize::MAX, &mut |call| events.extend(decode(call, &clock)))
        .expect("polls")
        > 0
    {}
    let exec =
        events.iter().position(|of| of.syscall == Syscall::Execve as i32 && of.result == 0).expect("it ended so");
    let told: Vec<String> = events[..exec].iter().map(line).collect();
    assert_eq!(told, printed);
    let seen: BTreeSet<i32> = events.iter().map(|event| event.syscall).collect();
    let missing: Vec<&str> = (1..)
        .zip(SYSCALLS)
        .filter(|(number, call)| call.number().is_some() && !seen.contains(number))
        .map(|(_, call)| call.name)
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "calls that no test makes");
    let started = &events[exec];
    assert_eq!(
        (started.path.as_str(), started.argv.as_slice()),
        ("/bin/true", &["told".to_owned(), "one".to_owned()][..])
    );
    for event in &events[..=exec] {
        assert_eq!((event.pid, event.tid), (pid, pid));
        // The same as the process source has.
        assert_eq!(event.process_key, started_ticks << 22 | u64::from(pid));
        assert_eq!(event.error.is_empty(), event.result >= 0, "{event:?}");
        let at = event.observed_at.as_ref().expect("a time");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
        assert!((now - 60..=now + 1).contains(&at.seconds), "{event:?}");
        assert!(event.unreadable.is_empty() && event.cut.is_empty(), "{event:?}");
    }
}

/// The enum comes from the table; numbers that were given stay.
#[test]
fn the_enum_is_the_table() {
    for (number, call) in (1..).zip(SYSCALLS) {
        let name = format!("SYSCALL_{}", call.name.to_uppercase());
        assert_eq!(
            Syscall::from_str_name(&name).map(|of| of as i32),
            Some(number),
            "proto/amoskys/v1/syscall.proto: {name}"
        );
    }
    assert_eq!(
        Syscall::try_from(i32::try_from(SYSCALLS.len()).expect("few") + 1).ok(),
        None,
        "more in the enum than in the table"
    );
    let mut names: Vec<&str> = SYSCALLS.iter().map(|call| call.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SYSCALLS.len());
}

/// Which fields of the event a call has, by name.
fn fields(call: &amoskys_collectors::sources::syscall::table::Syscall) -> String {
    use amoskys_collectors::sources::syscall::table::Field;
    let name = |field: &Field| match field {
        Field::Path(_) => "path",
        Field::OtherPath(_) => "other_path",
        Field::Argv => "argv",
        Field::Address(..) | Field::Peer => "address, port, address_family",
        Field::Opening(..) => "flags, mode",
        Field::Fd(_) => "fd",
        Field::Flags(..) => "flags",
        Field::Protection(_) => "protection",
        Field::Command(..) => "command",
        Field::Mode(_) => "mode",
        Field::TargetPid(_) => "target_pid",
        Field::Signal(_) => "signal",
        Field::Size(_) => "size",
        Field::NewId(_) => "new_id",
        Field::StartAddress(_) => "start_address",
        Field::MemoryBefore(..) => "previous_protection, previously_written",
    };
    let mut names: Vec<&str> = call.fields.iter().map(name).collect();
    if let Some(place) = names.iter().position(|name| *name == "path").filter(|_| call.directory().is_some()) {
        names.insert(place + 1, "relative_path");
    }
    names.join(", ")
}

const BEHIND_THE_TABLE: &str = "
## Paths

A program may give a path from its working directory (`cd /etc; cat shadow`) or from a directory that it has open. `path` is then told from the root, and
what was given is in `relative_path`, so that a query compares `path` alone. Where that directory has been removed, is not open, or is more than 64 names deep,
`path` is as it was given, and `relative_path` is absent. The directory is known without links: `..` at the beginning is followed up from it, `..` behind
a name stays. The root is that of all mounts, also of a process with a root of its own (a container's, chroot's), whose absolute paths are as it gave
them, but for `//`, `/./` and steps above the root, which are taken out. `other_path`, and what `mount` is given, are as they were given. A list of beginnings
of paths (`paths`) is compared with what was given ([ADR 41](adr/0041-paths-from-the-root.md)).

## Addresses

Of `accept` and `accept4` the address is of who is at the other end of the new socket, as the kernel has it: a program need not ask for it. A Unix
socket that calls has mostly no name, and its address is empty then.

## For the detections that ship

Some of `sql/detections` look at calls that are not usual: files that are written, renamed and deleted, connections that are taken. An agent
whose file says this sends what all of them look at:

```toml
[syscall]
source = \"auto\"
calls = [\"usual\", \"open:success\", \"openat:success\", \"openat2:success\", \"creat:success\", \"unlink:success\", \"unlinkat:success\",
         \"rename:success\", \"renameat:success\", \"renameat2:success\", \"accept:success\", \"accept4:success\"]
```

## All calls as numbers

With `activity = \"on\"` the kernel counts every call of every process but the agent, chosen or not, and the agent tells each second how often each process
made which call, how often in vain, and how long they took: `amoskys.v1.SyscallActivity` on `amoskys.telemetry.syscall_activity.v1`, in SQL the stream
`syscall_activity` (`sql/streams/syscall_activity.sql`). `latency_counts` is a histogram by powers of two: number 1 is of calls below 128 ns, number `n` (from 1) of
those below 2^(n+6) ns that are in none before it. Histograms, counts and durations may be added up over processes, calls and time. How often, how often in vain, how long on the
average, and the time that 99 of 100 calls were below, for each process and call in ten seconds:
[`syscall_rates.sql`](examples/syscall_activity/syscall_rates.sql).

Calls are counted when they return. Those that never do (exit, and what a thread is within when it is ended), and those that found no room, are counted as
such ([metrics](metrics.md), `activity_uncounted`), and how many they are is in the agent's status as well.

## From audit

Where eBPF may not be used, the same events come from the kernel's audit (`source = \"auto\"` or `\"audit\"`). It tells the calls that a rule of
audit asks for, and nothing else: the agent sets no rules. For the usual calls, in `/etc/audit/rules.d/amoskys.rules`:

```text
-a always,exit -F arch=b64 -S execve,execveat,connect,bind,ptrace,process_vm_writev,memfd_create,chmod,fchmod,fchmodat -k amoskys
-a always,exit -F arch=b64 -S chown,lchown,fchown,fchownat,setuid,setgid,setreuid,setregid,setresuid,setresgid,setfsuid -k amoskys
-a always,exit -F arch=b64 -S setns,unshare,mount,init_module,finit_module,bpf,kill,prctl,io_uring_setup -k amoskys
-a always,exit -F arch=b64 -S mmap,mprotect,pkey_mprotect -F a2&4 -k amoskys
```

What audit has not is absent, so that a query finds no wrong value:

| field | from audit |
|---|---|
| `tid`, `process_comm`, `cgroup_id`, `duration_ns` | absent |
| `process_key` | if the process is still there when its records have come |
| `observed_at` | in milliseconds |
| `arguments` | the first four |
| `comm` | of a program that was started its own, where eBPF has that of the one before |
| `argv` | of a program that was started; not of one that was not |
| `previous_protection`, `previously_written` | absent |
| `path`, `relative_path` | from where the caller works, as by eBPF; from a descriptor's directory `path` is as it was given, and `relative_path` absent |
| `path`, `other_path` | of files; not the name given to `memfd_create`, the parameters of a module, nor a source of `mount` that is no file. Where creating or removing failed it may be cut at the folder; where renaming failed before the file was found there are none |
| `flags` | not of `execveat`, `renameat2` and `openat2` |
| `mode` | not of `openat2` |
| `address`, `port`, `address_family` | not of `accept` and `accept4` |
| `fd` | of `mmap` where the kernel adds a record of it |

Of a call that changes what memory is for, `previous_protection` says what it was for before and `previously_written` that it (or memory of the same
kind right beside it) had pages of its own, which private memory has once it is written: both of all areas that the call changes (the first eight). Before Linux 5.17, and where another thread is changing the
process's memory at that moment, they are absent.

Fields that a call has and that could not be told are named in `unreadable`, those of which the beginning is there in `cut`.
";

/// `docs/syscalls.md`; `AMOSKYS_WRITE_PAGES=1` writes it.
#[test]
fn the_page_is_the_table() {
    const PAGE: &str = "../docs/syscalls.md";
    let mut page = String::from(
        "# System calls\n\nThe calls that are decoded, with the fields of `amoskys.v1.SyscallEvent` that each has beside those of all (who \
         called, when,\nthe result and the error, how long it took, all six arguments). Of calls on memory those are told that make it \
         executable, and of\nnew memory only what may be written too or has no file behind it: every program maps its libraries to be executed. A table of\nthe agent's (`collectors/src/sources/syscall/table.rs`). Which of them an agent sends: [configuration](configuration.md), `[syscall]`.\n\n\
         | call | x86-64 | aarch64 | fields | ATT&CK | usual |\n|---|---|---|---|---|---|\n",
    );
    for call in SYSCALLS {
        let arm = call.number_aarch64.map_or_else(|| "–".to_owned(), |number| number.to_string());
        let (fields, techniques) = (fields(call), call.techniques.join(", "));
        let usual = if call.is_usual { "yes" } else { "" };
        page.push_str(&format!(
            "| `{}` | {} | {arm} | {fields} | {techniques} | {usual} |\n",
            call.name, call.number_x86_64
        ));
    }
    page.push_str("\nUsual are those that are rare on a quiet host; the others are made all the time by programs that are busy.\n");
    page.push_str(BEHIND_THE_TABLE);
    let rules: Vec<&str> = BEHIND_THE_TABLE.split([' ', ',', '\n']).collect();
    let unasked: Vec<&str> =
        SYSCALLS.iter().filter(|call| call.is_usual && !rules.contains(&call.name)).map(|call| call.name).collect();
    assert_eq!(unasked, Vec::<&str>::new(), "usual calls that no rule of the page asks audit for");
    if std::env::var_os("AMOSKYS_WRITE_PAGES").is_some() {
        std::fs::write(PAGE, &page).expect("written");
    }
    assert_eq!(std::fs::read_to_string(PAGE).expect("the page"), page, "AMOSKYS_WRITE_PAGES=1 writes it");
}
