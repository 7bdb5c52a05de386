//! How a stream's records are written: `STORED AS …` and the options that go with it, read from SQL.
//!
//! Deliberately not here: time, keys and bounds of a stream ([`super::catalog`]), and the bytes themselves (amoskys-columns).

use super::catalog::{ENVELOPE_COLUMNS, nearest};
use crate::schemas::{Framing, Subject, SubjectError, messages_of_file, text_of_file};
use amoskys_columns::{
    ArrowEncoder, AvroSchema, EncodeError, JsonEncoder, Limits, Mismatches, ProtobufEncoder, batch_element,
    message_schema,
};
use amoskys_functions::fault::Fault;
use arrow::{
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};
use prost_reflect::{DescriptorPool, MessageDescriptor, prost::Message};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// How a record is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// A signed envelope around a batch message; a row per event.
    Envelope { batch: MessageDescriptor },
    /// One message per record.
    Protobuf { message: MessageDescriptor },
    /// One JSON object per record.
    Json,
    /// A stream of batches per record.
    Arrow,
    /// One value of this schema, or of one that it reads, per record.
    Avro { schema: Arc<AvroSchema> },
    /// A file that is inserted into, with a line of names before the rows; only `sql run` writes it.
    Csv,
    /// As above.
    Parquet,
    /// Panes that partitions of streams send to each other; no table is stored so.
    Panes,
}

impl Format {
    /// Whether its records are alerts.
    pub fn is_of_alerts(&self) -> bool {
        matches!(self, Self::Protobuf { message } if message.full_name() == "amoskys.v1.Alert")
    }

    /// As SQL says it.
    pub fn stored_as(&self) -> &'static str {
        match self {
            Self::Envelope { .. } => "ENVELOPE",
            Self::Protobuf { .. } => "PROTOBUF",
            Self::Json => "JSON",
            Self::Arrow => "ARROW",
            Self::Avro { .. } => "AVRO",
            Self::Csv => "CSV",
            Self::Parquet => "PARQUET",
            Self::Panes => "PANES",
        }
    }

    /// Whether it is that of a file, not of a topic.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::Csv | Self::Parquet)
    }

    /// With what the records hold.
    pub(super) fn words(&self) -> String {
        let of = match self {
            Self::Envelope { batch: message } | Self::Protobuf { message } => {
                let mut hasher = blake3::Hasher::new();
                for file in message.parent_pool().file_descriptor_protos() {
                    hasher.update(&file.encode_to_vec());
                }
                format!("{} {}", message.full_name(), hasher.finalize().to_hex())
            }
            Self::Avro { schema } => schema.text().to_owned(),
            Self::Json | Self::Arrow | Self::Csv | Self::Parquet | Self::Panes => String::new(),
        };
        format!("{} {of}", self.stored_as())
    }
}

/// What becomes of a record that does not decode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// It goes to the dead letters, and the next one is read.
    #[default]
    DeadLetter,
    /// Values of another type than their columns' are null; what is no record of the format still goes to the dead letters.
    Null,
    /// Nothing after it is read.
    Stop,
}

/// Rows that a record of many holds at most where the SQL does not say.
pub const RECORD_ROWS_MAX: usize = 1_000;

/// What a table's format says of it.
pub(super) struct Described {
    pub format: Format,
    /// Without what the log and the envelope add.
    pub columns: SchemaRef,
    pub framing: Option<Framing>,
    pub on_error: OnError,
    pub record_rows_max: usize,
}

/// The options that are read here.
pub(super) const OPTIONS: [&str; 6] = ["message", "schema", "registry", "subject", "on_error", "record_rows_max"];

/// A table's definition, as far as its format is concerned.
pub(super) struct Definition<'a> {
    pub file_type: &'a str,
    pub topic: &'a str,
    pub options: &'a BTreeMap<&'a str, &'a str>,
    pub declared: &'a SchemaRef,
    /// Messages that are known without a file.
    pub pool: &'a DescriptorPool,
}

