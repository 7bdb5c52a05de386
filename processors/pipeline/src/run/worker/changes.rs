//! Partitions that come to a worker and leave it.
//!
//! What is assigned starts at once, or when its panes are read back; what is asked back is computed and committed before it
//! goes; what is lost is forgotten. Deliberately not here: how a commit that meets a rebalance is tried again (`committing`).

use super::{Owned, Tasks, Waiting, Worker, WorkerError, outputs::Outputs, reload::other_sql};
use crate::{
    run::{
        committing::moved,
        load::Loading,
        position::Checkpoint,
        rewind::SentAgain,
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
        let mut again = None;
        if let Some(by) = other_sql(assignment.committed.as_ref(), &self.outlets[flow].by) {
            (checkpoint, again) = self.rewound(member, &partition, (definition, &by), checkpoint, stop)?;
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
        let task = self.task(definition, &partition, checkpoint, None, again)?;
        Self::start(member, tasks, partition, (flow, task))
    }

    fn start(
        member: &mut dyn Member,
        tasks: &mut Tasks,
        partition: TopicPartition,
        (flow, task): (usize, Task),
    ) -> Result<(), WorkerError> {
        member.start(&partition, task.core.next_offset())?;
        tasks.insert(partition, Owned { task, flow, successor: None, end: None, changed: false });
        Ok(())
    }

    /// `again` where other SQL had sent something: what of it is sent again, or that it is merged anew.
    pub(super) fn task(
        &self,
        definition: &StreamFlow,
        partition: &TopicPartition,
        checkpoint: Checkpoint,
        restored: Option<Restored>,
        again: Option<SentAgain>,
    ) -> Result<Task, TaskError> {
        let place = (partition.topic.as_str(), partition.partition);
        let mut task = match &definition.shuffle {
            None => Task::new(definition, place.0, place.1, self.options.verify.clone(), checkpoint, restored)?,
            Some(shuffle) => {
                Task::of_panes(definition, shuffle, place, &self.topology.sources(shuffle), checkpoint, restored)?
            }
        };
        match again {
            Some(_) if definition.shuffle.is_some() => task.core.merge_anew(),
            Some(again) if definition.ships() => task.core.send_again(again),
            _ => {}
        }
        Ok(task)
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
        let task = self.task(&self.dataflow.streams[flow], &partition, checkpoint, restored.ok(), None)?;
        Self::start(member, tasks, partition, (flow, task))
    }
}
