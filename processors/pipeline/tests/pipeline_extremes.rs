//! Windows at the ends of what is allowed: 10,000 for each row, microseconds and nanoseconds, gaps, days over which clocks
//! are changed, long before 1970. Against a model that looks at every window of every row, and with restarts.

mod common;

use amoskys_pipeline::{run::Emission, sql::Dataflow};
use arrow::{array::AsArray, datatypes::Int64Type};
use common::{Kept, MS_NS, lines, planned, run_one_by_one, with_restarts};
use std::collections::BTreeMap;

const SECOND_NS: i64 = 1_000 * MS_NS;
/// A whole second that no test cares about: 2023-11-14.
const NOW_NS: i64 = 1_700_000_000 * SECOND_NS;

/// A window as SQL says it and as it is meant.
struct Windows<'a> {
    sql: &'a str,
    slide_ns: i64,
    size_ns: i64,
}

/// Window start and number to how many rows, and the sum of their numbers.
type Counts = BTreeMap<i64, (i64, i64)>;

impl Windows<'_> {
    fn plan(&self, lateness: &str, replay_max: &str) -> Dataflow {
        planned(&[(
            "q.sql",
            &format!(
                "CREATE EXTERNAL TABLE ev (t TIMESTAMP, k VARCHAR, n BIGINT) STORED AS JSON LOCATION 'ev-topic'
                 OPTIONS (event_time 't', lateness '{lateness}', replay_max '{replay_max}', partition_key 'k');
                 CREATE EXTERNAL TABLE sink (k VARCHAR, c BIGINT, s BIGINT) STORED AS JSON LOCATION 'sink-topic';
                 INSERT INTO sink SELECT k, count(*) AS c, sum(n) AS s FROM ev GROUP BY k, {};",
                self.sql
            ),
        )])
    }

    /// By definition: a row counts in each window that holds it and ends after the watermark that it finds.
    fn model(&self, times_ns: &[i64], lateness_ns: i64) -> Counts {
        let (mut watermark_ns, mut counts) = (i64::MIN, Counts::new());
        for (number, &time_ns) in (0..).zip(times_ns) {
            let mut start_ns = time_ns.div_euclid(self.slide_ns) * self.slide_ns;
            while start_ns + self.size_ns > time_ns {
                if start_ns + self.size_ns > watermark_ns {
                    let (count, sum) = counts.entry(start_ns).or_default();
                    (*count, *sum) = (*count + 1, *sum + number);
                }
                start_ns -= self.slide_ns;
            }
            watermark_ns = watermark_ns.max(time_ns - lateness_ns);
        }
        counts
    }

    /// Runs the rows, undisturbed and with restarts; how many windows there were.
    fn check(&self, times_ns: &[i64], lateness: (&str, i64), replay_max: &str) -> usize {
        let dataflow = self.plan(lateness.0, replay_max);
        let flow = &dataflow.streams[0];
        let record = |(offset, time_ns): (i64, &i64)| Kept {
            offset,
            log_ms: times_ns.iter().max().expect("rows") / MS_NS,
            payload: format!(r#"{{"t": {time_ns}, "k": "a", "n": {offset}}}"#).into_bytes(),
        };
        let records: Vec<Kept> = (0..).zip(times_ns).map(record).collect();
        let (mut undisturbed, mut out) = run_one_by_one(flow, &records);
        undisturbed.core.close_all(flow, &mut out.emissions).expect("closes");
        assert_eq!(counts(&out.emissions), self.model(times_ns, lateness.1), "{}", self.sql);
        let (restarted, _) = with_restarts(flow, &records, 5, 9);
        assert!(lines(flow, &out.emissions) == lines(flow, &restarted), "restarts change nothing: {}", self.sql);
        out.emissions.len()
    }
}

fn counts(emissions: &[Emission]) -> Counts {
    let mut counts = Counts::new();
    for emission in emissions {
        let (start_ns, _) = emission.window_ns.expect("of a window");
        let of = |column: usize| emission.batch.column(column).as_primitive::<Int64Type>().value(0);
        assert!(counts.insert(start_ns, (of(1), of(2))).is_none() && emission.batch.num_rows() == 1);
    }
    counts
}

/// Forward in time by `step_ns`, out of order by up to three steps.
fn times_ns(count: i64, from_ns: i64, step_ns: i64) -> Vec<i64> {
    (0..count).map(|row| from_ns + row * step_ns - row * 7 % 4 * step_ns).collect()
}

