//! The agent's numbers and how they are shown to Prometheus.
//!
//! One [`Numbers`] per agent behind one lock, so that a scrape sees one moment and the ledger's identity holds in every
//! scrape. Names start with `amoskys_agent_` and end in a unit (counters then in `_total`). Nothing is global: several
//! agents in one process serve their own numbers from the registries they were given.

use crate::{
    confine::Confinement,
    ledger::{FILTERS, LOSSES, Ledger, ORIGINS},
    stream::{STREAMS, Stream},
};
use amoskys_ebpf::{ActivityCounters, Counters, ProcessCounters};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Everything an agent counts.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    pub ledger: Ledger,
    /// Process connector messages that the kernel dropped before they could be read.
    pub kernel_lost_messages: u64,
    pub processes_by: ProcessesBy,
    /// As the kernel counts what happens to processes, at the moment in which `ring_changes` was true.
    pub kernel_changes: ProcessCounters,
    /// What the kernel told of processes and nobody has taken yet.
    pub ring_changes: u64,
    pub snapshots: u64,
    pub last_snapshot_seconds: f64,
    pub known_processes: u64,
    /// Processes that were not remembered because `processes_max` was reached.
    pub forgotten_processes: u64,
    /// Files of `/proc` that were gone or refused.
    pub unreadable_files: u64,
    /// Executables that were hashed, and their bytes.
    pub hashed_files: u64,
    pub hashed_bytes: u64,
    /// Executables that found no room among those that wait to be hashed.
    pub unasked_files: u64,
    /// Events that went without what is told of their executable, because it took too long.
    pub late_digest_events: u64,
    /// Process events and system calls in which secrets were masked.
    pub masked_events: u64,
    /// How system calls are seen. `None`: they are not.
    pub syscalls_by: Option<SyscallsBy>,
    /// Why they are not, or not by what would be better, where that was wished for.
    pub syscall_problem: Option<String>,
    /// `None`: the agent did not confine itself.
    pub confinement: Option<Confinement>,
    pub audit: AuditNumbers,
    /// As the kernel counts calls, at the moment in which `ring_calls` was true.
    pub kernel_calls: Counters,
    /// Calls that the kernel told and nobody has taken yet.
    pub ring_calls: u64,
    /// Calls that are told as numbers, as the kernel counts them, and how many of them have been told.
    pub activity_calls: ActivityCounters,
    pub activity_told_calls: u64,
    pub wal_records: u64,
    pub wal_bytes: u64,
    pub wal_bytes_max: u64,
    /// Damaged write-ahead logs that were renamed and replaced by an empty one.
    pub wal_set_aside_folders: u64,
    /// Last batches of the WAL that were cut off at the start: torn, or damaged.
    pub wal_torn_batches: u64,
    pub in_flight_records: u64,
    pub in_flight_bytes: u64,
    pub published_records: u64,
    pub published_bytes: u64,
    pub failed_sends_records: u64,
}

/// What starts, programs and ends of processes are seen by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProcessesBy {
    Ebpf,
    Connector,
    #[default]
    Snapshots,
}

/// What system calls are seen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyscallsBy {
    Ebpf,
    /// The kernel's audit messages.
    AuditNetlink,
    /// A log file of audit.
    AuditLog,
}

/// What the audit source counts beside events.
#[derive(Debug, Clone, Default)]
pub struct AuditNumbers {
    /// Records that became part of an event.
    pub records: u64,
    /// Records of an event that was over.
    pub late_records: u64,
    /// Lines or messages that are no records of audit, or cut.
    pub malformed_lines: u64,
    /// The beginning of the last of them.
    pub malformed_example: Option<String>,
    /// Events that are not over yet.
    pub open_events: u64,
}

/// The numbers of one agent, shared by its threads.
#[derive(Debug, Clone, Default)]
pub struct SharedNumbers(Arc<Mutex<Numbers>>);

impl SharedNumbers {
    /// Numbers stay usable after a thread panicked while it held them: every step leaves them consistent.
    pub fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows these numbers in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.sub_registry_with_prefix("amoskys_agent").register_collector(Box::new(self.clone()));
    }
}

