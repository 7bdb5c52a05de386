//! Who of a consumer group owns which partition: decisions as values, no clock, no threads.
//!
//! Sticky and cooperative: a partition stays with its owner while that is fair, and moves only after the owner has
//! given it up. A member that is silent for longer than its session timeout loses its partitions; what it commits
//! afterwards is fenced. Positions, records and waiting are not its business.
//! Limits: fairness counts partitions, not their load.

use crate::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

pub(super) type MemberId = u64;

#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, MemberState>,
    /// Who may commit for a partition now; a partition being handed over has its old owner until that gives it up.
    owners: BTreeMap<TopicPartition, MemberId>,
    /// Who shall own it.
    target: BTreeMap<TopicPartition, MemberId>,
    next_member: MemberId,
    /// Commits being written: nobody takes over a partition meanwhile.
    committing: usize,
    /// Grows with every change that another member may have to act on.
    version: u64,
}

#[derive(Debug)]
struct MemberState {
    topics: Vec<String>,
    instance: Option<String>,
    session_timeout_ms: u64,
    last_seen_ms: u64,
    /// Told to go; given up at the member's next poll.
    revoking: BTreeSet<TopicPartition>,
    synced_version: u64,
}

/// What a member has to do after [`Group::poll`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    pub assigned: Vec<TopicPartition>,
    pub revoked: Vec<TopicPartition>,
}

/// The member is no longer one of the group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It was silent for too long; it may join again.
    Expired,
    /// Another member joined under its instance name.
    Replaced,
}

impl Group {
    /// Adds a member. One with the same `instance` is replaced and its partitions are free at once.
    pub(super) fn join(
        &mut self,
        topics: &[String],
        instance: Option<&str>,
        session_timeout_ms: u64,
        now_ms: u64,
        partitions: &BTreeMap<String, i32>,
    ) -> MemberId {
        if let Some(name) = instance {
            let same: Vec<MemberId> =
                self.members.iter().filter(|(_, m)| m.instance.as_deref() == Some(name)).map(|(id, _)| *id).collect();
            same.into_iter().for_each(|id| self.remove(id));
        }
        self.next_member += 1;
        let member = MemberState {
            topics: topics.to_vec(),
            instance: instance.map(str::to_owned),
            session_timeout_ms,
            last_seen_ms: now_ms,
            revoking: BTreeSet::new(),
            synced_version: 0,
        };
        self.members.insert(self.next_member, member);
        self.rebalance(partitions);
        self.next_member
    }

    pub(super) fn leave(&mut self, member: MemberId, partitions: &BTreeMap<String, i32>) {
        self.remove(member);
        self.rebalance(partitions);
    }

