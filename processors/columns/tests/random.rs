//! Random messages, whole and damaged, decoded by this crate and by prost-reflect: same verdict, same values.

mod support;

use amoskys_columns::{DecodeError, Decoder, Layout, Limits, What};
use proptest::prelude::*;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use std::sync::LazyLock;
use support::{Chance, all_columns, assert_row, decoder, put_bytes, put_key, rich, wire};

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

/// Of a message with all of its columns, and of a batch of them.
static LAYOUTS: LazyLock<(Layout, Layout)> = LazyLock::new(|| {
    let columns = all_columns(&RICH);
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let batch = Layout::batch(&rich("RichBatch"), &columns);
    (Layout::new(&RICH, &columns).expect("a layout"), batch.expect("a layout"))
});
static RICH: LazyLock<MessageDescriptor> = LazyLock::new(|| rich("Rich"));

/// Events in one batch message, between other fields, are what they are one by one; of several faults the first is told, in its
/// place.
fn compare_batch(events: &[Vec<u8>], batches: usize) -> Result<(), TestCaseError> {
    let [mut together, mut alone, mut probe] =
        [&LAYOUTS.1, &LAYOUTS.0, &LAYOUTS.0].map(|layout| Decoder::new(layout.clone(), Limits::default()));
    for events in events.chunks(events.len().div_ceil(batches)) {
        let mut record = Vec::new();
        let mut expected = Ok(events.len());
        for (number, event) in events.iter().enumerate() {
            if number % 3 == 2 {
                put_key(1, 2, &mut record);
                put_bytes(b"note", false, &mut record);
            }
            put_key(2, 2, &mut record);
            put_bytes(event, false, &mut record);
            let start = record.len() - event.len();
            if let (Err(error), Ok(_)) = (probe.push(event), &expected) {
                let path = if error.path.is_empty() { "events".to_owned() } else { format!("events.{}", error.path) };
                expected = Err(DecodeError { offset: start + error.offset, path, what: error.what });
            }
        }
        prop_assert_eq!(together.push(&record), expected.clone());
        if expected.is_ok() {
            events.iter().for_each(|event| assert_eq!(alone.push(event), Ok(1)));
        }
    }
    let (together, alone) = (together.finish().expect("arrays"), alone.finish().expect("arrays"));
    prop_assert_eq!(together.columns(), alone.columns());
    Ok(())
}

/// Some of them changed in a byte or cut.
fn damaged(mut records: Vec<Vec<u8>>, damage: Vec<(prop::sample::Index, u8, u8)>) -> Vec<Vec<u8>> {
    for (record, (at, byte, how)) in records.iter_mut().zip(damage) {
        if record.is_empty() {
            continue;
        }
        let at = at.index(record.len());
        match how {
            0 => record.truncate(at),
            1 => record[at] = byte,
            2 => record.insert(at, byte),
            _ => {}
        }
    }
    records
}

fn damage(most: u8, count: usize) -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..most), count)
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
    fn damaged_messages(chances in chances(), damage in damage(4, 6)) {
        let message = rich("Rich");
        let records: Vec<Vec<u8>> = chances.iter().map(|bytes| wire(&message, &mut Chance(bytes), 4)).collect();
        compare(&damaged(records, damage))?;
    }

    #[test]
    fn events_of_a_batch_are_what_they_are_alone(
        chances in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..12),
        damage in damage(24, 12),
        batches in 1usize..4,
    ) {
        let events: Vec<Vec<u8>> = chances.iter().map(|bytes| wire(&RICH, &mut Chance(bytes), 3)).collect();
        compare_batch(&damaged(events, damage), batches)?;
    }

    #[test]
    fn any_bytes(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..8)) {
        compare(&records)?;
    }
}
