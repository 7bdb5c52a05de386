//! Every detection of `sql/detections/` on cases from `tests/detections/NAME.json`: what must be alerted and what looks
//! alike and must not be. Through the binary, with the shipped SQL and models.
//!
//! A file has what all alerts of its detection say, from its comments, and cases: events of one host in protobuf's JSON,
//! with `at_ms` from an arbitrary beginning, and all alerts that they raise, whichever detection raises them. An entry
//! with `run` stands for the fork, exec and exit of each of the programs that it names.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{Bus, Outgoing, ReaderOptions, Record, TopicPartition, partition_for_key};
use amoskys_proto::v1::Alert;
use common::{
    open,
    processor::Processor,
    produce, read_all,
    telemetry::{ALERTS, DEAD_LETTERS, TELEMETRY, create_topics, event, iso, record},
    until,
};
use prost::Message;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const PARTITIONS: i32 = 2;
/// A whole minute, so that `at_ms` tells where windows begin.
const BASE_MS: i64 = 1_600_000_020_000;
const HOUR_MS: i64 = 3_600_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Added to the options of the stream, where the cases want it bounded otherwise; these run by themselves.
    processes_options: Option<String>,
    alert: Comments,
    cases: Vec<Case>,
}

/// What reaches each alert from the detection's comments.
#[derive(Deserialize, Debug, PartialEq, Clone)]
#[serde(deny_unknown_fields)]
struct Comments {
    title: String,
    technique: String,
    false_positives: String,
    next_steps: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    events: Vec<Value>,
    /// In the order of detection and time.
    alerts: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// The file's own when left out.
    detection: Option<String>,
    entity: String,
    at_ms: i64,
    /// Exactly, or as a model has it: anything that the severities include.
    confidence: Option<f64>,
    severity: Vec<String>,
    /// Those that are named.
    #[serde(default)]
    features: BTreeMap<String, f64>,
}

/// Where programs that `run` stands for come from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    run: Vec<String>,
    at_ms: i64,
    every_ms: i64,
    first_pid: u32,
    parent_pid: u32,
    parent_comm: String,
}

fn detections() -> BTreeSet<String> {
    names(Path::new("sql/detections"), "sql")
}

