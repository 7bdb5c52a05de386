//! Records of one partition into columns: verified, decoded, and with what the log and the envelope say of them.
//!
//! Envelopes are copied and verified in groups, because verifying a group of signatures costs half, and JSON and Avro are
//! decoded in groups for the same reason; with verification off, and for other formats, records are decoded as they come, from
//! the log's own buffer. A record that does not decode becomes a dead letter, or is the end where the stream says so; where
//! nothing is wrong with it (a schema registry does not answer) it is the end in any case, so that it is read again.
//! Limits: [`amoskys_columns::Limits`] per record; of waiting records `VERIFIED_TOGETHER_MAX` or `DECODED_TOGETHER_MAX`,
//! and `TOGETHER_BYTES_MAX` and one more.

use super::{
    body::{Body, DecoderError, Failure},
    duplicates::Seen,
    near_keys::NearKeys,
};
use crate::{
    schemas::{Framing, Unframed},
    sql::{Format, OnError, Stream},
};
use amoskys_bus::Record;
use amoskys_columns::{Constant, ConstantType, Constants};
use amoskys_proto::{EnvelopeView, KeyRing, SharedKeys, v1::DeadLetterReason};
use arrow::{
    array::ArrayRef,
    datatypes::{FieldRef, Schema, SchemaRef},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
};
use std::sync::Arc;

/// Whether envelopes must be signed by a known key.
#[derive(Debug, Clone)]
pub enum Verify {
    /// By the keys that are in force when a group of envelopes is verified.
    Required(SharedKeys),
    Off,
}

impl Verify {
    pub fn by(keys: impl Into<SharedKeys>) -> Self {
        Self::Required(keys.into())
    }
}

/// A record that could not be used, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadRecord {
    pub offset: i64,
    pub log_time_ms: i64,
    pub reason: DeadLetterReason,
    pub detail: String,
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
}

/// A record whose rows were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub offset: i64,
    /// Absent in history that was not read from a log.
    pub log_time_ns: Option<i64>,
    pub rows: u32,
    /// An envelope that came before; it has no rows.
    pub is_duplicate: bool,
}

/// A record at which reading ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream `{stream}` stops at partition {partition}, offset {offset}: {detail}")]
pub struct Stopped {
    pub stream: String,
    pub partition: i32,
    pub offset: i64,
    pub detail: String,
}

const VERIFIED_TOGETHER_MAX: usize = 16;
const DECODED_TOGETHER_MAX: usize = 256;
const TOGETHER_BYTES_MAX: usize = 1 << 20;

pub struct RecordDecoder {
    body: Body,
    constants: Constants,
    /// What each constant column is.
    kinds: Vec<Extra>,
    schema: SchemaRef,
    /// For each column of `schema`: where it is among the body's columns and then the constants.
    order: Vec<usize>,
    stream: String,
    partition: i32,
    verify: Verify,
    framing: Option<Framing>,
    near_keys: Option<NearKeys>,
    on_error: OnError,
    stopped: Option<Stopped>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    taken: Vec<Taken>,
    dead: Vec<DeadRecord>,
}

#[derive(Clone, Copy, PartialEq)]
enum Extra {
    Agent,
    Host,
    Boot,
    Sequence,
    Partition,
    Offset,
    LogTime,
}

impl Extra {
    fn of(name: &str) -> Option<(Self, ConstantType)> {
        Some(match name {
            "agent_id" => (Extra::Agent, ConstantType::Text),
            "host_id" => (Extra::Host, ConstantType::Text),
            "boot_id" => (Extra::Boot, ConstantType::Text),
            "sequence" => (Extra::Sequence, ConstantType::UInt64),
            "_partition" => (Extra::Partition, ConstantType::Int32),
            "_offset" => (Extra::Offset, ConstantType::Int64),
            "_log_time" => (Extra::LogTime, ConstantType::TimeNs),
            _ => return None,
        })
    }
}

struct Waiting {
    offset: i64,
    log_time_ms: i64,
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl Waiting {
    fn source(&self) -> Source<'_> {
        let Self { offset, log_time_ms, key, payload } = self;
        Source { offset: *offset, log_time_ms: *log_time_ms, key, payload }
    }
}

