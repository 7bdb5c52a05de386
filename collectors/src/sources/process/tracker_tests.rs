//! The tracker, fed by hand.

use super::*;
use crate::sources::process::{exe::Executable, parse::Ids};

const UNITS: Units = Units { ticks_per_second: 100, page_bytes: 4_096, boot_wall_us: 1_000_000_000 };

fn at(second: u64) -> Moment {
    let ns = second * 1_000_000_000;
    Moment { wall_us: UNITS.boot_wall_us + (ns / 1_000) as i64, monotonic_ns: ns, boot_ns: ns }
}

fn reading(comm: &str, exe: &str, parent: u32, start_ticks: u64) -> Reading {
    Reading {
        stat: Some(Stat { comm: comm.into(), parent, start_ticks, threads: 2, rss_pages: 3, ..Stat::default() }),
        ids: Some(Ids { uid: 1, euid: 2, gid: 3, egid: 4 }),
        executable: Some(Executable { path: exe.into(), ..Executable::default() }),
        cmdline: Some(format!("{comm} -x")),
        cwd: Some("/home".into()),
        cgroup: Some(("/slice".into(), String::new())),
        ..Reading::default()
    }
}

fn tracker() -> Tracker {
    let mut tracker = Tracker::new(100, 8, UNITS);
    tracker.learn(10, &reading("bash", "/bin/bash", 1, 100));
    tracker
}

/// Of a start or an end, of which only `stat` could be read.
fn of(stat: Option<Stat>) -> Reading {
    Reading { stat, ..Reading::default() }
}

fn gone() -> Reading {
    Reading { unreadable: vec!["exe", "cmdline", "cwd", "fd", "stat", "status", "cgroup"], ..Reading::default() }
}

#[test]
fn a_life_is_told_with_its_parent() {
    let mut tracker = tracker();
    let child = reading("bash", "/bin/bash", 10, 500).stat;
    let fork = tracker.forked(at(5), 10, 20, &of(child.clone())).event;
    assert_eq!((fork.kind(), fork.pid, fork.parent_pid), (Kind::Fork, 20, 10));
    assert_eq!((fork.comm.as_str(), fork.exe.as_str(), fork.uid), ("bash", "/bin/bash", 1));
    assert_eq!((fork.parent_comm.as_str(), fork.parent_euid), ("bash", 2));
    assert_eq!(fork.process_key, 500 << 22 | 20);

    let exec = tracker.executed(at(6), 20, &reading("ls", "/bin/ls", 10, 500)).event;
    assert_eq!((exec.kind(), exec.comm.as_str(), exec.cmdline.as_str()), (Kind::Exec, "ls", "ls -x"));
    assert_eq!((exec.parent_comm.as_str(), exec.parent_exe.as_str()), ("bash", "/bin/bash"));
    assert_eq!((exec.process_key, exec.rss_bytes), (fork.process_key, 3 * 4_096));
    assert_eq!(exec.started_at, fork.started_at);

    let exit = tracker.exited(at(8), 20, 10, 256, &of(None)).event;
    assert_eq!((exit.kind(), exit.comm.as_str(), exit.exe.as_str()), (Kind::Exit, "ls", "/bin/ls"));
    assert_eq!((exit.exit_code, exit.lifetime_us, exit.process_key), (256, 3_000_000, fork.process_key));
    assert!(!tracker.knows(20));
}

#[test]
fn a_process_that_is_gone_before_it_is_read_keeps_what_is_certain() {
    let mut tracker = tracker();
    let fork = tracker.forked(at(5), 10, 20, &of(None)).event;
    assert_eq!(fork.process_key, 500 << 22 | 20, "the time of the report stands in for the start time");
    assert_eq!(fork.unreadable, ["stat"]);
    let exec = tracker.executed(at(5), 20, &gone()).event;
    assert_eq!((exec.comm.as_str(), exec.exe.as_str(), exec.cmdline.as_str()), ("", "", ""), "not the parent's");
    assert_eq!((exec.cwd.as_str(), exec.parent_comm.as_str(), exec.parent_pid), ("/home", "bash", 10));
    assert_eq!((exec.process_key, exec.unreadable.len()), (fork.process_key, 7));
}

#[test]
fn strangers_are_reported_with_what_the_kernel_said() {
    let mut tracker = Tracker::new(100, 8, UNITS);
    let exit = tracker.exited(at(5), 99, 7, 9, &of(None)).event;
    assert_eq!((exit.pid, exit.parent_pid, exit.exit_code, exit.process_key), (99, 7, 9, 0));
    assert_eq!(exit.started_at, None);
    let exec = tracker.executed(at(5), 98, &gone()).event;
    assert_eq!((exec.pid, exec.process_key), (98, 0));
}

