//! The write-ahead log: envelopes between the batcher and their acknowledgement, on disk.
//!
//! Two threads use it: the pipeline appends, the publisher reads in order and forgets what is acknowledged or given up.
//! Every event that enters or leaves moves in the ledger in the same step. The next sequence numbers are written together
//! with each envelope, so a restarted agent goes on where it was. A last batch that is damaged is cut off, and its
//! sequence number left out (of each stream, as it is not known of which it was). A log that cannot be read back otherwise is renamed, reported and replaced by an empty one:
//! an agent that does not start is blind.
//!
//! Deliberately not here: what an envelope holds, when to send. Limits: `bytes_max` bytes of envelopes (on disk up to
//! twice that and 128 MiB), one process at a time, about 20 MiB of memory.

use crate::{
    config::{Fsync, WalConfig, WalFull},
    ledger::Loss,
    metrics::SharedNumbers,
    stream::{STREAMS, Stream},
};
use amoskys_bus::local::{LastBatch, open_mended};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::{
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// An envelope in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Position in this log, ascending.
    pub index: u64,
    /// The topic's name is looked up when it is sent, so a renamed topic gets what is stored.
    pub stream: Stream,
    pub events: u32,
    pub envelope: Vec<u8>,
}

/// Why an envelope leaves the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    Lost(Loss),
}

/// An envelope that leaves the log, and what it counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    pub index: u64,
    pub stream: Stream,
    pub events: u32,
    pub envelope_bytes: usize,
    pub outcome: Outcome,
}

/// The log cannot be used: the operator's or the disk's fault.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("the write-ahead log at {path} is in use by another agent; give each its own wal path")]
    InUse { path: PathBuf },
    #[error("the write-ahead log at {path} failed: {action}: {detail}")]
    Failed { path: PathBuf, action: &'static str, detail: String },
}

/// An open log.
pub struct Wal {
    database: Database,
    /// Envelopes by index, and the position. One keyspace: a second, seldom written one would keep every journal.
    records: Keyspace,
    config: WalConfig,
    numbers: SharedNumbers,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    boot_id: String,
    next_index: u64,
    next_sequences: Sequences,
    /// Envelopes below are being sent.
    send_from: u64,
    records: u64,
    bytes: u64,
    /// The value that is written next; kept, because new memory for each costs more than what is put into it.
    value: Vec<u8>,
    /// Appended and not synced since, monotonic nanoseconds.
    unsynced_since_ns: Option<u64>,
    closed: bool,
}

/// For each stream, so that a topic's reader sees by its records alone whether one is missing.
type Sequences = [u64; STREAMS.len()];

/// Not as long as an index, and after all of them.
const POSITION_KEY: &[u8] = b"next-position";
/// Memory for envelopes that are not in a table yet.
const MEMTABLE_BYTES: u64 = 2 << 20;
/// The least that the library takes.
const JOURNALS_BYTES_MAX: u64 = 64 << 20;
const CACHE_BYTES: u64 = 1 << 20;
const OPEN_FILES_MAX: usize = 16;
/// Of [`State::value`] that are kept: usual envelopes fit, the largest do not.
const VALUE_BYTES_KEPT: usize = 256 << 10;
/// Stream and number of events before each envelope.
const PREFIX_BYTES: usize = 5;

impl Wal {
    /// Opens or creates the log. `boot_id` tells whether sequence numbers go on; `boot_ns` is the time since boot, from
    /// which they start when nothing is known, so that a number is never used for two envelopes of one boot.
    pub fn open(config: &WalConfig, boot_id: &str, boot_ns: u64, numbers: SharedNumbers) -> Result<Self, WalError> {
        let opened = open_mended(&config.path, || open_database(&config.path));
        let ((database, records), last_batch) = match opened {
            Err(error) if is_damage(&error) => {
                let aside = set_aside(&config.path)?;
                tracing::error!(%error, aside = %aside.display(), "damaged write-ahead log; starting an empty one");
                numbers.lock().wal_set_aside_folders += 1;
                (open_database(&config.path).map_err(|error| open_error(&config.path, error))?, LastBatch::Whole)
            }
            opened => opened.map_err(|error| open_error(&config.path, error))?,
        };
        let wal = Self {
            database,
            records,
            config: config.clone(),
            numbers: numbers.clone(),
            state: Mutex::new(State {
                boot_id: boot_id.to_owned(),
                next_index: 0,
                next_sequences: [(boot_ns / 1_000).max(1); STREAMS.len()],
                send_from: 0,
                records: 0,
                bytes: 0,
                value: Vec::new(),
                unsynced_since_ns: None,
                closed: false,
            }),
            changed: Condvar::new(),
        };
        wal.recover().map_err(|error| wal.failed("read back", &error))?;
        match last_batch {
            LastBatch::Whole => {}
            // Never handed out: an envelope is there for others when it is written to its end.
            LastBatch::Torn => numbers.lock().wal_torn_batches += 1,
            LastBatch::Damaged => {
                numbers.lock().wal_torn_batches += 1;
                // It may have held an envelope that was sent, of whatever stream: its number is not for another one.
                wal.lock().next_sequences.iter_mut().for_each(|next| *next += 1);
            }
        }
        Ok(wal)
    }