/// The parts of a record that a failure needs.
struct Source<'a> {
    offset: i64,
    log_time_ms: i64,
    key: &'a [u8],
    payload: &'a [u8],
}

impl RecordDecoder {
    /// Decodes `columns` (names of the stream's schema) of the records of one partition.
    pub fn new(stream: &Stream, columns: &[String], partition: i32, verify: Verify) -> Result<Self, DecoderError> {
        let is_own = |name: &String| stream.columns.column_with_name(name).is_some();
        let own: Vec<&str> = columns.iter().filter(|name| is_own(name)).map(String::as_str).collect();
        let extras: Vec<(&str, Extra, ConstantType)> = columns
            .iter()
            .filter(|name| !is_own(name))
            .filter_map(|name| Extra::of(name).map(|(extra, kind)| (name.as_str(), extra, kind)))
            .collect();
        let body = Body::new(stream, &own)?;
        let constants = Constants::new(extras.iter().map(|(name, _, kind)| (*name, *kind)));
        let mut fields: Vec<FieldRef> = body.schema().fields().iter().cloned().collect();
        fields.extend(constants.fields());
        let place = |name: &String| fields.iter().position(|field| field.name() == name);
        let order: Vec<usize> = columns.iter().filter_map(place).collect();
        let schema = Arc::new(Schema::new(order.iter().map(|&index| fields[index].clone()).collect::<Vec<_>>()));
        let kinds = extras.iter().map(|(_, extra, _)| *extra).collect();
        Ok(Self {
            body,
            constants,
            kinds,
            schema,
            order,
            stream: stream.name.clone(),
            partition,
            verify,
            framing: stream.framing.clone(),
            near_keys: (stream.format == Format::Json).then(|| NearKeys::new(&stream.name, &own)),
            on_error: stream.on_error,
            stopped: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            taken: Vec::new(),
            dead: Vec::new(),
        })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Goes on knowing which envelopes came before, and lets [`RecordDecoder::seen_before`] be asked.
    pub fn know(&mut self, known: Seen) {
        if let Body::Envelope { seen, .. } = &mut self.body {
            **seen = known;
            seen.keep_changes();
        }
    }

    /// Knows the envelopes that another knew, which has come as far; `keep` as after [`RecordDecoder::know`].
    pub fn take_seen(&mut self, other: &mut Self, keep: bool) {
        if let (Body::Envelope { seen: mine, .. }, Body::Envelope { seen: theirs, .. }) =
            (&mut self.body, &mut other.body)
        {
            std::mem::swap(mine, theirs);
            if keep {
                mine.keep_changes();
            }
        }
    }

    /// What was known of envelopes before a record that came since [`RecordDecoder::forget_changes`].
    pub fn seen_before(&self, offset: i64) -> Seen {
        if let Body::Envelope { seen, .. } = &self.body { seen.before(offset) } else { Seen::default() }
    }

    pub fn forget_changes(&mut self) {
        if let Body::Envelope { seen, .. } = &mut self.body {
            seen.forget_changes();
        }
    }

    /// Rows decoded since the last `finish`; a record that waits for its group counts as one.
    pub fn rows(&self) -> usize {
        self.body.rows() + self.waiting.len()
    }

    pub fn push(&mut self, record: &Record<'_>) {
        if self.stopped.is_some() {
            return;
        }
        if let Some(records_max) = self.group_records_max() {
            self.waiting.push(Waiting {
                offset: record.offset,
                log_time_ms: record.log_time_ms,
                key: record.key.unwrap_or_default().to_vec(),
                payload: record.payload.to_vec(),
            });
            self.waiting_bytes += record.payload.len();
            if self.waiting.len() >= records_max || self.waiting_bytes > TOGETHER_BYTES_MAX {
                self.take_waiting();
            }
            return;
        }
        let source = Source {
            offset: record.offset,
            log_time_ms: record.log_time_ms,
            key: record.key.unwrap_or_default(),
            payload: record.payload,
        };
        let result = match &self.body {
            Body::Envelope { .. } => view(source.payload).and_then(|view| self.add_envelope(&view, &source)),
            _ => self.add_message(&source),
        };
        self.note(result, &source);
    }

    /// How many records wait to be handled together; `None` when each is decoded as it comes.
    fn group_records_max(&self) -> Option<usize> {
        match (&self.body, &self.verify) {
            (Body::Envelope { .. }, Verify::Required(_)) => Some(VERIFIED_TOGETHER_MAX),
            (body, _) => body.is_grouped().then_some(DECODED_TOGETHER_MAX),
        }
    }

    /// The record at which the stream has ended. What came before it is still to be had by [`RecordDecoder::finish`].
    pub fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// Values that are null by `on_error`, since the last call.
    pub fn take_nulled(&mut self) -> u64 {
        self.body.take_nulled()
    }

    /// All rows since the last call, the records they came from, and the records that gave none.
    pub fn finish(&mut self) -> Result<(RecordBatch, Vec<Taken>, Vec<DeadRecord>), ArrowError> {
        self.take_waiting();
        let body = self.body.finish()?;
        // Records behind the one that stopped the stream may have been decoded with it.
        let rows = self.taken.iter().map(|taken| taken.rows as usize).sum::<usize>();
        let body = body.slice(0, rows.min(body.num_rows()));
        let mut arrays: Vec<ArrayRef> = body.columns().to_vec();
        arrays.extend(self.constants.finish());
        let arrays = self.order.iter().map(|&index| arrays[index].clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        Ok((batch, std::mem::take(&mut self.taken), std::mem::take(&mut self.dead)))
    }

    fn take_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        match (&self.body, self.verify.clone()) {
            (Body::Envelope { .. }, Verify::Required(keys)) => self.verify_waiting(&keys.now(), &waiting),
            _ => self.decode_waiting(&waiting),
        }
        waiting.clear();
        self.waiting = waiting;
        self.waiting_bytes = 0;
    }

    fn decode_waiting(&mut self, waiting: &[Waiting]) {
        let opened: Vec<_> = waiting.iter().map(|record| self.opened(&record.payload)).collect();
        let whole: Vec<_> = opened.iter().filter_map(|opened| opened.as_ref().ok().copied()).collect();
        if let Some(near_keys) = &mut self.near_keys {
            whole.iter().for_each(|(_, record)| near_keys.look(record));
        }
        let mut results = self.body.push_all(&whole).into_iter();
        for (record, opened) in waiting.iter().zip(opened) {
            let source = record.source();
            if self.stopped.is_some() {
                break;
            }
            let decoded = opened.and_then(|_| results.next().unwrap_or_else(|| Err(Failure::internal("no result"))));
            let added = decoded.and_then(|()| self.add_constants(1, &source));
            self.note(added, &source);
        }
    }

    /// The record's body, and the number of the schema that wrote it where records begin with one.
    fn opened<'a>(&mut self, payload: &'a [u8]) -> Result<(Option<u32>, &'a [u8]), Failure> {
        let Some(framing) = &mut self.framing else { return Ok((None, payload)) };
        let body = framing.open(payload).map_err(|error| match error {
            Unframed::Bad(detail) => Failure::new(DeadLetterReason::SchemaMismatch, detail),
            Unframed::Unreachable(detail) => {
                Failure { is_passing: true, ..Failure::new(DeadLetterReason::SchemaMismatch, detail) }
            }
        })?;
        self.body.learn(body.schema_id, framing.writer(body.schema_id))?;
        Ok((Some(body.schema_id), body.bytes))
    }

