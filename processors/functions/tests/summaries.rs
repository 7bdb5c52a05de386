//! `sequence`, `top_k`, `histogram` and `ewma` against plain models of themselves, and what the windows' engine asks of them:
//! batches change no bit, states that are merged are the rows they were made of, memory is bounded.

mod common;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray},
    datatypes::{Field, Int64Type, Schema},
    util::display::array_value_to_string,
};
use common::{evaluated, floats, ours, query, session, states};
use datafusion::{
    common::ScalarValue,
    logical_expr::GroupsAccumulator,
    physical_expr::{
        PhysicalExpr,
        aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
        expressions::{Column, Literal},
    },
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

const HALF_LIFE_NS: i64 = 1_000;

/// Of the columns and then the constants.
fn aggregate(name: &str, columns: &[ArrayRef], constants: &[ScalarValue]) -> AggregateFunctionExpr {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true))
        .collect();
    let of = |(at, field): (usize, &Field)| Arc::new(Column::new(field.name(), at)) as Arc<dyn PhysicalExpr>;
    let mut arguments: Vec<_> = fields.iter().enumerate().map(of).collect();
    arguments.extend(constants.iter().map(|value| Arc::new(Literal::new(value.clone())) as Arc<dyn PhysicalExpr>));
    let schema = Arc::new(Schema::new(fields));
    AggregateExprBuilder::new(ours(name), arguments).schema(schema).alias("a").build().expect("an aggregate")
}

/// Everything in one group, in batches that end at `cuts`.
fn added(aggregate: &AggregateFunctionExpr, columns: &[ArrayRef], cuts: &[usize]) -> Box<dyn GroupsAccumulator> {
    let mut accumulator = aggregate.create_groups_accumulator().expect("an accumulator");
    let rows = columns[0].len();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (rows + 1)).chain([rows]).collect();
    ends.sort_unstable();
    let mut from = 0;
    for to in ends {
        let slices: Vec<ArrayRef> = columns.iter().map(|column| column.slice(from, to - from)).collect();
        // Constants are arrays, too, as the engine evaluates them.
        accumulator.update_batch(&slices, &vec![0; to - from], None, 1).expect("adds");
        from = to;
    }
    accumulator
}

fn printed(accumulator: &mut dyn GroupsAccumulator) -> String {
    array_value_to_string(&evaluated(accumulator), 0).expect("prints")
}

/// The same in one go, cut into batches, and of parts whose states are merged.
fn told(name: &str, columns: &[ArrayRef], constants: &[ScalarValue], cuts: &[usize], part: usize) -> [String; 3] {
    let aggregate = aggregate(name, columns, constants);
    let whole = printed(added(&aggregate, columns, &[]).as_mut());
    let cut = printed(added(&aggregate, columns, cuts).as_mut());
    let mut merged = aggregate.create_groups_accumulator().expect("an accumulator");
    let at = part % (columns[0].len() + 1);
    for (from, to) in [(0, at), (at, columns[0].len())] {
        let slices: Vec<ArrayRef> = columns.iter().map(|column| column.slice(from, to - from)).collect();
        let state = states(added(&aggregate, &slices, cuts).as_mut());
        if state[0].len() == 1 {
            merged.merge_batch(&state, &[0], 1).expect("merges");
        }
    }
    [whole, cut, printed(merged.as_mut())]
}

fn sequence_columns(rows: &[(i64, u8)], steps: usize) -> Vec<ArrayRef> {
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.0)));
    let step =
        |at: usize| Arc::new(rows.iter().map(|row| Some(row.1 & 1 << at != 0)).collect::<BooleanArray>()) as ArrayRef;
    std::iter::once(times).chain((0..steps).map(step)).collect()
}

/// By trying all rows for all steps.
fn longest(rows: &[(i64, u8)], steps: usize, step: usize, since: i64, used: &mut Vec<usize>) -> usize {
    if step == steps {
        return step;
    }
    let mut best = step;
    for (at, &(time, met)) in rows.iter().enumerate() {
        if time >= since && met & 1 << step != 0 && !used.contains(&at) {
            used.push(at);
            best = best.max(longest(rows, steps, step + 1, time, used));
            used.pop();
        }
    }
    best
}

