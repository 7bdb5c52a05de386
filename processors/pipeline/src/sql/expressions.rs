//! Expressions that plan and still cannot be: whose value is another each time, casts that nothing can do, patterns that
//! are none, and what may become as long as somebody's telemetry likes.
//!
//! A window that is computed again after a restart must come out the same, to the bit; `now()` and `random()` would make it
//! another one. Deliberately not here: types, which the planner checks. Limits: what is only concatenated is bounded by the
//! records that it comes from.

use amoskys_functions::{
    fault::{Fault, refuse},
    types::sql_type,
};
use arrow::{
    array::StringArray,
    compute::{can_cast_types, kernels::regexp::regexp_is_match_scalar},
    datatypes::DataType,
};
use datafusion::{
    common::{
        DFSchema, ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{Expr, ExprSchemable, LogicalPlan, expr::ScalarFunction},
};

/// Functions that give another value each time they are asked. Models are not among them, though their scores may only
/// be computed once.
pub const CHANGING: [&str; 8] =
    ["random", "rand", "uuid", "now", "current_timestamp", "current_date", "today", "current_time"];

/// Functions whose second argument is a pattern that they do not look at before there are rows.
const OF_PATTERNS: [&str; 3] = ["regexp_count", "regexp_instr", "regexp_replace"];

/// Functions that give something of the length that an argument says, and which that is.
const OF_LENGTH: [(&str, usize); 5] =
    [("repeat", 1), ("lpad", 1), ("rpad", 1), ("array_repeat", 1), ("array_resize", 1)];
/// Functions that give all values between two.
const OF_RANGES: [&str; 2] = ["range", "generate_series"];
/// Of what they give: times that it is repeated, letters or values.
const LENGTH_MAX: i64 = 65_536;

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
        Expr::ScalarFunction(call) if OF_PATTERNS.contains(&call.name()) => refuse_no_pattern(call),
        Expr::ScalarFunction(call) => refuse_endless(call),
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
            refuse(Fault::new(format!("{} cannot be cast to {}", sql_type(&from), sql_type(to))).at("CAST(").at("::"))
        }
        _ => Ok(()),
    }
}

fn refuse_no_pattern(call: &ScalarFunction) -> Result<()> {
    let pattern = call.args.get(1).and_then(literal).and_then(|value| value.try_as_str().flatten());
    if let Some(pattern) = pattern {
        regexp_is_match_scalar(&StringArray::from(vec![""]), pattern, None)?;
    }
    Ok(())
}

fn literal(expression: &Expr) -> Option<&ScalarValue> {
    match expression {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(cast) => literal(&cast.expr),
        _ => None,
    }
}

fn number(expression: &Expr) -> Option<i64> {
    match literal(expression)?.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(number) => number,
        _ => None,
    }
}

/// A literal, or `least(…, literal)`.
fn at_most(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::ScalarFunction(call) if call.name() == "least" => call.args.iter().filter_map(at_most).min(),
        Expr::Cast(cast) if literal(expression).is_none() => at_most(&cast.expr),
        other => number(other),
    }
}

fn refuse_endless(call: &ScalarFunction) -> Result<()> {
    let name = call.name();
    let length = match OF_LENGTH.iter().find(|(known, _)| *known == name) {
        Some((_, which)) => call.args.get(*which).map(at_most),
        None if OF_RANGES.contains(&name) => {
            let numbers: Option<Vec<i64>> = call.args.iter().map(number).collect();
            Some(numbers.and_then(|numbers| match numbers.as_slice() {
                [stop] => Some(*stop),
                [start, stop] => stop.checked_sub(*start),
                [start, stop, step, ..] => stop.checked_sub(*start)?.checked_div(*step),
                [] => None,
            }))
        }
        None => None,
    };
    match length {
        Some(Some(length)) if length > LENGTH_MAX => {
            let fault = Fault::new(format!("`{name}` gives at most {LENGTH_MAX}, not {length}"));
            refuse(fault.at(format!("{name}(")))
        }
        Some(None) => {
            let fault = Fault::new(format!("how much `{name}` gives would be up to the telemetry"));
            let help = match OF_RANGES.contains(&name) {
                true => format!("write numbers: {name}(0, 10)"),
                false => "write a number, or least(…, 100)".into(),
            };
            refuse(fault.help(help).at(format!("{name}(")))
        }
        _ => Ok(()),
    }
}
