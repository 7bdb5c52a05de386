//! Queries become parts of the flow of the stream that they read.

use super::{
    LATE_COLUMN, PanesSource, Query, Stream, StreamFlow, WindowedView,
    cut::{Cut, contains_window, cut},
    panes::{Around, shared_panes, windowed_view},
    rowwise::RowProgram,
    template::Template,
};
use datafusion::{
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result},
    logical_expr::{self, LogicalPlan},
};
use std::collections::BTreeSet;

/// One flow for each stream that is read.
#[derive(Default)]
pub struct Flows {
    flows: Vec<StreamFlow>,
}

impl Flows {
    /// Cuts an analysed query at its windows and adds what is below to its stream's flow.
    pub fn add(&mut self, query: LogicalPlan, around: Around<'_>) -> Result<(&mut StreamFlow, Query)> {
        let parts = cut(query)?;
        if parts.aggregates.is_empty() {
            let optimized = around.context.state().optimize(&parts.above)?;
            let program = RowProgram::compile(&optimized, around.streams, around.context)?;
            let stream = around.streams[&program.stream].clone();
            return Ok((self.flow(&stream), Query::Rows(program)));
        }
        let stream = stream_of(&parts, around)?;
        let views = self.views(&parts, &stream, around)?;
        let slots = parts.aggregates.into_iter().map(|(_, slot)| slot).collect();
        let template = Template::plan(&parts.above, slots, around.context)?;
        Ok((self.flow(&stream), Query::Windows { views, template }))
    }

    /// The views that a plan was cut at, one for each slot; all have the same windows.
    fn views(&mut self, parts: &Cut, stream: &Stream, around: Around<'_>) -> Result<Vec<usize>> {
        refuse_rows_beside(&parts.above, around)?;
        let mut views = Vec::new();
        for (aggregate, _) in &parts.aggregates {
            views.push(self.view(aggregate, stream, around)?);
        }
        let known = &self.flow(stream).views;
        let first = &known[views[0]];
        if let Some(other) = views.iter().map(|&view| &known[view]).find(|view| view.hop != first.hop) {
            return Err(DataFusionError::Plan(format!(
                "joins views of different windows (slide {} ns, size {} ns and slide {} ns, size {} ns); give them the same window",
                first.hop.slide_ns(),
                first.hop.size_ns(),
                other.hop.slide_ns(),
                other.hop.size_ns()
            )));
        }
        if views.iter().any(|&view| known[view].delay_ns != first.delay_ns) {
            return Err(DataFusionError::Plan(
                "joins windows that are whole at different times: one is over the end of other windows, one is not or is \
                 over their start; use win.end in all of them"
                    .into(),
            ));
        }
        Ok(views)
    }

    /// The index of an equal view of the stream, or of this one, added after those that it is over.
    fn view(&mut self, aggregate: &logical_expr::Aggregate, stream: &Stream, around: Around<'_>) -> Result<usize> {
        if let Some(known) = self.flow(stream).views.iter().position(|known| known.aggregate == *aggregate) {
            return Ok(known);
        }
        if contains_window(&aggregate.input)? {
            let inner = cut(aggregate.input.as_ref().clone())?;
            self.views(&inner, stream, around)?;
        }
        let flow = self.flow(stream);
        let view: WindowedView = windowed_view(aggregate, stream, &flow.views, around)?;
        flow.views.push(view);
        Ok(flow.views.len() - 1)
    }

    fn flow(&mut self, stream: &Stream) -> &mut StreamFlow {
        let index = self.flows.iter().position(|flow| flow.stream == *stream).unwrap_or(self.flows.len());
        if index == self.flows.len() {
            self.flows.push(StreamFlow {
                stream: stream.clone(),
                columns: Vec::new(),
                tells_late: false,
                views: Vec::new(),
                panes: Vec::new(),
                inserts: Vec::new(),
            });
        }
        &mut self.flows[index]
    }

    /// Lets views share panes, and finds the columns that are used.
    pub fn finish(mut self, around: Around<'_>) -> Result<Vec<StreamFlow>> {
        for flow in &mut self.flows {
            flow.panes = shared_panes(&flow.views, around)?;
            let rows = flow.inserts.iter().filter_map(|insert| match &insert.query {
                Query::Rows(program) => Some(program),
                Query::Windows { .. } => None,
            });
            let panes = flow.panes.iter().filter_map(|panes| match &panes.source {
                PanesSource::Stream(program) => Some(program),
                PanesSource::Windows(_) => None,
            });
            let mut used: BTreeSet<&String> = panes.chain(rows).flat_map(|program| &program.columns).collect();
            used.extend(&flow.stream.event_time);
            let late = LATE_COLUMN.to_owned();
            flow.tells_late = used.remove(&late);
            let schema = flow.stream.schema();
            flow.columns =
                schema.fields().iter().map(|field| field.name().clone()).filter(|name| used.contains(name)).collect();
        }
        Ok(self.flows)
    }
}

/// Names of the streams that a plan reads.
fn streams_in(plan: &LogicalPlan, around: Around<'_>) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && around.streams.contains_key(scan.table_name.table())
        {
            found.insert(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The one stream that a query's windows are over.
fn stream_of(parts: &Cut, around: Around<'_>) -> Result<Stream> {
    let mut names = BTreeSet::new();
    for (aggregate, _) in &parts.aggregates {
        names.extend(streams_in(&aggregate.input, around)?);
    }
    let names: Vec<String> = names.into_iter().collect();
    match names.as_slice() {
        [name] => Ok(around.streams[name].clone()),
        [] => Err(DataFusionError::Plan(
            "the window is over a file, not a stream; INSERT needs a stream to follow".into(),
        )),
        [one, other, ..] => {
            Err(DataFusionError::Plan(format!("a query over two streams (`{one}` and `{other}`) is not supported yet")))
        }
    }
}

fn refuse_rows_beside(above: &LogicalPlan, around: Around<'_>) -> Result<()> {
    match streams_in(above, around)?.first() {
        Some(name) => Err(DataFusionError::Plan(format!(
            "`{name}` is read without a window beside a windowed view; window it too"
        ))),
        None => Ok(()),
    }
}
