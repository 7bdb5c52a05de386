//! The functions, types and rules that queries are planned with.

use super::fitted::FittedFiles;
use amoskys_functions::{
    aggregate::{CheckArguments, aggregates},
    fitted::fitted,
    map_keys::CastMapKeys,
    model::{BindModels, Lookup, unbound},
    scalar::scalars,
    window,
};
use datafusion::{
    execution::{SessionStateBuilder, session_state::SessionState},
    optimizer::Analyzer,
    physical_optimizer::optimizer::PhysicalOptimizer,
    prelude::{SessionConfig, SessionContext},
};
use std::sync::Arc;

/// Functions that say something of the engine and of its files, and nothing of a record.
const ABOUT_ELSEWHERE: [&str; 3] = ["version", "input_file_name", "file_row_index"];

pub(crate) fn session(models: &Arc<Lookup>, fitted_files: &FittedFiles) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    // A plan that is executed again must not keep what a filter learnt in the last execution.
    config.options_mut().optimizer.enable_dynamic_filter_pushdown = false;
    // So that faults say where they are.
    config.options_mut().sql_parser.collect_spans = true;
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(BindModels::new(models.clone())));
    rules.insert(0, Arc::new(CastMapKeys));
    rules.push(Arc::new(CheckArguments));
    // This rule alone takes no notice of volatile functions: it would move a filter on a score below the projection
    // that computes it, and so run the model twice. The logical optimizer has moved all other filters already.
    let mut physical = PhysicalOptimizer::new().rules;
    physical.retain(|rule| !rule.name().starts_with("FilterPushdown"));
    let state: SessionState = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_analyzer_rules(rules)
        .with_physical_optimizer_rules(physical)
        .build();
    let context = SessionContext::new_with_state(state);
    ABOUT_ELSEWHERE.iter().for_each(|name| context.deregister_udf(name));
    for function in unbound().into_iter().chain([window::hop(), window::tumble(), window::session()]).chain(scalars()) {
        context.register_udf(function);
    }
    fitted(&fitted_files.lookup()).into_iter().for_each(|function| context.register_udf(function));
    aggregates().into_iter().for_each(|function| context.register_udaf(function));
    context
}
