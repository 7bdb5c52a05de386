//! Where windows and panes begin and end. Arithmetic only.
//!
//! Of sessions, whose bounds depend on their rows, the panes are those of windows as long as the gap ([`crate::sessions`]).
//!
//! Windows are `[k·slide, k·slide + size)` for every integer `k`, aligned to 1970. Panes are cut where a window starts
//! or ends ("paired windows"): at most two per slide, however odd the ratio of size to slide. Every window is a whole
//! number of panes, and all rows of a pane are in the same windows. Windows of one slide and one remainder have the same
//! panes, and can share them.

use std::time::Duration;
use thiserror::Error;

/// A sliding window; `tumble` is one whose slide is its size. Or sessions, whose slide and size are their gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hop {
    slide_ns: i64,
    size_ns: i64,
    /// Of sessions: how many gaps one may be long. 0 for windows of one length.
    session_panes: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HopError {
    #[error("the {what} of a window must be more than zero, not {value_ns} ns")]
    NotPositive { what: &'static str, value_ns: i64 },
    #[error("size / slide is {ratio}, more than the {ratio_max} that is supported; slide less often")]
    TooManyOverlaps { ratio: i64, ratio_max: i64 },
    #[error("the greatest length is {gaps} gaps, more than the {gaps_max} that are supported; make the gap longer")]
    TooManyGaps { gaps: i64, gaps_max: i64 },
    #[error(
        "the greatest length of a session must be a whole number of gaps, for example {example:?}, {gaps} times {gap:?}"
    )]
    PartOfAGap { gap: Duration, gaps: i64, example: Duration },
}

/// Most windows that one row may be in, and most gaps that a session may be long.
const OVERLAPS_MAX: i64 = 10_000;

impl Hop {
    /// Both in nanoseconds, both more than zero, size / slide at most 10,000.
    pub fn new(slide_ns: i64, size_ns: i64) -> Result<Self, HopError> {
        for (what, value_ns) in [("slide", slide_ns), ("size", size_ns)] {
            if value_ns <= 0 {
                return Err(HopError::NotPositive { what, value_ns });
            }
        }
        let ratio = size_ns / slide_ns;
        if ratio > OVERLAPS_MAX {
            return Err(HopError::TooManyOverlaps { ratio, ratio_max: OVERLAPS_MAX });
        }
        Ok(Self { slide_ns, size_ns, session_panes: 0 })
    }

    /// Sessions: rows of a key of which each comes less than `gap_ns` after one before, cut at multiples of `max_ns` since
    /// 1970. Both more than zero, `max_ns` a whole number of gaps, at most 10,000.
    pub fn session(gap_ns: i64, max_ns: i64) -> Result<Self, HopError> {
        for (what, value_ns) in [("gap", gap_ns), ("greatest length", max_ns)] {
            if value_ns <= 0 {
                return Err(HopError::NotPositive { what, value_ns });
            }
        }
        let gaps = max_ns / gap_ns;
        if max_ns % gap_ns != 0 {
            let (gaps, gap) = (gaps + 1, Duration::from_nanos(gap_ns.unsigned_abs()));
            let example = Duration::from_nanos(gap_ns.saturating_mul(gaps).unsigned_abs());
            return Err(HopError::PartOfAGap { gap, gaps, example });
        }
        if gaps > OVERLAPS_MAX {
            return Err(HopError::TooManyGaps { gaps, gaps_max: OVERLAPS_MAX });
        }
        Ok(Self { slide_ns: gap_ns, size_ns: gap_ns, session_panes: gaps })
    }

    /// Of sessions, how many gaps one may be long; `None` for windows of one length.
    pub fn session_panes(&self) -> Option<i64> {
        (self.session_panes > 0).then_some(self.session_panes)
    }

    /// Of sessions, how long one may be; `None` for windows of one length.
    pub fn session_max_ns(&self) -> Option<i64> {
        Some(self.session_panes()?.saturating_mul(self.slide_ns))
    }

    /// How long before its window closes a row may be: the size of windows, and of sessions the longest and a gap.
    pub fn reach_ns(&self) -> i64 {
        self.session_max_ns().map_or(self.size_ns, |max_ns| max_ns.saturating_add(self.slide_ns))
    }

    pub fn slide_ns(&self) -> i64 {
        self.slide_ns
    }

    pub fn size_ns(&self) -> i64 {
        self.size_ns
    }

    /// The windows that a time is in, first and last `k`; first > last when it lies in a gap between windows.
    pub fn windows_at(&self, time_ns: i64) -> (i64, i64) {
        (self.first_ending_after(time_ns), time_ns.div_euclid(self.slide_ns))
    }

    /// `[start, end)` of window `k`, clamped to what a timestamp can hold.
    pub fn bounds_ns(&self, window: i64) -> (i64, i64) {
        let start = window.saturating_mul(self.slide_ns);
        (start, start.saturating_add(self.size_ns))
    }

    /// The first window whose end is greater than `time_ns`.
    pub fn first_ending_after(&self, time_ns: i64) -> i64 {
        time_ns.saturating_sub(self.size_ns).div_euclid(self.slide_ns) + 1
    }
}

/// Where panes are cut: `[k·step, k·step + cut)` and `[k·step + cut, (k+1)·step)`, or whole steps when `cut` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    step_ns: i64,
    cut_ns: i64,
}

