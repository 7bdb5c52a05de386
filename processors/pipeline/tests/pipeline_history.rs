//! The same SQL over a log's records and over a Parquet file of them gives the same rows, bit for bit.

mod common;

use amoskys_pipeline::{
    run::{Checkpoint, Emission, History, HistoryError, Task, Verify, run_history},
    sql::{Dataflow, StreamFlow},
};
use arrow::{
    array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampNanosecondArray, UInt32Array},
    compute::take_record_batch,
    record_batch::RecordBatch,
};
use common::{BASE_MS, EVENTS, MS_NS, Out, flush, json, lines, planned, push};
use parquet::arrow::ArrowWriter;
use std::{fs::File, path::PathBuf, sync::Arc};

const SQL: &str = "
CREATE EXTERNAL TABLE sink (k VARCHAR, s TIMESTAMP, c BIGINT, x DOUBLE, y DOUBLE)
STORED AS JSON LOCATION 'sink-topic';
CREATE VIEW slow AS SELECT k, hop(t, INTERVAL '1 second', INTERVAL '3500 milliseconds') AS win,
  count(*) AS c, sum(v) AS x, stddev(v) AS y FROM ev GROUP BY k, win;
INSERT INTO sink SELECT k, win.start AS s, c, x, y FROM slow WHERE c > 1;
INSERT INTO sink SELECT k, t AS s, n AS c, v AS x FROM ev WHERE n > 1;";

struct Row {
    partition: i32,
    offset: i64,
    log_ms: i64,
    time_ms: Option<i64>,
    key: &'static str,
    v: f64,
    n: i64,
}

/// Rows of two partitions: out of order, late, with idle gaps, without time, ahead of the log.
fn rows(count: i64) -> Vec<Row> {
    let mut state = 7u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut log_ms = 0;
    let rows = (0..count).map(|index| {
        log_ms += random(60) as i64 + if random(300) == 0 { 8000 } else { 0 };
        let time_ms = match random(50) {
            0 => None,
            1 => Some(log_ms + 70_000),
            _ => Some(log_ms + 400 - random(2500) as i64),
        };
        let (partition, offset) = ((index % 2) as i32 + 4, index / 2 * 3);
        let key = ["a", "b", "c"][random(3) as usize];
        Row { partition, offset, log_ms, time_ms, key, v: random(1_000_000) as f64 / 7.0, n: random(4) as i64 }
    });
    rows.collect()
}

