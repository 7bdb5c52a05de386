//! Brings the outputs of a commit that is decided to their topics, each once, whoever does it and how often.
//!
//! Every output has a message id, which the server remembers for a while (the stream's duplicate window). Whoever comes later (who finishes
//! the commit of a dead member) looks first at what is there. And somebody who was stopped in the middle and goes on
//! much later is kept out by a **fence**: a subject of the topic's stream, one for each member. Who forwards puts a
//! message there, sees that it may still forward, and makes every output depend on that message being the last one
//! there. The next one to forward puts its own.
//! Limits: fences need a server of 2.11, and a stream that is not replicated (replicated ones take one such write at a
//! time). Without them a forwarder that is stopped for longer than half of that window between its last look at the
//! clock and the write to its socket may double outputs.

use super::{
    Shared,
    bucket::{Bucket, EXPECTED},
    commit_log::{Commit, Entry},
    errors::Refused,
    names,
    outbox::Outbox,
    present, stream,
    topics::Topic,
    wire::Wire,
};
use crate::BusError;
use async_nats::HeaderMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

const EXPECTED_OF: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// Fences that may be lost (to retention, or to another forwarder that then gives up) before it is told.
const FENCES_LOST_MAX: usize = 5;

/// Who forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarder {
    /// The member whose commit it is: as long as its log is not sealed.
    Owner,
    /// Who finishes it: as long as the sealed log is there.
    Successor,
}

/// A commit on its way to its topics.
pub(super) struct Forwarding {
    pub commit: Commit,
    /// Outputs that are there for certain.
    pub done: BTreeSet<usize>,
    /// When it was decided, or earlier.
    pub decided: Instant,
    /// The same by the server's clock (RFC 3339), when outputs of it may have been there before this.
    pub look_since: Option<String>,
}

pub(super) struct Fences {
    core: Shared,
    bucket: Bucket,
    /// Whose commits are forwarded.
    token: String,
    as_who: Forwarder,
    held: BTreeMap<String, u64>,
}

impl Fences {
    pub(super) fn new(core: Shared, bucket: Bucket, token: String, as_who: Forwarder) -> Self {
        Self { core, bucket, token, as_who, held: BTreeMap::new() }
    }

    /// Forwards what is not there yet, until all is there; each round of writes has the time of `within`. `Fenced` when
    /// somebody else does it now.
    pub(super) async fn forward(
        &mut self,
        outbox: &mut Outbox,
        forwarding: &mut Forwarding,
        within: Duration,
    ) -> Result<(), BusError> {
        for _ in 0..FENCES_LOST_MAX {
            let topics = self.topics(forwarding).await?;
            for topic in topics.values().flatten() {
                self.fence(outbox, topic, Instant::now() + within).await?;
            }
            // Half of it, so that what is sent now is sent in time.
            let trust_ids_for = topics.values().flatten().map(|topic| topic.remembers_ids_for / 2).min();
            let trust_ids_for = trust_ids_for.unwrap_or(Duration::MAX);
            if forwarding.look_since.is_some() || forwarding.decided.elapsed() > trust_ids_for {
                self.authorise(&forwarding.commit.id).await?;
                self.look(forwarding, &topics).await?;
            }
            if self.send(outbox, forwarding, Instant::now() + within.min(trust_ids_for)).await? {
                return Ok(());
            }
        }
        Err(BusError::Failed {
            action: "forwarding outputs",
            detail: "fences are lost again and again; does the topic keep its records long enough?".to_owned(),
            retryable: true,
        })
    }

    /// The topics that outputs are still to go to; `None` for one that is gone, whose outputs go nowhere.
    async fn topics(&self, forwarding: &mut Forwarding) -> Result<BTreeMap<String, Option<Arc<Topic>>>, BusError> {
        let mut topics = BTreeMap::new();
        for (index, output) in forwarding.commit.outputs.iter().enumerate() {
            if forwarding.done.contains(&index) {
                continue;
            }
            if !topics.contains_key(&output.topic) {
                let within = super::stream::ANSWER_WITHIN;
                let topic = match self.core.topics.get(&self.core.link, &output.topic, within).await {
                    Ok(topic) => Some(topic),
                    Err(BusError::UnknownTopic { .. }) => None,
                    Err(error) => return Err(error),
                };
                topics.insert(output.topic.clone(), topic);
            }
            if topics.get(&output.topic).is_some_and(Option::is_none) {
                tracing::error!(topic = %output.topic, "an output is dropped: its topic was deleted after the commit");
                forwarding.done.insert(index);
            }
        }
        Ok(topics)
    }

    /// Holds a fence of the topic, where there are any.
    async fn fence(&mut self, outbox: &mut Outbox, topic: &Topic, deadline: Instant) -> Result<(), BusError> {
        let has_fences = self.core.link.version().is_some_and(|version| version.has_fences());
        if topic.replicas > 1 || !has_fences || self.held.contains_key(&topic.name) {
            return Ok(());
        }
        let subject = names::fence_of(&topic.name, &self.token);
        let wire = Wire { subject, headers: HeaderMap::new(), payload: Default::default() };
        let ack = outbox.send_one(wire, deadline).await.map_err(|refused| self.refused(&topic.name, refused))?;
        // After the fence: who seals the log from now on puts a fence of its own after this one.
        self.authorise("").await?;
        self.held.insert(topic.name.clone(), ack.sequence);
        Ok(())
    }

