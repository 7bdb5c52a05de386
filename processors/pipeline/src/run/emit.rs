//! Rows of an INSERT into records of its sink, each with a deterministic id and its provenance.
//!
//! The id is BLAKE3 over the INSERT's SQL, the window (or the record) and what is written, so equal results have equal ids
//! whoever computes them, and a sink that sees a row twice can tell. Where the sink's records hold many rows, those that have
//! one origin share records ([`super::packing`]). A row whose values the sink's records cannot hold (no name
//! of an enum, a list with NULL in it) is left out by itself, told and counted.

use super::packing::{Packed, Rows, Way};
use crate::{
    schemas::Framing,
    sql::{Annotations, Dataflow, Format, Insert, RowEncoder, Sink},
};
use amoskys_bus::Outgoing;
use amoskys_proto::v1::{self, Alert, FeatureRow, ModelVersion, Provenance};
use arrow::{
    array::{Array, AsArray, StringArray},
    compute::cast,
    datatypes::DataType,
    error::ArrowError,
    record_batch::RecordBatch,
};
use datafusion::common::HashMap;
use prost::Message;
use prost_types::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Rows that an INSERT gave, with what they were computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Emission {
    /// Index into [`crate::sql::StreamFlow::inserts`].
    pub insert: usize,
    pub batch: RecordBatch,
    /// `[start, end)`; `None` for rows that no window gave.
    pub window_ns: Option<(i64, i64)>,
    /// One for each row, or one for all of them.
    pub evidence: Vec<Evidence>,
    /// Of a window whose groups were sent through a shuffle: the records of its streams, for all rows. The evidence is then
    /// about the shuffle's own.
    pub sources: Vec<Evidence>,
    /// Rows that the window lacks because a bound was reached.
    pub shed_rows: u64,
}

/// A span of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub topic: String,
    pub partition: i32,
    pub first_offset: i64,
    pub last_offset: i64,
}

impl From<&Evidence> for v1::Evidence {
    fn from(evidence: &Evidence) -> Self {
        Self {
            topic: evidence.topic.clone(),
            partition: evidence.partition,
            first_offset: evidence.first_offset,
            last_offset: evidence.last_offset,
        }
    }
}

/// Rows could not be written as the sink wants them.
#[derive(Debug, thiserror::Error)]
#[error("rows of `{insert}` cannot be written to `{topic}`: {detail}")]
pub struct EmitError {
    pub insert: String,
    pub topic: String,
    pub detail: String,
}

/// Encodes one INSERT's rows.
pub struct Emitter {
    name: String,
    sink: Sink,
    sql_hash: String,
    annotations: Annotations,
    models: Vec<ModelVersion>,
    /// Features that are written only where a contribution names them.
    explained: Vec<String>,
    encoder: RowEncoder,
    /// What each record begins with.
    prefix: Vec<u8>,
    kind: Kind,
    key: Option<usize>,
    /// Of the sink's topic, where they are known; only records of many rows have to.
    partitions: Option<i32>,
    /// Whether each alert is logged.
    logs_alerts: bool,
    /// The column of a sink of listed columns that says whether a window is whole.
    quality: Option<usize>,
    left_out: Mutex<LeftOut>,
}

/// Rows that could not be written.
#[derive(Default)]
struct LeftOut {
    /// Since they were taken.
    rows: u64,
    told: Option<Instant>,
}

/// Rows that are left out are told this often.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Filled in with `complete` or `shed` where such a sink has it and the SELECT leaves it out.
const QUALITY_COLUMN: &str = "quality";

/// Messages whose empty fields are filled in.
enum Kind {
    Alert,
    FeatureRow,
    Other,
}

