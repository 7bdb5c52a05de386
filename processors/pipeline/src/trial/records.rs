//! Rows that a test inserts, as the records that would be in the stream's topic: the same bytes, so that they are decoded as live.
//!
//! Columns that are left out are absent in the record. What the log and the envelope say of a record may be given as columns
//! too, and has values that suit most tests where it is not.
//! Limits: a record for each row.

use super::script::time_ns;
use crate::sql::{ENVELOPE_COLUMNS, Format, LOG_COLUMNS, RowEncoder, Stream, nearest_of_all};
use amoskys_bus::partition_for_key;
use amoskys_columns::{AvroEncoder, ProtobufEncoder, batch_element, batch_of};
use amoskys_proto::v1::{Envelope, EnvelopeHeader};
use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, StringArray, TimestampNanosecondArray},
    compute::{CastOptions, cast, cast_with_options},
    datatypes::{DataType, Field, Int32Type, Schema, TimeUnit, TimestampNanosecondType, UInt64Type},
    record_batch::RecordBatch,
};
use prost::Message;
use std::{collections::BTreeMap, sync::Arc};

/// The record's bytes as they are, in the place of columns.
const PAYLOAD: &str = "_payload";
/// Of an envelope that the test says nothing of.
const USUAL: [(&str, &str); 3] = [("agent_id", "agent"), ("host_id", "host"), ("boot_id", "boot")];

/// A record to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivery {
    pub partition: i32,
    pub log_time_ns: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
}

pub(super) type Sequences = BTreeMap<(String, String, String), u64>;

/// What is known beside the rows.
pub(super) struct Around<'a> {
    pub clock_ns: i64,
    pub partitions: i32,
    /// The last sequence of each topic, agent and boot.
    pub sequences: &'a mut Sequences,
}

/// A record for each row, in their order.
///
/// # Errors
/// For people: a column that the stream lacks, a value that has no place in its column, a partition that is not there.
pub(super) fn deliveries(
    stream: &Stream,
    names: &[String],
    rows: &RecordBatch,
    around: &mut Around<'_>,
) -> Result<Vec<Delivery>, String> {
    if rows.num_columns() != names.len() {
        return Err(format!("{} values for {} columns", rows.num_columns(), names.len()));
    }
    let given = Given {
        stream,
        columns: names.iter().cloned().zip(rows.columns().iter().cloned()).collect(),
        rows: rows.num_rows(),
    };
    given.check(names)?;
    let payloads = given.payloads(around)?;
    let times = given.times(around.clock_ns)?;
    let partitions = given.of_log::<Int32Type>("_partition", &DataType::Int32)?;
    let keys = given.keys()?;
    let delivery = |(row, payload): (usize, Vec<u8>)| {
        let key = keys.as_ref().filter(|keys| keys.is_valid(row)).map(|keys| keys.value(row).as_bytes().to_vec());
        let by_key = || key.as_deref().map_or(0, |key| partition_for_key(key, around.partitions));
        let partition = partitions.as_ref().map_or_else(by_key, |partitions| partitions.value(row));
        if !(0..around.partitions).contains(&partition) {
            let count = around.partitions;
            return Err(format!(
                "there is no partition {partition}: the test has {count}; -- partitions: N says how many"
            ));
        }
        Ok(Delivery { partition, log_time_ns: times[row], key, payload })
    };
    payloads.into_iter().enumerate().map(delivery).collect()
}

struct Given<'a> {
    stream: &'a Stream,
    columns: BTreeMap<String, ArrayRef>,
    rows: usize,
}