impl Definition<'_> {
    /// Every fault is reported.
    pub fn describe(&self) -> Result<Described, Vec<Fault>> {
        let mut faults = self.misplaced();
        let on_error = self.on_error().map_err(|fault| faults.push(fault)).ok();
        let record_rows_max = self.record_rows_max().map_err(|fault| faults.push(fault)).ok();
        let subject = self.subject().map_err(|more| faults.extend(more)).ok();
        if !faults.is_empty() {
            return Err(faults);
        }
        let (framing, subject) = subject.flatten().unzip();
        let one = |fault: Fault| vec![fault];
        let (format, columns) = match self.file_type {
            "JSON" | "ARROW" => self.of_columns(subject.as_ref()).map_err(one)?,
            "AVRO" => self.avro(subject.as_ref()).map_err(one)?,
            "ENVELOPE" => {
                let batch = self.message(None).map_err(one)?;
                let columns = envelope_columns(&batch).map_err(one)?;
                (Format::Envelope { batch }, columns)
            }
            "PROTOBUF" => {
                let message = self.message(subject.as_ref()).map_err(one)?;
                let columns =
                    message_schema(&message).map_err(|error| one(Fault::new(error.to_string()).at("LOCATION")))?;
                (Format::Protobuf { message }, Arc::new(columns))
            }
            other => {
                let fault = Fault::new(format!("STORED AS {other} is not a stream"))
                    .help("write ENVELOPE, PROTOBUF, JSON, ARROW or AVRO (files: PARQUET or CSV)");
                return Err(vec![self.stored_as(fault)]);
            }
        };
        let framing = match &format {
            Format::Protobuf { message } => framing.map(|framing| framing.reads(message)),
            _ => framing,
        };
        Ok(Described {
            format,
            columns,
            framing,
            on_error: on_error.unwrap_or_default(),
            record_rows_max: record_rows_max.unwrap_or(RECORD_ROWS_MAX),
        })
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).copied()
    }

    fn stored_as(&self, fault: Fault) -> Fault {
        fault.at(format!("STORED AS {}", self.file_type))
    }

    /// A fault of an option's value: `name 'text'` is what stands there.
    fn of_option(&self, name: &str, message: impl Into<String>) -> Fault {
        let text = self.option(name).unwrap_or_default();
        Fault::new(message).at(format!("{name} '{text}'")).at(format!("'{text}'"))
    }

    /// Options and columns that this format has no use for.
    fn misplaced(&self) -> Vec<Fault> {
        let formats: [(&str, &[&str]); 5] = [
            ("record_rows_max", &["ARROW"]),
            ("message", &["ENVELOPE", "PROTOBUF"]),
            ("schema", &["ENVELOPE", "PROTOBUF", "AVRO"]),
            ("registry", &["PROTOBUF", "AVRO", "JSON"]),
            ("subject", &["PROTOBUF", "AVRO", "JSON"]),
        ];
        let unused = formats
            .into_iter()
            .filter(|(name, of)| self.option(name).is_some() && !of.contains(&self.file_type) && self.is_known());
        let mut faults: Vec<Fault> = unused
            .map(|(name, of)| self.of_option(name, format!("option `{name}` is for {}", of.join(", "))))
            .collect();
        if self.option("subject").is_some() && self.option("registry").is_none() {
            let fault = self.of_option("subject", "option `subject` needs a `registry` to look it up in");
            faults.push(fault.help("add registry 'http://…'"));
        }
        if self.takes_columns_from_schema() && !self.declared.fields().is_empty() {
            let of = if self.file_type == "AVRO" { "schema" } else { "message" };
            let fault = Fault::new(format!("STORED AS {} takes its columns from the {of}", self.file_type));
            faults.push(self.stored_as(fault.help("leave the column list out")));
        }
        faults
    }

    fn is_known(&self) -> bool {
        self.takes_columns_from_schema() || matches!(self.file_type, "JSON" | "ARROW")
    }

    fn takes_columns_from_schema(&self) -> bool {
        matches!(self.file_type, "ENVELOPE" | "PROTOBUF" | "AVRO")
    }

    fn on_error(&self) -> Result<OnError, Fault> {
        match self.option("on_error") {
            None | Some("deadletter") => Ok(OnError::DeadLetter),
            Some("stop") => Ok(OnError::Stop),
            Some("null") if self.file_type == "JSON" => Ok(OnError::Null),
            Some("null") => Err(self
                .of_option("on_error", format!("on_error 'null' is for JSON: {} has no wrong values", self.file_type))
                .help("write 'deadletter' or 'stop'")),
            Some(other) => {
                let fault = self.of_option("on_error", format!("on_error '{other}' is not known"));
                // These are no near misses of each other: each says what it does.
                Err(fault
                    .help("write 'deadletter' (set aside, the default), 'null' (JSON: that column is null) or 'stop'"))
            }
        }
    }

    fn record_rows_max(&self) -> Result<usize, Fault> {
        let most = Limits::default().rows_per_record_max;
        match self.option("record_rows_max").map(str::parse) {
            None => Ok(RECORD_ROWS_MAX),
            Some(Ok(rows)) if (1..=most).contains(&rows) => Ok(rows),
            Some(_) => {
                let what = format!("is no number of rows of a record, which has 1 to {most}");
                let text = self.option("record_rows_max").unwrap_or_default();
                let fault = self.of_option("record_rows_max", format!("record_rows_max '{text}' {what}"));
                Err(fault.help(format!("write for example '{RECORD_ROWS_MAX}'")))
            }
        }
    }

    /// The registry's subject; `None` where no registry is named.
    fn subject(&self) -> Result<Option<(Framing, Subject)>, Vec<Fault>> {
        let Some(url) = self.option("registry") else { return Ok(None) };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let fault = self.of_option("registry", format!("registry '{url}' is no address"));
            return Err(vec![fault.help("write for example 'http://registry:8081'")]);
        }
        let usual = format!("{}-value", self.topic);
        let found = Framing::of_subject(url, self.option("subject").unwrap_or(&usual));
        found.map(Some).map_err(|error| match error {
            SubjectError::Conflicts { conflicts } => conflicts
                .into_iter()
                .map(|conflict| {
                    self.of_option("registry", conflict).help(
                        "SQL is written for one type: give the new one a name of its own, or a subject and a stream",
                    )
                })
                .collect(),
            other => vec![self.of_option("registry", other.to_string())],
        })
    }

    /// Columns that the SQL lists.
    fn of_columns(&self, subject: Option<&Subject>) -> Result<(Format, SchemaRef), Fault> {
        if self.declared.fields().is_empty() {
            let name = self.file_type;
            let fault = Fault::new(format!("STORED AS {name} needs a column list"));
            return Err(
                self.stored_as(fault.help(format!("write CREATE EXTERNAL TABLE t (a BIGINT, …) STORED AS {name} …")))
            );
        }
        match subject {
            None | Some(Subject::Json) => {
                let format = if self.file_type == "ARROW" { Format::Arrow } else { Format::Json };
                Ok((format, self.declared.clone()))
            }
            Some(other) => Err(self.of_other_kind(other)),
        }
    }

    fn of_other_kind(&self, subject: &Subject) -> Fault {
        let kind = match subject {
            Subject::Avro(_) => "AVRO",
            Subject::Protobuf(..) => "PROTOBUF",
            Subject::Json => "JSON",
        };
        self.stored_as(Fault::new(format!("the registry's schema is {kind}, not {}", self.file_type)))
    }

    fn avro(&self, subject: Option<&Subject>) -> Result<(Format, SchemaRef), Fault> {
        let schema = match (self.option("schema"), subject) {
            (_, Some(other @ (Subject::Protobuf(..) | Subject::Json))) => return Err(self.of_other_kind(other)),
            (Some(path), _) => {
                let wrong = |error: String| self.of_option("schema", error);
                let text = text_of_file(Path::new(path)).map_err(|error| wrong(error.to_string()))?;
                Arc::new(AvroSchema::parse(&text).map_err(|error| wrong(format!("{path} is {error}")))?)
            }
            (None, Some(Subject::Avro(schema))) => schema.clone(),
            (None, None) => {
                let fault = Fault::new("STORED AS AVRO needs the schema of its records");
                return Err(self.stored_as(fault.help("add schema 'file.avsc' or registry 'http://…'")));
            }
        };
        let columns = schema.columns().clone();
        Ok((Format::Avro { schema }, columns))
    }

    fn message(&self, subject: Option<&Subject>) -> Result<MessageDescriptor, Fault> {
        let known = match self.file_type {
            "ENVELOPE" => known_batch(self.topic),
            _ => known_message(self.topic),
        };
        match (self.option("schema"), subject) {
            (_, Some(other @ (Subject::Avro(_) | Subject::Json))) => Err(self.of_other_kind(other)),
            (Some(path), _) => {
                let pool =
                    messages_of_file(Path::new(path)).map_err(|error| self.of_option("schema", error.to_string()))?;
                self.named(&pool, only_message(&pool).as_deref())
            }
            (None, Some(Subject::Protobuf(pool, first))) => {
                self.named(pool, first.as_ref().map(MessageDescriptor::full_name))
            }
            (None, None) => self.named(self.pool, known),
        }
    }

    /// The message that the SQL names, or this one.
    fn named(&self, pool: &DescriptorPool, usual: Option<&str>) -> Result<MessageDescriptor, Fault> {
        let Some(name) = self.option("message").or(usual) else {
            if self.option("schema").is_some() {
                let names: Vec<String> = own_messages(pool).map(|message| message.full_name().to_owned()).collect();
                let fault = self.of_option("schema", "the schema defines several messages");
                return Err(fault.help(format!("add message '…', one of {}", names.join(", "))));
            }
            let topic = self.topic;
            let fault = Fault::new(format!("the message in topic '{topic}' is not known"));
            return Err(fault.help("add OPTIONS (message 'package.Name')").at(format!("'{topic}'")));
        };
        pool.get_message_by_name(name).ok_or_else(|| {
            let names: Vec<String> = pool.all_messages().map(|message| message.full_name().to_owned()).collect();
            let mut near = nearest(name, names.iter().map(String::as_str));
            if near.is_empty() && self.option("schema").is_none() {
                near = "add schema 'file.proto', or a set of descriptors, that defines it".into();
            }
            Fault::new(format!("message '{name}' is not known")).help(near).at(format!("'{name}'"))
        })
    }
}

