//! All that is wrong with the expressions of a statement that does not plan, each where it stands.
//!
//! The planner stops at a statement's first fault and often knows no place. Here each expression of each SELECT is
//! planned by itself, the innermost first, against the columns of its FROM: whatever fails while its parts do not is at
//! fault. Only statements that failed come here. Deliberately not here: faults of a query as a whole, which the planner
//! tells. Limits: below a subquery that is at fault nothing above it is looked at; models and `EXISTS` are not.

use super::{Statement, anchor, catalog::nearest, explain, expressions::CHANGING, files::byte_at};
use amoskys_functions::{fault::Fault, types::sql_type};
use arrow::datatypes::{DataType, Field};
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TransformedResult, TreeNode},
    },
    error::{DataFusionError, Result},
    execution::session_state::SessionState,
    logical_expr::{Expr, ExprSchemable, LogicalPlan},
    optimizer::analyzer::type_coercion::TypeCoercionRewriter,
    sql::{
        parser::Statement as Ast,
        sqlparser::{
            ast::{self, Spanned, Visit, Visitor},
            tokenizer::{Location, Span},
        },
    },
};
use futures::executor::block_on;
use std::{
    collections::HashMap,
    ops::{ControlFlow, Range},
    sync::Arc,
};

/// Functions whose arguments only the model knows.
const OF_MODELS: [&str; 3] = ["predict", "contributions", "model_version"];

/// What is wrong with a statement that failed with `error`, with bytes of the statement's text.
pub fn faults(statement: &Statement, error: &DataFusionError, state: &SessionState) -> Vec<(Range<usize>, Fault)> {
    let text = statement.text();
    let mut walk = Walk { state, text, found: Vec::new() };
    if Fault::of(error).is_none_or(|fault| fault.at.is_empty())
        && let Some(query) = query_of(&statement.ast)
    {
        walk.query(query, &[], None);
    }
    if walk.found.is_empty() {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| {
            let at = |place: datafusion::common::Location| {
                byte_at(text, Location { line: place.line, column: place.column })
            };
            at(span.start)..at(span.end)
        });
        let span = span.filter(|span| !span.is_empty());
        let place = |fault: &Fault| fault.at.iter().find_map(|words| anchor::find(text, words));
        walk.found = explain::faults(error)
            .into_iter()
            .map(|fault| (span.clone().or_else(|| place(&fault)).unwrap_or_else(|| anchor::head(text)), fault))
            .collect();
    }
    walk.found
}

fn query_of(ast: &Ast) -> Option<&ast::Query> {
    let Ast::Statement(statement) = ast else { return None };
    match statement.as_ref() {
        ast::Statement::CreateView(view) => Some(&view.query),
        ast::Statement::Insert(insert) => insert.source.as_deref(),
        _ => None,
    }
}

struct Walk<'a> {
    state: &'a SessionState,
    text: &'a str,
    found: Vec<(Range<usize>, Fault)>,
}

/// What an expression may refer to.
struct Scope<'s> {
    schema: DFSchema,
    outer: Option<&'s DFSchema>,
}

