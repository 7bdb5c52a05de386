//! Arrow IPC records into rows and back: columns by name, values that fit, and refusals that touch only their record.

use amoskys_columns::{ArrowDecoder, ArrowEncoder, IpcError, Limits};
use arrow::{
    array::*,
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::*,
    ipc::writer::{FileWriter, StreamWriter},
};
use proptest::prelude::*;
use std::sync::Arc;

fn schema() -> SchemaRef {
    let item = Field::new_list_field(DataType::Int64, true);
    Arc::new(Schema::new(vec![
        Field::new("host", DataType::Utf8View, false),
        Field::new("pid", DataType::Int32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("sizes", DataType::List(item.into()), true),
    ]))
}

fn decoder() -> ArrowDecoder {
    ArrowDecoder::new(schema(), Limits { record_bytes_max: 10_000, rows_per_record_max: 100, ..Limits::default() })
}

fn record(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let batch = batch.expect("columns");
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("writes");
    writer.write(&batch).expect("writes");
    writer.write(&batch.slice(0, 1)).expect("writes");
    writer.into_inner().expect("whole")
}

fn hosts(texts: &[&str]) -> (&'static str, ArrayRef) {
    ("host", Arc::new(StringArray::from(texts.to_vec())))
}

fn refusal(record: &[u8]) -> IpcError {
    let mut decoder = decoder();
    let error = decoder.push(record).expect_err("refused");
    assert_eq!(decoder.push(&good()), Ok(3));
    assert_eq!((decoder.rows(), decoder.finish().expect("a batch").num_rows()), (3, 3));
    error
}

fn good() -> Vec<u8> {
    record(vec![hosts(&["a", "b"])])
}

#[test]
fn columns_are_found_by_name_and_made_the_declared_ones() {
    let names: ArrayRef = Arc::new(["b", "a", "b"].into_iter().collect::<DictionaryArray<Int8Type>>());
    let at: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(-1)]).with_timezone("UTC"));
    let pids: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2, 3]));
    let mut decoder = decoder();
    let rows = decoder.push(&record(vec![("more", pids.clone()), ("pid", pids), ("at", at), ("host", names)]));
    assert_eq!(rows, Ok(4));
    let batch = decoder.finish().expect("a batch");
    assert_eq!(batch.schema(), schema());
    assert_eq!(batch["host"].as_string_view().iter().flatten().collect::<Vec<_>>(), ["b", "a", "b", "b"]);
    assert_eq!(batch["pid"].as_primitive::<Int32Type>().values(), &[1, 2, 3, 1]);
    let at = batch["at"].as_primitive::<TimestampNanosecondType>();
    assert_eq!(at.iter().collect::<Vec<_>>(), [Some(1_000_000), None, Some(-1_000_000), Some(1_000_000)]);
    assert_eq!(batch["sizes"].null_count(), 4);
    assert_eq!(decoder.finish().expect("a batch").num_rows(), 0);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["7"]));
    let got = refusal(&record(vec![hosts(&["a"]), ("pid", text)]));
    assert_eq!(got.to_string(), "column \"pid\" is Utf8, the stream's is Int32");
    let large: ArrayRef = Arc::new(Int64Array::from(vec![1 << 40]));
    let got = refusal(&record(vec![hosts(&["a"]), ("pid", large)])).to_string();
    assert!(got.starts_with("column \"pid\": ") && got.contains("1099511627776"), "{got}");
    let nulls: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    assert_eq!(refusal(&record(vec![("host", nulls)])), IpcError::Null { column: "host".into() });
    let pid: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    assert_eq!(refusal(&record(vec![("pid", pid)])), IpcError::Null { column: "host".into() });
}

#[test]
fn bounds_and_bytes_that_are_none_are_refused() {
    let many = record(vec![hosts(&["x"; 100])]);
    assert_eq!(refusal(&many), IpcError::TooManyRows { max: 100 });
    assert_eq!(refusal(&vec![0; 10_001]), IpcError::TooLarge { bytes: 10_001, max: 10_000 });
    assert!(refusal(&many).is_limit() && !refusal(b"x").is_limit());
    assert_eq!(refusal(b""), IpcError::Truncated);
    // A file has a magic in front, which is no length of a message.
    let batch = RecordBatch::try_from_iter([hosts(&["a"])]).expect("columns");
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("writes");
    writer.write(&batch).expect("writes");
    assert!(decoder().push(&writer.into_inner().expect("whole")).is_err());
}

#[test]
fn a_record_that_is_cut_anywhere_gives_no_rows_or_whole_batches() {
    let whole = good();
    for length in 0..whole.len() {
        let mut decoder = decoder();
        // At the end of a message the stream could be over.
        let rows = decoder.push(&whole[..length]).unwrap_or(0);
        assert!([0, 2, 3].contains(&rows), "{rows} rows of the first {length} bytes");
        assert_eq!(decoder.finish().expect("a batch").num_rows(), rows);
    }
}

