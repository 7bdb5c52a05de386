//! Where every event went: the identity that tells a quiet host from a blind agent.
//!
//! `seen + recovered = filtered + dropped + in hand + in the WAL + acknowledged`, at every moment. Each step of an
//! event's life is one method that moves it from one place to another, so the identity holds as long as the steps are
//! reported truly; [`Ledger::gap`] shows when they were not. Plain numbers: no clock, no IO, no metrics library.

/// Where an event was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A message of the kernel's process connector.
    Connector,
    /// A process found, gone or changed in a pass over `/proc`, or at the second look after its exec.
    Snapshot,
    /// The agent's own status.
    Status,
}

/// Why an event is of no interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// It is about a thread, not a process.
    Thread,
    /// A kind of message that is not reported (ids, names, sessions, tracing), though it may update what is known.
    OtherKind,
    KernelThread,
}

/// Why an event was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Alone larger than an envelope may be.
    Oversize,
    /// The write-ahead log was full.
    WalFull,
    /// The write-ahead log could not be written.
    WalFailed,
    /// The log says its record is too large.
    RecordTooLarge,
    /// The log refused it `retry_max` times.
    Refused,
    /// The agent had to end before it could be written.
    Shutdown,
}

/// The names of the variants as they appear in metrics, in their order.
pub const ORIGINS: [(Origin, &str); 3] =
    [(Origin::Connector, "connector"), (Origin::Snapshot, "snapshot"), (Origin::Status, "status")];
pub const FILTERS: [(Filter, &str); 3] =
    [(Filter::Thread, "thread"), (Filter::OtherKind, "other_kind"), (Filter::KernelThread, "kernel_thread")];
pub const LOSSES: [(Loss, &str); 6] = [
    (Loss::Oversize, "oversize"),
    (Loss::WalFull, "wal_full"),
    (Loss::WalFailed, "wal_failed"),
    (Loss::RecordTooLarge, "record_too_large"),
    (Loss::Refused, "refused"),
    (Loss::Shutdown, "shutdown"),
];

/// Events by place, since the agent started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    seen: [u64; ORIGINS.len()],
    recovered: u64,
    filtered: [u64; FILTERS.len()],
    dropped: [u64; LOSSES.len()],
    in_hand: u64,
    in_wal: u64,
    acknowledged: u64,
    /// Steps that took more out of a place than was there.
    impossible: u64,
}

impl Ledger {
    /// The source got an event; it is in the agent's memory now.
    pub fn see(&mut self, origin: Origin, events: u64) {
        self.seen[origin as usize] += events;
        self.in_hand += events;
    }

    /// The write-ahead log held these when the agent started.
    pub fn recover(&mut self, events: u64) {
        self.recovered += events;
        self.in_wal += events;
    }

    pub fn filter(&mut self, filter: Filter, events: u64) {
        self.leave_hand(events);
        self.filtered[filter as usize] += events;
    }

    /// Lost before it reached the write-ahead log.
    pub fn drop_in_hand(&mut self, loss: Loss, events: u64) {
        self.leave_hand(events);
        self.dropped[loss as usize] += events;
    }

    pub fn write(&mut self, events: u64) {
        self.leave_hand(events);
        self.in_wal += events;
    }

    /// Taken out of the write-ahead log without having been acknowledged.
    pub fn drop_in_wal(&mut self, loss: Loss, events: u64) {
        self.leave_wal(events);
        self.dropped[loss as usize] += events;
    }

    pub fn acknowledge(&mut self, events: u64) {
        self.leave_wal(events);
        self.acknowledged += events;
    }

    fn leave_hand(&mut self, events: u64) {
        self.impossible += events.saturating_sub(self.in_hand);
        self.in_hand = self.in_hand.saturating_sub(events);
    }

    fn leave_wal(&mut self, events: u64) {
        self.impossible += events.saturating_sub(self.in_wal);
        self.in_wal = self.in_wal.saturating_sub(events);
    }

    pub fn seen(&self) -> u64 {
        self.seen.iter().sum()
    }

    pub fn seen_from(&self, origin: Origin) -> u64 {
        self.seen[origin as usize]
    }

    pub fn recovered(&self) -> u64 {
        self.recovered
    }

    pub fn filtered(&self) -> u64 {
        self.filtered.iter().sum()
    }

    pub fn filtered_as(&self, filter: Filter) -> u64 {
        self.filtered[filter as usize]
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub fn dropped_as(&self, loss: Loss) -> u64 {
        self.dropped[loss as usize]
    }

    /// In the agent's memory: in the queue or in the open batch.
    pub fn in_hand(&self) -> u64 {
        self.in_hand
    }

    pub fn in_wal(&self) -> u64 {
        self.in_wal
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Events that came and are nowhere, or are somewhere and never came. Zero unless the agent has a fault.
    pub fn gap(&self) -> u64 {
        let came = self.seen() + self.recovered;
        let are = self.filtered() + self.dropped() + self.in_hand + self.in_wal + self.acknowledged;
        came.abs_diff(are).max(self.impossible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_in_the_order_of_the_variants() {
        assert!(ORIGINS.iter().enumerate().all(|(n, (origin, _))| *origin as usize == n));
        assert!(FILTERS.iter().enumerate().all(|(n, (filter, _))| *filter as usize == n));
        assert!(LOSSES.iter().enumerate().all(|(n, (loss, _))| *loss as usize == n));
    }

    #[test]
    fn a_step_that_cannot_be_shows_as_a_gap() {
        let mut ledger = Ledger::default();
        ledger.see(Origin::Connector, 1);
        ledger.write(1);
        ledger.acknowledge(1);
        assert_eq!(ledger.gap(), 0);
        ledger.acknowledge(1);
        assert_eq!(ledger.gap(), 1);
    }

    proptest! {
        #[test]
        fn the_identity_holds_after_every_possible_step(steps in prop::collection::vec((0u8..7, 0u64..5), 0..200)) {
            let mut ledger = Ledger::default();
            for (step, events) in steps {
                let hand = events.min(ledger.in_hand());
                let wal = events.min(ledger.in_wal());
                match step {
                    0 => ledger.see(Origin::Snapshot, events),
                    1 => ledger.recover(events),
                    2 => ledger.filter(Filter::Thread, hand),
                    3 => ledger.drop_in_hand(Loss::Oversize, hand),
                    4 => ledger.write(hand),
                    5 => ledger.drop_in_wal(Loss::WalFull, wal),
                    _ => ledger.acknowledge(wal),
                }
                prop_assert_eq!(ledger.gap(), 0);
            }
        }
    }
}
