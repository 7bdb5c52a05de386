//! Partitions of a settled group that none of its members has.
//!
//! A broker gives a member with a name that comes back within the session timeout what it had, without a rebalance. One
//! that dies after it heard what it keeps, and before it began the round that hands on the rest, comes back to a group
//! that takes itself for settled: the rest is nobody's for as long as nobody joins or leaves, and no member is told.
//! So whoever has a name looks after it has joined, until all partitions have an owner. Where they have none twice in turn,
//! it has to join anew, which begins a rebalance.
//! Limits: a look may hold up a poll by `ANSWER_WITHIN`, and as long again for each topic; there are none once the group was
//! seen to be whole. A member that is slow to give up what it was asked for looks the same; then the joining is for nothing.

use super::context::ConsumerEvents;
use crate::{MemberOptions, TopicPartition};
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const SETTLED: &str = "Stable";

pub(super) struct Watch {
    session_timeout: Duration,
    /// None for who has no name, and once the group was whole.
    look_at: Option<Instant>,
    /// By the last look.
    unowned: BTreeSet<TopicPartition>,
}

impl Watch {
    pub(super) fn new(options: &MemberOptions) -> Self {
        let session_timeout = options.session_timeout;
        let look_at = options.instance.is_some().then(|| Instant::now() + session_timeout);
        Self { session_timeout, look_at, unowned: BTreeSet::new() }
    }

    /// Partitions came or went.
    pub(super) fn moved(&mut self) {
        if self.look_at.is_some() {
            self.unowned.clear();
            self.look_later();
        }
    }

    /// Partitions that have had no owner for longer than a session timeout, in words; `None` is the ordinary answer.
    pub(super) fn look(
        &mut self,
        consumer: &BaseConsumer<ConsumerEvents>,
        group: &str,
        topics: &[String],
    ) -> Option<String> {
        self.look_at.filter(|at| *at <= Instant::now())?;
        match unowned(consumer, group, topics) {
            Ok(Some(unowned)) if unowned.is_empty() => self.look_at = None,
            Ok(Some(unowned)) => {
                let still: Vec<&TopicPartition> = unowned.intersection(&self.unowned).collect();
                if let Some(first) = still.first() {
                    let (topic, partition, others) = (&first.topic, first.partition, still.len() - 1);
                    return Some(format!("nobody in the group has {topic}/{partition} and {others} other partitions"));
                }
                self.unowned = unowned;
                self.look_later();
            }
            Ok(None) => self.moved(),
            Err(error) => {
                tracing::debug!(target: "amoskys_bus::kafka", %error, "who has which partitions is not known");
                self.look_later();
            }
        }
        None
    }

    fn look_later(&mut self) {
        self.look_at = Some(Instant::now() + self.session_timeout);
    }
}

/// `None` while the group is not settled.
fn unowned(
    consumer: &BaseConsumer<ConsumerEvents>,
    group: &str,
    topics: &[String],
) -> Result<Option<BTreeSet<TopicPartition>>, KafkaError> {
    let groups = consumer.fetch_group_list(Some(group), ANSWER_WITHIN)?;
    let Some(settled) = groups.groups().iter().find(|of| of.name() == group && of.state() == SETTLED) else {
        return Ok(None);
    };
    let mut unowned = BTreeSet::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WITHIN)?;
        let partitions = metadata.topics().iter().flat_map(|of| of.partitions());
        unowned.extend(partitions.map(|of| TopicPartition { topic: topic.clone(), partition: of.id() }));
    }
    for member in settled.members() {
        // One that cannot be read may have any of them.
        let Some(assigned) = member.assignment().and_then(assignment) else { return Ok(None) };
        assigned.iter().for_each(|partition| {
            unowned.remove(partition);
        });
    }
    Ok(Some(unowned))
}

/// Kafka's `ConsumerProtocolAssignment`: a version, and the partitions of each topic. `None` when it is not that.
fn assignment(mut bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut assigned = Vec::new();
    let _version = i16::from_be_bytes(take(&mut bytes)?);
    for _ in 0..i32::from_be_bytes(take(&mut bytes)?) {
        let length = usize::try_from(i16::from_be_bytes(take(&mut bytes)?)).ok()?;
        let (topic, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let topic = std::str::from_utf8(topic).ok()?;
        for _ in 0..i32::from_be_bytes(take(&mut bytes)?) {
            let partition = i32::from_be_bytes(take(&mut bytes)?);
            assigned.push(TopicPartition { topic: topic.to_owned(), partition });
        }
    }
    Some(assigned)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_whole_or_not_at_all() {
        let bytes = b"\0\x03\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\x01\0\0\x01\0\xff\xff\xff\xff";
        let of = |topic: &str, partition| TopicPartition { topic: topic.to_owned(), partition };
        assert_eq!(assignment(bytes), Some(vec![of("a", 0), of("a", 7), of("bc", 256)]));
        assert_eq!(assignment(b""), Some(Vec::new()));
        let user_data_bytes = 4;
        for cut in 1..bytes.len() - user_data_bytes {
            assert_eq!(assignment(&bytes[..cut]), None, "{cut} bytes");
        }
    }
}
