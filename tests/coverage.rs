//! The shipped coverage SQL over what a real agent sent: that it ended, and of the log only what was taken out of it.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::Outgoing;
use amoskys_proto::EnvelopeView;
use common::{
    Running, amoskys, create, exit_code, free_port, http_get, open, produce, read_all, read_records, send,
    telemetry::TELEMETRY, until,
};
use rustix::process::Signal;
use std::{fs, path::Path};

const STATUS: &str = "amoskys.agent.status.v1";
const TOPICS: [(&str, &str); 2] = [("process_envelopes", TELEMETRY), ("agent_status", STATUS)];

/// An agent that looks at this host for some seconds, into an embedded log.
fn run_agent(folder: &Path, bus: &str) {
    let (file, port) = (folder.join("agent.toml"), free_port());
    let text = format!(
        "[agent]\nagent_id = \"watched\"\nhost_id = \"here\"\nsign = false\nwal_path = \"{}\"\nmetrics_port = {port}\n\
         health_port = {port}\nbatch_age = \"100ms\"\nstatus_interval = \"300ms\"\n[process]\nsource = \"snapshots\"\n\
         snapshot_interval = \"200ms\"\n[syscall]\nsource = \"off\"\n",
        folder.join("wal").display()
    );
    fs::write(&file, text).expect("written");
    let mut command = amoskys();
    command.arg("agent").arg("--config").arg(&file).args(["--bus", bus, "--create-topics", "1"]);
    let mut agent = Running(command.spawn().expect("the agent starts"));
    // Its log is its own while it runs, so it is asked how far it is.
    until("the agent has sent something", || {
        let state =
            http_get(port, "/state").and_then(|(_, body)| serde_json::from_str::<serde_json::Value>(&body).ok());
        state.is_some_and(|state| {
            state["events_acknowledged"].as_u64() > Some(500) && state["uptime_seconds"].as_u64() > Some(3)
        })
    });
    send(&agent, Signal::TERM);
    assert_eq!(exit_code(&mut agent, "the agent drains"), Some(0));
}

/// Entities and missing envelopes of all alerts of the coverage SQL over a log.
fn alerts(folder: &Path, bus: &str) -> Vec<(String, String, u64)> {
    let ends_well = |arguments: &[&str]| {
        let output = amoskys().args(arguments).output().expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let mut run: Vec<String> =
        ["sql", "run", "coverage", "--view", "alerts", "--format", "json"].map(String::from).into();
    for (stream, topic) in TOPICS {
        let file = folder.join(format!("{stream}.parquet")).display().to_string();
        let _ = fs::remove_file(&file);
        ends_well(&["topics", "export", topic, "--output", &file, "--bus", bus]);
        run.extend(["--from".to_owned(), format!("{stream}={file}")]);
    }
    let out = ends_well(&run.iter().map(String::as_str).collect::<Vec<_>>());
    let alert = |line: &str| {
        let alert: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let missing = alert["features"]["missing_envelopes"].as_f64().unwrap_or_default();
        (
            alert["detection"].as_str().expect("text").to_owned(),
            alert["entity"].as_str().expect("text").to_owned(),
            missing as u64,
        )
    };
    let mut alerts: Vec<_> = out.lines().map(alert).collect();
    alerts.sort();
    alerts.dedup();
    alerts
}

#[test]
fn an_envelope_that_is_taken_out_of_the_log_is_told_of_and_nothing_else_is() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let address = |name: &str| format!("local:{}", folder.join(name).display());
    run_agent(folder, &address("whole"));
    // All of it is there, and then the agent ended.
    let silent = ("agent_silent".to_owned(), "watched".to_owned(), 0);
    assert_eq!(alerts(folder, &address("whole")), std::slice::from_ref(&silent));

    // The same without the third envelope of the process topic, and without the second status.
    let mut without = Vec::new();
    {
        let whole = open(&address("whole"));
        for ((_, topic), left_out) in TOPICS.iter().zip([2, 1]) {
            let mut sequences: Vec<u64> = Vec::new();
            let mut number = 0;
            read_records(
                whole.as_ref(),
                &amoskys_bus::TopicPartition { topic: (*topic).into(), partition: 0 },
                &mut |record| {
                    sequences.push(EnvelopeView::parse(record.payload).expect("an envelope").header.sequence);
                    if number != left_out {
                        without.push(Outgoing {
                            topic: (*topic).into(),
                            partition: Some(0),
                            key: record.key.map(<[u8]>::to_vec),
                            payload: record.payload.to_vec(),
                            headers: Vec::new(),
                        });
                    }
                    number += 1;
                },
            );
            assert!(number > 5, "{number} envelopes in {topic}");
            assert!(
                sequences.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "each topic is numbered by itself: {sequences:?}"
            );
        }
    }
    {
        let thinned = open(&address("thinned"));
        TOPICS.iter().for_each(|(_, topic)| create(thinned.as_ref(), topic, 1));
        let count = without.len();
        produce(thinned.as_ref(), without);
        let there: usize = TOPICS.iter().map(|(_, topic)| read_all(thinned.as_ref(), topic, 1).concat().len()).sum();
        assert_eq!(there, count);
    }
    let gap = |of: &str| ("agent_gap".to_owned(), format!("watched: {of}"), 1);
    assert_eq!(alerts(folder, &address("thinned")), [gap("process"), gap("status"), silent]);
}
