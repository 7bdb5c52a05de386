//! What a processor counts, in a registry that is passed in. Every name is in docs/metrics.md.

use super::{
    dead_letter,
    task::TaskCounters,
    view_gauges::{ViewFamilies, ViewGauges},
};
use amoskys_proto::v1::DeadLetterReason;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::sync::atomic::AtomicU64;

/// Upper bounds of a histogram's buckets.
const TIMES_SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

type Seconds = Gauge<f64, AtomicU64>;

/// The processor's own numbers; several processors in one process have one each. Workers of one processor add to the
/// same counters and have gauges of their own.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub records: Counter,
    pub rows: Counter,
    pub dead_records: Counter,
    refused_records: Family<ReasonLabel, Counter>,
    pub duplicate_records: Counter,
    pub foreign_records: Counter,
    pub late_rows: Counter,
    pub dropped_rows: Counter,
    pub shed_rows: Counter,
    pub quarantined_rows: Counter,
    pub rows_without_time: Counter,
    pub closed_windows: Counter,
    pub emitted_rows: Counter,
    pub nulled_values: Counter,
    pub failed_expressions: Counter,
    pub unwritten_rows: Counter,
    pub rebalances: Counter,
    pub restored_partitions: Counter,
    pub not_restored_partitions: Counter,
    pub reloads: Counter,
    pub reload_failures: Counter,
    pub static_reloads: Counter,
    pub static_failures: Counter,
    pub key_reloads: Counter,
    pub key_failures: Counter,
    pub known_keys: Gauge,
    pub revoked_keys: Gauge,
    pub commit_seconds: Histogram,
    pub emission_seconds: Histogram,
    pub gauges: Gauges,
    workers: Workers,
}

/// What stands with one worker now.
#[derive(Debug, Clone)]
pub struct Gauges {
    pub partitions: Gauge,
    pub replaying_partitions: Gauge,
    pub replay_records: Gauge,
    pub lag_records: Gauge,
    pub panes: Gauge,
    pub keys: Gauge,
    pub state_bytes: Gauge,
    pub watermark_seconds: Seconds,
    pub watermark_lag_seconds: Seconds,
    pub views: ViewGauges,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabel {
    worker: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Debug, Clone, Default)]
struct Workers {
    partitions: Family<WorkerLabel, Gauge>,
    replaying_partitions: Family<WorkerLabel, Gauge>,
    replay_records: Family<WorkerLabel, Gauge>,
    lag_records: Family<WorkerLabel, Gauge>,
    panes: Family<WorkerLabel, Gauge>,
    keys: Family<WorkerLabel, Gauge>,
    state_bytes: Family<WorkerLabel, Gauge>,
    watermark_seconds: Family<WorkerLabel, Seconds>,
    watermark_lag_seconds: Family<WorkerLabel, Seconds>,
    views: ViewFamilies,
}

impl Workers {
    fn of(&self, worker: u32) -> Gauges {
        let label = WorkerLabel { worker };
        Gauges {
            partitions: self.partitions.get_or_create_owned(&label),
            replaying_partitions: self.replaying_partitions.get_or_create_owned(&label),
            replay_records: self.replay_records.get_or_create_owned(&label),
            lag_records: self.lag_records.get_or_create_owned(&label),
            panes: self.panes.get_or_create_owned(&label),
            keys: self.keys.get_or_create_owned(&label),
            state_bytes: self.state_bytes.get_or_create_owned(&label),
            watermark_seconds: self.watermark_seconds.get_or_create_owned(&label),
            watermark_lag_seconds: self.watermark_lag_seconds.get_or_create_owned(&label),
            views: self.views.of(worker),
        }
    }

    fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, unit: Unit, help: &str, family: &Family<WorkerLabel, Gauge>| {
            registry.register_with_unit(name, help, unit, family.clone());
        };
        let other = |name: &str| Unit::Other(name.to_owned());
        gauge("owned", other("partitions"), "Partitions owned", &self.partitions);
        let help = "Partitions whose open windows are being rebuilt";
        gauge("replaying", other("partitions"), help, &self.replaying_partitions);
        let help = "Records still to be read again before open windows are rebuilt";
        gauge("replay_left", other("records"), help, &self.replay_records);
        gauge("lag", other("records"), "Offsets that are not read yet, as far as the log has said", &self.lag_records);
        gauge("open", other("panes"), "Panes of open windows", &self.panes);
        gauge("held", other("keys"), "Group keys held, over all views", &self.keys);
        gauge("state", Unit::Bytes, "State of open windows", &self.state_bytes);
        let help = "The slowest watermark, since 1970";
        registry.register_with_unit("watermark", help, Unit::Seconds, self.watermark_seconds.clone());
        let help = "How far the slowest watermark is behind the clock";
        registry.register_with_unit("watermark_lag", help, Unit::Seconds, self.watermark_lag_seconds.clone());
        self.views.register(registry);
    }
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("amoskys_processor");
        let unit = |name: &str| Unit::Other(name.to_owned());
        let workers = Workers::default();
        let mut counter = |name: &str, of: &str, help: &str| {
            let counter = Counter::default();
            registry.register_with_unit(name, help, unit(of), counter.clone());
            counter
        };
        let metrics = Self {
            records: counter("read", "records", "Records read, replayed ones not counted again"),
            rows: counter("decoded", "rows", "Rows (events) that count"),
            dead_records: counter("dead", "records", "Records sent to the dead-letter topic"),
            refused_records: Family::default(),
            duplicate_records: counter(
                "duplicate",
                "records",
                "Envelopes that had come before and were not counted again",
            ),
            foreign_records: counter(
                "foreign",
                "records",
                "Records of topics that groups are sent through which other SQL sent, left out",
            ),
            late_rows: counter("late", "rows", "Rows that came after one of their windows had closed"),
            dropped_rows: counter("dropped", "rows", "Late rows that no open window was left for"),
            shed_rows: counter("shed", "rows", "Rows left out of panes that were at their bounds"),
            quarantined_rows: counter("quarantined", "rows", "Rows whose clock is too far ahead of the log"),
            rows_without_time: counter("timeless", "rows", "Rows whose event time is null"),
            closed_windows: counter("closed", "windows", "Windows closed, per view and partition"),
            emitted_rows: counter("emitted", "rows", "Rows that INSERTs gave"),
            nulled_values: counter(
                "nulled",
                "values",
                "Values of another type than their columns', which are null by `on_error`",
            ),
            failed_expressions: counter(
                "failed",
                "expressions",
                "Times that an expression could not be computed for a row, and is null there",
            ),
            unwritten_rows: counter(
                "unwritten",
                "rows",
                "Rows that INSERTs gave and their topic's records cannot hold, left out",
            ),
            rebalances: counter("group", "rebalances", "Times that partitions were assigned or taken away"),
            restored_partitions: counter("restored", "partitions", "Partitions taken with what open windows held"),
            not_restored_partitions: counter(
                "not_restored",
                "partitions",
                "Partitions of which that was not there as it was, so that records are read again",
            ),
            reloads: counter("sql", "reloads", "Times that a worker went over to other SQL"),
            reload_failures: counter("sql", "failures", "Times that changed SQL was not taken, because it is wrong"),
            static_reloads: counter("static_file", "reloads", "Changed files of static tables read again"),
            static_failures: counter("static_file", "failures", "Changed files of static tables that do not read"),
            key_reloads: counter("keys_dir", "reloads", "Times that changed public keys were taken"),
            key_failures: counter("keys_dir", "failures", "Changed files of public keys that do not read"),
            known_keys: Gauge::default(),
            revoked_keys: Gauge::default(),
            commit_seconds: Histogram::new(TIMES_SECONDS),
            emission_seconds: Histogram::new(TIMES_SECONDS),
            gauges: workers.of(0),
            workers,
        };
        // Each is there from the start, so that its first one is an increase.
        for reason in (1..).map_while(|number| DeadLetterReason::try_from(number).ok()) {
            drop(metrics.refused_records.get_or_create(&ReasonLabel { reason: dead_letter::reason_name(reason) }));
        }
        let help = "Records sent to the dead-letter topic, by reason";
        registry.register_with_unit("refused", help, unit("records"), metrics.refused_records.clone());
        registry.register_with_unit("known", "Public keys known", unit("keys"), metrics.known_keys.clone());
        let help = "Public keys that are revoked, be it from a time on that is to come";
        registry.register_with_unit("revoked", help, unit("keys"), metrics.revoked_keys.clone());
        let commit = metrics.commit_seconds.clone();
        registry.register_with_unit("commit", "Time to write outputs and positions", Unit::Seconds, commit);
        let emission = metrics.emission_seconds.clone();
        let help =
            "Time to compute and encode the windows that a batch of records, or the clock, closed in a partition";
        registry.register_with_unit("emission", help, Unit::Seconds, emission);
        metrics.workers.register(registry);
        metrics
    }

    /// The same counters, with the gauges of another worker; [`Metrics::register`] gives those of worker 0.
    pub fn worker(&self, worker: u32) -> Self {
        Self { gauges: self.workers.of(worker), ..self.clone() }
    }

    /// Of each dead letter.
    pub fn refuse(&self, reason: DeadLetterReason) {
        self.refused_records.get_or_create(&ReasonLabel { reason: dead_letter::reason_name(reason) }).inc();
    }

    /// Adds what a task did since `before`.
    pub fn add(&self, before: &TaskCounters, after: &TaskCounters) {
        self.records.inc_by(after.records - before.records);
        self.rows.inc_by(after.rows - before.rows);
        self.dead_records.inc_by(after.dead_records - before.dead_records);
        self.duplicate_records.inc_by(after.duplicate_records - before.duplicate_records);
        self.foreign_records.inc_by(after.foreign_records - before.foreign_records);
        self.late_rows.inc_by(after.late_rows - before.late_rows);
        self.dropped_rows.inc_by(after.dropped_rows - before.dropped_rows);
        self.shed_rows.inc_by(after.shed_rows - before.shed_rows);
        self.quarantined_rows.inc_by(after.quarantined_rows - before.quarantined_rows);
        self.rows_without_time.inc_by(after.rows_without_time - before.rows_without_time);
        self.closed_windows.inc_by(after.closed_windows - before.closed_windows);
        self.emitted_rows.inc_by(after.emitted_rows - before.emitted_rows);
        self.nulled_values.inc_by(after.nulled_values - before.nulled_values);
        self.failed_expressions.inc_by(after.failed_expressions - before.failed_expressions);
    }
}
