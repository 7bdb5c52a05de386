//! The audit source: system calls as the kernel's audit tells them, where eBPF may not be used.
//!
//! Records come from the kernel itself ([`netlink`], the multicast group for readers, which takes nothing from auditd) or from a log file
//! ([`follow`]). [`record`] reads one, [`event`] and [`argv`] keep what is read of an event, [`assembler`] knows when it is over, [`call`] makes the
//! [`amoskys_proto::v1::SyscallEvent`] of it by the table that eBPF's are made by, [`wanted`] decides as eBPF's programs do in the kernel.
//! [`AuditSource`] is the thread that does so and keeps the account: every event that is over is seen once, and sent, of no interest or lost.
//!
//! Deliberately not here: rules of audit. What the kernel tells is the operator's to say (`auditctl`, `/etc/audit/rules.d`); a call that
//! no rule asks for is not seen.
//! Limits: what audit does not tell is absent ([`call`]); `process_key` is there if the process still is when its event is read.

mod argv;
mod assembler;
mod auoms;
mod call;
mod event;
mod follow;
#[cfg(test)]
mod mixed_tests;
mod netlink;
mod record;
mod source;
mod wanted;

pub use netlink::KernelStatus;
pub use source::AuditSource;

use std::path::PathBuf;

/// Why audit cannot be read: the environment's doing.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the kernel's audit cannot be listened to: {action}: {source} (needs root or CAP_AUDIT_READ on the host)")]
    Netlink { action: &'static str, source: std::io::Error },
    #[error("the audit log {} cannot be read: {source}", path.display())]
    Log { path: PathBuf, source: std::io::Error },
    #[error("{netlink}; {log}")]
    Neither { netlink: Box<AuditError>, log: Box<AuditError> },
    #[error("/proc cannot be opened: {0}")]
    Proc(std::io::Error),
}
