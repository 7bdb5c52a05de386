//! What came out of a test, asked by SQL and compared as text.
//!
//! Limits: cells are compared as they are shown, blanks around them left out.

use crate::sql::{FittedFiles, nearest_of_all, session, told_of};
use amoskys_functions::model::Lookup;
use arrow::{
    compute::concat_batches,
    datatypes::SchemaRef,
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::{
    common::TableReference, datasource::MemTable, error::DataFusionError, prelude::SessionContext,
    sql::parser::Statement as Ast,
};
use std::{collections::BTreeMap, sync::Arc};

const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.f";

/// How values are shown: times as they are written in SQL.
pub const SHOWN: FormatOptions<'static> = FormatOptions::new()
    .with_null("null")
    .with_timestamp_format(Some(TIME_FORMAT))
    .with_timestamp_tz_format(Some(TIME_FORMAT));

/// Rows by the names that a SELECT has for them.
pub type Tables = BTreeMap<String, (SchemaRef, Vec<RecordBatch>)>;

/// A table as a test's comments have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl TextTable {
    /// `| a | b |`, a line of hyphens that may be left out, then the rows; of the first line that does not fit its index and what is
    /// wrong with it.
    pub fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, (usize, String)> {
        let mut table = Self { columns: Vec::new(), rows: Vec::new() };
        for (index, line) in lines.enumerate() {
            let is_rule = line.bytes().all(|byte| matches!(byte, b'|' | b'-' | b' '));
            let cells = cells(line).ok_or_else(|| (index, "a row of a table begins and ends with |".to_owned()))?;
            if index == 0 {
                table.columns = cells;
            } else if index == 1 && is_rule {
                continue;
            } else if cells.len() == table.columns.len() {
                table.rows.push(cells);
            } else {
                let words = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
                let (has, wanted) = (words(cells.len(), "cell"), words(table.columns.len(), "column"));
                return Err((index, format!("has {has}, but the table has {wanted}")));
            }
        }
        Ok(table)
    }

    /// # Errors
    /// A type that has no text.
    pub fn of(rows: &RecordBatch) -> Result<Self, String> {
        let columns = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        let formatters = rows.columns().iter().map(|column| ArrayFormatter::try_new(column, &SHOWN));
        let formatters = formatters.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let cell = |formatter: &ArrayFormatter<'_>, row: usize| {
            let text = formatter.value(row).try_to_string().map_err(|error| error.to_string())?;
            Ok(text.trim().to_owned())
        };
        let row = |row: usize| formatters.iter().map(|formatter| cell(formatter, row)).collect::<Result<_, String>>();
        Ok(Self { columns, rows: (0..rows.num_rows()).map(row).collect::<Result<_, _>>()? })
    }

    /// The lines of the table, columns below each other.
    pub fn lines(&self) -> Vec<String> {
        self.drawn([&self.columns].into_iter().chain(&self.rows)).into_iter().enumerate().fold(
            Vec::new(),
            |mut lines, (index, line)| {
                let rule = || line.chars().map(|letter| if letter == '|' { '|' } else { '-' }).collect();
                let rule: Option<String> = (index == 0).then(rule);
                lines.push(line);
                lines.extend(rule);
                lines
            },
        )
    }

    fn drawn<'a>(&self, rows: impl Iterator<Item = &'a Vec<String>> + Clone) -> Vec<String> {
        let escaped: Vec<Vec<String>> = rows.map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
        let width = |column: usize| escaped.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let drawn = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("| {cell:<width$} "));
            cells.collect::<String>() + "|"
        };
        escaped.iter().map(drawn).collect()
    }

    /// In lines what `actual` has otherwise, `None` when it is the same. Rows may come in any order unless `is_ordered`.
    pub fn differences(&self, actual: &Self, is_ordered: bool) -> Option<Vec<String>> {
        if self.columns != actual.columns {
            let names = |table: &Self| table.columns.join(", ");
            return Some(vec![format!("- columns {}", names(self)), format!("+ columns {}", names(actual))]);
        }
        let (mut missing, mut added) = (self.rows.clone(), Vec::new());
        for row in &actual.rows {
            match missing.iter().position(|of| of == row) {
                Some(index) => drop(missing.remove(index)),
                None => added.push(row.clone()),
            }
        }
        let is_same = missing.is_empty() && added.is_empty();
        if is_same && (!is_ordered || self.rows == actual.rows) {
            return None;
        }
        if is_same {
            (missing, added) = (self.rows.clone(), actual.rows.clone());
        }
        let signs = [' '].into_iter().chain(missing.iter().map(|_| '-')).chain(added.iter().map(|_| '+'));
        let rows = [&self.columns].into_iter().chain(&missing).chain(&added);
        let mut lines: Vec<String> = signs.zip(self.drawn(rows)).map(|(sign, line)| format!("{sign} {line}")).collect();
        if is_same {
            lines.push("  the same rows in another order".to_owned());
        }
        Some(lines)
    }
}

