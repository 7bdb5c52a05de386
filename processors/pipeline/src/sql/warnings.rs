//! What plans, but may not be what was meant, or costs more than it has to.
//!
//! Each has a name, by which a comment above the statement allows it: `-- allow: exact-distinct, shuffle`.
//! Deliberately not here: finding what does not plan; deciding where a warning stands.

use super::{
    Stream,
    catalog::nearest_of_all,
    cut::{contains_window, window_of},
    outline::Plain,
    probes::is_comparison,
};
use amoskys_functions::{
    fault::Fault,
    window::{Length, at_window},
};
use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{Aggregate, BinaryExpr, Expr, ExprSchemable, LogicalPlan},
};
use std::{collections::BTreeMap, time::Duration};

/// Nobody reads the view.
pub const UNREAD_VIEW: &str = "unread-view";
/// The stream is later than the window is long.
pub const LATENESS_OVER_SIZE: &str = "lateness-over-size";
/// Rows between windows are in none.
pub const WINDOW_GAPS: &str = "window-gaps";
/// Every value is kept.
pub const EXACT_DISTINCT: &str = "exact-distinct";
/// Groups go to other partitions.
pub const SHUFFLE: &str = "shuffle";
/// The topic forgets before the window is over.
pub const WINDOW_OVER_RETENTION: &str = "window-over-retention";
/// What a comment allows is no warning.
pub const UNKNOWN_ALLOW: &str = "unknown-allow";

/// Alerts lack what people look at.
pub const ALERT_FIELDS: &str = "alert-fields";
/// What comments say of alerts is not what was meant.
pub const ANNOTATION: &str = "annotation";
/// What is no number is null.
pub const TEXT_AS_NUMBER: &str = "text-as-number";

/// No test is of it; only those who check SQL are told.
pub const UNTESTED: &str = "untested";

pub const NAMES: [&str; 11] = [
    UNREAD_VIEW,
    LATENESS_OVER_SIZE,
    WINDOW_GAPS,
    EXACT_DISTINCT,
    SHUFFLE,
    WINDOW_OVER_RETENTION,
    ALERT_FIELDS,
    ANNOTATION,
    TEXT_AS_NUMBER,
    UNKNOWN_ALLOW,
    UNTESTED,
];

