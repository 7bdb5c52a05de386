//! One partition of one stream: records in, emissions out, and the checkpoint to go on from.
//!
//! A task is a state machine over the partition's records in their order. A new owner makes one from the last
//! [`Checkpoint`], replays from its offset, and does exactly what the last owner did; what was published already (side
//! effects of records before the position, windows up to the watermark) is computed again and not emitted.

use super::{
    decode::{DeadRecord, DecoderError, RecordDecoder, Taken, Verify},
    emit::{Emission, Evidence},
    position::Checkpoint,
};
use crate::sql::{Query, SharedPanes, StreamFlow};
use amoskys_bus::Record;
use amoskys_windows::{ClosedWindow, Counters, ReplayPoint, Rows, Watermark, WindowError, WindowOperator};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    compute::filter_record_batch,
    datatypes::TimestampNanosecondType,
    error::ArrowError,
    record_batch::RecordBatch,
};
use datafusion::error::DataFusionError;
use std::collections::BTreeMap;

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
    ) -> Result<Self, TaskError> {
        let layout = |source| TaskError::Layout { stream: flow.stream.name.clone(), source };
        let decoder = RecordDecoder::new(&flow.stream, &flow.columns, partition, verify).map_err(layout)?;
        Ok(Self { decoder, core: Core::new(flow, topic, partition, checkpoint)? })
    }

    /// Whether what was pushed must be flushed before a record at `offset`: replay ends there.
    pub fn ends_replay(&self, offset: i64) -> bool {
        self.core.replaying && offset >= self.core.done_before
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
        failed.retain(|record| record.offset >= self.core.done_before);
        self.core.counters.dead_records += failed.len() as u64;
        dead.append(&mut failed);
        self.core.process(flow, batch, &taken, emissions)
    }
}

/// Rows in, windows and rows out; no bytes.
pub struct Core {
    topic: String,
    partition: i32,
    panes: Vec<Panes>,
    row_columns: Vec<Option<Vec<usize>>>,
    watermark: Watermark,
    next_offset: i64,
    /// Records before this have had their side effects.
    done_before: i64,
    /// Windows that end at or before this are published.
    published_through_ns: i64,
    resume: Watermark,
    replaying: bool,
    pub counters: TaskCounters,
}

/// What is kept of one [`SharedPanes`].
struct Panes {
    operator: WindowOperator,
    /// Where the program's columns are in the stream's batch.
    columns: Vec<usize>,
}

impl Core {
    pub fn new(flow: &StreamFlow, topic: &str, partition: i32, checkpoint: Checkpoint) -> Result<Self, TaskError> {
        let place = |columns: &[String]| -> Vec<usize> {
            columns.iter().filter_map(|name| flow.columns.iter().position(|known| known == name)).collect()
        };
        let closed_through_ns = checkpoint.replay.watermark.time_ns;
        let panes = flow.panes.iter().map(|shared| {
            Ok(Panes { operator: shared.operator(closed_through_ns)?, columns: place(&shared.program.columns) })
        });
        let panes = panes.collect::<Result<_, WindowError>>()?;
        let row_columns = flow.inserts.iter().map(|insert| match &insert.query {
            Query::Rows(program) => Some(place(&program.columns)),
            Query::Windows { .. } => None,
        });
        Ok(Self {
            topic: topic.to_owned(),
            partition,
            panes,
            row_columns: row_columns.collect(),
            watermark: checkpoint.replay.watermark,
            next_offset: checkpoint.replay.offset,
            done_before: checkpoint.position,
            published_through_ns: checkpoint.watermark.time_ns,
            resume: checkpoint.watermark,
            replaying: checkpoint.replay.offset < checkpoint.position,
            counters: TaskCounters::default(),
        })
        .map(|mut core| {
            if !core.replaying {
                core.watermark = core.resume;
            }
            core
        })
    }

    fn end_replay_at(&mut self, offset: i64) {
        if self.replaying && offset >= self.done_before {
            self.end_replay();
        }
    }

