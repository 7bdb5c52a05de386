//! What planning accepts, and what it makes of it: order of files, sharing, what stands above a window, hashes,
//! annotations. Each query is also run over a few records.

mod common;

use amoskys_pipeline::sql::{Dataflow, Query};
use common::{EVENTS, json, lines, plan_files, planned, reads, run_one_by_one, run_shuffles, sources};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const SINK: &str = "CREATE EXTERNAL TABLE sink (k VARCHAR, x DOUBLE, y DOUBLE) STORED AS JSON LOCATION 'sink-topic';";
const VIEWS: &str = "
CREATE VIEW per_s AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c, max(v) AS most
FROM ev GROUP BY k, win;
CREATE VIEW sums AS SELECT k, tumble(t, INTERVAL '1 second') AS win, sum(n) AS total FROM ev WHERE v > 1.5
GROUP BY k, win;";

fn plan_query(sql: &str) -> Dataflow {
    planned(&[("a.sql", EVENTS), ("b.sql", SINK), ("c.sql", VIEWS), ("q.sql", sql)])
}

/// `k x y` of every row that the query gives for a window of `a` (v 1, 2, 3; n 10, 20, 20) and `b` (v 1; n 5), and
/// what then follows in later windows.
fn rows(sql: &str) -> Vec<String> {
    let dataflow = plan_query(sql);
    let flow = &dataflow.streams[0];
    let records = [
        json(0, 100, Some(100), "a", 1.0, 10),
        json(1, 200, Some(200), "b", 1.0, 5),
        json(2, 300, Some(300), "a", 2.0, 20),
        json(3, 400, Some(400), "a", 3.0, 20),
        json(4, 5000, Some(5000), "z", 0.0, 0),
    ];
    let (mut task, mut out) = run_one_by_one(flow, &records);
    run_shuffles(&dataflow, flow, &mut task, &mut out);
    assert!(out.dead.is_empty(), "{:?}", out.dead);
    let mut rows = Vec::new();
    for emission in out.emissions {
        let printed = |column: usize, row| {
            arrow::util::display::array_value_to_string(emission.batch.column(column), row).expect("prints")
        };
        rows.extend(
            (0..emission.batch.num_rows())
                .map(|row| format!("{} {} {}", printed(0, row), printed(1, row), printed(2, row))),
        );
    }
    rows
}

#[test]
fn files_and_views_in_any_order() {
    let last = "CREATE VIEW busy AS SELECT * FROM per_s WHERE c > 1;";
    let insert = "INSERT INTO sink SELECT k, c AS x FROM busy;";
    let flow = planned(&[("0.sql", insert), ("1.sql", last), ("2.sql", VIEWS), ("3.sql", SINK), ("4.sql", EVENTS)]);
    assert_eq!((flow.streams.len(), flow.streams[0].views.len(), flow.streams[0].inserts.len()), (1, 1, 1));
    assert_eq!(flow.streams[0].inserts[0].name, "0");
    // Only what is used is decoded: `n` is in a view that nobody reads.
    assert_eq!(flow.streams[0].columns, ["t", "k", "v"]);
}

#[test]
fn inserts_over_one_view_share_it() {
    let flow = plan_query(
        "INSERT INTO sink SELECT k, c AS x FROM per_s;
         INSERT INTO sink SELECT k, most AS x FROM per_s WHERE c > 2;
         INSERT INTO sink SELECT k, total AS x FROM sums;
         INSERT INTO sink SELECT k, v AS x FROM ev WHERE v > 2;",
    );
    let flow = &flow.streams[0];
    assert_eq!((flow.views.len(), flow.inserts.len()), (2, 4));
    assert_eq!([reads(flow, 0), reads(flow, 1), reads(flow, 2)], [vec![0], vec![0], vec![1]]);
    assert!(matches!(flow.inserts[3].query, Query::Rows(_)));
}

