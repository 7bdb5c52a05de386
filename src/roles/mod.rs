//! The long-running roles: `agent`, `process`, and both in one process (`run`).

mod agent;
mod model;
mod processor;
mod run;

pub use agent::{AgentCommand, agent};
pub use model::{ModelPlace, Models};
pub use processor::{ProcessCommand, Processor, ProcessorParts, StatusOf, process};
pub use run::{RunCommand, run};

use crate::{
    config::BusConfig,
    http::{Endpoints, Server},
};
use amoskys_bus::{Address, Bus, BusOptions};
use anyhow::Result;
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

/// Connects to the log of a role.
pub fn open_bus(address: Address, config: &BusConfig, client_id: &str) -> Result<Arc<dyn Bus>> {
    let options = BusOptions {
        address,
        security: config.security.clone(),
        client_id: client_id.to_owned(),
        extra: config.properties.clone(),
    };
    Ok(amoskys_bus::open(&options)?)
}

/// Creates those of Amoskys' own topics that are not there.
pub fn create_topics(bus: &dyn Bus, partitions: i32) -> Result<()> {
    for topic in crate::topics::own_topics(partitions) {
        if bus.create_topic(&topic)? {
            tracing::info!(topic = topic.name, partitions, "topic created");
        }
    }
    Ok(())
}

/// `/metrics`, the probes and `/state` on each address; one that is named twice is served once.
pub fn serve(addresses: &[SocketAddr], endpoints: &Endpoints) -> Result<Vec<Server>> {
    let addresses: BTreeSet<SocketAddr> = addresses.iter().copied().collect();
    addresses
        .into_iter()
        .map(|address| {
            let server = Server::start(address, endpoints.clone())?;
            tracing::info!(address = %server.address(), "serving /metrics, /healthz, /readyz and /state");
            Ok(server)
        })
        .collect()
}

/// This host's name, the default of `host_id` and `agent_id`.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}
