//! A member's place in its group: joining, renewing its lease, hearing who is gone, changing the group's key.
//!
//! All of it happens in the calls of the member, so one that does not call for its session timeout is silent and loses
//! its partitions. Only what a dead member left is finished in tasks, because that may take long.
//! Limits: one read of the group's key per [`Membership::sync`]; the leases of the others are read five times in a
//! session (see `leases`).

use super::{
    Core,
    bucket::Bucket,
    commit::Committer,
    errors::Refused,
    leases::Leases,
    outbox::Outbox,
    seats::{GroupState, Seat},
    takeover,
};
use crate::{
    BusError, MemberOptions, TopicPartition,
    group::{Gone, MemberId, Partitions},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const STATE: &str = "state";
/// For one answer while the member waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Members that change the group's key at the same time before one of them tries later.
const CONFLICTS_MAX: usize = 20;

/// How the member stands.
pub(super) enum Standing {
    Seated {
        owned: BTreeSet<TopicPartition>,
        /// Of those, what it has to give up.
        revoked: Vec<TopicPartition>,
    },
    Gone(Gone),
}

pub(super) struct Membership {
    core: Arc<Core>,
    options: MemberOptions,
    bucket: Option<Bucket>,
    /// For the group's key; commits have their own.
    outbox: Option<Outbox>,
    /// The member's commit log while it has a seat.
    pub committer: Option<Committer>,
    state: GroupState,
    revision: u64,
    leases: Leases,
    finishing: BTreeMap<MemberId, JoinHandle<Result<(), BusError>>>,
}

impl Membership {
    pub(super) fn new(core: Arc<Core>, options: &MemberOptions) -> Self {
        Self {
            core,
            options: options.clone(),
            bucket: None,
            outbox: None,
            committer: None,
            state: GroupState::default(),
            revision: 0,
            leases: Leases::new(options.session_timeout),
            finishing: BTreeMap::new(),
        }
    }

    fn session_ms(&self) -> u64 {
        self.options.session_timeout.as_millis() as u64
    }

    fn id(&self) -> Option<MemberId> {
        self.state.seat_of(&self.committer.as_ref()?.log.token)
    }

    pub(super) fn bucket(&self) -> Result<&Bucket, BusError> {
        self.bucket.as_ref().ok_or_else(|| self.core.link.unreachable())
    }

    /// Looks at the group, does what is to be done, and says how this member stands.
    pub(super) async fn sync(&mut self) -> Result<Standing, BusError> {
        self.core.link.ready(ANSWER_WITHIN).await?;
        let (partitions, replicas) = self.partitions().await?;
        if self.bucket.is_none() {
            self.bucket = Some(Bucket::open(self.core.link.clone(), &self.options.group, replicas).await?);
            self.outbox = Some(Outbox::open(self.core.link.clone()).await?);
        }
        self.beat().await;
        self.fetch().await?;
        if self.committer.is_none() {
            self.join(&partitions).await?;
        } else if self.id().is_none() {
            return Ok(Standing::Gone(self.state.why_gone(self.options.instance.as_deref())));
        }
        self.collect_finished().await?;
        let Some(id) = self.id() else { return Ok(Standing::Gone(Gone::Expired)) };
        let bucket = self.bucket()?.clone();
        let silent = self.leases.run_out(&bucket, &self.state, id).await.map_err(|refused| self.refused(refused))?;
        self.update(|state| {
            state.add_partitions(&partitions);
            silent.iter().for_each(|gone| state.depart(*gone));
            state.ownership.turn(id);
        })
        .await?;
        self.finish_departed(id)?;
        let mut after = self.state.ownership.clone();
        Ok(Standing::Seated {
            owned: self.state.ownership.owned_by(id).cloned().collect(),
            revoked: after.turn(id).revoked,
        })
    }

    /// How many partitions the topics have, and the most copies that one of them has.
    async fn partitions(&self) -> Result<(Partitions, usize), BusError> {
        let (mut partitions, mut replicas) = (Partitions::new(), 1);
        for name in &self.options.topics {
            let topic = self.core.topics.get(&self.core.link, name, ANSWER_WITHIN).await?;
            partitions.insert(name.clone(), topic.partitions);
            replicas = replicas.max(topic.replicas);
        }
        Ok((partitions, replicas))
    }

    /// Takes a seat, with a new commit log.
    async fn join(&mut self, partitions: &Partitions) -> Result<(), BusError> {
        let bucket = self.bucket()?.clone();
        let committer = Committer::begin(self.core.shared(), bucket, self.options.delivery, ANSWER_WITHIN).await?;
        let seat = Seat { token: committer.log.token.clone(), session_timeout_ms: self.session_ms() };
        let (topics, instance) = (self.options.topics.clone(), self.options.instance.clone());
        self.committer = Some(committer);
        self.leases = Leases::new(self.options.session_timeout);
        self.beat().await;
        let joined = self.update(|state| {
            state.add_partitions(partitions);
            state.join(&topics, instance.as_deref(), seat.clone());
        });
        if let Err(error) = joined.await {
            // Whether it was taken is not known; if so it is given up by its silence.
            self.committer = None;
            return Err(error);
        }
        tracing::debug!(target: "amoskys_bus::nats", group = %self.options.group, id = ?self.id(), "joined");
        Ok(())
    }

    /// Renews the lease when it is time.
    pub(super) async fn beat(&mut self) {
        if let (Some(committer), Some(bucket)) = (&self.committer, &self.bucket) {
            self.leases.renew(bucket, &committer.log.token).await;
        }
    }

    async fn fetch(&mut self) -> Result<(), BusError> {
        let stored = self.bucket()?.get(STATE).await.map_err(|refused| self.refused(refused))?;
        match stored {
            Some(stored) => {
                self.state = serde_json::from_slice(&stored.payload).map_err(|error| BusError::Failed {
                    action: "reading a group",
                    detail: format!("its state is not understood: {error}; another version wrote it"),
                    retryable: false,
                })?;
                self.revision = stored.sequence;
            }
            None => (self.state, self.revision) = (GroupState::default(), 0),
        }
        Ok(())
    }

    /// Changes the group's key: `decide` is asked again when another member was faster.
    async fn update(&mut self, decide: impl Fn(&mut GroupState)) -> Result<(), BusError> {
        for _ in 0..CONFLICTS_MAX {
            let mut new = self.state.clone();
            decide(&mut new);
            if new == self.state {
                return Ok(());
            }
            let value = serde_json::to_vec(&new).map_err(|error| BusError::Failed {
                action: "writing a group",
                detail: error.to_string(),
                retryable: false,
            })?;
            let wire = self.bucket()?.wire(STATE, value, Some(self.revision));
            let Some(outbox) = &mut self.outbox else { return Err(self.core.link.unreachable()) };
            match outbox.send_one(wire, Instant::now() + ANSWER_WITHIN).await {
                Ok(ack) => {
                    (self.state, self.revision) = (new, ack.sequence);
                    return Ok(());
                }
                Err(refused) if refused.is_wrong_last_sequence() => self.fetch().await?,
                Err(refused) => return Err(self.refused(refused)),
            }
        }
        Err(BusError::Failed {
            action: "changing a group",
            detail: "other members change it all the time".to_owned(),
            retryable: true,
        })
    }

    /// Begins to finish what others left, each once.
    fn finish_departed(&mut self, id: MemberId) -> Result<(), BusError> {
        for (departed, token) in self.state.to_finish(id) {
            if !self.finishing.contains_key(&departed) {
                let work = takeover::finish(self.core.shared(), self.bucket()?.clone(), token);
                self.finishing.insert(departed, self.core.runtime().spawn(work));
            }
        }
        Ok(())
    }

    /// Frees the partitions of those whose leavings are finished.
    async fn collect_finished(&mut self) -> Result<(), BusError> {
        let done: Vec<MemberId> =
            self.finishing.iter().filter(|(_, task)| task.is_finished()).map(|(id, _)| *id).collect();
        for departed in done {
            let Some(task) = self.finishing.remove(&departed) else { continue };
            match task.await {
                Ok(Ok(())) => self.update(|state| state.release(departed)).await?,
                // Begun again by the next sync, unless somebody else was faster.
                Ok(Err(error)) if error.retryable() || matches!(error, BusError::Fenced { .. }) => {
                    tracing::debug!(target: "amoskys_bus::nats", %error, "a takeover is tried again");
                }
                Ok(Err(error)) => return Err(error),
                Err(error) => tracing::error!(target: "amoskys_bus::nats", %error, "a takeover failed"),
            }
        }
        Ok(())
    }

    /// Whether a takeover is under way, so that it is worth looking soon.
    pub(super) fn is_finishing(&self) -> bool {
        !self.finishing.is_empty()
    }

    /// Nothing of these is under way any more.
    pub(super) async fn give_up(&mut self, partitions: &[TopicPartition]) -> Result<(), BusError> {
        let Some(id) = self.id() else { return Ok(()) };
        self.update(|state| state.ownership.give_up(id, partitions)).await
    }

    /// Out of the group, as it is told or has found out; the next sync joins anew.
    pub(super) fn forget(&mut self) {
        self.committer = None;
    }

    /// Out of the group at once. What is not done is left for others to finish.
    pub(super) async fn leave(&mut self, within: Duration) -> Result<(), BusError> {
        let Some(mut committer) = self.committer.take() else { return Ok(()) };
        let done = committer.go_on(Instant::now() + within).await.is_ok() && !committer.is_pending();
        self.fetch().await?;
        let Some(id) = self.state.seat_of(&committer.log.token) else { return Ok(()) };
        self.update(|state| {
            state.depart(id);
            if done {
                state.release(id);
            }
        })
        .await?;
        if done { committer.log.remove().await } else { Ok(()) }
    }

    fn refused(&self, refused: Refused) -> BusError {
        self.core.link.during("asking for a group", "").refused(refused)
    }
}
