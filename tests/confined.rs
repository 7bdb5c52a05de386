//! A real agent that has confined itself: what each of its threads has left, and that it sees and publishes as before; as root, and as the user
//! and with the rights that its systemd unit gives it.
//!
//! Needs root; without BTF, or where programs may not be loaded, it is looked at without eBPF, which is told.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::testing::NatsServer;
use amoskys_ebpf::{Filters, testing::probe};
use amoskys_proto::v1::{Envelope, ProcessBatch, ProcessEvent, ProcessEventKind, SyscallBatch};
use common::{
    Running, amoskys, free_port, http_get, open, read_all, send,
    telemetry::{SYSCALLS, TELEMETRY},
    until,
};
use prost::Message;
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::Write,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

/// Somebody, and somebody else.
const OTHER: u32 = 31_337;
const AGENT: u32 = 31_338;

fn bit(capability: &str) -> u64 {
    let number = match capability {
        "CAP_DAC_READ_SEARCH" => 2,
        "CAP_NET_ADMIN" => 12,
        "CAP_SYS_PTRACE" => 19,
        "CAP_SYS_NICE" => 23,
        "CAP_SYS_RESOURCE" => 24,
        "CAP_PERFMON" => 38,
        "CAP_BPF" => 39,
        other => panic!("{other} is not expected"),
    };
    1 << number
}

fn bits<'a>(capabilities: impl IntoIterator<Item = &'a str>) -> u64 {
    capabilities.into_iter().map(bit).sum()
}

/// Of a thread or a process, by `/proc`.
fn status(folder: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder.join("status")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(":\t")).map(|(key, value)| (key.into(), value.into())).collect()
}

fn set(status: &BTreeMap<String, String>, name: &str) -> u64 {
    u64::from_str_radix(&status[name], 16).expect("hexadecimal")
}

/// Each thread's name, and its status.
fn threads(pid: u32) -> Vec<(String, BTreeMap<String, String>)> {
    let listed = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    listed
        .map(|thread| {
            let status = status(&thread.expect("listed").path());
            (status.get("Name").cloned().unwrap_or_default(), status)
        })
        .collect()
}

fn events(address: &str) -> Vec<ProcessEvent> {
    let payloads = read_all(open(address).as_ref(), TELEMETRY, 1).concat();
    let envelopes = payloads.iter().map(|payload| Envelope::decode(payload.as_slice()).expect("an envelope"));
    envelopes.flat_map(|envelope| ProcessBatch::decode(envelope.payload).expect("a batch").events).collect()
}

/// A program of another user, which nobody else may read, run by that user with a variable.
fn others_program(folder: &Path) -> (String, Running) {
    let program = folder.join("others-program");
    fs::copy(fs::canonicalize("/bin/sleep").expect("there is one"), &program).expect("copied");
    chown(&program, Some(OTHER), Some(OTHER)).expect("root may");
    fs::set_permissions(&program, Permissions::from_mode(0o711)).expect("root may");
    let mut command = Command::new(&program);
    command.arg("1000").env("AMOSKYS_TEST_LANE", "left").uid(OTHER).gid(OTHER);
    (program.display().to_string(), Running(command.spawn().expect("it starts")))
}

struct Started {
    server: NatsServer,
    folder: tempfile::TempDir,
    port: u16,
    file: std::path::PathBuf,
    with_ebpf: bool,
}

/// A server, and an agent's file; everybody may enter the folder.
fn prepare(more: &str) -> Started {
    let with_ebpf = probe(&[], &Filters::default(), 1 << 12).is_some();
    let server = NatsServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("mine");
    let (file, port) = (folder.path().join("agent.toml"), free_port());
    let text = format!(
        "[agent]\nhost_id = \"here\"\nsign = false\nwal_path = \"{}\"\nbus_address = \"{}\"\nmetrics_port = {port}\n\
         health_port = {port}\nbatch_age = \"20ms\"\n{more}\n[process]\nsource = \"{}\"\nenvironment = [\"AMOSKYS_TEST_LANE\"]\n\
         [syscall]\nsource = \"{}\"\ncalls = [\"unshare\"]\n",
        folder.path().join("wal").display(),
        server.address(),
        if with_ebpf { "ebpf" } else { "connector" },
        if with_ebpf { "ebpf" } else { "off" },
    );
    fs::write(&file, text).expect("written");
    Started { server, folder, port, file, with_ebpf }
}

