//! Producing and reading, on any log.

use crate::fixture::{Fixture, Seen, outgoing, produce_with, send, tp, until};
use amoskys_bus::{
    Address, BusError, Change, Outgoing, ProducerOptions, ReaderOptions, SendError, TopicSpec, partition_for_key,
};
use std::time::Duration;

pub fn order_within_a_partition(log: &mut Fixture) {
    let topic = log.topic(3);
    let keys = ["a", "b", "c", "d", "e"];
    let records = (0..600).map(|n| outgoing(&topic, keys[n % keys.len()], n.to_string())).collect();
    let reports = log.produce(records);
    let read = log.read(&topic, 3);
    assert_eq!(read.len(), 600);
    for (partition, records) in (0..3).map(|p| (p, read.iter().filter(move |r| r.partition == p))) {
        let records: Vec<&Seen> = records.collect();
        let numbers: Vec<usize> = records.iter().map(|r| r.text().parse().expect("a number")).collect();
        assert!(numbers.is_sorted(), "partition {partition} is in the order of send");
        assert!(records.is_sorted_by_key(|r| r.log_time_ms), "the log time never runs backwards");
        for (number, record) in numbers.iter().zip(&records) {
            assert_eq!(reports[*number], (partition, record.offset), "the report told where it went");
        }
    }
}

pub fn keys_go_where_the_java_client_puts_them(log: &mut Fixture) {
    let topic = log.topic(7);
    let keys: Vec<String> = (0..50).map(|n| format!("host-{n}")).chain(["".into(), "é".into(), "21".into()]).collect();
    let reports = log.produce(keys.iter().map(|key| outgoing(&topic, key, "x")).collect());
    for (key, (partition, _)) in keys.iter().zip(reports) {
        assert_eq!(partition, partition_for_key(key.as_bytes(), 7), "key `{key}`");
    }
    let chosen = Outgoing { partition: Some(5), ..outgoing(&topic, "host-1", "x") };
    assert_eq!(log.produce(vec![chosen])[0].0, 5, "a partition that is given wins over the key");
}

