//! Which calls of audit are wanted: what eBPF's programs decide in the kernel, decided here in the same order and with the same words.
//!
//! Pure: the time is the event's own. Deliberately not here: process trees and control groups, which audit's records do not tell; asked for them,
//! [`Wanted::ignored`] names them and they leave nothing out.
//! Limits: paths are compared as they were given; of a program that was started the name is the new one (eBPF has the old one); [`PROCESSES_MAX`]
//! processes have a limit of their own at a time, then all begin anew.

use crate::{
    config::{SyscallConfig, SyscallsOf},
    ledger::{Filter, Loss},
    sources::syscall::{
        Choice,
        table::{Field, MAP_ANONYMOUS, PROT_EXEC, PROT_WRITE, Syscall},
    },
};
use amoskys_ebpf::{Limit, List, Results};
use amoskys_proto::v1::SyscallEvent;
use std::collections::HashMap;

const PROCESSES_MAX: usize = 16_384;
/// Records of one process may come as much out of order; what is paid for further ahead is of before the clock was set back.
const DISORDER_US: i64 = 10_000_000;

/// Decides of each call.
#[derive(Debug)]
pub struct Wanted {
    calls: Vec<Choice>,
    of: SyscallsOf,
    limit: Option<Limit>,
    own_pid: u32,
    /// Calls that came, by name, of those of which some are taken.
    sampled: HashMap<&'static str, u64>,
    /// When a process's last event is paid for, microseconds since 1970.
    paid_until_us: HashMap<u32, i64>,
}

/// Why a call is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    OfNoInterest(Filter),
    Lost(Loss),
}

impl Wanted {
    /// Calls of the process `own_pid` would feed on themselves.
    pub fn new(config: &SyscallConfig, own_pid: u32) -> Self {
        let (calls, of, limit) = (config.calls.clone(), config.of.clone(), config.limit);
        Self { calls, of, limit, own_pid, sampled: HashMap::new(), paid_until_us: HashMap::new() }
    }

    /// Keys of `[syscall]` that leave nothing out here, although they have values.
    pub fn ignored(&self) -> Vec<&'static str> {
        let lists = [("process_trees", self.of.trees == List::Off), ("cgroups", self.of.cgroups == List::Off)];
        lists.into_iter().filter(|(_, is_off)| !is_off).map(|(name, _)| name).collect()
    }

    /// # Errors
    /// Why it is not wanted.
    pub fn judge(&mut self, event: &SyscallEvent, call: &'static Syscall, time_us: i64) -> Result<(), Reason> {
        let not = Reason::OfNoInterest;
        let choice = self.calls.iter().find(|choice| choice.call == call).copied();
        let choice = choice.filter(|choice| self.is_of_interest(event, choice)).ok_or(not(Filter::NotWanted))?;
        if self.is_sampled_out(choice) {
            return Err(not(Filter::SampledOut));
        }
        if self.takes_token(event.pid, time_us) { Ok(()) } else { Err(Reason::Lost(Loss::Limited)) }
    }

    fn is_of_interest(&self, event: &SyscallEvent, choice: &Choice) -> bool {
        let of = &self.of;
        let has = |place: Option<u8>, bits: u32| {
            let argument = place.and_then(|place| event.arguments.get(usize::from(place)));
            argument.is_some_and(|argument| argument & u64::from(bits) != 0)
        };
        // As in the kernel; a call that was given no path begins with none.
        let (protection, flags) = (choice.call.protection(), choice.call.mapping_flags());
        let is_told_memory = (protection.is_none() || has(protection, PROT_EXEC))
            && (flags.is_none() || has(protection, PROT_WRITE) || has(flags, MAP_ANONYMOUS));
        let is_told = |field: &Field| match field {
            Field::Path(_) => passes(&of.path_prefixes, |prefix| event.path.starts_with(prefix.as_str())),
            _ => true,
        };
        let is_result = match choice.results {
            Results::Any => true,
            Results::Successes => event.result >= 0,
            Results::Failures => event.result < 0,
        };
        event.pid != self.own_pid
            && passes(&of.pids, |pid| *pid == event.pid)
            && passes(&of.uids, |uid| *uid == event.uid)
            && passes(&of.comms, |comm| *comm == event.comm)
            && is_result
            && is_told_memory
            && choice.call.fields.iter().all(is_told)
    }

    fn is_sampled_out(&mut self, choice: Choice) -> bool {
        let one_of = u64::from(choice.one_of.get());
        if one_of < 2 {
            return false;
        }
        let came = self.sampled.entry(choice.call.name).or_default();
        *came += 1;
        !(*came - 1).is_multiple_of(one_of)
    }

    /// A generic cell rate: each event pays for itself, and `burst` may be owed.
    fn takes_token(&mut self, pid: u32, time_us: i64) -> bool {
        let Some(limit) = self.limit else { return true };
        if self.paid_until_us.len() >= PROCESSES_MAX && !self.paid_until_us.contains_key(&pid) {
            self.paid_until_us.retain(|_, until| *until > time_us);
            if self.paid_until_us.len() >= PROCESSES_MAX {
                self.paid_until_us.clear();
            }
        }
        let interval_us = (1_000_000 / i64::from(limit.per_second.get())).max(1);
        let owed_us_max = interval_us.saturating_mul(i64::from(limit.burst.get()));
        let paid = self.paid_until_us.entry(pid).or_default();
        let is_of_before = paid.saturating_sub(time_us) > owed_us_max.saturating_add(DISORDER_US);
        let next_us = if is_of_before { time_us } else { (*paid).max(time_us) }.saturating_add(interval_us);
        if next_us.saturating_sub(time_us) > owed_us_max {
            return false;
        }
        *paid = next_us;
        true
    }
}

