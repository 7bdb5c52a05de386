//! Which rows of a batch count, and the watermark that each of them finds.
//!
//! Decided row by row, so that it is the same however rows are cut into batches.

use super::{decode::Taken, task::TaskCounters};
use crate::sql::StreamFlow;
use amoskys_windows::{Origin, ReplayPoint, Watermark};
use arrow::{
    array::{Array, AsArray, BooleanArray},
    compute::filter_record_batch,
    datatypes::TimestampNanosecondType,
    error::ArrowError,
    record_batch::RecordBatch,
};

/// Rows that count, each with the watermark it found.
pub struct Judged {
    pub batch: RecordBatch,
    pub times_ns: Vec<i64>,
    pub watermarks_ns: Vec<i64>,
    pub record_of_row: Vec<u32>,
    pub records: Vec<Origin>,
}

/// Moves the watermark row by row; takes out rows without a time and rows whose clock is ahead of the log.
pub fn judge(
    flow: &StreamFlow,
    batch: RecordBatch,
    taken: &[Taken],
    watermark: &mut Watermark,
    counters: &mut TaskCounters,
) -> Result<Judged, ArrowError> {
    let rules = &flow.stream.rules;
    let time_column = flow.stream.event_time.as_ref().and_then(|name| batch.column_by_name(name)).cloned();
    let times = time_column.as_ref().map(|column| column.as_primitive::<TimestampNanosecondType>());
    let rows = batch.num_rows();
    let mut judged = Judged {
        batch,
        times_ns: Vec::with_capacity(rows),
        watermarks_ns: Vec::with_capacity(rows),
        record_of_row: Vec::with_capacity(rows),
        records: Vec::with_capacity(taken.len()),
    };
    let mut refused: Vec<usize> = Vec::new();
    let mut row = 0;
    for record in taken {
        let index = judged.records.len() as u32;
        judged.records.push(ReplayPoint { offset: record.offset, watermark: *watermark }.into());
        watermark.begin_record(rules, record.log_time_ns);
        let of_record = row..row + record.rows as usize;
        if let Some(times) = times.filter(|times| times.null_count() == 0)
            && let times = &times.values()[of_record.clone()]
            && let latest = times.iter().copied().max().unwrap_or(i64::MIN)
            && !Watermark::quarantines(rules, latest, record.log_time_ns)
        {
            judged.add(times, index, |time_ns| {
                let found_ns = watermark.time_ns;
                watermark.observe(rules, time_ns);
                found_ns
            });
            row = of_record.end;
            continue;
        }
        for row in of_record {
            match times {
                Some(times) if times.is_null(row) => {
                    refused.push(row);
                    counters.rows_without_time += 1;
                }
                Some(times) if Watermark::quarantines(rules, times.value(row), record.log_time_ns) => {
                    refused.push(row);
                    counters.quarantined_rows += 1;
                }
                times => {
                    let time_ns = times.map_or(0, |times| times.value(row));
                    judged.times_ns.push(time_ns);
                    judged.watermarks_ns.push(watermark.time_ns);
                    judged.record_of_row.push(index);
                    if times.is_some() {
                        watermark.observe(rules, time_ns);
                    }
                }
            }
        }
        row += record.rows as usize;
    }
    if !refused.is_empty() {
        let mut keep = vec![true; rows];
        refused.iter().for_each(|&row| keep[row] = false);
        judged.batch = filter_record_batch(&judged.batch, &BooleanArray::from(keep))?;
    }
    Ok(judged)
}

/// Rows up to where panes are sealed, or up to the end.
pub struct Part {
    pub rows: Judged,
    /// The record behind them, when panes are sealed before it: its offset, and the watermark that its first row finds.
    pub sealed_before: Option<ReplayPoint>,
}

/// Cuts the rows before each record whose first row found a watermark past a multiple of the stream's `replay_max` that
/// those before it had not passed: a matter of the rows and their records alone. `epoch` is which of the multiples
/// has been passed.
pub fn parts(flow: &StreamFlow, judged: Judged, taken: &[Taken], epoch: &mut i64) -> Vec<Part> {
    let every_ns = flow.stream.replay_max_ns;
    let mut cuts: Vec<(usize, ReplayPoint)> = Vec::new();
    // Watermarks never go back, so the last one tells of most batches that there is nothing to do.
    if judged.watermarks_ns.last().is_some_and(|last| last.div_euclid(every_ns) > *epoch) {
        let mut before = None;
        for (row, (&record, watermark_ns)) in judged.record_of_row.iter().zip(&judged.watermarks_ns).enumerate() {
            let passed = watermark_ns.div_euclid(every_ns);
            if before.replace(record) != Some(record) && passed > *epoch {
                *epoch = passed;
                let ReplayPoint { offset, mut watermark } = judged.records[record as usize].first;
                watermark.begin_record(&flow.stream.rules, taken[record as usize].log_time_ns);
                cuts.push((row, ReplayPoint { offset, watermark }));
            }
        }
    }
    if cuts.is_empty() {
        return vec![Part { rows: judged, sealed_before: None }];
    }
    let mut from = 0;
    let ends = cuts.into_iter().map(|(row, point)| (row, Some(point))).chain([(judged.times_ns.len(), None)]);
    let part = |(to, sealed_before)| Part { rows: judged.slice(std::mem::replace(&mut from, to), to), sealed_before };
    ends.map(part).collect()
}

impl Judged {
    /// The rows of a record that all count; `observe` gives the watermark that each finds, and moves it.
    fn add(&mut self, times_ns: &[i64], record: u32, observe: impl FnMut(i64) -> i64) {
        self.times_ns.extend_from_slice(times_ns);
        self.watermarks_ns.extend(times_ns.iter().copied().map(observe));
        self.record_of_row.resize(self.times_ns.len(), record);
    }

    fn slice(&self, from: usize, to: usize) -> Self {
        Self {
            batch: self.batch.slice(from, to - from),
            times_ns: self.times_ns[from..to].to_vec(),
            watermarks_ns: self.watermarks_ns[from..to].to_vec(),
            record_of_row: self.record_of_row[from..to].to_vec(),
            records: self.records.clone(),
        }
    }

    /// Times, watermarks and records of these rows.
    pub fn pick(&self, rows: &[u32]) -> (Vec<i64>, Vec<i64>, Vec<u32>) {
        (
            rows.iter().map(|&row| self.times_ns[row as usize]).collect(),
            rows.iter().map(|&row| self.watermarks_ns[row as usize]).collect(),
            rows.iter().map(|&row| self.record_of_row[row as usize]).collect(),
        )
    }
}
