//! The same dataflow over files: bounded, every window closed at the end.
//!
//! Rows are taken in the order of `_partition` and `_offset` where the file has them (as exports of a topic do), else
//! in the file's order as one partition. `_log_time` drives the idle and quarantine rules as it does live.
//! An envelope that comes twice counts once, as it does live, where the file has `agent_id`, `boot_id`, `sequence`.
//! Groups that are sent to other partitions live are merged in one here, after all of their streams.
//! Limits: a stream's rows are read into memory, partition by partition; so is what is sent.

use super::{
    alignment::Source,
    core::Core,
    decode::Taken,
    duplicates::Seen,
    emit::Emission,
    position::Checkpoint,
    shipment::records as shipment_records,
    task::{Task, TaskError},
};
use crate::sql::{Dataflow, Shuffle, StreamFlow};
use amoskys_bus::{Outgoing, Record};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int32Array, Int64Array, StringViewArray, UInt32Array, UInt64Array, new_null_array,
    },
    compute::{SortColumn, cast, concat_batches, lexsort_to_indices, take_record_batch},
    datatypes::{DataType, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampNanosecondType, UInt64Type},
    error::ArrowError,
    record_batch::RecordBatch,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::PathBuf,
    sync::Arc,
};

/// Files by the name of the stream they stand for.
pub type History = BTreeMap<String, Vec<PathBuf>>;

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("`{name}` is read by no view that is asked for; streams are {known}")]
    UnknownStream { name: String, known: String },
    #[error("stream `{name}` has no file; add --from {name}=FILE.parquet")]
    Missing { name: String },
    #[error("{path}: {detail}")]
    File { path: PathBuf, detail: String },
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error("{0}")]
    Arrow(#[from] ArrowError),
}

const BATCH_ROWS: usize = 8192;

/// Runs the dataflow over the files; emissions are handed over, with their flow's index, as windows close.
pub fn run_history(
    dataflow: &Dataflow,
    history: &History,
    on_emission: &mut dyn FnMut(usize, Emission),
) -> Result<(), HistoryError> {
    let of_rows = || dataflow.streams.iter().enumerate().filter(|(_, flow)| flow.shuffle.is_none());
    let known: Vec<&str> = of_rows().map(|(_, flow)| flow.stream.name.as_str()).collect();
    if let Some(name) = history.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(HistoryError::UnknownStream { name: name.clone(), known: known.join(", ") });
    }
    let mut sent = Sent::default();
    for (index, flow) in of_rows() {
        let name = &flow.stream.name;
        let files = history.get(name).ok_or_else(|| HistoryError::Missing { name: name.clone() })?;
        for (partition, rows) in partitions(flow, files)? {
            run_partition(flow, partition, &rows, &mut sent, &mut |emission| on_emission(index, emission))?;
        }
    }
    for (index, flow) in dataflow.streams.iter().enumerate() {
        if let Some(shuffle) = &flow.shuffle {
            run_shuffle(flow, shuffle, &sent, &mut |emission| on_emission(index, emission))?;
        }
    }
    Ok(())
}

/// What partitions sent to shuffles, by topic, with who sent it. Each has one partition here.
#[derive(Default)]
struct Sent(BTreeMap<String, (BTreeSet<Source>, Vec<Outgoing>)>);

impl Sent {
    fn add(&mut self, flow: &StreamFlow, partition: i32, core: &mut Core) -> Result<(), ArrowError> {
        for shipment in core.take_shipments() {
            let shared = &flow.panes[shipment.panes];
            let Some(ship) = &shared.ship else { continue };
            let (sources, records) = self.0.entry(ship.topic.clone()).or_default();
            sources.insert(Source { panes: ship.panes, partition });
            records.extend(shipment_records(ship, shared, partition, &shipment, 1)?);
        }
        Ok(())
    }
}

