//! The aggregate state of a pane, and of several merged.
//!
//! A pane is filled while it is open and sealed when a window that holds it closes: its state is then read, which
//! consumes the accumulators. Rows that come for a sealed pane (late for the closed window, in time for later ones)
//! begin a further segment. Where segments are cut depends on the rows alone, so floats are summed in the same order
//! whatever happens to the process.

use crate::{
    Origin, PaneBounds,
    aggregates::Aggregates,
    bounds::Costs,
    fold::Fold,
    keys::{ABSENT, KNOWN},
    native::{Feed, Input, Sealed, States, Wanted},
};
use arrow::{
    array::{Array, ArrayRef, UInt32Array},
    compute::{interleave, take},
};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{EmitTo, GroupsAccumulator},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

/// A segment that rows are still added to.
pub struct OpenSegment {
    native: States,
    /// Of [`Aggregates::others`].
    folds: Vec<Fold>,
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
    pub native: Arc<Sealed>,
    /// State arrays of each of [`Aggregates::others`], a row per key; none when there is no key.
    pub states: Vec<Vec<ArrayRef>>,
    pub origin: Origin,
    /// What its rows cost, by the rule of [`crate::PaneBounds`].
    pub cost_bytes: usize,
}

/// Rows as they come, whichever panes they go to.
pub struct Batch<'a> {
    /// [`crate::Rows::columns`].
    pub columns: &'a [ArrayRef],
    pub input: Input,
    costs: Costs,
    /// Key ids of rows, the first of them row `from`.
    pub ids: &'a [u32],
    pub from: usize,
    /// Ids are below this.
    pub keys: usize,
}

