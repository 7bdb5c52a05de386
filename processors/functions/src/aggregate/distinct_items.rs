//! Values as small items that stand for them, and back: a number of up to 64 bits is one as it is, anything else is told
//! apart once and numbered.
//!
//! Limits: 2^32 values that are not numbers, for all groups together.

use super::sets::{Item, mix};
use arrow::{
    array::{Array, ArrayData, ArrayRef, ArrowPrimitiveType, AsArray, UInt32Array, make_array, new_empty_array},
    buffer::{Buffer, ScalarBuffer},
    compute::take,
    datatypes::{BinaryViewType, DataType, Field, Schema, StringViewType},
};
use datafusion::{
    common::{Result, exec_datafusion_err, internal_datafusion_err},
    logical_expr::EmitTo,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};
use std::{
    hash::{BuildHasher, RandomState},
    marker::PhantomData,
    sync::Arc,
};

/// What tells values of one type apart.
pub trait Items: Send + Sized {
    type Item: Item;

    fn new(data_type: &DataType) -> Result<Self>;

    /// An item for each value; there are no nulls.
    fn of(&mut self, values: &ArrayRef) -> Result<Vec<Self::Item>>;

    /// The same for values of which many are likely to be the same value of another array ([`Items::values`]).
    fn of_told(&mut self, values: &ArrayRef) -> Result<Vec<Self::Item>> {
        self.of(values)
    }

    /// The values of items; `all` says that none of them is asked for again.
    fn values(&mut self, items: &[Self::Item], all: bool) -> Result<ArrayRef>;

    /// No item is known any more.
    fn forget(&mut self);

    fn bytes(&self) -> usize;
}

/// Integers, floats, times: their bits, in an unsigned number as wide as they are.
pub struct Bits<T> {
    data_type: DataType,
    width: PhantomData<fn() -> T>,
}

impl<T: ArrowPrimitiveType<Native: Item>> Items for Bits<T> {
    type Item = T::Native;

    fn new(data_type: &DataType) -> Result<Self> {
        Ok(Self { data_type: data_type.clone(), width: PhantomData })
    }

    fn of(&mut self, values: &ArrayRef) -> Result<Vec<T::Native>> {
        let data = values.to_data();
        let bits = ScalarBuffer::<T::Native>::new(data.buffers()[0].clone(), data.offset(), data.len());
        Ok(bits.to_vec())
    }

    fn values(&mut self, items: &[T::Native], _: bool) -> Result<ArrayRef> {
        let data = ArrayData::builder(self.data_type.clone()).len(items.len());
        Ok(make_array(data.add_buffer(Buffer::from_slice_ref(items)).build()?))
    }

    fn forget(&mut self) {}

    fn bytes(&self) -> usize {
        0
    }
}

/// Text, bytes and whatever else: numbers in the order in which values first came.
pub struct Numbered {
    data_type: DataType,
    known: Box<dyn GroupValues>,
    numbers: Vec<usize>,
    views: Views,
}

impl Items for Numbered {
    type Item = u32;

    fn new(data_type: &DataType) -> Result<Self> {
        let schema = Schema::new(vec![Field::new("value", data_type.clone(), true)]);
        let known = new_group_values(Arc::new(schema), &GroupOrdering::None)?;
        Ok(Self { data_type: data_type.clone(), known, numbers: Vec::new(), views: Views::default() })
    }

    fn of(&mut self, values: &ArrayRef) -> Result<Vec<u32>> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        self.known.intern(std::slice::from_ref(values), &mut self.numbers)?;
        if u32::try_from(self.known.len()).is_err() {
            return Err(exec_datafusion_err!("count(DISTINCT …) has more than 2^32 values in one pane"));
        }
        Ok(self.numbers.iter().map(|&number| number as u32).collect())
    }

    /// Values told by one accumulator have one view each, whatever the number of groups that have them: they are looked
    /// up by their views, and only one of each is looked at.
    fn of_told(&mut self, values: &ArrayRef) -> Result<Vec<u32>> {
        let (mut items, firsts) = match values.data_type() {
            DataType::Utf8View => self.views.tell_apart(values.as_byte_view::<StringViewType>().views()),
            DataType::BinaryView => self.views.tell_apart(values.as_byte_view::<BinaryViewType>().views()),
            _ => return self.of(values),
        };
        let firsts = take(values, &UInt32Array::from(firsts), None)?;
        let numbers = self.of(&firsts)?;
        items.iter_mut().for_each(|item| *item = numbers[*item as usize]);
        Ok(items)
    }

    fn values(&mut self, items: &[u32], all: bool) -> Result<ArrayRef> {
        if self.known.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        let known = self.known.emit(EmitTo::All)?.into_iter().next();
        let known = known.ok_or_else(|| internal_datafusion_err!("values were numbered in no column"))?;
        // Telling them forgets them.
        self.known.clear_shrink(0);
        if !all {
            self.known.intern(std::slice::from_ref(&known), &mut self.numbers)?;
        }
        Ok(take(&known, &UInt32Array::from_iter_values(items.iter().copied()), None)?)
    }

    fn forget(&mut self) {
        self.known.clear_shrink(0);
        self.numbers = Vec::new();
        self.views = Views::default();
    }

    fn bytes(&self) -> usize {
        self.known.size() + self.numbers.capacity() * size_of::<usize>() + self.views.bytes()
    }
}

/// Tells views of one array apart by their bits: equal bits are equal values, and different ones need not differ.
struct Views {
    known: Vec<u128>,
    /// 0, or one more than a place in `known`.
    slots: Vec<u32>,
    seed: u64,
}

impl Default for Views {
    fn default() -> Self {
        Self { known: Vec::new(), slots: Vec::new(), seed: RandomState::new().hash_one(0) }
    }
}

impl Views {
    /// A number for each view, and the row where each number first is.
    fn tell_apart(&mut self, views: &[u128]) -> (Vec<u32>, Vec<u32>) {
        self.known.clear();
        self.slots.clear();
        let (mut numbers, mut firsts) = (Vec::with_capacity(views.len()), Vec::new());
        for (row, &view) in views.iter().enumerate() {
            if self.known.len() * 2 >= self.slots.len() {
                self.grow();
            }
            let slot = self.slot(view);
            if self.slots[slot] == 0 {
                self.known.push(view);
                self.slots[slot] = self.known.len() as u32;
                firsts.push(row as u32);
            }
            numbers.push(self.slots[slot] - 1);
        }
        (numbers, firsts)
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 4).max(256);
        self.slots.clear();
        self.slots.resize(slots, 0);
        for place in 0..self.known.len() {
            let slot = self.slot(self.known[place]);
            self.slots[slot] = place as u32 + 1;
        }
    }

    /// Where the view is, or is to be.
    fn slot(&self, view: u128) -> usize {
        let last = self.slots.len() - 1;
        let mut slot = mix(view as u64 ^ ((view >> 64) as u64).rotate_left(29), self.seed) & last;
        while self.slots[slot] != 0 && self.known[self.slots[slot] as usize - 1] != view {
            slot = (slot + 1) & last;
        }
        slot
    }

    fn bytes(&self) -> usize {
        self.known.capacity() * size_of::<u128>() + self.slots.capacity() * size_of::<u32>()
    }
}

/// As many bits as a number of the type has, where up to 64 bits say all of it.
pub fn bits_of(data_type: &DataType) -> Option<usize> {
    let bits = data_type.primitive_width()? * 8;
    (bits <= 64).then_some(bits)
}
