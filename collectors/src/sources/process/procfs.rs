//! Reads what `/proc` knows of one process, as far as it can be read in the short time that the process may live.
//!
//! The order matters: what is gone once a process ends (executable, command line, folder) is read first, what a zombie
//! still shows (stat, status, cgroup) after. What could not be read is listed by file name, never guessed.
//! Secrets on command lines are masked here, and of the environment nothing leaves here that was not named.
//! Limits: `cmdline_bytes_max`, `descriptors_max`; other files are read up to 4 KiB, the environment up to 256 KiB.

use super::{
    environment::{self, ENVIRON_BYTES_MAX},
    exe::{Executable, FsTypes},
    files::{Answer, Files, open_to_read},
    jobs::Haste,
    parse::{self, Ids, Stat},
    told::{Cgroups, cmdline_bytes_wanted},
};
use crate::{clock::Moment, config::ProcessConfig, masks::Masks};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags, RawDir, openat, readlinkat_raw, statat},
    io::{Errno, read},
};
use std::{collections::BTreeMap, mem::MaybeUninit, sync::Arc};

/// Everything that could be read of a process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub stat: Option<Stat>,
    pub ids: Option<Ids>,
    pub executable: Option<Executable>,
    /// What is told of the executable's file, perhaps later.
    pub file: Option<Arc<Answer>>,
    pub cmdline: Option<String>,
    pub environment: BTreeMap<String, String>,
    /// Fields in which secrets were masked.
    pub masked: Vec<&'static str>,
    /// `None`: it could not be read. `Some(None)`: nobody logged in.
    pub login_uid: Option<Option<u32>>,
    pub cwd: Option<String>,
    /// Path in the unified hierarchy, container id.
    pub cgroup: Option<(String, String)>,
    pub open_files: u32,
    pub sockets: u32,
    /// File names in `/proc/PID` that could not be read.
    pub unreadable: Vec<&'static str>,
}

impl Reading {
    /// Of a process that is gone.
    pub fn gone() -> Self {
        Self { unreadable: FILES.to_vec(), ..Self::default() }
    }
}

/// Bytes of the small files.
const FILE_BYTES_MAX: usize = 4_096;
/// Read beyond `cmdline_bytes_max`, so that a secret that is cut there is seen whole.
pub(super) const MASK_MARGIN_BYTES: usize = 1_024;
/// Names of all files in [`Reading`], for a process that is gone altogether.
const FILES: [&str; 7] = ["exe", "cmdline", "cwd", "fd", "stat", "status", "cgroup"];

/// Access to `/proc`, with its buffers.
pub struct Procfs {
    pub(super) root: OwnedFd,
    buffer: Vec<u8>,
    fs_types: FsTypes,
    cmdline_bytes_max: usize,
    descriptors_max: usize,
    environment: Vec<String>,
    masks: Masks,
    pub(super) files: Option<Files>,
    pub(super) cgroups: Cgroups,
}

impl Procfs {
    /// An error when there is no `/proc`. Nothing is told of executables' files until [`Procfs::tell_of`].
    pub fn open(config: &ProcessConfig) -> std::io::Result<Self> {
        let root = rustix::fs::open("/proc", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let environ_bytes = if config.environment.is_empty() { 0 } else { ENVIRON_BYTES_MAX };
        let bytes = FILE_BYTES_MAX.max(config.cmdline_bytes_max + MASK_MARGIN_BYTES).max(environ_bytes);
        Ok(Self {
            root,
            buffer: vec![0; bytes],
            fs_types: FsTypes::default(),
            cmdline_bytes_max: config.cmdline_bytes_max,
            descriptors_max: config.descriptors_max,
            environment: config.environment.clone(),
            masks: config.masks.clone(),
            files: None,
            cgroups: Cgroups::default(),
        })
    }

    /// From now on what `files` knows is told of executables.
    pub fn tell_of(&mut self, files: Files) {
        self.files = Some(files);
    }

    /// Ids of all processes.
    pub fn pids(&mut self) -> std::io::Result<Vec<u32>> {
        self.fs_types.forget();
        let mut pids = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(pids)
    }

    /// Everything about a process.
    pub fn read(&mut self, pid: u32) -> Reading {
        self.read_in(pid, Haste::Pass)
    }

    /// Everything about a process that just started a program.
    pub fn read_started(&mut self, pid: u32) -> Reading {
        self.read_in(pid, Haste::Start)
    }

    fn read_in(&mut self, pid: u32, haste: Haste) -> Reading {
        match self.process(pid) {
            Ok(process) => self.read_open(&process, haste),
            Err(_) => Reading::gone(),
        }
    }

    /// As [`Procfs::read`], but nothing beyond `stat` of a kernel thread.
    pub fn read_unless_kernel_thread(&mut self, pid: u32) -> Reading {
        let Ok(process) = self.process(pid) else {
            return Reading::gone();
        };
        match self.stat_of(&process) {
            Some(stat) if stat.kernel_thread => Reading { stat: Some(stat), ..Reading::default() },
            _ => self.read_open(&process, Haste::Pass),
        }
    }

    /// Only `stat`: start time, CPU time.
    pub fn stat(&mut self, pid: u32) -> Option<Stat> {
        let mut path = itoa(pid);
        path.push_str("/stat");
        let file = openat(&self.root, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let length = read(&file, &mut self.buffer[..FILE_BYTES_MAX]).ok()?;
        parse::stat(&self.buffer[..length])
    }

    /// Only the executable.
    pub fn executable(&mut self, pid: u32) -> Option<Executable> {
        let process = self.process(pid).ok()?;
        self.fs_types.executable(&process).ok()
    }

    fn process(&self, pid: u32) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.root, itoa(pid).as_str(), flags, Mode::empty())
    }

