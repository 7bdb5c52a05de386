//! Groups that lie in many partitions, and windows of several streams: sent through a topic, merged in one order, with the
//! rows that each partition's own watermark grants. However records interleave, whoever is killed when, and whatever is sent
//! again, the same bits come out.

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod other_sql;
mod placing;

use amoskys_pipeline::{
    run::{History, HistoryOptions, run_history},
    sql::Dataflow,
};
use amoskys_windows::{Watermark, WatermarkRules};
use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray, TimestampNanosecondArray},
    record_batch::RecordBatch,
};
use cluster::{Cluster, PARTITIONS, SHUFFLED, rows_of};
use common::{BASE_MS, EVENTS, Kept, MS_NS, json, planned};
use parquet::arrow::ArrowWriter;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

const SINK: &str = "
CREATE EXTERNAL TABLE logins (t TIMESTAMP, k VARCHAR, v DOUBLE, n BIGINT) STORED AS JSON LOCATION 'logins-topic'
OPTIONS (event_time 't', lateness '2s', idle '5s', partition_key 'k', replay_max '2s', max_skew '1ms');
CREATE EXTERNAL TABLE sink (k VARCHAR, n BIGINT, s TIMESTAMP, c BIGINT, x DOUBLE, y DOUBLE, z DOUBLE, w VARCHAR)
STORED AS JSON LOCATION 'sink-topic';";

/// Groups by another column, of all rows, ranked over all, of two streams joined and united, windows over those, and sessions; one view
/// stays where it is.
const SQL: &str = "
CREATE VIEW by_n AS SELECT n, hop(t, INTERVAL '1 second', INTERVAL '3500 milliseconds') AS win, count(*) AS c, sum(v) AS x,
  avg(v) AS y, stddev(v) AS z, count(DISTINCT k) AS d, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY v) AS p,
  array_to_string(array_agg(v ORDER BY v), ',') AS w FROM ev GROUP BY n, win;
CREATE VIEW all_rows AS SELECT tumble(t, INTERVAL '700 milliseconds') AS win, count(*) AS c, sum(v) AS x FROM ev GROUP BY win;
CREATE VIEW per_k AS SELECT k, tumble(t, INTERVAL '2 seconds') AS win, count(*) AS c, sum(v) AS x FROM ev GROUP BY k, win;
CREATE VIEW logins_n AS SELECT n, hop(t, INTERVAL '1 second', INTERVAL '3500 milliseconds') AS win, count(*) AS c,
  max(v) AS x FROM logins WHERE v > 0.0 GROUP BY n, win;
CREATE VIEW later AS SELECT n, tumble(win.end, INTERVAL '4 seconds') AS last, sum(x) AS x, max(c) AS c FROM by_n
  GROUP BY n, last;
CREATE VIEW visits AS SELECT n, session(t, INTERVAL '400 milliseconds', INTERVAL '4 seconds') AS win, count(*) AS c,
  sum(v) AS x, array_to_string(array_agg(v ORDER BY v), ',') AS w FROM ev GROUP BY n, win;
INSERT INTO sink SELECT n, win.start AS s, c, x, y, z, w FROM by_n;
INSERT INTO sink SELECT win.start AS s, c, x FROM all_rows;
INSERT INTO sink SELECT k, win.start AS s, c, x FROM per_k;
INSERT INTO sink SELECT k, win.start AS s, c, x FROM per_k ORDER BY c DESC, k LIMIT 2;
INSERT INTO sink SELECT a.n, a.win.start AS s, a.c, a.x, b.x AS y FROM by_n a JOIN logins_n b ON a.n = b.n;
INSERT INTO sink SELECT n, win.start AS s, c, x FROM by_n UNION ALL SELECT n, win.start, c, x FROM logins_n;
INSERT INTO sink SELECT n, last.start AS s, c, x FROM later;
INSERT INTO sink SELECT n, win.start AS s, c, x, concat(w, ' until ', win.end) AS w FROM visits;";

