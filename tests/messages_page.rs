//! `docs/errors.md`: every error and warning that is not about SQL, taken from where it is written, so that none is missing.
//!
//! Limits: what is found are the texts of `#[error]`, `Misuse` and of the log's warnings and errors; what an operating system,
//! a broker or a library says stands where a text has `{…}`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = "docs/errors.md";

/// Title, what it is about, and where the texts stand; a file is in the first chapter that names it.
const CHAPTERS: &[(&str, &str, &[&str])] = &[
    (
        "Records",
        "A record that is refused goes to the dead-letter topic with its place and one of these (`amoskys topics tail \
         amoskys.deadletter.v1` shows them); the next record is read. With `on_error 'stop'` it ends the processor.",
        &["processors/columns/src", "proto/src/envelope.rs", "processors/pipeline/src/run/body.rs"],
    ),
    (
        "Keys and signatures",
        "Of the agent at its start, and of processors with `verify`: an envelope that is not verified is a dead letter.",
        &["proto/src"],
    ),
    ("Models", "At the start, and where a model runs.", &["processors/scoring/src"]),
    (
        "The log: Kafka, NATS, the embedded one",
        "What can be tried again is, with the cause logged; what cannot ends the command. An agent that runs goes on in any case, as its \
         write-ahead log keeps the events: it says once in an outage why, and again when the reason is another or an hour has passed.\n\n\
         What stands after `no TLS with …` and `the log refused access` says whose it is and what to look at: a broker's certificate by an \
         unknown authority (`ca_file`), one that expired and when, one for another host and for which; a client's certificate that is \
         missing, expired or not taken (`certificate_file`, `key_file`); a login that is not taken. On NATS, which is connected to at the start, it ends a processor that starts; an agent goes on, as on Kafka.",
        &["bus/src"],
    ),
    (
        "Schemas and registries",
        "When SQL with such streams is planned, and when a record begins with a number that is not known yet.",
        &["processors/pipeline/src/schemas"],
    ),
    ("The agent", "At its start, and while it runs.", &["collectors/src", "src/roles/agent"]),
    ("Files of history", "Of `--from`, named by its file and place.", &["processors/pipeline/src/run/history"]),
    (
        "Tests of SQL",
        "What `amoskys sql test` says of a file of tests, drawn as faults of SQL are.",
        &["processors/pipeline/src/trial"],
    ),
    (
        "Processors and history",
        "What a processor logs while it runs, and what ends it: what was committed is kept, and it goes on from there when it is started again.",
        &["processors/pipeline/src", "processors/windows/src", "src/roles", "src/stop.rs"],
    ),
    ("Configuration and commands", "Said before anything is done.", &["src"]),
];

/// What a text begins with in the source, and what it is.
const MARKS: &[(&str, &str)] = &[
    ("#[error(", "error"),
    (" refuse(", "error"),
    ("(refuse(", "error"),
    ("Misuse(", "misuse"),
    ("tracing::error!(", "log, error"),
    ("tracing::warn!(", "log, warning"),
];

/// Files of an ending at a path or below it, in their order.
fn files(path: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path).expect("reads").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files(entry, ending, found));
    } else if path.extension().is_some_and(|of| of == ending) {
        found.push(path.to_owned());
    }
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    files(path, "rs", found);
    found.retain(|path| !path.ends_with("tests.rs"));
}

