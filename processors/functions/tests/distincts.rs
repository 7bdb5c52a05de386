//! `hll_distinct` and `count(DISTINCT x)`: their error, their types, and that merging is union whatever the batches.

mod common;

use amoskys_functions::aggregate::{
    count::DistinctCounts,
    distinct_items::{Bits, Numbered},
};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, LargeBinaryArray, StringArray, UInt32Array,
    },
    compute::{cast, take},
    datatypes::{DataType, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type},
};
use common::{
    Make, add, counts, distinct, evaluated, hll, merged, of_one_group, query, session, states, stock_distinct,
};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use proptest::prelude::*;
use std::{collections::HashSet, sync::Arc};

fn numbers(range: std::ops::Range<i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(range))
}

fn told(make: &Make, values: &ArrayRef) -> i64 {
    counts(&evaluated(of_one_group(make, values).as_mut()))[0]
}

#[test]
fn few_values_are_counted_exactly() {
    let make = hll(&DataType::Int64);
    for count in [0, 1, 2, 10, 1000, 4000] {
        assert_eq!(told(&make, &numbers(0..count)), count);
    }
}

/// The error is that of 2^14 registers: 0.81 % one standard error; hashes are fixed, so this either holds or does not.
#[test]
fn many_values_are_estimated_to_the_stated_error() {
    let make = hll(&DataType::Int64);
    for (count, trials) in [(5_000i64, 100), (20_000, 100), (100_000, 40), (1_000_000, 6)] {
        let errors = (0..trials).map(|trial: i64| {
            let from = trial * 10_000_019;
            told(&make, &numbers(from..from + count)) as f64 / count as f64 - 1.0
        });
        let errors: Vec<f64> = errors.collect();
        let root_mean_square = (errors.iter().map(|error| error * error).sum::<f64>() / trials as f64).sqrt();
        let worst = errors.iter().fold(0.0f64, |worst, error| worst.max(error.abs()));
        assert!(root_mean_square < 0.0081 * 1.25, "{count}: {root_mean_square}");
        assert!(worst < 0.0081 * 4.0, "{count}: {worst}");
    }
}

/// A kept item is what a state holds: it may not change with the machine or the version.
#[test]
fn states_are_the_same_everywhere() {
    let state = |values: ArrayRef| {
        let state = states(of_one_group(&hll(values.data_type()), &values).as_mut());
        hex(state[0].as_binary::<i64>().value(0))
    };
    assert_eq!(state(Arc::new(StringArray::from(vec!["10.0.0.1", "sshd"]))), "011a4db23afccc0e5b");
    assert_eq!(state(numbers(-1..2)), "019a2cde17f2e388285d9dbd63");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn types() -> Vec<DataType> {
    use DataType::*;
    vec![
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float32,
        Float64,
        Decimal128(20, 2),
        Decimal256(40, 2),
        Date32,
        Date64,
        Time32(TimeUnit::Second),
        Time64(TimeUnit::Nanosecond),
        Timestamp(TimeUnit::Nanosecond, None),
        Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        Duration(TimeUnit::Microsecond),
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
    ]
}

/// The numbers 0 to 9 as a type.
fn ten(data_type: &DataType) -> ArrayRef {
    use DataType::*;
    let numbers = numbers(0..10);
    let through = match data_type {
        Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | UInt64 | Float32 | Float64 | Decimal128(..)
        | Decimal256(..) => None,
        Date32 | Time32(_) => Some(Int32),
        Binary | LargeBinary | BinaryView | LargeUtf8 | Utf8View => Some(Utf8),
        _ => None,
    };
    let numbers = through.map_or(numbers.clone(), |through| cast(&numbers, &through).expect("casts"));
    cast(&numbers, data_type).unwrap_or_else(|error| panic!("{data_type}: {error}"))
}

#[test]
fn every_type_counts_the_same_in_all_of_them() {
    for data_type in types() {
        // Each value twice, nulls between.
        let places = UInt32Array::from((0..40).map(|place| (place % 4 != 3).then_some(place % 10)).collect::<Vec<_>>());
        let values = take(&ten(&data_type), &places, None).expect("takes");
        assert_eq!(told(&hll(&data_type), &values), 10, "{data_type}");
        assert_eq!(told(&distinct(&data_type), &values), 10, "{data_type}");
        assert_eq!(told(&stock_distinct(&data_type), &values), 10, "{data_type}");
    }
    let truths: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]));
    assert_eq!((told(&hll(&DataType::Boolean), &truths), told(&distinct(&DataType::Boolean), &truths)), (2, 2));
    let list = DataType::List(Arc::new(arrow::datatypes::Field::new_list_field(DataType::Int64, true)));
    let lists = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>([
        Some(vec![Some(1)]),
        None,
        Some(vec![Some(1), None]),
        Some(vec![Some(1)]),
    ]);
    assert_eq!(told(&hll(&list), &(Arc::new(lists) as ArrayRef)), 2);
}

