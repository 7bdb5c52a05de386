//! Where every event is: the accounts behind "nothing is lost unseen".
//!
//! `seen + recovered = filtered + dropped + in hand + in the WAL + acknowledged`, at every moment, for each stream and so for all
//! together. Each step moves events from one place to another, so the identity holds as long as the steps are
//! reported truly; [`Ledger::gap`] shows when they were not. Plain numbers: no clock, no IO, no metrics library.

use crate::stream::{STREAMS, Stream};

/// Where an event was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A message of the kernel's process connector.
    Connector,
    /// A start, a program or an end of a process or a thread, in the kernel.
    Tracepoint,
    /// A process found, gone or changed in a pass over `/proc`, or at the second look after its exec.
    Snapshot,
    /// The agent's own status.
    Status,
    /// A system call, in the kernel.
    Kernel,
    /// An event of the kernel's audit, when its records are together; and what audit says it lost.
    Audit,
    /// The numbers of a process's calls of one name, when they are taken out of the kernel.
    Activity,
}

/// Why an event is of no interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// It is about a thread, not a process.
    Thread,
    /// A kind of message that is not reported (ids, names, sessions, tracing), though it may update what is known.
    OtherKind,
    KernelThread,
    /// A system call that no rule wants, or of somebody who is not looked at.
    NotWanted,
    /// A system call by the numbers of 32-bit programs.
    Compat,
    /// One of those that a rule takes some of.
    SampledOut,
    /// An event of audit that is no system call: a login, a rule, a denial.
    NotSyscall,
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
    /// A system call of a process that makes more than it may.
    Limited,
    /// A system call, or what happened to a process, that found no room between kernel and agent.
    RingFull,
    /// A system call that found no room among those under way.
    InFlightFull,
    /// A system call whose return was not seen.
    Unfinished,
    /// A system call, or what happened to a process, that the kernel told nobody of.
    Missed,
    /// A record that audit lost before anybody could read it; of which event is not known.
    AuditLost,
    /// The socket of audit's messages was full; how many were lost then is not known, at least one.
    SocketFull,
    /// An event of audit of which the record of the call itself is missing.
    Incomplete,
}

/// The names of the variants as they appear in metrics, in their order.
pub const ORIGINS: [(Origin, &str); 7] = [
    (Origin::Connector, "connector"),
    (Origin::Tracepoint, "tracepoint"),
    (Origin::Snapshot, "snapshot"),
    (Origin::Status, "status"),
    (Origin::Kernel, "kernel"),
    (Origin::Audit, "audit"),
    (Origin::Activity, "activity"),
];
pub const FILTERS: [(Filter, &str); 7] = [
    (Filter::Thread, "thread"),
    (Filter::OtherKind, "other_kind"),
    (Filter::KernelThread, "kernel_thread"),
    (Filter::NotWanted, "not_wanted"),
    (Filter::Compat, "compat"),
    (Filter::SampledOut, "sampled_out"),
    (Filter::NotSyscall, "not_syscall"),
];
pub const LOSSES: [(Loss, &str); 14] = [
    (Loss::Oversize, "oversize"),
    (Loss::WalFull, "wal_full"),
    (Loss::WalFailed, "wal_failed"),
    (Loss::RecordTooLarge, "record_too_large"),
    (Loss::Refused, "refused"),
    (Loss::Shutdown, "shutdown"),
    (Loss::Limited, "limited"),
    (Loss::RingFull, "ring_full"),
    (Loss::InFlightFull, "in_flight_full"),
    (Loss::Unfinished, "unfinished"),
    (Loss::Missed, "missed"),
    (Loss::AuditLost, "audit_lost"),
    (Loss::SocketFull, "socket_full"),
    (Loss::Incomplete, "incomplete"),
];

impl Origin {
    fn stream(self) -> Stream {
        match self {
            Self::Connector | Self::Tracepoint | Self::Snapshot => Stream::Process,
            Self::Status => Stream::Status,
            Self::Kernel | Self::Audit => Stream::Syscall,
            Self::Activity => Stream::Activity,
        }
    }
}

