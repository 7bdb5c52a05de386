//! One partition of one stream: records in, emissions out, and the checkpoint to go on from.
//!
//! A task is a state machine over the partition's records in their order. A new owner makes one from the last
//! [`Checkpoint`], replays from its offset, and does exactly what the last owner did; what was published already (side
//! effects of records before the position, windows up to the watermark) is computed again and not emitted.

use super::{
    alignment::{Arrived, Source},
    body::DecoderError,
    core::Core,
    decode::{DeadRecord, RecordDecoder, Stopped, Verify},
    emit::Emission,
    position::Checkpoint,
    shipment::{Unusable, read},
    snapshot::Restored,
};
use crate::sql::{Shuffle, StreamFlow};
use amoskys_bus::Record;
use amoskys_proto::v1::DeadLetterReason;
use amoskys_windows::{ReplayPoint, WindowError};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use std::ops::AddAssign;

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("the columns of stream `{stream}` cannot be decoded: {source}")]
    Layout { stream: String, source: DecoderError },
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error("computing failed: {0}")]
    Compute(String),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

// As text: what libraries give as the cause of an error says the same again.
impl From<DataFusionError> for TaskError {
    fn from(error: DataFusionError) -> Self {
        Self::Compute(error.strip_backtrace())
    }
}

impl From<ArrowError> for TaskError {
    fn from(error: ArrowError) -> Self {
        Self::Compute(error.to_string())
    }
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
    /// Values of another type than their columns', which are null by `on_error`.
    pub nulled_values: u64,
    /// Times that an expression could not be computed for a row, and is null there.
    pub failed_expressions: u64,
    /// Of a shuffle: records that other SQL sent.
    pub foreign_records: u64,
}

impl AddAssign for TaskCounters {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.rows += other.rows;
        self.dead_records += other.dead_records;
        self.duplicate_records += other.duplicate_records;
        self.late_rows += other.late_rows;
        self.dropped_rows += other.dropped_rows;
        self.shed_rows += other.shed_rows;
        self.quarantined_rows += other.quarantined_rows;
        self.rows_without_time += other.rows_without_time;
        self.closed_windows += other.closed_windows;
        self.emitted_rows += other.emitted_rows;
        self.nulled_values += other.nulled_values;
        self.failed_expressions += other.failed_expressions;
        self.foreign_records += other.foreign_records;
    }
}

/// A decoder in front of a [`Core`].
pub struct Task {
    intake: Intake,
    pub core: Core,
}

enum Intake {
    Rows(Box<RecordDecoder>),
    Panes(PaneIntake),
}

/// Records of a shuffle's topic since the last flush.
struct PaneIntake {
    shuffle: Shuffle,
    arrived: Vec<Arrived>,
    dead: Vec<DeadRecord>,
    /// Offsets of what other SQL sent.
    foreign: Vec<i64>,
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
        let core = Core::new(flow, (topic, partition), &[], checkpoint, restored.as_ref())?;
        if core.keeps_snapshots() {
            decoder.know(restored.map(|restored| restored.seen).unwrap_or_default());
        }
        Ok(Self { intake: Intake::Rows(Box::new(decoder)), core })
    }

    /// Of a partition of a shuffle's topic. `sources` are all partitions of the streams that send to it.
    pub fn of_panes(
        flow: &StreamFlow,
        shuffle: &Shuffle,
        (topic, partition): (&str, i32),
        sources: &[Source],
        checkpoint: Checkpoint,
        restored: Option<Restored>,
    ) -> Result<Self, TaskError> {
        let core = Core::new(flow, (topic, partition), sources, checkpoint, restored.as_ref())?;
        let intake =
            PaneIntake { shuffle: shuffle.clone(), arrived: Vec::new(), dead: Vec::new(), foreign: Vec::new() };
        Ok(Self { intake: Intake::Panes(intake), core })
    }

    /// Whether what was pushed must be flushed before a record at `offset`: replay ends there.
    pub fn ends_replay(&self, offset: i64) -> bool {
        self.core.ends_replay(offset)
    }

    /// Goes on for another that has come as far.
    pub fn take_over(
        &mut self,
        flow: &StreamFlow,
        other: &mut Self,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        self.core.take_over(flow, &other.core, emissions)?;
        if let (Intake::Rows(mine), Intake::Rows(theirs)) = (&mut self.intake, &mut other.intake) {
            mine.take_seen(theirs, self.core.keeps_snapshots());
        }
        Ok(())
    }

    pub fn push(&mut self, record: &Record<'_>) {
        self.core.end_replay_at(record.offset);
        match &mut self.intake {
            Intake::Rows(decoder) => decoder.push(record),
            Intake::Panes(intake) => intake.push(record, self.core.place_of(record.offset)),
        }
    }

    pub fn waiting_rows(&self) -> usize {
        match &self.intake {
            Intake::Rows(decoder) => decoder.rows(),
            Intake::Panes(intake) => {
                intake.arrived.iter().flat_map(|arrived| &arrived.pieces).map(|piece| piece.state.rows).sum()
            }
        }
    }

    /// Computes what was pushed. After [`TaskError::Stopped`] what came before that record is computed, and there is no more.
    pub fn flush(
        &mut self,
        flow: &StreamFlow,
        emissions: &mut Vec<Emission>,
        dead: &mut Vec<DeadRecord>,
    ) -> Result<(), TaskError> {
        let mut failed = Vec::new();
        match &mut self.intake {
            Intake::Rows(decoder) => {
                let (batch, taken, unread) = decoder.finish()?;
                failed = unread;
                let nulled = decoder.take_nulled();
                if !self.core.is_replaying() {
                    self.core.counters.nulled_values += nulled;
                }
                if !taken.is_empty() {
                    self.core.process(flow, batch, &taken, emissions)?;
                    if let Some(offset) = self.core.take_sealed_before() {
                        self.core.tell_seen(decoder.seen_before(offset));
                    }
                    decoder.forget_changes();
                }
            }
            Intake::Panes(intake) => {
                failed.append(&mut intake.dead);
                failed.iter().for_each(|record| self.core.pass(record.offset));
                for offset in intake.foreign.drain(..) {
                    self.core.pass(offset);
                    self.core.counters.foreign_records += u64::from(offset >= self.core.done_before());
                }
                self.core.process_panes(flow, std::mem::take(&mut intake.arrived), emissions)?;
            }
        }
        failed.retain(|record| record.offset >= self.core.done_before());
        self.core.counters.dead_records += failed.len() as u64;
        dead.append(&mut failed);
        match &self.intake {
            Intake::Rows(decoder) => decoder.stopped().cloned().map_or(Ok(()), |stopped| Err(stopped.into())),
            Intake::Panes(_) => Ok(()),
        }
    }
}

impl PaneIntake {
    fn push(&mut self, record: &Record<'_>, point: ReplayPoint) {
        match read(&self.shuffle, record.payload, point) {
            Ok(arrived) => self.arrived.push(arrived),
            // Nothing is lost by that: it can be computed again from the rows.
            Err(Unusable::Foreign) => self.foreign.push(record.offset),
            Err(Unusable::Malformed(detail)) => self.dead.push(DeadRecord {
                offset: record.offset,
                log_time_ms: record.log_time_ms,
                reason: DeadLetterReason::Malformed,
                detail,
                key: record.key.unwrap_or_default().to_vec(),
                payload: record.payload.to_vec(),
            }),
        }
    }
}