fn run_shuffle(
    flow: &StreamFlow,
    shuffle: &Shuffle,
    sent: &Sent,
    on_emission: &mut dyn FnMut(Emission),
) -> Result<(), HistoryError> {
    let topic = flow.stream.topic.as_str();
    let Some((sources, records)) = sent.0.get(topic) else { return Ok(()) };
    let sources: Vec<Source> = sources.iter().copied().collect();
    let mut task = Task::of_panes(flow, shuffle, (topic, 0), &sources, Checkpoint::start(0), None)?;
    let (mut emissions, mut dead) = (Vec::new(), Vec::new());
    for (offset, record) in (0..).zip(records) {
        let payload = record.payload.as_slice();
        let (log_time_ms, key, headers) = (0, None, Vec::new());
        task.push(&Record { topic, partition: 0, offset, log_time_ms, key, payload, headers });
    }
    task.flush(flow, &mut emissions, &mut dead)?;
    task.core.close_all(flow, &mut emissions)?;
    emissions.into_iter().for_each(on_emission);
    Ok(())
}

fn run_partition(
    flow: &StreamFlow,
    partition: i32,
    rows: &Rows,
    sent: &mut Sent,
    on_emission: &mut dyn FnMut(Emission),
) -> Result<(), HistoryError> {
    let mut core = Core::new(flow, (&flow.stream.topic, partition), &[], Checkpoint::start(0), None)?;
    let mut emissions = Vec::new();
    let mut from = 0;
    while from < rows.batch.num_rows() {
        let length = BATCH_ROWS.min(rows.batch.num_rows() - from);
        let taken = rows.records(from, length);
        core.process(flow, rows.batch.slice(from, length), &taken, &mut emissions)?;
        emissions.drain(..).for_each(&mut *on_emission);
        sent.add(flow, partition, &mut core)?;
        from += length;
    }
    core.close_all(flow, &mut emissions)?;
    sent.add(flow, partition, &mut core)?;
    emissions.into_iter().for_each(on_emission);
    Ok(())
}

/// A partition's rows in order, with what the log said of them.
struct Rows {
    batch: RecordBatch,
    offsets: Option<Int64Array>,
    log_times: Option<ArrayRef>,
}

impl Rows {
    /// Rows of one offset are one record; without offsets every row is one.
    fn records(&self, from: usize, length: usize) -> Vec<Taken> {
        let mut taken: Vec<Taken> = Vec::new();
        for row in from..from + length {
            let offset = self.offsets.as_ref().map_or(row as i64, |offsets| offsets.value(row));
            let times = self.log_times.as_ref().map(|times| times.as_primitive::<TimestampNanosecondType>());
            let log_time_ns = times.filter(|times| times.is_valid(row)).map(|times| times.value(row));
            match taken.last_mut() {
                Some(last) if last.offset == offset && self.offsets.is_some() => last.rows += 1,
                _ => taken.push(Taken { offset, log_time_ns, rows: 1, is_duplicate: false }),
            }
        }
        taken
    }
}

