//! What differs, for people and for programs, and what the gates say of it.

use super::{
    Kind,
    compare::{Comparison, Counts, Row},
};
use crate::print::counted;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Hosts and days with the most alerts that are shown.
const DAYS_SHOWN: usize = 10;

pub struct Report<'a> {
    pub comparisons: &'a [Comparison],
    /// Alerts of a host and day.
    pub limit: Option<u64>,
    pub fail_on: &'a [Kind],
}

impl Report<'_> {
    /// Why a gate says no, a sentence for each.
    pub fn refusals(&self) -> Vec<String> {
        let mut refusals = Vec::new();
        for of in self.comparisons {
            for kind in self.fail_on {
                let (count, word) = match kind {
                    Kind::New => (of.counts.new, "new"),
                    Kind::Lost => (of.counts.lost, "lost"),
                    Kind::Changed => (of.counts.changed, "changed"),
                };
                if count > 0 {
                    refusals.push(format!("{}: {count} {word}", of.table));
                }
            }
            if let Some(limit) = self.limit {
                let over = of.days.iter().filter(|(_, (_, after))| *after > limit);
                refusals.extend(over.map(|((day, host), (_, after))| {
                    format!("{}: {after} of {host} on {day}, more than {limit}", of.table)
                }));
            }
        }
        refusals
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for of in self.comparisons {
            let Counts { before, after, new, lost, changed } = of.counts;
            let _ = writeln!(
                text,
                "{}: {before} before, {after} after: {new} new, {lost} lost, {changed} changed",
                of.table
            );
            for (detection, counts) in &of.detections {
                let Counts { before, after, new, lost, changed } = counts;
                let _ = writeln!(
                    text,
                    "  {detection}: {before} before, {after} after: {new} new, {lost} lost, {changed} changed"
                );
            }
            let mut days: Vec<_> = of.days.iter().filter(|(_, (before, after))| before != after).collect();
            days.sort_by_key(|(_, (_, after))| std::cmp::Reverse(*after));
            for ((day, host), (before, after)) in days.into_iter().take(DAYS_SHOWN) {
                let _ = writeln!(text, "  on {day} of {host}: {before} before, {after} after");
            }
            for (column, rows) in &of.columns {
                let _ = writeln!(
                    text,
                    "  {column} differs in {}",
                    counted(usize::try_from(*rows).unwrap_or(usize::MAX), "row")
                );
            }
            for (sign, row) in of.new.iter().map(|row| ('+', row)).chain(of.lost.iter().map(|row| ('-', row))) {
                let _ = writeln!(text, "  {sign} {}", shown(row));
            }
            for (key, columns) in &of.changed {
                let columns = columns.iter().map(|(column, before, after)| format!("{column}: {before} → {after}"));
                let _ = writeln!(text, "  ~ {}: {}", shown(key), columns.collect::<Vec<_>>().join(", "));
            }
            let hidden =
                [(new, of.new.len(), "new"), (lost, of.lost.len(), "lost"), (changed, of.changed.len(), "changed")];
            for (all, shown, word) in hidden {
                if all > shown as u64 {
                    let _ = writeln!(text, "  and {} more {word}; --rows shows more", all - shown as u64);
                }
            }
        }
        for refusal in self.refusals() {
            let _ = writeln!(text, "refused: {refusal}");
        }
        text
    }

    pub fn json(&self) -> Result<String> {
        let tables = self.comparisons.iter().map(|of| {
            let changed = of.changed.iter().map(|(key, columns)| {
                let columns = columns.iter().map(|(column, before, after)| {
                    (column.clone(), json!({ "before": before.json(), "after": after.json() }))
                });
                json!({ "key": object(key), "columns": columns.collect::<Map<_, _>>() })
            });
            let days = of.days.iter().map(|((day, host), (before, after))| {
                json!({ "day": day, "host_id": host, "before": before, "after": after })
            });
            json!({
                "table": of.table,
                "counts": counts(&of.counts),
                "detections": of.detections.iter().map(|(name, of)| (name.clone(), counts(of))).collect::<Map<_, _>>(),
                "host_days": days.collect::<Vec<_>>(),
                "columns": of.columns,
                "new": of.new.iter().map(|row| Value::from(object(row))).collect::<Vec<_>>(),
                "lost": of.lost.iter().map(|row| Value::from(object(row))).collect::<Vec<_>>(),
                "changed": changed.collect::<Vec<_>>(),
            })
        });
        let report = json!({ "tables": tables.collect::<Vec<_>>(), "refused": self.refusals() });
        Ok(serde_json::to_string_pretty(&report)?)
    }
}

fn counts(of: &Counts) -> Value {
    json!({ "before": of.before, "after": of.after, "new": of.new, "lost": of.lost, "changed": of.changed })
}

fn object(row: &Row) -> Map<String, Value> {
    row.iter().map(|(column, value)| (column.clone(), value.json().clone())).collect()
}

fn shown(row: &Row) -> String {
    row.iter().map(|(column, value)| format!("{column} {value}")).collect::<Vec<_>>().join(", ")
}
