//! Groups that lie in many partitions, and windows of several streams: sent through a topic, merged in one order, with the
//! rows that each partition's own watermark grants. However records interleave, whoever is killed when, and whatever is sent
//! again, the same bits come out.

mod common;

use amoskys_bus::{Outgoing, Position, Record};
use amoskys_pipeline::{
    run::{Checkpoint, DeadRecord, Emission, SnapshotReader, SnapshotRecord, Source, Task, Verify, shipment_records},
    sql::{Dataflow, StreamFlow},
};
use amoskys_windows::{Watermark, WatermarkRules};
use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::Float64Type,
    util::display::array_value_to_string,
};
use common::{BASE_MS, EVENTS, Kept, MS_NS, json, planned};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

const SINK: &str = "
CREATE EXTERNAL TABLE logins (t TIMESTAMP, k VARCHAR, v DOUBLE, n BIGINT) STORED AS JSON LOCATION 'logins-topic'
OPTIONS (event_time 't', lateness '2s', idle '5s', partition_key 'k', replay_max '2s');
CREATE EXTERNAL TABLE sink (k VARCHAR, n BIGINT, s TIMESTAMP, c BIGINT, x DOUBLE, y DOUBLE, z DOUBLE, w VARCHAR)
STORED AS JSON LOCATION 'sink-topic';";

/// Groups by another column, of all rows, ranked over all, of two streams joined and united, and windows over those; one view
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
INSERT INTO sink SELECT n, win.start AS s, c, x, y, z, w FROM by_n;
INSERT INTO sink SELECT win.start AS s, c, x FROM all_rows;
INSERT INTO sink SELECT k, win.start AS s, c, x FROM per_k;
INSERT INTO sink SELECT k, win.start AS s, c, x FROM per_k ORDER BY c DESC, k LIMIT 2;
INSERT INTO sink SELECT a.n, a.win.start AS s, a.c, a.x, b.x AS y FROM by_n a JOIN logins_n b ON a.n = b.n;
INSERT INTO sink SELECT n, win.start AS s, c, x FROM by_n UNION ALL SELECT n, win.start, c, x FROM logins_n;
INSERT INTO sink SELECT n, last.start AS s, c, x FROM later;";

/// Partitions of every stream, and of every shuffle.
const PARTITIONS: i32 = 3;
const SHUFFLED: i32 = 2;

fn dataflow() -> Dataflow {
    let events = EVENTS.replace("idle '5s'", "idle '5s', replay_max '2s'");
    planned(&[("a.sql", &events), ("b.sql", SINK), ("q.sql", SQL)])
}

/// Where outputs of one partition of one flow go on, and what it committed.
#[derive(Default)]
struct Owner {
    task: Option<Task>,
    /// Index of the record that is read next.
    next: usize,
    position: Option<Position>,
    compacted: BTreeMap<String, SnapshotRecord>,
    pending: Vec<Emission>,
    dead: Vec<DeadRecord>,
    emitted: Vec<Emission>,
}

/// All partitions of all flows, with logs in memory. What is committed is there for all to read.
struct Cluster<'a> {
    dataflow: &'a Dataflow,
    /// Records of the streams' partitions, by flow.
    input: BTreeMap<(usize, i32), Vec<Kept>>,
    sent: BTreeMap<(String, i32), Vec<Vec<u8>>>,
    owners: BTreeMap<(usize, i32), Owner>,
}

impl<'a> Cluster<'a> {
    fn new(dataflow: &'a Dataflow, records: &[(u8, Kept)]) -> Self {
        let mut cluster = Self { dataflow, input: BTreeMap::new(), sent: BTreeMap::new(), owners: BTreeMap::new() };
        let streams: Vec<usize> =
            (0..dataflow.streams.len()).filter(|&flow| dataflow.streams[flow].shuffle.is_none()).collect();
        for (flow, definition) in dataflow.streams.iter().enumerate() {
            for partition in 0..if definition.shuffle.is_some() { SHUFFLED } else { PARTITIONS } {
                cluster.owners.insert((flow, partition), Owner::default());
            }
        }
        for (place, record) in records {
            let flow = streams[usize::from(*place) % streams.len()];
            let partition = i32::from(*place) / streams.len() as i32 % PARTITIONS;
            let kept = cluster.input.entry((flow, partition)).or_default();
            kept.push(Kept { offset: kept.len() as i64, ..record.clone() });
        }
        cluster
    }