pub fn reading_from_a_position(log: &mut Fixture) {
    let topic = log.topic(2);
    let to = |partition, n: usize| Outgoing { partition: Some(partition), ..outgoing(&topic, "k", n.to_string()) };
    let reports = log.produce((0..100).map(|n| to(n as i32 % 2, n)).collect());
    let written = |partition| reports.iter().filter(|(p, _)| *p == partition).map(|(_, o)| *o).collect::<Vec<i64>>();
    let mut reader = log.bus().reader(&ReaderOptions::default()).expect("a reader");
    for partition in 0..2 {
        let offsets = written(partition);
        // Offsets grow; some logs leave gaps.
        assert!(offsets.len() == 50 && offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
        assert_eq!(reader.bounds(&tp(&topic, partition)).expect("bounds"), (offsets[0], offsets[49] + 1));
    }
    let there = written(1);
    for start in [20, 3, 49, 0, 30] {
        reader.assign(&tp(&topic, 1), there[start]).expect("assigned, or moved");
        let mut offsets = Vec::new();
        let end = until("the end", || {
            let on_record = &mut |r: &amoskys_bus::Record<'_>| offsets.push((r.partition, r.offset));
            // At most 7 at once: the rest comes with later calls.
            let changes = reader.poll(Duration::from_millis(100), 7, on_record).expect("polls");
            changes
                .into_iter()
                .find_map(|c| if let Change::End { partition, offset } = c { Some((partition, offset)) } else { None })
        });
        assert_eq!(end, (tp(&topic, 1), there[49] + 1), "{offsets:?}");
        assert_eq!(offsets, there[start..].iter().map(|offset| (1, *offset)).collect::<Vec<_>>());
    }
    assert_eq!(reader.poll(Duration::ZERO, 10, &mut |_| panic!("nothing is left")).expect("polls"), []);
    let next = log.produce(vec![to(1, 100)])[0].1;
    let mut late = Vec::new();
    until("a record that came later", || {
        reader.poll(Duration::from_millis(100), 10, &mut |r| late.push(Seen::of(r))).expect("polls");
        (!late.is_empty()).then_some(())
    });
    assert_eq!((late[0].offset, late[0].text()), (next, "100".to_owned()));
    assert!(next > there[49]);
}

pub fn a_record_comes_back_whole(log: &mut Fixture) {
    let topic = log.topic(1);
    let records = vec![
        Outgoing {
            headers: vec![
                ("schema".into(), b"v1".to_vec()),
                ("empty".into(), Vec::new()),
                ("schema".into(), vec![0, 255]),
            ],
            ..outgoing(&topic, "key", vec![0, 1, 2, 255])
        },
        Outgoing { key: None, ..outgoing(&topic, "", "without key") },
        outgoing(&topic, "", Vec::new()),
        outgoing(&topic, "large", vec![7; 3 << 20]),
    ];
    log.produce(records.clone());
    let read = log.read(&topic, 1);
    for (record, seen) in records.iter().zip(&read) {
        assert_eq!((&record.key, &record.headers), (&seen.key, &seen.headers));
        assert!(record.payload == seen.payload);
        assert!(seen.log_time_ms > 1_600_000_000_000, "milliseconds since 1970");
    }
    assert_eq!(read.len(), records.len());
    let mut without = log.read_with(&topic, 1, &ReaderOptions { with_headers: false, ..ReaderOptions::default() });
    // They may be there all the same.
    without.iter_mut().zip(&read).for_each(|(record, whole)| record.headers.clone_from(&whole.headers));
    assert!(without == read, "headers are all that may be left out");
}

pub fn topics_are_created_once(log: &mut Fixture) {
    let topic = log.topic(3);
    let spec = TopicSpec { name: topic.clone(), partitions: 5, replication: 1, settings: Vec::new() };
    assert!(!log.bus().create_topic(&spec).expect("asked again"));
    let topics = log.bus().topics().expect("topics");
    let found = topics.iter().find(|info| info.name == topic).expect("the topic is listed");
    assert_eq!(found.partitions, 3, "as it was");
    assert!(topics.iter().all(|info| !info.name.starts_with("__")));
    for wrong in [
        TopicSpec { name: "no spaces".into(), ..spec.clone() },
        TopicSpec { name: crate::fixture::unique("t"), partitions: 0, ..spec },
    ] {
        let error = log.bus().create_topic(&wrong).expect_err("refused");
        assert!(matches!(error, BusError::Misconfigured { .. } | BusError::UnknownTopic { .. }), "{error}");
    }
}

pub fn a_compacted_topic_keeps_the_last_of_each_key(log: &mut Fixture) {
    let topic = log.topic_with(2, &[("cleanup.policy", "compact")]);
    let keys = ["a", "b.c", "", "d e", "é"];
    // In one go and one after the other: what comes together may be written together.
    let records = |from: usize| (from..from + 40).map(|n| outgoing(&topic, keys[n % keys.len()], n.to_string()));
    log.produce(records(0).collect());
    let reports: Vec<(i32, i64)> = records(40).flat_map(|record| log.produce(vec![record])).collect();
    let read = log.read(&topic, 2);
    for (place, key) in keys.iter().enumerate() {
        let last = read.iter().rfind(|record| record.key.as_deref() == Some(key.as_bytes())).expect("the key is there");
        let n = 75 + place;
        let (partition, offset) = reports[n - 40];
        assert_eq!((last.text(), last.partition, last.offset), (n.to_string(), partition, offset));
        assert_eq!(partition, partition_for_key(key.as_bytes(), 2));
    }
    // Kafka's cleaner comes when it comes.
    if !matches!(log.options.address, Address::Kafka { .. }) {
        assert_eq!(read.len(), keys.len(), "what came before is gone");
    }
    let mut producer = log.bus().producer(&ProducerOptions::default()).expect("a producer");
    let mut reports = Vec::new();
    send(&mut *producer, Outgoing { key: None, ..outgoing(&topic, "", "x") }, 1, &mut reports);
    until("the report", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (!reports.is_empty()).then_some(())
    });
    let error = reports.remove(0).result.expect_err("nothing could take its place");
    assert!(!error.retryable(), "{error}");
}

