//! Events that wait for what is told of their executable, in their order.
//!
//! Pure. The first one waits until its file is answered or its time is over; all behind it wait with it. They could go
//! before it, but then a child would be told before its parent, and what comes late by its event time may be too late for
//! a window. So the order is that of the kernel's reports, whatever is hashed, and the price is a delay of at most `wait`.
//! Limits: [`EVENTS_MAX`] wait; when there are more the first goes as it is.

use super::files::{Answer, Digest};
use amoskys_proto::v1::ProcessEvent;
use std::{collections::VecDeque, sync::Arc};

pub const EVENTS_MAX: usize = 4_096;

/// An event, and where what is told of its executable will be.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    pub event: ProcessEvent,
    pub file: Option<Arc<Answer>>,
}

/// Events on their way out.
#[derive(Debug)]
pub struct Outbox {
    waiting: VecDeque<(Reported, u64)>,
    wait_ns: u64,
}

impl Outbox {
    pub fn new(wait_ns: u64) -> Self {
        Self { waiting: VecDeque::new(), wait_ns }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn push(&mut self, reported: Reported, now_ns: u64) {
        self.waiting.push_back((reported, now_ns.saturating_add(self.wait_ns)));
    }

    /// The next event that need not wait any longer; with `all`, whether it need or not. True: it went without an answer.
    pub fn pop(&mut self, now_ns: u64, all: bool) -> Option<(ProcessEvent, bool)> {
        let full = self.waiting.len() > EVENTS_MAX;
        let is_due = |(first, until_ns): &mut (Reported, u64)| {
            all || full || *until_ns <= now_ns || first.file.as_ref().is_none_or(|file| file.facts().is_some())
        };
        let (Reported { mut event, file }, _) = self.waiting.pop_front_if(is_due)?;
        let Some(file) = file else { return Some((event, false)) };
        let facts = file.facts();
        let failed = match facts.map(|facts| &facts.sha256) {
            Some(Digest::Known { hex, .. }) => {
                event.exe_sha256 = hex.to_string();
                false
            }
            Some(digest) => *digest == Digest::Failed,
            None => file.wants_digest,
        };
        if failed {
            event.unreadable.push("exe_sha256".into());
        }
        if let Some(package) = facts.and_then(|facts| facts.package.as_ref()) {
            event.package = package.name.clone();
            event.package_version = package.version.clone();
        }
        Some((event, facts.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::process::files::{Facts, Package};

    fn event(pid: u32, file: Option<&Arc<Answer>>) -> Reported {
        Reported { event: ProcessEvent { pid, ..ProcessEvent::default() }, file: file.cloned() }
    }

    fn pids(outbox: &mut Outbox, now_ns: u64, all: bool) -> Vec<u32> {
        std::iter::from_fn(|| outbox.pop(now_ns, all)).map(|(event, _)| event.pid).collect()
    }

    #[test]
    fn events_wait_for_the_answer_and_keep_their_order() {
        let (mut outbox, answer) = (Outbox::new(10), Answer::asked(true));
        outbox.push(event(1, None), 0);
        outbox.push(event(2, Some(&answer)), 0);
        outbox.push(event(3, None), 0);
        assert_eq!(pids(&mut outbox, 9, false), [1]);
        let package = Some(Arc::new(Package { name: "sh".into(), version: "1".into() }));
        answer.give(Facts { sha256: Digest::Known { hex: "ab".into(), settled: true }, package, packages: None });
        let (told, late) = outbox.pop(9, false).expect("answered");
        assert_eq!((told.pid, told.exe_sha256.as_str(), told.package.as_str(), late), (2, "ab", "sh", false));
        assert_eq!((told.package_version.as_str(), told.unreadable.len()), ("1", 0));
        assert_eq!(pids(&mut outbox, 9, false), [3]);
    }

    #[test]
    fn an_answer_that_does_not_come_costs_the_digest_and_a_bounded_delay() {
        let (mut outbox, never) = (Outbox::new(10), Answer::asked(true));
        for pid in 0..10 {
            outbox.push(event(pid, Some(&never)), u64::from(pid));
        }
        assert_eq!(pids(&mut outbox, 12, false), [0, 1, 2], "each waits as long");
        let (told, late) = outbox.pop(13, false).expect("over");
        assert_eq!((told.unreadable, late), (vec!["exe_sha256".to_owned()], true));
        assert_eq!(pids(&mut outbox, 13, true), [4, 5, 6, 7, 8, 9], "at the end all go");
        for pid in 0..EVENTS_MAX as u32 + 2 {
            outbox.push(event(pid, Some(&never)), 100);
        }
        assert_eq!(pids(&mut outbox, 100, false), [0, 1], "and when there are too many");
    }

    #[test]
    fn a_digest_that_failed_is_said_and_one_that_nobody_wants_is_not() {
        let mut outbox = Outbox::new(10);
        let answers = [Digest::Failed, Digest::NotWanted].map(|sha256| {
            let answer = Answer::asked(true);
            answer.give(Facts { sha256, ..Facts::default() });
            answer
        });
        outbox.push(event(1, Some(&answers[0])), 0);
        outbox.push(event(2, Some(&answers[1])), 0);
        outbox.push(event(3, Some(&Answer::asked(false))), 0);
        assert_eq!(outbox.pop(0, false).expect("answered").0.unreadable, ["exe_sha256"]);
        assert_eq!(outbox.pop(0, false).expect("answered").0.unreadable, Vec::<String>::new());
        let (late, is_late) = outbox.pop(10, false).expect("over");
        assert_eq!((late.unreadable.len(), is_late), (0, true), "only a package was asked for");
    }
}
