//! One of a consumer group on the embedded log.
//!
//! A member lives by polling: one that does not for longer than its session timeout loses its partitions. Dropping it
//! is leaving. Delivery is exactly once whatever was asked, because outputs and positions are one batch anyway.

use super::{
    cursor::Cursors,
    group::{Gone, MemberId},
    handles::writer_gone,
    log::{Log, Shared},
    writer::{Commit, Request},
};
use crate::{Assignment, BusError, Change, Member, MemberOptions, Outgoing, Position, Record, StartAt, TopicPartition};
use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc::sync_channel},
    time::{Duration, Instant},
};

/// Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;

pub(super) struct LocalMember {
    log: Arc<Log>,
    options: MemberOptions,
    id: MemberId,
    cursors: Cursors,
    owned: BTreeSet<TopicPartition>,
    /// Told to go, given up at the next poll.
    revoked: Vec<TopicPartition>,
}

impl LocalMember {
    pub(super) fn join(log: Arc<Log>, options: &MemberOptions) -> Self {
        let id = Self::join_group(&log, options);
        Self {
            log,
            options: options.clone(),
            id,
            cursors: Cursors::default(),
            owned: BTreeSet::new(),
            revoked: Vec::new(),
        }
    }

    fn join_group(log: &Log, options: &MemberOptions) -> MemberId {
        let now_ms = log.core.now_ms();
        let session_ms = options.session_timeout.as_millis() as u64;
        let mut shared = log.core.shared();
        let (group, partitions) = shared.group(&options.group);
        let id = group.join(&options.topics, options.instance.as_deref(), session_ms, now_ms, partitions);
        drop(shared);
        log.core.notify();
        id
    }

    /// What the group wants of this member now.
    fn turn(&mut self, shared: &mut Shared) -> Result<Vec<Change>, BusError> {
        let missing = self.options.topics.iter().find(|topic| !shared.topics.contains_key(*topic));
        if let Some(topic) = missing {
            return Err(BusError::UnknownTopic { topic: topic.clone() });
        }
        let now_ms = self.log.core.now_ms();
        let (group, partitions) = shared.group(&self.options.group);
        let version = group.version();
        let turn = group.poll(self.id, self.options.instance.as_deref(), now_ms, partitions);
        if group.version() != version {
            self.log.core.notify();
        }
        for partition in std::mem::take(&mut self.revoked) {
            self.owned.remove(&partition);
        }
        match turn {
            Ok(turn) => Ok(self.take(shared, turn.assigned, turn.revoked)),
            Err(Gone::Replaced) => {
                self.forget();
                Err(BusError::Fenced {
                    detail: format!(
                        "another member joined group `{}` as instance `{}`",
                        self.options.group,
                        self.options.instance.as_deref().unwrap_or_default()
                    ),
                })
            }
            Err(Gone::Expired) => {
                let lost: Vec<TopicPartition> = self.forget();
                let session_ms = self.options.session_timeout.as_millis() as u64;
                let (group, partitions) = shared.group(&self.options.group);
                let instance = self.options.instance.as_deref();
                self.id = group.join(&self.options.topics, instance, session_ms, now_ms, partitions);
                Ok(if lost.is_empty() { Vec::new() } else { vec![Change::Lost(lost)] })
            }
        }
    }

    fn take(&mut self, shared: &Shared, assigned: Vec<TopicPartition>, revoked: Vec<TopicPartition>) -> Vec<Change> {
        let mut changes = Vec::new();
        if !revoked.is_empty() {
            revoked.iter().for_each(|partition| self.cursors.remove(partition));
            self.revoked.clone_from(&revoked);
            changes.push(Change::Revoked(revoked));
        }
        if !assigned.is_empty() {
            self.owned.extend(assigned.iter().cloned());
            changes.push(Change::Assigned(assigned.into_iter().map(|of| self.assignment(shared, of)).collect()));
        }
        changes
    }

    fn assignment(&self, shared: &Shared, partition: TopicPartition) -> Assignment {
        let committed = self.committed_in(shared, &partition);
        let (first, end) = shared.partition(&partition).map_or((0, 0), |(_, state)| (state.first, state.end));
        let begin = match (&committed, self.options.start_at) {
            (Some(position), _) => position.offset,
            (None, StartAt::Earliest) => first,
            (None, StartAt::Latest) => end,
        };
        Assignment { partition, committed, begin }
    }

