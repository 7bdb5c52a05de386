//! Group keys of every type that DataFusion can group by, in windows: what DataFusion makes of the rows of each window,
//! and the same bits after restarts that went on with keys read back from the topic of panes.

mod common;

use common::raw::View;
use std::panic::catch_unwind;

/// Nested, exact, inexact, temporal, binary, encoded; with nulls, or nothing but nulls.
const KEYS: [&str; 40] = [
    "w",
    "n",
    "b",
    "v",
    "t",
    "NULL",
    "CAST(NULL AS BIGINT)",
    "CAST(t AS DATE)",
    "arrow_cast(t, 'Date64')",
    "arrow_cast(t, 'Timestamp(Second, Some(\"+02:00\"))')",
    "arrow_cast(t, 'Time64(Nanosecond)')",
    "arrow_cast(arrow_cast(t, 'Time64(Nanosecond)'), 'Time32(Second)')",
    "arrow_cast(n % 3, 'Duration(Second)')",
    "CASE n % 3 WHEN 0 THEN INTERVAL '1 month' WHEN 1 THEN INTERVAL '1 day' ELSE INTERVAL '2 hours' END",
    "arrow_cast(n, 'Int8')",
    "arrow_cast(n, 'UInt16')",
    "arrow_cast(n, 'UInt64')",
    "arrow_cast(v, 'Float16')",
    "CAST(v AS REAL)",
    "CASE n % 4 WHEN 0 THEN 0.0 WHEN 1 THEN -0.0 WHEN 2 THEN CAST('NaN' AS DOUBLE) ELSE CAST('-inf' AS DOUBLE) END",
    "arrow_cast(v, 'Decimal128(20, 4)')",
    "arrow_cast(v, 'Decimal256(50, 6)')",
    "arrow_cast(w, 'LargeUtf8')",
    "arrow_cast(w, 'Utf8View')",
    "arrow_cast(w, 'Binary')",
    "arrow_cast(w, 'LargeBinary')",
    "arrow_cast(w, 'BinaryView')",
    "arrow_cast(arrow_cast(lpad(CAST(n AS VARCHAR), 4, '0'), 'Binary'), 'FixedSizeBinary(4)')",
    "arrow_cast(w, 'Dictionary(Int32, Utf8)')",
    "make_array(n % 2, n % 3)",
    "make_array(w, NULL)",
    "make_array(make_array(n % 2), make_array(n % 3, NULL))",
    "arrow_cast(make_array(n % 2), 'LargeList(Int64)')",
    "arrow_cast(make_array(n % 2, n % 3), 'FixedSizeList(2, Int64)')",
    "named_struct('number', n % 3, 'text', w)",
    "named_struct('inner', named_struct('list', make_array(w), 'truth', b))",
    "CASE WHEN b THEN named_struct('number', n % 3) END",
    "map(make_array(k), make_array(n % 2))",
    "coalesce(w, 'none')",
    "nvl2(n, 'some', 'none')",
];

#[test]
fn groups_are_datafusions_whatever_the_keys_type() {
    let failed: Vec<&str> = KEYS.into_iter().filter(|key| catch_unwind(|| check(key)).is_err()).collect();
    assert!(failed.is_empty(), "keys that are not as they should be, see above: {failed:#?}");
}

fn check(key: &str) {
    let view = View { key, aggregates: &["count(*)", "sum(v)", "max(id)"] };
    let dataflow = view.plan().unwrap_or_else(|problems| panic!("{key}: {problems}"));
    let expected = view.by_datafusion().unwrap_or_else(|error| panic!("{key}: {error}"));
    assert!(expected.len() >= 20, "{key}: only {} groups", expected.len());
    assert_eq!(view.by_the_engine(&dataflow), expected, "{key}");
}
