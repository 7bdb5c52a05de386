//! A call as the kernel told it → the event on the wire, by the table.

use super::{
    address,
    names::{self, Names},
    table::{Field, Syscall},
};
use crate::{
    clock::Moment,
    masks::Masks,
    sources::process::{process_key, timestamp},
};
use amoskys_ebpf::{ARGV_BYTES_MAX, RawCall, STRING_BYTES_MAX};
use amoskys_proto::v1::SyscallEvent;

/// As `/proc` counts: a hundredth of a second.
const TICK_NS: u64 = 10_000_000;

/// What times since boot are.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Moment);

impl Clock {
    /// The clock may have been set since the last one.
    pub fn now() -> Self {
        Self(Moment::now())
    }
}

/// `None`: a call that the table has not.
pub fn decode(call: &RawCall<'_>, clock: &Clock) -> Option<SyscallEvent> {
    let (number, known) = Syscall::of_number(call.number)?;
    Some(SyscallEvent {
        observed_at: Some(timestamp(clock.0.wall_us_at_boot(call.entered_ns))),
        process_key: process_key(call.process_started_ns / TICK_NS, call.pid),
        ..event_of(call, number, known)
    })
}

/// All but the time and the process's key. `number` is that of the enum.
pub fn event_of(call: &RawCall<'_>, number: i32, known: &Syscall) -> SyscallEvent {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut event = SyscallEvent {
        syscall: number,
        pid: call.pid,
        tid: call.tid,
        parent_pid: call.parent_pid,
        uid: call.uid,
        gid: call.gid,
        euid: call.euid,
        egid: call.egid,
        comm: text(call.comm),
        process_comm: text(call.process_comm),
        cgroup_id: call.cgroup_id,
        result: call.result,
        error: if call.result < 0 { names::error(-call.result) } else { String::new() },
        duration_ns: call.duration_ns,
        arguments: call.arguments.to_vec(),
        ..SyscallEvent::default()
    };
    let argument = |place: u8| call.arguments[usize::from(place)];
    // The kernel takes the lower half of what is an int there.
    let int = |place: u8| argument(place) as u32 as i32;
    for field in known.fields {
        match *field {
            Field::Path(_) => {
                event.path = text(call.first.unwrap_or_default());
                if let Some(directory) = call.directory {
                    make_absolute(&mut event, &directory.text());
                } else if known.directory().is_some() && is_roundabout(&event.path) {
                    event.path = absolute("/", &event.path);
                }
            }
            Field::OtherPath(_) => event.other_path = text(call.second.unwrap_or_default()),
            Field::Argv => event.argv = argv(call.argv.unwrap_or_default()),
            Field::Opening(..) => {
                let word = |at: usize| call.address?.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
                event.flags = word(0).map_or_else(String::new, |flags| Names::Open.of(flags));
                event.mode = word(8).map(|mode| mode as u32 & 0o7777);
            }
            Field::Address(..) | Field::Peer => {
                let address = call.address.and_then(address::parse).unwrap_or_default();
                (event.address, event.port) = (address.address, address.port);
                event.address_family = address.family;
            }
            Field::Fd(place) => event.fd = Some(int(place)),
            Field::Flags(place, names) => event.flags = names.of(argument(place)),
            Field::Protection(place) => event.protection = Names::Protection.of(argument(place)),
            Field::Command(place, names) => event.command = names.of(argument(place)),
            Field::Mode(place) => event.mode = Some(argument(place) as u32 & 0o7777),
            Field::TargetPid(place) => event.target_pid = Some(int(place)),
            Field::Signal(place) => event.signal = Some(int(place)),
            Field::Size(place) => event.size = Some(argument(place)),
            Field::NewId(place) => event.new_id = Some(i64::from(int(place))),
            Field::StartAddress(place) => event.start_address = Some(argument(place)),
            Field::MemoryBefore(..) => {
                if let Some(before) = call.memory {
                    event.previous_protection = Names::Protection.of(u64::from(before.protection));
                    event.previously_written = before.written;
                }
            }
        }
    }
    let is_opening = known.fields.iter().any(|field| matches!(field, Field::Opening(..)));
    let third = match known.fields.contains(&Field::Argv) {
        true => "argv",
        false if is_opening => "flags",
        false => "address",
    };
    let parts = ["path", "other_path", third].into_iter();
    event.unreadable = parts.zip(call.unreadable).filter(|(_, is)| *is).map(|(name, _)| name.to_owned()).collect();
    let is_cut = [
        ("path", call.first.is_some_and(|path| path.len() >= STRING_BYTES_MAX)),
        ("other_path", call.second.is_some_and(|path| path.len() >= STRING_BYTES_MAX)),
        ("argv", call.argv.is_some_and(|argv| argv.len() >= ARGV_BYTES_MAX)),
    ];
    event.cut = is_cut.into_iter().filter(|(_, is)| *is).map(|(name, _)| name.to_owned()).collect();
    event
}

