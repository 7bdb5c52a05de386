//! DataFusion's errors in words for who wrote the SQL: the cause, without the names of layers and rules above it.

use datafusion::{
    common::{Column, SchemaError},
    error::DataFusionError,
};
use std::collections::BTreeSet;

/// Names listed when none is near.
const LISTED_MAX: usize = 12;
/// Names suggested.
const NEAR_MAX: usize = 3;

/// What went wrong, in one line where DataFusion has one.
pub fn message(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Context(_, cause) | DataFusionError::Diagnostic(_, cause) => message(cause),
        DataFusionError::Shared(cause) => message(cause),
        DataFusionError::Collection(causes) => {
            let messages: BTreeSet<String> = causes.iter().map(message).collect();
            messages.into_iter().collect::<Vec<_>>().join("; ")
        }
        DataFusionError::SchemaError(cause, _) => match cause.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => unknown_column(field, valid_fields),
            other => other.to_string(),
        },
        other => without_category(&other.strip_backtrace()),
    }
}

fn without_category(text: &str) -> String {
    let categories = ["Error during planning: ", "Schema error: ", "SQL error: ", "Execution error: "];
    let categories = categories.iter().chain(&["Invalid or Unsupported Configuration: "]);
    categories.fold(text.to_owned(), |text, category| text.strip_prefix(category).map_or(text.clone(), str::to_owned))
}

fn unknown_column(field: &Column, valid: &[Column]) -> String {
    let names: BTreeSet<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    let name = field.relation.as_ref().map_or(field.name.clone(), |table| format!("{}.{}", table.table(), field.name));
    let hint = match near(&field.name, &names).as_slice() {
        [] if names.is_empty() => String::new(),
        [] => format!("; there are {}", listed(&names)),
        [only] => format!("; did you mean `{only}`?"),
        [all @ .., last] => format!("; did you mean `{}` or `{last}`?", all.join("`, `")),
    };
    format!("column `{name}` is not known{hint}")
}

/// The nearest first.
fn near<'a>(name: &str, names: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let distance = |other: &str| {
        let other = other.to_lowercase();
        let part = name.len() >= 3 && (other.split('_').any(|word| word == name) || other.starts_with(&name));
        if part { 1 } else { strsim::damerau_levenshtein(&name, &other) }
    };
    let mut near: Vec<(usize, &str)> = names.iter().map(|other| (distance(other), *other)).collect();
    near.retain(|(distance, other)| *distance <= 1 + other.len() / 4);
    near.sort_unstable();
    near.into_iter().map(|(_, other)| other).take(NEAR_MAX).collect()
}

fn listed(names: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = names.iter().take(LISTED_MAX).copied().collect();
    let more = if names.len() > LISTED_MAX { format!(" and {} more", names.len() - LISTED_MAX) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(name: &str, valid: &[&str]) -> String {
        let valid: Vec<Column> = valid.iter().map(|name| Column::new(Some("processes"), *name)).collect();
        let (field, nothing) = (Box::new(Column::new_unqualified(name)), Box::new(None));
        let cause = SchemaError::FieldNotFound { field, valid_fields: valid };
        let error = DataFusionError::SchemaError(Box::new(cause), nothing);
        message(&DataFusionError::Context("type_coercion".into(), Box::new(error)))
    }

    #[test]
    fn the_nearest_columns_are_named() {
        let columns = ["comm", "parent_comm", "uid", "pid", "parent_pid"];
        assert_eq!(unknown("com", &columns), "column `com` is not known; did you mean `comm`?");
        assert_eq!(unknown("comm_", &columns), "column `comm_` is not known; did you mean `comm`?");
        assert_eq!(unknown("gid", &columns), "column `gid` is not known; did you mean `pid` or `uid`?");
        assert_eq!(unknown("nothing_like_it", &["b", "a"]), "column `nothing_like_it` is not known; there are a, b");
        let many: Vec<String> = (0..40).map(|number| format!("column_{number:02}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(unknown("x", &many).ends_with("column_11 and 28 more"), "{}", unknown("x", &many));
        assert_eq!(unknown("x", &[]), "column `x` is not known");
    }

    #[test]
    fn layers_are_left_out() {
        let cause = DataFusionError::Plan("model `m` is not known".into());
        let error = DataFusionError::Context("bind_models".into(), Box::new(cause));
        assert_eq!(message(&error), "model `m` is not known");
        let twice = || DataFusionError::Plan("a".into());
        assert_eq!(message(&DataFusionError::Collection(vec![twice(), twice()])), "a");
    }
}
