//! What comes out of the agent's file: [`AgentConfig`], and its rules between keys.
//!
//! Deliberately not here: starting anything, the host's name (an argument of [`AgentConfig::collector`]).

use super::{
    agent::AGENT,
    bus_section::{self, BusConfig},
    check::{Input, Values, values},
    kind::Needed,
    problem::Problem,
    process_section, syscall_section,
};
use amoskys_collectors as collector;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// What an agent needs to run; made by [`check`] only, so it cannot be out of range.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// `None`: the host's name.
    pub host_id: Option<String>,
    /// `None`: the host id.
    pub agent_id: Option<String>,
    pub bus_address: amoskys_bus::Address,
    pub bus: BusConfig,
    pub listen: IpAddr,
    pub metrics_port: u16,
    pub health_port: u16,
    /// `None`: envelopes are not signed.
    pub signing_key: Option<PathBuf>,
    pub process_topic: String,
    pub syscall_topic: String,
    pub activity_topic: String,
    pub status_topic: String,
    pub status_interval: Duration,
    pub queue_events_max: usize,
    pub confine: collector::confine::ConfineMode,
    pub process: collector::ProcessConfig,
    pub syscall: collector::SyscallConfig,
    pub batch: collector::BatchConfig,
    pub wal: collector::WalConfig,
    pub publish: collector::PublishConfig,
}

impl AgentConfig {
    /// The collectors' own configuration, with what the host says where the file says nothing.
    pub fn collector(&self, host_name: &str) -> collector::AgentConfig {
        let host_id = self.host_id.clone().unwrap_or_else(|| host_name.to_owned());
        collector::AgentConfig {
            agent_id: self.agent_id.clone().unwrap_or_else(|| host_id.clone()),
            host_id,
            process_topic: self.process_topic.clone(),
            syscall_topic: self.syscall_topic.clone(),
            activity_topic: self.activity_topic.clone(),
            status_topic: self.status_topic.clone(),
            status_interval: self.status_interval,
            queue_events_max: self.queue_events_max,
            signing_key_path: self.signing_key.clone(),
            process: self.process.clone(),
            syscall: self.syscall.clone(),
            batch: self.batch.clone(),
            wal: self.wal.clone(),
            publish: self.publish.clone(),
        }
    }

    pub fn metrics_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.metrics_port)
    }

    pub fn health_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.health_port)
    }
}

const SIGNING_KEY: Needed = Needed { what: "the agent's ed25519 key", hint: "amoskys keygen PATH", when: None };

const A: &str = "agent";

/// Reads and judges the agent's configuration; `None` when a value was refused.
pub fn check(input: &Input<'_>) -> (Option<AgentConfig>, Vec<Problem>) {
    let (values, mut problems) = values(&AGENT, input);
    problems.extend(bus_section::rules(&values));
    problems.extend(syscall_section::rules(&values));
    problems.extend(wal_holds_an_envelope(&values));
    problems.extend(pauses_are_in_order(&values));
    problems.extend(signing_key_is_there(&values, input));
    (build(&values), problems)
}

fn wal_holds_an_envelope(values: &Values) -> Option<Problem> {
    let (wal, envelope) = (values.integer(A, "wal_bytes_max")?, values.integer(A, "max_env_bytes")?);
    let message = "is less than `max_env_bytes`, so the WAL could not hold one envelope".to_owned();
    let write = "at least max_env_bytes".to_owned();
    (wal < envelope).then(|| values.broken_rule(A, "wal_bytes_max", message, write))
}

fn pauses_are_in_order(values: &Values) -> Option<Problem> {
    let (min, max) = (values.duration(A, "retry_pause_min")?, values.duration(A, "retry_pause_max")?);
    let message = "is less than `retry_pause_min`".to_owned();
    let write = "at least retry_pause_min".to_owned();
    (max < min).then(|| values.broken_rule(A, "retry_pause_max", message, write))
}

fn signing_key_is_there(values: &Values, input: &Input<'_>) -> Option<Problem> {
    let path = signing_key(values)??;
    (!(input.exists)(&path)).then(|| values.missing_file(A, "signing_key", &path, SIGNING_KEY, input.purpose))
}

/// `None`: a value that decides it was refused. `Some(None)`: envelopes are not signed.
fn signing_key(values: &Values) -> Option<Option<PathBuf>> {
    if !values.flag(A, "sign")? {
        return Some(None);
    }
    if values.refused(A, "signing_key") {
        return None;
    }
    let in_folder = || Some(values.path(A, "cert_dir")?.join("agent.ed25519.pem"));
    values.path(A, "signing_key").or_else(in_folder).map(Some)
}

fn build(values: &Values) -> Option<AgentConfig> {
    Some(AgentConfig {
        host_id: values.text(A, "host_id"),
        agent_id: values.text(A, "agent_id"),
        bus_address: values.bus(A, "bus_address")?,
        bus: bus_section::build(values),
        listen: values.ip(A, "listen")?,
        metrics_port: values.number(A, "metrics_port")?,
        health_port: values.number(A, "health_port")?,
        signing_key: signing_key(values)?,
        process_topic: values.text("process", "topic")?,
        syscall_topic: values.text("syscall", "topic")?,
        activity_topic: values.text("syscall", "activity_topic")?,
        status_topic: values.text(A, "status_topic")?,
        status_interval: values.duration(A, "status_interval")?,
        queue_events_max: values.number(A, "queue_events_max")?,
        confine: match values.text(A, "confine")?.as_str() {
            "on" => collector::confine::ConfineMode::On,
            "off" => collector::confine::ConfineMode::Off,
            _ => collector::confine::ConfineMode::Auto,
        },
        process: process_section::build(values)?,
        syscall: syscall_section::build(values)?,
        batch: build_batch(values)?,
        wal: build_wal(values)?,
        publish: build_publish(values)?,
    })
}

fn build_batch(values: &Values) -> Option<collector::BatchConfig> {
    Some(collector::BatchConfig {
        max_env_bytes: values.number(A, "max_env_bytes")?,
        events_max: values.number(A, "batch_events_max")?,
        age_max: values.duration(A, "batch_age")?,
    })
}

fn build_wal(values: &Values) -> Option<collector::WalConfig> {
    let fsync_interval = values.duration(A, "wal_fsync_interval")?;
    Some(collector::WalConfig {
        path: values.path(A, "wal_path")?,
        bytes_max: values.integer(A, "wal_bytes_max")?,
        when_full: match values.text(A, "wal_full")?.as_str() {
            "block" => collector::WalFull::Block,
            _ => collector::WalFull::DropOldest,
        },
        fsync: match fsync_interval {
            Duration::ZERO => collector::Fsync::Always,
            interval => collector::Fsync::Interval(interval),
        },
    })
}

fn build_publish(values: &Values) -> Option<collector::PublishConfig> {
    let rate = values.integer(A, "send_rate")?;
    let send_rate = collector::SendRate { unit: collector::RateUnit::Events, per_second: rate, burst: rate };
    Some(collector::PublishConfig {
        send_rate: (rate > 0).then_some(send_rate),
        retry_max: values.number(A, "retry_max")?,
        retry_timeout: values.duration(A, "retry_timeout")?,
        retry_pause_min: values.duration(A, "retry_pause_min")?,
        retry_pause_max: values.duration(A, "retry_pause_max")?,
        in_flight_records_max: values.number(A, "in_flight_records_max")?,
        in_flight_bytes_max: values.number(A, "in_flight_bytes_max")?,
    })
}
