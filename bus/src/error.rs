//! What can go wrong with a log, whose fault it is, and whether trying again helps.

use thiserror::Error;

#[derive(Debug, Error)]
pub enum BusError {
    #[error("topic `{topic}` does not exist; create it with `amoskys topics create {topic}`")]
    UnknownTopic { topic: String },
    #[error("record of {bytes} bytes is larger than the {bytes_max} that `{topic}` takes")]
    RecordTooLarge { topic: String, bytes: usize, bytes_max: usize },
    #[error("the log refused access: {detail}")]
    Unauthorised { detail: String },
    /// Somebody else owns the partition now; nothing was written.
    #[error("fenced: {detail}")]
    Fenced { detail: String },
    /// One side does not take the other's certificate, or wants one that is not given.
    #[error("no TLS with {address}: {detail}")]
    Tls { address: String, detail: String },
    #[error("{address} cannot be reached: {detail}")]
    Unreachable { address: String, detail: String },
    #[error("the log at {path} is in use by {holder}")]
    InUse { path: String, holder: String },
    #[error("{action} failed: {detail}")]
    Failed { action: &'static str, detail: String, retryable: bool },
    #[error("{detail}")]
    Misconfigured { detail: String },
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Configuration or input: will fail again until somebody changes it.
    User,
    /// Broker, network, disk.
    Outside,
}

impl BusError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            BusError::Unreachable { .. } => true,
            BusError::Failed { retryable, .. } => *retryable,
            _ => false,
        }
    }

    pub fn fault(&self) -> Fault {
        match self {
            BusError::UnknownTopic { .. }
            | BusError::RecordTooLarge { .. }
            | BusError::Unauthorised { .. }
            | BusError::Tls { .. }
            | BusError::InUse { .. }
            | BusError::Misconfigured { .. } => Fault::User,
            BusError::Fenced { .. } | BusError::Unreachable { .. } | BusError::Failed { .. } => Fault::Outside,
        }
    }
}
