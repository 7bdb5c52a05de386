//! `sql test` as its users have it: what ships passes its own tests, every kind of step does what it says, and what fails
//! is told so that it can be found.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

fn amoskys(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_amoskys")).args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output, where the exit code is this.
fn ends_with(code: i32, arguments: &[&str]) -> String {
    let output = amoskys(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    if code == 2 { err } else { out }
}

/// A copy whose files may be written.
fn copy(from: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    folder
}

#[test]
fn every_view_and_detection_that_ships_passes_its_tests_and_has_some_that_alert_and_some_that_do_not() {
    for (sql, detections) in [("sql", "sql/detections"), ("coverage", "coverage")] {
        let out = ends_with(0, &["sql", "test", sql]);
        ends_with(0, &["sql", "check", sql, "--deny", "warnings"]);
        let paths = fs::read_dir(detections).expect("a folder").map(|entry| entry.expect("an entry").path());
        let paths: Vec<PathBuf> = paths.filter(|path| path.display().to_string().ends_with(".test.sql")).collect();
        assert!(!paths.is_empty(), "{detections}");
        for path in paths {
            let name = path.display().to_string();
            assert!(out.contains(&format!("ok {name}: ")), "{out}");
            // With rows behind the names of the columns, and without.
            let detection = path.file_name().expect("a name").to_string_lossy().replace(".test.sql", "");
            let tests = fs::read_to_string(&path).expect("reads");
            let alerts =
                tests.split("-- test: ").skip(1).map(|test| test.matches(&format!("\n-- | {detection} ")).count());
            let alerts: Vec<usize> = alerts.collect();
            assert!(alerts.iter().any(|count| *count > 0) && alerts.contains(&0), "{name}: {alerts:?}");
        }
    }
}

/// With the stream that ships.
#[test]
fn the_example_over_all_system_calls_passes_its_tests() {
    let folder = copy("docs/examples/syscall_activity");
    let stream = folder.path().join("syscall_activity.sql");
    fs::copy("sql/streams/syscall_activity.sql", stream).expect("copied");
    let out = ends_with(0, &["sql", "test", folder.path().to_str().expect("text")]);
    assert!(out.contains("2 tests passed in "), "{out}");
}

#[test]
fn steps_of_every_kind_do_what_they_say() {
    let out = ends_with(0, &["sql", "test", "tests/sql_test"]);
    assert!(out.contains("ok tests/sql_test/windows.test.sql: 14 tests\n"), "{out}");
    assert!(out.contains("43 tests passed in "), "{out}");
    // As many plans as there are tests, and one.
    for jobs in ["1", "20"] {
        ends_with(0, &["sql", "test", "tests/sql_test", "--jobs", jobs]);
    }
}

#[test]
fn what_fails_is_shown_and_can_be_blessed() {
    let folder = copy("tests/sql_test");
    let path = folder.path().join("windows.test.sql");
    let right = fs::read_to_string(&path).expect("reads");
    let wrong = right.replace("-- | a | 20 |", "-- | a | 21 |").replace("-- | it's | t3  |\n", "");
    let wrong = wrong.replace("-- error: not a JSON object", "-- error: not a YAML object");
    fs::write(&path, &wrong).expect("written");
    let sql = folder.path().to_str().expect("text");

    let out = ends_with(1, &["sql", "test", sql]);
    for part in [
        "windows.test.sql: 3 of 14 tests",
        "      - | a    | 21        |\n      + | a    | 20        |\n",
        "      + | it's | t3  |\n",
        "(on_error is 'stop'); was to fail with `not a YAML object`",
        "40 tests passed, 3 failed in ",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&ends_with(1, &["sql", "test", sql, "--format", "json", "--filter", "lists"]))
            .expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(1));
    assert_eq!(json[0]["failures"][0]["lines"][1], "+ | it's | t3  |");

    let junit = folder.path().join("tests.xml");
    ends_with(1, &["sql", "test", sql, "--junit", junit.to_str().expect("text")]);
    let xml = fs::read_to_string(&junit).expect("written");
    assert!(xml.contains("tests=\"43\"") && xml.contains("failures=\"3\""), "{xml}");
    assert!(xml.contains("+ | it&apos;s | t3  |") || xml.contains("+ | it's | t3  |"), "{xml}");

    // What is not a table stays wrong.
    let out = ends_with(1, &["sql", "test", sql, "--bless"]);
    assert!(out.contains("2 tables written") && out.contains("FAILED"), "{out}");
    let blessed =
        fs::read_to_string(&path).expect("reads").replace("-- error: not a YAML object", "-- error: not a JSON object");
    fs::write(&path, &blessed).expect("written");
    ends_with(0, &["sql", "test", sql]);
    assert!(blessed.contains("-- | it's | t3  |\n"), "{blessed}");
}

#[test]
fn windows_that_nothing_has_closed_are_told_of_and_what_is_blessed_has_not_failed() {
    let folder = copy("tests/sql_test");
    let (path, sql) = (folder.path().join("windows.test.sql"), folder.path().to_str().expect("text"));
    let rows = "-- test: x\nINSERT INTO logins (at, host, attempts) VALUES ('12:00:00', 'a', 5);\n";
    let wanted = "SELECT host FROM out_by_host;\n-- | host |\n-- |------|\n-- | a    |\n";
    fs::write(&path, format!("{rows}{wanted}")).expect("written");
    let out = ends_with(1, &["sql", "test", sql, "--filter", "windows.test.sql"]);
    assert!(out.contains("windows of the last rows are open still: -- close before"), "{out}");
    fs::write(&path, format!("{rows}-- close\n{}", wanted.replace("| a ", "| b "))).expect("written");
    let out = ends_with(1, &["sql", "test", sql, "--filter", "windows.test.sql"]);
    assert!(!out.contains("open still"), "{out}");
    let out = ends_with(0, &["sql", "test", sql, "--filter", "windows.test.sql", "--bless"]);
    assert!(out.contains("1 table written") && out.contains("written ") && !out.contains("FAILED"), "{out}");
}

#[test]
fn tests_that_are_none_are_told_all_at_once() {
    let folder = copy("tests/sql_test");
    fs::write(folder.path().join("a.test.sql"), "SELECT 1;\n-- test: x\n-- exepct: y\n").expect("written");
    fs::write(folder.path().join("b.test.sql"), "-- nothing\n").expect("written");
    let sql = folder.path().to_str().expect("text");
    let err = ends_with(2, &["sql", "test", sql]);
    for part in [
        "a.test.sql:1:1",
        "a statement stands before the first test",
        "`exepct:` is no step of a test",
        "b.test.sql",
        "holds no test",
    ] {
        assert!(err.contains(part), "{part}\n{err}");
    }
    fs::remove_file(folder.path().join("b.test.sql")).expect("removed");
    fs::write(folder.path().join("a.test.sql"), "-- test: x\n-- advance 2m\n-- at home\nSELECT * FROM counters;\n")
        .expect("written");
    let err = ends_with(2, &["sql", "test", sql]);
    assert!(err.contains("`advance 2m` is a comment, and does nothing") && !err.contains("`at home`"), "{err}");
    assert!(err.contains("the step is -- advance: 2m"), "{err}");
    let late =
        "-- test: x\n-- close\nINSERT INTO logins (at, host) VALUES ('12:00:00', 'a');\nSELECT * FROM counters;\n";
    fs::write(folder.path().join("a.test.sql"), late).expect("written");
    let err = ends_with(2, &["sql", "test", sql]);
    assert!(err.contains("the topics have ended with -- close, so no rows come any more"), "{err}");
    let empty = tempfile::tempdir().expect("a folder");
    let err = ends_with(2, &["sql", "test", empty.path().to_str().expect("text")]);
    assert!(err.contains("no test is below"), "{err}");
    let err = ends_with(2, &["sql", "test", "tests/sql_test", "--filter", "no such"]);
    assert!(err.contains("none of 43 tests has `no such`"), "{err}");
    let err = ends_with(2, &["sql", "test", "tests/sql_test/windows.test.sql"]);
    assert!(err.contains("tests need the SQL that they are of"), "{err}");
}

#[test]
fn names_are_listed_and_views_without_tests_are_warned_of() {
    let out = ends_with(0, &["sql", "test", "tests/sql_test", "--list", "--filter", "shuffled"]);
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(out.starts_with("tests/sql_test/shuffled.test.sql: groups of all partitions are merged\n"), "{out}");
    let out = ends_with(0, &["sql", "test", "tests/sql_test", "--list", "--filter", "shuffled", "--format", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(listed[0]["file"], "tests/sql_test/shuffled.test.sql");
    assert_eq!(
        (listed.as_array().map(Vec::len), &listed[0]["test"]),
        (Some(3), &"groups of all partitions are merged".into())
    );
    let folder = copy("tests/sql_test");
    fs::remove_file(folder.path().join("shuffled.test.sql")).expect("removed");
    let out = ends_with(0, &["sql", "check", folder.path().to_str().expect("text")]);
    for part in ["warning[untested]: has no test", "shuffled.sql:3:1\n", "the same at", "shuffled.sql:8:1\n"] {
        assert!(out.contains(part), "{part}\n{out}");
    }
}

#[test]
fn what_the_model_says_of_its_threshold_is_of_the_one_that_its_sql_alerts_at() {
    let sql = fs::read_to_string("sql/detections/discovery_burst.sql").expect("it is shipped");
    let threshold = sql.lines().find_map(|line| line.strip_prefix("WHERE confidence >= ")).expect("it has a threshold");
    let versions = fs::read_dir("models/process_behaviour").expect("it is shipped");
    let newest = versions.map(|entry| entry.expect("an entry").path()).max().expect("a version");
    let model = fs::read_to_string(newest.join("model.toml")).expect("it says what it is");
    assert!(model.contains(&format!("\nthreshold = {threshold}\n")), "{threshold} is not what was measured:\n{model}");
}
