//! Which source of system calls there is: eBPF, or audit where that is asked for or eBPF cannot be had.
//!
//! The reason for what is not used is logged once, and in the agent's numbers from then on.

use super::{
    audit::{AuditError, AuditSource},
    syscall::{SyscallSource, SyscallWishes},
};
use crate::{
    config::{SyscallConfig, SyscallMode},
    masks::Masks,
    metrics::SharedNumbers,
    queue::EventQueue,
};
use amoskys_ebpf::{KernelTypes, ProbeError};

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
        types: &KernelTypes,
        masks: Masks,
        wishes: SyscallWishes,
        numbers: SharedNumbers,
        queue: EventQueue,
    ) -> Result<Option<Self>, CallsError> {
        let ebpf = || SyscallSource::open(config, types, masks.clone(), wishes.clone(), numbers.clone(), queue.clone());
        let audit =
            |refused| AuditSource::open(config, refused, masks.clone(), wishes.clone(), numbers.clone(), queue.clone());
        let by_ebpf = |source| Some(Self::Ebpf(Box::new(source)));
        let by_audit = |source| Some(Self::Audit(Box::new(source)));
        match config.source {
            SyscallMode::Off => Ok(None),
            SyscallMode::Ebpf => Ok(by_ebpf(ebpf()?)),
            SyscallMode::Audit => Ok(by_audit(audit(None)?)),
            SyscallMode::Auto => match ebpf() {
                Ok(source) => Ok(by_ebpf(source)),
                Err(refused) => match audit(Some(format!("eBPF is refused: {refused}"))) {
                    Ok(source) => {
                        tracing::warn!(%refused, "system calls are seen by audit, as eBPF is refused");
                        Ok(by_audit(source))
                    }
                    Err(error) => {
                        tracing::warn!(%refused, audit = %error, "system calls are not seen");
                        numbers.lock().syscall_problem = Some(format!("eBPF is refused: {refused}; {error}"));
                        Ok(None)
                    }
                },
            },
        }
    }

    /// Runs until told to stop.
    pub fn run(self) {
        match self {
            Self::Ebpf(source) => source.run(),
            Self::Audit(source) => source.run(),
        }
    }
}
