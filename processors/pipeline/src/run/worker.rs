//! The partitions that one group member owns: poll, compute, commit.
//!
//! One thread. Outputs and positions are committed together: as soon as there are outputs when the worker has read what
//! there is, and while there is more at the latest after `commit_interval`, or [`OUTPUT_BYTES_MAX`]. Nothing is polled while
//! a commit is tried again, so memory stays bounded.
//! On a fenced commit everything is forgotten and the member joins anew: the log is the only state. What happens when
//! partitions come and go is in [`changes`], how a worker gets to other SQL in [`reload`].

mod changes;
mod outputs;
mod reload;
mod successor;

use super::{
    clock::LogClock,
    committing::{Commit, commit, may_pass},
    core::Core,
    dead_letter::dead_letter,
    decode::Verify,
    emit::{Emission, EmitError, Emitter},
    files::FileWatch,
    load::Loading,
    metrics::Metrics,
    position::{PositionError, WrittenBy},
    status::{End, PartitionStatus, Status},
    task::{Task, TaskError},
    telling::Telling,
    topology::Topology,
};
use crate::sql::{Dataflow, StreamFlow};
use amoskys_bus::{Bus, BusError, Change, Member, MemberOptions, Outgoing, Record, TopicPartition};
use outputs::Outputs;
pub use reload::NextSql;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use successor::Successor;

/// After a log that was away when it was asked.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A log that stays away, and a replay that goes on, are told of this often.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Sizes of state are summed up over all panes, so not at every poll.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Outputs of about so many bytes are committed although more is there to be read.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Its topics are set by the worker.
    pub member: MemberOptions,
    pub verify: Verify,
    pub dead_letter_topic: String,
    /// Compacted; wanted where windows are longer than the stream's `replay_max`.
    pub panes_topic: String,
    pub commit_interval: Duration,
    /// Rows that one poll may bring, about.
    pub poll_rows_max: usize,
}

