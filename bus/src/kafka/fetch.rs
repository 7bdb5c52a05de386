//! Reading: records of all started partitions through one queue of our own, in batches.
//!
//! Records come through a [`RecordQueue`]; rebalances, errors and log lines still come through rdkafka's own poll.
//! Each record is handed over once: librdkafka stops reading during a rebalance and goes on at what it had noted as
//! handed over, and a record on its way just then would come again ([`Positions`]). Nor may it go on behind what was handed
//! over, as librdkafka does: it throws away what it had read ahead, but notes the marks of transactions among that as seen, and
//! with them all that stood before. So after each rebalance it is told where the reader is.
//! Limits: a poll that waits looks for rebalances every `EVENTS_EVERY`. A consumer that does not close within `CLOSE_WITHIN` is left
//! to itself (see `answer`).

use super::{
    answer::answer_within,
    context::{ConsumerEvents, lock},
    errors::{During, is_unauthorised, refuses_tls},
    queue::{Item, RecordQueue},
};
use crate::{BusError, Change, Record, TopicPartition};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};
use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

const EVENTS_EVERY: Duration = Duration::from_millis(20);
const SEEK_WITHIN: Duration = Duration::from_millis(500);
/// Rebalances, errors and log lines served before records are. A broker that is away while nobody polls leaves
/// hundreds of errors behind, and the rebalance that the whole group waits for is behind them.
const EVENTS_MAX: usize = 4096;
/// Closing serves the group's last rebalance, and librdkafka may wait for an answer to what that concludes when the group's
/// thread has ended already. A broker that is away takes less than this.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// A consumer and the queue that its partitions' records go to.
struct Source {
    // Before the consumer, because librdkafka wants its queues gone before the client.
    queue: RecordQueue,
    consumer: BaseConsumer<ConsumerEvents>,
}

/// A source that closes within a limit.
struct OpenSource(Option<Source>);

impl Deref for OpenSource {
    type Target = Source;