impl Filter {
    fn stream(self) -> Stream {
        match self {
            Self::Thread | Self::OtherKind | Self::KernelThread => Stream::Process,
            Self::NotWanted | Self::Compat | Self::SampledOut | Self::NotSyscall => Stream::Syscall,
        }
    }
}

/// Events by place, since the agent started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    seen: [u64; ORIGINS.len()],
    filtered: [u64; FILTERS.len()],
    accounts: [Account; STREAMS.len()],
}

/// Of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    recovered: u64,
    dropped: [u64; LOSSES.len()],
    in_hand: u64,
    in_wal: u64,
    acknowledged: u64,
    /// Steps that took more out of a place than was there.
    impossible: u64,
}

impl Account {
    fn leave_hand(&mut self, events: u64) {
        self.impossible += events.saturating_sub(self.in_hand);
        self.in_hand = self.in_hand.saturating_sub(events);
    }

    fn leave_wal(&mut self, events: u64) {
        self.impossible += events.saturating_sub(self.in_wal);
        self.in_wal = self.in_wal.saturating_sub(events);
    }
}

impl Ledger {
    fn of(&mut self, stream: Stream) -> &mut Account {
        &mut self.accounts[stream as usize]
    }

    /// The source got an event; it is in the agent's memory now.
    pub fn see(&mut self, origin: Origin, events: u64) {
        self.seen[origin as usize] += events;
        self.of(origin.stream()).in_hand += events;
    }

    /// The write-ahead log held these when the agent started.
    pub fn recover(&mut self, stream: Stream, events: u64) {
        let account = self.of(stream);
        account.recovered += events;
        account.in_wal += events;
    }

    pub fn filter(&mut self, filter: Filter, events: u64) {
        self.of(filter.stream()).leave_hand(events);
        self.filtered[filter as usize] += events;
    }

    /// Lost before it reached the write-ahead log.
    pub fn drop_in_hand(&mut self, stream: Stream, loss: Loss, events: u64) {
        let account = self.of(stream);
        account.leave_hand(events);
        account.dropped[loss as usize] += events;
    }

    pub fn write(&mut self, stream: Stream, events: u64) {
        let account = self.of(stream);
        account.leave_hand(events);
        account.in_wal += events;
    }

    /// Taken out of the write-ahead log without having been acknowledged.
    pub fn drop_in_wal(&mut self, stream: Stream, loss: Loss, events: u64) {
        let account = self.of(stream);
        account.leave_wal(events);
        account.dropped[loss as usize] += events;
    }

    pub fn acknowledge(&mut self, stream: Stream, events: u64) {
        let account = self.of(stream);
        account.leave_wal(events);
        account.acknowledged += events;
    }

    pub fn seen(&self) -> u64 {
        self.seen.iter().sum()
    }

    pub fn seen_from(&self, origin: Origin) -> u64 {
        self.seen[origin as usize]
    }

    pub fn seen_of(&self, stream: Stream) -> u64 {
        let origins = ORIGINS.iter().filter(|(origin, _)| origin.stream() == stream);
        origins.map(|(origin, _)| self.seen_from(*origin)).sum()
    }

    pub fn recovered(&self) -> u64 {
        self.accounts.iter().map(|account| account.recovered).sum()
    }

    pub fn recovered_of(&self, stream: Stream) -> u64 {
        self.accounts[stream as usize].recovered
    }

    pub fn filtered(&self) -> u64 {
        self.filtered.iter().sum()
    }

    pub fn filtered_as(&self, filter: Filter) -> u64 {
        self.filtered[filter as usize]
    }

    pub fn filtered_of(&self, stream: Stream) -> u64 {
        let filters = FILTERS.iter().filter(|(filter, _)| filter.stream() == stream);
        filters.map(|(filter, _)| self.filtered_as(*filter)).sum()
    }

    pub fn dropped(&self) -> u64 {
        STREAMS.iter().map(|(stream, _)| self.lost_of(*stream)).sum()
    }

    /// For whatever reason.
    pub fn lost_of(&self, stream: Stream) -> u64 {
        self.accounts[stream as usize].dropped.iter().sum()
    }

    pub fn dropped_as(&self, loss: Loss) -> u64 {
        STREAMS.iter().map(|(stream, _)| self.dropped_of(*stream, loss)).sum()
    }

