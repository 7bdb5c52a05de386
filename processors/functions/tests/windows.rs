//! `hop`, `tumble` and `session` as they are written: which are windows, which cannot be, and what is said of those.

use amoskys_functions::window::{Length, WindowCall, hop, session, tumble, window_type};
use arrow::datatypes::{DataType, IntervalDayTime, IntervalMonthDayNano, TimeUnit};
use datafusion::{
    common::ScalarValue,
    logical_expr::{Expr, cast, col, lit},
};

fn interval(months: i32, days: i32, nanoseconds: i64) -> Expr {
    lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds })))
}

/// Slide and size, or gap and greatest length.
fn parsed(expression: &Expr) -> Result<(i64, i64), String> {
    let call = WindowCall::parse(expression).expect("a window");
    let lengths = |call: WindowCall| match call.length {
        Length::Sliding { slide_ns, size_ns } => (slide_ns, size_ns),
        Length::Session { gap_ns, longest_ns } => (gap_ns, longest_ns),
    };
    call.map(lengths).map_err(|error| error.strip_backtrace())
}

#[test]
fn intervals_of_fixed_length_are_nanoseconds() {
    const DAY_NS: i64 = 86_400_000_000_000;
    assert_eq!(parsed(&hop().call(vec![col("t"), interval(0, 0, 5), interval(0, 1, 7)])), Ok((5, DAY_NS + 7)));
    assert_eq!(parsed(&tumble().call(vec![col("t"), interval(0, 0, 9)])), Ok((9, 9)));
    assert_eq!(parsed(&tumble().call(vec![col("t"), interval(0, 0, 9)]).alias("win")), Ok((9, 9)), "named");
    assert_eq!(parsed(&session().call(vec![col("t"), interval(0, 0, 5), interval(0, 1, 7)])), Ok((5, DAY_NS + 7)));
    let day_time = lit(ScalarValue::IntervalDayTime(Some(IntervalDayTime { days: 1, milliseconds: 2 })));
    for (size, expected_ns) in [
        (day_time, DAY_NS + 2_000_000),
        (lit(ScalarValue::DurationSecond(Some(3))), 3_000_000_000),
        (lit(ScalarValue::DurationMillisecond(Some(3))), 3_000_000),
        (lit(ScalarValue::DurationMicrosecond(Some(3))), 3_000),
        (lit(ScalarValue::DurationNanosecond(Some(3))), 3),
        (cast(lit(ScalarValue::DurationNanosecond(Some(3))), DataType::Duration(TimeUnit::Second)), 3),
        (interval(0, 0, -4), -4),
    ] {
        assert_eq!(parsed(&tumble().call(vec![col("t"), size.clone()])), Ok((expected_ns, expected_ns)), "{size}");
    }
}

#[test]
fn other_sizes_are_refused_with_what_to_write() {
    for (size, part) in [
        (interval(1, 0, 0), "the size of tumble is in months, which differ in length"),
        (lit(ScalarValue::IntervalYearMonth(Some(12))), "is in months"),
        (interval(0, i32::MAX, 0), "is longer than 292 years"),
        (lit(ScalarValue::DurationSecond(Some(i64::MAX))), "is longer than 292 years"),
        (lit(5i64), "must be an interval, not `5`; write tumble(time, size), e.g."),
        (col("size"), "must be a literal interval, not `size`"),
        (lit(ScalarValue::IntervalMonthDayNano(None)), "must be an interval"),
    ] {
        let error = parsed(&tumble().call(vec![col("t"), size])).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_is_no_window_is_none() {
    assert!(WindowCall::parse(&col("t")).is_none());
    assert!(WindowCall::parse(&col("t").alias("hop")).is_none());
    let inside = tumble().call(vec![col("t"), interval(0, 0, 1)]).is_null();
    assert!(WindowCall::parse(&inside).is_none(), "only at the top");
}

#[test]
fn arguments_are_checked_in_our_words() {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    let types = |types: &[&DataType]| types.iter().map(|&data_type| data_type.clone()).collect::<Vec<_>>();
    assert_eq!(tumble().inner().return_type(&types(&[&time, &interval])).expect("good"), window_type());
    assert_eq!(hop().inner().return_type(&types(&[&time, &interval, &interval])).expect("good"), window_type());
    for (function, types, part) in [
        (hop(), types(&[&time, &interval]), "hop takes 3 arguments; write hop(time, slide, size)"),
        (tumble(), types(&[&time, &interval, &interval]), "tumble takes 2 arguments; write tumble(time, size)"),
        (session(), types(&[&time, &interval]), "session takes 3 arguments; write session(time, gap, longest)"),
        (tumble(), types(&[&DataType::Int64, &interval]), "the time of tumble must be a timestamp, not BIGINT"),
    ] {
        let error = function.inner().return_type(&types).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}
