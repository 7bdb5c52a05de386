//! The programs in the real kernel, on what whole hosts do: a fork bomb in a control group, millions of calls, an id that is given again,
//! and namespaces as containers have them. Every call comes out or is counted.
//!
//! Needs root and BTF; where that is not to be had it says so loudly and counts as skipped. How fast calls are is printed and not
//! asserted: `make bench-agent` measures it.

use amoskys_ebpf::{
    Filters, List, Probe, Rule, SeenAt, at_each_place,
    testing::{Stopped, compile, probe_at},
};
use std::{
    collections::BTreeSet,
    fs,
    io::{Write, stderr},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(120);

/// Tests look at counters of the whole host.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

static HOSTS: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("hosts");
    compile(Path::new("tests/hosts.c"), &program);
    (folder, program)
});

/// Of one call of all processes.
fn probe_of_all(at: SeenAt) -> Option<Probe> {
    let rules = [Rule { number: libc::SYS_openat as u32, name: "openat", first_string: Some(1), ..Rule::default() }];
    probe_at(at, &rules, &rules, &Filters::default(), 1 << 20)
}

/// Of the calls of that program and of all that come from it.
fn probe_of(at: SeenAt, of: libc::c_long, name: &'static str, program: &Stopped, ring_bytes: u32) -> Option<Probe> {
    let number = u32::try_from(of).expect("a number");
    let rules = [Rule { number, name, first_string: Some(1), ..Rule::default() }];
    probe_at(at, &rules, &rules, &of_tree(program), ring_bytes)
}

#[derive(Debug)]
struct Call {
    pid: u32,
    uid: u32,
    started_ns: u64,
    /// Of the thread and of the process.
    names: [String; 2],
    path: String,
}

/// Lets the program go while its calls are read: what it printed, and those whose paths are of `/nonexistent`.
fn read_while_it_runs(probe: &mut Probe, program: Stopped, on_call: &mut dyn FnMut(Call)) -> Vec<String> {
    let running = thread::spawn(|| program.go());
    let mut read = |probe: &mut Probe| {
        let handed_over = probe.poll(Duration::from_millis(20), usize::MAX, &mut |of| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let path = text(of.first.unwrap_or_default());
            if path.starts_with("/nonexistent/") {
                on_call(Call {
                    pid: of.pid,
                    uid: of.uid,
                    started_ns: of.process_started_ns,
                    names: [of.comm, of.process_comm].map(text),
                    path,
                });
            }
        });
        handed_over.expect("polls")
    };
    while !running.is_finished() {
        read(probe);
    }
    while read(probe) > 0 {}
    running.join().expect("it ends")
}

/// Every call is accounted for: how many the ring had no room for.
fn dropped(probe: &Probe) -> u64 {
    let begun = Instant::now();
    loop {
        let counters = probe.counters().expect("counters");
        if counters.gap() == 0 {
            assert_eq!((counters.limited, counters.sampled_out, counters.dropped_in_flight), (0, 0, 0), "{counters:?}");
            return counters.dropped_ring;
        }
        assert!(begun.elapsed() < PATIENCE, "{counters:?}");
    }
}

fn of_tree(program: &Stopped) -> Filters {
    Filters { trees: List::Only(vec![program.pid()]), ..Filters::default() }
}

fn numbers(line: &str) -> Vec<u64> {
    line.split(' ').map(|number| number.parse().expect("a number")).collect()
}

/// A control group that lets so many processes be at once; it goes with the value.
struct Group(PathBuf);

