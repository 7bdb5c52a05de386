//! A member's own commits: decided by one compare-and-set in its commit log, then carried out.
//!
//! 1. **Write** outputs and positions to the log, if its last revision is still the one this member wrote. That decides:
//!    before it nothing can be read, after it everything will be, whoever carries it out (see `takeover`).
//! 2. **Forward** the outputs to their topics, each once (see `forward`).
//! 3. **Set** the positions, each by compare-and-set.
//!
//! The next commit begins only after that. At least once, outputs are written and acknowledged before the first step.
//! Limits: a commit is at most `COMMIT_BYTES_MAX`; it is kept in memory, and once more in the log, until it is done.

use super::{
    Shared,
    bucket::Bucket,
    commit_log::{Commit, Entry, NewPosition, Output},
    errors::Refused,
    forward::{Fences, Forwarder, Forwarding},
    names,
    outbox::{Outbox, check_size},
    producer::{choose_partition, too_large, wire_of},
    stream::ANSWER_WITHIN,
    takeover::set_positions,
    wire::MESSAGE_ID,
};
use crate::{BusError, Delivery, Outgoing, Position, ProducerOptions, TopicPartition};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

const COMMIT_BYTES_MAX: usize = 512 << 20;
/// What an entry may have beside the commit or chunk in it.
const ENTRY_BYTES: usize = 16 << 10;

/// The commits of a member that sits. Its calls may be cancelled; what is pending stays.
pub(super) struct Committer {
    pub log: Log,
    pending: Option<Pending>,
}

/// A member's commit log.
pub(super) struct Log {
    core: Shared,
    bucket: Bucket,
    outbox: Outbox,
    fences: Fences,
    pub token: String,
    delivery: Delivery,
    /// Revision of the last entry.
    last: u64,
    /// Revisions of the positions of owned partitions.
    pub revisions: BTreeMap<TopicPartition, u64>,
    turn: u64,
}

/// A commit that is not done.
struct Pending {
    outputs: Vec<Outgoing>,
    positions: Vec<(TopicPartition, Position)>,
    forwarding: Forwarding,
    /// Made once: its chunks must not be written again while the entry may be in the log.
    entry: Option<Entry>,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// At least once: outputs before anything else.
    ForwardFirst,
    Write,
    Forward,
    Set,
}

impl Committer {
    /// Begins a log under a new token, before anybody knows of it.
    pub(super) async fn begin(
        core: Shared,
        bucket: Bucket,
        delivery: Delivery,
        within: Duration,
    ) -> Result<Self, BusError> {
        let token = random();
        let mut outbox = Outbox::open(core.link.clone()).await?;
        let wire = bucket.wire(&names::commit_key(&token), Entry::begin().encode()?, Some(0));
        let begun = outbox.send_one(wire, Instant::now() + within).await;
        let begun = begun.map_err(|refused| match refused {
            // Its acknowledgement was lost and it was sent twice. Another token, another time.
            wrong if wrong.is_wrong_last_sequence() => core.link.unreachable(),
            refused => core.link.during("joining a group", "").refused(refused),
        })?;
        let log = Log {
            fences: Fences::new(core.clone(), bucket.clone(), token.clone(), Forwarder::Owner),
            core,
            bucket,
            outbox,
            token,
            delivery,
            last: begun.sequence,
            revisions: BTreeMap::new(),
            turn: 0,
        };
        Ok(Self { log, pending: None })
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Commits, or goes on with the same commit. After a retryable error the outcome may not be known.
    pub(super) async fn commit(
        &mut self,
        outputs: &[Outgoing],
        positions: &[(TopicPartition, Position)],
        deadline: Instant,
    ) -> Result<(), BusError> {
        match &self.pending {
            Some(pending) if pending.outputs != outputs || pending.positions != positions => {
                return Err(BusError::Failed {
                    action: "committing",
                    detail: "the outcome of the last commit is not known; only the same may be committed again".into(),
                    retryable: false,
                });
            }
            Some(_) => {}
            None => {
                let commit = self.log.prepare(outputs, positions).await?;
                let step = if self.log.delivery == Delivery::AtLeastOnce { Step::ForwardFirst } else { Step::Write };
                let forwarding =
                    Forwarding { commit, done: BTreeSet::new(), decided: Instant::now(), look_since: None };
                let (outputs, positions) = (outputs.to_vec(), positions.to_vec());
                self.pending = Some(Pending { outputs, positions, forwarding, entry: None, step });
            }
        }
        self.go_on(deadline).await
    }

    /// Carries out what is pending. `Fenced`: somebody else decides now, and this member's log is closed.
    pub(super) async fn go_on(&mut self, deadline: Instant) -> Result<(), BusError> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let done = self.log.carry_out(pending, deadline).await;
        if matches!(done, Ok(()) | Err(BusError::Fenced { .. })) {
            self.pending = None;
        }
        done
    }
}