fn names(folder: &Path, extension: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = entries.filter(|path| path.extension().is_some_and(|found| found == extension));
    files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

fn files() -> BTreeMap<String, File> {
    let read = |name: String| {
        let path = format!("tests/detections/{name}.json");
        let text = fs::read_to_string(&path).expect("reads");
        let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        (name, file)
    };
    names(Path::new("tests/detections"), "json").into_iter().map(read).collect()
}

/// (at_ms, event in protobuf's JSON) of an entry.
fn expand(entry: &Value) -> Vec<(i64, Value)> {
    if entry.get("run").is_some() {
        let run: Run = serde_json::from_value(entry.clone()).unwrap_or_else(|error| panic!("{error}: {entry}"));
        return run.run.iter().zip(0..).flat_map(|(program, index)| life(&run, program, index)).collect();
    }
    let mut fields: Map<String, Value> = entry.as_object().expect("an object").clone();
    let at_ms = fields.remove("at_ms").and_then(|at| at.as_i64()).unwrap_or_else(|| panic!("no at_ms: {entry}"));
    let kind = fields["kind"].as_str().unwrap_or_else(|| panic!("no kind: {entry}"));
    fields.insert("kind".into(), format!("PROCESS_EVENT_KIND_{kind}").into());
    fields.insert("observed_at".into(), iso(BASE_MS + at_ms).into());
    vec![(at_ms, fields.into())]
}

fn life(run: &Run, program: &str, index: u32) -> Vec<(i64, Value)> {
    let begin = run.at_ms + i64::from(index) * run.every_ms;
    let part = |kind: &str, after_ms: i64, comm: &str| {
        let mut entry = json!({
            "at_ms": begin + after_ms, "kind": kind, "pid": run.first_pid + index, "comm": comm,
            "exe": format!("/usr/bin/{comm}"), "exe_fs_type": "ext4", "uid": 1000, "euid": 1000,
            "parent_pid": run.parent_pid, "parent_comm": run.parent_comm, "parent_euid": 1000,
        });
        if kind == "EXIT" {
            entry["lifetime_us"] = 5_000.into();
        }
        expand(&entry)
    };
    [part("FORK", 0, &run.parent_comm), part("EXEC", 1, program), part("EXIT", 5, program)].concat()
}

/// The events of all cases side by side, in the order of time, each case on a host of its own; and how many each
/// partition has.
fn records_of(cases: &[(String, &Case)]) -> (Vec<Outgoing>, Vec<i64>) {
    let mut events: Vec<(i64, &str, Value)> = Vec::new();
    for (host, case) in cases {
        let expanded = case.events.iter().flat_map(expand);
        events.extend(expanded.map(|(at_ms, event)| (at_ms, host.as_str(), event)));
    }
    events.sort_by_key(|(at_ms, ..)| *at_ms);
    let mut ends = vec![0; PARTITIONS as usize];
    let mut records = Vec::new();
    for (sequence, (_, host, json)) in events.into_iter().enumerate() {
        ends[partition_for_key(host.as_bytes(), PARTITIONS) as usize] += 1;
        records.push(record(None, host, sequence as u64, vec![event(json)], None));
    }
    // Closes all windows.
    for (partition, end) in (0..).zip(&mut ends) {
        let (_, last) = expand(&json!({ "at_ms": HOUR_MS, "kind": "SNAPSHOT" })).remove(0);
        records.push(record(Some(partition), "last", 0, vec![event(last)], None));
        *end += 1;
    }
    (records, ends)
}

/// A log in the folder that has the records. The stream lets windows close when nothing came for some seconds, so a log
/// on which there is such a gap, because the machine stood still, is made anew.
fn written(folder: &Path, records: &[Outgoing]) -> String {
    const GAP_MS_MAX: i64 = 2_000;
    for attempt in 0.. {
        let address = format!("local:{}", folder.join(attempt.to_string()).display());
        let bus = open(&address);
        create_topics(bus.as_ref(), PARTITIONS);
        produce(bus.as_ref(), records.iter().cloned());
        if (0..PARTITIONS).all(|partition| widest_gap_ms(bus.as_ref(), partition) < GAP_MS_MAX) {
            return address;
        }
    }
    unreachable!("attempts do not end")
}

fn widest_gap_ms(bus: &dyn Bus, partition: i32) -> i64 {
    let partition = TopicPartition { topic: TELEMETRY.into(), partition };
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let (first, end) = reader.bounds(&partition).expect("bounds");
    reader.assign(&partition, first).expect("assigned");
    let mut times_ms = Vec::new();
    until("the log is read", || {
        let mut take = |record: &Record<'_>| times_ms.push(record.log_time_ms);
        reader.poll(Duration::from_millis(20), 10_000, &mut take).expect("reads");
        times_ms.len() as i64 == end - first
    });
    times_ms.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// The shipped SQL with more options of the stream.
fn sql_with(options: Option<&String>, folder: &Path) -> PathBuf {
    let Some(options) = options else { return "sql".into() };
    let copy = folder.join("sql");
    for part in ["streams", "features", "detections"] {
        fs::create_dir_all(copy.join(part)).expect("a folder");
        for name in names(&Path::new("sql").join(part), "sql") {
            let file = Path::new(part).join(name).with_extension("sql");
            let text = fs::read_to_string(Path::new("sql").join(&file)).expect("reads");
            let text = text.replace("lateness '2s', idle", &format!("lateness '2s', {options}, idle"));
            fs::write(copy.join(file), text).expect("written");
        }
    }
    assert!(fs::read_to_string(copy.join("streams/processes.sql")).expect("reads").contains(options));
    copy
}

/// All alerts, by host.
fn alerts_of(cases: &[(String, &Case)], options: Option<&String>) -> BTreeMap<String, Vec<Alert>> {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = sql_with(options, folder.path());
    let (records, ends) = records_of(cases);
    let address = written(folder.path(), &records);
    let mut processor = Processor::start(&sql, &address, "cases", |_| {});
    processor.until_read(TELEMETRY, &ends);
    processor.terminate();
    let bus = open(&address);
    assert_eq!(read_all(bus.as_ref(), DEAD_LETTERS, 1).concat().len(), 0, "a record was refused");
    let mut alerts: BTreeMap<String, Vec<Alert>> = BTreeMap::new();
    for payload in read_all(bus.as_ref(), ALERTS, PARTITIONS).concat() {
        let alert = Alert::decode(payload.as_slice()).expect("an alert");
        alerts.entry(alert.host_id.clone()).or_default().push(alert);
    }
    alerts.values_mut().for_each(|of| of.sort_by_key(|alert| (alert.detection.clone(), at_ms(alert))));
    alerts
}

/// From the beginning that the cases count from.
fn at_ms(alert: &Alert) -> i64 {
    let time = alert.time.as_ref().expect("a time");
    time.seconds * 1000 + i64::from(time.nanos) / 1_000_000 - BASE_MS
}

/// What is wrong with `found` where `expected` should be.
fn difference(found: &Alert, expected: &Expected, detection: &str, comments: &Comments) -> Option<String> {
    let said = Comments {
        title: found.title.clone(),
        technique: found.technique.clone(),
        false_positives: found.false_positives.clone(),
        next_steps: found.next_steps.clone(),
    };
    let same_words = said == *comments;
    let same = found.detection == detection
        && found.entity == expected.entity
        && at_ms(found) == expected.at_ms
        && expected.confidence.is_none_or(|confidence| confidence == found.confidence)
        && expected.severity.contains(&found.severity)
        && expected.features.iter().all(|(name, value)| found.features.get(name) == Some(value));
    let words = || format!("\n  its words should be {comments:#?}\n  and are {said:#?}");
    (!same || !same_words).then(|| if same_words { String::new() } else { words() })
}

fn faults(host: &str, file: &str, case: &Case, found: &[Alert], files: &BTreeMap<String, File>) -> Vec<String> {
    let said: Vec<String> = found
        .iter()
        .map(|alert| {
            let Alert { detection, entity, severity, confidence, features, .. } = alert;
            format!("\n  {} ms {detection} about `{entity}` {severity} {confidence} {features:?}", at_ms(alert))
        })
        .collect();
    if found.len() != case.alerts.len() {
        return vec![format!(
            "{host}, {}: {} alerts, not {}:{}",
            case.case,
            found.len(),
            case.alerts.len(),
            said.concat()
        )];
    }
    let differences = found.iter().zip(&case.alerts).zip(&said).filter_map(|((found, expected), said)| {
        let detection = expected.detection.as_deref().unwrap_or(file);
        let comments = &files.get(detection).unwrap_or_else(|| panic!("{host}: no detection `{detection}`")).alert;
        let words = difference(found, expected, detection, comments)?;
        Some(format!("{host}, {}: another alert than expected at {} ms:{said}{words}", case.case, expected.at_ms))
    });
    differences.collect()
}

#[test]
fn every_detection_has_cases_that_alert_and_cases_that_do_not() {
    let files = files();
    assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), detections(), "tests/detections and sql/detections");
    for (name, file) in &files {
        let alerts = |case: &&Case| case.alerts.iter().any(|alert| alert.detection.is_none());
        assert!(file.cases.iter().any(|case| alerts(&case)), "no case of {name} is alerted");
        assert!(file.cases.iter().any(|case| case.alerts.is_empty()), "every case of {name} is alerted");
    }
}

