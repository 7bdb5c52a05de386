//! The audit source through a whole agent: a log file that grows and is rotated, and the real kernel's messages. Every event is accounted for,
//! in every scrape.
//!
//! The kernel's audit takes root (or CAP_AUDIT_CONTROL and CAP_AUDIT_READ); where that is not to be had it says so loudly and counts as skipped.

mod support;
#[path = "support/told.rs"]
mod told;

use amoskys_collectors::{
    AgentConfig, AuditFrom, List, SyscallMode,
    ledger::{Filter, Loss, Origin},
    sources::syscall::{choose, table::SYSCALLS},
};
use amoskys_ebpf::testing::{Stopped, compile};
use amoskys_proto::v1::SyscallEvent;
use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use support::{
    audit::{Audit, events},
    *,
};
use tempfile::TempDir;

fn config(folder: &Path, from: AuditFrom) -> AgentConfig {
    let mut config = snapshot_config(folder);
    config.process.snapshot_interval = Duration::from_secs(3_600);
    config.syscall.source = SyscallMode::Audit;
    config.syscall.calls = choose(&["all".to_owned()]).expect("known");
    config.syscall.audit.from = from;
    config.syscall.limit = None;
    config
}

fn append(log: &Path, lines: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(log).expect("opened");
    file.write_all(lines.as_bytes()).expect("written");
}

/// The records of a file that was removed.
fn removed(serial: u32, file: &str) -> String {
    format!(
        "type=SYSCALL msg=audit(1604994496.155:{serial}): arch=c000003e syscall=87 success=yes exit=0 a0=7f a1=0 a2=0 a3=0 items=2 \
         ppid=1 pid=4100 auid=0 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) ses=1 comm=\"rm\" exe=\"/bin/rm\" key=(null)\n\
         type=CWD msg=audit(1604994496.155:{serial}): cwd=\"/\"\n\
         type=PATH msg=audit(1604994496.155:{serial}): item=0 name=\"/tmp/\" inode=1 nametype=PARENT\n\
         type=PATH msg=audit(1604994496.155:{serial}): item=1 name=\"{file}\" inode=2 nametype=DELETE\n\
         type=PROCTITLE msg=audit(1604994496.155:{serial}): proctitle=726D\n"
    )
}

#[test]
fn a_log_is_followed_over_rotation_and_every_event_is_accounted_for() {
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("audit.log");
    append(&log, &removed(1, "/tmp/before"));
    let bus = FakeBus::new(Mode::Take);
    let mut config = config(folder.path(), AuditFrom::Log(log.clone()));
    config.syscall.of.path_prefixes = List::Except(vec!["/tmp/secret".to_owned()]);
    let (agent, registry) = start(config, &bus);
    assert_eq!((agent.status().syscall_source, agent.status().syscall_problem), ("audit_log", None));
    let paths = || events(&bus).iter().map(|event| event.path.clone()).collect::<Vec<_>>();

    append(&log, &removed(2, "/tmp/first"));
    wait_until("the first", || paths() == ["/tmp/first"]);
    assert_identity(&scrape(&registry));
    // Cut within a record, and rotated then: the rest never comes.
    let cut = removed(3, "/tmp/cut");
    let cut = &cut[..cut.find("type=PATH").expect("it has one") + 60];
    append(&log, &format!("{}{cut}", removed(4, "/tmp/second")));
    fs::rename(&log, folder.path().join("audit.log.1")).expect("renamed");
    append(&log, &format!("no record\n{}", removed(5, "/tmp/secret-one")));
    append(&log, "type=USER_AUTH msg=audit(1604994496.155:6): pid=1 uid=0 msg='op=PAM res=success'\n");
    append(
        &log,
        "type=CWD msg=audit(1604994496.155:7): cwd=\"/\"\ntype=PROCTITLE msg=audit(1604994496.155:7): proctitle=72\n",
    );
    append(&log, &removed(8, "/tmp/third").replace("arch=c000003e", "arch=40000003"));
    // Cut off, and begun anew.
    append(&log, &removed(9, "/tmp/fourth"));
    wait_until("the fourth", || paths().iter().any(|path| path == "/tmp/fourth"));
    fs::write(&log, removed(10, "/tmp/fifth")).expect("written");
    // That of the cut event is told without its path when nothing comes to it.
    wait_until("all", || paths().len() == 5);
    wait_until("the login", || agent.numbers().ledger.filtered_as(Filter::NotSyscall) == 1);
    assert_identity(&scrape(&registry));
    let mut paths = paths();
    paths.sort();
    assert_eq!(paths, ["", "/tmp/fifth", "/tmp/first", "/tmp/fourth", "/tmp/second"]);

    let report = agent.status();
    assert_eq!(report.audit_malformed_lines, 2);
    assert_eq!(report.audit_malformed_example.as_deref(), Some("no record"));
    agent.stop(PATIENCE);
    let ledger = agent.numbers().ledger;
    agent.join();
    let filtered = [Filter::NotSyscall, Filter::NotWanted, Filter::Compat].map(|filter| ledger.filtered_as(filter));
    assert_eq!((ledger.seen_from(Origin::Audit), filtered, ledger.dropped_as(Loss::Incomplete)), (9, [1, 1, 1], 1));
    let text = scrape(&registry);
    assert_identity(&text);
    assert_eq!(sample(&text, "amoskys_agent_unaccounted_events"), 0.0);
    assert_eq!(sample(&text, "amoskys_agent_audit_open_events"), 0.0);
}

