//! Amoskys' side of `make bench-peers`, and what both sides read: the driver, `infra/bench-peers/run`, starts this with
//! a broker that runs already. It measures nothing itself: it says how far it is, and the driver asks the kernel what
//! the process took.
//!
//! - `peers load ADDRESS EVENTS KEYS_DIR OUTPUT_TOPIC…`: writes the same events to two topics, one protobuf message per
//!   record and signed envelopes of 500; makes the topics. The public key goes to the folder KEYS_DIR. Prints a line of
//!   JSON that says how much it was.
//! - `peers read ADDRESS TOPIC RECORDS`: reads a topic and does nothing with it, so that it is in memory.
//! - `peers drain ADDRESS SQL_FILE EVENTS [KEYS_DIR]`: what `amoskys process` does, one worker as a fresh member of a
//!   fresh group, exactly once; signatures are required when there is a KEYS_DIR. Ends once EVENTS rows are computed
//!   and committed.
//! - `peers rows ADDRESS SQL_FILE`: prints what `peers drain` has written to the sink of that SQL's INSERT, a line of JSON for each
//!   row, whatever the sink's format is.
//! - `peers parquet FOLDER EVENTS`: the same events as a history, a file for each partition as exports have them.
//!
//! While it goes on it prints `progress EVENTS`, every 20 ms. Run by hand: see `docs/benchmarks.md`, "Against Flink".

#[allow(dead_code, reason = "the other benchmarks' query is not wanted here, the events are")]
mod load;