/// The string literal at the beginning of `code`, and what follows it.
fn literal(code: &str) -> Option<(String, &str)> {
    let rest = code.strip_prefix('"')?;
    let (mut text, mut characters) = (String::new(), rest.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((text, &rest[at + 1..])),
            '\\' => match characters.next()?.1 {
                // The text goes on with the next line's first word.
                '\n' => {
                    let left = characters.as_str().trim_start();
                    let skipped = characters.as_str().len() - left.len();
                    for _ in 0..skipped {
                        characters.next();
                    }
                }
                'n' => text.push(' '),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    None
}

/// The text of what is called at the beginning of `code`: its first literal that is not a name of a field's value.
fn text_of(code: &str) -> Option<String> {
    let (mut depth, mut at) = (1, 0);
    while at < code.len() {
        let rest = &code[at..];
        let character = rest.chars().next()?;
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '"' => {
                let (text, after) = literal(rest)?;
                if !code[..at].trim_end().ends_with("target:") {
                    return Some(text);
                }
                at = code.len() - after.len();
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            return None;
        }
        at += character.len_utf8();
    }
    None
}

/// Without what is only about the value's form: `{path:?}` and `{}`.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        let name = name.split(':').next().unwrap_or_default().trim_start_matches('{');
        let name =
            if name.is_empty() || name.chars().all(|character| character.is_ascii_digit()) { "…" } else { name };
        shown.push_str(&format!("{before}⟨{}⟩", name.replace('_', " ")));
        rest = after;
    }
    shown + rest
}

/// Where SQL is planned, faults are tests of SQL, which have a page of their own.
const OF_SQL: [&str; 2] = ["processors/pipeline/src/sql", "processors/functions/src"];

/// What is said of SQL by no file in `processors/pipeline/tests/sql`, which are planned from memory and each by itself.
const NOT_OF_ONE_STATEMENT: [&str; 15] = [
    // Of folders and files: pipeline_planning.rs, but for the last that there are too many.
    "cannot be read: ⟨error⟩",
    "holds no .sql file",
    "is one more than ⟨FILES MAX⟩ SQL files",
    "is a test of SQL, which is not planned by itself",
    // Of tests beside SQL: tests/sql_test.rs.
    "has no test",
    "has no test that asks for what it gives",
    // Of a registry that runs: processors/pipeline/tests/schema_registry.rs.
    "the registry's schema is ⟨kind⟩, not ⟨…⟩",
    // Where the planner knows more than is asked of it: told so that it can be mended.
    "a fault of the planner: ⟨fault⟩",
    "is no single statement",
    "hll_distinct does not know unions",
    "top_k: ⟨error⟩",
    "top_k does not know values of type ⟨values⟩",
    "`⟨column⟩` is there twice",
    "does not fit `⟨…⟩`: ⟨problem⟩",
    "⟨…⟩ is not supported row by row on a stream",
];

/// Of a file: kind and text, without what its tests say.
fn texts(path: &Path) -> Vec<(&'static str, String)> {
    let is_of_sql = OF_SQL.iter().any(|of_sql| path.starts_with(of_sql));
    let faults: &[(&str, &str)] = if is_of_sql { &[] } else { &[("Fault::new(", "error")] };
    texts_of(path, MARKS.iter().chain(faults))
}

fn texts_of(
    path: &Path,
    marks: impl Iterator<Item = &'static (&'static str, &'static str)>,
) -> Vec<(&'static str, String)> {
    let code = fs::read_to_string(path).expect("reads");
    let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut found: Vec<(usize, &str, String)> = Vec::new();
    for (mark, kind) in marks {
        for (at, _) in code.match_indices(mark) {
            let line = code[..at].rsplit('\n').next().unwrap_or_default();
            if line.trim_start().starts_with("//") {
                continue;
            }
            found.extend(text_of(&code[at + mark.len()..]).map(|text| (at, *kind, shown(&text))));
        }
    }
    found.sort_by_key(|(at, ..)| *at);
    // What is nothing but another's words.
    let is_text =
        |text: &str| text.split('⟩').any(|part| part.split('⟨').next().is_some_and(|own| own.trim().len() > 3));
    found.into_iter().filter(|(_, _, text)| is_text(text)).map(|(_, kind, text)| (kind, text)).collect()
}