/// Text has one sketch whatever array it is in, and so has a number whatever its width.
#[test]
fn a_value_is_the_same_in_every_array() {
    use DataType::*;
    let dictionary = Dictionary(Box::new(Int32), Box::new(Utf8));
    for same in [vec![Utf8, LargeUtf8, Utf8View, dictionary], vec![Int8, Int64, UInt16, UInt64], vec![Float32, Float64]]
    {
        let all = same.iter().map(|data_type| {
            let values = cast(&ten(&same[0]), data_type).expect("casts");
            states(of_one_group(&hll(data_type), &values).as_mut())
        });
        let all: Vec<Vec<ArrayRef>> = all.collect();
        assert!(all.iter().all(|state| *state == all[0]), "{same:?}");
    }
}

#[test]
fn equal_floats_are_one_value_for_the_sketch_and_as_datafusion_has_them_for_the_count() {
    let values: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]));
    assert_eq!(told(&hll(&DataType::Float64), &values), 3);
    for data_type in [DataType::Float64, DataType::Float32, DataType::Float16] {
        let values = cast(&values, &data_type).expect("casts");
        assert_eq!(told(&hll(&data_type), &values), 3);
        assert_eq!(told(&distinct(&data_type), &values), told(&stock_distinct(&data_type), &values), "{data_type}");
        let state = states(of_one_group(&distinct(&data_type), &values).as_mut());
        assert_eq!(state[0].as_list::<i32>().values().data_type(), &data_type);
    }
}

type Row = (usize, Option<u16>, Option<bool>);

/// The numbers of rows as a type; as text some are longer than what lies in a view.
fn columns(rows: &[Row], data_type: &DataType) -> common::Columns {
    let text = |n: u16| if n.is_multiple_of(2) { format!("value number {n}") } else { n.to_string() };
    let values: ArrayRef = match data_type {
        DataType::Utf8View => Arc::new(rows.iter().map(|row| row.1.map(text)).collect::<StringArray>()),
        _ => Arc::new(rows.iter().map(|row| row.1.map(i64::from)).collect::<Int64Array>()),
    };
    let values = cast(&values, data_type).expect("casts");
    (values, rows.iter().map(|row| row.0).collect(), rows.iter().map(|row| row.2).collect())
}

fn fill(make: &Make, rows: &[Row], cuts: &[usize], data_type: &DataType) -> Box<dyn GroupsAccumulator> {
    let (values, groups, filter) = columns(rows, data_type);
    let mut accumulator = make();
    add(accumulator.as_mut(), &values, &groups, Some(&filter), cuts, 4);
    accumulator
}