impl Walk<'_> {
    /// Whether nothing was found. `known` are common table expressions of queries around this one.
    fn query(&mut self, query: &ast::Query, known: &[ast::Cte], outer: Option<&DFSchema>) -> bool {
        let mut known = known.to_vec();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            if !self.query(&cte.query, &known, outer) {
                return false;
            }
            known.push(cte.clone());
        }
        self.body(&query.body, query.order_by.as_ref(), &known, outer)
    }

    fn body(
        &mut self,
        body: &ast::SetExpr,
        order: Option<&ast::OrderBy>,
        known: &[ast::Cte],
        outer: Option<&DFSchema>,
    ) -> bool {
        match body {
            ast::SetExpr::Select(select) => self.select(select, order, known, outer),
            ast::SetExpr::Query(query) => self.query(query, known, outer),
            ast::SetExpr::SetOperation { left, right, .. } => {
                let left = self.body(left, None, known, outer);
                self.body(right, None, known, outer) && left
            }
            _ => true,
        }
    }

    fn select(
        &mut self,
        select: &ast::Select,
        order: Option<&ast::OrderBy>,
        known: &[ast::Cte],
        outer: Option<&DFSchema>,
    ) -> bool {
        let before = self.found.len();
        let relations = select
            .from
            .iter()
            .flat_map(|table| [&table.relation].into_iter().chain(table.joins.iter().map(|join| &join.relation)));
        for relation in relations {
            if let ast::TableFactor::Derived { subquery, .. } = relation {
                self.query(subquery, known, outer);
            }
        }
        if self.found.len() > before {
            return false;
        }
        let Some(schema) = self.columns_of(select, known) else { return true };
        let mut scope = Scope { schema, outer };
        for constraint in
            select.from.iter().flat_map(|table| &table.joins).filter_map(|join| constraint(&join.join_operator))
        {
            if let ast::JoinConstraint::On(condition) = constraint {
                self.condition("ON", condition, &scope, known);
            }
        }
        if let Some(condition) = &select.selection {
            self.condition("WHERE", condition, &scope, known);
        }
        let mut named = Vec::new();
        for item in &select.projection {
            match item {
                ast::SelectItem::UnnamedExpr(expression) => drop(self.expression(expression, &scope, known)),
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    let data_type = self.expression(expr, &scope, known);
                    named.push((alias, data_type.unwrap_or(DataType::Null)));
                }
                _ => {}
            }
        }
        scope.add(named);
        if let ast::GroupByExpr::Expressions(expressions, _) = &select.group_by {
            expressions.iter().for_each(|expression| drop(self.expression(expression, &scope, known)));
        }
        if let Some(condition) = &select.having {
            self.condition("HAVING", condition, &scope, known);
        }
        if let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(expressions), .. }) = order {
            expressions.iter().for_each(|order| drop(self.expression(&order.expr, &scope, known)));
        }
        self.found.len() == before
    }

    /// The columns of a FROM, joined by whatever conditions.
    fn columns_of(&mut self, select: &ast::Select, known: &[ast::Cte]) -> Option<DFSchema> {
        let mut bare = select.clone();
        bare.projection = vec![ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())];
        bare.distinct = None;
        bare.selection = None;
        bare.group_by = ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
        bare.having = None;
        bare.qualify = None;
        bare.named_window.clear();
        if bare.from.is_empty() {
            return Some(DFSchema::empty());
        }
        for join in bare.from.iter_mut().flat_map(|table| &mut table.joins) {
            if let Some(ast::JoinConstraint::On(_)) = constraint(&join.join_operator) {
                join.join_operator = ast::JoinOperator::CrossJoin(ast::JoinConstraint::None);
            }
        }
        let with = (!known.is_empty()).then(|| ast::With {
            with_token: ast::helpers::attached_token::AttachedToken::empty(),
            recursive: false,
            cte_tables: known.to_vec(),
        });
        let query = ast::Query {
            with,
            body: Box::new(ast::SetExpr::Select(Box::new(bare))),
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks: Vec::new(),
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators: Vec::new(),
        };
        let statement = Ast::Statement(Box::new(ast::Statement::Query(Box::new(query))));
        match block_on(self.state.statement_to_plan(statement)).ok()? {
            LogicalPlan::Projection(projection) => Some(projection.input.schema().as_ref().clone()),
            other => Some(other.schema().as_ref().clone()),
        }
    }

    fn condition(&mut self, clause: &str, expression: &ast::Expr, scope: &Scope<'_>, known: &[ast::Cte]) {
        if let Some(data_type) = self.expression(expression, scope, known)
            && !matches!(data_type, DataType::Boolean | DataType::Null)
        {
            let message = format!("{clause} takes a condition; `{expression}` is {}", sql_type(&data_type));
            self.push(expression, Fault::new(message).help(format!("compare it: {expression} = …")));
        }
    }

    /// Its type, where it has one and nothing is wrong with it.
    fn expression(&mut self, expression: &ast::Expr, scope: &Scope<'_>, known: &[ast::Cte]) -> Option<DataType> {
        let mut parts = Parts {
            state: self.state,
            scope,
            frames: Vec::new(),
            skipped: 0,
            queries: Vec::new(),
            found: Vec::new(),
            last: None,
        };
        let _: ControlFlow<()> = expression.visit(&mut parts);
        let Parts { queries, found, last, .. } = parts;
        let is_fine = found.is_empty();
        for (span, fault) in found {
            self.found.push((self.bytes(span), fault));
        }
        for query in queries {
            self.query(&query, known, Some(&scope.schema));
        }
        last.filter(|_| is_fine)
    }

    fn push(&mut self, expression: &ast::Expr, fault: Fault) {
        self.found.push((self.bytes(expression.span()), fault));
    }

    /// The parser's spans of calls end before their parentheses, or before the closing one; here they end behind it.
    fn bytes(&self, span: Span) -> Range<usize> {
        let range = byte_at(self.text, span.start)..byte_at(self.text, span.end);
        // Of some expressions the parser keeps no place.
        if range.is_empty() {
            return anchor::head(self.text);
        }
        let (inside, rest) = (&self.text[range.clone()], &self.text[range.end..]);
        let mut open = inside.matches('(').count().saturating_sub(inside.matches(')').count());
        // What stands between the parentheses of `count(*)` is in no span.
        let is_before = rest.starts_with('(');
        let mut end = range.end;
        for (at, letter) in rest.char_indices() {
            match letter {
                '(' if is_before => open += 1,
                ')' if open > 0 => {
                    open -= 1;
                    end = range.end + at + 1;
                }
                _ => {}
            }
            if open == 0 || !(is_before || letter.is_whitespace() || letter == ')') {
                break;
            }
        }
        range.start..end
    }
}

