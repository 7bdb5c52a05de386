//! The tasks of one processor on a clock that the caller moves.
//!
//! What a worker does with its partitions, without a log and without waiting: records come as they are delivered, windows close when
//! the clock says so, everything is committed before the next step, and who begins anew goes on from what was committed, as
//! on another machine.
//! Deliberately not here: signatures; a broker's own faults, which the tests of the binary have.

use super::{
    records::{Around, Delivery, deliveries},
    script::{BEGIN_NS, Rows},
    table::query,
};
use crate::{
    run::{
        Checkpoint, DeadRecord, Emission, SnapshotReader, SnapshotRecord, Task, TaskCounters, TaskError, Topology,
        Verify,
    },
    sql::{Dataflow, Failure, Failures, Format, StreamFlow, nearest_of_all},
};
use amoskys_bus::{Outgoing, Record};
use std::collections::BTreeMap;

#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The test is wrong.
    #[error("{0}")]
    Test(String),
    /// What a processor would end with.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// A dataflow that is being tried.
pub struct Rehearsal<'a> {
    dataflow: &'a Dataflow,
    topology: Topology,
    partitions: i32,
    /// By flow and partition.
    places: BTreeMap<(usize, i32), Place>,
    clock_ns: i64,
    sequences: BTreeMap<(String, String), u64>,
    emissions: Vec<(usize, Emission)>,
    dead: Vec<(usize, i32, DeadRecord)>,
    /// What expressions could not be computed for, of what is committed.
    failures: Failures,
    /// How many of each are committed.
    committed: (usize, usize),
}

/// A partition, what is in it, and who computes it now.
struct Place {
    task: Task,
    log: Vec<Delivery>,
    changed: bool,
    /// Kept in a topic until the next commit.
    snapshots: Vec<SnapshotRecord>,
    /// Of tasks before this one.
    counted: TaskCounters,
    committed: Committed,
}

struct Committed {
    checkpoint: Checkpoint,
    /// What the topic of kept panes holds, by key.
    snapshots: BTreeMap<String, SnapshotRecord>,
    /// Of panes that were sent, how many are there.
    records: usize,
    /// The task's, when it committed.
    counters: TaskCounters,
}

impl<'a> Rehearsal<'a> {
    /// # Errors
    /// A stream whose columns cannot be decoded.
    pub fn new(dataflow: &'a Dataflow, partitions: i32) -> Result<Self, RehearsalError> {
        let topics = dataflow.streams.iter().map(|flow| (flow.stream.topic.clone(), partitions));
        let topology = Topology::of_counts(topics.collect());
        let mut places = BTreeMap::new();
        for (index, flow) in dataflow.streams.iter().enumerate() {
            for partition in 0..partitions {
                let checkpoint = Checkpoint::start(0);
                let committed =
                    Committed { checkpoint, snapshots: BTreeMap::new(), records: 0, counters: TaskCounters::default() };
                let task = begin(flow, &topology, partition, &committed)?;
                let counted = TaskCounters::default();
                let place = Place { task, log: Vec::new(), changed: false, snapshots: Vec::new(), counted, committed };
                places.insert((index, partition), place);
            }
        }
        Ok(Self {
            dataflow,
            topology,
            partitions,
            places,
            clock_ns: BEGIN_NS,
            sequences: BTreeMap::new(),
            emissions: Vec::new(),
            dead: Vec::new(),
            failures: Failures::default(),
            committed: (0, 0),
        })
    }

    /// Rows come to a stream, a record for each.
    ///
    /// # Errors
    /// Rows that are none of the stream's, and what a processor would end with.
    pub fn deliver(&mut self, Rows { stream, columns, query: ast }: &Rows) -> Result<(), RehearsalError> {
        let rows = query(ast, &BTreeMap::new()).map_err(RehearsalError::Test)?;
        self.commit();
        let flows = self.dataflow.streams.iter();
        let Some(of) = flows.map(|flow| &flow.stream).find(|of| of.name == *stream && of.format != Format::Panes)
        else {
            let streams = self.dataflow.streams.iter().filter(|flow| flow.shuffle.is_none());
            let known: Vec<&str> = streams.map(|flow| flow.stream.name.as_str()).collect();
            return Err(RehearsalError::Test(format!(
                "no view reads a stream `{stream}`; {}",
                nearest_of_all(stream, &known)
            )));
        };
        let mut around =
            Around { clock_ns: self.clock_ns, partitions: self.partitions, sequences: &mut self.sequences };
        let deliveries = deliveries(of, columns, &rows, &mut around).map_err(RehearsalError::Test)?;
        let readers = self.readers_of(&of.topic);
        for delivery in deliveries {
            self.clock_ns = self.clock_ns.max(delivery.log_time_ns);
            readers.iter().try_for_each(|&flow| self.append((flow, delivery.partition), delivery.clone()))?;
        }
        self.settle()
    }

