//! Every native aggregate against DataFusion's accumulator, bit by bit: states and values, over random batches with nulls,
//! filters, NaN, infinities, zeros of both signs and sums that overflow, in any order of merging, and through arrays and
//! back. Panes are kept elsewhere as these arrays, so what is compared is also what is written down.

use super::{Feed, Input, Layout, Sealed, States};
use crate::Aggregate;
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int8Array, Int64Array, StringViewArray,
        TimestampNanosecondArray, UInt32Array, UInt64Array,
    },
    compute::take,
    datatypes::{DataType, Field, Float64Type, Schema, TimeUnit, UInt64Type},
};
use datafusion::{
    functions_aggregate::{average, count, min_max, stddev, sum, variance},
    logical_expr::{AggregateUDF, EmitTo},
    physical_expr::{aggregate::AggregateExprBuilder, expressions},
};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
struct Row {
    key: u8,
    /// Not of the pane.
    is_elsewhere: bool,
    tiny: Option<i8>,
    signed: Option<i64>,
    narrow: Option<u32>,
    unsigned: Option<u64>,
    float: Option<f64>,
    text: Option<bool>,
    filter: Option<bool>,
}

/// Batches of panes.
type Pane = Vec<Vec<Row>>;

fn any_float() -> impl Strategy<Value = f64> {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MAX, f64::MIN, 5e-324];
    prop_oneof![6 => -1e3f64..1e3, 2 => prop::num::f64::NORMAL, 1 => prop::sample::select(special.to_vec())]
}

fn maybe<S: Strategy>(strategy: S, nulls: f64) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(1.0 - nulls, strategy)
}

prop_compose! {
    fn any_row(nulls: f64)(key in 0u8..5, is_elsewhere in prop::bool::weighted(0.2), tiny in maybe(any::<i8>(), nulls),
                           signed in maybe(prop_oneof![-9i64..9, any::<i64>()], nulls), narrow in maybe(any::<u32>(), nulls),
                           unsigned in maybe(prop_oneof![0u64..9, any::<u64>()], nulls), float in maybe(any_float(), nulls),
                           text in maybe(any::<bool>(), nulls), filter in maybe(any::<bool>(), nulls)) -> Row {
        Row { key, is_elsewhere, tiny, signed, narrow, unsigned, float, text, filter }
    }
}

/// Batches with and without nulls; some longer than a block.
fn any_batch() -> impl Strategy<Value = Vec<Row>> {
    let of = |nulls: f64| prop_oneof![6 => prop::collection::vec(any_row(nulls), 0..12), 1 => prop::collection::vec(any_row(nulls), 0..400)];
    prop_oneof![2 => of(0.01), 1 => of(0.3), 1 => of(0.97)]
}

fn any_panes() -> impl Strategy<Value = Vec<Pane>> {
    prop::collection::vec(prop::collection::vec(any_batch(), 1..4), 1..5)
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let texts = rows.iter().map(|row| row.text.map(|long| if long { "more than twelve bytes" } else { "few" }));
    vec![
        Arc::new(Int64Array::from(vec![1; rows.len()])),
        Arc::new(Int8Array::from_iter(rows.iter().map(|row| row.tiny))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.signed))),
        Arc::new(UInt32Array::from_iter(rows.iter().map(|row| row.narrow))),
        Arc::new(UInt64Array::from_iter(rows.iter().map(|row| row.unsigned))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.float))),
        Arc::new(TimestampNanosecondArray::from_iter(rows.iter().map(|row| row.signed))),
        Arc::new(StringViewArray::from_iter(texts)),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.filter))),
    ]
}

const FILTER: usize = 8;

fn schema() -> Schema {
    let all = [
        DataType::Int64,
        DataType::Int8,
        DataType::Int64,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float64,
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Utf8View,
        DataType::Boolean,
    ];
    Schema::new(all.into_iter().enumerate().map(|(at, of)| Field::new(format!("c{at}"), of, true)).collect::<Vec<_>>())
}

