//! What runs wrote, and where two differ.

use crate::{
    common::{
        read_all, read_records,
        telemetry::{DEAD_LETTERS, TELEMETRY},
    },
    load::{ALMOST_LAST, ALMOST_LAST_PROGRAMS, LAST_PID, PARTITIONS},
};
use amoskys_bus::{Bus, TopicPartition};
use amoskys_proto::{
    EnvelopeView,
    v1::{DeadLetter, ProcessBatch},
};
use prost::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The outputs of a run.
const SINKS: [&str; 5] = ["per_program", "per_host", "long", "everywhere", "marks"];
/// Of the topic that groups of all partitions are sent through.
pub const SHUFFLED: i32 = 2;
/// That each event is in, where groups of all partitions are merged.
const WINDOWS: i64 = 3;

/// How often each output stands in the log.
pub type Outputs = BTreeMap<String, usize>;

pub fn topic_of(sink: &str, run: &str) -> String {
    format!("{sink}_{run}")
}

/// Topics that a run writes, with their partitions.
pub fn topics_of(run: &str) -> Vec<(String, i32)> {
    let sinks = SINKS.iter().map(|sink| (topic_of(sink, run), PARTITIONS));
    sinks.chain([(dead_letters_of(run), 1), (shuffle_of(run), SHUFFLED)]).collect()
}

fn shuffle_of(run: &str) -> String {
    format!("amoskys.shuffle.{run}.processes.v1")
}

pub fn dead_letters_of(run: &str) -> String {
    format!("{DEAD_LETTERS}.{run}")
}

/// Four windowed views with floats, one of them with overlapping windows that the slide does not divide, one of windows
/// that are kept in a topic, and an INSERT without a window.
pub fn write_sql(folder: &Path, run: &str) -> PathBuf {
    let [per_program, per_host, long, everywhere, marks] = SINKS.map(|sink| topic_of(sink, run));
    let text = format!(
        "CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
         OPTIONS (event_time 'observed_at', lateness '1s', idle '2s', replay_max '700ms', partition_key 'host_id');
         CREATE EXTERNAL TABLE per_program_out (host VARCHAR, program VARCHAR, start TIMESTAMP, n BIGINT, users BIGINT,
                                                total DOUBLE, mean DOUBLE, spread DOUBLE, p90 DOUBLE)
         STORED AS JSON LOCATION '{per_program}' OPTIONS (partition_key 'host');
         CREATE EXTERNAL TABLE per_host_out (host VARCHAR, start TIMESTAMP, n BIGINT, total DOUBLE)
         STORED AS JSON LOCATION '{per_host}' OPTIONS (partition_key 'host');
         CREATE EXTERNAL TABLE long_out (host VARCHAR, start TIMESTAMP, n BIGINT, users BIGINT, total DOUBLE)
         STORED AS JSON LOCATION '{long}' OPTIONS (partition_key 'host');
         CREATE EXTERNAL TABLE everywhere_out (program VARCHAR, start TIMESTAMP, n BIGINT, users BIGINT, total DOUBLE, spread DOUBLE)
         STORED AS JSON LOCATION '{everywhere}' OPTIONS (partition_key 'program');
         CREATE EXTERNAL TABLE marks_out (host VARCHAR, pid BIGINT, lifetime_us BIGINT)
         STORED AS JSON LOCATION '{marks}' OPTIONS (partition_key 'host');
         CREATE VIEW per_program AS
         SELECT host_id AS host, comm AS program, hop(observed_at, INTERVAL '1 second', INTERVAL '5 seconds') AS win,
                count(*) AS n, count(DISTINCT uid) AS users, sum(CAST(lifetime_us AS DOUBLE) / 7) AS total,
                avg(CAST(lifetime_us AS DOUBLE)) AS mean, stddev(CAST(lifetime_us AS DOUBLE)) AS spread,
                approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY CAST(lifetime_us AS DOUBLE)) AS p90
         FROM processes WHERE comm <> 'last' GROUP BY host_id, comm, win;
         CREATE VIEW per_host AS
         SELECT host_id AS host, hop(observed_at, INTERVAL '300 milliseconds', INTERVAL '1 second') AS win,
                count(*) AS n, sum(CAST(lifetime_us AS DOUBLE) / 3) AS total
         FROM processes WHERE comm <> 'last' GROUP BY host_id, win;
         CREATE VIEW long AS
         SELECT host_id AS host, hop(observed_at, INTERVAL '1 second', INTERVAL '15 seconds') AS win,
                count(*) AS n, count(DISTINCT uid) AS users, sum(CAST(lifetime_us AS DOUBLE) / 11) AS total
         FROM processes WHERE comm <> 'last' GROUP BY host_id, win;
         CREATE VIEW everywhere AS
         SELECT comm AS program, hop(observed_at, INTERVAL '1 second', INTERVAL '{WINDOWS} seconds') AS win,
                count(*) AS n, count(DISTINCT uid) AS users, sum(CAST(lifetime_us AS DOUBLE) / 13) AS total,
                stddev(CAST(lifetime_us AS DOUBLE)) AS spread
         FROM processes WHERE comm <> 'last' GROUP BY comm, win;
         INSERT INTO everywhere_out SELECT program, win.start AS start, n, users, total, spread FROM everywhere;
         INSERT INTO long_out SELECT host, win.start AS start, n, users, total FROM long;
         INSERT INTO per_program_out
         SELECT host, program, win.start AS start, n, users, total, mean, spread, p90 FROM per_program;
         INSERT INTO per_host_out SELECT host, win.start AS start, n, total FROM per_host;
         INSERT INTO marks_out
         SELECT host_id AS host, CAST(pid AS BIGINT) AS pid, CAST(lifetime_us AS BIGINT) AS lifetime_us
         FROM processes WHERE exit_code = 7;"
    );
    let path = folder.join(format!("{run}.sql"));
    fs::write(&path, text).expect("written");
    path
}

