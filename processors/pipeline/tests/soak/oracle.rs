//! What DataFusion makes of the rows of each window, all at once.
//!
//! The rules of docs/windows.md are written down here a second time, in their plainest form: each row looks at every
//! window that holds it. A view's own SELECT then runs over a table in which a row stands once for each of its windows.

use crate::{
    Tried,
    data::{Case, PARTITIONS, Row},
    engine::{Written, absolute_ms},
    sketch::{Compared, Sketch, Type},
};
use amoskys_functions::aggregate::aggregates;
use arrow::{
    datatypes::{DataType, Field, Schema, TimeUnit},
    json::ReaderBuilder,
    record_batch::RecordBatch,
    util::display::array_value_to_string,
};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, atomic::Ordering},
};

/// By case, partition, window start (milliseconds) and keys.
type Rows = BTreeMap<(usize, usize, i64, Vec<String>), Vec<String>>;

pub struct Oracle<'a> {
    sketch: &'a Sketch,
    /// For each view, rows in their windows, as JSON objects.
    tables: Vec<String>,
    /// For each view, what the engine wrote.
    written: Vec<Rows>,
    repeated: Option<(usize, String)>,
}

/// A clock that is this far ahead of the log is not believed.
const MAX_SKEW_MS: i64 = 60_000;

impl<'a> Oracle<'a> {
    pub fn new(sketch: &'a Sketch) -> Self {
        let views = sketch.names().len();
        Self { sketch, tables: vec![String::new(); views], written: vec![Rows::new(); views], repeated: None }
    }

    /// A case, and what the engine wrote of it.
    pub fn add(&mut self, number: usize, case: &Case, written: [Written; PARTITIONS]) {
        for (partition, (rows, written)) in case.rows.iter().zip(written).enumerate() {
            for (row, time_ms, watermark_ms) in self.judged(rows) {
                for (view, table) in self.sketch.views.iter().zip(&mut self.tables) {
                    for start_ms in starts_ms(view.slide_ms, view.size_ms, time_ms) {
                        if start_ms + view.size_ms > watermark_ms {
                            let place = format!("{number} {partition} {start_ms}");
                            tell(table, &place, self.sketch.columns().map(|column| column.name.as_str()), &row.values);
                        }
                    }
                }
            }
            for (view, rows) in written.into_iter().enumerate() {
                for (start_ns, mut values) in rows {
                    let values_of_it = values.split_off(self.keys(view));
                    let key = (number, partition, start_ns.div_euclid(1_000_000), values);
                    if let Some(twice) = self.written[view].insert(key.clone(), values_of_it) {
                        self.repeated = Some((number, format!("view {view} wrote {key:?} twice: {twice:?}")));
                    }
                }
            }
        }
    }

    fn keys(&self, view: usize) -> usize {
        self.sketch.views.get(view).map_or(1, |view| view.keys.len())
    }

    /// Rows that count, with their times and the watermark that each finds (milliseconds since 1970).
    fn judged<'r>(&self, rows: &'r [Row]) -> Vec<(&'r Row, i64, i64)> {
        let (mut watermark_ms, mut last_log_ms) = (i64::MIN, None);
        let mut judged = Vec::new();
        for row in rows {
            let log_ms = absolute_ms(row.log_ms);
            if let (Some(idle_ms), Some(last_log_ms)) = (self.sketch.idle_ms, last_log_ms)
                && log_ms - last_log_ms > idle_ms
            {
                watermark_ms = watermark_ms.max(log_ms - idle_ms - self.sketch.lateness_ms);
            }
            last_log_ms = Some(log_ms);
            let Some(time_ms) = row.time_ms.map(absolute_ms).filter(|time_ms| *time_ms <= log_ms + MAX_SKEW_MS) else {
                continue;
            };
            judged.push((row, time_ms, watermark_ms));
            watermark_ms = watermark_ms.max(time_ms - self.sketch.lateness_ms);
        }
        judged
    }

    /// The first row that is not as DataFusion has it, and its case.
    pub fn differences(mut self, tried: &Tried) -> Result<(), (usize, String)> {
        if let Some(repeated) = self.repeated.take() {
            return Err(repeated);
        }
        let mut below: Vec<Rows> = Vec::new();
        for (index, view) in self.sketch.views.iter().enumerate() {
            let expected = rows_of(&self.table(index), &view.select("rows", "place"), view.keys.len());
            let compared: Vec<Compared> = view.aggregates.iter().map(|(_, compared)| *compared).collect();
            compare(&view.name, &expected, &self.written[index], &compared, tried)?;
            below.push(expected);
        }
        let Some(above) = &self.sketch.above else { return Ok(()) };
        let view = &self.sketch.views[above.view];
        let mut table = String::new();
        for ((case, partition, start_ms, keys), values) in &below[above.view] {
            let time_ms = if above.of_end { start_ms + view.size_ms } else { *start_ms };
            for start_ms in starts_ms(above.slide_ms, above.size_ms, time_ms) {
                let key = if keys[0].is_empty() { "null".to_owned() } else { format!("{:?}", keys[0]) };
                let place = format!("{case} {partition} {start_ms}");
                tell(&mut table, &place, [view.keys[0].as_str(), "a0"], &[key, values[0].clone()]);
            }
        }
        let fields = vec![
            Field::new("place", DataType::Utf8, false),
            Field::new(&view.keys[0], DataType::Utf8, true),
            Field::new("a0", DataType::Int64, false),
        ];
        let expected = rows_of(&read(&table, fields), &view.select_above("rows", "place"), 1);
        compare("above", &expected, self.written.last().expect("its rows"), &[Compared::Exactly; 3], tried)
    }

    fn table(&self, view: usize) -> RecordBatch {
        let columns = self.sketch.columns().map(|column| Field::new(&column.name, arrow_type(column.data_type), true));
        read(&self.tables[view], [Field::new("place", DataType::Utf8, false)].into_iter().chain(columns).collect())
    }
}

