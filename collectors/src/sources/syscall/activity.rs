//! The thread that takes what the kernel has counted of all calls, each interval: rows → events → queue, counters → account.
//!
//! Each row is an event, seen when it is taken out of the kernel. Of calls there is another account beside the ledger's of events: what
//! the kernel saw is told, waits in the kernel to be told, or is uncounted for a reason, in every scrape.
//! Deliberately not here: counting (`amoskys-ebpf`), what the numbers mean (the processors'). Limits: `rows_max` processes and calls in an
//! interval; a full queue makes this thread wait, and the interval is longer then, which the events say. Executables are read of processes
//! that are still there at the interval's end.

use super::all::CallNames;
use crate::{
    clock::Moment,
    config::ActivityConfig,
    ledger::Origin,
    metrics::SharedNumbers,
    queue::{EventQueue, Queued},
    sources::process::{process_key, timestamp},
    stream::Stream,
};
use amoskys_ebpf::{Activity, ActivityCounters, ActivityRow, KernelTypes, ProbeError};
use amoskys_proto::v1::SyscallActivity;
use std::{collections::HashMap, fs, path::Path, time::Duration};

/// How late a stop is noticed.
const WAIT: Duration = Duration::from_millis(50);
/// As `/proc` counts: a hundredth of a second.
const TICK_NS: u64 = 10_000_000;
/// Readings of the counters until one is of a moment in which no call was being counted, and the pause after each.
const READINGS_MAX: usize = 1_000;
const READING_PAUSE: Duration = Duration::from_millis(1);

/// The source, with its programs in the kernel.
pub struct ActivitySource {
    activity: Activity,
    interval: Duration,
    /// When the interval began that is under way.
    begun: Moment,
    executables: Executables,
    names: CallNames,
    numbers: SharedNumbers,
    queue: EventQueue,
}

impl ActivitySource {
    /// Puts the programs into the kernel.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn open(
        config: &ActivityConfig,
        types: &KernelTypes,
        numbers: SharedNumbers,
        queue: EventQueue,
    ) -> Result<Self, ProbeError> {
        let activity = Activity::load(types, config.rows_max)?;
        Ok(Self {
            activity,
            interval: config.interval,
            begun: Moment::now(),
            executables: Executables::default(),
            names: CallNames::new(),
            numbers,
            queue,
        })
    }

    /// Runs until told to stop; then takes the programs out of the kernel, and what they had counted.
    pub fn run(mut self) {
        if let Err(error) = self.run_until_stopped().and_then(|()| self.turn(Activity::end)) {
            tracing::error!(%error, "system calls are not counted any more");
            self.numbers.lock().syscall_problem = Some(error.to_string());
        }
    }

    fn run_until_stopped(&mut self) -> Result<(), ProbeError> {
        let interval_ns = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        let mut due_ns = self.begun.monotonic_ns.saturating_add(interval_ns);
        while !self.queue.is_stopped() {
            let left_ns = due_ns.saturating_sub(Moment::now().monotonic_ns);
            if left_ns > 0 {
                std::thread::sleep(WAIT.min(Duration::from_nanos(left_ns)));
                continue;
            }
            self.turn(Activity::take)?;
            // Those that were missed while the queue was full are not made up for.
            due_ns = due_ns.saturating_add(interval_ns).max(Moment::now().monotonic_ns);
        }
        Ok(())
    }

    /// Takes the rows, tells the numbers, hands events on.
    fn turn(
        &mut self,
        take: impl FnOnce(&mut Activity, &mut dyn FnMut(&ActivityRow)) -> Result<(), ProbeError>,
    ) -> Result<(), ProbeError> {
        let now = Moment::now();
        let interval_ns = now.monotonic_ns.saturating_sub(self.begun.monotonic_ns);
        let interval_ms = u32::try_from(interval_ns / 1_000_000).unwrap_or(u32::MAX);
        self.begun = now;
        let (mut rows, mut calls) = (Vec::new(), 0);
        let taken = take(&mut self.activity, &mut |row| {
            calls += row.calls();
            rows.push(row.clone());
        });
        let counters = settled(&self.activity)?;
        {
            let mut numbers = self.numbers.lock();
            numbers.activity_told_calls += calls;
            numbers.activity_calls = counters;
            numbers.ledger.see(Origin::Activity, rows.len() as u64);
        }
        for row in &rows {
            let exe = self.executables.of(row);
            let syscall = self.names.name(row.number).into_owned();
            let event = SyscallActivity { interval_ms, syscall, exe: exe.to_owned(), ..event(row, now) };
            self.queue.push(Queued::of(Stream::Activity, now.wall_us, &event));
        }
        self.executables.forget_quiet();
        // What was taken before the kernel refused is told all the same.
        taken
    }
}

/// The counters at a moment in which they agree with each other.
fn settled(activity: &Activity) -> Result<ActivityCounters, ProbeError> {
    let mut counters = activity.counters()?;
    for _ in 0..READINGS_MAX {
        if counters.gap() == 0 {
            return Ok(counters);
        }
        std::thread::sleep(READING_PAUSE);
        counters = activity.counters()?;
    }
    tracing::error!(calls = counters.gap(), "the kernel's counts of calls do not add up; this is a fault of the agent");
    Ok(counters)
}

/// All but what the row has not.
fn event(row: &ActivityRow, ended: Moment) -> SyscallActivity {
    SyscallActivity {
        observed_at: Some(timestamp(ended.wall_us)),
        pid: row.pid,
        process_key: process_key(row.process_started_ns / TICK_NS, row.pid),
        comm: String::from_utf8_lossy(row.comm()).into_owned(),
        uid: row.uid,
        count: row.calls(),
        errors: row.errors,
        total_duration_ns: row.duration_ns,
        latency_counts: row.buckets.to_vec(),
        ..SyscallActivity::default()
    }
}

/// Of processes that made calls in the last interval, so that `/proc` is read once for each and not for each row.
#[derive(Default)]
struct Executables(HashMap<(u64, u32), Executable>);

struct Executable {
    path: String,
    /// A process has another when it starts another program.
    comm: [u8; 16],
    is_active: bool,
}

impl Executables {
    fn of(&mut self, row: &ActivityRow) -> &str {
        let key = (row.process_started_ns, row.pid);
        let is_known = self.0.get(&key).is_some_and(|known| known.comm == row.comm);
        if !is_known {
            let path = executable(row.pid, row.process_started_ns / TICK_NS).unwrap_or_default();
            self.0.insert(key, Executable { path, comm: row.comm, is_active: true });
        }
        self.0.get_mut(&key).map_or("", |known| {
            known.is_active = true;
            &known.path
        })
    }

    fn forget_quiet(&mut self) {
        self.0.retain(|_, known| std::mem::take(&mut known.is_active));
    }
}

/// `None`: it is gone, or is another by now, or has none.
fn executable(pid: u32, started_ticks: u64) -> Option<String> {
    let folder = Path::new("/proc").join(pid.to_string());
    let path = fs::read_link(folder.join("exe")).ok()?;
    // Read behind the path: had it ended before, this would be another's.
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let started: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    (started == started_ticks).then(|| path.to_string_lossy().into_owned())
}
