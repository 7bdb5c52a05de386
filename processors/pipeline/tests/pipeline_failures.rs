//! Expressions that cannot be computed for some rows: null there, told with their place, and nothing else is touched.
//!
//! That it does not depend on how rows come in batches is in `pipeline_repeats.rs`.

mod common;

use amoskys_functions::model::{Model, explanation_type};
use amoskys_pipeline::{
    run::{History, HistoryOptions, run_history},
    sql::{Failure, StreamFlow, plan},
};
use arrow::{record_batch::RecordBatch, util::display::array_value_to_string};
use common::{EVENTS, Kept, Out, flush, json, options, planned, push, run_one_by_one, sources, task};
use std::{ops::ControlFlow, sync::Arc};

const SINK: &str =
    "CREATE EXTERNAL TABLE sink (k VARCHAR, c BIGINT, x DOUBLE, w VARCHAR) STORED AS JSON LOCATION 'sink-topic';";

/// Rows of one second: `n` is 0 to 5, `k` a letter for even ones and a number else.
fn records() -> Vec<Kept> {
    let row = |n: i64| json(n, n, Some(n), if n % 2 == 0 { "a" } else { "7" }, n as f64, n);
    (0..6).map(row).collect()
}

/// The rows of the INSERTs of `sql`, as `column=value …` without nulls, sorted; and what failed. Over files, so that groups
/// may lie in any partition.
fn run(sql: &str) -> (Vec<String>, Vec<Failure>) {
    let dataflow = planned(&[("a.sql", EVENTS), ("s.sql", SINK), ("q.sql", sql)]);
    let file = tempfile::Builder::new().suffix(".jsonl").tempfile().expect("a file");
    let lines: Vec<Vec<u8>> = records().into_iter().map(|record| record.payload).collect();
    std::fs::write(file.path(), lines.join(&b"\n"[..])).expect("written");
    let history = History::from([("ev".to_owned(), vec![file.path().to_owned()])]);
    let mut out = Out::default();
    let counts = run_history(&[dataflow], &history, &HistoryOptions::default(), &mut |_, emission| {
        out.emissions.push(emission);
        ControlFlow::Continue(())
    });
    let mut rows = texts(&out);
    rows.sort();
    (rows, counts.expect("runs").failures)
}

fn texts(out: &Out) -> Vec<String> {
    let batches = out.emissions.iter().map(|emission| &emission.batch);
    let rows = batches.flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    let text = |(batch, row): (&RecordBatch, usize)| {
        let schema = batch.schema();
        let there = schema.fields().iter().zip(batch.columns()).filter(|(_, column)| column.is_valid(row));
        let named = there.map(|(field, column)| {
            format!("{}={}", field.name(), array_value_to_string(column, row).expect("a value"))
        });
        named.collect::<Vec<_>>().join(" ")
    };
    rows.map(text).collect()
}

/// Expression, rows, example.
fn short(failures: &[Failure]) -> Vec<(&str, u64, &str)> {
    failures.iter().map(|failure| (failure.expression.as_str(), failure.rows, failure.example.as_str())).collect()
}

#[test]
fn a_condition_that_fails_keeps_no_row_and_is_told_with_its_place() {
    let sql = "-- text that mostly is no number\nINSERT INTO sink SELECT k, n AS c FROM ev WHERE k > 5;
INSERT INTO sink SELECT k, n AS c FROM ev WHERE n = 2;";
    let (rows, failures) = run(sql);
    assert_eq!(rows, ["k=7 c=1", "k=7 c=3", "k=7 c=5", "k=a c=2"]);
    assert_eq!(
        failures,
        [Failure {
            query: "INSERT INTO sink at q.sql:2:1".into(),
            expression: "CAST(k AS BIGINT) > 5".into(),
            rows: 3,
            example: "k = 'a': Cannot cast string 'a' to value of Int64 type".into(),
        }]
    );
}

#[test]
fn a_value_that_fails_is_null_and_the_row_stays() {
    let (rows, failures) = run("INSERT INTO sink SELECT k, 6 / (n - 2) AS c, 1 % n AS x FROM ev;");
    assert_eq!(rows, ["k=7 c=-6 x=0.0", "k=7 c=2 x=1.0", "k=7 c=6 x=1.0", "k=a c=-3", "k=a c=3 x=1.0", "k=a x=1.0"]);
    let wanted =
        [("6 / (n - 2)", 1, "n = 2: division by zero"), ("CAST(1 % n AS DOUBLE)", 1, "n = 0: division by zero")];
    let mut failed = short(&failures);
    failed.sort_unstable();
    assert_eq!(failed, wanted);
}

