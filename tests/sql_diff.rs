//! `sql diff`: two versions of a folder over one history, from files and from git.

use std::{
    fs,
    process::{Command, Output},
};

const SQL: &str = "
CREATE EXTERNAL TABLE logins (at TIMESTAMP, host TEXT, account TEXT, ok BOOLEAN) STORED AS JSON LOCATION 'logins'
OPTIONS (event_time 'at', lateness '2s', partition_key 'host');
CREATE EXTERNAL TABLE alerts STORED AS PROTOBUF LOCATION 'amoskys.alerts.v1' OPTIONS (partition_key 'host_id');
CREATE EXTERNAL TABLE scores (host TEXT, failures BIGINT, tags TEXT[]) STORED AS JSON LOCATION 'scores';
CREATE VIEW guesses AS
SELECT host, account, tumble(at, INTERVAL '10 seconds') AS win, count(*) FILTER (WHERE NOT ok) AS failures, max(at) AS last
FROM logins GROUP BY host, account, win;
INSERT INTO scores SELECT host, failures, make_array(host, 'x') AS tags FROM guesses;
INSERT INTO alerts
SELECT 'guessed' AS detection, host AS host_id, account AS entity, last AS time, 0.7 AS confidence, failures
FROM guesses WHERE failures >= 3;
";

struct Place(tempfile::TempDir);

