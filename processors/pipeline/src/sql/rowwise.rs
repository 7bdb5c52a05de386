//! What happens to a batch row by row: filters and projections, evaluated directly on its columns.
//!
//! Compiled from a logical plan that is a chain of these down to one stream; one with joins or unions is run as a
//! plan over numbered rows ([`RowPlan`]). Anything else is refused, with what to do instead.

use super::{Stream, expressions::has_subquery, guard::Guard, rowplan::RowPlan};
use amoskys_functions::fault::{Fault, refuse};
use arrow::{
    array::{Array, AsArray, BooleanArray, UInt32Array},
    compute::{filter, filter_record_batch, prep_null_mask_filter},
    datatypes::{Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datafusion::{
    common::{DFSchemaRef, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, physical_planning_context::PhysicalPlanningContext},
    physical_expr::{PhysicalExpr, create_physical_expr},
    prelude::SessionContext,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is done to batches of one stream.
#[derive(Debug)]
pub struct RowProgram {
    pub stream: String,
    /// Columns of the stream, in the order in which the program expects them.
    pub columns: Vec<String>,
    pub output: DFSchemaRef,
    logical: Box<LogicalPlan>,
    run: Run,
}

#[derive(Debug)]
enum Run {
    Chain(Chain),
    Plan(RowPlan),
}

#[derive(Debug, Default)]
struct Chain {
    columns: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Keep(Arc<dyn PhysicalExpr>),
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
}

/// The rows that are left, and which rows of the input they were, in order; `None` when that is each of them once.
pub struct Kept {
    pub batch: RecordBatch,
    pub rows: Option<UInt32Array>,
}

impl RowProgram {
    /// From an optimised plan.
    pub fn compile(plan: &LogicalPlan, streams: &BTreeMap<String, Stream>, guard: Guard<'_>) -> Result<Self> {
        let (stream, used) = reads(plan, streams)?;
        let logical = Box::new(plan.clone());
        let guarded = guard.plan(plan.clone())?;
        let output = guarded.schema().clone();
        let mut chain = Chain::default();
        if chain.add(&guarded, guard.context)? {
            let columns = std::mem::take(&mut chain.columns);
            return Ok(Self { stream: stream.name.clone(), columns, output, logical, run: Run::Chain(chain) });
        }
        let schema = stream.schema();
        let fields = schema.fields().iter().filter(|field| used.contains(field.name())).cloned();
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let plan = RowPlan::compile(plan, &stream.name, &schema, guard)?;
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self { stream: stream.name.clone(), columns, output, logical, run: Run::Plan(plan) })
    }

    /// What was compiled.
    pub fn logical(&self) -> &LogicalPlan {
        &self.logical
    }

    /// `batch` has [`RowProgram::columns`] in their order.
    pub fn run(&self, batch: RecordBatch) -> Result<Kept> {
        match &self.run {
            Run::Chain(chain) => chain.run(batch),
            Run::Plan(plan) => plan.run(batch),
        }
    }
}

/// The one stream that a plan reads, and its columns.
fn reads<'a>(plan: &LogicalPlan, streams: &'a BTreeMap<String, Stream>) -> Result<(&'a Stream, BTreeSet<String>)> {
    let mut found: Option<&Stream> = None;
    let mut columns = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(stream) = streams.get(scan.table_name.table())
        {
            if let Some(other) = found.filter(|other| other.name != stream.name) {
                return refuse(two_streams(&other.name, &stream.name));
            }
            found = Some(stream);
            columns.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    found.map(|stream| (stream, columns)).ok_or_else(no_stream)
}

impl Chain {
    /// False when there is more than a chain, which is then of no use.
    fn add(&mut self, plan: &LogicalPlan, context: &SessionContext) -> Result<bool> {
        if plan.expressions().iter().any(has_subquery) {
            return Ok(false);
        }
        match plan {
            LogicalPlan::TableScan(scan) => {
                self.columns = scan.projected_schema.fields().iter().map(|field| field.name().clone()).collect();
                for predicate in &scan.filters {
                    self.steps.push(Step::Keep(physical(predicate, &scan.projected_schema, context)?));
                }
                Ok(true)
            }
            LogicalPlan::SubqueryAlias(alias) => self.add(&alias.input, context),
            LogicalPlan::Filter(node) if self.add(&node.input, context)? => {
                self.steps.push(Step::Keep(physical(&node.predicate, node.input.schema(), context)?));
                Ok(true)
            }
            LogicalPlan::Projection(node) if self.add(&node.input, context)? => {
                let expressions = node.expr.iter().map(|expression| physical(expression, node.input.schema(), context));
                let schema = Arc::new(node.schema.as_arrow().clone());
                self.steps.push(Step::Project(expressions.collect::<Result<_>>()?, schema));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn run(&self, batch: RecordBatch) -> Result<Kept> {
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
                    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
                    Kept { batch, rows: kept.rows }
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

/// The fault of rows of two streams that meet as they are.
pub fn two_streams(one: &str, other: &str) -> Fault {
    let fault = Fault::new(format!("rows of two streams (`{one}` and `{other}`) meet without a window"));
    fault.help("window each in a view of its own").at("JOIN").at("UNION").at(format!("\"{other}\""))
}

fn no_stream() -> DataFusionError {
    let fault = Fault::new("the query reads no stream").help("INSERT needs a stream to follow: … FROM a topic's table");
    fault.at("FROM").at("VALUES").at("SELECT").into()
}

pub fn refused(plan: &LogicalPlan) -> DataFusionError {
    let (message, help, at): (&str, &str, &[&str]) = match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.is_empty() => (
            "DISTINCT, UNION and GROUP BY on a stream need a window",
            "use GROUP BY with hop(…) or tumble(…), or UNION ALL",
            &["DISTINCT", "UNION", "GROUP BY"],
        ),
        LogicalPlan::Aggregate(_) => (
            "an aggregate over a stream without a window never ends",
            "add hop(…) or tumble(…) to GROUP BY",
            &["GROUP BY", "count(", "sum(", "UNION"],
        ),
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => (
            "ORDER BY and LIMIT on a stream need a window",
            "put them above a windowed view",
            &["ORDER BY", "LIMIT", "OFFSET", "FETCH"],
        ),
        LogicalPlan::Distinct(_) => {
            ("DISTINCT on a stream needs a window", "use GROUP BY with hop(…) or tumble(…)", &["DISTINCT", "UNION"])
        }
        LogicalPlan::Window(_) => {
            ("OVER (…) on a stream is not supported", "use it above a windowed view", &["OVER ("])
        }
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => return no_stream(),
        _ => return Fault::new(format!("{} is not supported row by row on a stream", plan.display())).into(),
    };
    at.iter().fold(Fault::new(message).help(help), |fault, words| fault.at(*words)).into()
}
