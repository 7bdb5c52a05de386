//! What time it is by the log.
//!
//! Idleness is decided by the log's times, so whoever lets the clock stand in for the next record has to know the log's time and
//! not its host's, which may be ahead. The log's time is at least that of the latest record, and as much more as has passed
//! since that was seen here. Deliberately not here: what follows from it.
//! Limits: behind the log's by as long as records take to come; where records carry their producers' times, the host's clock
//! is the bound.

use std::time::Instant;

#[derive(Debug, Clone, Copy, Default)]
pub struct LogClock {
    latest: Option<(i64, Instant)>,
}

impl LogClock {
    /// A record of this log time, nanoseconds since 1970, is there.
    pub fn see(&mut self, log_time_ns: i64, now: Instant) {
        if log_time_ns > self.log_time_ns(now).unwrap_or(i64::MIN) {
            self.latest = Some((log_time_ns, now));
        }
    }

    /// Never ahead of `host_ns`, which is all that is known before the first record.
    pub fn now_ns(&self, now: Instant, host_ns: i64) -> i64 {
        self.log_time_ns(now).map_or(host_ns, |log_time_ns| log_time_ns.min(host_ns))
    }

    fn log_time_ns(&self, now: Instant) -> Option<i64> {
        let (log_time_ns, seen) = self.latest?;
        let passed_ns = now.saturating_duration_since(seen).as_nanos();
        Some(log_time_ns.saturating_add(i64::try_from(passed_ns).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_host_that_is_ahead_is_not_believed_and_one_behind_is_the_bound() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let second = 1_000_000_000;
        let mut clock = LogClock::default();
        assert_eq!(clock.now_ns(begun, 7), 7, "nothing else is known");
        clock.see(100 * second, at(0));
        assert_eq!(clock.now_ns(at(5), 4_000 * second), 105 * second, "an hour ahead");
        assert_eq!(clock.now_ns(at(5), 90 * second), 90 * second, "behind");
        clock.see(103 * second, at(5));
        assert_eq!(clock.now_ns(at(5), i64::MAX), 105 * second, "a record that came late says nothing new");
        clock.see(109 * second, at(6));
        assert_eq!(clock.now_ns(at(8), i64::MAX), 111 * second);
        assert_eq!(clock.now_ns(begun, i64::MAX), 109 * second, "no time passes backwards");
    }
}
