//! How much of a partition's front may go, by `retention.ms` and `retention.bytes`. Pure.
//!
//! As in Kafka, `-1` keeps everything and the newest record always stays. A compacted topic loses nothing to age or size.

use crate::record::{is_compacted, limit};

/// What a topic keeps. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Retention {
    pub ms: Option<i64>,
    pub bytes: Option<u64>,
}

impl Retention {
    /// From a topic's settings by Kafka's names; the error says which value is wrong.
    pub(super) fn from_settings(settings: &[(String, String)]) -> Result<Self, String> {
        if is_compacted(settings)? {
            return Ok(Self::default());
        }
        Ok(Self {
            ms: limit(settings, "retention.ms")?,
            bytes: limit(settings, "retention.bytes")?.map(|bytes| bytes as u64),
        })
    }

    /// Whether a scan from the front can find something to trim.
    pub(super) fn may_trim(&self, bytes: u64) -> bool {
        self.ms.is_some() || self.bytes.is_some_and(|bytes_max| bytes > bytes_max)
    }

    /// Whether the oldest record goes, when the partition has `bytes` with it.
    pub(super) fn drops(&self, log_time_ms: i64, bytes: u64, now_ms: i64) -> bool {
        self.ms.is_some_and(|ms| log_time_ms < now_ms.saturating_sub(ms))
            || self.bytes.is_some_and(|bytes_max| bytes > bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn settings_are_read_or_refused() {
        assert_eq!(Retention::from_settings(&[]), Ok(Retention::default()));
        assert_eq!(Retention::from_settings(&settings("retention.ms", "-1")), Ok(Retention::default()));
        assert_eq!(
            Retention::from_settings(&settings("retention.bytes", "10")),
            Ok(Retention { ms: None, bytes: Some(10) })
        );
        for wrong in ["", "-2", "1 h", "9223372036854775808"] {
            Retention::from_settings(&settings("retention.ms", wrong)).expect_err(wrong);
        }
    }

    #[test]
    fn drops_by_age_and_by_size() {
        let by_age = Retention { ms: Some(100), bytes: None };
        assert!(by_age.drops(899, 1, 1_000) && !by_age.drops(900, 1, 1_000));
        let by_size = Retention { ms: None, bytes: Some(10) };
        assert!(by_size.drops(0, 11, 0) && !by_size.drops(0, 10, 0));
        assert!(!Retention::default().drops(0, u64::MAX, i64::MAX));
    }
}
