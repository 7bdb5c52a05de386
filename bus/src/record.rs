//! Records, positions and topics as every log has them. Plain data; no IO.

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
    /// Kafka only; 1 on a development broker.
    pub replication: i32,
    /// Settings by Kafka's names, e.g. `message.timestamp.type`. `local` keeps `retention.ms` and `retention.bytes`.
    pub settings: Vec<(String, String)>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    pub partitions: i32,
}
