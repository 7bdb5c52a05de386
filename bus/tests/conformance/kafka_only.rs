//! What only Kafka has: its access control, its settings.

use crate::{
    away::{read_all, spec},
    fixture::{
        Noise, assigned, by_librdkafka, commit, connect, kafka, member_options, options, outgoing, poll, produce_with,
        send, tp, unique, until,
    },
    groups::at,
};
use amoskys_bus::{
    Bus, BusError, BusOptions, Change, Delivery, Member, MemberOptions, Outgoing, ProducerOptions, ReaderOptions,
    Record, Security, TopicSpec, open,
    testing::{KafkaBroker, KafkaOptions},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

fn as_user(broker: &KafkaBroker, user: &str, password: &str) -> Arc<dyn Bus> {
    let security = Security {
        protocol: Some("sasl_plaintext".to_owned()),
        sasl_mechanism: Some("PLAIN".to_owned()),
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..Security::default()
    };
    open(&BusOptions { security, ..options(&broker.sasl_address()) }).expect("the settings are right")
}

fn is_unauthorised<T: std::fmt::Debug>(result: Result<T, BusError>) {
    let error = result.expect_err("refused");
    assert!(matches!(error, BusError::Unauthorised { .. }), "{error:?}");
}

#[test]
fn access_is_refused_as_such_and_logins_pass_through() {
    let broker = KafkaBroker::start_with(KafkaOptions { sasl: true, ..KafkaOptions::default() });
    let admin = as_user(&broker, "admin", "admin-secret");
    let topic = unique("guarded");
    assert!(admin.create_topic(&spec(&topic)).expect("the admin may create topics"));

    is_unauthorised(as_user(&broker, "admin", "wrong").topics());
    let nobody = as_user(&broker, "reader", "reader-secret");
    is_unauthorised(nobody.create_topic(&spec(&unique("another"))));

    let mut producer = nobody.producer(&ProducerOptions::default()).expect("a producer");
    let mut reports = Vec::new();
    send(&mut *producer, outgoing(&topic, "k", "x"), 1, &mut reports);
    until("the report", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (!reports.is_empty()).then_some(())
    });
    is_unauthorised(reports.remove(0).result);

    let mut member = nobody.member(&member_options(&unique("group"), &topic)).expect("a member");
    let refused = until("an error", || member.poll(Duration::from_millis(100), 10, &mut |_| {}).err());
    is_unauthorised::<()>(Err(refused));

    let mut reader = nobody.reader(&ReaderOptions::default()).expect("a reader");
    is_unauthorised(reader.bounds(&tp(&topic, 0)));
    is_unauthorised(reader.assign(&tp(&topic, 0), 0));

    // The admin's member commits a transaction over the guarded listener.
    let mut member = admin.member(&member_options(&unique("group"), &topic)).expect("a member");
    assigned(&mut *member, 1);
    commit(&mut *member, &[outgoing(&topic, "k", "x")], &[(tp(&topic, 0), at(0, ""))]).expect("committed");
}

#[test]
fn a_setting_that_librdkafka_does_not_know_is_named() {
    let wrong = BusOptions {
        extra: vec![("no.such".into(), "1".into())],
        ..options(&"kafka://127.0.0.1:1".parse().expect("address"))
    };
    let error = open(&wrong).err().expect("refused");
    assert!(matches!(&error, BusError::Misconfigured { detail } if detail.contains("no.such")), "{error}");
}

#[test]
fn the_first_poll_after_a_silence_hears_of_everything() {
    let mut broker = KafkaBroker::start();
    let bus = connect(&broker.address());
    let topic = unique("topic");
    bus.create_topic(&spec(&topic)).expect("the topic is created");
    let session_timeout = Duration::from_secs(1);
    let options = MemberOptions { session_timeout, ..member_options(&unique("group"), &topic) };
    let mut member = bus.member(&options).expect("a member");
    assigned(&mut *member, 1);
    // As when a commit waits for a broker that is away: each attempt to connect leaves an error, and the loss of the
    // partitions comes after the first of them.
    broker.kill();
    std::thread::sleep(4 * session_timeout);
    let changes = member.poll(Duration::ZERO, 0, &mut |_| {}).expect("changes come before errors");
    assert_eq!(changes, [Change::Lost(vec![tp(&topic, 0)])]);
    broker.restart();
    assigned(&mut *member, 1);
}

