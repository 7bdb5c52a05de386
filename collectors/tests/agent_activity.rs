//! All system calls as numbers, through a whole agent on the real kernel: what a program did is told to the call, and every call that the
//! kernel saw is told, waits or is uncounted for a reason, in every scrape.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON) and BTF; where that is not to be had it says so loudly and counts as skipped.

mod support;

use amoskys_collectors::{ActivityConfig, AgentConfig, Stream, ledger::Origin};
use amoskys_ebpf::testing::{Stopped, activity, compile};
use amoskys_proto::{
    EnvelopeView,
    v1::{SyscallActivity, SyscallActivityBatch},
};
use prost::Message;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use support::{children::Running, *};
use tempfile::TempDir;

const DRAIN: Duration = Duration::from_secs(30);
const TOPIC: &str = "amoskys.telemetry.syscall_activity.v1";

/// `None` where the kernel's programs may not be loaded, which is told.
fn config(folder: &Path, rows_max: u32) -> Option<AgentConfig> {
    activity(1)?;
    let mut config = snapshot_config(folder);
    config.process.snapshot_interval = Duration::from_secs(3_600);
    config.batch.events_max = 500;
    config.syscall.activity = Some(ActivityConfig { interval: Duration::from_millis(100), rows_max });
    Some(config)
}

fn program(folder: &Path) -> PathBuf {
    let program = folder.join("activity");
    compile(Path::new("../ebpf/tests/activity.c"), &program);
    program
}

/// All that came, in order.
fn events(bus: &FakeBus) -> Vec<SyscallActivity> {
    let log = bus.log();
    let payloads = log.iter().filter(|record| record.topic == TOPIC).map(|record| &record.payload);
    let events = |payload: &_| {
        let view = EnvelopeView::parse(payload).expect("an envelope");
        assert_eq!(view.header.schema, Stream::Activity.schema());
        SyscallActivityBatch::decode(view.payload).expect("numbers of calls").events
    };
    payloads.flat_map(|payload| events(payload)).collect()
}

/// What the kernel saw is told, waits in the kernel, or is uncounted for a reason; and the ledger of events holds.
fn assert_calls_add_up(text: &str) {
    let uncounted = sample(text, "amoskys_agent_activity_uncounted_calls_total");
    let told = sample(text, "amoskys_agent_activity_told_calls_total");
    let waiting = sample(text, "amoskys_agent_activity_waiting_calls");
    assert_eq!(sample(text, "amoskys_agent_activity_seen_calls_total"), told + waiting + uncounted, "{text}");
    assert_eq!(sample(text, "amoskys_agent_unaccounted_events"), 0.0);
    assert_identity(text);
}

