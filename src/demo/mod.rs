//! `amoskys demo`: real events of this host, through the whole way, to real alerts.
//!
//! Starts an agent and a processor on a log, waits through a quiet control period, makes two things happen that an
//! attacker does and that harm nothing, and shows the alerts. Passes only if both were alerted and the control period
//! raised none. Leaves no process and no file.

mod stage;
mod summary;

use crate::{
    cli::{FAILED, Log, address},
    config::BusConfig,
    roles::{ModelPlace, Processor, ProcessorParts, create_topics, open_bus},
    stop,
    topics::{ALERTS, alert::describe},
};
use amoskys_bus::{Address, Bus, MemberOptions, ReaderOptions, StartAt, TopicPartition};
use amoskys_collectors::{Agent, AgentConfig, AgentHandle};
use amoskys_pipeline::run::{Status, Verify, WorkerError, WorkerOptions};
use amoskys_proto::{KeyRing, Signer, v1::Alert};
use anyhow::{Context, Result};
use clap::Args;
use prometheus_client::registry::Registry;
use prost::Message;
use stage::{Behaviour, MemoryRun, Staged};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use summary::Summary;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  amoskys demo
  amoskys demo --bus kafka://127.0.0.1:9092 --seconds 60")]
pub struct Command {
    /// The log to use; without it an embedded one in a temporary folder.
    #[arg(long, value_parser = address)]
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
    /// Folder of the models.
    #[arg(long, default_value = "models")]
    models: PathBuf,
}

/// How long the host is watched before anything is staged.
const CONTROL: Duration = Duration::from_secs(8);
/// How long after the last expected alert further ones are waited for.
const AFTERMATH: Duration = Duration::from_secs(3);
const LIFETIME: Duration = Duration::from_secs(12);

pub fn run(command: Command, log: Log) -> Result<u8> {
    let stop = stop::on_signal()?;
    let folder = tempfile::Builder::new().prefix("amoskys-demo-").tempdir().context("no temporary folder")?;
    let address = command.bus.clone().unwrap_or_else(|| Address::Local { path: folder.path().join("log") });
    say(&format!("log: {address}"));
    let bus = open_bus(address, &BusConfig::default(), "amoskys-demo")?;
    create_topics(bus.as_ref(), 1)?;
    let key = Signer::generate()?;
    let key_path = folder.path().join("agent.pem");
    key.write_files(&key_path)?;

    let mut registry = Registry::default();
    let parts = ProcessorParts {
        sql: vec![command.sql.clone()],
        models: ModelPlace { models_dir: command.models.clone(), onnxruntime: None },
        options: worker_options(&key),
    };
    let processor = Processor::new(parts, bus.clone(), &mut registry)?;
    say(&format!("processor: SQL in {}, signatures required", command.sql.display()));
    let status = processor.worker.status();
    let alerts = Alerts::follow(bus.clone())?;
    let worker = Worker::start(processor)?;
    let mut config = AgentConfig::new("demo", crate::roles::host_name(), folder.path().join("wal"));
    config.signing_key_path = Some(key_path);
    config.process.snapshot_interval = Duration::from_secs(3);
    config.batch.age_max = Duration::from_millis(100);
    let agent = Agent::start(config, bus, &mut registry)?;
    say(&format!("agent: processes of this host through the {}", agent.status().process_source));

    let demo = Demo { stop, status, alerts, agent, quiet: log.quiet, ends: Instant::now() + Duration::from_secs(command.seconds) };
    let summary = demo.play(command.forever)?;
    worker.end()?;
    drop(folder);
    println!("{}", summary.to_text());
    Ok(summary.exit_code())
}

fn worker_options(key: &Signer) -> WorkerOptions {
    let group = format!("amoskys-demo-{}", std::process::id());
    let member = MemberOptions { instance: Some("demo".into()), start_at: StartAt::Latest, ..MemberOptions::new(group, Vec::new()) };
    let verify = Verify::Required(Arc::new(KeyRing::of([key.public()])));
    WorkerOptions { verify, commit_interval: Duration::from_millis(500), ..WorkerOptions::new(member) }
}

fn say(line: &str) {
    println!("{line}");
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// The processor on a thread of its own.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), WorkerError>>,
}

impl Worker {
    fn start(mut processor: Processor) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::Builder::new().name("worker".into()).spawn(move || processor.worker.run(&flag))?;
        Ok(Self { stop, thread })
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(result) => Ok(result?),
            Err(_) => anyhow::bail!("the processor ended by a fault of its own"),
        }
    }
}

/// Alerts as they can be read from the log, with the time of reading.
struct Alerts {
    received: Receiver<(Alert, i64)>,
    stop: Arc<AtomicBool>,
}

