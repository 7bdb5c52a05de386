//! `model.toml`: what a model is, what it takes, what it gives, and how well it did. Parsed strictly.
//!
//! Written by `training/`; format in `models/README.md`. Deliberately no IO here: text in, manifest or problems out.
//! Limits: 1 to 4,096 features.

use toml_edit::{Datetime, Document, Item, Table};

use crate::{
    Version,
    error::Problem,
    fields::{Fields, count, finite, fraction, line_at, text},
};

const FEATURES_MAX: usize = 4_096;

/// A checked `model.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    pub name: String,
    pub version: Version,
    /// Of model.onnx, 64 hex digits.
    pub sha256: String,
    /// Scores at or above it are worth an alert, 0 to 1.
    pub threshold: f64,
    /// RFC 3339, UTC.
    pub trained_at: String,
    /// What it was trained on, for a person.
    pub data: String,
    /// Hash of the SQL that computed the features it was trained on.
    pub sql_hash: String,
    /// In the order of the model's input.
    pub features: Vec<Feature>,
    pub output: Output,
    pub metrics: Metrics,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    pub name: String,
    /// Median over the benign training rows: what "nothing unusual" is, for explanations.
    pub baseline: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Name of the output tensor, float32 `[rows]` or `[rows, columns]`.
    pub tensor: String,
    /// Which column of it, from 0.
    pub column: usize,
    pub kind: OutputKind,
    /// The score of a row of baselines as measured when the model was exported; checked when it is loaded.
    pub baseline_score: f64,
}

/// How the tensor's values become scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OutputKind {
    /// It is the score.
    Probability,
    /// The score goes in a straight line from 0 at `zero_at` to 1 at `one_at` (which may be the smaller) and no further.
    Raw { zero_at: f64, one_at: f64 },
}

/// Measured on rows later than every row it was trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// RFC 3339, UTC: where the last window it was trained on ends and the first it was tested on starts.
    pub train_until: String,
    pub test_from: String,
    pub train_rows: u64,
    pub test_rows: u64,
    pub test_attack_rows: u64,
    /// Staged attacks in the test time, and those with at least one row at the threshold.
    pub test_attacks: u64,
    pub test_attacks_detected: u64,
    pub detection_rate_at_1_percent_fp: f64,
    pub detection_rate_at_threshold: f64,
    pub false_positive_rate_at_threshold: f64,
    pub alerts_per_host_day: f64,
}

impl Manifest {
    /// All problems at once, in the order of the file.
    pub fn parse(source: &str) -> Result<Self, Vec<Problem>> {
        let document = Document::parse(source).map_err(|error| {
            let line = line_at(source, error.span().map(|span| span.start));
            vec![Problem { line, key: String::new(), detail: error.message().to_owned() }]
        })?;
        let mut problems = Vec::new();
        let manifest = read_manifest(source, document.as_table(), &mut problems);
        problems.sort_by_key(|problem| problem.line);
        match manifest {
            Some(manifest) if problems.is_empty() => Ok(manifest),
            _ => Err(problems),
        }
    }
}

fn read_manifest(source: &str, table: &Table, problems: &mut Vec<Problem>) -> Option<Manifest> {
    let features = read_features(source, table, problems);
    let output = read_section(source, table, "output", "output.", problems, read_output);
    let metrics = read_section(source, table, "metrics", "metrics.", problems, read_metrics);
    let mut top = Fields { text: source, prefix: "", table, problems };
    top.only(&[
        "name",
        "version",
        "sha256",
        "threshold",
        "trained_at",
        "data",
        "sql_hash",
        "feature",
        "output",
        "metrics",
    ]);
    let name = top.get("name", "a name of lower-case letters, digits and `_`", model_name);
    let version =
        top.get("version", "a version in quotes, such as \"3\" or \"1.10\"", |item| item.as_str()?.parse().ok());
    let sha256 = top.get("sha256", "64 hex digits in lower case", sha256_hex);
    let threshold = top.get("threshold", "a number from 0 to 1", fraction);
    let trained_at = top.get("trained_at", UTC_TIME, utc_time);
    let data = top.get("data", "a description of the data it was trained on", text);
    let sql_hash = top.get("sql_hash", "the hash of the SQL that computed its features", text);
    Some(Manifest {
        name: name?,
        version: version?,
        sha256: sha256?,
        threshold: threshold?,
        trained_at: trained_at?.to_string(),
        data: data?,
        sql_hash: sql_hash?,
        features: features?,
        output: output?,
        metrics: metrics?,
    })
}

