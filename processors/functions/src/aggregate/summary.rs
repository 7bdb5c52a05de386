//! Aggregates that keep a small summary of each group: `sequence`, `top_k`, `histogram` and `ewma`.
//!
//! Each says what it keeps of a group, how that takes a row, merges, and is written as bytes ([`Summary`]); the accumulators
//! over all groups and what DataFusion asks are here, once. A state is written whole: what comes of states that are merged
//! is what comes of their rows.
//! Limits: a summary's own, which each states; groups are visited one by one, so these are slower than sums and counts.

mod ewma;
mod histogram;
mod sequence;
mod top_k;

pub use ewma::Ewma;
pub use histogram::Histogram;
pub use sequence::Sequence;
pub use top_k::TopK;

use super::{Columnar, arguments::constant, rows, single::Single};
use crate::fault::{Fault, refuse};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, LargeBinaryBuilder},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err},
    logical_expr::{
        Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, TypeSignature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};
use std::{fmt::Debug, hash::Hash, marker::PhantomData, sync::Arc};

/// What is kept of each group.
pub trait Summary: Debug + Clone + Send + Sync + 'static {
    type Group: Debug + Default + Send + Sync;
    /// A batch's arguments, ready to be looked at row by row.
    type Rows;

    /// The array whose nulls are left out comes first.
    fn rows(&self, arguments: &[ArrayRef]) -> Result<(ArrayRef, Self::Rows)>;

    fn add(&self, group: &mut Self::Group, rows: &Self::Rows, row: usize);

    fn write(&self, group: &Self::Group, bytes: &mut Vec<u8>);

    /// Takes in what [`Summary::write`] wrote; `None` when it did not.
    fn merge(&self, group: &mut Self::Group, bytes: &[u8]) -> Option<()>;

    /// Bytes on the heap.
    fn heap_bytes(&self, group: &Self::Group) -> usize;

    /// A value for each group.
    fn values(&self, groups: &mut [Self::Group]) -> Result<ArrayRef>;
}

/// A function whose accumulators keep summaries.
pub trait Definition: Debug + Default + PartialEq + Eq + Hash + Send + Sync + 'static {
    type Summary: Summary;
    const NAME: &'static str;
    /// How it is written.
    const USAGE: &'static str;

    /// The result's type, or what is wrong with the arguments' types.
    fn returns(types: &[DataType]) -> Result<DataType, Fault>;

    /// From the arguments' types, and their values where these are constant.
    fn summary(types: &[DataType], constants: &[Option<ScalarValue>]) -> Result<Self::Summary, Fault>;
}

/// A [`Definition`] as DataFusion sees it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Summarised<D> {
    signature: Signature,
    definition: PhantomData<D>,
}

impl<D> Default for Summarised<D> {
    fn default() -> Self {
        // Any, as far as the planner knows, so that wrong ones are refused in our words.
        let any = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
        Self { signature: Signature::one_of(any, Volatility::Immutable), definition: PhantomData }
    }
}

/// Says how to write it, and where it stands.
fn told<D: Definition>(fault: Fault) -> Fault {
    let fault = if fault.help.is_none() { fault.help(format!("write {}", D::USAGE)) } else { fault };
    fault.at(format!("{}(", D::NAME))
}

/// Refuses constants that cannot be, when the SQL is planned; and `DISTINCT`, which would change nothing or everything.
pub fn check<D: Definition>(constants: &[Option<ScalarValue>], distinct: bool) -> Result<()> {
    if distinct {
        return refuse(told::<D>(Fault::new(format!("{} takes no DISTINCT", D::NAME))));
    }
    // Types were looked at before, and no summary's constants depend on those of columns.
    let of = |constant: &Option<ScalarValue>| constant.as_ref().map_or(DataType::Null, ScalarValue::data_type);
    let types: Vec<DataType> = constants.iter().map(of).collect();
    D::summary(&types, constants).map_or_else(|fault| refuse(told::<D>(fault)), |_| Ok(()))
}

impl<D: Definition> Summarised<D> {
    fn groups(args: &AccumulatorArgs) -> Result<Summaries<D::Summary>> {
        let types: Vec<DataType> =
            args.exprs.iter().map(|expression| expression.data_type(args.schema)).collect::<Result<_>>()?;
        let constants: Vec<Option<ScalarValue>> = args.exprs.iter().map(constant).collect();
        match D::summary(&types, &constants) {
            Ok(summary) => Ok(Summaries { summary, groups: Vec::new(), heap_bytes: 0 }),
            Err(fault) => refuse(told::<D>(fault)),
        }
    }
}

impl<D: Definition> AggregateUDFImpl for Summarised<D> {
    fn name(&self) -> &str {
        D::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        D::returns(types).map_or_else(|fault| refuse(told::<D>(fault)), Ok)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Single(Self::groups(&args)?)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "summary"), DataType::LargeBinary, false))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Self::groups(&args)?))
    }
}

/// Summaries of all groups.
#[derive(Debug)]
pub struct Summaries<S: Summary> {
    summary: S,
    groups: Vec<S::Group>,
    heap_bytes: usize,
}

impl<S: Summary> Summaries<S> {
    /// Changes a group, and knows what it takes afterwards.
    fn change<T>(&mut self, group: usize, change: impl FnOnce(&S, &mut S::Group) -> T) -> T {
        let group = &mut self.groups[group];
        let before = self.summary.heap_bytes(group);
        let result = change(&self.summary, group);
        self.heap_bytes = self.heap_bytes + self.summary.heap_bytes(group) - before;
        result
    }

    fn forget_first(&mut self, groups: usize) {
        let gone: usize = self.groups.drain(..groups).map(|group| self.summary.heap_bytes(&group)).sum();
        self.heap_bytes = self.heap_bytes.saturating_sub(gone);
    }
}

impl<S: Summary> Columnar for Summaries<S> {
    fn fit(&mut self, groups: usize) {
        let groups = groups.max(self.groups.len());
        self.groups.resize_with(groups, S::Group::default);
    }

    fn values(&mut self, groups: usize) -> Result<ArrayRef> {
        self.summary.values(&mut self.groups[..groups])
    }
}

impl<S: Summary> GroupsAccumulator for Summaries<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.fit(total_num_groups);
        let (first, columns) = self.summary.rows(values)?;
        rows::each(&first, group_indices, opt_filter, |row, group| {
            self.change(group, |summary, group| summary.add(group, &columns, row));
        });
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = super::emitted(emit_to, self.groups.len());
        let values = self.values(groups)?;
        self.forget_first(groups);
        Ok(values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = super::emitted(emit_to, self.groups.len());
        let mut states = LargeBinaryBuilder::with_capacity(groups, groups * 16);
        let mut bytes = Vec::new();
        for group in &self.groups[..groups] {
            bytes.clear();
            self.summary.write(group, &mut bytes);
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
        for (row, &group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            if self.change(group, |summary, group| summary.merge(group, states.value(row))).is_none() {
                return internal_err!("a state of {} does not read", std::any::type_name::<S>());
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Self { summary: self.summary.clone(), groups: Vec::new(), heap_bytes: 0 };
        let groups: Vec<usize> = (0..values[0].len()).collect();
        each.update_batch(values, &groups, opt_filter, groups.len())?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.capacity() * size_of::<S::Group>() + self.heap_bytes
    }
}

/// Times in nanoseconds since 1970.
fn times_ns(times: &ArrayRef) -> Result<ArrayRef> {
    Ok(arrow::compute::cast(times, &DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None))?)
}
