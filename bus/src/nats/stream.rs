//! Streams as JetStream's interface describes them: configuration, messages by subject, purging. What they mean to us is
//! said in `topics` and `bucket`.
//!
//! Limits: only what we set or read of a configuration is here; the server fills in the rest.

use super::{
    errors::{Refused, code},
    link::Link,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// How long a question may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a message's id is remembered by the server: a publish is tried again for no longer than that.
pub(super) const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What we say and read of a stream's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StreamConfig {
    pub name: String,
    pub subjects: Vec<String>,
    pub storage: String,
    pub discard: String,
    pub max_age: i64,
    pub max_bytes: i64,
    pub max_msg_size: i64,
    pub max_msgs_per_subject: i64,
    pub num_replicas: usize,
    pub duplicate_window: i64,
    pub allow_direct: bool,
    pub allow_rollup_hdrs: bool,
    pub deny_delete: bool,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamInfo {
    pub config: StreamConfig,
    pub state: StreamState,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamState {
    pub last_seq: u64,
}

#[derive(Deserialize)]
struct Got {
    message: GotMessage,
}

#[derive(Deserialize)]
struct GotMessage {
    seq: u64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    time: String,
}

/// A message as stored.
pub(super) struct Stored {
    pub sequence: u64,
    pub payload: Vec<u8>,
    /// When it was stored, as the server wrote it (RFC 3339).
    pub time: String,
}

pub(super) async fn info(link: &Link, stream: &str, within: Duration) -> Result<StreamInfo, Refused> {
    link.ask(&format!("STREAM.INFO.{stream}"), &(), within).await
}

/// A message of a stream, from its leader; `None` when there is none.
pub(super) async fn get(link: &Link, stream: &str, which: &serde_json::Value) -> Result<Option<Stored>, Refused> {
    let got: Result<Got, _> = link.ask(&format!("STREAM.MSG.GET.{stream}"), which, ANSWER_WITHIN).await;
    match got {
        Ok(Got { message }) => {
            let payload = BASE64.decode(&message.data);
            let payload =
                payload.map_err(|error| Refused::NoAnswer(format!("a message that is not base64: {error}")))?;
            Ok(Some(Stored { sequence: message.seq, payload, time: message.time }))
        }
        Err(refused) if refused.is(code::NO_MESSAGE) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// Removes what a stream has under `subject`.
pub(super) async fn purge(link: &Link, stream: &str, subject: &str) -> Result<(), Refused> {
    let filter = serde_json::json!({ "filter": subject });
    link.ask::<serde_json::Value>(&format!("STREAM.PURGE.{stream}"), &filter, ANSWER_WITHIN).await.map(drop)
}
