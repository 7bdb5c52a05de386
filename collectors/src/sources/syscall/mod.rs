//! The syscall source: what processes ask of their kernel.
//!
//! Calls come from eBPF programs (`amoskys-ebpf`), which choose, read and count them in the kernel. [`table`] is the one table of those
//! that are decoded; [`choose`] reads what an operator wants of it; [`decode`] makes the event of a call, by it.
//! [`SyscallSource`] is the thread that does so and keeps the account: every call that the kernel saw is in the ledger, or in the ring.
//!
//! [`ActivitySource`] is another, which tells all calls of all processes as numbers.
//!
//! Deliberately not here: what becomes of an event (see `pipeline`), what it means (the processors').
//! Limits: what is not in the table is not decoded; between kernel and agent there is a ring of `ring_bytes`, and what finds no room
//! in it is dropped, counted. A rest of 10 ms between looks: waking up for every call costs more than the call.

mod activity;
mod address;
mod all;
mod choice;
mod decode;
mod names;
mod source;
pub mod table;

pub use activity::ActivitySource;
pub use choice::{Choice, choose, rules};
pub use decode::{Clock, decode, mask};
pub(super) use decode::{event_of, make_absolute};
pub use source::{SyscallSource, SyscallWishes};
