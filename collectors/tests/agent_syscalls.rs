//! System calls through a whole agent, on the real kernel: what a program does comes out, what is not wanted is filtered, and every
//! call that the kernel saw is accounted for to the unit, in every scrape.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON) and BTF; where that is not to be had it says so loudly and counts as skipped.

mod support;

use amoskys_collectors::{
    AgentConfig, Limit, List, Stream, SyscallMode,
    ledger::{Filter, Loss, Origin},
    sources::syscall::choose,
};
use amoskys_ebpf::{
    Filters,
    testing::{Stopped, compile, probe},
};
use amoskys_proto::v1::{Syscall, SyscallEvent};
use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};
use support::{audit::events, *};
use tempfile::TempDir;

const DRAIN: Duration = Duration::from_secs(30);

fn calls(words: &[&str]) -> Vec<amoskys_collectors::sources::syscall::Choice> {
    choose(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).expect("known calls")
}

/// `None` where the kernel's programs may not be loaded, which is told.
fn config(folder: &Path, words: &[&str]) -> Option<AgentConfig> {
    probe(&[], &Filters::default(), 1 << 12)?;
    let mut config = snapshot_config(folder);
    config.process.snapshot_interval = Duration::from_secs(3_600);
    config.batch.events_max = 500;
    config.syscall.source = SyscallMode::Ebpf;
    config.syscall.calls = calls(words);
    config.syscall.limit = None;
    Some(config)
}

fn program(folder: &Path) -> PathBuf {
    let program = folder.join("syscalls");
    compile(Path::new("tests/syscalls.c"), &program);
    program
}

/// What the kernel counted is what the agent has seen and what is in the ring.
fn assert_kernel_agrees(text: &str) {
    let seen = text.lines().find_map(|line| line.strip_prefix("amoskys_agent_seen_events_total{origin=\"kernel\"} "));
    let seen: f64 = seen.expect("it is there").parse().expect("a number");
    assert_eq!(sample(text, "amoskys_agent_kernel_seen_calls_total"), seen + sample(text, "amoskys_agent_ring_calls"));
    assert_eq!(sample(text, "amoskys_agent_unaccounted_events"), 0.0);
}

#[test]
fn a_programs_calls_come_out_and_every_call_is_accounted_for() {
    let folder = TempDir::new().expect("a folder");
    let program = program(folder.path());
    let stopped = Stopped::start(&program, &[]);
    let Some(mut config) = config(folder.path(), &["all"]) else { return };
    config.syscall.of.trees = List::Only(vec![stopped.pid()]);
    let bus = FakeBus::new(Mode::Take);
    let (agent, registry) = start(config, &bus);
    assert_eq!((agent.status().syscall_source, agent.status().syscall_problem), ("ebpf", None));
    let pid = stopped.pid();
    let printed = stopped.go();
    wait_until("the program's end", || {
        events(&bus).iter().any(|event| event.argv.first().is_some_and(|of| of == "told"))
    });
    let told = events(&bus);
    // The last is the program that it is replaced with.
    let last = told.iter().position(|event| event.argv.first().is_some_and(|of| of == "told")).expect("just found");
    assert!(last == printed.len() && told[..=last].iter().all(|event| event.pid == pid), "{last} of {}", printed.len());
    agent.stop(DRAIN);
    let numbers = agent.numbers();
    assert!(numbers.syscalls_by.is_some());
    let report = agent.join();
    assert_eq!((report.events_dropped, report.events_in_hand, report.events_in_wal), (0, 0, 0));
    let text = scrape(&registry);
    assert_identity(&text);
    assert_kernel_agrees(&text);
    let acknowledged =
        text.lines().find_map(|line| line.strip_prefix("amoskys_agent_acknowledged_events_total{stream=\"syscall\"} "));
    assert_eq!(acknowledged.and_then(|number| number.parse().ok()), Some(events(&bus).len()));
}

