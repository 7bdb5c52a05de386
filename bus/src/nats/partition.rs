//! The task that fetches one partition ahead, through a consumer of its own that acknowledges nothing.
//!
//! One request at a time is open, for a window of bytes; the next is made when most of what came has been taken. A gap
//! in what the consumer delivers, a new connection or silence end the consumer; another one goes on after the last
//! record. Limits: a record larger than a window is fetched alone.

use super::{
    Shared,
    config::SUBSCRIPTION_MESSAGES_MAX,
    errors::Refused,
    fetch::{Prefetch, Waiting},
    link::is_no_responders,
    stream::ANSWER_WITHIN,
    topics::{self, Topic},
    wire::Delivered,
};
use crate::{BusError, TopicPartition};
use async_nats::{Message, StatusCode, Subscriber};
use futures::{FutureExt, StreamExt};
use serde::Deserialize;
use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

/// How long a request for records stays open on the server when there are none.
const REQUEST_FOR: Duration = Duration::from_secs(20);
/// While it is open and nothing comes, the server says that it lives.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// A consumer that nobody asks goes away by itself.
const CONSUMER_FOR: Duration = Duration::from_secs(40);
const REQUEST_RECORDS_MAX: usize = SUBSCRIPTION_MESSAGES_MAX / 2;
/// What is handed over at once.
const CHUNK_RECORDS_MAX: usize = 1_024;
const CHUNK_BYTES_MAX: usize = 1 << 20;
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What comes out of a task.
pub(super) struct Fetched {
    pub of: TopicPartition,
    pub generation: u64,
    pub item: Item,
}

pub(super) enum Item {
    /// `end` is the offset after the last of them when that is the partition's last.
    Records {
        records: VecDeque<Delivered>,
        end: Option<i64>,
    },
    Failed(BusError),
}

pub(super) struct Partition {
    pub core: Shared,
    pub of: TopicPartition,
    pub generation: u64,
    /// The next offset to fetch.
    pub next: i64,
    pub prefetch: Arc<Prefetch>,
    pub waiting: Arc<Waiting>,
    pub known_end: Arc<AtomicI64>,
    pub queue: mpsc::Sender<Fetched>,
}

#[derive(Deserialize)]
struct ConsumerInfo {
    name: String,
    #[serde(default)]
    num_pending: u64,
}

/// A consumer on the server, and what it delivers.
struct Consumer {
    request_subject: String,
    inbox: String,
    messages: Subscriber,
    epochs: watch::Receiver<u64>,
    /// What it delivered last, by its own count.
    delivered: u64,
}

/// Why a consumer came to its end.
enum Broken {
    /// Make another one.
    Again,
    Failed(BusError),
}

/// What ended a request.
#[derive(PartialEq)]
enum Ended {
    Done,
    /// The next record does not fit.
    TooSmall,
}

