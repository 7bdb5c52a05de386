//! In which order a stream's rows are taken: by partition, and within it by offset, as the log had them.
//!
//! Files that are in order already, as exports are, are found so by reading nothing but `_partition` and `_offset`; each
//! partition can then be read by itself. Files without either are one partition in their order.
//! Limits: CSV and JSON with either of the two are not looked at but sorted.

use super::{
    HistoryError, Progress,
    files::{FileFormat, HistoryFile},
    reader::Reader,
    shape::{OFFSET, PARTITION, Shape},
};
use arrow::{
    array::{Array, AsArray},
    datatypes::{Int32Type, Int64Type},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

/// More changes between partitions than this in a file are no order that reading it in parts could use.
const SEGMENTS_MAX: usize = 1024;

/// Rows of a partition that stand together.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Index in the stream's files.
    pub file: usize,
    /// All when absent.
    pub rows: Option<Range<usize>>,
    /// First and last offset.
    offsets: Option<(i64, i64)>,
}

/// How a stream's files are to be read.
pub(super) enum Order {
    /// Partition by partition, the segments in their order.
    Ordered(BTreeMap<i32, Vec<Segment>>),
    /// Only sorting says which rows a partition has.
    Unordered,
}

/// Which of the log's columns there are in all files, themselves or by their folders.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfLog {
    pub offsets: bool,
    /// Which envelope each row came in.
    pub envelopes: bool,
}

/// Finds out the order of a stream's files.
///
/// `own`: for each file the names of its columns.
pub(super) fn order(files: &[HistoryFile], own: &[BTreeSet<String>]) -> Result<(Order, OfLog), HistoryError> {
    let in_all =
        |wanted: &str| files.iter().zip(own).all(|(file, own)| own.contains(wanted) || file.constant(wanted).is_some());
    let offsets = in_all(OFFSET);
    let envelopes = offsets && ["agent_id", "boot_id", "sequence"].into_iter().all(in_all);
    let of_log = OfLog { offsets, envelopes };
    let mut partitions: BTreeMap<i32, Vec<Segment>> = BTreeMap::new();
    for (index, (file, own)) in files.iter().zip(own).enumerate() {
        let is_one = !own.contains(PARTITION);
        if is_one && !offsets {
            let partition = partition_of_path(file)?;
            partitions.entry(partition).or_default().push(Segment { file: index, rows: None, offsets: None });
        } else if matches!(file.format, FileFormat::JsonLines | FileFormat::Csv) {
            return Ok((Order::Unordered, of_log));
        } else {
            let Some(segments) = segments(index, file, offsets)? else { return Ok((Order::Unordered, of_log)) };
            for (partition, segment) in segments {
                partitions.entry(partition).or_default().push(segment);
            }
        }
    }
    for segments in partitions.values_mut() {
        segments.sort_by_key(|segment| segment.offsets);
        let first = |segment: &Segment| segment.offsets.map(|(first, _)| first);
        let last = |segment: &Segment| segment.offsets.map(|(_, last)| last);
        if segments.windows(2).any(|pair| offsets && last(&pair[0]) > first(&pair[1])) {
            return Ok((Order::Unordered, of_log));
        }
    }
    Ok((Order::Ordered(partitions), of_log))
}

fn partition_of_path(file: &HistoryFile) -> Result<i32, HistoryError> {
    let value = file.constant(PARTITION).unwrap_or("0");
    value.parse().map_err(|_| file.refuse(format!("`{PARTITION}={value}` in its path is no partition's number")))
}

/// What stands together in a file; `None` where that is in too many pieces, or not in order.
fn segments(index: usize, file: &HistoryFile, has_offsets: bool) -> Result<Option<Vec<(i32, Segment)>>, HistoryError> {
    let shape = Arc::new(Shape::of_order());
    let mut reader = Reader::open(file, &shape, None, &Progress::default())?;
    let mut found: Vec<(i32, Segment)> = Vec::new();
    let mut rows_before = 0;
    while let Some(batch) = reader.next_batch()? {
        let of_log = shape.of_log(&batch);
        let partitions = of_log[0].as_primitive::<Int32Type>();
        let offsets = of_log[1].as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let partition = if partitions.is_valid(row) { partitions.value(row) } else { 0 };
            let offset = if has_offsets { offsets.value(row) } else { 0 };
            let number = rows_before + row;
            let is_full = found.len() == SEGMENTS_MAX;
            match found.last_mut() {
                Some((last, Segment { rows: Some(rows), offsets: Some((_, last_offset)), .. }))
                    if *last == partition =>
                {
                    if offset < *last_offset {
                        return Ok(None);
                    }
                    *last_offset = offset;
                    rows.end = number + 1;
                }
                _ if is_full => return Ok(None),
                _ => {
                    let (rows, offsets) = (Some(number..number + 1), Some((offset, offset)));
                    found.push((partition, Segment { file: index, rows, offsets }));
                }
            }
        }
        rows_before += batch.num_rows();
    }
    Ok(Some(found))
}