use amoskys_bus::{
    Address, Bus, BusOptions, Change, DeliveryReport, MemberOptions, Outgoing, Producer, ReaderOptions, Record,
    Security, SendError, TopicPartition, TopicSpec,
};
use amoskys_columns::{ArrowDecoder, JsonEncoder, Limits};
use amoskys_pipeline::{
    run::{Metrics, Verify, Worker, WorkerOptions},
    sql::{self, Dataflow},
};
use amoskys_proto::{KeyRing, Signer};
use arrow::{
    array::{ArrayRef, Int64Array, PrimitiveArray, StringArray},
    datatypes::{Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type},
    record_batch::RecordBatch,
};
use load::{EVENTS_PER_ENVELOPE, Event, Load, Population, pool};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use prometheus_client::registry::Registry;
use prost::Message;
use std::{
    fs::File,
    io::{BufWriter, Write, stdout},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const EVENTS_TOPIC: &str = "peers.events";
const ENVELOPES_TOPIC: &str = "peers.envelopes";
const DEAD_LETTERS: &str = "amoskys.deadletter.v1";
const PARTITIONS: usize = 4;
const ROW_GROUP_ROWS: usize = 256 << 10;
const PROGRESS_EVERY: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["load", address, events, keys, outputs @ ..] => preload(&open(address), number(events), keys, outputs),
        ["rows", address, sql] => rows(&open(address), &plan(Path::new(sql))),
        ["parquet", folder, events] => parquet(Path::new(folder), number(events)),
        ["read", address, topic, records] => read(&open(address), topic, number(records)),
        ["drain", address, sql, events] => drain(open(address), sql, number(events), Verify::Off),
        ["drain", address, sql, events, keys] => {
            let ring = KeyRing::load(Path::new(keys)).expect("a folder of public keys");
            drain(open(address), sql, number(events), Verify::by(ring));
        }
        _ => println!("run by infra/bench-peers/run, which says what to do: load, read or drain"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn open(address: &str) -> Arc<dyn Bus> {
    let address: Address = address.parse().expect("an address");
    let options = BusOptions { address, security: Security::default(), client_id: "peers".into(), extra: Vec::new() };
    amoskys_bus::open(&options).expect("the log opens")
}

/// Writes `events`, rounded down to whole envelopes, to both topics; each partition has them in the same order in both.
fn preload(bus: &Arc<dyn Bus>, events: u64, keys: &str, outputs: &[&str]) {
    for name in [EVENTS_TOPIC, ENVELOPES_TOPIC, DEAD_LETTERS].iter().chain(outputs) {
        let spec =
            TopicSpec { name: (*name).into(), partitions: PARTITIONS as i32, replication: 1, settings: Vec::new() };
        bus.create_topic(&spec).expect("the topic is created");
    }
    let signer = Signer::generate().expect("random bytes");
    signer.write_files(&Path::new(keys).join("agent.key")).expect("the key is written");
    let mut load = Load::new(signer, PARTITIONS, Population::USUAL);
    let mut writer = Writer { producer: bus.producer(&Default::default()).expect("a producer"), acknowledged: 0 };
    let envelopes = events / EVENTS_PER_ENVELOPE as u64;
    let (mut event_bytes, mut envelope_bytes) = (0, 0);
    for _ in 0..envelopes {
        let (partition, events) = load.next_events();
        let envelope = load.envelope(&events);
        envelope_bytes += envelope.len();
        writer.send(ENVELOPES_TOPIC, partition, envelope);
        for event in &events {
            let payload = event.encode_to_vec();
            event_bytes += payload.len();
            writer.send(EVENTS_TOPIC, partition, payload);
        }
    }
    let events = envelopes * EVENTS_PER_ENVELOPE as u64;
    writer.finish(envelopes + events);
    println!(
        "{{\"events\": {events}, \"envelopes\": {envelopes}, \"event_bytes\": {event_bytes}, \
         \"envelope_bytes\": {envelope_bytes}}}"
    );
}

/// `_partition=N/events.parquet` for each partition.
fn parquet(folder: &Path, events: u64) {
    let mut load = Load::new(Signer::generate().expect("random bytes"), PARTITIONS, Population::USUAL);
    let mut files: Vec<(ArrowWriter<File>, i64)> = (0..PARTITIONS)
        .map(|partition| {
            let folder = folder.join(format!("_partition={partition}"));
            std::fs::create_dir_all(&folder).expect("the folder is made");
            let level = Compression::ZSTD(ZstdLevel::default());
            let properties = WriterProperties::builder().set_compression(level);
            let properties = properties.set_max_row_group_row_count(Some(ROW_GROUP_ROWS)).build();
            let file = File::create(folder.join("events.parquet")).expect("the file is made");
            let writer = ArrowWriter::try_new(file, columns(&[], 0).schema(), Some(properties));
            (writer.expect("the columns can be written"), 0)
        })
        .collect();
    for _ in 0..events / EVENTS_PER_ENVELOPE as u64 {
        let (partition, events) = load.next_events();
        let (writer, offset) = &mut files[partition];
        writer.write(&columns(&events, *offset)).expect("rows are written");
        *offset += events.len() as i64;
    }
    for (writer, _) in files {
        writer.close().expect("the file is closed");
    }
}

/// Columns as exports of such a topic have them, the first event's record at `offset`.
fn columns(events: &[Event], offset: i64) -> RecordBatch {
    fn of<'a, T: arrow::array::ArrowPrimitiveType>(
        events: &'a [Event],
        value: impl Fn(&'a Event) -> T::Native,
    ) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::from_iter_values(events.iter().map(value)))
    }
    let text = |value: fn(&Event) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(events.iter().map(value)))
    };
    let time_ns = |event: &Event| {
        let time = event.event_time.unwrap_or_default();
        time.seconds * 1_000_000_000 + i64::from(time.nanos)
    };
    let columns = [
        ("_offset", Arc::new(Int64Array::from_iter_values(offset..offset + events.len() as i64)) as ArrayRef),
        ("host", text(|event| &event.host)),
        ("pid", of::<UInt32Type>(events, |event| event.pid)),
        ("uid", of::<UInt32Type>(events, |event| event.uid)),
        ("comm", text(|event| &event.comm)),
        ("name", text(|event| &event.name)),
        ("ret", of::<Int64Type>(events, |event| event.ret)),
        ("duration_ns", of::<UInt64Type>(events, |event| event.duration_ns)),
        ("bytes", of::<UInt64Type>(events, |event| event.bytes)),
        ("dst_addr", text(|event| &event.dst_addr)),
        ("dst_port", of::<UInt32Type>(events, |event| event.dst_port)),
        ("flags", of::<UInt32Type>(events, |event| event.flags)),
        ("event_time", of::<TimestampNanosecondType>(events, time_ns)),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

struct Writer {
    producer: Box<dyn Producer>,
    acknowledged: u64,
}

impl Writer {
    fn send(&mut self, topic: &str, partition: usize, payload: Vec<u8>) {
        let partition = Some(partition as i32);
        let mut record = Outgoing { topic: topic.into(), partition, key: None, payload, headers: Vec::new() };
        loop {
            record = match self.producer.send(record, 0) {
                Ok(()) => return,
                Err(SendError::QueueFull(back)) => back,
                Err(SendError::Failed(error)) => panic!("a record was not taken: {error}"),
            };
            self.poll();
        }
    }

    fn poll(&mut self) {
        let mut reports: Vec<DeliveryReport> = Vec::new();
        self.producer.poll(Duration::from_millis(10), &mut reports);
        for report in reports {
            report.result.expect("the log takes every record");
            self.acknowledged += 1;
        }
    }

    fn finish(&mut self, records: u64) {
        while self.acknowledged < records {
            self.poll();
        }
    }
}

fn read(bus: &Arc<dyn Bus>, topic: &str, records: u64) {
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    for partition in 0..PARTITIONS as i32 {
        reader.assign(&TopicPartition { topic: topic.into(), partition }, 0).expect("assigned");
    }
    let (mut seen, mut progress) = (0, Progress::default());
    while seen < records {
        reader.poll(Duration::from_millis(20), 4096, &mut |_| seen += 1).expect("records are read");
        progress.say(seen, seen >= records);
    }
}

fn drain(bus: Arc<dyn Bus>, sql: &str, events: u64, verify: Verify) {
    let metrics = Metrics::register(&mut Registry::default());
    let member = MemberOptions::new(format!("peers-{}", now_ns()), Vec::new());
    let options = WorkerOptions { verify, ..WorkerOptions::new(member) };
    let mut worker = Worker::new(bus, plan(Path::new(sql)), options, metrics.clone()).expect("a worker");
    let stop = Arc::new(AtomicBool::new(false));
    let running = {
        let stop = stop.clone();
        thread::Builder::new().name("worker".into()).spawn(move || worker.run(&stop)).expect("a thread")
    };
    let mut progress = Progress::default();
    while metrics.rows.get() < events {
        assert!(!running.is_finished(), "the worker ended before the topic did");
        thread::sleep(Duration::from_millis(2));
        progress.say(metrics.rows.get(), metrics.rows.get() >= events);
    }
    stop.store(true, Ordering::Relaxed);
    running.join().expect("a worker does not panic").expect("a worker ends in good order");
    let lost = metrics.dead_records.get() + metrics.late_rows.get() + metrics.quarantined_rows.get();
    assert_eq!(lost, 0, "dead records, late or quarantined rows");
}

/// What is committed of a sink's topic, as records of JSON are.
fn rows(bus: &Arc<dyn Bus>, dataflow: &Dataflow) {
    let sink = dataflow.streams[0].inserts[0].sink.as_ref().expect("an INSERT into a topic");
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let (mut out, mut decoder) = (BufWriter::new(stdout().lock()), None);
    let mut print = |payload: &[u8]| match sink.format {
        sql::Format::Arrow => {
            let decoder = decoder.get_or_insert_with(|| ArrowDecoder::new(sink.columns.clone(), Limits::default()));
            decoder.push(payload).expect("an Arrow record");
            let encoder = JsonEncoder::new(sink.columns.clone()).expect("columns that JSON has");
            for row in encoder.encode(&decoder.finish().expect("rows")).expect("rows are JSON") {
                out.write_all(&row).and_then(|()| out.write_all(b"\n")).expect("written");
            }
        }
        _ => out.write_all(payload).and_then(|()| out.write_all(b"\n")).expect("written"),
    };
    for partition in 0..PARTITIONS as i32 {
        let partition = TopicPartition { topic: sink.topic.clone(), partition };
        let (first, past) = reader.bounds(&partition).expect("bounds");
        reader.assign(&partition, first).expect("assigned");
        // The last offset of a topic that is written in transactions is no record: the reader says when it is there.
        let mut is_over = first == past;
        while !is_over {
            let mut take = |record: &Record<'_>| print(record.payload);
            let changes = reader.poll(Duration::from_millis(100), 4096, &mut take).expect("records are read");
            is_over = changes.iter().any(|change| matches!(change, Change::End { .. }));
        }
    }
}

fn plan(file: &Path) -> Dataflow {
    let sources = sql::load(&[file.to_owned()]);
    let models = Arc::new(|name: &str| Err(format!("there is no model `{name}`")));
    let options = sql::Options { pool: pool(), models, wanted: sql::Wanted::Inserts };
    sql::plan(&sources, &options).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Says how far it is, not too often.
#[derive(Default)]
struct Progress(Option<Instant>);

impl Progress {
    fn say(&mut self, events: u64, last: bool) {
        if last || self.0.is_none_or(|said| said.elapsed() >= PROGRESS_EVERY) {
            println!("progress {events}");
            self.0 = Some(Instant::now());
        }
    }
}

fn now_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos())
}
