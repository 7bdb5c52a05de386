//! `CREATE EXTERNAL TABLE` read as a topic: its columns, event time, key and bounds; its format is read by [`super::format`].
//!
//! The same table is a stream when it is read and a sink when it is inserted into.

use super::format::{Definition, Format, OPTIONS as FORMAT_OPTIONS, OnError, RECORD_ROWS_MAX};
use crate::schemas::Framing;
use amoskys_bus::TopicSpec;
use amoskys_functions::{fault::Fault, types::sql_type};
use amoskys_windows::WatermarkRules;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::logical_expr::CreateExternalTable;
use prost_reflect::DescriptorPool;
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

/// A topic as SQL sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    pub name: String,
    /// Of a file that is inserted into, its path.
    pub topic: String,
    pub format: Format,
    /// Records begin with the number of the schema that wrote them.
    pub framing: Option<Framing>,
    pub on_error: OnError,
    /// Rows that a record holds at most that is written; of formats whose records hold many.
    pub record_rows_max: usize,
    /// What a record holds; without what the log and the envelope add.
    pub columns: SchemaRef,
    pub event_time: Option<String>,
    /// What numbers of the event time count in records of JSON; for the SQL it is a TIMESTAMP, which is of nanoseconds.
    pub event_time_unit: TimeUnit,
    pub rules: WatermarkRules,
    pub bounds: StateBounds,
    /// Panes are sealed whenever the watermark passes a multiple of this, nanoseconds since 1970.
    pub replay_max_ns: i64,
    /// How long the topic keeps records, as far as the SQL says; only warnings use it.
    pub retention_ns: Option<i64>,
    /// The column that decides a record's partition.
    pub partition_key: Option<String>,
}

/// Most that is kept of one of the stream's partitions. Past it rows are left out, by the same rule whoever computes
/// ([`amoskys_windows::PaneBounds`]), counted and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateBounds {
    /// Keys of a view in each of its panes.
    pub keys_max: usize,
    /// Of all panes of all views, each pane an equal share.
    pub state_bytes_max: usize,
}

impl Default for StateBounds {
    fn default() -> Self {
        Self { keys_max: 1_000_000, state_bytes_max: 4 << 30 }
    }
}

/// A stream that is inserted into.
pub type Sink = Stream;

/// What the envelope says of each of its events.
pub const ENVELOPE_COLUMNS: [&str; 4] = ["agent_id", "host_id", "boot_id", "sequence"];
/// What the log says of each record.
pub const LOG_COLUMNS: [&str; 3] = ["_partition", "_offset", "_log_time"];

/// What the windows of the same files say of each row: it came after one of those that it belongs to had closed.
pub const LATE_COLUMN: &str = "_late";

pub fn late_field() -> Field {
    Field::new(LATE_COLUMN, DataType::Boolean, true)
}

const OPTIONS: [&str; 9] = [
    "event_time",
    "lateness",
    "idle",
    "max_skew",
    "replay_max",
    "retention",
    "partition_key",
    "keys_max",
    "state_bytes_max",
];

const REPLAY_MAX_NS: i64 = 300_000_000_000;

