//! How far event time has come in one partition.
//!
//! The watermark is the greatest event time seen less the lateness, and never goes back. Everything here is decided
//! from the records alone (their event times and log times), so a replay decides the same.

/// The rules of a stream, from its table options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkRules {
    /// How far out of order rows may come and still count.
    pub lateness_ns: i64,
    /// A row this far ahead of its record's log time is quarantined: its clock is wrong.
    pub max_skew_ns: i64,
    /// A gap in log time longer than this lets the watermark follow log time.
    pub idle_ns: Option<i64>,
}

/// The watermark of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// All windows that end at or before this are closed. `i64::MIN` before the first row.
    pub time_ns: i64,
    /// Log time of the last record; `i64::MIN` before the first.
    pub last_log_time_ns: i64,
}

impl Default for Watermark {
    fn default() -> Self {
        Self { time_ns: i64::MIN, last_log_time_ns: i64::MIN }
    }
}

impl Watermark {
    /// A record begins: applies the idle rule to the gap before it. Without log time nothing happens.
    pub fn begin_record(&mut self, rules: &WatermarkRules, log_time_ns: Option<i64>) {
        let Some(log_time_ns) = log_time_ns else { return };
        if let Some(idle_ns) = rules.idle_ns
            && self.last_log_time_ns != i64::MIN
            && log_time_ns.saturating_sub(self.last_log_time_ns) > idle_ns
        {
            self.advance_to(log_time_ns.saturating_sub(idle_ns).saturating_sub(rules.lateness_ns));
        }
        self.last_log_time_ns = self.last_log_time_ns.max(log_time_ns);
    }

    /// Whether the row's clock is too far ahead of the log to be believed.
    pub fn quarantines(rules: &WatermarkRules, time_ns: i64, log_time_ns: Option<i64>) -> bool {
        log_time_ns.is_some_and(|log_time_ns| time_ns > log_time_ns.saturating_add(rules.max_skew_ns))
    }

    /// A row was seen.
    pub fn observe(&mut self, rules: &WatermarkRules, time_ns: i64) {
        self.advance_to(time_ns.saturating_sub(rules.lateness_ns));
    }

    /// Live and at the end of the partition: what the idle rule will grant the next record at the least, a second of
    /// slack included, so that windows close although nothing comes.
    pub fn anticipate(&mut self, rules: &WatermarkRules, now_ns: i64) {
        const SLACK_NS: i64 = 1_000_000_000;
        let Some(idle_ns) = rules.idle_ns else { return };
        let log_time_ns = now_ns.saturating_sub(SLACK_NS);
        if self.last_log_time_ns != i64::MIN && log_time_ns.saturating_sub(self.last_log_time_ns) > idle_ns {
            self.advance_to(log_time_ns.saturating_sub(idle_ns).saturating_sub(rules.lateness_ns));
        }
    }

    /// Never goes back.
    pub fn advance_to(&mut self, time_ns: i64) {
        self.time_ns = self.time_ns.max(time_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: WatermarkRules = WatermarkRules { lateness_ns: 2, max_skew_ns: 10, idle_ns: Some(5) };

    #[test]
    fn follows_the_greatest_time_less_lateness() {
        let mut watermark = Watermark::default();
        for (time_ns, expected) in [(10, 8), (7, 8), (11, 9)] {
            watermark.observe(&RULES, time_ns);
            assert_eq!(watermark.time_ns, expected);
        }
    }

    #[test]
    fn a_gap_in_log_time_advances_it_before_the_next_row() {
        let mut watermark = Watermark { time_ns: 8, last_log_time_ns: 100 };
        watermark.begin_record(&RULES, Some(105));
        assert_eq!(watermark.time_ns, 8, "a gap of exactly idle is not idle");
        watermark.begin_record(&RULES, Some(111));
        assert_eq!(watermark.time_ns, 111 - 5 - 2);
    }

    #[test]
    fn the_clock_never_grants_more_than_the_rule_will() {
        let rules = WatermarkRules { idle_ns: Some(1_000_000_000), ..RULES };
        let mut anticipated = Watermark { time_ns: 0, last_log_time_ns: 0 };
        anticipated.anticipate(&rules, 10_000_000_000);
        let mut ruled = Watermark { time_ns: 0, last_log_time_ns: 0 };
        ruled.begin_record(&rules, Some(9_000_000_001));
        assert!(anticipated.time_ns > 0 && anticipated.time_ns <= ruled.time_ns);
    }

    #[test]
    fn a_clock_far_ahead_is_quarantined_by_log_time() {
        assert!(!Watermark::quarantines(&RULES, 110, Some(100)));
        assert!(Watermark::quarantines(&RULES, 111, Some(100)));
        assert!(!Watermark::quarantines(&RULES, 111, None));
    }
}
