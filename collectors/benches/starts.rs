//! What the agent costs while a host starts about 1,000 processes per second, told by eBPF and then by the process connector.
//!
//! Run: `cargo bench -p amoskys-collectors --bench starts -- [SECONDS [STARTS_PER_SECOND [BUS]]]` as root. Two child processes start `/bin/true` at that rate, so that their work is not counted; this one
//! runs an agent that signs, writes to a real write-ahead log and publishes to an embedded log in a temporary folder,
//! or to a fresh BUS. The cost is the CPU time of the agent's own threads; that of the others (the write-ahead log's,
//! the embedded log's or the broker's client) is shown beside it.

use amoskys_bus::{Bus, BusOptions, ReaderOptions, Security, TopicPartition, TopicSpec};
use amoskys_collectors::{Agent, AgentConfig, ProcessMode, SyscallMode};
use amoskys_proto::{
    EnvelopeView, Signer,
    v1::{ProcessBatch, ProcessEventKind},
};
use prometheus_client::registry::Registry;
use prost::Message;
use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const WARM_UP: Duration = Duration::from_secs(2);
const LOAD: &str = "--load";
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().map(String::as_str) == Some(LOAD) {
        return start_processes(arguments[1].parse()?);
    }
    let seconds: u64 = arguments.first().map_or(Ok(10), |text| text.parse())?;
    let starts_per_second: u64 = arguments.get(1).map_or(Ok(1_000), |text| text.parse())?;
    for source in [ProcessMode::Ebpf, ProcessMode::Connector] {
        println!("\n{source:?}\n");
        measure(source, Duration::from_secs(seconds), starts_per_second, arguments.get(2).map(String::as_str))?;
    }
    Ok(())
}

/// Starts and awaits short-lived processes at a rate until it is ended.
fn start_processes(starts_per_second: u64) -> Result<(), Failure> {
    let began = Instant::now();
    for n in 1u32.. {
        Command::new("/bin/true").status()?;
        let due = Duration::from_secs(1) * n / u32::try_from(starts_per_second)?.max(1);
        sleep(due.saturating_sub(began.elapsed()));
    }
    Ok(())
}

fn measure(
    source: ProcessMode,
    span: Duration,
    starts_per_second: u64,
    bus_address: Option<&str>,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let embedded = format!("local:{}", folder.path().join("log").display());
    let bus = amoskys_bus::open(&BusOptions {
        address: bus_address.unwrap_or(&embedded).parse()?,
        security: Security::default(),
        client_id: "starts".into(),
        extra: Vec::new(),
    })?;
    let mut config = AgentConfig::new("bench", "bench", folder.path().join("wal"));
    config.process.source = source;
    config.syscall.source = SyscallMode::Off;
    config.signing_key_path = Some(folder.path().join("agent.key"));
    Signer::generate()?.write_files(&folder.path().join("agent.key"))?;
    for topic in [&config.process_topic, &config.status_topic] {
        bus.create_topic(&TopicSpec { name: topic.clone(), partitions: 1, replication: 1, settings: Vec::new() })?;
    }
    let topic = config.process_topic.clone();
    let agent = Agent::start(config, bus.clone(), &mut Registry::default())?;
    let loads = [start_load(starts_per_second / 2)?, start_load(starts_per_second - starts_per_second / 2)?];
    sleep(WARM_UP);

    let (before, cpu_before, began) = (agent.numbers(), cpu_seconds_by_thread()?, Instant::now());
    sleep(span);
    let (after, cpu_after, elapsed) = (agent.numbers(), cpu_seconds_by_thread()?, began.elapsed().as_secs_f64());
    drop(loads);
    let memory = memory_bytes()?;
    agent.stop(Duration::from_secs(30));
    let report = agent.join();

    let seen = after.ledger.seen() - before.ledger.seen();
    let told = seen - (after.ledger.filtered() - before.ledger.filtered());
    let cost =
        |thread: &str| cpu_after.get(thread).copied().unwrap_or(0.0) - cpu_before.get(thread).copied().unwrap_or(0.0);
    let mut own = 0.0;
    println!("| thread | CPU-s per s | CPU-s per million events |\n|---|---|---|");
    for thread in ["processes", "files", "pipeline", "publisher"] {
        own += cost(thread);
        println!("| {thread} | {:.4} | {:.2} |", cost(thread) / elapsed, cost(thread) / told as f64 * 1e6);
    }
    println!("| **agent** | **{:.4}** | **{:.2}** |", own / elapsed, own / told as f64 * 1e6);
    let all: f64 = cpu_after.keys().map(|thread| cost(thread)).sum();
    println!("| others (write-ahead log, bus client) | {:.4} | |\n", (all - own) / elapsed);
    println!(
        "events told: {told} ({:.0} per second, about {:.0} starts)",
        told as f64 / elapsed,
        told as f64 / elapsed / 3.0
    );
    let bytes = after.published_bytes - before.published_bytes;
    println!("bytes: {:.0} per event, before the bus compresses them", bytes as f64 / told as f64);
    println!("lost in the kernel: {}; dropped: {}", after.kernel_lost_messages, report.events_dropped);
    let (execs, without_exe) = count_execs(bus.as_ref(), topic)?;
    println!("new programs: {execs}; gone before their executable could be read: {without_exe}");
    println!(
        "resident: {:.1} MB, of which private {:.1} MB (the bus's client or embedded log included)",
        memory.0 / 1e6,
        memory.1 / 1e6
    );
    Ok(())
}

