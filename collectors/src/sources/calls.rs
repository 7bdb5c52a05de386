//! Which source of system calls there is: eBPF, or audit where that is asked for or eBPF cannot be had.
//!
//! The reason for what is not used is logged once, and in the agent's numbers from then on.

use super::{
    audit::{AuditError, AuditSource},
    syscall::{SyscallSource, SyscallWishes},
};
use crate::{
    config::{SyscallConfig, SyscallMode},
    metrics::SharedNumbers,
    queue::EventQueue,
};
use amoskys_ebpf::ProbeError;

/// Why system calls cannot be seen although that is demanded.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    #[error(transparent)]
    Ebpf(#[from] ProbeError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// The source, ready to run in a thread of its own.
pub enum CallSource {
    Ebpf(Box<SyscallSource>),
    Audit(Box<AuditSource>),
}

impl CallSource {
    /// `None`: there is to be no source, or none can be had and it is not demanded; then the reason is in the numbers.
    ///
    /// # Errors
    /// Where one is demanded and cannot be had.
    pub fn open(
        config: &SyscallConfig,
        wishes: SyscallWishes,
        numbers: SharedNumbers,
        queue: EventQueue,
    ) -> Result<Option<Self>, CallsError> {
        let ebpf = || SyscallSource::open(config, wishes.clone(), numbers.clone(), queue.clone());
        let audit = || AuditSource::open(config, wishes.clone(), numbers.clone(), queue.clone());
        let (source, problem) = match config.source {
            SyscallMode::Off => return Ok(None),
            SyscallMode::Ebpf => return Ok(Some(Self::Ebpf(Box::new(ebpf()?)))),
            SyscallMode::Audit => (Some(audit()?), None),
            SyscallMode::Auto => match ebpf() {
                Ok(source) => return Ok(Some(Self::Ebpf(Box::new(source)))),
                Err(refused) => match audit() {
                    Ok(source) => (Some(source), Some(format!("eBPF is not used: {refused}"))),
                    Err(error) => (None, Some(format!("eBPF: {refused}; audit: {error}"))),
                },
            },
        };
        let off = source.as_ref().and_then(AuditSource::problem).map(str::to_owned);
        let problem: Vec<String> = problem.into_iter().chain(off).collect();
        if !problem.is_empty() {
            let problem = problem.join("; ");
            let by = if source.is_some() { "audit" } else { "nothing" };
            tracing::warn!(%by, "system calls: {problem}");
            numbers.lock().syscall_problem = Some(problem);
        }
        Ok(source.map(|source| Self::Audit(Box::new(source))))
    }

    /// Runs until told to stop.
    pub fn run(self) {
        match self {
            Self::Ebpf(source) => source.run(),
            Self::Audit(source) => source.run(),
        }
    }
}
