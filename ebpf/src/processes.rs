//! Starts, programs and ends of processes: programs in the kernel that tell them, and the taking of what they told.
//!
//! Apart from [`Probe`](crate::Probe), so that no system call is slowed where only processes are looked at.
//! Deliberately not here: who a process's ancestors are, what its executable holds. Limits: threads are counted and not told;
//! [`CMDLINE_BYTES_MAX`] of arguments, [`DESCRIPTORS_MAX`] descriptors.

use crate::{
    CMDLINE_BYTES_MAX, DESCRIPTORS_MAX, KernelTypes, ProbeError,
    probe::{Missed, load, program, sums},
    ring::{self, Ring},
};
use aya::{Ebpf, programs::BtfTracePoint};
use std::time::Duration;

static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/processes.bpf.o"));
/// Programs and what they are attached to. The last first, so that what begins is seen to end.
const TRACEPOINTS: [(&str, &str); 3] = [
    ("process_exit", "sched_process_exit"),
    ("process_exec", "sched_process_exec"),
    ("process_fork", "sched_process_fork"),
];
const PROGRAM_NAMES: [&str; 3] = [TRACEPOINTS[0].0, TRACEPOINTS[1].0, TRACEPOINTS[2].0];
/// In the kernel's order.
const COUNTERS: usize = 4;
/// Programs that have such counters of their own.
const PLACES: u32 = 3;

/// What became of what the programs saw, since they were loaded. At every moment `seen` is what the others are together, but for `missed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessCounters {
    pub seen: u64,
    /// Of threads, and ends of which another thread told already.
    pub threads: u64,
    /// The ring was full.
    pub dropped_ring: u64,
    /// Handed over, or to be.
    pub submitted: u64,
    /// The kernel did not run our program, since its processor was in the midst of it. They are in none of the others.
    pub missed: u64,
}

/// Programs that are loaded and attached; dropped, they are gone.
pub struct Processes {
    ebpf: Ebpf,
    ring: Ring,
    missed: Missed,
}

impl Processes {
    /// Sees all processes. `ring_bytes`: of the ring between kernel and agent, rounded up to a power of two. `cmdline_bytes_max`: of the
    /// arguments. `descriptors_max`: of those that may be sockets.
    ///
    /// # Errors
    /// The programs cannot be had.
    pub fn load(
        types: &KernelTypes,
        ring_bytes: u32,
        cmdline_bytes_max: usize,
        descriptors_max: u32,
    ) -> Result<Self, ProbeError> {
        let argv_bytes = cmdline_bytes_max.min(CMDLINE_BYTES_MAX) as u32;
        let descriptors = descriptors_max.min(DESCRIPTORS_MAX);
        let (btf, mut loader) = types.loader()?;
        let mut ebpf = loader
            .map_max_entries(ring::NAME, ring::bytes_of(ring_bytes))
            .override_global("ARGV_BYTES_MAX", &argv_bytes, true)
            .override_global("DESCRIPTORS_MAX", &descriptors, true)
            .load(PROGRAMS)?;
        let ring = Ring::of(&mut ebpf)?;
        let mut processes = Self { ebpf, ring, missed: Missed::default() };
        for (name, tracepoint) in TRACEPOINTS {
            let program: &mut BtfTracePoint = program(&mut processes.ebpf, name)?;
            load(|| program.load(tracepoint, btf))?;
            program.attach()?;
        }
        Ok(processes)
    }

    /// Hands over what has come, for [`RawProcess::parse`](crate::RawProcess::parse), at most `changes_max`, in the order in which it
    /// happened, and waits for the first of it at most `wait`. How many came.
    ///
    /// # Errors
    /// Nothing can be waited for.
    pub fn poll(
        &mut self,
        wait: Duration,
        changes_max: usize,
        on_change: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, ProbeError> {
        self.ring.poll(wait, changes_max, on_change)
    }

    /// Takes the programs out of the kernel. What has come until then is still there to be polled, and counted.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn detach(&mut self) -> Result<(), ProbeError> {
        self.missed.read(&self.ebpf, &PROGRAM_NAMES)?;
        for (name, _) in TRACEPOINTS.iter().rev() {
            program::<BtfTracePoint>(&mut self.ebpf, name)?.unload()?;
        }
        Ok(())
    }

    /// Of all processors together.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn counters(&self) -> Result<ProcessCounters, ProbeError> {
        let [seen, threads, dropped_ring, submitted]: [u64; COUNTERS] = sums(&self.ebpf, PLACES)?;
        let missed = self.missed.of_late(&self.ebpf, &PROGRAM_NAMES)?;
        Ok(ProcessCounters { seen, threads, dropped_ring, submitted, missed })
    }
}

impl ProcessCounters {
    /// `seen` less the others; 0, unless something was counted while the numbers were read.
    pub fn gap(&self) -> i64 {
        self.seen.cast_signed() - (self.threads + self.dropped_ring + self.submitted).cast_signed()
    }
}
