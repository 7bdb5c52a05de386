//! Other SQL for a worker that runs.
//!
//! A flow that is the same is kept with its state. One that changed gets a successor for each partition: a task that reads the
//! partition again, beside the one that runs and by a reader of its own, from where its windows begin. When it has come as far, it
//! is handed the same records, and takes the other's place between two of them; so nothing waits for it, no window is missing and none
//! comes twice. Where groups are sent through topics and what is sent changes, the successors of those who send do so while they
//! read, and take their places all at once; the successor of one that merges waits for them. Where other topics are read
//! than before, or by other rules, the worker leaves its group and joins it anew, as after a restart.
//!
//! Deliberately not here: whether the SQL is good, which is found out before; how a successor reads ([`successor`]). Limits: one switch at
//! a time; a file that both a kept flow and a changed one join with is held twice. Workers switch each for itself, and groups that are
//! sent come out late until the last has.

use super::{Outlets, Owned, Tasks, Waiting, Worker, WorkerError, successor::Successor};
use crate::{
    run::{
        committing::may_pass,
        position::{Checkpoint, WrittenBy},
        rewind::{Anew, Told, begin_at, needed_since_ms, told_by},
        topology::ends,
    },
    sql::{Dataflow, StreamFlow},
};
use amoskys_bus::{BusError, Member, Outgoing, Reader, TopicPartition};
use amoskys_windows::{ReplayPoint, Watermark};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

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

