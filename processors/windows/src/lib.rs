//! Event-time sliding windows over rows that arrive in any order.
//!
//! Rows go into **panes**, once, whatever the overlap of windows ([`pane`]); a pane holds the state of every
//! aggregate for each key alive in it ([`segment`]); when the watermark passes a window's end its panes are merged
//! and the window comes out as one batch ([`operator`]). Keys are interned once into dense ids ([`keys`]).
//!
//! Pure: no IO, no clock, no runtime, no SQL. Time is an argument, in nanoseconds since 1970 (UTC).
//! A result is a function of the order of the rows alone: cutting them into other batches changes no bit.
//! Limits: times within the range of a 64-bit nanosecond timestamp (1677 to 2262); a window merges all its panes when
//! it closes, so closing costs in proportion to size / slide.

mod aggregate;
mod keys;
mod operator;
mod pane;
mod segment;
mod watermark;

pub use aggregate::Aggregate;
pub use operator::{ClosedWindow, Counters, Rows, WindowOperator};
pub use pane::{Hop, HopError};
pub use segment::ReplayPoint;
pub use watermark::{Watermark, WatermarkRules};

use thiserror::Error;

/// What can go wrong while rows are aggregated: an aggregate or a kernel refused its input.
#[derive(Debug, Error)]
#[error("aggregating a window failed: {0}")]
pub struct WindowError(#[from] pub datafusion::error::DataFusionError);

impl From<arrow::error::ArrowError> for WindowError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self(error.into())
    }
}
