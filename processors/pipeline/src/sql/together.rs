//! What is above a cut, over the rows of many windows at once, where it takes rows one by one: then each row only has to
//! say which window it is of. Sessions begin and end at many times, so that one run for each would be most of their cost.
//!
//! Deliberately not here: plans that look at other rows of the window (joins, ORDER BY, DISTINCT, subqueries); these run once
//! for each window.

use super::{cut::slot_of, expressions::has_subquery, guard::Guard, slots::Slot, template::Template};
use arrow::{
    array::{Array, AsArray, StructArray},
    datatypes::TimestampNanosecondType,
    record_batch::RecordBatch,
};
use datafusion::{
    common::{Column, DFSchemaRef, internal_err},
    error::Result,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
};
use std::sync::Arc;

/// The window of each row, behind the plan's own columns.
const WINDOW_OF_ROW: &str = "window of the row, in Amoskys";

/// A plan over the rows of any number of windows of one view.
#[derive(Debug)]
pub struct Together(Template);

impl Together {
    /// Plans what reads `slot`, whose windows are in the column of this name; `None` for what does not take rows one by one.
    pub(super) fn plan(above: &LogicalPlan, slot: &Arc<Slot>, window: &str, guard: Guard<'_>) -> Result<Option<Self>> {
        let Some(plan) = carried(above, window)? else { return Ok(None) };
        Template::plan(&plan, vec![slot.clone()], guard).map(|template| Some(Self(template)))
    }

    /// The plan's rows, and start and end of each one's window, in the order of `rows`.
    pub fn run(&self, rows: RecordBatch) -> Result<(RecordBatch, Vec<(i64, i64)>)> {
        let mut rows = self.0.run(vec![rows])?;
        let windows = rows.remove_column(rows.num_columns() - 1);
        let Some(windows) = windows.as_any().downcast_ref::<StructArray>().filter(|of| of.num_columns() == 2) else {
            return internal_err!("rows of windows without their windows");
        };
        let [starts, ends] =
            [0, 1].map(|bound| windows.column(bound).as_primitive::<TimestampNanosecondType>().values());
        Ok((rows, starts.iter().copied().zip(ends.iter().copied()).collect()))
    }
}

/// The plan with the window of each row behind its columns.
fn carried(plan: &LogicalPlan, window: &str) -> Result<Option<LogicalPlan>> {
    let plan = match plan {
        LogicalPlan::Projection(projection) if !projection.expr.iter().any(has_subquery) => {
            let Some(input) = carried(&projection.input, window)? else { return Ok(None) };
            let carrier = window_of_row(input.schema());
            let columns: Vec<Expr> = projection.expr.iter().cloned().chain(carrier).collect();
            LogicalPlanBuilder::from(input).project(columns)?
        }
        LogicalPlan::Filter(filter) if !has_subquery(&filter.predicate) => {
            let Some(input) = carried(&filter.input, window)? else { return Ok(None) };
            LogicalPlanBuilder::from(input).filter(filter.predicate.clone())?
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(input) = carried(&alias.input, window)? else { return Ok(None) };
            LogicalPlanBuilder::from(input).alias(alias.alias.clone())?
        }
        LogicalPlan::TableScan(scan) if slot_of(scan.table_name.table()).is_some() => {
            let columns = scan.projected_schema.columns().into_iter().map(Expr::Column);
            let carrier = Expr::Column(Column::new(Some(scan.table_name.clone()), window)).alias(WINDOW_OF_ROW);
            LogicalPlanBuilder::from(plan.clone()).project(columns.chain([carrier]))?
        }
        _ => return Ok(None),
    };
    plan.build().map(Some)
}

fn window_of_row(schema: &DFSchemaRef) -> Option<Expr> {
    let place = schema.iter().find(|(_, field)| field.name() == WINDOW_OF_ROW);
    place.map(|(qualifier, _)| Expr::Column(Column::new(qualifier.cloned(), WINDOW_OF_ROW)))
}
