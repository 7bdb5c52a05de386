//! What became of the calls that [`Activity`](crate::Activity) saw.

/// In the kernel's order.
pub(crate) const COUNTERS: usize = 5;
/// Programs that have such counters of their own.
pub(crate) const PLACES: u32 = 3;

/// Since the programs were loaded. At every moment `seen` is what the others are together, but for `missed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActivityCounters {
    /// Calls of which it is decided what becomes of them; the agent's own are not among them, nor those that have not returned yet.
    pub seen: u64,
    /// In a row that was taken or will be.
    pub counted: u64,
    /// There were as many rows as there may be.
    pub no_room: u64,
    /// Their return was not seen: exit, threads that were ended within a call, and calls whose return the kernel missed.
    pub unfinished: u64,
    /// There was no memory to note that they began.
    pub unnoted: u64,
    /// Beginnings of calls at which the kernel did not run our program, since its processor was in the midst of it. They are in none of
    /// the others.
    pub missed: u64,
}

impl ActivityCounters {
    pub(crate) fn of([seen, counted, no_room, unfinished, unnoted]: [u64; COUNTERS], missed: u64) -> Self {
        Self { seen, counted, no_room, unfinished, unnoted, missed }
    }

    /// Those that are in no row.
    pub fn uncounted(&self) -> u64 {
        self.no_room + self.unfinished + self.unnoted + self.missed
    }

    /// `seen` less the others; 0, unless calls were decided while the numbers were read.
    pub fn gap(&self) -> i64 {
        let told = self.counted + self.no_room + self.unfinished + self.unnoted;
        self.seen.cast_signed() - told.cast_signed()
    }
}