impl Emitter {
    /// `None` for an INSERT without a sink, or into a file.
    pub fn new(insert: &Insert) -> Result<Option<Self>, EmitError> {
        let Some(sink) = insert.sink.clone().filter(|sink| !sink.format.is_file()) else { return Ok(None) };
        let refuse = |detail: String| EmitError { insert: insert.name.clone(), topic: sink.topic.clone(), detail };
        let encoder = RowEncoder::new(&sink.format, &insert.output).map_err(|error| refuse(error.to_string()))?;
        let kind = match &sink.format {
            format if format.is_of_alerts() => Kind::Alert,
            Format::Protobuf { message } if message.full_name() == "amoskys.v1.FeatureRow" => Kind::FeatureRow,
            _ => Kind::Other,
        };
        let key = sink.partition_key.as_deref().or(Some("host_id")).and_then(|name| insert.output.index_of(name).ok());
        let quality = insert.output.index_of(QUALITY_COLUMN).ok().filter(|&index| {
            let data_type = insert.output.field(index).data_type();
            matches!(sink.format, Format::Json | Format::Arrow) && data_type.is_string()
        });
        let models = insert.models.iter().map(|model| ModelVersion {
            name: model.name.clone(),
            version: model.version.clone(),
            sha256: model.sha256.clone(),
        });
        Ok(Some(Self {
            name: insert.name.clone(),
            sql_hash: insert.sql_hash.clone(),
            annotations: insert.annotations.clone(),
            models: models.collect(),
            explained: insert.explained.clone(),
            encoder,
            prefix: sink.framing.as_ref().map(Framing::prefix).unwrap_or_default(),
            kind,
            key,
            partitions: None,
            quality,
            logs_alerts: true,
            left_out: Mutex::default(),
            sink,
        }))
    }

    /// Of a dataflow's INSERTs that are meant, by flow and INSERT: for what is computed again over history.
    pub fn without_log_of(
        dataflow: &Dataflow,
        is_meant: impl Fn(&Insert) -> bool,
    ) -> Result<BTreeMap<(usize, usize), Self>, EmitError> {
        let mut emitters = BTreeMap::new();
        for (flow, of) in dataflow.streams.iter().enumerate() {
            for (index, insert) in of.inserts.iter().enumerate().filter(|(_, insert)| is_meant(insert)) {
                emitters.extend(Self::new(insert)?.map(|emitter| ((flow, index), emitter.without_log())));
            }
        }
        Ok(emitters)
    }

    /// For what is computed again over history, which is no news.
    pub fn without_log(mut self) -> Self {
        self.logs_alerts = false;
        self
    }

    /// Says how many partitions the sink's topic has: rows of one record belong to one of them.
    pub fn spread_over(&mut self, partitions: i32) {
        self.partitions = Some(partitions);
    }

    pub fn topic(&self) -> &str {
        &self.sink.topic
    }

