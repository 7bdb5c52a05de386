//! What the sources that read a ring of the kernel's have in common: when to look again, and counters of its programs at a moment in which they
//! agree with each other.
//!
//! Limits of that: where they never do, which is a fault of the programs, they are taken as they are after a second, and it is told once.

use amoskys_ebpf::ProbeError;
use std::time::Duration;

/// Readings until one is of a moment in which nothing was being counted, the first few at once. A processor of a virtual machine may stand
/// still in the midst of that, for as long as its host likes.
const READINGS_MAX: usize = 1_000;
const READINGS_AT_ONCE: usize = 10;
const READING_PAUSE: Duration = Duration::from_millis(1);

/// After so few, a source rests longer.
const FEW: usize = 256;
const REST_AFTER_FEW: Duration = Duration::from_millis(40);
const REST: Duration = Duration::from_millis(20);

/// How long to rest after so many were taken out of a ring, so that more gather: waking up costs more than what is taken. Nothing is lost by
/// that while the ring has room for what comes meanwhile.
pub fn rest_after(taken: usize) -> Duration {
    if taken < FEW { REST_AFTER_FEW } else { REST }
}

/// What counters say of themselves.
#[derive(Debug, Clone, Copy)]
pub struct Sum {
    /// What they are apart.
    pub gap: i64,
    /// Handed over, or to be.
    pub submitted: u64,
}

/// How far they were apart when nothing else helped.
#[derive(Debug, Default)]
pub struct Agreement {
    gap: i64,
}

impl Agreement {
    /// Counters that agree, of which at least `taken` were handed over: one is in the ring just before it is counted as told.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read<C>(
        &mut self,
        taken: u64,
        read: impl Fn() -> Result<C, ProbeError>,
        sum: impl Fn(&C) -> Sum,
    ) -> Result<C, ProbeError> {
        let mut counters = read()?;
        for reading in 1..READINGS_MAX {
            let Sum { gap, submitted } = sum(&counters);
            if gap == self.gap && submitted >= taken {
                return Ok(counters);
            }
            if reading >= READINGS_AT_ONCE {
                std::thread::sleep(READING_PAUSE);
            }
            counters = read()?;
        }
        let Sum { gap, .. } = sum(&counters);
        if gap != self.gap {
            self.gap = gap;
            tracing::error!(gap, "the kernel's counters do not add up; this is a fault of the agent");
        }
        Ok(counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn readings_go_on_until_they_agree_and_all_that_was_taken_is_counted() {
        let readings = Cell::new(0);
        let sums = [(1, 5), (0, 4), (0, 5), (0, 9)].map(|(gap, submitted)| Sum { gap, submitted });
        let read = || Ok(sums[readings.replace(readings.get() + 1)]);
        let agreed = Agreement::default().read(5, read, |sum| *sum).expect("read");
        assert_eq!((agreed.submitted, readings.get()), (5, 3));
    }
}
