//! Alerts and scored features as they can be read from the log, with the time of reading.

use super::topics::DemoTopics;
use crate::clock::now_ms;
use amoskys_bus::{Bus, BusError, Reader, ReaderOptions, Record, TopicPartition};
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
    time::Duration,
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
    pub fn start(bus: &dyn Bus, topics: &DemoTopics) -> Result<Self> {
        let mut reader = bus.reader(&ReaderOptions::default())?;
        let alerts = topics.alerts();
        for topic in [&alerts, &topics.features()] {
            for partition in partitions(bus, topic)? {
                let (_, end) = reader.bounds(&partition)?;
                reader.assign(&partition, end)?;
            }
        }
        let (sender, seen) = sync_channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::Builder::new()
            .name("follow".into())
            .spawn(move || follow(reader.as_mut(), &alerts, &sender, &flag))?;
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

/// All of the topic's.
fn partitions(bus: &dyn Bus, topic: &str) -> Result<Vec<TopicPartition>> {
    let known = bus.topics()?.into_iter().find(|known| known.name == topic);
    let count = known.ok_or_else(|| BusError::UnknownTopic { topic: topic.to_owned() })?.partitions;
    Ok((0..count).map(|partition| TopicPartition { topic: topic.to_owned(), partition }).collect())
}

fn follow(reader: &mut dyn Reader, alerts: &str, sender: &SyncSender<Seen>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let polled = reader.poll(Duration::from_millis(20), 500, &mut |record| {
            if let Some(seen) = read(record, alerts) {
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

fn read(record: &Record<'_>, alerts: &str) -> Option<Seen> {
    if record.topic == alerts {
        Some(Seen::Alert(Box::new(Alert::decode(record.payload).ok()?), now_ms()))
    } else {
        Some(Seen::Features(Box::new(FeatureRow::decode(record.payload).ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amoskys_bus::{Address, Outgoing, ProducerOptions, TopicSpec};

    #[test]
    fn alerts_are_seen_on_every_partition() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::Local { path: folder.path().join("log") };
        let bus = crate::roles::open_bus(address, &crate::config::BusConfig::default(), "test").expect("a log");
        let topics = DemoTopics::choose(&[], [], "x");
        for name in [topics.alerts(), topics.features()] {
            let spec = TopicSpec { name, partitions: 3, replication: 1, settings: vec![] };
            bus.create_topic(&spec).expect("created");
        }
        let followed = Followed::start(bus.as_ref(), &topics).expect("follows");
        let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
        for partition in 0..3 {
            let payload = Alert { entity: partition.to_string(), ..Default::default() }.encode_to_vec();
            let (topic, partition) = (topics.alerts(), Some(partition));
            let record = Outgoing { topic, partition, key: None, payload, headers: vec![] };
            producer.send(record, 0).expect("queued");
        }
        let next = || match followed.seen.recv_timeout(Duration::from_secs(30)).expect("an alert") {
            Seen::Alert(alert, _) => alert.entity,
            Seen::Features(_) => panic!("no features were written"),
        };
        let mut entities = [next(), next(), next()];
        entities.sort();
        assert_eq!(entities, ["0", "1", "2"]);
    }
}
