//! A processor is killed at random moments under load; what it wrote equals what an undisturbed one writes: nothing
//! missing, nothing twice, floats bit for bit, rows in the same records. On the embedded log, on real Kafka and on a real NATS server. With
//! `at_least_once`, on both brokers: nothing missing, and what is there twice is the same output, by its bits and its id.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{
    Bus, Outgoing, TopicPartition,
    testing::{KafkaBroker, NatsServer},
};
use common::{PATIENCE, create, create_panes, open, processor::Processor, produce, read_all, read_records};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 4;
const ROWS_PER_PARTITION: i64 = 15_000;
const KILLS: usize = 8;
/// Of the topic that groups are sent through.
const SHUFFLED: i32 = 3;
const BASE_MS: i64 = 1_600_000_000_000;

/// The topics that a run writes.
fn written(run: &str) -> [String; 3] {
    ["features", "marks", "packed"].map(|name| format!("{name}_{run}"))
}

/// Features of short windows and of one longer than what may be read again, with floats; of groups that lie in all
/// partitions, ranked over all, of which one is that long; sessions of both kinds; and a row-wise output (each row its own, by its random `bytes`) that ends with a mark
/// in each partition.
fn sql(folder: &Path, run: &str) -> PathBuf {
    let text = format!(
        "CREATE EXTERNAL TABLE events (host VARCHAR, user VARCHAR, at TIMESTAMP, bytes DOUBLE, mark BOOLEAN)
         STORED AS JSON LOCATION 'events' OPTIONS (event_time 'at', lateness '2s', replay_max '1500ms', partition_key 'host');
         CREATE EXTERNAL TABLE features (host VARCHAR, user VARCHAR, start TIMESTAMP, n BIGINT, total DOUBLE, mean DOUBLE,
                                         spread DOUBLE, p90 DOUBLE)
         STORED AS JSON LOCATION 'features_{run}' OPTIONS (partition_key 'host');
         CREATE EXTERNAL TABLE marks (host VARCHAR, at TIMESTAMP, bytes DOUBLE, mark BOOLEAN) STORED AS JSON LOCATION 'marks_{run}'
         OPTIONS (partition_key 'host');
         CREATE EXTERNAL TABLE packed (user VARCHAR, host VARCHAR, start TIMESTAMP, n BIGINT, total DOUBLE)
         STORED AS ARROW LOCATION 'packed_{run}' OPTIONS (partition_key 'user', record_rows_max '3');
         CREATE VIEW per_user AS
         SELECT host, user, hop(at, INTERVAL '1 second', INTERVAL '5 seconds') AS win, count(*) AS n, sum(bytes) AS total,
                avg(bytes) AS mean, stddev(bytes) AS spread, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY bytes) AS p90
         FROM events GROUP BY host, user, win;
         CREATE VIEW per_host AS
         SELECT host, hop(at, INTERVAL '1 second', INTERVAL '25 seconds') AS win, count(*) AS n, sum(bytes) AS total,
                avg(bytes) AS mean, stddev(bytes) AS spread, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY bytes) AS p90
         FROM events GROUP BY host, win;
         CREATE VIEW everywhere AS
         SELECT user, hop(at, INTERVAL '1 second', INTERVAL '3 seconds') AS win, count(*) AS n, sum(bytes) AS total,
                avg(bytes) AS mean, stddev(bytes) AS spread, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY bytes) AS p90
         FROM events GROUP BY user, win;
         CREATE VIEW busiest AS
         SELECT user, hop(at, INTERVAL '2 seconds', INTERVAL '20 seconds') AS win, count(*) AS n, sum(bytes) AS total
         FROM events GROUP BY user, win;
         CREATE VIEW visits AS
         SELECT host, user, session(at, INTERVAL '40 milliseconds', INTERVAL '4 seconds') AS win, count(*) AS n, sum(bytes) AS total,
                avg(bytes) AS mean, stddev(bytes) AS spread, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY bytes) AS p90
         FROM events WHERE bytes > 0.6 GROUP BY host, user, win;
         CREATE VIEW visits_everywhere AS
         SELECT user, session(at, INTERVAL '20 milliseconds', INTERVAL '3 seconds') AS win, count(*) AS n, sum(bytes) AS total
         FROM events WHERE bytes > 0.6 GROUP BY user, win;
         INSERT INTO features SELECT 'visits' AS host, concat(host, user, win.end) AS user, win.start AS start, n, total, mean, spread, p90
         FROM visits;
         INSERT INTO features SELECT 'everywhere-visits' AS host, concat(user, win.end) AS user, win.start AS start, n, total
         FROM visits_everywhere;
         INSERT INTO features SELECT 'everywhere' AS host, user, win.start AS start, n, total, mean, spread, p90 FROM everywhere;
         INSERT INTO features SELECT 'busiest' AS host, user, win.start AS start, n, total FROM busiest
         ORDER BY total DESC LIMIT 3;
         INSERT INTO features SELECT host, 'all' AS user, win.start AS start, n, total, mean, spread, p90 FROM per_host;
         INSERT INTO features SELECT host, user, win.start AS start, n, total, mean, spread, p90 FROM per_user;
         INSERT INTO packed SELECT user, host, win.start AS start, n, total FROM per_user;
         INSERT INTO marks SELECT host, at, bytes, mark FROM events WHERE mark OR bytes > 0.999;"
    );
    let path = folder.join(format!("{run}.sql"));
    fs::write(&path, text).expect("written");
    path
}

