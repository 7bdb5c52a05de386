//! The key-value bucket of a group: reading from the leader, compare-and-set, purging. It is an ordinary NATS bucket
//! with a history of one, so `nats kv get amoskys-GROUP state` shows it.

use super::{
    errors::{Refused, code},
    link::Link,
    names,
    stream::{self, ANSWER_WITHIN, DUPLICATE_WINDOW, Stored, StreamConfig},
    wire::Wire,
};
use crate::BusError;
use async_nats::HeaderMap;
use std::{collections::BTreeMap, sync::Arc};

pub(super) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

#[derive(Clone)]
pub(super) struct Bucket {
    pub link: Arc<Link>,
    name: String,
    stream: String,
}

impl Bucket {
    /// Opens the group's bucket, and makes it when it is the first.
    pub(super) async fn open(link: Arc<Link>, group: &str, replicas: usize) -> Result<Self, BusError> {
        let name = names::bucket_of(group)?;
        let bucket = Self { stream: names::bucket_stream(&name), name, link };
        let failed = |refused| bucket.link.during("opening a group", "").refused(refused);
        match stream::info(&bucket.link, &bucket.stream, ANSWER_WITHIN).await {
            Ok(_) => return Ok(bucket),
            Err(refused) if refused.is(code::STREAM_NOT_FOUND) => {}
            Err(refused) => return Err(failed(refused)),
        }
        let config = StreamConfig {
            name: bucket.stream.clone(),
            subjects: vec![names::key_subject(&bucket.name, ">")],
            storage: "file".to_owned(),
            discard: "new".to_owned(),
            max_bytes: -1,
            max_msg_size: -1,
            max_msgs_per_subject: 1,
            num_replicas: replicas,
            duplicate_window: DUPLICATE_WINDOW.as_nanos() as i64,
            allow_direct: true,
            allow_rollup_hdrs: true,
            deny_delete: true,
            metadata: BTreeMap::from([("amoskys.group".to_owned(), group.to_owned())]),
            ..StreamConfig::default()
        };
        let what = format!("STREAM.CREATE.{}", bucket.stream);
        match bucket.link.ask::<serde_json::Value>(&what, &config, ANSWER_WITHIN).await {
            Ok(_) => Ok(bucket),
            // Another member was faster.
            Err(refused) if refused.is(code::STREAM_NAME_IN_USE) => Ok(bucket),
            Err(refused) => Err(failed(refused)),
        }
    }

    /// The key's value and revision.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Stored>, Refused> {
        let last = serde_json::json!({ "last_by_subj": names::key_subject(&self.name, key) });
        stream::get(&self.link, &self.stream, &last).await
    }

    /// Sets the key, if its revision is `expected` (0: if it is not there).
    pub(super) fn wire(&self, key: &str, value: Vec<u8>, expected: Option<u64>) -> Wire {
        let mut headers = HeaderMap::new();
        if let Some(revision) = expected {
            headers.insert(EXPECTED, revision.to_string());
        }
        Wire { subject: names::key_subject(&self.name, key), headers, payload: value.into() }
    }

    pub(super) fn subject(&self, key: &str) -> String {
        names::key_subject(&self.name, key)
    }

    /// Removes the keys that match, which may be none.
    pub(super) async fn purge(&self, keys: &str) -> Result<(), Refused> {
        stream::purge(&self.link, &self.stream, &names::key_subject(&self.name, keys)).await
    }
}