proptest! {
    #[test]
    fn neither_batches_nor_merges_change_the_count(
        rows in prop::collection::vec((0usize..4, prop::option::of(0u16..60), prop::option::weighted(0.9, any::<bool>())), 0..300),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        part_of in prop::collection::vec(0usize..4, 300),
        data_type in prop::sample::select(vec![
            DataType::Utf8View, DataType::Utf8, DataType::Int64, DataType::UInt32, DataType::UInt8, DataType::Float32,
            DataType::Decimal128(9, 1),
        ]),
    ) {
        let expected: Vec<i64> = (0..4).map(|group| {
            let kept = rows.iter().filter(|row| row.0 == group && row.2 == Some(true));
            kept.filter_map(|row| row.1).collect::<HashSet<_>>().len() as i64
        }).collect();
        for make in [hll(&data_type), distinct(&data_type)] {
            let whole = states(fill(&make, &rows, &[], &data_type).as_mut());
            prop_assert_eq!(&states(fill(&make, &rows, &cuts, &data_type).as_mut()), &whole);
            let parts = (0..4).map(|part| {
                let rows: Vec<Row> = rows.iter().zip(&part_of).filter(|(_, of)| **of == part).map(|(row, _)| *row).collect();
                states(fill(&make, &rows, &cuts, &data_type).as_mut())
            });
            let parts: Vec<_> = parts.collect();
            prop_assert_eq!(counts(&evaluated(merged(&make, &parts).as_mut())), expected.clone());
            let by_rows = evaluated(common::row_by_row(&make, &columns(&rows, &data_type), 4).as_mut());
            prop_assert_eq!(counts(&by_rows), expected.clone());
            prop_assert_eq!(counts(&evaluated(fill(&make, &rows, &cuts, &data_type).as_mut())), expected.clone());
        }
        // DataFusion's own accumulators read the states of ours.
        let state = states(fill(&distinct(&data_type), &rows, &cuts, &data_type).as_mut());
        prop_assert_eq!(counts(&evaluated(merged(&stock_distinct(&data_type), &[state]).as_mut())), expected);
    }
}

/// Sets of all sizes, merged in any order: the same bits as seeing all values.
#[test]
fn a_merge_of_sketches_is_the_sketch_of_the_union() {
    let make = hll(&DataType::Int64);
    let state = |range| states(of_one_group(&make, &numbers(range)).as_mut());
    for (left, right) in [(0..3000, 2000..5000), (0..10, 5..50_000), (0..9000, 4000..20_000), (0..3000, 1000..4096)] {
        let whole = state(left.start..right.end);
        let parts = [state(left), state(right)];
        assert_eq!(states(merged(&make, &parts).as_mut()), whole);
        assert_eq!(states(merged(&make, &[parts[1].clone(), parts[0].clone()]).as_mut()), whole);
    }
}

#[test]
fn some_groups_can_be_told_before_the_others() {
    for (make, data_type) in
        [(hll(&DataType::Int64), DataType::Int64), (distinct(&DataType::Utf8View), DataType::Utf8View)]
    {
        let mut accumulator = make();
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..30_000).map(|n| n / 3)));
        let text = |values: &ArrayRef| cast(values, &data_type).expect("casts");
        let values = text(&values);
        let groups: Vec<usize> = (0..30_000).map(|n| if n < 29_000 { n % 2 } else { 2 }).collect();
        add(accumulator.as_mut(), &values, &groups, None, &[100], 3);
        let first = counts(&accumulator.evaluate(EmitTo::First(1)).expect("evaluates"))[0];
        assert!((first - 9667).abs() < 300, "{first}");
        let state = accumulator.state(EmitTo::First(1)).expect("states");
        let second = counts(&evaluated(merged(&make, &[state]).as_mut()))[0];
        assert!((second - 9667).abs() < 300, "{second}");
        add(accumulator.as_mut(), &text(&numbers(9_999..10_005)), &[0; 6], None, &[], 1);
        assert_eq!(counts(&evaluated(accumulator.as_mut())), [339]);
        assert_eq!(evaluated(accumulator.as_mut()).len(), 0, "as when it was made");
    }
}

#[test]
fn a_group_is_bounded_whatever_it_is_given() {
    let make = hll(&DataType::Int64);
    let mut accumulator = make();
    for from in (0..1_000_000).step_by(8192) {
        add(accumulator.as_mut(), &numbers(from..from + 8192), &[0; 8192], None, &[], 1);
        assert!(accumulator.size() < 1_200_000, "{}", accumulator.size());
    }
    let state = states(accumulator.as_mut());
    assert!(state[0].get_array_memory_size() < 17_000);
    let few = states(of_one_group(&make, &numbers(0..3)).as_mut());
    assert_eq!(few[0].as_binary::<i64>().value(0).len(), 13);
}

