//! What comes out of a rehearsal is the same wherever its processors end and begin, are moved, or are killed.

use amoskys_pipeline::{
    sql::{Dataflow, Options, Sources, Wanted, plan},
    trial::{Action, Rehearsal, Script, TextTable},
};
use prost_reflect::DescriptorPool;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{fmt::Write, path::Path, sync::Arc};

/// Short windows, a window over windows, windows that are kept as panes, groups that are sent to others, and rows.
const SQL: &str = "
    CREATE EXTERNAL TABLE s (at TIMESTAMP, k TEXT, o TEXT, v BIGINT) STORED AS JSON LOCATION 's'
    OPTIONS (event_time 'at', lateness '2s', idle '5s', replay_max '10s', partition_key 'k');
    CREATE EXTERNAL TABLE out (a TEXT, b TEXT) STORED AS JSON LOCATION 'out';
    CREATE VIEW short AS SELECT k, hop(at, INTERVAL '1 second', INTERVAL '4 seconds') AS win, count(*) AS n, sum(v) AS v
    FROM s GROUP BY k, win;
    INSERT INTO out SELECT k AS a, concat(win.end, ' ', n, ' ', v) AS b FROM short;
    INSERT INTO out SELECT k AS a, concat(w.end, ' ', most) AS b FROM
      (SELECT k, tumble(win.end, INTERVAL '10 seconds') AS w, max(n) AS most FROM short GROUP BY k, w);
    INSERT INTO out SELECT k AS a, concat(w.end, ' ', n) AS b FROM
      (SELECT k, hop(at, INTERVAL '10 seconds', INTERVAL '1 minute') AS w, count(DISTINCT v) AS n FROM s GROUP BY k, w);
    INSERT INTO out SELECT o AS a, concat(w.end, ' ', n) AS b FROM
      (SELECT o, tumble(at, INTERVAL '5 seconds') AS w, count(*) AS n FROM s GROUP BY o, w);
    INSERT INTO out SELECT k AS a, CAST(v AS TEXT) AS b FROM s WHERE v > 90;";

fn dataflow() -> Dataflow {
    let options = Options {
        pool: DescriptorPool::new(),
        models: Arc::new(|name: &str| Err(format!("no model {name}"))),
        wanted: Wanted::Inserts,
    };
    plan(&Sources::of("x.sql", SQL), &options).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Rows and moments; and the same with ends and beginnings between them.
fn scripts(random: &mut StdRng) -> [String; 2] {
    let [mut calm, mut disturbed] =
        ["-- test: calm\n-- partitions: 3\n", "-- test: disturbed\n-- partitions: 3\n"].map(str::to_owned);
    let mut second = 0;
    for _ in 0..random.random_range(20..60) {
        let mut step = String::new();
        if random.random_range(0..4) == 0 {
            let by = random.random_range(1..12);
            second += by;
            writeln!(step, "-- advance: {by}s").expect("text");
        } else {
            let mut rows = Vec::new();
            for _ in 0..random.random_range(1..6) {
                // Some are late.
                let at = second - random.random_range(0..5).min(second);
                let (k, o, v) = (random.random_range(0..4), random.random_range(0..3), random.random_range(0..100));
                rows.push(format!("('00:{:02}:{:02}', 'k{k}', 'o{o}', {v})", at / 60, at % 60));
            }
            second += random.random_range(0..3);
            writeln!(step, "INSERT INTO s (at, k, o, v) VALUES {};", rows.join(", ")).expect("text");
        }
        calm.push_str(&step);
        disturbed.push_str(&step);
        match random.random_range(0..6) {
            0 => disturbed.push_str("-- kill\n"),
            1 => disturbed.push_str("-- restart\n"),
            2 => writeln!(disturbed, "-- move: {}", random.random_range(0..3)).expect("text"),
            3 => disturbed.push_str("-- kill\n-- kill\n-- restart\n"),
            _ => {}
        }
    }
    [calm, disturbed].map(|text| text + "-- close\n-- error: never asked for\n")
}

/// Everything that INSERTs gave, sorted.
fn outputs(dataflow: &Dataflow, text: &str) -> Vec<String> {
    let script =
        Script::parse(Path::new("x.test.sql"), text.to_owned()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let trial = &script.trials[0];
    let mut rehearsal = Rehearsal::new(dataflow, trial.partitions).expect("begins");
    for step in &trial.steps {
        let done = match &step.action {
            Action::Deliver(rows) => rehearsal.deliver(rows),
            Action::Advance(by_ns) => rehearsal.advance(*by_ns),
            Action::Restart => rehearsal.restart(),
            Action::Kill => rehearsal.kill(),
            Action::Move(partition) => rehearsal.move_partition(*partition),
            Action::Close => rehearsal.close(),
            other => panic!("{other:?} is not among the steps"),
        };
        done.unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    let mut lines: Vec<String> = Vec::new();
    for (flow, emission) in rehearsal.emissions() {
        let rows = TextTable::of(&emission.batch).expect("text").rows;
        lines.extend(rows.iter().map(|row| format!("{flow} {} {:?} {row:?}", emission.insert, emission.window_ns)));
    }
    let counted = rehearsal.counters().map(|(stream, partition, of)| {
        format!("{stream} {partition} {} {} {} {}", of.rows, of.late_rows, of.dropped_rows, of.emitted_rows)
    });
    lines.extend(counted);
    lines.sort();
    lines
}

#[test]
fn ends_and_beginnings_change_nothing() {
    let dataflow = dataflow();
    let (mut told, mut kept) = (0, 0);
    for seed in 0..24 {
        let [calm, disturbed] = scripts(&mut StdRng::seed_from_u64(seed));
        let [expected, found] = [&calm, &disturbed].map(|text| outputs(&dataflow, text));
        assert_eq!(found, expected, "seed {seed}\n{disturbed}");
        told += expected.len();
        kept += usize::from(disturbed.contains("-- kill"));
    }
    assert!(told > 2_400 && kept > 15, "{told} lines in 24 rehearsals, {kept} of which were disturbed");
}
