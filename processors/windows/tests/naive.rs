//! The operator against a model that recomputes every window from scratch, and against itself: the same rows in other
//! batches, and with a restart in the middle. Random windows, lateness, disorder and cuts.

use amoskys_windows::{
    Aggregate, ClosedWindow, Hop, Origin, Output, PaneBounds, PaneState, ReplayPoint, Rows, Watermark, WatermarkRules,
    WindowOperator,
};
use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringViewArray},
    datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef},
};
use datafusion::{
    functions_aggregate::{approx_percentile_cont, average, count, min_max, stddev, sum},
    logical_expr::AggregateUDF,
    physical_expr::{PhysicalExpr, aggregate::AggregateExprBuilder, expressions},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Debug, Clone)]
struct Row {
    time_ns: i64,
    key: u8,
    integer: i64,
    float: f64,
    wanted: bool,
    /// Rows of one record are replayed together.
    begins_record: bool,
}

#[derive(Debug, Clone)]
struct Case {
    /// Of views that share panes.
    hops: Vec<Hop>,
    lateness_ns: i64,
    rows: Vec<Row>,
    cuts: Vec<usize>,
    restart: usize,
    bounds: PaneBounds,
}

prop_compose! {
    fn any_row()(time_ns in 0i64..1_000, key in 0u8..5, integer in -9i64..9, float in -1e3f64..1e3,
                 wanted: bool, begins_record in prop::bool::weighted(0.4)) -> Row {
        Row { time_ns, key, integer, float, wanted, begins_record }
    }
}

/// Of a pane: none, few keys, few bytes.
fn any_bounds() -> impl Strategy<Value = PaneBounds> {
    prop_oneof![
        2 => Just(PaneBounds::NONE),
        1 => (1usize..5).prop_map(|keys_max| PaneBounds { keys_max, ..PaneBounds::NONE }),
        1 => (0usize..12_000).prop_map(|bytes_max| PaneBounds { bytes_max, ..PaneBounds::NONE }),
    ]
}

/// Windows that share panes: of one slide and remainder.
fn hops(slide: i64, size: i64, more: &[i64]) -> Vec<Hop> {
    let sizes = [size].into_iter().chain(more.iter().map(|slides| slide * slides + size % slide));
    sizes.map(|size| Hop::new(slide, size).expect("valid")).collect()
}

prop_compose! {
    /// Mostly forward in time from before 1970, out of order by up to `disorder`.
    fn any_case()(slide in 1i64..25, size in 1i64..90, more in prop::collection::vec(1i64..9, 0..3),
                  lateness_ns in 0i64..60, disorder in 0i64..240,
                  mut rows in prop::collection::vec(any_row(), 1..150),
                  cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
                  restart: prop::sample::Index, bounds in any_bounds()) -> Case {
        let count = rows.len();
        for (index, row) in rows.iter_mut().enumerate() {
            row.time_ns = index as i64 * 300 / count as i64 - 60 + row.time_ns % (disorder + 1);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(count)).collect();
        cuts.sort_unstable();
        Case { hops: hops(slide, size, &more), lateness_ns, restart: restart.index(count), rows, cuts, bounds }
    }
}

impl Case {
    fn rules(&self) -> WatermarkRules {
        WatermarkRules { lateness_ns: self.lateness_ns, max_skew_ns: i64::MAX, idle_ns: None }
    }

    /// The watermark before each row, and the one after the last.
    fn watermarks(&self) -> Vec<Watermark> {
        let mut watermark = Watermark::default();
        let mut all = vec![watermark];
        for row in &self.rows {
            watermark.observe(&self.rules(), row.time_ns);
            all.push(watermark);
        }
        all
    }

    /// First row of each row's record.
    fn record_starts(&self) -> Vec<usize> {
        let mut start = 0;
        self.rows
            .iter()
            .enumerate()
            .map(|(index, row)| {
                if row.begins_record {
                    start = index;
                }
                start
            })
            .collect()
    }
}

fn input_schema() -> Schema {
    Schema::new(vec![
        Field::new("integer", DataType::Int64, false),
        Field::new("float", DataType::Float64, false),
        Field::new("wanted", DataType::Boolean, false),
    ])
}

fn key_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8View, false)]))
}

