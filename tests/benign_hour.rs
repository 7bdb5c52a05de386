//! The noise of what ships: the recorded hour of a host at work (`tests/benign_hour/`, made by `infra/benign-hour/record`) goes through
//! `sql/` as it is, and may raise `ALERTS_MAX` alerts. A recording in which nothing happens would pass too, so what is in it is
//! looked at as well, and so is that attacks among its rows are told, each once, and nothing else.
//!
//! Deliberately not here: how the hour came to be (`infra/benign-hour`), and each detection's own rows (`sql/detections/*.test.sql`).

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use common::amoskys;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Output,
    time::{Duration, SystemTime},
};

/// The noise budget: alerts of all detections together in the hour.
const ALERTS_MAX: usize = 1;
const HOUR_MIN: Duration = Duration::from_secs(3_600);
/// What the hour is about: at least so many starts of programs of these names.
const PROGRAMS: [(&str, u64); 12] = [
    ("apt-get", 10),
    ("as", 100),
    ("cc1", 100),
    ("cron", 1),
    ("dpkg", 50),
    ("git", 100),
    ("logrotate", 2),
    ("make", 20),
    ("nginx", 3),
    ("sshd", 10),
    ("sudo", 50),
    ("wrk", 20),
];

const PROCESSES: &str = "processes=tests/benign_hour/processes.parquet";
const SYSCALLS: &str = "syscalls=tests/benign_hour/syscalls.parquet";

/// Over the recording's streams: what is in it, and where a row in its middle is.
const LOOK: &str = "
CREATE VIEW programs AS
SELECT tumble(observed_at, INTERVAL '1 day') AS win, exe, count(*) AS starts
FROM processes WHERE kind = 'PROCESS_EVENT_KIND_EXEC' GROUP BY exe, win;
CREATE VIEW of_processes AS
SELECT tumble(observed_at, INTERVAL '1 day') AS win, count(*) AS rows, count(DISTINCT host_id) AS hosts,
       count(DISTINCT container_id) FILTER (WHERE container_id <> '') AS containers, min(observed_at) AS first, max(observed_at) AS last
FROM processes GROUP BY win;
CREATE VIEW of_syscalls AS
SELECT tumble(observed_at, INTERVAL '1 day') AS win, count(*) AS rows, count(DISTINCT host_id) AS hosts,
       count(DISTINCT syscall) AS calls, max(_offset) AS last_offset FROM syscalls GROUP BY win;
CREATE VIEW opened_by_nginx AS
SELECT tumble(observed_at, INTERVAL '1 day') AS win, count(*) AS rows FROM syscalls
WHERE comm = 'nginx' AND syscall = 'SYSCALL_OPENAT' AND starts_with(path, '/srv/www/') GROUP BY win;
CREATE VIEW places AS SELECT _offset AS place, _log_time AS log_time, host_id, observed_at FROM syscalls;
";

/// The rows of a view over these files.
fn rows(sql: &[&str], view: &str, from: &[&str]) -> Vec<Value> {
    let mut command = amoskys();
    command.args(["sql", "run"]).args(sql).args(["--view", view, "--format", "json"]);
    from.iter().for_each(|from| {
        command.args(["--from", from]);
    });
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    assert!(status.success(), "{view}: {}", String::from_utf8_lossy(&stderr));
    let row = |line: &str| serde_json::from_str(line).expect("JSON");
    String::from_utf8(stdout).expect("UTF-8").lines().map(row).collect()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("{name} is text: {row}"))
}

fn time(row: &Value, name: &str) -> SystemTime {
    humantime::parse_rfc3339(text(row, name)).expect("a time")
}

fn total(rows: &[Value], name: &str) -> u64 {
    rows.iter().map(|row| row[name].as_u64().expect("a number")).sum()
}

/// As somebody reads them who has to bring them down.
fn readable(alerts: &[Value]) -> String {
    let line = |row: &Value| {
        format!("  {} {}: {} {}\n", text(row, "time"), text(row, "detection"), row["entity"], row["features"])
    };
    alerts.iter().map(line).collect()
}

/// The number in the row of the README's table that begins so.
fn in_the_readme(what: &str) -> u64 {
    let readme = fs::read_to_string("tests/benign_hour/README.md").expect("the account of the recording");
    let begin = format!("| {what} | ");
    let row = readme.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_else(|| panic!("a row of {what}"));
    row.trim_end_matches(" |").replace(',', "").parse().expect("a number")
}

/// `LOOK`, and the streams that ship.
fn look(folder: &Path) -> [String; 3] {
    let file = folder.join("look.sql");
    fs::write(&file, LOOK).expect("written");
    [file.display().to_string(), "sql/streams/processes.sql".into(), "sql/streams/syscalls.sql".into()]
}

#[test]
fn a_benign_hour_keeps_within_the_noise_budget() {
    let alerts = rows(&["sql"], "alerts", &[PROCESSES, SYSCALLS]);
    assert!(
        alerts.len() <= ALERTS_MAX,
        "{} alerts in the benign hour, {ALERTS_MAX} at most:\n{}",
        alerts.len(),
        readable(&alerts)
    );
}