    /// The member lives: completes what it gave up and says what it gets and must give up.
    pub(super) fn poll(
        &mut self,
        member: MemberId,
        instance: Option<&str>,
        now_ms: u64,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<Turn, Gone> {
        self.expire(now_ms, partitions);
        let Some(state) = self.members.get_mut(&member) else { return Err(self.why_gone(instance)) };
        state.last_seen_ms = now_ms;
        let given_up = std::mem::take(&mut state.revoking);
        if !given_up.is_empty() {
            given_up.iter().for_each(|partition| {
                self.owners.remove(partition);
            });
            self.version += 1;
        }
        if self.committing > 0 || self.members.get(&member).is_none_or(|m| m.synced_version == self.version) {
            return Ok(Turn::default());
        }
        Ok(self.turn(member))
    }

    /// May `member` write for `partitions` now? If so the group stands still until [`Group::end_commit`].
    pub(super) fn begin_commit(
        &mut self,
        member: MemberId,
        touched: &[TopicPartition],
        now_ms: u64,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<(), String> {
        self.expire(now_ms, partitions);
        let Some(state) = self.members.get_mut(&member) else {
            return Err("this member is no longer one of the group".to_owned());
        };
        if let Some(foreign) = touched.iter().find(|partition| self.owners.get(partition) != Some(&member)) {
            return Err(format!("{}/{} is not this member's", foreign.topic, foreign.partition));
        }
        state.last_seen_ms = now_ms;
        self.committing += 1;
        Ok(())
    }

    pub(super) fn end_commit(&mut self) {
        self.committing = self.committing.saturating_sub(1);
    }

    /// Differs when something changed that another member may be waiting for.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Topics were created or grew.
    pub(super) fn rebalance(&mut self, partitions: &BTreeMap<String, i32>) {
        let subscriptions: BTreeMap<MemberId, &[String]> =
            self.members.iter().map(|(id, member)| (*id, member.topics.as_slice())).collect();
        self.target = balance(partitions, &subscriptions, &self.owners);
        self.version += 1;
    }

    fn turn(&mut self, member: MemberId) -> Turn {
        let mut turn = Turn::default();
        for (partition, owner) in &self.target {
            match self.owners.get(partition) {
                None if *owner == member => turn.assigned.push(partition.clone()),
                Some(current) if *current == member && *owner != member => turn.revoked.push(partition.clone()),
                _ => {}
            }
        }
        for partition in &turn.assigned {
            self.owners.insert(partition.clone(), member);
        }
        if let Some(state) = self.members.get_mut(&member) {
            state.revoking = turn.revoked.iter().cloned().collect();
            state.synced_version = self.version;
        }
        turn
    }

    fn expire(&mut self, now_ms: u64, partitions: &BTreeMap<String, i32>) {
        let silent: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(_, member)| now_ms.saturating_sub(member.last_seen_ms) > member.session_timeout_ms)
            .map(|(id, _)| *id)
            .collect();
        if self.committing == 0 && !silent.is_empty() {
            silent.into_iter().for_each(|id| self.remove(id));
            self.rebalance(partitions);
        }
    }

    fn remove(&mut self, member: MemberId) {
        self.members.remove(&member);
        self.owners.retain(|_, owner| *owner != member);
    }

    fn why_gone(&self, instance: Option<&str>) -> Gone {
        let replaced = instance.is_some() && self.members.values().any(|m| m.instance.as_deref() == instance);
        if replaced { Gone::Replaced } else { Gone::Expired }
    }
}

/// Every partition of every subscribed topic to one subscriber: to whom it is now while that is fair (no subscriber
/// has two more than another that could take one), else to the one with the fewest.
fn balance(
    partitions: &BTreeMap<String, i32>,
    subscriptions: &BTreeMap<MemberId, &[String]>,
    current: &BTreeMap<TopicPartition, MemberId>,
) -> BTreeMap<TopicPartition, MemberId> {
    let mut load: BTreeMap<MemberId, usize> = subscriptions.keys().map(|id| (*id, 0)).collect();
    let mut target = BTreeMap::new();
    let mut homeless = Vec::new();
    for (topic, count) in partitions {
        for partition in (0..*count).map(|partition| TopicPartition { topic: topic.clone(), partition }) {
            match current.get(&partition).filter(|id| subscriptions.get(id).is_some_and(|t| t.contains(topic))) {
                Some(owner) => {
                    *load.entry(*owner).or_default() += 1;
                    target.insert(partition, *owner);
                }
                None => homeless.push(partition),
            }
        }
    }
    for partition in homeless {
        if let Some(owner) = least_loaded(&load, subscriptions, &partition.topic) {
            *load.entry(owner).or_default() += 1;
            target.insert(partition, owner);
        }
    }
    while let Some((partition, to)) = unfair(&target, &load, subscriptions) {
        if let Some(from) = target.insert(partition, to) {
            *load.entry(from).or_default() -= 1;
        }
        *load.entry(to).or_default() += 1;
    }
    target
}

fn least_loaded(
    load: &BTreeMap<MemberId, usize>,
    subscriptions: &BTreeMap<MemberId, &[String]>,
    topic: &String,
) -> Option<MemberId> {
    let able = load.iter().filter(|(id, _)| subscriptions.get(id).is_some_and(|topics| topics.contains(topic)));
    able.min_by_key(|(id, count)| (**count, **id)).map(|(id, _)| *id)
}

/// A partition whose owner has at least two more than another subscriber of its topic.
fn unfair(
    target: &BTreeMap<TopicPartition, MemberId>,
    load: &BTreeMap<MemberId, usize>,
    subscriptions: &BTreeMap<MemberId, &[String]>,
) -> Option<(TopicPartition, MemberId)> {
    target.iter().rev().find_map(|(partition, owner)| {
        let to = least_loaded(load, subscriptions, &partition.topic)?;
        (load.get(owner)? >= &(load.get(&to)? + 2)).then(|| (partition.clone(), to))
    })
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
