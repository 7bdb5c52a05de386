//! Memory and CPU of `amoskys agent` and `amoskys process` as processes: at rest, and while 1,000 processes per second
//! start on the host. Then of the agent at its bounds: the broker is away and the write-ahead log full (its default
//! 256 MiB, filled by programs with command lines of 4 KiB) and overflowing, and while it drains into the broker that
//! is back. Real Kafka, signed envelopes, the SQL and the model of the checkout.
//!
//! Run: `cargo bench --workspace --profile dev --bench memory -- [SECONDS [STARTS_PER_SECOND]]` as root (for
//! eBPF). "resident" is what the kernel counts against the process, its binary's mapped pages included;
//! "private" leaves out what other processes could share; "most resident" is the greatest since the line before.

#[path = "../tests/common/ports.rs"]
mod ports;

use amoskys_bus::testing::KafkaBroker;
use amoskys_proto::Signer;
use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const LOAD: &str = "--load";
const SETTLE: Duration = Duration::from_secs(12);
const WAL_BYTES_MAX: f64 = 256.0 * 1024.0 * 1024.0;
/// For filling the write-ahead log, and for draining it.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().map(String::as_str) == Some(LOAD) {
        let long = arguments.get(2).is_some();
        return start_processes(arguments[1].parse().expect("starts per second"), long);
    }
    let seconds: u64 = arguments.first().map_or(20, |text| text.parse().expect("seconds"));
    let starts: u64 = arguments.get(1).map_or(1_000, |text| text.parse().expect("starts per second"));
    let mut broker = KafkaBroker::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (agent, port) = agent(folder.path(), &broker);
    let running = [agent, processor(folder.path(), &broker)];

    sleep(SETTLE);
    println!(
        "| process | load | resident MB | private MB | most resident MB | CPU-s per s |\n|---|---|---|---|---|---|"
    );
    measure("at rest", &running, Duration::from_secs(5));
    let loads = [start_load(starts / 2, false), start_load(starts - starts / 2, false)];
    measure(&format!("{starts} starts per second"), &running, Duration::from_secs(seconds));
    drop(loads);

    let [agent, processor] = running;
    drop(processor);
    broker.stop();
    let loads = [start_load(starts / 2, true), start_load(starts - starts / 2, true)];
    agent.forget_peak();
    wait_until("the write-ahead log is full", || wal_bytes(port) > WAL_BYTES_MAX * 0.99);
    let agent = [agent];
    let load = format!("{starts} starts per second, log full, broker away");
    measure(&load, &agent, Duration::from_secs(seconds));
    drop(loads);
    measure("log full, broker away", &agent, Duration::from_secs(seconds));
    broker.restart();
    wait_until("the write-ahead log is empty", || wal_bytes(port) < WAL_BYTES_MAX * 0.001);
    measure("drained; the most is of draining", &agent, Duration::from_secs(5));
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(200));
    }
}

/// As the agent's own metric says.
fn wal_bytes(port: u16) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the agent serves");
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("asked");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("the page");
    let line = page.lines().find_map(|line| line.strip_prefix("amoskys_agent_wal_bytes "));
    line.expect("the metric is there").parse().expect("a number")
}

fn measure(load: &str, running: &[Running], span: Duration) {
    let (began, before) = (Instant::now(), running.iter().map(Running::cpu_s).collect::<Vec<f64>>());
    sleep(span);
    let seconds = began.elapsed().as_secs_f64();
    for (running, before) in running.iter().zip(before) {
        let status = running.file("status");
        let rollup = running.file("smaps_rollup");
        println!(
            "| {} | {load} | {:.1} | {:.1} | {:.1} | {:.4} |",
            running.name,
            megabytes(&status, &["VmRSS:"]),
            megabytes(&rollup, &["Private_Clean:", "Private_Dirty:"]),
            megabytes(&status, &["VmHWM:"]),
            (running.cpu_s() - before) / seconds,
        );
        running.forget_peak();
    }
}

/// Sums the lines that begin with one of `names`; the kernel writes KiB.
fn megabytes(text: &str, names: &[&str]) -> f64 {
    let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>() * 1_024.0 / 1e6
}

/// And its port.
fn agent(folder: &Path, broker: &KafkaBroker) -> (Running, u16) {
    let keys = folder.join("keys");
    fs::create_dir(&keys).expect("a folder");
    let signer = Signer::generate().expect("random bytes");
    let public = signer.write_files(&keys.join("agent.ed25519.pem")).expect("keys are written");
    fs::create_dir(folder.join("public")).expect("a folder");
    fs::rename(public, folder.join("public/agent.pub")).expect("the public key is moved");
    let (mut command, port) = amoskys("AGENT");
    command.args(["agent", "--create-topics", "4", "--bus", &broker.address().to_string()]);
    command.env("AMOSKYS_AGENT_CERT_DIR", &keys).env("AMOSKYS_AGENT_WAL_PATH", folder.join("wal"));
    command.env("AMOSKYS_PROCESS_SOURCE", "ebpf");
    (Running { name: "agent", child: command.spawn().expect("the agent starts") }, port)
}

fn processor(folder: &Path, broker: &KafkaBroker) -> Running {
    let (mut command, _) = amoskys("PROCESSOR");
    command.args(["process", "sql", "--create-topics", "4", "--group", "memory"]);
    command.args(["--bus", &broker.address().to_string()]);
    command.env("AMOSKYS_PROCESSOR_KEYS_DIR", folder.join("public"));
    Running { name: "processor", child: command.spawn().expect("the processor starts") }
}

/// The command, and the port that it serves on.
fn amoskys(role: &str) -> (Command, u16) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amoskys"));
    command.env("AMOSKYS_LOG", "warn").stdin(Stdio::null());
    let port = ports::free_port();
    for name in ["METRICS_PORT", "HEALTH_PORT"] {
        command.env(format!("AMOSKYS_{role}_{name}"), port.to_string());
    }
    (command, port)
}

/// Starts and awaits short-lived processes at a rate until it is ended, with `long` command lines or short ones.
fn start_processes(starts_per_second: u32, long: bool) {
    let (began, argument) = (Instant::now(), "x".repeat(if long { 4_000 } else { 1 }));
    for n in 1u32.. {
        Command::new("/bin/true").arg(&argument).status().expect("a process starts");
        let due = Duration::from_secs(1) * n / starts_per_second.max(1);
        sleep(due.saturating_sub(began.elapsed()));
    }
}

fn start_load(starts_per_second: u64, long: bool) -> Running {
    let mut command = Command::new(env::current_exe().expect("a name"));
    command.args([LOAD, &starts_per_second.to_string()]).args(long.then_some("long"));
    Running { name: "load", child: command.stdin(Stdio::null()).spawn().expect("the load starts") }
}

/// A process that ends with the benchmark.
struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    fn file(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("the {} is gone: {path}: {error}", self.name))
    }

    /// Counts the most resident memory anew.
    fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&path, "5").unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// User and system time so far, in the kernel's ticks of 10 ms.
    fn cpu_s(&self) -> f64 {
        let stat = self.file("stat");
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
