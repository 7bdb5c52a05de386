//! From SQL text to a [`Dataflow`].
//!
//! [`load`] reads the files, [`plan`] does the rest. All problems of all files are reported together.

mod catalog;
mod concat;
mod cut;
mod dataflow;
mod explain;
mod explained;
mod files;
mod insert;
mod planner;
mod problem;
mod rowwise;
mod slots;

pub use catalog::{Format, Sink, Stream};
pub use dataflow::{Annotations, Dataflow, Insert, Query, SharedPanes, StreamFlow, Template, WindowedView};
pub use files::{Statement, load, parse};
pub use planner::{Options, plan};
pub use problem::{Problem, Problems};
pub use rowwise::RowProgram;
