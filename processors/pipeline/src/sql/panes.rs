//! What stands at the cut: the panes of windowed views, and where their rows come from.

use super::{
    LATE_COLUMN, PanesSource, SharedPanes, Stream, WindowRows, WindowedView,
    cut::{contains_window, cut, window_of},
    explain,
    flows::refuse_never,
    guard::Guard,
    lineage::{Bound, base_column, window_bound},
    rowwise::{RowProgram, physical},
    template::Template,
};
use amoskys_functions::{
    aggregate::{
        count::without_override,
        shed::{is_shed_rows, with_argument},
    },
    fault::{Fault, refuse},
    window::{Length, WindowCall, at_window},
};
use amoskys_windows::{Aggregate, Grid, Hop, Output};
use arrow::datatypes::{Field, Schema};
use datafusion::{
    common::DFSchemaRef,
    error::{DataFusionError, Result},
    logical_expr::{
        Aggregate as AggregatePlan, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
        physical_planning_context::PhysicalPlanningContext, utils::expr_to_columns,
    },
    physical_expr::{PhysicalExpr, aggregate::LoweredAggregateBuilder},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

const GAP_MIN_NS: i64 = 1_000;

/// What planning panes needs to know.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub streams: &'a BTreeMap<String, Stream>,
    pub guard: Guard<'a>,
    pub named: &'a [NamedWindow],
}

/// A windowed aggregate that stands in a view.
pub struct NamedWindow {
    pub aggregate: AggregatePlan,
    /// Its name.
    pub view: String,
    /// It and where it is.
    pub query: String,
}

impl Around<'_> {
    /// For what stands in another query.
    fn of<'a>(&'a self, query: &'a str) -> Around<'a> {
        Around { guard: Guard { query, ..self.guard }, ..*self }
    }
}

/// Checks an aggregate that was cut out of a query: its window, and everything below it. `views` are those that its own
/// windows are over. `shuffle_key`: which of its keys decide where its groups are sent, if they are.
pub fn windowed_view(
    aggregate: &AggregatePlan,
    shuffle_key: Option<Vec<usize>>,
    views: &[WindowedView],
    around: Around<'_>,
) -> Result<WindowedView> {
    let Some((window_index, call)) = window_of(aggregate)? else {
        return Err(DataFusionError::Internal("a view without a window".into()));
    };
    let hop = match call.length {
        Length::Sliding { slide_ns, size_ns } => Hop::new(slide_ns, size_ns).map_err(|error| {
            // Of tumble, which has one length.
            let is_tumble = slide_ns == size_ns;
            if is_tumble { error.to_string().replace("slide", "size") } else { error.to_string() }
        }),
        // So that no pane is the last there can be: a session in it would never end.
        Length::Session { gap_ns: 1..GAP_MIN_NS, .. } => Err("the gap must be a microsecond at least".to_owned()),
        Length::Session { gap_ns, longest_ns } => Hop::session(gap_ns, longest_ns).map_err(|error| error.to_string()),
    };
    let hop = hop.map_err(|message| at_window(Fault::of_sentence(&message)))?;
    // First, because through a join that is refused no column is known as the event time.
    let named = around.named.iter().find(|known| known.aggregate == *aggregate);
    let query = named.map_or(around.guard.query, |named| &named.query);
    let panes = share_panes(&[(0, hop, aggregate)], views, around.of(query))?;
    let delay_ns = match &panes.source {
        PanesSource::Stream(program) => {
            check_event_time(aggregate, &call, &around.streams[&program.stream])?;
            0
        }
        PanesSource::Windows(rows) => rows.delay_ns,
        PanesSource::Shipped => 0,
    };
    let output = Arc::new(aggregate.schema.as_arrow().clone());
    let groups = aggregate.group_expr.len();
    let shed = aggregate.aggr_expr.iter().enumerate().filter(|(_, expression)| is_shed_rows(expression));
    let shed_columns = shed.map(|(index, _)| groups + index).collect();
    Ok(WindowedView {
        name: named.map(|named| named.view.clone()),
        query: query.to_owned(),
        hop,
        aggregate: aggregate.clone(),
        shuffle_key,
        output,
        window_index,
        delay_ns,
        shed_columns,
    })
}

/// Puts views of one stream together that can share panes. Panes come after those that their rows come from.
pub fn shared_panes(views: &[WindowedView], around: Around<'_>) -> Result<Vec<SharedPanes>> {
    type Group<'a> = Vec<(usize, Hop, &'a AggregatePlan)>;
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, view) in views.iter().enumerate() {
        let fits = |group: &Group<'_>| {
            let hops: Vec<Hop> = group.iter().map(|(_, hop, _)| *hop).chain([view.hop]).collect();
            let (_, _, first) = group[0];
            first.input == view.aggregate.input
                && keys(first).eq(keys(&view.aggregate))
                && window_time(first) == window_time(&view.aggregate)
                && views[group[0].0].shuffle_key == view.shuffle_key
                && Grid::shared(&hops).is_some()
        };
        let member = (index, view.hop, &view.aggregate);
        // Views come after those that they are over, and so does a group after those of its first view's.
        match groups.iter_mut().find(|group| fits(group)) {
            Some(group) => group.push(member),
            None => groups.push(vec![member]),
        }
    }
    groups.iter().map(|group| share_panes(group, views, around.of(&views[group[0].0].query))).collect()
}

