//! What a processor shows while it runs: that it is not ready while it replays, what it counted, a worker for each core,
//! a changed file read again. Over HTTP, on a real NATS server.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{Bus, Outgoing, testing::NatsServer};
use common::{create, open, processor::Processor, produce, read_all, telemetry::iso, until};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

const TOPICS: [&str; 3] = ["events", "out", "amoskys.deadletter.v1"];

/// A server with the topics, and SQL in a folder.
struct Stage {
    folder: tempfile::TempDir,
    server: NatsServer,
    bus: Arc<dyn Bus>,
}

impl Stage {
    fn new() -> Self {
        let server = NatsServer::start();
        let bus = open(&server.address().to_string());
        TOPICS.iter().for_each(|topic| create(bus.as_ref(), topic, 1));
        Self { folder: tempfile::tempdir().expect("a folder"), server, bus }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, sql: &str, log: Option<&Path>) -> Processor {
        let path = self.path("outside.sql");
        fs::write(&path, sql).expect("written");
        Processor::start(&path, &self.server.address().to_string(), "outside", |command| {
            if let Some(log) = log {
                command.env("AMOSKYS_LOG", "info").stderr(File::create(log).expect("a file"));
            }
        })
    }

    fn produce(&self, payloads: impl IntoIterator<Item = String>) {
        let record = |payload: String| Outgoing {
            topic: "events".into(),
            partition: Some(0),
            key: None,
            payload: payload.into_bytes(),
            headers: Vec::new(),
        };
        produce(self.bus.as_ref(), payloads.into_iter().map(record));
    }

    fn written(&self) -> Vec<Value> {
        let payloads = read_all(self.bus.as_ref(), "out", 1).remove(0);
        payloads.iter().map(|payload| serde_json::from_slice(payload).expect("JSON")).collect()
    }
}

