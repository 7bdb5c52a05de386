//! SIGTERM is a graceful end: all rows that were read are committed with what came of them, so a restart reads again what
//! open windows need and nothing else, and writes nothing a second time. On real Kafka and on the embedded log.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{Bus, Outgoing, testing::KafkaBroker};
use common::{
    create, open,
    processor::{Processor, committed},
    produce, read_all,
    telemetry::iso,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const PARTITIONS: i32 = 2;
const ROWS_PER_SECOND: i64 = 500;
/// In each partition, in the order of time.
const ROWS: i64 = 60 * ROWS_PER_SECOND;
const BASE_MS: i64 = 1_600_000_000_000;
const SIZE_MS: i64 = 5_000;
const SLIDE_MS: i64 = 1_000;
const LATENESS_MS: i64 = 1_000;

/// Counts in windows, and every row as it is.
const SQL: &str = "
    CREATE EXTERNAL TABLE events (host VARCHAR, at TIMESTAMP, number BIGINT) STORED AS JSON LOCATION 'events'
    OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
    CREATE EXTERNAL TABLE counts (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'counts'
    OPTIONS (partition_key 'host');
    CREATE EXTERNAL TABLE seen (host VARCHAR, number BIGINT) STORED AS JSON LOCATION 'seen'
    OPTIONS (partition_key 'host');
    CREATE VIEW per_host AS
    SELECT host, hop(at, INTERVAL '1 second', INTERVAL '5 seconds') AS win, count(*) AS n FROM events GROUP BY host, win;
    INSERT INTO counts SELECT host, win.start AS start, n FROM per_host;
    INSERT INTO seen SELECT host, number FROM events;";

fn at_ms(number: i64) -> i64 {
    BASE_MS + number * 1000 / ROWS_PER_SECOND
}

fn rows(from: i64, to: i64) -> Vec<Outgoing> {
    (from..to).flat_map(|number| (0..PARTITIONS).map(move |partition| row(partition, number))).collect()
}

fn row(partition: i32, number: i64) -> Outgoing {
    let payload = json!({ "host": format!("h{partition}"), "at": iso(at_ms(number)), "number": number });
    Outgoing {
        topic: "events".into(),
        partition: Some(partition),
        key: None,
        payload: payload.to_string().into_bytes(),
        headers: Vec::new(),
    }
}

/// How often each (host, number) was written.
type Seen = BTreeMap<(String, i64), usize>;
/// How often each (host, start, n) was written.
type Counts = BTreeMap<(String, String, i64), usize>;

fn outputs(bus: &dyn Bus) -> (Seen, Counts) {
    let json = |topic: &str| -> Vec<Value> {
        let payloads = read_all(bus, topic, PARTITIONS).concat();
        payloads.iter().map(|payload| serde_json::from_slice(payload).expect("JSON")).collect()
    };
    let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
    let number = |row: &Value, name: &str| row[name].as_i64().expect("a number");
    let (mut seen, mut counts) = (Seen::new(), Counts::new());
    for row in json("seen") {
        *seen.entry((text(&row, "host"), number(&row, "number"))).or_default() += 1;
    }
    for row in json("counts") {
        *counts.entry((text(&row, "host"), text(&row, "start"), number(&row, "n"))).or_default() += 1;
    }
    (seen, counts)
}

/// What was committed for one partition.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Committed {
    /// Read again from here.
    offset: i64,
    /// Rows before it are done.
    position: i64,
}

fn positions(bus: &dyn Bus) -> Vec<Committed> {
    let of = |position: amoskys_bus::Position| {
        let metadata: Value = serde_json::from_str(&position.metadata).expect("ours");
        Committed { offset: position.offset, position: metadata["position"].as_i64().expect("a position") }
    };
    committed(bus, "drained", "events", PARTITIONS)
        .into_values()
        .map(|position| of(position.expect("committed")))
        .collect()
}

/// What has to be committed after `position` rows: no row is read again that no open window needs.
fn expected_position(position: i64) -> Committed {
    let watermark_ms = at_ms(position - 1) - LATENESS_MS;
    // The first end after the watermark.
    let open_from_ms = (watermark_ms.div_euclid(SLIDE_MS) + 1) * SLIDE_MS - SIZE_MS;
    let offset = (open_from_ms - BASE_MS).max(0) * ROWS_PER_SECOND / 1000;
    Committed { offset, position }
}

/// What has to be written after so many rows of each partition: all of them, and all windows that they close.
fn check_outputs(bus: &dyn Bus, positions: &[i64]) {
    let (seen, counts) = outputs(bus);
    let (mut expected_seen, mut expected_counts) = (BTreeMap::new(), BTreeMap::new());
    for (partition, &position) in positions.iter().enumerate() {
        let host = format!("h{partition}");
        expected_seen.extend((0..position).map(|number| ((host.clone(), number), 1)));
        let watermark_ms = at_ms(position - 1) - LATENESS_MS;
        let first_start_ms = BASE_MS - SIZE_MS + SLIDE_MS;
        let starts = (first_start_ms..).step_by(SLIDE_MS as usize).take_while(|start| start + SIZE_MS <= watermark_ms);
        for start_ms in starts {
            let from = (start_ms - BASE_MS).max(0) * ROWS_PER_SECOND / 1000;
            let to = ((start_ms + SIZE_MS - BASE_MS) * ROWS_PER_SECOND / 1000).min(position);
            let start = iso(start_ms).replace(".000Z", "Z");
            expected_counts.insert((host.clone(), start, to - from), 1);
        }
    }
    compare("rows", &seen, &expected_seen);
    compare("windows", &counts, &expected_counts);
}

fn compare<K: Ord + std::fmt::Debug>(what: &str, found: &BTreeMap<K, usize>, expected: &BTreeMap<K, usize>) {
    let wrong: Vec<_> = found.iter().filter(|(key, count)| expected.get(key) != Some(count)).take(9).collect();
    let missing: Vec<_> = expected.keys().filter(|key| !found.contains_key(key)).take(9).collect();
    assert!(wrong.is_empty() && missing.is_empty(), "{what} written wrongly: {wrong:?}\nmissing: {missing:?}");
}

fn prepare(bus: &dyn Bus) {
    ["events", "counts", "seen"].iter().for_each(|topic| create(bus, topic, PARTITIONS));
    create(bus, "amoskys.deadletter.v1", 1);
}

fn sql(folder: &Path) -> PathBuf {
    let path = folder.join("drained.sql");
    fs::write(&path, SQL).expect("written");
    path
}

/// One worker, so that the group does not share the partitions anew while it begins: `tests/processors.rs` has that.
fn start(sql: &Path, address: &str) -> Processor {
    Processor::start(sql, address, "drained", |command| {
        command.args(["--workers", "1"]);
    })
}

/// Rows that it has taken since it started, those read again left out.
fn rows_taken(processor: &Processor) -> i64 {
    processor.state().and_then(|state| state["rows"].as_i64()).unwrap_or_default()
}

/// What a processor says that it would read again from, by partition.
fn told(processor: &Processor) -> Vec<i64> {
    let state = processor.state().expect("serves");
    let partitions = state["partitions"].as_array().expect("partitions");
    partitions.iter().map(|of| of["replay_offset"].as_i64().expect("not replaying")).collect()
}

/// After a first processor that was ended at some moment: it left what it read done, and a second one goes on exactly
/// there; a third one finds nothing to do but what is new.
fn check_restarts(sql: &Path, address: &str) {
    let read_first = {
        let bus = open(address);
        let positions = positions(bus.as_ref());
        let read: Vec<i64> = positions.iter().map(|committed| committed.position).collect();
        assert!(read.iter().all(|&read| read > 0), "ended before it had read: {positions:?}");
        assert_eq!(positions, read.iter().map(|&read| expected_position(read)).collect::<Vec<_>>());
        check_outputs(bus.as_ref(), &read);
        read
    };
    let mut second = start(sql, address);
    second.until_read("events", &[ROWS; PARTITIONS as usize]);
    assert_eq!(rows_taken(&second), i64::from(PARTITIONS) * ROWS - read_first.iter().sum::<i64>());
    let told = told(&second);
    second.terminate();
    {
        let bus = open(address);
        let positions = positions(bus.as_ref());
        assert_eq!(positions, vec![expected_position(ROWS); PARTITIONS as usize]);
        assert_eq!(told, positions.iter().map(|committed| committed.offset).collect::<Vec<_>>());
        check_outputs(bus.as_ref(), &[ROWS; PARTITIONS as usize]);
        produce(bus.as_ref(), rows(ROWS, ROWS + 1));
    }
    let mut third = start(sql, address);
    third.until_read("events", &[ROWS + 1; PARTITIONS as usize]);
    assert_eq!(rows_taken(&third), i64::from(PARTITIONS));
    third.terminate();
    check_outputs(open(address).as_ref(), &[ROWS + 1; PARTITIONS as usize]);
}

#[test]
fn what_is_read_is_done_on_kafka() {
    let broker = KafkaBroker::start();
    let address = broker.address().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let sql = sql(folder.path());
    let bus = open(&address);
    prepare(bus.as_ref());
    produce(bus.as_ref(), rows(0, ROWS / 2));
    let mut first = start(&sql, &address);
    // Ended while more comes.
    std::thread::scope(|scope| {
        let loading = open(&address);
        scope.spawn(move || produce(loading.as_ref(), rows(ROWS / 2, ROWS)));
        until_both_are_read(&mut first);
        first.terminate();
    });
    check_restarts(&sql, &address);
}

#[test]
fn what_is_read_is_done_on_the_embedded_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = sql(folder.path());
    let address = format!("local:{}", folder.path().join("log").display());
    {
        let bus = open(&address);
        prepare(bus.as_ref());
        produce(bus.as_ref(), rows(0, ROWS));
    }
    let mut first = start(&sql, &address);
    until_both_are_read(&mut first);
    first.terminate();
    check_restarts(&sql, &address);
}

/// Until some rows of each partition were taken: not before, and likely not all.
fn until_both_are_read(processor: &mut Processor) {
    processor.until("each partition is read", |processor| {
        let state = processor.state().unwrap_or_default();
        let partitions = state["partitions"].as_array().cloned().unwrap_or_default();
        partitions.iter().filter(|of| of["next_offset"].as_i64() > Some(0)).count() == PARTITIONS as usize
    });
}
