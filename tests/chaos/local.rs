//! A round against a processor on the embedded log, which is one process's at a time: rows are put in, the processor
//! runs and is killed, the end of the log is damaged, its disk is full. Then a processor that nobody disturbs does the
//! same records, and both must have written the same.
//!
//! Only what the killed processor itself wrote is damaged: its outputs and positions go together, so losing the last of
//! them is as if it had been killed sooner. What a producer was told to be on the disk may not be lost.

use crate::{
    common::{create, create_panes, open, processor::Processor, produce, small_disk::SmallDisk, telemetry::TELEMETRY},
    journal::{DAMAGES, Damage, damage, end},
    load::{Load, PARTITIONS},
    outcome::{Outputs, SHUFFLED, differences, is_complete, outputs, reasons, topics_of, write_sql},
    processors::{rest, set},
    settings::{Done, Keys},
    story::Story,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rustix::process::Signal;
use std::path::PathBuf;

const DISTURBED: &str = "disturbed";
const CALM: &str = "calm";
const DISK_MIB: u32 = 48;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill {
        after: u64,
    },
    /// SIGSTOP and on again, then killed.
    Pause {
        after: u64,
        time: u64,
    },
    Damage {
        after: u64,
        how: Damage,
    },
    DiskFull,
}

pub struct Round {
    disk: SmallDisk,
    log: PathBuf,
    address: String,
    load: Load,
    random: StdRng,
    keys: Keys,
    done: Done,
    story: Story,
}

impl Round {
    /// Runs one round with so many kills; panics at a difference.
    pub fn run(seed: u64, kills: usize) -> Done {
        let mut random = StdRng::seed_from_u64(seed);
        let story = Story::begin("local", seed);
        let (disk, can_be_full) = SmallDisk::mount(story.path(), DISK_MIB);
        let faults = shuffled(&mut random, kills, can_be_full);
        let log = disk.path().join("log");
        let address = format!("local:{}", log.display());
        let (keys, signer) = Keys::make(story.path());
        let load = Load::new(seed, signer);
        let mut round = Self { disk, log, address, load, random, keys, done: Done::default(), story };
        round.create();
        for fault in faults {
            round.story.tell(format_args!("{fault:?}"));
            round.feed();
            round.perform(fault);
        }
        round.finish()
    }

    fn create(&self) {
        let bus = open(&self.address);
        create(bus.as_ref(), TELEMETRY, PARTITIONS);
        for run in [DISTURBED, CALM] {
            topics_of(run).iter().for_each(|(topic, partitions)| create(bus.as_ref(), topic, *partitions));
        }
        create_panes(bus.as_ref(), PARTITIONS);
    }

    fn feed(&mut self) {
        let records = self.load.chunk();
        produce(open(&self.address).as_ref(), records);
    }

    fn start(&mut self, run: &str, interval: u64) -> Processor {
        let sql = write_sql(self.story.path(), run);
        let (log, _) = self.story.next_log();
        let (workers, keys) = (self.random.random_range(1..=2), &self.keys);
        Processor::start(&sql, &self.address, run, |command| {
            set(command, keys, run, workers, interval);
            command.stderr(log);
        })
    }

    fn perform(&mut self, fault: Fault) {
        let before = end(&self.log);
        let interval = self.random.random_range(20..200);
        let mut processor = self.start(DISTURBED, interval);
        match fault {
            Fault::Kill { after } => rest(after),
            Fault::Pause { after, time } => {
                rest(after);
                processor.signal(Signal::STOP);
                rest(time);
                processor.signal(Signal::CONT);
                rest(after / 2);
            }
            Fault::Damage { after, .. } => rest(after),
            Fault::DiskFull => {
                self.disk.fill();
                let code = processor.exit_code();
                assert_eq!(code, Some(1), "a processor that cannot write");
                self.done.ended += 1;
                return self.disk.free();
            }
        }
        processor.signal(Signal::KILL);
        self.done.kills += 1;
        assert_eq!(processor.exit_code(), None, "it was killed");
        if let Fault::Damage { how, .. } = fault {
            let done = damage(&self.log, before.as_ref(), how, &mut self.random);
            self.story.tell(format_args!("  damaged: {done}"));
        }
    }

    fn finish(mut self) -> Done {
        let last = self.load.last();
        produce(open(&self.address).as_ref(), last);
        let disturbed = self.run_to_the_end(DISTURBED);
        let calm = self.run_to_the_end(CALM);
        let mut found = differences(&calm, &disturbed);
        let (there, sent) = (reasons(open(&self.address).as_ref(), DISTURBED), &self.load.poison);
        if there != *sent {
            found.push(format!("dead letters by reason: {there:?}, but what was sent makes {sent:?}"));
        }
        self.story.no_difference(&found);
        self.done.outputs = calm.values().sum();
        self.done.dead_letters = self.load.poison.values().sum();
        self.done
    }

    fn run_to_the_end(&mut self, run: &str) -> Outputs {
        let mut processor = self.start(run, 1_000);
        processor.until_read(TELEMETRY, &self.load.records);
        let through_ns = processor.slowest_watermark_ns().expect("all have rows");
        processor.until_merged(SHUFFLED as usize, through_ns);
        processor.terminate();
        let bus = open(&self.address);
        assert!(is_complete(bus.as_ref(), run), "what was read was not written by the {run} run");
        outputs(bus.as_ref(), run)
    }
}

fn shuffled(random: &mut StdRng, kills: usize, can_be_full: bool) -> Vec<Fault> {
    let after = |random: &mut StdRng| random.random_range(200..900);
    let mut faults: Vec<Fault> = DAMAGES.iter().map(|how| Fault::Damage { after: after(random), how: *how }).collect();
    faults.push(Fault::Pause { after: after(random), time: random.random_range(50..1_500) });
    faults.extend(can_be_full.then_some(Fault::DiskFull));
    for number in faults.len()..kills.max(faults.len() + 1) {
        let after = after(random);
        faults.push(match number % 4 {
            0 => Fault::Damage { after, how: DAMAGES[random.random_range(0..DAMAGES.len())] },
            _ => Fault::Kill { after },
        });
    }
    faults.shuffle(random);
    faults
}