#[test]
fn rows_become_records_that_read_back() {
    let mut decoder = decoder();
    let pids: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    decoder.push(&record(vec![hosts(&["a", "b"]), ("pid", pids)])).expect("good");
    let batch = decoder.finish().expect("a batch");
    let records = ArrowEncoder::new(schema()).expect("types that Arrow has").encode(&batch).expect("encodes");
    assert_eq!(records.len(), 3);
    for record in &records {
        assert_eq!(decoder.push(record), Ok(1));
    }
    assert_eq!(decoder.finish().expect("a batch"), batch);
}

/// What stands below a null, and beside the rows that are written, is nobody's.
#[test]
fn equal_rows_together_are_equal_bytes() {
    let schema = schema();
    let encoder = ArrowEncoder::new(schema.clone()).expect("types that Arrow has");
    let batch =
        |hosts: [&str; 4], pids: PrimitiveArray<Int32Type>, at: PrimitiveArray<TimestampNanosecondType>, below: i64| {
            // The second list is null, the third has a null in it.
            let items = PrimitiveArray::<Int64Type>::new(
                vec![1, 2, below, 3, below, 4].into(),
                Some(NullBuffer::from(vec![true, true, true, true, false, true])),
            );
            let sizes = ListArray::new(
                Arc::new(Field::new_list_field(DataType::Int64, true)),
                OffsetBuffer::from_lengths([2, 1, 2, 1]),
                Arc::new(items),
                Some(NullBuffer::from(vec![true, false, true, true])),
            );
            let hosts: StringViewArray = hosts.into_iter().map(Some).collect();
            let columns: Vec<ArrayRef> = vec![Arc::new(hosts), Arc::new(pids), Arc::new(at), Arc::new(sizes)];
            RecordBatch::try_new(schema.clone(), columns).expect("columns")
        };
    let nulls = |of: [bool; 4]| Some(NullBuffer::from(of.to_vec()));
    let one = batch(
        ["a", "b", "a longer name than twelve", "d"],
        PrimitiveArray::new(vec![1, 99, 3, 4].into(), nulls([true, false, true, true])),
        PrimitiveArray::new(vec![5, 6, 7, 8].into(), None),
        77,
    );
    let other = batch(
        ["x", "b", "a longer name than twelve", "y"],
        PrimitiveArray::new(vec![0, -7, 3, 0].into(), nulls([false, false, true, false])),
        PrimitiveArray::new(vec![0, 6, 7, 0].into(), nulls([true; 4])),
        0,
    );
    let rows = UInt32Array::from(vec![2, 1]);
    let (record, same) = (encoder.encode_together(&one, &rows), encoder.encode_together(&other, &rows));
    let record = record.expect("encodes");
    assert_eq!(record, same.expect("encodes"));
    let mut decoder = decoder();
    assert_eq!(decoder.push(&record), Ok(2));
    let back = decoder.finish().expect("rows");
    assert_eq!((back.slice(0, 1), back.slice(1, 1)), (one.slice(2, 1), one.slice(1, 1)));
}

/// A record has its own row's bytes and nobody else's.
#[test]
fn a_record_holds_one_row() {
    let texts: ArrayRef =
        Arc::new((0..500).map(|row| Some(format!("a text of row {row:04}"))).collect::<StringViewArray>());
    let kinds: ArrayRef =
        Arc::new((0..500).map(|row| if row % 2 == 0 { "even" } else { "odd!" }).collect::<DictionaryArray<Int8Type>>());
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    (0..500).for_each(|row| lists.append_value([Some(format!("an item of row {row:04}"))]));
    let lists: ArrayRef = Arc::new(lists.finish());
    let batch = RecordBatch::try_from_iter([("text", texts), ("kind", kinds), ("list", lists)]).expect("columns");
    let records = ArrowEncoder::new(batch.schema()).expect("types that Arrow has").encode(&batch).expect("encodes");
    let holds = |record: &[u8], text: &str| record.windows(text.len()).any(|part| part == text.as_bytes());
    for (row, record) in records.iter().enumerate() {
        assert!(record.len() < 1500, "{} bytes", record.len());
        assert!(
            holds(record, &format!("a text of row {row:04}")) && holds(record, &format!("an item of row {row:04}"))
        );
        assert!(!holds(record, &format!("row {:04}", (row + 1) % 500)), "{row}");
    }
    let mut decoder = ArrowDecoder::new(batch.schema(), Limits::default());
    records.iter().for_each(|record| assert_eq!(decoder.push(record), Ok(1)));
    let back = decoder.finish().expect("a batch");
    let printed = |batch| arrow::util::pretty::pretty_format_batches(&[batch]).expect("prints").to_string();
    assert_eq!(printed(back), printed(batch));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    /// Nothing that a sender may do ends the reader or touches the next record.
    #[test]
    fn bytes_that_were_changed_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = good();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut decoder = decoder();
        let rows = decoder.push(&bytes).unwrap_or(0);
        prop_assert_eq!(decoder.push(&good()), Ok(3));
        prop_assert_eq!(decoder.finish().expect("a batch").num_rows(), rows + 3);
    }
}
