//! Publishing with acknowledgements: in order, again after a lost connection, until a deadline.
//!
//! Messages without an answer are sent again, all of them in their order, when there is a new connection, when the
//! server says "not now", or when nothing came for `ACK_WITHIN`. So a message may be sent twice: it carries a
//! `Nats-Msg-Id`, or is a compare-and-set, or may be there twice.
//! Limits: at most `UNDER_WAY_RECORDS_MAX` and `UNDER_WAY_BYTES_MAX` should be under way ([`Outbox::has_room`]).
//! [`Outbox::event`] may be cancelled, and so may [`Outbox::send_all`], after which nothing is under way.

use super::{
    errors::Refused,
    link::{self, Link},
    wire::Wire,
};
use crate::BusError;
use async_nats::{Message, Subscriber};
use futures::StreamExt;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};

const UNDER_WAY_RECORDS_MAX: usize = 1_024;
const UNDER_WAY_BYTES_MAX: usize = 32 << 20;
/// Without any answer for this long, messages are sent again.
const ACK_WITHIN: Duration = Duration::from_secs(5);
/// After the server said "not now".
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Where the server put a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Ack {
    #[serde(rename = "seq")]
    pub sequence: u64,
}

/// What became of the message sent under `id`.
#[derive(Debug)]
pub(super) struct Outcome {
    pub id: u64,
    pub result: Result<Ack, Refused>,
}

/// Something to be given to [`Outbox::handle`].
pub(super) enum Event {
    Answer(Box<Message>),
    Connected,
    Tick,
}

struct Sent {
    wire: Wire,
    began: Instant,
    deadline: Instant,
}

pub(super) struct Outbox {
    link: Arc<Link>,
    inbox: Subscriber,
    prefix: String,
    epochs: watch::Receiver<u64>,
    pending: BTreeMap<u64, Sent>,
    pending_bytes: usize,
    next_id: u64,
    /// When everything under way is sent again, unless an answer comes.
    again_at: Instant,
}

impl Outbox {
    pub(super) async fn open(link: Arc<Link>) -> Result<Self, BusError> {
        let prefix = link.client.new_inbox();
        let subscribed = link.client.subscribe(format!("{prefix}.*")).await;
        let inbox = subscribed.map_err(|error| BusError::Failed {
            action: "subscribing to acknowledgements",
            detail: error.to_string(),
            retryable: true,
        })?;
        let epochs = link.epochs();
        let again_at = Instant::now();
        Ok(Self { link, inbox, prefix, epochs, pending: BTreeMap::new(), pending_bytes: 0, next_id: 0, again_at })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < UNDER_WAY_RECORDS_MAX && self.pending_bytes < UNDER_WAY_BYTES_MAX
    }

    /// Forgets what is under way; it may still arrive.
    fn clear(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
    }

