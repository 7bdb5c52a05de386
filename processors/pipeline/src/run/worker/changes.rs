//! Partitions that come to a worker and leave it.
//!
//! What is assigned starts at once, or when its panes are read back; what is asked back is computed and committed before it
//! goes; what is lost is forgotten. Deliberately not here: how a commit that meets a rebalance is tried again (`committing`).

use super::{Owned, Tasks, Waiting, Worker, WorkerError, outputs::Outputs};
use crate::run::{committing::moved, load::Loading, position::Checkpoint, snapshot::Restored, task::Task};
use amoskys_bus::{Assignment, Change, Member, Position, TopicPartition};
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
                for assignment in assignments {
                    self.assign(member, (tasks, waiting), assignment, stop)?;
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
        assignment: Assignment,
        stop: &AtomicBool,
    ) -> Result<(), WorkerError> {
        let partition = assignment.partition;
        // The last one: the worker may be about to leave the others.
        let Some(flow) = self.dataflow.streams.iter().rposition(|flow| flow.stream.topic == partition.topic) else {
            return Ok(());
        };
        let mut checkpoint = match &assignment.committed {
            Some(position) => Checkpoint::decode(&partition.topic, partition.partition, position)?,
            None => Checkpoint::start(assignment.begin),
        };
        let definition = &self.dataflow.streams[flow];
        let of_others = |position: &Position| {
            Checkpoint::windows_digest(position).is_some_and(|digest| digest != self.outlets[flow].windows_digest)
        };
        if definition.shuffle.is_none() && assignment.committed.as_ref().is_some_and(of_others) {
            checkpoint = self.rewound(&partition, definition, checkpoint, stop)?;
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
        self.start(member, tasks, partition, (flow, checkpoint), None)
    }

    fn start(
        &self,
        member: &mut dyn Member,
        tasks: &mut Tasks,
        partition: TopicPartition,
        (flow, checkpoint): (usize, Checkpoint),
        restored: Option<Restored>,
    ) -> Result<(), WorkerError> {
        let definition = &self.dataflow.streams[flow];
        let verify = self.options.verify.clone();
        let task = match &definition.shuffle {
            None => Task::new(definition, &partition.topic, partition.partition, verify, checkpoint, restored)?,
            Some(shuffle) => {
                let place = (partition.topic.as_str(), partition.partition);
                Task::of_panes(definition, shuffle, place, &self.topology.sources(shuffle), checkpoint, restored)?
            }
        };
        member.start(&partition, task.core.next_offset())?;
        tasks.insert(partition, Owned { task, flow, successor: None, end: None, changed: false });
        Ok(())
    }

    /// Reads panes back for a moment, and starts the partitions that have theirs.
    pub(super) fn load(
        &self,
        member: &mut dyn Member,
        tasks: &mut Tasks,
        waiting: &mut Waiting,
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
        self.start(member, tasks, partition, (flow, checkpoint), restored.ok())
    }
}