    /// The clock is set; nanoseconds since 1970.
    ///
    /// # Errors
    /// A time before the clock's, and what a processor would end with.
    pub fn at(&mut self, time_ns: i64) -> Result<(), RehearsalError> {
        if time_ns < self.clock_ns && !self.places.values().all(|place| place.log.is_empty()) {
            return Err(RehearsalError::Test("the clock is past this time already, and does not go back".into()));
        }
        self.commit();
        self.clock_ns = time_ns;
        self.settle()
    }

    /// # Errors
    /// What a processor would end with.
    pub fn advance(&mut self, by_ns: i64) -> Result<(), RehearsalError> {
        self.at(self.clock_ns.saturating_add(by_ns))
    }

    /// The processor ends in order, and another goes on.
    ///
    /// # Errors
    /// What a processor would end with.
    pub fn restart(&mut self) -> Result<(), RehearsalError> {
        self.commit();
        self.begin_anew(|_| true)
    }

    /// One partition goes to another processor.
    ///
    /// # Errors
    /// What a processor would end with.
    pub fn move_partition(&mut self, partition: i32) -> Result<(), RehearsalError> {
        self.commit();
        self.begin_anew(|of| of == partition)
    }

    /// The processor ends before it committed what came of the last step, and another goes on.
    ///
    /// # Errors
    /// What a processor would end with.
    pub fn kill(&mut self) -> Result<(), RehearsalError> {
        let (emissions, dead) = self.committed;
        self.emissions.truncate(emissions);
        self.dead.truncate(dead);
        for ((flow, _), place) in &mut self.places {
            if self.dataflow.streams[*flow].shuffle.is_some() {
                place.log.truncate(place.committed.records);
            }
        }
        self.begin_anew(|_| true)
    }

