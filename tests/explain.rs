//! What `sql explain` says is what it is meant to say: compared with files, which `AMOSKYS_BLESS=1` writes anew.

use std::{fs, path::Path, process::Command};

fn explained(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_amoskys")).args(["sql", "explain"]).args(arguments).output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Bytes are the allocator's business: that they are told is what counts.
fn without_bytes(text: &str) -> String {
    let line = |line: &str| {
        let bytes = line.split_once(", about ").and_then(|(_, after)| after.split_once(" for a key"));
        bytes.map_or(line.to_owned(), |(bytes, _)| line.replace(bytes, "…"))
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn compare(name: &str, found: &str) {
    let path = Path::new("tests/explain").join(name);
    if std::env::var_os("AMOSKYS_BLESS").is_some() {
        fs::write(&path, found).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name} differs; AMOSKYS_BLESS=1 writes it anew");
}

#[test]
fn text_tells_of_every_kind_of_flow() {
    compare("flow.txt", &without_bytes(&explained(&["tests/explain/flow.sql"])));
}

#[test]
fn mermaid_draws_the_same() {
    compare("flow.mmd", &without_bytes(&explained(&["tests/explain/flow.sql", "--format", "mermaid"])));
}

#[test]
fn one_view_alone_is_what_it_needs() {
    compare("long.txt", &without_bytes(&explained(&["tests/explain/flow.sql", "--view", "long"])));
}

#[test]
fn json_has_bytes_that_grow_with_the_aggregates() {
    let bytes = |view: &str| -> u64 {
        let text = explained(&["tests/explain/flow.sql", "--view", view, "--format", "json"]);
        let outline: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        outline["streams"][0]["panes"][0]["bytes_per_key"].as_u64().expect("measured")
    };
    let (short, long) = (bytes("short"), bytes("long"));
    assert!((8..1000).contains(&short) && long > short, "{short} {long}");
}

#[test]
fn what_ships_can_be_explained() {
    let text = explained(&["sql"]);
    assert!(text.contains("views     process_activity: windows of 10s, every 1s"), "{text}");
    for raw in ["Utf8(", "Int64(", "IntervalMonthDayNano", "__window_"] {
        assert!(!text.contains(raw), "`{raw}` is a word of the planner's: {text}");
    }
}
