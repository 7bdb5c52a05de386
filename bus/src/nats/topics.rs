//! Topics as streams: one stream for each, one subject for each partition; name, partitions and the largest record are
//! in the stream's metadata, so a stream that we did not make is no topic.
//!
//! Offsets are stream sequences less one, so that the first record of a topic has offset 0 as on every log. Within a
//! partition they grow, with gaps where other partitions' records are.
//! Limits: what was found of a topic is kept for the connection's life; partitions are never added.

use super::{
    errors::{Refused, code},
    link::{Link, lock},
    names,
    stream::{ANSWER_WITHIN, DUPLICATE_WINDOW, StreamConfig, StreamInfo, get, info},
};
use crate::{BusError, TopicInfo, TopicPartition, TopicSpec, record::keyless};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Partitions of one topic; all are one stream on one server.
const PARTITIONS_MAX: i32 = 1024;
/// What a message may have beside the record's bytes: the message's id, fences, names of headers.
const OVERHEAD_BYTES: usize = 4096;

const NAME: &str = "amoskys.topic";
const PARTITIONS: &str = "amoskys.partitions";
const COMPACTED: &str = "amoskys.compacted";
const RECORD_BYTES_MAX: &str = "amoskys.record_bytes_max";

/// A topic as it is on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub name: String,
    pub stream: String,
    pub partitions: i32,
    pub record_bytes_max: Option<usize>,
    /// Each key has a subject of its own, which keeps one record.
    pub is_compacted: bool,
    pub replicas: usize,
    /// How long the server remembers message ids: a message may be sent again for this long.
    pub remembers_ids_for: Duration,
}

impl Topic {
    /// Whether it has this partition.
    pub(super) fn has(&self, partition: i32) -> bool {
        (0..self.partitions).contains(&partition)
    }

    /// Every record of a partition.
    pub(super) fn records_of(&self, partition: i32) -> String {
        if self.is_compacted { names::keys_of(&self.name, partition) } else { names::subject_of(&self.name, partition) }
    }

    /// Where a record of a partition goes.
    pub(super) fn subject_of(&self, partition: i32, key: Option<&[u8]>) -> Result<String, BusError> {
        match key {
            _ if !self.is_compacted => Ok(names::subject_of(&self.name, partition)),
            Some(key) => names::subject_of_key(&self.name, partition, key),
            None => Err(keyless(&self.name)),
        }
    }
}

#[derive(Deserialize)]
struct Created {
    #[serde(default)]
    did_create: bool,
}

#[derive(Deserialize)]
struct StreamList {
    total: usize,
    #[serde(default)]
    streams: Option<Vec<StreamInfo>>,
}

/// The topics that were asked for.
#[derive(Default)]
pub(super) struct Topics {
    known: Mutex<BTreeMap<String, Arc<Topic>>>,
}

impl Topics {
    pub(super) async fn get(&self, link: &Link, name: &str, within: Duration) -> Result<Arc<Topic>, BusError> {
        if let Some(topic) = lock(&self.known).get(name) {
            return Ok(topic.clone());
        }
        let topic = Arc::new(find(link, name, within).await?);
        lock(&self.known).insert(name.to_owned(), topic.clone());
        Ok(topic)
    }

    /// It may have changed, or gone.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.known).remove(name);
    }
}

async fn find(link: &Link, name: &str, within: Duration) -> Result<Topic, BusError> {
    link.ready(within).await?;
    let unknown = || BusError::UnknownTopic { topic: name.to_owned() };
    names::check_topic(name).map_err(|_| unknown())?;
    let info = info(link, &names::stream_of(name), within).await;
    let info = info.map_err(|refused| link.during("asking for a topic", name).refused(refused))?;
    topic_of(&info.config).ok_or_else(unknown)
}

/// The topic that a stream is, when it is one of ours.
fn topic_of(config: &StreamConfig) -> Option<Topic> {
    let name = config.metadata.get(NAME).filter(|name| names::stream_of(name) == config.name)?;
    Some(Topic {
        name: name.clone(),
        stream: config.name.clone(),
        partitions: config.metadata.get(PARTITIONS)?.parse().ok()?,
        record_bytes_max: config.metadata.get(RECORD_BYTES_MAX).and_then(|text| text.parse().ok()),
        is_compacted: config.metadata.contains_key(COMPACTED),
        replicas: config.num_replicas.max(1),
        remembers_ids_for: Duration::from_nanos(u64::try_from(config.duplicate_window).unwrap_or(0)),
    })
}

