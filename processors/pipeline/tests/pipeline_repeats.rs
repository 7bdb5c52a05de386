//! Results are a function of the records alone: neither how they are grouped, nor restarts, nor the clock change a bit.

mod common;

use amoskys_pipeline::{
    run::{Checkpoint, Task},
    sql::{Dataflow, StreamFlow},
};
use common::{BASE_MS, Compacted, EVENTS, Kept, MS_NS, Out, flush, json, lines, planned, push, run_one_by_one, task};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// Views whose windows overlap oddly, sketches among them, a join of two with equal windows, rows without a window;
/// windows over windows, over joined ones and over those that few rows are in; sessions of rows and of windows; rows of a union
/// and joined with a file; expressions that fail for some rows.
const SQL: &str = "
CREATE EXTERNAL TABLE sink (k VARCHAR, s TIMESTAMP, c BIGINT, x DOUBLE, y DOUBLE, z DOUBLE, w VARCHAR)
STORED AS JSON LOCATION 'sink-topic';
CREATE VIEW slow AS SELECT k, hop(t, INTERVAL '1 second', INTERVAL '3500 milliseconds') AS win,
  count(*) AS c, sum(v) AS x, avg(v) AS y, stddev(v) AS z FROM ev GROUP BY k, win;
CREATE VIEW fast AS SELECT k, tumble(t, INTERVAL '700 milliseconds') AS win, count(DISTINCT n) AS c, sum(v) AS x,
  max(v) AS y, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY v) AS z FROM ev WHERE n <> 2 GROUP BY k, win;
CREATE VIEW fast_too AS SELECT k, tumble(t, INTERVAL '700 milliseconds') AS win, sum(n) AS c, sum(v * v) AS x
  FROM ev WHERE n = 1 GROUP BY k, win;
CREATE VIEW sketched AS SELECT k, hop(t, INTERVAL '1 second', INTERVAL '3500 milliseconds') AS win,
  hll_distinct(v) AS c, ddsketch_quantile(v, 0.9) AS x, ddsketch_quantile(v, 0.4, 0.05) FILTER (WHERE n = 1) AS y,
  count(DISTINCT v) AS z FROM ev GROUP BY k, win;
CREATE VIEW few AS SELECT k, hop(win.end, INTERVAL '2 seconds', INTERVAL '5 seconds') AS later, count(*) AS c,
  sum(x) AS x, avg(y) AS y FROM slow WHERE c < 3 GROUP BY k, later;
CREATE VIEW begun AS SELECT k, hop(win.start, INTERVAL '1 second', INTERVAL '2 seconds') AS later, sum(c) AS c,
  sum(x) AS x FROM (SELECT a.k, a.win, b.c, a.x FROM fast a LEFT JOIN fast_too b ON a.k = b.k) GROUP BY k, later;
CREATE VIEW above AS SELECT k, tumble(later.start, INTERVAL '4 seconds') AS last, sum(x) AS x, max(c) AS c FROM begun
  GROUP BY k, last;
CREATE VIEW twice AS SELECT k, tumble(t, INTERVAL '2 seconds') AS win, sum(v) AS x, nth_value(v, 2 ORDER BY n DESC) AS y,
  array_to_string(array_agg(n ORDER BY v), ',') AS w
  FROM (SELECT k, t, v, n FROM ev WHERE n < 3 UNION ALL SELECT k, t, v * 2, n FROM ev WHERE n > 0) GROUP BY k, win;
CREATE VIEW placed AS SELECT k, place, hop(t, INTERVAL '1 second', INTERVAL '2 seconds') AS win, sum(v) AS x,
  string_agg(place, '-' ORDER BY v DESC) AS w
  FROM (SELECT ev.k, ev.t, ev.v, places.place FROM ev LEFT JOIN places ON ev.n = places.n) GROUP BY k, place, win;
CREATE VIEW visits AS SELECT k, session(t, INTERVAL '300 milliseconds', INTERVAL '3 seconds') AS win, count(*) AS c,
  sum(v) AS x, stddev(v) AS y, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY v) AS z,
  array_to_string(array_agg(n ORDER BY t), ',') AS w FROM ev GROUP BY k, win;
