//! The tasks of one processor on a clock that the caller moves.
//!
//! What a worker does with its partitions, without a log and without waiting: records come as they are delivered, windows close when
//! the clock says so, everything is committed before the next step, and who begins anew goes on from what was committed, as
//! on another machine. What INSERTs write to a topic that a stream reads comes to that stream, in the same step.
//! Deliberately not here: signatures; a broker's own faults, which the tests of the binary have.

use super::{
    records::{Around, Delivery, Sequences, deliveries},
    script::{BEGIN_NS, Rows},
    table::query,
};
use crate::{
    run::{
        Checkpoint, DeadRecord, Emission, Emitter, SnapshotReader, SnapshotRecord, Task, TaskCounters, TaskError,
        Topology, Verify,
    },
    sql::{Dataflow, Failure, Failures, Format, Insert, StreamFlow, nearest_of_all},
};
use amoskys_bus::{Outgoing, Record, partition_for_key};
use std::collections::BTreeMap;

/// Of INSERTs into streams that are read; a test has no more rows.
const FED_RECORDS_MAX: usize = 100_000;

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
    sequences: Sequences,
    emissions: Vec<(usize, Emission)>,
    /// Of INSERTs whose topic is read, by flow and INSERT.
    feeding: BTreeMap<(usize, usize), Emitter>,
    /// Records that INSERTs gave to streams: those that feed themselves never end.
    fed_records: usize,
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
            feeding: feeding(dataflow, partitions)?,
            fed_records: 0,
            dataflow,
            topology,
            partitions,
            places,
            clock_ns: BEGIN_NS,
            sequences: Sequences::new(),
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
            self.append(&of.topic, &delivery)?;
        }
        // These are in the topic, whoever is killed.
        for place in self.places.iter_mut().filter(|((flow, _), _)| readers.contains(flow)).map(|(_, place)| place) {
            place.committed.records = place.log.len();
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
        // What was written to topics with what was not committed.
        for place in self.places.values_mut() {
            place.log.truncate(place.committed.records);
        }
        self.begin_anew(|_| true)
    }

    /// The topics end: every window closes.
    ///
    /// # Errors
    /// What a processor would end with.
    pub fn close(&mut self) -> Result<(), RehearsalError> {
        self.commit();
        for flow in self.in_order() {
            for partition in 0..self.partitions {
                let of = &self.dataflow.streams[flow];
                let Some(place) = self.places.get_mut(&(flow, partition)) else { continue };
                let mut found = Vec::new();
                place.task.core.close_all(of, &mut found)?;
                place.changed = true;
                self.give(flow, found)?;
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Flows after those that write to their topics; of those that feed each other in the order of the SQL.
    fn in_order(&self) -> Vec<usize> {
        let flows = &self.dataflow.streams;
        let feeds = |above: usize, below: usize| {
            let topic = &flows[below].stream.topic;
            let inserts = |&(flow, insert): &(usize, usize)| {
                flow == above && flows[flow].inserts[insert].sink.as_ref().is_some_and(|sink| sink.topic == *topic)
            };
            flows[above].ship_topics().contains(topic.as_str()) || self.feeding.keys().any(inserts)
        };
        let mut order: Vec<usize> = Vec::new();
        while order.len() < flows.len() {
            let left: Vec<usize> = (0..flows.len()).filter(|flow| !order.contains(flow)).collect();
            let is_next = |below: &&usize| left.iter().all(|&above| above == **below || !feeds(above, **below));
            let next = left.iter().find(is_next).or(left.first()).copied();
            order.extend(next);
        }
        order
    }

    /// What came out of a flow, and what of that another one reads.
    fn give(&mut self, flow: usize, found: Vec<Emission>) -> Result<(), RehearsalError> {
        let mut records = Vec::new();
        for emission in &found {
            if let Some(emitter) = self.feeding.get(&(flow, emission.insert)) {
                emitter.encode(emission, &mut records).map_err(|error| RehearsalError::Test(error.to_string()))?;
            }
        }
        self.emissions.extend(found.into_iter().map(|emission| (flow, emission)));
        self.fed_records += records.len();
        if self.fed_records > FED_RECORDS_MAX {
            let what = format!("INSERTs gave more than {FED_RECORDS_MAX} records to streams: do they feed themselves?");
            return Err(RehearsalError::Test(what));
        }
        for Outgoing { topic, partition, key, payload, .. } in records {
            let of_key = || key.as_deref().map_or(0, |key| partition_for_key(key, self.partitions));
            let partition = partition.unwrap_or_else(of_key);
            let delivery = Delivery { partition, log_time_ns: self.clock_ns, key, payload };
            self.append(&topic, &delivery)?;
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

    /// What all that read the topic have in it from now on.
    fn append(&mut self, topic: &str, delivery: &Delivery) -> Result<(), RehearsalError> {
        for flow in self.readers_of(topic) {
            let key = (flow, delivery.partition);
            let Some(place) = self.places.get_mut(&key) else { continue };
            place.log.push(delivery.clone());
            let index = place.log.len() - 1;
            self.read(key, index)?;
        }
        Ok(())
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
                self.give(flow, found)?;
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
        self.give(key.0, found)?;
        self.dead.extend(dead.into_iter().map(|record| (key.0, key.1, record)));
        sent.into_iter().try_for_each(|outgoing| self.send(outgoing))
    }

    /// What goes through a shuffle's topic.
    fn send(&mut self, outgoing: Outgoing) -> Result<(), RehearsalError> {
        let Outgoing { topic, partition, payload, .. } = outgoing;
        let partition = partition.unwrap_or_default();
        self.append(&topic, &Delivery { partition, log_time_ns: self.clock_ns, key: None, payload })
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

/// What writes records of INSERTs whose topic a stream of the same files reads.
fn feeding(dataflow: &Dataflow, partitions: i32) -> Result<BTreeMap<(usize, usize), Emitter>, RehearsalError> {
    let is_read =
        |topic: &str| dataflow.streams.iter().any(|flow| flow.shuffle.is_none() && flow.stream.topic == topic);
    let is_meant = |insert: &Insert| insert.sink.as_ref().is_some_and(|sink| is_read(&sink.topic));
    let mut feeding =
        Emitter::without_log_of(dataflow, is_meant).map_err(|error| RehearsalError::Test(error.to_string()))?;
    feeding.values_mut().for_each(|emitter| emitter.spread_over(partitions));
    Ok(feeding)
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
