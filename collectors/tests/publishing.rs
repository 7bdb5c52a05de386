//! From the write-ahead log to the bus: gauges, order, refusals, bounds, accounting. Events are real snapshots of this
//! host; the bus is one that can be told to fail.

mod support;

use amoskys_collectors::{RateUnit, SendRate, WalFull};
use amoskys_proto::{EnvelopeView, KeyRing, Signer};
use std::time::Duration;
use support::*;
use tempfile::TempDir;

const DRAIN: Duration = Duration::from_secs(30);

/// Of process telemetry.
fn sequences(bus: &FakeBus) -> Vec<u64> {
    let log = bus.log();
    let of_processes = log.iter().filter(|record| record.topic == TELEMETRY);
    of_processes.map(|record| EnvelopeView::parse(&record.payload).expect("an envelope").header.sequence).collect()
}

fn assert_in_order_without_gap(sequences: &[u64]) {
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
}

#[test]
fn the_in_flight_gauge_rises_then_falls() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Hold);
    let mut config = snapshot_config(folder.path());
    config.publish.in_flight_records_max = 4;
    let (agent, registry) = start(config, &bus);
    let gauge = || sample(&scrape(&registry), "amoskys_agent_in_flight_records");
    wait_until("the bound to be reached", || gauge() == 4.0);
    wait_until("more to wait in the WAL", || agent.numbers().wal_records > 8);
    assert_eq!(gauge(), 4.0, "the bound holds");
    bus.set(Mode::Take);
    agent.stop(DRAIN);
    let report = agent.join();
    assert_eq!(gauge(), 0.0);
    assert_eq!((report.wal_records, report.events_in_wal, report.in_flight_records), (0, 0, 0));
    assert_in_order_without_gap(&sequences(&bus));
}

#[test]
fn a_client_that_never_reports_is_replaced_and_nothing_is_lost() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Hold);
    let mut config = snapshot_config(folder.path());
    config.publish.retry_timeout = Duration::from_millis(50);
    let (agent, registry) = start(config, &bus);
    wait_until("it to be noticed", || agent.status().last_error.is_some_and(|e| e.text.contains("reports nothing")));
    bus.set(Mode::Take);
    agent.stop(DRAIN);
    assert_eq!(agent.join().wal_records, 0);
    assert_in_order_without_gap(&sequences(&bus));
    assert_identity(&scrape(&registry));
}

#[test]
fn the_wal_gauge_grows_while_the_bus_is_away_and_drains_when_it_is_back() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Away);
    let mut config = snapshot_config(folder.path());
    config.publish.in_flight_records_max = 8;
    // So that what is to be sent again also waits for tokens.
    config.publish.send_rate = Some(SendRate { unit: RateUnit::Events, per_second: 20_000, burst: 20 });
    let (agent, registry) = start(config, &bus);
    let gauge = || sample(&scrape(&registry), "amoskys_agent_wal_records");
    wait_until("the WAL to grow", || gauge() > 20.0);
    wait_until("the agent to say so", || !agent.status().healthy);
    assert!(agent.status().problems[0].contains("cannot be reached"), "{:?}", agent.status());
    bus.set(Mode::Take);
    wait_until("the agent to be well", || agent.status().healthy && agent.status().events_acknowledged > 0);
    agent.stop(DRAIN);
    let report = agent.join();
    assert_eq!((gauge(), report.events_dropped), (0.0, 0));
    assert_in_order_without_gap(&sequences(&bus));
    assert_identity(&scrape(&registry));
}

#[test]
fn what_is_acknowledged_is_what_is_on_the_log_and_the_identity_holds_in_every_scrape() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Take);
    let (agent, registry) = start(snapshot_config(folder.path()), &bus);
    for _ in 0..50 {
        assert_identity(&scrape(&registry));
        std::thread::sleep(Duration::from_millis(5));
    }
    wait_until("a status message", || !bus.headers(STATUS).is_empty());
    agent.stop(DRAIN);
    let report = agent.join();
    let on_the_log: u32 =
        bus.log().iter().map(|r| EnvelopeView::parse(&r.payload).expect("ok").header.event_count).sum();
    assert_eq!(report.events_acknowledged, u64::from(on_the_log));
    assert_eq!(report.events_seen, report.events_filtered + report.events_acknowledged + report.events_dropped);
    assert_eq!((report.events_dropped, report.events_in_hand), (0, 0));
    assert!(bus.log().iter().all(|record| record.key.as_deref() == Some(b"host-1")));
    assert_identity(&scrape(&registry));
}

#[test]
fn an_envelope_that_is_too_large_is_dropped_and_the_rest_goes_on() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::TooLarge);
    let (agent, registry) = start(snapshot_config(folder.path()), &bus);
    let dropped = r#"amoskys_agent_dropped_events_total{stream="process",reason="record_too_large"} 0"#;
    wait_until("a drop", || !scrape(&registry).contains(dropped));
    bus.set(Mode::Take);
    wait_until("the rest", || !bus.events().is_empty());
    agent.stop(DRAIN);
    agent.join();
    assert_identity(&scrape(&registry));
}

