//! One of DataFusion's accumulators over the groups of a segment, for what has no native one ([`crate::native`]).
//!
//! What is not batch-invariant is fed in chunks of a fixed number of rows, so that batches do not show in its result;
//! what wants its rows sorted and does not sort is given all of them when the segment is sealed.

use crate::Aggregate;
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array},
    compute::{SortColumn, SortOptions, concat, lexsort_to_indices, take},
};
use datafusion::{
    error::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};
use std::sync::Arc;

/// Rows fed at once to an aggregate that is not batch-invariant; counted from the segment's first row.
const CHUNK_ROWS: usize = 1024;

/// An accumulator and the rows that wait for a full chunk.
pub struct Fold {
    accumulator: Box<dyn GroupsAccumulator>,
    waiting: Option<Waiting>,
}

#[derive(Default)]
struct Waiting {
    groups: Vec<usize>,
    /// Each argument column, in pieces.
    arguments: Vec<Vec<ArrayRef>>,
    /// The filter, in pieces; empty when there is none.
    filter: Vec<ArrayRef>,
    /// Not empty: all rows wait until the segment is sealed, and are sorted by the last arguments.
    order: Vec<SortOptions>,
}

impl Fold {
    pub fn new(aggregate: &Aggregate) -> Result<Self> {
        let waits = !aggregate.batch_invariant || !aggregate.order.is_empty();
        let waiting = waits.then(|| Waiting { order: aggregate.order.clone(), ..Waiting::default() });
        Ok(Self { accumulator: aggregate.accumulator()?, waiting })
    }

    /// Adds rows to their groups, of which there are `total`.
    pub fn add(
        &mut self,
        arguments: Vec<ArrayRef>,
        filter: Option<ArrayRef>,
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        let Some(waiting) = &mut self.waiting else {
            return self.accumulator.update_batch(&arguments, groups, as_filter(filter.as_ref()), total);
        };
        waiting.groups.extend_from_slice(groups);
        waiting.arguments.resize(arguments.len(), Vec::new());
        for (pieces, argument) in waiting.arguments.iter_mut().zip(arguments) {
            pieces.push(argument);
        }
        waiting.filter.extend(filter);
        let is_chunk = waiting.order.is_empty() && waiting.groups.len() >= CHUNK_ROWS;
        if is_chunk { self.feed(false, total) } else { Ok(()) }
    }

    /// The state arrays, after all rows; there is at least one group.
    pub fn state(mut self, total: usize) -> Result<Vec<ArrayRef>> {
        self.feed(true, total)?;
        self.accumulator.state(EmitTo::All)
    }

    pub fn bytes(&self) -> usize {
        self.accumulator.size()
    }

    /// Feeds the full chunks that wait; with `all` the rest as well.
    fn feed(&mut self, all: bool, total: usize) -> Result<()> {
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        let rows = waiting.groups.len();
        if rows == 0 {
            return Ok(());
        }
        let mut arguments: Vec<ArrayRef> =
            waiting.arguments.iter().map(|pieces| join(pieces)).collect::<Result<_>>()?;
        let filter = if waiting.filter.is_empty() { None } else { Some(join(&waiting.filter)?) };
        let filter = if waiting.order.is_empty() {
            filter
        } else {
            let indices = sorted(&arguments, &waiting.order)?;
            let pick = |array: &ArrayRef| take(array, &indices, None);
            arguments = arguments.iter().map(pick).collect::<Result<_, _>>()?;
            waiting.groups = indices.values().iter().map(|&row| waiting.groups[row as usize]).collect();
            filter.as_ref().map(pick).transpose()?
        };
        let mut from = 0;
        while from < rows && (all || rows - from >= CHUNK_ROWS) {
            let length = CHUNK_ROWS.min(rows - from);
            let chunk: Vec<ArrayRef> = arguments.iter().map(|argument| argument.slice(from, length)).collect();
            let filter = filter.as_ref().map(|filter| filter.slice(from, length));
            let groups = &waiting.groups[from..from + length];
            self.accumulator.update_batch(&chunk, groups, as_filter(filter.as_ref()), total)?;
            from += length;
        }
        waiting.groups.drain(..from);
        waiting.arguments = arguments.iter().map(|argument| vec![argument.slice(from, rows - from)]).collect();
        waiting.filter = filter.map(|filter| filter.slice(from, rows - from)).into_iter().collect();
        Ok(())
    }
}

/// Row numbers in the order of the last arguments; equal ones stay as they came.
fn sorted(arguments: &[ArrayRef], order: &[SortOptions]) -> Result<UInt32Array> {
    let by = &arguments[arguments.len() - order.len()..];
    let rows = by.first().map_or(0, |column| column.len());
    let came: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows as u32));
    let by =
        by.iter().zip(order).map(|(values, &options)| SortColumn { values: values.clone(), options: Some(options) });
    let columns: Vec<SortColumn> = by.chain([SortColumn { values: came, options: None }]).collect();
    Ok(lexsort_to_indices(&columns, None)?)
}

fn as_filter(filter: Option<&ArrayRef>) -> Option<&BooleanArray> {
    filter.map(|array| array.as_boolean())
}

fn join(pieces: &[ArrayRef]) -> Result<ArrayRef> {
    Ok(concat(&pieces.iter().map(|piece| piece.as_ref()).collect::<Vec<_>>())?)
}
