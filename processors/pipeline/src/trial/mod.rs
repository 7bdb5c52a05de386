//! Tests of SQL: rows and moments in, and what has to come of them.
//!
//! A [`Script`] is what a file of tests says; a [`Rehearsal`] takes its rows as the records that would be in the topics through the
//! tasks that processors run, on a clock that the test moves, and ends and begins processors where the test says so; [`query`]
//! asks what came out of it.
//! Deliberately not here: which files there are, how failures are shown, what a sink's topic would hold of an INSERT's rows.
//! Limits: a test is held in memory; all partitions are one processor's.

mod counts;
mod records;
mod rehearsal;
mod script;
mod table;

pub use counts::{COUNTERS, DEAD_LETTERS, FAILURES, counters, dead_letters, failures};
pub use rehearsal::{Rehearsal, RehearsalError};
pub use script::{Action, Expectation, Rows, Script, Step, Trial, blessed};
pub use table::{SHOWN, Tables, TextTable, query};
