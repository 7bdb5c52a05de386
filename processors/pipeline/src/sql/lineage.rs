//! Where a column comes from, seen through the nodes that pass it on unchanged.

use amoskys_functions::window::WindowCall;
use datafusion::{
    common::{Column, JoinType, ScalarValue},
    logical_expr::{Distinct, Expr, LogicalPlan},
};

/// A bound of a window, as `win.start` and `win.end` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Start,
    End,
}

/// The table and column that an expression is; `None` when it is computed, or may be null where the column is not.
pub fn base_column(plan: &LogicalPlan, expression: &Expr) -> Option<(String, String)> {
    trace(plan, expression, &|plan, expression| match (plan, expression) {
        (LogicalPlan::TableScan(scan), Expr::Column(column)) => {
            let index = plan.schema().maybe_index_of_column(column)?;
            Some((scan.table_name.table().to_owned(), scan.projected_schema.field(index).name().clone()))
        }
        _ => None,
    })
}

/// The bound of a window below that an expression is, and that window.
pub fn window_bound(plan: &LogicalPlan, expression: &Expr) -> Option<(Bound, WindowCall)> {
    trace(plan, expression, &|plan, expression| {
        let Expr::ScalarFunction(call) = expression else { return None };
        let [window, Expr::Literal(field, _)] = call.args.as_slice() else { return None };
        let (ScalarValue::Utf8(field) | ScalarValue::Utf8View(field)) = field else { return None };
        let bound = match (call.name(), field.as_deref()) {
            ("get_field", Some("start")) => Bound::Start,
            ("get_field", Some("end")) => Bound::End,
            _ => return None,
        };
        let window = trace(plan, window, &|_, expression| WindowCall::parse(expression)?.ok());
        window.map(|window| (bound, window))
    })
}

/// Follows an expression down until `find` knows it. Where it comes from several branches, all have to agree.
fn trace<T: PartialEq>(
    plan: &LogicalPlan,
    expression: &Expr,
    find: &dyn Fn(&LogicalPlan, &Expr) -> Option<T>,
) -> Option<T> {
    if let Some(found) = find(plan, expression) {
        return Some(found);
    }
    match expression {
        Expr::Alias(alias) => trace(plan, &alias.expr, find),
        Expr::Column(column) => {
            let mut branches =
                below(plan, column)?.into_iter().map(|(plan, expression)| trace(plan, &expression, find));
            let first = branches.next()??;
            branches.all(|other| other.as_ref() == Some(&first)).then_some(first)
        }
        _ => None,
    }
}

/// What a column of a plan is in the plans below it.
fn below<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<Vec<(&'a LogicalPlan, Expr)>> {
    let index = plan.schema().maybe_index_of_column(column)?;
    let nth = |input: &'a LogicalPlan, index: usize| {
        let (qualifier, field) = input.schema().qualified_field(index);
        (input, Expr::Column(Column::new(qualifier.cloned(), field.name())))
    };
    match plan {
        LogicalPlan::Projection(node) => Some(vec![(&node.input, node.expr.get(index)?.clone())]),
        LogicalPlan::Aggregate(node) => Some(vec![(&node.input, node.group_expr.get(index)?.clone())]),
        LogicalPlan::SubqueryAlias(node) => Some(vec![nth(&node.input, index)]),
        LogicalPlan::Filter(node) => Some(vec![nth(&node.input, index)]),
        LogicalPlan::Sort(node) => Some(vec![nth(&node.input, index)]),
        LogicalPlan::Limit(node) => Some(vec![nth(&node.input, index)]),
        LogicalPlan::Distinct(Distinct::All(input)) => Some(vec![nth(input, index)]),
        LogicalPlan::Window(node) if index < node.input.schema().fields().len() => Some(vec![nth(&node.input, index)]),
        LogicalPlan::Union(node) => Some(node.inputs.iter().map(|input| nth(input, index)).collect()),
        LogicalPlan::Join(node) => {
            use JoinType::{Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
            let lefts = node.left.schema().fields().len();
            // A side that may be missing gives nulls that are not the column's.
            match node.join_type {
                Inner | Left | LeftSemi | LeftAnti | LeftMark if index < lefts => Some(vec![nth(&node.left, index)]),
                Inner | Right if index >= lefts => Some(vec![nth(&node.right, index - lefts)]),
                RightSemi | RightAnti | RightMark if index < node.right.schema().fields().len() => {
                    Some(vec![nth(&node.right, index)])
                }
                _ => None,
            }
        }
        _ => None,
    }
}
