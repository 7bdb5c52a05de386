//! The whole way: text and variables in, configuration or problems out.

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn agent_with(
    text: &str,
    pairs: &[(&str, &str)],
    exists: &dyn Fn(&Path) -> bool,
    purpose: Purpose,
) -> Result<Loaded<AgentConfig>, Problems> {
    let input = Input { file: "agent.toml", text, variables: &variables(pairs), exists, purpose };
    let (config, problems) = agent_config::check(&input);
    judged("agent.toml", config, problems)
}

fn agent(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded<AgentConfig>, Problems> {
    agent_with(text, pairs, &|_| true, Purpose::Run)
}

fn processor(
    text: &str,
    exists: &dyn Fn(&Path) -> bool,
    purpose: Purpose,
) -> Result<Loaded<ProcessorConfig>, Problems> {
    let input = Input { file: "processor.toml", text, variables: &Variables::new(), exists, purpose };
    let (config, problems) = processor::check(&input);
    judged("processor.toml", config, problems)
}

/// `severity key place` of each problem.
fn summary(problems: &Problems) -> Vec<String> {
    let place = |place: &Place| match place {
        Place::Line { line, .. } => line.to_string(),
        Place::File(_) => "file".to_owned(),
        Place::Variable(name) => name.clone(),
    };
    problems.iter().map(|problem| format!("{:?} {} {}", problem.severity, problem.key, place(&problem.place))).collect()
}

#[test]
fn an_empty_file_is_all_defaults_which_are_those_of_the_collectors() {
    let loaded = agent("", &[]).expect("defaults are valid");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let mut defaults = amoskys_collectors::AgentConfig::new("web-1", "web-1", "/var/lib/amoskys/wal");
    defaults.signing_key_path = Some("/etc/amoskys/keys/agent.ed25519.pem".into());
    assert_eq!(loaded.config.collector("web-1"), defaults);
    assert!(processor("", &|_| true, Purpose::Run).is_ok());
}

#[test]
fn every_key_of_the_agent_reaches_its_field() {
    let text = r#"
        [agent]
        host_id = "h"
        agent_id = "a"
        signing_key = "/s"
        wal_path = "/w"
        wal_bytes_max = "2 MiB"
        wal_full = "block"
        wal_fsync_interval = "0ms"
        bus_address = "local:/l"
        max_env_bytes = 1000
        send_rate = 9
        retry_max = 20
        retry_timeout = "1s"
        retry_pause_min = "2ms"
        retry_pause_max = "3ms"
        batch_events_max = 7
        batch_age = "20ms"
        queue_events_max = 8
        in_flight_records_max = 3
        in_flight_bytes_max = 4
        status_topic = "st"
        status_interval = "1m"
        confine = "off"
        listen = "::1"
        metrics_port = 1
        health_port = 65535
        [process]
        topic = "t"
        snapshot_interval = "1h"
        source = "snapshots"
        ring_bytes = "64 KiB"
        connector_buffer_bytes = "64 KiB"
        cmdline_bytes_max = 64
        processes_max = 5
        descriptors_max = 6
        exe_recheck_after = "0ms"
        kernel_threads = true
        ancestors_max = 7
        sha256_file_bytes_max = 8
        sha256_wait = "9ms"
        files_max = 10
        packages = "off"
        environment = ["LD_PRELOAD"]
        mask = ["usual", "x(y)"]
        [syscall]
        topic = "sc"
        source = "auto"
        audit_log = "/al"
        audit_log_start = "beginning"
        calls = ["execve", "openat:failure/7"]
        uids = [0, 33]
        comms = ["!cron"]
        pids = ["!1"]
        process_trees = [2]
        cgroups = ["/c"]
        paths = ["/etc/"]
        process_rate_max = 4
        process_burst_max = 6
        ring_bytes = "1 MiB"
        activity = "on"
        activity_topic = "at"
        activity_interval = "200ms"
        activity_rows_max = 9
        [bus]
        security_protocol = "sasl_ssl"
        ca_file = "/ca"
        certificate_file = "/cf"
        key_file = "/kf"
        sasl_mechanism = "PLAIN"
        username = "u"
        password = "p"
        properties = { "a.b" = "c" }
    "#;
    let config = agent(text, &[]).expect("valid").config;
    let expected = r#"AgentConfig { agent_id: "a", host_id: "h", process_topic: "t", syscall_topic: "sc", activity_topic: "at", status_topic: "st", status_interval: 60s, queue_events_max: 8, signing_key_path: Some("/s"), process: ProcessConfig { snapshot_interval: 3600s, source: Snapshots, cmdline_bytes_max: 64, processes_max: 5, descriptors_max: 6, exe_recheck_after: 0ns, kernel_threads: true, thread_nice: -10, connector_buffer_bytes: 65536, ring_bytes: 65536, ancestors_max: 7, environment: ["LD_PRELOAD"], masks: Masks(["usual", "x(y)"]), files: FilesConfig { sha256_file_bytes_max: 8, wait: 9ms, files_max: 10, dpkg_folder: None } }, syscall: SyscallConfig { source: Auto, calls: [execve Any 1/1, openat Failures 1/7], of: SyscallsOf { pids: Except([1]), trees: Only([2]), uids: Only([0, 33]), comms: Except(["cron"]), cgroups: Only(["/c"]), path_prefixes: Only(["/etc/"]) }, limit: Some(Limit { per_second: 4, burst: 6 }), ring_bytes: 1048576, audit: AuditConfig { from: Log("/al"), log_start: Beginning }, activity: Some(ActivityConfig { interval: 200ms, rows_max: 9 }) }, batch: BatchConfig { max_env_bytes: 1000, events_max: 7, age_max: 20ms }, wal: WalConfig { path: "/w", bytes_max: 2097152, when_full: Block, fsync: Always }, publish: PublishConfig { send_rate: Some(SendRate { unit: Events, per_second: 9, burst: 9 }), retry_max: 20, retry_timeout: 1s, retry_pause_min: 2ms, retry_pause_max: 3ms, in_flight_records_max: 3, in_flight_bytes_max: 4 } }"#;
    assert_eq!(format!("{:?}", config.collector("other")), expected);
    assert_eq!(config.bus_address.to_string(), "local:/l");
    assert_eq!(config.confine, amoskys_collectors::confine::ConfineMode::Off);
    assert_eq!(config.metrics_address().to_string(), "[::1]:1");
    assert_eq!(config.health_address().to_string(), "[::1]:65535");
    let security = &config.bus.security;
    assert_eq!(security.password.as_deref(), Some("p"));
    assert_eq!(security.ca_file.as_deref(), Some("/ca"));
    assert_eq!(security.certificate_file.as_deref(), Some("/cf"));
    assert_eq!(security.key_file.as_deref(), Some("/kf"));
    assert_eq!(config.bus.properties, [("a.b".to_owned(), "c".to_owned())]);
}

#[test]
fn an_agent_that_does_not_sign_needs_no_key() {
    let loaded = agent_with("[agent]\nsign = false", &[], &|_| false, Purpose::Run).expect("nothing is missing");
    assert_eq!(loaded.config.signing_key, None);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn every_key_of_the_processor_reaches_its_field() {
    let text = r#"
        [processor]
        bus_address = "local:/l"
        group = "g"
        instance = "i"
        delivery = "at_least_once"
        start_at = "latest"
        verify = "required"
        keys_dir = "/k"
        models_dir = "/m"
        onnxruntime = "/o.so"
        workers = 3
        commit_interval = "2s"
        session_timeout = "3s"
        transaction_timeout = "4s"
        dead_letter_topic = "d"
        panes_topic = "p"
        prefetch_bytes_max = "1 MiB"
        listen = "0.0.0.0"
        metrics_port = 10
        health_port = 10
    "#;
    let config = processor(text, &|_| true, Purpose::Run).expect("valid").config;
    let expected = r#"ProcessorConfig { bus_address: Local { path: "/l" }, group: "g", instance: Some("i"), delivery: AtLeastOnce, start_at: Latest, keys_dir: Some("/k"), models_dir: "/m", onnxruntime: Some("/o.so"), workers: Some(3), commit_interval: 2s, session_timeout: 3s, transaction_timeout: 4s, dead_letter_topic: "d", panes_topic: "p", prefetch_bytes_max: 1048576, listen: 0.0.0.0, metrics_port: 10, health_port: 10, bus: "#;
    let shown = format!("{config:?}");
    assert!(shown.starts_with(expected), "{shown}");
}

#[test]
fn every_problem_is_told_at_once() {
    let text = "\
[agent]
metrics_port = 0
health_port = 65536
max_env_bytes = \"11 MiB\"
retry_max = 21
retry_timeout = 5
bus_address = \"localhost:50051\"
wal_paht = \"/w\"
[process]
source = \"maybe\"
topic = \"a topic\"
";
    let problems =
        agent(text, &[("AMOSKYS_AGENT_SEND_RATE", "many"), ("IS_WAL_PATH", "")]).expect_err("nothing is right");
    assert_eq!(
        summary(&problems),
        [
            "Error agent.metrics_port 2",
            "Error agent.health_port 3",
            "Error agent.max_env_bytes 4",
            "Error agent.retry_max 5",
            "Error agent.retry_timeout 6",
            "Error agent.bus_address 7",
            "Error agent.wal_paht 8",
            "Error process.source 10",
            "Error process.topic 11",
            "Error agent.send_rate AMOSKYS_AGENT_SEND_RATE",
            "Warning agent.wal_path IS_WAL_PATH",
            "Error agent.wal_path IS_WAL_PATH",
        ],
        "{problems}"
    );
    for problem in
        problems.iter().filter(|problem| problem.key != "agent.wal_paht" && problem.severity == Severity::Error)
    {
        assert!(problem.value.is_some() && problem.allowed.is_some() && problem.write.is_some(), "{problem}");
    }
}

#[test]
fn a_problem_reads_as_it_should() {
    let problems = agent("[agent]\nmetrics_port = 70000\n", &[]).expect_err("no such port").to_string();
    let expected = "error: `agent.metrics_port` = 70000 is out of range
 --> agent.toml:2:16
  |
2 | metrics_port = 70000
  |                ^^^^^
  = allowed: a whole number from 1 to 65535
  = write: metrics_port = 9101

1 error, 0 warnings";
    assert_eq!(problems, expected);
}

#[test]
fn a_bad_variable_is_reported_as_a_bad_line_is() {
    let problems = agent("", &[("AMOSKYS_AGENT_METRICS_PORT", "70000")]).expect_err("no such port").to_string();
    let expected = "error: `agent.metrics_port` = `70000` is out of range
 --> environment variable AMOSKYS_AGENT_METRICS_PORT
  = allowed: a whole number from 1 to 65535
  = write: AMOSKYS_AGENT_METRICS_PORT=9101

1 error, 0 warnings";
    assert_eq!(problems, expected);
}

#[test]
fn a_variable_wins_over_the_file_which_is_judged_all_the_same() {
    let port = [("AMOSKYS_AGENT_METRICS_PORT", "5")];
    assert_eq!(agent("[agent]\nmetrics_port = 4", &port).expect("valid").config.metrics_port, 5);
    assert!(agent("[agent]\nmetrics_port = 0", &port).is_err());
}

#[test]
fn the_new_name_wins_over_the_old_one_and_the_old_one_over_the_file() {
    let old = ("IS_METRICS_PORT", "6");
    let loaded = agent("[agent]\nmetrics_port = 4", &[old]).expect("valid");
    assert_eq!((loaded.config.metrics_port, loaded.warnings.count(Severity::Warning)), (6, 1));
    let loaded = agent("", &[old, ("AMOSKYS_AGENT_METRICS_PORT", "5")]).expect("valid");
    assert_eq!((loaded.config.metrics_port, loaded.warnings.count(Severity::Warning)), (5, 1));
}

#[test]
fn a_missing_signing_key_warns_in_a_check_and_stops_a_role() {
    let gone = |path: &Path| path != Path::new("/k/agent.ed25519.pem");
    let text = "[agent]\ncert_dir = '/k'";
    let loaded = agent_with(text, &[], &gone, Purpose::Check).expect("a warning");
    assert_eq!(summary(&loaded.warnings), ["Warning agent.signing_key file"]);
    let problems = agent_with(text, &[], &gone, Purpose::Run).expect_err("an error");
    assert_eq!(summary(&problems), ["Error agent.signing_key file"]);
    assert!(problems.to_string().contains("amoskys keygen /k/agent.ed25519.pem"));
}

#[test]
fn files_that_tls_and_verification_need_are_asked_for() {
    let none = |_: &Path| false;
    let problems = processor("[bus]\nca_file = '/ca'", &none, Purpose::Run).expect_err("no keys, no authority");
    assert_eq!(summary(&problems), ["Error bus.ca_file 2", "Error processor.keys_dir file"]);
    assert!(processor("[processor]\nverify = 'off'", &none, Purpose::Run).is_ok(), "no keys are needed");
}

#[test]
fn keys_that_need_others_say_which() {
    let problems =
        agent("[bus]\nsecurity_protocol = 'sasl_ssl'\nusername = 'u'\nkey_file = '/k'", &[]).expect_err("half");
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "needs `sasl_mechanism` with a sasl_ protocol",
            "needs `password` with a sasl_ protocol",
            "needs `certificate_file` beside it"
        ]
    );
}

