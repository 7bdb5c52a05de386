//! What happens to a batch row by row: filters and projections, evaluated directly on its columns.
//!
//! Compiled from a logical plan that is a chain of these down to one stream. Anything else is refused here, with what
//! to do instead.

use arrow::{
    array::{Array, AsArray, BooleanArray, UInt32Array},
    compute::{filter, filter_record_batch, prep_null_mask_filter},
    datatypes::SchemaRef,
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datafusion::{
    common::{Column, DFSchemaRef},
    error::{DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, physical_planning_context::PhysicalPlanningContext},
    physical_expr::{PhysicalExpr, create_physical_expr},
    prelude::SessionContext,
};
use std::sync::Arc;

/// A chain of steps on batches of one stream.
#[derive(Debug, Clone)]
pub struct RowProgram {
    pub stream: String,
    /// Columns of the stream, in the order in which the steps expect them.
    pub columns: Vec<String>,
    steps: Vec<Step>,
    pub output: DFSchemaRef,
}

#[derive(Debug, Clone)]
enum Step {
    Keep(Arc<dyn PhysicalExpr>),
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
}

/// The rows that are left, and which rows of the input they were; `None` when that is all of them.
pub struct Kept {
    pub batch: RecordBatch,
    pub rows: Option<UInt32Array>,
}

impl RowProgram {
    /// From an optimised plan.
    pub fn compile(plan: &LogicalPlan, context: &SessionContext) -> Result<Self> {
        let mut program =
            Self { stream: String::new(), columns: Vec::new(), steps: Vec::new(), output: plan.schema().clone() };
        program.add(plan, context)?;
        Ok(program)
    }

    fn add(&mut self, plan: &LogicalPlan, context: &SessionContext) -> Result<()> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                self.stream = scan.table_name.table().to_owned();
                self.columns = scan.projected_schema.fields().iter().map(|field| field.name().clone()).collect();
                for predicate in &scan.filters {
                    self.steps.push(Step::Keep(physical(predicate, &scan.projected_schema, context)?));
                }
            }
            LogicalPlan::SubqueryAlias(alias) => self.add(&alias.input, context)?,
            LogicalPlan::Filter(node) => {
                self.add(&node.input, context)?;
                self.steps.push(Step::Keep(physical(&node.predicate, node.input.schema(), context)?));
            }
            LogicalPlan::Projection(node) => {
                self.add(&node.input, context)?;
                let expressions = node.expr.iter().map(|expression| physical(expression, node.input.schema(), context));
                self.steps
                    .push(Step::Project(expressions.collect::<Result<_>>()?, Arc::new(node.schema.as_arrow().clone())));
            }
            other => return Err(refused(other)),
        }
        Ok(())
    }

    /// `batch` has [`RowProgram::columns`] in their order.
    pub fn run(&self, batch: RecordBatch) -> Result<Kept> {
        let mut kept = Kept { batch, rows: None };
        for step in &self.steps {
            kept = match step {
                Step::Keep(predicate) => keep(kept, predicate.as_ref())?,
                Step::Project(expressions, schema) => {
                    let rows = kept.batch.num_rows();
                    let arrays =
                        expressions.iter().map(|expression| expression.evaluate(&kept.batch)?.into_array(rows));
                    let options = RecordBatchOptions::new().with_row_count(Some(rows));
                    let arrays = arrays.collect::<Result<_>>()?;
                    Kept {
                        batch: RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?,
                        rows: kept.rows,
                    }
                }
            };
        }
        Ok(kept)
    }
}

fn keep(kept: Kept, predicate: &dyn PhysicalExpr) -> Result<Kept> {
    let mask = predicate.evaluate(&kept.batch)?.into_array(kept.batch.num_rows())?;
    let mask: BooleanArray = match mask.as_boolean() {
        mask if mask.null_count() > 0 => prep_null_mask_filter(mask),
        mask => mask.clone(),
    };
    if mask.true_count() == mask.len() {
        return Ok(kept);
    }
    let rows = kept.rows.unwrap_or_else(|| UInt32Array::from_iter_values(0..kept.batch.num_rows() as u32));
    let rows = filter(&rows, &mask)?.as_primitive().clone();
    Ok(Kept { batch: filter_record_batch(&kept.batch, &mask)?, rows: Some(rows) })
}

/// An expression over a plan's columns.
pub fn physical(expression: &Expr, schema: &DFSchemaRef, context: &SessionContext) -> Result<Arc<dyn PhysicalExpr>> {
    let state = context.state_ref();
    let state = state.read();
    create_physical_expr(expression, schema, state.execution_props(), &PhysicalPlanningContext::default())
}

fn refused(plan: &LogicalPlan) -> DataFusionError {
    let what = match plan {
        LogicalPlan::Aggregate(_) => {
            "an aggregate over a stream without a window never ends; add hop(…) or tumble(…) to GROUP BY"
        }
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            "ORDER BY and LIMIT on a stream need a window; put them above a windowed view"
        }
        LogicalPlan::Join(_) => "a join below a window is not supported; join above it, on the windowed view",
        LogicalPlan::Distinct(_) => "DISTINCT on a stream needs a window; use GROUP BY with hop(…) or tumble(…)",
        LogicalPlan::Union(_) => "UNION below a window is not supported; window each stream in a view of its own",
        LogicalPlan::Window(_) => "OVER (…) on a stream is not supported; use it above a windowed view",
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => "the query reads no stream",
        _ => return DataFusionError::Plan(format!("{} is not supported row by row on a stream", plan.display())),
    };
    DataFusionError::Plan(what.into())
}

/// The stream's column that an expression is, seen through projections and aliases.
pub fn base_column(plan: &LogicalPlan, expression: &Expr) -> Option<String> {
    match expression {
        Expr::Alias(alias) => base_column(plan, &alias.expr),
        Expr::Column(column) => base_of(plan, column),
        _ => None,
    }
}

fn base_of(plan: &LogicalPlan, column: &Column) -> Option<String> {
    let index = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan.projected_schema.field(index).name().clone()),
        LogicalPlan::Projection(node) => base_column(&node.input, &node.expr[index]),
        LogicalPlan::SubqueryAlias(node) => {
            let (qualifier, field) = node.input.schema().qualified_field(index);
            base_of(&node.input, &Column::new(qualifier.cloned(), field.name()))
        }
        LogicalPlan::Filter(node) => base_of(&node.input, column),
        _ => None,
    }
}
