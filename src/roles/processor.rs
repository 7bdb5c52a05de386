//! `amoskys process`: SQL on the partitions that this member of the group owns.

use super::{ModelPlace, create_topics, lookup, open_bus, serve};
use crate::{
    cli::{DONE, Misuse, address},
    config::{self, ProcessorConfig},
    http::{Endpoints, Health, Probe},
    stop,
};
use amoskys_bus::{Address, Bus, MemberOptions};
use amoskys_pipeline::{
    run::{Metrics, Status, Verify, Worker, WorkerOptions},
    sql,
};
use amoskys_proto::KeyRing;
use anyhow::{Context, Result};
use clap::Args;
use prometheus_client::registry::Registry;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
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
    let stop = stop::on_signal()?;
    let bus = open_bus(config.bus_address.clone(), &config.bus, "amoskys-processor")?;
    if let Some(partitions) = command.create_topics {
        create_topics(bus.as_ref(), partitions)?;
    }
    let mut registry = Registry::default();
    let parts = ProcessorParts::from_config(&config, command.sql)?;
    let mut processor = Processor::new(parts, bus, &mut registry)?;
    let (alive, ready) = probes(processor.worker.status());
    let endpoints = Endpoints { registry: Arc::new(registry), alive, ready };
    let servers = serve(&[config.metrics_address(), config.health_address()], &endpoints)?;
    let result = processor.worker.run(&stop);
    drop(servers);
    result?;
    tracing::info!("drained");
    Ok(DONE)
}

/// What a processor is made of.
pub struct ProcessorParts {
    pub sql: Vec<PathBuf>,
    pub models: ModelPlace,
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
        Ok(Self { sql, models, options })
    }
}

/// A worker that is ready to run.
pub struct Processor {
    pub worker: Worker,
}

impl Processor {
    /// Plans the SQL; all its problems are one error.
    pub fn new(parts: ProcessorParts, bus: Arc<dyn Bus>, registry: &mut Registry) -> Result<Self> {
        let statements = sql::load(&parts.sql).map_err(Misuse::because)?;
        let options = sql::Options {
            pool: amoskys_proto::pool().context("the wire contract does not load")?,
            models: lookup(parts.models),
            collect: Vec::new(),
            without_inserts: false,
        };
        let dataflow = sql::plan(&statements, &options).map_err(Misuse::because)?;
        let worker = Worker::new(bus.clone(), dataflow, parts.options, Metrics::register(registry))?;
        check_topics(bus.as_ref(), &worker)?;
        Ok(Self { worker })
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

/// Alive as long as it answers, ready once it owns partitions and has replayed them.
pub fn probes(status: Arc<Mutex<Status>>) -> (Probe, Probe) {
    let probe = |ok: fn(&Status) -> bool| -> Probe {
        let status = status.clone();
        Arc::new(move || {
            let status = status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Health { ok: ok(&status), detail: serde_json::to_value(&status).unwrap_or_default() }
        })
    };
    let ready = |status: &Status| {
        !status.partitions.is_empty() && status.partitions.iter().all(|partition| !partition.replaying)
    };
    (probe(|_| true), probe(ready))
}
