//! How long the commands of `amoskys sql` take on small input: the SQL, tests and model of the checkout, and a thousand events.
//! Each is run alone, from its start to its exit, as an editor, a shell or CI would.
//!
//! Run: `cargo bench --profile dev --bench commands [-- RUNS]`. Of the runs the median and the slowest, in seconds of the clock;
//! the first run, which may read the disk, is not counted.

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

const RUNS: usize = 15;
const EVENTS: usize = 1_000;

/// Starts of programs on a host, four a second.
fn events(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    for event in 0..EVENTS {
        let (minute, second, ms) = (event / 240, event / 4 % 60, event % 4 * 250);
        writeln!(
            file,
            r#"{{"observed_at":"2026-01-01T12:{minute:02}:{second:02}.{ms:03}Z","host_id":"h{}","kind":"PROCESS_EVENT_KIND_EXEC","pid":{},"parent_pid":{},"parent_comm":"bash","parent_exe":"/bin/bash","parent_euid":1000,"process_key":{event},"comm":"c{}","exe":"/usr/bin/c","exe_fs_type":"ext4","exe_deleted":false,"exe_setuid":false,"exe_sha256":"","package":"","ancestors":["/bin/bash"],"uid":1000,"euid":1000,"lifetime_us":0,"exit_code":0,"rss_bytes":4096,"cpu_user_us":1,"cpu_system_us":1,"threads":1,"open_files":3,"sockets":0,"cwd":"/","cgroup":"/","cmdline":"c","container_id":"","unreadable":[]}}"#,
            event % 3,
            1000 + event,
            70 + event % 5,
            event % 9,
        )
        .expect("written");
    }
}

fn main() {
    let runs = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(RUNS);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("processes.jsonl");
    events(&path);
    let from = format!("processes={}", path.display());
    let fitted = folder.path().join("fitted.json").display().to_string();
    let commands: [(&str, &[&str]); 8] = [
        ("check", &["check", "sql"]),
        ("explain", &["explain", "sql"]),
        ("functions", &["functions"]),
        ("test, all of the checkout", &["test", "sql"]),
        ("run, a view over 1,000 events", &["run", "sql", "--from", &from, "--view", "process_activity"]),
        ("diff, over 1,000 events", &["diff", "sql", "sql", "--from", &from]),
        ("why, over 1,000 events", &["why", "discovery_burst", "--where", "host_id = 'h1'", "--from", &from]),
        (
            "fit, over 1,000 events",
            &["fit", "sql", "--from", &from, "--view", "process_activity", "--output", &fitted, "--force"],
        ),
    ];
    println!("{:32} {:>9} {:>9}", "amoskys sql …", "median s", "slowest s");
    for (name, arguments) in commands {
        let mut seconds: Vec<f64> = (0..=runs).map(|_| run(arguments)).skip(1).collect();
        seconds.sort_by(f64::total_cmp);
        let (median, slowest) = (seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
        println!("{name:32} {median:>9.3} {slowest:>9.3}");
    }
}

/// Seconds until it has ended; a failure, but that a detection did not fire, ends the benchmark.
fn run(arguments: &[&str]) -> f64 {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_amoskys"))
        .arg("sql")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("it starts");
    let seconds = started.elapsed().as_secs_f64();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {told}");
    seconds
}