    fn read_open(&mut self, process: &OwnedFd, haste: Haste) -> Reading {
        let mut reading = Reading::default();
        reading.executable = note(self.fs_types.executable(process), "exe", &mut reading.unreadable);
        if let (Some(files), Some(exe)) = (&mut self.files, &reading.executable) {
            let open = || open_to_read(process, "exe");
            reading.file = files.ask(exe, haste, Moment::now().boot_ns, open);
        }
        let cmdline = self.file(process, "cmdline", self.cmdline_wanted());
        if let Some(length) = note(cmdline, "cmdline", &mut reading.unreadable) {
            self.add_cmdline(&self.buffer[..length], &mut reading);
        }
        self.read_environment(process, &mut reading);
        reading.cwd = note(link(process, "cwd"), "cwd", &mut reading.unreadable);
        let counts = note(self.descriptors(process), "fd", &mut reading.unreadable);
        (reading.open_files, reading.sockets) = counts.unwrap_or_default();
        reading.stat = self.stat_of(process);
        if reading.stat.is_none() {
            reading.unreadable.push("stat");
        }
        let status = self.file(process, "status", FILE_BYTES_MAX);
        reading.ids = note(status, "status", &mut reading.unreadable).and_then(|n| parse::ids(&self.buffer[..n]));
        let cgroup = self.file(process, "cgroup", FILE_BYTES_MAX);
        reading.cgroup =
            note(cgroup, "cgroup", &mut reading.unreadable).map(|length| parse::cgroup(&self.buffer[..length]));
        // Not there where the kernel does not audit.
        let login = self.file(process, "loginuid", FILE_BYTES_MAX).ok();
        reading.login_uid = login.map(|length| parse::login_uid(&self.buffer[..length]));
        if reading.stat.as_ref().is_some_and(|stat| stat.kernel_thread) {
            // It has none.
            reading.unreadable.retain(|name| *name != "exe");
        }
        reading
    }

    /// Arguments as they lie in memory, with secrets masked.
    pub(super) fn add_cmdline(&self, arguments: &[u8], reading: &mut Reading) {
        let (mut line, masked) = self.masks.line(arguments);
        line.truncate(line.floor_char_boundary(self.cmdline_bytes_max));
        reading.masked.extend(masked.then_some("cmdline"));
        reading.cmdline = Some(line);
    }

    /// How much of a command line is wanted, so that a secret at its end is seen whole.
    pub(super) fn cmdline_wanted(&self) -> usize {
        cmdline_bytes_wanted(self.cmdline_bytes_max)
    }

    /// The command line from `/proc`; false when it is gone.
    pub(super) fn read_cmdline(&mut self, pid: u32, reading: &mut Reading) -> bool {
        let wanted = self.cmdline_wanted();
        let length = self.process(pid).and_then(|process| self.file(&process, "cmdline", wanted));
        let Ok(length) = length else { return false };
        self.add_cmdline(&self.buffer[..length], reading);
        true
    }

