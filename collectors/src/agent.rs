//! One agent: its threads, and the handle to look at it and to stop it.
//!
//! sources → queue → pipeline → write-ahead log → publisher → bus. Deliberately not here: configuration files, HTTP,
//! signals. Limits: those of [`AgentConfig`]; four threads, one for each source of system calls, one for executables' digests, and those of the write-ahead log (2) and of the bus.

use crate::{
    clock::Moment,
    config::AgentConfig,
    confine::{ConfineError, ConfineMode, Needs, confine},
    envelope::{Sealer, SigningKey},
    metrics::{Numbers, ProcessesBy, SharedNumbers, SyscallsBy},
    pipeline::Pipeline,
    publisher::Publisher,
    queue::{Queued, StopOrder, event_queue},
    sources::{
        CallSource, CallsError,
        process::{ProcessSource, ProcessesError},
        syscall::{ActivitySource, SyscallWishes},
    },
    status::{AgentReport, Health},
    wal::{Wal, WalError},
};
use amoskys_bus::Bus;
use amoskys_ebpf::KernelTypes;
use amoskys_proto::{Signer, SignerError};
use prometheus_client::registry::Registry;
use std::{
    sync::{Arc, mpsc::Receiver},
    thread::JoinHandle,
    time::Duration,
};

/// Why an agent does not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("the agent cannot sign: {0}")]
    Key(#[from] SignerError),
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error(transparent)]
    Processes(#[from] ProcessesError),
    #[error("system calls cannot be seen: {0}")]
    Syscalls(#[from] CallsError),
    #[error("the agent cannot be confined: {0}")]
    Confine(#[from] ConfineError),
    #[error("the kernel's boot id cannot be read from /proc/sys/kernel/random/boot_id: {0}")]
    BootId(std::io::Error),
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Starts agents.
pub struct Agent;

/// An agent that holds what takes rights: its key and the way to the kernel. No thread is started yet.
pub struct OpenedAgent {
    config: AgentConfig,
    key: SigningKey,
    boot_id: String,
    started: Moment,
    stop: StopOrder,
    numbers: SharedNumbers,
    events: Receiver<Queued>,
    processes: ProcessSource,
    syscalls: Option<CallSource>,
    activity: Option<ActivitySource>,
    wishes: SyscallWishes,
}

/// An agent that holds all that is its own: key, write-ahead log, the way to the kernel. Nothing runs yet.
pub struct PreparedAgent {
    opened: OpenedAgent,
    wal: Arc<Wal>,
}

/// A running agent. Dropping it stops it at once; what is not acknowledged stays in the write-ahead log.
pub struct AgentHandle {
    agent_id: String,
    started: Moment,
    stop: StopOrder,
    numbers: SharedNumbers,
    health: Health,
    wishes: SyscallWishes,
    key: SigningKey,
    threads: Vec<(&'static str, JoinHandle<()>)>,
}

impl Agent {
    /// Starts an agent whose numbers appear in `registry`. The bus may be away; keys, write-ahead log and, if it is
    /// demanded, the process connector must be there.
    pub fn start(config: AgentConfig, bus: Arc<dyn Bus>, registry: &mut Registry) -> Result<AgentHandle, AgentError> {
        Self::prepare(config)?.start(bus, registry)
    }

    /// Takes all that the agent needs beside the bus, so that what is wrong with it is known before the bus is touched.
    pub fn prepare(config: AgentConfig) -> Result<PreparedAgent, AgentError> {
        Self::open(config)?.prepare()
    }

    /// Takes what takes rights, and starts no thread, so that those that come have the rights that are left by then ([`OpenedAgent::confine`]).
    pub fn open(config: AgentConfig) -> Result<OpenedAgent, AgentError> {
        let numbers = SharedNumbers::default();
        let (stop, started) = (StopOrder::default(), Moment::now());
        let key = SigningKey::new(config.signing_key_path.as_deref().map(Signer::from_pem_file).transpose()?);
        let boot_id = read_boot_id().map_err(AgentError::BootId)?;
        let (queue, events) = event_queue(config.queue_events_max, stop.clone(), numbers.clone());
        // Dropped with the last that is loaded: nothing that the agent does later takes it.
        let types = KernelTypes::for_loads(2 + usize::from(config.syscall.activity.is_some()));
        let processes = ProcessSource::open(config.process.clone(), &types, numbers.clone(), queue.clone())?;
        let wishes = SyscallWishes::default();
        let masks = config.process.masks.clone();
        let syscalls =
            CallSource::open(&config.syscall, &types, masks, wishes.clone(), numbers.clone(), queue.clone())?;
        let activity = config.syscall.activity.as_ref();
        let activity = activity.map(|config| ActivitySource::open(config, &types, numbers.clone(), queue)).transpose();
        let activity = activity.map_err(CallsError::Ebpf)?;
        Ok(OpenedAgent { config, key, boot_id, started, stop, numbers, events, processes, syscalls, activity, wishes })
    }
}

impl OpenedAgent {
    /// Gives up for good, for this process, what the agent needs no more. What is left is told once, and in the agent's report.
    ///
    /// # Errors
    /// Where that is demanded and something is refused.
    pub fn confine(&self, mode: ConfineMode) -> Result<(), AgentError> {
        if mode == ConfineMode::Off {
            tracing::info!("the agent keeps its capabilities and may make all system calls, as `confine` is off");
            return Ok(());
        }
        let (by, processes_by) = {
            let numbers = self.numbers.lock();
            (numbers.syscalls_by, numbers.processes_by)
        };
        let needs = Needs {
            ebpf: by == Some(SyscallsBy::Ebpf) || self.activity.is_some() || processes_by == ProcessesBy::Ebpf,
            audit: by == Some(SyscallsBy::AuditNetlink),
            nice: self.config.process.thread_nice,
        };
        let confinement = match confine(&needs) {
            Ok(confinement) => confinement,
            Err((error, _)) if mode == ConfineMode::On => return Err(error.into()),
            Err((_, partly)) => {
                tracing::warn!(refused = partly.problems.join("; "), "the agent is confined in part only");
                partly
            }
        };
        tracing::info!(capabilities = confinement.kept.join(" "), "the agent has given up what it does not need");
        self.numbers.lock().confinement = Some(confinement);
        Ok(())
    }

    /// Takes what else is the agent's own: its write-ahead log, which starts threads.
    pub fn prepare(self) -> Result<PreparedAgent, AgentError> {
        let wal = Wal::open(&self.config.wal, &self.boot_id, self.started.boot_ns, self.numbers.clone())?;
        Ok(PreparedAgent { opened: self, wal: Arc::new(wal) })
    }
}

impl PreparedAgent {
    /// Starts the agent; its numbers appear in `registry`. The bus may be away.
    pub fn start(self, bus: Arc<dyn Bus>, registry: &mut Registry) -> Result<AgentHandle, AgentError> {
        let Self { opened, wal } = self;
        let OpenedAgent { config, key, boot_id, started, stop, numbers, events, processes, syscalls, activity, wishes } =
            opened;
        let health = Health::default();
        let sealer = Sealer::new(config.agent_id.clone(), config.host_id.clone(), boot_id, key.clone());
        let pipeline =
            Pipeline::new(&config, sealer, events, wal.clone(), numbers.clone(), health.clone(), stop.clone());
        let publisher = Publisher::new(&config, bus, wal, numbers.clone(), health.clone(), stop.clone());
        numbers.register(registry);

        let agent_id = config.agent_id;
        let mut handle = AgentHandle { agent_id, started, stop, numbers, health, wishes, key, threads: Vec::new() };
        // A handle that is dropped on an error stops what was started before.
        handle.spawn("publisher", move || publisher.run())?;
        handle.spawn("pipeline", move || pipeline.run())?;
        handle.spawn("processes", move || processes.run())?;
        if let Some(syscalls) = syscalls {
            handle.spawn("syscalls", move || syscalls.run())?;
        }
        if let Some(activity) = activity {
            handle.spawn("activity", move || activity.run())?;
        }
        Ok(handle)
    }
}

impl AgentHandle {
    fn spawn(&mut self, name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<(), AgentError> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(body).map_err(AgentError::Thread)?;
        self.threads.push((name, thread));
        Ok(())
    }

    /// Orders the agent to stop: the sources at once, the rest when everything is acknowledged, at the latest after
    /// `drain_max`. Does not wait; see [`AgentHandle::join`].
    pub fn stop(&self, drain_max: Duration) {
        let drain_ns = u64::try_from(drain_max.as_nanos()).unwrap_or(u64::MAX);
        self.stop.give(Moment::now().monotonic_ns.saturating_add(drain_ns));
    }

    /// Waits until the agent has ended and gives its last report.
    pub fn join(mut self) -> AgentReport {
        let mut failed = Vec::new();
        for (name, thread) in self.threads.drain(..).rev() {
            if thread.join().is_err() {
                failed.push(format!("the {name} thread failed; this is a fault of the agent"));
            }
        }
        self.health.report(&self.agent_id, self.started, &self.numbers.lock().clone(), failed)
    }

    /// Where other wishes for system calls may be put while it runs.
    pub fn syscall_wishes(&self) -> SyscallWishes {
        self.wishes.clone()
    }

    /// What it signs with, where another key may be put while it runs. Envelopes in the write-ahead log stay as they were
    /// signed.
    pub fn signing_key(&self) -> SigningKey {
        self.key.clone()
    }

    /// How the agent is now.
    pub fn status(&self) -> AgentReport {
        let ended = self.threads.iter().filter(|(_, thread)| thread.is_finished());
        let ended = ended.map(|(name, _)| format!("the {name} thread has ended")).collect();
        self.health.report(&self.agent_id, self.started, &self.numbers.lock().clone(), ended)
    }

    /// All numbers at one moment.
    pub fn numbers(&self) -> Numbers {
        self.numbers.lock().clone()
    }
}

impl Drop for AgentHandle {
    fn drop(&mut self) {
        self.stop.give(0);
        for (_, thread) in self.threads.drain(..).rev() {
            // A panic was printed where it happened, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn read_boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
