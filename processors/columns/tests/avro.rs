//! Avro records into rows: bytes as the specification has them, versions of a schema, and refusals that touch only their record.

use amoskys_columns::{AvroDecoder, AvroEncoder, AvroError, AvroSchema, Limits, merged_avro};
use arrow::{
    array::*,
    datatypes::*,
    util::{display::FormatOptions, pretty::pretty_format_batches_with_options},
};
use proptest::prelude::*;
use std::sync::Arc;

const LOGIN: &str = r#"{"type": "record", "name": "Login", "namespace": "acme", "doc": "who came in", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "host", "type": "string"},
    {"name": "outcome", "type": {"type": "enum", "name": "Outcome", "symbols": ["OK", "DENIED"]}},
    {"name": "tries", "type": "int", "default": 1},
    {"name": "account", "type": ["null", "string"], "default": null},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "place", "type": {"type": "record", "name": "Place", "fields": [
        {"name": "x", "type": "double"}, {"name": "ok", "type": "boolean"}]}}
]}"#;

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse(text).expect("a schema")
}

fn decoder(columns: &[&str]) -> AvroDecoder {
    let reader = schema(LOGIN);
    let mut decoder = AvroDecoder::new(&reader, columns, Limits { record_bytes_max: 1000, ..Limits::default() });
    decoder.learn(7, LOGIN).expect("reads itself");
    decoder
}

/// By the specification: zigzag numbers, lengths before texts, indices before members of unions, blocks of arrays.
fn login() -> Vec<u8> {
    let mut bytes = vec![0x80, 0x89, 0x7a]; // 1,000,000 µs
    bytes.extend(b"\x06web"); // 3 letters
    bytes.push(2); // DENIED
    bytes.push(5); // -3
    bytes.extend(b"\x02\x04me"); // the second member, 2 letters
    bytes.extend(b"\x04\x02a\x02b\x00"); // a block of 2, the last block
    bytes.extend(2.5f64.to_le_bytes());
    bytes.push(1);
    bytes
}

