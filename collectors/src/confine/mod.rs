//! Gives up what a running agent does not need: capabilities, ways to more of them, and system calls.
//!
//! Called once, when the sources are open and before there are threads, as capabilities are a thread's own and are handed on to those
//! that it starts. What it leaves: [`Needs`]. It cannot be taken back. Why it is so: `docs/adr/0033-confinement.md`.
//! Deliberately not here: another user (the service manager's to give), which files may be written (likewise).
//! Limits: Linux on x86-64 and aarch64. Whoever is root remains the owner of root's files.

mod calls;
mod capabilities;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Whether an agent confines itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfineMode {
    /// It does not start where that is refused.
    On,
    /// As far as it is not refused, with a warning.
    Auto,
    Off,
}

/// What is needed beyond reading processes, writing files and talking to the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Programs in the kernel, whose maps are read and changed.
    pub ebpf: bool,
    /// The kernel's audit, which is asked how it is.
    pub audit: bool,
    /// The nice value that a thread will give itself.
    pub nice: i32,
}

/// How an agent is confined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Whether nothing was refused.
    pub is_whole: bool,
    /// Names of the capabilities that are left, sorted.
    pub kept: Vec<String>,
    /// What was refused, in words.
    pub problems: Vec<String>,
}

/// What was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    #[error("capabilities cannot be given up: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    #[error("system calls cannot be restricted: {0}")]
    Calls(#[from] seccompiler::Error),
    #[error("threads that run already keep their capabilities: {0}")]
    Threads(String),
    #[error("which threads run cannot be read from /proc/self/task: {0}")]
    Task(io::Error),
}

/// Confines this process. All that is possible is done, also where something else is refused.
pub fn confine(needs: &Needs) -> Result<Confinement, (ConfineError, Confinement)> {
    let may_be_nice = allow_nice(needs.nice);
    let others = other_threads().map_err(ConfineError::Task).and_then(|others| match others.join(", ") {
        none if none.is_empty() => Ok(()),
        names => Err(ConfineError::Threads(names)),
    });
    let steps = [
        others,
        capabilities::give_up(needs, may_be_nice).map_err(Into::into),
        calls::restrict(needs).map_err(Into::into),
    ];
    let faults: Vec<ConfineError> = steps.into_iter().filter_map(Result::err).collect();
    let confinement = Confinement {
        is_whole: faults.is_empty(),
        kept: capabilities::held(),
        problems: faults.iter().map(ToString::to_string).collect(),
    };
    faults.into_iter().next().map_or(Ok(confinement.clone()), |fault| Err((fault, confinement)))
}

/// A thread may go as far below 0 as this limit says, without CAP_SYS_NICE. Whether it is so; to raise the limit takes CAP_SYS_RESOURCE.
fn allow_nice(nice: i32) -> bool {
    let wanted = u64::try_from(20 - nice).unwrap_or_default();
    let now = getrlimit(Resource::Nice);
    let maximum = now.maximum.map(|maximum| maximum.max(wanted));
    nice >= 0
        || now.current.is_none_or(|now| now >= wanted)
        || setrlimit(Resource::Nice, Rlimit { current: Some(wanted), maximum }).is_ok()
}

/// Names of the threads of this process that are not the caller's.
fn other_threads() -> io::Result<Vec<String>> {
    // "PID/task/TID"
    let own = std::fs::read_link("/proc/thread-self")?;
    let mut names = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        let thread = thread?;
        if own.file_name() != Some(&thread.file_name()) {
            let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            names.push(name.trim().to_owned());
        }
    }
    Ok(names)
}
