//! Writing records with delivery reports.
//!
//! A task of the bus's runtime takes records from a bounded queue, in their order, and keeps as many
//! under way as an outbox has room for. Each has a message id, so what is sent again after a lost connection is
//! stored once; a record that got no answer for as long as the server remembers ids (two minutes) is reported as failed.
//! Limits: order within a partition also over retries holds on one server. On a replicated stream whose leader changes
//! a record may be refused while the next is taken; it is then behind that one.

use super::{
    Core,
    errors::{Refused, code},
    outbox::{Outbox, check_size},
    topics::Topic,
    wire::{self, MESSAGE_ID, Wire},
};
use crate::{BusError, DeliveryReport, Outgoing, Producer, ProducerOptions, SendError, partition_for_key};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// A record on its way to the task, and back as a report.
struct Request {
    record: Outgoing,
    token: u64,
    deadline: Instant,
}

type Reported = (usize, DeliveryReport);

pub(super) struct NatsProducer {
    // Keeps the runtime, too.
    core: Arc<Core>,
    options: ProducerOptions,
    queue: mpsc::Sender<Request>,
    reports: Receiver<Reported>,
    in_flight: usize,
    in_flight_bytes: usize,
}

impl NatsProducer {
    pub(super) fn new(core: Arc<Core>, options: &ProducerOptions) -> Result<Self, BusError> {
        let records_max = options.queue_records_max.max(1);
        let (queue, requests) = mpsc::channel(records_max);
        // Room for every record in flight, so that the task never waits for a caller that does not poll.
        let (report, reports) = sync_channel(records_max);
        let outbox = core.run(Outbox::open(core.link.clone()))?;
        let writer = Writer {
            core: core.shared(),
            outbox,
            report,
            under_way: BTreeMap::new(),
            name: format!("{:016x}", RandomState::new().hash_one(std::process::id())),
            sent: 0,
        };
        core.spawn(writer.run(requests));
        Ok(Self { core, options: options.clone(), queue, reports, in_flight: 0, in_flight_bytes: 0 })
    }

    fn done(&mut self, (bytes, report): Reported, reports: &mut Vec<DeliveryReport>) {
        self.in_flight -= 1;
        self.in_flight_bytes -= bytes;
        reports.push(report);
    }
}

