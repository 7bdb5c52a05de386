//! What only a broker has: access control, and being away.

use crate::{
    fixture::{Seen, assigned, commit, connect, member_options, options, outgoing, send, tp, unique, until},
    groups::at,
};
use amoskys_bus::{
    Bus, BusError, BusOptions, Change, Member, Outgoing, ProducerOptions, ReaderOptions, Security, TopicSpec, open,
    testing::{KafkaBroker, KafkaOptions},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

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

fn spec(name: &str) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: 1, replication: 1, settings: Vec::new() }
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
fn a_broker_that_is_away_at_the_start_and_goes_in_the_middle() {
    let mut broker = KafkaBroker::start();
    let address = broker.address();
    broker.kill();

    // Away at the start: everything opens; calls say so or wait.
    let bus = connect(&address);
    let error = bus.topics().expect_err("nobody answers");
    assert!(matches!(error, BusError::Unreachable { .. }) && error.retryable(), "{error}");
    let short = ProducerOptions { delivery_timeout: Duration::from_millis(1500), ..ProducerOptions::default() };
    let mut hasty = bus.producer(&short).expect("a producer");
    let mut reports = Vec::new();
    send(&mut *hasty, outgoing("topic", "k", "x"), 1, &mut reports);
    until("the report", || {
        hasty.poll(Duration::from_millis(100), &mut reports);
        (!reports.is_empty()).then_some(())
    });
    let error = reports.remove(0).result.expect_err("not delivered");
    assert!(matches!(error, BusError::Unreachable { .. }) && error.retryable(), "{error}");
    let mut member = bus.member(&member_options(&unique("group"), "input")).expect("a member");
    let error = until("an error", || member.poll(Duration::from_millis(100), 10, &mut |_| {}).err());
    assert!(matches!(error, BusError::Unreachable { .. }) && error.retryable(), "{error}");

    // There at last.
    broker.restart();
    for topic in ["input", "output"] {
        until("the topic", || bus.create_topic(&spec(topic)).ok());
    }
    let member = bus.member(&member_options(&unique("group"), "input")).expect("a member");
    let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");

    // Gone and back twice while records are written and copied: each arrives once, in order.
    const RECORDS: u64 = 3_000;
    let (mut sent, mut reports) = (0, Vec::new());
    let mut copier = Copier { member, read: VecDeque::new(), next: None, again: 0 };
    let mut kills = [RECORDS / 5, RECORDS / 2].into_iter().peekable();
    until("everything is copied", || {
        for _ in 0..100.min(RECORDS - sent) {
            send(&mut *producer, outgoing("input", "k", sent.to_string()), sent, &mut reports);
            sent += 1;
        }
        producer.poll(Duration::ZERO, &mut reports);
        let done = copier.step();
        if kills.next_if(|at| done >= *at).is_some() {
            broker.kill();
            broker.restart();
        }
        (done == RECORDS).then_some(())
    });
    until("reports", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (reports.len() as u64 == RECORDS).then_some(())
    });
    reports.iter().for_each(|report| assert!(report.result.is_ok(), "{report:?}"));
    for topic in ["input", "output"] {
        assert_eq!(read_all(&*bus, topic), (0..RECORDS).map(|n| n.to_string()).collect::<Vec<_>>(), "{topic}");
    }
}

/// Copies `input` to `output`, as a processor would: what is lost is forgotten and read again from its position.
struct Copier {
    member: Box<dyn Member>,
    /// Read and not yet copied.
    read: VecDeque<(i64, Vec<u8>)>,
    /// The first offset not yet copied, once the partition is ours.
    next: Option<i64>,
    /// Records of a commit that has to be made again as it was; 0 when there is none.
    again: usize,
}

impl Copier {
    /// Reads on and tries one commit; how many are copied for certain.
    fn step(&mut self) -> u64 {
        let read = &mut self.read;
        let polled =
            self.member.poll(Duration::from_millis(20), 50, &mut |r| read.push_back((r.offset, r.payload.to_vec())));
        for change in polled.unwrap_or_else(|error| {
            assert!(error.retryable(), "{error}");
            Vec::new()
        }) {
            match change {
                Change::Assigned(given) => {
                    self.next = Some(given[0].begin);
                    self.member.start(&given[0].partition, given[0].begin).expect("started");
                }
                Change::Lost(_) | Change::Revoked(_) => self.forget(),
                Change::End { .. } => {}
            }
        }
        let Some(next) = self.next else { return 0 };
        let count = if self.again > 0 { self.again } else { 50 };
        let copies: Vec<_> = self.read.iter().take(count).collect();
        if let Some((offset, _)) = copies.first() {
            assert_eq!(*offset, next, "nothing is skipped or read twice");
            let outputs: Vec<_> = copies.iter().map(|(_, payload)| outgoing("output", "k", payload.clone())).collect();
            self.try_commit(&outputs, next + outputs.len() as i64);
        }
        self.next.unwrap_or(0) as u64
    }

    fn try_commit(&mut self, outputs: &[Outgoing], next: i64) {
        match self.member.commit(outputs, &[(tp("input", 0), at(next, ""))]) {
            Ok(()) => {
                self.read.drain(..outputs.len());
                (self.next, self.again) = (Some(next), 0);
            }
            Err(BusError::Fenced { .. }) => self.forget(),
            Err(error) => {
                assert!(error.retryable(), "{error}");
                self.again = outputs.len();
            }
        }
    }

    fn forget(&mut self) {
        self.read.clear();
        (self.next, self.again) = (None, 0);
    }
}

fn read_all(bus: &dyn Bus, topic: &str) -> Vec<String> {
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    reader.assign(&tp(topic, 0), 0).expect("assigned");
    let mut seen = Vec::new();
    until("the end", || {
        let changes = reader.poll(Duration::from_millis(100), 1000, &mut |r| seen.push(Seen::of(r).text()));
        changes.expect("polls").iter().any(|c| matches!(c, Change::End { .. })).then_some(())
    });
    seen
}
