//! The external log behind one small interface.
//!
//! A [`Bus`] is a connection to a log. From it come a [`Producer`] (keyed writes with a delivery report), a
//! [`Reader`] (reads named partitions, no group) and a [`Member`] (one of a consumer group; its outputs and its
//! positions are committed together). `kafka`, `nats` and `local` implement it; [`open`] chooses by [`Address`].
//!
//! Deliberately not here: what records mean, retries of decisions that belong to the caller, any runtime (all calls
//! block for at most their timeout and are made from one thread per handle).
//! Limits: every queue is bounded and its bound is a named option.

mod address;
mod error;
mod group;
mod options;
mod partitioner;
mod record;
mod trust;

pub mod kafka;
pub mod local;
pub mod nats;
#[cfg(feature = "testing")]
pub mod testing;

pub use address::Address;
pub use error::{BusError, Fault};
pub use options::{BusOptions, Delivery, MemberOptions, ProducerOptions, ReaderOptions, Security, StartAt};
pub use partitioner::{murmur2, partition_for_key};
pub use record::{DeliveryReport, Outgoing, Position, Record, TopicInfo, TopicPartition, TopicSpec};

use std::{sync::Arc, time::Duration};

/// A connection to a log. Cheap to share; each handle made from it belongs to one thread.
pub trait Bus: Send + Sync {
    /// The address as `--bus` takes it, without secrets.
    fn address(&self) -> &Address;
    /// All topics that are not internal to the log, by name.
    fn topics(&self) -> Result<Vec<TopicInfo>, BusError>;
    /// Creates the topic; `false` if it was there (its settings are left as they are).
    fn create_topic(&self, topic: &TopicSpec) -> Result<bool, BusError>;
    fn producer(&self, options: &ProducerOptions) -> Result<Box<dyn Producer>, BusError>;
    fn reader(&self, options: &ReaderOptions) -> Result<Box<dyn Reader>, BusError>;
    fn member(&self, options: &MemberOptions) -> Result<Box<dyn Member>, BusError>;
}

/// Writes records; order within a partition is the order of `send`, also over retries.
pub trait Producer: Send {
    /// Queues a record under the caller's token. `Err(QueueFull)` hands it back: poll and try again.
    fn send(&mut self, record: Outgoing, token: u64) -> Result<(), SendError>;
    /// Appends the delivery reports that have come, waiting at most `timeout` for the first.
    fn poll(&mut self, timeout: Duration, reports: &mut Vec<DeliveryReport>);
    /// Records queued or sent whose report has not been polled.
    fn in_flight(&self) -> usize;
    /// What somebody has to put right before reports can be good ones, where that is known before the reports come.
    fn trouble(&self) -> Option<BusError> {
        None
    }
}

/// Why a record was not queued.
#[derive(Debug)]
pub enum SendError {
    /// The queue is at `queue_records_max` or `queue_bytes_max`.
    QueueFull(Outgoing),
    Failed(BusError),
}

/// Reads named partitions from given offsets, outside any group. Reads committed records only.
pub trait Reader: Send {
    /// Starts reading `partition` at `offset` (the next existing one if it is gone).
    fn assign(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError>;
    /// First offset still there, and the offset after the last committed record.
    fn bounds(&mut self, partition: &TopicPartition) -> Result<(i64, i64), BusError>;
    /// Hands over at most `records_max` records, waiting at most `timeout` for the first; then what else happened.
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<Vec<Change>, BusError>;
}

/// One of a consumer group.
///
/// A partition arrives by [`Change::Assigned`], is silent until [`Member::start`], and goes by
/// [`Change::Revoked`] (a last `commit` for it may be made before the next `poll`, which gives it up) or
/// [`Change::Lost`] (it is somebody else's already; forget it).
pub trait Member: Send {
    /// As [`Reader::poll`]. Changes returned happened after the records handed over in the same call.
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<Vec<Change>, BusError>;
    /// The offset after the last record that can be read, as far as it is known without asking the log.
    fn known_end(&self, partition: &TopicPartition) -> Option<i64>;
    /// The same by the log's own word, now: no record that can be read was at or after it when this was called. Answers
    /// within a second or so, or fails; a log that is away fails retryably.
    fn end(&mut self, partition: &TopicPartition) -> Result<i64, BusError>;
    /// What the group has committed for each of these, whoever owns them; what is being committed meanwhile may be there or
    /// not. Answers within some seconds, or fails; a log that is away fails retryably.
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, BusError>;
    /// Starts (or moves) an assigned partition at `offset`.
    fn start(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError>;
    /// Writes `outputs` and `positions` together: with [`Delivery::ExactlyOnce`] both or neither can be read (on NATS in
    /// the end: a reader may see some outputs of a commit before the others), with [`Delivery::AtLeastOnce`] outputs are
    /// acknowledged first. `BusError::Fenced` when a partition is no longer
    /// this member's: nothing was written, and `Lost` follows. After an error that is retryable: poll, and if the
    /// partitions are still owned commit exactly the same again (the outcome may not be known yet, and only the same
    /// commit can find out).
    fn commit(&mut self, outputs: &[Outgoing], positions: &[(TopicPartition, Position)]) -> Result<(), BusError>;
    /// Leaves the group at once, so that others take over without waiting for a timeout.
    fn leave(self: Box<Self>) -> Result<(), BusError>;
}

/// What happened besides records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Assigned(Vec<Assignment>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
    /// The reader is at the end of the partition: `offset` is the next one to be written.
    End {
        partition: TopicPartition,
        offset: i64,
    },
}

/// A partition given to a member, and what its last owner committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub partition: TopicPartition,
    pub committed: Option<Position>,
    /// Where to start: the committed offset, or what [`StartAt`] came to when nobody has committed.
    pub begin: i64,
}

/// Connects to the log that the address names. The broker may still be away: calls fail or wait as their docs say. A NATS server
/// is connected to at once, so that it may refuse here; Kafka refuses what is done later.
pub fn open(options: &BusOptions) -> Result<Arc<dyn Bus>, BusError> {
    open_with(options, nats::OnRefusal::Fail)
}

/// As [`open`], for who goes on while the broker does not take its certificate or login: on every log it is what is done later that
/// is refused, until the broker takes it. Settings that are wrong by themselves are an error here too.
pub fn open_patiently(options: &BusOptions) -> Result<Arc<dyn Bus>, BusError> {
    open_with(options, nats::OnRefusal::TryOn)
}

fn open_with(options: &BusOptions, on_refusal: nats::OnRefusal) -> Result<Arc<dyn Bus>, BusError> {
    match &options.address {
        Address::Kafka { .. } => Ok(Arc::new(kafka::KafkaBus::connect(options)?)),
        Address::Nats { .. } => Ok(Arc::new(nats::NatsBus::connect(options, on_refusal)?)),
        Address::Local { .. } => Ok(Arc::new(local::LocalBus::open(options)?)),
    }
}
