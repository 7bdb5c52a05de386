//! What a folder of SQL files amounts to: per stream, the windowed views that are kept and the INSERTs they feed.

use super::{
    Annotations, Failures, Probe, Problem, Ship, Shuffle, Sink, StateBounds, Stream, Template, Together,
    lineage::Bound, rowwise::RowProgram, statics::StaticTable,
};
use amoskys_bus::TopicSpec;
use amoskys_functions::model::Model;
use amoskys_windows::{Aggregate, Alike, ClosedWindow, Hop, Origin, Output, PaneBounds, WindowError, WindowOperator};
use arrow::{
    array::{ArrayRef, Int64Array, StructArray, TimestampNanosecondArray},
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};
use datafusion::{logical_expr, physical_expr::PhysicalExpr};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

/// All that the SQL says, ready to run by one worker (slots make it that worker's own).
#[derive(Debug)]
pub struct Dataflow {
    pub streams: Vec<StreamFlow>,
    /// What planned, but may not be what was meant; in the order of files and places.
    pub warnings: Vec<Problem>,
    /// What was asked why of, from the streams to the result.
    pub probes: Vec<Probe>,
}

/// One stream and what is computed from it.
#[derive(Debug)]
pub struct StreamFlow {
    pub stream: Stream,
    /// Columns that are decoded: those that any program uses, and the event time.
    pub columns: Vec<String>,
    /// Whether a program asks for [`LATE_COLUMN`](super::LATE_COLUMN).
    pub tells_late: bool,
    /// Each after those that it is over.
    pub views: Vec<WindowedView>,
    /// Each after those that its rows come from.
    pub panes: Vec<SharedPanes>,
    pub inserts: Vec<Insert>,
    /// Of a flow whose records are panes that others sent: who does.
    pub shuffle: Option<Shuffle>,
    /// Files that it joins with; shared with the other flows that were planned together.
    pub statics: Vec<Arc<StaticTable>>,
    /// Digests of the fitted statistics that its SQL names.
    pub(super) fitted: BTreeSet<String>,
    /// What its expressions could not be computed for; one for all flows that were planned together.
    pub failures: Arc<Failures>,
}

/// An aggregate over a sliding window, shared by all INSERTs that contain it.
#[derive(Debug)]
pub struct WindowedView {
    /// Of the view that it stands in, the first of several; absent where it stands in an INSERT.
    pub name: Option<String>,
    pub hop: Hop,
    /// What was cut out of the query.
    pub(super) aggregate: logical_expr::Aggregate,
    /// What it stands in, and where that is.
    pub(super) query: String,
    /// Which of its key columns decide where its groups are sent; `None` where they stay in their partition.
    pub(super) shuffle_key: Option<Vec<usize>>,
    /// Group columns, the window among them, then aggregates.
    pub output: SchemaRef,
    /// Where the window stands among the group columns.
    pub window_index: usize,
    /// How far the watermark has to be past a window's end before all of its rows have come: nothing over a stream, the
    /// size of the windows below where it is over their starts.
    pub delay_ns: i64,
    /// Columns of `output` that are `shed_rows()`.
    pub(super) shed_columns: Vec<usize>,
}

/// Views whose rows go into the same panes: equal rows, equal keys, windows that lie on one grid.
#[derive(Debug)]
pub struct SharedPanes {
    /// Indices into [`StreamFlow::views`], one for each of `outputs`; none of panes that are sent away.
    pub views: Vec<usize>,
    /// Where they are sent.
    pub ship: Option<Ship>,
    pub outputs: Vec<Output>,
    pub source: PanesSource,
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    pub key_schema: SchemaRef,
    /// Arguments and filters of the aggregates, each once.
    pub columns: Vec<Arc<dyn PhysicalExpr>>,
    /// Of all views, each once.
    pub aggregates: Vec<Aggregate>,
}

/// Where rows come from that are put into panes.
#[derive(Debug)]
pub enum PanesSource {
    Stream(RowProgram),
    Windows(WindowRows),
    /// Panes that the partitions of a stream sent.
    Shipped,
}

