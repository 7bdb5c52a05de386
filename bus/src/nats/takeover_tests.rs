//! Members that die or are stopped at every step of a commit, on a real server whose memory of message ids is a moment.

use super::*;
use crate::{
    Address, BusOptions, Delivery, Outgoing, Position, Security, TopicSpec,
    nats::{
        NatsBus, OnRefusal,
        commit::Committer,
        stream::{self, StreamInfo},
        topics,
    },
    testing::NatsServer,
};

/// How long message ids are remembered here. Tests wait for longer where it matters.
const WINDOW: Duration = Duration::from_millis(400);

struct World {
    bus: NatsBus,
    bucket: Bucket,
    // Ends when everything else has.
    server: NatsServer,
}

impl World {
    fn new() -> Self {
        Self::remembering(WINDOW)
    }

    fn remembering(window: Duration) -> Self {
        let server = NatsServer::start();
        let options = BusOptions {
            address: server.address(),
            security: Security::default(),
            client_id: "test".into(),
            extra: Vec::new(),
        };
        assert!(matches!(options.address, Address::Nats { .. }));
        let bus = NatsBus::connect(&options, OnRefusal::Fail).expect("connects");
        let core = &bus.core;
        let bucket = core.run(async {
            for name in ["out", "other"] {
                let spec = TopicSpec { name: name.into(), partitions: 2, replication: 1, settings: Vec::new() };
                assert!(topics::create(&core.link, &spec).await.expect("created"));
                let StreamInfo { mut config, .. } =
                    stream::info(&core.link, name, WRITE_WITHIN).await.expect("is there");
                config.duplicate_window = window.as_nanos() as i64;
                let what = format!("STREAM.UPDATE.{name}");
                core.link.ask::<serde_json::Value>(&what, &config, WRITE_WITHIN).await.expect("updated");
            }
            Bucket::open(core.link.clone(), "group", 1).await.expect("a bucket")
        });
        Self { bus, bucket, server }
    }

    fn member(&self) -> Committer {
        let core = &self.bus.core;
        let begun = Committer::begin(core.shared(), self.bucket.clone(), Delivery::ExactlyOnce, WRITE_WITHIN);
        core.run(begun).expect("begins")
    }

    fn finish(&self, token: &str) {
        let done = finish(self.bus.core.shared(), self.bucket.clone(), token.to_owned());
        self.bus.core.run(done).expect("finished");
    }

    /// Kills the server and waits until the one after it answers.
    fn crash(&mut self) {
        self.server.kill();
        self.server.restart();
        while self.bus.core.run(self.bucket.get("state")).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Payloads of the topic, by partition, in their order.
    fn written(&self, topic: &str) -> Vec<String> {
        let mut reader = crate::Bus::reader(&self.bus, &crate::ReaderOptions::default()).expect("a reader");
        let mut payloads = Vec::new();
        for partition in 0..2 {
            let of = TopicPartition { topic: topic.into(), partition };
            let (first, end) = reader.bounds(&of).expect("bounds");
            reader.assign(&of, first).expect("assigned");
            let mut ended = first == end;
            while !ended {
                let on_record = &mut |record: &crate::Record<'_>| {
                    assert!(record.payload.len() > (3 << 20) || record.payload.len() < 100, "whole");
                    payloads.push(String::from_utf8_lossy(record.payload.get(..2).unwrap_or_default()).into_owned());
                };
                let changes = reader.poll(Duration::from_secs(1), 100, on_record).expect("polls");
                ended = changes.iter().any(|c| matches!(c, crate::Change::End { partition, .. } if *partition == of));
            }
        }
        payloads.sort();
        payloads
    }

    fn position(&self) -> Option<StoredPosition> {
        let stored = self.bus.core.run(self.bucket.get("position.in.0")).expect("asked");
        stored.map(|stored| serde_json::from_slice(&stored.payload).expect("reads"))
    }

    /// What is left of the member under its token.
    fn is_gone(&self, token: &str) -> bool {
        let core = &self.bus.core;
        core.run(self.bucket.get(&names::commit_key(token))).expect("asked").is_none()
    }
}

fn out(topic: &str, n: usize) -> Outgoing {
    let payload = format!("{n:02}").into_bytes();
    Outgoing {
        topic: topic.into(),
        partition: Some(n as i32 % 2),
        key: Some(vec![n as u8]),
        payload,
        headers: Vec::new(),
    }
}

fn outputs() -> Vec<Outgoing> {
    (0..6).map(|n| out(if n < 4 { "out" } else { "other" }, n)).collect()
}

fn to(offset: i64) -> Vec<(TopicPartition, Position)> {
    let of = TopicPartition { topic: "in".into(), partition: 0 };
    vec![(of, Position { offset, metadata: format!("at {offset}") })]
}

