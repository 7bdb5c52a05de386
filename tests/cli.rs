//! What the command line promises whatever the command: exit codes, messages that name what the user named, nothing
//! left by what failed, an end in good order when nobody reads any more.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("written");
        self.path(name).display().to_string()
    }

    fn bus(&self, name: &str) -> String {
        format!("local:{}", self.path(name).display())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("a folder");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
        let mut names: Vec<String> = entries.map(|entry| name(entry).expect("UTF-8")).collect();
        names.sort();
        names
    }
}

/// Standard output, standard error, exit code.
fn run(command: &mut Command) -> (String, String, i32) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(stdout), text(stderr), status.code().expect("no signal"))
}

fn amoskys(arguments: &[&str]) -> (String, String, i32) {
    run(common::amoskys().args(arguments))
}

#[test]
fn looking_at_a_folder_that_is_no_log_leaves_it_as_it_is() {
    let place = Place::new();
    place.write("mine.txt", "mine");
    let bus = format!("local:{}", place.0.path().display());
    for arguments in [&["topics", "list"][..], &["topics", "tail", "x"]] {
        let (_, error, code) = amoskys(&[arguments, &["--bus", &bus]].concat());
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("there is no local log at"), "{error}");
    }
    let (_, error, code) = amoskys(&["topics", "create", "x", "--bus", &bus]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("is no local log, and not empty (it holds mine.txt)"), "{error}");
    assert_eq!(place.names(), ["mine.txt"]);
}

#[test]
fn topics_are_created_quietly_and_unknown_settings_are_refused() {
    let place = Place::new();
    let bus = place.bus("log");
    let (out, error, code) = amoskys(&["-q", "topics", "create", "x", "--bus", &bus]);
    assert_eq!((out.as_str(), error.as_str(), code), ("", "", 0));
    let (_, error, code) = amoskys(&["topics", "create", "y", "--set", "foo.bar=1", "--bus", &bus]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("no setting foo.bar=1") && error.contains("retention.ms"), "{error}");
    let (out, _, code) = amoskys(&["topics", "list", "--bus", &bus]);
    assert_eq!((out.as_str(), code), ("x  4 partitions\n", 0));
    let (_, error, code) = amoskys(&["topics", "tail", "x", "--from", "99999", "--partition", "0", "--bus", &bus]);
    assert_eq!(code, 0);
    assert!(error.contains("ends before offset 99999: its next one is 0"), "{error}");
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let place = Place::new();
    let agent =
        place.write("agent.toml", &format!("[agent]\nsign = false\nwal_path = '{}'\n", place.path("wal").display()));
    let bad = place.write("bad.sql", "CREATE VIEW v AS SELECT 1 FROM nowhere;");
    let json = "CREATE EXTERNAL TABLE a (k VARCHAR) STORED AS JSON LOCATION 'acme.a' OPTIONS (partition_key 'k');
CREATE EXTERNAL TABLE b (k VARCHAR) STORED AS JSON LOCATION 'acme.b' OPTIONS (partition_key 'k');
INSERT INTO b SELECT k FROM a;";
    let missing = place.write("missing.sql", json);
    let bus = place.bus("log");
    for (sql, part) in [(&bad, "table `nowhere` is not known"), (&missing, "topics create acme.a acme.b")] {
        let (_, error, code) = run(common::amoskys()
            .args(["run", "--agent", &agent, "--sql", sql, "--bus", &bus])
            .env("AMOSKYS_AGENT_METRICS_PORT", free_port())
            .env("AMOSKYS_AGENT_HEALTH_PORT", free_port()));
        assert!(code == 2 && error.contains(part), "{code} {error}");
        let (_, error, code) = run(common::amoskys()
            .args(["process", sql, "--create-topics", "1", "--bus", &bus])
            .env("AMOSKYS_PROCESSOR_VERIFY", "off")
            .env("AMOSKYS_PROCESSOR_METRICS_PORT", free_port())
            .env("AMOSKYS_PROCESSOR_HEALTH_PORT", free_port()));
        assert!(code == 2 && error.contains(part), "{code} {error}");
        assert_eq!(place.names(), ["agent.toml", "bad.sql", "missing.sql"], "nothing was made");
    }
    let (_, error, code) = amoskys(&["demo", "--sql", &bad, "--bus", &bus]);
    assert!(code == 2 && error.contains("table `nowhere` is not known"), "{code} {error}");
    assert_eq!(place.names(), ["agent.toml", "bad.sql", "missing.sql"], "nothing was made");
}

