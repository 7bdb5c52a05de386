//! The process source against the real kernel: real children, real eBPF and the real process connector. Needs root on the host.

mod support;

use amoskys_collectors::{AgentHandle, ProcessMode, WalFull, ledger::Loss};
use amoskys_proto::v1::{ProcessEvent, ProcessEventKind as Kind};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use support::{children::Running, *};
use tempfile::TempDir;

fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Running {
    Running::start(Command::new(program.as_ref()).args(arguments).stdin(Stdio::null()))
}

/// What the kernel could not tell.
fn lost(agent: &AgentHandle) -> u64 {
    let numbers = agent.numbers();
    numbers.kernel_lost_messages + numbers.ledger.dropped_as(Loss::RingFull) + numbers.ledger.dropped_as(Loss::Missed)
}

fn sleep_program() -> PathBuf {
    fs::canonicalize("/bin/sleep").expect("there is a sleep")
}

/// A copy of a harmless program in memory-backed storage.
fn copy_in_memory(folder: &TempDir, name: &str) -> PathBuf {
    let copy = folder.path().join(name);
    fs::copy(sleep_program(), &copy).expect("copies");
    copy
}

fn memory_folder() -> TempDir {
    tempfile::Builder::new().prefix("amoskys-test-").tempdir_in("/dev/shm").expect("a folder in /dev/shm")
}

fn me() -> String {
    std::env::current_exe().expect("a path").to_string_lossy().into_owned()
}

