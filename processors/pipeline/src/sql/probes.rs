//! What each condition of a query sees: for every WHERE and HAVING on the way, the rows that come to it, and for each part of
//! the condition whether it holds and, where it compares, the two values; for every JOIN that may lose rows, which have a
//! partner; for every `FILTER (WHERE …)` of an aggregate that a condition is about, which rows it counts.
//!
//! A probe is a query of its own over the same windows, so what it tells is what was computed, not a model of it.
//! Deliberately not here: conditions within subqueries that are expressions. Limits: of a join the rows of its left side.

use super::{Stream, outline::Plain};
use arrow::datatypes::FieldRef;
use datafusion::{
    common::{
        Column, JoinType, TableReference,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{
        Aggregate, BinaryExpr, Expr, Join, LogicalPlan, LogicalPlanBuilder, Operator, lit, utils::split_conjunction,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The column of what rows are joined with that is there where a row is.
const PARTNER: &str = "?partner";

/// Rows that come to one place of a query.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Of its INSERT in the dataflow.
    pub name: String,
    pub place: ProbePlace,
    /// Names of its first columns, those of the rows.
    pub columns: Vec<String>,
    /// Each has behind these columns one of its own, and two more where it compares.
    pub conditions: Vec<Condition>,
    /// Of the result: what its columns are called below, where they are columns there.
    pub renamed: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbePlace {
    /// Rows of a stream, as they are decoded.
    Stream(String),
    /// Rows before a WHERE or HAVING.
    Filter,
    /// Rows of the left side of a JOIN that gives only those with a partner.
    Join,
    /// Rows that come to an aggregate, as it is written, that counts only those of which its FILTER holds.
    Counted(String),
    /// What the query gives in the end.
    Result,
}

/// A part of a WHERE or HAVING, apart by AND.
#[derive(Debug, Clone)]
pub struct Condition {
    pub text: String,
    /// Index of the column that says whether it holds.
    pub holds: usize,
    /// Columns of the values on both sides of a comparison.
    pub compared: Option<(usize, usize)>,
}

/// By stream the columns that an optimised query reads.
pub(super) fn read_of_streams(
    query: &LogicalPlan,
    streams: &BTreeMap<String, Stream>,
) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    query.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && streams.contains_key(scan.table_name.table())
        {
            let columns = scan.projected_schema.fields().iter().map(|field| field.name().clone());
            read.entry(scan.table_name.table().to_owned()).or_default().extend(columns);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}

/// From the streams to the result. Of a stream's rows those columns that the query reads or that are `asked` of, and what the log
/// says: a record may not decode for the others, which is nothing to the query.
pub(super) fn probes(
    query: &LogicalPlan,
    name: &str,
    streams: &BTreeMap<String, Stream>,
    read: &BTreeMap<String, BTreeSet<String>>,
    asked: &BTreeSet<String>,
) -> Result<Vec<(Probe, LogicalPlan)>> {
    let unread = unread(streams, read, asked);
    let in_question = names_in_conditions(query);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    walk(query, &mut |node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let stream = scan.table_name.table();
                if streams.contains_key(stream) && seen.insert(stream.to_owned()) {
                    let all = LogicalPlanBuilder::scan(scan.table_name.clone(), scan.source.clone(), None)?.build()?;
                    found.push(probe(ProbePlace::Stream(stream.to_owned()), all, None, &unread)?);
                }
            }
            LogicalPlan::Filter(filter) => {
                found.push(probe(ProbePlace::Filter, filter.input.as_ref().clone(), Some(&filter.predicate), &unread)?);
            }
            LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi) => {
                found.push(partners(join, &unread)?);
            }
            LogicalPlan::Aggregate(aggregate) => {
                for (text, filter) in filters(aggregate, &in_question) {
                    let input = aggregate.input.as_ref().clone();
                    found.push(probe(ProbePlace::Counted(text), input, Some(filter), &unread)?);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    found.push(result(query, &unread)?);
    for (number, (probe, _)) in found.iter_mut().enumerate() {
        probe.name = format!("{name}?{number}");
    }
    Ok(found)
}

/// What is read before what reads it.
fn walk(node: &LogicalPlan, visit: &mut dyn FnMut(&LogicalPlan) -> Result<()>) -> Result<()> {
    node.inputs().into_iter().try_for_each(|input| walk(input, visit))?;
    visit(node)
}

/// Names of columns that a condition is about, here and below, where they have others.
fn names_in_conditions(node: &LogicalPlan) -> BTreeSet<String> {
    fn descend(node: &LogicalPlan, names: &mut BTreeSet<String>) {
        let of = |expression: &Expr| -> Vec<String> {
            expression.column_refs().into_iter().map(|column| column.name.clone()).collect()
        };
        match node {
            LogicalPlan::Filter(filter) => names.extend(of(&filter.predicate)),
            LogicalPlan::Projection(projection) => {
                let outputs = projection.schema.fields().iter().zip(&projection.expr);
                let wanted = outputs.filter(|(field, _)| names.contains(field.name()));
                let below: Vec<String> = wanted.flat_map(|(_, expression)| of(expression)).collect();
                names.extend(below);
            }
            _ => {}
        }
        node.inputs().into_iter().for_each(|input| descend(input, names));
    }
    let mut names = BTreeSet::new();
    descend(node, &mut names);
    names
}

/// The aggregates of these names that have a FILTER, as they are written, and it.
fn filters<'a>(aggregate: &'a Aggregate, names: &BTreeSet<String>) -> Vec<(String, &'a Expr)> {
    let first = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let named = aggregate.schema.fields()[first..].iter().zip(&aggregate.aggr_expr);
    let mut plain = Plain::default();
    plain.add(aggregate, "");
    let of = |(field, expression): (&FieldRef, &'a Expr)| {
        let mut inner = expression;
        while let Expr::Alias(alias) = inner {
            inner = &alias.expr;
        }
        let Expr::AggregateFunction(call) = inner else { return None };
        let filter = call.params.filter.as_deref().filter(|_| names.contains(field.name()))?;
        Some((plain.expression(&Expr::Column(Column::from_name(field.name()))), filter))
    };
    named.filter_map(of).collect()
}

/// Rows of a join's left side, with those of its right where there are some.
fn partners(join: &Join, unread: &BTreeSet<String>) -> Result<(Probe, LogicalPlan)> {
    let own = join
        .right
        .schema()
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())));
    let right = LogicalPlanBuilder::from(join.right.as_ref().clone())
        .project(own.chain([lit(true).alias(PARTNER)]))?
        .build()?;
    let all = Join::try_new(
        join.left.clone(),
        Arc::new(right),
        join.on.clone(),
        join.filter.clone(),
        JoinType::Left,
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    let input = LogicalPlan::Join(all);
    let there = Expr::Column(Column::from_name(PARTNER)).is_not_null();
    let (mut probe, plan) = probe(ProbePlace::Join, input.clone(), Some(&there), unread)?;
    let plain = plain_of(&input)?;
    let pairs = join.on.iter().map(|(left, right)| format!("{} = {}", plain.expression(left), plain.expression(right)));
    let texts: Vec<String> = pairs.chain(join.filter.as_ref().map(|filter| plain.expression(filter))).collect();
    probe.conditions[0].text = texts.join(" AND ");
    Ok((probe, plan))
}

/// Names of columns that records have inside them and that nobody wants.
fn unread(
    streams: &BTreeMap<String, Stream>,
    read: &BTreeMap<String, BTreeSet<String>>,
    asked: &BTreeSet<String>,
) -> BTreeSet<String> {
    let of_query = || streams.iter().filter_map(|(name, stream)| Some((stream, read.get(name)?)));
    let is_wanted = |column: &String| {
        let is_read = |(stream, read): (&Stream, &BTreeSet<String>)| {
            read.contains(column) || stream.event_time.as_ref() == Some(column)
        };
        asked.contains(column) || of_query().any(is_read)
    };
    let inside = of_query().flat_map(|(stream, _)| stream.columns.fields().iter().map(|field| field.name().clone()));
    inside.filter(|column| !is_wanted(column)).collect()
}

fn probe(
    place: ProbePlace,
    input: LogicalPlan,
    predicate: Option<&Expr>,
    unread: &BTreeSet<String>,
) -> Result<(Probe, LogicalPlan)> {
    let plain = plain_of(&input)?;
    let schema = input.schema().clone();
    let (mut columns, mut expressions): (Vec<String>, Vec<Expr>) = (Vec::new(), Vec::new());
    let is_shown = |field: &FieldRef| !unread.contains(field.name()) && field.name() != PARTNER;
    for (qualifier, field) in schema.iter().filter(|(_, field)| is_shown(field)) {
        let column = Column::new(qualifier.cloned(), field.name());
        let text = plain.expression(&Expr::Column(column.clone()));
        let name = if columns.contains(&text) { column.flat_name() } else { text };
        expressions.push(Expr::Column(column).alias(name.clone()));
        columns.push(name);
    }
    let mut conditions = Vec::new();
    for part in predicate.map(|predicate| split_conjunction(predicate)).unwrap_or_default() {
        let holds = expressions.len();
        expressions.push(part.clone().alias(format!("?{holds}")));
        let compared = match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
                for side in [left, right] {
                    expressions.push(side.as_ref().clone().alias(format!("?{}", expressions.len())));
                }
                Some((holds + 1, holds + 2))
            }
            _ => None,
        };
        let text = plain.expression(part);
        // Where conditions are written with AND between them.
        let is_either = matches!(part, Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }));
        let text = if is_either { format!("({text})") } else { text };
        conditions.push(Condition { text, holds, compared });
    }
    let plan = LogicalPlanBuilder::from(input).project(expressions)?.build()?;
    Ok((Probe { name: String::new(), place, columns, conditions, renamed: BTreeMap::new() }, plan))
}

