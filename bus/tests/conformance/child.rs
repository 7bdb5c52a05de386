//! kill -9 in the middle of commits: a child process copies one topic to another, a record a commit, and is killed
//! again and again. Whatever the moment, every input has exactly one output that can be read.

use crate::{
    fixture::{Fixture, assigned, commit, member_options, options, outgoing, poll, unique, until},
    groups::at,
};
use amoskys_bus::{BusOptions, Change, MemberOptions, open};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

const ADDRESS: &str = "AMOSKYS_TEST_CHILD_ADDRESS";
const TOPICS: &str = "AMOSKYS_TEST_CHILD_TOPICS";
/// A setting of the log's and its value.
const EXTRA: &str = "AMOSKYS_TEST_CHILD_EXTRA";
const COMMITS_MAX: &str = "AMOSKYS_TEST_CHILD_COMMITS_MAX";
const RECORDS: i64 = 200;
/// Commits that a child may make after those it is killed for; then it waits, so that some are left for the next.
const SURPLUS: i64 = 15;
/// Commits before each kill. Each is followed by a few milliseconds more, so that the kill comes anywhere in one.
const KILLS: [i64; 6] = [1, 7, 3, 11, 5, 20];

pub fn kill_minus_nine_loses_and_doubles_nothing(log: &mut Fixture) {
    let (input, output, group) = (log.topic(1), log.topic(1), unique("group"));
    log.produce((0..RECORDS).map(|n| outgoing(&input, "k", n.to_string())).collect());
    let topics = format!("{input},{output},{group}");
    for (round, commits) in KILLS.into_iter().enumerate() {
        log.close();
        run_and_kill(&log.options, &topics, commits, Duration::from_millis(round as u64 * 2));
        log.reopen();
        // First the position: who comes after a dead member finishes what that had decided.
        let position = committed(log, &group, &input);
        let done = log.read(&output, 1).len() as i64;
        assert_eq!(done, position, "outputs and position agree after kill {round}");
    }
    log.close();
    run(&log.options, &topics);
    log.reopen();
    let texts: Vec<String> = log.read(&output, 1).iter().map(|record| record.text()).collect();
    assert_eq!(texts, (0..RECORDS).map(|n| n.to_string()).collect::<Vec<_>>(), "each once, in order");
}

/// What the group committed, read as its member would, under the child's name so that it comes at once.
fn committed(log: &Fixture, group: &str, topic: &str) -> i64 {
    let mut member = log.member_with(&child_options(group, topic));
    let given = assigned(&mut *member, 1);
    given[0].committed.as_ref().map_or(0, |position| position.offset)
}

fn child_options(group: &str, topic: &str) -> MemberOptions {
    MemberOptions { instance: Some("child".to_owned()), ..member_options(group, topic) }
}

fn command(options: &BusOptions, topics: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test's program"));
    command.args(["child::copy_in_a_child_process", "--exact", "--nocapture"]);
    command.env(ADDRESS, options.address.to_string()).env(TOPICS, topics);
    if let Some((name, value)) = options.extra.first() {
        command.env(EXTRA, format!("{name}={value}"));
    }
    command
}

fn run_and_kill(options: &BusOptions, topics: &str, commits: i64, then: Duration) {
    let commits_max = (commits + SURPLUS).to_string();
    let mut child =
        command(options, topics).env(COMMITS_MAX, commits_max).stdout(Stdio::piped()).spawn().expect("a child");
    let output = child.stdout.take().expect("its output");
    // Kept until the child is dead, or its next word would end it.
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let seen = lines.by_ref().filter(|line| line.contains("committed")).take(commits as usize).count();
    assert_eq!(seen as i64, commits, "the child commits");
    std::thread::sleep(then);
    // By its handle: SIGKILL to this child only.
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

fn run(options: &BusOptions, topics: &str) {
    let status = command(options, topics).stdout(Stdio::null()).status().expect("a child");
    assert!(status.success(), "the child ends well");
}

/// Does nothing unless it was started by [`command`].
#[test]
fn copy_in_a_child_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let topics = std::env::var(TOPICS).expect("topics");
    let [input, output, group] = topics.split(',').collect::<Vec<_>>()[..] else { panic!("{topics}") };
    let extra = std::env::var(EXTRA).ok().and_then(|extra| {
        let (name, value) = extra.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let extra = extra.into_iter().collect();
    let bus = open(&BusOptions { extra, ..options(&address.parse().expect("an address")) }).expect("the log opens");
    let mut member = bus.member(&child_options(group, input)).expect("a member");
    let given = assigned(&mut *member, 1);
    let here = given[0].partition.clone();
    member.start(&here, given[0].begin).expect("started");
    let commits_max = std::env::var(COMMITS_MAX).map_or(RECORDS, |text| text.parse().expect("a number"));
    let (mut next, last) = (given[0].begin, given[0].begin + commits_max);
    while next < RECORDS {
        if next == last {
            // Until killed. Should the parent die first, this ends by itself.
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
        let mut records = Vec::new();
        let changes = member.poll(Duration::from_millis(50), 1, &mut |r| records.push((r.offset, r.payload.to_vec())));
        assert!(changes.iter().flatten().all(|c| matches!(c, Change::End { .. })), "{changes:?}");
        for (offset, payload) in records {
            assert_eq!(offset, next);
            next += 1;
            let copy = outgoing(output, "k", payload);
            commit(&mut *member, &[copy], &[(here.clone(), at(next, "copied"))]).expect("committed");
            let mut out = std::io::stdout();
            writeln!(out, "committed {next}").and_then(|()| out.flush()).expect("told");
        }
    }
    // Not by leaving: the next one of this name must come in at once even so.
    until("nothing", || Some(poll(&mut *member)));
}
