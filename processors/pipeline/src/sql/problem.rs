//! What is wrong with SQL, where, and what to write instead; drawn as compilers draw it.
//!
//! Places are bytes of a file's text, so that an editor can underline them. Deliberately not here: finding out what is
//! wrong.

use amoskys_functions::fault::Fault;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

/// A file as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
}

/// A part of a file; an empty one is the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<SourceFile>,
    /// Bytes of the file's text.
    pub span: Range<usize>,
}

/// Whether something has to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// By its name, by which it can be allowed.
    Warning(&'static str),
}

/// One fault, or one warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `None`: of what was asked for, not of a file.
    pub place: Option<Place>,
    pub severity: Severity,
    pub message: String,
    pub help: Option<String>,
}

/// Everything that is wrong, in the order of files and places. Never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Place {
    /// Of the first letter: 1-based line and column, in characters; 0 and 0 of a file as a whole.
    pub fn start(&self) -> (usize, usize) {
        if self.is_whole_file() { (0, 0) } else { self.line_and_column(self.span.start) }
    }

    /// Behind the last letter.
    pub fn end(&self) -> (usize, usize) {
        if self.is_whole_file() { (0, 0) } else { self.line_and_column(self.span.end) }
    }

    fn is_whole_file(&self) -> bool {
        self.span.is_empty()
    }

    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = &self.file.text[..byte];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// `FILE:LINE:COLUMN`, or the file.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.path.display())?;
        match self.start() {
            (0, _) => Ok(()),
            (line, column) => write!(f, ":{line}:{column}"),
        }
    }
}

impl Problem {
    pub fn new(place: Option<Place>, fault: Fault) -> Self {
        Self { place, severity: Severity::Error, message: fault.message, help: fault.help }
    }

    pub fn warning(place: Option<Place>, name: &'static str, fault: Fault) -> Self {
        Self { severity: Severity::Warning(name), ..Self::new(place, fault) }
    }

    /// What orders problems: their place.
    pub fn order(&self) -> impl Ord + use<> {
        self.place.as_ref().map(|place| (place.file.path.clone(), place.span.start, place.span.end))
    }
}

/// On one line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl Problems {
    /// Each with its lines of SQL, the fault underlined; coloured for a terminal.
    pub fn drawn(&self, is_coloured: bool) -> String {
        let renderer = if is_coloured { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for (problem, others) in self.causes() {
            text.push_str(&draw(problem, &others, &renderer));
            text.push_str("\n\n");
        }
        text
    }

    /// How many there are.
    pub fn summary(&self) -> String {
        let causes = self.causes();
        let warnings = causes.iter().filter(|(first, _)| first.severity != Severity::Error).count();
        let words = |count: usize, noun: &str| match count {
            0 => None,
            1 => Some(format!("1 {noun}")),
            count => Some(format!("{count} {noun}s")),
        };
        let all = [words(causes.len() - warnings, "error"), words(warnings, "warning")];
        format!("{} in the SQL", all.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }

    /// One cause may be in the way of many statements (a model that is not there): it is told once, with the other
    /// places.
    fn causes(&self) -> Vec<(&Problem, Vec<String>)> {
        let mut causes: Vec<(&Problem, Vec<String>)> = Vec::new();
        for problem in &self.0 {
            match causes
                .iter_mut()
                .find(|(first, _)| first.message == problem.message && first.severity == problem.severity)
            {
                Some((_, others)) => others.extend(problem.place.as_ref().map(Place::to_string)),
                None => causes.push((problem, Vec::new())),
            }
        }
        causes
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.drawn(false), self.summary())
    }
}

fn draw(problem: &Problem, others: &[String], renderer: &Renderer) -> String {
    let path = problem.place.as_ref().map(|place| place.file.path.display().to_string()).unwrap_or_default();
    let message = match problem.place.as_ref().filter(|place| place.is_whole_file()) {
        Some(_) => format!("{path} {}", problem.message),
        None => problem.message.clone(),
    };
    let title = match problem.severity {
        Severity::Error => Level::ERROR.primary_title(&message),
        Severity::Warning(name) => Level::WARNING.primary_title(&message).id(name),
    };
    let mut group = match problem.place.as_ref().filter(|place| !place.is_whole_file()) {
        Some(place) => {
            let mark = AnnotationKind::Primary.span(place.span.clone());
            title.element(Snippet::source(place.file.text.as_str()).path(path.as_str()).annotation(mark))
        }
        None => Group::with_title(title),
    };
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help));
    }
    let note = format!("the same at {}", others.join(", "));
    if !others.is_empty() {
        group = group.element(Level::NOTE.message(&note));
    }
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "SELECT é,\n\tcom\nFROM t";

    fn problem(name: &str, words: &str, message: &str) -> Problem {
        let file = Arc::new(SourceFile { path: name.into(), text: SQL.into() });
        let start = SQL.find(words).expect("the words");
        let place = Place { file, span: start..start + words.len() };
        Problem::new(Some(place), Fault::new(message).help("write `comm`"))
    }

    #[test]
    fn a_place_is_counted_in_letters_from_one() {
        let problem = problem("a.sql", "com", "no column");
        let place = problem.place.as_ref().expect("a place");
        assert_eq!((place.start(), place.end()), ((2, 2), (2, 5)));
        assert_eq!(problem.to_string(), "a.sql:2:2: no column; write `comm`");
        assert_eq!(Problem::new(None, Fault::new("no view")).to_string(), "no view");
    }

    #[test]
    fn a_fault_is_drawn_with_its_line_and_what_to_write_instead() {
        let drawn = Problems(vec![problem("a.sql", "com", "no column")]).to_string();
        let expected = "error: no column
 --> a.sql:2:2
  |
2 |     com
  |     ^^^
  |
  = help: write `comm`

1 error in the SQL";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn one_cause_is_told_once_with_all_its_places() {
        let problems = [
            problem("a.sql", "com", "no model"),
            problem("b.sql", "t", "no table"),
            problem("c.sql", "com", "no model"),
        ];
        let drawn = Problems(problems.into()).to_string();
        assert!(drawn.contains("= note: the same at c.sql:2:2\n"), "{drawn}");
        assert!(drawn.ends_with("\n2 errors in the SQL"), "{drawn}");
    }

    #[test]
    fn of_a_file_as_a_whole_the_file_is_named() {
        let file = Arc::new(SourceFile { path: "a.sql".into(), text: String::new() });
        let problem = Problem::new(Some(Place { file, span: 0..0 }), Fault::new("cannot be read"));
        assert_eq!(problem.to_string(), "a.sql: cannot be read");
        assert!(Problems(vec![problem]).to_string().starts_with("error: a.sql cannot be read\n"));
    }
}