#[test]
fn an_envelope_that_is_refused_for_no_stated_reason_is_dropped_after_retry_max() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Refuse);
    let mut config = snapshot_config(folder.path());
    config.publish.retry_max = 2;
    config.publish.in_flight_records_max = 1;
    let (agent, registry) = start(config, &bus);
    wait_until("a drop", || agent.status().events_dropped > 0);
    let numbers = agent.numbers();
    assert!(numbers.failed_sends_records >= 3, "tried once and twice again");
    bus.set(Mode::Take);
    wait_until("the rest", || !bus.events().is_empty());
    agent.stop(DRAIN);
    agent.join();
    assert!(!scrape(&registry).contains(r#"{reason="refused"} 0"#));
    assert_identity(&scrape(&registry));
}

#[test]
fn a_full_wal_gives_up_its_oldest_and_the_gap_shows() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Away);
    let mut config = snapshot_config(folder.path());
    config.wal.bytes_max = 50_000;
    config.publish.in_flight_records_max = 1;
    let (agent, registry) = start(config, &bus);
    wait_until("drops", || agent.status().events_dropped > 50);
    assert!(agent.status().wal_bytes <= 50_000);
    bus.set(Mode::Take);
    agent.stop(DRAIN);
    agent.join();
    let sequences = sequences(&bus);
    assert!(sequences.is_sorted() && sequences.windows(2).any(|pair| pair[1] > pair[0] + 1), "{sequences:?}");
    assert!(!scrape(&registry).contains(r#"{reason="wal_full"} 0"#));
    assert_identity(&scrape(&registry));
}

#[test]
fn an_event_larger_than_an_envelope_is_dropped_as_oversize() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Take);
    let mut config = snapshot_config(folder.path());
    config.batch.max_env_bytes = 500;
    let (agent, registry) = start(config, &bus);
    wait_until("a drop", || !scrape(&registry).contains(r#"{reason="oversize"} 0"#));
    agent.stop(DRAIN);
    agent.join();
    assert!(bus.log().iter().filter(|r| r.topic == TELEMETRY).all(|record| record.payload.len() <= 500));
    assert_identity(&scrape(&registry));
}

#[test]
fn the_send_rate_holds_envelopes_back() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Take);
    let mut config = snapshot_config(folder.path());
    // One token an hour after the burst: what is on the log beyond the burst would be a fault, however slow this is.
    config.publish.send_rate = Some(SendRate { unit: RateUnit::Events, per_second: 1, burst: 30 });
    config.batch.events_max = 10;
    let started = std::time::Instant::now();
    let (agent, _registry) = start(config, &bus);
    wait_until("the WAL to fill", || agent.numbers().wal_records > 20);
    let sent: u32 = bus.log().iter().map(|r| EnvelopeView::parse(&r.payload).expect("ok").header.event_count).sum();
    assert!(f64::from(sent) <= 30.0 + started.elapsed().as_secs_f64(), "{sent} events were sent");
    assert!(sent > 0);
}

#[test]
fn envelopes_are_signed_with_the_key_on_disk_and_a_missing_key_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Take);
    let key = folder.path().join("agent.key");
    let signer = Signer::generate().expect("randomness");
    let ring = KeyRing::of([signer.public()]);
    let mut config = snapshot_config(folder.path());
    config.signing_key_path = Some(key.clone());
    let missing = amoskys_collectors::Agent::start(
        config.clone(),
        std::sync::Arc::new(bus.clone()),
        &mut prometheus_client::registry::Registry::default(),
    );
    assert!(missing.is_err_and(|error| error.to_string().contains("agent.key")));
    signer.write_files(&key).expect("writes");
    let (agent, _registry) = start(config, &bus);
    wait_until("both kinds", || !bus.headers(TELEMETRY).is_empty() && !bus.headers(STATUS).is_empty());
    agent.stop(DRAIN);
    agent.join();
    for record in bus.log().iter() {
        ring.verify_one(&EnvelopeView::parse(&record.payload).expect("an envelope"), 0).expect("signed");
    }
}

#[test]
fn two_agents_in_one_process_keep_their_own_numbers() {
    let (one, two) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (taking, away) = (FakeBus::new(Mode::Take), FakeBus::new(Mode::Away));
    let (agent_one, registry_one) = start(snapshot_config(one.path()), &taking);
    let (agent_two, registry_two) = start(snapshot_config(two.path()), &away);
    let acknowledged = |registry| sample(&scrape(registry), "amoskys_agent_acknowledged_events_total");
    wait_until("one to send", || acknowledged(&registry_one) > 0.0);
    wait_until("two to wait", || sample(&scrape(&registry_two), "amoskys_agent_wal_records") > 0.0);
    assert_eq!(acknowledged(&registry_two), 0.0);
    assert!(agent_one.status().healthy);
    wait_until("two to say so", || !agent_two.status().healthy);
    drop((agent_one, agent_two));
    assert_identity(&scrape(&registry_one));
    assert_identity(&scrape(&registry_two));
}

#[test]
fn a_stop_with_the_bus_away_leaves_everything_in_the_wal_for_the_next_start() {
    let folder = TempDir::new().expect("a folder");
    let bus = FakeBus::new(Mode::Away);
    let (agent, _) = start(snapshot_config(folder.path()), &bus);
    wait_until("something in the WAL", || agent.numbers().wal_records > 3);
    agent.stop(Duration::ZERO);
    let first = agent.join();
    assert!(first.events_in_wal > 0);
    assert_eq!(first.events_dropped, 0);

    let back = FakeBus::new(Mode::Take);
    let mut config = snapshot_config(folder.path());
    config.wal.when_full = WalFull::Block;
    let (agent, registry) = start(config, &back);
    assert_eq!(agent.status().events_recovered, first.events_in_wal);
    agent.stop(DRAIN);
    let second = agent.join();
    assert_eq!(second.events_in_wal, 0);
    assert_in_order_without_gap(&sequences(&back));
    assert_identity(&scrape(&registry));
}
