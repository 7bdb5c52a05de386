//! Other SQL for a worker that runs.
//!
//! A flow that is the same is kept with its state. One that changed gets a successor for each partition: a task that reads the
//! partition again, beside the one that runs and by a reader of its own, from where its windows begin. When it has come as far, it takes
//! the other's place between two records; so nothing waits for it, no window is missing and none comes twice. Where other
//! topics are read than before, by other rules, or groups are sent through other topics, the worker leaves its group and
//! joins it anew, as after a restart.
//!
//! Deliberately not here: whether the SQL is good, which is found out before. Limits: one switch at a time; SQL that joins
//! with files is rebuilt as a whole, so that nobody keeps files that are not asked for any more.

use super::{Outlets, Owned, Tasks, Waiting, Worker, WorkerError};
use crate::{
    run::{
        Verify,
        committing::may_pass,
        position::Checkpoint,
        rewind::{needed_since_ms, offset_at},
        task::Task,
    },
    sql::{Dataflow, StreamFlow},
};
use amoskys_bus::{Bus, BusError, Change, Reader, ReaderOptions, TopicPartition};
use amoskys_windows::{ReplayPoint, Watermark};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// What a successor may take at a time, so that the worker goes on meanwhile.
const SLICE: Duration = Duration::from_millis(10);
const RECORDS_MAX: usize = 512;
const PREFETCH_BYTES_MAX: usize = 4 << 20;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Where SQL is put that a worker is to run from now on. The last that was put there counts.
#[derive(Clone, Default)]
pub struct NextSql(Arc<Mutex<Option<Dataflow>>>);

impl NextSql {
    pub fn put(&self, dataflow: Dataflow) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(dataflow);
    }

    /// Back to where it was taken from, unless something newer came.
    pub(super) fn put_back(&self, dataflow: Dataflow) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(dataflow);
    }

    fn take(&self) -> Option<Dataflow> {
        // Somebody is about to put some there, which can wait for the next look.
        self.0.try_lock().ok()?.take()
    }
}

/// How the worker gets from one SQL to the next.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// By joining its group anew.
    Join,
    /// For each flow of the next SQL the flow that it is the same as.
    Switch(Vec<Option<usize>>),
}

/// A task that is to take another's place.
pub(super) struct Successor {
    task: Task,
    flow: usize,
    /// Once it reads; none where nothing has to be read again.
    reader: Option<Box<dyn Reader>>,
}

fn way(old: &Dataflow, next: &Dataflow) -> Way {
    let topics =
        |of: &Dataflow| -> BTreeSet<String> { of.streams.iter().map(|flow| flow.stream.topic.clone()).collect() };
    let has_files = !old.statics.is_empty() || !next.statics.is_empty();
    let same = |flow: &StreamFlow| {
        let of_topic = |other: &&StreamFlow| other.stream.topic == flow.stream.topic;
        // Where an earlier change failed on some partitions, they run different flows.
        let is_one = old.streams.iter().filter(of_topic).count() == 1;
        let found = old.streams.iter().position(|other| of_topic(&other));
        found.filter(|&index| is_one && !has_files && old.streams[index].is_same_as(flow))
    };
    let same: Vec<Option<usize>> = next.streams.iter().map(same).collect();
    let sends = |flow: &StreamFlow| flow.shuffle.is_some() || flow.ships();
    let changes_sent = next.streams.iter().zip(&same).any(|(flow, same)| same.is_none() && sends(flow))
        || old.streams.iter().enumerate().any(|(index, flow)| sends(flow) && !same.contains(&Some(index)));
    let begins_to_keep = next.keeps_panes() && !old.keeps_panes();
    // By other rules the watermark of what is read again may run ahead of what was told.
    let is_of_others = |flow: &StreamFlow| {
        let mut of_topic = old.streams.iter().filter(|other| other.stream.topic == flow.stream.topic);
        of_topic.any(|other| other.stream.definition() != flow.stream.definition())
    };
    let reads_otherwise = next.streams.iter().any(is_of_others);
    if topics(old) != topics(next) || changes_sent || begins_to_keep || reads_otherwise {
        Way::Join
    } else {
        Way::Switch(same)
    }
}

impl Worker {
    /// Where other SQL may be put while it runs.
    pub fn next_sql(&self) -> NextSql {
        self.next.clone()
    }