#[test]
fn a_commit_for_an_old_generation_is_refused_and_then_made_for_the_new_one() {
    let broker = KafkaBroker::start();
    let bus = connect(&broker.address());
    let (topic, output) = (unique("topic"), unique("output"));
    bus.create_topic(&TopicSpec { partitions: 2, ..spec(&topic) }).expect("the topic is created");
    bus.create_topic(&spec(&output)).expect("the topic is created");
    let options = member_options(&unique("group"), &topic);
    let mut first = bus.member(&options).expect("a member");
    assigned(&mut *first, 2).iter().for_each(|given| first.start(&given.partition, 0).expect("started"));
    let written = [outgoing(&output, "k", "x")];
    commit(&mut *first, &written, &[(tp(&topic, 0), at(1, "")), (tp(&topic, 1), at(1, ""))]).expect("committed");

    let stop = Arc::new(AtomicBool::new(false));
    let second = std::thread::spawn({
        let (bus, options, stop) = (bus.clone(), options.clone(), stop.clone());
        move || {
            let mut second = bus.member(&options).expect("a member");
            while !stop.load(Ordering::Relaxed) {
                poll(&mut *second);
            }
        }
    });
    // The first member's library takes part in the rebalance by itself; what it was told is what it was before.
    let refused = until("a refusal", || {
        std::thread::sleep(Duration::from_millis(200));
        first.commit(&written, &[(tp(&topic, 0), at(2, "")), (tp(&topic, 1), at(2, ""))]).err()
    });
    assert!(refused.retryable() && refused.to_string().contains("generation"), "{refused}");
    // Each is aborted to its end: the next can be begun.
    for _ in 0..100 {
        let again = first.commit(&written, &[(tp(&topic, 0), at(2, "")), (tp(&topic, 1), at(2, ""))]);
        let again = again.expect_err("refused");
        assert!(again.retryable() && again.to_string().contains("generation"), "{again}");
    }
    let revoked = until("the revocation", || {
        let changes = first.poll(Duration::from_millis(50), 0, &mut |_| {}).expect("polls");
        changes.into_iter().find_map(|change| match change {
            Change::Revoked(revoked) => Some(revoked),
            _ => None,
        })
    });
    assert_eq!(revoked.len(), 1);
    // What is revoked may be committed once more, and what is kept with it.
    commit(&mut *first, &written, &[(tp(&topic, 0), at(3, "")), (tp(&topic, 1), at(3, ""))]).expect("committed");
    stop.store(true, Ordering::Relaxed);
    second.join().expect("the second member ends");
}

#[test]
fn a_commit_that_nobody_answers_is_given_up_and_made_again() {
    let broker = KafkaBroker::start();
    let bus = connect(&broker.address());
    let (topic, output) = (unique("topic"), unique("output"));
    for name in [&topic, &output] {
        bus.create_topic(&spec(name)).expect("the topic is created");
    }
    let (session_timeout, transaction_timeout) = (Duration::from_secs(30), Duration::from_secs(2));
    let options = MemberOptions { session_timeout, transaction_timeout, ..member_options(&unique("group"), &topic) };
    let mut member = bus.member(&options).expect("a member");
    assigned(&mut *member, 1).iter().for_each(|given| member.start(&given.partition, 0).expect("started"));
    commit(&mut *member, &[outgoing(&output, "k", "1")], &[(tp(&topic, 0), at(1, ""))]).expect("committed");
    let (written, positions) = ([outgoing(&output, "k", "2")], [(tp(&topic, 0), at(2, ""))]);
    broker.freeze();
    let given_up = member.commit(&written, &positions).expect_err("nobody answers");
    broker.thaw();
    assert!(matches!(given_up, BusError::Unreachable { .. }), "{given_up}");
    commit(&mut *member, &written, &positions).expect("committed");
    assert_eq!(read_all(bus.as_ref(), &output), ["1", "2"]);
}

#[test]
fn what_was_written_by_a_refused_commit_is_not_written_by_its_repetition() {
    let log = kafka();
    let (topic, output, group) = (log.topic(1), log.topic(1), unique("group"));
    let delivery = Delivery::AtLeastOnce;
    let options = MemberOptions { delivery, instance: Some("one".to_owned()), ..member_options(&group, &topic) };
    let mut old = log.member_with(&options);
    assigned(&mut *old, 1);
    let mut new = log.member_with(&options);
    assigned(&mut *new, 1);
    for _ in 0..2 {
        let refused = old.commit(&[outgoing(&output, "k", "x")], &[(tp(&topic, 0), at(1, ""))]).expect_err("fenced");
        assert!(matches!(refused, BusError::Fenced { .. }), "{refused:?}");
    }
    assert_eq!(log.read(&output, 1).len(), 1);
}

