//! The thread from the write-ahead log to the bus.
//!
//! Envelopes go in order; what is in flight is bounded in records and bytes. After a failure nothing more is sent until
//! everything in flight is reported, then the failed ones go again, in order, before the new ones: at least once, and
//! out of order only where the log took an envelope although it refused one before it. An envelope is forgotten on its
//! delivery report and on nothing else.
//!
//! Deliberately not here: what to do about a refusal (see `retry`), how fast (see `rate`).

use crate::{
    clock::Moment,
    config::{AgentConfig, PublishConfig, RateUnit},
    ledger::Loss,
    metrics::SharedNumbers,
    queue::StopOrder,
    rate::TokenBucket,
    retry::{Decision, Refusal, decide, pause},
    status::Health,
    stream::{STREAMS, Stream},
    wal::{Leaving, Outcome, Stored, Wal, WalError},
};
use amoskys_bus::{Bus, BusError, DeliveryReport, Outgoing, Producer, ProducerOptions, SendError};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Longest wait in one call: how late a stop is noticed.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Longest wait for something to send; what comes ends it.
const WAIT_EMPTY: Duration = Duration::from_millis(250);
/// Rest between two looks for reports while there is room for more: an envelope that comes meanwhile ends it, and a report
/// that waits so long holds nobody up. Waking for every report costs more than the report.
const WAIT_IN_FLIGHT: Duration = Duration::from_millis(20);
/// A record without report for this many `retry_timeout`s will not get one; the producer is replaced.
const REPORT_OVERDUE_FACTOR: u32 = 3;
/// So long after the last report it is asked what is wrong, rather than waited for `retry_timeout`.
const TROUBLE_AFTER: Duration = Duration::from_secs(2);
/// A producer that fails this often in a row is replaced, in case that the fault is its own.
const FAILURES_PER_PRODUCER: u32 = 8;
/// Room for key and framing beside the envelope.
const RECORD_OVERHEAD_BYTES: usize = 4_096;

pub(crate) struct Publisher {
    config: PublishConfig,
    /// By stream.
    topics: [String; STREAMS.len()],
    key: Vec<u8>,
    options: ProducerOptions,
    bus: Arc<dyn Bus>,
    producer: Option<Box<dyn Producer>>,
    wal: Arc<Wal>,
    numbers: SharedNumbers,
    health: Health,
    stop: StopOrder,
    bucket: Option<TokenBucket>,
    in_flight: BTreeMap<u64, Sent>,
    in_flight_bytes: usize,
    /// Failed, to be sent again; in order.
    failed: BTreeMap<u64, Sent>,
    /// Read from the log, waiting for room or tokens.
    held: Option<Stored>,
    /// Nothing is sent before everything in flight is reported.
    recovering: bool,
    renew_producer: bool,
    paused_until_ns: u64,
    /// When the last report came, or the first record was sent after a time without any.
    progress_ns: u64,
    connect_failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    stream: Stream,
    events: u32,
    bytes: usize,
    failures: u32,
}

/// What kept a turn from sending more.
enum Blocked {
    /// Nothing to send.
    Empty,
    /// In-flight bound, bus queue, pause, recovery: wait for reports or time.
    Full,
    Tokens(Duration),
}

impl Publisher {
    pub fn new(
        config: &AgentConfig,
        bus: Arc<dyn Bus>,
        wal: Arc<Wal>,
        numbers: SharedNumbers,
        health: Health,
        stop: StopOrder,
    ) -> Self {
        let publish = config.publish.clone();
        let record_bytes_max = config.batch.max_env_bytes + RECORD_OVERHEAD_BYTES;
        let now_ns = Moment::now().monotonic_ns;
        Self {
            topics: STREAMS.map(|(stream, _)| config.topic(stream).to_owned()),
            key: config.host_id.clone().into_bytes(),
            options: ProducerOptions {
                queue_records_max: publish.in_flight_records_max,
                queue_bytes_max: publish.in_flight_bytes_max + record_bytes_max,
                record_bytes_max,
                delivery_timeout: publish.retry_timeout,
                ..ProducerOptions::default()
            },
            bucket: publish.send_rate.as_ref().map(|rate| TokenBucket::new(rate, now_ns)),
            config: publish,
            bus,
            producer: None,
            wal,
            numbers,
            health,
            stop,
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            failed: BTreeMap::new(),
            held: None,
            recovering: false,
            renew_producer: false,
            paused_until_ns: 0,
            progress_ns: 0,
            connect_failures: 0,
        }
    }

