//! One, two and four times `amoskys process`, on a topic of 16 partitions of real Kafka: how fast they drain it, how far
//! behind they are under a steady load, how long it takes when one comes, drains or is killed, what a partition that stays
//! hears of it, and that a reader with `read_committed` finds every output once.
//!
//! Run: `cargo bench --workspace --profile dev --bench scaling -- [EVENTS_PER_SECOND [MILLION_EVENTS]]`: the steady load,
//! and what is drained. Processors are processes with one worker each, so that four of them are what four small machines
//! would be, less that they share this machine's cores with each other, with the broker and with the load.
//! Limits: `/state` tells something new four times a second, so what is taken from it has a grain of 0.25 s.

#[allow(dead_code)]
#[path = "../../tests/common/mod.rs"]
mod common;

mod drain;
mod load;
mod look;
mod outputs;
mod statistics;

use amoskys_bus::{
    Bus, TopicSpec,
    testing::{KafkaBroker, KafkaOptions},
};
use common::{open, processor::Processor, telemetry::TELEMETRY};
use load::Load;
use look::{Look, Phase};
use outputs::Outputs;
use rustix::process::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub const PARTITIONS: usize = 16;
/// What is looked at of each steady time.
const STEADY: Duration = Duration::from_secs(10);
/// After a change: a killed processor is missed after the session timeout (10 s), and what it left open in a transaction
/// is ended by the broker 10 to 20 s after it was begun.
const PATIENCE: Duration = Duration::from_secs(60);

const SQL: &str = "
    CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
    OPTIONS (event_time 'observed_at', lateness '1s', partition_key 'host_id');
    CREATE EXTERNAL TABLE counts (host VARCHAR, program VARCHAR, start TIMESTAMP, n BIGINT, total BIGINT)
    STORED AS JSON LOCATION 'counts' OPTIONS (partition_key 'host');
    CREATE EXTERNAL TABLE marks (host VARCHAR, number BIGINT) STORED AS JSON LOCATION 'marks' OPTIONS (partition_key 'host');
    CREATE VIEW per_program AS
    SELECT host_id AS host, comm AS program, hop(observed_at, INTERVAL '1 second', INTERVAL '5 seconds') AS win,
           count(*) AS n, sum(CAST(lifetime_us AS BIGINT)) AS total
    FROM processes GROUP BY host_id, comm, win;
    INSERT INTO counts SELECT host, program, win.start AS start, n, total FROM per_program;
    INSERT INTO marks SELECT host_id AS host, CAST(pid AS BIGINT) AS number FROM processes WHERE exit_code = 7;";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let events_per_second: u64 = arguments.first().map_or(40_000, |text| text.parse().expect("events per second"));
    let millions: u64 = arguments.get(1).map_or(4, |text| text.parse().expect("millions of events"));
    drain::run(millions);
    live(events_per_second);
}

/// A broker with the topics.
pub struct Stage {
    pub bus: Arc<dyn Bus>,
    pub address: String,
    sql: PathBuf,
    _folder: tempfile::TempDir,
    _broker: KafkaBroker,
}

