//! The commands on real embedded logs: what was produced is what comes out, poison included.

use super::{Command, alert::tests::sample, run_on};
use crate::cli::exit_code;
use amoskys_bus::{Address, Bus, BusOptions, Outgoing, ProducerOptions, Security, TopicSpec};
use amoskys_proto::{
    Signer,
    v1::{
        AgentStatus, AgentStatusBatch, Alert, DeadLetter, Envelope, EnvelopeHeader, FeatureRow, ProcessBatch,
        ProcessEvent, ProcessEventKind,
    },
};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type},
};
use clap::Parser;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message;
use prost_reflect::prost_types::Timestamp;
use serde_json::Value;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// A log in a folder of its own. The bus is closed after each use: a local log has one process, and one opening.
pub struct Place {
    folder: tempfile::TempDir,
    address: Address,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = Address::Local { path: folder.path().join("log") };
        Self { folder, address }
    }

    /// A folder for files beside a log that is somewhere else.
    pub fn on(address: Address) -> Self {
        Self { address, ..Self::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bus(&self) -> Arc<dyn Bus> {
        let address = self.address.clone();
        let options = BusOptions { address, security: Security::default(), client_id: "test".into(), extra: vec![] };
        amoskys_bus::open(&options).expect("a local log")
    }

    /// Writes records to partitions of a topic that is made with two of them.
    fn produce(&self, topic: &str, records: &[(i32, Vec<u8>)]) {
        let bus = self.bus();
        let spec = TopicSpec { name: topic.into(), partitions: 2, replication: 1, settings: vec![] };
        bus.create_topic(&spec).expect("the topic is created");
        let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
        for (index, (partition, payload)) in records.iter().enumerate() {
            let (topic, partition) = (topic.to_owned(), Some(*partition));
            let key = Some(b"web-1".to_vec());
            let record = Outgoing { topic, partition, key, payload: payload.clone(), headers: vec![] };
            producer.send(record, index as u64).expect("room in the queue");
        }
        let mut reports = Vec::new();
        while producer.in_flight() > 0 {
            producer.poll(Duration::from_secs(1), &mut reports);
        }
        assert!(reports.iter().all(|report| report.result.is_ok()), "{reports:?}");
    }

    /// Exit code and what was printed.
    pub fn run(&self, words: &[&str]) -> (u8, String) {
        let bus = self.address.to_string();
        let line = ["amoskys"].iter().chain(words).copied().chain(["--bus", &bus]);
        let line = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let mut out = Vec::new();
        let result = run_on(line.command, &mut out, &AtomicBool::new(false));
        let text = String::from_utf8(out).expect("output is text");
        match result {
            Ok(code) => (code, text),
            Err(error) => (exit_code(&error), format!("{text}error: {error:#}")),
        }
    }

    pub fn export(&self, topic: &str, more: &[&str]) -> (u8, String, RecordBatch) {
        let file = self.path("out.parquet");
        let path = file.display().to_string();
        let (code, text) = self.run(&[&["export", topic, "--output", &path, "--force"], more].concat());
        (code, text, read_parquet(&file))
    }
}

fn read_parquet(path: &Path) -> RecordBatch {
    let file = File::open(path).expect("the file is there");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().expect("a reader").map(|batch| batch.expect("a batch")).collect();
    concat_batches(&schema, &batches).expect("one schema")
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 5 })
}

pub fn event(pid: u32, comm: &str) -> ProcessEvent {
    let kind = ProcessEventKind::Exec.into();
    let unreadable = vec!["cwd".to_owned(); pid as usize % 3];
    ProcessEvent { observed_at: at(i64::from(pid)), kind, pid, comm: comm.into(), unreadable, ..Default::default() }
}

fn envelope<M: Message>(sequence: u64, schema: &str, batch: &M, signer: Option<&Signer>) -> Vec<u8> {
    let header = EnvelopeHeader {
        agent_id: "agent-1".into(),
        host_id: "web-1".into(),
        boot_id: "boot".into(),
        sequence,
        schema: format!("amoskys.v1.{schema}"),
        event_count: 1,
        first_event_time: at(1),
        ..Default::default()
    };
    let payload = batch.encode_to_vec().into();
    let envelope = match signer {
        Some(signer) => signer.seal(header, payload),
        None => Envelope { header: header.encode_to_vec().into(), payload, signature: Default::default() },
    };
    envelope.encode_to_vec()
}

