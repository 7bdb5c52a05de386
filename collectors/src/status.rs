//! How an agent is, for people and probes: plain values that serialize to JSON.

use crate::{
    clock::Moment,
    metrics::{Numbers, ProcessesBy, SyscallsBy},
};
use amoskys_bus::{BusError, Fault};
use serde::Serialize;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// So many different reasons of one outage are logged.
const BUS_TOLD_MAX: usize = 8;
/// When an outage goes on it is logged again.
const BUS_TOLD_AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// An agent at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentReport {
    pub agent_id: String,
    /// All threads run, the write-ahead log takes envelopes, and the bus took the last one.
    pub healthy: bool,
    /// What is wrong, in words; empty when healthy.
    pub problems: Vec<String>,
    /// "ebpf", "proc_connector" or "snapshots".
    pub process_source: &'static str,
    /// "ebpf", "audit_netlink", "audit_log" or "off".
    pub syscall_source: &'static str,
    /// Why system calls are not seen, or not by what comes before in that list, although it was wished for.
    pub syscall_problem: Option<String>,
    /// Lines of the audit source that are no records of audit, and the beginning of the last of them.
    pub audit_malformed_lines: u64,
    pub audit_malformed_example: Option<String>,
    /// "whole", "in_part" or "off": whether it has given up what it does not need.
    pub confinement: &'static str,
    /// Why not, or not all of it.
    pub confinement_problem: Option<String>,
    /// That are left; empty also where it did not confine itself.
    pub capabilities: Vec<String>,
    pub uptime_seconds: u64,
    pub events_seen: u64,
    pub events_recovered: u64,
    pub events_filtered: u64,
    pub events_dropped: u64,
    /// In the queue or the open batch.
    pub events_in_hand: u64,
    pub events_in_wal: u64,
    pub events_acknowledged: u64,
    pub kernel_lost_messages: u64,
    pub wal_records: u64,
    pub wal_bytes: u64,
    pub wal_bytes_max: u64,
    pub in_flight_records: u64,
    /// The last thing that went wrong, also when it has passed.
    pub last_error: Option<LastError>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    pub text: String,
    /// Microseconds since 1970.
    pub time_us: i64,
}

/// What the threads say of themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<Mutex<HealthState>>);

/// What was logged of an outage, and since when.
#[derive(Debug, Clone, Default)]
struct Told {
    texts: Vec<String>,
    since: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
struct HealthState {
    bus_problem: Option<String>,
    bus_told: Told,
    wal_problem: Option<String>,
    last_error: Option<LastError>,
}

impl Health {
    pub fn bus_works(&self) {
        let mut state = self.lock();
        state.bus_problem = None;
        state.bus_told = Told::default();
    }

    pub fn bus_failed(&self, text: String) {
        self.lock().bus_failed(text, false);
    }

    /// As `bus_failed`, of what the bus's client says.
    pub fn bus_refused(&self, error: &BusError) {
        self.lock().bus_failed(error.to_string(), error.fault() == Fault::User);
    }

    pub fn wal_works(&self) {
        self.lock().wal_problem = None;
    }

    pub fn wal_failed(&self, text: String) {
        let mut state = self.lock();
        if state.wal_problem.is_none() {
            tracing::error!(error = %text, "events are lost");
        }
        state.wal_problem = Some(text.clone());
        state.note(text);
    }

    /// Notes an error that concerns single envelopes.
    pub fn note(&self, text: String) {
        self.lock().note(text);
    }

    fn lock(&self) -> MutexGuard<'_, HealthState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The report, with the problems of threads that ended added.
    pub fn report(&self, agent_id: &str, started: Moment, numbers: &Numbers, ended: Vec<String>) -> AgentReport {
        let state = self.lock().clone();
        let mut problems = ended;
        problems.extend(state.bus_problem.into_iter().chain(state.wal_problem));
        let (ledger, confinement) = (&numbers.ledger, numbers.confinement.as_ref());
        AgentReport {
            agent_id: agent_id.to_owned(),
            healthy: problems.is_empty(),
            problems,
            process_source: process_source(numbers),
            syscall_source: syscall_source(numbers),
            syscall_problem: numbers.syscall_problem.clone(),
            audit_malformed_lines: numbers.audit.malformed_lines,
            audit_malformed_example: numbers.audit.malformed_example.clone(),
            confinement: confinement
                .map_or("off", |confinement| if confinement.is_whole { "whole" } else { "in_part" }),
            confinement_problem: confinement
                .map(|confinement| confinement.problems.join("; "))
                .filter(|problems| !problems.is_empty()),
            capabilities: confinement.map(|confinement| confinement.kept.clone()).unwrap_or_default(),
            uptime_seconds: Moment::now().boot_ns.saturating_sub(started.boot_ns) / 1_000_000_000,
            events_seen: ledger.seen(),
            events_recovered: ledger.recovered(),
            events_filtered: ledger.filtered(),
            events_dropped: ledger.dropped(),
            events_in_hand: ledger.in_hand(),
            events_in_wal: ledger.in_wal(),
            events_acknowledged: ledger.acknowledged(),
            kernel_lost_messages: numbers.kernel_lost_messages,
            wal_records: numbers.wal_records,
            wal_bytes: numbers.wal_bytes,
            wal_bytes_max: numbers.wal_bytes_max,
            in_flight_records: numbers.in_flight_records,
            last_error: state.last_error,
        }
    }
}

impl HealthState {
    /// Said once per outage, and again when there is something else to put right, or after a long while; the numbers tell
    /// how often it was tried.
    fn bus_failed(&mut self, text: String, is_for_users: bool) {
        let told = &mut self.bus_told;
        if told.since.is_some_and(|since| since.elapsed() > BUS_TOLD_AGAIN_AFTER) {
            *told = Told::default();
        }
        let is_other = is_for_users && told.texts.len() < BUS_TOLD_MAX && !told.texts.contains(&text);
        if told.texts.is_empty() || is_other {
            tracing::warn!(error = %text, "the bus does not take envelopes; they stay in the write-ahead log");
            told.since.get_or_insert_with(Instant::now);
            told.texts.push(text.clone());
        }
        self.bus_problem = Some(text.clone());
        self.note(text);
    }

    fn note(&mut self, text: String) {
        self.last_error = Some(LastError { text, time_us: Moment::now().wall_us });
    }
}

/// The words of AgentStatus.process_source.
pub(crate) fn process_source(numbers: &Numbers) -> &'static str {
    match numbers.processes_by {
        ProcessesBy::Ebpf => "ebpf",
        ProcessesBy::Connector => "proc_connector",
        ProcessesBy::Snapshots => "snapshots",
    }
}

/// The words of AgentStatus.syscall_source.
pub(crate) fn syscall_source(numbers: &Numbers) -> &'static str {
    match numbers.syscalls_by {
        None => "off",
        Some(SyscallsBy::Ebpf) => "ebpf",
        Some(SyscallsBy::AuditNetlink) => "audit_netlink",
        Some(SyscallsBy::AuditLog) => "audit_log",
    }
}