/// What writes expressions over a plan as its SQL does.
fn plain_of(input: &LogicalPlan) -> Result<Plain> {
    let mut plain = Plain::default();
    walk(input, &mut |node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            plain.add(aggregate, "");
        }
        Ok(())
    })?;
    Ok(plain)
}

/// What passes every condition, by the names that it has there and by those of the result.
fn result(query: &LogicalPlan, unread: &BTreeSet<String>) -> Result<(Probe, LogicalPlan)> {
    let named = |qualifier: Option<&TableReference>, field: &FieldRef| {
        (field.name().clone(), Expr::Column(Column::new(qualifier.cloned(), field.name())))
    };
    let mut outputs: Vec<(String, Expr)> =
        query.schema().iter().map(|(qualifier, field)| named(qualifier, field)).collect();
    let mut below = query;
    while let LogicalPlan::Projection(projection) = below {
        for (_, expression) in &mut outputs {
            let through = expression.clone().transform(|part| {
                let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
                let index = projection.schema.index_of_column(column)?;
                Ok(Transformed::new(projection.expr[index].clone().unalias(), true, TreeNodeRecursion::Jump))
            })?;
            *expression = through.data;
        }
        below = &projection.input;
    }
    let (mut probe, _) = probe(ProbePlace::Result, below.clone(), None, unread)?;
    let inner = below.schema().iter().filter(|(_, field)| !unread.contains(field.name())).zip(&probe.columns);
    let mut expressions: Vec<Expr> =
        inner.map(|((qualifier, field), name)| named(qualifier, field).1.alias(name.clone())).collect();
    for (name, expression) in outputs {
        if let Expr::Column(column) = &expression {
            probe.renamed.insert(name.clone(), column.name.clone());
        }
        if !probe.columns.contains(&name) {
            expressions.push(expression.alias(name.clone()));
            probe.columns.push(name);
        }
    }
    Ok((probe, LogicalPlanBuilder::from(below.clone()).project(expressions)?.build()?))
}

pub(super) fn is_comparison(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}
