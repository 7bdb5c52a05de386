//! What a decoder promises, one example each: order, defaults, nulls, merging, refusals and what they leave behind.

mod support;

use amoskys_columns::{Decoder, Layout, LayoutError, Limits, What, message_schema};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::*;
use arrow::util::pretty::pretty_format_batches;
use prost_reflect::DynamicMessage;
use support::{put_bytes, put_key, put_varint, rich};

fn number(field: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_key(field, 0, &mut out);
    put_varint(value, false, &mut out);
    out
}

fn bytes(field: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_key(field, 2, &mut out);
    put_bytes(value, false, &mut out);
    out
}

fn decoder(message: &str, columns: &[&str]) -> Decoder {
    Decoder::new(Layout::new(&rich(message), columns).expect("a layout"), Limits::default())
}

/// Decodes records that must all be good.
fn decode(columns: &[&str], records: &[Vec<u8>]) -> RecordBatch {
    let mut decoder = decoder("Rich", columns);
    records.iter().for_each(|record| assert_eq!(decoder.push(record), Ok(1)));
    decoder.finish().expect("a batch")
}

#[track_caller]
fn check(columns: &[&str], records: &[Vec<u8>], expect: &str) {
    let table = pretty_format_batches(&[decode(columns, records)]).expect("a table").to_string();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).skip(1).map(str::trim).collect();
    let expect: Vec<&str> = expect.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        rows.iter().map(|r| squeeze(r)).collect::<Vec<_>>(),
        expect.iter().map(|r| squeeze(r)).collect::<Vec<_>>()
    );
}

#[track_caller]
fn refused(record: &[u8], expect: &str) {
    let columns = support::all_columns(&rich("Rich"));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut decoder = decoder("Rich", &columns);
    assert_eq!(decoder.push(record).expect_err("refused").to_string(), expect);
    assert_eq!(decoder.rows(), 0);
}

#[test]
fn columns_come_in_the_order_asked_for() {
    let batch = decode(&["s64", "str", "b"], &[[bytes(7, b"x"), number(6, 1), number(9, 3)].concat()]);
    let names: Vec<String> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["s64", "str", "b"]);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), -2);
    assert_eq!(batch.column(1).as_string_view().value(0), "x");
}

#[test]
fn absent_fields_are_defaults_or_null() {
    check(
        &["b", "str", "colour", "s64", "o_b", "o_str", "o_colour", "w_str", "time", "r_b", "features", "c_int"],
        &[vec![], [bytes(22, &[]), number(2, 0), bytes(3, b"")].concat()],
        "| false | | COLOUR_UNSPECIFIED | 0 | | | | | | [] | {} | |
         | false | | COLOUR_UNSPECIFIED | 0 | false | | | | | [] | {} | |",
    );
    let batch = decode(&["o_str", "w_str"], &[vec![], [bytes(22, &[]), bytes(3, b"")].concat()]);
    assert!(batch.column(0).is_null(0) && batch.column(0).is_valid(1));
    assert!(batch.column(1).is_null(0) && batch.column(1).is_valid(1));
}

#[test]
fn everything_in_an_absent_message_is_null() {
    let batch = decode(&["leafs"], &[vec![], bytes(1, &number(2, 5))]);
    let leafs = batch.column(0).as_struct();
    assert!(leafs.is_null(0));
    for column in leafs.columns() {
        assert!(column.is_null(0) && column.is_valid(1));
    }
}

#[test]
fn the_last_of_several_values_counts_and_messages_merge() {
    check(&["s64", "str"], &[[number(9, 2), bytes(7, b"a"), number(9, 4), bytes(7, b"b")].concat()], "| 2 | b |");
    check(
        &["time"],
        &[[bytes(20, &number(1, 10)), bytes(20, &number(2, 5)), bytes(20, &[])].concat()],
        "| 1970-01-01T00:00:10.000000005 |",
    );
    let (first, second) = ([bytes(1, b"a"), number(2, 1)].concat(), number(2, 2));
    let batch = decode(&["inner"], &[[bytes(19, &first), bytes(19, &second)].concat()]);
    let inner = batch.column(0).as_struct();
    assert_eq!(inner.column(0).as_string_view().value(0), "a");
    assert_eq!(inner.column(1).as_list::<i32>().value(0).as_primitive::<Int32Type>().values(), &[1, 2]);
}

