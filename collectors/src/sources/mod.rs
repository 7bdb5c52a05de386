//! Where events come from. One folder per kind of source; each runs in a thread of its own.

pub mod audit;
mod calls;
mod netlink;
pub mod process;
mod ring;
pub mod syscall;

pub use calls::{CallSource, CallsError};
