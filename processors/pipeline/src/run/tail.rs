//! What a dataflow gives from now on: no consumer group, nothing committed, nothing written.
//!
//! For a look at what SQL does to records that are being written, or once through all that topics hold. Groups that are sent to other partitions live are merged in one
//! here. Windows that were open when it began are computed from what came since, so their rows are a part.
//! Deliberately not here: recovery; a partition that a topic gets later is not read.

use super::{
    alignment::Source,
    clock::LogClock,
    decode::Verify,
    emit::Emission,
    files::FileWatch,
    position::Checkpoint,
    task::{Task, TaskError},
    telling::Telling,
    topology::Topology,
};
use crate::sql::Dataflow;
use amoskys_bus::{Bus, BusError, Change, Outgoing, Reader, ReaderOptions, Record, TopicPartition};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const POLL: Duration = Duration::from_millis(20);
const POLL_RECORDS_MAX: usize = 1024;
/// A look needs no deep queue.
const PREFETCH_BYTES_MAX: usize = 16 << 20;
/// After a log that was away when it was asked.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailFrom {
    /// With what is written from now on.
    Latest,
    /// With all that the topics hold.
    Earliest,
}

/// Where to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailTo {
    /// When told to.
    Stop,
    /// Once through: where the topics end, every window is closed.
    End,
}

/// What is tailed, and how.
#[derive(Debug, Clone)]
pub struct TailOptions {
    pub verify: Verify,
    pub from: TailFrom,
    pub to: TailTo,
}

/// What came of records that gave no rows.
#[derive(Debug, Clone, Default)]
pub struct TailCounts {
    pub duplicate_records: u64,
    /// Records that a processor would send to the dead-letter topic.
    pub dead_records: u64,
    /// The first of them: stream, partition, offset, why.
    pub dead: Vec<(String, i32, i64, String)>,
}

const DEAD_TOLD_MAX: usize = 20;

struct Tailed {
    task: Task,
    flow: usize,
    /// Where the reader has read all there is.
    end: Option<i64>,
    changed: bool,
}

struct Tail<'a> {
    dataflow: &'a Dataflow,
    topology: Topology,
    /// A partition of a topic may be read by several flows.
    tasks: BTreeMap<(TopicPartition, usize), Tailed>,
    /// Of each shuffle's one partition: the next record.
    next_offsets: BTreeMap<String, i64>,
    clock: LogClock,
    counts: TailCounts,
    telling: Telling,
}

/// Runs until `stop` is set or [`ControlFlow::Break`]; emissions are handed over, with their flow's index, as windows close.
///
/// # Errors
/// A topic that is not there, a login that is refused; a log that is away is waited for.
pub fn tail(
    bus: &dyn Bus,
    dataflow: &Dataflow,
    options: &TailOptions,
    stop: &AtomicBool,
    on_emission: &mut dyn FnMut(usize, Emission) -> ControlFlow<()>,
) -> Result<TailCounts, TailError> {
    let mut reader = bus.reader(&ReaderOptions { prefetch_bytes_max: PREFETCH_BYTES_MAX, ..Default::default() })?;
    let mut tail = Tail::new(bus, dataflow, options, reader.as_mut())?;
    let (mut last_told, mut file_watch) = (false, FileWatch::new());
    while !stop.load(Ordering::Relaxed) {
        file_watch.look(dataflow);
        let mut emissions = Vec::new();
        match tail.step(reader.as_mut(), &mut emissions) {
            Ok(()) => last_told = false,
            Err(TailError::Bus(error)) if error.retryable() => {
                if !last_told {
                    tracing::warn!(%error, "the log is away; trying again");
                }
                last_told = true;
                std::thread::sleep(ASK_AGAIN_AFTER);
            }
            Err(error) => return Err(error),
        }
        let is_over = options.to == TailTo::End && tail.is_at_the_end();
        if is_over {
            tail.close(&mut emissions)?;
        }
        for tailed in tail.tasks.values() {
            tail.telling.tell(&dataflow.streams[tailed.flow], &tailed.task.core);
        }
        for (flow, emission) in emissions {
            if on_emission(flow, emission).is_break() {
                return Ok(tail.counts());
            }
        }
        if is_over {
            break;
        }
    }
    Ok(tail.counts())
}

