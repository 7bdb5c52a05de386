//! The documents are true: every block of the guide is run against the real binary, on real events of this host, and
//! what README, ARCHITECTURE and the other pages name is there.
//!
//! Needs root (the kernel's process connector), bash and openssl. Not checked here: docs/configuration.md and
//! docs/metrics.md, which are checked where they come from.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;
mod guide_page;

use amoskys_bus::testing::KafkaBroker;
use guide_page::{
    Step, blocks, inline_code, links, missing,
    shell::{PATIENCE, Shell},
    steps,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const BINARY: &str = env!("CARGO_BIN_EXE_amoskys");
/// Blocks that `cargo test` has done already.
const DONE_ALREADY: [&str; 1] = ["make build\n"];
/// The windows that the guide shows end at most this long after the burst in them.
const WINDOW: Duration = Duration::from_secs(5);

/// Tests run in their package's folder.
fn root() -> PathBuf {
    std::env::current_dir().expect("a current folder")
}

#[test]
fn the_first_page_of_the_guide_leads_to_an_alert() {
    let port = common::free_port();
    let ports = ["AMOSKYS_AGENT_METRICS_PORT", "AMOSKYS_AGENT_HEALTH_PORT"].map(|name| (name, port.to_string()));
    follow("docs/guide/01-your-first-alert.md", &ports, &|what| match what {
        "running" => agent_is_running(port),
        "closed" => windows_are_closed(port),
        other => panic!("nobody knows how to wait for `{other}`"),
    });
}

#[test]
fn the_page_about_the_workbench_does_what_it_says() {
    let nothing = |what: &str| panic!("nobody knows how to wait for `{what}`");
    follow("docs/guide/02-the-sql-workbench.md", &[], &nothing);
}

#[test]
fn the_detections_of_the_cookbook_pass_their_tests() {
    let nothing = |what: &str| panic!("nobody knows how to wait for `{what}`");
    follow("docs/guide/03-a-cookbook-of-detections.md", &[], &nothing);
}

/// Does what a page says, block by block.
fn follow(page: &str, environment: &[(&str, String)], wait: &dyn Fn(&str)) {
    let page = read(page);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = Path::new(BINARY).ancestors().nth(2).expect("a target folder").display().to_string();
    let usual = [("TMPDIR", folder.path().display().to_string()), ("CARGO_TARGET_DIR", target)];
    let environment: Vec<_> = usual.iter().chain(environment).cloned().collect();
    let mut shell = Shell::start(&root(), &environment);
    let mut printed = String::new();
    for step in steps(&page) {
        match step {
            Step::Run { text, .. } if DONE_ALREADY.contains(&text.as_str()) => {}
            Step::Run { line, text, fails } => {
                eprintln!("line {line}");
                printed = shell.run(&text, fails);
            }
            Step::File { name, text } => {
                let here = shell.run("pwd", false);
                fs::write(Path::new(here.trim()).join(name), text).expect("the file is written");
            }
            Step::Expect { line, text } => {
                let missing = missing(&text, &printed);
                assert_eq!(missing, None, "line {line} of the page says so, printed was:\n{printed}");
            }
            Step::Wait { what } => wait(&what),
        }
    }
}

/// The agent works and hears of every start and end.
fn agent_is_running(port: u16) {
    let healthy =
        until("the agent is healthy", || get(port, "/healthz").filter(|answer| answer.starts_with("HTTP/1.1 200")));
    let is_told = healthy.contains("\"ebpf\"") || healthy.contains("proc_connector");
    assert!(is_told, "the guide needs root, for eBPF or the kernel's process connector: {healthy}");
}

/// All windows that a row seen until now can be in are closed and committed.
fn windows_are_closed(port: u16) {
    let wanted_ns = now_ns() + WINDOW.as_nanos() as i64;
    let mut last: Option<(f64, i64)> = None;
    until("the watermark passes the windows with the burst", || {
        let before_ns = now_ns();
        let lag = gauge(&get(port, "/metrics")?, "amoskys_processor_watermark_lag_seconds")?;
        // A lag that has changed was reported after the look before this one, so the watermark is at least this.
        let passed = last.is_some_and(|(old, old_ns)| old != lag && old_ns - (lag * 1e9) as i64 >= wanted_ns);
        if last.is_none_or(|(old, _)| old != lag) {
            last = Some((lag, before_ns));
        }
        passed.then_some(())
    });
}

#[test]
fn the_page_about_models_leads_from_history_to_an_alert_on_kafka() {
    let broker = KafkaBroker::start();
    let port = common::free_port();
    let mut environment = vec![("AMOSKYS_BUS", broker.address().to_string())];
    environment.extend(
        ["AMOSKYS_PROCESSOR_METRICS_PORT", "AMOSKYS_PROCESSOR_HEALTH_PORT"].map(|name| (name, port.to_string())),
    );
    follow("docs/guide/04-a-model-of-your-own.md", &environment, &|what| match what {
        "ready" => until("the processor is ready", || {
            get(port, "/readyz").filter(|answer| answer.starts_with("HTTP/1.1 200")).map(drop)
        }),
        "reloaded" => until("the processor has gone over to the new SQL", || {
            let metrics = get(port, "/metrics")?;
            let reloads = gauge(&metrics, "amoskys_processor_sql_reloads_total")?;
            // Each worker goes over by itself.
            let workers = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
            (reloads >= workers as f64).then_some(())
        }),
        other => panic!("nobody knows how to wait for `{other}`"),
    });
}

#[test]
fn commands_in_the_readme_are_there() {
    let makefile = read("Makefile");
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let page = read(name);
        let code = inline_code(&page);
        let lines = blocks(&page).into_iter().flat_map(str::lines).map(str::to_owned).chain(code);
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["make", target, ..] => {
                    assert!(makefile.contains(&format!("\n{target}: ##")), "{name}: `make {target}` is no target");
                }
                ["amoskys", words @ ..] => has_help(name, words),
                _ => {}
            }
        }
    }
}

