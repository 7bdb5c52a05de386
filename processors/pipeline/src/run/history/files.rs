//! Which files a pattern stands for, and what their names say: the format by the ending, columns by `name=value` folders.
//!
//! A pattern is a file, a folder (all of its files, at any depth) or a glob. Files come in the order of their paths.
//! Hidden files and those that begin with `_` are left out of folders, as other engines do with their own notes.
//! Deliberately not here: opening them.

use super::HistoryError;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFormat {
    Parquet,
    /// Files and streams of Arrow IPC alike.
    Arrow,
    JsonLines,
    /// With a line of names.
    Csv,
}

const ENDINGS: [(&str, FileFormat); 9] = [
    ("parquet", FileFormat::Parquet),
    ("arrow", FileFormat::Arrow),
    ("arrows", FileFormat::Arrow),
    ("feather", FileFormat::Arrow),
    ("ipc", FileFormat::Arrow),
    ("jsonl", FileFormat::JsonLines),
    ("ndjson", FileFormat::JsonLines),
    ("json", FileFormat::JsonLines),
    ("csv", FileFormat::Csv),
];

/// One file to read.
#[derive(Debug, Clone)]
pub(super) struct HistoryFile {
    pub path: PathBuf,
    pub format: FileFormat,
    /// Columns that the folders above it give, e.g. `_partition=3`.
    pub constants: Vec<(String, String)>,
    pub bytes: u64,
}

impl HistoryFile {
    /// What a folder above it says of a column.
    pub fn constant(&self, name: &str) -> Option<&str> {
        self.constants.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn refuse(&self, detail: impl Into<String>) -> HistoryError {
        HistoryError::File { path: self.path.clone(), detail: detail.into() }
    }

    fn new(path: PathBuf) -> Result<Self, HistoryError> {
        let refuse = |detail: String| HistoryError::File { path: path.clone(), detail };
        let there = path.metadata().map_err(|error| refuse(format!("cannot be opened: {error}")))?;
        let format = format_of(&path).ok_or_else(|| {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            match COMPRESSED.contains(&ending) {
                true => refuse("is compressed: unpack it first (Parquet is compressed inside)".to_owned()),
                false => refuse(format!("what it is shows in the ending of its name, one of {}", endings())),
            }
        })?;
        Ok(Self { format, constants: constants(&path), bytes: there.len(), path })
    }
}

/// Endings of what holds a file of any kind.
const COMPRESSED: [&str; 5] = ["gz", "zst", "xz", "bz2", "zip"];

fn endings() -> String {
    ENDINGS.map(|(ending, _)| format!(".{ending}")).join(", ")
}

fn format_of(path: &Path) -> Option<FileFormat> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, format)| *format)
}

/// What the folders on the way say, the first of equal names.
fn constants(path: &Path) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for part in path.parent().into_iter().flat_map(Path::components) {
        if let Some((name, value)) = part.as_os_str().to_str().and_then(|part| part.split_once('='))
            && !found.iter().any(|(known, _)| known == name)
        {
            found.push((name.to_owned(), value.to_owned()));
        }
    }
    found
}

/// The files of all patterns, each pattern's by path. One that stands for no file is an error.
pub(super) fn find(patterns: &[PathBuf]) -> Result<Vec<HistoryFile>, HistoryError> {
    let mut files = Vec::new();
    for pattern in patterns {
        for path in paths(pattern)? {
            files.push(HistoryFile::new(path)?);
        }
    }
    Ok(files)
}

fn paths(pattern: &Path) -> Result<Vec<PathBuf>, HistoryError> {
    let refuse = |detail: String| HistoryError::File { path: pattern.to_owned(), detail };
    let mut found = Vec::new();
    // A file may have brackets in its name.
    if pattern.is_dir() {
        below(pattern, &mut found).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    } else if pattern.exists() || !pattern.to_string_lossy().contains(['*', '?', '[']) {
        return Ok(vec![pattern.to_owned()]);
    } else {
        let matched = glob::glob(&pattern.to_string_lossy()).map_err(|error| refuse(format!("is no glob: {error}")))?;
        for path in matched {
            let path = path.map_err(|error| refuse(format!("cannot be read: {error}")))?;
            if path.is_dir() {
                below(&path, &mut found).map_err(|error| refuse(format!("cannot be read: {error}")))?;
            } else {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        return Err(refuse(format!("stands for no file whose name ends in {}", endings())));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Files of a folder at any depth that have a known ending.
fn below(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // `_partition=3` is a folder of ours.
        if name.starts_with('.') || (name.starts_with('_') && !name.contains('=')) {
            continue;
        }
        if path.is_dir() {
            below(&path, found)?;
        } else if format_of(&path).is_some() {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, pattern: &str) -> Vec<String> {
        let files = find(&[folder.join(pattern)]).expect("files");
        let name = |file: &HistoryFile| file.path.strip_prefix(folder).expect("below").display().to_string();
        files.iter().map(name).collect()
    }

    #[test]
    fn files_folders_and_globs_stand_for_files_in_the_order_of_their_paths() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.csv", "a.parquet", "day=2/x.JSON", "day=1/_partition=3/y.arrow", "day=1/_notes.csv", "c.txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let below = ["a.parquet", "b.csv", "day=1/_partition=3/y.arrow", "day=2/x.JSON"];
        assert_eq!(names(folder.path(), ""), below);
        assert_eq!(names(folder.path(), "*.[pc]*v"), ["b.csv"]);
        assert_eq!(names(folder.path(), "day=*"), below[2..]);
        assert_eq!(names(folder.path(), "b.csv"), ["b.csv"]);
        let file = &find(&[folder.path().join("day=1")]).expect("a file")[0];
        let constants = file.constants.iter().map(|(name, value)| format!("{name} is {value}"));
        assert_eq!(constants.collect::<Vec<_>>(), ["day is 1", "_partition is 3"]);
        assert_eq!(file.format, FileFormat::Arrow);
    }

    #[test]
    fn what_is_no_file_of_rows_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("c.txt"), "").expect("written");
        for (pattern, told) in [
            ("c.txt", "c.txt: what it is shows in the ending of its name, one of .parquet, .arrow,"),
            ("", "stands for no file whose name ends in .parquet"),
            ("*.csv", "*.csv: stands for no file"),
            ("none.csv", "none.csv: cannot be opened: No such file"),
            ("[", "[: is no glob"),
        ] {
            let error = find(&[folder.path().join(pattern)]).expect_err(pattern).to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