CREATE VIEW visited AS SELECT k, session(t, INTERVAL '300 milliseconds', INTERVAL '3 seconds') AS win, max(n) AS c
  FROM ev GROUP BY k, win;
CREATE VIEW spells AS SELECT k, session(win.end, INTERVAL '700 milliseconds', INTERVAL '7 seconds') AS spell,
  count(*) AS c, sum(x) AS x FROM fast WHERE c < 3 GROUP BY k, spell;
CREATE VIEW visits_5s AS SELECT k, hop(win.end, INTERVAL '2 seconds', INTERVAL '5 seconds') AS later, count(*) AS c,
  sum(x) AS x FROM visits WHERE c < 4 GROUP BY k, later;
CREATE VIEW failing AS SELECT k, 6 / n AS q, tumble(t, INTERVAL '1 second') AS win, sum(6 / (n - 1)) AS c,
  max(v) FILTER (WHERE 6 / n > 2) AS x FROM ev WHERE 6 / (n - 2) > -4 OR v > 0 GROUP BY k, q, win;
INSERT INTO sink SELECT k, win.start AS s, 12 / (c - 6) AS c, x, 6 % q AS y FROM failing WHERE 6 / (c - 3) < 9;
INSERT INTO sink SELECT ev.k, t AS s, 6 / n AS c FROM ev WHERE n <> 1 AND 6 / (n - 1) < 7 AND CAST(k AS BIGINT) IS NULL;
INSERT INTO sink SELECT k, win.start AS s, c, x, y, z, concat(w, ' until ', win.end) AS w FROM visits;
INSERT INTO sink SELECT k, later.start AS s, c, x FROM visits_5s;
INSERT INTO sink SELECT a.k, a.win.end AS s, b.c, a.x FROM visits a JOIN visited b ON a.k = b.k AND a.win = b.win;
INSERT INTO sink SELECT k, spell.start AS s, c, x FROM spells;
INSERT INTO sink SELECT k, later.start AS s, c, x, y FROM few;
INSERT INTO sink SELECT k, later.start AS s, c, x FROM begun;
INSERT INTO sink SELECT k, last.start AS s, c, x FROM above;
INSERT INTO sink SELECT k, win.start AS s, x, y, w FROM twice;
INSERT INTO sink SELECT k, win.start AS s, x, w FROM placed;
INSERT INTO sink SELECT ev.k, ev.t AS s, n AS c, v AS x FROM ev WHERE _late AND ev.n IN (SELECT n FROM places);
INSERT INTO sink SELECT k, win.start AS s, c, x, y, z FROM slow;
INSERT INTO sink SELECT k, win.start AS s, c, x, y, z FROM sketched;
INSERT INTO sink SELECT k, win.start AS s, c, x, y, z FROM fast WHERE c > 1;
INSERT INTO sink SELECT a.k, a.win.start AS s, b.c, a.x, b.x AS y FROM fast a LEFT JOIN fast_too b ON a.k = b.k;
INSERT INTO sink SELECT k, t AS s, n AS c, v AS x FROM ev WHERE n > 1;";

/// `n` of 1 has one place, 2 has two, 3 has none.
const PLACES: &str = "n,place\n1,office\n2,home\n2,train\n";

/// With bounds that some of the records reach.
fn dataflow() -> Dataflow {
    let file = tempfile::Builder::new().suffix(".csv").tempfile().expect("a file");
    std::fs::write(&file, PLACES).expect("written");
    let places = format!(
        "CREATE EXTERNAL TABLE places (n BIGINT, place VARCHAR) STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true');",
        file.path().display()
    );
    let events = EVENTS.replace("idle '5s'", "idle '5s', replay_max '2s', keys_max '2', state_bytes_max '60KB'");
    planned(&[("a.sql", &events), ("places.sql", &places), ("q.sql", SQL)])
}