fn aggregate(udf: Arc<AggregateUDF>, column: &str, literal: Option<f64>, filter: Option<usize>) -> Aggregate {
    let schema = input_schema();
    let mut arguments: Vec<Arc<dyn PhysicalExpr>> = vec![expressions::col(column, &schema).expect("column")];
    arguments.extend(literal.map(expressions::lit));
    let index = schema.index_of(column).expect("column");
    let places = vec![index; arguments.len()];
    let expression =
        AggregateExprBuilder::new(udf, arguments).schema(Arc::new(schema)).alias("a").build().expect("builds");
    Aggregate::new(Arc::new(expression), places, filter)
}

/// Views but the first want these many: the exact ones and a sum of floats.
const FEWER: usize = 6;

fn aggregates() -> Vec<Aggregate> {
    vec![
        aggregate(count::count_udaf(), "integer", None, None),
        aggregate(count::count_udaf(), "integer", None, Some(2)),
        aggregate(sum::sum_udaf(), "integer", None, None),
        aggregate(min_max::min_udaf(), "float", None, None),
        aggregate(min_max::max_udaf(), "float", None, Some(2)),
        aggregate(sum::sum_udaf(), "float", None, None),
        aggregate(average::avg_udaf(), "float", None, None),
        aggregate(stddev::stddev_udaf(), "float", None, None),
        aggregate(approx_percentile_cont::approx_percentile_cont_udaf(), "float", Some(0.9), None),
    ]
}

fn operator(case: &Case, closed_through_ns: i64) -> WindowOperator {
    let output =
        |(index, &hop): (usize, &Hop)| Output { hop, aggregates: (0..if index == 0 { 9 } else { FEWER }).collect() };
    let outputs = case.hops.iter().enumerate().map(output).collect();
    WindowOperator::new(outputs, key_schema(), aggregates(), case.bounds, closed_through_ns).expect("valid")
}

/// Pushes rows `from..to` as one batch.
fn push(case: &Case, operator: &mut WindowOperator, from: usize, to: usize, closed: &mut Vec<ClosedWindow>) {
    push_some(case, operator, (from, to), closed, &|_| true);
}

/// Those of them that are kept, with the watermarks that they found among all.
fn push_some(
    case: &Case,
    operator: &mut WindowOperator,
    (from, to): (usize, usize),
    closed: &mut Vec<ClosedWindow>,
    is_kept: &dyn Fn(&Row) -> bool,
) {
    let kept: Vec<usize> = (from..to).filter(|&row| is_kept(&case.rows[row])).collect();
    let rows: Vec<&Row> = kept.iter().map(|&row| &case.rows[row]).collect();
    let (watermarks, starts) = (case.watermarks(), case.record_starts());
    let records: Vec<Origin> =
        (0..case.rows.len()).map(|row| ReplayPoint { offset: row as i64, watermark: watermarks[row] }.into()).collect();
    let keys: ArrayRef =
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| format!("a key of some length {}", row.key))));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.integer))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.float))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.wanted)))),
    ];
    let rows = Rows {
        times_ns: &rows.iter().map(|row| row.time_ns).collect::<Vec<_>>(),
        watermarks_ns: &kept.iter().map(|&row| watermarks[row].time_ns).collect::<Vec<_>>(),
        record_of_row: &kept.iter().map(|&row| starts[row] as u32).collect::<Vec<_>>(),
        records: &records,
        keys: &[keys],
        columns: &columns,
    };
    operator.push(&rows, watermarks[to].time_ns, closed).expect("aggregates");
}

/// All windows, the input cut at `cuts`.
fn run(case: &Case, cuts: &[usize]) -> (Vec<ClosedWindow>, WindowOperator) {
    let (mut operator, mut closed, mut from) = (operator(case, i64::MIN), Vec::new(), 0);
    for &to in cuts.iter().chain([&case.rows.len()]) {
        push(case, &mut operator, from, to, &mut closed);
        from = to;
    }
    operator.close(i64::MAX, &mut closed).expect("closes");
    (closed, operator)
}

/// What a window says of a key by definition: exact values only.
#[derive(Debug, PartialEq)]
struct Exact {
    count: i64,
    wanted: i64,
    sum: i64,
    min: f64,
    max_wanted: Option<f64>,
}

