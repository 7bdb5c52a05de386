//! Aggregates driven as the windows' engine drives them: accumulators over groups, states, merges.

// Each test file uses a part of this.
#![allow(dead_code)]

use amoskys_functions::aggregate::{CheckArguments, aggregates};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    execution::SessionStateBuilder,
    functions_aggregate::count::count_udaf,
    logical_expr::{AggregateUDF, EmitTo, GroupsAccumulator},
    optimizer::Analyzer,
    physical_expr::{
        GroupsAccumulatorAdapter, PhysicalExpr,
        aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
        expressions::{Column, lit},
    },
    prelude::{SessionConfig, SessionContext},
};
use futures::executor::block_on;
use std::sync::Arc;

pub fn ours(name: &str) -> Arc<AggregateUDF> {
    let found = aggregates().into_iter().find(|function| function.name() == name);
    Arc::new(found.expect("one of ours"))
}

fn expression(
    function: Arc<AggregateUDF>,
    data_type: &DataType,
    numbers: &[f64],
    distinct: bool,
) -> AggregateFunctionExpr {
    let schema = Arc::new(Schema::new(vec![Field::new("x", data_type.clone(), true)]));
    let mut arguments: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("x", 0))];
    arguments.extend(numbers.iter().map(|&number| lit(number)));
    let builder = AggregateExprBuilder::new(function, arguments).schema(schema).alias("a").with_distinct(distinct);
    builder.build().expect("an aggregate")
}

/// What makes accumulators of one aggregate.
pub type Make = Box<dyn Fn() -> Box<dyn GroupsAccumulator>>;

fn make(expression: AggregateFunctionExpr) -> Make {
    let expression = Arc::new(expression);
    Box::new(move || {
        if expression.groups_accumulator_supported() {
            return expression.create_groups_accumulator().expect("an accumulator");
        }
        let expression = expression.clone();
        Box::new(GroupsAccumulatorAdapter::new(move || expression.create_accumulator()))
    })
}

pub fn quantile(data_type: &DataType, quantile: f64, accuracy: f64) -> Make {
    make(expression(ours("ddsketch_quantile"), data_type, &[quantile, accuracy], false))
}

pub fn hll(data_type: &DataType) -> Make {
    make(expression(ours("hll_distinct"), data_type, &[], false))
}

/// `count(DISTINCT x)`, ours.
pub fn distinct(data_type: &DataType) -> Make {
    let expression = expression(ours("count"), data_type, &[], true);
    assert!(expression.groups_accumulator_supported(), "{data_type}");
    make(expression)
}

/// `count(DISTINCT x)`, DataFusion's.
pub fn stock_distinct(data_type: &DataType) -> Make {
    make(expression(count_udaf(), data_type, &[], true))
}

/// Adds rows, in batches that end at `cuts`.
pub fn add(
    accumulator: &mut dyn GroupsAccumulator,
    values: &ArrayRef,
    groups: &[usize],
    filter: Option<&BooleanArray>,
    cuts: &[usize],
    total: usize,
) {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (values.len() + 1)).chain([values.len()]).collect();
    ends.sort_unstable();
    let mut from = 0;
    for to in ends {
        let filter = filter.map(|filter| filter.slice(from, to - from));
        let values = values.slice(from, to - from);
        accumulator.update_batch(&[values], &groups[from..to], filter.as_ref(), total).expect("adds");
        from = to;
    }
}

/// All values in one group, each batch whole.
pub fn of_one_group(make: &Make, values: &ArrayRef) -> Box<dyn GroupsAccumulator> {
    let mut accumulator = make();
    add(accumulator.as_mut(), values, &vec![0; values.len()], None, &[], 1);
    accumulator
}

pub fn evaluated(accumulator: &mut dyn GroupsAccumulator) -> ArrayRef {
    accumulator.evaluate(EmitTo::All).expect("evaluates")
}

pub fn states(accumulator: &mut dyn GroupsAccumulator) -> Vec<ArrayRef> {
    accumulator.state(EmitTo::All).expect("states")
}

/// An accumulator of one group with the states merged in.
pub fn merged(make: &Make, states: &[Vec<ArrayRef>]) -> Box<dyn GroupsAccumulator> {
    let mut accumulator = make();
    for state in states {
        let groups: Vec<usize> = (0..state[0].len()).collect();
        accumulator.merge_batch(state, &groups, groups.len()).expect("merges");
    }
    accumulator
}

/// Values, groups and a filter.
pub type Columns = (ArrayRef, Vec<usize>, BooleanArray);

/// An accumulator that each row was made a state for.
pub fn row_by_row(make: &Make, (values, groups, filter): &Columns, total: usize) -> Box<dyn GroupsAccumulator> {
    let mut accumulator = make();
    let state = accumulator.convert_to_state(std::slice::from_ref(values), Some(filter)).expect("states");
    accumulator.merge_batch(&state, groups, total).expect("merges");
    accumulator
}

pub fn floats(array: &ArrayRef) -> Vec<Option<f64>> {
    array.as_primitive::<arrow::datatypes::Float64Type>().iter().collect()
}

pub fn counts(array: &ArrayRef) -> Vec<i64> {
    assert_eq!(array.null_count(), 0);
    array.as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
}

/// A session as the pipeline's, with `t` registered.
pub fn session(columns: Vec<(&str, ArrayRef)>) -> SessionContext {
    let mut rules = Analyzer::new().rules;
    rules.push(Arc::new(CheckArguments));
    let state = SessionStateBuilder::new()
        .with_config(SessionConfig::new().with_target_partitions(1))
        .with_default_features()
        .with_analyzer_rules(rules)
        .build();
    let context = SessionContext::new_with_state(state);
    aggregates().into_iter().for_each(|function| context.register_udaf(function));
    context.register_batch("t", RecordBatch::try_from_iter(columns).expect("columns")).expect("registered");
    context
}

/// Rows of a query, printed, columns apart by a space.
pub fn query(context: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let batches = block_on(async { context.sql(sql).await?.collect().await });
    let batches = batches.map_err(|error| error.strip_backtrace())?;
    let print = |array: &ArrayRef, row| arrow::util::display::array_value_to_string(array, row).expect("prints");
    let rows = batches.iter().flat_map(|batch| {
        (0..batch.num_rows()).map(|row| {
            let printed: Vec<String> = batch.columns().iter().map(|column| print(column, row)).collect();
            printed.join(" ")
        })
    });
    Ok(rows.collect())
}