    fn recover(&self) -> fjall::Result<()> {
        let mut state = self.lock();
        if let Some(position) = self.records.get(POSITION_KEY)?.and_then(|bytes| decode_position(&bytes)) {
            state.next_index = position.next_index;
            let goes_on = position.boot_id == state.boot_id;
            state.next_sequences = if goes_on { position.next_sequences } else { [1; STREAMS.len()] };
        }
        let (mut events, mut first) = ([0; STREAMS.len()], None);
        for guard in self.records.iter() {
            let (key, value) = guard.into_inner()?;
            let Some(stored) = decode(&key, &value) else { continue };
            first.get_or_insert(stored.index);
            state.next_index = state.next_index.max(stored.index + 1);
            state.records += 1;
            state.bytes += stored.envelope.len() as u64;
            events[stored.stream as usize] += u64::from(stored.events);
        }
        state.send_from = first.unwrap_or(state.next_index);
        for ((stream, _), events) in STREAMS.iter().zip(events) {
            self.numbers.lock().ledger.recover(*stream, events);
        }
        self.show(&state);
        Ok(())
    }

    /// Appends the envelope that `seal` makes of its sequence number in `stream`, at the end of what it is given. Where it does not fit, the configured policy
    /// decides; with [`WalFull::Block`] this waits until there is room or `give_up` says otherwise. What is lost is
    /// counted here.
    pub fn append(
        &self,
        stream: Stream,
        events: u32,
        now_ns: u64,
        give_up: impl Fn() -> bool,
        seal: impl FnOnce(u64, &mut Vec<u8>),
    ) -> Result<(), WalError> {
        let mut state = self.lock();
        let mut value = std::mem::take(&mut state.value);
        value.clear();
        value.push(stream as u8);
        value.extend(events.to_le_bytes());
        seal(state.next_sequences[stream as usize], &mut value);
        // Used even when the envelope is lost: the gap tells readers.
        state.next_sequences[stream as usize] += 1;
        let lose = |loss| self.numbers.lock().ledger.drop_in_hand(stream, loss, u64::from(events));
        let room = self.make_room(state, value.len() - PREFIX_BYTES, give_up);
        let (mut state, lost_as) = room.inspect_err(|_| lose(Loss::WalFailed))?;
        let appended = match lost_as {
            Some(loss) => {
                lose(loss);
                Ok(())
            }
            None => self.write(&mut state, stream, events, &value, now_ns).inspect_err(|_| lose(Loss::WalFailed)),
        };
        value.shrink_to(VALUE_BYTES_KEPT);
        state.value = value;
        appended
    }

