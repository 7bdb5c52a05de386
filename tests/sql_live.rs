//! `sql run --bus` follows topics: the rows that windows give as they close, groups of all partitions merged, nothing
//! committed and nothing written. On real Kafka and a real NATS server.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{
    Outgoing,
    testing::{KafkaBroker, NatsServer},
};
use common::{PATIENCE, Running, amoskys, create, open, produce, telemetry::iso};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc::sync_channel,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

const SQL: &str = "CREATE EXTERNAL TABLE ev (t TIMESTAMP, k VARCHAR, n BIGINT) STORED AS JSON LOCATION 'ev'
OPTIONS (event_time 't', lateness '1s', idle '1s', partition_key 'k');
CREATE VIEW per_k AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY k, win;
CREATE VIEW per_n AS SELECT n, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY n, win;";

/// Of now: who is idle is as late as the log, so older ones would be late.
fn record(partition: i32, n: u32) -> Outgoing {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let time = iso(i64::try_from(now_ms).expect("in range"));
    let payload = format!("{{\"t\":\"{time}\",\"k\":\"k{partition}\",\"n\":{n}}}").into_bytes();
    Outgoing { topic: "ev".into(), partition: Some(partition), key: None, payload, headers: Vec::new() }
}

/// How many there are of each, over all windows: where a second ends is not the test's.
fn counts(lines: impl Iterator<Item = String>, key: &str, until: i64) -> BTreeMap<String, i64> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let row: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        *counts.entry(row[key].to_string()).or_default() += row["c"].as_i64().expect("a count");
        if counts.values().sum::<i64>() == until {
            break;
        }
    }
    counts
}

fn counted(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

fn follows(address: &str) {
    let bus = open(address);
    create(bus.as_ref(), "ev", 2);
    let folder = tempfile::tempdir().expect("a folder");
    let sql = folder.path().join("q.sql");
    std::fs::write(&sql, SQL).expect("written");
    let topics = || bus.topics().expect("topics").into_iter().map(|topic| topic.name).collect::<BTreeSet<_>>();
    let before = topics();
    produce(bus.as_ref(), [record(0, 1), record(1, 1), record(0, 2)]);
    let start = |view: &str| {
        let mut command = amoskys();
        command.args(["sql", "run"]).arg(&sql).args(["--bus", address, "--view", view, "--format", "json"]);
        command.arg("--from-beginning").stdout(Stdio::piped());
        let mut running = Running(command.spawn().expect("it starts"));
        let printed = BufReader::new(running.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let (sender, lines) = sync_channel(1000);
        thread::spawn(move || printed.for_each(|line| drop(sender.send(line))));
        (running, std::iter::from_fn(move || Some(lines.recv_timeout(PATIENCE).expect("a line in time"))))
    };
    // Of each partition by itself; idle partitions close their windows by the log's clock.
    let (_running, lines) = start("per_k");
    assert_eq!(counts(lines, "k", 3), counted(&[("\"k0\"", 2), ("\"k1\"", 1)]));
    // Of all partitions together, and what is written while it follows.
    let (_running, mut lines) = start("per_n");
    assert_eq!(counts(lines.by_ref(), "n", 3), counted(&[("1", 2), ("2", 1)]));
    produce(bus.as_ref(), [record(0, 7), record(1, 7)]);
    assert_eq!(counts(lines, "n", 2), counted(&[("7", 2)]));
    assert_eq!(topics(), before, "nothing was made");
}

#[test]
fn topics_are_followed_on_kafka() {
    let broker = KafkaBroker::start();
    follows(&broker.address().to_string());
    assert_eq!(broker.groups(), [""; 0], "it is in no group, so it can commit nothing");
}

#[test]
fn topics_are_followed_on_nats() {
    let server = NatsServer::start();
    follows(&server.address().to_string());
}

#[test]
fn a_file_that_changes_is_read_again() {
    let server = NatsServer::start();
    let address = server.address().to_string();
    let bus = open(&address);
    create(bus.as_ref(), "ev", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let (sql, names) = (folder.path().join("q.sql"), folder.path().join("names.csv"));
    let named = format!(
        "{SQL} CREATE EXTERNAL TABLE names STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true');
        CREATE VIEW named AS SELECT name FROM ev JOIN names ON ev.k = names.k;",
        names.display()
    );
    std::fs::write(&sql, named).expect("written");
    std::fs::write(&names, "k,name\nk0,before\n").expect("written");
    let mut command = amoskys();
    command.args(["sql", "run"]).arg(&sql).args(["--bus", &address, "--view", "named", "--format", "json"]);
    let mut running = Running(command.arg("--from-beginning").stdout(Stdio::piped()).spawn().expect("it starts"));
    let (sender, lines) = sync_channel(1000);
    let printed = BufReader::new(running.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
    thread::spawn(move || printed.for_each(|line| drop(sender.send(line))));
    produce(bus.as_ref(), [record(0, 1)]);
    assert_eq!(lines.recv_timeout(PATIENCE).expect("a row"), r#"{"name":"before"}"#);
    let beside = folder.path().join("names.new");
    std::fs::write(&beside, "k,name\nk0,after it\n").expect("written");
    std::fs::rename(beside, &names).expect("renamed");
    common::until("rows have the new name", || {
        produce(bus.as_ref(), [record(0, 1)]);
        lines.recv_timeout(PATIENCE).expect("a row") == r#"{"name":"after it"}"#
    });
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = folder.path().join("q.sql");
    std::fs::write(&sql, SQL).expect("written");
    let broker = KafkaBroker::start();
    let address = broker.address().to_string();
    for (arguments, part) in [
        (vec![], "say by --from NAME=FILE what to read, or by --bus URL which topics to follow"),
        (vec!["--bus", &address, "--format", "csv"], "what follows topics is printed as it comes"),
        (vec!["--bus", &address, "--output", "x.jsonl"], "what follows topics is printed as it comes"),
        (vec!["--bus", &address], "topic `ev` does not exist"),
        (vec!["--bus", &address, "--keys-dir", "/nowhere"], "/nowhere"),
    ] {
        let mut command = amoskys();
        let output = command.args(["sql", "run"]).arg(&sql).args(["--view", "per_k"]).args(&arguments).output();
        let output = output.expect("it starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(part), "{arguments:?}: {error}");
    }
}
