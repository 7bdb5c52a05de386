//! The table of keys against a map: equal keys have equal ids, others have others, in the order in which they came.

use super::Table;
use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, StringViewArray, UInt64Array},
    datatypes::{DataType, Field, Int32Type, Schema, UInt64Type},
};
use proptest::prelude::*;
use std::{collections::HashMap, sync::Arc};

type Key = (Option<String>, Option<i32>, Option<u64>);

/// Lengths around those that views and words hold, and texts that differ in one byte only, anywhere.
fn any_text() -> impl Strategy<Value = String> {
    let lengths = prop_oneof![Just(0usize), 1usize..5, 10usize..20, 28usize..40];
    (lengths, any::<prop::sample::Index>(), prop::bool::ANY).prop_map(|(length, at, differs)| {
        let mut text = vec![b'x'; length];
        if differs && length > 0 {
            text[at.index(length)] = b'y';
        }
        String::from_utf8(text).expect("ASCII")
    })
}

fn any_key(nulls: f64) -> impl Strategy<Value = Key> {
    let some = 1.0 - nulls;
    (
        prop::option::weighted(some, any_text()),
        prop::option::weighted(some, -2i32..2),
        prop::option::weighted(some, prop_oneof![0u64..2, any::<u64>()]),
    )
}

fn arrays(keys: &[Key]) -> Vec<ArrayRef> {
    vec![
        Arc::new(StringViewArray::from_iter(keys.iter().map(|key| key.0.as_deref()))),
        Arc::new(Int32Array::from_iter(keys.iter().map(|key| key.1))),
        Arc::new(UInt64Array::from_iter(keys.iter().map(|key| key.2))),
    ]
}

fn schema() -> Schema {
    let types = [DataType::Utf8View, DataType::Int32, DataType::UInt64];
    Schema::new(
        types.into_iter().enumerate().map(|(at, of)| Field::new(format!("k{at}"), of, true)).collect::<Vec<_>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ids_are_those_of_a_map(batches in prop::collection::vec(
        prop_oneof![prop::collection::vec(any_key(0.01), 0..400), prop::collection::vec(any_key(0.3), 0..400)], 1..5))
    {
        let mut table = Table::new(&schema()).expect("keys of these types");
        let mut map: HashMap<Key, u32> = HashMap::new();
        let mut ids = Vec::new();
        for batch in &batches {
            table.intern(&arrays(batch), batch.len(), &mut ids).expect("ids");
            let expected: Vec<u32> = batch.iter().map(|key| {
                let next = map.len() as u32;
                *map.entry(key.clone()).or_insert(next)
            }).collect();
            prop_assert_eq!(&ids, &expected);
            prop_assert_eq!(table.len(), map.len());
        }
    }
}

#[test]
fn a_slice_is_read_from_where_it_begins() {
    let keys: Vec<Key> = (0..600).map(|at| (Some(format!("a text of some length {at}")), Some(at), Some(7))).collect();
    let sliced: Vec<ArrayRef> = arrays(&keys).iter().map(|array| array.slice(300, 300)).collect();
    assert_eq!(sliced[1].as_primitive::<Int32Type>().value(0), 300);
    assert_eq!(sliced[2].as_primitive::<UInt64Type>().len(), 300);
    let (mut table, mut ids) = (Table::new(&schema()).expect("keys of these types"), Vec::new());
    table.intern(&sliced, 300, &mut ids).expect("ids");
    assert_eq!(ids, (0..300).collect::<Vec<_>>());
    table.intern(&arrays(&keys), 600, &mut ids).expect("ids");
    assert_eq!(ids, (300..600).chain(0..300).collect::<Vec<_>>());
}

#[test]
fn doubles_stay_with_datafusion() {
    assert!(Table::new(&Schema::new(vec![Field::new("k", DataType::Float64, true)])).is_none());
}