    /// Rows since the last call that the sink's records cannot hold.
    pub fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.left_out.lock().unwrap_or_else(PoisonError::into_inner).rows)
    }

    /// All rows in records that they share; `None` where each has its own.
    fn together(&self, batch: &RecordBatch, emission: &Emission, keys: Option<&StringArray>) -> Option<Vec<Packed>> {
        let encoder = self.encoder.of_many().filter(|_| self.sink.shares_records())?;
        let rows_max = self.sink.record_rows_max;
        let way = Way { encoder, rows_max, partitions: self.partitions, keys };
        // A row that cannot be written is found when each is written by itself.
        way.pack(batch, &emission.evidence).ok()
    }

    /// All rows; where that fails, those that can be, each by itself.
    fn payloads(&self, batch: &RecordBatch) -> Vec<Packed> {
        if let Ok(rows) = self.encoder.encode(batch) {
            return (0..).zip(rows).map(|(row, payload)| Packed::of_one(row, payload)).collect();
        }
        let (mut left_out, mut reason) = (0, String::new());
        let one = |row: u32| match self.encoder.encode(&batch.slice(row as usize, 1)) {
            Ok(mut payloads) => Some(Packed::of_one(row, payloads.pop()?)),
            Err(error) => {
                if left_out == 0 {
                    // Of the one row it is.
                    reason = error.to_string().replace(", row 0:", ":");
                }
                left_out += 1;
                None
            }
        };
        let payloads = (0..batch.num_rows() as u32).filter_map(one).collect();
        let mut known = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        known.rows += left_out;
        if known.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN_AFTER) {
            known.told = Some(Instant::now());
            let (insert, topic) = (&self.name, &self.sink.topic);
            tracing::warn!(
                insert,
                topic,
                rows = left_out,
                reason,
                "rows cannot be written to their topic and are left out"
            );
        }
        payloads
    }

    /// Appends the records of all rows.
    pub fn encode(&self, emission: &Emission, records: &mut Vec<Outgoing>) -> Result<(), EmitError> {
        self.encode_each(emission, |_, record| records.push(record))
    }

    /// Gives each record with the numbers of the rows that it holds: in the rows' order, but for rows that share records.
    pub fn encode_each(&self, emission: &Emission, mut give: impl FnMut(&[u32], Outgoing)) -> Result<(), EmitError> {
        let refuse = |detail: String| EmitError { insert: self.name.clone(), topic: self.sink.topic.clone(), detail };
        let refused = |error: ArrowError| refuse(error.to_string());
        let batch = self.with_quality(emission).map_err(refused)?;
        let keys = self.key.map(|index| cast(emission.batch.column(index), &DataType::Utf8));
        let keys = keys.transpose().map_err(refused)?;
        let keys = keys.as_ref().map(|keys| keys.as_string::<i32>());
        let evidence_of = |row: u32| &emission.evidence[if emission.evidence.len() == 1 { 0 } else { row as usize }];
        let packed = match self.together(&batch, emission, keys) {
            Some(packed) => packed,
            None => self.payloads(&batch),
        };
        let numbers = numbers_among_alike(&packed, evidence_of);
        let mut hashed = Vec::new();
        for (Packed { rows, partition, payload }, number) in packed.into_iter().zip(numbers) {
            let evidence = evidence_of(rows.first());
            let id = self.id(emission.window_ns, evidence, &payload, number, &mut hashed);
            let provenance = || self.provenance(&id, emission, evidence);
            let mut payload = self.fill(payload, provenance).map_err(|error| refuse(error.to_string()))?;
            if !self.prefix.is_empty() {
                payload.splice(..0, self.prefix.iter().copied());
            }
            let key = match (keys, &rows) {
                (Some(keys), &Rows::One(row)) if keys.is_valid(row as usize) => {
                    Some(keys.value(row as usize).as_bytes().to_vec())
                }
                _ => None,
            };
            let headers = vec![("amoskys-id".into(), id.into_bytes())];
            give(rows.as_slice(), Outgoing { topic: self.sink.topic.clone(), partition, key, payload, headers });
        }
        Ok(())
    }

    /// `number` tells rows that are alike apart; `hashed` is memory to work in. Everything is hashed in one piece, which
    /// costs less than half of hashing it part by part.
    fn id(
        &self,
        window_ns: Option<(i64, i64)>,
        evidence: &Evidence,
        payload: &[u8],
        number: u64,
        hashed: &mut Vec<u8>,
    ) -> String {
        hashed.clear();
        for part in [self.sql_hash.as_bytes(), self.name.as_bytes(), &[0], evidence.topic.as_bytes()] {
            hashed.extend_from_slice(part);
        }
        hashed.extend_from_slice(&evidence.partition.to_le_bytes());
        let (from, past) = window_ns.map_or((evidence.first_offset, None), |(start, end)| (start, Some(end)));
        hashed.extend_from_slice(&from.to_le_bytes());
        past.iter().for_each(|past| hashed.extend_from_slice(&past.to_le_bytes()));
        hashed.extend_from_slice(payload);
        hashed.extend_from_slice(&number.to_le_bytes());
        blake3::hash(hashed).to_hex()[..32].to_owned()
    }

    /// Says of a window's rows whether the window is whole, in the sink's column for it, where the SELECT does not.
    fn with_quality(&self, emission: &Emission) -> Result<RecordBatch, ArrowError> {
        let (Some(index), Some(_)) = (self.quality, emission.window_ns) else { return Ok(emission.batch.clone()) };
        let mut columns = emission.batch.columns().to_vec();
        if columns[index].null_count() < emission.batch.num_rows() {
            return Ok(emission.batch.clone());
        }
        let quality = if emission.shed_rows == 0 { "complete" } else { "shed" };
        let all = StringArray::from(vec![quality; emission.batch.num_rows()]);
        columns[index] = cast(&all, columns[index].data_type())?;
        RecordBatch::try_new(emission.batch.schema(), columns)
    }

    fn provenance(&self, id: &str, emission: &Emission, evidence: &Evidence) -> Provenance {
        let window_ns = emission.window_ns;
        Provenance {
            id: id.to_owned(),
            sql_hash: self.sql_hash.clone(),
            window_start: window_ns.map(|(start, _)| timestamp(start)),
            window_end: window_ns.map(|(_, end)| timestamp(end)),
            models: self.models.clone(),
            shed_rows: emission.shed_rows,
            evidence: match emission.sources.as_slice() {
                [] => vec![evidence.into()],
                sources => sources.iter().map(v1::Evidence::from).collect(),
            },
        }
    }

    /// Fills in what the SELECT left out of an alert or a feature row.
    fn fill(&self, payload: Vec<u8>, provenance: impl FnOnce() -> Provenance) -> Result<Vec<u8>, prost::DecodeError> {
        match self.kind {
            Kind::Other => Ok(payload),
            Kind::FeatureRow => {
                let (mut row, provenance) = (FeatureRow::decode(payload.as_slice())?, provenance());
                or(&mut row.view, Some(&self.name));
                row.window_start = row.window_start.or(provenance.window_start);
                row.window_end = row.window_end.or(provenance.window_end);
                row.provenance = Some(provenance);
                Ok(row.encode_to_vec())
            }
            Kind::Alert => {
                let (mut alert, provenance) = (Alert::decode(payload.as_slice())?, provenance());
                or(&mut alert.detection, Some(&self.name));
                or(&mut alert.technique, self.annotations.technique.as_ref());
                or(&mut alert.title, self.annotations.title.as_ref());
                or(&mut alert.false_positives, self.annotations.false_positives.as_ref());
                or(&mut alert.next_steps, self.annotations.next_steps.as_ref());
                // Computed, it may be anything; NaN says nothing.
                alert.confidence = if alert.confidence.is_nan() { 0.0 } else { alert.confidence.clamp(0.0, 1.0) };
                or(&mut alert.severity, Some(&severity(alert.confidence).to_owned()));
                alert.time = alert.time.or(provenance.window_end);
                for name in self.explained.iter().filter(|name| !alert.contributions.contains_key(*name)) {
                    alert.features.remove(name);
                }
                alert.provenance = Some(provenance);
                let Alert { detection, entity, host_id, confidence, .. } = &alert;
                if self.logs_alerts {
                    tracing::info!(detection, host_id, entity, confidence, "alert");
                }
                Ok(alert.encode_to_vec())
            }
        }
    }
}