fn window_time(aggregate: &AggregatePlan) -> Option<Expr> {
    Some(window_of(aggregate).ok()??.1.time)
}

/// Group expressions without the window.
fn keys(aggregate: &AggregatePlan) -> impl Iterator<Item = &Expr> {
    aggregate.group_expr.iter().filter(|expression| WindowCall::parse(expression).is_none())
}

/// What is aggregated and grouped by, without a place for it: so that a view is at fault, and not what reads it.
pub fn rehearse(aggregate: &AggregatePlan, guard: Guard<'_>) -> Result<()> {
    let rows = aggregate.input.schema();
    keys(aggregate).try_for_each(|key| group_key(key, rows, guard).map(drop))?;
    aggregate.aggr_expr.iter().try_for_each(|expression| lower(expression, rows, &mut Vec::new(), guard).map(drop))
}

/// Builds the operator's half of views (by their index): everything below the cut and at it.
fn share_panes(
    group: &[(usize, Hop, &AggregatePlan)],
    views: &[WindowedView],
    around: Around<'_>,
) -> Result<SharedPanes> {
    let Some(&(_, hop, first)) = group.first() else {
        return Err(DataFusionError::Internal("panes without a view".into()));
    };
    let mut wanted: Vec<&Expr> = Vec::new();
    let outputs = group.iter().map(|(_, hop, aggregate)| {
        let place = |expression| {
            wanted.iter().position(|known| *known == expression).unwrap_or_else(|| {
                wanted.push(expression);
                wanted.len() - 1
            })
        };
        Output { hop: *hop, aggregates: aggregate.aggr_expr.iter().map(place).collect() }
    });
    let outputs = outputs.collect();
    let (source, rows) = below(first, hop, &wanted, views, around)?;
    let key_fields = first.group_expr.iter().zip(first.schema.fields());
    let key_fields = key_fields.filter(|(expression, _)| WindowCall::parse(expression).is_none());
    let key_fields: Vec<Field> = key_fields.map(|(_, field)| field.as_ref().clone()).collect();
    let mut columns: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    let aggregates = wanted
        .into_iter()
        .map(|expression| lower(expression, &rows, &mut columns, around.guard))
        .collect::<Result<_>>()?;
    Ok(SharedPanes {
        views: group.iter().map(|(index, _, _)| *index).collect(),
        ship: None,
        outputs,
        keys: keys(first).map(|key| group_key(key, &rows, around.guard)).collect::<Result<_>>()?,
        key_schema: Arc::new(Schema::new(key_fields)),
        columns,
        aggregates,
        source,
    })
}

fn check_event_time(aggregate: &AggregatePlan, call: &WindowCall, stream: &Stream) -> Result<()> {
    let Some(event_time) = &stream.event_time else {
        let fault = Fault::new(format!("`{}` has no event time", stream.name));
        let time = match &call.time {
            Expr::Column(column) => column.name(),
            _ => "…",
        };
        let help = format!("add OPTIONS (event_time '{time}', lateness '5s') to its CREATE EXTERNAL TABLE");
        return refuse(at_window(fault.help(help)));
    };
    match base_column(&aggregate.input, &call.time) {
        Some((table, column)) if table == stream.name && column == *event_time => Ok(()),
        _ => {
            let found = match &call.time {
                Expr::Column(column) => format!("`{}`", column.name()),
                _ => "computed".into(),
            };
            let fault = Fault::new(format!("the window's time is {found}"));
            let help = format!("it must be `{event_time}`, the event time of `{}`", stream.name);
            refuse(at_window(fault.help(help)))
        }
    }
}

/// The rows below the aggregate, with just the columns that its groups and the `wanted` aggregates use.
fn below(
    aggregate: &AggregatePlan,
    hop: Hop,
    wanted: &[&Expr],
    views: &[WindowedView],
    around: Around<'_>,
) -> Result<(PanesSource, DFSchemaRef)> {
    let mut used = HashSet::new();
    let is_window = contains_window(&aggregate.input)?;
    let groups = aggregate.group_expr.iter().filter(|expression| !is_window || WindowCall::parse(expression).is_none());
    for expression in groups.chain(wanted.iter().copied()) {
        expr_to_columns(expression, &mut used)?;
    }
    let input = aggregate.input.as_ref().clone();
    let columns: Vec<Expr> =
        input.schema().columns().into_iter().filter(|column| used.contains(column)).map(Expr::Column).collect();
    let plan = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    if is_window {
        let rows = window_rows(aggregate, hop, plan, views, around)?;
        return Ok(rows);
    }
    let optimized = around.guard.context.state().optimize(&plan)?;
    refuse_never(&plan, &optimized, around)?;
    let program = RowProgram::compile(&optimized, around.streams, around.guard)?;
    if program.columns.iter().any(|column| column == LATE_COLUMN) {
        let fault = Fault::new(format!("`{LATE_COLUMN}` says what windows have closed, so it is in none"));
        let instead = format!("INSERT INTO … SELECT … FROM {} WHERE {LATE_COLUMN}", program.stream);
        return refuse(fault.help(format!("use it in an INSERT of rows: {instead}")).at(LATE_COLUMN));
    }
    let rows = program.output.clone();
    Ok((PanesSource::Stream(program), rows))
}

