//! `[process]` of the agent's file: what is told of processes.
//!
//! Deliberately not here: what a pattern masks (the collectors know).

use super::{
    check::Values,
    kind::{Kind, ListOf},
    schema::{Fallback, Key, Section},
};
use amoskys_collectors::{FilesConfig, ProcessConfig, ProcessMode, masks::Masks, sources::process::environment};
use std::{num::NonZeroUsize, time::Duration};

const P: &str = "process";

pub const SECTION: Section = Section {
    name: P,
    about: "The source of process telemetry. What it tells, and of what: [processes](processes.md).",
    keys: KEYS,
};

const GIB: u64 = 1 << 30;
/// Shorter in a table.
const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const ENVIRONMENT: ListOf = ListOf {
    example: "LD_PRELOAD,LD_LIBRARY_PATH",
    allowed: "names of environment variables, at most 64",
    judge: environment::judge,
};
const MASK: ListOf = ListOf {
    example: "usual",
    allowed: "`usual`, and regular expressions with a group; at most 64",
    judge: |words| Masks::of(words).map(drop).map_err(|fault| fault.to_string()),
};

const KEYS: &[Key] = &[
    Key::new("topic", Kind::Topic, Fallback::Value("amoskys.telemetry.process.v1"), "Topic of process events."),
    Key::new(
        "snapshot_interval",
        Kind::Duration { min: ms(100), max: ms(3_600_000) },
        Fallback::Value("10s"),
        "Time between two looks at all processes.",
    ),
    Key::new(
        "source",
        Kind::Choice(&["auto", "ebpf", "connector", "snapshots"]),
        Fallback::Value("auto"),
        "Where starts, programs and ends come from: `ebpf`, which tells all of a process however short its life is; the kernel's process \
         `connector`, which tells of each and the rest is read from `/proc`; or `snapshots`, which are compared. `auto` is the first of them \
         that can be had; with the name of one the agent does not start without it.",
    ),
    Key::new(
        "cmdline_bytes_max",
        Kind::Bytes { min: 64, max: 128 << 10 },
        Fallback::Value("4 KiB"),
        "Most bytes kept of a command line.",
    ),
    Key::new(
        "connector_buffer_bytes",
        Kind::Bytes { min: 64 << 10, max: GIB },
        Fallback::Value("8 MiB"),
        "The kernel's buffer for messages of the connector, about 1 KiB each.",
    ),
    Key::new(
        "ring_bytes",
        Kind::Bytes { min: 64 << 10, max: GIB },
        Fallback::Value("2 MiB"),
        "Room between eBPF and the agent, rounded up to a power of two, 200 to 1,000 bytes an event; what finds none is dropped, counted.",
    ),
    Key::new(
        "processes_max",
        Kind::Integer { min: 1, max: 4_194_304, unit: "processes" },
        Fallback::Value("16384"),
        "Live processes remembered, about 1 KiB each; more are reported without what the memory would have added.",
    ),
    Key::new(
        "descriptors_max",
        Kind::Integer { min: 0, max: 1_000_000, unit: "open files" },
        Fallback::Value("256"),
        "Open files looked at per process to count its sockets.",
    ),
    Key::new(
        "exe_recheck_after",
        Kind::Duration { min: ms(0), max: ms(60_000) },
        Fallback::Value("1s"),
        "How long after a start the executable is looked at again, to see one deleted right after; `0ms`: never.",
    ),
    Key::new(
        "kernel_threads",
        Kind::Bool,
        Fallback::Value("false"),
        "Whether kernel threads are reported in snapshots.",
    ),
    Key::new(
        "ancestors_max",
        Kind::Integer { min: 0, max: 64, unit: "ancestors" },
        Fallback::Value("8"),
        "Ancestors whose executables each event names, nearest first.",
    ),
    Key::new(
        "sha256_file_bytes_max",
        Kind::Bytes { min: 0, max: GIB },
        Fallback::Value("64 MiB"),
        "Executables up to this size are hashed; `0`: none.",
    ),
    Key::new(
        "sha256_wait",
        Kind::Duration { min: ms(0), max: ms(10_000) },
        Fallback::Value("1s"),
        "How long an event waits for its executable's digest and package, and all behind it with it; then it goes without.",
    ),
    Key::new(
        "files_max",
        Kind::Integer { min: 1, max: 1_000_000, unit: "executables" },
        Fallback::Value("4096"),
        "Executables whose digest and package are remembered, about 300 bytes each.",
    ),
    Key::new(
        "packages",
        Kind::Choice(&["dpkg", "off"]),
        Fallback::Value("dpkg"),
        "Where it is looked up which package an executable belongs to.",
    ),
    Key::new(
        "environment",
        Kind::List(ENVIRONMENT),
        Fallback::Unset("none"),
        "Environment variables that events carry, by name; no others are collected.",
    ),
    Key::new(
        "mask",
        Kind::List(MASK),
        Fallback::Value("usual"),
        "What is replaced by `***` in command lines, collected variables, and the arguments of programs that system calls start: \
         what the groups of these regular expressions match. `usual` stands for [these](processes.md); `[]` masks nothing. A \
         pattern with a comma cannot be in the variable.",
    ),
];