/// While threads make as many calls as they can, of which some are told, in each of many scrapes; and when all is over.
#[test]
fn every_scrape_adds_up_under_load() {
    let folder = TempDir::new().expect("a folder");
    let Some(mut config) = config(folder.path(), &["unlink", "chmod/10", "openat:failure"]) else { return };
    // Of all processes but this one's own, which is the agent's: a shell makes them.
    config.syscall.ring_bytes = 1 << 16;
    let bus = FakeBus::new(Mode::Take);
    let (agent, registry) = start(config, &bus);
    let busy =
        |what: &str| Ended(std::process::Command::new("/bin/sh").args(["-c", what]).spawn().expect("there is a shell"));
    let nowhere = folder.path().join("nowhere");
    let script = format!("while :; do true < {0}; done 2>/dev/null", nowhere.display());
    let children = [busy(&script), busy(&script)];
    let begun = std::time::Instant::now();
    let mut last = 0.0;
    while begun.elapsed() < Duration::from_secs(3) {
        let text = scrape(&registry);
        assert_identity(&text);
        assert_kernel_agrees(&text);
        let seen = sample(&text, "amoskys_agent_kernel_seen_calls_total");
        assert!(seen >= last, "it does not go back");
        last = seen;
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(children);
    assert!(last > 1_000.0, "{last}");
    agent.stop(DRAIN);
    let report = agent.join();
    assert_eq!((report.events_in_hand, report.events_in_wal), (0, 0));
    let text = scrape(&registry);
    assert_identity(&text);
    assert_kernel_agrees(&text);
    assert_eq!(sample(&text, "amoskys_agent_ring_calls"), 0.0, "what the kernel told was taken before the end");
    assert!(!events(&bus).is_empty());
}

/// Ended with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One that makes far more calls than it may leaves the room of others alone; and other wishes are taken while it runs.
#[test]
fn a_noisy_process_is_limited_and_wishes_change_while_it_runs() {
    let folder = TempDir::new().expect("a folder");
    let program = program(folder.path());
    let Some(mut config) = config(folder.path(), &["openat:failure"]) else { return };
    let number = |number| NonZeroU32::new(number).expect("more than none");
    config.syscall.limit = Some(Limit { per_second: number(10), burst: number(20) });
    let bus = FakeBus::new(Mode::Take);
    let (agent, registry) = start(config.clone(), &bus);
    let script = format!("while :; do true < {}; done 2>/dev/null", folder.path().join("nowhere").display());
    let noisy = Ended(std::process::Command::new("/bin/sh").args(["-c", &script]).spawn().expect("there is a shell"));
    let noisy_pid = noisy.0.id();
    wait_until("it is limited", || agent.numbers().ledger.dropped_of(Stream::Syscall, Loss::Limited) > 1_000);
    let stopped = Stopped::start(&program, &[]);
    let quiet_pid = stopped.pid();
    let is_quiet = |event: &SyscallEvent| event.pid == quiet_pid;
    stopped.go();
    wait_until("the quiet one's call", || events(&bus).iter().any(is_quiet));
    let of_noisy = events(&bus).iter().filter(|event| event.pid == noisy_pid).count();
    assert!((20..400).contains(&of_noisy), "{of_noisy}");

    // Nothing but programs that are started, from now on.
    config.syscall.calls = calls(&["execve"]);
    agent.syscall_wishes().put(config.syscall.clone());
    wait_until("a program's start is told", || {
        let status = std::process::Command::new("/bin/true").arg("after the change").status();
        assert!(status.expect("there is a true").success());
        events(&bus).iter().any(|event| event.argv.get(1).is_some_and(|argument| argument == "after the change"))
    });
    drop(noisy);
    agent.stop(DRAIN);
    agent.join();
    let told = events(&bus);
    let change = told.iter().position(|event| event.syscall == Syscall::Execve as i32).expect("one was told");
    let late = told[change..].iter().filter(|event| event.syscall == Syscall::Openat as i32).count();
    assert_eq!(late, 0, "calls that are not wished for any more");
    let text = scrape(&registry);
    assert_identity(&text);
    assert_kernel_agrees(&text);
}

/// While nobody takes envelopes and the write-ahead log may not drop, the agent waits, the ring fills, and the kernel counts what it drops.
#[test]
fn back_pressure_ends_in_the_kernel_and_is_counted_there() {
    let folder = TempDir::new().expect("a folder");
    let Some(mut config) = config(folder.path(), &["openat:failure"]) else { return };
    config.syscall.ring_bytes = 1 << 12;
    config.queue_events_max = 16;
    config.batch.events_max = 20;
    config.wal.bytes_max = 64 << 10;
    config.wal.when_full = amoskys_collectors::WalFull::Block;
    let bus = FakeBus::new(Mode::Hold);
    let (agent, registry) = start(config, &bus);
    let script = format!("while :; do true < {}; done 2>/dev/null", folder.path().join("nowhere").display());
    let noisy = Ended(std::process::Command::new("/bin/sh").args(["-c", &script]).spawn().expect("there is a shell"));
    // The source is held up, so what the kernel drops is told once it goes on.
    // But for less than an envelope; one with twenty processes may have 20 KiB.
    wait_until("the write-ahead log is full", || agent.numbers().wal_bytes > 40 << 10);
    std::thread::sleep(Duration::from_millis(300));
    bus.set(Mode::Take);
    wait_until("drops are told", || agent.numbers().ledger.dropped_of(Stream::Syscall, Loss::RingFull) > 0);
    drop(noisy);
    agent.stop(DRAIN);
    agent.join();
    let text = scrape(&registry);
    assert_identity(&text);
    assert_kernel_agrees(&text);
    let ring_full = "amoskys_agent_dropped_events_total{stream=\"syscall\",reason=\"ring_full\"} 0";
    assert!(!text.contains(ring_full), "{text}");
}

#[test]
fn without_a_source_nothing_is_seen_and_the_account_says_so() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Take);
    let (agent, _registry) = start(snapshot_config(folder.path()), &bus);
    assert_eq!((agent.status().syscall_source, agent.status().syscall_problem), ("off", None));
    let ledger = agent.numbers().ledger;
    assert_eq!((ledger.seen_from(Origin::Kernel), ledger.filtered_as(Filter::NotWanted)), (0, 0));
}
