//! Views and INSERTs that no test is of: `x.sql` has its tests in `x.test.sql`, beside it, and these name what they ask for.
//!
//! Deliberately not here: whether what they expect says anything. Limits: an INSERT is asked for by the table that it inserts into,
//! or by its name, where several insert into one.

use super::{
    Annotations, Problem, Sources, Statement, anchor,
    definitions::{Kind, is_computed, kind, table_of},
    files::is_test,
    warnings::UNTESTED,
};
use amoskys_functions::fault::Fault;
use std::collections::BTreeSet;

/// A warning for each, in the order of files and places.
pub fn untested(sources: &Sources) -> Vec<Problem> {
    let mut found = Vec::new();
    let words: Vec<BTreeSet<String>> = sources.statements.iter().map(|statement| words_of(statement.text())).collect();
    for statement in sources.statements.iter().filter(|statement| is_computed(statement)) {
        let path = &statement.file.path;
        let tests = path.with_extension("test.sql");
        let is_allowed = Annotations::parse(&statement.comments).allowed().iter().any(|name| name == UNTESTED);
        if is_allowed || is_test(path) {
            continue;
        }
        let shown = shown_by(statement, sources, &words);
        let fault = match std::fs::read_to_string(&tests) {
            Ok(text) if asks_for(&text, &shown) => continue,
            Ok(_) => {
                let names: Vec<&str> = shown.iter().map(String::as_str).collect();
                let help = format!("write one into {} that selects from {}", tests.display(), names.join(" or "));
                Fault::new("has no test that asks for what it gives").help(help)
            }
            Err(_) => {
                Fault::new("has no test").help(format!("write one into {}: amoskys sql test --help", tests.display()))
            }
        };
        let place = statement.place(anchor::head(statement.text()));
        found.push(Problem::warning(Some(place), UNTESTED, fault));
    }
    found
}

/// Names under which what a statement computes can be seen: its own, and those of all that reads it.
fn shown_by(statement: &Statement, sources: &Sources, words: &[BTreeSet<String>]) -> BTreeSet<String> {
    let mut shown: BTreeSet<String> = given_name(statement).into_iter().collect();
    loop {
        let before = shown.len();
        for (reader, words) in sources.statements.iter().zip(words) {
            if is_computed(reader) && !words.is_disjoint(&shown) {
                shown.extend(given_name(reader));
            }
        }
        if shown.len() == before {
            return shown;
        }
    }
}

/// Of a view, or of the table that is inserted into.
fn given_name(statement: &Statement) -> Option<String> {
    match kind(statement) {
        Kind::View(name) => Some(name.to_lowercase()),
        Kind::Insert(insert) => table_of(insert).map(|name| name.to_lowercase()),
        Kind::Table(_) | Kind::Other => None,
    }
}

/// Whether a SELECT of the tests names one of them.
fn asks_for(tests: &str, names: &BTreeSet<String>) -> bool {
    let lines = tests.lines().filter(|line| !line.trim_start().starts_with("--"));
    let statements = lines.collect::<Vec<_>>().join("\n");
    let mut asked = statements.split(';').filter(|text| text.trim_start().to_lowercase().starts_with("select"));
    asked.any(|text| !words_of(text).is_disjoint(names))
}

fn words_of(text: &str) -> BTreeSet<String> {
    let is_between = |letter: char| !letter.is_alphanumeric() && letter != '_';
    text.split(is_between).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_file_of_tests_beside_it_is_tested() {
        let folder = std::env::temp_dir().join(format!("amoskys-untested-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let sql = "CREATE EXTERNAL TABLE s (a BIGINT) STORED AS JSON LOCATION 's';\nCREATE VIEW v AS SELECT a FROM s;\n\
                   -- allow: untested\nINSERT INTO s SELECT a FROM v;\n\nINSERT INTO s SELECT a FROM v;\n";
        // Asked for by itself, by what reads it, and not at all.
        let tests = [
            ("b", "-- test: b\nINSERT INTO s VALUES (1);\nSELECT a FROM s;\n"),
            ("c", "-- test: c\nINSERT INTO s VALUES (1);\n-- SELECT a FROM s;\nSELECT late_rows FROM counters;\n"),
        ];
        for (name, text) in tests {
            std::fs::write(folder.join(format!("{name}.test.sql")), text).expect("written");
        }
        let mut sources = Sources::default();
        for name in ["a", "b", "c"] {
            sources.add(&folder.join(format!("{name}.sql")), sql.to_owned());
        }
        let found: Vec<String> = untested(&sources).iter().map(ToString::to_string).collect();
        std::fs::remove_dir_all(&folder).expect("removed");
        let path = |name: &str| folder.join(name).display().to_string();
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found[0].starts_with(&format!("{}:2:1: ", path("a.sql"))) && found[0].contains("has no test;"),
            "{found:#?}"
        );
        assert!(found[1].starts_with(&format!("{}:6:1: ", path("a.sql"))), "{found:#?}");
        assert!(found[2].starts_with(&format!("{}:2:1: ", path("c.sql"))), "{found:#?}");
        assert!(found[2].contains("has no test that asks for what it gives; write one into"), "{found:#?}");
        assert!(found[2].ends_with("that selects from s or v"), "{found:#?}");
    }
}
