//! The same dataflow over files: bounded, every window closed at the end.
//!
//! Rows are taken in the order of `_partition` and `_offset` where the files have them (as exports of a topic do), else
//! in the files' order as one partition. `_log_time` drives the idle and quarantine rules as it does live.
//! An envelope that comes twice counts once, as it does live, where the files have `agent_id`, `boot_id`, `sequence`.
//! Partitions are independent: each thread takes the next, and what they give is handed over in their order, so that it
//! is the same with any number of threads. Groups that are sent to other partitions live are merged in one here, after
//! all of their streams.
//! Limits: memory is bounded but for what is sent to other partitions ([`sent`]); a partition is done by one thread, and so
//! are all of a stream that has to be sorted.

mod files;
mod lines;
mod order;
mod partition;
mod progress;
mod reader;
mod records;
mod sent;
mod shape;
mod sorted;
mod turns;

use super::{
    emit::Emission,
    near_keys,
    task::{TaskCounters, TaskError},
};
use crate::sql::{Dataflow, Failure, Failures, StreamFlow};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use files::{FileFormat, HistoryFile};
pub use lines::DeadRow;
use order::{OfLog, Order, Segment, order};
use partition::PartitionRun;
pub use progress::Progress;
use reader::{Reader, names};
use sent::{Sent, run_shuffle};
use shape::{OFFSET, Shape, column_of_log};
use sorted::Sorting;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{AddAssign, ControlFlow},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use turns::Turn;

/// Files, folders and globs by the name of the stream they stand for. Parquet, Arrow IPC, JSON lines and CSV, told by
/// the endings of their names; `name=value` folders are columns.
pub type History = BTreeMap<String, Vec<PathBuf>>;

/// What to run, besides files.
#[derive(Debug, Clone)]
pub struct HistoryOptions {
    /// Only these partitions; all when absent.
    pub partitions: Option<BTreeSet<i32>>,
    /// Rows are sorted by event time, where their files do not say which offsets they had.
    pub sort_by_time: bool,
    /// Files that are in no order are sorted in this; what is more goes through files of the system's temporary folder.
    pub sort_memory_bytes_max: usize,
    pub progress: Progress,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self { partitions: None, sort_by_time: false, sort_memory_bytes_max: 512 << 20, progress: Progress::default() }
    }
}

/// What became of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryCounts {
    pub rows: u64,
    pub late_rows: u64,
    pub quarantined_rows: u64,
    pub rows_without_time: u64,
    pub shed_rows: u64,
    /// Envelopes that came before.
    pub duplicate_records: u64,
    /// Values of another type than their columns', which are null by `on_error`.
    pub nulled_values: u64,
    /// Records that do not decode, which a processor would send to the dead-letter topic.
    pub dead_records: u64,
    /// The first of them.
    pub dead: Vec<DeadRow>,
    pub closed_windows: u64,
    /// Expressions that could not be computed for some rows.
    pub failures: Vec<Failure>,
}

impl AddAssign<&TaskCounters> for HistoryCounts {
    fn add_assign(&mut self, of: &TaskCounters) {
        self.rows += of.rows;
        self.late_rows += of.late_rows;
        self.quarantined_rows += of.quarantined_rows;
        self.rows_without_time += of.rows_without_time;
        self.shed_rows += of.shed_rows;
        self.duplicate_records += of.duplicate_records;
        self.closed_windows += of.closed_windows;
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("`{name}` is read by no view that is asked for; streams are {known}")]
    UnknownStream { name: String, known: String },
    #[error("stream `{name}` has no file; add --from {name}=FILE")]
    Missing { name: String },
    #[error(
        "stream `{name}` has no file, and its topic is what INSERTs of these files write: run those first by --view \
         {name} --output {name}.jsonl, and add --from {name}={name}.jsonl"
    )]
    Fed { name: String },
    #[error("groups of `{name}` come from all partitions, so that no share of these can be run by itself")]
    Shuffled { name: String },
    #[error("{path}: {detail}")]
    File { path: PathBuf, detail: String },
    #[error("stream `{name}`: {detail}")]
    Stream { name: String, detail: String },
    #[error("sorting the rows failed: {0}")]
    Sort(String),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error("{0}")]
    Arrow(#[from] ArrowError),
}

