//! Scaling is starting more: processors of one group, several workers in each, share 16 partitions; coming and going
//! in the middle loses nothing and repeats nothing. On real Kafka.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{Bus, Outgoing, testing::KafkaBroker};
use common::{create, open, processor::Processor, produce, read_all, until};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const PARTITIONS: i32 = 16;
const SECONDS: i64 = 30;
const ROWS_PER_SECOND: i64 = 20;

const SQL: &str = "
    CREATE EXTERNAL TABLE events (host VARCHAR, at TIMESTAMP, bytes DOUBLE) STORED AS JSON LOCATION 'events'
    OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
    CREATE EXTERNAL TABLE sums (host VARCHAR, start TIMESTAMP, n BIGINT, total DOUBLE) STORED AS JSON LOCATION 'sums'
    OPTIONS (partition_key 'host');
    CREATE VIEW per_host AS
    SELECT host, hop(at, INTERVAL '1 second', INTERVAL '5 seconds') AS win, count(*) AS n, sum(bytes) AS total
    FROM events GROUP BY host, win;
    CREATE VIEW everywhere AS
    SELECT hop(at, INTERVAL '1 second', INTERVAL '5 seconds') AS win, count(*) AS n, sum(bytes) AS total FROM events GROUP BY win;
    INSERT INTO sums SELECT 'everywhere' AS host, win.start AS start, n, total FROM everywhere;
    INSERT INTO sums SELECT host, win.start AS start, n, total FROM per_host;";

/// Of the topic that the rows of all partitions are summed up through.
const SHUFFLE: &str = "amoskys.shuffle.sums.events.v1";

/// One host to a partition; `from..to` are seconds of event time.
fn rows(from: i64, to: i64) -> Vec<Outgoing> {
    let row = |partition: i32, number: i64| {
        let at = 1_600_000_000_000 + number * 1000 / ROWS_PER_SECOND;
        let at = arrow::temporal_conversions::timestamp_ms_to_datetime(at).expect("in range");
        let at = at.format("%Y-%m-%dT%H:%M:%S%.3f").to_string();
        let payload = serde_json::json!({ "host": format!("h{partition}"), "at": at, "bytes": bytes(number) });
        Outgoing {
            topic: "events".into(),
            partition: Some(partition),
            key: None,
            payload: payload.to_string().into_bytes(),
            headers: Vec::new(),
        }
    };
    let numbers = from * ROWS_PER_SECOND..to * ROWS_PER_SECOND;
    numbers.flat_map(|number| (0..PARTITIONS).map(move |partition| row(partition, number))).collect()
}

fn bytes(number: i64) -> f64 {
    number as f64 / 7.0
}

fn start(sql: &Path, bus: &str, workers: u32) -> Processor {
    Processor::start(sql, bus, "sums", |command| {
        command.args(["--workers", &workers.to_string()]);
    })
}

/// Every partition has one owner, every processor has some, and what is there is read.
fn until_shared(processors: &[&Processor]) {
    until(&format!("{} processors share the partitions and have read them", processors.len()), || {
        let owned: Vec<BTreeMap<i64, Option<u64>>> =
            processors.iter().map(|processor| processor.owned("events")).collect();
        let all: Vec<i64> = owned.iter().flat_map(|of| of.keys().copied()).collect();
        let distinct: BTreeSet<i64> = all.iter().copied().collect();
        all.len() == PARTITIONS as usize
            && distinct.len() == all.len()
            && owned.iter().all(|of| !of.is_empty() && of.values().all(|lag| *lag == Some(0)))
    });
}

