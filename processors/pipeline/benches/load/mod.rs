//! What the pipeline's benchmarks run: system calls of 100 hosts with 100 processes each (10,000 keys; others can be had),
//! 100,000 per second of event time, up to 500 ms out of order, in envelopes of 500; and query A over them, 20 aggregates.
//!
//! The same numbers on every machine: the generator is seeded.

use amoskys_pipeline::sql::{self, Dataflow};
use amoskys_proto::{
    Signer,
    v1::{Envelope, EnvelopeHeader},
};
use prost::{Message, bytes::Bytes};
use prost_reflect::DescriptorPool;
use prost_types::Timestamp;
use std::sync::Arc;

pub const TOPIC: &str = "bench.syscalls";
pub const FINDINGS: &str = "bench.findings";
pub const EVENTS_PER_ENVELOPE: usize = 500;
pub const EVENTS_PER_SECOND: u64 = 100_000;

pub const SCHEMA: &str = "bench.SyscallBatch";
/// In the past, so that no clock is ahead of the log.
const START_MS: u64 = 1_750_000_000_000;
const NAMES: [&str; 20] = [
    "read", "write", "open", "close", "connect", "execve", "mmap", "mprotect", "ptrace", "clone", "fstat", "futex",
    "poll", "sendto", "recvfrom", "socket", "bind", "unlink", "rename", "setuid",
];

/// The 20 aggregates of query A.
pub const AGGREGATES: &str = "
    count(*) AS events,
    count(*) FILTER (WHERE name = 'execve') AS starts, count(*) FILTER (WHERE name = 'connect') AS connects,
    count(*) FILTER (WHERE name = 'open') AS opens, count(*) FILTER (WHERE ret < 0) AS failures,
    sum(bytes) AS bytes_sum, min(bytes) AS bytes_min, max(bytes) AS bytes_max, avg(bytes) AS bytes_avg,
    stddev(bytes) AS bytes_stddev,
    sum(duration_ns) AS duration_sum, min(duration_ns) AS duration_min, max(duration_ns) AS duration_max,
    avg(duration_ns) AS duration_avg, stddev(duration_ns) AS duration_stddev,
    min(ret) AS ret_min, max(ret) AS ret_max,
    sum(bytes) FILTER (WHERE name = 'read') AS bytes_read, sum(bytes) FILTER (WHERE name = 'write') AS bytes_written,
    max(flags) AS flags_max";
const COLUMNS: &str = "
    host VARCHAR, pid BIGINT, events BIGINT, starts BIGINT, connects BIGINT, opens BIGINT, failures BIGINT,
    bytes_sum DOUBLE, bytes_min DOUBLE, bytes_max DOUBLE, bytes_avg DOUBLE, bytes_stddev DOUBLE, duration_sum DOUBLE,
    duration_min DOUBLE, duration_max DOUBLE, duration_avg DOUBLE, duration_stddev DOUBLE, ret_min BIGINT,
    ret_max BIGINT, bytes_read DOUBLE, bytes_written DOUBLE, flags_max BIGINT";

/// `aggregates` over windows of each of `sizes_s` sliding by a second, by host and process; writes keys of more than
/// `events_min` events in a window.
pub fn plan(aggregates: &str, sizes_s: &[u32], events_min: u32) -> Dataflow {
    let hop = |size_s| format!("hop(event_time, INTERVAL '1 second', INTERVAL '{size_s} seconds')");
    plan_over(aggregates, &sizes_s.iter().map(hop).collect::<Vec<_>>(), events_min)
}

/// As above over each of these windows, as SQL writes them.
pub fn plan_over(aggregates: &str, windows: &[String], events_min: u32) -> Dataflow {
    let mut text = format!(
        "CREATE EXTERNAL TABLE syscalls STORED AS ENVELOPE LOCATION '{TOPIC}'
         OPTIONS (message '{SCHEMA}', event_time 'event_time', lateness '2s', replay_max '1h', partition_key 'host');
         CREATE EXTERNAL TABLE findings ({COLUMNS}) STORED AS JSON LOCATION '{FINDINGS}' OPTIONS (partition_key 'host');"
    );
    for (number, window) in windows.iter().enumerate() {
        text += &format!(
            "CREATE VIEW per_process_{number} AS
             SELECT host, pid, {window} AS win, {aggregates} FROM syscalls GROUP BY host, pid, win;
             INSERT INTO findings SELECT * EXCEPT (win) FROM per_process_{number} WHERE events > {events_min};"
        );
    }
    let sources = sql::Sources::of("bench.sql", text);
    let options = sql::Options {
        pool: pool(),
        models: Arc::new(|name: &str| Err(format!("there is no model `{name}`"))),
        wanted: sql::Wanted::Inserts,
    };
    match sql::plan(&sources, &options) {
        Ok(dataflow) => dataflow,
        Err(problems) => panic!("{problems}"),
    }
}

pub fn pool() -> DescriptorPool {
    // Benchmarks run in their package's folder.
    let set = protox::compile(["benches/load/syscall.proto"], ["benches/load"]).expect("the schema compiles");
    DescriptorPool::from_file_descriptor_set(set).expect("the schema is complete")
}