#[test]
fn a_member_of_a_oneof_unsets_the_others() {
    let inner = bytes(32, &[bytes(1, b"name"), number(2, 7)].concat());
    check(&["c_int", "c_str"], &[[number(30, 1), bytes(31, b"x")].concat()], "| | x |");
    check(&["c_int", "c_str"], &[[bytes(31, b"x"), number(30, 1)].concat()], "| 1 | |");
    let batch = decode(&["c_inner", "c_int"], &[[inner.clone(), number(30, 1), bytes(32, &[])].concat()]);
    let back = batch.column(0).as_struct();
    assert!(back.is_valid(0) && batch.column(1).is_null(0));
    assert_eq!(back.column(0).as_string_view().value(0), "", "the first occurrence is forgotten");
    assert!(back.column(1).as_list::<i32>().value(0).is_empty());
    // One that is not a column counts too.
    assert!(decode(&["c_inner"], &[[inner, number(30, 1)].concat()]).column(0).is_null(0));
}

#[test]
fn of_equal_map_keys_the_last_counts() {
    let entry = |key: &str, value: u64| bytes(28, &[bytes(1, key.as_bytes()), number(2, value)].concat());
    let long = "a key of more than twelve bytes";
    check(
        &["m_colour"],
        &[[entry("a", 1), entry(long, 1), entry("b", 1), entry("a", 2), entry(long, 0)].concat(), entry("a", 1)],
        "| {b: RED, a: COLOUR_OF_A_LONG_NAME, a key of more than twelve bytes: COLOUR_UNSPECIFIED} |
         | {a: RED} |",
    );
}

#[test]
fn enums_are_names_or_numbers() {
    let numbers = [1u64, 2, 70000, (-5i64).cast_unsigned(), 3, (-6i64).cast_unsigned()];
    let records: Vec<Vec<u8>> = numbers.iter().map(|n| number(8, *n)).collect();
    check(
        &["colour"],
        &records,
        "| RED |
        | COLOUR_OF_A_LONG_NAME |
        | FAR |
        | NEGATIVE |
        | 3 |
        | -6 |",
    );
}

#[test]
fn times_before_1970_and_out_of_range() {
    let time = |seconds: i64, nanos: u64| [number(1, seconds.cast_unsigned()), number(2, nanos)].concat();
    check(&["time"], &[bytes(20, &time(-1, 500_000_000))], "| 1969-12-31T23:59:59.500 |");
    let last = bytes(20, &time(9_223_372_036, 854_775_807));
    let batch = decode(&["time"], &[last]);
    assert_eq!(batch.column(0).as_primitive::<TimestampNanosecondType>().value(0), i64::MAX);
    refused(
        &bytes(20, &time(9_223_372_036, 854_775_808)),
        "field time: a time of 9223372036 s and 854775808 ns does not fit into 64 bits of nanoseconds at byte 3",
    );
}

