//! What end-to-end tests share: the binary as a child process that never outlives its test, free ports, topics.

mod ports;
pub mod processor;
pub mod proxy;
pub mod small_disk;
pub mod telemetry;

pub use ports::free_port;

use amoskys_bus::{Bus, BusOptions, Change, Outgoing, ReaderOptions, Record, Security, TopicPartition, TopicSpec};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// A child process, killed (by its own id) and reaped when dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary under test, its log on this test's standard error.
pub fn amoskys() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amoskys"));
    command.env("AMOSKYS_LOG", "warn").stdin(Stdio::null());
    command
}

/// Whether the answer was 200, and its body; `None` while nobody serves there.
pub fn http_get(port: u16, path: &str) -> Option<(bool, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.starts_with("HTTP/1.1 200"), body.to_owned()))
}

pub fn open(address: &str) -> Arc<dyn Bus> {
    let options = BusOptions {
        address: address.parse().expect("an address"),
        security: Security::default(),
        client_id: "test".into(),
        extra: Vec::new(),
    };
    amoskys_bus::open(&options).expect("the log opens")
}

/// As `amoskys topics create` makes them: with the log's own time, by which idleness is decided.
pub fn create(bus: &dyn Bus, topic: &str, partitions: i32) {
    let settings = vec![("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())];
    let spec = TopicSpec { name: topic.into(), partitions, replication: 1, settings };
    bus.create_topic(&spec).expect("the topic is created");
}

/// Where processors keep what long windows hold.
pub fn create_panes(bus: &dyn Bus, partitions: i32) {
    let settings = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
    let spec = TopicSpec { name: "amoskys.panes.v1".into(), partitions, replication: 1, settings };
    bus.create_topic(&spec).expect("the topic is created");
}

/// Writes records in order and waits for all acknowledgements.
pub fn produce(bus: &dyn Bus, records: impl IntoIterator<Item = Outgoing>) {
    let mut producer = bus.producer(&Default::default()).expect("a producer");
    let mut reports = Vec::new();
    let (mut sent, mut token) = (0, 0);
    for record in records {
        let mut record = Some(record);
        while let Some(outgoing) = record.take() {
            match producer.send(outgoing, token) {
                Ok(()) => sent += 1,
                Err(amoskys_bus::SendError::QueueFull(back)) => {
                    producer.poll(Duration::from_millis(10), &mut reports);
                    record = Some(back);
                }
                Err(amoskys_bus::SendError::Failed(error)) => panic!("a record was not taken: {error}"),
            }
        }
        token += 1;
    }
    // A broker that was held up may be long in giving out what a producer needs.
    let deadline = Instant::now() + PATIENCE;
    while reports.len() < sent {
        assert!(Instant::now() < deadline, "{} of {sent} records were acknowledged", reports.len());
        producer.poll(Duration::from_millis(50), &mut reports);
    }
    reports.iter().for_each(|report| assert!(report.result.is_ok(), "{:?}", report.result));
}

/// All committed payloads of a topic that are there now, by partition.
pub fn read_all(bus: &dyn Bus, topic: &str, partitions: i32) -> Vec<Vec<Vec<u8>>> {
    (0..partitions).map(|partition| read_partition(bus, &TopicPartition { topic: topic.into(), partition })).collect()
}

fn read_partition(bus: &dyn Bus, partition: &TopicPartition) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    read_records(bus, partition, &mut |record| payloads.push(record.payload.to_vec()));
    payloads
}

/// Hands over the committed records of a partition that are there now.
pub fn read_records(bus: &dyn Bus, partition: &TopicPartition, on_record: &mut dyn FnMut(&Record<'_>)) {
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let (first, end) = reader.bounds(partition).expect("bounds");
    if first >= end {
        return;
    }
    reader.assign(partition, first).expect("assigned");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "{partition:?} was not read to its end");
        let changes = match reader.poll(Duration::from_millis(50), 10_000, on_record) {
            Ok(changes) => changes,
            // A connection that a busy broker did not take or keep is made again.
            Err(error) if error.retryable() => continue,
            Err(error) => panic!("{partition:?} cannot be read: {error}"),
        };
        if changes.iter().any(|change| matches!(change, Change::End { .. })) {
            return;
        }
    }
}

/// How long something that must come is waited for.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// To this child and no other.
pub fn send(running: &Running, signal: Signal) {
    kill_process(Pid::from_child(&running.0), signal).expect("it has not been waited for");
}

/// Waits for the child's end; its exit code, `None` when a signal ended it.
pub fn exit_code(running: &mut Running, what: &str) -> Option<i32> {
    let mut status = None;
    until(what, || {
        status = running.0.try_wait().expect("a child");
        status.is_some()
    });
    status.and_then(|status| status.code())
}

/// Folders that demos on this host, ours or another, run their staged program from.
pub fn staged_folders() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let staged =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("amoskys-demo-"));
    entries.filter(staged).collect()
}

/// Waits until the folders are gone that were not there before. One of another demo on this host goes with that demo;
/// one that was left stays.
pub fn until_staged_are_gone(before: &BTreeSet<PathBuf>) {
    let new: Vec<PathBuf> = staged_folders().difference(before).cloned().collect();
    until(&format!("the staged programs' folders are gone: {new:?}"), || !new.iter().any(|folder| folder.exists()));
}
