//! The bounded queue between the sources and the pipeline, and the order to stop.
//!
//! Limits: `queue_events_max` events. When full, [`EventQueue::push`] waits: the queue never drops, except that an
//! event for which there is no room at the deadline of an order to stop is counted as lost by `shutdown`.

use crate::{clock::Moment, ledger::Loss, metrics::SharedNumbers, stream::Stream};
use prost::Message;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

/// How often a full queue is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// An order that all threads of an agent look at: stop, and be done by a deadline.
#[derive(Debug, Clone)]
pub struct StopOrder(Arc<AtomicU64>);

/// No order.
const NEVER: u64 = u64::MAX;

impl Default for StopOrder {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(NEVER)))
    }
}

impl StopOrder {
    /// The deadline is on the monotonic clock; a later order may only make it earlier.
    pub fn give(&self, deadline_ns: u64) {
        self.0.fetch_min(deadline_ns.min(NEVER - 1), Ordering::AcqRel);
    }

    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Acquire) != NEVER
    }

    /// Whether the deadline has passed.
    pub fn is_overdue(&self, now_ns: u64) -> bool {
        now_ns >= self.0.load(Ordering::Acquire)
    }
}

/// An event on its way, in its form on the wire.
#[derive(Debug)]
pub struct Queued {
    pub stream: Stream,
    /// Microseconds since 1970.
    pub event_time_us: i64,
    pub encoded: Vec<u8>,
}

impl Queued {
    pub fn of(stream: Stream, event_time_us: i64, event: &impl Message) -> Self {
        Self { stream, event_time_us, encoded: event.encode_to_vec() }
    }
}

/// A source's end.
#[derive(Debug, Clone)]
pub struct EventQueue {
    sender: SyncSender<Queued>,
    stop: StopOrder,
    numbers: SharedNumbers,
}

/// A queue of at most `events_max`.
pub fn event_queue(events_max: usize, stop: StopOrder, numbers: SharedNumbers) -> (EventQueue, Receiver<Queued>) {
    let (sender, receiver) = sync_channel(events_max);
    (EventQueue { sender, stop, numbers }, receiver)
}

impl EventQueue {
    /// Whether the source should end.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_given()
    }

    pub fn stop_order(&self) -> StopOrder {
        self.stop.clone()
    }

    /// Adds an event, waiting for room.
    pub fn push(&self, event: Queued) {
        let mut event = event;
        loop {
            match self.sender.try_send(event) {
                Ok(()) => return,
                Err(TrySendError::Full(back)) if !self.stop.is_overdue(Moment::now().monotonic_ns) => {
                    event = back;
                    std::thread::sleep(FULL_PAUSE);
                }
                // The deadline has passed, or the pipeline is gone.
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => {
                    return self.numbers.lock().ledger.drop_in_hand(back.stream, Loss::Shutdown, 1);
                }
            }
        }
    }
}
