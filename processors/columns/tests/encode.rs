//! Rows into protobuf messages and back, and what is refused when planning and when encoding.

mod support;

use std::sync::Arc;

use amoskys_columns::{Decoder, EncodeError, Layout, Limits, ProtobufEncoder};
use amoskys_proto::v1::{Alert, DeadLetter};
use arrow::array::*;
use arrow::datatypes::*;
use proptest::prelude::*;
use prost::Message;
use prost_reflect::DynamicMessage;
use support::{Chance, all_columns, assert_row, decoder, rich, wire};

fn contract(name: &str) -> prost_reflect::MessageDescriptor {
    let pool = amoskys_proto::pool().expect("the contract");
    pool.get_message_by_name(&format!("amoskys.v1.{name}")).expect("a message of the contract")
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
}

fn alerts(columns: Vec<(&str, ArrayRef)>) -> Vec<Alert> {
    let batch = batch(columns);
    let encoder = ProtobufEncoder::new(batch.schema(), &contract("Alert")).expect("columns that fit");
    let records = encoder.encode(&batch).expect("rows that fit");
    records.iter().map(|record| Alert::decode(&record[..]).expect("an alert")).collect()
}

#[track_caller]
fn refused(message: &str, columns: Vec<(&str, ArrayRef)>, expect: &[&str]) {
    let error = ProtobufEncoder::new(batch(columns).schema(), &contract(message)).expect_err("refused").to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), expect.len(), "{error}");
    for (line, expect) in lines.iter().zip(expect) {
        assert!(line.starts_with(expect), "{line}\n{expect}");
    }
}

#[test]
fn columns_go_into_the_fields_of_their_name() {
    let time = TimestampMillisecondArray::from(vec![Some(-1), None]).with_timezone("+02:00");
    let found = alerts(vec![
        ("confidence", Arc::new(Float32Array::from(vec![0.5, 0.0]))),
        ("detection", Arc::new(StringArray::from(vec!["ptrace", "other"]))),
        ("time", Arc::new(time)),
        ("severity", Arc::new(StringViewArray::from(vec![None, Some("HIGH")]))),
    ]);
    assert_eq!((found[0].detection.as_str(), found[0].confidence, found[0].severity.as_str()), ("ptrace", 0.5, ""));
    assert_eq!(
        found[0].time.as_ref().map(|t| (t.seconds, t.nanos)),
        Some((-1, 999_000_000)),
        "the instant, not local time"
    );
    assert_eq!((found[1].severity.as_str(), &found[1].time), ("HIGH", &None));
}

