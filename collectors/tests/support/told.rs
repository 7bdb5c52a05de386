//! What `tests/syscalls.c` says of its calls, and events in the same words.

use amoskys_proto::v1::{Syscall, SyscallEvent};

/// Of an event what the program says of it: name, result, fields; fields that no call has are left out.
pub fn line(event: &SyscallEvent) -> String {
    let name = Syscall::try_from(event.syscall).expect("in the enum").as_str_name();
    let mut fields: Vec<String> = Vec::new();
    let mut put = |name: &str, value: Option<String>| fields.extend(value.map(|value| format!("{name}={value}")));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    put("fd", event.fd.map(|fd| fd.to_string()));
    put("path", text(&event.path));
    put("relative_path", text(&event.relative_path));
    put("other_path", text(&event.other_path));
    put("start_address", event.start_address.map(|of| of.to_string()));
    put("size", event.size.map(|of| of.to_string()));
    put("protection", text(&event.protection));
    put("previous_protection", text(&event.previous_protection));
    put("previously_written", event.previously_written.then(|| "1".to_owned()));
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
pub fn sorted(line: &str) -> String {
    let mut parts: Vec<&str> = line.split('\t').collect();
    parts[2..].sort_unstable();
    parts.join("\t")
}
