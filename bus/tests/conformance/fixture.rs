//! The logs under test, and the few things that every check does with one.

use amoskys_bus::{
    Address, Assignment, Bus, BusError, BusOptions, Change, Delivery, Member, MemberOptions, Outgoing, Producer,
    ProducerOptions, ReaderOptions, Security, SendError, TopicPartition, TopicSpec, open,
    testing::{KafkaBroker, NatsServer},
};
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Long enough for a busy machine; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One broker for all checks; it ends with this process.
static BROKER: LazyLock<KafkaBroker> = LazyLock::new(KafkaBroker::start);
static NATS: LazyLock<NatsServer> = LazyLock::new(NatsServer::start);
static NAMES: AtomicU32 = AtomicU32::new(0);

pub struct Fixture {
    pub options: BusOptions,
    /// `None` while another process has the log.
    bus: Option<Arc<dyn Bus>>,
    _folder: Option<tempfile::TempDir>,
}

pub fn kafka() -> Fixture {
    fixture(options(&BROKER.address()), None)
}

/// The same, read by librdkafka alone.
pub fn kafka_by_librdkafka() -> Fixture {
    fixture(BusOptions { extra: by_librdkafka(), ..options(&BROKER.address()) }, None)
}

pub fn by_librdkafka() -> Vec<(String, String)> {
    vec![("amoskys.fetch".to_owned(), "librdkafka".to_owned())]
}

pub fn nats() -> Fixture {
    fixture(options(&NATS.address()), None)
}

pub fn local() -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fixture(options(&Address::Local { path: folder.path().join("log") }), Some(folder))
}

fn fixture(options: BusOptions, folder: Option<tempfile::TempDir>) -> Fixture {
    Fixture { bus: Some(open(&options).expect("the log opens")), options, _folder: folder }
}

pub fn options(address: &Address) -> BusOptions {
    BusOptions {
        address: address.clone(),
        security: Security::default(),
        client_id: "conformance".to_owned(),
        extra: Vec::new(),
    }
}

pub fn connect(address: &Address) -> Arc<dyn Bus> {
    open(&options(address)).expect("the log opens")
}

impl Fixture {
    pub fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone().expect("the log is open")
    }

    /// Lets another process have the log.
    pub fn close(&mut self) {
        self.bus = None;
    }

    pub fn reopen(&mut self) {
        self.bus = Some(open(&self.options).expect("the log opens"));
    }

    /// A new topic with its own name.
    pub fn topic(&self, partitions: i32) -> String {
        self.topic_with(partitions, &[])
    }

    pub fn topic_with(&self, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = unique("topic");
        let append_time = [("message.timestamp.type", "LogAppendTime")];
        let settings = settings.iter().chain(&append_time).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let spec = TopicSpec { name: name.clone(), partitions, replication: 1, settings };
        assert!(self.bus().create_topic(&spec).expect("the topic is created"), "{name} is new");
        name
    }

    pub fn member(&self, group: &str, topic: &str) -> Box<dyn Member> {
        self.member_with(&member_options(group, topic))
    }

    pub fn member_with(&self, options: &MemberOptions) -> Box<dyn Member> {
        self.bus().member(options).expect("the member joins")
    }

    /// Writes records and waits for their reports: partition and offset of each.
    pub fn produce(&self, records: Vec<Outgoing>) -> Vec<(i32, i64)> {
        let mut producer = self.bus().producer(&ProducerOptions::default()).expect("a producer");
        produce_with(&mut *producer, records)
    }

    /// All committed records of the topic, partition by partition.
    pub fn read(&self, topic: &str, partitions: i32) -> Vec<Seen> {
        self.read_with(topic, partitions, &ReaderOptions::default())
    }

    pub fn read_with(&self, topic: &str, partitions: i32, options: &ReaderOptions) -> Vec<Seen> {
        let mut reader = self.bus().reader(options).expect("a reader");
        let mut all = Vec::new();
        for partition in 0..partitions {
            let of = tp(topic, partition);
            let (first, end) = reader.bounds(&of).expect("bounds");
            reader.assign(&of, first).expect("assigned");
            let mut seen = Vec::new();
            let ended = |changes: &[Change]| {
                changes.iter().any(|c| matches!(c, Change::End { partition, .. } if *partition == of))
            };
            let mut done = first == end;
            until("the end of the partition", || {
                let changes = reader.poll(Duration::from_millis(100), 1000, &mut |r| seen.push(Seen::of(r)));
                done |= ended(&changes.expect("polls"));
                done.then_some(())
            });
            all.extend(seen.into_iter().filter(|record| record.partition == partition));
        }
        all
    }
}