fn free_port() -> String {
    common::free_port().to_string()
}

#[test]
fn a_port_in_use_and_a_log_in_use_are_the_users_to_change() {
    let place = Place::new();
    let wal = place.path("wal");
    let agent = place.write("agent.toml", &format!("[agent]\nsign = false\nwal_path = '{}'\n", wal.display()));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let start = |bus: &str, metrics: &str| {
        let mut command = common::amoskys();
        command.args(["agent", "--config", &agent, "--create-topics", "1", "--bus", bus]);
        command.env("AMOSKYS_AGENT_METRICS_PORT", metrics).env("AMOSKYS_AGENT_HEALTH_PORT", free_port());
        command.env("AMOSKYS_LOG", "info");
        command
    };
    let (_, error, code) = run(&mut start(&place.bus("log"), &port));
    assert_eq!(code, 2, "{error}");
    for part in ["agent.metrics_port", "AMOSKYS_AGENT_METRICS_PORT", &port] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(place.names(), ["agent.toml"], "nothing was made");

    let first = start(&place.bus("log"), &free_port()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut first = common::Running(first);
    let lines = BufReader::new(first.0.stderr.take().expect("piped")).lines();
    let told = lines.map_while(Result::ok).find(|line| line.contains("agent running")).expect("it says that it runs");
    assert!(told.contains("ebpf") || told.contains("proc_connector") || told.contains("snapshot"), "{told}");
    let (_, error, code) = run(&mut start(&place.bus("other"), &free_port()));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("is in use by another agent"), "{error}");
    assert_eq!(place.names(), ["agent.toml", "log", "wal"], "the other log, and topics in it, were not made");
}

#[test]
fn keys_are_never_overwritten() {
    let place = Place::new();
    // Its folder is made: that of the default is not there on a fresh host.
    let key = place.path("keys/agent.pem").display().to_string();
    let (told, _, code) = amoskys(&["keygen", &key, "--agent", "web-1", "--host", "web-1"]);
    assert_eq!(code, 0);
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    let (private, public) = (place.path("keys/agent.pem"), place.path("keys/agent.pub"));
    assert_eq!((mode(&private), mode(&public)), (0o600, 0o644));
    let text = fs::read_to_string(&public).expect("text");
    let id = told.lines().find_map(|line| line.strip_prefix("key id")).expect("it is told").trim();
    assert!(text.starts_with(&format!("# key {id}\nagents: web-1\nhosts: web-1\n-----BEGIN PUBLIC KEY")), "{text}");
    let before = fs::read(&private).expect("bytes");
    // Nor one whose other half alone is there.
    for gone in ["keys/none", "keys/agent.pub", "keys/agent.pem"] {
        let aside = place.path("aside");
        let is_aside = fs::rename(place.path(gone), &aside).is_ok();
        let (_, error, code) = amoskys(&["keygen", &key]);
        assert_eq!(code, 2);
        assert!(error.contains("is there already") && error.contains("choose another name"), "{error}");
        if is_aside {
            fs::rename(aside, place.path(gone)).expect("back");
        }
    }
    assert_eq!((fs::read(&private).expect("bytes"), fs::read_to_string(&public).expect("text")), (before, text));
    let (_, error, code) = amoskys(&["keygen", &place.path("other.pem").display().to_string(), "--agent", "web 1"]);
    assert!(code == 2 && error.contains("separated by spaces"), "{error}");
    assert!(!place.path("other.pem").exists());
}

