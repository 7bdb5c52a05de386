//! What open windows hold, as records of a compacted topic, so that a window of a day need not be read again from a
//! day of raw records.
//!
//! When panes are sealed, those that have changed since the last time are written, each under a key of its own, together
//! with the checkpoint that they belong to; what is known of duplicate envelopes is written with them. The checkpoint's
//! [`Mark`] says at which record that was, and which versions of which items make up the state there. Who starts from a
//! checkpoint reads the topic, and where all of it is there, goes on from the mark; where it is not (another SQL, a topic
//! that was emptied, a crash between writing and committing under `at_least_once`), it reads the raw records again as if
//! there were no snapshots. So they make a start faster and are never what a result depends on.
//!
//! Sessions that are open are told each time, by the pane that they began in, since the panes of their rows are gone.
//!
//! Deliberately not here: when panes are sealed (`judge`), reading and writing topics (`load`, `worker`).
//! Limits: keys are numbers of panes modulo [`ring`], so that the topic does not grow; where more panes are open than
//! that (rows further ahead than the stream's `max_skew` lets come), a start finds them overwritten and reads raw records.

use super::{alignment::Source, duplicates::Seen, spans::Spans};
use crate::sql::{SharedPanes, StreamFlow};
use amoskys_windows::{Origin, PaneState, ReplayPoint, Watermark};
use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{Field, Schema},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Larger items are several records: every log takes them, whatever its limit.
const CHUNK_BYTES: usize = 512 << 10;
/// Header of each record, with [`Header`] as JSON.
const HEADER: &str = "amoskys-pane";
/// In the place of panes: what is known of envelopes that came.
const SEEN: u32 = u32::MAX;

/// Panes by their index in the flow and their number there.
type Id = (u32, i64);

/// The state at a record, in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The record before which panes were sealed, and the watermark that its first row finds.
    pub point: ReplayPoint,
    /// Number of items, and a digest of which they are, of which versions, and of the SQL.
    pub items: u32,
    pub digest: u64,
}

/// A record to be written to the compacted topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Behind the group's, the topic's and the partition's names.
    pub key: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub payload: Vec<u8>,
}

/// What is read back.
pub struct Restored {
    pub(super) panes: Vec<(usize, PaneState, Spans)>,
    pub(super) seen: Seen,
    pub(super) contents: Contents,
    pub(super) mark: Mark,
}

/// Which items make up the state, and of which version each of them is.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents(BTreeMap<Id, i64>);

impl Contents {
    fn mark(&self, flow: &StreamFlow, point: ReplayPoint) -> Mark {
        let mut hasher = blake3::Hasher::new();
        hasher.update(flow.panes_description().as_bytes());
        for ((panes, pane), at) in &self.0 {
            hasher.update(&panes.to_le_bytes()).update(&pane.to_le_bytes()).update(&at.to_le_bytes());
        }
        let mut digest = [0; 8];
        hasher.finalize_xof().fill(&mut digest);
        Mark { point, items: self.0.len() as u32, digest: u64::from_le_bytes(digest) }
    }
}

/// What is to be written of one partition, and what was.
#[derive(Default)]
pub(super) struct Snapshots {
    contents: Contents,
    mark: Option<Mark>,
    /// Not handed over yet.
    changed: BTreeMap<Id, (PaneState, Spans)>,
    seen: Option<Seen>,
}

impl Snapshots {
    pub(super) fn going_on_from(restored: &Restored) -> Self {
        Self { contents: restored.contents.clone(), mark: Some(restored.mark), ..Self::default() }
    }

    /// Panes were sealed before the record at `point`. `changed` are those that rows came for since the last time;
    /// `first_open`, for each of the flow's panes, the first that an open window is left for.
    pub(super) fn take(
        &mut self,
        flow: &StreamFlow,
        point: ReplayPoint,
        changed: Vec<(usize, PaneState, Spans)>,
        first_open: &[Option<i64>],
    ) {
        let version = version(flow, point);
        // What is open of sessions is told anew each time.
        self.contents.0.retain(|id, _| is_open(id, first_open));
        self.changed.retain(|id, _| is_open(id, first_open));
        for (panes, state, spans) in changed {
            let id = (panes as u32, state.pane);
            self.contents.0.insert(id, version);
            self.changed.insert(id, (state, spans));
        }
        if flow.shuffle.is_none() {
            self.contents.0.insert((SEEN, 0), version);
        }
        self.mark = Some(self.contents.mark(flow, point));
    }

    /// What was known of envelopes at the last [`Snapshots::take`].
    pub(super) fn tell_seen(&mut self, seen: Seen) {
        self.seen = Some(seen);
    }

