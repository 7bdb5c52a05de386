//! Whose rows are meant, and when.

use crate::cli::Misuse;
use amoskys_proto::v1::Alert;
use anyhow::{Context, Result, anyhow};
use arrow::{
    array::{Array, AsArray, BooleanArray},
    compute::{kernels::cast_utils::string_to_timestamp_nanos, prep_null_mask_filter},
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};
use datafusion::{
    common::{DFSchema, SchemaError},
    error::DataFusionError,
    physical_expr::PhysicalExpr,
    prelude::SessionContext,
    sql::sqlparser::{
        ast::{BinaryOperator, Expr},
        dialect::GenericDialect,
        parser::Parser,
        tokenizer::{Token, Tokenizer},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub struct Question {
    /// Apart by AND.
    pub conditions: Vec<String>,
    pub at_ns: Option<i64>,
    /// The window, where an alert says which.
    pub window_ns: Option<(i64, i64)>,
    within: Option<Duration>,
    /// Of an alert: its host, which columns on the way may have by another name.
    host: Option<String>,
}

/// A time as people write it, UTC.
pub fn time_ns(text: &str) -> Result<i64, String> {
    string_to_timestamp_nanos(text).map_err(|_| format!("`{text}` is no time such as '2026-01-02 10:00:03'"))
}

impl Question {
    pub fn new(condition: Option<&str>, at_ns: Option<i64>, within: Option<Duration>) -> Result<Self> {
        let mut conditions = Vec::new();
        if let Some(text) = condition {
            let parsed = Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| {
                let expression = parser.parse_expr()?;
                parser.expect_token(&Token::EOF)?;
                Ok(expression)
            });
            split(parsed.map_err(|error| Misuse(format!("--where `{text}`: {error}")))?, &mut conditions);
        }
        Ok(Self { conditions, at_ns, window_ns: None, within, host: None })
    }

    /// The host, the time and the window of an alert.
    pub fn of_alert(alert: &Alert) -> Result<Self> {
        let ns = |seconds: i64, nanos: i32| seconds * 1_000_000_000 + i64::from(nanos);
        let provenance = alert.provenance.as_ref();
        let start_ns = provenance.and_then(|of| of.window_start.as_ref()).map(|time| ns(time.seconds, time.nanos));
        let end_ns = provenance.and_then(|of| of.window_end.as_ref()).map(|time| ns(time.seconds, time.nanos));
        let window_ns = start_ns.zip(end_ns);
        let at_ns = alert.time.as_ref().map(|time| ns(time.seconds, time.nanos)).or(start_ns);
        Ok(Self {
            conditions: vec![is_host("host_id", &alert.host_id)],
            at_ns: Some(at_ns.context("the alert has neither a window nor a time")?),
            window_ns,
            within: None,
            host: Some(alert.host_id.clone()),
        })
    }

    /// Words of the conditions, among them the columns that they are about.
    pub fn words_of_columns(&self) -> BTreeSet<String> {
        self.conditions.iter().flat_map(|text| tokens(text)).filter_map(|token| column_of(&token)).collect()
    }

    /// A condition with columns of the result by the names that they have below it; `None` where there are none.
    fn in_other_words(&self, index: usize, renamed: &BTreeMap<String, String>) -> Option<String> {
        let mut is_other = false;
        let other = tokens(&self.conditions[index]).into_iter().map(|token| {
            match column_of(&token).and_then(|name| renamed.get(&name)) {
                Some(below) => {
                    is_other = true;
                    format!("\"{}\"", below.replace('"', "\"\""))
                }
                None => token.to_string(),
            }
        });
        let other: String = other.collect();
        is_other.then_some(other)
    }

    /// Whether rows of this window are meant.
    pub fn takes_window(&self, (start_ns, end_ns): (i64, i64)) -> bool {
        match (self.window_ns, self.at_ns) {
            // Of windows below the alert's: those within it.
            (Some((from_ns, to_ns)), _) => from_ns <= start_ns && end_ns <= to_ns,
            (None, Some(at_ns)) => start_ns <= at_ns && at_ns < end_ns,
            (None, None) => true,
        }
    }

    /// Bounds of the times of rows; `windows_ns`: the longest window.
    pub fn span_ns(&self, windows_ns: i64) -> Option<(i64, i64)> {
        if let Some(window_ns) = self.window_ns {
            return Some(window_ns);
        }
        let within_ns = match self.within {
            Some(within) => i64::try_from(within.as_nanos()).unwrap_or(i64::MAX),
            None => windows_ns.max(60_000_000_000),
        };
        self.at_ns.map(|at_ns| (at_ns.saturating_sub(within_ns), at_ns.saturating_add(within_ns)))
    }

    pub fn words(&self) -> String {
        match &self.host {
            Some(host) => format!("host_id = '{host}'"),
            None if self.conditions.is_empty() => "any row".to_owned(),
            None => self.conditions.join(" AND "),
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    // What does not read was refused.
    Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default()
}

/// What a word would be as a column's name.
fn column_of(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

fn is_host(column: &str, host: &str) -> String {
    format!("\"{}\" = '{}'", column.replace('"', "\"\""), host.replace('\'', "''"))
}

/// In the order in which they are written.
fn split(expression: Expr, conditions: &mut Vec<String>) {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(*left, conditions);
            split(*right, conditions);
        }
        Expr::Nested(inner) => split(*inner, conditions),
        other => conditions.push(other.to_string()),
    }
}

/// What of a question can be asked of rows of these columns.
pub struct Asked {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    /// Indices of those conditions.
    pub applied: Vec<usize>,
}

impl Asked {
    /// `columns`: how many of the schema's are meant; `renamed`: what columns of the result are called below.
    pub fn of(
        question: &Question,
        schema: &Schema,
        columns: usize,
        renamed: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let schema = Arc::new(Schema::new(schema.fields()[..columns].to_vec()));
        let names = DFSchema::try_from(schema.as_ref().clone())?;
        let context = SessionContext::new();
        let mut asked = Self { expressions: Vec::new(), schema, applied: Vec::new() };
        for (index, text) in question.conditions.iter().enumerate() {
            let plan = |text: &str| {
                let expression = context.parse_sql_expr(text, &names)?;
                context.create_physical_expr(expression, &names)
            };
            let planned = plan(text).or_else(|error| match question.in_other_words(index, renamed) {
                Some(other) if is_unknown_column(&error) => plan(&other),
                _ => Err(error),
            });
            match planned {
                Ok(expression) => {
                    asked.expressions.push(expression);
                    asked.applied.push(index);
                }
                // No column of these rows.
                Err(error) if is_unknown_column(&error) => {}
                Err(error) => {
                    let line = error.strip_backtrace();
                    return Err(Misuse(format!("--where `{text}`: {}", line.lines().next().unwrap_or_default())).into());
                }
            }
        }
        Ok(asked)
    }

    /// Which rows are meant.
    pub fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let rows = batch.project(&(0..self.schema.fields().len()).collect::<Vec<_>>())?;
        let mut mask = BooleanArray::from(vec![true; batch.num_rows()]);
        for expression in &self.expressions {
            let holds = expression.evaluate(&rows)?.into_array(rows.num_rows())?;
            let holds = holds.as_boolean_opt().ok_or_else(|| anyhow!(Misuse("--where takes conditions".into())))?;
            let holds = if holds.null_count() > 0 { prep_null_mask_filter(holds) } else { holds.clone() };
            mask = arrow::compute::and(&mask, &holds)?;
        }
        Ok(mask)
    }
}

fn is_unknown_column(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => matches!(**error, SchemaError::FieldNotFound { .. }),
        DataFusionError::Diagnostic(_, inner) => is_unknown_column(inner),
        DataFusionError::Collection(all) => all.iter().all(is_unknown_column),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_taken_apart_at_its_ands() {
        let question =
            Question::new(Some("(a = 1 AND b IN ('x', 'y AND z')) AND (c OR d)"), None, None).expect("parses");
        assert_eq!(question.conditions, ["a = 1", "b IN ('x', 'y AND z')", "c OR d"]);
        for text in ["a = ", "a = 1; b", "(a"] {
            let error = Question::new(Some(text), None, None).err().expect("refused").to_string();
            assert!(error.starts_with(&format!("--where `{text}`: ")), "{error}");
        }
    }

    #[test]
    fn windows_and_rows_around_a_time_are_meant() {
        let at = Question::new(None, Some(100_000_000_000), None).expect("parses");
        assert!(at.takes_window((100_000_000_000, 100_000_000_001)) && !at.takes_window((0, 100_000_000_000)));
        assert_eq!(at.span_ns(0), Some((40_000_000_000, 160_000_000_000)));
        let within = Question::new(None, Some(100), Some(Duration::from_nanos(7))).expect("parses");
        assert_eq!(within.span_ns(50), Some((93, 107)));
        assert_eq!(Question::new(None, None, None).expect("parses").span_ns(1), None);
    }
}