#[test]
fn an_agent_refuses_a_key_that_others_may_read() {
    let place = Place::new();
    let key = place.path("agent.pem").display().to_string();
    assert_eq!(amoskys(&["agent", "keygen", &key]).2, 0);
    let (wal, bus) = (place.path("wal").display().to_string(), place.bus("log"));
    let config = place.write("agent.toml", &format!("[agent]\nsigning_key = \"{key}\"\nwal_path = \"{wal}\"\n"));
    for mode in [0o640, 0o604, 0o622] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("chmod");
        let (_, error, code) = amoskys(&["agent", "--config", &config, "--bus", &bus, "--create-topics", "1"]);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(&format!("has mode 0{mode:o}")) && error.contains("run: chmod 600"), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
    assert_eq!(place.names(), ["agent.pem", "agent.pub", "agent.toml"], "nothing was made");
}

const EVENTS: &str = "CREATE EXTERNAL TABLE ev (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'ev'
OPTIONS (event_time 't', lateness '1s', partition_key 'k');
CREATE VIEW per_s AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY k, win;";

#[test]
fn what_is_asked_of_history_is_judged_before_it_is_written() {
    let place = Place::new();
    let (sql, foreign) = (place.write("q.sql", EVENTS), place.write("foreign.parquet", "no Parquet"));
    let asked = |view: &str, from: &str, more: &[&str]| {
        amoskys(&[&["sql", "run", &sql, "--view", view, "--from", from], more].concat())
    };
    let (_, error, code) = asked("per_a", "ev=x.parquet", &[]);
    assert_eq!(
        (code, error.contains("view `per_a` is not known") && error.contains("did you mean `per_s`?")),
        (2, true),
        "{error}"
    );
    assert!(!error.contains("q.sql"), "no file's fault: {error}");
    let output = place.path("rows.jsonl").display().to_string();
    for (from, part) in [
        ("nope=x.parquet", "`nope` is read by no view"),
        ("ev=/nowhere/x.parquet", "/nowhere/x.parquet: cannot be opened"),
        (&format!("ev={foreign}"), "is no readable Parquet file"),
    ] {
        let (_, error, code) = asked("per_s", from, &["--output", &output]);
        assert!(code == 2 && error.contains(part), "{code} {error}");
    }
    place.write("rows.jsonl", "mine");
    let (_, error, code) = asked("per_s", &format!("ev={foreign}"), &["--output", &output]);
    assert!(code == 2 && error.contains("rows.jsonl exists") && error.contains("--force"), "{code} {error}");
    let (_, error, _) = asked("per_s", &format!("ev={foreign}"), &["--output", "/nowhere/rows.jsonl"]);
    assert!(error.contains("/nowhere/rows.jsonl cannot be written") && !error.contains("unfinished"), "{error}");
    assert_eq!(fs::read_to_string(&output).expect("still there"), "mine");
    assert_eq!(place.names(), ["foreign.parquet", "q.sql", "rows.jsonl"]);
}

const INSERTED: &str =
    "CREATE EXTERNAL TABLE out (k VARCHAR, c BIGINT) STORED AS JSON LOCATION 'out' OPTIONS (partition_key 'k');
INSERT INTO out SELECT k, c FROM per_s WHERE c > 1;";