    fn flow(&self, id: (usize, i32)) -> &'a StreamFlow {
        &self.dataflow.streams[id.0]
    }

    /// A new owner goes on from what is committed.
    fn start(&mut self, id: (usize, i32)) {
        let (flow, owner) = (self.flow(id), self.owners.get_mut(&id).expect("there"));
        let topic = flow.stream.topic.as_str();
        let checkpoint = owner
            .position
            .as_ref()
            .map_or(Checkpoint::start(0), |position| Checkpoint::decode(topic, id.1, position).expect("ours"));
        let restored = checkpoint.mark.map(|mark| {
            let mut reader = SnapshotReader::default();
            for record in owner.compacted.values() {
                let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
                reader.push(&record.key, &headers.collect::<Vec<_>>(), &record.payload);
            }
            reader.finish(flow, mark).unwrap_or_else(|error| panic!("what was committed is there: {error}"))
        });
        let from = restored.as_ref().and(checkpoint.mark).map_or(checkpoint.replay, |mark| mark.point);
        let task = match &flow.shuffle {
            None => Task::new(flow, topic, id.1, Verify::Off, checkpoint, restored),
            Some(shuffle) => {
                let of = |(panes, source): (usize, &Option<_>)| {
                    let count = if source.is_some() { PARTITIONS } else { 0 };
                    (0..count).map(move |partition| Source { panes, partition })
                };
                let sources: Vec<Source> = shuffle.sources.iter().enumerate().flat_map(of).collect();
                Task::of_panes(flow, shuffle, (topic, id.1), &sources, checkpoint, restored)
            }
        };
        owner.task = Some(task.expect("starts"));
        owner.next = from.offset as usize;
        (owner.pending, owner.dead) = (Vec::new(), Vec::new());
    }

    /// Reads one record; false when there is none.
    fn read(&mut self, id: (usize, i32)) -> bool {
        if self.owners[&id].task.is_none() {
            self.start(id);
        }
        let flow = self.flow(id);
        let topic = flow.stream.topic.as_str();
        let next = self.owners[&id].next;
        let (payload, log_ms) = if flow.shuffle.is_some() {
            let sent = self.sent.get(&(topic.to_owned(), id.1)).and_then(|records| records.get(next));
            (sent.cloned(), 0)
        } else {
            let kept = self.input.get(&id).and_then(|records| records.get(next));
            (kept.map(|kept| kept.payload.clone()), kept.map_or(0, |kept| kept.log_ms))
        };
        let Some(payload) = payload else { return false };
        let offset = next as i64;
        let record = Record {
            topic,
            partition: id.1,
            offset,
            log_time_ms: log_ms,
            key: None,
            payload: &payload,
            headers: Vec::new(),
        };
        if self.owners[&id].task.as_ref().is_some_and(|task| task.ends_replay(offset)) {
            self.flush(id);
        }
        let owner = self.owners.get_mut(&id).expect("there");
        owner.task.as_mut().expect("started").push(&record);
        owner.next += 1;
        true
    }

    fn flush(&mut self, id: (usize, i32)) {
        let (flow, owner) = (self.flow(id), self.owners.get_mut(&id).expect("there"));
        if let Some(task) = &mut owner.task {
            task.flush(flow, &mut owner.pending, &mut owner.dead).expect("computes");
        }
    }

    /// What is to be sent, to the topics' ends.
    fn send(&mut self, id: (usize, i32)) {
        let (flow, owner) = (self.flow(id), self.owners.get_mut(&id).expect("there"));
        let Some(task) = &mut owner.task else { return };
        for shipment in task.core.take_shipments() {
            let shared = &flow.panes[shipment.panes];
            let ship = shared.ship.as_ref().expect("sent somewhere");
            let records = shipment_records(ship, shared, id.1, &shipment, SHUFFLED).expect("encodes");
            for Outgoing { topic, partition, payload, .. } in records {
                self.sent.entry((topic, partition.expect("a partition"))).or_default().push(payload);
            }
        }
    }

    fn commit(&mut self, id: (usize, i32)) {
        self.flush(id);
        let (flow, owner) = (self.flow(id), self.owners.get_mut(&id).expect("there"));
        let Some(task) = &mut owner.task else { return };
        let Some(checkpoint) = task.core.checkpoint() else {
            assert!(owner.pending.is_empty() && task.core.take_shipments().is_empty(), "replay emits nothing");
            return;
        };
        let records = task.core.take_snapshot(flow).expect("encodes");
        owner.compacted.extend(records.into_iter().map(|record| (record.key.clone(), record)));
        owner.position = Some(checkpoint.encode());
        owner.emitted.append(&mut owner.pending);
        self.send(id);
    }

    /// Reads all that there is, closes the streams' windows, and reads all that this sends.
    fn finish(&mut self) {
        for closes in [true, false] {
            let mut ids: Vec<_> = self.owners.keys().copied().collect();
            ids.retain(|id| self.flow(*id).shuffle.is_none() == closes);
            for id in ids {
                while self.read(id) {}
                if self.owners[&id].task.is_none() {
                    self.start(id);
                }
                self.flush(id);
                let flow = self.flow(id);
                let owner = self.owners.get_mut(&id).expect("there");
                if closes {
                    let task = owner.task.as_mut().expect("started");
                    // A replay that is not over ends here: there is nothing behind it.
                    task.core.anticipate(flow, i64::MIN, &mut owner.pending).expect("computes");
                    task.core.close_all(flow, &mut owner.pending).expect("computes");
                }
                self.commit(id);
            }
        }
    }

    /// For each partition of each flow the rows of each INSERT in their order, floats by their bits.
    fn lines(&self) -> BTreeMap<(String, i32, usize), Vec<String>> {
        let mut lines: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for (&(flow, partition), owner) in &self.owners {
            let name = &self.dataflow.streams[flow].stream.name;
            for emission in &owner.emitted {
                let rows = lines.entry((name.clone(), partition, emission.insert)).or_default();
                for row in 0..emission.batch.num_rows() {
                    let values: Vec<String> =
                        emission.batch.columns().iter().map(|column| value(column, row)).collect();
                    let sources: Vec<_> = emission
                        .sources
                        .iter()
                        .map(|of| (&of.topic, of.partition, of.first_offset, of.last_offset))
                        .collect();
                    rows.push(format!("{:?} {sources:?} {}", emission.window_ns, values.join(" ")));
                }
            }
        }
        lines
    }
}