#[test]
fn partitions_that_nobody_has_are_noticed_and_have_an_owner_again() {
    let broker = KafkaBroker::start();
    let bus = connect(&broker.address());
    let topic = unique("topic");
    bus.create_topic(&TopicSpec { partitions: 2, ..spec(&topic) }).expect("the topic is created");
    let session_timeout = Duration::from_secs(2);
    let unnamed = MemberOptions { session_timeout, ..member_options(&unique("group"), &topic) };
    let named = MemberOptions { instance: Some("named".to_owned()), ..unnamed.clone() };
    let mut first = bus.member(&named).expect("a member");
    assigned(&mut *first, 2);
    let mut second = bus.member(&unnamed).expect("a member");
    until("the revocation", || {
        poll(&mut *second);
        let changes = first.poll(Duration::from_millis(50), 0, &mut |_| {}).expect("polls");
        changes.iter().any(|change| matches!(change, Change::Revoked(_))).then_some(())
    });
    // Comes back without having left, as when it is killed: it has what it was to keep, and nobody the rest. The handle is not
    // dropped: closing one that is just being asked to give partitions up may wait in librdkafka for an answer that never comes.
    std::mem::forget(first);
    let mut members = [(named.clone(), bus.member(&named).expect("a member")), (unnamed, second)];
    let mut owned = [Vec::new(), Vec::new()];
    let mut noticed = 0;
    until("each partition has an owner", || {
        for (index, (options, member)) in members.iter_mut().enumerate() {
            match member.poll(Duration::from_millis(50), 0, &mut |_| {}) {
                Ok(changes) => changes.into_iter().for_each(|change| match change {
                    Change::Assigned(given) => owned[index].extend(given.into_iter().map(|of| of.partition)),
                    Change::Revoked(gone) | Change::Lost(gone) => owned[index].retain(|of| !gone.contains(of)),
                    Change::End { .. } => {}
                }),
                Err(error) => {
                    assert!(error.to_string().contains("nobody in the group has"), "{error}");
                    noticed += 1;
                    owned[index].clear();
                    let again = bus.member(options).expect("a member");
                    std::mem::replace(member, again).leave().expect("leaves");
                }
            }
        }
        owned.iter().all(|of| of.len() == 1).then_some(())
    });
    assert!(noticed > 0 && owned[0] != owned[1], "{noticed} {owned:?}");
}

/// What a member has read, and which partitions it has; one that comes back goes on where it was.
struct Reading {
    texts: Vec<Vec<String>>,
    next: Vec<i64>,
    owned: BTreeSet<i32>,
}

impl Reading {
    /// Whether partitions were asked back.
    fn poll(&mut self, member: &mut dyn Member, records_max: usize) -> bool {
        let timeout = Duration::from_millis(if records_max == 0 { 20 } else { 0 });
        let mut is_asked = false;
        let changes = member.poll(timeout, records_max, &mut |record| {
            self.texts[record.partition as usize].push(String::from_utf8_lossy(record.payload).into_owned());
            self.next[record.partition as usize] = record.offset + 1;
        });
        for change in changes.expect("polls") {
            match change {
                Change::Assigned(given) => given.into_iter().for_each(|given| {
                    let partition = given.partition.partition;
                    member.start(&given.partition, self.next[partition as usize]).expect("started");
                    self.owned.insert(partition);
                }),
                Change::Revoked(gone) | Change::Lost(gone) => {
                    is_asked = true;
                    self.owned.retain(|partition| gone.iter().all(|of| of.partition != *partition));
                }
                Change::End { .. } => {}
            }
        }
        is_asked
    }
}

#[test]
fn rebalances_while_little_is_taken_lose_no_record() {
    rebalances_lose_no_record(Vec::new());
}

#[test]
fn rebalances_while_little_is_taken_lose_no_record_by_librdkafka() {
    rebalances_lose_no_record(by_librdkafka());
}

