//! SQL files split into statements, each with its place and the comments above it.
//!
//! A statement that cannot be read is a problem and keeps its name, so that what reads it is not blamed. Comments are
//! kept because a detection's comments reach its alerts. Files named `*.test.sql` are tests, not statements. Limits: a
//! file of at most 1 MiB, at most 1,000 files.

use super::{
    Place, Problem, SourceFile,
    anchor::{at, head},
};
use amoskys_functions::fault::Fault;
use datafusion::sql::{
    parser::{DFParser, Statement as Ast},
    sqlparser::{
        dialect::GenericDialect,
        keywords::Keyword,
        tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace},
    },
};
use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 1000;

/// One statement as written.
#[derive(Debug, Clone)]
pub struct Statement {
    pub file: Arc<SourceFile>,
    /// Bytes of the file's text, without the comments above it and the semicolon.
    pub span: Range<usize>,
    /// The lines of the comments above it, without `--`.
    pub comments: Vec<String>,
    pub ast: Ast,
}

impl Statement {
    pub fn text(&self) -> &str {
        &self.file.text[self.span.clone()]
    }

    /// Files that its text names, but for the data of a table.
    fn named_files(&self) -> Vec<(String, fs::Metadata)> {
        let mut tokens = Vec::new();
        // What does not tokenize is no statement.
        let tokenized = Tokenizer::new(&GenericDialect {}, self.text()).tokenize_with_location_into_buf(&mut tokens);
        let data: &[String] = match &self.ast {
            Ast::CreateExternalTable(table) => &table.locations,
            _ => &[],
        };
        let named = tokens.into_iter().filter_map(|token| match token.token {
            Token::SingleQuotedString(path) if !data.contains(&path) => Some(path),
            _ => None,
        });
        let file = |path: String| {
            let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
            Some((path, metadata))
        };
        if tokenized.is_ok() { named.filter_map(file).collect() } else { Vec::new() }
    }

    /// Of bytes within [`text`](Self::text).
    pub(crate) fn place(&self, within: Range<usize>) -> Place {
        let start = self.span.start;
        Place { file: self.file.clone(), span: start + within.start..start + within.end }
    }
}

/// All that was read, and what could not be.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub statements: Vec<Statement>,
    pub(super) problems: Vec<Problem>,
    /// Names that are defined by what could not be read.
    pub(super) unread: BTreeSet<String>,
    /// Whether there may be names that are not known at all, because a file could not be split into statements.
    pub(super) is_cut_short: bool,
}

impl Sources {
    /// Of all that was read, of what could not be, and of the files that statements name (schemas, fitted statistics): another one when a
    /// file is another. Not of what the files of tables hold, nor of what a schema imports.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut last: Option<&Arc<SourceFile>> = None;
        let of_problems = self.problems.iter().filter_map(|problem| problem.place.as_ref().map(|place| &place.file));
        for file in self.statements.iter().map(|statement| &statement.file).chain(of_problems) {
            if last.is_none_or(|last| !Arc::ptr_eq(last, file)) {
                hasher.update(file.path.as_os_str().as_encoded_bytes()).update(&[0]);
                hasher.update(file.text.as_bytes()).update(&[0]);
            }
            last = Some(file);
        }
        for (path, metadata) in self.statements.iter().flat_map(Statement::named_files) {
            let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            hasher.update(path.as_bytes()).update(format!(" {} {changed:?}\0", metadata.len()).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Reads every `.sql` file below the given files and folders, in the order of their paths.
pub fn load(paths: &[PathBuf]) -> Sources {
    let mut files = Vec::new();
    let mut sources = Sources::default();
    for path in paths {
        if is_test(path) && path.is_file() {
            let fault = Fault::new("is a test of SQL, which is not planned by itself");
            sources.fail(path, fault.help("give the folder; `amoskys sql test` runs what it holds"));
            continue;
        }
        if let Err(error) = find(path, &is_sql, &mut files) {
            let hint = "give the folder or file of the SQL by its path (in a checkout of Amoskys it is `sql`)";
            sources.fail(path, Fault::new(format!("cannot be read: {error}")).help(hint));
        }
    }
    files.sort();
    files.dedup();
    if files.len() > FILES_MAX {
        sources.fail(&files[FILES_MAX], Fault::new(format!("is one more than {FILES_MAX} SQL files")));
        return sources;
    }
    if files.is_empty() && sources.problems.is_empty() {
        paths.iter().for_each(|path| sources.fail(path, Fault::new("holds no .sql file")));
    }
    for file in files {
        match read(&file) {
            Ok(text) => sources.add(&file, text),
            Err(message) => sources.fail(&file, Fault::new(message)),
        }
    }
    sources
}

/// Files of tests below the given folders, and those that are given, in the order of their paths.
///
/// # Errors
/// A folder that cannot be read, with its path.
pub fn tests_below(paths: &[PathBuf]) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let mut files = Vec::new();
    for path in paths.iter().filter(|path| path.is_dir() || is_test(path)) {
        find(path, &is_test, &mut files).map_err(|error| (path.clone(), error))?;
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Whether the file is one of statements, by its name.
pub fn is_sql(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".sql") && !is_test(path)
}

/// Whether the file is one of tests, by its name.
pub fn is_test(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".test.sql")
}

fn find(path: &Path, is_wanted: &dyn Fn(&Path) -> bool, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if path.is_dir() || is_wanted(&path) {
                find(&path, is_wanted, files)?;
            }
        }
    } else {
        fs::metadata(path)?;
        files.push(path.to_owned());
    }
    Ok(())
}

