//! Reading records from Kafka's brokers without librdkafka, which makes an object of each: batches are taken as they are on the
//! wire, and records are handed over where they lie ([ADR 40](../../../../docs/adr/0040-a-fetch-path-of-our-own.md)).
//!
//! librdkafka stays what it is for everything else: the group, its commits and transactions, who leads which partition, and errors of
//! the cluster. Whatever is not usual goes back to it, with the offset that is next: a compression that is not known here, a broker
//! that is older or refuses TLS like this, an offset that is gone, a topic that may not be read. So there is one place for each
//! of these, and it is librdkafka's.
//!
//! One event's way: a [`link`] asks a broker for the next of all partitions that it leads and hands its answer over as it came;
//! [`Direct::poll`] checks and unpacks one batch after the other ([`batch`]), and calls back with each record.
//! Limits: of the answers that are not handed over yet see [`link`]; one batch at a time is unpacked, into at most
//! [`batch::UNPACKED_BYTES_MAX`]. Finding out who leads a partition may hold up a poll by `LEADERS_WITHIN` for each topic, at most every
//! `BACKOFF_MIN` to `BACKOFF_MAX`. An unclean election that replaces what was read already is not noticed.

mod batch;
mod link;
mod protocol;

use super::{context::ConsumerEvents, queue::Item};
use crate::{Record, TopicPartition};
use batch::{Batch, Records, Strange, Transactions};
pub(super) use link::Settings;
use link::{Answer, Link, News, Place, Want, Why};
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode as Code,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

const LEADERS_WITHIN: Duration = Duration::from_millis(200);
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Room for what is unpacked that is kept, whatever one batch needed.
const UNPACKED_BYTES_KEPT: usize = 8 << 20;

/// The partitions of one reader that are read like this.
pub(super) struct Direct {
    settings: Arc<Settings>,
    readings: Vec<Reading>,
    links: BTreeMap<i32, Link>,
    news: Receiver<News>,
    tell: SyncSender<News>,
    /// What is being handed over.
    cursor: Option<Cursor>,
    unpacked: Vec<u8>,
    /// Numbers of tokens and links, none of which comes again.
    numbers: u64,
    ask_leaders_after: Instant,
    /// Since the last answer.
    failures: u32,
    /// Why no partition is read like this any more.
    unfit: Option<String>,
}

struct Reading {
    token: u64,
    partition: TopicPartition,
    topic: Arc<str>,
    /// The next offset to hand over.
    next: i64,
    /// Where the partition ends, by the last answer.
    high_watermark: Option<i64>,
    /// The last end that was told.
    end_told: Option<i64>,
    /// The broker that is asked.
    leader: Option<i32>,
}

/// Where the handing over of an answer stands.
struct Cursor {
    answer: Answer,
    part: usize,
    /// Of the part's bytes, how many are done with.
    done: usize,
    transactions: Transactions,
    open: Option<Open>,
}

/// A batch that is being handed over.
struct Open {
    records: Records,
    /// Bytes of the batch.
    bytes: usize,
    past_offset: i64,
}

/// A partition that librdkafka has to read, from that offset on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HandedBack {
    pub partition: TopicPartition,
    pub offset: i64,
    pub why: String,
}

/// What became of the part that the cursor stands in.
enum Step {
    /// As many records as were asked for; there may be more.
    Full,
    Done,
    Strange(Strange),
}

impl Direct {
    pub(super) fn new(settings: Settings) -> Self {
        // One answer waits; whoever has another waits with it.
        let (tell, news) = sync_channel(1);
        Self {
            settings: Arc::new(settings),
            readings: Vec::new(),
            links: BTreeMap::new(),
            news,
            tell,
            cursor: None,
            unpacked: Vec::new(),
            numbers: 0,
            ask_leaders_after: Instant::now(),
            failures: 0,
            unfit: None,
        }
    }

    /// Reads `partition` from `offset` on; `false` where librdkafka has to.
    pub(super) fn start(&mut self, partition: &TopicPartition, offset: i64) -> bool {
        if self.unfit.is_some() {
            return false;
        }
        self.stop(std::slice::from_ref(partition));
        self.readings.push(Reading {
            token: number(&mut self.numbers),
            partition: partition.clone(),
            topic: partition.topic.as_str().into(),
            next: offset,
            high_watermark: None,
            end_told: None,
            leader: None,
        });
        true
    }