#[test]
fn later_children_see_new_ids_and_names() {
    let mut tracker = tracker();
    tracker.ids_changed(10, false, 1000, 0);
    tracker.renamed(10, "evil");
    let fork = tracker.forked(at(5), 10, 20, &of(None)).event;
    assert_eq!((fork.parent_comm.as_str(), fork.uid, fork.parent_euid), ("evil", 1000, 0));
}

#[test]
fn compared_snapshots_give_starts_programs_and_ends() {
    let mut tracker = Tracker::new(100, 8, UNITS);
    let kinds = |events: &[Reported]| events.iter().map(|e| (e.event.pid, e.event.kind())).collect::<Vec<_>>();
    tracker.begin_pass();
    let shell = reading("bash", "/bin/bash", 1, 100);
    assert_eq!(kinds(&tracker.found(at(1), 10, &shell, Lifecycle::Compared)), [(10, Kind::Snapshot)]);
    assert_eq!(tracker.end_pass(at(1), Lifecycle::Compared), []);

    tracker.begin_pass();
    assert_eq!(kinds(&tracker.found(at(2), 10, &shell, Lifecycle::Compared)), [(10, Kind::Snapshot)]);
    let ls = reading("ls", "/bin/ls", 10, 150);
    let started = tracker.found(at(2), 20, &ls, Lifecycle::Compared);
    assert_eq!(kinds(&started), [(20, Kind::Fork), (20, Kind::Exec)]);
    assert_eq!(started[1].event.parent_comm, "bash");
    let subshell = reading("bash", "/bin/bash", 10, 160);
    assert_eq!(kinds(&tracker.found(at(2), 21, &subshell, Lifecycle::Compared)), [(21, Kind::Fork)]);
    tracker.end_pass(at(2), Lifecycle::Compared);

    tracker.begin_pass();
    tracker.found(at(3), 10, &shell, Lifecycle::Compared);
    let replaced = reading("id", "/bin/id", 10, 160);
    assert_eq!(kinds(&tracker.found(at(3), 21, &replaced, Lifecycle::Compared)), [(21, Kind::Exec)]);
    assert_eq!(kinds(&tracker.end_pass(at(3), Lifecycle::Compared)), [(20, Kind::Exit)]);

    tracker.begin_pass();
    let reused = reading("bash", "/bin/bash", 1, 999);
    let taken_over = tracker.found(at(4), 10, &reused, Lifecycle::Compared);
    assert_eq!(kinds(&taken_over), [(10, Kind::Exit), (10, Kind::Fork), (10, Kind::Exec)]);
}

#[test]
fn where_the_kernel_reports_exits_it_gets_time_to_do_so() {
    let mut tracker = Tracker::new(100, 8, UNITS);
    tracker.begin_pass();
    tracker.found(at(1), 10, &reading("a", "/a", 1, 1), Lifecycle::Reported);
    assert_eq!(tracker.end_pass(at(1), Lifecycle::Reported), []);
    tracker.begin_pass();
    assert_eq!(tracker.end_pass(at(2), Lifecycle::Reported), []);
    tracker.begin_pass();
    let ended = tracker.end_pass(at(3), Lifecycle::Reported);
    assert_eq!(ended.iter().map(|e| (e.event.pid, e.event.kind())).collect::<Vec<_>>(), [(10, Kind::Exit)]);
}

#[test]
fn what_is_passed_by_in_silence_has_not_ended() {
    let mut tracker = Tracker::new(100, 8, UNITS);
    let thread = reading("kthreadd", "", 0, 1);
    tracker.learn(2, &thread);
    for second in 1..5 {
        tracker.begin_pass();
        tracker.still_there(2, thread.stat.as_ref().expect("read"));
        assert_eq!(tracker.end_pass(at(second), Lifecycle::Reported), []);
    }
    assert!(tracker.knows(2));
}

#[test]
fn the_memory_is_bounded_and_says_when_it_was_short() {
    let mut tracker = Tracker::new(2, 8, UNITS);
    for pid in 1..=3 {
        tracker.learn(pid, &reading("a", "/a", 0, 1));
    }
    assert_eq!((tracker.known_processes(), tracker.forgotten()), (2, 1));
}

#[test]
fn ancestors_are_those_of_the_fork_whatever_becomes_of_their_ids() {
    let mut tracker = tracker();
    tracker.forked(at(5), 10, 20, &of(None));
    tracker.executed(at(5), 20, &reading("a", "/a", 10, 500));
    tracker.forked(at(6), 20, 30, &of(None));
    tracker.exited(at(7), 20, 10, 0, &of(None));
    tracker.forked(at(8), 10, 20, &of(None));
    tracker.executed(at(8), 20, &reading("b", "/b", 10, 800));
    let child = tracker.executed(at(9), 30, &reading("c", "/c", 1, 600)).event;
    assert_eq!((child.ancestors, child.parent_exe.as_str()), (vec!["/a".to_owned(), "/bin/bash".to_owned()], "/a"));
    let other = tracker.forked(at(9), 20, 31, &of(None)).event;
    assert_eq!(other.ancestors, ["/b", "/bin/bash"]);
}

