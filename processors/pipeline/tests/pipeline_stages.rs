//! More than one step: windows over windows, rows of a union, rows joined with a file, rows that came late.
//!
//! That neither grouping nor restarts change them is in `pipeline_repeats.rs`.

mod common;

use amoskys_pipeline::{
    run::Emitter,
    sql::{Dataflow, StreamFlow},
};
use arrow::util::display::array_value_to_string;
use common::{EVENTS, Kept, Out, json, planned, run_one_by_one};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::collections::BTreeMap;

const SINK: &str =
    "CREATE EXTERNAL TABLE sink (k VARCHAR, s BIGINT, x DOUBLE, y DOUBLE, w VARCHAR) STORED AS JSON LOCATION 'sink';";

fn plan_queries(sql: &str) -> Dataflow {
    planned(&[("a.sql", EVENTS), ("b.sql", SINK), ("q.sql", sql)])
}

/// All records, and every window closed.
fn run(flow: &StreamFlow, records: &[Kept]) -> Out {
    let (mut task, mut out) = run_one_by_one(flow, records);
    task.core.close_all(flow, &mut out.emissions).expect("closes");
    out
}

/// The columns of each row of an INSERT, as text.
fn rows(out: &Out, insert: usize) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for emission in out.emissions.iter().filter(|emission| emission.insert == insert) {
        let columns = emission.batch.columns();
        rows.extend((0..emission.batch.num_rows()).map(|row| {
            columns.iter().map(|column| array_value_to_string(column, row).expect("prints")).collect::<Vec<_>>()
        }));
    }
    rows
}

fn joined(out: &Out, insert: usize) -> Vec<String> {
    rows(out, insert).iter().map(|row| row.join(" ").trim_end().to_owned()).collect()
}

/// Windows of a minute-like outer view, counted from what the inner view published: every inner row is in the outer
/// windows that its bound is in, and in no other.
#[test]
fn windows_over_windows_hold_what_the_inner_view_published() {
    let sql = |bound: &str| {
        format!(
            "CREATE VIEW inner_view AS SELECT k, hop(t, INTERVAL '1 second', INTERVAL '3 seconds') AS win, count(*) AS c,
             sum(n) AS total FROM ev GROUP BY k, win;
             CREATE VIEW outer_view AS SELECT k, hop(win.{bound}, INTERVAL '2 seconds', INTERVAL '7 seconds') AS later,
             sum(c) AS c, max(total) AS total FROM inner_view WHERE c > 1 GROUP BY k, later;
             INSERT INTO sink SELECT k, CAST(win.{bound} AS BIGINT) AS s, c AS x, total AS y FROM inner_view;
             INSERT INTO sink SELECT k, CAST(later.start AS BIGINT) AS s, c AS x, total AS y FROM outer_view;"
        )
    };
    let flows = [plan_queries(&sql("start")), plan_queries(&sql("end"))];
    let record = (0i64..700, -1500i64..500, 0usize..3, 0i64..100);
    let records = prop::collection::vec(record, 1..80);
    TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() })
        .run(&records, |records| {
            let mut log_ms = 0;
            let records = records.into_iter().enumerate().map(|(index, (gap_ms, shift_ms, key, n))| {
                log_ms += gap_ms;
                json(index as i64, log_ms, Some(log_ms + shift_ms), ["a", "b", "c"][key], 0.0, n)
            });
            let records: Vec<Kept> = records.collect();
            for dataflow in &flows {
                let out = run(&dataflow.streams[0], &records);
                let mut expected: BTreeMap<(i64, String), (f64, f64)> = BTreeMap::new();
                for row in rows(&out, 0) {
                    let number = |index: usize| row[index].parse::<f64>().expect("a number");
                    let at_ns: i64 = row[1].parse().expect("nanoseconds");
                    let (slide_ns, size_ns) = (2_000_000_000, 7_000_000_000);
                    let mut start_ns = at_ns.div_euclid(slide_ns) * slide_ns;
                    while number(2) > 1.0 && start_ns + size_ns > at_ns {
                        let window = expected.entry((start_ns, row[0].clone())).or_insert((0.0, f64::MIN));
                        *window = (window.0 + number(2), window.1.max(number(3)));
                        start_ns -= slide_ns;
                    }
                }
                let found = rows(&out, 1).into_iter().map(|row| {
                    let number = |index: usize| row[index].parse::<f64>().expect("a number");
                    ((row[1].parse().expect("nanoseconds"), row[0].clone()), (number(2), number(3)))
                });
                let found: Vec<_> = found.collect();
                prop_assert_eq!(found.len(), expected.len(), "each window of each key once");
                prop_assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
            }
            Ok(())
        })
        .expect("holds for every case");
}

