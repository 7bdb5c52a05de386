//! Reading back what open windows held, before a partition starts.
//!
//! A little at a time, so that the worker lives on in its group meanwhile. Deliberately not here: what the records say
//! (see `snapshot`). Limits: what is read is held in memory until all of it is there.

use super::{
    position::Checkpoint,
    snapshot::{Mark, Restored, SnapshotReader, SnapshotRecord},
};
use crate::sql::StreamFlow;
use amoskys_bus::{Bus, BusError, Change, Outgoing, Reader, ReaderOptions, TopicPartition};
use std::time::Duration;

const RECORDS_MAX: usize = 1024;

/// The compacted topic that a group keeps panes in.
#[derive(Debug, Clone)]
pub(crate) struct PanesTopic {
    name: String,
    partitions: i32,
    group: String,
}

impl PanesTopic {
    /// An error when the topic is not there.
    pub(super) fn find(bus: &dyn Bus, name: &str, group: &str) -> Result<Self, BusError> {
        let topics = bus.topics()?;
        let found = topics.into_iter().find(|topic| topic.name == name);
        let found = found.ok_or_else(|| BusError::UnknownTopic { topic: name.to_owned() })?;
        Ok(Self { name: found.name, partitions: found.partitions.max(1), group: group.to_owned() })
    }

    /// Where panes of a stream's partition are.
    fn place(&self, of: &TopicPartition) -> TopicPartition {
        TopicPartition { topic: self.name.clone(), partition: of.partition.rem_euclid(self.partitions) }
    }

    /// Before the keys of a partition's records.
    fn prefix(&self, of: &TopicPartition) -> String {
        format!("{}/{}/{}/", self.group, of.topic, of.partition)
    }

    pub(super) fn outgoing(&self, of: &TopicPartition, record: SnapshotRecord) -> Outgoing {
        let TopicPartition { topic, partition } = self.place(of);
        Outgoing {
            topic,
            partition: Some(partition),
            key: Some(format!("{}{}", self.prefix(of), record.key).into_bytes()),
            payload: record.payload,
            headers: record.headers,
        }
    }
}

/// A partition that is assigned and waits for its panes.
pub(super) struct Loading {
    pub flow: usize,
    pub checkpoint: Checkpoint,
    mark: Mark,
    place: TopicPartition,
    prefix: String,
    /// Once it reads.
    opened: Option<Opened>,
    snapshots: SnapshotReader,
}

struct Opened {
    reader: Box<dyn Reader>,
    next: i64,
    /// Offset after the last record to be read.
    end: i64,
}

impl Opened {
    fn new(bus: &dyn Bus, place: &TopicPartition) -> Result<Self, BusError> {
        let mut reader = bus.reader(&ReaderOptions::default())?;
        let (next, end) = reader.bounds(place)?;
        reader.assign(place, next)?;
        Ok(Self { reader, next, end })
    }
}

impl Loading {
    pub(super) fn new(
        topic: &PanesTopic,
        of: &TopicPartition,
        (flow, checkpoint): (usize, Checkpoint),
        mark: Mark,
    ) -> Self {
        let (place, prefix, snapshots) = (topic.place(of), topic.prefix(of), SnapshotReader::default());
        Self { flow, checkpoint, mark, place, prefix, opened: None, snapshots }
    }

    /// Reads for a moment; true once all is read. After an error it may be tried again.
    pub(super) fn go_on(&mut self, bus: &dyn Bus) -> Result<bool, BusError> {
        let Self { place, prefix, opened, snapshots, .. } = self;
        let Opened { reader, next, end } = match opened {
            Some(opened) => opened,
            None => opened.insert(Opened::new(bus, place)?),
        };
        if *next >= *end {
            return Ok(true);
        }
        let changes = reader.poll(Duration::from_millis(20), RECORDS_MAX, &mut |record| {
            *next = record.offset + 1;
            let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
            if let Some(key) = key.and_then(|key| key.strip_prefix(prefix.as_str())) {
                snapshots.push(key, &record.headers, record.payload);
            }
        })?;
        let is_end = |change: &Change| matches!(change, Change::End { partition, .. } if partition == place);
        Ok(*next >= *end || changes.iter().any(is_end))
    }

    /// The state at the checkpoint's mark, or why it is not there.
    pub(super) fn finish(self, flow: &StreamFlow) -> Result<Restored, String> {
        self.snapshots.finish(flow, self.mark)
    }
}
