//! What became of the calls that the kernel's programs saw.

/// In the kernel's order.
pub(crate) const COUNTERS: usize = 9;
/// Programs that have such counters of their own.
pub(crate) const PLACES: u32 = 3;

/// Since the programs were loaded. At every moment `seen` is what the others are together, but for `missed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of which it is decided what becomes of them; the agent's own are not among them.
    pub seen: u64,
    /// Not wanted.
    pub filtered: u64,
    /// By the numbers of 32-bit programs.
    pub compat: u64,
    pub sampled_out: u64,
    /// Over the limit of their process.
    pub limited: u64,
    /// The ring was full.
    pub dropped_ring: u64,
    /// Too many calls were under way.
    pub dropped_in_flight: u64,
    /// Their return was not seen: threads that were ended within a call, and calls whose return the kernel missed.
    pub unfinished: u64,
    /// Handed over, or to be.
    pub submitted: u64,
    /// Beginnings of calls at which the kernel did not run our program, since its processor was in the midst of it. They are in none of
    /// the others.
    pub missed: u64,
}

impl Counters {
    pub(crate) fn of(
        [seen, filtered, compat, sampled_out, limited, dropped_ring, dropped_in_flight, unfinished, submitted]: [u64;
            COUNTERS],
        missed: u64,
    ) -> Self {
        Self {
            seen,
            filtered,
            compat,
            sampled_out,
            limited,
            dropped_ring,
            dropped_in_flight,
            unfinished,
            submitted,
            missed,
        }
    }

    /// `seen` less the others; 0, unless calls were decided while the numbers were read.
    pub fn gap(&self) -> i64 {
        let told = self.filtered
            + self.compat
            + self.sampled_out
            + self.limited
            + self.dropped_ring
            + self.dropped_in_flight
            + self.unfinished
            + self.submitted;
        self.seen.cast_signed() - told.cast_signed()
    }
}
