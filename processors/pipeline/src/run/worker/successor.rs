//! A task that is to take another's place, with other SQL.
//!
//! It reads the partition by a reader of its own until it has come as far as the other, and is then handed the same records as that.
//! Deliberately not here: when it takes over (`reload`). Limits: what it computes meanwhile is thrown away, as the other tells it,
//! except what it sends to those who merge.

use super::{Owned, Worker, WorkerError};
use crate::{
    run::{
        core::Core,
        position::Checkpoint,
        rewind::{Anew, begin_at, needed_since_ms},
        task::{Task, TaskError},
    },
    sql::StreamFlow,
};
use amoskys_bus::{Bus, BusError, Change, Reader, ReaderOptions, Record, TopicPartition};
use amoskys_windows::{ReplayPoint, Watermark};
use std::time::{Duration, Instant};

/// What a successor may take at a time, so that the worker goes on meanwhile.
const SLICE: Duration = Duration::from_millis(10);
const RECORDS_MAX: usize = 512;
const PREFETCH_BYTES_MAX: usize = 4 << 20;

pub(super) struct Successor {
    pub task: Task,
    pub flow: usize,
    /// Those who merge wait for what it sends, from all partitions.
    pub sends_again: bool,
    /// Why it cannot go on.
    pub failed: Option<TaskError>,
    reading: Reading,
}

enum Reading {
    SinceMs(i64),
    FromOffset(i64),
    By(Box<dyn Reader>),
    /// Handed what the other is.
    Follows,
}

pub(super) fn reader_options() -> ReaderOptions {
    ReaderOptions { prefetch_bytes_max: PREFETCH_BYTES_MAX, ..ReaderOptions::default() }
}

impl Worker {
    /// Of a partition, with the SQL of another flow, and what it begins anew.
    pub(super) fn successor(
        &self,
        flow: usize,
        partition: &TopicPartition,
        owned: &Owned,
        anew: Anew,
    ) -> Result<Successor, WorkerError> {
        let (definition, core) = (&self.dataflow.streams[flow], &owned.task.core);
        let (reading, replay) = match needed_since_ms(&self.dataflow, definition, core.told_through_ns(), &anew) {
            // The offset is found when it begins to read.
            Some(since_ms) => (Reading::SinceMs(since_ms), ReplayPoint { offset: 0, watermark: Watermark::default() }),
            None => {
                let offset = core.next_offset();
                (Reading::FromOffset(offset), ReplayPoint { offset, watermark: core.watermark() })
            }
        };
        // Whatever it computes before it takes the other's place was told by that one.
        let told = Watermark { time_ns: i64::MAX, last_log_time_ns: i64::MAX };
        let begin = Checkpoint { replay, position: i64::MAX, watermark: told, told_ns: i64::MAX, mark: None };
        let sends_again = matches!(anew, Anew::Sending(_));
        let task = self.task(definition, partition, begin, None, anew)?;
        Ok(Successor { task, flow, sends_again, failed: None, reading })
    }
}

impl Successor {
    /// Whether it has come as far as the other, and is handed what that is.
    pub fn follows(&self) -> bool {
        matches!(self.reading, Reading::Follows)
    }

    /// A record that the other was handed.
    pub fn push(&mut self, record: &Record<'_>) {
        if self.follows() && self.failed.is_none() {
            self.task.push(record);
        }
    }

    /// Computes what was pushed, after `other` has; it does not get ahead of that.
    pub fn flush(&mut self, definition: &StreamFlow, other: &Core) {
        self.task.core.hold_at(other.told_through_ns());
        if self.failed.is_none() {
            self.failed = self.task.flush(definition, &mut Vec::new(), &mut Vec::new()).err();
        }
    }

    /// Reads for a moment, up to where `other` has come.
    pub fn go_on(
        &mut self,
        bus: &dyn Bus,
        definition: &StreamFlow,
        partition: &TopicPartition,
        other: &Core,
    ) -> Result<(), BusError> {
        let end = other.next_offset();
        if let Reading::FromOffset(_) | Reading::SinceMs(_) = self.reading {
            let mut opened = bus.reader(&reader_options())?;
            let from = match self.reading {
                Reading::SinceMs(since_ms) => begin_at(opened.as_mut(), partition, since_ms)?.min(end),
                Reading::FromOffset(offset) => offset,
                Reading::By(_) | Reading::Follows => end,
            };
            opened.assign(partition, from)?;
            let (topic, partition) = (&partition.topic, partition.partition);
            tracing::info!(topic, partition, from, to = end, "windows of the new SQL are rebuilt");
            self.reading = Reading::By(opened);
        }
        let since = Instant::now();
        while since.elapsed() < SLICE && self.failed.is_none() {
            let Reading::By(reader) = &mut self.reading else { break };
            let (task, mut records, mut is_there) = (&mut self.task, 0, false);
            let changes = reader.poll(Duration::ZERO, RECORDS_MAX, &mut |record| {
                records += 1;
                if record.offset >= end {
                    is_there = true;
                } else {
                    task.push(record);
                }
            })?;
            self.flush(definition, other);
            let has_ended = changes.iter().any(
                |change| matches!(change, Change::End { partition: of, offset } if of == partition && *offset >= end),
            );
            if is_there || has_ended || self.task.core.next_offset() >= end {
                self.reading = Reading::Follows;
            } else if records == 0 {
                break;
            }
        }
        Ok(())
    }
}
