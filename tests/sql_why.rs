//! `sql why`: what said no and by how much, what never counted, and that an alert is what is computed again, from files and from a
//! log that a processor read.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::Outgoing;
use amoskys_proto::v1::Alert;
use common::{
    amoskys, create, open,
    processor::Processor,
    produce, read_all,
    telemetry::{ALERTS, DEAD_LETTERS},
};
use prost::Message;
use std::{fs, path::Path};

const SQL: &str = "
CREATE EXTERNAL TABLE logins (at TIMESTAMP, host TEXT, account TEXT, ok BOOLEAN) STORED AS JSON LOCATION 'logins'
OPTIONS (event_time 'at', lateness '2s', partition_key 'host');
CREATE EXTERNAL TABLE alerts STORED AS PROTOBUF LOCATION 'amoskys.alerts.v1' OPTIONS (partition_key 'host_id');
CREATE VIEW guesses AS
SELECT host, account, tumble(at, INTERVAL '10 seconds') AS win, count(*) AS failures, max(at) AS last
FROM logins WHERE NOT ok GROUP BY host, account, win;
INSERT INTO alerts
SELECT 'guessed' AS detection, host AS host_id, account AS entity, last AS time, 0.1 * failures AS confidence, failures
FROM guesses WHERE failures >= 3 AND account <> 'guest';
INSERT INTO alerts SELECT 'seen' AS detection, host AS host_id, account AS entity, at AS time FROM logins WHERE account = 'root';
";

/// Rows of hosts that each miss in another way.
fn rows() -> Vec<String> {
    let row = |at: &str, host: &str, account: &str, ok: bool| {
        format!("{{\"at\":\"2026-01-02T{at}Z\",\"host\":\"{host}\",\"account\":\"{account}\",\"ok\":{ok}}}")
    };
    let mut rows = Vec::new();
    for second in 0..4 {
        rows.push(row(&format!("10:00:0{second}"), "fires", "root", false));
        rows.push(row(&format!("10:00:0{second}"), "succeeds", "x", true));
        rows.push(row(&format!("10:00:0{second}"), "guests", "guest", false));
    }
    rows.push(row("10:00:01", "few", "x", false));
    rows.push(row("10:00:02", "few", "x", false));
    // Past the window of those above.
    rows.push(row("10:00:30", "last", "x", true));
    rows.extend((0..4).map(|second| row(&format!("10:00:0{second}"), "late", "x", false)));
    rows
}

/// Their clock is ahead of any log's.
const AHEAD: &str = "{\"at\":\"2199-01-02T10:00:00Z\",\"host\":\"ahead\",\"account\":\"x\",\"ok\":false}";

fn why(folder: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = amoskys().current_dir(folder).args(["sql", "why"]).args(arguments).output().expect("it starts");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    (out, err, output.status.code())
}

fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("sql")).expect("made");
    fs::write(folder.path().join("sql/guessed.sql"), SQL).expect("written");
    fs::write(folder.path().join("logins.jsonl"), rows().join("\n") + "\n").expect("written");
    folder
}

fn of_host<'a>(condition: &'a str, at: &'a str) -> Vec<&'a str> {
    vec!["guessed", "--where", condition, "--at", at, "--from", "logins=logins.jsonl"]
}

