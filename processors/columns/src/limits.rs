//! Bounds on what one record may cost.

/// Refused beyond these; the record goes to the dead letters and the next one is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of a record.
    pub record_bytes_max: usize,
    /// Events in a batch message.
    pub rows_per_record_max: usize,
    /// Elements of all repeated fields and maps in a record, together.
    pub elements_per_record_max: usize,
    /// Nesting of unknown groups.
    pub group_depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 16 << 20,
            rows_per_record_max: 1 << 16,
            elements_per_record_max: 1 << 20,
            group_depth_max: 100,
        }
    }
}
