//! What a process runs and as whom: the part of a process that its children inherit.

use super::{exe::Executable, parse::Ids, procfs::Reading};

/// A program as a process runs it. Shared by a process and the children that have not replaced it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    pub comm: String,
    pub exe: Executable,
    pub cmdline: String,
    pub cwd: String,
    pub cgroup: String,
    pub container_id: String,
    pub ids: Ids,
}

impl Program {
    /// As read. What could not be read stays empty, or as it was `before` where replacing the program does not change
    /// it (folder, cgroup) or seldom does (ids, which set-user-id changes).
    pub fn read(reading: &Reading, before: Option<&Program>) -> Self {
        let kept = |field: fn(&Program) -> &String| before.map(field).cloned().unwrap_or_default();
        let cgroup = reading.cgroup.clone();
        let (cgroup, container_id) = cgroup.unwrap_or_else(|| (kept(|p| &p.cgroup), kept(|p| &p.container_id)));
        Self {
            comm: reading.stat.as_ref().map(|stat| stat.comm.clone()).unwrap_or_default(),
            exe: reading.executable.clone().unwrap_or_default(),
            cmdline: reading.cmdline.clone().unwrap_or_default(),
            cwd: reading.cwd.clone().unwrap_or_else(|| kept(|p| &p.cwd)),
            cgroup,
            container_id,
            ids: reading.ids.or(before.map(|p| p.ids)).unwrap_or_default(),
        }
    }
}

/// Linux has at most 2^22 process ids.
pub const PID_BITS: u32 = 22;

/// Unique for a boot: start time in clock ticks << 22 | pid.
pub fn process_key(start_ticks: u64, pid: u32) -> u64 {
    start_ticks << PID_BITS | u64::from(pid)
}
