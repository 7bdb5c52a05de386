//! The same SQL over a log's records and over a Parquet file of them gives the same rows, bit for bit.

mod common;

use amoskys_pipeline::{
    run::{Checkpoint, Emission, History, HistoryCounts, HistoryError, HistoryOptions, Task, Verify, run_history},
    sql::{Dataflow, StreamFlow},
};
use arrow::{
    array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampNanosecondArray, UInt32Array},
    compute::take_record_batch,
    record_batch::RecordBatch,
};
use common::{BASE_MS, EVENTS, MS_NS, Out, flush, json, lines, planned, push};
use parquet::arrow::ArrowWriter;
use std::{collections::BTreeSet, fs::File, io::Write, ops::ControlFlow, path::PathBuf, sync::Arc};

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
    over_with(std::slice::from_ref(dataflow), files, &HistoryOptions::default()).map(|(emissions, _)| emissions)
}

fn over_with(
    dataflows: &[Dataflow],
    files: Vec<PathBuf>,
    options: &HistoryOptions,
) -> Result<(Vec<Emission>, HistoryCounts), HistoryError> {
    let mut emissions = Vec::new();
    let history = History::from([("ev".to_owned(), files)]);
    let counts = run_history(dataflows, &history, options, &mut |_, emission| {
        emissions.push(emission);
        ControlFlow::Continue(())
    })?;
    Ok((emissions, counts))
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
    assert_eq!(of_windows(&found), of_windows(&expected));
    assert!(of_windows(&found).len() > 300, "{}", of_windows(&found).len());
}

/// Rows without a window come in whatever batches they were read in.
fn of_windows(emissions: &[Emission]) -> Vec<Emission> {
    emissions.iter().filter(|emission| emission.window_ns.is_some()).cloned().collect()
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

    let refused = |history: History| {
        let dataflows = std::slice::from_ref(&dataflow);
        let nothing = &mut |_, _| ControlFlow::Continue(());
        run_history(dataflows, &history, &HistoryOptions::default(), nothing).expect_err("refused").to_string()
    };
    let error = refused(History::from([("eve".to_owned(), vec![])]));
    assert_eq!(error, "`eve` is read by no view that is asked for; streams are ev");
    assert!(refused(History::new()).contains("add --from ev=FILE"));

    let missing = folder.path().join("none.parquet");
    let error = over(&dataflow, vec![missing]).expect_err("no file").to_string();
    assert!(error.contains("none.parquet: cannot be opened"), "{error}");
    let text = folder.path().join("text.parquet");
    std::fs::write(&text, "k,v\n1,2\n").expect("written");
    let error = over(&dataflow, vec![text]).expect_err("no Parquet").to_string();
    assert!(error.contains("is no readable Parquet file"), "{error}");
    assert!(over(&dataflow, vec![write(&folder, "empty.parquet", &batch.slice(0, 0))]).expect("empty").is_empty());
}

/// What the log had, in its order: as an export writes it.
fn exported(rows: &[Row]) -> RecordBatch {
    let all = table(rows);
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_by_key(|&row| (rows[row as usize].partition, rows[row as usize].offset));
    take_record_batch(&all, &UInt32Array::from(order)).expect("rows")
}

#[test]
fn files_in_order_are_read_partition_by_partition_with_any_number_of_threads() {
    let (dataflows, folder) = ([dataflow(), dataflow(), dataflow()], tempfile::tempdir().expect("a folder"));
    let flow = &dataflows[0].streams[0];
    let rows = rows(30_000);
    let alone = live(flow, &rows);
    let all = exported(&rows);
    // Cut where no partition and no batch ends; the later file first.
    let files =
        vec![write(&folder, "b.parquet", &all.slice(9_001, 20_999)), write(&folder, "a.parquet", &all.slice(0, 9_001))];
    let expected = over(&dataflows[0], files.clone()).expect("runs");
    assert_eq!(of_windows(&expected), of_windows(&alone));
    assert_eq!(lines(flow, &expected), lines(flow, &alone));
    for threads in 2..=dataflows.len() {
        let options = HistoryOptions::default();
        let (found, counts) = over_with(&dataflows[..threads], files.clone(), &options).expect("runs");
        // In one order, bit for bit, whoever is faster.
        assert_eq!(found, expected, "{threads} threads");
        assert!(
            counts.quarantined_rows > 100 && counts.late_rows > 100 && counts.rows_without_time > 100,
            "{counts:?}"
        );
        assert_eq!(counts.rows + counts.quarantined_rows + counts.rows_without_time, 30_000);
        let progress = &options.progress;
        assert_eq!(progress.rows(), 30_000);
        assert!(progress.bytes() > progress.bytes_total() / 2, "{progress:?}");
    }
    // Shares add up to the whole, and a partition that is not there is none.
    let mut shares = Vec::new();
    for partition in [4, 5, 6] {
        let partitions = Some(BTreeSet::from([partition]));
        let options = HistoryOptions { partitions, ..HistoryOptions::default() };
        shares.extend(over_with(&dataflows[..2], files.clone(), &options).expect("runs").0);
    }
    assert_eq!(shares, expected);
}