/// A record, copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub log_time_ms: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Seen {
    pub fn of(record: &amoskys_bus::Record<'_>) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            log_time_ms: record.log_time_ms,
            key: record.key.map(<[u8]>::to_vec),
            payload: record.payload.to_vec(),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).expect("text")
    }
}

/// Bytes that cannot be compressed, so that they are as many on the wire.
pub struct Noise(u64);

impl Default for Noise {
    fn default() -> Self {
        Self(1)
    }
}

impl Noise {
    /// A multiple of eight of them.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut word = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()
        };
        (0..count / 8).flat_map(|_| word()).collect()
    }
}

pub fn unique(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}

pub fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub fn outgoing(topic: &str, key: &str, payload: impl Into<Vec<u8>>) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        partition: None,
        key: Some(key.as_bytes().to_vec()),
        payload: payload.into(),
        headers: Vec::new(),
    }
}

pub fn member_options(group: &str, topic: &str) -> MemberOptions {
    MemberOptions {
        delivery: Delivery::ExactlyOnce,
        session_timeout: Duration::from_secs(6),
        transaction_timeout: Duration::from_secs(10),
        ..MemberOptions::new(group, vec![topic.to_owned()])
    }
}

pub fn produce_with(producer: &mut dyn Producer, records: Vec<Outgoing>) -> Vec<(i32, i64)> {
    let count = records.len();
    let mut reports = Vec::new();
    for (token, record) in records.into_iter().enumerate() {
        send(producer, record, token as u64, &mut reports);
    }
    until("delivery reports", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (reports.len() == count).then_some(())
    });
    reports.sort_by_key(|report| report.token);
    reports.into_iter().map(|report| report.result.expect("delivered")).collect()
}

pub fn send(
    producer: &mut dyn Producer,
    mut record: Outgoing,
    token: u64,
    reports: &mut Vec<amoskys_bus::DeliveryReport>,
) {
    loop {
        match producer.send(record, token) {
            Ok(()) => return,
            Err(SendError::QueueFull(back)) => {
                record = back;
                producer.poll(Duration::from_millis(10), reports);
            }
            Err(SendError::Failed(error)) => panic!("not sent: {error}"),
        }
    }
}

/// Calls `step` until it gives something; panics when that takes too long.
pub fn until<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = step() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
    }
}

/// Polls a member that reads nothing until `count` partitions were assigned to it.
pub fn assigned(member: &mut dyn Member, count: usize) -> Vec<Assignment> {
    let mut all = Vec::new();
    until("assignment", || {
        for change in poll(member) {
            match change {
                Change::Assigned(new) => all.extend(new),
                Change::Lost(gone) | Change::Revoked(gone) => {
                    all.retain(|a: &Assignment| !gone.contains(&a.partition));
                }
                Change::End { .. } => {}
            }
        }
        (all.len() == count).then_some(())
    });
    all.sort_by(|a, b| a.partition.cmp(&b.partition));
    all
}

/// One short poll; what can be retried is.
pub fn poll(member: &mut dyn Member) -> Vec<Change> {
    match member.poll(Duration::from_millis(50), 1000, &mut |_| {}) {
        Ok(changes) => changes,
        Err(error) if error.retryable() => Vec::new(),
        Err(error) => panic!("poll: {error}"),
    }
}

/// Commits, polling and trying again while that may help.
pub fn commit(
    member: &mut dyn Member,
    outputs: &[Outgoing],
    positions: &[(TopicPartition, amoskys_bus::Position)],
) -> Result<(), BusError> {
    until("a commit", || match member.commit(outputs, positions) {
        Err(error) if error.retryable() => {
            poll(member);
            None
        }
        done => Some(done),
    })
}
