//! What a folder of SQL files amounts to: per stream, the windowed views that are kept and the INSERTs they feed.

use super::{Sink, Stream, rowwise::RowProgram, slots::Slot};
use amoskys_functions::model::Model;
use amoskys_windows::{Aggregate, ClosedWindow, Hop, Output, WindowError, WindowOperator};
use arrow::{
    array::{ArrayRef, StructArray, TimestampNanosecondArray},
    compute::concat_batches,
    datatypes::SchemaRef,
    error::ArrowError,
    record_batch::RecordBatch,
};
use datafusion::{
    error::Result,
    execution::TaskContext,
    logical_expr,
    physical_expr::PhysicalExpr,
    physical_plan::{ExecutionPlan, collect, execution_plan::reset_plan_states},
};
use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc};

/// All that the SQL says, ready to run by one worker (slots make it that worker's own).
#[derive(Debug)]
pub struct Dataflow {
    pub streams: Vec<StreamFlow>,
}

/// One stream and what is computed from it.
#[derive(Debug)]
pub struct StreamFlow {
    pub stream: Stream,
    /// Columns that are decoded: those that any program uses, and the event time.
    pub columns: Vec<String>,
    pub views: Vec<WindowedView>,
    pub panes: Vec<SharedPanes>,
    pub inserts: Vec<Insert>,
}

/// An aggregate over a sliding window, shared by all INSERTs that contain it.
#[derive(Debug)]
pub struct WindowedView {
    pub hop: Hop,
    /// What was cut out of the query.
    pub(super) aggregate: logical_expr::Aggregate,
    /// Group columns, the window among them, then aggregates.
    pub output: SchemaRef,
    /// Where the window stands among the group columns.
    pub window_index: usize,
}

/// Views whose rows go into the same panes: equal rows, equal keys, windows that lie on one grid.
#[derive(Debug)]
pub struct SharedPanes {
    /// Indices into [`StreamFlow::views`], one for each of `outputs`.
    pub views: Vec<usize>,
    pub outputs: Vec<Output>,
    pub program: RowProgram,
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    pub key_schema: SchemaRef,
    /// Arguments and filters of the aggregates, each once.
    pub columns: Vec<Arc<dyn PhysicalExpr>>,
    /// Of all views, each once.
    pub aggregates: Vec<Aggregate>,
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
    Windows { views: Vec<usize>, template: Template },
}

/// From the comments above a statement: `-- key: text`, continued on lines that start with two more spaces or have
/// no key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    pub title: Option<String>,
    pub technique: Option<String>,
    pub false_positives: Option<String>,
    pub next_steps: Option<String>,
}

/// A plan that was planned once and is executed per window over slots.
pub struct Template {
    plan: Arc<dyn ExecutionPlan>,
    slots: Vec<Arc<Slot>>,
    context: Arc<TaskContext>,
}

impl Dataflow {
    /// Topics that are read and written.
    pub fn topics(&self) -> BTreeSet<&str> {
        let read = self.streams.iter().map(|flow| flow.stream.topic.as_str());
        let sinks = self.streams.iter().flat_map(|flow| &flow.inserts).filter_map(|insert| insert.sink.as_ref());
        read.chain(sinks.map(|sink| sink.topic.as_str())).collect()
    }

    /// Puts other topics in the place of those that the SQL names, for reading and writing alike. What the records
    /// hold was told by the SQL's names, and the hash is that of the SQL.
    pub fn rename_topics(&mut self, name: &dyn Fn(&str) -> String) {
        for flow in &mut self.streams {
            flow.stream.topic = name(&flow.stream.topic);
            for sink in flow.inserts.iter_mut().filter_map(|insert| insert.sink.as_mut()) {
                sink.topic = name(&sink.topic);
            }
        }
    }
}

impl SharedPanes {
    /// Windows that end at or before `closed_through_ns` are closed already.
    pub fn operator(&self, closed_through_ns: i64) -> Result<WindowOperator, WindowError> {
        WindowOperator::new(self.outputs.clone(), self.key_schema.clone(), self.aggregates.clone(), closed_through_ns)
    }
}

impl WindowedView {
    /// A closed window as the query above sees it.
    pub fn batch(&self, window: &ClosedWindow) -> Result<RecordBatch, ArrowError> {
        let time = |time_ns: i64| -> ArrayRef { Arc::new(TimestampNanosecondArray::from_value(time_ns, window.rows)) };
        let bounds = StructArray::try_new(
            amoskys_functions::window::window_fields(),
            vec![time(window.start_ns), time(window.end_ns)],
            None,
        )?;
        let mut arrays = window.keys.clone();
        arrays.insert(self.window_index, Arc::new(bounds));
        arrays.extend(window.values.iter().cloned());
        RecordBatch::try_new(self.output.clone(), arrays)
    }

    pub fn empty(&self) -> RecordBatch {
        RecordBatch::new_empty(self.output.clone())
    }
}

impl Template {
    pub(super) fn new(plan: Arc<dyn ExecutionPlan>, slots: Vec<Arc<Slot>>, context: Arc<TaskContext>) -> Self {
        Self { plan, slots, context }
    }

    /// Runs the plan over one batch per slot. All rows come in one batch, so that equal rows are told apart among all.
    pub fn run(&self, inputs: Vec<RecordBatch>) -> Result<RecordBatch> {
        for (slot, batch) in self.slots.iter().zip(inputs) {
            slot.fill(batch);
        }
        let plan = reset_plan_states(self.plan.clone())?;
        let batches = futures::executor::block_on(collect(plan, self.context.clone()))?;
        self.slots.iter().for_each(|slot| slot.fill(RecordBatch::new_empty(slot.schema().clone())));
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => Ok(batch),
            Err(batches) => Ok(concat_batches(&self.plan.schema(), &batches)?),
        }
    }
}

impl Annotations {
    pub fn parse(comments: &[String]) -> Self {
        let mut annotations = Self::default();
        let mut last: Option<&'static str> = None;
        for line in comments {
            let keyed = line.split_once(':').and_then(|(key, text)| Some((Self::key(key.trim())?, text.trim())));
            let (key, text) = match (keyed, last) {
                (Some((key, text)), _) => (key, text),
                (None, Some(key)) => (key, line.trim()),
                (None, None) => continue,
            };
            last = Some(key);
            let field = annotations.field(key);
            match field {
                Some(before) => {
                    before.push(' ');
                    before.push_str(text);
                }
                None => *field = Some(text.to_owned()),
            }
        }
        annotations
    }

    fn key(key: &str) -> Option<&'static str> {
        ["title", "technique", "false_positives", "next_steps"].into_iter().find(|known| *known == key)
    }

    fn field(&mut self, key: &str) -> &mut Option<String> {
        match key {
            "title" => &mut self.title,
            "technique" => &mut self.technique,
            "false_positives" => &mut self.false_positives,
            _ => &mut self.next_steps,
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_annotations() {
        let lines =
            ["what this is", "title: a title", "next_steps: look at it,", "then think", "technique: T1036, T1070.004"];
        let annotations = Annotations::parse(&lines.map(str::to_owned));
        assert_eq!(annotations.title.as_deref(), Some("a title"));
        assert_eq!(annotations.next_steps.as_deref(), Some("look at it, then think"));
        assert_eq!(annotations.technique.as_deref(), Some("T1036, T1070.004"));
        assert_eq!(annotations.false_positives, None);
    }
}
