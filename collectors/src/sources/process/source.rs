//! The process source's thread: takes what the kernel tells, reads `/proc`, asks the tracker, hands on events.
//!
//! Deliberately not here: decisions (see `tracker`), what the kernel tells (see `feed`), hashing (see `files`). Limits: a full queue makes it
//! wait; the kernel's ring or buffer then takes as much as it is configured for, and what is dropped is counted.

use super::{
    event::micros,
    feed::{Feed, ProcessesError, Report, WAIT, WAIT_LONG, What},
    files::Files,
    outbox::{Outbox, Reported},
    procfs::{Procfs, Reading},
    recheck::Rechecks,
    tracker::{Lifecycle, Tracker, Units},
};
use crate::{
    clock::Moment,
    config::ProcessConfig,
    ledger::{Filter, Origin},
    metrics::{ProcessesBy, SharedNumbers},
    queue::{EventQueue, Queued},
    stream::Stream,
};
use amoskys_ebpf::KernelTypes;
use std::time::Duration;

/// After something was lost the next pass comes early, but not more often than this.
const EARLY_PASS_AFTER_NS: u64 = 1_000_000_000;
/// Processes read per turn of a pass, about a millisecond.
const PROCESSES_PER_TURN_MAX: usize = 16;

/// The source, ready to run in a thread of its own.
pub struct ProcessSource {
    config: ProcessConfig,
    /// `None`: snapshots are compared.
    feed: Option<Feed>,
    procfs: Procfs,
    tracker: Tracker,
    rechecks: Rechecks,
    outbox: Outbox,
    pass: Pass,
    numbers: SharedNumbers,
    queue: EventQueue,
}

/// A pass over `/proc`.
#[derive(Debug, Default)]
struct Pass {
    next_due_ns: u64,
    started_ns: u64,
    /// Still to be read; last first.
    left: Option<Vec<u32>>,
}

impl ProcessSource {
    /// Opens the way to what the kernel tells (before the first pass, so that nothing falls between) and `/proc`.
    ///
    /// # Errors
    /// There is no `/proc`, or what is demanded cannot be had.
    pub fn open(
        config: ProcessConfig,
        types: &KernelTypes,
        numbers: SharedNumbers,
        queue: EventQueue,
    ) -> Result<Self, ProcessesError> {
        let feed = Feed::open(&config, types, &numbers)?;
        let procfs = Procfs::open(&config).map_err(ProcessesError::Proc)?;
        let now = Moment::now();
        let units = Units {
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            page_bytes: rustix::param::page_size() as u64,
            boot_wall_us: now.wall_us_at_boot(0),
        };
        numbers.lock().processes_by = feed.as_ref().map_or(ProcessesBy::Snapshots, Feed::by);
        Ok(Self {
            tracker: Tracker::new(config.processes_max, config.ancestors_max, units),
            outbox: Outbox::new(config.files.wait.as_nanos() as u64),
            rechecks: Rechecks::new(config.exe_recheck_after.as_nanos() as u64),
            feed,
            procfs,
            pass: Pass::default(),
            config,
            numbers,
            queue,
        })
    }

    /// Runs until the queue is closed or told to stop.
    pub fn run(mut self) {
        // Before the priority is raised, which a new thread would have too: hashing is in no hurry.
        match Files::start(&self.config.files, self.queue.stop_order(), self.numbers.clone()) {
            Ok(files) => self.procfs.tell_of(files),
            Err(error) => tracing::error!(%error, "executables have no digests: their thread cannot be started"),
        }
        // On Linux this is the calling thread's. Without the right to it, more of the short-lived are gone when read.
        if let Err(error) = rustix::process::setpriority_process(None, self.config.thread_nice) {
            tracing::debug!(%error, nice = self.config.thread_nice, "the process thread keeps its priority");
        }
        while !self.queue.is_stopped() {
            let busy = self.pass.left.is_some();
            match self.feed {
                Some(_) if busy => drop(self.turn(Duration::ZERO)),
                // Answers do not wake this thread.
                Some(_) => drop(self.turn(if self.outbox.is_empty() { WAIT_LONG } else { WAIT })),
                None if busy => {}
                None => std::thread::sleep(WAIT),
            }
            self.pass_turn();
            self.look_again();
            self.send(Moment::now().boot_ns, false);
        }
        if self.feed.as_mut().is_some_and(Feed::end) {
            while self.turn(Duration::ZERO) > 0 {}
        }
        self.send(Moment::now().boot_ns, true);
    }

