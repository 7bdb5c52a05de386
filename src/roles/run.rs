//! `amoskys run`: agent and processor in one process, joined by a log (the embedded one, usually).

use super::{ModelPlace, Processor, ProcessorParts, agent, create_topics, open_bus, serve};
use crate::{
    cli::{DONE, Misuse, address},
    http::Endpoints,
    stop,
};
use amoskys_bus::{Address, MemberOptions};
use amoskys_pipeline::run::{Verify, WorkerOptions};
use amoskys_proto::{KeyRing, Signer};
use anyhow::{Context, Result};
use clap::Args;
use prometheus_client::registry::Registry;
use serde_json::json;
use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  amoskys run --agent agent.toml --sql sql --bus local:/var/lib/amoskys/log
A second process that opens the same local log is told who holds it.")]
pub struct RunCommand {
    /// The agent's TOML file. Without it: defaults and AMOSKYS_AGENT_… variables.
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Folders and files of SQL.
    #[arg(long, required = true, value_name = "DIR")]
    sql: Vec<PathBuf>,
    /// The log between the two.
    #[arg(long, env = "AMOSKYS_BUS", value_parser = address, default_value = "local:amoskys-log")]
    bus: Address,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    #[arg(long, default_value = "amoskys")]
    group: String,
}

pub fn run(command: RunCommand) -> Result<u8> {
    let config = agent::load(command.agent.as_deref())?;
    let stop = stop::on_signal()?;
    let bus = open_bus(command.bus, &config.bus, "amoskys-run")?;
    create_topics(bus.as_ref(), 1)?;
    let mut registry = Registry::default();
    // The processor trusts exactly the key that the agent beside it signs with.
    let verify = match &config.signing_key {
        Some(path) => {
            let signer = Signer::from_pem_file(path).map_err(Misuse::because)?;
            Verify::Required(Arc::new(KeyRing::of([signer.public()])))
        }
        None => Verify::Off,
    };
    let member = MemberOptions { instance: Some("run".to_owned()), ..MemberOptions::new(command.group, Vec::new()) };
    let parts = ProcessorParts {
        sql: command.sql,
        models: ModelPlace { models_dir: command.models, onnxruntime: None },
        workers: 1,
        options: WorkerOptions { verify, ..WorkerOptions::new(member) },
    };
    let processor = Processor::new(parts, bus.clone(), &mut registry)?;
    let agent = Arc::new(agent::start(&config, bus, &mut registry)?);
    let (agent_state, processor_endpoints) = (agent::probe(&agent), processor.endpoints(registry));
    let processor_state = processor_endpoints.state.clone();
    let endpoints = Endpoints {
        alive: agent::probe(&agent),
        state: Arc::new(move || json!({ "agent": agent_state().detail, "processor": processor_state() })),
        ..processor_endpoints
    };
    let servers = serve(&[config.metrics_address(), config.health_address()], &endpoints)?;
    let worker_stop = stop.clone();
    let worker = thread::Builder::new()
        .name("worker".into())
        // When it fails it sets `stop`: without its processor the agent would only fill the log.
        .spawn(move || processor.run(&worker_stop))
        .context("the worker cannot start")?;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(50));
    }
    agent.stop(Duration::from_secs(5));
    drop(servers);
    agent::finish(agent);
    match worker.join() {
        Ok(result) => result?,
        Err(_) => anyhow::bail!("the worker ended by a fault of its own"),
    }
    Ok(DONE)
}