fn read_section<T>(
    source: &str,
    table: &Table,
    key: &str,
    prefix: &'static str,
    problems: &mut Vec<Problem>,
    read: impl Fn(&mut Fields<'_>) -> Option<T>,
) -> Option<T> {
    let section =
        Fields { text: source, prefix: "", table, problems }.get(key, "a table", |item| item.as_table().cloned())?;
    read(&mut Fields { text: source, prefix, table: &section, problems })
}

fn read_features(source: &str, table: &Table, problems: &mut Vec<Problem>) -> Option<Vec<Feature>> {
    let mut top = Fields { text: source, prefix: "", table, problems };
    let tables = top.get("feature", "1 to 4096 tables [[feature]]", |item| {
        item.as_array_of_tables().filter(|tables| (1..=FEATURES_MAX).contains(&tables.len())).cloned()
    })?;
    let mut features: Vec<Feature> = Vec::with_capacity(tables.len());
    for table in tables.iter() {
        let mut fields = Fields { text: source, prefix: "feature.", table, problems };
        fields.only(&["name", "baseline"]);
        let name = fields.get("name", "a column's name", text);
        let baseline = fields.get("baseline", "a finite number", finite);
        let (Some(name), Some(baseline)) = (name, baseline) else { continue };
        if features.iter().any(|feature| feature.name == name) {
            fields.report(fields.line_of("name"), "name", format!("`{name}` is there twice"));
        }
        features.push(Feature { name, baseline });
    }
    Some(features)
}

fn read_output(fields: &mut Fields<'_>) -> Option<Output> {
    let raw = fields.table.get("kind").and_then(Item::as_str) == Some("raw");
    let known: &[&str] = match raw {
        true => &["tensor", "column", "kind", "baseline_score", "zero_at", "one_at"],
        false => &["tensor", "column", "kind", "baseline_score"],
    };
    fields.only(known);
    let tensor = fields.get("tensor", "the name of an output tensor", text);
    let column = fields.get("column", "a column number from 0", |item| usize::try_from(item.as_integer()?).ok());
    let baseline_score = fields.get("baseline_score", "a number from 0 to 1", fraction);
    let kind = if raw {
        let zero_at = fields.get("zero_at", "a finite number", finite);
        let one_at = fields.get("one_at", "a finite number", finite);
        if zero_at.is_some() && zero_at == one_at {
            fields.report(fields.line_of("one_at"), "one_at", "must differ from zero_at".to_owned());
        }
        zero_at.zip(one_at).map(|(zero_at, one_at)| OutputKind::Raw { zero_at, one_at })
    } else {
        fields.get("kind", "\"probability\" or \"raw\"", |item| {
            (item.as_str() == Some("probability")).then_some(OutputKind::Probability)
        })
    };
    Some(Output { tensor: tensor?, column: column?, kind: kind?, baseline_score: baseline_score? })
}

fn read_metrics(fields: &mut Fields<'_>) -> Option<Metrics> {
    fields.only(&[
        "train_until",
        "test_from",
        "train_rows",
        "test_rows",
        "test_attack_rows",
        "test_attacks",
        "test_attacks_detected",
        "detection_rate_at_1_percent_fp",
        "detection_rate_at_threshold",
        "false_positive_rate_at_threshold",
        "alerts_per_host_day",
    ]);
    let train_until = fields.get("train_until", UTC_TIME, utc_time);
    let test_from = fields.get("test_from", UTC_TIME, utc_time);
    if let (Some(train_until), Some(test_from)) = (train_until, test_from)
        && test_from < train_until
    {
        let detail = format!("{test_from} is earlier than train_until; metrics are measured on later time only");
        fields.report(fields.line_of("test_from"), "test_from", detail);
    }
    let mut counted = |key| fields.get(key, "a whole number from 0", count);
    let (train_rows, test_rows, test_attack_rows) =
        (counted("train_rows"), counted("test_rows"), counted("test_attack_rows"));
    let (test_attacks, test_attacks_detected) = (counted("test_attacks"), counted("test_attacks_detected"));
    let mut rate = |key| fields.get(key, "a number from 0 to 1", fraction);
    let detection_rate_at_1_percent_fp = rate("detection_rate_at_1_percent_fp");
    let detection_rate_at_threshold = rate("detection_rate_at_threshold");
    let false_positive_rate_at_threshold = rate("false_positive_rate_at_threshold");
    let alerts_per_host_day =
        fields.get("alerts_per_host_day", "a number from 0", |item| finite(item).filter(|value| *value >= 0.0));
    Some(Metrics {
        train_until: train_until?.to_string(),
        test_from: test_from?.to_string(),
        train_rows: train_rows?,
        test_rows: test_rows?,
        test_attack_rows: test_attack_rows?,
        test_attacks: test_attacks?,
        test_attacks_detected: test_attacks_detected?,
        detection_rate_at_1_percent_fp: detection_rate_at_1_percent_fp?,
        detection_rate_at_threshold: detection_rate_at_threshold?,
        false_positive_rate_at_threshold: false_positive_rate_at_threshold?,
        alerts_per_host_day: alerts_per_host_day?,
    })
}

const UTC_TIME: &str = "a time in UTC without quotes, such as 2026-11-23T14:05:09Z";

/// UTC only, so that times compare as they are written.
fn utc_time(item: &Item) -> Option<Datetime> {
    let time = item.as_datetime()?;
    let utc = time.date.is_some() && time.time.is_some() && time.offset == Some(toml_edit::Offset::Z);
    utc.then_some(*time)
}

fn model_name(item: &Item) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text(item).filter(|name| name.chars().all(plain))
}

