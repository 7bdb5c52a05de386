//! Partitions that come to a worker and leave it.
//!
//! What is assigned starts at once, or when its panes are read back; what is asked back is computed and committed before it
//! goes; what is lost is forgotten. Deliberately not here: how a commit that meets a rebalance is tried again (`committing`).

use super::{Owned, Tasks, Waiting, Worker, WorkerError, outputs::Outputs, reload::until_there};
use crate::{
    run::{
        committing::moved,
        load::Loading,
        position::Checkpoint,
        rewind::{Anew, Told},
        snapshot::Restored,
        task::{Task, TaskError},
    },
    sql::StreamFlow,
};
use amoskys_bus::{Assignment, Change, Member, TopicPartition};
use std::{collections::VecDeque, sync::atomic::AtomicBool};

impl Worker {
    /// Does them in their order, and what is heard of meanwhile after them.
    pub(super) fn change_all(
        &self,
        member: &mut dyn Member,
        (tasks, waiting): (&mut Tasks, &mut Waiting),
        changes: Vec<Change>,
        outputs: &mut Outputs,
        stop: &AtomicBool,
    ) -> Result<(), WorkerError> {
        let mut changes = VecDeque::from(changes);
        while let Some(change) = changes.pop_front() {
            changes.extend(self.change(member, (tasks, waiting), change, outputs, stop)?);
        }
        Ok(())
    }

    /// What was heard of meanwhile.
    fn change(
        &self,
        member: &mut dyn Member,
        (tasks, waiting): (&mut Tasks, &mut Waiting),
        change: Change,
        outputs: &mut Outputs,
        stop: &AtomicBool,
    ) -> Result<Vec<Change>, WorkerError> {
        let mut heard = Vec::new();
        match change {
            Change::Assigned(assignments) => {
                self.metrics.rebalances.inc();
                // Asked once for all of them.
                let mut told = Told::new();
                for assignment in assignments {
                    self.assign(member, (tasks, waiting), (assignment, &mut told), stop)?;
                }
            }
            Change::Revoked(partitions) => {
                self.metrics.rebalances.inc();
                // What was read of them is computed and committed before they go.
                self.flush(tasks, &mut outputs.records)?;
                heard = self.commit(member, tasks, &outputs.records, true, stop)?;
                outputs.clear();
                partitions.iter().for_each(|partition| drop((tasks.remove(partition), waiting.remove(partition))));
            }
            Change::Lost(partitions) => {
                self.metrics.rebalances.inc();
                // Some of them may be of these partitions, which somebody else computes again.
                if !outputs.records.is_empty() {
                    return Err(moved());
                }
                partitions.iter().for_each(|partition| drop((tasks.remove(partition), waiting.remove(partition))));
            }
            Change::End { partition, offset } => {
                if let Some(owned) = tasks.get_mut(&partition) {
                    tracing::trace!(?partition, offset, "at the end");
                    owned.end = Some(offset);
                }
            }
        }
        self.metrics.gauges.partitions.set((tasks.len() + waiting.len()) as i64);
        Ok(heard)
    }

