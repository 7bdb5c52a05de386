//! System calls and processes as the kernel has them: eBPF programs that choose, read and count, and this side of them.
//!
//! [`Probe::load`] puts the programs into the kernel; [`Probe::poll`] hands over calls that have returned; [`Probe::counters`] says what
//! became of all others. What is wanted can be changed while it runs ([`Probe::set_rules`], [`Probe::set_filters`]).
//! [`Activity`] counts all calls of all processes, with how long they took, in programs of its own.
//! [`Processes`] tells starts, programs and ends of processes, with all there is to say of them at that moment.
//! Nothing is pinned: the programs are gone when the process is, however it ends.
//!
//! Deliberately not here: what calls and their arguments mean (the agent's), which rights are kept.
//! Limits: kernels with BTF (`/sys/kernel/btf/vmlinux`), x86-64 and aarch64; strings of 4,095 bytes, arguments of 4,096 together,
//! addresses of 128; a call that never returns (exit, a thread that another's execve ends) is not told; calls by the numbers of
//! 32-bit programs are counted and not told. This is the only crate that knows aya.

mod activity;
mod activity_counters;
mod call;
mod counters;
mod error;
mod filters;
mod hooks;
mod probe;
mod process;
mod processes;
mod ring;
mod rule;
#[cfg(feature = "testing")]
pub mod testing;
mod types;

pub use activity::{Activity, ActivityRow, BUCKETS, COMPAT, ROWS_MAX, UNKNOWN};
pub use activity_counters::ActivityCounters;
pub use call::{ARGV_BYTES_MAX, MemoryBefore, RawCall, STRING_BYTES_MAX};
pub use counters::Counters;
pub use error::ProbeError;
pub use filters::{Filters, Limit, List, PATH_BYTES_MAX};
pub use hooks::SeenAt;
pub use probe::{NUMBERS, Probe};
pub use process::{CMDLINE_BYTES_MAX, DESCRIPTORS_MAX, ProcessChange, RawPath, RawProcess, RawProgram};
pub use processes::{ProcessCounters, Processes};
pub use rule::{Directory, Results, Rule};
pub use types::KernelTypes;
