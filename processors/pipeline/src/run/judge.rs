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
        for row in row..row + record.rows as usize {
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

impl Judged {
    /// Times, watermarks and records of these rows.
    pub fn pick(&self, rows: &[u32]) -> (Vec<i64>, Vec<i64>, Vec<u32>) {
        (
            rows.iter().map(|&row| self.times_ns[row as usize]).collect(),
            rows.iter().map(|&row| self.watermarks_ns[row as usize]).collect(),
            rows.iter().map(|&row| self.record_of_row[row as usize]).collect(),
        )
    }
}