    fn deref(&self) -> &Source {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for OpenSource {
    fn deref_mut(&mut self) -> &mut Source {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl Drop for OpenSource {
    fn drop(&mut self) {
        let source = self.0.take();
        match answer_within(CLOSE_WITHIN, move || drop(source)) {
            Ok(Some(())) => {}
            Ok(None) => tracing::warn!(
                target: "amoskys_bus::kafka",
                "a consumer did not close within {CLOSE_WITHIN:?} and is left to itself; the broker counts it out when \
                 its session ends"
            ),
            // The closure, and what it owns, is dropped here then.
            Err(error) => tracing::debug!(target: "amoskys_bus::kafka", %error, "closed without a limit"),
        }
    }
}

pub(super) struct Fetcher {
    source: OpenSource,
    address: String,
    positions: Positions,
    /// Partitions that librdkafka has to be told the position of.
    to_seek: BTreeSet<TopicPartition>,
    /// An error that came together with records or changes; told by the next poll.
    late: Option<BusError>,
}

impl Fetcher {
    pub(super) fn new(consumer: BaseConsumer<ConsumerEvents>, address: String, with_headers: bool) -> Self {
        Self {
            source: OpenSource(Some(Source { queue: RecordQueue::of(&consumer, with_headers), consumer })),
            address,
            positions: Positions::default(),
            to_seek: BTreeSet::new(),
            late: None,
        }
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<ConsumerEvents> {
        &self.source.consumer
    }

    pub(super) fn events(&self) -> &ConsumerEvents {
        self.consumer().client().context()
    }

    /// Records of `partition` come through [`Fetcher::poll`] from its next assignment on.
    pub(super) fn forward(&self, partition: &TopicPartition) {
        self.source.queue.forward(&self.source.consumer, partition);
    }

    /// Records of `partition` below `offset` are not handed over.
    pub(super) fn begin_at(&mut self, partition: &TopicPartition, offset: i64) {
        self.positions.begin_at(partition, offset);
    }

    /// Hands over what is there, waiting until `deadline` for the first of it, but not longer than `EVENTS_EVERY`
    /// at a time. `true` when there was something.
    pub(super) fn poll(
        &mut self,
        deadline: Instant,
        records_max: usize,
        topics: &str,
        on_record: &mut dyn FnMut(&Record<'_>),
        changes: &mut Vec<Change>,
    ) -> Result<bool, BusError> {
        if let Some(error) = self.late.take() {
            return Err(error);
        }
        let served = self.serve_events(topics);
        self.seek_what_stays();
        served?;
        let (address, positions) = (&self.address, &mut self.positions);
        let mut error = None;
        let mut on_item = |item: Item<'_>| match item {
            Item::Record(record) if positions.admit(&record) => on_record(&record),
            Item::Record(_) => {}
            Item::End(partition, offset) => changes.push(Change::End { partition, offset }),
            Item::Error(partition, code) => {
                let during = During { action: "reading from Kafka", address, topic: &partition.topic };
                error = Some(during.code(code, &code.to_string()));
            }
        };
        let wait = deadline.saturating_duration_since(Instant::now()).min(EVENTS_EVERY);
        let taken = self.source.queue.take(wait, records_max, &mut on_item);
        if records_max == 0 {
            // Nothing may be taken, so there is nothing to wait for but events.
            std::thread::sleep(wait);
        }
        match error {
            Some(error) if taken <= 1 => Err(error),
            late => {
                self.late = late;
                Ok(taken > 0)
            }
        }
    }

    /// After a rebalance: reads on behind the last record that was handed over, whatever librdkafka has noted. One of which it
    /// has not begun to read is asked for again by the next poll.
    fn seek_what_stays(&mut self) {
        let is_resumed = self.events().resumed.swap(false, Ordering::Relaxed);
        if !is_resumed && self.to_seek.is_empty() {
            return;
        }
        let started = lock(&self.events().started).clone();
        if is_resumed {
            self.to_seek = started;
        } else {
            self.to_seek.retain(|partition| started.contains(partition));
        }
        if self.to_seek.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, next) in self.positions.next.iter().filter(|(partition, _)| self.to_seek.contains(partition)) {
            // An offset is a number that is not negative.
            let _ = list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*next));
        }
        match self.consumer().seek_partitions(list, SEEK_WITHIN) {
            Ok(done) => {
                let failed = done.elements().into_iter().filter(|element| element.error().is_err());
                self.to_seek = failed
                    .map(|element| TopicPartition { topic: element.topic().to_owned(), partition: element.partition() })
                    .collect();
            }
            Err(error) => tracing::debug!(target: "amoskys_bus::kafka", %error, "positions could not be told"),
        }
    }

    /// All rebalances, errors and log lines that wait; the first error that the caller has to know is returned.
    /// Rebalances are left in [`Fetcher::events`].
    fn serve_events(&mut self, topics: &str) -> Result<(), BusError> {
        let mut result = Ok(());
        for _ in 0..self.source.queue.events_waiting().clamp(1, EVENTS_MAX) {
            let error = match self.source.consumer.poll(Duration::ZERO) {
                None => continue,
                // Cannot be, as partitions are forwarded before they are assigned; if it ever is, be loud, not lossy.
                Some(Ok(_)) | Some(Err(KafkaError::PartitionEOF(_))) => return Err(strayed()),
                Some(Err(error)) => error,
            };
            let fatal = self.consumer().client().fatal_error();
            let died = fatal.is_some();
            let (code, reason) = fatal
                .or_else(|| self.events().last_error.take())
                .unwrap_or_else(|| (error.rdkafka_error_code().unwrap_or(Code::Fail), error.to_string()));
            if result.is_ok() && (died || refuses_tls(code, &reason) || worth_telling(code, topics)) {
                let topic = missing_topic(&reason).unwrap_or(topics);
                let during = During { action: "reading from Kafka", address: &self.address, topic };
                result = Err(during.code(code, &reason));
            }
        }
        result
    }
}

/// The next offset of each partition that is read.
#[derive(Default)]
struct Positions {
    next: Vec<(TopicPartition, i64)>,
    /// Where the last record's partition stands in `next`; the next record is mostly of the same.
    last: usize,
}

impl Positions {
    fn begin_at(&mut self, partition: &TopicPartition, offset: i64) {
        match self.next.iter_mut().find(|(known, _)| known == partition) {
            Some((_, next)) => *next = offset,
            None => self.next.push((partition.clone(), offset)),
        }
    }

    /// Whether the record has not been handed over yet; it has then.
    fn admit(&mut self, record: &Record<'_>) -> bool {
        let is_its =
            |(known, _): &(TopicPartition, i64)| known.partition == record.partition && known.topic == record.topic;
        if !self.next.get(self.last).is_some_and(is_its) {
            match self.next.iter().position(is_its) {
                Some(index) => self.last = index,
                // Nobody asked for it.
                None => return false,
            }
        }
        let (_, next) = &mut self.next[self.last];
        let is_new = record.offset >= *next;
        *next = (*next).max(record.offset + 1);
        is_new
    }
}

fn strayed() -> BusError {
    BusError::Failed {
        action: "reading from Kafka",
        detail: "a record came outside the queue it was forwarded to; start again to read it".to_owned(),
        retryable: false,
    }
}

/// Whether the caller has to know. A single broker's connection comes and goes; librdkafka sees to it.
fn worth_telling(code: Code, topics: &str) -> bool {
    let transient = matches!(
        code,
        Code::BrokerTransportFailure
            | Code::OperationTimedOut
            | Code::PollExceeded
            | Code::Resolve
            | Code::NotCoordinator
    );
    // A reader takes no part in a group, so it needs no right to one.
    let reader = topics.is_empty() && is_unauthorised(code) && code == Code::GroupAuthorizationFailed;
    !transient && !reader
}

/// The topic in `Subscribed topic not available: NAME: …`.
fn missing_topic(reason: &str) -> Option<&str> {
    reason.strip_prefix("Subscribed topic not available: ")?.split(": ").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_handed_over_once() {
        let at = |topic: &str, partition| TopicPartition { topic: topic.to_owned(), partition };
        let mut positions = Positions::default();
        positions.begin_at(&at("a", 0), 5);
        positions.begin_at(&at("a", 1), 0);
        let mut admit = |topic: &str, partition, offset| {
            let (log_time_ms, key, payload, headers) = (0, None, &b""[..], Vec::new());
            positions.admit(&Record { topic, partition, offset, log_time_ms, key, payload, headers })
        };
        let read = [(0, 4), (0, 5), (0, 6), (1, 0), (0, 6), (0, 9), (1, 0), (0, 7), (0, 10)];
        let admitted = read.map(|(partition, offset)| admit("a", partition, offset));
        assert_eq!(admitted, [false, true, true, true, false, true, false, false, true]);
        assert!(!admit("b", 0, 5), "nobody reads b");
        positions.begin_at(&at("a", 0), 2);
        let again = Record {
            topic: "a",
            partition: 0,
            offset: 2,
            log_time_ms: 0,
            key: None,
            payload: b"",
            headers: Vec::new(),
        };
        assert!(positions.admit(&again), "begun anew");
    }

    #[test]
    fn the_missing_topic_is_found_in_the_sentence() {
        let reason = "Subscribed topic not available: a.b-c: Broker: Unknown topic or partition";
        assert_eq!(missing_topic(reason), Some("a.b-c"));
        assert_eq!(missing_topic("something else"), None);
    }
}