    /// Sends, or keeps for when there is a connection. The outcome comes by [`Outbox::handle`] under the id returned.
    pub(super) async fn send(&mut self, wire: Wire, deadline: Instant) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if self.pending.is_empty() {
            self.again_at = Instant::now() + ACK_WITHIN;
        }
        if self.link.is_connected() {
            self.put_on_the_wire(id, wire.clone()).await;
        }
        self.pending_bytes += wire.payload.len();
        self.pending.insert(id, Sent { wire, began: Instant::now(), deadline });
        id
    }

    /// All of them; what became of each, in their order.
    pub(super) async fn send_all(&mut self, wires: Vec<Wire>, deadline: Instant) -> Vec<Result<Ack, Refused>> {
        self.clear();
        let count = wires.len();
        let mut wires = wires.into_iter();
        let mut outcomes = BTreeMap::new();
        while outcomes.len() < count {
            while self.has_room()
                && let Some(wire) = wires.next()
            {
                self.send(wire, deadline).await;
            }
            let event = self.event().await;
            outcomes.extend(self.handle(event).await.into_iter().map(|outcome| (outcome.id, outcome.result)));
        }
        // Ids grow in the order of sending.
        outcomes.into_values().collect()
    }

    pub(super) async fn send_one(&mut self, wire: Wire, deadline: Instant) -> Result<Ack, Refused> {
        let lost = || Err(Refused::NoAnswer("no outcome".to_owned()));
        self.send_all(vec![wire], deadline).await.pop().unwrap_or_else(lost)
    }

    /// Waits for something to happen to what is under way.
    pub(super) async fn event(&mut self) -> Event {
        let first_deadline = self.pending.values().map(|sent| sent.deadline).min();
        let tick = first_deadline.unwrap_or(self.again_at).min(self.again_at);
        tokio::select! {
            biased;
            Some(message) = self.inbox.next() => Event::Answer(Box::new(message)),
            Ok(()) = self.epochs.changed() => Event::Connected,
            () = sleep_until(tick.into()) => Event::Tick,
        }
    }

    /// What follows from an event.
    pub(super) async fn handle(&mut self, event: Event) -> Vec<Outcome> {
        match event {
            Event::Answer(message) => self.answered(&message).into_iter().collect(),
            // First what is late: after a long stop its message id may be forgotten, so it must not be sent again.
            Event::Connected => {
                let late = self.take_late();
                self.send_again().await;
                late
            }
            Event::Tick => {
                let late = self.take_late();
                if Instant::now() >= self.again_at {
                    self.send_again().await;
                }
                late
            }
        }
    }

    fn answered(&mut self, message: &Message) -> Option<Outcome> {
        let id = message.subject.rsplit_once('.')?.1.parse().ok()?;
        // An answer to something sent twice, or given up.
        self.pending.get(&id)?;
        let result = if link::is_no_responders(message.status) {
            Err(Refused::NoAnswer(link::NOBODY.to_owned()))
        } else {
            link::parse::<Ack>(&message.payload)
        };
        self.again_at = Instant::now() + ACK_WITHIN;
        if result.as_ref().is_err_and(Refused::is_for_now) {
            self.again_at = Instant::now() + AGAIN_AFTER;
            return None;
        }
        Some(self.done(id, result))
    }

    fn done(&mut self, id: u64, result: Result<Ack, Refused>) -> Outcome {
        if let Some(sent) = self.pending.remove(&id) {
            self.pending_bytes -= sent.wire.payload.len();
        }
        Outcome { id, result }
    }

    fn take_late(&mut self) -> Vec<Outcome> {
        let now = Instant::now();
        let late = self.pending.iter().filter(|(_, sent)| sent.deadline <= now);
        let late: Vec<(u64, Instant)> = late.map(|(id, sent)| (*id, sent.began)).collect();
        late.into_iter()
            .map(|(id, began)| {
                let refused = match (self.link.is_connected(), self.link.silence(began)) {
                    (false, Refused::NoAnswer(_)) => self.link.away(),
                    (_, silence) => silence,
                };
                self.done(id, Err(refused))
            })
            .collect()
    }

    async fn send_again(&mut self) {
        self.again_at = Instant::now() + ACK_WITHIN;
        let again: Vec<(u64, Wire)> = self.pending.iter().map(|(id, sent)| (*id, sent.wire.clone())).collect();
        for (id, wire) in again {
            self.put_on_the_wire(id, wire).await;
        }
    }

    async fn put_on_the_wire(&mut self, id: u64, wire: Wire) {
        let reply = format!("{}.{id}", self.prefix);
        let sent = self.link.client.publish_with_reply_and_headers(wire.subject, reply, wire.headers, wire.payload);
        // Waits while the connection is busy. What fails here is sent again or told by the deadline.
        match timeout(ACK_WITHIN, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(target: "amoskys_bus::nats", %error, "a message could not be sent"),
            Err(_) => tracing::debug!(target: "amoskys_bus::nats", "the connection takes no messages"),
        }
    }
}

/// What a message may take on this server: its limit is for headers and payload together.
pub(super) fn check_size(link: &Link, wire: &Wire) -> Result<(), Refused> {
    let headers: usize = wire
        .headers
        .iter()
        .map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(|value| name.len() + value.as_str().len() + 4).sum::<usize>()
        })
        .sum();
    let bytes_max = link.client.max_payload();
    if wire.payload.len() + headers + "NATS/1.0\r\n\r\n".len() > bytes_max {
        return Err(Refused::TooLarge { bytes_max });
    }
    Ok(())
}
