//! System calls from the kernel to SQL, through the real binary and a real NATS server: an agent's file says which calls are sent, SQL
//! reads them by name, and SIGHUP changes which while the agent runs.
//!
//! Needs root (or CAP_BPF and CAP_PERFMON) and BTF; where that is not to be had it says so loudly and counts as skipped.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::testing::NatsServer;
use amoskys_ebpf::{Filters, testing::probe};
use common::{PATIENCE, Running, amoskys, free_port, http_get, send, until};
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::sync_channel,
    thread,
};

const SQL: &str = "CREATE EXTERNAL TABLE syscalls STORED AS ENVELOPE LOCATION 'amoskys.telemetry.syscall.v1'
OPTIONS (event_time 'observed_at', lateness '2s', idle '1s', partition_key 'host_id');
CREATE VIEW changes AS
SELECT host_id, syscall, path, mode, result, pid > 0 AND duration_ns > 0 AND process_key > 0 AS is_whole FROM syscalls
WHERE path LIKE '%/amoskys-mode-%';";

fn state(port: u16) -> serde_json::Value {
    let (_, state) = http_get(port, "/state").expect("it serves");
    serde_json::from_str(&state).expect("JSON")
}

/// As a user does.
fn chmod(mode: &str, file: &Path) {
    assert!(Command::new("chmod").arg(mode).arg(file).status().expect("there is a chmod").success());
}

#[test]
fn calls_that_a_file_names_are_sent_and_read_by_sql() {
    if probe(&[], &Filters::default(), 1 << 12).is_none() {
        return;
    }
    let server = NatsServer::start();
    let address = server.address().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let (file, sql) = (folder.path().join("agent.toml"), folder.path().join("q.sql"));
    fs::write(&sql, SQL).expect("written");
    let port = free_port();
    let configure = |syscalls: &str| {
        let text = format!(
            "[agent]\nhost_id = \"here\"\nsign = false\nwal_path = \"{}\"\nbus_address = \"{address}\"\nmetrics_port = {port}\n\
             health_port = {port}\nbatch_age = \"20ms\"\n[process]\nsource = \"snapshots\"\n[syscall]\nsource = \"on\"\n{syscalls}\n",
            folder.path().join("wal").display()
        );
        fs::write(&file, text).expect("written");
    };
    configure("calls = [\"fchmodat\", \"chmod\"]");
    let agent = amoskys().arg("agent").arg("--config").arg(&file).args(["--create-topics", "1"]).spawn();
    let agent = Running(agent.expect("starts"));
    until("the agent runs", || http_get(port, "/readyz").is_some_and(|(ready, _)| ready));
    assert_eq!(state(port)["syscall_source"], "ebpf");

    let mut command = amoskys();
    command.args(["sql", "run"]).arg(&sql).args(["--bus", &address, "--view", "changes", "--format", "json"]);
    let mut run = Running(command.arg("--from-beginning").stdout(Stdio::piped()).spawn().expect("it starts"));
    let (sender, lines) = sync_channel(1000);
    let printed = BufReader::new(run.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
    thread::spawn(move || printed.for_each(|line| drop(sender.send(line))));
    let next = || -> serde_json::Value {
        serde_json::from_str(&lines.recv_timeout(PATIENCE).expect("a row in time")).expect("JSON")
    };

    let target = folder.path().join("amoskys-mode-first");
    fs::write(&target, "").expect("written");
    chmod("751", &target);
    let row = next();
    assert_eq!((row["host_id"].as_str(), row["result"].as_i64()), (Some("here"), Some(0)), "{row}");
    assert_eq!((row["mode"].as_i64(), row["is_whole"].as_bool()), (Some(0o751), Some(true)), "{row}");
    assert_eq!(row["path"].as_str(), target.to_str(), "{row}");
    assert!(row["syscall"].as_str().is_some_and(|name| name.contains("CHMOD")), "{row}");

    // A file that is wrong changes nothing.
    configure("calls = [\"unlnik\"]");
    send(&agent, Signal::HUP);
    let target = folder.path().join("amoskys-mode-second");
    fs::write(&target, "").expect("written");
    chmod("700", &target);
    assert_eq!(next()["path"].as_str(), target.to_str());

    configure("calls = [\"unlink\", \"unlinkat\"]");
    send(&agent, Signal::HUP);
    // Until the agent has read it.
    until("files that are removed are told", || {
        let gone = folder.path().join("amoskys-mode-gone");
        fs::write(&gone, "").expect("written");
        chmod("600", &gone);
        assert!(Command::new("rm").arg(&gone).status().expect("there is an rm").success());
        let mut row = next();
        while row["syscall"].as_str().is_some_and(|name| name.contains("CHMOD"))
            && row["path"].as_str() != gone.to_str()
        {
            row = next();
        }
        row["syscall"].as_str().is_some_and(|name| name.contains("UNLINK"))
    });
}

#[test]
fn an_agent_that_may_not_load_programs_says_which_right_is_missing() {
    if probe(&[], &Filters::default(), 1 << 12).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("agent.toml");
    let port = free_port();
    let start = |syscall: &str, keep: &str| {
        let text = format!(
            "[agent]\nsign = false\nwal_path = \"{}\"\nmetrics_port = {port}\nhealth_port = {port}\n[process]\nsource = \"snapshots\"\n\
             [syscall]\n{syscall}\n",
            folder.path().join("wal").display()
        );
        fs::write(&file, text).expect("written");
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", keep, "--inh-caps", keep]).arg(env!("CARGO_BIN_EXE_amoskys"));
        command.arg("agent").arg("--config").arg(&file).arg("--bus");
        command.arg(format!("local:{}", folder.path().join("log").display())).args(["--create-topics", "1"]);
        command
    };
    let without = "-all,+setuid,+net_admin";
    let output = start("source = \"on\"", without).output().expect("there is setpriv");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("system calls cannot be seen") && error.contains("CAP_BPF and CAP_PERFMON"), "{error}");
    let output = start("source = \"ebpf\"", "-all,+setuid,+bpf").output().expect("there is setpriv");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("takes CAP_PERFMON,"), "{error}");
    let output = start("source = \"audit\"\naudit_log = \"netlink\"", without).output().expect("there is setpriv");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("system calls cannot be seen") && error.contains("CAP_AUDIT_READ"), "{error}");
    // Where it is not demanded, the agent runs without, and says why.
    let _agent = Running(
        start("source = \"auto\"\naudit_log = \"/nonexistent/audit.log\"", without).spawn().expect("there is setpriv"),
    );
    until("the agent runs", || http_get(port, "/readyz").is_some_and(|(ready, _)| ready));
    let state = state(port);
    assert_eq!(state["syscall_source"], "off");
    let why = state["syscall_problem"].as_str().expect("a reason");
    assert!(why.contains("CAP_BPF and CAP_PERFMON") && why.contains("/nonexistent/audit.log"), "{state}");
}

