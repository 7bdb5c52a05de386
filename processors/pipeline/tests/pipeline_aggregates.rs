//! Every aggregate that DataFusion has, and ours, in windows, with DISTINCT, FILTER, ORDER BY and WITHIN GROUP where it
//! takes them: what DataFusion makes of the rows of each window, and the same bits after restarts that went on with
//! states read back from the topic of panes.
//!
//! An aggregate that a new DataFusion brings fails the test until it stands here.

mod common;

use common::{EVENTS, plan_files, raw::View};
use datafusion::prelude::SessionContext;
use std::collections::BTreeSet;

/// Values have to be equal; floats that are added in another order may differ in their last bits.
const CALLS: &[&str] = &[
    "approx_distinct(w)",
    "array_agg(id ORDER BY id)",
    "array_agg(w ORDER BY v DESC NULLS LAST, id)",
    "array_agg(DISTINCT n ORDER BY n)",
    "array_agg(DISTINCT w ORDER BY w DESC) FILTER (WHERE b)",
    "avg(v)",
    "avg(n) FILTER (WHERE b)",
    "avg(DISTINCT v)",
    "bit_and(n)",
    "bit_or(n)",
    "bit_xor(n)",
    "bit_xor(DISTINCT n)",
    "bool_and(b)",
    "bool_or(b)",
    "corr(v, id)",
    "count(*)",
    "count(v)",
    "count(n, v)",
    "count(DISTINCT w)",
    "count(DISTINCT n) FILTER (WHERE v > 0)",
    "covar_pop(v, id)",
    "covar_samp(v, id)",
    "ddsketch_quantile(v, 0.5)",
    "ewma(v, t, INTERVAL '1 second')",
    "first_value(v ORDER BY id)",
    "first_value(v ORDER BY n DESC, id) FILTER (WHERE b)",
    "first_value(w ORDER BY id) IGNORE NULLS",
    "histogram(v, 0, 2)",
    "hll_distinct(w)",
    "last_value(w ORDER BY id)",
    "last_value(v ORDER BY id) IGNORE NULLS",
    "max(v)",
    "max(w)",
    "max(t)",
    "max(b)",
    "max(make_array(n, id))",
    "median(v)",
    "median(DISTINCT n)",
    "min(v)",
    "min(w) FILTER (WHERE b)",
    "min(named_struct('n', n))",
    "nth_value(v, 2 ORDER BY id)",
    "nth_value(w, -1 ORDER BY id DESC)",
    "percentile_cont(0.25) WITHIN GROUP (ORDER BY v)",
    "percentile_cont(0.9) WITHIN GROUP (ORDER BY n DESC) FILTER (WHERE b)",
    "regr_avgx(v, id)",
    "regr_avgy(v, id)",
    "regr_count(v, id)",
    "regr_intercept(v, id)",
    "regr_r2(v, id)",
    "regr_slope(v, id)",
    "regr_sxx(v, id)",
    "regr_sxy(v, id)",
    "regr_syy(v, id)",
    "sequence(t, n > 1, v > 0, b)",
    "sequence(t, b, w = 'a') FILTER (WHERE n > 0)",
    "shed_rows()",
    "stddev(v)",
    "stddev_pop(v) FILTER (WHERE b)",
    "string_agg(w, '-' ORDER BY id)",
    "string_agg(DISTINCT w, ',' ORDER BY w)",
    "sum(v)",
    "top_k(w, 2)",
    "top_k(n, 3) FILTER (WHERE b)",
    "sum(n) FILTER (WHERE b)",
    "sum(DISTINCT n)",
    "sum(DISTINCT v)",
    "var(v)",
    "var_pop(v)",
    // Functions that are planned and cannot be called, in each place where there may be one.
    "sum(coalesce(n, 7))",
    "max(nvl2(w, 'there', 'not')) FILTER (WHERE coalesce(b, true))",
    "array_agg(id ORDER BY coalesce(n, -1), id)",
];

/// Defined by the order in which values come and are merged: restarts must not change a bit, but DataFusion over all rows
/// at once may tell another value between the least and the greatest.
const BY_ORDER: &[&str] = &[
    "any_value(v)",
    "approx_median(v)",
    "approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY v)",
    "approx_percentile_cont(0.5, 200) WITHIN GROUP (ORDER BY v DESC) FILTER (WHERE b)",
    "approx_percentile_cont_with_weight(n, 0.5) WITHIN GROUP (ORDER BY v)",
    "array_agg(w)",
    "first_value(v)",
    "last_value(v)",
    "nth_value(v, 2)",
    "string_agg(w, '')",
];

/// Of GROUPING SETS, which have no one key and so no windows.
const NOT_OF_WINDOWS: &[&str] = &["grouping"];

fn name_of(call: &str) -> &str {
    call.split('(').next().unwrap_or(call)
}

