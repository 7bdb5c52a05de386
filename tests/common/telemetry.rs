//! Process telemetry as agents write it: events in envelopes, signed or not, and Amoskys' own topics.

use super::create;
use amoskys_bus::{Bus, Outgoing};
use amoskys_proto::{
    Signer,
    v1::{Envelope, EnvelopeHeader, ProcessBatch, ProcessEvent},
};
use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::Value;

pub const TELEMETRY: &str = "amoskys.telemetry.process.v1";
pub const SYSCALLS: &str = "amoskys.telemetry.syscall.v1";
pub const ALERTS: &str = "amoskys.alerts.v1";
pub const FEATURES: &str = "amoskys.features.process_activity.v1";
pub const DEAD_LETTERS: &str = "amoskys.deadletter.v1";

/// The topics that the shipped SQL reads and writes.
pub fn create_topics(bus: &dyn Bus, partitions: i32) {
    [TELEMETRY, SYSCALLS, ALERTS, FEATURES].iter().for_each(|topic| create(bus, topic, partitions));
    create(bus, DEAD_LETTERS, 1);
}

/// From protobuf's JSON; an unknown field is refused.
pub fn event(json: Value) -> ProcessEvent {
    let pool = amoskys_proto::pool().expect("the contract loads");
    let descriptor = pool.get_message_by_name("amoskys.v1.ProcessEvent").expect("is in the contract");
    let text = json.to_string();
    let message = DynamicMessage::deserialize(descriptor, json).unwrap_or_else(|error| panic!("{error}: {text}"));
    message.transcode_to().expect("the same message")
}

/// RFC 3339, as timestamps are parsed from.
pub fn iso(at_ms: i64) -> String {
    let time = arrow::temporal_conversions::timestamp_ms_to_datetime(at_ms).expect("in range");
    format!("{}Z", time.format("%Y-%m-%dT%H:%M:%S%.3f"))
}

/// One envelope, keyed by its host. Without `partition` the key decides.
pub fn record(
    partition: Option<i32>,
    host: &str,
    sequence: u64,
    events: Vec<ProcessEvent>,
    signer: Option<&Signer>,
) -> Outgoing {
    let header = EnvelopeHeader {
        agent_id: host.to_owned(),
        host_id: host.to_owned(),
        boot_id: "b".to_owned(),
        sequence,
        schema: "amoskys.v1.ProcessBatch".to_owned(),
        first_event_time: events.first().and_then(|event| event.observed_at),
        last_event_time: events.last().and_then(|event| event.observed_at),
        event_count: events.len() as u32,
        key_id: String::new(),
    };
    let payload = ProcessBatch { events }.encode_to_vec().into();
    let envelope = match signer {
        Some(signer) => signer.seal(header, payload),
        None => Envelope { header: header.encode_to_vec().into(), payload, signature: Default::default() },
    };
    Outgoing {
        topic: TELEMETRY.to_owned(),
        partition,
        key: Some(host.as_bytes().to_vec()),
        payload: envelope.encode_to_vec(),
        headers: Vec::new(),
    }
}