impl<'a> Batch<'a> {
    pub fn new(
        aggregates: &Aggregates,
        columns: &'a [ArrayRef],
        (ids, from, keys): (&'a [u32], usize, usize),
    ) -> Result<Self> {
        let costs = Costs::of(&aggregates.each, columns);
        Ok(Self { columns, input: Input::new(&aggregates.layout, columns)?, costs, ids, from, keys })
    }

    fn id(&self, row: u32) -> usize {
        self.ids[row as usize - self.from] as usize
    }

    /// Some columns' values of some rows.
    fn pick(&self, rows: &[u32], wanted: impl Iterator<Item = usize>) -> Result<BTreeMap<usize, ArrayRef>> {
        let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else { return Ok(BTreeMap::new()) };
        let is_run = (last - first) as usize + 1 == rows.len();
        let indices = UInt32Array::from_iter_values(rows.iter().copied().filter(|_| !is_run));
        let mut picked = BTreeMap::new();
        for index in wanted {
            if let Entry::Vacant(place) = picked.entry(index) {
                let column = &self.columns[index];
                place.insert(match is_run {
                    true => column.slice(first as usize, rows.len()),
                    false => take(column, &indices, None)?,
                });
            }
        }
        Ok(picked)
    }
}

impl OpenSegment {
    /// `sealed` is what was said of the pane before, which counts against its `bounds`. Rows that were shed for `origin`
    /// are counted as its rows are added.
    pub fn new(
        aggregates: &Aggregates,
        origin: Origin,
        bounds: PaneBounds,
        sealed: Option<&Summary>,
        keys_expected: usize,
    ) -> Result<Self> {
        let folds = aggregates.others.iter().map(|&index| Fold::new(&aggregates.each[index])).collect::<Result<_>>()?;
        let mut segment = Self {
            native: States::new(&aggregates.layout, keys_expected),
            folds,
            ids: Vec::new(),
            groups: Vec::new(),
            new_keys: 0,
            origin: Origin { shed_rows: 0, ..origin },
            bounds: sealed.map_or(bounds, |sealed| bounds.less(sealed.ids.len(), sealed.cost_bytes)),
            cost_bytes: 0,
        };
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

    /// Adds `rows` of a batch, in their order. Those that go past the bounds are left out; how many.
    pub fn add(
        &mut self,
        aggregates: &Aggregates,
        batch: &Batch<'_>,
        mut rows: Vec<u32>,
        feed: &mut Feed,
    ) -> Result<usize> {
        let came = rows.len();
        let groups = self.groups_of(batch, &mut rows);
        let shed_rows = came - rows.len();
        self.origin.shed_rows += shed_rows as u64;
        if rows.is_empty() {
            return Ok(shed_rows);
        }
        let total = self.ids.len();
        feed.add(&aggregates.layout, &mut self.native, &batch.input, (&rows, &groups), total);
        if self.folds.is_empty() {
            return Ok(shed_rows);
        }
        let others = || aggregates.others.iter().map(|&index| &aggregates.each[index]);
        let columns = batch.pick(&rows, others().flat_map(|of| of.arguments.iter().copied().chain(of.filter)))?;
        let groups: Vec<usize> = groups.into_iter().map(|group| group as usize).collect();
        for (fold, aggregate) in self.folds.iter_mut().zip(others()) {
            let arguments: Vec<ArrayRef> = aggregate.arguments.iter().map(|index| columns[index].clone()).collect();
            let filter = aggregate.filter.map(|index| columns[&index].clone());
            fold.add(arguments, filter, &groups, total)?;
        }
        Ok(shed_rows)
    }

    /// The group of each row; rows past the bounds are taken out of `rows`.
    fn groups_of(&mut self, batch: &Batch<'_>, rows: &mut Vec<u32>) -> Vec<u32> {
        self.groups.resize(batch.keys.max(self.groups.len()), ABSENT);
        let left = self.bounds.less(self.new_keys, self.cost_bytes);
        let rows_bytes = batch.costs.rows(rows);
        let most_bytes = rows_bytes.saturating_add(batch.costs.key_bytes.saturating_mul(rows.len()));
        if left.keys_max < rows.len() || left.bytes_max < most_bytes {
            return self.groups_within(batch, rows);
        }
        let before = self.new_keys;
        let mut groups = Vec::with_capacity(rows.len());
        for &row in rows.iter() {
            let id = batch.id(row);
            let group = &mut self.groups[id];
            if *group >= KNOWN {
                self.new_keys += usize::from(*group == ABSENT);
                *group = self.ids.len() as u32;
                self.ids.push(id as u32);
            }
            groups.push(*group);
        }
        self.cost_bytes += rows_bytes + (self.new_keys - before) * batch.costs.key_bytes;
        groups
    }

    /// As above, row by row, for a pane that may come to its bounds.
    fn groups_within(&mut self, batch: &Batch<'_>, rows: &mut Vec<u32>) -> Vec<u32> {
        let mut groups = Vec::with_capacity(rows.len());
        rows.retain(|&row| {
            let id = batch.id(row);
            let is_new = self.groups[id] == ABSENT;
            let cost_bytes = batch.costs.row(row as usize) + if is_new { batch.costs.key_bytes } else { 0 };
            let left = self.bounds.less(self.new_keys, self.cost_bytes);
            if cost_bytes > left.bytes_max || (is_new && left.keys_max == 0) {
                return false;
            }
            self.new_keys += usize::from(is_new);
            if self.groups[id] >= KNOWN {
                self.groups[id] = self.ids.len() as u32;
                self.ids.push(id as u32);
            }
            self.cost_bytes += cost_bytes;
            groups.push(self.groups[id]);
            true
        });
        groups
    }

    pub fn seal(self, aggregates: &Aggregates) -> Result<Summary> {
        let total = self.ids.len();
        let states = match total {
            0 => vec![Vec::new(); self.folds.len()],
            _ => self.folds.into_iter().map(|fold| fold.state(total)).collect::<Result<_>>()?,
        };
        let (native, cost_bytes) = (Arc::new(self.native.seal(&aggregates.layout)), self.cost_bytes);
        Ok(Summary { ids: self.ids, native, states, origin: self.origin, cost_bytes })
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
        let folds: usize = self.folds.iter().map(Fold::bytes).sum();
        self.native.bytes() + folds + (self.ids.capacity() + self.groups.capacity()) * size_of::<u32>()
    }
}

impl Summary {
    /// Of no key.
    pub fn nothing(aggregates: &Aggregates, origin: Origin) -> Self {
        let native = Arc::new(Sealed::nothing(&aggregates.layout));
        Self { ids: Vec::new(), native, states: vec![Vec::new(); aggregates.others.len()], origin, cost_bytes: 0 }
    }

