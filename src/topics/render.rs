//! A record as text or as a JSON object.
//!
//! What does not decode is shown with the reason, never refused. Signatures are not verified.

use super::{
    alert,
    content::Content,
    text::{cut, hex, text_or_hex, time, time_of_ms, visible},
};
use crate::print::Format;
use amoskys_bus::Record;
use amoskys_pipeline::run::reason_name;
use amoskys_proto::{
    EnvelopeView,
    v1::{Alert, DeadLetter, EnvelopeHeader, FeatureRow},
};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions, Value as Field,
};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Events of an envelope are its payload's first repeated message field.
struct Events {
    header: EnvelopeHeader,
    signed: bool,
    events: Vec<DynamicMessage>,
}

/// Shown of a record that could not be used.
const PAYLOAD_CHARS_MAX: usize = 256;

pub struct Renderer {
    pool: DescriptorPool,
    content: Content,
    format: Format,
}

impl Renderer {
    pub fn new(pool: DescriptorPool, content: Content, format: Format) -> Self {
        Self { pool, content, format }
    }

    /// Text: a line about the record and its content below, indented. JSON: one object in one line.
    pub fn render(&self, record: &Record<'_>, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Text => {
                writeln!(out, "{}", head(record))?;
                match self.text(record) {
                    Ok(text) => text.lines().try_for_each(|line| writeln!(out, "  {line}")),
                    Err(problem) => {
                        writeln!(out, "  does not decode: {}", visible(&problem))?;
                        writeln!(out, "  {}", text_or_hex(record.payload))
                    }
                }
            }
            Format::Json => {
                let mut object = json_head(record);
                match self.json(record) {
                    Ok(content) => object.extend(content),
                    Err(problem) => {
                        object.insert("error".into(), problem.into());
                        object.extend(payload_json(record.payload));
                    }
                }
                writeln!(out, "{}", visible(&Value::Object(object).to_string()))
            }
        }
    }

    fn text(&self, record: &Record<'_>) -> Result<String, String> {
        match &self.content {
            Content::Bytes => Ok(text_or_hex(record.payload)),
            Content::Envelopes { .. } => {
                let envelope = self.envelope(record.payload)?;
                let events = envelope.events.iter().map(|event| compact(event).map(|event| format!("\n{event}")));
                Ok(header_line(&envelope) + &events.collect::<Result<String, _>>()?)
            }
            Content::Messages(message) => match message.full_name() {
                "amoskys.v1.Alert" => Ok(alert::describe(&decoded::<Alert>(record.payload)?)),
                "amoskys.v1.FeatureRow" => Ok(features_line(&decoded(record.payload)?)),
                "amoskys.v1.DeadLetter" => Ok(dead_letter(&decoded(record.payload)?)),
                _ => compact(&dynamic(message, record.payload)?),
            },
        }
    }

    fn json(&self, record: &Record<'_>) -> Result<Map<String, Value>, String> {
        let value = match &self.content {
            Content::Bytes => return Ok(payload_json(record.payload)),
            Content::Envelopes { .. } => {
                let envelope = self.envelope(record.payload)?;
                let events = envelope.events.iter().map(full).collect::<Result<Vec<_>, _>>()?;
                json!({"envelope": header_json(&envelope), "events": events})
            }
            Content::Messages(message) => {
                let value = full(&dynamic(message, record.payload)?)?;
                json!({"message": message.full_name(), "value": value})
            }
        };
        match value {
            Value::Object(object) => Ok(object),
            other => Err(format!("not an object: {other}")),
        }
    }

    fn envelope(&self, payload: &[u8]) -> Result<Events, String> {
        let view = EnvelopeView::parse(payload).map_err(|error| error.to_string())?;
        let schema = view.header.schema.as_str();
        let batch = self.pool.get_message_by_name(schema);
        let batch = batch.ok_or_else(|| format!("the envelope's schema `{schema}` is not known to this program"))?;
        let element = amoskys_columns::batch_element(&batch).map_err(|error| error.to_string())?;
        let message = dynamic(&batch, view.payload)?;
        let lists = message.fields().filter_map(|(_, value)| value.as_list());
        let of_events = |value: &&Field| value.as_message().is_some_and(|event| event.descriptor() == element);
        let events = lists.flatten().filter(of_events).filter_map(Field::as_message);
        Ok(Events { signed: !view.signature.is_empty(), events: events.cloned().collect(), header: view.header })
    }
}

fn decoded<M: Message + Default>(payload: &[u8]) -> Result<M, String> {
    M::decode(payload).map_err(|error| error.to_string())
}

fn dynamic(message: &MessageDescriptor, payload: &[u8]) -> Result<DynamicMessage, String> {
    DynamicMessage::decode(message.clone(), payload).map_err(|error| error.to_string())
}

fn options() -> SerializeOptions {
    SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false)
}

/// For people: only what is not zero or empty, in the order of the .proto file.
fn compact(message: &DynamicMessage) -> Result<String, String> {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut json);
    message.serialize_with_options(&mut serializer, &options()).map_err(|error| error.to_string())?;
    Ok(visible(&String::from_utf8_lossy(&json)))
}

