//! Rows that share a record: what is in it depends on the window (or the stream's record) and the sink alone.

mod common;

use amoskys_bus::{Outgoing, partition_for_key};
use amoskys_columns::{ArrowDecoder, Limits};
use amoskys_pipeline::{
    run::{Checkpoint, Emission, Emitter},
    sql::Dataflow,
};
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int64Type, TimestampNanosecondType},
};
use common::{EVENTS, Kept, Out, flush, json, planned, push, run_one_by_one, task, with_restarts};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;

const PARTITIONS: i32 = 3;
const KEYS: usize = 40;

/// A window with many keys that is written in records of `rows_max`.
fn flow(query: &str, options: &str) -> Dataflow {
    let sink = format!(
        "CREATE EXTERNAL TABLE packed (k VARCHAR, c BIGINT, total DOUBLE, least DOUBLE, till TIMESTAMP, text VARCHAR)
         STORED AS ARROW LOCATION 'packed' OPTIONS (partition_key 'k'{options});
         CREATE VIEW per_s AS SELECT k, hop(t, INTERVAL '1 second', INTERVAL '3 seconds') AS win, count(*) AS c, sum(v) AS total,
         min(v) FILTER (WHERE n > 1) AS least FROM ev GROUP BY k, win;"
    );
    planned(&[("a.sql", EVENTS), ("b.sql", &sink), ("q.sql", query)])
}

const WINDOWS: &str = "INSERT INTO packed SELECT k, c, total, least, win.end AS till, repeat(k, 3) AS text FROM per_s;";

/// Ten seconds of events with random keys and values, and one that closes all windows.
fn records(random: &mut StdRng) -> Vec<Kept> {
    let mut records: Vec<Kept> = (0..600)
        .map(|offset| {
            let time_ms = offset * 10_000 / 600 - random.random_range(0..500);
            let key = format!("key-{}", random.random_range(0..KEYS));
            json(offset, offset * 17, Some(time_ms), &key, random.random(), random.random_range(0..3))
        })
        .collect();
    records.push(json(600, 20_000, Some(60_000), "last", 1.0, 1));
    records
}

fn emitter(dataflow: &Dataflow) -> Emitter {
    let mut emitter = Emitter::new(&dataflow.streams[0].inserts[0]).expect("encodes").expect("has a sink");
    emitter.spread_over(PARTITIONS);
    emitter
}

fn encode(dataflow: &Dataflow, emissions: &[Emission]) -> Vec<Outgoing> {
    let (emitter, mut records) = (emitter(dataflow), Vec::new());
    emissions.iter().for_each(|emission| emitter.encode(emission, &mut records).expect("encodes"));
    records
}

/// All in batches of any size.
fn in_batches(dataflow: &Dataflow, records: &[Kept], random: &mut StdRng) -> Vec<Emission> {
    let flow = &dataflow.streams[0];
    let (mut task, mut out) = (task(flow, Checkpoint::start(0)), Out::default());
    for record in records {
        push(&mut task, flow, record, &mut out);
        if random.random_ratio(1, 40) {
            flush(&mut task, flow, &mut out);
        }
    }
    flush(&mut task, flow, &mut out);
    out.emissions
}

fn read(dataflow: &Dataflow, record: &Outgoing) -> RecordBatch {
    let columns = dataflow.streams[0].inserts[0].sink.as_ref().expect("a sink").columns.clone();
    let mut decoder = ArrowDecoder::new(columns, Limits::default());
    decoder.push(&record.payload).expect("an Arrow record");
    decoder.finish().expect("rows")
}

/// By any batches and after any restarts the records are the same, byte for byte and by their ids, nulls among the values.
#[test]
fn records_are_the_same_however_they_came_about() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dataflow = flow(WINDOWS, ", record_rows_max '7'");
    let records = records(&mut random);
    let expected = encode(&dataflow, &run_one_by_one(&dataflow.streams[0], &records).1.emissions);
    assert!(expected.len() > 50, "{} records", expected.len());
    let ids: BTreeSet<_> = expected.iter().map(|record| &record.headers[0].1).collect();
    assert_eq!(ids.len(), expected.len(), "each has an id of its own");
    let nulls: usize = expected.iter().map(|record| read(&dataflow, record).column(3).null_count()).sum();
    assert!(nulls > 0, "nothing was null");
    for _ in 0..5 {
        assert_eq!(encode(&dataflow, &in_batches(&dataflow, &records, &mut random)), expected);
    }
    for (commit_every, kill_every) in [(3, 50), (20, 130)] {
        let (emissions, _) = with_restarts(&dataflow.streams[0], &records, commit_every, kill_every);
        let mut restarted = encode(&dataflow, &emissions);
        // At the end of input the last window closes too.
        restarted.truncate(expected.len());
        assert_eq!(restarted, expected);
    }
}

