//! A partition's rows through a [`Core`], as live.

use super::{
    HistoryError, Sent,
    order::OfLog,
    shape::{OFFSET, Shape},
};
use crate::{
    run::{core::Core, decode::Taken, duplicates::Seen, emit::Emission, position::Checkpoint, task::TaskCounters},
    sql::{Failure, StreamFlow},
};
use arrow::{
    array::{Array, AsArray, BooleanArray},
    compute::filter_record_batch,
    datatypes::{Int64Type, StringViewType, TimestampNanosecondType, UInt64Type},
    record_batch::RecordBatch,
};

/// Takes batches in the order of the partition's records.
pub(super) struct PartitionRun<'a> {
    flow: &'a StreamFlow,
    partition: i32,
    of_log: OfLog,
    core: Core,
    seen: Seen,
    /// The record that the last row was of, and whether its envelope was new.
    last: Option<(i64, bool)>,
    rows_before: i64,
}

impl<'a> PartitionRun<'a> {
    pub fn new(flow: &'a StreamFlow, partition: i32, of_log: OfLog) -> Result<Self, HistoryError> {
        let core = Core::new(flow, (&flow.stream.topic, partition), &[], Checkpoint::start(0), None)?;
        Ok(Self { flow, partition, of_log, core, seen: Seen::default(), last: None, rows_before: 0 })
    }

    pub fn push(
        &mut self,
        shape: &Shape,
        batch: &RecordBatch,
        sent: &mut Sent,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), HistoryError> {
        if self.of_log.offsets && shape.of_log(batch)[1].null_count() > 0 {
            let (name, row) = (self.flow.stream.name.clone(), self.rows_before + 1);
            let (partition, rows) = (self.partition, batch.num_rows());
            let detail = format!("`{OFFSET}` is null in partition {partition}, in one of {rows} rows from row {row}");
            return Err(HistoryError::Stream { name, detail });
        }
        let (taken, keep) = self.records(shape, batch);
        let mut rows = shape.rows(batch)?;
        if let Some(keep) = keep {
            rows = filter_record_batch(&rows, &keep)?;
        }
        self.rows_before += batch.num_rows() as i64;
        self.core.process(self.flow, rows, &taken, emissions)?;
        if self.core.take_sealed_before().is_some() {
            // Nobody will go on from here.
            drop(self.core.take_snapshot(self.flow)?);
        }
        Ok(sent.add(self.flow, self.partition, &mut self.core)?)
    }

    /// Closes every window.
    pub fn finish(
        mut self,
        sent: &mut Sent,
        emissions: &mut Vec<Emission>,
    ) -> Result<(TaskCounters, Vec<Failure>), HistoryError> {
        self.core.close_all(self.flow, emissions)?;
        sent.add(self.flow, self.partition, &mut self.core)?;
        Ok((self.core.counters, self.core.take_failures()))
    }

    /// Rows of one offset are one record, without offsets every row is one; and which rows are kept, where not all are.
    fn records(&mut self, shape: &Shape, batch: &RecordBatch) -> (Vec<Taken>, Option<BooleanArray>) {
        let [_, offsets, log_times, agents, boots, sequences] = shape.of_log(batch) else { return (Vec::new(), None) };
        let offsets = offsets.as_primitive::<Int64Type>();
        let log_times = log_times.as_primitive::<TimestampNanosecondType>();
        let agents = agents.as_byte_view::<StringViewType>();
        let boots = boots.as_byte_view::<StringViewType>();
        let sequences = sequences.as_primitive::<UInt64Type>();
        let mut taken: Vec<Taken> = Vec::new();
        let mut keep: Option<Vec<bool>> = None;
        for row in 0..batch.num_rows() {
            let offset = if self.of_log.offsets { offsets.value(row) } else { self.rows_before + row as i64 };
            let is_new = match self.last {
                Some((same, is_new)) if same == offset => is_new,
                _ if self.of_log.envelopes && agents.is_valid(row) && boots.is_valid(row) => {
                    let (agent, boot) = (agents.value(row), boots.value(row));
                    self.seen.admit(offset, agent, boot, sequences.value(row))
                }
                _ => true,
            };
            self.last = Some((offset, is_new));
            if !is_new {
                keep.get_or_insert_with(|| vec![true; batch.num_rows()])[row] = false;
            }
            match taken.last_mut() {
                Some(last) if last.offset == offset => last.rows += u32::from(is_new),
                _ => taken.push(Taken {
                    offset,
                    log_time_ns: log_times.is_valid(row).then(|| log_times.value(row)),
                    rows: u32::from(is_new),
                    is_duplicate: !is_new,
                }),
            }
        }
        (taken, keep.map(BooleanArray::from))
    }
}