/// Rows of other views' windows, as each of them closes.
#[derive(Debug)]
pub struct WindowRows {
    /// Indices into [`StreamFlow::views`], one for each slot of the template; all of one window.
    pub views: Vec<usize>,
    pub template: Template,
    /// The event time of the rows: a bound of the window that they are of.
    pub time: Bound,
    /// That of the views over these rows.
    pub delay_ns: i64,
}

/// One `INSERT INTO`, or a view that is collected.
#[derive(Debug)]
pub struct Insert {
    pub name: String,
    pub file: PathBuf,
    /// `None`: rows are handed to the caller.
    pub sink: Option<Sink>,
    pub annotations: Annotations,
    /// Lower-case hex of BLAKE3 over the text of this statement and of all that it reads.
    pub sql_hash: String,
    pub models: Vec<Arc<Model>>,
    pub query: Query,
    pub output: SchemaRef,
    /// Columns of `output` that the SELECT did not ask for: values of the features that its contributions are about.
    pub explained: Vec<String>,
}

/// What an INSERT's rows are computed by.
#[derive(Debug)]
pub enum Query {
    /// Row by row.
    Rows(RowProgram),
    /// Once per closed window, from these views of the stream.
    Windows {
        views: Vec<usize>,
        template: Template,
        /// Of sessions, where rows are taken one by one: the same for all that close together.
        together: Option<Together>,
    },
}

impl Query {
    /// The columns, of which more may be null than the SQL says: what cannot be computed is.
    pub(super) fn may_be_null_in(&self, output: &SchemaRef) -> SchemaRef {
        let actual = match self {
            Self::Rows(program) => program.output.inner().clone(),
            Self::Windows { template, .. } => template.schema(),
        };
        let fields = output.fields().iter().zip(actual.fields()).map(|(field, actual)| {
            Arc::new(field.as_ref().clone().with_nullable(field.is_nullable() || actual.is_nullable()))
        });
        Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), output.metadata().clone()))
    }
}

impl Dataflow {
    /// Topics that are read and written.
    pub fn topics(&self) -> BTreeSet<&str> {
        let read = self.streams.iter().map(|flow| flow.stream.topic.as_str());
        read.chain(self.written_topics()).collect()
    }

    /// Topics that are written, as often as INSERTs do.
    pub fn written_topics(&self) -> impl Iterator<Item = &str> {
        let sinks = self.streams.iter().flat_map(|flow| &flow.inserts).filter_map(|insert| insert.sink.as_ref());
        sinks.filter(|sink| !sink.format.is_file()).map(|sink| sink.topic.as_str())
    }

    /// INSERTs into files.
    pub fn into_files(&self) -> impl Iterator<Item = (&Insert, &Sink)> {
        let inserts = self.streams.iter().flat_map(|flow| &flow.inserts);
        inserts.filter_map(|insert| Some((insert, insert.sink.as_ref().filter(|sink| sink.format.is_file())?)))
    }

    /// Files that are joined with, each once. The same file comes twice where flows that read it were planned at different times.
    pub fn statics(&self) -> Vec<&Arc<StaticTable>> {
        let mut found: Vec<&Arc<StaticTable>> = Vec::new();
        for table in self.streams.iter().flat_map(|flow| &flow.statics) {
            if !found.iter().any(|other| Arc::ptr_eq(other, table)) {
                found.push(table);
            }
        }
        found
    }

    /// How many streams there are, and how many topics groups are sent through, in words.
    pub fn summary(&self) -> String {
        let shuffles = self.shuffle_topics().len();
        let words = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let streams = words(self.streams.len() - shuffles, "stream");
        if shuffles == 0 { streams } else { format!("{streams}, {}", words(shuffles, "shuffle")) }
    }

    /// Whether any stream's windows are kept in a topic of their own.
    pub fn keeps_panes(&self) -> bool {
        self.streams.iter().any(StreamFlow::keeps_panes)
    }

