//! DataFusion's errors in words for who wrote the SQL: the cause, without the names of layers and rules above it.

use amoskys_functions::fault::Fault;
use datafusion::{
    common::{Column, SchemaError},
    error::DataFusionError,
};
use std::collections::BTreeSet;

/// Names listed when none is near.
const LISTED_MAX: usize = 12;
/// Names suggested.
const NEAR_MAX: usize = 3;

/// What went wrong; several faults where the error is several.
pub fn faults(error: &DataFusionError) -> Vec<Fault> {
    if let DataFusionError::Collection(causes) = error {
        let mut found: Vec<Fault> = Vec::new();
        for fault in causes.iter().flat_map(faults) {
            if !found.contains(&fault) {
                found.push(fault);
            }
        }
        return found;
    }
    vec![fault(error)]
}

/// The first of them.
pub fn first(error: &DataFusionError) -> Fault {
    faults(error).into_iter().next().unwrap_or_else(|| Fault::new(error.to_string()))
}

fn fault(error: &DataFusionError) -> Fault {
    if let Some(fault) = Fault::of(error) {
        return fault.clone();
    }
    match error {
        DataFusionError::Context(_, cause) | DataFusionError::Diagnostic(_, cause) => fault(cause),
        DataFusionError::Shared(cause) => fault(cause),
        DataFusionError::SchemaError(cause, _) => match cause.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => unknown_column(field, valid_fields),
            SchemaError::AmbiguousReference { field } => Fault::new(format!("column `{}` is ambiguous", field.name))
                .help(format!("say of which table: `t.{}`", field.name))
                .at(&field.name),
            SchemaError::DuplicateUnqualifiedField { name } => twice(name),
            SchemaError::DuplicateQualifiedField { name, .. } => twice(name),
        },
        other => of_text(&without_category(&other.strip_backtrace())),
    }
}

fn twice(name: &str) -> Fault {
    let fault = Fault::new(format!("there are two columns `{name}`"));
    fault
        .help(format!("give one of them another name: … AS {name}_2"))
        .at(format!("AS {name}"))
        .at(format!("\"{name}\""))
}

/// Of intervals, as people write them.
const UNITS: [&str; 10] =
    ["second", "seconds", "minute", "minutes", "hour", "hours", "day", "days", "millisecond", "milliseconds"];

/// Messages that say what they mean in the words of the planner.
fn of_text(text: &str) -> Fault {
    // What a library says of itself, and not of the SQL.
    let text = text.split("This issue was likely caused by a bug").next().unwrap_or(text).trim_end();
    let text = text.strip_prefix("Assertion failed: ").and_then(|rest| Some(rest.split_once(": ")?.1)).unwrap_or(text);
    if text.contains("must appear in the GROUP BY clause")
        && let Some(column) = quoted_by(text, "column \"", '"')
    {
        let name = column.rsplit_once('.').map_or(column.as_str(), |(_, name)| name).to_owned();
        return Fault::new(format!("column `{name}` is neither in GROUP BY nor within an aggregate"))
            .help(format!("add it to GROUP BY, or take an aggregate of it: max({name})"))
            .at(name);
    }
    if let Some((name, _)) = text.strip_prefix("Invalid function '").and_then(|rest| rest.split_once('\'')) {
        return Fault::new(format!("function `{name}` is not known")).at(format!("{name}("));
    }
    if let Some(rest) = text.strip_prefix("Projections require unique expression names but the expression \"")
        && let Some((expression, _)) = rest.split_once("\" at position")
    {
        let name = expression.rsplit_once([' ', '.']).map_or(expression, |(_, name)| name);
        return twice(name);
    }
    if let Some(value) = quoted_by(text, "Cannot cast string '", '\'') {
        let to = text.rsplit_once("to value of ").map_or("", |(_, to)| to.trim_end_matches(" type"));
        let kind = if to.contains("Int") || to.contains("Float") { "number" } else { to };
        return Fault::new(format!("'{value}' is no {kind}, which it is compared with or becomes"))
            .help("compare with a number, or the column as text: CAST(… AS VARCHAR)")
            .at(format!("'{value}'"));
    }
    if let Some(value) = quoted_by(text, "Error parsing timestamp from '", '\'') {
        return Fault::new(format!("'{value}' is no time"))
            .help("write for example TIMESTAMP '2026-01-02 10:00:00'")
            .at(format!("'{value}'"));
    }
    if let Some(name) = text.strip_prefix("Unsupported SQL type ") {
        let types = "types are BIGINT, INT, DOUBLE, BOOLEAN, VARCHAR, TIMESTAMP, DATE and BYTEA";
        return Fault::new(format!("type `{name}` is not known")).help(types).at(name);
    }
    if text.starts_with("Aggregate functions are not allowed in the WHERE clause") {
        let message = "an aggregate does not belong into WHERE, which looks at single rows";
        return Fault::new(message).help("write it behind HAVING").at("WHERE");
    }
    if let Some(inner) = quoted_by(text, "Aggregate function calls cannot be nested: '", '\'') {
        let call = inner.split_once('(').map_or(inner.as_str(), |(name, _)| name);
        return Fault::new(format!("{call}(…) is an aggregate within an aggregate"))
            .help("compute it in a view with a GROUP BY of its own, and take the outer one over that view")
            .at(format!("({call}("))
            .at(format!("{call}("));
    }
    if let Some((_, wrong)) = text.split_once("regex parse error:") {
        let what = wrong.rsplit_once("error:").map_or(wrong, |(_, what)| what).trim();
        let what = what.lines().next().unwrap_or_default();
        let pattern = wrong.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let help = r"a letter that means something in patterns is written behind a backslash: \( \[ \.";
        return Fault::new(format!("the pattern is no regular expression: {what}"))
            .help(help)
            .at(format!("'{pattern}'"));
    }
    if text.starts_with("Substring without for/from") {
        return Fault::new("substr takes what to cut and from where").help("write substr(k, 1)");
    }
    if text.contains("Invalid input syntax for type interval") {
        let given = text.rsplit("interval").next().unwrap_or_default().to_lowercase();
        let words = given.split(|letter: char| !letter.is_alphabetic()).filter(|word| word.len() > 3);
        let unknown = words.filter(|word| !UNITS.contains(word));
        let near = |word: &str| {
            let all = UNITS.into_iter().map(|unit| (strsim::damerau_levenshtein(word, unit), unit));
            all.filter(|(distance, _)| *distance <= 2).min()
        };
        let unit = unknown.filter_map(near).map(|(_, unit)| format!("did you mean `{unit}`? ")).next();
        let help = format!("{}write for example INTERVAL '5 seconds' or INTERVAL '1 hour'", unit.unwrap_or_default());
        return Fault::new("is no interval").help(help);
    }
    if let Some(name) =
        text.strip_prefix("Incompatible inputs for Union").and_then(|_| quoted_by(text, "on column '", '\''))
    {
        let message = format!("column `{name}` is of types that do not go together in the parts of this UNION");
        return Fault::new(message).help("cast it in one of them").at("UNION");
    }
    if text == "UNION queries have different number of columns" {
        return Fault::new("the parts of a UNION have different numbers of columns").at("UNION");
    }
    // Further lines say which calls there are.
    let (first, candidates) = text.split_once("Candidate functions:").unwrap_or((text, ""));
    let first = first.split_once("No function matches").map_or(first, |(first, _)| first).trim();
    let candidates: Vec<&str> = candidates.lines().map(str::trim).filter(|line| !line.is_empty()).take(4).collect();
    let called = first.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map(|(name, _)| format!("{name}("));
    let help = if candidates.is_empty() { String::new() } else { format!("it takes {}", candidates.join(", ")) };
    let message = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    called.into_iter().fold(Fault::new(message).help(help), Fault::at)
}

