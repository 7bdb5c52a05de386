//! Sessions of a consumer group on the embedded log, around who owns what (see `crate::group`): no clock, no threads.
//!
//! A member that is silent for longer than its session timeout loses its partitions; what it commits afterwards is
//! fenced. Positions, records and waiting are not its business.

pub(super) use crate::group::{Gone, MemberId, Turn};
use crate::{
    TopicPartition,
    group::{Ownership, Partitions},
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Group {
    ownership: Ownership,
    sessions: BTreeMap<MemberId, Session>,
    /// Commits being written: nobody takes over a partition meanwhile.
    committing: usize,
}

#[derive(Debug)]
struct Session {
    timeout_ms: u64,
    last_seen_ms: u64,
    /// Told to go; given up at the member's next poll.
    revoking: BTreeSet<TopicPartition>,
    synced_version: u64,
}

impl Group {
    /// Adds a member. One with the same `instance` is replaced and its partitions are free at once.
    pub(super) fn join(
        &mut self,
        topics: &[String],
        instance: Option<&str>,
        session_timeout_ms: u64,
        now_ms: u64,
        partitions: &Partitions,
    ) -> MemberId {
        let same = instance.map(|name| self.ownership.with_instance(name)).unwrap_or_default();
        same.into_iter().for_each(|id| self.leave(id, partitions));
        let id = self.ownership.join(topics, instance, partitions);
        let session = Session {
            timeout_ms: session_timeout_ms,
            last_seen_ms: now_ms,
            revoking: BTreeSet::new(),
            synced_version: 0,
        };
        self.sessions.insert(id, session);
        id
    }

    pub(super) fn leave(&mut self, member: MemberId, partitions: &Partitions) {
        self.sessions.remove(&member);
        // Its last commit was written whole or not at all, so there is nothing to finish.
        self.ownership.release(member);
        self.ownership.depart(member, partitions);
    }

    /// The member lives: completes what it gave up and says what it gets and must give up.
    pub(super) fn poll(
        &mut self,
        member: MemberId,
        instance: Option<&str>,
        now_ms: u64,
        partitions: &Partitions,
    ) -> Result<Turn, Gone> {
        self.expire(now_ms, partitions);
        let Some(session) = self.sessions.get_mut(&member) else { return Err(self.ownership.why_gone(instance)) };
        session.last_seen_ms = now_ms;
        self.ownership.give_up(member, &std::mem::take(&mut session.revoking));
        if self.committing > 0 || session.synced_version == self.ownership.version() {
            return Ok(Turn::default());
        }
        let turn = self.ownership.turn(member);
        session.revoking = turn.revoked.iter().cloned().collect();
        session.synced_version = self.ownership.version();
        Ok(turn)
    }

    /// May `member` write for `partitions` now? If so the group stands still until [`Group::end_commit`].
    pub(super) fn begin_commit(
        &mut self,
        member: MemberId,
        touched: &[TopicPartition],
        now_ms: u64,
        partitions: &Partitions,
    ) -> Result<(), String> {
        self.expire(now_ms, partitions);
        let Some(session) = self.sessions.get_mut(&member) else {
            return Err("this member is no longer one of the group".to_owned());
        };
        if let Some(foreign) = touched.iter().find(|partition| !self.ownership.owns(member, partition)) {
            return Err(format!("{}/{} is not this member's", foreign.topic, foreign.partition));
        }
        session.last_seen_ms = now_ms;
        self.committing += 1;
        Ok(())
    }

    pub(super) fn end_commit(&mut self) {
        self.committing = self.committing.saturating_sub(1);
    }

    /// Differs when something changed that another member may be waiting for.
    pub(super) fn version(&self) -> u64 {
        self.ownership.version()
    }

    /// Topics were created or grew.
    pub(super) fn rebalance(&mut self, partitions: &Partitions) {
        self.ownership.rebalance(partitions);
    }

    fn expire(&mut self, now_ms: u64, partitions: &Partitions) {
        let silent = |session: &Session| now_ms.saturating_sub(session.last_seen_ms) > session.timeout_ms;
        let silent: Vec<MemberId> =
            self.sessions.iter().filter(|(_, session)| silent(session)).map(|(id, _)| *id).collect();
        if self.committing == 0 {
            silent.into_iter().for_each(|id| self.leave(id, partitions));
        }
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
