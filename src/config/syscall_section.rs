//! `[syscall]` of the agent's file: which system calls are looked at, and whose.
//!
//! Deliberately not here: what the words for calls mean (the collectors read them).

use super::{
    check::Values,
    kind::{Kind, ListOf},
    problem::Problem,
    schema::{Fallback, Key, Section},
};
use amoskys_collectors::{
    ActivityConfig, AuditConfig, AuditFrom, Limit, List, LogStart, PATH_BYTES_MAX, SyscallConfig, SyscallMode,
    SyscallsOf, sources::syscall::choose,
};
use std::{num::NonZeroU32, time::Duration};

const S: &str = "syscall";

pub const SECTION: Section = Section {
    name: S,
    about: "The source of system calls: eBPF, or the kernel's audit. A call that any of the lists leaves out is filtered, by eBPF in the kernel. A list names those \
            that are looked at, or with `!` before each those that are not; `[]` and what is left out looks at all. On SIGHUP the agent reads the file again and goes over to other calls and lists. \
            Audit tells only what a rule of the operator's asks for (`auditctl`, `/etc/audit/rules.d`), and less of it: [system calls](syscalls.md).",
    keys: KEYS,
};

/// Instead of the path of a log.
const NETLINK: &str = "netlink";
const COMM_BYTES_MAX: usize = 15;
/// Of those that are counted.
const ROWS_MAX: u64 = 1 << 20;
/// As many as the kernel's maps take.
const ITEMS_MAX: usize = 4_096;

const CALLS: ListOf = ListOf {
    example: "usual,openat:failure,-mmap",
    allowed: "`usual`, `all` and names of docs/syscalls.md; `-` before leaves out; `:success`, `:failure` and `/N` (one of N) behind",
    judge: |words| choose(words).map(drop),
};
const PIDS: ListOf = ListOf {
    example: "1,812",
    allowed: "process ids; or each with `!`",
    judge: |words| list_of::<u32>(words).map(drop),
};
const UIDS: ListOf =
    ListOf { example: "!0,!33", allowed: "user ids; or each with `!`", judge: |words| list_of::<u32>(words).map(drop) };
const COMMS: ListOf = ListOf {
    example: "!cron,!sshd",
    allowed: "names of at most 15 bytes; or each with `!`",
    judge: |words| texts_of_at_most(words, COMM_BYTES_MAX),
};
const CGROUPS: ListOf = ListOf {
    example: "/sys/fs/cgroup/system.slice",
    allowed: "folders of control groups; or each with `!`",
    judge: |words| texts_of_at_most(words, usize::MAX),
};
const PATHS: ListOf = ListOf {
    example: "/etc/,/root/",
    allowed: "beginnings of paths, at most 64 bytes; or each with `!`",
    judge: |words| texts_of_at_most(words, PATH_BYTES_MAX),
};

