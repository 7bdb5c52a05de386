//! Rows into records of a sink: ids, keys, and what is filled into alerts and feature rows.

mod common;

use amoskys_bus::Outgoing;
use amoskys_pipeline::{
    run::{Emission, Emitter},
    sql::Dataflow,
};
use amoskys_proto::v1::{Alert, FeatureRow};
use common::{BASE_MS, EVENTS, Kept, json, planned, run_one_by_one};
use prost::Message;
use std::collections::BTreeSet;

const ALERTS: &str = "CREATE EXTERNAL TABLE alerts STORED AS PROTOBUF LOCATION 'amoskys.alerts.v1'
OPTIONS (partition_key 'host_id');
CREATE EXTERNAL TABLE features STORED AS PROTOBUF LOCATION 'amoskys.features.mine.v1' OPTIONS (partition_key 'host_id');
CREATE EXTERNAL TABLE sink (k VARCHAR, c BIGINT) STORED AS JSON LOCATION 'sink-topic' OPTIONS (partition_key 'k');
CREATE VIEW per_s AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c, min(v) AS a, max(v) AS b
FROM ev GROUP BY k, win;";

fn flow(query: &str) -> Dataflow {
    planned(&[("a.sql", EVENTS), ("b.sql", ALERTS), ("detections/burst.sql", query)])
}

/// Two windows with the hosts a and b each, the same in both.
fn records() -> Vec<Kept> {
    let event = |offset: i64, time_ms: i64, key: &str, v: f64| json(offset, time_ms, Some(time_ms), key, v, 1);
    vec![
        event(0, 0, "a", 0.2),
        event(1, 10, "b", 0.8),
        event(2, 20, "a", 0.6),
        event(3, 1000, "a", 0.2),
        event(4, 1010, "b", 0.8),
        event(5, 1020, "a", 0.6),
        event(6, 9000, "z", 0.0),
    ]
}

fn emissions(dataflow: &Dataflow) -> Vec<Emission> {
    run_one_by_one(&dataflow.streams[0], &records()).1.emissions
}

fn encode(dataflow: &Dataflow, emissions: &[Emission]) -> Vec<Outgoing> {
    let mut records = Vec::new();
    for emission in emissions {
        let emitter =
            Emitter::new(&dataflow.streams[0].inserts[emission.insert]).expect("encodes").expect("has a sink");
        emitter.encode(emission, &mut records).expect("encoded");
    }
    records
}

fn id(record: &Outgoing) -> String {
    let (name, value) = &record.headers[0];
    assert_eq!(name, "amoskys-id");
    String::from_utf8(value.clone()).expect("hex")
}

fn ids(query: &str) -> Vec<String> {
    let dataflow = flow(query);
    encode(&dataflow, &emissions(&dataflow)).iter().map(id).collect()
}

fn distinct(ids: &[String]) -> usize {
    ids.iter().collect::<BTreeSet<_>>().len()
}

const PLAIN: &str = "INSERT INTO sink SELECT k, c FROM per_s;";

