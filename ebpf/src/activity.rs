//! All calls of all processes as numbers: programs in the kernel that count them in rows, and the taking of these rows.
//!
//! [`Activity::take`] gives what was counted since it was called last, to the call. Apart from [`Probe`](crate::Probe): who does not
//! want it has nothing of it in the kernel.
//! Deliberately not here: what calls are called, who a process is. Limits: [`ROWS_MAX`] processes and calls between two takings, as it
//! was loaded; calls that find no room are counted and in no row. A row costs three calls of the kernel to take.

use crate::{
    ActivityCounters, KernelTypes, ProbeError,
    activity_counters::{COUNTERS, PLACES},
    probe::{Missed, load, missing, program, sums},
};
use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, HashMap, MapData},
    programs::BtfTracePoint,
};

static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/activity.bpf.o"));
/// Programs and what they are attached to. The last first, so that what begins is seen to end.
const TRACEPOINTS: [(&str, &str); 3] =
    [("activity_end", "sched_process_exit"), ("activity_exit", "sys_exit"), (ENTER, "sys_enter")];
const ENTER: &str = "activity_enter";
const ROWS: [&str; 2] = ["rows_0", "rows_1"];
/// Bytes of a key and of a row in the kernel: `struct key` and `struct row` of `bpf/activity.bpf.c`.
const KEY_BYTES: usize = 16;
const ROW_BYTES: usize = 40 + 8 * BUCKETS;

/// Rows that there may be between two takings, at most.
pub const ROWS_MAX: u32 = 1 << 20;
/// Of durations. The first is of calls below 2^7 ns, each other of calls from where the one before it ends to twice that; the last has
/// no end.
pub const BUCKETS: usize = 32;
/// Instead of a number: all calls by numbers from 512 on, which there are not.
pub const UNKNOWN: u32 = 512;
/// Instead of a number: all calls by the numbers of 32-bit programs.
pub const COMPAT: u32 = 513;

/// What one process did of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRow {
    /// When the process began, nanoseconds since boot: with the pid it names one process of a boot.
    pub process_started_ns: u64,
    pub pid: u32,
    /// This machine's, or [`UNKNOWN`], or [`COMPAT`].
    pub number: u32,
    /// Of the process, when the first of these calls returned.
    pub uid: u32,
    pub comm: [u8; 16],
    /// Calls that returned an error.
    pub errors: u64,
    pub duration_ns: u64,
    /// Calls by how long they took: together all of them.
    pub buckets: [u64; BUCKETS],
}

/// Programs that are loaded and attached; dropped, they are gone.
pub struct Activity {
    ebpf: Ebpf,
    /// Which of the maps is written, and the same for the programs.
    written: usize,
    written_map: Array<MapData, u32>,
    missed: Missed,
}

impl Activity {
    /// Counts the calls of all processes but this one, in `rows_max` rows between two takings.
    ///
    /// # Errors
    /// The programs cannot be had.
    pub fn load(types: &KernelTypes, rows_max: u32) -> Result<Self, ProbeError> {
        let (own_pid, rows_max) = (std::process::id(), rows_max.clamp(1, ROWS_MAX));
        let (btf, mut loader) = types.loader()?;
        // Storage of tasks, which only the programs use.
        loader.allow_unsupported_maps().override_global("OWN_PID", &own_pid, true);
        for name in ROWS {
            loader.map_max_entries(name, rows_max);
        }
        let mut ebpf = loader.load(PROGRAMS)?;
        let written_map = Array::try_from(ebpf.take_map("written").ok_or_else(|| missing("written"))?)?;
        let mut activity = Self { ebpf, written: 0, written_map, missed: Missed::default() };
        for (name, tracepoint) in TRACEPOINTS {
            let program: &mut BtfTracePoint = program(&mut activity.ebpf, name)?;
            load(|| program.load(tracepoint, btf))?;
            program.attach()?;
        }
        Ok(activity)
    }

    /// Hands over each row of what was counted since the last taking, and begins anew.
    ///
    /// # Errors
    /// The kernel refuses; what was handed over is taken, the rest is still there.
    pub fn take(&mut self, on_row: &mut dyn FnMut(&ActivityRow)) -> Result<(), ProbeError> {
        let before = self.written;
        self.written_map.set(0, u32::from(before == 0), 0)?;
        self.written = 1 - before;
        self.wait_for_programs()?;
        self.take_from(before, on_row)
    }

    /// Takes the programs out of the kernel; what they have counted until then is handed over.
    ///
    /// # Errors
    /// As [`Activity::take`].
    pub fn end(&mut self, on_row: &mut dyn FnMut(&ActivityRow)) -> Result<(), ProbeError> {
        self.missed.read(&self.ebpf, &[ENTER])?;
        for (name, _) in TRACEPOINTS.iter().rev() {
            program::<BtfTracePoint>(&mut self.ebpf, name)?.unload()?;
        }
        self.wait_for_programs()?;
        self.take_from(self.written, on_row)
    }

    /// Until each program that runs now has ended.
    fn wait_for_programs(&mut self) -> Result<(), ProbeError> {
        let waits = self.ebpf.map_mut("waits").ok_or_else(|| missing("waits"))?;
        let mut waits: ArrayOfMaps<_, Array<MapData, u32>> = ArrayOfMaps::try_from(waits)?;
        // The kernel sees to it that whoever has changed a map of maps knows that all programs see the change.
        Ok(waits.set(0, &self.written_map, 0)?)
    }

    fn take_from(&mut self, which: usize, on_row: &mut dyn FnMut(&ActivityRow)) -> Result<(), ProbeError> {
        let name = ROWS[which];
        let map = self.ebpf.map_mut(name).ok_or_else(|| missing(name))?;
        let mut map: HashMap<_, [u8; KEY_BYTES], [u8; ROW_BYTES]> = HashMap::try_from(map)?;
        let keys: Vec<_> = map.keys().collect::<Result<_, _>>()?;
        for key in keys {
            let row = map.get(&key, 0)?;
            // Gone before it is told, so that no error makes it told twice.
            map.remove(&key)?;
            on_row(&ActivityRow::parse(&key, &row));
        }
        Ok(())
    }

    /// Of all processors together.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn counters(&self) -> Result<ActivityCounters, ProbeError> {
        let all: [u64; COUNTERS] = sums(&self.ebpf, PLACES)?;
        Ok(ActivityCounters::of(all, self.missed.read(&self.ebpf, &[ENTER])?))
    }
}

impl ActivityRow {
    fn parse(key: &[u8; KEY_BYTES], row: &[u8; ROW_BYTES]) -> Self {
        let u64_at = |bytes: &[u8], at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let u32_at = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
        Self {
            process_started_ns: u64_at(key, 0),
            pid: u32_at(key, 8),
            number: u32_at(key, 12),
            errors: u64_at(row, 0),
            duration_ns: u64_at(row, 8),
            uid: u32_at(row, 16),
            comm: row[24..40].try_into().unwrap_or_default(),
            buckets: std::array::from_fn(|bucket| u64_at(row, 40 + 8 * bucket)),
        }
    }

    /// How many calls.
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Without what fills it up.
    pub fn comm(&self) -> &[u8] {
        let bytes = self.comm.iter().position(|byte| *byte == 0).unwrap_or(self.comm.len());
        &self.comm[..bytes]
    }
}
