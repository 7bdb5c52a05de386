//! What a NATS server says, in the words of [`BusError`]: whose fault, and whether to try again. Pure.

use crate::BusError;
use serde::Deserialize;

/// JetStream's own numbers for what we tell apart.
pub(super) mod code {
    pub const NOT_ENABLED: u32 = 10076;
    pub const NOT_ENABLED_FOR_ACCOUNT: u32 = 10039;
    pub const NO_MESSAGE: u32 = 10037;
    pub const RECORD_TOO_LARGE: u32 = 10054;
    pub const STREAM_NAME_IN_USE: u32 = 10058;
    pub const STREAM_NOT_FOUND: u32 = 10059;
    pub const SUBJECT_OVERLAP: u32 = 10065;
    pub const WRONG_LAST_SEQUENCE: u32 = 10071;
    /// The same without the number, from a replicated stream that has another such write under way.
    pub const WRONG_LAST_SEQUENCE_NOW: u32 = 10164;
}

/// The `error` of an answer.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub(super) struct ApiError {
    /// As of HTTP.
    pub code: u16,
    #[serde(default)]
    pub err_code: u32,
    #[serde(default)]
    pub description: String,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The server refused.
    Api(ApiError),
    /// No answer in time, or nobody to answer: it may have been done.
    NoAnswer(String),
    /// Larger than the server takes.
    TooLarge {
        bytes_max: usize,
    },
    Unauthorised(String),
    /// A certificate is not taken, since the connection was lost: it may have been done.
    Tls(String),
}

impl Refused {
    pub(super) fn is(&self, err_code: u32) -> bool {
        matches!(self, Refused::Api(error) if error.err_code == err_code)
    }

    /// A compare-and-set that found something else.
    pub(super) fn is_wrong_last_sequence(&self) -> bool {
        self.is(code::WRONG_LAST_SEQUENCE) || self.is(code::WRONG_LAST_SEQUENCE_NOW)
    }

    /// Whether the same request may be taken a little later.
    pub(super) fn is_for_now(&self) -> bool {
        match self {
            Refused::NoAnswer(_) => true,
            Refused::Api(error) => matches!(error.code, 429 | 503) && !self.is_not_enabled(),
            _ => false,
        }
    }

    fn is_not_enabled(&self) -> bool {
        self.is(code::NOT_ENABLED) || self.is(code::NOT_ENABLED_FOR_ACCOUNT)
    }
}

/// What was being done, for the messages.
#[derive(Clone, Copy)]
pub(super) struct During<'a> {
    pub action: &'static str,
    pub address: &'a str,
    /// The topic in question, or nothing.
    pub topic: &'a str,
}

impl During<'_> {
    pub(super) fn refused(&self, refused: Refused) -> BusError {
        match refused {
            Refused::NoAnswer(detail) => BusError::Unreachable { address: self.address.to_owned(), detail },
            Refused::Tls(detail) => BusError::Tls { address: self.address.to_owned(), detail },
            Refused::Unauthorised(detail) => BusError::Unauthorised { detail },
            Refused::TooLarge { bytes_max } => self.failed(format!("more than the {bytes_max} bytes the server takes")),
            Refused::Api(_) if refused.is_not_enabled() => not_enabled(self.address),
            Refused::Api(_) if refused.is(code::STREAM_NOT_FOUND) && !self.topic.is_empty() => {
                BusError::UnknownTopic { topic: self.topic.to_owned() }
            }
            Refused::Api(ref error) => {
                let retryable = refused.is_for_now();
                let detail = format!("{} (JetStream's error {})", error.description, error.err_code);
                BusError::Failed { action: self.action, detail, retryable }
            }
        }
    }

    fn failed(&self, detail: String) -> BusError {
        BusError::Failed { action: self.action, detail, retryable: false }
    }
}

pub(super) fn not_enabled(address: &str) -> BusError {
    let detail = format!(
        "{address} has no JetStream for this account; start nats-server with -js, or enable jetstream in its configuration"
    );
    BusError::Misconfigured { detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    fn api(code: u16, err_code: u32) -> Refused {
        Refused::Api(ApiError { code, err_code, description: "why".into() })
    }

    #[test]
    fn refusals_say_whose_fault_it_is_and_whether_to_try_again() {
        let during = During { action: "writing", address: "nats://a:1", topic: "t" };
        for (refused, fault, retryable) in [
            (api(404, code::STREAM_NOT_FOUND), Fault::User, false),
            (api(503, code::NOT_ENABLED), Fault::User, false),
            (Refused::Unauthorised("no".into()), Fault::User, false),
            (Refused::Tls("expired".into()), Fault::User, false),
            (api(503, 10008), Fault::Outside, true),
            (api(429, 10167), Fault::Outside, true),
            (Refused::NoAnswer("silence".into()), Fault::Outside, true),
            (api(400, 10003), Fault::Outside, false),
        ] {
            let error = during.refused(refused.clone());
            assert_eq!((error.fault(), error.retryable()), (fault, retryable), "{refused:?}: {error}");
        }
    }

    #[test]
    fn an_answers_error_is_read() {
        let error: ApiError =
            serde_json::from_str(r#"{"code":404,"err_code":10059,"description":"stream not found"}"#).expect("reads");
        assert!(Refused::Api(error).is(code::STREAM_NOT_FOUND));
    }
}
