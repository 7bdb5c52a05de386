//! What a dataflow amounts to, for people and programs: where each query is cut, what is decoded, which views share panes,
//! what a key takes in them, what is sent to other partitions, and what is read again after a restart.
//!
//! Nothing here is guessed: plans are those that run, and what a key takes is measured by putting keys into an operator.

mod plain;

use super::{Dataflow, Insert, PanesSource, Query, SharedPanes, StreamFlow, WindowedView, statics::StaticTable};
use amoskys_windows::{Origin, PaneBounds, ReplayPoint, Rows, Watermark};
use arrow::{
    array::{ArrayRef, Int64Array, new_null_array},
    compute::cast,
    datatypes::{DataType, Schema},
};
use datafusion::logical_expr::Expr;
pub(super) use plain::Plain;
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

/// Keys that are put into an operator to see what they take.
const SAMPLE_KEYS: i64 = 4096;

/// An aggregate that stands in no view.
const UNNAMED: &str = "its own aggregate";

/// All of it, in the order in which it is computed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outline {
    pub streams: Vec<StreamOutline>,
    pub files: Vec<FileOutline>,
}

/// Files that are joined with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileOutline {
    pub name: String,
    pub locations: Vec<PathBuf>,
}

/// A stream, or a topic that groups are sent through, and what is computed from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamOutline {
    pub name: String,
    pub topic: String,
    /// `ENVELOPE`, `PROTOBUF`, `JSON`; `PANES` of groups that are sent.
    pub format: &'static str,
    pub event_time: Option<String>,
    pub lateness_ns: i64,
    pub idle_ns: Option<i64>,
    pub partition_key: Option<String>,
    /// Columns that are decoded, of `columns_total`.
    pub decoded: Vec<String>,
    pub columns_total: usize,
    pub recovery: Recovery,
    pub panes: Vec<PanesOutline>,
    pub inserts: Vec<InsertOutline>,
    /// Of groups that are sent: by which streams.
    pub sent_by: Vec<String>,
}

/// What is read after a restart.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// There is no state: on from the next record.
    Nothing,
    /// Records are read again from the first that an open window needs.
    Records { windows_ns: i64 },
    /// Panes of windows longer than `replay_max_ns` are kept in a topic; records are read again from when that was last.
    Panes { windows_ns: i64, replay_max_ns: i64 },
}

/// Views whose rows go into the same panes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PanesOutline {
    /// What happens to rows before, a line for each step, the last first.
    pub below: Vec<String>,
    pub keys: Vec<String>,
    /// Of all views, each once.
    pub aggregates: Vec<String>,
    pub views: Vec<ViewOutline>,
    /// Of the longest window.
    pub panes_per_window: usize,
    /// For each key in each pane that it is in, with one value; those that keep values grow with them.
    pub bytes_per_key: Option<usize>,
    /// Where they go instead of into windows here, and by which keys; by none all go to one partition.
    pub sent_to: Option<(String, Vec<String>)>,
    pub source: PanesFrom,
    /// Of other views' windows: whose.
    pub over: Vec<ViewOutline>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PanesFrom {
    Stream,
    /// Windows of other views.
    Windows,
    /// What partitions sent.
    Sent,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewOutline {
    /// Among those of its stream.
    pub index: usize,
    /// Absent for an aggregate that stands in an INSERT.
    pub name: Option<String>,
    pub slide_ns: i64,
    pub size_ns: i64,
    /// Of sessions, whose slide and size are their gap: how long one may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_max_ns: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InsertOutline {
    pub name: String,
    /// The topic; absent for rows that were asked for.
    pub topic: Option<String>,
    /// Views whose windows it reads; none for what is computed row by row.
    pub views: Vec<ViewOutline>,
    /// What happens to rows, or to the windows' rows, a line for each step, the last first.
    pub above: Vec<String>,
    pub models: Vec<String>,
}

impl ViewOutline {
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(UNNAMED)
    }
}

impl Outline {
    pub fn of(dataflow: &Dataflow) -> Self {
        let streams = dataflow.streams.iter().map(|flow| stream(flow, dataflow)).collect();
        Self { streams, files: dataflow.statics().into_iter().map(file).collect() }
    }
}

fn file(table: &Arc<StaticTable>) -> FileOutline {
    FileOutline { name: table.name.clone(), locations: table.locations().to_vec() }
}

fn stream(flow: &StreamFlow, dataflow: &Dataflow) -> StreamOutline {
    let of = &flow.stream;
    let windows_ns = flow.windows_ns();
    StreamOutline {
        name: of.name.clone(),
        topic: of.topic.clone(),
        format: of.format.stored_as(),
        event_time: of.event_time.clone(),
        lateness_ns: of.rules.lateness_ns,
        idle_ns: of.rules.idle_ns,
        partition_key: of.partition_key.clone(),
        decoded: flow.columns.clone(),
        columns_total: of.columns.fields().len(),
        recovery: match windows_ns {
            0 => Recovery::Nothing,
            _ if flow.keeps_panes() => Recovery::Panes { windows_ns, replay_max_ns: of.replay_max_ns },
            _ => Recovery::Records { windows_ns },
        },
        panes: (0..flow.panes.len()).map(|index| panes(flow, index, dataflow)).collect(),
        inserts: flow.inserts.iter().map(|of| insert(of, flow)).collect(),
        sent_by: flow.shuffle.iter().flat_map(|shuffle| shuffle.streams.iter().cloned()).collect(),
    }
}

fn view_outlines(flow: &StreamFlow, views: &[usize]) -> Vec<ViewOutline> {
    let outline = |&index: &usize| {
        let view = &flow.views[index];
        let (slide_ns, size_ns) = (view.hop.slide_ns(), view.hop.size_ns());
        ViewOutline { index, name: view.name.clone(), slide_ns, size_ns, session_max_ns: view.hop.session_max_ns() }
    };
    views.iter().map(outline).collect()
}

