//! Records → events, by time and serial number.
//!
//! Records of different events come mixed, those of one in the order in which the kernel wrote them. An event is over with its EOE or
//! PROCTITLE record (the last of a call; log files have no EOE), and where these are left out: when a record comes that is 2 s younger or
//! [`SERIALS_AHEAD_MAX`] events later, or when nothing has come to it for 2 s. What comes to an event that is over is late, and counted.
//! Pure: time is an argument, any monotonic nanoseconds. Limits: [`OPEN_EVENTS_MAX`] events, then the oldest is over; the last
//! [`OVER_EVENTS_MAX`] are remembered, so that what is late is not a new event. Memory: some 40 KiB for an event at most.

use super::{
    event::{Event, Malformed},
    record::{Id, Kind, Record},
};
use std::collections::{BTreeMap, VecDeque};

const OPEN_EVENTS_MAX: usize = 1_024;
const OVER_EVENTS_MAX: usize = 256;
/// As many calls may be written while one is being written.
const SERIALS_AHEAD_MAX: u64 = 512;
/// As long as auditd's own tools wait.
const OVER_AFTER_MS: i64 = 2_000;
const OVER_AFTER_NS: u64 = 2_000_000_000;

/// Events that are not over yet.
#[derive(Debug, Default)]
pub struct Assembler {
    /// With the time at which something came to it last.
    open: BTreeMap<Id, (Event, u64)>,
    over: VecDeque<Id>,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Kept,
    /// Its event is over.
    Late,
}

impl Assembler {
    /// Adds a record; events that are over with it go to `whole`.
    ///
    /// # Errors
    /// The record has not the form of its type; it is as if it had not come.
    pub fn take(&mut self, record: &Record<'_>, now_ns: u64, whole: &mut Vec<Event>) -> Result<Taken, Malformed> {
        let taken = self.add(record, now_ns)?;
        if matches!(record.kind, Kind::Title | Kind::End | Kind::Whole) {
            self.close(record.id, whole);
        }
        while let Some((first, _)) = self.open.first_key_value() {
            let is_passed = first.time_ms + OVER_AFTER_MS < record.id.time_ms
                || (*first < record.id && first.serial.saturating_add(SERIALS_AHEAD_MAX) < record.id.serial);
            if !is_passed && self.open.len() <= OPEN_EVENTS_MAX {
                break;
            }
            self.close(*first, whole);
        }
        Ok(taken)
    }

    fn add(&mut self, record: &Record<'_>, now_ns: u64) -> Result<Taken, Malformed> {
        if let Some((event, last_ns)) = self.open.get_mut(&record.id) {
            event.add(record)?;
            *last_ns = now_ns;
        } else if record.kind == Kind::End {
            // Behind PROCTITLE, or behind what was not seen.
        } else if self.over.contains(&record.id) {
            return Ok(Taken::Late);
        } else {
            let mut event = Event::new(record.id);
            event.add(record)?;
            self.open.insert(record.id, (event, now_ns));
        }
        Ok(Taken::Kept)
    }

    fn close(&mut self, id: Id, whole: &mut Vec<Event>) {
        let Some((event, _)) = self.open.remove(&id) else { return };
        if self.over.len() >= OVER_EVENTS_MAX {
            self.over.pop_front();
        }
        self.over.push_back(id);
        whole.push(event);
    }

    /// Events to which nothing has come for a while.
    pub fn take_quiet(&mut self, now_ns: u64, whole: &mut Vec<Event>) {
        let is_quiet = |last_ns: &u64| last_ns.saturating_add(OVER_AFTER_NS) <= now_ns;
        let quiet: Vec<Id> = self.open.iter().filter(|(_, (_, last))| is_quiet(last)).map(|(id, _)| *id).collect();
        quiet.into_iter().for_each(|id| self.close(id, whole));
    }

    /// All that are left, at the end.
    pub fn take_rest(&mut self, whole: &mut Vec<Event>) {
        while let Some((id, _)) = self.open.first_key_value() {
            self.close(*id, whole);
        }
    }

