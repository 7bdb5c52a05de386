//! `sql fit`: statistics of a view over history, and `normalise` and `one_hot` that use them.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use serde_json::{Value, json};
use std::{fs, path::Path, process::Output};

const SQL: &str = "
    CREATE EXTERNAL TABLE calls (at TIMESTAMP, host VARCHAR, name VARCHAR) STORED AS JSON LOCATION 'calls'
    OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
    CREATE VIEW per_second AS
    SELECT host, tumble(at, INTERVAL '1 second') AS win, max(name) AS name, count(*) AS calls FROM calls GROUP BY host, win;";

fn amoskys(folder: &Path, arguments: &[&str]) -> Output {
    common::amoskys().current_dir(folder).args(arguments).output().expect("runs")
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// One call in the first second, two in the second, and so on.
fn history() -> String {
    let calls = (1..=5).flat_map(|second| (0..second).map(move |_| second));
    let line = |second: i64| {
        let name = if second % 2 == 1 { "open" } else { "exec" };
        json!({ "at": format!("2026-01-01T00:00:0{second}Z"), "host": "h", "name": name }).to_string() + "\n"
    };
    calls.map(line).collect()
}

#[test]
fn what_was_fitted_scales_and_tells_apart() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    fs::write(folder.join("calls.sql"), SQL).expect("writes");
    fs::write(folder.join("calls.jsonl"), history()).expect("writes");
    let fit =
        ["sql", "fit", "calls.sql", "--from", "calls=calls.jsonl", "--view", "per_second", "--output", "fitted.json"];
    let output = amoskys(folder, &fit);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output).1);
    let fitted: Value = serde_json::from_slice(&fs::read(folder.join("fitted.json")).expect("written")).expect("JSON");
    // Of 1, 2, 3, 4, 5.
    let calls = json!({ "mean": 3.0, "standard_deviation": 2f64.sqrt() });
    let expected = json!({
        "numbers": { "calls": calls },
        "categories": { "host": ["h"], "name": ["open", "exec"] },
    });
    assert_eq!(fitted, expected);
    let (code, error) = told(&amoskys(folder, &fit));
    assert!(code == Some(2) && error.contains("fitted.json exists; overwrite it by --force"), "{error}");
    let output = amoskys(folder, &[&fit[..], &["--force", "--format", "json"]].concat());
    let summary: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let columns = json!({ "file": "fitted.json", "rows": 5, "numbers": ["calls"], "categories": ["host", "name"] });
    assert_eq!(summary, columns);
    let output = amoskys(folder, &[&fit[..], &["--format", "json"]].concat());
    let error: Value = serde_json::from_slice(&output.stderr).expect("an object");
    assert!(error["error"].as_str().is_some_and(|error| error.contains("overwrite it by --force")), "{error}");

    let view = "CREATE VIEW inputs AS SELECT normalise('fitted.json', 'calls', calls) AS calls,
                one_hot('fitted.json', 'name', name) AS name, one_hot('fitted.json', 'host', 'x') AS host FROM per_second;";
    fs::write(folder.join("inputs.sql"), view).expect("writes");
    let run = ["sql", "run", ".", "--from", "calls=calls.jsonl", "--view", "inputs", "--format", "json"];
    let output = amoskys(folder, &run);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output).1);
    let rows: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let scaled: Vec<f64> = rows.iter().filter_map(|row| row["calls"].as_f64()).collect();
    let root = 2f64.sqrt();
    assert_eq!(scaled, [-2.0 / root, -1.0 / root, 0.0, 1.0 / root, 2.0 / root]);
    assert_eq!(rows[0]["name"], json!([1.0, 0.0, 0.0]));
    assert_eq!(rows[1]["name"], json!([0.0, 1.0, 0.0]));
    assert_eq!(rows[0]["host"], json!([0.0, 1.0]));
}

#[test]
fn a_view_without_rows_and_one_that_is_not_there_are_told() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    fs::write(folder.join("calls.sql"), SQL).expect("writes");
    fs::write(folder.join("calls.jsonl"), "").expect("writes");
    let fit = |view: &str| {
        told(&amoskys(
            folder,
            &["sql", "fit", ".", "--from", "calls=calls.jsonl", "--view", view, "--output", "f.json"],
        ))
    };
    let (code, error) = fit("per_second");
    assert!(code == Some(2) && error.contains("`per_second` has no rows over these files"), "{code:?} {error}");
    let (code, error) = fit("per_secnd");
    assert!(code == Some(2) && error.contains("per_second"), "{code:?} {error}");
    assert!(!folder.join("f.json").exists());
}
