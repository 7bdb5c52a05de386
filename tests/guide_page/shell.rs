//! A bash that is given a page's commands one block at a time, as a reader of the page would type them.
//!
//! It and all that it started are one process group, which is ended with it. Waits are bounded by [`PATIENCE`] and end
//! by what is printed, never by how long something takes.

use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::{Duration, Instant},
};

/// How long anything may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LINES_WAITING_MAX: usize = 100_000;
const DONE: &str = "@@ done with";

pub struct Shell {
    process: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    pub fn start(folder: &Path, variables: &[(&str, String)]) -> Self {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-s"]).current_dir(folder).process_group(0);
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("bash is there");
        let mut input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (sender, lines) = sync_channel(LINES_WAITING_MAX);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        // A command that fails ends the shell, although its pipe stays open while something runs in the background.
        writeln!(input, "exec 2>&1\ntrap 'printf \"\\n{DONE} $?\\n\"' EXIT").expect("bash reads");
        Self { process, input, lines }
    }

    /// Runs a block. Every command of it must succeed, or, with `fails`, the last one must not. Returns what was
    /// printed, by commands in the background too.
    pub fn run(&mut self, text: &str, fails: bool) -> String {
        let (before, after) = if fails { ("set +e", "set -e") } else { ("set -e", "") };
        writeln!(self.input, "{before}\n{text}\nprintf '\\n%s\\n' \"{DONE} $?\"\n{after}").expect("bash reads");
        self.input.flush().expect("bash reads");
        let mut printed = String::new();
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix(DONE) {
                    Some(code) if (code.trim() == "0") != fails => return printed,
                    Some(code) => panic!("ended with {code}:\n{text}\n{printed}"),
                    None => printed.extend([line.as_str(), "\n"]),
                },
                Err(RecvTimeoutError::Timeout) => panic!("did not end in {PATIENCE:?}:\n{text}\n{printed}"),
                Err(RecvTimeoutError::Disconnected) => panic!("failed:\n{text}\n{printed}"),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // By the group that was made for it, which lives as long as the shell has not been waited for.
        if let Some(group) = Pid::from_raw(self.process.id() as i32) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}
