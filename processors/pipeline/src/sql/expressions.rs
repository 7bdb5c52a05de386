//! Expressions that plan and still cannot be: whose value is another each time, and casts that nothing can do.
//!
//! A window that is computed again after a restart must come out the same, to the bit; `now()` and `random()` would make it
//! another one. Deliberately not here: types, which the planner checks.

use amoskys_functions::{
    fault::{Fault, refuse},
    types::sql_type,
};
use arrow::{compute::can_cast_types, datatypes::DataType};
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{Expr, ExprSchemable, LogicalPlan},
};

/// Functions that give another value each time they are asked. Models are not among them, though their scores may only
/// be computed once.
pub const CHANGING: [&str; 8] =
    ["random", "rand", "uuid", "now", "current_timestamp", "current_date", "today", "current_time"];

/// Whether it is a query of its own, planned by itself.
pub fn is_subquery(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_))
}

/// Whether an expression looks at more than its own row.
pub fn has_subquery(expression: &Expr) -> bool {
    expression.exists(|part| Ok(is_subquery(part))).unwrap_or(false)
}

/// Looks at every expression of a plan, subqueries included.
pub fn refuse_impossible(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        let mut schema = DFSchema::empty();
        inputs.iter().for_each(|input| schema.merge(input.schema()));
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                refuse_one(part, &schema)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map(drop)
}

fn refuse_one(expression: &Expr, schema: &DFSchema) -> Result<()> {
    match expression {
        Expr::ScalarFunction(call) if CHANGING.contains(&call.name()) => {
            let name = call.name();
            let help = match name {
                "random" | "rand" | "uuid" => "for a sample, take a hash of a key: md5(host_id) < '2'",
                _ => "take the event time, or _log_time, which the log gave the record",
            };
            let message =
                format!("`{name}` gives another value each time, and a window computed again must be the same");
            let fault = [name, "current_date", "current_time", "current_timestamp", "rand", "today"]
                .iter()
                .fold(Fault::new(message).help(help).at(format!("{name}(")), |fault, word| fault.at(*word));
            refuse(fault)
        }
        Expr::AggregateFunction(call) => {
            call.params.filter.as_deref().map_or(Ok(()), |filter| refuse_no_condition(filter, "FILTER (WHERE", schema))
        }
        Expr::Case(case) if case.expr.is_none() => {
            case.when_then_expr.iter().try_for_each(|(when, _)| refuse_no_condition(when, "WHEN", schema))
        }
        Expr::Cast(cast) => refuse_cast(&cast.expr, cast.field.data_type(), schema),
        Expr::TryCast(cast) => refuse_cast(&cast.expr, cast.field.data_type(), schema),
        _ => Ok(()),
    }
}

fn refuse_no_condition(condition: &Expr, behind: &str, schema: &DFSchema) -> Result<()> {
    match condition.get_type(schema) {
        Ok(of) if !matches!(of, DataType::Boolean | DataType::Null) => {
            let fault =
                Fault::new(format!("behind {behind} stands a condition, and `{condition}` is {}", sql_type(&of)));
            refuse(fault.help("compare it: … = …, … > 0, … IS NOT NULL").at(behind))
        }
        _ => Ok(()),
    }
}

fn refuse_cast(of: &Expr, to: &DataType, schema: &DFSchema) -> Result<()> {
    match of.get_type(schema) {
        Ok(from) if !can_cast_types(&from, to) => {
            refuse(Fault::new(format!("{} cannot be cast to {}", sql_type(&from), sql_type(to))).at("CAST("))
        }
        _ => Ok(()),
    }
}
