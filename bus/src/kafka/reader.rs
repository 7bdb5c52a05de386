//! Reads named partitions, outside any group.

use super::{EVENTS_MAX, errors::During, fetch::Fetcher};
use crate::{BusError, Change, Fault, Reader, Record, TopicPartition};
use rdkafka::{consumer::Consumer, error::KafkaError, types::RDKafkaErrorCode as Code};
use std::time::{Duration, Instant};

/// How long a question to the broker may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long one of the tries at that may take.
const SLICE: Duration = Duration::from_secs(1);
/// How long to wait for the broker's objections to a partition.
const OBJECT_WITHIN: Duration = Duration::from_secs(1);
const BOUNDS: &str = "asking for the bounds of a partition";

pub(super) struct KafkaReader {
    fetcher: Fetcher,
    address: String,
}

impl KafkaReader {
    pub(super) fn new(fetcher: Fetcher, address: String) -> Self {
        Self { fetcher, address }
    }

    fn failed(&self, action: &'static str, topic: &str, error: &KafkaError) -> BusError {
        let during = During { action, address: &self.address, topic };
        match self.fetcher.events().last_error.take() {
            Some((code, reason)) => during.code(code, &reason),
            None => during.error(error),
        }
    }

    /// What the broker has against the topic: that it is not there, or not for us.
    fn objection(&self, topic: &str, action: &'static str, timeout: Duration) -> Option<BusError> {
        let metadata = self.fetcher.consumer().fetch_metadata(Some(topic), timeout).ok()?;
        let code = metadata.topics().first()?.error().map(Code::from)?;
        let during = During { action, address: &self.address, topic };
        // Without a leader for the moment, say: no reason to refuse.
        Some(during.code(code, &format!("topic `{topic}`: {code}"))).filter(|error| error.fault() == Fault::User)
    }
}

impl Reader for KafkaReader {
    fn assign(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        // Asked now, because librdkafka is silent about a partition that it may not read. No answer is no objection:
        // the broker may be away.
        if let Some(error) = self.objection(&partition.topic, "assigning", OBJECT_WITHIN) {
            return Err(error);
        }
        self.fetcher.start(partition, offset).map_err(|error| self.failed("assigning", &partition.topic, &error))
    }

    fn bounds(&mut self, partition: &TopicPartition) -> Result<(i64, i64), BusError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            // In slices, so that a refusal is told at once and not as a timeout.
            let asked = self.fetcher.consumer().fetch_watermarks(&partition.topic, partition.partition, SLICE);
            let error = match asked {
                Ok(bounds) => return Ok(bounds),
                Err(error) => error,
            };
            // What went wrong for the whole client comes through its queue.
            (0..EVENTS_MAX).for_each(|_| drop(self.fetcher.consumer().poll(Duration::ZERO)));
            let failed = self.failed(BOUNDS, &partition.topic, &error);
            // A broker that refuses the client has nothing to say of the topic.
            if !failed.retryable() && !matches!(failed, BusError::UnknownTopic { .. }) {
                return Err(failed);
            }
            if let Some(objection) = self.objection(&partition.topic, BOUNDS, SLICE) {
                return Err(objection);
            }
            if !failed.retryable() || Instant::now() >= deadline {
                return Err(failed);
            }
        }
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<Vec<Change>, BusError> {
        let deadline = Instant::now() + timeout;
        let mut changes = Vec::new();
        loop {
            let some = self.fetcher.poll(deadline, records_max, "", on_record, &mut changes)?;
            if some || Instant::now() >= deadline {
                return Ok(changes);
            }
        }
    }
}