    fn lifecycle(&self) -> Lifecycle {
        if self.feed.is_some() { Lifecycle::Reported } else { Lifecycle::Compared }
    }

    /// Handles what the kernel has told, waiting for the first of it at most `wait`. How much it was.
    fn turn(&mut self, wait: Duration) -> usize {
        let Some(mut feed) = self.feed.take() else { return 0 };
        let turn = feed.take(wait, &mut self.procfs);
        if turn.lost {
            // An early pass finds what it was about.
            let early_ns = self.pass.started_ns + EARLY_PASS_AFTER_NS;
            self.pass.next_due_ns = self.pass.next_due_ns.min(early_ns);
        }
        let (now_ns, mut reports) = (Moment::now().boot_ns, 0);
        while let Some(report) = feed.next(&mut self.procfs) {
            self.handle(report, now_ns);
            self.send(now_ns, false);
            reports += 1;
        }
        match turn.broken {
            None => self.feed = Some(feed),
            Some(error) => {
                tracing::error!(error, "the kernel does not tell of processes any more; going on with snapshots only");
                self.numbers.lock().processes_by = ProcessesBy::Snapshots;
            }
        }
        std::thread::sleep(turn.rest);
        reports
    }

    fn handle(&mut self, Report { at, what, reading }: Report, now_ns: u64) {
        let is_kernels = reading.stat.as_ref().is_some_and(|stat| stat.kernel_thread);
        match what {
            _ if is_kernels && !self.config.kernel_threads => self.filter(Filter::KernelThread),
            What::Fork { parent, child } => {
                self.know(parent);
                let reported = self.tracker.forked(at, parent, child, &reading);
                self.emit(reported, now_ns);
            }
            What::Exec { pid } => {
                let reported = self.tracker.executed(at, pid, &reading);
                let event = &reported.event;
                if !event.exe.is_empty() && !event.exe_deleted {
                    self.rechecks.plan(pid, event.process_key, at.boot_ns);
                }
                self.emit(reported, now_ns);
            }
            What::Exit { pid, parent, code } => {
                let reported = self.tracker.exited(at, pid, parent, code, &reading);
                self.emit(reported, now_ns);
            }
            What::Ids { pid, group, real, effective } => {
                if !self.tracker.is_later(pid, at) {
                    self.tracker.ids_changed(pid, group, real, effective);
                }
                self.filter(Filter::OtherKind);
            }
            What::Comm { pid, comm } => {
                if !self.tracker.is_later(pid, at) {
                    self.tracker.renamed(pid, &comm);
                }
                self.filter(Filter::OtherKind);
            }
            What::Filtered(filter) => self.filter(filter),
        }
    }

    /// Reads a process that the first pass has not come to, or whose own start was lost, and those that it came from as
    /// far as they are named.
    fn know(&mut self, pid: u32) {
        let mut unknown: Vec<(u32, Reading)> = Vec::new();
        let mut next = pid;
        while next != 0 && !self.tracker.knows(next) && unknown.len() <= self.config.ancestors_max {
            let reading = self.procfs.read(next);
            let Some(stat) = &reading.stat else { break };
            let parent = stat.parent;
            unknown.push((next, reading));
            next = parent;
        }
        for (pid, reading) in unknown.iter().rev() {
            self.tracker.learn(*pid, reading);
        }
    }

