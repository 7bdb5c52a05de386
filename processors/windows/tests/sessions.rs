//! Sessions against a model that sorts each key's rows, and against themselves: the same rows in other batches, with a
//! restart in the middle, beside other keys, and sent as panes by one operator to another.

use amoskys_windows::{
    Aggregate, ClosedWindow, Hop, Origin, Output, PaneBounds, PaneState, ReplayPoint, Rows, Watermark, WatermarkRules,
    WindowOperator,
};
use arrow::{
    array::{ArrayRef, AsArray, Float64Array},
    datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef},
};
use datafusion::{
    functions_aggregate::{count, stddev, sum},
    logical_expr::AggregateUDF,
    physical_expr::{aggregate::AggregateExprBuilder, expressions},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Debug, Clone)]
struct Row {
    time_ns: i64,
    key: i32,
    value: f64,
}

#[derive(Debug, Clone)]
struct Case {
    gap_ns: i64,
    gaps_max: i64,
    lateness_ns: i64,
    rows: Vec<Row>,
    cuts: Vec<usize>,
    restart: usize,
}

prop_compose! {
    /// Mostly forward in time from before 1970, out of order by up to `disorder`; some keys come often, some seldom.
    fn any_case()(gap_ns in 1i64..25, gaps_max in 1i64..12, lateness_ns in 0i64..60, disorder in 0i64..120, span in 50i64..900,
                  mut rows in prop::collection::vec((0i64..1_000, 0i32..40, -1e3f64..1e3), 1..150),
                  cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
                  restart: prop::sample::Index) -> Case {
        let count = rows.len();
        for (index, (time_ns, key, _)) in rows.iter_mut().enumerate() {
            *time_ns = index as i64 * span / count as i64 - 60 + *time_ns % (disorder + 1);
            *key = if *key < 30 { *key % 2 } else { *key };
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(count)).collect();
        cuts.sort_unstable();
        let rows = rows.into_iter().map(|(time_ns, key, value)| Row { time_ns, key, value }).collect();
        Case { gap_ns, gaps_max, lateness_ns, rows, cuts, restart: restart.index(count) }
    }
}

impl Case {
    fn hop(&self) -> Hop {
        Hop::session(self.gap_ns, self.gap_ns * self.gaps_max).expect("valid")
    }

    /// The watermark before each row, and the one after the last.
    fn watermarks(&self) -> Vec<Watermark> {
        let rules = WatermarkRules { lateness_ns: self.lateness_ns, max_skew_ns: i64::MAX, idle_ns: None };
        let mut watermark = Watermark::default();
        let mut all = vec![watermark];
        for row in &self.rows {
            watermark.observe(&rules, row.time_ns);
            all.push(watermark);
        }
        all
    }

    fn pane(&self, time_ns: i64) -> i64 {
        time_ns.div_euclid(self.gap_ns)
    }
}

fn aggregate(function: Arc<AggregateUDF>) -> Aggregate {
    let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Float64, false)]));
    let argument = expressions::col("value", &schema).expect("a column");
    let builder = AggregateExprBuilder::new(function, vec![argument]).schema(schema).alias("a");
    Aggregate::new(Arc::new(builder.build().expect("builds")), vec![0], None)
}

fn operator(case: &Case, closed_through_ns: i64) -> WindowOperator {
    let aggregates = vec![aggregate(count::count_udaf()), aggregate(sum::sum_udaf()), aggregate(stddev::stddev_udaf())];
    let outputs = [vec![0, 1, 2], vec![1]].map(|aggregates| Output { hop: case.hop(), aggregates }).to_vec();
    let keys: SchemaRef = Arc::new(Schema::new(vec![Field::new("key", DataType::Int32, false)]));
    WindowOperator::new(outputs, keys, aggregates, PaneBounds::NONE, closed_through_ns).expect("valid")
}

/// Pushes rows `from..to` as one batch.
fn push(case: &Case, operator: &mut WindowOperator, (from, to): (usize, usize), closed: &mut Vec<ClosedWindow>) {
    push_some(case, operator, (from, to), closed, |_| true);
}

