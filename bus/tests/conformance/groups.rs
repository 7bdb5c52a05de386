//! Consumer groups and commits, on any log.

use crate::fixture::{Fixture, assigned, commit, member_options, outgoing, poll, tp, unique, until};
use amoskys_bus::{Assignment, BusError, Change, Delivery, Member, MemberOptions, Outgoing, Position, StartAt};
use std::time::Duration;

pub fn at(offset: i64, metadata: &str) -> Position {
    Position { offset, metadata: metadata.to_owned() }
}

pub fn positions_and_metadata_come_back(log: &mut Fixture) {
    let (topic, group) = (log.topic(2), unique("group"));
    let reports = log.produce((0..20).map(|n| outgoing(&topic, &n.to_string(), "x")).collect());
    let mut member = log.member(&group, &topic);
    for assignment in assigned(&mut *member, 2) {
        let first = reports.iter().find(|(partition, _)| *partition == assignment.partition.partition);
        assert_eq!((assignment.committed, Some(assignment.begin)), (None, first.map(|(_, offset)| *offset)));
    }
    let long = format!("watermark=é {}", "x".repeat(4000));
    commit(&mut *member, &[], &[(tp(&topic, 0), at(2, &long)), (tp(&topic, 1), at(1, ""))]).expect("committed");
    commit(&mut *member, &[], &[(tp(&topic, 1), at(3, "later"))]).expect("committed");
    let too_long = member.commit(&[], &[(tp(&topic, 1), at(4, &"x".repeat(5000)))]);
    assert!(matches!(too_long, Err(BusError::Misconfigured { .. })), "{too_long:?}");
    member.leave().expect("leaves");
    let expected = |partition, position: Position| Assignment {
        partition: tp(&topic, partition),
        begin: position.offset,
        committed: Some(position),
    };
    let mut next = log.member(&group, &topic);
    assert_eq!(assigned(&mut *next, 2), [expected(0, at(2, &long)), expected(1, at(3, "later"))]);
}

pub fn latest_skips_what_was_there(log: &mut Fixture) {
    let topic = log.topic(1);
    log.produce((0..5).map(|n| outgoing(&topic, "k", n.to_string())).collect());
    let options = MemberOptions { start_at: StartAt::Latest, ..member_options(&unique("group"), &topic) };
    let mut member = log.member_with(&options);
    let given = assigned(&mut *member, 1);
    assert_eq!((given[0].committed.as_ref(), given[0].begin), (None, 5));
}

/// Reads on a member until `count` records came; nothing else may happen meanwhile.
pub fn read(member: &mut dyn Member, count: usize) -> Vec<(i32, i64, String)> {
    let mut seen = Vec::new();
    until("records", || {
        let on_record = &mut |r: &amoskys_bus::Record<'_>| {
            seen.push((r.partition, r.offset, String::from_utf8_lossy(r.payload).into_owned()));
        };
        member.poll(Duration::from_millis(50), 1000, on_record).expect("polls");
        (seen.len() >= count).then_some(())
    });
    assert_eq!(seen.len(), count);
    seen
}

