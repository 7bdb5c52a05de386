//! What a worker is doing, for people, for `/state` and for the gauges.
//!
//! A picture of one moment; nothing is decided by it.

use super::{
    core::Core,
    metrics::{Gauges, Metrics},
    view_gauges::{Held, ViewLabel},
};
use crate::sql::{Query, StreamFlow};
use serde::Serialize;
use std::time::Duration;

/// What a worker is doing. Counts are of all workers of the processor since it started.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    pub rows: u64,
    pub late_rows: u64,
    pub dead_records: u64,
    pub closed_windows: u64,
    pub emitted_rows: u64,
    /// Partitions of this worker whose panes are being read back.
    pub loading: usize,
    /// Of this worker.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition; times in nanoseconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionStatus {
    pub topic: String,
    pub partition: i32,
    pub replaying: bool,
    /// Of a shuffle, after other SQL: has read all again, and waits for what is sent again. Not for whether a processor is ready: senders may
    /// be with others that wait for this one to be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_senders: bool,
    /// Offsets to be read again before its open windows are rebuilt.
    pub replay_left_records: u64,
    /// Read next.
    pub next_offset: i64,
    /// Offsets in the log that were not read when last known, marks of transactions included; 0 at the end. Null until
    /// the log has said where its end is.
    pub lag_records: Option<u64>,
    /// Null before the first row.
    pub watermark_ns: Option<i64>,
    /// Read again from here after a restart. Null while replaying.
    pub replay_offset: Option<i64>,
    /// Of a shuffle: whom all windows wait for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<WaitsStatus>,
    pub panes: Vec<PanesStatus>,
}

/// What a partition of a shuffle waits for.
#[derive(Debug, Clone, Serialize)]
pub struct WaitsStatus {
    /// The partition of a stream that has come least far.
    pub topic: String,
    pub partition: i32,
    /// Null before it has said anything.
    pub watermark_ns: Option<i64>,
    /// What others have sent beyond that.
    pub waiting_bytes: usize,
}

/// The panes that some views share.
#[derive(Debug, Clone, Serialize)]
pub struct PanesStatus {
    /// Columns, the window left out.
    pub grouped_by: Vec<String>,
    pub windows: Vec<WindowStatus>,
    /// The topic that they are sent to, with no windows here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_to: Option<String>,
    pub open_panes: usize,
    pub keys: usize,
    pub state_bytes: usize,
    /// Rows left out because a pane was at its bounds, since the partition was taken.
    pub shed_rows: u64,
    /// The oldest record that still contributes; null when no window is open.
    pub oldest_offset: Option<i64>,
}

/// One windowed view.
#[derive(Debug, Clone, Serialize)]
pub struct WindowStatus {
    /// Null where the window stands in an INSERT.
    pub view: Option<String>,
    pub slide_ms: f64,
    pub size_ms: f64,
    /// Of sessions, whose slide and size are their gap: how long one may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_max_ms: Option<f64>,
    /// The INSERTs that read it, by their files' names.
    pub read_by: Vec<String>,
    pub late_rows: u64,
    pub open_windows: u64,
    pub closed_windows: u64,
}

/// Where a partition ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// By the reader's word: what may stand between the last record and the end is not for readers.
    Reached,
    Known(Option<i64>),
}

impl Status {
    pub(super) fn of(metrics: &Metrics, loading: usize, partitions: Vec<PartitionStatus>) -> Self {
        Self {
            rows: metrics.rows.get(),
            late_rows: metrics.late_rows.get(),
            dead_records: metrics.dead_records.get(),
            closed_windows: metrics.closed_windows.get(),
            emitted_rows: metrics.emitted_rows.get(),
            loading,
            partitions,
        }
    }

    /// Several workers of one processor as one.
    pub fn joined(all: impl IntoIterator<Item = Status>) -> Self {
        let mut all = all.into_iter();
        let first = all.next().unwrap_or_default();
        // Counts are the processor's in each of them; the latest is the greatest.
        let mut joined = all.fold(first, |mut joined, status| {
            joined.rows = joined.rows.max(status.rows);
            joined.late_rows = joined.late_rows.max(status.late_rows);
            joined.dead_records = joined.dead_records.max(status.dead_records);
            joined.closed_windows = joined.closed_windows.max(status.closed_windows);
            joined.emitted_rows = joined.emitted_rows.max(status.emitted_rows);
            joined.loading += status.loading;
            joined.partitions.extend(status.partitions);
            joined
        });
        joined.partitions.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
        joined
    }

    /// Owns partitions and has rebuilt their windows.
    pub fn is_ready(&self) -> bool {
        !self.partitions.is_empty() && self.replaying() == 0
    }

    pub fn replaying(&self) -> usize {
        self.loading + self.partitions.iter().filter(|partition| partition.replaying).count()
    }

