//! A pane as it can be kept elsewhere and put back: everything in it as arrays, without the numbers that keys have here.
//!
//! Deliberately not here: how it is written down, and when.

use crate::{Origin, aggregates::Aggregates, keys::Keys, native::Sealed, segment::Summary};
use arrow::{
    array::{ArrayRef, UInt32Array},
    compute::take,
};
use datafusion::error::Result;
use std::sync::Arc;

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
    pub(crate) fn of(pane: i64, summary: &Summary, aggregates: &Aggregates, keys: &mut Keys) -> Result<Self> {
        let Summary { ids, native, states, origin, cost_bytes } = summary;
        let rows = ids.len();
        let keys = if rows == 0 { Vec::new() } else { keys.values(ids)? };
        let mut others = states.iter();
        let states = aggregates.layout.places.iter().map(|place| match place {
            Some(_) if rows == 0 => Ok(Vec::new()),
            Some(place) => native.arrays(&aggregates.layout, place),
            None => Ok(others.next().cloned().unwrap_or_default()),
        });
        Ok(Self { pane, rows, keys, states: states.collect::<Result<_>>()?, origin: *origin, cost_bytes: *cost_bytes })
    }

    /// With some of its keys, by their place; the others are told as shed.
    pub(crate) fn pick(&self, kept: &[u32]) -> Result<Self> {
        let indices = UInt32Array::from(kept.to_vec());
        let pick = |arrays: &[ArrayRef]| -> Result<Vec<ArrayRef>> {
            if kept.is_empty() {
                return Ok(Vec::new());
            }
            arrays.iter().map(|array| Ok(take(array, &indices, None)?)).collect()
        };
        let shed_rows = self.origin.shed_rows.saturating_add((self.rows - kept.len()) as u64);
        Ok(Self {
            pane: self.pane,
            rows: kept.len(),
            keys: pick(&self.keys)?,
            states: self.states.iter().map(|states| pick(states)).collect::<Result<_>>()?,
            origin: Origin { shed_rows, ..self.origin },
            cost_bytes: self.cost_bytes / self.rows.max(1) * kept.len(),
        })
    }

    pub(crate) fn summary(&self, aggregates: &Aggregates, keys: &mut Keys) -> Result<Summary> {
        let ids = if self.rows == 0 { &[] } else { keys.intern(&self.keys, self.rows)? };
        let ids = ids.to_vec();
        let native = match self.rows {
            0 => Sealed::nothing(&aggregates.layout),
            rows => Sealed::of_arrays(&aggregates.layout, &self.states, rows)?,
        };
        let states = aggregates.others.iter().map(|&index| self.states[index].clone()).collect();
        Ok(Summary { ids, native: Arc::new(native), states, origin: self.origin, cost_bytes: self.cost_bytes })
    }
}