impl Scope<'_> {
    /// Names that the SELECT gives, where a column has them not.
    fn add(&mut self, named: Vec<(&ast::Ident, DataType)>) {
        let mut fields = Vec::new();
        for (name, data_type) in named {
            let name = if name.quote_style.is_none() { name.value.to_lowercase() } else { name.value.clone() };
            let is_new = !self.schema.has_column_with_unqualified_name(&name)
                && !fields.iter().any(|(_, field): &(_, Arc<Field>)| *field.name() == name);
            if is_new {
                fields.push((None, Arc::new(Field::new(name, data_type, true))));
            }
        }
        if let Ok(added) = DFSchema::new_with_metadata(fields, HashMap::new()) {
            self.schema.merge(&added);
        }
    }
}

fn constraint(operator: &ast::JoinOperator) -> Option<&ast::JoinConstraint> {
    use ast::JoinOperator::{
        Anti, CrossJoin, FullOuter, Inner, Join, Left, LeftAnti, LeftOuter, LeftSemi, Right, RightAnti, RightOuter,
        RightSemi, Semi,
    };
    match operator {
        Join(constraint)
        | Inner(constraint)
        | Left(constraint)
        | LeftOuter(constraint)
        | Right(constraint)
        | RightOuter(constraint)
        | FullOuter(constraint)
        | CrossJoin(constraint)
        | Semi(constraint)
        | LeftSemi(constraint)
        | RightSemi(constraint)
        | Anti(constraint)
        | LeftAnti(constraint)
        | RightAnti(constraint) => Some(constraint),
        _ => None,
    }
}

/// One expression's parts, the innermost first.
struct Parts<'a> {
    state: &'a SessionState,
    scope: &'a Scope<'a>,
    frames: Vec<Frame>,
    /// How deep in what is not looked into.
    skipped: usize,
    /// Subqueries, which are looked at by themselves.
    queries: Vec<ast::Query>,
    found: Vec<(Span, Fault)>,
    /// The type of what was left last.
    last: Option<DataType>,
}

/// What is known of an expression when its parts were visited.
#[derive(Clone, Copy, Default)]
struct Frame {
    has_fault: bool,
    /// It has a type only as part of the whole.
    is_untold: bool,
}

/// Parts of these mean nothing alone.
fn is_whole(expression: &ast::Expr) -> bool {
    matches!(
        expression,
        ast::Expr::CompoundFieldAccess { .. } | ast::Expr::Tuple(_) | ast::Expr::Interval(_) | ast::Expr::Lambda(_)
    )
}

