//! Aggregates: sketches with a stated error, and an exact distinct count that is fast for every type.
//!
//! - `ddsketch_quantile(x, quantile [, accuracy])` ([`quantile`]) and `hll_distinct(x)` ([`distinct_sketch`]): bounded
//!   memory for each group, results that are a function of the values alone.
//! - `count(DISTINCT x)` ([`count`]): DataFusion's, vectorised for all flat types.
//! - `sequence`, `top_k`, `histogram`, `ewma` ([`summary`]): a small summary of each group.
//! - `bit_xor(DISTINCT x)` ([`bits`]): DataFusion's, right in groups.
//!
//! All are plain DataFusion aggregates (`FILTER`, `HAVING`, any window) with accumulators over all groups at once, whose
//! states merge. Deliberately not here: exact quantiles (DataFusion's `percentile_cont` and `median` are vectorised).

mod arguments;
mod bits;
pub mod count;
pub mod distinct_items;
pub mod distinct_sketch;
mod functions;
mod hashes;
pub mod quantile;
mod registers;
mod rows;
mod scale;
mod sets;
pub mod shed;
mod single;
mod sketch_bytes;
pub mod summary;
mod tally;

pub use arguments::CheckArguments;

use arrow::array::ArrayRef;
use datafusion::{
    common::Result,
    logical_expr::{AggregateUDF, EmitTo, GroupsAccumulator},
};

/// The aggregates, to register in a session. `count` and `bit_xor` take the places of DataFusion's.
pub fn aggregates() -> Vec<AggregateUDF> {
    vec![
        AggregateUDF::from(functions::DdsketchQuantile::default()),
        AggregateUDF::from(functions::HllDistinct::default()),
        AggregateUDF::from(count::VectorisedCount::default()),
        AggregateUDF::from(summary::Summarised::<summary::Sequence>::default()),
        AggregateUDF::from(summary::Summarised::<summary::TopK>::default()),
        AggregateUDF::from(summary::Summarised::<summary::Histogram>::default()),
        AggregateUDF::from(summary::Summarised::<summary::Ewma>::default()),
        AggregateUDF::from(shed::ShedRows::default()),
        AggregateUDF::from(bits::BitXor::default()),
    ]
}

/// An accumulator of groups that can tell results and go on.
trait Columnar: GroupsAccumulator {
    /// There are at least this many groups.
    fn fit(&mut self, groups: usize);

    /// Results of the first `groups` groups.
    fn values(&mut self, groups: usize) -> Result<ArrayRef>;
}

/// How many groups are emitted.
fn emitted(emit_to: EmitTo, groups: usize) -> usize {
    match emit_to {
        EmitTo::All => groups,
        EmitTo::First(first) => first.min(groups),
    }
}

/// Gives back the memory that a builder reserved and did not need: states are kept as long as their windows.
fn shrink(array: &mut ArrayRef) {
    if let Some(bytes) = std::sync::Arc::get_mut(array) {
        bytes.shrink_to_fit();
    }
}