    /// Fails when the commits of this log are for somebody else to finish, or finished. With the `id` of a commit, also
    /// when that is not the last one.
    async fn authorise(&self, id: &str) -> Result<(), BusError> {
        let key = names::commit_key(&self.token);
        let stored = self.bucket.get(&key).await.map_err(|refused| self.refused("", refused))?;
        let entry = stored.map(|stored| Entry::decode(&stored.payload)).transpose()?;
        let entry = entry.filter(|entry| id.is_empty() || entry.id == id);
        match (entry.map(|entry| entry.sealed.is_some()), self.as_who) {
            (Some(false), Forwarder::Owner) | (Some(true), Forwarder::Successor) => Ok(()),
            _ => Err(BusError::Fenced { detail: "this member's commits are finished by another one".to_owned() }),
        }
    }

    /// Finds out which outputs are there already.
    async fn look(
        &self,
        forwarding: &mut Forwarding,
        topics: &BTreeMap<String, Option<Arc<Topic>>>,
    ) -> Result<(), BusError> {
        let commit = &forwarding.commit;
        let missing = (0..commit.outputs.len()).filter(|index| !forwarding.done.contains(index));
        let wanted: BTreeSet<(&str, i32)> =
            missing.filter_map(|index| commit.outputs.get(index)).map(|o| (o.topic.as_str(), o.partition)).collect();
        let since = match &forwarding.look_since {
            Some(since) => present::earlier(since),
            None => present::ago(forwarding.decided.elapsed()),
        };
        let mut found = BTreeSet::new();
        for (name, partition) in wanted {
            let Some(Some(topic)) = topics.get(name) else { continue };
            let index_of = |id: &str| commit.index_of(id);
            found.extend(present::outputs(&self.core.link, topic, partition, &since, &index_of).await?);
        }
        forwarding.done.extend(found);
        Ok(())
    }

    /// Sends what is missing; `false` when a fence was lost and it has to be looked at again.
    async fn send(
        &mut self,
        outbox: &mut Outbox,
        forwarding: &mut Forwarding,
        deadline: Instant,
    ) -> Result<bool, BusError> {
        let commit = &forwarding.commit;
        let missing: Vec<usize> = (0..commit.outputs.len()).filter(|index| !forwarding.done.contains(index)).collect();
        let wires = missing.iter().filter_map(|index| {
            let mut wire = commit.wire(*index)?;
            let topic = &commit.outputs.get(*index)?.topic;
            if let Some(sequence) = self.held.get(topic) {
                wire.headers.insert(EXPECTED, sequence.to_string());
                wire.headers.insert(EXPECTED_OF, names::fence_of(topic, &self.token));
            }
            Some(wire)
        });
        let results = outbox.send_all(wires.collect(), deadline).await;
        let (mut lost, mut failed) = (BTreeSet::new(), None);
        for (index, result) in missing.iter().zip(results) {
            let topic = commit.outputs.get(*index).map(|output| output.topic.clone()).unwrap_or_default();
            match result {
                Ok(_) => {
                    forwarding.done.insert(*index);
                }
                Err(refused) if refused.is_wrong_last_sequence() => {
                    lost.insert(topic);
                }
                Err(refused) => failed = Some((topic, refused)),
            }
        }
        for topic in &lost {
            self.held.remove(topic);
        }
        if let Some((topic, refused)) = failed {
            // It may have been deleted: asked again next time.
            self.core.topics.forget(&topic);
            return Err(self.refused(&topic, refused));
        }
        Ok(lost.is_empty())
    }

    /// Takes this member's fences away, which nobody holds any more. Of a stream that keeps one message for each subject a
    /// server that is killed brings back the last but one (see `takeover`), so that must be no owner's.
    pub(super) async fn remove(&self, outbox: &mut Outbox, topics: BTreeSet<String>) {
        for name in self.held.keys().cloned().chain(topics).collect::<BTreeSet<String>>() {
            let subject = names::fence_of(&name, &self.token);
            if self.as_who == Forwarder::Successor && self.held.contains_key(&name) {
                let again = Wire { subject: subject.clone(), headers: HeaderMap::new(), payload: Default::default() };
                if let Err(refused) = outbox.send_one(again, Instant::now() + stream::ANSWER_WITHIN).await {
                    tracing::debug!(target: "amoskys_bus::nats", ?refused, "a fence stays");
                    continue;
                }
            }
            if let Err(refused) = stream::purge(&self.core.link, &names::stream_of(&name), &subject).await {
                tracing::debug!(target: "amoskys_bus::nats", ?refused, "a fence stays");
            }
        }
    }

    fn refused(&self, topic: &str, refused: Refused) -> BusError {
        self.core.link.during("forwarding outputs", topic).refused(refused)
    }
}