impl Visitor for Parts<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if self.skipped == 0 {
            self.queries.push(query.clone());
            if let Some(frame) = self.frames.last_mut() {
                frame.is_untold = true;
            }
        }
        self.skipped += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.skipped -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
        if self.skipped == 0 {
            self.frames.push(Frame::default());
        }
        if self.skipped > 0 || is_whole(expression) {
            self.skipped += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
        self.skipped = self.skipped.saturating_sub(1);
        if self.skipped > 0 {
            return ControlFlow::Continue(());
        }
        let mut frame = self.frames.pop().unwrap_or_default();
        self.last = None;
        frame.is_untold |= is_of_models(expression);
        if !frame.has_fault && !frame.is_untold {
            match self.typed(expression) {
                Ok(data_type) => self.last = Some(data_type),
                Err(error) => {
                    frame.has_fault = true;
                    self.found.push((expression.span(), self.told(expression, &error)));
                }
            }
        }
        if let Some(above) = self.frames.last_mut() {
            above.has_fault |= frame.has_fault;
            above.is_untold |= frame.is_untold;
        }
        ControlFlow::Continue(())
    }
}

fn is_of_models(expression: &ast::Expr) -> bool {
    matches!(expression, ast::Expr::Function(function) if OF_MODELS.contains(&function.name.to_string().to_lowercase().as_str()))
}

