//! Records of a topic → Arrow rows, with where each came from.
//!
//! Columns: `_partition`, `_offset`, `_log_time`; for envelopes also `agent_id`, `host_id`, `boot_id`, `sequence`; then
//! those of the message, or `key` and `payload` when nothing is known about it. A column of the message wins over one of
//! the envelope with the same name.
//! Deliberately not here: verifying signatures, IO.

use super::content::Content;
use crate::cli::Misuse;
use amoskys_bus::Record;
use amoskys_columns::{Constant, ConstantType, Constants, Decoder, Layout, Limits, batch_element};
use amoskys_proto::{EnvelopeView, v1::EnvelopeHeader};
use arrow::{
    array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::sync::Arc;

const LOG_COLUMNS: [(&str, ConstantType); 3] =
    [("_partition", ConstantType::Int32), ("_offset", ConstantType::Int64), ("_log_time", ConstantType::TimeNs)];
const ENVELOPE_COLUMNS: [(&str, ConstantType); 4] = [
    ("agent_id", ConstantType::Text),
    ("host_id", ConstantType::Text),
    ("boot_id", ConstantType::Text),
    ("sequence", ConstantType::UInt64),
];

/// A record that gives no rows, and why.
pub type Refusal = String;

/// What turns a record's payload into rows.
enum Body {
    Envelope { schema: String, decoder: Box<Decoder> },
    Message(Box<Decoder>),
    Bytes { key: BinaryBuilder, payload: BinaryBuilder },
}

/// Where a column of the output is taken from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Constant(usize),
    Body(usize),
}

/// Collects rows; [`Rows::finish`] hands them over.
pub struct Rows {
    schema: SchemaRef,
    sources: Vec<Source>,
    constants: Constants,
    body: Body,
}

/// The schema that envelopes' payloads have, where it must be asked of the first of them.
pub fn schema_of_first(payload: &[u8]) -> Result<String, Refusal> {
    Ok(EnvelopeView::parse(payload).map_err(|error| error.to_string())?.header.schema)
}

impl Rows {
    /// `schema` names the payload's message of envelopes. Without `columns` all there are.
    pub fn new(
        content: &Content,
        schema: Option<&str>,
        columns: Option<&[String]>,
        pool: &DescriptorPool,
    ) -> anyhow::Result<Self> {
        match (content, schema) {
            (Content::Envelopes { .. }, Some(schema)) => {
                let unknown = || Misuse(format!("the envelopes' schema `{schema}` is not known to this program"));
                let batch = pool.get_message_by_name(schema).ok_or_else(unknown)?;
                let chosen = Chosen::new(&batch_element(&batch)?, &ENVELOPE_COLUMNS, columns)?;
                let decoder = Decoder::new(Layout::batch(&batch, &chosen.body())?, Limits::default());
                let fields = decoder.schema().fields().to_vec();
                Ok(chosen.rows(&fields, Body::Envelope { schema: schema.to_owned(), decoder: Box::new(decoder) }))
            }
            (Content::Messages(message), _) => {
                let chosen = Chosen::new(message, &[], columns)?;
                let decoder = Decoder::new(Layout::new(message, &chosen.body())?, Limits::default());
                let fields = decoder.schema().fields().to_vec();
                Ok(chosen.rows(&fields, Body::Message(Box::new(decoder))))
            }
            _ => Self::bytes(columns),
        }
    }

