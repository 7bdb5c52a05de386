//! Tests of the group's decisions, without a log.

use super::*;
use proptest::prelude::*;

const SESSION_MS: u64 = 1_000;

fn partitions(count: i32) -> BTreeMap<String, i32> {
    BTreeMap::from([("t".to_owned(), count)])
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

fn join(group: &mut Group, now_ms: u64, of: &BTreeMap<String, i32>) -> MemberId {
    group.join(&["t".to_owned()], None, SESSION_MS, now_ms, of)
}

#[test]
fn a_partition_moves_only_after_its_owner_gave_it_up() {
    let (mut group, of) = (Group::default(), partitions(2));
    let first = join(&mut group, 0, &of);
    assert_eq!(group.poll(first, None, 0, &of).expect("member").assigned, [tp(0), tp(1)]);
    let second = join(&mut group, 1, &of);
    assert_eq!(group.poll(second, None, 2, &of), Ok(Turn::default()), "the partition is still the first member's");
    assert_eq!(group.poll(first, None, 3, &of).expect("member").revoked, [tp(1)]);
    group.begin_commit(first, &[tp(1)], 4, &of).expect("a last commit is allowed");
    assert_eq!(group.poll(second, None, 5, &of), Ok(Turn::default()));
    group.end_commit();
    assert_eq!(group.poll(first, None, 6, &of), Ok(Turn::default()));
    assert_eq!(group.poll(second, None, 7, &of).expect("member").assigned, [tp(1)]);
    group.begin_commit(first, &[tp(1)], 8, &of).expect_err("it is the second member's");
}

#[test]
fn a_silent_member_is_fenced_and_its_partitions_go_on() {
    let (mut group, of) = (Group::default(), partitions(1));
    let first = join(&mut group, 0, &of);
    group.poll(first, None, 0, &of).expect("member");
    let second = join(&mut group, 0, &of);
    assert_eq!(group.poll(second, None, SESSION_MS, &of), Ok(Turn::default()));
    assert_eq!(group.poll(second, None, SESSION_MS + 1, &of).expect("member").assigned, [tp(0)]);
    group.begin_commit(first, &[tp(0)], SESSION_MS + 2, &of).expect_err("fenced");
    assert_eq!(group.poll(first, None, SESSION_MS + 3, &of), Err(Gone::Expired));
}

#[test]
fn a_member_with_the_same_instance_replaces_the_old_one() {
    let (mut group, of) = (Group::default(), partitions(1));
    let old = group.join(&["t".to_owned()], Some("a"), SESSION_MS, 0, &of);
    group.poll(old, Some("a"), 0, &of).expect("member");
    let new = group.join(&["t".to_owned()], Some("a"), SESSION_MS, 1, &of);
    assert_eq!(group.poll(new, Some("a"), 1, &of).expect("member").assigned, [tp(0)]);
    assert_eq!(group.poll(old, Some("a"), 2, &of), Err(Gone::Replaced));
}

#[test]
fn nobody_expires_while_a_commit_is_written() {
    let (mut group, of) = (Group::default(), partitions(1));
    let first = join(&mut group, 0, &of);
    group.poll(first, None, 0, &of).expect("member");
    let second = join(&mut group, 0, &of);
    group.begin_commit(first, &[tp(0)], 1, &of).expect("owner");
    let late_ms = 1 + 10 * SESSION_MS;
    assert_eq!(group.poll(second, None, late_ms, &of), Ok(Turn::default()));
    group.end_commit();
    assert_eq!(group.poll(second, None, late_ms + 1, &of).expect("member").assigned, [tp(0)]);
}

proptest! {
    /// Members come, go and poll in any order: a partition never has two owners, and once all have polled often
    /// enough every partition has one and nobody has two more than another.
    #[test]
    fn ends_fair_and_complete(count in 1..9i32, steps in proptest::collection::vec((0..3u8, 0..6usize), 0..60)) {
        let (mut group, of) = (Group::default(), partitions(count));
        let mut alive = vec![join(&mut group, 0, &of)];
        let mut held: BTreeMap<MemberId, BTreeSet<TopicPartition>> = BTreeMap::new();
        let rounds = (0..60usize).map(|index| (2u8, index));
        for (now_ms, (action, index)) in (0u64..).zip(steps.into_iter().chain(rounds)) {
            let member = alive[index % alive.len()];
            match action {
                0 if alive.len() < 5 => alive.push(join(&mut group, now_ms, &of)),
                1 if alive.len() > 1 => {
                    group.leave(member, &of);
                    alive.retain(|id| *id != member);
                    held.remove(&member);
                }
                _ => {
                    let turn = group.poll(member, None, now_ms, &of).expect("alive");
                    let mine = held.entry(member).or_default();
                    turn.revoked.iter().for_each(|partition| { mine.remove(partition); });
                    mine.extend(turn.assigned);
                }
            }
            let all: Vec<_> = held.values().flatten().collect();
            let distinct: BTreeSet<_> = all.iter().collect();
            prop_assert_eq!(all.len(), distinct.len());
        }
        let sizes: Vec<usize> = alive.iter().map(|id| held.get(id).map_or(0, BTreeSet::len)).collect();
        prop_assert_eq!(sizes.iter().sum::<usize>(), count as usize);
        let spread = sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0);
        prop_assert!(spread <= 1, "{:?}", sizes);
    }
}
