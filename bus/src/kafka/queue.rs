//! A queue of librdkafka's that the records of many partitions are forwarded to.
//!
//! The safe API of rdkafka hands over one message per call, which costs half of the reading's CPU time with small
//! records, and does not say which topic's end was reached. Of librdkafka's own ways to take many at once the callback
//! is used, not the array: with the array it counts the end of a partition as a record handed over, and after a
//! rebalance goes on one record too far.
//!
//! While the callback runs, librdkafka holds the whole queue aside and thinks it empty, so it fetches and fetches, whatever
//! bound it was given. So the callback only copies, some hundred kilobytes at a time, and whoever wants the records is
//! called when the rest is back in the queue. A copy costs less than it brings: it is read while it is in the cache.
//! This is the only file with `unsafe`.

use super::context::ConsumerEvents;
use crate::{Record, TopicPartition};
use rdkafka::{
    bindings as native,
    consumer::{BaseConsumer, Consumer},
    types::{RDKafkaErrorCode as Code, RDKafkaRespErr as Response},
};
use std::{
    ffi::{CStr, CString},
    ops::Range,
    os::raw::{c_char, c_void},
    ptr, slice,
    time::Duration,
};

/// One thing from the queue.
pub(super) enum Item<'a> {
    Record(Record<'a>),
    End(TopicPartition, i64),
    Error(TopicPartition, Code),
}

/// A queue of librdkafka's.
pub(super) struct RecordQueue {
    queue: *mut native::rd_kafka_queue_t,
    /// The client's own, with rebalances, errors and log lines.
    events: *mut native::rd_kafka_queue_t,
    client: *mut native::rd_kafka_t,
    /// Whether to look for records' headers: librdkafka allocates a list for each record that is asked, and keeps it with
    /// the record, though it has none.
    with_headers: bool,
    copied: Copied,
}

// SAFETY: librdkafka's queues and clients may be used from any thread.
#[allow(unsafe_code)]
unsafe impl Send for RecordQueue {}

/// What is copied before it is handed over; one record more than that at most. It stays in the second cache.
const COPIED_BYTES: usize = 256 << 10;
/// Room for copies that is kept, whatever one record needed.
const COPIED_BYTES_KEPT: usize = 4 * COPIED_BYTES;

/// What one call of librdkafka's gave, copied. Ranges are in `bytes`.
#[derive(Default)]
struct Copied {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    /// Names that messages refer to by their place.
    topics: Vec<String>,
}

struct Message {
    topic: usize,
    partition: i32,
    offset: i64,
    log_time_ms: i64,
    error: Response,
    key: Option<Range<usize>>,
    payload: Range<usize>,
    /// In [`Copied::headers`].
    headers: Range<usize>,
}

/// One call of librdkafka's, as its callback sees it.
struct Taking<'a> {
    client: *mut native::rd_kafka_t,
    with_headers: bool,
    copied: &'a mut Copied,
    count_max: usize,
    is_full: bool,
}

impl RecordQueue {
    /// The queue must be dropped before `consumer`; `Fetcher` sees to that.
    #[allow(unsafe_code)]
    pub(super) fn of(consumer: &BaseConsumer<ConsumerEvents>, with_headers: bool) -> Self {
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives as long as `consumer`.
        let (queue, events) =
            unsafe { (native::rd_kafka_queue_new(client), native::rd_kafka_queue_get_consumer(client)) };
        Self { queue, events, client, with_headers, copied: Copied::default() }
    }

    /// How many rebalances, errors and log lines wait to be polled.
    #[allow(unsafe_code)]
    pub(super) fn events_waiting(&self) -> usize {
        if self.events.is_null() {
            return 0;
        }
        // SAFETY: the queue is this one's until it is dropped.
        unsafe { native::rd_kafka_queue_length(self.events) }
    }

