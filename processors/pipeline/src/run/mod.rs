//! Running a [`Dataflow`](crate::sql::Dataflow): on the partitions of a log, over files, or for a look.

mod alignment;
mod clock;
mod committing;
mod core;
mod dead_letter;
mod decode;
mod duplicates;
mod emit;
mod history;
mod judge;
mod load;
mod metrics;
mod position;
mod shipment;
mod snapshot;
mod spans;
mod stages;
mod status;
mod tail;
mod task;
mod topology;
mod view_gauges;
mod worker;

pub use alignment::Source;
pub use decode::{DeadRecord, Verify};
pub use emit::{Emission, Emitter, Evidence};
pub use history::{History, HistoryCounts, HistoryError, HistoryOptions, Progress, run_history};
pub use metrics::Metrics;
pub use position::{Checkpoint, PositionError};
pub use shipment::{Shipment, records as shipment_records};
pub use snapshot::{Mark, Restored, SnapshotReader, SnapshotRecord};
pub use status::{PanesStatus, PartitionStatus, Status, WaitsStatus, WindowStatus};
pub use tail::{TailCounts, TailError, TailFrom, TailOptions, TailTo, tail};
pub use task::{Task, TaskCounters, TaskError};
pub(crate) use topology::Topology;
pub use worker::{Worker, WorkerError, WorkerOptions};