#[test]
fn the_first_that_said_no_is_named_with_what_it_saw() {
    let folder = place();
    let at = "2026-01-02 10:00:03";
    for (condition, verdict) in [
        ("host = 'succeeds'", "it does not fire: `NOT ok` holds of none of 4 rows"),
        (
            "host = 'few' AND account = 'x'",
            "it does not fire: `failures >= 3` holds of none of 1 row: the nearest has 2, by 1",
        ),
        ("host = 'guests'", "it does not fire: `account != 'guest'` holds of none of 1 row: one has guest"),
        ("host = 'late'", "it does not fire: every row of logins was late for its windows"),
        ("host = 'nobody'", "it does not fire: no such row came to logins"),
    ] {
        let (out, err, code) = why(folder.path(), &of_host(condition, at));
        assert!(code == Some(1) && out.ends_with(&format!("\n{verdict}\n")), "{verdict}\n{out}{err}");
    }
    let (out, err, code) = why(folder.path(), &of_host("host = 'few'", "2026-01-02 10:00:30"));
    assert!(
        code == Some(1) && out.ends_with("no window of such rows holds that time, or a JOIN has no partner for them\n"),
        "{out}{err}"
    );
    // The nearest is the nearest, whichever came first.
    let far = |at: &str, host: &str| {
        format!("{{\"at\":\"2026-01-02T{at}Z\",\"host\":\"{host}\",\"account\":\"x\",\"ok\":false}}\n")
    };
    let two = ["10:00:00", "10:00:11", "10:00:12"].map(|at| far(at, "twice")).concat() + &far("10:00:40", "last");
    fs::write(folder.path().join("two.jsonl"), two).expect("written");
    let (out, ..) =
        why(folder.path(), &["guessed", "--where", "host = 'twice'", "--rows", "1", "--from", "logins=two.jsonl"]);
    let verdict = "it does not fire: `failures >= 3` holds of none of 2 rows: the nearest has 2, by 1\n";
    assert!(out.ends_with(verdict) && out.contains("no  failures >= 3: 2 and 3, 1 apart"), "{out}");
    // Each part of the condition has its own answer.
    let (out, ..) = why(folder.path(), &of_host("host = 'guests'", at));
    for part in [
        "4 rows of logins, 0 late for a window\n",
        "where NOT ok\n  4 rows in, 4 out\n",
        "    yes failures >= 3: 4 and 3\n    no  account != 'guest': guest and guest\n",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
}

#[test]
fn that_it_fires_is_shown_with_its_window() {
    let folder = place();
    let (out, err, code) = why(folder.path(), &of_host("host = 'fires' AND ok = false", "2026-01-02 10:00:03"));
    assert_eq!(code, Some(0), "{out}{err}");
    for part in [
        "where failures >= 3 AND account != 'guest'\n  1 row in, 1 out\n  (no column here for ok = false)\n",
        "window 2026-01-02 10:00:00 to 2026-01-02 10:00:10: host fires, account root,",
        "failures 4",
        "\nit fires: 1 row\n",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let mut arguments = of_host("host = 'few'", "2026-01-02 10:00:03");
    arguments.extend(["--format", "json"]);
    let (out, _, code) = why(folder.path(), &arguments);
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let places = found["places"].as_array().expect("places");
    let verdict = places.iter().flat_map(|place| place["samples"].as_array().into_iter().flatten());
    let verdict = verdict.flat_map(|sample| sample["conditions"].as_array().into_iter().flatten());
    let verdict = verdict.clone().find(|verdict| verdict["condition"] == "failures >= 3").expect("it was asked");
    assert_eq!((code, &found["fires"]), (Some(1), &false.into()));
    assert_eq!((&verdict["left"], &verdict["right"], &verdict["apart"]), (&2.into(), &3.into(), &1.0.into()));
    // Of a view, as of an INSERT.
    let (out, _, code) = why(folder.path(), &["guesses", "--where", "host = 'few'", "--from", "logins=logins.jsonl"]);
    assert!(code == Some(0) && out.ends_with("\nit fires: 1 row\n"), "{out}");
}

#[test]
fn an_alert_is_what_is_computed_again_of_the_log_and_what_never_counted_is_told() {
    let folder = place();
    let address = format!("local:{}", folder.path().join("log").display());
    let id = {
        let bus = open(&address);
        for topic in ["logins", ALERTS, DEAD_LETTERS] {
            create(bus.as_ref(), topic, 1);
        }
        let payloads = rows().into_iter().chain([AHEAD.to_owned(), "no JSON".to_owned()]);
        let records: Vec<Outgoing> = payloads
            .map(|text| Outgoing {
                topic: "logins".into(),
                partition: Some(0),
                key: None,
                payload: text.into_bytes(),
                headers: Vec::new(),
            })
            .collect();
        let end = i64::try_from(records.len()).expect("few");
        produce(bus.as_ref(), records);
        drop(bus);
        let mut processor = Processor::start(&folder.path().join("sql"), &address, "why", |_| {});
        processor.until_read("logins", &[end]);
        processor.terminate();
        let bus = open(&address);
        let alerts = read_all(bus.as_ref(), ALERTS, 1).concat();
        let alerts = alerts.iter().map(|payload| Alert::decode(payload.as_slice()).expect("an alert"));
        let guessed: Vec<Alert> = alerts.filter(|alert| alert.detection == "guessed").collect();
        assert_eq!((guessed.len(), guessed[0].host_id.as_str()), (1, "fires"));
        guessed[0].provenance.clone().expect("it has one").id
    };
    let (out, err, code) = why(folder.path(), &["--alert", &id, "--bus", &address]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.ends_with(&format!(
            "it fires: 1 row\n{id} was computed again, and is what the topic holds, byte for byte\n"
        )),
        "{out}"
    );
    // Of its host alone, whatever the column is called on the way, and when it was.
    assert!(out.starts_with("guessed: host_id = 'fires', at 2026-01-02 10:00:03\n"), "{out}");
    assert!(out.contains("4 rows of logins") && !out.contains("succeeds") && !out.contains("no column here"), "{out}");
    assert!(out.contains("\nwritten: 1 of 1\n"), "{out}");

    // What at-least-once delivery wrote again is told, in whichever words the rows are asked for.
    let asked = ["guessed", "--where", "host = 'fires'", "--bus", &address];
    {
        let bus = open(&address);
        let payloads = read_all(bus.as_ref(), ALERTS, 1).concat();
        let is_it = |payload: &&Vec<u8>| {
            let alert = Alert::decode(payload.as_slice()).expect("an alert");
            alert.provenance.is_some_and(|of| of.id == id)
        };
        let payload = payloads.iter().find(is_it).expect("it is there").clone();
        let headers = vec![("amoskys-id".to_owned(), id.clone().into_bytes())];
        let again = Outgoing { topic: ALERTS.into(), partition: Some(0), key: None, payload, headers };
        produce(bus.as_ref(), vec![again]);
    }
    let (out, err, code) = why(folder.path(), &asked);
    let words =
        "\nwritten: 1 of 1, 1 more than once, with the same id, so that readers count them once\n\nit fires: 1 row\n";
    assert!(code == Some(0) && out.ends_with(words), "{out}{err}");

    let (out, _, code) = why(folder.path(), &["guessed", "--where", "host = 'ahead'", "--bus", &address]);
    assert_eq!(code, Some(1), "{out}");
    for part in [
        "1 row of logins, 0 late for a window\n  left out: 1 row ahead of the log's time by more than the stream allows (quarantined)\n",
        "1 record could not be decoded, and are dead letters:\n  logins/0 at 20: ",
        "\nit does not fire: 1 row of logins came, and none counts\n",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    // Other SQL gives other alerts.
    fs::write(folder.path().join("sql/guessed.sql"), SQL.replace("failures >= 3", "failures >= 2")).expect("written");
    let (out, _, code) = why(folder.path(), &["--alert", &id, "--bus", &address]);
    assert!(code == Some(1) && out.ends_with(&format!("{id} is not among what this SQL gives now\n")), "{out}");
    let (out, _, code) = why(folder.path(), &["guessed", "--where", "host = 'few'", "--bus", &address]);
    let words = "\nwritten: 0 of 1 (a processor has not come so far, or ran other SQL)\n\nit fires: 1 row\n";
    assert!(code == Some(0) && out.ends_with(words), "{out}");
}

/// A record that does not decode for a column that the SQL does not read is nothing to it, here as when it runs; and columns of
/// the alert are asked of by its own names.
#[test]
fn what_the_sql_does_not_read_is_nothing_to_the_answer() {
    let folder = place();
    let sql = SQL.replace("ok BOOLEAN)", "ok BOOLEAN, extra TEXT)");
    fs::write(folder.path().join("sql/guessed.sql"), sql).expect("written");
    let rows = rows().join("\n").replace("\"ok\":false}", "\"ok\":false,\"extra\":17}");
    fs::write(folder.path().join("logins.jsonl"), rows + "\n").expect("written");
    let (out, err, code) = why(folder.path(), &of_host("host = 'fires'", "2026-01-02 10:00:03"));
    assert!(code == Some(0) && out.contains("4 rows of logins") && !out.contains("dead letters"), "{out}{err}");
    let own = "host_id = 'fires' AND entity = 'root'";
    let (out, err, code) = why(folder.path(), &of_host(own, "2026-01-02 10:00:03"));
    assert!(code == Some(0) && !out.contains("no column here") && out.contains("4 rows of logins"), "{out}{err}");
    // What is asked of is decoded.
    let (out, _, code) = why(folder.path(), &of_host("host = 'fires' AND extra = 'x'", "2026-01-02 10:00:03"));
    assert!(code == Some(1) && out.contains("dead letters"), "{out}");
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let folder = place();
    for (arguments, part) in [
        (
            &["guessed", "--where", "hots = 'a'", "--from", "logins=logins.jsonl"][..],
            "`hots = 'a'` has a column that is nowhere on the way; the streams have at, host,",
        ),
        (&["guessed", "--where", "host = ", "--from", "logins=logins.jsonl"], "--where `host = `: sql parser error"),
        (&["guessed", "--where", "host", "--from", "logins=logins.jsonl"], "--where takes conditions"),
        (&["guesed", "--from", "logins=logins.jsonl"], "detection or view `guesed` is not known"),
        (&["guessed", "--at", "noon", "--from", "logins=logins.jsonl"], "`noon` is no time"),
        (&["guessed"], "say by --from NAME=FILE what to read, or by --bus URL"),
        (
            &["guessed", "--from", "logins=logins.jsonl", "--bus", "local:log"],
            "--from reads files, and --bus topics: one of them",
        ),
        (&["gessed", "--from", "logins=logins.jsonl"], "did you mean `guessed`?"),
        (
            &["--alert", "none", "--from", "logins=logins.jsonl"],
            "no record with the id none is among what the SQL gives",
        ),
        (&["--from", "logins=logins.jsonl"], "<DETECTION>"),
    ] {
        let (out, err, code) = why(folder.path(), arguments);
        assert!(code == Some(2) && err.contains(part), "{part}\n{out}{err}");
    }
}

const MORE: &str = "
CREATE EXTERNAL TABLE owners (machine TEXT, owner TEXT) STORED AS CSV LOCATION 'owners.csv' OPTIONS (has_header 'true');
CREATE VIEW tries AS
SELECT host, tumble(at, INTERVAL '10 seconds') AS win, count(*) FILTER (WHERE NOT ok AND account <> 'guest') AS failures,
       count(*) FILTER (WHERE ok) AS unasked, max(at) AS last
FROM logins GROUP BY host, win;
INSERT INTO alerts
SELECT 'owned' AS detection, t.host AS host_id, o.owner AS entity, t.last AS time, 0.5 AS confidence
FROM tries t JOIN owners o ON t.host = o.machine WHERE t.failures >= 1 AND t.last >= TIMESTAMP '2026-01-02 10:00:03';
";

#[test]
fn joins_and_filters_of_aggregates_say_what_they_left_out() {
    let folder = place();
    fs::write(folder.path().join("sql/owned.sql"), MORE).expect("written");
    fs::write(folder.path().join("owners.csv"), "machine,owner\nfires,ann\nguests,bob\nfew,eve\n").expect("written");
    let asked = |host: &str| {
        let condition = format!("host = '{host}'");
        why(
            folder.path(),
            &["owned", "--where", &condition, "--at", "2026-01-02 10:00:03", "--from", "logins=logins.jsonl"],
        )
    };
    let (out, err, code) = asked("fires");
    assert!(code == Some(0) && out.contains("\njoin on host = machine\n  1 row in, 1 with a partner\n"), "{out}{err}");
    assert!(!out.contains("FILTER (WHERE ok)"), "nobody asks what this counts: {out}");
    for (host, part, verdict) in [
        (
            "succeeds",
            "\n  1 row in, 0 with a partner\n",
            "it does not fire: none of 1 row has a partner in JOIN … ON host = machine",
        ),
        (
            "guests",
            "\ncounted by count(*) FILTER (WHERE NOT ok AND account != 'guest')\n  4 rows in, 0 counted\n",
            "it does not fire: `failures >= 1` holds of none of 1 row: the nearest has 0, by 1 \
             (`count(*) FILTER (WHERE NOT ok AND account != 'guest')` counts none of 4 rows)",
        ),
        (
            "few",
            "2026-01-02 10:00:02 and 2026-01-02 10:00:03, 1s apart",
            "it does not fire: `last >= '2026-01-02 10:00:03'` holds of none of 1 row: the nearest has 2026-01-02 10:00:02, by 1s",
        ),
    ] {
        let (out, err, code) = asked(host);
        assert!(code == Some(1) && out.contains(part), "{part}\n{out}{err}");
        assert!(out.ends_with(&format!("\n{verdict}\n")), "{verdict}\n{out}{err}");
    }
}

/// The shipped detection, asked about a burst that is none: what the model said and what was wanted.
#[test]
fn a_models_score_is_told_against_its_threshold() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("processes.jsonl");
    let row = |at_ms: u32, comm: &str| {
        serde_json::json!({
            "observed_at": format!("2026-01-01T12:00:00.{at_ms:03}Z"), "host_id": "a", "kind": "PROCESS_EVENT_KIND_EXEC",
            "pid": 100 + at_ms, "parent_pid": 7, "parent_comm": "bash", "parent_euid": 1000, "comm": comm,
            "exe": format!("/usr/bin/{comm}"), "exe_fs_type": "ext4", "exe_deleted": false, "uid": 1000, "euid": 1000,
            "lifetime_us": 0, "exit_code": 0, "unreadable": [], "ancestors": [],
        })
    };
    let rows: Vec<String> =
        [(100, "id"), (200, "whoami"), (300, "uname")].map(|(at_ms, comm)| row(at_ms, comm).to_string()).to_vec();
    fs::write(&file, rows.join("\n") + "\n").expect("written");
    let output = amoskys()
        .args(["sql", "why", "discovery_burst", "--where", "host_id = 'a'", "--format", "json", "--from"])
        .arg(format!("processes={}", file.display()))
        .output()
        .expect("it starts");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(1), "{found}");
    let places = found["places"].as_array().expect("places").iter();
    let samples = places.flat_map(|place| place["samples"].as_array().expect("samples"));
    let mut conditions = samples.flat_map(|sample| sample["conditions"].as_array().expect("conditions"));
    let of_score = conditions.find(|of| of["condition"] == "confidence >= 0.99").expect("it is asked of the score");
    let number = |name: &str| of_score[name].as_f64().expect("a number");
    assert!(number("left") < 0.99 && number("right") == 0.99, "{of_score}");
    assert!((number("left") + number("apart") - 0.99).abs() < 1e-9, "{of_score}");
}