/// Whether the last event of every partition is written, and with it every window closed.
pub fn is_complete(bus: &dyn Bus, run: &str) -> bool {
    let last = format!("\"pid\":{LAST_PID}");
    let marks = read_all(bus, &topic_of("marks", run), PARTITIONS);
    let has_last = |payload: &&Vec<u8>| String::from_utf8_lossy(payload).contains(&last);
    let all: BTreeSet<&Vec<u8>> = marks.iter().flatten().filter(has_last).collect();
    let almost_last_events = i64::from(PARTITIONS) * ALMOST_LAST_PROGRAMS as i64;
    all.len() == PARTITIONS as usize && almost_last(bus, run) == almost_last_events * WINDOWS
}

/// Of the events before the last ones, how many are in windows that came out, over all of these.
fn almost_last(bus: &dyn Bus, run: &str) -> i64 {
    let rows = read_all(bus, &topic_of("everywhere", run), PARTITIONS).concat();
    let rows = rows.iter().map(|row| serde_json::from_slice::<serde_json::Value>(row).expect("JSON"));
    let is_almost_last =
        |row: &serde_json::Value| row["program"].as_str().is_some_and(|of| of.starts_with(ALMOST_LAST));
    rows.filter(is_almost_last).filter_map(|row| row["n"].as_i64()).sum()
}

pub fn outputs(bus: &dyn Bus, run: &str) -> Outputs {
    let mut counts = Outputs::new();
    for sink in SINKS {
        for payload in read_all(bus, &topic_of(sink, run), PARTITIONS).into_iter().flatten() {
            *counts.entry(format!("{sink} {}", String::from_utf8_lossy(&payload))).or_default() += 1;
        }
    }
    for payload in read_all(bus, &dead_letters_of(run), 1).concat() {
        let letter = DeadLetter::decode(payload.as_slice()).expect("a dead letter");
        *counts.entry(format!("dead {letter:?}")).or_default() += 1;
    }
    counts
}

/// What was fed in, for people: a line for each record.
pub fn input(bus: &dyn Bus) -> String {
    let mut lines = String::new();
    for partition in 0..PARTITIONS {
        read_records(bus, &TopicPartition { topic: TELEMETRY.into(), partition }, &mut |record| {
            let told = match EnvelopeView::parse(record.payload) {
                Ok(envelope) => {
                    let events = ProcessBatch::decode(envelope.payload).unwrap_or_default().events;
                    let times: Vec<String> = events.iter().filter_map(|e| Some(e.observed_at?.to_string())).collect();
                    format!("sequence {} times {}", envelope.header.sequence, times.join(" "))
                }
                Err(error) => error.to_string(),
            };
            let (offset, log_time_ms) = (record.offset, record.log_time_ms);
            writeln!(lines, "{partition}/{offset} log time {log_time_ms} {told}").expect("written to memory");
        });
    }
    lines
}

/// What groups of all partitions were sent in, for people: each record's header, which is JSON behind its length.
pub fn sent(bus: &dyn Bus, run: &str) -> String {
    let mut lines = String::new();
    for partition in 0..SHUFFLED {
        read_records(bus, &TopicPartition { topic: shuffle_of(run), partition }, &mut |record| {
            let length = record.payload.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
            let header = record.payload.get(4..4 + length).unwrap_or_default();
            writeln!(lines, "{partition}/{} {}", record.offset, String::from_utf8_lossy(header))
                .expect("written to memory");
        });
    }
    lines
}

/// Dead letters by reason.
pub fn reasons(bus: &dyn Bus, run: &str) -> BTreeMap<i32, usize> {
    let mut reasons = BTreeMap::new();
    for payload in read_all(bus, &dead_letters_of(run), 1).concat() {
        let letter = DeadLetter::decode(payload.as_slice()).expect("a dead letter");
        *reasons.entry(letter.reason).or_default() += 1;
    }
    reasons
}

/// Every output that is not there as often as in the undisturbed run.
pub fn differences(calm: &Outputs, disturbed: &Outputs) -> Vec<String> {
    let mut texts: Vec<&String> = calm.keys().chain(disturbed.keys()).collect();
    texts.sort();
    texts.dedup();
    let count = |of: &Outputs, text: &String| of.get(text).copied().unwrap_or_default();
    let told = texts.into_iter().filter_map(|text| {
        let (calm, disturbed) = (count(calm, text), count(disturbed, text));
        let text: String = text.chars().take(400).collect();
        (calm != disturbed).then(|| format!("{disturbed} times and not {calm} times: {text}"))
    });
    told.collect()
}