/// For each record the how-many-th of those it is that have the same bytes and come from the same record or, all of them, from the
/// same window; from 1 on.
fn numbers_among_alike<'a>(packed: &[Packed], evidence_of: impl Fn(u32) -> &'a Evidence) -> Vec<u64> {
    let mut seen: HashMap<(i64, &[u8]), u64> = HashMap::with_capacity(packed.len());
    let mut numbers = Vec::with_capacity(packed.len());
    for Packed { rows, payload, .. } in packed {
        let number = seen.entry((evidence_of(rows.first()).first_offset, payload)).or_default();
        *number += 1;
        numbers.push(*number);
    }
    numbers
}

fn or(field: &mut String, default: Option<&String>) {
    if let (true, Some(default)) = (field.is_empty(), default) {
        field.clone_from(default);
    }
}

/// LOW < 0.3 ≤ MEDIUM < 0.6 ≤ HIGH < 0.85 ≤ CRITICAL.
pub fn severity(confidence: f64) -> &'static str {
    match confidence {
        confidence if confidence >= 0.85 => "CRITICAL",
        confidence if confidence >= 0.6 => "HIGH",
        confidence if confidence >= 0.3 => "MEDIUM",
        _ => "LOW",
    }
}

/// Nanoseconds since 1970.
pub fn timestamp(time_ns: i64) -> Timestamp {
    const SECOND_NS: i64 = 1_000_000_000;
    Timestamp { seconds: time_ns.div_euclid(SECOND_NS), nanos: time_ns.rem_euclid(SECOND_NS) as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_begin_at_their_bounds() {
        let names = [0.0, 0.29, 0.3, 0.6, 0.85, 1.0].map(severity);
        assert_eq!(names, ["LOW", "LOW", "MEDIUM", "HIGH", "CRITICAL", "CRITICAL"]);
    }

    #[test]
    fn times_before_1970_have_positive_nanoseconds() {
        assert_eq!(timestamp(-1), Timestamp { seconds: -1, nanos: 999_999_999 });
    }
}
