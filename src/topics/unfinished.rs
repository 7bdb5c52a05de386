//! Output files: unfinished beside their place, never over another file unless that was asked for.

use crate::cli::Misuse;
use std::{fs::Permissions, io, os::unix::fs::PermissionsExt, path::Path};
use tempfile::NamedTempFile;

pub fn refuse_to_overwrite(output: &Path, force: bool) -> Result<(), Misuse> {
    if !force && output.symlink_metadata().is_ok() {
        return Err(Misuse(format!("{} exists; give another --output, or --force", output.display())));
    }
    Ok(())
}

/// In the same folder, so that it can be renamed; with the mode that a new file has. Gone when dropped.
pub fn unfinished_beside(output: &Path) -> Result<NamedTempFile, Misuse> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".amoskys-unfinished-").permissions(Permissions::from_mode(0o666));
    // The error's own text names the file that nobody asked for.
    let problem = |error: io::Error| {
        let cause = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
        Misuse(format!("{} cannot be written: {cause}", output.display()))
    };
    builder.tempfile_in(folder).map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_file_that_was_asked_for() {
        let error = unfinished_beside(Path::new("/nowhere/rows.parquet")).expect_err("no folder").to_string();
        assert!(error.starts_with("/nowhere/rows.parquet cannot be written: "), "{error}");
        assert!(!error.contains("unfinished"), "{error}");
    }

    #[test]
    fn what_is_there_stays_unless_it_is_forced() {
        let file = NamedTempFile::new().expect("a file");
        assert!(refuse_to_overwrite(file.path(), false).expect_err("there").to_string().contains("--force"));
        refuse_to_overwrite(file.path(), true).expect("forced");
        refuse_to_overwrite(Path::new("/nowhere/x"), false).expect("free");
    }
}