#[test]
fn a_windowed_view_has_the_name_that_it_was_given() {
    let names = |sql: &str| -> Vec<Option<String>> {
        plan_query(sql).streams[0].views.iter().map(|view| view.name.clone()).collect()
    };
    let named = |name: &str| Some(name.to_owned());
    // Types that are coerced and expressions that are simplified are the same in the view and in what reads it.
    let coerced =
        "CREATE VIEW odd AS SELECT k, tumble(t, INTERVAL '2' second) AS win, sum(n + 1.5) FILTER (WHERE v > 1 + 1) AS x
                   FROM ev WHERE n > 2 * 3 GROUP BY k, win;
                   CREATE VIEW over AS SELECT k, tumble(win.start, INTERVAL '4' second) AS win, max(x) AS x FROM odd
                   GROUP BY k, tumble(win.start, INTERVAL '4' second);";
    assert_eq!(names(&format!("{coerced} INSERT INTO sink SELECT k, x FROM odd;")), [named("odd")]);
    assert_eq!(names(&format!("{coerced} INSERT INTO sink SELECT k, x FROM over;")), [named("odd"), named("over")]);
    let busy = "CREATE VIEW busy AS SELECT * FROM per_s WHERE c > 1;";
    assert_eq!(names(&format!("{busy} INSERT INTO sink SELECT k, c AS x FROM busy;")), [named("per_s")]);
    let own = "INSERT INTO sink SELECT k, count(*) AS x FROM ev GROUP BY k, tumble(t, INTERVAL '9 seconds');";
    assert_eq!(names(own), [None]);
}

#[test]
fn above_a_window_sql_is_ordinary() {
    let cases: &[(&str, &[&str])] = &[
        ("SELECT k, c AS x, most AS y FROM per_s WHERE k <> 'z'", &["a 3.0 3.0", "b 1.0 1.0"]),
        (
            "SELECT k, count(*) AS x, 0 AS y FROM ev GROUP BY k, tumble(t, INTERVAL '1 second') HAVING count(*) > 1",
            &["a 3.0 0.0"],
        ),
        (
            "SELECT k, CASE WHEN c > 1 THEN 1 ELSE 0 END AS x, NULL AS y FROM per_s ORDER BY k DESC",
            &["b 0.0 ", "a 1.0 "],
        ),
        ("SELECT k, c AS x, NULL AS y FROM per_s ORDER BY c DESC LIMIT 1", &["a 3.0 "]),
        ("SELECT a.k, a.c AS x, b.total AS y FROM per_s a JOIN sums b ON a.k = b.k AND a.win = b.win", &["a 3.0 40.0"]),
        (
            "SELECT a.k, a.c AS x, b.total AS y FROM per_s a LEFT JOIN sums b ON a.k = b.k ORDER BY a.k",
            &["a 3.0 40.0", "b 1.0 "],
        ),
        ("SELECT 'all' AS k, sum(c) AS x, rank() OVER (ORDER BY sum(c)) AS y FROM per_s", &["all 4.0 1.0"]),
        (
            "SELECT k, count(*) FILTER (WHERE v > 1.5) AS x, count(DISTINCT n) AS y FROM ev
             GROUP BY k, tumble(t, INTERVAL '1 second')",
            &["a 2.0 2.0", "b 0.0 1.0"],
        ),
        (
            "SELECT k, approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY v) AS x, median(v) AS y FROM ev
             GROUP BY k, tumble(t, INTERVAL '1 second')",
            &["a 2.0 2.0", "b 1.0 1.0"],
        ),
        (
            "SELECT k, first_value(v ORDER BY n DESC, v) AS x, last_value(v ORDER BY v) AS y FROM ev
             GROUP BY k, tumble(t, INTERVAL '1 second')",
            &["a 2.0 3.0", "b 1.0 1.0"],
        ),
        (
            "SELECT k, avg(w) AS x, max(w) AS y FROM (SELECT k, t AS tt, v * 2 AS w FROM ev WHERE v < 3) AS doubled
             GROUP BY k, tumble(tt, INTERVAL '1 second')",
            &["a 3.0 4.0", "b 2.0 2.0"],
        ),
        ("SELECT k, predict('mean', most, c) AS x, 0 AS y FROM per_s", &["a 3.0 0.0", "b 1.0 0.0"]),
        (
            "SELECT k, score AS x, 0 AS y FROM (SELECT k, predict('mean', *) AS score FROM
          (SELECT k, c AS b, most AS a FROM per_s)) WHERE score > 1",
            &["a 3.0 0.0"],
        ),
        ("SELECT k, v AS x, n AS y FROM ev WHERE v > 1.5", &["a 2.0 20.0", "a 3.0 20.0"]),
        (
            "SELECT k, c AS x, 1 AS y FROM per_s UNION ALL SELECT k, total AS x, 2 AS y FROM sums",
            &["a 3.0 1.0", "b 1.0 1.0", "a 40.0 2.0"],
        ),
        (
            "SELECT k, sum(x) AS x, 0 AS y FROM (SELECT k, c AS x FROM per_s UNION ALL SELECT k, total FROM sums) GROUP BY k ORDER BY k",
            &["a 43.0 0.0", "b 1.0 0.0"],
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(rows(&format!("INSERT INTO sink {sql};")), *expected, "{sql}");
    }
}

