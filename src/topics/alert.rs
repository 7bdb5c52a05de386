//! An alert as a block of text that says why it was raised and what to do.
//!
//! Used by `topics tail` and by the demo. No colours, no IO. Control characters in what hosts reported are escaped.

use super::text::{time, visible, wrapped};
use amoskys_proto::v1::{Alert, Evidence, ModelVersion};
use std::cmp::Ordering;

/// Features shown; the others are counted.
const FEATURES_MAX: usize = 8;
const LABEL_WIDTH: usize = 17;
const TEXT_WIDTH: usize = 83;

/// A feature: what the detection looked at, and how much it moved the model's score.
struct Feature<'a> {
    name: &'a str,
    value: Option<f64>,
    contribution: Option<f64>,
}

/// The block, several lines each ended by a newline: first severity, confidence and title, then indented what the
/// alert is about, why it was raised, where its evidence lies and what to do next. Parts that are empty are left out.
pub fn describe(alert: &Alert) -> String {
    let (severity, title) = (visible(&alert.severity), visible(&alert.title));
    let title = if title.is_empty() { visible(&alert.detection) } else { title };
    let mut block = format!("{severity} {:.2}  {title}\n", alert.confidence);
    let technique = visible(&alert.technique).replace(',', ", ");
    let technique = if technique.is_empty() { technique } else { format!("  ATT&CK {technique}") };
    line(&mut block, "detection", &format!("{}{technique}", visible(&alert.detection)));
    line(&mut block, "host", &visible(&alert.host_id));
    line(&mut block, "entity", &visible(&alert.entity));
    line(&mut block, "time", &time(alert.time.as_ref()));
    let origin = alert.provenance.clone().unwrap_or_default();
    if origin.window_end.is_some() {
        let (start, end) = (time(origin.window_start.as_ref()), time(origin.window_end.as_ref()));
        line(&mut block, "window", &format!("{start} to {end}"));
    }
    if origin.shed_rows > 0 {
        let rows = if origin.shed_rows == 1 { "1 row was".into() } else { format!("{} rows were", origin.shed_rows) };
        let why = format!("{rows} left out of the window: a bound of the processor was reached");
        line(&mut block, "incomplete", &why);
    }
    lines(&mut block, "features", &features(alert));
    lines(&mut block, "model", &origin.models.iter().map(model).collect::<Vec<_>>());
    line(&mut block, "sql", &short(&origin.sql_hash));
    lines(&mut block, "evidence", &origin.evidence.iter().map(evidence).collect::<Vec<_>>());
    lines(&mut block, "false positives", &wrapped(&visible(&alert.false_positives), TEXT_WIDTH));
    lines(&mut block, "next steps", &wrapped(&visible(&alert.next_steps), TEXT_WIDTH));
    line(&mut block, "id", &visible(&origin.id));
    block
}

fn line(block: &mut String, label: &str, value: &str) {
    if !value.is_empty() {
        block.push_str(&format!("  {label:LABEL_WIDTH$}{value}\n"));
    }
}

/// The label stands before the first of them.
fn lines(block: &mut String, label: &str, values: &[String]) {
    for (index, value) in values.iter().enumerate() {
        line(block, if index == 0 { label } else { "" }, value);
    }
}

/// One line each, what moved the score most first.
fn features(alert: &Alert) -> Vec<String> {
    let features = sorted(alert);
    let shown = &features[..features.len().min(FEATURES_MAX)];
    let width = shown.iter().map(|feature| feature.name.chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> = shown.iter().map(|feature| one(feature, width)).collect();
    if features.len() > shown.len() {
        lines.push(format!("and {} more", features.len() - shown.len()));
    }
    lines
}

fn one(feature: &Feature<'_>, width: usize) -> String {
    let value = feature.value.map_or_else(|| "-".to_owned(), number);
    let name = visible(feature.name);
    match feature.contribution {
        Some(contribution) => format!("{name:width$}  {value:>12}  {contribution:+.3} of the score"),
        None => format!("{name:width$}  {value:>12}"),
    }
}

/// By how much they moved the score, then by size; equal ones by name. What is not a number comes last.
fn sorted(alert: &Alert) -> Vec<Feature<'_>> {
    let only_moved = alert.contributions.keys().filter(|name| !alert.features.contains_key(*name));
    let names = alert.features.keys().chain(only_moved);
    let mut features: Vec<Feature<'_>> = names
        .map(|name| Feature {
            name,
            value: alert.features.get(name).copied(),
            contribution: alert.contributions.get(name).copied(),
        })
        .collect();
    let size = |number: Option<f64>| number.map(f64::abs).filter(|size| !size.is_nan()).unwrap_or(-1.0);
    let bigger = |a: Option<f64>, b: Option<f64>| size(b).total_cmp(&size(a));
    features.sort_by(|a, b| {
        let by_share = bigger(a.contribution, b.contribution);
        let by_value = || bigger(a.value, b.value);
        by_share.then_with(by_value).then_with(|| -> Ordering { a.name.cmp(b.name) })
    });
    features
}

