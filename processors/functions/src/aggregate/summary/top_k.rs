//! `top_k(x, k)`: the values that come most often, with how often.
//!
//! Exact up to `COUNTERS` distinct values in a group. With more, counters that Misra and Gries (1982) describe, merged as
//! Agarwal, Cormode, Huang, Phillips, Wei, Yi (2012) do: a count is never too high, and too low by at most the group's rows
//! divided by `COUNTERS`. Equally frequent values are told in their own order. Nulls are left out.
//! Limits: `K_MAX` values; twice `COUNTERS` are kept of a group.

use super::{Definition, Summary};
use crate::{
    aggregate::sketch_bytes::{put, take},
    fault::Fault,
};
use arrow::{
    array::{Array, ArrayRef, Int64Array, ListArray, StructArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields},
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::{Result, ScalarValue};
use std::{cmp::Reverse, collections::HashMap, sync::Arc};

const K_MAX: i64 = 100;
const COUNTERS: usize = 1024;

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct TopK;

#[derive(Debug, Clone)]
pub struct Frequent {
    k: usize,
    values: DataType,
    converter: Arc<RowConverter>,
}

/// How often each value came, by the bytes that arrow gives it.
#[derive(Debug, Default)]
pub struct Counters {
    counts: HashMap<Box<[u8]>, u64>,
    value_bytes: usize,
}

fn fields(values: &DataType) -> Fields {
    vec![Field::new("value", values.clone(), true), Field::new("count", DataType::Int64, false)].into()
}

fn item(values: &DataType) -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(fields(values)), true))
}

impl Definition for TopK {
    type Summary = Frequent;
    const NAME: &'static str = "top_k";
    const USAGE: &'static str = "top_k(x, k), e.g. top_k(comm, 5)";

    fn returns(types: &[DataType]) -> Result<DataType, Fault> {
        let [values, _] = types else {
            return Err(Fault::new(format!("top_k takes 2 arguments, not {}", types.len())));
        };
        match RowConverter::supports_fields(&[SortField::new(values.clone())]) {
            true => Ok(DataType::List(item(values))),
            false => Err(Fault::new(format!("top_k does not know values of type {values}"))),
        }
    }

    fn summary(types: &[DataType], constants: &[Option<ScalarValue>]) -> Result<Frequent, Fault> {
        let k = match constants.get(1).and_then(|k| k.as_ref()?.cast_to(&DataType::Int64).ok()) {
            Some(ScalarValue::Int64(Some(k @ 1..=K_MAX))) => k as usize,
            Some(ScalarValue::Int64(Some(k))) => {
                return Err(Fault::new(format!("the k of top_k is from 1 to {K_MAX}, not {k}")));
            }
            _ => return Err(Fault::new(format!("the k of top_k must be a literal from 1 to {K_MAX}"))),
        };
        let values = types.first().cloned().unwrap_or(DataType::Null);
        let converter = RowConverter::new(vec![SortField::new(values.clone())]);
        let converter = converter.map_err(|error| Fault::new(format!("top_k: {error}")))?;
        Ok(Frequent { k, values, converter: Arc::new(converter) })
    }
}

impl Counters {
    fn add(&mut self, value: &[u8], count: u64) {
        if let Some(counted) = self.counts.get_mut(value) {
            *counted += count;
            return;
        }
        self.value_bytes += value.len();
        self.counts.insert(value.into(), count);
        if self.counts.len() > 2 * COUNTERS {
            self.reduce();
        }
    }

    /// Leaves at most [`COUNTERS`]: what the next would have had is taken from all.
    fn reduce(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, &mut taken, _) = counts.select_nth_unstable_by_key(COUNTERS, |count| Reverse(*count));
        self.counts.retain(|value, count| {
            *count = count.saturating_sub(taken);
            if *count == 0 {
                self.value_bytes -= value.len();
            }
            *count > 0
        });
    }
}

impl Summary for Frequent {
    type Group = Counters;
    type Rows = Rows;

    fn rows(&self, arguments: &[ArrayRef]) -> Result<(ArrayRef, Rows)> {
        Ok((arguments[0].clone(), self.converter.convert_columns(&arguments[..1])?))
    }

    fn add(&self, group: &mut Counters, rows: &Rows, row: usize) {
        group.add(rows.row(row).as_ref(), 1);
    }

    fn write(&self, group: &Counters, bytes: &mut Vec<u8>) {
        let mut entries: Vec<_> = group.counts.iter().collect();
        entries.sort_unstable();
        for (value, count) in entries {
            put(bytes, *count);
            put(bytes, value.len() as u64);
            bytes.extend_from_slice(value);
        }
    }

    fn merge(&self, group: &mut Counters, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let count = take(&mut bytes)?;
            let length = usize::try_from(take(&mut bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            group.add(value, count);
            bytes = rest;
        }
        Some(())
    }

    fn heap_bytes(&self, group: &Counters) -> usize {
        group.value_bytes + group.counts.capacity() * (size_of::<(Box<[u8]>, u64)>() + 1)
    }

    fn values(&self, groups: &mut [Counters]) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let (mut values, mut counts, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(groups.len()));
        for group in groups.iter() {
            let mut entries: Vec<(Reverse<u64>, &[u8])> =
                group.counts.iter().map(|(value, count)| (Reverse(*count), value.as_ref())).collect();
            entries.sort_unstable();
            entries.truncate(self.k);
            lengths.push(entries.len());
            for (Reverse(count), value) in entries {
                counts.push(count as i64);
                values.push(parser.parse(value));
            }
        }
        let mut columns = self.converter.convert_rows(values)?;
        let values = columns.swap_remove(0);
        let values =
            if *values.data_type() == self.values { values } else { arrow::compute::cast(&values, &self.values)? };
        let rows = StructArray::new(fields(&self.values), vec![values, Arc::new(Int64Array::from(counts))], None);
        Ok(Arc::new(ListArray::new(item(&self.values), OffsetBuffer::from_lengths(lengths), Arc::new(rows), None)))
    }
}