/// What stands between the bars of a line.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?;
    let (mut cells, mut cell, mut letters) = (Vec::new(), String::new(), inner.chars());
    let mut is_closed = false;
    while let Some(letter) = letters.next() {
        is_closed = letter == '|';
        match letter {
            '|' => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            '\\' => match letters.next() {
                Some('n') => cell.push('\n'),
                other => cell.extend(other),
            },
            letter => cell.push(letter),
        }
    }
    is_closed.then_some(cells)
}

fn escape(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "\\n")
}

/// What reads SQL of tests.
pub(super) fn context() -> SessionContext {
    let models: Arc<Lookup> = Arc::new(|name: &str| Err(format!("a test asks no model, as `{name}`")));
    session(&models, &FittedFiles::default())
}

/// Names of the tables that SQL reads; not those of functions that give tables.
pub(super) fn references(context: &SessionContext, ast: &Ast) -> Result<Vec<String>, String> {
    let references = context.state().resolve_table_references(ast).map_err(|error| in_words(&error))?;
    let names = references.iter().map(|reference| reference.table().to_owned());
    Ok(names.filter(|name| context.table_function(name).is_err()).collect())
}

/// The rows of a SELECT over these tables, or why there are none, for people.
///
/// # Errors
/// A table that is none of these, SQL that does not plan, a computation that fails.
pub fn query(ast: &Ast, tables: &Tables) -> Result<RecordBatch, String> {
    let context = context();
    for name in references(&context, ast)? {
        let Some((schema, rows)) = tables.get(&name) else {
            let known: Vec<&str> = tables.keys().map(String::as_str).collect();
            return Err(format!("`{name}` is nothing that a test can ask for; {}", nearest_of_all(&name, &known)));
        };
        let table = MemTable::try_new(schema.clone(), vec![rows.clone()]).map_err(|error| in_words(&error))?;
        context.register_table(TableReference::bare(name), Arc::new(table)).map_err(|error| in_words(&error))?;
    }
    run(&context, ast)
}

fn run(context: &SessionContext, ast: &Ast) -> Result<RecordBatch, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let collected = runtime.block_on(async {
        let plan = context.state().statement_to_plan(ast.clone()).await?;
        let frame = context.execute_logical_plan(plan).await?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await?;
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        Ok::<_, DataFusionError>(concat_batches(&schema, &batches)?)
    });
    collected.map_err(|error| in_words(&error))
}

fn in_words(error: &DataFusionError) -> String {
    told_of(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[&str]) -> TextTable {
        TextTable::parse(lines.iter().copied()).expect("a table")
    }

    #[test]
    fn tables_read_back_as_they_are_written() {
        let cells = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let table =
            TextTable { columns: cells(&["a", "long"]), rows: vec![cells(&["x|y\\z\nw", ""]), cells(&["", "é"])] };
        let lines = table.lines();
        assert_eq!(
            lines,
            ["| a          | long |", "|------------|------|", "| x\\|y\\\\z\\nw |      |", "|            | é    |"]
        );
        assert_eq!(TextTable::parse(lines.iter().map(String::as_str)), Ok(table));
        assert_eq!(
            TextTable::parse(["| a |", "| 1"].into_iter()),
            Err((1, "a row of a table begins and ends with |".to_owned()))
        );
    }

    #[test]
    fn differences_say_what_is_missing_and_what_was_added() {
        let expected = table(&["| a | b |", "| 1 | x |", "| 1 | x |", "| 2 | y |"]);
        let actual = table(&["| a | b |", "| 2 | y |", "| 1 | x |", "| 30 | z |"]);
        let lines = expected.differences(&actual, false).expect("differs");
        assert_eq!(lines, ["  | a  | b |", "- | 1  | x |", "+ | 30 | z |"]);
        let other = table(&["| a | b |", "| 2 | y |", "| 1 | x |", "| 1 | x |"]);
        assert_eq!(expected.differences(&other, false), None);
        let lines = expected.differences(&other, true).expect("differs");
        assert_eq!(lines.last().map(String::as_str), Some("  the same rows in another order"));
        let renamed = table(&["| a | c |"]);
        assert_eq!(expected.differences(&renamed, false), Some(vec!["- columns a, b".into(), "+ columns a, c".into()]));
    }
}
