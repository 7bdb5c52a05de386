//! What is known of the live processes, and how a report of one becomes an event.
//!
//! Pure: what the kernel said and what `/proc` showed come as arguments, with their moment. A process inherits its
//! parent's program at fork, so short-lived children are described although nothing could be read of them.
//! Limits: `processes_max` are remembered; further ones are reported without parent, lifetime and last program.

use super::{
    event,
    lineage::{Lineage, Session},
    outbox::Reported,
    procfs::Reading,
    program::{PID_BITS, Program, process_key},
};
use crate::{clock::Moment, sources::process::parse::Stat};
use amoskys_proto::v1::ProcessEventKind as Kind;
use std::{collections::HashMap, sync::Arc};

/// How clock ticks and pages of this host convert, and when it booted.
#[derive(Debug, Clone, Copy)]
pub struct Units {
    pub ticks_per_second: u64,
    pub page_bytes: u64,
    /// Wall time of boot, microseconds since 1970, as the clock stood when the agent started: one constant, so that a
    /// process has the same start time in all of its events.
    pub boot_wall_us: i64,
}

/// Passes that do not show a process before it has ended, where the kernel reports exits.
const ABSENCES_REPORTED: u64 = 2;

/// A live process.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub key: u64,
    /// Nanoseconds since boot.
    pub started_boot_ns: Option<u64>,
    pub parent_pid: u32,
    pub program: Arc<Program>,
    pub parent: Option<Arc<Program>>,
    pub lineage: Lineage,
    /// The last pass over `/proc` that it was there in.
    pass: u64,
}

/// All live processes, by id.
#[derive(Debug)]
pub struct Tracker {
    known: HashMap<u32, Known>,
    processes_max: usize,
    ancestors_max: usize,
    units: Units,
    pass: u64,
    forgotten: u64,
}

/// How starts and exits come to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// The kernel reports them; snapshots only fill in what it lost.
    Reported,
    /// By comparing snapshots.
    Compared,
}

impl Tracker {
    pub fn new(processes_max: usize, ancestors_max: usize, units: Units) -> Self {
        Self { known: HashMap::new(), processes_max, ancestors_max, units, pass: 0, forgotten: 0 }
    }

    /// Live processes remembered.
    pub fn known_processes(&self) -> usize {
        self.known.len()
    }

    /// Processes not remembered because of `processes_max`, so far.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether this process is remembered.
    pub fn knows(&self, pid: u32) -> bool {
        self.known.contains_key(&pid)
    }

    /// The unique key of a remembered process.
    pub fn key(&self, pid: u32) -> Option<u64> {
        self.known.get(&pid).map(|known| known.key)
    }

    /// A process that was there before anybody asked: remembered, not reported.
    pub fn learn(&mut self, pid: u32, reading: &Reading) {
        let known = self.known_from(pid, reading);
        self.remember(pid, known);
    }

    /// The kernel reported a new process; `reading` is of the child, as far as it was told of or still there.
    pub fn forked(&mut self, at: Moment, parent: u32, child: u32, reading: &Reading) -> Reported {
        let stat = reading.stat.as_ref().filter(|stat| !self.units.started_after(stat, at));
        // Of a later process with the parent's id it is no child.
        let is_later = self.is_later(parent, at);
        let mut known_parent = self.known.get_mut(&parent).filter(|_| !is_later);
        // The child is a copy of what the parent is now, which it may not have been when it was read.
        if let (Some(known), true) = (&mut known_parent, reading.ids.is_some()) {
            known.is_now(reading);
        }
        let known_parent = known_parent.as_deref();
        let program = known_parent.map(|known| known.program.clone());
        let lineage = known_parent.map(|known| known.lineage_of_child(self.ancestors_max)).unwrap_or_default();
        // Without stat the report's own time stands in; it is the start time to within microseconds.
        let start_ticks = stat.map_or_else(|| self.units.ns_to_ticks(at.boot_ns), |stat| stat.start_ticks);
        let mut known = Known {
            key: process_key(start_ticks, child),
            started_boot_ns: Some(at.boot_ns),
            parent_pid: parent,
            program: program.clone().unwrap_or_default(),
            parent: program,
            lineage,
            pass: self.pass,
        };
        if stat.is_some() {
            known.is_now(reading);
        }
        let mut reported = event::of(Kind::Fork, at, child, &known, &self.units);
        reported.event.threads = 1;
        if stat.is_none() {
            reported.event.unreadable.push("stat".into());
        }
        // A snapshot may have been quicker than the report and then knows more.
        if self.known.get(&child).is_none_or(|older| older.key != known.key) {
            self.remember(child, known);
        }
        reported
    }