#[test]
fn numbers_without_a_field_become_features() {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    map.keys().append_value("given");
    map.values().append_value(9.0);
    map.append(true).expect("an entry");
    map.append(true).expect("no entry");
    let found = alerts(vec![
        ("events", Arc::new(Int64Array::from(vec![Some(7), None]))),
        ("detection", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("is_root", Arc::new(BooleanArray::from(vec![true, false]))),
        ("share", Arc::new(Decimal128Array::from(vec![125, 0]).with_precision_and_scale(5, 2).expect("a decimal"))),
        ("features", Arc::new(map.finish())),
        ("nothing", Arc::new(NullArray::new(2))),
    ]);
    let features = |alert: &Alert| alert.features.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
    assert_eq!(features(&found[0]), "events=7 given=9 is_root=1 share=1.25");
    assert_eq!(features(&found[1]), "is_root=0 share=0");
}

#[test]
fn nested_rows_and_lists_are_messages() {
    let evidence = StructArray::from(vec![
        (Arc::new(Field::new("topic", DataType::Utf8, false)), Arc::new(StringArray::from(vec!["t", "u"])) as ArrayRef),
        (
            Arc::new(Field::new("partition", DataType::Int32, false)),
            Arc::new(Int32Array::from(vec![-1, 3])) as ArrayRef,
        ),
    ]);
    let item = Arc::new(Field::new("item", evidence.data_type().clone(), false));
    let offsets = arrow::buffer::OffsetBuffer::new(vec![0, 2, 2].into());
    let evidence = ListArray::new(item, offsets, Arc::new(evidence), None);
    let provenance = StructArray::from(vec![(
        Arc::new(Field::new("evidence", evidence.data_type().clone(), false)),
        Arc::new(evidence) as ArrayRef,
    )]);
    let found = alerts(vec![("provenance", Arc::new(provenance))]);
    let evidence = &found[0].provenance.as_ref().expect("given").evidence;
    assert_eq!(evidence.iter().map(|e| (e.topic.as_str(), e.partition)).collect::<Vec<_>>(), [("t", -1), ("u", 3)]);
    assert!(found[1].provenance.as_ref().expect("given, if empty").evidence.is_empty());
}

#[test]
fn all_that_does_not_fit_is_told_at_once() {
    refused(
        "Alert",
        vec![
            ("time", Arc::new(StringArray::from(vec!["2026-01-01"]))),
            ("titel", Arc::new(StringArray::from(vec!["x"]))),
            ("confidence", Arc::new(Int64Array::from(vec![1]))),
            ("features", Arc::new(Float64Array::from(vec![1.0]))),
            ("detection", Arc::new(StringArray::from(vec!["fine"]))),
        ],
        &[
            "column \"time\" is Utf8, field amoskys.v1.Alert.time is google.protobuf.Timestamp",
            "column \"titel\" (Utf8) is no field of amoskys.v1.Alert (it has: detection,",
            "column \"confidence\" is Int64, field amoskys.v1.Alert.confidence is double",
            "column \"features\" is Float64, field amoskys.v1.Alert.features is a map",
        ],
    );
    refused(
        "DeadLetter",
        vec![("offset", Arc::new(UInt64Array::from(vec![1]))), ("count", Arc::new(Int64Array::from(vec![1])))],
        &[
            "column \"offset\" is UInt64, field amoskys.v1.DeadLetter.offset is int64",
            "column \"count\" (Int64) is no field",
        ],
    );
}

#[test]
fn enums_go_by_name() {
    let encode = |name: &str| {
        let batch = batch(vec![("reason", Arc::new(StringArray::from(vec![name])))]);
        let encoder = ProtobufEncoder::new(batch.schema(), &contract("DeadLetter")).expect("text fits an enum");
        encoder.encode(&batch).map(|records| DeadLetter::decode(&records[0][..]).expect("a dead letter").reason)
    };
    assert_eq!(encode("DEAD_LETTER_REASON_UNSIGNED").expect("a name"), 3);
    assert_eq!(encode("77").expect("a number, as decoding gives for a value without name"), 77);
    let error = encode("NO_SUCH").expect_err("refused");
    assert_eq!(
        error.to_string(),
        "column \"reason\", row 0: \"NO_SUCH\" is no value of enum amoskys.v1.DeadLetterReason"
    );
}

#[test]
fn a_null_in_a_list_is_refused() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), Some(vec![Some(2), None])]);
    let batch = batch(vec![("numbers", Arc::new(list))]);
    let encoder = ProtobufEncoder::new(batch.schema(), &rich("Inner")).expect("it fits but for the null");
    let error = encoder.encode(&batch).expect_err("refused");
    assert!(matches!(error, EncodeError::NullElement { row: 1, .. }), "{error}");
}

#[test]
fn another_batch_is_refused() {
    let one = batch(vec![("x", Arc::new(Int32Array::from(vec![1])))]);
    let other = batch(vec![("x", Arc::new(Int16Array::from(vec![1])))]);
    let encoder = ProtobufEncoder::new(one.schema(), &rich("Small")).expect("it fits");
    assert!(matches!(encoder.encode(&other), Err(EncodeError::OtherSchema)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// What was decoded and encoded decodes to the same columns, and prost-reflect reads it the same.
    #[test]
    fn encoding_is_the_inverse_of_decoding(chances in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..5)) {
        let message = rich("Rich");
        let mut decoder = decoder(&message, Limits::default());
        for chance in &chances {
            let _ = decoder.push(&wire(&message, &mut Chance(chance), 4));
        }
        let batch = decoder.finish().expect("a batch");
        let encoder = ProtobufEncoder::new(batch.schema(), &message).expect("its own columns fit");
        let records = encoder.encode(&batch).expect("its own rows fit");
        prop_assert_eq!(records.len(), batch.num_rows());
        for (row, record) in records.iter().enumerate() {
            prop_assert_eq!(decoder.push(record), Ok(1));
            let read = DynamicMessage::decode(message.clone(), &record[..]).expect("a message");
            assert_row(&batch, row, &read);
        }
        prop_assert_eq!(decoder.finish().expect("a batch"), batch);
    }

    /// Equal rows are equal bytes, as prost writes them.
    #[test]
    fn bytes_are_those_of_prost(detection in ".{0,20}", confidence in any::<f64>(), seconds in -9_000_000_000i64..9_000_000_000, key in "[a-z]{1,9}") {
        let alert = Alert {
            detection,
            confidence,
            time: Some(prost_time(seconds)),
            features: [(key, confidence)].into(),
            ..Alert::default()
        };
        let record = alert.encode_to_vec();
        let message = contract("Alert");
        let columns = all_columns(&message);
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut decoder = Decoder::new(Layout::new(&message, &columns).expect("a layout"), Limits::default());
        prop_assert_eq!(decoder.push(&record), Ok(1));
        let batch = decoder.finish().expect("a batch");
        let encoder = ProtobufEncoder::new(batch.schema(), &message).expect("its own columns fit");
        prop_assert_eq!(encoder.encode(&batch).expect("rows"), vec![record]);
    }
}

fn prost_time(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 5 }
}