    /// Runs until the log is closed and empty, or the stop's deadline has passed; what is then not acknowledged stays
    /// in the log.
    pub fn run(mut self) {
        let mut reports = Vec::new();
        while !self.wal.is_done() && !self.stop.is_overdue(Moment::now().monotonic_ns) {
            let blocked = self.send_what_can_be_sent().unwrap_or_else(|error| {
                self.health.wal_failed(error.to_string());
                self.pause_for(self.config.retry_pause_max);
                Blocked::Full
            });
            self.wait(&blocked, &mut reports);
            self.settle(&mut reports);
            self.abandon_overdue(Moment::now().monotonic_ns);
        }
    }

    fn send_what_can_be_sent(&mut self) -> Result<Blocked, WalError> {
        loop {
            if self.recovering && self.in_flight.is_empty() {
                self.recovering = false;
                if std::mem::take(&mut self.renew_producer) {
                    self.producer = None;
                }
            }
            let now_ns = Moment::now().monotonic_ns;
            if self.recovering || now_ns < self.paused_until_ns || !self.connect() {
                return Ok(Blocked::Full);
            }
            let Some(stored) = self.take_next()? else { return Ok(Blocked::Empty) };
            if !self.has_room(stored.envelope.len()) {
                self.hold(stored);
                return Ok(Blocked::Full);
            }
            if let Err(wait_ns) = self.take_tokens(&stored, now_ns) {
                self.hold(stored);
                return Ok(Blocked::Tokens(Duration::from_nanos(wait_ns)));
            }
            if !self.send(stored) {
                return Ok(Blocked::Full);
            }
        }
    }

    /// Makes sure there is a producer.
    fn connect(&mut self) -> bool {
        if self.producer.is_some() {
            return true;
        }
        match self.bus.producer(&self.options) {
            Ok(producer) => {
                self.connect_failures = 0;
                self.producer = Some(producer);
                true
            }
            Err(error) => {
                self.connect_failures += 1;
                self.pause_for(pause(self.connect_failures, &self.config, rand::random()));
                self.health.bus_refused(&error);
                false
            }
        }
    }

    /// What failed first, then what was held, then the log's next. An envelope that failed is older than a held one.
    fn take_next(&mut self) -> Result<Option<Stored>, WalError> {
        while let Some((index, _)) = self.failed.first_key_value() {
            match self.wal.read(*index)? {
                Some(stored) => return Ok(Some(stored)),
                None => self.failed.pop_first(),
            };
        }
        match self.held.take() {
            Some(held) => Ok(Some(held)),
            None => self.wal.next(),
        }
    }

