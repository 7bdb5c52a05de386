//! Which records of the topics are what is computed: by their ids.
//!
//! Deliberately not here: what is computed. Limits: a topic is read from its beginning to where it reaches now.

use super::question::{Asked, Question};
use amoskys_bus::{Bus, ReaderOptions, TopicPartition};
use amoskys_pipeline::{run::Emission, sql::Dataflow};
use anyhow::Result;
use arrow::{
    array::{Array, AsArray},
    datatypes::TimestampNanosecondType,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Of the records that are computed and meant: how many the topics hold.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub computed: usize,
    pub there: usize,
    /// More than once: an at-least-once processor wrote them again after a restart, and who reads them counts an id once.
    pub repeated: usize,
}

/// The record of a topic that has this id in its header.
pub fn record_with_id(bus: &dyn Bus, topic: &str, id: &str) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    read_ids(bus, topic, &mut |of, payload| {
        if of == id.as_bytes() {
            found = Some(payload.to_vec());
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Hands over the ids and payloads of a topic's records, as far as it reaches now; `take` says whether it wants more.
fn read_ids(bus: &dyn Bus, topic: &str, take: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
    let partitions = bus.topics()?.into_iter().find(|info| info.name == topic).map_or(0, |info| info.partitions);
    let mut reader = bus.reader(&ReaderOptions { with_headers: true, ..ReaderOptions::default() })?;
    let mut goes_on = true;
    for partition in (0..partitions).map(|partition| TopicPartition { topic: topic.to_owned(), partition }) {
        let (first, end) = reader.bounds(&partition)?;
        if first >= end {
            continue;
        }
        reader.assign(&partition, first)?;
        let mut is_over = false;
        while !is_over && goes_on {
            let changes = reader.poll(Duration::from_millis(100), 1024, &mut |record| {
                is_over |= record.partition == partition.partition && record.offset + 1 >= end;
                let id = record.headers.iter().find(|(name, _)| *name == "amoskys-id");
                if let Some((_, id)) = id.filter(|_| goes_on) {
                    goes_on = take(id, record.payload);
                }
            })?;
            is_over |= changes
                .iter()
                .any(|change| matches!(change, amoskys_bus::Change::End { partition: of, .. } if *of == partition));
        }
    }
    Ok(())
}

/// How often each of these ids is in the topics that the dataflow writes.
pub fn written(bus: &dyn Bus, dataflow: &Dataflow, ids: &BTreeSet<String>) -> Result<Written> {
    let mut times: BTreeMap<&str, u64> = ids.iter().map(|id| (id.as_str(), 0)).collect();
    let topics: BTreeSet<&str> = dataflow.written_topics().collect();
    for topic in topics {
        read_ids(bus, topic, &mut |id, _| {
            if let Some(times) = std::str::from_utf8(id).ok().and_then(|id| times.get_mut(id)) {
                *times += 1;
            }
            true
        })?;
    }
    let there = times.values().filter(|times| **times > 0).count();
    let repeated = times.values().filter(|times| **times > 1).count();
    Ok(Written { computed: ids.len(), there, repeated })
}

/// Which of an INSERT's rows are meant, by its own columns.
pub fn rows_meant(
    question: &Question,
    asked: Option<&Asked>,
    windows_ns: i64,
    emission: &Emission,
) -> Result<Vec<bool>> {
    let Some(asked) = asked.filter(|_| emission.window_ns.is_none_or(|window_ns| question.takes_window(window_ns)))
    else {
        return Ok(Vec::new());
    };
    let mask = asked.mask(&emission.batch)?;
    // Rows that no window gave have the time of their alert.
    let times = emission.batch.column_by_name("time").filter(|_| emission.window_ns.is_none());
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
    let span = question.span_ns(windows_ns).zip(times);
    let is_then = |row: usize| {
        span.is_none_or(|((from_ns, to_ns), times)| {
            times.is_valid(row) && (from_ns..=to_ns).contains(&times.value(row))
        })
    };
    Ok((0..mask.len()).map(|row| mask.value(row) && is_then(row)).collect())
}
