//! Records of several events mixed, cut and damaged: each line is counted once, whole events come out as they do alone, and nothing panics.

use super::{
    call::{Meaning, meaning},
    source::Intake,
};
use proptest::prelude::*;

/// As auditd wrote them (OTRF's Security Datasets, MIT licence; the folder is another), and one as the kernel made it, with a name in hexadecimal.
const EVENTS: [&[&str]; 4] = [
    &[
        "type=SYSCALL msg=audit(1604994496.155:92733): arch=c000003e syscall=59 success=yes exit=0 a0=558e251634a0 a1=558e25162a50 a2=558e25160800 a3=8 items=2 ppid=29002 pid=1631 auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=104 comm=\"arp\" exe=\"/usr/sbin/arp\" key=(null)",
        "type=EXECVE msg=audit(1604994496.155:92733): argc=2 a0=\"arp\" a1=\"-a\"",
        "type=CWD msg=audit(1604994496.155:92733): cwd=\"/srv\"",
        "type=PATH msg=audit(1604994496.155:92733): item=0 name=\"/usr/sbin/arp\" inode=13181 dev=08:01 mode=0100755 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0",
        "type=PROCTITLE msg=audit(1604994496.155:92733): proctitle=617270002D61",
    ],
    &[
        "type=SYSCALL msg=audit(1604994496.155:92734): arch=c000003e syscall=59 success=yes exit=0 a0=558e251634a0 a1=558e25163720 a2=558e25160800 a3=558e2500a010 items=2 ppid=29002 pid=1632 auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=104 comm=\"grep\" exe=\"/bin/grep\" key=(null)",
        "type=EXECVE msg=audit(1604994496.155:92734): argc=3 a0=\"grep\" a1=\"-v\" a2=\"^?\"",
        "type=PATH msg=audit(1604994496.155:92734): item=0 name=\"/bin/grep\" inode=61 dev=08:01 mode=0100755 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0",
        "type=PROCTITLE msg=audit(1604994496.155:92734): proctitle=67726570002D76005E3F",
    ],
    &[
        "type=SYSCALL msg=audit(1604994496.159:92735): arch=c000003e syscall=316 success=yes exit=0 a0=ffffff9c a1=7ffc126458fc a2=ffffff9c a3=7ffc1264590c items=4 ppid=29228 pid=29231 auid=4294967295 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) ses=4294967295 comm=\"mv\" exe=\"/usr/bin/mv\" key=(null)\u{1d}ARCH=x86_64 SYSCALL=renameat2",
        "type=PATH msg=audit(1604994496.159:92735): item=0 name=\"/tmp/\" inode=9986170 dev=fe:00 mode=040755 ouid=0 ogid=0 rdev=00:00 nametype=PARENT",
        "type=PATH msg=audit(1604994496.159:92735): item=2 name=2F746D702F612062 inode=9986278 dev=fe:00 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=DELETE",
        "type=PATH msg=audit(1604994496.159:92735): item=3 name=\"/tmp/c\" inode=9986278 dev=fe:00 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=CREATE",
        "type=EOE msg=audit(1604994496.159:92735): ",
    ],
    &[
        "type=USER_AUTH msg=audit(1604994496.160:92736): pid=1 uid=0 msg='op=PAM:authentication acct=\"root\" res=failed'",
    ],
];

/// What came of lines, sorted; and how many lines were kept, late, malformed.
fn run<'a>(lines: impl IntoIterator<Item = &'a str>) -> (Vec<String>, [u64; 3]) {
    let mut intake = Intake::default();
    lines.into_iter().for_each(|line| intake.take_bytes(line.as_bytes()));
    intake.assembler.take_rest(&mut intake.whole);
    let mut meanings: Vec<String> = intake.whole.iter().map(|event| format!("{:?}", meaning(event))).collect();
    meanings.sort();
    (meanings, [intake.records, intake.late_records, intake.malformed_lines])
}

fn alone() -> Vec<String> {
    let mut all: Vec<String> = EVENTS.iter().flat_map(|lines| run(lines.iter().copied()).0).collect();
    all.sort();
    all
}

