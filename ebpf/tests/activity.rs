//! Counting all calls in the real kernel: programs of ours make a known number of them, and exactly so many are counted.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON) and BTF; where that is not to be had it says so loudly and counts as skipped.

use amoskys_ebpf::{
    Activity, ActivityCounters, ActivityRow, UNKNOWN,
    testing::{Stopped, activity, compile},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: u32 = 16_384;

/// They count what the whole host does.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program, compiled once.
static CALLS: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("activity");
    compile(Path::new("tests/activity.c"), &program);
    (folder, program)
});

fn number(of: libc::c_long) -> u32 {
    u32::try_from(of).expect("a number")
}

/// Of one process and call, over all takings.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sum {
    calls: u64,
    errors: u64,
    duration_ns: u64,
    buckets: Vec<u64>,
    takings: u64,
}

/// By when a process began, its pid, and the call.
type Sums = BTreeMap<(u64, u32, u32), Sum>;

fn add(sums: &mut Sums, row: &ActivityRow) {
    check(row);
    let sum = sums.entry((row.process_started_ns, row.pid, row.number)).or_default();
    sum.calls += row.calls();
    sum.errors += row.errors;
    sum.duration_ns += row.duration_ns;
    sum.buckets.resize(row.buckets.len(), 0);
    sum.buckets.iter_mut().zip(row.buckets).for_each(|(sum, calls)| *sum += calls);
    sum.takings += 1;
}

/// What any row is: of at least one call, and of durations that are within its buckets.
fn check(row: &ActivityRow) {
    assert!(row.calls() > 0 && row.errors <= row.calls(), "{row:?}");
    assert!(row.number <= 513 && row.pid > 0 && row.pid != std::process::id() && !row.comm().is_empty(), "{row:?}");
    let least: u64 = (0..).zip(row.buckets).map(|(n, calls)| if n == 0 { 0 } else { calls << (n + 6) }).sum();
    assert!(row.duration_ns >= least, "{row:?}");
    if row.buckets[31] == 0 {
        let most: u64 = (0..).zip(row.buckets).map(|(n, calls)| calls << (n + 7)).sum();
        assert!(row.duration_ns < most, "{row:?}");
    }
}

fn take(activity: &mut Activity, sums: &mut Sums) {
    activity.take(&mut |row| add(sums, row)).expect("rows");
}

/// Takes the programs out, and holds all that was taken against what they counted.
fn end(mut activity: Activity, sums: &mut Sums) -> ActivityCounters {
    activity.end(&mut |row| add(sums, row)).expect("rows");
    let counters = activity.counters().expect("counters");
    let told: u64 = sums.values().map(|sum| sum.calls).sum();
    assert_eq!((counters.gap(), counters.counted), (0, told), "{counters:?}");
    assert_eq!(counters.seen, told + counters.no_room + counters.unfinished + counters.unnoted, "{counters:?}");
    counters
}

/// Of a process by that id, however many there were.
fn of(sums: &Sums, pid: u32, number: u32) -> Vec<&Sum> {
    sums.iter().filter(|((_, of, call), _)| (*of, *call) == (pid, number)).map(|(_, sum)| sum).collect()
}

#[test]
fn exactly_the_calls_that_were_made_are_counted_over_many_takings() {
    const COUNT: u64 = 10_000;
    const THREADS: u64 = 32;
    let _alone = alone();
    let program = Stopped::start(&CALLS.1, &["calls", &COUNT.to_string(), &THREADS.to_string()]);
    let pid = program.pid();
    let Some(mut activity) = activity(ROWS) else { return };
    let mut sums = Sums::new();
    let running = std::thread::spawn(move || program.go());
    let begun = Instant::now();
    while !running.is_finished() {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        take(&mut activity, &mut sums);
    }
    running.join().expect("it ended");
    let counters = end(activity, &mut sums);
    assert_eq!((counters.no_room, counters.unnoted), (0, 0), "{counters:?}");
    let (parents, opens) = (of(&sums, pid, number(libc::SYS_getppid)), of(&sums, pid, number(libc::SYS_openat)));
    assert_eq!((parents.len(), opens.len()), (1, 1), "one process");
    assert_eq!((parents[0].calls, parents[0].errors), (COUNT * THREADS, 0));
    assert!(parents[0].takings > 1, "{parents:?}");
    // One for twenty, all of them failing: the program's own libraries were loaded before it stopped.
    assert_eq!((opens[0].calls, opens[0].errors), (COUNT * THREADS / 20, COUNT * THREADS / 20));
    assert!(counters.unfinished >= THREADS, "each thread ends within exit: {counters:?}");
}