impl Log {
    async fn carry_out(&mut self, pending: &mut Pending, deadline: Instant) -> Result<(), BusError> {
        let forwarding = &mut pending.forwarding;
        if pending.step == Step::ForwardFirst {
            // Nothing is decided yet, and they may be there twice.
            forwarding.decided = Instant::now();
            self.fences.forward(&mut self.outbox, forwarding, left(deadline)).await?;
            forwarding.commit.outputs.clear();
            pending.step = Step::Write;
        }
        if pending.step == Step::Write {
            let entry = match pending.entry.take() {
                Some(entry) => entry,
                None => self.entry(&forwarding.commit, deadline).await?,
            };
            self.write(pending.entry.insert(entry), deadline).await?;
            forwarding.decided = Instant::now();
            pending.step = Step::Forward;
        }
        if pending.step == Step::Forward {
            self.fences.forward(&mut self.outbox, forwarding, left(deadline)).await?;
            pending.step = Step::Set;
        }
        let revisions = set_positions(&self.bucket, &mut self.outbox, &forwarding.commit, deadline).await?;
        if revisions.len() < forwarding.commit.positions.len() {
            return Err(BusError::Fenced { detail: "another member has moved these positions on".to_owned() });
        }
        self.revisions.extend(revisions);
        Ok(())
    }

    /// Everything that can be refused is refused here, before anything is written.
    async fn prepare(
        &mut self,
        outputs: &[Outgoing],
        positions: &[(TopicPartition, Position)],
    ) -> Result<Commit, BusError> {
        let mut commit = Commit { id: random(), outputs: Vec::with_capacity(outputs.len()), positions: Vec::new() };
        let bytes_max = ProducerOptions::default().record_bytes_max;
        let mut all_bytes = 0;
        for record in outputs {
            let bytes = record.bytes();
            all_bytes += bytes;
            if bytes > bytes_max {
                return Err(BusError::RecordTooLarge { topic: record.topic.clone(), bytes, bytes_max });
            }
            let topic = self.core.topics.get(&self.core.link, &record.topic, ANSWER_WITHIN).await?;
            self.turn += 1;
            let partition = choose_partition(record, &topic, self.turn)?;
            let wire = wire_of(record, &topic, partition)?;
            check_size(&self.core.link, &wire).map_err(|refused| too_large(refused, record))?;
            commit.outputs.push(Output::new(&topic.name, partition, wire));
        }
        if all_bytes > COMMIT_BYTES_MAX {
            let detail = format!("a commit of {all_bytes} bytes; {COMMIT_BYTES_MAX} are possible, commit more often");
            return Err(BusError::Misconfigured { detail });
        }
        for (of, position) in positions {
            commit.positions.push(NewPosition {
                topic: of.topic.clone(),
                partition: of.partition,
                offset: position.offset,
                metadata: position.metadata.clone(),
                replaces: self.revisions.get(of).copied().unwrap_or(0),
            });
        }
        Ok(commit)
    }

    /// Decides.
    async fn write(&mut self, entry: &Entry, deadline: Instant) -> Result<(), BusError> {
        let key = names::commit_key(&self.token);
        let wire = self.bucket.wire(&key, entry.encode()?, Some(self.last));
        match self.outbox.send_one(wire, deadline).await {
            Ok(ack) => self.last = ack.sequence,
            // Perhaps by this very commit, when its acknowledgement was lost.
            Err(refused) if refused.is_wrong_last_sequence() => {
                let stored = self.bucket.get(&key).await.map_err(|refused| self.refused(refused))?;
                let found = stored.map(|stored| Ok((stored.sequence, Entry::decode(&stored.payload)?))).transpose()?;
                match found {
                    Some((sequence, found)) if found.sealed.is_none() && found.id == entry.id => self.last = sequence,
                    _ => {
                        let detail = "another member has taken over this member's partitions".to_owned();
                        return Err(BusError::Fenced { detail });
                    }
                }
            }
            Err(refused) => return Err(self.refused(refused)),
        }
        Ok(())
    }

    /// The entry of a commit; a large one's chunks are written.
    async fn entry(&mut self, commit: &Commit, deadline: Instant) -> Result<Entry, BusError> {
        let bytes: Bytes = commit.encode()?.into();
        let chunk_bytes_max = self.core.link.client.max_payload().saturating_sub(ENTRY_BYTES).max(ENTRY_BYTES);
        if bytes.len() <= chunk_bytes_max {
            return Ok(Entry::of_commit(&commit.id, bytes));
        }
        let wires = bytes.chunks(chunk_bytes_max).enumerate().map(|(index, chunk)| {
            let mut wire = self.bucket.wire(&names::chunk_key(&self.token, index), chunk.to_vec(), None);
            // Sent twice it would be another revision than the entry names.
            wire.headers.insert(MESSAGE_ID, format!("{}-chunk-{index}", commit.id));
            wire
        });
        let written = self.outbox.send_all(wires.collect(), deadline).await;
        let revisions: Result<Vec<u64>, Refused> = written.into_iter().map(|r| r.map(|ack| ack.sequence)).collect();
        Ok(Entry::of_chunks(&commit.id, revisions.map_err(|refused| self.refused(refused))?))
    }

    fn refused(&self, refused: Refused) -> BusError {
        self.core.link.during("committing", "").refused(refused)
    }

    /// Takes away what this member had, once it is no longer one of the group and nothing is pending.
    pub(super) async fn remove(&mut self) -> Result<(), BusError> {
        self.fences.remove(&mut self.outbox, BTreeSet::new()).await;
        for keys in [names::beat_key(&self.token), names::commit_key(&self.token)] {
            self.bucket.purge(&keys).await.map_err(|refused| self.refused(refused))?;
        }
        let chunks = format!("{}.>", names::commit_key(&self.token));
        self.bucket.purge(&chunks).await.map_err(|refused| self.refused(refused))
    }
}

/// The time until then, but enough for an answer that is on its way.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100))
}

/// 64 bits that nobody else has.
pub(super) fn random() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
#[path = "commit_stops.rs"]
mod stops;
