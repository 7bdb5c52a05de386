//! Running a [`Dataflow`](crate::sql::Dataflow): on the partitions of a log, or over files.

mod core;
mod decode;
mod duplicates;
mod emit;
mod history;
mod judge;
mod load;
mod metrics;
mod position;
mod snapshot;
mod stages;
mod status;
mod task;
mod view_gauges;
mod worker;

pub use decode::{DeadRecord, Verify};
pub use emit::{Emission, Emitter, Evidence};
pub use history::{History, HistoryError, run_history};
pub use metrics::Metrics;
pub use position::{Checkpoint, PositionError};
pub use snapshot::{Mark, Restored, SnapshotReader, SnapshotRecord};
pub use status::{PanesStatus, PartitionStatus, Status, WindowStatus};
pub use task::{Task, TaskError};
pub use worker::{Worker, WorkerError, WorkerOptions};
