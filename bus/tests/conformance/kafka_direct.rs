//! Reading without librdkafka: what goes back to it and that nothing is lost on the way, brokers between which leaders move, TLS. What
//! every log has to do is in `checks` and `groups`, for both ways of reading.

use crate::{
    away::spec,
    fixture::{Noise, by_librdkafka, connect, options, outgoing, produce_with, tp, unique, until},
};
use amoskys_bus::{
    Bus, BusOptions, Change, Outgoing, ProducerOptions, Reader, ReaderOptions, Security, TopicSpec, open,
    testing::{KafkaBroker, KafkaOptions},
};
use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What is logged by this thread while `what` runs.
fn logged<T>(what: impl FnOnce() -> T) -> (T, String) {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let done = tracing::subscriber::with_default(logger, what);
    let bytes = lines.0.lock().expect("not poisoned").clone();
    (done, String::from_utf8(bytes).expect("text"))
}

/// Texts of the partition up to `count` of them, and the end that was told then.
fn read(reader: &mut dyn Reader, topic: &str, from: i64, count: usize) -> Vec<String> {
    reader.assign(&tp(topic, 0), from).expect("assigned");
    let mut texts = Vec::new();
    let mut ended = false;
    until("the records and the end", || {
        let changes = reader.poll(Duration::from_millis(50), 7, &mut |record| {
            texts.push(String::from_utf8_lossy(record.payload).into_owned());
        });
        ended |= changes.expect("polls").iter().any(|change| matches!(change, Change::End { .. }));
        (texts.len() >= count && ended).then_some(())
    });
    texts
}

fn by(bus: &BusOptions, compression: &str, topic: &str, numbers: std::ops::Range<u32>) {
    let extra = vec![("compression.type".to_owned(), compression.to_owned())];
    let bus = open(&BusOptions { extra, ..bus.clone() }).expect("the log opens");
    let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
    produce_with(&mut *producer, numbers.map(|n| outgoing(topic, "k", n.to_string())).collect());
}

