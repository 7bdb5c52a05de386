//! What the agent's tests share: a bus that can be told to hold, refuse or be away, and ways to look at its log.
#![allow(dead_code)]

pub mod audit;
pub mod children;

use amoskys_bus::{
    Address, Bus, BusError, DeliveryReport, Member, MemberOptions, Outgoing, Producer, ProducerOptions, Reader,
    ReaderOptions, SendError, TopicInfo, TopicSpec,
};
use amoskys_collectors::{Agent, AgentConfig, AgentHandle, Fsync, ProcessMode, SyscallMode};
use amoskys_proto::{
    EnvelopeView,
    v1::{EnvelopeHeader, ProcessBatch, ProcessEvent, ProcessEventKind},
};
use prometheus_client::registry::Registry;
use prost::Message;
use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

pub const TELEMETRY: &str = "amoskys.telemetry.process.v1";
pub const STATUS: &str = "amoskys.agent.status.v1";
/// Far beyond what anything takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Takes and reports at the next poll.
    Take,
    /// Takes, and reports only after another mode is set.
    Hold,
    /// Reports every record as undeliverable, for now.
    Away,
    /// Refuses every record without saying why.
    Refuse,
    /// Says that every record is too large.
    TooLarge,
}

/// A log in memory. Clones share it.
#[derive(Clone)]
pub struct FakeBus(Arc<FakeState>);

struct FakeState {
    address: Address,
    mode: Mutex<Mode>,
    log: Mutex<Vec<Outgoing>>,
}

impl FakeBus {
    pub fn new(mode: Mode) -> Self {
        let address = Address::Local { path: "memory".into() };
        Self(Arc::new(FakeState { address, mode: Mutex::new(mode), log: Mutex::default() }))
    }

    pub fn set(&self, mode: Mode) {
        *self.0.mode.lock().expect("no panic") = mode;
    }

    pub fn mode(&self) -> Mode {
        *self.0.mode.lock().expect("no panic")
    }

    pub fn log(&self) -> MutexGuard<'_, Vec<Outgoing>> {
        self.0.log.lock().expect("no panic")
    }

    /// Headers of the envelopes on a topic, in order.
    pub fn headers(&self, topic: &str) -> Vec<EnvelopeHeader> {
        let log = self.log();
        let payloads = log.iter().filter(|record| record.topic == topic).map(|record| &record.payload);
        payloads.map(|payload| EnvelopeView::parse(payload).expect("an envelope").header).collect()
    }

    /// All process events, in order.
    pub fn events(&self) -> Vec<ProcessEvent> {
        let log = self.log();
        let payloads = log.iter().filter(|record| record.topic == TELEMETRY).map(|record| &record.payload);
        payloads.flat_map(|payload| events_of(payload)).collect()
    }

    /// Waits for a process event.
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&ProcessEvent) -> bool) -> ProcessEvent {
        let mut found = None;
        wait_until(what, || {
            found = self.events().into_iter().find(&is_it);
            found.is_some()
        });
        found.expect("just found")
    }

    /// Waits for an event of that kind about that process.
    pub fn wait_for_kind(&self, pid: u32, kind: ProcessEventKind) -> ProcessEvent {
        self.wait_for(&format!("{kind:?} of process {pid}"), |event| event.pid == pid && event.kind() == kind)
    }
}

