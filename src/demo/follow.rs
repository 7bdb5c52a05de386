//! Alerts and scored features as they can be read from the log, with the time of reading.

use crate::topics::{ALERTS, PROCESS_FEATURES};
use amoskys_bus::{Bus, Reader, ReaderOptions, Record, TopicPartition};
use amoskys_proto::v1::{Alert, FeatureRow};
use anyhow::Result;
use prost::Message;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What was read.
pub enum Seen {
    /// With the moment of reading, milliseconds since 1970.
    Alert(Box<Alert>, i64),
    Features(Box<FeatureRow>),
}

/// A thread that reads both topics from their end on. Dropping it ends the thread.
pub struct Followed {
    pub seen: Receiver<Seen>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const WAITING_MAX: usize = 4096;

impl Followed {
    pub fn start(bus: Arc<dyn Bus>) -> Result<Self> {
        let mut reader = bus.reader(&ReaderOptions::default())?;
        for topic in [ALERTS, PROCESS_FEATURES] {
            let partition = TopicPartition { topic: topic.to_owned(), partition: 0 };
            let (_, end) = reader.bounds(&partition)?;
            reader.assign(&partition, end)?;
        }
        let (sender, seen) = sync_channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread =
            thread::Builder::new().name("follow".into()).spawn(move || follow(reader.as_mut(), &sender, &flag))?;
        Ok(Self { seen, stop, thread: Some(thread) })
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing else to do about it here.
            let _ = thread.join();
        }
    }
}

fn follow(reader: &mut dyn Reader, sender: &SyncSender<Seen>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let polled = reader.poll(Duration::from_millis(20), 500, &mut |record| {
            if let Some(seen) = read(record) {
                // When full, a row is not shown: nobody looks at thousands a second.
                let _ = sender.try_send(seen);
            }
        });
        if let Err(error) = polled {
            tracing::error!(%error, "alerts cannot be read");
            return;
        }
    }
}

fn read(record: &Record<'_>) -> Option<Seen> {
    if record.topic == ALERTS {
        Some(Seen::Alert(Box::new(Alert::decode(record.payload).ok()?), now_ms()))
    } else {
        Some(Seen::Features(Box::new(FeatureRow::decode(record.payload).ok()?)))
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}
