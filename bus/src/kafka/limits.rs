//! How large a record a topic takes, asked of the broker when it has refused one. Answers are kept.

use super::context::ProbeContext;
use crate::BusError;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
};
use std::{collections::BTreeMap, time::Duration};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

pub(super) struct TopicLimits {
    config: ClientConfig,
    known: BTreeMap<String, usize>,
}

impl TopicLimits {
    /// `config` is that of a client that only asks.
    pub(super) fn new(config: ClientConfig) -> Self {
        Self { config, known: BTreeMap::new() }
    }

    /// Puts the topic's limit into an error that was made without knowing it.
    pub(super) fn complete<T>(&mut self, result: &mut Result<T, BusError>) {
        if let Err(BusError::RecordTooLarge { topic, bytes, bytes_max }) = result {
            let limit = self.known.get(topic).copied().or_else(|| self.ask(topic));
            // Without an answer only this is certain.
            *bytes_max = limit.unwrap_or(bytes.saturating_sub(1));
        }
    }

    fn ask(&mut self, topic: &str) -> Option<usize> {
        let admin: AdminClient<ProbeContext> = self.config.create_with_context(ProbeContext::new(&self.config)).ok()?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN));
        let resources = [ResourceSpecifier::Topic(topic)];
        let described = futures::executor::block_on(admin.describe_configs(&resources, &options)).ok()?.pop()?.ok()?;
        let limit = described.get("max.message.bytes")?.value.as_ref()?.parse().ok()?;
        self.known.insert(topic.to_owned(), limit);
        Some(limit)
    }
}
