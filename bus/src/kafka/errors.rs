//! What librdkafka says, in the words of [`BusError`]: whose fault, and whether to try again. Pure.

use crate::BusError;
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

/// What was being done, for the messages.
#[derive(Clone, Copy)]
pub(super) struct During<'a> {
    pub action: &'static str,
    pub address: &'a str,
    /// The topic, or the topics, in question.
    pub topic: &'a str,
}

impl During<'_> {
    pub(super) fn error(&self, error: &KafkaError) -> BusError {
        match error.rdkafka_error_code() {
            Some(code) => self.code(code, &error.to_string()),
            None => self.without_code(error),
        }
    }

    /// `detail` is librdkafka's own sentence.
    pub(super) fn code(&self, code: Code, detail: &str) -> BusError {
        let detail = detail.to_owned();
        match code {
            Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::InvalidTopic => {
                BusError::UnknownTopic { topic: self.topic.to_owned() }
            }
            _ if is_unauthorised(code) => BusError::Unauthorised { detail },
            _ if refuses_tls(code, &detail) => BusError::Tls { address: self.address.to_owned(), detail },
            _ if is_fenced(code) => BusError::Fenced { detail },
            // Also when every broker hangs up, as a listener with TLS does on a client without, and the other way round.
            _ if code == Code::AllBrokersDown || (is_unreachable(code) && detail.contains("Disconnected")) => {
                let detail = format!("{detail}; are they up, and do they speak the security_protocol that is set?");
                BusError::Unreachable { address: self.address.to_owned(), detail }
            }
            _ if is_unreachable(code) => BusError::Unreachable { address: self.address.to_owned(), detail },
            _ => BusError::Failed { action: self.action, detail, retryable: is_retryable(code) },
        }
    }

    fn without_code(&self, error: &KafkaError) -> BusError {
        match error {
            KafkaError::ClientConfig(_, why, key, value) => {
                BusError::Misconfigured { detail: format!("kafka setting `{key}` cannot be `{value}`: {why}") }
            }
            KafkaError::ClientCreation(why) => {
                BusError::Misconfigured { detail: format!("no Kafka client with these settings: {why}") }
            }
            other => BusError::Failed { action: self.action, detail: other.to_string(), retryable: false },
        }
    }
}

pub(super) fn is_unauthorised(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::SecurityDisabled
    )
}

/// Somebody else has this member's place. `IllegalGeneration` is not here: the group may only be rebalancing.
pub(super) fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::FencedMemberEpoch
            | Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::AssignmentLost
    )
}

/// Whether the two sides do not come to terms, so that trying again does not help. With TLS 1.3 the client hears only
/// after the handshake what the broker has against it, and librdkafka calls that a failed transport.
pub(super) fn refuses_tls(code: Code, detail: &str) -> bool {
    match code {
        Code::SSL => !detail.contains("unexpected eof") && tls_alert(detail).is_none_or(is_final),
        Code::BrokerTransportFailure => tls_alert(detail).is_some_and(is_final),
        _ => false,
    }
}

/// All but those of a broker in trouble: a damaged record, an internal error, a cancelled handshake.
fn is_final(alert: u8) -> bool {
    !matches!(alert, 20 | 80 | 90)
}

/// The number in OpenSSL's `… alert bad certificate: SSL alert number 42`.
pub(super) fn tls_alert(detail: &str) -> Option<u8> {
    let (_, number) = detail.split_once("SSL alert number ")?;
    number.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

pub(super) fn is_unreachable(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NetworkException
            | Code::SSL
    )
}

fn is_retryable(code: Code) -> bool {
    matches!(
        code,
        Code::IllegalGeneration
            | Code::RebalanceInProgress
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::WaitingForCoordinator
            | Code::ConcurrentTransactions
            | Code::UnstableOffsetCommit
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::Retry
            | Code::PurgeQueue
            | Code::PurgeInflight
            | Code::PollExceeded
            // A producer that is elsewhere than it said; it is replaced.
            | Code::State
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    #[test]
    fn certificates_that_are_not_taken_are_told_from_a_broker_that_is_away() {
        let during = During { action: "writing", address: "kafka://a:1", topic: "t" };
        for (code, detail, refused) in [
            (Code::SSL, "error:0A000086:SSL routines::certificate verify failed: …", true),
            (Code::SSL, "error:0A000126:SSL routines::unexpected eof while reading", false),
            (Code::SSL, "error:0A000438:SSL routines::tlsv1 alert internal error: SSL alert number 80 (after", false),
            (Code::BrokerTransportFailure, "Receive failed: … alert bad certificate: SSL alert number 42 (after", true),
            (Code::BrokerTransportFailure, "Disconnected: connection closed by peer", false),
            (Code::AllBrokersDown, "SSL alert number 42", false),
        ] {
            let error = during.code(code, detail);
            let expected = if refused { (Fault::User, false) } else { (Fault::Outside, true) };
            assert_eq!((error.fault(), error.retryable()), expected, "{error}");
            assert_eq!(matches!(error, BusError::Tls { .. }), refused, "{error}");
        }
    }

    #[test]
    fn codes_say_whose_fault_it_is_and_whether_to_try_again() {
        let during = During { action: "writing", address: "kafka://a:1", topic: "t" };
        for (code, fault, retryable) in [
            (Code::UnknownTopicOrPartition, Fault::User, false),
            (Code::TopicAuthorizationFailed, Fault::User, false),
            (Code::ProducerFenced, Fault::Outside, false),
            (Code::AllBrokersDown, Fault::Outside, true),
            (Code::MessageTimedOut, Fault::Outside, true),
            (Code::IllegalGeneration, Fault::Outside, true),
            (Code::InvalidRecord, Fault::Outside, false),
        ] {
            let error = during.code(code, "detail");
            assert_eq!((error.fault(), error.retryable()), (fault, retryable), "{code:?}: {error}");
        }
    }
}
