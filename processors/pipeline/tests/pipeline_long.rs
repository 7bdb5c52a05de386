//! Windows of a day: how little is read again after a restart, and how little is written for that.

mod common;

use amoskys_pipeline::run::Checkpoint;
use common::{Compacted, EVENTS, Kept, Out, flush, json, lines, planned, push, run_one_by_one, task};

const SQL: &str = "
CREATE EXTERNAL TABLE sink (k VARCHAR, s TIMESTAMP, c BIGINT, x DOUBLE) STORED AS JSON LOCATION 'sink-topic';
CREATE VIEW day AS SELECT k, hop(t, INTERVAL '1 minute', INTERVAL '24 hours') AS win, count(*) AS c, sum(v) AS x
  FROM ev GROUP BY k, win;
INSERT INTO sink SELECT k, win.start AS s, c, x FROM day;";

const EVERY_SECONDS: usize = 20;
const HOURS: usize = 30;

#[test]
fn a_window_of_a_day_reads_five_minutes_again() {
    let dataflow = planned(&[("a.sql", EVENTS), ("q.sql", SQL)]);
    let flow = &dataflow.streams[0];
    let record = |index: usize| {
        let at_ms = (index * EVERY_SECONDS * 1000) as i64;
        json(index as i64, at_ms, Some(at_ms), ["a", "b", "c"][index % 3], 1.0 / (index + 1) as f64, 0)
    };
    let records: Vec<Kept> = (0..HOURS * 3600 / EVERY_SECONDS).map(record).collect();
    let (_, expected) = run_one_by_one(flow, &records);

    let (mut one, mut compacted) = (task(flow, Checkpoint::start(0)), Compacted::default());
    let (mut committed, mut checkpoint, mut index) = (Out::default(), Checkpoint::start(0), 0);
    let mut restarts_at: Vec<usize> = [9, 25, 29].map(|hour| hour * 3600 / EVERY_SECONDS + 8).to_vec();
    let mut written_most = 0;
    while index < records.len() {
        let mut out = Out::default();
        push(&mut one, flow, &records[index], &mut out);
        flush(&mut one, flow, &mut out);
        index += 1;
        if let Some(now) = one.core.checkpoint() {
            let snapshot = one.core.take_snapshot(flow).expect("encodes");
            written_most = written_most.max(snapshot.len());
            compacted.write(snapshot);
            committed.emissions.append(&mut out.emissions);
            checkpoint = now;
        }
        if restarts_at.first() == Some(&index) {
            restarts_at.remove(0);
            let from;
            (one, from) = compacted.task(flow, 3, checkpoint);
            let again = index as i64 - from;
            assert!((1..=300 / EVERY_SECONDS as i64 + 1).contains(&again), "{again} records are read again");
            let without = index as i64 - checkpoint.replay.offset;
            assert!(without >= 9 * 3600 / EVERY_SECONDS as i64, "{without} would be without what was kept");
            index = from as usize;
        }
    }
    assert!(lines(flow, &committed.emissions) == lines(flow, &expected.emissions), "the same windows, bit for bit");
    // Five minutes and the one that was open before, and what is known of envelopes.
    assert!(written_most <= 7, "{written_most} records were written at once");
    assert!(compacted.len() <= 2 * 1440 + 64, "{} are kept", compacted.len());
}