impl HistoryError {
    /// What DataFusion hands through is taken out again.
    fn of(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(other) => Self::Sort(other.to_string()),
            },
            DataFusionError::Context(_, inner) => Self::of(*inner),
            error => Self::Sort(error.to_string()),
        }
    }

    /// What was asked for is wrong, not what was done.
    pub fn is_misuse(&self) -> bool {
        !matches!(self, Self::Task(_) | Self::Arrow(_) | Self::Sort(_))
    }
}

const BATCH_ROWS: usize = 8192;

/// What a thread does at once.
enum Job {
    Partition {
        input: usize,
        partition: i32,
        segments: Vec<Segment>,
    },
    /// All partitions of a stream, after sorting it.
    Sorted {
        input: usize,
    },
}

/// A stream and its files.
struct Input {
    flow: usize,
    files: Vec<HistoryFile>,
    shape: Arc<Shape>,
    of_log: OfLog,
}

/// Runs the dataflow over the files. Emissions are handed over, with their flow's index, as windows close, partition by
/// partition; [`ControlFlow::Break`] ends the run.
///
/// `dataflows`: the same plan for each thread that may be used, at least one.
pub fn run_history(
    dataflows: &[Dataflow],
    history: &History,
    options: &HistoryOptions,
    on_emission: &mut dyn FnMut(usize, Emission) -> ControlFlow<()>,
) -> Result<HistoryCounts, HistoryError> {
    let (inputs, jobs) = match dataflows.first() {
        Some(dataflow) => plan(dataflow, history, options)?,
        None => return Ok(HistoryCounts::default()),
    };
    let turns: Vec<Turn> = jobs.iter().map(|_| Turn::default()).collect();
    let (next, counts, failures) = (AtomicUsize::new(0), Mutex::new(HistoryCounts::default()), Failures::default());
    let all_sent: Vec<Mutex<Sent>> = jobs.iter().map(|_| Mutex::default()).collect();
    let threads = dataflows.len().min(jobs.len());
    let ended = thread::scope(|scope| {
        for dataflow in &dataflows[..threads] {
            let (inputs, jobs, turns, all_sent) = (&inputs, &jobs, &turns, &all_sent);
            let (next, counts, failures) = (&next, &counts, &failures);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    let doing = Doing { dataflow, inputs, options, turn: &turns[index], counts, failures };
                    turns[index].work(|| {
                        let mut sent = Sent::default();
                        let result = doing.job(job, &mut sent);
                        *all_sent[index].lock().unwrap_or_else(PoisonError::into_inner) = sent;
                        result
                    });
                }
            });
        }
        let mut ended = Ok(ControlFlow::Continue(()));
        for turn in &turns {
            ended = turn.take(on_emission);
            if !matches!(ended, Ok(ControlFlow::Continue(()))) {
                // Jobs that wait, and those that nobody has begun.
                next.store(jobs.len(), Ordering::Relaxed);
                turns.iter().for_each(Turn::cancel);
                break;
            }
        }
        ended
    })?;
    let mut counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    counts.failures = failures.take();
    for input in &inputs {
        let (records, first) = input.shape.dead().rows.take();
        counts.dead_records += records;
        counts.nulled_values += input.shape.dead().take_nulled();
        counts.dead.extend(first);
    }
    if ended.is_break() {
        return Ok(counts);
    }
    let mut sent = Sent::default();
    all_sent.into_iter().for_each(|of| sent.append(of.into_inner().unwrap_or_else(PoisonError::into_inner)));
    for (index, flow) in dataflows[0].streams.iter().enumerate() {
        if let Some(shuffle) = &flow.shuffle {
            for emission in run_shuffle(flow, shuffle, &sent, &mut counts)? {
                if on_emission(index, emission).is_break() {
                    return Ok(counts);
                }
            }
        }
    }
    Ok(counts)
}