#[test]
fn a_hop_puts_a_row_into_each_of_its_windows() {
    let flow = plan_query(
        "INSERT INTO sink SELECT k, count(*) AS x, 0 AS y FROM ev
        GROUP BY k, hop(t, INTERVAL '500 milliseconds', INTERVAL '1500 milliseconds');",
    );
    let records = [json(0, 700, Some(700), "a", 1.0, 1), json(1, 9000, Some(9000), "b", 1.0, 1)];
    let (_, out) = run_one_by_one(&flow.streams[0], &records);
    assert_eq!(common::windows(&out.emissions), vec![(-500, 1000, 1), (0, 1500, 1), (500, 2000, 1)]);
}

#[test]
fn a_list_after_insert_names_columns_by_place_and_missing_ones_are_null() {
    assert_eq!(rows("INSERT INTO sink (y, k) SELECT c, k FROM per_s;"), ["a  3.0", "b  1.0"]);
    assert_eq!(rows("INSERT INTO sink SELECT most AS y, k FROM per_s;"), ["a  3.0", "b  1.0"]);
}

fn hashes(files: &[(&str, &str)]) -> Vec<String> {
    planned(files).streams[0].inserts.iter().map(|insert| insert.sql_hash.clone()).collect()
}

#[test]
fn the_hash_changes_when_a_statement_that_is_read_does_and_only_then() {
    let query = "INSERT INTO sink SELECT k, c AS x FROM per_s;";
    let hash = |events: &str, views: &str, query: &str| {
        let files = [("a.sql", events), ("b.sql", SINK), ("c.sql", views), ("q.sql", query)];
        hashes(&files)[0].clone()
    };
    let before = hash(EVENTS, VIEWS, query);
    assert_eq!(before.len(), 64);
    // What it does not read, comments above statements, spaces between them.
    assert_eq!(hash(EVENTS, &VIEWS.replace("v > 1.5", "v > 2.5"), query), before);
    assert_eq!(hash(EVENTS, &format!("-- a comment\n\n{VIEWS}"), &format!("-- title: new\n{query}")), before);
    let more = format!("{query}\nINSERT INTO sink SELECT k FROM sums;");
    assert_eq!(hash(EVENTS, VIEWS, &more), before);
    // Itself, its view, its stream.
    assert_ne!(hash(EVENTS, VIEWS, &query.replace("c AS x", "c + 1 AS x")), before);
    assert_ne!(hash(EVENTS, &VIEWS.replace("count(*)", "count(v)"), query), before);
    assert_ne!(hash(&EVENTS.replace("'1s'", "'3s'"), VIEWS, query), before);
    let sink = SINK.replace("sink-topic", "other-topic");
    let moved = hashes(&[("a.sql", EVENTS), ("b.sql", &sink), ("c.sql", VIEWS), ("q.sql", query)]);
    assert_ne!(moved[0], before);
}

