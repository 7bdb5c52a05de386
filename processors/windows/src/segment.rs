//! The aggregate state of a pane, and of several merged.
//!
//! A pane is filled while it is open and sealed when a window that holds it closes: its state is then read, which
//! consumes the accumulators. Rows that come for a sealed pane (late for the closed window, in time for later ones)
//! begin a further segment. Where segments are cut depends on the rows alone, so floats are summed in the same order
//! whatever happens to the process.

use crate::{
    Aggregate, Origin, PaneBounds,
    bounds::Costs,
    keys::{ABSENT, KNOWN},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array},
    compute::{SortColumn, SortOptions, concat, filter, lexsort_to_indices, take},
};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{EmitTo, GroupsAccumulator},
};
use std::{collections::HashSet, sync::Arc};

/// Rows fed at once to an aggregate that is not batch-invariant; counted from the segment's first row.
const CHUNK_ROWS: usize = 1024;

/// A segment that rows are still added to.
pub struct OpenSegment {
    accumulators: Vec<Fold>,
    /// Key ids in the order in which they came; a key's place here is its group index.
    ids: Vec<u32>,
    /// Group index by key id; [`KNOWN`] for a key that only the pane's sealed part has.
    groups: Vec<u32>,
    /// Keys that the pane's sealed part does not have.
    new_keys: usize,
    pub origin: Origin,
    bounds: PaneBounds,
    /// What its rows cost, by the rule of [`crate::PaneBounds`].
    cost_bytes: usize,
}

/// The state of every aggregate for the keys alive in a pane or in a span of panes. Only read.
#[derive(Clone)]
pub struct Summary {
    /// Key ids, in the order in which the keys came.
    pub ids: Vec<u32>,
    /// State arrays of each aggregate, a row per key; none when there is no key.
    pub states: Vec<Vec<ArrayRef>>,
    pub origin: Origin,
    /// What its rows cost, by the rule of [`crate::PaneBounds`].
    pub cost_bytes: usize,
}

/// An accumulator and the rows that wait for a full chunk.
struct Fold {
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

impl OpenSegment {
    /// `sealed` is what was said of the pane before, which counts against its `bounds`. Rows that were shed for `origin`
    /// are counted as its rows are added.
    pub fn new(aggregates: &[Aggregate], origin: Origin, bounds: PaneBounds, sealed: Option<&Summary>) -> Result<Self> {
        let origin = Origin { shed_rows: 0, ..origin };
        let accumulators = aggregates
            .iter()
            .map(|aggregate| {
                let waits = !aggregate.batch_invariant || !aggregate.order.is_empty();
                let waiting = waits.then(|| Waiting { order: aggregate.order.clone(), ..Waiting::default() });
                Ok(Fold { accumulator: aggregate.accumulator()?, waiting })
            })
            .collect::<Result<_>>()?;
        let bounds = sealed.map_or(bounds, |sealed| bounds.less(sealed.ids.len(), sealed.cost_bytes));
        let groups = Vec::new();
        let mut segment = Self { accumulators, ids: Vec::new(), groups, new_keys: 0, origin, bounds, cost_bytes: 0 };
        segment.know(sealed);
        Ok(segment)
    }

    /// Keys of the pane's sealed part are not new when they come again.
    fn know(&mut self, sealed: Option<&Summary>) {
        for &id in sealed.map_or(&[][..], |sealed| &sealed.ids) {
            if self.groups.len() <= id as usize {
                self.groups.resize(id as usize + 1, ABSENT);
            }
            if self.groups[id as usize] == ABSENT {
                self.groups[id as usize] = KNOWN;
            }
        }
    }

    /// Adds rows; `ids` are key ids below `keys`, `columns` are [`crate::Rows::columns`] of the same rows. Those that go
    /// past the bounds are left out; how many.
    pub fn add(&mut self, aggregates: &[Aggregate], ids: &[usize], keys: usize, columns: &[ArrayRef]) -> Result<usize> {
        let costs = Costs::of(aggregates, columns);
        let mut kept: Option<Vec<ArrayRef>> = None;
        let groups = match self.groups_of(ids, keys, &costs) {
            Ok(groups) => groups,
            Err(groups) => {
                let is_kept = BooleanArray::from_iter(groups.iter().map(|group| Some(group.is_some())));
                kept = Some(columns.iter().map(|column| filter(column, &is_kept)).collect::<Result<_, _>>()?);
                groups.into_iter().flatten().collect()
            }
        };
        let shed_rows = ids.len() - groups.len();
        self.origin.shed_rows += shed_rows as u64;
        if groups.is_empty() {
            return Ok(shed_rows);
        }
        let columns = kept.as_deref().unwrap_or(columns);
        let total = self.ids.len();
        for (fold, aggregate) in self.accumulators.iter_mut().zip(aggregates) {
            let arguments: Vec<ArrayRef> = aggregate.arguments.iter().map(|&index| columns[index].clone()).collect();
            let filter = aggregate.filter.map(|index| columns[index].clone());
            fold.add(arguments, filter, &groups, total)?;
        }
        Ok(shed_rows)
    }

