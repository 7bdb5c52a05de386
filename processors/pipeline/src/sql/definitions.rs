//! What a statement defines, by its name, or where it inserts.

use super::{Sources, Statement, anchor, files::folded};
use datafusion::sql::{
    parser::Statement as Ast,
    sqlparser::ast::{self, TableObject},
};
use std::collections::BTreeSet;

pub(super) enum Kind<'a> {
    Table(String),
    View(String),
    Insert(&'a ast::Insert),
    Other,
}

pub(super) fn kind(statement: &Statement) -> Kind<'_> {
    match &statement.ast {
        Ast::CreateExternalTable(table) => Kind::Table(name_of(&table.name)),
        Ast::Statement(statement) => match statement.as_ref() {
            ast::Statement::CreateView(view) => Kind::View(name_of(&view.name)),
            ast::Statement::Insert(insert) => Kind::Insert(insert),
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

impl Sources {
    /// Adds statements; one that defines a name stands in the place of the one that did.
    pub fn replace(&mut self, statements: impl IntoIterator<Item = Statement>) {
        for statement in statements {
            let name = defined(&statement);
            self.statements.retain(|other| name.is_none() || defined(other) != name);
            self.statements.push(statement);
        }
    }
}

fn defined(statement: &Statement) -> Option<String> {
    match kind(statement) {
        Kind::Table(name) | Kind::View(name) => Some(name),
        Kind::Insert(_) | Kind::Other => None,
    }
}

/// Whether it is a view or an INSERT.
pub(super) fn is_computed(statement: &Statement) -> bool {
    matches!(kind(statement), Kind::View(_) | Kind::Insert(_))
}

/// Names of the views that are defined.
pub fn views_of(sources: &Sources) -> Vec<String> {
    let view = |statement: &Statement| match kind(statement) {
        Kind::View(name) => Some(name),
        _ => None,
    };
    sources.statements.iter().filter_map(view).collect()
}

/// Where an INSERT goes.
pub(crate) fn table_of(insert: &ast::Insert) -> Option<String> {
    match &insert.table {
        TableObject::TableName(name) => Some(name_of(name)),
        _ => None,
    }
}

/// The last part of a name, folded as the planner folds it.
pub(crate) fn name_of(name: &ast::ObjectName) -> String {
    match name.0.last().and_then(|part| part.as_ident()) {
        Some(ident) => folded(&ident.value, ident.quote_style),
        None => name.to_string(),
    }
}

/// What it is, and where: `INSERT INTO x at FILE:LINE:COLUMN`.
pub(super) fn with_place(statement: &Statement) -> String {
    let what = match kind(statement) {
        Kind::Table(name) => format!("table `{name}`"),
        Kind::View(name) => format!("view `{name}`"),
        Kind::Insert(insert) => format!("INSERT INTO {}", table_of(insert).unwrap_or_default()),
        Kind::Other => "statement".to_owned(),
    };
    format!("{what} at {}", statement.place(anchor::head(statement.text())))
}

/// The name of its file, without folder and ending.
pub(super) fn file_stem(statement: &Statement) -> String {
    statement.file.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// The INSERTs that people mean by a name: those that give it to their alerts as their detection, or else those of the
/// file of that name.
/// What a text that is given as `detection` says.
pub(super) fn detection_of(statement: &Statement) -> Option<String> {
    let text = statement.text();
    let (before, _) = text.split_at(text.to_lowercase().find("' as detection")?);
    before.rsplit_once('\'').map(|(_, name)| name.to_owned())
}

pub(super) fn inserts_called(statements: &[Statement], name: &str) -> BTreeSet<usize> {
    let detection = format!("'{}' as detection", name.to_lowercase());
    let inserts = statements.iter().enumerate().filter(|(_, statement)| matches!(kind(statement), Kind::Insert(_)));
    let gives = |statement: &Statement| statement.text().to_lowercase().contains(&detection);
    let found: BTreeSet<usize> =
        inserts.clone().filter(|(_, statement)| gives(statement)).map(|(index, _)| index).collect();
    if !found.is_empty() {
        return found;
    }
    inserts.filter(|(_, statement)| file_stem(statement) == name).map(|(index, _)| index).collect()
}
