//! A commit that is tried until it succeeds or cannot.
//!
//! The member lives on meanwhile and hears of a rebalance, which the commit may be waiting for: the generation that it named is
//! over. What is asked back in it may be committed once more before the next poll gives it up, so it is tried again, under
//! the new generation, without polling. The caller does what was heard when the commit is done, so a rebalance moves what
//! it moves and disturbs nothing else. Deliberately not here: what is committed.

use super::worker::WorkerError;
use amoskys_bus::{BusError, Change, Member, Outgoing, Position, TopicPartition};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a commit is still tried again after the worker was told to stop. A transaction that a broker's restart
/// caught takes a quarter of it, and orchestrators kill after half a minute.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);
/// How often without polling, when partitions are asked back.
const TRIES_MAX: usize = 5;

/// What is committed, and whether partitions were asked back since the last poll.
pub struct Commit<'a> {
    pub outputs: &'a [Outgoing],
    pub positions: &'a [(TopicPartition, Position)],
    pub is_asked_back: bool,
}

/// Changes that were heard of and are not done. Fenced when partitions are gone before the commit was done.
pub fn commit(member: &mut dyn Member, commit: &Commit<'_>, stop: &AtomicBool) -> Result<Vec<Change>, WorkerError> {
    let mut told_to_stop = None;
    let mut pause = Duration::from_millis(50);
    let mut heard = Vec::new();
    // Counted down once partitions are asked back.
    let mut tries_left = commit.is_asked_back.then_some(TRIES_MAX);
    while let Err(error) = member.commit(commit.outputs, commit.positions) {
        if stop.load(Ordering::Relaxed) {
            told_to_stop.get_or_insert_with(Instant::now);
        }
        if !may_pass(&error) || told_to_stop.is_some_and(|at| at.elapsed() > GIVE_UP_AFTER) {
            return Err(error.into());
        }
        tracing::warn!(%error, "commit failed; trying again");
        match &mut tries_left {
            Some(0) => return Err(moved()),
            Some(left) => *left -= 1,
            None => {
                heard.extend(hear(member)?);
                let is_asked_back = heard.iter().any(|change| matches!(change, Change::Revoked(_)));
                tries_left = is_asked_back.then_some(TRIES_MAX);
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
    Ok(heard)
}

fn hear(member: &mut dyn Member) -> Result<Vec<Change>, WorkerError> {
    match member.poll(Duration::ZERO, 0, &mut |_| {}) {
        // What was computed is somebody else's.
        Ok(changes) if changes.iter().any(|change| matches!(change, Change::Lost(_))) => Err(moved()),
        Ok(changes) => Ok(changes),
        Err(error) if may_pass(&error) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// What was computed may be somebody else's by now.
pub(super) fn moved() -> WorkerError {
    BusError::Fenced { detail: "partitions moved before what was computed of them was committed".to_owned() }.into()
}

/// Topics were there when the processor began, or the log was away. A broker that has just started may deny one it has,
/// and ending would let nobody compute anything; what is missing for good can be created while the worker waits.
pub fn may_pass(error: &BusError) -> bool {
    error.retryable() || matches!(error, BusError::UnknownTopic { .. })
}