#[test]
fn every_aggregate_is_tried() {
    let tried: BTreeSet<&str> = CALLS.iter().chain(BY_ORDER).chain(NOT_OF_WINDOWS).map(|call| name_of(call)).collect();
    let context = SessionContext::new();
    amoskys_functions::aggregate::aggregates().into_iter().for_each(|function| context.register_udaf(function));
    // Under each function's own name: others are its aliases.
    let there: BTreeSet<String> =
        context.state().aggregate_functions().values().map(|function| function.name().to_owned()).collect();
    let missing: Vec<&String> = there.iter().filter(|name| !tried.contains(name.as_str())).collect();
    assert!(there.len() > 30 && missing.is_empty(), "not tried: {missing:?}");
}

#[test]
fn each_says_what_datafusion_says() {
    for call in CALLS {
        let view = View { key: "n % 2", aggregates: &[call] };
        let dataflow = view.plan().unwrap_or_else(|problems| panic!("{call}: {problems}"));
        // Ours alone; nothing is shed here.
        let expected = View { aggregates: if *call == "shed_rows()" { &["0"] } else { view.aggregates }, ..view };
        let expected = expected.by_datafusion().unwrap_or_else(|error| panic!("{call}: {error}"));
        let found = view.by_the_engine(&dataflow);
        assert_eq!(found.len(), expected.len(), "{call}");
        for ((start, row), (expected_start, expected_row)) in found.iter().zip(&expected) {
            assert_eq!((start, &row[..2]), (expected_start, &expected_row[..2]), "{call}");
            assert!(
                agree(&row[2], &expected_row[2]),
                "{call} is {} and not {} in {start} {row:?}",
                row[2],
                expected_row[2]
            );
        }
    }
}

/// All together: each finds its own arguments, filters and states.
#[test]
fn all_of_them_in_one_view_say_what_each_says_alone() {
    let all: Vec<&str> = CALLS.iter().chain(BY_ORDER).copied().collect();
    let view = View { key: "n % 2", aggregates: &all };
    let together = view.by_the_engine(&view.plan().unwrap_or_else(|problems| panic!("{problems}")));
    for (index, call) in all.iter().enumerate() {
        let alone = View { key: "n % 2", aggregates: &[call] };
        let alone = alone.by_the_engine(&alone.plan().unwrap_or_else(|problems| panic!("{call}: {problems}")));
        assert_eq!(alone.len(), together.len(), "{call}");
        // Sorted by all values, so found by their keys.
        for (start, row) in &alone {
            let same = together.iter().find(|(other, found)| other == start && found[..2] == row[..2]);
            assert_eq!(same.map(|(_, found)| &found[2 + index]), Some(&row[2]), "{call} in {start} {row:?}");
        }
    }
}

#[test]
fn grouping_sets_are_refused() {
    for groups in ["ROLLUP (k, win)", "CUBE (k, win)", "GROUPING SETS ((k, win), (win))"] {
        let sql = format!(
            "CREATE EXTERNAL TABLE sink (k VARCHAR, c BIGINT) STORED AS JSON LOCATION 'sink';
             INSERT INTO sink SELECT k, c FROM
               (SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY {groups});"
        );
        let problems = plan_files(&[("a.sql", EVENTS), ("q.sql", &sql)]).expect_err(groups).0[0].to_string();
        assert!(problems.starts_with("q.sql:3:"), "{groups}: {problems}");
    }
}

fn agree(found: &str, expected: &str) -> bool {
    match (found.parse::<f64>(), expected.parse::<f64>()) {
        (Ok(found), Ok(expected)) => (found - expected).abs() <= 1e-9 * found.abs().max(expected.abs()).max(1.0),
        _ => found == expected,
    }
}

/// As they come out of the planner, where names are looked up among our own functions: `count` is one of these.
#[test]
fn the_usual_ones_have_accumulators_of_our_own() {
    let of_our_own = |call: &str| {
        let sql = format!(
            "CREATE EXTERNAL TABLE sink (k VARCHAR, x VARCHAR) STORED AS JSON LOCATION 'sink';
             INSERT INTO sink SELECT k, CAST({call} AS VARCHAR) AS x FROM ev GROUP BY k, tumble(t, INTERVAL '1 second');"
        );
        let dataflow =
            plan_files(&[("a.sql", EVENTS), ("q.sql", &sql)]).unwrap_or_else(|error| panic!("{call}: {error}"));
        let aggregates = &dataflow.streams[0].panes[0].aggregates;
        assert_eq!(aggregates.len(), 1, "{call}");
        aggregates[0].is_native()
    };
    for call in ["count(*)", "count(v)", "sum(n)", "sum(v)", "min(t)", "max(n)", "avg(n)", "stddev(v)", "var_pop(n)"] {
        assert!(of_our_own(call), "{call}");
        // Of which the optimiser makes another expression, with the old one's name.
        for filter in ["n > 3", "n > 3.5", "k = 'a'", "k IN ('a', 'b')"] {
            assert!(of_our_own(&format!("{call} FILTER (WHERE {filter})")), "{call}, {filter}");
        }
    }
    for call in ["count(DISTINCT k)", "max(k)", "ddsketch_quantile(v, 0.5)"] {
        assert!(!of_our_own(call), "{call}");
    }
}