#[test]
fn refusals_say_where_and_what() {
    refused(&[0x3a, 5, b'a'], "field str: a length of 5 bytes where 1 are left at byte 1");
    refused(&[0x3a, 1, 0xff], "field str: a string is not UTF-8 at byte 2");
    refused(&bytes(7, &[&[b'a'; 40][..], &[0xc3]].concat()), "field str: a string is not UTF-8 at byte 2");
    refused(&[0x48], "field s64: the record ends in the middle of a value at byte 1");
    refused(&[&[0x48][..], &[0xff; 10]].concat(), "field s64: a varint is longer than 64 bits at byte 1");
    refused(&[&[0x48][..], &[0xff; 9], &[2]].concat(), "field s64: a varint is longer than 64 bits at byte 1");
    refused(&[0x4a, 0], "field s64: wire type is LengthDelimited, the schema says Varint at byte 1");
    refused(&[0, 0], "0 is not a field key at byte 0");
    refused(&[0x0f], "field leafs: 15 is not a field key at byte 1");
    refused(&[0x94, 0x03], "the end of a group that was not begun at byte 2");
    refused(&bytes(16, &bytes(7, &bytes(2, &[0xff]))), "field r_inner.small.tags: a string is not UTF-8 at byte 7");
    refused(
        &bytes(20, &[0x0d, 0, 0, 0, 0]),
        "field time.seconds: wire type is ThirtyTwoBit, the schema says Varint at byte 3",
    );
    let deep = [0x93u8, 0x03].repeat(101);
    refused(&deep, "groups nest deeper than 100 levels at byte 200");
}

#[test]
fn a_refused_record_leaves_nothing_behind() {
    let good = [
        number(6, 1),
        bytes(7, b"a string of more than twelve bytes"),
        number(11, 4),
        bytes(25, &bytes(1, b"k")),
        bytes(16, &[bytes(1, b"another string, also long"), number(2, 1)].concat()),
        number(30, 7),
        bytes(20, &number(1, 1)),
    ]
    .concat();
    let columns = support::all_columns(&rich("Rich"));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let (mut spoilt, mut clean) = (decoder("Rich", &columns), decoder("Rich", &columns));
    for _ in 0..3 {
        for cut in 0..good.len() {
            let bad = [&good[..], &[0x3a, 0x05]].concat();
            spoilt.push(&bad).expect_err("refused");
            // Some beginnings are messages themselves.
            assert_eq!(spoilt.push(&good[..cut]).is_ok(), clean.push(&good[..cut]).is_ok());
        }
        spoilt.push(&good).expect("good");
        clean.push(&good).expect("good");
        spoilt.push(&[]).expect("empty, so all defaults");
        clean.push(&[]).expect("empty, so all defaults");
    }
    assert_eq!(spoilt.finish().expect("a batch"), clean.finish().expect("a batch"));
    assert_eq!(spoilt.rows(), 0);
}

#[test]
fn repeated_map_keys_of_a_refused_record_are_forgotten() {
    let entry = |key: &[u8], value: u64| bytes(28, &[bytes(1, key), number(2, value)].concat());
    let event = |body: &[u8]| bytes(2, body);
    let mut decoder =
        Decoder::new(Layout::batch(&rich("RichBatch"), &["m_colour"]).expect("a layout"), Limits::default());
    let twice = event(&[entry(b"a", 1), entry(b"a", 2)].concat());
    decoder.push(&[twice.clone(), event(&[0xff])].concat()).expect_err("refused");
    assert_eq!(decoder.push(&[event(&[entry(b"b", 1), entry(b"c", 2)].concat()), twice].concat()), Ok(2));
    let table = pretty_format_batches(&[decoder.finish().expect("a batch")]).expect("a table").to_string();
    assert!(table.contains("{b: RED, c: COLOUR_OF_A_LONG_NAME}"), "{table}");
    assert!(table.contains("{a: COLOUR_OF_A_LONG_NAME}"), "{table}");
}