fn sha256_hex(item: &Item) -> Option<String> {
    let hex_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text(item).filter(|digits| digits.len() == 64 && digits.chars().all(hex_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../tests/data/good/tiny_isolation/10/model.toml");

    #[test]
    fn reads_what_training_writes() {
        let manifest = Manifest::parse(GOOD).expect("it was written by training");
        assert_eq!((manifest.name.as_str(), manifest.version.to_string().as_str()), ("tiny_isolation", "10"));
        assert_eq!(manifest.output.kind, OutputKind::Raw { zero_at: 0.1, one_at: -0.3 });
        assert_eq!(manifest.features[1], Feature { name: "mean_lifetime_us".to_owned(), baseline: 1000.0 });
    }

    #[test]
    fn reports_all_problems_with_their_lines() {
        let bad = GOOD
            .replace("threshold = 0.7", "treshold = 0.7")
            .replace("version = \"10\"", "version = 10")
            .replace("one_at = -0.3", "one_at = 0.1")
            .replace("test_from = 1970-01-01T", "test_from = 1969-01-01T")
            .replace("name = \"tmpfs_execs\"", "name = \"execs\"");
        let problems: Vec<String> =
            Manifest::parse(&bad).expect_err("five mistakes").iter().map(Problem::to_string).collect();
        assert_eq!(
            problems,
            [
                "line 1: threshold: missing; expected a number from 0 to 1",
                "line 3: version: 10 is not a version in quotes, such as \"3\" or \"1.10\"",
                "line 5: treshold: unknown key, did you mean `threshold`?",
                "line 16: output.one_at: must differ from zero_at",
                "line 20: metrics.test_from: 1969-01-01T00:00:00.000001Z is earlier than train_until; metrics are measured \
                 on later time only",
                "line 40: feature.name: `execs` is there twice",
            ]
        );
    }

    #[test]
    fn says_where_it_is_not_toml() {
        let problems = Manifest::parse("name = \"a\"\nversion = =").expect_err("not TOML");
        assert_eq!(problems[0].line, 2, "{problems:?}");
    }
}
