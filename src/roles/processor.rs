//! `amoskys process`: SQL on the partitions that this member of the group owns.

use super::{PlannedProcessor, ProcessorParts, bind, keys::KeyWatch, open_bus, reload::Reloading, serve};
use crate::{
    cli::{DONE, Misuse, address},
    config,
    http::{Endpoints, Health, Probe},
    stop,
};
use amoskys_bus::Address;
use amoskys_pipeline::{
    run::{Metrics, Status, Verify, Worker, WorkerError},
    sql,
};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use prometheus_client::registry::Registry;
use serde_json::json;
use std::{
    io,
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
  amoskys process sql --bus kafka://broker:9092 --watch
Start it on as many machines as you like: processors of one group share the partitions.

It takes only telemetry that is signed with a key of processor.keys_dir (/etc/amoskys/public-keys); where nothing is signed, say
verify = \"off\" in the file, or AMOSKYS_PROCESSOR_VERIFY=off. Keys that are added there, taken away or revoked are in force some
seconds later (docs/keys.md).

SIGHUP has it read the SQL again (unless a terminal is its standard input, whose end is that signal, too). SQL that is wrong
changes nothing. What is unchanged keeps its windows; what is changed or new has its windows rebuilt from the log beside what runs, and
then takes its place.")]
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
    /// Go over to the SQL as it changes.
    #[arg(long)]
    watch: bool,
}

pub fn process(command: ProcessCommand) -> Result<u8> {
    let loaded = config::load_processor(command.config.as_deref(), &config::of_process()).map_err(Misuse::because)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let mut config = loaded.config;
    config.bus_address = command.bus.unwrap_or(config.bus_address);
    config.group = command.group.unwrap_or(config.group);
    config.instance = command.instance.or(config.instance);
    config.workers = command.workers.map(usize::from).or(config.workers);
    // All that can be wrong is found before anything is opened or made.
    let (key_watch, verify) = match &config.keys_dir {
        Some(folder) => KeyWatch::open(folder).map(|(watch, verify)| (Some(watch), verify))?,
        None => (None, Verify::Off),
    };
    let parts = ProcessorParts::from_config(&config, verify, command.sql);
    let digest = sql::load(&parts.sql).digest();
    let planned = PlannedProcessor::new(parts.clone())?;
    let ports = bind("processor", config.metrics_address(), config.health_address())?;
    let (stop, hangup) = stop::on_signal_but_hangup()?;
    planned.needs_no_more_than(&config.bus_address, command.create_topics.is_some())?;
    let bus = open_bus(config.bus_address.clone(), &config.bus, "amoskys-processor")?;
    planned.find_topics(bus.as_ref(), command.create_topics)?;
    let mut registry = Registry::default();
    let (summary, group) = (planned.summary(), config.group.clone());
    let processor = planned.on(bus.clone(), &mut registry)?;
    let endpoints = processor.endpoints(registry);
    let servers = serve(ports, &endpoints)?;
    tracing::info!(bus = %config.bus_address, group, "processor running: {summary}");
    let metrics = processor.metrics.clone();
    let reloading = Reloading {
        parts,
        create_topics: command.create_topics,
        watch: command.watch,
        digest,
        hangup,
        bus,
        workers: processor.workers.iter().map(Worker::next_sql).collect(),
        metrics: processor.metrics.clone(),
    };
    let result = thread::scope(|scope| {
        scope.spawn(|| reloading.run(&stop));
        if let Some(watch) = key_watch {
            scope.spawn(|| watch.run(&metrics, &stop));
        }
        let result = processor.run(&stop);
        // It may have ended by a fault.
        stop.store(true, Ordering::Relaxed);
        result
    });
    drop(servers);
    result?;
    tracing::info!("drained");
    Ok(DONE)
}

/// Workers that are ready to run. They share the log and the counters, and nothing on the way of an event.
pub struct Processor {
    pub(super) workers: Vec<Worker>,
    /// Of all workers.
    pub(super) metrics: Metrics,
}

impl Processor {
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

/// The status of several workers, readable from other threads.
#[derive(Clone)]
pub struct StatusOf(Vec<Arc<Mutex<Status>>>);

impl StatusOf {
    pub fn now(&self) -> Status {
        Status::joined(self.0.iter().map(|status| status.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}