/// EXEC events on the topic, and those without the path of their executable.
fn count_execs(bus: &dyn Bus, topic: String) -> Result<(u64, u64), Failure> {
    let partition = TopicPartition { topic, partition: 0 };
    let mut reader = bus.reader(&ReaderOptions::default())?;
    let (first, end) = reader.bounds(&partition)?;
    reader.assign(&partition, first)?;
    let (mut next, mut execs, mut without_exe) = (first, 0, 0);
    while next < end {
        let mut count = |record: &amoskys_bus::Record<'_>| {
            next = record.offset + 1;
            let events = EnvelopeView::parse(record.payload).map(|view| ProcessBatch::decode(view.payload));
            let Ok(Ok(batch)) = events else { return };
            let programs = batch.events.iter().filter(|event| event.kind() == ProcessEventKind::Exec);
            programs.for_each(|event| {
                execs += 1;
                without_exe += u64::from(event.exe.is_empty());
            });
        };
        reader.poll(Duration::from_millis(100), 1_000, &mut count)?;
    }
    Ok((execs, without_exe))
}

fn start_load(starts_per_second: u64) -> Result<Load, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(Load(command.args([LOAD, &starts_per_second.to_string()]).stdin(Stdio::null()).spawn()?))
}

/// The load, ended with the benchmark.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time of this process's threads, by name, from the scheduler's own clock (nanoseconds, not ticks).
fn cpu_seconds_by_thread() -> Result<BTreeMap<String, f64>, Failure> {
    let mut by_thread = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let name = fs::read_to_string(task.join("comm"))?.trim().to_owned();
        let schedule = fs::read_to_string(task.join("schedstat"))?;
        let nanos: f64 = schedule.split(' ').next().unwrap_or("0").parse()?;
        *by_thread.entry(name).or_insert(0.0) += nanos / 1e9;
    }
    Ok(by_thread)
}

/// Resident and private bytes of this process.
fn memory_bytes() -> Result<(f64, f64), Failure> {
    let text = fs::read_to_string("/proc/self/smaps_rollup")?;
    let sum = |names: &[&str]| -> f64 {
        let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>() * 1_024.0
    };
    Ok((sum(&["Rss:"]), sum(&["Private_Clean:", "Private_Dirty:"])))
}
