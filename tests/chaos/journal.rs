//! Damage to the newest journal of an embedded log or a write-ahead log, as a crash in the middle of a write leaves it.
//!
//! The journal is a file of batches, with zeros after the last one. Not here: older journals and tables, which are
//! written once and not while a process is killed.

use rand::{Rng, rngs::StdRng};
use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A batch of which only the first bytes were written.
    HalfBatch,
    /// The last bytes are missing.
    Cut,
    /// A bit in the last bytes is another.
    Flip,
}

pub const DAMAGES: [Damage; 3] = [Damage::HalfBatch, Damage::Cut, Damage::Flip];

/// The journal and where its data ends.
pub fn end(folder: &Path) -> Option<(PathBuf, u64)> {
    let mut journals = Vec::new();
    find(folder, &mut journals);
    let number = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
    let newest = journals.into_iter().max_by_key(number)?;
    let bytes = fs::read(&newest).ok()?;
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Some((newest, length as u64))
}

fn find(folder: &Path, journals: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, journals);
        } else if path.extension().is_some_and(|extension| extension == "jnl") {
            journals.push(path);
        }
    }
}

/// Damages what was written after `from`, at most; false when nothing was.
pub fn damage(folder: &Path, from: Option<&(PathBuf, u64)>, how: Damage, random: &mut StdRng) -> bool {
    let Some((journal, end)) = end(folder) else { return false };
    let from = from.filter(|(path, _)| *path == journal).map_or(0, |(_, end)| *end);
    if end <= from {
        return false;
    }
    let mut file = OpenOptions::new().write(true).read(true).open(&journal).expect("opens");
    let within = (end - from).min(12);
    let at = end - random.random_range(1..=within);
    match how {
        Damage::HalfBatch => {
            let bytes = fs::read(&journal).expect("reads");
            // Every batch begins alike, so the beginning of the first one is that of another.
            let count = random.random_range(1..=bytes.len().min(20));
            file.seek(SeekFrom::Start(end)).expect("seeks");
            file.write_all(&bytes[..count]).expect("writes");
        }
        Damage::Cut => file.set_len(at).expect("cuts"),
        Damage::Flip => {
            let byte = fs::read(&journal).expect("reads")[at as usize] ^ (1 << random.random_range(0..8));
            file.seek(SeekFrom::Start(at)).expect("seeks");
            file.write_all(&[byte]).expect("writes");
        }
    }
    true
}