#[test]
fn events_alone_are_those_that_are_meant() {
    let told: Vec<_> = EVENTS.iter().map(|lines| run(lines.iter().copied())).collect();
    assert!(
        told.iter()
            .zip(EVENTS)
            .all(|((events, counts), lines)| events.len() == 1 && *counts == [lines.len() as u64, 0, 0])
    );
    assert!(told[2].0[0].contains("path: \"/tmp/a b\", other_path: \"/tmp/c\""), "{}", told[2].0[0]);
}

#[test]
fn every_cut_of_a_file_gives_its_whole_events_and_at_most_one_that_is_less() {
    let text: String = EVENTS.iter().flat_map(|lines| lines.iter()).flat_map(|line| [line, "\n"]).collect();
    let whole = alone();
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let (events, counts) = run(text[..end].lines());
        let (lines, less) =
            (text[..end].lines().count() as u64, events.iter().filter(|event| !whole.contains(event)).count());
        assert_eq!(counts.iter().sum::<u64>(), lines, "{end}");
        assert!(less <= 1 && counts[1] == 0 && counts[2] <= 1, "{end}: {events:?}");
    }
}

#[test]
fn a_call_is_never_another_than_it_was_however_it_is_cut() {
    let who = |event: &str| event.find("pid: ").map(|at| event[at..].split(", tid").next().map(str::to_owned));
    for lines in EVENTS {
        let (whole, _) = run(lines.iter().copied());
        for cut in 0..lines.len() {
            for end in (0..lines[cut].len()).filter(|end| lines[cut].is_char_boundary(*end)) {
                let damaged = lines.iter().enumerate().map(|(n, line)| if n == cut { &line[..end] } else { line });
                let (events, _) = run(damaged);
                // The call's own record is told whole or not at all.
                assert!(events.iter().all(|event| who(event).is_none() || who(event) == who(&whole[0])), "{cut} {end}");
                assert!(events.len() <= 1, "{cut} {end}: {events:?}");
            }
        }
    }
}

proptest! {
    /// Records of one event stay in their order; those of different events come in any.
    #[test]
    fn mixed_events_are_those_alone(picks in prop::collection::vec(0usize..EVENTS.len(), 0..40)) {
        let mut left: Vec<std::slice::Iter<'_, &str>> = EVENTS.iter().map(|lines| lines.iter()).collect();
        let mut mixed: Vec<&str> = picks.into_iter().filter_map(|event| left[event].next().copied()).collect();
        left.into_iter().for_each(|rest| mixed.extend(rest));
        let (events, counts) = run(mixed.iter().copied());
        prop_assert_eq!(events, alone());
        prop_assert_eq!(counts, [mixed.len() as u64, 0, 0]);
    }

    /// Any bytes in any lines: each line is counted once, and a damaged one costs no other event.
    #[test]
    fn damage_is_counted_and_stays_where_it_is(
        damages in prop::collection::vec((0usize..20, 0usize..300, any::<u8>()), 1..20), event in 0usize..3
    ) {
        let mut lines: Vec<Vec<u8>> = EVENTS[event].iter().map(|line| line.as_bytes().to_vec()).collect();
        for (line, at, byte) in damages {
            let line = line % lines.len();
            let at = at % lines[line].len();
            lines[line][at] = byte;
        }
        let mut intake = Intake::default();
        let others = || EVENTS.iter().enumerate().filter(|(n, _)| *n != event).flat_map(|(_, lines)| lines.iter());
        others().for_each(|line| intake.take_bytes(line.as_bytes()));
        lines.iter().for_each(|line| intake.take_bytes(line));
        intake.assembler.take_rest(&mut intake.whole);
        let counted = intake.records + intake.late_records + intake.malformed_lines;
        prop_assert_eq!(counted, (others().count() + lines.len()) as u64);
        let told: Vec<String> = intake.whole.iter().map(|event| format!("{:?}", meaning(event))).collect();
        let expected = EVENTS.iter().enumerate().filter(|(n, _)| *n != event).flat_map(|(_, lines)| run(lines.iter().copied()).0);
        for other in expected {
            prop_assert!(told.contains(&other), "{other}\n{told:?}");
        }
        prop_assert!(intake.whole.iter().all(|event| !matches!(meaning(event), Meaning::Lost(loss) if loss != crate::ledger::Loss::Incomplete)));
    }
}
