//! Queries become parts of the flow of the stream that they read.

use super::{
    LATE_COLUMN, PanesSource, Query, Shuffle, Stream, StreamFlow, WindowedView,
    cut::{Cut, contains_window, cut},
    distribute::{Distribution, Spread, distribute},
    panes::{Around, shared_panes, windowed_view},
    rowwise::RowProgram,
    shuffle::connect,
    statics::StaticTable,
    template::Template,
    together::Together,
};
use amoskys_functions::fault::{Fault, refuse};
use amoskys_windows::Hop;
use datafusion::{
    common::tree_node::TreeNodeRecursion,
    error::Result,
    logical_expr::{self, LogicalPlan},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// One flow for each stream that is read, and for each topic that groups are sent to.
#[derive(Default)]
pub struct Flows {
    flows: Vec<StreamFlow>,
}

impl Flows {
    /// Whether any query reads the stream of this name.
    pub fn read(&self, name: &str) -> bool {
        self.flows.iter().any(|flow| flow.shuffle.is_none() && flow.stream.name == name)
    }

    /// Cuts an analysed query at its windows and adds what is below to its stream's flow.
    pub fn add(&mut self, query: LogicalPlan, around: Around<'_>) -> Result<(&mut StreamFlow, Query)> {
        let parts = cut(query.clone())?;
        if parts.aggregates.is_empty() {
            let optimized = around.guard.context.state().optimize(&parts.above)?;
            refuse_never(&parts.above, &optimized, around)?;
            let program = RowProgram::compile(&optimized, around.streams, around.guard)?;
            let flow = self.of_stream(&around.streams[&program.stream]);
            return Ok((&mut self.flows[flow], Query::Rows(program)));
        }
        refuse_rows_beside(&parts.above, around)?;
        let flow = match distribute(&query, around)? {
            Distribution::Local(stream) => self.of_stream(&around.streams[&stream]),
            Distribution::Shuffled(spread) => self.of_shuffle(&spread, around),
        };
        let views = self.views(&parts, flow, around)?;
        let slots: Vec<_> = parts.aggregates.into_iter().map(|(_, slot)| slot).collect();
        let first = &self.flows[flow].views[views[0]];
        let together = match slots.as_slice() {
            [slot] if first.hop.session_panes().is_some() => {
                let window = first.output.field(first.window_index).name();
                Together::plan(&parts.above, slot, window, around.guard)?
            }
            _ => None,
        };
        let template = Template::plan(&parts.above, slots, around.guard)?;
        Ok((&mut self.flows[flow], Query::Windows { views, template, together }))
    }

    /// The views that a plan was cut at, one for each slot; all have the same windows.
    fn views(&mut self, parts: &Cut, flow: usize, around: Around<'_>) -> Result<Vec<usize>> {
        refuse_rows_beside(&parts.above, around)?;
        let mut views = Vec::new();
        for (aggregate, _) in &parts.aggregates {
            views.push(self.view(aggregate, flow, around)?);
        }
        let known = &self.flows[flow].views;
        let first = &known[views[0]];
        if let Some(other) = views.iter().map(|&view| &known[view]).find(|view| view.hop != first.hop) {
            let words = |hop: &Hop| {
                let duration = |ns: i64| humantime::format_duration(Duration::from_nanos(ns.unsigned_abs()));
                match hop.session_max_ns() {
                    None => format!("slide {}, size {}", duration(hop.slide_ns()), duration(hop.size_ns())),
                    Some(max_ns) => {
                        format!("sessions of gap {}, at most {}", duration(hop.slide_ns()), duration(max_ns))
                    }
                }
            };
            let fault = Fault::new(format!(
                "joins views of different windows ({} and {})",
                words(&first.hop),
                words(&other.hop)
            ));
            return refuse(fault.help("give them the same window").at("JOIN").at("UNION"));
        }
        if views.iter().any(|&view| known[view].delay_ns != first.delay_ns) {
            let fault = Fault::new(
                "joins windows that are whole at different times: one is over the end of other windows, one is not or is \
                 over their start",
            );
            return refuse(fault.help("use win.end in all of them").at("JOIN").at("UNION"));
        }
        Ok(views)
    }

    /// The index of an equal view of the flow, or of this one, added after those that it is over.
    fn view(&mut self, aggregate: &logical_expr::Aggregate, flow: usize, around: Around<'_>) -> Result<usize> {
        if let Some(known) = self.flows[flow].views.iter().position(|known| known.aggregate == *aggregate) {
            return Ok(known);
        }
        if contains_window(&aggregate.input)? {
            let inner = cut(aggregate.input.as_ref().clone())?;
            self.views(&inner, flow, around)?;
        }
        let flow = &mut self.flows[flow];
        let spread = flow.shuffle.iter().flat_map(|shuffle| &shuffle.spread);
        let shuffle_key =
            spread.filter(|spread| spread.aggregate == *aggregate).map(|spread| spread.key.clone()).next();
        let view: WindowedView = windowed_view(aggregate, shuffle_key, &flow.views, around)?;
        flow.views.push(view);
        Ok(flow.views.len() - 1)
    }

    fn of_stream(&mut self, stream: &Stream) -> usize {
        let known = self.flows.iter().position(|flow| flow.shuffle.is_none() && flow.stream == *stream);
        known.unwrap_or_else(|| self.new_flow(stream.clone(), None))
    }

    /// The flow that views of these streams are sent to, by these keys; another one where a view is sent by other keys.
    fn of_shuffle(&mut self, spread: &[Spread], around: Around<'_>) -> usize {
        let streams: BTreeSet<&str> = spread.iter().map(|spread| spread.stream.as_str()).collect();
        // They send, whether a query of their own reads them or not.
        for name in &streams {
            self.of_stream(&around.streams[*name]);
        }
        let names: Vec<String> = streams.iter().map(|&name| name.to_owned()).collect();
        let same = |flow: &StreamFlow| flow.shuffle.as_ref().is_some_and(|shuffle| shuffle.streams == names);
        let found = self
            .flows
            .iter()
            .position(|flow| same(flow) && flow.shuffle.as_ref().is_some_and(|shuffle| shuffle.takes(spread)));
        let index = found.unwrap_or_else(|| {
            let others = self.flows.iter().filter(|flow| same(flow)).count();
            let number = if others == 0 { String::new() } else { format!("-{}", others + 1) };
            let name = format!("{}{number}", names.join("-"));
            let streams: Vec<&Stream> = names.iter().map(|name| &around.streams[name]).collect();
            let stream = Stream::of_shuffle(&name, &streams);
            self.new_flow(stream, Some(Shuffle::new(name, names.clone())))
        });
        if let Some(shuffle) = &mut self.flows[index].shuffle {
            shuffle.add(spread);
        }
        index
    }

    fn new_flow(&mut self, stream: Stream, shuffle: Option<Shuffle>) -> usize {
        self.flows.push(StreamFlow {
            stream,
            columns: Vec::new(),
            tells_late: false,
            views: Vec::new(),
            panes: Vec::new(),
            inserts: Vec::new(),
            shuffle,
            statics: Vec::new(),
            fitted: BTreeSet::new(),
            failures: Arc::default(),
        });
        self.flows.len() - 1
    }

    /// Lets views share panes, and finds the columns and those of the files that are used.
    pub fn finish(mut self, around: Around<'_>, statics: &[Arc<StaticTable>]) -> Result<Vec<StreamFlow>> {
        for flow in self.flows.iter_mut().filter(|flow| flow.shuffle.is_none()) {
            flow.panes = shared_panes(&flow.views, around)?;
        }
        for index in 0..self.flows.len() {
            if self.flows[index].shuffle.is_some() {
                connect(&mut self.flows, index, around, statics)?;
            }
        }
        for flow in &mut self.flows {
            flow.failures = around.guard.failures.clone();
            let (mut programs, mut plans) = (Vec::new(), Vec::new());
            for insert in &flow.inserts {
                match &insert.query {
                    Query::Rows(program) => programs.push(program),
                    Query::Windows { template, .. } => plans.push(template.logical()),
                }
            }
            for panes in &flow.panes {
                match &panes.source {
                    PanesSource::Stream(program) => programs.push(program),
                    PanesSource::Windows(rows) => plans.push(rows.template.logical()),
                    PanesSource::Shipped => {}
                }
            }
            plans.extend(programs.iter().map(|program| program.logical()));
            flow.statics = read_by(&plans, statics)?;
            let mut used: BTreeSet<&String> = programs.into_iter().flat_map(|program| &program.columns).collect();
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

/// Of the files those that plans read.
fn read_by(plans: &[&LogicalPlan], statics: &[Arc<StaticTable>]) -> Result<Vec<Arc<StaticTable>>> {
    let mut read = Vec::new();
    for table in statics {
        for plan in plans {
            if table.is_in(plan)? {
                read.push(table.clone());
                break;
            }
        }
    }
    Ok(read)
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

/// Whether a plan reads rows of a stream.
pub fn reads_stream(plan: &LogicalPlan, around: Around<'_>) -> Result<bool> {
    Ok(!streams_in(plan, around)?.is_empty())
}

/// What the optimizer leaves nothing of: its condition holds for no row.
pub fn refuse_never(plan: &LogicalPlan, optimized: &LogicalPlan, around: Around<'_>) -> Result<()> {
    if streams_in(plan, around)?.is_empty() || !streams_in(optimized, around)?.is_empty() {
        return Ok(());
    }
    let fault = Fault::new("the condition holds for no row, whatever comes");
    refuse(fault.help("with NULL write IS NULL; see whether its parts can hold at once").at("WHERE"))
}

fn refuse_rows_beside(above: &LogicalPlan, around: Around<'_>) -> Result<()> {
    match streams_in(above, around)?.first() {
        Some(name) => {
            let fault = Fault::new(format!("`{name}` is read without a window beside a windowed view"));
            refuse(fault.help("window it too").at(format!("\"{name}\"")))
        }
        None => Ok(()),
    }
}