    /// The clock may have taken the last owner's watermark further than the records did.
    fn end_replay(&mut self) {
        self.replaying = false;
        self.watermark.advance_to(self.resume.time_ns);
        self.watermark.last_log_time_ns = self.watermark.last_log_time_ns.max(self.resume.last_log_time_ns);
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    pub fn is_replaying(&self) -> bool {
        self.replaying
    }

    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Of the flow's shared panes, in their order.
    pub fn operators(&self) -> impl Iterator<Item = &WindowOperator> {
        self.panes.iter().map(|panes| &panes.operator)
    }

    /// What to commit now. While replaying, what was committed last still holds.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        if self.replaying {
            return None;
        }
        let here = ReplayPoint { offset: self.next_offset, watermark: self.watermark };
        let oldest = self.panes.iter().filter_map(|panes| panes.operator.oldest()).min_by_key(|point| point.offset);
        Some(Checkpoint { replay: oldest.unwrap_or(here), position: self.next_offset, watermark: self.watermark })
    }

    /// At the end of the partition: closes what the idle rule will close anyway.
    pub fn anticipate(
        &mut self,
        flow: &StreamFlow,
        now_ns: i64,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        if self.replaying {
            self.end_replay();
        }
        let before = self.watermark.time_ns;
        self.watermark.anticipate(&flow.stream.rules, now_ns);
        if self.watermark.time_ns > before { self.close(flow, self.watermark.time_ns, emissions) } else { Ok(()) }
    }

    /// Closes every window: nothing more will come.
    pub fn close_all(&mut self, flow: &StreamFlow, emissions: &mut Vec<Emission>) -> Result<(), TaskError> {
        self.close(flow, i64::MAX, emissions)
    }

    fn close(&mut self, flow: &StreamFlow, watermark_ns: i64, emissions: &mut Vec<Emission>) -> Result<(), TaskError> {
        let mut closed = vec![Vec::new(); self.panes.len()];
        for (panes, closed) in self.panes.iter_mut().zip(&mut closed) {
            panes.operator.close(watermark_ns, closed)?;
        }
        self.emit_windows(flow, closed, emissions)
    }

    /// Rows of records in their order; `batch` has the flow's columns.
    pub fn process(
        &mut self,
        flow: &StreamFlow,
        batch: RecordBatch,
        taken: &[Taken],
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        let judged = self.judge(flow, batch, taken)?;
        let late_before = self.operator_counters();
        let mut closed = vec![Vec::new(); self.panes.len()];
        for ((panes, shared), closed) in self.panes.iter_mut().zip(&flow.panes).zip(&mut closed) {
            panes.push(shared, &judged, self.watermark.time_ns, closed)?;
        }
        if !self.replaying {
            let late = self.operator_counters();
            self.counters.late_rows += late.late_rows - late_before.late_rows;
            self.counters.dropped_rows += late.dropped_rows - late_before.dropped_rows;
            self.counters.records += taken.len() as u64;
            self.counters.duplicate_records += taken.iter().filter(|record| record.is_duplicate).count() as u64;
            self.counters.rows += judged.batch.num_rows() as u64;
        }
        self.emit_rows(flow, &judged, emissions)?;
        self.emit_windows(flow, closed, emissions)
    }

    fn operator_counters(&self) -> Counters {
        let all = self.panes.iter().flat_map(|panes| panes.operator.counters());
        all.fold(Counters::default(), |sum, counters| Counters {
            late_rows: sum.late_rows + counters.late_rows,
            dropped_rows: sum.dropped_rows + counters.dropped_rows,
            ..sum
        })
    }

    /// Moves the watermark row by row; takes out rows without a time and rows whose clock is ahead of the log.
    fn judge(&mut self, flow: &StreamFlow, batch: RecordBatch, taken: &[Taken]) -> Result<Judged, TaskError> {
        let rules = &flow.stream.rules;
        let time_column = flow.stream.event_time.as_ref().and_then(|name| batch.column_by_name(name)).cloned();
        let times = time_column.as_ref().map(|column| column.as_primitive::<TimestampNanosecondType>());
        let rows = batch.num_rows();
        let mut judged = Judged {
            batch,
            times_ns: Vec::with_capacity(rows),
            watermarks_ns: Vec::with_capacity(rows),
            record_of_row: Vec::with_capacity(rows),
            records: Vec::with_capacity(taken.len()),
        };
        let mut refused: Vec<usize> = Vec::new();
        let mut row = 0;
        for record in taken {
            let index = judged.records.len() as u32;
            judged.records.push(ReplayPoint { offset: record.offset, watermark: self.watermark });
            self.watermark.begin_record(rules, record.log_time_ns);
            self.next_offset = record.offset + 1;
            for row in row..row + record.rows as usize {
                match times {
                    Some(times) if times.is_null(row) => {
                        refused.push(row);
                        self.counters.rows_without_time += u64::from(!self.replaying);
                    }
                    Some(times) if Watermark::quarantines(rules, times.value(row), record.log_time_ns) => {
                        refused.push(row);
                        self.counters.quarantined_rows += u64::from(!self.replaying);
                    }
                    times => {
                        let time_ns = times.map_or(0, |times| times.value(row));
                        judged.times_ns.push(time_ns);
                        judged.watermarks_ns.push(self.watermark.time_ns);
                        judged.record_of_row.push(index);
                        if times.is_some() {
                            self.watermark.observe(rules, time_ns);
                        }
                    }
                }
            }
            row += record.rows as usize;
        }
        if !refused.is_empty() {
            let mut keep = vec![true; rows];
            refused.iter().for_each(|&row| keep[row] = false);
            judged.batch = filter_record_batch(&judged.batch, &BooleanArray::from(keep))?;
        }
        Ok(judged)
    }

    fn emit_rows(
        &mut self,
        flow: &StreamFlow,
        judged: &Judged,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        if self.replaying {
            return Ok(());
        }
        for (index, (insert, columns)) in flow.inserts.iter().zip(&self.row_columns).enumerate() {
            let (Query::Rows(program), Some(columns)) = (&insert.query, columns) else { continue };
            let kept = program.run(judged.batch.project(columns)?)?;
            if kept.batch.num_rows() == 0 {
                continue;
            }
            let offset = |row: usize| judged.records[judged.record_of_row[row] as usize].offset;
            let evidence = match &kept.rows {
                Some(rows) => {
                    rows.values().iter().map(|&row| self.evidence(offset(row as usize), offset(row as usize))).collect()
                }
                None => (0..kept.batch.num_rows()).map(|row| self.evidence(offset(row), offset(row))).collect(),
            };
            self.counters.emitted_rows += kept.batch.num_rows() as u64;
            emissions.push(Emission { insert: index, batch: kept.batch, window_ns: None, evidence });
        }
        Ok(())
    }

    fn evidence(&self, first_offset: i64, last_offset: i64) -> Evidence {
        Evidence { topic: self.topic.clone(), partition: self.partition, first_offset, last_offset }
    }

    fn emit_windows(
        &mut self,
        flow: &StreamFlow,
        closed: Vec<Vec<ClosedWindow>>,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        let mut windows: BTreeMap<(i64, i64), Vec<Option<Closed>>> = BTreeMap::new();
        for (shared, closed) in flow.panes.iter().zip(&closed) {
            for window in closed.iter().filter(|window| window.end_ns > self.published_through_ns) {
                let view = shared.views[window.output];
                let batch = flow.views[view].batch(window)?;
                let entry =
                    windows.entry((window.end_ns, window.start_ns)).or_insert_with(|| vec![None; flow.views.len()]);
                entry[view] = Some(Closed { batch, offsets: (window.first_offset, window.last_offset) });
                self.counters.closed_windows += 1;
            }
        }
        for ((end_ns, start_ns), inputs) in &windows {
            for (index, insert) in flow.inserts.iter().enumerate() {
                let Query::Windows { views, template } = &insert.query else { continue };
                let found: Vec<(i64, i64)> =
                    views.iter().filter_map(|&view| inputs[view].as_ref()).map(|closed| closed.offsets).collect();
                let (Some(first), Some(last)) =
                    (found.iter().map(|span| span.0).min(), found.iter().map(|span| span.1).max())
                else {
                    continue;
                };
                let batches = views.iter().map(|&view| match &inputs[view] {
                    Some(closed) => closed.batch.clone(),
                    None => flow.views[view].empty(),
                });
                let batch = template.run(batches.collect())?;
                if batch.num_rows() > 0 {
                    self.counters.emitted_rows += batch.num_rows() as u64;
                    let evidence = vec![self.evidence(first, last)];
                    emissions.push(Emission { insert: index, batch, window_ns: Some((*start_ns, *end_ns)), evidence });
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Closed {
    batch: RecordBatch,
    offsets: (i64, i64),
}

/// Rows that count, each with the watermark it found.
struct Judged {
    batch: RecordBatch,
    times_ns: Vec<i64>,
    watermarks_ns: Vec<i64>,
    record_of_row: Vec<u32>,
    records: Vec<ReplayPoint>,
}

impl Panes {
    fn push(
        &mut self,
        shared: &SharedPanes,
        judged: &Judged,
        watermark_ns: i64,
        closed: &mut Vec<ClosedWindow>,
    ) -> Result<(), TaskError> {
        let kept = shared.program.run(judged.batch.project(&self.columns)?)?;
        let rows = kept.batch.num_rows();
        let evaluate = |expressions: &[std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>]| {
            let arrays = expressions.iter().map(|expression| expression.evaluate(&kept.batch)?.into_array(rows));
            arrays.collect::<Result<Vec<ArrayRef>, DataFusionError>>()
        };
        let (keys, columns) = (evaluate(&shared.keys)?, evaluate(&shared.columns)?);
        let picked = kept.rows.as_ref().map(|kept| judged.pick(kept.values()));
        let (times_ns, watermarks_ns, record_of_row) = match &picked {
            Some((times, watermarks, records)) => (times.as_slice(), watermarks.as_slice(), records.as_slice()),
            None => (judged.times_ns.as_slice(), judged.watermarks_ns.as_slice(), judged.record_of_row.as_slice()),
        };
        let rows =
            Rows { times_ns, watermarks_ns, record_of_row, records: &judged.records, keys: &keys, columns: &columns };
        Ok(self.operator.push(&rows, watermark_ns, closed)?)
    }
}

impl Judged {
    fn pick(&self, rows: &[u32]) -> (Vec<i64>, Vec<i64>, Vec<u32>) {
        (
            rows.iter().map(|&row| self.times_ns[row as usize]).collect(),
            rows.iter().map(|&row| self.watermarks_ns[row as usize]).collect(),
            rows.iter().map(|&row| self.record_of_row[row as usize]).collect(),
        )
    }
}