#[test]
fn a_wal_that_holds_no_envelope_is_refused() {
    let problems = agent("[agent]\nwal_bytes_max = '1 MiB'\nmax_env_bytes = '2 MiB'", &[]).expect_err("too small");
    assert_eq!(summary(&problems), ["Error agent.wal_bytes_max 2"]);
}

#[test]
fn audit_is_read_from_the_kernel_or_a_path() {
    let problems = agent("[syscall]\naudit_log = \"netlnik\"", &[]).expect_err("no path");
    assert_eq!(summary(&problems), ["Error syscall.audit_log 2"]);
    let netlink = agent("[syscall]\naudit_log = \"netlink\"", &[]).expect("valid").config.collector("h").syscall.audit;
    assert_eq!(netlink.from, amoskys_collectors::AuditFrom::Netlink);
}

#[test]
fn pauses_in_the_wrong_order_are_refused() {
    let problems = agent("[agent]\nretry_pause_min = '11s'", &[]).expect_err("10s is the longest");
    assert_eq!(summary(&problems), ["Error agent.retry_pause_max file"]);
}

#[test]
fn a_password_is_nowhere_in_what_is_printed() {
    let text =
        "[bus]\npassword = 'hunter2'\nproperties = { 'sasl.password' = 'hunter2', x = 5 }\nsecurity_protocol = 'x'";
    let problems = agent(text, &[("AMOSKYS_BUS_PASSWORD", " ")]).expect_err("bad values");
    assert_eq!(problems.count(Severity::Error), 3, "{problems}");
    assert!(!problems.to_string().contains("hunter2") && !problems.to_json().contains("hunter2"), "{problems}");
    let config = agent("[bus]\npassword = 'hunter2'", &[]).expect("valid").config;
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn files_are_read_from_disk_and_one_that_is_none_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("processor.toml");
    std::fs::write(&path, "[processor]\nverify = 'off'\ngroup = 'g'\n").expect("written");
    assert_eq!(load_processor(Some(&path), &Variables::new()).expect("valid").config.group, "g");
    let problems = load_agent(Some(&folder.path().join("none")), &Variables::new()).expect_err("no file");
    assert!(problems.to_string().contains("cannot be read"), "{problems}");
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    assert!(load_processor(Some(&path), &Variables::new()).is_err(), "not UTF-8");
}
