//! `hop(time, slide, size)`, `tumble(time, size)` and `session(time, gap, longest)`: the window of a row, as a struct
//! `{start, end}`.
//!
//! They are only names: a row is in many windows, or in one that other rows decide, so they cannot be evaluated row by row. They mean something in
//! `GROUP BY`, where [`WindowCall::parse`] reads them.

use crate::{
    fault::{Fault, refuse},
    types::sql_type,
};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::{
    common::{Result, ScalarValue, plan_err},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// The type of a window: `start` and `end`, nanoseconds since 1970, UTC.
pub fn window_type() -> DataType {
    DataType::Struct(window_fields())
}

/// The fields of [`window_type`].
pub fn window_fields() -> Fields {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    Fields::from(vec![Field::new("start", time.clone(), false), Field::new("end", time, false)])
}

/// `hop(time TIMESTAMP, slide INTERVAL, size INTERVAL)`
pub fn hop() -> ScalarUDF {
    ScalarUDF::from(WindowFunction::new("hop", 3))
}

/// `tumble(time TIMESTAMP, size INTERVAL)`
pub fn tumble() -> ScalarUDF {
    ScalarUDF::from(WindowFunction::new("tumble", 2))
}

/// `session(time TIMESTAMP, gap INTERVAL, longest INTERVAL)`
pub fn session() -> ScalarUDF {
    ScalarUDF::from(WindowFunction::new("session", 3))
}

/// A fault that stands where the window does.
pub fn at_window(fault: Fault) -> Fault {
    fault.at("hop(").at("tumble(").at("session(")
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowFunction {
    name: &'static str,
    arguments: usize,
    signature: Signature,
}

impl WindowFunction {
    /// Any number of arguments as far as the planner knows, so that the wrong one is refused in our words.
    fn new(name: &'static str, arguments: usize) -> Self {
        Self { name, arguments, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    fn fault(&self, message: String) -> Fault {
        Fault::new(message).help(format!("write {}", self.usage())).at(format!("{}(", self.name))
    }

    fn miscounted(&self) -> Fault {
        self.fault(format!("{} takes {} arguments", self.name, self.arguments))
    }

    fn usage(&self) -> &'static str {
        match self.name {
            "hop" => "hop(time, slide, size), e.g. hop(observed_at, INTERVAL '1 second', INTERVAL '5 seconds')",
            "session" => {
                "session(time, gap, longest), e.g. session(observed_at, INTERVAL '5 minutes', INTERVAL '4 hours')"
            }
            _ => "tumble(time, size), e.g. tumble(observed_at, INTERVAL '5 seconds')",
        }
    }
}

impl ScalarUDFImpl for WindowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if types.len() != self.arguments {
            return refuse(self.miscounted());
        }
        if !matches!(types[0], DataType::Timestamp(..)) {
            let found = &types[0];
            return refuse(self.fault(format!(
                "the time of {} must be a timestamp, not {}",
                self.name,
                sql_type(found)
            )));
        }
        Ok(window_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!("{} belongs into GROUP BY: it puts a row into windows and has no value for a single row", self.name)
    }
}

/// A window as written in `GROUP BY`.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCall {
    pub time: Expr,
    pub length: Length,
}

/// How long it is; whether that can be is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Sliding { slide_ns: i64, size_ns: i64 },
    Session { gap_ns: i64, longest_ns: i64 },
}

impl WindowCall {
    /// `None` when the expression is no window; an error when it is one that cannot be.
    pub fn parse(expression: &Expr) -> Option<Result<WindowCall>> {
        let Expr::ScalarFunction(call) = expression.clone().unalias() else { return None };
        let function = (call.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<WindowFunction>()?;
        Some(Self::from_arguments(function, &call.args))
    }

    fn from_arguments(function: &WindowFunction, arguments: &[Expr]) -> Result<WindowCall> {
        let interval = |argument, what| interval_ns(argument, what, function);
        let (time, length) = match (function.name, arguments) {
            ("session", [time, gap, longest]) => {
                let (gap_ns, longest_ns) = (interval(gap, "gap")?, interval(longest, "greatest length")?);
                (time, Length::Session { gap_ns, longest_ns })
            }
            ("hop", [time, slide, size]) => {
                let (slide_ns, size_ns) = (interval(slide, "slide")?, interval(size, "size")?);
                (time, Length::Sliding { slide_ns, size_ns })
            }
            ("tumble", [time, size]) => {
                let size_ns = interval(size, "size")?;
                (time, Length::Sliding { slide_ns: size_ns, size_ns })
            }
            _ => return refuse(function.miscounted()),
        };
        Ok(WindowCall { time: time.clone(), length })
    }
}

/// Months, days and nanoseconds of an interval; no nanoseconds where there are too many. `None` for what is no interval.
fn parts(value: &ScalarValue) -> Option<(i32, i64, Option<i64>)> {
    const MILLISECOND_NS: i64 = 1_000_000;
    Some(match value {
        ScalarValue::IntervalMonthDayNano(Some(value)) => {
            (value.months, i64::from(value.days), Some(value.nanoseconds))
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            (0, i64::from(value.days), Some(i64::from(value.milliseconds) * MILLISECOND_NS))
        }
        ScalarValue::IntervalYearMonth(Some(months)) => (*months, 0, Some(0)),
        ScalarValue::DurationNanosecond(Some(value)) => (0, 0, Some(*value)),
        ScalarValue::DurationMicrosecond(Some(value)) => (0, 0, value.checked_mul(1_000)),
        ScalarValue::DurationMillisecond(Some(value)) => (0, 0, value.checked_mul(MILLISECOND_NS)),
        ScalarValue::DurationSecond(Some(value)) => (0, 0, value.checked_mul(1_000_000_000)),
        _ => return None,
    })
}

fn total_ns(days: i64, nanoseconds: Option<i64>) -> Option<i64> {
    const DAY_NS: i64 = 86_400_000_000_000;
    days.checked_mul(DAY_NS)?.checked_add(nanoseconds?)
}

/// Nanoseconds of an interval of fixed length; `None` for what is none, or has months.
pub fn fixed_interval_ns(value: &ScalarValue) -> Option<i64> {
    match parts(value)? {
        (0, days, nanoseconds) => total_ns(days, nanoseconds),
        _ => None,
    }
}

/// Nanoseconds of a literal interval of fixed length; a day is 24 hours.
fn interval_ns(expression: &Expr, what: &str, function: &WindowFunction) -> Result<i64> {
    let mut expression = expression;
    while let Expr::Cast(cast) = expression {
        expression = &cast.expr;
    }
    let Expr::Literal(value, _) = expression else {
        let message = format!("the {what} of {} must be a literal interval, not `{expression}`", function.name);
        return refuse(function.fault(message));
    };
    let Some((months, days, nanoseconds)) = parts(value) else {
        return refuse(function.fault(format!("the {what} of {} must be an interval, not `{value}`", function.name)));
    };
    if months != 0 {
        let fault = Fault::new(format!("the {what} of {} is in months, which differ in length", function.name));
        return refuse(fault.help("write it in days or less").at(format!("{}(", function.name)));
    }
    match total_ns(days, nanoseconds) {
        Some(total) => Ok(total),
        None => refuse(function.fault(format!("the {what} of {} is longer than 292 years", function.name))),
    }
}