fn passes<T>(list: &List<T>, is: impl FnMut(&T) -> bool) -> bool {
    match list {
        List::Off => true,
        List::Only(items) => items.iter().any(is),
        List::Except(items) => !items.iter().any(is),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::syscall::choose;
    use std::num::NonZeroU32;

    fn config(calls: &[&str], of: SyscallsOf) -> SyscallConfig {
        let calls = choose(&calls.iter().map(|call| (*call).to_owned()).collect::<Vec<_>>()).expect("known");
        SyscallConfig { calls, of, limit: None, ..SyscallConfig::default() }
    }

    fn call(name: &str) -> &'static Syscall {
        crate::sources::syscall::table::SYSCALLS.iter().find(|call| call.name == name).expect("known")
    }

    fn event() -> SyscallEvent {
        SyscallEvent { pid: 3, uid: 4, comm: "x".into(), path: "/etc/passwd".into(), ..SyscallEvent::default() }
    }

    const NOT_WANTED: Result<(), Reason> = Err(Reason::OfNoInterest(Filter::NotWanted));

    #[test]
    fn calls_and_results_are_those_that_were_chosen() {
        let mut wanted = Wanted::new(&config(&["openat:failure", "unlink/2"], SyscallsOf::default()), 1);
        let failed = SyscallEvent { result: -2, ..event() };
        assert_eq!(wanted.judge(&failed, call("openat"), 0), Ok(()));
        assert_eq!(wanted.judge(&event(), call("openat"), 0), NOT_WANTED);
        assert_eq!(wanted.judge(&event(), call("execve"), 0), NOT_WANTED);
        let sampled: Vec<_> = (0..4).map(|_| wanted.judge(&event(), call("unlink"), 0)).collect();
        let out = Err(Reason::OfNoInterest(Filter::SampledOut));
        assert_eq!(sampled, [Ok(()), out, Ok(()), out]);
        // Its own.
        assert_eq!(wanted.judge(&SyscallEvent { pid: 1, ..failed }, call("openat"), 0), NOT_WANTED);
    }

    #[test]
    fn memory_is_told_where_it_becomes_executable() {
        let mut wanted = Wanted::new(&config(&["mprotect"], SyscallsOf::default()), 1);
        let with = |bits| SyscallEvent { arguments: vec![0, 0, bits, 0], ..event() };
        assert_eq!(wanted.judge(&with(3), call("mprotect"), 0), NOT_WANTED);
        assert_eq!(wanted.judge(&with(7), call("mprotect"), 0), Ok(()));
    }

    #[test]
    fn each_list_leaves_out_and_lets_through() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let judged = |of: SyscallsOf| Wanted::new(&config(&["all"], of), 1).judge(&event(), call("openat"), 0).is_ok();
        let all = SyscallsOf::default;
        assert!(judged(SyscallsOf { pids: List::Only(vec![3]), ..all() }));
        assert!(!judged(SyscallsOf { pids: List::Except(vec![3]), ..all() }));
        assert!(!judged(SyscallsOf { uids: List::Only(vec![0]), ..all() }));
        assert!(judged(SyscallsOf { uids: List::Except(vec![0]), ..all() }));
        assert!(judged(SyscallsOf { comms: List::Only(texts(&["x"])), ..all() }));
        assert!(!judged(SyscallsOf { comms: List::Except(texts(&["x"])), ..all() }));
        assert!(judged(SyscallsOf { path_prefixes: List::Only(texts(&["/root/", "/etc/"])), ..all() }));
        assert!(!judged(SyscallsOf { path_prefixes: List::Except(texts(&["/etc/"])), ..all() }));
        // Not known here: they leave nothing out, and are told.
        let unknown = SyscallsOf { trees: List::Only(vec![9]), cgroups: List::Except(vec!["/x".into()]), ..all() };
        assert_eq!(Wanted::new(&config(&["all"], unknown.clone()), 1).ignored(), ["process_trees", "cgroups"]);
        assert!(judged(unknown));
        assert!(Wanted::new(&config(&["all"], all()), 1).ignored().is_empty());
    }

    #[test]
    fn a_busy_process_is_limited_and_others_are_not() {
        let number = |number| NonZeroU32::new(number).expect("more than none");
        let limit = Some(Limit { per_second: number(10), burst: number(3) });
        let mut wanted = Wanted::new(&SyscallConfig { limit, ..config(&["all"], SyscallsOf::default()) }, 1);
        let mut judged = |pid, time_us| wanted.judge(&SyscallEvent { pid, ..event() }, call("unlink"), time_us).is_ok();
        assert_eq!([0; 5].map(|time| judged(3, time)), [true, true, true, false, false]);
        assert!(judged(4, 0), "another process");
        assert_eq!([judged(3, 99_999), judged(3, 100_000), judged(3, 100_001)], [false, true, false]);
        // The clock is set back by an hour.
        assert!(judged(5, 3_600_000_000) && judged(5, 0));
        // More processes than are remembered.
        assert!((10..40_000).all(|pid| judged(pid, 200_000)) && wanted.paid_until_us.len() <= PROCESSES_MAX);
    }
}
