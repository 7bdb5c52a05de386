//! A plan's partitions one after the other, where DataFusion would run them at once.
//!
//! UNION ALL has a partition per branch. DataFusion merges them with tasks of a tokio runtime, in the order in which
//! they happen to finish; a window's rows must come in the same order every time, and its plan is run without one.

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        SendableRecordBatchStream, coalesce_partitions::CoalescePartitionsExec, limit::GlobalLimitExec,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;
use std::{fmt, sync::Arc};

/// The same plan with one partition at the top and no merging of partitions by tasks below.
pub fn concatenate(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let replaced = plan.transform_up(|node| {
        let Some(merge) = node.downcast_ref::<CoalescePartitionsExec>() else { return Ok(Transformed::no(node)) };
        let concat = ConcatExec::over(merge.input().clone());
        let limited = match merge.fetch() {
            Some(fetch) => Arc::new(GlobalLimitExec::new(concat, 0, Some(fetch))),
            None => concat,
        };
        Ok(Transformed::yes(limited))
    })?;
    let plan = replaced.data;
    Ok(if plan.output_partitioning().partition_count() > 1 { ConcatExec::over(plan) } else { plan })
}

#[derive(Debug)]
struct ConcatExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl ConcatExec {
    fn over(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        // What is known of merged partitions holds for joined ones.
        let properties = CoalescePartitionsExec::new(input.clone()).properties().clone();
        Arc::new(Self { input, properties })
    }
}

impl DisplayAs for ConcatExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConcatExec")
    }
}

impl ExecutionPlan for ConcatExec {
    fn name(&self) -> &'static str {
        "ConcatExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if children.is_empty() => Ok(Self::over(input)),
            _ => Err(DataFusionError::Internal("ConcatExec has one child".into())),
        }
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let partitions = 0..self.input.output_partitioning().partition_count();
        let streams: Vec<SendableRecordBatchStream> =
            partitions.map(|partition| self.input.execute(partition, context.clone())).collect::<Result<_>>()?;
        let schema: SchemaRef = self.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(streams).flatten())))
    }
}