fn push_some(
    case: &Case,
    operator: &mut WindowOperator,
    (from, to): (usize, usize),
    closed: &mut Vec<ClosedWindow>,
    is_kept: impl Fn(&Row) -> bool,
) {
    let watermarks = case.watermarks();
    let kept: Vec<usize> = (from..to).filter(|&row| is_kept(&case.rows[row])).collect();
    let origin = |&row: &usize| Origin::from(ReplayPoint { offset: row as i64, watermark: watermarks[row] });
    let rows = || kept.iter().map(|&row| &case.rows[row]);
    let keys: ArrayRef = Arc::new(rows().map(|row| Some(row.key)).collect::<arrow::array::Int32Array>());
    let values: ArrayRef = Arc::new(rows().map(|row| Some(row.value)).collect::<Float64Array>());
    let rows = Rows {
        times_ns: &rows().map(|row| row.time_ns).collect::<Vec<_>>(),
        watermarks_ns: &kept.iter().map(|&row| watermarks[row].time_ns).collect::<Vec<_>>(),
        record_of_row: &(0..kept.len() as u32).collect::<Vec<_>>(),
        records: &kept.iter().map(origin).collect::<Vec<_>>(),
        keys: &[keys],
        columns: &[values],
    };
    operator.push(&rows, watermarks[to].time_ns, closed).expect("aggregates");
}

/// All sessions, the input cut at `cuts`.
fn run(case: &Case, cuts: &[usize]) -> (Vec<ClosedWindow>, WindowOperator) {
    let (mut operator, mut closed, mut from) = (operator(case, i64::MIN), Vec::new(), 0);
    for &to in cuts.iter().chain([&case.rows.len()]) {
        push(case, &mut operator, (from, to), &mut closed);
        from = to;
    }
    operator.close(i64::MAX, &mut closed).expect("closes");
    (closed, operator)
}

/// Start, end, when it is told, key, rows and the bits of the sum and the deviation; in the order in which they come.
type Session = (i64, i64, i64, i32, i64, u64, Option<u64>);

fn sessions(closed: &[ClosedWindow]) -> Vec<Session> {
    let mut all = Vec::new();
    for window in closed.iter().filter(|window| window.output == 0) {
        let floats = |index: usize| window.values[index].as_primitive::<Float64Type>();
        let bounds = window.sessions.iter().flat_map(|alike| vec![(alike.start_ns, alike.end_ns); alike.rows]);
        for (row, (start_ns, end_ns)) in bounds.enumerate() {
            all.push((
                start_ns,
                end_ns,
                window.end_ns,
                window.keys[0].as_primitive::<Int32Type>().value(row),
                window.values[0].as_primitive::<Int64Type>().value(row),
                floats(1).value(row).to_bits(),
                floats(2).iter().nth(row).flatten().map(f64::to_bits),
            ));
        }
    }
    all
}

