//! `amoskys demo`: real events of this host, through the whole way, to real alerts.
//!
//! Starts an agent and a processor on a log, waits through a quiet control period, makes two things happen that an
//! attacker does and that harm nothing, and shows the alerts. Passes only if both were alerted and the control period
//! raised none. Leaves no process and no file; on a log that is not its own it leaves the topics it made, which it names
//! (see `topics`).

mod display;
mod follow;
mod play;
mod stage;
mod summary;
mod topics;
mod view;

use crate::{
    cli::{Log, Misuse, address},
    config::BusConfig,
    print,
    roles::{ModelPlace, Models, PlannedProcessor, Processor, ProcessorParts, host_name, open_bus},
    stop,
};
use amoskys_bus::{Address, MemberOptions, StartAt};
use amoskys_collectors::{Agent, AgentConfig, SyscallMode};
use amoskys_pipeline::run::{Verify, WorkerOptions};
use amoskys_proto::{KeyRing, Signer};
use anyhow::{Context, Result};
use clap::Args;
use display::Display;
use follow::Followed;
use play::Demo;
use prometheus_client::registry::Registry;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use summary::Summary;
use topics::DemoTopics;
use view::Snapshot;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  amoskys demo
  amoskys demo --bus kafka://127.0.0.1:9092 --seconds 60
On a log that Amoskys is in use on, the demo makes topics of its own, amoskys.demo.NAME.*, and leaves them there.")]
pub struct Command {
    /// The log to use [env: AMOSKYS_BUS]; without it an embedded one in a temporary folder.
    #[arg(long, value_parser = address, value_name = "URL")]
    bus: Option<Address>,
    /// End after this long at the latest, 25 to 60.
    #[arg(long, default_value_t = 55, value_parser = clap::value_parser!(u64).range(25..=60), conflicts_with = "forever")]
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
    let named = match command.bus.clone() {
        Some(address) => Some((address, "named by --bus")),
        None => of_environment(std::env::var("AMOSKYS_BUS").ok().as_deref())?,
    };
    let key = Signer::generate()?;
    // What can be wrong is found before anything is opened or made.
    let planned = PlannedProcessor::new(parts(&command, &key))?;
    let stop = stop::on_signal()?;
    let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir().context("no temporary folder")?;
    let is_named = named.is_some();
    let embedded = || (Address::Local { path: folder.path().join("log") }, "embedded, in a temporary folder");
    let (address, because) = named.unwrap_or_else(embedded);
    let log_note = format!("log: {address} ({because})");
    // What is JSON for a machine is JSON alone.
    let quiet = log.quiet || command.format == Format::Json;
    let ran = Running { command: &command, stop, folder: folder.path(), key }.run(planned, &address, &log_note, quiet);
    // Whatever it came to: everything has ended, so nothing is written there any more.
    drop(folder);
    let (mut summary, topics) = ran.with_context(|| log_note.clone())?;
    summary.log = log_note;
    if is_named {
        summary.topics_left = topics.specs().into_iter().map(|topic| topic.name).collect();
    }
    match command.format {
        Format::Text => print::text(summary.to_text())?,
        Format::Json => print::line(summary.to_json())?,
    }
    Ok(summary.exit_code())
}

/// The log that AMOSKYS_BUS names, and the words for that.
fn of_environment(value: Option<&str>) -> Result<Option<(Address, &'static str)>> {
    let Some(text) = value.filter(|text| !text.is_empty()) else { return Ok(None) };
    let address = address(text).map_err(|wrong| Misuse(format!("AMOSKYS_BUS: {wrong}")))?;
    Ok(Some((address, "named by AMOSKYS_BUS; unset it for an embedded one")))
}

/// Before the random part of the folder's name, which also tells this demo from others on the same log.
const FOLDER_PREFIX: &str = "amoskys-demo-";