fn panes(flow: &StreamFlow, index: usize, dataflow: &Dataflow) -> PanesOutline {
    let shared = &flow.panes[index];
    // Who sends has no views of its own: they are where it is sent.
    let owner = match &shared.ship {
        None => Some((flow, shared)),
        Some(ship) => {
            let to = dataflow.streams.iter().find(|flow| flow.stream.topic == ship.topic);
            to.and_then(|to| Some((to, to.panes.get(ship.panes)?)))
        }
    };
    let of: Vec<&WindowedView> =
        owner.map_or_else(Vec::new, |(flow, panes)| panes.views.iter().map(|&view| &flow.views[view]).collect());
    let first = of.first().map(|view| &view.aggregate);
    let mut plain = plain_of(flow, index);
    let text = |expressions: &[Expr]| -> Vec<String> {
        expressions.iter().map(|expression| plain.expression(expression)).collect()
    };
    let keys = first.map_or_else(Vec::new, |aggregate| text(&aggregate.group_expr));
    let mut aggregates: Vec<String> = Vec::new();
    for name in of.iter().flat_map(|view| text(&view.aggregate.aggr_expr)) {
        if !aggregates.contains(&name) {
            aggregates.push(name);
        }
    }
    let source = match &shared.source {
        PanesSource::Stream(_) => PanesFrom::Stream,
        PanesSource::Windows(_) => PanesFrom::Windows,
        PanesSource::Shipped => PanesFrom::Sent,
    };
    PanesOutline {
        below: match source {
            PanesFrom::Sent => Vec::new(),
            _ => first.map_or_else(Vec::new, |aggregate| plain.steps(&aggregate.input)),
        },
        sent_to: shared.ship.as_ref().map(|ship| {
            let without_window: Vec<&String> = keys
                .iter()
                .enumerate()
                .filter(|(index, _)| of.first().is_none_or(|view| view.window_index != *index))
                .map(|(_, key)| key)
                .collect();
            let by = ship.key.iter().filter_map(|&key| without_window.get(key)).map(|key| (*key).clone());
            (ship.topic.clone(), by.collect())
        }),
        keys,
        aggregates,
        views: owner.map_or_else(Vec::new, |(flow, panes)| view_outlines(flow, &panes.views)),
        panes_per_window: shared.panes_max(),
        bytes_per_key: bytes_per_key(shared),
        source,
        over: match &shared.source {
            PanesSource::Windows(rows) => view_outlines(flow, &rows.views),
            PanesSource::Stream(_) | PanesSource::Shipped => Vec::new(),
        },
    }
}

/// Names for the windows that are computed before these panes.
fn plain_of(flow: &StreamFlow, panes: usize) -> Plain {
    let mut plain = Plain::default();
    for &view in flow.panes[..panes].iter().flat_map(|panes| &panes.views) {
        let view = &flow.views[view];
        plain.add(&view.aggregate, view.name.as_deref().unwrap_or(UNNAMED));
    }
    plain
}

fn insert(insert: &Insert, flow: &StreamFlow) -> InsertOutline {
    let (views, above) = match &insert.query {
        Query::Rows(program) => (Vec::new(), Plain::default().steps(program.logical())),
        Query::Windows { views, template, .. } => {
            let views = view_outlines(flow, views);
            let called = views.iter().map(|view| view.called().to_owned());
            let mut plain = plain_of(flow, flow.panes.len()).over(called.collect());
            (views, plain.steps(template.logical()))
        }
    };
    let model = |model: &Arc<amoskys_functions::model::Model>| format!("{} {}", model.name, model.version);
    InsertOutline {
        name: insert.name.clone(),
        topic: insert.sink.as_ref().map(|sink| sink.topic.clone()),
        views,
        above,
        models: insert.models.iter().map(model).collect(),
    }
}

/// Measured: what [`SAMPLE_KEYS`] keys with a row each take in a pane, for each. `None` where what rows are made of is
/// not known here, as of panes that others sent.
fn bytes_per_key(shared: &SharedPanes) -> Option<usize> {
    let schema: Arc<Schema> = match &shared.source {
        PanesSource::Stream(program) => Arc::new(program.output.as_arrow().clone()),
        PanesSource::Windows(rows) => rows.template.schema(),
        PanesSource::Shipped => return None,
    };
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..SAMPLE_KEYS));
    let sample = |data_type: &DataType| match cast(&numbers, data_type) {
        Ok(values) => values,
        Err(_) => new_null_array(data_type, numbers.len()),
    };
    let keys: Vec<ArrayRef> = shared.key_schema.fields().iter().map(|field| sample(field.data_type())).collect();
    let columns: Option<Vec<ArrayRef>> =
        shared.columns.iter().map(|column| column.data_type(&schema).ok().map(|of| sample(&of))).collect();
    let mut operator = shared.operator(PaneBounds::NONE, i64::MIN).ok()?;
    let rows = numbers.len();
    let (times_ns, watermarks_ns, record_of_row) = (vec![0; rows], vec![i64::MIN; rows], vec![0; rows]);
    let rows = Rows {
        times_ns: &times_ns,
        watermarks_ns: &watermarks_ns,
        record_of_row: &record_of_row,
        records: &[Origin::from(ReplayPoint { offset: 0, watermark: Watermark::default() })],
        keys: &keys,
        columns: &columns?,
    };
    operator.push(&rows, i64::MIN, &mut Vec::new()).ok()?;
    Some(operator.bytes().div_ceil(SAMPLE_KEYS as usize))
}
