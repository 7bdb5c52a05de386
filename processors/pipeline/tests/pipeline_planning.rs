//! Planning as a whole: all problems together, each cause once, a plan made once. What is refused with which words is in
//! `tests/sql` (`pipeline_sql.rs`); what is accepted, in `pipeline_accepts.rs`.

mod common;

use amoskys_functions::model::Model;
use amoskys_pipeline::sql::{Dataflow, Options, plan};
use common::plan_files;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// With streams, sinks and views.
const DEFINITIONS: &str = include_str!("sql/definitions.sql");

#[test]
fn all_problems_of_all_files_are_reported_together_in_order() {
    let files = [
        ("z.sql", "INSERT INTO sink SELECT k, c AS cc FROM per_s;\n\n  SELECT 1;"),
        ("a.sql", DEFINITIONS),
        (
            "m.sql",
            "CREATE EXTERNAL TABLE x (t BIGINT) STORED AS JSON LOCATION 'x'\nOPTIONS (event_time 't', idel '1s');",
        ),
    ];
    let problems = plan_files(&files).expect_err("five problems");
    let found: Vec<String> = problems.0.iter().map(|problem| problem.to_string()).collect();
    let parts = [
        ("m.sql:2:1: ", "add lateness"),
        ("m.sql:2:21: ", "must be a TIMESTAMP"),
        ("m.sql:2:26: ", "did you mean `idle`?"),
        ("z.sql:1:30: ", "has no column `cc`"),
        ("z.sql:3:3: ", "only CREATE"),
    ];
    for (place, part) in parts {
        assert!(found.iter().any(|text| text.starts_with(place) && text.contains(part)), "{place} {part}: {found:?}");
    }
    assert_eq!(found.len(), parts.len(), "{found:?}");
    assert!(found.is_sorted_by_key(|text| text[..5].to_owned()), "{found:?}");
    assert!(problems.to_string().ends_with("5 errors in the SQL"), "{problems}");
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
    let sources = common::sources(&[("a.sql", DEFINITIONS), ("q.sql", sql)]);
    let options = Options { models: Arc::new(counted), ..common::options() };
    let dataflow = plan(&sources, &options).expect("it plans");
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
        ("a.sql", DEFINITIONS),
        ("b.sql", "CREATE VIEW bad AS SELECT kk FROM ev; CREATE VIEW on_bad AS SELECT * FROM bad;"),
    ]);
    assert_eq!(problems.expect_err("one").0.len(), 1);
}

/// Of two streams, one alone and both joined with files; and one whose groups are sent.
fn with_files(folder: &std::path::Path, owners: &str, options: &str) -> Dataflow {
    let table = |name: &str, options: &str| {
        let path = folder.join(format!("{name}.csv"));
        format!("CREATE EXTERNAL TABLE {name} STORED AS CSV LOCATION '{}' OPTIONS ({options});", path.display())
    };
    std::fs::write(folder.join("owners.csv"), owners).expect("written");
    std::fs::write(folder.join("unread.csv"), "a\n1\n").expect("written");
    let header = "'format.has_header' 'true'";
    let sql = format!(
        "{}{}
        CREATE EXTERNAL TABLE one (t TIMESTAMP, k VARCHAR, n BIGINT) STORED AS JSON LOCATION 'one'
        OPTIONS (event_time 't', lateness '1s', partition_key 'k');
        CREATE EXTERNAL TABLE other (t TIMESTAMP, k VARCHAR, n BIGINT) STORED AS JSON LOCATION 'other'
        OPTIONS (event_time 't', lateness '1s', partition_key 'k');
        CREATE EXTERNAL TABLE sent (t TIMESTAMP, k VARCHAR, n BIGINT) STORED AS JSON LOCATION 'sent'
        OPTIONS (event_time 't', lateness '1s', partition_key 'k');
        CREATE EXTERNAL TABLE teams (team VARCHAR, c BIGINT) STORED AS JSON LOCATION 'teams';
        INSERT INTO teams SELECT k AS team, n AS c FROM one;
        INSERT INTO teams SELECT team, c FROM (
            SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM other GROUP BY k, win) AS counts
            JOIN owners ON counts.k = owners.k;
        INSERT INTO teams SELECT team, c FROM (
            SELECT team, tumble(t, INTERVAL '1 second') AS win, count(*) AS c
            FROM (SELECT team, t FROM sent JOIN owners ON sent.k = owners.k) GROUP BY team, win);",
        table("owners", &format!("{header}{options}")),
        table("unread", header),
    );
    plan_files(&[("q.sql", &sql)]).expect("it plans")
}

#[test]
fn a_flow_has_the_files_that_it_reads_and_is_another_where_one_is_read_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |dataflow: &Dataflow| {
        let flows = dataflow.streams.iter();
        let of_each = flows.map(|flow| {
            let names: Vec<String> = flow.statics.iter().map(|table| table.name.clone()).collect();
            (flow.stream.name.clone(), names)
        });
        of_each.collect::<BTreeMap<_, _>>()
    };
    let same = |one: &Dataflow, other: &Dataflow| {
        let pairs = one.streams.iter().zip(&other.streams);
        let changed = pairs.filter(|(one, other)| !one.is_same_as(other)).map(|(one, _)| one.stream.name.clone());
        changed.collect::<BTreeSet<_>>()
    };
    let first = with_files(folder.path(), "k,team\na,red\n", "");
    let owners = || vec!["owners".to_owned()];
    let expected = [("one", vec![]), ("other", owners()), ("sent", owners()), ("shuffle of sent", vec![])];
    assert_eq!(of(&first), expected.map(|(name, files)| (name.to_owned(), files)).into());
    assert_eq!(first.statics().len(), 1, "one table serves both");
    // What a file holds makes nothing another, what it is read as does.
    assert_eq!(same(&first, &with_files(folder.path(), "k,team\na,blue\n", "")), BTreeSet::new());
    let those_that_read = BTreeSet::from(["other", "sent", "shuffle of sent"].map(str::to_owned));
    assert_eq!(same(&first, &with_files(folder.path(), "k,team,floor\na,red,1\n", "")), those_that_read);
    let options = ", 'format.comment' '#'";
    assert_eq!(same(&first, &with_files(folder.path(), "k,team\na,red\n", options)), those_that_read);
}

#[test]
fn what_holds_no_sql_is_told_by_its_path() {
    let place = tempfile::tempdir().expect("a folder");
    let (empty, test, bytes) =
        (place.path().join("empty"), place.path().join("x.test.sql"), place.path().join("bytes.sql"));
    std::fs::create_dir(&empty).expect("made");
    std::fs::write(&test, "-- test: x").expect("written");
    std::fs::write(&bytes, [0xff, 0xfe]).expect("written");
    let told = |path: &std::path::Path| {
        let sources = amoskys_pipeline::sql::load(&[path.to_owned()]);
        let problems = plan(&sources, &common::options()).expect_err("there is no SQL");
        problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (path, words) in [
        (&empty, "holds no .sql file"),
        (
            &test,
            "is a test of SQL, which is not planned by itself; give the folder; `amoskys sql test` runs what it holds",
        ),
        (&place.path().join("away.sql"), "cannot be read: "),
        (&bytes, "cannot be read: stream did not contain valid UTF-8"),
    ] {
        let told = told(path);
        assert!(told.starts_with(&format!("{}: {words}", path.display())), "{told}");
    }
}
