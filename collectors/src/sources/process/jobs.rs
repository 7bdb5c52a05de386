//! The bounded queue of files that wait to be looked at: those of programs that just started first, those that a pass over
//! `/proc` found after them. An agent that starts finds a hundred at once, and an event of a start waits for its own.
//!
//! Limits: [`JOBS_MAX`] of each kind, each with an open descriptor; there is no room for more.

use super::hashing::Job;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

pub const JOBS_MAX: usize = 128;

/// How soon a file is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// An event of a start waits for it.
    Start,
    /// Somebody came upon it.
    Pass,
}

/// Both ends.
#[derive(Clone, Default)]
pub struct Jobs(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    starts: VecDeque<Job>,
    passes: VecDeque<Job>,
    closed: bool,
}

impl Jobs {
    /// Whether there was room.
    pub fn put(&self, job: Job, haste: Haste) -> bool {
        let mut state = self.state();
        let jobs = match haste {
            Haste::Start => &mut state.starts,
            Haste::Pass => &mut state.passes,
        };
        let fits = jobs.len() < JOBS_MAX;
        if fits {
            jobs.push_back(job);
            self.0.1.notify_one();
        }
        fits
    }

    /// Waits for one. `None` once nobody puts any more; what was left then is not looked at.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.starts.pop_front().or_else(|| state.passes.pop_front()) {
                return Some(job);
            }
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        (state.starts, state.passes) = Default::default();
        self.0.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::process::{
        exe::FileId,
        files::{Answer, Digest},
    };

    fn job(inode: u64) -> Job {
        let file = FileId { inode, ..FileId::default() };
        Job { content: None, known: Digest::NotWanted, file, path: None, answer: Answer::asked(true) }
    }

    #[test]
    fn starts_come_first_and_there_is_room_for_some() {
        let jobs = Jobs::default();
        assert!(jobs.put(job(1), Haste::Pass) && jobs.put(job(2), Haste::Start) && jobs.put(job(3), Haste::Start));
        let taken: Vec<u64> = (0..3).filter_map(|_| jobs.take()).map(|job| job.file.inode).collect();
        assert_eq!(taken, [2, 3, 1]);
        assert_eq!((0..2 * JOBS_MAX as u64).filter(|n| jobs.put(job(*n), Haste::Pass)).count(), JOBS_MAX);
        assert!(jobs.put(job(0), Haste::Start), "a pass does not take the room of starts");
        jobs.close();
        assert!(jobs.take().is_none());
    }
}