    fn committed_in(&self, shared: &Shared, partition: &TopicPartition) -> Option<Position> {
        shared.positions.get(&(self.options.group.clone(), partition.clone())).cloned()
    }

    /// Forgets all partitions and names them.
    fn forget(&mut self) -> Vec<TopicPartition> {
        self.cursors.clear();
        std::mem::take(&mut self.owned).into_iter().collect()
    }

    fn check(&self, outputs: &[Outgoing], positions: &[(TopicPartition, Position)]) -> Result<(), BusError> {
        for record in outputs {
            let (bytes, bytes_max) = (record.bytes(), crate::ProducerOptions::default().record_bytes_max);
            if bytes > bytes_max {
                return Err(BusError::RecordTooLarge { topic: record.topic.clone(), bytes, bytes_max });
            }
        }
        for (partition, position) in positions {
            if !self.owned.contains(partition) {
                let detail = format!("{}/{} is not this member's", partition.topic, partition.partition);
                return Err(BusError::Fenced { detail });
            }
            if position.metadata.len() > METADATA_BYTES_MAX {
                let bytes = position.metadata.len();
                let detail = format!("metadata of {bytes} bytes is larger than the {METADATA_BYTES_MAX} allowed");
                return Err(BusError::Misconfigured { detail });
            }
        }
        Ok(())
    }
}

impl Member for LocalMember {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<Vec<Change>, BusError> {
        let deadline = Instant::now() + timeout;
        // Waiting is living: come up for air well within the session.
        let breath = (self.options.session_timeout / 4).min(Duration::from_millis(250));
        let log = self.log.clone();
        loop {
            let mut shared = log.core.shared();
            let mut changes = self.turn(&mut shared)?;
            let spans = self.cursors.spans(&shared);
            if !spans.is_empty() || !changes.is_empty() {
                drop(shared);
                let mut ends = Vec::new();
                self.cursors.read(&log.core, &spans, records_max, on_record, &mut ends)?;
                changes.splice(0..0, ends);
                return Ok(changes);
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(changes);
            }
            drop(log.core.wait(shared, deadline.min(now + breath)));
        }
    }

    fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        self.log.core.shared().partition(partition).map(|(_, state)| state.end)
    }

    fn end(&mut self, partition: &TopicPartition) -> Result<i64, BusError> {
        self.known_end(partition).ok_or_else(|| BusError::UnknownTopic { topic: partition.topic.clone() })
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, BusError> {
        let shared = self.log.core.shared();
        Ok(partitions.iter().map(|partition| self.committed_in(&shared, partition)).collect())
    }

    fn start(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        let found = self.log.core.shared().partition(partition).filter(|_| self.owned.contains(partition));
        let (topic_id, _) = found.ok_or_else(|| BusError::Fenced {
            detail: format!("{}/{} is not this member's", partition.topic, partition.partition),
        })?;
        self.cursors.set(partition, topic_id, offset);
        Ok(())
    }

    fn commit(&mut self, outputs: &[Outgoing], positions: &[(TopicPartition, Position)]) -> Result<(), BusError> {
        if outputs.is_empty() && positions.is_empty() {
            return Ok(());
        }
        self.check(outputs, positions)?;
        let (reply, answer) = sync_channel(1);
        let commit = Commit {
            group: self.options.group.clone(),
            member: self.id,
            outputs: outputs.to_vec(),
            positions: positions.to_vec(),
            reply,
        };
        let requests = self.log.requests().ok_or_else(writer_gone)?;
        requests.send(Request::Commit(Box::new(commit))).map_err(|_| writer_gone())?;
        answer.recv().map_err(|_| writer_gone())?
    }

    fn leave(self: Box<Self>) -> Result<(), BusError> {
        // Dropping is leaving.
        Ok(())
    }
}

impl Drop for LocalMember {
    fn drop(&mut self) {
        let mut shared = self.log.core.shared();
        let (group, partitions) = shared.group(&self.options.group);
        group.leave(self.id, partitions);
        drop(shared);
        self.log.core.notify();
    }
}