/// While nobody takes envelopes the agent waits, and the log waits for it.
#[test]
fn back_pressure_reaches_the_log_and_nothing_is_lost() {
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("audit.log");
    append(&log, "");
    let bus = FakeBus::new(Mode::Hold);
    let mut config = config(folder.path(), AuditFrom::Log(log.clone()));
    config.queue_events_max = 16;
    config.wal.bytes_max = 64 << 10;
    config.wal.when_full = amoskys_collectors::WalFull::Block;
    let (agent, registry) = start(config, &bus);
    let lines: String = (0..2_000).map(|serial| removed(serial, "/tmp/x")).collect();
    append(&log, &lines);
    wait_until("the write-ahead log is full", || agent.numbers().wal_bytes > 40 << 10);
    assert_identity(&scrape(&registry));
    bus.set(Mode::Take);
    wait_until("all of them", || events(&bus).len() == 2_000);
    agent.stop(PATIENCE);
    let report = agent.join();
    assert_eq!((report.events_dropped, report.events_in_hand), (0, 0));
    assert_identity(&scrape(&registry));
}

/// The kernel waits for nobody here: neither for the agent, nor until it has told what it has.
#[test]
fn what_finds_no_room_in_the_socket_or_in_the_kernel_is_counted() {
    let folder = TempDir::new().expect("a folder");
    let script = format!("read go; while :; do true < {}; done 2>/dev/null", folder.path().join("nowhere").display());
    let mut shell = Command::new("/bin/sh");
    let noisy = shell.args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("there is a shell");
    let mut noisy = Ended(noisy);
    let Some(mut audit) = Audit::take() else { return };
    audit.look_at(noisy.0.id());
    audit.narrow();
    let bus = FakeBus::new(Mode::Take);
    let mut config = config(folder.path(), AuditFrom::Netlink);
    config.syscall.ring_bytes = 4 << 10;
    let (agent, registry) = start(config, &bus);
    noisy.0.stdin.take().expect("piped").write_all(b"go\n").expect("written");
    wait_until("losses are told", || agent.numbers().ledger.dropped_as(Loss::SocketFull) > 0);
    let line = fs::read_to_string("/proc/cmdline").expect("there is a /proc");
    if !line.contains("audit=") {
        wait_until("the kernel's losses are told", || agent.numbers().ledger.dropped_as(Loss::AuditLost) > 0);
    }
    // Of events of which a part was lost the rest is told or counted, too.
    wait_until("events are told", || !events(&bus).is_empty());
    drop((noisy, audit));
    agent.stop(PATIENCE);
    agent.join();
    let text = scrape(&registry);
    assert_identity(&text);
    assert_eq!(sample(&text, "amoskys_agent_unaccounted_events"), 0.0);
}

#[test]
fn audit_that_is_not_enabled_is_told_until_it_is() {
    let folder = TempDir::new().expect("a folder");
    let Some(mut audit) = Audit::take() else { return };
    let bus = FakeBus::new(Mode::Take);
    let (agent, _registry) = start(config(folder.path(), AuditFrom::Netlink), &bus);
    let problem = || agent.status().syscall_problem;
    if !audit.was_enabled() {
        assert!(problem().is_some_and(|why| why.contains("audit is not enabled")), "{:?}", problem());
    }
    audit.look_at(std::process::id());
    wait_until("it is enabled", || problem().is_none());
}

