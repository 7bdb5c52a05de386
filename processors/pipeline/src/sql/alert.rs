//! What an INSERT of alerts lacks of what people and SIEMs look at.
//!
//! Deliberately not here: what the emitter fills in (detection, severity, the window's end as the time), and whether columns fit
//! the fields.

use super::{
    Query, Sink,
    catalog::nearest,
    warnings::{ALERT_FIELDS, Warning},
};
use amoskys_functions::fault::{Fault, refuse};
use arrow::datatypes::Schema;
use datafusion::{
    common::ScalarValue,
    error::Result,
    logical_expr::{Expr, LogicalPlan},
};

const SEVERITIES: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// Refuses a confidence or severity that is written there and is none. `query` is analysed.
pub fn check_values(query: &LogicalPlan, sink: &Sink) -> Result<()> {
    let LogicalPlan::Projection(projection) = query else { return Ok(()) };
    if !sink.format.is_of_alerts() {
        return Ok(());
    }
    for (expression, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let Expr::Literal(value, _) = expression.clone().unalias_nested().data else { continue };
        match (field.name().as_str(), &value, value.try_as_str().flatten()) {
            ("severity", _, Some(text)) if !SEVERITIES.contains(&text) => {
                let fault = Fault::new(format!("a severity of '{text}'"));
                return refuse(fault.help(format!("it is {}", SEVERITIES.join(", "))).at(format!("'{text}'")));
            }
            ("confidence", ScalarValue::Float64(Some(value)), _) if !(0.0..=1.0).contains(value) => {
                let fault = Fault::new(format!("a confidence of {value}: it is 0 to 1"));
                return refuse(fault.help("0.6 and more is HIGH, 0.85 and more CRITICAL").at("AS confidence"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Fields that such alerts will not have.
pub fn lacking(output: &Schema, sink: &Sink, query: &Query) -> Option<Warning> {
    if !sink.format.is_of_alerts() {
        return None;
    }
    let is_there = |name: &str| output.index_of(name).is_ok();
    let has_time = is_there("time") || matches!(query, Query::Windows { .. });
    let wanted = ["host_id", "entity", "confidence"].into_iter().chain((!has_time).then_some("time"));
    let missing: Vec<&str> = wanted.filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return None;
    }
    let names = missing.join("`, `");
    let near = output.fields().iter().map(|field| (field.name(), nearest(field.name(), missing.iter().copied())));
    let near: Vec<String> =
        near.filter(|(_, near)| !near.is_empty()).map(|(name, near)| format!("`{name}`: {near} ")).collect();
    let about = [
        ("host_id", "host_id is where it happened"),
        ("entity", "entity is what it is about"),
        ("confidence", "confidence is how sure it is, 0 to 1, and 0 without one"),
        ("time", "time is when it happened, and a row has no window whose end it could be"),
    ];
    let about: Vec<&str> =
        about.into_iter().filter(|(name, _)| missing.contains(name)).map(|(_, about)| about).collect();
    let help = format!("{}{}", near.concat(), about.join("; "));
    Some((ALERT_FIELDS, Fault::new(format!("alerts without `{names}`")).help(help)))
}