impl Collector for SharedNumbers {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let numbers = self.lock().clone();
        let mut page = Page(encoder);
        page.ledger(&numbers.ledger)?;
        page.source(&numbers)?;
        page.syscalls(&numbers)?;
        page.wal_and_publisher(&numbers)
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn ledger(&mut self, ledger: &Ledger) -> fmt::Result {
        let seen = ORIGINS.map(|(origin, name)| (name, ledger.seen_from(origin)));
        self.counters("seen", "Events first seen, by origin", "origin", &seen)?;
        let filtered = FILTERS.map(|(filter, name)| (name, ledger.filtered_as(filter)));
        self.counters("filtered", "Events of no interest, by reason", "reason", &filtered)?;
        let unit = Unit::Other("events".into());
        let help = "Events given up, by stream and reason";
        let mut dropped = self.0.encode_descriptor("dropped", help, Some(&unit), MetricType::Counter)?;
        for (stream, name) in STREAMS {
            for (loss, reason) in LOSSES {
                let labels = [("stream", name), ("reason", reason)];
                ConstCounter::new(ledger.dropped_of(stream, loss)).encode(dropped.encode_family(&labels)?)?;
            }
        }
        let by_stream = |of: &dyn Fn(Stream) -> u64| STREAMS.map(|(stream, name)| (name, of(stream)));
        let recovered = by_stream(&|stream| ledger.recovered_of(stream));
        self.counters("recovered", "Events found in the WAL at start, by stream", "stream", &recovered)?;
        let acknowledged = by_stream(&|stream| ledger.acknowledged_of(stream));
        self.counters("acknowledged", "Events acknowledged by the bus, by stream", "stream", &acknowledged)?;
        let in_hand = by_stream(&|stream| ledger.in_hand_of(stream));
        self.gauges("in_hand", "Events that wait for a digest, in the queue or the open batch, by stream", &in_hand)?;
        self.gauges("wal", "Events in the WAL, by stream", &by_stream(&|stream| ledger.in_wal_of(stream)))?;
        let gaps = by_stream(&|stream| ledger.gap_of(stream));
        self.gauges("unaccounted", "Events that the ledger cannot place, by stream; not 0 is a fault", &gaps)
    }

    fn source(&mut self, n: &Numbers) -> fmt::Result {
        self.counter("kernel_lost", "Connector messages lost in the kernel", "messages", n.kernel_lost_messages)?;
        let told = u64::from(n.processes_by != ProcessesBy::Snapshots);
        self.gauge(
            "processes_told",
            "1 when the kernel tells of processes, 0 when snapshots are compared",
            "sources",
            told,
        )?;
        self.counter(
            "kernel_seen",
            "Starts, programs and ends of processes and threads as the kernel counts them, those that it missed among them",
            "changes",
            n.kernel_changes.seen + n.kernel_changes.missed,
        )?;
        self.gauge("ring", "What the kernel told of processes and is not taken yet", "changes", n.ring_changes)?;
        self.counter("finished", "Passes over /proc", "snapshots", n.snapshots)?;
        self.seconds("last_snapshot", "How long the last pass over /proc took", n.last_snapshot_seconds)?;
        self.gauge("known", "Live processes remembered", "processes", n.known_processes)?;
        self.counter("forgotten", "Processes not remembered for lack of room", "processes", n.forgotten_processes)?;
        self.counter("unreadable", "Files of /proc that were gone or refused", "files", n.unreadable_files)?;
        self.counter("hashed", "Executables whose digest was computed", "files", n.hashed_files)?;
        self.counter("hashed", "Bytes of executables whose digest was computed", "bytes", n.hashed_bytes)?;
        self.counter("unasked", "Executables for whose digest there was no room to wait", "files", n.unasked_files)?;
        let help = "Events that did not get their executable's digest and package in time";
        self.counter("late_digest", help, "events", n.late_digest_events)?;
        self.counter("masked", "Events in which secrets were masked", "events", n.masked_events)
    }

    fn syscalls(&mut self, n: &Numbers) -> fmt::Result {
        let open = u64::from(n.syscalls_by.is_some());
        self.gauge("syscalls_open", "1 when system calls are seen, by eBPF or by audit", "programs", open)?;
        self.counter(
            "kernel_seen",
            "System calls as the kernel counts them, those that it missed among them",
            "calls",
            n.kernel_calls.seen + n.kernel_calls.missed,
        )?;
        self.gauge("ring", "System calls told by the kernel and not taken yet", "calls", n.ring_calls)?;
        self.activity(n)?;
        let audit = &n.audit;
        self.counter("audit_read", "Records of audit that became part of an event", "records", audit.records)?;
        self.counter("audit_late", "Records of audit whose event was over", "records", audit.late_records)?;
        self.counter("audit_malformed", "Lines that are no records of audit, or cut", "lines", audit.malformed_lines)?;
        self.gauge("audit_open", "Events of audit whose records are not together yet", "events", audit.open_events)
    }