/// One system call.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    #[prost(uint32, tag = "3")]
    pub uid: u32,
    #[prost(string, tag = "4")]
    pub comm: String,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(int64, tag = "6")]
    pub ret: i64,
    #[prost(uint64, tag = "7")]
    pub duration_ns: u64,
    #[prost(uint64, tag = "8")]
    pub bytes: u64,
    #[prost(string, tag = "9")]
    pub dst_addr: String,
    #[prost(uint32, tag = "10")]
    pub dst_port: u32,
    #[prost(uint32, tag = "11")]
    pub flags: u32,
    #[prost(message, optional, tag = "12")]
    pub event_time: Option<Timestamp>,
}

/// Whose events they are.
#[derive(Debug, Clone, Copy)]
pub struct Population {
    pub hosts: u64,
    /// Of each host.
    pub processes: u64,
    /// Half of all events are of one process.
    pub has_hot_key: bool,
}

impl Population {
    /// 10,000 keys.
    pub const USUAL: Self = Self { hosts: 100, processes: 100, has_hot_key: false };

    /// Host and process of the next event.
    fn pick(&self, random: &mut Random) -> (u64, u64) {
        let is_hot = self.has_hot_key && random.below(2) == 0;
        if is_hot { (0, 0) } else { (random.below(self.hosts), random.below(self.processes)) }
    }
}

/// Events as hosts make them, gathered into an envelope per partition.
pub struct Load {
    random: Random,
    population: Population,
    signer: Signer,
    /// Of event time; may be changed at any time.
    pub events_per_second: u64,
    /// Event time has come this far; may be changed at any time.
    pub now_ns: u64,
    /// Events of each partition that are no envelope yet.
    gathered: Vec<Vec<Event>>,
    sequence: u64,
}

impl Load {
    pub fn new(signer: Signer, partitions: usize, population: Population) -> Self {
        let now_ns = START_MS * 1_000_000;
        let gathered = vec![Vec::new(); partitions];
        Self {
            random: Random(88_172_645_463_325_252),
            population,
            signer,
            events_per_second: EVENTS_PER_SECOND,
            now_ns,
            gathered,
            sequence: 0,
        }
    }

    /// The next full envelope: its partition and its bytes.
    pub fn next_envelope(&mut self) -> (usize, Vec<u8>) {
        let (partition, events) = self.next_events();
        (partition, self.envelope(&events))
    }

    /// The events that the next envelope holds, and its partition.
    pub fn next_events(&mut self) -> (usize, Vec<Event>) {
        loop {
            let (host, process) = self.population.pick(&mut self.random);
            let event = event(&mut self.random, host, process, self.now_ns / 1_000);
            self.now_ns += 1_000_000_000 / self.events_per_second;
            let partition = host as usize % self.gathered.len();
            let events = &mut self.gathered[partition];
            events.push(event);
            if events.len() == EVENTS_PER_ENVELOPE {
                return (partition, std::mem::take(events));
            }
        }
    }

    /// `events` (as many as an envelope has) in a signed envelope.
    pub fn envelope(&mut self, events: &[Event]) -> Vec<u8> {
        let mut payload = Vec::new();
        events.iter().for_each(|event| prost::encoding::message::encode(1, event, &mut payload));
        self.seal(Bytes::from(payload))
    }

    fn seal(&mut self, payload: Bytes) -> Vec<u8> {
        self.sequence += 1;
        let header = EnvelopeHeader {
            agent_id: "relay-1".into(),
            host_id: "relay-1".into(),
            boot_id: "4b2cbd0e-0f3c-4c39-9d3c-0d9a3f6f8f11".into(),
            sequence: self.sequence,
            schema: SCHEMA.into(),
            event_count: EVENTS_PER_ENVELOPE as u32,
            ..EnvelopeHeader::default()
        };
        let envelope: Envelope = self.signer.seal(header, payload);
        envelope.encode_to_vec()
    }
}

fn event(random: &mut Random, host: u64, process: u64, now_us: u64) -> Event {
    let at_us = now_us - random.below(500_000);
    let address = random.below(1000);
    Event {
        host: format!("host-{host:04}.prod"),
        pid: 1_000 + process as u32 * 37,
        uid: 1_000 + random.below(50) as u32,
        comm: format!("worker-{:03}", random.below(50)),
        name: NAMES[random.below(20) as usize].to_owned(),
        ret: if random.below(10) == 0 { -(random.below(40) as i64) } else { random.below(70_000) as i64 },
        duration_ns: 1 << random.below(24) | random.below(1000),
        bytes: random.below(1 << 16),
        dst_addr: format!("10.{}.{}.{}", 100 + address % 7, address % 251, address % 199),
        dst_port: random.below(65_536) as u32,
        flags: random.below(1 << 20) as u32,
        event_time: Some(Timestamp { seconds: (at_us / 1_000_000) as i64, nanos: (at_us % 1_000_000 * 1_000) as i32 }),
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8) % n
    }
}
