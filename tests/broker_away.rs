//! A broker that goes and comes back ends no processor, whether it has something to commit or not, and neither does one
//! that comes without the topics.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{
    Outgoing,
    testing::{KafkaBroker, NatsServer},
};
use common::{create, open, processor::Processor, produce, read_all, until};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

const SQL: &str = "
    CREATE EXTERNAL TABLE events (host VARCHAR, at TIMESTAMP) STORED AS JSON LOCATION 'events'
    OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
    CREATE EXTERNAL TABLE copies (host VARCHAR) STORED AS JSON LOCATION 'copies' OPTIONS (partition_key 'host');
    INSERT INTO copies SELECT host FROM events;";

/// As long as it takes librdkafka and the NATS client to say that nobody is there.
const AWAY: Duration = Duration::from_secs(3);

fn event() -> Outgoing {
    let payload = br#"{"host":"h","at":"2020-01-01T00:00:00"}"#.to_vec();
    Outgoing { topic: "events".into(), partition: None, key: None, payload, headers: Vec::new() }
}

const TOPICS: [&str; 3] = ["events", "copies", "amoskys.deadletter.v1"];

fn sql_in(folder: &tempfile::TempDir) -> PathBuf {
    let sql = folder.path().join("copies.sql");
    fs::write(&sql, SQL).expect("written");
    sql
}

fn outlives(address: String, broker: &mut dyn FnMut(bool)) {
    let bus = open(&address);
    TOPICS.iter().for_each(|topic| create(bus.as_ref(), topic, 1));
    produce(bus.as_ref(), [event()]);
    let folder = tempfile::tempdir().expect("a folder");
    let sql = sql_in(&folder);
    let mut processor = Processor::start(&sql, &address, "copies", |_| {});
    processor.until_read("events", &[1]);
    broker(false);
    let until_there = Instant::now() + AWAY;
    until("it is away for a while", || {
        assert!(processor.ended().is_none(), "the processor ended: its broker is away");
        Instant::now() >= until_there
    });
    broker(true);
    produce(bus.as_ref(), [event()]);
    // Marks of transactions have offsets too.
    processor.until("it goes on", |processor| processor.state().is_some_and(|state| state["emitted_rows"] == 2));
    processor.terminate();
}

fn waits_for_topics(address: String, comes: &mut dyn FnMut()) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut processor = Processor::start(&sql_in(&folder), &address, "copies", |_| {});
    processor.until("it runs without a broker", |processor| processor.get("/healthz").is_some());
    comes();
    let bus = open(&address);
    for topic in TOPICS {
        let until_there = Instant::now() + AWAY;
        until("a topic is missing for a while", || {
            assert!(processor.ended().is_none(), "the processor ended: {topic} is missing");
            Instant::now() >= until_there
        });
        create(bus.as_ref(), topic, 1);
        if topic == "events" {
            produce(bus.as_ref(), [event()]);
        }
    }
    processor.until("it begins", |processor| processor.state().is_some_and(|state| state["emitted_rows"] == 1));
    until("what it made is written", || read_all(bus.as_ref(), "copies", 1)[0].len() == 1);
    processor.terminate();
}

#[test]
fn a_processor_waits_for_a_kafka_broker_and_its_topics() {
    let mut broker = KafkaBroker::start();
    broker.kill();
    waits_for_topics(broker.address().to_string(), &mut || broker.restart());
}

#[test]
fn a_processor_waits_for_a_nats_server_and_its_topics() {
    let mut server = NatsServer::start();
    server.kill();
    waits_for_topics(server.address().to_string(), &mut || server.restart());
}

#[test]
fn a_processor_outlives_its_kafka_broker() {
    let mut broker = KafkaBroker::start();
    outlives(broker.address().to_string(), &mut |comes| if comes { broker.restart() } else { broker.kill() });
}

#[test]
fn a_processor_outlives_its_nats_server() {
    let mut server = NatsServer::start();
    outlives(server.address().to_string(), &mut |comes| if comes { server.restart() } else { server.kill() });
}