/// Not a key: what is read late is gone, and the thread seldom runs.
const THREAD_NICE: i32 = -10;

/// Not a key: dpkg has it there, or is not there.
const DPKG_FOLDER: &str = "/var/lib/dpkg";

/// `None` when a value was refused.
pub fn build(values: &Values) -> Option<ProcessConfig> {
    Some(ProcessConfig {
        snapshot_interval: values.duration(P, "snapshot_interval")?,
        source: match values.text(P, "source")?.as_str() {
            "ebpf" => ProcessMode::Ebpf,
            "connector" => ProcessMode::Connector,
            "snapshots" => ProcessMode::Snapshots,
            _ => ProcessMode::Auto,
        },
        cmdline_bytes_max: values.number(P, "cmdline_bytes_max")?,
        processes_max: values.number(P, "processes_max")?,
        descriptors_max: values.number(P, "descriptors_max")?,
        exe_recheck_after: values.duration(P, "exe_recheck_after")?,
        kernel_threads: values.flag(P, "kernel_threads")?,
        connector_buffer_bytes: values.number(P, "connector_buffer_bytes")?,
        ring_bytes: values.number(P, "ring_bytes")?,
        thread_nice: THREAD_NICE,
        ancestors_max: values.number(P, "ancestors_max")?,
        environment: values.list(P, "environment"),
        masks: if values.refused(P, "mask") { None } else { Masks::of(&values.list(P, "mask")).ok() }?,
        files: FilesConfig {
            sha256_file_bytes_max: values.integer(P, "sha256_file_bytes_max")?,
            wait: values.duration(P, "sha256_wait")?,
            files_max: NonZeroUsize::new(values.number(P, "files_max")?)?,
            dpkg_folder: (values.text(P, "packages")? == "dpkg").then(|| DPKG_FOLDER.into()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_cannot_be_used_is_named() {
        let judged = |words: &[&str]| (MASK.judge)(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!((judged(&["usual", "(a)"]), judged(&[])), (Ok(()), Ok(())));
        assert!(judged(&["usual", "(a"]).is_err_and(|fault| fault.contains("`(a`") && fault.contains("unclosed")));
        assert!(judged(&["abc"]).is_err_and(|fault| fault.contains("`abc`") && fault.contains("no group")));
    }

    #[test]
    fn a_variable_is_named_by_its_name() {
        let judged = |word: &str| (ENVIRONMENT.judge)(&[word.to_owned()]);
        assert_eq!(judged("LD_PRELOAD"), Ok(()));
        assert!(judged("LD_PRELOAD=x").is_err_and(|fault| fault.contains("`LD_PRELOAD=x`")));
    }
}
