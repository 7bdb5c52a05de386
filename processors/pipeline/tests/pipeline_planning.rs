//! What planning refuses, where it points and what it says. Acceptances are in `pipeline_accepts.rs`.

mod common;

use amoskys_functions::model::Model;
use amoskys_pipeline::sql::{Options, parse, plan};
use common::{EVENTS, plan_files};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

const SINKS: &str = "
CREATE EXTERNAL TABLE other (t TIMESTAMP, k VARCHAR, v DOUBLE) STORED AS JSON LOCATION 'other-topic'
OPTIONS (event_time 't', lateness '1s', partition_key 'k');
CREATE EXTERNAL TABLE plain (t TIMESTAMP, k VARCHAR, v DOUBLE) STORED AS JSON LOCATION 'plain-topic';
CREATE EXTERNAL TABLE keyless (t TIMESTAMP, k VARCHAR, v DOUBLE) STORED AS JSON LOCATION 'keyless-topic'
OPTIONS (event_time 't', lateness '1s');
CREATE EXTERNAL TABLE sink (k VARCHAR NOT NULL, c BIGINT) STORED AS JSON LOCATION 'sink-topic';
CREATE EXTERNAL TABLE scores (k VARCHAR, score DOUBLE, version VARCHAR) STORED AS JSON LOCATION 'scores-topic';
CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '2s', partition_key 'host_id');
CREATE VIEW per_s AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c, avg(v) AS a, max(v) AS b
FROM ev GROUP BY k, win;
CREATE VIEW per_2s AS SELECT k, tumble(t, INTERVAL '2 seconds') AS win, count(*) AS c FROM ev GROUP BY k, win;
CREATE VIEW others AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM other GROUP BY k, win;
";

