//! The programs in the real kernel: known calls of a program of ours, and exactly these come out.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON) and BTF; where that is not to be had it says so loudly and counts as skipped.

use amoskys_ebpf::{
    Counters, Filters, Limit, List, Probe, RawCall, Results, Rule, SeenAt, at_each_place,
    testing::{Stopped, compile, probe_at},
};
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
const RING_BYTES: u32 = 1 << 22;

fn number(of: libc::c_long) -> u32 {
    u32::try_from(of).expect("a number")
}

fn open_rule() -> Rule {
    Rule { number: number(libc::SYS_openat), name: "openat", first_string: Some(1), ..Rule::default() }
}

fn rules() -> Vec<Rule> {
    vec![
        open_rule(),
        Rule {
            number: number(libc::SYS_renameat2),
            name: "renameat2",
            first_string: Some(1),
            second_string: Some(3),
            ..Rule::default()
        },
        Rule { number: number(libc::SYS_connect), name: "connect", address: Some((1, 2)), ..Rule::default() },
        Rule {
            number: number(libc::SYS_execve),
            name: "execve",
            first_string: Some(0),
            is_exec: true,
            ..Rule::default()
        },
    ]
}

/// Tests look at counters of the whole host, and at processes that others start.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program, compiled once.
static CALLS: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("calls");
    compile(Path::new("tests/calls.c"), &program);
    (folder, program)
});

#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    number: u32,
    result: i64,
    pid: u32,
    tid: u32,
    comm: String,
    first: String,
    second: String,
    argv: Vec<String>,
    address: Vec<u8>,
    unreadable: [bool; 3],
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn call(of: &RawCall<'_>) -> Call {
    let argv = of.argv.map(|argv| argv.strip_suffix(b"\0").unwrap_or(argv));
    assert!(of.duration_ns < 60_000_000_000, "{of:?}");
    assert!(of.entered_ns > of.process_started_ns, "{of:?}");
    Call {
        number: of.number,
        result: of.result,
        pid: of.pid,
        tid: of.tid,
        comm: text(Some(of.comm)),
        first: text(of.first),
        second: text(of.second),
        argv: argv.into_iter().flat_map(|argv| argv.split(|byte| *byte == 0)).map(|one| text(Some(one))).collect(),
        address: of.address.unwrap_or_default().to_vec(),
        unreadable: of.unreadable,
    }
}

fn drain(probe: &mut Probe) -> Vec<Call> {
    let mut calls = Vec::new();
    while probe.poll(Duration::from_millis(50), usize::MAX, &mut |of| calls.push(call(of))).expect("polls") > 0 {}
    calls
}

/// What is submitted has been handed over, and every call is accounted for.
fn check(counters: Counters, told: usize) {
    assert_eq!((counters.gap(), counters.submitted), (0, told as u64), "{counters:?}");
}

/// The calls of a program of these arguments, and the counters. `change` makes filters of its pid.
fn calls_of(
    at: SeenAt,
    arguments: &[&str],
    rules: &[Rule],
    change: impl Fn(u32) -> Filters,
) -> Option<(Vec<Call>, Vec<String>, Counters)> {
    let program = Stopped::start(&CALLS.1, arguments);
    let mut probe = probe_at(at, rules, rules, &change(program.pid()), RING_BYTES)?;
    let printed = program.go();
    let calls = drain(&mut probe);
    let counters = settled(&probe);
    check(counters, calls.len());
    Some((calls, printed, counters))
}

/// Numbers are read one after the other while the host goes on.
fn settled(probe: &Probe) -> Counters {
    let begun = Instant::now();
    loop {
        let counters = probe.counters().expect("counters");
        if counters.gap() == 0 {
            return counters;
        }
        assert!(begun.elapsed() < PATIENCE, "{counters:?}");
    }
}

fn of_tree(pid: u32) -> Filters {
    Filters { trees: List::Only(vec![pid]), ..Filters::default() }
}

