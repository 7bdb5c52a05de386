//! A folder of SQL files, each a test: it plans, or its first lines name what it is refused with.
//!
//! Each file of `tests/sql` is planned with `definitions.sql`. It begins with `-- plans`, or with a line for each problem:
//! `-- refused: LINE:COLUMN «what is underlined» message; help`; before `-- plans` stands what it is warned of, as
//! `-- warns of NAME: …`. `AMOSKYS_BLESS=1` writes these lines anew, to be read
//! before they are committed. Deliberately not here: what accepted SQL computes.

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

#[test]
fn every_file_plans_or_is_refused_with_the_words_of_its_first_lines() {
    let (definitions, paths) = folder();
    let is_blessed = std::env::var_os("AMOSKYS_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in &paths {
        let text = fs::read_to_string(path).expect("a file of UTF-8");
        let is_head =
            |line: &&str| line.starts_with("-- refused: ") || line.starts_with("-- warns of ") || *line == "-- plans";
        let expected: Vec<&str> = text.lines().take_while(is_head).collect();
        let body: String = text.split_inclusive('\n').skip(expected.len()).collect();
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