#[test]
fn what_a_program_does_is_told_to_the_call_and_each_scrape_adds_up() {
    const COUNT: u64 = 20_000;
    const THREADS: u64 = 8;
    let folder = TempDir::new().expect("a folder");
    let program = program(folder.path());
    let stopped = Stopped::start(&program, &["calls", &COUNT.to_string(), &THREADS.to_string()]);
    let (pid, stat) = (stopped.pid(), stopped.stat());
    let Some(config) = config(folder.path(), 16_384) else { return };
    let bus = FakeBus::new(Mode::Take);
    let (agent, registry) = start(config, &bus);
    // One that makes calls for as long as anybody looks.
    let mut other = Command::new("/bin/sh");
    let other = Running::start(other.args(["-c", "while :; do sleep 0.01; done"]));
    wait_until("the other's calls are told", || events(&bus).iter().any(|event| event.pid == other.pid()));
    let running = std::thread::spawn(move || stopped.go());
    while !running.is_finished() {
        assert_calls_add_up(&scrape(&registry));
        std::thread::sleep(Duration::from_millis(5));
    }
    running.join().expect("it ended");
    let parents = |events: &[SyscallActivity]| -> Vec<SyscallActivity> {
        events.iter().filter(|event| event.pid == pid && event.syscall == "getppid").cloned().collect()
    };
    let calls = |events: &[SyscallActivity]| events.iter().map(|event| event.count).sum::<u64>();
    wait_until("all its calls are told", || calls(&parents(&events(&bus))) >= COUNT * THREADS);
    agent.stop(DRAIN);
    let report = agent.join();
    assert_eq!((report.events_dropped, report.events_in_hand, report.events_in_wal), (0, 0, 0));

    let told = events(&bus);
    let parents = parents(&told);
    assert_eq!(calls(&parents), COUNT * THREADS);
    let started_ticks: u64 =
        stat.rsplit_once(") ").expect("a name").1.split(' ').nth(19).expect("a time").parse().expect("a number");
    for event in &parents {
        // The same as the process source has.
        assert_eq!(event.process_key, started_ticks << 22 | u64::from(pid));
        assert_eq!((event.comm.as_str(), event.uid, event.errors), ("activity", 0, 0));
        assert!(event.total_duration_ns > 0 && event.interval_ms > 0, "{event:?}");
    }
    let opens: Vec<&SyscallActivity> =
        told.iter().filter(|event| event.pid == pid && event.syscall == "openat").collect();
    let sum = |of: fn(&SyscallActivity) -> u64| opens.iter().map(|event| of(event)).sum::<u64>();
    assert_eq!((sum(|of| of.count), sum(|of| of.errors)), (COUNT * THREADS / 20, COUNT * THREADS / 20));
    for event in &told {
        assert_eq!((event.latency_counts.len(), event.latency_counts.iter().sum()), (32, event.count), "{event:?}");
        assert!(event.pid != std::process::id(), "the agent's own: {event:?}");
    }
    // One that is still there has its program.
    let shell = std::fs::canonicalize("/bin/sh").expect("there is a shell");
    let is_it = |event: &&SyscallActivity| event.pid == other.pid() && Path::new(&event.exe) == shell;
    assert!(told.iter().any(|event| is_it(&event)), "none of process {} has {}", other.pid(), shell.display());

    let text = scrape(&registry);
    assert_calls_add_up(&text);
    assert_eq!(sample(&text, "amoskys_agent_activity_waiting_calls"), 0.0, "what was counted was told before the end");
    assert_eq!(sample(&text, "amoskys_agent_activity_told_calls_total"), calls(&told) as f64);
    let acknowledged = text
        .lines()
        .find_map(|line| line.strip_prefix("amoskys_agent_acknowledged_events_total{stream=\"activity\"} "));
    assert_eq!(acknowledged.and_then(|number| number.parse().ok()), Some(told.len()));
}

#[test]
fn calls_that_find_no_room_are_uncounted_and_the_status_says_so() {
    let folder = TempDir::new().expect("a folder");
    let program = program(folder.path());
    let Some(mut config) = config(folder.path(), 1) else { return };
    config.status_interval = Duration::from_millis(100);
    let topic = config.status_topic.clone();
    let bus = FakeBus::new(Mode::Take);
    let (agent, registry) = start(config, &bus);
    Stopped::start(&program, &["short", "50"]).go();
    wait_until("calls without room", || agent.numbers().activity_calls.no_room > 100);
    let uncounted = || {
        let log = bus.log();
        let statuses = log.iter().filter(|record| record.topic == topic).flat_map(|record| {
            let view = EnvelopeView::parse(&record.payload).expect("an envelope");
            amoskys_proto::v1::AgentStatusBatch::decode(view.payload).expect("statuses").statuses
        });
        statuses.last().map_or(0, |status| status.activity_calls_uncounted)
    };
    wait_until("the status", || uncounted() > 100);
    agent.stop(DRAIN);
    agent.join();
    assert_calls_add_up(&scrape(&registry));
}

#[test]
fn where_it_is_not_wished_for_nothing_is_counted() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Take);
    let (agent, _registry) = start(snapshot_config(folder.path()), &bus);
    let numbers = agent.numbers();
    assert_eq!((numbers.activity_calls.seen, numbers.ledger.seen_from(Origin::Activity)), (0, 0));
}
