//! Where windows and panes begin and end. Arithmetic only.
//!
//! Windows are `[k·slide, k·slide + size)` for every integer `k`, aligned to 1970. Panes are cut where a window starts
//! or ends ("paired windows"): at most two per slide, however odd the ratio of size to slide. Every window is a whole
//! number of panes, and all rows of a pane are in the same windows.

use thiserror::Error;

/// A sliding window; `tumble` is one whose slide is its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hop {
    slide_ns: i64,
    size_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HopError {
    #[error("the {what} of a window must be more than zero, not {value_ns} ns")]
    NotPositive { what: &'static str, value_ns: i64 },
    #[error("size / slide is {ratio}, more than the {ratio_max} that is supported; slide less often")]
    TooManyOverlaps { ratio: i64, ratio_max: i64 },
}

/// Most windows that one row may be in.
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
        Ok(Self { slide_ns, size_ns })
    }

    pub fn slide_ns(&self) -> i64 {
        self.slide_ns
    }

    pub fn size_ns(&self) -> i64 {
        self.size_ns
    }

    /// Where in each slide a window ends; 0 when that is where one starts.
    fn cut_ns(&self) -> i64 {
        self.size_ns % self.slide_ns
    }

    /// Number of the pane that a time is in. Grows with time; consecutive panes have consecutive numbers.
    pub fn pane_of(&self, time_ns: i64) -> i64 {
        let slide = time_ns.div_euclid(self.slide_ns);
        match self.cut_ns() {
            0 => slide,
            cut => slide * 2 + i64::from(time_ns.rem_euclid(self.slide_ns) >= cut),
        }
    }

    /// Index `k` of the slide in which a pane lies.
    fn slide_of(&self, pane: i64) -> i64 {
        if self.cut_ns() == 0 { pane } else { pane.div_euclid(2) }
    }

    /// The windows that a pane is in, first and last `k`; first > last when it lies in a gap between windows.
    pub fn windows_of(&self, pane: i64) -> (i64, i64) {
        let slide = self.slide_of(pane);
        let behind_cut = self.cut_ns() != 0 && pane.rem_euclid(2) == 1;
        // A pane before the cut is still in the window that ends at the cut.
        let reach = if self.cut_ns() != 0 && !behind_cut {
            self.size_ns / self.slide_ns
        } else {
            self.size_ns / self.slide_ns - 1
        };
        (slide - reach, slide)
    }

    /// First and one past the last pane of window `k`.
    pub fn panes_of(&self, window: i64) -> (i64, i64) {
        let slides = self.size_ns / self.slide_ns;
        match self.cut_ns() {
            0 => (window, window.saturating_add(slides)),
            _ => (window.saturating_mul(2), window.saturating_add(slides).saturating_mul(2).saturating_add(1)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn panes_tile_every_window_exactly(slide in 1i64..50, size in 1i64..200, time in -1000i64..1000) {
            let hop = Hop::new(slide, size).expect("valid");
            let pane = hop.pane_of(time);
            let (first, last) = hop.windows_of(pane);
            for window in (time.div_euclid(slide) - size / slide - 2)..=(time.div_euclid(slide) + 2) {
                let (start, end) = hop.bounds_ns(window);
                let contains = start <= time && time < end;
                prop_assert_eq!(contains, (first..=last).contains(&window));
                let (from, to) = hop.panes_of(window);
                prop_assert_eq!(contains, (from..to).contains(&pane));
            }
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
    fn refuses_what_is_no_window() {
        assert!(Hop::new(0, 5).is_err());
        assert!(Hop::new(1, -5).is_err());
        assert!(Hop::new(1, 10_001).is_err());
        assert!(Hop::new(1, 10_000).is_ok());
    }
}
