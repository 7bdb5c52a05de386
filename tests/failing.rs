//! Values that an expression cannot be computed for end no processor: rows beside them, other INSERTs and later starts go on,
//! and what failed is in its log and its metrics, once; and what history tells of values, records and columns.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use common::{create, open, processor::Processor, produce, read_all};
use serde_json::{Value, json};
use std::{fs::File, path::Path, process::Stdio};

const SQL: &str = "CREATE EXTERNAL TABLE lines (at TIMESTAMP, host TEXT, program TEXT, size BIGINT, user_name TEXT)
STORED AS JSON LOCATION 'lines' OPTIONS (event_time 'at', lateness '1s', idle '2s', partition_key 'host');
CREATE EXTERNAL TABLE found (what TEXT, host TEXT, value BIGINT) STORED AS JSON LOCATION 'found';
-- A name where a number was meant.
INSERT INTO found SELECT 'number' AS what, host, size AS value FROM lines WHERE program > 5;
INSERT INTO found SELECT 'rate' AS what, host, 100 / size AS value FROM lines;
INSERT INTO found SELECT 'row' AS what, host, size AS value FROM lines WHERE user_name IS NULL;";

fn start(sql: &Path, address: &str, log: &Path) -> Processor {
    let log = File::options().create(true).append(true).open(log).expect("a file");
    Processor::start(sql, address, "failing", |command| {
        command.env("AMOSKYS_LOG", "info").stderr(Stdio::from(log));
    })
}

fn found(address: &str) -> Vec<(String, Value)> {
    let bus = open(address);
    let rows = read_all(bus.as_ref(), "found", 1).into_iter().flatten();
    let rows = rows.map(|row| serde_json::from_slice::<Value>(&row).expect("JSON"));
    let mut rows: Vec<(String, Value)> =
        rows.map(|row| (row["what"].as_str().expect("text").to_owned(), row["value"].clone())).collect();
    rows.sort_by_key(|(what, value)| (what.clone(), value.as_i64()));
    rows
}

#[test]
fn a_value_ends_no_processor_and_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sql, log) = (folder.path().join("lines.sql"), folder.path().join("log.txt"));
    std::fs::write(&sql, SQL).expect("written");
    let address = format!("local:{}", folder.path().join("log").display());
    {
        let bus = open(&address);
        ["lines", "found", "amoskys.deadletter.v1"].iter().for_each(|topic| create(bus.as_ref(), topic, 1));
        let line = |second: i64, program: &str, size: i64| {
            json!({ "at": format!("2026-01-01T00:00:{second:02}Z"), "host": "h", "program": program, "size": size,
                "userName": "u" })
        };
        let lines = [line(0, "7", 10), line(1, "sshd", 0), line(2, "cron", 20), line(3, "3", 50)];
        produce(
            bus.as_ref(),
            lines.iter().map(|line| amoskys_bus::Outgoing {
                topic: "lines".into(),
                partition: Some(0),
                key: None,
                payload: line.to_string().into_bytes(),
                headers: Vec::new(),
            }),
        );
    }
    // The second time there is nothing new: what failed is not computed again.
    for failed in [3, 0] {
        let mut processor = start(&sql, &address, &log);
        processor.until_read("lines", &[4]);
        let metrics = processor.get("/metrics").expect("it serves").1;
        let counted = format!("amoskys_processor_failed_expressions_total {failed}\n");
        assert!(metrics.contains(&counted), "{counted}{metrics}");
        processor.terminate();
    }
    let wanted =
        [("number", json!(10)), ("rate", Value::Null), ("rate", json!(2)), ("rate", json!(5)), ("rate", json!(10))];
    let rows = [0, 10, 20, 50].map(|size| ("row", json!(size)));
    let wanted: Vec<(String, Value)> =
        wanted.into_iter().chain(rows).map(|(what, value)| (what.to_owned(), value)).collect();
    assert_eq!(found(&address), wanted);
    let all = std::fs::read_to_string(&log).expect("UTF-8");
    let near = all.lines().filter(|line| line.contains("a key by nearly its name is")).collect::<Vec<_>>();
    // Each processor reads the records of open windows, or none.
    assert!(!near.is_empty() && near[0].contains("column=\"user_name\" key=\"userName\""), "{all}");
    let told: Vec<&str> = all.lines().filter(|line| line.contains("an expression cannot be computed")).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    for part in [
        "lines.sql:5:1\"",
        "INSERT INTO found at ",
        "expression=\"CAST(program AS BIGINT) > 5\" rows=2",
        "program = 'sshd': Cannot cast string 'sshd'",
        "stream=\"lines\" partition=0 before_offset=4",
    ] {
        assert!(told.iter().any(|line| line.contains(part)), "{part}: {told:#?}");
    }
    assert!(told.iter().any(|line| line.contains("size = 0: division by zero")), "{told:#?}");
}

