//! Recovery with what ships: signed envelopes of process telemetry, verified, through the shipped SQL and models. The
//! processor is killed at random moments under load; alerts, features and dead letters are bit for bit what an
//! undisturbed one writes for the same records, and what `sql run` makes of an export of them: none missing, none twice. On the embedded log, on real Kafka and on a real
//! NATS server.
//!
//! Both runs read and write the same topics, under two groups: what is there once after the first must be there twice
//! after the second.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{
    Bus, Outgoing, ReaderOptions, TopicPartition,
    testing::{KafkaBroker, NatsServer},
};
use amoskys_proto::{
    Signer,
    v1::{Alert, DeadLetter, DeadLetterReason, FeatureRow, ProcessEvent, ProcessEventKind},
};
use common::{
    amoskys, open,
    processor::Processor,
    produce, read_all,
    telemetry::{ALERTS, DEAD_LETTERS, FEATURES, TELEMETRY, create_topics, iso, record},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const PARTITIONS: i32 = 4;
const KILLS: usize = 4;
/// Of each partition in each part of the input: one for each kill, and one after them.
const ENVELOPES: u64 = 60;
const EVENTS_PER_ENVELOPE: i64 = 20;
const PART_MS: i64 = 6_000;
const PARENTS: u32 = 30;
/// The last of each part.
const UNSIGNED_EVERY: u64 = ENVELOPES;

/// Six seconds of events up to now, up to 2 s more out of order (so some are late), some of which are to be alerted. Some
/// envelopes are not signed.
fn records(random: &mut StdRng, part: usize, partition: i32, signer: &Signer) -> Vec<Outgoing> {
    let (host, now_ms) = (format!("h{partition}"), now_ms());
    let count = ENVELOPES as i64 * EVENTS_PER_ENVELOPE;
    let mut times_ms = (1..=count).map(|number| now_ms - PART_MS + number * PART_MS / count);
    (1..=ENVELOPES)
        .map(|sequence| {
            let times_ms = times_ms.by_ref().take(EVENTS_PER_ENVELOPE as usize);
            let events = times_ms.map(|at_ms| event(random, at_ms)).collect();
            let signer = (sequence % UNSIGNED_EVERY != 0).then_some(signer);
            record(Some(partition), &host, part as u64 * ENVELOPES + sequence, events, signer)
        })
        .collect()
}

/// So far ahead that it closes every window, and not so far that it is not believed.
fn last_record(partition: i32, signer: &Signer) -> Outgoing {
    let last = ProcessEvent {
        observed_at: iso(now_ms() + 40_000).parse().ok(),
        kind: ProcessEventKind::Snapshot.into(),
        ..Default::default()
    };
    record(Some(partition), &format!("h{partition}"), u64::MAX, vec![last], Some(signer))
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_millis().try_into().expect("in range")
}

fn event(random: &mut StdRng, at_ms: i64) -> ProcessEvent {
    const PROGRAMS: [&str; 12] = ["id", "ps", "who", "uname", "df", "env", "sh", "cc", "sed", "grep", "ld", "cat"];
    let program = PROGRAMS[random.random_range(0..PROGRAMS.len())];
    let kinds = [ProcessEventKind::Fork, ProcessEventKind::Exec, ProcessEventKind::Exit];
    let parent = random.random_range(0..PARENTS);
    ProcessEvent {
        observed_at: iso(at_ms - random.random_range(0..2_000)).parse().ok(),
        kind: kinds[random.random_range(0..3)].into(),
        pid: random.random_range(1_000..30_000),
        parent_pid: 100 + parent,
        parent_comm: ["bash", "make", "nginx"][parent as usize % 3].into(),
        comm: program.into(),
        exe: format!("{}/{program}", if random.random_bool(0.02) { "/dev/shm" } else { "/usr/bin" }),
        exe_fs_type: "ext4".into(),
        exe_deleted: random.random_bool(0.01),
        euid: if random.random_bool(0.01) { 0 } else { 1000 },
        uid: 1000,
        parent_euid: 1000,
        exit_code: random.random_range(0..2),
        lifetime_us: random.random_range(1_000..2_000_000),
        ..Default::default()
    }
}

/// How often each output stands in the log.
type Outputs = BTreeMap<(&'static str, Vec<u8>), usize>;

fn outputs(bus: &dyn Bus) -> Outputs {
    let mut counts = Outputs::new();
    for (topic, partitions) in [(ALERTS, PARTITIONS), (FEATURES, PARTITIONS), (DEAD_LETTERS, 1)] {
        for payload in read_all(bus, topic, partitions).concat() {
            *counts.entry((topic, payload)).or_default() += 1;
        }
    }
    counts
}

fn readable(topic: &str, payload: &[u8]) -> String {
    match topic {
        ALERTS => format!("{:?}", Alert::decode(payload)),
        FEATURES => format!("{:?}", FeatureRow::decode(payload)),
        _ => format!("{:?}", DeadLetter::decode(payload)),
    }
}

/// `killed` is what the killed processors left, `both` that and what the undisturbed one wrote after them.
fn compare(killed: &Outputs, both: &Outputs, seed: u64) {
    for ((topic, payload), count) in both {
        let before = killed.get(&(*topic, payload.clone())).copied().unwrap_or_default();
        assert_eq!(
            (before, count - before),
            (1, 1),
            "seed {seed}: how often the killed ones and the undisturbed one wrote {}",
            readable(topic, payload)
        );
    }
}

/// There was something to compare, of every kind.
fn check_contents(outputs: &Outputs) {
    let of = |wanted: &str| -> Vec<&[u8]> {
        outputs.keys().filter(|(topic, _)| *topic == wanted).map(|(_, payload)| payload.as_slice()).collect()
    };
    let detections: BTreeSet<String> =
        of(ALERTS).iter().map(|payload| Alert::decode(*payload).expect("an alert").detection).collect();
    for detection in ["exec_from_memory", "privilege_gained", "running_binary_deleted", "server_spawns_shell"] {
        assert!(detections.contains(detection), "only {detections:?}");
    }
    let features = of(FEATURES);
    assert!(features.len() > 1_000, "only {} rows of features", features.len());
    for payload in features {
        let row = FeatureRow::decode(payload).expect("features");
        assert!(row.features.contains_key("score") && row.provenance.is_some_and(|from| !from.models.is_empty()));
    }
    let letters = of(DEAD_LETTERS);
    assert_eq!(letters.len() as u64, PARTITIONS as u64 * (KILLS as u64 + 1));
    for payload in letters {
        let letter = DeadLetter::decode(payload).expect("a dead letter");
        assert_eq!(letter.reason(), DeadLetterReason::Unsigned, "{}", letter.detail);
    }
}

/// Everything that a run needs.
struct Bench {
    folder: tempfile::TempDir,
    address: String,
    seed: u64,
    signer: Signer,
}

impl Bench {
    /// `address` of `None` is an embedded log.
    fn new(address: Option<String>) -> Self {
        let seed = std::env::var("AMOSKYS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(rand::random);
        println!("AMOSKYS_TEST_SEED={seed}");
        let folder = tempfile::tempdir().expect("a folder");
        let address = address.unwrap_or_else(|| format!("local:{}", folder.path().join("log").display()));
        let signer = Signer::generate().expect("a key");
        std::fs::create_dir(folder.path().join("agent")).expect("a folder");
        std::fs::create_dir(folder.path().join("keys")).expect("a folder");
        let public = signer.write_files(&folder.path().join("agent/key.pem")).expect("written");
        std::fs::rename(public, folder.path().join("keys/key.pub")).expect("moved");
        create_topics(open(&address).as_ref(), PARTITIONS);
        Self { folder, address, seed, signer }
    }

    fn start(&self, group: &str) -> Processor {
        let keys: PathBuf = self.folder.path().join("keys");
        Processor::start(Path::new("sql"), &self.address, group, |command| {
            // Under one name, so that what follows a killed one takes over at once.
            command.args(["--instance", group, "--workers", "2"]);
            command.env("AMOSKYS_PROCESSOR_VERIFY", "required").env("AMOSKYS_PROCESSOR_KEYS_DIR", keys);
            // Refusals are warnings, and meant here.
            command.env("AMOSKYS_LOG", "error");
        })
    }

    /// The events of now.
    fn produce(&self, part: usize) {
        let mut random = StdRng::seed_from_u64(self.seed ^ part as u64);
        let bus = open(&self.address);
        for partition in 0..PARTITIONS {
            produce(bus.as_ref(), records(&mut random, part, partition, &self.signer));
        }
        if part == KILLS {
            produce(bus.as_ref(), (0..PARTITIONS).map(|partition| last_record(partition, &self.signer)));
        }
    }

    fn to_the_end(&self, group: &str) {
        let ends = self.ends();
        let mut processor = self.start(group);
        processor.until_read(TELEMETRY, &ends);
        processor.terminate();
    }

    /// Of the partitions of telemetry; counts of records, but on NATS, where partitions share their offsets.
    fn ends(&self) -> Vec<i64> {
        let bus = open(&self.address);
        let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
        let partitions = (0..PARTITIONS).map(|partition| TopicPartition { topic: TELEMETRY.into(), partition });
        let bounds: Vec<(i64, i64)> = partitions.map(|of| reader.bounds(&of).expect("bounds")).collect();
        let records = (KILLS as i64 + 1) * ENVELOPES as i64 + 1;
        assert!(bounds.iter().all(|(begin, end)| end - begin >= records), "{records} of each: {bounds:?}");
        bounds.into_iter().map(|(_, end)| end).collect()
    }

    fn compare(self, killed: &Outputs) {
        check_contents(killed);
        self.compare_with_history();
        self.to_the_end("undisturbed");
        compare(killed, &outputs(open(&self.address).as_ref()), self.seed);
    }

    /// What `sql run` makes of an export is what is in the topics.
    fn compare_with_history(&self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (telemetry, over) = (path("telemetry.parquet"), path("over"));
        let export = |topic: &str, more: &[&str]| {
            let bus = ["--bus", &self.address];
            succeeds(amoskys().args(["topics", "export", topic]).args(more).args(bus));
        };
        // What is not signed went to the dead letters.
        let keys = path("keys");
        export(TELEMETRY, &["--output", &telemetry, "--keys-dir", &keys, "--skip-bad"]);
        let from = format!("processes={telemetry}");
        let views = ["--view", "alerts", "--view", "process_features"];
        let run = ["sql", "run", "sql", "--from", &from, "--output", &over, "--format", "parquet"];
        succeeds(amoskys().args(run).args(views));
        for (topic, name) in [(ALERTS, "alerts"), (FEATURES, "process_features")] {
            let live = path(&format!("{name}.parquet"));
            export(topic, &["--output", &live]);
            let (live, over) = (rows(&live), rows(&format!("{over}/{name}.parquet")));
            assert!(live.len() > 50, "{} rows of {name}", live.len());
            let missing: Vec<&String> = live.difference(&over).take(3).collect();
            let more: Vec<&String> = over.difference(&live).take(3).collect();
            assert_eq!((live.len(), missing, more), (over.len(), vec![], vec![]), "seed {}: {name}", self.seed);
        }
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A file's rows without what only a log says of them.
fn rows(path: &str) -> BTreeSet<String> {
    let file = std::fs::File::open(path).expect(path);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect(path).build().expect(path);
    let mut found = BTreeSet::new();
    for batch in reader {
        let batch = batch.expect("rows");
        let kept: Vec<usize> =
            (0..batch.num_columns()).filter(|&at| !batch.schema().field(at).name().starts_with('_')).collect();
        let mut lines = amoskys_columns::json_lines(Vec::new());
        lines.write(&batch.project(&kept).expect("columns")).and_then(|()| lines.finish()).expect("JSON");
        let text = String::from_utf8(lines.into_inner()).expect("text");
        // Each has an id of its own, so that none is lost in a set.
        found.extend(text.lines().map(str::to_owned));
    }
    found
}

/// Kills a processor at a random moment after it was given partitions.
fn kill_some_time(mut processor: Processor, random: &mut StdRng) {
    processor.until("it has partitions", |processor| !processor.owned(TELEMETRY).is_empty());
    thread::sleep(Duration::from_millis(random.random_range(0..800)));
}

#[test]
fn kills_change_no_alert_on_kafka() {
    let broker = KafkaBroker::start();
    kills_change_no_alert_on(broker.address().to_string());
}

#[test]
fn kills_change_no_alert_on_nats() {
    let server = NatsServer::start();
    kills_change_no_alert_on(server.address().to_string());
}

/// On a log that several may have open.
fn kills_change_no_alert_on(address: String) {
    let bench = Bench::new(Some(address));
    let mut random = StdRng::seed_from_u64(bench.seed);
    for part in 0..KILLS {
        // Under load: the records come while it is killed.
        thread::scope(|scope| {
            let processor = bench.start("killed");
            scope.spawn(|| bench.produce(part));
            kill_some_time(processor, &mut random);
        });
    }
    bench.produce(KILLS);
    bench.to_the_end("killed");
    let killed = outputs(open(&bench.address).as_ref());
    bench.compare(&killed);
}

#[test]
fn kills_change_no_alert_on_the_embedded_log() {
    let bench = Bench::new(None);
    let mut random = StdRng::seed_from_u64(bench.seed);
    for part in 0..KILLS {
        // The log is the processor's alone while it runs; each finds more to read.
        bench.produce(part);
        kill_some_time(bench.start("killed"), &mut random);
    }
    bench.produce(KILLS);
    bench.to_the_end("killed");
    let killed = outputs(open(&bench.address).as_ref());
    bench.compare(&killed);
}
