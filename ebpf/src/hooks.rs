//! Where the programs see calls: in the functions that carry out single calls, or at the tracepoints of all calls.
//!
//! A program on a tracepoint is run at every call of every process, and makes the kernel take a longer way to it: that is most of what
//! looking at system calls costs a host. A program on the function of one call costs the others nothing. So functions are used where the kernel lets
//! programs there (BTF, function tracing) and knows a function of each call's name; else tracepoints.
//! Where it has no function of a call, but of others, it has not the call. Limits: [`SLOTS`] calls have functions at once. By functions, calls by the numbers of 32-bit programs are not seen, and not counted.

use crate::{
    ProbeError, Rule,
    probe::{load, program},
};
use aya::{
    Btf, BtfError, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, ProgramError, fentry::FEntryLinkId, fexit::FExitLinkId},
};
use std::ops::Range;

/// Programs for functions are called `enter_10` to `enter_59`, and likewise `exit_`.
const SLOTS: Range<usize> = 10..60;
/// The last first, so that what begins is seen to end.
const TRACEPOINTS: [&str; 2] = ["sys_exit", "sys_enter"];

/// What the functions of calls are called.
#[cfg(target_arch = "x86_64")]
const FUNCTION_PREFIX: &str = "__x64_sys_";
#[cfg(not(target_arch = "x86_64"))]
const FUNCTION_PREFIX: &str = "__arm64_sys_";

/// Where calls are to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenAt {
    /// In their functions where that can be had, else at tracepoints.
    Best,
    /// At the tracepoints of all calls.
    Tracepoints,
}

/// Programs that are loaded.
pub(crate) enum Hooks {
    Functions(Vec<Slot>),
    /// With the reason, where functions would have been better.
    Tracepoints {
        because: Option<String>,
        attached: bool,
    },
}

/// The programs on the function of one call.
pub(crate) struct Slot {
    number: u32,
    enter: String,
    exit: String,
    /// The kernel has not this call.
    is_absent: bool,
    links: Option<(FEntryLinkId, FExitLinkId)>,
}

impl Hooks {
    /// Loads the programs for all calls that may be wanted. To load them takes rights; to attach what is loaded does not.
    pub(crate) fn load(ebpf: &mut Ebpf, btf: &Btf, at: SeenAt, possible: &[Rule]) -> Result<Self, ProbeError> {
        let because = match at {
            SeenAt::Tracepoints => None,
            SeenAt::Best => match slots(possible).and_then(|slots| load_slots(ebpf, btf, possible, slots)) {
                Ok(slots) => return Ok(Self::Functions(slots)),
                Err(error @ ProbeError::Capability { .. }) => return Err(error),
                Err(error) => Some(error.to_string().trim_end_matches(" Verifier output: ").to_owned()),
            },
        };
        for name in TRACEPOINTS {
            let tracepoint = program::<BtfTracePoint>(ebpf, name)?;
            load(|| tracepoint.load(name, btf))?;
        }
        Ok(Self::Tracepoints { because, attached: false })
    }

    /// Sees these calls from now on, and in functions no others.
    pub(crate) fn attach(&mut self, ebpf: &mut Ebpf, wanted: &[Rule]) -> Result<(), ProbeError> {
        match self {
            Self::Functions(slots) => {
                let is_possible = |rule: &&Rule| slots.iter().any(|slot| slot.number == rule.number);
                if let Some(rule) = wanted.iter().find(|rule| !is_possible(rule)) {
                    let number = rule.number;
                    return Err(ProbeError::Filter(format!("call {number} was not among those that may be wanted")));
                }
                for slot in slots {
                    match wanted.iter().any(|rule| rule.number == slot.number) {
                        true => slot.attach(ebpf)?,
                        false => slot.detach(ebpf)?,
                    }
                }
            }
            Self::Tracepoints { attached, .. } if !*attached => {
                for name in TRACEPOINTS {
                    program::<BtfTracePoint>(ebpf, name)?.attach()?;
                }
                *attached = true;
            }
            Self::Tracepoints { .. } => {}
        }
        Ok(())
    }