impl<'a> Tail<'a> {
    fn new(
        bus: &dyn Bus,
        dataflow: &'a Dataflow,
        options: &TailOptions,
        reader: &mut dyn Reader,
    ) -> Result<Self, TailError> {
        let there = bus.topics()?;
        let mut counts: BTreeMap<String, i32> = BTreeMap::new();
        for flow in &dataflow.streams {
            let topic = &flow.stream.topic;
            let count = match (&flow.shuffle, there.iter().find(|info| info.name == *topic)) {
                // Nobody writes there: everything is here.
                (Some(_), _) => 1,
                (None, Some(info)) => info.partitions.max(1),
                (None, None) => return Err(BusError::UnknownTopic { topic: topic.clone() }.into()),
            };
            counts.insert(topic.clone(), count);
        }
        let mut tasks = BTreeMap::new();
        let topology = Topology::of_counts(counts);
        for (index, flow) in dataflow.streams.iter().enumerate() {
            let topic = flow.stream.topic.as_str();
            if let Some(shuffle) = &flow.shuffle {
                let sources: Vec<Source> = topology.sources(shuffle);
                let task = Task::of_panes(flow, shuffle, (topic, 0), &sources, Checkpoint::start(0), None)?;
                let key = TopicPartition { topic: topic.to_owned(), partition: 0 };
                tasks.insert((key, index), Tailed { task, flow: index, end: None, changed: false });
                continue;
            }
            for partition in 0..topology.partitions_of(topic) {
                let key = TopicPartition { topic: topic.to_owned(), partition };
                let (first, next) = reader.bounds(&key)?;
                let begin = if options.from == TailFrom::Latest { next } else { first };
                // Two streams may be of one topic.
                if !tasks.keys().any(|(known, _)| *known == key) {
                    reader.assign(&key, begin)?;
                }
                let task = Task::new(flow, topic, partition, options.verify.clone(), Checkpoint::start(begin), None)?;
                // Of one that is empty nothing is heard.
                let end = (begin >= next).then_some(next);
                tasks.insert((key, index), Tailed { task, flow: index, end, changed: false });
            }
        }
        Ok(Self {
            dataflow,
            topology,
            tasks,
            next_offsets: BTreeMap::new(),
            clock: LogClock::default(),
            counts: TailCounts::default(),
            telling: Telling::default(),
        })
    }

    fn is_at_the_end(&self) -> bool {
        let mut rows = self.tasks.values().filter(|tailed| self.dataflow.streams[tailed.flow].shuffle.is_none());
        rows.all(|tailed| tailed.end.is_some())
    }

    /// Every window: those of streams first, as they send to the others.
    fn close(&mut self, emissions: &mut Vec<(usize, Emission)>) -> Result<(), TailError> {
        for is_shuffle in [false, true] {
            let mut sent = Vec::new();
            for tailed in self.tasks.values_mut() {
                let flow = &self.dataflow.streams[tailed.flow];
                if flow.shuffle.is_some() == is_shuffle {
                    let mut found = Vec::new();
                    tailed.task.core.close_all(flow, &mut found)?;
                    emissions.extend(found.into_iter().map(|emission| (tailed.flow, emission)));
                    tailed.ship(self.dataflow, &self.topology, &mut sent)?;
                }
            }
            self.forward(sent, emissions)?;
        }
        Ok(())
    }

    fn counts(&self) -> TailCounts {
        let duplicates = self.tasks.values().map(|tailed| tailed.task.core.counters.duplicate_records);
        TailCounts { duplicate_records: duplicates.sum(), ..self.counts.clone() }
    }

    /// One poll and what comes of it.
    fn step(&mut self, reader: &mut dyn Reader, emissions: &mut Vec<(usize, Emission)>) -> Result<(), TailError> {
        let (tasks, mut log_time_ms) = (&mut self.tasks, i64::MIN);
        let changes = reader.poll(POLL, POLL_RECORDS_MAX, &mut |record| {
            log_time_ms = log_time_ms.max(record.log_time_ms);
            for ((key, _), tailed) in tasks.iter_mut() {
                if key.partition == record.partition && key.topic == record.topic {
                    tailed.task.push(record);
                    (tailed.end, tailed.changed) = (None, true);
                }
            }
        });
        for change in changes? {
            if let Change::End { partition, offset } = change {
                let of = self.tasks.iter_mut().filter(|((key, _), _)| *key == partition);
                of.for_each(|(_, tailed)| tailed.end = Some(offset));
            }
        }
        self.clock.see(log_time_ms.saturating_mul(1_000_000), Instant::now());
        let mut sent = Vec::new();
        for tailed in self.tasks.values_mut().filter(|tailed| tailed.changed) {
            tailed.flush(self.dataflow, &self.topology, emissions, (&mut sent, &mut self.counts))?;
        }
        self.follow_clock(reader, emissions, &mut sent)?;
        self.forward(sent, emissions)
    }

