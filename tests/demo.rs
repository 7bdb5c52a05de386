//! The demo as a user runs it: on the embedded log, to its end, and on real Kafka for ever, until interrupted. One test,
//! because the staged behaviours are seen by every agent on this host. How else it can end: `tests/demo_ended.rs`.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::testing::KafkaBroker;
use common::{Running, exit_code, send, staged_folders, until_staged_are_gone};
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn demo(temporary: &Path) -> Command {
    let mut command = common::amoskys();
    command.arg("demo").env("TMPDIR", temporary).stdout(Stdio::piped());
    command
}

/// What was printed and the exit code.
fn finish(mut running: Running) -> (String, Option<i32>) {
    let mut text = String::new();
    running.0.stdout.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
    (text, running.0.wait().expect("ends").code())
}

/// Ctrl-C once it is past what it stages: `--forever` goes on there.
fn interrupt_when_running(mut running: Running) -> (String, Option<i32>) {
    let mut lines = BufReader::new(running.0.stdout.take().expect("piped")).lines();
    let mut text = String::new();
    for line in lines.by_ref().map(|line| line.expect("UTF-8")) {
        text.push_str(&line);
        text.push('\n');
        // After the minutes and seconds.
        if line.split_once(' ').is_some_and(|(_, rest)| rest.starts_with("running")) {
            send(&running, Signal::INT);
        }
    }
    let code = exit_code(&mut running, "the demo ends");
    (text, code)
}

fn check_alerts(text: &str) {
    for part in [
        "a program run from memory and deleted while it runs: alerted by ",
        "a burst of discovery commands: alerted by discovery_burst",
        "T1070.004",
        "process_behaviour version",
        "amoskys.telemetry.process.v1 partition 0 offset",
        "of the score",
        "the control period before raised no alert",
        "p50",
    ] {
        assert!(text.contains(part), "`{part}` is not in the output:\n{text}");
    }
    // By which source, and where it is not eBPF, why.
    let of_calls = text.lines().find(|line| line.contains("agent: system calls of this host, "));
    let of_calls = of_calls.unwrap_or_else(|| panic!("it is not said how system calls are seen:\n{text}"));
    assert!(of_calls.ends_with("seen through ebpf") || of_calls.contains(", because "), "{of_calls}");
    // All that the staged behaviours are meant for.
    for detection in ["running_binary_deleted", "exec_from_memory", "discovery_burst"] {
        let alerted = text.lines().any(|line| line.contains("alerted by") && line.contains(detection));
        assert!(alerted, "`{detection}` did not tell what was staged:\n{text}");
    }
}

/// What other tools see of the topics.
fn check_with_kcat(bus: &str) {
    let kcat = |arguments: &[&str]| {
        let mut command = Command::new("kcat");
        command
            .args(["-b", bus.trim_start_matches("kafka://"), "-X", "isolation.level=read_committed"])
            .args(arguments);
        let output = command.output().expect("kcat runs (`make setup` installs it)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let topics = String::from_utf8_lossy(&kcat(&["-L"])).into_owned();
    for topic in ["amoskys.telemetry.process.v1", "amoskys.alerts.v1", "amoskys.features.process_activity.v1"] {
        assert!(topics.contains(&format!("topic \"{topic}\"")), "{topic} is not listed:\n{topics}");
    }
    let read = ["-C", "-e", "-q", "-o", "beginning", "-t", "amoskys.alerts.v1", "-f", "%t %k %S\n"];
    let alerts = String::from_utf8_lossy(&kcat(&read)).into_owned();
    let is_alert = |line: &str| {
        let [topic, key, bytes] = line.split(' ').collect::<Vec<_>>()[..] else { return false };
        topic == "amoskys.alerts.v1" && !key.is_empty() && bytes.parse().is_ok_and(|bytes: usize| bytes > 100)
    };
    assert!(alerts.lines().count() >= 2 && alerts.lines().all(is_alert), "two behaviours were alerted:\n{alerts}");
}

#[test]
fn the_demo_alerts_what_it_stages_and_leaves_nothing() {
    let temporary = tempfile::tempdir().expect("a folder");
    let before = staged_folders();

    let (text, code) = finish(Running(demo(temporary.path()).spawn().expect("starts")));
    assert_eq!(code, Some(0), "{text}");
    check_alerts(&text);

    let broker = KafkaBroker::start();
    let address = broker.address().to_string();
    let running = Running(demo(temporary.path()).args(["--bus", &address, "--forever"]).spawn().expect("starts"));
    let (text, code) = interrupt_when_running(running);
    assert_eq!(code, Some(0), "{text}");
    check_alerts(&text);
    check_with_kcat(&address);

    let left: Vec<PathBuf> =
        fs::read_dir(temporary.path()).expect("a folder").flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, Vec::<PathBuf>::new(), "files were left");
    until_staged_are_gone(&before);
}