/// Those that stand in no other message, but for Google's.
fn own_messages(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> {
    let files = pool.files().filter(|file| !file.name().starts_with("google/protobuf/"));
    files.flat_map(|file| file.messages().collect::<Vec<_>>())
}

/// The message of a file that defines one.
fn only_message(pool: &DescriptorPool) -> Option<String> {
    let mut messages = own_messages(pool);
    let only = messages.next()?;
    messages.next().is_none().then(|| only.full_name().to_owned())
}

fn known_batch(topic: &str) -> Option<&'static str> {
    match topic {
        "amoskys.telemetry.process.v1" => Some("amoskys.v1.ProcessBatch"),
        "amoskys.telemetry.syscall.v1" => Some("amoskys.v1.SyscallBatch"),
        "amoskys.telemetry.syscall_activity.v1" => Some("amoskys.v1.SyscallActivityBatch"),
        "amoskys.agent.status.v1" => Some("amoskys.v1.AgentStatusBatch"),
        _ => None,
    }
}

fn known_message(topic: &str) -> Option<&'static str> {
    match topic {
        "amoskys.alerts.v1" => Some("amoskys.v1.Alert"),
        "amoskys.deadletter.v1" => Some("amoskys.v1.DeadLetter"),
        topic if topic.starts_with("amoskys.features.") => Some("amoskys.v1.FeatureRow"),
        _ => None,
    }
}

