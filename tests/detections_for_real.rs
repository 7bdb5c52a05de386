//! The shipped detections of system calls, each triggered by the real calls of a harmless program on this host: kernel → agent → NATS →
//! the shipped SQL → alerts, with the agent's configuration that `docs/syscalls.md` gives for them.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON), BTF and Python; where eBPF is not to be had it says so loudly and counts as skipped.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{Bus, testing::NatsServer};
use amoskys_ebpf::{Filters, testing::probe};
use amoskys_proto::v1::Alert;
use common::{Running, amoskys, free_port, http_get, open, processor::Processor, read_all, telemetry::ALERTS, until};
use prost::Message;
use std::{fs, path::Path, process::Command};

const DETECTIONS: usize = 12;

/// `[syscall]` as the page has it.
fn documented() -> String {
    let page = fs::read_to_string("docs/syscalls.md").expect("the page");
    let (_, rest) = page.split_once("## For the detections that ship").expect("the chapter");
    let (_, rest) = rest.split_once("```toml\n").expect("an example");
    rest.split_once("```").expect("its end").0.replace("\"auto\"", "\"ebpf\"")
}

/// What the program did: the detection that is to fire, and a word of its alert's entity.
fn triggered() -> Vec<(String, String)> {
    let output = Command::new("python3").arg("tests/detections/triggers.py").output().expect("there is Python");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    eprint!("{told}");
    let text = |value: &serde_json::Value, name: &str| value[name].as_str().expect("text").to_owned();
    let line = |line: &str| -> (String, String) {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        (text(&value, "detection"), text(&value, "word"))
    };
    String::from_utf8_lossy(&output.stdout).lines().map(line).collect()
}

fn alerts(bus: &dyn Bus) -> Vec<Alert> {
    let payloads = read_all(bus, ALERTS, 1).concat();
    payloads.iter().map(|payload| Alert::decode(payload.as_slice()).expect("an alert")).collect()
}

#[test]
fn each_fires_for_the_calls_that_it_is_about() {
    if probe(&[], &Filters::default(), 1 << 12).is_none() {
        return;
    }
    let server = NatsServer::start();
    let address = server.address().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let (file, port) = (folder.path().join("agent.toml"), free_port());
    let config = format!(
        "[agent]\nhost_id = \"here\"\nsign = false\nwal_path = \"{}\"\nbus_address = \"{address}\"\nmetrics_port = {port}\n\
         health_port = {port}\nbatch_age = \"20ms\"\n{}",
        folder.path().join("wal").display(),
        documented()
    );
    fs::write(&file, config).expect("written");
    let agent = amoskys().arg("agent").arg("--config").arg(&file).args(["--create-topics", "1"]).spawn();
    let _agent = Running(agent.expect("starts"));
    until("the agent runs", || http_get(port, "/readyz").is_some_and(|(ready, _)| ready));
    let mut processor = Processor::start(Path::new("sql"), &address, "detections", |_| {});
    processor.until("the processor is ready", |processor| processor.get("/readyz").is_some_and(|(ready, _)| ready));

    let expected = triggered();
    let names: std::collections::BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    // One needs the kernel's 32-bit entry, and said so where there is none.
    assert!(names.len() == DETECTIONS || names.len() == DETECTIONS - 1 && !names.contains("became_root"), "{names:?}");
    let bus = open(&address);
    let is_there = |alerts: &[Alert], (name, word): &(String, String)| {
        alerts
            .iter()
            .any(|alert| alert.detection == *name && alert.entity.contains(word.trim_end()) && alert.host_id == "here")
    };
    for one in &expected {
        processor.until(&format!("there is an alert of {one:?}"), |_| is_there(&alerts(bus.as_ref()), one));
    }
    // Each says what it is by ATT&CK's numbers, and has words for who has to look at it.
    for alert in alerts(bus.as_ref()).iter().filter(|alert| names.contains(alert.detection.as_str())) {
        assert!(
            alert.technique.starts_with('T') && !alert.title.is_empty() && !alert.next_steps.is_empty(),
            "{alert:?}"
        );
    }
}
