//! Columns that repeat a record's values for each of its rows.

use amoskys_columns::{Constant, ConstantError, ConstantType, Constants};
use arrow::array::*;
use arrow::datatypes::*;

fn constants() -> Constants {
    Constants::new([
        ("agent_id", ConstantType::Text),
        ("_offset", ConstantType::Int64),
        ("_partition", ConstantType::Int32),
        ("sequence", ConstantType::UInt64),
        ("_log_time", ConstantType::TimeNs),
        ("replayed", ConstantType::Boolean),
    ])
}

#[test]
fn values_are_repeated_for_each_row() {
    let mut constants = constants();
    let long = "an agent's name of more than twelve bytes";
    let record = |agent, n: i64| {
        [
            agent,
            Constant::Int64(n),
            Constant::Int32(3),
            Constant::UInt64(u64::MAX),
            Constant::TimeNs(n),
            Constant::Boolean(n == 1),
        ]
    };
    for batch in 0..2 {
        constants.push(&record(Constant::Text(long), 1), 2).expect("the right types");
        constants.push(&record(Constant::Text(long), 2), 0).expect("the right types");
        constants.push(&record(Constant::Null, 3), 1).expect("the right types");
        constants.push(&record(Constant::Text("short"), 4), 1).expect("the right types");
        constants.push(&record(Constant::Text(long), 5), 300).expect("the right types");
        assert_eq!(constants.rows(), 304, "batch {batch}");
        let schema = Schema::new(constants.fields());
        let batch = RecordBatch::try_new(schema.into(), constants.finish()).expect("arrays fit their fields");
        batch.columns().iter().for_each(|column| column.to_data().validate_full().expect("valid Arrow data"));
        let agents = batch["agent_id"].as_string_view();
        assert_eq!(
            agents.iter().take(5).collect::<Vec<_>>(),
            [Some(long), Some(long), None, Some("short"), Some(long)]
        );
        assert!(agents.iter().skip(4).all(|agent| agent == Some(long)));
        assert_eq!(&batch["_offset"].as_primitive::<Int64Type>().values()[..5], &[1, 1, 3, 4, 5]);
        assert_eq!(batch["_partition"].as_primitive::<Int32Type>().value(303), 3);
        assert_eq!(batch["sequence"].as_primitive::<UInt64Type>().value(0), u64::MAX);
        assert_eq!(batch["_log_time"].as_primitive::<TimestampNanosecondType>().value(3), 4);
        assert!(batch["replayed"].as_boolean().value(1) && !batch["replayed"].as_boolean().value(2));
    }
}

#[test]
fn a_repeated_text_is_stored_once_for_each_change() {
    let mut constants = Constants::new([("agent_id", ConstantType::Text)]);
    let long = "x".repeat(100);
    for _ in 0..1000 {
        constants.push(&[Constant::Text(&long)], 10).expect("the right type");
    }
    let column = constants.finish();
    let bytes: usize = column[0].as_string_view().data_buffers().iter().map(|buffer| buffer.len()).sum();
    assert_eq!(bytes, 100);
}

#[test]
fn wrong_values_are_refused_whole() {
    let mut constants = Constants::new([("a", ConstantType::Int64), ("b", ConstantType::Text)]);
    let error = constants.push(&[Constant::Int64(1), Constant::Int64(2)], 5).expect_err("refused");
    assert_eq!(error.to_string(), "constant column \"b\" is Text, its value is Int64(2)");
    let error = constants.push(&[Constant::Int64(1)], 5).expect_err("refused");
    assert_eq!(error, ConstantError::Count { got: 1, want: 2 });
    assert_eq!((constants.rows(), constants.finish()[0].len()), (0, 0));
}