/// By definition, each key by itself: start, end, when it is told, key and rows.
fn naive(case: &Case) -> Vec<(i64, i64, i64, i32, i64)> {
    let watermarks = case.watermarks();
    let mut keys: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (row, found) in case.rows.iter().zip(&watermarks) {
        if (case.pane(row.time_ns) + 1) * case.gap_ns > found.time_ns {
            keys.entry(row.key).or_default().push(row.time_ns);
        }
    }
    let longest_ns = case.gap_ns * case.gaps_max;
    let mut all = Vec::new();
    for (key, mut times) in keys {
        times.sort_unstable();
        let (mut start, mut rows) = (times[0], 0);
        for (place, &time) in times.iter().enumerate() {
            rows += 1;
            let told = (case.pane(time) + 2) * case.gap_ns;
            let cut = (time.div_euclid(longest_ns) + 1) * longest_ns;
            let end = match times.get(place + 1) {
                Some(&next) if next - time < case.gap_ns && next < cut => continue,
                Some(&next) if next - time < case.gap_ns => cut,
                _ => time + case.gap_ns,
            };
            all.push((start, end, told, key, rows));
            (start, rows) = (times.get(place + 1).copied().unwrap_or_default(), 0);
        }
    }
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_the_model(case in any_case()) {
        let (closed, operator) = run(&case, &case.cuts);
        let mut all: Vec<_> = sessions(&closed).into_iter().map(|(start, end, told, key, rows, ..)| (start, end, told, key, rows)).collect();
        all.sort_unstable();
        prop_assert_eq!(all, naive(&case));
        prop_assert!(closed.is_sorted_by_key(|window| window.end_ns));
        prop_assert_eq!((operator.panes(), operator.open_windows(0), operator.oldest()), (0, 0, None), "all is forgotten");
        let (first, second): (Vec<_>, Vec<_>) = closed.iter().partition(|window| window.output == 0);
        prop_assert_eq!(first.len(), second.len());
        for (one, other) in first.into_iter().zip(second) {
            prop_assert_eq!((&one.keys, &one.values[1], &one.sessions), (&other.keys, &other.values[0], &other.sessions));
        }
    }

    #[test]
    fn batches_change_no_bit(case in any_case()) {
        let each: Vec<usize> = (1..case.rows.len()).collect();
        let whole = sessions(&run(&case, &[]).0);
        prop_assert_eq!(sessions(&run(&case, &each).0), whole.clone());
        prop_assert_eq!(sessions(&run(&case, &case.cuts).0), whole);
    }

    #[test]
    fn other_keys_change_no_bit_of_a_key(case in any_case(), key in 0i32..2) {
        let all: Vec<Session> = sessions(&run(&case, &case.cuts).0).into_iter().filter(|session| session.3 == key).collect();
        let (mut alone, mut closed) = (operator(&case, i64::MIN), Vec::new());
        push_some(&case, &mut alone, (0, case.rows.len()), &mut closed, |row| row.key == key);
        alone.close(i64::MAX, &mut closed).expect("closes");
        prop_assert_eq!(sessions(&closed), all);
    }

    /// What was told before it is left out; what comes then is the same, and comes from the same records.
    #[test]
    fn a_restart_changes_no_bit(case in any_case()) {
        let (mut first, mut undisturbed) = (operator(&case, i64::MIN), Vec::new());
        push(&case, &mut first, (0, case.restart), &mut undisturbed);
        let told_ns = case.watermarks()[case.restart].time_ns;
        let begin = first.oldest().unwrap_or(ReplayPoint { offset: case.restart as i64, watermark: case.watermarks()[case.restart] });
        push(&case, &mut first, (case.restart, case.rows.len()), &mut undisturbed);
        first.close(i64::MAX, &mut undisturbed).expect("closes");

        let (mut second, mut replayed) = (operator(&case, begin.watermark.time_ns), Vec::new());
        push(&case, &mut second, (begin.offset as usize, case.rows.len()), &mut replayed);
        second.close(i64::MAX, &mut replayed).expect("closes");
        for closed in [&mut undisturbed, &mut replayed] {
            closed.retain(|window| window.end_ns > told_ns);
        }
        prop_assert_eq!(sessions(&replayed), sessions(&undisturbed));
        let origins = |closed: &[ClosedWindow]| closed.iter().map(|window| (window.origin, window.sessions.clone())).collect::<Vec<_>>();
        prop_assert_eq!(origins(&replayed), origins(&undisturbed));
    }

    /// Taken at any time, however often, and put back in any order.
    #[test]
    fn what_was_kept_goes_on_as_if_nothing_had_been(case in any_case(), taken_up: prop::sample::Index) {
        let mut seals = case.cuts.clone();
        seals.dedup();
        let undisturbed = run_sealed(&case, &seals, None);
        let exact = |closed: &[ClosedWindow]| -> Vec<_> {
            let mut all: Vec<_> = sessions(closed).into_iter().map(|(start, end, told, key, rows, ..)| (start, end, told, key, rows)).collect();
            all.sort_unstable();
            all
        };
        prop_assert_eq!(exact(&undisturbed), naive(&case), "sealing changes nothing but the order of floats");
        if !seals.is_empty() {
            let restored = run_sealed(&case, &seals, Some(taken_up.index(seals.len())));
            prop_assert_eq!(sessions(&restored), sessions(&undisturbed));
            let origins = |closed: &[ClosedWindow]| closed.iter().map(|window| (window.origin, window.sessions.clone())).collect::<Vec<_>>();
            prop_assert_eq!(origins(&restored), origins(&undisturbed));
        }
    }

    /// As a shuffle does it.
    #[test]
    fn panes_that_were_sent_give_the_same(case in any_case()) {
        let (mut sender, mut nothing) = (operator(&case, i64::MIN).shipping(), Vec::new());
        push(&case, &mut sender, (0, case.rows.len()), &mut nothing);
        sender.close(i64::MAX, &mut nothing).expect("closes");
        prop_assert_eq!(nothing.len(), 0);
        let (mut receiver, mut closed) = (operator(&case, i64::MIN), Vec::new());
        for shipped in sender.take_shipped() {
            // The windows that end before it have all that they get.
            receiver.close(shipped.tag.watermark_ns - 1, &mut closed).expect("closes");
            receiver.absorb(&shipped.state).expect("absorbs");
        }
        receiver.close(i64::MAX, &mut closed).expect("closes");
        let dropped: u64 = receiver.counters().iter().map(|counters| counters.dropped_rows).sum();
        prop_assert_eq!(dropped, 0);
        prop_assert_eq!(sessions(&closed), sessions(&run(&case, &[]).0));
    }
}

