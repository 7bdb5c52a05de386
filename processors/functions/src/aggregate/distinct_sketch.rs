//! `hll_distinct(x)`: how many values of a column are distinct, counted one by one while they are few and estimated
//! when they are many, in bounded memory.
//!
//! HyperLogLog with 2^14 registers: a standard error of 1.04 / √2^14 = 0.81 %, at 16 KiB a group. Up to
//! [`ITEMS_MAX`] values a group keeps 32 bits of each value's hash, 4 bytes in its state, and their number is told: off
//! by one for one in 4,000 groups of 1,000 values. Which form a group has depends on its values alone, so merging in any
//! order is the same as having seen all values. Nulls are left out.

use super::{
    Columnar, hashes,
    registers::{REGISTERS, estimate, register, to_item},
    rows,
    tally::{Tally, entry, item_of},
};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeBinaryBuilder};
use datafusion::{
    common::{Result, internal_err},
    logical_expr::{EmitTo, GroupsAccumulator},
};
use std::sync::Arc;

/// Distinct items that a group keeps before it has registers: as many as take the same memory.
pub const ITEMS_MAX: usize = REGISTERS / 4;

/// First byte of a group's state: items of 4 bytes, lowest first and sorted, or registers. No values: no bytes.
const ITEMS: u8 = 1;
const DENSE: u8 = 2;

type Registers = Box<[u8; REGISTERS]>;

#[derive(Default)]
pub struct Distincts {
    groups: usize,
    items: Tally<false>,
    /// Of the groups that have more than [`ITEMS_MAX`] items; once settled such a group has no entries in `items`.
    dense: Vec<Option<Registers>>,
    dense_groups: usize,
}

impl Distincts {
    fn add(&mut self, group: usize, item: u32) {
        match &mut self.dense[group] {
            Some(registers) => put(registers, item),
            None => self.items.add(group, item),
        }
    }

    fn settle(&mut self) {
        self.items.settle();
        let (dense, dense_groups) = (&mut self.dense, &mut self.dense_groups);
        self.items.take_out(|group, entries| {
            if dense[group].is_none() && entries.len() <= ITEMS_MAX {
                return false;
            }
            let registers = dense[group].get_or_insert_with(|| {
                *dense_groups += 1;
                Box::new([0; REGISTERS])
            });
            entries.iter().for_each(|&entry| put(registers, item_of(entry)));
            true
        });
    }

    /// Merges registers in; the group's items, if it has any, follow at [`Self::settle`].
    fn add_registers(&mut self, group: usize, other: &[u8; REGISTERS]) {
        let known = self.dense[group].get_or_insert_with(|| {
            self.dense_groups += 1;
            Box::new([0; REGISTERS])
        });
        known.iter_mut().zip(other).for_each(|(known, &other)| *known = (*known).max(other));
    }

    /// Merges a state in; its items go to `run`, to be added together.
    fn read(&mut self, group: usize, state: &[u8], run: &mut Vec<u64>) -> Option<()> {
        match state.split_first() {
            None => {}
            Some((&ITEMS, items)) => {
                let (items, []) = items.as_chunks::<4>() else { return None };
                run.extend(items.iter().map(|item| entry(group, u32::from_le_bytes(*item))));
            }
            Some((&DENSE, registers)) => self.add_registers(group, registers.try_into().ok()?),
            Some(_) => return None,
        }
        Some(())
    }

    fn forget_first(&mut self, groups: usize) {
        self.items.forget_first(groups);
        self.dense_groups -= self.dense.drain(..groups).flatten().count();
        self.groups -= groups;
    }
}

fn put(registers: &mut Registers, item: u32) {
    let (index, value) = register(item);
    registers[index] = registers[index].max(value);
}

impl Columnar for Distincts {
    fn fit(&mut self, groups: usize) {
        self.groups = self.groups.max(groups);
        self.dense.resize(self.groups, None);
    }

    fn values(&mut self, groups: usize) -> Result<ArrayRef> {
        self.settle();
        let ranges = self.items.ranges(groups);
        let counts = ranges.into_iter().zip(&self.dense).map(|(range, dense)| match dense {
            // Registers are only had by more values than items are kept of.
            Some(registers) => estimate(registers).round().max((ITEMS_MAX + 1) as f64) as i64,
            None => range.len() as i64,
        });
        Ok(Arc::new(counts.collect::<Int64Array>()))
    }
}

impl GroupsAccumulator for Distincts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.fit(total_num_groups);
        let (values, groups) = rows::only(&values[0], group_indices, opt_filter)?;
        hashes::each(&values, |row, hash| self.add(groups[row], to_item(hash)))?;
        if self.items.is_due() {
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
        let mut states = LargeBinaryBuilder::with_capacity(groups, 5 * groups);
        let mut bytes = Vec::new();
        for (range, dense) in self.items.ranges(groups).into_iter().zip(&self.dense) {
            bytes.clear();
            match dense {
                Some(registers) => {
                    bytes.push(DENSE);
                    bytes.extend_from_slice(registers.as_slice());
                }
                None if range.is_empty() => {}
                None => {
                    bytes.push(ITEMS);
                    let items = self.items.entries()[range].iter().map(|&entry| item_of(entry));
                    items.for_each(|item| bytes.extend_from_slice(&item.to_le_bytes()));
                }
            }
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
                return internal_err!("a state of hll_distinct does not read");
            }
        }
        self.items.add_run(run);
        self.settle();
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Self::default();
        let groups: Vec<usize> = (0..values[0].len()).collect();
        each.update_batch(values, &groups, opt_filter, groups.len())?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
            + self.items.bytes()
            + self.dense.capacity() * size_of::<Option<Registers>>()
            + self.dense_groups * REGISTERS
    }
}