#[test]
fn history_is_written_as_what_is_asked_for() {
    let place = Place::new();
    let sql = place.write("q.sql", &format!("{EVENTS}\n{INSERTED}"));
    let rows = ["00:00:00Z\",\"k\":\"a", "00:00:00.5Z\",\"k\":\"a", "00:00:09Z\",\"k\":\"b", "00:00:01Z\",\"k\":\"b"];
    let lines = rows.map(|row| format!("{{\"t\":\"2026-01-01T{row}\"}}\n"));
    let from = format!("ev={}", place.write("ev.jsonl", &lines.concat()));
    let run = |more: &[&str]| amoskys(&[&["sql", "run", &sql, "--from", &from], more].concat());
    let json = r#"{"k":"a","win":{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01Z"},"c":2}
{"k":"b","win":{"start":"2026-01-01T00:00:09Z","end":"2026-01-01T00:00:10Z"},"c":1}
"#;
    let csv = "k,win.start,win.end,c
a,2026-01-01T00:00:00,2026-01-01T00:00:01,2
b,2026-01-01T00:00:09,2026-01-01T00:00:10,1
";
    let table = "out
+---+---+
| k | c |
+---+---+
| a | 2 |
+---+---+
";
    let both = r#"{"_view":"out","k":"a","c":2}"#;
    // Without --view what is inserted, as it would be read; without a terminal JSON.
    let (out, told, code) = run(&[]);
    assert_eq!((out.as_str(), code), ("{\"k\":\"a\",\"c\":2}\n", 0), "{told}");
    assert!(told.contains("left out: late for their window rows=1"), "{told}");
    assert_eq!(run(&["--view", "per_s"]).0, json);
    assert_eq!(run(&["--view", "per_s", "--format", "csv", "--threads", "1"]).0, csv);
    let (out, _, _) = run(&["--view", "out", "--view", "per_s", "--format", "table"]);
    assert!(out.starts_with(table) && out.contains("\nper_s\n+---+"), "{out}");
    let (out, _, _) = run(&["--view", "out", "--view", "per_s"]);
    assert!(out.lines().any(|line| line == both) && out.lines().count() == 3, "{out}");
    // A file's name tells the format; several go into a folder.
    let (file, folder) = (place.path("rows.csv").display().to_string(), place.path("rows").display().to_string());
    assert_eq!(run(&["--view", "per_s", "--output", &file]).2, 0);
    assert_eq!(fs::read_to_string(&file).expect("written"), csv);
    assert_eq!(run(&["--view", "out", "--view", "per_s", "--output", &folder, "--format", "arrow"]).2, 0);
    let mut names: Vec<_> = fs::read_dir(&folder).expect("made").map(|file| file.expect("file").file_name()).collect();
    names.sort();
    assert_eq!(names, ["out.arrow", "per_s.arrow"]);
    // What was written can be read again.
    let (out, told, _) = amoskys(&[
        "sql",
        "run",
        &place.write(
            "again.sql",
            "CREATE EXTERNAL TABLE o (k VARCHAR, c BIGINT) STORED AS JSON LOCATION 'o';
CREATE VIEW again AS SELECT k, c + 1 AS d FROM o;",
        ),
        "--view",
        "again",
        "--from",
        &format!("o={folder}/out.arrow"),
    ]);
    assert_eq!(out, "{\"k\":\"a\",\"d\":3}\n", "{told}");
    // Another share of the partitions has nothing.
    let (out, told, _) = run(&["--partitions", "1-7"]);
    assert!(out.is_empty() && told.contains("none of the 7 partitions of --partitions has a row"), "{told}");
    for (more, part) in [
        (&["--format", "parquet"][..], "--format parquet needs --output FILE"),
        (
            &["--view", "out", "--view", "per_s", "--format", "csv"],
            "several are asked for (out, per_s), as csv they need",
        ),
        (&["--partitions", "3-1"], "`3-1` is no partition and no range of them such as 0-3"),
        (&["--view", "per_s", "--output", &file], "rows.csv exists"),
        (
            &["--view", "per_s", "--output", "rows.xyz"],
            "rows.xyz: how to write it shows in its ending, one of .txt, .jsonl",
        ),
    ] {
        let (_, error, code) = run(more);
        assert!(code == 2 && error.contains(part), "{code} {error}");
    }
    let views_alone = place.write("views.sql", EVENTS);
    let (_, error, code) = amoskys(&["sql", "run", &views_alone, "--from", &from]);
    assert!(code == 2 && error.contains("the SQL has no INSERT; say by --view NAME"), "{code} {error}");
}

