//! The syscall source's thread: ring → events → queue, and the kernel's counters → ledger.
//!
//! Deliberately not here: which calls there are (see `table`), loading programs (`amoskys-ebpf`). Limits: a full queue makes it wait;
//! the ring then takes `ring_bytes`, and what the kernel drops is counted.

use super::{
    choice::{Choice, rules},
    decode,
};
use crate::{
    config::SyscallConfig,
    ledger::{Filter, Loss, Origin},
    masks::Masks,
    metrics::{Numbers, SharedNumbers, SyscallsBy},
    queue::{EventQueue, Queued},
    sources::{
        process::micros,
        ring::{Agreement, Sum, rest_after},
    },
    stream::Stream,
};
use amoskys_ebpf::{Counters, Filters, KernelTypes, Probe, ProbeError, SeenAt};
use std::{
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long the ring is waited for: an upper bound on how late a stop or a change is noticed. To wake a processor costs a host that has nothing to do
/// more than all else that the agent does then.
const WAIT: Duration = Duration::from_millis(250);
/// Calls taken before the numbers are told.
const TURN_CALLS_MAX: usize = 1_024;

/// Where other wishes may be put while the source runs. The last that were put there count.
#[derive(Debug, Clone, Default)]
pub struct SyscallWishes(Arc<Mutex<Option<SyscallConfig>>>);

impl SyscallWishes {
    /// Which calls, whose, and how many; the size of the ring and whether there is a source stay as they are.
    pub fn put(&self, config: SyscallConfig) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    pub(in crate::sources) fn take(&self) -> Option<SyscallConfig> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The source, with its programs in the kernel.
pub struct SyscallSource {
    probe: Probe,
    wishes: SyscallWishes,
    masks: Masks,
    /// As they were told last.
    counters: Counters,
    agreement: Agreement,
    /// Calls that were taken out of the ring.
    taken: u64,
    /// Events of one turn; kept for its memory.
    turn: Vec<Queued>,
    numbers: SharedNumbers,
    queue: EventQueue,
}

impl SyscallSource {
    /// Puts the programs into the kernel.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn open(
        config: &SyscallConfig,
        types: &KernelTypes,
        masks: Masks,
        wishes: SyscallWishes,
        numbers: SharedNumbers,
        queue: EventQueue,
    ) -> Result<Self, ProbeError> {
        let (possible, wanted) = (rules(&Choice::all()), rules(&config.calls));
        let probe = Probe::load(types, SeenAt::Best, &possible, &wanted, &filters(config), config.ring_bytes)?;
        if let Some(because) = probe.at_tracepoints_because() {
            tracing::info!(
                because,
                "system calls are seen at the tracepoints of all calls, which slows all calls of the host a little"
            );
        }
        numbers.lock().syscalls_by = Some(SyscallsBy::Ebpf);
        let (counters, agreement) = Default::default();
        Ok(Self { probe, wishes, masks, counters, agreement, taken: 0, turn: Vec::new(), numbers, queue })
    }

    /// Runs until told to stop; then takes the programs out of the kernel, and what they had told already.
    pub fn run(mut self) {
        let ended = self.run_until_stopped().and_then(|()| self.probe.detach());
        if let Err(error) = ended.and_then(|()| {
            while self.turn(Duration::ZERO)? > 0 {}
            Ok(())
        }) {
            tracing::error!(%error, "system calls are not seen any more");
            self.numbers.lock().syscall_problem = Some(error.to_string());
        }
        self.numbers.lock().syscalls_by = None;
    }

    fn run_until_stopped(&mut self) -> Result<(), ProbeError> {
        while !self.queue.is_stopped() {
            if let Some(config) = self.wishes.take() {
                self.change(&config)?;
            }
            let taken = self.turn(WAIT)?;
            if taken > 0 && taken < TURN_CALLS_MAX {
                std::thread::sleep(rest_after(taken));
            }
        }
        Ok(())
    }

    fn change(&mut self, config: &SyscallConfig) -> Result<(), ProbeError> {
        self.probe.set_filters(&filters(config))?;
        self.probe.set_rules(&rules(&config.calls))?;
        tracing::info!(calls = config.calls.len(), "other system calls are looked at");
        Ok(())
    }

    /// Takes calls, tells the numbers, hands events on. How many calls came.
    fn turn(&mut self, wait: Duration) -> Result<usize, ProbeError> {
        let clock = decode::Clock::now();
        let (turn, masks, mut masked) = (&mut self.turn, &self.masks, 0);
        let taken = self.probe.poll(wait, TURN_CALLS_MAX, &mut |call| {
            if let Some(mut event) = decode::decode(call, &clock) {
                masked += u64::from(decode::mask(&mut event, masks));
                let event_time_us = event.observed_at.as_ref().map_or(0, micros);
                turn.push(Queued::of(Stream::Syscall, event_time_us, &event));
            }
        })?;
        self.taken += taken as u64;
        if masked > 0 {
            self.numbers.lock().masked_events += masked;
        }
        let counters = self.count()?;
        self.account(&counters, taken as u64);
        self.counters = counters;
        for event in self.turn.drain(..) {
            self.queue.push(event);
        }
        Ok(taken)
    }

    fn count(&mut self) -> Result<Counters, ProbeError> {
        let sum = |counters: &Counters| Sum { gap: counters.gap(), submitted: counters.submitted };
        self.agreement.read(self.taken, || self.probe.counters(), sum)
    }

    /// Calls that were decided in the kernel are seen and filtered or dropped at once; those that it told are seen when they are taken.
    /// So what is seen and what is in the ring are together what the kernel saw.
    fn account(&self, now: &Counters, taken: u64) {
        let (before, mut numbers) = (&self.counters, self.numbers.lock());
        let Numbers { ledger, kernel_calls, ring_calls, .. } = &mut *numbers;
        for (filter, events) in [
            (Filter::NotWanted, now.filtered - before.filtered),
            (Filter::Compat, now.compat - before.compat),
            (Filter::SampledOut, now.sampled_out - before.sampled_out),
        ] {
            ledger.see(Origin::Kernel, events);
            ledger.filter(filter, events);
        }
        for (loss, events) in [
            (Loss::Limited, now.limited - before.limited),
            (Loss::RingFull, now.dropped_ring - before.dropped_ring),
            (Loss::InFlightFull, now.dropped_in_flight - before.dropped_in_flight),
            (Loss::Unfinished, now.unfinished - before.unfinished),
            (Loss::Missed, now.missed - before.missed),
        ] {
            ledger.see(Origin::Kernel, events);
            ledger.drop_in_hand(Stream::Syscall, loss, events);
        }
        ledger.see(Origin::Kernel, taken);
        // What the table has not does not come; counted, if it did.
        let unknown = taken - self.turn.len() as u64;
        ledger.filter(Filter::NotWanted, unknown);
        (*kernel_calls, *ring_calls) = (*now, now.submitted.saturating_sub(self.taken));
    }
}

/// With the ids of control groups, by their folders.
fn filters(config: &SyscallConfig) -> Filters {
    let id = |folder: &PathBuf| match std::fs::metadata(folder) {
        Ok(metadata) => Some(metadata.ino()),
        Err(error) => {
            let folder = folder.display();
            tracing::warn!(%error, "there is no control group {folder}; it is left out of `cgroups`");
            None
        }
    };
    let of = config.of.clone();
    Filters {
        pids: of.pids,
        trees: of.trees,
        uids: of.uids,
        comms: of.comms,
        cgroup_ids: of.cgroups.filter_map(id),
        path_prefixes: of.path_prefixes,
        limit: config.limit,
    }
}