    /// Puts other topics in the place of those that the SQL names, for reading and writing alike. What the records
    /// hold was told by the SQL's names, and the hash is that of the SQL.
    pub fn rename_topics(&mut self, name: &dyn Fn(&str) -> String) {
        for flow in &mut self.streams {
            flow.stream.topic = name(&flow.stream.topic);
            let sinks = flow.inserts.iter_mut().filter_map(|insert| insert.sink.as_mut());
            for sink in sinks.filter(|sink| !sink.format.is_file()) {
                sink.topic = name(&sink.topic);
            }
            for ship in flow.panes.iter_mut().filter_map(|panes| panes.ship.as_mut()) {
                ship.topic = name(&ship.topic);
            }
            for source in flow.shuffle.iter_mut().flat_map(|shuffle| shuffle.sources.iter_mut().flatten()) {
                source.topic = name(&source.topic);
            }
        }
    }

    /// Topics that groups are sent through, which are a group's own: `amoskys.shuffle.GROUP.STREAMS.v1`.
    pub fn shuffle_topics(&self) -> BTreeSet<&str> {
        let shuffled = self.streams.iter().filter(|flow| flow.shuffle.is_some());
        shuffled.map(|flow| flow.stream.topic.as_str()).collect()
    }

    /// Gives them the names that they have in a consumer group.
    pub fn name_shuffles(&mut self, group: &str) {
        let names: BTreeMap<String, String> = self
            .streams
            .iter()
            .filter_map(|flow| Some((flow.stream.topic.clone(), shuffle_topic(group, &flow.shuffle.as_ref()?.name))))
            .collect();
        self.rename_topics(&|topic| names.get(topic).cloned().unwrap_or_else(|| topic.to_owned()));
    }
}

/// A legal name; one that would be too long, or is of letters that no topic may have, is a digest.
fn shuffle_topic(group: &str, streams: &str) -> String {
    let name = format!("amoskys.shuffle.{group}.{streams}.v1");
    if TopicSpec::is_name(&name) {
        return name;
    }
    format!("amoskys.shuffle.{}.v1", &blake3::hash(name.as_bytes()).to_hex()[..32])
}

impl WindowRows {
    /// The event time of the rows of a window.
    pub fn time_ns(&self, start_ns: i64, end_ns: i64) -> i64 {
        match self.time {
            Bound::Start => start_ns,
            Bound::End => end_ns,
        }
    }
}

impl StreamFlow {
    /// The bounds of each pane: an equal share for all panes of open windows, of all views. Panes ahead of the watermark
    /// are not known beforehand; one more for each view is counted for them.
    pub fn pane_bounds(&self) -> PaneBounds {
        let StateBounds { keys_max, state_bytes_max } = self.stream.bounds;
        let panes: usize = self.panes.iter().map(|panes| panes.panes_held() + 1).sum();
        PaneBounds { keys_max, bytes_max: state_bytes_max / panes.max(1) }
    }
}

impl StreamFlow {
    /// How long after a row it may still count: that of the longest window and those below it, nanoseconds.
    pub fn windows_ns(&self) -> i64 {
        self.views.iter().map(|view| view.hop.reach_ns().saturating_add(view.delay_ns)).max().unwrap_or(0)
    }

    /// How long before the watermark a row may be that is in an open window of any view, or in one that such a window is over,
    /// nanoseconds.
    pub fn reach_ns(&self) -> i64 {
        // Those that a view is over come before it.
        let mut below_ns = vec![0; self.views.len()];
        for panes in &self.panes {
            let PanesSource::Windows(rows) = &panes.source else { continue };
            let reach = |&view: &usize| self.views[view].hop.reach_ns().saturating_add(below_ns[view]);
            let reach_ns = rows.views.iter().map(reach).max().unwrap_or(0);
            panes.views.iter().for_each(|&view| below_ns[view] = reach_ns);
        }
        let reach = |(view, below_ns): (&WindowedView, &i64)| {
            view.hop.reach_ns().saturating_add(view.delay_ns).saturating_add(*below_ns)
        };
        self.views.iter().zip(&below_ns).map(reach).max().unwrap_or(0)
    }