#[test]
fn comments_above_an_insert_are_its_annotations() {
    let flow = plan_query(
        "-- The licence\n\n-- title: too many\n-- technique: T1\n-- next_steps: look,\n--   then act\nINSERT INTO sink SELECT k FROM per_s;
         INSERT INTO sink SELECT k, c AS x FROM per_s;",
    );
    let annotations = &flow.streams[0].inserts[0].annotations;
    assert_eq!(annotations.title.as_deref(), Some("too many"));
    assert_eq!(annotations.technique.as_deref(), Some("T1"));
    assert_eq!(annotations.next_steps.as_deref(), Some("look, then act"));
    assert_eq!(annotations.false_positives, None);
    assert_eq!(flow.streams[0].inserts[1].annotations, Default::default());
}

#[test]
fn views_can_be_collected_without_their_sinks() {
    let sources = sources(&[("a.sql", EVENTS), ("c.sql", VIEWS), ("q.sql", "INSERT INTO sums SELECT k FROM ev;")]);
    let mut options = common::options();
    options.wanted = amoskys_pipeline::sql::Wanted::Rows(vec!["per_s".into()]);
    let flow = amoskys_pipeline::sql::plan(&sources, &options).expect("plans");
    assert!(flow.streams[0].inserts[0].sink.is_none());
    let records = [json(0, 0, Some(0), "a", 1.0, 1), json(1, 3000, Some(3000), "a", 1.0, 1)];
    let (_, out) = run_one_by_one(&flow.streams[0], &records);
    assert_eq!(lines(&flow.streams[0], &out.emissions)[0].len(), 1);
    options.wanted = amoskys_pipeline::sql::Wanted::Rows(vec!["per_z".into()]);
    let problems = amoskys_pipeline::sql::plan(&sources, &options).expect_err("no such view").0[0].to_string();
    assert!(
        problems.contains("view `per_z` is not known; did you mean `per_s`? there are ev, per_s, sums"),
        "{problems}"
    );
    assert!(plan_files(&[("a.sql", EVENTS)]).expect("nothing to do is no fault").streams.is_empty());
}

/// Runs of the model for two closed windows of a query.
fn model_runs(sql: &str) -> usize {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut options = common::options();
    options.models = Arc::new(move |name| {
        let (model, runs) = (common::model(name)?, counted.clone());
        let mut counting = Arc::into_inner(common::model(name)?).ok_or("is held by nobody else")?;
        counting.score = Box::new(move |features| {
            runs.fetch_add(1, Ordering::Relaxed);
            (model.score)(features)
        });
        Ok(Arc::new(counting))
    });
    let sources = sources(&[("a.sql", EVENTS), ("b.sql", SINK), ("c.sql", VIEWS), ("q.sql", sql)]);
    let dataflow = amoskys_pipeline::sql::plan(&sources, &options).unwrap_or_else(|problems| panic!("{problems}"));
    let records = [
        json(0, 0, Some(0), "a", 1.0, 1),
        json(1, 1000, Some(1000), "a", 9.0, 1),
        json(2, 2000, Some(5000), "a", 1.0, 1),
    ];
    let (mut task, mut out) = run_one_by_one(&dataflow.streams[0], &records);
    // Ranked over all groups, windows close where these are sent.
    run_shuffles(&dataflow, &dataflow.streams[0], &mut task, &mut out);
    runs.load(Ordering::Relaxed)
}

#[test]
fn a_model_runs_once_per_closed_window_also_when_its_score_is_filtered_on() {
    let scored = "(SELECT *, predict('mean', most, c) AS score FROM per_s)";
    for sql in [
        format!("INSERT INTO sink SELECT k, score AS x, score * 2 AS y FROM {scored};"),
        format!("INSERT INTO sink SELECT k, score AS x FROM {scored} WHERE score > 0.5;"),
        format!(
            "INSERT INTO sink SELECT k, score AS x FROM {scored} WHERE score > 0.5 AND c > 0 ORDER BY score LIMIT 9;"
        ),
        format!(
            "INSERT INTO sink SELECT s.k, score AS x FROM {scored} s JOIN per_s p ON s.k = p.k WHERE score > p.c / 9;"
        ),
    ] {
        assert_eq!(model_runs(&sql), 2, "{sql}");
    }
}