fn soon() -> Instant {
    Instant::now() + WRITE_WITHIN
}

const ALL: [&str; 4] = ["00", "01", "02", "03"];

#[test]
fn a_commit_that_was_only_decided_is_carried_out_by_who_comes_after() {
    let world = World::new();
    let mut member = world.member();
    world.bus.core.run(member.stop_after_writing(&outputs(), &to(7), soon())).expect("decided");
    assert!(world.written("out").is_empty() && world.position().is_none(), "nothing can be read yet");
    let token = member.log.token.clone();
    world.finish(&token);
    assert_eq!(
        (world.written("out"), world.written("other")),
        (ALL.map(String::from).to_vec(), vec!["04".into(), "05".into()])
    );
    assert_eq!(world.position().map(|p| (p.offset, p.metadata)), Some((7, "at 7".into())));
    assert!(world.is_gone(&token));
    world.finish(&token);
    assert_eq!(world.written("out").len(), 4, "again changes nothing");
}

#[test]
fn what_was_forwarded_before_is_found_when_the_server_has_forgotten_its_ids() {
    let world = World::new();
    let mut member = world.member();
    world.bus.core.run(member.stop_after_forwarding(&outputs(), &to(7), 3, soon())).expect("half of it");
    assert_eq!(world.written("out"), ["00", "01", "02"]);
    std::thread::sleep(WINDOW * 2);
    world.finish(&member.log.token.clone());
    assert_eq!(world.written("out"), ALL);
    assert_eq!(world.written("other"), ["04", "05"]);
}

#[test]
fn a_stopped_member_that_goes_on_much_later_doubles_nothing() {
    let world = World::new();
    let mut member = world.member();
    // It has its fences, has sent half, and is about to send the rest.
    world.bus.core.run(member.stop_after_forwarding(&outputs(), &to(7), 3, soon())).expect("half of it");
    world.finish(&member.log.token.clone());
    let mut next = world.member();
    let of = to(0)[0].0.clone();
    let revision = world.bus.core.run(world.bucket.get("position.in.0")).expect("asked").expect("set").sequence;
    next.log.revisions.insert(of, revision);
    world.bus.core.run(next.commit(&[out("out", 8)], &to(9), soon())).expect("the next one commits");
    std::thread::sleep(WINDOW * 2);
    let error = world.bus.core.run(member.go_on(soon())).expect_err("it is over");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    assert_eq!(world.written("out"), ["00", "01", "02", "03", "08"]);
    assert_eq!(world.position().map(|p| p.offset), Some(9), "the position does not go back");
    let error = world.bus.core.run(member.commit(&[out("out", 9)], &to(10), soon())).expect_err("nor does it commit");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    assert_eq!(world.written("out").len(), 5);
}

#[test]
fn a_fence_keeps_out_who_is_past_every_check() {
    let world = World::new();
    let core = &world.bus.core;
    if !core.link.version().expect("known").has_fences() {
        // Such a server is told of in docs/adr/0011-nats.md.
        return;
    }
    let mut member = world.member();
    core.run(member.stop_after_forwarding(&outputs(), &to(7), 3, soon())).expect("half of it");
    world.finish(&member.log.token.clone());
    std::thread::sleep(WINDOW * 2);
    // As if it had looked at the clock and been stopped right after.
    member.believe_it_is_early();
    let error = core.run(member.go_on(soon())).expect_err("it is over");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    assert_eq!((world.written("out").len(), world.written("other").len()), (4, 2));
}

#[test]
fn a_member_whose_log_is_sealed_commits_nothing_more() {
    let world = World::new();
    let mut member = world.member();
    world.bus.core.run(member.commit(&[out("out", 0)], &to(1), soon())).expect("committed");
    let mut outbox = world.bus.core.run(Outbox::open(world.bus.core.link.clone())).expect("an outbox");
    let token = member.log.token.clone();
    let sealed = world.bus.core.run(seal(&world.bucket, &mut outbox, &token)).expect("sealed").expect("an entry");
    assert!(sealed.sealed.is_some() && !sealed.id.is_empty(), "the commit is still in it");
    let error = world.bus.core.run(member.commit(&[out("out", 1)], &to(2), soon())).expect_err("fenced");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    world.finish(&token);
    assert_eq!(world.written("out"), ["00"]);
    // Also one that never committed, and even after nothing is left of it.
    let mut silent = world.member();
    world.finish(&silent.log.token.clone());
    let error = world.bus.core.run(silent.commit(&[out("out", 1)], &to(2), soon())).expect_err("fenced");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    assert_eq!(world.written("out"), ["00"]);
}