fn way(old: &Dataflow, next: &Dataflow) -> Way {
    let topics =
        |of: &Dataflow| -> BTreeSet<String> { of.streams.iter().map(|flow| flow.stream.topic.clone()).collect() };
    let same = |flow: &StreamFlow| {
        let of_topic = |other: &&StreamFlow| other.stream.topic == flow.stream.topic;
        // Where an earlier change failed on some partitions, they run different flows.
        let is_one = old.streams.iter().filter(of_topic).count() == 1;
        let found = old.streams.iter().position(|other| of_topic(&other));
        found.filter(|&index| is_one && old.streams[index].is_same_as(flow))
    };
    let same: Vec<Option<usize>> = next.streams.iter().map(same).collect();
    let begins_to_keep = next.keeps_panes() && !old.keeps_panes();
    // By other rules the watermark of what is read again may run ahead of what was told.
    let is_of_others = |flow: &StreamFlow| {
        let mut of_topic = old.streams.iter().filter(|other| other.stream.topic == flow.stream.topic);
        of_topic.any(|other| other.stream.definition() != flow.stream.definition())
    };
    let reads_otherwise = next.streams.iter().any(is_of_others);
    if topics(old) != topics(next) || ends(old) != ends(next) || begins_to_keep || reads_otherwise {
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
        member: &mut dyn Member,
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
        let mut told = Told::new();
        for (flow, _) in next.streams.iter().zip(&same).filter(|(_, same)| same.is_none()) {
            if let Err(error) = self.ask_told(member, flow, &mut told) {
                // Asked again soon.
                self.next.put_back(next);
                return match error {
                    WorkerError::Bus(error) if may_pass(&error) => Ok(None),
                    error => Err(error),
                };
            }
        }
        let Dataflow { streams, warnings, probes } = next;
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
        self.tell_emitters();
        (self.dataflow.warnings, self.dataflow.probes) = (warnings, probes);
        for (partition, owned) in tasks.iter_mut() {
            let of_topic = |flow: &StreamFlow| flow.stream.topic == partition.topic;
            let Some(new) = self.dataflow.streams[before..].iter().position(of_topic) else { continue };
            self.begin_switch(before + new, partition, owned, &told)?;
        }
        (self.is_switching, self.has_failed) = (true, false);
        Ok(None)
    }

    /// Gives a partition a successor, of the flow at `next`.
    pub(super) fn begin_switch(
        &self,
        next: usize,
        partition: &TopicPartition,
        owned: &mut Owned,
        told: &Told,
    ) -> Result<(), WorkerError> {
        let (flow, by, core) = (&self.dataflow.streams[next], &self.outlets[owned.flow].by, &owned.task.core);
        let anew = Anew::of(flow, by, told, core.told_through_ns()).with(core.anew());
        owned.successor = Some(Box::new(self.successor(next, partition, owned, anew)?));
        Ok(())
    }

    /// Asks up to where windows are told in the topics that a flow sends groups through, of which it is not known yet.
    pub(super) fn ask_told(
        &self,
        member: &mut dyn Member,
        flow: &StreamFlow,
        told: &mut Told,
    ) -> Result<(), WorkerError> {
        for topic in flow.ship_topics() {
            if !told.contains_key(topic) {
                let partition = |partition: i32| TopicPartition { topic: topic.to_owned(), partition };
                let all: Vec<_> = (0..self.topology.partitions_of(topic)).map(partition).collect();
                told.insert(topic.to_owned(), told_by(topic, &member.committed(&all)?)?);
            }
        }
        Ok(())
    }

    /// Lets successors read on for a moment, and those take over that have come as far. Everything that was polled has been flushed.
    pub(super) fn follow_successors(
        &mut self,
        tasks: &mut Tasks,
        waiting: &mut Waiting,
        outputs: &mut Vec<Outgoing>,
    ) -> Result<(), WorkerError> {
        if !self.is_switching {
            return Ok(());
        }
        for (partition, owned) in tasks.iter_mut() {
            let Some(successor) = &mut owned.successor else { continue };
            // Not while the other is itself about to come as far as somebody had been.
            if successor.follows() || owned.task.core.reads_again() {
                continue;
            }
            let flow = &self.dataflow.streams[successor.flow];
            match successor.go_on(self.bus.as_ref(), flow, partition, &owned.task.core) {
                Err(error) if may_pass(&error) => tracing::debug!(%error, "a successor waits for the log"),
                done => done?,
            }
            self.send_panes(successor.flow, &mut successor.task.core, outputs)?;
            if !successor.follows() {
                // One after the other: each holds what it has fetched.
                break;
            }
        }
        self.give_up_failed(tasks);
        let sent_by_all = tasks.values().flat_map(|owned| &owned.successor).all(|of| !of.sends_again || of.follows());
        for (partition, owned) in tasks.iter_mut() {
            let is_there = |successor: &mut Box<Successor>| {
                let waits = successor.sends_again && !sent_by_all;
                successor.follows() && !waits && successor.task.core.has_come_as_far_as(&owned.task.core)
            };
            let Some(mut successor) = owned.successor.take_if(is_there) else { continue };
            let (flow, mut emissions) = (&self.dataflow.streams[successor.flow], Vec::new());
            let (before, emitting) = (owned.task.core.counters, successor.task.core.emitting());
            successor.task.take_over(flow, &mut owned.task, &mut emissions)?;
            tracing::info!(topic = partition.topic, partition = partition.partition, "runs the new SQL");
            (owned.task, owned.flow, owned.changed) = (successor.task, successor.flow, true);
            self.metrics.add(&before, &owned.task.core.counters);
            self.send_panes(owned.flow, &mut owned.task.core, outputs)?;
            self.encode(owned, emitting, &emissions, outputs)?;
        }
        if tasks.values().all(|owned| owned.successor.is_none()) {
            self.is_switching = false;
            if !self.has_failed {
                self.metrics.reloads.inc();
            }
            self.forget_old_flows(tasks, waiting);
        }
        Ok(())
    }

    fn sends_or_merges(&self, flow: usize) -> bool {
        let flow = &self.dataflow.streams[flow];
        flow.ships() || flow.shuffle.is_some()
    }

    /// Where a successor fails, what ran goes on. One that sends to others, or merges what they send, is of no use without them.
    fn give_up_failed(&mut self, tasks: &mut Tasks) {
        let mut is_sending_over = false;
        for (partition, owned) in tasks.iter_mut() {
            let Some(successor) = owned.successor.take_if(|successor| successor.failed.is_some()) else { continue };
            self.has_failed = true;
            self.metrics.reload_failures.inc();
            let (topic, partition) = (&partition.topic, partition.partition);
            let error = successor.failed.map(|error| error.to_string()).unwrap_or_default();
            tracing::error!(topic, partition, "the new SQL fails, and what ran goes on here: {error}");
            is_sending_over |= self.sends_or_merges(successor.flow);
        }
        if is_sending_over {
            let sends = |successor: &mut Box<Successor>| self.sends_or_merges(successor.flow);
            tasks.values_mut().for_each(|owned| drop(owned.successor.take_if(sends)));
        }
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

    /// From where a partition has to be read that others' SQL had read before, as its windows are not those that are kept; and what is
    /// begun anew.
    pub(super) fn rewound(
        &self,
        member: &mut dyn Member,
        partition: &TopicPartition,
        (flow, by, told): (&StreamFlow, &WrittenBy, &mut Told),
        checkpoint: Checkpoint,
        stop: &AtomicBool,
    ) -> Result<(Checkpoint, Anew), WorkerError> {
        let told_ns = checkpoint.watermark.time_ns;
        until_there(stop, || self.ask_told(member, flow, told))?;
        let anew = Anew::of(flow, by, told, told_ns);
        let here = ReplayPoint { offset: checkpoint.position, watermark: checkpoint.watermark };
        let replay = match needed_since_ms(&self.dataflow, flow, told_ns, &anew) {
            None => here,
            Some(since_ms) => {
                let begin = || Ok(begin_at(self.reader()?.as_mut(), partition, since_ms)?);
                let offset = until_there(stop, begin)?;
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
        Ok((Checkpoint { replay, mark: None, ..checkpoint }, anew))
    }

    /// The first offset that is there.
    pub(super) fn first_offset(&self, partition: &TopicPartition, stop: &AtomicBool) -> Result<i64, WorkerError> {
        until_there(stop, || Ok(self.reader()?.bounds(partition)?.0))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, BusError> {
        self.bus.reader(&super::successor::reader_options())
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

/// Asks again while the log is away.
pub(super) fn until_there<T>(
    stop: &AtomicBool,
    mut ask: impl FnMut() -> Result<T, WorkerError>,
) -> Result<T, WorkerError> {
    loop {
        match ask() {
            Err(WorkerError::Bus(error)) if may_pass(&error) && !stop.load(Ordering::Relaxed) => {
                tracing::warn!(%error, "the log is away; trying again");
                std::thread::sleep(ASK_AGAIN_AFTER);
            }
            answer => return answer,
        }
    }
}