#[test]
fn an_ancestor_that_could_not_be_read_has_its_name_in_brackets() {
    let mut tracker = tracker();
    tracker.forked(at(5), 10, 20, &of(None));
    let zombie = Reading { executable: None, cmdline: None, ..reading("quick", "", 10, 500) };
    tracker.executed(at(5), 20, &zombie);
    assert_eq!(tracker.forked(at(5), 20, 30, &of(None)).event.ancestors, ["[quick]", "/bin/bash"]);
}

/// Reports wait in the kernel's buffer; by the time they are read, `/proc` may show the next process with the same id.
#[test]
fn what_is_read_of_a_later_process_is_not_taken_for_the_reported_one() {
    let mut tracker = tracker();
    let later = reading("later", "/later", 10, 700);
    let fork = tracker.forked(at(5), 10, 20, &of(later.stat.clone())).event;
    assert_eq!((fork.process_key, fork.unreadable.as_slice()), (500 << 22 | 20, &["stat".to_owned()][..]));
    let exec = tracker.executed(at(5), 20, &later).event;
    assert_eq!((exec.process_key, exec.exe.as_str(), exec.comm.as_str()), (fork.process_key, "", ""));
    assert!(exec.unreadable.contains(&"exe".to_owned()));
    let exit = tracker.exited(at(6), 20, 10, 9, &of(later.stat.clone())).event;
    assert_eq!((exec.process_key, exit.threads, exit.exit_code), (exit.process_key, 0, 9));

    // A pass that came before the reports knows the later one already.
    tracker.found(at(7), 20, &later, Lifecycle::Reported);
    assert!(tracker.is_later(20, at(6)) && !tracker.is_later(20, at(7)));
    let stale = tracker.exited(at(6), 20, 10, 9, &of(None)).event;
    assert_eq!(
        (stale.process_key, tracker.key(20)),
        (0, Some(700 << 22 | 20)),
        "nobody's identity, rather than a wrong one"
    );
}

#[test]
fn a_report_of_before_is_nothing_of_the_process_that_has_the_id_now() {
    let mut tracker = tracker();
    tracker.learn(20, &reading("later", "/later", 10, 700));
    let orphan = tracker.forked(at(5), 20, 30, &of(None)).event;
    assert_eq!((orphan.ancestors.len(), orphan.parent_exe.as_str(), orphan.exe.as_str()), (0, "", ""));
    let exec = tracker.executed(at(5), 20, &gone()).event;
    assert_eq!((exec.process_key, exec.exe.as_str(), exec.ancestors.len()), (0, "", 0));
    assert_eq!(tracker.forked(at(8), 20, 31, &of(None)).event.ancestors, ["/later", "/bin/bash"], "which is as it was");
}

#[test]
fn a_pass_leaves_a_reused_id_to_the_reports_until_it_is_sure_that_they_are_lost() {
    let mut tracker = tracker();
    let reused = reading("b", "/b", 1, 900);
    let kinds =
        |events: &[Reported]| events.iter().map(|e| (e.event.kind(), e.event.process_key >> 22)).collect::<Vec<_>>();
    tracker.begin_pass();
    assert_eq!(kinds(&tracker.found(at(9), 10, &reused, Lifecycle::Reported)), []);
    tracker.begin_pass();
    let events = tracker.found(at(10), 10, &reused, Lifecycle::Reported);
    assert_eq!(kinds(&events), [(Kind::Exit, 100), (Kind::Snapshot, 900)]);
}

#[test]
fn sessions_are_inherited_and_those_of_the_child_count() {
    let mut tracker = Tracker::new(100, 8, UNITS);
    let mut login = reading("bash", "/bin/bash", 1, 100);
    login.login_uid = Some(Some(1000));
    login.stat = login.stat.map(|stat| Stat { session: 10, tty: 136 << 8 | 3, ..stat });
    tracker.learn(10, &login);
    let fork = tracker.forked(at(5), 10, 20, &of(None)).event;
    assert_eq!((fork.login_uid, fork.session_id, fork.tty.as_str()), (Some(1000), 10, "pts/3"));
    let moved = Stat { session: 21, parent: 10, start_ticks: 500, ..Stat::default() };
    let fork = tracker.forked(at(5), 10, 21, &of(Some(moved.clone()))).event;
    assert_eq!((fork.login_uid, fork.session_id, fork.tty.as_str()), (Some(1000), 21, ""));
    assert_eq!(tracker.forked(at(5), 10, 22, &of(None)).event.session_id, 10, "the parent's is as it was");
    let exec = tracker.executed(at(6), 20, &gone()).event;
    assert_eq!((exec.login_uid, exec.tty.as_str()), (Some(1000), "pts/3"));
}