    fn assign(
        &self,
        member: &mut dyn Member,
        (tasks, waiting): (&mut Tasks, &mut Waiting),
        (assignment, told): (Assignment, &mut Told),
        stop: &AtomicBool,
    ) -> Result<(), WorkerError> {
        let partition = assignment.partition;
        let committed = assignment.committed.as_ref();
        // While the worker gets to other SQL, that which had read the partition goes on until the other takes its place. Else the last:
        // the worker may be about to leave the others.
        let of_topic = |index: &usize| self.dataflow.streams[*index].stream.topic == partition.topic;
        let mut of_topic = (0..self.dataflow.streams.len()).rev().filter(of_topic);
        let by = committed.and_then(Checkpoint::written_by);
        let is_by = |index: &usize| by.as_ref().is_none_or(|by| *by == self.outlets[*index].by);
        let Some(last) = of_topic.clone().next() else { return Ok(()) };
        let flow = of_topic.find(is_by).unwrap_or(last);
        let definition = &self.dataflow.streams[flow];
        let mut checkpoint = match committed {
            Some(position) => Checkpoint::decode(&partition.topic, partition.partition, position)?,
            // What is sent counts from the beginning, whatever rows begin with.
            None if definition.shuffle.is_some() => Checkpoint::start(self.first_offset(&partition, stop)?),
            None => Checkpoint::start(assignment.begin),
        };
        let mut anew = Anew::Nothing;
        if let Some(by) = by.filter(|by| *by != self.outlets[flow].by) {
            (checkpoint, anew) = self.rewound(member, &partition, (definition, &by, told), checkpoint, stop)?;
        }
        tracing::info!(
            topic = partition.topic,
            partition = partition.partition,
            from = checkpoint.replay.offset,
            position = checkpoint.position,
            "partition assigned"
        );
        if let (Some(mark), Some(topic)) = (checkpoint.mark, &self.topology.panes) {
            let loading = Loading::new(topic, &partition, (flow, checkpoint), mark);
            waiting.insert(partition, loading);
            return Ok(());
        }
        let task = self.task(definition, &partition, checkpoint, None, anew)?;
        self.start(member, tasks, partition, (flow, task), stop)
    }

    fn start(
        &self,
        member: &mut dyn Member,
        tasks: &mut Tasks,
        partition: TopicPartition,
        (flow, task): (usize, Task),
        stop: &AtomicBool,
    ) -> Result<(), WorkerError> {
        member.start(&partition, task.core.next_offset())?;
        let mut owned = Owned { task, flow, successor: None, end: None, changed: false };
        let last = self.dataflow.streams.iter().rposition(|flow| flow.stream.topic == partition.topic);
        if let Some(next) = last.filter(|last| self.is_switching && *last != flow) {
            let mut told = Told::new();
            until_there(stop, || self.ask_told(member, &self.dataflow.streams[next], &mut told))?;
            self.begin_switch(next, &partition, &mut owned, &told)?;
        }
        tasks.insert(partition, owned);
        Ok(())
    }

    pub(super) fn task(
        &self,
        definition: &StreamFlow,
        partition: &TopicPartition,
        checkpoint: Checkpoint,
        restored: Option<Restored>,
        anew: Anew,
    ) -> Result<Task, TaskError> {
        let place = (partition.topic.as_str(), partition.partition);
        let mut task = match &definition.shuffle {
            None => Task::new(definition, place.0, place.1, self.options.verify.clone(), checkpoint, restored)?,
            Some(shuffle) => {
                Task::of_panes(definition, shuffle, place, &self.topology.sources(shuffle), checkpoint, restored)?
            }
        };
        task.core.begin_anew(anew);
        Ok(task)
    }

    /// Reads panes back for a moment, and starts the partitions that have theirs.
    pub(super) fn load(
        &self,
        member: &mut dyn Member,
        tasks: &mut Tasks,
        waiting: &mut Waiting,
        stop: &AtomicBool,
    ) -> Result<(), WorkerError> {
        let Some(mut first) = waiting.first_entry() else { return Ok(()) };
        if !first.get_mut().go_on(self.bus.as_ref())? {
            return Ok(());
        }
        let (partition, loading) = first.remove_entry();
        let (flow, checkpoint) = (loading.flow, loading.checkpoint);
        let restored = loading.finish(&self.dataflow.streams[flow]);
        let TopicPartition { topic, partition: number } = &partition;
        match &restored {
            Ok(_) => {
                tracing::info!(topic, partition = number, "open windows are read back");
                self.metrics.restored_partitions.inc();
            }
            Err(why) => {
                let from = checkpoint.replay.offset;
                tracing::warn!(
                    topic,
                    partition = number,
                    from,
                    why,
                    "open windows are not there as they were; read again"
                );
                self.metrics.not_restored_partitions.inc();
            }
        }
        let task = self.task(&self.dataflow.streams[flow], &partition, checkpoint, restored.ok(), Anew::Nothing)?;
        self.start(member, tasks, partition, (flow, task), stop)
    }
}
