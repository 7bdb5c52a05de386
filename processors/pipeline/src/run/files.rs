//! A look now and then at the files that rows are joined with, for whoever runs a dataflow.
//!
//! Deliberately not here: how a file is read. Limits: a change shows within [`LOOK_EVERY`] and the next rows.

use crate::sql::Dataflow;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When it was looked last.
pub struct FileWatch {
    last_look: Instant,
}

/// What came of a look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilesRead {
    pub read_again: u64,
    /// Changed files that do not read: what they said before is kept.
    pub failed: u64,
}

impl FileWatch {
    /// For a dataflow whose files were read just now.
    pub fn new() -> Self {
        Self { last_look: Instant::now() }
    }

    /// Reads files again that have changed, when it is time to look.
    pub fn look(&mut self, dataflow: &Dataflow) -> FilesRead {
        let mut found = FilesRead::default();
        if self.last_look.elapsed() < LOOK_EVERY {
            return found;
        }
        for table in dataflow.statics() {
            match table.refresh() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(table = table.name, "file changed; read again");
                    found.read_again += 1;
                }
                Err(error) => {
                    tracing::warn!(table = table.name, %error, "file changed and does not read; what it said before is kept");
                    found.failed += 1;
                }
            }
        }
        self.last_look = Instant::now();
        found
    }
}