/// Tells a relative path from its directory, and keeps what was given.
pub fn make_absolute(event: &mut SyscallEvent, directory: &str) {
    let absolute = absolute(directory, &event.path);
    event.relative_path = std::mem::replace(&mut event.path, absolute);
}

/// Of a path from the root, whether it has names that lead nowhere, or steps above the root.
fn is_roundabout(path: &str) -> bool {
    path.starts_with('/')
        && (path.contains("//") || path.contains("/./") || path.starts_with("/../") || path.ends_with("/."))
}

/// `directory` is as the kernel has it, without links in it, so steps up are followed in it; those behind a name are not, since that
/// name may be a link.
fn absolute(directory: &str, path: &str) -> String {
    let mut names: Vec<&str> = directory.split('/').filter(|name| !name.is_empty()).collect();
    let mut goes_up = true;
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if goes_up => drop(names.pop()),
            name => {
                goes_up = false;
                names.push(name);
            }
        }
    }
    format!("/{}", names.join("/"))
}

/// Masks secrets in the arguments of a program that was started. Whether there were any.
pub fn mask(event: &mut SyscallEvent, masks: &Masks) -> bool {
    let any = masks.arguments(&mut event.argv);
    event.masked.extend(any.then(|| "argv".to_owned()));
    any
}

/// Each is ended by a zero; the last may be cut.
fn argv(bytes: &[u8]) -> Vec<String> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let whole = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    whole.split(|byte| *byte == 0).map(|one| String::from_utf8_lossy(one).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_told_from_their_directory() {
        for (directory, path, expected) in [
            ("/etc", "shadow", "/etc/shadow"),
            ("/", "etc//./shadow", "/etc/shadow"),
            ("/etc/ssl/certs", "../.././shadow", "/etc/shadow"),
            ("/etc", "../../../../etc/shadow", "/etc/shadow"),
            ("/etc", ".", "/etc"),
            ("/", "..", "/"),
            // It may be a link to somewhere else.
            ("/srv", "link/../shadow", "/srv/link/../shadow"),
        ] {
            assert_eq!(absolute(directory, path), expected, "{directory} {path}");
        }
    }

    #[test]
    fn roundabout_paths_are_told_straight() {
        for (path, expected) in [
            ("/etc//shadow", Some("/etc/shadow")),
            ("//etc/./shadow", Some("/etc/shadow")),
            ("/../../etc/shadow", Some("/etc/shadow")),
            ("/etc/.", Some("/etc")),
            ("/etc/x//../shadow", Some("/etc/x/../shadow")),
            ("/etc/shadow", None),
            ("/etc/x/../shadow", None),
            ("/etc/.hidden/", None),
            ("etc//shadow", None),
            ("", None),
        ] {
            let straight = is_roundabout(path).then(|| absolute("/", path));
            assert_eq!(straight.as_deref(), expected, "{path}");
        }
    }
}
