//! `ewma(x, time, half_life)`: the mean of values that weigh half for each half-life that they are older than the newest.
//!
//! Forward decay (Cormode, Shkapenyuk, Srivastava, Xu 2009) in event time: weights depend on times alone, so a row that comes
//! late weighs what it would have weighed, and summaries merge. Nulls and NaN are left out.
//! Limits: sums of floats follow the order of rows, which is the same for everybody who reads a partition.

use super::{Definition, Summary, times_ns};
use crate::{fault::Fault, types::sql_type, window::fixed_interval_ns};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, TimestampNanosecondArray},
    compute::cast,
    datatypes::{DataType, Float64Type, TimestampNanosecondType},
};
use datafusion::common::{Result, ScalarValue};
use std::sync::Arc;

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Ewma;

#[derive(Debug, Clone)]
pub struct Decay {
    half_life_ns: i64,
}

/// As seen from the newest time.
#[derive(Debug, Default, Clone, Copy)]
pub struct Decayed {
    weighted: f64,
    /// Zero: there was no value.
    weight: f64,
    newest_ns: i64,
}

impl Definition for Ewma {
    type Summary = Decay;
    const NAME: &'static str = "ewma";
    const USAGE: &'static str = "ewma(x, time, half_life), e.g. ewma(calls, win.start, INTERVAL '5 minutes')";

    fn returns(types: &[DataType]) -> Result<DataType, Fault> {
        let [x, time, _] = types else {
            return Err(Fault::new(format!("ewma takes 3 arguments, not {}", types.len())));
        };
        if !x.is_numeric() && !x.is_null() {
            return Err(Fault::new(format!("ewma looks at numbers, not {}", sql_type(x))));
        }
        match time {
            DataType::Timestamp(..) => Ok(DataType::Float64),
            other => Err(Fault::new(format!("the time of ewma must be a TIMESTAMP, not {}", sql_type(other)))),
        }
    }

    fn summary(_: &[DataType], constants: &[Option<ScalarValue>]) -> Result<Decay, Fault> {
        let half_life = constants.get(2).cloned().flatten();
        match half_life.as_ref().and_then(fixed_interval_ns) {
            Some(half_life_ns @ 1..) => Ok(Decay { half_life_ns }),
            Some(_) => Err(Fault::new("the half-life of ewma must be more than nothing")),
            None => Err(Fault::new("the half-life of ewma must be a literal interval of fixed length")),
        }
    }
}

impl Decay {
    /// 2^(-age / half-life), at most 1. By one program on every machine, so the bits are the same.
    fn weight(&self, newest_ns: i64, time_ns: i64) -> f64 {
        let age_ns = i128::from(newest_ns) - i128::from(time_ns);
        libm::exp2(-(age_ns as f64) / self.half_life_ns as f64)
    }

    fn take(&self, group: &mut Decayed, other: Decayed) {
        if other.weight == 0.0 {
            return;
        }
        if group.weight == 0.0 {
            *group = other;
            return;
        }
        let newest_ns = group.newest_ns.max(other.newest_ns);
        let (mine, theirs) = (self.weight(newest_ns, group.newest_ns), self.weight(newest_ns, other.newest_ns));
        // A weight of nothing is nothing, also of what is infinite.
        let scaled = |value: f64, weight: f64| if weight == 0.0 { 0.0 } else { value * weight };
        group.weighted = scaled(group.weighted, mine) + scaled(other.weighted, theirs);
        group.weight = group.weight * mine + other.weight * theirs;
        group.newest_ns = newest_ns;
    }
}

impl Summary for Decay {
    type Group = Decayed;
    type Rows = (Float64Array, TimestampNanosecondArray);

    fn rows(&self, arguments: &[ArrayRef]) -> Result<(ArrayRef, Self::Rows)> {
        let numbers = cast(&arguments[0], &DataType::Float64)?;
        let times = times_ns(&arguments[1])?;
        let rows =
            (numbers.as_primitive::<Float64Type>().clone(), times.as_primitive::<TimestampNanosecondType>().clone());
        Ok((numbers, rows))
    }

    fn add(&self, group: &mut Decayed, (numbers, times): &Self::Rows, row: usize) {
        let weighted = numbers.value(row);
        if !weighted.is_nan() && times.is_valid(row) {
            self.take(group, Decayed { weighted, weight: 1.0, newest_ns: times.value(row) });
        }
    }

    fn write(&self, group: &Decayed, bytes: &mut Vec<u8>) {
        if group.weight > 0.0 {
            bytes.extend(group.weighted.to_le_bytes());
            bytes.extend(group.weight.to_le_bytes());
            bytes.extend(group.newest_ns.to_le_bytes());
        }
    }

    fn merge(&self, group: &mut Decayed, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        let (weighted, bytes) = bytes.split_first_chunk()?;
        let (weight, bytes) = bytes.split_first_chunk()?;
        let (weighted, weight) = (f64::from_le_bytes(*weighted), f64::from_le_bytes(*weight));
        let newest_ns = i64::from_le_bytes(bytes.try_into().ok()?);
        self.take(group, Decayed { weighted, weight, newest_ns });
        Some(())
    }

    fn heap_bytes(&self, _: &Decayed) -> usize {
        0
    }

    fn values(&self, groups: &mut [Decayed]) -> Result<ArrayRef> {
        let mean = |group: &mut Decayed| (group.weight > 0.0).then(|| group.weighted / group.weight);
        Ok(Arc::new(groups.iter_mut().map(mean).collect::<Float64Array>()))
    }
}