fn parts(command: &Command, key: &Signer) -> ProcessorParts {
    let member = MemberOptions {
        instance: Some("demo".into()),
        start_at: StartAt::Latest,
        ..MemberOptions::new(String::new(), Vec::new())
    };
    let verify = Verify::by(KeyRing::of([key.public()]));
    ProcessorParts {
        sql: vec![command.sql.clone()],
        models: Models::new(ModelPlace { models_dir: command.models.clone(), onnxruntime: None }),
        workers: 1,
        options: WorkerOptions { verify, commit_interval: Duration::from_millis(500), ..WorkerOptions::new(member) },
    }
}

/// A demo from its log to its summary.
struct Running<'a> {
    command: &'a Command,
    stop: Arc<AtomicBool>,
    folder: &'a Path,
    key: Signer,
}

impl Running<'_> {
    /// Everything that it started has ended when this returns, also with an error.
    fn run(
        self,
        mut planned: PlannedProcessor,
        address: &Address,
        log_note: &str,
        quiet: bool,
    ) -> Result<(Summary, DemoTopics)> {
        let bus = open_bus(address.clone(), &BusConfig::default(), "amoskys-demo")?;
        let random = self.folder.file_name().unwrap_or_default().to_string_lossy().replace(FOLDER_PREFIX, "");
        let topics = DemoTopics::choose(&bus.topics()?, planned.topics(), &random);
        topics.specs().iter().try_for_each(|topic| bus.create_topic(topic).map(drop))?;
        planned.rename_topics(&|plain| topics.name(plain));
        planned.set_group(format!("amoskys-demo-{random}"));
        let mut registry = Registry::default();
        let processor = planned.on(bus.clone(), &mut registry)?;
        let status = processor.status();
        let followed = Followed::start(bus.as_ref(), &topics)?;
        let worker = Worker::start(processor)?;
        let agent = Agent::start(self.agent_config(&topics)?, bus, &mut registry)?;
        let display = Display::open(quiet)?;
        let (command, longest) = (self.command, Duration::from_secs(self.command.seconds));
        let mut begin = Snapshot { bus: address.to_string(), ..Snapshot::default() };
        [log_note.to_owned()].into_iter().chain(topics.note()).for_each(|note| begin.notes.push(note));
        let mut demo = Demo::new(begin, self.stop, status, followed, agent, display, longest);
        demo.note(format!("processor: SQL in {}, every envelope's signature is verified", command.sql.display()));
        let summary = demo.play(command.forever);
        let ended = worker.end();
        Ok((summary.and_then(|summary| ended.map(|()| summary))?, topics))
    }

    fn agent_config(&self, topics: &DemoTopics) -> Result<AgentConfig> {
        let key_path = self.folder.join("agent.pem");
        self.key.write_files(&key_path)?;
        let mut config = AgentConfig::new("demo", host_name(), self.folder.join("wal"));
        config.signing_key_path = Some(key_path);
        (config.process_topic, config.syscall_topic) = (topics.telemetry(), topics.syscalls());
        config.status_topic = topics.status();
        config.syscall.source = SyscallMode::Auto;
        config.process.snapshot_interval = Duration::from_secs(3);
        config.batch.age_max = Duration::from_millis(100);
        Ok(config)
    }
}

/// The processor on a thread of its own, which ends with this.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Worker {
    fn start(processor: Processor) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::Builder::new().name("worker".into()).spawn(move || processor.run(&flag))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    fn end(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the processor ended by a fault of its own"),
            None => Ok(()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Only after another error, which is the one to tell.
        let _ = self.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_a_log_and_it_is_said() {
        let (address, because) = of_environment(Some("local:x")).expect("an address").expect("one");
        assert_eq!(address, Address::Local { path: "x".into() });
        assert!(because.contains("AMOSKYS_BUS"));
        assert!(
            of_environment(None).expect("nothing").is_none() && of_environment(Some("")).expect("nothing").is_none()
        );
        let error = of_environment(Some("host:1")).expect_err("no address").to_string();
        assert!(error.starts_with("AMOSKYS_BUS: `host:1`"), "{error}");
    }
}
