//! All partitions of all flows of a dataflow, with logs in memory: read, computed, committed and killed as a test says.
//!
//! No clock and no thread: what is there is a function of the records and of the calls.

use crate::common::Kept;
use amoskys_bus::{Outgoing, Position, Record};
use amoskys_pipeline::{
    run::{
        Anew, Checkpoint, DeadRecord, Emission, SnapshotReader, SnapshotRecord, Source, Task, Told, Verify, WrittenBy,
        needed_since_ms, shipment_records,
    },
    sql::{Dataflow, StreamFlow},
};
use amoskys_windows::{ReplayPoint, Watermark};
use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::Float64Type,
    util::display::array_value_to_string,
};
use std::collections::{BTreeMap, VecDeque};

/// Of every stream.
pub const PARTITIONS: i32 = 3;
/// Of every topic that groups are sent through.
pub const SHUFFLED: i32 = 2;

/// Where outputs of one partition of one flow go on, and what it committed.
#[derive(Default)]
pub struct Owner {
    pub task: Option<Task>,
    /// Index of the record that is read next.
    pub next: usize,
    position: Option<Position>,
    pub compacted: BTreeMap<String, SnapshotRecord>,
    pub pending: Vec<Emission>,
    pub dead: Vec<DeadRecord>,
    pub emitted: Vec<Emission>,
    /// Killed after it had written and before it had committed.
    wrote_more: bool,
    /// Panes were not there as they were when it started.
    pub read_again: usize,
    /// Sent by one who is gone, and still on its way.
    under_way: VecDeque<(String, i32, Vec<u8>)>,
    /// Where it began to read again what other SQL had read.
    pub rebuilt_from: Option<i64>,
}

/// All partitions of all flows, with logs in memory. What is committed is there for all to read.
pub struct Cluster<'a> {
    dataflow: &'a Dataflow,
    /// Records of the streams' partitions, by flow.
    pub input: BTreeMap<(usize, i32), Vec<Kept>>,
    pub sent: BTreeMap<(String, i32), Vec<Vec<u8>>>,
    pub owners: BTreeMap<(usize, i32), Owner>,
}

impl<'a> Cluster<'a> {
    pub fn new(dataflow: &'a Dataflow, records: &[(u8, Kept)]) -> Self {
        Self::of_all(dataflow, dataflow, records)
    }

    /// Begins with `dataflow`, which reads what the first flows of `all` do.
    pub fn of_all(dataflow: &'a Dataflow, all: &Dataflow, records: &[(u8, Kept)]) -> Self {
        let mut cluster = Self { dataflow, input: BTreeMap::new(), sent: BTreeMap::new(), owners: BTreeMap::new() };
        let streams: Vec<usize> = (0..all.streams.len()).filter(|&flow| all.streams[flow].shuffle.is_none()).collect();
        for (flow, definition) in all.streams.iter().enumerate() {
            for partition in 0..if definition.shuffle.is_some() { SHUFFLED } else { PARTITIONS } {
                cluster.owners.insert((flow, partition), Owner::default());
            }
        }
        for (place, record) in records {
            let flow = streams[usize::from(*place) % streams.len()];
            let partition = i32::from(*place) / streams.len() as i32 % PARTITIONS;
            let kept = cluster.input.entry((flow, partition)).or_default();
            kept.push(Kept { offset: kept.len() as i64, ..record.clone() });
        }
        cluster
    }

