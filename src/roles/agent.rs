//! `amoskys agent`: sources → signed envelopes → a log.

use super::{KeygenCommand, bind, create_topics, host_name, keygen, open_bus_patiently, serve};
use crate::{
    cli::{DONE, Misuse, address},
    config::{self, AgentConfig},
    http::{Endpoints, Health, Probe},
    stop,
    topics::own_topics,
};
use amoskys_bus::{Address, Bus};
use amoskys_collectors::{
    Agent, AgentError, AgentHandle, CallsError, PreparedAgent, ProbeError, SyscallConfig, WalError,
};
use amoskys_proto::Signer;
use anyhow::Result;
use clap::{Args, Subcommand};
use prometheus_client::registry::Registry;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Example:
  amoskys agent --config /etc/amoskys/agent.toml --bus kafka://broker:9092
SIGHUP reads the file again: which system calls are looked at and whose changes while it runs, and what is signed next is signed
with the key that is there then.
Keys, defaults and ranges: docs/configuration.md; `amoskys config check FILE` finds every fault in one go.")]
pub struct AgentCommand {
    /// The agent's TOML file. Without it: defaults and AMOSKYS_AGENT_… variables.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The log to push to; overrides the file.
    #[arg(long, env = "AMOSKYS_BUS", value_parser = address)]
    bus: Option<Address>,
    /// Create Amoskys' topics, with this many partitions, where they are missing.
    #[arg(long, value_name = "PARTITIONS")]
    create_topics: Option<i32>,
    #[command(subcommand)]
    tool: Option<AgentTool>,
}

#[derive(Debug, Subcommand)]
enum AgentTool {
    /// As `amoskys keygen`: make an agent's signing key.
    Keygen(KeygenCommand),
}

const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How late a signal is noticed at most.
const SIGNAL_WAIT: Duration = Duration::from_millis(200);

pub fn agent(command: AgentCommand) -> Result<u8> {
    if let Some(AgentTool::Keygen(command)) = command.tool {
        return keygen(command);
    }
    give_freed_memory_back();
    let mut config = load(command.config.as_deref())?;
    if let Some(bus) = command.bus {
        config.bus_address = bus;
    }
    // All that can be wrong is found before anything is opened or made.
    if let Some(path) = &config.signing_key {
        Signer::from_pem_file(path).map_err(Misuse::because)?;
    }
    let ports = bind("agent", config.metrics_address(), config.health_address())?;
    let (stop, hangup) = stop::on_signal_but_hangup()?;
    // Before the bus, so before topics are made: another agent may have the write-ahead log.
    let prepared = prepare(&config)?;
    let bus = open_bus_patiently(config.bus_address.clone(), &config.bus, "amoskys-agent")?;
    if let Some(partitions) = command.create_topics {
        create_topics(bus.as_ref(), own_topics(partitions))?;
    }
    let mut registry = Registry::default();
    let agent = Arc::new(start(prepared, bus.clone(), &mut registry)?);
    let endpoints = Endpoints {
        registry: Arc::new(registry),
        alive: probe(&agent),
        ready: probe(&agent),
        state: state_of(probe(&agent)),
    };
    let servers = serve(ports, &endpoints)?;
    tell_running(&agent, &config, bus.as_ref());
    drop(bus);
    let reloading = Reloading { path: command.config, started_as: config.collector(&host_name()) };
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(SIGNAL_WAIT);
        if hangup.was_asked() {
            reloading.reload(&agent);
        }
    }
    agent.stop(DRAIN_MAX);
    drop(servers);
    finish(agent);
    Ok(DONE)
}

/// What SIGHUP reads again: which system calls are looked at, and whose; and the signing key.
struct Reloading {
    path: Option<PathBuf>,
    started_as: amoskys_collectors::AgentConfig,
}

impl Reloading {
    fn reload(&self, agent: &AgentHandle) {
        let now = match load(self.path.as_deref()) {
            Ok(config) => config.collector(&host_name()),
            Err(error) => {
                tracing::error!("the configuration is not taken, and what ran goes on: {error:#}");
                return;
            }
        };
        let (syscall, before) = (&now.syscall, &self.started_as.syscall);
        let (source, ring_bytes) = (before.source, before.ring_bytes);
        let (audit, activity) = (before.audit.clone(), before.activity.clone());
        let changeable = SyscallConfig { source, ring_bytes, audit, activity, ..syscall.clone() };
        // Whether it signs is not changed while it runs: by a slip in a file nothing goes unsigned.
        let key = now.signing_key_path.clone().filter(|_| self.started_as.signing_key_path.is_some());
        let signing_key_path = key.clone().or_else(|| self.started_as.signing_key_path.clone());
        let others =
            amoskys_collectors::AgentConfig { syscall: changeable, signing_key_path, ..self.started_as.clone() };
        if others != now {
            tracing::warn!(
                "of what changed only which system calls are looked at and whose, and the signing key, are taken; the rest takes a \
                 restart"
            );
        }
        tracing::info!("SIGHUP: the configuration was read again");
        agent.syscall_wishes().put(now.syscall);
        key.iter().for_each(|path| sign_with(agent, path));
    }
}