    /// The group of each row; where not all rows are within the bounds, of those that are.
    fn groups_of(&mut self, ids: &[usize], keys: usize, costs: &Costs) -> Result<Vec<usize>, Vec<Option<usize>>> {
        self.groups.resize(keys.max(self.groups.len()), ABSENT);
        let left = self.bounds.less(self.new_keys, self.cost_bytes);
        let rows_bytes = costs.rows(ids.len());
        let most_bytes = rows_bytes.saturating_add(costs.key_bytes.saturating_mul(ids.len()));
        if left.keys_max < ids.len() || left.bytes_max < most_bytes {
            return self.groups_within(ids, costs);
        }
        let before = self.new_keys;
        let mut groups = Vec::with_capacity(ids.len());
        for &id in ids {
            let group = &mut self.groups[id];
            if *group >= KNOWN {
                self.new_keys += usize::from(*group == ABSENT);
                *group = self.ids.len() as u32;
                self.ids.push(id as u32);
            }
            groups.push(*group as usize);
        }
        self.cost_bytes += rows_bytes + (self.new_keys - before) * costs.key_bytes;
        Ok(groups)
    }

    /// As above, row by row, for a pane that may come to its bounds.
    fn groups_within(&mut self, ids: &[usize], costs: &Costs) -> Result<Vec<usize>, Vec<Option<usize>>> {
        let mut groups = Vec::with_capacity(ids.len());
        for (row, &id) in ids.iter().enumerate() {
            let is_new = self.groups[id] == ABSENT;
            let cost_bytes = costs.row(row) + if is_new { costs.key_bytes } else { 0 };
            let left = self.bounds.less(self.new_keys, self.cost_bytes);
            if cost_bytes > left.bytes_max || (is_new && left.keys_max == 0) {
                groups.push(None);
                continue;
            }
            self.new_keys += usize::from(is_new);
            if self.groups[id] >= KNOWN {
                self.groups[id] = self.ids.len() as u32;
                self.ids.push(id as u32);
            }
            self.cost_bytes += cost_bytes;
            groups.push(Some(self.groups[id] as usize));
        }
        if groups.iter().all(Option::is_some) { Ok(groups.into_iter().flatten().collect()) } else { Err(groups) }
    }

    pub fn seal(mut self) -> Result<Summary> {
        let total = self.ids.len();
        let mut states = vec![Vec::new(); self.accumulators.len()];
        for (fold, state) in self.accumulators.iter_mut().zip(&mut states).filter(|_| total > 0) {
            fold.feed(true, total)?;
            *state = fold.accumulator.state(EmitTo::All)?;
        }
        Ok(Summary { ids: self.ids, states, origin: self.origin, cost_bytes: self.cost_bytes })
    }

    pub fn mark_live(&self, live: &mut [bool]) {
        self.ids.iter().for_each(|&id| live[id as usize] = true);
    }

    /// `sealed` is what was said of the pane before, renumbered.
    pub fn renumber(&mut self, renumbered: &[u32], keys: usize, sealed: Option<&Summary>) {
        self.groups.clear();
        self.groups.resize(keys, ABSENT);
        for (group, id) in self.ids.iter_mut().enumerate() {
            *id = renumbered[*id as usize];
            self.groups[*id as usize] = group as u32;
        }
        self.know(sealed);
    }

    pub fn keys(&self) -> usize {
        self.ids.len()
    }

    pub fn bytes(&self) -> usize {
        let folds: usize = self.accumulators.iter().map(|fold| fold.accumulator.size()).sum();
        folds + (self.ids.capacity() + self.groups.capacity()) * size_of::<u32>()
    }
}

impl Summary {
    /// What is left of it when it is merged behind `before` within the bounds of a pane, and how many keys are left out:
    /// those that come last, or all where the bytes would be too many.
    pub fn within(mut self, before: Option<&Self>, bounds: PaneBounds) -> Result<(Self, usize)> {
        let (known, cost_bytes) = before.map_or((&[][..], 0), |before| (&before.ids[..], before.cost_bytes));
        let left = bounds.less(known.len(), cost_bytes);
        if self.ids.len() <= left.keys_max && self.cost_bytes <= left.bytes_max {
            return Ok((self, 0));
        }
        let known: HashSet<u32> = known.iter().copied().collect();
        let mut room = if self.cost_bytes <= left.bytes_max { left.keys_max } else { 0 };
        let mut is_kept = |id: &u32| {
            let is_new = !known.contains(id);
            let fits = self.cost_bytes <= left.bytes_max && (!is_new || room > 0);
            room -= usize::from(fits && is_new);
            fits
        };
        let kept: Vec<u32> =
            self.ids.iter().enumerate().filter(|(_, id)| is_kept(id)).map(|(place, _)| place as u32).collect();
        let shed_keys = self.ids.len() - kept.len();
        self.ids = kept.iter().map(|&place| self.ids[place as usize]).collect();
        let kept = UInt32Array::from(kept);
        for states in &mut self.states {
            *states = if self.ids.is_empty() {
                Vec::new()
            } else {
                states.iter().map(|state| take(state, &kept, None)).collect::<Result<_, _>>()?
            };
        }
        if self.ids.is_empty() {
            self.cost_bytes = 0;
        }
        self.origin.shed_rows = self.origin.shed_rows.saturating_add(shed_keys as u64);
        Ok((self, shed_keys))
    }