/// Rows of other views' closed windows, which are windowed again.
fn window_rows(
    aggregate: &AggregatePlan,
    hop: Hop,
    plan: LogicalPlan,
    views: &[WindowedView],
    around: Around<'_>,
) -> Result<(PanesSource, DFSchemaRef)> {
    let rows = plan.schema().clone();
    let parts = cut(plan)?;
    let mut inputs = Vec::new();
    let mut slots = Vec::new();
    for (inner, slot) in parts.aggregates {
        let index = views.iter().position(|view| view.aggregate == inner);
        inputs.push(index.ok_or_else(|| DataFusionError::Internal("a view is not known that is windowed".into()))?);
        slots.push(slot);
    }
    let first = &views[inputs[0]];
    let time = window_of(aggregate)?.map(|(_, call)| call.time);
    let bound = time.as_ref().and_then(|time| window_bound(&aggregate.input, time));
    let Some((time, _)) = bound else {
        let time = time.map_or_else(String::new, |time| time.to_string());
        let fault = Fault::new(format!("the window's time is `{time}`"));
        let help = "over windows it must be a bound of theirs: hop(win.end, …) or hop(win.start, …)";
        return refuse(at_window(fault.help(help)));
    };
    let delay_ns = match time {
        Bound::End => first.delay_ns.saturating_add(ends_delay_ns(first.hop)),
        Bound::Start if first.hop.session_panes().is_some() => {
            // One that is read again without its first rows would begin later, in another window.
            let fault = Fault::new("a window over the starts of sessions, which are known when they end");
            return refuse(at_window(fault.help("use the end of the session: hop(win.end, …)")));
        }
        Bound::Start => first.delay_ns.saturating_add(starts_delay_ns(first.hop, hop)),
    };
    let template = Template::plan(&parts.above, slots, around.guard)?;
    Ok((PanesSource::Windows(WindowRows { views: inputs, template, time, delay_ns }), rows))
}

/// How long after its end a window may close: sessions up to a gap.
fn ends_delay_ns(inner: Hop) -> i64 {
    inner.session_panes().map_or(0, |_| inner.slide_ns())
}

/// How long after the end of a window the last of the windows ends that begin in it. Both begin and end on multiples of
/// the greatest length that divides all, so the last begins at least that much before the end.
fn starts_delay_ns(inner: Hop, outer: Hop) -> i64 {
    let gcd = |mut one: i64, mut other: i64| {
        while other != 0 {
            (one, other) = (other, one % other);
        }
        one
    };
    let apart_ns = gcd(gcd(inner.slide_ns(), outer.slide_ns()), outer.size_ns());
    (inner.size_ns() - apart_ns).max(0)
}

fn group_key(key: &Expr, rows: &DFSchemaRef, guard: Guard<'_>) -> Result<Arc<dyn PhysicalExpr>> {
    // Of what is never null nothing may be null above it either.
    let guarded = if key.nullable(rows)? { guard.expression(key.clone(), rows)?.data } else { key.clone() };
    physical(&guarded, rows, guard.context)
}

fn lower(
    expression: &Expr,
    schema: &DFSchemaRef,
    columns: &mut Vec<Arc<dyn PhysicalExpr>>,
    guard: Guard<'_>,
) -> Result<Aggregate> {
    let state = guard.context.state();
    let guarded = guard.expression(without_override(with_argument(expression)), schema)?.data;
    let planning = PhysicalPlanningContext::default();
    let lowered = LoweredAggregateBuilder::new(&guarded, schema, schema.as_arrow(), state.execution_props(), &planning)
        .build()?;
    // Arguments that the function does not know, which it says when there is something to aggregate.
    lowered.aggregate.create_accumulator().map_err(|error| {
        let name = lowered.aggregate.fun().name();
        let fault = Fault::new(format!("{name}(…) cannot be computed: {}", explain::first(&error).message));
        DataFusionError::from(fault.at(format!("{name}(")))
    })?;
    let mut place = |expression: Arc<dyn PhysicalExpr>| {
        let known = columns.iter().position(|known| known.as_ref() == expression.as_ref());
        known.unwrap_or_else(|| {
            columns.push(expression);
            columns.len() - 1
        })
    };
    let orders = lowered.aggregate.order_bys().iter().map(|order| order.expr.clone()).collect::<Vec<_>>();
    let arguments = lowered.aggregate.expressions().into_iter().chain(orders).map(&mut place).collect();
    let filter = lowered.filter.map(&mut place);
    Ok(Aggregate::new(lowered.aggregate, arguments, filter))
}
