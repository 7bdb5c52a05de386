//! What closing a window costs, counted: how many summaries of panes are read, not how long that takes.
//!
//! Deliberately not here: nanoseconds (the benchmark `windows`), what comes out (`naive`).

use amoskys_windows::{Aggregate, Hop, Origin, Output, PaneBounds, ReplayPoint, Rows, Watermark, WindowOperator};
use arrow::{
    array::{ArrayRef, Int64Array, StringViewArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    functions_aggregate::sum,
    physical_expr::{aggregate::AggregateExprBuilder, expressions},
};
use std::sync::Arc;

/// One view of the sum of a number by a key, whose windows slide by 1 ns.
fn operator(sizes_ns: &[i64]) -> WindowOperator {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]));
    let argument = expressions::col("number", &schema).expect("column");
    let sum = AggregateExprBuilder::new(sum::sum_udaf(), vec![argument]).schema(schema).alias("sum").build();
    let sum = Aggregate::new(Arc::new(sum.expect("builds")), vec![0], None);
    let hop = |size_ns: &i64| Hop::new(1, *size_ns).expect("valid");
    let outputs = sizes_ns.iter().map(|size_ns| Output { hop: hop(size_ns), aggregates: vec![0] }).collect();
    let keys = Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8View, false)]));
    WindowOperator::new(outputs, keys, vec![sum], PaneBounds::NONE, i64::MIN).expect("valid")
}

/// A row in the pane of each of these nanoseconds; the windows that end with it close. How many summaries were read for each.
fn merged(operator: &mut WindowOperator, panes: std::ops::Range<i64>) -> Vec<u64> {
    let merged_by = |pane: i64| {
        let (before, mut closed) = (operator.merged_summaries(), Vec::new());
        let rows = Rows {
            times_ns: &[pane],
            watermarks_ns: &[pane],
            record_of_row: &[0],
            records: &[Origin::from(ReplayPoint { offset: pane, watermark: Watermark::default() })],
            keys: &[Arc::new(StringViewArray::from(vec!["key"])) as ArrayRef],
            columns: &[Arc::new(Int64Array::from(vec![pane])) as ArrayRef],
        };
        operator.push(&rows, pane + 1, &mut closed).expect("aggregates");
        assert!(!closed.is_empty());
        operator.merged_summaries() - before
    };
    panes.map(merged_by).collect()
}

#[test]
fn closing_reads_as_many_summaries_as_the_overlap_has_bits() {
    for panes in [1, 2, 3, 5, 60, 64, 1_440, 10_000i64] {
        let mut operator = operator(&[panes]);
        merged(&mut operator, 0..panes);
        let each = merged(&mut operator, panes..2 * panes + 64);
        let log2 = f64::from(panes.ilog2());
        let (mean, most) = (each.iter().sum::<u64>() as f64 / each.len() as f64, each.iter().max().copied());
        // Tiling a window takes two spans of each size at most; a span is made of two once, every second time one of the
        // next size; what ends a long span makes one of each size.
        assert!(mean <= 2.0 * log2 + 3.0, "{panes} panes: {mean} in the mean");
        assert!(most.is_some_and(|most| most as f64 <= 4.0 * log2 + 3.0), "{panes} panes: {most:?} at most");
    }
}

#[test]
fn views_that_share_panes_share_the_spans_of_them() {
    let sizes: Vec<i64> = (0..20).map(|more| 1_000 + more).collect();
    let mut shared = operator(&sizes);
    merged(&mut shared, 0..1_100);
    let together: u64 = merged(&mut shared, 1_100..2_124).iter().sum();
    let alone = |size_ns: &i64| {
        let mut alone = operator(&[*size_ns]);
        merged(&mut alone, 0..1_100);
        merged(&mut alone, 1_100..2_124).iter().sum::<u64>()
    };
    let apart: u64 = sizes.iter().map(alone).sum();
    // Spans are made of two halves each, nearly one for each pane; all views but one find them made.
    let made_once = (apart - together) as f64 / (19.0 * 2.0 * 1_024.0);
    assert!((0.95..=1.0).contains(&made_once), "{made_once}");
}
