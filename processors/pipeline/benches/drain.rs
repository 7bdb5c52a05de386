//! How fast a worker drains a topic of real Kafka, the broker on the same machine: query A over 5 s/1 s, by 10,000
//! keys in 4 partitions, envelopes of 500 events.
//!
//! Run: `cargo bench --workspace --profile dev --bench drain -- [MILLION_EVENTS [PASSES]]`. Starts its own broker (heap
//! 512 MB), writes the events once and reads them again with a fresh group per pass, exactly once. The first pass over
//! a topic is slower and is shown as such. Counted from the first rows computed to the last, so that joining the group
//! is not in it. CPU of this process is of all its threads, librdkafka's and the commits included; "cores elsewhere" is
//! what other processes took meanwhile, the broker left out: a pass in which they took much says little.

mod load;
mod machine;

use amoskys_bus::{
    Bus, BusOptions, MemberOptions, Outgoing, Producer, ReaderOptions, Security, SendError, TopicPartition, TopicSpec,
    testing::{KafkaBroker, KafkaOptions},
};
use amoskys_pipeline::run::{Metrics, Verify, Worker, WorkerOptions};
use amoskys_proto::{KeyRing, Signer};
use load::{AGGREGATES, EVENTS_PER_ENVELOPE, FINDINGS, Load, Population, TOPIC, plan};
use machine::{Moment, broker_process};
use prometheus_client::registry::Registry;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const PARTITIONS: usize = 4;
const DEAD_LETTERS: &str = "amoskys.deadletter.v1";
/// A key has 50 events in a window; no key has this many.
const NEVER: u32 = 200;
/// About one key in 5,000 has more, so each second of event time has findings in every partition.
const SOMETIMES: u32 = 75;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let millions: u64 = arguments.first().map_or(12, |text| text.parse().expect("millions of events"));
    let passes: usize = arguments.get(1).map_or(2, |text| text.parse().expect("passes"));
    // The delay lets all workers of a pass be there when partitions are given out.
    let settings = vec![("group.initial.rebalance.delay.ms".to_owned(), "1000".to_owned())];
    let broker = KafkaBroker::start_with(KafkaOptions { heap: "512m".into(), settings, ..KafkaOptions::default() });
    let bus = amoskys_bus::open(&BusOptions {
        address: broker.address(),
        security: Security::default(),
        client_id: "drain".into(),
        extra: Vec::new(),
    });
    let bus = bus.expect("the log opens");
    let signer = Signer::generate().expect("random bytes");
    let required = Verify::by(KeyRing::of([signer.public()]));
    let records = millions * 1_000_000 / EVENTS_PER_ENVELOPE as u64;
    let bytes = preload(bus.as_ref(), signer, records);
    println!("{millions} M events in {records} envelopes, {} bytes per event", bytes / records / 500);

    let bench = Bench { bus, events: records * EVENTS_PER_ENVELOPE as u64, broker: broker_process() };
    println!("| pass | events/s | CPU-s per million events | broker's | cores elsewhere | findings | commits |");
    println!("|---|---|---|---|---|---|---|");
    bench.pass("first over the topic", 1, &Verify::Off, NEVER);
    for _ in 0..passes {
        bench.read_only();
        for (workers, who) in [(1, "1 worker"), (2, "2 workers")] {
            bench.pass(&format!("{who}, signatures off"), workers, &Verify::Off, NEVER);
            bench.pass(&format!("{who}, signatures required"), workers, &required, NEVER);
        }
        bench.pass("1 worker, off, findings every second", 1, &Verify::Off, SOMETIMES);
    }
}

struct Bench {
    bus: Arc<dyn Bus>,
    events: u64,
    /// Process id of the broker.
    broker: u32,
}

impl Bench {
    fn now(&self, events: u64) -> Moment {
        Moment::now(self.broker, events)
    }

    fn row(&self, name: &str, from: Moment, to: Moment, rest: &str) {
        println!("| {name} | {} | {rest} |", from.row_until(&to));
    }

