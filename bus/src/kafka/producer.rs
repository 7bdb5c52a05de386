//! Idempotent producer with delivery reports; also the shared way of handing a record to librdkafka.

use super::{
    context::{ProducerEvents, lock},
    errors::During,
    limits::TopicLimits,
};
use crate::{BusError, DeliveryReport, Outgoing, Producer, SendError};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
    types::RDKafkaErrorCode as Code,
};
use std::time::{Duration, Instant};

const PAUSE_MIN: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// Waiting between two looks for reports, longer each time. Not inside rdkafka's poll: it goes on until its time is
/// over even when reports have come, and the rest of a millisecond it spins, which is half a core while a broker is
/// away and all of one while a commit waits. It serves one event a call.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(PAUSE_MIN)
    }

    /// Sleeps, but not longer than `most`.
    pub(super) fn wait(&mut self, most: Duration) {
        std::thread::sleep(self.0.min(most));
        self.0 = (self.0 + self.0 / 4).min(PAUSE_MAX);
    }
}

pub(super) struct KafkaProducer {
    producer: BaseProducer<ProducerEvents>,
    limits: TopicLimits,
    record_bytes_max: usize,
    in_flight: usize,
}

impl KafkaProducer {
    pub(super) fn new(producer: BaseProducer<ProducerEvents>, limits: TopicLimits, record_bytes_max: usize) -> Self {
        Self { producer, limits, record_bytes_max, in_flight: 0 }
    }

    fn take_reports(&mut self, reports: &mut Vec<DeliveryReport>) -> bool {
        let mut come = lock(&self.producer.context().reports);
        for report in come.iter_mut() {
            self.limits.complete(&mut report.result);
        }
        self.in_flight -= come.len();
        let some = !come.is_empty();
        reports.append(&mut come);
        some
    }
}

impl Producer for KafkaProducer {
    fn send(&mut self, record: Outgoing, token: u64) -> Result<(), SendError> {
        let sent = enqueue(&self.producer, &record, token as usize, self.record_bytes_max);
        match sent {
            Ok(true) => {
                self.in_flight += 1;
                Ok(())
            }
            Ok(false) => Err(SendError::QueueFull(record)),
            Err(error) => Err(SendError::Failed(error)),
        }
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<DeliveryReport>) {
        let deadline = Instant::now() + timeout;
        let mut pause = Pause::new();
        self.producer.poll(Duration::ZERO);
        while !self.take_reports(reports) && self.in_flight > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            pause.wait(left);
            self.producer.poll(Duration::ZERO);
        }
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn trouble(&self) -> Option<BusError> {
        let context = self.producer.context();
        let (code, reason) = context.last_error.get()?;
        let error = During { action: "writing to Kafka", address: &context.address, topic: "" }.code(code, &reason);
        Some(error).filter(|error| matches!(error, BusError::Tls { .. } | BusError::Unauthorised { .. }))
    }
}

/// Hands `record` to librdkafka; `false` when its queue is full.
pub(super) fn enqueue(
    producer: &BaseProducer<ProducerEvents>,
    record: &Outgoing,
    token: usize,
    record_bytes_max: usize,
) -> Result<bool, BusError> {
    let bytes = record.bytes();
    if bytes > record_bytes_max {
        let topic = record.topic.clone();
        return Err(BusError::RecordTooLarge { topic, bytes, bytes_max: record_bytes_max });
    }
    let mut message = BaseRecord::with_opaque_to(&record.topic, token).payload(&record.payload);
    message.key = record.key.as_ref();
    message.partition = record.partition;
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        let add = |headers: OwnedHeaders, (key, value): &(String, Vec<u8>)| {
            headers.insert(Header { key, value: Some(value) })
        };
        message.headers = Some(record.headers.iter().fold(headers, add));
    }
    match producer.send(message) {
        Ok(()) => Ok(true),
        Err((error, _)) if error.rdkafka_error_code() == Some(Code::QueueFull) => Ok(false),
        Err((error, _)) => {
            let address = &producer.context().address;
            Err(During { action: "writing to Kafka", address, topic: &record.topic }.error(&error))
        }
    }
}
