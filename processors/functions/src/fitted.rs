//! `normalise('file', 'name', x)` and `one_hot('file', 'name', text)`: a model's inputs as they were fitted.
//!
//! The statistics are of a file that `amoskys sql fit` wrote ([`Statistics`]), found when the SQL is planned; so what a model is trained on
//! and what it is served are scaled and told apart alike. Deliberately not here: reading the file, and fitting.
//! Limits: [`CATEGORIES_MAX`] categories of a name.

use crate::{
    fault::{Fault, refuse},
    types::sql_type,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Float64Builder, ListBuilder},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// Most categories of a name.
pub const CATEGORIES_MAX: usize = 1024;

/// What was fitted, by the names of columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    pub numbers: BTreeMap<String, Moments>,
    /// The values that have a place of their own, in order.
    pub categories: BTreeMap<String, Vec<String>>,
}

/// Where values are, and how far apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    pub mean: f64,
    /// Of the population; not negative.
    pub standard_deviation: f64,
}

/// Finds the statistics of a file; the error says what is wrong with it.
pub type Lookup = dyn Fn(&str) -> Result<Arc<Statistics>, String> + Send + Sync;

/// Both functions.
pub fn fitted(lookup: &Arc<Lookup>) -> Vec<ScalarUDF> {
    let of = |kind| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::from(FittedFunction { kind, lookup: lookup.clone(), signature })
    };
    vec![of(Kind::Normalise), of(Kind::OneHot)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Normalise,
    OneHot,
}

struct FittedFunction {
    kind: Kind,
    lookup: Arc<Lookup>,
    signature: Signature,
}

impl fmt::Debug for FittedFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())
    }
}

impl PartialEq for FittedFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.lookup, &other.lookup)
    }
}

impl Eq for FittedFunction {}

impl std::hash::Hash for FittedFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Normalise => "normalise",
            Self::OneHot => "one_hot",
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Normalise => "normalise('fitted.json', 'calls', calls)",
            Self::OneHot => "one_hot('fitted.json', 'comm', comm)",
        }
    }

    fn gives(self) -> DataType {
        match self {
            Self::Normalise => DataType::Float64,
            Self::OneHot => DataType::List(Arc::new(item())),
        }
    }

    fn takes(self, data_type: &DataType) -> bool {
        match self {
            Self::Normalise => data_type.is_numeric() || data_type.is_null(),
            Self::OneHot => data_type.is_string() || matches!(data_type, DataType::Null),
        }
    }
}

fn item() -> Field {
    Field::new_list_field(DataType::Float64, true)
}

fn text(value: Option<&ScalarValue>) -> Option<&str> {
    value?.try_as_str().flatten()
}

impl FittedFunction {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(message).help(format!("write {}", self.kind.usage())).at(format!("{}(", self.kind.name()))
    }

    /// The statistics of a file, which have the name.
    fn statistics(&self, file: &str, name: &str) -> Result<Arc<Statistics>> {
        let statistics = match (self.lookup)(file) {
            Ok(statistics) => statistics,
            Err(error) => {
                let fault = Fault::new(error).help("amoskys sql fit writes such a file");
                return refuse(fault.at(format!("'{file}'")));
            }
        };
        let known: Vec<&String> = match self.kind {
            Kind::Normalise => statistics.numbers.keys().collect(),
            Kind::OneHot => statistics.categories.keys().collect(),
        };
        if known.iter().any(|known| *known == name) {
            return Ok(statistics);
        }
        let what = if self.kind == Kind::Normalise { "numbers" } else { "categories" };
        let all = known.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let fault = Fault::new(format!("{file} has no {what} of `{name}`"));
        refuse(fault.help(format!("there are {all}")).at(format!("'{name}'")))
    }
}

impl ScalarUDFImpl for FittedFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.kind.gives())
    }

    fn return_field_from_args(&self, given: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let name = self.kind.name();
        let [_, _, x] = given.arg_fields else {
            return refuse(self.fault(format!("{name} takes 3 arguments")));
        };
        let [file, of, _] = given.scalar_arguments else { return internal_err!("arguments without their values") };
        let (Some(file), Some(of)) = (text(*file), text(*of)) else {
            return refuse(self.fault(format!("{name} takes a file and a name, as literals")));
        };
        if !self.kind.takes(x.data_type()) {
            let wanted = if self.kind == Kind::Normalise { "a number" } else { "text" };
            return refuse(self.fault(format!("{name} takes {wanted}, not {}", sql_type(x.data_type()))));
        }
        self.statistics(file, of)?;
        Ok(Arc::new(Field::new(name, self.kind.gives(), true)))
    }

    fn invoke_with_args(&self, given: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(file), ColumnarValue::Scalar(name), x] = given.args.as_slice() else {
            return internal_err!("{} without literals", self.kind.name());
        };
        let (file, name) = (text(Some(file)).unwrap_or_default(), text(Some(name)).unwrap_or_default());
        let statistics = self.statistics(file, name)?;
        let array = x.to_array(given.number_rows)?;
        let values = match self.kind {
            Kind::Normalise => normalised(&array, statistics.numbers[name])?,
            Kind::OneHot => one_hot(&array, &statistics.categories[name])?,
        };
        match x {
            ColumnarValue::Scalar(_) => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            ColumnarValue::Array(_) => Ok(ColumnarValue::Array(values)),
        }
    }
}

/// How many standard deviations from the mean; 0 where all values were one.
fn normalised(array: &ArrayRef, moments: Moments) -> Result<ArrayRef> {
    let numbers = cast(array, &DataType::Float64)?;
    let Moments { mean, standard_deviation } = moments;
    let scaled = |x: f64| if standard_deviation == 0.0 { 0.0 } else { (x - mean) / standard_deviation };
    Ok(Arc::new(numbers.as_primitive::<Float64Type>().unary::<_, Float64Type>(scaled) as Float64Array))
}

/// A one in the category's place, or in the last for what is none of them.
fn one_hot(array: &ArrayRef, categories: &[String]) -> Result<ArrayRef> {
    let places: HashMap<&str, usize> =
        categories.iter().enumerate().map(|(place, category)| (category.as_str(), place)).collect();
    let texts = cast(array, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let values = Float64Builder::with_capacity(texts.len() * (categories.len() + 1));
    let mut lists = ListBuilder::new(values).with_field(item());
    for text in texts {
        let hot = text.and_then(|text| places.get(text).copied()).unwrap_or(categories.len());
        (0..=categories.len()).for_each(|place| lists.values().append_value(if place == hot { 1.0 } else { 0.0 }));
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}