/// Whole numbers without a fraction, others with three digits of it.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.0}")
    } else if value.abs() >= 1e-3 && value.abs() < 1e12 {
        format!("{value:.3}")
    } else {
        format!("{value:e}")
    }
}

fn model(model: &ModelVersion) -> String {
    format!("{} version {}  sha256 {}", visible(&model.name), visible(&model.version), short(&model.sha256))
}

fn evidence(span: &Evidence) -> String {
    let (topic, first, last) = (visible(&span.topic), span.first_offset, span.last_offset);
    let offsets = if first == last { format!("offset {first}") } else { format!("offsets {first} to {last}") };
    format!("{topic} partition {} {offsets}", span.partition)
}

/// As much of a hash as tells it from others.
fn short(hash: &str) -> String {
    visible(hash).chars().take(16).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use amoskys_proto::v1::Provenance;
    use prost_reflect::prost_types::Timestamp;

    pub fn sample() -> Alert {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let pairs = |pairs: &[(&str, f64)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Alert {
            detection: "discovery_burst".into(),
            technique: "T1057,T1082".into(),
            title: "a burst of discovery commands under one process".into(),
            host_id: "web-1".into(),
            entity: "sh\x1b[2J 4711".into(),
            time: at(1_700_000_010),
            confidence: 0.914,
            severity: "CRITICAL".into(),
            features: pairs(&[("execs", 9.0), ("mean_lifetime_us", 812.25), ("shells", 1.0), ("zero", 0.0)]),
            contributions: pairs(&[("shells", -0.4), ("execs", 0.21)]),
            false_positives: "login scripts and monitoring agents ".repeat(4),
            next_steps: "read the commands".into(),
            provenance: Some(Provenance {
                id: "f00d".into(),
                sql_hash: "ab".repeat(32),
                window_start: at(1_700_000_000),
                window_end: at(1_700_000_010),
                models: vec![ModelVersion { name: "activity".into(), version: "3".into(), sha256: "cd".repeat(32) }],
                evidence: vec![Evidence {
                    topic: "amoskys.telemetry.process.v1".into(),
                    partition: 2,
                    first_offset: 10,
                    last_offset: 12,
                }],
                shed_rows: 3,
            }),
        }
    }

    #[test]
    fn the_block_says_why() {
        let expected = "\
CRITICAL 0.91  a burst of discovery commands under one process
  detection        discovery_burst  ATT&CK T1057, T1082
  host             web-1
  entity           sh\\u001b[2J 4711
  time             2023-11-14T22:13:30Z
  window           2023-11-14T22:13:20Z to 2023-11-14T22:13:30Z
  incomplete       3 rows were left out of the window: a bound of the processor was reached
  features         shells                       1  -0.400 of the score
                   execs                        9  +0.210 of the score
                   mean_lifetime_us       812.250
                   zero                         0
  model            activity version 3  sha256 cdcdcdcdcdcdcdcd
  sql              abababababababab
  evidence         amoskys.telemetry.process.v1 partition 2 offsets 10 to 12
  false positives  login scripts and monitoring agents login scripts and monitoring agents login
                   scripts and monitoring agents login scripts and monitoring agents
  next steps       read the commands
  id               f00d
";
        assert_eq!(describe(&sample()), expected);
    }

    #[test]
    fn an_empty_alert_is_described_too() {
        assert_eq!(describe(&Alert::default()), " 0.00  \n  time             -\n");
    }

    #[test]
    fn many_features_are_cut_and_numbers_stay_readable() {
        let mut alert = sample();
        alert.features.extend((0..20).map(|index| (format!("f{index:02}"), f64::from(index))));
        assert!(describe(&alert).contains("and 16 more\n"));
        assert_eq!([1e300, 0.00012, f64::NAN, -3.0, 0.5].map(number), ["1e300", "1.2e-4", "NaN", "-3", "0.500"]);
    }
}
