//! What to do with an envelope that the log did not take.
//!
//! Pure: randomness is an argument. Deliberately not here: when to send, and whether the log is back.

use crate::config::PublishConfig;
use amoskys_bus::{BusError, Fault};
use std::time::Duration;

/// What kind of refusal it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The record is too large for the topic, whatever happens.
    TooLarge,
    /// The log is away or busy; or somebody must correct a setting (a missing topic, a right). The record is fine.
    NotNow,
    /// The log refuses this record and does not say that waiting helps.
    Unclear,
}

/// What the publisher does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    ResendAfter(Duration),
    DropTooLarge,
    DropRefused,
}

impl Refusal {
    pub fn of(error: &BusError) -> Self {
        match error {
            BusError::RecordTooLarge { .. } => Refusal::TooLarge,
            error if error.retryable() || error.fault() == Fault::User => Refusal::NotNow,
            _ => Refusal::Unclear,
        }
    }
}

/// Decides after the `failures`-th failure (1, 2 …) of one envelope. `jitter` is uniform in 0..1.
pub fn decide(refusal: Refusal, failures: u32, config: &PublishConfig, jitter: f64) -> Decision {
    match refusal {
        Refusal::TooLarge => Decision::DropTooLarge,
        Refusal::Unclear if failures > config.retry_max => Decision::DropRefused,
        Refusal::Unclear | Refusal::NotNow => Decision::ResendAfter(pause(failures, config, jitter)),
    }
}

/// Doubles from `retry_pause_min` to `retry_pause_max`; half of it is random, so that agents that lost the same broker
/// do not come back together.
pub fn pause(failures: u32, config: &PublishConfig, jitter: f64) -> Duration {
    let doubled = config.retry_pause_min.saturating_mul(1u32 << failures.saturating_sub(1).min(20));
    let full = if failures > config.retry_max { config.retry_pause_max } else { doubled.min(config.retry_pause_max) };
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refusals_are_told_apart() {
        let too_large = BusError::RecordTooLarge { topic: "t".into(), bytes: 2, bytes_max: 1 };
        let away = BusError::Unreachable { address: "a".into(), detail: "d".into() };
        let no_topic = BusError::UnknownTopic { topic: "t".into() };
        let unclear = BusError::Failed { action: "produce", detail: "d".into(), retryable: false };
        assert_eq!(Refusal::of(&too_large), Refusal::TooLarge);
        assert_eq!(Refusal::of(&away), Refusal::NotNow);
        assert_eq!(Refusal::of(&no_topic), Refusal::NotNow);
        assert_eq!(Refusal::of(&unclear), Refusal::Unclear);
    }

    #[test]
    fn only_the_record_itself_can_be_given_up() {
        let config = PublishConfig { retry_max: 2, ..PublishConfig::default() };
        assert_eq!(decide(Refusal::TooLarge, 1, &config, 0.0), Decision::DropTooLarge);
        assert!(matches!(decide(Refusal::Unclear, 2, &config, 0.0), Decision::ResendAfter(_)));
        assert_eq!(decide(Refusal::Unclear, 3, &config, 0.0), Decision::DropRefused);
        assert_eq!(decide(Refusal::NotNow, 1_000, &config, 1.0), Decision::ResendAfter(config.retry_pause_max));
    }

    proptest! {
        #[test]
        fn pauses_grow_to_the_longest_and_never_beyond(failures in 1u32..100_000, jitter in 0.0f64..1.0) {
            let config = PublishConfig::default();
            let now = pause(failures, &config, jitter);
            prop_assert!(now >= config.retry_pause_min / 2 && now <= config.retry_pause_max);
            prop_assert!(pause(failures + 1, &config, jitter) >= now);
        }
    }
}