pub fn record_too_large(log: &mut Fixture) {
    let topic = log.topic_with(1, &[("max.message.bytes", "100000")]);
    let options = ProducerOptions { record_bytes_max: 300_000, ..ProducerOptions::default() };
    let mut producer = log.bus().producer(&options).expect("a producer");
    // More than the handle takes: told at once.
    match producer.send(outgoing(&topic, "k", vec![0; 300_000]), 1) {
        Err(SendError::Failed(BusError::RecordTooLarge { bytes: 300_001, bytes_max: 300_000, .. })) => {}
        other => panic!("{other:?}"),
    }
    // More than the topic takes: told by the report. Random bytes, so that compression does not help.
    let noise: Vec<u8> =
        std::iter::successors(Some(1u32), |n| Some(xorshift(*n))).map(|n| n as u8).take(200_000).collect();
    let mut reports = Vec::new();
    send(&mut *producer, outgoing(&topic, "k", noise), 2, &mut reports);
    until("the report", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (!reports.is_empty()).then_some(())
    });
    match reports.remove(0).result {
        Err(BusError::RecordTooLarge { topic: of, bytes: 200_001, bytes_max: 100_000 }) => assert_eq!(of, topic),
        other => panic!("{other:?}"),
    }
    assert_eq!(produce_with(&mut *producer, vec![outgoing(&topic, "k", "fits")]), [(0, 0)], "the producer goes on");
}

fn xorshift(n: u32) -> u32 {
    let n = n ^ (n << 13);
    let n = n ^ (n >> 17);
    n ^ (n << 5)
}

pub fn unknown_topic(log: &mut Fixture) {
    let missing = crate::fixture::unique("missing");
    let mut producer = log.bus().producer(&ProducerOptions::default()).expect("a producer");
    let mut reports = Vec::new();
    send(&mut *producer, outgoing(&missing, "k", "x"), 9, &mut reports);
    until("the report", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (!reports.is_empty()).then_some(())
    });
    assert_eq!(reports[0].token, 9);
    assert!(is_missing(reports.remove(0).result.expect_err("not delivered"), &missing));
    assert_eq!(producer.in_flight(), 0);

    let mut member = log.member(&crate::fixture::unique("group"), &missing);
    let error = until("an error", || member.poll(Duration::from_millis(100), 10, &mut |_| {}).err());
    assert!(is_missing(error, &missing));

    let mut reader = log.bus().reader(&ReaderOptions::default()).expect("a reader");
    assert!(is_missing(reader.bounds(&tp(&missing, 0)).expect_err("no bounds"), &missing));
    assert!(is_missing(reader.assign(&tp(&missing, 0), 0).expect_err("nothing to read"), &missing));
}

fn is_missing(error: BusError, name: &str) -> bool {
    let text = error.to_string();
    let hint = text.contains(&format!("amoskys topics create {name}"));
    let found = matches!(error, BusError::UnknownTopic { topic } if topic == name);
    assert!(found && hint, "{text}");
    true
}

pub fn a_full_queue_hands_the_record_back(log: &mut Fixture) {
    let topic = log.topic(1);
    let options = ProducerOptions { queue_records_max: 3, ..ProducerOptions::default() };
    let mut producer = log.bus().producer(&options).expect("a producer");
    let record = |n: usize| outgoing(&topic, "k", n.to_string());
    for n in 0..3 {
        producer.send(record(n), n as u64).expect("there is room");
    }
    assert_eq!(producer.in_flight(), 3);
    match producer.send(record(3), 3) {
        Err(SendError::QueueFull(back)) => assert_eq!(back, record(3), "handed back as it was"),
        other => panic!("{other:?}"),
    }
    let mut reports = Vec::new();
    until("reports", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (reports.len() == 3).then_some(())
    });
    assert_eq!(producer.in_flight(), 0);
    assert_eq!(produce_with(&mut *producer, vec![record(3)]), [(0, 3)]);
}
