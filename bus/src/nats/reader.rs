//! Reads named partitions, outside any group.

use super::{Core, fetch::Fetcher, stream::ANSWER_WITHIN, topics};
use crate::{BusError, Change, Fault, Reader, ReaderOptions, Record, TopicPartition};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long to wait for the server's objections to a partition.
const OBJECT_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct NatsReader {
    core: Arc<Core>,
    fetcher: Fetcher,
}

impl NatsReader {
    pub(super) fn new(core: Arc<Core>, options: &ReaderOptions) -> Self {
        Self { fetcher: Fetcher::new(core.clone(), options.prefetch_bytes_max), core }
    }
}

impl Reader for NatsReader {
    fn assign(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        let core = &self.core;
        // No answer is no objection: the server may be away, and the partition is read once it is back.
        match core.run(core.topics.get(&core.link, &partition.topic, OBJECT_WITHIN)) {
            Ok(topic) if !topic.has(partition.partition) => {
                return Err(BusError::UnknownTopic { topic: partition.topic.clone() });
            }
            Err(error) if error.fault() == Fault::User => return Err(error),
            _ => {}
        }
        self.fetcher.start(partition, offset);
        Ok(())
    }

    fn bounds(&mut self, partition: &TopicPartition) -> Result<(i64, i64), BusError> {
        let core = &self.core;
        core.run(async {
            let topic = core.topics.get(&core.link, &partition.topic, ANSWER_WITHIN).await?;
            core.link.ready(ANSWER_WITHIN).await?;
            topics::bounds(&core.link, &topic, partition).await
        })
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<Vec<Change>, BusError> {
        let mut changes = Vec::new();
        self.fetcher.poll(Instant::now() + timeout, records_max, on_record, &mut changes)?;
        Ok(changes)
    }
}
