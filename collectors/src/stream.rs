//! The streams that an agent sends: each has a message and a topic of its own, and an account in the ledger.

/// Which one; the number is kept with each envelope in the write-ahead log, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Process = 0,
    /// The agent's own.
    Status = 1,
    Syscall = 2,
    /// All system calls as numbers.
    Activity = 3,
}

/// With their names in metrics, in their order.
pub const STREAMS: [(Stream, &str); 4] = [
    (Stream::Process, "process"),
    (Stream::Status, "status"),
    (Stream::Syscall, "syscall"),
    (Stream::Activity, "activity"),
];

impl Stream {
    /// The message that a payload is.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Process => "amoskys.v1.ProcessBatch",
            Self::Status => "amoskys.v1.AgentStatusBatch",
            Self::Syscall => "amoskys.v1.SyscallBatch",
            Self::Activity => "amoskys.v1.SyscallActivityBatch",
        }
    }

    /// `None`: of a later agent.
    pub(crate) fn of_byte(byte: u8) -> Option<Self> {
        STREAMS.iter().map(|(stream, _)| *stream).find(|stream| *stream as u8 == byte)
    }
}
