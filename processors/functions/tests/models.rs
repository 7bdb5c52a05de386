//! `predict`, `contributions` and `model_version` run by DataFusion over a table. Refusals are tested in the pipeline,
//! where they have a place in a file.

use amoskys_functions::model::{BindModels, Lookup, Model, explanation_type, models_of, unbound};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder, Int64Array, MapBuilder, StringArray,
        StringBuilder,
    },
    compute::cast,
    datatypes::{DataType, Float64Type},
    record_batch::RecordBatch,
};
use datafusion::{
    execution::SessionStateBuilder,
    optimizer::Analyzer,
    prelude::{SessionConfig, SessionContext},
};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Nothing here waits for anything, so polling is enough.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn floats(features: &[ArrayRef], index: usize) -> Float64Array {
    cast(&features[index], &DataType::Float64).expect("a number").as_primitive::<Float64Type>().clone()
}

/// `sum(a, b)`; says how often it ran.
fn sum(runs: Arc<AtomicUsize>) -> Arc<Model> {
    let score = move |features: &[ArrayRef]| -> Result<ArrayRef, String> {
        runs.fetch_add(1, Ordering::Relaxed);
        let (a, b) = (floats(features, 0), floats(features, 1));
        if a.iter().flatten().any(|a| a > 100.0) {
            return Err("a is beyond 100".into());
        }
        Ok(Arc::new(a.iter().zip(&b).map(|(a, b)| Some(a? + b?)).collect::<Float64Array>()))
    };
    let explain = |features: &[ArrayRef]| -> Result<ArrayRef, String> {
        let mut map = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
        for a in &floats(features, 0) {
            map.keys().append_value("a");
            map.values().append_option(a);
            map.append(true).map_err(|error| error.to_string())?;
        }
        Ok(Arc::new(map.finish()))
    };
    Arc::new(Model {
        name: "sum".into(),
        version: "3".into(),
        sha256: "cd".into(),
        features: vec!["a".into(), "b".into()],
        score: Box::new(score),
        explain: Box::new(explain),
        explain_type: explanation_type(),
    })
}

/// A table `x (b, a, ok, name)` of three rows, and how often the model ran.
fn session(largest: f64) -> (SessionContext, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let model = sum(runs.clone());
    let lookup: Arc<Lookup> = Arc::new(move |_| Ok(model.clone()));
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(BindModels::new(lookup)));
    let config = SessionConfig::new().with_target_partitions(1);
    let state =
        SessionStateBuilder::new().with_config(config).with_default_features().with_analyzer_rules(rules).build();
    let context = SessionContext::new_with_state(state);
    unbound().into_iter().for_each(|function| context.register_udf(function));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("b", Arc::new(Int64Array::from(vec![Some(10), None, Some(30)]))),
        ("a", Arc::new(Float64Array::from(vec![1.0, 2.0, largest]))),
        ("ok", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("name", Arc::new(StringArray::from(vec!["x", "y", "z"]))),
    ];
    context.register_batch("x", RecordBatch::try_from_iter(columns).expect("columns")).expect("registered");
    (context, runs)
}

fn query(context: &SessionContext, sql: &str) -> Result<RecordBatch, String> {
    let batches = block_on(async { context.sql(sql).await?.collect().await });
    let batches = batches.map_err(|error| error.strip_backtrace())?;
    Ok(arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one schema"))
}

fn scores(batch: &RecordBatch) -> Vec<Option<f64>> {
    batch.column(0).as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn a_star_finds_features_by_name_whatever_their_order() {
    let (context, _) = session(3.0);
    let batch = query(&context, "SELECT predict('sum', *) AS score FROM x").expect("runs");
    assert_eq!(scores(&batch), [Some(11.0), None, Some(33.0)]);
    assert_eq!(batch.schema().field(0).name(), "score");
}

#[test]
fn features_given_by_place_may_be_expressions() {
    let (context, _) = session(3.0);
    let batch = query(&context, "SELECT predict('sum', a * 2, 1) FROM x").expect("runs");
    assert_eq!(scores(&batch), [Some(3.0), Some(5.0), Some(7.0)]);
    let batch = query(&context, "SELECT predict('sum', ok, 1) FROM x").expect("a boolean is a number");
    assert_eq!(scores(&batch), [Some(2.0), Some(1.0), Some(2.0)]);
}

#[test]
fn constants_alone_are_scored_for_every_row() {
    let (context, _) = session(3.0);
    let batch = query(&context, "SELECT predict('sum', 1, 2) FROM x").expect("runs");
    assert_eq!(scores(&batch), [Some(3.0); 3]);
}

// That a filter on the score does not run the model again is up to the session, and tested in the pipeline.
#[test]
fn a_named_score_is_computed_once() {
    let (context, runs) = session(3.0);
    let sql = "SELECT score, score * 2 AS twice FROM (SELECT *, predict('sum', *) AS score FROM x)";
    assert_eq!(scores(&query(&context, sql).expect("runs")), [Some(11.0), None, Some(33.0)]);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn contributions_are_a_map_and_the_version_a_text() {
    let (context, runs) = session(3.0);
    let sql = "SELECT contributions('sum', *) AS c, model_version('sum') AS v FROM x WHERE name = 'z'";
    let batch = query(&context, sql).expect("runs");
    assert_eq!(batch.column(0).data_type(), &explanation_type());
    let entries = batch.column(0).as_map().value(0);
    assert_eq!(entries.column(0).as_string::<i32>().value(0), "a");
    assert_eq!(entries.column(1).as_primitive::<Float64Type>().value(0), 3.0);
    assert_eq!(arrow::util::display::array_value_to_string(batch.column(1), 0).expect("prints"), "sum/3");
    assert_eq!(runs.load(Ordering::Relaxed), 0, "the score was not asked for");
}

#[test]
fn a_model_that_fails_is_named() {
    let (context, _) = session(101.0);
    let error = query(&context, "SELECT predict('sum', *) FROM x").expect_err("fails");
    assert!(error.contains("model `sum` 3 failed: a is beyond 100"), "{error}");
}

#[test]
fn models_of_a_plan_are_each_listed_once() {
    let (context, _) = session(3.0);
    let sql = "SELECT predict('sum', *) AS p, contributions('sum', *) AS c FROM x WHERE predict('sum', a, b) > 0";
    let state = context.state();
    let plan = block_on(state.create_logical_plan(sql)).expect("plans");
    assert!(models_of(&plan).expect("walks").is_empty(), "not bound yet");
    let bound = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).expect("binds");
    let models = models_of(&bound).expect("walks");
    assert_eq!(models.iter().map(|model| model.version.as_str()).collect::<Vec<_>>(), ["3"]);
}
