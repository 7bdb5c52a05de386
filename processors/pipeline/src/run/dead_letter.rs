//! A record that could not be used, as a record of the dead-letter topic.
//!
//! Limits: of a payload too large to be written again its beginning, with its length.

use super::{decode::DeadRecord, emit::timestamp};
use amoskys_bus::Outgoing;
use amoskys_proto::v1::{DeadLetter, DeadLetterReason};
use prost::Message;

const PAYLOAD_BYTES_MAX: usize = (1 << 20) - 1024;

/// A reason as people and labels have it.
pub fn reason_name(reason: DeadLetterReason) -> String {
    reason.as_str_name().trim_start_matches("DEAD_LETTER_REASON_").to_lowercase()
}

/// `from` is the topic and partition that the record was read from.
pub fn dead_letter(to: &str, (topic, partition): (&str, i32), record: &DeadRecord) -> Outgoing {
    let letter = DeadLetter {
        topic: topic.to_owned(),
        partition,
        offset: record.offset,
        log_time: Some(timestamp(record.log_time_ms.saturating_mul(1_000_000))),
        reason: record.reason.into(),
        detail: record.detail.clone(),
        key: record.key.clone().into(),
        payload: record.payload[..record.payload.len().min(PAYLOAD_BYTES_MAX)].to_vec().into(),
        payload_bytes: record.payload.len() as u64,
    };
    Outgoing {
        topic: to.to_owned(),
        partition: None,
        key: (!record.key.is_empty()).then(|| record.key.clone()),
        payload: letter.encode_to_vec(),
        headers: Vec::new(),
    }
}
