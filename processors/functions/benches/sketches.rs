//! Nanoseconds to add a row to an aggregate over 10,000 groups, to merge and evaluate, and bytes for each group.
//!
//! `cargo bench --profile dev -p amoskys-functions --bench sketches`, in the profile that everything is built with. Each
//! sketch beside what DataFusion has, exact and approximate, driven as the windows' engine drives it: a pane is filled in
//! batches and sealed (its state is read); a window merges five panes and is evaluated. Times are of the CPU.

use amoskys_functions::aggregate::aggregates;
use arrow::{
    array::{Array, ArrayRef, Float64Array, Int64Array, StringViewArray},
    datatypes::{DataType, Field, Schema},
};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use datafusion::{
    functions_aggregate::{
        approx_distinct::approx_distinct_udaf, approx_percentile_cont::approx_percentile_cont_udaf, count::count_udaf,
        percentile_cont::percentile_cont_udaf,
    },
    logical_expr::{AggregateUDF, EmitTo, GroupsAccumulator},
    physical_expr::{
        GroupsAccumulatorAdapter, PhysicalExpr,
        aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
        expressions::{Column, lit},
    },
};
use std::{sync::Arc, time::Duration};

/// Time that this thread has spent on a CPU.
struct CpuTime;

fn on_cpu() -> Duration {
    // The kernel brings the number up to date when it schedules.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with schedstat");
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("schedstat begins with nanoseconds"))
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        on_cpu()
    }

    fn end(&self, start: Duration) -> Duration {
        on_cpu() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

const GROUPS: usize = 10_000;
const BATCH_ROWS: usize = 8_000;
/// What the engine feeds to an aggregate whose result depends on batches.
const CHUNK_ROWS: usize = 1_024;
const PANES: usize = 5;

struct Case {
    name: &'static str,
    expression: Arc<AggregateFunctionExpr>,
    batch_rows: usize,
}

impl Case {
    fn new(
        name: &'static str,
        function: Arc<AggregateUDF>,
        data_type: &DataType,
        quantile: bool,
        distinct: bool,
    ) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("x", data_type.clone(), true)]));
        let mut arguments: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("x", 0))];
        arguments.extend(quantile.then(|| lit(0.95)));
        let expression =
            AggregateExprBuilder::new(function, arguments).schema(schema).alias("a").with_distinct(distinct);
        let batch_rows = if name == "approx_percentile_cont" { CHUNK_ROWS } else { BATCH_ROWS };
        Self { name, expression: Arc::new(expression.build().expect("an aggregate")), batch_rows }
    }

    fn accumulator(&self) -> Box<dyn GroupsAccumulator> {
        if self.expression.groups_accumulator_supported() {
            return self.expression.create_groups_accumulator().expect("an accumulator");
        }
        let expression = self.expression.clone();
        Box::new(GroupsAccumulatorAdapter::new(move || expression.create_accumulator()))
    }

    fn filled(&self, rows: &Rows) -> Box<dyn GroupsAccumulator> {
        let mut accumulator = self.accumulator();
        for from in (0..rows.groups.len()).step_by(self.batch_rows) {
            let length = self.batch_rows.min(rows.groups.len() - from);
            let values = [rows.values.slice(from, length)];
            accumulator.update_batch(&values, &rows.groups[from..from + length], None, GROUPS).expect("adds");
        }
        accumulator
    }

    fn sealed(&self, rows: &Rows) -> Vec<ArrayRef> {
        self.filled(rows).state(EmitTo::All).expect("states")
    }

    fn window(&self, panes: &[Vec<ArrayRef>], groups: &[usize]) -> ArrayRef {
        let mut accumulator = self.accumulator();
        for pane in panes {
            accumulator.merge_batch(pane, groups, GROUPS).expect("merges");
        }
        accumulator.evaluate(EmitTo::All).expect("evaluates")
    }
}

/// Rows of one pane, each of a random group.
struct Rows {
    values: ArrayRef,
    groups: Vec<usize>,
}

