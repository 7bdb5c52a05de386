//! Who of a consumer group owns which partition: decisions as values, no clock, no threads, no IO. The embedded log
//! keeps one in memory, NATS as the value of a key.
//!
//! Sticky and cooperative: a partition stays with its owner while that is fair, and moves only after the owner has
//! given it up. When somebody is taken for dead, positions and records are not its business.
//! Limits: fairness counts partitions, not their load.

use crate::TopicPartition;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) type MemberId = u64;

/// How many partitions each topic has.
pub(crate) type Partitions = BTreeMap<String, i32>;

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ownership {
    members: BTreeMap<MemberId, Subscriber>,
    /// Who may commit for a partition now; a partition being handed over has its old owner until that gives it up, one
    /// of a member that departed has that until it is released.
    #[serde(with = "pairs")]
    owners: BTreeMap<TopicPartition, MemberId>,
    /// Who shall own it.
    #[serde(with = "pairs")]
    target: BTreeMap<TopicPartition, MemberId>,
    next_member: MemberId,
    /// Grows with every change that another member may have to act on.
    version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Subscriber {
    topics: Vec<String>,
    instance: Option<String>,
}

/// What a member gets and has to give up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub assigned: Vec<TopicPartition>,
    pub revoked: Vec<TopicPartition>,
}

/// The member is no longer one of the group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It was silent for too long; it may join again.
    Expired,
    /// Another member joined under its instance name.
    Replaced,
}

impl Ownership {
    pub(crate) fn join(&mut self, topics: &[String], instance: Option<&str>, partitions: &Partitions) -> MemberId {
        self.next_member += 1;
        let member = Subscriber { topics: topics.to_vec(), instance: instance.map(str::to_owned) };
        self.members.insert(self.next_member, member);
        self.rebalance(partitions);
        self.next_member
    }

    /// Members that have this instance name.
    pub(crate) fn with_instance(&self, name: &str) -> Vec<MemberId> {
        let same = self.members.iter().filter(|(_, member)| member.instance.as_deref() == Some(name));
        same.map(|(id, _)| *id).collect()
    }

    /// The member gets no partitions any more. Those that it owns stay its own, so nobody else's, until
    /// [`Ownership::release`].
    pub(crate) fn depart(&mut self, member: MemberId, partitions: &Partitions) {
        self.members.remove(&member);
        self.rebalance(partitions);
    }

    /// What the member owned is free.
    pub(crate) fn release(&mut self, member: MemberId) {
        self.owners.retain(|_, owner| *owner != member);
        self.version += 1;
    }

    /// The member has done with these.
    pub(crate) fn give_up<'a>(&mut self, member: MemberId, gone: impl IntoIterator<Item = &'a TopicPartition>) {
        for partition in gone {
            if self.owns(member, partition) {
                self.owners.remove(partition);
                self.version += 1;
            }
        }
    }

    /// Gives the member what is free and meant for it; what it has to give up stays its own until it does.
    pub(crate) fn turn(&mut self, member: MemberId) -> Turn {
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
        turn
    }

    pub(crate) fn owns(&self, member: MemberId, partition: &TopicPartition) -> bool {
        self.owners.get(partition) == Some(&member)
    }

    pub(crate) fn owned_by(&self, member: MemberId) -> impl Iterator<Item = &TopicPartition> {
        self.owners.iter().filter(move |(_, owner)| **owner == member).map(|(partition, _)| partition)
    }

    /// Whether a partition meant for `member` is still `departed`'s.
    pub(crate) fn waits_for(&self, member: MemberId, departed: MemberId) -> bool {
        self.owned_by(departed).any(|partition| self.target.get(partition) == Some(&member))
    }

    #[cfg(test)]
    fn is_member(&self, member: MemberId) -> bool {
        self.members.contains_key(&member)
    }

    /// Why somebody with this instance name is not a member any more.
    pub(crate) fn why_gone(&self, instance: Option<&str>) -> Gone {
        let replaced = instance.is_some_and(|name| !self.with_instance(name).is_empty());
        if replaced { Gone::Replaced } else { Gone::Expired }
    }

    /// Differs when something changed that another member may be waiting for.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Topics were created or grew.
    pub(crate) fn rebalance(&mut self, partitions: &Partitions) {
        self.target = balance(partitions, &self.members, &self.owners);
        self.version += 1;
    }
}

