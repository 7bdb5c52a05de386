//! A round against processors on a log that several may have open: they share the partitions, faults come, rows come on.
//! Then a processor that nobody disturbs does the same records, and both must have written the same.

use crate::{
    cluster::Cluster,
    common::{PATIENCE, create, create_panes, open, processor::Processor, produce, telemetry::TELEMETRY, until},
    deck::{Fault, SESSION_MS, SLOTS, Short, shuffled},
    load::{Load, PARTITIONS},
    outcome::{
        Outputs, dead_letters_of, differences, input, is_complete, outputs, reasons, sent, topics_of, write_sql,
    },
    settings::{Done, Keys},
    story::Story,
};
use amoskys_bus::Bus;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use std::{
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const DISTURBED: &str = "disturbed";
const CALM: &str = "calm";
/// A killed processor may leave a transaction open, and what is written behind that cannot be read until the broker ends
/// it: after the transaction's timeout and an interval of Kafka's own, 10 s.
const TRANSACTIONS_END_WITHIN: Duration = Duration::from_secs(30);

pub struct Round {
    cluster: Cluster,
    bus: Arc<dyn Bus>,
    load: Load,
    random: StdRng,
    slots: Vec<Slot>,
    sql: PathBuf,
    keys: Keys,
    starts: usize,
    done: Done,
    // Last, so that what happened is kept after all processes are ended.
    story: Story,
}

struct Slot {
    processor: Processor,
    name: Option<String>,
}

impl Round {
    /// Runs one round with so many kills; panics at a difference.
    pub fn run(kind: &str, cluster: Cluster, seed: u64, kills: usize, away: Duration) -> Done {
        let mut random = StdRng::seed_from_u64(seed);
        let faults = shuffled(&mut random, kills, away.as_millis() as u64);
        let mut round = Self::begin(kind, cluster, seed, random);
        for fault in faults {
            round.story.tell(format_args!("{fault:?}"));
            round.feed();
            round.perform(fault);
            round.none_has_ended();
        }
        round.finish()
    }

    fn begin(kind: &str, cluster: Cluster, seed: u64, random: StdRng) -> Self {
        let mut story = Story::begin(kind, seed);
        story.tell(format_args!("seed {seed}"));
        let bus = open(&cluster.address());
        create(bus.as_ref(), TELEMETRY, PARTITIONS);
        for run in [DISTURBED, CALM] {
            topics_of(run).iter().for_each(|(topic, partitions)| create(bus.as_ref(), topic, *partitions));
        }
        create_panes(bus.as_ref(), PARTITIONS);
        let (keys, signer) = Keys::make(story.path());
        let sql = write_sql(story.path(), DISTURBED);
        let load = Load::new(seed, signer);
        let (slots, done) = (Vec::new(), Done::default());
        let mut round = Self { cluster, bus, load, random, slots, sql, keys, starts: 0, done, story };
        round.feed();
        for slot in 0..SLOTS {
            let name = Some(format!("slot-{slot}"));
            let processor = round.start(slot, name.clone());
            round.slots.push(Slot { processor, name });
        }
        round
    }

    fn feed(&mut self) {
        let records = self.load.chunk();
        produce(self.bus.as_ref(), records);
    }

    /// One whose name is `None` has a random one. The first slot goes through the forwarder.
    fn start(&mut self, slot: usize, name: Option<String>) -> Processor {
        self.starts += 1;
        let address = if slot == 0 { self.cluster.proxied() } else { self.cluster.address() };
        let (log, path) = self.story.next_log();
        self.story.tell(format_args!("  start {} as {name:?} in slot {slot}", path.display()));
        let (workers, interval) = (self.random.random_range(1..=2), self.random.random_range(20..400));
        let keys = &self.keys;
        Processor::start(&self.sql, &address, DISTURBED, |command| {
            set(command, keys, DISTURBED, workers, interval);
            command.args(name.iter().flat_map(|name| ["--instance", name]));
            command.stderr(log);
        })
    }

    fn perform(&mut self, fault: Fault) {
        match fault {
            Fault::Kill { slot, after, named } => {
                rest(after);
                self.kill(slot);
                let name = named.then(|| format!("slot-{slot}"));
                self.replace(slot, name);
            }
            Fault::Pause { slot, time } => self.pause(slot, time),
            Fault::Zombie { slot, asleep, awake } => {
                self.pause(slot, SESSION_MS + asleep);
                rest(awake);
            }
            Fault::Double { slot, asleep, awake } => self.double(slot, asleep, awake),
            Fault::Storm { each } => self.storm(&each),
            Fault::Network { held, time } => {
                if held {
                    self.cluster.proxy.hold()
                } else {
                    self.cluster.proxy.cut()
                };
                rest(time / 2);
                self.feed();
                rest(time / 2);
                self.cluster.proxy.heal();
            }
            Fault::Away { time } => {
                self.cluster.freeze();
                rest(time);
                self.cluster.thaw();
            }
            Fault::Restart { by_kill, slot, asleep } => {
                self.pause(slot, asleep);
                self.feed();
                self.cluster.restart(by_kill);
            }
            Fault::Quiet { time } => rest(time),
        }
    }

    fn kill(&mut self, slot: usize) {
        self.slots[slot].processor.signal(Signal::KILL);
        self.done.kills += 1;
    }

    /// Another in the slot; the one that was there is ended if it was not.
    fn replace(&mut self, slot: usize, name: Option<String>) {
        let processor = self.start(slot, name.clone());
        self.slots[slot] = Slot { processor, name };
    }

    fn pause(&mut self, slot: usize, time: u64) {
        self.slots[slot].processor.signal(Signal::STOP);
        rest(time / 2);
        self.feed();
        rest(time / 2);
        self.slots[slot].processor.signal(Signal::CONT);
    }

    fn double(&mut self, slot: usize, asleep: u64, awake: u64) {
        let name = self.slots[slot].name.get_or_insert_with(|| format!("slot-{slot}")).clone();
        self.slots[slot].processor.signal(Signal::STOP);
        let second = self.start(slot, Some(name));
        let mut zombie = std::mem::replace(&mut self.slots[slot].processor, second);
        rest(asleep);
        self.feed();
        zombie.signal(Signal::CONT);
        rest(awake);
        zombie.signal(Signal::KILL);
        self.done.kills += 1;
    }

    fn storm(&mut self, each: &[Short]) {
        let begun = Instant::now();
        let mut running: Vec<(Duration, bool, Processor)> = Vec::new();
        for short in each {
            rest(short.after);
            let processor = self.start(SLOTS, None);
            running.push((begun.elapsed() + Duration::from_millis(short.lives), short.killed, processor));
        }
        running.sort_by_key(|(ends, _, _)| *ends);
        for (ends, killed, mut processor) in running {
            thread::sleep(ends.saturating_sub(begun.elapsed()));
            processor.signal(if killed { Signal::KILL } else { Signal::TERM });
            self.done.kills += usize::from(killed);
            // One that had not set up its handler yet is ended by the signal.
            let code = processor.exit_code();
            assert!(code.is_none_or(|code| code == 0), "a processor drained with {code:?}");
        }
    }

    /// A processor outlives every fault but its own end.
    fn none_has_ended(&mut self) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let ended = slot.processor.ended();
            assert!(ended.is_none(), "the processor in slot {number} ended by itself: {ended:?}");
        }
    }

    fn finish(mut self) -> Done {
        let last = self.load.last();
        produce(self.bus.as_ref(), last);
        self.story.tell("the last records are in");
        self.until_complete(DISTURBED);
        for slot in std::mem::take(&mut self.slots) {
            slot.processor.terminate();
        }
        self.story.tell("all have drained");
        self.run_calm();
        let (mut found, calm) = self.compare();
        let begun = Instant::now();
        while !found.is_empty() && begun.elapsed() < TRANSACTIONS_END_WITHIN {
            thread::sleep(Duration::from_secs(1));
            found = self.compare().0;
        }
        if begun.elapsed() > Duration::from_secs(1) {
            println!("outputs behind an open transaction came after {:?}", begun.elapsed());
        }
        if !found.is_empty() {
            let keep = |name: &str, text: String| std::fs::write(self.story.path().join(name), text).expect("written");
            keep("input.txt", input(self.bus.as_ref()));
            [CALM, DISTURBED].iter().for_each(|run| keep(&format!("sent-{run}.txt"), sent(self.bus.as_ref(), run)));
        }
        self.story.no_difference(&found);
        self.done.outputs = calm.values().sum();
        self.done.dead_letters = self.load.poison.values().sum();
        self.done
    }

    /// What differs, and what the undisturbed run wrote.
    fn compare(&self) -> (Vec<String>, Outputs) {
        let [calm, disturbed] = [CALM, DISTURBED].map(|run| outputs(self.bus.as_ref(), run));
        let mut found = differences(&calm, &disturbed);
        let (there, sent) = (reasons(self.bus.as_ref(), DISTURBED), &self.load.poison);
        if there != *sent {
            found.push(format!("dead letters by reason: {there:?}, but what was sent makes {sent:?}"));
        }
        (found, calm)
    }

    fn run_calm(&mut self) {
        let sql = write_sql(self.story.path(), CALM);
        let (log, _) = self.story.next_log();
        let keys = &self.keys;
        let processor = Processor::start(&sql, &self.cluster.address(), CALM, |command| {
            set(command, keys, CALM, 1, 1_000);
            command.stderr(log);
        });
        self.until_complete(CALM);
        processor.terminate();
    }

    fn until_complete(&mut self, run: &str) {
        let deadline = Instant::now() + PATIENCE;
        until("every partition is done to its end", || {
            thread::sleep(Duration::from_millis(100));
            assert!(Instant::now() < deadline, "the {run} run does not come to its end");
            self.none_has_ended();
            is_complete(self.bus.as_ref(), run)
        });
        self.story.tell(format_args!("the {run} run is at its end"));
    }
}

/// What every processor of a run has.
pub fn set(command: &mut Command, keys: &Keys, run: &str, workers: u32, commit_interval_ms: u64) {
    command.args(["--workers", &workers.to_string()]);
    command.env("AMOSKYS_PROCESSOR_VERIFY", "required").env("AMOSKYS_PROCESSOR_KEYS_DIR", keys.public());
    command.env("AMOSKYS_PROCESSOR_DEAD_LETTER_TOPIC", dead_letters_of(run));
    command.env("AMOSKYS_PROCESSOR_COMMIT_INTERVAL", format!("{commit_interval_ms}ms"));
    command.env("AMOSKYS_PROCESSOR_SESSION_TIMEOUT", format!("{SESSION_MS}ms"));
    command.env("AMOSKYS_PROCESSOR_TRANSACTION_TIMEOUT", "5s");
    command.env("AMOSKYS_LOG", "info");
}

pub fn rest(time_ms: u64) {
    thread::sleep(Duration::from_millis(time_ms));
}
