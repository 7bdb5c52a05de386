//! An alert that says how much each feature moved its score says their values too, whether the SELECT names them or not.
//!
//! The features that `contributions` is computed from are added to the query's columns; what is written keeps those
//! that the contributions name (`run::emit`). Limits: `contributions` stands in the INSERT's own SELECT, not below it.

use super::{Sink, format::Format};
use amoskys_functions::model::explained_features;
use arrow::datatypes::DataType;
use datafusion::{
    error::Result,
    logical_expr::{Expr, LogicalPlan, Projection, cast},
};
use std::sync::Arc;

/// The query with the features that its contributions are about, and the names of those added. `query` is analyzed.
pub fn with_explained(query: LogicalPlan, sink: Option<&Sink>) -> Result<(LogicalPlan, Vec<String>)> {
    let message = match sink.map(|sink| &sink.format) {
        Some(format @ Format::Protobuf { message }) if format.is_of_alerts() => message,
        _ => return Ok((query, Vec::new())),
    };
    let LogicalPlan::Projection(projection) = query else { return Ok((query, Vec::new())) };
    let mut added: Vec<(String, Expr)> = Vec::new();
    for (name, feature) in projection.expr.iter().flat_map(explained_features) {
        let is_there = projection.schema.fields().iter().any(|field| *field.name() == name)
            || added.iter().any(|(known, _)| *known == name);
        if !is_there && message.get_field_by_name(&name).is_none() {
            added.push((name.clone(), cast(feature, DataType::Float64).alias(name)));
        }
    }
    let (names, features): (Vec<String>, Vec<Expr>) = added.into_iter().unzip();
    let columns = projection.expr.iter().cloned().chain(features).collect();
    let projection = Projection::try_new(columns, Arc::clone(&projection.input))?;
    Ok((LogicalPlan::Projection(projection), names))
}