/// Every partition of every subscribed topic to one subscriber: to whom it is now while that is fair (no subscriber
/// has two more than another that could take one), else to the one with the fewest.
fn balance(
    partitions: &Partitions,
    members: &BTreeMap<MemberId, Subscriber>,
    current: &BTreeMap<TopicPartition, MemberId>,
) -> BTreeMap<TopicPartition, MemberId> {
    let mut load: BTreeMap<MemberId, usize> = members.keys().map(|id| (*id, 0)).collect();
    let mut target = BTreeMap::new();
    let mut homeless = Vec::new();
    for (topic, count) in partitions {
        for partition in (0..*count).map(|partition| TopicPartition { topic: topic.clone(), partition }) {
            match current.get(&partition).filter(|id| members.get(id).is_some_and(|m| m.topics.contains(topic))) {
                Some(owner) => {
                    *load.entry(*owner).or_default() += 1;
                    target.insert(partition, *owner);
                }
                None => homeless.push(partition),
            }
        }
    }
    for partition in homeless {
        if let Some(owner) = least_loaded(&load, members, &partition.topic) {
            *load.entry(owner).or_default() += 1;
            target.insert(partition, owner);
        }
    }
    while let Some((partition, to)) = unfair(&target, &load, members) {
        if let Some(from) = target.insert(partition, to) {
            *load.entry(from).or_default() -= 1;
        }
        *load.entry(to).or_default() += 1;
    }
    target
}

fn least_loaded(
    load: &BTreeMap<MemberId, usize>,
    members: &BTreeMap<MemberId, Subscriber>,
    topic: &String,
) -> Option<MemberId> {
    let able = load.iter().filter(|(id, _)| members.get(id).is_some_and(|member| member.topics.contains(topic)));
    able.min_by_key(|(id, count)| (**count, **id)).map(|(id, _)| *id)
}

/// A partition whose owner has at least two more than another subscriber of its topic.
fn unfair(
    target: &BTreeMap<TopicPartition, MemberId>,
    load: &BTreeMap<MemberId, usize>,
    members: &BTreeMap<MemberId, Subscriber>,
) -> Option<(TopicPartition, MemberId)> {
    target.iter().rev().find_map(|(partition, owner)| {
        let to = least_loaded(load, members, &partition.topic)?;
        (load.get(owner)? >= &(load.get(&to)? + 2)).then(|| (partition.clone(), to))
    })
}

/// A map by partition as a list of `[topic, partition, member]`, because JSON's keys are text.
mod pairs {
    use super::{MemberId, TopicPartition};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<TopicPartition, MemberId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let list: Vec<_> = map.iter().map(|(of, id)| (&of.topic, of.partition, id)).collect();
        list.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<TopicPartition, MemberId>, D::Error> {
        let list = Vec::<(String, i32, MemberId)>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|(topic, partition, id)| (TopicPartition { topic, partition }, id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition }
    }

    #[test]
    fn what_a_departed_member_owned_is_nobody_elses_until_it_is_released() {
        let (mut group, of) = (Ownership::default(), Partitions::from([("t".to_owned(), 1)]));
        let first = group.join(&["t".to_owned()], None, &of);
        assert_eq!(group.turn(first).assigned, [tp(0)]);
        let second = group.join(&["t".to_owned()], None, &of);
        group.depart(first, &of);
        assert_eq!(group.turn(second), Turn::default(), "it may have left something unfinished");
        group.release(first);
        assert_eq!(group.turn(second).assigned, [tp(0)]);
        assert!(group.owns(second, &tp(0)) && !group.is_member(first));
    }

    #[test]
    fn it_reads_back_from_json() {
        let (mut group, of) = (Ownership::default(), Partitions::from([("t".to_owned(), 3), ("u".to_owned(), 1)]));
        let member = group.join(&["t".to_owned(), "u".to_owned()], Some("a"), &of);
        group.turn(member);
        let text = serde_json::to_string(&group).expect("writes");
        assert_eq!(serde_json::from_str::<Ownership>(&text).expect("reads"), group, "{text}");
    }
}