at_each_place! {
    fn exactly_the_calls_that_were_made_come_out(at) {
        let _alone = alone();
        let Some((mut calls, printed, _)) = calls_of(at, &["sequence"], &rules(), of_tree) else { return };
        // What the new program and its libraries do is their own.
        let exec =
            calls.iter().position(|of| of.number == number(libc::SYS_execve) && of.result == 0).expect("it was started");
        calls.truncate(exec + 1);
        let told: Vec<String> =
            calls[..exec].iter().map(|of| format!("{}\t{}\t{}\t{}", of.number, of.result, of.first, of.second)).collect();
        assert_eq!(told, printed);
        assert!(calls.iter().all(|of| of.pid == of.tid && of.pid == calls[0].pid), "{calls:#?}");
        let unreadable: Vec<bool> = calls.iter().map(|of| of.unreadable[0]).collect();
        assert_eq!(unreadable.iter().filter(|of| **of).count(), 1, "the pointer to nowhere: {calls:#?}");
        assert!(unreadable[2]);
        let addresses: Vec<&Call> = calls.iter().filter(|of| of.number == number(libc::SYS_connect)).collect();
        assert_eq!(addresses[0].address[..8], [2, 0, 0x12, 0x67, 127, 0, 0, 1]);
        assert!(addresses[1].address.starts_with(b"\x01\0/nonexistent/socket\0"), "{addresses:?}");
        let started = &calls[exec];
        assert_eq!((started.first.as_str(), started.comm.as_str()), ("/bin/true", "true"));
        assert_eq!(started.argv, ["told", "one", "", "two words"]);
    }

    fn nothing_is_missed_of_32_threads_at_once(at) {
        const COUNT: usize = 500;
        let _alone = alone();
        let Some((calls, ..)) = calls_of(at, &["threads", &COUNT.to_string(), "32"], &[open_rule()], of_tree) else { return };
        let mut of_thread: BTreeMap<u32, Vec<&Call>> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.first.starts_with("/nonexistent/")) {
            of_thread.entry(call.tid).or_default().push(call);
        }
        assert_eq!(of_thread.len(), 32);
        let mut threads: Vec<String> = Vec::new();
        for calls in of_thread.values() {
            let (thread, _) = calls[0].first.rsplit_once('/').expect("a path");
            let expected: Vec<String> = (0..COUNT).map(|number| format!("{thread}/{number}")).collect();
            assert_eq!(calls.iter().map(|call| call.first.clone()).collect::<Vec<_>>(), expected);
            threads.push(thread.to_owned());
        }
        threads.sort();
        threads.dedup();
        assert_eq!(threads.len(), 32);
    }

    fn processes_that_live_for_a_millisecond_are_seen(at) {
        let _alone = alone();
        let Some((calls, ..)) = calls_of(at, &["short", "300"], &[open_rule()], of_tree) else { return };
        let paths: Vec<&str> = calls.iter().map(|call| call.first.as_str()).collect();
        let expected: Vec<String> = (0..300).map(|number| format!("/nonexistent/{number}")).collect();
        assert_eq!(paths, expected);
        let pids: std::collections::BTreeSet<u32> = calls.iter().map(|call| call.pid).collect();
        assert_eq!(pids.len(), 300);
    }

    fn a_thread_that_starts_a_program_takes_the_id_of_its_process(at) {
        let _alone = alone();
        let Some((calls, ..)) = calls_of(at, &["thread-exec"], &rules(), of_tree) else { return };
        let started: Vec<&Call> = calls.iter().filter(|of| of.number == number(libc::SYS_execve)).collect();
        assert_eq!((started.len(), started[0].result, started[0].argv.as_slice()), (1, 0, &["of a thread".to_owned()][..]));
        assert_eq!((started[0].pid, started[0].first.as_str()), (started[0].tid, "/bin/true"));
    }

    fn only_what_filters_let_through_comes(at) {
        let _alone = alone();
        let count = |rules: &[Rule], change: &dyn Fn(u32) -> Filters| {
            let (calls, _, counters) = calls_of(at, &["threads", "100", "4"], rules, change)?;
            let ours = calls.iter().filter(|of| of.comm == "calls" && of.first.starts_with("/nonexistent/")).count();
            Some((ours, counters))
        };
        let of = |result, one_of| Rule { results: result, one_of, ..open_rule() };
        let own = |pid: u32| Filters { pids: List::Only(vec![pid]), ..Filters::default() };
        let Some((all, counters)) = count(&[open_rule()], &own) else { return };
        assert_eq!(all, 400);
        assert!(counters.filtered > 0, "{counters:?}");
        let only = |list: fn(&mut Filters)| {
            move |pid: u32| {
                let mut filters = Filters { pids: List::Only(vec![pid]), ..Filters::default() };
                list(&mut filters);
                filters
            }
        };
        let uid = rustix::process::getuid().as_raw();
        type Change = Box<dyn Fn(u32) -> Filters>;
        let cases: Vec<(&str, usize, Change)> = vec![
            ("others", 0, Box::new(|pid| Filters { pids: List::Except(vec![pid]), ..Filters::default() })),
            ("its uid", 400, Box::new(move |pid| Filters { uids: List::Only(vec![uid]), ..own(pid) })),
            ("another uid", 0, Box::new(move |pid| Filters { uids: List::Except(vec![uid]), ..own(pid) })),
            ("its name", 400, Box::new(only(|of| of.comms = List::Only(vec!["calls".into()])))),
            ("another name", 0, Box::new(only(|of| of.comms = List::Only(vec!["call".into()])))),
            ("another cgroup", 0, Box::new(only(|of| of.cgroup_ids = List::Only(vec![u64::MAX])))),
            ("a path", 100, Box::new(only(|of| of.path_prefixes = List::Only(vec!["/nonexistent/2/".into()])))),
            (
                "but paths",
                200,
                Box::new(only(|of| {
                    of.path_prefixes = List::Except(vec!["/nonexistent/2/".into(), "/nonexistent/3".into()]);
                })),
            ),
            // 10 at once, and hardly more within so short a time.
            (
                "a limit",
                10,
                Box::new(only(|of| {
                    of.limit =
                        NonZeroU32::new(10).zip(NonZeroU32::new(1)).map(|(burst, per_second)| Limit { per_second, burst })
                })),
            ),
        ];
        for (what, expected, change) in cases {
            let (ours, counters) = count(&[open_rule()], &*change).expect("it is there");
            // A limit gives one more for each second that it takes.
            let slack = if what == "a limit" { 30 } else { 0 };
            assert!((expected..=expected + slack).contains(&ours), "{what}: {ours}, {counters:?}");
        }
        // O_CREAT, which none of them has; a bit of AT_FDCWD, which is -100.
        for (mask, expected) in [((2, 0o100), 0), ((0, 4), 400)] {
            let (ours, _) = count(&[Rule { mask: Some(mask), ..open_rule() }], &own).expect("it is there");
            assert_eq!(ours, expected);
        }
        let (none, _) = count(&[of(Results::Successes, 0)], &own).expect("it is there");
        let (failures, _) = count(&[of(Results::Failures, 0)], &own).expect("it is there");
        assert_eq!((none, failures), (0, 400));
        // One of ten, counted on each processor.
        let (sampled, counters) = count(&[of(Results::Any, 10)], &own).expect("it is there");
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        assert!(sampled >= 40 && sampled <= 40 + processors, "{sampled}");
        assert!(counters.sampled_out > 0, "{counters:?}");
    }

    /// What the ring has no room for is counted, to the last call.
    fn a_ring_that_is_full_drops_and_counts(at) {
        const COUNT: usize = 20_000;
        let _alone = alone();
        let program = Stopped::start(&CALLS.1, &["threads", &COUNT.to_string(), "1"]);
        let Some(mut probe) = probe_at(at, &[open_rule()], &[open_rule()], &of_tree(program.pid()), 1 << 16) else { return };
        program.go();
        let counters = settled(&probe);
        let told = drain(&mut probe);
        check(counters, told.len());
        let ours = told.iter().filter(|of| of.first.starts_with("/nonexistent/")).count();
        assert!(ours > 50 && counters.dropped_ring > 0, "{counters:?}");
        // The program's own libraries were loaded before it stopped, so these are its calls alone.
        assert_eq!(counters.submitted + counters.dropped_ring, COUNT as u64, "{counters:?}");
    }

    fn what_is_wanted_changes_while_it_runs_and_nothing_is_left_behind(at) {
        let _alone = alone();
        let Some(mut probe) = probe_at(at, &[open_rule()], &[], &Filters::default(), RING_BYTES) else { return };
        let run = |probe: &mut Probe| {
            let program = Stopped::start(&CALLS.1, &["short", "3"]);
            probe.set_filters(&of_tree(program.pid())).expect("set");
            program.go();
            drain(probe).len()
        };
        assert_eq!(run(&mut probe), 0);
        probe.set_rules(&[open_rule()]).expect("set");
        assert_eq!(run(&mut probe), 3);
        probe.set_rules(&[]).expect("set");
        assert_eq!(run(&mut probe), 0);
        let error = probe.set_filters(&Filters { comms: List::Only(vec!["x".repeat(16)]), ..Filters::default() });
        assert!(error.expect_err("too long").to_string().contains("longer than 15 bytes"));
        // Links and programs of ours are in this process's descriptors, and nowhere else.
        let ours = || {
            let descriptors = std::fs::read_dir("/proc/self/fd").expect("descriptors");
            let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
            targets.filter(|target| target.to_string_lossy().contains("bpf")).count()
        };
        assert!(ours() > 5, "{}", ours());
        drop(probe);
        assert_eq!(ours(), 0);
    }
}