proptest! {
    #[test]
    fn sequences_are_those_that_trying_everything_finds(
        rows in prop::collection::vec((0i64..5, 0u8..16), 0..9),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
        part in any::<usize>(),
        steps in 2usize..5,
    ) {
        let expected = longest(&rows, steps, 0, i64::MIN, &mut Vec::new()).to_string();
        let columns = sequence_columns(&rows, steps);
        if rows.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(told("sequence", &columns, &[], &cuts, part), [expected.clone(), expected.clone(), expected]);
    }

    #[test]
    fn frequent_values_are_counted(
        values in prop::collection::vec(prop::option::of(0i64..40), 1..200),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
        part in any::<usize>(),
        k in 1i64..9,
    ) {
        let mut counts = BTreeMap::new();
        values.iter().flatten().for_each(|value| *counts.entry(*value).or_insert(0) += 1);
        let mut counts: Vec<(i64, i64)> = counts.into_iter().collect();
        counts.sort_by_key(|&(value, count)| (-count, value));
        counts.truncate(k as usize);
        let of = |(value, count): &(i64, i64)| format!("{{value: {value}, count: {count}}}");
        let expected = format!("[{}]", counts.iter().map(of).collect::<Vec<_>>().join(", "));
        let columns: [ArrayRef; 1] = [Arc::new(Int64Array::from(values))];
        let constants = [ScalarValue::Int64(Some(k))];
        prop_assert_eq!(told("top_k", &columns, &constants, &cuts, part), [expected.clone(), expected.clone(), expected]);
    }

    #[test]
    fn bins_hold_what_is_between_their_bounds(
        values in prop::collection::vec(prop_oneof![-30f64..30.0, Just(f64::NAN), Just(10.0), Just(f64::INFINITY)], 1..60),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
        part in any::<usize>(),
    ) {
        let bounds = [-5.0, 0.0, 10.0];
        let count = |low: f64, high: f64| values.iter().filter(|value| **value >= low && **value < high).count();
        let last = values.iter().filter(|value| **value >= 10.0).count();
        let expected =
            format!("[{}, {}, {}, {last}]", count(f64::NEG_INFINITY, -5.0), count(-5.0, 0.0), count(0.0, 10.0));
        let columns: [ArrayRef; 1] = [Arc::new(Float64Array::from(values))];
        let constants = bounds.map(|bound| ScalarValue::Float64(Some(bound)));
        prop_assert_eq!(told("histogram", &columns, &constants, &cuts, part), [expected.clone(), expected.clone(), expected]);
    }

    #[test]
    fn old_values_weigh_half_for_each_half_life(
        rows in prop::collection::vec((prop::option::of(-1e6f64..1e6), 0i64..20_000), 1..60),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
        part in any::<usize>(),
    ) {
        let kept: Vec<(f64, i64)> = rows.iter().filter_map(|&(value, time)| Some((value?, time))).collect();
        let newest = kept.iter().map(|row| row.1).max();
        let weight = |time: i64| 0.5f64.powf((newest.unwrap_or(0) - time) as f64 / HALF_LIFE_NS as f64);
        let weights: f64 = kept.iter().map(|row| weight(row.1)).sum();
        let expected = newest.map(|_| kept.iter().map(|row| row.0 * weight(row.1)).sum::<f64>() / weights);
        let columns: [ArrayRef; 2] = [
            Arc::new(rows.iter().map(|row| row.0).collect::<Float64Array>()),
            Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.1))),
        ];
        let constants = [ScalarValue::DurationNanosecond(Some(HALF_LIFE_NS))];
        let [whole, cut, merged] = told("ewma", &columns, &constants, &cuts, part);
        prop_assert_eq!(&whole, &cut);
        let number = |text: &str| text.parse::<f64>().ok();
        for text in [whole, merged] {
            match (number(&text), expected) {
                (Some(told), Some(expected)) => prop_assert!((told - expected).abs() <= 1e-9 * 1e6, "{told} {expected}"),
                (told, expected) => prop_assert_eq!(told, expected),
            }
        }
    }
}

/// 100,000 rows of each of two steps, the last step before all of them but one.
#[test]
fn a_flood_of_one_step_hides_no_pattern_of_two_and_takes_bounded_memory() {
    let flood = (0..200_000).map(|at| (at, if at % 2 == 0 { 0b01 } else { 0b100 }));
    let rows: Vec<(i64, u8)> = std::iter::once((-1, 0b10)).chain(flood).chain([(200_000, 0b10)]).collect();
    let columns = sequence_columns(&rows, 3);
    let aggregate = aggregate("sequence", &columns, &[]);
    let mut accumulator = added(&aggregate, &columns, &[]);
    let bytes = accumulator.size();
    assert!(bytes < 20_000, "{bytes}");
    assert_eq!(printed(accumulator.as_mut()), "2");
}

