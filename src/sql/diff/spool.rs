//! What a version inserts, by table, in files of equal columns whichever of its INSERTs a row is of.

use crate::cli::Misuse;
use amoskys_pipeline::{
    run::Emission,
    sql::{Dataflow, Format, Insert, Sink},
};
use anyhow::{Context, Result, bail};
use arrow::{
    array::{ArrayRef, StringArray, TimestampNanosecondArray, new_null_array},
    compute::{cast, is_null, kernels::zip::zip},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use parquet::arrow::ArrowWriter;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use tempfile::TempDir;

/// Bounds of the window that gave a row.
const WINDOW: [&str; 2] = ["_window_start", "_window_end"];

/// The tables that any of the versions inserts into, by name.
pub struct Tables(pub BTreeMap<String, Table>);

pub struct Table {
    pub schema: SchemaRef,
    /// Columns by which rows are the same.
    pub keys: Vec<String>,
    /// Rows are alerts.
    pub is_alerts: bool,
    pub filled: &'static [(&'static str, Filled)],
}

/// What is filled in where an INSERT gives nothing, as when it is written to its topic.
#[derive(Debug, Clone, Copy)]
pub enum Filled {
    /// The INSERT's name.
    Name,
    /// A bound of the window, by its place in [`WINDOW`].
    Bound(usize),
}

impl Filled {
    fn data_type(self) -> DataType {
        match self {
            Self::Name => DataType::Utf8,
            Self::Bound(_) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        }
    }

    fn values(self, insert: &Insert, emission: &Emission) -> ArrayRef {
        let rows = emission.batch.num_rows();
        match self {
            Self::Name => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&insert.name, rows))),
            Self::Bound(bound) => bounds(emission, bound),
        }
    }
}

fn bounds(emission: &Emission, bound: usize) -> ArrayRef {
    let time_ns = emission.window_ns.map(|(start_ns, end_ns)| [start_ns, end_ns][bound]);
    let times: TimestampNanosecondArray = std::iter::repeat_n(time_ns, emission.batch.num_rows()).collect();
    Arc::new(times)
}

/// Of alerts and feature rows, as the emitter does.
fn filled(message: &str) -> &'static [(&'static str, Filled)] {
    match message {
        "amoskys.v1.Alert" => &[("detection", Filled::Name), ("time", Filled::Bound(1))],
        "amoskys.v1.FeatureRow" => {
            &[("view", Filled::Name), ("window_start", Filled::Bound(0)), ("window_end", Filled::Bound(1))]
        }
        _ => &[],
    }
}

impl Tables {
    pub fn of(dataflows: [&Dataflow; 2], wanted: &[(String, Vec<String>)]) -> Result<Self> {
        let mut fields: BTreeMap<String, (Vec<Field>, &Sink)> = BTreeMap::new();
        for insert in dataflows.iter().flat_map(|dataflow| &dataflow.streams).flat_map(|flow| &flow.inserts) {
            let Some(sink) = &insert.sink else { continue };
            let (known, _) = fields.entry(sink.name.clone()).or_insert_with(|| (Vec::new(), sink));
            for field in insert.output.fields() {
                let data_type = plain(field.data_type());
                match known.iter_mut().find(|known| known.name() == field.name()) {
                    Some(known) if *known.data_type() == data_type => {}
                    // They are compared as they are shown.
                    Some(known) => *known = Field::new(field.name(), DataType::Utf8, true),
                    None => known.push(Field::new(field.name(), data_type, true)),
                }
            }
        }
        if fields.is_empty() {
            bail!(Misuse("neither version inserts into anything".into()));
        }
        let names: Vec<String> = fields.keys().cloned().collect();
        if let Some((name, _)) = wanted.iter().find(|(name, _)| !names.contains(name)) {
            bail!(Misuse(format!("--key {name}=…: neither version inserts into it; there are {}", names.join(", "))));
        }
        let table = |(name, (mut fields, sink)): (String, (Vec<Field>, &Sink))| {
            let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
            let message = match &sink.format {
                Format::Protobuf { message } => message.full_name(),
                _ => "",
            };
            let filled = filled(message);
            for (name, filled) in filled {
                if !fields.iter().any(|field| field.name() == name) {
                    fields.push(Field::new(*name, filled.data_type(), true));
                }
            }
            fields.extend(WINDOW.map(|name| Field::new(name, time.clone(), true)));
            let there = |name: &&str| fields.iter().any(|field| field.name() == name);
            let usual: &[&str] = match message {
                "amoskys.v1.Alert" => &["detection", "host_id", "entity", "time"],
                "amoskys.v1.FeatureRow" => &["view", "host_id", "entity", "window_start", "window_end"],
                _ => &[],
            };
            let of_rows =
                || fields.iter().map(Field::name).filter(|name| !WINDOW.contains(&name.as_str())).cloned().collect();
            let keys = match wanted.iter().find(|(of, _)| *of == name) {
                Some((_, columns)) => columns.clone(),
                None if usual.is_empty() => of_rows(),
                None => usual.iter().filter(|name| there(name)).map(|&name| name.to_owned()).collect(),
            };
            if let Some(unknown) = keys.iter().find(|key| !there(&key.as_str())) {
                bail!(Misuse(format!("`{unknown}` is no column that is inserted into `{name}`")));
            }
            let is_alerts = message == "amoskys.v1.Alert";
            Ok((name, Table { schema: Arc::new(Schema::new(fields)), keys, is_alerts, filled }))
        };
        Ok(Self(fields.into_iter().map(table).collect::<Result<_>>()?))
    }
}