/// Each SQL stands alone at line 2, column 3 of `q.sql` and must be refused there, or at the name in it that is not
/// known, with all the parts in one message.
fn refuses(cases: &[(&str, &[&str])]) {
    let mut wrong = Vec::new();
    for (sql, parts) in cases {
        let query = format!("\n  {sql};");
        match plan_files(&[("a.sql", EVENTS), ("b.sql", SINKS), ("q.sql", &query)]) {
            Ok(_) => wrong.push(format!("planned: {sql}")),
            Err(problems) => {
                let found = problems.0.iter().any(|problem| {
                    let text = problem.to_string();
                    let place = if text.contains("` is not known") { "q.sql:2:" } else { "q.sql:2:3: " };
                    text.starts_with(place) && parts.iter().all(|part| text.contains(part))
                });
                if !found {
                    wrong.push(format!("{sql}\n  wants {parts:?}\n  found {problems}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn names_and_statements() {
    refuses(&[
        ("INSERT INTO sink SELECT k, c FROM othres", &["table `othres` is not known", "did you mean `others`?"]),
        ("INSERT INTO sinc SELECT k, c FROM per_s", &["table `sinc` is not known", "did you mean `sink`?"]),
        ("CREATE VIEW w AS SELECT * FROM nothing_like_it_at_all", &["table `nothing_like_it_at_all` is not known"]),
        ("CREATE VIEW per_s AS SELECT k FROM ev", &["`per_s` is defined already at b.sql:11"]),
        ("CREATE VIEW PER_S AS SELECT k FROM ev", &["`per_s` is defined already at b.sql:11"]),
        ("CREATE VIEW x AS SELECT k FROM y; CREATE VIEW y AS SELECT k FROM x", &["is part of a cycle"]),
        (
            "CREATE VIEW x AS SELECT y.k FROM y; CREATE VIEW y AS SELECT k FROM z; CREATE VIEW z AS SELECT k FROM x",
            &["is part of a cycle"],
        ),
        ("SELECT 1", &["only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO"]),
        ("DROP VIEW per_s", &["only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO"]),
        ("CREATE TABLE x (a BIGINT)", &["only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO"]),
        ("CREATE VIEW w AS SELECT kk FROM ev", &[": column `kk` is not known; did you mean `k`"]),
        ("CREATE VIEW w AS SELECT no_such_function(k) FROM ev", &["no_such_function"]),
    ]);
}

#[test]
fn tables() {
    let time = "CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR, u TIMESTAMP(3)) STORED AS JSON LOCATION 'x'";
    let table = |options: &str| format!("{time} OPTIONS ({options})");
    let good = "event_time 't', lateness '1s'";
    let cases: Vec<(String, &[&str])> = vec![
        (table("latenes '1s'"), &["option `latenes` is not known; did you mean `lateness`?", "there are event_time"]),
        (table("event_time 't', lateness 'soon'"), &["lateness 'soon' is no duration", "'500ms'"]),
        (table(&format!("{good}, idle '0s'")), &["idle '0s' is no duration"]),
        (table(&format!("{good}, max_skew '-1s'")), &["max_skew '-1s' is no duration"]),
        (table(&format!("{good}, replay_max '0s'")), &["replay_max '0s' is no duration"]),
        (table("event_time 't'"), &["add lateness '2s'"]),
        (table("event_time 'tt', lateness '1s'"), &["event_time 'tt' is no column of `x`; did you mean `t`?"]),
        (table("event_time 'k', lateness '1s'"), &["event_time 'k' must be a TIMESTAMP, not Utf8"]),
        (table("event_time 'u', lateness '1s'"), &["event_time 'u' must be a TIMESTAMP"]),
        (table(&format!("{good}, partition_key 'kk'")), &["partition_key 'kk' is no column of `x`; did you mean `k`?"]),
        ("CREATE EXTERNAL TABLE x STORED AS JSON LOCATION 'x'".into(), &["STORED AS JSON needs a column list"]),
        (
            "CREATE EXTERNAL TABLE x (a BIGINT) STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'".into(),
            &["leave the column list out"],
        ),
        (
            "CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'mine'".into(),
            &["the message in topic 'mine' is not known", "message 'package.Name'"],
        ),
        (
            "CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'mine' OPTIONS (message 'amoskys.v1.Alrt')".into(),
            &["message 'amoskys.v1.Alrt' is not known; did you mean `amoskys.v1.Alert`?"],
        ),
        ("CREATE EXTERNAL TABLE x (a BIGINT) STORED AS ORC LOCATION 'x'".into(), &["STORED AS ORC is not a stream"]),
    ];
    let cases: Vec<(&str, &[&str])> = cases.iter().map(|(sql, parts)| (sql.as_str(), *parts)).collect();
    refuses(&cases);
}

#[test]
fn inserts() {
    refuses(&[
        ("INSERT INTO sink SELECT k, c AS cc FROM per_s", &["`sink` has no column `cc`; did you mean `c`?"]),
        ("INSERT INTO sink SELECT c FROM per_s", &["`k` is NOT NULL in `sink` and the SELECT has no such column"]),
        ("INSERT INTO sink (k) SELECT k, c FROM per_s", &["INSERT names 1 columns, its SELECT has 2"]),
        ("INSERT INTO sink (k, d) SELECT k, c FROM per_s", &["`sink` has no column `d`"]),
        (
            "INSERT INTO processes SELECT k AS comm FROM per_s",
            &["`processes` is STORED AS ENVELOPE, which only agents write; use PROTOBUF or JSON"],
        ),
        ("INSERT INTO per_s SELECT k, c FROM per_s", &["`per_s` is no topic that can be inserted into"]),
        ("INSERT INTO sink SELECT 'a' AS k, 1 AS c", &["the query reads no stream"]),
    ]);
}

#[test]
fn queries_without_a_window() {
    refuses(&[
        ("INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k", &["without a window never ends", "add hop("]),
        ("INSERT INTO sink SELECT k, n AS c FROM ev ORDER BY n", &["ORDER BY and LIMIT on a stream need a window"]),
        ("INSERT INTO sink SELECT k, n AS c FROM ev LIMIT 3", &["ORDER BY and LIMIT on a stream need a window"]),
        ("INSERT INTO sink SELECT DISTINCT k FROM ev", &["a window"]),
        ("INSERT INTO sink SELECT k, n AS c FROM ev UNION SELECT k, n FROM ev", &["a window"]),
        (
            "INSERT INTO sink SELECT k, row_number() OVER (PARTITION BY k ORDER BY t) AS c FROM ev",
            &["OVER (…) on a stream is not supported"],
        ),
        (
            "INSERT INTO sink SELECT ev.k, n AS c FROM ev JOIN other ON ev.k = other.k",
            &["rows of two streams (`ev` and `other`) meet without a window"],
        ),
        (
            "INSERT INTO sink SELECT k, hop(t, INTERVAL '1 second', INTERVAL '2 seconds') IS NULL AS c FROM ev",
            &["hop and tumble belong into GROUP BY"],
        ),
        (
            "INSERT INTO sink SELECT k, n AS c FROM ev WHERE get_field(tumble(t, INTERVAL '1 second'), 'start') = t",
            &["hop and tumble belong into GROUP BY"],
        ),
        (
            "INSERT INTO sink SELECT k, n AS c FROM (SELECT k, n, tumble(t, INTERVAL '1 second') AS w FROM ev)
             WHERE w.start > TIMESTAMP '2020-01-01'",
            &["hop and tumble belong into GROUP BY"],
        ),
        (
            "INSERT INTO sink SELECT k, c FROM (SELECT *, tumble(win.start, INTERVAL '1 minute') AS w FROM per_s)
             WHERE w.start = win.start",
            &["hop and tumble belong into GROUP BY"],
        ),
    ]);
}

#[test]
fn windows() {
    let insert = "INSERT INTO sink SELECT k, count(*) AS c FROM";
    let hop =
        |slide: &str, size: &str| format!("{insert} ev GROUP BY k, hop(t, INTERVAL '{slide}', INTERVAL '{size}')");
    let second = "tumble(t, INTERVAL '1 second')";
    let cases: Vec<(String, &[&str])> = vec![
        (hop("0 seconds", "1 second"), &["the slide of a window must be more than zero"]),
        (hop("-1 second", "1 second"), &["the slide of a window must be more than zero"]),
        (hop("1 second", "0 seconds"), &["the size of a window must be more than zero"]),
        (hop("1 second", "10001 seconds"), &["size / slide is 10001, more than the 10000"]),
        (hop("1 month", "2 months"), &["in months, which differ in length"]),
        (format!("{insert} ev GROUP BY k, hop(t, INTERVAL '1 second')"), &["hop takes 3 arguments"]),
        (format!("{insert} ev GROUP BY k, hop(n, INTERVAL '1 second', INTERVAL '1 second')"), &["must be a timestamp"]),
        (format!("{insert} ev GROUP BY k, tumble(t, 5)"), &["must be an interval", "tumble(observed_at"]),
        (format!("{insert} ev GROUP BY k, {second}, tumble(t, INTERVAL '2 seconds')"), &["GROUP BY names two windows"]),
        (
            format!("{insert} ev GROUP BY k, tumble(_log_time, INTERVAL '1 second')"),
            &["must be `t`, the event time of `ev`"],
        ),
        (
            format!("{insert} ev GROUP BY k, tumble(t + INTERVAL '1 second', INTERVAL '1 second')"),
            &["must be `t`, the event time of `ev`"],
        ),
        (format!("{insert} plain GROUP BY k, {second}"), &["`plain` has no event time"]),
        (
            format!("{insert} (SELECT ev.k AS k, ev.t AS t FROM ev JOIN other ON ev.k = other.k) GROUP BY k, {second}"),
            &["rows of two streams (`ev` and `other`) meet without a window; window each in a view of its own"],
        ),
        (
            format!("{insert} (SELECT one.k, one.t FROM ev one JOIN ev two ON one.k = two.k) GROUP BY k, {second}"),
            &["a stream joined with a stream has no end"],
        ),
        (format!("{insert} ev WHERE _late GROUP BY k, {second}"), &["`_late` says what windows have closed"]),
        (
            format!("{insert} ev GROUP BY k, {second} HAVING count(DISTINCT tumble(t, INTERVAL '2 seconds')) > 1"),
            &["hop and tumble belong into GROUP BY"],
        ),
    ];
    let cases: Vec<(&str, &[&str])> = cases.iter().map(|(sql, parts)| (sql.as_str(), *parts)).collect();
    refuses(&cases);
}

#[test]
fn several_views() {
    refuses(&[
        (
            "INSERT INTO sink SELECT a.k, b.c FROM per_s a JOIN per_2s b ON a.k = b.k",
            &["joins views of different windows", "give them the same window"],
        ),
        (
            "INSERT INTO sink SELECT a.k, b.c FROM per_2s a JOIN others b ON a.k = b.k",
            &["joins views of different windows", "give them the same window"],
        ),
        (
            "INSERT INTO sink SELECT a.k, b.n AS c FROM per_s a JOIN ev b ON a.k = b.k",
            &["`ev` is read without a window beside a windowed view"],
        ),
        (
            "INSERT INTO sink SELECT k, sum(c) AS c FROM per_s GROUP BY k, tumble(a, INTERVAL '1 minute')",
            &["must be a timestamp"],
        ),
        (
            "INSERT INTO sink SELECT k, sum(c) AS c FROM (SELECT k, c, win.end + INTERVAL '1 second' AS at FROM per_s)
             GROUP BY k, tumble(at, INTERVAL '1 minute')",
            &["over windows it must be a bound of theirs: hop(win.end, …)"],
        ),
        ("INSERT INTO sink SELECT 'all' AS k, shed_rows() AS c FROM per_s", &["belongs beside hop or tumble"]),
        (
            "INSERT INTO sink SELECT k, sum(c) AS c FROM (SELECT k, c, tumble(win.end, INTERVAL '2 seconds') AS win FROM per_s)
             GROUP BY k, win",
            &["hop and tumble belong into GROUP BY"],
        ),
        (
            "INSERT INTO sink SELECT k, c FROM (SELECT k, tumble(win.end, INTERVAL '2 seconds') AS win, sum(c) AS c FROM per_s
             GROUP BY k, win)",
            &["hop and tumble belong into GROUP BY", "`win` there is a column of what is read"],
        ),
        (
            "INSERT INTO sink SELECT a.k, b.c FROM per_2s a JOIN (SELECT k, tumble(win.start, INTERVAL '2 seconds') AS two,
             sum(c) AS c FROM (SELECT k, hop(t, INTERVAL '1 second', INTERVAL '3 seconds') AS win, count(*) AS c FROM ev
             GROUP BY k, win) GROUP BY k, two) b ON a.k = b.k",
            &["joins windows that are whole at different times", "use win.end"],
        ),
    ]);
}

#[test]
fn models() {
    let from = "FROM (SELECT k, a, b, CAST(c AS VARCHAR) AS text FROM per_s)";
    let insert = |score: &str| format!("INSERT INTO scores SELECT k, {score} AS score {from}");
    let cases: Vec<(String, &[&str])> = vec![
        (insert("predict('median', *)"), &[": model `median` is not known; there are mean"]),
        (
            "INSERT INTO scores SELECT k, predict('mean', *) AS score FROM (SELECT k, a FROM per_s)".into(),
            &["predict('mean', *): the model wants `b`, which the query does not have"],
        ),
        (insert("predict('mean', a)"), &["has 1 features, the model wants 2: a, b"]),
        (insert("predict('mean', b, a)"), &["`b` stands where the model wants `a`; the order is a, b"]),
        (insert("predict('mean', a, text)"), &["feature `b` must be a number, `"]),
        (insert("predict(k, a, b)"), &["takes the name of a model first"]),
        (insert("predict()"), &["'predict' does not support zero arguments"]),
        (
            "INSERT INTO scores SELECT k, model_version('median') AS version FROM per_s".into(),
            &["model `median` is not known"],
        ),
        ("CREATE VIEW w AS SELECT k, predict('mean', a, k) AS score FROM per_s".into(), &["must be a number"]),
    ];
    let cases: Vec<(&str, &[&str])> = cases.iter().map(|(sql, parts)| (sql.as_str(), *parts)).collect();
    refuses(&cases);
}

#[test]
fn all_problems_of_all_files_are_reported_together_in_order() {
    let files = [
        ("z.sql", "INSERT INTO sink SELECT k, c AS cc FROM per_s;\n\n  SELECT 1;"),
        ("a.sql", EVENTS),
        ("b.sql", SINKS),
        (
            "m.sql",
            "CREATE EXTERNAL TABLE x (t BIGINT) STORED AS JSON LOCATION 'x'\nOPTIONS (event_time 't', idel '1s');",
        ),
    ];
    let problems = plan_files(&files).expect_err("five problems");
    let found: Vec<String> = problems.0.iter().map(|problem| problem.to_string()).collect();
    let parts = [
        ("m.sql:1:1: ", "add lateness"),
        ("m.sql:1:1: ", "must be a TIMESTAMP"),
        ("m.sql:2:26: ", "did you mean `idle`?"),
        ("z.sql:1:1: ", "has no column `cc`"),
        ("z.sql:3:3: ", "only CREATE"),
    ];
    for (place, part) in parts {
        assert!(found.iter().any(|text| text.starts_with(place) && text.contains(part)), "{place} {part}: {found:?}");
    }
    assert_eq!(found.len(), parts.len(), "{found:?}");
    assert!(found.is_sorted_by_key(|text| text[..5].to_owned()), "{found:?}");
    assert!(problems.to_string().ends_with("5 problems in the SQL"), "{problems}");
}

#[test]
fn a_name_that_is_not_known_is_pointed_at() {
    let files = [
        ("a.sql", EVENTS),
        ("b.sql", SINKS),
        ("c.sql", "-- a view\nCREATE VIEW x AS\n  SELECT k,\n    2 * vv AS two FROM ev;\n"),
        ("d.sql", "\n  INSERT INTO sink SELECT k, c FROM per_ss;"),
        ("e.sql", "INSERT INTO scores\nSELECT k, predict('median', a, b) AS score FROM per_s;"),
    ];
    let problems = plan_files(&files).expect_err("three problems");
    let places: Vec<String> =
        problems.0.iter().map(|p| format!("{}:{}:{}", p.file.display(), p.line, p.column)).collect();
    assert_eq!(places, ["c.sql:4:9", "d.sql:2:37", "e.sql:2:19"], "{problems}");
}

#[test]
fn a_plan_is_made_once_and_executed_for_every_closed_window() {
    let (lookups, scores) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (lookups_seen, scores_seen) = (Arc::clone(&lookups), Arc::clone(&scores));
    let counted = move |name: &str| {
        lookups_seen.fetch_add(1, Relaxed);
        let (model, scores) = (common::model(name)?, Arc::clone(&scores_seen));
        let (score, explain) = (Arc::clone(&model), Arc::clone(&model));
        Ok(Arc::new(Model {
            name: model.name.clone(),
            version: model.version.clone(),
            sha256: model.sha256.clone(),
            features: model.features.clone(),
            score: Box::new(move |features| {
                scores.fetch_add(1, Relaxed);
                (score.score)(features)
            }),
            explain: Box::new(move |features| (explain.explain)(features)),
            explain_type: model.explain_type.clone(),
        }))
    };
    let sql = "INSERT INTO scores SELECT k, predict('mean', a, b) AS score FROM per_s ORDER BY score DESC LIMIT 3";
    let mut statements = Vec::new();
    for (name, text) in [("a.sql", EVENTS), ("b.sql", SINKS), ("q.sql", sql)] {
        statements.extend(parse(Path::new(name), text).expect("it parses"));
    }
    let options = Options { models: Arc::new(counted), ..common::options() };
    let dataflow = plan(&statements, &options).expect("it plans");
    let flow = dataflow.streams.iter().find(|flow| flow.stream.topic == "ev-topic").expect("it is read");
    let planned = lookups.load(Relaxed);
    assert!(planned > 0 && scores.load(Relaxed) == 0, "models are bound when the SQL is planned, and not run");
    // A row each second of event time: all windows but the last are closed.
    let records: Vec<_> = (0..50).map(|n| common::json(n, n * 1_000, Some(n * 1_000), "key", 1.5, n)).collect();
    let (mut task, mut out) = common::run_one_by_one(flow, &records);
    common::run_shuffles(&dataflow, flow, &mut task, &mut out);
    let windows = common::windows(&out.emissions).len();
    assert!(windows >= 45, "{windows}");
    assert_eq!(lookups.load(Relaxed), planned, "nothing is planned when a window closes");
    assert_eq!(scores.load(Relaxed), windows, "one call of the model for each closed window");
}

#[test]
fn what_needs_a_broken_statement_is_not_reported_again() {
    let problems = plan_files(&[
        ("a.sql", EVENTS),
        ("b.sql", "CREATE VIEW bad AS SELECT kk FROM ev; CREATE VIEW on_bad AS SELECT * FROM bad;"),
    ]);
    assert_eq!(problems.expect_err("one").0.len(), 1);
}
