//! All that is wrong with the expressions of a statement that does not plan, each where it stands.
//!
//! The planner stops at a statement's first fault and often knows no place. Here each expression of each SELECT is
//! planned by itself, the innermost first, against the columns of its FROM: whatever fails while its parts do not is at
//! fault. Where a part of a FROM is unknown, or at fault itself, nothing is said of what may be a column of it. Only
//! statements that failed, or read one that did, come here. Deliberately not here: faults of a query as a whole, which the
//! planner tells. Limits: models and `EXISTS` are not looked at.

mod telling;

use super::{
    Statement, anchor, explain,
    files::{byte_at, folded},
};
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
    let placed = ours(error).into_iter().filter(|fault| !fault.at.is_empty());
    let mut found: Vec<(Range<usize>, Fault)> = placed.map(|fault| (anchor::of(text, &fault), fault)).collect();
    for (place, fault) in of_expressions(statement, state) {
        let is_told = |(told, _): &(Range<usize>, Fault)| told.start < place.end && place.start < told.end;
        if !found.iter().any(is_told) {
            found.push((place, fault));
        }
    }
    if found.is_empty() {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| {
            let at = |place: datafusion::common::Location| {
                byte_at(text, Location { line: place.line, column: place.column })
            };
            at(span.start)..at(span.end)
        });
        let span = span.filter(|span| !span.is_empty());
        let place = |fault: &Fault| span.clone().unwrap_or_else(|| anchor::of(text, fault));
        found = explain::faults(error).into_iter().map(|fault| (place(&fault), fault)).collect();
    }
    found
}

/// What is wrong with a statement's expressions, as far as what they read is known.
pub fn of_expressions(statement: &Statement, state: &SessionState) -> Vec<(Range<usize>, Fault)> {
    let mut walk = Walk { state, text: statement.text(), found: Vec::new() };
    if let Some(query) = query_of(&statement.ast) {
        walk.query(query, &[], None);
    }
    walk.found
}

/// The faults that an error is, without what the engine says.
fn ours(error: &DataFusionError) -> Vec<Fault> {
    match error {
        DataFusionError::Collection(causes) => causes.iter().flat_map(ours).collect(),
        error => Fault::of(error).cloned().into_iter().collect(),
    }
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
    /// Whether there are columns beside these of which nothing is known.
    is_open: bool,
    outer: Option<&'s DFSchema>,
}

impl Walk<'_> {
    /// `known` are common table expressions of queries around this one.
    fn query(&mut self, query: &ast::Query, known: &[ast::Cte], outer: Option<&DFSchema>) {
        let mut known = known.to_vec();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let before = self.found.len();
            self.query(&cte.query, &known, outer);
            // One at fault is not known.
            if self.found.len() == before {
                known.push(cte.clone());
            }
        }
        self.body(&query.body, query.order_by.as_ref(), &known, outer);
    }

    fn body(
        &mut self,
        body: &ast::SetExpr,
        order: Option<&ast::OrderBy>,
        known: &[ast::Cte],
        outer: Option<&DFSchema>,
    ) {
        match body {
            ast::SetExpr::Select(select) => self.select(select, order, known, outer),
            ast::SetExpr::Query(query) => self.query(query, known, outer),
            ast::SetExpr::SetOperation { left, right, .. } => {
                self.body(left, None, known, outer);
                self.body(right, None, known, outer);
            }
            _ => {}
        }
    }

    fn select(
        &mut self,
        select: &ast::Select,
        order: Option<&ast::OrderBy>,
        known: &[ast::Cte],
        outer: Option<&DFSchema>,
    ) {
        for relation in relations_of(select) {
            if let ast::TableFactor::Derived { subquery, .. } = relation {
                self.query(subquery, known, outer);
            }
        }
        let mut scope = match self.columns_of(select, known) {
            Some(schema) => Scope { schema, is_open: false, outer },
            None => Scope { schema: self.columns_known(select, known), is_open: true, outer },
        };
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
    }

    /// The columns of a FROM, joined by whatever conditions.
    fn columns_of(&self, select: &ast::Select, known: &[ast::Cte]) -> Option<DFSchema> {
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

    /// The columns of those parts of a FROM that are not at fault.
    fn columns_known(&self, select: &ast::Select, known: &[ast::Cte]) -> DFSchema {
        let mut all = DFSchema::empty();
        for relation in relations_of(select) {
            let mut alone = select.clone();
            alone.from = vec![ast::TableWithJoins { relation: relation.clone(), joins: Vec::new() }];
            if let Some(joined) = self.columns_of(&alone, known).and_then(|columns| all.join(&columns).ok()) {
                all = joined;
            }
        }
        all
    }

    fn condition(&mut self, clause: &str, expression: &ast::Expr, scope: &Scope<'_>, known: &[ast::Cte]) {
        if let Some(data_type) = self.expression(expression, scope, known)
            && !matches!(data_type, DataType::Boolean | DataType::Null)
        {
            let message = format!("{clause} takes a condition; `{expression}` is {}", sql_type(&data_type));
            let fault = Fault::new(message).help(format!("compare it: {expression} = …"));
            self.found.push((anchor::closed(self.text, expression.span()), fault));
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
            let place = match span {
                Span { start, end } if start == end => anchor::of(self.text, &fault),
                span => anchor::closed(self.text, span),
            };
            self.found.push((place, fault));
        }
        for query in queries {
            self.query(&query, known, Some(&scope.schema));
        }
        last.filter(|_| is_fine)
    }
}

impl Scope<'_> {
    /// Names that the SELECT gives, where a column has them not.
    fn add(&mut self, named: Vec<(&ast::Ident, DataType)>) {
        let mut fields = Vec::new();
        for (name, data_type) in named {
            let name = folded(&name.value, name.quote_style);
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

/// What stands in a FROM.
fn relations_of(select: &ast::Select) -> impl Iterator<Item = &ast::TableFactor> {
    select
        .from
        .iter()
        .flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)))
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
                // It may be a column of what is not known.
                Err(_) if self.scope.is_open && self.may_be_of_others(expression) => frame.is_untold = true,
                Err(error) => {
                    frame.has_fault = true;
                    let fault = self.told(expression, &error).at(expression.to_string());
                    // What the parser gives an access ends before its bracket.
                    let is_access = matches!(expression, ast::Expr::CompoundFieldAccess { .. });
                    let span = if is_access { Span::empty() } else { expression.span() };
                    self.found.push((span, fault));
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
    /// Whether it is a name that no known part of the FROM gives, or several do.
    fn may_be_of_others(&self, expression: &ast::Expr) -> bool {
        match expression {
            ast::Expr::Identifier(_) => true,
            ast::Expr::CompoundIdentifier(parts) => {
                let first = parts.first().map(|first| folded(&first.value, first.quote_style)).unwrap_or_default();
                let is_table =
                    self.scope.schema.iter().any(|(table, _)| table.is_some_and(|table| table.table() == first));
                !is_table && !self.scope.schema.has_column_with_unqualified_name(&first)
            }
            _ => false,
        }
    }

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
}