#[test]
fn a_window_over_starts_waits_for_the_windows_that_begin_in_it() {
    let outer = |bound: &str| {
        plan_queries(&format!(
            "INSERT INTO sink SELECT k, 0 AS s, count(*) AS x FROM
             (SELECT k, hop(t, INTERVAL '1 second', INTERVAL '3 seconds') AS win FROM ev GROUP BY k, win)
             GROUP BY k, tumble(win.{bound}, INTERVAL '6 seconds');"
        ))
    };
    // Lateness is 1 s. The windows that end before 6 s have closed when the watermark is 6 s; of those that begin before 6 s
    // the last ends at 8 s; those of the window before, which begins two of them, have closed long since.
    let records: Vec<Kept> = (0..12).map(|at| json(at, at * 1000, Some(at * 1000), "a", 0.0, 0)).collect();
    for (bound, until, windows) in [("end", 7, 0), ("end", 8, 1), ("start", 9, 1), ("start", 10, 2)] {
        let dataflow = outer(bound);
        let (_, out) = run_one_by_one(&dataflow.streams[0], &records[..until]);
        assert_eq!(out.emissions.len(), windows, "{bound}, {until} records");
    }
}

#[test]
fn unions_and_files_below_a_window() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("owners.csv");
    std::fs::write(&file, "host,owner\na,ann\na,alf\nb,bob\n").expect("written");
    let owners = format!(
        "CREATE EXTERNAL TABLE owners (host VARCHAR, owner VARCHAR) STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true');",
        file.display()
    );
    let second = "tumble(t, INTERVAL '1 second')";
    let records = [
        json(0, 100, Some(100), "a", 1.0, 1),
        json(1, 200, Some(200), "b", 2.0, 2),
        json(2, 300, Some(300), "a", 3.0, 3),
        json(3, 400, Some(400), "z", 4.0, 4),
    ];
    let cases: &[(String, &[&str])] = &[
        (
            format!("SELECT k, 0 AS s, sum(v) AS x, count(*) AS y FROM
                (SELECT k, t, v FROM ev WHERE n < 3 UNION ALL SELECT k, t, 10 * v FROM ev WHERE n > 1) GROUP BY k, {second}"),
            &["a 0 31.0 2.0", "b 0 22.0 2.0", "z 0 40.0 1.0"],
        ),
        (
            format!("SELECT k, 0 AS s, sum(v) AS x, 0 AS y, owner AS w FROM (SELECT ev.*, owner FROM ev JOIN owners ON k = host)
                GROUP BY k, owner, {second}"),
            &["a 0 4.0 0.0 ann", "a 0 4.0 0.0 alf", "b 0 2.0 0.0 bob"],
        ),
        (
            format!("SELECT k, 0 AS s, count(owner) AS x, count(*) AS y FROM (SELECT ev.*, owner FROM ev LEFT JOIN owners ON k = host)
                GROUP BY k, {second}"),
            &["a 0 4.0 4.0", "b 0 1.0 1.0", "z 0 0.0 1.0"],
        ),
        (
            format!("SELECT k, 0 AS s, sum(v) AS x, 0 AS y FROM ev WHERE k NOT IN (SELECT host FROM owners) GROUP BY k, {second}"),
            &["z 0 4.0 0.0"],
        ),
        (
            format!("SELECT k, 0 AS s, sum(v) AS x, 0 AS y FROM ev WHERE v > (SELECT count(*) FROM owners) GROUP BY k, {second}"),
            &["z 0 4.0 0.0"],
        ),
        ("SELECT k, n AS s, v AS x, 0 AS y, owner AS w FROM ev JOIN owners ON k = host WHERE v > 1".into(),
            &["b 2 2.0 0.0 bob", "a 3 3.0 0.0 ann", "a 3 3.0 0.0 alf"]),
        (
            format!("SELECT p.k, 0 AS s, p.c AS x, 0 AS y, owner AS w FROM (SELECT k, count(*) AS c FROM ev GROUP BY k, {second}) p
                JOIN owners ON p.k = host ORDER BY owner"),
            &["a 0 2.0 0.0 alf", "a 0 2.0 0.0 ann", "b 0 1.0 0.0 bob"],
        ),
        (
            format!("SELECT k, 0 AS s, nth_value(v, 1 ORDER BY v DESC) AS x, 0 AS y,
                array_to_string(array_agg(n ORDER BY v DESC), '-') AS w FROM ev GROUP BY k, {second}"),
            &["a 0 3.0 0.0 3-1", "b 0 2.0 0.0 2", "z 0 4.0 0.0 4"],
        ),
    ];
    for (sql, expected) in cases {
        let dataflow = plan_queries(&format!("{owners} INSERT INTO sink {sql};"));
        assert_eq!(joined(&run(&dataflow.streams[0], &records), 0), *expected, "{sql}");
    }

    // The file changes: rows are joined with what it says when they come, and a file that does not read changes nothing.
    let dataflow = plan_queries(&format!(
        "{owners} INSERT INTO sink SELECT k, n AS s, 0 AS x, 0 AS y, owner AS w FROM ev JOIN owners ON k = host;"
    ));
    let now = || joined(&run(&dataflow.streams[0], &records[1..2]), 0);
    let refresh = || dataflow.statics()[0].refresh();
    assert_eq!((now(), refresh().expect("reads")), (vec!["b 2 0.0 0.0 bob".to_owned()], false));
    std::fs::write(&file, "host,owner\nb,beatrix\n").expect("written");
    assert_eq!((refresh().expect("reads"), now()), (true, vec!["b 2 0.0 0.0 beatrix".to_owned()]));
    std::fs::write(&file, "host,owner\nb,one,two,three\n").expect("written");
    refresh().expect_err("too many columns");
    assert_eq!((refresh().expect("told once"), now()), (false, vec!["b 2 0.0 0.0 beatrix".to_owned()]));
}

#[test]
fn what_is_shed_is_told() {
    const BOUNDED: &str = "CREATE EXTERNAL TABLE few (t TIMESTAMP, k VARCHAR, v DOUBLE) STORED AS JSON LOCATION 'few-topic'
        OPTIONS (event_time 't', lateness '1s', partition_key 'k', keys_max '2', state_bytes_max '1MiB');
        CREATE EXTERNAL TABLE told (k VARCHAR, c BIGINT, shed BIGINT, quality VARCHAR) STORED AS JSON LOCATION 'told-topic';";
    let dataflow = planned(&[(
        "q.sql",
        &format!(
            "{BOUNDED}
             CREATE VIEW per_k AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c, shed_rows() AS shed FROM few
             GROUP BY k, win;
             INSERT INTO told SELECT k, c, shed FROM per_k;
             INSERT INTO told SELECT k, sum(c) AS c, max(shed) AS shed, 'mine' AS quality FROM per_k
             GROUP BY k, tumble(win.start, INTERVAL '4 seconds');
             INSERT INTO told SELECT k, 0 AS c, shed_rows() AS shed FROM per_k GROUP BY k, tumble(win.start, INTERVAL '4 seconds');"
        ),
    )]);
    let flow = &dataflow.streams[0];
    let records: Vec<Kept> = [("a", 0), ("b", 1), ("c", 2), ("a", 3), ("d", 4), ("a", 1000)]
        .iter()
        .enumerate()
        .map(|(offset, (key, at))| json(offset as i64, *at, Some(*at), key, 0.0, 0))
        .collect();
    let out = run(flow, &records);
    assert_eq!(joined(&out, 0), ["a 2 2", "b 1 2", "a 1 0"]);
    assert_eq!(joined(&out, 1), ["a 3 2 mine", "b 1 2 mine"]);
    // What the windows below lack, the window above them lacks.
    assert_eq!(joined(&out, 2), ["a 0 2", "b 0 2"]);
    let written = |insert: usize| {
        let emitter = Emitter::new(&flow.inserts[insert]).expect("an emitter").expect("a sink");
        let mut records = Vec::new();
        for emission in out.emissions.iter().filter(|emission| emission.insert == insert) {
            emitter.encode(emission, &mut records).expect("encodes");
        }
        records.into_iter().map(|record| String::from_utf8(record.payload).expect("text")).collect::<Vec<_>>()
    };
    let quality = |insert: usize, quality: &str| written(insert).iter().filter(|row| row.contains(quality)).count();
    assert_eq!(
        (quality(0, "\"quality\":\"shed\""), quality(0, "\"quality\":\"complete\"")),
        (2, 1),
        "{:?}",
        written(0)
    );
    assert_eq!((quality(1, "\"quality\":\"mine\""), quality(2, "\"quality\":\"shed\"")), (2, 2));

    let (task, _) = run_one_by_one(flow, &records);
    assert_eq!(task.core.counters.shed_rows, 2);
}

#[test]
fn late_rows_can_be_had_apart() {
    let dataflow = plan_queries(
        "INSERT INTO sink SELECT k, n AS s, v AS x, 0 AS y FROM ev WHERE _late;
         INSERT INTO sink SELECT k, n AS s, count(*) AS x, 0 AS y FROM ev WHERE k = 'a'
         GROUP BY k, n, hop(t, INTERVAL '1 second', INTERVAL '2 seconds');",
    );
    let records = [
        json(0, 0, Some(0), "a", 0.0, 0),
        json(1, 5000, Some(5000), "a", 0.0, 1),
        // The watermark is at 4 s.
        json(2, 5000, Some(3500), "a", 0.5, 2),
        json(3, 5000, Some(2500), "a", 0.5, 3),
        json(4, 5000, Some(2500), "b", 0.5, 4),
        json(5, 5000, Some(1500), "a", 0.5, 5),
    ];
    let out = run(&dataflow.streams[0], &records);
    // 3.5 s is in [2, 4), which has closed, and in [3, 5); `b` is in no window.
    assert_eq!(joined(&out, 0), ["a 2 0.5 0.0", "a 3 0.5 0.0", "a 5 0.5 0.0"]);
    let late = out.emissions.iter().filter(|emission| emission.insert == 0);
    assert_eq!(late.map(|emission| emission.evidence[0].first_offset).collect::<Vec<_>>(), [2, 3, 5]);
    assert_eq!(joined(&out, 1).iter().filter(|row| row.starts_with("a 2 ")).count(), 1);
}
