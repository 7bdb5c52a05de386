//! `count`, as DataFusion's own but for `count(DISTINCT x)`, whose groups are counted together and not one by one.
//!
//! DataFusion 55 has a vectorised `count(DISTINCT x)` for integers alone; for text, times and all else it keeps a hash set
//! and a call per group and batch. Here a value is interned once, whatever the number of groups that have it, and a group
//! holds the numbers of its values. Results, state and everything else are DataFusion's.
//!
//! Limits: values are kept until all groups are told. Integers, for which DataFusion's is the faster, dictionaries and nested
//! types stay with DataFusion.

use super::{
    rows,
    tally::{Tally, item_of},
};
use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array, ListArray, PrimitiveArray, UInt32Array,
        new_empty_array,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    compute::take,
    datatypes::{
        DataType, Field, FieldRef, Float16Type, Float32Type, Float64Type, Schema, UInt16Type, UInt32Type, UInt64Type,
    },
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err, internal_datafusion_err},
    functions_aggregate::count::Count,
    logical_expr::{
        Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
        Signature, StatisticsArgs,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash, Default)]
pub struct VectorisedCount(Count);

impl AggregateUDFImpl for VectorisedCount {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn is_nullable(&self) -> bool {
        self.0.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.0.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        is_ours(&args) || self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if is_ours(&args) {
            return Ok(Box::new(DistinctCounts::new(args.expr_fields[0].data_type())?));
        }
        self.0.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.0.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.0.reverse_expr()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.0.default_value(data_type)
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.0.value_from_stats(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.0.set_monotonicity(data_type)
    }
}

fn is_ours(args: &AccumulatorArgs) -> bool {
    let [field] = args.expr_fields else { return false };
    let data_type = field.data_type();
    let other = matches!(
        data_type,
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::Null | DataType::Union(..)
    );
    args.is_distinct && !other && !data_type.is_nested() && !data_type.is_integer()
}

/// The same bits as a type of the same width.
fn bits<From: ArrowPrimitiveType, To: ArrowPrimitiveType>(values: &ArrayRef) -> ArrayRef {
    let values = values.as_primitive::<From>();
    let numbers = ScalarBuffer::<To::Native>::new(values.values().inner().clone(), 0, values.len());
    Arc::new(PrimitiveArray::<To>::new(numbers, values.nulls().cloned()))
}

/// Floats by their bits, as DataFusion counts them; all else as it is.
fn to_interned(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float16 => bits::<Float16Type, UInt16Type>(values),
        DataType::Float32 => bits::<Float32Type, UInt32Type>(values),
        DataType::Float64 => bits::<Float64Type, UInt64Type>(values),
        _ => values.clone(),
    }
}

fn from_interned(values: ArrayRef, data_type: &DataType) -> ArrayRef {
    match data_type {
        DataType::Float16 => bits::<UInt16Type, Float16Type>(&values),
        DataType::Float32 => bits::<UInt32Type, Float32Type>(&values),
        DataType::Float64 => bits::<UInt64Type, Float64Type>(&values),
        _ => values,
    }
}

/// Distinct values of every group.
pub struct DistinctCounts {
    groups: usize,
    /// All groups' values, each once, by number.
    values: Box<dyn GroupValues>,
    data_type: DataType,
    /// Which numbers each group has.
    seen: Tally<false>,
    numbers: Vec<usize>,
}

impl DistinctCounts {
    pub fn new(data_type: &DataType) -> Result<Self> {
        let interned = to_interned(&new_empty_array(data_type)).data_type().clone();
        let schema = Schema::new(vec![Field::new("value", interned, true)]);
        let values = new_group_values(Arc::new(schema), &GroupOrdering::None)?;
        Ok(Self { groups: 0, values, data_type: data_type.clone(), seen: Tally::default(), numbers: Vec::new() })
    }

    fn add(&mut self, values: &ArrayRef, groups: impl Iterator<Item = usize>) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.values.intern(&[to_interned(values)], &mut self.numbers)?;
        if u32::try_from(self.values.len()).is_err() {
            return Err(exec_datafusion_err!("count(DISTINCT …) has more than 2^32 values in one pane"));
        }
        self.seen.reserve(values.len());
        for (group, &number) in groups.zip(&self.numbers) {
            self.seen.add(group, number as u32);
        }
        if self.seen.is_due() {
            self.seen.settle();
        }
        Ok(())
    }

    fn forget_first(&mut self, groups: usize) {
        self.seen.forget_first(groups);
        self.groups -= groups;
        if self.groups == 0 {
            self.values.clear_shrink(0);
            self.numbers = Vec::new();
        }
    }

    /// All values, by number. They stay known.
    fn dictionary(&mut self) -> Result<ArrayRef> {
        let known = self.values.emit(EmitTo::All)?;
        let known = known.into_iter().next();
        let known = known.ok_or_else(|| internal_datafusion_err!("values were interned in no column"))?;
        // Telling them forgets them.
        self.values.clear_shrink(0);
        self.values.intern(std::slice::from_ref(&known), &mut self.numbers)?;
        Ok(known)
    }
}

impl GroupsAccumulator for DistinctCounts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        let (values, groups) = rows::only(&values[0], group_indices, opt_filter)?;
        self.add(&values, groups.iter().copied())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = super::emitted(emit_to, self.groups);
        self.seen.settle();
        let counts: Int64Array = self.seen.ranges(groups).into_iter().map(|range| range.len() as i64).collect();
        self.forget_first(groups);
        Ok(Arc::new(counts))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = super::emitted(emit_to, self.groups);
        self.seen.settle();
        let ranges = self.seen.ranges(groups);
        let past = ranges.last().map_or(0, |range| range.end);
        let numbers = UInt32Array::from_iter_values(self.seen.entries()[..past].iter().map(|&entry| item_of(entry)));
        let offsets = OffsetBuffer::<i32>::from_lengths(ranges.into_iter().map(|range| range.len()));
        let known = self.dictionary()?;
        let values = from_interned(take(&known, &numbers, None)?, &self.data_type);
        self.forget_first(groups);
        let item = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        Ok(vec![Arc::new(ListArray::try_new(item, offsets, values, None)?)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        let lists = values[0].as_list::<i32>();
        let offsets = lists.value_offsets();
        let (from, past) = (offsets[0] as usize, offsets[lists.len()] as usize);
        let inner = lists.values().slice(from, past - from);
        let groups = group_indices.iter().zip(offsets.windows(2));
        let groups = groups.flat_map(|(&group, ends)| std::iter::repeat_n(group, (ends[1] - ends[0]) as usize));
        self.add(&inner, groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Self::new(&self.data_type)?;
        let groups: Vec<usize> = (0..values[0].len()).collect();
        each.update_batch(values, &groups, opt_filter, groups.len())?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.size() + self.seen.bytes() + self.numbers.capacity() * size_of::<usize>()
    }
}