impl Started {
    fn state(&self) -> serde_json::Value {
        let (_, state) = http_get(self.port, "/state").expect("it serves");
        serde_json::from_str(&state).expect("JSON")
    }

    /// Until it runs, sees what another user starts, and has sent it.
    fn sees_and_sends(&self) {
        until("the agent runs", || http_get(self.port, "/readyz").is_some_and(|(ready, _)| ready));
        assert_eq!(self.state()["process_source"], if self.with_ebpf { "ebpf" } else { "proc_connector" });
        let (program, child) = others_program(self.folder.path());
        let address = self.server.address().to_string();
        let mut told = None;
        until("the other user's program is told", || {
            let is_it = |event: &ProcessEvent| event.pid == child.0.id() && event.kind() == ProcessEventKind::Exec;
            told = events(&address).into_iter().find(is_it);
            told.is_some()
        });
        let told = told.expect("it was waited for");
        assert_eq!((told.exe.as_str(), told.uid), (program.as_str(), OTHER));
        assert_eq!((told.exe_sha256.len(), told.unreadable.len()), (64, 0), "{told:?}");
        assert_eq!(told.environment.get("AMOSKYS_TEST_LANE").map(String::as_str), Some("left"), "{told:?}");
    }

    /// Other calls are wished for while it runs, which changes the kernel's maps.
    fn takes_other_filters(&self, agent: &Running) {
        if !self.with_ebpf {
            return;
        }
        let text = fs::read_to_string(&self.file).expect("written before");
        let target = self.folder.path().join("mode");
        fs::write(&target, "").expect("written");
        let path = target.to_str().expect("text");
        let others = format!("[\"fchmodat\"]\nuids = [0]\npaths = [\"{path}\"]");
        fs::write(&self.file, text.replace("[\"unshare\"]", &others)).expect("written");
        send(agent, Signal::HUP);
        let address = self.server.address().to_string();
        until("calls that are wished for now are told", || {
            assert!(Command::new("chmod").args(["600", path]).status().expect("there is a chmod").success());
            let payloads = read_all(open(&address).as_ref(), SYSCALLS, 1).concat();
            let envelopes = payloads.iter().map(|payload| Envelope::decode(payload.as_slice()).expect("an envelope"));
            let mut events =
                envelopes.flat_map(|envelope| SyscallBatch::decode(envelope.payload).expect("a batch").events);
            events.any(|event| event.path == path)
        });
        assert_eq!(self.state()["syscall_source"], "ebpf");
        assert_eq!(self.state()["syscall_problem"], serde_json::Value::Null);
    }
}

/// With the rights of this process.
fn start(started: &Started) -> Running {
    let mut command = amoskys();
    command.arg("agent").arg("--config").arg(&started.file).args(["--create-topics", "1"]);
    Running(command.spawn().expect("starts"))
}

fn ends_well(mut agent: Running) {
    send(&agent, Signal::TERM);
    assert!(agent.0.wait().expect("it ends").success());
}

#[test]
fn every_thread_of_an_agent_of_root_has_what_is_stated_and_no_more() {
    let started = prepare("confine = \"on\"");
    let agent = start(&started);
    started.sees_and_sends();
    let mut stated = vec!["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"];
    if started.with_ebpf {
        stated.push("CAP_BPF");
    }
    // Root of a container may have no right to raise limits; then a thread's priority takes its own.
    if set(&status(Path::new("/proc/self")), "CapEff") & bit("CAP_SYS_RESOURCE") == 0 {
        stated.push("CAP_SYS_NICE");
    }
    stated.sort_unstable();
    let threads = threads(agent.0.id());
    for name in ["amoskys", "processes", "files", "pipeline", "publisher"] {
        assert!(threads.iter().any(|(thread, _)| thread == name), "no thread {name}: {threads:?}");
    }
    for (name, status) in &threads {
        let sets = ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"].map(|name| set(status, name));
        let all = bits(stated.iter().copied());
        assert_eq!(sets, [all, all, all, 0, 0], "{name}");
        assert_eq!((status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()), ("1", "2"), "{name}");
    }
    let state = started.state();
    assert_eq!((state["confinement"].as_str(), &state["capabilities"]), (Some("whole"), &serde_json::json!(stated)));
    // The thread that reads what is soon gone has its priority.
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.0.id())).expect("it runs");
    let stats = tasks.map(|task| fs::read_to_string(task.expect("listed").path().join("stat")).expect("it is there"));
    let stat = stats.into_iter().find(|stat| stat.contains("(processes)")).expect("it runs");
    assert_eq!(stat.split(' ').nth(18), Some("-10"), "{stat}");
    started.takes_other_filters(&agent);
    ends_well(agent);
}