pub(super) async fn list(link: &Link) -> Result<Vec<TopicInfo>, BusError> {
    link.ready(ANSWER_WITHIN).await?;
    let (mut topics, mut offset) = (Vec::new(), 0);
    loop {
        let asked = serde_json::json!({ "offset": offset });
        let list: Result<StreamList, _> = link.ask("STREAM.LIST", &asked, ANSWER_WITHIN).await;
        let list = list.map_err(|refused| link.during("listing topics", "").refused(refused))?;
        let streams = list.streams.unwrap_or_default();
        let found = streams.iter().filter_map(|stream| topic_of(&stream.config));
        topics.extend(found.map(|topic| TopicInfo { name: topic.name, partitions: topic.partitions }));
        offset += streams.len();
        if streams.is_empty() || offset >= list.total {
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(topics);
        }
    }
}

/// `false` when it is there already.
pub(super) async fn create(link: &Link, spec: &TopicSpec) -> Result<bool, BusError> {
    spec.check(PARTITIONS_MAX)?;
    names::check_topic(&spec.name)?;
    let config = config_of(spec)?;
    link.ready(ANSWER_WITHIN).await?;
    match info(link, &config.name, ANSWER_WITHIN).await {
        Ok(info) if topic_of(&info.config).is_some() => return Ok(false),
        Ok(_) => return Err(taken(&spec.name, &format!("a stream `{}` that Amoskys did not make", config.name))),
        Err(refused) if refused.is(code::STREAM_NOT_FOUND) => {}
        Err(refused) => return Err(link.during("creating a topic", &spec.name).refused(refused)),
    }
    match link.ask::<Created>(&format!("STREAM.CREATE.{}", config.name), &config, ANSWER_WITHIN).await {
        Ok(created) => Ok(created.did_create),
        // Somebody else was faster.
        Err(refused) if refused.is(code::STREAM_NAME_IN_USE) => Ok(false),
        Err(refused) if refused.is(code::SUBJECT_OVERLAP) => Err(taken(&spec.name, "another stream's subjects")),
        Err(Refused::Api(error)) if error.code == 400 => Err(BusError::Misconfigured {
            detail: format!("topic `{}` cannot be created as asked: {}", spec.name, error.description),
        }),
        Err(refused) => Err(link.during("creating a topic", "").refused(refused)),
    }
}

fn taken(topic: &str, by: &str) -> BusError {
    BusError::Misconfigured { detail: format!("topic `{topic}` cannot be created: its name is taken by {by}") }
}

fn config_of(spec: &TopicSpec) -> Result<StreamConfig, BusError> {
    let (record_bytes_max, is_compacted) = (spec.limit("max.message.bytes")?, spec.is_compacted()?);
    // As in Kafka, age and size are nothing to a topic that is compacted.
    let limit = |name: &str| if is_compacted { Ok(None) } else { spec.limit(name) };
    let max_age_ns = limit("retention.ms")?.map_or(0, |ms| ms.max(1).saturating_mul(1_000_000));
    let window_ns = DUPLICATE_WINDOW.as_nanos() as i64;
    let mut metadata =
        BTreeMap::from([(NAME.to_owned(), spec.name.clone()), (PARTITIONS.to_owned(), spec.partitions.to_string())]);
    metadata.extend(record_bytes_max.map(|bytes| (RECORD_BYTES_MAX.to_owned(), bytes.to_string())));
    if is_compacted {
        metadata.insert(COMPACTED.to_owned(), "true".to_owned());
    }
    Ok(StreamConfig {
        name: names::stream_of(&spec.name),
        subjects: if is_compacted {
            names::subjects_by_key_of(&spec.name)
        } else {
            vec![names::subjects_of(&spec.name)]
        },
        storage: "file".to_owned(),
        discard: "old".to_owned(),
        max_age: max_age_ns,
        // The setting is for one partition, the stream's limit for all of them.
        max_bytes: limit("retention.bytes")?.map_or(-1, |bytes| bytes.saturating_mul(i64::from(spec.partitions))),
        // Ours are held to the exact limit before; this is for other producers. A header's byte may take three.
        max_msg_size: record_bytes_max.map_or(-1, |bytes| bytes.saturating_add(OVERHEAD_BYTES as i64)),
        max_msgs_per_subject: if is_compacted { 1 } else { -1 },
        num_replicas: usize::try_from(spec.replication).unwrap_or(1).max(1),
        duplicate_window: if max_age_ns > 0 { window_ns.min(max_age_ns) } else { window_ns },
        allow_direct: true,
        metadata,
        ..StreamConfig::default()
    })
}

