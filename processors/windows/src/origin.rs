//! Which records of a partition something was computed from. Plain data.

use crate::Watermark;

/// From where a partition has to be read again to rebuild a pane, and the watermark's state there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayPoint {
    pub offset: i64,
    pub watermark: Watermark,
}

/// The records that a row comes from: one record of a stream, or all those of the window that it sums up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub first: ReplayPoint,
    pub last_offset: i64,
    /// Rows that were left out because a bound was reached, in all panes together.
    pub shed_rows: u64,
}

impl From<ReplayPoint> for Origin {
    fn from(record: ReplayPoint) -> Self {
        Self { first: record, last_offset: record.offset, shed_rows: 0 }
    }
}

impl Origin {
    /// The records of both.
    pub fn and(self, other: Self) -> Self {
        let first = if other.first.offset < self.first.offset { other.first } else { self.first };
        let shed_rows = self.shed_rows.saturating_add(other.shed_rows);
        Self { first, last_offset: self.last_offset.max(other.last_offset), shed_rows }
    }
}
