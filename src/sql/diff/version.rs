//! A version of the SQL: what a path holds, or what a revision of git had.
//!
//! Limits: files that the SQL names (CSV, Parquet) and models are those of the working tree.

use crate::cli::Misuse;
use amoskys_pipeline::sql::{self, Sources};
use anyhow::{Result, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub struct Version {
    /// As it was given.
    pub name: String,
    pub sources: Sources,
}

impl Version {
    /// `other`: what the comparison is with, whose path a revision without one has.
    pub fn of(text: &str, other: &str) -> Result<Self> {
        let name = text.to_owned();
        if Path::new(text).exists() {
            return Ok(Self { name, sources: sql::load(&[PathBuf::from(text)]) });
        }
        let (revision, path) = match text.split_once(':') {
            Some((revision, path)) if !revision.is_empty() && !path.is_empty() => (revision, path),
            _ if Path::new(other).exists() => (text, other),
            _ => (text, other.split_once(':').map_or("", |(_, path)| path)),
        };
        if path.is_empty() {
            bail!(Misuse(format!("{text} is no file or folder; a revision of git needs a path: {text}:sql")));
        }
        Ok(Self { sources: at_revision(text, revision, path)?, name })
    }
}

fn at_revision(text: &str, revision: &str, path: &str) -> Result<Sources> {
    // What looks like an option is none of a revision's names.
    if revision.starts_with('-') {
        bail!(Misuse(format!("`{text}` is no file, no folder and no revision of git")));
    }
    let refuse =
        |detail: &str| Misuse(format!("`{text}` is no file or folder, and not known to git: {}", detail.trim()));
    let files = git(&["ls-tree", "-r", "--name-only", "-z", revision, "--", path]).map_err(|error| refuse(&error))?;
    let mut sources = Sources::default();
    let mut count = 0;
    for file in files.split('\0').filter(|file| sql::is_sql(Path::new(file))) {
        let content = git(&["show", &format!("{revision}:./{file}")]).map_err(|error| refuse(&error))?;
        sources.add(Path::new(&format!("{revision}:{file}")), content);
        count += 1;
    }
    if count == 0 {
        bail!(Misuse(format!("revision {revision} has no .sql file in {path}")));
    }
    Ok(sources)
}

/// What git prints, or what it says is wrong.
fn git(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").args(arguments).output().map_err(|error| format!("git does not run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned());
    }
    String::from_utf8(output.stdout).map_err(|_| "what git has there is not text".to_owned())
}