/// First offset of the partition still there, and the offset after its last record.
pub(super) async fn bounds(link: &Link, topic: &Topic, of: &TopicPartition) -> Result<(i64, i64), BusError> {
    if !topic.has(of.partition) {
        return Err(BusError::UnknownTopic { topic: of.topic.clone() });
    }
    let subject = topic.records_of(of.partition);
    let during = link.during("asking for the bounds of a partition", &of.topic);
    // Before the messages are asked for: what comes meanwhile is not in front of it.
    let info = info(link, &topic.stream, ANSWER_WITHIN).await.map_err(|refused| during.refused(refused))?;
    let last = serde_json::json!({ "last_by_subj": subject });
    let Some(last) = get(link, &topic.stream, &last).await.map_err(|refused| during.refused(refused))? else {
        let nothing = info.state.last_seq as i64;
        return Ok((nothing, nothing));
    };
    let first = serde_json::json!({ "seq": 1, "next_by_subj": subject });
    let first = get(link, &topic.stream, &first).await.map_err(|refused| during.refused(refused))?;
    let end = last.sequence as i64;
    Ok((first.map_or(end, |first| first.sequence as i64 - 1), end))
}

/// The offset after the partition's last record; 0 when it has none.
pub(super) async fn end(link: &Link, topic: &Topic, of: &TopicPartition) -> Result<i64, BusError> {
    let subject = topic.records_of(of.partition);
    let last = serde_json::json!({ "last_by_subj": subject });
    let during = link.during("asking for the end of a partition", &of.topic);
    let last = get(link, &topic.stream, &last).await.map_err(|refused| during.refused(refused))?;
    Ok(last.map_or(0, |last| last.sequence as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(settings: &[(&str, &str)]) -> TopicSpec {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicSpec { name: "a.b".into(), partitions: 3, replication: 1, settings }
    }

    #[test]
    fn a_topic_reads_back_from_its_stream() {
        let config = config_of(&spec(&[("max.message.bytes", "1000")])).expect("config");
        let topic = topic_of(&config).expect("a topic");
        assert_eq!((topic.name.as_str(), topic.partitions, topic.record_bytes_max), ("a.b", 3, Some(1000)));
        assert!(topic.has(2) && !topic.has(3) && !topic.has(-1));
        assert_eq!(topic_of(&StreamConfig { metadata: BTreeMap::new(), ..config.clone() }), None);
        assert_eq!(topic_of(&StreamConfig { name: "copy".into(), ..config }), None, "a copy under another name");
    }

    #[test]
    fn a_compacted_topic_keeps_one_record_for_each_subject_whatever_its_age() {
        let config = config_of(&spec(&[("cleanup.policy", "compact"), ("retention.ms", "5")])).expect("config");
        assert_eq!((config.max_msgs_per_subject, config.max_age), (1, 0));
        let topic = topic_of(&config).expect("a topic");
        assert_eq!(topic.records_of(2), "a.b.2.*");
        assert_eq!(topic.subject_of(2, Some(b"k")).expect("a subject"), "a.b.2.kaw");
        topic.subject_of(2, None).expect_err("no key, no place");
        config_of(&spec(&[("cleanup.policy", "compact,delete")])).expect_err("one or the other");
    }

    #[test]
    fn retention_is_the_streams() {
        let config = config_of(&spec(&[("retention.ms", "1000"), ("retention.bytes", "10")])).expect("config");
        assert_eq!((config.max_age, config.max_bytes), (1_000_000_000, 30));
        assert_eq!(config.duplicate_window, config.max_age, "a server wants it no longer than messages are kept");
        let config = config_of(&spec(&[("retention.ms", "-1")])).expect("config");
        assert_eq!((config.max_age, config.max_bytes), (0, -1));
        config_of(&spec(&[("retention.ms", "a day")])).expect_err("refused");
    }
}
