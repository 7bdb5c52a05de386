//! The thread between the source and the write-ahead log: events → batches → signed envelopes → log.
//!
//! It also writes the agent's own status, through the same path. Deliberately not here: reading processes, sending.
//! Limits: those of the batch and of the write-ahead log; while the log is full and may not drop, this thread waits.

use crate::{
    batcher::{Batch, BatchLimits, Batcher, Pushed},
    clock::Moment,
    config::AgentConfig,
    envelope::Sealer,
    ledger::{Loss, Origin},
    metrics::SharedNumbers,
    queue::StopOrder,
    sources::process::{micros, timestamp},
    status::Health,
    wal::{Kind, Wal},
};
use amoskys_proto::v1::{AgentStatus, AgentStatusBatch, ProcessEvent};
use prost::Message;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

const PROCESS_SCHEMA: &str = "amoskys.v1.ProcessBatch";
const STATUS_SCHEMA: &str = "amoskys.v1.AgentStatusBatch";
/// Longest sleep when nothing is due.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Events taken before whatever is due gets its turn.
const TURN_EVENTS_MAX: usize = 1_024;
/// Longest rest between two looks at the queue: waking up for every single event costs more than the event.
const REST_MAX: Duration = Duration::from_millis(10);

pub(crate) struct Pipeline {
    events: Receiver<ProcessEvent>,
    batcher: Batcher,
    sealer: Sealer,
    wal: Arc<Wal>,
    numbers: SharedNumbers,
    health: Health,
    stop: StopOrder,
    status_interval: Duration,
    status_due_ns: u64,
    rest: Duration,
    started: Moment,
    scratch: Vec<u8>,
}

impl Pipeline {
    pub fn new(
        config: &AgentConfig,
        sealer: Sealer,
        events: Receiver<ProcessEvent>,
        wal: Arc<Wal>,
        numbers: SharedNumbers,
        health: Health,
        stop: StopOrder,
    ) -> Self {
        let limits = BatchLimits {
            events_max: config.batch.events_max,
            payload_bytes_max: config.batch.max_env_bytes.saturating_sub(sealer.overhead_bytes_max()),
            age_max_ns: config.batch.age_max.as_nanos() as u64,
        };
        let started = Moment::now();
        Self {
            events,
            batcher: Batcher::new(limits),
            sealer,
            wal,
            numbers,
            health,
            stop,
            status_interval: config.status_interval,
            status_due_ns: started.monotonic_ns,
            rest: (config.batch.age_max / 10).min(REST_MAX),
            started,
            scratch: Vec::new(),
        }
    }

    /// Runs until the source is gone; then writes what is left and closes the log.
    pub fn run(mut self) {
        loop {
            match self.events.recv_timeout(self.until_due(Moment::now().monotonic_ns)) {
                Ok(event) => {
                    self.take(&event);
                    self.take_queued();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tend();
        }
        if let Some(batch) = self.batcher.take() {
            self.append(Kind::Telemetry, PROCESS_SCHEMA, batch);
        }
        self.append_status();
        self.sync();
        self.wal.close();
    }

    fn until_due(&self, now_ns: u64) -> Duration {
        let dues = [self.batcher.due_ns(), self.wal.sync_due_ns(), Some(self.status_due_ns)];
        let first_due_ns = dues.into_iter().flatten().min().unwrap_or(u64::MAX);
        Duration::from_nanos(first_due_ns.saturating_sub(now_ns)).min(IDLE_WAIT)
    }

    /// Takes what has gathered in the queue, after giving it a moment to gather.
    fn take_queued(&mut self) {
        std::thread::sleep(self.rest);
        for _ in 0..TURN_EVENTS_MAX {
            let Ok(event) = self.events.try_recv() else { return };
            self.take(&event);
        }
    }

    fn take(&mut self, event: &ProcessEvent) {
        self.scratch.clear();
        // A vector grows as needed, so encoding cannot fail.
        let _ = event.encode(&mut self.scratch);
        let event_time_us = event.observed_at.as_ref().map_or(0, micros);
        match self.batcher.push(&self.scratch, event_time_us, Moment::now().monotonic_ns) {
            Pushed::Kept => {}
            Pushed::Closed(batch) => self.append(Kind::Telemetry, PROCESS_SCHEMA, batch),
            Pushed::Oversize => self.numbers.lock().ledger.drop_in_hand(Loss::Oversize, 1),
        }
    }

    /// Does whatever has become due.
    fn tend(&mut self) {
        let now_ns = Moment::now().monotonic_ns;
        if let Some(batch) = self.batcher.take_due(now_ns) {
            self.append(Kind::Telemetry, PROCESS_SCHEMA, batch);
        }
        if now_ns >= self.status_due_ns {
            self.status_due_ns = now_ns + self.status_interval.as_nanos() as u64;
            self.append_status();
        }
        if self.wal.sync_due_ns().is_some_and(|due| due <= now_ns) {
            self.sync();
        }
    }

    fn append(&mut self, kind: Kind, schema: &str, batch: Batch) {
        let (events, now_ns) = (batch.events, Moment::now().monotonic_ns);
        let give_up = || self.stop.is_overdue(Moment::now().monotonic_ns);
        let appended =
            self.wal.append(kind, events, now_ns, give_up, |sequence| self.sealer.seal(schema, batch, sequence));
        match appended {
            Ok(()) => self.health.wal_works(),
            Err(error) => self.health.wal_failed(error.to_string()),
        }
    }

    fn append_status(&mut self) {
        let now = Moment::now();
        let status = self.status(now);
        let payload = AgentStatusBatch { statuses: vec![status] }.encode_to_vec();
        let batch = Batch { payload, events: 1, first_event_time_us: now.wall_us, last_event_time_us: now.wall_us };
        self.append(Kind::Status, STATUS_SCHEMA, batch);
    }

    /// The numbers at this moment, this status counted as seen.
    fn status(&self, now: Moment) -> AgentStatus {
        let mut numbers = self.numbers.lock();
        numbers.ledger.see(Origin::Status, 1);
        let ledger = &numbers.ledger;
        AgentStatus {
            observed_at: Some(timestamp(now.wall_us)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process_source: crate::status::process_source(&numbers).to_owned(),
            uptime_seconds: now.boot_ns.saturating_sub(self.started.boot_ns) / 1_000_000_000,
            events_seen: ledger.seen() + ledger.recovered(),
            events_filtered: ledger.filtered(),
            events_dropped: ledger.dropped(),
            events_acknowledged: ledger.acknowledged(),
            wal_bytes: numbers.wal_bytes,
            wal_records: numbers.wal_records,
            kernel_lost: numbers.kernel_lost_messages,
        }
    }

    fn sync(&self) {
        if let Err(error) = self.wal.sync() {
            self.health.wal_failed(error.to_string());
        }
    }
}
