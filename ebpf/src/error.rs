//! Why system calls cannot be seen.

use aya::{EbpfError, maps::MapError, programs::ProgramError};

/// The programs do not run. Nothing is left in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("the kernel has no BTF (/sys/kernel/btf/vmlinux), which its fields are found by")]
    NoBtf,
    #[error("loading programs into the kernel takes {missing}, which this process has not")]
    Capability { missing: String },
    #[error("the kernel does not take the programs: {0}")]
    Refused(String),
    #[error("{0}")]
    Filter(String),
    #[error("events cannot be waited for: {0}")]
    Wait(std::io::Error),
}

/// Bits of CapEff, and who wants them.
const CAPABILITIES: [(u32, &str); 2] = [(39, "CAP_BPF"), (38, "CAP_PERFMON")];
const CAP_SYS_ADMIN: u32 = 21;

impl ProbeError {
    /// A refusal for want of rights names those that are missing.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        match missing(&status) {
            Some(missing) if is_permission(error) => Self::Capability { missing },
            _ => Self::Refused(chain(error)),
        }
    }
}

impl From<EbpfError> for ProbeError {
    fn from(error: EbpfError) -> Self {
        Self::of(&error)
    }
}

impl From<ProgramError> for ProbeError {
    fn from(error: ProgramError) -> Self {
        Self::of(&error)
    }
}

impl From<MapError> for ProbeError {
    fn from(error: MapError) -> Self {
        Self::of(&error)
    }
}

/// Of the text of /proc/PID/status.
fn missing(status: &str) -> Option<String> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = |bit: u32| effective >> bit & 1 == 1;
    if has(CAP_SYS_ADMIN) {
        return None;
    }
    let missing: Vec<&str> = CAPABILITIES.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect();
    (!missing.is_empty()).then(|| missing.join(" and "))
}

fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let is_here = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    is_here || error.source().is_some_and(is_permission)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let told = cause.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        below = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_capability_is_named() {
        let of = |bits: &[u32]| {
            let effective = bits.iter().fold(0u64, |all, bit| all | 1 << bit);
            missing(&format!("Name:\tx\nCapEff:\t{effective:016x}\n"))
        };
        assert_eq!(of(&[]).as_deref(), Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(of(&[39]).as_deref(), Some("CAP_PERFMON"));
        assert_eq!(of(&[38]).as_deref(), Some("CAP_BPF"));
        assert_eq!((of(&[38, 39]), of(&[CAP_SYS_ADMIN])), (None, None));
    }
}
