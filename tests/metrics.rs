//! `docs/metrics.md` says what the registries show. The checker's own examples show that it can fail.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;
mod metrics_page;

use amoskys_bus::{Bus, MemberOptions, Outgoing};
use amoskys_collectors::{Agent, AgentConfig, SyscallMode};
use amoskys_pipeline::{
    run::{Metrics, Worker, WorkerOptions},
    sql,
};
use metrics_page::faults;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const PAGE: &str =
    "| name | type | unit | meaning |\n|---|---|---|---|\n| `x_events_total` | counter | events | Seen |\n";

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("a registry encodes");
    text
}

fn counted(name: &str, unit: Unit) -> Registry {
    let mut registry = Registry::default();
    registry.register_with_unit(name, "Seen", unit, Counter::<u64>::default());
    registry
}

fn events() -> Unit {
    Unit::Other("events".into())
}

#[test]
fn a_metric_with_its_row_is_well() {
    assert_eq!(faults("x", &text(&counted("x", events())), PAGE), Vec::<String>::new());
}

#[test]
fn a_metric_registered_twice_is_a_fault() {
    let mut registry = counted("x", events());
    registry.register_with_unit("x", "Seen", events(), Counter::<u64>::default());
    assert_eq!(faults("x", &text(&registry), PAGE), ["`x_events_total` is registered twice"]);
}

#[test]
fn a_metric_without_unit_is_a_fault() {
    let mut registry = Registry::default();
    registry.register("x_events", "Seen", Counter::<u64>::default());
    let faults = faults("x", &text(&registry), PAGE);
    assert_eq!(faults[0], "`x_events_total` has no unit");
}

#[test]
fn a_metric_missing_from_the_page_is_a_fault_that_says_the_row() {
    let mut registry = counted("x", events());
    registry.register_with_unit("x_wal", "Kept", Unit::Bytes, Gauge::<i64>::default());
    assert_eq!(
        faults("x", &text(&registry), PAGE),
        ["`x_wal_bytes` is missing from the page: | `x_wal_bytes` | gauge | bytes | Kept |"]
    );
}

#[test]
fn a_row_without_a_metric_or_with_another_type_is_a_fault() {
    let page = format!("{PAGE}| `x_gone_bytes` | gauge | bytes | Gone |\n");
    assert_eq!(faults("x", &text(&counted("x", events())), &page), ["`x_gone_bytes` is on the page and no metric"]);
    let page = PAGE.replace("counter", "gauge");
    let expected = ["`x_events_total` is a counter of events, and the page says gauge of events"];
    assert_eq!(faults("x", &text(&counted("x", events())), &page), expected);
}

#[test]
fn rows_twice_or_with_a_cell_too_many_are_faults() {
    let page = format!("{PAGE}{}", PAGE.lines().last().expect("a row"));
    assert_eq!(faults("x", &text(&counted("x", events())), &page), ["`x_events_total` is on the page twice"]);
    let page = PAGE.replace("Seen", "Seen | twice");
    assert!(faults("x", &text(&counted("x", events())), &page)[0].contains("5 cells"));
}

#[test]
fn an_empty_registry_and_a_foreign_name_are_faults() {
    assert_eq!(faults("y", "# EOF\n", PAGE), ["the registry of `y` shows no metric at all"]);
    assert!(faults("y", &text(&counted("x", events())), PAGE)[0].contains("does not begin with `y`"));
}

#[test]
fn a_metric_without_help_is_a_fault() {
    let mut registry = Registry::default();
    registry.register_with_unit("x", "", events(), Counter::<u64>::default());
    assert_eq!(faults("x", &text(&registry), PAGE), ["`x_events_total` has no help"]);
}

/// A processor that reads `topic`, with a registry of its own.
fn processor(bus: &Arc<dyn Bus>, topic: &str) -> (Worker, Registry) {
    let text = format!(
        "CREATE EXTERNAL TABLE t (host VARCHAR, at TIMESTAMP) STORED AS JSON LOCATION '{topic}'
         OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
         CREATE EXTERNAL TABLE seen (host VARCHAR) STORED AS JSON LOCATION 'seen';
         INSERT INTO seen SELECT host FROM t GROUP BY host, tumble(at, INTERVAL '1 second');"
    );
    let sources = sql::Sources::of("t.sql", text);
    let options = sql::Options {
        pool: amoskys_proto::pool().expect("the contract loads"),
        models: Arc::new(|name| Err(format!("no model {name}"))),
        wanted: sql::Wanted::Inserts,
    };
    let dataflow = sql::plan(&sources, &options).expect("plans");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let options = WorkerOptions::new(MemberOptions::new(topic, Vec::new()));
    (Worker::new(bus.clone(), dataflow, options, metrics).expect("a worker"), registry)
}

#[test]
fn several_in_one_process_serve_their_own_numbers_and_all_are_on_the_page() {
    let page = include_str!("../docs/metrics.md");
    let folder = tempfile::tempdir().expect("a folder");
    let bus = common::open(&format!("local:{}", folder.path().join("log").display()));
    let topics =
        ["one", "two", "seen", "amoskys.deadletter.v1", "amoskys.telemetry.process.v1", "amoskys.agent.status.v1"];
    topics.iter().for_each(|topic| common::create(bus.as_ref(), topic, 1));
    for (topic, rows) in [("one", 3), ("two", 5)] {
        let record = Outgoing {
            topic: topic.into(),
            partition: None,
            key: None,
            payload: br#"{"host":"h","at":"2020-01-01T00:00:00"}"#.to_vec(),
            headers: Vec::new(),
        };
        common::produce(bus.as_ref(), vec![record; rows]);
    }

    let agents = ["a", "b"].map(|name| {
        let mut registry = Registry::default();
        let mut config = AgentConfig::new(name, "host", folder.path().join(name));
        config.syscall.source = SyscallMode::Off;
        (Agent::start(config, bus.clone(), &mut registry).expect("an agent"), registry)
    });
    let stop = AtomicBool::new(false);
    let workers = ["one", "two"].map(|topic| processor(&bus, topic));
    let registries = thread::scope(|scope| {
        let (running, registries): (Vec<_>, Vec<_>) = workers
            .into_iter()
            .map(|(mut worker, registry)| {
                (
                    scope.spawn({
                        let stop = &stop;
                        move || worker.run(stop)
                    }),
                    registry,
                )
            })
            .unzip();
        let deadline = Instant::now() + Duration::from_secs(30);
        let wanted = ["amoskys_processor_decoded_rows_total 3", "amoskys_processor_decoded_rows_total 5"];
        let of_view = "amoskys_processor_view_open_panes{";
        let has = |page: &str, wanted| page.contains(wanted) && page.contains(of_view);
        while !registries.iter().zip(wanted).all(|(registry, wanted)| has(&text(registry), wanted)) {
            assert!(Instant::now() < deadline, "{}", registries.iter().map(text).collect::<String>());
            thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        running.into_iter().for_each(|worker| worker.join().expect("ends").expect("ends well"));
        registries
    });
    for registry in &registries {
        assert_eq!(faults("amoskys_processor_", &text(registry), page), Vec::<String>::new());
    }
    for (agent, registry) in agents {
        assert_eq!(faults("amoskys_agent_", &text(&registry), page), Vec::<String>::new());
        agent.stop(Duration::from_secs(5));
        agent.join();
    }
}