/// Of a topic that transactions write to, whose marks librdkafka reads too.
fn rebalances_lose_no_record(extra: Vec<(String, String)>) {
    const PARTITIONS: usize = 4;
    const REBALANCES: usize = 8;
    let broker = KafkaBroker::start();
    let bus = open(&BusOptions { extra, ..options(&broker.address()) }).expect("the log opens");
    let (topic, source) = (unique("topic"), unique("source"));
    bus.create_topic(&TopicSpec { partitions: PARTITIONS as i32, ..spec(&topic) }).expect("the topic is created");
    bus.create_topic(&spec(&source)).expect("the topic is created");
    let options = member_options(&unique("group"), &topic);
    let mut first = bus.member(&options).expect("a member");
    let mut reading =
        Reading { texts: vec![Vec::new(); PARTITIONS], next: vec![0; PARTITIONS], owned: BTreeSet::new() };
    let sent: Vec<String> = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            for _ in 0..REBALANCES {
                let mut second = bus.member(&options).expect("a member");
                until("the second has one", || {
                    let changes = second.poll(Duration::from_millis(20), 0, &mut |_| {}).expect("polls");
                    changes.iter().any(|change| matches!(change, Change::Assigned(_))).then_some(())
                });
                second.leave().expect("leaves");
            }
        });
        let (bus, topic, source) = (&bus, &topic, &source);
        let writing = scope.spawn(move || {
            let mut writer = bus.member(&member_options(&unique("writers"), source)).expect("a member");
            assigned(&mut *writer, 1);
            let mut sent = Vec::new();
            while !others.is_finished() {
                sent.push(sent.len().to_string());
                let text = || sent.last().cloned().unwrap_or_default();
                let to = |partition| Outgoing { partition: Some(partition), ..outgoing(topic, "k", text()) };
                commit(&mut *writer, &(0..PARTITIONS as i32).map(to).collect::<Vec<_>>(), &[]).expect("committed");
            }
            sent
        });
        for polls in 0.. {
            // Once just after partitions are given up, and then nothing for a while, as when a commit waits.
            let records_max = if polls % 20 == 0 { 2 } else { 0 };
            if reading.poll(&mut *first, records_max) {
                reading.poll(&mut *first, 0);
                reading.poll(&mut *first, 1);
            }
            if writing.is_finished() {
                break;
            }
        }
        writing.join().expect("written")
    });
    until("all is read", || {
        reading.poll(&mut *first, 1_000);
        reading.texts.iter().all(|texts| texts.last() == sent.last()).then_some(())
    });
    for (partition, texts) in reading.texts.iter().enumerate() {
        let missing: Vec<&String> = sent.iter().filter(|text| !texts.contains(text)).collect();
        assert!(missing.is_empty(), "partition {partition}, of {} records: {missing:?}", sent.len());
        assert_eq!(*texts, sent, "partition {partition}");
    }
}

#[test]
fn a_slow_reader_is_not_sent_more_than_it_asked_for() {
    a_slow_reader(Vec::new());
}

/// librdkafka thinks its queue empty while records are handed over, and must not fill it again and again meanwhile.
#[test]
fn a_slow_reader_is_not_sent_more_than_it_asked_for_by_librdkafka() {
    a_slow_reader(by_librdkafka());
}

fn a_slow_reader(extra: Vec<(String, String)>) {
    let broker = KafkaBroker::start();
    let bus = open(&BusOptions { extra, ..options(&broker.address()) }).expect("the log opens");
    let topic = unique("topic");
    bus.create_topic(&spec(&topic)).expect("the topic is created");
    let (records, record_bytes) = (2_000, 60_000);
    let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
    let mut noise = Noise::default();
    produce_with(&mut *producer, (0..records).map(|_| outgoing(&topic, "k", noise.bytes(record_bytes))).collect());

    let prefetch_bytes_max = 1 << 20;
    let mut reader = bus.reader(&ReaderOptions { prefetch_bytes_max, ..ReaderOptions::default() }).expect("a reader");
    reader.assign(&tp(&topic, 0), 0).expect("started");
    let mut taken = 0;
    until("the first records", || {
        let slowly = &mut |_: &Record<'_>| {
            taken += 1;
            std::thread::sleep(Duration::from_millis(10));
        };
        reader.poll(Duration::from_millis(50), 5, slowly).expect("a poll");
        (taken >= 150).then_some(())
    });
    broker.freeze();
    // What there is now was sent before.
    let mut ahead_bytes = 0;
    let mut quiet = 0;
    while quiet < 10 {
        let before = ahead_bytes;
        let polled = reader.poll(Duration::from_millis(50), 1_000, &mut |record| ahead_bytes += record.payload.len());
        polled.expect("nothing is wrong yet");
        quiet = if ahead_bytes == before { quiet + 1 } else { 0 };
    }
    broker.thaw();
    // One answer is at least as large as the largest record may be, and one may be on its way when the bound is reached.
    let bound = prefetch_bytes_max + 3 * (10 << 20);
    assert!(ahead_bytes <= bound, "{ahead_bytes} bytes were fetched ahead, {prefetch_bytes_max} were asked for");
    assert!(taken * record_bytes + ahead_bytes < records * record_bytes, "the topic is too short to tell");
}
