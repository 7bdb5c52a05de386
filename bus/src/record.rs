//! Records, positions and topics as every log has them. Plain data; no IO.

use crate::BusError;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

/// A record as read. Borrowed from the log's buffer: copy what must outlive the callback.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// When the log took it (LogAppendTime) or the producer made it (CreateTime); milliseconds since 1970.
    pub log_time_ms: i64,
    pub key: Option<&'a [u8]>,
    pub payload: &'a [u8],
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// A record to be written. Without `partition` the key decides, as the Java client's default partitioner would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: String,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Outgoing {
    /// Bytes of key, payload and headers: what is held against `record_bytes_max`.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.payload.len() + headers
    }
}

/// What became of a record sent under `token`.
#[derive(Debug)]
pub struct DeliveryReport {
    pub token: u64,
    /// Partition and offset, or why the log did not take it (see [`crate::BusError::retryable`]).
    pub result: Result<(i32, i64), crate::BusError>,
}

/// Where a group goes on in a partition, with words for its next owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The next offset to read.
    pub offset: i64,
    /// At most 4096 bytes (Kafka's `offset.metadata.max.bytes`).
    pub metadata: String,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// Copies on a Kafka or NATS cluster; 1 on a development broker.
    pub replication: i32,
    /// Settings by Kafka's names, e.g. `message.timestamp.type`. `local` and NATS obey
    /// `retention.ms`, `retention.bytes`, `max.message.bytes` and `cleanup.policy`, which is `delete` or `compact`: a
    /// compacted topic keeps the last record of each key, and may keep earlier ones for a while. Its records have keys.
    pub settings: Vec<(String, String)>,
}

impl TopicSpec {
    /// Bytes of a name, each a letter of ASCII.
    pub const NAME_BYTES_MAX: usize = 249;

    /// Kafka's rules for names, so that a topic of any log can also be one there.
    pub fn is_name(name: &str) -> bool {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        (1..=Self::NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(legal) && name != "." && name != ".."
    }

    /// The name, and a bound on the partitions.
    pub(crate) fn check(&self, partitions_max: i32) -> Result<(), BusError> {
        let name = &self.name;
        if !Self::is_name(name) {
            let detail = format!("`{name}` is no name for a topic; use 1 to 249 of a-z A-Z 0-9 . _ -");
            return Err(BusError::Misconfigured { detail });
        }
        if !(1..=partitions_max).contains(&self.partitions) {
            let detail = format!("topic `{name}` cannot have {} partitions; 1 to {partitions_max}", self.partitions);
            return Err(BusError::Misconfigured { detail });
        }
        Ok(())
    }

    /// Whether only the last record of each key is kept.
    pub(crate) fn is_compacted(&self) -> Result<bool, BusError> {
        is_compacted(&self.settings).map_err(|detail| BusError::Misconfigured { detail })
    }

    /// The value of setting `name`; `None` when it is absent or -1.
    pub(crate) fn limit(&self, name: &str) -> Result<Option<i64>, BusError> {
        limit(&self.settings, name).map_err(|detail| BusError::Misconfigured { detail })
    }
}

/// Whether only the last record of each key is kept. The error says what is wrong with the setting.
pub(crate) fn is_compacted(settings: &[(String, String)]) -> Result<bool, String> {
    match settings.iter().find(|(name, _)| name == "cleanup.policy").map(|(_, value)| value.as_str()) {
        None | Some("delete") => Ok(false),
        Some("compact") => Ok(true),
        Some(other) => Err(format!("`{other}` is no value for cleanup.policy here; write delete or compact")),
    }
}

/// Why a record without a key cannot go to a compacted topic.
pub(crate) fn keyless(topic: &str) -> BusError {
    BusError::Misconfigured { detail: format!("a record without a key cannot go to `{topic}`, which is compacted") }
}

/// The value of setting `name`; `None` when it is absent or -1. The error says which value is wrong.
pub(crate) fn limit(settings: &[(String, String)], name: &str) -> Result<Option<i64>, String> {
    let Some((_, value)) = settings.iter().find(|(key, _)| key == name) else { return Ok(None) };
    match value.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(limit) if limit >= 0 => Ok(Some(limit)),
        _ => Err(format!("`{value}` is no value for {name}; write a whole number, or -1 for no limit")),
    }
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    pub partitions: i32,
}