#[test]
fn a_record_has_rows_of_one_window_and_one_partition_up_to_its_bound() {
    let dataflow = flow(WINDOWS, ", record_rows_max '7'");
    let emissions = run_one_by_one(&dataflow.streams[0], &records(&mut StdRng::seed_from_u64(1))).1.emissions;
    let (mut rows, mut full) = (0, 0);
    for record in encode(&dataflow, &emissions) {
        let batch = read(&dataflow, &record);
        rows += batch.num_rows();
        full += usize::from(batch.num_rows() == 7);
        assert!((1..=7).contains(&batch.num_rows()), "{} rows", batch.num_rows());
        assert_eq!(record.key, None, "it is of several keys");
        let keys = batch.column(0).as_string_view().iter().flatten();
        for key in keys {
            assert_eq!(record.partition, Some(partition_for_key(key.as_bytes(), PARTITIONS)), "{key}");
        }
        let ends: BTreeSet<i64> =
            batch.column(4).as_primitive::<TimestampNanosecondType>().values().iter().copied().collect();
        assert_eq!(ends.len(), 1, "one window");
    }
    assert_eq!(rows, emissions.iter().map(|emission| emission.batch.num_rows()).sum::<usize>());
    assert!(full > 20, "{full} records are full");
}

/// Rows that no window gave are together when one record of the stream gave them.
#[test]
fn rows_without_a_window_share_what_their_record_gives() {
    let dataflow = flow("INSERT INTO packed SELECT k, n AS c FROM ev;", "");
    let flow = &dataflow.streams[0];
    let (mut task, mut out) = (task(flow, Checkpoint::start(0)), Out::default());
    (0..4).for_each(|offset| task.push(&json(offset, 0, Some(0), "a", 0.0, offset).record()));
    flush(&mut task, flow, &mut out);
    let numbers = |record: &Outgoing| read(&dataflow, record).column(1).as_primitive::<Int64Type>().values().to_vec();
    let of: Vec<Vec<i64>> = encode(&dataflow, &out.emissions).iter().map(numbers).collect();
    assert_eq!(of, [[0], [1], [2], [3]], "a record of the stream is one event here");
    // As an envelope of two and one of one would give them.
    let mut emission = out.emissions.iter().find(|emission| emission.batch.num_rows() == 3).expect("at once").clone();
    emission.evidence[1] = emission.evidence[0].clone();
    let of: Vec<Vec<i64>> = encode(&dataflow, &[emission]).iter().map(numbers).collect();
    assert_eq!(of, [vec![1, 2], vec![3]]);
}

#[test]
fn a_record_is_cut_where_it_gets_long() {
    let query = "INSERT INTO packed SELECT 'one' AS k, c, repeat(k, 3000) AS text FROM per_s;";
    let dataflow = flow(query, "");
    let emissions = run_one_by_one(&dataflow.streams[0], &records(&mut StdRng::seed_from_u64(2))).1.emissions;
    let widest = emissions.iter().max_by_key(|emission| emission.batch.num_rows()).expect("windows");
    let rows = widest.batch.num_rows();
    assert!(rows > 30, "{rows} rows of 18,000 bytes");
    let cut = encode(&dataflow, std::slice::from_ref(widest));
    assert!(cut.len() > 1 && cut.iter().all(|record| record.payload.len() <= 256 << 10), "{} records", cut.len());
    assert_eq!(cut.iter().map(|record| read(&dataflow, record).num_rows()).sum::<usize>(), rows);
}

#[test]
fn a_row_a_record_has_its_key() {
    let dataflow = flow(WINDOWS, ", record_rows_max '1'");
    let emissions = run_one_by_one(&dataflow.streams[0], &records(&mut StdRng::seed_from_u64(3))).1.emissions;
    for record in encode(&dataflow, &emissions) {
        let batch = read(&dataflow, &record);
        assert_eq!((batch.num_rows(), record.partition), (1, None));
        assert_eq!(record.key.as_deref(), Some(batch.column(0).as_string_view().value(0).as_bytes()));
    }
}

/// Equal rows in records of their own, as `UNION ALL` gives them.
#[test]
fn equal_records_of_one_window_have_ids_of_their_own() {
    let query = "INSERT INTO packed SELECT 'x' AS k, 1 AS c FROM per_s;";
    let dataflow = flow(query, ", record_rows_max '2'");
    let emissions = run_one_by_one(&dataflow.streams[0], &records(&mut StdRng::seed_from_u64(4))).1.emissions;
    let records = encode(&dataflow, &emissions);
    let payloads: BTreeSet<_> = records.iter().map(|record| &record.payload).collect();
    let ids: BTreeSet<_> = records.iter().map(|record| &record.headers[0].1).collect();
    assert!(payloads.len() < records.len() && ids.len() == records.len());
}
