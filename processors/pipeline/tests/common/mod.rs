//! What the pipeline's tests share: planning SQL from strings, records made by hand, emissions made comparable.
//!
//! No log and no clock: everything is a function of the records given.

// Each test file uses a part of this.
#![allow(dead_code)]

pub mod raw;

use amoskys_bus::Record;
use amoskys_functions::model::{Model, explanation_type};
use amoskys_pipeline::{
    run::{Checkpoint, DeadRecord, Emission, SnapshotReader, SnapshotRecord, Source, Task, Verify, shipment_records},
    sql::{Dataflow, Options, Problems, Query, Sources, StreamFlow, Wanted, WindowedView, plan},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Float64Builder, MapBuilder, StringBuilder},
    compute::cast,
    datatypes::{DataType, Float64Type},
    util::display::array_value_to_string,
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

pub const MS_NS: i64 = 1_000_000;
/// Log time of the first record, milliseconds; a whole minute, so that windows of seconds begin there.
pub const BASE_MS: i64 = 1_700_000_040_000;

/// A stream of JSON objects with an event time and a partition key.
pub const EVENTS: &str =
    "CREATE EXTERNAL TABLE ev (t TIMESTAMP, k VARCHAR, v DOUBLE, n BIGINT) STORED AS JSON LOCATION 'ev-topic'
OPTIONS (event_time 't', lateness '1s', idle '5s', partition_key 'k');";

/// Only `b` moved the score, by 0.25.
fn explain(features: &[ArrayRef]) -> Result<ArrayRef, String> {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for _ in 0..features[0].len() {
        map.keys().append_value("b");
        map.values().append_value(0.25);
        map.append(true).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(map.finish()))
}

/// `mean` wants `a` and `b` and answers their mean.
pub fn model(name: &str) -> Result<Arc<Model>, String> {
    if name != "mean" {
        return Err(format!("model `{name}` is not known; there are mean"));
    }
    let score = |features: &[ArrayRef]| -> Result<ArrayRef, String> {
        let column = |index: usize| cast(&features[index], &DataType::Float64).map_err(|error| error.to_string());
        let (a, b) = (column(0)?, column(1)?);
        let (a, b) = (a.as_primitive::<Float64Type>(), b.as_primitive::<Float64Type>());
        Ok(Arc::new(a.iter().zip(b.iter()).map(|(a, b)| Some((a? + b?) / 2.0)).collect::<Float64Array>()))
    };
    Ok(Arc::new(Model {
        name: "mean".into(),
        version: "7".into(),
        sha256: "ab12".into(),
        features: vec!["a".into(), "b".into()],
        score: Box::new(score),
        explain: Box::new(explain),
        explain_type: explanation_type(),
    }))
}

pub fn options() -> Options {
    Options {
        pool: amoskys_proto::pool().expect("the embedded contract"),
        models: Arc::new(model),
        wanted: Wanted::Inserts,
    }
}

/// Files given as (name, text).
pub fn sources(files: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::default();
    files.iter().for_each(|(name, text)| sources.add(Path::new(name), (*text).to_owned()));
    sources
}

/// Plans files given as (name, text).
pub fn plan_files(files: &[(&str, &str)]) -> Result<Dataflow, Problems> {
    plan(&sources(files), &options())
}

/// Plans SQL that must be good.
pub fn planned(files: &[(&str, &str)]) -> Dataflow {
    plan_files(files).unwrap_or_else(|problems| panic!("must plan: {problems}"))
}

/// A record of a partition, kept.
#[derive(Debug, Clone)]
pub struct Kept {
    pub offset: i64,
    pub log_ms: i64,
    pub payload: Vec<u8>,
}

impl Kept {
    pub fn record(&self) -> Record<'_> {
        Record {
            topic: "ev-topic",
            partition: 3,
            offset: self.offset,
            log_time_ms: self.log_ms,
            key: Some(b"key"),
            payload: &self.payload,
            headers: Vec::new(),
        }
    }
}

