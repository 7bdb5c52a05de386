//! `amoskys process`: SQL on the partitions that this member of the group owns.

use super::{ModelPlace, Models, create_topics, open_bus, serve};
use crate::{
    cli::{DONE, Misuse, address},
    config::{self, ProcessorConfig},
    http::{Endpoints, Health, Probe},
    stop,
};
use amoskys_bus::{Address, Bus, MemberOptions};
use amoskys_pipeline::{
    run::{Metrics, Status, Verify, Worker, WorkerError, WorkerOptions},
    sql,
};
use amoskys_proto::KeyRing;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use prometheus_client::registry::Registry;
use serde_json::json;
use std::{
    io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ScopedJoinHandle},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  amoskys process sql --bus kafka://broker:9092
  amoskys process sql my-detections --config processor.toml --group night-shift
Start it on as many machines as you like: processors of one group share the partitions.")]
pub struct ProcessCommand {
    /// Folders and files of SQL.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    /// The processor's TOML file. Without it: defaults and AMOSKYS_PROCESSOR_… variables.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The log to read from and write to; overrides the file.
    #[arg(long, env = "AMOSKYS_BUS", value_parser = address)]
    bus: Option<Address>,
    /// Consumer group; overrides the file.
    #[arg(long)]
    group: Option<String>,
    /// A name that stays over restarts, so that a restarted processor takes over at once.
    #[arg(long)]
    instance: Option<String>,
    /// Workers of this process, one for each core if not said; overrides the file.
    #[arg(long, value_name = "THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Create Amoskys' topics, with this many partitions, where they are missing.
    #[arg(long, value_name = "PARTITIONS")]
    create_topics: Option<i32>,
}

pub fn process(command: ProcessCommand) -> Result<u8> {
    let loaded = config::load_processor(command.config.as_deref(), &config::of_process()).map_err(Misuse::because)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let mut config = loaded.config;
    config.bus_address = command.bus.unwrap_or(config.bus_address);
    config.group = command.group.unwrap_or(config.group);
    config.instance = command.instance.or(config.instance);
    config.workers = command.workers.map(usize::from).or(config.workers);
    let stop = stop::on_signal()?;
    let bus = open_bus(config.bus_address.clone(), &config.bus, "amoskys-processor")?;
    if let Some(partitions) = command.create_topics {
        create_topics(bus.as_ref(), partitions)?;
    }
    let mut registry = Registry::default();
    let parts = ProcessorParts::from_config(&config, command.sql)?;
    let processor = Processor::new(parts, bus, &mut registry)?;
    let endpoints = processor.endpoints(registry);
    let servers = serve(&[config.metrics_address(), config.health_address()], &endpoints)?;
    let result = processor.run(&stop);
    drop(servers);
    result?;
    tracing::info!("drained");
    Ok(DONE)
}

/// What a processor is made of.
pub struct ProcessorParts {
    pub sql: Vec<PathBuf>,
    pub models: ModelPlace,
    /// Threads, each a member of the group.
    pub workers: usize,
    pub options: WorkerOptions,
}

impl ProcessorParts {
    fn from_config(config: &ProcessorConfig, sql: Vec<PathBuf>) -> Result<Self> {
        let verify = match &config.keys_dir {
            Some(folder) => Verify::Required(Arc::new(KeyRing::load(folder).map_err(Misuse::because)?)),
            None => Verify::Off,
        };
        let member = MemberOptions {
            instance: config.instance.clone(),
            delivery: config.delivery,
            start_at: config.start_at,
            prefetch_bytes_max: config.prefetch_bytes_max,
            ..MemberOptions::new(config.group.clone(), Vec::new())
        };
        let options = WorkerOptions {
            verify,
            dead_letter_topic: config.dead_letter_topic.clone(),
            commit_interval: config.commit_interval,
            ..WorkerOptions::new(member)
        };
        let models = ModelPlace { models_dir: config.models_dir.clone(), onnxruntime: config.onnxruntime.clone() };
        let workers = config.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get));
        Ok(Self { sql, models, workers, options })
    }
}

/// Workers that are ready to run. They share the log and the counters, and nothing on the way of an event.
pub struct Processor {
    workers: Vec<Worker>,
}

