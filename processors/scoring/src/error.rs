//! What can be wrong with a runtime, a model or a query's use of it. Every message names the file or the model and says
//! what to do.
//!
//! Nothing here is worth retrying: models and the runtime are local files.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ScoringError {
    #[error("cannot load ONNX Runtime from {path}: {detail}; `make setup` installs it, AMOSKYS_ONNXRUNTIME names another libonnxruntime.so", path = path.display())]
    Runtime { path: PathBuf, detail: String },
    /// ONNX Runtime has one environment per process, also after it was dropped.
    #[error("ONNX Runtime was already loaded in this process; load it once and pass clones of it on")]
    RuntimeLoadedTwice,
    #[error("cannot read {path}: {source}; {hint}", path = path.display())]
    Read { path: PathBuf, source: io::Error, hint: &'static str },
    #[error("{path} has {n} problem{s}:{list}", path = path.display(), n = problems.len(), s = plural(problems.len()), list = Lines(problems))]
    Manifest { path: PathBuf, problems: Vec<Problem> },
    #[error("{path} is not a model version: {detail}", path = path.display())]
    Folder { path: PathBuf, detail: String },
    #[error("{path} was altered: its sha256 is {found}, model.toml says {expected}; restore the file or export the model again with `make model`", path = path.display())]
    Altered { path: PathBuf, expected: String, found: String },
    /// The ONNX file cannot be used, or is not what model.toml says it is.
    #[error("{path} cannot be used: {detail}; export the model again with `make model`", path = path.display())]
    Unusable { path: PathBuf, detail: String },
    #[error("{n} models cannot be used:{list}", n = errors.len(), list = Lines(errors))]
    Models { errors: Vec<ScoringError> },
    #[error("no model is named `{name}`{}; {}", did_you_mean(nearest), known_models(known, folder))]
    UnknownModel { name: String, nearest: Option<String>, known: Vec<String>, folder: PathBuf },
    #[error("model `{model}` version {version} does not fit the query:{list}", list = Lines(problems))]
    Arguments { model: String, version: String, problems: Vec<String> },
    #[error("model `{model}` version {version} failed: {detail}")]
    Run { model: String, version: String, detail: String },
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A file, a setting or a query: will fail again until somebody changes it.
    User,
    /// This program.
    Ours,
}

impl ScoringError {
    pub fn fault(&self) -> Fault {
        match self {
            ScoringError::RuntimeLoadedTwice | ScoringError::Run { .. } => Fault::Ours,
            _ => Fault::User,
        }
    }
}

/// One wrong key of a model.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1; where the surrounding table starts if the key is missing.
    pub line: usize,
    /// Dotted, e.g. `output.kind`; empty if the file is not TOML at all.
    pub key: String,
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.detail),
            key => write!(f, "line {}: {key}: {}", self.line, self.detail),
        }
    }
}

/// Prints each value on an indented line of its own.
struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The candidate most like `name`, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKENESS_MIN: f64 = 0.75;
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

pub(crate) fn did_you_mean(nearest: &Option<impl fmt::Display>) -> String {
    nearest.as_ref().map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

fn known_models(known: &[String], folder: &std::path::Path) -> String {
    match known {
        [] => format!("{} holds no models; `make model` trains one", folder.display()),
        names => format!("{} holds: {}", folder.display(), names.join(", ")),
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
