//! What librdkafka calls back with, kept until the handle that polls picks it up. Decides nothing but how to conclude
//! a rebalance, which has to happen inside the callback.
//!
//! All callbacks run on the thread that polls, so the locks are never waited for.

use super::{errors::During, last_error::LastError};
use crate::{BusError, DeliveryReport, TopicPartition};
use rdkafka::{
    ClientConfig, ClientContext, Message, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata},
    error::KafkaError,
    message::DeliveryResult,
    producer::ProducerContext,
    types::{RDKafkaErrorCode as Code, RDKafkaRespErr},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "amoskys_bus::kafka", facility, "{line}");
        }
        // A broker that is away, busy or not to be trusted is told by the calls that need it; here it would fill the log.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning
            if matches!(facility, "FAIL" | "ERROR" | "SSL" | "GETPID") =>
        {
            tracing::debug!(target: "amoskys_bus::kafka", facility, "{line}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "amoskys_bus::kafka", facility, "{line}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "amoskys_bus::kafka", facility, "{line}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "amoskys_bus::kafka", facility, "{line}"),
    }
}

/// Callbacks of a client that is only asked questions.
#[derive(Default)]
pub(super) struct ProbeContext {
    pub last_error: LastError,
}

impl ProbeContext {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self { last_error: LastError::new(config) }
    }
}

impl ClientContext for ProbeContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.note(&error, reason);
    }
}

impl ConsumerContext for ProbeContext {}

/// Callbacks of a producer.
pub(super) struct ProducerEvents {
    pub address: String,
    pub last_error: LastError,
    pub reports: Mutex<Vec<DeliveryReport>>,
}

impl ProducerEvents {
    pub(super) fn new(address: String, config: &ClientConfig) -> Self {
        Self { address, last_error: LastError::new(config), reports: Mutex::new(Vec::new()) }
    }

    fn failure(&self, error: &KafkaError, message: &impl Message) -> BusError {
        let during = During { action: "writing to Kafka", address: &self.address, topic: message.topic() };
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge) => {
                let bytes = message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len);
                // The handle asks for the topic's limit and puts it here.
                BusError::RecordTooLarge { topic: message.topic().to_owned(), bytes, bytes_max: 0 }
            }
            Some(Code::MessageTimedOut) => match self.last_error.get() {
                Some((code, reason)) => during.code(code, &reason),
                None => during.error(error),
            },
            _ => during.error(error),
        }
    }
}

impl ClientContext for ProducerEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.note(&error, reason);
    }
}

impl ProducerContext for ProducerEvents {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivered: &DeliveryResult<'_>, token: usize) {
        let result = match delivered {
            Ok(message) => {
                let _ = self.last_error.take();
                Ok((message.partition(), message.offset()))
            }
            Err((error, message)) => Err(self.failure(error, message)),
        };
        lock(&self.reports).push(DeliveryReport { token: token as u64, result });
    }
}

/// A rebalance as the member has to hear of it.
pub(super) enum Rebalance {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
}

/// Callbacks of a consumer.
#[derive(Default)]
pub(super) struct ConsumerEvents {
    pub last_error: LastError,
    pub rebalances: Mutex<Vec<Rebalance>>,
    /// Partitions being read. The others of the assignment are the member's, but librdkafka does not know them.
    pub started: Mutex<BTreeSet<TopicPartition>>,
    /// The group's generation as of the last rebalance, which a commit has to name.
    pub group: Mutex<Option<Arc<ConsumerGroupMetadata>>>,
    /// Going away: give up at once what is asked back.
    pub closing: AtomicBool,
    /// A rebalance was concluded, and librdkafka reads on what stays where it takes the reader to be.
    pub resumed: AtomicBool,
}

impl ClientContext for ConsumerEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.note(&error, reason);
    }
}

impl ConsumerContext for ConsumerEvents {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = partitions_of(list);
        tracing::debug!(target: "amoskys_bus::kafka", ?err, ?partitions, "the group asks for a rebalance");
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Accepted, but nothing is read until the member is told where to start.
            self.conclude(consumer.incremental_assign(&TopicPartitionList::new()), "accepting");
            // librdkafka waits without a limit for its group's answer. That of a consumer that is closing may end with what
            // was just concluded, and then never answers; nor is anything committed any more.
            if !self.closing.load(Ordering::Relaxed) {
                *lock(&self.group) = consumer.group_metadata().map(Arc::new);
            }
            lock(&self.rebalances).push(Rebalance::Assigned(partitions));
        } else if consumer.assignment_lost() || self.closing.load(Ordering::Relaxed) {
            self.give_up(consumer, &partitions);
            lock(&self.rebalances).push(Rebalance::Lost(partitions));
        } else {
            // Concluded by the member's next poll, so that it can commit once more before.
            *lock(&self.group) = consumer.group_metadata().map(Arc::new);
            lock(&self.rebalances).push(Rebalance::Revoked(partitions));
        }
    }
}

impl ConsumerEvents {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self { last_error: LastError::new(config), ..Self::default() }
    }

    /// Stops reading `partitions` and tells the group that they are free.
    pub(super) fn give_up(&self, consumer: &BaseConsumer<Self>, partitions: &[TopicPartition]) {
        let mut started = lock(&self.started);
        let reading = partitions.iter().filter(|partition| started.contains(partition));
        let result = consumer.incremental_unassign(&list_of(reading));
        partitions.iter().for_each(|partition| {
            started.remove(partition);
        });
        self.conclude(result, "giving up");
    }

    fn conclude(&self, result: Result<(), KafkaError>, what: &str) {
        self.resumed.store(true, Ordering::Relaxed);
        if let Err(error) = result {
            tracing::warn!(target: "amoskys_bus::kafka", %error, "{what} partitions in a rebalance failed");
        }
    }
}

pub(super) fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    elements.iter().map(|e| TopicPartition { topic: e.topic().to_owned(), partition: e.partition() }).collect()
}

pub(super) fn list_of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}