impl Grid {
    /// The panes of one window.
    pub fn of(hop: Hop) -> Self {
        Self { step_ns: hop.slide_ns, cut_ns: hop.size_ns % hop.slide_ns }
    }

    /// The panes that all of these windows would have by themselves; `None` when they differ. A finer grid that fits
    /// all is not looked for: floats would be added in another order for a view that stands beside another.
    pub fn shared(hops: &[Hop]) -> Option<Self> {
        let (first, rest) = hops.split_first()?;
        let own = Self::of(*first);
        let shares = |hop: &Hop| Self::of(*hop) == own && hop.session_panes == first.session_panes;
        rest.iter().all(shares).then_some(own)
    }

    /// Number of the pane that a time is in. Grows with time; consecutive panes have consecutive numbers.
    pub fn pane_of(&self, time_ns: i64) -> i64 {
        let step = time_ns.div_euclid(self.step_ns);
        match self.cut_ns {
            0 => step,
            cut_ns => step * 2 + i64::from(time_ns.rem_euclid(self.step_ns) >= cut_ns),
        }
    }

    /// `[start, end)` of a pane, clamped to what a timestamp can hold.
    pub fn bounds_ns(&self, pane: i64) -> (i64, i64) {
        (self.start_ns(pane), self.start_ns(pane.saturating_add(1)))
    }

    fn start_ns(&self, pane: i64) -> i64 {
        if self.cut_ns == 0 {
            return pane.saturating_mul(self.step_ns);
        }
        let cut_ns = if pane.rem_euclid(2) == 1 { self.cut_ns } else { 0 };
        pane.div_euclid(2).saturating_mul(self.step_ns).saturating_add(cut_ns)
    }

    /// First and one past the last pane of a window of one of the grid's hops.
    pub fn panes_of(&self, hop: Hop, window: i64) -> (i64, i64) {
        let (start_ns, end_ns) = hop.bounds_ns(window);
        // An end that was clamped is inside a pane, which the window has all of.
        (self.pane_of(start_ns), self.pane_of(end_ns) + i64::from(end_ns == i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(hop: Hop, grid: Grid, time: i64) -> Result<(), TestCaseError> {
        let pane = grid.pane_of(time);
        let (begin, end) = grid.bounds_ns(pane);
        prop_assert!(begin <= time && time < end);
        let (first, last) = hop.windows_at(time);
        prop_assert_eq!(hop.windows_at(begin), (first, last), "all times of a pane are in the same windows");
        let (slide, size) = (hop.slide_ns(), hop.size_ns());
        for window in (time.div_euclid(slide) - size / slide - 2)..=(time.div_euclid(slide) + 2) {
            let (start, end) = hop.bounds_ns(window);
            let contains = start <= time && time < end;
            prop_assert_eq!(contains, (first..=last).contains(&window));
            let (from, to) = grid.panes_of(hop, window);
            prop_assert_eq!(contains, (from..to).contains(&pane));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn panes_tile_every_window_exactly(slide in 1i64..50, size in 1i64..200, time in -1000i64..1000) {
            let hop = Hop::new(slide, size).expect("valid");
            check(hop, Grid::of(hop), time)?;
        }

        #[test]
        fn first_window_ending_after_a_time(slide in 1i64..50, size in 1i64..200, time in -1000i64..1000) {
            let hop = Hop::new(slide, size).expect("valid");
            let window = hop.first_ending_after(time);
            prop_assert!(hop.bounds_ns(window).1 > time);
            prop_assert!(hop.bounds_ns(window - 1).1 <= time);
        }
    }

    #[test]
    fn panes_are_shared_where_each_window_has_the_same() {
        let hop = |slide, size| Hop::new(slide, size).expect("valid");
        assert_eq!(Grid::shared(&[]), None);
        assert_eq!(Grid::shared(&[hop(10, 50), hop(10, 600)]), Some(Grid::of(hop(10, 10))));
        assert_eq!(Grid::shared(&[hop(10, 25), hop(10, 15)]), Some(Grid::of(hop(10, 5))));
        assert_eq!(Grid::shared(&[hop(10, 25), hop(10, 20)]), None);
        assert_eq!(Grid::shared(&[hop(10, 20), hop(20, 40)]), None);
    }

    #[test]
    fn refuses_what_is_no_window() {
        assert!(Hop::new(0, 5).is_err());
        assert!(Hop::new(1, -5).is_err());
        assert!(Hop::new(1, 10_001).is_err());
        assert!(Hop::new(1, 10_000).is_ok());
        for (gap, max) in [(0, 5), (5, 0), (5, 12), (5, 4), (1, 10_001)] {
            assert!(Hop::session(gap, max).is_err(), "{gap} {max}");
        }
        assert_eq!(Hop::session(5, 10).map(|session| session.reach_ns()), Ok(15));
    }

    #[test]
    fn sessions_share_panes_with_nothing_but_the_same() {
        let session = |gap, max| Hop::session(gap, max).expect("valid");
        assert_eq!(Grid::shared(&[session(10, 50), Hop::new(10, 10).expect("valid")]), None);
        assert_eq!(Grid::shared(&[session(10, 50), session(10, 60)]), None);
        assert_eq!(Grid::shared(&[session(10, 50), session(10, 50)]), Some(Grid::of(session(10, 50))));
    }
}
