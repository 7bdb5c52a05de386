//! Panes that a partition hands over to a shuffle, as records of its topic.
//!
//! A record says which panes of which SQL it is about, which partition sends it and how far that had come (its *claim*), and
//! holds pieces of panes: for a pane the keys that belong to the record's partition, with their states as Arrow IPC. What a
//! piece is, is a matter of the sender's rows alone, so one that is sent again is the same piece. Every partition of the
//! topic hears of the claim as soon as a window may have ended; those without keys are told nothing else.
//!
//! Deliberately not here: when panes are handed over (`windows`), how pieces wait for each other (`alignment`).
//! Limits: a piece is one message part of at most [`PIECE_ROWS_MAX`] keys, however large their states.

use super::alignment::{Arrived, Piece, PieceId, Source};
use crate::sql::{SharedPanes, Ship, Shuffle};
use amoskys_bus::{Outgoing, partition_for_key};
use amoskys_windows::{Origin, PaneState, ReplayPoint, ShipTag, Shipped};
use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{concat, take},
    datatypes::{Field, Schema},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
    row::{RowConverter, SortField},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Keys of one pane in one piece.
const PIECE_ROWS_MAX: usize = 1024;
/// A record is not added to once it has about this many bytes.
const RECORD_BYTES: usize = 512 << 10;
const VERSION: u32 = 1;

/// What a partition hands over to one shuffle.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipment {
    /// Index among the flow's panes.
    pub panes: usize,
    /// Everything with a tag up to this is in this shipment or an earlier one.
    pub claim: ShipTag,
    /// Whether those who get no keys have to know of the claim.
    pub is_told_to_all: bool,
    /// Where other SQL had read the partition: only windows that end after this have all of its rows.
    pub whole_after_ns: Option<i64>,
    pub shipped: Vec<Shipped>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// In front of a record's Arrow data.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    v: u32,
    /// Of the topic's flow.
    panes: usize,
    digest: String,
    partition: i32,
    /// Absent where further records of the same shipment follow.
    claim: Option<(i64, bool)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole_after_ns: Option<i64>,
    /// Number of state arrays of each aggregate.
    states: Vec<usize>,
    pieces: Vec<PieceHeader>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PieceHeader {
    tag: (i64, bool),
    pane: i64,
    piece: u32,
    rows: usize,
    cost_bytes: usize,
    shed_rows: u64,
    /// Of the stream's partition.
    first_offset: i64,
    last_offset: i64,
}

/// The columns of a piece, keys before states.
struct Columns {
    header: PieceHeader,
    columns: Vec<ArrayRef>,
    bytes: usize,
}

/// The records of a shipment from `partition` of a stream to the topic that `ship` names, which has `partitions`.
pub fn records(
    ship: &Ship,
    shared: &SharedPanes,
    partition: i32,
    shipment: &Shipment,
    partitions: i32,
) -> Result<Vec<Outgoing>, ArrowError> {
    let mut states: Vec<usize> = Vec::new();
    let mut pieces: BTreeMap<i32, Vec<Columns>> = BTreeMap::new();
    if shipment.is_told_to_all {
        pieces.extend((0..partitions).map(|to| (to, Vec::new())));
    }
    for shipped in shipment.shipped.iter().filter(|shipped| shipped.state.rows > 0) {
        states = shipped.state.states.iter().map(Vec::len).collect();
        for (to, rows) in spread(ship, shared, &shipped.state, partitions)? {
            let chunks = rows.chunks(PIECE_ROWS_MAX);
            for (number, rows) in (0..).zip(chunks) {
                pieces.entry(to).or_default().push(piece(shipped, number, rows)?);
            }
        }
    }
    let mut records = Vec::new();
    for (to, pieces) in pieces {
        let mut pieces = pieces.into_iter().peekable();
        loop {
            let (mut taken, mut bytes) = (Vec::new(), 0);
            while let Some(piece) = pieces.next_if(|_| bytes < RECORD_BYTES) {
                bytes += piece.bytes;
                taken.push(piece);
            }
            let is_last = pieces.peek().is_none();
            let claim = is_last.then_some((shipment.claim.watermark_ns, shipment.claim.is_sealed));
            let header = Header {
                v: VERSION,
                panes: ship.panes,
                digest: ship.digest.clone(),
                partition,
                claim,
                whole_after_ns: shipment.whole_after_ns,
                states: states.clone(),
                pieces: taken.iter().map(|piece| piece.header.clone()).collect(),
            };
            records.push(Outgoing {
                topic: ship.topic.clone(),
                partition: Some(to),
                key: None,
                payload: write(&header, &taken)?,
                headers: Vec::new(),
            });
            if is_last {
                break;
            }
        }
    }
    Ok(records)
}