    /// Begins a pass when it is due, and goes on with the one that is under way.
    fn pass_turn(&mut self) {
        let now = Moment::now();
        if self.pass.left.is_none() && now.boot_ns >= self.pass.next_due_ns {
            let pids = self.procfs.pids().inspect_err(|error| tracing::error!(%error, "/proc cannot be listed"));
            let mut pids = pids.unwrap_or_default();
            pids.sort_unstable_by(|a, b| b.cmp(a));
            self.tracker.begin_pass();
            let next_due_ns = now.boot_ns + self.config.snapshot_interval.as_nanos() as u64;
            self.pass = Pass { next_due_ns, started_ns: now.boot_ns, left: Some(pids) };
        }
        let Some(mut left) = self.pass.left.take() else { return };
        for _ in 0..PROCESSES_PER_TURN_MAX.min(left.len()) {
            if let Some(pid) = left.pop() {
                self.look(pid);
            }
        }
        if left.is_empty() { self.end_pass() } else { self.pass.left = Some(left) }
    }

    fn look(&mut self, pid: u32) {
        let reading =
            if self.config.kernel_threads { self.procfs.read(pid) } else { self.procfs.read_unless_kernel_thread(pid) };
        if let Some(stat) = reading.stat.as_ref().filter(|stat| stat.kernel_thread && !self.config.kernel_threads) {
            // One that was learnt as somebody's parent has not ended because it is not told of.
            self.tracker.still_there(pid, stat);
            self.numbers.lock().ledger.see(Origin::Snapshot, 1);
            return self.filter(Filter::KernelThread);
        }
        let lifecycle = self.lifecycle();
        // Where snapshots are compared, what is learnt silently would not be told as started.
        let learns = lifecycle == Lifecycle::Reported || self.tracker.is_first_pass();
        if let Some(stat) = reading.stat.as_ref().filter(|_| learns && !self.tracker.knows(pid)) {
            self.know(stat.parent);
        }
        let events = self.tracker.found(Moment::now(), pid, &reading, lifecycle);
        self.emit_found(events);
    }

    fn end_pass(&mut self) {
        let now = Moment::now();
        let lifecycle = self.lifecycle();
        let events = self.tracker.end_pass(now, lifecycle);
        self.emit_found(events);
        let mut numbers = self.numbers.lock();
        numbers.snapshots += 1;
        numbers.last_snapshot_seconds = now.boot_ns.saturating_sub(self.pass.started_ns) as f64 / 1e9;
        numbers.known_processes = self.tracker.known_processes() as u64;
        numbers.forgotten_processes = self.tracker.forgotten();
    }

    /// Reports executables that were deleted since their start.
    fn look_again(&mut self) {
        let now = Moment::now();
        while let Some(due) = self.rechecks.take_due(now.boot_ns) {
            if self.tracker.key(due.pid) != Some(due.key) || self.queue.is_stopped() {
                continue;
            }
            if self.procfs.executable(due.pid).is_some_and(|exe| exe.deleted) {
                let reading: Reading = self.procfs.read(due.pid);
                let events = self.tracker.found(now, due.pid, &reading, Lifecycle::Reported);
                self.emit_found(events);
            }
        }
    }

    fn filter(&self, filter: Filter) {
        self.numbers.lock().ledger.filter(filter, 1);
    }

    /// Hands on events that no kernel message announced.
    fn emit_found(&mut self, events: Vec<Reported>) {
        for reported in events {
            self.numbers.lock().ledger.see(Origin::Snapshot, 1);
            self.emit(reported, Moment::now().boot_ns);
        }
    }

    /// Into the outbox, which is sent after each turn.
    fn emit(&mut self, reported: Reported, now_ns: u64) {
        let event = &reported.event;
        if !event.unreadable.is_empty() || !event.masked.is_empty() {
            let mut numbers = self.numbers.lock();
            numbers.unreadable_files += event.unreadable.len() as u64;
            numbers.masked_events += u64::from(!event.masked.is_empty());
        }
        self.outbox.push(reported, now_ns);
    }

    /// Hands on what need not wait for its executable's digest any longer, or all there is.
    fn send(&mut self, now_ns: u64, all: bool) {
        while let Some((event, late)) = self.outbox.pop(now_ns, all) {
            if late {
                self.numbers.lock().late_digest_events += 1;
            }
            let event_time_us = event.observed_at.as_ref().map_or(0, micros);
            self.queue.push(Queued::of(Stream::Process, event_time_us, &event));
        }
    }
}