    /// How long before the watermark a row may be that is held here, for an open window or to be sent, nanoseconds; none where nothing is
    /// held.
    pub fn held_ns(&self) -> Option<i64> {
        let shipped = self.panes.iter().filter(|panes| panes.ship.is_some()).flat_map(|panes| &panes.outputs);
        let own = (!self.views.is_empty()).then(|| self.reach_ns());
        own.into_iter().chain(shipped.map(|output| output.hop.reach_ns())).max()
    }

    /// Topics that groups are sent through from here.
    pub fn ship_topics(&self) -> BTreeSet<&str> {
        self.panes.iter().filter_map(|panes| panes.ship.as_ref()).map(|ship| ship.topic.as_str()).collect()
    }

    /// Whether other partitions wait for what becomes of this one's.
    pub fn ships(&self) -> bool {
        self.panes.iter().any(|panes| panes.ship.is_some())
    }

    /// Whether what its windows hold is kept, because too much would have to be read again.
    pub fn keeps_panes(&self) -> bool {
        self.windows_ns() > self.stream.replay_max_ns
    }

    /// For each of the panes the first that an open window is left for when the watermark is there.
    pub fn first_open_panes(&self, watermark_ns: i64) -> Vec<Option<i64>> {
        let first = |shared: &SharedPanes| {
            let operator = shared.operator(PaneBounds::NONE, behind(watermark_ns, shared.delay_ns())).ok()?;
            operator.first_open_pane()
        };
        self.panes.iter().map(first).collect()
    }

    /// Which windows are kept of the stream; positions that were committed with others do not say where these begin.
    pub fn windows_digest(&self) -> u64 {
        short_digest(&self.panes_description())
    }

    /// What it sends through topics, or takes from one, by a digest of the topic's name.
    pub fn sent(&self) -> BTreeMap<String, String> {
        let ships = self.panes.iter().filter_map(|panes| panes.ship.as_ref());
        let ships = ships.map(|ship| (topic_digest(&ship.topic), ship.digest.clone()));
        let sources = self.shuffle.iter().flat_map(|shuffle| shuffle.sources.iter().flatten());
        let merged = sources.map(|source| (topic_digest(&self.stream.topic), source.digest.clone()));
        ships.chain(merged).collect()
    }

    /// Whether it computes the same from the same records, and writes it to the same places.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.definition() == other.definition()
    }

    fn definition(&self) -> String {
        let shuffle = self.shuffle.as_ref().map(|shuffle| &shuffle.name);
        let mut words = format!(
            "{}\n{:?} {} {shuffle:?}\n{}",
            self.stream.definition(),
            self.columns,
            self.tells_late,
            self.panes_description()
        );
        for insert in &self.inserts {
            let sink = insert.sink.as_ref().map(Stream::definition);
            let models: Vec<&str> = insert.models.iter().map(|model| model.sha256.as_str()).collect();
            let Insert { name, sql_hash, annotations, explained, .. } = insert;
            words.push_str(&format!("\n{name} {sql_hash} {annotations:?} {explained:?} {models:?} {sink:?}"));
        }
        words
    }

    /// All that decides what panes hold, in words: who finds the same can go on with them.
    pub fn panes_description(&self) -> String {
        let Stream { rules, bounds, replay_max_ns, event_time, .. } = &self.stream;
        let mut words = format!("{rules:?} {bounds:?} {replay_max_ns} {event_time:?} {:?}", self.fitted);
        self.statics.iter().for_each(|table| words.push_str(&format!("\n{}", table.definition())));
        for shared in &self.panes {
            words.push_str(&format!("\n{:?} {:?}", shared.outputs, shared.ship));
            for &view in &shared.views {
                words.push_str(
                    &logical_expr::LogicalPlan::Aggregate(self.views[view].aggregate.clone())
                        .display_indent_schema()
                        .to_string(),
                );
            }
        }
        words
    }
}