/// The subcommands at the beginning of `words` are there; so is every option.
fn has_help(page: &str, words: &[&str]) {
    let is_name = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase());
    let groups = ["sql", "topics", "config"];
    let depth = if words.first().is_some_and(|word| groups.contains(word)) { 2 } else { 1 };
    let names: Vec<&str> = words.iter().take(depth).take_while(is_name).copied().collect();
    let output = Command::new(BINARY).args(&names).arg("--help").output().expect("the binary runs");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{page}: amoskys {}: {}",
        names.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    for option in words.iter().filter(|word| word.starts_with("--")) {
        let option = option.split('=').next().unwrap_or(option);
        assert!(help.contains(option), "{page}: amoskys {} has no {option}:\n{help}", names.join(" "));
    }
}

#[test]
fn links_point_to_what_is_there() {
    for page in pages() {
        let text = read(&page);
        let folder = root().join(&page).parent().expect("a folder").to_owned();
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let path = folder.join(link.split('#').next().unwrap_or(link));
            assert!(path.exists(), "{page} links to {link}, which is not there");
        }
    }
}

/// `path` or `path::test` in backticks. Names in capitals and wildcards stand for any.
#[test]
fn files_and_tests_that_are_named_are_there() {
    let tops: BTreeSet<String> = fs::read_dir(root())
        .expect("the checkout")
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir())?.file_name().into_string().ok())
        .collect();
    let stands_for_any =
        |code: &str| code.contains(['*', '<', ' ', '{']) || code.contains("NAME") || code.contains("NNNN");
    let is_path = |code: &str| code.split_once('/').is_some_and(|(top, _)| tops.contains(top)) && !stands_for_any(code);
    let mut named = 0;
    // What messages name is seen from where the tests of SQL run.
    for page in pages().into_iter().filter(|page| page != "docs/messages.md") {
        for code in inline_code(&read(&page)).into_iter().filter(|code| is_path(code)) {
            let (path, function) =
                code.split_once("::").map_or((code.as_str(), None), |(path, function)| (path, Some(function)));
            assert!(root().join(path).exists(), "{page} names {path}, which is not there");
            if let Some(function) = function {
                let has = read(path).contains(&format!("fn {function}("));
                assert!(has, "{page} names the test {function}, which is not in {path}");
            }
            named += 1;
        }
    }
    assert!(named > 20, "the pages name files: {named}");
}

/// The tree in ARCHITECTURE.md: each line begins with a path, indented by the folder it is in.
#[test]
fn the_tree_is_what_is_there() {
    let page = read("ARCHITECTURE.md");
    let tree = blocks(&page).into_iter().next().expect("ARCHITECTURE.md begins with the tree");
    let mut above: Vec<(usize, PathBuf)> = vec![];
    for line in tree.lines().filter(|line| !line.trim().is_empty() && *line != "```") {
        let depth = line.len() - line.trim_start().len();
        let name = line.split_whitespace().next().unwrap_or_default();
        above.retain(|(other, _)| *other < depth);
        let path = above.last().map_or(PathBuf::new(), |(_, path)| path.clone()).join(name);
        assert!(root().join(&path).exists(), "the tree has {}, which is not there", path.display());
        above.push((depth, path));
    }
}

fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "models/README.md", "training/README.md"]
            .map(str::to_owned)
            .into();
    for folder in ["docs", "docs/guide", "docs/adr"] {
        let entries = fs::read_dir(root().join(folder)).expect(folder).filter_map(Result::ok);
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        pages.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")));
    }
    pages
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn until<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(value) = step() {
            return value;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{PATIENCE:?} went by and not: {what}");
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as i64)
}

/// The whole answer; `None` while nobody listens.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn gauge(metrics: &str, name: &str) -> Option<f64> {
    // What stands between the two are labels.
    metrics.lines().find_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse().ok())
}
