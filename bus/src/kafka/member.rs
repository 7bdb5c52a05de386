//! One of a consumer group.
//!
//! Partitions move one by one (cooperative sticky). An assigned partition is told once its committed position is
//! known, which waits for an open transaction of its last owner to end. A revoked one is given up by the next poll.
//! Limits: asking for committed positions may hold up a poll by `ANSWER_WITHIN` beyond its timeout.

use super::{
    context::{ConsumerEvents, Rebalance, list_of, lock},
    errors::During,
    fetch::Fetcher,
    transaction::{Offsets, Writer},
    unowned::Watch,
};
use crate::{
    Assignment, BusError, Change, Delivery, Member, MemberOptions, Outgoing, Position, Record, StartAt, TopicPartition,
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    topic_partition_list::TopicPartitionListElem,
};
use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const ASKING_FOR_POSITIONS: &str = "asking for committed positions";
/// How long the log may take to say where a partition ends: nothing is polled meanwhile.
const END_WITHIN: Duration = Duration::from_secs(1);
/// Between two questions that were not answered.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;

pub(super) struct KafkaMember {
    fetcher: Fetcher,
    writer: Writer,
    options: MemberOptions,
    address: String,
    topics: String,
    /// Told as assigned and not yet as lost; a revoked one until the next poll.
    owned: BTreeSet<TopicPartition>,
    /// Assigned, but the committed position is not known yet.
    waiting: Vec<TopicPartition>,
    ask_after: Instant,
    /// Told as revoked, to be given up by the next poll.
    revoking: Option<Vec<TopicPartition>>,
    /// Told by the next poll because this one had changes to tell.
    late: Option<BusError>,
    /// What the transaction whose outcome is not known was to write.
    unfinished: Option<Unfinished>,
    /// At least once: what was written by a commit whose positions were not, and need not be written by its repetition.
    acknowledged: Option<Vec<Outgoing>>,
    watch: Watch,
}

struct Unfinished {
    outputs: Vec<Outgoing>,
    positions: Vec<(TopicPartition, Position)>,
}

impl KafkaMember {
    /// Joins the group; its partitions come by `poll`.
    pub(super) fn join(
        fetcher: Fetcher,
        writer: Writer,
        options: &MemberOptions,
        address: String,
    ) -> Result<Self, BusError> {
        let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        let joined = topics.join(", ");
        let subscribed = fetcher.consumer().subscribe(&topics);
        subscribed.map_err(|e| During { action: "subscribing", address: &address, topic: &joined }.error(&e))?;
        Ok(Self {
            fetcher,
            writer,
            options: options.clone(),
            address,
            topics: joined,
            owned: BTreeSet::new(),
            waiting: Vec::new(),
            ask_after: Instant::now(),
            revoking: None,
            late: None,
            unfinished: None,
            acknowledged: None,
            watch: Watch::new(options),
        })
    }

    fn consumer(&self) -> &BaseConsumer<ConsumerEvents> {
        self.fetcher.consumer()
    }