    /// Begins to switch where other SQL was put; gives it back where that takes joining the group anew.
    pub(super) fn look_for_sql(
        &mut self,
        tasks: &mut Tasks,
        waiting: &Waiting,
    ) -> Result<Option<Dataflow>, WorkerError> {
        // What waits for its panes would begin with the flow that they are of.
        if !waiting.is_empty() {
            return Ok(None);
        }
        let Some(next) = self.next.take() else { return Ok(None) };
        if self.is_switching {
            tracing::info!("there is newer SQL than that which is being gone over to");
            tasks.values_mut().for_each(|owned| owned.successor = None);
            self.is_switching = false;
            self.forget_old_flows(tasks, &mut Waiting::new());
        }
        let same = match way(&self.dataflow, &next) {
            Way::Join => return Ok(Some(next)),
            Way::Switch(same) => same,
        };
        let Dataflow { streams, statics, warnings, probes } = next;
        let changed: Vec<StreamFlow> =
            streams.into_iter().zip(&same).filter(|(_, same)| same.is_none()).map(|(flow, _)| flow).collect();
        if changed.is_empty() {
            tracing::info!("the SQL computes what it did");
            return Ok(None);
        }
        let before = self.dataflow.streams.len();
        for flow in changed {
            self.outlets.push(Outlets::of(&flow)?);
            self.dataflow.streams.push(flow);
        }
        (self.dataflow.statics, self.dataflow.warnings, self.dataflow.probes) = (statics, warnings, probes);
        for (partition, owned) in tasks.iter_mut() {
            let of_topic = |flow: &StreamFlow| flow.stream.topic == partition.topic;
            let new = self.dataflow.streams[before..].iter().position(of_topic).map(|index| before + index);
            if let Some(flow) = new {
                let successor =
                    Successor::of(&self.dataflow.streams[flow], flow, partition, owned, &self.options.verify)?;
                owned.successor = Some(Box::new(successor));
            }
        }
        self.is_switching = true;
        Ok(None)
    }