impl Stage {
    pub fn begin() -> Self {
        // The delay lets those that are started together be there when partitions are given out first.
        let settings = vec![("group.initial.rebalance.delay.ms".to_owned(), "1000".to_owned())];
        let broker = KafkaBroker::start_with(KafkaOptions { heap: "512m".into(), settings, ..KafkaOptions::default() });
        let address = broker.address().to_string();
        let bus = open(&address);
        for (name, partitions) in
            [(TELEMETRY, PARTITIONS), ("counts", PARTITIONS), ("marks", PARTITIONS), ("amoskys.deadletter.v1", 1)]
        {
            let spec =
                TopicSpec { name: name.into(), partitions: partitions as i32, replication: 1, settings: Vec::new() };
            bus.create_topic(&spec).expect("created");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let sql = folder.path().join("scaling.sql");
        fs::write(&sql, SQL).expect("written");
        Self { bus, address, sql, _folder: folder, _broker: broker }
    }

    pub fn start(&self, group: &str) -> Processor {
        Processor::start(Path::new(&self.sql), &self.address, group, |command| {
            command.args(["--workers", "1"]);
        })
    }
}

fn live(events_per_second: u64) {
    let stage = Stage::begin();
    let load = Load::start(stage.bus.as_ref(), events_per_second);
    let outputs = Outputs::follow(stage.bus.as_ref());
    let mut look = Look::new(load.sent());
    let mut steady = vec![];
    let mut changes = vec![];

    let begun = Instant::now();
    look.add(stage.start("live"));
    changes.push(look.change("the first starts", begun, PATIENCE));
    steady.push(look.steady("1", STEADY));
    let begun = Instant::now();
    look.add(stage.start("live"));
    changes.push(look.change("a second joins", begun, PATIENCE));
    steady.push(look.steady("2", STEADY));
    let begun = Instant::now();
    (0..2).for_each(|_| look.add(stage.start("live")));
    changes.push(look.change("two more join", begun, PATIENCE));
    steady.push(look.steady("4", STEADY));
    let begun = Instant::now();
    look.end(1, Signal::TERM);
    changes.push(look.change("one of four ends by SIGTERM", begun, PATIENCE));
    look.steady("3", Duration::from_secs(3));
    let begun = Instant::now();
    look.end(1, Signal::KILL);
    changes.push(look.change("one of three is killed", begun, PATIENCE));
    // What it left open is over then, so that later figures are of the two that are left.
    thread::sleep(Duration::from_secs(20));
    steady.push(look.steady("2, after that", STEADY));

    let sent = load.stop();
    let arrivals = outputs.until_complete(&sent);
    print_steady(&steady, &arrivals, &sent);
    print_changes(&changes, &arrivals);
    println!(
        "\nRead with read_committed: {} rows of windows and {} rows without a window, each there once, as computed from what \
         was sent ({} events).",
        sent.counts.len(),
        arrivals.len(),
        sent.events
    );
}

fn print_steady(steady: &[Phase], arrivals: &[outputs::Arrival], sent: &load::Sent) {
    println!(
        "\n| processors | lag, records: median, max | lag, seconds: median, max | sent to visible, ms: median, p99, max |"
    );
    println!("|---|---|---|---|");
    for phase in steady {
        let visible_ms = statistics::Sorted::of(phase.sent_to_visible_ms(arrivals, sent));
        println!(
            "| {} | {:.0}, {:.0} | {:.2}, {:.2} | {:.0}, {:.0}, {:.0} |",
            phase.name,
            phase.lag_records.quantile(0.5),
            phase.lag_records.quantile(1.0),
            phase.lag_seconds.quantile(0.5),
            phase.lag_seconds.quantile(1.0),
            visible_ms.quantile(0.5),
            visible_ms.quantile(0.99),
            visible_ms.quantile(1.0),
        );
    }
}

fn print_changes(changes: &[look::Changed], arrivals: &[outputs::Arrival]) {
    println!(
        "\n| what happens | all partitions owned, and read up to now, after | partitions that moved | longest without an output, \
         moved: median, max | stayed: median, max | lag, records, max |"
    );
    println!("|---|---|---|---|---|---|");
    for change in changes {
        let (moved, stayed) = change.silences(arrivals);
        let told = |silences: &statistics::Sorted| match silences.is_empty() {
            true => "none".to_owned(),
            false => format!("{:.2} s, {:.2} s", silences.quantile(0.5), silences.quantile(1.0)),
        };
        println!(
            "| {} | {:.1} s | {} | {} | {} | {:.0} |",
            change.name,
            change.took.as_secs_f64(),
            change.moved.len(),
            told(&moved),
            told(&stayed),
            change.lag_records_max,
        );
    }
}
