//! `ddsketch_quantile` against exact quantiles, and what the windows' engine asks of it: merging is union, batches and
//! orders change no bit, memory is bounded.

mod common;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, LargeBinaryArray},
    datatypes::DataType,
};
use common::{add, evaluated, floats, merged, of_one_group, quantile, query, session, states};
use datafusion::logical_expr::EmitTo;
use proptest::prelude::*;
use std::sync::Arc;

const QUANTILES: [f64; 9] = [0.0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.95, 0.999, 1.0];

/// The exact quantile, interpolated, and by how much a sketch of this accuracy may miss it. It counts what is no normal
/// double as zero, and what is far below the greatest magnitude at 2^-54 of it.
fn exact(values: &[f64], quantile: f64, accuracy: f64) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = quantile * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    let part = rank - rank.floor();
    let error = ((1.0 - part) * low.abs() + part * high.abs()) * (accuracy + 1e-11) + f64::MIN_POSITIVE;
    let greatest = sorted[0].abs().max(sorted[sorted.len() - 1].abs());
    Some((low + (high - low) * part, error + greatest * 2f64.powi(-53)))
}

fn check(values: &[f64], accuracy: f64) {
    let array: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    for q in QUANTILES {
        let make = quantile(&DataType::Float64, q, accuracy);
        let told = floats(&evaluated(of_one_group(&make, &array).as_mut()))[0];
        match (told, exact(values, q, accuracy)) {
            (Some(told), Some((exact, error))) => {
                assert!((told - exact).abs() <= error, "quantile {q} is {exact}, told as {told}, may miss {error}");
            }
            (told, exact) => assert_eq!(told, exact.map(|(exact, _)| exact)),
        }
    }
}

/// Numbers that look random and are the same everywhere.
fn uniform(count: usize) -> Vec<f64> {
    let mut state = 42u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..count).map(next).collect()
}

#[test]
fn distributions_of_many_shapes_are_told_to_the_accuracy() {
    let unit = uniform(20_000);
    for accuracy in [0.001, 0.01, 0.1] {
        check(&unit, accuracy);
        check(&unit.iter().map(|u| (u * 40.0 - 20.0).exp()).collect::<Vec<_>>(), accuracy);
        check(&unit.iter().map(|u| (1.0 - u).powf(-1.5)).collect::<Vec<_>>(), accuracy);
        check(&unit.iter().map(|u| (u * 6.0 - 3.0).powi(3).round()).collect::<Vec<_>>(), accuracy);
        check(&unit.iter().map(|u| 1e9 + u).collect::<Vec<_>>(), accuracy);
        check(&unit.iter().map(|u| if *u < 0.3 { 0.0 } else { -u }).collect::<Vec<_>>(), accuracy);
    }
}

proptest! {
    #[test]
    fn any_few_doubles_are_told_to_the_accuracy(
        values in prop::collection::vec(prop_oneof![
            any::<f64>().prop_filter("finite", |value| value.is_finite() && value.abs() < 1e300),
            -1e3f64..1e3,
            -4.0 * f64::MIN_POSITIVE..4.0 * f64::MIN_POSITIVE,
            Just(0.0),
            Just(f64::NAN),
        ], 0..40),
        accuracy in 0.001f64..0.2,
    ) {
        check(&values, accuracy);
    }

    /// The state is all that there is, and it is a function of the values alone.
    #[test]
    fn neither_batches_nor_orders_nor_merges_change_a_bit(
        rows in prop::collection::vec((0usize..5, prop::option::of(any::<f64>()), any::<bool>()), 0..300),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        part_of in prop::collection::vec(0usize..4, 300),
        turned in 0usize..300,
    ) {
        let make = quantile(&DataType::Float64, 0.9, 0.02);
        let columns = |rows: &[(usize, Option<f64>, bool)]| -> common::Columns {
            let values: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>());
            (values, rows.iter().map(|row| row.0).collect(), rows.iter().map(|row| Some(row.2)).collect())
        };
        let fill = |rows: &[(usize, Option<f64>, bool)], cuts: &[usize]| {
            let (values, groups, filter) = columns(rows);
            let mut accumulator = make();
            add(accumulator.as_mut(), &values, &groups, Some(&filter), cuts, 5);
            accumulator
        };
        let whole = states(fill(&rows, &[]).as_mut());
        prop_assert_eq!(&states(fill(&rows, &cuts).as_mut()), &whole);
        let mut other_order = rows.clone();
        other_order.rotate_left(turned % rows.len().max(1));
        prop_assert_eq!(&states(fill(&other_order, &cuts).as_mut()), &whole);
        let parts = (0..4).map(|part| {
            let rows: Vec<_> = rows.iter().zip(&part_of).filter(|(_, of)| **of == part).map(|(row, _)| *row).collect();
            states(fill(&rows, &cuts).as_mut())
        });
        let parts: Vec<_> = parts.collect();
        prop_assert_eq!(&states(merged(&make, &parts).as_mut()), &whole);
        prop_assert_eq!(&states(common::row_by_row(&make, &columns(&rows), 5).as_mut()), &whole);
        let bits = |values: ArrayRef| floats(&values).into_iter().map(|value| value.map(f64::to_bits)).collect::<Vec<_>>();
        let direct = bits(evaluated(fill(&rows, &cuts).as_mut()));
        prop_assert_eq!(bits(evaluated(merged(&make, &parts).as_mut())), direct);
    }
}

