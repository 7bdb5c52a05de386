//! Finishes what a member that is gone left behind, so that its partitions can go to others. May be done by several at
//! once, and again after a kill anywhere.
//!
//! 1. **Seal** its commit log by compare-and-set: the last entry is written again, marked. From here on the old member's
//!    next commit fails, because it names another last revision; so does every one after that.
//! 2. **Finish** the commit that is in it: forward the outputs that are missing, set the positions that it replaces.
//! 3. **Remove** the log, last of all. The old member, should it live, finds no entry and gives up.
//!
//! A server that is killed keeps that a key was purged, and not that revisions of it were replaced before: the last but
//! one comes back. So what is purged here is written anew before, twice; what comes back is sealed too (`docs/adr/0011-nats.md`).

use super::{
    Shared,
    bucket::Bucket,
    commit_log::{Commit, Entry, StoredPosition},
    errors::Refused,
    forward::{Fences, Forwarder, Forwarding},
    names,
    outbox::Outbox,
};
use crate::{BusError, TopicPartition};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// For one round of writes; a retry goes on where it was.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Finishes what the member of `token` left. When it returns, that member has no say any more.
pub(super) async fn finish(core: Shared, bucket: Bucket, token: String) -> Result<(), BusError> {
    let mut outbox = Outbox::open(core.link.clone()).await?;
    let Some(entry) = seal(&bucket, &mut outbox, &token).await? else { return Ok(()) };
    let mut fences = Fences::new(core, bucket.clone(), token.clone(), Forwarder::Successor);
    let commit = read(&bucket, &token, &entry).await?;
    if let Some(commit) = commit.clone() {
        carry_out(&bucket, &mut outbox, &mut fences, commit, entry.sealed).await?;
    }
    let outputs = commit.iter().flat_map(|commit| &commit.outputs);
    let topics: BTreeSet<String> = outputs.map(|output| output.topic.clone()).collect();
    fences.remove(&mut outbox, topics).await;
    empty(&bucket, &mut outbox, &token).await?;
    let refused = |refused| refused_by(&bucket, refused);
    bucket.purge(&format!("{}.>", names::commit_key(&token))).await.map_err(refused)?;
    bucket.purge(&names::beat_key(&token)).await.map_err(refused)?;
    bucket.purge(&names::commit_key(&token)).await.map_err(refused)
}

fn refused_by(bucket: &Bucket, refused: Refused) -> BusError {
    bucket.link.during("taking over from another member", "").refused(refused)
}

/// The sealed entry; `None` when the log is gone, so all is done.
async fn seal(bucket: &Bucket, outbox: &mut Outbox, token: &str) -> Result<Option<Entry>, BusError> {
    let key = names::commit_key(token);
    loop {
        let Some(stored) = bucket.get(&key).await.map_err(|refused| refused_by(bucket, refused))? else {
            return Ok(None);
        };
        let mut entry = Entry::decode(&stored.payload)?;
        if entry.sealed.is_some() {
            return Ok(Some(entry));
        }
        entry.sealed = Some(stored.time);
        let wire = bucket.wire(&key, entry.encode()?, Some(stored.sequence));
        match outbox.send_one(wire, Instant::now() + WRITE_WITHIN).await {
            Ok(_) => return Ok(Some(entry)),
            // It committed once more, or another one sealed it.
            Err(refused) if refused.is_wrong_last_sequence() => {}
            Err(refused) => return Err(refused_by(bucket, refused)),
        }
    }
}

/// Leaves nothing in the sealed log but that it is sealed, also in the revision before the last.
async fn empty(bucket: &Bucket, outbox: &mut Outbox, token: &str) -> Result<(), BusError> {
    let key = names::commit_key(token);
    for _ in 0..2 {
        let Some(stored) = bucket.get(&key).await.map_err(|refused| refused_by(bucket, refused))? else {
            return Ok(());
        };
        let emptied = Entry::decode(&stored.payload)?.emptied();
        let wire = bucket.wire(&key, emptied.encode()?, Some(stored.sequence));
        match outbox.send_one(wire, Instant::now() + WRITE_WITHIN).await {
            Ok(_) => {}
            // Another one finishes it too, and does the same.
            Err(refused) if refused.is_wrong_last_sequence() => {}
            Err(refused) => return Err(refused_by(bucket, refused)),
        }
    }
    Ok(())
}