/// Records with gaps in log time, out of order, late, ahead of the log, without time, unreadable.
fn records() -> impl Strategy<Value = Vec<Kept>> {
    let gap_ms = prop_oneof![12 => 0i64..400, 2 => 2000i64..9000, 1 => Just(5001i64)];
    let one = (gap_ms, -2500i64..900, 0usize..3, -1e6f64..1e6, 0i64..4, 0u8..20);
    prop::collection::vec(one, 1..60).prop_map(|all| {
        let mut log_ms = 0;
        let kept = all.into_iter().enumerate().map(|(index, (gap_ms, shift_ms, key, v, n, fate))| {
            log_ms += gap_ms;
            let key = ["a", "b", "c"][key];
            let time_ms = match fate {
                0 => None,
                1 => Some(log_ms + 120_000),
                _ => Some(log_ms + shift_ms),
            };
            let record = json(index as i64, log_ms, time_ms, key, v, n);
            if fate == 2 { Kept { payload: b"{]".to_vec(), ..record } } else { record }
        });
        kept.collect()
    })
}

fn run(test: impl Fn(&StreamFlow, Vec<Kept>, Vec<u8>) -> Result<(), TestCaseError>) {
    let dataflow = dataflow();
    let steps = prop::collection::vec(any::<u8>(), 240);
    TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() })
        .run(&(records(), steps), |(records, steps)| test(&dataflow.streams[0], records, steps))
        .expect("holds for every case");
}

fn close(task: &mut Task, flow: &StreamFlow, out: &mut Out) {
    flush(task, flow, out);
    task.core.close_all(flow, &mut out.emissions).expect("closes");
}

/// One flush for each record, no clock, no restart; every window closed at the end.
fn undisturbed(flow: &StreamFlow, records: &[Kept]) -> (Vec<Vec<String>>, Vec<i64>) {
    let (mut task, mut out) = run_one_by_one(flow, records);
    close(&mut task, flow, &mut out);
    (lines(flow, &out.emissions), offsets(&out))
}

fn offsets(out: &Out) -> Vec<i64> {
    out.dead.iter().map(|dead| dead.offset).collect()
}

#[test]
fn grouping_changes_nothing() {
    run(|flow, records, steps| {
        let expected = undisturbed(flow, &records);
        let mut task = task(flow, Checkpoint::start(0));
        let mut out = Out::default();
        for (record, step) in records.iter().zip(&steps) {
            push(&mut task, flow, record, &mut out);
            if step % 7 == 0 {
                flush(&mut task, flow, &mut out);
            }
        }
        close(&mut task, flow, &mut out);
        prop_assert_eq!((lines(flow, &out.emissions), offsets(&out)), expected);
        let (alone, _) = run_one_by_one(flow, &records);
        let one_by_one = alone.core.counters.failed_expressions;
        // What the closing of the last windows adds is the same for both, and only counted here.
        prop_assert!(task.core.counters.failed_expressions >= one_by_one);
        Ok(())
    });
}

/// A time that the clock may show after record `index` and before the next: at most a second behind whose log time.
fn clock_ns(records: &[Kept], index: usize, step: u8) -> i64 {
    let now = records[index].log_ms;
    let most = records.get(index + 1).map_or(now + 20_000, |next| next.log_ms + 1000);
    (now + (most - now) * i64::from(step) / 255) * MS_NS
}

#[test]
fn the_clock_closes_windows_sooner_and_changes_nothing_else() {
    let sooner = std::cell::Cell::new(0u32);
    run(|flow, records, steps| {
        let expected = undisturbed(flow, &records);
        let mut task = task(flow, Checkpoint::start(0));
        let mut out = Out::default();
        for (index, (record, step)) in records.iter().zip(&steps).enumerate() {
            push(&mut task, flow, record, &mut out);
            flush(&mut task, flow, &mut out);
            let before = out.emissions.len();
            task.core.anticipate(flow, clock_ns(&records, index, *step), &mut out.emissions).expect("computes");
            if out.emissions.len() > before && index + 1 < records.len() {
                sooner.set(sooner.get() + 1);
            }
        }
        close(&mut task, flow, &mut out);
        prop_assert_eq!((lines(flow, &out.emissions), offsets(&out)), expected);
        Ok(())
    });
    assert!(sooner.get() > 10, "the clock did something: {sooner:?}");
}

/// What a log would hold: outputs of commits, and the last position.
struct Log {
    out: Out,
    compacted: Compacted,
    position: Option<amoskys_bus::Position>,
}