/// Every window from scratch: each row looks at each window that could contain it.
fn naive(case: &Case) -> BTreeMap<(usize, i64, i64, String), Exact> {
    let watermarks = case.watermarks();
    let mut windows: BTreeMap<(usize, i64, i64, String), Exact> = BTreeMap::new();
    for (index, row) in case.rows.iter().enumerate() {
        let all = case
            .hops
            .iter()
            .enumerate()
            .flat_map(|(output, hop)| (-200i64..800).map(move |window| (output, hop, window)));
        for (output, hop, window) in all {
            let (start, end) = (window * hop.slide_ns(), window * hop.slide_ns() + hop.size_ns());
            if start > row.time_ns || row.time_ns >= end || end <= watermarks[index].time_ns {
                continue;
            }
            let entry = windows
                .entry((output, end, start, format!("a key of some length {}", row.key)))
                .or_insert(Exact { count: 0, wanted: 0, sum: 0, min: f64::INFINITY, max_wanted: None });
            entry.count += 1;
            entry.wanted += i64::from(row.wanted);
            entry.sum += row.integer;
            entry.min = entry.min.min(row.float);
            if row.wanted {
                entry.max_wanted = Some(entry.max_wanted.map_or(row.float, |max| max.max(row.float)));
            }
        }
    }
    windows
}

fn exact(closed: &[ClosedWindow]) -> BTreeMap<(usize, i64, i64, String), Exact> {
    let mut windows = BTreeMap::new();
    for window in closed {
        let floats = |index: usize| window.values[index].as_primitive::<Float64Type>();
        let integers = |index: usize| window.values[index].as_primitive::<Int64Type>();
        for row in 0..window.rows {
            let key =
                (window.output, window.end_ns, window.start_ns, window.keys[0].as_string_view().value(row).to_owned());
            let value = Exact {
                count: integers(0).value(row),
                wanted: integers(1).value(row),
                sum: integers(2).value(row),
                min: floats(3).value(row),
                max_wanted: floats(4).iter().nth(row).flatten(),
            };
            assert!(windows.insert(key, value).is_none(), "a window closed twice");
        }
    }
    windows
}

