//! Who a process is and where it came from, on the real kernel: reused ids, short lives, logins, terminals, digests and
//! packages. Needs root on the host.

mod support;

use amoskys_collectors::ProcessMode;
use amoskys_proto::v1::{ProcessEvent, ProcessEventKind as Kind};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use support::{children::Running, *};
use tempfile::TempDir;

/// One test at a time: where one has ids given again, others would see two processes of one id.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy of a program, under a name of its own.
fn copy(folder: &TempDir, program: &str, name: &str) -> PathBuf {
    let copy = folder.path().join(name);
    fs::copy(fs::canonicalize(program).expect("it is there"), &copy).expect("copies");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("may be run");
    copy
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn me() -> String {
    text(&std::env::current_exe().expect("a path"))
}

/// Of coreutils.
fn sha256sum(path: &Path) -> String {
    let said = Command::new("sha256sum").arg(path).output().expect("coreutils").stdout;
    String::from_utf8_lossy(&said).split(' ').next().expect("a digest").to_owned()
}

/// A shell that leaves a child behind, and that child.
struct Family {
    parent: Running,
    child: u32,
}

impl Family {
    fn start(shell: &Path) -> Self {
        let mut command = Command::new(shell);
        command.args(["-c", "/bin/sleep 1000 & echo $!; read line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut parent = Running::start(&mut command);
        let mut line = String::new();
        BufReader::new(parent.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        Self { parent, child: line.trim().parse().expect("an id") }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", &self.child.to_string()]).status();
    }
}

/// Starts families until one has that id, which the kernel is asked to give next.
fn family_with_id(pid: u32, shell: &Path) -> Family {
    for _ in 0..2_000 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("these tests need root on the host");
        let family = Family::start(shell);
        if family.parent.pid() == pid {
            return family;
        }
    }
    panic!("others took the id {pid} each time");
}

by_each_source! {
    fn a_reused_id_is_two_processes_each_with_its_own_lineage(source) {
        let _alone = alone();
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let (agent, registry) = start_listening(listening_config(folder.path(), source), &bus);
        let (first, second) = (copy(&folder, "/bin/sh", "first"), copy(&folder, "/bin/sh", "second"));
        let mut before = Family::start(&first);
        let pid = before.parent.pid();
        bus.wait_for_kind(before.child, Kind::Exec);
        before.parent.end();
        bus.wait_for_kind(pid, Kind::Exit);
        // Start times are told in hundredths of a second.
        thread::sleep(Duration::from_millis(50));
        let mut after = family_with_id(pid, &second);
        let exec_of =
            |shell: &Path| bus.wait_for("the shell", |e| e.pid == pid && e.kind() == Kind::Exec && e.exe == text(shell));
        let (one, two) = (exec_of(&first), exec_of(&second));
        assert_ne!(one.process_key, two.process_key);
        assert_eq!((one.process_key & 0x3f_ffff, two.process_key & 0x3f_ffff), (pid.into(), pid.into()));

        // The child that the first left behind is still the first's, now that the second has its id.
        for (family, shell) in [(&before, &first), (&after, &second)] {
            // Others had its id while the right one was waited for.
            let fork = bus.wait_for("the child", |e| {
                (e.pid, e.kind(), e.parent_pid, e.parent_exe.as_str())
                    == (family.child, Kind::Fork, pid, text(shell).as_str())
            });
            assert_eq!(fork.ancestors[..2], [text(shell), me()]);
            assert!(Command::new("kill").args(["-9", &family.child.to_string()]).status().expect("kill").success());
            let exit = bus.wait_for("its end", |e| {
                e.pid == family.child && e.kind() == Kind::Exit && e.process_key == fork.process_key
            });
            assert_eq!(
                (exit.ancestors[..2].to_vec(), exit.parent_exe.as_str()),
                (vec![text(shell), me()], text(shell).as_str())
            );
        }
        after.parent.end();
        bus.wait_for("the second's end", |e| e.kind() == Kind::Exit && e.process_key == two.process_key);
        let all: Vec<ProcessEvent> = bus.events().into_iter().filter(|event| event.pid == pid).collect();
        for (key, shell) in [(one.process_key, &first), (two.process_key, &second)] {
            let life: Vec<&ProcessEvent> = all.iter().filter(|event| event.process_key == key).collect();
            let kinds: Vec<Kind> = life.iter().map(|event| event.kind()).collect();
            assert_eq!(kinds, [Kind::Fork, Kind::Exec, Kind::Exit]);
            assert_eq!((life[1].exe.clone(), life[2].exe.clone()), (text(shell), text(shell)));
        }
        agent.stop(Duration::from_secs(30));
        agent.join();
        assert_identity(&scrape(&registry));
    }

    fn lives_of_a_millisecond_come_out_with_their_whole_lineage(source) {
        let _alone = alone();
        const LIVES: usize = 300;
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        // Snapshots come once an hour, so that all of this is from the kernel's reports.
        let (agent, _) = start_listening(listening_config(folder.path(), source), &bus);
        let (outer, inner) = (copy(&folder, "/bin/sh", "outer"), copy(&folder, "/bin/sh", "inner"));
        let script = format!("i=0; while [ $i -lt {LIVES} ]; do /bin/true; i=$((i+1)); done; :");
        let mut shell = Command::new(&outer);
        shell.args(["-c", &format!("{} -c '{script}'; :", inner.display())]);
        assert!(Running::start(&mut shell).0.wait().expect("it ends by itself").success());
        let of_inner = |event: &ProcessEvent| event.parent_exe == text(&inner);
        let ended = |events: &[ProcessEvent]| events.iter().filter(|e| of_inner(e) && e.kind() == Kind::Exit).count();
        wait_until("all of them", || ended(&bus.events()) == LIVES);
        let events = bus.events();
        let mut lifetimes_us: Vec<u64> = Vec::new();
        let (mut with_exe, mut with_digest) = (0, 0);
        for exit in events.iter().filter(|event| of_inner(event) && event.kind() == Kind::Exit) {
            let life: Vec<&ProcessEvent> = events.iter().filter(|event| event.process_key == exit.process_key).collect();
            let kinds: Vec<Kind> = life.iter().map(|event| event.kind()).collect();
            assert_eq!(kinds, [Kind::Fork, Kind::Exec, Kind::Exit], "process {}", exit.pid);
            for event in &life {
                assert_eq!(event.ancestors[..3], [text(&inner), text(&outer), me()], "{event:?}");
            }
            with_exe += usize::from(life[1].exe.ends_with("/true"));
            with_digest += usize::from(life[1].exe_sha256.len() == 64);
            lifetimes_us.push(exit.lifetime_us);
        }
        assert_eq!(with_exe, with_digest, "whoever was read in time was hashed in time");
        assert!(source == ProcessMode::Connector || with_exe == LIVES, "{with_exe} of {LIVES} are told whole");
        lifetimes_us.sort_unstable();
        eprintln!(
            "{LIVES} lives, half of them shorter than {} µs; {with_exe} executables read in time",
            lifetimes_us[LIVES / 2]
        );
        assert_eq!(agent.numbers().kernel_lost_messages, 0);
    }

    fn a_lineage_is_as_long_as_it_may_be(source) {
        let _alone = alone();
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let mut config = listening_config(folder.path(), source);
        config.process.ancestors_max = 2;
        let (_agent, _) = start_listening(config, &bus);
        let child = Running::start(Command::new("/bin/sleep").arg("1000"));
        let exec = bus.wait_for_kind(child.pid(), Kind::Exec);
        assert_eq!((exec.ancestors.len(), exec.ancestors[0].as_str()), (2, me().as_str()));
        // Those that were there before the agent have theirs too, whatever the order of their ids.
        let mine = bus.wait_for_kind(std::process::id(), Kind::Snapshot);
        assert_eq!(mine.ancestors[0], exec.ancestors[1]);
    }

    fn a_login_and_its_terminal_are_told_of_all_that_comes_from_it(source) {
        let _alone = alone();
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let (_agent, _) = start_listening(listening_config(folder.path(), source), &bus);
        let service = Running::start(Command::new("setsid").args(["/bin/sleep", "1001"]));
        let program = copy(&folder, "/bin/sleep", "of-login");
        // `script` gives its command a terminal.
        let login = format!("echo 4242 > /proc/self/loginuid; {} 1000; :", program.display());
        let mut script = Command::new("script");
        script.args(["-qec", &login, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let _script = Running::start(&mut script);
        let exec = bus.wait_for("the login", |event| event.kind() == Kind::Exec && event.exe == text(&program));
        if Path::new("/proc/self/loginuid").exists() {
            assert_eq!(exec.login_uid, Some(4242));
        }
        assert!(exec.tty.starts_with("pts/"), "{}", exec.tty);
        let session = bus.wait_for("its shell", |event| event.pid == exec.parent_pid && event.kind() == Kind::Exec);
        assert_eq!((exec.session_id, exec.parent_pid), (session.pid, session.pid), "the shell leads the session");
        let fork = bus.wait_for_kind(exec.pid, Kind::Fork);
        assert_eq!((fork.session_id, fork.tty), (exec.session_id, exec.tty));
        let service = bus.wait_for("the service", |e| {
            e.kind() == Kind::Exec && e.cmdline == "/bin/sleep 1001" && e.pid == service.pid()
        });
        assert_eq!((service.tty.as_str(), service.session_id), ("", service.pid));
    }

    fn executables_have_their_digest_and_only_files_of_the_host_a_package(source) {
        let _alone = alone();
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let (agent, registry) = start_listening(listening_config(folder.path(), source), &bus);
        let sleep = fs::canonicalize("/bin/sleep").expect("there is a sleep");
        let of_host = Running::start(Command::new(&sleep).arg("1000"));
        let exec = bus.wait_for_kind(of_host.pid(), Kind::Exec);
        assert_eq!(exec.exe_sha256, sha256sum(&sleep));
        let has_dpkg = Path::new("/var/lib/dpkg/status").exists();
        if has_dpkg {
            let version = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "coreutils"]).output().expect("dpkg");
            let version = String::from_utf8(version.stdout).expect("text");
            assert_eq!((exec.package.as_str(), exec.package_version), ("coreutils", version));
        }
        let own = copy(&folder, "/bin/sleep", "own");
        let own_child = Running::start(Command::new(&own).arg("1000"));
        let exec = bus.wait_for_kind(own_child.pid(), Kind::Exec);
        assert_eq!((exec.exe_sha256, exec.package.as_str()), (sha256sum(&own), ""));

        // In another mount namespace the same path is another file.
        let other = copy(&folder, "/bin/cat", "other");
        let digest = sha256sum(&other);
        let inside = format!("mount --bind {} {} && exec {}", other.display(), sleep.display(), sleep.display());
        let mut namespace = Command::new("unshare");
        namespace.args(["--mount", "--propagation", "private", "sh", "-c", &inside]).stdin(Stdio::piped());
        let contained = Running::start(&mut namespace);
        let exec = bus.wait_for("the contained", |event| {
            event.pid == contained.pid() && event.kind() == Kind::Exec && event.exe == text(&sleep)
        });
        assert_eq!((exec.exe_sha256, exec.package.as_str()), (digest, ""));
        assert!(agent.numbers().hashed_files >= 3);
        assert!(sample(&scrape(&registry), "amoskys_agent_hashed_files_total") >= 3.0);
    }

    /// Without any digests nothing waits, and nothing is said to be missing.
    fn an_agent_that_is_not_to_hash_does_not(source) {
        let _alone = alone();
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let mut config = listening_config(folder.path(), source);
        config.process.files.sha256_file_bytes_max = 0;
        config.process.files.dpkg_folder = None;
        let (agent, _) = start_listening(config, &bus);
        let child = Running::start(Command::new("/bin/sleep").arg("1000"));
        let exec = bus.wait_for_kind(child.pid(), Kind::Exec);
        assert_eq!((exec.exe_sha256.as_str(), exec.package.as_str(), exec.unreadable.len()), ("", "", 0));
        assert_eq!(agent.numbers().hashed_files, 0);
    }
}
