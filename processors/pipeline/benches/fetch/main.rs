//! What reading costs without librdkafka and with it (`docs/adr/0040-a-fetch-path-of-our-own.md`).
//!
//! Run: `cargo bench --workspace --profile dev --bench fetch -- [MILLION_EVENTS [PASSES]]`. Starts its own broker (heap 512 MB) and
//! writes the same events to two topics of 4 partitions, one protobuf message per record and signed envelopes of 500,
//! LZ4-compressed as the product's producer does. Each is read from its beginning, in turn, by the product's reader in both of its
//! ways: with every record looked at and nothing done, and with every record decoded to the 8 columns of query A in batches of 8,192
//! rows. CPU of this process is of all its threads; signatures are not verified.

#[allow(dead_code, reason = "the other benchmarks' plan is not wanted here, the events are")]
#[path = "../load/mod.rs"]
mod load;
#[path = "../machine/mod.rs"]
mod machine;

use amoskys_bus::{
    Bus, BusOptions, Outgoing, Producer, ReaderOptions, Security, SendError, TopicPartition, TopicSpec,
    testing::{KafkaBroker, KafkaOptions},
};
use amoskys_columns::{Decoder, Layout, Limits};
use amoskys_proto::{EnvelopeView, Signer};
use load::{EVENTS_PER_ENVELOPE, Load, Population, SCHEMA, pool};
use machine::{Moment, broker_process};
use prost::Message;
use std::time::Duration;

const PARTITIONS: usize = 4;
const COLUMNS: [&str; 8] = ["host", "pid", "name", "ret", "duration_ns", "bytes", "flags", "event_time"];
const BATCH_ROWS: usize = 8_192;

/// Who reads.
const WAYS: [&str; 2] = ["librdkafka", "direct"];

/// What is in a topic.
#[derive(Clone, Copy)]
struct Topic {
    name: &'static str,
    title: &'static str,
    events_per_record: u64,
}

const TOPICS: [Topic; 2] = [
    Topic { name: "fetch.events", title: "one event per record", events_per_record: 1 },
    Topic { name: "fetch.envelopes", title: "envelopes", events_per_record: EVENTS_PER_ENVELOPE as u64 },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let millions: u64 = arguments.first().map_or(4, |text| text.parse().expect("millions of events"));
    let passes: usize = arguments.get(1).map_or(3, |text| text.parse().expect("passes"));
    let broker = KafkaBroker::start_with(KafkaOptions { heap: "512m".into(), ..KafkaOptions::default() });
    let open = |way: &str| {
        let extra = vec![("amoskys.fetch".to_owned(), way.to_owned())];
        let options =
            BusOptions { address: broker.address(), security: Security::default(), client_id: "fetch".into(), extra };
        amoskys_bus::open(&options).expect("the log opens")
    };
    let buses = WAYS.map(open);
    let envelopes = millions * 1_000_000 / EVENTS_PER_ENVELOPE as u64;
    preload(buses[0].as_ref(), envelopes);
    let bench = Bench { events: envelopes * EVENTS_PER_ENVELOPE as u64, broker: broker_process() };
    println!("{millions} M events");
    println!("| records | by | | events/s | CPU-s per million events | broker's | cores elsewhere |");
    println!("|---|---|---|---|---|---|---|");
    for topic in TOPICS {
        // The first pass over a topic is slower.
        bench.read(buses[0].as_ref(), topic, &mut |_| {});
        for _ in 0..passes {
            for decodes in [false, true] {
                for (way, bus) in WAYS.iter().zip(&buses) {
                    bench.pass(topic, decodes, way, |on_payload| bench.read(bus.as_ref(), topic, on_payload));
                }
            }
        }
    }
}

struct Bench {
    events: u64,
    /// Process id of the broker.
    broker: u32,
}

impl Bench {
    fn pass(&self, topic: Topic, decodes: bool, by: &str, read: impl FnOnce(&mut dyn FnMut(&[u8]))) {
        let mut sink = Sink::new(topic);
        let from = Moment::now(self.broker, 0);
        if decodes {
            read(&mut |payload| sink.decode(payload));
            sink.finish();
        } else {
            read(&mut |payload| sink.look_at(payload));
        }
        let to = Moment::now(self.broker, self.events);
        assert_eq!(sink.records * topic.events_per_record, self.events);
        assert!(!decodes || sink.rows == self.events, "{} rows", sink.rows);
        let does = if decodes { "reads and decodes" } else { "reads" };
        println!("| {} | {by} | {does} | {} |", topic.title, from.row_until(&to));
    }

