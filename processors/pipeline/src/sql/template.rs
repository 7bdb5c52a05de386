//! A plan that is planned once and run again over other rows.

use super::{concat::concatenate, guard::Guard, slots::Slot};
use arrow::{compute::concat_batches, datatypes::SchemaRef, record_batch::RecordBatch};
use datafusion::{
    error::Result,
    execution::TaskContext,
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, collect, execution_plan::reset_plan_states},
};
use futures::executor::block_on;
use std::{fmt, sync::Arc};

/// A plan that was planned once and is executed per window over slots.
pub struct Template {
    plan: Arc<dyn ExecutionPlan>,
    logical: Box<LogicalPlan>,
    slots: Vec<Arc<Slot>>,
    context: Arc<TaskContext>,
}

impl Template {
    /// Plans what reads `slots`.
    pub(super) fn plan(plan: &LogicalPlan, slots: Vec<Arc<Slot>>, guard: Guard<'_>) -> Result<Self> {
        let state = guard.context.state();
        let logical = Box::new(plan.clone());
        let plan = guard.plan(state.optimize(plan)?)?;
        let plan = concatenate(block_on(state.query_planner().create_physical_plan(&plan, &state))?)?;
        Ok(Self { plan, logical, slots, context: state.task_ctx() })
    }

    /// What was planned.
    pub fn logical(&self) -> &LogicalPlan {
        &self.logical
    }

    /// Of the rows that it gives.
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    /// Runs the plan over one batch per slot. All rows come in one batch, so that equal rows are told apart among all.
    pub fn run(&self, inputs: Vec<RecordBatch>) -> Result<RecordBatch> {
        for (slot, batch) in self.slots.iter().zip(inputs) {
            slot.fill(batch);
        }
        let plan = reset_plan_states(self.plan.clone())?;
        let batches = block_on(collect(plan, self.context.clone()))?;
        self.slots.iter().for_each(|slot| slot.fill(RecordBatch::new_empty(slot.schema().clone())));
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => Ok(batch),
            Err(batches) => Ok(concat_batches(&self.plan.schema(), &batches)?),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}
