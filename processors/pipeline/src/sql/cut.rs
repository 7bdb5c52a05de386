//! Cuts a query at its windowed aggregates.
//!
//! Each aggregate that groups by `hop` or `tumble` becomes a [`WindowedView`] and is replaced, in the plan above, by a
//! scan of a slot with the same columns under the same names.

use super::{
    SharedPanes, Stream, WindowedView,
    rowwise::{RowProgram, base_column, physical},
    slots::{Slot, SlotTable},
};
use amoskys_functions::window::WindowCall;
use amoskys_windows::{Aggregate, Grid, Hop, Output};
use arrow::datatypes::{Field, Schema};
use datafusion::{
    common::{
        Column, DFSchemaRef, TableReference,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::provider_as_source,
    error::{DataFusionError, Result},
    logical_expr::{
        Aggregate as AggregatePlan, Expr, LogicalPlan, LogicalPlanBuilder, expr::Alias,
        physical_planning_context::PhysicalPlanningContext, utils::expr_to_columns,
    },
    physical_expr::{PhysicalExpr, aggregate::LoweredAggregateBuilder},
    prelude::SessionContext,
};
use std::{collections::HashSet, sync::Arc};

/// A plan without its windowed aggregates.
pub struct Cut {
    pub above: LogicalPlan,
    /// What was cut out, one for each slot; equal aggregates share one.
    pub aggregates: Vec<(AggregatePlan, Arc<Slot>)>,
}

/// Takes the windowed aggregates out of an analysed plan.
pub fn cut(plan: LogicalPlan) -> Result<Cut> {
    let mut aggregates: Vec<(AggregatePlan, Arc<Slot>)> = Vec::new();
    let above = plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) if window_of(&aggregate)?.is_some() => {
            if contains_window(&aggregate.input)? {
                return Err(DataFusionError::Plan("a window over another view's windows is not supported yet".into()));
            }
            let index = aggregates.iter().position(|(known, _)| *known == aggregate).unwrap_or(aggregates.len());
            if index == aggregates.len() {
                let slot = Slot::new(Arc::new(aggregate.schema.as_arrow().clone()));
                aggregates.push((aggregate.clone(), slot));
            }
            let scan = scan_slot(index, &aggregates[index].1, &aggregate.schema)?;
            Ok(Transformed::new(scan, true, TreeNodeRecursion::Jump))
        }
        node => Ok(Transformed::no(node)),
    })?;
    refuse_stray_windows(&above.data)?;
    for (aggregate, _) in &aggregates {
        aggregate.aggr_expr.iter().try_for_each(refuse_window_in)?;
        refuse_stray_windows(&aggregate.input)?;
    }
    Ok(Cut { above: above.data, aggregates })
}

/// A window that is not in GROUP BY has no value; left in, it would fail at the first row instead of here.
fn refuse_stray_windows(plan: &LogicalPlan) -> Result<()> {
    let visit = |node: &LogicalPlan| {
        node.apply_expressions(|expression| refuse_window_in(expression).map(|()| TreeNodeRecursion::Continue))
    };
    plan.apply_with_subqueries(visit).map(drop)
}

fn refuse_window_in(expression: &Expr) -> Result<()> {
    if expression.exists(|part| Ok(WindowCall::parse(part).is_some()))? {
        return Err(DataFusionError::Plan("hop and tumble belong into GROUP BY; a single row has no window".into()));
    }
    Ok(())
}

/// Where the window stands in GROUP BY, and what it is.
fn window_of(aggregate: &AggregatePlan) -> Result<Option<(usize, WindowCall)>> {
    let mut found = None;
    for (index, expression) in aggregate.group_expr.iter().enumerate() {
        match (WindowCall::parse(expression), &found) {
            (None, _) => {}
            (Some(_), Some(_)) => {
                return Err(DataFusionError::Plan("GROUP BY names two windows; a view has one".into()));
            }
            (Some(call), None) => found = Some((index, call?)),
        }
    }
    Ok(found)
}

