//! How to open a log and its handles. Defaults are for telemetry; every bound is named with its unit.

use crate::Address;
use std::time::Duration;

/// Enough for a reader that is busy for a moment. More costs more than memory: a record that is fetched long before it is
/// looked at has left the processor's caches by then.
const PREFETCH_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Clone)]
pub struct BusOptions {
    pub address: Address,
    pub security: Security,
    /// Shown in the broker's logs.
    pub client_id: String,
    /// Kafka: passed through to librdkafka as they are, after ours, so they win; but `amoskys.fetch`, which is `direct` or
    /// `librdkafka` and says who reads records. NATS: the few names that its `config`
    /// knows; another one is refused.
    pub extra: Vec<(String, String)>,
}

/// TLS and SASL, by librdkafka's meaning (NATS's `config` says what they are there). All empty: plaintext. `Debug` never shows the password.
#[derive(Clone, Default)]
pub struct Security {
    pub protocol: Option<String>,
    pub ca_file: Option<String>,
    pub certificate_file: Option<String>,
    pub key_file: Option<String>,
    pub sasl_mechanism: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
}

#[derive(Debug, Clone)]
pub struct ProducerOptions {
    pub queue_records_max: usize,
    pub queue_bytes_max: usize,
    pub record_bytes_max: usize,
    /// How long a record may wait for its acknowledgement before its report is an error.
    pub delivery_timeout: Duration,
    /// How long to wait for more records before a request is sent.
    pub linger: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            queue_records_max: 10_000,
            queue_bytes_max: 64 << 20,
            record_bytes_max: 10 << 20,
            delivery_timeout: Duration::from_secs(120),
            linger: Duration::from_millis(5),
        }
    }
}

#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Records fetched ahead of `poll`, all partitions together.
    pub prefetch_bytes_max: usize,
    /// Whether records need their headers. Where nobody looks at them they may be left out, which on Kafka makes small
    /// records cheaper to read.
    pub with_headers: bool,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self { prefetch_bytes_max: PREFETCH_BYTES_MAX, with_headers: true }
    }
}

/// Where a partition that nobody committed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    Earliest,
    Latest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    ExactlyOnce,
    AtLeastOnce,
}

#[derive(Debug, Clone)]
pub struct MemberOptions {
    pub group: String,
    /// A name that stays over restarts lets a restarted member take its partitions back at once and finish or abort
    /// what it left open. Without it a random one is used and the session timeout must pass first.
    pub instance: Option<String>,
    pub topics: Vec<String>,
    pub delivery: Delivery,
    pub start_at: StartAt,
    pub prefetch_bytes_max: usize,
    /// As [`ReaderOptions::with_headers`].
    pub with_headers: bool,
    /// A member silent for this long loses its partitions.
    pub session_timeout: Duration,
    /// An open transaction of a dead member is aborted after this long; a commit is tried for as long on NATS.
    pub transaction_timeout: Duration,
}

impl MemberOptions {
    pub fn new(group: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            group: group.into(),
            instance: None,
            topics,
            delivery: Delivery::ExactlyOnce,
            start_at: StartAt::Earliest,
            prefetch_bytes_max: PREFETCH_BYTES_MAX,
            with_headers: true,
            session_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(10),
        }
    }
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Security")
            .field("protocol", &self.protocol)
            .field("sasl_mechanism", &self.sasl_mechanism)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}