#[test]
fn cases_raise_the_alerts_that_they_say_and_no_other() {
    let files = files();
    let cases = |(name, file): (&String, &'_ File)| -> Vec<String> {
        (0..file.cases.len()).map(|index| format!("{name}-{index}")).collect()
    };
    let hosts: Vec<String> = files.iter().flat_map(cases).collect();
    let all: Vec<(String, &Case)> = hosts.into_iter().zip(files.values().flat_map(|file| &file.cases)).collect();
    let options_of = |host: &str| files[host.rsplit_once('-').expect("as made").0].processes_options.as_ref();
    let mut found = BTreeMap::new();
    for options in files.values().map(|file| file.processes_options.as_ref()).collect::<BTreeSet<_>>() {
        let cases: Vec<_> = all.iter().filter(|(host, _)| options_of(host) == options).cloned().collect();
        found.extend(alerts_of(&cases, options));
    }
    let mut wrong = Vec::new();
    for (host, case) in &all {
        let file = host.rsplit_once('-').expect("as made").0;
        wrong.extend(faults(host, file, case, &found.remove(host).unwrap_or_default(), &files));
    }
    assert!(found.is_empty(), "alerts about hosts that are in no case: {found:#?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_model_says_of_its_threshold_is_of_the_one_that_its_sql_alerts_at() {
    let sql = fs::read_to_string("sql/detections/discovery_burst.sql").expect("it is shipped");
    let threshold = sql.lines().find_map(|line| line.strip_prefix("WHERE confidence >= ")).expect("it has a threshold");
    let versions = fs::read_dir("models/process_behaviour").expect("it is shipped");
    let newest = versions.map(|entry| entry.expect("an entry").path()).max().expect("a version");
    let model = fs::read_to_string(newest.join("model.toml")).expect("it says what it is");
    assert!(model.contains(&format!("\nthreshold = {threshold}\n")), "{threshold} is not what was measured:\n{model}");
}
