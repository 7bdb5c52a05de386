//! Chaos: processors, agents, logs and brokers are killed, stopped, cut off, filled up and damaged at random moments, and
//! what is committed stays what an undisturbed run commits.
//!
//! Each fault comes from a seeded generator; the seed is printed. `make test` runs a short form of each kind of round;
//! `make chaos` the long form, as many rounds as it takes for so many kills. The first difference ends it, and what
//! happened is kept: docs/chaos.md.

// Each test file uses a part of it.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;

mod agents;
mod cluster;
mod deck;
mod journal;
mod load;
mod local;
mod outcome;
mod processors;
mod settings;
mod story;

use cluster::Cluster;
use processors::Round;
use settings::{Done, Settings, seed};
use std::time::{Duration, Instant};

const SHORT_KILLS: usize = 5;
const SHORT_AWAY: Duration = Duration::from_secs(2);

/// Kinds of rounds, in the order that the long form goes through.
const KINDS: [&str; 4] = ["kafka", "nats", "local", "agents"];

fn round(kind: &str, seed: u64, kills: usize, away: Duration) -> Done {
    match kind {
        "kafka" => Round::run(kind, Cluster::kafka(), seed, kills, away),
        "nats" => Round::run(kind, Cluster::nats(), seed, kills, away),
        "local" => local::Round::run(seed, kills),
        // Which broker is of less weight here: half of the rounds on each.
        "agents" => {
            let cluster = if seed.is_multiple_of(2) { Cluster::nats() } else { Cluster::kafka() };
            agents::Round::run(cluster, seed, kills, away)
        }
        _ => panic!("there are no rounds of kind `{kind}`, only of {KINDS:?}"),
    }
}

#[test]
fn processors_on_kafka_survive_chaos() {
    round("kafka", seed(), SHORT_KILLS, SHORT_AWAY);
}

#[test]
fn processors_on_nats_survive_chaos() {
    round("nats", seed(), SHORT_KILLS, SHORT_AWAY);
}

#[test]
fn processors_on_the_embedded_log_survive_chaos() {
    round("local", seed(), SHORT_KILLS, SHORT_AWAY);
}

#[test]
fn agents_survive_chaos() {
    round("agents", seed(), SHORT_KILLS, SHORT_AWAY);
}

/// `make chaos`.
#[test]
#[ignore = "takes as long as it is asked to: make chaos"]
fn long_form() {
    let settings = Settings::from_environment();
    let kinds: Vec<&str> = settings.only.iter().map(String::as_str).collect();
    let kinds = if kinds.is_empty() { KINDS.to_vec() } else { kinds };
    let (begun, mut total) = (Instant::now(), Done::default());
    for number in 0u64.. {
        if total.kills >= settings.kills {
            break;
        }
        let kind = kinds[number as usize % kinds.len()];
        let seed = settings.seed.wrapping_add(number);
        // Once in a while the broker is away for as long as it was asked to be: in the first of four rounds of each kind.
        let away = if (number as usize / kinds.len()).is_multiple_of(4) { settings.away } else { SHORT_AWAY };
        let kills = settings.kills_per_round.min(settings.kills - total.kills);
        let done = round(kind, seed, kills, away);
        total.add(done);
        println!(
            "round {number} on {kind}, seed {seed}: {} kills, {} ended by themselves, {} outputs, {} dead letters, no difference; {} of {} kills after {} s",
            done.kills,
            done.ended,
            done.outputs,
            done.dead_letters,
            total.kills,
            settings.kills,
            begun.elapsed().as_secs()
        );
    }
    println!(
        "{} random kills survived without a difference: {} outputs compared, {} of them dead letters; {} processes ended by themselves and were started again; seed {}",
        total.kills, total.outputs, total.dead_letters, total.ended, settings.seed
    );
}
