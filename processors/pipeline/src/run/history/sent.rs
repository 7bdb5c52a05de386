//! What partitions send to others live: kept, and merged in one when all have been done.
//!
//! Limits: held in memory until then.

use super::{HistoryCounts, HistoryError};
use crate::{
    run::{
        alignment::Source, core::Core, emit::Emission, position::Checkpoint, shipment::records as shipment_records,
        task::Task,
    },
    sql::{Shuffle, StreamFlow},
};
use amoskys_bus::{Outgoing, Record};
use arrow::error::ArrowError;
use std::collections::{BTreeMap, BTreeSet};

/// What partitions sent to shuffles, by topic, with who sent it. Each has one partition here.
#[derive(Default)]
pub(super) struct Sent(BTreeMap<String, (BTreeSet<Source>, Vec<Outgoing>)>);

impl Sent {
    pub fn add(&mut self, flow: &StreamFlow, partition: i32, core: &mut Core) -> Result<(), ArrowError> {
        for shipment in core.take_shipments() {
            let shared = &flow.panes[shipment.panes];
            let Some(ship) = &shared.ship else { continue };
            let (sources, records) = self.0.entry(ship.topic.clone()).or_default();
            sources.insert(Source { panes: ship.panes, partition });
            records.extend(shipment_records(ship, shared, partition, &shipment, 1)?);
        }
        Ok(())
    }

    pub fn append(&mut self, other: Self) {
        for (topic, (sources, records)) in other.0 {
            let all = self.0.entry(topic).or_default();
            all.0.extend(sources);
            all.1.extend(records);
        }
    }
}

pub(super) fn run_shuffle(
    flow: &StreamFlow,
    shuffle: &Shuffle,
    sent: &Sent,
    counts: &mut HistoryCounts,
) -> Result<Vec<Emission>, HistoryError> {
    let topic = flow.stream.topic.as_str();
    let Some((sources, records)) = sent.0.get(topic) else { return Ok(Vec::new()) };
    let sources: Vec<Source> = sources.iter().copied().collect();
    let mut task = Task::of_panes(flow, shuffle, (topic, 0), &sources, Checkpoint::start(0), None)?;
    let (mut emissions, mut dead) = (Vec::new(), Vec::new());
    for (offset, record) in (0..).zip(records) {
        let payload = record.payload.as_slice();
        let (log_time_ms, key, headers) = (0, None, Vec::new());
        task.push(&Record { topic, partition: 0, offset, log_time_ms, key, payload, headers });
    }
    task.flush(flow, &mut emissions, &mut dead)?;
    task.core.close_all(flow, &mut emissions)?;
    counts.closed_windows += task.core.counters.closed_windows;
    counts.shed_rows += task.core.counters.shed_rows;
    counts.failures.extend(task.core.take_failures());
    Ok(emissions)
}
