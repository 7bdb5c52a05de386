//! kill -9 in the middle: nothing that was acknowledged as written is lost, order is kept, duplicates are exact.
//!
//! The test runs itself again as the process that is killed. That one's bus appends every envelope it takes to a file.

mod support;

use amoskys_bus::{
    Address, Bus, BusError, DeliveryReport, Member, MemberOptions, Outgoing, Producer, ProducerOptions, Reader,
    ReaderOptions, SendError, TopicInfo, TopicSpec,
};
use amoskys_collectors::Agent;
use amoskys_proto::EnvelopeView;
use prometheus_client::registry::Registry;
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use support::{snapshot_config, wait_until};
use tempfile::TempDir;

const FOLDER: &str = "AMOSKYS_TEST_FOLDER";
const KILLS: usize = 6;

#[test]
fn what_was_written_before_a_kill_arrives_after_it() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return run_until_killed(Path::new(&folder));
    }
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("log");
    for round in 0..KILLS {
        let name = "what_was_written_before_a_kill_arrives_after_it";
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", name, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("runs itself again");
        // Killed after a different amount of work each time, in the middle of it.
        let before = read_log(&log).len();
        wait_until("envelopes", || read_log(&log).len() > before + 5 * (round + 1));
        child.kill().expect("kills its own child");
        child.wait().expect("waits for its own child");
    }

    // The rest of the write-ahead log.
    let mut registry = Registry::default();
    let mut config = snapshot_config(folder.path());
    config.process.snapshot_interval = Duration::from_secs(3_600);
    let bus = Arc::new(FileBus { address: Address::Local { path: log.clone() }, log: log.clone() });
    let agent = Agent::start(config, bus, &mut registry).expect("starts on what the killed ones left");
    agent.stop(Duration::from_secs(60));
    assert_eq!(agent.join().wal_records, 0);

    let mut by_sequence: HashMap<(String, u64), Vec<u8>> = HashMap::new();
    let mut expected: HashMap<String, u64> = HashMap::new();
    for envelope in read_log(&log) {
        let header = EnvelopeView::parse(&envelope).expect("an envelope").header;
        let (schema, sequence) = (header.schema.to_string(), header.sequence);
        if let Some(first) = by_sequence.get(&(schema.clone(), sequence)) {
            assert!(*first == envelope, "two different envelopes of {schema} have the sequence number {sequence}");
            continue;
        }
        let next = expected.insert(schema.clone(), sequence + 1);
        assert!(next.is_none_or(|next| next == sequence), "expected {next:?} of {schema}, got {sequence}");
        by_sequence.insert((schema, sequence), envelope);
    }
    assert!(by_sequence.len() > KILLS * 5);
}

fn run_until_killed(folder: &Path) {
    let log = folder.join("log");
    let bus = Arc::new(FileBus { address: Address::Local { path: log.clone() }, log });
    let mut config = snapshot_config(folder);
    config.publish.in_flight_records_max = 3;
    let agent = Agent::start(config, bus, &mut Registry::default()).expect("starts");
    let report = agent.join();
    panic!("it was to be killed, but ended: {report:?}");
}

/// Envelopes taken so far; a torn last one was not acknowledged and does not count.
fn read_log(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let (mut rest, mut envelopes) = (&bytes[..], Vec::new());
    while let Some((length, tail)) = rest.split_at_checked(4) {
        let length = u32::from_le_bytes(length.try_into().expect("4 bytes")) as usize;
        let Some((envelope, tail)) = tail.split_at_checked(length) else { break };
        envelopes.push(envelope.to_vec());
        rest = tail;
    }
    envelopes
}

struct FileBus {
    address: Address,
    log: PathBuf,
}

struct FileProducer {
    file: File,
    pending: Vec<(u64, Outgoing)>,
}

fn unused() -> BusError {
    BusError::Misconfigured { detail: "the agent needs a producer and nothing else".into() }
}

impl Bus for FileBus {
    fn address(&self) -> &Address {
        &self.address
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        Err(unused())
    }

    fn create_topic(&self, _: &TopicSpec) -> Result<bool, BusError> {
        Err(unused())
    }

    fn producer(&self, _: &ProducerOptions) -> Result<Box<dyn Producer>, BusError> {
        // A record torn by the kill is cut off, as a log would.
        let whole: usize = read_log(&self.log).iter().map(|envelope| 4 + envelope.len()).sum();
        let file = OpenOptions::new().create(true).append(true).open(&self.log).expect("opens");
        file.set_len(whole as u64).expect("cuts");
        Ok(Box::new(FileProducer { file, pending: Vec::new() }))
    }

    fn reader(&self, _: &ReaderOptions) -> Result<Box<dyn Reader>, BusError> {
        Err(unused())
    }

    fn member(&self, _: &MemberOptions) -> Result<Box<dyn Member>, BusError> {
        Err(unused())
    }
}

impl Producer for FileProducer {
    fn send(&mut self, record: Outgoing, token: u64) -> Result<(), SendError> {
        self.pending.push((token, record));
        Ok(())
    }

    fn poll(&mut self, _: Duration, reports: &mut Vec<DeliveryReport>) {
        for (token, record) in self.pending.drain(..) {
            let framed = [&(record.payload.len() as u32).to_le_bytes()[..], &record.payload].concat();
            self.file.write_all(&framed).expect("writes");
            reports.push(DeliveryReport { token, result: Ok((0, 0)) });
        }
    }

    fn in_flight(&self) -> usize {
        self.pending.len()
    }
}