/// What is compared as it is; anything else as text.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        nested if nested.is_nested() => DataType::Utf8,
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(..) => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        other => other.clone(),
    }
}

/// Files of a version's rows, gone with it.
pub struct Spool {
    folder: TempDir,
    writers: BTreeMap<String, ArrowWriter<std::fs::File>>,
}

impl Spool {
    pub fn open(tables: &Tables) -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder cannot be made")?;
        let mut spool = Self { folder, writers: BTreeMap::new() };
        for (name, table) in &tables.0 {
            let file = std::fs::File::create(spool.path(name)).context("a temporary file cannot be made")?;
            spool.writers.insert(name.clone(), ArrowWriter::try_new(file, table.schema.clone(), None)?);
        }
        Ok(spool)
    }

    pub fn path(&self, table: &str) -> PathBuf {
        self.folder.path().join(format!("{table}.parquet"))
    }

    pub fn write(&mut self, tables: &Tables, insert: &Insert, emission: &Emission) -> Result<()> {
        let Some((name, table)) = insert.sink.as_ref().and_then(|sink| tables.0.get_key_value(&sink.name)) else {
            return Ok(());
        };
        let rows = emission.batch.num_rows();
        let column = |field: &Arc<Field>| -> Result<ArrayRef> {
            if let Some(bound) = WINDOW.iter().position(|name| name == field.name()) {
                return Ok(bounds(emission, bound));
            }
            let given = match emission.batch.column_by_name(field.name()) {
                None => new_null_array(field.data_type(), rows),
                Some(array) if array.data_type().is_nested() => texts(array)?,
                Some(array) => cast(array, field.data_type())?,
            };
            let filled = table.filled.iter().find(|(name, _)| name == field.name());
            let Some((_, filled)) = filled.filter(|_| given.null_count() > 0) else { return Ok(given) };
            let usual = cast(&filled.values(insert, emission), field.data_type())?;
            Ok(zip(&is_null(&given)?, &usual, &given)?)
        };
        let columns = table.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let writer = self.writers.get_mut(name).context("a table that was not opened")?;
        writer
            .write(&RecordBatch::try_new(table.schema.clone(), columns)?)
            .context("a temporary file cannot be written")
    }

    /// Everything is in the files.
    pub fn close(mut self) -> Result<Self> {
        for (_, writer) in std::mem::take(&mut self.writers) {
            writer.close().context("a temporary file cannot be written")?;
        }
        Ok(self)
    }
}

fn texts(array: &ArrayRef) -> Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let text = |row: usize| array.is_valid(row).then(|| formatter.value(row).to_string());
    Ok(Arc::new((0..array.len()).map(text).collect::<StringArray>()))
}