impl Place {
    /// A repository with the SQL in its first commit, and logins of two hosts: in each minute `h0` fails `minute` times within
    /// ten seconds, `h1` twice.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        place.write("sql/a.sql", SQL);
        place.write("sql/a.test.sql", "-- not SQL of a version");
        let mut rows = String::new();
        for minute in 0..6 {
            let mut login = |second: i32, host: &str| {
                rows.push_str(&format!(
                    "{{\"at\":\"2026-01-02T23:5{minute}:{second:02}Z\",\"host\":\"{host}\",\"account\":\"root\",\"ok\":false}}\n"
                ));
            };
            (0..minute).for_each(|second| login(second, "h0"));
            (0..2).for_each(|second| login(30 + second, "h1"));
        }
        place.write("logins.jsonl", &rows);
        place.git(&["init", "--quiet"]);
        place.git(&["add", "sql"]);
        place.git(&["-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "-m", "one"]);
        place
    }

    fn git(&self, arguments: &[&str]) {
        let done = Command::new("git").current_dir(self.0.path()).args(arguments).status().expect("git runs");
        assert!(done.success(), "{arguments:?}");
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn diff(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amoskys"));
        command.current_dir(self.0.path()).args(["sql", "diff"]).args(arguments);
        let Output { stdout, stderr, status } = command.output().expect("it starts");
        (String::from_utf8(stdout).expect("text"), String::from_utf8(stderr).expect("text"), status.code())
    }
}

const FROM: [&str; 2] = ["--from", "logins=logins.jsonl"];

#[test]
fn the_same_sql_differs_in_nothing() {
    let place = Place::new();
    let (out, err, code) =
        place.diff(&["HEAD", "sql", FROM[0], FROM[1], "--fail-on", "new", "--fail-on", "lost", "--fail-on", "changed"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("alerts: 3 before, 3 after: 0 new, 0 lost, 0 changed\n"), "{out}");
    // The last minute has no login of h0.
    assert!(out.contains("scores: 11 before, 11 after: 0 new, 0 lost, 0 changed\n"), "{out}");
}

#[test]
fn what_is_new_lost_and_changed_is_shown_with_its_rows_and_refused_on_demand() {
    let place = Place::new();
    // From four failures on, from five surer; and another detection.
    let changed = SQL
        .replace("failures >= 3", "failures >= 4")
        .replace("0.7 AS", "CASE WHEN failures > 4 THEN 0.9 ELSE 0.7 END AS");
    let more =
        "INSERT INTO alerts SELECT 'slow' AS detection, host AS host_id, account AS entity, last AS time, failures
                FROM guesses WHERE failures = 2;";
    place.write("sql/a.sql", &format!("{changed}{more}"));
    let (out, err, code) = place.diff(&["HEAD:sql", "sql", FROM[0], FROM[1]]);
    assert_eq!(code, Some(0), "{out}{err}");
    for line in [
        "alerts: 3 before, 9 after: 7 new, 1 lost, 1 changed",
        "  guessed: 3 before, 2 after: 0 new, 1 lost, 1 changed",
        "  slow: 0 before, 7 after: 7 new, 0 lost, 0 changed",
        "  on 2026-01-02 of h1: 0 before, 6 after",
        "  confidence differs in 1 row",
        "  - detection guessed, host_id h0, entity root, time 2026-01-02 23:53:02, confidence 0.7, failures 3, _window_start 2026-01-02 23:53:00, _window_end 2026-01-02 23:53:10",
        "  ~ detection guessed, host_id h0, entity root, time 2026-01-02 23:55:04: confidence: 0.7 → 0.9",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }
    let (out, _, code) = place.diff(&[
        "HEAD",
        "sql",
        FROM[0],
        FROM[1],
        "--rows",
        "1",
        "--max-alerts-per-host-day",
        "5",
        "--fail-on",
        "lost",
    ]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("  and 6 more new; --rows shows more\n"), "{out}");
    assert!(out.ends_with("refused: alerts: 1 lost\nrefused: alerts: 6 of h1 on 2026-01-02, more than 5\n"), "{out}");

    let (out, _, code) = place.diff(&["HEAD", "sql", FROM[0], FROM[1], "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let alerts = &found["tables"][0];
    assert_eq!((code, alerts["table"].as_str()), (Some(0), Some("alerts")));
    assert_eq!(alerts["counts"], serde_json::json!({ "before": 3, "after": 9, "new": 7, "lost": 1, "changed": 1 }));
    assert_eq!(alerts["changed"][0]["columns"]["confidence"], serde_json::json!({ "before": 0.7, "after": 0.9 }));
    assert_eq!(alerts["new"].as_array().map(Vec::len), Some(7));
}

/// Detection and time of alerts, view and window of feature rows are the file's name and the window's where SQL gives none.
#[test]
fn what_a_processor_fills_in_tells_rows_apart() {
    let place = Place::new();
    let streams = SQL.split("INSERT INTO scores").next().expect("what is read");
    let rows = "CREATE EXTERNAL TABLE features STORED AS PROTOBUF LOCATION 'amoskys.features.v1' OPTIONS (partition_key 'host_id');
        INSERT INTO features SELECT host AS host_id, account AS entity, map(['failures'], [CAST(failures AS DOUBLE)]) AS features
        FROM guesses;";
    let alert = "INSERT INTO alerts SELECT host AS host_id, account AS entity, 0.7 AS confidence FROM guesses WHERE failures > 3;";
    for (version, detection) in [("one", "aaa"), ("other", "bbb")] {
        place.write(&format!("{version}/streams.sql"), streams);
        place.write(&format!("{version}/rows.sql"), rows);
        place.write(&format!("{version}/{detection}.sql"), alert);
    }
    let (out, err, code) = place.diff(&["one", "other", FROM[0], FROM[1], "--fail-on", "lost"]);
    assert_eq!(code, Some(1), "{out}{err}");
    for line in [
        "alerts: 2 before, 2 after: 2 new, 2 lost, 0 changed",
        "  aaa: 2 before, 0 after: 0 new, 2 lost, 0 changed",
        "  bbb: 0 before, 2 after: 2 new, 0 lost, 0 changed",
        "features: 11 before, 11 after: 0 new, 0 lost, 0 changed",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }
}

/// Both versions call a model, for which ONNX Runtime is loaded once.
#[test]
fn versions_that_call_models_are_compared() {
    let place = Place::new();
    let columns = "kind pid parent_pid process_key uid euid comm exe exe_deleted exe_fs_type exe_setuid exe_sha256 package \
                   rss_bytes exit_code lifetime_us parent_comm parent_euid ancestors unreadable";
    let nulls = columns.split(' ').map(|column| format!(", \"{column}\": null")).collect::<String>();
    place.write("rows.jsonl", &format!("{{\"observed_at\": \"2026-01-02T23:50:00Z\", \"host_id\": \"h0\"{nulls}}}\n"));
    let shipped = |name: &str| fs::canonicalize(name).expect("there").display().to_string();
    let (sql, models) = (shipped("sql"), shipped("models"));
    let (out, err, code) = place.diff(&[&sql, &sql, "--from", "processes=rows.jsonl", "--models", &models]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("alerts: 0 before, 0 after: 0 new, 0 lost, 0 changed\n"), "{out}");
}

#[test]
fn rows_without_a_key_are_new_or_lost_and_those_with_one_changed() {
    let place = Place::new();
    place.write(
        "sql/a.sql",
        &SQL.replace(
            "SELECT host, failures, make_array(host, 'x')",
            "SELECT host, failures + 1 AS failures, make_array(host, 'y')",
        ),
    );
    let (out, _, _) = place.diff(&["HEAD", "sql", FROM[0], FROM[1]]);
    assert!(out.contains("scores: 11 before, 11 after: 11 new, 11 lost, 0 changed\n"), "{out}");
    let (out, _, _) = place.diff(&["HEAD", "sql", FROM[0], FROM[1], "--key", "scores=host,_window_start"]);
    assert!(out.contains("scores: 11 before, 11 after: 0 new, 0 lost, 11 changed\n"), "{out}");
    assert!(out.contains("  failures differs in 11 rows\n  tags differs in 11 rows\n"), "{out}");
    // Rows of one key are told apart by the order of what they say.
    let (out, _, _) = place.diff(&["HEAD", "sql", FROM[0], FROM[1], "--key", "scores=host"]);
    assert!(out.contains("scores: 11 before, 11 after: 0 new, 0 lost, 11 changed\n"), "{out}");
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let place = Place::new();
    place.write("wrong/a.sql", &SQL.replace("count(*)", "cuont(*)"));
    place.write("empty/readme", "");
    for (arguments, part) in [
        (["nowhere", "sql", FROM[1]], "`nowhere` is no file or folder, and not known to git: fatal: "),
        (["HEAD:empty", "sql", FROM[1]], "revision HEAD has no .sql file in empty"),
        (["nowhere", "neither", FROM[1]], "a revision of git needs a path: nowhere:sql"),
        (["--", "--exec=x", "sql"], "--from"),
        (["HEAD", "sql", "login=logins.jsonl"], "neither version reads a stream `login`"),
        (["sql", "wrong", FROM[1]], "wrong/a.sql:7:65"),
        (["HEAD", "sql", "logins=none.jsonl"], "none.jsonl"),
    ] {
        let arguments = if arguments[0] == "--" {
            arguments.to_vec()
        } else {
            vec![arguments[0], arguments[1], FROM[0], arguments[2]]
        };
        let (out, err, code) = place.diff(&arguments);
        assert!(code == Some(2) && err.contains(part), "{arguments:?}: {part}\n{out}{err}");
    }
    for (key, part) in [
        ("scores=none", "`none` is no column that is inserted into `scores`"),
        ("score=host", "neither version inserts into it; there are alerts, scores"),
        ("scores", "`scores` is not TABLE=COLUMN,COLUMN"),
    ] {
        let (_, err, code) = place.diff(&["HEAD", "sql", FROM[0], FROM[1], "--key", key]);
        assert!(code == Some(2) && err.contains(part), "{key}: {err}");
    }
}
