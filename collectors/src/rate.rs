//! A token bucket: how fast envelopes may leave.
//!
//! Pure: time is an argument (any monotonic nanoseconds). Limits: over any span, at most `burst + rate × span` tokens,
//! plus one envelope that is larger than the burst.

use crate::config::SendRate;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Tokens are kept in billionths, so that nothing is lost to rounding.
#[derive(Debug)]
pub struct TokenBucket {
    per_second: u128,
    burst_nano: i128,
    level_nano: i128,
    filled_at_ns: u64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: &SendRate, now_ns: u64) -> Self {
        let burst_nano = (u128::from(rate.burst.max(1)) * NANOS_PER_SECOND) as i128;
        Self {
            per_second: u128::from(rate.per_second.max(1)),
            burst_nano,
            level_nano: burst_nano,
            filled_at_ns: now_ns,
        }
    }

    /// Takes `cost` tokens, or says how many nanoseconds to wait before asking again. A cost above the burst is let
    /// through when the bucket is full and leaves a debt.
    pub fn take(&mut self, cost: u64, now_ns: u64) -> Result<(), u64> {
        self.fill(now_ns);
        let cost_nano = (u128::from(cost) * NANOS_PER_SECOND) as i128;
        let needed_nano = cost_nano.min(self.burst_nano);
        if self.level_nano >= needed_nano {
            self.level_nano -= cost_nano;
            return Ok(());
        }
        let missing_nano = (needed_nano - self.level_nano) as u128;
        Err(u64::try_from(missing_nano.div_ceil(self.per_second)).unwrap_or(u64::MAX))
    }

    fn fill(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.filled_at_ns);
        self.filled_at_ns = self.filled_at_ns.max(now_ns);
        let gained_nano = (u128::from(elapsed_ns) * self.per_second) as i128;
        self.level_nano = (self.level_nano + gained_nano).min(self.burst_nano);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateUnit;
    use proptest::prelude::*;

    fn rate(per_second: u64, burst: u64) -> SendRate {
        SendRate { unit: RateUnit::Events, per_second, burst }
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = TokenBucket::new(&rate(10, 5), 0);
        assert_eq!(bucket.take(5, 0), Ok(()));
        assert_eq!(bucket.take(1, 0), Err(100_000_000));
        assert_eq!(bucket.take(1, 99_999_999), Err(1));
        assert_eq!(bucket.take(1, 100_000_000), Ok(()));
    }

    #[test]
    fn an_envelope_above_the_burst_goes_when_full_and_leaves_a_debt() {
        let mut bucket = TokenBucket::new(&rate(10, 5), 0);
        assert_eq!(bucket.take(20, 0), Ok(()));
        assert_eq!(bucket.take(1, 0), Err(1_600_000_000));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let mut bucket = TokenBucket::new(&rate(10, 1), 1_000);
        assert_eq!(bucket.take(1, 1_000), Ok(()));
        assert_eq!(bucket.take(1, 0), Err(100_000_000));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_allow_and_the_stated_wait_is_enough(
            per_second in 1u64..1_000, burst in 1u64..100, costs in prop::collection::vec(1u64..100, 1..60),
            steps in prop::collection::vec(0u64..1_000_000_000, 60),
        ) {
            let mut bucket = TokenBucket::new(&rate(per_second, burst), 0);
            let (mut now_ns, mut taken) = (0u64, 0u128);
            for (cost, step) in costs.into_iter().zip(steps) {
                let cost = cost.min(burst);
                now_ns += step;
                if let Err(wait_ns) = bucket.take(cost, now_ns) {
                    now_ns += wait_ns;
                    prop_assert_eq!(bucket.take(cost, now_ns), Ok(()));
                }
                taken += u128::from(cost);
                let allowed = u128::from(burst) * NANOS_PER_SECOND + u128::from(now_ns) * u128::from(per_second);
                prop_assert!(taken * NANOS_PER_SECOND <= allowed);
            }
        }
    }
}