#[test]
fn the_recording_is_of_an_hour_of_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = look(folder.path());
    let sql: Vec<&str> = sql.iter().map(String::as_str).collect();
    let (processes, syscalls) = (rows(&sql, "of_processes", &[PROCESSES]), rows(&sql, "of_syscalls", &[SYSCALLS]));
    assert_eq!(total(&processes, "rows"), in_the_readme("rows of `processes`"));
    assert_eq!(total(&syscalls, "rows"), in_the_readme("rows of `syscalls`"));
    assert!(processes.iter().all(|row| row["hosts"] == 1 && row["containers"] == 1), "{processes:?}");
    assert!(syscalls.iter().all(|row| row["hosts"] == 1), "{syscalls:?}");

    let first = processes.iter().map(|row| time(row, "first")).min().expect("rows");
    let last = processes.iter().map(|row| time(row, "last")).max().expect("rows");
    let hour = last.duration_since(first).expect("in this order");
    assert!(hour >= HOUR_MIN, "{hour:?}");

    let mut starts: BTreeMap<&str, u64> = BTreeMap::new();
    let programs = rows(&sql, "programs", &[PROCESSES]);
    for row in &programs {
        let name = text(row, "exe").trim_start_matches("/usr/bin/x86_64-linux-gnu-");
        let name = name.rsplit('/').next().expect("a part");
        *starts.entry(name).or_default() += row["starts"].as_u64().expect("a number");
    }
    for (program, at_least) in PROGRAMS {
        let found = starts.get(program).copied().unwrap_or_default();
        assert!(found >= at_least, "{found} starts of {program}, {at_least} at least: {starts:?}");
    }
    assert!(total(&rows(&sql, "opened_by_nginx", &[SYSCALLS]), "rows") > 2_000);
}

/// What goes among the recorded rows: calls of processes that are not in it, at the place of a row in its middle.
fn attacks(at: &Value) -> Vec<Value> {
    let call = |after_us: u64, pid: u32, more: Value| {
        let time = humantime::format_rfc3339_micros(time(at, "observed_at") + Duration::from_micros(after_us));
        let mut row = json!({
            "_partition": 0, "_offset": at["place"], "_log_time": at["log_time"], "host_id": at["host_id"],
            "observed_at": time.to_string(), "pid": pid, "parent_pid": 1, "process_key": pid, "uid": 0, "euid": 0, "comm": "x",
            "process_comm": "x", "result": 0, "error": "", "path": "", "other_path": "", "flags": "", "protection": "", "previous_protection": "", "previously_written": false,
            "command": "", "address": "", "address_family": "", "mode": null, "fd": null, "size": null, "target_pid": null,
        });
        more.as_object().expect("fields").iter().for_each(|(name, value)| row[name] = value.clone());
        row
    };
    vec![
        call(1, 4_200_001, json!({"syscall": "SYSCALL_CONNECT", "address": "203.0.113.7", "address_family": "inet"})),
        call(2, 4_200_001, json!({"syscall": "SYSCALL_EXECVE", "path": "/bin/sh"})),
        // Called as who may, and from elsewhere.
        call(3, 4_200_002, json!({"syscall": "SYSCALL_EXECVE", "path": "/tmp/sshd", "comm": "sshd"})),
        call(
            4,
            4_200_002,
            json!({"syscall": "SYSCALL_OPENAT", "path": "/etc/shadow", "flags": "O_RDONLY", "comm": "sshd"}),
        ),
        call(
            5,
            4_200_003,
            json!({"syscall": "SYSCALL_FCHMODAT", "path": "/usr/bin/bash", "mode": 0o4755, "comm": "chmod"}),
        ),
        call(
            6,
            4_200_004,
            json!({"syscall": "SYSCALL_OPENAT", "path": "/etc/cron.d/x", "flags": "O_WRONLY|O_CREAT|O_TRUNC"}),
        ),
    ]
}

#[test]
fn attacks_within_the_hour_are_told_each_once_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = look(folder.path());
    let sql: Vec<&str> = sql.iter().map(String::as_str).collect();
    let places = rows(&sql, "places", &[SYSCALLS]);
    let lines: Vec<String> = attacks(&places[places.len() / 2]).iter().map(Value::to_string).collect();
    let file = folder.path().join("attacks.jsonl");
    fs::write(&file, lines.join("\n")).expect("written");

    let entity = |row: &Value| (text(row, "detection").to_owned(), text(row, "entity").to_owned());
    let before: Vec<_> = rows(&["sql"], "alerts", &[PROCESSES, SYSCALLS]).iter().map(entity).collect();
    let more = format!("syscalls={}", file.display());
    let mut found: Vec<_> = rows(&["sql"], "alerts", &[PROCESSES, SYSCALLS, &more]).iter().map(entity).collect();
    found.retain(|alert| !before.contains(alert));
    found.sort();
    let expected = [
        ("credentials_read", "sshd (pid 4200002) read /etc/shadow"),
        ("persistence_file_written", "x (pid 4200004) wrote /etc/cron.d/x"),
        ("reverse_shell", "pid 4200001 connected to 203.0.113.7 and became /bin/sh"),
        ("setuid_bit_set", "chmod (pid 4200003) /usr/bin/bash"),
    ];
    assert_eq!(found, expected.map(|(detection, entity)| (detection.to_owned(), entity.to_owned())));
}