    fn flow(&self, id: (usize, i32)) -> &'a StreamFlow {
        &self.dataflow.streams[id.0]
    }

    /// All are killed. What comes after them runs other SQL, whose flows read what those of the same index had.
    pub fn change(&mut self, dataflow: &'a Dataflow) {
        for owner in self.owners.values_mut() {
            (owner.task, owner.pending, owner.dead) = (None, Vec::new(), Vec::new());
        }
        self.dataflow = dataflow;
    }

    /// And started again.
    pub fn kill(&mut self, id: (usize, i32)) {
        if self.is_read(id) {
            self.start(id);
        }
    }

    /// Whether the SQL that runs reads it.
    fn is_read(&self, id: (usize, i32)) -> bool {
        id.0 < self.dataflow.streams.len()
    }

    /// As committed.
    pub fn watermark(&self, id: (usize, i32)) -> Option<i64> {
        let position = self.owners[&id].position.as_ref()?;
        Some(Checkpoint::decode("", id.1, position).expect("ours").watermark.time_ns)
    }

    /// Where to begin as the position is of other SQL, and what is begun anew.
    fn rewound(&self, id: (usize, i32), checkpoint: Checkpoint) -> Option<(i64, Watermark, Anew)> {
        let flow = self.flow(id);
        let by = Checkpoint::written_by(self.owners[&id].position.as_ref()?)?;
        if by == WrittenBy::of(flow) {
            return None;
        }
        let all = (0..self.dataflow.streams.len()).filter(|&flow| self.dataflow.streams[flow].shuffle.is_some());
        let told = |flow: usize| {
            let of_partition = |partition: i32| self.watermark((flow, partition)).filter(|told_ns| *told_ns > i64::MIN);
            (self.dataflow.streams[flow].stream.topic.clone(), (0..SHUFFLED).map(of_partition).collect())
        };
        let told_ns = checkpoint.watermark.time_ns;
        let anew = Anew::of(flow, &by, &all.map(told).collect::<Told>(), told_ns);
        let Some(since_ms) = needed_since_ms(self.dataflow, flow, told_ns, &anew) else {
            return Some((checkpoint.position, checkpoint.watermark, anew));
        };
        let records = self.input.get(&id).map_or(&[][..], Vec::as_slice);
        // One before it, for its log time. What is sent has none here.
        let first = records.partition_point(|record| record.log_ms < since_ms).saturating_sub(1) as i64;
        Some((first.min(checkpoint.position), Watermark::default(), anew))
    }

    /// A new owner goes on from what is committed.
    pub fn start(&mut self, id: (usize, i32)) {
        let flow = self.flow(id);
        let topic = flow.stream.topic.as_str();
        let committed = self.owners[&id].position.as_ref();
        let mut checkpoint =
            committed.map_or(Checkpoint::start(0), |position| Checkpoint::decode(topic, id.1, position).expect("ours"));
        let (rewound, mut anew) = (self.rewound(id, checkpoint), Anew::Nothing);
        let owner = self.owners.get_mut(&id).expect("there");
        if let Some((offset, watermark, begun)) = rewound {
            (checkpoint.replay, checkpoint.mark, anew) = (ReplayPoint { offset, watermark }, None, begun);
            owner.rebuilt_from = Some(offset);
        }
        let restored = checkpoint.mark.and_then(|mark| {
            let mut reader = SnapshotReader::default();
            for record in owner.compacted.values() {
                let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
                reader.push(&record.key, &headers.collect::<Vec<_>>(), &record.payload);
            }
            let restored = reader.finish(flow, mark);
            assert!(restored.is_ok() || owner.wrote_more, "what was committed is there: {:?}", restored.err());
            owner.read_again += usize::from(restored.is_err());
            restored.ok()
        });
        let from = restored.as_ref().and(checkpoint.mark).map_or(checkpoint.replay, |mark| mark.point);
        let task = match &flow.shuffle {
            None => Task::new(flow, topic, id.1, Verify::Off, checkpoint, restored),
            Some(shuffle) => {
                let of = |(panes, source): (usize, &Option<_>)| {
                    let count = if source.is_some() { PARTITIONS } else { 0 };
                    (0..count).map(move |partition| Source { panes, partition })
                };
                let sources: Vec<Source> = shuffle.sources.iter().enumerate().flat_map(of).collect();
                Task::of_panes(flow, shuffle, (topic, id.1), &sources, checkpoint, restored)
            }
        };
        let mut task = task.expect("starts");
        task.core.begin_anew(anew);
        owner.task = Some(task);
        owner.next = from.offset as usize;
        (owner.pending, owner.dead) = (Vec::new(), Vec::new());
    }

    /// Reads one record; false when there is none.
    pub fn read(&mut self, id: (usize, i32)) -> bool {
        if !self.is_read(id) {
            return false;
        }
        if self.owners[&id].task.is_none() {
            self.start(id);
        }
        let flow = self.flow(id);
        let topic = flow.stream.topic.as_str();
        let next = self.owners[&id].next;
        let (payload, log_ms) = if flow.shuffle.is_some() {
            let sent = self.sent.get(&(topic.to_owned(), id.1)).and_then(|records| records.get(next));
            (sent.cloned(), 0)
        } else {
            let kept = self.input.get(&id).and_then(|records| records.get(next));
            (kept.map(|kept| kept.payload.clone()), kept.map_or(0, |kept| kept.log_ms))
        };
        let Some(payload) = payload else { return false };
        let offset = next as i64;
        let record = Record {
            topic,
            partition: id.1,
            offset,
            log_time_ms: log_ms,
            key: None,
            payload: &payload,
            headers: Vec::new(),
        };
        if self.owners[&id].task.as_ref().is_some_and(|task| task.ends_replay(offset)) {
            self.flush(id);
        }
        let owner = self.owners.get_mut(&id).expect("there");
        owner.task.as_mut().expect("started").push(&record);
        owner.next += 1;
        true
    }

    pub fn flush(&mut self, id: (usize, i32)) {
        if !self.is_read(id) {
            return;
        }
        let (flow, owner) = (self.flow(id), self.owners.get_mut(&id).expect("there"));
        if let Some(task) = &mut owner.task {
            task.flush(flow, &mut owner.pending, &mut owner.dead).expect("computes");
        }
    }

    /// What is to be sent, to the topics' ends.
    pub fn send(&mut self, id: (usize, i32)) {
        for (topic, partition, payload) in self.take_outgoing(id) {
            self.sent.entry((topic, partition)).or_default().push(payload);
        }
    }

    fn take_outgoing(&mut self, id: (usize, i32)) -> Vec<(String, i32, Vec<u8>)> {
        let (flow, owner) = (self.flow(id), self.owners.get_mut(&id).expect("there"));
        let Some(task) = &mut owner.task else { return Vec::new() };
        let records = task.core.take_shipments().into_iter().flat_map(|shipment| {
            let shared = &flow.panes[shipment.panes];
            let ship = shared.ship.as_ref().expect("sent somewhere");
            shipment_records(ship, shared, id.1, &shipment, SHUFFLED).expect("encodes")
        });
        let place = |record: Outgoing| (record.topic, record.partition.expect("a partition"), record.payload);
        records.map(place).collect()
    }

    /// Killed, at least once: of what was to be written before the position, a part was. What was sent of the rest may still
    /// arrive ([`Cluster::arrive`]).
    pub fn die_before_commit(&mut self, id: (usize, i32), part: u8) -> bool {
        self.flush(id);
        let flow = self.flow(id);
        let outgoing = self.take_outgoing(id);
        let owner = self.owners.get_mut(&id).expect("there");
        let Some(task) = &mut owner.task else { return false };
        if task.core.is_replaying() {
            return false;
        }
        let of = |count: usize, part: u8| count * usize::from(part % 5) / 4;
        let snapshot = task.core.take_snapshot(flow).expect("encodes");
        let kept = of(snapshot.len(), part);
        owner.compacted.extend(snapshot.into_iter().take(kept).map(|record| (record.key.clone(), record)));
        let kept = of(owner.pending.len(), part / 5);
        owner.emitted.extend(owner.pending.drain(..kept));
        owner.under_way.extend(outgoing);
        owner.wrote_more = true;
        let arriving = of(owner.under_way.len(), part / 25);
        (0..arriving).for_each(|_| assert!(self.arrive(id)));
        arriving > 0
    }

    /// What was kept of open windows is gone.
    pub fn empty(&mut self, id: (usize, i32)) {
        let owner = self.owners.get_mut(&id).expect("there");
        owner.compacted.clear();
        owner.wrote_more = true;
    }

    /// One of the records that a dead one had sent.
    pub fn arrive(&mut self, id: (usize, i32)) -> bool {
        let Some((topic, partition, payload)) = self.owners.get_mut(&id).expect("there").under_way.pop_front() else {
            return false;
        };
        self.sent.entry((topic, partition)).or_default().push(payload);
        true
    }

    pub fn commit(&mut self, id: (usize, i32)) {
        if !self.is_read(id) {
            return;
        }
        self.flush(id);
        let (flow, owner) = (self.flow(id), self.owners.get_mut(&id).expect("there"));
        let Some(task) = &mut owner.task else { return };
        let Some(checkpoint) = task.core.checkpoint() else {
            assert!(owner.pending.is_empty(), "replay emits nothing");
            // What is sent again is sent as it is read.
            let sends = matches!(task.core.anew(), Anew::Sending(_));
            assert!(sends || task.core.take_shipments().is_empty(), "replay sends nothing");
            return self.send(id);
        };
        let records = task.core.take_snapshot(flow).expect("encodes");
        owner.compacted.extend(records.into_iter().map(|record| (record.key.clone(), record)));
        owner.position = Some(checkpoint.encode_of(&WrittenBy::of(flow)));
        owner.emitted.append(&mut owner.pending);
        self.send(id);
    }

    /// Reads all that there is, closes the streams' windows, and reads all that this sends.
    pub fn finish(&mut self) {
        for closes in [true, false] {
            let mut ids: Vec<_> = self.owners.keys().copied().collect();
            ids.retain(|id| self.is_read(*id) && self.flow(*id).shuffle.is_none() == closes);
            for id in ids {
                while self.read(id) {}
                if self.owners[&id].task.is_none() {
                    self.start(id);
                }
                self.flush(id);
                let flow = self.flow(id);
                let owner = self.owners.get_mut(&id).expect("there");
                if closes {
                    let task = owner.task.as_mut().expect("started");
                    // A replay that is not over ends here: there is nothing behind it.
                    task.core.anticipate(flow, i64::MIN, &mut owner.pending).expect("computes");
                    task.core.close_all(flow, &mut owner.pending).expect("computes");
                }
                self.commit(id);
            }
        }
    }

    /// For each partition of each flow the rows of each INSERT in their order, floats by their bits.
    pub fn lines(&self) -> BTreeMap<(String, i32, usize), Vec<String>> {
        let name = |flow: usize| self.dataflow.streams[flow].stream.name.clone();
        let lines = self.lines_of_flows().into_iter();
        lines.map(|((flow, partition, insert), lines)| ((name(flow), partition, insert), lines)).collect()
    }

    /// The same by the flow's index.
    pub fn lines_of_flows(&self) -> BTreeMap<(usize, i32, usize), Vec<String>> {
        let mut lines: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for (&(flow, partition), owner) in &self.owners {
            for emission in &owner.emitted {
                lines.entry((flow, partition, emission.insert)).or_default().extend(rows_of(emission));
            }
        }
        lines
    }
}

pub fn rows_of(emission: &Emission) -> Vec<String> {
    let sources: Vec<_> =
        emission.sources.iter().map(|of| (&of.topic, of.partition, of.first_offset, of.last_offset)).collect();
    let row = |row: usize| {
        let values: Vec<String> = emission.batch.columns().iter().map(|column| value(column, row)).collect();
        format!("{:?} {sources:?} {}", emission.window_ns, values.join(" "))
    };
    (0..emission.batch.num_rows()).map(row).collect()
}

fn value(column: &ArrayRef, row: usize) -> String {
    match column.as_primitive_opt::<Float64Type>() {
        Some(floats) if floats.is_valid(row) => format!("{:016x}", floats.value(row).to_bits()),
        _ => array_value_to_string(column, row).expect("prints"),
    }
}