    /// Drains the topic by a fresh group of so many workers, each a thread, as processors of one group are.
    fn pass(&self, name: &str, workers: usize, verify: &Verify, events_min: u32) {
        let metrics = Metrics::register(&mut Registry::default());
        let group = format!("drain-{}", now_ns());
        let stop = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let member = MemberOptions::new(group.clone(), Vec::new());
            let options = WorkerOptions { verify: verify.clone(), ..WorkerOptions::new(member) };
            let dataflow = plan(AGGREGATES, &[5], events_min);
            let mut worker = Worker::new(self.bus.clone(), dataflow, options, metrics.clone()).expect("a worker");
            let stop = stop.clone();
            let thread = thread::Builder::new().name("worker".into());
            thread.spawn(move || worker.run(&stop)).expect("a thread")
        };
        let running: Vec<_> = (0..workers).map(start).collect();
        let reached = |events: u64| {
            while metrics.rows.get() < events {
                assert!(!running.iter().any(|worker| worker.is_finished()), "a worker ended before the topic did");
                thread::sleep(Duration::from_millis(1));
            }
            self.now(metrics.rows.get())
        };
        let (from, to) = (reached(1), reached(self.events));
        stop.store(true, Ordering::Relaxed);
        for worker in running {
            worker.join().expect("a worker does not panic").expect("a worker ends in good order");
        }
        assert_eq!(metrics.dead_records.get() + metrics.late_rows.get() + metrics.quarantined_rows.get(), 0);
        assert!(metrics.closed_windows.get() > 0, "windows close");
        let commits = commits(&metrics);
        self.row(name, from, to, &format!("{} | {commits}", metrics.emitted_rows.get()));
    }

    /// What reading alone costs: the same records through the same interface, and nothing done with them.
    fn read_only(&self) {
        let mut reader = self.bus.reader(&ReaderOptions::default()).expect("a reader");
        for partition in 0..PARTITIONS as i32 {
            let partition = TopicPartition { topic: TOPIC.into(), partition };
            reader.assign(&partition, 0).expect("assigned");
        }
        let (mut records, mut from) = (0, None);
        while records * (EVENTS_PER_ENVELOPE as u64) < self.events {
            let polled = reader.poll(Duration::from_millis(20), 64, &mut |_| records += 1);
            polled.expect("records are read");
            from = from.or_else(|| (records > 0).then(|| self.now(records * EVENTS_PER_ENVELOPE as u64)));
        }
        let from = from.expect("there are records");
        self.row("reading only", from, self.now(self.events), "|");
    }
}

/// Writes the events; how many bytes they took.
fn preload(bus: &dyn Bus, signer: Signer, records: u64) -> u64 {
    for (name, partitions) in [(TOPIC, PARTITIONS as i32), (FINDINGS, 1), (DEAD_LETTERS, 1)] {
        let spec = TopicSpec { name: name.into(), partitions, replication: 1, settings: Vec::new() };
        bus.create_topic(&spec).expect("the topic is created");
    }
    let mut producer = bus.producer(&Default::default()).expect("a producer");
    let mut load = Load::new(signer, PARTITIONS, Population::USUAL);
    let mut bytes = 0;
    let mut reports = Vec::new();
    for token in 0..records {
        let (partition, payload) = load.next_envelope();
        bytes += payload.len() as u64;
        send(producer.as_mut(), partition as i32, payload, token, &mut reports);
    }
    while producer.in_flight() > 0 {
        producer.poll(Duration::from_millis(50), &mut reports);
    }
    assert_eq!(reports.iter().filter(|report| report.result.is_ok()).count() as u64, records);
    bytes
}

fn send(
    producer: &mut dyn Producer,
    partition: i32,
    payload: Vec<u8>,
    token: u64,
    reports: &mut Vec<amoskys_bus::DeliveryReport>,
) {
    let mut record =
        Outgoing { topic: TOPIC.into(), partition: Some(partition), key: None, payload, headers: Vec::new() };
    loop {
        record = match producer.send(record, token) {
            Ok(()) => return,
            Err(SendError::QueueFull(back)) => back,
            Err(SendError::Failed(error)) => panic!("a record was not taken: {error}"),
        };
        producer.poll(Duration::from_millis(10), reports);
    }
}

fn commits(metrics: &Metrics) -> u64 {
    let mut registry = Registry::default();
    registry.register("commits", "", metrics.commit_seconds.clone());
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a registry encodes");
    let count = text.lines().find_map(|line| line.strip_prefix("commits_count "));
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn now_ns() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos())
}