    /// Some of its keys, by their place.
    pub fn pick(&self, places: &[u32]) -> Result<Self> {
        let indices = UInt32Array::from(places.to_vec());
        // As of a pane without keys.
        let pick = |arrays: &Vec<ArrayRef>| -> Result<Vec<ArrayRef>> {
            let arrays = arrays.iter().filter(|_| !places.is_empty());
            arrays.map(|array| Ok(take(array, &indices, None)?)).collect()
        };
        Ok(Self {
            ids: places.iter().map(|&place| self.ids[place as usize]).collect(),
            native: Arc::new(self.native.pick(places)),
            states: self.states.iter().map(pick).collect::<Result<_>>()?,
            origin: self.origin,
            cost_bytes: self.cost_bytes / self.ids.len().max(1) * places.len(),
        })
    }

    pub fn mark_live(&self, live: &mut [bool]) {
        self.ids.iter().for_each(|&id| live[id as usize] = true);
    }

    pub fn renumber(&mut self, renumbered: &[u32]) {
        self.ids.iter_mut().for_each(|id| *id = renumbered[*id as usize]);
    }

    pub fn bytes(&self) -> usize {
        let states: usize = self.states.iter().flatten().map(|array| array.get_array_memory_size()).sum();
        self.native.bytes() + states + self.ids.capacity() * size_of::<u32>()
    }
}

/// Merges summaries, and keeps the memory that this needs.
#[derive(Default)]
pub struct Merger {
    /// Group index by key id; [`ABSENT`] everywhere between calls.
    group_of_key: Vec<u32>,
    merged: u64,
}

/// Summaries put together.
struct Merged {
    ids: Vec<u32>,
    native: Sealed,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
}

impl Merger {
    /// Ids are below `keys` from now on.
    pub fn fit(&mut self, keys: usize) {
        self.group_of_key.resize(keys, ABSENT);
    }

    /// Summaries that were read to make others, or values, of them.
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// All aggregates over `parts` (at least one), merged in their order; keys in the order in which they came.
    pub fn merge(&mut self, aggregates: &Aggregates, parts: &[Arc<Summary>]) -> Result<Summary> {
        let Merged { ids, native, mut accumulators } =
            self.fold(aggregates, &aggregates.wanted, &aggregates.others, parts)?;
        // Accumulators that were given nothing have no state that all of them could tell.
        let mut states = match ids.is_empty() {
            true => vec![Vec::new(); aggregates.others.len()],
            false => accumulators.iter_mut().map(|of| of.state(EmitTo::All)).collect::<Result<_>>()?,
        };
        self.restore_single(aggregates, &ids, parts, &mut states)?;
        let (origin, cost_bytes) = (span(parts)?, parts.iter().map(|part| part.cost_bytes).sum());
        let native = Arc::new(native.packed(&aggregates.layout));
        Ok(Summary { ids, native, states, origin, cost_bytes })
    }

    /// Values of the `wanted` aggregates over `parts`, and whose they are; no values when there is no key.
    pub fn evaluate(
        &mut self,
        aggregates: &Aggregates,
        wanted: &[usize],
        parts: &[Arc<Summary>],
    ) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let layout = &aggregates.layout;
        let others: Vec<usize> = wanted.iter().copied().filter(|&index| !layout.is_native(index)).collect();
        let Merged { ids, native, accumulators } = self.fold(aggregates, &layout.wanted(wanted), &others, parts)?;
        let mut values = Vec::new();
        if !ids.is_empty() {
            let mut accumulators = accumulators.into_iter();
            let fault = || DataFusionError::Internal("an aggregate without an accumulator".into());
            for value in native.values(layout, wanted)? {
                values.push(match value {
                    Some(value) => value,
                    None => accumulators.next().ok_or_else(fault)?.evaluate(EmitTo::All)?,
                });
            }
        }
        Ok((ids, values))
    }