#[test]
fn equal_results_have_equal_ids_and_others_have_others() {
    let once = ids(PLAIN);
    assert_eq!((once.len(), distinct(&once)), (4, 4), "rows and windows differ");
    assert!(once.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    assert_eq!(ids(PLAIN), once);
    assert_eq!(ids(&format!("-- title: a comment\n{PLAIN}")), once, "comments do not count");
    let other = ids("INSERT INTO sink SELECT k, c FROM per_s WHERE c >= 0;");
    assert_eq!(distinct(&[once, other].concat()), 8, "other SQL, other ids");
}

/// Sinks keep ids: they may not change with how they are computed.
#[test]
fn an_id_is_a_digest_of_sql_place_window_row_and_number() {
    let dataflow = flow("INSERT INTO sink SELECT 'x' AS k, 1 AS c FROM per_s;");
    let insert = &dataflow.streams[0].inserts[0];
    for emission in emissions(&dataflow) {
        let (evidence, window) = (&emission.evidence[0], emission.window_ns.expect("a window"));
        for (number, record) in (1u64..).zip(encode(&dataflow, std::slice::from_ref(&emission))) {
            let mut hasher = blake3::Hasher::new();
            hasher.update(insert.sql_hash.as_bytes()).update(insert.name.as_bytes()).update(&[0]);
            hasher.update(evidence.topic.as_bytes()).update(&evidence.partition.to_le_bytes());
            hasher.update(&window.0.to_le_bytes()).update(&window.1.to_le_bytes());
            hasher.update(&record.payload).update(&number.to_le_bytes());
            assert_eq!(id(&record), hasher.finalize().to_hex()[..32]);
        }
    }
}

#[test]
fn ids_differ_by_partition_and_record() {
    let dataflow = flow(PLAIN);
    let mut moved = emissions(&dataflow);
    let before: Vec<String> = encode(&dataflow, &moved).iter().map(id).collect();
    moved.iter_mut().flat_map(|emission| &mut emission.evidence).for_each(|evidence| evidence.partition += 1);
    let after: Vec<String> = encode(&dataflow, &moved).iter().map(id).collect();
    assert_eq!(distinct(&[before, after].concat()), 8);
    // Rows without a window: by record.
    let rows = ids("INSERT INTO sink SELECT k, 1 AS c FROM ev;");
    assert_eq!((rows.len(), distinct(&rows)), (7, 7));
}

#[test]
fn equal_rows_of_one_window_have_ids_of_their_own() {
    let twice = ids("INSERT INTO sink SELECT 'x' AS k, 1 AS c FROM per_s;");
    assert_eq!((twice.len(), distinct(&twice)), (4, 4));
    let union = ids("INSERT INTO sink SELECT k, c FROM per_s UNION ALL SELECT k, c FROM per_s;");
    assert_eq!((union.len(), distinct(&union)), (8, 8), "also when they come in batches of their own");
}

#[test]
fn a_record_has_the_key_of_its_sink() {
    let dataflow = flow(PLAIN);
    let records = encode(&dataflow, &emissions(&dataflow));
    let keys: Vec<_> = records.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some(b"a".as_slice()), Some(b"b"), Some(b"a"), Some(b"b")]);
    assert_eq!(records[0].payload, br#"{"k":"a","c":2}"#);
    assert!(records.iter().all(|record| record.topic == "sink-topic" && record.partition.is_none()));
}

fn alerts(query: &str) -> (Vec<Alert>, Vec<String>, String) {
    let dataflow = flow(query);
    let records = encode(&dataflow, &emissions(&dataflow));
    let alerts = records.iter().map(|record| Alert::decode(record.payload.as_slice()).expect("an alert")).collect();
    (alerts, records.iter().map(id).collect(), dataflow.streams[0].inserts[0].sql_hash.clone())
}

#[test]
fn an_alert_is_filled_from_file_comments_window_and_models() {
    let (alerts, ids, sql_hash) = alerts(
        "-- title: too many\n-- technique: T1057\n-- false_positives: builds\n-- next_steps: look
INSERT INTO alerts SELECT k AS host_id, predict('mean', *) AS confidence, c, a, b FROM per_s;",
    );
    let alert = &alerts[0];
    assert_eq!(alert.detection, "burst");
    assert_eq!((alert.title.as_str(), alert.technique.as_str()), ("too many", "T1057"));
    assert_eq!((alert.false_positives.as_str(), alert.next_steps.as_str()), ("builds", "look"));
    let severities: Vec<_> = alerts.iter().map(|alert| (alert.confidence, alert.severity.as_str())).collect();
    assert_eq!(severities, [(0.4, "MEDIUM"), (0.8, "HIGH"), (0.4, "MEDIUM"), (0.8, "HIGH")]);
    let features: Vec<_> = alert.features.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(BTreeSet::from_iter(features.iter().map(|(name, _)| *name)), BTreeSet::from(["a", "b", "c"]));
    assert!(features.contains(&("c", 2.0)) && features.contains(&("a", 0.2)), "{features:?}");
    let provenance = alert.provenance.as_ref().expect("provenance");
    assert_eq!((&provenance.id, &provenance.sql_hash), (&ids[0], &sql_hash));
    let bounds =
        [&provenance.window_start, &provenance.window_end].map(|time| time.as_ref().expect("a window").seconds);
    assert_eq!(bounds, [BASE_MS / 1000, BASE_MS / 1000 + 1]);
    assert_eq!(alert.time, provenance.window_end, "the window's end, when the SELECT has no time");
    let [model] = provenance.models.as_slice() else { panic!("one model: {provenance:?}") };
    assert_eq!((model.name.as_str(), model.version.as_str(), model.sha256.as_str()), ("mean", "7", "ab12"));
    let [evidence] = provenance.evidence.as_slice() else { panic!("one span: {provenance:?}") };
    assert_eq!((evidence.topic.as_str(), evidence.partition), ("ev-topic", 3));
    assert_eq!((evidence.first_offset, evidence.last_offset), (0, 2));
}

#[test]
fn contributions_come_with_the_values_of_what_contributed() {
    let (alerts, ..) = alerts(
        "INSERT INTO alerts SELECT k AS host_id, confidence, contributions('mean', *) AS contributions, c
FROM (SELECT *, predict('mean', *) AS confidence FROM per_s) WHERE confidence > 0.5;",
    );
    assert_eq!(alerts.len(), 2);
    let alert = &alerts[0];
    assert_eq!(alert.contributions, [("b".to_owned(), 0.25)].into());
    assert_eq!(alert.features, [("b".to_owned(), 0.8), ("c".to_owned(), 1.0)].into(), "`a` moved nothing");
}

