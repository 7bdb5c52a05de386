//! A topic whose content only SQL knows: exported as it is, and run over from the export as from the lines that were written.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use common::amoskys;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

const SQL: &str =
    "CREATE EXTERNAL TABLE logins (at TIMESTAMP, host VARCHAR, bytes BIGINT) STORED AS JSON LOCATION 'acme.logins.v1'
OPTIONS (event_time 'at', lateness '2s', partition_key 'host');
CREATE VIEW per_host AS SELECT host, tumble(at, INTERVAL '5 seconds') AS win, count(*) AS logins, sum(bytes) AS bytes
FROM logins GROUP BY host, win;
CREATE VIEW places AS SELECT host, at, _partition AS partition, _offset AS number FROM logins;
CREATE VIEW how_many AS SELECT tumble(at, INTERVAL '1 hour') AS win, count(*) AS logins FROM logins GROUP BY win;";

fn run(folder: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let Output { status, stdout, stderr } =
        amoskys().current_dir(folder).args(arguments).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(stdout), text(stderr), status.code())
}

fn rows(folder: &Path, view: &str, from: &str) -> (Vec<String>, String) {
    let from = format!("logins={from}");
    let (out, said, code) = run(folder, &["sql", "run", "q.sql", "--view", view, "--from", &from, "--format", "json"]);
    assert_eq!(code, Some(0), "{view}: {said}");
    let mut rows: Vec<String> = out.lines().map(str::to_owned).collect();
    rows.sort();
    (rows, said)
}

/// With a line that is none, and one whose time is none.
fn lines() -> Vec<String> {
    let line = |n: i64| {
        let (second, host) = (n / 10, n % 3);
        format!(
            "{{\"at\":\"2026-01-02T10:{:02}:{:02}Z\",\"host\":\"h{host}\",\"bytes\":{n}}}",
            second / 60,
            second % 60
        )
    };
    let mut lines: Vec<String> = (0..2_000).map(line).collect();
    lines[7] = "no JSON".to_owned();
    lines[1_500] = "{\"at\":\"never\",\"host\":\"h0\",\"bytes\":1}".to_owned();
    lines
}

#[test]
fn records_of_an_export_are_decoded_as_the_stream_says() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    fs::write(folder.join("q.sql"), SQL).expect("written");
    fs::write(folder.join("logins.jsonl"), lines().join("\n")).expect("written");
    let bus = format!("local:{}", folder.join("log").display());
    let done = |arguments: &[&str]| {
        let (out, error, code) = run(folder, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
    };
    done(&["topics", "create", "acme.logins.v1", "--partitions", "3", "--bus", &bus]);
    // What is no JSON has no key.
    let good: PathBuf = folder.join("good.jsonl");
    let is_json = |line: &&String| line.starts_with('{');
    let all = lines();
    fs::write(&good, all.iter().filter(is_json).cloned().collect::<Vec<_>>().join("\n")).expect("written");
    done(&["topics", "write", "acme.logins.v1", "--from", "good.jsonl", "--key", "host", "--bus", &bus]);
    done(&["topics", "export", "acme.logins.v1", "--output", "export.parquet", "--bus", &bus]);

    let (from_lines, said_of_lines) = rows(folder, "per_host", "good.jsonl");
    let (from_export, said_of_export) = rows(folder, "per_host", "export.parquet");
    assert!(from_lines.len() > 100, "{}", from_lines.len());
    assert_eq!(from_export, from_lines);
    // Each tells of the record whose time is none.
    for said in [&said_of_lines, &said_of_export] {
        assert!(said.contains("never"), "{said}");
    }
    // Of groups of all partitions, which are merged.
    assert_eq!(rows(folder, "how_many", "export.parquet").0, rows(folder, "how_many", "good.jsonl").0);
    // Where each was in the log.
    let (places, _) = rows(folder, "places", "export.parquet");
    assert_eq!(places.len(), lines().len() - 2);
    let parsed: Vec<serde_json::Value> = places.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect();
    for host in ["h0", "h1", "h2"] {
        let of_host: Vec<&serde_json::Value> = parsed.iter().filter(|row| row["host"] == host).collect();
        let partitions: std::collections::BTreeSet<i64> =
            of_host.iter().map(|row| row["partition"].as_i64().expect("a partition")).collect();
        assert!(of_host.len() > 600 && partitions.len() == 1, "{host}: {} rows, {partitions:?}", of_host.len());
    }
    // A share of the partitions is a share of the rows.
    let share = |partitions: &str| {
        let arguments = ["sql", "run", "q.sql", "--view", "per_host", "--from", "logins=export.parquet"];
        let (out, error, code) =
            run(folder, &[&arguments[..], &["--partitions", partitions, "--format", "json"]].concat());
        assert_eq!(code, Some(0), "{error}");
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut shares = [share("0"), share("1-2")].concat();
    shares.sort();
    assert_eq!(shares, from_lines);
}
