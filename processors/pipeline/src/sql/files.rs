//! SQL files split into statements, each with its place and the comments above it.
//!
//! Comments are kept because a detection's comments reach its alerts. Files named `*.test.sql` are tests, not
//! statements. Limits: a file of at most 1 MiB, at most 1,000 files.

use super::{Problem, Problems, place::of_unknown_name};
use datafusion::sql::{
    parser::{DFParser, Statement as Ast},
    sqlparser::{
        dialect::GenericDialect,
        tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 1000;

/// One statement as written.
#[derive(Debug, Clone)]
pub struct Statement {
    pub file: PathBuf,
    pub line: u64,
    pub column: u64,
    /// Without the comments above it and the semicolon.
    pub text: String,
    /// The lines of the comments above it, without `--`.
    pub comments: Vec<String>,
    pub ast: Ast,
}

impl Statement {
    /// At the name that the message says is not known, or at the statement.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        let message = message.into();
        let (line, column) = match of_unknown_name(&self.text, &message) {
            Some((1, column)) => (self.line, self.column + column - 1),
            Some((line, column)) => (self.line + line - 1, column),
            None => (self.line, self.column),
        };
        Problem { file: self.file.clone(), line, column, message }
    }
}

/// Reads every `.sql` file below the given files and folders, in the order of their paths.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Statement>, Problems> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        if let Err(error) = find(path, &mut files) {
            let hint = "give the folder or file of the SQL by its path (in a checkout of Amoskys it is `sql`)";
            problems.push(at_file(path, format!("cannot be read: {error}; {hint}")));
        }
    }
    files.sort();
    files.dedup();
    if files.len() > FILES_MAX {
        problems.push(at_file(&files[FILES_MAX], format!("more than {FILES_MAX} SQL files")));
    } else if files.is_empty() && problems.is_empty() {
        problems.extend(paths.iter().map(|path| at_file(path, "holds no .sql file".into())));
    }
    let mut statements = Vec::new();
    for file in &files {
        match read(file).map_err(|message| vec![at_file(file, message)]).and_then(|text| parse(file, &text)) {
            Ok(found) => statements.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(statements) } else { Err(Problems(problems)) }
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            let name = path.to_string_lossy();
            if path.is_dir() || (name.ends_with(".sql") && !name.ends_with(".test.sql")) {
                find(&path, files)?;
            }
        }
    } else {
        fs::metadata(path)?;
        files.push(path.to_owned());
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, String> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => Err(format!("is larger than {FILE_BYTES_MAX} bytes")),
        _ => fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}")),
    }
}

fn at_file(file: &Path, message: String) -> Problem {
    Problem { file: file.to_owned(), line: 0, column: 0, message }
}

/// Splits one file's text into statements; every statement that does not parse is a problem of its own.
pub fn parse(file: &Path, text: &str) -> Result<Vec<Statement>, Vec<Problem>> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().map_err(|error| {
        vec![Problem {
            file: file.to_owned(),
            line: error.location.line,
            column: error.location.column,
            message: error.message,
        }]
    })?;
    let mut statements = Vec::new();
    let mut problems = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        match statement(file, text, tokens) {
            Ok(statement) => statements.extend(statement),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(statements) } else { Err(problems) }
}

fn statement(file: &Path, text: &str, tokens: &[TokenWithSpan]) -> Result<Option<Statement>, Problem> {
    let is_space = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_) | Token::EOF);
    let Some(first) = tokens.iter().position(|token| !is_space(token)) else { return Ok(None) };
    let last = tokens.iter().rposition(|token| !is_space(token)).unwrap_or(first);
    let (start, end) = (tokens[first].span.start, tokens[last].span.end);
    let body = &text[byte_at(text, start.line, start.column)..byte_at(text, end.line, end.column)];
    let comments = comments(&tokens[..first]);
    match DFParser::parse_sql(body).map(Vec::from).as_deref() {
        Ok([ast]) => Ok(Some(Statement {
            file: file.to_owned(),
            line: start.line,
            column: start.column,
            text: body.to_owned(),
            comments,
            ast: ast.clone(),
        })),
        Ok(_) => Err(Problem {
            file: file.to_owned(),
            line: start.line,
            column: start.column,
            message: "is no single statement".into(),
        }),
        Err(error) => {
            let (message, place) = locate(&error.strip_backtrace());
            let (line, column) = match place {
                Some((1, column)) => (start.line, start.column + column.saturating_sub(1)),
                Some((line, column)) => (start.line + line - 1, column),
                None if message.ends_with("found: EOF") => (end.line, end.column),
                None => (start.line, start.column),
            };
            Err(Problem { file: file.to_owned(), line, column, message })
        }
    }
}

/// Lines of the last block of `--` comments; a blank line begins a new block.
fn comments(tokens: &[TokenWithSpan]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut newlines = 0;
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => {
                if newlines > 1 {
                    lines.clear();
                }
                newlines = 1;
                lines.push(comment.trim().to_owned());
            }
            Token::Whitespace(Whitespace::Newline) => newlines += 1,
            _ => {}
        }
    }
    lines
}

/// Takes ` at Line: 3, Column: 7` off a parser's message, and the names of its layers.
fn locate(message: &str) -> (String, Option<(u64, u64)>) {
    let message = message.replace("SQL error: ParserError(\"", "").replace("Error during planning: ", "");
    let message = message.trim_end_matches("\")");
    let parsed = message.rsplit_once(" at Line: ").and_then(|(before, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
        Some((before.to_owned(), (line.parse().ok()?, digits.parse().ok()?)))
    });
    parsed.map_or_else(|| (message.to_owned(), None), |(message, place)| (message, Some(place)))
}

/// Byte offset of a 1-based line and column (in characters).
fn byte_at(text: &str, line: u64, column: u64) -> usize {
    let mut at = 0;
    for (index, content) in text.split_inclusive('\n').enumerate() {
        if index as u64 + 1 == line {
            return at + content.char_indices().nth(column as usize - 1).map_or(content.len(), |(offset, _)| offset);
        }
        at += content.len();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<(u64, String, Vec<String>)> {
        let statements = parse(Path::new("x.sql"), sql).expect("parses");
        statements.into_iter().map(|statement| (statement.line, statement.text, statement.comments)).collect()
    }

    #[test]
    fn statements_keep_their_place_and_the_comments_above() {
        let sql =
            "-- licence\n\n-- title: é one\n-- technique: T1\nSELECT 'a;b' -- inner\n;\n\nSELECT 2;\n-- the end\n";
        assert_eq!(
            texts(sql),
            vec![
                (5, "SELECT 'a;b'".to_owned(), vec!["title: é one".to_owned(), "technique: T1".to_owned()]),
                (8, "SELECT 2".to_owned(), vec![]),
            ]
        );
    }

    #[test]
    fn every_broken_statement_is_reported_where_it_is() {
        let problems = parse(Path::new("x.sql"), "SELECT 1;\nSELEC 2;\n\nCREATE VIEW;").expect_err("broken");
        let places: Vec<(u64, u64)> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
        assert_eq!(places, vec![(2, 1), (4, 12)], "{problems:?}");
    }

    #[test]
    fn an_open_quote_is_reported() {
        assert_eq!(parse(Path::new("x.sql"), "SELECT 1;\nSELECT 'a").expect_err("open").len(), 1);
    }
}