impl Alerts {
    fn follow(bus: Arc<dyn Bus>) -> Result<Self> {
        const WAITING_MAX: usize = 1024;
        let partition = TopicPartition { topic: ALERTS.to_owned(), partition: 0 };
        let mut reader = bus.reader(&ReaderOptions::default())?;
        let (_, end) = reader.bounds(&partition)?;
        reader.assign(&partition, end)?;
        let (sender, received) = sync_channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        thread::Builder::new().name("alerts".into()).spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let polled = reader.poll(Duration::from_millis(20), 100, &mut |record| {
                    if let Ok(alert) = Alert::decode(record.payload) {
                        // Nobody listens any more once the demo is over.
                        let _ = sender.send((alert, now_ms()));
                    }
                });
                if let Err(error) = polled {
                    tracing::error!(%error, "alerts cannot be read");
                    return;
                }
            }
        })?;
        Ok(Self { received, stop })
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Demo {
    stop: Arc<AtomicBool>,
    status: Arc<Mutex<Status>>,
    alerts: Alerts,
    agent: AgentHandle,
    quiet: bool,
    ends: Instant,
}

impl Demo {
    fn play(mut self, forever: bool) -> Result<Summary> {
        let mut summary = Summary::default();
        say(&format!("control period: {} s in which nothing should be alerted", CONTROL.as_secs()));
        self.watch(&mut summary, Instant::now() + CONTROL, |_| false);
        if !self.over() {
            summary.control_ended_ms = Some(now_ms());
            let mut running = self.stage_deleted_program(&mut summary)?;
            self.stage_burst(&mut summary)?;
            self.watch(&mut summary, self.ends, |summary| summary.verdict().passed());
            if !self.over() {
                self.watch(&mut summary, Instant::now() + AFTERMATH, |_| false);
            }
            if forever {
                self.ends = Instant::now() + Duration::from_secs(u64::MAX / 4);
                self.watch(&mut summary, self.ends, |_| false);
            }
            running.is_running();
        }
        summary.interrupted = self.stop.load(Ordering::Relaxed) && !forever;
        self.agent.stop(Duration::from_secs(2));
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        summary.events_read = status.rows;
        summary.rows_late = status.late_rows;
        summary.windows_closed = status.closed_windows;
        summary.events_dropped = self.agent.join().events_dropped;
        Ok(summary)
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || Instant::now() >= self.ends
    }

    fn stage_deleted_program(&mut self, summary: &mut Summary) -> Result<MemoryRun> {
        let run = MemoryRun::start(LIFETIME)?;
        announce(run.staged());
        self.watch(summary, Instant::now() + Duration::from_millis(700), |_| false);
        run.delete_program()?;
        summary.staged.push(run.staged().clone());
        Ok(run)
    }

    fn stage_burst(&mut self, summary: &mut Summary) -> Result<()> {
        let staged = stage::discovery_burst(&self.stop)?;
        announce(&staged);
        summary.staged.push(staged);
        Ok(())
    }

    /// Shows what comes until `until`, or until `enough`.
    fn watch(&mut self, summary: &mut Summary, until: Instant, enough: impl Fn(&Summary) -> bool) {
        let mut next_line = Instant::now();
        let mut rows_before = None;
        while Instant::now() < until && !self.over() && !enough(summary) {
            while let Ok((alert, read_ms)) = self.alerts.received.try_recv() {
                println!("{}", describe(&alert));
                if let Some(time) = &alert.time {
                    let event_ms = time.seconds * 1000 + i64::from(time.nanos) / 1_000_000;
                    summary.latencies_ms.push(u64::try_from(read_ms - event_ms).unwrap_or(0));
                }
                summary.alerts.push(alert);
            }
            if Instant::now() >= next_line && !self.quiet {
                let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
                println!("{}", status_line(&status, rows_before));
                rows_before = Some(status.rows);
                next_line += Duration::from_secs(1);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn announce(staged: &Staged) {
    say(&format!("staged: {} ({})", staged.behaviour.title(), staged.behaviour.techniques().join(", ")));
    staged.commands.iter().for_each(|command| say(&format!("        {command}")));
}

fn status_line(status: &Status, rows_before: Option<u64>) -> String {
    let rate = rows_before.map_or(0, |before| status.rows.saturating_sub(before));
    let watermark = status.partitions.iter().filter_map(|partition| partition.watermark_ns).min();
    let lag = watermark.map_or_else(|| "none yet".to_owned(), |ns| format!("{:.1} s behind", (now_ms() - ns / 1_000_000) as f64 / 1e3));
    format!(
        "{rate:>6} events/s  {:>8} events  watermark {lag}  {} windows closed  {} rows written",
        status.rows, status.closed_windows, status.emitted_rows
    )
}

const _: u8 = FAILED;
const _: fn(Behaviour) -> &'static str = Behaviour::title;