by_each_source! {
    fn a_child_is_seen_from_start_to_end(source) {
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let (agent, registry) = start_listening(listening_config(folder.path(), source), &bus);
        let by = if source == ProcessMode::Ebpf { "ebpf" } else { "proc_connector" };
        assert_eq!(agent.status().process_source, by);
        let mut child = run("/bin/sleep", &["1000", "2000"]);
        let pid = child.pid();
        let fork = bus.wait_for_kind(pid, Kind::Fork);
        let exec = bus.wait_for_kind(pid, Kind::Exec);
        child.end();
        let exit = bus.wait_for_kind(pid, Kind::Exit);

        assert_eq!((fork.parent_pid, fork.exe.as_str()), (std::process::id(), me().as_str()));
        assert_eq!((exec.parent_pid, exec.parent_exe.as_str()), (std::process::id(), me().as_str()));
        assert_eq!((exec.exe.as_str(), exec.comm.as_str()), (sleep_program().to_string_lossy().as_ref(), "sleep"));
        assert_eq!(exec.cmdline, "/bin/sleep 1000 2000");
        assert_eq!(exec.cwd, std::env::current_dir().expect("a folder").to_string_lossy());
        assert_eq!((exec.uid, exec.euid), (0, 0), "these tests run as root");
        assert!(!exec.exe_deleted && !exec.exe_fs_type.is_empty() && exec.open_files >= 3, "{exec:?}");
        assert_eq!(exec.unreadable, Vec::<String>::new());
        assert_eq!((exit.comm.as_str(), exit.exit_code), ("sleep", 9), "ended by SIGKILL");
        assert!(exit.lifetime_us > 0);
        assert!(fork.process_key != 0 && fork.process_key == exec.process_key && exec.process_key == exit.process_key);
        assert_eq!(fork.process_key & 0x3f_ffff, u64::from(pid));
        assert_eq!((&fork.started_at, &exec.started_at), (&exec.started_at, &exit.started_at));
        agent.stop(Duration::from_secs(30));
        agent.join();
        assert_identity(&scrape(&registry));
    }

    fn exit_codes_are_wait_statuses_and_grandchildren_name_their_shell(source) {
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let (_agent, _) = start_listening(listening_config(folder.path(), source), &bus);
        // It lives until its input is closed, so it is there when it is read.
        let shell = Command::new("/bin/sh").args(["-c", "/bin/cat; exit 3"]).stdin(Stdio::piped()).spawn();
        let mut shell = Running(shell.expect("there is a shell"));
        let pid = shell.pid();
        let grandchild = bus.wait_for("the grandchild", |event| event.kind() == Kind::Exec && event.parent_pid == pid);
        assert_eq!((grandchild.cmdline.as_str(), grandchild.parent_comm.as_str()), ("/bin/cat", "sh"));
        drop(shell.0.stdin.take());
        shell.0.wait().expect("it ends by itself");
        assert_eq!(bus.wait_for_kind(pid, Kind::Exit).exit_code, 3 << 8);
    }

    fn every_one_of_many_short_lives_is_told_whole(source) {
        const CHILDREN: usize = 200;
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Take);
        let (agent, _) = start_listening(listening_config(folder.path(), source), &bus);
        let pids: Vec<u32> = (0..CHILDREN)
            .map(|_| {
                let mut child = run("/bin/true", &[]);
                child.0.wait().expect("it ends by itself");
                child.pid()
            })
            .collect();
        for pid in &pids {
            bus.wait_for_kind(*pid, Kind::Exit);
        }
        let events = bus.events();
        for pid in pids {
            let life: Vec<&ProcessEvent> = events.iter().filter(|event| event.pid == pid).collect();
            let kinds: Vec<Kind> = life.iter().map(|event| event.kind()).collect();
            assert_eq!(kinds, [Kind::Fork, Kind::Exec, Kind::Exit], "process {pid}");
            assert!(life.iter().all(|event| event.process_key == life[0].process_key && event.process_key != 0));
            assert!(life.iter().all(|event| event.parent_pid == std::process::id()));
            // What could not be read in time is said, not made up; and what is told is there.
            let is_unreadable = source == ProcessMode::Connector && life[1].unreadable.contains(&"exe".to_owned());
            assert!(life[1].exe.ends_with("/true") || is_unreadable, "{:?}", life[1]);
        }
        assert_eq!(lost(&agent), 0);
    }

    fn a_binary_deleted_while_it_runs_is_seen_at_the_second_look(source) {
        let (folder, memory) = (TempDir::new().expect("a folder"), memory_folder());
        let bus = FakeBus::new(Mode::Take);
        let mut config = listening_config(folder.path(), source);
        config.process.exe_recheck_after = Duration::from_millis(300);
        let (_agent, _) = start_listening(config, &bus);
        let program = copy_in_memory(&memory, "kworker");
        let child = run(&program, &["1000"]);
        fs::remove_file(&program).expect("removes");
        let found = bus.wait_for("the deletion", |event| event.pid == child.pid() && event.exe_deleted);
        assert_eq!((found.exe.as_str(), found.exe_fs_type.as_str()), (program.to_string_lossy().as_ref(), "tmpfs"));
    }

    fn a_binary_deleted_while_it_runs_is_seen_by_a_snapshot(source) {
        let (folder, memory) = (TempDir::new().expect("a folder"), memory_folder());
        let bus = FakeBus::new(Mode::Take);
        let mut config = listening_config(folder.path(), source);
        config.process.exe_recheck_after = Duration::ZERO;
        config.process.snapshot_interval = Duration::from_millis(200);
        let (_agent, _) = start_listening(config, &bus);
        let program = copy_in_memory(&memory, "kworker");
        let child = run(&program, &["1000"]);
        let exec = bus.wait_for_kind(child.pid(), Kind::Exec);
        assert!(!exec.exe_deleted);
        fs::remove_file(&program).expect("removes");
        let found = bus.wait_for("the deletion", |event| event.pid == child.pid() && event.exe_deleted);
        assert_eq!((found.kind(), found.process_key), (Kind::Snapshot, exec.process_key));
    }

    fn a_path_that_really_ends_so_is_not_taken_for_deleted(source) {
        let (folder, memory) = (TempDir::new().expect("a folder"), memory_folder());
        let bus = FakeBus::new(Mode::Take);
        let (_agent, _) = start_listening(listening_config(folder.path(), source), &bus);
        let program = copy_in_memory(&memory, "tool (deleted)");
        let child = run(&program, &["1000"]);
        let exec = bus.wait_for_kind(child.pid(), Kind::Exec);
        assert_eq!((exec.exe.as_str(), exec.exe_deleted), (program.to_string_lossy().as_ref(), false));
    }

    fn set_user_id_programs_and_programs_without_a_file_are_told(source) {
        let (folder, memory) = (TempDir::new().expect("a folder"), memory_folder());
        let bus = FakeBus::new(Mode::Take);
        let (_agent, _) = start_listening(listening_config(folder.path(), source), &bus);
        let program = copy_in_memory(&memory, "privileged");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("sets the bit");
        let child = run(&program, &["1000"]);
        assert!(bus.wait_for_kind(child.pid(), Kind::Exec).exe_setuid);

        let file = rustix::fs::memfd_create("payload", rustix::fs::MemfdFlags::empty()).expect("a memfd");
        rustix::io::write(&file, &[]).expect("writes nothing");
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file));
        fs::write(&path, fs::read(sleep_program()).expect("reads")).expect("writes");
        let child = run(&path, &["1000"]);
        let exec = bus.wait_for_kind(child.pid(), Kind::Exec);
        assert_eq!((exec.exe.as_str(), exec.exe_fs_type.as_str(), exec.exe_deleted), ("/memfd:payload", "memfd", true));
    }
}