pub fn processes(sequence: u64, events: Vec<ProcessEvent>) -> Vec<u8> {
    envelope(sequence, "ProcessBatch", &ProcessBatch { events }, None)
}

pub const PROCESSES: &str = "amoskys.telemetry.process.v1";

#[test]
fn topics_are_created_once_and_listed() {
    let place = Place::new();
    let (code, text) = place.run(&["list"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("there is no local log at"), "{text}");
    let (code, text) = place.run(&["create", "--all", "mine", "--partitions", "3", "--set", "retention.ms=1000"]);
    assert_eq!((code, text.lines().count()), (0, 9), "{text}");
    let (code, text) = place.run(&["create", "mine", "--partitions", "9"]);
    assert_eq!((code, text.as_str()), (0, "mine is there already, with 3 partitions\n"));
    let (_, text) = place.run(&["list"]);
    assert!(text.contains("amoskys.agent.status.v1                1 partition\n"), "{text}");
    let (_, json) = place.run(&["list", "--format", "json"]);
    assert!(json.contains(r#"{"name":"amoskys.alerts.v1","partitions":3}"#), "{json}");
    let (code, text) = place.run(&["create", "no spaces"]);
    assert_eq!(code, 2, "{text}");
}

#[test]
fn wrong_use_is_told_and_exits_with_2() {
    let place = Place::new();
    place.produce("mine", &[]);
    let cases: [(&[&str], &str); 6] = [
        (&["tail", "nothing"], "topic `nothing` does not exist"),
        (&["tail", "mine", "--partition", "2"], "topic `mine` has no partition 2; it has 2"),
        (&["tail", "mine", "--message", "Alrt"], "there is no message `Alrt`"),
        (&["create", "a", "a"], "topic `a` is named twice"),
        (&["export", "mine", "--output", "/nowhere/x.parquet"], "/nowhere/x.parquet cannot be written"),
        (&["list", "-F", "/nowhere"], "/nowhere cannot be read"),
    ];
    for (words, expected) in cases {
        let (code, text) = place.run(words);
        assert_eq!(code, 2, "{words:?}: {text}");
        assert!(text.contains(expected), "{words:?}: {text}");
    }
}

#[test]
fn properties_come_from_a_file_without_being_shown() {
    let place = Place::new();
    place.produce("mine", &[]);
    let file = place.path("client.properties");
    let path = file.display().to_string();
    fs::write(&file, "# ours\nsasl.username = a\n\nsecret-without-key\n").expect("the file is written");
    let (code, text) = place.run(&["list", "-F", &path]);
    assert_eq!(code, 2);
    assert!(text.contains("client.properties:4: write KEY=VALUE") && !text.contains("secret"), "{text}");
    fs::write(&file, "sasl.password = a=b\n").expect("the file is written");
    assert_eq!(place.run(&["list", "-F", &path]).0, 0);
}

#[test]
fn every_type_is_shown_for_people() {
    let place = Place::new();
    let signer = Signer::generate().expect("a key");
    let batch = ProcessBatch { events: vec![event(7, "evil\x1b[2J"), event(8, "id")] };
    place.produce(PROCESSES, &[(0, envelope(3, "ProcessBatch", &batch, Some(&signer)))]);
    let (code, text) = place.run(&["tail", PROCESSES]);
    assert_eq!((code, text.lines().count()), (0, 4), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("amoskys.telemetry.process.v1/0@0  20"), "{text}");
    assert!(lines[1].contains("envelope 3 of agent agent-1 on web-1"), "{text}");
    assert!(lines[1].ends_with(&format!("signed by key {}, not verified", signer.key_id())), "{text}");
    assert!(lines[2].contains(r#""kind":"PROCESS_EVENT_KIND_EXEC","pid":7,"comm":"evil\u001b[2J""#), "{text}");

    place.produce("amoskys.alerts.v1", &[(0, sample().encode_to_vec())]);
    let (_, text) = place.run(&["tail", "amoskys.alerts.v1"]);
    assert!(text.contains("  CRITICAL 0.91  a burst of discovery commands under one process\n"), "{text}");
    assert!(
        text.contains("    evidence         amoskys.telemetry.process.v1 partition 2 offsets 10 to 12\n"),
        "{text}"
    );

    let features = [("execs".to_owned(), 4.0)].into_iter().collect();
    let row = FeatureRow { view: "v".into(), host_id: "h".into(), entity: "sh".into(), features, ..Default::default() };
    place.produce("amoskys.features.v.v1", &[(0, row.encode_to_vec())]);
    let (_, text) = place.run(&["tail", "amoskys.features.v.v1"]);
    assert!(text.contains("  v of sh on h, - to -\n  execs=4\n"), "{text}");

    let letter = DeadLetter { topic: "t".into(), offset: 9, detail: "cut".into(), ..Default::default() };
    place.produce("amoskys.deadletter.v1", &[(0, letter.encode_to_vec())]);
    let (_, text) = place.run(&["tail", "amoskys.deadletter.v1"]);
    assert!(text.contains("  unspecified: cut\n  record t/0@9  -  0 bytes\n"), "{text}");

    let statuses = vec![AgentStatus { version: "1".into(), events_seen: 1 << 60, ..Default::default() }];
    let status = envelope(1, "AgentStatusBatch", &AgentStatusBatch { statuses }, None);
    place.produce("amoskys.agent.status.v1", &[(0, status)]);
    let (_, text) = place.run(&["tail", "amoskys.agent.status.v1"]);
    assert!(text.contains("unsigned\n  {\"version\":\"1\",\"events_seen\":1152921504606846976}\n"), "{text}");

    place.produce("mine", &[(0, b"plain".to_vec()), (0, vec![0, 255])]);
    let (_, text) = place.run(&["tail", "mine"]);
    assert!(text.contains("\n  plain\n") && text.contains("\n  00ff\n"), "{text}");
}

#[test]
fn every_type_is_one_json_object_per_line() {
    let place = Place::new();
    place.produce(PROCESSES, &[(0, processes(1, vec![event(7, "a"), event(8, "b")])), (0, b"\x0apoison".to_vec())]);
    place.produce("amoskys.alerts.v1", &[(0, sample().encode_to_vec())]);
    place.produce("mine", &[(0, br#"{"a":1}"#.to_vec()), (0, b"text\x7f".to_vec()), (0, vec![255])]);
    let json = |topic: &str| -> Vec<Value> {
        let (code, text) = place.run(&["tail", topic, "--format", "json"]);
        assert_eq!(code, 0, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
    };
    let envelopes = json(PROCESSES);
    assert_eq!(envelopes[0]["envelope"]["sequence"], 1);
    assert_eq!(envelopes[0]["envelope"]["signed"], false);
    assert_eq!(envelopes[0]["events"][1]["pid"], 8);
    assert_eq!(envelopes[0]["events"][1]["euid"], 0, "fields that are zero are there");
    assert_eq!(envelopes[0]["key"], "web-1");
    assert!(envelopes[1]["error"].as_str().is_some_and(|error| error.starts_with("not an envelope")));
    let alerts = json("amoskys.alerts.v1");
    assert_eq!(alerts[0]["value"]["entity"], "sh\u{1b}[2J 4711");
    assert_eq!(alerts[0]["value"]["provenance"]["evidence"][0]["last_offset"], 12);
    let mine = json("mine");
    assert_eq!(
        (&mine[0]["value"]["a"], &mine[1]["text"], &mine[2]["hex"]),
        (&1.into(), &"text\u{7f}".into(), &"ff".into())
    );
}

#[test]
fn tail_begins_and_ends_where_it_is_told() {
    let place = Place::new();
    let records: Vec<(i32, Vec<u8>)> = (0..10).map(|index| (index % 2, format!("r{index}").into_bytes())).collect();
    place.produce("mine", &records);
    let shown = |more: &[&str]| -> Vec<String> {
        let (code, text) = place.run(&[&["tail", "mine"], more].concat());
        assert_eq!(code, 0, "{text}");
        text.lines().filter_map(|line| line.strip_prefix("  ").map(str::to_owned)).collect()
    };
    assert_eq!(shown(&[]).len(), 10);
    assert_eq!(shown(&["--partition", "1"]), ["r1", "r3", "r5", "r7", "r9"]);
    assert_eq!(shown(&["--partition", "1", "--from", "3"]), ["r7", "r9"]);
    assert_eq!(shown(&["--partition", "0", "--from", "-1"]), ["r8"]);
    assert_eq!(shown(&["--partition", "0", "--max", "2"]), ["r0", "r2"]);
    assert_eq!(shown(&["--max", "3", "--follow", "--from", "earliest"]).len(), 3);
    assert_eq!(shown(&["--max", "0"]).len(), 0);
}

#[test]
fn a_closed_pipe_and_a_signal_end_it_in_good_order() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let place = Place::new();
    place.produce("mine", &[(0, b"one".to_vec())]);
    let bus = format!("local:{}", place.path("log").display());
    let parse = |words: &[&str]| Line::try_parse_from(words).expect("a command").command;
    let command = parse(&["amoskys", "tail", "mine", "--follow", "--from", "earliest", "--bus", &bus]);
    let error = run_on(command, &mut Closed, &AtomicBool::new(false)).expect_err("nobody reads");
    assert!(crate::print::is_closed(&error), "{error:#}");
    let command = parse(&["amoskys", "tail", "mine", "--follow", "--bus", &bus]);
    assert_eq!(run_on(command, &mut Vec::new(), &AtomicBool::new(true)).expect("it ends"), 0);
    let output = place.path("x.parquet").display().to_string();
    let command = parse(&["amoskys", "export", "mine", "--output", &output, "--bus", &bus]);
    let error = run_on(command, &mut Vec::new(), &AtomicBool::new(true)).expect_err("interrupted");
    assert!(error.to_string().contains("interrupted"), "{error:#}");
    let left: Vec<_> = fs::read_dir(place.folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["log"], "nothing is left behind");
}

#[test]
fn envelopes_are_exported_a_row_per_event_in_order() {
    let place = Place::new();
    let of = |pids: std::ops::Range<u32>| pids.map(|pid| event(pid, &format!("comm-{pid}"))).collect::<Vec<_>>();
    place.produce(
        PROCESSES,
        &[
            (1, processes(1, of(0..3))),
            (0, processes(2, of(3..5))),
            (1, processes(3, of(5..6))),
            (1, processes(4, vec![])),
        ],
    );
    let (code, text, rows) = place.export(PROCESSES, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("6 rows of 4 records in "), "{text}");
    let names: Vec<&str> = rows.schema_ref().fields().iter().map(|field| field.name().as_str()).take(9).collect();
    assert_eq!(
        names,
        ["_partition", "_offset", "_log_time", "agent_id", "host_id", "boot_id", "sequence", "observed_at", "kind"]
    );
    let column = |name: &str| rows.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    assert_eq!(column("_partition").as_primitive::<Int32Type>().values(), &[0, 0, 1, 1, 1, 1]);
    assert_eq!(column("_offset").as_primitive::<Int64Type>().values(), &[0, 0, 0, 0, 0, 1]);
    assert_eq!(column("sequence").as_primitive::<UInt64Type>().values(), &[2, 2, 1, 1, 1, 3]);
    assert_eq!(column("pid").as_primitive::<UInt32Type>().values(), &[3, 4, 0, 1, 2, 5]);
    let comm: Vec<Option<&str>> = column("comm").as_string_view().iter().collect();
    assert_eq!(comm[..2], [Some("comm-3"), Some("comm-4")]);
    assert_eq!(column("kind").as_string_view().value(0), "PROCESS_EVENT_KIND_EXEC");
    assert_eq!(column("observed_at").as_primitive::<TimestampNanosecondType>().value(0), 3_000_000_005);
    assert_eq!(column("unreadable").as_list::<i32>().value(4).len(), 2);
    assert!(column("_log_time").as_primitive::<TimestampNanosecondType>().value(0) > 1_600_000_000_000_000_000);
}

#[test]
fn columns_are_chosen_and_a_wrong_one_is_told() {
    let place = Place::new();
    place.produce(PROCESSES, &[(0, processes(1, vec![event(7, "a")]))]);
    let (code, text, rows) = place.export(PROCESSES, &["--columns", "comm,host_id,pid,_offset"]);
    assert_eq!(code, 0, "{text}");
    let names: Vec<&str> = rows.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["_partition", "_offset", "_log_time", "comm", "host_id", "pid"]);
    assert_eq!(rows.column(4).as_string_view().value(0), "web-1");
    let output = place.path("other.parquet").display().to_string();
    let (code, text) = place.run(&["export", PROCESSES, "--output", &output, "--columns", "com"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("there is no column `com`; there are agent_id, "), "{text}");
}

#[test]
fn poison_is_counted_and_fails_unless_it_may_be_skipped() {
    let place = Place::new();
    let wrong_schema = envelope(9, "AgentStatusBatch", &AgentStatusBatch::default(), None);
    let bad_payload = processes(8, vec![]).into_iter().chain(*b"\x12\x02\x0a\xff").collect();
    let good = |sequence| processes(sequence, vec![event(sequence as u32, "a")]);
    place.produce(PROCESSES, &[(0, good(1)), (0, b"junk".to_vec()), (0, wrong_schema), (0, bad_payload), (0, good(2))]);
    for (more, expected) in [(&[][..], 1), (&["--skip-bad"][..], 0)] {
        let (code, text, rows) = place.export(PROCESSES, more);
        assert_eq!((code, rows.num_rows()), (expected, 2), "{text}");
        assert!(text.ends_with("; 3 left out\n"), "{text}");
    }
    let (_, text, _) = place.export(PROCESSES, &["--format", "json"]);
    let summary: Value = serde_json::from_str(&text).expect("one object");
    assert_eq!((&summary["records"], &summary["rows"], &summary["records_bad"]), (&5.into(), &2.into(), &3.into()));
}

#[test]
fn alerts_and_bytes_are_exported_too() {
    let place = Place::new();
    place.produce("amoskys.alerts.v1", &[(0, sample().encode_to_vec()), (0, Alert::default().encode_to_vec())]);
    let (code, text, rows) = place.export("amoskys.alerts.v1", &[]);
    assert_eq!((code, rows.num_rows()), (0, 2), "{text}");
    let column = |name: &str| rows.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    assert_eq!(column("host_id").as_string_view().value(0), "web-1");
    assert_eq!(column("features").as_map().value_length(0), 4);
    assert!(column("provenance").is_null(1));

    place.produce("mine", &[(0, vec![0, 255]), (1, b"x".to_vec())]);
    let (code, text, rows) = place.export("mine", &[]);
    assert_eq!((code, rows.num_rows()), (0, 2), "{text}");
    let payload = rows.column_by_name("payload").expect("the payload").as_binary::<i32>();
    assert_eq!((payload.value(0), payload.value(1)), (&[0, 255][..], &b"x"[..]));
    let (_, _, rows) = place.export("mine", &["--columns", "key"]);
    assert_eq!(rows.column_by_name("key").expect("the key").as_binary::<i32>().value(0), b"web-1");
}

#[test]
fn empty_topics_have_columns_where_they_are_known() {
    let place = Place::new();
    place.produce(PROCESSES, &[]);
    let (code, text, rows) = place.export(PROCESSES, &[]);
    assert_eq!((code, rows.num_rows()), (0, 0), "{text}");
    assert!(rows.column_by_name("exe_deleted").is_some());
    place.produce("amoskys.telemetry.mine.v1", &[]);
    let output = place.path("none.parquet");
    let (code, text) = place.run(&["export", "amoskys.telemetry.mine.v1", "--output", &output.display().to_string()]);
    assert_eq!((code, output.exists()), (1, false), "{text}");
}

#[test]
fn many_rows_take_several_batches_and_a_file_is_not_overwritten() {
    let place = Place::new();
    let of = |sequence: u64| processes(sequence, (0..900).map(|pid| event(pid, "a-longer-name-than-fits")).collect());
    let records: Vec<(i32, Vec<u8>)> = (0..40).map(|sequence| ((sequence % 2) as i32, of(sequence))).collect();
    place.produce("amoskys.telemetry.mine.v1", &records);
    let (code, text, rows) = place.export("amoskys.telemetry.mine.v1", &[]);
    assert_eq!((code, rows.num_rows()), (0, 36_000), "{text}");
    let sequences = rows.column_by_name("sequence").expect("sequences").as_primitive::<UInt64Type>();
    let expected = (0..40).step_by(2).chain((1..40).step_by(2));
    assert!(expected.eq((0..40).map(|envelope| sequences.value(envelope * 900))));
    let output = place.path("out.parquet").display().to_string();
    let (code, text) = place.run(&["export", "amoskys.telemetry.mine.v1", "--output", &output]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("out.parquet exists; give another --output, or --force"), "{text}");
}
