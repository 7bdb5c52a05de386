//! Executables of real processes: digests against `sha256sum`, and what is remembered of them.

use super::*;
use crate::{config::ProcessConfig, sources::process::procfs::Procfs};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};
use tempfile::TempDir;

struct Running(Child);

impl Running {
    fn start(program: &Path) -> Self {
        Self(Command::new(program).arg("1000").spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Asking {
    procfs: Procfs,
    numbers: SharedNumbers,
}

fn asking(config: FilesConfig) -> Asking {
    let (numbers, process) = (SharedNumbers::default(), ProcessConfig { files: config, ..ProcessConfig::default() });
    let mut procfs = Procfs::open(&process).expect("there is a /proc");
    procfs.tell_of(Files::start(&process.files, StopOrder::default(), numbers.clone()).expect("a thread"));
    Asking { procfs, numbers }
}

impl Asking {
    fn facts(&mut self, pid: u32) -> Option<Facts> {
        let answer = self.procfs.read(pid).file?;
        let begun = Instant::now();
        while answer.facts().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no answer");
            std::thread::sleep(Duration::from_millis(1));
        }
        answer.facts().cloned()
    }

    fn hashed(&self) -> u64 {
        self.numbers.lock().hashed_files
    }
}

fn hex(facts: &Facts) -> &str {
    match &facts.sha256 {
        Digest::Known { hex, .. } => hex,
        other => panic!("{other:?}"),
    }
}

/// Of coreutils.
fn sha256sum(path: &Path) -> String {
    let said = Command::new("sha256sum").arg(path).output().expect("coreutils").stdout;
    String::from_utf8_lossy(&said).split(' ').next().expect("a digest").to_owned()
}

fn copy_of_sleep(folder: &TempDir, name: &str) -> std::path::PathBuf {
    let copy = folder.path().join(name);
    fs::copy("/bin/sleep", &copy).expect("copies");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("may be run");
    copy
}

#[test]
fn a_file_of_the_system_is_hashed_once_and_has_its_package() {
    let mut asking = asking(FilesConfig::default());
    let path = fs::canonicalize("/bin/sleep").expect("there is a sleep");
    let children = [Running::start(&path), Running::start(&path)];
    let facts = children.each_ref().map(|child| asking.facts(child.0.id()).expect("asked"));
    assert_eq!(hex(&facts[0]), sha256sum(&path));
    assert_eq!((&facts[0], asking.hashed()), (&facts[1], 1));
    if Path::new("/var/lib/dpkg/status").exists() {
        assert_eq!(facts[0].package.as_ref().map(|package| package.name.as_str()), Some("coreutils"));
    }
}

#[test]
fn what_runs_is_hashed_although_its_path_is_gone_or_another_file() {
    let (folder, mut asking) = (TempDir::new().expect("a folder"), asking(FilesConfig::default()));
    let path = copy_of_sleep(&folder, "program");
    let digest = sha256sum(&path);
    let child = Running::start(&path);
    fs::remove_file(&path).expect("removes");
    fs::write(&path, "another").expect("writes");
    let facts = asking.facts(child.0.id()).expect("asked");
    assert_eq!((hex(&facts), &facts.package), (digest.as_str(), &None));
}

#[test]
fn another_content_has_another_digest_at_once() {
    let (folder, mut asking) = (TempDir::new().expect("a folder"), asking(FilesConfig::default()));
    let path = copy_of_sleep(&folder, "program");
    for change in 0..5 {
        // In place, with nothing between the answer and the change, and the size and the time of before.
        let digest = sha256sum(&path);
        let child = Running::start(&path);
        assert_eq!(hex(&asking.facts(child.0.id()).expect("asked")), digest, "{change}");
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
        drop(child);
        let mut content = fs::read(&path).expect("reads");
        *content.last_mut().expect("bytes") = change;
        fs::write(&path, content).expect("writes");
        File::options().write(true).open(&path).and_then(|file| file.set_modified(modified)).expect("sets");
    }
}

#[test]
fn bounds_hold() {
    let folder = TempDir::new().expect("a folder");
    let path = copy_of_sleep(&folder, "program");
    let bytes = fs::metadata(&path).expect("it is there").len();
    let of = |max: u64| FilesConfig { sha256_file_bytes_max: max, dpkg_folder: None, ..FilesConfig::default() };
    let child = Running::start(&path);
    assert!(matches!(asking(of(bytes)).facts(child.0.id()).expect("asked").sha256, Digest::Known { .. }));
    assert_eq!(asking(of(bytes - 1)).facts(child.0.id()), None, "too large");
    assert_eq!(asking(of(0)).facts(child.0.id()), None, "nobody wants any");

    // Room for one file: two in turn are hashed each time.
    let one = FilesConfig { files_max: std::num::NonZeroUsize::MIN, dpkg_folder: None, ..FilesConfig::default() };
    let (mut asking, other) = (asking(one), Running::start(Path::new("/bin/sleep")));
    for _ in 0..3 {
        asking.facts(child.0.id()).expect("asked");
        asking.facts(other.0.id()).expect("asked");
    }
    assert_eq!(asking.hashed(), 6);
}

#[test]
fn files_that_others_serve_are_left_alone() {
    for (fs_type, is_ours) in
        [("ext4", true), ("overlay", true), ("memfd", true), ("fuse.sshfs", false), ("nfs4", false), ("", false)]
    {
        assert_eq!(is_of_this_host(fs_type), is_ours, "{fs_type}");
    }
}

/// Whatever is still to be hashed, and whoever waits for it.
#[test]
fn the_thread_ends_with_its_owner() {
    let (stop, numbers) = (StopOrder::default(), SharedNumbers::default());
    let files = Files::start(&FilesConfig::default(), stop.clone(), numbers).expect("a thread");
    stop.give(0);
    drop(files);
    let mut asking = asking(FilesConfig::default());
    asking.procfs.read(std::process::id());
    let begun = Instant::now();
    drop(asking);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn an_answer_lasts_while_dpkg_is_as_it_was() {
    let of = |inode| Some(FileId { inode, ..FileId::default() });
    let known = |settled| Facts { sha256: Digest::Known { hex: "".into(), settled }, package: None, packages: of(1) };
    assert!(known(true).lasts(of(1)) && !known(true).lasts(of(2)) && !known(false).lasts(of(1)));
    assert!(!Facts { sha256: Digest::Failed, ..Facts::default() }.lasts(None) && Facts::default().lasts(None));
}