/// A killed server has forgotten that revisions of a purged key were replaced, and brings one of them back.
#[test]
fn a_log_that_is_removed_stays_closed_when_the_server_is_killed() {
    let mut world = World::new();
    let mut member = world.member();
    for n in 0..3 {
        world.bus.core.run(member.commit(&[out("out", n)], &to(n as i64), soon())).expect("committed");
    }
    let token = member.log.token.clone();
    world.finish(&token);
    assert!(world.is_gone(&token));
    world.crash();
    let error = world.bus.core.run(member.commit(&[out("out", 3)], &to(3), soon())).expect_err("fenced");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    assert_eq!(world.written("out"), ["00", "01", "02"]);
    // The same when a commit had to be finished.
    let mut member = world.member();
    let revision = world.bus.core.run(world.bucket.get("position.in.0")).expect("asked").expect("set").sequence;
    member.log.revisions.insert(to(0)[0].0.clone(), revision);
    world.bus.core.run(member.stop_after_forwarding(&[out("out", 3), out("out", 4)], &to(5), 1, soon())).expect("half");
    let token = member.log.token.clone();
    world.finish(&token);
    world.crash();
    // Whether it still knows that another one finished it, or only that it is not its own any more.
    let error = world.bus.core.run(member.go_on(soon())).expect_err("fenced");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    world.finish(&token);
    assert_eq!(world.written("out"), ["00", "01", "02", "03", "04"]);
    let left = world.bus.core.run(world.bucket.get(&names::commit_key(&token))).expect("asked");
    assert!(left.is_none(), "what came back goes when it is finished again");
}

#[test]
fn a_successor_that_is_stopped_is_overtaken_by_another() {
    let world = World::new();
    let core = &world.bus.core;
    let mut member = world.member();
    core.run(member.stop_after_writing(&outputs(), &to(7), soon())).expect("decided");
    let token = member.log.token.clone();
    // The first successor has sealed, fenced and looked; then it is stopped.
    let mut outbox = core.run(Outbox::open(core.link.clone())).expect("an outbox");
    let entry = core.run(seal(&world.bucket, &mut outbox, &token)).expect("sealed").expect("an entry");
    let commit = core.run(read(&world.bucket, &token, &entry)).expect("read").expect("a commit");
    let mut fences = Fences::new(core.shared(), world.bucket.clone(), token.clone(), Forwarder::Successor);
    let (decided, look_since) = (Instant::now(), entry.sealed.clone());
    let mut stopped = Forwarding { commit, done: (1..6).collect(), decided, look_since };
    core.run(fences.forward(&mut outbox, &mut stopped, WRITE_WITHIN)).expect("one of them");
    stopped.done.clear();
    world.finish(&token);
    std::thread::sleep(WINDOW * 2);
    let error = core.run(fences.forward(&mut outbox, &mut stopped, WRITE_WITHIN)).expect_err("done by the other one");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    assert_eq!(world.written("out"), ALL);
}

#[test]
fn a_commit_larger_than_a_message_is_in_chunks() {
    // Megabytes take longer than a moment on a busy machine.
    let world = World::remembering(Duration::from_secs(60));
    let mut member = world.member();
    let large = |n: usize| Outgoing {
        payload: [format!("{n:02}").into_bytes(), vec![b'x'; 4 << 20]].concat(),
        ..out("out", n)
    };
    let many: Vec<Outgoing> = (0..8).map(large).collect();
    world.bus.core.run(member.commit(&many[..4], &to(4), soon())).expect("committed");
    // The second time it dies after the decision.
    world.bus.core.run(member.stop_after_writing(&many[4..], &to(8), soon())).expect("decided");
    assert_eq!(world.written("out").len(), 4);
    let token = member.log.token.clone();
    world.finish(&token);
    assert_eq!(world.written("out"), ["00", "01", "02", "03", "04", "05", "06", "07"]);
    let chunk = world.bus.core.run(world.bucket.get(&names::chunk_key(&token, 0))).expect("asked");
    assert!(chunk.is_none(), "chunks go with the log");
}

#[test]
fn a_commit_to_a_topic_that_was_deleted_holds_nobody_up() {
    let world = World::new();
    let core = &world.bus.core;
    let mut member = world.member();
    core.run(member.stop_after_writing(&outputs(), &to(7), soon())).expect("decided");
    core.run(core.link.ask::<serde_json::Value>("STREAM.DELETE.other", &(), WRITE_WITHIN)).expect("deleted");
    core.topics.forget("other");
    world.finish(&member.log.token.clone());
    assert_eq!((world.written("out"), world.position().map(|p| p.offset)), (ALL.map(String::from).to_vec(), Some(7)));
}