#[test]
fn who_has_enough_ends_the_run() {
    let (dataflows, folder) = ([dataflow(), dataflow()], tempfile::tempdir().expect("a folder"));
    let all = exported(&rows(30_000));
    let mut reversed: Vec<u32> = (0..30_000).collect();
    reversed.reverse();
    let reversed = take_record_batch(&all, &UInt32Array::from(reversed)).expect("rows");
    for file in [write(&folder, "a.parquet", &all), write(&folder, "b.parquet", &reversed)] {
        let mut given = 0;
        let history = History::from([("ev".to_owned(), vec![file])]);
        run_history(&dataflows, &history, &HistoryOptions::default(), &mut |_, _| {
            given += 1;
            if given < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .expect("ends");
        assert_eq!(given, 3);
    }
}

/// The same rows in a file of each kind.
fn in_every_format(folder: &tempfile::TempDir, batch: &RecordBatch) -> Vec<PathBuf> {
    let path = |name: &str| folder.path().join(name);
    let create = |name: &str| File::create(path(name)).expect("a file");
    let mut file = arrow::ipc::writer::FileWriter::try_new(create("rows.arrow"), &batch.schema()).expect("a writer");
    file.write(batch).and_then(|()| file.finish()).expect("written");
    let mut stream = arrow::ipc::writer::StreamWriter::try_new(create("rows.ipc"), &batch.schema()).expect("a writer");
    stream.write(batch).and_then(|()| stream.finish()).expect("written");
    let mut json = arrow::json::LineDelimitedWriter::new(create("rows.jsonl"));
    json.write(batch).and_then(|()| json.finish()).expect("written");
    let mut csv = arrow::csv::WriterBuilder::new().with_header(true).build(create("rows.csv"));
    csv.write(batch).expect("written");
    drop(csv);
    let parquet = write(folder, "rows.parquet", batch);
    ["rows.arrow", "rows.ipc", "rows.jsonl", "rows.csv"].map(path).into_iter().chain([parquet]).collect()
}

#[test]
fn every_format_says_the_same_in_order_and_out_of_it() {
    let dataflow = dataflow();
    let flow = &dataflow.streams[0];
    let rows = rows(20_000);
    let expected = live(flow, &rows);
    let ordered = exported(&rows);
    let backwards = UInt32Array::from_iter_values((0..20_000).rev());
    let reversed = take_record_batch(&ordered, &backwards).expect("rows");
    for batch in [ordered, reversed] {
        let folder = tempfile::tempdir().expect("a folder");
        for path in in_every_format(&folder, &batch) {
            let found = over(&dataflow, vec![path.clone()]).expect("runs");
            assert_eq!(lines(flow, &found), lines(flow, &expected), "{}", path.display());
        }
    }
}

#[test]
fn folders_give_partitions_and_columns() {
    let (dataflow, folder) = (dataflow(), tempfile::tempdir().expect("a folder"));
    let flow = &dataflow.streams[0];
    let rows = rows(2_000);
    let all = exported(&rows);
    for partition in [4, 5] {
        let of: Vec<u32> = (0..2_000).filter(|row| (row / 1_000) + 4 == partition).collect();
        let part = take_record_batch(&all, &UInt32Array::from(of)).expect("rows");
        let kept: Vec<usize> =
            (0..part.num_columns()).filter(|&at| part.schema().field(at).name() != "_partition").collect();
        let below = format!("day=2026-01-02/_partition={partition}");
        std::fs::create_dir_all(folder.path().join(&below)).expect("made");
        write(&folder, &format!("{below}/x.parquet"), &part.project(&kept).expect("columns"));
    }
    for pattern in ["", "day=*", "day=*/*/x.parquet"] {
        let found = over(&dataflow, vec![folder.path().join(pattern)]).expect("runs");
        assert_eq!(of_windows(&found), of_windows(&live(flow, &rows)), "{pattern}");
    }
    // A column of the stream that a folder gives, and one that has not its type.
    let k = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(k.path().join("k=a/v=1.5")).expect("made");
    let without: Vec<usize> = [0, 1, 4].to_vec();
    write(&k, "k=a/v=1.5/x.parquet", &all.project(&without).expect("columns"));
    let found = over(&dataflow, vec![k.path().to_owned()]).expect("runs");
    let batch = found.iter().find(|emission| emission.window_ns.is_none()).expect("rows").batch.clone();
    let of = |name: &str| arrow::util::display::array_value_to_string(batch.column_by_name(name).expect(name), 0);
    assert_eq!((of("k").expect("text"), of("x").expect("a number")), ("a".to_owned(), "1.5".to_owned()));
    std::fs::rename(k.path().join("k=a/v=1.5"), k.path().join("k=a/v=much")).expect("renamed");
    let error = over(&dataflow, vec![k.path().to_owned()]).expect_err("no number").to_string();
    assert!(error.contains("k=a/v=much/x.parquet: column `v`: Cast error"), "{error}");
}

#[test]
fn what_a_file_gets_wrong_is_told_with_its_rows() {
    let (dataflow, folder) = (dataflow(), tempfile::tempdir().expect("a folder"));
    let told = |name: &str, text: &str| {
        let path = folder.path().join(name);
        File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
        over(&dataflow, vec![path]).expect_err(name).to_string().replace(&folder.path().display().to_string(), "")
    };
    let good = "{\"t\":\"2026-01-01T00:00:00Z\",\"k\":\"a\"}\n";
    for (name, text, expected) in [
        (
            "a.jsonl",
            "\n[\n{}\n".replace("{}", good.trim_end()).replace('"', "'"),
            "a.jsonl: line 2 is no JSON object (one object in each line is wanted), nor is any that was looked at: ",
        ),
        ("c.jsonl", "{\"k\":\"a\"}\n".to_owned(), "c.jsonl: lacks the columns `t`, which the SQL uses"),
        ("d.csv", "t,n\n2026-01-01T00:00:00,1,2\n".to_owned(), "d.csv: row 1 or one of those after it: "),
        ("e.csv", "k,n\na,1\n".to_owned(), "e.csv: lacks the columns `t`, which the SQL uses"),
        ("f.arrow", "no Arrow".to_owned(), "f.arrow: is no Arrow IPC file, and no stream of it"),
        (
            "g.jsonl",
            format!("{}{{\"t\":\"2026-01-01T00:00:00Z\"}}\n", good.replace('}', ",\"_offset\":1}")),
            "stream `ev`: `_offset` is null in partition 0",
        ),
    ] {
        let error = told(name, &text);
        assert!(error.contains(expected), "{error}");
    }
}

/// The rows that count and what is told, for each `on_error`: as live.
#[test]
fn records_that_do_not_decode_are_what_on_error_says() {
    const TIMES: [&str; 5] =
        ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "noon", "2026-01-01T00:00:03Z", "2026-01-01T00:00:04Z"];
    let json = |n: usize, time: &str| match n {
        3 => format!("{{\"t\":\"{time}\",\"k\":\"a\",\"n\":\"many\"}}\n"),
        _ => format!("\n{{\"t\":\"{time}\",\"k\":\"a\",\"n\":{n}}}\n"),
    };
    let lines: String = (0..).zip(TIMES).map(|(n, time)| json(n, time)).collect();
    let csv = |(n, time): (usize, &str)| format!("{time},a,{}\n", if n == 3 { "many".into() } else { n.to_string() });
    let csv: String = ["t,k,n\n".to_owned()].into_iter().chain((0..).zip(TIMES).map(csv)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text, [third, fourth]) in
        [("x.jsonl", format!("{lines}[1, 2]\n"), ["line 6", "line 7"]), ("x.csv", csv, ["row 3", "row 4"])]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        let is_json = name == "x.jsonl";
        let run = |on_error: &str| {
            let events = EVENTS.replace("partition_key", &format!("on_error '{on_error}', partition_key"));
            let sink = "CREATE EXTERNAL TABLE sink (k VARCHAR, n BIGINT) STORED AS JSON LOCATION 'sink';
                INSERT INTO sink SELECT k, n FROM ev;";
            let dataflow = planned(&[("a.sql", &events), ("q.sql", sink)]);
            over_with(std::slice::from_ref(&dataflow), vec![path.clone()], &HistoryOptions::default())
        };
        let (_, counts) = run("deadletter").expect("runs");
        let places: Vec<&str> = counts.dead.iter().map(|row| row.place.as_str()).collect();
        let array = ["line 10"];
        let wanted = [third, fourth].into_iter().chain(array.into_iter().filter(|_| is_json));
        assert_eq!((counts.rows, places), (3, wanted.collect::<Vec<_>>()), "{name}: {:?}", counts.dead);
        assert_eq!(counts.dead_records, counts.dead.len() as u64);
        assert!(counts.dead.iter().all(|row| row.path == path && !row.reason.is_empty()), "{:?}", counts.dead);
        // A time that is none is null, and a row without a time counts for nothing.
        let (emissions, counts) = run("null").expect("runs");
        assert_eq!((counts.rows, counts.rows_without_time, counts.dead_records), (4, 1, u64::from(is_json)), "{name}");
        assert_eq!(counts.nulled_values, 2, "{name}");
        let nulls: usize = emissions.iter().map(|emission| emission.batch.column(1).null_count()).sum();
        assert_eq!(nulls, 1, "{name}");
        let error = run("stop").expect_err("stops").to_string();
        assert!(error.contains(&format!("{name}: {third}: ")) && error.contains("(on_error is 'stop')"), "{error}");
    }
}

