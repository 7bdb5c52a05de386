//! The programs in the real kernel that tell of processes: each start, program and end once, in its order, with what `/proc` would show.
//!
//! Needs root and BTF; where that is not to be had it says so loudly and counts as skipped. What an agent makes of it is tested there
//! (`collectors/tests/kernel.rs`, `collectors/tests/identity.rs`).

use amoskys_ebpf::{
    ProcessChange::{self, Exec, Exit, Fork},
    Processes, RawProcess,
    testing::{Stopped, compile, processes},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Tests look at counters of the whole host.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

static PROGRAM: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("processes");
    compile(Path::new("tests/processes.c"), &program);
    (folder, program)
});

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    change: ProcessChange,
    key: (u32, u64),
    parent: u32,
    comm: String,
    exit_code: i32,
    ran_ns: u64,
    exe: String,
    cwd: String,
    deleted: [bool; 2],
    cut: [bool; 2],
    cmdline: Vec<u8>,
    inode: u64,
    mode: u32,
    fs_type: String,
    changed_ns: i128,
    open_files: u32,
    sockets: u32,
}

fn seen(of: &RawProcess<'_>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let program = of.program.as_ref();
    let paths = [program.and_then(|program| program.exe), program.and_then(|program| program.cwd)];
    Seen {
        change: of.change,
        key: (of.pid, of.started_ns),
        parent: of.parent_pid,
        comm: text(of.comm),
        exit_code: of.exit_code,
        ran_ns: of.ran_ns,
        exe: paths[0].map(|path| path.text()).unwrap_or_default(),
        cwd: paths[1].map(|path| path.text()).unwrap_or_default(),
        deleted: paths.map(|path| path.is_some_and(|path| path.is_deleted)),
        cut: paths.map(|path| path.is_some_and(|path| path.is_cut)),
        cmdline: program.and_then(|program| program.cmdline).unwrap_or_default().to_vec(),
        inode: program.map_or(0, |program| program.inode),
        mode: program.map_or(0, |program| program.mode),
        fs_type: program.map(|program| text(program.fs_type)).unwrap_or_default(),
        changed_ns: program.map_or(0, |program| program.changed_ns),
        open_files: program.map_or(0, |program| program.open_files),
        sockets: program.map_or(0, |program| program.sockets),
    }
}

/// All that is told until the job is done, with what it gave. Every change is accounted for, and none was lost.
fn all_told<T: Send + 'static>(mut of: Processes, job: impl FnOnce() -> T + Send + 'static) -> (Vec<Seen>, T) {
    let running = thread::spawn(job);
    let mut all = Vec::new();
    let mut read = |of: &mut Processes| {
        of.poll(Duration::from_millis(20), usize::MAX, &mut |item| {
            all.extend(RawProcess::parse(item).as_ref().map(seen))
        })
        .expect("polls")
    };
    while !running.is_finished() {
        read(&mut of);
    }
    let gave = running.join().expect("it is done");
    of.detach().expect("detaches");
    while read(&mut of) > 0 {}
    let counters = of.counters().expect("counters");
    assert_eq!((counters.gap(), counters.dropped_ring, counters.missed), (0, 0, 0), "{counters:?}");
    assert_eq!(counters.submitted, all.len() as u64);
    (all, gave)
}

/// Ids and statuses that the program printed, of what it did.
fn run(arguments: &[&str]) -> Option<(Vec<Seen>, BTreeMap<u32, i32>)> {
    let of = processes()?;
    let program = Stopped::start(&PROGRAM.1, arguments);
    let (all, lines) = all_told(of, || program.go());
    let pair = |line: String| {
        let (pid, status) = line.split_once(' ').expect("two numbers");
        (pid.parse().expect("an id"), status.parse().expect("a status"))
    };
    Some((all, lines.into_iter().map(pair).collect()))
}

fn life(all: &[Seen], pid: u32) -> Vec<Seen> {
    all.iter().filter(|seen| seen.key.0 == pid).cloned().collect()
}

fn changes(life: &[Seen]) -> Vec<ProcessChange> {
    life.iter().map(|seen| seen.change).collect()
}

#[test]
fn lives_that_eight_threads_start_at_once_are_told_once_each_in_their_order() {
    let _alone = alone();
    let Some((all, ended)) = run(&["threads", "200"]) else { return };
    assert_eq!(ended.len(), 1_600, "no id was given twice");
    for (pid, status) in ended {
        let life = life(&all, pid);
        let has_program = life.len() == 3;
        assert_eq!(changes(&life), if has_program { vec![Fork, Exec, Exit] } else { vec![Fork, Exit] }, "{life:?}");
        assert!(life.iter().all(|seen| (seen.key, seen.parent) == (life[0].key, life[0].parent)), "{life:?}");
        let end = &life[life.len() - 1];
        assert_eq!((end.exit_code, end.comm.as_str()), (status, if has_program { "true" } else { "processes" }));
        if has_program {
            assert!(life[1].exe.ends_with("/true"), "{:?}", life[1]);
            assert_eq!(life[1].cmdline, b"true\0of\0its\0life\0");
        }
    }
}

#[test]
fn a_process_ends_once_with_its_last_thread_whichever_that_is() {
    let _alone = alone();
    let Some((all, ended)) = run(&["last-threads", "0"]) else { return };
    assert_eq!(ended.len(), 201);
    for (pid, status) in ended {
        let life = life(&all, pid);
        assert_eq!(changes(&life), [Fork, Exit], "{life:?}");
        assert_eq!(life[1].exit_code, status);
    }
}