/// Which rows of a pane go to which partition.
fn spread(
    ship: &Ship,
    shared: &SharedPanes,
    state: &PaneState,
    partitions: i32,
) -> Result<BTreeMap<i32, Vec<u32>>, ArrowError> {
    let mut spread: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
    let all = 0..state.rows as u32;
    if ship.key.is_empty() || partitions == 1 {
        spread.insert(partition_for_key(b"", partitions), all.collect());
        return Ok(spread);
    }
    let fields = ship.key.iter().map(|&key| SortField::new(shared.key_schema.field(key).data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let keys: Vec<ArrayRef> = ship.key.iter().map(|&key| state.keys[key].clone()).collect();
    let rows = converter.convert_columns(&keys)?;
    for (row, key) in all.zip(rows.iter()) {
        spread.entry(partition_for_key(key.as_ref(), partitions)).or_default().push(row);
    }
    Ok(spread)
}

fn piece(shipped: &Shipped, number: u32, rows: &[u32]) -> Result<Columns, ArrowError> {
    let Shipped { tag, state } = shipped;
    let indices = UInt32Array::from(rows.to_vec());
    let columns = state.keys.iter().chain(state.states.iter().flatten());
    let columns: Vec<ArrayRef> =
        columns.map(|column| take(column, &indices, None)).collect::<Result<_, ArrowError>>()?;
    let Origin { first, last_offset, shed_rows } = state.origin;
    let header = PieceHeader {
        tag: (tag.watermark_ns, tag.is_sealed),
        pane: state.pane,
        piece: number,
        rows: rows.len(),
        cost_bytes: state.cost_bytes / state.rows.max(1) * rows.len(),
        shed_rows,
        first_offset: first.offset,
        last_offset,
    };
    let bytes = columns.iter().map(|column| column.get_array_memory_size()).sum();
    Ok(Columns { header, columns, bytes })
}

fn write(header: &Header, pieces: &[Columns]) -> Result<Vec<u8>, ArrowError> {
    // Numbers and text always serialize.
    let json = serde_json::to_vec(header).unwrap_or_default();
    let mut payload = (json.len() as u32).to_le_bytes().to_vec();
    payload.extend(json);
    let Some(first) = pieces.first() else { return Ok(payload) };
    let joined = (0..first.columns.len()).map(|column| {
        let parts: Vec<_> = pieces.iter().map(|piece| piece.columns[column].as_ref()).collect();
        concat(&parts)
    });
    let joined: Vec<ArrayRef> = joined.collect::<Result<_, _>>()?;
    let field = |(index, column): (usize, &ArrayRef)| Field::new(index.to_string(), column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(joined.iter().enumerate().map(field).collect::<Vec<_>>()));
    // A global aggregate without keys and states does not exist: there is a column.
    let batch = RecordBatch::try_new(schema.clone(), joined)?;
    let mut writer = StreamWriter::try_new(&mut payload, &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    Ok(payload)
}

/// Why a record of a shuffle's topic cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It is not what a processor writes.
    Malformed(String),
    /// It is of other SQL.
    Foreign,
}

/// Reads a record back. `point` is where it stands in the topic's partition.
pub fn read(shuffle: &Shuffle, payload: &[u8], point: ReplayPoint) -> Result<Arrived, Unusable> {
    let malformed = |what: &str| Unusable::Malformed(format!("panes that were sent: {what}"));
    let (length, rest) = payload.split_first_chunk::<4>().ok_or_else(|| malformed("cut short"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (json, data) = rest.split_at_checked(length).ok_or_else(|| malformed("cut short"))?;
    let read = |error: serde_json::Error| malformed(&error.to_string());
    // Another version may say other things.
    if serde_json::from_slice::<Version>(json).map_err(read)?.v != VERSION {
        return Err(Unusable::Foreign);
    }
    let header: Header = serde_json::from_slice(json).map_err(read)?;
    let source = shuffle.sources.get(header.panes).and_then(Option::as_ref);
    if source.is_none_or(|source| source.digest != header.digest) {
        return Err(Unusable::Foreign);
    }
    let rows: usize = header.pieces.iter().map(|piece| piece.rows).sum();
    let mut pieces = Vec::new();
    if rows > 0 {
        let batch = StreamReader::try_new(data, None).and_then(|mut reader| reader.next().transpose());
        let batch = batch.map_err(|error| malformed(&error.to_string()))?.ok_or_else(|| malformed("no rows"))?;
        let states: usize = header.states.iter().sum();
        if batch.num_rows() != rows || batch.num_columns() < states {
            return Err(malformed("other rows than its header says"));
        }
        let mut from = 0;
        for piece in &header.pieces {
            pieces.push(piece_of(&header, piece, &batch.slice(from, piece.rows), point));
            from += piece.rows;
        }
    }
    let claim = header.claim.map(|(watermark_ns, is_sealed)| ShipTag { watermark_ns, is_sealed });
    let source = Source { panes: header.panes, partition: header.partition };
    Ok(Arrived { point, source, claim, whole_after_ns: header.whole_after_ns, pieces })
}

fn piece_of(header: &Header, piece: &PieceHeader, batch: &RecordBatch, point: ReplayPoint) -> Piece {
    let mut columns = batch.columns().iter().cloned();
    let keys = batch.num_columns() - header.states.iter().sum::<usize>();
    let state = PaneState {
        pane: piece.pane,
        rows: piece.rows,
        keys: columns.by_ref().take(keys).collect(),
        states: header.states.iter().map(|&count| columns.by_ref().take(count).collect()).collect(),
        origin: Origin { shed_rows: piece.shed_rows, ..point.into() },
        cost_bytes: piece.cost_bytes,
    };
    let (watermark_ns, is_sealed) = piece.tag;
    Piece {
        id: PieceId {
            tag: ShipTag { watermark_ns, is_sealed },
            source: Source { panes: header.panes, partition: header.partition },
            pane: piece.pane,
            piece: piece.piece,
        },
        state,
        offsets: (piece.first_offset, piece.last_offset),
    }
}
