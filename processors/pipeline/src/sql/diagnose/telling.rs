//! What is wrong with an expression, told by the types of its parts as SQL names them.
//!
//! Deliberately not here: which expression is at fault, and where it stands.

use super::Parts;
use crate::sql::{catalog::nearest, explain, expressions::CHANGING, files::folded};
use amoskys_functions::{fault::Fault, types::sql_type};
use arrow::datatypes::DataType;
use datafusion::{error::DataFusionError, sql::sqlparser::ast};

impl Parts<'_> {
    fn type_of(&self, expression: &ast::Expr) -> String {
        self.typed(expression).map_or_else(|_| "unknown".into(), |data_type| sql_type(&data_type))
    }

    /// What is wrong with an expression whose parts are fine.
    pub fn told(&self, expression: &ast::Expr, error: &DataFusionError) -> Fault {
        if let Some(ours) = Fault::of(error) {
            return ours.clone();
        }
        match expression {
            ast::Expr::Function(function) => self.told_of_call(function, error),
            ast::Expr::BinaryOp { left, op, right } => {
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
            ast::Expr::Identifier(name) if name.quote_style == Some('"') => {
                let fault = explain::first(error);
                match &fault.help {
                    Some(help) if help.starts_with("did you mean") => fault,
                    _ => fault.help(format!("text stands in single quotes: '{}'", name.value.replace('\'', "''"))),
                }
            }
            ast::Expr::CompoundIdentifier(parts) => self.told_of_name(parts, error),
            ast::Expr::Between { expr, low, high, .. } => {
                not_taken("BETWEEN", &[self.type_of(expr), self.type_of(low), self.type_of(high)])
            }
            ast::Expr::InList { expr, list, .. } => {
                let types: Vec<String> = [expr.as_ref()].into_iter().chain(list).map(|one| self.type_of(one)).collect();
                not_taken("IN", &types)
            }
            ast::Expr::Like { expr, pattern, .. } | ast::Expr::ILike { expr, pattern, .. } => {
                not_taken("LIKE", &[self.type_of(expr), self.type_of(pattern)]).help("LIKE compares two VARCHAR")
            }
            ast::Expr::UnaryOp { op, expr } => not_taken(&op.to_string(), &[self.type_of(expr)]),
            ast::Expr::Case { conditions, else_result, .. } => {
                let results = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                let types: Vec<String> = results.map(|result| self.type_of(result)).collect();
                Fault::new(format!("CASE gives {}", in_words(&types))).help("cast its results to one type")
            }
            ast::Expr::Cast { expr, data_type, .. } => {
                Fault::new(format!("{} cannot be cast to {data_type}", self.type_of(expr)))
            }
            ast::Expr::CompoundFieldAccess { root, .. } => match self.typed(root) {
                Ok(DataType::Struct(_) | DataType::List(_) | DataType::Map(..)) | Err(_) => explain::first(error),
                Ok(other) => Fault::new(format!("`{root}` is {}, which has no elements", sql_type(&other))),
            },
            _ => explain::first(error),
        }
    }

    /// `table.column`, `column.field`.
    fn told_of_name(&self, parts: &[ast::Ident], error: &DataFusionError) -> Fault {
        let [first, .., last] = parts else { return explain::first(error) };
        let [first, last] = [first, last].map(|ident| folded(&ident.value, ident.quote_style));
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
        if name == "unnest" {
            let arguments: Vec<String> = arguments_of(function).iter().map(ToString::to_string).collect();
            let help = format!("write … FROM t CROSS JOIN unnest({}) AS u(x), and u.x here", arguments.join(", "));
            return Fault::new("`unnest` stands in FROM").help(help);
        }
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
