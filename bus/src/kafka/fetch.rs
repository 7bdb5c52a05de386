//! Reading: records of all started partitions, in batches; by [`Direct`] where that may be, else by librdkafka, through one queue of
//! our own.
//!
//! What librdkafka reads comes through a [`RecordQueue`]; rebalances, errors and log lines still come through rdkafka's own poll.
//! Each record is handed over once: librdkafka stops reading during a rebalance and goes on at what it had noted as
//! handed over, and a record on its way just then would come again ([`Positions`]). Nor may it go on behind what was handed
//! over, as librdkafka does: it throws away what it had read ahead, but notes the marks of transactions among that as seen, and
//! with them all that stood before. So after each rebalance it is told where the reader is.
//! Limits: a poll that waits looks for rebalances every `EVENTS_EVERY`. A consumer that does not close within `CLOSE_WITHIN` is left
//! to itself (see `answer`).

use super::{
    answer::answer_within,
    context::{ConsumerEvents, Rebalance, lock},
    direct::{Direct, HandedBack},
    errors::{During, is_unauthorised, refuses_tls},
    queue::{Item, RecordQueue, known_end},
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
/// The same while some partitions are read by librdkafka and some are not, so that neither waits for the other.
const TURNS_EVERY: Duration = Duration::from_millis(5);
const SEEK_WITHIN: Duration = Duration::from_millis(500);
/// The same of a partition that the caller moves.
const MOVE_WITHIN: Duration = Duration::from_secs(5);
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
    /// `None` where librdkafka is to read everything.
    direct: Option<Direct>,
    source: OpenSource,
    /// What librdkafka has to read, and does not yet.
    handed_back: Vec<HandedBack>,
    is_directs_turn: bool,
    address: String,
    positions: Positions,
    /// Partitions that librdkafka has to be told the position of.
    to_seek: BTreeSet<TopicPartition>,
    /// An error that came together with records or changes; told by the next poll.
    late: Option<BusError>,
}

impl Fetcher {
    pub(super) fn new(
        consumer: BaseConsumer<ConsumerEvents>,
        address: String,
        with_headers: bool,
        direct: Option<Direct>,
    ) -> Self {
        Self {
            direct,
            source: OpenSource(Some(Source { queue: RecordQueue::of(&consumer, with_headers), consumer })),
            handed_back: Vec::new(),
            is_directs_turn: false,
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

    /// Starts reading at `offset`, or goes on there when the partition is being read already.
    pub(super) fn start(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        let is_librdkafkas = lock(&self.events().started).contains(partition);
        self.handed_back.retain(|back| back.partition != *partition);
        if !is_librdkafkas && self.direct.as_mut().is_some_and(|direct| direct.start(partition, offset)) {
            return Ok(());
        }
        self.start_by_librdkafka(partition, offset)
    }

    fn start_by_librdkafka(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))?;
        self.positions.begin_at(partition, offset);
        let started = &self.events().started;
        if lock(started).contains(partition) {
            // Not by unassigning and assigning again: stopping takes a while and would undo the forwarding.
            let sought = self.consumer().seek_partitions(list, MOVE_WITHIN)?;
            return sought.elements().iter().try_for_each(|element| element.error());
        }
        self.source.queue.forward(&self.source.consumer, partition);
        self.consumer().incremental_assign(&list)?;
        lock(started).insert(partition.clone());
        Ok(())
    }

    /// Stops reading `partitions` and tells the group that they are free.
    pub(super) fn give_up(&mut self, partitions: &[TopicPartition]) {
        self.stop_direct(partitions);
        self.events().give_up(self.consumer(), partitions);
    }

    /// Stops reading all there are and tells the group that they are free.
    pub(super) fn give_up_all(&mut self) {
        let all: Vec<TopicPartition> = lock(&self.events().started).iter().cloned().collect();
        self.direct = None;
        self.handed_back.clear();
        self.events().give_up(self.consumer(), &all);
    }

    fn stop_direct(&mut self, partitions: &[TopicPartition]) {
        self.handed_back.retain(|back| !partitions.contains(&back.partition));
        if let Some(direct) = &mut self.direct {
            direct.stop(partitions);
        }
    }

    /// Where the partition ends as the last answer told it; nothing is asked. `None` before the first.
    pub(super) fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        let directly = self.direct.as_ref().and_then(|direct| direct.known_end(partition));
        directly.or_else(|| known_end(self.consumer(), partition))
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
        self.stop_what_is_lost();
        self.seek_what_stays();
        served?;
        self.pass_on()?;
        let wait = deadline.saturating_duration_since(Instant::now()).min(EVENTS_EVERY);
        if records_max == 0 {
            // Nothing may be taken, so there is nothing to wait for but events.
            std::thread::sleep(wait);
            return Ok(false);
        }
        let has_started = !lock(&self.events().started).is_empty();
        let is_direct = self.direct.as_ref().is_some_and(Direct::is_reading);
        // Where both read, one after the other, so that neither takes all that may be taken.
        self.is_directs_turn = !self.is_directs_turn;
        let wait = if is_direct && has_started { wait.min(TURNS_EVERY) } else { wait };
        if is_direct && (self.is_directs_turn || !has_started) {
            return Ok(self.poll_direct(wait, records_max, on_record, changes));
        }
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
        let taken = self.source.queue.take(wait, records_max, &mut on_item);
        match error {
            Some(error) if taken <= 1 => Err(error),
            late => {
                self.late = late;
                Ok(taken > 0)
            }
        }
    }

    /// What is read without librdkafka. `true` when there was something.
    fn poll_direct(
        &mut self,
        wait: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(direct) = &mut self.direct else { return false };
        let mut on_item = |item: Item<'_>| match item {
            Item::Record(record) => on_record(&record),
            Item::End(partition, offset) => changes.push(Change::End { partition, offset }),
            Item::Error(..) => {}
        };
        let (taken, back) = direct.poll(&self.source.consumer, wait, records_max, &mut on_item);
        for HandedBack { partition: TopicPartition { topic, partition }, offset, why } in &back {
            tracing::info!(target: "amoskys_bus::kafka", "librdkafka reads {topic}/{partition} from {offset} on: {why}");
        }
        self.handed_back.extend(back);
        taken > 0
    }

    /// Has librdkafka read what was given back to it. What it does not take stays, and is offered again by the next poll.
    fn pass_on(&mut self) -> Result<(), BusError> {
        while let Some(HandedBack { partition, offset, .. }) = self.handed_back.last() {
            let (partition, offset) = (partition.clone(), *offset);
            let started = self.start_by_librdkafka(&partition, offset);
            let during = During { action: "reading from Kafka", address: &self.address, topic: &partition.topic };
            started.map_err(|error| during.error(&error))?;
            self.handed_back.pop();
        }
        Ok(())
    }

    /// What the group has taken away is not handed over any more; librdkafka sees to its own part by itself.
    fn stop_what_is_lost(&mut self) {
        let mut lost = Vec::new();
        for event in lock(&self.events().rebalances).iter() {
            if let Rebalance::Lost(partitions) = event {
                lost.extend_from_slice(partitions);
            }
        }
        if !lost.is_empty() {
            self.stop_direct(&lost);
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