/// The rows of one partition: 40 s of event time, up to 3 s out of order (so some are late), then a mark an hour later
/// that closes every window.
fn rows(seed: u64, partition: i32) -> Vec<Outgoing> {
    let mut random = StdRng::seed_from_u64(seed ^ partition as u64);
    let base_ms = BASE_MS;
    let mut rows: Vec<Outgoing> = (0..ROWS_PER_PARTITION)
        .map(|row| {
            let at = base_ms + row * 40_000 / ROWS_PER_PARTITION - random.random_range(0..3_000);
            record(partition, random.random_range(0..20), at, random.random(), false)
        })
        .collect();
    rows.push(record(partition, 0, base_ms + 3_600_000, 0.0, true));
    rows
}

fn record(partition: i32, user: u32, at_ms: i64, bytes: f64, mark: bool) -> Outgoing {
    let payload = serde_json::json!({
        "host": format!("h{partition}"), "user": format!("u{user}"), "bytes": bytes, "mark": mark,
        "at": iso(at_ms),
    });
    Outgoing {
        topic: "events".into(),
        partition: Some(partition),
        key: Some(format!("h{partition}").into_bytes()),
        payload: payload.to_string().into_bytes(),
        headers: Vec::new(),
    }
}

fn iso(at_ms: i64) -> String {
    let time = arrow::temporal_conversions::timestamp_ms_to_datetime(at_ms).expect("in range");
    time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

/// How often each output stands in the log.
fn outputs(bus: &dyn Bus, run: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for topic in written(run) {
        for payload in read_all(bus, &topic, PARTITIONS).into_iter().flatten() {
            let payload =
                String::from_utf8(payload).unwrap_or_else(|bytes| bytes.as_bytes().escape_ascii().to_string());
            let text = format!("{} {payload}", topic.split('_').next().unwrap_or_default());
            *counts.entry(text).or_default() += 1;
        }
    }
    counts
}

/// The ids of each output of a run, as its record's header has them.
fn ids(bus: &dyn Bus, run: &str) -> BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> {
    let mut ids: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for topic in written(run) {
        for partition in 0..PARTITIONS {
            read_records(bus, &TopicPartition { topic: topic.clone(), partition }, &mut |record| {
                let id = record.headers.iter().find(|(name, _)| *name == "amoskys-id").expect("an id");
                ids.entry(record.payload.to_vec()).or_default().insert(id.1.to_vec());
            });
        }
    }
    ids
}

fn is_complete(outputs: &BTreeMap<String, usize>) -> bool {
    let marks = outputs.keys().filter(|text| text.starts_with("marks") && text.contains("\"mark\":true"));
    marks.count() == PARTITIONS as usize
}

fn prepare(bus: &dyn Bus) {
    create(bus, "events", PARTITIONS);
    create(bus, "amoskys.deadletter.v1", 1);
    create_panes(bus, PARTITIONS);
    for run in ["calm", "killed"] {
        written(run).iter().for_each(|topic| create(bus, topic, PARTITIONS));
        create(bus, &shuffle_topic(run), SHUFFLED);
    }
}

fn shuffle_topic(run: &str) -> String {
    format!("amoskys.shuffle.{run}.events.v1")
}

fn compare(calm: &BTreeMap<String, usize>, killed: &BTreeMap<String, usize>, seed: u64) {
    assert!(calm.len() > 1_000, "only {} outputs", calm.len());
    assert!(calm.values().all(|count| *count == 1), "the undisturbed run wrote something twice");
    for sent in ["\"everywhere\"", "\"busiest\"", "\"visits\"", "\"everywhere-visits\""] {
        assert!(calm.keys().filter(|text| text.contains(sent)).count() > 50, "{sent}");
    }
    assert!(calm.keys().filter(|text| text.starts_with("packed")).count() > 500, "rows that share records");
    for (text, count) in killed {
        assert_eq!((calm.get(text), *count), (Some(&1), 1), "seed {seed}: written {count} times: {text}");
    }
    for text in calm.keys() {
        assert!(killed.contains_key(text), "seed {seed}: missing: {text}");
    }
}

fn seed() -> u64 {
    let seed = std::env::var("AMOSKYS_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("AMOSKYS_TEST_SEED={seed}");
    seed
}

/// Under one name, so that what follows a killed one takes over at once.
fn start(sql: &Path, bus: &str, run: &str) -> Processor {
    start_with(sql, bus, run, "exactly_once")
}

fn start_with(sql: &Path, bus: &str, run: &str, delivery: &str) -> Processor {
    Processor::start(sql, bus, run, |command| {
        command.args(["--instance", run]).env("AMOSKYS_PROCESSOR_DELIVERY", delivery);
        // Who is behind commits no sooner than this; most are killed within a second.
        command.env("AMOSKYS_PROCESSOR_COMMIT_INTERVAL", "200ms");
    })
}

/// At random moments, and then later and later until panes are kept, so that who comes next has some to go on with.
fn kill(start: &dyn Fn() -> Processor, random: &mut StdRng, keeps_panes: &dyn Fn() -> bool) {
    for _ in 0..KILLS {
        let _running = start();
        thread::sleep(Duration::from_millis(random.random_range(200..1_500)));
    }
    let mut longer = Duration::from_secs(2);
    while !keeps_panes() {
        assert!(longer < PATIENCE, "no panes were kept");
        let _running = start();
        thread::sleep(longer);
        longer *= 2;
    }
}

fn keeps_panes(bus: &dyn Bus) -> bool {
    read_all(bus, "amoskys.panes.v1", PARTITIONS).iter().any(|payloads| !payloads.is_empty())
}

/// Runs until every partition's mark is written.
fn run_to_its_end(start: &dyn Fn() -> Processor, is_done: &dyn Fn() -> bool) -> Processor {
    let mut running = start();
    let deadline = Instant::now() + PATIENCE;
    while !is_done() {
        assert!(Instant::now() < deadline, "the run did not come to its end");
        thread::sleep(Duration::from_millis(200));
    }
    until_all_is_merged(&mut running);
    running
}

fn until_all_is_merged(running: &mut Processor) {
    // The last mark closes all windows before it.
    running.until_merged(SHUFFLED as usize, (BASE_MS + 3_600_000 - 2_000) * 1_000_000);
}

/// Who comes after a kill goes on with the panes of the long windows, and does not read them again.
fn check_restored(processor: &mut Processor) {
    let number = |metrics: &str, name: &str| {
        let line =
            metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {metrics}"));
        line.rsplit_once(' ').and_then(|(_, number)| number.parse::<i32>().ok()).expect("a number")
    };
    processor.until("partitions have their panes", |processor| {
        let Some((_, metrics)) = processor.get("/metrics") else { return false };
        assert_eq!(number(&metrics, "amoskys_processor_not_restored_partitions_total"), 0);
        number(&metrics, "amoskys_processor_restored_partitions_total") > 0
    });
}

#[test]
fn kills_change_nothing_on_kafka() {
    let broker = KafkaBroker::start();
    kills_change_nothing_on(broker.address().to_string());
}

#[test]
fn kills_change_nothing_on_nats() {
    let server = NatsServer::start();
    kills_change_nothing_on(server.address().to_string());
}

#[test]
fn kills_lose_nothing_at_least_once_on_kafka() {
    let broker = KafkaBroker::start();
    kills_lose_nothing_on(broker.address().to_string());
}

#[test]
fn kills_lose_nothing_at_least_once_on_nats() {
    let server = NatsServer::start();
    kills_lose_nothing_on(server.address().to_string());
}

fn kills_change_nothing_on(address: String) {
    let (bus, seed) = runs_on(address, "exactly_once");
    compare(&outputs(bus.as_ref(), "calm"), &outputs(bus.as_ref(), "killed"), seed);
}

fn kills_lose_nothing_on(address: String) {
    let (bus, seed) = runs_on(address, "at_least_once");
    let (calm, killed) = (outputs(bus.as_ref(), "calm"), outputs(bus.as_ref(), "killed"));
    // What is there more than once is one line here.
    let once = killed.keys().map(|text| (text.clone(), 1)).collect();
    compare(&calm, &once, seed);
    let repeated = killed.values().filter(|count| **count > 1).count();
    println!("{repeated} of {} outputs were written again", killed.len());
    for (payload, ids) in ids(bus.as_ref(), "killed") {
        assert_eq!(ids.len(), 1, "seed {seed}: ids of {}", String::from_utf8_lossy(&payload));
    }
}

/// Runs with kills, and without and exactly once, on a log that several may have open.
fn runs_on(address: String, delivery: &str) -> (Arc<dyn Bus>, u64) {
    let seed = seed();
    let bus = open(&address);
    prepare(bus.as_ref());
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(seed);
    // Under load: half of the input comes while processors are killed.
    let input: Vec<Vec<Outgoing>> = (0..PARTITIONS).map(|partition| rows(seed, partition)).collect();
    let halves = |first: bool| -> Vec<Outgoing> {
        let half = ROWS_PER_PARTITION as usize / 2;
        input.iter().flat_map(|rows| if first { &rows[..half] } else { &rows[half..] }).cloned().collect()
    };
    produce(bus.as_ref(), halves(true));
    thread::scope(|scope| {
        let second = halves(false);
        let loading = open(&address);
        scope.spawn(move || {
            for part in second.chunks(3_000) {
                produce(loading.as_ref(), part.to_vec());
                thread::sleep(Duration::from_millis(300));
            }
        });
        let path = sql(folder.path(), "killed");
        let done = || is_complete(&outputs(bus.as_ref(), "killed"));
        let start = || start_with(&path, &address, "killed", delivery);
        kill(&start, &mut random, &|| keeps_panes(bus.as_ref()));
        let mut last = run_to_its_end(&start, &done);
        // Where outputs and positions are not written together, panes may be there of which the position knows nothing.
        if delivery == "exactly_once" {
            check_restored(&mut last);
        }
        last.terminate();
    });
    let path = sql(folder.path(), "calm");
    let done = || is_complete(&outputs(bus.as_ref(), "calm"));
    run_to_its_end(&|| start(&path, &address, "calm"), &done).terminate();
    (bus, seed)
}

#[test]
fn kills_change_nothing_on_the_embedded_log() {
    let seed = seed();
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(seed);
    let address = format!("local:{}", folder.path().join("log").display());
    {
        let bus = open(&address);
        prepare(bus.as_ref());
        produce(bus.as_ref(), (0..PARTITIONS).flat_map(|partition| rows(seed, partition)));
    }
    for run in ["killed", "calm"] {
        let path = sql(folder.path(), run);
        if run == "killed" {
            kill(&|| start(&path, &address, run), &mut random, &|| keeps_panes(open(&address).as_ref()));
        }
        // The log belongs to the processor while it runs, so that it has read everything is seen in its state.
        let mut processor = start(&path, &address, run);
        processor.until_read("events", &[ROWS_PER_PARTITION + 1; PARTITIONS as usize]);
        until_all_is_merged(&mut processor);
        if run == "killed" {
            check_restored(&mut processor);
        }
        processor.terminate();
        assert!(is_complete(&outputs(open(&address).as_ref(), run)), "what was read was not written");
    }
    let bus = open(&address);
    compare(&outputs(bus.as_ref(), "calm"), &outputs(bus.as_ref(), "killed"), seed);
}
