//! The answer, for people and for programs.

use super::{
    gather::{Apart, Gathered, Sample, Seen},
    question::Question,
    written::Written,
};
use crate::print::counted;
use amoskys_pipeline::sql::ProbePlace;
use anyhow::Result;
use arrow::temporal_conversions::timestamp_ns_to_datetime;
use serde_json::json;
use std::fmt::Write;

pub struct Answer<'a> {
    pub name: &'a str,
    pub question: &'a Question,
    pub gathered: &'a Gathered,
    /// Of an alert: whether it is what is computed, and in words.
    pub proof: Option<(bool, String)>,
}

/// Of a place, as they are written.
fn conditions(seen: &Seen) -> String {
    let texts: Vec<&str> = seen.probe.conditions.iter().map(|of| of.text.as_str()).collect();
    texts.join(" AND ")
}

impl Answer<'_> {
    fn results(&self) -> impl Iterator<Item = &Seen> {
        self.gathered.seen.iter().filter(|seen| seen.probe.place == ProbePlace::Result)
    }

    /// It fires, and the alert that is asked for is what is computed.
    pub fn is_yes(&self) -> bool {
        self.results().any(|seen| seen.rows > 0) && self.proof.as_ref().is_none_or(|(is_same, _)| *is_same)
    }

    /// In a sentence: that it fires, or the first that said no, and by how much.
    fn verdict(&self) -> String {
        let fired: u64 = self.results().map(|seen| seen.rows).sum();
        if fired > 0 {
            return format!("it fires: {}", rows(fired));
        }
        // Of the condition before.
        let mut passed: Option<&Seen> = None;
        for seen in &self.gathered.seen {
            match &seen.probe.place {
                ProbePlace::Stream(stream) => {
                    let all = self.gathered.census.get(stream).copied().unwrap_or_default();
                    if all.rows == 0 {
                        return format!("it does not fire: no such row came to {stream}");
                    }
                    if seen.rows == 0 {
                        return format!("it does not fire: {} of {stream} came, and none counts", rows(all.rows));
                    }
                    if seen.late >= seen.rows {
                        return format!("it does not fire: every row of {stream} was late for its windows");
                    }
                }
                ProbePlace::Filter | ProbePlace::Result if seen.rows == 0 => {
                    const LACKS: &str = "no window of such rows holds that time, or a JOIN has no partner for them";
                    let Some(before) = passed else { return format!("it does not fire: {LACKS}") };
                    let (count, before) = (rows(before.passed), conditions(before));
                    return match seen.probe.place {
                        ProbePlace::Result => {
                            format!("it does not fire: {count} passed `{before}`, and gave nothing: {LACKS}")
                        }
                        _ => {
                            let here = conditions(seen);
                            format!("it does not fire: {count} passed `{before}`, and none came to `{here}`: {LACKS}")
                        }
                    };
                }
                ProbePlace::Filter if seen.passed == 0 => {
                    let counted = self.nothing_counted().map(|words| format!(" ({words})")).unwrap_or_default();
                    return format!("it does not fire: {}{counted}", refusal(seen));
                }
                ProbePlace::Filter => passed = Some(seen),
                ProbePlace::Join if seen.rows > 0 && seen.passed == 0 => {
                    return format!(
                        "it does not fire: none of {} has a partner in JOIN … ON {}",
                        rows(seen.rows),
                        conditions(seen)
                    );
                }
                ProbePlace::Join | ProbePlace::Counted(_) | ProbePlace::Result => {}
            }
        }
        "it does not fire: what passes every condition is not what was asked for".to_owned()
    }

    /// Aggregates that rows came to, and whose FILTER let none count.
    fn nothing_counted(&self) -> Option<String> {
        let empty = self.gathered.seen.iter().filter_map(|seen| match &seen.probe.place {
            ProbePlace::Counted(aggregate) if seen.rows > 0 && seen.passed == 0 => {
                Some(format!("`{aggregate}` counts none of {}", rows(seen.rows)))
            }
            _ => None,
        });
        Some(empty.collect::<Vec<_>>().join(", ")).filter(|words| !words.is_empty())
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let at = self.question.at_ns.map(|at_ns| format!(", at {}", time(at_ns))).unwrap_or_default();
        let _ = writeln!(text, "{}: {}{at}", self.name, self.question.words());
        for seen in &self.gathered.seen {
            let _ = match &seen.probe.place {
                ProbePlace::Stream(stream) => {
                    let all = self.gathered.census.get(stream).copied().unwrap_or_default();
                    let _ = writeln!(text, "\n{} of {stream}, {} late for a window", rows(all.rows), seen.late);
                    let left_out = [
                        (all.without_time, "without a time"),
                        (all.ahead, "ahead of the log's time by more than the stream allows (quarantined)"),
                    ];
                    for (count, why) in left_out.into_iter().filter(|(count, _)| *count > 0) {
                        let _ = writeln!(text, "  left out: {} {why}", rows(count));
                    }
                    Ok(())
                }
                ProbePlace::Filter => {
                    writeln!(text, "\nwhere {}\n  {} in, {} out", conditions(seen), rows(seen.rows), seen.passed)
                }
                ProbePlace::Join => {
                    let (on, all) = (conditions(seen), rows(seen.rows));
                    writeln!(text, "\njoin on {on}\n  {all} in, {} with a partner", seen.passed)
                }
                ProbePlace::Counted(aggregate) => {
                    writeln!(text, "\ncounted by {aggregate}\n  {} in, {} counted", rows(seen.rows), seen.passed)
                }
                ProbePlace::Result => writeln!(text, "\nresult: {}", rows(seen.rows)),
            };
            if seen.applied.len() < self.question.conditions.len() {
                let left: Vec<&str> = (0..self.question.conditions.len())
                    .filter(|index| !seen.applied.contains(index))
                    .map(|index| self.question.conditions[index].as_str())
                    .collect();
                let _ = writeln!(text, "  (no column here for {})", left.join(" AND "));
            }
            seen.samples.iter().for_each(|sample| show(&mut text, sample, seen));
        }
        let lost = &self.gathered.lost;
        if lost.duplicate_records > 0 {
            let _ = writeln!(
                text,
                "\n{} of envelopes that came before were left out",
                counted_u64(lost.duplicate_records, "record")
            );
        }
        if lost.dead_records > 0 {
            let _ = writeln!(
                text,
                "\n{} could not be decoded, and are dead letters:",
                counted_u64(lost.dead_records, "record")
            );
            for (place, why) in &lost.dead {
                let _ = writeln!(text, "  {place}: {why}");
            }
        }
        if let Some(Written { computed, there, repeated }) = self.gathered.written {
            let _ = write!(text, "\nwritten: {there} of {computed}");
            if there < computed {
                let _ = write!(text, " (a processor has not come so far, or ran other SQL)");
            }
            if repeated > 0 {
                let _ = write!(text, ", {repeated} more than once, with the same id, so that readers count them once");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "\n{}", self.verdict());
        if let Some((_, words)) = &self.proof {
            let _ = writeln!(text, "{words}");
        }
        text
    }

    pub fn json(&self) -> Result<String> {
        let places = self.gathered.seen.iter().map(|seen| {
            let conditions = seen.probe.conditions.iter().zip(&seen.held);
            let conditions = conditions.map(|(condition, held)| json!({ "condition": condition.text, "holds_of": held }));
            let samples = seen.samples.iter().map(|sample| {
                let verdicts = sample.verdicts.iter().zip(&seen.probe.conditions).map(|(verdict, condition)| {
                    json!({
                        "condition": condition.text, "holds": verdict.holds,
                        "left": verdict.compared.as_ref().map(|(left, _)| left.json()),
                        "right": verdict.compared.as_ref().map(|(_, right)| right.json()),
                        "apart": verdict.apart.and_then(|apart| match apart {
                            Apart::Number(number) => Some(number),
                            Apart::Nanoseconds(_) => None,
                        }),
                        "apart_ns": verdict.apart.and_then(|apart| match apart {
                            Apart::Nanoseconds(ns) => Some(ns),
                            Apart::Number(_) => None,
                        }),
                    })
                });
                json!({
                    "window_start": sample.window_ns.map(|(start_ns, _)| time(start_ns)),
                    "window_end": sample.window_ns.map(|(_, end_ns)| time(end_ns)),
                    "row": sample.row.iter().map(|(name, value)| (name.clone(), value.json().clone())).collect::<serde_json::Map<_, _>>(),
                    "conditions": verdicts.collect::<Vec<_>>(),
                })
            });
            let (kind, stream) = match &seen.probe.place {
                ProbePlace::Stream(stream) => ("stream", Some(stream)),
                ProbePlace::Filter => ("filter", None),
                ProbePlace::Join => ("join", None),
                ProbePlace::Counted(_) => ("counted", None),
                ProbePlace::Result => ("result", None),
            };
            let all = stream.and_then(|stream| self.gathered.census.get(stream)).copied().unwrap_or_default();
            json!({
                "place": kind, "stream": stream, "aggregate": match &seen.probe.place {
                    ProbePlace::Counted(aggregate) => Some(aggregate),
                    _ => None,
                }, "rows": seen.rows, "passed": seen.passed, "late_rows": seen.late,
                "rows_without_time": all.without_time, "quarantined_rows": all.ahead,
                "asked": seen.applied.iter().map(|&index| &self.question.conditions[index]).collect::<Vec<_>>(),
                "conditions": conditions.collect::<Vec<_>>(), "samples": samples.collect::<Vec<_>>(),
            })
        });
        let lost = &self.gathered.lost;
        Ok(serde_json::to_string_pretty(&json!({
            "name": self.name, "where": self.question.words(), "at": self.question.at_ns.map(time),
            "fires": self.results().any(|seen| seen.rows > 0), "verdict": self.verdict(),
            "places": places.collect::<Vec<_>>(),
            "duplicate_records": lost.duplicate_records, "dead_records": lost.dead_records,
            "written": self.gathered.written.map(|Written { computed, there, repeated }| {
                json!({ "computed": computed, "there": there, "more_than_once": repeated })
            }),
            "alert": self.proof.as_ref().map(|(is_same, words)| json!({ "is_what_is_computed": is_same, "words": words })),
        }))?)
    }
}

