//! Capabilities: which stay, and giving up all others.

use super::Needs;
use caps::{
    CapSet::{Ambient, Bounding, Effective, Inheritable, Permitted},
    Capability, CapsHashSet,
    errors::CapsError,
};

/// `/proc/PID/exe`, `environ` and `fd` of other users' processes; files that those run and that others may not read.
const ALWAYS: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];
/// Before Linux 5.19 also reading and changing maps that are open takes it.
const EBPF: Capability = Capability::CAP_BPF;
/// Without it the kernel does not say how many records of audit it lost.
const AUDIT: Capability = Capability::CAP_AUDIT_CONTROL;

/// Where the limit of nice values cannot be raised: a priority of its own for a thread that reads what is soon gone.
const NICE: Capability = Capability::CAP_SYS_NICE;

fn needed(needs: &Needs, may_be_nice: bool) -> CapsHashSet {
    let more = [needs.ebpf.then_some(EBPF), needs.audit.then_some(AUDIT), (!may_be_nice).then_some(NICE)];
    ALWAYS.into_iter().chain(more.into_iter().flatten()).collect()
}

/// Of this thread, and of those that it will start: permitted and effective is what is needed and was there, inheritable and ambient
/// are empty, and so is the bounding set but for what is needed. Without CAP_SETPCAP the bounding set stays: it counts when a program is started,
/// which is refused.
pub fn give_up(needs: &Needs, may_be_nice: bool) -> Result<(), CapsError> {
    let needed = needed(needs, may_be_nice);
    if caps::has_cap(None, Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, Bounding)?.difference(&needed) {
            caps::drop(None, Bounding, *capability)?;
        }
    }
    caps::clear(None, Ambient)?;
    let kept: CapsHashSet = caps::read(None, Permitted)?.intersection(&needed).copied().collect();
    caps::set(None, Inheritable, &CapsHashSet::new())?;
    // In this order: what is effective must be permitted at every moment.
    let effective: CapsHashSet = caps::read(None, Effective)?.intersection(&kept).copied().collect();
    caps::set(None, Effective, &effective)?;
    caps::set(None, Permitted, &kept)?;
    caps::set(None, Effective, &kept)
}

/// Names of those that this thread has.
pub fn held() -> Vec<String> {
    let mut names: Vec<String> =
        caps::read(None, Permitted).unwrap_or_default().iter().map(ToString::to_string).collect();
    names.sort();
    names
}
