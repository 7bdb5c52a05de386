//! One schema that reads what several versions of a schema wrote.
//!
//! It has the fields of all versions, and each that has no default may be null: so what a version lacks is null in its records,
//! also in those of a version that comes later. A field that is now of another type is a conflict, whichever way Avro might
//! promote it, as SQL was written for one of them.
//! Deliberately not here: aliases (a renamed field is another field). Limits: types that are named are compared as they are
//! written where they are defined, and by name elsewhere.

use serde_json::{Map, Value, json};

/// A field's type differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {path:?} is {older} in {older_version} and {newer} in {newer_version}")]
pub struct VersionConflict {
    /// Names from the outermost record to the field, joined by dots.
    pub path: String,
    pub older: String,
    pub older_version: String,
    pub newer: String,
    pub newer_version: String,
}

/// A schema, as JSON, that reads all of these, the oldest first, each with what it is called.
///
/// # Errors
/// Every field whose type changed. A text that is no JSON is kept as it is: who parses the result tells of it.
pub fn merged(versions: &[(String, String)]) -> Result<String, Vec<VersionConflict>> {
    let Some(((newest_name, newest), older)) = versions.split_last() else { return Ok(String::new()) };
    let Ok(mut merged) = serde_json::from_str::<Value>(newest) else { return Ok(newest.clone()) };
    let mut conflicts = Vec::new();
    for (name, text) in older.iter().rev() {
        let Ok(version) = serde_json::from_str::<Value>(text) else { return Ok(text.clone()) };
        let mut merge = Merge { older: name, newer: newest_name, conflicts: &mut conflicts };
        merged = merge.types(&version, &merged, "");
    }
    forgive(&mut merged);
    if conflicts.is_empty() { Ok(merged.to_string()) } else { Err(conflicts) }
}

/// Makes every field of every record null where it is not written and has no default.
fn forgive(of: &mut Value) {
    match of {
        Value::Array(parts) => parts.iter_mut().for_each(forgive),
        Value::Object(_) => {
            if let Some(fields) = of.get_mut("fields").and_then(Value::as_array_mut) {
                for field in fields.iter_mut() {
                    if let Some(of) = field.get_mut("type") {
                        forgive(of);
                    }
                    if field.get("default").is_none() {
                        absent(field);
                    }
                }
            }
            ["items", "values"].into_iter().for_each(|key| {
                if let Some(inner) = of.get_mut(key) {
                    forgive(inner);
                }
            });
        }
        _ => {}
    }
}

struct Merge<'a> {
    older: &'a str,
    newer: &'a str,
    conflicts: &'a mut Vec<VersionConflict>,
}

impl Merge<'_> {
    /// A type that holds what both hold.
    fn types(&mut self, older: &Value, newer: &Value, path: &str) -> Value {
        let (old_inner, old_null) = without_null(older);
        let (new_inner, new_null) = without_null(newer);
        let inner = match (kind(&old_inner), kind(&new_inner)) {
            ("record", "record") => self.records(&old_inner, &new_inner, path),
            ("enum", "enum") => symbols(&old_inner, &new_inner),
            ("array", "array") => self.within("items", &old_inner, &new_inner, path),
            ("map", "map") => self.within("values", &old_inner, &new_inner, path),
            _ => {
                if essence(&old_inner) != essence(&new_inner) {
                    self.conflicts.push(VersionConflict {
                        path: path.to_owned(),
                        older: essence(older).to_string(),
                        older_version: self.older.to_owned(),
                        newer: essence(newer).to_string(),
                        newer_version: self.newer.to_owned(),
                    });
                }
                new_inner.clone()
            }
        };
        match (new_null, old_null) {
            // As it stands: which comes first decides what its default may be.
            (true, _) => replaced(newer, inner),
            (false, true) => with_null(inner, usize::MAX),
            (false, false) => inner,
        }
    }

    fn within(&mut self, key: &str, older: &Value, newer: &Value, path: &str) -> Value {
        let mut whole = newer.clone();
        whole[key] = self.types(&older[key], &newer[key], path);
        whole
    }

    fn records(&mut self, older: &Value, newer: &Value, path: &str) -> Value {
        let fields = |record: &Value| record["fields"].as_array().cloned().unwrap_or_default();
        let named = |fields: &[Value], name: &Value| fields.iter().find(|field| field["name"] == *name).cloned();
        let (old_fields, new_fields) = (fields(older), fields(newer));
        let mut all = Vec::new();
        for field in &new_fields {
            let name = field["name"].as_str().unwrap_or_default();
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let mut field = field.clone();
            if let Some(old) = named(&old_fields, &field["name"]) {
                field["type"] = self.types(&old["type"], &field["type"], &path);
            }
            all.push(field);
        }
        for field in old_fields.iter().filter(|field| named(&new_fields, &field["name"]).is_none()) {
            let mut field = field.clone();
            absent(&mut field);
            all.push(field);
        }
        let mut record = newer.clone();
        record["fields"] = Value::Array(all);
        record
    }
}

/// Makes a field null where it is not written.
fn absent(field: &mut Value) {
    let (inner, _) = without_null(&field["type"]);
    field["type"] = with_null(inner, 0);
    field["default"] = Value::Null;
}

/// The type, and whether it may be null.
fn without_null(of: &Value) -> (Value, bool) {
    let Value::Array(branches) = of else { return (of.clone(), false) };
    let rest: Vec<Value> = branches.iter().filter(|branch| **branch != json!("null")).cloned().collect();
    let is_nullable = rest.len() < branches.len();
    match <[Value; 1]>::try_from(rest) {
        Ok([only]) => (only, is_nullable),
        Err(rest) => (Value::Array(rest), is_nullable),
    }
}

/// A union with null, with another type beside the null.
fn replaced(union: &Value, inner: Value) -> Value {
    let null_first = union.get(0) == Some(&json!("null"));
    with_null(inner, if null_first { 0 } else { usize::MAX })
}

/// A union of null, at this place or at the end, and what else there is.
fn with_null(inner: Value, at: usize) -> Value {
    let mut branches = match inner {
        Value::Array(branches) => branches,
        other => vec![other],
    };
    branches.insert(at.min(branches.len()), json!("null"));
    Value::Array(branches)
}

fn symbols(older: &Value, newer: &Value) -> Value {
    let mut whole = newer.clone();
    let mut all = newer["symbols"].as_array().cloned().unwrap_or_default();
    for symbol in older["symbols"].as_array().into_iter().flatten().filter(|symbol| !symbol.is_null()) {
        if !all.contains(symbol) {
            all.push(symbol.clone());
        }
    }
    whole["symbols"] = Value::Array(all);
    whole
}

fn kind(of: &Value) -> &str {
    of["type"].as_str().unwrap_or_default()
}

/// What a type is, without what is said about it; `{"type": "int"}` is `"int"`.
fn essence(of: &Value) -> Value {
    match of {
        Value::Object(entries) => {
            let said = ["doc", "default", "aliases", "order"];
            let keep = |(key, value): (&String, &Value)| {
                (!said.contains(&key.as_str())).then(|| (key.clone(), essence(value)))
            };
            let kept: Map<String, Value> = entries.iter().filter_map(keep).collect();
            match (kept.len(), kept.get("type")) {
                (1, Some(only)) => only.clone(),
                _ => Value::Object(kept),
            }
        }
        Value::Array(branches) => Value::Array(branches.iter().map(essence).collect()),
        other => other.clone(),
    }
}
