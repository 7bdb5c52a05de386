//! Plans and expressions as somebody who writes SQL would put them: a line for each step, the last first; literals as
//! they are written, no casts of literals, and windowed aggregates by the names of their views.
//!
//! Deliberately not here: SQL that could be run again.

use crate::sql::cut::slot_of;
use amoskys_functions::types::sql_type;
use datafusion::{
    common::{
        Column, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{Aggregate, Expr, LogicalPlan},
};
use std::{collections::HashMap, time::Duration};

/// How things are called.
#[derive(Default)]
pub struct Plain {
    /// Columns whose names are an aggregate's expressions, by those.
    columns: HashMap<String, String>,
    /// Windowed aggregates and what to call them.
    windows: Vec<(Aggregate, String)>,
    /// Of a plan above the cut: what the windows that it reads are called.
    slots: Vec<String>,
    /// Of several tables, so that columns say whose they are.
    is_joined: bool,
}

impl Plain {
    /// Whatever reads this aggregate reads the windows of `name`.
    pub fn add(&mut self, aggregate: &Aggregate, name: &str) {
        for expression in aggregate.group_expr.iter().chain(&aggregate.aggr_expr) {
            let text = self.expression(expression);
            self.columns.insert(expression.schema_name().to_string(), text);
        }
        self.windows.push((aggregate.clone(), name.to_owned()));
    }

    pub fn expression(&self, expression: &Expr) -> String {
        let plain = expression.clone().unalias_nested().data.transform_down(|inner| Ok(self.replaced(inner)));
        plain.map_or_else(|_| expression.to_string(), |plain| plain.data.to_string())
    }

    fn replaced(&self, expression: Expr) -> Transformed<Expr> {
        let named = |name: String| {
            // Displayed as it stands.
            Transformed::new(Expr::Column(Column::from_name(name)), true, TreeNodeRecursion::Jump)
        };
        match &expression {
            Expr::Literal(value, _) => named(literal(value)),
            Expr::Cast(cast) => match cast.expr.as_ref() {
                Expr::Literal(value, _) => named(literal(value)),
                inner => named(format!("CAST({} AS {})", self.expression(inner), sql_type(cast.field.data_type()))),
            },
            Expr::InList(list) => {
                let not = if list.negated { " NOT" } else { "" };
                named(format!("{}{not} IN ({})", self.expression(&list.expr), self.expressions(&list.list)))
            }
            Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
                ("get_field", [of, Expr::Literal(ScalarValue::Utf8(Some(part)), _)]) => {
                    named(format!("{}.{part}", self.expression(of)))
                }
                _ => Transformed::no(expression),
            },
            // As the planner takes count(*).
            Expr::AggregateFunction(call)
                if call.func.name() == "count"
                    && !call.params.distinct
                    && matches!(call.params.args.as_slice(), [Expr::Literal(ScalarValue::Int64(Some(1)), _)]) =>
            {
                let filter = call.params.filter.as_deref().map(|filter| self.expression(filter));
                named(filter.map_or("count(*)".into(), |filter| format!("count(*) FILTER (WHERE {filter})")))
            }
            Expr::Column(column) => match self.columns.get(&column.name) {
                Some(known) => named(known.clone()),
                None if self.is_joined => Transformed::new(expression, false, TreeNodeRecursion::Jump),
                None => named(column.name.clone()),
            },
            _ => Transformed::no(expression),
        }
    }

    fn expressions(&self, expressions: &[Expr]) -> String {
        expressions.iter().map(|expression| self.expression(expression)).collect::<Vec<_>>().join(", ")
    }

    /// What the windows that a plan above the cut reads are called, in their order.
    pub fn over(mut self, names: Vec<String>) -> Self {
        self.slots = names;
        self
    }

    fn slot(&self, table: &str) -> Option<&String> {
        self.slots.get(slot_of(table)?)
    }

    fn is_slot(&self, plan: &LogicalPlan) -> bool {
        matches!(plan, LogicalPlan::TableScan(node) if self.slot(node.table_name.table()).is_some())
    }

    /// The steps of a plan, what comes below indented.
    pub fn steps(&mut self, plan: &LogicalPlan) -> Vec<String> {
        self.is_joined = plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_)))).unwrap_or(false);
        let mut steps = Vec::new();
        let done = self.walk(plan, 0, &mut steps);
        self.is_joined = false;
        match done {
            Ok(()) => steps,
            Err(_) => plan.display_indent().to_string().lines().map(str::to_owned).collect(),
        }
    }

    fn walk(&self, plan: &LogicalPlan, depth: usize, steps: &mut Vec<String>) -> Result<()> {
        let text = match plan {
            LogicalPlan::Aggregate(node) => match self.windows.iter().find(|(known, _)| known == node) {
                Some((_, name)) => {
                    steps.push(format!("{}windows of {name}", "  ".repeat(depth)));
                    return Ok(());
                }
                None => {
                    let (keys, values) = (self.expressions(&node.group_expr), self.expressions(&node.aggr_expr));
                    format!("group by {keys}: {values}")
                }
            },
            LogicalPlan::Filter(node) => format!("keep where {}", self.expression(&node.predicate)),
            // Gives the columns of a window the names that they had before the cut.
            LogicalPlan::Projection(node) if self.is_slot(&node.input) => return self.walk(&node.input, depth, steps),
            LogicalPlan::Projection(node) => {
                let column = |expression: &Expr| {
                    let (text, (_, name)) = (self.expression(expression), expression.qualified_name());
                    let is_named = matches!(expression, Expr::Alias(_)) && !self.columns.contains_key(&name);
                    if text == name || !is_named { text } else { format!("{text} AS {name}") }
                };
                format!("take {}", node.expr.iter().map(column).collect::<Vec<_>>().join(", "))
            }
            // A name for what is below.
            LogicalPlan::SubqueryAlias(node) => return self.walk(&node.input, depth, steps),
            LogicalPlan::TableScan(node) => match self.slot(node.table_name.table()) {
                Some(name) => format!("windows of {name}"),
                None => format!("rows of {}", node.table_name.table()),
            },
            LogicalPlan::Join(node) => {
                let on: Vec<String> = node
                    .on
                    .iter()
                    .map(|(left, right)| format!("{} = {}", self.expression(left), self.expression(right)))
                    .chain(node.filter.iter().map(|filter| self.expression(filter)))
                    .collect();
                format!("{} join on {}", node.join_type.to_string().to_lowercase(), on.join(" AND "))
            }
            LogicalPlan::Union(_) => "union of all".to_owned(),
            LogicalPlan::Sort(node) => {
                let by = node.expr.iter().map(|sort| self.expression(&sort.expr)).collect::<Vec<_>>();
                format!("order by {}", by.join(", "))
            }
            other => other.display().to_string(),
        };
        steps.push(format!("{}{text}", "  ".repeat(depth)));
        plan.inputs().into_iter().try_for_each(|input| self.walk(input, depth + 1, steps))
    }
}

/// As it is written.
fn literal(value: &ScalarValue) -> String {
    match value {
        value if value.is_null() => "NULL".to_owned(),
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        ScalarValue::IntervalMonthDayNano(Some(interval))
            if interval.months == 0 && interval.days == 0 && interval.nanoseconds >= 0 =>
        {
            let time = Duration::from_nanos(interval.nanoseconds.unsigned_abs());
            format!("INTERVAL '{}'", humantime::format_duration(time))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;
    use datafusion::prelude::{cast, col, lit};

    #[test]
    fn expressions_are_as_they_are_written() {
        let plain = Plain::default();
        let quoted = col("processes.exe").eq(cast(lit("it's"), DataType::Utf8View)).and(col("n").gt(lit(3i64)));
        assert_eq!(plain.expression(&quoted.alias("x")), "exe = 'it''s' AND n > 3");
        assert_eq!(literal(&ScalarValue::new_interval_mdn(0, 0, 90_000_000_000)), "INTERVAL '1m 30s'");
        assert_eq!(literal(&ScalarValue::Int64(None)), "NULL");
    }
}