fn aggregate(function: Arc<AggregateUDF>, column: usize, filter: Option<usize>) -> Aggregate {
    let argument = expressions::col(&format!("c{column}"), &schema()).expect("a column");
    let builder = AggregateExprBuilder::new(function, vec![argument]).schema(Arc::new(schema())).alias("a");
    Aggregate::new(Arc::new(builder.build().expect("builds")), vec![column], filter)
}

/// Every function over every column that it takes, with a filter and without.
fn aggregates() -> Vec<Aggregate> {
    let mut all = Vec::new();
    for filter in [None, Some(FILTER)] {
        all.extend((0..8).map(|column| aggregate(count::count_udaf(), column, filter)));
        all.extend([2, 4, 5].map(|column| aggregate(sum::sum_udaf(), column, filter)));
        all.extend((1..7).map(|column| aggregate(min_max::min_udaf(), column, filter)));
        all.extend((1..7).map(|column| aggregate(min_max::max_udaf(), column, filter)));
        let of_floats = [
            average::avg_udaf(),
            stddev::stddev_udaf(),
            stddev::stddev_pop_udaf(),
            variance::var_samp_udaf(),
            variance::var_pop_udaf(),
        ];
        all.extend(of_floats.map(|function| aggregate(function, 5, filter)));
    }
    all
}

/// What is said of a pane: its keys in the order in which they came, and both sides' states.
struct Side {
    keys: Vec<u8>,
    native: Sealed,
    theirs: Vec<Vec<ArrayRef>>,
}

fn place_of(keys: &mut Vec<u8>, key: u8) -> usize {
    keys.iter().position(|known| *known == key).unwrap_or_else(|| {
        keys.push(key);
        keys.len() - 1
    })
}

fn fill(layout: &Layout, aggregates: &[Aggregate], pane: &Pane) -> Side {
    let (mut keys, mut native, mut feed) = (Vec::new(), States::new(layout, 2), Feed::default());
    let mut accumulators: Vec<_> = aggregates.iter().map(|of| of.accumulator().expect("an accumulator")).collect();
    for batch in pane {
        let columns = columns(batch);
        let rows: Vec<u32> = (0..batch.len() as u32).filter(|&row| !batch[row as usize].is_elsewhere).collect();
        if rows.is_empty() {
            continue;
        }
        let groups: Vec<usize> = rows.iter().map(|&row| place_of(&mut keys, batch[row as usize].key)).collect();
        let narrow: Vec<u32> = groups.iter().map(|&group| group as u32).collect();
        let input = Input::new(layout, &columns).expect("an input");
        feed.add(layout, &mut native, &input, (&rows, &narrow), keys.len());
        let indices = UInt32Array::from(rows);
        let picked: Vec<ArrayRef> = columns.iter().map(|of| take(of, &indices, None).expect("rows")).collect();
        for (accumulator, aggregate) in accumulators.iter_mut().zip(aggregates) {
            let filter = aggregate.filter.map(|column| picked[column].as_boolean().clone());
            let argument = [picked[aggregate.arguments[0]].clone()];
            accumulator.update_batch(&argument, &groups, filter.as_ref(), keys.len()).expect("updates");
        }
    }
    let theirs = match keys.is_empty() {
        true => vec![Vec::new(); aggregates.len()],
        false => accumulators.iter_mut().map(|of| of.state(EmitTo::All).expect("a state")).collect(),
    };
    Side { keys, native: native.seal(layout), theirs }
}

/// Values and nulls, bit for bit; which NaN it is, is nobody's.
fn bits(array: &ArrayRef) -> String {
    match array.as_primitive_opt::<Float64Type>() {
        Some(floats) => {
            let bits = |float: f64| if float.is_nan() { "NaN".to_owned() } else { format!("{:x}", float.to_bits()) };
            format!("{:?}", floats.iter().map(|float| float.map(bits)).collect::<Vec<_>>())
        }
        None => format!("{array:?}"),
    }
}

