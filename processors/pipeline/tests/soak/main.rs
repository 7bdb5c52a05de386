//! Random streams and random views, against DataFusion over the raw rows and against themselves.
//!
//! A sketch is a stream with random columns and lateness, and views with random keys, aggregates and windows. A case is
//! random records of it, in two partitions. Every case runs twice through the engine: once record by record, and once cut
//! into other batches, with the clock running ahead and with restarts from what was committed. Both have to write the
//! same bits. And what they write has to be what DataFusion makes of the rows of each window, all at once.
//!
//! `AMOSKYS_SOAK_CASES` (10,000) and `AMOSKYS_TEST_SEED` (random, printed) choose; `make soak` goes on for as long as it
//! is told. A case that fails is made small, and told with its SQL and records.
//! Limits: joins, unions, bounds and windows over joined windows are in pipeline_repeats.rs.

#[path = "../common/mod.rs"]
mod common;

mod data;
mod engine;
mod oracle;
mod sketch;

use amoskys_pipeline::sql::{Options, Sources, Wanted, plan};
use data::Case;
use oracle::Oracle;
use rand::{SeedableRng, rngs::StdRng};
use sketch::Sketch;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Planning costs more than running a case does, so many are run of each plan.
const CASES_PER_SKETCH: u64 = 20;

/// What was tried; a test that tries nothing of a kind has failed.
#[derive(Default)]
pub struct Tried {
    pub cases: AtomicU64,
    pub windows: AtomicU64,
    pub compared_rows: AtomicU64,
    pub restarts: AtomicU64,
    pub replays: AtomicU64,
    /// Restarts that went on with panes that were kept.
    pub restored: AtomicU64,
    pub sooner: AtomicU64,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seed() -> u64 {
    let seed = number("AMOSKYS_TEST_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    println!("AMOSKYS_TEST_SEED={seed}");
    seed
}

/// All cases of one sketch; the first that fails, made small.
fn run_sketch(seed: u64, tried: &Tried) -> Result<(), String> {
    let mut random = StdRng::seed_from_u64(seed);
    let sketch = Sketch::random(&mut random);
    let options = Options { wanted: Wanted::Rows(sketch.names()), ..common::options() };
    let dataflow = plan(&Sources::of("sketch.sql", sketch.sql()), &options)
        .map_err(|faults| format!("{faults}\n{}", sketch.sql()))?;
    let flow = &dataflow.streams[0];
    let mut oracle = Oracle::new(&sketch);
    let cases: Vec<Case> = (0..CASES_PER_SKETCH).map(|_| Case::random(&sketch, &mut random)).collect();
    for (number, case) in cases.iter().enumerate() {
        let lines = engine::check(flow, case, tried);
        let lines = lines.map_err(|why| told(seed, &sketch, &engine::smallest(flow, case), &why))?;
        oracle.add(number, case, lines);
        tried.cases.fetch_add(1, Ordering::Relaxed);
    }
    let failed = oracle.differences(tried);
    failed.map_err(|(number, why)| {
        let still_fails = |case: &Case| {
            let mut oracle = Oracle::new(&sketch);
            let Ok(lines) = engine::check(flow, case, &Tried::default()) else { return false };
            oracle.add(0, case, lines);
            oracle.differences(&Tried::default()).is_err()
        };
        told(seed, &sketch, &cases[number].smallest(still_fails), &why)
    })
}

fn told(seed: u64, sketch: &Sketch, case: &Case, why: &str) -> String {
    let again = format!("AMOSKYS_TEST_SEED={seed} AMOSKYS_SOAK_CASES={CASES_PER_SKETCH} cargo test --test soak");
    format!("{why}\n\n{}\n{case}\nagain (before it was made small): {again}", sketch.sql())
}

/// Sketches with seeds from `seed` on, on two threads, until `goes_on` says no.
fn run(seed: u64, tried: &Tried, goes_on: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    let failure = thread::scope(|scope| {
        let worker = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if !goes_on(number) {
                    return None;
                }
                if let Err(why) = run_sketch(seed.wrapping_add(number), tried) {
                    next.fetch_add(u64::MAX / 2, Ordering::Relaxed);
                    return Some(why);
                }
            }
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.into_iter().find_map(|worker| worker.join().expect("no panic"))
    });
    if let Some(why) = failure {
        panic!("{why}");
    }
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} cases: {} windows, {} rows compared with DataFusion's, {} restarts, {} of them with a replay, {} with panes that were kept, {} windows closed by the clock",
        of(&tried.cases),
        of(&tried.windows),
        of(&tried.compared_rows),
        of(&tried.restarts),
        of(&tried.replays),
        of(&tried.restored),
        of(&tried.sooner)
    );
}

#[test]
fn random_views_over_random_streams_are_exact() {
    let (sketches, tried) = (number("AMOSKYS_SOAK_CASES").unwrap_or(10_000) / CASES_PER_SKETCH, Tried::default());
    run(seed(), &tried, |number| number < sketches);
    let cases = tried.cases.load(Ordering::Relaxed);
    assert_eq!(cases, sketches * CASES_PER_SKETCH);
    // Of each kind enough that the test means something.
    for (what, count) in [("restarts", &tried.restarts), ("replays", &tried.replays), ("the clock", &tried.sooner)] {
        assert!(count.load(Ordering::Relaxed) * 5 >= cases, "{what}: too few");
    }
    assert!(tried.restored.load(Ordering::Relaxed) * 10 >= cases, "restored: too few");
    assert!(tried.compared_rows.load(Ordering::Relaxed) >= cases, "too few rows were compared");
}

/// `make soak`.
#[test]
#[ignore = "takes as long as it is told: make soak"]
fn for_long() {
    let (begun, tried) = (Instant::now(), Tried::default());
    let time = Duration::from_secs(number("AMOSKYS_SOAK_SECONDS").unwrap_or(3_600));
    let told = AtomicU64::new(0);
    run(seed(), &tried, |number| {
        let minutes = begun.elapsed().as_secs() / 60;
        if told.fetch_max(minutes, Ordering::Relaxed) < minutes {
            println!("{minutes} min: {} cases, seeds up to + {number}", tried.cases.load(Ordering::Relaxed));
        }
        begun.elapsed() < time
    });
}
