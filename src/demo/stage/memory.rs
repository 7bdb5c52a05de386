//! A program that is run out of memory and whose file is deleted while it runs.

use super::{Behaviour, Staged, spawn_bound};
use crate::clock::now_ms;
use anyhow::Context;
use rustix::fs::{Access, StatVfsMountFlags, access, statfs, statvfs};
use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

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
    // Held to be dropped: the process before the folder, so that it is gone when its folder is removed.
    #[cfg_attr(not(test), expect(dead_code, reason = "held to be dropped"))]
    process: Running,
    #[cfg_attr(not(test), expect(dead_code, reason = "held to be dropped"))]
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
    #[cfg(test)]
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.0.try_wait(), Ok(None))
    }

    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// The folder that is removed on drop.
    #[cfg(test)]
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
        match spawn_bound(command) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    spawn_bound(command)
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
    runs && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{super::is_gone, *};

    fn exe_of(pid: u32) -> String {
        let link = fs::read_link(format!("/proc/{pid}/exe")).expect("the process runs");
        link.display().to_string()
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
}