#[test]
fn a_batch_message_gives_a_row_for_each_event_or_none() {
    let mut decoder = Decoder::new(Layout::batch(&rich("RichBatch"), &["str"]).expect("a layout"), Limits::default());
    let event = |text: &[u8]| bytes(2, &bytes(7, text));
    assert_eq!(decoder.push(&[bytes(1, b"note"), event(b"a"), bytes(3, &[0xff]), event(b"b")].concat()), Ok(2));
    assert_eq!(decoder.push(&[]), Ok(0));
    let error = decoder.push(&[event(b"c"), event(&[0xff])].concat()).expect_err("refused");
    assert_eq!(error.to_string(), "field events.str: a string is not UTF-8 at byte 9");
    assert_eq!(decoder.push(&event(b"d")), Ok(1));
    let batch = decoder.finish().expect("a batch");
    let texts: Vec<&str> = batch.column(0).as_string_view().iter().flatten().collect();
    assert_eq!(texts, ["a", "b", "d"]);
    assert_eq!(decoder.push(&number(1, 1)).expect_err("refused").path, "note");
}

#[test]
fn a_message_ends_where_its_length_says() {
    let (batch, event) = (rich("RichBatch"), rich("Rich"));
    let columns = support::all_columns(&event);
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut decoder = Decoder::new(Layout::batch(&batch, &columns).expect("a layout"), Limits::default());
    let inner =
        [bytes(1, b"name"), number(2, 300), bytes(4, &[number(1, 1 << 30), number(2, 1 << 20)].concat())].concat();
    let leafs = [number(2, 1 << 20), number(9, u64::MAX), bytes(14, &[b'x'; 20])].concat();
    let good = [
        number(9, 1 << 40),
        bytes(7, b"short"),
        bytes(7, &[b'x'; 20]),
        number(8, 70_000),
        number(2, 1),
        bytes(19, &inner),
        bytes(1, &leafs),
        bytes(20, &[number(1, 1 << 30), number(2, 1 << 20)].concat()),
        bytes(50, b"unknown"),
        number(51, 1 << 40),
        bytes(10, &[1, 0, 1]),
        bytes(7, b"the end"),
    ]
    .concat();
    assert_eq!(decoder.push(&bytes(2, &good)), Ok(1));
    // What follows would do as the missing rest.
    let rest = bytes(2, &good).repeat(3);
    for cut in 0..good.len() {
        let record = [bytes(2, &good[..cut]), rest.clone()].concat();
        let theirs = DynamicMessage::decode(batch.clone(), &record[..]);
        assert_eq!(decoder.push(&record).is_ok(), theirs.is_ok(), "cut at {cut}");
    }
    for (at, short) in [(1, &inner), (2, &leafs)] {
        for cut in 0..short.len() {
            let field = if at == 1 { 19 } else { 1 };
            let record = bytes(2, &[bytes(field, &short[..cut]), good.clone()].concat());
            let theirs = DynamicMessage::decode(batch.clone(), &record[..]);
            assert_eq!(decoder.push(&record).is_ok(), theirs.is_ok(), "field {field} cut at {cut}");
        }
    }
}

#[test]
fn no_columns_still_count_rows() {
    let mut decoder = Decoder::new(Layout::batch(&rich("RichBatch"), &[]).expect("a layout"), Limits::default());
    assert_eq!(decoder.push(&bytes(2, &[]).repeat(700)), Ok(700));
    assert_eq!(decoder.finish().expect("a batch").num_rows(), 700);
}

#[test]
fn many_rows_in_many_batches() {
    let mut decoder = decoder("Rich", &["str", "r_str", "colour"]);
    for _ in 0..3 {
        for row in 0..2000u64 {
            let text = format!("row number {row} of this batch");
            let tags = bytes(13, text.as_bytes()).repeat(row as usize % 4);
            decoder.push(&[bytes(7, text.as_bytes()), tags, number(8, row % 3)].concat()).expect("good");
        }
        let batch = decoder.finish().expect("a batch");
        assert_eq!(batch.num_rows(), 2000);
        for row in 0..2000 {
            let text = format!("row number {row} of this batch");
            assert_eq!(batch.column(0).as_string_view().value(row), text);
            let tags = batch.column(1).as_list::<i32>().value(row);
            assert_eq!(tags.as_string_view().iter().flatten().collect::<Vec<_>>(), vec![&text; row % 4]);
        }
        batch.columns().iter().for_each(|column| column.to_data().validate_full().expect("valid Arrow data"));
    }
}

