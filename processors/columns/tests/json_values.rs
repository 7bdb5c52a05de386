//! JSON of rows: byte for byte what arrow-json writes of them.

use amoskys_columns::{JsonEncoder, json_lines};
use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int8Array, Int64Array, PrimitiveArray, StringArray,
    StringViewArray, UInt64Array,
};
use arrow::datatypes::{
    ArrowTimestampType, Int32Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::{
    array::RecordBatch,
    json::{LineDelimitedWriter, WriterBuilder},
};
use proptest::prelude::*;
use std::sync::Arc;

/// As the crate writes times.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// What arrow-json alone writes.
fn reference(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let builder = WriterBuilder::new().with_timestamp_format(TIME_FORMAT.to_owned());
    let mut writer: LineDelimitedWriter<Vec<u8>> = builder.build(Vec::new());
    writer.write(batch).and_then(|()| writer.finish()).expect("writes");
    let lines = writer.into_inner();
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn check(columns: Vec<(&str, ArrayRef)>) {
    let fields = columns.iter().map(|(name, array)| (*name, array.clone(), true));
    let batch = RecordBatch::try_from_iter_with_nullable(fields).expect("a batch");
    let encoder = JsonEncoder::new(batch.schema()).expect("types that JSON has");
    let text = |rows: &[Vec<u8>]| rows.iter().map(|row| String::from_utf8_lossy(row).into_owned()).collect::<Vec<_>>();
    let expected = reference(&batch);
    assert_eq!(text(&encoder.encode(&batch).expect("encodes")), text(&expected));
    let mut lines = json_lines(Vec::new());
    lines.write(&batch).and_then(|()| lines.finish()).expect("writes");
    assert_eq!(String::from_utf8_lossy(&lines.into_inner()).trim_end(), text(&expected).join("\n"));
}

fn times<T: ArrowTimestampType>(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<PrimitiveArray<T>>())
}

#[test]
fn the_first_and_last_times_and_what_is_beyond() {
    const SECOND_NS: i64 = 1_000_000_000;
    let seconds = [-62_167_219_200, -62_167_219_201, 253_402_300_799, 253_402_300_800, 0, -1, 951_782_400, 951_868_800];
    let all: Vec<Option<i64>> = seconds.into_iter().map(Some).collect();
    for each in &all {
        check(vec![("t", times::<TimestampSecondType>(&[*each, None, *each]))]);
    }
    check(vec![("t", times::<TimestampSecondType>(&all))]);
    let fractions = [0, 1, 10, 1_000, 26_490_000, 500_000_000, 999_999_999];
    let around = fractions.map(|fraction| [Some(1_750_000_000 * SECOND_NS + fraction), Some(-fraction)]);
    check(vec![("t", times::<TimestampNanosecondType>(around.as_flattened()))]);
    check(vec![("t", times::<TimestampNanosecondType>(&[Some(i64::MIN), Some(i64::MAX)]))]);
    let zoned = PrimitiveArray::<TimestampMillisecondType>::from(vec![Some(1_750_000_000_123)]).with_timezone("+02:00");
    check(vec![("t", Arc::new(zoned))]);
}

proptest! {
    #[test]
    fn writes_what_arrow_json_writes(
        rows in prop::collection::vec(
            (any::<Option<i64>>(), any::<Option<u64>>(), any::<Option<i8>>(), any::<Option<f64>>(), any::<Option<bool>>(), any::<Option<String>>()),
            0..30,
        ),
        shift in 0u32..64,
    ) {
        let long: Vec<Option<i64>> = rows.iter().map(|row| row.0.map(|number| number >> shift)).collect();
        let texts: Vec<Option<&str>> = rows.iter().map(|row| row.5.as_deref()).collect();
        check(vec![
            ("long", Arc::new(Int64Array::from(long.clone()))),
            ("sec \"\\\u{1}onds", times::<TimestampSecondType>(&long)),
            ("milliseconds", times::<TimestampMillisecondType>(&long)),
            ("microseconds", times::<TimestampMicrosecondType>(&long)),
            ("nanoseconds", times::<TimestampNanosecondType>(&long)),
            ("unsigned", Arc::new(rows.iter().map(|row| row.1.map(|number| number >> shift)).collect::<UInt64Array>())),
            ("short", Arc::new(rows.iter().map(|row| row.2).collect::<Int8Array>())),
            ("float", Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>())),
            ("truth", Arc::new(rows.iter().map(|row| row.4).collect::<BooleanArray>())),
            ("view", Arc::new(StringViewArray::from(texts.clone()))),
            ("named", Arc::new(texts.iter().copied().collect::<DictionaryArray<Int32Type>>())),
            ("text", Arc::new(StringArray::from(texts))),
        ]);
    }
}
