//! What a reader with `read_committed` sees, when it sees it, and whether it is all that has to be there, once.

use crate::{
    PARTITIONS,
    load::{Sent, Sums, Window},
};
use amoskys_bus::{Bus, Reader, ReaderOptions, TopicPartition};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Longest from the end of the load to its last output.
const PATIENCE: Duration = Duration::from_secs(60);
/// What comes twice comes soon after.
const AFTER: Duration = Duration::from_secs(2);

/// An output of a record, seen.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Of the telemetry, not of the output.
    pub partition: usize,
    /// Of the record there.
    pub number: usize,
    pub at: Instant,
}

#[derive(Default)]
struct Seen {
    arrivals: Vec<Arrival>,
    counts: Vec<(Window, Sums)>,
}

pub struct Outputs {
    stop: Arc<AtomicBool>,
    /// Rows of windows, and rows without.
    read: Arc<[AtomicUsize; 2]>,
    thread: JoinHandle<Seen>,
}

impl Outputs {
    pub fn follow(bus: &dyn Bus) -> Self {
        let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
        for topic in ["counts", "marks"] {
            for partition in 0..PARTITIONS as i32 {
                reader.assign(&TopicPartition { topic: topic.into(), partition }, 0).expect("assigned");
            }
        }
        let (stop, read) = (Arc::<AtomicBool>::default(), Arc::<[AtomicUsize; 2]>::default());
        let (told, counted) = (stop.clone(), read.clone());
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            while !told.load(Ordering::Relaxed) {
                poll(reader.as_mut(), &mut seen);
                counted[0].store(seen.counts.len(), Ordering::Relaxed);
                counted[1].store(seen.arrivals.len(), Ordering::Relaxed);
            }
            seen
        });
        Self { stop, read, thread }
    }

    /// Waits for all of it, and for what should not be; when rows without a window came. Panics at a row that is missing,
    /// wrong, or there twice.
    pub fn until_complete(self, sent: &Sent) -> Vec<Arrival> {
        let records: usize = sent.records.iter().map(Vec::len).sum();
        let deadline = Instant::now() + PATIENCE;
        let is_there = |index: usize, wanted: usize| self.read[index].load(Ordering::Relaxed) >= wanted;
        while !(is_there(0, sent.counts.len()) && is_there(1, records)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(AFTER);
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().expect("the reader does not panic");
        compare("rows of windows", &seen.counts, &sent.counts);
        let marks: Vec<((usize, usize), ())> =
            seen.arrivals.iter().map(|seen| ((seen.partition, seen.number), ())).collect();
        let of = |(partition, records): (usize, &Vec<Instant>)| {
            (0..records.len()).map(move |number| ((partition, number), ()))
        };
        compare("rows without a window", &marks, &sent.records.iter().enumerate().flat_map(of).collect());
        seen.arrivals
    }
}

fn poll(reader: &mut dyn Reader, seen: &mut Seen) {
    let on_record = &mut |record: &amoskys_bus::Record<'_>| {
        let row: Value = serde_json::from_slice(record.payload).expect("JSON");
        let text = |name: &str| row[name].as_str().expect("a text").to_owned();
        let number = |name: &str| row[name].as_i64().expect("a number");
        let host = text("host");
        if record.topic == "marks" {
            let partition = host[1..].split('-').next().and_then(|text| text.parse().ok()).expect("of a partition");
            seen.arrivals.push(Arrival { partition, number: number("number") as usize, at: Instant::now() });
        } else {
            let start = string_to_timestamp_nanos(&text("start")).expect("a time") / 1_000_000_000;
            seen.counts.push(((host, text("program"), start), (number("n"), number("total"))));
        }
    };
    reader.poll(Duration::from_millis(5), 10_000, on_record).expect("reads");
}

/// Each expected row once, and no other.
fn compare<K, V>(what: &str, found: &[(K, V)], expected: &BTreeMap<K, V>)
where
    K: Ord + Clone + std::fmt::Debug,
    V: PartialEq + std::fmt::Debug,
{
    let mut times: BTreeMap<&K, usize> = BTreeMap::new();
    for (key, value) in found {
        *times.entry(key).or_default() += 1;
        assert_eq!(Some(value), expected.get(key), "{what}: {key:?} is not as it was sent");
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).take(9).collect();
    let missing: Vec<_> = expected.keys().filter(|key| !times.contains_key(key)).take(9).collect();
    assert!(twice.is_empty() && missing.is_empty(), "{what}: there twice: {twice:?}; missing: {missing:?}");
}