fn table(rows: &[Row]) -> RecordBatch {
    let time = |time_ms: i64| (BASE_MS + time_ms) * MS_NS;
    let times: TimestampNanosecondArray = rows.iter().map(|row| row.time_ms.map(time)).collect();
    let logged: TimestampNanosecondArray = rows.iter().map(|row| Some(time(row.log_ms))).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("_log_time", Arc::new(logged)),
        ("n", Arc::new(rows.iter().map(|row| Some(row.n)).collect::<Int64Array>())),
        ("v", Arc::new(rows.iter().map(|row| Some(row.v)).collect::<Float64Array>())),
        ("k", Arc::new(rows.iter().map(|row| Some(row.key)).collect::<StringArray>())),
        ("t", Arc::new(times)),
        ("_offset", Arc::new(rows.iter().map(|row| Some(row.offset)).collect::<Int64Array>())),
        ("_partition", Arc::new(rows.iter().map(|row| Some(row.partition)).collect::<Int32Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .expect("columns of one length")
}

fn write(folder: &tempfile::TempDir, name: &str, batch: &RecordBatch) -> PathBuf {
    let path = folder.path().join(name);
    let mut writer =
        ArrowWriter::try_new(File::create(&path).expect("a file"), batch.schema(), None).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    path
}

fn dataflow() -> Dataflow {
    planned(&[("a.sql", EVENTS), ("q.sql", SQL)])
}

/// Partition by partition through a task each, as records.
fn live(flow: &StreamFlow, rows: &[Row]) -> Vec<Emission> {
    let mut all = Vec::new();
    for partition in [4, 5] {
        let mut task = Task::new(flow, "ev-topic", partition, Verify::Off, Checkpoint::start(0), None).expect("a task");
        let mut out = Out::default();
        for (index, row) in rows.iter().filter(|row| row.partition == partition).enumerate() {
            push(&mut task, flow, &json(row.offset, row.log_ms, row.time_ms, row.key, row.v, row.n), &mut out);
            if index % 100 == 99 {
                flush(&mut task, flow, &mut out);
            }
        }
        flush(&mut task, flow, &mut out);
        assert!(out.dead.is_empty());
        task.core.close_all(flow, &mut out.emissions).expect("closes");
        all.append(&mut out.emissions);
    }
    all
}

fn over(dataflow: &Dataflow, files: Vec<PathBuf>) -> Result<Vec<Emission>, HistoryError> {
    let mut emissions = Vec::new();
    run_history(dataflow, &History::from([("ev".to_owned(), files)]), &mut |_, emission| emissions.push(emission))?;
    Ok(emissions)
}

#[test]
fn records_and_parquet_give_identical_batches() {
    let (dataflow, folder) = (dataflow(), tempfile::tempdir().expect("a folder"));
    let flow = &dataflow.streams[0];
    // More rows than the 8,192 that history computes at once.
    let rows = rows(20_000);
    let expected = live(flow, &rows);
    let all = table(&rows);
    // Exports need not be in order: the second half first, and each half in a file of its own.
    let half = |from: u32| {
        let indices = UInt32Array::from_iter_values((from..from + 10_000).rev());
        write(&folder, &format!("{from}.parquet"), &take_record_batch(&all, &indices).expect("rows"))
    };
    let found = over(&dataflow, vec![half(10_000), half(0)]).expect("runs");
    assert_eq!(lines(flow, &found), lines(flow, &expected));
    let windows = |emissions: &[Emission]| -> Vec<Emission> {
        emissions.iter().filter(|emission| emission.window_ns.is_some()).cloned().collect()
    };
    assert_eq!(windows(&found), windows(&expected));
    assert!(windows(&found).len() > 300, "{}", windows(&found).len());
}

#[test]
fn a_file_from_elsewhere_is_one_partition_in_its_order() {
    let (dataflow, folder) = (dataflow(), tempfile::tempdir().expect("a folder"));
    let times: TimestampNanosecondArray =
        [0, 900, 400_000, 100].map(|ms| Some((BASE_MS + ms) * MS_NS)).into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(times)),
        ("k", Arc::new(StringArray::from(vec!["a"; 4]))),
        ("n", Arc::new(Int32Array::from(vec![1, 2, 1, 1]))),
    ];
    let path = write(&folder, "x.parquet", &RecordBatch::try_from_iter(columns).expect("columns"));
    let found = over(&dataflow, vec![path]).expect("runs");
    // The last row is late; `v` is not in the file and so null; an Int32 is read as the BIGINT it was declared.
    let windows = common::windows(&found);
    assert_eq!(windows, vec![(-2000, 1500, 1), (-1000, 2500, 1), (0, 3500, 1)]);
    assert_eq!(lines(&dataflow.streams[0], &found)[1].len(), 1);
}

#[test]
fn what_cannot_be_run_is_refused_with_a_reason() {
    let (dataflow, folder) = (dataflow(), tempfile::tempdir().expect("a folder"));
    let batch = table(&rows(10));
    let without = |name: &str| {
        let kept: Vec<usize> = (0..batch.num_columns()).filter(|&at| batch.schema().field(at).name() != name).collect();
        write(&folder, &format!("no-{name}.parquet"), &batch.project(&kept).expect("columns"))
    };
    let error = over(&dataflow, vec![without("t")]).expect_err("no event time").to_string();
    assert!(error.contains("no-t.parquet") && error.contains("lacks the columns `t`"), "{error}");
    over(&dataflow, vec![without("v")]).expect("other columns may be missing");

    let history = History::from([("eve".to_owned(), vec![])]);
    let error = run_history(&dataflow, &history, &mut |_, _| {}).expect_err("unknown").to_string();
    assert_eq!(error, "`eve` is read by no view that is asked for; streams are ev");
    let error = run_history(&dataflow, &History::new(), &mut |_, _| {}).expect_err("missing").to_string();
    assert!(error.contains("add --from ev=FILE.parquet"), "{error}");

    let missing = folder.path().join("none.parquet");
    let error = over(&dataflow, vec![missing]).expect_err("no file").to_string();
    assert!(error.contains("none.parquet: cannot be opened"), "{error}");
    let text = folder.path().join("text.parquet");
    std::fs::write(&text, "k,v\n1,2\n").expect("written");
    let error = over(&dataflow, vec![text]).expect_err("no Parquet").to_string();
    assert!(error.contains("is no readable Parquet file"), "{error}");
    assert!(over(&dataflow, vec![write(&folder, "empty.parquet", &batch.slice(0, 0))]).expect("empty").is_empty());
}