/// For programs: every field.
fn full(message: &DynamicMessage) -> Result<Value, String> {
    let options = options().skip_default_fields(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| error.to_string())
}

/// `topic/partition@offset  log time  key  bytes`
fn head(record: &Record<'_>) -> String {
    let (topic, partition, offset) = (record.topic, record.partition, record.offset);
    let key = record.key.map(|key| format!("  key {}", text_or_hex(key))).unwrap_or_default();
    let log_time = time_of_ms(record.log_time_ms);
    format!("{topic}/{partition}@{offset}  {log_time}{key}  {} bytes", record.payload.len())
}

fn json_head(record: &Record<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("topic".into(), record.topic.into());
    object.insert("partition".into(), record.partition.into());
    object.insert("offset".into(), record.offset.into());
    object.insert("log_time".into(), time_of_ms(record.log_time_ms).into());
    if let Some(key) = record.key {
        object.insert("key".into(), String::from_utf8_lossy(key).into());
    }
    if !record.headers.is_empty() {
        let headers = record.headers.iter();
        let headers = headers.map(|(name, value)| json!([name, String::from_utf8_lossy(value)]));
        object.insert("headers".into(), headers.collect());
    }
    object
}

/// JSON as it is, else text, else hex.
fn payload_json(payload: &[u8]) -> Map<String, Value> {
    let (name, value) = match (serde_json::from_slice(payload), std::str::from_utf8(payload)) {
        (Ok(value), _) => ("value", value),
        (_, Ok(text)) => ("text", text.into()),
        _ => ("hex", hex(payload).into()),
    };
    Map::from_iter([(name.to_owned(), value)])
}

/// For people, so its payload is cut; JSON has the whole.
fn dead_letter(letter: &DeadLetter) -> String {
    let [topic, detail] = [&letter.topic, &letter.detail].map(|text| visible(text));
    let reason = reason_name(letter.reason());
    let (partition, offset, at) = (letter.partition, letter.offset, time(letter.log_time.as_ref()));
    let [key, payload] = [&letter.key, &letter.payload].map(|bytes| cut(&text_or_hex(bytes), PAYLOAD_CHARS_MAX));
    let key = if key.is_empty() { key } else { format!("  key {key}") };
    let bytes = letter.payload_bytes;
    format!("{reason}: {detail}\nrecord {topic}/{partition}@{offset}  {at}{key}  {bytes} bytes\n{payload}")
}

fn header_line(envelope: &Events) -> String {
    let header = &envelope.header;
    let [agent, host, boot, schema, key] =
        [&header.agent_id, &header.host_id, &header.boot_id, &header.schema, &header.key_id].map(|text| visible(text));
    let signed = if envelope.signed { format!("signed by key {key}, not verified") } else { "unsigned".to_owned() };
    let (first, last) = (time(header.first_event_time.as_ref()), time(header.last_event_time.as_ref()));
    let (sequence, events) = (header.sequence, envelope.events.len());
    format!(
        "envelope {sequence} of agent {agent} on {host} (boot {boot}): {events} events of {schema}, {first} to {last}, {signed}"
    )
}

fn header_json(envelope: &Events) -> Value {
    let header = &envelope.header;
    json!({
        "agent_id": header.agent_id,
        "host_id": header.host_id,
        "boot_id": header.boot_id,
        "sequence": header.sequence,
        "schema": header.schema,
        "first_event_time": header.first_event_time.as_ref().map(|event_time| time(Some(event_time))),
        "last_event_time": header.last_event_time.as_ref().map(|event_time| time(Some(event_time))),
        "event_count": header.event_count,
        "key_id": header.key_id,
        "signed": envelope.signed,
    })
}

fn features_line(row: &FeatureRow) -> String {
    let (start, end) = (time(row.window_start.as_ref()), time(row.window_end.as_ref()));
    let [view, host, entity] = [&row.view, &row.host_id, &row.entity].map(|text| visible(text));
    let features = row.features.iter().map(|(name, value)| format!("{}={value}", visible(name)));
    format!("{view} of {entity} on {host}, {start} to {end}\n{}", features.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amoskys_proto::v1::DeadLetterReason;

    #[test]
    fn a_dead_letter_says_why_and_is_cut() {
        let letter = DeadLetter {
            topic: "t".into(),
            partition: 1,
            offset: 7,
            reason: DeadLetterReason::Unsigned.into(),
            detail: "no signature\x1b".into(),
            key: b"web-1".to_vec().into(),
            payload: vec![b'x'; 100_000].into(),
            payload_bytes: 100_000,
            ..Default::default()
        };
        let text = dead_letter(&letter);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["unsigned: no signature\\u001b", "record t/1@7  -  key web-1  100000 bytes"]);
        assert!(lines[2].starts_with("xxx") && lines[2].ends_with('…') && lines[2].len() < 300, "{}", lines[2]);
    }
}
