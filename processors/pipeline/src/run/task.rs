//! One partition of one stream: records in, emissions out, and the checkpoint to go on from.
//!
//! A task is a state machine over the partition's records in their order. A new owner makes one from the last
//! [`Checkpoint`], replays from its offset, and does exactly what the last owner did; what was published already (side
//! effects of records before the position, windows up to the watermark) is computed again and not emitted.

use super::{
    core::Core,
    decode::{DeadRecord, DecoderError, RecordDecoder, Verify},
    emit::Emission,
    position::Checkpoint,
    snapshot::Restored,
};
use crate::sql::StreamFlow;
use amoskys_bus::Record;
use amoskys_windows::WindowError;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("the columns of stream `{stream}` cannot be decoded: {source}")]
    Layout { stream: String, source: DecoderError },
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error("computing failed: {0}")]
    Compute(#[from] DataFusionError),
    #[error("computing failed: {0}")]
    Arrow(#[from] ArrowError),
}

/// What a task did since it was made, replay left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskCounters {
    pub records: u64,
    pub rows: u64,
    pub dead_records: u64,
    pub duplicate_records: u64,
    pub late_rows: u64,
    pub dropped_rows: u64,
    pub shed_rows: u64,
    pub quarantined_rows: u64,
    pub rows_without_time: u64,
    pub closed_windows: u64,
    pub emitted_rows: u64,
}

/// A decoder in front of a [`Core`].
pub struct Task {
    decoder: RecordDecoder,
    pub core: Core,
}

impl Task {
    pub fn new(
        flow: &StreamFlow,
        topic: &str,
        partition: i32,
        verify: Verify,
        checkpoint: Checkpoint,
        restored: Option<Restored>,
    ) -> Result<Self, TaskError> {
        let layout = |source| TaskError::Layout { stream: flow.stream.name.clone(), source };
        let mut decoder = RecordDecoder::new(&flow.stream, &flow.columns, partition, verify).map_err(layout)?;
        let core = Core::new(flow, topic, partition, checkpoint, restored.as_ref())?;
        if core.keeps_snapshots() {
            decoder.know(restored.map(|restored| restored.seen).unwrap_or_default());
        }
        Ok(Self { decoder, core })
    }

    /// Whether what was pushed must be flushed before a record at `offset`: replay ends there.
    pub fn ends_replay(&self, offset: i64) -> bool {
        self.core.ends_replay(offset)
    }

    pub fn push(&mut self, record: &Record<'_>) {
        self.core.end_replay_at(record.offset);
        self.decoder.push(record);
    }

    pub fn waiting_rows(&self) -> usize {
        self.decoder.rows()
    }

    /// Computes what was pushed.
    pub fn flush(
        &mut self,
        flow: &StreamFlow,
        emissions: &mut Vec<Emission>,
        dead: &mut Vec<DeadRecord>,
    ) -> Result<(), TaskError> {
        let (batch, taken, mut failed) = self.decoder.finish()?;
        if taken.is_empty() {
            return Ok(());
        }
        failed.retain(|record| record.offset >= self.core.done_before());
        self.core.counters.dead_records += failed.len() as u64;
        dead.append(&mut failed);
        self.core.process(flow, batch, &taken, emissions)?;
        if let Some(offset) = self.core.take_sealed_before() {
            self.core.tell_seen(self.decoder.seen_before(offset));
        }
        self.decoder.forget_changes();
        Ok(())
    }
}
