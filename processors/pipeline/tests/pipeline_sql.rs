//! A folder of SQL files, each a test: it plans, or its first lines name what it is refused with.
//!
//! Each file of `tests/sql` is planned with `definitions.sql`. It begins with `-- plans`, or with a line for each problem:
//! `-- refused: LINE:COLUMN «what is underlined» message; help`; before `-- plans` stands what it is warned of, as
//! `-- warns of NAME: …`. `AMOSKYS_BLESS=1` writes these lines anew, to be read
//! before they are committed. Of these lines docs/messages.md is made. Deliberately not here: what accepted SQL computes.

mod common;

use amoskys_pipeline::sql::{Dataflow, Problem, Problems, Severity, Sources, plan};
use std::{
    fs,
    path::{Path, PathBuf},
};

const FOLDER: &str = "tests/sql";
const DEFINITIONS: &str = "definitions.sql";

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().expect("the folder of the tests") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sql") && !path.ends_with(DEFINITIONS) {
            found.push(path);
        }
    }
    found.sort();
}

/// What every file is planned with, and the files.
fn folder() -> (Sources, Vec<PathBuf>) {
    let definitions = fs::read_to_string(Path::new(FOLDER).join(DEFINITIONS)).expect("the definitions");
    let mut paths = Vec::new();
    files(Path::new(FOLDER), &mut paths);
    (Sources::of(DEFINITIONS, definitions), paths)
}

fn planned(path: &Path, body: &str, definitions: &Sources) -> Result<Dataflow, Problems> {
    let mut sources = definitions.clone();
    sources.add(path, body.to_owned());
    plan(&sources, &common::options())
}

/// The lines that a file of this text has to begin with. Line numbers are those of the file without them.
fn verdict(path: &Path, body: &str, definitions: &Sources) -> Vec<String> {
    match planned(path, body, definitions) {
        Ok(dataflow) => {
            let is_here = |problem: &&Problem| problem.place.as_ref().is_some_and(|place| place.file.path == path);
            let mut lines: Vec<String> = dataflow.warnings.iter().filter(is_here).map(told).collect();
            lines.push("-- plans".to_owned());
            lines
        }
        Err(problems) => problems.0.iter().map(told).collect(),
    }
}

fn told(problem: &Problem) -> String {
    let label = match problem.severity {
        Severity::Error => "refused".to_owned(),
        Severity::Warning(name) => format!("warns of {name}"),
    };
    let place = problem.place.as_ref().expect("a place");
    let (line, column) = place.start();
    let underlined = place.file.text[place.span.clone()].split_whitespace().collect::<Vec<_>>().join(" ");
    let help = problem.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
    format!("-- {label}: {line}:{column} «{underlined}» {}{help}", problem.message).replace('\n', "⏎")
}

/// Every `STEP`th word of every file is left out: enough to find what a parser's place or a planner's words can do.
const STEP: usize = 7;

#[test]
fn sql_that_lacks_a_word_is_never_told_in_the_words_of_layers_below() {
    let (definitions, paths) = folder();
    let foreign = ["Internal error", "bug in DataFusion", "Error during planning", "Schema error", "Span(", "Utf8View"];
    let (mut refused, mut wrong) = (0, Vec::new());
    for (number, path) in paths.iter().enumerate() {
        let text = fs::read_to_string(path).expect("a file of UTF-8");
        let body: String = text.split_inclusive('\n').filter(|line| !line.starts_with("--")).collect();
        let words: Vec<&str> = body.split_inclusive([' ', '(', ',', '\n']).collect();
        for left_out in (number % STEP..words.len()).step_by(STEP) {
            let text = [&words[..left_out], &words[left_out + 1..]].concat().concat();
            let Err(problems) = planned(path, &text, &definitions) else { continue };
            refused += 1;
            let drawn = problems.to_string();
            let is_placed = problems.0.iter().all(|problem| {
                problem.place.as_ref().is_some_and(|place| !place.span.is_empty() && !problem.message.is_empty())
            });
            if !is_placed || foreign.iter().any(|words| drawn.contains(words)) {
                wrong.push(format!("{text}\n{drawn}"));
            }
        }
    }
    assert!(refused > 500, "only {refused} were refused");
    assert!(wrong.is_empty(), "{} of {refused}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The lines that say what becomes of it, and the SQL.
fn split(text: &str) -> (Vec<&str>, String) {
    let is_head =
        |line: &&str| line.starts_with("-- refused: ") || line.starts_with("-- warns of ") || *line == "-- plans";
    let expected: Vec<&str> = text.lines().take_while(is_head).collect();
    let body = text.split_inclusive('\n').skip(expected.len()).collect();
    (expected, body)
}

#[test]
fn every_file_plans_or_is_refused_with_the_words_of_its_first_lines() {
    let (definitions, paths) = folder();
    let is_blessed = std::env::var_os("AMOSKYS_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in &paths {
        let text = fs::read_to_string(path).expect("a file of UTF-8");
        let (expected, body) = split(&text);
        let found = verdict(path, &body, &definitions);
        if is_blessed {
            fs::write(path, format!("{}\n{body}", found.join("\n"))).expect("it can be written");
        } else if found != expected {
            wrong.push(format!(
                "{}\n  says  {}\n  found {}",
                path.display(),
                expected.join("\n        "),
                found.join("\n        ")
            ));
        }
    }
    assert!(paths.len() >= 150, "only {} files", paths.len());
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), paths.len(), wrong.join("\n"));
}