/// Where eBPF is refused, audit stands in: the agent says why, and the same SQL reads the same events.
#[test]
fn the_same_sql_reads_system_calls_of_an_audit_log_where_ebpf_is_refused() {
    let server = NatsServer::start();
    let address = server.address().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let (file, sql, log) =
        (folder.path().join("agent.toml"), folder.path().join("q.sql"), folder.path().join("audit.log"));
    fs::write(&sql, SQL).expect("written");
    fs::write(&log, "").expect("written");
    let port = free_port();
    let text = format!(
        "[agent]\nhost_id = \"here\"\nsign = false\nwal_path = \"{}\"\nbus_address = \"{address}\"\nmetrics_port = {port}\n\
         health_port = {port}\nbatch_age = \"20ms\"\n[process]\nsource = \"snapshots\"\n[syscall]\nsource = \"auto\"\n\
         audit_log = \"{}\"\ncalls = [\"chmod\"]\n",
        folder.path().join("wal").display(),
        log.display()
    );
    fs::write(&file, text).expect("written");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all,+setuid", "--inh-caps", "-all"]).arg(env!("CARGO_BIN_EXE_amoskys"));
    let agent = command.arg("agent").arg("--config").arg(&file).args(["--create-topics", "1"]).spawn();
    let _agent = Running(agent.expect("starts"));
    until("the agent runs", || http_get(port, "/readyz").is_some_and(|(ready, _)| ready));
    let state = state(port);
    assert_eq!(state["syscall_source"], "audit_log");
    let why = state["syscall_problem"].as_str().expect("a reason");
    assert!(why.contains("eBPF is refused") && why.contains("CAP_BPF and CAP_PERFMON"), "{why}");

    let record = |kind: &str, body: &str| format!("type={kind} msg=audit(1604994496.155:7): {body}\n");
    let who = "ppid=1 pid=4100 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) ses=1 comm=\"chmod\"";
    let lines = [
        record(
            "SYSCALL",
            &format!("arch=c000003e syscall=90 success=yes exit=0 a0=7f a1=1e9 a2=0 a3=0 items=1 {who} key=(null)"),
        ),
        record("PATH", "item=0 name=\"/srv/amoskys-mode-first\" inode=1 nametype=NORMAL"),
        record("PROCTITLE", "proctitle=63"),
    ];
    fs::write(&log, lines.concat()).expect("written");
    let mut command = amoskys();
    command.args(["sql", "run"]).arg(&sql).args(["--bus", &address, "--view", "changes", "--format", "json"]);
    let mut run = Running(command.arg("--from-beginning").stdout(Stdio::piped()).spawn().expect("it starts"));
    let mut printed = BufReader::new(run.0.stdout.take().expect("piped")).lines();
    let row: serde_json::Value = serde_json::from_str(&printed.next().expect("a row").expect("text")).expect("JSON");
    assert_eq!((row["host_id"].as_str(), row["syscall"].as_str()), (Some("here"), Some("SYSCALL_CHMOD")), "{row}");
    assert_eq!((row["path"].as_str(), row["mode"].as_i64()), (Some("/srv/amoskys-mode-first"), Some(0o751)), "{row}");
    assert_eq!((row["result"].as_i64(), row["is_whole"].as_bool()), (Some(0), Some(false)), "{row}");
}
