//! `sql functions`: what SQL may call. What Amoskys' own do is told by docs/functions.md, whose SQL a test plans; of
//! DataFusion's, what DataFusion tells.

use crate::{
    cli::{DONE, Misuse},
    print::{self, Format},
};
use amoskys_pipeline::sql::{FunctionInfo, functions as known, nearest};
use anyhow::Result;
use clap::Args;
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../docs/functions.md");
const NAMES_PER_LINE: usize = 8;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  amoskys sql functions                 all of them
  amoskys sql functions hll_distinct    what it gives, what it takes, an example")]
pub struct Command {
    /// A function; all are listed when left out.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// A row of the page's table.
struct Own<'a> {
    name: &'a str,
    call: &'a str,
    anchor: &'a str,
    kind: &'a str,
    gives: &'a str,
}

pub fn functions(command: &Command) -> Result<u8> {
    let known = known();
    let text = match (&command.name, command.format) {
        (None, Format::Text) => list(&known),
        (None, Format::Json) => json(known.values()),
        (Some(name), format) => {
            let name = name.to_ascii_lowercase();
            let own: Vec<Own<'_>> = own().into_iter().filter(|own| own.name == name).collect();
            match (known.get(&name), own.first(), format) {
                (Some(function), _, Format::Json) => json([function].into_iter()),
                (_, Some(own), Format::Text) => section(own),
                (Some(function), None, Format::Text) => told(function),
                (None, ..) => {
                    let near = nearest(&name, known.keys().map(String::as_str));
                    let near = if near.is_empty() { near } else { format!("; {near}") };
                    return Err(Misuse(format!("function `{name}` is not known{near}")).into());
                }
            }
        }
    };
    print::line(text.trim_end())?;
    Ok(DONE)
}

/// Amoskys' own, from the page's first table.
fn own() -> Vec<Own<'static>> {
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [first, kind, gives] = cells.as_slice() else { return None };
        let (call, anchor) = first.strip_prefix("[`")?.split_once("`](#")?;
        let name = call.split('(').next()?;
        Some(Own { name, call, anchor: anchor.strip_suffix(')')?, kind, gives })
    };
    PAGE.lines().filter_map(row).collect()
}

/// The part of the page that is about it.
fn section(own: &Own<'_>) -> String {
    let mut lines = PAGE.lines().skip_while(|line| !line.starts_with('#') || slug(line) != own.anchor);
    let Some(heading) = lines.next() else { return format!("{}: {}, {}", own.call, own.kind, own.gives) };
    let depth = depth(heading);
    let body: Vec<&str> = lines.take_while(|line| self::depth(line) == 0 || self::depth(line) > depth).collect();
    format!("{}\n  {}; gives {}\n\n{}", own.call, own.kind, own.gives, body.join("\n").trim())
}

/// The first SQL of the page that calls it, of its own part first.
fn example(own: &Own<'_>) -> Option<String> {
    let section = section(own);
    let calls = |sql: &&str| sql.contains(&format!("{}(", own.name));
    let found = [section.as_str(), PAGE].into_iter().find_map(|text| {
        let blocks = text.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
        blocks.map(str::trim).find(calls)
    });
    found.map(str::to_owned)
}

/// Of a heading; 0 of any other line.
fn depth(line: &str) -> usize {
    let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
    if line[hashes..].starts_with(' ') { hashes } else { 0 }
}

/// What a link to the heading is.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let letters = text.chars().filter_map(|each| match each {
        ' ' => Some('-'),
        each if each.is_alphanumeric() || each == '-' || each == '_' => Some(each),
        _ => None,
    });
    letters.collect()
}

fn told(function: &FunctionInfo) -> String {
    let FunctionInfo { name, kind, description, syntax, example } = function;
    let mut text = format!("{}\n  {kind}, DataFusion's", syntax.as_deref().unwrap_or(name));
    for part in [description, example].into_iter().flatten() {
        text.push_str(&format!("\n\n{part}"));
    }
    text
}

fn list(known: &BTreeMap<String, FunctionInfo>) -> String {
    let own = own();
    let width = own.iter().map(|own| own.call.len()).max().unwrap_or_default();
    let mut text = String::from("Amoskys' own (amoskys sql functions NAME says more):\n");
    for Own { call, kind, gives, .. } in &own {
        text.push_str(&format!("  {call:width$}  {kind}: {gives}\n"));
    }
    for kind in ["aggregate", "scalar", "window"] {
        let names: Vec<&str> = known
            .values()
            .filter(|function| function.kind == kind && !own.iter().any(|own| own.name == function.name))
            .map(|function| function.name.as_str())
            .collect();
        text.push_str(&format!("\nDataFusion's, {kind}:\n"));
        for line in names.chunks(NAMES_PER_LINE) {
            text.push_str(&format!("  {}\n", line.join(", ")));
        }
    }
    text
}

fn json<'a>(functions: impl Iterator<Item = &'a FunctionInfo>) -> String {
    let own = own();
    let objects: Vec<serde_json::Value> = functions
        .map(|function| {
            let ours = own.iter().find(|own| own.name == function.name);
            serde_json::json!({
                "name": function.name, "kind": function.kind,
                "syntax": ours.map(|own| own.call.to_owned()).or_else(|| function.syntax.clone()),
                "description": ours.map(|own| own.gives.to_owned()).or_else(|| function.description.clone()),
                "example": ours.and_then(example).or_else(|| function.example.clone()), "of": if ours.is_some() { "amoskys" } else { "datafusion" },
            })
        })
        .collect();
    serde_json::Value::from(objects).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_ours_is_known_and_has_its_part_of_the_page() {
        let known = known();
        let own = own();
        assert!(own.len() >= 10, "{} rows", own.len());
        for own in own {
            assert!(known.contains_key(own.name), "{} is on the page, and nothing is called that", own.name);
            let text = section(&own);
            assert!(text.lines().count() > 3, "{}: {text}", own.call);
        }
    }

    #[test]
    fn every_function_that_datafusion_does_not_know_is_on_the_page() {
        let undocumented = known().into_values().filter(|function| function.description.is_none());
        let own = own();
        let missing: Vec<String> =
            undocumented.map(|function| function.name).filter(|name| !own.iter().any(|own| own.name == name)).collect();
        assert_eq!(missing, Vec::<String>::new());
    }
}