fn envelope_columns(batch: &MessageDescriptor) -> Result<SchemaRef, Fault> {
    let fault = |error: &dyn std::fmt::Display| Fault::new(error.to_string()).at("STORED AS ENVELOPE");
    let element = batch_element(batch).map_err(|error| fault(&error))?;
    let schema: Schema = message_schema(&element).map_err(|error| fault(&error))?;
    match ENVELOPE_COLUMNS.iter().find(|name| schema.column_with_name(name).is_some()) {
        Some(name) => {
            Err(fault(&format!("`{}` has a field `{name}`, which the envelope says already", element.full_name())))
        }
        None => Ok(Arc::new(schema)),
    }
}

/// Turns rows into the records of a sink.
pub enum RowEncoder {
    Protobuf(ProtobufEncoder),
    Json(JsonEncoder),
    Arrow(ArrowEncoder),
}

/// Rows do not fit a sink's records.
#[derive(Debug, thiserror::Error)]
pub enum RowEncoderError {
    #[error("{0}")]
    Mismatch(String),
    #[error(transparent)]
    Mismatches(#[from] Mismatches),
    #[error(transparent)]
    Protobuf(#[from] EncodeError),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

impl RowEncoder {
    /// Of rows with these columns. An error names the column that does not fit.
    pub fn new(format: &Format, rows: &SchemaRef) -> Result<Self, RowEncoderError> {
        match format {
            Format::Protobuf { message } => Ok(Self::Protobuf(ProtobufEncoder::new(rows.clone(), message)?)),
            Format::Json => Ok(Self::Json(JsonEncoder::new(rows.clone())?)),
            Format::Arrow => Ok(Self::Arrow(ArrowEncoder::new(rows.clone())?)),
            Format::Envelope { .. } | Format::Avro { .. } | Format::Panes => {
                let detail = "it is read only: what is inserted into is STORED AS PROTOBUF, JSON or ARROW";
                Err(RowEncoderError::Mismatch(detail.into()))
            }
            Format::Csv | Format::Parquet => Err(RowEncoderError::Mismatch("a file has no records".into())),
        }
    }

    /// Of a format whose records hold many rows.
    pub fn of_many(&self) -> Option<&ArrowEncoder> {
        match self {
            Self::Arrow(encoder) => Some(encoder),
            Self::Protobuf(_) | Self::Json(_) => None,
        }
    }

    /// One record for each row.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, RowEncoderError> {
        Ok(match self {
            Self::Protobuf(encoder) => encoder.encode(rows)?,
            Self::Json(encoder) => encoder.encode(rows)?,
            Self::Arrow(encoder) => encoder.encode(rows)?,
        })
    }
}