pub fn events_of(envelope: &[u8]) -> Vec<ProcessEvent> {
    let view = EnvelopeView::parse(envelope).expect("an envelope");
    let events = ProcessBatch::decode(view.payload).expect("a process batch").events;
    assert_eq!(view.header.event_count as usize, events.len());
    events
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An agent that compares snapshots often, for tests that need events from anywhere.
pub fn snapshot_config(folder: &Path) -> AgentConfig {
    let mut config = AgentConfig::new("agent-1", "host-1", folder.join("wal"));
    config.process.source = ProcessMode::Snapshots;
    config.syscall.source = SyscallMode::Off;
    config.process.snapshot_interval = Duration::from_millis(20);
    // However slow the machine is, executables are hashed before their events leave.
    config.process.files.wait = Duration::from_secs(30);
    config.batch.age_max = Duration::from_millis(20);
    config.batch.events_max = 20;
    config.wal.fsync = Fsync::Never;
    config.publish.retry_pause_min = Duration::from_millis(5);
    config.publish.retry_pause_max = Duration::from_millis(20);
    config
}

/// An agent that listens to the kernel and sends at once.
pub fn listening_config(folder: &Path, source: ProcessMode) -> AgentConfig {
    let mut config = snapshot_config(folder);
    config.process.source = source;
    config.process.snapshot_interval = Duration::from_secs(3_600);
    config
}

/// Whether processes can be seen by eBPF here; that they cannot is told.
pub fn has_ebpf() -> bool {
    amoskys_ebpf::testing::processes().is_some()
}

/// Each test twice: by eBPF, and by the process connector.
#[macro_export]
macro_rules! by_each_source {
    ($($(#[doc = $doc:literal])* fn $name:ident($source:ident) $body:block)*) => {$(
        $(#[doc = $doc])*
        mod $name {
            use super::*;

            fn body($source: ProcessMode) $body

            #[test]
            fn by_ebpf() {
                if has_ebpf() {
                    body(ProcessMode::Ebpf);
                }
            }

            #[test]
            fn by_the_connector() {
                body(ProcessMode::Connector);
            }
        }
    )*};
}

pub fn start(config: AgentConfig, bus: &FakeBus) -> (AgentHandle, Registry) {
    let mut registry = Registry::default();
    let agent = Agent::start(config, Arc::new(bus.clone()), &mut registry).unwrap_or_else(|error| {
        panic!("the agent does not start: {error} (these tests need root on the host, for the process connector)")
    });
    (agent, registry)
}

/// As [`start`], and waits until the first pass over `/proc` is done: from then on only the kernel reports.
pub fn start_listening(config: AgentConfig, bus: &FakeBus) -> (AgentHandle, Registry) {
    let (agent, registry) = start(config, bus);
    wait_until("the first pass over /proc", || agent.numbers().snapshots > 0);
    (agent, registry)
}

pub fn scrape(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("text is always encodable");
    text
}

/// Sum of the samples of a metric, over all its labels.
pub fn sample(text: &str, metric: &str) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name.split('{').next() == Some(metric)).then(|| value.parse::<f64>().expect("a number"))
    });
    let values: Vec<f64> = samples.collect();
    assert!(!values.is_empty(), "{metric} is not there:\n{text}");
    values.iter().sum()
}

/// The identity that tells a quiet host from a blind agent, in one scrape.
pub fn assert_identity(text: &str) {
    let sum = |names: &[&str]| names.iter().map(|name| sample(text, &format!("amoskys_agent_{name}"))).sum::<f64>();
    let came = sum(&["seen_events_total", "recovered_events_total"]);
    let are = sum(&[
        "filtered_events_total",
        "dropped_events_total",
        "in_hand_events",
        "wal_events",
        "acknowledged_events_total",
    ]);
    assert_eq!(came, are, "{text}");
}

impl Bus for FakeBus {
    fn address(&self) -> &Address {
        &self.0.address
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        Err(unused())
    }

    fn create_topic(&self, _: &TopicSpec) -> Result<bool, BusError> {
        Err(unused())
    }

    fn producer(&self, options: &ProducerOptions) -> Result<Box<dyn Producer>, BusError> {
        Ok(Box::new(FakeProducer {
            bus: self.clone(),
            pending: VecDeque::new(),
            records_max: options.queue_records_max,
        }))
    }

    fn reader(&self, _: &ReaderOptions) -> Result<Box<dyn Reader>, BusError> {
        Err(unused())
    }

    fn member(&self, _: &MemberOptions) -> Result<Box<dyn Member>, BusError> {
        Err(unused())
    }
}

fn unused() -> BusError {
    BusError::Misconfigured { detail: "the agent needs a producer and nothing else".into() }
}

struct FakeProducer {
    bus: FakeBus,
    pending: VecDeque<(u64, Outgoing)>,
    records_max: usize,
}

impl Producer for FakeProducer {
    fn send(&mut self, record: Outgoing, token: u64) -> Result<(), SendError> {
        if self.pending.len() >= self.records_max {
            return Err(SendError::QueueFull(record));
        }
        self.pending.push_back((token, record));
        Ok(())
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<DeliveryReport>) {
        let mode = self.bus.mode();
        if mode == Mode::Hold || self.pending.is_empty() {
            return std::thread::sleep(timeout);
        }
        for (token, record) in self.pending.drain(..) {
            let result = match mode {
                Mode::Away => Err(BusError::Unreachable { address: "memory".into(), detail: "told so".into() }),
                Mode::Refuse => Err(BusError::Failed { action: "produce", detail: "told so".into(), retryable: false }),
                Mode::TooLarge => {
                    Err(BusError::RecordTooLarge { topic: record.topic, bytes: record.payload.len(), bytes_max: 1 })
                }
                Mode::Take | Mode::Hold => {
                    let mut log = self.bus.log();
                    log.push(record);
                    Ok((0, log.len() as i64 - 1))
                }
            };
            reports.push(DeliveryReport { token, result });
        }
    }

    fn in_flight(&self) -> usize {
        self.pending.len()
    }
}
