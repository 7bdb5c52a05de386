//! Cuts a query at its windowed aggregates.
//!
//! Each aggregate that groups by `hop`, `tumble` or `session` is taken out and replaced, in the plan above, by a scan of a slot with
//! the same columns under the same names. What is below it is not looked at: another window may be there.

use super::slots::{Slot, SlotTable};
use amoskys_functions::{
    aggregate::shed::is_shed_rows,
    fault::{Fault, refuse},
    window::{WindowCall, at_window},
};
use datafusion::{
    common::{
        Column, DFSchemaRef, TableReference,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::provider_as_source,
    error::Result,
    logical_expr::{Aggregate as AggregatePlan, Expr, LogicalPlan, LogicalPlanBuilder, expr::Alias},
};
use std::sync::Arc;

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
        if !contains_window(&aggregate.input)? {
            refuse_stray_windows(&aggregate.input)?;
        }
    }
    Ok(Cut { above: above.data, aggregates })
}

/// A window that is not in GROUP BY has no value; left in, it would fail at the first row instead of here.
fn refuse_stray_windows(plan: &LogicalPlan) -> Result<()> {
    let visit = |node: &LogicalPlan| {
        refuse_shadowed(node)?;
        node.apply_expressions(|expression| {
            if expression.exists(|part| Ok(is_shed_rows(part)))? {
                let fault = Fault::new(
                    "shed_rows() tells how many rows a window lacks, and belongs beside hop, tumble or session",
                );
                return refuse(fault.help("name it in the view that has the window").at("shed_rows("));
            }
            refuse_window_in(expression).map(|()| TreeNodeRecursion::Continue)
        })
    };
    plan.apply_with_subqueries(visit).map(drop)
}

/// `SELECT hop(win.end, …) AS win … GROUP BY win`, where the rows have a `win`: GROUP BY takes that one.
fn refuse_shadowed(node: &LogicalPlan) -> Result<()> {
    let LogicalPlan::Projection(projection) = node else { return Ok(()) };
    let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else { return Ok(()) };
    let named = projection.expr.iter().filter_map(|expression| match expression {
        Expr::Alias(alias) if WindowCall::parse(expression).is_some() => Some(&alias.name),
        _ => None,
    });
    let is_column = |name: &&String| {
        aggregate.group_expr.iter().any(|group| matches!(group, Expr::Column(column) if column.name == **name))
    };
    let Some(name) = named.into_iter().find(is_column) else { return Ok(()) };
    let fault = Fault::new(format!("windows belong into GROUP BY; `{name}` there is a column of what is read"));
    refuse(fault.help("give the new window another name").at(format!("AS {name}")))
}

fn refuse_window_in(expression: &Expr) -> Result<()> {
    if expression.exists(|part| Ok(WindowCall::parse(part).is_some()))? {
        let fault = Fault::new("hop, tumble and session belong into GROUP BY; a single row has no window");
        return refuse(at_window(fault.help("write SELECT …, hop(…) AS win … GROUP BY …, win")));
    }
    Ok(())
}

/// Where the window stands in GROUP BY, and what it is.
pub fn window_of(aggregate: &AggregatePlan) -> Result<Option<(usize, WindowCall)>> {
    let mut found = None;
    for (index, expression) in aggregate.group_expr.iter().enumerate() {
        match (WindowCall::parse(expression), &found) {
            (None, _) => {}
            (Some(_), Some(_)) => {
                let fault = Fault::new("GROUP BY names two windows; a view has one");
                return refuse(fault.help("make a view of each").at("GROUP BY"));
            }
            (Some(call), None) => found = Some((index, call?)),
        }
    }
    Ok(found)
}

/// Whether there is a windowed aggregate.
pub fn contains_window(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| match node {
        LogicalPlan::Aggregate(aggregate) => Ok(window_of(aggregate)?.is_some()),
        _ => Ok(false),
    })
}

/// A scan with the aggregate's column names and qualifiers.
fn scan_slot(index: usize, slot: &Arc<Slot>, schema: &DFSchemaRef) -> Result<LogicalPlan> {
    let table = TableReference::bare(format!("{SLOT_PREFIX}{index}"));
    let scan = LogicalPlanBuilder::scan(table.clone(), provider_as_source(Arc::new(SlotTable(slot.clone()))), None)?;
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(Some(table.clone()), field.name()));
        Expr::Alias(Alias::new(column, qualifier.cloned(), field.name()))
    });
    scan.project(columns.collect::<Vec<_>>())?.build()
}

const SLOT_PREFIX: &str = "__window_";

/// Which of a query's windows a table above the cut stands for.
pub fn slot_of(table: &str) -> Option<usize> {
    table.strip_prefix(SLOT_PREFIX)?.parse().ok()
}