impl Stream {
    /// Columns as a query sees them: the record's, the envelope's, the log's, and whether the row is late.
    pub fn schema(&self) -> SchemaRef {
        let mut fields: Vec<FieldRef> = self.columns.fields().iter().cloned().collect();
        if matches!(self.format, Format::Envelope { .. }) {
            fields.extend(ENVELOPE_COLUMNS.map(|name| {
                let data_type = if name == "sequence" { DataType::UInt64 } else { DataType::Utf8View };
                Arc::new(Field::new(name, data_type, true))
            }));
        }
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        for (name, data_type) in LOG_COLUMNS.into_iter().zip([DataType::Int32, DataType::Int64, time]) {
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
        fields.push(Arc::new(late_field()));
        Arc::new(Schema::new(fields))
    }

    /// Whether rows that are inserted share records.
    pub fn shares_records(&self) -> bool {
        matches!(self.format, Format::Arrow) && self.record_rows_max > 1
    }

    /// All that decides how its records are read and written, in words.
    pub fn definition(&self) -> String {
        let Self {
            name,
            topic,
            columns,
            event_time,
            event_time_unit,
            rules,
            bounds,
            replay_max_ns,
            partition_key,
            on_error,
            record_rows_max,
            ..
        } = self;
        let (format, framing) = (self.format.words(), self.framing.as_ref().map(Framing::words));
        format!(
            "{name} {topic} {format} {framing:?} {on_error:?} {record_rows_max} {columns:?} {event_time:?} {event_time_unit:?} {rules:?} {bounds:?} \
             {replay_max_ns} {partition_key:?}"
        )
    }

    /// Reads a definition; every fault of it is reported.
    pub fn define(table: &CreateExternalTable, pool: &DescriptorPool) -> Result<Self, Vec<Fault>> {
        let options: BTreeMap<&str, &str> = table
            .options
            .iter()
            .map(|(key, value)| (key.strip_prefix("format.").unwrap_or(key), value.as_str()))
            .collect();
        let mut faults: Vec<Fault> = options
            .keys()
            .filter(|key| !known_options().any(|known| known == **key))
            .map(|key| unknown_option(key))
            .collect();
        let [topic] = table.locations.as_slice() else {
            return Err(vec![Fault::new("a stream has one LOCATION: the name of its topic").at("LOCATION")]);
        };
        if !TopicSpec::is_name(topic) {
            let fault =
                Fault::new(format!("LOCATION '{topic}' is no name of a topic, which is all that a stream reads"));
            let most = TopicSpec::NAME_BYTES_MAX;
            let help = format!("topics have at most {most} letters, digits, dots, underscores and hyphens");
            return Err(vec![fault.help(help).at(format!("'{topic}'"))]);
        }
        let declared: SchemaRef = Arc::new(table.schema.as_arrow().clone());
        let definition =
            Definition { file_type: &table.file_type, topic, options: &options, declared: &declared, pool };
        let described = definition.describe().map_err(|more| faults.extend(more)).ok();
        let rules = rules(&options, &mut faults);
        let replay_max_ns = duration_ns(&options, "replay_max", &mut faults).unwrap_or(REPLAY_MAX_NS);
        let retention_ns = duration_ns(&options, "retention", &mut faults);
        let bounds = bounds(&options, &mut faults);
        let Some(described) = described else { return Err(faults) };
        let event_time = options.get("event_time").map(|&name| name.to_owned());
        let (columns, event_time_unit) = match (&event_time, &described.format) {
            (Some(name), Format::Json) => in_nanoseconds(&described.columns, name),
            _ => (described.columns, TimeUnit::Nanosecond),
        };
        let stream = Stream {
            name: table.name.table().to_owned(),
            topic: topic.clone(),
            format: described.format,
            framing: described.framing,
            on_error: described.on_error,
            record_rows_max: described.record_rows_max,
            columns,
            event_time,
            event_time_unit,
            rules,
            bounds,
            replay_max_ns,
            retention_ns,
            partition_key: options.get("partition_key").map(|&name| name.to_owned()),
        };
        faults.extend(stream.check());
        if faults.is_empty() { Ok(stream) } else { Err(faults) }
    }

    /// A definition `STORED AS CSV | PARQUET` of a file that is inserted into.
    pub fn of_file(table: &CreateExternalTable) -> Result<Self, Vec<Fault>> {
        let name = table.name.table();
        let mut faults = Vec::new();
        for (option, value) in &table.options {
            let option = option.strip_prefix("format.").unwrap_or(option);
            // As who reads it has to say.
            if option != "has_header" || value != "true" {
                let fault = Fault::new(format!("option `{option}` of `{name}`, a file that is inserted into"));
                faults.push(fault.help("leave it out").at(option));
            }
        }
        if table.schema.fields().is_empty() {
            let fault = Fault::new(format!("`{name}` is inserted into and has no column list"));
            let help = format!("write CREATE EXTERNAL TABLE {name} (a BIGINT, …) STORED AS {} …", table.file_type);
            faults.push(fault.help(help).at(format!("STORED AS {}", table.file_type)));
        }
        let beside = [
            (!table.table_partition_cols.is_empty(), "PARTITIONED BY"),
            (!table.order_exprs.is_empty(), "WITH ORDER"),
            (table.constraints.iter().next().is_some(), "a key"),
            (!table.column_defaults.is_empty(), "DEFAULT"),
        ];
        for (_, what) in beside.into_iter().filter(|(is_there, _)| *is_there) {
            let fault = Fault::new(format!("{what} of `{name}`, a file that is inserted into"));
            faults.push(fault.help("leave it out: rows stand in one file, as they come").at(what));
        }
        let path = match table.locations.as_slice() {
            [path] => path.as_str(),
            _ => "",
        };
        if path.is_empty() || path.contains("://") || path.ends_with('/') {
            let fault =
                Fault::new(format!("`{name}` is inserted into, and its LOCATION is not one file of this machine"));
            faults.push(fault.help("write the path of a file").at(format!("'{path}'")).at("LOCATION"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            name: name.to_owned(),
            topic: path.to_owned(),
            format: if table.file_type == "CSV" { Format::Csv } else { Format::Parquet },
            framing: None,
            on_error: OnError::default(),
            record_rows_max: RECORD_ROWS_MAX,
            columns: Arc::new(table.schema.as_arrow().clone()),
            event_time: None,
            event_time_unit: TimeUnit::Nanosecond,
            rules: WatermarkRules { lateness_ns: 0, max_skew_ns: 0, idle_ns: None },
            bounds: StateBounds::default(),
            replay_max_ns: REPLAY_MAX_NS,
            retention_ns: None,
            partition_key: None,
        })
    }

    fn check(&self) -> Vec<Fault> {
        let schema = self.schema();
        let mut faults = Vec::new();
        for (option, column) in [("event_time", &self.event_time), ("partition_key", &self.partition_key)] {
            if let Some(name) = column
                && schema.column_with_name(name).is_none()
            {
                let folded = name.to_lowercase();
                let near = if folded != *name && schema.column_with_name(&folded).is_some() {
                    format!("list the column as \"{name}\", in double quotes: SQL takes other names in small letters")
                } else {
                    nearest(name, schema.fields().iter().map(|field| field.name().as_str()))
                };
                let fault = Fault::new(format!("{option} '{name}' is no column of `{}`", self.name)).help(near);
                faults.push(fault.at(format!("{option} '{name}'")).at(format!("'{name}'")));
            }
        }
        if let Some(field) = self.event_time.as_ref().and_then(|name| schema.field_with_name(name).ok())
            && field.data_type() != &DataType::Timestamp(TimeUnit::Nanosecond, None)
        {
            let found = match field.data_type() {
                // Of another unit, which the name of SQL's type does not tell.
                other @ DataType::Timestamp(..) => other.to_string(),
                other => sql_type(other),
            };
            let fault = Fault::new(format!("event_time '{}' must be a TIMESTAMP, not {found}", field.name()));
            faults.push(fault.help("declare it TIMESTAMP, in nanoseconds").at(format!("'{}'", field.name())));
        }
        faults
    }
}

/// The columns with this one as a TIMESTAMP, and the unit that it was declared in.
fn in_nanoseconds(columns: &SchemaRef, name: &str) -> (SchemaRef, TimeUnit) {
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    match columns.field_with_name(name).map(Field::data_type) {
        Ok(DataType::Timestamp(unit, None)) => {
            let fields = columns.fields().iter().map(|field| match field.name() == name {
                true => Arc::new(field.as_ref().clone().with_data_type(nanoseconds.clone())),
                false => field.clone(),
            });
            let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), columns.metadata().clone());
            (Arc::new(schema), *unit)
        }
        _ => (columns.clone(), TimeUnit::Nanosecond),
    }
}

