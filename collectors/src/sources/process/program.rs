//! What a process runs and as whom: the part of a process that its children inherit.

use super::{exe::Executable, files::Answer, lineage::Session, parse::Ids, procfs::Reading};
use std::{collections::BTreeMap, sync::Arc};

/// A program as a process runs it. Shared by a process and the children that have not replaced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// As descendants name it: the path of its executable, else its command name in brackets.
    pub name: Arc<str>,
    pub comm: String,
    pub exe: Executable,
    /// What is told of the executable's file, perhaps later. `None`: nobody was asked.
    pub file: Option<Arc<Answer>>,
    pub cmdline: String,
    pub environment: BTreeMap<String, String>,
    pub masked: Vec<&'static str>,
    pub cwd: String,
    pub cgroup: String,
    pub container_id: String,
    pub ids: Ids,
    pub session: Session,
}

impl Default for Program {
    fn default() -> Self {
        Self::read(&Reading::default(), None)
    }
}

impl Program {
    /// As read. What could not be read stays empty, or as it was `before` where replacing the program does not change
    /// it (folder, cgroup, session) or seldom does (ids, which set-user-id changes).
    pub fn read(reading: &Reading, before: Option<&Program>) -> Self {
        let kept = |field: fn(&Program) -> &String| before.map(field).cloned().unwrap_or_default();
        let cgroup = reading.cgroup.clone();
        let (cgroup, container_id) = cgroup.unwrap_or_else(|| (kept(|p| &p.cgroup), kept(|p| &p.container_id)));
        let comm = reading.stat.as_ref().map(|stat| stat.comm.clone()).unwrap_or_default();
        let exe = reading.executable.clone().unwrap_or_default();
        let name = if exe.path.is_empty() { format!("[{comm}]").into() } else { exe.path.as_str().into() };
        let session = before.map(|p| p.session).unwrap_or_default();
        let login_uid = reading.login_uid.unwrap_or(session.login_uid);
        Self {
            name,
            comm,
            exe,
            file: reading.file.clone(),
            cmdline: reading.cmdline.clone().unwrap_or_default(),
            environment: reading.environment.clone(),
            masked: reading.masked.clone(),
            cwd: reading.cwd.clone().unwrap_or_else(|| kept(|p| &p.cwd)),
            cgroup,
            container_id,
            ids: reading.ids.or(before.map(|p| p.ids)).unwrap_or_default(),
            session: reading.stat.as_ref().map_or(session, |stat| Session::read(stat, login_uid)),
        }
    }
}

/// Linux has at most 2^22 process ids.
pub const PID_BITS: u32 = 22;

/// Unique for a boot: start time in clock ticks << 22 | pid.
pub fn process_key(start_ticks: u64, pid: u32) -> u64 {
    start_ticks << PID_BITS | u64::from(pid)
}