fn printed(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let text = pretty_format_batches_with_options(std::slice::from_ref(batch), &options).expect("prints").to_string();
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn bytes_of_the_specification_are_rows() {
    let mut decoder = decoder(&["tags", "at", "host", "outcome", "tries", "account", "place"]);
    assert_eq!(decoder.push_all(&[(7, &login())]), [Ok(())]);
    assert_eq!(decoder.rows(), 1);
    let batch = decoder.finish().expect("a batch");
    assert_eq!(batch.schema(), schema(LOGIN).columns().clone());
    assert_eq!(printed(&batch), ["| 1970-01-01T00:00:01 | web | DENIED | -3 | me | [a, b] | {x: 2.5, ok: true} |"]);
    assert_eq!(batch["at"].data_type(), &DataType::Timestamp(TimeUnit::Nanosecond, None));
    assert_eq!(batch["outcome"].data_type(), &DataType::Utf8View);
}

#[test]
fn columns_that_nobody_asked_for_are_skipped() {
    for (columns, expected) in [(vec!["tries", "host"], "| web | -3 |"), (vec!["tags"], "| [a, b] |")] {
        let mut decoder = decoder(&columns);
        assert_eq!(decoder.push_all(&[(7, &login())]), [Ok(())]);
        assert_eq!(printed(&decoder.finish().expect("a batch")), [expected]);
    }
    let mut decoder = decoder(&[]);
    assert_eq!(decoder.push_all(&[(7, &login()), (7, &login())]), [Ok(()), Ok(())]);
    let batch = decoder.finish().expect("a batch");
    assert_eq!((batch.num_rows(), batch.num_columns()), (2, 0));
}

#[test]
fn bad_records_touch_only_themselves() {
    let (good, long) = (login(), vec![0; 1001]);
    let trailing = [login(), vec![0]].concat();
    let mut unknown_symbol = login();
    unknown_symbol[7] = 8;
    let records: Vec<(u32, &[u8])> = vec![
        (7, &good),
        (7, &good[..5]),
        (8, &good),
        (7, &trailing),
        (7, &long),
        (7, &good),
        (7, &[]),
        (7, &unknown_symbol),
    ];
    let mut decoder = decoder(&["host", "tries"]);
    let results = decoder.push_all(&records);
    assert_eq!(results[..3], [Ok(()), Err(AvroError::Truncated), Err(AvroError::UnknownSchema { id: 8 })]);
    assert_eq!(results[3], Err(AvroError::Trailing));
    assert_eq!(results[4], Err(AvroError::TooLarge { bytes: 1001, max: 1000 }));
    assert_eq!(results[5..7], [Ok(()), Err(AvroError::Truncated)]);
    assert!(results[4].as_ref().is_err_and(AvroError::is_limit));
    let good = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(decoder.finish().expect("a batch").num_rows(), good);
}

#[test]
fn a_record_that_is_cut_anywhere_is_refused() {
    let whole = login();
    for length in 0..whole.len() {
        let mut decoder = decoder(&["host"]);
        let result = decoder.push_all(&[(7, &whole[..length])]).remove(0);
        assert!(matches!(result, Err(AvroError::Truncated | AvroError::Malformed(_))), "{length}: {result:?}");
        assert_eq!(decoder.finish().expect("a batch").num_rows(), 0);
    }
}

fn named(texts: &[&str]) -> Vec<(String, String)> {
    texts.iter().enumerate().map(|(at, text)| (format!("version {}", at + 1), (*text).to_owned())).collect()
}

const VERSIONS: [&str; 3] = [
    r#"{"type": "record", "name": "E", "fields": [
        {"name": "x", "type": "long"}, {"name": "gone", "type": "string"},
        {"name": "in", "type": {"type": "record", "name": "In", "fields": [{"name": "a", "type": "int"}]}},
        {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["ONE", "OLD"]}}]}"#,
    r#"{"type": "record", "name": "E", "fields": [
        {"name": "x", "type": "long", "doc": "told now"},
        {"name": "in", "type": {"type": "record", "name": "In", "fields": [
            {"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"], "default": null}]}},
        {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["ONE", "TWO"]}},
        {"name": "later", "type": "boolean"}]}"#,
    r#"{"type": "record", "name": "E", "fields": [
        {"name": "x", "type": ["null", "long"], "default": null},
        {"name": "in", "type": {"type": "record", "name": "In", "fields": [
            {"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"], "default": null}]}},
        {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["ONE", "TWO"]}},
        {"name": "later", "type": "boolean"}, {"name": "count", "type": "int", "default": 9}]}"#,
];

#[test]
fn one_schema_reads_what_all_versions_wrote() {
    let merged = schema(&merged_avro(&named(&VERSIONS)).expect("no conflict"));
    let names: Vec<&str> = merged.columns().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["x", "in", "kind", "later", "count", "gone"]);
    let mut decoder = AvroDecoder::new(&merged, &names, Limits::default());
    for (id, text) in VERSIONS.iter().enumerate() {
        decoder.learn(id as u32, text).expect("is read");
    }
    // x = 1, gone = "g", in.a = 2, kind = OLD; then with in.b = "i", kind = TWO, later; then x as the second member, count.
    let records: [(u32, &[u8]); 4] = [
        (0, b"\x02\x02g\x04\x02"),
        (1, b"\x06\x04\x02\x02i\x02\x01"),
        (0, b"\x02\x02h\x04\x00"),
        (2, b"\x02\x08\x04\x00\x00\x00\x0a"),
    ];
    assert_eq!(decoder.push_all(&records), [Ok(()), Ok(()), Ok(()), Ok(())]);
    let rows = printed(&decoder.finish().expect("a batch"));
    assert_eq!(
        rows,
        [
            "| 1 | {a: 2, b: null} | OLD | null | 9 | g |",
            "| 3 | {a: 2, b: i} | TWO | true | 9 | null |",
            "| 1 | {a: 2, b: null} | ONE | null | 9 | h |",
            "| 4 | {a: 2, b: null} | ONE | false | 5 | null |",
        ]
    );
}

