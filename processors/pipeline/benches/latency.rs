//! How long after the watermark has passed a window's end a reader has its rows: 100,000 events per second, live, through
//! real Kafka on the same machine; query A over 5 s/1 s, by 10,000 keys in 4 partitions, envelopes of 500 events.
//!
//! Run: `cargo bench --workspace --profile dev --bench latency -- [SECONDS [EVENTS_PER_SECOND]]`. A time is measured for
//! every window and partition: from just before the envelope is handed to the producer whose event takes the watermark
//! past the window's end, to when a reader with `read_committed` has the last of the window's rows. So it holds
//! producing, the broker, the worker, the commit and the reader, and is more than what the worker takes. Making and
//! signing events is done by this process, too.

#[allow(dead_code, reason = "the other benchmarks' plan is not wanted here, the events are")]
mod load;

use amoskys_bus::{
    Bus, BusOptions, Delivery, MemberOptions, Outgoing, ReaderOptions, Security, TopicPartition, TopicSpec,
    testing::{KafkaBroker, KafkaOptions},
};
use amoskys_pipeline::{
    run::{Metrics, Worker, WorkerOptions},
    sql::{self, Dataflow},
};
use amoskys_proto::{KeyRing, Signer};
use load::{AGGREGATES, Event, FINDINGS, Load, Population, SCHEMA, TOPIC, pool};
use prometheus_client::registry::Registry;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const PARTITIONS: usize = 4;
const LATENESS_NS: i64 = 2_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;
/// Windows that are not counted: joining the group, and those that were not full.
const WARM_WINDOWS: i64 = 12;
/// A key has 50 events in a window; so many and more has one in sixty.
const FOUND_FROM: u32 = 66;

/// By partition and the window's end.
type Times = HashMap<(usize, i64), Instant>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let seconds: u64 = arguments.first().map_or(60, |text| text.parse().expect("seconds"));
    let events_per_second: u64 = arguments.get(1).map_or(100_000, |text| text.parse().expect("events per second"));
    println!("| {events_per_second} events/s | windows | rows | p50 | p90 | p99 | most |");
    println!("|---|---|---|---|---|---|---|");
    for (name, delivery) in [("exactly once", Delivery::ExactlyOnce), ("at least once", Delivery::AtLeastOnce)] {
        // A broker of its own, so that there is nothing to catch up on.
        let broker = KafkaBroker::start_with(KafkaOptions { heap: "512m".into(), ..KafkaOptions::default() });
        run(&open(&broker), name, delivery, seconds, events_per_second);
    }
}

fn open(broker: &KafkaBroker) -> Arc<dyn Bus> {
    let options = BusOptions {
        address: broker.address(),
        security: Security::default(),
        client_id: "latency".into(),
        extra: Vec::new(),
    };
    let bus = amoskys_bus::open(&options).expect("the log opens");
    for (name, partitions) in [(TOPIC, PARTITIONS as i32), (FINDINGS, 1), ("amoskys.deadletter.v1", 1)] {
        let spec = TopicSpec { name: name.into(), partitions, replication: 1, settings: Vec::new() };
        bus.create_topic(&spec).expect("the topic is created");
    }
    bus
}

fn run(bus: &Arc<dyn Bus>, name: &str, delivery: Delivery, seconds: u64, events_per_second: u64) {
    let signer = Signer::generate().expect("random bytes");
    let keys = KeyRing::of([signer.public()]);
    let stop = Arc::new(AtomicBool::new(false));
    let member = MemberOptions { delivery, ..MemberOptions::new(format!("latency-{delivery:?}"), Vec::new()) };
    let options = WorkerOptions { verify: amoskys_pipeline::run::Verify::by(keys), ..WorkerOptions::new(member) };
    let metrics = Metrics::register(&mut Registry::default());
    let mut worker = Worker::new(bus.clone(), plan(), options, metrics.clone()).expect("a worker");
    let worker = {
        let stop = stop.clone();
        thread::spawn(move || worker.run(&stop))
    };
    let (arrived, rows) = (Arc::new(Mutex::new(Times::new())), Arc::new(Mutex::new(0u64)));
    let reader = {
        let (bus, stop, arrived, rows) = (bus.clone(), stop.clone(), arrived.clone(), rows.clone());
        thread::spawn(move || read(bus.as_ref(), &stop, &arrived, &rows))
    };
    let passed = produce(bus.as_ref(), signer, seconds, events_per_second);
    thread::sleep(Duration::from_secs(3));
    stop.store(true, Ordering::Relaxed);
    worker.join().expect("no panic").expect("the worker ends in good order");
    reader.join().expect("no panic");
    assert_eq!(metrics.late_rows.get() + metrics.dead_records.get() + metrics.quarantined_rows.get(), 0);

    let arrived = arrived.lock().expect("not poisoned");
    let first_ns = passed.keys().map(|(_, end_ns)| *end_ns).min().expect("windows") + WARM_WINDOWS * SECOND_NS;
    let counted = passed.iter().filter(|((_, end_ns), _)| *end_ns >= first_ns);
    let times = counted.filter_map(|(window, passed)| Some(arrived.get(window)?.duration_since(*passed)));
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let quantile = |of: usize| times[(times.len() - 1) * of / 100].as_secs_f64() * 1e3;
    println!(
        "| {name} | {} | {} | {:.0} ms | {:.0} ms | **{:.0} ms** | {:.0} ms |",
        times.len(),
        rows.lock().expect("not poisoned"),
        quantile(50),
        quantile(90),
        quantile(99),
        quantile(100),
    );
}

