//! Views and INSERTs that no test is of: `x.sql` has its tests in `x.test.sql`, beside it.
//!
//! Deliberately not here: whether these tests ask for the view.

use super::{Annotations, Problem, Sources, anchor, definitions::is_computed, files::is_test, warnings::UNTESTED};
use amoskys_functions::fault::Fault;

/// A warning for each, in the order of files and places.
pub fn untested(sources: &Sources) -> Vec<Problem> {
    let mut found = Vec::new();
    for statement in sources.statements.iter().filter(|statement| is_computed(statement)) {
        let path = &statement.file.path;
        let tests = path.with_extension("test.sql");
        let is_allowed = Annotations::parse(&statement.comments).allowed().iter().any(|name| name == UNTESTED);
        if is_allowed || tests.exists() || is_test(path) {
            continue;
        }
        let fault =
            Fault::new("has no test").help(format!("write one into {}: amoskys sql test --help", tests.display()));
        let place = statement.place(anchor::head(statement.text()));
        found.push(Problem::warning(Some(place), UNTESTED, fault));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_file_of_tests_beside_it_is_tested() {
        let folder = std::env::temp_dir().join(format!("amoskys-untested-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("b.test.sql"), "-- test: b\n").expect("written");
        let mut sources = Sources::default();
        let sql = "CREATE EXTERNAL TABLE s (a BIGINT) STORED AS JSON LOCATION 's';\nCREATE VIEW v AS SELECT a FROM s;\n\
                   -- allow: untested\nINSERT INTO s SELECT a FROM v;\n\nINSERT INTO s SELECT a FROM v;\n";
        sources.add(&folder.join("a.sql"), sql.to_owned());
        sources.add(&folder.join("b.sql"), sql.to_owned());
        let found: Vec<String> = untested(&sources).iter().map(ToString::to_string).collect();
        std::fs::remove_dir_all(&folder).expect("removed");
        let path = folder.join("a.sql").display().to_string();
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].starts_with(&format!("{path}:2:1: ")) && found[0].contains("has no test"), "{found:#?}");
        assert!(found[1].starts_with(&format!("{path}:6:1: ")), "{found:#?}");
    }
}
