//! An event of audit → the event on the wire, by the same table and the same words as those of eBPF.
//!
//! What audit does not tell is absent: the thread's id, the control group, how long the call took, arguments behind the fourth (but those of
//! mmap and socket addresses, which have records of their own), the arguments of a program that did not start, and strings that are no
//! files' names (of memfd_create, of what is mounted, of a module). Who is asked for such a field finds its name in `unreadable`.
//! Limits: where a file is made or removed and the call failed, the path may be known up to its folder; then it is `cut`. Where renaming failed before
//! the kernel had found the file, it is not known which path was which, and neither is told; nor is it of two files that are exchanged, where one of
//! the paths stands for both.

use super::event::{Call, Event, PathRecord, Role};
use crate::{
    ledger::{Filter, Loss},
    sources::{
        process::timestamp,
        syscall::{
            event_of, make_absolute,
            table::{Field, Syscall},
        },
    },
};
use amoskys_ebpf::{Directory, RawCall};
use amoskys_proto::v1::SyscallEvent;

/// AUDIT_ARCH_… of the machine that this is built for.
const NATIVE_ARCH: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
/// In the number of a call of a program with short pointers.
const X32: u32 = 0x4000_0000;
/// In the place of a descriptor: where the caller works.
const AT_FDCWD: i32 = -100;
/// As many arguments are in a SYSCALL record.
const ARGUMENTS: usize = 4;

/// What an event is.
#[derive(Debug, PartialEq)]
pub enum Meaning {
    Call(&'static Syscall, Box<SyscallEvent>),
    OfNoInterest(Filter),
    Lost(Loss),
}

/// By its records alone; the process is not looked at.
pub fn meaning(event: &Event) -> Meaning {
    let Some(call) = &event.call else {
        let other = Meaning::OfNoInterest(Filter::NotSyscall);
        return if event.has_other { other } else { Meaning::Lost(Loss::Incomplete) };
    };
    if call.arch != NATIVE_ARCH || call.number & X32 != 0 {
        return Meaning::OfNoInterest(Filter::Compat);
    }
    match Syscall::of_number(call.number) {
        Some((number, known)) => Meaning::Call(known, Box::new(decode(event, call, number, known))),
        None => Meaning::OfNoInterest(Filter::NotWanted),
    }
}

fn decode(event: &Event, call: &Call, number: i32, known: &Syscall) -> SyscallEvent {
    let (path, other_path) = paths(known, &event.paths);
    let (argv, is_whole) = event.argv.join();
    let has = |wanted: fn(&Field) -> bool| known.fields.iter().any(wanted);
    let is_exec = has(|field| matches!(field, Field::Argv));
    let mut arguments = [0; 6];
    arguments[..ARGUMENTS].copy_from_slice(&call.arguments);
    if let Some((fd, flags)) = event.mmap {
        (arguments[3], arguments[4]) = (flags, u64::from(fd as u32));
    }
    let name = |path: Option<&'_ PathRecord>| path.and_then(|path| path.name.clone());
    let (first, second) = (name(path), name(other_path));
    let (argv, address) = (Some(argv).filter(|argv| is_exec && !argv.is_empty()), event.address.as_deref());
    let unreadable = [
        has(|field| matches!(field, Field::Path(_))) && first.is_none(),
        has(|field| matches!(field, Field::OtherPath(_))) && second.is_none(),
        // An address behind the fourth argument may be none.
        is_exec && argv.is_none() || has(|field| matches!(field, Field::Address(0..4, _))) && address.is_none(),
    ];
    let raw = RawCall {
        entered_ns: 0,
        duration_ns: 0,
        arguments,
        result: call.result.unwrap_or_default(),
        cgroup_id: 0,
        process_started_ns: 0,
        number: call.number,
        pid: call.pid,
        tid: 0,
        parent_pid: call.parent_pid,
        uid: call.uid,
        gid: call.gid,
        euid: call.euid,
        egid: call.egid,
        comm: &call.comm,
        process_comm: &[],
        first: first.as_deref(),
        second: second.as_deref(),
        argv: argv.as_deref(),
        address,
        memory: None,
        directory: None,
        unreadable,
    };
    let mut told = event_of(&raw, number, known);
    if let Some(directory) = &event.directory
        && is_from_working_directory(&told.path, call, known)
    {
        make_absolute(&mut told, &String::from_utf8_lossy(directory));
    }
    told.observed_at = Some(timestamp(event.id.time_ms.saturating_mul(1_000)));
    told.arguments.truncate(ARGUMENTS);
    let mut cut = |name: &str, is: bool| {
        if is && !told.cut.iter().any(|known| known == name) {
            told.cut.push(name.to_owned());
        }
    };
    cut("path", path.is_some_and(|path| path.is == Role::Parent && path.name.is_some()));
    cut("argv", argv.is_some() && !is_whole);
    forget_unknown(&mut told, event, call, known);
    told
}

/// Of a descriptor's directory audit tells no path.
fn is_from_working_directory(path: &str, call: &Call, known: &Syscall) -> bool {
    let is_relative = !path.is_empty() && !path.starts_with('/');
    is_relative
        && match known.directory() {
            Some(Directory::Working) => true,
            Some(Directory::Of(place)) => call.arguments[usize::from(place)] as u32 as i32 == AT_FDCWD,
            None => false,
        }
}

/// Takes out what was made of arguments that audit does not tell.
fn forget_unknown(told: &mut SyscallEvent, event: &Event, call: &Call, known: &Syscall) {
    let mut forget = |name: &str| told.unreadable.push(name.to_owned());
    for field in known.fields {
        match field {
            Field::Flags(4.., _) => {
                told.flags.clear();
                forget("flags");
            }
            Field::Fd(4..) if event.mmap.is_none() => {
                told.fd = None;
                forget("fd");
            }
            Field::Opening(..) => ["flags", "mode"].into_iter().for_each(&mut forget),
            Field::Peer if call.result.is_some_and(|result| result >= 0) => forget("address"),
            _ => {}
        }
    }
    if call.result.is_none() {
        forget("result");
    }
}

/// The first and the second path that the call was given.
fn paths<'a>(known: &Syscall, records: &'a [PathRecord]) -> (Option<&'a PathRecord>, Option<&'a PathRecord>) {
    let mut records: Vec<&PathRecord> = records.iter().collect();
    records.sort_by_key(|record| record.item);
    let of = |role: Role| records.iter().copied().filter(move |record| record.is == role);
    let has_other = known.fields.iter().any(|field| matches!(field, Field::OtherPath(_)));
    if !has_other {
        let is_file = |record: &&&PathRecord| record.is != Role::Parent;
        return (records.iter().find(is_file).or(records.first()).copied(), None);
    }
    if known.name == "mount" {
        // The kernel looks at where to, before it looks at what if that is a file.
        let mut normal = of(Role::Normal);
        let target = normal.next();
        return (normal.next(), target);
    }
    // The order of the others is that in which the kernel's compiler has arguments evaluated.
    (of(Role::Delete).next(), of(Role::Create).next_back())
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
