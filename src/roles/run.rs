//! `amoskys run`: agent and processor in one process, joined by a log (the embedded one, usually).

use super::{ModelPlace, Models, PlannedProcessor, ProcessorParts, agent, bind, open_bus, serve};
use crate::{
    cli::{DONE, Misuse, address},
    http::Endpoints,
    stop,
};
use amoskys_bus::{Address, MemberOptions};
use amoskys_pipeline::run::{Verify, WorkerOptions};
use amoskys_proto::{KeyRing, Signer, Terms};
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
    /// A folder or file of SQL; may be given again.
    #[arg(long, required = true, value_name = "DIR")]
    sql: Vec<PathBuf>,
    /// The log between the two.
    #[arg(long, env = "AMOSKYS_BUS", value_parser = address, default_value = "local:amoskys-log")]
    bus: Address,
    /// Folder of the models that the SQL names, NAME/VERSION/model.onnx.
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    /// Folder of public keys that the agent signed with before: what they signed and is in the log is still trusted.
    #[arg(long, value_name = "DIR")]
    keys_dir: Option<PathBuf>,
    /// Under which name the processor's positions are kept in the log: it goes on where this group stopped.
    #[arg(long, default_value = "amoskys")]
    group: String,
}

pub fn run(command: RunCommand) -> Result<u8> {
    let config = agent::load(command.agent.as_deref())?;
    // The processor trusts the key that the agent beside it signs with, and those that it signed with before.
    let verify = match &config.signing_key {
        Some(path) => {
            let signer = Signer::from_pem_file(path).map_err(Misuse::because)?;
            let before = command.keys_dir.as_deref().map(KeyRing::load).transpose().map_err(Misuse::because)?;
            let mut ring = before.unwrap_or_default();
            if !ring.insert(signer.public(), &Terms::default()) {
                return Err(Misuse(format!("another key has the id {} of the agent's", signer.key_id())).into());
            }
            Verify::by(ring)
        }
        None => Verify::Off,
    };
    let member = MemberOptions { instance: Some("run".to_owned()), ..MemberOptions::new(command.group, Vec::new()) };
    let parts = ProcessorParts {
        sql: command.sql,
        models: Models::new(ModelPlace { models_dir: command.models, onnxruntime: None }),
        workers: 1,
        options: WorkerOptions { verify, ..WorkerOptions::new(member) },
    };
    // All that can be wrong is found before anything is opened or made.
    let planned = PlannedProcessor::new(parts)?;
    let ports = bind("agent", config.metrics_address(), config.health_address())?;
    let stop = stop::on_signal()?;
    planned.needs_no_more_than(&command.bus, true)?;
    let prepared = agent::prepare(&config)?;
    let bus = open_bus(command.bus, &config.bus, "amoskys-run")?;
    planned.find_topics(bus.as_ref(), Some(1))?;
    let mut registry = Registry::default();
    let summary = planned.summary();
    let processor = planned.on(bus.clone(), &mut registry)?;
    let agent = Arc::new(agent::start(prepared, bus.clone(), &mut registry)?);
    let (agent_state, processor_endpoints) = (agent::probe(&agent), processor.endpoints(registry));
    let processor_state = processor_endpoints.state.clone();
    let endpoints = Endpoints {
        alive: agent::probe(&agent),
        state: Arc::new(move || json!({ "agent": agent_state().detail, "processor": processor_state() })),
        ..processor_endpoints
    };
    let servers = serve(ports, &endpoints)?;
    agent::tell_running(&agent, &config, bus.as_ref());
    tracing::info!("processor running: {summary}");
    drop(bus);
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