#[test]
fn what_is_computed_of_a_stream_without_a_file_is_left_out_and_told() {
    let place = Place::new();
    let other = "CREATE EXTERNAL TABLE eo (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'eo' OPTIONS (event_time 't', lateness '1s');
                 CREATE EXTERNAL TABLE others (k VARCHAR) STORED AS JSON LOCATION 'others';
                 INSERT INTO others SELECT k FROM eo;";
    let sql = place.write("q.sql", &format!("{EVENTS}\n{INSERTED}\n{other}"));
    let rows = place.write("ev.jsonl", "{\"t\":\"2026-01-01T00:00:00Z\",\"k\":\"a\"}\n".repeat(2).as_str());
    let (out, told, code) = amoskys(&["sql", "run", &sql, "--from", &format!("ev={rows}"), "--format", "json"]);
    assert_eq!((out.lines().count(), code), (1, 0), "{out}{told}");
    assert!(
        told.contains("stream `eo` has no file, and what is computed of it is left out; --from eo=FILE adds it"),
        "{told}"
    );
    // What needs both is not computed of one.
    let (_, told, code) = amoskys(&["sql", "run", &sql, "--from", &format!("ev={rows}"), "--view", "others"]);
    assert!(code == 2 && told.contains("`ev` is read by no view that is asked for; streams are eo"), "{code} {told}");
}

