//! Secrets in arguments → `***`, by patterns.
//!
//! A pattern is a regular expression over a command line as events show it: arguments joined by single spaces. What its
//! groups match is masked; other groups are written `(?:…)`. Two rules make up for what joining hides. What is masked
//! never reaches beyond the argument in which it begins. And it reaches to that argument's end, spaces and all, where the
//! argument is `--option=` and the secret, or where the pattern also matched an argument before it (an option, a program)
//! and the secret is in the first word of its own. Anything else of an argument stays to be seen: it may be a script.
//!
//! One pass of an automaton over all patterns decides whether there is anything to do; nearly always there is not.
//! Deliberately not here: which arguments there are, files, environments that nobody named. Limits: [`PATTERNS_MAX`]
//! patterns of [`PATTERN_BYTES_MAX`], each of at most [`COMPILED_BYTES_MAX`] compiled.

mod usual;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::{
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};
pub use usual::{USUAL, Usual};

pub const PATTERNS_MAX: usize = 64;
pub const PATTERN_BYTES_MAX: usize = 1_024;
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// What stands in the place of a secret.
pub const MASK: &str = "***";
/// The word for the usual patterns, in a list of them.
pub const USUAL_WORD: &str = "usual";

/// Why a list of patterns cannot be used; it is the configuration's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    #[error("holds `{pattern}`, which is no regular expression: {reason}")]
    NoPattern { pattern: String, reason: String },
    #[error("holds `{pattern}`, which has no group: what is to be masked stands in parentheses")]
    NoGroup { pattern: String },
    #[error("holds `{pattern}`, which also matches nothing at all")]
    MatchesNothing { pattern: String },
    #[error("has more than {PATTERNS_MAX} patterns, or one of more than {PATTERN_BYTES_MAX} bytes")]
    TooMuch,
    #[error("is too large when all of it is put together: {0}")]
    TooLarge(String),
}

/// Patterns, ready to be used. Clones share them.
#[derive(Clone)]
pub struct Masks(Arc<Compiled>);

struct Compiled {
    /// As they were given.
    words: Vec<String>,
    set: RegexSet,
    /// Compiled again when the set says that one matches: most never do, and each takes some 200 KiB.
    each: Vec<OnceLock<Option<Regex>>>,
}

impl Masks {
    /// Each a pattern, or [`USUAL_WORD`] for those of [`USUAL`]. None of them: nothing is masked.
    pub fn of(words: &[String]) -> Result<Self, MaskError> {
        let mut patterns: Vec<&str> = Vec::new();
        for word in words {
            match word.as_str() {
                USUAL_WORD => patterns.extend(USUAL.iter().map(|usual| usual.pattern)),
                pattern => patterns.push(pattern),
            }
        }
        if patterns.len() > PATTERNS_MAX || patterns.iter().any(|pattern| pattern.len() > PATTERN_BYTES_MAX) {
            return Err(MaskError::TooMuch);
        }
        patterns.iter().try_for_each(|pattern| compile(pattern).map(drop))?;
        let each = patterns.iter().map(|_| OnceLock::new()).collect();
        let set = RegexSetBuilder::new(&patterns).size_limit(COMPILED_BYTES_MAX * PATTERNS_MAX).build();
        let set = set.map_err(|error| MaskError::TooLarge(error.to_string()))?;
        Ok(Self(Arc::new(Compiled { words: words.to_vec(), set, each })))
    }

    /// The patterns of [`USUAL`].
    pub fn usual() -> Self {
        // A test holds that they compile; if they did not, nothing would be masked rather than nothing be seen.
        Self::of(&[USUAL_WORD.to_owned()]).unwrap_or_else(|_| Self::none())
    }

    pub fn none() -> Self {
        Self(Arc::new(Compiled { words: Vec::new(), set: RegexSet::empty(), each: Vec::new() }))
    }

    /// Masks in place. Whether there was anything to mask.
    pub fn arguments(&self, arguments: &mut [String]) -> bool {
        let line = arguments.join(" ");
        self.0.set.is_match(&line) && self.joined(&line, arguments)
    }

