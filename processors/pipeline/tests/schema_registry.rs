//! Streams whose schemas are in a registry, against a real one: versions that evolve, numbers that nobody knows, types that
//! change, and a registry that is away for a while.

mod common;

use amoskys_bus::testing::SchemaRegistry;
use amoskys_pipeline::{
    run::Emitter,
    sql::{Dataflow, StreamFlow},
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use common::{BASE_MS, Kept, Out, flush, plan_files, planned, push, task};
use serde_json::{Value, json};
use std::{sync::LazyLock, time::Duration};

static REGISTRY: LazyLock<SchemaRegistry> = LazyLock::new(SchemaRegistry::start);

/// Registers a text under a subject, and gives its number.
fn register(registry: &SchemaRegistry, subject: &str, kind: &str, text: &str, references: Value) -> u32 {
    let body = json!({ "schemaType": kind, "schema": text, "references": references }).to_string();
    let url = format!("{}/subjects/{subject}/versions", registry.url());
    let mut answer = ureq::post(url)
        .header("Content-Type", "application/vnd.schemaregistry.v1+json")
        .send(body)
        .expect("the registry takes it");
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().expect("text")).expect("JSON");
    u32::try_from(answer["id"].as_u64().expect("a number")).expect("small")
}

fn avro(subject: &str, fields: &str) -> u32 {
    let text = format!(r#"{{"type": "record", "name": "Login", "fields": [{fields}]}}"#);
    register(&REGISTRY, subject, "AVRO", &text, json!([]))
}

/// As a serializer writes it: a zero, the schema's number, what else is in front, the value.
fn framed(id: u32, rest: &[&[u8]]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice()].into_iter().chain(rest.iter().copied()).flatten().copied().collect()
}

/// One stream of the registry, and an INSERT of these columns of it.
fn stream(url: &str, stored_as: &str, topic: &str, columns: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE s {stored_as} LOCATION '{topic}' OPTIONS (registry '{url}');
         CREATE EXTERNAL TABLE out_rows (a TEXT, b TEXT, c TEXT) STORED AS JSON LOCATION 'out';
         INSERT INTO out_rows SELECT {columns} FROM s;"
    )
}

fn run(flow: &StreamFlow, payloads: &[Vec<u8>]) -> Out {
    let (mut task, mut out) = (task(flow, amoskys_pipeline::run::Checkpoint::start(0)), Out::default());
    for (offset, payload) in (0..).zip(payloads) {
        push(&mut task, flow, &Kept { offset, log_ms: BASE_MS, payload: payload.clone() }, &mut out);
    }
    flush(&mut task, flow, &mut out);
    out
}

fn rows(out: &Out) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let batches = out.emissions.iter().map(|emission| &emission.batch);
    let row = |batch: &arrow::record_batch::RecordBatch, row: usize| {
        let cell = |column| ArrayFormatter::try_new(column, &options).expect("prints").value(row).to_string();
        batch.columns().iter().map(|column| cell(column.as_ref())).collect::<Vec<_>>().join(" ")
    };
    batches.flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>()).collect()
}

fn dead(out: &Out) -> Vec<(i64, &str)> {
    out.dead.iter().map(|record| (record.offset, record.detail.as_str())).collect()
}

fn only_flow(dataflow: &Dataflow) -> &StreamFlow {
    assert_eq!(dataflow.streams.len(), 1);
    &dataflow.streams[0]
}