/// A file of each host, one behind the other, is late for its windows; by time it is as if one log had had all.
#[test]
fn files_that_no_log_had_are_sorted_by_time_on_demand() {
    let (dataflow, folder) = (dataflow(), tempfile::tempdir().expect("a folder"));
    let flow = &dataflow.streams[0];
    let line = |second: i64, key: &str| {
        format!(
            "{{\"t\":\"2026-01-01T00:{:02}:{:02}Z\",\"k\":\"{key}\",\"v\":1.5,\"n\":{second}}}\n",
            second / 60,
            second % 60
        )
    };
    let write = |name: &str, lines: Vec<String>| {
        let path = folder.path().join(name);
        std::fs::write(&path, lines.concat()).expect("written");
        path
    };
    let apart =
        ["a", "b"].map(|key| write(&format!("{key}.jsonl"), (0..300).map(|second| line(second, key)).collect()));
    let merged = write("c.jsonl", (0..300).flat_map(|second| [line(second, "a"), line(second, "b")]).collect());
    let run = |files: Vec<PathBuf>, sort_by_time: bool| {
        let options = HistoryOptions { sort_by_time, ..HistoryOptions::default() };
        over_with(std::slice::from_ref(&dataflow), files, &options).expect("runs")
    };
    let (expected, counts) = run(vec![merged.clone()], false);
    assert_eq!((counts.rows, counts.late_rows), (600, 0));
    let (_, counts) = run(apart.to_vec(), false);
    assert!(counts.late_rows > 250, "{counts:?}");
    for files in [apart.to_vec(), vec![merged]] {
        let (found, counts) = run(files, true);
        assert_eq!((counts.rows, counts.late_rows), (600, 0));
        assert_eq!(lines(flow, &found), lines(flow, &expected));
    }
}