    fn during(&self, action: &'static str) -> During<'_> {
        During { action, address: &self.address, topic: &self.topics }
    }

    fn give_up_revoked(&mut self) {
        if let Some(partitions) = self.revoking.take() {
            self.fetcher.give_up(&partitions);
            partitions.iter().for_each(|partition| {
                self.owned.remove(partition);
            });
        }
    }

    fn take_rebalances(&mut self, changes: &mut Vec<Change>) {
        let events = std::mem::take(&mut *lock(&self.fetcher.events().rebalances));
        if !events.is_empty() {
            self.watch.moved();
        }
        for event in events {
            match event {
                Rebalance::Assigned(partitions) => self.waiting.extend(partitions),
                Rebalance::Revoked(partitions) => {
                    let told = self.told(&partitions);
                    self.revoking = Some(partitions);
                    if told.is_empty() {
                        self.give_up_revoked();
                    } else {
                        changes.push(Change::Revoked(told));
                    }
                }
                Rebalance::Lost(partitions) => {
                    let told = self.told(&partitions);
                    told.iter().for_each(|partition| {
                        self.owned.remove(partition);
                    });
                    self.revoking = None;
                    self.writer.abandon();
                    self.unfinished = None;
                    if !told.is_empty() {
                        changes.push(Change::Lost(told));
                    }
                }
            }
        }
    }

    /// Those of `partitions` that the caller knows of; the others are no longer waited for.
    fn told(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        self.waiting.retain(|waiting| !partitions.contains(waiting));
        partitions.iter().filter(|partition| self.owned.contains(partition)).cloned().collect()
    }

    /// Asks where the partitions that were assigned go on.
    fn find_positions(&mut self, changes: &mut Vec<Change>) -> Result<(), BusError> {
        if self.waiting.is_empty() || Instant::now() < self.ask_after {
            return Ok(());
        }
        let found = self.assignments();
        self.ask_after = Instant::now() + ASK_AGAIN_AFTER;
        match found {
            Ok(assignments) => {
                self.owned.extend(self.waiting.drain(..));
                changes.push(Change::Assigned(assignments));
                Ok(())
            }
            // Not an answer yet: an open transaction, a coordinator being loaded, a slow broker.
            Err(error) if error.retryable() => {
                tracing::debug!(target: "amoskys_bus::kafka", %error, "committed positions are not known yet");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn assignments(&mut self) -> Result<Vec<Assignment>, BusError> {
        if self.options.delivery == Delivery::ExactlyOnce {
            // First, because it ends what an earlier member of this name left open.
            self.writer.init(ANSWER_WITHIN)?;
        }
        let list = self.positions_of(&self.waiting)?;
        list.elements().iter().map(|element| self.assignment(element)).collect()
    }

    fn positions_of<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<TopicPartitionList, BusError> {
        let asked = self.consumer().committed_offsets(list_of(partitions), ANSWER_WITHIN);
        asked.map_err(|error| self.cause(ASKING_FOR_POSITIONS, &error))
    }

    fn position(&self, element: &TopicPartitionListElem<'_>) -> Result<Option<Position>, BusError> {
        element.error().map_err(|error| self.during(ASKING_FOR_POSITIONS).error(&error))?;
        let Offset::Offset(offset) = element.offset() else { return Ok(None) };
        Ok(Some(Position { offset, metadata: element.metadata().to_owned() }))
    }

    fn assignment(&self, element: &TopicPartitionListElem<'_>) -> Result<Assignment, BusError> {
        let during = self.during(ASKING_FOR_POSITIONS);
        let partition = TopicPartition { topic: element.topic().to_owned(), partition: element.partition() };
        if let Some(position) = self.position(element)? {
            let begin = position.offset;
            return Ok(Assignment { partition, committed: Some(position), begin });
        }
        let bounds = self.consumer().fetch_watermarks(&partition.topic, partition.partition, ANSWER_WITHIN);
        let (first, end) = bounds.map_err(|error| during.error(&error))?;
        let begin = if self.options.start_at == StartAt::Earliest { first } else { end };
        Ok(Assignment { partition, committed: None, begin })
    }

    fn check(&self, positions: &[(TopicPartition, Position)]) -> Result<(), BusError> {
        if self.consumer().assignment_lost() {
            return Err(BusError::Fenced { detail: "this member's partitions are lost".to_owned() });
        }
        for (partition, position) in positions {
            if !self.owned.contains(partition) {
                let detail = format!("{}/{} is not this member's", partition.topic, partition.partition);
                return Err(BusError::Fenced { detail });
            }
            if position.metadata.len() > METADATA_BYTES_MAX {
                let bytes = position.metadata.len();
                let detail = format!("metadata of {bytes} bytes is larger than the {METADATA_BYTES_MAX} allowed");
                return Err(BusError::Misconfigured { detail });
            }
        }
        Ok(())
    }

    fn transact(&mut self, outputs: &[Outgoing], positions: &[(TopicPartition, Position)]) -> Result<(), BusError> {
        let list = self.offsets(positions)?;
        let group = lock(&self.fetcher.events().group).clone();
        let offsets = match group {
            Some(group) if !positions.is_empty() => Some(Offsets { list, group }),
            None if !positions.is_empty() => {
                return Err(BusError::Fenced { detail: "this member has not joined its group".to_owned() });
            }
            _ => None,
        };
        self.writer.transact(outputs, offsets)
    }

    /// A client that has failed for good answers everything with `Fatal`; what it died of says more.
    fn cause(&self, action: &'static str, error: &KafkaError) -> BusError {
        match self.consumer().client().fatal_error() {
            Some((code, reason)) => self.during(action).code(code, &reason),
            None => self.during(action).error(error),
        }
    }

    fn commit_offsets(&self, positions: &[(TopicPartition, Position)]) -> Result<(), BusError> {
        if positions.is_empty() {
            return Ok(());
        }
        let committed = self.consumer().commit(&self.offsets(positions)?, CommitMode::Sync);
        committed.map_err(|error| self.cause("committing positions", &error))
    }

    fn offsets(&self, positions: &[(TopicPartition, Position)]) -> Result<TopicPartitionList, BusError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            let mut element = list.add_partition(&partition.topic, partition.partition);
            let set = element.set_offset(Offset::Offset(position.offset));
            set.map_err(|error| self.during("committing positions").error(&error))?;
            element.set_metadata(&position.metadata);
        }
        Ok(list)
    }
}

impl Member for KafkaMember {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<Vec<Change>, BusError> {
        if let Some(error) = self.late.take() {
            return Err(error);
        }
        if let Some(detail) = self.watch.look(self.fetcher.consumer(), &self.options.group, &self.options.topics) {
            return Err(BusError::Fenced { detail });
        }
        let deadline = Instant::now() + timeout;
        self.give_up_revoked();
        let mut changes = Vec::new();
        loop {
            let polled = self.fetcher.poll(deadline, records_max, &self.topics, on_record, &mut changes);
            self.take_rebalances(&mut changes);
            let found = self.find_positions(&mut changes);
            match polled.and_then(|some| found.map(|()| some)) {
                Ok(some) if some || !changes.is_empty() || Instant::now() >= deadline => return Ok(changes),
                Ok(_) => {}
                Err(error) if changes.is_empty() => return Err(error),
                Err(error) => {
                    self.late = Some(error);
                    return Ok(changes);
                }
            }
        }
    }

    fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        self.fetcher.known_end(partition)
    }

    fn end(&mut self, partition: &TopicPartition) -> Result<i64, BusError> {
        let asked = self.consumer().fetch_watermarks(&partition.topic, partition.partition, END_WITHIN);
        asked.map(|(_, end)| end).map_err(|error| self.cause("asking for the end of a partition", &error))
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, BusError> {
        let list = self.positions_of(partitions)?;
        // Told in an order of librdkafka's own.
        let found = |partition: &TopicPartition| {
            let found = list.find_partition(&partition.topic, partition.partition);
            found.map_or(Ok(None), |element| self.position(&element))
        };
        partitions.iter().map(found).collect()
    }

    fn start(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        if !self.owned.contains(partition) {
            let detail = format!("{}/{} is not this member's", partition.topic, partition.partition);
            return Err(BusError::Fenced { detail });
        }
        self.fetcher.start(partition, offset).map_err(|error| self.cause("starting a partition", &error))
    }

    fn commit(&mut self, outputs: &[Outgoing], positions: &[(TopicPartition, Position)]) -> Result<(), BusError> {
        if self.writer.is_committing() {
            let same =
                self.unfinished.as_ref().is_some_and(|last| last.outputs == outputs && last.positions == positions);
            if !same {
                return Err(BusError::Failed {
                    action: "committing",
                    detail: "the outcome of the last commit is not known; only the same may be committed again".into(),
                    retryable: false,
                });
            }
        } else {
            self.check(positions)?;
        }
        let exactly_once = self.options.delivery == Delivery::ExactlyOnce;
        if exactly_once && (!outputs.is_empty() || self.writer.is_committing()) {
            let result = self.transact(outputs, positions);
            let keep = self.writer.is_committing() && self.unfinished.is_none();
            if keep {
                self.unfinished = Some(Unfinished { outputs: outputs.to_vec(), positions: positions.to_vec() });
            } else if !self.writer.is_committing() {
                self.unfinished = None;
            }
            return result;
        }
        if !outputs.is_empty() && self.acknowledged.as_deref() != Some(outputs) {
            self.writer.write(outputs)?;
        }
        // Alone it is atomic by itself, and fenced by the group's generation: no need for a transaction.
        let committed = self.commit_offsets(positions);
        let is_written_for_nothing = committed.is_err() && !outputs.is_empty();
        self.acknowledged = is_written_for_nothing.then(|| outputs.to_vec());
        committed
    }

    fn leave(mut self: Box<Self>) -> Result<(), BusError> {
        self.give_up_revoked();
        self.fetcher.events().closing.store(true, Ordering::Relaxed);
        self.fetcher.give_up_all();
        // Closing alone would keep the place of a member with an instance name for the session timeout.
        self.consumer().unsubscribe();
        let deadline = Instant::now() + LEAVE_WITHIN;
        let mut ignored = Vec::new();
        while self.has_assignment() && Instant::now() < deadline {
            let until = Instant::now() + ASK_AGAIN_AFTER;
            let _ = self.fetcher.poll(until, 1, &self.topics, &mut |_| {}, &mut ignored);
        }
        Ok(())
    }
}

impl KafkaMember {
    /// Whether the group still has to hear that its partitions are free.
    fn has_assignment(&self) -> bool {
        let freed = lock(&self.fetcher.events().rebalances).iter().any(|e| matches!(e, Rebalance::Lost(_)));
        // One that failed for good has nothing, whatever it knows of.
        let failed = self.consumer().client().fatal_error().is_some();
        !freed && !failed && (!self.owned.is_empty() || !self.waiting.is_empty())
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        // Closing waits until what is asked back is given up.
        self.fetcher.events().closing.store(true, Ordering::Relaxed);
        self.give_up_revoked();
    }
}
