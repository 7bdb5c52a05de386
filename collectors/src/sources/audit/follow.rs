//! Follows a log file as it grows, is rotated and is cut off: whole lines come out, once each.
//!
//! A line without its end waits for it. A file that took the place of the one that is read is gone over to once something stands in it
//! and the old one is read to its end; where the old one is now `PATH.N`, the files between are read first. A file that is shorter than what was
//! read of it begins anew.
//! Deliberately not here: what lines mean; keeping the place over a restart: then reading begins at the end or at the beginning.
//! Limits: lines of [`LINE_BYTES_MAX`]; rotated files that were renamed in another way, compressed or removed before they were read are not found;
//! a file that was cut off and has grown beyond its old length between two looks is not noticed to have been.

use crate::config::LogStart;
use std::{
    ffi::OsString,
    fs::{File, Metadata},
    io::{Error, ErrorKind, Read, Result, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The kernel's records have at most 8,970; auoms' lines hold all records of an event.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Rotated files that are looked at; auditd keeps at most 999, and by default 5.
const ROTATED_MAX: usize = 99;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// Longer than [`LINE_BYTES_MAX`]; its beginning.
    TooLong(&'a [u8]),
}

/// The file, and how far it was read.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    position: u64,
    /// A line without its end.
    partial: Vec<u8>,
    skipping: Skipping,
    chunk: Vec<u8>,
}

/// Whether what comes before the next end of a line is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipping {
    No,
    /// The rest of a line that was begun before anybody read.
    Begun,
    /// The rest of one that is too long, which was told.
    TooLong,
}

impl Follower {
    /// # Errors
    /// There is no such file, it may not be read, or it is no file.
    pub fn open(path: &Path, start: LogStart) -> Result<Self> {
        let (file, metadata) = open(path)?;
        let mut follower = Self {
            path: path.to_owned(),
            file,
            identity: identity(&metadata),
            position: 0,
            partial: Vec::new(),
            skipping: Skipping::No,
            chunk: vec![0; CHUNK_BYTES],
        };
        if start == LogStart::End && metadata.len() > 0 {
            follower.position = follower.file.seek(SeekFrom::Start(metadata.len()))?;
            let mut last = [0];
            follower.file.read_exact_at(&mut last, metadata.len() - 1)?;
            follower.skipping = if last == *b"\n" { Skipping::No } else { Skipping::Begun };
        }
        Ok(follower)
    }

    /// Gives the lines that have come, of one chunk. How many bytes that were; 0: for now there is no more.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn read(&mut self, take: &mut impl FnMut(Line<'_>)) -> Result<usize> {
        let bytes = self.read_chunk(take)?;
        if bytes > 0 {
            return Ok(bytes);
        }
        match std::fs::metadata(&self.path) {
            // Between being renamed and made anew.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
            Ok(now) if identity(&now) == self.identity => {
                if now.len() < self.position {
                    self.end_line(take);
                    self.position = self.file.seek(SeekFrom::Start(0))?;
                    return self.read_chunk(take);
                }
                Ok(0)
            }
            // As long as nothing is in the new one, the old one may still be written to.
            Ok(now) if now.len() == 0 => Ok(0),
            Ok(_) => {
                // What was written to the old one since it was read.
                let bytes = self.read_chunk(take)?;
                if bytes > 0 {
                    return Ok(bytes);
                }
                self.end_line(take);
                if self.go_over()? { self.read_chunk(take) } else { Ok(0) }
            }
        }
    }

    fn read_chunk(&mut self, take: &mut impl FnMut(Line<'_>)) -> Result<usize> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let bytes = loop {
            match self.file.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        if let Ok(bytes) = bytes {
            self.position += bytes as u64;
            self.split(&chunk[..bytes], take);
        }
        self.chunk = chunk;
        bytes
    }

    fn split(&mut self, mut bytes: &[u8], take: &mut impl FnMut(Line<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            match self.skipping {
                Skipping::No if self.partial.is_empty() && line.len() <= LINE_BYTES_MAX => take(Line::Whole(line)),
                Skipping::No => {
                    self.keep(line, take);
                    self.end_line(take);
                }
                Skipping::Begun | Skipping::TooLong => {}
            }
            self.skipping = Skipping::No;
        }
        self.keep(bytes, take);
    }

    /// Adds to the line that waits for its end.
    fn keep(&mut self, bytes: &[u8], take: &mut impl FnMut(Line<'_>)) {
        if self.skipping != Skipping::No {
            return;
        }
        self.partial.extend(bytes);
        if self.partial.len() > LINE_BYTES_MAX {
            take(Line::TooLong(&self.partial));
            self.partial.clear();
            self.skipping = Skipping::TooLong;
        }
    }

    /// Gives what waits for an end that does not come any more.
    fn end_line(&mut self, take: &mut impl FnMut(Line<'_>)) {
        if !self.partial.is_empty() {
            take(Line::Whole(&self.partial));
            self.partial.clear();
        }
        self.skipping = Skipping::No;
    }

    /// To the file that was begun after this one. Whether it is known which: if files are renamed in this moment, at the next look.
    fn go_over(&mut self) -> Result<bool> {
        let number = self.rotated_as();
        let next = match number {
            Some(number) if number > 1 => rotated(&self.path, number - 1),
            _ => self.path.clone(),
        };
        let (file, metadata) = match open(&next) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let is_next = self.rotated_as() == number;
        if is_next {
            (self.file, self.identity, self.position) = (file, identity(&metadata), 0);
        }
        Ok(is_next)
    }

    /// The number behind the name that this file has now.
    fn rotated_as(&self) -> Option<usize> {
        let is_ours = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|now| identity(&now) == self.identity);
        (1..=ROTATED_MAX).find(|number| is_ours(&rotated(&self.path, *number)))
    }
}

fn rotated(path: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn open(path: &Path) -> Result<(File, Metadata)> {
    // Opening a pipe would wait.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