#[test]
fn a_program_that_another_thread_starts_is_its_process_s() {
    let _alone = alone();
    let Some((all, ended)) = run(&["by-thread", "/bin/true"]) else { return };
    let life = life(&all, *ended.keys().next().expect("one"));
    assert_eq!(changes(&life), [Fork, Exec, Exit]);
    assert_eq!((life[1].cmdline.as_slice(), life[1].key), (&b"/bin/true\0by a thread\0"[..], life[0].key));
}

#[test]
fn descriptors_and_the_time_that_it_ran_are_counted() {
    let _alone = alone();
    let Some((all, ended)) = run(&["descriptors", "40"]) else { return };
    let life = life(&all, *ended.keys().next().expect("one"));
    // Those that the tests' own process handed on are there too.
    assert!(life[1].open_files >= 44 && life[1].open_files < 200 && life[1].sockets >= 40, "{:?}", life[1]);
    let ran_ns = life[2].ran_ns;
    assert!((10_000_000..60_000_000_000).contains(&ran_ns), "{ran_ns}");
}

/// A copy of a harmless program.
fn copy(to: &Path) {
    fs::copy(fs::canonicalize("/bin/sleep").expect("it is there"), to).expect("copies");
    fs::set_permissions(to, fs::Permissions::from_mode(0o4755)).expect("may be run");
}

const STARTS: &str = r#"exec "$0" "$1""#;

/// What a program that a shell starts there shows in `/proc`, and what was told of it.
fn shown_and_told(program: PathBuf, folder: PathBuf, script: &'static str) -> Option<([String; 2], Seen)> {
    let of = processes()?;
    let (all, (pid, shown)) = all_told(of, move || {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(&program).arg("1000").current_dir(folder).stdin(Stdio::null());
        let mut child = shell.spawn().expect("starts");
        let shown = |name: &str| {
            let path = fs::read_link(format!("/proc/{}/{name}", child.id()));
            path.expect("it is there").to_string_lossy().into_owned()
        };
        while !shown("exe").contains(&*program.file_name().expect("a name").to_string_lossy()) {
            thread::sleep(Duration::from_millis(1));
        }
        let both = [shown("exe"), shown("cwd")];
        child.kill().expect("kills");
        child.wait().expect("ends");
        (child.id(), both)
    });
    let exec = life(&all, pid).into_iter().rfind(|seen| seen.change == Exec).expect("it was started");
    Some((shown, exec))
}

#[test]
fn paths_and_the_file_are_what_proc_shows() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let deep = (0..40).fold(folder.path().to_owned(), |path, n| path.join(format!("folder {n} \u{e9}")));
    fs::create_dir_all(&deep).expect("makes folders");
    copy(&deep.join("sleeper"));
    symlink(&deep, folder.path().join("link")).expect("links");
    let through_link = folder.path().join("link/sleeper");
    let Some((shown, told)) = shown_and_told(through_link.clone(), deep.clone(), STARTS) else { return };
    assert_eq!([&told.exe, &told.cwd], [&shown[0], &shown[1]]);
    let file = fs::metadata(&through_link).expect("it is there");
    let changed_ns = i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec());
    assert_eq!((told.inode, told.mode & 0o7777, told.changed_ns), (file.ino(), 0o4755, changed_ns));
    assert_eq!((told.deleted, told.cut), ([false; 2], [false; 2]));

    // Of a mount in a namespace of its own, as its process sees it.
    let mount = folder.path().join("mount");
    fs::create_dir(&mount).expect("makes a folder");
    let script = r#"mount -t tmpfs none "$1" && cp "$0" "$1/inner" && cd "$1" && ./inner 0"#;
    let (program, at) = (deep.join("sleeper"), mount.clone());
    let (all, ()) = all_told(processes().expect("as before"), move || {
        let mut unshare = Command::new("unshare");
        let status = unshare.args(["--mount", "sh", "-c", script]).arg(program).arg(at).status();
        assert!(status.expect("unshare").success());
    });
    let inner = all.iter().find(|seen| seen.exe.ends_with("/inner")).expect("it ran");
    assert_eq!((Path::new(&inner.exe), Path::new(&inner.cwd)), (mount.join("inner").as_path(), mount.as_path()));
    assert_eq!(inner.fs_type, "tmpfs");
}

#[test]
fn what_is_gone_and_what_is_too_long_is_said() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let longer = (0..70).fold(folder.path().to_owned(), |path, n| path.join(n.to_string()));
    fs::create_dir_all(&longer).expect("makes folders");
    copy(&longer.join("sleeper"));
    let Some((shown, told)) = shown_and_told(longer.join("sleeper"), folder.path().to_owned(), STARTS) else { return };
    assert_eq!(told.cut, [true, false]);
    assert!(shown[0].ends_with(&told.exe), "its end is there: {}", told.exe);

    let gone = folder.path().join("gone");
    fs::create_dir(&gone).expect("makes a folder");
    copy(&folder.path().join("sleeper"));
    let script = r#"rmdir "$PWD" && exec "$0" "$1""#;
    let (shown, told) = shown_and_told(folder.path().join("sleeper"), gone, script).expect("as before");
    assert_eq!((told.deleted, format!("{} (deleted)", told.cwd)), ([false, true], shown[1].clone()));
}
