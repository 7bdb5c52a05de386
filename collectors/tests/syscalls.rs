//! System calls of a program of ours, through the real kernel and the table: every call that is decoded, with its fields and its
//! result.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON) and BTF; where that is not to be had it says so loudly and counts as skipped.

use amoskys_collectors::sources::syscall::{Choice, Clock, decode, rules, table::SYSCALLS};
use amoskys_ebpf::{
    Filters, List,
    testing::{Stopped, compile, probe},
};
use amoskys_proto::v1::{Syscall, SyscallEvent};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Of an event what the program says of it: name, result, fields; fields that no call has are left out.
fn line(event: &SyscallEvent) -> String {
    let name = Syscall::try_from(event.syscall).expect("in the enum").as_str_name();
    let mut fields: Vec<String> = Vec::new();
    let mut put = |name: &str, value: Option<String>| fields.extend(value.map(|value| format!("{name}={value}")));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    put("fd", event.fd.map(|fd| fd.to_string()));
    put("path", text(&event.path));
    put("other_path", text(&event.other_path));
    put("start_address", event.start_address.map(|of| of.to_string()));
    put("size", event.size.map(|of| of.to_string()));
    put("protection", text(&event.protection));
    put("address", text(&event.address));
    put("port", text(&event.address_family).map(|_| event.port.to_string()));
    put("address_family", text(&event.address_family));
    put("command", text(&event.command));
    put("flags", text(&event.flags));
    put("mode", event.mode.map(|of| of.to_string()));
    put("target_pid", event.target_pid.map(|of| of.to_string()));
    put("signal", event.signal.map(|of| of.to_string()));
    put("new_id", event.new_id.map(|of| of.to_string()));
    fields.sort();
    let name = name.trim_start_matches("SYSCALL_").to_lowercase();
    format!("{name}\t{}\t{}", event.result, fields.join("\t"))
}

/// With its fields in the same order.
fn sorted(line: &str) -> String {
    let mut parts: Vec<&str> = line.split('\t').collect();
    parts[2..].sort_unstable();
    parts.join("\t")
}

#[test]
fn every_call_of_the_table_comes_out_as_it_was_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("syscalls");
    compile(Path::new("tests/syscalls.c"), &program);
    let stopped = Stopped::start(&program, &[]);
    let (pid, stat) = (stopped.pid(), stopped.stat());
    let started_ticks: u64 =
        stat.rsplit_once(") ").expect("a name").1.split(' ').nth(19).expect("a time").parse().expect("a number");
    let filters = Filters { trees: List::Only(vec![pid]), ..Filters::default() };
    let all: Vec<Choice> = SYSCALLS.iter().map(Choice::every).collect();
    let Some(mut probe) = probe(&rules(&all), &filters, 1 << 22) else { return };
    let printed: Vec<String> = stopped.go().iter().map(|line| sorted(line)).collect();
    let mut events: Vec<SyscallEvent> = Vec::new();
    let clock = Clock::now();
    while probe
        .poll(Duration::from_millis(50), usize::MAX, &mut |call| events.extend(decode(call, &clock)))
        .expect("polls")
        > 0
    {}
    let exec =
        events.iter().position(|of| of.syscall == Syscall::Execve as i32 && of.result == 0).expect("it ended so");
    let told: Vec<String> = events[..exec].iter().map(line).collect();
    assert_eq!(told, printed);
    let seen: BTreeSet<i32> = events.iter().map(|event| event.syscall).collect();
    let missing: Vec<&str> = (1..)
        .zip(SYSCALLS)
        .filter(|(number, call)| call.number().is_some() && !seen.contains(number))
        .map(|(_, call)| call.name)
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "calls that no test makes");
    let started = &events[exec];
    assert_eq!(
        (started.path.as_str(), started.argv.as_slice()),
        ("/bin/true", &["told".to_owned(), "one".to_owned()][..])
    );
    for event in &events[..=exec] {
        assert_eq!((event.pid, event.tid), (pid, pid));
        // The same as the process source has.
        assert_eq!(event.process_key, started_ticks << 22 | u64::from(pid));
        assert_eq!(event.error.is_empty(), event.result >= 0, "{event:?}");
        let at = event.observed_at.as_ref().expect("a time");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
        assert!((now - 60..=now + 1).contains(&at.seconds), "{event:?}");
        assert!(event.unreadable.is_empty() && event.cut.is_empty(), "{event:?}");
    }
}

/// The enum comes from the table; numbers that were given stay.
#[test]
fn the_enum_is_the_table() {
    for (number, call) in (1..).zip(SYSCALLS) {
        let name = format!("SYSCALL_{}", call.name.to_uppercase());
        assert_eq!(
            Syscall::from_str_name(&name).map(|of| of as i32),
            Some(number),
            "proto/amoskys/v1/syscall.proto: {name}"
        );
    }
    assert_eq!(
        Syscall::try_from(i32::try_from(SYSCALLS.len()).expect("few") + 1).ok(),
        None,
        "more in the enum than in the table"
    );
    let mut names: Vec<&str> = SYSCALLS.iter().map(|call| call.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SYSCALLS.len());
}

/// Which fields of the event a call has, by name.
fn fields(call: &amoskys_collectors::sources::syscall::table::Syscall) -> String {
    use amoskys_collectors::sources::syscall::table::Field;
    let name = |field: &Field| match field {
        Field::Path(_) => "path",
        Field::OtherPath(_) => "other_path",
        Field::Argv => "argv",
        Field::Address(..) => "address, port, address_family",
        Field::Fd(_) => "fd",
        Field::Flags(..) => "flags",
        Field::Protection(_) => "protection",
        Field::Command(..) => "command",
        Field::Mode(_) => "mode",
        Field::TargetPid(_) => "target_pid",
        Field::Signal(_) => "signal",
        Field::Size(_) => "size",
        Field::NewId(_) => "new_id",
        Field::StartAddress(_) => "start_address",
    };
    call.fields.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// `docs/syscalls.md`; `AMOSKYS_WRITE_PAGES=1` writes it.
#[test]
fn the_page_is_the_table() {
    const PAGE: &str = "../docs/syscalls.md";
    let mut page = String::from(
        "# System calls\n\nThe calls that are decoded, with the fields of `amoskys.v1.SyscallEvent` that each has beside those of all (who \
         called, when,\nthe result and the error, how long it took, all six arguments). Of calls on memory those are told that make it \
         executable. A table of\nthe agent's (`collectors/src/sources/syscall/table.rs`). Which of them an agent sends: [configuration](configuration.md), `[syscall]`.\n\n\
         | call | x86-64 | aarch64 | fields | ATT&CK | usual |\n|---|---|---|---|---|---|\n",
    );
    for call in SYSCALLS {
        let arm = call.number_aarch64.map_or_else(|| "–".to_owned(), |number| number.to_string());
        let (fields, techniques) = (fields(call), call.techniques.join(", "));
        let usual = if call.is_usual { "yes" } else { "" };
        page.push_str(&format!(
            "| `{}` | {} | {arm} | {fields} | {techniques} | {usual} |\n",
            call.name, call.number_x86_64
        ));
    }
    page.push_str("\nUsual are those that are rare on a quiet host; the others are made all the time by programs that are busy.\n");
    if std::env::var_os("AMOSKYS_WRITE_PAGES").is_some() {
        std::fs::write(PAGE, &page).expect("written");
    }
    assert_eq!(std::fs::read_to_string(PAGE).expect("the page"), page, "AMOSKYS_WRITE_PAGES=1 writes it");
}
