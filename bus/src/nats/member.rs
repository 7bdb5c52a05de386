//! One of a consumer group.
//!
//! Between polls nothing happens to a member: it renews its lease, hears of changes and gives up partitions in its
//! calls, `SYNC_EVERY` at most. Dropping it is leaving, when the server answers soon.
//! Limits: a poll may be held up by the server's answers, beyond its timeout by `SYNC_WITHIN`.

use super::{
    Core,
    commit_log::StoredPosition,
    fetch::Fetcher,
    membership::{Membership, Standing},
    names,
    stream::Stored,
    topics,
};
use crate::{
    Assignment, BusError, Change, Member, MemberOptions, Outgoing, Position, Record, StartAt, TopicPartition,
    group::Gone,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout;

const SYNC_EVERY: Duration = Duration::from_millis(100);
const SYNC_WITHIN: Duration = Duration::from_secs(5);
/// How long the server may take to be there when it is asked where a partition ends.
const END_WITHIN: Duration = Duration::from_secs(1);
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
const DROP_WITHIN: Duration = Duration::from_secs(1);
/// As Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;

pub(super) struct NatsMember {
    core: Arc<Core>,
    options: MemberOptions,
    fetcher: Fetcher,
    membership: Membership,
    /// Told as assigned and not yet as lost; a revoked one until the next poll.
    owned: BTreeSet<TopicPartition>,
    /// Assigned, but the committed position is not known yet.
    waiting: BTreeSet<TopicPartition>,
    /// Told as revoked, to be given up by the next poll.
    revoking: Vec<TopicPartition>,
    next_sync: Instant,
}

impl NatsMember {
    /// The group is joined by the first poll that reaches the server.
    pub(super) fn new(core: Arc<Core>, options: &MemberOptions) -> Result<Self, BusError> {
        names::bucket_of(&options.group)?;
        Ok(Self {
            fetcher: Fetcher::new(core.clone(), options.prefetch_bytes_max),
            membership: Membership::new(core.clone(), options),
            core,
            options: options.clone(),
            owned: BTreeSet::new(),
            waiting: BTreeSet::new(),
            revoking: Vec::new(),
            next_sync: Instant::now(),
        })
    }

    /// Awaits on this thread, for no longer than `within`.
    fn wait<T>(
        core: &Core,
        within: Duration,
        future: impl Future<Output = Result<T, BusError>>,
    ) -> Result<T, BusError> {
        core.run(async { timeout(within, future).await.unwrap_or_else(|_| Err(core.link.unreachable())) })
    }

    /// Gives up what the last poll told as revoked. What is still under way for it is done before.
    fn give_up_revoked(&mut self) -> Result<(), BusError> {
        if self.revoking.is_empty() {
            return Ok(());
        }
        let (membership, revoking) = (&mut self.membership, &self.revoking);
        Self::wait(&self.core, SYNC_WITHIN, async {
            if let Some(committer) = &mut membership.committer {
                match committer.go_on(Instant::now() + SYNC_WITHIN).await {
                    // The sync that follows finds out how.
                    Ok(()) | Err(BusError::Fenced { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            membership.give_up(revoking).await
        })?;
        for partition in std::mem::take(&mut self.revoking) {
            self.owned.remove(&partition);
            if let Some(committer) = &mut self.membership.committer {
                committer.log.revisions.remove(&partition);
            }
        }
        Ok(())
    }

    /// Looks at the group and tells what follows from it.
    fn sync(&mut self, changes: &mut Vec<Change>) -> Result<(), BusError> {
        let began = Instant::now();
        let standing = Self::wait(&self.core, SYNC_WITHIN, self.membership.sync());
        // A server far away must not take the time for records.
        let pause = if self.membership.is_finishing() { SYNC_EVERY / 5 } else { SYNC_EVERY };
        self.next_sync = Instant::now() + pause.min(self.options.session_timeout / 10).max(10 * began.elapsed());
        match standing? {
            Standing::Seated { owned, revoked } => self.follow(owned, revoked, changes),
            Standing::Gone(Gone::Expired) => {
                self.next_sync = Instant::now();
                self.lose(changes);
            }
            Standing::Gone(Gone::Replaced) => {
                self.forget();
                return Err(BusError::Fenced {
                    detail: format!(
                        "another member joined group `{}` as instance `{}`",
                        self.options.group,
                        self.options.instance.as_deref().unwrap_or_default()
                    ),
                });
            }
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let assigned = Self::wait(
            &self.core,
            SYNC_WITHIN,
            Self::assignments(&self.core, &mut self.membership, &self.options, &self.waiting),
        )?;
        self.owned.append(&mut self.waiting);
        changes.push(Change::Assigned(assigned));
        Ok(())
    }

    fn follow(&mut self, owned: BTreeSet<TopicPartition>, revoked: Vec<TopicPartition>, changes: &mut Vec<Change>) {
        self.waiting = owned.difference(&self.owned).cloned().collect();
        // What was not told as assigned is given up without a word.
        self.waiting.retain(|partition| !revoked.contains(partition));
        let told: Vec<TopicPartition> = revoked.iter().filter(|p| self.owned.contains(p)).cloned().collect();
        self.revoking = revoked;
        if !told.is_empty() {
            told.iter().for_each(|partition| self.fetcher.stop(partition));
            changes.push(Change::Revoked(told));
        }
    }

    fn lose(&mut self, changes: &mut Vec<Change>) {
        let lost: Vec<TopicPartition> = self.owned.iter().cloned().collect();
        self.forget();
        self.membership.forget();
        if !lost.is_empty() {
            changes.push(Change::Lost(lost));
        }
    }

    fn forget(&mut self) {
        for partition in std::mem::take(&mut self.owned) {
            self.fetcher.stop(&partition);
        }
        self.waiting.clear();
        self.revoking.clear();
    }

    /// Where the partitions that were assigned go on.
    async fn assignments(
        core: &Core,
        membership: &mut Membership,
        options: &MemberOptions,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<Vec<Assignment>, BusError> {
        let mut assignments = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let stored = Self::stored(core, membership, partition).await?;
            if let Some(committer) = &mut membership.committer {
                committer.log.revisions.insert(partition.clone(), stored.as_ref().map_or(0, |stored| stored.sequence));
            }
            let committed = position(stored)?;
            let begin = match &committed {
                Some(position) => position.offset,
                None => {
                    let topic = core.topics.get(&core.link, &partition.topic, SYNC_WITHIN).await?;
                    let (first, end) = topics::bounds(&core.link, &topic, partition).await?;
                    if options.start_at == StartAt::Earliest { first } else { end }
                }
            };
            assignments.push(Assignment { partition: partition.clone(), committed, begin });
        }
        Ok(assignments)
    }

    /// What is committed for a partition, as it is stored.
    async fn stored(
        core: &Core,
        membership: &Membership,
        partition: &TopicPartition,
    ) -> Result<Option<Stored>, BusError> {
        let key = names::position_key(&partition.topic, partition.partition);
        let stored = membership.bucket()?.get(&key).await;
        stored.map_err(|refused| core.link.during("asking for committed positions", "").refused(refused))
    }

    fn check(&self, positions: &[(TopicPartition, Position)]) -> Result<(), BusError> {
        for (partition, position) in positions {
            if !self.owned.contains(partition) {
                return Err(not_ours(partition));
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

fn position(stored: Option<Stored>) -> Result<Option<Position>, BusError> {
    let position = stored.map(|stored| serde_json::from_slice::<StoredPosition>(&stored.payload)).transpose();
    let position = position.map_err(|error| super::commit_log::damaged(&error.to_string()))?;
    Ok(position.map(|position| Position { offset: position.offset, metadata: position.metadata }))
}

fn not_ours(partition: &TopicPartition) -> BusError {
    BusError::Fenced { detail: format!("{}/{} is not this member's", partition.topic, partition.partition) }
}

impl Member for NatsMember {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<Vec<Change>, BusError> {
        let deadline = Instant::now() + timeout;
        self.give_up_revoked()?;
        let mut changes = Vec::new();
        loop {
            if Instant::now() >= self.next_sync {
                self.sync(&mut changes)?;
            }
            let until = if changes.is_empty() { deadline.min(self.next_sync) } else { Instant::now() };
            let mut ends = Vec::new();
            let some = self.fetcher.poll(until, records_max, on_record, &mut ends)?;
            changes.splice(0..0, ends);
            if some || !changes.is_empty() || Instant::now() >= deadline {
                return Ok(changes);
            }
        }
    }

    fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        self.fetcher.known_end(partition)
    }

    fn end(&mut self, partition: &TopicPartition) -> Result<i64, BusError> {
        let core = &self.core;
        core.run(async {
            let topic = core.topics.get(&core.link, &partition.topic, END_WITHIN).await?;
            core.link.ready(END_WITHIN).await?;
            topics::end(&core.link, &topic, partition).await
        })
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, BusError> {
        let (core, membership) = (&self.core, &self.membership);
        core.run(async {
            core.link.ready(END_WITHIN).await?;
            let mut committed = Vec::with_capacity(partitions.len());
            for partition in partitions {
                committed.push(position(Self::stored(core, membership, partition).await?)?);
            }
            Ok(committed)
        })
    }

    fn start(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        if !self.owned.contains(partition) {
            return Err(not_ours(partition));
        }
        self.fetcher.start(partition, offset);
        Ok(())
    }

    fn commit(&mut self, outputs: &[Outgoing], positions: &[(TopicPartition, Position)]) -> Result<(), BusError> {
        if outputs.is_empty() && positions.is_empty() {
            return Ok(());
        }
        self.check(positions)?;
        let within = self.options.transaction_timeout;
        let (core, membership) = (&self.core, &mut self.membership);
        core.run(async {
            membership.beat().await;
            let Some(committer) = &mut membership.committer else {
                return Err(BusError::Fenced { detail: "this member is not one of the group".to_owned() });
            };
            committer.commit(outputs, positions, Instant::now() + within).await
        })
        .inspect_err(|error| {
            if matches!(error, BusError::Fenced { .. }) {
                self.next_sync = Instant::now();
            }
        })
    }

    fn leave(mut self: Box<Self>) -> Result<(), BusError> {
        Self::wait(&self.core, LEAVE_WITHIN, self.membership.leave(LEAVE_WITHIN))
    }
}

impl Drop for NatsMember {
    fn drop(&mut self) {
        if self.core.link.is_connected()
            && let Err(error) = Self::wait(&self.core, DROP_WITHIN, self.membership.leave(DROP_WITHIN))
        {
            tracing::debug!(target: "amoskys_bus::nats", %error, "the group will notice that a member is gone");
        }
    }
}
