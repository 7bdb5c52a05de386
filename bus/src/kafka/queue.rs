//! A queue of librdkafka's that the records of many partitions are forwarded to, emptied without a copy.
//!
//! The safe API of rdkafka hands over one message per call, which costs half of the reading's CPU time with small
//! records, and does not say which topic's end was reached. Of librdkafka's own ways to take many at once the callback
//! is used, not the array: with the array it counts the end of a partition as a record handed over, and after a
//! rebalance goes on one record too far. This is the only file with `unsafe`.

use super::context::ConsumerEvents;
use crate::{Record, TopicPartition};
use rdkafka::{
    bindings as native,
    consumer::{BaseConsumer, Consumer},
    types::{RDKafkaErrorCode as Code, RDKafkaRespErr as Response},
};
use std::{
    any::Any,
    ffi::{CStr, CString},
    os::raw::{c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
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
}

// SAFETY: librdkafka's queues and clients may be used from any thread.
#[allow(unsafe_code)]
unsafe impl Send for RecordQueue {}

/// One call of [`RecordQueue::take`], as its callback sees it.
struct Taking<'a> {
    client: *mut native::rd_kafka_t,
    with_headers: bool,
    on_item: &'a mut dyn FnMut(Item<'_>),
    left: usize,
    taken: usize,
    panic: Option<Box<dyn Any + Send>>,
}

impl RecordQueue {
    /// The queue must be dropped before `consumer`; `Fetcher` sees to that.
    #[allow(unsafe_code)]
    pub(super) fn of(consumer: &BaseConsumer<ConsumerEvents>, with_headers: bool) -> Self {
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives as long as `consumer`.
        let (queue, events) =
            unsafe { (native::rd_kafka_queue_new(client), native::rd_kafka_queue_get_consumer(client)) };
        Self { queue, events, client, with_headers }
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
    #[allow(unsafe_code)]
    pub(super) fn take(&mut self, timeout: Duration, count: usize, on_item: &mut dyn FnMut(Item<'_>)) -> usize {
        if count == 0 {
            return 0;
        }
        // Rounded up: the rest of a millisecond, waited for as none, would be waited for on the processor.
        let timeout_ms = timeout.as_micros().div_ceil(1000) as i32;
        let (client, with_headers) = (self.client, self.with_headers);
        let mut taking = Taking { client, with_headers, on_item, left: count, taken: 0, panic: None };
        // SAFETY: the callback runs within this call only, on this thread, and knows what it is given.
        unsafe {
            let opaque = ptr::from_mut(&mut taking).cast();
            native::rd_kafka_consume_callback_queue(self.queue, timeout_ms, Some(take_one), opaque);
        }
        if let Some(panic) = taking.panic {
            resume_unwind(panic);
        }
        taking.taken
    }
}

/// # Safety
/// `opaque` is the [`Taking`] of the call that this is the callback of, `message` lives until this returns.
#[allow(unsafe_code)]
unsafe extern "C" fn take_one(message: *mut native::rd_kafka_message_t, opaque: *mut c_void) {
    // SAFETY: as the caller promises; the client outlives the queue.
    unsafe {
        let taking = &mut *opaque.cast::<Taking<'_>>();
        // A panic must not pass through C.
        taking.panic = catch_unwind(AssertUnwindSafe(|| (taking.on_item)(item(&*message, taking.with_headers)))).err();
        taking.taken += 1;
        taking.left -= 1;
        if taking.left == 0 || taking.panic.is_some() {
            // The rest stays in the queue, in its order.
            native::rd_kafka_yield(taking.client);
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
/// `message` is one that librdkafka handed over and that has not been destroyed.
#[allow(unsafe_code)]
unsafe fn item(message: &native::rd_kafka_message_t, with_headers: bool) -> Item<'_> {
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
                headers: if with_headers { headers(message) } else { Vec::new() },
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
