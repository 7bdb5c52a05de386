//! One reading of the kernel's three clocks, and how to get from one to another.
//!
//! Everything that decides takes a [`Moment`]; only the threads read the clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The same instant on three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Microseconds since 1970.
    pub wall_us: i64,
    /// Nanoseconds since boot without suspension: process connector messages carry it.
    pub monotonic_ns: u64,
    /// Nanoseconds since boot with suspension: start times in `/proc` are on it.
    pub boot_ns: u64,
}

impl Moment {
    pub fn now() -> Self {
        Self {
            wall_us: nanos(clock_gettime(ClockId::Realtime)) as i64 / 1_000,
            monotonic_ns: nanos(clock_gettime(ClockId::Monotonic)),
            boot_ns: nanos(clock_gettime(ClockId::Boottime)),
        }
    }

    /// The moment at which the monotonic clock showed `monotonic_ns`, by the offsets of this one.
    pub fn at_monotonic(&self, monotonic_ns: u64) -> Self {
        let ago_ns = self.monotonic_ns as i64 - monotonic_ns as i64;
        Self {
            wall_us: self.wall_us - ago_ns / 1_000,
            monotonic_ns,
            boot_ns: self.boot_ns.saturating_add_signed(-ago_ns),
        }
    }

    /// The moment at which the boot clock showed `boot_ns`, by the offsets of this one.
    pub fn at_boot(&self, boot_ns: u64) -> Self {
        let ago_ns = self.boot_ns as i64 - boot_ns as i64;
        Self {
            wall_us: self.wall_us - ago_ns / 1_000,
            monotonic_ns: self.monotonic_ns.saturating_add_signed(-ago_ns),
            boot_ns,
        }
    }

    /// Wall time, microseconds since 1970, at which the boot clock showed `boot_ns`.
    pub fn wall_us_at_boot(&self, boot_ns: u64) -> i64 {
        self.wall_us - (self.boot_ns as i64 - boot_ns as i64) / 1_000
    }
}

fn nanos(time: Timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_carry_over() {
        let now = Moment { wall_us: 5_000_000, monotonic_ns: 2_000_000, boot_ns: 9_000_000 };
        let before = now.at_monotonic(1_000_000);
        assert_eq!(before, Moment { wall_us: 4_999_000, monotonic_ns: 1_000_000, boot_ns: 8_000_000 });
        assert_eq!(now.at_boot(8_000_000), before);
        assert_eq!(now.wall_us_at_boot(10_000_000), 5_001_000);
    }
}