/// A warning's name, and what it says.
pub type Warning = (&'static str, Fault);

/// What a windowed aggregate is warned of, by itself.
pub fn of_aggregate(aggregate: &Aggregate, streams: &BTreeMap<String, Stream>) -> Result<Vec<Warning>> {
    let Some((_, call)) = window_of(aggregate)? else { return Ok(Vec::new()) };
    let duration = |time_ns: i64| humantime::format_duration(Duration::from_nanos(time_ns.unsigned_abs()));
    let mut found = Vec::new();
    // How long one waits for, and how long one may be.
    let (size_ns, longest_ns) = match call.length {
        Length::Sliding { size_ns, .. } => (size_ns, size_ns),
        Length::Session { gap_ns, longest_ns } => (gap_ns, longest_ns.saturating_add(gap_ns)),
    };
    if let Length::Sliding { slide_ns, size_ns } = call.length
        && slide_ns > size_ns
    {
        let (slide, size) = (duration(slide_ns), duration(size_ns));
        let fault = Fault::new(format!("a window of {size} every {slide}: rows between two windows are in none"));
        let help = format!("hop takes slide before size: hop(…, INTERVAL '{size}', INTERVAL '{slide}')");
        found.push((WINDOW_GAPS, at_window(fault.help(help))));
    }
    // Rows of other windows are not late.
    for stream in direct_streams(aggregate, streams)? {
        let (name, lateness) = (&stream.name, stream.rules.lateness_ns);
        if lateness > size_ns {
            let (late, size) = (duration(lateness), duration(size_ns));
            let fault = Fault::new(format!("rows of `{name}` may be {late} late, longer than the window, {size}"));
            let help = "each window waits longer than it lasts: a smaller lateness, or longer windows";
            found.push((LATENESS_OVER_SIZE, at_window(fault.help(help))));
        }
        let needed = longest_ns.saturating_add(lateness);
        if let Some(kept) = stream.retention_ns.filter(|kept| *kept < needed) {
            let (kept, needed) = (duration(kept), duration(needed));
            let message = format!("the topic of `{name}` keeps {kept}, and a window of this needs {needed}");
            let help = "a processor that begins, or SQL that changes, finds a part of its rows: longer retention, or \
                        shorter windows";
            found.push((WINDOW_OVER_RETENTION, at_window(Fault::new(message).help(help))));
        }
    }
    for expression in &aggregate.aggr_expr {
        if let Some(argument) = counted_exactly(expression, aggregate)? {
            let name = argument.qualified_name().1;
            let fault = Fault::new(format!("count(DISTINCT {name}) keeps every value of every group in every pane"));
            let help = format!("hll_distinct({name}) takes 16 KiB at most, and is exact up to 4,096 values");
            found.push((EXACT_DISTINCT, fault.help(help).at(format!("count(DISTINCT {name}")).at("count(DISTINCT")));
        }
    }
    Ok(found)
}

/// Streams whose rows, not whose windows, are aggregated.
fn direct_streams<'a>(aggregate: &Aggregate, streams: &'a BTreeMap<String, Stream>) -> Result<Vec<&'a Stream>> {
    let mut found: Vec<&Stream> = Vec::new();
    if contains_window(&aggregate.input)? {
        return Ok(found);
    }
    aggregate.input.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(stream) = streams.get(scan.table_name.table())
            && !found.contains(&stream)
        {
            found.push(stream);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// What `count(DISTINCT …)` counts, where that can be more than a few values.
fn counted_exactly(expression: &Expr, aggregate: &Aggregate) -> Result<Option<Expr>> {
    let Expr::AggregateFunction(call) = expression.clone().unalias_nested().data else { return Ok(None) };
    let [argument] = call.params.args.as_slice() else { return Ok(None) };
    if !call.params.distinct || call.func.name() != "count" {
        return Ok(None);
    }
    let is_small = matches!(
        argument.get_type(aggregate.input.schema().as_ref())?,
        DataType::Boolean | DataType::Int8 | DataType::UInt8
    );
    Ok((!is_small).then(|| argument.clone()))
}

/// Groups of a view that do not lie within partitions.
pub fn of_shuffle(stream: &Stream) -> Warning {
    let fault =
        Fault::new(format!("groups lie in several partitions of `{}`, so panes are sent between them", stream.name));
    let help = match &stream.partition_key {
        Some(key) => format!("groups with `{key}`, the partition key, stay where they are"),
        None => "say by OPTIONS (partition_key '…') what decides a record's partition, and group by it".to_owned(),
    };
    (SHUFFLE, fault.help(help).at("GROUP BY"))
}

pub fn of_unread_view(name: &str) -> Warning {
    let fault = Fault::new(format!("no INSERT reads view `{name}`, so it is never computed"));
    (UNREAD_VIEW, fault.help(format!("insert from it, or look at it by sql run --view {name}")))
}

/// Texts that are compared with numbers. `plan` is as it was written, before types are made alike.
pub fn of_comparisons(plan: &LogicalPlan) -> Result<Vec<Warning>> {
    let mut found: Vec<Warning> = Vec::new();
    plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        node.inputs().iter().for_each(|input| schema.merge(input.schema()));
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                let (of, with): (&Expr, Vec<&Expr>) = match part {
                    Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
                        let is_text = is_text(left, &schema);
                        if is_text { (left, vec![right]) } else { (right, vec![left]) }
                    }
                    Expr::Between(between) => (&between.expr, vec![&between.low, &between.high]),
                    Expr::InList(list) => (&list.expr, list.list.iter().collect()),
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                let is_number = |with: &&Expr| with.get_type(&schema).is_ok_and(|with| with.is_numeric());
                if is_text(of, &schema)
                    && !matches!(of, Expr::Literal(..))
                    && let Some(number) = with.into_iter().find(is_number)
                {
                    found.push(text_as_number(part, of, number));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn is_text(expression: &Expr, schema: &DFSchema) -> bool {
    let of = expression.get_type(schema);
    of.is_ok_and(|of| of.is_string())
}

fn text_as_number(comparison: &Expr, text: &Expr, number: &Expr) -> Warning {
    let plain = Plain::default();
    let [comparison, text, number] = [comparison, text, number].map(|of| plain.expression(of));
    let message = format!("`{comparison}` compares text with a number: where `{text}` is none it is null");
    let help = format!("compare texts, '{number}', or say what is meant: TRY_CAST({text} AS BIGINT)");
    let fault = Fault::new(message).help(help).at(comparison);
    let operators = ["<", ">", "=", "<=", ">=", "<>", "IN", "BETWEEN", "NOT"];
    (TEXT_AS_NUMBER, operators.iter().fold(fault, |fault, operator| fault.at(format!("{text} {operator}"))))
}

/// Names that a comment allows and that are none.
pub fn of_allowed(allowed: &[String]) -> Vec<Warning> {
    let unknown = allowed.iter().filter(|name| !NAMES.contains(&name.as_str()));
    let warning = |name: &String| {
        let fault = Fault::new(format!("a comment allows `{name}`, which no warning is called"));
        (UNKNOWN_ALLOW, fault.help(nearest_of_all(name, &NAMES)))
    };
    unknown.map(warning).collect()
}