    /// As the configured policy says, until `envelope_bytes` fit; otherwise as what they are lost.
    fn make_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        envelope_bytes: usize,
        give_up: impl Fn() -> bool,
    ) -> Result<(MutexGuard<'a, State>, Option<Loss>), WalError> {
        while state.records > 0 && state.bytes + envelope_bytes as u64 > self.config.bytes_max {
            match self.config.when_full {
                WalFull::DropOldest if self.drop_oldest(&mut state)? => {}
                WalFull::DropOldest => return Ok((state, Some(Loss::WalFull))),
                WalFull::Block if give_up() => return Ok((state, Some(Loss::Shutdown))),
                WalFull::Block => state = self.wait_on(state, Duration::from_millis(50)),
            }
        }
        Ok((state, None))
    }

    fn write(&self, state: &mut State, stream: Stream, events: u32, value: &[u8], now_ns: u64) -> Result<(), WalError> {
        let index = state.next_index;
        // Always out of this process at least: what is appended may be sent at once, and an agent that is killed then
        // must not use its number for another envelope.
        let durability = if self.config.fsync == Fsync::Always { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = self.database.batch().durability(Some(durability));
        batch.insert(&self.records, index.to_be_bytes(), value);
        let position =
            Position { next_index: index + 1, next_sequences: state.next_sequences, boot_id: state.boot_id.clone() };
        batch.insert(&self.records, POSITION_KEY, encode_position(&position));
        batch.commit().map_err(|error| self.failed("append", &error))?;
        state.next_index += 1;
        state.records += 1;
        state.bytes += (value.len() - PREFIX_BYTES) as u64;
        state.unsynced_since_ns.get_or_insert(now_ns);
        self.numbers.lock().ledger.write(stream, u64::from(events));
        self.show(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Gives up the oldest envelope that is not being sent; false when all are.
    fn drop_oldest(&self, state: &mut State) -> Result<bool, WalError> {
        let Some(oldest) = self.first_from(state.send_from)? else { return Ok(false) };
        state.send_from = oldest.index + 1;
        let outcome = Outcome::Lost(Loss::WalFull);
        self.remove(state, &[oldest.leaving(outcome)])?;
        Ok(true)
    }

    /// The next envelope to be sent, in order; each is handed out once.
    pub fn next(&self) -> Result<Option<Stored>, WalError> {
        let mut state = self.lock();
        if state.send_from == state.next_index {
            return Ok(None);
        }
        let next = self.first_from(state.send_from)?;
        state.send_from = next.as_ref().map_or(state.next_index, |stored| stored.index + 1);
        Ok(next)
    }

    /// An envelope that [`Wal::next`] handed out and that is to be sent again.
    pub fn read(&self, index: u64) -> Result<Option<Stored>, WalError> {
        let key = index.to_be_bytes();
        let value = self.records.get(key).map_err(|error| self.failed("read", &error))?;
        Ok(value.and_then(|value| decode(&key, &value)))
    }

    /// Forgets envelopes that [`Wal::next`] handed out.
    pub fn forget(&self, leaving: &[Leaving]) -> Result<(), WalError> {
        self.remove(&mut self.lock(), leaving)
    }

    fn remove(&self, state: &mut State, leaving: &[Leaving]) -> Result<(), WalError> {
        let mut batch = self.database.batch();
        leaving.iter().for_each(|gone| batch.remove(&self.records, gone.index.to_be_bytes()));
        batch.commit().map_err(|error| self.failed("forget", &error))?;
        for gone in leaving {
            state.records = state.records.saturating_sub(1);
            state.bytes = state.bytes.saturating_sub(gone.envelope_bytes as u64);
            let ledger = &mut self.numbers.lock().ledger;
            match gone.outcome {
                Outcome::Acknowledged => ledger.acknowledge(gone.stream, u64::from(gone.events)),
                Outcome::Lost(loss) => ledger.drop_in_wal(gone.stream, loss, u64::from(gone.events)),
            }
        }
        self.show(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until there is something to send, the log is closed, or the time is over.
    pub fn wait(&self, timeout: Duration) {
        let state = self.lock();
        if state.send_from == state.next_index && !state.closed {
            drop(self.wait_on(state, timeout));
        }
    }

    /// When [`Wal::sync`] has to be called, monotonic nanoseconds.
    pub fn sync_due_ns(&self) -> Option<u64> {
        let Fsync::Interval(interval) = self.config.fsync else { return None };
        Some(self.lock().unsynced_since_ns? + interval.as_nanos() as u64)
    }

    /// Brings everything appended so far to the disk.
    pub fn sync(&self) -> Result<(), WalError> {
        self.lock().unsynced_since_ns = None;
        self.database.persist(PersistMode::SyncData).map_err(|error| self.failed("sync", &error))
    }

    /// Nothing will be appended any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether it is closed and everything in it was acknowledged or given up.
    pub fn is_done(&self) -> bool {
        let state = self.lock();
        state.closed && state.records == 0
    }

    fn first_from(&self, index: u64) -> Result<Option<Stored>, WalError> {
        for guard in self.records.range(index.to_be_bytes()..) {
            let (key, value) = guard.into_inner().map_err(|error| self.failed("read", &error))?;
            if let Some(stored) = decode(&key, &value) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    fn show(&self, state: &State) {
        let mut numbers = self.numbers.lock();
        numbers.wal_records = state.records;
        numbers.wal_bytes = state.bytes;
        numbers.wal_bytes_max = self.config.bytes_max;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_on<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    fn failed(&self, action: &'static str, error: &fjall::Error) -> WalError {
        WalError::Failed { path: self.config.path.clone(), action, detail: error.to_string() }
    }
}

impl Stored {
    pub fn leaving(&self, outcome: Outcome) -> Leaving {
        Leaving {
            index: self.index,
            stream: self.stream,
            events: self.events,
            envelope_bytes: self.envelope.len(),
            outcome,
        }
    }
}

fn open_database(path: &Path) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_cached_files(Some(OPEN_FILES_MAX))
        .max_journaling_size(JOURNALS_BYTES_MAX)
        .worker_threads(1)
        .open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let records = database.keyspace("envelopes", options)?;
    Ok((database, records))
}

/// Whether the files are there but their content is not what was written.
fn is_damage(error: &fjall::Error) -> bool {
    !matches!(error, fjall::Error::Locked | fjall::Error::Io(_) | fjall::Error::InvalidVersion(_))
}

fn set_aside(path: &Path) -> Result<PathBuf, WalError> {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{}", since_1970.as_millis()));
    let aside = path.with_file_name(name);
    match std::fs::rename(path, &aside) {
        Ok(()) => Ok(aside),
        Err(error) => {
            let detail = format!("it is damaged and cannot be renamed to {}: {error}", aside.display());
            Err(WalError::Failed { path: path.into(), action: "open", detail })
        }
    }
}

fn open_error(path: &Path, error: fjall::Error) -> WalError {
    match error {
        fjall::Error::Locked => WalError::InUse { path: path.into() },
        error => WalError::Failed { path: path.into(), action: "open", detail: error.to_string() },
    }
}

fn decode(key: &[u8], value: &[u8]) -> Option<Stored> {
    let (prefix, envelope) = value.split_at_checked(PREFIX_BYTES)?;
    let (stream, events) = prefix.split_first()?;
    Some(Stored {
        index: u64::from_be_bytes(key.try_into().ok()?),
        stream: Stream::of_byte(*stream).unwrap_or(Stream::Process),
        events: u32::from_le_bytes(events.try_into().ok()?),
        envelope: envelope.to_vec(),
    })
}

struct Position {
    next_index: u64,
    next_sequences: Sequences,
    boot_id: String,
}

/// Stands where earlier agents had the one number of all streams, which never came so far.
const BY_STREAM: u64 = u64::MAX;

fn encode_position(position: &Position) -> Vec<u8> {
    let mut bytes = position.next_index.to_le_bytes().to_vec();
    bytes.extend(BY_STREAM.to_le_bytes());
    bytes.push(STREAMS.len() as u8);
    position.next_sequences.iter().for_each(|next| bytes.extend(next.to_le_bytes()));
    bytes.extend(position.boot_id.as_bytes());
    bytes
}

fn decode_position(bytes: &[u8]) -> Option<Position> {
    let (next_index, rest) = split_u64(bytes)?;
    let (first, rest) = split_u64(rest)?;
    if first != BY_STREAM {
        let boot_id = String::from_utf8(rest.to_vec()).ok()?;
        return Some(Position { next_index, next_sequences: [first; STREAMS.len()], boot_id });
    }
    let (count, mut rest) = rest.split_first()?;
    let mut known = Vec::with_capacity(usize::from(*count));
    for _ in 0..*count {
        let (next, after) = split_u64(rest)?;
        known.push(next);
        rest = after;
    }
    // A stream that the agent which wrote this did not have begins where no number was used, whatever ran before that.
    let furthest = known.iter().copied().max().unwrap_or(1);
    let next_sequences = std::array::from_fn(|stream| known.get(stream).copied().unwrap_or(furthest));
    Some(Position { next_index, next_sequences, boot_id: String::from_utf8(rest.to_vec()).ok()? })
}

fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*first), rest))
}

#[cfg(test)]
#[path = "wal_tests.rs"]
mod tests;
