//! The long-running roles: `agent`, `process`, and both in one process (`run`).

mod agent;
mod keys;
mod model;
mod planned;
mod processor;
mod reload;
mod run;

pub use agent::{AgentCommand, agent};
pub use keys::{KeygenCommand, keygen};
pub use model::{ModelPlace, Models};
pub use planned::{PlannedProcessor, ProcessorParts};
pub use processor::{ProcessCommand, Processor, StatusOf, process};
pub use run::{RunCommand, run};

use crate::{
    cli::Misuse,
    config::BusConfig,
    http::{Bound, Endpoints, Server},
};
use amoskys_bus::{Address, Bus, BusOptions, TopicSpec};
use anyhow::Result;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

/// Connects to the log of a role.
pub fn open_bus(address: Address, config: &BusConfig, client_id: &str) -> Result<Arc<dyn Bus>> {
    Ok(amoskys_bus::open(&bus_options(address, config, client_id))?)
}

/// As [`open_bus`], for a role that goes on, with what it has to send kept, while the log does not take its certificate or login.
pub fn open_bus_patiently(address: Address, config: &BusConfig, client_id: &str) -> Result<Arc<dyn Bus>> {
    Ok(amoskys_bus::open_patiently(&bus_options(address, config, client_id))?)
}

fn bus_options(address: Address, config: &BusConfig, client_id: &str) -> BusOptions {
    BusOptions {
        address,
        security: config.security.clone(),
        client_id: client_id.to_owned(),
        extra: config.properties.clone(),
    }
}

/// Creates those of these topics that are not there.
pub fn create_topics(bus: &dyn Bus, topics: Vec<TopicSpec>) -> Result<()> {
    for topic in topics {
        if bus.create_topic(&topic)? {
            tracing::info!(topic = topic.name, partitions = topic.partitions, "topic created");
        }
    }
    Ok(())
}

/// Takes the role's ports, so that one that is taken is told before anything is opened; an address that is named twice
/// is taken once. The error names the key in `section`.
pub fn bind(section: &str, metrics: SocketAddr, health: SocketAddr) -> Result<Vec<Bound>> {
    let addresses = BTreeMap::from([(health, "health_port"), (metrics, "metrics_port")]);
    let bound = addresses.into_iter().map(|(address, key)| {
        Bound::to(address).map_err(|error| {
            let variable = format!("AMOSKYS_{}_{}", section.to_uppercase(), key.to_uppercase());
            Misuse(format!("{error}; give `{section}.{key}` (or {variable}) another port, or end what has this one"))
        })
    });
    Ok(bound.collect::<Result<_, _>>()?)
}

/// `/metrics`, the probes and `/state` on each port.
pub fn serve(bound: Vec<Bound>, endpoints: &Endpoints) -> Result<Vec<Server>> {
    let serve = |bound: Bound| {
        let server = bound.serve(endpoints.clone())?;
        tracing::info!(address = %server.address(), "serving /metrics, /healthz, /readyz and /state");
        Ok(server)
    };
    bound.into_iter().map(serve).collect()
}

/// This host's name, the default of `host_id` and `agent_id`.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}