fn dataflow() -> Dataflow {
    dataflow_of(SQL)
}

fn dataflow_of(sql: &str) -> Dataflow {
    // No row is ever ahead of its record here.
    let events = EVENTS.replace("idle '5s'", "idle '5s', replay_max '2s', max_skew '1ms'");
    planned(&[("a.sql", &events), ("b.sql", SINK), ("q.sql", sql)])
}

/// Records of both streams, in the order in which time passes: gaps in log time, rows out of order and late. The number
/// decides stream and partition.
fn records(count_max: usize) -> impl Strategy<Value = Vec<(u8, Kept)>> {
    // Many records are not of more time than a few.
    let gap_ms = prop_oneof![12 => 0i64..27_000 / count_max as i64, 1 => 2000i64..8000];
    let gap_ms =
        (0..count_max.div_ceil(90), gap_ms).prop_map(|(of, gap_ms)| if of == 0 { gap_ms } else { gap_ms.min(300) });
    let back_ms = prop_oneof![6 => 0i64..900, 3 => 900i64..3500, 1 => 3500i64..9000];
    let record = (any::<u8>(), gap_ms, back_ms, 0u8..5, 1i64..4, -9.0f64..9.0);
    prop::collection::vec(record, 1..count_max).prop_map(|records| {
        let mut log_ms = 10_000;
        let record = |(place, gap_ms, back_ms, key, n, v): (u8, i64, i64, u8, i64, f64)| {
            log_ms += gap_ms;
            (place, json(0, log_ms, Some(log_ms - back_ms), &format!("k{key}"), v, n))
        };
        records.into_iter().map(record).collect()
    })
}

fn run(records_max: usize, test: impl Fn(&Dataflow, Vec<(u8, Kept)>, Vec<(u8, u8)>) -> Result<(), TestCaseError>) {
    let dataflow = dataflow();
    let steps = prop::collection::vec((any::<u8>(), any::<u8>()), 0..250);
    let cases = if std::env::var("PROPTEST_CASES").is_ok() { Config::default().cases } else { 150 };
    TestRunner::new(Config { cases, ..Config::default() })
        .run(&(records(records_max), steps), |(records, steps)| test(&dataflow, records, steps))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Every partition from its beginning to its end, one after the other.
fn in_turn(dataflow: &Dataflow, records: &[(u8, Kept)]) -> BTreeMap<(String, i32, usize), Vec<String>> {
    let mut cluster = Cluster::new(dataflow, records);
    cluster.finish();
    cluster.lines()
}

#[test]
fn groups_that_have_to_be_sent_are_and_others_stay() {
    let dataflow = dataflow();
    let names: Vec<&str> = dataflow.streams.iter().map(|flow| flow.stream.name.as_str()).collect();
    assert_eq!(names, ["ev", "shuffle of ev", "logins", "shuffle of ev-logins"]);
    let inserts: Vec<usize> = dataflow.streams.iter().map(|flow| flow.inserts.len()).collect();
    assert_eq!(inserts, [1, 5, 0, 2], "per_k stays; joined and united streams are in one flow");
    let keys = |flow: usize| -> Vec<Vec<usize>> {
        let ships = dataflow.streams[flow].panes.iter().filter_map(|panes| panes.ship.as_ref());
        ships.map(|ship| ship.key.clone()).collect()
    };
    assert_eq!(
        keys(0),
        [vec![0], vec![], vec![], vec![0], vec![0]],
        "by n, of all rows, ranked, joined by n, sessions"
    );
    assert_eq!(keys(2), [vec![0]]);
}

/// Reads, and does what else each step says with the partition that it names; to the end then.
fn disturbed<'a>(
    dataflow: &'a Dataflow,
    records: &[(u8, Kept)],
    steps: &[(u8, u8)],
    mut disturb: impl FnMut(&mut Cluster<'a>, (usize, i32), (u8, u8)),
) -> Cluster<'a> {
    let mut cluster = Cluster::new(dataflow, records);
    let ids: Vec<_> = cluster.owners.keys().copied().collect();
    for &(who, what) in steps {
        let id = ids[usize::from(who) % ids.len()];
        if what % 16 < 9 {
            for _ in 0..=what / 32 {
                cluster.read(id);
            }
        } else {
            disturb(&mut cluster, id, (who, what));
        }
    }
    cluster.finish();
    cluster
}