const KEYS: &[Key] = &[
    Key::new("topic", Kind::Topic, Fallback::Value("amoskys.telemetry.syscall.v1"), "Topic of system calls."),
    Key::new(
        "source",
        Kind::Choice(&["auto", "ebpf", "audit", "on", "off"]),
        Fallback::Value("auto"),
        "`ebpf` (or `on`): programs in the kernel, which take CAP_BPF, CAP_PERFMON and a kernel with BTF. `audit`: the kernel's audit. The agent \
         does not start without the one that is named; `auto` takes eBPF where it may be loaded, else audit where it may be read, \
         and says why not elsewhere. eBPF sees a call in the kernel's function for it where programs may be there, so that other calls cost \
         nothing ([ADR 38](adr/0038-calls-in-their-functions.md)).",
    ),
    Key::new(
        "audit_log",
        Kind::Path { example: "/var/log/audit/audit.log", needs: None },
        Fallback::Unset("the kernel where it may be read, else `/var/log/audit/audit.log`"),
        "Where audit is read: the path of auditd's log, or `netlink` for the kernel itself, which takes CAP_AUDIT_READ and nothing from auditd.",
    ),
    Key::new(
        "audit_log_start",
        Kind::Choice(&["end", "beginning"]),
        Fallback::Value("end"),
        "Where reading of `audit_log` begins when the agent starts. From the end, what was written while no agent ran is not seen; from \
         the beginning, what the file holds is sent at each start.",
    ),
    Key::new(
        "calls",
        Kind::List(CALLS),
        Fallback::Value("usual"),
        "Which calls; of one that is named twice the last counts. Usual are those that are rare on a quiet host.",
    ),
    Key::new("uids", Kind::List(UIDS), Fallback::Unset("everybody"), "Whose calls, by real user id."),
    Key::new("comms", Kind::List(COMMS), Fallback::Unset("all"), "Whose calls, by the name of the thread."),
    Key::new("pids", Kind::List(PIDS), Fallback::Unset("all"), "Whose calls, by process id."),
    Key::new(
        "process_trees",
        Kind::List(PIDS),
        Fallback::Unset("all"),
        "Whose calls, by process id, with all processes that come from it after the agent has started. Audit cannot tell: it leaves nothing out there, with a warning.",
    ),
    Key::new(
        "cgroups",
        Kind::List(CGROUPS),
        Fallback::Unset("all"),
        "Whose calls, by control group, such as a container's. Audit cannot tell: it leaves nothing out there, with a warning.",
    ),
    Key::new(
        "paths",
        Kind::List(PATHS),
        Fallback::Unset("all"),
        "Calls by how their first path begins, as it was given; a call without a path begins with none of them.",
    ),
    Key::new(
        "process_rate_max",
        Kind::Integer { min: 0, max: 1_000_000, unit: "events per second; 0 does not limit" },
        Fallback::Value("2000"),
        "Most events of one process in a second, so that a busy one does not take the room of others; more are dropped, counted.",
    ),
    Key::new(
        "process_burst_max",
        Kind::Integer { min: 1, max: 10_000_000, unit: "events" },
        Fallback::Value("10000"),
        "Most events of one process at once, after a time without any.",
    ),
    Key::new(
        "ring_bytes",
        Kind::Bytes { min: 4 << 10, max: 1 << 30 },
        Fallback::Value("4 MiB"),
        "Room between kernel and agent, rounded up to a power of two; what finds none is dropped, counted. Of audit by netlink: the socket's buffer.",
    ),
    Key::new(
        "activity",
        Kind::Choice(&["off", "on"]),
        Fallback::Value("off"),
        "`on`: all calls of all processes but the agent are counted in the kernel and told as numbers, for each process and call how many, \
         how many failed, and how long they took. By eBPF, whatever `source` is; the agent does not start without it. The lists and `calls` \
         leave nothing out of it. It slows every call of the host ([by how much](benchmarks.md#counting-all-system-calls)).",
    ),
    Key::new(
        "activity_topic",
        Kind::Topic,
        Fallback::Value("amoskys.telemetry.syscall_activity.v1"),
        "Topic of the numbers of all calls.",
    ),
    Key::new(
        "activity_interval",
        Kind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(60) },
        Fallback::Value("1s"),
        "How long calls are added up; also how late they are told.",
    ),
    Key::new(
        "activity_rows_max",
        Kind::Integer { min: 1, max: ROWS_MAX, unit: "processes and calls" },
        Fallback::Value("16384"),
        "Most pairs of a process and a call in one interval, about 700 bytes of the kernel's memory each; calls that find no room are counted as such.",
    ),
];

/// What is wrong with values that are fine alone.
pub fn rules(values: &Values) -> Option<Problem> {
    let from = values.text(S, "audit_log")?;
    let message = "is neither `netlink` nor a path that begins with `/`".to_owned();
    let write = "netlink, or /var/log/audit/audit.log".to_owned();
    (from != NETLINK && !from.starts_with('/')).then(|| values.broken_rule(S, "audit_log", message, write))
}

