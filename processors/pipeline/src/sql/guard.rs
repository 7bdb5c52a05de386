//! Expressions that cannot be computed for some row: null there, and told, so that a value nobody thought of ends neither a
//! processor nor the other detections, and silences no other row.
//!
//! A guarded expression is computed for all rows at once, as it would be anyway. Where that fails it is computed again for
//! halves of them, down to single rows, so whether a row fails does not depend on those it came with: what is computed
//! again after a restart comes out the same. `a <> 0 AND 10 / a > 1` does not fail where `a` is 0.
//! Deliberately not here: faults of models, of memory and of this program, which end what is running; aggregates, which are
//! computed for many rows.

use super::{explain, expressions::is_subquery, outline::Plain, rowwise::physical};
use amoskys_functions::fault::{Fault, refuse};
use arrow::{
    array::{ArrayRef, new_null_array},
    compute::concat,
    datatypes::{DataType, Field, FieldRef},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
    util::display::array_value_to_string,
};
use datafusion::{
    common::{
        Column, DFSchema, DFSchemaRef, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::{DataFusionError, Result},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
        ScalarUDF, ScalarUDFImpl, Signature, Volatility, expr_rewriter::NamePreserver,
    },
    physical_expr::PhysicalExpr,
    prelude::SessionContext,
};
use std::{
    fmt,
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

/// Of a row's values in [`Failure::example`].
const VALUE_CHARACTERS_MAX: usize = 80;
const DETAIL_CHARACTERS_MAX: usize = 200;

/// An expression that could not be computed for some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it stands in, and where that is.
    pub query: String,
    pub expression: String,
    /// Since it was last asked for.
    pub rows: u64,
    /// The values that it was first computed from, and what was wrong with them.
    pub example: String,
}

impl Failure {
    /// Whether it is the same expression at the same place.
    pub fn is_of_same(&self, other: &Self) -> bool {
        self.query == other.query && self.expression == other.expression
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { query, expression, rows, example } = self;
        let rows = if *rows == 1 { "a row".to_owned() } else { format!("{rows} rows") };
        write!(f, "{query}: `{expression}` cannot be computed for {rows} and is null there: {example}")
    }
}

/// What has failed in a dataflow. Bounded by its expressions.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Vec<Failure>>);

impl Failures {
    /// Since the last call, in the order in which they first failed.
    pub fn take(&self) -> Vec<Failure> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that the next call of [`Failures::take`] will give.
    pub fn pending(&self) -> Vec<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds what was taken from others.
    pub fn add_all(&self, failures: Vec<Failure>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for new in failures {
            match known.iter_mut().find(|one| one.is_of_same(&new)) {
                Some(failure) => failure.rows += new.rows,
                None => known.push(new),
            }
        }
    }

    fn add(&self, query: &str, expression: &str, example: impl FnOnce() -> String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter_mut().find(|one| one.query == query && one.expression == expression) {
            Some(failure) => failure.rows += 1,
            None => known.push(Failure {
                query: query.to_owned(),
                expression: expression.to_owned(),
                rows: 1,
                example: example(),
            }),
        }
    }
}

/// Guards the expressions of one query.
#[derive(Clone, Copy)]
pub struct Guard<'a> {
    pub context: &'a SessionContext,
    /// What the query is called where it is told.
    pub query: &'a str,
    pub failures: &'a Arc<Failures>,
}

impl Guard<'_> {
    /// An optimised plan with all of its expressions guarded. Its columns have the same names; those that a guarded expression
    /// gives may be null.
    pub fn plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let guarded = plan.transform_up_with_subqueries(|node| {
            let schema = match &node {
                LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
                _ => {
                    let mut schema = DFSchema::empty();
                    node.inputs().iter().for_each(|input| schema.merge(input.schema()));
                    schema
                }
            };
            let names = NamePreserver::new(&node);
            let node = node.map_expressions(|expression| {
                let name = names.save(&expression);
                Ok(self.expression(expression, &schema)?.update_data(|guarded| name.restore(guarded)))
            })?;
            // Also what is above guarded ones: more may be null there than was.
            let node = match node.data {
                scan @ LogicalPlan::TableScan(_) => scan,
                other => other.recompute_schema()?,
            };
            Ok(Transformed::yes(node))
        })?;
        Ok(guarded.data)
    }

    /// `schema`: of the rows that it is computed from. Of an aggregate its arguments are guarded.
    pub fn expression(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match &expression {
            Expr::Alias(_)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::GroupingSet(_)
            | Expr::Unnest(_) => return expression.map_children(|part| self.expression(part, schema)),
            _ => {}
        }
        if !may_fail(&expression, schema)? {
            if expression.exists(|part| Ok(is_of_pattern(part)))? {
                self.rehearse(&expression, schema)?;
            }
            return Ok(Transformed::no(expression));
        }
        let data_type = expression.get_type(schema)?;
        let mut columns: Vec<Column> = expression.column_refs().into_iter().cloned().collect();
        columns.sort();
        let mut fields = Vec::new();
        for column in &columns {
            let (qualifier, field) = schema.qualified_field_from_column(column)?;
            fields.push((qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(true))));
        }
        let rows: DFSchemaRef = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        let volatility = if expression.is_volatile() { Volatility::Volatile } else { Volatility::Immutable };
        let inner = physical(&expression, &rows, self.context)?;
        let text = Plain::default().expression(&expression);
        refuse_always_failing(&expression, &text, inner.as_ref(), &rows)?;
        let function = Guarded {
            query: self.query.to_owned(),
            text,
            inner,
            expression,
            rows,
            data_type,
            signature: Signature::user_defined(volatility),
            failures: self.failures.clone(),
        };
        let mut arguments: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        if arguments.is_empty() {
            // A function takes something.
            arguments.push(Expr::Literal(ScalarValue::Null, None));
        }
        Ok(Transformed::yes(ScalarUDF::new_from_impl(function).call(arguments)))
    }

    /// Of one that is computed as it is.
    fn rehearse(&self, expression: &Expr, schema: &DFSchema) -> Result<()> {
        let rows: DFSchemaRef = Arc::new(schema.clone());
        let inner = physical(expression, &rows, self.context)?;
        refuse_always_failing(expression, &Plain::default().expression(expression), inner.as_ref(), &rows)
    }
}

