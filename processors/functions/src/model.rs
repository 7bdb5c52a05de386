//! `predict('name', …)`, `contributions('name', …)` and `model_version('name')`.
//!
//! In SQL they are written with `*` (each feature is the column of that name) or with the features in the model's
//! order. [`BindModels`] replaces each call, when the SQL is planned, by one bound to a model and its columns, so a
//! missing model, a missing column or a wrong type is a planning error.
//!
//! Bound calls are volatile: the optimizer may neither repeat them nor move a filter below them, so a model runs once
//! per closed window.

use crate::{
    fault::{Fault, refuse},
    types::sql_type,
};
use arrow::{
    array::{Array, ArrayRef},
    datatypes::{DataType, Field},
};
use datafusion::{
    common::{
        Column, DFSchema, Result, ScalarValue,
        config::ConfigOptions,
        exec_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::ScalarFunction, expr_rewriter::NamePreserver,
    },
    optimizer::AnalyzerRule,
};
use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Runs on one array per feature, in the model's order, and gives one value per row.
pub type Run = dyn Fn(&[ArrayRef]) -> Result<ArrayRef, String> + Send + Sync;

/// A model as SQL sees it.
pub struct Model {
    pub name: String,
    pub version: String,
    /// Lower-case hex.
    pub sha256: String,
    pub features: Vec<String>,
    /// Float64, 0 to 1; null where a feature is null or NaN.
    pub score: Box<Run>,
    /// `Map(Utf8, Float64)`: how much each feature moved the score.
    pub explain: Box<Run>,
    pub explain_type: DataType,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({} {})", self.name, self.version)
    }
}

/// Finds a model by name; the error says which there are.
pub type Lookup = dyn Fn(&str) -> Result<Arc<Model>, String> + Send + Sync;

/// The three functions as the SQL planner sees them, before a model is bound.
pub fn unbound() -> Vec<ScalarUDF> {
    [Call::Predict, Call::Explain, Call::Version].map(|call| ScalarUDF::from(ModelFunction::new(call, None))).into()
}