fn contains_window(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| match node {
        LogicalPlan::Aggregate(aggregate) => Ok(window_of(aggregate)?.is_some()),
        _ => Ok(false),
    })
}

/// A scan with the aggregate's column names and qualifiers.
fn scan_slot(index: usize, slot: &Arc<Slot>, schema: &DFSchemaRef) -> Result<LogicalPlan> {
    let table = TableReference::bare(format!("__window_{index}"));
    let scan = LogicalPlanBuilder::scan(table.clone(), provider_as_source(Arc::new(SlotTable(slot.clone()))), None)?;
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(Some(table.clone()), field.name()));
        Expr::Alias(Alias::new(column, qualifier.cloned(), field.name()))
    });
    scan.project(columns.collect::<Vec<_>>())?.build()
}

/// Checks an aggregate that was cut out: its window, and everything below it.
pub fn windowed_view(aggregate: &AggregatePlan, stream: &Stream, context: &SessionContext) -> Result<WindowedView> {
    let Some((window_index, call)) = window_of(aggregate)? else {
        return Err(DataFusionError::Internal("a view without a window".into()));
    };
    let hop = Hop::new(call.slide_ns, call.size_ns).map_err(|error| DataFusionError::Plan(error.to_string()))?;
    // First, because through a join or a union no column is known as the event time.
    share_panes(&[(0, hop, aggregate)], context)?;
    check_event_time(aggregate, &call, stream)?;
    check_partition_key(aggregate, stream)?;
    let output = Arc::new(aggregate.schema.as_arrow().clone());
    Ok(WindowedView { hop, aggregate: aggregate.clone(), output, window_index })
}

/// Puts views of one stream together that can share panes.
pub fn shared_panes(views: &[WindowedView], context: &SessionContext) -> Result<Vec<SharedPanes>> {
    type Group<'a> = Vec<(usize, Hop, &'a AggregatePlan)>;
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, view) in views.iter().enumerate() {
        let fits = |group: &Group<'_>| {
            let hops: Vec<Hop> = group.iter().map(|(_, hop, _)| *hop).chain([view.hop]).collect();
            let (_, _, first) = group[0];
            first.input == view.aggregate.input
                && keys(first).eq(keys(&view.aggregate))
                && Grid::shared(&hops).is_some()
        };
        let member = (index, view.hop, &view.aggregate);
        match groups.iter_mut().find(|group| fits(group)) {
            Some(group) => group.push(member),
            None => groups.push(vec![member]),
        }
    }
    groups.iter().map(|group| share_panes(group, context)).collect()
}

/// Group expressions without the window.
fn keys(aggregate: &AggregatePlan) -> impl Iterator<Item = &Expr> {
    aggregate.group_expr.iter().filter(|expression| WindowCall::parse(expression).is_none())
}

/// Builds the operator's half of views (by their index): everything below the cut and at it.
fn share_panes(views: &[(usize, Hop, &AggregatePlan)], context: &SessionContext) -> Result<SharedPanes> {
    let Some(&(_, _, first)) = views.first() else {
        return Err(DataFusionError::Internal("panes without a view".into()));
    };
    let mut wanted: Vec<&Expr> = Vec::new();
    let outputs = views.iter().map(|(_, hop, aggregate)| {
        let place = |expression| {
            wanted.iter().position(|known| *known == expression).unwrap_or_else(|| {
                wanted.push(expression);
                wanted.len() - 1
            })
        };
        Output { hop: *hop, aggregates: aggregate.aggr_expr.iter().map(place).collect() }
    });
    let outputs = outputs.collect();
    let program = below(first, &wanted, context)?;
    let key_fields = first.group_expr.iter().zip(first.schema.fields());
    let key_fields = key_fields.filter(|(expression, _)| WindowCall::parse(expression).is_none());
    let key_fields: Vec<Field> = key_fields.map(|(_, field)| field.as_ref().clone()).collect();
    let mut columns: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    let aggregates = wanted
        .into_iter()
        .map(|expression| lower(expression, &program.output, &mut columns, context))
        .collect::<Result<_>>()?;
    Ok(SharedPanes {
        views: views.iter().map(|(index, _, _)| *index).collect(),
        outputs,
        keys: keys(first).map(|key| physical(key, &program.output, context)).collect::<Result<_>>()?,
        key_schema: Arc::new(Schema::new(key_fields)),
        columns,
        aggregates,
        program,
    })
}

