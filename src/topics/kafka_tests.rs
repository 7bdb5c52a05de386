//! The commands on a real Kafka: transactions leave offsets without records, and topics get the settings they should.

use super::tests::{PROCESSES, Place, event, processes};
use amoskys_bus::{Bus, BusOptions, Change, Delivery, Member, MemberOptions, Outgoing, Security, testing::KafkaBroker};
use std::{sync::Arc, time::Duration};

fn connect(broker: &KafkaBroker) -> Arc<dyn Bus> {
    let (address, security) = (broker.address(), Security::default());
    let options = BusOptions { address, security, client_id: "test".into(), extra: vec![] };
    amoskys_bus::open(&options).expect("a client")
}

/// A member that owns the one partition of `trigger`, so that it may write in transactions.
fn writer(bus: &dyn Bus) -> Box<dyn Member> {
    let mut options = MemberOptions::new("writer", vec!["trigger".to_owned()]);
    options.delivery = Delivery::ExactlyOnce;
    let mut member = bus.member(&options).expect("a member");
    for _ in 0..300 {
        let changes = member.poll(Duration::from_millis(100), 1, &mut |_| {}).expect("it is in the group");
        if changes.iter().any(|change| matches!(change, Change::Assigned(_))) {
            return member;
        }
    }
    panic!("no partition was assigned within 30 s");
}

#[test]
fn on_kafka_topics_are_made_written_in_transactions_read_and_exported() {
    let broker = KafkaBroker::start();
    let place = Place::on(broker.address());
    let (code, text) = place.run(&["create", "--all", "trigger", "--partitions", "1"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = place.run(&["create", "--all", "--partitions", "1"]);
    assert_eq!((code, text.matches("is there already").count()), (0, 8), "{text}");
    let (_, text) = place.run(&["list"]);
    assert!(text.contains("amoskys.telemetry.process.v1           1 partition\n"), "{text}");

    let bus = connect(&broker);
    let mut member = writer(bus.as_ref());
    for sequence in 1..=3 {
        let payload = processes(sequence, vec![event(sequence as u32, "a"), event(100, "b")]);
        let (topic, key) = (PROCESSES.to_owned(), Some(b"web-1".to_vec()));
        let output = Outgoing { topic, partition: None, key, payload, headers: vec![("h".to_owned(), b"v".to_vec())] };
        member.commit(&[output], &[]).expect("the transaction is committed");
    }
    // Each record is followed by the mark of its transaction, so the topic ends at an offset that nothing is at.
    let (code, text) = place.run(&["tail", PROCESSES, "--format", "json"]);
    assert_eq!(code, 0, "{text}");
    let offsets: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object")["offset"].clone())
        .collect();
    assert_eq!(offsets, [0, 2, 4]);
    assert!(text.contains(r#""headers":[["h","v"]]"#), "{text}");
    let (code, text) = place.run(&["tail", PROCESSES, "--from", "2", "--max", "1", "--follow"]);
    assert_eq!((code, text.contains("/0@2 ")), (0, true), "{text}");
    let (code, text, rows) = place.export(PROCESSES, &[]);
    assert_eq!((code, rows.num_rows()), (0, 6), "{text}");
    let (code, text, rows) = place.export("amoskys.alerts.v1", &[]);
    assert_eq!((code, rows.num_rows()), (0, 0), "{text}");
    let (code, text) = place.run(&["tail", "nothing"]);
    assert_eq!(code, 2, "{text}");
    let (code, text) = place.run(&["create", "more", "--replication", "3"]);
    assert_eq!(code, 2, "{text}");
    member.leave().expect("it leaves");
}

#[test]
fn a_broker_that_is_not_there_fails_and_says_so() {
    // No program may listen on the first of all ports unless it is told to.
    let place = Place::on("kafka://127.0.0.1:1".parse().expect("an address"));
    let (code, text) = place.run(&["list"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot be reached"), "{text}");
}
