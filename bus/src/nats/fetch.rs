//! Reading: a task for each started partition fetches ahead, the handle takes what they fetched.
//!
//! What is fetched and not yet taken is at most `prefetch_bytes_max`, all partitions together: each may have two
//! windows of its share, one being fetched and one waiting; a window is never below `WINDOW_BYTES_MIN`. Deliberately not here: where to start, groups.

use super::{
    Core,
    partition::{Fetched, Item, Partition},
    wire::Delivered,
};
use crate::{BusError, Change, Record, TopicPartition};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::timeout_at,
};

const WINDOW_BYTES_MIN: usize = 64 << 10;
/// Chunks of all partitions that wait to be taken.
const CHUNKS_MAX: usize = 256;

/// How much may be fetched ahead, for all partitions of a handle.
pub(super) struct Prefetch {
    bytes_max: usize,
    partitions: AtomicUsize,
}

impl Prefetch {
    /// What one partition may ask for at once.
    pub(super) fn window_bytes_max(&self) -> usize {
        let shares = 2 * self.partitions.load(Ordering::Relaxed).max(1);
        (self.bytes_max / shares).max(WINDOW_BYTES_MIN)
    }
}

/// Bytes of one partition that were fetched and not yet taken.
#[derive(Default)]
pub(super) struct Waiting {
    bytes: AtomicUsize,
    taken: Notify,
}

impl Waiting {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.taken.notify_one();
    }

    /// Until at most `bytes_max` are left.
    pub(super) async fn at_most(&self, bytes_max: usize) {
        while self.bytes.load(Ordering::Relaxed) > bytes_max {
            self.taken.notified().await;
        }
    }
}

/// A partition being read.
struct Started {
    generation: u64,
    task: AbortHandle,
    waiting: Arc<Waiting>,
    /// What [`Fetcher::known_end`] says; negative while nothing is known.
    end: Arc<AtomicI64>,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is being handed over.
struct Current {
    of: TopicPartition,
    records: VecDeque<Delivered>,
    end: Option<i64>,
    waiting: Arc<Waiting>,
}

pub(super) struct Fetcher {
    core: Arc<Core>,
    prefetch: Arc<Prefetch>,
    sender: mpsc::Sender<Fetched>,
    queue: mpsc::Receiver<Fetched>,
    started: BTreeMap<TopicPartition, Started>,
    current: Option<Current>,
    next_generation: u64,
}

impl Fetcher {
    pub(super) fn new(core: Arc<Core>, prefetch_bytes_max: usize) -> Self {
        let (sender, queue) = mpsc::channel(CHUNKS_MAX);
        let prefetch = Arc::new(Prefetch { bytes_max: prefetch_bytes_max, partitions: AtomicUsize::new(0) });
        Self { core, prefetch, sender, queue, started: BTreeMap::new(), current: None, next_generation: 0 }
    }

    /// Starts or moves a partition.
    pub(super) fn start(&mut self, of: &TopicPartition, offset: i64) {
        self.stop(of);
        self.next_generation += 1;
        let (waiting, end) = (Arc::new(Waiting::default()), Arc::new(AtomicI64::new(-1)));
        let partition = Partition {
            core: self.core.shared(),
            of: of.clone(),
            generation: self.next_generation,
            next: offset.max(0),
            prefetch: self.prefetch.clone(),
            waiting: waiting.clone(),
            known_end: end.clone(),
            queue: self.sender.clone(),
        };
        let task = self.core.spawn(partition.run());
        self.started.insert(of.clone(), Started { generation: self.next_generation, task, waiting, end });
        self.prefetch.partitions.store(self.started.len(), Ordering::Relaxed);
    }

    pub(super) fn stop(&mut self, of: &TopicPartition) {
        self.started.remove(of);
        self.prefetch.partitions.store(self.started.len(), Ordering::Relaxed);
        if self.current.as_ref().is_some_and(|current| current.of == *of) {
            self.current = None;
        }
    }

    pub(super) fn known_end(&self, of: &TopicPartition) -> Option<i64> {
        let end = self.started.get(of)?.end.load(Ordering::Relaxed);
        (end >= 0).then_some(end)
    }

    /// Hands over at most `records_max` records of what is there, waiting until `deadline` for the first. `true` when
    /// there was something.
    pub(super) fn poll(
        &mut self,
        deadline: Instant,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
        changes: &mut Vec<Change>,
    ) -> Result<bool, BusError> {
        let before = changes.len();
        let mut room = records_max;
        loop {
            room -= self.hand_over(room, on_record, changes);
            if room == 0 && records_max > 0 {
                return Ok(true);
            }
            let some = room < records_max || changes.len() > before;
            let Some(fetched) = self.next(deadline, some) else { return Ok(some) };
            self.take(fetched)?;
        }
    }

    /// What was fetched next. Nothing is taken out of the queue while there is a current chunk, which it would replace; it is
    /// waited for unless there was `some`.
    fn next(&mut self, deadline: Instant, some: bool) -> Option<Fetched> {
        if self.current.is_some() {
            return None;
        }
        match self.queue.try_recv() {
            Ok(fetched) => Some(fetched),
            Err(_) if some => None,
            Err(_) => {
                let queue = &mut self.queue;
                self.core.run(async { timeout_at(deadline.into(), queue.recv()).await }).ok().flatten()
            }
        }
    }

    /// Makes what was fetched the current chunk, unless its partition was stopped or moved since.
    fn take(&mut self, fetched: Fetched) -> Result<(), BusError> {
        let started = self.started.get(&fetched.of).filter(|started| started.generation == fetched.generation);
        let Some(started) = started else { return Ok(()) };
        match fetched.item {
            Item::Records { records, end } => {
                self.current = Some(Current { of: fetched.of, records, end, waiting: started.waiting.clone() });
                Ok(())
            }
            Item::Failed(error) => Err(error),
        }
    }

    fn hand_over(&mut self, room: usize, on_record: &mut dyn FnMut(&Record<'_>), changes: &mut Vec<Change>) -> usize {
        let Some(current) = &mut self.current else { return 0 };
        let count = room.min(current.records.len());
        let mut bytes = 0;
        for delivered in current.records.drain(..count) {
            bytes += delivered.bytes();
            on_record(&delivered.record(&current.of.topic, current.of.partition));
        }
        current.waiting.take(bytes);
        if current.records.is_empty() {
            if let Some(offset) = current.end {
                changes.push(Change::End { partition: current.of.clone(), offset });
            }
            self.current = None;
        }
        count
    }
}