/// All sessions when panes are sealed at `seals`; with `taken_up` the operator is replaced at that of the seals by one that is
/// given what was taken until then: of what is open, at the last.
fn run_sealed(case: &Case, seals: &[usize], taken_up: Option<usize>) -> Vec<ClosedWindow> {
    let (mut current, mut closed, mut from) = (operator(case, i64::MIN), Vec::new(), 0);
    let mut kept: BTreeMap<i64, PaneState> = BTreeMap::new();
    for (index, &to) in seals.iter().enumerate() {
        push(case, &mut current, (from, to), &mut closed);
        current.seal().expect("seals");
        let first_open = current.first_open_pane().expect("a pane");
        kept.retain(|&pane, _| pane >= first_open);
        kept.extend(current.take_changed().expect("taken").into_iter().map(|state| (state.pane, state)));
        from = to;
        if taken_up == Some(index) {
            let before = (current.oldest(), current.next_end_ns(), current.first_held_pane());
            current = operator(case, case.watermarks()[to].time_ns);
            kept.values().rev().for_each(|state| current.restore(state).expect("restores"));
            assert_eq!((current.oldest(), current.next_end_ns(), current.first_held_pane()), before);
        }
    }
    push(case, &mut current, (from, case.rows.len()), &mut closed);
    current.close(i64::MAX, &mut closed).expect("closes");
    closed
}

/// Of a key that is always there, no more than the longest session is held or has to be read again.
#[test]
fn what_is_held_is_bounded_by_the_longest_session() {
    let rows =
        (0..20_000).map(|row| Row { time_ns: row, key: if row % 50 == 0 { row as i32 } else { -1 }, value: 1.0 });
    let case = Case { gap_ns: 10, gaps_max: 20, lateness_ns: 5, rows: rows.collect(), cuts: Vec::new(), restart: 0 };
    let (mut operator, mut closed) = (operator(&case, i64::MIN), Vec::new());
    for from in (0..20_000).step_by(100) {
        push(&case, &mut operator, (from, from + 100), &mut closed);
        let oldest = operator.oldest().expect("open").offset;
        assert!(oldest >= from as i64 - 200 - 20, "{from}: {oldest}");
        assert!(operator.open_windows(0) <= 2 && operator.panes() <= 12);
        assert!(operator.keys() < 1100, "keys that left are forgotten: {}", operator.keys());
    }
    operator.close(i64::MAX, &mut closed).expect("closes");
    let whole: Vec<Session> = sessions(&closed).into_iter().filter(|session| session.3 == -1).collect();
    assert_eq!(whole.len(), 100);
    assert!(whole.iter().all(|(start, end, ..)| end - start <= 210), "cut: {whole:?}");
}
