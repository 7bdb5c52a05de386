//! INSERT into a table that is a file: written by `sql run` over history, by nobody else.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use std::{fs, path::Path, process::Output};

const SQL: &str = "
CREATE EXTERNAL TABLE calls (at TIMESTAMP, host VARCHAR, name VARCHAR) STORED AS JSON LOCATION 'calls'
OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
CREATE EXTERNAL TABLE lake (host VARCHAR NOT NULL, began TIMESTAMP, calls BIGINT, mean DOUBLE)
STORED AS PARQUET LOCATION 'lake.parquet';
CREATE EXTERNAL TABLE sheet (host VARCHAR, calls BIGINT) STORED AS CSV LOCATION 'sheet.csv' OPTIONS (has_header 'true');
CREATE VIEW per_second AS
SELECT host, tumble(at, INTERVAL '1 second') AS win, count(*) AS calls FROM calls GROUP BY host, win;
INSERT INTO lake SELECT calls, win.start AS began, host FROM per_second;
INSERT INTO sheet SELECT host, calls FROM per_second WHERE calls > 1;";

const CALLS: &str = r#"{"at":"2026-01-01T00:00:01Z","host":"a","name":"open"}
{"at":"2026-01-01T00:00:01.5Z","host":"a, b","name":"open"}
{"at":"2026-01-01T00:00:01.6Z","host":"a, b","name":"exec"}
{"at":"2026-01-01T00:00:02Z","host":"a","name":"exec"}
"#;

fn amoskys(folder: &Path, arguments: &[&str]) -> Output {
    common::amoskys().current_dir(folder).args(arguments).output().expect("runs")
}

/// Its standard output; its code has to be this, and its standard error to have these parts.
fn ends_with(code: i32, parts: &[&str], output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part}\n{error}");
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn history_goes_into_files_and_nothing_else_does() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    fs::write(folder.join("calls.sql"), SQL).expect("writes");
    fs::write(folder.join("calls.jsonl"), CALLS).expect("writes");
    let run = ["sql", "run", "calls.sql", "--from", "calls=calls.jsonl"];
    assert_eq!(ends_with(0, &[], &amoskys(folder, &run)), "", "all rows go into files");
    assert_eq!(fs::read_to_string(folder.join("sheet.csv")).expect("written"), "host,calls\n\"a, b\",2\n");

    // Files that another folder's SQL reads: what was written is what is read.
    let over = "CREATE EXTERNAL TABLE lake (host VARCHAR, began TIMESTAMP, calls BIGINT, mean DOUBLE) STORED AS JSON LOCATION 'lake'
                OPTIONS (event_time 'began', lateness '1s');
                CREATE EXTERNAL TABLE sheet STORED AS CSV LOCATION 'sheet.csv' OPTIONS (has_header 'true');
                CREATE VIEW both AS SELECT lake.host, lake.began, lake.calls, lake.mean, sheet.calls AS again
                FROM lake LEFT JOIN sheet ON lake.host = sheet.host;";
    fs::write(folder.join("over.sql"), over).expect("writes");
    let over = ["sql", "run", "over.sql", "--from", "lake=lake.parquet", "--view", "both", "--format", "csv"];
    let mut rows: Vec<String> = ends_with(0, &[], &amoskys(folder, &over)).lines().map(str::to_owned).collect();
    rows.sort();
    let expected = [
        "\"a, b\",2026-01-01T00:00:01,2,,2",
        "a,2026-01-01T00:00:01,1,,",
        "a,2026-01-01T00:00:02,1,,",
        "host,began,calls,mean,again",
    ];
    assert_eq!(rows, expected);

    ends_with(2, &["lake.parquet, the file of `lake`, exists; overwrite it by --force"], &amoskys(folder, &run));
    ends_with(0, &[], &amoskys(folder, &[&run[..], &["--force"]].concat()));
    // Who asks for a table sees its rows; its file stays as it is.
    fs::write(folder.join("sheet.csv"), "mine").expect("writes");
    let shown = ends_with(0, &[], &amoskys(folder, &[&run[..], &["--view", "sheet"]].concat()));
    assert_eq!(shown, "{\"host\":\"a, b\",\"calls\":2}\n");
    assert_eq!(fs::read_to_string(folder.join("sheet.csv")).expect("reads"), "mine");

    ends_with(0, &[], &amoskys(folder, &["sql", "check", "calls.sql"]));
    let words = ["calls.sql: `lake` is a file, lake.parquet", "calls.sql: `sheet` is a file", "amoskys sql run"];
    let mut process = common::amoskys();
    process.current_dir(folder).args(["process", "calls.sql", "--group", "g", "--bus", "local:log"]);
    ends_with(2, &words, &process.env("AMOSKYS_PROCESSOR_VERIFY", "off").output().expect("runs"));
    assert!(!folder.join("log").exists(), "nothing was opened");
}
