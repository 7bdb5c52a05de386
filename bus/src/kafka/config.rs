//! librdkafka's settings for each kind of handle. Pure: options in, settings out.
//!
//! What the user passes in `extra` comes last and wins. One of these is not librdkafka's: [`FETCH`].

use super::direct::Settings;
use crate::trust::Trust;
use crate::{Address, BusError, BusOptions, Delivery, MemberOptions, ProducerOptions, ReaderOptions};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use std::{sync::Arc, time::Duration};

/// What a record may have beside key, payload and headers, so that its size limit means what it says.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 4096;
/// Largest record by default; also what topics are created for.
pub(super) const RECORD_BYTES_MAX: usize = 10 << 20;
/// How long a record may wait for its topic to appear before that is unknown.
const UNKNOWN_TOPIC_AFTER_MS: u64 = 3_000;
/// Records come at once whatever this is; an added partition, a question and the news of the end wait for it.
const FETCH_WAIT_MS: u64 = 30;
/// A record in the prefetch queue costs this much beside its bytes.
const QUEUED_RECORD_BYTES: usize = 256;

/// Who reads records: [`DIRECT`], as far as that goes, or [`LIBRDKAFKA`] all of them.
const FETCH: &str = "amoskys.fetch";
const DIRECT: &str = "direct";
const LIBRDKAFKA: &str = "librdkafka";
/// Settings about reading and connections, by how they begin: who sets one of these means librdkafka.
const ABOUT_READING: [&str; 17] = [
    "api.version",
    "auto.offset",
    "broker.",
    "check.crcs",
    "client.rack",
    "connections.",
    "enable.partition",
    "fetch.",
    "isolation.",
    "max.partition",
    "max.poll",
    "queued.",
    "receive.",
    "sasl.",
    "security.",
    "socket.",
    "ssl.",
];

/// Broker, identity and security: what every handle has.
pub(super) fn base(options: &BusOptions) -> Result<ClientConfig, BusError> {
    let Address::Kafka { brokers } = &options.address else {
        return Err(BusError::Misconfigured { detail: format!("{} is no Kafka address", options.address) });
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers.join(","));
    config.set("client.id", &options.client_id);
    config.set("broker.address.family", "any");
    // Brokers come back: be there soon after, without hammering.
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
    config.set("log.connection.close", "false");
    let security = &options.security;
    for (key, value) in [
        ("security.protocol", &security.protocol),
        ("ssl.ca.location", &security.ca_file),
        ("ssl.certificate.location", &security.certificate_file),
        ("ssl.key.location", &security.key_file),
        ("sasl.mechanism", &security.sasl_mechanism),
        ("sasl.username", &security.username),
        ("sasl.password", &security.password),
    ] {
        if let Some(value) = value {
            config.set(key, value);
        }
    }
    Ok(config)
}

fn with_extra(mut config: ClientConfig, options: &BusOptions) -> ClientConfig {
    for (key, value) in options.extra.iter().filter(|(key, _)| key != FETCH) {
        config.set(key, value);
        if key == "debug" {
            // Else it would say nothing: what is below the level is left out before anybody here hears of it.
            config.set_log_level(RDKafkaLogLevel::Debug);
        }
    }
    config
}

/// For questions about the cluster.
pub(super) fn probe(options: &BusOptions) -> Result<ClientConfig, BusError> {
    Ok(with_extra(base(options)?, options))
}

pub(super) fn producer(bus: &BusOptions, options: &ProducerOptions) -> Result<ClientConfig, BusError> {
    let mut config = base(bus)?;
    writer(&mut config, options.record_bytes_max, options.delivery_timeout);
    config.set("queue.buffering.max.messages", options.queue_records_max.max(1).to_string());
    config.set("queue.buffering.max.kbytes", kbytes(options.queue_bytes_max.max(options.record_bytes_max)));
    config.set("linger.ms", millis(options.linger));
    Ok(with_extra(config, bus))
}

