//! Jobs are done by several threads, and what they give is handed on in the order of the jobs.
//!
//! Threads take jobs in their order, so the one whose turn it is is always being done: a job that is ahead waits when
//! it has given [`WAITING_BYTES_MAX`].

use super::HistoryError;
use crate::run::emit::Emission;
use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// What one job may give before its turn. A single emission may be greater.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// One job's output on its way.
#[derive(Default)]
pub(super) struct Turn {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(usize, Emission)>,
    bytes: usize,
    end: Option<Result<(), HistoryError>>,
    /// Nobody wants more.
    is_cancelled: bool,
}

fn bytes(emission: &Emission) -> usize {
    emission.batch.get_array_memory_size()
}

impl Turn {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over emissions of a flow; false when nobody wants them any more.
    pub fn give(&self, flow: usize, emissions: &mut Vec<Emission>) -> bool {
        let mut state = self.lock();
        for emission in emissions.drain(..) {
            while state.bytes > WAITING_BYTES_MAX && !state.is_cancelled {
                state = self.wait(state);
            }
            if state.is_cancelled {
                return false;
            }
            state.bytes += bytes(&emission);
            state.waiting.push_back((flow, emission));
            self.changed.notify_all();
        }
        !state.is_cancelled
    }

    /// Does the job. One that panics is over too, so that nobody waits for it.
    pub fn work(&self, job: impl FnOnce() -> Result<(), HistoryError>) {
        struct Ending<'a>(&'a Turn, Result<(), HistoryError>);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.lock().end = Some(std::mem::replace(&mut self.1, Ok(())));
                self.0.changed.notify_all();
            }
        }
        let mut ending = Ending(self, Ok(()));
        ending.1 = job();
    }

    pub fn cancel(&self) {
        self.lock().is_cancelled = true;
        self.changed.notify_all();
    }

    /// Hands on all that the job gives, until it is over.
    pub fn take(
        &self,
        on_emission: &mut dyn FnMut(usize, Emission) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, HistoryError> {
        loop {
            let mut state = self.lock();
            let given = std::mem::take(&mut state.waiting);
            state.bytes = 0;
            if given.is_empty() {
                if let Some(end) = state.end.take() {
                    return end.map(ControlFlow::Continue);
                }
                drop(self.wait(state));
                continue;
            }
            drop(state);
            self.changed.notify_all();
            for (flow, emission) in given {
                if on_emission(flow, emission).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
}