impl Given<'_> {
    fn is_envelope(&self) -> bool {
        matches!(self.stream.format, Format::Envelope { .. })
    }

    fn check(&self, names: &[String]) -> Result<(), String> {
        if let Some(twice) = names.iter().find(|name| names.iter().filter(|other| other == name).count() > 1) {
            return Err(format!("column `{twice}` is given twice"));
        }
        let mut known: Vec<&str> = self.stream.columns.fields().iter().map(|field| field.name().as_str()).collect();
        known.extend(ENVELOPE_COLUMNS.into_iter().filter(|_| self.is_envelope()));
        // A record's offset is where it comes to stand.
        known.extend(LOG_COLUMNS.into_iter().filter(|name| *name != "_offset"));
        known.push(PAYLOAD);
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(format!(
                "`{unknown}` is no column of `{}`; {}",
                self.stream.name,
                nearest_of_all(unknown, &known)
            ));
        }
        let of_record = |name: &&String| self.stream.columns.column_with_name(name).is_some();
        match names.iter().find(of_record) {
            Some(other) if self.columns.contains_key(PAYLOAD) => {
                Err(format!("`{PAYLOAD}` is the whole record, so `{other}` cannot be given beside it"))
            }
            _ => Ok(()),
        }
    }

    fn payloads(&self, around: &mut Around<'_>) -> Result<Vec<Vec<u8>>, String> {
        if let Some(payloads) = self.columns.get(PAYLOAD) {
            let bytes = cast(payloads, &DataType::Binary).map_err(|error| format!("column `{PAYLOAD}`: {error}"))?;
            let bytes: &BinaryArray = bytes.as_binary();
            return Ok((0..self.rows).map(|row| bytes.value(row).to_vec()).collect());
        }
        let batch = self.body(around.clock_ns)?;
        let words = |error: &dyn std::fmt::Display| error.to_string();
        match &self.stream.format {
            format @ (Format::Json | Format::Protobuf { .. } | Format::Arrow) => {
                let encoder = RowEncoder::new(format, &batch.schema()).map_err(|error| words(&error))?;
                Ok(self.framed(encoder.encode(&batch).map_err(|error| words(&error))?))
            }
            Format::Avro { schema } => {
                Ok(self.framed(AvroEncoder::new(schema).encode(&batch).map_err(|error| words(&error))?))
            }
            Format::Envelope { batch: of } => {
                let element = batch_element(of).map_err(|error| words(&error))?;
                let encoder = ProtobufEncoder::new(batch.schema(), &element).map_err(|error| words(&error))?;
                let events = encoder.encode(&batch).map_err(|error| words(&error))?;
                let headers = self.headers(of.full_name(), around)?;
                let envelope = |(event, header): (Vec<u8>, EnvelopeHeader)| {
                    let payload = batch_of(of, &[event]).map_err(|error| words(&error))?;
                    let header = header.encode_to_vec().into();
                    Ok(Envelope { header, payload: payload.into(), signature: Vec::new().into() }.encode_to_vec())
                };
                events.into_iter().zip(headers).map(envelope).collect()
            }
            Format::Panes | Format::Csv | Format::Parquet => {
                Err(format!("`{}` is no stream of rows", self.stream.name))
            }
        }
    }

    /// With what the stream's records begin with.
    fn framed(&self, mut records: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        if let Some(framing) = &self.stream.framing {
            let prefix = framing.prefix();
            records.iter_mut().for_each(|record| drop(record.splice(..0, prefix.iter().copied())));
        }
        records
    }

    /// The columns of the records, of the stream's types.
    fn body(&self, clock_ns: i64) -> Result<RecordBatch, String> {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for field in self.stream.columns.fields() {
            let array = match self.columns.get(field.name()) {
                Some(array) => cast_to(field, array)?,
                None if self.stream.event_time.as_ref() == Some(field.name()) => {
                    Arc::new(TimestampNanosecondArray::from_value(clock_ns, self.rows)) as ArrayRef
                }
                None => continue,
            };
            fields.push(Field::new(field.name(), field.data_type().clone(), true));
            arrays.push(array);
        }
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| error.to_string())
    }

    fn headers(&self, schema: &str, around: &mut Around<'_>) -> Result<Vec<EnvelopeHeader>, String> {
        let texts = |(name, usual): (&str, &str)| -> Result<Vec<String>, String> {
            let Some(array) = self.columns.get(name) else { return Ok(vec![usual.to_owned(); self.rows]) };
            let texts = cast_to(&Field::new(name, DataType::Utf8, true), array)?;
            let texts: &StringArray = texts.as_string();
            Ok(texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
        };
        let [agents, hosts, boots] = USUAL.map(texts);
        let (agents, hosts, boots) = (agents?, hosts?, boots?);
        let sequences = self.of_log::<UInt64Type>("sequence", &DataType::UInt64)?;
        let header = |row: usize| {
            let last = around
                .sequences
                .entry((self.stream.topic.clone(), agents[row].clone(), boots[row].clone()))
                .or_default();
            let sequence = sequences.as_ref().map_or(*last + 1, |sequences| sequences.value(row));
            *last = sequence.max(*last);
            EnvelopeHeader {
                agent_id: agents[row].clone(),
                host_id: hosts[row].clone(),
                boot_id: boots[row].clone(),
                sequence,
                schema: schema.to_owned(),
                event_count: 1,
                ..EnvelopeHeader::default()
            }
        };
        Ok((0..self.rows).map(header).collect())
    }

    /// A column of numbers, none of them null.
    fn of_log<T: arrow::datatypes::ArrowPrimitiveType>(
        &self,
        name: &str,
        data_type: &DataType,
    ) -> Result<Option<arrow::array::PrimitiveArray<T>>, String> {
        let Some(array) = self.columns.get(name) else { return Ok(None) };
        let array = cast_to(&Field::new(name, data_type.clone(), true), array)?;
        if array.null_count() > 0 {
            Err(format!("`{name}` is null"))
        } else {
            Ok(Some(array.as_primitive::<T>().clone()))
        }
    }

    /// When the log got each record: as the test says, else when the event was, or now, whichever is later.
    fn times(&self, clock_ns: i64) -> Result<Vec<i64>, String> {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        if let Some(times) = self.of_log::<TimestampNanosecondType>("_log_time", &time)? {
            return Ok(times.values().to_vec());
        }
        let events = self.stream.event_time.as_ref().and_then(|name| self.columns.get(name));
        let Some(events) = events else { return Ok(vec![clock_ns; self.rows]) };
        let events = cast_to(&Field::new("event time", time, true), events)?;
        let events = events.as_primitive::<TimestampNanosecondType>();
        Ok(events.iter().map(|time_ns| time_ns.unwrap_or(clock_ns).max(clock_ns)).collect())
    }

    /// What decides each record's partition, where that is among the columns.
    fn keys(&self) -> Result<Option<StringArray>, String> {
        let usual = self.is_envelope().then_some("host_id");
        let Some(name) = self.stream.partition_key.as_deref().or(usual) else { return Ok(None) };
        let Some(array) = self.columns.get(name) else { return Ok(None) };
        let texts = cast_to(&Field::new(name, DataType::Utf8, true), array)?;
        Ok(Some(texts.as_string().clone()))
    }
}

/// A value that has no place in the column's type is an error; a time may be without its date.
fn cast_to(field: &Field, array: &ArrayRef) -> Result<ArrayRef, String> {
    let wrong = |error: String| format!("column `{}`: {error}", field.name());
    let is_text = array.data_type().is_string();
    if is_text && matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, None)) {
        let texts = cast(array, &DataType::Utf8).map_err(|error| wrong(error.to_string()))?;
        let time = |text: Option<&str>| match text {
            Some(text) => time_ns(text).map(Some).ok_or_else(|| wrong(format!("`{text}` is no time"))),
            None => Ok(None),
        };
        let times: Result<Vec<Option<i64>>, String> = texts.as_string::<i32>().iter().map(time).collect();
        return Ok(Arc::new(TimestampNanosecondArray::from(times?)));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, field.data_type(), &options).map_err(|error| wrong(error.to_string()))
}