    pub(super) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// What is to be committed together with the mark.
    pub(super) fn records(&mut self, flow: &StreamFlow) -> Result<Vec<SnapshotRecord>, ArrowError> {
        let mut records = Vec::new();
        if self.changed.is_empty() && self.seen.is_none() {
            return Ok(records);
        }
        let windows = flow.windows_digest();
        for ((panes, pane), (state, spans)) in std::mem::take(&mut self.changed) {
            let at = self.contents.0.get(&(panes, pane)).copied().unwrap_or_default();
            let slot = pane.rem_euclid(ring(flow, panes as usize));
            let header = Header::of_pane(panes, &state, &spans, (at, windows));
            write(&format!("{panes}/{slot}"), header, &pane_batch(&state)?, &mut records)?;
        }
        if let (Some(seen), Some(mark)) = (self.seen.take(), self.mark) {
            write("seen", Header::of_seen((version(flow, mark.point), windows)), &seen.to_batch()?, &mut records)?;
        }
        Ok(records)
    }
}

/// Grows from one time that panes are sealed to the next. What waits for slower sources may keep the offset of a shuffle's
/// mark where it was; its watermark never stays.
fn version(flow: &StreamFlow, point: ReplayPoint) -> i64 {
    if flow.shuffle.is_some() { point.watermark.time_ns } else { point.offset }
}

fn is_open((panes, pane): &Id, first_open: &[Option<i64>]) -> bool {
    *panes == SEEN || first_open.get(*panes as usize).is_some_and(|first| first.is_some_and(|first| *pane >= first))
}

fn has_sessions(flow: &StreamFlow, panes: u32) -> bool {
    let shared = flow.panes.get(panes as usize).filter(|shared| shared.ship.is_none());
    shared.is_some_and(SharedPanes::is_of_sessions)
}

/// How many keys the panes of one index have: those of all open windows, and of what may be ahead of the watermark and
/// come between two seals.
fn ring(flow: &StreamFlow, panes: usize) -> i64 {
    const RING_MAX: i64 = 1 << 20;
    let Some(shared) = flow.panes.get(panes) else { return 1 };
    let rules = &flow.stream.rules;
    let ahead_ns = rules.lateness_ns.saturating_add(rules.max_skew_ns).saturating_add(2 * flow.stream.replay_max_ns);
    let slide_ns = shared.outputs.iter().map(|output| output.hop.slide_ns()).min().unwrap_or(1);
    let ahead = (ahead_ns / slide_ns).saturating_mul(2);
    (shared.panes_max() as i64).saturating_mul(2).saturating_add(ahead).saturating_add(2).min(RING_MAX)
}

/// Of an item, on each of its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    v: u32,
    /// Of which windows it is, by their digest: other SQL leaves items behind that nobody writes over.
    #[serde(default)]
    windows: u64,
    panes: u32,
    pane: i64,
    /// When it was sealed: its version.
    at: i64,
    chunk: u32,
    chunks: u32,
    rows: usize,
    /// Number of state arrays of each aggregate.
    states: Vec<usize>,
    cost_bytes: usize,
    shed_rows: u64,
    first_offset: i64,
    first_watermark_ns: Option<i64>,
    first_log_time_ns: Option<i64>,
    last_offset: i64,
    /// Of a shuffle's pane: index of the sent panes, partition, first and last record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spans: Vec<(usize, i32, i64, i64)>,
}

const VERSION: u32 = 1;

impl Header {
    fn of_pane(panes: u32, state: &PaneState, spans: &Spans, (at, windows): (i64, u64)) -> Self {
        let Origin { first, last_offset, shed_rows } = state.origin;
        Self {
            panes,
            pane: state.pane,
            rows: state.rows,
            states: state.states.iter().map(Vec::len).collect(),
            cost_bytes: state.cost_bytes,
            shed_rows,
            first_offset: first.offset,
            first_watermark_ns: known(first.watermark.time_ns),
            first_log_time_ns: known(first.watermark.last_log_time_ns),
            last_offset,
            spans: spans.iter().map(|(of, &(first, last))| (of.panes, of.partition, first, last)).collect(),
            ..Self::of_seen((at, windows))
        }
    }

    fn of_seen((at, windows): (i64, u64)) -> Self {
        Self {
            v: VERSION,
            windows,
            panes: SEEN,
            pane: 0,
            at,
            chunk: 0,
            chunks: 1,
            rows: 0,
            states: Vec::new(),
            cost_bytes: 0,
            shed_rows: 0,
            first_offset: 0,
            first_watermark_ns: None,
            first_log_time_ns: None,
            last_offset: 0,
            spans: Vec::new(),
        }
    }

    fn spans(&self) -> Spans {
        let span =
            |&(panes, partition, first, last): &(usize, i32, i64, i64)| (Source { panes, partition }, (first, last));
        self.spans.iter().map(span).collect()
    }

    fn origin(&self) -> Origin {
        let watermark = Watermark {
            time_ns: self.first_watermark_ns.unwrap_or(i64::MIN),
            last_log_time_ns: self.first_log_time_ns.unwrap_or(i64::MIN),
        };
        let first = ReplayPoint { offset: self.first_offset, watermark };
        Origin { first, last_offset: self.last_offset, shed_rows: self.shed_rows }
    }
}

