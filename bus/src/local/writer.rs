//! The one thread that writes the embedded log: takes what waits in the queue, writes it as one batch, waits for the
//! disk once, then makes it visible and answers everybody.
//!
//! So a record is acknowledged only when it would survive a kill or a power cut, and many records share one wait.
//! The group's permission to commit is asked here, right before the batch; the group stands still until it is done.
//! Limits: at most `BATCH_BYTES_MAX` plus one request in a batch.

use super::{
    codec,
    log::{Core, Shared},
    store::{Batch, StoredPartition},
};
use crate::{BusError, Outgoing, Position, TopicPartition, partition_for_key, record::keyless};
use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const BATCH_BYTES_MAX: usize = 8 << 20;
const BATCH_REQUESTS_MAX: usize = 4096;
/// How often what has become too old is looked for.
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// Records trimmed from one partition in one go.
const TRIM_RECORDS_MAX: usize = 100_000;

/// Answer to an append: the token and partition and offset.
pub(super) type Appended = (u64, Result<(i32, i64), BusError>);

pub(super) enum Request {
    Append { record: Outgoing, token: u64, report: SyncSender<Appended> },
    Commit(Box<Commit>),
}

/// Outputs and positions of a member, to be written together.
pub(super) struct Commit {
    pub group: String,
    pub member: u64,
    pub outputs: Vec<Outgoing>,
    pub positions: Vec<(TopicPartition, Position)>,
    pub reply: SyncSender<Result<(), BusError>>,
}

/// Runs until the last sender is gone and the queue is empty.
pub(super) fn run(core: &Core, queue: &Receiver<Request>) {
    let mut trimmed = Instant::now();
    loop {
        match queue.recv_timeout(TRIM_EVERY) {
            Ok(first) => write_together(core, first, queue),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if trimmed.elapsed() < TRIM_EVERY {
            continue;
        }
        trimmed = Instant::now();
        if let Err(error) = trim(core, wall_clock_ms()) {
            tracing::warn!(%error, "old records could not be trimmed");
        }
    }
}

fn wall_clock_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// What a batch will change once it is on the disk.
struct Pending<'a> {
    batch: Batch<'a>,
    partitions: BTreeMap<TopicPartition, (u32, StoredPartition)>,
    /// The last record of each key of compacted topics: its offset, and as encoded.
    latest: BTreeMap<(TopicPartition, Vec<u8>), (i64, Vec<u8>)>,
    positions: Vec<(String, TopicPartition, Position)>,
    now_ms: i64,
    unkeyed: u64,
}

/// Where a record goes.
struct Target {
    of: TopicPartition,
    topic_id: u32,
    is_compacted: bool,
    state: StoredPartition,
}

/// Whom to answer, with what, if the batch gets to the disk.
enum Answer {
    Append { report: SyncSender<Appended>, token: u64, result: Result<(i32, i64), BusError> },
    Commit { reply: SyncSender<Result<(), BusError>>, group: String, result: Result<(), BusError> },
}

fn write_together(core: &Core, first: Request, queue: &Receiver<Request>) {
    let mut pending = Pending {
        batch: core.store.batch(),
        partitions: BTreeMap::new(),
        latest: BTreeMap::new(),
        positions: Vec::new(),
        now_ms: wall_clock_ms(),
        unkeyed: 0,
    };
    let mut answers = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(request) = next {
        bytes += request_bytes(&request);
        answers.push(pending.add(core, request));
        let full = bytes >= BATCH_BYTES_MAX || answers.len() >= BATCH_REQUESTS_MAX;
        next = if full { None } else { queue.try_recv().ok() };
    }
    let written = pending.write(core);
    answer(core, answers, written.as_ref().err());
}

fn request_bytes(request: &Request) -> usize {
    match request {
        Request::Append { record, .. } => record.bytes(),
        Request::Commit(commit) => commit.outputs.iter().map(Outgoing::bytes).sum(),
    }
}