impl WorkerOptions {
    /// Signatures off, a commit every second at the latest.
    pub fn new(member: MemberOptions) -> Self {
        Self {
            member,
            verify: Verify::Off,
            dead_letter_topic: "amoskys.deadletter.v1".to_owned(),
            panes_topic: "amoskys.panes.v1".to_owned(),
            commit_interval: Duration::from_secs(1),
            poll_rows_max: 8192,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error("stream `{stream}`, partition {partition}, offsets {first_offset} to {last_offset}: {detail}")]
    Computing { stream: String, partition: i32, first_offset: i64, last_offset: i64, detail: Box<TaskError> },
    #[error(transparent)]
    Emit(#[from] EmitError),
    #[error(transparent)]
    Position(#[from] PositionError),
}

pub struct Worker {
    bus: Arc<dyn Bus>,
    /// While the worker gets to other SQL, flows of the old one stand before those that take their place.
    dataflow: Dataflow,
    /// Of each flow.
    outlets: Vec<Outlets>,
    next: NextSql,
    /// Some partitions may have successors.
    is_switching: bool,
    /// Of this switch a successor.
    has_failed: bool,
    options: WorkerOptions,
    metrics: Metrics,
    status: Arc<Mutex<Status>>,
    /// Once the log has been asked.
    topology: Topology,
    telling: Telling,
}

/// What becomes of a flow's rows, and by what its positions are known.
struct Outlets {
    emitters: Vec<Option<Emitter>>,
    by: WrittenBy,
}

impl Outlets {
    fn of(flow: &StreamFlow) -> Result<Self, EmitError> {
        let emitters = flow.inserts.iter().map(Emitter::new).collect::<Result<_, _>>()?;
        Ok(Self { emitters, by: WrittenBy::of(flow) })
    }
}

/// Each once, in order.
fn topics_read(dataflow: &Dataflow) -> Vec<String> {
    let topics: BTreeSet<String> = dataflow.streams.iter().map(|flow| flow.stream.topic.clone()).collect();
    topics.into_iter().collect()
}

/// A partition's task and the flow it runs.
struct Owned {
    task: Task,
    flow: usize,
    /// What is to take its place, while the worker gets to other SQL.
    successor: Option<Box<Successor>>,
    /// The end of the partition, when the reader was there and nothing came since.
    end: Option<i64>,
    changed: bool,
}

type Tasks = BTreeMap<TopicPartition, Owned>;
/// Partitions that are assigned and not started.
type Waiting = BTreeMap<TopicPartition, Loading>;

impl Worker {
    pub fn new(
        bus: Arc<dyn Bus>,
        dataflow: Dataflow,
        mut options: WorkerOptions,
        metrics: Metrics,
    ) -> Result<Self, WorkerError> {
        options.member.topics = topics_read(&dataflow);
        // Nothing here looks at them.
        options.member.with_headers = false;
        let outlets = dataflow.streams.iter().map(Outlets::of).collect::<Result<_, _>>()?;
        let (next, status, topology) = (NextSql::default(), Arc::default(), Topology::default());
        let telling = Telling::default();
        Ok(Self {
            bus,
            dataflow,
            outlets,
            next,
            is_switching: false,
            has_failed: false,
            options,
            metrics,
            status,
            topology,
            telling,
        })
    }

    /// A view of the worker that may be read from other threads.
    pub fn status(&self) -> Arc<Mutex<Status>> {
        self.status.clone()
    }

    /// Topics that have to be there: read, written, and for dead letters.
    pub fn topics(&self) -> BTreeSet<&str> {
        let read = self.dataflow.streams.iter().map(|flow| flow.stream.topic.as_str());
        let written = self.outlets.iter().flat_map(|outlets| &outlets.emitters).flatten().map(Emitter::topic);
        let kept = self.dataflow.keeps_panes().then_some(self.options.panes_topic.as_str());
        read.chain(written).chain([self.options.dead_letter_topic.as_str()]).chain(kept).collect()
    }

    /// Runs until `stop` is set, then computes what was read, commits and leaves the group.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), WorkerError> {
        self.find_topics(stop)?;
        loop {
            let mut member = self.bus.member(&self.options.member)?;
            match self.serve(member.as_mut(), stop) {
                Ok(None) => return Ok(member.leave()?),
                Ok(Some(next)) => {
                    tracing::info!("joining the group anew with other SQL");
                    if let Err(error) = member.leave() {
                        tracing::debug!(%error, "the group was not told of the leaving");
                    }
                    self.replace(next)?;
                    self.find_topics(stop)?;
                }
                Err(WorkerError::Bus(BusError::Fenced { detail })) => {
                    tracing::warn!(detail, "fenced: partitions belong to somebody else; joining the group anew");
                    self.metrics.rebalances.inc();
                    // A group keeps the place of a member that has a name, and what it was asked to give up stays with it.
                    if let Err(error) = member.leave() {
                        tracing::debug!(%error, "the group was not told of the leaving");
                    }
                }
                Err(error) => {
                    // Nothing of what failed is committed; whoever takes over repeats it.
                    member.leave()?;
                    return Err(error);
                }
            }
        }
    }

    /// Waits for those of which something has to be known beforehand.
    fn find_topics(&mut self, stop: &AtomicBool) -> Result<(), WorkerError> {
        let mut last_told = None;
        while !stop.load(Ordering::Relaxed) {
            match Topology::find(self.bus.as_ref(), &self.dataflow, &self.options) {
                Ok(found) => {
                    self.topology = found;
                    self.tell_emitters();
                    break;
                }
                Err(error) => drop(self.wait_for_the_log(error, &mut last_told)?),
            }
        }
        Ok(())
    }

    /// What is known of the topics that they write to.
    fn tell_emitters(&mut self) {
        self.topology.tell(self.outlets.iter_mut().flat_map(|outlets| &mut outlets.emitters).flatten());
    }

    /// Other SQL that takes joining the group anew, or nothing when `stop` is set.
    fn serve(&mut self, member: &mut dyn Member, stop: &AtomicBool) -> Result<Option<Dataflow>, WorkerError> {
        let (mut tasks, mut waiting) = (Tasks::new(), Waiting::new());
        let mut last_commit = Instant::now();
        let mut last_report: Option<Instant> = None;
        let mut file_watch = FileWatch::new();
        let mut replay_told: Option<Instant> = None;
        let mut last_told: Option<Instant> = None;
        let mut clock = LogClock::default();
        let mut records_max = 64;
        let mut outputs = Outputs::default();
        let mut next = None;
        while !stop.load(Ordering::Relaxed) {
            let files = file_watch.look(&self.dataflow);
            self.metrics.static_reloads.inc_by(files.read_again);
            self.metrics.static_failures.inc_by(files.failed);
            let (mut records, mut rows, mut log_time_ms) = (0, 0, i64::MIN);
            let mut failed: Option<WorkerError> = None;
            let polled = member.poll(Duration::from_millis(20), records_max, &mut |record| {
                if failed.is_none() {
                    records += 1;
                    log_time_ms = log_time_ms.max(record.log_time_ms);
                    failed = self.take(&mut tasks, record, &mut outputs.records).err();
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            let changes = match polled {
                Ok(changes) => changes,
                Err(error) => self.wait_for_the_log(error, &mut last_told)?,
            };
            for owned in tasks.values() {
                rows += owned.task.waiting_rows();
            }
            self.change_all(member, (&mut tasks, &mut waiting), changes, &mut outputs, stop)?;
            if let Err(error) = self.load(member, &mut tasks, &mut waiting, stop) {
                let WorkerError::Bus(error) = error else { return Err(error) };
                self.wait_for_the_log(error, &mut last_told)?;
            }
            if let Err(error) = self.flush(&mut tasks, &mut outputs.records) {
                if matches!(error, WorkerError::Task(TaskError::Stopped(_))) {
                    // What came before the record counts.
                    self.commit(member, &mut tasks, &outputs.records, false, stop)?;
                }
                return Err(error);
            }
            clock.see(log_time_ms.saturating_mul(1_000_000), Instant::now());
            if let Err(error) = self.follow_clock(member, &mut tasks, &mut clock, &mut outputs.records) {
                let WorkerError::Bus(error) = error else { return Err(error) };
                self.wait_for_the_log(error, &mut last_told)?;
            }
            next = self.look_for_sql(member, &mut tasks, &waiting)?;
            if next.is_some() {
                break;
            }
            self.follow_successors(&mut tasks, &mut waiting, &mut outputs.records)?;
            // Who is behind loses no time by a commit later, and a commit for each window is most of the work then.
            let is_behind = records >= records_max && outputs.bytes() < OUTPUT_BYTES_MAX;
            if (!outputs.records.is_empty() && !is_behind) || last_commit.elapsed() >= self.options.commit_interval {
                let heard = self.commit(member, &mut tasks, &outputs.records, false, stop)?;
                outputs.clear();
                self.change_all(member, (&mut tasks, &mut waiting), heard, &mut outputs, stop)?;
                last_commit = Instant::now();
            }
            if last_report.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
                self.report(member, &tasks, waiting.len());
                last_report = Some(Instant::now());
                self.tell_replay(&mut replay_told);
            }
            records_max = next_records_max(records_max, records, rows, self.options.poll_rows_max);
        }
        let ended = self.flush(&mut tasks, &mut outputs.records);
        let ended = ended.and_then(|()| self.commit(member, &mut tasks, &outputs.records, false, stop).map(drop));
        match (ended, next) {
            (Ok(()), next) => Ok(next),
            (Err(error), next) => {
                // It is gone over to once the worker has joined again.
                next.into_iter().for_each(|next| self.next.put_back(next));
                Err(error)
            }
        }
    }

    /// A log that is away comes back, and so does a topic; told now and then.
    fn wait_for_the_log(&self, error: BusError, last_told: &mut Option<Instant>) -> Result<Vec<Change>, WorkerError> {
        if !may_pass(&error) {
            return Err(error.into());
        }
        if last_told.is_none_or(|at| at.elapsed() >= TELL_AGAIN_AFTER) {
            match &error {
                BusError::UnknownTopic { .. } => tracing::warn!(%error, "a topic is missing; waiting for it"),
                _ => tracing::warn!(%error, "the log is away; trying again"),
            }
            *last_told = Some(Instant::now());
        }
        std::thread::sleep(ASK_AGAIN_AFTER);
        Ok(Vec::new())
    }

    fn take(&self, tasks: &mut Tasks, record: &Record<'_>, outputs: &mut Vec<Outgoing>) -> Result<(), WorkerError> {
        // Ordered by topic first, so this allocation-free search does what a lookup by a new key would.
        let owned = tasks.iter_mut().find(|(key, _)| key.partition == record.partition && key.topic == record.topic);
        let Some((_, owned)) = owned else { return Ok(()) };
        if owned.task.ends_replay(record.offset) {
            self.flush_one(owned, outputs)?;
        }
        owned.task.push(record);
        owned.successor.iter_mut().for_each(|successor| successor.push(record));
        owned.end = None;
        owned.changed = true;
        Ok(())
    }

    fn flush(&self, tasks: &mut Tasks, outputs: &mut Vec<Outgoing>) -> Result<(), WorkerError> {
        tasks.values_mut().filter(|owned| owned.changed).try_for_each(|owned| self.flush_one(owned, outputs))
    }

    fn flush_one(&self, owned: &mut Owned, outputs: &mut Vec<Outgoing>) -> Result<(), WorkerError> {
        let (flow, before) = (&self.dataflow.streams[owned.flow], owned.task.core.counters);
        let (mut emissions, mut dead, emitting) = (Vec::new(), Vec::new(), owned.task.core.emitting());
        let first_offset = owned.task.core.next_offset();
        let flushed = match owned.task.flush(flow, &mut emissions, &mut dead) {
            // There are the rows of the records before it.
            Err(error @ TaskError::Stopped(_)) => Err(error),
            Err(detail) => {
                let (stream, core) = (flow.stream.name.clone(), &owned.task.core);
                let (partition, last_offset) = (core.partition(), core.next_offset() - 1);
                return Err(WorkerError::Computing {
                    stream,
                    partition,
                    first_offset,
                    last_offset,
                    detail: detail.into(),
                });
            }
            Ok(()) => Ok(()),
        };
        self.metrics.add(&before, &owned.task.core.counters);
        for record in &dead {
            self.metrics.refuse(record.reason);
            tracing::warn!(
                stream = flow.stream.name,
                offset = record.offset,
                reason = record.detail,
                "record sent to the dead-letter topic"
            );
            let place = (flow.stream.topic.as_str(), owned.task.core.partition());
            outputs.push(dead_letter(&self.options.dead_letter_topic, place, record));
        }
        if let Some(topic) = &self.topology.panes {
            let partition = owned.task.core.partition();
            let of = TopicPartition { topic: flow.stream.topic.clone(), partition };
            let records = owned.task.core.take_snapshot(flow)?;
            outputs.extend(records.into_iter().map(|record| topic.outgoing(&of, record)));
        }
        self.send_panes(owned.flow, &mut owned.task.core, outputs)?;
        self.encode(owned, emitting, &emissions, outputs)?;
        if let Some(successor) = owned.successor.as_mut().filter(|successor| successor.follows()) {
            let flow = &self.dataflow.streams[successor.flow];
            successor.flush(flow, &owned.task.core);
            self.send_panes(successor.flow, &mut successor.task.core, outputs)?;
        }
        Ok(flushed?)
    }

    /// Panes of groups that are merged elsewhere.
    fn send_panes(&self, flow: usize, core: &mut Core, outputs: &mut Vec<Outgoing>) -> Result<(), WorkerError> {
        let flow = &self.dataflow.streams[flow];
        outputs.extend(self.topology.take_sent(flow, core).map_err(TaskError::from)?);
        Ok(())
    }

    /// What of expressions failed, and `emissions` as records.
    /// `emitting` is what the task had spent on emissions before these.
    fn encode(
        &self,
        owned: &Owned,
        emitting: Duration,
        emissions: &[Emission],
        outputs: &mut Vec<Outgoing>,
    ) -> Result<(), WorkerError> {
        let begun = Instant::now();
        self.telling.tell(&self.dataflow.streams[owned.flow], &owned.task.core);
        for emission in emissions {
            if let Some(emitter) = &self.outlets[owned.flow].emitters[emission.insert] {
                emitter.encode(emission, outputs)?;
                self.metrics.unwritten_rows.inc_by(emitter.take_left_out());
            }
        }
        if emissions.iter().any(|emission| emission.window_ns.is_some()) {
            let time = owned.task.core.emitting() - emitting + begun.elapsed();
            self.metrics.emission_seconds.observe(time.as_secs_f64());
        }
        Ok(())
    }

    /// Partitions whose reader is at the end: lets windows close although nothing comes, by the log's time. That nothing comes is the log's
    /// word, asked for when a window is due: a reader that is held up looks the same as a partition that is idle.
    fn follow_clock(
        &self,
        member: &mut dyn Member,
        tasks: &mut Tasks,
        clock: &mut LogClock,
        outputs: &mut Vec<Outgoing>,
    ) -> Result<(), WorkerError> {
        for (partition, owned) in tasks {
            let Some(end) = owned.end else { continue };
            // After a restart the last record is one that was read before.
            clock.see(owned.task.core.watermark().last_log_time_ns, Instant::now());
            let now_ns = clock.now_ns(Instant::now(), now_ns());
            if !owned.task.core.would_anticipate(&self.dataflow.streams[owned.flow], now_ns)
                || member.end(partition)? > end
            {
                continue;
            }
            let (flow, before) = (&self.dataflow.streams[owned.flow], owned.task.core.counters);
            let (mut emissions, emitting) = (Vec::new(), owned.task.core.emitting());
            let watermark = owned.task.core.watermark();
            owned.task.core.anticipate(flow, now_ns, &mut emissions)?;
            owned.changed |= watermark != owned.task.core.watermark();
            self.metrics.add(&before, &owned.task.core.counters);
            self.send_panes(owned.flow, &mut owned.task.core, outputs)?;
            self.encode(owned, emitting, &emissions, outputs)?;
        }
        Ok(())
    }

    /// Tries until it succeeds or cannot: what was computed is not computed again for a broker that is away. Who is to
    /// stop gives up after a while; nothing is lost by that, the next owner computes it again.
    fn commit(
        &self,
        member: &mut dyn Member,
        tasks: &mut Tasks,
        outputs: &[Outgoing],
        is_asked_back: bool,
        stop: &AtomicBool,
    ) -> Result<Vec<Change>, WorkerError> {
        let positions = tasks.iter().filter(|(_, owned)| owned.changed).filter_map(|(partition, owned)| {
            let position = owned.task.core.checkpoint()?.encode_of(&self.outlets[owned.flow].by);
            Some((partition.clone(), position))
        });
        let positions: Vec<_> = positions.collect();
        if outputs.is_empty() && positions.is_empty() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let heard = commit(member, &Commit { outputs, positions: &positions, is_asked_back }, stop)?;
        self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        tasks.values_mut().for_each(|owned| owned.changed = false);
        Ok(heard)
    }

    /// Says now and then how far a long replay has come, and that it is over.
    fn tell_replay(&self, told: &mut Option<Instant>) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let (partitions, records) = (status.replaying(), status.replay_left_records());
        if partitions == 0 {
            if told.take().is_some() {
                tracing::info!("open windows are rebuilt");
            }
        } else if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN_AFTER) {
            tracing::info!(partitions, records_left = records, "rebuilding open windows from the log");
            *told = Some(Instant::now());
        }
    }

    fn report(&self, member: &dyn Member, tasks: &Tasks, loading: usize) {
        let partitions: Vec<PartitionStatus> = tasks
            .iter()
            .map(|(partition, owned)| {
                let end = if owned.end.is_some() { End::Reached } else { End::Known(member.known_end(partition)) };
                PartitionStatus::of(&owned.task.core, &self.dataflow.streams[owned.flow], end)
            })
            .collect();
        let status = Status::of(&self.metrics, loading, partitions);
        status.show(&self.metrics.gauges, now_ns());
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// Fewer records per poll where they hold many rows, more where they hold few.
fn next_records_max(current: usize, records: usize, rows: usize, rows_max: usize) -> usize {
    if records == 0 {
        return current;
    }
    (rows_max * records / rows.max(1)).clamp(16, 65_536)
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as i64)
}

#[cfg(test)]
mod tests {
    use super::next_records_max;

    #[test]
    fn polls_bring_about_as_many_rows_as_wanted() {
        assert_eq!(next_records_max(64, 64, 32_000, 32_000), 64);
        assert_eq!(next_records_max(64, 64, 64, 32_000), 32_000);
        assert_eq!(next_records_max(64, 64, 1_000_000, 32_000), 16);
        assert_eq!(next_records_max(64, 0, 0, 32_000), 64);
    }
}
