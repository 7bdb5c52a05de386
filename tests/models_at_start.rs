//! Models at the start of a processor: one that was altered, is missing or does not fit ends it with exit code 2 and the
//! reason before any event is read; the shipped ones are loaded by every worker, and again by the next process.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::Outgoing;
use amoskys_proto::v1::FeatureRow;
use common::{
    Running, amoskys, exit_code, free_port, open,
    processor::{Processor, committed},
    produce, read_all,
    telemetry::{ALERTS, DEAD_LETTERS, FEATURES, TELEMETRY, create_topics, event, iso, record},
};
use prost::Message;
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

const MODEL: &str = "process_behaviour/2";
const PARTITIONS: i32 = 2;

/// An event in each partition, in an envelope that did not come before.
fn records(at_s: i64) -> Vec<Outgoing> {
    let record_of = |partition: i32| {
        let event = event(json!({
            "observed_at": iso(at_s * 1000), "kind": "PROCESS_EVENT_KIND_EXEC", "pid": 7, "comm": "id",
            "exe": "/usr/bin/id", "parent_pid": 6, "parent_comm": "bash",
        }));
        record(Some(partition), &format!("h{partition}"), at_s as u64, vec![event], None)
    };
    (0..PARTITIONS).map(record_of).collect()
}

/// A copy of the shipped models.
fn models(folder: &Path) -> PathBuf {
    let copy = folder.join("models");
    fs::create_dir_all(copy.join(MODEL)).expect("a folder");
    for name in ["model.onnx", "model.toml"] {
        fs::copy(format!("models/{MODEL}/{name}"), copy.join(MODEL).join(name)).expect("copied");
    }
    copy
}