impl Pending<'_> {
    fn add(&mut self, core: &Core, request: Request) -> Answer {
        match request {
            Request::Append { record, token, report } => {
                let result = self.check(&core.shared(), &record).map(|to| self.append(to, &record));
                Answer::Append { report, token, result }
            }
            Request::Commit(commit) => {
                let Commit { group, member, outputs, positions, reply } = *commit;
                let result = self.add_commit(core, &group, member, &outputs, positions);
                Answer::Commit { reply, group, result }
            }
        }
    }

    /// All of it or nothing of it goes into the batch.
    fn add_commit(
        &mut self,
        core: &Core,
        group: &str,
        member: u64,
        outputs: &[Outgoing],
        positions: Vec<(TopicPartition, Position)>,
    ) -> Result<(), BusError> {
        let mut shared = core.shared();
        let targets: Vec<_> = outputs.iter().map(|record| self.check(&shared, record)).collect::<Result<_, _>>()?;
        permit(core, &mut shared, group, member, &positions)?;
        drop(shared);
        for (record, to) in outputs.iter().zip(targets) {
            self.append(to, record);
        }
        for (partition, position) in positions {
            self.batch.position(group, &partition, &position)?;
            self.positions.push((group.to_owned(), partition, position));
        }
        Ok(())
    }

    /// Where the record goes, or why it cannot.
    fn check(&mut self, shared: &Shared, record: &Outgoing) -> Result<Target, BusError> {
        let unknown = || BusError::UnknownTopic { topic: record.topic.clone() };
        let topic = shared.topics.get(&record.topic).ok_or_else(unknown)?;
        let bytes = record.bytes();
        if let Some(bytes_max) = topic.record_bytes_max.filter(|bytes_max| bytes > *bytes_max) {
            return Err(BusError::RecordTooLarge { topic: record.topic.clone(), bytes, bytes_max });
        }
        if topic.is_compacted && record.key.is_none() {
            return Err(keyless(&record.topic));
        }
        let partition = record.partition.unwrap_or_else(|| self.choose(record.key.as_deref(), topic.stored.partitions));
        let of = TopicPartition { topic: record.topic.clone(), partition };
        let (topic_id, state) = shared.partition(&of).ok_or_else(|| BusError::Misconfigured {
            detail: format!("topic `{}` has {} partitions, no {partition}", of.topic, topic.stored.partitions),
        })?;
        Ok(Target { of, topic_id, is_compacted: topic.is_compacted, state })
    }

    fn choose(&mut self, key: Option<&[u8]>, partitions: i32) -> i32 {
        match key {
            Some(key) => partition_for_key(key, partitions),
            None => {
                self.unkeyed += 1;
                ((self.now_ms as u64).wrapping_add(self.unkeyed) % partitions.max(1) as u64) as i32
            }
        }
    }

    fn append(&mut self, to: Target, record: &Outgoing) -> (i32, i64) {
        let partition = to.of.partition;
        let (_, state) = self.partitions.entry(to.of.clone()).or_insert((to.topic_id, to.state));
        state.last_log_time_ms = state.last_log_time_ms.max(self.now_ms);
        let offset = state.end;
        match &record.key {
            Some(key) if to.is_compacted => {
                let value = codec::encode_record(record, state.last_log_time_ms);
                state.end += 1;
                self.latest.insert((to.of, key.clone()), (offset, value));
            }
            _ => self.batch.record(to.topic_id, partition, state, record),
        }
        (partition, offset)
    }

    fn write(mut self, core: &Core) -> Result<(), BusError> {
        for ((of, key), (offset, value)) in std::mem::take(&mut self.latest) {
            let Some((id, state)) = self.partitions.get_mut(&of) else { continue };
            let bytes = value.len() as u64;
            let freed_bytes = self.batch.replace_record(*id, of.partition, &key, offset, value)?;
            state.bytes = (state.bytes + bytes).saturating_sub(freed_bytes);
        }
        for (of, (id, state)) in &self.partitions {
            self.batch.partition(*id, of.partition, state)?;
        }
        self.batch.commit()?;
        let mut shared = core.shared();
        for (of, (_, state)) in self.partitions {
            set_partition(&mut shared, &of, state);
        }
        for (group, partition, position) in self.positions {
            shared.positions.insert((group, partition), position);
        }
        Ok(())
    }
}

fn permit(
    core: &Core,
    shared: &mut Shared,
    group: &str,
    member: u64,
    positions: &[(TopicPartition, Position)],
) -> Result<(), BusError> {
    let touched: Vec<TopicPartition> = positions.iter().map(|(partition, _)| partition.clone()).collect();
    let (state, partitions) = shared.group(group);
    state.begin_commit(member, &touched, core.now_ms(), partitions).map_err(|detail| BusError::Fenced { detail })
}

fn set_partition(shared: &mut Shared, of: &TopicPartition, state: StoredPartition) {
    let topic = shared.topics.get_mut(&of.topic);
    if let Some(slot) = topic.and_then(|topic| topic.partitions.get_mut(of.partition as usize)) {
        *slot = state;
    }
}

/// Ends the commits and answers. A receiver that is gone does not want to know.
fn answer(core: &Core, answers: Vec<Answer>, failure: Option<&BusError>) {
    let mut shared = core.shared();
    for answer in &answers {
        if let Answer::Commit { group, result: Ok(()), .. } = answer
            && let Some(group) = shared.groups.get_mut(group)
        {
            group.end_commit();
        }
    }
    drop(shared);
    for answer in answers {
        match answer {
            Answer::Append { report, token, result } => {
                let _ = report.send((token, result.and_then(|at| unless(failure).map(|()| at))));
            }
            Answer::Commit { reply, result, .. } => {
                let _ = reply.send(result.and_then(|()| unless(failure)));
            }
        }
    }
    core.notify();
}

fn unless(failure: Option<&BusError>) -> Result<(), BusError> {
    failure.map_or(Ok(()), |error| {
        Err(BusError::Failed { action: "writing to the local log", detail: error.to_string(), retryable: false })
    })
}

/// Removes from the front what the topics' retention lets go.
fn trim(core: &Core, now_ms: i64) -> Result<(), BusError> {
    let candidates: Vec<_> = {
        let shared = core.shared();
        let all = shared.topics.iter().flat_map(|(name, topic)| {
            (0..).zip(&topic.partitions).map(move |(partition, state)| {
                let of = TopicPartition { topic: name.clone(), partition };
                (of, topic.stored.id, topic.retention, *state)
            })
        });
        all.filter(|(_, _, retention, state)| state.end - state.first > 1 && retention.may_trim(state.bytes)).collect()
    };
    for (of, id, retention, mut state) in candidates {
        let before = state.first;
        let mut batch = core.store.batch();
        let mut removed = 0;
        core.store.scan(id, of.partition, state.first, state.end - 1, &mut |offset, value| {
            let log_time_ms = codec::log_time_ms_of(value).unwrap_or(i64::MAX);
            if removed == TRIM_RECORDS_MAX || !retention.drops(log_time_ms, state.bytes, now_ms) {
                return Ok(false);
            }
            batch.remove_record(id, of.partition, offset);
            (state.first, state.bytes, removed) =
                (offset + 1, state.bytes.saturating_sub(value.len() as u64), removed + 1);
            Ok(true)
        })?;
        if state.first > before {
            batch.partition(id, of.partition, &state)?;
            batch.commit()?;
            set_partition(&mut core.shared(), &of, state);
        }
    }
    Ok(())
}