/// An option's value that is none: `name 'text'` is what stands there.
fn bad_value(name: &str, text: &str, what: &str, example: &str) -> Fault {
    Fault::new(format!("{name} '{text}' is no {what}"))
        .help(example)
        .at(format!("{name} '{text}'"))
        .at(format!("'{text}'"))
}

fn duration_ns(options: &BTreeMap<&str, &str>, name: &str, faults: &mut Vec<Fault>) -> Option<i64> {
    let text = options.get(name)?;
    match humantime::parse_duration(text).ok() {
        Some(Duration::ZERO) => {
            let fault = Fault::new(format!("{name} '{text}' is no time at all"));
            let fault = fault.at(format!("{name} '{text}'")).at(format!("'{text}'"));
            faults.push(fault.help(format!("write {name} '1ms' where that is what is meant")));
            None
        }
        Some(duration) => i64::try_from(duration.as_nanos()).ok().or_else(|| {
            faults.push(bad_value(
                name,
                text,
                "duration of at most 292 years",
                "write for example '2s', '500ms' or '1m'",
            ));
            None
        }),
        None => {
            faults.push(bad_value(name, text, "duration", "write for example '2s', '500ms' or '1m'"));
            None
        }
    }
}

fn rules(options: &BTreeMap<&str, &str>, faults: &mut Vec<Fault>) -> WatermarkRules {
    let mut read = |name: &str| duration_ns(options, name, faults);
    let lateness_ns = read("lateness");
    let rules = WatermarkRules {
        lateness_ns: lateness_ns.unwrap_or(0),
        max_skew_ns: read("max_skew").unwrap_or(60_000_000_000),
        idle_ns: read("idle"),
    };
    if options.contains_key("event_time") && !options.contains_key("lateness") {
        let fault = Fault::new("a stream with event_time states how far out of order it may come");
        faults.push(fault.help("add lateness '2s'").at("OPTIONS"));
    }
    rules
}

