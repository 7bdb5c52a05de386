//! JSON records into rows and back, and refusals that touch only their record.

use std::sync::Arc;

use amoskys_columns::{JsonDecoder, JsonEncoder, JsonError, Limits};
use arrow::array::*;
use arrow::datatypes::*;
use proptest::prelude::*;

fn schema() -> SchemaRef {
    let tags = DataType::List(Field::new_list_field(DataType::Utf8View, true).into());
    Arc::new(Schema::new(vec![
        Field::new("host", DataType::Utf8View, true),
        Field::new("pid", DataType::Int64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("share", DataType::Float64, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("tags", tags, true),
    ]))
}

fn decoder() -> JsonDecoder {
    JsonDecoder::new(schema(), Limits { record_bytes_max: 1000, ..Limits::default() }).expect("types that JSON has")
}

fn refusal(record: &str) -> JsonError {
    let mut decoder = decoder();
    let error = decoder.push(record.as_bytes()).expect_err("refused");
    assert_eq!(decoder.push(b"{\"pid\":1}"), Ok(()), "after {record:?}");
    assert_eq!(decoder.finish().expect("a batch").num_rows(), 1);
    error
}

#[test]
fn an_object_is_a_row() {
    let mut decoder = decoder();
    decoder.push(br#"{"host":"h\u00fc\n","pid":7,"at":"1970-01-01T00:00:01.5+01:00","share":1,"ok":true,"tags":["a"],"more":[{}]}"#).expect("good");
    decoder.push(b" {\"at\": 1500, \"pid\": null}\n").expect("good");
    assert_eq!(decoder.rows(), 2);
    let batch = decoder.finish().expect("a batch");
    assert_eq!(batch.schema(), schema());
    assert_eq!(batch["host"].as_string_view().value(0), "hü\n");
    let at = batch["at"].as_primitive::<TimestampMillisecondType>();
    assert_eq!(at.values(), &[1500 - 3_600_000, 1500]);
    assert!(batch["pid"].is_null(1) && batch["host"].is_null(1));
    assert_eq!(decoder.rows(), 0);
    assert_eq!(decoder.finish().expect("a batch").num_rows(), 0);
}

#[test]
fn records_that_are_none_are_refused() {
    assert_eq!(refusal(""), JsonError::Empty);
    assert_eq!(refusal(" \n"), JsonError::Empty);
    assert_eq!(refusal("{\"pid\":1} {\"pid\":2}"), JsonError::Trailing);
    assert_eq!(refusal("{\"pid\":"), JsonError::Truncated);
    assert_eq!(
        refusal(&format!("{{\"host\":\"{}\"}}", "x".repeat(1000))),
        JsonError::TooLarge { bytes: 1011, max: 1000 }
    );
    for bad in [
        "[1]",
        "7 ",
        "\"x\"",
        "{\"pid\":\"x\"}",
        "{\"at\":\"yesterday\"}",
        "{\"pid\" 1}",
        "{\"host\":\"\\uZZZZ\"}",
        "nonsense",
    ] {
        let error = refusal(bad);
        assert!(matches!(error, JsonError::Malformed(_)), "{bad}: {error}");
    }
    assert!(matches!(decoder().push(b"{\"host\":\"\xff\"}"), Err(JsonError::Malformed(_))));
}

#[test]
fn the_good_ones_of_a_group_are_kept_in_order() {
    let mut decoder = decoder();
    let records: Vec<String> = (0..3000)
        .map(|n| if n % 1000 == 500 { "{\"pid\":\"bad\"}".to_owned() } else { format!("{{\"pid\":{n}}}") })
        .collect();
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    let results = decoder.push_all(&records);
    let bad: Vec<usize> = results.iter().enumerate().filter(|(_, r)| r.is_err()).map(|(at, _)| at).collect();
    assert_eq!(bad, [500, 1500, 2500]);
    assert_eq!(decoder.rows(), 2997);
    let batch = decoder.finish().expect("a batch");
    let expect: Vec<i64> = (0..3000).filter(|n| n % 1000 != 500).collect();
    assert_eq!(batch["pid"].as_primitive::<Int64Type>().values(), &expect[..]);
}

#[test]
fn two_halves_do_not_make_a_record() {
    let mut decoder = decoder();
    let results = decoder.push_all(&[b"{\"pid\":", b"1}", b"{\"pid\":2}"]);
    assert!(results[0].is_err() && results[1].is_err() && results[2].is_ok());
}

#[test]
fn rows_are_objects_again() {
    let mut decoder = decoder();
    let records: [&[u8]; 2] =
        [br#"{"host":"a\nb","pid":7,"at":"1970-01-01T00:00:01.500Z","ok":false,"tags":["x","y"]}"#, b"{}"];
    records.iter().for_each(|record| decoder.push(record).expect("good"));
    let encoder = JsonEncoder::new(schema()).expect("types that JSON has");
    let lines = encoder.encode(&decoder.finish().expect("a batch")).expect("rows");
    assert_eq!(lines, records);
    assert!(encoder.encode(&RecordBatch::new_empty(schema())).expect("no rows").is_empty());
}

proptest! {
    #[test]
    fn any_bytes_never_panic_nor_spoil_the_next(record in proptest::collection::vec(any::<u8>(), 0..80), text in "[\\[\\]{}\":,0-9a-z\\\\ ]{0,60}") {
        let mut decoder = decoder();
        let expect = usize::from(decoder.push(&record).is_ok()) + usize::from(decoder.push(text.as_bytes()).is_ok());
        prop_assert_eq!(decoder.push(b"{\"pid\":1}"), Ok(()));
        let batch = decoder.finish().expect("a batch");
        prop_assert_eq!(batch.num_rows(), expect + 1);
        prop_assert_eq!(batch["pid"].as_primitive::<Int64Type>().value(expect), 1);
    }
}

#[test]
fn values_of_another_type_are_null_where_that_is_asked_for() {
    let limits = Limits::default();
    let mut decoder = JsonDecoder::new(schema(), limits).expect("types that JSON has").null_wrong_values();
    let records: [&[u8]; 6] = [
        br#"{"host":"a","pid":"seven","share":0.5,"ok":1,"tags":["x",2],"other":[1]}"#,
        br#"{"host":7,"pid":3}"#,
        b"[1]",
        br#"{"pid":1"#,
        br#"{"host":{"deep":[[[]]]},"at":"yesterday"}"#,
        br#"{"host":"b","pid":null,"tags":["y"]}"#,
    ];
    let results: Vec<bool> = decoder.push_all(&records).iter().map(Result::is_ok).collect();
    assert_eq!(results, [true, true, false, false, true, true]);
    let batch = decoder.finish().expect("a batch");
    let host = batch["host"].as_string_view();
    assert_eq!(host.iter().collect::<Vec<_>>(), [Some("a"), None, None, Some("b")]);
    assert_eq!(batch["pid"].as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [None, Some(3), None, None]);
    assert_eq!(batch["share"].null_count(), 3);
    assert_eq!((batch["ok"].null_count(), batch["tags"].null_count(), batch["at"].null_count()), (4, 3, 4));
}

#[test]
fn records_that_nest_deeply_are_refused_whatever_is_in_them() {
    let deep = |levels: usize| format!("{{\"more\":{}{},\"pid\":1}}", "[".repeat(levels), "]".repeat(levels));
    let too_deep = Err(JsonError::TooDeep { max: 128 });
    let decoder = || JsonDecoder::new(schema(), Limits::default()).expect("types that JSON has");
    for mut decoder in [decoder(), decoder().null_wrong_values()] {
        assert_eq!(decoder.push(deep(127).as_bytes()), Ok(()));
        assert_eq!(decoder.push(deep(128).as_bytes()), too_deep);
        assert_eq!(decoder.push(&b"[".repeat(10_000_000)), too_deep);
        assert_eq!(decoder.push(&b"{\"host\":".repeat(1_000_000)), too_deep);
        let text = format!("{{\"host\":\"{}\\\"[\",\"tags\":[{}]}}", "[{".repeat(500), "\"]\",".repeat(200) + "\"\"");
        assert_eq!(decoder.push(text.as_bytes()), Ok(()), "brackets in texts are no levels");
        assert_eq!(decoder.finish().expect("a batch").num_rows(), 2);
    }
}