/// What is done to the models, and what has to be said then.
type Fault = (&'static str, fn(&Path), &'static [&'static str]);

const FAULTS: [Fault; 4] = [
    ("altered", alter, &["model.onnx was altered", "sha256"]),
    (
        "without its file",
        |models| fs::remove_file(models.join(MODEL).join("model.onnx")).expect("removed"),
        &["cannot read", "model.onnx"],
    ),
    (
        "gone",
        |models| fs::remove_dir_all(models.join("process_behaviour")).expect("removed"),
        &["process_behaviour", "holds no models"],
    ),
    ("with a feature too few", drop_feature, &["model.onnx cannot be used", "features"]),
];

fn alter(models: &Path) {
    let path = models.join(MODEL).join("model.onnx");
    let mut bytes = fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

/// model.toml names one input less than the model has.
fn drop_feature(models: &Path) {
    let path = models.join(MODEL).join("model.toml");
    let text = fs::read_to_string(&path).expect("reads");
    let last = text.rfind("[[feature]]").expect("features");
    fs::write(path, &text[..last]).expect("written");
}

/// Its exit code and what it said on standard error.
fn run_to_its_end(command: &mut Command, errors: &Path, what: &str) -> (Option<i32>, String) {
    command.stderr(File::create(errors).expect("a file")).stdout(Stdio::null());
    let mut running = Running(command.spawn().expect("starts"));
    let code = exit_code(&mut running, what);
    (code, fs::read_to_string(errors).expect("UTF-8"))
}

#[test]
fn a_model_that_cannot_be_used_ends_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let address = format!("local:{}", log.display());
    {
        let bus = open(&address);
        create_topics(bus.as_ref(), PARTITIONS);
        produce(bus.as_ref(), records(0).into_iter().chain(records(3600)));
    }
    for (what, spoil, reasons) in FAULTS {
        let models = models(&folder.path().join(what.replace(' ', "-")));
        spoil(&models);
        for mut command in [process(&address, &models), run(&address, &models, folder.path())] {
            let (code, said) = run_to_its_end(&mut command, &folder.path().join("errors"), what);
            assert_eq!(code, Some(2), "a model {what}: {command:?}: {said}");
            for reason in reasons {
                assert!(said.contains(reason), "a model {what}: {command:?} does not say `{reason}`: {said}");
            }
            let bus = open(&address);
            let positions = committed(bus.as_ref(), "g", TELEMETRY, PARTITIONS);
            assert!(positions.values().all(Option::is_none), "a model {what}: {command:?} read: {positions:?}");
            let records = |topic: &str, partitions: i32| read_all(bus.as_ref(), topic, partitions).concat().len();
            let written = [records(ALERTS, PARTITIONS), records(FEATURES, PARTITIONS), records(DEAD_LETTERS, 1)];
            assert_eq!(written, [0; 3], "a model {what}: {command:?} wrote");
            assert_eq!(records(TELEMETRY, PARTITIONS), 4, "a model {what}: {command:?} collected");
        }
    }
}

fn process(address: &str, models: &Path) -> Command {
    let mut command = amoskys();
    command.args(["process", "sql", "--group", "g", "--bus", address]);
    command.env("AMOSKYS_PROCESSOR_MODELS_DIR", models).env("AMOSKYS_PROCESSOR_VERIFY", "off");
    for name in ["AMOSKYS_PROCESSOR_METRICS_PORT", "AMOSKYS_PROCESSOR_HEALTH_PORT"] {
        command.env(name, free_port().to_string());
    }
    command
}

fn run(address: &str, models: &Path, folder: &Path) -> Command {
    let mut command = amoskys();
    command.args(["run", "--sql", "sql", "--group", "g", "--bus", address, "--models"]).arg(models);
    command.env("AMOSKYS_AGENT_SIGN", "false").env("AMOSKYS_AGENT_WAL_PATH", folder.join("wal"));
    for name in ["AMOSKYS_AGENT_METRICS_PORT", "AMOSKYS_AGENT_HEALTH_PORT"] {
        command.env(name, free_port().to_string());
    }
    command
}

/// Windows of the features that are there, host and start: each with a score, and no two alike.
fn scored_windows(address: &str) -> BTreeSet<(String, i64)> {
    let mut windows = BTreeSet::new();
    for payload in read_all(open(address).as_ref(), FEATURES, PARTITIONS).concat() {
        let row = FeatureRow::decode(payload.as_slice()).expect("features");
        assert!(row.features.get("score").is_some_and(|score| (0.0..=1.0).contains(score)), "{row:?}");
        let start_s = row.window_start.as_ref().expect("a window").seconds;
        assert!(windows.insert((row.host_id.clone(), start_s)), "twice: {row:?}");
    }
    windows
}

#[test]
fn every_worker_of_every_process_loads_the_models() {
    const WINDOW_S: i64 = 10;
    let folder = tempfile::tempdir().expect("a folder");
    let address = format!("local:{}", folder.path().join("log").display());
    create_topics(open(&address).as_ref(), PARTITIONS);
    let mut expected = BTreeSet::new();
    let mut at_s = 0;
    for turn in 1..=3 {
        // So much later that it closes the last event's windows; and never late, however long this has taken.
        at_s = now_s().max(at_s + WINDOW_S + 5);
        produce(open(&address).as_ref(), records(at_s));
        let mut processor = Processor::start(Path::new("sql"), &address, "g", |command| {
            command.args(["--workers", "2"]);
        });
        processor.until_read(TELEMETRY, &[turn; PARTITIONS as usize]);
        processor.until("each worker has a partition", |processor| {
            let metrics = processor.get("/metrics").map(|(_, text)| text).unwrap_or_default();
            let owns = |worker: u32| {
                let name = format!("amoskys_processor_owned_partitions{{worker=\"{worker}\"}} ");
                metrics.lines().any(|line| line.strip_prefix(&name).is_some_and(|count| count != "0"))
            };
            (0..2).all(owns)
        });
        processor.terminate();
        // The windows of this turn's event may be closed, too, by the clock.
        let windows = scored_windows(&address);
        let missing: Vec<_> = expected.difference(&windows).collect();
        assert!(missing.is_empty(), "turn {turn}: not computed: {missing:?}");
        let starts = at_s - WINDOW_S + 1..=at_s;
        expected.extend(starts.flat_map(|start| ["h0", "h1"].map(|host| (host.to_owned(), start))));
    }
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_secs().try_into().expect("in range")
}