fn quoted_by(text: &str, before: &str, quote: char) -> Option<String> {
    Some(text.split_once(before)?.1.split_once(quote)?.0.to_owned())
}

fn without_category(text: &str) -> String {
    let categories = ["Error during planning: ", "Schema error: ", "SQL error: ", "Execution error: "];
    let categories = categories.iter().chain(&[
        "Invalid or Unsupported Configuration: ",
        "This feature is not implemented: ",
        "Internal error: ",
    ]);
    categories.fold(text.to_owned(), |text, category| text.strip_prefix(category).map_or(text.clone(), str::to_owned))
}

fn unknown_column(field: &Column, valid: &[Column]) -> Fault {
    let names: BTreeSet<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    let name = field.relation.as_ref().map_or(field.name.clone(), |table| format!("{}.{}", table.table(), field.name));
    let help = match near(&field.name, &names).as_slice() {
        [] if names.is_empty() => "nothing is read here: is FROM missing?".to_owned(),
        [] if !is_name(&field.name) => {
            format!("text stands in single quotes: '{}'; there are {}", field.name, listed(&names))
        }
        [] => format!("there are {}", listed(&names)),
        [only] if only.to_lowercase() == field.name && !is_name(only) => {
            format!("write \"{only}\" in double quotes: SQL takes other names in small letters")
        }
        [only] => format!("did you mean `{only}`?"),
        [all @ .., last] => format!("did you mean `{}` or `{last}`?", all.join("`, `")),
    };
    Fault::new(format!("column `{name}` is not known")).help(help).at(&field.name)
}

/// Whether it is one that needs no double quotes.
fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name.bytes().next().is_some_and(is_letter) && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
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

    fn told(error: &DataFusionError) -> String {
        faults(error).iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
    }

    fn unknown(name: &str, valid: &[&str]) -> String {
        let valid: Vec<Column> = valid.iter().map(|name| Column::new(Some("processes"), *name)).collect();
        let (field, nothing) = (Box::new(Column::new_unqualified(name)), Box::new(None));
        let cause = SchemaError::FieldNotFound { field, valid_fields: valid };
        let error = DataFusionError::SchemaError(Box::new(cause), nothing);
        told(&DataFusionError::Context("type_coercion".into(), Box::new(error)))
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
        assert_eq!(unknown("x", &[]), "column `x` is not known; nothing is read here: is FROM missing?");
    }

    #[test]
    fn layers_are_left_out() {
        let cause = DataFusionError::Plan("model `m` is not known".into());
        let error = DataFusionError::Context("bind_models".into(), Box::new(cause));
        assert_eq!(told(&error), "model `m` is not known");
        let twice = || DataFusionError::Plan("a".into());
        assert_eq!(told(&DataFusionError::Collection(vec![twice(), twice()])), "a");
    }
}
