//! The last thing that went wrong for a whole client, and why: librdkafka tells it beside the calls that fail of it.
//!
//! Of a certificate or a login that is refused librdkafka says little, so that is said in our own words (see `trust`).
//! Limits: asking a broker for its certificate holds up whoever polls for as long as the broker takes, a few seconds at
//! most, and happens as often as librdkafka complains, which is once in 30 s.

use super::{
    context::lock,
    errors::{is_unauthorised, is_unreachable, refuses_tls, tls_alert},
};
use crate::{
    Security,
    trust::{self, Trust},
};
use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaErrorCode as Code};
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// The last thing that went wrong for the whole client, in words, and when that was.
#[derive(Default)]
pub(super) struct LastError {
    last: Mutex<Option<(Code, String, Instant)>>,
    trust: Trust,
}

/// A cause is told again at least this often while it lasts: librdkafka says the same once in 30 s.
const CAUSE_LASTS: Duration = Duration::from_secs(60);

const CHECK_LOGIN: &str = "username, password and sasl_mechanism";

impl LastError {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let get = |key| config.get(key).map(str::to_owned);
        let security = Security {
            protocol: get("security.protocol"),
            ca_file: get("ssl.ca.location"),
            certificate_file: get("ssl.certificate.location"),
            key_file: get("ssl.key.location"),
            username: get("sasl.username"),
            ..Security::default()
        };
        Self { last: Mutex::default(), trust: Trust::of(security) }
    }

    pub(super) fn note(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        tracing::debug!(target: "amoskys_bus::kafka", ?code, "{reason}");
        let mut last = lock(&self.last);
        // Why a login or a certificate was refused says more than that a broker is away, and that more than that no
        // broker is left.
        let is_cause = |code, reason: &str| is_unauthorised(code) || refuses_tls(code, reason);
        let keep = last.as_ref().filter(|(_, _, at)| at.elapsed() < CAUSE_LASTS).is_some_and(|(known, why, _)| {
            let weaker = is_unreachable(code) && !is_cause(code, reason);
            code == Code::AllBrokersDown || (is_cause(*known, why) && weaker)
        });
        if !keep {
            let (code, text) = self.explained(code, reason);
            *last = Some((code, text, Instant::now()));
        }
    }

    fn explained(&self, code: Code, reason: &str) -> (Code, String) {
        let Some((broker, why)) = parts(reason) else { return (code, reason.to_owned()) };
        if code == Code::Authentication {
            return (code, self.trust.of_login(why, broker, CHECK_LOGIN));
        }
        if !refuses_tls(code, reason) {
            return (code, reason.to_owned());
        }
        let text = match tls_alert(reason) {
            Some(alert) if trust::is_of_certificate(alert) => Some(self.trust.of_client(alert, broker)),
            _ => self.trust.ask_kafka(broker),
        };
        // The number of the alert is not in our words, so neither is what it is told by.
        let without_time = reason.split_once(" (after ").map_or(reason, |(reason, _)| reason);
        text.map_or_else(|| (code, format!("{without_time}; {}", trust::SEE_ALL)), |text| (Code::SSL, text))
    }

    /// Stays, because it may be the cause of more than one failure.
    pub(super) fn get(&self) -> Option<(Code, String)> {
        lock(&self.last).as_ref().map(|(code, reason, _)| (*code, reason.clone()))
    }

    pub(super) fn take(&self) -> Option<(Code, String)> {
        lock(&self.last).take().map(|(code, reason, _)| (code, reason))
    }
}

/// The broker and what went wrong of librdkafka's `sasl_ssl://host:port/bootstrap: SASL authentication error: … (after 5ms in state …)`.
fn parts(reason: &str) -> Option<(&str, &str)> {
    let (_, rest) = reason.split_once("://")?;
    let (broker, rest) = rest.split_once('/')?;
    let (_, why) = rest.split_once(": ")?;
    let why = why.split_once(" (after ").map_or(why, |(why, _)| why);
    Some((broker, why.strip_prefix("SASL authentication error: ").unwrap_or(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_is_refused_is_told_in_the_same_words_each_time() {
        let mut config = ClientConfig::new();
        config.set("sasl.username", "agent").set("sasl.password", "secret");
        let last = LastError::new(&config);
        let said = |after: &str| {
            let reason =
                format!("sasl_ssl://a:1/bootstrap: SASL authentication error: Invalid password (after {after})");
            last.explained(Code::Authentication, &reason).1
        };
        assert_eq!(said("5ms in state AUTH_REQ"), said("7ms in state AUTH_REQ, 3 identical error(s) suppressed"));
        assert!(said("").starts_with("a:1 does not take the login of `agent` (Invalid password); check username"));
    }

    #[test]
    fn what_is_not_of_a_certificate_stays_as_it_is() {
        let last = LastError::new(&ClientConfig::new());
        for reason in
            ["Connect to ipv4#127.0.0.1:1 failed", "ssl://a:1/bootstrap: Disconnected (after 3ms in state UP)"]
        {
            let expected = (Code::BrokerTransportFailure, reason.to_owned());
            assert_eq!(last.explained(Code::BrokerTransportFailure, reason), expected);
        }
    }
}
