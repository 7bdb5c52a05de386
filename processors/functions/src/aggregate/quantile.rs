//! `ddsketch_quantile(x, 0.95)`: a quantile to a stated relative accuracy, in bounded memory.
//!
//! DDSketch (Masson, Rim, Lee 2019): values are counted in buckets, each as wide as the accuracy allows ([`super::scale`]),
//! so merging is adding counts and the sketch is a function of the values alone, whatever their order. Beside the buckets
//! each group keeps its least and greatest value, which are told exactly.
//!
//! What it gives is `percentile_cont`'s answer, interpolated between the two neighbouring ranks, each known to the
//! accuracy. Nulls and NaN are left out. Values of less than 2^-54 of a group's greatest magnitude are counted at that
//! magnitude ("collapsing lowest"), so a group has at most 2 × 54 × 37.5 buckets at 1 %.
//!
//! Limits: what a bucket is off by rounding (1e-11) adds to the error; magnitudes below 2e-308 count as zero.

use super::{
    Columnar, rows,
    scale::{Scale, from_item, is_bucket, is_infinite, to_item},
    sketch_bytes::{put, put_signed, take, take_signed},
    tally::{Tally, entry, item_of},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, LargeBinaryBuilder},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use datafusion::{
    common::{Result, internal_err},
    logical_expr::{EmitTo, GroupsAccumulator},
};
use std::{ops::Range, sync::Arc};

/// First byte of a group's state; a group without values has an empty state.
const VERSION: u8 = 1;

pub struct Quantiles {
    scale: Scale,
    quantile: f64,
    groups: usize,
    buckets: Tally<true>,
    /// Least and greatest value of each group.
    least: Vec<f64>,
    greatest: Vec<f64>,
}

impl Quantiles {
    /// `quantile` from 0 to 1, `accuracy` as [`Scale::new`] takes it.
    pub fn new(quantile: f64, accuracy: f64) -> Self {
        Self::empty(quantile, Scale::new(accuracy))
    }

    fn empty(quantile: f64, scale: Scale) -> Self {
        Self { scale, quantile, groups: 0, buckets: Tally::default(), least: Vec::new(), greatest: Vec::new() }
    }

    fn widen(&mut self, group: usize, least: f64, greatest: f64) {
        // Adding 0.0 makes one zero of two.
        self.least[group] = self.least[group].min(least + 0.0);
        self.greatest[group] = self.greatest[group].max(greatest + 0.0);
    }

    fn settle(&mut self) {
        self.buckets.settle();
        let scale = self.scale;
        self.buckets.fold(|entries| {
            let bucket = |entry: &u64| from_item(item_of(*entry));
            let finite = |entry: &&u64| !is_infinite(bucket(entry));
            let first = entries.iter().find(finite).map_or(0, |entry| bucket(entry).abs());
            let last = entries.iter().rev().find(finite).map_or(0, |entry| bucket(entry).abs());
            let floor = scale.floor(first.max(last));
            let small = entries.partition_point(|entry| bucket(entry) <= -floor);
            let large = entries.partition_point(|entry| bucket(entry) < floor);
            let folds = entries[small..large.max(small)].iter().any(|entry| bucket(entry) != 0);
            folds.then_some(move |item| {
                let bucket = from_item(item);
                to_item(if bucket.abs() < floor { bucket.signum() * floor } else { bucket })
            })
        });
    }

    /// The value at a fractional rank among a group's, interpolated as `percentile_cont` does.
    fn at_quantile(&self, group: usize, range: Range<usize>) -> Option<f64> {
        let counts = &self.buckets.counts()[range.clone()];
        let total: u64 = counts.iter().sum();
        let last = total.checked_sub(1)?;
        let rank = self.quantile * last as f64;
        let lower = rank.floor() as u64;
        let low = self.at_rank(group, range.clone(), lower, last);
        let part = rank - lower as f64;
        if part == 0.0 {
            return Some(low);
        }
        let high = self.at_rank(group, range, lower + 1, last);
        let apart = high - low;
        Some(match apart.is_finite() {
            true => low + apart * part,
            // One of them is infinite, or they are further apart than a double can say.
            false if low == high => low,
            false => low * (1.0 - part) + high * part,
        })
    }

