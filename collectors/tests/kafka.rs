//! The agent against a real Kafka broker: its gauges while the broker is up, gone and back.

mod support;

use amoskys_bus::{
    BusOptions, ReaderOptions, Security, TopicPartition, TopicSpec,
    testing::{KafkaBroker, KafkaOptions},
};
use amoskys_collectors::Agent;
use amoskys_proto::EnvelopeView;
use prometheus_client::registry::Registry;
use std::{collections::HashMap, sync::Arc, time::Duration};
use support::*;
use tempfile::TempDir;

#[test]
fn nothing_is_lost_when_the_broker_is_gone_and_comes_back() {
    let mut broker = KafkaBroker::start_with(KafkaOptions::default());
    let options = BusOptions {
        address: broker.address(),
        security: Security::default(),
        client_id: "agent-test".into(),
        extra: Vec::new(),
    };
    let bus = amoskys_bus::open(&options).expect("connects");
    for topic in [TELEMETRY, STATUS] {
        let spec = TopicSpec { name: topic.into(), partitions: 2, replication: 1, settings: Vec::new() };
        bus.create_topic(&spec).expect("creates the topic");
    }

    let folder = TempDir::new().expect("a folder");
    let mut registry = Registry::default();
    let mut config = snapshot_config(folder.path());
    config.publish.retry_timeout = Duration::from_secs(2);
    config.publish.retry_pause_max = Duration::from_millis(500);
    let agent = Agent::start(config, Arc::clone(&bus), &mut registry).expect("starts");
    let gauge = |name: &str| sample(&scrape(&registry), name);
    wait_until("acknowledgements", || gauge("amoskys_agent_acknowledged_events_total") > 100.0);

    broker.kill();
    wait_until("envelopes in flight", || gauge("amoskys_agent_in_flight_records") > 0.0);
    wait_until("the WAL to grow", || gauge("amoskys_agent_wal_records") > 50.0);
    wait_until("the agent to say so", || !agent.status().healthy);

    broker.restart();
    wait_until("the agent to be well", || agent.status().healthy);
    agent.stop(PATIENCE);
    let report = agent.join();
    assert_eq!((report.wal_records, report.in_flight_records, report.events_dropped), (0, 0, 0), "{report:?}");
    assert_eq!(gauge("amoskys_agent_in_flight_records"), 0.0);
    assert_identity(&scrape(&registry));

    let mut events = 0;
    for topic in [TELEMETRY, STATUS] {
        let mut events_by_sequence = HashMap::new();
        for partition in 0..2 {
            read(bus.as_ref(), topic, partition, &mut events_by_sequence);
        }
        let (first, last) = (events_by_sequence.keys().min().copied(), events_by_sequence.keys().max().copied());
        let span = last.zip(first).map_or(0, |(last, first)| last - first + 1);
        assert_eq!(span, events_by_sequence.len() as u64, "every sequence number of {topic} is there");
        events += events_by_sequence.values().map(|events| u64::from(*events)).sum::<u64>();
    }
    assert_eq!(events, report.events_acknowledged);
}

/// Reads a partition to its end: number of events by sequence number.
fn read(bus: &dyn amoskys_bus::Bus, topic: &str, partition: i32, events_by_sequence: &mut HashMap<u64, u32>) {
    let partition = TopicPartition { topic: topic.into(), partition };
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let (start, end) = reader.bounds(&partition).expect("bounds");
    reader.assign(&partition, start).expect("assigns");
    let mut next = start;
    wait_until("the end of the partition", || {
        let mut take = |record: &amoskys_bus::Record<'_>| {
            let header = EnvelopeView::parse(record.payload).expect("an envelope").header;
            let before = events_by_sequence.insert(header.sequence, header.event_count);
            assert!(before.is_none_or(|events| events == header.event_count), "a duplicate is exact");
            next = record.offset + 1;
        };
        reader.poll(Duration::from_millis(100), 1_000, &mut take).expect("reads");
        next >= end
    });
}
