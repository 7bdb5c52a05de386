//! Looks at processors over HTTP while they run: who owns which partition, and how far it is read.

use crate::{
    PARTITIONS,
    common::processor::Processor,
    load::{Sent, lock},
    outputs::Arrival,
    statistics::Sorted,
};
use rustix::process::Signal;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_millis(50);
/// A partition that is behind by no more than this is read as it comes.
const BEHIND_MAX: Duration = Duration::from_millis(600);
/// Looked at beyond the end of a change: it may be heard of later.
const AFTER: Duration = Duration::from_secs(1);

pub struct Look {
    running: Vec<Processor>,
    sent: Arc<Mutex<Sent>>,
    /// How far each partition was known to be read.
    next: [usize; PARTITIONS],
    /// Process ids, when the last change was over.
    owners: BTreeMap<usize, u32>,
}

/// One moment.
struct Moment {
    /// Owner's process id and whether it replays, of each partition that has one owner.
    owners: BTreeMap<usize, (u32, bool)>,
    lag_records: f64,
    /// Of the partition that is furthest behind: the age of its oldest record that is not read.
    behind: Duration,
}

/// A time in which nothing is changed.
pub struct Phase {
    pub name: &'static str,
    from: Instant,
    to: Instant,
    pub lag_records: Sorted,
    pub lag_seconds: Sorted,
}

/// A processor came or went.
pub struct Changed {
    pub name: &'static str,
    from: Instant,
    pub took: Duration,
    pub moved: BTreeSet<usize>,
    pub lag_records_max: f64,
}

impl Look {
    pub fn new(sent: Arc<Mutex<Sent>>) -> Self {
        Self { running: Vec::new(), sent, next: [0; PARTITIONS], owners: BTreeMap::new() }
    }

    pub fn add(&mut self, processor: Processor) {
        self.running.push(processor);
    }

    /// Ends one of them; it is looked at no more.
    pub fn end(&mut self, index: usize, signal: Signal) {
        let mut ending = self.running.remove(index);
        ending.signal(signal);
        // Waited for beside, because what is measured goes on.
        thread::spawn(move || assert!(ending.exit_code().is_none_or(|code| code == 0), "it ends in good order"));
    }

    pub fn steady(&mut self, name: &'static str, time: Duration) -> Phase {
        let from = Instant::now();
        let (mut records, mut seconds) = (Vec::new(), Vec::new());
        while from.elapsed() < time {
            let moment = self.moment();
            records.push(moment.lag_records);
            seconds.push(moment.behind.as_secs_f64());
            thread::sleep(EVERY);
        }
        let (lag_records, lag_seconds) = (Sorted::of(records), Sorted::of(seconds));
        Phase { name, from, to: Instant::now(), lag_records, lag_seconds }
    }

    /// Until every partition is owned by one of those that are there, each of which has some, and read as it comes.
    pub fn change(&mut self, name: &'static str, from: Instant, patience: Duration) -> Changed {
        let mut lag_records_max = 0.0f64;
        loop {
            let moment = self.moment();
            lag_records_max = lag_records_max.max(moment.lag_records);
            let owners: BTreeSet<u32> = moment.owners.values().map(|(id, _)| *id).collect();
            let is_done = moment.owners.len() == PARTITIONS
                && owners.len() == self.running.len()
                && moment.owners.values().all(|(_, replays)| !replays)
                && moment.behind <= BEHIND_MAX;
            if is_done {
                let took = from.elapsed();
                let now: BTreeMap<usize, u32> =
                    moment.owners.iter().map(|(partition, (id, _))| (*partition, *id)).collect();
                let moved = now.iter().filter(|(partition, id)| self.owners.get(partition) != Some(id));
                let moved = moved.map(|(partition, _)| *partition).collect();
                self.owners = now;
                thread::sleep(AFTER);
                return Changed { name, from, took, moved, lag_records_max };
            }
            assert!(from.elapsed() < patience, "{name}: not over after {patience:?}");
            thread::sleep(EVERY);
        }
    }

    fn moment(&mut self) -> Moment {
        let mut owners: BTreeMap<usize, Vec<(u32, bool)>> = BTreeMap::new();
        for processor in &self.running {
            let state = processor.state().unwrap_or_default();
            for of in state["partitions"].as_array().into_iter().flatten() {
                let number = |name: &str| of[name].as_u64().unwrap_or_default() as usize;
                let partition = number("partition");
                self.next[partition] = self.next[partition].max(number("next_offset"));
                owners.entry(partition).or_default().push((processor.id(), of["replaying"] == true));
            }
        }
        let (now, sent) = (Instant::now(), lock(&self.sent));
        let unread =
            || sent.records.iter().zip(self.next).map(|(records, next)| records.get(next..).unwrap_or_default());
        let behind = unread().filter_map(|records| Some(now.saturating_duration_since(*records.first()?)));
        Moment {
            lag_records: unread().map(<[Instant]>::len).sum::<usize>() as f64,
            behind: behind.max().unwrap_or_default(),
            owners: owners
                .into_iter()
                .filter_map(|(partition, of)| Some((partition, *of.first().filter(|_| of.len() == 1)?)))
                .collect(),
        }
    }
}

impl Phase {
    /// Of each record that was sent in this time.
    pub fn sent_to_visible_ms(&self, arrivals: &[Arrival], sent: &Sent) -> Vec<f64> {
        let of = |arrival: &Arrival| {
            let sent_at = sent.records[arrival.partition][arrival.number];
            let is_of_it = (self.from..self.to).contains(&sent_at);
            is_of_it.then(|| arrival.at.saturating_duration_since(sent_at).as_secs_f64() * 1e3)
        };
        arrivals.iter().filter_map(of).collect()
    }
}

impl Changed {
    /// The longest time without an output of each partition, in seconds: of those that moved, and of those that stayed.
    pub fn silences(&self, arrivals: &[Arrival]) -> (Sorted, Sorted) {
        let until = self.from + self.took + AFTER;
        let longest = |partition: usize| {
            let mut at: Vec<Instant> = arrivals.iter().filter(|of| of.partition == partition).map(|of| of.at).collect();
            at.sort_unstable();
            let pairs = at.windows(2).filter(|pair| pair[1] > self.from && pair[0] < until);
            pairs.map(|pair| (pair[1] - pair[0].max(self.from)).as_secs_f64()).fold(0.0, f64::max)
        };
        let (moved, stayed): (Vec<usize>, Vec<usize>) = (0..PARTITIONS).partition(|of| self.moved.contains(of));
        (Sorted::of(moved.into_iter().map(longest)), Sorted::of(stayed.into_iter().map(longest)))
    }
}
