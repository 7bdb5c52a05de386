//! A round against an agent: it watches this host by snapshots, is killed, stopped, cut off, its log is damaged and its
//! disk is full, while its broker comes and goes.
//!
//! What it sees differs each time, so nothing is compared with another run. Its own account must be right at every
//! moment (seen + recovered = filtered + dropped + in hand + in the WAL + acknowledged), and what is on the log must tell
//! the same: every envelope's number there, each with one content, none missing but those that it counted as given up,
//! or that stood in the one batch that was damaged.

use crate::{
    cluster::Cluster,
    common::{
        Running, amoskys, create, exit_code, free_port, http_get, open, read_all, send, small_disk::SmallDisk, until,
    },
    journal::{Damage, damage},
    processors::rest,
    settings::{Done, Keys},
    story::Story,
};
use amoskys_proto::EnvelopeView;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rustix::process::Signal;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

const TOPICS: [&str; 2] = ["amoskys.telemetry.process.v1", "amoskys.agent.status.v1"];
const PARTITIONS: i32 = 2;
const DISK_MIB: u32 = 48;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill { after: u64 },
    Pause { time: u64 },
    HalfBatch { after: u64 },
    Flip { after: u64 },
    DiskFull { time: u64 },
    Network { held: bool, time: u64 },
    Away { time: u64 },
    Restart { by_kill: bool },
}

pub struct Round {
    agent: Running,
    port: u16,
    disk: SmallDisk,
    wal: PathBuf,
    cluster: Cluster,
    random: StdRng,
    keys: Keys,
    /// Envelopes that may be missing on the log, at most.
    given_up: u64,
    done: Done,
    story: Story,
}

impl Round {
    /// Runs one round with so many kills; panics at a difference.
    pub fn run(cluster: Cluster, seed: u64, kills: usize, away: Duration) -> Done {
        let mut random = StdRng::seed_from_u64(seed);
        let mut story = Story::begin("agents", seed);
        let (disk, can_be_full) = SmallDisk::mount(story.path(), DISK_MIB);
        let faults = shuffled(&mut random, kills, away, can_be_full);
        let bus = open(&cluster.address());
        TOPICS.iter().for_each(|topic| create(bus.as_ref(), topic, PARTITIONS));
        let (keys, _) = Keys::make(story.path());
        let wal = disk.path().join("wal");
        let (agent, port) = start(&cluster, &keys, &wal, &mut story);
        let done = Done::default();
        let mut round = Self { agent, port, disk, wal, cluster, random, keys, given_up: 0, done, story };
        for fault in faults {
            round.story.tell(format_args!("{fault:?}"));
            round.perform(fault);
            round.check_account();
        }
        round.finish()
    }

    fn perform(&mut self, fault: Fault) {
        match fault {
            Fault::Kill { after } => {
                rest(after);
                self.kill_and_start(None);
            }
            Fault::Pause { time } => {
                send(&self.agent, Signal::STOP);
                rest(time);
                send(&self.agent, Signal::CONT);
            }
            Fault::HalfBatch { after } => {
                rest(after);
                self.kill_and_start(Some(Damage::HalfBatch));
            }
            Fault::Flip { after } => {
                rest(after);
                self.given_up += 1;
                self.kill_and_start(Some(Damage::Flip));
            }
            Fault::DiskFull { time } => {
                self.disk.fill();
                rest(time);
                self.check_account();
                until("it counts what it could not keep", || self.sample("amoskys_agent_dropped_events_total") > 0);
                self.disk.free();
                // Killed only after its last word was read.
                self.given_up += self.stop_and_count();
                self.kill_and_start(None);
            }
            Fault::Network { held, time } => {
                if held {
                    self.cluster.proxy.hold()
                } else {
                    self.cluster.proxy.cut()
                };
                rest(time);
                self.cluster.proxy.heal();
            }
            Fault::Away { time } => {
                self.cluster.freeze();
                rest(time);
                self.cluster.thaw();
            }
            Fault::Restart { by_kill } => self.cluster.restart(by_kill),
        }
    }

    /// Ends it in good order, so that what it says last is all of it; the events that it gave up.
    fn stop_and_count(&mut self) -> u64 {
        let before = self.sample("amoskys_agent_dropped_events_total");
        send(&self.agent, Signal::TERM);
        let code = exit_code(&mut self.agent, "the agent ends");
        assert_eq!(code, Some(0), "an agent that was told to end");
        // Between the two it may have given up its last batch, its status and what was queued.
        before + 64
    }

    fn kill_and_start(&mut self, damaged: Option<Damage>) {
        if self.agent.0.try_wait().expect("a child").is_none() {
            send(&self.agent, Signal::KILL);
            self.done.kills += 1;
            self.agent.0.wait().expect("a child");
        }
        if let Some(how) = damaged {
            let done = damage(&self.wal, None, how, &mut self.random);
            self.story.tell(format_args!("  damaged: {done}"));
        }
        (self.agent, self.port) = start(&self.cluster, &self.keys, &self.wal, &mut self.story);
    }

    fn scrape(&mut self) -> String {
        let mut page = None;
        until("the agent serves", || {
            let ended = self.agent.0.try_wait().expect("a child");
            assert!(ended.is_none(), "the agent ended by itself: {ended:?}");
            page = http_get(self.port, "/metrics");
            page.is_some()
        });
        page.map(|(_, text)| text).unwrap_or_default()
    }