/// The commit in the entry. `None` when there is none, and when its chunks make place for the next commit's: that is
/// begun only after the last one is finished.
async fn read(bucket: &Bucket, token: &str, entry: &Entry) -> Result<Option<Commit>, BusError> {
    if entry.id.is_empty() {
        return Ok(None);
    }
    let Some(chunks) = &entry.chunks else { return Commit::decode(&entry.id, &entry.commit).map(Some) };
    let mut bytes = Vec::new();
    for (index, revision) in chunks.iter().enumerate() {
        let chunk = bucket.get(&names::chunk_key(token, index)).await.map_err(|refused| refused_by(bucket, refused))?;
        match chunk.filter(|chunk| chunk.sequence == *revision) {
            Some(chunk) => bytes.extend_from_slice(&chunk.payload),
            None => return Ok(None),
        }
    }
    Commit::decode(&entry.id, &bytes.into()).map(Some)
}

/// Positions are set after the outputs are there. So one that is set, or was replaced since, says that all are there.
async fn outputs_are_there(bucket: &Bucket, commit: &Commit) -> Result<bool, BusError> {
    for position in &commit.positions {
        let stored = bucket.get(&names::position_key(&position.topic, position.partition)).await;
        let stored = stored.map_err(|refused| refused_by(bucket, refused))?;
        if stored.map_or(0, |stored| stored.sequence) != position.replaces {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn carry_out(
    bucket: &Bucket,
    outbox: &mut Outbox,
    fences: &mut Fences,
    commit: Commit,
    written: Option<String>,
) -> Result<(), BusError> {
    let deadline = || Instant::now() + WRITE_WITHIN;
    if outputs_are_there(bucket, &commit).await? {
        return set_positions(bucket, outbox, &commit, deadline()).await.map(drop);
    }
    tracing::info!(target: "amoskys_bus::nats", commit = %commit.id, "finishing the commit of a member that is gone");
    let (done, look_since) = (BTreeSet::new(), Some(written.unwrap_or_default()));
    let mut forwarding = Forwarding { commit, done, decided: Instant::now(), look_since };
    fences.forward(outbox, &mut forwarding, WRITE_WITHIN).await?;
    set_positions(bucket, outbox, &forwarding.commit, deadline()).await.map(drop)
}

/// Sets the positions of a commit, each if it still is what the commit replaces; the revisions that they have then.
/// A position that somebody else has moved on is left alone, and not in the answer.
pub(super) async fn set_positions(
    bucket: &Bucket,
    outbox: &mut Outbox,
    commit: &Commit,
    deadline: Instant,
) -> Result<BTreeMap<TopicPartition, u64>, BusError> {
    let mut wires = Vec::with_capacity(commit.positions.len());
    for new in &commit.positions {
        let value = StoredPosition { offset: new.offset, metadata: new.metadata.clone(), commit: commit.id.clone() };
        let value = serde_json::to_vec(&value).map_err(|error| super::commit_log::damaged(&error.to_string()))?;
        wires.push(bucket.wire(&names::position_key(&new.topic, new.partition), value, Some(new.replaces)));
    }
    let mut revisions = BTreeMap::new();
    for (new, result) in commit.positions.iter().zip(outbox.send_all(wires, deadline).await) {
        match result {
            Ok(ack) => {
                revisions.insert(new.of(), ack.sequence);
            }
            Err(refused) if refused.is_wrong_last_sequence() => {
                let stored = bucket.get(&names::position_key(&new.topic, new.partition)).await;
                let stored = stored.map_err(|refused| refused_by(bucket, refused))?;
                let ours = stored.filter(|stored| is_of(&stored.payload, &commit.id));
                revisions.extend(ours.map(|stored| (new.of(), stored.sequence)));
            }
            Err(refused) => return Err(refused_by(bucket, refused)),
        }
    }
    Ok(revisions)
}

fn is_of(payload: &[u8], commit: &str) -> bool {
    serde_json::from_slice::<StoredPosition>(payload).is_ok_and(|position| position.commit == commit)
}

#[cfg(test)]
#[path = "takeover_tests.rs"]
mod tests;