/// By every kind of packing in turn: each record comes once, in order, whoever reads it.
#[test]
fn what_is_packed_otherwise_is_read_by_librdkafka_from_there_on() {
    let broker = KafkaBroker::start();
    let options = options(&broker.address());
    let bus = connect(&broker.address());
    let kinds = [("gzip", "gzip"), ("snappy", "Snappy"), ("zstd", "Zstandard")];
    for (kind, name) in kinds {
        let topic = unique("packed");
        bus.create_topic(&spec(&topic)).expect("created");
        by(&options, "lz4", &topic, 0..20);
        by(&options, "none", &topic, 20..40);
        by(&options, kind, &topic, 40..60);
        by(&options, "lz4", &topic, 60..80);
        let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
        let (texts, lines) = logged(|| read(&mut *reader, &topic, 0, 80));
        assert_eq!(texts, (0..80).map(|n| n.to_string()).collect::<Vec<_>>(), "{kind}");
        let words = format!("librdkafka reads {topic}/0 from 40 on: records packed by {name} at offset 40");
        assert!(lines.contains(&words), "{lines}");
    }
    // Nothing is strange in these.
    let topic = unique("usual");
    bus.create_topic(&spec(&topic)).expect("created");
    by(&options, "lz4", &topic, 0..50);
    by(&options, "none", &topic, 50..100);
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let (texts, lines) = logged(|| read(&mut *reader, &topic, 30, 70));
    assert_eq!(texts, (30..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(!lines.contains("librdkafka reads"), "{lines}");
}

/// One partition is read by librdkafka and one is not; however little is taken at once, neither waits for the other.
#[test]
fn partitions_that_are_read_in_different_ways_take_turns() {
    let broker = KafkaBroker::start();
    let bus = connect(&broker.address());
    let topic = unique("mixed");
    bus.create_topic(&TopicSpec { partitions: 2, ..spec(&topic) }).expect("created");
    for (partition, compression) in [(0, "gzip"), (1, "lz4")] {
        let extra = vec![("compression.type".to_owned(), compression.to_owned())];
        let bus = open(&BusOptions { extra, ..options(&broker.address()) }).expect("the log opens");
        let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
        let record = |n: u32| Outgoing { partition: Some(partition), ..outgoing(&topic, "k", n.to_string()) };
        produce_with(&mut *producer, (0..500).map(record).collect());
    }
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    (0..2).for_each(|partition| reader.assign(&tp(&topic, partition), 0).expect("assigned"));
    let mut texts = [Vec::new(), Vec::new()];
    // When the first of each came, by how many there were of the other.
    let mut others = [None; 2];
    until("all of both", || {
        let on_record = &mut |record: &amoskys_bus::Record<'_>| {
            let partition = record.partition as usize;
            others[partition] = others[partition].or(Some(texts[1 - partition].len()));
            texts[partition].push(String::from_utf8_lossy(record.payload).into_owned());
        };
        reader.poll(Duration::from_millis(50), 1, on_record).expect("polls");
        texts.iter().all(|texts| texts.len() == 500).then_some(())
    });
    let expected: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(texts, [expected.clone(), expected]);
    assert!(others.iter().flatten().all(|of_other| *of_other < 500), "one waited for the other: {others:?}");
}

/// What retention has taken is passed over, whoever reads.
#[test]
fn an_offset_that_is_gone_is_followed_by_the_next_there_is() {
    let settings = vec![("log.retention.check.interval.ms".to_owned(), "200".to_owned())];
    let broker = KafkaBroker::start_with(KafkaOptions { settings, ..KafkaOptions::default() });
    let bus = connect(&broker.address());
    let topic = unique("short");
    let settings = [("retention.bytes", "1"), ("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    bus.create_topic(&TopicSpec { settings, ..spec(&topic) }).expect("created");
    let by_librdkafka = BusOptions { extra: by_librdkafka(), ..options(&broker.address()) };
    let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
    let noise = vec![("noise".to_owned(), Noise::default().bytes(100_000))];
    for number in 0..40 {
        let record = Outgoing { key: Some(vec![number]), ..outgoing(&topic, "", number.to_string()) };
        // By one: a segment ends between batches. As many bytes as it has.
        produce_with(&mut *producer, vec![Outgoing { headers: noise.clone(), ..record }]);
    }
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let first = until("some are gone", || {
        let (first, end) = reader.bounds(&tp(&topic, 0)).expect("bounds");
        assert_eq!(end, 40);
        (first > 0).then_some(first)
    });
    let expected: Vec<String> = (first..40).map(|n| n.to_string()).collect();
    let (texts, lines) = logged(|| read(&mut *reader, &topic, 0, expected.len()));
    assert_eq!(texts, expected);
    assert!(lines.contains("from 0 on: the broker answers with error 1"), "{lines}");
    let bus = open(&by_librdkafka).expect("the log opens");
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    assert_eq!(read(&mut *reader, &topic, 0, expected.len()), expected);
}

#[test]
fn a_setting_about_reading_means_librdkafka_and_a_wrong_way_is_named() {
    let broker = KafkaBroker::start();
    let with = |name: &str, value: &str| {
        let extra = vec![(name.to_owned(), value.to_owned())];
        open(&BusOptions { extra, ..options(&broker.address()) })
    };
    let error = with("amoskys.fetch", "by-hand").err().expect("refused");
    assert_eq!(error.to_string(), "`by-hand` is no value for amoskys.fetch; write direct or librdkafka");
    let topic = unique("topic");
    let bus = connect(&broker.address());
    bus.create_topic(&spec(&topic)).expect("created");
    by(&options(&broker.address()), "gzip", &topic, 0..10);
    for bus in [with("fetch.wait.max.ms", "40"), with("amoskys.fetch", "librdkafka")] {
        let bus = bus.expect("the log opens");
        let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
        let (texts, lines) = logged(|| read(&mut *reader, &topic, 0, 10));
        assert_eq!(texts.len(), 10);
        // Nothing was given back to it, though there is what would be.
        assert!(!lines.contains("librdkafka reads"), "{lines}");
    }
}

#[test]
fn records_come_over_tls_with_and_without_a_clients_certificate() {
    let broker = KafkaBroker::start_with(KafkaOptions { tls: true, ..KafkaOptions::default() });
    let topic = unique("secret");
    connect(&broker.address()).create_topic(&spec(&topic)).expect("created");
    by(&options(&broker.address()), "lz4", &topic, 0..1_000);
    let trusting =
        Security { protocol: Some("SSL".to_owned()), ca_file: Some(broker.tls_file("ca.pem")), ..Security::default() };
    let known = Security {
        certificate_file: Some(broker.tls_file("client.pem")),
        key_file: Some(broker.tls_file("client.key")),
        ..trusting.clone()
    };
    for (address, security) in [(broker.tls_address(), trusting), (broker.mutual_tls_address(), known)] {
        let bus = open(&BusOptions { security, ..options(&address) }).expect("the settings are right");
        let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
        let (texts, lines) = logged(|| read(&mut *reader, &topic, 0, 1_000));
        assert_eq!(texts, (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(!lines.contains("librdkafka reads"), "{lines}");
    }
}

/// A cluster of two brokers. The second is killed, is led without, comes back and leads again what it led, while records are written
/// to all partitions and read from them.
#[test]
fn leaders_move_between_brokers_and_every_record_comes_once() {
    const PARTITIONS: usize = 4;
    // Whoever is back leads again soon; who stands still is missed soon.
    let settings: Vec<(String, String)> = [("leader.imbalance.check.interval.seconds", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let first = KafkaBroker::start_with(KafkaOptions { settings: settings.clone(), ..KafkaOptions::default() });
    let joins: Option<PathBuf> = Some(first.folder());
    let mut second = KafkaBroker::start_with(KafkaOptions { settings, joins, ..KafkaOptions::default() });
    let bus = connect(&first.address());
    let topic = unique("moving");
    let replicated = TopicSpec { partitions: PARTITIONS as i32, replication: 2, ..spec(&topic) };
    until("both brokers are in the cluster", || bus.create_topic(&replicated).ok());
    let (is_over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut seen: Vec<Vec<String>> = vec![Vec::new(); PARTITIONS];
    let sent = std::thread::scope(|scope| {
        let writing = scope.spawn(|| write_until(&is_over, &written, bus.as_ref(), &topic, PARTITIONS));
        let kills = scope.spawn(|| {
            for _ in 0..2 {
                let led = led_by_all(&first, &topic);
                assert_eq!(led.len(), 2, "each broker leads some: {led:?}");
                second.kill();
                until("the other leads all", || (led_by_all(&first, &topic).len() == 1).then_some(()));
                wait_for(&written, 100);
                second.restart();
                // Whoever reads hears of it from a broker that is there and no longer leads.
                until("the second leads again", || (led_by_all(&first, &topic).len() == 2).then_some(()));
                wait_for(&written, 100);
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
        (0..PARTITIONS as i32).for_each(|partition| reader.assign(&tp(&topic, partition), 0).expect("assigned"));
        let mut sent = None;
        let mut writing = Some(writing);
        let (_, lines) = logged(|| {
            until("everything is read", || {
                let on_record = &mut |record: &amoskys_bus::Record<'_>| {
                    seen[record.partition as usize].push(String::from_utf8_lossy(record.payload).into_owned());
                };
                if let Err(error) = reader.poll(Duration::from_millis(50), 1_000, on_record) {
                    assert!(error.retryable(), "{error}");
                }
                if is_over.load(Ordering::Relaxed)
                    && let Some(writing) = writing.take()
                {
                    sent = Some(writing.join().expect("written"));
                }
                let all = |sent: &usize| seen.iter().all(|texts| texts.len() >= *sent);
                sent.as_ref().is_some_and(all).then_some(())
            });
        });
        assert!(!lines.contains("librdkafka reads"), "{lines}");
        kills.join().expect("moved");
        sent.expect("written")
    });
    let expected: Vec<String> = (0..sent).map(|n| n.to_string()).collect();
    for (partition, texts) in seen.iter().enumerate() {
        assert_eq!(*texts, expected, "partition {partition}");
    }
}

/// Writes numbers from 0 on to each partition; how many, once it is over.
fn write_until(is_over: &AtomicBool, written: &AtomicUsize, bus: &dyn Bus, topic: &str, partitions: usize) -> usize {
    let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
    while !is_over.load(Ordering::Relaxed) {
        let number = written.load(Ordering::Relaxed).to_string();
        let to = |partition| Outgoing { partition: Some(partition), ..outgoing(topic, "k", number.clone()) };
        produce_with(&mut *producer, (0..partitions as i32).map(to).collect());
        written.fetch_add(1, Ordering::Relaxed);
    }
    written.load(Ordering::Relaxed)
}

fn wait_for(written: &AtomicUsize, more: usize) {
    let before = written.load(Ordering::Relaxed);
    until("more is written", || {
        std::thread::sleep(Duration::from_millis(20));
        (written.load(Ordering::Relaxed) >= before + more).then_some(())
    });
}

/// The brokers that lead partitions of the topic.
fn led_by_all(broker: &KafkaBroker, topic: &str) -> BTreeSet<i32> {
    std::thread::sleep(Duration::from_millis(100));
    broker.leaders(topic).into_iter().filter(|leader| *leader >= 0).collect()
}
