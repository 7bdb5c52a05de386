//! Panes on their way from the partitions of a stream to those of its shuffle.
//!
//! Where a group lies in many partitions, each of them sums up its own rows, and a sealed pane is handed over as soon as a
//! window that holds it closes there; rows that come for it later are handed over by themselves when the next window that
//! holds it closes. The [`ShipTag`] says how far the partition had come, so whoever merges the panes of many partitions
//! takes each into just those windows that the partition itself would have, and merges in an order that no processor and no
//! batch decides.
//!
//! Deliberately not here: how a pane is split and written down, and how sources wait for each other.

use crate::PaneState;

/// How far a partition had come: everything with a tag up to this has been handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShipTag {
    /// Nanoseconds; the end of a window that closed, or a watermark.
    pub watermark_ns: i64,
    /// Handed over because all panes were sealed at that watermark, after the windows that end there.
    pub is_sealed: bool,
}

impl ShipTag {
    /// Before the first.
    pub const NONE: Self = Self { watermark_ns: i64::MIN, is_sealed: false };

    pub fn at(watermark_ns: i64) -> Self {
        Self { watermark_ns, is_sealed: false }
    }
}

/// What a partition says of a pane. It counts in every window of the pane that ends at or after the tag's watermark, and
/// in none that ends before.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipped {
    pub tag: ShipTag,
    pub state: PaneState,
}