/// `None` when a value was refused.
pub fn build(values: &Values) -> Option<SyscallConfig> {
    let burst = NonZeroU32::new(values.number(S, "process_burst_max")?)?;
    let per_second = NonZeroU32::new(values.number(S, "process_rate_max")?);
    Some(SyscallConfig {
        source: match values.text(S, "source")?.as_str() {
            "on" | "ebpf" => SyscallMode::Ebpf,
            "audit" => SyscallMode::Audit,
            "auto" => SyscallMode::Auto,
            _ => SyscallMode::Off,
        },
        calls: if values.refused(S, "calls") { None } else { choose(&values.list(S, "calls")).ok() }?,
        of: SyscallsOf {
            pids: list(values, "pids")?,
            trees: list(values, "process_trees")?,
            uids: list(values, "uids")?,
            comms: list(values, "comms")?,
            cgroups: list(values, "cgroups")?,
            path_prefixes: list(values, "paths")?,
        },
        limit: per_second.map(|per_second| Limit { per_second, burst }),
        ring_bytes: values.number(S, "ring_bytes")?,
        audit: audit(values)?,
        activity: activity(values)?,
    })
}

/// `Some(None)`: off.
fn activity(values: &Values) -> Option<Option<ActivityConfig>> {
    let interval = values.duration(S, "activity_interval")?;
    let rows_max = values.number(S, "activity_rows_max")?;
    let is_on = values.text(S, "activity")? == "on";
    Some(is_on.then_some(ActivityConfig { interval, rows_max }))
}

fn audit(values: &Values) -> Option<AuditConfig> {
    if values.refused(S, "audit_log") {
        return None;
    }
    let from = match values.text(S, "audit_log") {
        Some(netlink) if netlink == NETLINK => AuditFrom::Netlink,
        Some(path) => AuditFrom::Log(path.into()),
        None => AuditConfig::default().from,
    };
    let is_end = values.text(S, "audit_log_start")? == "end";
    Some(AuditConfig { from, log_start: if is_end { LogStart::End } else { LogStart::Beginning } })
}

/// `None` when it was refused.
fn list<T: std::str::FromStr>(values: &Values, key: &'static str) -> Option<List<T>> {
    if values.refused(S, key) { None } else { list_of(&values.list(S, key)).ok() }
}

/// Either all with `!` before them, or none.
fn list_of<T: std::str::FromStr>(words: &[String]) -> Result<List<T>, String> {
    let read = |text: &str| text.parse::<T>().map_err(|_| format!("holds `{text}`, which is no number"));
    let excepted: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix('!')).collect();
    match excepted.len() {
        _ if words.len() > ITEMS_MAX => Err(format!("has more than {ITEMS_MAX} items")),
        _ if words.is_empty() => Ok(List::Off),
        0 => Ok(List::Only(words.iter().map(|word| read(word)).collect::<Result<_, _>>()?)),
        all if all == words.len() => Ok(List::Except(excepted.into_iter().map(read).collect::<Result<_, _>>()?)),
        _ => Err("has some with `!` and some without, which cannot both be meant".to_owned()),
    }
}

fn texts_of_at_most(words: &[String], bytes_max: usize) -> Result<(), String> {
    let list = list_of::<String>(words)?;
    let (List::Only(texts) | List::Except(texts)) = list else { return Ok(()) };
    let wrong = texts.iter().find(|text| text.is_empty() || text.len() > bytes_max);
    wrong.map_or(Ok(()), |text| Err(format!("holds `{text}`, which is empty or longer than {bytes_max} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_of_those_that_are_meant_or_of_those_that_are_not() {
        let of = |words: &[&str]| list_of::<u32>(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]), Ok(List::Off));
        assert_eq!(of(&["1", "2"]), Ok(List::Only(vec![1, 2])));
        assert_eq!(of(&["!1", "!2"]), Ok(List::Except(vec![1, 2])));
        assert!(of(&["1", "!2"]).is_err_and(|error| error.contains("some with `!`")));
        assert!(of(&["1", "x"]).is_err_and(|error| error.contains("`x`")));
    }

    #[test]
    fn texts_fit_into_the_kernels_maps() {
        let judged = |judge: fn(&[String]) -> Result<(), String>, word: &str| judge(&[word.to_owned()]);
        assert_eq!(judged(COMMS.judge, "fifteen-letters"), Ok(()));
        assert!(judged(COMMS.judge, "sixteen-letters!").is_err());
        assert!(judged(PATHS.judge, &"/".repeat(65)).is_err() && judged(PATHS.judge, "!").is_err());
    }
}