    /// Lets successors read on for a moment. Everything that was polled has been flushed.
    pub(super) fn follow_successors(&mut self, tasks: &mut Tasks, waiting: &mut Waiting) -> Result<(), WorkerError> {
        if !self.is_switching {
            return Ok(());
        }
        for (partition, owned) in tasks.iter_mut() {
            let Some(mut successor) = owned.successor.take() else { continue };
            // Not while the other is itself about to come as far as somebody had been.
            let definition = &self.dataflow.streams[successor.flow];
            let is_there = match owned.task.core.is_replaying() {
                true => Ok(false),
                false => successor.go_on(self.bus.as_ref(), definition, partition, owned),
            };
            match is_there {
                Ok(true) => {
                    successor.task.take_over(&mut owned.task);
                    tracing::info!(topic = partition.topic, partition = partition.partition, "runs the new SQL");
                    (owned.task, owned.flow, owned.changed) = (successor.task, successor.flow, true);
                }
                Ok(false) => {
                    owned.successor = Some(successor);
                    // One after the other: each holds what it has fetched.
                    break;
                }
                Err(WorkerError::Task(error)) => {
                    self.metrics.reload_failures.inc();
                    let (topic, partition) = (&partition.topic, partition.partition);
                    tracing::error!(topic, partition, "the new SQL fails, and what ran goes on here: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        if tasks.values().all(|owned| owned.successor.is_none()) {
            self.is_switching = false;
            self.metrics.reloads.inc();
            self.forget_old_flows(tasks, waiting);
        }
        Ok(())
    }

    /// Of the flows of a topic those are kept that partitions run, or the last where none does.
    fn forget_old_flows(&mut self, tasks: &mut Tasks, waiting: &mut Waiting) {
        let in_use = |index: usize| {
            tasks.values().any(|owned| owned.flow == index) || waiting.values().any(|loading| loading.flow == index)
        };
        let count = self.dataflow.streams.len();
        let mut kept: Vec<bool> = (0..count).map(in_use).collect();
        for index in (0..count).rev() {
            let topic = &self.dataflow.streams[index].stream.topic;
            let is_kept = |other: usize| kept[other] && self.dataflow.streams[other].stream.topic == *topic;
            if !(0..count).any(is_kept) {
                kept[index] = true;
            }
        }
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let place = |index: usize| kept[..index].iter().filter(|kept| **kept).count();
        tasks.values_mut().for_each(|owned| owned.flow = place(owned.flow));
        waiting.values_mut().for_each(|loading| loading.flow = place(loading.flow));
        let mut each = kept.iter();
        self.dataflow.streams.retain(|_| *each.next().unwrap_or(&true));
        let mut each = kept.iter();
        self.outlets.retain(|_| *each.next().unwrap_or(&true));
    }

    /// From where a partition has to be read that others' SQL had read before: its windows are not those that are kept.
    pub(super) fn rewound(
        &self,
        partition: &TopicPartition,
        flow: &StreamFlow,
        checkpoint: Checkpoint,
        stop: &AtomicBool,
    ) -> Result<Checkpoint, WorkerError> {
        // What is sent is of panes that are not kept here, from where the checkpoint says.
        if flow.ships() {
            return Ok(checkpoint);
        }
        let here = ReplayPoint { offset: checkpoint.position, watermark: checkpoint.watermark };
        let replay = match needed_since_ms(flow, checkpoint.watermark.time_ns) {
            None => here,
            Some(since_ms) => {
                let offset = loop {
                    match self.offset_at(partition, since_ms) {
                        Ok(offset) => break offset,
                        Err(error) if may_pass(&error) && !stop.load(Ordering::Relaxed) => {
                            tracing::warn!(%error, "the log is away; trying again");
                            std::thread::sleep(ASK_AGAIN_AFTER);
                        }
                        Err(error) => return Err(error.into()),
                    }
                };
                ReplayPoint { offset: offset.min(here.offset), watermark: Watermark::default() }
            }
        };
        let (topic, number) = (&partition.topic, partition.partition);
        tracing::info!(
            topic,
            partition = number,
            from = replay.offset,
            "other SQL had read this; its windows are rebuilt"
        );
        Ok(Checkpoint { replay, mark: None, ..checkpoint })
    }

    fn offset_at(&self, partition: &TopicPartition, since_ms: i64) -> Result<i64, BusError> {
        let mut reader = self.bus.reader(&reader_options())?;
        offset_at(reader.as_mut(), partition, since_ms)
    }

    /// Puts other SQL in the place of all that there is; for a worker that owns nothing.
    pub(super) fn replace(&mut self, next: Dataflow) -> Result<(), WorkerError> {
        self.outlets = next.streams.iter().map(Outlets::of).collect::<Result<_, _>>()?;
        self.options.member.topics = super::topics_read(&next);
        self.dataflow = next;
        self.is_switching = false;
        self.metrics.reloads.inc();
        Ok(())
    }
}

fn reader_options() -> ReaderOptions {
    ReaderOptions { prefetch_bytes_max: PREFETCH_BYTES_MAX, ..ReaderOptions::default() }
}

impl Successor {
    fn of(
        definition: &StreamFlow,
        flow: usize,
        partition: &TopicPartition,
        owned: &Owned,
        verify: &Verify,
    ) -> Result<Self, WorkerError> {
        let core = &owned.task.core;
        let replay = match needed_since_ms(definition, core.watermark().time_ns) {
            // The offset is found when it begins to read.
            Some(_) => ReplayPoint { offset: 0, watermark: Watermark::default() },
            None => ReplayPoint { offset: core.next_offset(), watermark: core.watermark() },
        };
        // Whatever it computes before it takes the other's place was told by that one.
        let told = Watermark { time_ns: i64::MAX, last_log_time_ns: i64::MAX };
        let begin = Checkpoint { replay, position: i64::MAX, watermark: told, mark: None };
        let task = Task::new(definition, &partition.topic, partition.partition, verify.clone(), begin, None)?;
        Ok(Self { task, flow, reader: None })
    }

    /// Reads for a moment; true once it has read all that the other has.
    fn go_on(
        &mut self,
        bus: &dyn Bus,
        definition: &StreamFlow,
        partition: &TopicPartition,
        owned: &Owned,
    ) -> Result<bool, WorkerError> {
        let live = &owned.task.core;
        let Some(since_ms) = needed_since_ms(definition, live.watermark().time_ns) else { return Ok(true) };
        match self.read(bus, definition, partition, since_ms, live.next_offset()) {
            Err(WorkerError::Bus(error)) if may_pass(&error) => {
                tracing::debug!(%error, "a successor waits for the log");
                Ok(false)
            }
            result => result,
        }
    }

    fn read(
        &mut self,
        bus: &dyn Bus,
        definition: &StreamFlow,
        partition: &TopicPartition,
        since_ms: i64,
        end: i64,
    ) -> Result<bool, WorkerError> {
        let Self { task, reader, .. } = self;
        let reader = match reader {
            Some(reader) => reader,
            None => {
                let mut opened = bus.reader(&reader_options())?;
                let offset = offset_at(opened.as_mut(), partition, since_ms)?.min(end);
                opened.assign(partition, offset)?;
                let (topic, partition) = (&partition.topic, partition.partition);
                tracing::info!(topic, partition, from = offset, to = end, "windows of the new SQL are rebuilt");
                reader.insert(opened)
            }
        };
        let since = Instant::now();
        while since.elapsed() < SLICE {
            let (mut records, mut is_there) = (0, false);
            let changes = reader.poll(Duration::ZERO, RECORDS_MAX, &mut |record| {
                records += 1;
                if record.offset >= end {
                    is_there = true;
                } else {
                    task.push(record);
                }
            })?;
            let (mut emissions, mut dead) = (Vec::new(), Vec::new());
            task.flush(definition, &mut emissions, &mut dead)?;
            let has_ended = changes.iter().any(
                |change| matches!(change, Change::End { partition: of, offset } if of == partition && *offset >= end),
            );
            if is_there || has_ended || task.core.next_offset() >= end {
                return Ok(true);
            }
            if records == 0 {
                break;
            }
        }
        Ok(false)
    }
}
