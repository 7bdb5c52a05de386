//! Other SQL under a running processor, on real Kafka and NATS, while rows come. Windows that are unchanged have no gap
//! and no duplicate, new ones are whole from the first on, wrong SQL changes nothing, and a restart with other SQL does the same.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{
    Bus, Outgoing,
    testing::{KafkaBroker, NatsServer},
};
use common::{create, open, processor::Processor, produce, read_all, telemetry::iso};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs};

const PARTITIONS: i32 = 2;
const ROWS_PER_SECOND: i64 = 50;
const BASE_MS: i64 = 1_600_000_000_000;

const STREAMS: &str = "
    CREATE EXTERNAL TABLE events (host VARCHAR, at TIMESTAMP, number BIGINT) STORED AS JSON LOCATION 'events'
    OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
    CREATE EXTERNAL TABLE counts (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'counts'
    OPTIONS (partition_key 'host');
    CREATE EXTERNAL TABLE seen (host VARCHAR, number BIGINT) STORED AS JSON LOCATION 'seen'
    OPTIONS (partition_key 'host');";
const SHORT: &str = "
    CREATE VIEW per_host AS
    SELECT host, hop(at, INTERVAL '1 second', INTERVAL '5 seconds') AS win, count(*) AS n FROM events GROUP BY host, win;
    INSERT INTO counts SELECT host, win.start AS start, n FROM per_host;
    INSERT INTO seen SELECT host, number FROM events;";
/// Twenty seconds where the other windows have five, of rows that these leave out as well as of all.
const LONG: &str = "
    CREATE EXTERNAL TABLE long_counts (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'long'
    OPTIONS (partition_key 'host');
    INSERT INTO long_counts SELECT host, win.start AS start, n FROM (
        SELECT host, hop(at, INTERVAL '1 second', INTERVAL '20 seconds') AS win, count(*) AS n FROM events GROUP BY host, win);";
/// Another topic is read.
const OTHER: &str = "
    CREATE EXTERNAL TABLE others (host VARCHAR, at TIMESTAMP) STORED AS JSON LOCATION 'others'
    OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
    CREATE EXTERNAL TABLE other_hosts (host VARCHAR) STORED AS JSON LOCATION 'other.hosts' OPTIONS (partition_key 'host');
    INSERT INTO other_hosts SELECT host FROM others;";

fn record(topic: &str, partition: i32, number: i64) -> Outgoing {
    let at = iso(BASE_MS + number * 1000 / ROWS_PER_SECOND);
    let payload = json!({ "host": format!("h{partition}"), "at": at, "number": number }).to_string().into_bytes();
    Outgoing { topic: topic.into(), partition: Some(partition), key: None, payload, headers: Vec::new() }
}

/// Without parts of a second.
fn second_of(time: &str) -> &str {
    &time[..19]
}

/// A place of its own, with a processor that runs the SQL of a folder.
struct Stage {
    bus: std::sync::Arc<dyn Bus>,
    /// Of the SQL.
    folder: tempfile::TempDir,
    sent: i64,
}

impl Stage {
    fn new(address: &str) -> Self {
        let bus = open(address);
        for topic in ["events", "counts", "seen", "long", "others", "other.hosts", "amoskys.deadletter.v1"] {
            create(bus.as_ref(), topic, PARTITIONS);
        }
        let stage = Self { bus, folder: tempfile::tempdir().expect("a folder"), sent: 0 };
        stage.write("a_streams.sql", STREAMS);
        stage.write("b_short.sql", SHORT);
        stage
    }

    fn write(&self, name: &str, sql: &str) {
        fs::write(self.folder.path().join(name), sql).expect("writes");
    }

    /// So many seconds of rows.
    fn send(&mut self, seconds: i64) {
        let to = self.sent + seconds * ROWS_PER_SECOND;
        let records = (self.sent..to).flat_map(|number| (0..PARTITIONS).map(move |of| record("events", of, number)));
        produce(self.bus.as_ref(), records);
        self.sent = to;
    }

    fn rows(&self, topic: &str) -> Vec<Value> {
        let payloads = read_all(self.bus.as_ref(), topic, PARTITIONS).concat();
        payloads.iter().map(|payload| serde_json::from_slice(payload).expect("JSON")).collect()
    }

    /// How often each row was seen.
    fn seen(&self) -> BTreeMap<(String, i64), usize> {
        let mut seen = BTreeMap::new();
        for row in self.rows("seen") {
            let key = (row["host"].as_str().expect("text").to_owned(), row["number"].as_i64().expect("a number"));
            *seen.entry(key).or_default() += 1;
        }
        seen
    }

    /// Counts by host and the second in which the window begins; a window that came twice has two.
    fn counts(&self, topic: &str) -> BTreeMap<(String, i64), Vec<i64>> {
        let mut counts: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
        let starts: BTreeMap<String, i64> =
            (-60..600).map(|second| (second_of(&iso(BASE_MS + second * 1000)).to_owned(), second)).collect();
        for row in self.rows(topic) {
            let start = starts[second_of(row["start"].as_str().expect("text"))];
            let key = (row["host"].as_str().expect("text").to_owned(), start);
            counts.entry(key).or_default().push(row["n"].as_i64().expect("a number"));
        }
        counts
    }

    /// Every window of this size that has closed from `from` (the second in which it begins) on, each once and whole.
    fn is_whole(&self, topic: &str, size: i64, from: i64) {
        let last = self.sent / ROWS_PER_SECOND - 1 - size - 1;
        let mut expected = BTreeMap::new();
        for start in from..=last {
            let rows = (start.max(0)..start + size).count() as i64 * ROWS_PER_SECOND;
            for partition in 0..PARTITIONS {
                expected.insert((format!("h{partition}"), start), vec![rows]);
            }
        }
        let mut told = self.counts(topic);
        told.retain(|(_, start), _| *start <= last);
        assert_eq!(told, expected, "{topic}");
    }

    /// Waits until everything that was sent is computed and committed.
    fn until_done(&self, processor: &mut Processor) {
        let rows = self.sent as usize * PARTITIONS as usize;
        processor.until("the rows are seen", |_| self.seen().len() == rows);
    }
}

fn reloads(processor: &Processor) -> (u64, u64) {
    let text = processor.get("/metrics").map(|answer| answer.1).unwrap_or_default();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    (number("amoskys_processor_sql_reloads_total"), number("amoskys_processor_sql_failures_total"))
}

fn start(stage: &Stage, address: &str, watch: bool) -> Processor {
    Processor::start(stage.folder.path(), address, "reloading", |command| {
        command.args(["--workers", "1"]).stdin(std::process::Stdio::null());
        if watch {
            command.arg("--watch");
        }
    })
}

/// The second that the window begins in which is the first to be told of.
fn first_start(stage: &Stage, topic: &str) -> i64 {
    stage.counts(topic).keys().map(|(_, start)| *start).min().expect("a window")
}

fn goes_over_to_other_sql(address: &str) {
    let mut stage = Stage::new(address);
    let mut processor = start(&stage, address, true);
    stage.send(40);
    stage.until_done(&mut processor);

    // Wrong SQL, and SQL that wants a topic which is not there.
    stage.write("c_long.sql", &LONG.replace("count(*)", "cuont(*)"));
    processor.until("it is not taken", |processor| reloads(processor) == (0, 1));
    stage.write("c_long.sql", &LONG.replace("'long'", "'nowhere'"));
    processor.until("it is not taken either", |processor| reloads(processor) == (0, 2));
    stage.send(1);
    stage.until_done(&mut processor);

    stage.write("c_long.sql", LONG);
    processor.until("the new SQL runs", |processor| reloads(processor) == (1, 2));
    stage.send(30);
    stage.until_done(&mut processor);
    // The watermark stood at 40 − 1 s when it went over: the first window that was open then began 20 s before.
    let first = first_start(&stage, "long");
    assert!((19..=21).contains(&first), "{first}");
    stage.is_whole("long", 20, first);
    stage.is_whole("counts", 5, -4);

    // Another topic: joins the group anew.
    stage.write("d_other.sql", OTHER);
    produce(stage.bus.as_ref(), (0..10).map(|number| record("others", 0, number)));
    processor.until("it reads the other topic", |processor| !processor.owned("others").is_empty());
    stage.send(10);
    stage.until_done(&mut processor);
    processor.until("the other rows came", |_| stage.rows("other.hosts").len() == 10);

    // Nothing is left of what is taken away.
    fs::remove_file(stage.folder.path().join("c_long.sql")).expect("removes");
    let before = reloads(&processor).0;
    processor.until("it goes without", |processor| reloads(processor).0 > before);
    let windows = stage.rows("long").len();
    stage.send(10);
    stage.until_done(&mut processor);
    processor.terminate();
    assert_eq!(stage.rows("long").len(), windows);
    stage.is_whole("counts", 5, -4);
    assert!(stage.seen().values().all(|times| *times == 1));

    // Other SQL at a restart: its windows begin before what was kept for those that ran.
    fs::remove_file(stage.folder.path().join("d_other.sql")).expect("removes");
    stage.write("e_again.sql", &LONG.replace("20 seconds", "30 seconds"));
    let told = stage.counts("long");
    let mut processor = start(&stage, address, false);
    stage.send(40);
    stage.until_done(&mut processor);
    let new: BTreeMap<_, _> = stage.counts("long").into_iter().filter(|(key, _)| !told.contains_key(key)).collect();
    let whole = 30 * ROWS_PER_SECOND;
    assert!(new.len() > 40 && new.values().all(|counts| *counts == [whole]), "{new:?}");

    // Asked for by its signal.
    stage.write("e_again.sql", &LONG.replace("20 seconds", "10 seconds"));
    processor.signal(Signal::HUP);
    processor.until("it has read the SQL again", |processor| reloads(processor) == (1, 0));
    let told = stage.counts("long");
    stage.send(20);
    stage.until_done(&mut processor);
    processor.terminate();
    let new: BTreeMap<_, _> = stage.counts("long").into_iter().filter(|(key, _)| !told.contains_key(key)).collect();
    let whole = 10 * ROWS_PER_SECOND;
    assert!(!new.is_empty() && new.values().all(|counts| *counts == [whole]), "{new:?}");
    stage.is_whole("counts", 5, -4);
    assert!(stage.seen().values().all(|times| *times == 1));
}

#[test]
fn a_processor_on_kafka_goes_over_to_other_sql() {
    let broker = KafkaBroker::start();
    goes_over_to_other_sql(&broker.address().to_string());
}

#[test]
fn a_processor_on_nats_goes_over_to_other_sql() {
    let server = NatsServer::start();
    goes_over_to_other_sql(&server.address().to_string());
}
