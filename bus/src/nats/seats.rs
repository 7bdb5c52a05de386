//! A group as the value of one key: who sits where, who owns what, who left something to be finished. Pure; members
//! change it by compare-and-set, so each decision is a function of what was there.
//!
//! A member that is gone stays in `departed`, and what it owned stays its own, until somebody has sealed its commit log
//! and finished what was in it (see `takeover`). Time is not stored: each member measures the silence of the others by
//! its own clock, and only while it hears the server (see [`Silence`]).

use crate::group::{Gone, MemberId, Ownership, Partitions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupState {
    pub ownership: Ownership,
    /// Of the topics that members asked for.
    partitions: Partitions,
    pub seats: BTreeMap<MemberId, Seat>,
    /// Gone, and what they left is not finished: their tokens.
    pub departed: BTreeMap<MemberId, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seat {
    /// Names the member's commit log, lease and fences; never used twice.
    pub token: String,
    pub session_timeout_ms: u64,
}

impl GroupState {
    /// Takes a seat; whoever had it under this instance name is gone at once.
    pub(super) fn join(&mut self, topics: &[String], instance: Option<&str>, seat: Seat) {
        if self.seat_of(&seat.token).is_some() {
            return;
        }
        let same = instance.map(|name| self.ownership.with_instance(name)).unwrap_or_default();
        same.into_iter().for_each(|id| self.depart(id));
        let id = self.ownership.join(topics, instance, &self.partitions);
        self.seats.insert(id, seat);
    }

    pub(super) fn seat_of(&self, token: &str) -> Option<MemberId> {
        self.seats.iter().find(|(_, seat)| seat.token == token).map(|(id, _)| *id)
    }

    /// The member is gone, whether it knows or not.
    pub(super) fn depart(&mut self, id: MemberId) {
        if let Some(seat) = self.seats.remove(&id) {
            self.departed.insert(id, seat.token);
            self.ownership.depart(id, &self.partitions);
        }
    }

    /// What the member left is finished.
    pub(super) fn release(&mut self, id: MemberId) {
        if self.departed.remove(&id).is_some() {
            self.ownership.release(id);
        }
    }

    /// Topics grow and come; they never go.
    pub(super) fn add_partitions(&mut self, partitions: &Partitions) {
        let before = self.partitions.clone();
        self.partitions.extend(partitions.iter().map(|(topic, count)| (topic.clone(), *count)));
        if self.partitions != before {
            self.ownership.rebalance(&self.partitions);
        }
    }

    pub(super) fn why_gone(&self, instance: Option<&str>) -> Gone {
        self.ownership.why_gone(instance)
    }

    /// Whose leavings this member sees to: those that keep it from partitions meant for it; the first member does all,
    /// because somebody has to.
    pub(super) fn to_finish(&self, id: MemberId) -> Vec<(MemberId, String)> {
        let first = self.seats.keys().next() == Some(&id);
        let wanted = |departed: &MemberId| first || self.ownership.waits_for(id, *departed);
        self.departed.iter().filter(|(departed, _)| wanted(departed)).map(|(id, token)| (*id, token.clone())).collect()
    }
}

/// How long a member's lease has not been renewed, as far as was observed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    revision: Option<u64>,
    silent_ms: u64,
}

impl Silence {
    /// The lease was found at `revision`, `since_last_ms` after it was looked at before. Who looks seldom (stopped,
    /// or away from the server) has heard nothing and counts at most `step_ms_max`.
    pub(super) fn observe(&mut self, revision: u64, since_last_ms: u64, step_ms_max: u64) {
        if self.revision == Some(revision) {
            self.silent_ms += since_last_ms.min(step_ms_max);
        } else {
            *self = Self { revision: Some(revision), silent_ms: 0 };
        }
    }

    pub(super) fn is_longer_than(&self, timeout_ms: u64) -> bool {
        self.silent_ms > timeout_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicPartition;

    fn seat(token: &str) -> Seat {
        Seat { token: token.into(), session_timeout_ms: 1_000 }
    }

    fn group() -> GroupState {
        let mut state = GroupState::default();
        state.add_partitions(&Partitions::from([("t".to_owned(), 2)]));
        state
    }

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition }
    }

    #[test]
    fn a_member_with_the_same_instance_waits_until_the_old_ones_leavings_are_finished() {
        let mut state = group();
        state.join(&["t".to_owned()], Some("a"), seat("old"));
        let old = state.seat_of("old").expect("seated");
        assert_eq!(state.ownership.turn(old).assigned, [tp(0), tp(1)]);
        state.join(&["t".to_owned()], Some("a"), seat("new"));
        let new = state.seat_of("new").expect("seated");
        assert_eq!((state.seat_of("old"), state.why_gone(Some("a"))), (None, Gone::Replaced));
        assert_eq!(state.ownership.turn(new).assigned, []);
        assert_eq!(state.to_finish(new), [(old, "old".to_owned())]);
        state.release(old);
        assert_eq!(state.ownership.turn(new).assigned, [tp(0), tp(1)]);
        assert!(state.departed.is_empty());
    }

    #[test]
    fn asking_twice_changes_nothing() {
        let mut state = group();
        state.join(&["t".to_owned()], Some("a"), seat("x"));
        let before = state.clone();
        state.join(&["t".to_owned()], Some("a"), seat("x"));
        state.add_partitions(&Partitions::from([("t".to_owned(), 2)]));
        state.depart(77);
        state.release(77);
        assert_eq!(state, before);
    }

    #[test]
    fn the_heir_and_the_first_member_see_to_what_is_left() {
        let mut state = group();
        for token in ["a", "b", "c"] {
            state.join(&["t".to_owned()], None, seat(token));
            let id = state.seat_of(token).expect("seated");
            state.ownership.turn(id);
        }
        // `a` has both partitions; once it is gone `b` and `c` are its heirs.
        let [a, b, c] = ["a", "b", "c"].map(|token| state.seat_of(token).expect("seated"));
        state.depart(a);
        assert_eq!(state.to_finish(b), [(a, "a".to_owned())]);
        assert_eq!(state.to_finish(c), [(a, "a".to_owned())]);
        state.release(a);
        state.depart(b);
        assert_eq!(state.to_finish(c), [(b, "b".to_owned())], "it owned nothing, but what it wrote has to go");
    }

    #[test]
    fn silence_counts_only_while_it_is_listened_to() {
        let mut silence = Silence::default();
        silence.observe(7, 0, 100);
        silence.observe(7, 60_000, 100);
        assert!(!silence.is_longer_than(100), "the observer was stopped, not the member");
        silence.observe(7, 50, 100);
        assert!(silence.is_longer_than(100));
        silence.observe(8, 50, 100);
        assert!(!silence.is_longer_than(0));
    }
}