#[test]
fn warnings_are_told_and_denied_on_demand() {
    let place = Place::new();
    let sql = place.write("q.sql", &format!("{EVENTS}\n{INSERTED}\nCREATE VIEW nobody AS SELECT k FROM ev;"));
    place.write("q.test.sql", "SELECT * FROM out; SELECT k FROM nobody;");
    let (out, _, code) = amoskys(&["sql", "check", &sql]);
    assert!(code == 0 && out.contains("warning[unread-view]: no INSERT reads view `nobody`"), "{code} {out}");
    assert!(out.ends_with("1 stream, 1 INSERT: 1 warning in the SQL\n"), "{out}");
    assert_eq!(amoskys(&["sql", "check", &sql, "--deny", "warnings"]).2, 2);
    let (out, _, code) = amoskys(&["sql", "check", &sql, "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let only = &found[0];
    assert_eq!((code, &only["severity"], &only["name"]), (0, &"warning".into(), &"unread-view".into()), "{out}");
    assert_eq!((&only["line"], &only["column"], found[1].is_null()), (&6.into(), &1.into(), true), "{out}");
    // A view that nobody reads is planned all the same.
    let wrong = "CREATE VIEW late AS SELECT k, tumble(now(), INTERVAL '1 second') AS win, count(*) AS n FROM ev GROUP BY k, win;";
    let sql = place.write("q.sql", &format!("{EVENTS}\n{wrong}"));
    let (out, _, code) = amoskys(&["sql", "check", &sql]);
    assert!(code == 2 && out.contains("now()"), "{code} {out}");
    // What ships has none that is not meant.
    let (out, _, code) = amoskys(&["sql", "check", "sql", "--deny", "warnings"]);
    assert!(code == 0 && out == "2 streams, 19 INSERTs: no problem\n", "{code} {out}");
}

#[test]
fn functions_are_listed_and_told_one_by_one() {
    let (out, _, code) = amoskys(&["sql", "functions"]);
    assert_eq!(code, 0);
    for part in ["  hop(time, slide, size)", "in `GROUP BY`: windows that overlap", "DataFusion's, scalar:", " upper"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(!out.contains("random"), "what gives another value each time is refused: {out}");
    let (out, _, code) = amoskys(&["sql", "functions", "HLL_distinct"]);
    assert!(code == 0 && out.starts_with("hll_distinct(x)\n  aggregate; gives") && out.contains("```sql"), "{out}");
    let (out, _, _) = amoskys(&["sql", "functions", "lower"]);
    assert!(out.starts_with("lower(str)\n  scalar, DataFusion's\n\nConverts a string to lower-case."), "{out}");
    let (_, error, code) = amoskys(&["sql", "functions", "hll_distinkt"]);
    assert!(code == 2 && error.contains("is not known; did you mean `hll_distinct`?"), "{error}");
    let (out, _, _) = amoskys(&["sql", "functions", "hop", "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&found[0]["of"], &found[0]["syntax"]), (&"amoskys".into(), &"hop(time, slide, size)".into()), "{out}");
    // Each of ours has an example that calls it; the page's tests run them all.
    let (out, _, _) = amoskys(&["sql", "functions", "--format", "json"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&out).expect("JSON");
    let ours: Vec<&serde_json::Value> = all.iter().filter(|function| function["of"] == "amoskys").collect();
    assert!(ours.len() > 20, "{}", ours.len());
    for function in ours {
        let name = function["name"].as_str().expect("a name");
        let example = function["example"].as_str().unwrap_or_default();
        assert!(example.contains(&format!("{name}(")), "{name}: {example}");
    }
}

#[test]
fn completions_and_manual_pages_are_made_of_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (out, error, code) = amoskys(&["completions", shell]);
        assert!(code == 0 && out.contains("explain") && out.contains("partitions"), "{shell}: {error} {out}");
    }
    let place = Place::new();
    let folder = place.path("man/man1");
    let (_, error, code) = amoskys(&["man", &folder.display().to_string()]);
    assert_eq!(code, 0, "{error}");
    let page = fs::read_to_string(folder.join("amoskys-sql-run.1")).expect("a page for each command");
    assert!(page.contains("\\-\\-partitions") && page.contains(".SH NAME"), "{page}");
    // The shell itself reads its script.
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", "source /dev/stdin && complete -p amoskys"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut bash = bash.spawn().expect("bash is there");
    let script = amoskys(&["completions", "bash"]).0;
    std::io::Write::write_all(&mut bash.stdin.take().expect("piped"), script.as_bytes()).expect("it reads");
    let output = bash.wait_with_output().expect("it ends");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("amoskys"), "{output:?}");
}

#[test]
fn one_cause_is_told_once_and_a_missing_folder_has_a_hint() {
    let place = Place::new();
    let insert =
        "CREATE EXTERNAL TABLE s (k VARCHAR, score DOUBLE) STORED AS JSON LOCATION 's' OPTIONS (partition_key 'k');
INSERT INTO s SELECT k, predict('none', c) AS score FROM per_s;
INSERT INTO s SELECT k, predict('none', c) + 1 AS score FROM per_s;";
    let sql = place.write("q.sql", &format!("{EVENTS}\n{insert}"));
    let (out, _, code) = amoskys(&["sql", "check", &sql, "--models", "/nowhere/models"]);
    assert_eq!(code, 2);
    assert!(out.contains("the same at") && out.trim_end().ends_with("\n1 error in the SQL"), "{out}");
    assert!(!out.contains("bind_models") && !out.contains("caused by"), "{out}");
    let (out, _, code) = amoskys(&["sql", "check", "/nowhere/sql"]);
    assert!(
        code == 2 && out.starts_with("error: /nowhere/sql cannot be read") && out.contains("in a checkout"),
        "{out}"
    );
}

#[test]
fn an_editor_is_told_where_each_fault_begins_and_ends() {
    let place = Place::new();
    let sql = place.write("q.sql", &format!("{EVENTS}\nCREATE VIEW é AS\n  SELECT kk, lowr(k) FROM ev;"));
    let (out, _, code) = amoskys(&["sql", "check", &sql, "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let fault = |column: u64, end_column: u64, message: &str, help: &str| {
        serde_json::json!({
            "file": sql, "line": 5, "column": column, "end_line": 5, "end_column": end_column,
            "severity": "error", "name": null, "message": message, "help": help,
        })
    };
    let expected = serde_json::json!([
        fault(10, 12, "column `kk` is not known", "did you mean `k`?"),
        fault(14, 21, "function `lowr` is not known", "did you mean `lower`?"),
    ]);
    assert_eq!((code, &found), (2, &expected));
    let good = place.write("good.sql", EVENTS);
    place.write("good.test.sql", "SELECT c FROM per_s;");
    let (out, _, code) = amoskys(&["sql", "check", &good, "--format", "json"]);
    assert_eq!((code, out.trim_end()), (0, "[]"));
}

#[test]
fn the_demo_says_which_log_it_takes_and_how_long_it_may() {
    let (_, error, code) = run(common::amoskys().arg("demo").env("AMOSKYS_BUS", "host:1"));
    assert!(code == 2 && error.contains("AMOSKYS_BUS: `host:1`"), "{code} {error}");
    let (_, error, code) = amoskys(&["demo", "--seconds", "0"]);
    assert!(code == 2 && error.contains("0 is not in 25..=60"), "{code} {error}");
    let (_, error, code) = amoskys(&["demo", "--seconds", "30", "--forever"]);
    assert!(code == 2 && error.contains("cannot be used with"), "{code} {error}");
}

fn demo(temporary: &Path) -> common::Running {
    // Whoever runs the tests under `nohup` has SIGHUP ignored, and with that so have these.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(common::amoskys().get_program());
    command.arg("demo").env("TMPDIR", temporary).env("AMOSKYS_LOG", "error").stdin(Stdio::null());
    common::Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts"))
}

/// Nobody reads the demo's output any more, or its terminal is closed: it ends in good order.
#[test]
fn a_demo_that_nobody_looks_at_ends_and_leaves_nothing() {
    let place = Place::new();
    let mut running = demo(place.0.path());
    let mut out = BufReader::new(running.0.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert!(line.contains("log: local:") && line.contains("embedded, in a temporary folder"), "{line}");
    drop(out);
    let code = running.0.wait().expect("ends").code();
    let error = std::io::read_to_string(running.0.stderr.take().expect("piped")).expect("UTF-8");
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(place.names(), [""; 0]);

    let mut running = demo(place.0.path());
    let mut out = BufReader::new(running.0.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("a line");
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
    let rest = std::io::read_to_string(out).expect("UTF-8");
    assert_eq!(running.0.wait().expect("ends").code(), Some(1), "{rest}");
    assert!(rest.contains("Summary") && rest.contains("interrupted before its end"), "{rest}");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    for arguments in [&["config", "reference"][..], &["sql", "check", "/nowhere"]] {
        let mut command = common::amoskys();
        let mut running =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        drop(running.stdout.take());
        let output = running.wait_with_output().expect("ends");
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
}

#[test]
fn who_wants_json_gets_errors_as_json_too() {
    let place = Place::new();
    let wrong = place.write("wrong.sql", "CREATE VIEW v AS SELECT nothing FROM nowhere;\nSELECT 1;");
    let fine = place.write(
        "fine.sql",
        "CREATE EXTERNAL TABLE ev (t TIMESTAMP) STORED AS JSON LOCATION 'ev' OPTIONS (event_time 't', lateness '1s');
        CREATE VIEW times AS SELECT t FROM ev;",
    );
    let test = place.write("fine.test.sql", "SELEC;");
    let asked = |arguments: &[&str]| {
        let (printed, said, code) = amoskys(&[arguments, &["--format", "json"]].concat());
        assert!(printed.is_empty() && code == 2, "{arguments:?}: {code}, {printed}");
        let error: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{arguments:?}: {said}"));
        (error["error"].as_str().expect("words").to_owned(), error["problems"].clone())
    };
    let (checked, _, _) = amoskys(&["sql", "check", &wrong, "--format", "json"]);
    let problems: serde_json::Value = serde_json::from_str(&checked).expect("an array");
    assert_eq!(problems.as_array().map(Vec::len), Some(2));
    for arguments in [
        &["sql", "run", &wrong, "--from", "nowhere=x.jsonl"][..],
        &["sql", "explain", &wrong],
        &["sql", "why", "v", "--sql", &wrong, "--where", "a = 1", "--from", "nowhere=x.jsonl"],
    ] {
        assert_eq!(asked(arguments), ("2 errors in the SQL".to_owned(), problems.clone()), "{arguments:?}");
    }
    let (error, of_diff) = asked(&["sql", "diff", &wrong, &wrong, "--from", "nowhere=x.jsonl"]);
    assert!(error == format!("{wrong} does not plan: 2 errors in the SQL") && of_diff == problems, "{error}");
    let (error, of_test) = asked(&["sql", "test", &place.0.path().display().to_string()]);
    assert!(error == "1 error in the SQL" && of_test[0]["file"] == test.as_str(), "{error}: {of_test}");
    let (error, none) = asked(&["sql", "run", &fine, "--view", "times", "--from", "ev=nothing.jsonl"]);
    assert!(error.contains("nothing.jsonl") && none.is_null(), "{error}");
    let (error, none) = asked(&["topics", "list", "--bus", "local:/nowhere/at/all"]);
    assert!(error.contains("/nowhere/at/all") && none.is_null(), "{error}");
}