/// Goes over to the key that is in the file now; one that is no good changes nothing.
fn sign_with(agent: &AgentHandle, path: &Path) {
    let signer = match Signer::from_pem_file(path) {
        Ok(signer) => signer,
        Err(error) => {
            tracing::error!("the agent goes on signing with the key that it had: {error}");
            return;
        }
    };
    let (key, key_id) = (agent.signing_key(), signer.key_id().to_owned());
    if key.id().as_ref() != Some(&key_id) {
        key.put(signer);
        tracing::info!(key_id, "signing with another key");
    }
}

/// Reads the file; all its problems are one error, warnings are logged.
pub fn load(path: Option<&Path>) -> Result<AgentConfig> {
    let loaded = config::load_agent(path, &config::of_process()).map_err(Misuse::because)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(loaded.config)
}

/// Takes all that the agent needs beside the bus: what takes rights, which it then gives up, and its write-ahead log. Before it there are
/// no threads, or they would keep them.
pub fn prepare(config: &AgentConfig) -> Result<PreparedAgent> {
    let opened = Agent::open(config.collector(&host_name())).map_err(cannot_start)?;
    trim_freed_memory();
    opened.confine(config.confine).map_err(cannot_start)?;
    opened.prepare().map_err(cannot_start)
}

pub fn start(agent: PreparedAgent, bus: Arc<dyn Bus>, registry: &mut Registry) -> Result<AgentHandle> {
    agent.start(bus, registry).map_err(cannot_start)
}

fn cannot_start(error: AgentError) -> anyhow::Error {
    match error {
        // The user's to change, as with a log that is in use.
        AgentError::Key(_)
        | AgentError::Confine(_)
        | AgentError::Wal(WalError::InUse { .. })
        | AgentError::Syscalls(
            CallsError::Ebpf(ProbeError::Capability { .. } | ProbeError::NoBtf | ProbeError::Filter(_))
            | CallsError::Audit(_),
        ) => Misuse::because(error),
        error => anyhow::Error::from(error).context("the agent cannot start"),
    }
}

/// Blocks of a quarter of a MiB and more go back to the kernel when they are freed, and what is free at the end of an arena when it is more than
/// half of one; and there are two arenas, where each thread would have one that is hardly used. Left alone, glibc would learn from the first freed envelope of 1 MiB to keep such, in an arena for each thread; usual envelopes are
/// smaller, and getting their memory anew for each costs more than filling it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn give_freed_memory_back() {
    // SAFETY: sets numbers of the allocator; called before there are threads. Where one is refused nothing changes.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 512 << 10);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_freed_memory_back() {}

/// What was read to load the kernel's programs was small pieces, and what is kept of the loading lies above them, so that they would stay.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn trim_freed_memory() {
    // SAFETY: gives pages that nothing lies in back to the kernel.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim_freed_memory() {}

/// Says that it runs, what it sees through, and where it sends.
pub fn tell_running(agent: &AgentHandle, config: &AgentConfig, bus: &dyn Bus) {
    let (status, topic) = (agent.status(), &config.process_topic);
    let (source, syscalls) = (status.process_source, status.syscall_source);
    let key = agent.signing_key().id().unwrap_or_else(|| "none, so unsigned".to_owned());
    tracing::info!(%source, %syscalls, bus = %bus.address(), topic, key, "agent running");
}

/// Waits for the drain; whatever is not acknowledged by then is in the write-ahead log.
pub fn finish(agent: Arc<AgentHandle>) {
    if let Ok(agent) = Arc::try_unwrap(agent) {
        let report = agent.join();
        tracing::info!(report = %serde_json::to_string(&report).unwrap_or_default(), "agent stopped");
    }
}

/// All that a probe has to say, as `/state`.
pub fn state_of(probe: Probe) -> Arc<dyn Fn() -> serde_json::Value + Send + Sync> {
    Arc::new(move || probe().detail)
}

/// What the agent says of itself, for probes. Keeps no agent alive.
pub fn probe(agent: &Arc<AgentHandle>) -> Probe {
    let agent = Arc::downgrade(agent);
    Arc::new(move || {
        let report = agent.upgrade().map(|agent| agent.status());
        let ok = report.as_ref().is_some_and(|report| report.problems.is_empty());
        Health { ok, detail: serde_json::to_value(&report).unwrap_or_default() }
    })
}