    /// Takes the programs out of the kernel.
    pub(crate) fn unload(&mut self, ebpf: &mut Ebpf) -> Result<(), ProbeError> {
        match self {
            Self::Functions(slots) => {
                for slot in slots.iter_mut().filter(|slot| !slot.is_absent) {
                    slot.links = None;
                    program::<FEntry>(ebpf, &slot.enter)?.unload()?;
                    program::<FExit>(ebpf, &slot.exit)?.unload()?;
                }
            }
            Self::Tracepoints { .. } => {
                for name in TRACEPOINTS.iter().rev() {
                    program::<BtfTracePoint>(ebpf, name)?.unload()?;
                }
            }
        }
        Ok(())
    }

    /// Names of the programs that begin calls.
    pub(crate) fn beginnings(&self) -> Vec<&str> {
        match self {
            Self::Functions(slots) => {
                slots.iter().filter(|slot| slot.links.is_some()).map(|slot| slot.enter.as_str()).collect()
            }
            Self::Tracepoints { .. } => vec!["sys_enter"],
        }
    }
}

/// One for each call.
fn slots(possible: &[Rule]) -> Result<Vec<Slot>, ProbeError> {
    if possible.is_empty() || possible.len() > SLOTS.len() || possible.iter().any(|rule| rule.name.is_empty()) {
        return Err(ProbeError::Filter("which calls may be wanted is not said, or too many are".into()));
    }
    let slot = |(rule, place): (&Rule, usize)| Slot {
        number: rule.number,
        enter: format!("enter_{place}"),
        exit: format!("exit_{place}"),
        is_absent: false,
        links: None,
    };
    Ok(possible.iter().zip(SLOTS).map(slot).collect())
}

/// All that the kernel has, or none.
fn load_slots(ebpf: &mut Ebpf, btf: &Btf, possible: &[Rule], mut slots: Vec<Slot>) -> Result<Vec<Slot>, ProbeError> {
    let mut load_all = || {
        for (slot, rule) in slots.iter_mut().zip(possible) {
            let function = format!("{FUNCTION_PREFIX}{}", rule.name);
            let at_beginning = program::<FEntry>(ebpf, &slot.enter)?;
            match load(|| at_beginning.load(&function, btf)) {
                Err(ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })) => {
                    slot.is_absent = true;
                    continue;
                }
                loaded => loaded?,
            }
            let at_end = program::<FExit>(ebpf, &slot.exit)?;
            load(|| at_end.load(&function, btf))?;
        }
        match slots.iter().all(|slot| slot.is_absent) {
            true => {
                let names: Vec<&str> = possible.iter().map(|rule| rule.name).collect();
                Err(ProbeError::Filter(format!("the kernel's BTF has no function of {}", names.join(", "))))
            }
            false => Ok(()),
        }
    };
    match load_all() {
        Ok(()) => Ok(slots),
        Err(error) => {
            for slot in &slots {
                // Those that were loaded.
                let _ = program::<FEntry>(ebpf, &slot.enter)?.unload();
                let _ = program::<FExit>(ebpf, &slot.exit)?.unload();
            }
            Err(error)
        }
    }
}

impl Slot {
    fn attach(&mut self, ebpf: &mut Ebpf) -> Result<(), ProbeError> {
        if self.links.is_none() && !self.is_absent {
            let at_end = program::<FExit>(ebpf, &self.exit)?.attach()?;
            self.links = Some((program::<FEntry>(ebpf, &self.enter)?.attach()?, at_end));
        }
        Ok(())
    }

    fn detach(&mut self, ebpf: &mut Ebpf) -> Result<(), ProbeError> {
        if let Some((at_beginning, at_end)) = self.links.take() {
            program::<FEntry>(ebpf, &self.enter)?.detach(at_beginning)?;
            program::<FExit>(ebpf, &self.exit)?.detach(at_end)?;
        }
        Ok(())
    }
}
