//! What the kernel's programs told of a process, as if it had been read from `/proc`.
//!
//! Nothing is read where all is told, so that a process that is gone is described whole. Still read are: the environment, where it is wanted; the
//! control groups' path, once for each set of them; the executable's file, once for each file; and what the kernel could not tell (paths of more than
//! 64 names, long command lines, file systems that show other device numbers than the kernel has).
//! Limits: a new program's memory is not told, as it has none yet; [`CGROUPS_MAX`] control groups are remembered.

use super::{
    exe::{Executable, FileId, MEMFD, SET_USER_ID},
    files::open_to_read,
    jobs::Haste,
    parse::{self, Ids, NO_LOGIN, Stat},
    procfs::{MASK_MARGIN_BYTES, Procfs, Reading},
};
use crate::clock::Moment;
use amoskys_ebpf::{CMDLINE_BYTES_MAX, RawPath, RawProcess, RawProgram};
use lru::LruCache;
use rustix::fs::{fstat, makedev};
use std::num::NonZeroUsize;

const CGROUPS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// A clock tick of `/proc`, which keys of processes are made of.
const TICK_NS: u64 = 10_000_000;
const MINOR_BITS: u32 = 20;

/// What is told of a process's control groups, by the kernel's key for all of them.
pub struct Cgroups(LruCache<u64, (String, String)>);

impl Default for Cgroups {
    fn default() -> Self {
        Self(LruCache::new(CGROUPS_MAX))
    }
}

impl Cgroups {
    fn of(&mut self, key: u64, read: impl FnOnce() -> Option<(String, String)>) -> Option<(String, String)> {
        if let Some(known) = self.0.get(&key) {
            return Some(known.clone());
        }
        read().inspect(|read| {
            self.0.put(key, read.clone());
        })
    }
}

/// Whether `/proc` shows the device number of such a file system that the kernel has itself. Others (btrfs, overlay) have more numbers
/// than one, and are read.
fn shows_its_device(fs_type: &str) -> bool {
    ["ext2", "ext3", "ext4", "xfs", "tmpfs", "ramfs", "squashfs", "erofs", "f2fs", "vfat"].contains(&fs_type)
}

/// Arguments that the kernel is asked for.
pub fn cmdline_bytes_wanted(cmdline_bytes_max: usize) -> usize {
    cmdline_bytes_max + MASK_MARGIN_BYTES
}

impl Procfs {
    /// Of a start or an end what `stat` and `status` show, of a new program everything.
    pub fn read_told(&mut self, told: &RawProcess<'_>) -> Reading {
        let mut reading = Reading {
            stat: Some(stat(told)),
            ids: Some(Ids { uid: told.uid, euid: told.euid, gid: told.gid, egid: told.egid }),
            login_uid: Some((told.login_uid != NO_LOGIN).then_some(told.login_uid)),
            ..Reading::default()
        };
        if let Some(program) = &told.program {
            self.add_program(told.pid, program, &mut reading);
        }
        reading
    }

    fn add_program(&mut self, pid: u32, told: &RawProgram<'_>, reading: &mut Reading) {
        reading.executable = match executable(told) {
            Some(exe) if shows_its_device(&exe.fs_type) || exe.fs_type == "memfd" => Some(exe),
            told => self.executable(pid).or(told),
        };
        if reading.executable.is_none() {
            reading.unreadable.push("exe");
        }
        if let (Some(files), Some(exe)) = (&mut self.files, &reading.executable) {
            reading.file = files.ask(exe, Haste::Start, Moment::now().boot_ns, || {
                let is_it = |file: &std::fs::File| fstat(file).is_ok_and(|stat| FileId::of(&stat) == exe.file);
                // Where the process is gone the file may still be there.
                let of_process = open_to_read(&self.root, &format!("{pid}/exe")).filter(is_it);
                of_process.or_else(|| open_to_read(&self.root, &exe.path).filter(is_it))
            });
        }
        let is_cut =
            |arguments: &[u8]| arguments.len() >= CMDLINE_BYTES_MAX && self.cmdline_wanted() > CMDLINE_BYTES_MAX;
        match told.cmdline {
            Some(arguments) if !is_cut(arguments) => self.add_cmdline(arguments, reading),
            Some(arguments) if !self.read_cmdline(pid, reading) => self.add_cmdline(arguments, reading),
            Some(_) => {}
            None => reading.unreadable.push("cmdline"),
        }
        self.read_environment_of(pid, reading);
        reading.cwd = told.cwd.filter(|path| !path.is_cut).map(|path| text_as_shown(&path));
        if reading.cwd.is_none() {
            reading.unreadable.push("cwd");
        }
        (reading.open_files, reading.sockets) = (told.open_files, told.sockets);
        let (cgroups, root) = (&mut self.cgroups, &self.root);
        reading.cgroup = cgroups.of(told.cgroups_key, || {
            let mut file = open_to_read(root, &format!("{pid}/cgroup"))?;
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut text).ok()?;
            Some(parse::cgroup(&text))
        });
        if reading.cgroup.is_none() {
            reading.unreadable.push("cgroup");
        }
    }
}

fn stat(told: &RawProcess<'_>) -> Stat {
    let (user_us, system_us) = cpu_us(told);
    Stat {
        comm: String::from_utf8_lossy(told.comm).into_owned(),
        parent: told.parent_pid,
        session: told.session,
        tty: told.terminal,
        kernel_thread: told.is_kernel_thread,
        user_us,
        system_us,
        threads: told.threads,
        start_ticks: told.started_ns / TICK_NS,
        rss_pages: 0,
        exit_code: told.exit_code,
    }
}

/// As the kernel does for `/proc`: how long it ran is exact, and ticks say how much of it was in the system.
fn cpu_us(told: &RawProcess<'_>) -> (u64, u64) {
    let ticks = told.user_ns + told.system_ns;
    let system_ns = (u128::from(told.ran_ns) * u128::from(told.system_ns)).checked_div(u128::from(ticks));
    let system_ns = system_ns.unwrap_or_default() as u64;
    (told.ran_ns.saturating_sub(system_ns) / 1_000, system_ns / 1_000)
}

/// `None` when its path is not known whole.
fn executable(told: &RawProgram<'_>) -> Option<Executable> {
    let path = told.exe.filter(|path| !path.is_cut)?;
    let text = path.text();
    let is_memory = path.is_deleted && text.starts_with(MEMFD);
    let fs_type = if is_memory { "memfd".into() } else { String::from_utf8_lossy(told.fs_type).into_owned() };
    Some(Executable {
        path: text,
        deleted: path.is_deleted,
        setuid: told.mode & SET_USER_ID != 0,
        fs_type,
        file: FileId {
            device: makedev(told.device >> MINOR_BITS, told.device & ((1 << MINOR_BITS) - 1)),
            inode: told.inode,
            bytes: told.file_bytes,
            changed_ns: told.changed_ns,
        },
    })
}

/// As `/proc` marks a folder that is gone.
fn text_as_shown(path: &RawPath<'_>) -> String {
    let mut text = path.text();
    if path.is_deleted {
        text.push_str(" (deleted)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_once() {
        let path = |n: u64| Some((format!("/{n}"), String::new()));
        let mut groups = Cgroups::default();
        assert_eq!(groups.of(7, || None), None);
        assert_eq!(groups.of(7, || path(7)), path(7));
        assert_eq!((groups.of(7, || path(8)), groups.of(8, || path(8))), (path(7), path(8)));
    }
}
