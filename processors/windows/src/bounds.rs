//! How much one pane may hold, and what it costs it to hold more.
//!
//! Counted by rule and not measured, so that which rows are left out is a function of the rows before them in their pane:
//! the same for whoever computes them, also after a restart. A key costs what its fixed states take, a row what
//! aggregates keep of each row (values of an exact distinct count, of a list or a median). Values that repeat are counted
//! again, so what is counted is more than what is held. Deliberately not counted: the keys' own values (kept once for all
//! panes) and spans of panes merged.

use crate::Aggregate;
use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

/// Most that a pane may hold; a row that would take it past is left out, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaneBounds {
    pub keys_max: usize,
    /// Of state, counted by rule.
    pub bytes_max: usize,
}

impl PaneBounds {
    pub const NONE: Self = Self { keys_max: usize::MAX, bytes_max: usize::MAX };

    /// What is left when so much is taken.
    pub fn less(self, keys: usize, bytes: usize) -> Self {
        Self { keys_max: self.keys_max.saturating_sub(keys), bytes_max: self.bytes_max.saturating_sub(bytes) }
    }
}

/// What an aggregate's state of one key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Bytes, whatever the number of rows.
    Fixed(usize),
    /// Bytes for each row.
    Row(usize),
    /// The values of its arguments, for each row.
    Values,
}

impl Growth {
    pub(crate) fn of(expression: &AggregateFunctionExpr) -> Self {
        match expression.fun().name() {
            "hll_distinct" => Growth::Row(4),
            "ddsketch_quantile" => Growth::Row(16),
            _ if expression.is_distinct() => Growth::Values,
            // A digest of about a hundred centroids; two kilobytes of registers.
            "approx_percentile_cont" | "approx_percentile_cont_with_weight" | "approx_median" | "approx_distinct" => {
                Growth::Fixed(2048)
            }
            "avg" | "bit_and" | "bit_or" | "bit_xor" | "bool_and" | "bool_or" | "corr" | "count" | "covar_pop"
            | "covar_samp" | "first_value" | "last_value" | "max" | "min" | "shed_rows" | "stddev" | "stddev_pop"
            | "sum" | "var" | "var_pop" => Growth::Fixed(24),
            // Lists, medians, and whatever is not known here.
            _ => Growth::Values,
        }
    }
}

/// What rows cost.
pub(crate) struct Costs {
    /// Of a key that is new in the pane.
    pub key_bytes: usize,
    /// Of each row, besides `texts`.
    row_bytes: usize,
    /// Columns of which each value costs its length.
    texts: Vec<ArrayRef>,
}

/// Bytes that a list of values keeps of each beside its content.
const VALUE_BYTES: usize = 16;

impl Costs {
    /// `columns` are [`crate::Rows::columns`].
    pub fn of(aggregates: &[Aggregate], columns: &[ArrayRef]) -> Self {
        // A key's number, its place and the growth of both.
        let mut costs = Self { key_bytes: 16, row_bytes: 0, texts: Vec::new() };
        for aggregate in aggregates {
            match aggregate.growth {
                Growth::Fixed(bytes) => costs.key_bytes += bytes,
                Growth::Row(bytes) => costs.row_bytes += bytes,
                Growth::Values => {
                    costs.key_bytes += VALUE_BYTES;
                    for column in aggregate.arguments.iter().map(|&index| &columns[index]) {
                        costs.row_bytes += column.data_type().primitive_width().unwrap_or(VALUE_BYTES);
                        if is_text(column.data_type()) {
                            costs.texts.push(column.clone());
                        }
                    }
                }
            }
        }
        costs
    }

    pub fn row(&self, row: usize) -> usize {
        self.row_bytes + self.texts.iter().map(|column| length(column, row)).sum::<usize>()
    }

    /// Of these rows.
    pub fn rows(&self, rows: &[u32]) -> usize {
        if self.texts.is_empty() {
            return self.row_bytes.saturating_mul(rows.len());
        }
        rows.iter().map(|&row| self.row(row as usize)).sum()
    }
}

fn is_text(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    matches!(data_type, Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView)
}

fn length(column: &ArrayRef, row: usize) -> usize {
    if column.is_null(row) {
        return 0;
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).len(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).len(),
        DataType::Utf8View => column.as_string_view().value(row).len(),
        DataType::Binary => column.as_binary::<i32>().value(row).len(),
        DataType::LargeBinary => column.as_binary::<i64>().value(row).len(),
        DataType::BinaryView => column.as_binary_view().value(row).len(),
        _ => 0,
    }
}