fn same(aggregates: &[Aggregate], ours: &[Vec<ArrayRef>], theirs: &[Vec<ArrayRef>]) -> Result<(), TestCaseError> {
    for (aggregate, (ours, theirs)) in aggregates.iter().zip(ours.iter().zip(theirs)) {
        let types = |arrays: &[ArrayRef]| arrays.iter().map(|array| array.data_type().clone()).collect::<Vec<_>>();
        let name =
            format!("{} of {:?}, {:?}", aggregate.expression.fun().name(), aggregate.arguments, aggregate.filter);
        prop_assert_eq!(types(ours), types(theirs), "{}", &name);
        prop_assert_eq!(
            ours.iter().map(bits).collect::<Vec<_>>(),
            theirs.iter().map(bits).collect::<Vec<_>>(),
            "{}",
            &name
        );
    }
    Ok(())
}

fn has_moments(aggregate: &Aggregate) -> bool {
    let name = aggregate.expression.fun().name();
    name.starts_with("stddev") || name.starts_with("var")
}

/// Counts, means and squares merged by DataFusion's formula, but that the first part of a group is taken as it is: DataFusion
/// merges it into nothing, which rounds.
fn merged_moments(sides: &[Side], index: usize, keys: &mut Vec<u8>) -> Vec<ArrayRef> {
    let mut moments: Vec<(u64, f64, f64)> = vec![(0, 0.0, 0.0); keys.len()];
    for side in sides {
        let [counts, means, squares] = side.theirs[index].as_slice() else { panic!("three states") };
        let (means, squares) = (means.as_primitive::<Float64Type>(), squares.as_primitive::<Float64Type>());
        for (row, &key) in side.keys.iter().enumerate() {
            let (added, mean, square) =
                (counts.as_primitive::<UInt64Type>().value(row), means.value(row), squares.value(row));
            let known = &mut moments[place_of(keys, key)];
            let (count, known_mean, known_squares) = *known;
            *known = match (count, added) {
                (_, 0) => *known,
                (0, _) => (added, mean, square),
                _ => {
                    let (before, added) = (count as f64, added as f64);
                    let both = before + added;
                    let delta = known_mean - mean;
                    (
                        both as u64,
                        known_mean * before / both + mean * added / both,
                        known_squares + square + delta * delta * before * added / both,
                    )
                }
            };
        }
    }
    vec![
        Arc::new(UInt64Array::from_iter_values(moments.iter().map(|of| of.0))),
        Arc::new(Float64Array::from_iter_values(moments.iter().map(|of| of.1))),
        Arc::new(Float64Array::from_iter_values(moments.iter().map(|of| of.2))),
    ]
}

fn arrays(layout: &Layout, states: &Sealed) -> Vec<Vec<ArrayRef>> {
    let places = layout.places.iter().map(|place| place.as_ref().expect("all are native"));
    places.map(|place| states.arrays(layout, place).expect("arrays")).collect()
}

