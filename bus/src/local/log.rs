//! The open embedded log that all its handles share: what is visible, who waits for it, and the door to the writer.
//!
//! Readers see a partition up to the `end` kept here, which the writer moves after its batch is on the disk.
//! Limits: `REQUESTS_MAX` requests wait for the writer; more make `send` answer that the queue is full.

use super::{
    group::Group,
    lock::FolderLock,
    marker,
    retention::Retention,
    store::{Positions, Store, StoredPartition, StoredTopic},
    writer::{self, Request},
};
use crate::{BusError, TopicPartition, record::is_compacted};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Instant,
};

/// Requests that wait for the writer, records and commits alike.
const REQUESTS_MAX: usize = 16_384;

/// Everything but the writer's thread.
pub(super) struct Core {
    pub store: Store,
    shared: Mutex<Shared>,
    changed: Condvar,
    opened: Instant,
    // Last, so that the folder is free only after the store is closed.
    _lock: FolderLock,
}

/// What changes while the log is open.
#[derive(Default)]
pub(super) struct Shared {
    pub topics: BTreeMap<String, Topic>,
    /// Partitions of every topic.
    pub counts: BTreeMap<String, i32>,
    pub groups: BTreeMap<String, Group>,
    pub positions: Positions,
}

pub(super) struct Topic {
    pub stored: StoredTopic,
    pub retention: Retention,
    /// Largest record that the topic takes, by its `max.message.bytes`.
    pub record_bytes_max: Option<usize>,
    /// Only the last record of each key is kept.
    pub is_compacted: bool,
    pub partitions: Vec<StoredPartition>,
}

impl Topic {
    pub(super) fn new(stored: StoredTopic, partitions: Vec<StoredPartition>) -> Result<Self, BusError> {
        let wrong = |detail| BusError::Misconfigured { detail };
        let max = stored.settings.iter().find(|(name, _)| name == "max.message.bytes");
        let record_bytes_max = max
            .map(|(name, value)| value.parse().map_err(|_| wrong(format!("`{value}` is no value for {name}"))))
            .transpose()?;
        let retention = Retention::from_settings(&stored.settings).map_err(wrong)?;
        let is_compacted = is_compacted(&stored.settings).map_err(wrong)?;
        Ok(Self { stored, retention, record_bytes_max, is_compacted, partitions })
    }
}

impl Shared {
    pub(super) fn partition(&self, of: &TopicPartition) -> Option<(u32, StoredPartition)> {
        let topic = self.topics.get(&of.topic)?;
        let state = topic.partitions.get(usize::try_from(of.partition).ok()?)?;
        Some((topic.stored.id, *state))
    }

    pub(super) fn add_topic(&mut self, name: String, topic: Topic) {
        self.counts.insert(name.clone(), topic.stored.partitions);
        self.topics.insert(name, topic);
        self.groups.values_mut().for_each(|group| group.rebalance(&self.counts));
    }

    /// The group `name` and the partitions of every topic.
    pub(super) fn group(&mut self, name: &str) -> (&mut Group, &BTreeMap<String, i32>) {
        (self.groups.entry(name.to_owned()).or_default(), &self.counts)
    }
}

impl Core {
    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Gives up `shared` until something changes or `until` comes.
    pub(super) fn wait<'a>(&'a self, shared: MutexGuard<'a, Shared>, until: Instant) -> MutexGuard<'a, Shared> {
        let timeout = until.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(shared, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Milliseconds since the log was opened, for sessions; never backwards.
    pub(super) fn now_ms(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64
    }
}

/// The open log. Dropping the last handle stops the writer, closes the store and frees the folder.
pub(super) struct Log {
    pub core: Arc<Core>,
    writer: Option<(SyncSender<Request>, JoinHandle<()>)>,
}

impl Log {
    pub(super) fn open(folder: &Path) -> Result<Self, BusError> {
        marker::claim(folder)?;
        let lock = FolderLock::take(folder)?;
        let store = Store::open(folder)?;
        let mut shared = Shared { positions: store.load_positions()?, ..Shared::default() };
        for (name, (stored, partitions)) in store.load_topics()? {
            shared.add_topic(name, Topic::new(stored, partitions)?);
        }
        let core = Arc::new(Core {
            store,
            shared: Mutex::new(shared),
            changed: Condvar::new(),
            opened: Instant::now(),
            _lock: lock,
        });
        let (requests, queue) = sync_channel(REQUESTS_MAX);
        let thread = std::thread::Builder::new()
            .name("local-log-writer".to_owned())
            .spawn({
                let core = core.clone();
                move || writer::run(&core, &queue)
            })
            .map_err(|error| BusError::Failed {
                action: "starting the local log's writer",
                detail: error.to_string(),
                retryable: false,
            })?;
        Ok(Self { core, writer: Some((requests, thread)) })
    }

    /// Where requests to the writer go.
    pub(super) fn requests(&self) -> Option<&SyncSender<Request>> {
        self.writer.as_ref().map(|(requests, _)| requests)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some((requests, thread)) = self.writer.take() {
            drop(requests);
            if thread.join().is_err() {
                tracing::error!("the local log's writer panicked");
            }
        }
    }
}
