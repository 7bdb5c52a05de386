//! Reading: records of all started partitions through one queue of our own, in batches, without a copy.
//!
//! The safe API of rdkafka hands over one message per call and does not say which topic's end was reached, which costs
//! half of the reading's CPU time with small records. So the partitions' queues are forwarded to one queue, which is
//! emptied with librdkafka's batch call. This file is the only one with `unsafe`; rebalances, errors and logs still
//! come through rdkafka's own poll.
//! Limits: a poll that waits looks for rebalances every `EVENTS_EVERY`.

use super::{
    context::ConsumerEvents,
    errors::{During, is_unauthorised},
};
use crate::{BusError, Change, Record, TopicPartition};
use rdkafka::{
    bindings as native,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::{RDKafkaErrorCode as Code, RDKafkaRespErr as Response},
};
use std::{
    ffi::{CStr, CString},
    os::raw::c_char,
    ptr, slice,
    time::{Duration, Instant},
};

const EVENTS_EVERY: Duration = Duration::from_millis(20);
/// Rebalances, errors and log lines served before records are.
const EVENTS_MAX: usize = 4;
const BATCH_RECORDS_MAX: usize = 512;

/// A consumer and the queue that its partitions' records go to.
pub(super) struct Fetcher {
    // Before the consumer, because librdkafka wants its queues gone before the client.
    queue: RecordQueue,
    consumer: BaseConsumer<ConsumerEvents>,
    address: String,
    /// An error that came together with records or changes; told by the next poll.
    late: Option<BusError>,
}

/// One thing from the queue.
enum Item<'a> {
    Record(Record<'a>),
    End(TopicPartition, i64),
    Error(TopicPartition, Code),
}

impl Fetcher {
    pub(super) fn new(consumer: BaseConsumer<ConsumerEvents>, address: String) -> Self {
        Self { queue: RecordQueue::of(&consumer), consumer, address, late: None }
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<ConsumerEvents> {
        &self.consumer
    }

    pub(super) fn events(&self) -> &ConsumerEvents {
        self.consumer.client().context()
    }

    /// Records of `partition` come through [`Fetcher::poll`] from its next assignment on.
    pub(super) fn forward(&self, partition: &TopicPartition) {
        self.queue.forward(&self.consumer, partition);
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
        self.serve_events(topics)?;
        let address = &self.address;
        let mut error = None;
        let mut on_item = |item: Item<'_>| match item {
            Item::Record(record) => on_record(&record),
            Item::End(partition, offset) => changes.push(Change::End { partition, offset }),
            Item::Error(partition, code) => {
                let during = During { action: "reading from Kafka", address, topic: &partition.topic };
                error = Some(during.code(code, &code.to_string()));
            }
        };
        let mut taken = self.queue.take_all(records_max, &mut on_item);
        if taken == 0 && records_max > 0 {
            let wait = deadline.saturating_duration_since(Instant::now()).min(EVENTS_EVERY);
            taken = self.queue.take(wait, 1, &mut on_item);
            taken += self.queue.take_all(records_max - taken, &mut on_item);
        }
        match error {
            Some(error) if taken <= 1 => Err(error),
            late => {
                self.late = late;
                Ok(taken > 0)
            }
        }
    }