/// What fails although there is not one row fails for whatever comes: an argument that the function does not know. Models are
/// not asked, whose scores are computed once for each row.
fn refuse_always_failing(expression: &Expr, text: &str, inner: &dyn PhysicalExpr, rows: &DFSchemaRef) -> Result<()> {
    if expression.is_volatile() {
        return Ok(());
    }
    let Err(error) = evaluate(inner, &RecordBatch::new_empty(rows.inner().clone())) else { return Ok(()) };
    let known = explain::first(&error);
    let what = if is_of_values(&error) { plain_text(&error) } else { known.message };
    // The call within it that says so, as far as it can be told from its arguments.
    let mut at = known.at;
    expression.apply(|part| {
        if let Expr::Cast(cast) = part
            && let DataType::Timestamp(_, Some(zone)) = cast.field.data_type()
        {
            at.push(format!("'{zone}'"));
        }
        if let Expr::ScalarFunction(call) = part {
            at.push(format!("{}(", call.name()));
            // As it is written.
            at.extend((call.name() == "date_part").then(|| "EXTRACT(".to_owned()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let fault = Fault::new(format!("`{text}` fails for whatever comes: {what}"));
    refuse(at.into_iter().fold(fault.help(known.help.unwrap_or_default()), Fault::at))
}

/// A library that panics does so for values that it was not made for; that is an error like another.
fn evaluate(inner: &dyn PhysicalExpr, rows: &RecordBatch) -> Result<ColumnarValue> {
    let computed = catch_unwind(AssertUnwindSafe(|| inner.evaluate(rows)));
    computed.unwrap_or_else(|panic| {
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(DataFusionError::Execution(words.unwrap_or("it panicked").to_owned()))
    })
}

fn is_of_pattern(expression: &Expr) -> bool {
    match expression {
        Expr::SimilarTo(_) => true,
        Expr::BinaryExpr(binary) => matches!(
            binary.op,
            Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch
        ),
        _ => false,
    }
}

/// Whether there is anything in it that some values are wrong for. Subqueries are planned by themselves.
fn may_fail(expression: &Expr, schema: &DFSchema) -> Result<bool> {
    let mut fails = false;
    expression.apply(|part| {
        match part {
            Expr::OuterReferenceColumn(..) | Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                fails = false;
                return Ok(TreeNodeRecursion::Stop);
            }
            query if is_subquery(query) => {
                fails = false;
                return Ok(TreeNodeRecursion::Stop);
            }
            Expr::Cast(cast) => fails |= !always_casts(&cast.expr.get_type(schema)?, cast.field.data_type()),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let of_floats = left.get_type(schema)?.is_floating() && right.get_type(schema)?.is_floating();
                let of_integers = left.get_type(schema)?.is_integer() && right.get_type(schema)?.is_integer();
                fails |= match op {
                    Operator::Plus | Operator::Minus | Operator::Multiply => !of_floats && !of_integers,
                    Operator::Divide | Operator::Modulo => !of_floats,
                    _ if is_of_pattern(part) => !matches!(right.as_ref(), Expr::Literal(..)),
                    _ => false,
                };
            }
            Expr::ScalarFunction(_) | Expr::HigherOrderFunction(_) | Expr::Negative(_) => fails = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(fails)
}

/// Whether every value of the one is one of the other.
fn always_casts(from: &DataType, to: &DataType) -> bool {
    let bits = |of: &DataType| of.primitive_width().unwrap_or(0);
    let is_wider = || {
        (from.is_signed_integer() && to.is_signed_integer() && bits(from) <= bits(to))
            || (from.is_unsigned_integer() && to.is_unsigned_integer() && bits(from) <= bits(to))
            || (from.is_unsigned_integer() && to.is_signed_integer() && bits(from) < bits(to))
    };
    from == to
        || *from == DataType::Null
        || (to.is_string() && (from.is_numeric() || from.is_string() || matches!(from, DataType::Boolean)))
        || (to.is_floating() && from.is_numeric() && !matches!(to, DataType::Float16))
        || is_wider()
}

/// An expression as a function of the columns that it uses.
#[derive(Debug)]
struct Guarded {
    query: String,
    text: String,
    expression: Expr,
    /// Over the columns of `rows`.
    inner: Arc<dyn PhysicalExpr>,
    rows: DFSchemaRef,
    data_type: DataType,
    signature: Signature,
    failures: Arc<Failures>,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        (&self.query, &self.expression, &self.rows) == (&other.query, &other.expression, &other.rows)
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.query.hash(state);
        self.expression.hash(state);
    }
}

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        &self.text
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.data_type.clone(), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let count = arguments.number_rows;
        let columns = arguments.args.into_iter().take(self.rows.fields().len());
        let columns = columns.map(|column| column.into_array(count)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(self.rows.inner().clone(), columns, &options)?;
        match evaluate(self.inner.as_ref(), &rows) {
            Err(error) if is_of_values(&error) => {
                let mut parts = Vec::new();
                self.compute(&rows, &error, &mut parts)?;
                let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
                Ok(ColumnarValue::Array(concat(&parts)?))
            }
            computed => computed,
        }
    }
}

impl Guarded {
    /// For rows which failed with `error` when they were computed at once, in their order. A constant fails for none, too.
    fn compute(&self, rows: &RecordBatch, error: &DataFusionError, parts: &mut Vec<ArrayRef>) -> Result<()> {
        let count = rows.num_rows();
        if count < 2 {
            if count == 1 {
                self.failures.add(&self.query, &self.text, || self.example(rows, error));
            }
            parts.push(new_null_array(&self.data_type, count));
            return Ok(());
        }
        for half in [rows.slice(0, count / 2), rows.slice(count / 2, count - count / 2)] {
            match evaluate(self.inner.as_ref(), &half) {
                Ok(value) => parts.push(value.into_array(half.num_rows())?),
                Err(error) if is_of_values(&error) => self.compute(&half, &error, parts)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn example(&self, row: &RecordBatch, error: &DataFusionError) -> String {
        let schema = row.schema();
        let values = schema.fields().iter().zip(row.columns()).map(|(field, column)| {
            let text = cut(&array_value_to_string(column, 0).unwrap_or_default(), VALUE_CHARACTERS_MAX);
            let quote = if column.data_type().is_string() { "'" } else { "" };
            if column.is_null(0) {
                format!("{} is null", field.name())
            } else {
                format!("{} = {quote}{text}{quote}", field.name())
            }
        });
        let values = values.collect::<Vec<_>>().join(", ");
        let detail = cut(&plain_text(error), DETAIL_CHARACTERS_MAX);
        if values.is_empty() { detail } else { format!("{values}: {detail}") }
    }
}

fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether other values would not have failed.
fn is_of_values(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Execution(_) => true,
        DataFusionError::ArrowError(error, _) => matches!(
            error.as_ref(),
            ArrowError::CastError(_)
                | ArrowError::ParseError(_)
                | ArrowError::ComputeError(_)
                | ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::InvalidArgumentError(_)
        ),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => is_of_values(inner),
        DataFusionError::Shared(inner) => is_of_values(inner),
        _ => false,
    }
}

/// What is wrong, without the names that libraries put before it.
fn plain_text(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Execution(text) => text.clone(),
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::CastError(text)
            | ArrowError::ParseError(text)
            | ArrowError::ComputeError(text)
            | ArrowError::ArithmeticOverflow(text)
            | ArrowError::InvalidArgumentError(text) => text.clone(),
            ArrowError::DivideByZero => "division by zero".to_owned(),
            other => other.to_string(),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => plain_text(inner),
        DataFusionError::Shared(inner) => plain_text(inner),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::lit;

    fn refused(expression: Expr) -> Option<String> {
        let failures = Arc::<Failures>::default();
        let guard = Guard { context: &SessionContext::new(), query: "q", failures: &failures };
        guard.expression(expression, &DFSchema::empty()).err().map(|error| explain::first(&error).message)
    }

    #[test]
    fn what_fails_for_whatever_comes_is_refused() {
        assert_eq!(refused(lit(1) / lit(2)), None);
        let told = "`1 / 0` fails for whatever comes: division by zero";
        assert_eq!(refused(lit(1) / lit(0)).as_deref(), Some(told));
    }
}
