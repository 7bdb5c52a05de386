//! What end-to-end tests share: the binary as a child process that never outlives its test, free ports, topics.

use amoskys_bus::{Bus, BusOptions, Change, Outgoing, ReaderOptions, Security, TopicPartition, TopicSpec};
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
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

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("is bound").port()
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

pub fn create(bus: &dyn Bus, topic: &str, partitions: i32) {
    let spec = TopicSpec { name: topic.into(), partitions, replication: 1, settings: Vec::new() };
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
    let deadline = Instant::now() + Duration::from_secs(60);
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
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let (first, end) = reader.bounds(partition).expect("bounds");
    let mut payloads = Vec::new();
    if first >= end {
        return payloads;
    }
    reader.assign(partition, first).expect("assigned");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "{partition:?} was not read to its end");
        let changes = reader
            .poll(Duration::from_millis(50), 10_000, &mut |record| payloads.push(record.payload.to_vec()))
            .expect("reads");
        if changes.iter().any(|change| matches!(change, Change::End { .. })) {
            return payloads;
        }
    }
}

/// Starts `amoskys process`, unsigned input, its HTTP on free ports.
pub fn processor(sql: &Path, bus: &str, group: &str) -> Running {
    let mut command = amoskys();
    command.arg("process").arg(sql).args(["--bus", bus, "--group", group, "--instance", group]);
    command.env("AMOSKYS_PROCESSOR_VERIFY", "off");
    for name in ["AMOSKYS_PROCESSOR_METRICS_PORT", "AMOSKYS_PROCESSOR_HEALTH_PORT"] {
        command.env(name, free_port().to_string());
    }
    Running(command.spawn().expect("the processor starts"))
}
