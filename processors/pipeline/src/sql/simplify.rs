//! What is grouped by, and what aggregates are of, in the form that can be computed.
//!
//! Some functions (`coalesce`, `nvl2`, `arrow_cast`) cannot be called: DataFusion's optimizer puts another expression in
//! their place. What is below and above a window goes through it; what stands at the cut is taken from the plan before it
//! has, so it is done here. Deliberately not touched: aggregates themselves and windows, which have to be found again;
//! names, which what is above refers to.

use amoskys_functions::window::WindowCall;
use datafusion::{
    common::tree_node::{Transformed, TransformedResult, TreeNode},
    error::Result,
    logical_expr::{Aggregate, Expr, LogicalPlan, expr_rewriter::NamePreserver, simplify::SimplifyContext},
    optimizer::simplify_expressions::ExprSimplifier,
    prelude::SessionContext,
};

/// The same plan, with the arguments, filters and orders of its aggregates and their groups simplified.
pub fn simplified(plan: LogicalPlan, context: &SessionContext) -> Result<LogicalPlan> {
    let state = context.state();
    let simplify = |node: LogicalPlan| {
        let LogicalPlan::Aggregate(aggregate) = node else { return Ok(Transformed::no(node)) };
        let simplifier = ExprSimplifier::new(
            SimplifyContext::builder()
                .with_schema(aggregate.input.schema().clone())
                .with_config_options(state.config_options().clone())
                .with_current_time()
                .build(),
        );
        Ok(Transformed::yes(LogicalPlan::Aggregate(simplified_aggregate(aggregate, &simplifier)?)))
    };
    plan.transform_up_with_subqueries(simplify).data()
}

fn simplified_aggregate(aggregate: Aggregate, simplifier: &ExprSimplifier) -> Result<Aggregate> {
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let named = |expression: Expr, simplify: &dyn Fn(Expr) -> Result<Expr>| {
        let name = NamePreserver::new_for_projection().save(&expression);
        Ok(name.restore(simplify(expression)?))
    };
    let group = |expression: Expr| match &expression {
        Expr::GroupingSet(_) => Ok(expression),
        _ if WindowCall::parse(&expression).is_some() => Ok(expression),
        _ => named(expression, &|expression| simplifier.simplify(expression)),
    };
    let group_expr = group_expr.into_iter().map(group).collect::<Result<_>>()?;
    let of = |expression| named(expression, &|expression| arguments(expression, simplifier).data());
    let aggr_expr = aggr_expr.into_iter().map(of).collect::<Result<_>>()?;
    Aggregate::try_new_with_schema(input, group_expr, aggr_expr, schema)
}

/// Of an aggregate, maybe under another name.
fn arguments(expression: Expr, simplifier: &ExprSimplifier) -> Result<Transformed<Expr>> {
    match expression {
        Expr::AggregateFunction(_) => {
            expression.map_children(|argument| Ok(Transformed::yes(simplifier.simplify(argument)?)))
        }
        Expr::Alias(_) => expression.map_children(|expression| arguments(expression, simplifier)),
        expression => Ok(Transformed::no(expression)),
    }
}
