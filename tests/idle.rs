//! Who says nothing and who is not heard: windows close when all is quiet, whatever other partitions do; a reader that is
//! held up is not an idle partition; a clock that is ahead closes nobody's windows. On real Kafka.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{
    Bus, Outgoing, Producer, TopicSpec,
    testing::{KafkaBroker, KafkaOptions},
};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use common::{PATIENCE, create, open, processor::Processor, proxy::Proxy, read_all, telemetry::iso, until};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const PARTITIONS: i32 = 4;
const SIZE_MS: i64 = 1_000;
const SLIDE_MS: i64 = 500;
const IDLE: Duration = Duration::from_secs(3);

const SQL: &str = "
    CREATE EXTERNAL TABLE events (host VARCHAR, at TIMESTAMP) STORED AS JSON LOCATION 'events'
    OPTIONS (event_time 'at', lateness '2s', idle '3s', partition_key 'host');
    CREATE EXTERNAL TABLE counts (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'counts'
    OPTIONS (partition_key 'host');
    INSERT INTO counts SELECT host, win.start AS start, n FROM
      (SELECT host, hop(at, INTERVAL '500 milliseconds', INTERVAL '1 second') AS win, count(*) AS n FROM events
       GROUP BY host, win);";

/// Rows by host and window start (milliseconds).
type Counts = BTreeMap<(String, i64), i64>;

struct Stage {
    /// Ended last.
    _broker: KafkaBroker,
    proxy: Proxy,
    bus: Arc<dyn Bus>,
    producer: Box<dyn Producer>,
    folder: tempfile::TempDir,
    expected: Counts,
}

impl Stage {
    fn new() -> Self {
        let proxy = Proxy::listen();
        let broker = KafkaBroker::start_with(KafkaOptions { proxied: Some(proxy.port()), ..KafkaOptions::default() });
        let target = broker.proxied_address().to_string();
        proxy.forward_to(target.split("://").last().unwrap_or_default());
        let bus = open(&broker.address().to_string());
        let settings = vec![("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())];
        let spec = TopicSpec { name: "events".into(), partitions: PARTITIONS, replication: 1, settings };
        bus.create_topic(&spec).expect("created");
        create(bus.as_ref(), "counts", PARTITIONS);
        create(bus.as_ref(), "amoskys.deadletter.v1", 1);
        let folder = tempfile::tempdir().expect("a folder");
        let producer = bus.producer(&Default::default()).expect("a producer");
        Self { _broker: broker, proxy, bus, producer, folder, expected: Counts::new() }
    }

    /// A processor that is reached through the forwarder, in a country that changes its clocks.
    fn start(&self) -> Processor {
        let sql: PathBuf = self.folder.path().join("idle.sql");
        fs::write(&sql, SQL).expect("written");
        let address = format!("kafka://127.0.0.1:{}", self.proxy.port());
        Processor::start(Path::new(&sql), &address, "idle", |command| {
            command.args(["--workers", "2"]).env("TZ", "Europe/Berlin");
        })
    }

    /// Sends a row of this event time, and expects it in its windows when it `counts`.
    fn row(&mut self, partition: i32, at_ms: i64, counts: bool) {
        let host = format!("h{partition}");
        let payload = json!({ "host": host, "at": iso(at_ms) }).to_string().into_bytes();
        let record =
            Outgoing { topic: "events".into(), partition: Some(partition), key: None, payload, headers: Vec::new() };
        self.producer.send(record, 0).expect("room in the queue");
        let mut start_ms = at_ms.div_euclid(SLIDE_MS) * SLIDE_MS;
        while counts && start_ms + SIZE_MS > at_ms {
            *self.expected.entry((host.clone(), start_ms)).or_default() += 1;
            start_ms -= SLIDE_MS;
        }
    }

    /// Rows of now in these partitions, until then; how many in each.
    fn rows_of_now(&mut self, partitions: &[i32], time: Duration) -> i64 {
        let (begun, mut rows) = (Instant::now(), 0);
        while begun.elapsed() < time {
            partitions.iter().for_each(|&partition| self.row(partition, now_ms(), true));
            self.until_acknowledged();
            rows += 1;
            thread::sleep(Duration::from_millis(40));
        }
        rows
    }

    fn until_acknowledged(&mut self) {
        let mut reports = Vec::new();
        while self.producer.in_flight() > 0 {
            self.producer.poll(Duration::from_millis(10), &mut reports);
        }
        reports.iter().for_each(|report| assert!(report.result.is_ok(), "{:?}", report.result));
    }

    /// Nothing more comes, and all windows of all rows come out, none twice.
    fn until_all_came_out(&self, processor: &Processor) {
        let deadline = Instant::now() + PATIENCE;
        while self.written() != self.expected {
            let missing = || self.expected.iter().filter(|(window, _)| !self.written().contains_key(*window)).count();
            assert!(
                Instant::now() < deadline,
                "{} windows are missing, {} rows came late, {} were dropped; {:?}",
                missing(),
                metric(processor, "late_rows_total"),
                metric(processor, "dropped_rows_total"),
                processor.state()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn written(&self) -> Counts {
        let mut counts = Counts::new();
        for payload in read_all(self.bus.as_ref(), "counts", PARTITIONS).into_iter().flatten() {
            let row: Value = serde_json::from_slice(&payload).expect("JSON");
            let start_ns = string_to_timestamp_nanos(row["start"].as_str().expect("a time")).expect("a time");
            let host = row["host"].as_str().expect("a text").to_owned();
            let before = counts.insert((host, start_ns / 1_000_000), row["n"].as_i64().expect("a number"));
            assert!(before.is_none(), "written twice: {row}");
        }
        counts
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_millis().try_into().expect("in range")
}

fn metric(processor: &Processor, name: &str) -> i64 {
    let (_, page) = processor.get("/metrics").expect("serves");
    let prefix = format!("amoskys_processor_{name} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name}: {page}"));
    line.parse().expect("a whole number")
}

fn until_all_owned(processor: &mut Processor) {
    processor.until("it owns all", |processor| processor.owned("events").len() == PARTITIONS as usize);
}

#[test]
fn the_last_windows_come_out_when_all_is_quiet() {
    let mut stage = Stage::new();
    let mut processor = stage.start();
    until_all_owned(&mut processor);
    // The second partition's clock is an hour ahead, so what it says counts nowhere; the last one never says a thing.
    stage.row(1, now_ms() + 3_600_000, false);
    stage.rows_of_now(&[0, 2], Duration::from_secs(1));
    stage.row(1, now_ms() + 3_600_000, false);
    stage.until_acknowledged();
    stage.until_all_came_out(&processor);
    assert_eq!(metric(&processor, "quarantined_rows_total"), 2);
    // Its clock is set right: it has lost nothing by having been wrong, and neither has anybody else.
    stage.rows_of_now(&[0, 1, 2], Duration::from_secs(1));
    stage.until_all_came_out(&processor);
    assert_eq!((metric(&processor, "late_rows_total"), metric(&processor, "dropped_rows_total")), (0, 0));
    // Nothing is open any more, anywhere.
    processor.until("no pane is held", |processor| {
        let state = processor.state().unwrap_or_default();
        let partitions = state["partitions"].as_array().cloned().unwrap_or_default();
        partitions.iter().all(|of| of["panes"][0]["open_panes"] == 0)
    });
    processor.terminate();
}

#[test]
fn a_reader_that_is_held_up_is_not_an_idle_partition() {
    let mut stage = Stage::new();
    let mut processor = stage.start();
    until_all_owned(&mut processor);
    let rows = stage.rows_of_now(&[0, 1, 2, 3], Duration::from_millis(500));
    until("what came is read", || metric(&processor, "decoded_rows_total") == 4 * rows);
    // Rows come all the while, and it hears of none for longer than what makes a partition idle.
    stage.proxy.hold();
    stage.rows_of_now(&[0, 1, 2, 3], 3 * IDLE);
    stage.proxy.heal();
    stage.until_all_came_out(&processor);
    assert_eq!((metric(&processor, "late_rows_total"), metric(&processor, "dropped_rows_total")), (0, 0));
    processor.terminate();
}
