//! A steady load: every tenth of a second an envelope for each partition, with events of that moment; and what has to come
//! of it, counted while it is sent.

use crate::{
    PARTITIONS,
    common::telemetry::{iso, record},
};
use amoskys_bus::{Bus, DeliveryReport, Outgoing, Producer, SendError};
use amoskys_proto::v1::ProcessEvent;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const EVERY: Duration = Duration::from_millis(100);
const HOSTS: usize = 10;
const PROGRAMS: [&str; 5] = ["sh", "cc", "id", "ps", "cat"];
const SECOND_NS: i64 = 1_000_000_000;
const SIZE_S: i64 = 5;
/// So far ahead that it closes every window, and not so far that it is not believed.
const LAST_AHEAD_NS: i64 = 40 * SECOND_NS;

/// Host, program and window start (seconds since 1970).
pub type Window = (String, String, i64);
/// Events, and the sum of their lifetimes.
pub type Sums = (i64, i64);

/// What was sent so far.
#[derive(Debug, Default)]
pub struct Sent {
    /// When each record of each partition was acknowledged, in the order of offsets.
    pub records: Vec<Vec<Instant>>,
    /// Rows of windows that have to come out.
    pub counts: BTreeMap<Window, Sums>,
    pub events: u64,
}

pub struct Load {
    sent: Arc<Mutex<Sent>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

pub fn lock(sent: &Mutex<Sent>) -> MutexGuard<'_, Sent> {
    sent.lock().expect("nobody panics while holding it")
}

impl Load {
    pub fn start(bus: &dyn Bus, events_per_second: u64) -> Self {
        let sent = Arc::new(Mutex::new(Sent { records: vec![Vec::new(); PARTITIONS], ..Sent::default() }));
        let (stop, producer) = (Arc::<AtomicBool>::default(), bus.producer(&Default::default()).expect("a producer"));
        let events = (events_per_second as usize / 10 / PARTITIONS).max(1);
        let mut writer = Writer { producer, sent: sent.clone(), numbers: [0; PARTITIONS], events };
        let told = stop.clone();
        let thread = thread::spawn(move || {
            let begun = Instant::now();
            for tick in 1u32.. {
                writer.tick(now_ns(), true);
                if told.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep((EVERY * tick).saturating_sub(begun.elapsed()));
            }
            writer.tick(now_ns() + LAST_AHEAD_NS, false);
        });
        Self { sent, stop, thread }
    }

    pub fn sent(&self) -> Arc<Mutex<Sent>> {
        self.sent.clone()
    }

    /// Sends what closes all windows; what was sent in all.
    pub fn stop(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic");
        std::mem::take(&mut *lock(&self.sent))
    }
}

struct Writer {
    producer: Box<dyn Producer>,
    sent: Arc<Mutex<Sent>>,
    /// Of the next record of each partition: its offset.
    numbers: [usize; PARTITIONS],
    events: usize,
}

impl Writer {
    /// A record for each partition, acknowledged; `counts`: its windows will come out.
    fn tick(&mut self, at_ns: i64, counts: bool) {
        for partition in 0..PARTITIONS {
            let number = self.numbers[partition];
            self.numbers[partition] += 1;
            let host = host(partition, number);
            let events: Vec<ProcessEvent> = (0..self.events).map(|event| self.event(number, event, at_ns)).collect();
            if counts {
                count(&mut lock(&self.sent), &host, &events, at_ns);
            }
            // Sequences are the host's own.
            self.send(record(Some(partition as i32), &host, (number / HOSTS) as u64 + 1, events, None));
        }
        self.until_acknowledged();
    }

    fn send(&mut self, record: Outgoing) {
        match self.producer.send(record, 0) {
            Ok(()) => {}
            Err(SendError::QueueFull(_)) => panic!("a queue is full that is emptied ten times a second"),
            Err(SendError::Failed(error)) => panic!("a record was not taken: {error}"),
        }
    }

    fn until_acknowledged(&mut self) {
        let (mut reports, mut left) = (Vec::<DeliveryReport>::new(), PARTITIONS);
        while left > 0 {
            self.producer.poll(Duration::from_millis(100), &mut reports);
            let now = Instant::now();
            for report in reports.drain(..) {
                let (partition, offset) = report.result.expect("acknowledged");
                let mut sent = lock(&self.sent);
                assert_eq!(
                    sent.records[partition as usize].len() as i64,
                    offset,
                    "records are numbered by their offsets"
                );
                sent.records[partition as usize].push(now);
                sent.events += self.events as u64;
                left -= 1;
            }
        }
    }

    /// The first of a record is marked with the record's number.
    fn event(&self, number: usize, event: usize, at_ns: i64) -> ProcessEvent {
        ProcessEvent {
            observed_at: iso(at_ns / 1_000_000).parse().ok(),
            pid: number as u32,
            exit_code: if event == 0 { 7 } else { 0 },
            comm: PROGRAMS[(number / HOSTS + event) % PROGRAMS.len()].into(),
            lifetime_us: ((number * 31 + event * 17) % 100_000) as u64,
            ..Default::default()
        }
    }
}

/// One of the hosts of a partition.
fn host(partition: usize, number: usize) -> String {
    format!("h{partition}-{}", number % HOSTS)
}

/// By definition: each event in each of its windows of five seconds that slide by one.
fn count(sent: &mut Sent, host: &str, events: &[ProcessEvent], at_ns: i64) {
    let second = at_ns.div_euclid(SECOND_NS);
    for event in events {
        for start in second - SIZE_S + 1..=second {
            let window = sent.counts.entry((host.to_owned(), event.comm.clone(), start)).or_default();
            *window = (window.0 + 1, window.1 + event.lifetime_us as i64);
        }
    }
}

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_nanos() as i64
}
