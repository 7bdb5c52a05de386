//! The process source: what a host's processes are and do.
//!
//! Starts, new programs and exits are told by eBPF, with all there is to say of them, or by the kernel's process connector, of which the rest is
//! read; a pass over `/proc` at a set interval shows what is there, and stands in where neither can be had. One thread does both: a pass goes in
//! slices between reports, so that reading the short-lived does not wait for it. Another hashes executables and knows
//! packages; events wait for it in their order.
//!
//! Deliberately not here: what becomes of an event (see `pipeline`), system calls, files, networks.
//! Limits: by passes alone, processes that start and end between two of them are not seen. By the connector a process may be gone
//! before it is read: then its event lists what is missing; one that replaces its program again before it is read shows
//! the later program twice; a first thread that ends before the others is reported as the process's exit. An exit that
//! was found by comparing has no exit code; one whose report was lost is not told when its id is given again at once.
//! Memory: `processes_max` live processes, `files_max` executables, 4,096 second looks, 4,096 events that wait.

mod connector;
mod dpkg;
pub mod environment;
mod event;
mod exe;
mod feed;
mod files;
mod hashing;
mod jobs;
mod lineage;
mod message;
mod outbox;
mod parse;
mod procfs;
mod program;
mod recheck;
mod source;
mod told;
mod tracker;

pub use event::{micros, timestamp};
pub use feed::ProcessesError;
pub(super) use procfs::Procfs;
pub(super) use program::process_key;
pub use source::ProcessSource;