#[test]
fn processors_that_come_and_go_lose_nothing_and_repeat_nothing() {
    let broker = KafkaBroker::start();
    let address = broker.address().to_string();
    let bus = open(&address);
    for (topic, partitions) in
        [("events", PARTITIONS), ("sums", PARTITIONS), (SHUFFLE, 3), ("amoskys.deadletter.v1", 1)]
    {
        create(bus.as_ref(), topic, partitions);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let sql = folder.path().join("sums.sql");
    fs::write(&sql, SQL).expect("written");

    // One, two, four, and back to one that is not the first: each time while rows come.
    let third = SECONDS / 5;
    produce(bus.as_ref(), rows(0, third));
    let first = start(&sql, &address, 2);
    until_shared(&[&first]);
    // One worker may have joined before the other, and have read everything alone.
    until("both workers have their share, groups that are sent included", || {
        first.owned(SHUFFLE).len() == 3 && workers_share(&first) && first.get("/readyz").is_some_and(|(ready, _)| ready)
    });
    check_state(&first);
    produce(bus.as_ref(), rows(third, 2 * third));
    let second = start(&sql, &address, 1);
    until_shared(&[&first, &second]);
    produce(bus.as_ref(), rows(2 * third, 3 * third));
    let (third_one, fourth) = (start(&sql, &address, 2), start(&sql, &address, 1));
    until_shared(&[&first, &second, &third_one, &fourth]);
    produce(bus.as_ref(), rows(3 * third, 4 * third));
    // One is killed, one drains.
    drop(second);
    first.terminate();
    produce(bus.as_ref(), rows(4 * third, SECONDS));
    third_one.terminate();
    until_shared(&[&fourth]);
    // An hour later: closes every window of the others.
    produce(bus.as_ref(), rows(3600, 3601));
    until("all windows are written", || written(bus.as_ref()).len() >= expected().len());
    let (written, expected) = (written(bus.as_ref()), expected());
    let wrong: Vec<_> = written.iter().filter(|(window, count)| expected.get(window) != Some(count)).take(9).collect();
    let missing: Vec<_> = expected.keys().filter(|window| !written.contains_key(*window)).take(9).collect();
    assert!(wrong.is_empty() && missing.is_empty(), "written: {wrong:?}\nmissing: {missing:?}");
    // All partitions had the same rows and each its own fate: moved or not, killed or drained, sums have the same bits.
    for (start, totals) in totals(bus.as_ref()) {
        assert_eq!(totals.len(), 1, "sums of the window of {start}");
    }
}

fn check_state(processor: &Processor) {
    let (ready, text) = processor.get("/readyz").expect("serves");
    assert!(ready, "{text}");
    let state = processor.state().expect("JSON");
    let partitions = state["partitions"].as_array().expect("partitions");
    let merging = partitions.iter().filter(|partition| partition["topic"] == SHUFFLE);
    assert!(merging.clone().count() == 3 && merging.clone().all(|of| of["waits"]["topic"] == "events"), "{state}");
    let partition = partitions.iter().find(|partition| partition["topic"] == "events").expect("of the stream");
    assert_eq!(partition["replaying"], false, "{state}");
    assert_eq!(partition["panes"][1]["sent_to"], SHUFFLE, "{state}");
    let panes = &partition["panes"][0];
    assert_eq!(panes["windows"][0]["view"], "per_host", "{state}");
    assert_eq!(panes["windows"][0]["read_by"][0], "sums", "{state}");
    assert_eq!((panes["windows"][0]["size_ms"].as_f64(), panes["keys"].as_u64()), (Some(5000.0), Some(1)), "{state}");
    // Of 5 s, each second one begins; the watermark is a second behind the last row.
    assert!(matches!(panes["windows"][0]["open_windows"].as_u64(), Some(5..=7)), "{state}");
    assert!(panes["open_panes"].as_u64().is_some_and(|panes| panes >= 5), "{state}");
    assert!(panes["oldest_offset"].as_i64() <= partition["next_offset"].as_i64(), "{state}");
    assert!(workers_share(processor), "{:?}", processor.get("/metrics"));
}

/// Of two workers, 19 partitions.
fn workers_share(processor: &Processor) -> bool {
    let metrics = processor.get("/metrics").expect("serves").1;
    (0..2).all(|worker| {
        let owned = |count| format!("amoskys_processor_owned_partitions{{worker=\"{worker}\"}} {count}\n");
        [9, 10].into_iter().any(|count| metrics.contains(&owned(count)))
    })
}

/// Rows in each window of each host, by definition: how often each window's row is written, with its count.
fn expected() -> BTreeMap<(String, String, i64), usize> {
    let mut windows = BTreeMap::new();
    for host in 0..PARTITIONS {
        for start in -4..SECONDS {
            let seconds = (start + 5).min(SECONDS) - start.max(0);
            let at = arrow::temporal_conversions::timestamp_s_to_datetime(1_600_000_000 + start).expect("in range");
            let at = format!("{}Z", at.format("%Y-%m-%dT%H:%M:%S"));
            windows.insert((format!("h{host}"), at.clone(), seconds * ROWS_PER_SECOND), 1);
            windows.insert(("everywhere".to_owned(), at, seconds * ROWS_PER_SECOND * i64::from(PARTITIONS)), 1);
        }
    }
    windows
}

fn sums(bus: &dyn Bus) -> impl Iterator<Item = Value> {
    let payloads = read_all(bus, "sums", PARTITIONS).into_iter().flatten();
    payloads.map(|payload| serde_json::from_slice(&payload).expect("JSON"))
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

fn written(bus: &dyn Bus) -> BTreeMap<(String, String, i64), usize> {
    let mut windows = BTreeMap::new();
    for row in sums(bus) {
        let n = row["n"].as_i64().expect("a number");
        *windows.entry((text(&row, "host"), text(&row, "start"), n)).or_default() += 1;
    }
    windows
}

/// Of each window, as they were written.
fn totals(bus: &dyn Bus) -> BTreeMap<String, BTreeSet<u64>> {
    let mut totals: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for row in sums(bus).filter(|row| row["host"] != "everywhere") {
        let total = row["total"].as_f64().expect("a number");
        totals.entry(text(&row, "start")).or_default().insert(total.to_bits());
    }
    totals
}