    #[allow(unsafe_code)]
    pub(super) fn forward(&self, consumer: &BaseConsumer<ConsumerEvents>, partition: &TopicPartition) {
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

    /// At most `count` items, of those that are there or, waiting up to `timeout`, of the first that come. How many.
    pub(super) fn take(&mut self, timeout: Duration, count: usize, on_item: &mut dyn FnMut(Item<'_>)) -> usize {
        let (mut taken, mut timeout) = (0, timeout);
        while taken < count {
            let is_full = self.copy(timeout, count - taken);
            self.copied.messages.iter().for_each(|message| on_item(self.copied.item(message)));
            taken += self.copied.messages.len();
            if !is_full {
                break;
            }
            timeout = Duration::ZERO;
        }
        taken
    }

    /// Copies some of what there is. Whether it stopped because it was enough.
    #[allow(unsafe_code)]
    fn copy(&mut self, timeout: Duration, count_max: usize) -> bool {
        self.copied.clear();
        // Rounded up: the rest of a millisecond, waited for as none, would be waited for on the processor.
        let timeout_ms = timeout.as_micros().div_ceil(1000) as i32;
        let (client, with_headers, copied) = (self.client, self.with_headers, &mut self.copied);
        let mut taking = Taking { client, with_headers, copied, count_max, is_full: false };
        // SAFETY: the callback runs within this call only, on this thread, and knows what it is given.
        unsafe {
            let opaque = ptr::from_mut(&mut taking).cast();
            native::rd_kafka_consume_callback_queue(self.queue, timeout_ms, Some(copy_one), opaque);
        }
        taking.is_full
    }
}

/// # Safety
/// `opaque` is the [`Taking`] of the call that this is the callback of, `message` lives until this returns.
#[allow(unsafe_code)]
unsafe extern "C" fn copy_one(message: *mut native::rd_kafka_message_t, opaque: *mut c_void) {
    // SAFETY: as the caller promises; the client outlives the queue.
    unsafe {
        let taking = &mut *opaque.cast::<Taking<'_>>();
        taking.copied.add(&*message, taking.with_headers);
        if taking.copied.messages.len() >= taking.count_max || taking.copied.bytes.len() >= COPIED_BYTES {
            taking.is_full = true;
            // The rest stays in the queue, in its order.
            native::rd_kafka_yield(taking.client);
        }
    }
}

impl Copied {
    fn clear(&mut self) {
        self.messages.clear();
        self.headers.clear();
        self.topics.clear();
        self.bytes.clear();
        self.bytes.shrink_to(COPIED_BYTES_KEPT);
    }

    /// # Safety
    /// `message` is one that librdkafka handed over and that has not been destroyed.
    #[allow(unsafe_code)]
    unsafe fn add(&mut self, message: &native::rd_kafka_message_t, with_headers: bool) {
        // SAFETY: as the caller promises; a topic's name lives as long as the message that refers to it.
        unsafe {
            let name = if message.rkt.is_null() { "" } else { text(native::rd_kafka_topic_name(message.rkt)) };
            let topic = self.topic(name);
            let is_record = message.err == Response::RD_KAFKA_RESP_ERR_NO_ERROR;
            let first_header = self.headers.len();
            if is_record && with_headers {
                self.add_headers(message);
            }
            let key = (is_record && !message.key.is_null())
                .then(|| self.put(bytes(message.key.cast::<u8>(), message.key_len)));
            // That of an error is its text.
            let payload = if is_record { self.put(bytes(message.payload.cast(), message.len)) } else { 0..0 };
            self.messages.push(Message {
                topic,
                partition: message.partition,
                offset: message.offset,
                log_time_ms: native::rd_kafka_message_timestamp(message, ptr::null_mut()),
                error: message.err,
                key,
                payload,
                headers: first_header..self.headers.len(),
            });
        }
    }

    /// # Safety
    /// As [`Copied::add`].
    #[allow(unsafe_code)]
    unsafe fn add_headers(&mut self, message: &native::rd_kafka_message_t) {
        // SAFETY: as the caller promises; the headers belong to the message.
        unsafe {
            let mut list = ptr::null_mut();
            if native::rd_kafka_message_headers(message, &mut list) != Response::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            let (mut index, mut name, mut value, mut size) = (0, ptr::null(), ptr::null(), 0);
            while native::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size)
                == Response::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                let header = (self.put(text(name).as_bytes()), self.put(bytes(value.cast(), size)));
                self.headers.push(header);
                index += 1;
            }
        }
    }

    /// The place of a topic's name; messages that follow each other are mostly of one.
    fn topic(&mut self, name: &str) -> usize {
        self.topics.iter().rposition(|known| known == name).unwrap_or_else(|| {
            self.topics.push(name.to_owned());
            self.topics.len() - 1
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        from..self.bytes.len()
    }

    fn item(&self, message: &Message) -> Item<'_> {
        let (topic, partition) = (self.topics[message.topic].as_str(), message.partition);
        let here = || TopicPartition { topic: topic.to_owned(), partition };
        let read = |range: &Range<usize>| &self.bytes[range.clone()];
        // What was text before it was copied.
        let header = |(name, value): &(Range<usize>, Range<usize>)| {
            (std::str::from_utf8(read(name)).unwrap_or_default(), read(value))
        };
        match message.error {
            Response::RD_KAFKA_RESP_ERR_NO_ERROR => Item::Record(Record {
                topic,
                partition,
                offset: message.offset,
                log_time_ms: message.log_time_ms,
                key: message.key.as_ref().map(read),
                payload: read(&message.payload),
                headers: self.headers[message.headers.clone()].iter().map(header).collect(),
            }),
            Response::RD_KAFKA_RESP_ERR__PARTITION_EOF => Item::End(here(), message.offset),
            error => Item::Error(here(), error.into()),
        }
    }
}

/// The partition's end as the last fetch told it; nothing is asked. `None` before the first fetch.
#[allow(unsafe_code)]
pub(super) fn known_end(consumer: &BaseConsumer<ConsumerEvents>, partition: &TopicPartition) -> Option<i64> {
    let topic = CString::new(partition.topic.as_str()).ok()?;
    let (mut first, mut end) = (-1, -1);
    // SAFETY: client and name are alive, both results are written to locals.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        native::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition.partition, &mut first, &mut end)
    };
    (code == Response::RD_KAFKA_RESP_ERR_NO_ERROR && end >= 0).then_some(end)
}

impl Drop for RecordQueue {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: both are references of this one's own, given back once.
        unsafe {
            native::rd_kafka_queue_destroy(self.queue);
            if !self.events.is_null() {
                native::rd_kafka_queue_destroy(self.events);
            }
        }
    }
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