#[test]
fn an_agent_that_is_told_not_to_keeps_what_it_has() {
    let started = prepare("confine = \"off\"");
    let agent = start(&started);
    until("the agent runs", || http_get(started.port, "/readyz").is_some_and(|(ready, _)| ready));
    let (own, its) = (status(Path::new("/proc/self")), threads(agent.0.id()));
    assert!(
        its.iter().all(|(_, status)| status["CapEff"] == own["CapEff"] && status["NoNewPrivs"] == own["NoNewPrivs"])
    );
    assert_eq!(started.state()["confinement"], "off");
    ends_well(agent);
}

const UNIT: &str = "infra/systemd/amoskys-agent.service";

/// What the unit says.
fn of_unit(key: &str) -> String {
    let text = fs::read_to_string(UNIT).expect("the unit");
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned);
    values.next().unwrap_or_else(|| panic!("{UNIT} has no {key}"))
}

/// Agent and processor in one process, on the embedded log.
#[test]
fn both_in_one_process_are_confined_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, port) = (folder.path().join("agent.toml"), free_port());
    let text = format!(
        "[agent]\nsign = false\nconfine = \"on\"\nwal_path = \"{}\"\nmetrics_port = {port}\nhealth_port = {port}\n",
        folder.path().join("wal").display()
    );
    fs::write(&file, text).expect("written");
    let bus = format!("local:{}", folder.path().join("log").display());
    let mut command = amoskys();
    command.args(["run", "--sql", "sql", "--bus", &bus, "--agent"]).arg(&file);
    let both = Running(command.spawn().expect("starts"));
    until("it runs", || http_get(port, "/readyz").is_some_and(|(ready, _)| ready));
    let threads = threads(both.0.id());
    assert!(threads.iter().any(|(name, _)| name == "worker-0"), "{threads:?}");
    let first = set(&threads[0].1, "CapEff");
    assert_eq!(first & !bits(["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE", "CAP_SYS_NICE", "CAP_BPF"]), 0);
    for (name, status) in &threads {
        assert_eq!(
            (set(status, "CapEff"), set(status, "CapPrm"), status["Seccomp"].as_str()),
            (first, first, "2"),
            "{name}"
        );
    }
    ends_well(both);
}

/// The binary where the kernel takes no filter, as in some containers.
#[allow(unsafe_code)]
fn without_filters() -> Command {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let equal = |k: u32| libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k) };
    let mut filter = [
        // The call's number is at the beginning.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        equal(libc::SYS_seccomp as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EINVAL.cast_unsigned()),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let mut command = amoskys();
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the kernel copies the program, which lives until it has.
        let refused = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
        };
        if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: two calls and no memory that is asked for.
    unsafe { command.pre_exec(install) };
    command
}

#[test]
fn where_filters_are_refused_the_rest_is_given_up_and_that_is_told_or_it_does_not_start() {
    const REFUSED: &str = "system calls cannot be restricted: Error calling `seccomp`: Invalid argument";
    let started = prepare("");
    let mut command = without_filters();
    command.arg("agent").arg("--config").arg(&started.file).args(["--create-topics", "1"]);
    let agent = Running(command.spawn().expect("starts"));
    until("the agent runs", || http_get(started.port, "/readyz").is_some_and(|(ready, _)| ready));
    let state = started.state();
    let problem = state["confinement_problem"].as_str().expect("a reason");
    assert!(state["confinement"] == "in_part" && problem.starts_with(REFUSED), "{state}");
    let all = bits(["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE", "CAP_SYS_NICE", "CAP_BPF"]);
    assert!(threads(agent.0.id()).iter().all(|(_, status)| set(status, "CapEff") & !all == 0));
    ends_well(agent);

    let started = prepare("confine = \"on\"");
    let ended = without_filters().arg("agent").arg("--config").arg(&started.file).output().expect("starts");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        ended.status.code() == Some(2) && said.contains(&format!("the agent cannot be confined: {REFUSED}")),
        "{said}"
    );
}

