//! Second looks: which executables to look at again, and when.
//!
//! Pure. A program that deletes its own file right after it started would otherwise be noticed only by the next pass
//! over `/proc`, if it lives that long. Limits: at most [`RECHECKS_MAX`] wait; more are not looked at again.

use std::collections::VecDeque;

/// At 1 s, good for 4,096 starts per second.
pub const RECHECKS_MAX: usize = 4_096;

/// A process to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recheck {
    pub due_ns: u64,
    pub pid: u32,
    /// So that another process under the same id is left alone.
    pub key: u64,
}

/// In the order they are due.
#[derive(Debug)]
pub struct Rechecks {
    waiting: VecDeque<Recheck>,
    after_ns: u64,
}

impl Rechecks {
    /// `after_ns` of 0: no second looks.
    pub fn new(after_ns: u64) -> Self {
        Self { waiting: VecDeque::new(), after_ns }
    }

    pub fn plan(&mut self, pid: u32, key: u64, now_ns: u64) {
        if self.after_ns > 0 && self.waiting.len() < RECHECKS_MAX {
            self.waiting.push_back(Recheck { due_ns: now_ns + self.after_ns, pid, key });
        }
    }

    pub fn take_due(&mut self, now_ns: u64) -> Option<Recheck> {
        self.waiting.pop_front_if(|first| first.due_ns <= now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_when_due_and_are_bounded() {
        let mut rechecks = Rechecks::new(10);
        rechecks.plan(1, 11, 0);
        rechecks.plan(2, 22, 5);
        assert_eq!(rechecks.take_due(9), None);
        assert_eq!(rechecks.take_due(10), Some(Recheck { due_ns: 10, pid: 1, key: 11 }));
        assert_eq!(rechecks.take_due(10), None);
        (0..2 * RECHECKS_MAX as u32).for_each(|pid| rechecks.plan(pid, 0, 5));
        assert_eq!(std::iter::from_fn(|| rechecks.take_due(u64::MAX)).count(), RECHECKS_MAX);
        let mut none = Rechecks::new(0);
        none.plan(1, 1, 0);
        assert_eq!(none.take_due(u64::MAX), None);
    }
}