/// The producer behind a member; transactional when delivery is exactly once.
pub(super) fn member_producer(
    bus: &BusOptions,
    options: &MemberOptions,
    instance: &str,
) -> Result<ClientConfig, BusError> {
    let mut config = base(bus)?;
    writer(&mut config, RECORD_BYTES_MAX, options.transaction_timeout);
    config.set("queue.buffering.max.messages", "100000").set("queue.buffering.max.kbytes", "65536");
    // A commit hands over all its outputs at once, which takes a while, and waits for them: without lingering the first go out
    // by themselves, in many small batches.
    config.set("linger.ms", "1");
    // It has succeeded when nothing has failed and nothing is under way.
    config.set("delivery.report.only.error", "true");
    if options.delivery == Delivery::ExactlyOnce {
        config.set("transactional.id", format!("{}-{instance}", options.group));
        config.set("transaction.timeout.ms", millis(options.transaction_timeout));
    }
    Ok(with_extra(config, bus))
}

fn writer(config: &mut ClientConfig, record_bytes_max: usize, delivery_timeout: Duration) {
    config.set("enable.idempotence", "true").set("acks", "all");
    // As the Java client's default partitioner: murmur2 of the key, anywhere without one.
    config.set("partitioner", "murmur2_random");
    config.set("message.max.bytes", (record_bytes_max + RECORD_OVERHEAD_BYTES).to_string());
    config.set("message.timeout.ms", millis(delivery_timeout));
    config.set("topic.metadata.propagation.max.ms", UNKNOWN_TOPIC_AFTER_MS.to_string());
    config.set("compression.type", "lz4");
    // CONCURRENT_TRANSACTIONS is answered while the last transaction is being finished, for a few milliseconds.
    config.set("retry.backoff.ms", "2").set("retry.backoff.max.ms", "500");
}

pub(super) fn reader(bus: &BusOptions, options: &ReaderOptions) -> Result<ClientConfig, BusError> {
    let mut config = base(bus)?;
    consumer(&mut config, options.prefetch_bytes_max);
    // librdkafka wants one even where no group takes part; nothing is ever committed under it.
    config.set("group.id", "amoskys-reader");
    Ok(with_extra(config, bus))
}

pub(super) fn member(bus: &BusOptions, options: &MemberOptions) -> Result<ClientConfig, BusError> {
    let mut config = base(bus)?;
    consumer(&mut config, options.prefetch_bytes_max);
    config.set("group.id", &options.group);
    config.set("partition.assignment.strategy", "cooperative-sticky");
    config.set("session.timeout.ms", millis(options.session_timeout));
    config.set("heartbeat.interval.ms", (options.session_timeout.as_millis() / 5).max(50).to_string());
    config.set("max.poll.interval.ms", options.session_timeout.as_millis().max(300_000).to_string());
    // New topics and partitions are noticed this soon.
    config.set("topic.metadata.refresh.interval.ms", "30000");
    if let Some(instance) = &options.instance {
        config.set("group.instance.id", instance);
    }
    Ok(with_extra(config, bus))
}

fn consumer(config: &mut ClientConfig, prefetch_bytes_max: usize) {
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    // An offset that is gone: go on with the next one there is.
    config.set("auto.offset.reset", "earliest").set("check.crcs", "true");
    // All partitions share one queue (see `fetch`), so this bounds them together.
    config.set("queued.max.messages.kbytes", kbytes(prefetch_bytes_max));
    config.set("queued.min.messages", (prefetch_bytes_max / QUEUED_RECORD_BYTES).clamp(1_000, 1_000_000).to_string());
    // The default of one second would stall a reader that has just emptied a full queue.
    config.set("fetch.queue.backoff.ms", "5");
    config.set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string()).set("fetch.error.backoff.ms", "50");
    let fetch_bytes = fetch_bytes(prefetch_bytes_max);
    config.set("message.max.bytes", (RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES).to_string());
    config.set("fetch.message.max.bytes", (fetch_bytes / 4).max(1 << 20).to_string());
    config.set("fetch.max.bytes", fetch_bytes.to_string());
    config.set("receive.message.max.bytes", (fetch_bytes + (1 << 20)).to_string());
}

/// Most bytes of one answer: the largest record fits, whatever is fetched ahead.
fn fetch_bytes(prefetch_bytes_max: usize) -> usize {
    prefetch_bytes_max.clamp(RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES, 50 << 20)
}