    fn sample(&mut self, metric: &str) -> u64 {
        sum(&self.scrape(), metric)
    }

    fn check_account(&mut self) {
        let page = self.scrape();
        let of = |names: &[&str]| names.iter().map(|name| sum(&page, &format!("amoskys_agent_{name}"))).sum::<u64>();
        let came = of(&["seen_events_total", "recovered_events_total"]);
        let places = ["filtered_events_total", "dropped_events_total", "in_hand_events", "wal_events"];
        let are = of(&places) + of(&["acknowledged_events_total"]);
        assert_eq!(came, are, "events came and are accounted for:\n{page}");
        assert_eq!(of(&["unaccounted_events", "wal_set_aside_folders_total"]), 0, "{page}");
    }

    fn finish(mut self) -> Done {
        // Nothing new comes; what is in the WAL goes.
        send(&self.agent, Signal::TERM);
        assert_eq!(exit_code(&mut self.agent, "the agent drains"), Some(0), "an agent that was told to end");
        (self.agent, self.port) = start(&self.cluster, &self.keys, &self.wal, &mut self.story);
        self.check_account();
        send(&self.agent, Signal::TERM);
        assert_eq!(exit_code(&mut self.agent, "the agent drains"), Some(0), "an agent that was told to end");
        let bus = open(&self.cluster.address());
        let (mut found, mut outputs) = (Vec::new(), 0);
        for topic in TOPICS {
            let mut envelopes: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            for envelope in read_all(bus.as_ref(), topic, PARTITIONS).concat() {
                let sequence = EnvelopeView::parse(&envelope).expect("an envelope").header.sequence;
                if *envelopes.entry(sequence).or_insert_with(|| envelope.clone()) != envelope {
                    found.push(format!("two contents of number {sequence} in {topic}"));
                }
            }
            let (first, last) = (envelopes.keys().next().copied(), envelopes.keys().last().copied());
            let all: BTreeSet<u64> = (first.unwrap_or(1)..=last.unwrap_or(0)).collect();
            let missing: Vec<u64> = all.into_iter().filter(|number| !envelopes.contains_key(number)).collect();
            let (count, gone) = (envelopes.len(), missing.len());
            self.story.tell(format_args!("{topic}: {count} envelopes, {gone} missing: {missing:?}"));
            // Of which topic a damaged envelope was is not known: its number is left out in each.
            if gone as u64 > self.given_up {
                found.push(format!("{} may be missing in {topic}, but these are: {missing:?}", self.given_up));
            }
            outputs += count;
        }
        if outputs == 0 {
            found.push("nothing was published".to_owned());
        }
        self.story.no_difference(&found);
        self.done.outputs = outputs;
        self.done
    }
}

fn sum(page: &str, metric: &str) -> u64 {
    let values = page.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name.split('{').next() == Some(metric)).then(|| value.parse::<u64>().expect("a whole number"))
    });
    let values: Vec<u64> = values.collect();
    assert!(!values.is_empty(), "{metric} is not there:\n{page}");
    values.iter().sum()
}

fn start(cluster: &Cluster, keys: &Keys, wal: &PathBuf, story: &mut Story) -> (Running, u16) {
    let port = free_port();
    let (log, path) = story.next_log();
    story.tell(format_args!("  start {}", path.display()));
    let mut command = amoskys();
    command.args(["agent", "--bus", &cluster.proxied()]);
    for (key, value) in [
        ("AGENT_HOST_ID", "chaos"),
        ("AGENT_BATCH_EVENTS_MAX", "20"),
        ("AGENT_BATCH_AGE", "20ms"),
        ("AGENT_IN_FLIGHT_RECORDS_MAX", "8"),
        ("AGENT_RETRY_TIMEOUT", "2s"),
        ("AGENT_RETRY_PAUSE_MAX", "200ms"),
        ("AGENT_STATUS_INTERVAL", "100ms"),
        ("AGENT_METRICS_PORT", &port.to_string()),
        ("AGENT_HEALTH_PORT", &port.to_string()),
        ("PROCESS_SOURCE", "snapshots"),
        ("SYSCALL_SOURCE", "off"),
        ("PROCESS_SNAPSHOT_INTERVAL", "100ms"),
    ] {
        command.env(format!("AMOSKYS_{key}"), value);
    }
    command.env("AMOSKYS_AGENT_SIGNING_KEY", keys.private()).env("AMOSKYS_AGENT_WAL_PATH", wal).stderr(log);
    fs::create_dir_all(wal).expect("a folder");
    (Running(command.spawn().expect("the agent starts")), port)
}

fn shuffled(random: &mut StdRng, kills: usize, away: Duration, can_be_full: bool) -> Vec<Fault> {
    let after = |random: &mut StdRng| random.random_range(100..700);
    let mut faults: Vec<Fault> = (0..kills.max(4) - 2).map(|_| Fault::Kill { after: after(random) }).collect();
    faults.extend([
        Fault::HalfBatch { after: after(random) },
        Fault::Flip { after: after(random) },
        Fault::Pause { time: random.random_range(100..2_000) },
        Fault::Network { held: false, time: random.random_range(200..2_500) },
        Fault::Network { held: true, time: random.random_range(200..2_500) },
        Fault::Away { time: away.as_millis() as u64 },
        Fault::Restart { by_kill: random.random() },
    ]);
    faults.extend(can_be_full.then(|| Fault::DiskFull { time: random.random_range(300..1_500) }));
    faults.shuffle(random);
    faults
}
