//! Memory and CPU of `amoskys agent` and `amoskys process` as processes: at rest, and while 1,000 processes per second
//! start on the host. Real Kafka, signed envelopes, the SQL and the model of the checkout.
//!
//! Run: `cargo bench --workspace --profile dev --bench memory -- [SECONDS [STARTS_PER_SECOND]]` as root (for the
//! process connector). "resident" is what the kernel counts against the process, its binary's mapped pages included;
//! "private" leaves out what other processes could share.

use amoskys_bus::testing::KafkaBroker;
use amoskys_proto::Signer;
use std::{
    env, fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const LOAD: &str = "--load";
const SETTLE: Duration = Duration::from_secs(12);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().map(String::as_str) == Some(LOAD) {
        return start_processes(arguments[1].parse().expect("starts per second"));
    }
    let seconds: u64 = arguments.first().map_or(20, |text| text.parse().expect("seconds"));
    let starts: u64 = arguments.get(1).map_or(1_000, |text| text.parse().expect("starts per second"));
    let broker = KafkaBroker::start();
    let folder = tempfile::tempdir().expect("a folder");
    let running = [agent(folder.path(), &broker), processor(folder.path(), &broker)];

    sleep(SETTLE);
    println!(
        "| process | load | resident MB | private MB | most resident MB | CPU-s per s |\n|---|---|---|---|---|---|"
    );
    measure("at rest", &running, Duration::from_secs(5));
    let loads = [start_load(starts / 2), start_load(starts - starts / 2)];
    measure(&format!("{starts} starts per second"), &running, Duration::from_secs(seconds));
    drop(loads);
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
    }
}

/// Sums the lines that begin with one of `names`; the kernel writes KiB.
fn megabytes(text: &str, names: &[&str]) -> f64 {
    let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>() * 1_024.0 / 1e6
}

fn agent(folder: &Path, broker: &KafkaBroker) -> Running {
    let keys = folder.join("keys");
    fs::create_dir(&keys).expect("a folder");
    let signer = Signer::generate().expect("random bytes");
    let public = signer.write_files(&keys.join("agent.ed25519.pem")).expect("keys are written");
    fs::create_dir(folder.join("public")).expect("a folder");
    fs::rename(public, folder.join("public/agent.pub")).expect("the public key is moved");
    let mut command = amoskys("AGENT");
    command.args(["agent", "--create-topics", "4", "--bus", &broker.address().to_string()]);
    command.env("AMOSKYS_AGENT_CERT_DIR", &keys).env("AMOSKYS_AGENT_WAL_PATH", folder.join("wal"));
    command.env("AMOSKYS_PROCESS_CONNECTOR", "on");
    Running { name: "agent", child: command.spawn().expect("the agent starts") }
}

fn processor(folder: &Path, broker: &KafkaBroker) -> Running {
    let mut command = amoskys("PROCESSOR");
    command.args(["process", "sql", "--create-topics", "4", "--group", "memory"]);
    command.args(["--bus", &broker.address().to_string()]);
    command.env("AMOSKYS_PROCESSOR_KEYS_DIR", folder.join("public"));
    Running { name: "processor", child: command.spawn().expect("the processor starts") }
}

fn amoskys(role: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amoskys"));
    command.env("AMOSKYS_LOG", "warn").stdin(Stdio::null());
    for port in ["METRICS_PORT", "HEALTH_PORT"] {
        let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        command.env(format!("AMOSKYS_{role}_{port}"), listener.expect("a port is free").port().to_string());
    }
    command
}

/// Starts and awaits short-lived processes at a rate until it is ended.
fn start_processes(starts_per_second: u32) {
    let began = Instant::now();
    for n in 1u32.. {
        Command::new("/bin/true").status().expect("a process starts");
        let due = Duration::from_secs(1) * n / starts_per_second.max(1);
        sleep(due.saturating_sub(began.elapsed()));
    }
}

fn start_load(starts_per_second: u64) -> Running {
    let mut command = Command::new(env::current_exe().expect("a name"));
    let child = command.args([LOAD, &starts_per_second.to_string()]).stdin(Stdio::null()).spawn();
    Running { name: "load", child: child.expect("the load starts") }
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