/// Other wishes are taken while it runs.
#[test]
fn wishes_change_which_calls_of_a_log_are_sent() {
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("audit.log");
    append(&log, "");
    let bus = FakeBus::new(Mode::Take);
    let mut config = config(folder.path(), AuditFrom::Log(log.clone()));
    config.syscall.calls = choose(&["chmod".to_owned()]).expect("known");
    let (agent, _registry) = start(config.clone(), &bus);
    append(&log, &removed(1, "/tmp/first"));
    wait_until("it is of no interest", || agent.numbers().ledger.filtered_as(Filter::NotWanted) == 1);
    config.syscall.calls = choose(&["unlink".to_owned()]).expect("known");
    agent.syscall_wishes().put(config.syscall);
    let mut serial = 1;
    wait_until("the wishes are taken", || {
        serial += 1;
        append(&log, &removed(serial, "/tmp/other"));
        events(&bus).iter().any(|event| event.path == "/tmp/other")
    });
}

/// Ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_demanded_and_cannot_be_read_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("none.log");
    let config = config(folder.path(), AuditFrom::Log(log.clone()));
    let error = amoskys_collectors::Agent::prepare(config).err().expect("refused").to_string();
    assert!(error.contains("system calls cannot be seen") && error.contains(&*log.to_string_lossy()), "{error}");
}

/// What a program of ours does is told by the kernel's audit as by eBPF (`tests/syscalls.rs`), but for what audit does not tell.
#[test]
fn every_call_of_the_table_is_told_by_the_kernels_audit() {
    let folder = TempDir::new().expect("a folder");
    let program = folder.path().join("syscalls");
    compile(Path::new("tests/syscalls.c"), &program);
    let stopped = Stopped::start(&program, &[]);
    let (pid, stat) = (stopped.pid(), stopped.stat());
    let Some(mut audit) = Audit::take() else { return };
    audit.look_at(pid);
    let bus = FakeBus::new(Mode::Take);
    let mut config = config(folder.path(), AuditFrom::Netlink);
    config.syscall.of.pids = List::Only(vec![pid]);
    let (agent, registry) = start(config, &bus);
    assert_eq!((agent.status().syscall_source, agent.status().syscall_problem), ("audit_netlink", None));
    let printed: Vec<String> = stopped.go().iter().map(|line| told::sorted(line)).collect();
    let is_last = |event: &SyscallEvent| event.argv.first().is_some_and(|of| of == "told");
    wait_until("the program's end", || events(&bus).iter().any(is_last));
    drop(audit);
    let all = events(&bus);
    let last = all.iter().position(is_last).expect("just found");
    let without = |line: &str, event: &SyscallEvent| {
        let is_told = |field: &&str| {
            // Parts of an address are known together.
            let name = field.split('=').next().unwrap_or_default();
            let name = if ["port", "address_family"].contains(&name) { "address" } else { name };
            !name.starts_with("previous") && !event.unreadable.iter().any(|unreadable| unreadable == name)
        };
        // Of a descriptor's directory audit tells no path.
        let line = line.replace("path=/etc/ssl/none\trelative_path=ssl/none", "path=ssl/none");
        line.split('\t').filter(is_told).collect::<Vec<_>>().join("\t")
    };
    let lines: Vec<String> = all[..last].iter().map(|event| told::line(event).trim_end().to_owned()).collect();
    let expected: Vec<String> = printed.iter().zip(&all).map(|(line, event)| without(line, event)).collect();
    assert_eq!(lines, expected);
    assert_eq!(lines.len(), printed.len());
    let seen: BTreeSet<i32> = all.iter().map(|event| event.syscall).collect();
    let here = SYSCALLS.iter().filter(|call| call.number().is_some()).count();
    assert_eq!(seen.len(), here, "each call of the table");
    let ticks: u64 =
        stat.rsplit_once(") ").expect("a name").1.split(' ').nth(19).expect("a time").parse().expect("a number");
    assert!(all.iter().all(|event| [0, ticks << 22 | u64::from(pid)].contains(&event.process_key)));

    agent.stop(PATIENCE);
    agent.join();
    let text = scrape(&registry);
    assert_identity(&text);
    assert_eq!(sample(&text, "amoskys_agent_unaccounted_events"), 0.0);
    assert_eq!(sample(&text, "amoskys_agent_audit_malformed_lines_total"), 0.0);
}