fn count(of: &Cell<usize>, more: usize) {
    of.set(of.get() + more);
}

#[test]
fn neither_order_nor_restarts_nor_repetition_change_a_bit() {
    let [restarts, replays, restored, repeated] = [const { Cell::new(0usize) }; 4];
    run(90, |dataflow, records, steps| {
        let expected = in_turn(dataflow, &records);
        let cluster = disturbed(dataflow, &records, &steps, |cluster, id, (_, what)| match what % 16 {
            9..11 => cluster.flush(id),
            11..14 => cluster.commit(id),
            // Killed: what was not committed is gone. Once in a while it was sent all the same, and is sent again.
            of => {
                if of == 14 && cluster.owners[&id].task.is_some() {
                    cluster.flush(id);
                    let before = cluster.sent.values().map(Vec::len).sum::<usize>();
                    cluster.send(id);
                    let is_more = cluster.sent.values().map(Vec::len).sum::<usize>() > before;
                    count(&repeated, usize::from(is_more));
                }
                cluster.start(id);
                let owner = &cluster.owners[&id];
                let core = &owner.task.as_ref().expect("started").core;
                count(&restarts, 1);
                count(&replays, usize::from(core.is_replaying()));
                count(&restored, usize::from(!owner.compacted.is_empty()));
            }
        });
        let found = cluster.lines();
        for (place, lines) in &expected {
            prop_assert_eq!(found.get(place), Some(lines), "{:?}", place);
        }
        prop_assert_eq!(found.len(), expected.len());
        Ok(())
    });
    let counts = [restarts.get(), replays.get(), restored.get(), repeated.get()];
    assert!(
        counts[0] > 200 && counts.iter().all(|count| *count > 10),
        "restarts, replays, restored, repeated: {counts:?}"
    );
}

/// At least once: outputs are written before positions, and some of them are when somebody is killed. What comes out again
/// is what came out before, and nothing is missing.
#[test]
fn what_is_written_before_a_kill_is_written_again_and_nothing_else() {
    let [arrived, late, read_again, repeated] = [const { Cell::new(0usize) }; 4];
    run(300, |dataflow, records, steps| {
        let expected = in_turn(dataflow, &records);
        let cluster = disturbed(dataflow, &records, &steps, |cluster, id, (who, what)| match what % 16 {
            9 => cluster.flush(id),
            10 => cluster.commit(id),
            // Nobody may be left behind for long, or all wait for it.
            11 | 12 => {
                let ids: Vec<_> = cluster.owners.keys().copied().collect();
                for id in ids {
                    for _ in 0..=who / 64 {
                        cluster.read(id);
                    }
                    if what % 32 == 11 {
                        cluster.commit(id);
                    }
                }
            }
            13 => count(&late, usize::from(cluster.arrive(id))),
            _ => {
                count(&arrived, usize::from(cluster.die_before_commit(id, who ^ what)));
                if who % 3 == 0 {
                    cluster.empty(id);
                }
                cluster.start(id);
            }
        });
        count(&read_again, cluster.owners.values().map(|owner| owner.read_again).sum());
        let found = cluster.lines();
        for (place, lines) in &found {
            let expected = expected.get(place).map_or(&[][..], Vec::as_slice);
            let others: Vec<_> = lines.iter().filter(|line| !expected.contains(line)).collect();
            prop_assert!(others.is_empty(), "{place:?}: {others:#?}\nand not one of {expected:#?}");
            count(&repeated, lines.len().saturating_sub(expected.len()));
        }
        for (place, expected) in &expected {
            let found = found.get(place).map_or(&[][..], Vec::as_slice);
            let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
            prop_assert!(missing.is_empty(), "{place:?} lacks {missing:#?}");
        }
        Ok(())
    });
    let counts = [arrived.get(), late.get(), read_again.get(), repeated.get()];
    assert!(counts.iter().all(|count| *count > 10), "arrived, late, read again, repeated: {counts:?}");
}