#[test]
fn ends_and_constants_are_exact_and_nothing_is_null() {
    let make = |q| quantile(&DataType::Float64, q, 0.01);
    let one = |q, values: Vec<Option<f64>>| {
        let values: ArrayRef = Arc::new(Float64Array::from(values));
        floats(&evaluated(of_one_group(&make(q), &values).as_mut()))[0]
    };
    assert_eq!(one(0.5, vec![Some(200.3); 50]), Some(200.3));
    assert_eq!(one(0.5, vec![Some(1.0), None, Some(4.0)]), Some(2.5), "between two, as percentile_cont");
    assert_eq!((one(0.0, vec![Some(7.1), Some(3.3)]), one(1.0, vec![Some(7.1), Some(3.3)])), (Some(3.3), Some(7.1)));
    assert_eq!(one(0.5, vec![None, Some(f64::NAN)]), None);
    assert_eq!(
        one(0.5, vec![Some(f64::NEG_INFINITY), Some(1.0), Some(f64::INFINITY)]).map(|x| (x - 1.0).abs() < 0.01),
        Some(true)
    );
    assert_eq!(one(0.9, vec![Some(1.0), Some(f64::INFINITY), Some(f64::INFINITY)]), Some(f64::INFINITY));
    assert_eq!(one(0.5, vec![Some(f64::NEG_INFINITY), Some(1.0)]), Some(f64::NEG_INFINITY));
    assert_eq!(one(0.5, vec![Some(-f64::MAX), Some(f64::MAX)]), Some(0.0));
    assert_eq!(one(0.0, vec![Some(-0.0)]).map(f64::to_bits), Some(0.0f64.to_bits()), "one zero");
    let mut groups = make(0.5)();
    groups.update_batch(&[Arc::new(Float64Array::from(vec![2.0]))], &[1], None, 3).expect("adds");
    assert_eq!(floats(&evaluated(groups.as_mut())), [None, Some(2.0), None]);
}

#[test]
fn some_groups_can_be_told_before_the_others() {
    let make = quantile(&DataType::Int64, 1.0, 0.01);
    let mut accumulator = make();
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
    add(accumulator.as_mut(), &values, &[0, 1, 2, 3, 1], None, &[], 4);
    assert_eq!(floats(&accumulator.evaluate(EmitTo::First(2)).expect("evaluates")), [Some(1.0), Some(5.0)]);
    accumulator.update_batch(&[values.slice(4, 1)], &[1], None, 2).expect("adds");
    let state = accumulator.state(EmitTo::First(1)).expect("states");
    assert_eq!(floats(&evaluated(accumulator.as_mut())), [Some(5.0)]);
    assert_eq!(floats(&evaluated(merged(&make, &[state]).as_mut())), [Some(3.0)]);
}

/// Doubles over the whole range make as many buckets as there can be.
#[test]
fn a_group_is_bounded_whatever_it_is_given() {
    let make = quantile(&DataType::Float64, 0.5, 0.01);
    let mut accumulator = make();
    for (round, chunk) in uniform(1_000_000).chunks(8192).enumerate() {
        let sign = if round % 2 == 0 { 1.0 } else { -1.0 };
        let wide = chunk.iter().map(|u| sign * (u * 1400.0 - 700.0).exp());
        let wide: ArrayRef = Arc::new(wide.collect::<Float64Array>());
        accumulator.update_batch(&[wide], &vec![0; chunk.len()], None, 1).expect("adds");
    }
    let open = accumulator.size();
    assert!(open < 1_200_000, "{open}: what waits is at most 16,384 entries and a batch");
    let state = states(accumulator.as_mut());
    let sealed = state[0].get_array_memory_size();
    assert!(sealed < 20_000, "{sealed}");
    let reopened = merged(&make, &[state]).size();
    assert!(reopened < 200_000, "{reopened}");
}

#[test]
fn a_state_that_is_none_is_refused() {
    let make = quantile(&DataType::Float64, 0.5, 0.01);
    let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    let good = states(of_one_group(&make, &values).as_mut())[0].as_binary::<i64>().value(0).to_vec();
    let refused = |bytes: &[u8]| {
        let state: ArrayRef = Arc::new(LargeBinaryArray::from(vec![bytes]));
        let error = make().merge_batch(&[state], &[0], 1).expect_err("no state").to_string();
        assert!(error.contains("a state of ddsketch_quantile does not read"), "{error}");
    };
    for length in (1..17).chain([good.len() - 1]) {
        refused(&good[..length]);
    }
    refused(&[&[9], &good[1..]].concat());
    refused(&[&good[..1], &f64::NAN.to_le_bytes(), &good[9..]].concat());
    refused(&[&good[..1], &9f64.to_le_bytes(), &good[9..]].concat());
    refused(&[&good[..], &[0xff, 0xff, 0xff, 0xff, 0x7f, 1]].concat());
}