/// Query A with the window's end among its columns.
fn plan() -> Dataflow {
    let text = format!(
        "CREATE EXTERNAL TABLE syscalls STORED AS ENVELOPE LOCATION '{TOPIC}'
         OPTIONS (message '{SCHEMA}', event_time 'event_time', lateness '2s', partition_key 'host');
         CREATE EXTERNAL TABLE findings (host VARCHAR, pid BIGINT, events BIGINT, failures BIGINT, end_ns BIGINT)
         STORED AS JSON LOCATION '{FINDINGS}' OPTIONS (partition_key 'host');
         CREATE VIEW per_process AS
         SELECT host, pid, hop(event_time, INTERVAL '1 second', INTERVAL '5 seconds') AS win, {AGGREGATES}
         FROM syscalls GROUP BY host, pid, win;
         INSERT INTO findings SELECT host, pid, events, failures, CAST(win.end AS BIGINT) AS end_ns FROM per_process
         WHERE events >= {FOUND_FROM} AND bytes_sum + bytes_max + duration_sum + ret_max + flags_max > 0;"
    );
    let sources = sql::Sources::of("latency.sql", text);
    let options = sql::Options {
        pool: pool(),
        models: Arc::new(|name: &str| Err(format!("there is no model `{name}`"))),
        wanted: sql::Wanted::Inserts,
    };
    sql::plan(&sources, &options).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Produces in time; when each window's end was passed.
fn produce(bus: &dyn Bus, signer: Signer, seconds: u64, events_per_second: u64) -> Times {
    let mut producer = bus.producer(&Default::default()).expect("a producer");
    let mut load = Load::new(signer, PARTITIONS, Population::USUAL);
    load.events_per_second = events_per_second;
    load.now_ns = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let (begun, begun_ns) = (Instant::now(), load.now_ns);
    let (mut passed, mut watermarks_ns, mut reports) = (Times::new(), [i64::MIN; PARTITIONS], Vec::new());
    let mut token = 0;
    while load.now_ns - begun_ns < seconds * SECOND_NS as u64 {
        let (partition, events) = load.next_events();
        let payload = load.envelope(&events);
        let due = Duration::from_nanos(load.now_ns - begun_ns);
        while let Some(left) = due.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            producer.poll(left.min(Duration::from_millis(2)), &mut reports);
        }
        let watermark_ns = events.iter().map(time_ns).max().expect("events") - LATENESS_NS;
        let before_ns = watermarks_ns[partition];
        watermarks_ns[partition] = watermark_ns.max(before_ns);
        if before_ns.div_euclid(SECOND_NS) < watermark_ns.div_euclid(SECOND_NS) {
            passed.insert((partition, watermark_ns.div_euclid(SECOND_NS) * SECOND_NS), Instant::now());
        }
        let record = Outgoing {
            topic: TOPIC.into(),
            partition: Some(partition as i32),
            key: None,
            payload,
            headers: Vec::new(),
        };
        token += 1;
        producer.send(record, token).unwrap_or_else(|_| panic!("the producer has room"));
    }
    while producer.in_flight() > 0 {
        producer.poll(Duration::from_millis(20), &mut reports);
    }
    assert!(reports.iter().all(|report| report.result.is_ok()), "every envelope is acknowledged");
    passed
}

fn time_ns(event: &Event) -> i64 {
    event.event_time.as_ref().map_or(0, |time| time.seconds * SECOND_NS + i64::from(time.nanos))
}

/// Notes when the last row of each window came.
fn read(bus: &dyn Bus, stop: &AtomicBool, arrived: &Mutex<Times>, rows: &Mutex<u64>) {
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let findings = TopicPartition { topic: FINDINGS.into(), partition: 0 };
    let (_, end) = reader.bounds(&findings).expect("bounds");
    reader.assign(&findings, end).expect("assigned");
    while !stop.load(Ordering::Relaxed) {
        let polled = reader.poll(Duration::from_millis(20), 1_000, &mut |record| {
            let now = Instant::now();
            let row: serde_json::Value = serde_json::from_slice(record.payload).expect("a row");
            let host = row["host"].as_str().and_then(|host| host.get(5..9)?.parse::<usize>().ok()).expect("a host");
            let end_ns = row["end_ns"].as_i64().expect("a time");
            arrived.lock().expect("not poisoned").insert((host % PARTITIONS, end_ns), now);
            *rows.lock().expect("not poisoned") += 1;
        });
        polled.expect("reads");
    }
}