    pub fn replay_left_records(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.replay_left_records).sum()
    }

    pub(super) fn show(&self, gauges: &Gauges, now_ns: i64) {
        let panes = || self.partitions.iter().flat_map(|partition| &partition.panes);
        let lag: u64 = self.partitions.iter().filter_map(|partition| partition.lag_records).sum();
        gauges.replaying_partitions.set(self.replaying() as i64);
        gauges.replay_records.set(self.replay_left_records() as i64);
        gauges.lag_records.set(lag as i64);
        gauges.panes.set(panes().map(|panes| panes.open_panes as i64).sum());
        gauges.keys.set(panes().map(|panes| panes.keys as i64).sum());
        gauges.state_bytes.set(panes().map(|panes| panes.state_bytes as i64).sum());
        if let Some(slowest_ns) = self.partitions.iter().filter_map(|partition| partition.watermark_ns).min() {
            gauges.watermark_seconds.set(slowest_ns as f64 / 1e9);
            gauges.watermark_lag_seconds.set((now_ns - slowest_ns) as f64 / 1e9);
        }
        let held = |partition: &PartitionStatus| -> Vec<(ViewLabel, Held)> {
            partition.panes.iter().map(|panes| (panes.label(&partition.topic), panes.held())).collect()
        };
        gauges.views.show(self.partitions.iter().flat_map(held));
    }
}

impl PartitionStatus {
    pub(super) fn of(core: &Core, flow: &StreamFlow, end: End) -> Self {
        let watermark_ns = core.watermark().time_ns;
        let lag_records = match end {
            End::Reached => Some(0),
            End::Known(end) => end.map(|end| u64::try_from(end - core.next_offset()).unwrap_or(0)),
        };
        Self {
            topic: flow.stream.topic.clone(),
            partition: core.partition(),
            replaying: core.is_replaying() && !core.waits_for_senders(),
            waits_for_senders: core.waits_for_senders(),
            replay_left_records: core.replay_left(),
            next_offset: core.next_offset(),
            lag_records,
            watermark_ns: (watermark_ns != i64::MIN).then_some(watermark_ns),
            replay_offset: core.checkpoint().map(|checkpoint| checkpoint.replay.offset),
            waits: waits(core, flow),
            panes: panes(core, flow),
        }
    }

    pub fn keys(&self) -> usize {
        self.panes.iter().map(|panes| panes.keys).sum()
    }
}

fn waits(core: &Core, flow: &StreamFlow) -> Option<WaitsStatus> {
    let (alignment, shuffle) = (core.alignment()?, flow.shuffle.as_ref()?);
    let (source, claim) = alignment.slowest()?;
    Some(WaitsStatus {
        topic: shuffle.sources.get(source.panes)?.as_ref()?.topic.clone(),
        partition: source.partition,
        watermark_ns: (claim.watermark_ns != i64::MIN).then_some(claim.watermark_ns),
        waiting_bytes: alignment.waiting_bytes(),
    })
}

impl PanesStatus {
    /// Whose worker is not known here.
    fn label(&self, topic: &str) -> ViewLabel {
        // Panes that are sent have their windows where they are merged.
        let joined = |all: Vec<String>| if all.is_empty() { "sent".to_owned() } else { all.join(", ") };
        ViewLabel {
            worker: 0,
            topic: topic.to_owned(),
            views: joined(self.windows.iter().map(WindowStatus::name).collect()),
            grouped_by: self.grouped_by.join(", "),
            windows: joined(self.windows.iter().map(WindowStatus::window).collect()),
        }
    }

    fn held(&self) -> Held {
        Held { panes: self.open_panes, keys: self.keys, bytes: self.state_bytes }
    }
}

impl WindowStatus {
    /// Its view's, or of the INSERTs that it stands in.
    fn name(&self) -> String {
        self.view.clone().unwrap_or_else(|| format!("INSERT in {}", self.read_by.join(" and ")))
    }

    /// Its size and slide, as `5s/1s`; the longest session and its gap.
    fn window(&self) -> String {
        let span = |span_ms: f64| humantime::format_duration(Duration::from_nanos((span_ms * 1e6).round() as u64));
        format!("{}/{}", span(self.session_max_ms.unwrap_or(self.size_ms)), span(self.slide_ms)).replace(' ', "")
    }
}

fn panes(core: &Core, flow: &StreamFlow) -> Vec<PanesStatus> {
    let each = flow.panes.iter().zip(core.operators()).map(|(shared, operator)| {
        let window = |(place, &view): (usize, &usize)| {
            let (hop, counters) = (flow.views[view].hop, operator.counters()[place]);
            WindowStatus {
                view: flow.views[view].name.clone(),
                slide_ms: hop.slide_ns() as f64 / 1e6,
                size_ms: hop.size_ns() as f64 / 1e6,
                session_max_ms: hop.session_max_ns().map(|max_ns| max_ns as f64 / 1e6),
                read_by: readers(flow, view),
                late_rows: counters.late_rows,
                open_windows: operator.open_windows(place),
                closed_windows: counters.closed_windows,
            }
        };
        PanesStatus {
            sent_to: shared.ship.as_ref().map(|ship| ship.topic.clone()),
            grouped_by: shared.key_schema.fields().iter().map(|field| field.name().clone()).collect(),
            windows: shared.views.iter().enumerate().map(window).collect(),
            open_panes: operator.panes(),
            keys: operator.keys(),
            state_bytes: operator.bytes(),
            shed_rows: operator.shed_rows(),
            oldest_offset: operator.oldest().map(|point| point.offset),
        }
    });
    each.collect()
}

fn readers(flow: &StreamFlow, view: usize) -> Vec<String> {
    let reads = |query: &Query| matches!(query, Query::Windows { views, .. } if views.contains(&view));
    let mut names: Vec<String> =
        flow.inserts.iter().filter(|insert| reads(&insert.query)).map(|insert| insert.name.clone()).collect();
    // A file may have several.
    names.dedup();
    names
}