    /// Lets windows close although nothing comes, where the log says that nothing is unread.
    fn follow_clock(
        &mut self,
        reader: &mut dyn Reader,
        emissions: &mut Vec<(usize, Emission)>,
        sent: &mut Vec<Outgoing>,
    ) -> Result<(), TailError> {
        let host_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as i64);
        let now_ns = self.clock.now_ns(Instant::now(), host_ns);
        for ((key, _), tailed) in &mut self.tasks {
            let (flow, Some(end)) = (&self.dataflow.streams[tailed.flow], tailed.end) else { continue };
            if !tailed.task.core.would_anticipate(flow, now_ns) || reader.bounds(key)?.1 > end {
                continue;
            }
            let mut found = Vec::new();
            tailed.task.core.anticipate(flow, now_ns, &mut found)?;
            emissions.extend(found.into_iter().map(|emission| (tailed.flow, emission)));
            tailed.ship(self.dataflow, &self.topology, sent)?;
        }
        Ok(())
    }

    /// What goes through a shuffle's topic live.
    fn forward(&mut self, sent: Vec<Outgoing>, emissions: &mut Vec<(usize, Emission)>) -> Result<(), TailError> {
        for outgoing in sent {
            let offset = self.next_offsets.entry(outgoing.topic.clone()).or_default();
            let (topic, payload) = (outgoing.topic.as_str(), outgoing.payload.as_slice());
            let record = Record {
                topic,
                partition: 0,
                offset: *offset,
                log_time_ms: 0,
                key: None,
                payload,
                headers: Vec::new(),
            };
            *offset += 1;
            let of = self.tasks.iter_mut().filter(|((key, _), _)| key.topic == outgoing.topic);
            for (_, tailed) in of {
                tailed.task.push(&record);
                tailed.changed = true;
            }
        }
        // Those that were sent to; they send nothing themselves.
        for tailed in self.tasks.values_mut().filter(|tailed| tailed.changed) {
            tailed.flush(self.dataflow, &self.topology, emissions, (&mut Vec::new(), &mut self.counts))?;
        }
        Ok(())
    }
}

impl Tailed {
    fn flush(
        &mut self,
        dataflow: &Dataflow,
        topology: &Topology,
        emissions: &mut Vec<(usize, Emission)>,
        (sent, counts): (&mut Vec<Outgoing>, &mut TailCounts),
    ) -> Result<(), TailError> {
        let flow = &dataflow.streams[self.flow];
        let (mut found, mut dead) = (Vec::new(), Vec::new());
        self.task.flush(flow, &mut found, &mut dead)?;
        self.changed = false;
        for record in dead {
            let (stream, offset, reason) = (&flow.stream.name, record.offset, &record.detail);
            tracing::warn!(stream, offset, reason, "a processor would send this record to the dead-letter topic");
            counts.dead_records += 1;
            if counts.dead.len() < DEAD_TOLD_MAX {
                let partition = self.task.core.partition();
                counts.dead.push((stream.clone(), partition, offset, record.detail.clone()));
            }
        }
        emissions.extend(found.into_iter().map(|emission| (self.flow, emission)));
        if self.task.core.keeps_snapshots() {
            // Nobody will go on from here.
            drop(self.task.core.take_snapshot(flow)?);
        }
        self.ship(dataflow, topology, sent)
    }

    fn ship(&mut self, dataflow: &Dataflow, topology: &Topology, sent: &mut Vec<Outgoing>) -> Result<(), TailError> {
        let flow = &dataflow.streams[self.flow];
        sent.extend(topology.take_sent(flow, &mut self.task.core).map_err(TaskError::from)?);
        Ok(())
    }
}
