//! What the embedded log keeps on disk: five fjall keyspaces and the only code that touches them.
//!
//! `topics` name → settings; `partitions` → first and next offset, bytes, last log time; `records`; `positions`;
//! `latest` → where the last record of each key is, of topics that are compacted.
//! One [`Batch`] is atomic and, once committed, survives the machine's loss of power. A batch torn by a kill is cut
//! off when the log is opened again, and so is a last one that is damaged (see `mend`). Not here: who may write, what is visible to readers.
//! Limits: disk space of trimmed records comes back when fjall compacts.

use super::{codec, mend::open_mended};
use crate::{BusError, Outgoing, Position, TopicPartition};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

const CACHE_BYTES_MAX: u64 = 16 << 20;
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// Values above this are kept beside the tree, so that compaction does not copy them again and again.
const SEPARATE_ABOVE_BYTES: u32 = 1024;

/// A topic as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredTopic {
    pub id: u32,
    pub partitions: i32,
    pub settings: Vec<(String, String)>,
}

/// A partition as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredPartition {
    /// First offset still there.
    pub first: i64,
    /// Offset of the next record.
    pub end: i64,
    /// Of the records still there, as stored.
    pub bytes: u64,
    pub last_log_time_ms: i64,
}

pub(super) struct Store {
    database: Database,
    topics: Keyspace,
    partitions: Keyspace,
    records: Keyspace,
    positions: Keyspace,
    latest: Keyspace,
}

/// Takes an offset and a value; `false` ends the scan.
pub(super) type OnRecord<'a> = dyn FnMut(i64, &[u8]) -> Result<bool, BusError> + 'a;

/// Positions by group and partition.
pub(super) type Positions = BTreeMap<(String, TopicPartition), Position>;

impl Store {
    pub(super) fn open(folder: &Path) -> Result<Self, BusError> {
        Self::open_inner(folder).map_err(|error| BusError::Failed {
            action: "opening the local log",
            detail: format!("{}: {error}; move the folder away to start an empty log", folder.display()),
            retryable: false,
        })
    }

    fn open_inner(folder: &Path) -> fjall::Result<Self> {
        let path = folder.join("db");
        let open = || {
            Database::builder(&path)
                .cache_size(CACHE_BYTES_MAX)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(1)
                .open()
        };
        let (database, _) = open_mended(&path, open)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let separated = || {
            options()
                .with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(SEPARATE_ABOVE_BYTES)))
        };
        Ok(Self {
            topics: database.keyspace("topics", options)?,
            partitions: database.keyspace("partitions", options)?,
            records: database.keyspace("records", separated)?,
            positions: database.keyspace("positions", options)?,
            latest: database.keyspace("latest", options)?,
            database,
        })
    }

    pub(super) fn load_topics(&self) -> Result<BTreeMap<String, (StoredTopic, Vec<StoredPartition>)>, BusError> {
        let mut topics = BTreeMap::new();
        for entry in self.topics.iter() {
            let (name, value) = entry.into_inner().map_err(read_failed)?;
            let name = String::from_utf8_lossy(&name).into_owned();
            let topic: StoredTopic = decode(&value)?;
            let mut partitions = Vec::new();
            for partition in 0..topic.partitions {
                let key = codec::partition_key(topic.id, partition);
                let stored = self.partitions.get(key).map_err(read_failed)?;
                partitions.push(stored.as_deref().map(decode).transpose()?.unwrap_or_default());
            }
            topics.insert(name, (topic, partitions));
        }
        Ok(topics)
    }

    pub(super) fn load_positions(&self) -> Result<Positions, BusError> {
        let mut positions = Positions::new();
        for entry in self.positions.iter() {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            let (group, topic, partition) = codec::decode_position_key(&key).ok_or_else(|| corrupt("a position"))?;
            let (offset, metadata) = decode(&value)?;
            positions.insert((group, TopicPartition { topic, partition }), Position { offset, metadata });
        }
        Ok(positions)
    }

    /// Calls `on_record` with offset and value of the records from `offset` to before `end` until it says stop.
    pub(super) fn scan(
        &self,
        topic_id: u32,
        partition: i32,
        offset: i64,
        end: i64,
        on_record: &mut OnRecord<'_>,
    ) -> Result<(), BusError> {
        let range = codec::record_key(topic_id, partition, offset)..codec::record_key(topic_id, partition, end);
        for entry in self.records.range(range) {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            let offset = codec::offset_of(&key).ok_or_else(|| corrupt("a record's key"))?;
            if !on_record(offset, &value)? {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { store: self, batch: self.database.batch().durability(Some(PersistMode::SyncData)) }
    }
}

/// Changes that become durable together or not at all.
pub(super) struct Batch<'a> {
    store: &'a Store,
    batch: fjall::OwnedWriteBatch,
}