#[test]
fn without_the_connector_comparing_snapshots_gives_starts_and_exits() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Take);
    let mut config = listening_config(folder.path(), ProcessMode::Connector);
    config.process.source = ProcessMode::Snapshots;
    config.process.snapshot_interval = Duration::from_millis(100);
    let (agent, _) = start(config, &bus);
    assert_eq!(agent.status().process_source, "snapshots");
    bus.wait_for_kind(std::process::id(), Kind::Snapshot);
    let mut child = run("/bin/sleep", &["1000"]);
    let pid = child.pid();
    let fork = bus.wait_for_kind(pid, Kind::Fork);
    let exec = bus.wait_for_kind(pid, Kind::Exec);
    assert_eq!((fork.parent_pid, exec.cmdline.as_str()), (std::process::id(), "/bin/sleep 1000"));
    assert_eq!(exec.parent_exe, me());
    child.end();
    let exit = bus.wait_for_kind(pid, Kind::Exit);
    assert_eq!((exit.comm.as_str(), exit.process_key), ("sleep", exec.process_key));
    assert!(exit.unreadable.contains(&"stat".to_owned()), "the exit code is not known");
}

/// In a network namespace of its own a process has no connector, and without its capabilities no eBPF. This test runs itself again so.
#[test]
fn where_neither_can_be_had_the_agent_says_so_and_falls_back() {
    const INSIDE: &str = "AMOSKYS_TEST_INSIDE";
    const NAME: &str = "where_neither_can_be_had_the_agent_says_so_and_falls_back";
    if std::env::var_os(INSIDE).is_none() {
        let mut again = Command::new("unshare");
        again.args(["--net", "setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"]).arg(me());
        let again = again.args(["--exact", NAME]).env(INSIDE, "1").status();
        return assert!(again.expect("unshare and setpriv (util-linux) run").success(), "see above");
    }
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Take);
    let mut config = listening_config(folder.path(), ProcessMode::Connector);
    for (source, word) in
        [(ProcessMode::Connector, "process connector"), (ProcessMode::Ebpf, "CAP_BPF and CAP_PERFMON")]
    {
        config.process.source = source;
        let demanded = amoskys_collectors::Agent::start(
            config.clone(),
            std::sync::Arc::new(bus.clone()),
            &mut prometheus_client::registry::Registry::default(),
        );
        let error = demanded.err().expect("it cannot be had here").to_string();
        assert!(error.contains(word), "{error}");
    }
    config.process.source = ProcessMode::Auto;
    let (agent, registry) = start(config, &bus);
    assert_eq!(agent.status().process_source, "snapshots");
    assert_eq!(sample(&scrape(&registry), "amoskys_agent_processes_told_sources"), 0.0);
    bus.wait_for_kind(std::process::id(), Kind::Snapshot);
}

by_each_source! {
    fn an_agent_that_may_not_drop_lets_the_kernel_drop_and_counts_it(source) {
        let folder = TempDir::new().expect("a folder");
        let bus = FakeBus::new(Mode::Away);
        let mut config = listening_config(folder.path(), source);
        config.queue_events_max = 1;
        config.batch.events_max = 1;
        config.wal.bytes_max = 1;
        config.wal.when_full = WalFull::Block;
        config.process.connector_buffer_bytes = 4_096;
        config.process.ring_bytes = 4_096;
        let (agent, registry) = start(config, &bus);
        wait_until("the WAL to be full", || agent.numbers().wal_records == 1);
        for _ in 0..100 {
            run("/bin/true", &[]).0.wait().expect("it ends by itself");
        }
        let by_kernel = agent.numbers().ledger.dropped_as(Loss::RingFull);
        assert_eq!(agent.status().events_dropped, by_kernel, "nothing is dropped by the agent");
        bus.set(Mode::Take);
        wait_until("the loss to be noticed", || {
            run("/bin/true", &[]).0.wait().expect("it ends by itself");
            lost(&agent) > 0
        });
        agent.stop(Duration::from_secs(30));
        agent.join();
        assert_identity(&scrape(&registry));
    }
}