/// What comes out, bit for bit; offsets left out, which a restart may widen.
fn bits(closed: &[ClosedWindow]) -> Vec<String> {
    let float_bits = |array: &ArrayRef| match array.as_primitive_opt::<Float64Type>() {
        Some(floats) => format!("{:?}", floats.iter().map(|float| float.map(f64::to_bits)).collect::<Vec<_>>()),
        None => format!("{array:?}"),
    };
    closed
        .iter()
        .map(|window| {
            let arrays: Vec<String> = window.keys.iter().chain(&window.values).map(float_bits).collect();
            let shed_rows = window.origin.shed_rows;
            format!("{} {} {} {shed_rows} {arrays:?}", window.output, window.start_ns, window.end_ns)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_naive_model(case in any_case()) {
        let case = Case { bounds: PaneBounds::NONE, ..case };
        let (closed, operator) = run(&case, &case.cuts);
        prop_assert_eq!(exact(&closed), naive(&case));
        prop_assert!(closed.is_sorted_by_key(|window| window.end_ns));
        prop_assert_eq!(operator.panes(), 0, "every pane is forgotten");
        for (hop, counters) in case.hops.iter().zip(operator.counters()) {
            let in_gaps = case.rows.iter().filter(|row| {
                let (first, last) = hop.windows_at(row.time_ns);
                first > last
            });
            prop_assert_eq!(counters.gap_rows, in_gaps.count() as u64);
        }
    }

    #[test]
    fn sharing_panes_changes_no_bit(case in any_case()) {
        // What a pane costs is a matter of all its views; how many keys it has is not.
        let case = Case { bounds: PaneBounds { bytes_max: usize::MAX, ..case.bounds }, ..case };
        let (shared, _) = run(&case, &case.cuts);
        for (output, &hop) in case.hops.iter().enumerate() {
            let (mut alone, _) = run(&Case { hops: vec![hop], ..case.clone() }, &case.cuts);
            let mut of_it: Vec<ClosedWindow> = shared.iter().filter(|window| window.output == output).cloned().collect();
            alone.iter_mut().for_each(|window| window.values.truncate(if output == 0 { 9 } else { FEWER }));
            of_it.iter_mut().for_each(|window| window.output = 0);
            prop_assert_eq!(bits(&alone), bits(&of_it));
        }
    }

    /// Groups may be spread over any number of partitions.
    #[test]
    fn other_keys_change_no_bit_of_a_key(case in any_case(), key in 0u8..5) {
        let case = Case { bounds: PaneBounds::NONE, ..case };
        let (all, _) = run(&case, &case.cuts);
        let (mut alone, mut closed) = (operator(&case, i64::MIN), Vec::new());
        push_some(&case, &mut alone, (0, case.rows.len()), &mut closed, &|row| row.key == key);
        alone.close(i64::MAX, &mut closed).expect("closes");
        let name = format!("a key of some length {key}");
        let of_key = |window: &ClosedWindow| {
            let row = window.keys[0].as_string_view().iter().position(|key| key == Some(name.as_str()))?;
            let pick = |arrays: &[ArrayRef]| arrays.iter().map(|array| array.slice(row, 1)).collect();
            Some(ClosedWindow { keys: pick(&window.keys), values: pick(&window.values), rows: 1, ..window.clone() })
        };
        let among: Vec<ClosedWindow> = all.iter().filter_map(of_key).collect();
        let by_itself: Vec<ClosedWindow> = closed.iter().filter_map(of_key).collect();
        prop_assert_eq!(bits(&among), bits(&by_itself));
    }

    #[test]
    fn batches_change_no_bit(case in any_case()) {
        let (one, _) = run(&case, &[]);
        let (some, _) = run(&case, &case.cuts);
        let (each, _) = run(&case, &(1..case.rows.len()).collect::<Vec<_>>());
        prop_assert_eq!(bits(&one), bits(&some));
        prop_assert_eq!(bits(&one), bits(&each));
    }

    #[test]
    fn a_restart_changes_no_bit(case in any_case()) {
        let (undisturbed, _) = run(&case, &case.cuts);
        // Positions are taken between records.
        let position = case.record_starts()[case.restart];
        let (mut first, mut closed) = (operator(&case, i64::MIN), Vec::new());
        push(&case, &mut first, 0, position, &mut closed);
        let watermark_ns = case.watermarks()[position].time_ns;
        let replay = first.oldest().unwrap_or(ReplayPoint { offset: position as i64, watermark: case.watermarks()[position] });

        let (mut second, mut again) = (operator(&case, replay.watermark.time_ns), Vec::new());
        push(&case, &mut second, replay.offset as usize, position, &mut again);
        prop_assert!(again.iter().all(|window| window.end_ns <= watermark_ns), "replay closes only what was closed");
        push(&case, &mut second, position, case.rows.len(), &mut closed);
        second.close(i64::MAX, &mut closed).expect("closes");
        prop_assert_eq!(bits(&undisturbed), bits(&closed));
    }

    #[test]
    fn what_was_sealed_and_kept_goes_on_as_if_nothing_had_been(case in any_case(), taken_up: prop::sample::Index) {
        let starts = case.record_starts();
        let mut seals: Vec<usize> = case.cuts.iter().map(|&cut| starts[cut]).collect();
        seals.dedup();
        let undisturbed = run_sealed(&case, &seals, None);
        if case.bounds == PaneBounds::NONE {
            prop_assert_eq!(exact(&undisturbed), naive(&case), "sealing changes nothing but the order of floats");
        }
        if !seals.is_empty() {
            let restored = run_sealed(&case, &seals, Some(taken_up.index(seals.len())));
            prop_assert_eq!(bits(&undisturbed), bits(&restored));
        }
    }
}

/// All windows when panes are sealed at `seals` (between records); with `taken_up` the operator is replaced at that of the
/// seals by one that is given what was taken at all of them until then.
fn run_sealed(case: &Case, seals: &[usize], taken_up: Option<usize>) -> Vec<ClosedWindow> {
    let (mut current, mut closed, mut from) = (operator(case, i64::MIN), Vec::new(), 0);
    let mut kept: BTreeMap<i64, PaneState> = BTreeMap::new();
    for (index, &to) in seals.iter().enumerate() {
        push(case, &mut current, from, to, &mut closed);
        current.seal().expect("seals");
        kept.extend(current.take_changed().expect("taken").into_iter().map(|state| (state.pane, state)));
        from = to;
        if taken_up == Some(index) {
            current = operator(case, case.watermarks()[to].time_ns);
            // In any order, and also those that no open window is left for.
            kept.values().rev().for_each(|state| current.restore(state).expect("restores"));
        }
    }
    push(case, &mut current, from, case.rows.len(), &mut closed);
    current.close(i64::MAX, &mut closed).expect("closes");
    closed
}

#[test]
fn keys_that_left_are_forgotten() {
    let hop = Hop::new(10, 10).expect("valid");
    let outputs = vec![Output { hop, aggregates: (0..9).collect() }];
    let mut operator =
        WindowOperator::new(outputs, key_schema(), aggregates(), PaneBounds::NONE, i64::MIN).expect("valid");
    let mut closed = Vec::new();
    for batch in 0i64..40 {
        let names: ArrayRef =
            Arc::new(StringViewArray::from_iter_values((0..500).map(|key| format!("{batch}/{key} and then some"))));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1; 500])),
            Arc::new(Float64Array::from(vec![1.0; 500])),
            Arc::new(BooleanArray::from(vec![true; 500])),
        ];
        let records = [ReplayPoint { offset: batch, watermark: Watermark::default() }.into()];
        let rows = Rows {
            times_ns: &[batch * 10; 500],
            watermarks_ns: &[batch * 10 - 10; 500],
            record_of_row: &[0; 500],
            records: &records,
            keys: &[names],
            columns: &columns,
        };
        operator.push(&rows, batch * 10, &mut closed).expect("aggregates");
        assert!(operator.keys() <= 2_000, "{} keys are held", operator.keys());
    }
    assert_eq!(closed.len(), 39);
    assert!(closed.iter().enumerate().all(|(index, window)| {
        window.rows == 500 && window.keys[0].as_string_view().value(7) == format!("{index}/7 and then some")
    }));
}