    pub fn open_events(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Gives a record of each `SECONDS:SERIAL TYPE`, and what is over then.
    fn run(assembler: &mut Assembler, records: &[&str], now_ns: u64) -> (Vec<u64>, usize) {
        let (mut whole, mut late) = (Vec::new(), 0);
        for text in records {
            let (stamp, kind) = text.split_once(' ').expect("both");
            let (seconds, serial) = stamp.split_once(':').expect("both");
            let line = format!("type={kind} msg=audit({seconds}.000:{serial}): item=0 nametype=NORMAL");
            let record = Record::parse(&line).expect("a record");
            late += usize::from(assembler.take(&record, now_ns, &mut whole) == Ok(Taken::Late));
        }
        (whole.iter().map(|event| event.id.serial).collect(), late)
    }

    #[test]
    fn an_event_is_over_with_its_last_record() {
        let mut assembler = Assembler::default();
        let mixed = ["1:1 PATH", "1:2 PATH", "1:1 PROCTITLE", "1:1 EOE", "1:2 EOE", "1:3 EOE", "1:4 PROCTITLE"];
        assert_eq!(run(&mut assembler, &mixed, 0), (vec![1, 2, 4], 0));
        assert_eq!(assembler.open_events(), 0);
        // Not a second event.
        assert_eq!(run(&mut assembler, &["1:2 PATH", "1:4 CWD"], 0), (vec![], 2));
    }

    #[test]
    fn an_event_without_a_last_record_is_over_by_time_or_by_those_that_follow() {
        let mut assembler = Assembler::default();
        assert_eq!(run(&mut assembler, &["1:1 PATH", "3:2 PATH"], 0), (vec![], 0));
        assert_eq!(run(&mut assembler, &["4:3 PATH"], 0), (vec![1], 0));
        assert_eq!(run(&mut assembler, &["4:515 PATH"], 0), (vec![2], 0));
        assert_eq!(run(&mut assembler, &["4:516 PATH"], 0), (vec![3], 0));
        // Serial numbers begin anew with the machine.
        assert_eq!(run(&mut assembler, &["5:1 PATH"], SECOND_NS), (vec![], 0));
        let mut whole = Vec::new();
        assembler.take_quiet(2 * SECOND_NS, &mut whole);
        assert_eq!((whole.len(), assembler.open_events()), (2, 1));
        assembler.take_rest(&mut whole);
        assert_eq!((whole.len(), assembler.open_events()), (3, 0));
    }

    #[test]
    fn a_malformed_record_opens_and_ends_nothing() {
        let mut assembler = Assembler::default();
        let mut whole = Vec::new();
        for line in ["type=SYSCALL msg=audit(9.000:9): arch=1 key=x", "type=PATH msg=audit(9.000:9): item=0 nametype=X"]
        {
            let record = Record::parse(line).expect("a record");
            assert_eq!(assembler.take(&record, 0, &mut whole), Err(Malformed));
        }
        assert_eq!((assembler.open_events(), whole.len()), (0, 0));
    }

    proptest! {
        /// Whatever order and times: nothing is open beyond the bound, and no event comes out twice while it is remembered.
        #[test]
        fn bounds_hold_and_events_are_told_once(records in prop::collection::vec((0u32..6, 0u64..3_000, 0u8..8), 0..400)) {
            let mut assembler = Assembler::default();
            let (mut whole, mut opened) = (Vec::new(), 0);
            for (second, serial, kind) in &records {
                let kind = ["PATH", "CWD", "PROCTITLE", "EOE", "USER_AUTH", "PATH", "PATH", "PATH"][usize::from(*kind)];
                let line = format!("type={kind} msg=audit({second}.000:{serial}): item=0 nametype=NORMAL");
                let before = assembler.open_events() + whole.len();
                let taken = assembler.take(&Record::parse(&line).expect("a record"), 0, &mut whole);
                let after = assembler.open_events() + whole.len();
                prop_assert!(taken.is_ok() && after - before <= 1 && assembler.open_events() <= OPEN_EVENTS_MAX);
                opened += after - before;
            }
            assembler.take_rest(&mut whole);
            prop_assert_eq!(whole.len(), opened);
        }
    }
}
