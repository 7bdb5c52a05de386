//! What is really in a partition since a moment, by message ids; payloads are not read.

use super::{
    config::SUBSCRIPTION_MESSAGES_MAX,
    link::{Link, is_no_responders},
    stream::ANSWER_WITHIN,
    topics::Topic,
    wire::MESSAGE_ID,
};
use crate::BusError;
use futures::StreamExt;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

/// Servers of a cluster, and this host, need not have the same time.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(60);
const REQUEST_RECORDS_MAX: u64 = SUBSCRIPTION_MESSAGES_MAX as u64 / 2;

#[derive(Deserialize)]
struct ConsumerInfo {
    name: String,
    #[serde(default)]
    num_pending: u64,
}

/// Some time before a moment that a server wrote (RFC 3339).
pub(super) fn earlier(than: &str) -> String {
    let time = humantime::parse_rfc3339_weak(than).unwrap_or(SystemTime::UNIX_EPOCH);
    before(time)
}

/// Some time before what was `elapsed` ago.
pub(super) fn ago(elapsed: Duration) -> String {
    before(SystemTime::now().checked_sub(elapsed).unwrap_or(SystemTime::UNIX_EPOCH))
}

fn before(time: SystemTime) -> String {
    let time = time.checked_sub(CLOCKS_DIFFER_BY).filter(|time| *time > SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_nanos(time.unwrap_or(SystemTime::UNIX_EPOCH)).to_string()
}

/// The outputs in the partition that were stored after `since`; `index_of` knows them by their message ids.
pub(super) async fn outputs(
    link: &Link,
    topic: &Topic,
    partition: i32,
    since: &str,
    index_of: &(dyn Fn(&str) -> Option<usize> + Sync),
) -> Result<BTreeSet<usize>, BusError> {
    let failed = |detail: String| BusError::Failed { action: "looking for outputs", detail, retryable: true };
    let name = format!("amoskys-look-{:016x}", RandomState::new().hash_one(partition));
    let subject = topic.records_of(partition);
    let config = serde_json::json!({
        "stream_name": topic.stream,
        "config": {
            "name": name, "filter_subject": subject, "ack_policy": "none", "replay_policy": "instant",
            "deliver_policy": "by_start_time", "opt_start_time": since, "headers_only": true,
            "inactive_threshold": 30_000_000_000u64, "mem_storage": true, "num_replicas": 1,
        },
    });
    let what = format!("CONSUMER.CREATE.{}.{name}.{subject}", topic.stream);
    let info: ConsumerInfo = link
        .ask(&what, &config, ANSWER_WITHIN)
        .await
        .map_err(|refused| link.during("looking for outputs", &topic.name).refused(refused))?;
    let inbox = link.client.new_inbox();
    let mut messages = link.client.subscribe(inbox.clone()).await.map_err(|error| failed(error.to_string()))?;
    let (mut left, mut found) = (info.num_pending, BTreeSet::new());
    while left > 0 {
        let batch = left.min(REQUEST_RECORDS_MAX);
        let ask = serde_json::json!({ "batch": batch, "expires": ANSWER_WITHIN.as_nanos() as u64 }).to_string();
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", topic.stream, info.name);
        let sent = link.client.publish_with_reply(next, inbox.clone(), ask.into()).await;
        sent.map_err(|error| failed(error.to_string()))?;
        for _ in 0..batch {
            let message = timeout(2 * ANSWER_WITHIN, messages.next()).await.ok().flatten();
            let message = message.ok_or_else(|| failed("no answer in time".to_owned()))?;
            if message.status.is_some() {
                let why = if is_no_responders(message.status) { "the consumer is gone" } else { "records are gone" };
                return Err(failed(why.to_owned()));
            }
            found.extend(message.headers.and_then(|headers| index_of(headers.get(MESSAGE_ID)?.as_str())));
        }
        left -= batch;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_begins_before_the_moment() {
        assert_eq!(earlier("2026-01-01T00:01:00.5Z"), "2026-01-01T00:00:00.500000000Z");
        assert_eq!(earlier("not a time"), "1970-01-01T00:00:00.000000000Z", "rather too much than too little");
        assert!(ago(Duration::from_secs(1)).starts_with("20"));
    }
}
