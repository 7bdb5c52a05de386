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
            _ if is_fenced(code) => BusError::Fenced { detail },
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
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

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