    /// Keeps an envelope for the next turn; one that failed is kept by its index already.
    fn hold(&mut self, stored: Stored) {
        if !self.failed.contains_key(&stored.index) {
            self.held = Some(stored);
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let records_fit = self.in_flight.len() < self.config.in_flight_records_max.max(1);
        let bytes_fit = self.in_flight_bytes + bytes <= self.config.in_flight_bytes_max;
        self.in_flight.is_empty() || (records_fit && bytes_fit)
    }

    fn take_tokens(&mut self, stored: &Stored, now_ns: u64) -> Result<(), u64> {
        let (Some(bucket), Some(rate)) = (&mut self.bucket, &self.config.send_rate) else { return Ok(()) };
        let cost = match rate.unit {
            RateUnit::Events => u64::from(stored.events),
            RateUnit::Bytes => stored.envelope.len() as u64,
        };
        bucket.take(cost, now_ns)
    }

    /// Hands an envelope to the producer; false when it did not take it.
    fn send(&mut self, stored: Stored) -> bool {
        let Some(producer) = &mut self.producer else { return false };
        let failures = self.failed.remove(&stored.index).map_or(0, |sent| sent.failures);
        let sent = Sent { stream: stored.stream, events: stored.events, bytes: stored.envelope.len(), failures };
        let record = Outgoing {
            topic: self.topics[stored.stream as usize].clone(),
            partition: None,
            key: Some(self.key.clone()),
            payload: stored.envelope,
            headers: Vec::new(),
        };
        match producer.send(record, stored.index) {
            Ok(()) => {
                if self.in_flight.is_empty() {
                    self.progress_ns = Moment::now().monotonic_ns;
                }
                self.in_flight_bytes += sent.bytes;
                self.in_flight.insert(stored.index, sent);
                self.show_in_flight();
                true
            }
            // It is read again from the log; that spares a copy on every send.
            Err(SendError::QueueFull(_)) => {
                self.failed.insert(stored.index, sent);
                false
            }
            Err(SendError::Failed(error)) => {
                self.refused(stored.index, sent, &error);
                false
            }
        }
    }

    fn wait(&mut self, blocked: &Blocked, reports: &mut Vec<DeliveryReport>) {
        let until_unpaused_ns = self.paused_until_ns.saturating_sub(Moment::now().monotonic_ns);
        let wait = match blocked {
            Blocked::Empty if self.in_flight.is_empty() => return self.wal.wait(WAIT_EMPTY),
            // Nothing will come any more that would end a rest.
            Blocked::Empty if self.wal.is_closed() => WAIT_MAX,
            Blocked::Empty => {
                self.wal.wait(WAIT_IN_FLIGHT);
                Duration::ZERO
            }
            Blocked::Tokens(wait) => (*wait).min(WAIT_MAX),
            Blocked::Full if until_unpaused_ns > 0 => Duration::from_nanos(until_unpaused_ns).min(WAIT_MAX),
            Blocked::Full => WAIT_MAX,
        };
        match &mut self.producer {
            Some(producer) if !self.in_flight.is_empty() => {
                producer.poll(wait, reports);
                let silent_ns = Moment::now().monotonic_ns.saturating_sub(self.progress_ns);
                if reports.is_empty()
                    && silent_ns > TROUBLE_AFTER.as_nanos() as u64
                    && let Some(error) = producer.trouble()
                {
                    self.health.bus_refused(&error);
                }
            }
            _ => std::thread::sleep(wait),
        }
    }

    fn settle(&mut self, reports: &mut Vec<DeliveryReport>) {
        let mut leaving = Vec::new();
        if !reports.is_empty() {
            self.progress_ns = Moment::now().monotonic_ns;
        }
        for report in reports.drain(..) {
            let Some(sent) = self.in_flight.remove(&report.token) else { continue };
            self.in_flight_bytes -= sent.bytes;
            match report.result {
                Ok(_) => leaving.push(sent.leaving(report.token, Outcome::Acknowledged)),
                Err(error) => self.refused(report.token, sent, &error),
            }
        }
        if !leaving.is_empty() {
            self.acknowledged(&leaving);
        }
        self.show_in_flight();
    }

    /// Does without reports that will not come: everything in flight goes again, through a new producer.
    fn abandon_overdue(&mut self, now_ns: u64) {
        let overdue_ns = self.config.retry_timeout.saturating_mul(REPORT_OVERDUE_FACTOR).as_nanos() as u64;
        if self.in_flight.is_empty() || now_ns < self.progress_ns.saturating_add(overdue_ns) {
            return;
        }
        self.health.bus_failed("the bus's client reports nothing; it is replaced".into());
        self.producer = None;
        self.in_flight_bytes = 0;
        self.numbers.lock().failed_sends_records += self.in_flight.len() as u64;
        self.failed.append(&mut self.in_flight);
        self.show_in_flight();
    }

    fn acknowledged(&mut self, leaving: &[Leaving]) {
        {
            let mut numbers = self.numbers.lock();
            numbers.published_records += leaving.len() as u64;
            numbers.published_bytes += leaving.iter().map(|gone| gone.envelope_bytes as u64).sum::<u64>();
        }
        if self.failed.is_empty() {
            self.health.bus_works();
        }
        self.forget(leaving);
    }

    fn refused(&mut self, index: u64, sent: Sent, error: &BusError) {
        let failures = sent.failures + 1;
        self.numbers.lock().failed_sends_records += 1;
        let refusal = Refusal::of(error);
        match decide(refusal, failures, &self.config, rand::random()) {
            Decision::ResendAfter(pause) => {
                self.health.bus_refused(error);
                self.failed.insert(index, Sent { failures, ..sent });
                self.recovering = true;
                self.renew_producer |= refusal == Refusal::Unclear || failures.is_multiple_of(FAILURES_PER_PRODUCER);
                self.pause_for(pause);
            }
            Decision::DropTooLarge => self.give_up(index, sent, Loss::RecordTooLarge, error),
            Decision::DropRefused => self.give_up(index, sent, Loss::Refused, error),
        }
    }

    fn give_up(&mut self, index: u64, sent: Sent, loss: Loss, error: &BusError) {
        tracing::error!(%error, events = sent.events, "an envelope is given up");
        self.health.note(error.to_string());
        self.forget(&[sent.leaving(index, Outcome::Lost(loss))]);
    }

    fn forget(&self, leaving: &[Leaving]) {
        // What cannot be forgotten is sent once more after a restart; readers know it by its sequence number.
        if let Err(error) = self.wal.forget(leaving) {
            self.health.wal_failed(error.to_string());
        }
    }

    fn pause_for(&mut self, pause: Duration) {
        let until_ns = Moment::now().monotonic_ns + pause.as_nanos() as u64;
        self.paused_until_ns = self.paused_until_ns.max(until_ns);
    }

    fn show_in_flight(&self) {
        let mut numbers = self.numbers.lock();
        numbers.in_flight_records = self.in_flight.len() as u64;
        numbers.in_flight_bytes = self.in_flight_bytes as u64;
    }
}

impl Sent {
    fn leaving(&self, index: u64, outcome: Outcome) -> Leaving {
        Leaving { index, stream: self.stream, events: self.events, envelope_bytes: self.bytes, outcome }
    }
}
