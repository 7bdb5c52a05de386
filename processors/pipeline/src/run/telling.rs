//! Tells of expressions that could not be computed, no more often than somebody wants to read it.
//!
//! The first time at once, then now and then how often it was since; the metric counts each. Bounded by the expressions that
//! there are, since what SQL is gone is forgotten with the worker.

use super::core::Core;
use crate::sql::{Failure, StreamFlow};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// More expressions than that are told the first time only.
const KNOWN_MAX: usize = 10_000;

#[derive(Default)]
pub struct Telling(Mutex<Vec<(Failure, Instant)>>);

impl Telling {
    /// Takes what has failed in a partition.
    pub fn tell(&self, flow: &StreamFlow, core: &Core) {
        for failure in core.take_failures() {
            if let Some(Failure { query, expression, rows, example }) = self.is_due(failure, Instant::now()) {
                let (partition, before_offset) = (core.partition(), core.next_offset());
                tracing::warn!(
                    query,
                    expression,
                    rows,
                    example,
                    stream = flow.stream.name,
                    partition,
                    before_offset,
                    "an expression cannot be computed for some rows and is null there"
                );
            }
        }
    }

    /// With the rows since it was told last.
    fn is_due(&self, failure: Failure, now: Instant) -> Option<Failure> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((untold, told)) = known.iter_mut().find(|(one, _)| one.is_of_same(&failure)) else {
            if known.len() < KNOWN_MAX {
                known.push((Failure { rows: 0, ..failure.clone() }, now));
            }
            return Some(failure);
        };
        let rows = untold.rows + failure.rows;
        if now.duration_since(*told) < TELL_AGAIN_AFTER {
            untold.rows = rows;
            return None;
        }
        (untold.rows, *told) = (0, now);
        Some(Failure { rows, ..failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_at_once_and_then_in_sum() {
        let failure = |rows| Failure { query: "q".into(), expression: "1 / x".into(), rows, example: "x = 0".into() };
        let (telling, begun) = (Telling::default(), Instant::now());
        let told = |failure, seconds| {
            telling.is_due(failure, begun + Duration::from_secs(seconds)).map(|failure| failure.rows)
        };
        assert_eq!(told(failure(3), 0), Some(3));
        assert_eq!([told(failure(4), 1), told(failure(5), 59)], [None, None]);
        assert_eq!(told(Failure { query: "other".into(), ..failure(7) }, 59), Some(7));
        assert_eq!(told(failure(1), 61), Some(10));
        assert_eq!(told(failure(1), 62), None);
    }
}