fn known(time_ns: i64) -> Option<i64> {
    (time_ns != i64::MIN).then_some(time_ns)
}

fn write(key: &str, header: Header, batch: &RecordBatch, records: &mut Vec<SnapshotRecord>) -> Result<(), ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    let chunks = bytes.chunks(CHUNK_BYTES);
    let count = chunks.len() as u32;
    for (chunk, payload) in (0..).zip(chunks) {
        let header = Header { chunk, chunks: count, ..header.clone() };
        // Numbers always serialize.
        let header = serde_json::to_vec(&header).unwrap_or_default();
        records.push(SnapshotRecord {
            key: format!("{key}/{chunk}"),
            headers: vec![(HEADER.to_owned(), header)],
            payload: payload.to_vec(),
        });
    }
    Ok(())
}

/// Keys, then the states of the aggregates.
fn pane_batch(state: &PaneState) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = state.keys.iter().chain(state.states.iter().flatten()).cloned().collect();
    let field = |(index, column): (usize, &ArrayRef)| Field::new(index.to_string(), column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(state.rows));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
}

/// Puts together what a compacted topic says of a partition.
#[derive(Default)]
pub struct SnapshotReader {
    /// The last record of each key.
    records: BTreeMap<String, (Header, Vec<u8>)>,
}

impl SnapshotReader {
    /// A record, its key without what is before in [`SnapshotRecord::key`]; records come in the order of the log.
    pub fn push(&mut self, key: &str, headers: &[(&str, &[u8])], payload: &[u8]) {
        let header = headers.iter().find(|(name, _)| *name == HEADER);
        let header = header.and_then(|(_, json)| serde_json::from_slice::<Header>(json).ok());
        // Of another version, or not ours: the digest tells what is missing.
        let Some(header) = header.filter(|header| header.v == VERSION) else { return };
        self.records.insert(key.to_owned(), (header, payload.to_vec()));
    }

    /// The state at the mark; why not, where it is not all there.
    pub fn finish(self, flow: &StreamFlow, mark: Mark) -> Result<Restored, String> {
        let first_open = flow.first_open_panes(mark.point.watermark.time_ns);
        let mut items: BTreeMap<Id, (Header, Vec<Vec<u8>>)> = BTreeMap::new();
        let (newest, windows) = (version(flow, mark.point), flow.windows_digest());
        let is_ours = |header: &Header| header.at <= newest && header.windows == windows;
        for (header, payload) in self.records.into_values().filter(|(header, _)| is_ours(header)) {
            let id = (header.panes, header.pane);
            let is_of_sessions = has_sessions(flow, header.panes) && header.at == newest;
            if !is_open(&id, &first_open) && !is_of_sessions {
                continue;
            }
            let (newest, chunks) = items.entry(id).or_insert_with(|| (header.clone(), Vec::new()));
            if header.at > newest.at {
                chunks.clear();
            }
            if header.at >= newest.at {
                chunks.resize(header.chunks as usize, Vec::new());
                if let Some(chunk) = chunks.get_mut(header.chunk as usize) {
                    *chunk = payload;
                }
                *newest = header;
            }
        }
        let contents = Contents(items.iter().map(|(id, (header, _))| (*id, header.at)).collect());
        let found = contents.mark(flow, mark.point);
        if found != mark {
            return Err(format!("{} items of {} are there, or others", found.items, mark.items));
        }
        let mut restored = Restored { panes: Vec::new(), seen: Seen::default(), contents, mark };
        for ((panes, pane), (header, chunks)) in items {
            let wrong = |error: ArrowError| format!("pane {pane} of {panes} does not read: {error}");
            if chunks.iter().any(Vec::is_empty) {
                return Err(format!("pane {pane} of {panes} is not whole"));
            }
            let batch = read(&chunks.concat()).map_err(wrong)?;
            if panes == SEEN {
                restored.seen = Seen::from_batch(&batch).ok_or("what is known of envelopes does not read")?;
            } else {
                restored.panes.push((panes as usize, pane_of(&header, &batch), header.spans()));
            }
        }
        Ok(restored)
    }
}

fn read(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(bytes, None)?;
    reader.next().unwrap_or_else(|| Err(ArrowError::IpcError("there is nothing in it".to_owned())))
}

fn pane_of(header: &Header, batch: &RecordBatch) -> PaneState {
    let mut columns = batch.columns().iter().cloned();
    let keys = batch.num_columns() - header.states.iter().sum::<usize>().min(batch.num_columns());
    PaneState {
        pane: header.pane,
        rows: header.rows,
        keys: columns.by_ref().take(keys).collect(),
        states: header.states.iter().map(|&count| columns.by_ref().take(count).collect()).collect(),
        origin: header.origin(),
        cost_bytes: header.cost_bytes,
    }
}