    pub fn mark_live(&self, live: &mut [bool]) {
        self.ids.iter().for_each(|&id| live[id as usize] = true);
    }

    pub fn renumber(&mut self, renumbered: &[u32]) {
        self.ids.iter_mut().for_each(|id| *id = renumbered[*id as usize]);
    }

    pub fn bytes(&self) -> usize {
        let states: usize = self.states.iter().flatten().map(|array| array.get_array_memory_size()).sum();
        states + self.ids.capacity() * size_of::<u32>()
    }
}

/// Merges summaries, and keeps the memory that this needs.
#[derive(Default)]
pub struct Merger {
    /// Group index by key id; [`ABSENT`] everywhere between calls.
    group_of_key: Vec<u32>,
}

impl Merger {
    /// Ids are below `keys` from now on.
    pub fn fit(&mut self, keys: usize) {
        self.group_of_key.resize(keys, ABSENT);
    }

    /// All aggregates over `parts` (at least one), merged in their order; keys in the order in which they came.
    pub fn merge(&mut self, aggregates: &[Aggregate], parts: &[Arc<Summary>]) -> Result<Summary> {
        let all: Vec<usize> = (0..aggregates.len()).collect();
        let (ids, mut accumulators) = self.fold(aggregates, &all, parts)?;
        // Accumulators that were given nothing have no state that all of them could tell.
        let states = match ids.is_empty() {
            true => vec![Vec::new(); aggregates.len()],
            false => accumulators.iter_mut().map(|of| of.state(EmitTo::All)).collect::<Result<_>>()?,
        };
        let (origin, cost_bytes) = (span(parts)?, parts.iter().map(|part| part.cost_bytes).sum());
        Ok(Summary { ids, states, origin, cost_bytes })
    }

    /// Values of the `wanted` aggregates over `parts`, and whose they are; no values when there is no key.
    pub fn evaluate(
        &mut self,
        aggregates: &[Aggregate],
        wanted: &[usize],
        parts: &[Arc<Summary>],
    ) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let (ids, mut accumulators) = self.fold(aggregates, wanted, parts)?;
        if ids.is_empty() {
            return Ok((ids, Vec::new()));
        }
        let values = accumulators.iter_mut().map(|of| of.evaluate(EmitTo::All)).collect::<Result<_>>()?;
        Ok((ids, values))
    }

    #[allow(clippy::type_complexity)]
    fn fold(
        &mut self,
        aggregates: &[Aggregate],
        wanted: &[usize],
        parts: &[Arc<Summary>],
    ) -> Result<(Vec<u32>, Vec<Box<dyn GroupsAccumulator>>)> {
        let mut ids: Vec<u32> = Vec::new();
        // Each part's groups, and how many groups there are by then.
        let groups: Vec<(Vec<usize>, usize)> =
            parts.iter().map(|part| (self.groups(&mut ids, &part.ids), ids.len())).collect();
        ids.iter().for_each(|&id| self.group_of_key[id as usize] = ABSENT);
        let accumulators = wanted.iter().map(|&index| {
            let mut accumulator = aggregates[index].accumulator()?;
            for (part, (groups, total)) in parts.iter().zip(&groups).filter(|(part, _)| !part.ids.is_empty()) {
                accumulator.merge_batch(&part.states[index], groups, *total)?;
            }
            Ok(accumulator)
        });
        Ok((ids, accumulators.collect::<Result<_>>()?))
    }

    /// Group index of each key of a part; new keys are added to `ids`.
    fn groups(&mut self, ids: &mut Vec<u32>, part: &[u32]) -> Vec<usize> {
        let mut groups = Vec::with_capacity(part.len());
        for &id in part {
            let group = &mut self.group_of_key[id as usize];
            if *group == ABSENT {
                *group = ids.len() as u32;
                ids.push(id);
            }
            groups.push(*group as usize);
        }
        groups
    }
}

/// All records of what is merged.
pub fn span(parts: &[Arc<Summary>]) -> Result<Origin> {
    let origin = parts.iter().map(|part| part.origin).reduce(Origin::and);
    origin.ok_or_else(|| DataFusionError::Internal("nothing to merge".into()))
}

impl Fold {
    fn add(
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