#[test]
fn a_type_that_changed_is_a_conflict_told_with_both_versions() {
    let changed = r#"{"type": "record", "name": "E", "fields": [
        {"name": "x", "type": ["null", "int"]},
        {"name": "in", "type": {"type": "record", "name": "In", "fields": [{"name": "a", "type": {"type": "string"}}]}}]}"#;
    let conflicts = merged_avro(&named(&[VERSIONS[0], changed])).expect_err("conflicts");
    let told: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "field \"x\" is \"long\" in version 1 and [\"null\",\"int\"] in version 2",
            "field \"in.a\" is \"int\" in version 1 and \"string\" in version 2",
        ]
    );
}

#[test]
fn what_is_no_schema_of_records_is_refused() {
    for text in
        ["", "{}", "\"long\"", r#"{"type": "record", "name": "E", "fields": [{"name": "x", "type": "nothing"}]}"#]
    {
        let told = AvroSchema::parse(text).expect_err(text).to_string();
        assert!(told.starts_with("not an Avro schema of a record: "), "{told}");
    }
}

type Row = (i64, String, bool, i32, Option<String>, Vec<String>, f64);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        -1_000_000_000_000i64..1_000_000_000_000,
        ".{0,12}",
        any::<bool>(),
        any::<i32>(),
        prop::option::of(".{0,4}"),
        prop::collection::vec("[a-z]{0,3}", 0..4),
        any::<f64>().prop_filter("a number", |number| !number.is_nan()),
    );
    prop::collection::vec(row, 0..40)
}

proptest! {
    /// What arrow-avro's writer makes of rows is the same rows again.
    #[test]
    fn rows_come_back(rows in rows()) {
        let mut tags = ListBuilder::new(StringBuilder::new());
        for row in &rows {
            tags.append_value(row.5.iter().map(Some));
        }
        let place = StructArray::from(vec![
            (Field::new("x", DataType::Float64, false).into(), Arc::new(rows.iter().map(|row| Some(row.6)).collect::<Float64Array>()) as ArrayRef),
            (Field::new("ok", DataType::Boolean, false).into(), Arc::new(rows.iter().map(|row| Some(row.2)).collect::<BooleanArray>()) as ArrayRef),
        ]);
        let outcome = rows.iter().map(|row| Some(if row.2 { "OK" } else { "DENIED" }));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("at", Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.0 * 1000)))),
            ("host", Arc::new(rows.iter().map(|row| Some(&row.1)).collect::<StringViewArray>())),
            ("outcome", Arc::new(outcome.collect::<StringViewArray>())),
            ("tries", Arc::new(rows.iter().map(|row| Some(row.3)).collect::<Int32Array>())),
            ("account", Arc::new(rows.iter().map(|row| row.4.as_ref()).collect::<StringViewArray>())),
            ("tags", Arc::new(tags.finish())),
            ("place", Arc::new(place)),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
        let batch = batch.expect("columns");
        let records = AvroEncoder::new(&schema(LOGIN)).encode(&batch).expect("encodes");
        let mut decoder = decoder(&["at", "host", "outcome", "tries", "account", "tags", "place"]);
        let records: Vec<(u32, &[u8])> = records.iter().map(|record| (7, record.as_slice())).collect();
        prop_assert!(decoder.push_all(&records).iter().all(Result::is_ok));
        prop_assert_eq!(printed(&decoder.finish().expect("a batch")), printed(&batch));
    }

    #[test]
    fn bytes_that_were_changed_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let (good, mut bytes) = (login(), login());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut decoder = decoder(&["host", "tags"]);
        let results = decoder.push_all(&[(7, &good), (7, &bytes), (7, &good)]);
        prop_assert!(results[0].is_ok() && results[2].is_ok());
        let rows = results.iter().filter(|result| result.is_ok()).count();
        prop_assert_eq!(decoder.finish().expect("a batch").num_rows(), rows);
    }
}