    /// Rebalances, errors and log lines. Rebalances are left in [`Fetcher::events`].
    fn serve_events(&mut self, topics: &str) -> Result<(), BusError> {
        for _ in 0..EVENTS_MAX {
            let error = match self.consumer.poll(Duration::ZERO) {
                None => continue,
                Some(Ok(_)) | Some(Err(KafkaError::PartitionEOF(_))) => unreachable_by_forwarding(),
                Some(Err(error)) => error,
            };
            let (code, reason) = self
                .events()
                .last_error
                .take()
                .unwrap_or_else(|| (error.rdkafka_error_code().unwrap_or(Code::Fail), error.to_string()));
            let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
            if fatal || worth_telling(code, topics) {
                let topic = missing_topic(&reason).unwrap_or(topics);
                return Err(During { action: "reading from Kafka", address: &self.address, topic }.code(code, &reason));
            }
        }
        Ok(())
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

/// A queue of librdkafka's, and the array that its batches come in.
struct RecordQueue {
    queue: *mut native::rd_kafka_queue_t,
    batch: Vec<*mut native::rd_kafka_message_t>,
}

// SAFETY: librdkafka's queues may be used from any thread; `batch` holds no messages between calls.
#[allow(unsafe_code)]
unsafe impl Send for RecordQueue {}

impl RecordQueue {
    /// The queue must be dropped before `consumer`; [`Fetcher`] sees to that.
    #[allow(unsafe_code)]
    fn of(consumer: &BaseConsumer<ConsumerEvents>) -> Self {
        // SAFETY: the client lives as long as `consumer`.
        let queue = unsafe { native::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { queue, batch: vec![ptr::null_mut(); BATCH_RECORDS_MAX] }
    }

    #[allow(unsafe_code)]
    fn forward(&self, consumer: &BaseConsumer<ConsumerEvents>, partition: &TopicPartition) {
        // A name with a NUL is no topic's; the assignment that follows fails and says so.
        let Ok(topic) = CString::new(partition.topic.as_str()) else { return };
        // SAFETY: client and queue are alive; the reference that `get_partition` gives is given back.
        unsafe {
            let client = consumer.client().native_ptr();
            let from = native::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition.partition);
            if !from.is_null() {
                native::rd_kafka_queue_forward(from, self.queue);
                native::rd_kafka_queue_destroy(from);
            }
        }
    }

    /// Everything that is there already, at most `records_max`.
    fn take_all(&mut self, records_max: usize, on_item: &mut dyn FnMut(Item<'_>)) -> usize {
        let mut taken = 0;
        while taken < records_max {
            let wanted = (records_max - taken).min(BATCH_RECORDS_MAX);
            let got = self.take(Duration::ZERO, wanted, on_item);
            taken += got;
            if got < wanted {
                break;
            }
        }
        taken
    }

    /// At most `count` (not above `BATCH_RECORDS_MAX`) items; waits up to `timeout` until it has as many.
    #[allow(unsafe_code)]
    fn take(&mut self, timeout: Duration, count: usize, on_item: &mut dyn FnMut(Item<'_>)) -> usize {
        let count = count.min(self.batch.len());
        let timeout_ms = timeout.as_millis() as i32;
        // SAFETY: the array has room for `count` pointers.
        let got =
            unsafe { native::rd_kafka_consume_batch_queue(self.queue, timeout_ms, self.batch.as_mut_ptr(), count) };
        let messages = Messages(self.batch.get(..got.max(0) as usize).unwrap_or_default());
        for message in messages.0 {
            // SAFETY: librdkafka gave us this message; it stays until `messages` is dropped.
            on_item(unsafe { item(&**message) });
        }
        messages.0.len()
    }
}

impl Drop for RecordQueue {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_queue_new`, destroyed once.
        unsafe { native::rd_kafka_queue_destroy(self.queue) }
    }
}

/// Messages that are given back when this goes, also when the callback panics.
struct Messages<'a>(&'a [*mut native::rd_kafka_message_t]);

impl Drop for Messages<'_> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: each came from the last batch call and is given back once.
            unsafe { native::rd_kafka_message_destroy(*message) }
        }
    }
}

/// # Safety
/// `message` is one that librdkafka handed over and that has not been destroyed.
#[allow(unsafe_code)]
unsafe fn item(message: &native::rd_kafka_message_t) -> Item<'_> {
    // SAFETY: as the caller promises; a topic's name lives as long as the message that refers to it.
    unsafe {
        let topic = if message.rkt.is_null() { "" } else { text(native::rd_kafka_topic_name(message.rkt)) };
        let partition = message.partition;
        let here = || TopicPartition { topic: topic.to_owned(), partition };
        match message.err {
            Response::RD_KAFKA_RESP_ERR_NO_ERROR => Item::Record(Record {
                topic,
                partition,
                offset: message.offset,
                log_time_ms: native::rd_kafka_message_timestamp(message, ptr::null_mut()),
                key: (!message.key.is_null()).then(|| bytes(message.key.cast(), message.key_len)),
                payload: bytes(message.payload.cast(), message.len),
                headers: headers(message),
            }),
            Response::RD_KAFKA_RESP_ERR__PARTITION_EOF => Item::End(here(), message.offset),
            error => Item::Error(here(), error.into()),
        }
    }
}

/// # Safety
/// As [`item`].
#[allow(unsafe_code)]
unsafe fn headers(message: &native::rd_kafka_message_t) -> Vec<(&str, &[u8])> {
    let mut found = Vec::new();
    // SAFETY: as the caller promises; the headers belong to the message.
    unsafe {
        let mut list = ptr::null_mut();
        if native::rd_kafka_message_headers(message, &mut list) != Response::RD_KAFKA_RESP_ERR_NO_ERROR {
            return found;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        while native::rd_kafka_header_get_all(list, found.len(), &mut name, &mut value, &mut size)
            == Response::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            found.push((text(name), bytes(value.cast(), size)));
        }
    }
    found
}

/// # Safety
/// `start` is null, or points to `length` bytes that live for `'a`.
#[allow(unsafe_code)]
unsafe fn bytes<'a>(start: *const u8, length: usize) -> &'a [u8] {
    // SAFETY: as the caller promises.
    if start.is_null() { &[] } else { unsafe { slice::from_raw_parts(start, length) } }
}

/// # Safety
/// `text` is null, or ends with a NUL and lives for `'a`.
#[allow(unsafe_code)]
unsafe fn text<'a>(text: *const c_char) -> &'a str {
    // SAFETY: as the caller promises.
    if text.is_null() { "" } else { unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_topic_is_found_in_the_sentence() {
        let reason = "Subscribed topic not available: a.b-c: Broker: Unknown topic or partition";
        assert_eq!(missing_topic(reason), Some("a.b-c"));
        assert_eq!(missing_topic("something else"), None);
    }
}