/// `k` of each row; all in one pane of the tumbling window that they are in.
fn push_keys(operator: &mut WindowOperator, keys: &[String], closed: &mut Vec<ClosedWindow>) {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1; keys.len()])),
        Arc::new(Float64Array::from(vec![1.0; keys.len()])),
        Arc::new(BooleanArray::from(vec![true; keys.len()])),
    ];
    let names: ArrayRef = Arc::new(StringViewArray::from_iter_values(keys));
    let rows = Rows {
        times_ns: &vec![5; keys.len()],
        watermarks_ns: &vec![0; keys.len()],
        record_of_row: &vec![0; keys.len()],
        records: &[ReplayPoint { offset: 0, watermark: Watermark::default() }.into()],
        keys: &[names],
        columns: &columns,
    };
    operator.push(&rows, 0, closed).expect("aggregates");
}

#[test]
fn past_its_bounds_a_pane_keeps_the_keys_that_it_has_and_counts_the_rest() {
    let hop = Hop::new(10, 10).expect("valid");
    let operator = |bounds: PaneBounds| {
        let outputs = vec![Output { hop, aggregates: vec![0] }];
        WindowOperator::new(outputs, key_schema(), aggregates(), bounds, i64::MIN).expect("valid")
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let counts = |operator: &mut WindowOperator| {
        let mut closed = Vec::new();
        operator.close(i64::MAX, &mut closed).expect("closes");
        let window = closed.remove(0);
        let keys = window.keys[0].as_string_view().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
        (keys, window.values[0].as_primitive::<Int64Type>().values().to_vec(), window.origin.shed_rows)
    };
    let mut two = operator(PaneBounds { keys_max: 2, ..PaneBounds::NONE });
    push_keys(&mut two, &names(&["a", "b", "c", "a"]), &mut Vec::new());
    push_keys(&mut two, &names(&["c", "b", "d"]), &mut Vec::new());
    assert_eq!(two.shed_rows(), 3);
    assert_eq!(counts(&mut two), (names(&["a", "b"]), vec![2, 2], 3));

    // A flood of keys, each once: neither panes nor the table of keys grow with it.
    let mut flooded = operator(PaneBounds { keys_max: 100, ..PaneBounds::NONE });
    for batch in 0..200 {
        let keys: Vec<String> = (0..1000).map(|key| format!("{batch}/{key}")).collect();
        push_keys(&mut flooded, &keys, &mut Vec::new());
        assert!(flooded.keys() <= 3_000, "{} keys are held", flooded.keys());
    }
    let (keys, values, shed_rows) = counts(&mut flooded);
    assert_eq!((keys.len(), values.iter().sum::<i64>(), shed_rows), (100, 100, 199_900));
    assert_eq!(keys[99], "0/99");
}