    /// Hands over no more records of `partitions`.
    pub(super) fn stop(&mut self, partitions: &[TopicPartition]) {
        let before = self.readings.len();
        self.readings.retain(|reading| !partitions.contains(&reading.partition));
        if self.readings.len() < before {
            self.tell_links();
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.readings.is_empty()
    }

    /// The partition's end by the last answer.
    pub(super) fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        self.readings.iter().find(|reading| reading.partition == *partition)?.high_watermark
    }

    /// Hands over at most `records_max` of the records that are there, waiting up to `wait` for the first. How many, ends
    /// included, and what librdkafka has to read.
    pub(super) fn poll(
        &mut self,
        consumer: &BaseConsumer<ConsumerEvents>,
        wait: Duration,
        records_max: usize,
        on_item: &mut dyn FnMut(Item<'_>),
    ) -> (usize, Vec<HandedBack>) {
        let mut back = self.find_leaders(consumer);
        let (mut taken, deadline) = (0, Instant::now() + wait);
        while taken < records_max {
            if self.cursor.is_some() {
                self.hand_over(records_max, &mut taken, on_item, &mut back);
                continue;
            }
            let wait = if taken > 0 { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            match self.news.recv_timeout(wait) {
                Ok(News::Answer(answer)) => {
                    self.failures = 0;
                    self.cursor = Some(Cursor::new(answer));
                }
                Ok(News::Ended { link, why }) => self.ended(link, why, &mut back),
                // There is always one that tells: ours.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        (taken, back)
    }

    /// Goes on with the answer that the cursor stands in.
    fn hand_over(
        &mut self,
        records_max: usize,
        taken: &mut usize,
        on_item: &mut dyn FnMut(Item<'_>),
        back: &mut Vec<HandedBack>,
    ) {
        let Some(mut cursor) = self.cursor.take() else { return };
        while let Some(part) = cursor.answer.parts.get(cursor.part) {
            let (token, error) = (part.token, part.error);
            let found = self.readings.iter().position(|reading| reading.token == token);
            // Of a reading that is no more, or was begun anew, nothing is handed over.
            if let Some(index) = found {
                let reading = &mut self.readings[index];
                reading.high_watermark = Some(part.high_watermark);
                let step = match error {
                    0 => cursor.step(
                        reading,
                        &mut self.unpacked,
                        self.settings.with_headers,
                        records_max,
                        taken,
                        on_item,
                    ),
                    _ => Step::Done,
                };
                match step {
                    Step::Full => {
                        self.cursor = Some(cursor);
                        return;
                    }
                    Step::Strange(Strange(what)) => {
                        let offset = self.readings[index].next;
                        back.push(self.hand_back(index, format!("{what} at offset {offset}")));
                    }
                    Step::Done if error == 0 => {}
                    Step::Done if is_of_leader(error) => self.look_again(index),
                    // Gone offsets, access, and what else there is.
                    Step::Done => back.push(self.hand_back(index, format!("the broker answers with error {error}"))),
                }
            }
            cursor.enter(cursor.part + 1);
        }
        if self.unpacked.len() > UNPACKED_BYTES_KEPT {
            self.unpacked = Vec::new();
        }
        let Answer { link, bytes, .. } = cursor.answer;
        if let Some(link) = self.links.values().find(|of| of.number == link) {
            link.give_back(bytes);
        }
    }

    /// Somebody else leads the partition now.
    fn look_again(&mut self, index: usize) {
        self.readings[index].leader = None;
        self.back_off();
        self.tell_links();
    }

    fn hand_back(&mut self, index: usize, why: String) -> HandedBack {
        let Reading { partition, next, .. } = self.readings.swap_remove(index);
        self.tell_links();
        HandedBack { partition, offset: next, why }
    }

    fn ended(&mut self, link: u64, why: Why, back: &mut Vec<HandedBack>) {
        let Some(broker) = self.links.iter().find(|(_, of)| of.number == link).map(|(broker, _)| *broker) else {
            return;
        };
        self.links.remove(&broker);
        match why {
            Why::Broken(detail) => {
                tracing::debug!(target: "amoskys_bus::kafka", broker, detail, "a connection for reading has ended");
                let of_it = self.readings.iter_mut().filter(|reading| reading.leader == Some(broker));
                of_it.for_each(|reading| reading.leader = None);
                self.back_off();
            }
            Why::Unfit(why) => {
                self.links.clear();
                let all = self.readings.drain(..);
                back.extend(all.map(|of| HandedBack { partition: of.partition, offset: of.next, why: why.clone() }));
                self.unfit = Some(why);
            }
        }
    }

    fn back_off(&mut self) {
        let wait = BACKOFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.ask_leaders_after = Instant::now() + wait;
    }

    /// Finds out who leads the partitions of which that is not known.
    fn find_leaders(&mut self, consumer: &BaseConsumer<ConsumerEvents>) -> Vec<HandedBack> {
        let mut back = Vec::new();
        let unknown = self.readings.iter().filter(|reading| reading.leader.is_none());
        let topics: BTreeSet<Arc<str>> = unknown.map(|reading| reading.topic.clone()).collect();
        if topics.is_empty() || Instant::now() < self.ask_leaders_after {
            return back;
        }
        for topic in topics {
            match consumer.fetch_metadata(Some(&topic), LEADERS_WITHIN) {
                Ok(metadata) => self.place(&topic, &metadata, &mut back),
                Err(error) => {
                    tracing::debug!(target: "amoskys_bus::kafka", %error, %topic, "who leads its partitions is not known");
                    self.back_off();
                }
            }
        }
        self.tell_links();
        back
    }

    /// Gives the partitions of `topic` that nobody is asked for to those who lead them.
    fn place(&mut self, topic: &str, metadata: &rdkafka::metadata::Metadata, back: &mut Vec<HandedBack>) {
        let Some(of_topic) = metadata.topics().iter().find(|of| of.name() == topic) else { return self.back_off() };
        if let Some(error) = of_topic.error().map(Code::from)
            && error != Code::LeaderNotAvailable
        {
            while let Some(index) = self.readings.iter().position(|of| of.leader.is_none() && *of.topic == *topic) {
                back.push(self.hand_back(index, error.to_string()));
            }
            return;
        }
        for index in (0..self.readings.len()).rev() {
            let reading = &self.readings[index];
            if reading.leader.is_some() || *reading.topic != *topic {
                continue;
            }
            let leader = of_topic.partitions().iter().find(|of| of.id() == reading.partition.partition);
            let Some(leader) = leader.map(rdkafka::metadata::MetadataPartition::leader) else {
                let handed = self.hand_back(index, "the topic has no such partition".to_owned());
                back.push(handed);
                continue;
            };
            let broker = metadata.brokers().iter().find(|broker| broker.id() == leader);
            let place = broker.and_then(|broker| {
                Some(Place { host: broker.host().to_owned(), port: u16::try_from(broker.port()).ok()? })
            });
            match place.map(|place| self.link(leader, place)) {
                Some(Ok(())) => {
                    // What the last link may still tell of it is of another token.
                    let token = number(&mut self.numbers);
                    let reading = &mut self.readings[index];
                    (reading.token, reading.leader) = (token, Some(leader));
                }
                // No leader for the moment.
                None => self.back_off(),
                Some(Err(error)) => {
                    tracing::warn!(target: "amoskys_bus::kafka", %error, "no thread to read with");
                    self.back_off();
                }
            }
        }
    }

    /// Sees to it that there is a link to the broker at that place.
    fn link(&mut self, broker: i32, place: Place) -> std::io::Result<()> {
        match self.links.get(&broker) {
            Some(link) if link.place == place => return Ok(()),
            Some(_) => {
                // It listens elsewhere now; who is read over the old one is placed anew.
                self.links.remove(&broker);
                let of_it = self.readings.iter_mut().filter(|reading| reading.leader == Some(broker));
                of_it.for_each(|reading| reading.leader = None);
            }
            None => {}
        }
        let link = Link::open(number(&mut self.numbers), place, self.settings.clone(), self.tell.clone())?;
        self.links.insert(broker, link);
        Ok(())
    }

    /// Tells each link what to read; one that has nothing to read is closed.
    fn tell_links(&mut self) {
        let readings = &self.readings;
        self.links.retain(|broker, link| {
            let of_it = readings.iter().filter(|reading| reading.leader == Some(*broker));
            let wants: Vec<Want> = of_it
                .map(|of| Want {
                    token: of.token,
                    topic: of.topic.clone(),
                    partition: of.partition.partition,
                    from: of.next,
                })
                .collect();
            let is_used = !wants.is_empty();
            link.set(wants);
            is_used
        });
    }
}

/// A number that did not come before.
fn number(numbers: &mut u64) -> u64 {
    *numbers += 1;
    *numbers
}

/// Errors after which somebody else may be the one to ask: the partition moved, or the broker is not ready for it.
fn is_of_leader(error: i16) -> bool {
    // Unknown partition (of which the broker has not heard yet; what the cluster says of it is asked next), leader or replica not
    // available, not the leader, a disk's error, leader epochs, an offset that the new leader does not tell yet.
    matches!(error, 3 | 5 | 6 | 9 | 56 | 74 | 75 | 76 | 78)
}

impl Cursor {
    fn new(answer: Answer) -> Self {
        let mut cursor = Self { answer, part: 0, done: 0, transactions: Transactions::default(), open: None };
        cursor.enter(0);
        cursor
    }

    /// Stands at the beginning of that part, if there is one.
    fn enter(&mut self, part: usize) {
        let aborted = self.answer.parts.get_mut(part).map(|part| std::mem::take(&mut part.aborted));
        (self.part, self.done, self.open) = (part, 0, None);
        self.transactions = Transactions::new(aborted.unwrap_or_default());
    }

    /// Hands over what is left of the part that it stands in.
    fn step(
        &mut self,
        reading: &mut Reading,
        unpacked: &mut Vec<u8>,
        with_headers: bool,
        records_max: usize,
        taken: &mut usize,
        on_item: &mut dyn FnMut(Item<'_>),
    ) -> Step {
        let part = &self.answer.parts[self.part];
        let bytes = &self.answer.bytes[part.records.clone()];
        loop {
            if let Some(open) = &mut self.open {
                let batch = &bytes[self.done..self.done + open.bytes];
                let lying = if open.records.is_unpacked { &unpacked[..] } else { batch };
                while *taken < records_max {
                    let raw = match open.records.next(lying) {
                        Some(Ok(raw)) => raw,
                        Some(Err(strange)) => return Step::Strange(strange),
                        None => break,
                    };
                    let offset = open.records.offset(&raw);
                    // The batch may begin before what was asked for.
                    if offset < reading.next {
                        continue;
                    }
                    reading.next = offset + 1;
                    *taken += 1;
                    on_item(Item::Record(Record {
                        topic: &reading.partition.topic,
                        partition: reading.partition.partition,
                        offset,
                        log_time_ms: open.records.log_time_ms(&raw),
                        key: raw.key,
                        payload: raw.payload,
                        headers: if with_headers { raw.headers() } else { Vec::new() },
                    }));
                }
                if open.records.left > 0 {
                    return Step::Full;
                }
                reading.next = reading.next.max(open.past_offset);
                self.done += open.bytes;
                self.open = None;
            }
            let Some(batch) = Batch::first(&bytes[self.done..]) else { break };
            match batch::open(&batch, &mut self.transactions, unpacked) {
                Err(strange) => return Step::Strange(strange),
                Ok(Some(records)) => {
                    let past_offset = batch.past_offset().unwrap_or(reading.next);
                    self.open = Some(Open { records, bytes: batch.bytes(), past_offset });
                }
                Ok(None) => {
                    reading.next = batch.past_offset().map_or(reading.next, |past| past.max(reading.next));
                    self.done += batch.bytes();
                }
            }
        }
        if reading.next >= part.end && reading.end_told != Some(reading.next) {
            reading.end_told = Some(reading.next);
            *taken += 1;
            on_item(Item::End(reading.partition.clone(), reading.next));
        }
        Step::Done
    }
}
