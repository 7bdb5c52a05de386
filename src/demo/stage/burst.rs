//! A burst of commands that tell who and where one is, under one short-lived shell.

use super::{Behaviour, Staged, spawn_bound};
use crate::clock::now_ms;
use anyhow::{Context, bail};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group},
};
use std::{
    fs, io,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Commands that tell where one is, with arguments under which they neither wait nor ask another machine.
const DISCOVERY: [(&str, &str); 16] = [
    ("id", ""),
    ("whoami", ""),
    ("groups", ""),
    ("uname", "-a"),
    ("hostname", ""),
    ("arch", ""),
    ("nproc", ""),
    ("uptime", ""),
    ("who", ""),
    ("w", ""),
    ("users", ""),
    ("ps", "-e"),
    ("df", "-l"),
    ("free", ""),
    ("env", ""),
    ("lsmod", ""),
];
/// Fewer are no burst.
const COMMANDS_MIN: usize = 5;
const BURST_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs those of the commands that this host has as children of one `sh -c`, and waits until it has ended. Output goes
/// nowhere. Ends at once, with an error, when `stop` is set.
pub fn discovery_burst(stop: &AtomicBool) -> anyhow::Result<Staged> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let commands = present(&folders);
    if commands.len() < COMMANDS_MIN {
        bail!(
            "this host has {} of the commands for a burst of discovery; at least {COMMANDS_MIN} are needed",
            commands.len()
        );
    }
    // Each by its path, so that none is a builtin; each waited for, so that none outlives the shell; its id told.
    let one = |command: &String| format!("{command} >/dev/null 2>&1 </dev/null & echo $!; wait $!; ");
    let script: String = commands.iter().map(one).collect();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(script).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let began_ms = now_ms();
    let mut group = Group(spawn_bound(&mut shell).context("running /bin/sh")?);
    let children = group.ids_when_done(stop)?;
    let pids = [group.0.id()].into_iter().chain(children).collect();
    let exe = fs::canonicalize("/bin/sh").unwrap_or_else(|_| "/bin/sh".into());
    Ok(Staged { behaviour: Behaviour::DiscoveryBurst, pids, exe, commands, began_ms, note: None })
}

/// The commands that are there, by path.
fn present(folders: &[PathBuf]) -> Vec<String> {
    let runs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
            && path.to_str().is_some_and(|path| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)))
    };
    let found = DISCOVERY.iter().filter_map(|(name, arguments)| {
        let path = folders.iter().map(|folder| folder.join(name)).find(runs)?;
        Some(format!("{} {arguments}", path.display()).trim_end().to_owned())
    });
    found.collect()
}

/// A shell in a process group of its own, which is ended as a whole.
struct Group(Child);

impl Group {
    /// Waits for the shell and returns the ids of its children, which it has printed.
    fn ids_when_done(&mut self, stop: &AtomicBool) -> anyhow::Result<Vec<u32>> {
        let deadline = Instant::now() + BURST_MAX;
        let status = loop {
            match self.0.try_wait().context("waiting for the shell")? {
                Some(status) => break status,
                None if stop.load(Ordering::Relaxed) => bail!("interrupted"),
                None if Instant::now() >= deadline => {
                    bail!("the discovery commands did not end within {} s", BURST_MAX.as_secs())
                }
                None => thread::sleep(LOOK_EVERY),
            }
        };
        if let Some(signal) = status.signal() {
            bail!("the shell of the discovery commands was ended by signal {signal}");
        }
        let printed =
            self.0.stdout.take().map(io::read_to_string).transpose().context("reading what the shell printed")?;
        Ok(printed.unwrap_or_default().lines().filter_map(|line| line.trim().parse().ok()).collect())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Only while the shell has not been waited for: until then its id, and so the group's, is nobody else's.
        if let (Ok(None), Some(group)) = (self.0.try_wait(), i32::try_from(self.0.id()).ok().and_then(Pid::from_raw)) {
            match kill_process_group(group, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => tracing::warn!(%error, "the discovery commands could not be ended"),
            }
        }
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::is_gone, *};

    #[test]
    fn the_burst_runs_every_command_under_one_shell_and_ends() {
        let staged = discovery_burst(&AtomicBool::new(false)).expect("it runs");
        assert!(staged.commands.len() >= COMMANDS_MIN, "{staged:?}");
        assert_eq!(staged.pids.len(), staged.commands.len() + 1, "{staged:?}");
        let mut pids = staged.pids.clone();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), staged.pids.len(), "{staged:?}");
        assert!(staged.commands.iter().any(|command| command.ends_with("/id")), "{staged:?}");
        assert!(is_gone(staged.pids[0]), "the shell has ended");
    }

    #[test]
    fn an_interrupted_burst_ends_its_shell() {
        let error = discovery_burst(&AtomicBool::new(true)).expect_err("stopped");
        assert!(error.to_string().contains("interrupted"), "{error:#}");
    }

    #[test]
    fn a_group_is_ended_as_a_whole() {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg("sleep 60 & echo $!; wait").stdout(Stdio::piped()).process_group(0);
        let mut child = shell.spawn().expect("a shell");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line).expect("the child's id");
        let grandchild: u32 = line.trim().parse().expect("a number");
        drop(Group(child));
        // Its new parent waits for it; until then it is there, but as a zombie.
        let state = || fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(Instant::now() < deadline, "{}", state());
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_host_without_the_commands_has_none() {
        assert!(present(&[PathBuf::from("/nowhere")]).is_empty());
    }
}