/// What a topic is called in [`StreamFlow::sent`].
pub(crate) fn topic_digest(topic: &str) -> String {
    format!("{:08x}", short_digest(topic) as u32)
}

fn short_digest(words: &str) -> u64 {
    let hash = blake3::hash(words.as_bytes());
    hash.as_bytes()[..8].iter().fold(0, |digest, byte| digest << 8 | u64::from(*byte))
}

/// A watermark, delayed; the ends of time stay what they are.
pub fn behind(watermark_ns: i64, delay_ns: i64) -> i64 {
    if watermark_ns == i64::MAX { watermark_ns } else { watermark_ns.saturating_sub(delay_ns) }
}

impl SharedPanes {
    /// How far the watermark has to be past the end of a window of theirs.
    pub fn delay_ns(&self) -> i64 {
        match &self.source {
            PanesSource::Stream(_) | PanesSource::Shipped => 0,
            PanesSource::Windows(rows) => rows.delay_ns,
        }
    }

    /// Windows that end at or before `closed_through_ns` are closed already.
    pub fn operator(&self, bounds: PaneBounds, closed_through_ns: i64) -> Result<WindowOperator, WindowError> {
        let (outputs, aggregates) = (self.outputs.clone(), self.aggregates.clone());
        let operator = WindowOperator::new(outputs, self.key_schema.clone(), aggregates, bounds, closed_through_ns)?;
        Ok(if self.ship.is_some() { operator.shipping() } else { operator })
    }

    /// Panes that hold rows at once, of one window: of sessions that which is filled, the one before it, and what is open, which has
    /// the keys of one.
    fn panes_held(&self) -> usize {
        if self.is_of_sessions() { 3 } else { self.panes_max() }
    }

    pub fn is_of_sessions(&self) -> bool {
        self.outputs.iter().any(|output| output.hop.session_panes().is_some())
    }

    /// Panes of the longest window.
    pub fn panes_max(&self) -> usize {
        let panes = |hop: &Hop| {
            if let Some(panes) = hop.session_panes() {
                return usize::try_from(panes).unwrap_or(usize::MAX);
            }
            let steps = usize::try_from(hop.size_ns() / hop.slide_ns()).unwrap_or(usize::MAX);
            if hop.size_ns() % hop.slide_ns() == 0 { steps } else { 2 * steps + 1 }
        };
        self.outputs.iter().map(|output| panes(&output.hop)).max().unwrap_or(1)
    }
}

impl WindowedView {
    /// A closed window, or sessions that are over, as the query above sees it.
    pub fn batch(&self, window: &ClosedWindow) -> Result<RecordBatch, ArrowError> {
        let time = |whole_ns: i64, of: fn(&Alike) -> i64| -> ArrayRef {
            Arc::new(TimestampNanosecondArray::from(each(window, whole_ns, of)))
        };
        let bounds = StructArray::try_new(
            amoskys_functions::window::window_fields(),
            vec![time(window.start_ns, |of| of.start_ns), time(window.end_ns, |of| of.end_ns)],
            None,
        )?;
        let mut arrays = window.keys.clone();
        arrays.insert(self.window_index, Arc::new(bounds));
        arrays.extend(window.values.iter().cloned());
        for &column in &self.shed_columns {
            let shed_rows = |origin: &Origin| i64::try_from(origin.shed_rows).unwrap_or(i64::MAX);
            let shed_rows = each(window, shed_rows(&window.origin), |of| shed_rows(&of.origin));
            arrays[column] = Arc::new(Int64Array::from(shed_rows));
        }
        RecordBatch::try_new(self.output.clone(), arrays)
    }

    pub fn empty(&self) -> RecordBatch {
        RecordBatch::new_empty(self.output.clone())
    }
}

/// For each row what is true of the window, or of its session.
fn each(window: &ClosedWindow, whole: i64, of: impl Fn(&Alike) -> i64) -> Vec<i64> {
    if window.sessions.is_empty() {
        return vec![whole; window.rows];
    }
    window.sessions.iter().flat_map(|alike| std::iter::repeat_n(of(alike), alike.rows)).collect()
}