#[test]
fn processes_that_live_for_a_millisecond_are_counted_each_by_itself() {
    let _alone = alone();
    let program = Stopped::start(&CALLS.1, &["short", "300"]);
    let Some(mut activity) = activity(ROWS) else { return };
    let printed = program.go();
    let mut sums = Sums::new();
    take(&mut activity, &mut sums);
    end(activity, &mut sums);
    assert_eq!(printed.len(), 300);
    for pid in printed {
        let pid = pid.parse().expect("an id");
        let parents = of(&sums, pid, number(libc::SYS_getppid));
        assert_eq!(parents.iter().map(|sum| (sum.calls, sum.errors)).collect::<Vec<_>>(), [(1, 0)]);
        let opens = of(&sums, pid, number(libc::SYS_openat));
        assert_eq!(opens.iter().map(|sum| (sum.calls, sum.errors)).collect::<Vec<_>>(), [(1, 1)]);
    }
}

#[test]
fn an_id_that_is_used_again_is_another_process() {
    let _alone = alone();
    let first = Stopped::start(&CALLS.1, &["calls", "20", "1"]);
    let pid = first.pid();
    let Some(mut activity) = activity(ROWS) else { return };
    first.go();
    let second = (0..2_000).find_map(|_| {
        // The kernel is asked to give it next; others may be first.
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root");
        let second = Stopped::start(&CALLS.1, &["calls", "60", "1"]);
        (second.pid() == pid).then_some(second)
    });
    second.expect("others took the id each time").go();
    let mut sums = Sums::new();
    take(&mut activity, &mut sums);
    end(activity, &mut sums);
    let both = of(&sums, pid, number(libc::SYS_getppid));
    assert_eq!(both.iter().map(|sum| sum.calls).collect::<Vec<_>>(), [20, 60]);
}

/// What finds no room is counted, to the call, and the next taking has room again.
#[test]
fn a_full_map_counts_what_it_cannot_take() {
    let _alone = alone();
    let program = Stopped::start(&CALLS.1, &["short", "100"]);
    let Some(mut activity) = activity(10) else { return };
    let parent = program.pid();
    program.go();
    let mut sums = Sums::new();
    take(&mut activity, &mut sums);
    assert!((1..=10).contains(&sums.len()), "{}", sums.len());
    let before = activity.counters().expect("counters");
    assert!(before.no_room > 200, "a hundred processes made two calls each: {before:?}");
    let again = Stopped::start(&CALLS.1, &["short", "100"]);
    let pid = again.pid();
    assert_ne!(pid, parent);
    again.go();
    let rows = sums.len();
    let counters = end(activity, &mut sums);
    assert!(sums.len() > rows && sums.len() <= rows + 10, "{} after {rows}", sums.len());
    assert!(counters.no_room > before.no_room, "{counters:?}");
}

#[test]
fn a_call_is_in_the_bucket_of_its_duration() {
    let _alone = alone();
    let program = Stopped::start(&CALLS.1, &["sleeps", "20"]);
    let pid = program.pid();
    let Some(mut activity) = activity(ROWS) else { return };
    program.go();
    let mut sums = Sums::new();
    take(&mut activity, &mut sums);
    end(activity, &mut sums);
    let sleeps = of(&sums, pid, number(libc::SYS_clock_nanosleep));
    let [sleeps] = sleeps.as_slice() else { panic!("{sleeps:?}") };
    assert_eq!((sleeps.calls, sleeps.errors), (20, 0));
    // 20 ms are between 2^24 and 2^25 ns, from 16.8 to 33.6 ms; a host that is busy wakes some of them later.
    let (shorter, right) = (sleeps.buckets[..18].iter().sum::<u64>(), sleeps.buckets[18]);
    assert!(shorter == 0 && right >= 10, "{sleeps:?}");
    assert!(sleeps.duration_ns >= 20 * 20_000_000, "{sleeps:?}");
    let unknown = of(&sums, pid, UNKNOWN);
    assert_eq!(unknown.iter().map(|sum| (sum.calls, sum.errors)).collect::<Vec<_>>(), [(1, 1)]);
}

#[test]
fn nothing_is_left_behind() {
    let _alone = alone();
    let Some(activity) = activity(ROWS) else { return };
    let ours = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("descriptors");
        let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().contains("bpf")).count()
    };
    assert!(ours() > 5, "{}", ours());
    drop(activity);
    assert_eq!(ours(), 0);
}
