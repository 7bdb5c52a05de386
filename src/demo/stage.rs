//! Makes two things happen on this host that attackers do and that harm nothing.
//!
//! - [`MemoryRun`]: a copy of `sleep` under another name is run out of a memory-backed folder, and its file deleted
//!   while it runs (ATT&CK T1070.004, T1036).
//! - [`discovery_burst`]: one short-lived shell runs commands that tell who and where one is (T1057, T1082, T1033).
//!
//! Each says which processes it was, so that alerts can be told to be about it. Nothing is left behind: dropping a
//! [`MemoryRun`] ends its process by its own id and removes its folder; the burst ends before it returns.
//! Limits: Linux; no privileges. A demo that is killed outright leaves at most the folder and a `sleep` of seconds.

use anyhow::{Context, bail};
use rustix::{
    fs::{StatVfsMountFlags, statfs, statvfs},
    io::Errno,
    process::{Pid, Signal, kill_process_group},
};
use std::{
    fs, io,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What was staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    DeletedProgram,
    DiscoveryBurst,
}

impl Behaviour {
    /// ATT&CK techniques that an alert about it may name, or one of their sub-techniques.
    pub fn techniques(self) -> &'static [&'static str] {
        match self {
            Self::DeletedProgram => &["T1070.004", "T1036"],
            Self::DiscoveryBurst => &["T1057", "T1082", "T1033"],
        }
    }

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::DeletedProgram => "a program run from memory and deleted while it runs",
            Self::DiscoveryBurst => "a burst of discovery commands",
        }
    }
}

/// What was done, for matching alerts with it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Staged {
    pub behaviour: Behaviour,
    /// The process itself, or the shell first and then its children.
    pub pids: Vec<u32>,
    /// The program that was run.
    pub exe: PathBuf,
    /// The command lines.
    pub commands: Vec<String>,
    /// Just before the first process was started, milliseconds since 1970.
    pub began_ms: i64,
    /// Something that went otherwise than planned, for the user.
    pub note: Option<String>,
}

/// Name of the copy: nothing that anybody looks at twice.
const COPY_NAME: &str = "font-update";
const FOLDER_PREFIX: &str = "amoskys-demo-";
/// Where memory-backed folders usually are.
const MEMORY_FOLDERS: [&str; 5] = ["/dev/shm", "/run/shm", "/tmp", "/var/tmp", "/run"];
const TMPFS_MAGIC: i128 = 0x0102_1994;
const RAMFS_MAGIC: i128 = 0x8584_58f6;
const SLEEP: [&str; 2] = ["/bin/sleep", "/usr/bin/sleep"];
/// The file may still be open for writing in a child that another thread is just starting.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// A program running out of a memory-backed folder. Ended and cleaned up on drop.
pub struct MemoryRun {
    // Before the folder, so that the process is gone when its folder is removed.
    process: Running,
    folder: tempfile::TempDir,
    staged: Staged,
}

/// A child that does not outlive this.
struct Running(Child);

impl MemoryRun {
    /// Starts the copy; it runs for `lifetime` (whole seconds, at least one) unless dropped before.
    pub fn start(lifetime: Duration) -> anyhow::Result<Self> {
        let (place, note) = memory_folder(&MEMORY_FOLDERS.map(PathBuf::from));
        let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir_in(&place);
        let folder = folder.with_context(|| format!("making a folder in {}", place.display()))?;
        let copy = folder.path().join(COPY_NAME);
        let sleep =
            SLEEP.iter().map(Path::new).find(|path| path.is_file()).context("there is no /bin/sleep to copy")?;
        fs::copy(sleep, &copy).with_context(|| format!("copying {} to {}", sleep.display(), copy.display()))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o700))?;
        let seconds = lifetime.as_secs().max(1).to_string();
        let began_ms = now_ms();
        // Where many commands are one program, it goes by its first argument.
        let child = start_when_free(Command::new(&copy).arg0("sleep").arg(&seconds));
        let process = Running(child.with_context(|| format!("running {}", copy.display()))?);
        let pids = vec![process.0.id()];
        let commands = vec![format!("{} {seconds}", copy.display())];
        let behaviour = Behaviour::DeletedProgram;
        Ok(Self { process, folder, staged: Staged { behaviour, pids, exe: copy, commands, began_ms, note } })
    }

    /// Deletes the program's file; the process runs on.
    pub fn delete_program(&self) -> anyhow::Result<()> {
        fs::remove_file(&self.staged.exe).with_context(|| format!("deleting {}", self.staged.exe.display()))
    }

    /// Whether the process has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.0.try_wait(), Ok(None))
    }

    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// The folder that is removed on drop.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // By the handle, so it cannot hit a process that has the id by now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_when_free(command: &mut Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 1..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    command.spawn()
}

/// The first of them that is in memory and lets programs run. Otherwise the folder for temporary files, and why.
fn memory_folder(candidates: &[PathBuf]) -> (PathBuf, Option<String>) {
    match candidates.iter().find(|folder| is_in_memory(folder) && is_usable(folder)) {
        Some(folder) => (folder.clone(), None),
        None => {
            let folder = std::env::temp_dir();
            let note = format!(
                "no memory-backed folder here lets programs run, so the copy runs from {} instead",
                folder.display()
            );
            (folder, Some(note))
        }
    }
}

fn is_in_memory(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&i128::from(found.f_type)))
}

/// Programs may run there and we may write.
fn is_usable(folder: &Path) -> bool {
    let runs = statvfs(folder).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::NOEXEC));
    runs && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

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
    let mut group = Group(shell.spawn().context("running /bin/sh")?);
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

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exe_of(pid: u32) -> String {
        let link = fs::read_link(format!("/proc/{pid}/exe")).expect("the process runs");
        link.display().to_string()
    }

    fn is_gone(pid: u32) -> bool {
        !Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn the_copy_runs_on_when_its_file_is_deleted_and_goes_with_its_owner() {
        let mut run = MemoryRun::start(Duration::from_secs(60)).expect("it starts");
        let (staged, folder) = (run.staged().clone(), run.folder().to_owned());
        let pid = staged.pids[0];
        assert_eq!(exe_of(pid), staged.exe.display().to_string());
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).expect("it runs").trim(), COPY_NAME);
        run.delete_program().expect("the file is there");
        assert_eq!(exe_of(pid), format!("{} (deleted)", staged.exe.display()));
        assert!(run.is_running());
        assert!(run.delete_program().is_err(), "it is gone already");
        drop(run);
        assert!(is_gone(pid) && !folder.exists(), "nothing is left");
    }

    #[test]
    fn a_run_that_is_given_up_early_leaves_nothing() {
        let run = MemoryRun::start(Duration::ZERO).expect("it starts");
        let (pid, folder) = (run.staged().pids[0], run.folder().to_owned());
        drop(run);
        assert!(is_gone(pid) && !folder.exists());
    }

    #[test]
    fn without_memory_the_folder_for_temporary_files_is_used_and_said() {
        let (folder, note) = memory_folder(&[PathBuf::from("/proc"), PathBuf::from("/nowhere")]);
        assert_eq!(folder, std::env::temp_dir());
        assert!(note.expect("why").contains("no memory-backed folder"));
    }

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