#[test]
fn limits_are_kept() {
    let limits =
        Limits { record_bytes_max: 100, rows_per_record_max: 3, elements_per_record_max: 4, group_depth_max: 2 };
    let mut batch = Decoder::new(Layout::batch(&rich("RichBatch"), &["r_b"]).expect("a layout"), limits);
    let mut what = |record: &[u8]| {
        let error = batch.push(record).expect_err("refused");
        assert!(error.is_limit());
        error.what
    };
    assert_eq!(what(&[0; 101]), What::TooLarge { bytes: 101, max: 100 });
    assert_eq!(what(&bytes(2, &[]).repeat(4)), What::TooManyRows { max: 3 });
    assert_eq!(what(&bytes(2, &bytes(10, &[1, 1, 1])).repeat(2)), What::TooManyElements { max: 4 });
    assert_eq!(batch.push(&bytes(2, &bytes(10, &[1, 1])).repeat(2)), Ok(2));
    assert_eq!(batch.push(&bytes(2, &bytes(10, &[1, 1])).repeat(2)), Ok(2), "counted anew for each record");
}

#[test]
fn layouts_that_cannot_be() {
    let refusal =
        |message: &str, columns: &[&str]| Layout::new(&rich(message), columns).expect_err("refused").to_string();
    assert_eq!(refusal("Small", &["x", "y"]), "test.Small has no field \"y\" (it has: x, tags)");
    assert_eq!(refusal("Small", &["x", "x"]), "column \"x\" is asked for twice");
    assert_eq!(
        refusal("HoldsItself", &["tree"]),
        "column \"tree\" holds its own type again (test.Tree → test.Forest → test.Tree); a recursive message cannot be a column"
    );
    assert!(matches!(Layout::new(&rich("HoldsItself"), &["any"]), Err(LayoutError::Recursive { .. })));
    assert!(matches!(Layout::batch(&rich("Small"), &[]), Err(LayoutError::NotABatch { .. })));
    let schema = message_schema(&rich("HoldsItself")).expect("a schema");
    assert_eq!(schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["name"]);
    // What cannot be a column is stepped over.
    let mut decoder = decoder("HoldsItself", &["name"]);
    assert_eq!(decoder.push(&[bytes(2, b"anything"), bytes(3, b"\x08\x01"), bytes(1, b"n")].concat()), Ok(1));
}

#[test]
fn types_are_as_documented() {
    let schema = message_schema(&rich("Leafs")).expect("a schema");
    let types: Vec<String> = schema.fields().iter().map(|f| format!("{}", f.data_type())).collect();
    assert_eq!(
        types.join(" "),
        "Boolean Int32 Int32 UInt32 UInt32 Int32 Int64 Int64 UInt64 UInt64 Int64 Float32 Float64 Utf8View BinaryView Utf8View"
    );
    assert!(schema.fields().iter().all(|f| !f.is_nullable()));
    let schema = message_schema(&rich("Rich")).expect("a schema");
    let column = |name: &str| schema.field_with_name(name).expect("a column").clone();
    for (name, data_type, nullable) in [
        ("o_b", DataType::Boolean, true),
        ("time", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        ("duration", DataType::Duration(TimeUnit::Nanosecond), true),
        ("w_str", DataType::Utf8View, true),
        ("w_dbl", DataType::Float64, true),
        ("c_int", DataType::Int32, true),
        ("r_wrapped", DataType::List(Field::new("item", DataType::Int64, false).into()), false),
    ] {
        assert_eq!((column(name).data_type(), column(name).is_nullable()), (&data_type, nullable), "{name}");
    }
    assert!(matches!(column("features").data_type(), DataType::Map(..)));
    assert!(matches!(column("inner").data_type(), DataType::Struct(_)));
}