    fn activity(&mut self, n: &Numbers) -> fmt::Result {
        let calls = &n.activity_calls;
        let help =
            "System calls of which the numbers are told, as the kernel counts them, those that it missed among them";
        self.counter("activity_seen", help, "calls", calls.seen + calls.missed)?;
        self.counter("activity_told", "System calls that are in an event of numbers", "calls", n.activity_told_calls)?;
        let waiting = calls.counted.saturating_sub(n.activity_told_calls);
        self.gauge(
            "activity_waiting",
            "System calls that are counted in the kernel and not told yet",
            "calls",
            waiting,
        )?;
        let unit = Unit::Other("calls".into());
        let help = "System calls that are in no event of numbers, by reason";
        let mut family = self.0.encode_descriptor("activity_uncounted", help, Some(&unit), MetricType::Counter)?;
        for (reason, value) in [
            ("no_room", calls.no_room),
            ("unfinished", calls.unfinished),
            ("unnoted", calls.unnoted),
            ("missed", calls.missed),
        ] {
            ConstCounter::new(value).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }

    fn wal_and_publisher(&mut self, n: &Numbers) -> fmt::Result {
        self.gauge("wal", "Envelopes in the WAL", "records", n.wal_records)?;
        self.gauge("wal", "Envelope bytes in the WAL", "bytes", n.wal_bytes)?;
        self.gauge("wal_limit", "Most envelope bytes that the WAL keeps", "bytes", n.wal_bytes_max)?;
        self.counter("wal_set_aside", "Damaged WALs replaced at start", "folders", n.wal_set_aside_folders)?;
        self.counter(
            "wal_torn",
            "Last batches of the WAL cut off at start, torn or damaged",
            "batches",
            n.wal_torn_batches,
        )?;
        self.gauge("in_flight", "Envelopes sent and not acknowledged", "records", n.in_flight_records)?;
        self.gauge("in_flight", "Bytes sent and not acknowledged", "bytes", n.in_flight_bytes)?;
        self.counter("published", "Envelopes acknowledged", "records", n.published_records)?;
        self.counter("published", "Envelope bytes acknowledged", "bytes", n.published_bytes)?;
        self.counter("failed_sends", "Sends that the bus did not take", "records", n.failed_sends_records)
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> fmt::Result {
        let unit = Unit::Other("events".into());
        let mut family = self.0.encode_descriptor(name, help, Some(&unit), MetricType::Counter)?;
        for (value_name, value) in values {
            ConstCounter::new(*value).encode(family.encode_family(&[(label, *value_name)])?)?;
        }
        Ok(())
    }

    fn gauges(&mut self, name: &str, help: &str, values: &[(&str, u64)]) -> fmt::Result {
        let unit = Unit::Other("events".into());
        let mut family = self.0.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        for (stream, value) in values {
            let value = i64::try_from(*value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family.encode_family(&[("stream", *stream)])?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, unit: &str, value: u64) -> fmt::Result {
        let unit = Unit::Other(unit.into());
        ConstCounter::new(value).encode(self.0.encode_descriptor(name, help, Some(&unit), MetricType::Counter)?)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: &str, value: u64) -> fmt::Result {
        let unit = Unit::Other(unit.into());
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        ConstGauge::new(value).encode(self.0.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Loss, Origin};
    use std::collections::HashSet;

    fn scrape(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).expect("text is always encodable");
        text
    }

    #[test]
    fn every_metric_has_a_unit_and_is_there_once() {
        let mut registry = Registry::default();
        SharedNumbers::default().register(&mut registry);
        let text = scrape(&registry);
        let named = |kind: &str| -> Vec<String> {
            text.lines().filter_map(|l| l.strip_prefix(kind)?.split(' ').next().map(str::to_owned)).collect()
        };
        let (types, units) = (named("# TYPE "), named("# UNIT "));
        assert_eq!(types, units, "a metric without unit");
        assert_eq!(types.iter().collect::<HashSet<_>>().len(), types.len(), "a metric twice");
        assert!(types.iter().all(|name| name.starts_with("amoskys_agent_")));
    }

    #[test]
    fn two_agents_keep_their_own_numbers() {
        let (mut one, mut two) = (Registry::default(), Registry::default());
        let (numbers_one, numbers_two) = (SharedNumbers::default(), SharedNumbers::default());
        numbers_one.register(&mut one);
        numbers_two.register(&mut two);
        numbers_one.lock().ledger.see(Origin::Connector, 7);
        numbers_one.lock().ledger.drop_in_hand(Stream::Process, Loss::Oversize, 2);
        assert!(scrape(&one).contains("amoskys_agent_seen_events_total{origin=\"connector\"} 7"));
        assert!(scrape(&one).contains("amoskys_agent_dropped_events_total{stream=\"process\",reason=\"oversize\"} 2"));
        assert!(scrape(&two).contains("amoskys_agent_seen_events_total{origin=\"connector\"} 0"));
    }
}
