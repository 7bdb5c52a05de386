//! `amoskys demo`: real events of this host, through the whole way, to real alerts.
//!
//! Starts an agent and a processor on a log, waits through a quiet control period, makes two things happen that an
//! attacker does and that harm nothing, and shows the alerts. Passes only if both were alerted and the control period
//! raised none. Leaves no process and no file.

mod display;
mod follow;
mod play;
mod stage;
mod summary;
mod view;

use crate::{
    cli::{Log, address},
    config::BusConfig,
    roles::{ModelPlace, Processor, ProcessorParts, create_topics, host_name, open_bus},
    stop,
};
use amoskys_bus::{Address, MemberOptions, StartAt};
use amoskys_collectors::{Agent, AgentConfig};
use amoskys_pipeline::run::{Verify, WorkerOptions};
use amoskys_proto::{KeyRing, Signer};
use anyhow::{Context, Result};
use clap::Args;
use display::Display;
use follow::Followed;
use play::Demo;
use prometheus_client::registry::Registry;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  amoskys demo
  amoskys demo --bus kafka://127.0.0.1:9092 --seconds 60")]
pub struct Command {
    /// The log to use; without it an embedded one in a temporary folder.
    #[arg(long, env = "AMOSKYS_BUS", value_parser = address)]
    bus: Option<Address>,
    /// End after this long at the latest.
    #[arg(long, default_value_t = 55, value_parser = clap::value_parser!(u64).range(25..))]
    seconds: u64,
    /// Go on after the staged behaviours until interrupted.
    #[arg(long)]
    forever: bool,
    /// Folder of the SQL.
    #[arg(long, default_value = "sql")]
    sql: PathBuf,
    /// How the summary is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Folder of the models.
    #[arg(long, default_value = "models")]
    models: PathBuf,
}

/// How the summary is printed.
#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn run(command: Command, log: Log) -> Result<u8> {
    let stop = stop::on_signal()?;
    let folder = tempfile::Builder::new().prefix("amoskys-demo-").tempdir().context("no temporary folder")?;
    let address = command.bus.clone().unwrap_or_else(|| Address::Local { path: folder.path().join("log") });
    let bus = open_bus(address.clone(), &BusConfig::default(), "amoskys-demo")?;
    create_topics(bus.as_ref(), 1)?;
    let key = Signer::generate()?;
    let key_path = folder.path().join("agent.pem");
    key.write_files(&key_path)?;

    let mut registry = Registry::default();
    let parts = ProcessorParts {
        sql: vec![command.sql.clone()],
        models: ModelPlace { models_dir: command.models.clone(), onnxruntime: None },
        workers: 1,
        options: worker_options(&key),
    };
    let processor = Processor::new(parts, bus.clone(), &mut registry)?;
    let status = processor.status();
    let followed = Followed::start(bus.clone())?;
    let worker = Worker::start(processor)?;
    let mut config = AgentConfig::new("demo", host_name(), folder.path().join("wal"));
    config.signing_key_path = Some(key_path);
    config.process.snapshot_interval = Duration::from_secs(3);
    config.batch.age_max = Duration::from_millis(100);
    let agent = Agent::start(config, bus, &mut registry)?;

    // What is JSON for a machine is JSON alone.
    let display = Display::open(log.quiet || command.format == Format::Json)?;
    let mut demo =
        Demo::new(address.to_string(), stop, status, followed, agent, display, Duration::from_secs(command.seconds));
    demo.note(format!("processor: SQL in {}, every envelope's signature is verified", command.sql.display()));
    let summary = demo.play(command.forever)?;
    worker.end()?;
    drop(folder);
    match command.format {
        Format::Text => print!("{}", summary.to_text()),
        Format::Json => println!("{}", summary.to_json()),
    }
    Ok(summary.exit_code())
}

fn worker_options(key: &Signer) -> WorkerOptions {
    let group = format!("amoskys-demo-{}", std::process::id());
    let member = MemberOptions {
        instance: Some("demo".into()),
        start_at: StartAt::Latest,
        ..MemberOptions::new(group, Vec::new())
    };
    let verify = Verify::Required(Arc::new(KeyRing::of([key.public()])));
    WorkerOptions { verify, commit_interval: Duration::from_millis(500), ..WorkerOptions::new(member) }
}

/// The processor on a thread of its own.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Worker {
    fn start(processor: Processor) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::Builder::new().name("worker".into()).spawn(move || processor.run(&flag))?;
        Ok(Self { stop, thread })
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the processor ended by a fault of its own"),
        }
    }
}