/// Lines of a file into a log, and through a processor: how one tries SQL on one's own data.
#[test]
fn lines_are_written_as_records_and_read_by_a_processor() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sql, lines) = (folder.path().join("lines.sql"), folder.path().join("lines.jsonl"));
    std::fs::write(&sql, SQL).expect("written");
    let address = format!("local:{}", folder.path().join("log").display());
    let line =
        |host: &str| format!("{{\"at\":\"2026-01-01T00:00:00Z\",\"host\":\"{host}\",\"program\":\"7\",\"size\":10}}\n");
    std::fs::write(&lines, format!("{}\n{}no JSON\n{}", line("a"), line("b"), line("a").trim_end())).expect("written");
    let topics = |arguments: &[&str]| {
        let output =
            common::amoskys().arg("topics").args(arguments).args(["--bus", &address]).output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let from = lines.to_str().expect("text");
    let (code, told) = topics(&["write", "lines", "--from", from]);
    assert!(code == Some(2) && told.contains("there is no local log"), "{told}");
    topics(&["create", "lines", "--partitions", "3"]);
    topics(&["create", "found", "amoskys.deadletter.v1", "--partitions", "1"]);
    let (code, told) = topics(&["write", "other", "--from", from]);
    assert!(code == Some(2) && told.contains("amoskys topics create other"), "{told}");
    let (code, told) = topics(&["write", "lines", "--from", from, "--key", "host"]);
    assert!(code == Some(0) && told.starts_with("4 of 4 records written to lines\n"), "{told}");
    assert!(told.contains("1 of 4 records have no field `host`, so no key"), "{told}");
    let of_partition = |key: &str| amoskys_bus::partition_for_key(key.as_bytes(), 3) as usize;
    let partitions = read_all(open(&address).as_ref(), "lines", 3);
    let of = |host: &str| {
        partitions[of_partition(host)]
            .iter()
            .filter(|record| record.starts_with(line(host).trim_end().as_bytes()))
            .count()
    };
    assert_eq!((of("a"), of("b")), (2, 1));
    let ends: Vec<i64> = partitions.iter().map(|records| records.len() as i64).collect();
    let mut processor = start(&sql, &address, &folder.path().join("log.txt"));
    processor.until_read("lines", &ends);
    processor.terminate();
    assert_eq!(found(&address).iter().filter(|(what, _)| what == "row").count(), 3);
}

#[test]
fn history_counts_milliseconds_where_its_column_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sql, lines) = (folder.path().join("lines.sql"), folder.path().join("lines.jsonl"));
    std::fs::write(&sql, SQL.replace("at TIMESTAMP", "at TIMESTAMP(3)")).expect("written");
    std::fs::write(&lines, "{\"at\":1767225600123,\"host\":\"h\",\"program\":\"7\",\"size\":10}\n").expect("written");
    let mut command = common::amoskys();
    command.args(["sql", "run"]).arg(&sql).args(["--view", "lines", "--from"]);
    let output = command.arg(format!("lines={}", lines.display())).output().expect("it starts");
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("\"at\":\"2026-01-01T00:00:00.123Z\"") && !told.contains("1970"), "{out}{told}");
}

#[test]
fn history_tells_what_it_left_out_and_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sql, lines) = (folder.path().join("lines.sql"), folder.path().join("lines.jsonl"));
    std::fs::write(&sql, SQL).expect("written");
    let line = |time: &str, program: &str, size: &str| {
        format!(
            "{{\"at\":{time},\"host\":\"h\",\"program\":\"{program}\",\"size\":{size},\"user\":\"u\",\"username\":\"u\"}}\n"
        )
    };
    let text = [
        line("1767225600000", "7", "10"),
        "no JSON\n".to_owned(),
        line("1767225601000", "sshd", "0"),
        line("1767225602000", "3", "\"many\""),
    ];
    std::fs::write(&lines, text.concat()).expect("written");
    let mut command = common::amoskys();
    command.env("AMOSKYS_LOG", "info").args(["sql", "run"]).arg(&sql).arg("--from");
    let output = command.arg(format!("lines={}", lines.display())).output().expect("it starts");
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8").lines().count(), 5, "{told}");
    // A stream's own rows are a view, too.
    let mut command = common::amoskys();
    command.args(["sql", "run"]).arg(&sql).args(["--view", "lines", "--from"]);
    let output = command.arg(format!("lines={}", lines.display())).output().expect("it starts");
    let rows = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(rows.lines().count() == 2 && rows.contains("\"program\":\"sshd\",\"size\":0"), "{rows}");
    for parts in [
        vec!["column=\"user_name\" key=\"username\""],
        vec!["event times are of 1970", "stream=\"lines\""],
        vec![
            "place=\"line 2\" reason=\"not a JSON object",
            "a processor would send this record to the dead-letter topic",
        ],
        vec!["place=\"line 4\" reason=\"not a JSON object", "'size'"],
        vec!["left out: do not decode", "rows=2"],
        vec!["CAST(program AS BIGINT) > 5\" rows=1", "lines.sql:5:1"],
        vec!["100 / size\" rows=1", "lines.sql:6:1"],
    ] {
        assert!(told.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?}\n{told}");
    }
}
