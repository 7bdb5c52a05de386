//! Gathers encoded events into the payload of one envelope, by count, bytes and age.
//!
//! Pure: time is an argument (any monotonic nanoseconds), nothing is sent. The payload is the wire form of a batch
//! message whose events are `repeated` field 1, written as they come, so no event is held as a struct.
//! Limits: a batch never exceeds `events_max` events or `payload_bytes_max` bytes.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// Bounds of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    pub events_max: usize,
    pub payload_bytes_max: usize,
    pub age_max_ns: u64,
}

/// Events that go into one envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Wire bytes of the batch message.
    pub payload: Vec<u8>,
    pub events: u32,
    /// Least and greatest event time, microseconds since 1970.
    pub first_event_time_us: i64,
    pub last_event_time_us: i64,
}

/// What became of a pushed event.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the open batch.
    Kept,
    /// It is in the open batch; this one was full before it or is full with it.
    Closed(Batch),
    /// It would not fit into an empty batch; it is gone.
    Oversize,
}

/// The open batch.
#[derive(Debug)]
pub struct Batcher {
    limits: BatchLimits,
    open: Batch,
    opened_at_ns: u64,
    /// Of a batch before, empty: new memory for each costs more than what is put into it.
    spare: Vec<u8>,
}

/// Of a payload's memory that is kept for the next: usual batches fit, the largest do not.
const SPARE_BYTES_MAX: usize = 256 << 10;

impl Batcher {
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, open: Batch::default(), opened_at_ns: 0, spare: Vec::new() }
    }

    /// Adds one encoded event that happened at `event_time_us`.
    pub fn push(&mut self, event: &[u8], event_time_us: i64, now_ns: u64) -> Pushed {
        let bytes = 1 + encoded_len_varint(event.len() as u64) + event.len();
        if bytes > self.limits.payload_bytes_max {
            return Pushed::Oversize;
        }
        let before = if self.open.payload.len() + bytes > self.limits.payload_bytes_max { self.take() } else { None };
        self.append(event, event_time_us, now_ns);
        // At most one of the two: a batch that just restarted holds a single event, and is full only if one is enough;
        // then the batch before it was full with its first event too and could not have been open.
        let full = self.open.events as usize >= self.limits.events_max;
        match before.or_else(|| if full { self.take() } else { None }) {
            Some(batch) => Pushed::Closed(batch),
            None => Pushed::Kept,
        }
    }

    /// When the open batch becomes too old; `None` while it is empty.
    pub fn due_ns(&self) -> Option<u64> {
        (self.open.events > 0).then(|| self.opened_at_ns.saturating_add(self.limits.age_max_ns))
    }

    /// The open batch, if it is too old.
    pub fn take_due(&mut self, now_ns: u64) -> Option<Batch> {
        if self.due_ns().is_some_and(|due| due <= now_ns) { self.take() } else { None }
    }

    /// The open batch, if there is anything in it.
    pub fn take(&mut self) -> Option<Batch> {
        (self.open.events > 0).then(|| std::mem::take(&mut self.open))
    }

    /// Gives back a batch that is done with, for its memory.
    pub fn recycle(&mut self, batch: Batch) {
        self.spare = batch.payload;
        self.spare.clear();
        self.spare.shrink_to(SPARE_BYTES_MAX);
    }

    fn append(&mut self, event: &[u8], event_time_us: i64, now_ns: u64) {
        if self.open.events == 0 {
            self.opened_at_ns = now_ns;
            self.open.first_event_time_us = event_time_us;
            self.open.last_event_time_us = event_time_us;
            self.open.payload = std::mem::take(&mut self.spare);
        }
        encode_key(1, WireType::LengthDelimited, &mut self.open.payload);
        encode_varint(event.len() as u64, &mut self.open.payload);
        self.open.payload.extend_from_slice(event);
        self.open.events += 1;
        self.open.first_event_time_us = self.open.first_event_time_us.min(event_time_us);
        self.open.last_event_time_us = self.open.last_event_time_us.max(event_time_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: BatchLimits = BatchLimits { events_max: 3, payload_bytes_max: 20, age_max_ns: 100 };

    #[test]
    fn closes_by_count_bytes_and_age() {
        let mut batcher = Batcher::new(LIMITS);
        assert_eq!(batcher.push(b"a", 5, 0), Pushed::Kept);
        assert_eq!(batcher.push(b"b", 3, 1), Pushed::Kept);
        let Pushed::Closed(batch) = batcher.push(b"c", 9, 2) else { panic!("three events close a batch of three") };
        assert_eq!((batch.events, batch.first_event_time_us, batch.last_event_time_us), (3, 3, 9));
        assert_eq!(batch.payload, b"\x0a\x01a\x0a\x01b\x0a\x01c");

        assert_eq!(batcher.push(&[7; 12], 1, 10), Pushed::Kept);
        let Pushed::Closed(batch) = batcher.push(&[8; 12], 2, 11) else { panic!("28 bytes do not fit into 20") };
        assert_eq!(batch.events, 1);

        assert_eq!(batcher.due_ns(), Some(111));
        assert_eq!(batcher.take_due(110), None);
        assert_eq!(batcher.take_due(111).map(|batch| batch.events), Some(1));
        assert_eq!(batcher.due_ns(), None);
    }

    #[test]
    fn an_event_that_can_never_fit_is_refused_and_the_open_batch_stays() {
        let mut batcher = Batcher::new(LIMITS);
        assert_eq!(batcher.push(b"a", 1, 0), Pushed::Kept);
        assert_eq!(batcher.push(&[0; 19], 1, 0), Pushed::Oversize);
        assert_eq!(batcher.take().map(|batch| batch.events), Some(1));
    }

    proptest! {
        #[test]
        fn every_event_is_in_exactly_one_batch_in_order_and_within_bounds(
            sizes in prop::collection::vec(0usize..40, 0..60),
            events_max in 1usize..6,
            payload_bytes_max in 1usize..60,
        ) {
            let limits = BatchLimits { events_max, payload_bytes_max, age_max_ns: 7 };
            let mut batcher = Batcher::new(limits);
            let (mut batches, mut expected) = (Vec::new(), Vec::new());
            for (n, size) in sizes.iter().enumerate() {
                let event = vec![n as u8; *size];
                match batcher.push(&event, n as i64, n as u64) {
                    Pushed::Oversize => { prop_assert!(size + 2 > payload_bytes_max); continue }
                    Pushed::Closed(batch) => {
                        batcher.recycle(batch.clone());
                        batches.push(batch);
                    }
                    Pushed::Kept => {}
                }
                expected.extend([vec![0x0a, *size as u8], event].concat());
                batches.extend(batcher.take_due(n as u64));
            }
            batches.extend(batcher.take());
            prop_assert!(batches.iter().all(|b| b.events > 0 && b.events as usize <= events_max));
            prop_assert!(batches.iter().all(|b| b.payload.len() <= payload_bytes_max));
            prop_assert!(batches.iter().all(|b| b.first_event_time_us <= b.last_event_time_us));
            prop_assert_eq!(batches.iter().flat_map(|b| b.payload.clone()).collect::<Vec<u8>>(), expected);
        }
    }
}
