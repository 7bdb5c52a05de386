//! The sketches as DataFusion sees them: names, types, and which accumulators they have.

use super::{
    Columnar,
    arguments::{number, quantile_and_accuracy},
    distinct_sketch::Distincts,
    quantile::Quantiles,
    single::Single,
};
use crate::{
    fault::{Fault, refuse},
    types::sql_type,
};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        Accumulator, AggregateUDFImpl, GroupsAccumulator, Signature, TypeSignature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};
use std::sync::Arc;

/// `ddsketch_quantile(x, quantile [, accuracy])`
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DdsketchQuantile {
    signature: Signature,
}

/// `hll_distinct(x)`
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct HllDistinct {
    signature: Signature,
}

/// Any arguments as far as the planner knows, so that wrong ones are refused in our words.
fn any() -> Signature {
    Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], Volatility::Immutable)
}

impl Default for DdsketchQuantile {
    fn default() -> Self {
        Self { signature: any() }
    }
}

impl Default for HllDistinct {
    fn default() -> Self {
        Self { signature: any() }
    }
}

fn state_of(args: &StateFieldsArgs) -> Vec<FieldRef> {
    vec![Arc::new(Field::new(format_state_name(args.name, "sketch"), DataType::LargeBinary, false))]
}

fn single<T: Columnar + Sync>(accumulator: T) -> Box<dyn Accumulator> {
    Box::new(Single(accumulator))
}

impl DdsketchQuantile {
    fn groups(args: &AccumulatorArgs) -> Result<Quantiles> {
        let numbers: Vec<Option<f64>> = args.exprs.iter().skip(1).map(number).collect();
        let (quantile, accuracy) = quantile_and_accuracy(&numbers)?;
        Ok(Quantiles::new(quantile, accuracy))
    }
}

impl AggregateUDFImpl for DdsketchQuantile {
    fn name(&self) -> &str {
        "ddsketch_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        const USAGE: &str =
            "write ddsketch_quantile(x, quantile [, accuracy]), e.g. ddsketch_quantile(duration_ns, 0.95)";
        let ([first, _] | [first, _, _]) = types else {
            return refuse(Fault::new("ddsketch_quantile takes 2 or 3 arguments").help(USAGE));
        };
        if !first.is_numeric() && !first.is_null() {
            let fault = Fault::new(format!("ddsketch_quantile looks at numbers, not {}", sql_type(first)));
            return refuse(fault.help("cast it: ddsketch_quantile(CAST(x AS DOUBLE), 0.95)"));
        }
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(single(Self::groups(&args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_of(&args))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Self::groups(&args)?))
    }
}

impl AggregateUDFImpl for HllDistinct {
    fn name(&self) -> &str {
        "hll_distinct"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Union(..)] => {
                refuse(Fault::new("hll_distinct does not know unions").help("give it one of the union's fields"))
            }
            [_] => Ok(DataType::Int64),
            _ => {
                let help = "write hll_distinct(x), e.g. hll_distinct(dst_addr)";
                refuse(Fault::new("hll_distinct takes 1 argument").help(help))
            }
        }
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(single(Distincts::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_of(&args))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::<Distincts>::default())
    }
}
