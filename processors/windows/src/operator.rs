//! The windowed aggregate of one view over one partition.
//!
//! [`WindowOperator::push`] takes rows with the watermark that each of them found; it adds every row to its pane and
//! closes the windows that the watermark has passed. A row counts in every window that contains it and ends after the
//! watermark set by the rows before it. What the caller keeps: the watermark, and the order of rows.

use crate::{
    Aggregate, Hop, ReplayPoint, WindowError,
    keys::{ABSENT, Keys},
    segment::{OpenSegment, SealedSegment},
};
use arrow::{
    array::{ArrayRef, UInt32Array},
    compute::take,
    datatypes::SchemaRef,
};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use std::collections::BTreeMap;

/// Rows of one partition, in order. All slices and arrays have one entry per row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub times_ns: &'a [i64],
    /// The watermark set by the rows before; never decreases.
    pub watermarks_ns: &'a [i64],
    /// Where each row's record begins: index into `records`.
    pub record_of_row: &'a [u32],
    pub records: &'a [ReplayPoint],
    pub keys: &'a [ArrayRef],
    /// What the aggregates refer to: arguments and filters.
    pub columns: &'a [ArrayRef],
}

/// A window whose end the watermark has passed, with a row for each key that was alive in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedWindow {
    pub start_ns: i64,
    pub end_ns: i64,
    /// In the order of the keys' schema.
    pub keys: Vec<ArrayRef>,
    /// One array per aggregate.
    pub values: Vec<ArrayRef>,
    pub rows: usize,
    /// Offsets of the first and last record that rows of this window's panes came from.
    pub first_offset: i64,
    pub last_offset: i64,
}

/// What became of rows, since the operator was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows that came after at least one of their windows had closed.
    pub late_rows: u64,
    /// Late rows that no open window was left for.
    pub dropped_rows: u64,
    /// Rows between windows (slide greater than size).
    pub gap_rows: u64,
    pub closed_windows: u64,
}

pub struct WindowOperator {
    hop: Hop,
    aggregates: Vec<Aggregate>,
    keys: Keys,
    panes: BTreeMap<i64, Pane>,
    /// Every window that ends at or before this is closed.
    closed_through_ns: i64,
    counters: Counters,
    window_of_key: Vec<u32>,
}

#[derive(Default)]
struct Pane {
    sealed: Vec<SealedSegment>,
    open: Option<OpenSegment>,
}

impl WindowOperator {
    /// `keys` is the schema of [`Rows::keys`]. Windows that end at or before `closed_through_ns` are closed already.
    pub fn new(
        hop: Hop,
        keys: SchemaRef,
        aggregates: Vec<Aggregate>,
        closed_through_ns: i64,
    ) -> Result<Self, WindowError> {
        Ok(Self {
            hop,
            aggregates,
            keys: Keys::new(keys)?,
            panes: BTreeMap::new(),
            closed_through_ns,
            counters: Counters::default(),
            window_of_key: Vec::new(),
        })
    }

    /// Adds rows and closes windows up to `watermark_ns` (that after the last row), in order of their ends.
    pub fn push(
        &mut self,
        rows: &Rows<'_>,
        watermark_ns: i64,
        closed: &mut Vec<ClosedWindow>,
    ) -> Result<(), WindowError> {
        let count = rows.times_ns.len();
        let mut panes = Vec::with_capacity(count);
        let mut from = 0;
        for row in 0..count {
            let (pane, fate) = self.judge(rows.times_ns[row], rows.watermarks_ns[row]);
            if fate == Fate::Late && self.has_to_close(rows.watermarks_ns[row]) {
                // A window of this row's pane closes before the row: what came until here is all it gets.
                self.add(rows, from, &panes)?;
                self.close(rows.watermarks_ns[row], closed)?;
                panes.clear();
                from = row;
            }
            panes.push(self.count(pane, fate));
        }
        self.add(rows, from, &panes)?;
        self.close(watermark_ns, closed)
    }

    /// Closes all windows that end at or before the watermark.
    pub fn close(&mut self, watermark_ns: i64, closed: &mut Vec<ClosedWindow>) -> Result<(), WindowError> {
        while let Some(window) = self.next_window() {
            let (start_ns, end_ns) = self.hop.bounds_ns(window);
            if end_ns > watermark_ns {
                break;
            }
            closed.push(self.merge(window, start_ns, end_ns)?);
            self.closed_through_ns = end_ns;
            self.counters.closed_windows += 1;
            self.forget_panes_before(self.hop.panes_of(self.hop.first_ending_after(end_ns)).0);
        }
        if watermark_ns > self.closed_through_ns {
            self.closed_through_ns = watermark_ns;
            self.forget_panes_before(self.hop.panes_of(self.hop.first_ending_after(watermark_ns)).0);
        }
        self.compact()
    }

