//! The thread between the sources and the write-ahead log: events → batches → signed envelopes → log.
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
    queue::{Queued, StopOrder},
    sources::process::timestamp,
    status::Health,
    stream::Stream,
    wal::Wal,
};
use amoskys_proto::v1::{AgentStatus, AgentStatusBatch};
use prost::Message;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

/// Streams whose events are gathered.
const GATHERED: [Stream; 3] = [Stream::Process, Stream::Syscall, Stream::Activity];
/// Longest sleep when nothing is due.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Events taken before whatever is due gets its turn.
const TURN_EVENTS_MAX: usize = 4_096;
/// Longest rest between two looks at the queue: waking up for every single event costs more than the event.
const REST_MAX: Duration = Duration::from_millis(25);

pub(crate) struct Pipeline {
    events: Receiver<Queued>,
    /// By their place in [`GATHERED`].
    batchers: [Batcher; GATHERED.len()],
    sealer: Sealer,
    wal: Arc<Wal>,
    numbers: SharedNumbers,
    health: Health,
    stop: StopOrder,
    status_interval: Duration,
    status_due_ns: u64,
    rest: Duration,
    started: Moment,
}

impl Pipeline {
    pub fn new(
        config: &AgentConfig,
        sealer: Sealer,
        events: Receiver<Queued>,
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
            batchers: GATHERED.map(|_| Batcher::new(limits)),
            sealer,
            wal,
            numbers,
            health,
            stop,
            status_interval: config.status_interval,
            status_due_ns: started.monotonic_ns,
            rest: (config.batch.age_max / 10).min(REST_MAX),
            started,
        }
    }

    /// Runs until the sources are gone; then writes what is left and closes the log.
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
        self.append_open(Batcher::take);
        self.append_status();
        self.sync();
        self.wal.close();
    }

    fn until_due(&self, now_ns: u64) -> Duration {
        let of_batches = self.batchers.iter().map(Batcher::due_ns);
        let dues = of_batches.chain([self.wal.sync_due_ns(), Some(self.status_due_ns)]);
        let first_due_ns = dues.flatten().min().unwrap_or(u64::MAX);
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

    fn take(&mut self, event: &Queued) {
        let Queued { stream, event_time_us, ref encoded } = *event;
        let now_ns = Moment::now().monotonic_ns;
        // A status takes another way.
        let Some(index) = GATHERED.iter().position(|of| *of == stream) else { return };
        match self.batchers[index].push(encoded, event_time_us, now_ns) {
            Pushed::Kept => {}
            Pushed::Closed(batch) => self.append_gathered(index, batch),
            Pushed::Oversize => self.numbers.lock().ledger.drop_in_hand(stream, Loss::Oversize, 1),
        }
    }

    /// Appends of each stream what `take` takes of its open batch.
    fn append_open(&mut self, take: impl Fn(&mut Batcher) -> Option<Batch>) {
        for index in 0..GATHERED.len() {
            if let Some(batch) = take(&mut self.batchers[index]) {
                self.append_gathered(index, batch);
            }
        }
    }

    /// Does whatever has become due.
    fn tend(&mut self) {
        let now_ns = Moment::now().monotonic_ns;
        self.append_open(|batcher| batcher.take_due(now_ns));
        if now_ns >= self.status_due_ns {
            self.status_due_ns = now_ns + self.status_interval.as_nanos() as u64;
            self.append_status();
        }
        if self.wal.sync_due_ns().is_some_and(|due| due <= now_ns) {
            self.sync();
        }
    }

    fn append_gathered(&mut self, index: usize, batch: Batch) {
        self.append(GATHERED[index], &batch);
        self.batchers[index].recycle(batch);
    }

    fn append(&mut self, stream: Stream, batch: &Batch) {
        let (events, now_ns) = (batch.events, Moment::now().monotonic_ns);
        let give_up = || self.stop.is_overdue(Moment::now().monotonic_ns);
        let seal = |sequence, into: &mut Vec<u8>| self.sealer.seal(stream.schema(), batch, sequence, into);
        match self.wal.append(stream, events, now_ns, give_up, seal) {
            Ok(()) => self.health.wal_works(),
            Err(error) => self.health.wal_failed(error.to_string()),
        }
    }

    fn append_status(&mut self) {
        let now = Moment::now();
        let status = self.status(now);
        let payload = AgentStatusBatch { statuses: vec![status] }.encode_to_vec();
        let batch = Batch { payload, events: 1, first_event_time_us: now.wall_us, last_event_time_us: now.wall_us };
        self.append(Stream::Status, &batch);
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
            syscall_source: crate::status::syscall_source(&numbers).to_owned(),
            syscall_problem: numbers.syscall_problem.clone().unwrap_or_default(),
            syscalls_seen: ledger.seen_of(Stream::Syscall) + ledger.recovered_of(Stream::Syscall),
            syscalls_filtered: ledger.filtered_of(Stream::Syscall),
            syscalls_dropped: ledger.lost_of(Stream::Syscall),
            syscalls_acknowledged: ledger.acknowledged_of(Stream::Syscall),
            audit_malformed_lines: numbers.audit.malformed_lines,
            audit_malformed_example: numbers.audit.malformed_example.clone().unwrap_or_default(),
            started_at: Some(timestamp(self.started.wall_us)),
            activity_calls_seen: numbers.activity_calls.seen + numbers.activity_calls.missed,
            activity_calls_uncounted: numbers.activity_calls.uncounted(),
        }
    }

    fn sync(&self) {
        if let Err(error) = self.wal.sync() {
            self.health.wal_failed(error.to_string());
        }
    }
}
