//! What a processor counts, in a registry that is passed in. Every name is in docs/metrics.md.

use super::task::TaskCounters;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::sync::atomic::AtomicU64;

/// The processor's own numbers; several processors in one process have one each.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub records: Counter,
    pub rows: Counter,
    pub dead_records: Counter,
    pub late_rows: Counter,
    pub dropped_rows: Counter,
    pub quarantined_rows: Counter,
    pub rows_without_time: Counter,
    pub closed_windows: Counter,
    pub emitted_rows: Counter,
    pub rebalances: Counter,
    pub commit_seconds: Histogram,
    pub partitions: Gauge,
    pub keys: Gauge,
    pub state_bytes: Gauge,
    pub watermark_lag_seconds: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("amoskys_processor");
        let unit = |name: &str| Unit::Other(name.to_owned());
        let mut counter = |name: &str, of: &str, help: &str| {
            let counter = Counter::default();
            registry.register_with_unit(name, help, unit(of), counter.clone());
            counter
        };
        let metrics = Self {
            records: counter("read", "records", "Records read, replayed ones not counted again"),
            rows: counter("decoded", "rows", "Rows (events) that count"),
            dead_records: counter("dead", "records", "Records sent to the dead-letter topic"),
            late_rows: counter("late", "rows", "Rows that came after one of their windows had closed"),
            dropped_rows: counter("dropped", "rows", "Late rows that no open window was left for"),
            quarantined_rows: counter("quarantined", "rows", "Rows whose clock is too far ahead of the log"),
            rows_without_time: counter("timeless", "rows", "Rows whose event time is null"),
            closed_windows: counter("closed", "windows", "Windows closed, per view and partition"),
            emitted_rows: counter("emitted", "rows", "Rows that INSERTs gave"),
            rebalances: counter("group", "rebalances", "Times that partitions were assigned or taken away"),
            commit_seconds: Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0]),
            partitions: Gauge::default(),
            keys: Gauge::default(),
            state_bytes: Gauge::default(),
            watermark_lag_seconds: Gauge::default(),
        };
        let commit = metrics.commit_seconds.clone();
        registry.register_with_unit("commit", "Time to write outputs and positions", Unit::Seconds, commit);
        registry.register_with_unit("owned", "Partitions owned", unit("partitions"), metrics.partitions.clone());
        registry.register_with_unit("held", "Group keys held, over all views", unit("keys"), metrics.keys.clone());
        registry.register_with_unit("state", "State of open windows", Unit::Bytes, metrics.state_bytes.clone());
        let lag = metrics.watermark_lag_seconds.clone();
        registry.register_with_unit(
            "watermark_lag",
            "How far the slowest watermark is behind the clock",
            Unit::Seconds,
            lag,
        );
        metrics
    }

    /// Adds what a task did since `before`.
    pub fn add(&self, before: &TaskCounters, after: &TaskCounters) {
        self.records.inc_by(after.records - before.records);
        self.rows.inc_by(after.rows - before.rows);
        self.dead_records.inc_by(after.dead_records - before.dead_records);
        self.late_rows.inc_by(after.late_rows - before.late_rows);
        self.dropped_rows.inc_by(after.dropped_rows - before.dropped_rows);
        self.quarantined_rows.inc_by(after.quarantined_rows - before.quarantined_rows);
        self.rows_without_time.inc_by(after.rows_without_time - before.rows_without_time);
        self.closed_windows.inc_by(after.closed_windows - before.closed_windows);
        self.emitted_rows.inc_by(after.emitted_rows - before.emitted_rows);
    }
}