impl Batch<'_> {
    pub(super) fn topic(&mut self, name: &str, topic: &StoredTopic) -> Result<(), BusError> {
        self.batch.insert(&self.store.topics, name, encode(topic)?);
        Ok(())
    }

    pub(super) fn partition(&mut self, topic_id: u32, partition: i32, state: &StoredPartition) -> Result<(), BusError> {
        self.batch.insert(&self.store.partitions, codec::partition_key(topic_id, partition), encode(state)?);
        Ok(())
    }

    /// Appends at `state.end` and moves it on; the caller stores `state` in the same batch.
    pub(super) fn record(&mut self, topic_id: u32, partition: i32, state: &mut StoredPartition, record: &Outgoing) {
        let value = codec::encode_record(record, state.last_log_time_ms);
        state.bytes += value.len() as u64;
        self.batch.insert(&self.store.records, codec::record_key(topic_id, partition, state.end), value);
        state.end += 1;
    }

    /// Puts a record of a compacted topic, as encoded, in the place of the last one with its key; bytes that went with
    /// that one. At most once for a key in a batch: of two the first is not in the store yet.
    pub(super) fn replace_record(
        &mut self,
        topic_id: u32,
        partition: i32,
        key: &[u8],
        offset: i64,
        value: Vec<u8>,
    ) -> Result<u64, BusError> {
        let latest = codec::latest_key(topic_id, partition, key);
        let former = self.store.latest.get(&latest).map_err(read_failed)?;
        let former: Option<(i64, u64)> = former.as_deref().map(decode).transpose()?;
        if let Some((former, _)) = former {
            self.remove_record(topic_id, partition, former);
        }
        self.batch.insert(&self.store.latest, latest, encode(&(offset, value.len() as u64))?);
        self.batch.insert(&self.store.records, codec::record_key(topic_id, partition, offset), value);
        Ok(former.map_or(0, |(_, bytes)| bytes))
    }

    pub(super) fn remove_record(&mut self, topic_id: u32, partition: i32, offset: i64) {
        self.batch.remove(&self.store.records, codec::record_key(topic_id, partition, offset));
    }

    pub(super) fn position(&mut self, group: &str, of: &TopicPartition, position: &Position) -> Result<(), BusError> {
        let value = encode(&(position.offset, &position.metadata))?;
        self.batch.insert(&self.store.positions, codec::position_key(group, &of.topic, of.partition), value);
        Ok(())
    }

    /// Returns when the batch is on the disk.
    pub(super) fn commit(self) -> Result<(), BusError> {
        self.batch.commit().map_err(|error| BusError::Failed {
            action: "writing to the local log",
            detail: format!("{error}; check free space and the disk, then start again"),
            retryable: false,
        })
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, BusError> {
    serde_json::to_vec(value).map_err(|error| BusError::Failed {
        action: "encoding for the local log",
        detail: error.to_string(),
        retryable: false,
    })
}

fn decode<T: for<'de> Deserialize<'de>>(value: &[u8]) -> Result<T, BusError> {
    serde_json::from_slice(value).map_err(|error| corrupt(&format!("an entry ({error})")))
}

fn read_failed(error: fjall::Error) -> BusError {
    BusError::Failed { action: "reading the local log", detail: error.to_string(), retryable: false }
}

pub(super) fn corrupt(what: &str) -> BusError {
    BusError::Failed {
        action: "reading the local log",
        detail: format!("{what} is damaged; the log was written by another version or the disk failed"),
        retryable: false,
    }
}