fn check_event_time(aggregate: &AggregatePlan, call: &WindowCall, stream: &Stream) -> Result<()> {
    let plan = |message: String| Err(DataFusionError::Plan(message));
    let Some(event_time) = &stream.event_time else {
        return plan(format!("`{}` has no event time; add OPTIONS (event_time '…', lateness '…') to it", stream.name));
    };
    match base_column(&aggregate.input, &call.time) {
        Some(column) if column == *event_time => Ok(()),
        _ => plan(format!(
            "the window's time is `{}`; it must be `{event_time}`, the event time of `{}`",
            call.time, stream.name
        )),
    }
}

/// Partitions are computed apart, so a group must lie within one.
fn check_partition_key(aggregate: &AggregatePlan, stream: &Stream) -> Result<()> {
    let plan = |message: String| Err(DataFusionError::Plan(message));
    let Some(key) = &stream.partition_key else {
        return plan(format!(
            "`{}` does not say which column decides its partitions; add partition_key '…' to its OPTIONS",
            stream.name
        ));
    };
    if aggregate.group_expr.iter().any(|expression| base_column(&aggregate.input, expression).as_ref() == Some(key)) {
        return Ok(());
    }
    plan(format!(
        "GROUP BY lacks `{key}`, the partition key of `{}`: a group would be split over partitions; add it to GROUP BY",
        stream.name
    ))
}

/// The rows below the aggregate, with just the columns that its groups and the `wanted` aggregates use.
fn below(aggregate: &AggregatePlan, wanted: &[&Expr], context: &SessionContext) -> Result<RowProgram> {
    let mut used = HashSet::new();
    for expression in aggregate.group_expr.iter().chain(wanted.iter().copied()) {
        expr_to_columns(expression, &mut used)?;
    }
    let input = aggregate.input.as_ref().clone();
    let columns: Vec<Expr> =
        input.schema().columns().into_iter().filter(|column| used.contains(column)).map(Expr::Column).collect();
    let plan = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    let optimized = context.state().optimize(&plan)?;
    RowProgram::compile(&optimized, context)
}

fn lower(
    expression: &Expr,
    schema: &DFSchemaRef,
    columns: &mut Vec<Arc<dyn PhysicalExpr>>,
    context: &SessionContext,
) -> Result<Aggregate> {
    let state = context.state();
    let planning = PhysicalPlanningContext::default();
    let lowered =
        LoweredAggregateBuilder::new(expression, schema, schema.as_arrow(), state.execution_props(), &planning)
            .build()?;
    // These take their rows as sorted already; the others order them themselves.
    const WANT_SORTED: [&str; 3] = ["array_agg", "nth_value", "string_agg"];
    if !lowered.order_bys.is_empty() && WANT_SORTED.contains(&lowered.aggregate.fun().name()) {
        return Err(DataFusionError::Plan(format!(
            "ORDER BY inside `{}` is not supported yet",
            lowered.aggregate.name()
        )));
    }
    let mut place = |expression: Arc<dyn PhysicalExpr>| {
        let known = columns.iter().position(|known| known.as_ref() == expression.as_ref());
        known.unwrap_or_else(|| {
            columns.push(expression);
            columns.len() - 1
        })
    };
    let orders = lowered.aggregate.order_bys().iter().map(|order| order.expr.clone()).collect::<Vec<_>>();
    let arguments = lowered.aggregate.expressions().into_iter().chain(orders).map(&mut place).collect();
    let filter = lowered.filter.map(&mut place);
    Ok(Aggregate::new(lowered.aggregate, arguments, filter))
}
