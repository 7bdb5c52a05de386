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
        let (source, refused) = match config.source {
            SyscallMode::Off => return Ok(None),
            SyscallMode::Ebpf => return Ok(Some(Self::Ebpf(Box::new(ebpf()?)))),
            SyscallMode::Audit => (audit()?, None),
            SyscallMode::Auto => match ebpf() {
                Ok(source) => return Ok(Some(Self::Ebpf(Box::new(source)))),
                Err(refused) => match audit() {
                    Ok(source) => {
                        tracing::warn!(%refused, "system calls are seen by audit, as eBPF is refused");
                        (source, Some(format!("eBPF is refused: {refused}")))
                    }
                    Err(error) => {
                        tracing::warn!(%refused, audit = %error, "system calls are not seen");
                        numbers.lock().syscall_problem = Some(format!("eBPF is refused: {refused}; {error}"));
                        return Ok(None);
                    }
                },
            },
        };
        let silent = source.why_silent();
        if let Some(why) = silent {
            tracing::warn!(%why, "no system calls are told");
        }
        let problem: Vec<String> = refused.into_iter().chain(silent.map(str::to_owned)).collect();
        numbers.lock().syscall_problem = Some(problem.join("; ")).filter(|problem| !problem.is_empty());
        Ok(Some(Self::Audit(Box::new(source))))
    }

    /// Runs until told to stop.
    pub fn run(self) {
        match self {
            Self::Ebpf(source) => source.run(),
            Self::Audit(source) => source.run(),
        }
    }
}
