//! `histogram(x, bound, …)`: how many values are below the first bound, from each bound to the next, and from the last on.
//!
//! Exact, and a function of the values alone. Limits: `BOUNDS_MAX` bounds, literal and ascending.

use super::{Definition, Summary};
use crate::{
    aggregate::sketch_bytes::{put, take},
    fault::Fault,
    types::sql_type,
};
use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int64Builder, ListBuilder},
    compute::cast,
    datatypes::{DataType, Field, Float64Type},
};
use datafusion::common::{Result, ScalarValue};
use std::sync::Arc;

const BOUNDS_MAX: usize = 64;

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Histogram;

#[derive(Debug, Clone)]
pub struct Bins {
    bounds: Vec<f64>,
}

impl Definition for Histogram {
    type Summary = Bins;
    const NAME: &'static str = "histogram";
    const USAGE: &'static str = "histogram(x, bound, …), e.g. histogram(duration_ns, 1e3, 1e6, 1e9)";

    fn returns(types: &[DataType]) -> Result<DataType, Fault> {
        match types {
            [] | [_] => Err(Fault::new("histogram takes what to look at and at least one bound")),
            [first, ..] if !first.is_numeric() && !first.is_null() => {
                Err(Fault::new(format!("histogram looks at numbers, not {}", sql_type(first))))
            }
            [_, bounds @ ..] if bounds.len() > BOUNDS_MAX => {
                Err(Fault::new(format!("histogram takes at most {BOUNDS_MAX} bounds, not {}", bounds.len())))
            }
            _ => Ok(DataType::List(Arc::new(item()))),
        }
    }

    fn summary(_: &[DataType], constants: &[Option<ScalarValue>]) -> Result<Bins, Fault> {
        let number = |constant: &Option<ScalarValue>| {
            let constant = constant.as_ref().filter(|value| value.data_type().is_numeric())?;
            match constant.cast_to(&DataType::Float64) {
                Ok(ScalarValue::Float64(number)) => number.filter(|number| number.is_finite()),
                _ => None,
            }
        };
        let bounds: Option<Vec<f64>> = constants.iter().skip(1).map(number).collect();
        let bounds = bounds.ok_or_else(|| Fault::new("the bounds of histogram must be literal numbers"))?;
        match bounds.is_sorted_by(|a, b| a < b) {
            true => Ok(Bins { bounds }),
            false => Err(Fault::new("the bounds of histogram must ascend")),
        }
    }
}

fn item() -> Field {
    Field::new_list_field(DataType::Int64, true)
}

impl Summary for Bins {
    /// A count for each bin; empty when all are zero.
    type Group = Vec<u64>;
    type Rows = Float64Array;

    fn rows(&self, arguments: &[ArrayRef]) -> Result<(ArrayRef, Float64Array)> {
        let numbers = cast(&arguments[0], &DataType::Float64)?;
        Ok((numbers.clone(), numbers.as_primitive::<Float64Type>().clone()))
    }

    fn add(&self, group: &mut Vec<u64>, rows: &Float64Array, row: usize) {
        let value = rows.value(row);
        if !value.is_nan() {
            group.resize(self.bounds.len() + 1, 0);
            group[self.bounds.partition_point(|bound| *bound <= value)] += 1;
        }
    }

    fn write(&self, group: &Vec<u64>, bytes: &mut Vec<u8>) {
        group.iter().for_each(|count| put(bytes, *count));
    }

    fn merge(&self, group: &mut Vec<u64>, mut bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        group.resize(self.bounds.len() + 1, 0);
        for count in group.iter_mut() {
            *count = count.checked_add(take(&mut bytes)?)?;
        }
        bytes.is_empty().then_some(())
    }

    fn heap_bytes(&self, group: &Vec<u64>) -> usize {
        group.capacity() * size_of::<u64>()
    }

    fn values(&self, groups: &mut [Vec<u64>]) -> Result<ArrayRef> {
        let mut lists = ListBuilder::new(Int64Builder::new()).with_field(item());
        for group in groups {
            for bin in 0..=self.bounds.len() {
                lists.values().append_value(group.get(bin).copied().unwrap_or(0) as i64);
            }
            lists.append(true);
        }
        Ok(Arc::new(lists.finish()))
    }
}
