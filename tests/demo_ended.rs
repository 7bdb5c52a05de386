//! The demo however it ends, and in each of its ways to show itself: Ctrl-C and SIGTERM while it stages leave no process
//! and no file, `--seconds` ends it, `-q` and `-v`, and the live view on a terminal, which is given back.
//!
//! All at once, in one test: they would take minutes one after the other. None of them can say that the time before its
//! own staging was quiet, since each sees what the others stage; `tests/demo.rs` has that.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use common::{Running, exit_code, send, staged_folders, until, until_staged_are_gone};
use rustix::process::Signal;
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// In the environment of everything that a demo of this run starts.
const MARK: &str = "AMOSKYS_DEMO_TEST";

/// A folder for one demo: its temporary files, what it prints, and programs of ours before the host's.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        ["temporary", "bin"].iter().for_each(|name| fs::create_dir(folder.path().join(name)).expect("a folder"));
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with everything of it in this folder.
    fn dress<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("TMPDIR", self.path("temporary")).env(MARK, self.folder.path());
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.stdin(Stdio::null()).stdout(File::create(self.path("printed")).expect("a file"));
        command.stderr(File::create(self.path("said")).expect("a file"))
    }

    fn demo(&self, arguments: &[&str]) -> Running {
        let mut command = common::amoskys();
        // It would win over the flags.
        command.env_remove("AMOSKYS_LOG").arg("demo").args(arguments);
        Running(self.dress(&mut command).spawn().expect("starts"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("UTF-8")
    }

    fn until_printed(&self, text: &str) {
        until(&format!("`{text}` is printed"), || self.read("printed").contains(text));
    }

    /// The folder of the demo's SQL without the files that are `left_out`.
    fn sql(&self, left_out: impl Fn(&Path) -> bool) -> String {
        for folder in entries(Path::new("sql")) {
            fs::create_dir_all(self.path("").join(&folder)).expect("a folder");
            for file in entries(&folder).filter(|file| !left_out(file)) {
                fs::copy(&file, self.path("").join(&file)).expect("copied");
            }
        }
        self.path("sql").display().to_string()
    }

    /// The burst comes to a command of ours that does not end by itself.
    fn hold_the_burst(&self) {
        let script = format!("#!/bin/sh\ntouch '{}'\nexec sleep 600\n", self.path("held").display());
        let path = self.path("bin/id");
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("may run");
    }

    fn until_held(&self) {
        until("the burst is being run", || self.path("held").exists());
    }

    /// No file of it and no process: a process of it has the mark in its environment.
    fn check_nothing_left(&self, what: &str) {
        let files: Vec<PathBuf> = entries(&self.path("temporary")).collect();
        assert_eq!(files, Vec::<PathBuf>::new(), "{what}: files were left");
        let mark = format!("{MARK}={}", self.folder.path().display());
        let is_left = |path: &PathBuf| {
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        // One that was killed is there until whoever inherited it has waited for it.
        until(&format!("{what}: no process is left"), || !entries(Path::new("/proc")).any(|path| is_left(&path)));
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).expect("a folder").filter_map(|entry| Some(entry.ok()?.path()))
}

#[test]
fn however_the_demo_ends_it_leaves_nothing() {
    let before = staged_folders();
    thread::scope(|scope| {
        scope.spawn(|| ended_while_staging(Signal::INT, &["-v"]));
        scope.spawn(|| ended_while_staging(Signal::TERM, &[]));
        scope.spawn(|| ended_in_the_burst(Signal::INT));
        scope.spawn(|| ended_in_the_burst(Signal::TERM));
        scope.spawn(ended_by_its_time);
        scope.spawn(on_a_terminal);
    });
    until_staged_are_gone(&before);
}

fn ended_while_staging(signal: Signal, arguments: &[&str]) {
    let what = format!("{signal:?} while staging");
    let place = Place::new();
    let mut demo = place.demo(arguments);
    place.until_printed("staged: a program run from memory");
    send(&demo, signal);
    assert_eq!(exit_code(&mut demo, &what), Some(1), "{what}: {}{}", place.read("printed"), place.read("said"));
    place.check_nothing_left(&what);
    assert_eq!(
        place.read("said").contains("INFO partition assigned"),
        arguments.contains(&"-v"),
        "{what}: {}",
        place.read("said")
    );
}

fn ended_in_the_burst(signal: Signal) {
    let what = format!("{signal:?} in the burst");
    let place = Place::new();
    place.hold_the_burst();
    let mut demo = place.demo(&[]);
    place.until_held();
    send(&demo, signal);
    assert_eq!(exit_code(&mut demo, &what), Some(1), "{what}: {}{}", place.read("printed"), place.read("said"));
    place.check_nothing_left(&what);
    let said = place.read("printed") + &place.read("said");
    assert!(said.contains("interrupted") && !said.contains("panicked"), "{what}: {said}");
}

/// Without detections nothing is ever alerted, so only its time can end it.
fn ended_by_its_time() {
    const SECONDS: u64 = 25;
    let place = Place::new();
    let sql = place.sql(|path| path.starts_with("sql/detections"));
    let begun = Instant::now();
    let mut demo = place.demo(&["-q", "--seconds", &SECONDS.to_string(), "--sql", &sql]);
    let code = exit_code(&mut demo, "it ends by its time");
    let (printed, said) = (place.read("printed"), place.read("said"));
    assert_eq!(code, Some(1), "{printed}{said}");
    assert!(begun.elapsed() >= Duration::from_secs(SECONDS), "it did not wait for its alerts:\n{printed}");
    // Quiet: the summary alone.
    assert!(printed.starts_with("Summary\n") && !said.contains("INFO"), "{printed}{said}");
    for part in ["not alerted", "a burst of discovery commands: not alerted"] {
        assert!(printed.contains(part), "`{part}` is not in\n{printed}");
    }
    assert!(!printed.contains("interrupted"), "{printed}");
    place.check_nothing_left("ended by its time");
}

fn on_a_terminal() {
    const SHOWN: [&str; 5] =
        ["control period", "staging", "waiting for alerts", "a running program's file was deleted", "font-update"];
    let place = Place::new();
    // Without the detection of the burst it waits for that until Ctrl-C. Otherwise it ends some seconds after both are
    // alerted, and a snapshot of processes that is late shows the deleted file later still.
    let sql = place.sql(|path| path.ends_with("discovery_burst.sql"));
    let demo = [env!("CARGO_BIN_EXE_amoskys"), "demo", "--seconds", "60", "--sql", &sql];
    let mut command = Command::new("python3");
    command.arg("tests/demo_terminal.py").args(SHOWN).arg("--").args(demo);
    let mut running = Running(place.dress(&mut command).spawn().expect("python3 is there"));
    let code = exit_code(&mut running, "the terminal's demo ends");
    assert_eq!(code, Some(0), "{}", place.read("said"));
    let result: serde_json::Value = serde_json::from_str(&place.read("printed")).expect("JSON");
    let last = result["last"].as_str().unwrap_or_default();
    let mut shown = SHOWN;
    shown.sort_unstable();
    assert_eq!(result["seen"], serde_json::json!(shown), "{last}");
    assert_eq!(result["exit"], 1, "it was interrupted\n{last}");
    for given_back in ["restored", "screen", "cursor"] {
        assert_eq!(result[given_back], true, "{given_back}: {last}");
    }
    place.check_nothing_left("on a terminal");
}