/// Finds the files and their order.
fn plan(
    dataflow: &Dataflow,
    history: &History,
    options: &HistoryOptions,
) -> Result<(Vec<Input>, Vec<Job>), HistoryError> {
    let of_rows = || dataflow.streams.iter().enumerate().filter(|(_, flow)| flow.shuffle.is_none());
    let known: Vec<&str> = of_rows().map(|(_, flow)| flow.stream.name.as_str()).collect();
    if let Some(name) = history.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(HistoryError::UnknownStream { name: name.clone(), known: known.join(", ") });
    }
    if let (Some(_), Some(flow)) = (&options.partitions, dataflow.streams.iter().find(|flow| flow.shuffle.is_some())) {
        let views = flow.inserts.iter().map(|insert| insert.name.as_str()).collect::<Vec<_>>();
        return Err(HistoryError::Shuffled { name: views.join("`, `") });
    }
    let (mut inputs, mut jobs) = (Vec::new(), Vec::new());
    let mut bytes_total = 0;
    for (flow, of) in of_rows() {
        let name = &of.stream.name;
        let Some(patterns) = history.get(name) else {
            if dataflow.written_topics().any(|topic| topic == of.stream.topic) {
                return Err(HistoryError::Fed { name: name.clone() });
            }
            let is_sent = |flow: &StreamFlow| flow.shuffle.as_ref().is_some_and(|of| of.streams.contains(name));
            if history.is_empty() || dataflow.streams.iter().any(is_sent) {
                return Err(HistoryError::Missing { name: name.clone() });
            }
            // What is computed of this stream alone is nothing to the others.
            tracing::warn!(
                "stream `{name}` has no file, and what is computed of it is left out; --from {name}=FILE adds it"
            );
            continue;
        };
        let files = files::find(patterns)?;
        bytes_total += files.iter().map(|file| file.bytes).sum::<u64>();
        let own = files.iter().map(names).collect::<Result<Vec<_>, _>>()?;
        let shape = Arc::new(Shape::of(of)?);
        if !own.iter().any(|names| shape.records(&|name| names.contains(name)).is_some()) {
            tell_missing(of, &files, &own);
        }
        let (order, of_log) = order(&files, &own)?;
        let input = inputs.len();
        match order {
            Order::Unordered => jobs.push(Job::Sorted { input }),
            Order::Ordered(_) if options.sorts_by_time(of, of_log) => jobs.push(Job::Sorted { input }),
            Order::Ordered(partitions) => {
                let wanted = partitions.into_iter().filter(|(partition, _)| options.wants(*partition));
                jobs.extend(wanted.map(|(partition, segments)| Job::Partition { input, partition, segments }));
            }
        }
        inputs.push(Input { flow, files, shape, of_log });
    }
    options.progress.set_total(bytes_total);
    Ok((inputs, jobs))
}

/// Columns that no file has, and would be null without a word. Of JSON the first records alone are known.
fn tell_missing(flow: &StreamFlow, files: &[HistoryFile], own: &[BTreeSet<String>]) {
    let all: BTreeSet<String> = own.iter().flatten().cloned().collect();
    let is_own = |name: &&str| flow.stream.columns.column_with_name(name).is_some();
    let of_path = |name: &str| files.iter().any(|file| file.constant(name).is_some());
    let wanted = flow.columns.iter().map(String::as_str).filter(is_own).filter(|name| !of_path(name));
    let missing: Vec<&str> = wanted.filter(|name| !all.contains(*name)).collect();
    let near = near_keys::near(missing.iter().copied(), &all);
    near.iter().for_each(|(column, key)| near_keys::tell(&flow.stream.name, column, key));
    let is_near = |column: &str| near.iter().any(|(known, _)| known == column);
    if files.iter().all(|file| file.format != FileFormat::JsonLines) {
        for column in missing.into_iter().filter(|column| !is_near(column)) {
            tracing::warn!(stream = flow.stream.name, column, "a column is in none of the files, and null");
        }
    }
}

