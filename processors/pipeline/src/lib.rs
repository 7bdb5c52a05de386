//! SQL files → a dataflow, and the dataflow run on the partitions of a log.
//!
//! - [`sql`]: reads a folder of SQL files, plans all of it and cuts each query at its windowed aggregate.
//! - [`schemas`]: messages and schemas of streams from files and registries.
//! - [`run`]: one [`run::Task`] per partition turns records into rows, rows into windows, windows into records for
//!   sinks; a [`run::Worker`] does this for the partitions a group member owns and commits outputs and positions
//!   together; [`run::run_history`] does the same over files.
//! - [`trial`]: tests of SQL, on the same tasks and a clock that the test moves.
//!
//! Everything between poll and commit is a function of (state, records), so it is tested without a log.
//! Deliberately not here: how a log works (`bus`), how bytes become columns (`columns`), what a window is (`windows`),
//! how models run (`scoring`).
//! Limits: what has no window has one stream; streams are joined in windows only.

pub mod run;
pub mod schemas;
pub mod sql;
pub mod trial;