impl Producer for NatsProducer {
    fn send(&mut self, record: Outgoing, token: u64) -> Result<(), SendError> {
        let (bytes, bytes_max) = (record.bytes(), self.options.record_bytes_max);
        if bytes > bytes_max {
            return Err(SendError::Failed(BusError::RecordTooLarge { topic: record.topic, bytes, bytes_max }));
        }
        let full = self.in_flight >= self.options.queue_records_max
            || (self.in_flight > 0 && self.in_flight_bytes + bytes > self.options.queue_bytes_max);
        if full {
            return Err(SendError::QueueFull(record));
        }
        let deadline = Instant::now() + self.options.delivery_timeout;
        match self.queue.try_send(Request { record, token, deadline }) {
            Ok(()) => {
                self.in_flight += 1;
                self.in_flight_bytes += bytes;
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(request)) => Err(SendError::QueueFull(request.record)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SendError::Failed(BusError::Failed {
                action: "writing to NATS",
                detail: "the writer has stopped; start again".to_owned(),
                retryable: false,
            })),
        }
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<DeliveryReport>) {
        if self.in_flight > 0
            && let Ok(first) = self.reports.recv_timeout(timeout)
        {
            self.done(first, reports);
        }
        while let Ok(next) = self.reports.try_recv() {
            self.done(next, reports);
        }
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn trouble(&self) -> Option<BusError> {
        let away = Some(self.core.link.unreachable()).filter(|_| !self.core.link.is_connected());
        away.filter(|error| matches!(error, BusError::Tls { .. } | BusError::Unauthorised { .. }))
    }
}

/// The task behind a producer.
struct Writer {
    core: super::Shared,
    outbox: Outbox,
    report: SyncSender<Reported>,
    under_way: BTreeMap<u64, UnderWay>,
    /// What this writer's message ids begin with.
    name: String,
    sent: u64,
}

struct UnderWay {
    token: u64,
    topic: Arc<Topic>,
    partition: i32,
    bytes: usize,
}

impl Writer {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let room = self.outbox.has_room();
            tokio::select! {
                biased;
                event = self.outbox.event(), if !self.outbox.is_empty() => {
                    for outcome in self.outbox.handle(event).await {
                        if let Some(of) = self.under_way.remove(&outcome.id) {
                            self.tell(&of, outcome.result.map(|ack| ack.sequence));
                        }
                    }
                }
                request = requests.recv(), if room => match request {
                    Some(request) => self.write(request).await,
                    // The handle is gone; nobody waits for reports.
                    None => return,
                },
            }
        }
    }

    async fn write(&mut self, request: Request) {
        let (token, bytes) = (request.token, request.record.bytes());
        match self.prepare(&request).await {
            Ok((wire, topic, partition)) => {
                let deadline = request.deadline.min(Instant::now() + topic.remembers_ids_for);
                let id = self.outbox.send(wire, deadline).await;
                self.under_way.insert(id, UnderWay { token, topic, partition, bytes });
            }
            Err(error) => {
                let _ = self.report.try_send((bytes, DeliveryReport { token, result: Err(error) }));
            }
        }
    }

    async fn prepare(&mut self, request: &Request) -> Result<(Wire, Arc<Topic>, i32), BusError> {
        let record = &request.record;
        let within = request.deadline.saturating_duration_since(Instant::now());
        let topic = self.core.topics.get(&self.core.link, &record.topic, within).await?;
        self.sent += 1;
        let partition = choose_partition(record, &topic, self.sent)?;
        let mut wire = wire_of(record, &topic, partition)?;
        wire.headers.insert(MESSAGE_ID, format!("{}-{}", self.name, self.sent));
        check_size(&self.core.link, &wire).map_err(|refused| too_large(refused, record))?;
        Ok((wire, topic, partition))
    }

    fn tell(&mut self, of: &UnderWay, result: Result<u64, Refused>) {
        let result = match result {
            Ok(sequence) => Ok((of.partition, sequence as i64 - 1)),
            Err(refused) if refused.is(code::RECORD_TOO_LARGE) => Err(BusError::RecordTooLarge {
                topic: of.topic.name.clone(),
                bytes: of.bytes,
                bytes_max: of.topic.record_bytes_max.unwrap_or(of.bytes.saturating_sub(1)),
            }),
            Err(refused) => {
                // It may have been deleted, or made anew with other partitions.
                self.core.topics.forget(&of.topic.name);
                Err(self.core.link.during("writing to NATS", &of.topic.name).refused(refused))
            }
        };
        let _ = self.report.try_send((of.bytes, DeliveryReport { token: of.token, result }));
    }
}

/// Where a record goes: where it says, where its key belongs, or in turn.
pub(super) fn choose_partition(record: &Outgoing, topic: &Topic, turn: u64) -> Result<i32, BusError> {
    let chosen = match (record.partition, &record.key) {
        (Some(partition), _) => partition,
        (None, Some(key)) => partition_for_key(key, topic.partitions),
        (None, None) => (turn % topic.partitions.max(1) as u64) as i32,
    };
    if topic.has(chosen) {
        return Ok(chosen);
    }
    let detail = format!("topic `{}` has {} partitions, no {chosen}", topic.name, topic.partitions);
    Err(BusError::Misconfigured { detail })
}

/// The record as a message, without a message id.
pub(super) fn wire_of(record: &Outgoing, topic: &Topic, partition: i32) -> Result<Wire, BusError> {
    let bytes = record.bytes();
    if let Some(bytes_max) = topic.record_bytes_max.filter(|bytes_max| bytes > *bytes_max) {
        return Err(BusError::RecordTooLarge { topic: topic.name.clone(), bytes, bytes_max });
    }
    let headers = wire::headers_of(record).ok_or_else(|| BusError::RecordTooLarge {
        topic: topic.name.clone(),
        bytes: bytes - record.payload.len(),
        bytes_max: wire::HEADER_BYTES_MAX,
    })?;
    let subject = topic.subject_of(partition, record.key.as_deref())?;
    Ok(Wire { subject, headers, payload: record.payload.clone().into() })
}

/// The server's limit, as a limit of the record.
pub(super) fn too_large(refused: Refused, record: &Outgoing) -> BusError {
    let bytes = record.bytes();
    let bytes_max = if let Refused::TooLarge { bytes_max } = refused { bytes_max } else { bytes };
    BusError::RecordTooLarge { topic: record.topic.clone(), bytes, bytes_max }
}
