//! What has to be known of topics before a worker begins: where panes are kept, and how many partitions send and merge groups, or
//! are written in records of many rows.
//!
//! Limits: asked once; a topic that gets more partitions is known as it was until the processor is started again.

use super::{alignment::Source, core::Core, emit::Emitter, load::PanesTopic, shipment::records, worker::WorkerOptions};
use crate::sql::{Dataflow, ShipSource, Shuffle, StreamFlow};
use amoskys_bus::{Bus, BusError, Outgoing};
use arrow::error::ArrowError;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub struct Topology {
    /// Where windows are kept that are longer than what may be read again.
    pub panes: Option<PanesTopic>,
    /// Of [`ends`].
    partitions: BTreeMap<String, i32>,
}

impl Topology {
    /// An error when a topic is not there.
    pub fn find(bus: &dyn Bus, dataflow: &Dataflow, options: &WorkerOptions) -> Result<Self, BusError> {
        let panes = || PanesTopic::find(bus, &options.panes_topic, &options.member.group);
        let panes = dataflow.keeps_panes().then(panes).transpose()?;
        let ends = ends(dataflow);
        let there = if ends.is_empty() { Vec::new() } else { bus.topics()? };
        let count = |name: &str| {
            let found = there.iter().find(|topic| topic.name == name);
            let found = found.ok_or_else(|| BusError::UnknownTopic { topic: name.to_owned() })?;
            Ok((name.to_owned(), found.partitions.max(1)))
        };
        Ok(Self { panes, partitions: ends.into_iter().map(count).collect::<Result<_, BusError>>()? })
    }

    /// Of topics whose numbers of partitions are known; nothing is kept.
    pub fn of_counts(partitions: BTreeMap<String, i32>) -> Self {
        Self { panes: None, partitions }
    }

    /// Tells emitters how many partitions their topics have, where that is known.
    pub fn tell<'a>(&self, emitters: impl Iterator<Item = &'a mut Emitter>) {
        for emitter in emitters {
            if let Some(&partitions) = self.partitions.get(emitter.topic()) {
                emitter.spread_over(partitions);
            }
        }
    }

    pub fn partitions_of(&self, topic: &str) -> i32 {
        self.partitions.get(topic).copied().unwrap_or(1)
    }

    /// Takes the panes that a partition sends away, as records of the topics where they are merged.
    pub fn take_sent(&self, flow: &StreamFlow, core: &mut Core) -> Result<Vec<Outgoing>, ArrowError> {
        let mut sent = Vec::new();
        for shipment in core.take_shipments() {
            let shared = &flow.panes[shipment.panes];
            let Some(ship) = &shared.ship else { continue };
            sent.extend(records(ship, shared, core.partition(), &shipment, self.partitions_of(&ship.topic))?);
        }
        Ok(sent)
    }

    /// All that a partition of a shuffle has to wait for.
    pub fn sources(&self, shuffle: &Shuffle) -> Vec<Source> {
        let of = |(panes, source): (usize, &Option<ShipSource>)| {
            let count = source.as_ref().map_or(0, |source| self.partitions_of(&source.topic));
            (0..count).map(move |partition| Source { panes, partition })
        };
        shuffle.sources.iter().enumerate().flat_map(of).collect()
    }
}

/// Topics that groups are sent from and to, and those whose records hold rows of many keys.
pub fn ends(dataflow: &Dataflow) -> BTreeSet<&str> {
    let flows = dataflow.streams.iter();
    let ships = flows.clone().flat_map(|flow| &flow.panes).filter_map(|panes| panes.ship.as_ref());
    let sources = flows.flat_map(|flow| &flow.shuffle).flat_map(|shuffle| shuffle.sources.iter().flatten());
    let shuffled = ships.map(|ship| ship.topic.as_str()).chain(sources.map(|source| source.topic.as_str()));
    shuffled.chain(packed(dataflow)).collect()
}

fn packed(dataflow: &Dataflow) -> impl Iterator<Item = &str> {
    let sinks = dataflow.streams.iter().flat_map(|flow| &flow.inserts).filter_map(|insert| insert.sink.as_ref());
    sinks.filter(|sink| sink.shares_records()).map(|sink| sink.topic.as_str())
}