/// The models that a plan calls, in the order in which they are first met.
pub fn models_of(plan: &LogicalPlan) -> Result<Vec<Arc<Model>>> {
    let mut models: Vec<Arc<Model>> = Vec::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                if let Some(model) = model_function(expression).and_then(|(function, _)| function.model.as_ref())
                    && !models.iter().any(|known| known.sha256 == model.sha256 && known.name == model.name)
                {
                    models.push(model.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(models)
}

/// The features that bound calls of `contributions` in an expression are about: name, and what each is computed from.
pub fn explained_features(expression: &Expr) -> Vec<(String, Expr)> {
    let mut features = Vec::new();
    // Never fails: the closure does not.
    let _ = expression.apply(|expression| {
        if let Some((function, arguments)) = model_function(expression)
            && let (Call::Explain, Some(model)) = (function.call, &function.model)
        {
            features.extend(model.features.iter().cloned().zip(arguments.iter().cloned()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    features
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Call {
    Predict,
    Explain,
    Version,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Call::Predict => "predict",
            Call::Explain => "contributions",
            Call::Version => "model_version",
        }
    }
}

#[derive(Clone)]
struct ModelFunction {
    call: Call,
    model: Option<Arc<Model>>,
    signature: Signature,
}

impl ModelFunction {
    fn new(call: Call, model: Option<Arc<Model>>) -> Self {
        Self { call, model, signature: Signature::variadic_any(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for ModelFunction {
    fn name(&self) -> &str {
        self.call.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.call {
            Call::Predict => DataType::Float64,
            Call::Explain => self.model.as_ref().map_or_else(explanation_type, |model| model.explain_type.clone()),
            Call::Version => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(model) = &self.model else { return exec_err!("{} was planned without its model", self.name()) };
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let arrays: Vec<ArrayRef> = match arguments.number_rows {
            rows if arrays.iter().all(|array| array.len() == rows) => arrays,
            rows => arguments.args.iter().map(|value| value.to_array(rows)).collect::<Result<_>>()?,
        };
        let run = if self.call == Call::Predict { &model.score } else { &model.explain };
        match run(&arrays) {
            Ok(values) => Ok(ColumnarValue::Array(values)),
            // Of no row's values, which null would stand for.
            Err(detail) => {
                let text = format!("model `{}` {} failed: {detail}", model.name, model.version);
                Err(DataFusionError::External(text.into()))
            }
        }
    }
}

/// `Map(Utf8, Float64)`, as Arrow's map builder makes it.
pub fn explanation_type() -> DataType {
    let entry = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Float64, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry.into()), false)), false)
}

/// Binds the calls of a plan to models. To run before type coercion, which knows no `*`.
pub struct BindModels {
    lookup: Arc<Lookup>,
}

impl BindModels {
    pub fn new(lookup: Arc<Lookup>) -> Self {
        Self { lookup }
    }

    fn bind(&self, call: Call, arguments: &[Expr], schema: &DFSchema) -> Result<Expr> {
        let name = call.name();
        let Some((Expr::Literal(ScalarValue::Utf8(Some(model)) | ScalarValue::Utf8View(Some(model)), _), features)) =
            arguments.split_first()
        else {
            let fault = Fault::new(format!("{name} takes the name of a model first"));
            return refuse(fault.help(format!("write {name}('process_behaviour', *)")).at(format!("{name}(")));
        };
        let model = match (self.lookup)(model) {
            Ok(model) => model,
            Err(detail) => return refuse(Fault::of_sentence(&detail).at(format!("'{model}'"))),
        };
        if call == Call::Version {
            let version = ScalarValue::Utf8(Some(format!("{}/{}", model.name, model.version)));
            return Ok(Expr::Literal(version, None));
        }
        // Deprecated for building plans; a `*` among a function's arguments still arrives as one.
        #[allow(deprecated)]
        let columns = match features {
            [Expr::Wildcard { .. }] => by_name(name, &model, schema)?,
            given => by_place(name, &model, given)?,
        };
        check_types(name, &model, &columns, schema)?;
        let function = ScalarUDF::from(ModelFunction::new(call, Some(model)));
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), columns)))
    }
}

/// `*`: every feature is the column of its name.
fn by_name(function: &str, model: &Model, schema: &DFSchema) -> Result<Vec<Expr>> {
    let find = |feature: &String| schema.iter().find(|(_, field)| field.name() == feature);
    let missing: Vec<&str> = model.features.iter().filter(|name| find(name).is_none()).map(String::as_str).collect();
    if !missing.is_empty() {
        let missing = missing.join("`, `");
        let fault = Fault::new(format!("{function}('{}', *): the model wants `{missing}`", model.name));
        return refuse(fault.help("add what is missing to the query that it reads").at(format!("{function}(")));
    }
    Ok(model
        .features
        .iter()
        .filter_map(find)
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .collect())
}

/// Features given one by one: as many as the model has, and a plain column not in the place of another feature.
fn by_place(function: &str, model: &Model, given: &[Expr]) -> Result<Vec<Expr>> {
    if given.len() != model.features.len() {
        let fault = Fault::new(format!(
            "{function}('{}', …) has {} features, the model wants {}",
            model.name,
            given.len(),
            model.features.len()
        ));
        return refuse(fault.help(format!("they are {}", model.features.join(", "))).at(format!("{function}(")));
    }
    for (expression, feature) in given.iter().zip(&model.features) {
        if let Expr::Column(column) = expression
            && column.name() != feature
            && model.features.iter().any(|other| other == column.name())
        {
            let (name, found) = (&model.name, column.name());
            let message = format!("{function}('{name}', …): `{found}` stands where the model wants `{feature}`");
            let fault = Fault::new(message).help(format!("the order is {}", model.features.join(", ")));
            return refuse(fault.at(format!("{function}(")));
        }
    }
    Ok(given.to_vec())
}

fn check_types(function: &str, model: &Model, columns: &[Expr], schema: &DFSchema) -> Result<()> {
    use datafusion::logical_expr::ExprSchemable;
    for (expression, feature) in columns.iter().zip(&model.features) {
        let data_type = expression.get_type(schema)?;
        if !data_type.is_numeric() && data_type != DataType::Boolean {
            let message = format!(
                "{function}('{}', …): feature `{feature}` must be a number, `{expression}` is {}",
                model.name,
                sql_type(&data_type)
            );
            return refuse(Fault::new(message).help("CAST it to DOUBLE").at(format!("{function}(")));
        }
    }
    Ok(())
}

fn model_function(expression: &Expr) -> Option<(&ModelFunction, &[Expr])> {
    let Expr::ScalarFunction(call) = expression else { return None };
    let function = (call.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<ModelFunction>()?;
    Some((function, &call.args))
}

impl AnalyzerRule for BindModels {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let schema = inputs_schema(&node)?;
            let names = NamePreserver::new(&node);
            let node = node.map_expressions(|expression| {
                let saved = names.save(&expression);
                let bound = expression.transform_up(|expression| match model_function(&expression) {
                    Some((function, arguments)) if function.model.is_none() => {
                        Ok(Transformed::yes(self.bind(function.call, arguments, &schema)?))
                    }
                    _ => Ok(Transformed::no(expression)),
                })?;
                Ok(bound.update_data(|expression| saved.restore(expression)))
            })?;
            node.map_data(|node| node.recompute_schema())
        })
        .map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "bind_models"
    }
}

pub(crate) fn inputs_schema(node: &LogicalPlan) -> Result<DFSchema> {
    let mut schema = DFSchema::empty();
    for input in node.inputs() {
        schema.merge(input.schema());
    }
    Ok(schema)
}

impl fmt::Debug for BindModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindModels")
    }
}

impl fmt::Debug for ModelFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.call.name(), self.identity().0)
    }
}

impl ModelFunction {
    fn identity(&self) -> (&str, &str) {
        self.model.as_ref().map_or(("", ""), |model| (&model.name, &model.sha256))
    }
}

impl PartialEq for ModelFunction {
    fn eq(&self, other: &Self) -> bool {
        self.call == other.call && self.identity() == other.identity()
    }
}

impl Eq for ModelFunction {}

impl Hash for ModelFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.call, self.identity()).hash(state);
    }
}
