//! Other SQL under a running processor, on real Kafka and NATS, while rows come. Windows that are unchanged have no gap
//! and no duplicate, new ones are whole from the first on, wrong SQL changes nothing, and a restart with other SQL does the same.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{
    Bus, Outgoing,
    testing::{KafkaBroker, NatsServer},
};
use amoskys_proto::v1::Alert;
use common::{create, open, processor::Processor, produce, read_all, telemetry::iso};
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

const PARTITIONS: i32 = 2;
const ROWS_PER_SECOND: i64 = 50;
const BASE_MS: i64 = 1_600_000_000_000;

const STREAMS: &str = "
    CREATE EXTERNAL TABLE events (host VARCHAR, at TIMESTAMP, number BIGINT) STORED AS JSON LOCATION 'events'
    OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
    CREATE EXTERNAL TABLE counts (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'counts'
    OPTIONS (partition_key 'host');
    CREATE EXTERNAL TABLE rests (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'rests'
    OPTIONS (partition_key 'host');
    CREATE EXTERNAL TABLE seen (host VARCHAR, number BIGINT) STORED AS JSON LOCATION 'seen'
    OPTIONS (partition_key 'host');";
const SHORT: &str = "
    CREATE VIEW per_host AS
    SELECT host, hop(at, INTERVAL '1 second', INTERVAL '5 seconds') AS win, count(*) AS n FROM events GROUP BY host, win;
    INSERT INTO counts SELECT host, win.start AS start, n FROM per_host;
    INSERT INTO seen SELECT host, number FROM events;";
const RESTS: &str = "
    CREATE VIEW per_rest AS
    SELECT number % 3 AS rest, hop(at, INTERVAL '1 second', INTERVAL '4 seconds') AS win, count(*) AS n FROM events
    GROUP BY rest, win;
    INSERT INTO rests SELECT concat('r', rest) AS host, win.start AS start, n FROM per_rest;";
/// Twenty seconds where the other windows have five; of groups that lie in one partition, and of those that lie in both and are sent.
const LONG: &str = "
    CREATE EXTERNAL TABLE long_counts (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'long'
    OPTIONS (partition_key 'host');
    INSERT INTO long_counts SELECT host, win.start AS start, n FROM (
        SELECT host, hop(at, INTERVAL '1 second', INTERVAL '20 seconds') AS win, count(*) AS n FROM events GROUP BY host, win);
    CREATE EXTERNAL TABLE long_rests (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'long.rests'
    OPTIONS (partition_key 'host');
    INSERT INTO long_rests SELECT concat('r', rest) AS host, win.start AS start, n FROM (
        SELECT number % 3 AS rest, hop(at, INTERVAL '1 second', INTERVAL '20 seconds') AS win, count(*) AS n FROM events
        GROUP BY rest, win);";
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
        let topics = ["events", "counts", "rests", "seen", "long", "long.rests", "others", "other.hosts"];
        for topic in topics.into_iter().chain(["amoskys.deadletter.v1", "amoskys.shuffle.reloading.events.v1"]) {
            create(bus.as_ref(), topic, PARTITIONS);
        }
        let stage = Self { bus, folder: tempfile::tempdir().expect("a folder"), sent: 0 };
        stage.write("a_streams.sql", STREAMS);
        stage.write("b_short.sql", SHORT);
        stage.write("b_rests.sql", RESTS);
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

    /// Of every group its count in a window of this size that begins in a second.
    fn expected(&self, topic: &str, start: i64, size: i64) -> Vec<(String, i64)> {
        let numbers = start.max(0) * ROWS_PER_SECOND..(start + size) * ROWS_PER_SECOND;
        if !topic.ends_with("rests") {
            let rows = numbers.count() as i64;
            return (0..PARTITIONS).map(|partition| (format!("h{partition}"), rows)).collect();
        }
        let rows = |rest: i64| numbers.clone().filter(|number| number % 3 == rest).count() as i64;
        (0..3).map(|rest| (format!("r{rest}"), rows(rest) * i64::from(PARTITIONS))).collect()
    }

    /// Waits until every window of this size that has closed from `from` (the second in which it begins) on is told, and checks that
    /// each was, once and whole.
    fn is_whole(&self, processor: &mut Processor, topic: &str, size: i64, from: i64) {
        let last = self.sent / ROWS_PER_SECOND - 1 - size - 1;
        let mut expected = BTreeMap::new();
        for start in from..=last {
            let groups = self.expected(topic, start, size).into_iter();
            expected.extend(groups.map(|(host, rows)| ((host, start), vec![rows])));
        }
        let told = || {
            let mut told = self.counts(topic);
            told.retain(|(_, start), _| *start <= last);
            told
        };
        // Groups that are sent come a commit later.
        processor.until(topic, |_| told().len() >= expected.len());
        assert_eq!(told(), expected, "{topic}");
    }

    /// Waits for the windows of at least so many seconds, of long windows that were not told yet, and checks that each is whole.
    fn news_are_whole(
        &self,
        processor: &mut Processor,
        told: [BTreeMap<(String, i64), Vec<i64>>; 2],
        size: i64,
        seconds: i64,
    ) {
        for (topic, told, groups) in [("long", &told[0], 2), ("long.rests", &told[1], 3)] {
            let new = || {
                let mut all = self.counts(topic);
                all.retain(|key, _| !told.contains_key(key));
                all
            };
            processor.until(topic, |_| new().len() as i64 >= groups * (seconds - 1));
            for ((host, start), counts) in new() {
                let expected = self.expected(topic, start, size);
                let of_host = expected.into_iter().find(|(of, _)| *of == host).map(|(_, rows)| rows);
                assert_eq!(Some(counts), of_host.map(|rows| vec![rows]), "{topic}: {host} from {start}");
            }
        }
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
    start_named(stage, address, watch, "only")
}

fn start_named(stage: &Stage, address: &str, watch: bool, instance: &str) -> Processor {
    Processor::start(stage.folder.path(), address, "reloading", |command| {
        command.args(["--workers", "1", "--instance", instance]).stdin(std::process::Stdio::null());
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
    for topic in ["long", "long.rests"] {
        processor.until(topic, |_| !stage.rows(topic).is_empty());
        let first = first_start(&stage, topic);
        assert!((19..=21).contains(&first), "{topic}: {first}");
        stage.is_whole(&mut processor, topic, 20, first);
    }
    stage.is_whole(&mut processor, "counts", 5, -4);
    stage.is_whole(&mut processor, "rests", 4, -3);

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
    let windows = ["long", "long.rests"].map(|topic| stage.rows(topic).len());
    stage.send(10);
    stage.until_done(&mut processor);
    stage.is_whole(&mut processor, "counts", 5, -4);
    stage.is_whole(&mut processor, "rests", 4, -3);
    processor.terminate();
    assert_eq!(["long", "long.rests"].map(|topic| stage.rows(topic).len()), windows);
    assert!(stage.seen().values().all(|times| *times == 1));

    // Other SQL at a restart: its windows begin before what was kept for those that ran.
    fs::remove_file(stage.folder.path().join("d_other.sql")).expect("removes");
    stage.write("e_again.sql", &LONG.replace("20 seconds", "30 seconds"));
    let told = ["long", "long.rests"].map(|topic| stage.counts(topic));
    let mut processor = start(&stage, address, false);
    stage.send(40);
    stage.until_done(&mut processor);
    stage.news_are_whole(&mut processor, told, 30, 40);

    // Asked for by its signal.
    stage.write("e_again.sql", &LONG.replace("20 seconds", "10 seconds"));
    processor.signal(Signal::HUP);
    processor.until("it has read the SQL again", |processor| reloads(processor) == (1, 0));
    let told = ["long", "long.rests"].map(|topic| stage.counts(topic));
    stage.send(20);
    stage.until_done(&mut processor);
    stage.news_are_whole(&mut processor, told, 10, 20);
    stage.is_whole(&mut processor, "counts", 5, -4);
    stage.is_whole(&mut processor, "rests", 4, -3);
    processor.terminate();
    assert!(stage.seen().values().all(|times| *times == 1));
    assert_eq!(stage.rows("amoskys.deadletter.v1").len(), 0);
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

/// Nobody has told any windows of what is sent then: they begin with those that all who send have whole.
#[test]
fn groups_are_sent_that_were_not() {
    let server = NatsServer::start();
    let address = server.address().to_string();
    let mut stage = Stage::new(&address);
    stage.write("b_rests.sql", "-- Nothing is sent.");
    let mut processor = start(&stage, &address, true);
    stage.send(40);
    stage.until_done(&mut processor);
    stage.write("b_rests.sql", RESTS);
    processor.until("it reads what is sent", |processor| reloads(processor) == (1, 0));
    stage.send(10);
    stage.until_done(&mut processor);
    processor.until("windows are told", |_| !stage.rows("rests").is_empty());
    // The watermark stood at 40 − 1 s.
    let first = first_start(&stage, "rests");
    assert!((35..=36).contains(&first), "{first}");
    stage.is_whole(&mut processor, "rests", 4, first);
    stage.is_whole(&mut processor, "counts", 5, -4);

    // Of the stream nothing is kept but what is to be sent: then that alone is read again, while it runs and at a restart.
    let rows = "INSERT INTO seen SELECT host, number FROM events;";
    stage.write("b_short.sql", rows);
    processor.until("it goes without windows of its own", |processor| reloads(processor) == (2, 0));
    stage.send(10);
    stage.until_done(&mut processor);
    stage.write("b_short.sql", &rows.replace("number FROM", "number + 0 AS number FROM"));
    processor.until("its rows are others", |processor| reloads(processor) == (3, 0));
    stage.send(10);
    stage.until_done(&mut processor);
    stage.is_whole(&mut processor, "rests", 4, first);
    processor.terminate();
    stage.write("b_short.sql", SHORT);
    let mut processor = start(&stage, &address, false);
    stage.send(10);
    stage.until_done(&mut processor);
    stage.is_whole(&mut processor, "rests", 4, first);
    processor.terminate();
    assert!(stage.seen().values().all(|times| *times == 1));
}

/// No window is of both.
#[test]
fn statistics_that_sql_names_are_watched() {
    let server = NatsServer::start();
    let address = server.address().to_string();
    let mut stage = Stage::new(&address);
    let fitted = stage.folder.path().join("fitted.json");
    let fit = |deviation: f64| {
        let numbers = json!({ "number": { "mean": 0.0, "standard_deviation": deviation } });
        fs::write(&fitted, json!({ "numbers": numbers }).to_string()).expect("writes");
    };
    fit(1.0);
    let sum = format!("CAST(sum(normalise('{}', 'number', number)) AS BIGINT)", fitted.display());
    let sql = LONG.split("CREATE EXTERNAL TABLE long_rests").next().expect("the first part");
    stage.write("c_long.sql", &sql.replace("count(*)", &sum).replace("20 seconds", "4 seconds"));
    let mut processor = start(&stage, &address, true);
    stage.send(20);
    stage.until_done(&mut processor);
    fit(0.5);
    processor.until("it has read the statistics again", |processor| reloads(processor) == (1, 0));
    stage.send(20);
    stage.until_done(&mut processor);
    stage.is_whole(&mut processor, "counts", 5, -4);
    processor.terminate();
    let mut of_each = [0, 0];
    for ((host, start), sums) in stage.counts("long") {
        let sum: i64 = (start.max(0) * ROWS_PER_SECOND..(start + 4) * ROWS_PER_SECOND).sum();
        // The watermark stood at 18.98 s.
        let is_new = start + 4 >= 19;
        assert_eq!(sums, [if is_new { 2 * sum } else { sum }], "{host} from {start}");
        of_each[usize::from(is_new)] += 1;
    }
    assert!(of_each.iter().all(|count| *count > 10), "{of_each:?}");
}

/// Each alert says which SQL gave it: before the change that which ran, after it the other, and again the first where it is taken
/// back.
#[test]
fn alerts_say_by_which_version_they_were_given() {
    const ALERTS: &str = "amoskys.alerts.v1";
    let server = NatsServer::start();
    let address = server.address().to_string();
    let mut stage = Stage::new(&address);
    create(stage.bus.as_ref(), ALERTS, PARTITIONS);
    let version = |least: i64| {
        format!(
            "CREATE EXTERNAL TABLE alerts STORED AS PROTOBUF LOCATION '{ALERTS}' OPTIONS (partition_key 'host_id');
             INSERT INTO alerts SELECT 'round' AS detection, host AS host_id, 'x' AS entity, at AS time, 0.5 AS confidence
             FROM events WHERE number % 50 = 0 AND number >= {least};"
        )
    };
    stage.write("c_alerts.sql", &version(0));
    let mut processor = start(&stage, &address, true);
    let mut alerts = Vec::new();
    for (round, least) in [(0, 0), (1, -1), (2, 0)] {
        if round > 0 {
            stage.write("c_alerts.sql", &version(least));
            processor.until("it has read the SQL again", |processor| reloads(processor) == (round, 0));
        }
        stage.send(5);
        stage.until_done(&mut processor);
        let read = || read_all(stage.bus.as_ref(), ALERTS, PARTITIONS).concat();
        let expected = usize::try_from((round + 1) * 10).expect("small");
        processor.until("the alerts came", |_| read().len() == expected);
        alerts = read();
    }
    processor.terminate();
    let mut of_second: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for payload in alerts {
        let alert = Alert::decode(payload.as_slice()).expect("an alert");
        let second = alert.time.expect("a time").seconds - BASE_MS / 1000;
        of_second.entry(second / 5).or_default().insert(alert.provenance.expect("it has one").sql_hash);
    }
    let of_second: Vec<Vec<String>> = of_second.into_values().map(|hashes| hashes.into_iter().collect()).collect();
    let [first, second, third] = of_second.as_slice() else { panic!("{of_second:?}") };
    assert!(first.len() == 1 && second.len() == 1 && !first[0].is_empty(), "{of_second:?}");
    assert!(first != second && first == third, "{of_second:?}");
}

/// A flow whose SQL is the same keeps its panes, with rows that were joined with what the file said when they came; and goes on looking at it.
#[test]
fn a_flow_that_joins_with_a_file_keeps_its_state() {
    let server = NatsServer::start();
    let address = server.address().to_string();
    let mut stage = Stage::new(&address);
    let file = stage.folder.path().join("weights.csv");
    // In one step, so that nobody reads half of it.
    let weigh = |weight: i64| {
        let beside = file.with_extension("new");
        fs::write(&beside, format!("host,weight\nh0,{weight}\nh1,{weight}\n")).expect("writes");
        fs::rename(beside, &file).expect("renames");
    };
    weigh(1);
    let weighted = format!(
        "CREATE EXTERNAL TABLE weights STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true');
        CREATE EXTERNAL TABLE long_counts (host VARCHAR, start TIMESTAMP, n BIGINT) STORED AS JSON LOCATION 'long'
        OPTIONS (partition_key 'host');
        INSERT INTO long_counts SELECT host, win.start AS start, n FROM (
            SELECT host, tumble(at, INTERVAL '40 seconds') AS win, sum(weight) AS n
            FROM (SELECT events.host, at, weight FROM events JOIN weights ON events.host = weights.host) GROUP BY host, win);",
        file.display()
    );
    let other = |host: &str| {
        let joined = "FROM others JOIN weights ON others.host = weights.host";
        OTHER.replace("SELECT host FROM others", &format!("SELECT concat({host}, weight) AS host {joined}"))
    };
    stage.write("c_weighted.sql", &weighted);
    stage.write("d_other.sql", &other("'old '"));
    let mut processor = start(&stage, &address, true);
    let read_again = |processor: &Processor, times: u64| {
        let text = processor.get("/metrics").map(|answer| answer.1).unwrap_or_default();
        text.contains(&format!("amoskys_processor_static_file_reloads_total {times}"))
    };
    stage.send(10);
    stage.until_done(&mut processor);
    weigh(2);
    processor.until("the file is read again", |processor| read_again(processor, 1));
    stage.send(10);
    stage.until_done(&mut processor);
    stage.write("d_other.sql", &other("'new '"));
    processor.until("the other flow is another", |processor| reloads(processor) == (1, 0));
    weigh(3);
    // By the flow that was kept and by the other, each its own.
    processor.until("both have read the file again", |processor| read_again(processor, 3));
    produce(stage.bus.as_ref(), [record("others", 0, 0)]);
    stage.send(30);
    stage.until_done(&mut processor);
    processor.until("the other rows came", |_| !stage.rows("other.hosts").is_empty());
    assert_eq!(stage.rows("other.hosts"), [json!({ "host": "new 3" })]);
    processor.until("the window is told", |_| stage.counts("long").len() == 2);
    let weights = ROWS_PER_SECOND * (10 + 2 * 10 + 3 * 20);
    let expected = (0..PARTITIONS).map(|partition| ((format!("h{partition}"), 0), vec![weights]));
    assert_eq!(stage.counts("long"), expected.collect());
    stage.is_whole(&mut processor, "counts", 5, -4);
    processor.terminate();
}

/// Two processors, of which one is killed now and then, go from one SQL to another and back while rows come: what is in all of them
/// is told whole and once, and so is whatever is told of the rest.
fn changes_and_kills(address: &str) {
    let seed = std::env::var("AMOSKYS_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("AMOSKYS_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::new(address);
    let names = ["one", "other"];
    let mut processors = names.map(|name| Some(start_named(&stage, address, true, name)));
    stage.send(20);
    stage.until_done(processors[0].as_mut().expect("runs"));
    for _ in 0..16 {
        match random.random_range(0..5) {
            0 => stage.write("c_long.sql", "-- Nothing."),
            1 => stage.write("c_long.sql", &long_of(10)),
            2 => stage.write("c_long.sql", &long_of(20)),
            which => {
                let which = usize::from(which == 3);
                // Killed before the next of its name is there.
                drop(processors[which].take());
                processors[which] = Some(start_named(&stage, address, true, names[which]));
            }
        }
        for _ in 0..random.random_range(0..8) {
            stage.send(1);
            std::thread::sleep(Duration::from_millis(random.random_range(0..400)));
        }
    }
    stage.write("c_long.sql", &long_of(20));
    let mut processors = processors.map(|processor| processor.expect("runs"));
    let at_change = stage.sent / ROWS_PER_SECOND;
    let of_last = |stage: &Stage, topic: &str, group: &str| {
        let told = stage.counts(topic);
        told.keys().any(|(of, start)| of == group && start + 20 > at_change)
    };
    // Both run it once a group of each is told of: a partition of the stream, and all of them.
    common::until("both run the last SQL", || {
        stage.send(1);
        std::thread::sleep(Duration::from_millis(200));
        let hosts = (0..PARTITIONS).all(|partition| of_last(&stage, "long", &format!("20 h{partition}")));
        hosts && (0..3).all(|rest| of_last(&stage, "long.rests", &format!("20 r{rest}")))
    });
    stage.send(30);
    stage.until_done(&mut processors[0]);
    stage.is_whole(&mut processors[0], "counts", 5, -4);
    stage.is_whole(&mut processors[0], "rests", 4, -3);
    let last = stage.sent / ROWS_PER_SECOND - 23;
    for (topic, groups) in [("long", 2), ("long.rests", 3)] {
        let told = || stage.counts(topic);
        processors[0].until(topic, |_| {
            told().keys().filter(|(group, start)| group.starts_with("20 ") && *start == last).count() == groups
        });
        for ((group, start), counts) in told() {
            let (size, of) = group.split_once(' ').expect("its size is before it");
            let expected = stage.expected(topic, start, size.parse().expect("a number")).into_iter();
            let rows: Vec<i64> = expected.filter(|(group, _)| group == of).map(|(_, rows)| rows).collect();
            assert_eq!(counts, rows, "seed {seed}: {topic}: {group} from {start}");
        }
    }
    processors.into_iter().for_each(Processor::terminate);
    assert!(stage.seen().values().all(|times| *times == 1), "seed {seed}");
    assert_eq!(stage.rows("amoskys.deadletter.v1").len(), 0, "seed {seed}");
}

/// Long windows of another size, which they say.
fn long_of(seconds: i64) -> String {
    let long = LONG.replace("20 seconds", &format!("{seconds} seconds"));
    let long = long.replace("concat('r', rest)", &format!("concat('{seconds} r', rest)"));
    long.replace("SELECT host, win.start", &format!("SELECT concat('{seconds} ', host) AS host, win.start"))
}

#[test]
fn other_sql_and_kills_lose_nothing_on_kafka() {
    let broker = KafkaBroker::start();
    changes_and_kills(&broker.address().to_string());
}

#[test]
fn other_sql_and_kills_lose_nothing_on_nats() {
    let server = NatsServer::start();
    changes_and_kills(&server.address().to_string());
}
