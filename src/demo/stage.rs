//! Makes two things happen on this host that attackers do and that harm nothing.
//!
//! - [`MemoryRun`]: a copy of `sleep` under another name is run out of a memory-backed folder, and its file deleted
//!   while it runs (ATT&CK T1070.004, T1036).
//! - [`discovery_burst`]: one short-lived shell runs commands that tell who and where one is (T1057, T1082, T1033).
//!
//! Each says which processes it was, so that alerts can be told to be about it. Nothing is left behind: dropping a
//! [`MemoryRun`] ends its process by its own id and removes its folder; the burst ends before it returns.
//! Limits: Linux; no privileges. A demo that is killed outright leaves at most folders: the kernel ends its processes.

mod burst;
mod memory;

pub use burst::discovery_burst;
pub use memory::MemoryRun;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::{
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command},
};

/// What was staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    DeletedProgram,
    DiscoveryBurst,
}

impl Behaviour {
    /// ATT&CK techniques that an alert about it may name, or one of their sub-techniques.
    pub fn techniques(self) -> &'static [&'static str] {
        match self {
            Self::DeletedProgram => &["T1070.004", "T1036"],
            Self::DiscoveryBurst => &["T1057", "T1082", "T1033"],
        }
    }

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::DeletedProgram => "a program run from memory and deleted while it runs",
            Self::DiscoveryBurst => "a burst of discovery commands",
        }
    }
}

/// What was done, for matching alerts with it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Staged {
    pub behaviour: Behaviour,
    /// The process itself, or the shell first and then its children.
    pub pids: Vec<u32>,
    /// The program that was run.
    pub exe: PathBuf,
    /// The command lines.
    pub commands: Vec<String>,
    /// Just before the first process was started, milliseconds since 1970.
    pub began_ms: i64,
    /// Something that went otherwise than planned, for the user.
    pub note: Option<String>,
}

/// Starts a process that the kernel ends when the thread that called this ends, however that happens.
fn spawn_bound(command: &mut Command) -> io::Result<Child> {
    bind(command, getpid()).spawn()
}

#[allow(unsafe_code)]
fn bind(command: &mut Command, parent: Pid) -> &mut Command {
    let ends_with_us = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have ended before that; then there is no signal.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: what runs between fork and exec are two system calls; nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(ends_with_us) }
}

/// Whether no process has this id, not even one that nobody has waited for.
#[cfg(test)]
fn is_gone(pid: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}
