//! A pane as it can be kept elsewhere and put back: everything in it as arrays, without the numbers that keys have here.
//!
//! Deliberately not here: how it is written down, and when.

use crate::{Origin, keys::Keys, segment::Summary};
use arrow::array::ArrayRef;
use datafusion::error::Result;

/// A sealed pane. Its rows are its keys, in the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub struct PaneState {
    /// Its number in the grid of its windows.
    pub pane: i64,
    /// Number of keys; 0 for a pane that only notes where something may come from.
    pub rows: usize,
    /// In the order of the keys' schema.
    pub keys: Vec<ArrayRef>,
    /// The state arrays of each aggregate; none when there are no rows.
    pub states: Vec<Vec<ArrayRef>>,
    pub origin: Origin,
    /// What its rows cost, by the rule of [`crate::PaneBounds`].
    pub cost_bytes: usize,
}

impl PaneState {
    pub(crate) fn of(pane: i64, summary: &Summary, keys: &mut Keys) -> Result<Self> {
        let Summary { ids, states, origin, cost_bytes } = summary;
        let keys = if ids.is_empty() { Vec::new() } else { keys.values(ids)? };
        Ok(Self { pane, rows: ids.len(), keys, states: states.clone(), origin: *origin, cost_bytes: *cost_bytes })
    }

    pub(crate) fn summary(&self, keys: &mut Keys) -> Result<Summary> {
        let ids = if self.rows == 0 { &[] } else { keys.intern(&self.keys, self.rows)? };
        let ids = ids.iter().map(|&id| id as u32).collect();
        Ok(Summary { ids, states: self.states.clone(), origin: self.origin, cost_bytes: self.cost_bytes })
    }
}