/// Without the mark that some editors put before UTF-8.
pub fn text_of(file: &Path) -> std::io::Result<String> {
    let mut text = fs::read_to_string(file)?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

fn read(file: &Path) -> Result<String, String> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => Err(format!("is larger than {FILE_BYTES_MAX} bytes")),
        _ => text_of(file).map_err(|error| format!("cannot be read: {error}")),
    }
}

impl Sources {
    /// Statements of one file's text, by the name that problems call it.
    pub fn of(path: impl AsRef<Path>, text: impl Into<String>) -> Self {
        let mut sources = Self::default();
        sources.add(path.as_ref(), text.into());
        sources
    }

    fn fail(&mut self, path: &Path, fault: Fault) {
        let file = Arc::new(SourceFile { path: path.to_owned(), text: String::new() });
        self.problems.push(Problem::new(Some(Place { file, span: 0..0 }), fault));
        self.is_cut_short = true;
    }

    /// Adds one file's statements; each that does not parse is a problem of its own.
    pub fn add(&mut self, path: &Path, text: String) {
        let file = Arc::new(SourceFile { path: path.to_owned(), text });
        let tokens = match tokens(&file) {
            Ok(tokens) => tokens,
            Err(problem) => {
                self.problems.push(problem);
                self.is_cut_short = true;
                return;
            }
        };
        for tokens in tokens.split(|token| token.token == Token::SemiColon) {
            match statement(&file, tokens) {
                Ok(statement) => self.statements.extend(statement),
                Err(problem) => {
                    self.problems.push(problem);
                    self.unread.extend(defined_name(tokens));
                }
            }
        }
    }

    /// The statements of a file with what stands between them, and what does not parse.
    pub(crate) fn parts(file: &Arc<SourceFile>) -> (Vec<Part>, Vec<Problem>) {
        let tokens = match tokens(file) {
            Ok(tokens) => tokens,
            Err(problem) => return (Vec::new(), vec![problem]),
        };
        let (mut parts, mut problems) = (Vec::new(), Vec::new());
        let (mut rest, mut from) = (tokens.as_slice(), 0);
        loop {
            let semicolon = rest.iter().position(|token| token.token == Token::SemiColon);
            let tokens = &rest[..semicolon.unwrap_or(rest.len())];
            let ends = semicolon.map_or(file.text.len(), |index| byte_at(&file.text, rest[index].span.start));
            let begins = tokens.iter().find(|token| !is_space(token));
            let to = begins.map_or(ends, |token| byte_at(&file.text, token.span.start));
            let statement = statement(file, tokens).unwrap_or_else(|problem| {
                problems.push(problem);
                None
            });
            parts.push(Part { before: from..to, statement, is_ended: semicolon.is_some() });
            let Some(index) = semicolon else { break };
            from = byte_at(&file.text, rest[index].span.end);
            rest = &rest[index + 1..];
        }
        (parts, problems)
    }
}

/// A statement, and the bytes of the file's text between the last one's semicolon and it.
pub(crate) struct Part {
    pub before: Range<usize>,
    pub statement: Option<Statement>,
    /// By a semicolon.
    pub is_ended: bool,
}

fn tokens(file: &Arc<SourceFile>) -> Result<Vec<TokenWithSpan>, Problem> {
    let mut tokens = Vec::new();
    let mut tokenizer = Tokenizer::new(&GenericDialect {}, &file.text);
    let error = match tokenizer.tokenize_with_location_into_buf(&mut tokens) {
        Ok(()) => return Ok(tokens),
        Err(error) => error,
    };
    let start = byte_at(&file.text, error.location);
    let end = file.text[start..].find('\n').map_or(file.text.len(), |newline| start + newline);
    Err(Problem::new(Some(Place { file: file.clone(), span: start..end }), syntax_fault(error.message)))
}

fn is_space(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_) | Token::EOF)
}

/// `CREATE EXTERNAL TABLE name`, `CREATE VIEW name`: the name.
fn defined_name(tokens: &[TokenWithSpan]) -> Option<String> {
    let words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) => Some(word),
        _ => None,
    });
    let mut words = words.skip_while(|word| !matches!(word.keyword, Keyword::TABLE | Keyword::VIEW)).skip(1);
    let name = words.find(|word| !matches!(word.keyword, Keyword::IF | Keyword::NOT | Keyword::EXISTS))?;
    Some(folded(&name.value, name.quote_style))
}

