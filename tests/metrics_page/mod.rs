//! Holds what a registry shows to `docs/metrics.md`: [`faults`] is a function of the two texts.
//!
//! A metric must be there once, have a unit that ends its name, a sentence of help, and a row on the page that says
//! the same; a row of the page must have its metric. Deliberately not here: making registries (`tests/metrics.rs`).

use std::collections::BTreeMap;

/// A family as OpenMetrics text declares it, or as a row of the page has it. The name is the one people query:
/// a counter's ends in `_total`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Family {
    kind: String,
    unit: String,
    help: String,
}

/// What is wrong with the metrics of `registry` (OpenMetrics text) as far as their names begin with `prefix`, held
/// against the rows of `page` (Markdown) whose names begin with it. Empty when all is well.
pub fn faults(prefix: &str, registry: &str, page: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let shown = shown(registry, &mut faults);
    let told = told(page, prefix, &mut faults);
    if shown.is_empty() {
        faults.push(format!("the registry of `{prefix}` shows no metric at all"));
    }
    for (name, family) in &shown {
        faults.extend(faults_of(name, family, prefix));
        match told.get(name) {
            None => faults.push(format!("`{name}` is missing from the page: {}", row(name, family))),
            Some(row) if (&row.kind, &row.unit) != (&family.kind, &family.unit) => {
                let (is, says) =
                    (format!("{} of {}", family.kind, family.unit), format!("{} of {}", row.kind, row.unit));
                faults.push(format!("`{name}` is a {is}, and the page says {says}"));
            }
            Some(_) => {}
        }
    }
    for name in told.keys().filter(|name| !shown.contains_key(*name)) {
        faults.push(format!("`{name}` is on the page and no metric"));
    }
    faults
}

fn faults_of(name: &str, family: &Family, prefix: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let bare = name.strip_suffix("_total").unwrap_or(name);
    if !name.starts_with(prefix) {
        faults.push(format!("`{name}` does not begin with `{prefix}`"));
    }
    if family.unit.is_empty() {
        faults.push(format!("`{name}` has no unit"));
    } else if !bare.ends_with(&format!("_{}", family.unit)) {
        faults.push(format!("`{name}` does not end with its unit, `{}`", family.unit));
    }
    if family.help.trim_end_matches('.').is_empty() {
        faults.push(format!("`{name}` has no help"));
    }
    faults
}

/// The families of an OpenMetrics text; one that is declared twice is a fault.
fn shown(registry: &str, faults: &mut Vec<String>) -> BTreeMap<String, Family> {
    let declared = registry.lines().filter_map(|line| line.strip_prefix("# "));
    let declared: Vec<(&str, &str, &str)> = declared.filter_map(three_words).collect();
    let of = |what: &str, name: &str| {
        let found = declared.iter().find(|(kind, of, _)| *kind == what && *of == name);
        found.map_or_else(String::new, |(_, _, rest)| (*rest).to_owned())
    };
    let mut families = BTreeMap::new();
    for (_, name, kind) in declared.iter().filter(|(what, _, _)| *what == "TYPE") {
        let family = Family { kind: (*kind).to_owned(), unit: of("UNIT", name), help: of("HELP", name) };
        let name = if *kind == "counter" { format!("{name}_total") } else { (*name).to_owned() };
        if families.insert(name.clone(), family).is_some() {
            faults.push(format!("`{name}` is registered twice"));
        }
    }
    families
}

fn three_words(line: &str) -> Option<(&str, &str, &str)> {
    let (what, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((what, name, rest))
}

/// The rows `| `name` | type | unit | meaning |` of the page.
fn told(page: &str, prefix: &str, faults: &mut Vec<String>) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, unit, help] = cells.as_slice() else {
            faults.push(format!("the page's row has {} cells, not 4: {line}", cells.len()));
            continue;
        };
        let name = name.trim_matches('`').to_owned();
        let family = Family { kind: (*kind).to_owned(), unit: (*unit).to_owned(), help: (*help).to_owned() };
        if name.starts_with(prefix) && families.insert(name.clone(), family).is_some() {
            faults.push(format!("`{name}` is on the page twice"));
        }
    }
    families
}

/// The row to put on the page.
fn row(name: &str, family: &Family) -> String {
    format!("| `{name}` | {} | {} | {} |", family.kind, family.unit, family.help.trim_end_matches('.'))
}