#[test]
fn ten_thousand_windows_for_each_row() {
    let windows = Windows {
        sql: "hop(t, INTERVAL '1 millisecond', INTERVAL '10 seconds')",
        slide_ns: MS_NS,
        size_ns: 10 * SECOND_NS,
    };
    for replay_max in ["1s", "1h"] {
        // Some rows are late for a part of their windows.
        let found = windows.check(&times_ns(40, NOW_NS, SECOND_NS / 20), ("100ms", 100 * MS_NS), replay_max);
        assert!(found > 10_000, "{found} windows");
    }
}

#[test]
fn ten_thousand_windows_that_the_slide_does_not_divide() {
    let windows = Windows {
        sql: "hop(t, INTERVAL '1 microsecond', INTERVAL '9999500 nanoseconds')",
        slide_ns: 1_000,
        size_ns: 9_999_500,
    };
    let found = windows.check(&times_ns(25, NOW_NS, 300_123), ("1ms", MS_NS), "1s");
    assert!(found > 10_000, "{found} windows");
}

#[test]
fn micro_and_nanoseconds() {
    let micro = Windows {
        sql: "hop(t, INTERVAL '250 microseconds', INTERVAL '1 millisecond')",
        slide_ns: 250_000,
        size_ns: MS_NS,
    };
    micro.check(&times_ns(200, NOW_NS, 90_001), ("1ms", MS_NS), "10ms");
    let nano =
        Windows { sql: "hop(t, INTERVAL '7 nanoseconds', INTERVAL '100 nanoseconds')", slide_ns: 7, size_ns: 100 };
    nano.check(&times_ns(200, NOW_NS, 13), ("1ns", 1), "10ms");
}

#[test]
fn gaps_between_windows() {
    let windows =
        Windows { sql: "hop(t, INTERVAL '1 second', INTERVAL '1 millisecond')", slide_ns: SECOND_NS, size_ns: MS_NS };
    let times: Vec<i64> = (0..300).map(|row| NOW_NS + row * 100 * MS_NS + row % 3 * 500_000).collect();
    // Every tenth row is in a window, but for each third of these, which comes right after its end.
    assert_eq!(windows.check(&times, ("1s", SECOND_NS), "1s"), 20);
}

#[test]
fn long_before_1970() {
    let windows = Windows {
        sql: "hop(t, INTERVAL '7 minutes', INTERVAL '1 hour')",
        slide_ns: 420 * SECOND_NS,
        size_ns: 3_600 * SECOND_NS,
    };
    // From 1702 on, and over 1970.
    for from_ns in [-8_450_000_000 * SECOND_NS + 1, -4 * 3_600 * SECOND_NS] {
        windows.check(&times_ns(100, from_ns, 333 * SECOND_NS), ("10m", 600 * SECOND_NS), "5m");
    }
}

/// Days have 24 hours, whatever a country's clocks do: in Berlin the 29th of March 2026 has 23 and the 25th of October 25.
#[test]
fn changed_clocks_change_nothing() {
    for (day, before, after) in [("2026-03-29", "+01:00", "+02:00"), ("2026-10-25", "+02:00", "+01:00")] {
        let dataflow =
            Windows { sql: "tumble(t, INTERVAL '1 day')", slide_ns: 86_400 * SECOND_NS, size_ns: 86_400 * SECOND_NS }
                .plan("1s", "48h");
        let flow = &dataflow.streams[0];
        // Clocks change at 01:00 UTC. Each half hour, told in local time.
        let record = |half: i64| {
            let offset = if half < 2 { before } else { after };
            let local = half * 30 + offset[1..3].parse::<i64>().expect("hours") * 60;
            let (hour, minute, date) = (local / 60 % 24, local % 60, if local < 1_440 { day } else { next(day) });
            let payload = format!(r#"{{"t": "{date}T{hour:02}:{minute:02}:00{offset}", "k": "a", "n": {half}}}"#);
            Kept { offset: half, log_ms: i64::MAX / MS_NS, payload: payload.into_bytes() }
        };
        let (mut task, mut out) = run_one_by_one(flow, &(0..48).map(record).collect::<Vec<_>>());
        task.core.close_all(flow, &mut out.emissions).expect("closes");
        assert!(out.dead.is_empty(), "{:?}", out.dead[0]);
        let counts: Vec<(i64, i64)> = counts(&out.emissions).into_values().collect();
        assert_eq!(counts, [(48, 47 * 48 / 2)], "{day}: all of them, and in one day");
    }
}

fn next(day: &str) -> &str {
    if day == "2026-03-29" { "2026-03-30" } else { "2026-10-26" }
}