/// Starts of the windows that hold a time.
fn starts_ms(slide_ms: i64, size_ms: i64, time_ms: i64) -> impl Iterator<Item = i64> {
    let last = time_ms.div_euclid(slide_ms);
    (0..).map(move |back| (last - back) * slide_ms).take_while(move |start_ms| start_ms + size_ms > time_ms)
}

fn tell<'n>(table: &mut String, place: &str, names: impl IntoIterator<Item = &'n str>, values: &[String]) {
    write!(table, r#"{{"place": "{place}""#).expect("written");
    for (name, value) in names.into_iter().zip(values) {
        write!(table, r#", "{name}": {value}"#).expect("written");
    }
    table.push_str("}\n");
}

fn arrow_type(data_type: Type) -> DataType {
    match data_type {
        Type::Text => DataType::Utf8View,
        Type::Big => DataType::Int64,
        Type::Small => DataType::Int16,
        Type::Truth => DataType::Boolean,
        Type::Double => DataType::Float64,
        Type::Real => DataType::Float32,
        Type::Day => DataType::Date32,
        Type::Time => DataType::Timestamp(TimeUnit::Nanosecond, None),
        Type::Decimal => DataType::Decimal128(12, 2),
    }
}

fn read(table: &str, fields: Vec<Field>) -> RecordBatch {
    let schema = Arc::new(Schema::new(fields));
    let rows = table.lines().count().max(1);
    let mut reader =
        ReaderBuilder::new(schema.clone()).with_batch_size(rows).build(table.as_bytes()).expect("a reader of JSON");
    reader.next().map_or_else(|| RecordBatch::new_empty(schema), |batch| batch.expect("reads"))
}

/// The result of a query over `rows`: `keys` columns, the place, the values.
fn rows_of(rows: &RecordBatch, query: &str, keys: usize) -> Rows {
    // One thread and one batch: rows stay in their order.
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(1 << 24);
    let context = SessionContext::new_with_config(config);
    aggregates()
        .into_iter()
        .filter(|function| function.name() != "count")
        .for_each(|function| context.register_udaf(function));
    context.register_batch("rows", rows.clone()).expect("a table");
    let batches = futures::executor::block_on(async { context.sql(query).await?.collect().await });
    let batches = batches.unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut found = Rows::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let mut cells: Vec<String> =
                batch.columns().iter().map(|column| array_value_to_string(column, row).expect("prints")).collect();
            let values = cells.split_off(keys + 1);
            let place = cells.pop().expect("the place");
            let place: Vec<i64> = place.split(' ').map(|number| number.parse().expect("a number")).collect();
            found.insert((place[0] as usize, place[1] as usize, place[2], cells), values);
        }
    }
    found
}

fn compare(
    view: &str,
    expected: &Rows,
    written: &Rows,
    compared: &[Compared],
    tried: &Tried,
) -> Result<(), (usize, String)> {
    for (key, values) in expected {
        let Some(there) = written.get(key) else {
            return Err((key.0, format!("{view} lacks {key:?}: {values:?}")));
        };
        for (index, how) in compared.iter().enumerate() {
            if !agree(*how, &values[index], &there[index]) {
                let (wanted, there) = (&values[index], &there[index]);
                return Err((key.0, format!("{view} {key:?}: a{index} is {there:?}, and {wanted:?} by DataFusion")));
            }
        }
    }
    if let Some((key, values)) = written.iter().find(|(key, _)| !expected.contains_key(key)) {
        return Err((key.0, format!("{view} has {key:?}, which DataFusion has not: {values:?}")));
    }
    tried.compared_rows.fetch_add(expected.len() as u64, Ordering::Relaxed);
    Ok(())
}

fn agree(how: Compared, wanted: &str, there: &str) -> bool {
    match how {
        Compared::Exactly => wanted == there,
        Compared::Not => true,
        Compared::Closely => match (wanted.parse::<f64>(), there.parse::<f64>()) {
            (Ok(wanted), Ok(there)) => {
                let magnitude = wanted.abs().max(there.abs());
                // The root of a variance that is 0 but for rounding is far larger than the rounding.
                wanted == there || (wanted - there).abs() <= 1e-9 * magnitude + 1e-5
            }
            _ => wanted == there,
        },
    }
}
