//! Every function that SQL may call: Amoskys' own and DataFusion's, with what DataFusion says of its own.
//!
//! Deliberately not here: what Amoskys' own do, which docs/functions.md says.

use super::{expressions::CHANGING, fitted::FittedFiles, session::session};
use amoskys_functions::model::Lookup;
use datafusion::logical_expr::Documentation;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// A function, as far as it says of itself what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionInfo {
    pub name: String,
    /// `scalar` (a value for each row), `aggregate` or `window`.
    pub kind: &'static str,
    pub description: Option<String>,
    pub syntax: Option<String>,
    pub example: Option<String>,
}

/// By name; an alias is a name. Without those that no feature may call.
pub fn functions() -> BTreeMap<String, FunctionInfo> {
    let no_models: Arc<Lookup> = Arc::new(|name: &str| Err(format!("there is no model `{name}`")));
    let context = session(&no_models, &FittedFiles::default());
    let state = context.state();
    let info = |name: &String, kind: &'static str, documentation: Option<&Documentation>| FunctionInfo {
        name: name.clone(),
        kind,
        description: documentation.map(|of| of.description.trim().to_owned()),
        syntax: documentation.map(|of| of.syntax_example.trim().to_owned()),
        example: documentation.and_then(|of| of.sql_example.as_ref()).map(|text| text.trim().to_owned()),
    };
    let scalar = state.scalar_functions().iter().map(|(name, of)| info(name, "scalar", of.documentation()));
    let aggregate = state.aggregate_functions().iter().map(|(name, of)| info(name, "aggregate", of.documentation()));
    let window = state.window_functions().iter().map(|(name, of)| info(name, "window", of.documentation()));
    // An aggregate may stand over a window too, and is told as what it is first.
    let all = window.chain(aggregate).chain(scalar);
    // What gives another value each time is refused.
    let all = all.filter(|function| !CHANGING.contains(&function.name.as_str()));
    all.map(|function| (function.name.clone(), function)).collect()
}
