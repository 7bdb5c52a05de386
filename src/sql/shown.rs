//! Values of rows as people read them, and as programs do: numbers are numbers in JSON.

use amoskys_pipeline::trial::SHOWN;
use anyhow::Result;
use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, UInt64Type},
    util::display::ArrayFormatter,
};
use serde_json::Value;
use std::fmt;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    text: String,
    json: Value,
}

impl Shown {
    /// Of a column's row.
    pub fn of(column: &ArrayRef, row: usize) -> Result<Self> {
        let text = ArrayFormatter::try_new(column, &SHOWN)?.value(row).to_string();
        let json = json(column, row)?.unwrap_or_else(|| Value::from(text.clone()));
        Ok(Self { text, json })
    }

    pub fn json(&self) -> &Value {
        &self.json
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is more than text in JSON. A float that JSON has no number for stays text.
fn json(column: &ArrayRef, row: usize) -> Result<Option<Value>> {
    if column.is_null(row) {
        return Ok(Some(Value::Null));
    }
    let one = column.slice(row, 1);
    let of = column.data_type();
    Ok(match of {
        DataType::Boolean => Some(Value::from(one.as_boolean().value(0))),
        _ if of.is_signed_integer() => {
            Some(Value::from(cast(&one, &DataType::Int64)?.as_primitive::<Int64Type>().value(0)))
        }
        _ if of.is_unsigned_integer() => {
            Some(Value::from(cast(&one, &DataType::UInt64)?.as_primitive::<UInt64Type>().value(0)))
        }
        _ if of.is_floating() => {
            let value = cast(&one, &DataType::Float64)?.as_primitive::<Float64Type>().value(0);
            serde_json::Number::from_f64(value).map(Value::Number)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Float64Array, Int32Array, StringArray, UInt64Array};
    use std::sync::Arc;

    #[test]
    fn numbers_are_numbers() {
        let columns: [(ArrayRef, &str); 7] = [
            (Arc::new(Int32Array::from(vec![-5])), "-5"),
            (Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
            (Arc::new(Float64Array::from(vec![0.5])), "0.5"),
            (Arc::new(Float64Array::from(vec![f64::NAN])), "\"NaN\""),
            (Arc::new(BooleanArray::from(vec![true])), "true"),
            (Arc::new(StringArray::from(vec!["5"])), "\"5\""),
            (Arc::new(StringArray::from(vec![None::<&str>])), "null"),
        ];
        for (column, json) in columns {
            assert_eq!(Shown::of(&column, 0).expect("shown").json().to_string(), json);
        }
    }
}
