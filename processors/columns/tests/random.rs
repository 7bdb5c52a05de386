//! Random messages, whole and damaged, decoded by this crate and by prost-reflect: same verdict, same values.

mod support;

use amoskys_columns::{DecodeError, Limits, What};
use proptest::prelude::*;
use prost_reflect::DynamicMessage;
use support::{Chance, assert_row, decoder, rich, wire};

/// Pushes each record into one decoder and compares all rows at the end.
fn compare(records: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let message = rich("Rich");
    let mut decoder = decoder(&message, Limits::default());
    let mut expected = Vec::new();
    for record in records {
        let ours = decoder.push(record);
        match (ours, DynamicMessage::decode(message.clone(), &record[..])) {
            (Ok(rows), Ok(message)) => {
                prop_assert_eq!(rows, 1);
                expected.push(message);
            }
            (Err(ours), Err(_)) => prop_assert!(ours.offset <= record.len()),
            (Err(ours), Ok(_)) => prop_assert!(is_stricter(&ours), "{ours}: {record:?}"),
            (Ok(_), Err(theirs)) => prop_assert!(false, "prost refuses {record:?}: {theirs}"),
        }
    }
    prop_assert_eq!(decoder.rows(), expected.len());
    let batch = decoder.finish().expect("arrays fit the schema");
    prop_assert_eq!(batch.num_rows(), expected.len());
    for (row, message) in expected.iter().enumerate() {
        assert_row(&batch, row, message);
    }
    batch.columns().iter().for_each(|column| column.to_data().validate_full().expect("valid Arrow data"));
    Ok(())
}

/// What is refused here and not by prost: a time that 64 bits of nanoseconds cannot hold, and a map entry of another
/// wire type, which prost does not look at.
fn is_stricter(error: &DecodeError) -> bool {
    let field = error.path.rsplit('.').next().unwrap_or_default();
    let is_map = ["features", "counts", "m_inner", "m_bool", "m_colour", "m_time"].contains(&field);
    match error.what {
        What::TimeOutOfRange { .. } => true,
        What::WireType { want, .. } => is_map && want == "LengthDelimited",
        _ => false,
    }
}

fn chances() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whole_messages(chances in chances()) {
        let message = rich("Rich");
        let records: Vec<Vec<u8>> = chances.iter().map(|bytes| wire(&message, &mut Chance(bytes), 4)).collect();
        compare(&records)?;
    }

    #[test]
    fn damaged_messages(chances in chances(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 6)) {
        let message = rich("Rich");
        let mut records: Vec<Vec<u8>> = chances.iter().map(|bytes| wire(&message, &mut Chance(bytes), 4)).collect();
        for (record, (at, byte, how)) in records.iter_mut().zip(damage) {
            if record.is_empty() { continue; }
            let at = at.index(record.len());
            match how {
                0 => record.truncate(at),
                1 => record[at] = byte,
                2 => record.insert(at, byte),
                _ => {}
            }
        }
        compare(&records)?;
    }

    #[test]
    fn any_bytes(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..8)) {
        compare(&records)?;
    }
}