    /// From where the partition has to be read again to rebuild all open windows; `None` when none is open.
    pub fn oldest(&self) -> Option<ReplayPoint> {
        let firsts = self.panes.values().flat_map(|pane| {
            pane.sealed.iter().map(|segment| segment.first).chain(pane.open.iter().map(|segment| segment.first))
        });
        firsts.min_by_key(|point| point.offset)
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn panes(&self) -> usize {
        self.panes.len()
    }

    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of state, as the accumulators and arrays report them.
    pub fn bytes(&self) -> usize {
        let panes: usize = self.panes.values().map(Pane::bytes).sum();
        panes + self.keys.bytes() + self.window_of_key.capacity() * size_of::<u32>()
    }

    fn judge(&self, time_ns: i64, watermark_ns: i64) -> (i64, Fate) {
        let pane = self.hop.pane_of(time_ns);
        let (first, last) = self.hop.windows_of(pane);
        if first > last {
            return (pane, Fate::Gap);
        }
        let watermark_ns = watermark_ns.max(self.closed_through_ns);
        if self.hop.bounds_ns(last).1 <= watermark_ns {
            (pane, Fate::Dropped)
        } else if self.hop.bounds_ns(first).1 <= watermark_ns {
            (pane, Fate::Late)
        } else {
            (pane, Fate::InTime)
        }
    }

    fn has_to_close(&self, watermark_ns: i64) -> bool {
        self.closed_through_ns < watermark_ns
    }

    /// Counts a row's fate; the pane to add it to, if any.
    fn count(&mut self, pane: i64, fate: Fate) -> Option<i64> {
        match fate {
            Fate::InTime => Some(pane),
            Fate::Late => {
                self.counters.late_rows += 1;
                Some(pane)
            }
            Fate::Dropped => {
                self.counters.late_rows += 1;
                self.counters.dropped_rows += 1;
                None
            }
            Fate::Gap => {
                self.counters.gap_rows += 1;
                None
            }
        }
    }

    /// Adds the rows from `from` on, one for each of `panes`.
    fn add(&mut self, rows: &Rows<'_>, from: usize, panes: &[Option<i64>]) -> Result<(), WindowError> {
        let Some(first) = panes.first() else { return Ok(()) };
        if panes.iter().all(|pane| pane == first) {
            let Some(pane) = *first else { return Ok(()) };
            let slice =
                |arrays: &[ArrayRef]| arrays.iter().map(|array| array.slice(from, panes.len())).collect::<Vec<_>>();
            let (keys, columns) = (slice(rows.keys), slice(rows.columns));
            let last = from + panes.len() - 1;
            return self.add_to_pane(pane, &keys, &columns, record(rows, from), record(rows, last).offset, panes.len());
        }
        for (pane, indices) in by_pane(panes, from) {
            let (first, last) = (indices[0] as usize, indices[indices.len() - 1] as usize);
            let length = indices.len();
            let indices = UInt32Array::from(indices);
            let pick = |arrays: &[ArrayRef]| {
                arrays.iter().map(|array| take(array, &indices, None)).collect::<Result<Vec<_>, _>>()
            };
            let (keys, columns) = (pick(rows.keys)?, pick(rows.columns)?);
            self.add_to_pane(pane, &keys, &columns, record(rows, first), record(rows, last).offset, length)?;
        }
        Ok(())
    }

    fn add_to_pane(
        &mut self,
        pane: i64,
        keys: &[ArrayRef],
        columns: &[ArrayRef],
        first: ReplayPoint,
        last_offset: i64,
        rows: usize,
    ) -> Result<(), WindowError> {
        let pane = self.panes.entry(pane).or_default();
        let mut open = match pane.open.take() {
            Some(open) => open,
            None => OpenSegment::new(&self.aggregates, first)?,
        };
        let ids = self.keys.intern(keys, rows)?.to_vec();
        open.add(&self.aggregates, &ids, self.keys.len(), columns)?;
        open.last_offset = last_offset;
        pane.open = Some(open);
        Ok(())
    }

    /// The earliest window that is not closed and holds a pane.
    fn next_window(&self) -> Option<i64> {
        let oldest_open = self.hop.first_ending_after(self.closed_through_ns);
        let (first_pane, _) = self.hop.panes_of(oldest_open);
        self.panes.range(first_pane..).next().map(|(&pane, _)| self.hop.windows_of(pane).0.max(oldest_open))
    }

    fn merge(&mut self, window: i64, start_ns: i64, end_ns: i64) -> Result<ClosedWindow, WindowError> {
        let (from, to) = self.hop.panes_of(window);
        for (_, pane) in self.panes.range_mut(from..to) {
            pane.seal()?;
        }
        self.window_of_key.resize(self.keys.len().max(self.window_of_key.len()), ABSENT);
        let mut accumulators: Vec<Box<dyn GroupsAccumulator>> =
            self.aggregates.iter().map(|aggregate| aggregate.accumulator()).collect::<Result<_, _>>()?;
        let mut ids: Vec<u32> = Vec::new();
        let (mut first_offset, mut last_offset) = (i64::MAX, i64::MIN);
        for segment in self.panes.range(from..to).flat_map(|(_, pane)| &pane.sealed) {
            let groups = groups_in_window(&mut self.window_of_key, &mut ids, &segment.ids);
            for (accumulator, state) in accumulators.iter_mut().zip(&segment.states) {
                accumulator.merge_batch(state, &groups, ids.len())?;
            }
            first_offset = first_offset.min(segment.first.offset);
            last_offset = last_offset.max(segment.last_offset);
        }
        ids.iter().for_each(|&id| self.window_of_key[id as usize] = ABSENT);
        let values =
            accumulators.iter_mut().map(|accumulator| accumulator.evaluate(EmitTo::All)).collect::<Result<_, _>>()?;
        let keys = self.keys.values(&ids)?;
        Ok(ClosedWindow { start_ns, end_ns, keys, values, rows: ids.len(), first_offset, last_offset })
    }

    fn forget_panes_before(&mut self, pane: i64) {
        while let Some(entry) = self.panes.first_entry()
            && *entry.key() < pane
        {
            entry.remove();
        }
    }

    /// Forgets keys that no pane holds, once they are more than half of all.
    fn compact(&mut self) -> Result<(), WindowError> {
        const FEW: usize = 1024;
        let held: usize = self.panes.values().map(Pane::keys).sum();
        if self.keys.len() < FEW.max(2 * held) {
            return Ok(());
        }
        let mut live = vec![false; self.keys.len()];
        self.panes.values().for_each(|pane| pane.mark_live(&mut live));
        if live.iter().filter(|live| **live).count() * 2 > self.keys.len() {
            return Ok(());
        }
        let renumbered = self.keys.compact(&live)?;
        let keys = self.keys.len();
        self.panes.values_mut().for_each(|pane| pane.renumber(&renumbered, keys));
        self.window_of_key = Vec::new();
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    InTime,
    Late,
    Dropped,
    Gap,
}

impl Pane {
    fn seal(&mut self) -> Result<(), WindowError> {
        if let Some(open) = self.open.take() {
            self.sealed.push(open.seal()?);
        }
        Ok(())
    }

    /// Keys of all segments; one that is in two counts twice.
    fn keys(&self) -> usize {
        self.sealed.iter().map(|segment| segment.ids.len()).sum::<usize>()
            + self.open.as_ref().map_or(0, OpenSegment::keys)
    }

    fn mark_live(&self, live: &mut [bool]) {
        self.sealed.iter().for_each(|segment| segment.mark_live(live));
        self.open.iter().for_each(|segment| segment.mark_live(live));
    }

    fn renumber(&mut self, renumbered: &[u32], keys: usize) {
        self.sealed.iter_mut().for_each(|segment| segment.renumber(renumbered));
        self.open.iter_mut().for_each(|segment| segment.renumber(renumbered, keys));
    }

    fn bytes(&self) -> usize {
        self.sealed.iter().map(SealedSegment::bytes).sum::<usize>() + self.open.as_ref().map_or(0, OpenSegment::bytes)
    }
}

fn record(rows: &Rows<'_>, row: usize) -> ReplayPoint {
    rows.records[rows.record_of_row[row] as usize]
}

/// Row indices by pane, panes in order of time, rows in their order.
fn by_pane(panes: &[Option<i64>], from: usize) -> BTreeMap<i64, Vec<u32>> {
    let mut indices: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (row, pane) in panes.iter().enumerate() {
        if let Some(pane) = pane {
            indices.entry(*pane).or_default().push((from + row) as u32);
        }
    }
    indices
}

/// Group index within the window of each key of a segment; new keys are added to `ids`.
fn groups_in_window(window_of_key: &mut [u32], ids: &mut Vec<u32>, segment: &[u32]) -> Vec<usize> {
    let mut groups = Vec::with_capacity(segment.len());
    for &id in segment {
        let group = &mut window_of_key[id as usize];
        if *group == ABSENT {
            *group = ids.len() as u32;
            ids.push(id);
        }
        groups.push(*group as usize);
    }
    groups
}