/// Numbers that look random and are the same in every run.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 33) >> 8
    }
}

#[derive(Clone, Copy)]
enum Values {
    /// Durations in nanoseconds over four decades.
    Durations,
    /// One of 1,000 addresses.
    Addresses,
    /// One of a million numbers.
    Numbers,
}

fn rows(values: Values, per_group: usize, seed: u64) -> Rows {
    let mut next = random(seed);
    let count = GROUPS * per_group;
    let groups = (0..count).map(|_| next() as usize % GROUPS).collect();
    let numbers = (0..count).map(|_| next());
    let values: ArrayRef = match values {
        Values::Durations => {
            Arc::new(numbers.map(|n| 10f64.powf(3.0 + 4.0 * (n % 100_000) as f64 / 1e5)).collect::<Float64Array>())
        }
        Values::Addresses => {
            let address = |n: u64| format!("192.168.{}.{}", n % 4, n / 4 % 250);
            Arc::new(numbers.map(|n| Some(address(n))).collect::<StringViewArray>())
        }
        Values::Numbers => Arc::new(Int64Array::from_iter_values(numbers.map(|n| (n % 1_000_000) as i64))),
    };
    Rows { values, groups }
}

fn ours(name: &str) -> Arc<AggregateUDF> {
    Arc::new(aggregates().into_iter().find(|function| function.name() == name).expect("one of ours"))
}

fn quantiles() -> Vec<Case> {
    let double = DataType::Float64;
    vec![
        Case::new("ddsketch_quantile", ours("ddsketch_quantile"), &double, true, false),
        Case::new("approx_percentile_cont", approx_percentile_cont_udaf(), &double, true, false),
        Case::new("percentile_cont", percentile_cont_udaf(), &double, true, false),
    ]
}

fn distincts(data_type: &DataType) -> Vec<Case> {
    vec![
        Case::new("hll_distinct", ours("hll_distinct"), data_type, false, false),
        Case::new("approx_distinct", approx_distinct_udaf(), data_type, false, false),
        Case::new("count(DISTINCT)", ours("count"), data_type, false, true),
        Case::new("DataFusion's count(DISTINCT)", count_udaf(), data_type, false, true),
    ]
}

fn measure(criterion: &mut Criterion<CpuTime>, title: &str, values: Values, cases: &[Case]) {
    for per_group in [10, 100] {
        let panes: Vec<Rows> = (0..PANES as u64).map(|pane| rows(values, per_group, pane)).collect();
        let order: Vec<usize> = (0..GROUPS).collect();
        let mut group = criterion.benchmark_group(format!("{title}, {per_group} rows a group"));
        for case in cases {
            let open = case.filled(&panes[0]).size() / GROUPS;
            let states: Vec<Vec<ArrayRef>> = panes.iter().map(|pane| case.sealed(pane)).collect();
            let kept = states[0].iter().map(|state| state.get_array_memory_size()).sum::<usize>() / GROUPS;
            println!("{title}, {per_group} rows a group, {}: {open} bytes a group open, {kept} sealed", case.name);
            group.throughput(Throughput::Elements(panes[0].groups.len() as u64));
            group.bench_function(BenchmarkId::new("add and seal", case.name), |bencher| {
                bencher.iter_batched(|| (), |()| case.sealed(&panes[0]), BatchSize::PerIteration);
            });
            group.throughput(Throughput::Elements((PANES * GROUPS) as u64));
            group.bench_function(BenchmarkId::new("merge and evaluate", case.name), |bencher| {
                bencher.iter_batched(|| (), |()| case.window(&states, &order), BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

fn sketches(criterion: &mut Criterion<CpuTime>) {
    measure(criterion, "quantiles of durations", Values::Durations, &quantiles());
    measure(criterion, "distinct addresses", Values::Addresses, &distincts(&DataType::Utf8View));
    measure(criterion, "distinct numbers", Values::Numbers, &distincts(&DataType::Int64));
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime).sample_size(10);
    targets = sketches
}
criterion_main!(benches);
