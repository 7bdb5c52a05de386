//! What the logs with a broker have to stand: that it is away, and that it is killed and comes back.

use crate::fixture::{Seen, by_librdkafka, member_options, options, outgoing, send, tp, unique, until};
use crate::groups::at;
use amoskys_bus::{
    Address, Bus, BusError, BusOptions, Change, Member, Outgoing, ProducerOptions, ReaderOptions, TopicSpec, open,
    testing::{KafkaBroker, NatsServer},
};
use std::{collections::VecDeque, time::Duration};

/// A broker that can be killed and started again with what it had.
trait Broker {
    fn address(&self) -> Address;
    fn kill(&mut self);
    fn restart(&mut self);
}

impl Broker for KafkaBroker {
    fn address(&self) -> Address {
        KafkaBroker::address(self)
    }
    fn kill(&mut self) {
        KafkaBroker::kill(self);
    }
    fn restart(&mut self) {
        KafkaBroker::restart(self);
    }
}

impl Broker for NatsServer {
    fn address(&self) -> Address {
        NatsServer::address(self)
    }
    fn kill(&mut self) {
        NatsServer::kill(self);
    }
    fn restart(&mut self) {
        NatsServer::restart(self);
    }
}

pub fn spec(name: &str) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: 1, replication: 1, settings: Vec::new() }
}

#[test]
fn kafka_is_away_at_the_start_and_goes_in_the_middle() {
    away_at_the_start_and_gone_in_the_middle(&mut KafkaBroker::start(), Vec::new());
}

#[test]
fn kafka_by_librdkafka_is_away_at_the_start_and_goes_in_the_middle() {
    away_at_the_start_and_gone_in_the_middle(&mut KafkaBroker::start(), by_librdkafka());
}

#[test]
fn nats_is_away_at_the_start_and_goes_in_the_middle() {
    away_at_the_start_and_gone_in_the_middle(&mut NatsServer::start(), Vec::new());
}

fn away_at_the_start_and_gone_in_the_middle(broker: &mut dyn Broker, extra: Vec<(String, String)>) {
    let address = broker.address();
    broker.kill();

    // Away at the start: everything opens; calls say so or wait.
    let bus = open(&BusOptions { extra, ..options(&address) }).expect("the log opens");
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

pub fn read_all(bus: &dyn Bus, topic: &str) -> Vec<String> {
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    reader.assign(&tp(topic, 0), 0).expect("assigned");
    let mut seen = Vec::new();
    until("the end", || {
        let changes = reader.poll(Duration::from_millis(100), 1000, &mut |r| seen.push(Seen::of(r).text()));
        changes.expect("polls").iter().any(|c| matches!(c, Change::End { .. })).then_some(())
    });
    seen
}