#[test]
fn what_the_select_says_of_an_alert_is_kept() {
    let (alerts, ..) = alerts(
        "-- title: too many\n-- technique: T1057
INSERT INTO alerts SELECT k AS host_id, 'mine' AS detection, 'T1' AS technique, 'other' AS title, 'LOW' AS severity,
  win.start AS time, 0.99 AS confidence FROM per_s;",
    );
    let alert = &alerts[0];
    assert_eq!((alert.detection.as_str(), alert.technique.as_str(), alert.title.as_str()), ("mine", "T1", "other"));
    assert_eq!(alert.severity, "LOW");
    assert_eq!(alert.time.as_ref().map(|time| time.seconds), Some(BASE_MS / 1000));
    assert!(alert.provenance.as_ref().is_some_and(|provenance| provenance.models.is_empty()));
}

#[test]
fn a_feature_row_is_filled_from_its_window() {
    let dataflow = flow("INSERT INTO features SELECT k AS host_id, c, b FROM per_s;");
    let records = encode(&dataflow, &emissions(&dataflow));
    let row = FeatureRow::decode(records[1].payload.as_slice()).expect("a feature row");
    assert_eq!((row.view.as_str(), row.host_id.as_str()), ("burst", "b"));
    assert_eq!(row.window_start.as_ref().map(|time| time.seconds), Some(BASE_MS / 1000));
    assert_eq!((row.features["c"], row.features["b"]), (1.0, 0.8));
    assert_eq!(row.provenance.expect("provenance").id, id(&records[1]));
}

/// A name that the enum has not, and a list with NULL in it: only those rows are left out.
#[test]
fn rows_that_a_message_cannot_hold_are_left_out_by_themselves() {
    let sink =
        "CREATE EXTERNAL TABLE out STORED AS PROTOBUF LOCATION 'out' OPTIONS (message 'amoskys.v1.ProcessEvent');";
    let query = "INSERT INTO out SELECT CASE WHEN k = 'b' THEN 'NONSENSE' ELSE 'PROCESS_EVENT_KIND_EXIT' END AS kind,
CAST(_offset AS INT UNSIGNED) AS pid, CASE WHEN _offset = 3 THEN [k, NULL] ELSE [k] END AS unreadable FROM ev;";
    let dataflow = planned(&[("a.sql", EVENTS), ("s.sql", sink), ("q.sql", query)]);
    let flow = &dataflow.streams[0];
    let emitter = Emitter::new(&flow.inserts[0]).expect("encodes").expect("has a sink");
    // All in one batch.
    let mut task = common::task(flow, amoskys_pipeline::run::Checkpoint::start(0));
    let (mut given, mut records) = (Vec::new(), Vec::new());
    self::records().iter().for_each(|record| task.push(&record.record()));
    task.flush(flow, &mut given, &mut Vec::new()).expect("computes");
    given.iter().for_each(|emission| emitter.encode(emission, &mut records).expect("encoded"));
    let pids: Vec<u32> = records
        .iter()
        .map(|record| amoskys_proto::v1::ProcessEvent::decode(record.payload.as_slice()).expect("decodes").pid)
        .collect();
    assert_eq!((pids, emitter.take_left_out(), emitter.take_left_out()), (vec![0, 2, 5, 6], 3, 0));
}

#[test]
fn a_confidence_that_is_computed_stays_between_0_and_1() {
    let query = "INSERT INTO alerts SELECT k AS host_id, k AS entity, c * 0.9 - 1 AS confidence FROM per_s;";
    let dataflow = flow(query);
    let records = encode(&dataflow, &emissions(&dataflow));
    let confidences: Vec<f64> =
        records.iter().map(|record| Alert::decode(record.payload.as_slice()).expect("decodes").confidence).collect();
    // Two of one host, one of the other: 0.8 and -0.1.
    assert!(confidences.iter().all(|of| (0.0..=1.0).contains(of)) && confidences.contains(&0.0), "{confidences:?}");
    let query = "INSERT INTO alerts SELECT k AS host_id, k AS entity, c * 10.0 AS confidence FROM per_s;";
    let dataflow = flow(query);
    let alert = Alert::decode(encode(&dataflow, &emissions(&dataflow))[0].payload.as_slice()).expect("decodes");
    assert_eq!((alert.confidence, alert.severity.as_str()), (1.0, "CRITICAL"));
}