    /// The kernel reported that a process replaced its program.
    pub fn executed(&mut self, at: Moment, pid: u32, reading: &Reading) -> Reported {
        let later = reading.stat.as_ref().is_some_and(|stat| self.units.started_after(stat, at));
        let reading = if later { &Reading::gone() } else { reading };
        let mut known = self.known_from(pid, reading);
        let is_later = self.is_later(pid, at);
        let before = self.known.get(&pid).filter(|before| !is_later && may_be_same(before, &known, reading));
        if let Some(before) = before {
            known.key = before.key;
            known.started_boot_ns = before.started_boot_ns;
            known.parent_pid = before.parent_pid;
            known.parent = before.parent.clone();
            known.lineage = before.lineage.clone();
            known.program = Arc::new(Program::read(reading, Some(&before.program)));
        }
        let reported = event::of_reading(Kind::Exec, at, pid, &known, reading, &self.units);
        if !is_later {
            self.remember(pid, known);
        }
        reported
    }

    /// The kernel reported an exit; `reading` is of the zombie, as far as it was told of or still there.
    pub fn exited(&mut self, at: Moment, pid: u32, parent: u32, code: i32, reading: &Reading) -> Reported {
        let unknown = || Known {
            key: 0,
            started_boot_ns: None,
            parent_pid: parent,
            program: Arc::default(),
            parent: None,
            lineage: Lineage::default(),
            pass: 0,
        };
        // Its id may be another's by now.
        let is_it = !self.is_later(pid, at);
        let mut known = if is_it { self.known.remove(&pid) } else { None }.unwrap_or_else(unknown);
        let stat = reading.stat.as_ref().filter(|stat| !self.units.started_after(stat, at));
        if stat.is_some() && reading.ids.is_some() {
            known.is_now(reading);
        }
        let mut reported = event::of(Kind::Exit, at, pid, &known, &self.units);
        match stat {
            Some(stat) => event::add_stat(&mut reported.event, stat, &self.units),
            None => reported.event.unreadable.push("stat".into()),
        }
        reported.event.exit_code = code;
        reported
    }

    /// Whether the remembered process of that id started after that moment, so that a report of then is of another one.
    pub fn is_later(&self, pid: u32, at: Moment) -> bool {
        let started_ns = self.known.get(&pid).and_then(|known| known.started_boot_ns);
        started_ns.is_some_and(|ns| self.units.ns_to_ticks(ns) > self.units.ns_to_ticks(at.boot_ns))
    }

    /// A process's ids changed: its later children have the new ones.
    pub fn ids_changed(&mut self, pid: u32, group: bool, real: u32, effective: u32) {
        if let Some(known) = self.known.get_mut(&pid) {
            let ids = &mut Arc::make_mut(&mut known.program).ids;
            if group {
                (ids.gid, ids.egid) = (real, effective);
            } else {
                (ids.uid, ids.euid) = (real, effective);
            }
        }
    }

    /// A process renamed itself.
    pub fn renamed(&mut self, pid: u32, comm: &str) {
        if let Some(known) = self.known.get_mut(&pid) {
            Arc::make_mut(&mut known.program).comm = comm.to_owned();
        }
    }

    /// A pass over `/proc` begins.
    pub fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// A pass over `/proc` came by this process and tells nothing of it.
    pub fn still_there(&mut self, pid: u32, stat: &Stat) {
        let pass = self.pass;
        if let Some(known) = self.known.get_mut(&pid).filter(|known| known.key == process_key(stat.start_ticks, pid)) {
            known.pass = pass;
        }
    }

    /// Whether nothing can be compared yet.
    pub fn is_first_pass(&self) -> bool {
        self.pass <= 1
    }