    fn bytes(columns: Option<&[String]>) -> anyhow::Result<Self> {
        let chosen = Chosen::among(&["key", "payload"], &[], columns)?;
        let field = |name: &&str| Arc::new(Field::new(*name, DataType::Binary, *name == "key"));
        let fields: Vec<FieldRef> = chosen.body().iter().map(field).collect();
        Ok(chosen.rows(&fields, Body::Bytes { key: BinaryBuilder::new(), payload: BinaryBuilder::new() }))
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows since the last [`finish`](Rows::finish).
    pub fn rows(&self) -> usize {
        self.constants.rows()
    }

    /// Adds the record's rows. Nothing is added when it is refused.
    pub fn push(&mut self, record: &Record<'_>) -> Result<usize, Refusal> {
        let (rows, header) = match &mut self.body {
            Body::Envelope { schema, decoder } => {
                let view = EnvelopeView::parse(record.payload).map_err(|error| error.to_string())?;
                if view.header.schema != *schema {
                    return Err(format!("its schema is `{}`, that of the file `{schema}`", view.header.schema));
                }
                let rows = decoder.push(view.payload).map_err(|error| format!("payload: {error}"))?;
                (rows, Some(view.header))
            }
            Body::Message(decoder) => (decoder.push(record.payload).map_err(|error| error.to_string())?, None),
            Body::Bytes { key, payload } => {
                key.append_option(record.key);
                payload.append_value(record.payload);
                (1, None)
            }
        };
        let values = constants(record, header.as_ref());
        let values = &values[..if header.is_some() { values.len() } else { LOG_COLUMNS.len() }];
        self.constants.push(values, rows).map_err(|error| error.to_string())?;
        Ok(rows)
    }

    /// The rows since the last call, as [`schema`](Rows::schema) says.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.constants.rows();
        let constants = self.constants.finish();
        let body: Vec<ArrayRef> = match &mut self.body {
            Body::Envelope { decoder, .. } | Body::Message(decoder) => decoder.finish()?.columns().to_vec(),
            Body::Bytes { key, payload } => {
                let (key, payload): (ArrayRef, ArrayRef) = (Arc::new(key.finish()), Arc::new(payload.finish()));
                let body = self.schema.fields().iter().skip(LOG_COLUMNS.len());
                body.map(|field| Arc::clone(if field.name() == "key" { &key } else { &payload })).collect()
            }
        };
        let column = |source: &Source| match *source {
            Source::Constant(index) => Arc::clone(&constants[index]),
            Source::Body(index) => Arc::clone(&body[index]),
        };
        let columns = self.sources.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

/// In the order of [`LOG_COLUMNS`], then [`ENVELOPE_COLUMNS`].
fn constants<'a>(record: &Record<'_>, header: Option<&'a EnvelopeHeader>) -> [Constant<'a>; 7] {
    let text = |text: Option<&'a String>| text.map_or(Constant::Null, |text| Constant::Text(text));
    [
        Constant::Int32(record.partition),
        Constant::Int64(record.offset),
        Constant::TimeNs(record.log_time_ms.saturating_mul(1_000_000)),
        text(header.map(|header| &header.agent_id)),
        text(header.map(|header| &header.host_id)),
        text(header.map(|header| &header.boot_id)),
        Constant::UInt64(header.map_or(0, |header| header.sequence)),
    ]
}

/// The columns of the output.
struct Chosen {
    /// All that records have, whether asked for or not.
    constants: Constants,
    /// In the order of the output.
    columns: Vec<ChosenColumn>,
}

enum ChosenColumn {
    /// Index in the constants.
    Constant(usize),
    /// Name in the body.
    Body(String),
}

impl Chosen {
    fn new(
        message: &MessageDescriptor,
        envelope: &[(&'static str, ConstantType)],
        asked: Option<&[String]>,
    ) -> anyhow::Result<Self> {
        let schema = amoskys_columns::message_schema(message)?;
        let fields: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Ok(Self::among(&fields, envelope, asked)?)
    }

    /// The log's columns always; then what is asked for, or everything.
    fn among(
        fields: &[&str],
        envelope: &[(&'static str, ConstantType)],
        asked: Option<&[String]>,
    ) -> Result<Self, Misuse> {
        let constants: Vec<_> = LOG_COLUMNS.iter().chain(envelope).copied().collect();
        let log = LOG_COLUMNS.map(|(name, _)| name);
        let of_envelope = envelope.iter().map(|(name, _)| *name).filter(|name| !fields.contains(name));
        let all: Vec<&str> = of_envelope.chain(fields.iter().copied()).collect();
        let asked = asked.map_or_else(|| all.clone(), |asked| asked.iter().map(String::as_str).collect());
        if let Some(unknown) = asked.iter().find(|name| !all.contains(name) && !log.contains(name)) {
            let (all, log) = (all.join(", "), log.join(", "));
            return Err(Misuse(format!("there is no column `{unknown}`; there are {all}, and always {log}")));
        }
        let mut names = log.to_vec();
        for name in asked {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let column = |name: &str| match constants.iter().position(|(constant, _)| *constant == name) {
            Some(index) if !fields.contains(&name) => ChosenColumn::Constant(index),
            _ => ChosenColumn::Body(name.to_owned()),
        };
        let columns = names.into_iter().map(column).collect();
        Ok(Self { constants: Constants::new(constants), columns })
    }

    /// What is wanted of the body, in order.
    fn body(&self) -> Vec<&str> {
        let names = self.columns.iter().filter_map(|column| match column {
            ChosenColumn::Constant(_) => None,
            ChosenColumn::Body(name) => Some(name.as_str()),
        });
        names.collect()
    }

    /// `fields` are those of [`body`](Chosen::body), in its order.
    fn rows(self, fields: &[FieldRef], body: Body) -> Rows {
        let constants = self.constants.fields();
        let mut of_body = 0;
        let sources: Vec<Source> = self
            .columns
            .iter()
            .map(|column| match column {
                ChosenColumn::Constant(index) => Source::Constant(*index),
                ChosenColumn::Body(_) => {
                    of_body += 1;
                    Source::Body(of_body - 1)
                }
            })
            .collect();
        let field = |source: &Source| match *source {
            Source::Constant(index) => Arc::clone(&constants[index]),
            Source::Body(index) => Arc::clone(&fields[index]),
        };
        let all: Vec<FieldRef> = sources.iter().map(field).collect();
        Rows { schema: Arc::new(Schema::new(all)), sources, constants: self.constants, body }
    }
}