fn bounds(options: &BTreeMap<&str, &str>, faults: &mut Vec<Fault>) -> StateBounds {
    let mut bounds = StateBounds::default();
    if let Some(text) = options.get("keys_max") {
        match text.parse() {
            Ok(keys @ 1..) => bounds.keys_max = keys,
            _ => faults.push(bad_value("keys_max", text, "number of keys", "write for example '100000'")),
        }
    }
    if let Some(text) = options.get("state_bytes_max") {
        match text.parse::<bytesize::ByteSize>() {
            Ok(bytes) if bytes.0 > 0 => bounds.state_bytes_max = usize::try_from(bytes.0).unwrap_or(usize::MAX),
            _ => {
                let example = "write for example '4GiB' or '500MiB'";
                faults.push(bad_value("state_bytes_max", text, "number of bytes", example));
            }
        }
    }
    bounds
}

fn known_options() -> impl Iterator<Item = &'static str> {
    OPTIONS.into_iter().chain(FORMAT_OPTIONS)
}

fn unknown_option(name: &str) -> Fault {
    let known: Vec<&str> = known_options().collect();
    let fault = Fault::new(format!("option `{name}` is not known")).help(nearest_of_all(name, &known));
    fault.at(format!("\"{name}\"")).at(format!("'{name}'"))
}

/// `did you mean …?` when something is near, and all that there is.
pub fn nearest_of_all(name: &str, known: &[&str]) -> String {
    let all = format!("there are {}", known.join(", "));
    match nearest(name, known.iter().copied()) {
        near if near.is_empty() => all,
        near => format!("{near} {all}"),
    }
}

/// `did you mean …?` when something is near, or nothing.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase()), other))
        .filter(|(distance, other)| *distance <= 1 + other.len() / 4)
        // Of equally near ones that which begins most like it.
        .min_by_key(|(distance, other)| {
            let same = name.chars().zip(other.chars()).take_while(|(one, other)| one.eq_ignore_ascii_case(other));
            (*distance, Reverse(same.count()), *other)
        });
    near.map_or_else(String::new, |(_, other)| format!("did you mean `{other}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_the_guides_table() {
        let guide = include_str!("../../../../docs/guide/01-your-first-alert.md");
        let table: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
        for option in known_options() {
            let name = format!("`{option}`");
            let is_named = |line: &&str| line.split(" | ").next().is_some_and(|names| names.contains(&name));
            assert!(table.iter().any(is_named), "{option}");
        }
    }
}