impl HistoryOptions {
    fn sorts_by_time(&self, flow: &StreamFlow, of_log: OfLog) -> bool {
        self.sort_by_time && !of_log.offsets && flow.stream.event_time.is_some()
    }

    fn wants(&self, partition: i32) -> bool {
        self.partitions.as_ref().is_none_or(|wanted| wanted.contains(&partition))
    }
}

/// One thread at one job.
struct Doing<'a> {
    dataflow: &'a Dataflow,
    inputs: &'a [Input],
    options: &'a HistoryOptions,
    turn: &'a Turn,
    counts: &'a Mutex<HistoryCounts>,
    failures: &'a Failures,
}

impl Doing<'_> {
    fn job(&self, job: &Job, sent: &mut Sent) -> Result<(), HistoryError> {
        match job {
            Job::Partition { input, partition, segments } => {
                self.partition(&self.inputs[*input], *partition, segments, sent)
            }
            Job::Sorted { input } => self.sorted(&self.inputs[*input], sent),
        }
    }

    fn partition(
        &self,
        input: &Input,
        partition: i32,
        segments: &[Segment],
        sent: &mut Sent,
    ) -> Result<(), HistoryError> {
        let flow = &self.dataflow.streams[input.flow];
        let mut run = PartitionRun::new(flow, partition, input.of_log)?;
        let mut emissions = Vec::new();
        for segment in segments {
            let file = &input.files[segment.file];
            let mut reader = Reader::open(file, &input.shape, segment.rows.clone(), &self.options.progress)?;
            while let Some(batch) = reader.next_batch()? {
                run.push(&input.shape, &batch, sent, &mut emissions)?;
                self.options.progress.add_rows(batch.num_rows());
                if !self.turn.give(input.flow, &mut emissions) {
                    return Ok(());
                }
            }
        }
        self.finish(input, run, sent)
    }

    fn sorted(&self, input: &Input, sent: &mut Sent) -> Result<(), HistoryError> {
        let flow = &self.dataflow.streams[input.flow];
        let sorting = Sorting {
            files: input.files.clone(),
            shape: input.shape.clone(),
            by: match &flow.stream.event_time {
                Some(time) if self.options.sorts_by_time(flow, input.of_log) => Some(time.clone()),
                _ => input.of_log.offsets.then(|| column_of_log(OFFSET)),
            },
            memory_bytes_max: self.options.sort_memory_bytes_max,
            progress: self.options.progress.clone(),
        };
        let mut current: Option<(i32, PartitionRun<'_>)> = None;
        let mut emissions = Vec::new();
        sorting.run(&mut |partition, batch| {
            self.options.progress.add_rows(batch.num_rows());
            if !self.options.wants(partition) {
                return Ok(true);
            }
            if current.as_ref().is_none_or(|(last, _)| *last != partition) {
                if let Some((_, run)) = current.take() {
                    self.finish(input, run, sent)?;
                }
                current = Some((partition, PartitionRun::new(flow, partition, input.of_log)?));
            }
            if let Some((_, run)) = &mut current {
                run.push(&input.shape, &batch, sent, &mut emissions)?;
            }
            Ok(self.turn.give(input.flow, &mut emissions))
        })?;
        current.map_or(Ok(()), |(_, run)| self.finish(input, run, sent))
    }

    fn finish(&self, input: &Input, run: PartitionRun<'_>, sent: &mut Sent) -> Result<(), HistoryError> {
        let mut emissions = Vec::new();
        let (counters, failures) = run.finish(sent, &mut emissions)?;
        self.failures.add_all(failures);
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) += &counters;
        self.turn.give(input.flow, &mut emissions);
        Ok(())
    }
}