fn page() -> String {
    let mut page = String::from(
        "# Errors and warnings

<!-- Rendered from the sources. Do not edit: AMOSKYS_WRITE_PAGES=1 cargo test --test messages_page -->

All that commands say beside [what they say of SQL](messages.md), which has a page of its own. ⟨…⟩ stands for what differs each time, such
as a path, or the words of the operating system, of the broker or of a library. A message says what failed and where; where there
is something that you can do, it says that too.

**Exit codes.** 0: done. 1: it ran and the answer is no (a test failed, a detection did not fire, a gate of `sql diff`), or it failed
while running: the log was away for too long, a disk was full. 2: wrong use, configuration, SQL or a model: nothing was done, and it will be the
same until something is changed. **Kinds.** An *error* or a *misuse* ends the command with its text on standard error. What is *logged* is
a line on standard error, and the process goes on.
",
    );
    let mut taken: BTreeSet<PathBuf> = BTreeSet::new();
    for (title, about, places) in CHAPTERS {
        page.push_str(&format!("\n## {title}\n\n{about}\n\n| | message |\n|---|---|\n"));
        let mut files = Vec::new();
        places.iter().for_each(|place| sources(Path::new(place), &mut files));
        let mut told = BTreeSet::new();
        for file in files {
            if !taken.insert(file.clone()) {
                continue;
            }
            for (kind, text) in texts(&file) {
                if told.insert(text.clone()) {
                    page.push_str(&format!("| {kind} | {} |\n", text.replace('|', "\\|")));
                }
            }
        }
        assert!(!told.is_empty(), "chapter {title} has no messages: where are they?");
    }
    page
}

#[test]
fn page_of_errors() {
    let rendered = page();
    if std::env::var_os("AMOSKYS_WRITE_PAGES").is_some() {
        fs::write(PAGE, &rendered).expect("it can be written");
    }
    let there = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(there == rendered, "{PAGE} is not what the sources say; AMOSKYS_WRITE_PAGES=1 writes it");
}

#[test]
fn texts_are_found_as_they_are_written() {
    let text = |code: &str| text_of(code).map(|text| shown(&text));
    assert_eq!(text(r#""topic `{topic}` does not exist")]"#).as_deref(), Some("topic `⟨topic⟩` does not exist"));
    assert_eq!(
        text("target: \"a::b\", %error, \"{what} \\\n      failed: {0}\")").as_deref(),
        Some("⟨what⟩ failed: ⟨…⟩")
    );
    assert_eq!(
        text(r#"format!("cannot make {}: {error:?}", folder.display()))"#).as_deref(),
        Some("cannot make ⟨…⟩: ⟨error⟩")
    );
    assert_eq!(text(r#"text.clone()); say("else")"#), None);
}

/// Whether `said` is what `template` becomes, ⟨…⟩ being anything.
fn is_of(template: &str, said: &str) -> bool {
    let mut rest = said;
    let parts = template.split('⟨').map(|part| part.split_once('⟩').map_or(part, |(_, own)| own));
    parts.filter(|part| !part.is_empty()).all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// So that `docs/messages.md`, which is made of these files, has every message.
#[test]
fn every_message_about_sql_is_said_by_a_file_of_sql() {
    let (mut all, mut tests) = (Vec::new(), Vec::new());
    OF_SQL.iter().for_each(|place| sources(Path::new(place), &mut all));
    files(Path::new("processors/pipeline/tests/sql"), "sql", &mut tests);
    let mut said = Vec::new();
    for test in &tests {
        let text = fs::read_to_string(test).expect("reads");
        said.extend(text.lines().filter(|line| line.starts_with("-- ")).map(str::to_owned));
    }
    let mut unsaid = Vec::new();
    for file in all {
        for (_, text) in texts_of(&file, [("Fault::new(", "error")].iter()) {
            if !NOT_OF_ONE_STATEMENT.contains(&text.as_str()) && !said.iter().any(|said| is_of(&text, said)) {
                unsaid.push(format!("{}: {text}", file.display()));
            }
        }
    }
    assert!(unsaid.is_empty(), "no file in processors/pipeline/tests/sql has\n{}", unsaid.join("\n"));
}

#[test]
fn templates_match_what_they_become() {
    assert!(is_of("`⟨name⟩` takes ⟨…⟩ arguments", "-- refused: 1:1 «x» `a` takes 3 arguments; b"));
    assert!(!is_of("`⟨name⟩` takes ⟨…⟩ arguments", "-- refused: 1:1 «x» `a` takes an argument"));
}