#[test]
fn what_the_query_guards_against_by_itself_does_not_fail() {
    let guarded =
        "INSERT INTO sink SELECT k, CASE WHEN n <> 2 THEN 6 / (n - 2) END AS c FROM ev WHERE n > 0 AND 6 / n < 9;
INSERT INTO sink SELECT k, 6 / nullif(n, 0) AS c FROM ev WHERE n = 0;
INSERT INTO sink SELECT k, TRY_CAST(k AS BIGINT) AS c FROM ev WHERE n = 4;";
    let (rows, failures) = run(guarded);
    assert_eq!(rows, ["k=7 c=-6", "k=7 c=2", "k=7 c=6", "k=a", "k=a", "k=a", "k=a c=3"]);
    assert_eq!(failures, []);
}

#[test]
fn groups_arguments_and_filters_of_windows() {
    let sql = "CREATE VIEW v AS SELECT k, 4 / n AS q, tumble(t, INTERVAL '1 minute') AS win, count(*) AS c,
  sum(12 / (n - 1)) AS s, count(*) FILTER (WHERE 12 / (n - 4) > -5) AS f FROM ev GROUP BY k, q, win;
INSERT INTO sink SELECT k, c, s AS x, concat(q, ' ', f) AS w FROM v;";
    let (rows, failures) = run(sql);
    // q: 0 → null; 1 → 4; 2 → 2; 3, 4 → 1; 5 → 0.
    let wanted = [
        "k=7 c=1 w=4 1",
        "k=7 c=1 x=3.0 w=0 1",
        "k=7 c=1 x=6.0 w=1 0",
        "k=a c=1 x=-12.0 w= 1",
        "k=a c=1 x=12.0 w=2 0",
        "k=a c=1 x=4.0 w=1 0",
    ];
    assert_eq!(rows, wanted);
    let mut failed = short(&failures);
    failed.sort_unstable();
    assert_eq!(
        failed,
        [
            ("12 / (n - 1)", 1, "n = 1: division by zero"),
            ("12 / (n - 4) > -5", 1, "n = 4: division by zero"),
            ("4 / n", 1, "n = 0: division by zero"),
        ]
    );
    assert!(failures.iter().all(|failure| failure.query == "view `v` at q.sql:1:1"), "{failures:?}");
}

#[test]
fn above_windows_one_group_silences_no_other() {
    let view = "CREATE VIEW v AS SELECT k, n, tumble(t, INTERVAL '1 minute') AS win, count(*) AS c, sum(n) AS s FROM ev
GROUP BY k, n, win;\n";
    // Row by row, joined, ordered, aggregated again, by a condition of a join, through UNION ALL.
    for (query, wanted, expression) in [
        (
            "SELECT k, 60 / (s - 3) AS c FROM v WHERE 60 / (s - 4) > -70",
            vec!["k=7", "k=7 c=-30", "k=7 c=30", "k=a c=-20", "k=a c=-60"],
            2,
        ),
        (
            "SELECT a.k, 60 / (b.s - 3) AS c FROM v a JOIN v b ON a.k = b.k AND a.n = b.n AND a.win = b.win WHERE a.n > 1",
            vec!["k=7", "k=7 c=30", "k=a c=-60", "k=a c=60"],
            1,
        ),
        ("SELECT a.k, a.n AS c FROM v a JOIN v b ON a.k = b.k AND 60 / (a.n - 3) = b.n AND a.win = b.win", vec![], 1),
        ("SELECT k, n AS c FROM v ORDER BY 60 / (s - 3) NULLS LAST LIMIT 3", vec!["k=7 c=1", "k=a c=0", "k=a c=2"], 1),
        ("SELECT k, sum(60 / (s - 3)) AS c FROM v GROUP BY k, win", vec!["k=7 c=0", "k=a c=-20"], 1),
        (
            "SELECT k, 60 / s AS c FROM v WHERE n < 2 UNION ALL SELECT k, 60 / (s - 5) FROM v WHERE n > 3",
            vec!["k=7", "k=7 c=60", "k=a", "k=a c=-60"],
            2,
        ),
    ] {
        let (rows, failures) = run(&format!("{view}INSERT INTO sink {query};"));
        assert_eq!(
            (rows, failures.len()),
            (wanted.iter().map(ToString::to_string).collect(), expression),
            "{query}: {failures:?}"
        );
        assert!(failures.iter().all(|failure| failure.query == "INSERT INTO sink at q.sql:3:1"), "{failures:?}");
    }
}