impl Group {
    /// `None` where there is none to be had, which is told.
    fn new(processes_max: u32) -> Option<Self> {
        let v1 = Path::new("/sys/fs/cgroup/pids");
        let root = if v1.is_dir() { v1 } else { Path::new("/sys/fs/cgroup") };
        let group = Self(root.join(format!("amoskys-test-{}", std::process::id())));
        let made =
            fs::create_dir(&group.0).and_then(|()| fs::write(group.0.join("pids.max"), processes_max.to_string()));
        match made {
            Ok(()) => Some(group),
            Err(error) => {
                let _ = writeln!(stderr(), "SKIPPED: no control group may be made in {}: {error}", root.display());
                None
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let begun = Instant::now();
        // Its last processes are gone in a moment.
        while fs::remove_dir(&self.0).is_err() && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

at_each_place! {
    fn of_a_fork_bomb_in_a_control_group_every_process_is_seen(at) {
        const COUNT: u64 = 5_000;
        let _alone = alone();
        let program = Stopped::start(&HOSTS.1, &["bomb", &COUNT.to_string()]);
        let Some(mut probe) = probe_of(at, libc::SYS_openat, "openat", &program, 1 << 23) else { return };
        let Some(group) = Group::new(150) else { return };
        fs::write(group.0.join("cgroup.procs"), program.pid().to_string()).expect("moved");
        let mut pids = Vec::new();
        let printed = read_while_it_runs(&mut probe, program, &mut |call| pids.push((call.pid, call.started_ns)));
        let [forked, refused, opened] = numbers(&printed[0])[..] else { panic!("{printed:?}") };
        assert!(forked > 1_000 && refused > 0, "it was a bomb, and it was held: {printed:?}");
        assert_eq!((pids.len() as u64, dropped(&probe)), (opened, 0));
        let processes: BTreeSet<(u32, u64)> = pids.iter().copied().collect();
        assert_eq!(processes.len() as u64, forked, "each is a process of its own, whatever id it has");
    }

    fn millions_of_calls_as_fast_as_they_can_be_made_come_out_or_are_counted(at) {
        const COUNT: u64 = 1_500_000;
        let _alone = alone();
        let program = Stopped::start(&HOSTS.1, &["busy", &COUNT.to_string()]);
        let Some(mut probe) = probe_of(at, libc::SYS_fchmodat, "fchmodat", &program, 1 << 23) else { return };
        let mut told = 0;
        let printed = read_while_it_runs(&mut probe, program, &mut |call| {
            assert_eq!(call.names, ["worker", "hosts"], "a thread has a name of its own");
            told += u64::from(call.path == "/nonexistent/busy");
        });
        let lost = dropped(&probe);
        assert_eq!(told + lost, 2 * COUNT);
        assert!(told > 0);
        let seconds = numbers(&printed[0])[0] as f64 / 1e9;
        println!("{:.2} million calls per second, {told} of {} told", 2.0 * COUNT as f64 / 1e6 / seconds, 2 * COUNT);
    }

    fn two_processes_of_one_id_are_two(at) {
        let _alone = alone();
        let program = Stopped::start(&HOSTS.1, &["reuse"]);
        let Some(mut probe) = probe_of(at, libc::SYS_openat, "openat", &program, 1 << 20) else { return };
        let mut calls = Vec::new();
        let printed = read_while_it_runs(&mut probe, program, &mut |call| calls.push(call));
        assert_eq!(printed[0], printed[1], "the kernel gave the id again");
        let paths: Vec<&str> = calls.iter().map(|call| call.path.as_str()).collect();
        assert_eq!(paths, ["/nonexistent/first", "/nonexistent/second"]);
        assert!(calls.iter().all(|call| call.pid.to_string() == printed[0]), "{calls:?}");
        assert!(calls[0].started_ns < calls[1].started_ns, "{calls:?}");
        assert_eq!(dropped(&probe), 0);
    }

    fn a_process_in_namespaces_of_its_own_is_told_by_what_the_host_knows_it_by(at) {
        let _alone = alone();
        let program = Stopped::start(&HOSTS.1, &["inside"]);
        let Some(mut probe) = probe_of(at, libc::SYS_openat, "openat", &program, 1 << 20) else { return };
        let mut calls = Vec::new();
        let printed = read_while_it_runs(&mut probe, program, &mut |call| calls.push(call));
        if printed[0].starts_with("refused") {
            let _ = writeln!(stderr(), "SKIPPED: namespaces of its own are {} here", printed[0]);
            return;
        }
        // There it is process 1 of a user that nobody has mapped.
        assert_eq!(calls[0].path, "/nonexistent/inside/1/65534");
        assert_eq!((calls.len(), calls[0].pid.to_string()), (1, printed[0].clone()));
        assert_eq!(calls[0].uid, rustix::process::getuid().as_raw(), "as the host knows it");
        assert_eq!(dropped(&probe), 0);
    }
}

const HOLDER: &str = "AMOSKYS_TEST_HOLDS_PROGRAMS";

/// Numbers of programs in the kernel that are called as ours are, whoever loaded them.
fn programs() -> BTreeSet<u32> {
    let all = aya::programs::loaded_programs().flatten();
    let ours = |name: &str| {
        ["sys_enter", "sys_exit"].contains(&name) || name.starts_with("enter_1") || name.starts_with("exit_1")
    };
    all.filter(|of| of.name_as_str().is_some_and(ours)).map(|of| of.id()).collect()
}

at_each_place! {
    fn nothing_is_left_in_the_kernel_of_a_process_that_is_killed(at) {
        let _alone = alone();
        if std::env::var_os(HOLDER).is_some() {
            let _probe = probe_of_all(at).expect("loads");
            println!("loaded");
            // Until killed, or the one that started it is gone.
            let _ = std::io::stdin().read_line(&mut String::new());
            return;
        }
        let Some(mine) = probe_of_all(at) else { return };
        drop(mine);
        let before = programs();
        let mut holder = std::process::Command::new(std::env::current_exe().expect("this program"));
        holder
            .args(["--exact", thread::current().name().expect("the test's"), "--nocapture"])
            .env(HOLDER, "1");
        let mut holder =
            holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().expect("runs itself");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(holder.stdout.take().expect("piped")));
        assert!(lines.any(|line| line.expect("text").contains("loaded")));
        let loaded: BTreeSet<u32> = programs().difference(&before).copied().collect();
        assert!(loaded.len() >= 2, "{loaded:?}");
        holder.kill().expect("killed");
        holder.wait().expect("it is gone");
        let begun = Instant::now();
        // The kernel lets go of them in the background.
        while !programs().is_disjoint(&loaded) {
            assert!(begun.elapsed() < PATIENCE, "{loaded:?} of {:?}", programs());
            thread::sleep(Duration::from_millis(20));
        }
    }
}