    fn records(&self, topic: Topic) -> u64 {
        self.events / topic.events_per_record
    }

    fn read(&self, bus: &dyn Bus, topic: Topic, on_payload: &mut dyn FnMut(&[u8])) {
        let options = ReaderOptions { with_headers: false, ..ReaderOptions::default() };
        let mut reader = bus.reader(&options).expect("a reader");
        for partition in 0..PARTITIONS as i32 {
            reader.assign(&TopicPartition { topic: topic.name.into(), partition }, 0).expect("assigned");
        }
        let mut read = 0;
        while read < self.records(topic) {
            let polled = reader.poll(Duration::from_millis(20), 16_384, &mut |record| {
                read += 1;
                on_payload(record.payload);
            });
            polled.expect("records are read");
        }
    }
}

/// What is done with records.
struct Sink {
    is_envelope: bool,
    decoder: Decoder,
    records: u64,
    rows: u64,
    bytes: usize,
}

impl Sink {
    fn new(topic: Topic) -> Self {
        let is_envelope = topic.events_per_record > 1;
        let batch = pool().get_message_by_name(SCHEMA).expect("the schema has it");
        let event = pool().get_message_by_name("bench.SyscallEvent").expect("the schema has it");
        let layout = if is_envelope { Layout::batch(&batch, &COLUMNS) } else { Layout::new(&event, &COLUMNS) };
        let decoder = Decoder::new(layout.expect("the columns are there"), Limits::default());
        Self { is_envelope, decoder, records: 0, rows: 0, bytes: 0 }
    }

    fn look_at(&mut self, payload: &[u8]) {
        self.records += 1;
        self.bytes += payload.len();
    }

    fn decode(&mut self, payload: &[u8]) {
        self.records += 1;
        let events = match self.is_envelope {
            true => EnvelopeView::parse(payload).expect("an envelope").payload,
            false => payload,
        };
        self.decoder.push(events).expect("decodes");
        if self.decoder.rows() >= BATCH_ROWS {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.rows += self.decoder.finish().expect("a batch").num_rows() as u64;
    }
}

/// Writes the events to both topics.
fn preload(bus: &dyn Bus, envelopes: u64) {
    for topic in TOPICS {
        let (name, partitions) = (topic.name.into(), PARTITIONS as i32);
        bus.create_topic(&TopicSpec { name, partitions, replication: 1, settings: Vec::new() }).expect("a topic");
    }
    let mut load = Load::new(Signer::generate().expect("random bytes"), PARTITIONS, Population::USUAL);
    let mut writer = Writer { producer: bus.producer(&Default::default()).expect("a producer"), left: 0 };
    for _ in 0..envelopes {
        let (partition, events) = load.next_events();
        events.iter().for_each(|event| writer.send(TOPICS[0].name, partition, event.encode_to_vec()));
        writer.send(TOPICS[1].name, partition, load.envelope(&events));
    }
    while writer.left > 0 {
        writer.poll();
    }
}

struct Writer {
    producer: Box<dyn Producer>,
    left: u64,
}

impl Writer {
    fn send(&mut self, topic: &str, partition: usize, payload: Vec<u8>) {
        let partition = Some(partition as i32);
        let mut record = Outgoing { topic: topic.into(), partition, key: None, payload, headers: Vec::new() };
        while let Err(error) = self.producer.send(record, 0) {
            let SendError::QueueFull(back) = error else { panic!("a record was not taken: {error:?}") };
            record = back;
            self.poll();
        }
        self.left += 1;
    }

    fn poll(&mut self) {
        let mut reports = Vec::new();
        self.producer.poll(Duration::from_millis(10), &mut reports);
        reports.iter().for_each(|report| assert!(report.result.is_ok(), "{:?}", report.result));
        self.left -= reports.len() as u64;
    }
}