/// The sum of a metric's samples, whatever their labels; `None` while it is not served.
fn metric(processor: &Processor, name: &str) -> Option<f64> {
    let (_, page) = processor.get("/metrics")?;
    let of_it = page.lines().filter(|line| {
        line.strip_prefix("amoskys_processor_")
            .and_then(|line| line.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    let values = of_it.map(|line| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok()));
    values.map(|value| value.unwrap_or_else(|| panic!("{name} is no number: {page}"))).reduce(|one, other| one + other)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_millis().try_into().expect("in range")
}

#[test]
fn it_is_ready_after_the_replay_and_tells_how_far_that_is() {
    const ROWS: i64 = 40_000;
    // Hard work for each row, so that its replay is long enough to be seen.
    const SQL: &str = "
        CREATE EXTERNAL TABLE events (host VARCHAR, at TIMESTAMP) STORED AS JSON LOCATION 'events'
        OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
        CREATE EXTERNAL TABLE out (host VARCHAR, n BIGINT) STORED AS JSON LOCATION 'out';
        INSERT INTO out SELECT host, n FROM
          (SELECT host, count(*) AS n, max(sha512(repeat(host, 2000))) AS work FROM events
           GROUP BY host, tumble(at, INTERVAL '4 minutes'))
        WHERE work IS NOT NULL;";
    let stage = Stage::new();
    // All in one window, which stays open.
    stage.produce((0..ROWS).map(|row| json!({ "host": "h", "at": iso(1_600_000_080_000 + row) }).to_string()));
    let mut first = stage.start(SQL, None);
    first.until_read("events", &[ROWS]);
    first.terminate();

    let log = stage.path("log");
    let mut second = stage.start(SQL, Some(&log));
    let (mut unready, mut left_most) = (0, 0.0f64);
    second.until("it is ready", |processor| {
        left_most = left_most.max(metric(processor, "replay_left_records").unwrap_or_default());
        let Some((ready, text)) = processor.get("/readyz") else { return false };
        let told: Value = serde_json::from_str(&text).expect("JSON");
        assert!(processor.get("/healthz").is_some_and(|(alive, _)| alive), "it lives while it replays");
        assert_eq!(ready, told["partitions"] == 1 && told["replaying"] == 0, "{text}");
        unready += usize::from(!ready && told == json!({ "partitions": 1, "replaying": 1 }));
        ready
    });
    assert!(unready > 0, "it was never seen replaying");
    assert!(left_most > 0.0 && left_most <= ROWS as f64, "{left_most} records were left to be read again");
    assert_eq!(metric(&second, "replay_left_records"), Some(0.0));
    assert_eq!(metric(&second, "replaying_partitions"), Some(0.0));
    let said = || fs::read_to_string(&log).expect("UTF-8");
    until("its log tells the end of the replay", || said().contains("open windows are rebuilt"));
    assert!(said().contains("rebuilding open windows from the log"), "{}", said());
    // Nothing of it is counted or written again.
    assert_eq!(metric(&second, "decoded_rows_total"), Some(0.0));
    stage.produce([json!({ "host": "h", "at": iso(1_600_001_000_000) }).to_string()]);
    until("the window is written", || !stage.written().is_empty());
    assert_eq!(stage.written(), [json!({ "host": "h", "n": ROWS })]);
    second.terminate();
}

#[test]
fn what_became_of_rows_is_counted_and_what_is_held_is_shown() {
    const SQL: &str = "
        CREATE EXTERNAL TABLE events (host VARCHAR, user VARCHAR, at TIMESTAMP) STORED AS JSON LOCATION 'events'
        OPTIONS (event_time 'at', lateness '1s', partition_key 'host', keys_max '3');
        CREATE EXTERNAL TABLE out (host VARCHAR, user VARCHAR, n BIGINT, quality VARCHAR) STORED AS JSON LOCATION 'out';
        INSERT INTO out SELECT host, user, count(*) AS n FROM events
        GROUP BY host, user, hop(at, INTERVAL '1 second', INTERVAL '2 seconds');";
    let stage = Stage::new();
    let base_ms = now_ms() / 1_000 * 1_000 - 100_000;
    let row = |user: &str, at_ms: i64| json!({ "host": "h", "user": user, "at": iso(base_ms + at_ms) }).to_string();
    stage.produce([
        row("a", 0),
        row("b", 100),
        row("a", 10_000),
        row("late", 8_500),
        row("dropped", 2_000),
        row("ahead", 100_000 + 3_600_000),
        json!({ "host": "h", "user": "timeless", "at": null }).to_string(),
        "{".to_owned(),
        row("b", 20_000),
        row("c", 20_000),
        row("d", 20_000),
        row("shed", 20_000),
        row("shed", 20_100),
    ]);
    let mut processor = stage.start(SQL, None);
    processor.until_read("events", &[13]);
    for (name, expected) in [
        ("read_records_total", 13.0),
        ("decoded_rows_total", 10.0),
        ("dead_records_total", 1.0),
        ("duplicate_records_total", 0.0),
        ("late_rows_total", 2.0),
        ("dropped_rows_total", 1.0),
        ("shed_rows_total", 2.0),
        ("quarantined_rows_total", 1.0),
        ("timeless_rows_total", 1.0),
        // [-1, 1), [0, 2); [8, 10), which the late row is in, [9, 11), [10, 12).
        ("closed_windows_total", 5.0),
        ("emitted_rows_total", 7.0),
        ("owned_partitions", 1.0),
        ("replaying_partitions", 0.0),
        ("lag_records", 0.0),
        ("open_panes", 1.0),
        ("emission_seconds_count", 0.0),
    ] {
        let found = metric(&processor, name).unwrap_or_else(|| panic!("no {name}"));
        if name == "emission_seconds_count" {
            assert!(found > 0.0, "{name}");
        } else {
            assert_eq!(found, expected, "{name}");
        }
    }
    let at_least = |name: &str, least: f64| {
        let found = metric(&processor, name).unwrap_or_else(|| panic!("no {name}"));
        assert!(found >= least, "{name} is {found}");
    };
    // Keys may be remembered a while longer than they are needed.
    at_least("held_keys", 3.0);
    at_least("state_bytes", 100.0);
    at_least("view_held_keys", 3.0);
    at_least("view_state_bytes", 100.0);
    let (_, page) = processor.get("/metrics").expect("serves");
    let mut of_view = page.lines().filter(|line| line.starts_with("amoskys_processor_view_open_panes{"));
    let told = of_view.next().and_then(|line| line.split_once(','));
    let expected = r#"topic="events",views="INSERT in outside",grouped_by="host, user",windows="2s/1s"} 1"#;
    assert_eq!((told.map(|(_, told)| told), of_view.next()), (Some(expected), None), "{page}");
    at_least("group_rebalances_total", 1.0);
    at_least("commit_seconds_count", 1.0);
    // 19.1 s after the base, which is 100 s and some ago.
    let watermark = metric(&processor, "watermark_seconds").expect("served");
    assert!((watermark - (base_ms as f64 / 1e3 + 19.1)).abs() < 0.01, "{watermark}");
    let lag = metric(&processor, "watermark_lag_seconds").expect("served");
    assert!((80.0..200.0).contains(&lag), "the watermark is {lag} s behind");
    processor.terminate();
}

#[test]
fn there_is_a_worker_for_each_core() {
    let cores = thread::available_parallelism().expect("counted").get();
    let stage = Stage::new();
    let mut processor = stage.start(
        "CREATE EXTERNAL TABLE events (host VARCHAR) STORED AS JSON LOCATION 'events' OPTIONS (partition_key 'host');
         CREATE EXTERNAL TABLE out (host VARCHAR) STORED AS JSON LOCATION 'out';
         INSERT INTO out SELECT host FROM events;",
        None,
    );
    processor.until("it owns the partition", |processor| metric(processor, "owned_partitions") == Some(1.0));
    let (_, page) = processor.get("/metrics").expect("serves");
    let workers = page.lines().filter(|line| line.starts_with("amoskys_processor_owned_partitions{")).count();
    assert_eq!(workers, cores, "{page}");
    processor.terminate();
}

#[test]
fn a_changed_file_is_read_again() {
    let stage = Stage::new();
    let file = stage.path("owners.csv");
    fs::write(&file, "machine,owner\nh,ann\n").expect("written");
    let sql = format!(
        "CREATE EXTERNAL TABLE events (host VARCHAR) STORED AS JSON LOCATION 'events' OPTIONS (partition_key 'host');
         CREATE EXTERNAL TABLE owners (machine VARCHAR, owner VARCHAR) STORED AS CSV LOCATION '{}'
         OPTIONS ('format.has_header' 'true');
         CREATE EXTERNAL TABLE out (host VARCHAR, owner VARCHAR) STORED AS JSON LOCATION 'out';
         INSERT INTO out SELECT host, owner FROM events LEFT JOIN owners ON host = machine;",
        file.display()
    );
    let mut processor = stage.start(&sql, None);
    let mut owners = Vec::new();
    // What is said first, what is said later, a file that does not read, and one that does again.
    let steps = [
        (None, "ann", "static_file_reloads_total"),
        (Some("machine,owner\nh,bea\n"), "bea", "static_file_reloads_total"),
        (Some("machine,owner\nh,one,two,three\n"), "bea", "static_file_failures_total"),
        (Some("machine,owner\ng,carl\nh,carla\n"), "carla", "static_file_reloads_total"),
    ];
    for (text, owner, counted) in steps {
        if let Some(text) = text {
            let before = metric(&processor, counted).expect("served");
            // As editors do it: never half a file.
            let new = stage.path("new.csv");
            fs::write(&new, text).expect("written");
            fs::rename(&new, &file).expect("moved");
            // By each of the workers, the one that owns the partition among them.
            let workers = thread::available_parallelism().expect("counted").get() as f64;
            processor.until("the file is seen", |processor| metric(processor, counted) == Some(before + workers));
        }
        stage.produce([json!({ "host": "h" }).to_string()]);
        owners.push(json!({ "host": "h", "owner": owner }));
        until("the row is written", || stage.written().len() == owners.len());
        assert_eq!(stage.written(), owners);
    }
    processor.terminate();
}
