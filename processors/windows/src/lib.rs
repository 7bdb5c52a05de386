//! Event-time sliding windows over rows that arrive in any order.
//!
//! Rows go into **panes**, once, whatever the overlap of windows ([`pane`]) and however many views share them; a pane
//! holds the state of every aggregate for each key alive in it ([`segment`]); panes are merged along a tree that is
//! anchored at absolute pane numbers ([`tree`]), and when the watermark passes a window's end the few parts that tile it
//! come out as one batch ([`operator`]). Keys are interned once into dense ids ([`keys`]).
//!
//! Pure: no IO, no clock, no runtime, no SQL. Time is an argument, in nanoseconds since 1970 (UTC).
//! A result is a function of the order of the rows alone: cutting them into other batches changes no bit.
//! Limits: times within the range of a 64-bit nanosecond timestamp (1677 to 2262).

mod aggregate;
mod aggregates;
mod bounds;
mod fate;
mod fold;
mod keys;
mod native;
mod operator;
mod origin;
mod pane;
mod segment;
mod sessions;
mod ship;
mod split;
mod state;
mod table;
mod tree;
mod watermark;

pub use aggregate::Aggregate;
pub use bounds::PaneBounds;
pub use fate::Counters;
pub use operator::{ClosedWindow, Output, Rows, WindowOperator};
pub use origin::{Origin, ReplayPoint};
pub use pane::{Grid, Hop, HopError};
pub use sessions::Alike;
pub use ship::{ShipTag, Shipped};
pub use state::PaneState;
pub use watermark::{Watermark, WatermarkRules};

use thiserror::Error;

/// What can go wrong while rows are aggregated: an aggregate or a kernel refused its input.
#[derive(Debug, Error)]
#[error("aggregating a window failed: {0}")]
pub struct WindowError(#[from] pub datafusion::error::DataFusionError);

impl WindowError {
    /// A fault of this crate or of its caller.
    pub(crate) fn internal(what: &str) -> Self {
        Self(datafusion::error::DataFusionError::Internal(what.to_owned()))
    }
}

impl From<arrow::error::ArrowError> for WindowError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self(error.into())
    }
}
