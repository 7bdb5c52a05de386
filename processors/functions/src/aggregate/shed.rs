//! `shed_rows()`: how many rows were left out of a window because a bound was reached; the same for all keys.
//!
//! A name for what the window operator knows: whoever runs the window puts the number in place of the zero that is
//! computed here. Limits: above a window it is no aggregate of rows, and refused where there is no window.

use crate::fault::{Fault, refuse};
use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        Accumulator, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Signature, TypeSignature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        lit,
        utils::format_state_name,
    },
};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ShedRows {
    signature: Signature,
}

impl Default for ShedRows {
    fn default() -> Self {
        let signature = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
        Self { signature: Signature::one_of(signature, Volatility::Immutable) }
    }
}

/// Whether an aggregate's expression is `shed_rows()`.
pub fn is_shed_rows(expression: &Expr) -> bool {
    matches!(expression.clone().unalias(), Expr::AggregateFunction(call) if call.func.name() == "shed_rows")
}

/// `shed_rows()` with an argument that says nothing, as DataFusion's accumulators have at least one.
pub fn with_argument(expression: &Expr) -> Expr {
    match expression.clone().unalias() {
        Expr::AggregateFunction(mut call) if call.func.name() == "shed_rows" => {
            call.params.args = vec![lit(1i64)];
            Expr::AggregateFunction(call)
        }
        _ => expression.clone(),
    }
}

pub fn takes_no_argument() -> Fault {
    Fault::new("shed_rows takes no argument").help("shed_rows() tells how many rows the window lacks").at("shed_rows(")
}

impl AggregateUDFImpl for ShedRows {
    fn name(&self) -> &str {
        "shed_rows"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            // One, where DataFusion wants an argument: see `with_argument`.
            [] | [DataType::Int64] => Ok(DataType::Int64),
            _ => refuse(takes_no_argument()),
        }
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Nothing::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "none"), DataType::Int64, false))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Nothing::default()))
    }
}

/// A zero for each group.
#[derive(Debug, Default)]
struct Nothing {
    groups: usize,
}

impl Nothing {
    fn zeros(&mut self, emit_to: EmitTo) -> ArrayRef {
        let emitted = super::emitted(emit_to, self.groups);
        self.groups -= emitted;
        Arc::new(Int64Array::from(vec![0; emitted]))
    }
}

impl Accumulator for Nothing {
    fn update_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(0))])
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Ok(())
    }
}

impl GroupsAccumulator for Nothing {
    fn update_batch(&mut self, _: &[ArrayRef], _: &[usize], _: Option<&BooleanArray>, groups: usize) -> Result<()> {
        self.groups = groups;
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.zeros(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.zeros(emit_to)])
    }

    fn merge_batch(&mut self, _: &[ArrayRef], _: &[usize], groups: usize) -> Result<()> {
        self.groups = groups;
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(Int64Array::from(vec![0; values.first().map_or(0, |values| values.len())]))])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}