/// A row counts in every window that ends after the watermark which it found in its own partition.
#[test]
fn windows_hold_what_each_partition_grants() {
    let some = Cell::new(0usize);
    run(90, |dataflow, records, _| {
        let cluster = Cluster::new(dataflow, &records);
        let mut expected: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        let rules =
            WatermarkRules { lateness_ns: 1_000 * MS_NS, max_skew_ns: 60_000 * MS_NS, idle_ns: Some(5_000 * MS_NS) };
        for records in (0..PARTITIONS).filter_map(|partition| cluster.input.get(&(0, partition))) {
            let mut watermark = Watermark::default();
            for record in records {
                let row: serde_json::Value = serde_json::from_slice(&record.payload).expect("JSON");
                let time_ns: i64 = row["t"].as_i64().expect("a time");
                watermark.begin_record(&rules, Some(record.log_ms * MS_NS));
                let (slide, size) = (1_000 * MS_NS, 3_500 * MS_NS);
                for start in (time_ns - size).div_euclid(slide) + 1..=time_ns.div_euclid(slide) {
                    if start * slide + size > watermark.time_ns {
                        *expected.entry((start * slide, row["n"].as_i64().expect("a number"))).or_default() += 1;
                    }
                }
                watermark.observe(&rules, time_ns);
            }
        }
        let mut found: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        let mut cluster = cluster;
        cluster.finish();
        for (&(flow, _), owner) in &cluster.owners {
            for emission in owner.emitted.iter().filter(|emission| flow == 1 && emission.insert == 0) {
                let start = emission.window_ns.expect("a window").0;
                let numbers = |name: &str| {
                    let column = emission.batch.column_by_name(name).expect("there");
                    column.as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
                };
                for (n, c) in numbers("n").into_iter().zip(numbers("c")) {
                    prop_assert_eq!(found.insert((start, n), c), None, "a group came twice");
                }
            }
        }
        some.set(some.get() + found.len());
        prop_assert_eq!(found, expected);
        Ok(())
    });
    assert!(some.get() > 1_000);
}

/// `v` as its text says; serde_json's is not always the nearest.
fn float(record: &Kept) -> f64 {
    let text = String::from_utf8_lossy(&record.payload);
    let value = text.split("\"v\": ").nth(1).and_then(|rest| rest.split(',').next());
    value.and_then(|value| value.parse().ok()).expect("a number")
}

/// A stream's records as an export of its topic.
fn write(folder: &Path, name: &str, partitions: &BTreeMap<(usize, i32), Vec<Kept>>, flow: usize) -> PathBuf {
    let of_flow = partitions.iter().filter(|((of, _), _)| *of == flow);
    let rows: Vec<(i32, &Kept)> =
        of_flow.flat_map(|((_, partition), records)| records.iter().map(|record| (*partition, record))).collect();
    let parsed =
        |(_, record): &(i32, &Kept)| serde_json::from_slice::<serde_json::Value>(&record.payload).expect("JSON");
    let all: Vec<serde_json::Value> = rows.iter().map(parsed).collect();
    let times = |times: Vec<i64>| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(times)) };
    let whole = |name: &str| all.iter().map(|row| row[name].as_i64().expect("a number")).collect::<Vec<_>>();
    let text = all.iter().map(|row| row["k"].as_str().expect("text"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", times(whole("t"))),
        ("k", Arc::new(StringArray::from_iter_values(text))),
        ("v", Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, record)| float(record))))),
        ("n", Arc::new(Int64Array::from(whole("n")))),
        ("_partition", Arc::new(Int32Array::from_iter_values(rows.iter().map(|(partition, _)| *partition)))),
        ("_offset", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, record)| record.offset)))),
        ("_log_time", times(rows.iter().map(|(_, record)| record.log_ms * MS_NS).collect())),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let path = folder.join(name);
    let mut writer =
        ArrowWriter::try_new(File::create(&path).expect("a file"), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    path
}