/// Which condition said no to the row that came furthest, and by how much.
fn refusal(seen: &Seen) -> String {
    let never = seen.probe.conditions.iter().zip(&seen.held).find(|(_, held)| **held == 0);
    let nearest = seen.samples.first();
    let first_no = nearest.and_then(|sample| sample.verdicts.iter().position(|verdict| !verdict.holds));
    let by = |index: usize| {
        let verdict = nearest.and_then(|sample| sample.verdicts.get(index));
        let Some((left, _)) = verdict.and_then(|verdict| verdict.compared.as_ref()) else { return String::new() };
        match verdict.and_then(|verdict| verdict.apart) {
            Some(apart) => format!(": the nearest has {left}, by {apart}"),
            None => format!(": one has {left}"),
        }
    };
    match (never, first_no) {
        (Some((condition, _)), _) => {
            let index = seen.probe.conditions.iter().position(|of| of.holds == condition.holds).unwrap_or_default();
            format!("`{}` holds of none of {}{}", condition.text, rows(seen.rows), by(index))
        }
        (None, Some(index)) => {
            let text = &seen.probe.conditions[index].text;
            format!("no row passes all conditions; of one that came furthest `{text}` does not hold{}", by(index))
        }
        (None, None) => "no row passes all conditions".to_owned(),
    }
}

fn show(text: &mut String, sample: &Sample, seen: &Seen) {
    let row: Vec<String> = sample.row.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let window = sample.window_ns.map(|(start_ns, end_ns)| format!("window {} to {}: ", time(start_ns), time(end_ns)));
    let _ = writeln!(text, "  {}{}", window.unwrap_or_default(), row.join(", "));
    for (verdict, condition) in sample.verdicts.iter().zip(&seen.probe.conditions) {
        let word = if verdict.holds { "yes" } else { "no " };
        let compared = match (&verdict.compared, verdict.apart) {
            (Some((left, right)), Some(apart)) if !verdict.holds => {
                format!(": {left} and {right}, {apart} apart")
            }
            (Some((left, right)), _) => format!(": {left} and {right}"),
            (None, _) => String::new(),
        };
        let _ = writeln!(text, "    {word} {}{compared}", condition.text);
    }
}

fn rows(count: u64) -> String {
    counted_u64(count, "row")
}

fn counted_u64(count: u64, noun: &str) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), noun)
}

fn time(time_ns: i64) -> String {
    timestamp_ns_to_datetime(time_ns).map_or_else(|| time_ns.to_string(), |time| time.to_string())
}