    /// What is wanted of the environment.
    pub(super) fn read_environment_of(&mut self, pid: u32, reading: &mut Reading) {
        if self.environment.is_empty() {
            return;
        }
        match self.process(pid) {
            Ok(process) => self.read_environment(&process, reading),
            Err(_) => reading.unreadable.push("environ"),
        }
    }

    fn read_environment(&mut self, process: &OwnedFd, reading: &mut Reading) {
        if self.environment.is_empty() {
            return;
        }
        let environ = note(self.file(process, "environ", ENVIRON_BYTES_MAX), "environ", &mut reading.unreadable);
        let Some(length) = environ else { return };
        let (named, masked) = environment::named(&self.buffer[..length], &self.environment, &self.masks);
        reading.environment = named;
        reading.masked.extend(masked.then_some("environment"));
    }

    fn stat_of(&mut self, process: &OwnedFd) -> Option<Stat> {
        let length = self.file(process, "stat", FILE_BYTES_MAX).ok()?;
        parse::stat(&self.buffer[..length])
    }

    /// Reads at most `bytes_max` of a file into the buffer.
    fn file(&mut self, process: &OwnedFd, name: &str, bytes_max: usize) -> rustix::io::Result<usize> {
        let file = openat(process, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut length = 0;
        while length < bytes_max {
            let count = read(&file, &mut self.buffer[length..bytes_max])?;
            length += count;
            // The kernel hands over these files whole unless the buffer is full.
            if count == 0 || length < bytes_max {
                break;
            }
        }
        Ok(length)
    }

    /// Open descriptors, and how many of the first `descriptors_max` are sockets.
    fn descriptors(&self, process: &OwnedFd) -> rustix::io::Result<(u32, u32)> {
        let folder = openat(process, "fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // Since Linux 6.2 the folder's size is the number of descriptors; before, it is 0.
        let counted = statat(&folder, "", AtFlags::EMPTY_PATH)?.st_size as u32;
        let mut space = [MaybeUninit::<u8>::uninit(); 2_048];
        let mut entries = RawDir::new(&folder, &mut space);
        let (mut listed, mut sockets) = (0u32, 0u32);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if entry.file_name().to_bytes().first() == Some(&b'.') {
                continue;
            }
            listed += 1;
            if listed as usize > self.descriptors_max {
                if counted > 0 {
                    break;
                }
                continue;
            }
            let mut target = [MaybeUninit::<u8>::uninit(); 8];
            if let Ok((start, _)) = readlinkat_raw(folder.as_fd(), entry.file_name(), &mut target) {
                sockets += u32::from(start.starts_with(b"socket:"));
            }
        }
        Ok((listed.max(counted), sockets))
    }
}

fn link(process: &OwnedFd, name: &str) -> rustix::io::Result<String> {
    Ok(rustix::fs::readlinkat(process, name, Vec::with_capacity(256))?.to_string_lossy().into_owned())
}

fn note<T>(result: Result<T, Errno>, name: &'static str, unreadable: &mut Vec<&'static str>) -> Option<T> {
    if result.is_err() {
        unreadable.push(name);
    }
    result.ok()
}

fn itoa(pid: u32) -> String {
    pid.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read_whole() {
        let mut procfs = Procfs::open(&ProcessConfig::default()).expect("there is a /proc");
        let _socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let reading = procfs.read(std::process::id());
        assert_eq!(reading.unreadable, Vec::<&str>::new());
        let exe = reading.executable.expect("an executable");
        assert_eq!(exe.path, std::env::current_exe().expect("a path").to_string_lossy());
        assert!(!exe.deleted && !exe.fs_type.is_empty());
        assert_eq!(reading.cwd, std::env::current_dir().ok().map(|path| path.to_string_lossy().into_owned()));
        assert!(reading.sockets >= 1 && reading.open_files > reading.sockets);
        assert_eq!(reading.ids.map(|ids| ids.euid), Some(rustix::process::geteuid().as_raw()));
        assert_eq!(reading.stat.map(|stat| stat.parent), Some(std::os::unix::process::parent_id()));
        assert!(procfs.pids().expect("a listing").contains(&std::process::id()));
    }

    #[test]
    fn a_process_that_is_gone_is_unreadable_by_name() {
        let mut procfs = Procfs::open(&ProcessConfig::default()).expect("there is a /proc");
        assert_eq!(procfs.read(u32::MAX).unreadable, FILES);
        assert_eq!(procfs.stat(u32::MAX), None);
    }
}