fn value(column: &ArrayRef, row: usize) -> String {
    match column.as_primitive_opt::<Float64Type>() {
        Some(floats) if floats.is_valid(row) => format!("{:016x}", floats.value(row).to_bits()),
        _ => array_value_to_string(column, row).expect("prints"),
    }
}

/// Records of both streams, in the order in which time passes: gaps in log time, rows out of order and late. The number
/// decides stream and partition.
fn records() -> impl Strategy<Value = Vec<(u8, Kept)>> {
    let gap_ms = prop_oneof![12 => 0i64..300, 1 => 2000i64..8000];
    let back_ms = prop_oneof![6 => 0i64..900, 3 => 900i64..3500, 1 => 3500i64..9000];
    let record = (any::<u8>(), gap_ms, back_ms, 0u8..5, 1i64..4, -9.0f64..9.0);
    prop::collection::vec(record, 1..90).prop_map(|records| {
        let mut log_ms = 10_000;
        let record = |(place, gap_ms, back_ms, key, n, v): (u8, i64, i64, u8, i64, f64)| {
            log_ms += gap_ms;
            (place, json(0, log_ms, Some(log_ms - back_ms), &format!("k{key}"), v, n))
        };
        records.into_iter().map(record).collect()
    })
}

fn run(test: impl Fn(&Dataflow, Vec<(u8, Kept)>, Vec<(u8, u8)>) -> Result<(), TestCaseError>) {
    let dataflow = dataflow();
    let steps = prop::collection::vec((any::<u8>(), any::<u8>()), 0..250);
    let cases = if std::env::var("PROPTEST_CASES").is_ok() { Config::default().cases } else { 150 };
    TestRunner::new(Config { cases, ..Config::default() })
        .run(&(records(), steps), |(records, steps)| test(&dataflow, records, steps))
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
    assert_eq!(inserts, [1, 4, 0, 2], "per_k stays; joined and united streams are in one flow");
    let keys = |flow: usize| -> Vec<Vec<usize>> {
        let ships = dataflow.streams[flow].panes.iter().filter_map(|panes| panes.ship.as_ref());
        ships.map(|ship| ship.key.clone()).collect()
    };
    assert_eq!(keys(0), [vec![0], vec![], vec![], vec![0]], "by n, of all rows, ranked, joined by n");
    assert_eq!(keys(2), [vec![0]]);
}

