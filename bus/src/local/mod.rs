//! The embedded log: durable, in one folder, for one process, with no broker.
//!
//! Same meaning as on Kafka: keyed partitions, delivery reports after the data is on the disk, groups, positions
//! committed together with outputs. The log time is always the time of the append and never runs backwards in a
//! partition. A second process is told who has the folder. A [`LocalBus`] is cheap to clone; its clones and all
//! handles share the one open log, which is closed when the last of them is dropped.
//! Deliberately not here: replication, access control, more than one process.

mod codec;
mod cursor;
mod group;
mod handles;
mod lock;
mod log;
mod marker;
mod member;
mod mend;
mod retention;
mod store;
mod writer;

use crate::{
    Address, Bus, BusError, BusOptions, Member, MemberOptions, Producer, ProducerOptions, Reader, ReaderOptions,
    TopicInfo, TopicSpec,
};
use log::{Log, Topic};
use std::sync::Arc;
use store::{StoredPartition, StoredTopic};

/// Partitions of one topic; more would only cost memory in one process.
const PARTITIONS_MAX: i32 = 1024;

/// The settings that the embedded log keeps and obeys.
const SETTINGS: [&str; 4] = ["retention.ms", "retention.bytes", "max.message.bytes", "cleanup.policy"];

/// What it always does, so that topics can be created alike on Kafka. Other settings and values are refused: nobody
/// would notice that nothing comes of them.
const FIXED: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

pub use marker::is_log;
pub use mend::{LastBatch, open_mended};

/// An open embedded log.
#[derive(Clone)]
pub struct LocalBus {
    address: Address,
    log: Arc<Log>,
}

impl LocalBus {
    /// Opens the log in the address's folder, or creates it where there is none or an empty one; a folder of anything
    /// else is refused and left as it is ([`is_log`] tells without opening). [`BusError::InUse`] names the process that has it, which
    /// may be this one: clone the `LocalBus` instead of opening it twice.
    pub fn open(options: &BusOptions) -> Result<Self, BusError> {
        let Address::Local { path } = &options.address else {
            return Err(BusError::Misconfigured { detail: format!("{} is no local log", options.address) });
        };
        Ok(Self { address: options.address.clone(), log: Arc::new(Log::open(path)?) })
    }
}

impl Bus for LocalBus {
    fn address(&self) -> &Address {
        &self.address
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        let shared = self.log.core.shared();
        let topics = shared.counts.iter();
        Ok(topics.map(|(name, partitions)| TopicInfo { name: name.clone(), partitions: *partitions }).collect())
    }

    fn create_topic(&self, topic: &TopicSpec) -> Result<bool, BusError> {
        topic.check(PARTITIONS_MAX)?;
        check_settings(&topic.settings)?;
        let mut shared = self.log.core.shared();
        if shared.topics.contains_key(&topic.name) {
            return Ok(false);
        }
        let id = shared.topics.values().map(|topic| topic.stored.id).max().map_or(0, |id| id + 1);
        let kept = topic.settings.iter().filter(|(name, _)| SETTINGS.contains(&name.as_str()));
        let stored = StoredTopic { id, partitions: topic.partitions, settings: kept.cloned().collect() };
        let open = Topic::new(stored.clone(), vec![StoredPartition::default(); topic.partitions as usize])?;
        let mut batch = self.log.core.store.batch();
        batch.topic(&topic.name, &stored)?;
        batch.commit()?;
        shared.add_topic(topic.name.clone(), open);
        drop(shared);
        self.log.core.notify();
        Ok(true)
    }

    fn producer(&self, options: &ProducerOptions) -> Result<Box<dyn Producer>, BusError> {
        Ok(Box::new(handles::LocalProducer::new(self.log.clone(), options)))
    }

    fn reader(&self, _: &ReaderOptions) -> Result<Box<dyn Reader>, BusError> {
        Ok(Box::new(handles::LocalReader::new(self.log.clone())))
    }

    fn member(&self, options: &MemberOptions) -> Result<Box<dyn Member>, BusError> {
        Ok(Box::new(member::LocalMember::join(self.log.clone(), options)))
    }
}

fn check_settings(settings: &[(String, String)]) -> Result<(), BusError> {
    let is_known = |name: &str, value: &str| SETTINGS.contains(&name) || (name, value) == FIXED;
    let Some((name, value)) = settings.iter().find(|(name, value)| !is_known(name, value)) else { return Ok(()) };
    let (all, (fixed, always)) = (SETTINGS.join(", "), FIXED);
    let detail =
        format!("the embedded log has no setting {name}={value}; it takes {all}, and {fixed} is always {always}");
    Err(BusError::Misconfigured { detail })
}