/// Who waits for a commit to succeed polls for nothing, so that the group sees that it lives; records come meanwhile.
pub fn polls_for_no_records_lose_none(log: &mut Fixture) {
    let topic = log.topic(3);
    let mut member = log.member(&unique("group"), &topic);
    assigned(&mut *member, 3).iter().for_each(|given| member.start(&given.partition, given.begin).expect("started"));
    for n in 0..30 {
        log.produce(vec![Outgoing { partition: Some(n % 3), ..outgoing(&topic, "k", n.to_string()) }]);
        for _ in 0..3 {
            member
                .poll(Duration::from_millis(2), 0, &mut |r| panic!("nothing was asked for, not {}", r.offset))
                .expect("polls");
        }
    }
    let mut numbers: Vec<i32> =
        read(&mut *member, 30).iter().map(|(.., text)| text.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
}

/// A rebalance stops reading for a moment; what was read before is not read again, and nothing is left out.
pub fn who_stays_reads_on_without_gap_or_repeat(log: &mut Fixture) {
    let (topic, group) = (log.topic(2), unique("group"));
    let record = |n: i32| Outgoing { partition: Some(n % 2), ..outgoing(&topic, "k", n.to_string()) };
    log.produce((0..40).map(record).collect());
    let mut first = log.member(&group, &topic);
    assigned(&mut *first, 2).iter().for_each(|given| first.start(&given.partition, given.begin).expect("started"));
    // Polls for at most 7 records at once; what else happened.
    let mut seen: Vec<(i32, i32)> = Vec::new();
    let number = |r: &amoskys_bus::Record<'_>| String::from_utf8_lossy(r.payload).parse().expect("a number");
    let mut read = |seen: &mut Vec<(i32, i32)>| {
        first.poll(Duration::from_millis(20), 7, &mut |r| seen.push((r.partition, number(r)))).expect("polls")
    };
    // To the ends, which are told after the last records.
    let mut ends = 0;
    until("the ends", || {
        ends += read(&mut seen).iter().filter(|change| matches!(change, Change::End { .. })).count();
        (ends >= 2).then_some(())
    });
    assert_eq!(seen.len(), 40);
    // Another one comes and takes one of the two.
    let mut other = log.member(&group, &topic);
    let mut gone = Vec::new();
    until("the other's assignment", || {
        read(&mut seen).into_iter().for_each(|change| match change {
            Change::Revoked(partitions) | Change::Lost(partitions) => gone.extend(partitions),
            Change::Assigned(_) | Change::End { .. } => {}
        });
        poll(&mut *other).iter().any(|change| matches!(change, Change::Assigned(_))).then_some(())
    });
    assert_eq!(gone.len(), 1, "one partition moves");
    let stays = 1 - gone[0].partition;
    log.produce((40..60).map(record).collect());
    let of_it = |seen: &[(i32, i32)]| -> Vec<i32> {
        seen.iter().filter(|(partition, _)| *partition == stays).map(|(_, number)| *number).collect()
    };
    until("what came later", || {
        poll(&mut *other);
        read(&mut seen);
        of_it(&seen).contains(&(58 + stays)).then_some(())
    });
    assert_eq!(of_it(&seen), (0..30).map(|n| n * 2 + stays).collect::<Vec<i32>>());
}

pub fn the_known_end_is_where_the_partition_ends(log: &mut Fixture) {
    let topic = log.topic(1);
    log.produce((0..20).map(|n| outgoing(&topic, "k", n.to_string())).collect());
    let mut member = log.member(&unique("group"), &topic);
    assigned(&mut *member, 1);
    let here = tp(&topic, 0);
    member.start(&here, 0).expect("started");
    let mut read = 0;
    until("a first record", || {
        member.poll(Duration::from_millis(50), 5, &mut |_| read += 1).expect("polls");
        (read > 0).then_some(())
    });
    assert!(read <= 5, "{read} records, 5 were asked for");
    assert_eq!(member.known_end(&here), Some(20));
    assert_eq!(member.known_end(&tp("nowhere", 0)), None);
}

/// What the log says of the end is what a reader is told there, also behind what a transaction leaves in the log.
pub fn the_end_is_told_and_asked_for_alike(log: &mut Fixture) {
    let topic = log.topic(1);
    let (mut member, here) = (log.member(&unique("group"), &topic), tp(&topic, 0));
    assigned(&mut *member, 1);
    member.start(&here, 0).expect("started");
    let (mut read, mut told) = (0, -1);
    let mut until_told = |member: &mut dyn Member, records: usize| {
        until("the reader is told the end that the log tells", || {
            let changes = member.poll(Duration::from_millis(50), 100, &mut |_| read += 1).expect("polls");
            told = changes.iter().fold(told, |told, change| match change {
                Change::End { offset, .. } => *offset,
                _ => told,
            });
            (read == records && member.end(&here).expect("asked") <= told).then_some(told)
        })
    };
    log.produce((0..5).map(|n| outgoing(&topic, "k", n.to_string())).collect());
    let before = until_told(&mut *member, 5);
    // Outputs of a member are in a transaction.
    let (input, group) = (log.topic(1), unique("group"));
    let mut writer = log.member(&group, &input);
    assigned(&mut *writer, 1);
    commit(&mut *writer, &[outgoing(&topic, "k", "output")], &[]).expect("committed");
    // Committed is what the coordinator says; the partition hears of it a moment later.
    until("a record has come that was not read", || (member.end(&here).expect("asked") > before).then_some(()));
    until_told(&mut *member, 6);
}

pub fn outputs_and_positions_together_or_not_at_all(log: &mut Fixture) {
    let (input, output, group) = (log.topic(1), log.topic(2), unique("group"));
    log.produce((0..10).map(|n| outgoing(&input, "k", n.to_string())).collect());
    let mut member = log.member(&group, &input);
    let here = tp(&input, 0);
    assert_eq!(assigned(&mut *member, 1)[0].partition, here);
    member.poll(Duration::from_millis(300), 10, &mut |_| panic!("silent until it is started")).expect("polls");
    member.start(&here, 4).expect("started");
    assert_eq!(read(&mut *member, 6)[0], (0, 4, "4".to_owned()));
    member.start(&here, 0).expect("moved");
    assert_eq!(read(&mut *member, 10).len(), 10);

    let written = |n: i64| outgoing(&output, "k", format!("output {n}"));
    commit(&mut *member, &[written(1), written(2)], &[(here.clone(), at(5, "five"))]).expect("committed");
    // One output cannot be written, so nothing is: neither the other outputs nor the position.
    let too_large = outgoing(&output, "k", vec![0; 11 << 20]);
    let error = member.commit(&[written(3), too_large], &[(here.clone(), at(6, "six"))]).expect_err("too large");
    assert!(matches!(error, BusError::RecordTooLarge { .. }), "{error}");
    let nowhere = outgoing(&unique("missing"), "k", "x");
    let error = member.commit(&[written(4), nowhere], &[(here.clone(), at(7, "seven"))]).expect_err("unknown topic");
    assert!(matches!(error, BusError::UnknownTopic { .. }), "{error}");
    let texts = |log: &Fixture| log.read(&output, 2).iter().map(|r| r.text()).collect::<Vec<_>>();
    assert_eq!(texts(log), ["output 1", "output 2"]);
    // The member goes on after both.
    commit(&mut *member, &[written(5)], &[(here.clone(), at(8, "eight"))]).expect("committed");
    assert_eq!(texts(log), ["output 1", "output 2", "output 5"]);
    member.leave().expect("leaves");
    let mut next = log.member(&group, &input);
    assert_eq!(assigned(&mut *next, 1)[0].committed, Some(at(8, "eight")));
}

pub fn at_least_once_writes_outputs_first(log: &mut Fixture) {
    let (input, output, group) = (log.topic(1), log.topic(1), unique("group"));
    let options = MemberOptions { delivery: Delivery::AtLeastOnce, ..member_options(&group, &input) };
    let mut member = log.member_with(&options);
    assigned(&mut *member, 1);
    commit(&mut *member, &[outgoing(&output, "k", "one")], &[(tp(&input, 0), at(0, "m"))]).expect("committed");
    assert_eq!(log.read(&output, 1)[0].text(), "one");
    member.leave().expect("leaves");
    let mut next = log.member_with(&options);
    assert_eq!(assigned(&mut *next, 1)[0].committed, Some(at(0, "m")));
}

pub fn a_second_member_takes_over(log: &mut Fixture) {
    let (topic, output, group) = (log.topic(4), log.topic(1), unique("group"));
    log.produce((0..40).map(|n| Outgoing { partition: Some(n % 4), ..outgoing(&topic, "k", n.to_string()) }).collect());
    let mut first = log.member(&group, &topic);
    for given in assigned(&mut *first, 4) {
        first.start(&given.partition, given.begin).expect("started");
    }
    read(&mut *first, 40);
    let mut second = log.member(&group, &topic);
    let mut revoked = Vec::new();
    let mut given = Vec::new();
    until("two partitions for each", || {
        for change in poll(&mut *first) {
            match change {
                Change::Revoked(partitions) => {
                    // The last word of the old owner; the new one must see it.
                    for partition in partitions {
                        let done = outgoing(&output, "k", format!("{}", partition.partition));
                        first.commit(&[done], &[(partition.clone(), at(10, "handed over"))]).expect("a last commit");
                        revoked.push(partition);
                    }
                }
                Change::Lost(lost) => panic!("{lost:?} were taken, not asked back"),
                _ => {}
            }
        }
        for change in poll(&mut *second) {
            if let Change::Assigned(new) = change {
                given.extend(new);
            }
        }
        (given.len() == 2).then_some(())
    });
    given.sort_by(|a, b| a.partition.cmp(&b.partition));
    revoked.sort();
    assert_eq!(given.iter().map(|a| a.partition.clone()).collect::<Vec<_>>(), revoked);
    assert!(given.iter().all(|a| a.committed == Some(at(10, "handed over"))), "{given:?}");
    assert_eq!(log.read(&output, 1).len(), 2);
    // What was given up cannot be committed any more, what was kept can.
    let gone = first.commit(&[outgoing(&output, "k", "never")], &[(revoked[0].clone(), at(11, ""))]);
    assert!(matches!(gone, Err(BusError::Fenced { .. })), "{gone:?}");
    let kept = (0..4).map(|p| tp(&topic, p)).find(|p| !revoked.contains(p)).expect("two were kept");
    commit(&mut *first, &[outgoing(&output, "k", "kept")], &[(kept.clone(), at(10, ""))]).expect("still its own");
    assert_eq!(log.read(&output, 1).len(), 3);
    // What others have committed is told, too.
    let asked = [kept, tp(&output, 0), revoked[0].clone()];
    let told = until("committed positions", || match second.committed(&asked) {
        Err(error) if error.retryable() => None,
        answer => Some(answer),
    });
    assert_eq!(told.expect("an answer"), [Some(at(10, "")), None, Some(at(10, "handed over"))]);
}

pub fn who_leaves_frees_its_partitions_at_once(log: &mut Fixture) {
    let (topic, group) = (log.topic(2), unique("group"));
    // With a session of ten minutes only a member that really left makes room.
    let long = |instance: &str| MemberOptions {
        instance: Some(instance.to_owned()),
        session_timeout: Duration::from_secs(600),
        ..member_options(&group, &topic)
    };
    let mut first = log.member_with(&long("first"));
    for given in assigned(&mut *first, 2) {
        first.start(&given.partition, given.begin).expect("started");
    }
    first.leave().expect("leaves");
    let mut second = log.member_with(&long("second"));
    assert_eq!(assigned(&mut *second, 2).len(), 2);
}

pub fn a_fenced_old_member_cannot_write(log: &mut Fixture) {
    let (topic, output, group) = (log.topic(1), log.topic(1), unique("group"));
    let options = MemberOptions { instance: Some("one".to_owned()), ..member_options(&group, &topic) };
    let here = tp(&topic, 0);
    let mut old = log.member_with(&options);
    assigned(&mut *old, 1);
    commit(&mut *old, &[outgoing(&output, "k", "old")], &[(here.clone(), at(1, "old"))]).expect("committed");
    // The same name again, as after a restart: the partition comes at once and the old member is out.
    let mut new = log.member_with(&options);
    assert_eq!(assigned(&mut *new, 1)[0].committed, Some(at(1, "old")));
    let error =
        old.commit(&[outgoing(&output, "k", "zombie")], &[(here.clone(), at(9, "zombie"))]).expect_err("fenced");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    let error = old.commit(&[], &[(here.clone(), at(9, "zombie"))]).expect_err("fenced without outputs too");
    assert!(matches!(error, BusError::Fenced { .. }), "{error:?}");
    until("the old member hears of it", || match old.poll(Duration::from_millis(50), 10, &mut |_| {}) {
        Ok(changes) => changes.iter().any(|c| matches!(c, Change::Lost(_))).then_some(()),
        Err(error) => matches!(error, BusError::Fenced { .. }).then_some(()),
    });
    commit(&mut *new, &[outgoing(&output, "k", "new")], &[(here, at(2, "new"))]).expect("committed");
    assert_eq!(log.read(&output, 1).iter().map(|r| r.text()).collect::<Vec<_>>(), ["old", "new"]);
}

/// On logs whose members live by polling.
pub fn a_member_that_does_not_poll_loses_its_partitions(log: &mut Fixture) {
    let (topic, group) = (log.topic(1), unique("group"));
    let options = MemberOptions { session_timeout: Duration::from_millis(200), ..member_options(&group, &topic) };
    let mut silent = log.member_with(&options);
    assigned(&mut *silent, 1);
    let mut other = log.member_with(&options);
    assigned(&mut *other, 1);
    let error = silent.commit(&[outgoing(&topic, "k", "zombie")], &[(tp(&topic, 0), at(1, ""))]).expect_err("fenced");
    assert!(matches!(error, BusError::Fenced { .. }), "{error}");
    assert_eq!(poll(&mut *silent), [Change::Lost(vec![tp(&topic, 0)])]);
    assert_eq!(log.read(&topic, 1), []);
    // It is one of the group again and takes over in turn.
    other.leave().expect("leaves");
    assigned(&mut *silent, 1);
}