/// Those of `all` whose place is marked.
fn kept<T>(all: Vec<T>, marks: &[bool]) -> Vec<T> {
    all.into_iter().zip(marks).filter_map(|(one, is_kept)| is_kept.then_some(one)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn states_and_values_are_datafusions(panes in any_panes(), keeps: bool) {
        let aggregates = aggregates();
        let layout = Layout::of(&aggregates);
        let all: Vec<usize> = (0..aggregates.len()).collect();
        let mut sides: Vec<Side> = panes.iter().map(|pane| fill(&layout, &aggregates, pane)).collect();
        sides.retain(|side| !side.keys.is_empty());
        let mut keys = Vec::new();
        let mut groups_of = Vec::new();
        let mut accumulators: Vec<_> = aggregates.iter().map(|of| of.accumulator().expect("an accumulator")).collect();
        for side in &mut sides {
            let ours = arrays(&layout, &side.native);
            same(&aggregates, &ours, &side.theirs)?;
            if keeps {
                // Kept as arrays and read back, it is the same for everything that follows.
                side.native = Sealed::of_arrays(&layout, &ours, side.keys.len()).expect("states");
                same(&aggregates, &arrays(&layout, &side.native), &ours)?;
            }
            let groups: Vec<usize> = side.keys.iter().map(|&key| place_of(&mut keys, key)).collect();
            let narrow: Vec<u32> = groups.iter().map(|&group| group as u32).collect();
            groups_of.push(narrow);
            for (accumulator, state) in accumulators.iter_mut().zip(&side.theirs) {
                accumulator.merge_batch(state, &groups, keys.len()).expect("merges");
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let parts: Vec<(&Sealed, &[u32])> = sides.iter().map(|side| &side.native).zip(groups_of.iter().map(Vec::as_slice)).collect();
        let merged = Sealed::merge(&layout, &layout.wanted(&all), &parts, keys.len());
        let ours = merged.values(&layout, &all).expect("values");
        let ours: Vec<Vec<ArrayRef>> = ours.into_iter().map(|value| vec![value.expect("all are native")]).collect();
        let mut again: Vec<_> = aggregates.iter().map(|of| of.accumulator().expect("an accumulator")).collect();
        let mut theirs: Vec<Vec<ArrayRef>> = accumulators.iter_mut().map(|of| of.state(EmitTo::All).expect("a state")).collect();
        for index in all.iter().copied().filter(|&index| has_moments(&aggregates[index])) {
            theirs[index] = merged_moments(&sides, index, &mut keys);
        }
        same(&aggregates, &arrays(&layout, &merged), &theirs)?;
        let finite: Vec<bool> = aggregates
            .iter()
            .zip(&theirs)
            .map(|(of, states)| {
                let means = |states: &[ArrayRef]| states[1].as_primitive::<Float64Type>().values().to_vec();
                !has_moments(of) || means(states).into_iter().all(|mean| mean.abs() < 1e150)
            })
            .collect();
        // A state that was read consumes its accumulator, so values are of a further one, merged from the same parts.
        let all_groups: Vec<usize> = (0..keys.len()).collect();
        let mut known = Vec::new();
        for side in &sides {
            let groups: Vec<usize> = side.keys.iter().map(|&key| place_of(&mut known, key)).collect();
            for ((accumulator, state), aggregate) in again.iter_mut().zip(&side.theirs).zip(&aggregates) {
                if !has_moments(aggregate) {
                    accumulator.merge_batch(state, &groups, known.len()).expect("merges");
                }
            }
        }
        for index in all.iter().copied().filter(|&index| has_moments(&aggregates[index])) {
            again[index].merge_batch(&theirs[index], &all_groups, keys.len()).expect("merges");
        }
        let theirs: Vec<Vec<ArrayRef>> =
            again.iter_mut().map(|of| vec![of.evaluate(EmitTo::All).expect("values")]).collect();
        // Merging a mean that is no number into nothing makes its squares one that is none, in DataFusion alone.
        same(&kept(aggregates, &finite), &kept(ours, &finite), &kept(theirs, &finite))?;
    }
}

#[test]
fn all_of_these_are_native_and_share_what_they_can() {
    let layout = Layout::of(&aggregates());
    assert!(layout.places.iter().all(Option::is_some));
    assert_eq!(layout.counters.iter().map(|counter| counter.filter).collect::<Vec<_>>(), [None, Some(FILTER)]);
    // Eight columns, each with the filter and without.
    assert_eq!(layout.lanes.len(), 16);
    // Two counters; for each of them sums of three columns, least and greatest of six, one mean and its squares.
    assert_eq!(layout.width(), 2 + 2 * (3 + 12 + 2));
}

#[test]
fn what_is_not_of_this_kind_stays_with_datafusion() {
    let argument = || vec![expressions::col("c5", &schema()).expect("a column")];
    let builder = AggregateExprBuilder::new(sum::sum_udaf(), argument()).schema(Arc::new(schema())).alias("a");
    let distinct = Aggregate::new(Arc::new(builder.distinct().build().expect("builds")), vec![5], None);
    let text = aggregate(min_max::max_udaf(), 7, None);
    let layout = Layout::of(&[distinct, aggregate(sum::sum_udaf(), 5, None), text]);
    assert_eq!(layout.places.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!((layout.counters.len(), layout.lanes.len(), layout.width()), (1, 1, 2));
}

#[test]
fn a_column_of_another_type_is_refused() {
    let layout = Layout::of(&[aggregate(sum::sum_udaf(), 5, None)]);
    let mut columns = columns(&[]);
    columns.swap(5, 4);
    let error = Input::new(&layout, &columns).expect_err("a column of another type");
    assert!(error.to_string().contains("UInt64"), "{error}");
}