    pub fn dropped_of(&self, stream: Stream, loss: Loss) -> u64 {
        self.accounts[stream as usize].dropped[loss as usize]
    }

    /// In the agent's memory: in the queue or in the open batch.
    pub fn in_hand(&self) -> u64 {
        self.accounts.iter().map(|account| account.in_hand).sum()
    }

    pub fn in_hand_of(&self, stream: Stream) -> u64 {
        self.accounts[stream as usize].in_hand
    }

    pub fn in_wal(&self) -> u64 {
        self.accounts.iter().map(|account| account.in_wal).sum()
    }

    pub fn in_wal_of(&self, stream: Stream) -> u64 {
        self.accounts[stream as usize].in_wal
    }

    pub fn acknowledged(&self) -> u64 {
        self.accounts.iter().map(|account| account.acknowledged).sum()
    }

    pub fn acknowledged_of(&self, stream: Stream) -> u64 {
        self.accounts[stream as usize].acknowledged
    }

    /// Events that came and are nowhere, or are somewhere and never came. Zero unless the agent has a fault.
    pub fn gap(&self) -> u64 {
        STREAMS.iter().map(|(stream, _)| self.gap_of(*stream)).sum()
    }

    pub fn gap_of(&self, stream: Stream) -> u64 {
        let account = &self.accounts[stream as usize];
        let came = self.seen_of(stream) + account.recovered;
        let gone = self.filtered_of(stream) + self.lost_of(stream);
        let are = gone + account.in_hand + account.in_wal + account.acknowledged;
        came.abs_diff(are).max(account.impossible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_in_the_order_of_the_variants() {
        assert!(STREAMS.iter().enumerate().all(|(n, (stream, _))| *stream as usize == n));
        assert!(ORIGINS.iter().enumerate().all(|(n, (origin, _))| *origin as usize == n));
        assert!(FILTERS.iter().enumerate().all(|(n, (filter, _))| *filter as usize == n));
        assert!(LOSSES.iter().enumerate().all(|(n, (loss, _))| *loss as usize == n));
    }

    #[test]
    fn a_step_that_cannot_be_shows_as_a_gap_of_its_stream() {
        let mut ledger = Ledger::default();
        ledger.see(Origin::Connector, 1);
        ledger.write(Stream::Process, 1);
        ledger.acknowledge(Stream::Process, 1);
        assert_eq!(ledger.gap(), 0);
        ledger.acknowledge(Stream::Process, 1);
        assert_eq!((ledger.gap(), ledger.gap_of(Stream::Process), ledger.gap_of(Stream::Syscall)), (1, 1, 0));
        // Taken from one stream and put to another, although there are as many in all.
        let mut ledger = Ledger::default();
        ledger.see(Origin::Kernel, 1);
        ledger.write(Stream::Process, 1);
        assert_eq!((ledger.gap_of(Stream::Process), ledger.gap_of(Stream::Syscall)), (1, 0));
    }

    proptest! {
        #[test]
        fn the_identity_holds_after_every_possible_step(
            steps in prop::collection::vec((0u8..7, 0..STREAMS.len(), 0u64..5), 0..200)
        ) {
            let mut ledger = Ledger::default();
            for (step, stream, events) in steps {
                let stream = STREAMS[stream].0;
                let hand = events.min(ledger.in_hand_of(stream));
                let wal = events.min(ledger.in_wal_of(stream));
                let origin = ORIGINS.iter().find(|(origin, _)| origin.stream() == stream).expect("each has one").0;
                match step {
                    0 => ledger.see(origin, events),
                    1 => ledger.recover(stream, events),
                    2 => if let Some((filter, _)) = FILTERS.iter().find(|(filter, _)| filter.stream() == stream) {
                        ledger.filter(*filter, hand);
                    },
                    3 => ledger.drop_in_hand(stream, Loss::Oversize, hand),
                    4 => ledger.write(stream, hand),
                    5 => ledger.drop_in_wal(stream, Loss::WalFull, wal),
                    _ => ledger.acknowledge(stream, wal),
                }
                prop_assert_eq!(ledger.gap(), 0);
            }
        }
    }
}
