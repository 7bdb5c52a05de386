//! Apache Kafka through librdkafka. The only part of Amoskys that knows either.
//!
//! Producers are idempotent, readers read committed records only, a member's outputs and positions are one
//! transaction. Every queue of librdkafka's is bounded by an option (see `config`). Its log lines go to `tracing` under
//! `amoskys_bus::kafka`. Deliberately not here: retries of what librdkafka gave up.

mod answer;
mod config;
mod context;
mod direct;
mod errors;
mod fetch;
mod last_error;
mod limits;
mod member;
mod producer;
mod queue;
mod reader;
mod transaction;
mod unowned;

use crate::{
    Address, Bus, BusError, BusOptions, Member, MemberOptions, Producer, ProducerOptions, Reader, ReaderOptions,
    TopicInfo, TopicSpec,
};
use context::{ConsumerEvents, ProbeContext, ProducerEvents};
use direct::Direct;
use errors::During;
use fetch::Fetcher;
use limits::TopicLimits;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode as Code,
};
use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// How long a question to the cluster may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const COMPACTED_SEGMENT_BYTES: &str = "67108864";
/// Errors and log lines of a client that are served between two such questions.
const EVENTS_MAX: usize = 16;

/// A Kafka cluster. Connections are made by the handles, when they need one.
pub struct KafkaBus {
    options: BusOptions,
    address: String,
}

impl KafkaBus {
    /// Checks the settings; the cluster may be away. [`BusError::Misconfigured`] names a setting that is wrong.
    pub fn connect(options: &BusOptions) -> Result<Self, BusError> {
        let bus = Self { options: options.clone(), address: options.address.to_string() };
        config::may_be_direct(options)?;
        let config = config::probe(options)?;
        config.create_native_config().map_err(|error| bus.during("connecting", "").error(&error))?;
        if config.get("security.protocol").is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl")) {
            // Certificates and keys are read when a client is made; it connects to nobody.
            bus.probe()?;
        }
        Ok(bus)
    }

    fn during<'a>(&'a self, action: &'static str, topic: &'a str) -> During<'a> {
        During { action, address: &self.address, topic }
    }

    fn fetcher(
        &self,
        config: &ClientConfig,
        prefetch_bytes_max: usize,
        with_headers: bool,
    ) -> Result<Fetcher, BusError> {
        let consumer = config.create_with_context(ConsumerEvents::new(config));
        let consumer: BaseConsumer<ConsumerEvents> =
            consumer.map_err(|error| self.during("creating a consumer", "").error(&error))?;
        let direct = config::direct(&self.options, prefetch_bytes_max, with_headers)?.map(Direct::new);
        Ok(Fetcher::new(consumer, self.address.clone(), with_headers, direct))
    }

    /// A client to ask questions with.
    fn probe(&self) -> Result<BaseConsumer<ProbeContext>, BusError> {
        let config = config::probe(&self.options)?;
        let created = config.create_with_context(ProbeContext::new(&config));
        created.map_err(|error| self.during("creating a client", "").error(&error))
    }

    /// The topics that the broker names, or the one asked for.
    fn metadata(&self) -> Result<Vec<TopicInfo>, BusError> {
        let probe = self.probe()?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut cause = None;
        loop {
            // In slices, so that a refused login is told at once and not as a timeout.
            let asked = probe.fetch_metadata(None, Duration::from_millis(500));
            for _ in 0..EVENTS_MAX {
                let _ = probe.poll(Duration::ZERO);
            }
            match asked {
                Ok(metadata) => {
                    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
                    let info = |topic: &rdkafka::metadata::MetadataTopic| TopicInfo {
                        name: topic.name().to_owned(),
                        partitions: topic.partitions().len() as i32,
                    };
                    return Ok(topics.map(info).filter(|topic| !topic.name.starts_with("__")).collect());
                }
                Err(error) => {
                    // That no broker is left says less than what was said before of one.
                    let said = probe.client().context().last_error.take();
                    cause = said.filter(|(code, _)| cause.is_none() || *code != Code::AllBrokersDown).or(cause);
                    let told = match &cause {
                        Some((code, reason)) => self.during("listing topics", "").code(*code, reason),
                        None => self.during("listing topics", "").error(&error),
                    };
                    if !told.retryable() || Instant::now() >= deadline {
                        return Err(told);
                    }
                }
            }
        }
    }
}

