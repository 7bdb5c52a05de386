//! What only the embedded log has: one process at a time, retention of its own, sessions kept by polling.

use crate::{
    fixture::{assigned, connect, local, options, outgoing, tp, unique, until},
    groups::{self, at},
};
use amoskys_bus::{BusError, ReaderOptions, TopicSpec, open};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const HOLD: &str = "AMOSKYS_TEST_CHILD_HOLDS";

#[test]
fn a_second_process_is_told_who_holds_the_log() {
    let mut log = local();
    let (topic, path) = (log.topic(1), log.options.address.to_string());
    log.produce(vec![outgoing(&topic, "k", "kept")]);
    log.close();
    let mut command = Command::new(std::env::current_exe().expect("this test's program"));
    command.args(["local_only::hold_in_a_child_process", "--exact", "--nocapture"]).env(HOLD, path);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("holding")), "the child opens the log");

    let error = open(&options(&log.options.address)).err().expect("in use");
    let BusError::InUse { path, holder } = &error else { panic!("{error}") };
    assert!(path.ends_with("log"), "{path}");
    assert!(holder.contains(&format!("pid {}", child.id())) && holder.contains("hold_in_a_child_process"), "{holder}");

    child.kill().expect("killed");
    child.wait().expect("reaped");
    log.reopen();
    assert_eq!(log.read(&topic, 1)[0].text(), "kept", "a kill frees the folder and loses nothing");
}

/// A child has all files of its parent open until it executes its own program.
#[test]
fn a_log_that_was_closed_is_free_while_children_are_started() {
    let mut log = local();
    let address = log.options.address.clone();
    log.close();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert!(Command::new("true").status().expect("a child").success());
                }
            });
        }
        let opened = (0..100).try_for_each(|_| open(&options(&address)).map(drop));
        is_over.store(true, Ordering::Relaxed);
        opened.expect("nobody else has it");
    });
}

/// Does nothing unless it was started by the first test.
#[test]
fn hold_in_a_child_process() {
    let Ok(address) = std::env::var(HOLD) else { return };
    let _bus = connect(&address.parse().expect("an address"));
    println!("holding");
    // Until killed, or until the parent is gone.
    let _ = std::io::stdin().lines().count();
}

#[test]
fn everything_is_there_again_after_reopening() {
    let mut log = local();
    let (topic, group) = (log.topic(2), unique("group"));
    let reports = log.produce((0..50).map(|n| outgoing(&topic, &n.to_string(), n.to_string())).collect());
    let mut member = log.member(&group, &topic);
    assigned(&mut *member, 2);
    member.commit(&[], &[(tp(&topic, 1), at(3, "three"))]).expect("committed");
    let before = log.read(&topic, 2);
    drop(member);
    log.close();
    log.reopen();
    assert_eq!(log.read(&topic, 2), before);
    let mut member = log.member(&group, &topic);
    assert_eq!(assigned(&mut *member, 2)[1].committed, Some(at(3, "three")));
    let (partition, offset) = log.produce(vec![outgoing(&topic, "0", "next")])[0];
    let last = reports.iter().filter(|(p, _)| *p == partition).map(|(_, o)| *o).max().expect("some");
    assert_eq!(offset, last + 1, "offsets go on");
}

#[test]
fn retention_trims_from_the_front_and_readers_go_on_with_what_is_left() {
    let mut log = local();
    let topic = log.topic_with(1, &[("retention.bytes", "100000")]);
    log.produce((0..100).map(|n| outgoing(&topic, "k", vec![n as u8; 5_000])).collect());
    let mut reader = log.bus().reader(&ReaderOptions::default()).expect("a reader");
    let first = until("trimming", || {
        let (first, end) = reader.bounds(&tp(&topic, 0)).expect("bounds");
        assert_eq!(end, 100);
        std::thread::sleep(Duration::from_millis(20));
        (first >= 80).then_some(first)
    });
    assert_eq!(first, 81, "19 records of 5,015 bytes are what fits");
    reader.assign(&tp(&topic, 0), 0).expect("assigned");
    let mut offsets = Vec::new();
    reader.poll(Duration::from_secs(1), 1000, &mut |r| offsets.push(r.offset)).expect("polls");
    assert_eq!(offsets, (first..100).collect::<Vec<_>>());
    log.close();
    drop(reader);
    log.reopen();
    assert_eq!(log.read(&topic, 1).len() as i64, 100 - first, "also after reopening");
}

#[test]
fn a_wrong_retention_is_refused() {
    let log = local();
    let settings = vec![("retention.ms".to_owned(), "a day".to_owned())];
    let spec = TopicSpec { name: "t".into(), partitions: 1, replication: 1, settings };
    let error = log.bus().create_topic(&spec).expect_err("refused");
    assert!(error.to_string().contains("a day"), "{error}");
    assert_eq!(log.bus().topics().expect("topics"), []);
}

#[test]
fn a_member_that_does_not_poll_loses_its_partitions() {
    groups::a_member_that_does_not_poll_loses_its_partitions(&mut local());
}