/// As systemd starts it: another user's identity, the unit's capabilities, and `/proc` that cannot be written.
#[test]
fn an_agent_with_the_rights_of_its_unit_sees_and_sends_and_gives_up_what_it_does_not_need() {
    let started = prepare("confine = \"on\"");
    let given = of_unit("AmbientCapabilities");
    assert_eq!(given, of_unit("CapabilityBoundingSet"));
    let named = |with: &str| -> Vec<String> {
        given.split(' ').map(|name| format!("{with}{}", name.trim_start_matches("CAP_").to_lowercase())).collect()
    };
    let sets = format!("-all,{}", named("+").join(","));
    let user = AGENT.to_string();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -o remount,bind,ro /proc && exec \"$@\"", "sh"]);
    command.args([
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set",
        &sets,
    ]);
    command.args(["--inh-caps", &sets, "--ambient-caps", &sets, env!("CARGO_BIN_EXE_amoskys"), "agent"]);
    command.arg("--config").arg(&started.file).args(["--create-topics", "1"]).env("AMOSKYS_LOG", "warn");
    let binary = Path::new(env!("CARGO_BIN_EXE_amoskys"));
    if binary.ancestors().skip(1).any(|folder| fs::metadata(folder).is_ok_and(|of| of.permissions().mode() & 1 == 0)) {
        // Another user may not come to the binary where it was built.
        let copy = started.folder.path().join("amoskys");
        fs::copy(binary, &copy).expect("copied");
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| if argument == binary { copy.as_os_str() } else { argument }.to_owned())
            .collect();
        command = Command::new("unshare");
        command.args(arguments).env("AMOSKYS_LOG", "warn");
    }
    let agent = Running(command.spawn().expect("unshare (util-linux) starts"));
    started.sees_and_sends();
    let mut kept = vec!["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"];
    if started.with_ebpf {
        kept.push("CAP_BPF");
    }
    for (name, status) in threads(agent.0.id()) {
        let all = bits(kept.iter().copied());
        // To make the bounding set smaller takes CAP_SETPCAP, which the unit does not give: it is the unit's.
        let sets = ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"].map(|name| set(&status, name));
        assert_eq!(sets, [all, all, bits(given.split(' ')), 0, 0], "{name}");
        assert_eq!((status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()), ("1", "2"), "{name}");
        assert!(status["Uid"].split_whitespace().all(|id| id == user), "{name}");
    }
    assert_eq!(started.state()["confinement"], "whole");
    started.takes_other_filters(&agent);
    ends_well(agent);
}

/// Whether systemd takes the units, and what it says of how exposed the services are, which the page states.
#[test]
fn systemd_takes_the_units_and_says_of_them_what_is_stated() {
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).output();
    let Ok(version) = analyze(&["--version"]) else {
        // Not by eprintln!, which is shown of failed tests alone.
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no systemd-analyze (apt-get install systemd)");
        return;
    };
    let is_stated_one = String::from_utf8_lossy(&version.stdout).starts_with("systemd 252 ");
    let page = fs::read_to_string("docs/confinement.md").expect("the page");
    let folder = tempfile::tempdir().expect("a folder");
    for (unit, exposure_max) in [("amoskys-agent.service", 2.8), ("amoskys-processor.service", 1.4)] {
        // With a program that is there.
        let text = fs::read_to_string(Path::new("infra/systemd").join(unit)).expect("the unit");
        let copy = folder.path().join(unit);
        fs::write(&copy, text.replace("/usr/bin/amoskys", env!("CARGO_BIN_EXE_amoskys"))).expect("written");
        let path = copy.to_str().expect("text");
        // It is a command: what is wrong is that the files are not there.
        let command =
            text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/amoskys ")).expect("a command");
        let ended = amoskys().args(command.split(' ')).output().expect("it starts");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(2) && said.contains("/etc/amoskys/") && !said.contains("Usage"), "{said}");
        let verified = analyze(&["verify", path]).expect("it runs");
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && !said.contains(unit), "{said}");
        let told =
            String::from_utf8(analyze(&["security", "--offline=true", "--no-pager", path]).expect("it runs").stdout);
        let told = told.expect("text");
        let overall = told.split("Overall exposure level for").nth(1).and_then(|rest| rest.split(": ").nth(1));
        let exposure = overall.and_then(|rest| rest.split(' ').next()).expect("a number");
        assert!(exposure.parse::<f64>().expect("a number") <= exposure_max, "{unit}: {told}");
        let stated = format!("| `{unit}` | {exposure} |");
        // Another systemd may weigh otherwise; the bound holds for each.
        assert!(!is_stated_one || page.contains(&stated), "docs/confinement.md has not: {stated}");
    }
}