    fn at_rank(&self, group: usize, range: Range<usize>, rank: u64, last: u64) -> f64 {
        let (least, greatest) = (self.least[group], self.greatest[group]);
        if rank == 0 || rank >= last {
            return if rank == 0 { least } else { greatest };
        }
        let mut below = 0;
        let found = range.into_iter().find(|&index| {
            below += self.buckets.counts()[index];
            below > rank
        });
        let bucket = found.map(|index| from_item(item_of(self.buckets.entries()[index])));
        bucket.map_or(greatest, |bucket| self.scale.value(bucket).clamp(least, greatest))
    }

    fn forget_first(&mut self, groups: usize) {
        self.buckets.forget_first(groups);
        self.least.drain(..groups);
        self.greatest.drain(..groups);
        self.groups -= groups;
    }

    fn write(&self, group: usize, range: Range<usize>, bytes: &mut Vec<u8>) {
        bytes.clear();
        if range.is_empty() {
            return;
        }
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.least[group].to_le_bytes());
        bytes.extend_from_slice(&self.greatest[group].to_le_bytes());
        let mut previous = 0;
        for index in range {
            let bucket = i64::from(from_item(item_of(self.buckets.entries()[index])));
            put_signed(bytes, bucket - previous);
            put(bytes, self.buckets.counts()[index]);
            previous = bucket;
        }
    }

    /// Reads what [`Self::write`] wrote; `None` when it did not.
    fn read(&mut self, group: usize, bytes: &[u8], run: &mut Vec<(u64, u64)>) -> Option<()> {
        let Some((&version, bytes)) = bytes.split_first() else { return Some(()) };
        let (least, bytes) = bytes.split_first_chunk()?;
        let (greatest, mut bytes) = bytes.split_first_chunk()?;
        let (least, greatest) = (f64::from_le_bytes(*least), f64::from_le_bytes(*greatest));
        // Nor is a NaN at most anything.
        if version != VERSION || least.partial_cmp(&greatest).is_none_or(|order| order.is_gt()) {
            return None;
        }
        self.widen(group, least, greatest);
        let mut bucket = 0i64;
        while !bytes.is_empty() {
            bucket = bucket.checked_add(take_signed(&mut bytes)?)?;
            let count = take(&mut bytes)?;
            let known = i32::try_from(bucket).ok().filter(|&bucket| is_bucket(bucket))?;
            run.push((entry(group, to_item(known)), count));
        }
        Some(())
    }
}

impl Columnar for Quantiles {
    fn fit(&mut self, groups: usize) {
        self.groups = self.groups.max(groups);
        self.least.resize(self.groups, f64::INFINITY);
        self.greatest.resize(self.groups, f64::NEG_INFINITY);
    }

    fn values(&mut self, groups: usize) -> Result<ArrayRef> {
        self.settle();
        let ranges = self.buckets.ranges(groups);
        let values = ranges.into_iter().enumerate().map(|(group, range)| self.at_quantile(group, range));
        Ok(Arc::new(values.collect::<Float64Array>()))
    }
}

impl GroupsAccumulator for Quantiles {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.fit(total_num_groups);
        let numbers = cast(&values[0], &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let scale = self.scale;
        rows::each(numbers, group_indices, opt_filter, |row, group| {
            let value = numbers.value(row);
            if !value.is_nan() {
                self.widen(group, value, value);
                self.buckets.add(group, to_item(scale.bucket(value)));
            }
        });
        if self.buckets.is_due() {
            self.settle();
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = super::emitted(emit_to, self.groups);
        let values = self.values(groups)?;
        self.forget_first(groups);
        Ok(values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = super::emitted(emit_to, self.groups);
        self.settle();
        let mut states = LargeBinaryBuilder::with_capacity(groups, groups * 32);
        let mut bytes = Vec::new();
        for (group, range) in self.buckets.ranges(groups).into_iter().enumerate() {
            self.write(group, range, &mut bytes);
            states.append_value(&bytes);
        }
        self.forget_first(groups);
        let mut states: ArrayRef = Arc::new(states.finish());
        super::shrink(&mut states);
        Ok(vec![states])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.fit(total_num_groups);
        let states = values[0].as_binary::<i64>();
        let mut run = Vec::new();
        for (row, &group) in group_indices.iter().enumerate() {
            if states.is_valid(row) && self.read(group, states.value(row), &mut run).is_none() {
                return internal_err!("a state of ddsketch_quantile does not read");
            }
        }
        self.buckets.add_counted(run);
        self.settle();
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Self::empty(self.quantile, self.scale);
        let groups: Vec<usize> = (0..values[0].len()).collect();
        each.update_batch(values, &groups, opt_filter, groups.len())?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.buckets.bytes() + (self.least.capacity() + self.greatest.capacity()) * size_of::<f64>()
    }
}