proptest! {
    #[test]
    fn no_bytes_make_a_merge_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), version in 0u8..3) {
        let bytes: Vec<u8> = [version].into_iter().chain(bytes).collect();
        let state: ArrayRef = Arc::new(LargeBinaryArray::from(vec![bytes.as_slice()]));
        for make in [quantile(&DataType::Float64, 0.5, 0.01), common::hll(&DataType::Int64)] {
            let mut accumulator = make();
            if accumulator.merge_batch(std::slice::from_ref(&state), &[0], 1).is_ok() {
                states(merged(&make, &[states(accumulator.as_mut())]).as_mut());
                evaluated(accumulator.as_mut());
            }
        }
    }
}

#[test]
fn in_sql_beside_the_exact_one() {
    let values: ArrayRef =
        Arc::new(Int64Array::from((1..=1000).map(|n| (n % 7 != 0).then_some(n)).collect::<Vec<_>>()));
    let keys: ArrayRef = Arc::new(Int64Array::from((1..=1000).map(|n| n % 2).collect::<Vec<_>>()));
    let context = session(vec![("x", values), ("k", keys)]);
    let rows = |sql: &str| query(&context, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let close = "abs(ddsketch_quantile(x, 0.9) / percentile_cont(0.9) WITHIN GROUP (ORDER BY x) - 1) < 0.01";
    assert_eq!(rows(&format!("SELECT {close} FROM t")), ["true"]);
    assert_eq!(rows(&format!("SELECT k, {close} FROM t GROUP BY k ORDER BY k")), ["0 true", "1 true"]);
    assert_eq!(rows("SELECT arrow_typeof(ddsketch_quantile(x, 1)) FROM t"), ["Float64"]);
    assert_eq!(rows("SELECT ddsketch_quantile(x, 1.0) FILTER (WHERE x < 100 AND k = 1) FROM t"), ["99.0"]);
    assert_eq!(rows("SELECT ddsketch_quantile(x, 0.5) FROM t WHERE x > 5000"), [""]);
    assert_eq!(rows("SELECT ddsketch_quantile(CAST(x AS DECIMAL(9, 2)), 0) FROM t"), ["1.0"]);
    assert_eq!(rows("SELECT k FROM t GROUP BY k HAVING ddsketch_quantile(x, 1.0, 0.001) = 1000"), ["0"]);
    assert_eq!(
        rows("SELECT DISTINCT ddsketch_quantile(x, 0.0) OVER (PARTITION BY k) AS q FROM t ORDER BY q"),
        ["1.0", "2.0"]
    );
    let running = "SELECT ddsketch_quantile(x, 1.0) OVER (ORDER BY x) FROM t WHERE x IN (1, 2, 4) ORDER BY x";
    assert_eq!(rows(running), ["1.0", "2.0", "4.0"]);
}

#[test]
fn wrong_arguments_are_told_when_planned() {
    let context = session(vec![("x", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    for (call, part) in [
        (
            "ddsketch_quantile(x)",
            "ddsketch_quantile takes 2 or 3 arguments; write ddsketch_quantile(x, quantile [, accuracy])",
        ),
        ("ddsketch_quantile(x, 0.5, 0.01, 1)", "takes 2 or 3 arguments"),
        ("ddsketch_quantile(x, 95)", "from 0 to 1, not 95; write 0.95 for 95 %"),
        ("ddsketch_quantile(x, -0.5)", "from 0 to 1, not -0.5"),
        (
            "ddsketch_quantile(x, x)",
            "must be a literal number from 0 to 1; write for example ddsketch_quantile(duration_ns, 0.95)",
        ),
        ("ddsketch_quantile(x, 'p95')", "must be a literal number from 0 to 1"),
        ("ddsketch_quantile(x, NULL)", "must be a literal number from 0 to 1"),
        ("ddsketch_quantile(x, 0.5, 0.5)", "the accuracy of ddsketch_quantile is from 0.001 to 0.2, not 0.5"),
        ("ddsketch_quantile(x, 0.5, 1e-6)", "is from 0.001 to 0.2, not 0.000001; leave it out for 0.01 (1 %)"),
        (
            "ddsketch_quantile(x, 0.5, x)",
            "must be one literal number; write for example ddsketch_quantile(duration_ns, 0.95, 0.005)",
        ),
        ("ddsketch_quantile(CAST(x AS VARCHAR), 0.5)", "looks at numbers, not VARCHAR"),
        ("ddsketch_quantile(DISTINCT x, 0.5)", "takes no DISTINCT"),
        ("ddsketch_quantile(x, 2) OVER ()", "from 0 to 1, not 2"),
    ] {
        let sql = format!("SELECT {call} FROM t");
        let planned = futures::executor::block_on(async { context.sql(&sql).await?.into_optimized_plan() });
        let error = planned.err().unwrap_or_else(|| panic!("{sql} was planned")).strip_backtrace();
        assert!(error.contains(part), "{sql}: {error}");
    }
    query(&context, "SELECT ddsketch_quantile(x, 0.9 + 0.05, 0.01) FROM t").expect("a sum of literals is one");
}