#[test]
fn windows_over_windows() {
    let sql =
        "CREATE VIEW v AS SELECT k, n, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY k, n, win;
CREATE VIEW w AS SELECT k, tumble(win.end, INTERVAL '1 minute') AS win2, sum(60 / (n - 3)) AS s FROM v
  WHERE 60 / n > 0 GROUP BY k, win2;
INSERT INTO sink SELECT k, s AS c FROM w;";
    let (rows, failures) = run(sql);
    assert_eq!(rows, ["k=7 c=0", "k=a c=0"]);
    assert_eq!(
        short(&failures),
        [("60 / n > 0", 1, "n = 0: division by zero"), ("60 / (n - 3)", 1, "n = 3: division by zero")]
    );
}

#[test]
fn texts_and_times_that_are_none() {
    let sql = "INSERT INTO sink SELECT k, CAST(to_timestamp(k) AS BIGINT) AS c FROM ev WHERE n < 3;
INSERT INTO sink SELECT k, n AS c FROM ev WHERE n > 4 AND k ~ concat('(', k);
INSERT INTO sink SELECT split_part(k, 'x', n) AS k, n AS c FROM ev WHERE n < 2;";
    let (rows, failures) = run(sql);
    assert_eq!(rows, ["c=0", "k=7", "k=7 c=1", "k=a", "k=a"]);
    assert_eq!(failures.len(), 3, "{failures:?}");
}

#[test]
fn long_values_are_cut_where_they_are_told() {
    let dataflow = planned(&[
        ("a.sql", EVENTS),
        ("s.sql", SINK),
        ("q.sql", "INSERT INTO sink SELECT k, CAST(k AS BIGINT) AS c FROM ev;"),
    ]);
    let flow = &dataflow.streams[0];
    let (task, _) = run_one_by_one(flow, &[json(0, 0, Some(0), &"ä".repeat(1000), 0.0, 0)]);
    let failures = task.core.take_failures();
    assert!(failures[0].example.starts_with(&format!("k = '{}…': ", "ä".repeat(80))), "{failures:?}");
    assert!(failures[0].example.chars().count() < 400, "{failures:?}");
    assert_eq!(task.core.take_failures(), []);
}

/// What failed before a restart is not told again.
#[test]
fn a_replay_tells_nothing() {
    let sql = "INSERT INTO sink SELECT k, c FROM (SELECT k, tumble(t, INTERVAL '1 hour') AS win, sum(6 / n) AS c FROM ev GROUP BY k, win);";
    let dataflow = planned(&[("a.sql", EVENTS), ("s.sql", SINK), ("q.sql", sql)]);
    let flow: &StreamFlow = &dataflow.streams[0];
    let (first, _) = run_one_by_one(flow, &records());
    assert_eq!(first.core.counters.failed_expressions, 1);
    let mut again = task(flow, first.core.checkpoint().expect("one"));
    let mut out = Out::default();
    records().iter().for_each(|record| push(&mut again, flow, record, &mut out));
    flush(&mut again, flow, &mut out);
    assert_eq!((again.core.counters.failed_expressions, again.core.take_failures()), (0, vec![]));
    push(&mut again, flow, &json(6, 6, Some(6), "a", 0.0, 0), &mut out);
    flush(&mut again, flow, &mut out);
    assert_eq!(again.core.counters.failed_expressions, 1);
}

/// A model that fails is no matter of a row's values: nothing may go on as if it had said nothing.
#[test]
fn a_model_that_fails_ends_the_task() {
    let failing = |_: &str| {
        Ok(Arc::new(Model {
            name: "mean".into(),
            version: "7".into(),
            sha256: "ab12".into(),
            features: vec!["a".into()],
            score: Box::new(|_: &[arrow::array::ArrayRef]| Err("out of memory".to_owned())),
            explain: Box::new(|_: &[arrow::array::ArrayRef]| Err("out of memory".to_owned())),
            explain_type: explanation_type(),
        }))
    };
    let sql = "INSERT INTO sink SELECT k, 6 / n AS c, predict('mean', v AS a) AS x FROM ev;";
    let sql = sql.replace("predict('mean', v AS a)", "predict('mean', v)");
    let mut options = options();
    options.models = Arc::new(failing);
    let dataflow = plan(&sources(&[("a.sql", EVENTS), ("s.sql", SINK), ("q.sql", &sql)]), &options).expect("plans");
    let flow = &dataflow.streams[0];
    let mut task = task(flow, amoskys_pipeline::run::Checkpoint::start(0));
    records().iter().for_each(|record| task.push(&record.record()));
    let error = task.flush(flow, &mut Vec::new(), &mut Vec::new()).expect_err("fails").to_string();
    assert!(error.contains("model `mean` 7 failed: out of memory"), "{error}");
}