impl Bus for KafkaBus {
    fn address(&self) -> &Address {
        &self.options.address
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        let mut topics = self.metadata()?;
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Unless the settings say otherwise the topic takes records of 10 MiB, as the handles do, and what is compacted is
    /// compacted every 64 MiB: the segment that is written to never is, and would be one of a gigabyte.
    fn create_topic(&self, topic: &TopicSpec) -> Result<bool, BusError> {
        // Says why when the cluster is away or refuses us; the request below would only time out.
        if self.topics()?.iter().any(|known| known.name == topic.name) {
            return Ok(false);
        }
        let during = self.during("creating a topic", &topic.name);
        let config = config::probe(&self.options)?;
        let admin: AdminClient<ProbeContext> =
            config.create_with_context(ProbeContext::new(&config)).map_err(|error| during.error(&error))?;
        let record_bytes_max = (config::RECORD_BYTES_MAX + config::RECORD_OVERHEAD_BYTES).to_string();
        let mut new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
        let is_said = |name: &str| topic.settings.iter().any(|(key, _)| key == name);
        if !is_said("max.message.bytes") {
            new = new.set("max.message.bytes", &record_bytes_max);
        }
        let is_compacted =
            topic.settings.iter().any(|(key, value)| key == "cleanup.policy" && value.contains("compact"));
        if is_compacted && !is_said("segment.bytes") {
            new = new.set("segment.bytes", COMPACTED_SEGMENT_BYTES);
        }
        for (key, value) in &topic.settings {
            new = new.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN)).request_timeout(Some(ANSWER_WITHIN));
        let results = futures::executor::block_on(admin.create_topics([&new], &options));
        match results.map_err(|error| during.error(&error))?.pop() {
            Some(Err((_, Code::TopicAlreadyExists))) => Ok(false),
            Some(Err((
                _,
                code @ (Code::InvalidConfig
                | Code::InvalidPartitions
                | Code::InvalidTopic
                | Code::InvalidReplicationFactor),
            ))) => {
                let detail = format!("topic `{}` cannot be created as asked: {code}", topic.name);
                Err(BusError::Misconfigured { detail })
            }
            Some(Err((_, code))) => Err(during.code(code, &code.to_string())),
            _ => Ok(true),
        }
    }

    fn producer(&self, options: &ProducerOptions) -> Result<Box<dyn Producer>, BusError> {
        let config = config::producer(&self.options, options)?;
        let producer = config.create_with_context(ProducerEvents::new(self.address.clone(), &config));
        let producer = producer.map_err(|error| self.during("creating a producer", "").error(&error))?;
        let limits = TopicLimits::new(config::probe(&self.options)?);
        Ok(Box::new(producer::KafkaProducer::new(producer, limits, options.record_bytes_max)))
    }

    fn reader(&self, options: &ReaderOptions) -> Result<Box<dyn Reader>, BusError> {
        let fetcher =
            self.fetcher(&config::reader(&self.options, options)?, options.prefetch_bytes_max, options.with_headers)?;
        Ok(Box::new(reader::KafkaReader::new(fetcher, self.address.clone())))
    }

    fn member(&self, options: &MemberOptions) -> Result<Box<dyn Member>, BusError> {
        let fetcher =
            self.fetcher(&config::member(&self.options, options)?, options.prefetch_bytes_max, options.with_headers)?;
        let instance = options.instance.clone().unwrap_or_else(random_name);
        let writer = transaction::Writer::new(
            config::member_producer(&self.options, options, &instance)?,
            TopicLimits::new(config::probe(&self.options)?),
            self.address.clone(),
            config::RECORD_BYTES_MAX,
            options.transaction_timeout,
        );
        Ok(Box::new(member::KafkaMember::join(fetcher, writer, options, self.address.clone())?))
    }
}

/// Different for every member, in every process.
fn random_name() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