impl Partition {
    pub(super) async fn run(mut self) {
        loop {
            let broken = self.read().await;
            if let Broken::Failed(error) = broken {
                let retryable = error.retryable();
                if retryable {
                    tracing::debug!(target: "amoskys_bus::nats", %error, "reading goes on when the server does");
                } else {
                    self.hand_over(Item::Failed(error)).await;
                    return;
                }
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn read(&mut self) -> Broken {
        let mut consumer = match self.open().await {
            Ok(consumer) => consumer,
            Err(error) => return Broken::Failed(error),
        };
        let mut alone = false;
        loop {
            let window_bytes = self.prefetch.window_bytes_max();
            self.waiting.at_most(window_bytes).await;
            let ask = if alone {
                serde_json::json!({ "batch": 1, "expires": nanos(REQUEST_FOR), "idle_heartbeat": nanos(HEARTBEAT_EVERY) })
            } else {
                serde_json::json!({
                    "batch": REQUEST_RECORDS_MAX, "max_bytes": window_bytes,
                    "expires": nanos(REQUEST_FOR), "idle_heartbeat": nanos(HEARTBEAT_EVERY),
                })
            };
            let subject = consumer.request_subject.clone();
            let sent =
                self.core.link.client.publish_with_reply(subject, consumer.inbox.clone(), ask.to_string().into());
            if sent.await.is_err() {
                return Broken::Again;
            }
            let records_max = if alone { 1 } else { REQUEST_RECORDS_MAX };
            match self.receive(&mut consumer, records_max).await {
                Ok(ended) => alone = ended == Ended::TooSmall,
                Err(broken) => return broken,
            }
        }
    }

    /// Makes a consumer that begins at `next`; tells the end when there is nothing to read.
    async fn open(&mut self) -> Result<Consumer, BusError> {
        let link = &self.core.link;
        let topic = self.core.topics.get(link, &self.of.topic, ANSWER_WITHIN).await?;
        link.ready(ANSWER_WITHIN).await?;
        let epochs = link.epochs();
        let inbox = link.client.new_inbox();
        let messages = link.client.subscribe(inbox.clone()).await.map_err(|error| BusError::Failed {
            action: "subscribing to records",
            detail: error.to_string(),
            retryable: true,
        })?;
        let info = self.create_consumer(&topic).await.map_err(|refused| {
            self.core.topics.forget(&self.of.topic);
            link.during("reading from NATS", &self.of.topic).refused(refused)
        })?;
        if info.num_pending == 0 {
            let (_, end) = topics::bounds(link, &topic, &self.of).await?;
            let end = end.max(self.next);
            self.known_end.store(end, Ordering::Relaxed);
            self.hand_over(Item::Records { records: VecDeque::new(), end: Some(end) }).await;
        }
        let request_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", topic.stream, info.name);
        Ok(Consumer { request_subject, inbox, messages, epochs, delivered: 0 })
    }

    async fn create_consumer(&self, topic: &Topic) -> Result<ConsumerInfo, Refused> {
        let name = format!("amoskys-{:016x}", RandomState::new().hash_one(self.generation));
        let subject = topic.records_of(self.of.partition);
        let config = serde_json::json!({
            "stream_name": topic.stream,
            "config": {
                "name": name, "filter_subject": subject, "ack_policy": "none", "replay_policy": "instant",
                "deliver_policy": "by_start_sequence", "opt_start_seq": self.next + 1,
                "inactive_threshold": nanos(CONSUMER_FOR), "mem_storage": true, "num_replicas": 1,
            },
        });
        let what = format!("CONSUMER.CREATE.{}.{name}.{subject}", topic.stream);
        self.core.link.ask(&what, &config, ANSWER_WITHIN).await
    }

    /// Takes what one request brings.
    async fn receive(&mut self, consumer: &mut Consumer, records_max: usize) -> Result<Ended, Broken> {
        let mut received = 0;
        loop {
            let first = consumer.next().await?;
            let mut more = || consumer.messages.next().now_or_never().flatten();
            let place = Place { next: &mut self.next, delivered: &mut consumer.delivered };
            let chunk = gather(place, first, &mut more, records_max - received);
            received += chunk.records.len();
            if let Some(last) = chunk.records.back() {
                let (pending, end) = (last.pending as i64, last.offset + 1);
                self.known_end.store(end + pending, Ordering::Relaxed);
                self.waiting.add(chunk.bytes);
                self.hand_over(Item::Records { records: chunk.records, end: (pending == 0).then_some(end) }).await;
            }
            match chunk.ended.transpose()? {
                Some(Ended::TooSmall) if received > 0 => return Ok(Ended::Done),
                Some(how) => return Ok(how),
                None if received >= records_max => return Ok(Ended::Done),
                None => {}
            }
        }
    }

    async fn hand_over(&self, item: Item) {
        let fetched = Fetched { of: self.of.clone(), generation: self.generation, item };
        // Fails when the handle is gone, and this task with it.
        let _ = self.queue.send(fetched).await;
    }
}

/// How far a partition and its consumer have come.
struct Place<'a> {
    /// The next offset to fetch.
    next: &'a mut i64,
    /// By the consumer's own count.
    delivered: &'a mut u64,
}

/// Records that are handed over at once.
struct Chunk {
    records: VecDeque<Delivered>,
    bytes: usize,
    /// What came after them and ends the request or the consumer.
    ended: Option<Result<Ended, Broken>>,
}

/// Takes `first` and what is there after it. Records are past once they are in the chunk, so it has to be handed over
/// whatever came after them.
fn gather(mut at: Place<'_>, first: Message, more: &mut dyn FnMut() -> Option<Message>, records_max: usize) -> Chunk {
    let mut chunk = Chunk { records: VecDeque::new(), bytes: 0, ended: None };
    let mut message = Some(first);
    while let Some(next) = message.take() {
        match at.sort(next) {
            Ok(Sorted::Record(record)) => {
                chunk.bytes += record.bytes();
                chunk.records.push_back(record);
            }
            Ok(Sorted::Ended(how)) => chunk.ended = Some(Ok(how)),
            Ok(Sorted::Nothing) => {}
            Err(broken) => chunk.ended = Some(Err(broken)),
        }
        let records = chunk.records.len();
        let full = records >= CHUNK_RECORDS_MAX.min(records_max) || chunk.bytes >= CHUNK_BYTES_MAX;
        if !full && chunk.ended.is_none() {
            message = more();
        }
    }
    chunk
}

impl Place<'_> {
    fn sort(&mut self, message: Message) -> Result<Sorted, Broken> {
        if let Some(status) = message.status {
            return sort_status(status, message.description.as_deref().unwrap_or_default());
        }
        let Some(record) = Delivered::of(message) else { return Ok(Sorted::Nothing) };
        if record.consumer_sequence != *self.delivered + 1 {
            return Err(Broken::Again);
        }
        *self.delivered = record.consumer_sequence;
        // A start beyond the end becomes the end.
        if record.offset < *self.next {
            return Ok(Sorted::Nothing);
        }
        *self.next = record.offset + 1;
        Ok(Sorted::Record(record))
    }
}

enum Sorted {
    Record(Delivered),
    Ended(Ended),
    Nothing,
}

fn sort_status(status: StatusCode, description: &str) -> Result<Sorted, Broken> {
    match status.as_u16() {
        100 => Ok(Sorted::Nothing),
        404 | 408 => Ok(Sorted::Ended(Ended::Done)),
        409 if description.contains("Exceeds MaxBytes") => Ok(Sorted::Ended(Ended::TooSmall)),
        409 if description.contains("Batch Completed") => Ok(Sorted::Ended(Ended::Done)),
        _ if is_no_responders(Some(status)) => Err(Broken::Again),
        _ => {
            tracing::debug!(target: "amoskys_bus::nats", %status, description, "a consumer ends");
            Err(Broken::Again)
        }
    }
}

impl Consumer {
    async fn next(&mut self) -> Result<Message, Broken> {
        tokio::select! {
            biased;
            message = timeout(HEARTBEAT_EVERY * 3, self.messages.next()) => match message {
                Ok(Some(message)) => Ok(message),
                _ => Err(Broken::Again),
            },
            // What was asked for on the old connection does not come any more.
            _ = self.epochs.changed() => Err(Broken::Again),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(reply: Option<String>, status: Option<u16>) -> Message {
        Message {
            subject: "t.0".into(),
            reply: reply.map(Into::into),
            payload: "x".into(),
            headers: None,
            status: status.map(|status| StatusCode::from_u16(status).expect("a status")),
            description: status.map(|_| "Server Shutdown".into()),
            length: 0,
        }
    }

    fn record(offset: u64, count: u64) -> Message {
        message(Some(format!("$JS.ACK.s.c.1.{}.{count}.1600000000000000000.9", offset + 1)), None)
    }

    /// Gathers everything, from offset 5 on.
    fn gathered(messages: Vec<Message>) -> (Vec<i64>, i64, bool) {
        let (mut next, mut delivered, mut messages) = (5, 0, messages.into_iter());
        let place = Place { next: &mut next, delivered: &mut delivered };
        let first = messages.next().expect("a message");
        let chunk = gather(place, first, &mut || messages.next(), 100);
        let broken = matches!(chunk.ended, Some(Err(Broken::Again)));
        (chunk.records.iter().map(|record| record.offset).collect(), next, broken)
    }

    #[test]
    fn what_came_before_a_consumers_end_is_handed_over() {
        let shutdown = || message(None, Some(409));
        assert_eq!(gathered(vec![record(5, 1), record(8, 2), shutdown()]), (vec![5, 8], 9, true));
        assert_eq!(gathered(vec![shutdown()]), (vec![], 5, true));
    }

    #[test]
    fn a_gap_ends_the_consumer_and_what_is_after_it_is_fetched_again() {
        assert_eq!(gathered(vec![record(5, 1), record(9, 3)]), (vec![5], 6, true));
    }
}