/// Where the kernel has functions for calls they are used, and where it has not the reason is there.
#[test]
fn calls_are_seen_in_their_functions_or_it_is_said_why_not() {
    let _alone = alone();
    let rules = rules();
    let Some(best) = probe_at(SeenAt::Best, &rules, &rules, &Filters::default(), RING_BYTES) else { return };
    assert_ne!(best.seen_at_functions(), best.at_tracepoints_because().is_some());
    eprintln!("at tracepoints because: {:?}", best.at_tracepoints_because());
    let unknown = [Rule { name: "no_such_call", ..open_rule() }];
    let other = probe_at(SeenAt::Best, &unknown, &unknown, &Filters::default(), RING_BYTES).expect("as before");
    assert!(other.at_tracepoints_because().is_some_and(|because| because.contains("no_such_call")), "it names it");
    // A call that this kernel has not is none of the reasons.
    let with_unknown: Vec<Rule> = rules.iter().copied().chain([Rule { number: 511, ..unknown[0] }]).collect();
    let all = probe_at(SeenAt::Best, &with_unknown, &with_unknown, &Filters::default(), RING_BYTES).expect("as before");
    assert_eq!(all.seen_at_functions(), best.seen_at_functions());
    let named = probe_at(SeenAt::Tracepoints, &rules, &rules, &Filters::default(), RING_BYTES).expect("as before");
    assert!(!named.seen_at_functions() && named.at_tracepoints_because().is_none());
}