#[test]
fn a_state_that_is_none_is_refused() {
    for bytes in [&[1u8, 2, 3][..], &[2; 5], &[9, 9]] {
        let state: ArrayRef = Arc::new(LargeBinaryArray::from(vec![bytes]));
        let error = hll(&DataType::Int64)().merge_batch(&[state], &[0], 1).expect_err("no state").to_string();
        assert!(error.contains("a state of hll_distinct does not read"), "{error}");
    }
}

#[test]
fn counts_of_flat_types_are_ours() {
    for data_type in types() {
        let accumulator = distinct(&data_type)();
        let accumulator = accumulator.as_ref() as &dyn std::any::Any;
        let is_ours = accumulator.is::<DistinctCounts<Numbered>>()
            || accumulator.is::<DistinctCounts<Bits<UInt8Type>>>()
            || accumulator.is::<DistinctCounts<Bits<UInt16Type>>>()
            || accumulator.is::<DistinctCounts<Bits<UInt32Type>>>()
            || accumulator.is::<DistinctCounts<Bits<UInt64Type>>>();
        assert!(is_ours, "{data_type}");
    }
}

/// Which values came first where, not what is in the way of finding out: a state is the same in every process.
#[test]
fn states_are_in_the_order_of_their_rows() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![7, -1, 7, 3, -1, 9]));
    let mut accumulator = distinct(&DataType::Int64)();
    add(accumulator.as_mut(), &values, &[0, 1, 0, 0, 0, 1], None, &[4], 2);
    let state = states(accumulator.as_mut());
    let expected = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>([
        Some(vec![Some(7), Some(3), Some(-1)]),
        Some(vec![Some(-1), Some(9)]),
    ]);
    assert_eq!(state[0].as_list::<i32>(), &expected);
}

#[test]
fn in_sql() {
    let text: ArrayRef = Arc::new(StringArray::from(
        (0..900).map(|n| (n % 9 != 0).then(|| format!("peer {}", n % 90))).collect::<Vec<_>>(),
    ));
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..900).map(|n| n % 2)));
    let context = session(vec![("x", text), ("k", keys)]);
    let rows = |sql: &str| query(&context, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let three = "hll_distinct(x), count(DISTINCT x), count(x), count(*)";
    assert_eq!(rows(&format!("SELECT {three} FROM t")), ["80 80 800 900"]);
    assert_eq!(
        rows(&format!("SELECT k, {three} FROM t GROUP BY k ORDER BY k")),
        ["0 40 40 400 450", "1 40 40 400 450"]
    );
    assert_eq!(
        rows(
            "SELECT k, count(DISTINCT x) FILTER (WHERE x < 'peer 2'), hll_distinct(x) FILTER (WHERE k = 0) FROM t GROUP BY k ORDER BY k"
        ),
        ["0 4 40", "1 6 0"]
    );
    assert_eq!(rows(&format!("SELECT {three} FROM t WHERE k > 5")), ["0 0 0 0"]);
    assert_eq!(rows("SELECT arrow_typeof(hll_distinct(x)) FROM t"), ["Int64"]);
    assert_eq!(rows("SELECT DISTINCT hll_distinct(x) OVER (PARTITION BY k) FROM t"), ["40"]);
    assert_eq!(rows("SELECT count(DISTINCT k) FROM (SELECT k FROM t GROUP BY k HAVING hll_distinct(x) >= 40)"), ["2"]);
    for (call, part) in [
        ("hll_distinct()", "hll_distinct takes 1 argument; write hll_distinct(x), e.g. hll_distinct(dst_addr)"),
        ("hll_distinct(x, k)", "hll_distinct takes 1 argument"),
        ("hll_distinct(DISTINCT x)", "hll_distinct takes no DISTINCT; write hll_distinct(x)"),
    ] {
        let error = query(&context, &format!("SELECT {call} FROM t")).expect_err(part);
        assert!(error.contains(part), "{call}: {error}");
    }
}
