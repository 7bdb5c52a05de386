//! Statistics that were fitted, as a JSON file: read for `normalise` and `one_hot`, written by `amoskys sql fit`.
//!
//! ```json
//! {"numbers": {"calls": {"mean": 4.5, "standard_deviation": 2.1}}, "categories": {"comm": ["bash", "sshd"]}}
//! ```
//!
//! Limits: a file of 16 MiB; read once each time that SQL is planned.

use crate::schemas::text_of_file;
use amoskys_functions::fitted::{CATEGORIES_MAX, Lookup, Moments, Statistics};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Files that were read for one plan, with the digest of each.
#[derive(Clone, Default)]
pub(crate) struct FittedFiles(Arc<Mutex<BTreeMap<String, Known>>>);

type Known = (Result<Arc<Statistics>, String>, String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    numbers: BTreeMap<String, Spread>,
    #[serde(default)]
    categories: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spread {
    mean: f64,
    standard_deviation: f64,
}

impl FittedFiles {
    pub fn lookup(&self) -> Arc<Lookup> {
        let known = self.0.clone();
        Arc::new(move |path: &str| {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(path.to_owned()).or_insert_with(|| read(path)).0.clone()
        })
    }

    /// Digests of the files that a text names, of those that were read.
    pub fn digests(&self, text: &str) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = known.iter().filter(|(path, _)| text.contains(&format!("'{path}'")));
        named.map(|(_, (_, digest))| digest.clone()).collect()
    }
}

fn read(path: &str) -> Known {
    let text = match text_of_file(Path::new(path)) {
        Ok(text) => text,
        Err(error) => return (Err(error.to_string()), String::new()),
    };
    let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
    (parsed(&text).map(Arc::new).map_err(|error| format!("{path} holds no fitted statistics: {error}")), digest)
}

fn parsed(text: &str) -> Result<Statistics, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if !value.is_object() {
        return Err("it is no object".into());
    }
    let file: File = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let mut numbers = BTreeMap::new();
    for (name, Spread { mean, standard_deviation }) in file.numbers {
        if !mean.is_finite() || !standard_deviation.is_finite() || standard_deviation < 0.0 {
            return Err(format!("`{name}` has a mean of {mean} and a standard deviation of {standard_deviation}"));
        }
        numbers.insert(name, Moments { mean, standard_deviation });
    }
    if let Some((name, all)) = file.categories.iter().find(|(_, all)| all.len() > CATEGORIES_MAX) {
        return Err(format!("`{name}` has {} categories, more than {CATEGORIES_MAX}", all.len()));
    }
    Ok(Statistics { numbers, categories: file.categories })
}

/// The file's text.
pub fn fitted_text(statistics: &Statistics) -> String {
    let spread = |(name, of): (&String, &Moments)| {
        (name.clone(), Spread { mean: of.mean, standard_deviation: of.standard_deviation })
    };
    let file =
        File { numbers: statistics.numbers.iter().map(spread).collect(), categories: statistics.categories.clone() };
    // Numbers are finite, and names are texts.
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_come_back_and_what_is_none_is_refused() {
        let moments = Moments { mean: 0.1, standard_deviation: 3.0 };
        let statistics = Statistics {
            numbers: BTreeMap::from([("calls".into(), moments)]),
            categories: BTreeMap::from([("comm".into(), vec!["b".into(), "a".into()])]),
        };
        assert_eq!(parsed(&fitted_text(&statistics)), Ok(statistics));
        for (text, words) in [
            ("[]", "no object"),
            (r#"{"numbers": {"a": {"mean": 1}}}"#, "standard_deviation"),
            (r#"{"numbers": {"a": {"mean": 1, "standard_deviation": -1}}}"#, "standard deviation of -1"),
            (r#"{"nmbers": {}}"#, "unknown field"),
        ] {
            let told = parsed(text).expect_err(text);
            assert!(told.contains(words), "{told}");
        }
    }
}