/// Where a query is computed: `None` in the partitions of `ev`, else the key columns by which its views are sent.
fn placed(sql: &str) -> Option<Vec<Vec<usize>>> {
    let query = format!("INSERT INTO sink {sql};");
    let views = SQL.split("INSERT INTO").next().expect("views");
    let events = EVENTS.to_owned()
        + "CREATE VIEW per_k_too AS SELECT k, n, tumble(t, INTERVAL '2 seconds') AS win, sum(v) AS x FROM ev GROUP BY k, n, win;
           CREATE EXTERNAL TABLE owners (k VARCHAR, team VARCHAR) STORED AS CSV LOCATION '../../docs/examples/owners.csv'
           OPTIONS ('format.has_header' 'false');";
    let dataflow = planned(&[("a.sql", &events), ("b.sql", SINK), ("c.sql", views), ("q.sql", &query)]);
    if dataflow.streams[0].inserts.len() == 1 {
        assert_eq!(dataflow.streams.len(), 1, "{sql}");
        return None;
    }
    let ships = dataflow.streams.iter().flat_map(|flow| &flow.panes).filter_map(|panes| panes.ship.as_ref());
    Some(ships.map(|ship| ship.key.clone()).collect())
}

#[test]
fn each_step_says_which_rows_it_wants_together() {
    let gathered = |views: usize| Some(vec![Vec::new(); views]);
    let by = |keys: &[usize]| Some(keys.iter().map(|&key| vec![key]).collect());
    let cases: Vec<(&str, Option<Vec<Vec<usize>>>)> = vec![
        ("SELECT k, c FROM per_k WHERE c > 1 ORDER BY c", None),
        (
            "SELECT k AS w, c FROM (SELECT k, c, row_number() OVER (PARTITION BY k ORDER BY c) AS r FROM per_k) WHERE r = 1",
            None,
        ),
        ("SELECT k, c FROM per_k ORDER BY c LIMIT 1", gathered(1)),
        ("SELECT k, rank() OVER (ORDER BY c) AS n FROM per_k", gathered(1)),
        ("SELECT count(*) AS c FROM per_k", gathered(1)),
        ("SELECT DISTINCT c FROM per_k", gathered(1)),
        ("SELECT DISTINCT k, c FROM per_k", None),
        ("SELECT k, sum(x) AS x FROM per_k_too GROUP BY k", None),
        ("SELECT n, sum(x) AS x FROM per_k_too GROUP BY n", by(&[1])),
        ("SELECT n, k, sum(x) AS x FROM per_k_too GROUP BY n, k", None),
        ("SELECT upper(k) AS k, sum(x) AS x FROM per_k_too GROUP BY upper(k)", gathered(1)),
        ("SELECT a.k, b.x FROM per_k a JOIN per_k_too b ON a.k = b.k", None),
        ("SELECT a.k, b.x FROM per_k a, per_k_too b WHERE a.k = b.k", None),
        ("SELECT a.k, b.x FROM per_k a LEFT JOIN per_k_too b ON a.k = b.k", None),
        ("SELECT b.k, sum(b.x) AS x FROM per_k a LEFT JOIN per_k_too b ON a.k = b.k GROUP BY b.k", gathered(2)),
        ("SELECT a.k, a.c FROM per_k a WHERE a.k IN (SELECT k FROM per_k_too WHERE n = 1)", None),
        ("SELECT a.k, a.c FROM per_k a WHERE a.c > (SELECT avg(x) FROM per_k_too)", gathered(2)),
        ("SELECT a.k, b.x FROM per_k a JOIN per_k_too b ON a.c = b.n", gathered(2)),
        ("SELECT a.k, b.x FROM per_k a CROSS JOIN per_k_too b", gathered(2)),
        ("SELECT a.n, b.x FROM per_k_too a JOIN per_k_too b ON a.n = b.n", by(&[1])),
        ("SELECT p.k, team AS w FROM per_k p LEFT JOIN owners o ON p.k = o.k", None),
        ("SELECT o.k, p.c FROM owners o LEFT JOIN per_k p ON p.k = o.k", gathered(1)),
        ("SELECT k, c FROM per_k UNION ALL SELECT k, x FROM per_k_too", None),
        ("SELECT k, sum(c) AS c FROM (SELECT k, c FROM per_k UNION ALL SELECT k, x FROM per_k_too) GROUP BY k", None),
        ("SELECT n, c FROM by_n WHERE c > 1", by(&[0])),
        ("SELECT n, c FROM later", by(&[0])),
        ("SELECT sum(c) AS c FROM later GROUP BY n % 2", gathered(1)),
        ("SELECT a.n, b.x FROM by_n a LEFT JOIN logins_n b ON a.n = b.n", by(&[0, 0])),
        ("SELECT a.n, b.x FROM by_n a LEFT JOIN logins_n b ON a.c = b.c", gathered(2)),
        ("SELECT c, x FROM all_rows", gathered(1)),
    ];
    let wrong: Vec<String> = cases
        .into_iter()
        .map(|(sql, expected)| (sql, expected, placed(sql)))
        .filter(|(_, expected, found)| expected != found)
        .map(|(sql, expected, found)| format!("{sql}\n  expected {expected:?}\n  found    {found:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn neither_order_nor_restarts_nor_repetition_change_a_bit() {
    let [restarts, replays, restored, repeated] = [const { Cell::new(0u32) }; 4];
    run(|dataflow, records, steps| {
        let expected = in_turn(dataflow, &records);
        let mut cluster = Cluster::new(dataflow, &records);
        let ids: Vec<_> = cluster.owners.keys().copied().collect();
        for (who, what) in steps {
            let id = ids[usize::from(who) % ids.len()];
            match what % 16 {
                0..9 => {
                    for _ in 0..=what / 32 {
                        cluster.read(id);
                    }
                }
                9..11 => cluster.flush(id),
                11..14 => cluster.commit(id),
                // Killed: what was not committed is gone. Once in a while it was sent all the same, and is sent again.
                of => {
                    if of == 14 && cluster.owners[&id].task.is_some() {
                        cluster.flush(id);
                        let before = cluster.sent.values().map(Vec::len).sum::<usize>();
                        cluster.send(id);
                        let is_more = cluster.sent.values().map(Vec::len).sum::<usize>() > before;
                        repeated.set(repeated.get() + u32::from(is_more));
                    }
                    cluster.start(id);
                    let owner = &cluster.owners[&id];
                    let core = &owner.task.as_ref().expect("started").core;
                    restarts.set(restarts.get() + 1);
                    replays.set(replays.get() + u32::from(core.is_replaying()));
                    restored.set(restored.get() + u32::from(!owner.compacted.is_empty()));
                }
            }
        }
        cluster.finish();
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

/// A row counts in every window that ends after the watermark which it found in its own partition.
#[test]
fn windows_hold_what_each_partition_grants() {
    let some = Cell::new(0usize);
    run(|dataflow, records, _| {
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
        (replaced(&digest, "0000000000000000"), "other SQL"),
        (replaced("\"v\":1", "\"v\":2"), "version 2"),
        (b"\xff\xff\xff\xff{}".to_vec(), "cut short"),
    ];
    let reader = (1, 0);
    for (payload, _) in &cases {
        cluster.sent.get_mut(&(topic.clone(), 0)).expect("there").push(payload.clone());
    }
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
    let checkpoint = owner.task.as_ref().expect("started").core.checkpoint().expect("not replaying");
    assert_eq!(checkpoint.position, owner.next as i64, "it is read over");
}
