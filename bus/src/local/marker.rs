//! What tells a folder that holds an embedded log from any other, so that none is made into one by a slip of the finger.
//!
//! A new log begins with its marker, before anything else is in the folder. Not here: locks, versions of the format.

use crate::BusError;
use std::{fs, io, path::Path};

const MARKER: &str = "AMOSKYS-LOG";
const TEXT: &str = "This folder is a log of amoskys (--bus local:FOLDER). All files in it belong together.\n";
/// Logs that were made before there was a marker.
const UNMARKED: [&str; 2] = ["LOCK", "db"];
/// On the root of a file system of its own.
const NOBODYS: &str = "lost+found";
/// Names told of what is in the way.
const TOLD_MAX: usize = 3;

/// Whether the folder holds an embedded log. Creates and changes nothing.
pub fn is_log(folder: &Path) -> bool {
    folder.join(MARKER).is_file() || UNMARKED.iter().all(|name| folder.join(name).exists())
}

/// Makes sure that the folder is a log's: that it has been one, or is new or empty and is marked now.
pub(super) fn claim(folder: &Path) -> Result<(), BusError> {
    let wrong = |detail: String| BusError::Misconfigured { detail };
    let failed = |error: io::Error| wrong(format!("the log's folder {} cannot be used: {error}", folder.display()));
    if is_log(folder) {
        return Ok(());
    }
    fs::create_dir_all(folder)
        .map_err(|error| wrong(format!("the log's folder {} cannot be created: {error}", folder.display())))?;
    let mut others: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        others.extend((name != NOBODYS && name != MARKER).then_some(name));
    }
    if others.is_empty() {
        return fs::write(folder.join(MARKER), TEXT).map_err(failed);
    }
    others.sort();
    let more = if others.len() > TOLD_MAX { ", …" } else { "" };
    others.truncate(TOLD_MAX);
    let (folder, others) = (folder.display(), others.join(", "));
    Err(wrong(format!("{folder} is no local log, and not empty (it holds {others}{more}); name a folder of its own")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_and_empty_folders_become_logs_and_stay_it() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join(NOBODYS)).expect("made");
        for path in [folder.path().to_owned(), folder.path().join("new/log")] {
            assert!(!is_log(&path));
            claim(&path).expect("it is free");
            assert!(is_log(&path));
            fs::write(path.join("more"), "").expect("written");
            claim(&path).expect("it is a log");
        }
    }

    #[test]
    fn a_folder_of_something_else_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["d", "b", "a", "c"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        let error = claim(folder.path()).expect_err("not ours").to_string();
        assert!(error.contains("is no local log") && error.contains("(it holds a, b, c, …)"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 4);
    }

    #[test]
    fn a_log_without_a_marker_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("LOCK"), "").expect("written");
        assert!(!is_log(folder.path()), "a lock alone is anybody's");
        fs::create_dir(folder.path().join("db")).expect("made");
        assert!(is_log(folder.path()));
    }
}