fn without_sources(row: &str) -> String {
    let (window, rest) = row.split_once(" [").expect("sources");
    format!("{window} {}", rest.split_once(']').expect("their end").1)
}

#[test]
fn over_files_the_same_rows_come_out() {
    let folder = tempfile::tempdir().expect("a folder");
    run(90, |dataflow, records, _| {
        let mut cluster = Cluster::new(dataflow, &records);
        let history: History = [("ev", 0), ("logins", 2)]
            .map(|(name, flow)| {
                (name.to_owned(), vec![write(folder.path(), &format!("{name}.parquet"), &cluster.input, flow)])
            })
            .into();
        cluster.finish();
        let (mut live, mut over) = (BTreeMap::new(), BTreeMap::new());
        for ((stream, _, insert), rows) in cluster.lines() {
            live.entry((stream, insert)).or_insert_with(Vec::new).extend(rows);
        }
        run_history(std::slice::from_ref(dataflow), &history, &HistoryOptions::default(), &mut |flow, emission| {
            let place = (dataflow.streams[flow].stream.name.clone(), emission.insert);
            over.entry(place).or_insert_with(Vec::new).extend(rows_of(&emission));
            ControlFlow::Continue(())
        })
        .expect("runs");
        for rows in live.values_mut().chain(over.values_mut()) {
            // Over files one partition has all groups, so a window of it comes from more records.
            rows.iter_mut().for_each(|row: &mut String| *row = without_sources(row));
            rows.sort();
        }
        live.retain(|_, rows| !rows.is_empty());
        over.retain(|_, rows| !rows.is_empty());
        let places: BTreeSet<_> = live.keys().chain(over.keys()).cloned().collect();
        for place in places {
            let rows = |of: &BTreeMap<_, Vec<String>>| of.get(&place).cloned().unwrap_or_default();
            let (live, over) = (rows(&live), rows(&over));
            let count = |of: &[String], row: &String| of.iter().filter(|other| *other == row).count();
            let told = live.iter().chain(&over).map(|row| (count(&live, row), count(&over, row), row));
            let differing: Vec<_> = told.filter(|(live, over, _)| live != over).collect();
            prop_assert!(differing.is_empty(), "{place:?}: live, over files, row: {differing:#?}");
        }
        Ok(())
    });
}

#[test]
fn a_partition_without_records_is_idle_from_the_beginning() {
    let dataflow = dataflow();
    let ids: Vec<i32> = (0..PARTITIONS).collect();
    let mut cluster = Cluster::new(&dataflow, &[(0, json(0, 0, Some(0), "a", 1.0, 1))]);
    for &partition in &ids {
        cluster.read((0, partition));
        if cluster.owners[&(0, partition)].task.is_none() {
            cluster.start((0, partition));
        }
        cluster.commit((0, partition));
    }
    let drain = |cluster: &mut Cluster<'_>| {
        (0..SHUFFLED).for_each(|partition| {
            while cluster.read((1, partition)) {}
            cluster.commit((1, partition));
        });
        (0..SHUFFLED).map(|partition| cluster.owners[&(1, partition)].emitted.len()).sum::<usize>()
    };
    assert_eq!(drain(&mut cluster), 0, "nobody has said that those without records have none");
    for &partition in &ids {
        let flow = &dataflow.streams[0];
        let owner = cluster.owners.get_mut(&(0, partition)).expect("there");
        let core = &mut owner.task.as_mut().expect("started").core;
        let now_ns = (BASE_MS + 60_000) * MS_NS;
        assert!(core.would_anticipate(flow, now_ns), "others wait for it");
        core.anticipate(flow, now_ns, &mut owner.pending).expect("computes");
        assert!(!core.would_anticipate(flow, now_ns), "they have been told");
        cluster.commit((0, partition));
    }
    assert!(drain(&mut cluster) > 0, "the last window fires although all is quiet");
}