    /// Puts back the state of keys that only one of the parts has, for functions that change it by merging: what a key has must
    /// not depend on which other keys are beside it.
    fn restore_single(
        &mut self,
        aggregates: &Aggregates,
        ids: &[u32],
        parts: &[Arc<Summary>],
        states: &mut [Vec<ArrayRef>],
    ) -> Result<()> {
        let mut inexact =
            aggregates.others.iter().enumerate().filter(|(_, other)| !aggregates.each[**other].merges_exactly);
        if ids.is_empty() || inexact.clone().next().is_none() {
            return Ok(());
        }
        // For each key where its state is: in what was merged, or in its one part.
        let mut places: Vec<Option<(usize, usize)>> = vec![None; ids.len()];
        ids.iter().enumerate().for_each(|(group, &id)| self.group_of_key[id as usize] = group as u32);
        for (number, part) in (1..).zip(parts) {
            for (row, &id) in part.ids.iter().enumerate() {
                let group = self.group_of_key[id as usize] as usize;
                places[group] = Some(if places[group].is_none() { (number, row) } else { (0, group) });
            }
        }
        ids.iter().for_each(|&id| self.group_of_key[id as usize] = ABSENT);
        let places: Vec<(usize, usize)> =
            places.into_iter().enumerate().map(|(group, place)| place.unwrap_or((0, group))).collect();
        inexact.try_for_each(|(place, _)| {
            for (index, merged) in states[place].iter_mut().enumerate() {
                let empty = merged.slice(0, 0);
                let of = |part: &Arc<Summary>| part.states[place].get(index).unwrap_or(&empty).clone();
                let all: Vec<ArrayRef> = [merged.clone()].into_iter().chain(parts.iter().map(of)).collect();
                let all: Vec<&dyn Array> = all.iter().map(AsRef::as_ref).collect();
                *merged = interleave(&all, &places)?;
            }
            Ok(())
        })
    }

    /// `others` are those of the aggregates that have no native place and are wanted.
    fn fold(
        &mut self,
        aggregates: &Aggregates,
        wanted: &Wanted,
        others: &[usize],
        parts: &[Arc<Summary>],
    ) -> Result<Merged> {
        self.merged += parts.len() as u64;
        let mut ids: Vec<u32> = Vec::new();
        // Each part's groups, and how many groups there are by then.
        let groups: Vec<(Vec<u32>, usize)> =
            parts.iter().map(|part| (self.groups(&mut ids, &part.ids), ids.len())).collect();
        ids.iter().for_each(|&id| self.group_of_key[id as usize] = ABSENT);
        let parts = || parts.iter().zip(&groups).filter(|(part, _)| !part.ids.is_empty());
        let natives: Vec<(&Sealed, &[u32])> =
            parts().map(|(part, (groups, _))| (part.native.as_ref(), groups.as_slice())).collect();
        let native = Sealed::merge(&aggregates.layout, wanted, &natives, ids.len());
        let mut accumulators = Vec::with_capacity(others.len());
        if !others.is_empty() {
            let wide: Vec<Vec<usize>> =
                parts().map(|(_, (groups, _))| groups.iter().map(|&group| group as usize).collect()).collect();
            for &index in others {
                let mut accumulator = aggregates.each[index].accumulator()?;
                let fault = || DataFusionError::Internal("a native aggregate among the others".into());
                let place = aggregates.place_of_other(index).ok_or_else(fault)?;
                for ((part, (_, total)), groups) in parts().zip(&wide) {
                    accumulator.merge_batch(&part.states[place], groups, *total)?;
                }
                accumulators.push(accumulator);
            }
        }
        Ok(Merged { ids, native, accumulators })
    }

    /// Group index of each key of a part; new keys are added to `ids`.
    fn groups(&mut self, ids: &mut Vec<u32>, part: &[u32]) -> Vec<u32> {
        let mut groups = Vec::with_capacity(part.len());
        for &id in part {
            let group = &mut self.group_of_key[id as usize];
            if *group == ABSENT {
                *group = ids.len() as u32;
                ids.push(id);
            }
            groups.push(*group);
        }
        groups
    }
}

/// All records of what is merged.
pub fn span(parts: &[Arc<Summary>]) -> Result<Origin> {
    let origin = parts.iter().map(|part| part.origin).reduce(Origin::and);
    origin.ok_or_else(|| DataFusionError::Internal("nothing to merge".into()))
}
