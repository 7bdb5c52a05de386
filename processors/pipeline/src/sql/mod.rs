//! From SQL text to a [`Dataflow`].
//!
//! [`load`] reads the files, [`plan`] does the rest. All problems of all files are reported together.

mod anchor;
mod annotations;
mod catalog;
mod concat;
mod cut;
mod dataflow;
mod definitions;
mod diagnose;
mod distribute;
mod explain;
mod explained;
mod expressions;
mod files;
mod flows;
mod format;
mod functions;
mod insert;
mod lineage;
mod outline;
mod panes;
mod planner;
mod probes;
mod problem;
mod rowplan;
mod rowwise;
mod shuffle;
mod simplify;
mod slots;
mod statics;
mod template;
mod untested;
mod warnings;

pub use annotations::Annotations;
pub(crate) use catalog::nearest_of_all;
pub use catalog::{ENVELOPE_COLUMNS, LATE_COLUMN, LOG_COLUMNS, Sink, StateBounds, Stream, late_field, nearest};
pub use dataflow::{Dataflow, Insert, PanesSource, Query, SharedPanes, StreamFlow, WindowRows, WindowedView, behind};
pub use definitions::views_of;
pub(crate) use definitions::{name_of, table_of};
pub use files::{Sources, Statement, is_sql, is_test, load, tests_below};
pub use format::{Format, OnError, RowEncoder, RowEncoderError};
pub use functions::{FunctionInfo, functions};
pub use lineage::Bound;
pub use outline::{InsertOutline, Outline, PanesFrom, PanesOutline, Recovery, StreamOutline, ViewOutline};
pub(crate) use planner::session;
pub use planner::{Options, Wanted, plan};
pub use probes::{Condition, Probe, ProbePlace};
pub use problem::{Place, Problem, Problems, Severity, SourceFile};
pub use rowwise::RowProgram;
pub use shuffle::{Ship, ShipSource, Shuffle};
pub use statics::StaticTable;
pub use template::Template;
pub use untested::untested;