impl Processor {
    /// Plans the SQL; all its problems are one error.
    pub fn new(parts: ProcessorParts, bus: Arc<dyn Bus>, registry: &mut Registry) -> Result<Self> {
        let statements = sql::load(&parts.sql).map_err(Misuse::because)?;
        let (metrics, models) = (Metrics::register(registry), Models::new(parts.models));
        let worker = |index: usize| {
            // Planned for each, with models of its own: what a plan runs over and a model's session are one thread's.
            let options = sql::Options {
                pool: amoskys_proto::pool().context("the wire contract does not load")?,
                models: models.lookup(),
                collect: Vec::new(),
                without_inserts: false,
            };
            let dataflow = sql::plan(&statements, &options).map_err(Misuse::because)?;
            let options = options_of(&parts.options, index, parts.workers);
            anyhow::Ok(Worker::new(bus.clone(), dataflow, options, metrics.worker(index as u32))?)
        };
        let workers: Vec<Worker> = (0..parts.workers.max(1)).map(worker).collect::<Result<_>>()?;
        check_topics(bus.as_ref(), &workers[0])?;
        Ok(Self { workers })
    }

    /// What all workers are doing; stays true while they run.
    pub fn status(&self) -> StatusOf {
        StatusOf(self.workers.iter().map(Worker::status).collect())
    }

    /// Alive as long as it answers, ready once it owns partitions and has replayed them.
    pub fn endpoints(&self, registry: Registry) -> Endpoints {
        let probe = |ok: fn(&Status) -> bool| -> Probe {
            let status = self.status();
            Arc::new(move || {
                let status = status.now();
                let detail = json!({ "partitions": status.partitions.len(), "replaying": status.replaying() });
                Health { ok: ok(&status), detail }
            })
        };
        let status = self.status();
        let state = Arc::new(move || serde_json::to_value(status.now()).unwrap_or_default());
        Endpoints { registry: Arc::new(registry), alive: probe(|_| true), ready: probe(Status::is_ready), state }
    }

    /// Runs until `stop` is set, which a worker that fails sets for the others. They drain; the first error is told.
    pub fn run(self, stop: &AtomicBool) -> Result<()> {
        let ended = thread::scope(|scope| {
            let start = |(index, mut worker): (usize, Worker)| {
                thread::Builder::new().name(format!("worker-{index}")).spawn_scoped(scope, move || {
                    let result = worker.run(stop);
                    stop.store(true, Ordering::Relaxed);
                    result
                })
            };
            let running: Vec<_> = self.workers.into_iter().enumerate().map(start).collect();
            let end = |started: io::Result<ScopedJoinHandle<'_, Result<(), WorkerError>>>| {
                let worker = started.inspect_err(|_| stop.store(true, Ordering::Relaxed));
                let worker = worker.context("a worker cannot start")?;
                worker.join().map_err(|_| anyhow!("a worker ended by a fault of its own"))?.map_err(anyhow::Error::from)
            };
            running.into_iter().map(end).collect::<Vec<Result<()>>>()
        });
        ended.into_iter().collect()
    }
}

/// Each worker has a share of what is fetched ahead, and a name of its own where the processor has one.
fn options_of(options: &WorkerOptions, index: usize, workers: usize) -> WorkerOptions {
    let mut options = options.clone();
    options.member.prefetch_bytes_max = (options.member.prefetch_bytes_max / workers.max(1)).max(1 << 20);
    if workers > 1 {
        options.member.instance = options.member.instance.map(|instance| format!("{instance}-{index}"));
    }
    options
}

/// The status of several workers, readable from other threads.
#[derive(Clone)]
pub struct StatusOf(Vec<Arc<Mutex<Status>>>);

impl StatusOf {
    pub fn now(&self) -> Status {
        Status::joined(self.0.iter().map(|status| status.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

/// All topics that are missing are one error. A log that cannot be reached now is waited for later.
fn check_topics(bus: &dyn Bus, worker: &Worker) -> Result<()> {
    let there = match bus.topics() {
        Ok(there) => there,
        Err(error) if error.retryable() => {
            tracing::warn!(%error, "topics cannot be checked");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let missing: Vec<&str> =
        worker.topics().into_iter().filter(|name| !there.iter().any(|topic| topic.name == *name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    Err(Misuse(format!(
        "topics are missing: {names}; create them: amoskys topics create {names} --bus {}",
        bus.address()
    ))
    .into())
}