impl Parts<'_> {
    fn typed(&self, expression: &ast::Expr) -> Result<DataType> {
        let within = |schema: &DFSchema| {
            let expression = ast::ExprWithAlias { expr: expression.clone(), alias: None };
            let logical = self.state.create_logical_expr_from_sql_expr(expression, schema)?;
            let coerced: Expr = logical.rewrite(&mut TypeCoercionRewriter::new(schema)).data()?;
            coerced.get_type(schema)
        };
        let here = within(&self.scope.schema);
        match (here, self.scope.outer) {
            (Err(error), Some(outer)) => within(&self.scope.schema.join(outer)?).map_err(|_| error),
            (here, _) => here,
        }
    }

    fn type_of(&self, expression: &ast::Expr) -> String {
        self.typed(expression).map_or_else(|_| "unknown".into(), |data_type| sql_type(&data_type))
    }

    fn told(&self, expression: &ast::Expr, error: &DataFusionError) -> Fault {
        match expression {
            ast::Expr::Function(function) => self.told_of_call(function, error),
            ast::Expr::BinaryOp { left, op, right } if Fault::of(error).is_none() => {
                let (one, other) = (self.type_of(left), self.type_of(right));
                let help = match (one.as_str(), other.as_str()) {
                    ("VARCHAR", number) if is_castable(number) => format!("cast one of them: CAST({left} AS {number})"),
                    (number, "VARCHAR") if is_castable(number) => {
                        format!("cast one of them: CAST({right} AS {number})")
                    }
                    _ => "cast them to types that go together".into(),
                };
                not_taken(&op.to_string(), &[one, other]).help(help)
            }
            ast::Expr::CompoundIdentifier(parts) if Fault::of(error).is_none() => self.told_of_name(parts, error),
            ast::Expr::Between { expr, low, high, .. } if Fault::of(error).is_none() => {
                not_taken("BETWEEN", &[self.type_of(expr), self.type_of(low), self.type_of(high)])
            }
            ast::Expr::InList { expr, list, .. } if Fault::of(error).is_none() => {
                let types: Vec<String> = [expr.as_ref()].into_iter().chain(list).map(|one| self.type_of(one)).collect();
                not_taken("IN", &types)
            }
            ast::Expr::Like { expr, pattern, .. } | ast::Expr::ILike { expr, pattern, .. }
                if Fault::of(error).is_none() =>
            {
                not_taken("LIKE", &[self.type_of(expr), self.type_of(pattern)]).help("LIKE compares two VARCHAR")
            }
            ast::Expr::UnaryOp { op, expr } if Fault::of(error).is_none() => {
                not_taken(&op.to_string(), &[self.type_of(expr)])
            }
            ast::Expr::Case { conditions, else_result, .. } if Fault::of(error).is_none() => {
                let results = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                let types: Vec<String> = results.map(|result| self.type_of(result)).collect();
                Fault::new(format!("CASE gives {}", in_words(&types))).help("cast its results to one type")
            }
            ast::Expr::Cast { expr, data_type, .. } if Fault::of(error).is_none() => {
                Fault::new(format!("{} cannot be cast to {data_type}", self.type_of(expr)))
            }
            _ => explain::first(error),
        }
    }

    /// `table.column`, `column.field`.
    fn told_of_name(&self, parts: &[ast::Ident], error: &DataFusionError) -> Fault {
        let folded = |ident: &ast::Ident| match ident.quote_style {
            None => ident.value.to_lowercase(),
            Some(_) => ident.value.clone(),
        };
        let [first, .., last] = parts else { return explain::first(error) };
        let (first, last) = (folded(first), folded(last));
        let schema = &self.scope.schema;
        let of_table = schema.iter().filter(|(table, _)| table.is_some_and(|table| table.table() == first));
        let of_table: Vec<&str> = of_table.map(|(_, field)| field.name().as_str()).collect();
        if !of_table.is_empty() {
            let near = nearest(&last, of_table.iter().copied());
            let help = if near.is_empty() { format!("there are {}", of_table.join(", ")) } else { near };
            return Fault::new(format!("column `{first}.{last}` is not known")).help(help);
        }
        match schema.field_with_unqualified_name(&first).map(|field| field.data_type()) {
            Ok(DataType::Struct(fields)) => {
                let fields: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                Fault::new(format!("`{first}` has no field `{last}`")).help(format!("it has {}", fields.join(", ")))
            }
            Ok(other) => Fault::new(format!("`{first}` is {}, which has no fields", sql_type(other))),
            Err(_) => explain::first(error),
        }
    }

    fn told_of_call(&self, function: &ast::Function, error: &DataFusionError) -> Fault {
        let name = function.name.to_string().to_lowercase();
        let known = self.state.scalar_functions().keys().chain(self.state.aggregate_functions().keys());
        let known: Vec<&str> = known.chain(self.state.window_functions().keys()).map(String::as_str).collect();
        if !known.contains(&name.as_str()) {
            let near = nearest(&name, known.iter().copied().filter(|name| !CHANGING.contains(name)));
            return Fault::new(format!("function `{name}` is not known")).help(near);
        }
        let fault = explain::first(error);
        let is_signature = [
            "Candidate functions",
            "to satisfy a call",
            "does not support",
            "No function matches",
            "failed to match any signature",
            "expects",
        ]
        .iter()
        .any(|part| fault.message.contains(part));
        if !is_signature {
            return fault;
        }
        let arguments = arguments_of(function);
        let types: Vec<String> = arguments.iter().map(|argument| self.type_of(argument)).collect();
        let text = arguments.iter().zip(&types).find(|(_, data_type)| *data_type == "VARCHAR");
        let takes_numbers = fault.message.contains("requires Float64");
        let help = match (text, fault.help) {
            (Some((argument, _)), _) if takes_numbers => format!("cast it: {name}(CAST({argument} AS DOUBLE))"),
            (_, Some(candidates)) if !candidates.contains("Any") => candidates,
            _ if takes_numbers => "it takes numbers".into(),
            _ => String::new(),
        };
        let message = match types.as_slice() {
            [] => format!("`{name}` takes arguments"),
            types => format!("`{name}` does not take ({})", types.join(", ")),
        };
        Fault::new(message).help(help)
    }
}

fn arguments_of(function: &ast::Function) -> Vec<&ast::Expr> {
    let ast::FunctionArguments::List(list) = &function.args else { return Vec::new() };
    list.args
        .iter()
        .filter_map(|argument| match argument {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect()
}

fn in_words(types: &[String]) -> String {
    let mut each: Vec<&str> = Vec::new();
    for name in types {
        if !each.contains(&name.as_str()) {
            each.push(name);
        }
    }
    match each.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => each.concat(),
    }
}

fn not_taken(what: &str, types: &[String]) -> Fault {
    Fault::new(format!("`{what}` does not take {}", in_words(types)))
}

fn is_castable(name: &str) -> bool {
    matches!(name, "BIGINT" | "INT" | "SMALLINT" | "TINYINT" | "DOUBLE" | "FLOAT" | "TIMESTAMP" | "DATE" | "BOOLEAN")
}
