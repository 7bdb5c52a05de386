//! What happens to rows of a stream where they meet other tables: joins with static tables, UNION ALL, subqueries.
//!
//! The rows of a batch are numbered, and an ordinary plan takes the numbers along; its output, sorted by them, is what
//! the rows gave in their order, however they were cut into batches. Limits: slower than a chain of filters and
//! projections, as the plan is run for each batch; a stream meets itself only in UNION ALL.

use super::{
    guard::Guard,
    rowwise::{Kept, refused},
    slots::{Slot, SlotTable},
    template::Template,
};
use amoskys_functions::fault::{Fault, refuse};
use arrow::{
    array::{ArrayRef, AsArray, UInt32Array},
    compute::take_record_batch,
    datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type},
    record_batch::RecordBatch,
};
use datafusion::{
    common::{
        Column, JoinType,
        tree_node::{Transformed, TreeNodeRecursion},
    },
    datasource::provider_as_source,
    error::{DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan},
};
use std::sync::Arc;

/// The column of row numbers.
const ROW: &str = "__row";

/// A plan over numbered rows of one stream.
#[derive(Debug)]
pub struct RowPlan {
    template: Template,
    /// The rows as the plan reads them, numbered.
    numbered: SchemaRef,
}

impl RowPlan {
    /// From an optimised plan that reads `columns` of `stream` and static tables.
    pub fn compile(plan: &LogicalPlan, stream: &str, columns: &Schema, guard: Guard<'_>) -> Result<Self> {
        check(plan, stream)?;
        let fields = columns.fields().iter().cloned();
        let number = Arc::new(Field::new(ROW, DataType::UInt32, false));
        let numbered: SchemaRef = Arc::new(Schema::new(fields.chain([number]).collect::<Vec<_>>()));
        let slot = Slot::new(numbered.clone());
        let names = plan.schema().columns();
        let plan = plan.clone().transform_up_with_subqueries(|node| number_rows(node, stream, &slot))?.data;
        let row = row_column(&plan).ok_or_else(|| DataFusionError::Internal("row numbers were lost".into()))?;
        let columns: Vec<Expr> = names.into_iter().chain([row]).map(Expr::Column).collect();
        let plan = LogicalPlanBuilder::from(plan).project(columns)?.build()?;
        Ok(Self { template: Template::plan(&plan, vec![slot], guard)?, numbered })
    }

    pub fn run(&self, batch: RecordBatch) -> Result<Kept> {
        let rows: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..batch.num_rows() as u32));
        let columns = batch.columns().iter().cloned().chain([rows]).collect();
        let output = self.template.run(vec![RecordBatch::try_new(self.numbered.clone(), columns)?])?;
        let numbers = output.num_columns() - 1;
        // A stable sort: what one row gave stays in the plan's order.
        let mut order: Vec<u32> = (0..output.num_rows() as u32).collect();
        let rows = output.column(numbers).as_primitive::<UInt32Type>();
        order.sort_by_key(|&index| rows.value(index as usize));
        let output = take_record_batch(&output, &UInt32Array::from(order))?;
        let rows = output.column(numbers).as_primitive::<UInt32Type>().clone();
        let batch = output.project(&(0..numbers).collect::<Vec<_>>())?;
        Ok(Kept { batch, rows: Some(rows) })
    }
}

fn reads(plan: &LogicalPlan, stream: &str) -> Result<bool> {
    let is_stream =
        |node: &LogicalPlan| matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == stream);
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= is_stream(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Refuses what is more than row by row on the way from the stream; what stands on static tables alone may be anything.
fn check(plan: &LogicalPlan, stream: &str) -> Result<()> {
    if !reads(plan, stream)? {
        return Ok(());
    }
    match plan {
        LogicalPlan::TableScan(_) => Ok(()),
        LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Union(_) => {
            plan.inputs()
                .into_iter()
                .try_for_each(|input| if reads(input, stream)? { check(input, stream) } else { Err(beside()) })
        }
        LogicalPlan::Join(join) => {
            use JoinType::{Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
            let (left, right) = (reads(&join.left, stream)?, reads(&join.right, stream)?);
            match (left, right, join.join_type) {
                (true, true, _) => {
                    let fault = Fault::new("a stream joined with a stream has no end");
                    refuse(fault.help("window both in views and join those").at("JOIN"))
                }
                (true, false, Inner | Left | LeftSemi | LeftAnti | LeftMark) => check(&join.left, stream),
                (false, true, Inner | Right | RightSemi | RightAnti | RightMark) => check(&join.right, stream),
                (_, _, kind) => {
                    let message = format!(
                        "{kind} JOIN keeps rows of the file that no row of the stream meets, and a stream has no end"
                    );
                    refuse(Fault::new(message).help("keep those of the stream").at(format!("{kind} JOIN")).at("JOIN"))
                }
            }
        }
        other => Err(refused(other)),
    }
}

fn beside() -> DataFusionError {
    Fault::new("UNION ALL of a stream and a file: a file's rows have no place among the stream's").at("UNION").into()
}

/// A node that takes row numbers along, when there are any below it.
fn number_rows(node: LogicalPlan, stream: &str, slot: &Arc<Slot>) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::TableScan(scan) if scan.table_name.table() == stream => {
            Ok(Transformed::yes(scan_slot(&scan, slot)?))
        }
        LogicalPlan::Projection(node) => {
            let Some(row) = row_column(&node.input) else { return Ok(Transformed::no(LogicalPlan::Projection(node))) };
            let columns: Vec<Expr> = node.expr.iter().cloned().chain([Expr::Column(row)]).collect();
            // Names that are there keep their qualifiers: `expr` has its aliases.
            let plan = LogicalPlanBuilder::from(node.input.as_ref().clone()).project(columns)?.build()?;
            Ok(Transformed::yes(plan))
        }
        other => Ok(Transformed::yes(other.recompute_schema()?)),
    }
}

fn row_column(plan: &LogicalPlan) -> Option<Column> {
    let found = plan.schema().iter().find(|(_, field)| field.name() == ROW);
    found.map(|(qualifier, field)| Column::new(qualifier.cloned(), field.name()))
}

/// The scan's columns and filters, over numbered rows.
fn scan_slot(scan: &TableScan, slot: &Arc<Slot>) -> Result<LogicalPlan> {
    let names = scan.projected_schema.fields().iter().map(|field| field.name().as_str()).chain([ROW]);
    let places = names.map(|name| slot.schema().index_of(name)).collect::<Result<Vec<_>, _>>()?;
    let source = provider_as_source(Arc::new(SlotTable(slot.clone())));
    let mut plan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, Some(places))?;
    for predicate in &scan.filters {
        plan = plan.filter(predicate.clone())?;
    }
    plan.build()
}