    /// Arguments that are each ended by a zero → joined by single spaces, masked; and whether anything was.
    pub fn line(&self, bytes: &[u8]) -> (String, bool) {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let bytes = &bytes[..end];
        let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
        let line = String::from_utf8_lossy(&spaced).into_owned();
        if !self.0.set.is_match(&line) {
            return (line, false);
        }
        let mut arguments: Vec<String> =
            bytes.split(|byte| *byte == 0).map(|one| String::from_utf8_lossy(one).into_owned()).collect();
        let masked = self.joined(&line, &mut arguments);
        (arguments.join(" "), masked)
    }

    fn pattern(&self, number: usize) -> Option<&Regex> {
        let text = &self.0.set.patterns()[number];
        self.0.each[number].get_or_init(|| compile(text).ok()).as_ref()
    }

    /// `line` is the arguments, joined by single spaces.
    fn joined(&self, line: &str, arguments: &mut [String]) -> bool {
        let matching = self.0.set.matches(line);
        let mut begin = 0;
        let places: Vec<Range<usize>> = arguments
            .iter()
            .map(|argument| {
                let place = begin..begin + argument.len();
                begin = place.end + 1;
                place
            })
            .collect();
        let mut secrets: Vec<Range<usize>> = Vec::new();
        for captures in matching.iter().filter_map(|n| self.pattern(n)).flat_map(|pattern| pattern.captures_iter(line))
        {
            let begin = captures.get(0).map_or(0, |whole| whole.start());
            secrets.extend(
                captures.iter().skip(1).flatten().filter_map(|group| whole(&places, line, begin, group.range())),
            );
        }
        secrets.sort_unstable_by_key(|secret| (secret.start, secret.end));
        secrets.dedup_by(|next, last| {
            let touches = next.start <= last.end;
            last.end = if touches { last.end.max(next.end) } else { last.end };
            touches
        });
        for (place, argument) in places.iter().zip(arguments.iter_mut()).rev() {
            let here = secrets.iter().rev().filter(|secret| place.contains(&secret.start));
            here.for_each(|secret| argument.replace_range(secret.start - place.start..secret.end - place.start, MASK));
        }
        !secrets.is_empty()
    }
}

impl Default for Masks {
    fn default() -> Self {
        Self::usual()
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Masks").field(&self.0.words).finish()
    }
}

/// By the text of the patterns.
impl PartialEq for Masks {
    fn eq(&self, other: &Self) -> bool {
        self.0.set.patterns() == other.0.set.patterns()
    }
}

impl Eq for Masks {}

fn compile(pattern: &str) -> Result<Regex, MaskError> {
    let named = || pattern.to_owned();
    let regex = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
    // The library draws the fault below the pattern; the last line says what it is.
    let reason = |error: regex::Error| error.to_string().lines().last().unwrap_or_default().trim().to_owned();
    let regex = regex.map_err(|error| MaskError::NoPattern { pattern: named(), reason: reason(error) })?;
    match regex.captures_len() {
        1 => Err(MaskError::NoGroup { pattern: named() }),
        _ if regex.is_match("") => Err(MaskError::MatchesNothing { pattern: named() }),
        _ => Ok(regex),
    }
}

/// What is masked for a group of a match that begins at `begin`, within the argument in which the group begins.
fn whole(places: &[Range<usize>], line: &str, begin: usize, group: Range<usize>) -> Option<Range<usize>> {
    let place = &places[places.partition_point(|place| place.end < group.start)..];
    let place = place.first().filter(|place| place.start <= group.start && !group.is_empty())?;
    let before = &line[place.start..group.start];
    let is_of_earlier = begin + 1 < place.start && !before.contains(char::is_whitespace);
    let is_behind_option = before
        .strip_prefix("--")
        .and_then(|name| name.strip_suffix('='))
        .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
    let end = if is_of_earlier || is_behind_option { place.end } else { group.end.min(place.end) };
    Some(group.start..end)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