/// A line longer than a record may be is one dead record, and not kept in memory; NOT NULL is not null.
#[test]
fn lines_that_are_too_long_and_columns_that_have_to_be_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.jsonl");
    let good = "{\"t\":\"2026-01-01T00:00:00Z\",\"k\":\"a\"}\n";
    let long = format!("{{\"k\":\"{}\"}}\n", "x".repeat(40 << 20));
    std::fs::write(&path, format!("{good}{long}{good}{{\"t\":\"2026-01-01T00:00:00Z\"}}\n{}", good.trim_end()))
        .expect("written");
    let events = EVENTS.replace("k VARCHAR", "k VARCHAR NOT NULL");
    let sink =
        "CREATE EXTERNAL TABLE sink (k VARCHAR) STORED AS JSON LOCATION 'sink'; INSERT INTO sink SELECT k FROM ev;";
    let dataflow = planned(&[("a.sql", &events), ("q.sql", sink)]);
    let (_, counts) = over_with(std::slice::from_ref(&dataflow), vec![path], &HistoryOptions::default()).expect("runs");
    let told: Vec<String> = counts.dead.iter().map(|row| format!("{}: {}", row.place, row.reason)).collect();
    assert_eq!((counts.rows, told.len()), (3, 2), "{told:?}");
    assert!(told[0].starts_with("line 2: a record of 16777217 bytes, more than 16777216"), "{told:?}");
    assert!(told[1].starts_with("line 4: "), "{told:?}");
}

/// Rows that take several times what sorting may: they go through files.
#[test]
fn sorting_more_than_memory_holds_gives_the_same() {
    let (dataflow, folder) = (dataflow(), tempfile::tempdir().expect("a folder"));
    let flow = &dataflow.streams[0];
    let rows = rows(300_000);
    let ordered = exported(&rows);
    let backwards = UInt32Array::from_iter_values((0..300_000).rev());
    let reversed = write(&folder, "r.parquet", &take_record_batch(&ordered, &backwards).expect("rows"));
    let expected = over(&dataflow, vec![write(&folder, "o.parquet", &ordered)]).expect("runs");
    let options = HistoryOptions { sort_memory_bytes_max: 4 << 20, ..HistoryOptions::default() };
    let bytes = ordered.get_array_memory_size();
    assert!(bytes > 3 * options.sort_memory_bytes_max, "{bytes} would fit");
    let (found, _) = over_with(std::slice::from_ref(&dataflow), vec![reversed], &options).expect("runs");
    assert_eq!(lines(flow, &found), lines(flow, &expected));
}
