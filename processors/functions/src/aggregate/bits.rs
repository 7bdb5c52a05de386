//! `bit_xor`, as DataFusion's own but for `bit_xor(DISTINCT x)`.
//!
//! DataFusion 55 says that it has an accumulator of groups for it, and that one forgets the DISTINCT: in a group a value that
//! comes twice cancels itself out. Without groups it is right, so that accumulator is used, one for each group.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    common::Result,
    functions_aggregate::bit_and_or_xor::bit_xor_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BitXor(Arc<AggregateUDF>);

impl Default for BitXor {
    fn default() -> Self {
        Self(bit_xor_udaf())
    }
}

impl AggregateUDFImpl for BitXor {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.0.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct && self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.0.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.0.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.0.reverse_udf()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}
