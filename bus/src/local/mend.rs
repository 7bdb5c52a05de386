//! Opening a journal whose last batch is damaged: a bit that turned, or what a loss of power left of a write that nobody
//! was told of. fjall itself cuts off a batch that is not whole, and refuses one whose checksum is wrong.
//!
//! Only the last batch is ever cut off, all of it. Damage before it is refused as it was, with the file as it was: what
//! comes after it may be good, and whether to do without is for a person to say.

use fjall::Error;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

const READ_BYTES: usize = 1 << 20;

/// What became of a journal's last batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastBatch {
    /// It is whole, or there is none.
    Whole,
    /// It was not written to its end, as when the process was killed in it or the machine lost its power: cut off.
    Torn,
    /// It was written, and is not what was written any more: cut off.
    Damaged,
}

/// Opens what is in `folder`, without its last batch where that is torn or damaged.
pub fn open_mended<T>(folder: &Path, open: impl Fn() -> fjall::Result<T>) -> fjall::Result<(T, LastBatch)> {
    let before = if folder.is_dir() { End::find(folder)? } else { None };
    let error = match open() {
        Ok(opened) => {
            let is_torn = before.is_some_and(|before| End::of(&before.path).is_ok_and(|after| after < Some(before.at)));
            if is_torn {
                let journal = folder.display();
                tracing::warn!(%journal, "the last batch of the journal was not written to its end and is cut off");
            }
            return Ok((opened, if is_torn { LastBatch::Torn } else { LastBatch::Whole }));
        }
        Err(error) => error,
    };
    if !matches!(error, Error::JournalRecovery(_)) {
        return Err(error);
    }
    let Some(end) = End::find(folder)? else { return Err(error) };
    end.cut()?;
    match open() {
        Ok(opened) => {
            let journal = end.path.display();
            tracing::error!(%error, %journal, "the last batch of the journal was damaged and is cut off; what it held is lost");
            Ok((opened, LastBatch::Damaged))
        }
        Err(_) => {
            end.restore()?;
            Err(error)
        }
    }
}

/// Where the data of the newest journal ends; zeros follow.
struct End {
    path: PathBuf,
    file_bytes: u64,
    /// Of the last byte.
    at: u64,
    last: u8,
}

impl End {
    fn find(folder: &Path) -> io::Result<Option<Self>> {
        let mut newest = None;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
            newest = newest.max(number.map(|number| (number, path)));
        }
        let Some((_, path)) = newest else { return Ok(None) };
        let file_bytes = fs::metadata(&path)?.len();
        let Some(at) = Self::of(&path)? else { return Ok(None) };
        let mut last = [0];
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut last)?;
        Ok(Some(Self { path, file_bytes, at, last: last[0] }))
    }

    /// Where the last byte of a journal is.
    fn of(path: &Path) -> io::Result<Option<u64>> {
        let mut file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let mut buffer = Vec::new();
        let mut end = file_bytes;
        while end > 0 {
            let begin = end.saturating_sub(READ_BYTES as u64);
            file.seek(SeekFrom::Start(begin))?;
            buffer.resize((end - begin) as usize, 0);
            file.read_exact(&mut buffer)?;
            if let Some(index) = buffer.iter().rposition(|byte| *byte != 0) {
                return Ok(Some(begin + index as u64));
            }
            end = begin;
        }
        Ok(None)
    }

    /// The last batch is not whole without its last byte, and goes.
    fn cut(&self) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.path)?.set_len(self.at)
    }

    fn restore(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(self.file_bytes)?;
        file.seek(SeekFrom::Start(self.at))?;
        file.write_all(&[self.last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, Keyspace, KeyspaceCreateOptions};

    fn open(folder: &Path) -> fjall::Result<(Database, Keyspace)> {
        let database = Database::builder(folder).open()?;
        let keyspace = database.keyspace("k", KeyspaceCreateOptions::default)?;
        Ok((database, keyspace))
    }

    /// Three batches.
    fn written() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let (database, keyspace) = open(folder.path()).expect("opens");
        for key in ["a", "b", "c"] {
            let mut batch = database.batch();
            batch.insert(&keyspace, key, "value");
            batch.commit().expect("written");
        }
        folder
    }

    fn flip(folder: &Path, before_end: u64) -> Vec<u8> {
        let end = End::find(folder).expect("reads").expect("a journal");
        let mut bytes = fs::read(&end.path).expect("reads");
        bytes[(end.at - before_end) as usize] ^= 4;
        fs::write(&end.path, &bytes).expect("written");
        bytes
    }

    #[test]
    fn a_damaged_last_batch_is_cut_off_and_the_others_stay() {
        // In the trailer, the checksum, the value.
        for before_end in (0..16).step_by(3) {
            let folder = written();
            flip(folder.path(), before_end);
            let ((_database, keyspace), _) = open_mended(folder.path(), || open(folder.path())).expect("opens");
            let there = ["a", "b", "c"].map(|key| keyspace.contains_key(key).expect("reads"));
            assert_eq!(there, [true, true, false], "bit of byte {before_end} from the end");
        }
    }

    #[test]
    fn damage_before_the_last_batch_is_refused_and_the_file_left_as_it_was() {
        let folder = written();
        let path = End::find(folder.path()).expect("reads").expect("a journal").path;
        let length = End::find(folder.path()).expect("reads").expect("a journal").at + 1;
        // In the checksum of the one before the last: a batch of these is as long as the others.
        let bytes = fs::read(&path).expect("reads");
        let last = bytes[..length as usize].windows(5).rposition(|window| window == b"value").expect("is there");
        let one_before = bytes[..last].windows(5).rposition(|window| window == b"value").expect("is there");
        let damaged = flip(folder.path(), length - 1 - one_before as u64);
        let refused = open_mended(folder.path(), || open(folder.path()));
        assert!(matches!(refused, Err(Error::JournalRecovery(_))));
        assert!(fs::read(&path).expect("reads") == damaged);
    }

    #[test]
    fn what_is_whole_is_opened_as_it_is() {
        let folder = written();
        let (_, last) = open_mended(folder.path(), || open(folder.path())).expect("opens");
        assert_eq!(last, LastBatch::Whole);
    }

    #[test]
    fn a_batch_that_was_not_written_to_its_end_is_told_and_cut_off() {
        let folder = written();
        let end = End::find(folder.path()).expect("reads").expect("a journal");
        OpenOptions::new().write(true).open(&end.path).and_then(|file| file.set_len(end.at - 3)).expect("cut");
        let ((_database, keyspace), last) = open_mended(folder.path(), || open(folder.path())).expect("opens");
        let there = ["a", "b", "c"].map(|key| keyspace.contains_key(key).expect("reads"));
        assert_eq!((there, last), ([true, true, false], LastBatch::Torn));
    }
}
