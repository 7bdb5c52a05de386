//! Producer and reader of the embedded log.

use super::{
    cursor::Cursors,
    log::Log,
    writer::{Appended, Request},
};
use crate::{
    BusError, Change, DeliveryReport, Outgoing, Producer, ProducerOptions, Reader, Record, SendError, TopicPartition,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

pub(super) struct LocalProducer {
    log: Arc<Log>,
    options: ProducerOptions,
    report: SyncSender<Appended>,
    reports: Receiver<Appended>,
    /// Records whose report has not been polled, and the bytes of each by token, in the order of `send`.
    in_flight: usize,
    in_flight_bytes: usize,
    bytes_by_token: BTreeMap<u64, Vec<usize>>,
}

impl LocalProducer {
    pub(super) fn new(log: Arc<Log>, options: &ProducerOptions) -> Self {
        // Room for every record in flight, so that the writer never waits for a producer that does not poll.
        let (report, reports) = sync_channel(options.queue_records_max.max(1));
        Self {
            log,
            options: options.clone(),
            report,
            reports,
            in_flight: 0,
            in_flight_bytes: 0,
            bytes_by_token: BTreeMap::new(),
        }
    }

    fn done(&mut self, (token, result): Appended, reports: &mut Vec<DeliveryReport>) {
        self.in_flight -= 1;
        if let Some(bytes) = self.bytes_by_token.get_mut(&token) {
            self.in_flight_bytes -= bytes.pop().unwrap_or(0);
            if bytes.is_empty() {
                self.bytes_by_token.remove(&token);
            }
        }
        reports.push(DeliveryReport { token, result });
    }
}

impl Producer for LocalProducer {
    fn send(&mut self, record: Outgoing, token: u64) -> Result<(), SendError> {
        let (bytes, bytes_max) = (record.bytes(), self.options.record_bytes_max);
        if bytes > bytes_max {
            return Err(SendError::Failed(BusError::RecordTooLarge { topic: record.topic, bytes, bytes_max }));
        }
        let full = self.in_flight >= self.options.queue_records_max
            || (self.in_flight > 0 && self.in_flight_bytes + bytes > self.options.queue_bytes_max);
        let Some(requests) = self.log.requests().filter(|_| !full) else { return Err(SendError::QueueFull(record)) };
        match requests.try_send(Request::Append { record, token, report: self.report.clone() }) {
            Ok(()) => {
                self.in_flight += 1;
                self.in_flight_bytes += bytes;
                self.bytes_by_token.entry(token).or_default().push(bytes);
                Ok(())
            }
            Err(TrySendError::Full(Request::Append { record, .. })) => Err(SendError::QueueFull(record)),
            Err(_) => Err(SendError::Failed(writer_gone())),
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
}

pub(super) fn writer_gone() -> BusError {
    BusError::Failed {
        action: "writing to the local log",
        detail: "its writer has stopped; see the log for why, then start again".to_owned(),
        retryable: false,
    }
}

pub(super) struct LocalReader {
    log: Arc<Log>,
    cursors: Cursors,
}

impl LocalReader {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self { log, cursors: Cursors::default() }
    }
}

impl Reader for LocalReader {
    fn assign(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        let found = self.log.core.shared().partition(partition);
        let (topic_id, _) = found.ok_or_else(|| BusError::UnknownTopic { topic: partition.topic.clone() })?;
        self.cursors.set(partition, topic_id, offset);
        Ok(())
    }

    fn bounds(&mut self, partition: &TopicPartition) -> Result<(i64, i64), BusError> {
        let found = self.log.core.shared().partition(partition);
        let (_, state) = found.ok_or_else(|| BusError::UnknownTopic { topic: partition.topic.clone() })?;
        Ok((state.first, state.end))
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<Vec<Change>, BusError> {
        let deadline = Instant::now() + timeout;
        let core = &self.log.core;
        let mut shared = core.shared();
        loop {
            let spans = self.cursors.spans(&shared);
            if !spans.is_empty() {
                drop(shared);
                let mut changes = Vec::new();
                self.cursors.read(core, &spans, records_max, on_record, &mut changes)?;
                return Ok(changes);
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            shared = core.wait(shared, deadline);
        }
    }
}