fn partitions(flow: &StreamFlow, files: &[PathBuf]) -> Result<BTreeMap<i32, Rows>, HistoryError> {
    let mut batches: Vec<RecordBatch> = Vec::new();
    for path in files {
        read(path, &mut batches).map_err(|detail| HistoryError::File { path: path.clone(), detail })?;
    }
    let Some(first) = batches.first() else { return Ok(BTreeMap::new()) };
    let all = concat_batches(&first.schema(), &batches)?;
    let file = files.first().cloned().unwrap_or_default();
    let refuse = |detail: String| HistoryError::File { path: file.clone(), detail };
    let number = |name: &str, data_type: &DataType| -> Result<Option<ArrayRef>, ArrowError> {
        all.column_by_name(name).map(|column| cast(column, data_type)).transpose()
    };
    let partitions =
        number("_partition", &DataType::Int32)?.unwrap_or_else(|| Arc::new(Int32Array::from_value(0, all.num_rows())));
    let offsets = number("_offset", &DataType::Int64)?;
    let order = order(&partitions, offsets.as_ref())?;
    let log_times = number("_log_time", &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
    let wanted = select(&all, flow).map_err(refuse)?;
    let envelopes = Envelopes::of(&all, offsets.as_ref())?;
    let mut found = BTreeMap::new();
    let numbers = partitions.as_primitive::<Int32Type>();
    for chunk in order
        .values()
        .chunk_by(|one, other| numbers.value(*one as usize) == numbers.value(*other as usize))
        .map(<[u32]>::to_vec)
    {
        let partition = numbers.value(chunk[0] as usize);
        let indices = UInt32Array::from(envelopes.as_ref().map_or_else(|| chunk.clone(), |of| of.once(&chunk)));
        let pick = |column: &ArrayRef| arrow::compute::take(column, &indices, None);
        found.insert(
            partition,
            Rows {
                batch: take_record_batch(&wanted, &indices)?,
                offsets: offsets.as_ref().map(pick).transpose()?.map(|array| array.as_primitive::<Int64Type>().clone()),
                log_times: log_times.as_ref().map(pick).transpose()?,
            },
        );
    }
    Ok(found)
}

/// Which envelope each row came in, where the files say so (as exports of a topic do).
struct Envelopes {
    offsets: Int64Array,
    agents: StringViewArray,
    boots: StringViewArray,
    sequences: UInt64Array,
}

impl Envelopes {
    fn of(all: &RecordBatch, offsets: Option<&ArrayRef>) -> Result<Option<Self>, ArrowError> {
        let column = |name: &str, data_type: &DataType| {
            all.column_by_name(name).map(|column| cast(column, data_type)).transpose()
        };
        let (agents, boots) = (column("agent_id", &DataType::Utf8View)?, column("boot_id", &DataType::Utf8View)?);
        let sequences = column("sequence", &DataType::UInt64)?;
        let (Some(offsets), Some(agents), Some(boots), Some(sequences)) = (offsets, agents, boots, sequences) else {
            return Ok(None);
        };
        Ok(Some(Self {
            offsets: offsets.as_primitive::<Int64Type>().clone(),
            agents: agents.as_string_view().clone(),
            boots: boots.as_string_view().clone(),
            sequences: sequences.as_primitive::<UInt64Type>().clone(),
        }))
    }

    /// The rows of a partition, in its order, without those of envelopes that came before.
    fn once(&self, rows: &[u32]) -> Vec<u32> {
        let mut seen = Seen::default();
        let mut last: Option<(i64, bool)> = None;
        let is_new = |row: &u32| {
            let row = *row as usize;
            let offset = self.offsets.value(row);
            let is_new = match last {
                Some((same, is_new)) if same == offset => is_new,
                _ => seen.admit(0, self.agents.value(row), self.boots.value(row), self.sequences.value(row)),
            };
            last = Some((offset, is_new));
            is_new
        };
        rows.iter().copied().filter(is_new).collect()
    }
}

/// Row numbers by partition and offset; rows of one offset stay in the file's order.
fn order(partitions: &ArrayRef, offsets: Option<&ArrayRef>) -> Result<UInt32Array, ArrowError> {
    let rows: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..partitions.len() as u32));
    let columns = [Some(partitions), offsets, Some(&rows)].into_iter().flatten();
    lexsort_to_indices(
        &columns.map(|values| SortColumn { values: values.clone(), options: None }).collect::<Vec<_>>(),
        None,
    )
}

/// The flow's columns, in its order and types; a column of the stream that the file lacks is null.
fn select(all: &RecordBatch, flow: &StreamFlow) -> Result<RecordBatch, String> {
    let schema = flow.stream.schema();
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    let mut missing = Vec::new();
    for name in &flow.columns {
        let field = schema.field_with_name(name).map_err(|error| error.to_string())?;
        let array = match all.column_by_name(name) {
            Some(column) => cast(column, field.data_type()).map_err(|error| format!("column `{name}`: {error}"))?,
            None if field.is_nullable() && flow.stream.event_time.as_ref() != Some(name) => {
                new_null_array(field.data_type(), all.num_rows())
            }
            None => {
                missing.push(name.as_str());
                continue;
            }
        };
        fields.push(field.clone().with_nullable(true));
        arrays.push(array);
    }
    if !missing.is_empty() {
        return Err(format!("lacks the columns `{}`, which the SQL uses", missing.join("`, `")));
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, arrays).map_err(|error| error.to_string())
}

fn read(path: &PathBuf, batches: &mut Vec<RecordBatch>) -> Result<(), String> {
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.with_batch_size(BATCH_ROWS).build());
    let reader = reader.map_err(|error| format!("is no readable Parquet file: {error}"))?;
    for batch in reader {
        batches.push(batch.map_err(|error| format!("cannot be read: {error}"))?);
    }
    Ok(())
}
