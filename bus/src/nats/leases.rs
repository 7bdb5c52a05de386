//! Leases of members: a key each, which its member writes five times in a session, and whose revision the others watch.

use super::{
    bucket::Bucket,
    commit::random,
    errors::Refused,
    names,
    seats::{GroupState, Silence},
};
use crate::group::MemberId;
use futures::future::join_all;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

pub(super) struct Leases {
    /// Between two renewals, and between two looks at the others.
    every: Duration,
    renewed: Option<Instant>,
    looked: Option<Instant>,
    silences: BTreeMap<MemberId, Silence>,
}

impl Leases {
    pub(super) fn new(session_timeout: Duration) -> Self {
        Self { every: session_timeout / 5, renewed: None, looked: None, silences: BTreeMap::new() }
    }

    /// Renews a member's own lease when it is time. Not waited for: the next renewal does as well.
    pub(super) async fn renew(&mut self, bucket: &Bucket, token: &str) {
        let due = self.renewed.is_none_or(|at| at.elapsed() >= self.every);
        if !due || !bucket.link.is_connected() {
            return;
        }
        let subject = bucket.subject(&names::beat_key(token));
        if bucket.link.client.publish(subject, random().into()).await.is_ok() {
            self.renewed = Some(Instant::now());
        }
    }

    /// Members other than `me` that were silent for their session's time, as far as is known. Looks when it is time.
    pub(super) async fn run_out(
        &mut self,
        bucket: &Bucket,
        state: &GroupState,
        me: MemberId,
    ) -> Result<Vec<MemberId>, Refused> {
        if self.looked.is_none_or(|at| at.elapsed() >= self.every) {
            self.look(bucket, state, me).await?;
        }
        let silent = state.seats.iter().filter(|(id, seat)| {
            self.silences.get(id).is_some_and(|silence| silence.is_longer_than(seat.session_timeout_ms))
        });
        Ok(silent.map(|(id, _)| *id).collect())
    }

    async fn look(&mut self, bucket: &Bucket, state: &GroupState, me: MemberId) -> Result<(), Refused> {
        let since_ms = self.looked.map(|at| at.elapsed()).unwrap_or_default().as_millis() as u64;
        let others = state.seats.iter().filter(|(id, _)| **id != me);
        let asked = others.map(|(id, seat)| {
            let (id, key) = (*id, names::beat_key(&seat.token));
            async move { (id, bucket.get(&key).await) }
        });
        let mut silences = BTreeMap::new();
        for (id, lease) in join_all(asked).await {
            let revision = lease?.map_or(0, |lease| lease.sequence);
            let mut silence = self.silences.get(&id).cloned().unwrap_or_default();
            silence.observe(revision, since_ms, 2 * self.every.as_millis() as u64);
            silences.insert(id, silence);
        }
        self.silences = silences;
        self.looked = Some(Instant::now());
        Ok(())
    }
}
