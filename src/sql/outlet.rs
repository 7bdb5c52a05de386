//! Rows by the name that they were asked for: a view's as they are, a table's as the records that are inserted into it
//! would be read from its topic, with their ids and provenance.

use super::output::{self, Named};
use crate::cli::Misuse;
use amoskys_columns::{ArrowDecoder, Decoder, JsonDecoder, Layout, Limits};
use amoskys_pipeline::{
    run::{Emission, Emitter},
    sql::{Dataflow, Format, Insert, Sink},
};
use anyhow::{Context, Result, bail};
use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use std::{collections::HashMap, path::PathBuf};

/// All that is computed, in the order of their names in the SQL.
pub struct Outlets {
    outlets: Vec<Outlet>,
    /// By the indices of flow and INSERT.
    of_insert: HashMap<(usize, usize), Way>,
}

/// The outlet of an INSERT, and what makes records of its rows.
struct Way {
    outlet: usize,
    emitter: Option<Emitter>,
}

struct Outlet {
    name: String,
    schema: SchemaRef,
    reading: Reading,
    prefix_bytes: usize,
    /// Of a table that is a file.
    file: Option<(output::Format, PathBuf)>,
}

/// How records are read back.
enum Reading {
    /// There are none: the rows are a view's.
    Rows,
    /// There are none: the rows are a file's, of the columns that its table lists.
    File,
    Protobuf(Box<Decoder>),
    Json(Box<JsonDecoder>),
    Arrow(ArrowDecoder),
}

impl Outlets {
    pub fn of(dataflow: &Dataflow) -> Result<Self> {
        let mut all = Self { outlets: Vec::new(), of_insert: HashMap::new() };
        for (flow, of) in dataflow.streams.iter().enumerate() {
            for (index, insert) in of.inserts.iter().enumerate() {
                let emitter = Emitter::new(insert)?.map(Emitter::without_log);
                let outlet = all.outlet(insert)?;
                all.of_insert.insert((flow, index), Way { outlet, emitter });
            }
        }
        Ok(all)
    }

    /// A misuse when nothing is computed.
    pub fn some_of(dataflow: &Dataflow) -> Result<Self> {
        let all = Self::of(dataflow)?;
        if all.outlets.is_empty() {
            bail!(Misuse("the SQL has no INSERT; say by --view NAME which rows are wanted".into()));
        }
        Ok(all)
    }

    fn outlet(&mut self, insert: &Insert) -> Result<usize> {
        let name = insert.sink.as_ref().map_or(&insert.name, |sink| &sink.name);
        if let Some(index) = self.outlets.iter().position(|outlet| outlet.name == *name) {
            return Ok(index);
        }
        let (schema, reading) = match &insert.sink {
            None => (insert.output.clone(), Reading::Rows),
            Some(sink) => reading(sink, &insert.output)?,
        };
        let framing = insert.sink.as_ref().and_then(|sink| sink.framing.as_ref());
        let prefix_bytes = framing.map_or(0, |framing| framing.prefix().len());
        let file = insert.sink.as_ref().and_then(|sink| {
            let format = match sink.format {
                Format::Csv => output::Format::Csv,
                Format::Parquet => output::Format::Parquet,
                _ => return None,
            };
            Some((format, PathBuf::from(&sink.topic)))
        });
        self.outlets.push(Outlet { name: name.clone(), schema, reading, prefix_bytes, file });
        Ok(self.outlets.len() - 1)
    }

    /// Name and columns of each.
    pub fn all(&self) -> impl Iterator<Item = (&str, &SchemaRef)> {
        self.outlets.iter().map(|outlet| (outlet.name.as_str(), &outlet.schema))
    }

    /// As outputs; `into_files`: what is inserted into a file goes there.
    pub fn named(&self, into_files: bool) -> Vec<Named<'_>> {
        let mut named = Vec::new();
        for Outlet { name, schema, file, .. } in &self.outlets {
            named.push(Named { name, schema, file: file.clone().filter(|_| into_files) });
        }
        named
    }

    /// The outlet's index and its rows.
    pub fn rows(&mut self, flow: usize, emission: &Emission) -> Result<(usize, RecordBatch)> {
        let way = self.of_insert.get(&(flow, emission.insert)).context("rows of an INSERT that was not planned")?;
        let outlet = &mut self.outlets[way.outlet];
        let mut records = Vec::new();
        if let Some(emitter) = &way.emitter {
            emitter.encode(emission, &mut records)?;
        }
        // What they begin with says which schema wrote them, which is known here.
        let bodies = records.iter().map(|record| &record.payload[outlet.prefix_bytes.min(record.payload.len())..]);
        let rows = match &mut outlet.reading {
            Reading::Rows => emission.batch.clone(),
            Reading::File => RecordBatch::try_new(outlet.schema.clone(), emission.batch.columns().to_vec())
                .with_context(|| format!("rows of `{}` are not what its columns say", outlet.name))?,
            Reading::Protobuf(decoder) => {
                bodies.map(|body| decoder.push(body)).collect::<Result<Vec<_>, _>>()?;
                decoder.finish()?
            }
            Reading::Json(decoder) => {
                bodies.map(|body| decoder.push(body)).collect::<Result<Vec<_>, _>>()?;
                decoder.finish()?
            }
            Reading::Arrow(decoder) => {
                bodies.map(|body| decoder.push(body)).collect::<Result<Vec<_>, _>>()?;
                decoder.finish()?
            }
        };
        Ok((way.outlet, rows))
    }
}

/// `rows`: the columns that are inserted.
fn reading(sink: &Sink, rows: &SchemaRef) -> Result<(SchemaRef, Reading)> {
    match &sink.format {
        Format::Protobuf { message } => {
            let schema = amoskys_columns::message_schema(message)?;
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let decoder = Decoder::new(Layout::new(message, &names)?, Limits::default());
            Ok((decoder.schema().clone(), Reading::Protobuf(Box::new(decoder))))
        }
        Format::Json => {
            let decoder = JsonDecoder::new(sink.columns.clone(), Limits::default())?;
            Ok((decoder.schema().clone(), Reading::Json(Box::new(decoder))))
        }
        Format::Arrow => Ok((rows.clone(), Reading::Arrow(ArrowDecoder::new(rows.clone(), Limits::default())))),
        Format::Csv | Format::Parquet => Ok((sink.columns.clone(), Reading::File)),
        Format::Envelope { .. } | Format::Avro { .. } | Format::Panes => {
            bail!("`{}` is nothing that SQL can insert into", sink.name)
        }
    }
}