impl Log {
    /// Outputs since the last commit and the position together; nothing while replaying, as the worker does.
    fn commit(&mut self, flow: &StreamFlow, task: &mut Task, pending: &mut Out) -> Result<(), TestCaseError> {
        let Some(checkpoint) = task.core.checkpoint() else {
            prop_assert!(pending.emissions.is_empty() && pending.dead.is_empty(), "replay emits nothing");
            return Ok(());
        };
        prop_assert!(checkpoint.replay.offset <= checkpoint.position);
        self.out.emissions.append(&mut pending.emissions);
        self.out.dead.append(&mut pending.dead);
        self.position = Some(checkpoint.encode());
        self.compacted.write(task.core.take_snapshot(flow).expect("encodes"));
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        let decoded = self.position.as_ref().map(|position| Checkpoint::decode("ev-topic", 3, position).expect("ours"));
        decoded.unwrap_or_else(|| Checkpoint::start(0))
    }
}

#[test]
fn restarts_lose_nothing_and_repeat_nothing() {
    let [replays, restarts, restored] = [const { std::cell::Cell::new(0u32) }; 3];
    run(|flow, records, steps| {
        let expected = undisturbed(flow, &records);
        let mut log = Log { out: Out::default(), compacted: Compacted::default(), position: None };
        let mut pending = Out::default();
        let mut one = task(flow, Checkpoint::start(0));
        // The furthest that anybody has read: the clock counts only for who has read that far, as at a partition's end.
        let (mut index, mut furthest) = (0, 0);
        for step in steps {
            let Some(record) = records.get(index) else { break };
            push(&mut one, flow, record, &mut pending);
            furthest = furthest.max(index);
            if step % 3 == 0 {
                flush(&mut one, flow, &mut pending);
                if step % 9 == 0 && index == furthest {
                    let now_ns = clock_ns(&records, index, step);
                    one.core.anticipate(flow, now_ns, &mut pending.emissions).expect("computes");
                }
                if step % 2 == 0 {
                    log.commit(flow, &mut one, &mut pending)?;
                }
            }
            index += 1;
            if step % 16 == 5 {
                // Killed: what was not committed is gone.
                pending = Out::default();
                let checkpoint = log.checkpoint();
                let from;
                (one, from) = log.compacted.task(flow, 3, checkpoint);
                index = from as usize;
                restarts.set(restarts.get() + 1);
                restored.set(restored.get() + u32::from(from > checkpoint.replay.offset));
                replays.set(replays.get() + u32::from(one.core.is_replaying()));
            }
        }
        for record in &records[index..] {
            push(&mut one, flow, record, &mut pending);
        }
        close(&mut one, flow, &mut pending);
        log.commit(flow, &mut one, &mut pending)?;
        prop_assert_eq!((lines(flow, &log.out.emissions), offsets(&log.out)), expected);
        Ok(())
    });
    assert!(restarts.get() > 100 && replays.get() > 50, "{restarts:?} restarts, {replays:?} of them with a replay");
    assert!(restored.get() > 20, "{restored:?} of them with panes that were kept");
}

#[test]
fn a_plain_offset_starts_there_knowing_nothing() {
    let dataflow = dataflow();
    let flow = &dataflow.streams[0];
    let position = amoskys_bus::Position { offset: 1, metadata: String::new() };
    let mut task = task(flow, Checkpoint::decode("ev-topic", 3, &position).expect("plain"));
    assert!(!task.core.is_replaying());
    let mut out = Out::default();
    for record in [json(1, 0, Some(0), "a", 1.0, 1), json(2, 9000, Some(9000), "a", 1.0, 1)] {
        push(&mut task, flow, &record, &mut out);
    }
    flush(&mut task, flow, &mut out);
    let checkpoint = task.core.checkpoint().expect("not replaying");
    assert_eq!((checkpoint.replay.offset, checkpoint.position), (2, 3));
    assert_eq!(checkpoint.replay.watermark.time_ns, (BASE_MS - 1000) * MS_NS, "as the record found it");
    assert!(common::windows(&out.emissions).contains(&(0, 3500, 1)), "{:?}", common::windows(&out.emissions));
}
