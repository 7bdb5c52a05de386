//! `count`, as DataFusion's own but for `count(DISTINCT x)`, whose groups are counted together and not one by one.
//!
//! DataFusion 55 has a vectorised `count(DISTINCT x)` for integers alone, of one hash table for all groups; for text, times
//! and all else it keeps a hash set and a call per group and batch. Here values become small items (`distinct_items`) and
//! groups sets of items (`sets`). Results, state and everything else are DataFusion's.
//!
//! Limits: values that are not numbers are kept until all groups are told. Dictionaries and nested types stay with
//! DataFusion.

use super::{
    distinct_items::{Bits, Items, Numbered, bits_of},
    rows,
    sets::Sets,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, FieldRef, UInt8Type, UInt16Type, UInt32Type, UInt64Type},
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err},
    functions_aggregate::count::{Count, count_udaf},
    logical_expr::{
        Accumulator, AggregateUDFImpl, Documentation, EmitTo, Expr, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
        Signature, StatisticsArgs,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash, Default)]
pub struct VectorisedCount(Count);

/// The aggregate, without a name, with DataFusion's `count` where ours adds nothing, so that whoever knows DataFusion's
/// functions knows it.
pub fn without_override(expression: Expr) -> Expr {
    match expression.unalias() {
        Expr::AggregateFunction(mut call) if call.func.inner().is::<VectorisedCount>() && !call.params.distinct => {
            call.func = count_udaf();
            Expr::AggregateFunction(call)
        }
        other => other,
    }
}

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
            return distinct_counts(args.expr_fields[0].data_type());
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
    args.is_distinct && !other && !data_type.is_nested()
}

fn distinct_counts(data_type: &DataType) -> Result<Box<dyn GroupsAccumulator>> {
    Ok(match bits_of(data_type) {
        Some(8) => Box::new(DistinctCounts::<Bits<UInt8Type>>::new(data_type)?),
        Some(16) => Box::new(DistinctCounts::<Bits<UInt16Type>>::new(data_type)?),
        Some(32) => Box::new(DistinctCounts::<Bits<UInt32Type>>::new(data_type)?),
        Some(64) => Box::new(DistinctCounts::<Bits<UInt64Type>>::new(data_type)?),
        _ => Box::new(DistinctCounts::<Numbered>::new(data_type)?),
    })
}

/// Distinct values of every group.
pub struct DistinctCounts<I: Items> {
    groups: usize,
    data_type: DataType,
    items: I,
    sets: Sets<I::Item>,
}

impl<I: Items> DistinctCounts<I> {
    fn new(data_type: &DataType) -> Result<Self> {
        let (items, sets) = (I::new(data_type)?, Sets::default());
        Ok(Self { groups: 0, data_type: data_type.clone(), items, sets })
    }

    fn forget_first(&mut self, groups: usize) {
        self.sets.forget_first(groups);
        self.groups -= groups;
        if self.groups == 0 {
            self.items.forget();
        }
    }
}

impl<I: Items + 'static> GroupsAccumulator for DistinctCounts<I> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        let (values, groups) = rows::only(&values[0], group_indices, opt_filter)?;
        let items = self.items.of(&values)?;
        self.sets.add(items, groups.iter().copied(), self.groups);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = super::emitted(emit_to, self.groups);
        self.sets.settle(self.groups);
        let (_, ends) = self.sets.settled();
        let mut from = 0;
        let count = |&end: &usize| (end - std::mem::replace(&mut from, end)) as i64;
        let counts: Int64Array = ends[..groups].iter().map(count).collect();
        self.forget_first(groups);
        Ok(Arc::new(counts))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = super::emitted(emit_to, self.groups);
        self.sets.settle(self.groups);
        let (items, ends) = self.sets.settled();
        let offsets = std::iter::once(0).chain(ends[..groups].iter().copied());
        let offsets = offsets.map(i32::try_from).collect::<Result<Vec<i32>, _>>();
        let offsets =
            offsets.map_err(|_| exec_datafusion_err!("count(DISTINCT …) has more than 2^31 values in one pane"))?;
        let past = offsets.last().map_or(0, |&past| past as usize);
        let values = self.items.values(&items[..past], groups == self.groups)?;
        self.forget_first(groups);
        let item = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        Ok(vec![Arc::new(ListArray::try_new(item, OffsetBuffer::new(offsets.into()), values, None)?)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        let lists = values[0].as_list::<i32>();
        let offsets = lists.value_offsets();
        let (from, past) = (offsets[0] as usize, offsets[lists.len()] as usize);
        let items = self.items.of_told(&lists.values().slice(from, past - from))?;
        let lengths = offsets.windows(2).map(|ends| (ends[1] - ends[0]) as usize);
        self.sets.add_runs(items, group_indices.iter().copied().zip(lengths), self.groups);
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Self::new(&self.data_type)?;
        let groups: Vec<usize> = (0..values[0].len()).collect();
        each.update_batch(values, &groups, opt_filter, groups.len())?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.items.bytes() + self.sets.bytes()
    }
}
