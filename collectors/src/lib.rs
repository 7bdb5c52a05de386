//! The agent: what happens on a host → signed envelopes on the bus, at least once and accounted for.
//!
//! - [`Agent::start`] runs one; [`AgentHandle`] shows how it is and stops it.
//! - [`sources`] see; `pipeline` batches, signs and writes to the write-ahead log; `publisher` sends from it.
//! - Decisions are plain values with time as an argument: `batcher`, `rate`, `retry`, [`ledger`], the process tracker.
//!
//! Deliberately not here: configuration files, HTTP, signals (the binary's), topics (made by the operator), what events
//! mean (the processors'). Nothing is process-wide: several agents in one process do not know of each other.
//! Limits are fields of [`AgentConfig`], with their units; every one has a counter for what it costs.

mod agent;
mod batcher;
mod clock;
mod config;
pub mod confine;
mod envelope;
pub mod ledger;
pub mod masks;
mod metrics;
mod pipeline;
mod publisher;
mod queue;
mod rate;
mod retry;
pub mod sources;
mod status;
mod stream;
mod wal;

pub use agent::{Agent, AgentError, AgentHandle, OpenedAgent, PreparedAgent};
/// What the configuration of system calls is made of.
pub use amoskys_ebpf::{Limit, List, PATH_BYTES_MAX, ProbeError};
pub use config::{
    ActivityConfig, AgentConfig, AuditConfig, AuditFrom, BatchConfig, FilesConfig, Fsync, LogStart, ProcessConfig,
    ProcessMode, PublishConfig, RateUnit, SendRate, SyscallConfig, SyscallMode, SyscallsOf, WalConfig, WalFull,
};
pub use metrics::{AuditNumbers, Numbers, ProcessesBy, SyscallsBy};
pub use sources::{CallsError, audit::AuditError, process::ProcessesError};
pub use status::{AgentReport, LastError};
pub use stream::{STREAMS, Stream};
pub use wal::WalError;