/// Each partition says last how far it has come at another time, and who merges is killed after each.
#[test]
fn who_merges_is_killed_while_some_have_said_all_they_have_to_say() {
    let dataflow = dataflow();
    let records: Vec<(u8, Kept)> = (0..PARTITIONS as u8)
        .flat_map(|partition| [0i64, 9_000].map(|ms| (partition * 2, json(0, ms, Some(ms), "a", 1.0, 1))))
        .collect();
    let mut cluster = Cluster::new(&dataflow, &records);
    for partition in 0..PARTITIONS {
        while cluster.read((0, partition)) {}
        cluster.commit((0, partition));
        for merging in (0..SHUFFLED).map(|partition| (1, partition)) {
            while cluster.read(merging) {}
            cluster.commit(merging);
            cluster.start(merging);
        }
    }
    let mut emitted = 0;
    for merging in (0..SHUFFLED).map(|partition| (1, partition)) {
        while cluster.read(merging) {}
        cluster.flush(merging);
        let owner = cluster.owners.get_mut(&merging).expect("there");
        let core = &mut owner.task.as_mut().expect("started").core;
        core.anticipate(&dataflow.streams[1], i64::MIN, &mut owner.pending).expect("computes");
        assert_eq!(core.watermark().time_ns, (BASE_MS + 8_000) * MS_NS, "all have passed it");
        cluster.commit(merging);
        emitted += cluster.owners[&merging].emitted.len();
    }
    assert!(emitted > 0, "windows came out, and none waits for who is silent");
}

#[test]
fn what_is_not_ours_becomes_a_dead_letter() {
    let dataflow = dataflow();
    let mut cluster = Cluster::new(&dataflow, &[(0, json(0, 0, Some(0), "a", 1.0, 1))]);
    cluster.read((0, 0));
    cluster.finish();
    let topic = dataflow.streams[1].stream.topic.clone();
    let ours = cluster.sent[&(topic.clone(), 0)][0].clone();
    let digest = dataflow.streams[1].shuffle.as_ref().expect("shuffled").sources[0].clone().expect("sent").digest;
    let replaced = |from: &str, to: &str| -> Vec<u8> {
        let at = ours.windows(from.len()).position(|part| part == from.as_bytes()).expect("there");
        [&ours[..at], to.as_bytes(), &ours[at + from.len()..]].concat()
    };
    let cases = [
        (b"\x01".to_vec(), "cut short"),
        (ours[..ours.len() / 2].to_vec(), "panes that were sent"),
        (b"\xff\xff\xff\xff{}".to_vec(), "cut short"),
    ];
    // Of other SQL, or of another processor: it is left out, and can be computed again from the rows.
    let foreign = [replaced(&digest, "0000000000000000"), replaced("\"v\":1", "\"v\":2")];
    let reader = (1, 0);
    let sent = cluster.sent.get_mut(&(topic.clone(), 0)).expect("there");
    sent.extend(cases.iter().map(|(payload, _)| payload.clone()).chain(foreign));
    while cluster.read(reader) {}
    cluster.flush(reader);
    let owner = &cluster.owners[&reader];
    let details: Vec<&str> = owner.dead.iter().map(|dead| dead.detail.as_str()).collect();
    assert_eq!(details.len(), cases.len(), "{details:?}");
    for (detail, (_, part)) in details.iter().zip(&cases) {
        assert!(detail.contains(part), "{detail} lacks {part}");
    }
    let offsets: BTreeSet<i64> = owner.dead.iter().map(|dead| dead.offset).collect();
    assert_eq!(offsets.len(), cases.len());
    assert_eq!(owner.task.as_ref().expect("started").core.counters.foreign_records, 2);
    let checkpoint = owner.task.as_ref().expect("started").core.checkpoint().expect("not replaying");
    assert_eq!(checkpoint.position, owner.next as i64, "it is read over");
}
