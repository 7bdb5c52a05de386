//! One windowed view over made-up rows: by the engine, undisturbed and with restarts, and by DataFusion over the raw rows.
//!
//! Every row is in time and the windows are `hop(t, 1 s, 3 s)`, so the rows of each window can be written down in SQL: a
//! row stands once for each of the three windows that hold it. Limits: what depends on lateness is in `soak/`.

use super::{BASE_MS, Kept, MS_NS, lines, options, run_one_by_one, with_restarts};
use amoskys_functions::aggregate::aggregates;
use amoskys_pipeline::sql::{Dataflow, Options, Problems, Sources, Wanted, plan};
use arrow::{
    array::{BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
    record_batch::RecordBatch,
    util::display::array_value_to_string,
};
use datafusion::{error::DataFusionError, prelude::SessionConfig, prelude::SessionContext};
use std::sync::Arc;

const STREAM: &str =
    "CREATE EXTERNAL TABLE ev (t TIMESTAMP, k VARCHAR, v DOUBLE, n BIGINT, w VARCHAR, b BOOLEAN, id BIGINT)
STORED AS JSON LOCATION 'ev-topic' OPTIONS (event_time 't', lateness '1s', replay_max '700ms', partition_key 'k');";

const ROWS: i64 = 60;
const EVERY_MS: i64 = 130;

/// Numbered, a row each 130 ms; nulls in every column but the key, the time and the number.
#[derive(Debug, Clone)]
struct Row {
    time_ns: i64,
    key: &'static str,
    /// Eighths, which are added without rounding.
    double: Option<f64>,
    number: Option<i64>,
    text: Option<&'static str>,
    truth: Option<bool>,
    id: i64,
}

fn rows() -> Vec<Row> {
    const TEXTS: [&str; 4] = ["", "b", "a text of more than twelve bytes", "é"];
    let row = |id: i64| Row {
        time_ns: (BASE_MS + id * EVERY_MS) * MS_NS,
        key: ["x", "y"][(id % 5 / 3) as usize],
        double: (id % 7 != 3).then_some((id * 37 % 64 - 20) as f64 / 8.0),
        number: (id % 11 != 5).then_some(id * 29 % 12),
        text: (id % 6 != 2).then_some(TEXTS[(id * 5 % 4) as usize]),
        truth: (id % 9 != 4).then_some(id * 3 % 4 < 2),
        id,
    };
    (0..ROWS).map(row).collect()
}

fn records() -> Vec<Kept> {
    let text = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let record = |row: Row| {
        let payload = format!(
            r#"{{"t": {}, "k": "{}", "v": {}, "n": {}, "w": {}, "b": {}, "id": {}}}"#,
            row.time_ns,
            row.key,
            text(row.double.map(|value| format!("{value:?}"))),
            text(row.number.map(|value| value.to_string())),
            text(row.text.map(|value| format!("{value:?}"))),
            text(row.truth.map(|value| value.to_string())),
            row.id
        );
        Kept { offset: row.id, log_ms: row.time_ns / MS_NS, payload: payload.into_bytes() }
    };
    rows().into_iter().map(record).collect()
}

/// A view that is grouped by `k`, one more key and the window.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub key: &'a str,
    pub aggregates: &'a [&'a str],
}

/// Window start (nanoseconds), keys and values, sorted.
pub type Results = Vec<(i64, Vec<String>)>;

impl View<'_> {
    fn select(&self) -> String {
        let aggregates = self.aggregates.iter().enumerate().map(|(index, call)| format!(", {call} AS a{index}"));
        format!("k, {} AS g{}", self.key, aggregates.collect::<String>())
    }

    pub fn plan(&self) -> Result<Dataflow, Problems> {
        let window = "hop(t, INTERVAL '1 second', INTERVAL '3 seconds') AS win";
        let text =
            format!("{STREAM} CREATE VIEW view AS SELECT {}, {window} FROM ev GROUP BY k, g, win;", self.select());
        plan(&Sources::of("view.sql", text), &Options { wanted: Wanted::Rows(vec!["view".into()]), ..options() })
    }

    /// What DataFusion makes of the rows of each window, all at once.
    pub fn by_datafusion(&self) -> Result<Results, DataFusionError> {
        // One thread: rows stay in their order.
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        // Those that take the place of DataFusion's are what is compared.
        let is_new = |name: &str| !matches!(name, "count" | "bit_xor");
        for function in aggregates().into_iter().filter(|function| is_new(function.name())) {
            context.register_udaf(function);
        }
        context.register_batch("raw", raw())?;
        let query = format!(
            "SELECT CAST(date_bin(INTERVAL '1 second', t) AS BIGINT) - back * 1000000000 AS start, {}
             FROM raw CROSS JOIN (VALUES (0), (1), (2)) AS windows(back) GROUP BY start, k, g",
            self.select()
        );
        let batches = futures::executor::block_on(async { context.sql(&query).await?.collect().await })?;
        let mut results = Results::new();
        for batch in &batches {
            for mut row in printed(batch) {
                let start = row.remove(0);
                results.push((start.parse().map_err(|_| DataFusionError::Plan(start.clone()))?, row));
            }
        }
        results.sort();
        Ok(results)
    }

    /// What the engine makes of them; panics where restarts change a bit of it.
    pub fn by_the_engine(&self, dataflow: &Dataflow) -> Results {
        let flow = &dataflow.streams[0];
        let records = records();
        let (mut task, mut out) = run_one_by_one(flow, &records);
        task.core.close_all(flow, &mut out.emissions).expect("closes");
        assert!(out.dead.is_empty(), "{:?}", out.dead[0]);
        let (disturbed, restored) = with_restarts(flow, &records, 3, 7);
        assert!(restored > 3, "{restored} restarts went on with panes that were kept");
        assert_eq!(lines(flow, &out.emissions), lines(flow, &disturbed), "restarts change nothing: {self:?}");
        let mut results = Results::new();
        for emission in &out.emissions {
            let (start_ns, _) = emission.window_ns.expect("of a window");
            let window = emission.batch.schema().index_of("win").expect("the window");
            for mut row in printed(&emission.batch) {
                row.remove(window);
                results.push((start_ns, row));
            }
        }
        results.sort();
        results
    }
}

fn printed(batch: &RecordBatch) -> Vec<Vec<String>> {
    let row = |row: usize| {
        let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).expect("prints"));
        cells.collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

fn raw() -> RecordBatch {
    let rows = rows();
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let schema = Schema::new(vec![
        field("t", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        field("k", DataType::Utf8),
        field("v", DataType::Float64),
        field("n", DataType::Int64),
        field("w", DataType::Utf8),
        field("b", DataType::Boolean),
        field("id", DataType::Int64),
    ]);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.time_ns))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.key))),
        Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.number).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.text).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.truth).collect::<BooleanArray>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns of one length")
}
