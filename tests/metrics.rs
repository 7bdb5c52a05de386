//! `docs/metrics.md` says what the registries show. The checker's own examples show that it can fail.

mod metrics_page;

use metrics_page::faults;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
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
