//! Random records of a sketch, and what is done while they are read.

use crate::{
    common::{BASE_MS, Kept, MS_NS},
    sketch::{ID, Sketch, Type},
};
use rand::{Rng, rngs::StdRng};
use std::fmt::{Display, Formatter, Result};

pub const PARTITIONS: usize = 2;

#[derive(Debug, Clone)]
pub struct Row {
    /// Milliseconds after [`BASE_MS`].
    pub log_ms: i64,
    pub time_ms: Option<i64>,
    /// In the order of the sketch's columns, as JSON.
    pub values: Vec<String>,
    names: Vec<String>,
}

/// What is done after a record.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub flush: bool,
    pub commit: bool,
    /// How far the clock has come, of what it may before the next record.
    pub clock: Option<f64>,
    pub restart: bool,
}

#[derive(Debug, Clone)]
pub struct Case {
    /// Of each partition.
    pub rows: [Vec<Row>; PARTITIONS],
    /// More than are needed.
    pub steps: Vec<Step>,
}

impl Case {
    pub fn random(sketch: &Sketch, random: &mut StdRng) -> Self {
        let rows = std::array::from_fn(|partition| rows(sketch, partition, random));
        let restarts = random.random_range(0.0..0.15);
        let step = |_| Step {
            flush: random.random_bool(0.35),
            commit: random.random_bool(0.2),
            clock: random.random_bool(0.15).then(|| random.random()),
            restart: random.random_bool(restarts),
        };
        let steps = (0..200).map(step).collect();
        Self { rows, steps }
    }

    /// The fewest rows with which it still fails.
    pub fn smallest(&self, fails: impl Fn(&Case) -> bool) -> Case {
        let mut case = self.clone();
        for partition in 0..PARTITIONS {
            let mut piece = case.rows[partition].len();
            while piece > 0 {
                let mut at = 0;
                while at < case.rows[partition].len() {
                    let mut less = case.clone();
                    let to = (at + piece).min(less.rows[partition].len());
                    less.rows[partition].drain(at..to);
                    if fails(&less) { case = less } else { at += piece }
                }
                piece /= 2;
            }
        }
        case
    }
}

impl Row {
    pub fn record(&self, offset: i64) -> Kept {
        let time = self.time_ms.map_or("null".into(), |time_ms| ((BASE_MS + time_ms) * MS_NS).to_string());
        let values: String =
            self.names.iter().zip(&self.values).map(|(name, value)| format!(r#", "{name}": {value}"#)).collect();
        Kept { offset, log_ms: BASE_MS + self.log_ms, payload: format!(r#"{{"t": {time}{values}}}"#).into_bytes() }
    }
}

impl Display for Case {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        for (partition, rows) in self.rows.iter().enumerate() {
            for (offset, row) in rows.iter().enumerate() {
                let payload = String::from_utf8(row.record(0).payload).unwrap_or_default();
                writeln!(
                    formatter,
                    "{partition}/{offset} log time {} ms, time {:?} ms: {payload}",
                    row.log_ms, row.time_ms
                )?;
            }
        }
        Ok(())
    }
}

fn rows(sketch: &Sketch, partition: usize, random: &mut StdRng) -> Vec<Row> {
    let names: Vec<String> = sketch.columns().map(|column| column.name.clone()).collect();
    let disorder_ms = random.random_range(0..2_500);
    let mut log_ms = 0;
    let count = random.random_range(0..40);
    (0..count)
        .map(|index| {
            log_ms += match random.random_range(0..20) {
                0 => random.random_range(2_000..9_000),
                1..4 => 0,
                _ => random.random_range(0..400),
            };
            let time_ms = match random.random_range(0..60) {
                0 => None,
                // Not believed.
                1 => Some(log_ms + 120_000),
                // Believed, and everything after it is late for a while.
                2 => Some(log_ms + 8_000),
                // Before 1970.
                3 => Some(-BASE_MS - random.random_range(0..5_000)),
                _ => Some(log_ms - random.random_range(0..=disorder_ms)),
            };
            let values = sketch.columns().map(|column| match column.name.as_str() {
                ID => (index * PARTITIONS + partition).to_string(),
                name => value(column.data_type, name.starts_with('k'), random),
            });
            Row { log_ms, time_ms, values: values.collect(), names: names.clone() }
        })
        .collect()
}

/// Few, so that they come again. Floats are eighths: they are added without rounding, in whatever order.
fn value(data_type: Type, is_key: bool, random: &mut StdRng) -> String {
    if random.random_bool(0.1) {
        return "null".into();
    }
    let few = if is_key { 3 } else { 12 };
    let number = random.random_range(0..few);
    match data_type {
        Type::Text => {
            format!(r#""{}""#, ["a", "bc", "b", "ccc and some more than twelve bytes", ""][number as usize % 5])
        }
        Type::Big => (number * 1_003 - 2_000).to_string(),
        Type::Small => (number - 4).to_string(),
        Type::Truth => (number % 2 == 0).to_string(),
        Type::Double | Type::Real => format!("{:?}", f64::from(number - 5) * 0.125),
        Type::Day => format!(r#""2026-03-0{}""#, number % 9 + 1),
        Type::Time => format!(r#""2026-03-01T00:00:{:02}Z""#, number),
        Type::Decimal => format!("{}.{:02}", number - 3, number * 7),
    }
}