/// 50,000 values once each among two that come often: what they lack is within the stated bound.
#[test]
fn many_rare_values_cost_frequent_ones_little() {
    let value = |row: i64| {
        if row % 10 == 0 {
            -1
        } else if row % 25 == 1 {
            -2
        } else {
            row
        }
    };
    let values: Vec<i64> = (0..60_000).map(value).collect();
    let columns: [ArrayRef; 1] = [Arc::new(Int64Array::from(values.clone()))];
    let aggregate = aggregate("top_k", &columns, &[ScalarValue::Int64(Some(2))]);
    let mut accumulator = added(&aggregate, &columns, &[7, 5_000]);
    let bytes = accumulator.size();
    assert!(bytes < 400_000, "{bytes}");
    let told = evaluated(accumulator.as_mut());
    let rows = told.as_list::<i32>().value(0);
    let rows = rows.as_struct();
    let (told, counts) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_primitive::<Int64Type>());
    assert_eq!(told.values(), &[-1, -2]);
    for (value, &count) in told.values().iter().zip(counts.values()) {
        let exact = values.iter().filter(|other| *other == value).count() as i64;
        assert!(count <= exact && count >= exact - 60_000 / 1024, "{value}: {count} of {exact}");
    }
}

/// A lone infinity and times at both ends of what there is.
#[test]
fn extremes_of_a_decayed_mean_are_numbers() {
    let columns: [ArrayRef; 2] = [
        Arc::new(Float64Array::from(vec![f64::INFINITY, 3.0])),
        Arc::new(TimestampNanosecondArray::from(vec![i64::MIN, i64::MAX])),
    ];
    let aggregate = aggregate("ewma", &columns, &[ScalarValue::DurationNanosecond(Some(1))]);
    assert_eq!(floats(&evaluated(added(&aggregate, &columns, &[]).as_mut())), [Some(3.0)]);
}

#[test]
fn queries_call_them_with_filters_and_over_nothing() {
    let at: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![0, 1_000, 2_000, 3_000]));
    let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("a"), None]));
    let x: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 4.0]));
    let context = session(vec![("at", at), ("name", name), ("x", x)]);
    let rows = |sql: &str| query(&context, sql).expect(sql);
    assert_eq!(rows("SELECT sequence(at, name = 'a', name = 'b', name = 'a') FROM t"), ["3"]);
    assert_eq!(rows("SELECT sequence(at, name = 'b', name = 'b') FROM t"), ["1"]);
    assert_eq!(rows("SELECT sequence(at, x > 1, x < 2) FILTER (WHERE x < 0) FROM t"), ["0"]);
    assert_eq!(rows("SELECT top_k(name, 1), top_k(x, 3) FILTER (WHERE x > 5) FROM t"), ["[{value: a, count: 2}] []"]);
    assert_eq!(rows("SELECT histogram(x, 2, 3) FROM t"), ["[1, 1, 2]"]);
    assert_eq!(rows("SELECT histogram(x, 2, 3) FROM t WHERE x < 0"), ["[0, 0, 0]"]);
    assert_eq!(
        rows("SELECT ewma(x, at, INTERVAL '1 microsecond') FILTER (WHERE x < 3) FROM t"),
        ["1.6666666666666667"]
    );
    assert_eq!(
        rows("SELECT name, sum(x), top_k(x, 1) FROM t WHERE name = 'a' GROUP BY name"),
        ["a 4.0 [{value: 1.0, count: 1}]"]
    );
}

#[test]
fn wrong_arguments_are_refused_when_planned() {
    let at: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![0]));
    let x: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let context = session(vec![("at", at), ("x", x)]);
    for (sql, words) in [
        ("sequence(at, x > 1)", "sequence takes a time and 2 to 8 conditions"),
        ("sequence(x, x > 1, x > 2)", "the time of sequence must be a TIMESTAMP, not DOUBLE"),
        ("sequence(at, x > 1, x)", "a step of sequence is a condition, not DOUBLE"),
        ("sequence(DISTINCT at, x > 1, x > 2)", "sequence takes no DISTINCT"),
        ("top_k(x)", "top_k takes 2 arguments, not 1"),
        ("top_k(x, x)", "the k of top_k must be a literal from 1 to 100"),
        ("top_k(x, 0)", "the k of top_k is from 1 to 100, not 0"),
        ("histogram(x)", "histogram takes what to look at and at least one bound"),
        ("histogram(at, 1)", "histogram looks at numbers, not TIMESTAMP"),
        ("histogram(x, 1, 1)", "the bounds of histogram must ascend"),
        ("histogram(x, x)", "the bounds of histogram must be literal numbers"),
        ("ewma(x, at)", "ewma takes 3 arguments, not 2"),
        ("ewma(x, x, INTERVAL '1 second')", "the time of ewma must be a TIMESTAMP, not DOUBLE"),
        ("ewma(x, at, INTERVAL '1 month')", "the half-life of ewma must be a literal interval of fixed length"),
        ("ewma(x, at, INTERVAL '0 seconds')", "the half-life of ewma must be more than nothing"),
        ("ewma(at, at, INTERVAL '1 second')", "ewma looks at numbers, not TIMESTAMP"),
    ] {
        let told = query(&context, &format!("SELECT {sql} FROM t")).expect_err(sql);
        assert!(told.contains(words), "{sql}: {told}");
    }
}