/// A name as it is known by: in small letters, where it is not quoted.
pub(super) fn folded(name: &str, quote: Option<char>) -> String {
    if quote.is_none() { name.to_lowercase() } else { name.to_owned() }
}

fn statement(file: &Arc<SourceFile>, tokens: &[TokenWithSpan]) -> Result<Option<Statement>, Problem> {
    let Some(first) = tokens.iter().position(|token| !is_space(token)) else { return Ok(None) };
    let last = tokens.iter().rposition(|token| !is_space(token)).unwrap_or(first);
    let span = byte_at(&file.text, tokens[first].span.start)..byte_at(&file.text, tokens[last].span.end);
    let comments = comments(&tokens[..first]);
    let body = &file.text[span.clone()];
    let fail = |within: Range<usize>, fault: Fault| {
        let span = span.start + within.start..span.start + within.end;
        Problem::new(Some(Place { file: file.clone(), span }), fault)
    };
    match DFParser::parse_sql(body).map(Vec::from).as_deref() {
        Ok([ast]) => Ok(Some(Statement { file: file.clone(), span, comments, ast: ast.clone() })),
        Ok(_) => Err(fail(0..body.len(), Fault::new("is no single statement"))),
        Err(error) => {
            let (message, location) = locate(&error.strip_backtrace());
            let last = byte_at(&file.text, tokens[last].span.start) - span.start..body.len();
            let within = match location {
                Some(location) => at(body, location).unwrap_or(last),
                None if message.ends_with("found: EOF") => last,
                None => head(body),
            };
            let message = message.replace("found: EOF", "found: the end of the statement");
            Err(fail(within, syntax_fault(message)))
        }
    }
}

/// What parsers say, and what is most often meant.
fn syntax_fault(message: String) -> Fault {
    let help = match message.as_str() {
        text if text.starts_with("Missing LOCATION") => "add LOCATION and the name of the topic",
        text if text.contains("Expected: an SQL statement") => {
            "statements are CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO, each with a semicolon behind it"
        }
        text if text.starts_with("Expected: end of statement") => {
            "is a semicolon missing before this, which ends a statement, or a comma?"
        }
        text if text.starts_with("Expected: fileformat") => {
            "a stream is a CREATE EXTERNAL TABLE … STORED AS JSON LOCATION 'topic'"
        }
        text if text.starts_with("Expected: string or numeric value, found: =") => {
            "options are written without =: OPTIONS (event_time 'at', lateness '5s')"
        }
        text if text.starts_with("Unterminated string literal") => {
            "a quote is missing, here or before: a quote within text is written twice, 'it''s'"
        }
        _ => "",
    };
    Fault::new(message).help(help)
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
fn locate(message: &str) -> (String, Option<Location>) {
    let message = message.replace("SQL error: ParserError(\"", "").replace("Error during planning: ", "");
    let message = message.trim_end_matches("\")");
    let parsed = message.rsplit_once(" at Line: ").and_then(|(before, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
        Some((before.to_owned(), Location { line: line.parse().ok()?, column: digits.parse().ok()? }))
    });
    parsed.map_or_else(|| (message.to_owned(), None), |(message, location)| (message, Some(location)))
}

/// Byte offset of a place; a column is a character's number.
pub(super) fn byte_at(text: &str, location: Location) -> usize {
    let mut at = 0;
    for (index, content) in text.split_inclusive('\n').enumerate() {
        if index as u64 + 1 == location.line {
            let column = (location.column as usize).saturating_sub(1);
            return at + content.char_indices().nth(column).map_or(content.len(), |(offset, _)| offset);
        }
        at += content.len();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<(usize, String, Vec<String>)> {
        let sources = Sources::of("x.sql", sql);
        assert_eq!(sources.problems, []);
        let statements = sources.statements.iter();
        statements
            .map(|statement| {
                let (line, _) = statement.place(0..1).start();
                (line, statement.text().to_owned(), statement.comments.clone())
            })
            .collect()
    }

    fn problems(sql: &str) -> Vec<String> {
        Sources::of("x.sql", sql).problems.iter().map(Problem::to_string).collect()
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
    fn every_broken_statement_is_reported_where_it_is_and_the_others_are_kept() {
        let sql = "SELECT 1;\nSELEC 2;\n\nCREATE VIEW;\nCREATE VIEW \"V\" AS SELEC;";
        let problems = problems(sql);
        let places: Vec<&str> = problems.iter().filter_map(|problem| problem.split(": ").next()).collect();
        assert_eq!(places, ["x.sql:2:1", "x.sql:4:8", "x.sql:5:20"], "{problems:?}");
        let sources = Sources::of("x.sql", sql);
        assert_eq!((sources.statements.len(), sources.unread), (1, BTreeSet::from(["V".to_owned()])));
    }

    #[test]
    fn an_open_quote_is_reported() {
        let told = "x.sql:2:8: Unterminated string literal; a quote is missing, here or before: a quote within text is written twice, 'it''s'";
        assert_eq!(problems("SELECT 1;\nSELECT 'a"), [told]);
    }
}