#[test]
fn versions_of_avro_are_read_by_one_stream_as_they_come() {
    let first = avro("logins-value", r#"{"name": "host", "type": "string"}, {"name": "gone", "type": "int"}"#);
    let sql = stream(REGISTRY.url(), "STORED AS AVRO", "logins", "host AS a, CAST(gone AS TEXT) AS b");
    let dataflow = planned(&[("a.sql", &sql)]);
    let second = avro(
        "logins-value",
        r#"{"name": "host", "type": "string"}, {"name": "user", "type": ["null", "string"], "default": null}"#,
    );
    let records = [
        framed(first, &[b"\x02a\x0e"]),
        framed(second, &[b"\x02b\x02\x04me"]),
        framed(9999, &[b"\x02c\x00"]),
        b"\x02d".to_vec(),
        framed(first, &[b"\x02e"]),
        framed(first, &[b"\x02f\x10"]),
    ];
    // Producers write the second version before anybody plans anew: what the SQL knows of it is read.
    let out = run(only_flow(&dataflow), &records);
    assert_eq!(rows(&out), ["a 7 null", "b null null", "f 8 null"]);
    let told = dead(&out);
    assert_eq!(told.iter().map(|dead| dead.0).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(told[0].1.ends_with("knows no schema 9999"), "{told:?}");
    assert_eq!(told[1].1, "the record does not begin with the number of a schema (a zero and four bytes)");
    let sql = sql.replace("CAST(gone AS TEXT) AS b", "CAST(gone AS TEXT) AS b, user AS c");
    let out = run(only_flow(&planned(&[("a.sql", &sql)])), &records);
    assert_eq!(rows(&out), ["a 7 null", "b null me", "f 8 null"]);
    assert_eq!(out.dead.len(), 3);
}

#[test]
fn messages_of_a_file_are_told_apart_and_removed_fields_are_null() {
    let place = r#"syntax = "proto3"; package acme; message Place { string room = 1; }"#;
    register(&REGISTRY, "place", "PROTOBUF", place, json!([]));
    let references = json!([{ "name": "acme/place.proto", "subject": "place", "version": 1 }]);
    let file = |fields: &str| {
        format!(
            r#"syntax = "proto3"; package acme; import "acme/place.proto";
               message Other {{ string x = 1; message Door {{ {fields} Place place = 9; }} }}"#
        )
    };
    let registered = |fields: &str| register(&REGISTRY, "doors-value", "PROTOBUF", &file(fields), references.clone());
    let first = registered("string host = 1; int32 gone = 2;");
    let second = registered("string host = 1; reserved 2; reserved \"gone\"; optional string user = 3;");
    let sql = stream(
        REGISTRY.url(),
        "STORED AS PROTOBUF",
        "doors",
        "host || coalesce(place.room, '') AS a, CAST(gone AS TEXT) AS b, user AS c",
    )
    .replace("(registry", "(message 'acme.Other.Door', registry");
    let dataflow = planned(&[("a.sql", &sql)]);
    // Two indices, the first message and the first within it; then the first message alone.
    let (door, other): (&[u8], &[u8]) = (&[4, 0, 0], &[0]);
    let records = [
        framed(first, &[door, b"\x0a\x01a\x10\x07\x4a\x03\x0a\x01r"]),
        framed(second, &[door, b"\x0a\x01b\x1a\x02me"]),
        framed(second, &[other, b"\x0a\x01c"]),
        framed(second, &[&[4, 0, 8], b""]),
        framed(second, &[&[1], b""]),
        framed(second, &[door, b"\xff"]),
    ];
    let out = run(only_flow(&dataflow), &records);
    assert_eq!(rows(&out), ["ar 7 null", "b null me"]);
    let told = dead(&out);
    assert_eq!(told[0], (2, "the record holds acme.Other, the stream acme.Other.Door"));
    assert_eq!(told[1], (3, "the record's message is not in its schema"));
    assert_eq!(told[2], (4, "the path to the record's message does not read"));
    assert_eq!(told.len(), 4);
}

#[test]
fn a_type_that_changed_is_refused_with_both_versions() {
    avro("changed-value", r#"{"name": "x", "type": "int"}, {"name": "y", "type": "string"}"#);
    avro("changed-value", r#"{"name": "x", "type": "long"}, {"name": "y", "type": "bytes"}"#);
    let refused = |stored_as: &str, topic: &str| {
        let sql = stream(REGISTRY.url(), stored_as, topic, "x AS a");
        plan_files(&[("a.sql", &sql)]).expect_err("refused").to_string()
    };
    let told = refused("STORED AS AVRO", "changed");
    for words in [
        "field \"x\" is \"int\" in version 1 of `changed-value` and \"long\" in version 2 of `changed-value`",
        "field \"y\" is \"string\" in version 1 of `changed-value` and \"bytes\" in version 2 of `changed-value`",
    ] {
        assert!(told.contains(words), "{told}");
    }
    for fields in ["int32 x = 1;", "repeated string x = 1;"] {
        let text = format!("syntax = \"proto3\"; package acme; message M {{ {fields} }}");
        register(&REGISTRY, "moved-value", "PROTOBUF", &text, json!([]));
    }
    let told = refused("STORED AS PROTOBUF", "moved");
    let words =
        "field acme.M.x is `int32 x = 1` in version 1 of `moved-value` and `repeated string x = 1` in version 2";
    assert!(told.contains(words), "{told}");
    register(&REGISTRY, "kind-value", "PROTOBUF", "syntax = \"proto3\"; message M { int32 x = 1; }", json!([]));
    let told = refused("STORED AS AVRO", "kind");
    assert!(told.contains("the registry's schema is PROTOBUF, not AVRO"), "{told}");
    let told = refused("STORED AS AVRO", "nobody");
    assert!(told.contains("knows no subject `nobody-value`"), "{told}");
}

#[test]
fn json_is_read_and_written_with_the_number_of_its_schema() {
    let text = r#"{"type": "object", "properties": {"host": {"type": "string"}}}"#;
    let id = register(&REGISTRY, "notes-value", "JSON", text, json!([]));
    let sql = format!(
        "CREATE EXTERNAL TABLE notes (host TEXT) STORED AS JSON LOCATION 'notes' OPTIONS (registry '{url}');
         CREATE EXTERNAL TABLE copies (host TEXT) STORED AS JSON LOCATION 'copies'
         OPTIONS (registry '{url}', subject 'notes-value');
         INSERT INTO copies SELECT upper(host) AS host FROM notes;",
        url = REGISTRY.url()
    );
    let dataflow = planned(&[("a.sql", &sql)]);
    let flow = only_flow(&dataflow);
    let out = run(flow, &[framed(id, &[br#"{"host": "a"}"#]), br#"{"host": "b"}"#.to_vec()]);
    assert_eq!(out.dead.len(), 1);
    let emitter = Emitter::new(&flow.inserts[0]).expect("encodes").expect("a sink");
    let mut records = Vec::new();
    emitter.encode(&out.emissions[0], &mut records).expect("encodes");
    assert_eq!(records[0].payload, framed(id, &[br#"{"host":"A"}"#]));
}

#[test]
fn a_registry_that_is_away_is_asked_again_and_no_record_is_given_up() {
    let registry = SchemaRegistry::start();
    let text = |field: &str| format!(r#"{{"type": "record", "name": "E", "fields": [{field}]}}"#);
    let (old, new) =
        (text(r#"{"name": "host", "type": "string"}"#), text(r#"{"name": "host", "type": ["null", "string"]}"#));
    let first = register(&registry, "away-value", "AVRO", &old, json!([]));
    let sql = stream(registry.url(), "STORED AS AVRO", "away", "host AS a");
    let dataflow = planned(&[("a.sql", &sql)]);
    let second = register(&registry, "away-value", "AVRO", &new, json!([]));
    registry.freeze();
    let reader = std::thread::spawn(move || {
        let records = [framed(first, &[b"\x02a"]), framed(second, &[b"\x02\x02b"])];
        let out = run(only_flow(&dataflow), &records);
        (rows(&out), out.dead.len())
    });
    // Longer than it waits for one answer.
    std::thread::sleep(Duration::from_secs(6));
    assert!(!reader.is_finished(), "nobody says what the second number is");
    registry.thaw();
    let (rows, dead) = reader.join().expect("reads");
    assert_eq!((rows, dead), (vec!["a null null".to_owned(), "b null null".to_owned()], 0));
}

#[test]
fn every_sql_of_the_page_about_formats_plans() {
    avro(
        "acme.orders-value",
        r#"{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}, {"name": "customer", "type": "string"}"#,
    );
    let parcel = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
                    message Parcel { google.protobuf.Timestamp at = 1; }"#;
    register(&REGISTRY, "acme.parcels-value", "PROTOBUF", parcel, json!([]));
    let page = std::fs::read_to_string("../../docs/formats.md").expect("the page");
    let blocks: Vec<&str> = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let sql = blocks.join("\n").replace("http://registry:8081", REGISTRY.url()).replace("'docs/", "'../../docs/");
    let reads = [
        "entries",
        "(SELECT host FROM visits)",
        "(SELECT outcome AS host FROM logins)",
        "(SELECT customer AS host FROM orders)",
        "(SELECT CAST(at AS TEXT) AS host FROM parcels)",
    ];
    for from in reads {
        let insert = format!(
            "CREATE EXTERNAL TABLE sink (host TEXT) STORED AS JSON LOCATION 'sink'; INSERT INTO sink SELECT host FROM {from};"
        );
        let dataflow = planned(&[("formats.md", &sql), ("q.sql", &insert)]);
        let inserts = dataflow.streams.iter().flat_map(|flow| &flow.inserts);
        assert_eq!(inserts.filter(|insert| insert.name == "q").count(), 1, "{from}");
    }
}
