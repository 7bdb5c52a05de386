//! How far a run is, for whoever shows it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How far a run is; clones tell of the same.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<ProgressCounts>);

#[derive(Debug, Default)]
struct ProgressCounts {
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    rows: AtomicU64,
}

impl Progress {
    /// Of the files: how much is read, as far as is known while it goes on.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed).min(self.bytes_total())
    }

    /// Of all files; zero until they have been found.
    pub fn bytes_total(&self) -> u64 {
        self.0.bytes_total.load(Ordering::Relaxed)
    }

    pub(super) fn set_total(&self, bytes: u64) {
        self.0.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// Rows that have gone into windows and filters.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Ordering::Relaxed)
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_rows(&self, rows: usize) {
        self.0.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
}