    /// The topics end: every window closes.
    ///
    /// # Errors
    /// What a processor would end with.
    pub fn close(&mut self) -> Result<(), RehearsalError> {
        self.commit();
        // What is sent comes from streams, and goes no further.
        for is_shuffle in [false, true] {
            let keys: Vec<_> = self.places.keys().copied().collect();
            for (flow, partition) in keys {
                let of = &self.dataflow.streams[flow];
                if let Some(place) =
                    self.places.get_mut(&(flow, partition)).filter(|_| of.shuffle.is_some() == is_shuffle)
                {
                    let mut found = Vec::new();
                    place.task.core.close_all(of, &mut found)?;
                    place.changed = true;
                    self.emissions.extend(found.into_iter().map(|emission| (flow, emission)));
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    /// What came out so far, with the flow's index.
    pub fn emissions(&self) -> &[(usize, Emission)] {
        &self.emissions
    }

    /// Records that could not be decoded: stream, partition, and what is wrong.
    pub fn dead(&self) -> impl Iterator<Item = (&str, i32, &DeadRecord)> {
        self.dead.iter().map(|(flow, partition, record)| (self.name(*flow), *partition, record))
    }

    /// What expressions could not be computed for.
    pub fn failures(&self) -> Vec<Failure> {
        let all = Failures::default();
        all.add_all(self.failures.pending());
        self.places.values().for_each(|place| all.add_all(place.task.core.failures()));
        all.take()
    }

    /// By stream and partition.
    pub fn counters(&self) -> impl Iterator<Item = (&str, i32, TaskCounters)> {
        let rows = self.places.iter().filter(|((flow, _), _)| self.dataflow.streams[*flow].shuffle.is_none());
        rows.map(|(&(flow, partition), place)| {
            let mut counters = place.counted;
            counters += place.task.core.counters;
            (self.name(flow), partition, counters)
        })
    }

    /// Flows of a topic: streams may be of the same.
    fn readers_of(&self, topic: &str) -> Vec<usize> {
        (0..self.dataflow.streams.len()).filter(|&flow| self.dataflow.streams[flow].stream.topic == topic).collect()
    }

    fn name(&self, flow: usize) -> &str {
        &self.dataflow.streams[flow].stream.name
    }

    fn append(&mut self, key: (usize, i32), delivery: Delivery) -> Result<(), RehearsalError> {
        let Some(place) = self.places.get_mut(&key) else { return Ok(()) };
        place.log.push(delivery);
        self.read(key, place_end(&self.places, key) - 1)
    }

    /// The task takes the record at `index`.
    fn read(&mut self, key: (usize, i32), index: usize) -> Result<(), RehearsalError> {
        let ends_replay = self.places.get(&key).is_some_and(|place| place.task.ends_replay(index as i64));
        if ends_replay {
            self.flush_one(key)?;
        }
        let Some(place) = self.places.get_mut(&key) else { return Ok(()) };
        let delivery = &place.log[index];
        place.task.push(&Record {
            topic: &self.dataflow.streams[key.0].stream.topic,
            partition: key.1,
            offset: index as i64,
            log_time_ms: delivery.log_time_ns / 1_000_000,
            key: delivery.key.as_deref(),
            payload: &delivery.payload,
            headers: Vec::new(),
        });
        place.changed = true;
        Ok(())
    }

    /// Computes what came, and what the clock lets close although nothing comes.
    fn settle(&mut self) -> Result<(), RehearsalError> {
        self.flush()?;
        let keys: Vec<_> = self.places.keys().copied().collect();
        for (flow, partition) in keys {
            let of = &self.dataflow.streams[flow];
            let Some(place) = self.places.get_mut(&(flow, partition)) else { continue };
            if place.task.core.would_anticipate(of, self.clock_ns) {
                let mut found = Vec::new();
                place.task.core.anticipate(of, self.clock_ns, &mut found)?;
                place.changed = true;
                self.emissions.extend(found.into_iter().map(|emission| (flow, emission)));
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), RehearsalError> {
        while let Some(key) = self.places.iter().find(|(_, place)| place.changed).map(|(key, _)| *key) {
            self.flush_one(key)?;
        }
        Ok(())
    }

    fn flush_one(&mut self, key: (usize, i32)) -> Result<(), RehearsalError> {
        let (flow, Some(place)) = (&self.dataflow.streams[key.0], self.places.get_mut(&key)) else { return Ok(()) };
        let (mut found, mut dead) = (Vec::new(), Vec::new());
        place.task.flush(flow, &mut found, &mut dead)?;
        place.changed = false;
        if place.task.core.keeps_snapshots() {
            place.snapshots.extend(place.task.core.take_snapshot(flow)?);
        }
        let sent = self.topology.take_sent(flow, &mut place.task.core).map_err(TaskError::from)?;
        self.emissions.extend(found.into_iter().map(|emission| (key.0, emission)));
        self.dead.extend(dead.into_iter().map(|record| (key.0, key.1, record)));
        sent.into_iter().try_for_each(|outgoing| self.send(outgoing))
    }

    /// What goes through a shuffle's topic.
    fn send(&mut self, outgoing: Outgoing) -> Result<(), RehearsalError> {
        let Outgoing { topic, partition, payload, .. } = outgoing;
        let delivery =
            Delivery { partition: partition.unwrap_or_default(), log_time_ns: self.clock_ns, key: None, payload };
        self.readers_of(&topic)
            .into_iter()
            .try_for_each(|flow| self.append((flow, delivery.partition), delivery.clone()))
    }

    /// Everything that was computed, at once, as outputs and positions are.
    fn commit(&mut self) {
        for place in self.places.values_mut() {
            if let Some(checkpoint) = place.task.core.checkpoint() {
                place.committed.checkpoint = checkpoint;
            }
            place.committed.counters = place.task.core.counters;
            place.committed.records = place.log.len();
            self.failures.add_all(place.task.core.take_failures());
            let kept = std::mem::take(&mut place.snapshots).into_iter().map(|record| (record.key.clone(), record));
            place.committed.snapshots.extend(kept);
        }
        self.committed = (self.emissions.len(), self.dead.len());
    }

    /// Others take over these partitions with what was committed.
    fn begin_anew(&mut self, is_meant: impl Fn(i32) -> bool) -> Result<(), RehearsalError> {
        let keys: Vec<_> = self.places.keys().copied().filter(|(_, partition)| is_meant(*partition)).collect();
        for &(flow, partition) in &keys {
            let Some(place) = self.places.get_mut(&(flow, partition)) else { continue };
            place.task = begin(&self.dataflow.streams[flow], &self.topology, partition, &place.committed)?;
            place.counted += std::mem::take(&mut place.committed.counters);
            (place.changed, place.snapshots) = (false, Vec::new());
        }
        // What streams send meanwhile is read as it comes, so shuffles are where they were before.
        let (shuffles, streams): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|(flow, _)| self.dataflow.streams[*flow].shuffle.is_some());
        for key in shuffles.into_iter().chain(streams) {
            let from = self.places.get(&key).map_or(0, |place| place.task.core.next_offset());
            let end = place_end(&self.places, key);
            (usize::try_from(from).unwrap_or(0)..end).try_for_each(|index| self.read(key, index))?;
        }
        self.settle()
    }
}

fn place_end(places: &BTreeMap<(usize, i32), Place>, key: (usize, i32)) -> usize {
    places.get(&key).map_or(0, |place| place.log.len())
}

/// A task that goes on from what was committed.
fn begin(flow: &StreamFlow, topology: &Topology, partition: i32, committed: &Committed) -> Result<Task, TaskError> {
    let checkpoint = committed.checkpoint;
    let restored = checkpoint.mark.and_then(|mark| {
        let mut reader = SnapshotReader::default();
        for (key, record) in &committed.snapshots {
            let headers: Vec<(&str, &[u8])> =
                record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            reader.push(key, &headers, &record.payload);
        }
        // As live, what is not there as it was is read again.
        reader.finish(flow, mark).ok()
    });
    let topic = flow.stream.topic.as_str();
    match &flow.shuffle {
        None => Task::new(flow, topic, partition, Verify::Off, checkpoint, restored),
        Some(shuffle) => {
            Task::of_panes(flow, shuffle, (topic, partition), &topology.sources(shuffle), checkpoint, restored)
        }
    }
}