/// Whether [`FETCH`] leaves anybody but librdkafka to read.
pub(super) fn may_be_direct(bus: &BusOptions) -> Result<bool, BusError> {
    match bus.extra.iter().rev().find(|(key, _)| key == FETCH).map(|(_, value)| value.as_str()) {
        None | Some(DIRECT) => Ok(true),
        Some(LIBRDKAFKA) => Ok(false),
        Some(other) => {
            let detail = format!("`{other}` is no value for {FETCH}; write {DIRECT} or {LIBRDKAFKA}");
            Err(BusError::Misconfigured { detail })
        }
    }
}

/// How records are read without librdkafka; `None` where they are not to be: somebody says so, there is a login, or a setting that is
/// librdkafka's alone.
pub(super) fn direct(
    bus: &BusOptions,
    prefetch_bytes_max: usize,
    with_headers: bool,
) -> Result<Option<Settings>, BusError> {
    if !may_be_direct(bus)? {
        return Ok(None);
    }
    let is_about_reading = |(key, _): &(String, String)| ABOUT_READING.iter().any(|begin| key.starts_with(begin));
    if bus.extra.iter().any(is_about_reading) {
        return Ok(None);
    }
    let tls = match bus.security.protocol.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("plaintext") => None,
        Some("ssl") => match Trust::of(bus.security.clone()).config() {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                tracing::debug!(target: "amoskys_bus::kafka", %error, "TLS is left to librdkafka");
                return Ok(None);
            }
        },
        Some(_) => return Ok(None),
    };
    // One that is handed over, one in the channel, one with the thread and one in the socket.
    let answer_bytes_max = (prefetch_bytes_max / 4).max(1 << 20);
    Ok(Some(Settings {
        client_id: bus.client_id.clone(),
        answer_bytes_max,
        first_batch_bytes_max: fetch_bytes(prefetch_bytes_max) + (1 << 20),
        partition_bytes_max: 1 << 20,
        wait: Duration::from_millis(FETCH_WAIT_MS),
        tls,
        with_headers,
    }))
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn kbytes(bytes: usize) -> String {
    (bytes / 1024).max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Security;

    fn bus() -> BusOptions {
        BusOptions {
            address: "kafka://a:1,b:2".parse().expect("address"),
            security: Security {
                protocol: Some("sasl_ssl".into()),
                ca_file: Some("/ca.pem".into()),
                certificate_file: Some("/cert.pem".into()),
                key_file: Some("/key.pem".into()),
                sasl_mechanism: Some("SCRAM-SHA-512".into()),
                username: Some("user".into()),
                password: Some("secret".into()),
            },
            client_id: "test".into(),
            extra: vec![("linger.ms".into(), "77".into())],
        }
    }

    #[test]
    fn security_and_extra_options_pass_through() {
        let config = producer(&bus(), &ProducerOptions::default()).expect("config");
        for (key, value) in [
            ("bootstrap.servers", "a:1,b:2"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "/ca.pem"),
            ("ssl.certificate.location", "/cert.pem"),
            ("ssl.key.location", "/key.pem"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "user"),
            ("sasl.password", "secret"),
            ("linger.ms", "77"),
        ] {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
    }

    #[test]
    fn librdkafka_takes_the_settings_of_every_kind_of_handle() {
        let bus = BusOptions { security: Security::default(), ..bus() };
        let mut options = MemberOptions::new("g", vec!["t".into()]);
        options.instance = Some("i".into());
        for config in [
            probe(&bus),
            producer(&bus, &ProducerOptions::default()),
            reader(&bus, &ReaderOptions::default()),
            member(&bus, &options),
            member_producer(&bus, &options, "i"),
        ] {
            config.expect("config").create_native_config().expect("librdkafka knows every key and value");
        }
    }

    #[test]
    fn the_queues_are_bounded_by_the_options() {
        let options = ProducerOptions { queue_records_max: 7, queue_bytes_max: 20 << 20, ..ProducerOptions::default() };
        let config = producer(&bus(), &options).expect("config");
        assert_eq!(config.get("queue.buffering.max.messages"), Some("7"));
        assert_eq!(config.get("queue.buffering.max.kbytes"), Some("20480"));
        let config =
            reader(&bus(), &ReaderOptions { prefetch_bytes_max: 1 << 20, ..Default::default() }).expect("config");
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("1024"));
        assert_eq!(config.get("queued.min.messages"), Some("4096"));
    }
}