/// A JSON record of [`EVENTS`]; times in milliseconds after [`BASE_MS`].
pub fn json(offset: i64, log_ms: i64, time_ms: Option<i64>, key: &str, v: f64, n: i64) -> Kept {
    let time = time_ms.map_or("null".into(), |time_ms| ((BASE_MS + time_ms) * MS_NS).to_string());
    let payload = format!(r#"{{"t": {time}, "k": "{key}", "v": {v:?}, "n": {n}}}"#).into_bytes();
    Kept { offset, log_ms: BASE_MS + log_ms, payload }
}

/// What came out of a task so far.
#[derive(Default)]
pub struct Out {
    pub emissions: Vec<Emission>,
    pub dead: Vec<DeadRecord>,
}

pub fn task(flow: &StreamFlow, checkpoint: Checkpoint) -> Task {
    Task::new(flow, "ev-topic", 3, Verify::Off, checkpoint, None).expect("a task")
}

/// What a compacted topic would hold of one partition.
#[derive(Default)]
pub struct Compacted(BTreeMap<String, SnapshotRecord>);

impl Compacted {
    pub fn write(&mut self, records: Vec<SnapshotRecord>) {
        self.0.extend(records.into_iter().map(|record| (record.key.clone(), record)));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The task of a new owner, and the record that it reads first. What cannot be restored is read again.
    pub fn task(&self, flow: &StreamFlow, partition: i32, checkpoint: Checkpoint) -> (Task, i64) {
        let restored = checkpoint.mark.map(|mark| {
            let mut reader = SnapshotReader::default();
            for record in self.0.values() {
                let headers: Vec<(&str, &[u8])> =
                    record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                reader.push(&record.key, &headers, &record.payload);
            }
            reader.finish(flow, mark)
        });
        let is_there = !self.0.is_empty();
        let restored = restored.and_then(|restored| {
            assert_eq!(restored.is_ok(), is_there, "{:?}", restored.as_ref().err());
            restored.ok()
        });
        let from = if restored.is_some() { checkpoint.mark.map(|mark| mark.point.offset) } else { None };
        let task = Task::new(flow, "ev-topic", partition, Verify::Off, checkpoint, restored).expect("a task");
        (task, from.unwrap_or(checkpoint.replay.offset))
    }
}

pub fn flush(task: &mut Task, flow: &StreamFlow, out: &mut Out) {
    task.flush(flow, &mut out.emissions, &mut out.dead).expect("computes");
}

/// Pushes as the worker does: what was pushed before the end of replay is computed first.
pub fn push(task: &mut Task, flow: &StreamFlow, record: &Kept, out: &mut Out) {
    if task.ends_replay(record.offset) {
        flush(task, flow, out);
    }
    task.push(&record.record());
}

/// All records, one flush for each, windows left open at the end.
pub fn run_one_by_one(flow: &StreamFlow, records: &[Kept]) -> (Task, Out) {
    let mut task = task(flow, Checkpoint::start(0));
    let mut out = Out::default();
    for record in records {
        push(&mut task, flow, record, &mut out);
        flush(&mut task, flow, &mut out);
    }
    (task, out)
}

/// What the shuffles of a dataflow make of what the task of its stream's one partition has sent; each shuffle has one
/// partition.
pub fn run_shuffles(dataflow: &Dataflow, flow: &StreamFlow, task: &mut Task, out: &mut Out) {
    let shipments = task.core.take_shipments();
    for shuffled in &dataflow.streams {
        let Some(shuffle) = &shuffled.shuffle else { continue };
        let topic = shuffled.stream.topic.as_str();
        let from = |panes: usize| Source { panes, partition: task.core.partition() };
        let sources = shuffle.sources.iter().enumerate().filter(|(_, source)| source.is_some());
        let sources: Vec<Source> = sources.map(|(panes, _)| from(panes)).collect();
        let checkpoint = Checkpoint::start(0);
        let mut merging = Task::of_panes(shuffled, shuffle, (topic, 0), &sources, checkpoint, None).expect("a task");
        let mut records = Vec::new();
        for shipment in &shipments {
            let shared = &flow.panes[shipment.panes];
            let Some(ship) = shared.ship.as_ref().filter(|ship| ship.topic == topic) else { continue };
            records.extend(shipment_records(ship, shared, task.core.partition(), shipment, 1).expect("encodes"));
        }
        for (offset, record) in (0..).zip(&records) {
            let payload = record.payload.as_slice();
            merging.push(&Record {
                topic,
                partition: 0,
                offset,
                log_time_ms: BASE_MS,
                key: None,
                payload,
                headers: Vec::new(),
            });
        }
        flush(&mut merging, shuffled, out);
    }
}

/// One line for each row: window, evidence and values, floats by their bits. Lines of each INSERT in their order.
pub fn lines(flow: &StreamFlow, emissions: &[Emission]) -> Vec<Vec<String>> {
    let mut lines = vec![Vec::new(); flow.inserts.len()];
    for emission in emissions {
        for row in 0..emission.batch.num_rows() {
            let evidence = &emission.evidence[if emission.evidence.len() == 1 { 0 } else { row }];
            let values: Vec<String> = emission.batch.columns().iter().map(|column| value(column, row)).collect();
            let offsets = (evidence.partition, evidence.first_offset, evidence.last_offset);
            lines[emission.insert].push(format!("{:?} {offsets:?} {}", emission.window_ns, values.join(" ")));
        }
    }
    lines
}

fn value(column: &ArrayRef, row: usize) -> String {
    match column.as_primitive_opt::<Float64Type>() {
        Some(floats) if floats.is_valid(row) => format!("{:016x}", floats.value(row).to_bits()),
        _ => array_value_to_string(column, row).expect("prints"),
    }
}

/// Start, end (milliseconds after [`BASE_MS`]) and number of rows of each emission.
pub fn windows(emissions: &[Emission]) -> Vec<(i64, i64, usize)> {
    let after = |time_ns: i64| time_ns / MS_NS - BASE_MS;
    let windows = emissions.iter().filter_map(|emission| Some((emission.window_ns?, emission.batch.num_rows())));
    windows.map(|((start, end), rows)| (after(start), after(end), rows)).collect()
}

pub fn views(flow: &StreamFlow) -> &[WindowedView] {
    &flow.views
}

/// The views that an INSERT reads.
pub fn reads(flow: &StreamFlow, insert: usize) -> Vec<usize> {
    match &flow.inserts[insert].query {
        Query::Windows { views, .. } => views.clone(),
        Query::Rows(_) => Vec::new(),
    }
}

/// Computed in other groups: committed after every `commit_every`th record, killed after every `kill_every`th that is read
/// for the first time; who follows goes on with the panes that were kept. What was emitted, and how many of those who
/// follow found panes of which they need not read the records.
pub fn with_restarts(
    flow: &StreamFlow,
    records: &[Kept],
    commit_every: usize,
    kill_every: usize,
) -> (Vec<Emission>, usize) {
    let (mut one, mut compacted) = (task(flow, Checkpoint::start(0)), Compacted::default());
    let (mut pending, mut committed, mut checkpoint) = (Out::default(), Vec::new(), Checkpoint::start(0));
    let (mut index, mut kill_at, mut restored) = (0, kill_every, 0);
    while index < records.len() {
        push(&mut one, flow, &records[index], &mut pending);
        index += 1;
        if index.is_multiple_of(commit_every) {
            flush(&mut one, flow, &mut pending);
            if let Some(now) = one.core.checkpoint() {
                committed.append(&mut pending.emissions);
                compacted.write(one.core.take_snapshot(flow).expect("encodes"));
                checkpoint = now;
            }
        }
        if index == kill_at {
            (kill_at, pending) = (kill_at + kill_every, Out::default());
            let from;
            (one, from) = compacted.task(flow, 3, checkpoint);
            restored += usize::from(from > checkpoint.replay.offset);
            index = from as usize;
        }
    }
    flush(&mut one, flow, &mut pending);
    one.core.end_replay_at(records.len() as i64);
    one.core.close_all(flow, &mut pending.emissions).expect("closes");
    committed.append(&mut pending.emissions);
    (committed, restored)
}