    /// A pass over `/proc` showed this process. Where snapshots are compared, a process that the last one did not show
    /// gives FORK, and EXEC if it does not run its parent's program; otherwise it is reported as SNAPSHOT.
    pub fn found(&mut self, at: Moment, pid: u32, reading: &Reading, lifecycle: Lifecycle) -> Vec<Reported> {
        // Gone between the listing and the reading: the exit is reported on its own.
        if reading.stat.is_none() {
            return Vec::new();
        }
        let mut known = self.known_from(pid, reading);
        let mut events = Vec::new();
        if self.known.get(&pid).is_some_and(|before| !may_be_same(before, &known, reading)) {
            // Its id was given to another process. Reports of that may still be on the way; then they tell the rest.
            if lifecycle == Lifecycle::Reported && self.known[&pid].pass + ABSENCES_REPORTED > self.pass {
                return events;
            }
            events.push(self.exited(at, pid, 0, 0, &Reading::default()));
        }
        let before = self.known.get(&pid).filter(|before| may_be_same(before, &known, reading));
        if let Some(before) = before {
            known.key = before.key;
            known.started_boot_ns = before.started_boot_ns;
            known.parent = before.parent.clone();
            known.lineage = before.lineage.clone();
        }
        let compared = lifecycle == Lifecycle::Compared && !self.is_first_pass();
        let is_new = before.is_none();
        let program_before = before.map(|before| &before.program).or(known.parent.as_ref());
        let runs_other = program_before.is_none_or(|program| program.exe != known.program.exe);
        let kinds: &[Kind] = match (compared, is_new, runs_other) {
            (true, true, true) => &[Kind::Fork, Kind::Exec],
            (true, true, false) => &[Kind::Fork],
            (true, false, true) => &[Kind::Exec],
            _ => &[Kind::Snapshot],
        };
        events.extend(kinds.iter().map(|kind| event::of_reading(*kind, at, pid, &known, reading, &self.units)));
        self.remember(pid, known);
        events
    }

    /// The pass is over. Processes that it did not show have ended: at once where snapshots are compared, after a
    /// second absence where the kernel reports exits and its report may still be on the way.
    pub fn end_pass(&mut self, at: Moment, lifecycle: Lifecycle) -> Vec<Reported> {
        let absences = if lifecycle == Lifecycle::Compared { 1 } else { ABSENCES_REPORTED };
        let pass = self.pass;
        let mut gone: Vec<u32> =
            self.known.iter().filter(|(_, known)| known.pass + absences <= pass).map(|(pid, _)| *pid).collect();
        gone.sort_unstable();
        gone.into_iter().map(|pid| self.exited(at, pid, 0, 0, &Reading::default())).collect()
    }

    fn known_from(&self, pid: u32, reading: &Reading) -> Known {
        let stat = reading.stat.as_ref();
        let parent_pid = stat.map_or(0, |stat| stat.parent);
        let parent = self.known.get(&parent_pid);
        Known {
            key: stat.map_or(0, |stat| process_key(stat.start_ticks, pid)),
            started_boot_ns: stat.map(|stat| self.units.ticks_to_ns(stat.start_ticks)),
            parent_pid,
            program: Arc::new(Program::read(reading, None)),
            parent: parent.map(|parent| parent.program.clone()),
            lineage: parent.map(|parent| parent.lineage_of_child(self.ancestors_max)).unwrap_or_default(),
            pass: self.pass,
        }
    }

    fn remember(&mut self, pid: u32, known: Known) {
        if self.known.len() < self.processes_max || self.known.contains_key(&pid) {
            self.known.insert(pid, known);
        } else {
            self.forgotten += 1;
        }
    }
}

/// Whether what was read can be the remembered process: a start time that stood in for an unreadable one may be a
/// clock tick late.
fn may_be_same(before: &Known, now: &Known, reading: &Reading) -> bool {
    reading.stat.is_none() || (before.key >> PID_BITS).abs_diff(now.key >> PID_BITS) <= 1
}

impl Known {
    fn lineage_of_child(&self, ancestors_max: usize) -> Lineage {
        Lineage::of_child(&self.program, &self.lineage, ancestors_max)
    }

    /// What may have changed since its program was read: the session, and where the kernel told of it the name, the ids and the login. A name
    /// that was read may be that of a later program.
    fn is_now(&mut self, reading: &Reading) {
        let Some(stat) = &reading.stat else { return };
        let before = &self.program;
        let session = Session::read(stat, reading.login_uid.unwrap_or(before.session.login_uid));
        let ids = reading.ids.unwrap_or(before.ids);
        let renamed = reading.ids.is_some() && before.comm != stat.comm;
        if before.session == session && before.ids == ids && !renamed {
            return;
        }
        let program = Arc::make_mut(&mut self.program);
        (program.session, program.ids) = (session, ids);
        if renamed {
            program.comm.clone_from(&stat.comm);
        }
    }
}

impl Units {
    /// Whether what `/proc` shows is of a process that started after a report, so of a later one with the same id.
    fn started_after(&self, stat: &Stat, at: Moment) -> bool {
        stat.start_ticks > self.ns_to_ticks(at.boot_ns)
    }

    fn ns_to_ticks(&self, ns: u64) -> u64 {
        (u128::from(ns) * u128::from(self.ticks_per_second) / 1_000_000_000) as u64
    }

    pub fn ticks_to_ns(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks_per_second.max(1))) as u64
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
