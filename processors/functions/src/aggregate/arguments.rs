//! Arguments of the aggregates that are not columns: read, and checked when the SQL is planned.

use super::{
    functions::{DdsketchQuantile, HllDistinct},
    scale::{ACCURACY_MAX, ACCURACY_MIN},
    shed::{ShedRows, takes_no_argument},
    summary::{self, Ewma, Histogram, Sequence, Summarised, TopK},
};
use crate::fault::{Fault, refuse};
use arrow::{array::RecordBatch, datatypes::Schema};
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        config::ConfigOptions,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::context::ExecutionProps,
    logical_expr::{
        AggregateUDF, ColumnarValue, Expr, LogicalPlan, WindowFunctionDefinition,
        physical_planning_context::PhysicalPlanningContext,
    },
    optimizer::AnalyzerRule,
    physical_expr::{PhysicalExpr, create_physical_expr},
};
use std::sync::Arc;

/// When it is not said.
pub const ACCURACY: f64 = 0.01;

/// Refuses calls of our aggregates whose arguments cannot be, wherever they are in a plan. They could not be refused later:
/// accumulators are made when the first row comes.
#[derive(Debug)]
pub struct CheckArguments;

impl AnalyzerRule for CheckArguments {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expression| {
                expression.apply(|expression| {
                    match expression {
                        Expr::AggregateFunction(call) => {
                            check(&call.func, &call.params.args, call.params.distinct)?;
                        }
                        Expr::WindowFunction(call) => {
                            if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun {
                                check(function, &call.params.args, call.params.distinct)?;
                            }
                        }
                        _ => {}
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "check_aggregates"
    }
}

fn check(function: &AggregateUDF, arguments: &[Expr], distinct: bool) -> Result<()> {
    let function = function.inner().as_ref() as &dyn std::any::Any;
    if function.is::<DdsketchQuantile>() {
        if distinct {
            let help = "for the distinct ones write percentile_cont(DISTINCT …) WITHIN GROUP (ORDER BY …), which keeps \
                        them all";
            return refuse(of_quantile("ddsketch_quantile takes no DISTINCT: it counts every value").help(help));
        }
        quantile_and_accuracy(&arguments.iter().skip(1).map(number_of_expression).collect::<Vec<_>>())?;
    }
    let constants = || -> Vec<Option<ScalarValue>> {
        arguments.iter().map(|argument| constant(&over_nothing(argument)?)).collect()
    };
    if function.is::<Summarised<Sequence>>() {
        summary::check::<Sequence>(&constants(), distinct)?;
    } else if function.is::<Summarised<TopK>>() {
        summary::check::<TopK>(&constants(), distinct)?;
    } else if function.is::<Summarised<Histogram>>() {
        summary::check::<Histogram>(&constants(), distinct)?;
    } else if function.is::<Summarised<Ewma>>() {
        summary::check::<Ewma>(&constants(), distinct)?;
    }
    if function.is::<ShedRows>() && !arguments.is_empty() {
        return refuse(takes_no_argument());
    }
    if function.is::<HllDistinct>() && distinct {
        let fault = Fault::new("hll_distinct takes no DISTINCT").help("write hll_distinct(x)");
        return refuse(fault.at("hll_distinct("));
    }
    Ok(())
}

/// `None` for what is not a number known beforehand.
fn number_of_expression(expression: &Expr) -> Option<f64> {
    number(&over_nothing(expression)?)
}

/// An expression that reads no column.
fn over_nothing(expression: &Expr) -> Option<Arc<dyn PhysicalExpr>> {
    let schema = DFSchema::empty();
    let context = PhysicalPlanningContext::default();
    create_physical_expr(expression, &schema, &ExecutionProps::new(), &context).ok()
}

/// What an expression is that reads no column.
pub fn constant(expression: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
    match expression.evaluate(&batch).ok()? {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(_) => None,
    }
}

/// The number that an expression over no column is.
pub fn number(expression: &Arc<dyn PhysicalExpr>) -> Option<f64> {
    let value = constant(expression).filter(|value| value.data_type().is_numeric())?;
    match value.cast_to(&arrow::datatypes::DataType::Float64) {
        Ok(ScalarValue::Float64(number)) => number,
        _ => None,
    }
}

/// The quantile and the accuracy, from the arguments after the first.
pub fn quantile_and_accuracy(numbers: &[Option<f64>]) -> Result<(f64, f64)> {
    const USAGE: &str = "write for example ddsketch_quantile(duration_ns, 0.95)";
    let Some((&quantile, accuracy)) = numbers.split_first() else {
        return refuse(of_quantile("ddsketch_quantile takes what to look at and which quantile").help(USAGE));
    };
    let quantile = match quantile {
        Some(quantile) if (0.0..=1.0).contains(&quantile) => quantile,
        Some(percent) if percent > 1.0 && percent <= 100.0 => {
            let message = format!("the quantile of ddsketch_quantile is from 0 to 1, not {percent}");
            return refuse(of_quantile(message).help(format!("write {} for {percent} %", percent / 100.0)));
        }
        Some(other) => {
            let message = format!("the quantile of ddsketch_quantile is from 0 to 1, not {other}");
            return refuse(of_quantile(message).help(USAGE));
        }
        None => {
            let message = "the quantile of ddsketch_quantile must be a literal number from 0 to 1";
            return refuse(of_quantile(message).help(USAGE));
        }
    };
    match accuracy {
        [] => Ok((quantile, ACCURACY)),
        [Some(accuracy)] if (ACCURACY_MIN..=ACCURACY_MAX).contains(accuracy) => Ok((quantile, *accuracy)),
        [Some(other)] => {
            let range = format!("from {ACCURACY_MIN} to {ACCURACY_MAX}");
            let message = format!("the accuracy of ddsketch_quantile is {range}, not {other}");
            refuse(of_quantile(message).help(format!("leave it out for {ACCURACY} (1 %)")))
        }
        _ => refuse(
            of_quantile("the accuracy of ddsketch_quantile must be one literal number")
                .help("write for example ddsketch_quantile(duration_ns, 0.95, 0.005) for 0.5 %"),
        ),
    }
}

fn of_quantile(message: impl Into<String>) -> Fault {
    Fault::new(message).at("ddsketch_quantile(")
}