const PAGE: &str = "../../docs/messages.md";
/// Folders, in the order of the page.
const CHAPTERS: [(&str, &str); 12] = [
    ("tables", "Streams and sinks"),
    ("names", "Names"),
    ("types", "Types"),
    ("windows", "Windows"),
    ("streams", "Queries over streams"),
    ("views", "Views"),
    ("inserts", "INSERT"),
    ("functions", "Functions of Amoskys"),
    ("models", "Models"),
    ("fitted", "Fitted statistics"),
    ("statements", "Statements"),
    ("outside", "What would reach outside"),
];

/// A message, what to write instead, and SQL of which it is told.
struct Message {
    words: String,
    help: String,
    sql: String,
}

/// Without what stands between backticks and quotes, and without numbers: of messages that differ in these one is enough.
fn shape(words: &str) -> String {
    let mut shape = String::new();
    let mut within = None;
    for letter in words.chars() {
        match within {
            Some(end) if letter == end => within = None,
            Some(_) => {}
            None if letter == '`' || letter == '\'' => within = Some(letter),
            None if letter.is_ascii_digit() => {}
            None => shape.push(letter),
        }
    }
    shape
}

fn messages(folder: &str, label: &str) -> Vec<Message> {
    let mut paths = Vec::new();
    files(&Path::new(FOLDER).join(folder), &mut paths);
    let (mut found, mut shapes): (Vec<Message>, Vec<String>) = (Vec::new(), Vec::new());
    for path in paths {
        let text = fs::read_to_string(&path).expect("a file of UTF-8");
        let (lines, body) = split(&text);
        for line in lines.iter().filter_map(|line| line.strip_prefix(label)) {
            let words = line.split_once("» ").expect("what is underlined").1.replace('⏎', " ");
            let (words, help) = words.split_once("; ").unwrap_or((&words, ""));
            let shape = shape(words);
            if !shapes.contains(&shape) {
                shapes.push(shape);
                let named = line.split_once(": ").map(|(name, _)| name).filter(|_| label.contains("warns"));
                let words = named.map_or(words.to_owned(), |name| format!("{name}: {words}"));
                found.push(Message { words, help: help.to_owned(), sql: body.trim_end().to_owned() });
            }
        }
    }
    found
}

fn page() -> String {
    let mut page = String::from(
        "# Messages

<!-- Rendered from processors/pipeline/tests/sql. Do not edit: AMOSKYS_WRITE_PAGES=1 cargo test page_of_messages -->

What `amoskys sql check`, and every command that plans SQL, says of it: the message, what to write instead, and SQL of which it is said.
Messages that differ only in names stand here once. All are of exit code 2, drawn with file, line and column, or by
`--format json` as objects. Tables that the examples do not define are those of `processors/pipeline/tests/sql/definitions.sql`.
What other commands say begins with what failed, and ends with what to do; a record that is refused says why in the dead-letter
topic ([formats](formats.md)).
",
    );
    let mut chapter = |title: &str, messages: Vec<Message>| {
        page.push_str(&format!("\n## {title}\n"));
        for Message { words, help, sql } in messages {
            let help = if help.is_empty() { help } else { format!("\n→ {help}\n") };
            page.push_str(&format!("\n**{words}**\n{help}\n```sql\n{sql}\n```\n"));
        }
    };
    for (folder, title) in CHAPTERS {
        chapter(title, messages(folder, "-- refused: "));
    }
    let mut warnings = messages("warnings", "-- warns of ");
    warnings.extend(messages("accepted", "-- warns of "));
    warnings.sort_by(|a, b| a.words.cmp(&b.words));
    warnings.dedup_by_key(|message| shape(&message.words));
    chapter(
        "Warnings, which `--deny warnings` makes errors, and `-- allow: NAME` above a statement lets through",
        warnings,
    );
    page
}

#[test]
fn page_of_messages() {
    let known: Vec<&str> = CHAPTERS.iter().map(|(folder, _)| *folder).chain(["warnings", "accepted"]).collect();
    for entry in Path::new(FOLDER).read_dir().expect("the folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        assert!(!entry.path().is_dir() || known.contains(&name.as_str()), "the page has no chapter for {name}");
    }
    let rendered = page();
    if std::env::var_os("AMOSKYS_WRITE_PAGES").is_some() {
        fs::write(PAGE, &rendered).expect("it can be written");
    }
    let there = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(there == rendered, "docs/messages.md is not what the tests' SQL says; AMOSKYS_WRITE_PAGES=1 writes it");
}
