//! One aggregate of a windowed view: how to make its accumulator and where its inputs are.

use crate::{bounds::Growth, native::Layout};
use arrow::{compute::SortOptions, datatypes::DataType};
use datafusion::{
    error::Result,
    logical_expr::GroupsAccumulator,
    physical_expr::{GroupsAccumulatorAdapter, aggregate::AggregateFunctionExpr},
};
use std::sync::Arc;

/// An aggregate over columns of [`crate::Rows`].
#[derive(Debug, Clone)]
pub struct Aggregate {
    pub(crate) expression: Arc<AggregateFunctionExpr>,
    /// Indices into [`crate::Rows::columns`]; behind what is aggregated, what its `ORDER BY` sorts by.
    pub arguments: Vec<usize>,
    /// Index of the Boolean column of its `FILTER (WHERE …)`.
    pub filter: Option<usize>,
    /// Whether feeding the same rows in other batches gives the same bits.
    pub batch_invariant: bool,
    /// Whether merging a state into nothing gives that state, to the bit.
    pub(crate) merges_exactly: bool,
    /// How the last of `arguments` order its rows; not empty for a function that wants them sorted and does not sort.
    pub order: Vec<SortOptions>,
    pub(crate) growth: Growth,
}

impl Aggregate {
    pub fn new(expression: Arc<AggregateFunctionExpr>, arguments: Vec<usize>, filter: Option<usize>) -> Self {
        let batch_invariant = is_batch_invariant(expression.fun().name());
        let merges_exactly = merges_exactly(expression.fun().name());
        // The others that take ORDER BY sort for themselves.
        let order = match expression.fun().name() {
            "nth_value" => expression.order_bys().iter().map(|order| order.options).collect(),
            _ => Vec::new(),
        };
        let growth = Growth::of(&expression);
        Self { expression, arguments, filter, batch_invariant, merges_exactly, order, growth }
    }

    /// Of its values.
    pub(crate) fn data_type(&self) -> DataType {
        self.expression.field().data_type().clone()
    }

    /// Whether it has an accumulator of our own ([`crate::native`]).
    pub fn is_native(&self) -> bool {
        Layout::has_place_for(self)
    }

    /// A fresh vectorised accumulator; functions that have none of their own are adapted, one accumulator per key.
    pub(crate) fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.expression.groups_accumulator_supported() {
            return self.expression.create_groups_accumulator();
        }
        let expression = self.expression.clone();
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || expression.create_accumulator())))
    }
}

/// Whether a DataFusion aggregate folds row by row, so that batch boundaries cannot show in its result.
/// The others (t-digests compress per batch) are fed in chunks cut at fixed row counts of the pane; so is any function
/// not known here, which is safe and only slower.
fn is_batch_invariant(function: &str) -> bool {
    #[rustfmt::skip]
    const FOLDS: &[&str] = &[
        "approx_distinct", "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "corr", "count",
        "covar_pop", "covar_samp", "ddsketch_quantile", "first_value", "hll_distinct", "last_value", "max", "median",
        "min", "percentile_cont", "shed_rows", "stddev", "stddev_pop", "string_agg", "sum", "var", "var_pop",
    ];
    FOLDS.binary_search(&function).is_ok()
}

/// Whether merging a state into nothing gives that state. Means are rounded anew by the others (variances, correlations), and
/// digests compressed; so it is thought of any function not known here, which is safe and only slower.
fn merges_exactly(function: &str) -> bool {
    #[rustfmt::skip]
    const EXACT: &[&str] = &[
        "approx_distinct", "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "count",
        "ddsketch_quantile", "first_value", "hll_distinct", "last_value", "max", "median", "min", "percentile_cont",
        "shed_rows", "string_agg", "sum",
    ];
    EXACT.binary_search(&function).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_functions() {
        for name in ["approx_distinct", "ddsketch_quantile", "hll_distinct", "sum", "var_pop", "count", "stddev"] {
            assert!(is_batch_invariant(name), "{name}");
        }
        for name in ["approx_percentile_cont", "approx_median", "my_udaf"] {
            assert!(!is_batch_invariant(name), "{name}");
        }
    }
}