    fn verify_waiting<'a>(&mut self, ring: &KeyRing, waiting: &'a [Waiting]) {
        let views: Vec<Result<EnvelopeView<'a>, Failure>> =
            waiting.iter().map(|record| view(&record.payload)).collect();
        let dated = |(record, view): (&Waiting, &Result<EnvelopeView<'a>, Failure>)| {
            view.as_ref().ok().map(|view| (view.clone(), record.log_time_ms))
        };
        let whole: Vec<_> = waiting.iter().zip(&views).filter_map(dated).collect();
        let mut verdicts = ring.verify(&whole).into_iter();
        for (record, view) in waiting.iter().zip(views) {
            if self.stopped.is_some() {
                break;
            }
            let source = record.source();
            let result = view.and_then(|view| match verdicts.next() {
                Some(Err(error)) => Err(Failure::new(error.reason(), error)),
                _ => self.add_envelope(&view, &source),
            });
            self.note(result, &source);
        }
    }

    /// `None`: the record is a duplicate.
    fn note(&mut self, result: Result<Option<u32>, Failure>, source: &Source<'_>) {
        let rows = match result {
            Ok(rows) => rows,
            Err(failure) if failure.is_passing || self.on_error == OnError::Stop => {
                let at_will = if failure.is_passing { "" } else { " (on_error is 'stop')" };
                self.stopped.get_or_insert_with(|| Stopped {
                    stream: self.stream.clone(),
                    partition: self.partition,
                    offset: source.offset,
                    detail: format!("{}{at_will}", failure.detail),
                });
                return;
            }
            Err(failure) => {
                self.dead.push(DeadRecord {
                    offset: source.offset,
                    log_time_ms: source.log_time_ms,
                    reason: failure.reason,
                    detail: failure.detail,
                    key: source.key.to_vec(),
                    payload: source.payload.to_vec(),
                });
                Some(0)
            }
        };
        // A record without rows is still noted: its log time counts, and the position moves past it.
        let log_time_ns = Some(source.log_time_ms.saturating_mul(1_000_000));
        let (rows, is_duplicate) = (rows.unwrap_or(0), rows.is_none());
        self.taken.push(Taken { offset: source.offset, log_time_ns, rows, is_duplicate });
    }

    fn add_envelope(&mut self, envelope: &EnvelopeView<'_>, source: &Source<'_>) -> Result<Option<u32>, Failure> {
        let Body::Envelope { decoder, schema_name, seen } = &mut self.body else {
            return Err(Failure::internal("not a stream of envelopes"));
        };
        let header = &envelope.header;
        if header.schema != *schema_name {
            let detail = format!("the envelope holds {}, the stream {schema_name}", header.schema);
            return Err(Failure::new(DeadLetterReason::SchemaMismatch, detail));
        }
        if !seen.admit(source.offset, &header.agent_id, &header.boot_id, header.sequence) {
            return Ok(None);
        }
        let rows = match decoder.push(envelope.payload) {
            Ok(rows) => rows,
            Err(error) => {
                seen.withdraw(source.offset, &header.agent_id, &header.boot_id, header.sequence);
                return Err(Failure::of(error.is_limit(), format_args!("payload: {error}")));
            }
        };
        let values: Vec<Constant<'_>> = self
            .kinds
            .iter()
            .map(|kind| match kind {
                Extra::Agent => Constant::Text(&header.agent_id),
                Extra::Host => Constant::Text(&header.host_id),
                Extra::Boot => Constant::Text(&header.boot_id),
                Extra::Sequence => Constant::UInt64(header.sequence),
                other => log_constant(*other, self.partition, source),
            })
            .collect();
        self.constants.push(&values, rows).map_err(Failure::internal)?;
        Ok(Some(rows as u32))
    }

    fn add_message(&mut self, source: &Source<'_>) -> Result<Option<u32>, Failure> {
        let (_, body) = self.opened(source.payload)?;
        let rows = self.body.push(body)?;
        self.add_constants(rows, source)
    }

    /// What the log says of a record, for each of its rows.
    fn add_constants(&mut self, rows: usize, source: &Source<'_>) -> Result<Option<u32>, Failure> {
        let values: Vec<Constant<'_>> =
            self.kinds.iter().map(|kind| log_constant(*kind, self.partition, source)).collect();
        self.constants.push(&values, rows).map_err(Failure::internal)?;
        Ok(Some(rows as u32))
    }
}

fn view(payload: &[u8]) -> Result<EnvelopeView<'_>, Failure> {
    EnvelopeView::parse(payload)
        .map_err(|error| Failure::new(DeadLetterReason::Malformed, format_args!("envelope: {error}")))
}

fn log_constant<'a>(kind: Extra, partition: i32, source: &Source<'_>) -> Constant<'a> {
    match kind {
        Extra::Partition => Constant::Int32(partition),
        Extra::Offset => Constant::Int64(source.offset),
        Extra::LogTime => Constant::TimeNs(source.log_time_ms.saturating_mul(1_000_000)),
        _ => Constant::Null,
    }
}
