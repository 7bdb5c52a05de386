//! The panes of one operator, and the sums over spans of them that are kept so that no window merges all its panes.
//!
//! A span is 2^level panes whose first number is a multiple of 2^level: where spans lie depends on absolute pane
//! numbers alone. A span's summary is its two halves merged, left then right; a window is the fewest spans that tile
//! it, merged from left to right. So a window costs about log2(size / slide) merges, each span is merged once, and the
//! order in which floats are added does not depend on when anybody began. Summaries of spans are only kept, never
//! anything else than what their panes say: a row that comes late for a pane drops those of the spans around it.
//!
//! Limits: a span of at most half of the longest window; memory of spans is at most that of the panes times the levels.

use crate::{
    Origin, PaneBounds, ReplayPoint, WindowError,
    aggregates::Aggregates,
    keys::Keys,
    segment::{Merger, OpenSegment, Summary},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// Panes by number.
pub struct PaneTree {
    panes: BTreeMap<i64, Pane>,
    /// By first pane and level, from level 1 on.
    spans: BTreeMap<(i64, u32), Arc<Summary>>,
    /// That of the longest window ([`level_max`]).
    level_max: u32,
    bounds: PaneBounds,
}

/// The level of the largest span that is worth its merge in windows of `panes` panes: half of a window. It decides in
/// which order floats are added, and so is a matter of the window alone, whoever shares its panes.
fn level_max(panes: i64) -> u32 {
    panes.max(1).ilog2().saturating_sub(1)
}

#[derive(Default)]
struct Pane {
    sealed: Option<Arc<Summary>>,
    open: Option<OpenSegment>,
    /// Since [`PaneTree::take_changed`].
    is_changed: bool,
}

impl PaneTree {
    /// For windows of up to `panes_max` panes.
    pub fn new(panes_max: i64, bounds: PaneBounds) -> Self {
        let level_max = level_max(panes_max);
        Self { panes: BTreeMap::new(), spans: BTreeMap::new(), level_max, bounds }
    }

    pub fn len(&self) -> usize {
        self.panes.len()
    }

    /// The first pane from `from` on that holds rows.
    pub fn first_from(&self, from: i64) -> Option<i64> {
        self.panes.range(from..).next().map(|(&pane, _)| pane)
    }

    /// The last pane that holds rows.
    pub fn last(&self) -> Option<i64> {
        self.panes.keys().next_back().copied()
    }

    /// The segment that a row for `pane` goes to; `origin` is the records that it comes from.
    pub fn open(
        &mut self,
        pane: i64,
        aggregates: &Aggregates,
        origin: Origin,
    ) -> Result<&mut OpenSegment, WindowError> {
        let is_new = self.panes.get(&pane).is_none_or(|pane| pane.open.is_none());
        if is_new {
            self.forget_spans_of(pane);
        }
        // As many keys as the pane before has by now; late rows of few keys do not count.
        let before = self.panes.range(..pane).next_back().map_or(0, |(_, pane)| pane.keys());
        let entry = self.panes.entry(pane).or_default();
        let keys_expected = if entry.sealed.is_some() { 0 } else { before };
        if is_new {
            let sealed = entry.sealed.as_deref();
            entry.open = Some(OpenSegment::new(aggregates, origin, self.bounds, sealed, keys_expected)?);
            entry.is_changed = true;
        }
        // Just made if it was not there.
        entry.open.as_mut().ok_or_else(|| WindowError::internal("a pane without a segment"))
    }

    /// The summaries that tile the window of panes `from..to`, in the order of time; panes without rows have none.
    pub fn tiles(
        &mut self,
        from: i64,
        to: i64,
        aggregates: &Aggregates,
        merger: &mut Merger,
    ) -> Result<Vec<Arc<Summary>>, WindowError> {
        let mut tiles = Vec::new();
        let level_max = level_max(to - from);
        let mut at = from;
        // Long stretches without rows are stepped over.
        while let Some(next) = self.first_from(at).filter(|&next| next < to) {
            // The largest span that begins here and fits.
            let level = at.trailing_zeros().min((to - at).ilog2()).min(level_max);
            let past = at + (1 << level);
            if next < past {
                tiles.extend(self.summary(at, level, aggregates, merger)?);
            }
            at = past;
        }
        Ok(tiles)
    }

    fn summary(
        &mut self,
        start: i64,
        level: u32,
        aggregates: &Aggregates,
        merger: &mut Merger,
    ) -> Result<Option<Arc<Summary>>, WindowError> {
        if level == 0 {
            let Some(pane) = self.panes.get_mut(&start) else { return Ok(None) };
            return pane.seal(aggregates, merger);
        }
        if let Some(known) = self.spans.get(&(start, level)) {
            return Ok(Some(known.clone()));
        }
        let half = 1 << (level - 1);
        if self.first_from(start).is_none_or(|first| first >= start + 2 * half) {
            return Ok(None);
        }
        let left = self.summary(start, level - 1, aggregates, merger)?;
        let right = self.summary(start + half, level - 1, aggregates, merger)?;
        let both = match (left, right) {
            (Some(left), Some(right)) => Some(Arc::new(merger.merge(aggregates, &[left, right])?)),
            (one, other) => one.or(other),
        };
        if let Some(both) = &both {
            self.spans.insert((start, level), both.clone());
        }
        Ok(both)
    }

    /// Seals every pane.
    pub fn seal(&mut self, aggregates: &Aggregates, merger: &mut Merger) -> Result<(), WindowError> {
        self.panes.values_mut().try_for_each(|pane| pane.seal(aggregates, merger).map(drop))
    }

    /// Sealed panes that rows came for since the last call.
    pub fn take_changed(&mut self) -> Vec<(i64, Arc<Summary>)> {
        let changed = self.panes.iter_mut().filter(|(_, pane)| pane.open.is_none() && pane.is_changed);
        let taken = changed.filter_map(|(&number, pane)| {
            pane.is_changed = false;
            Some((number, pane.sealed.clone()?))
        });
        taken.collect()
    }

    /// Takes away what rows have said of a pane, sealed; `None` when there is nothing.
    pub fn take(
        &mut self,
        pane: i64,
        aggregates: &Aggregates,
        merger: &mut Merger,
    ) -> Result<Option<Arc<Summary>>, WindowError> {
        self.panes.remove(&pane).map_or(Ok(None), |mut taken| taken.seal(aggregates, merger))
    }

    /// The panes from `from` on, before `to`, that hold anything.
    pub fn between(&self, from: i64, to: i64) -> Vec<i64> {
        if from < to { self.panes.range(from..to).map(|(&pane, _)| pane).collect() } else { Vec::new() }
    }

    /// Which keys of a summary the bounds of its pane have room for, by their place; `None` when they have for all.
    pub fn room(&self, pane: i64, summary: &Summary) -> Option<Vec<u32>> {
        let sealed = self.panes.get(&pane).and_then(|pane| pane.sealed.as_deref());
        let (known, cost_bytes) = sealed.map_or((&[][..], 0), |sealed| (&sealed.ids[..], sealed.cost_bytes));
        let left = self.bounds.less(known.len(), cost_bytes);
        let has_bytes = summary.cost_bytes <= left.bytes_max;
        if has_bytes && summary.ids.len() <= left.keys_max {
            return None;
        }
        let known: HashSet<u32> = known.iter().copied().collect();
        // What would take too many bytes is left out whole.
        let mut keys_left = left.keys_max;
        let mut is_kept = |id: &u32| {
            let is_known = known.contains(id);
            let fits = has_bytes && (is_known || keys_left > 0);
            keys_left -= usize::from(fits && !is_known);
            fits
        };
        let kept = summary.ids.iter().enumerate().filter(|(_, id)| is_kept(id)).map(|(place, _)| place as u32);
        Some(kept.collect())
    }

    /// Merges what was said elsewhere behind what is in the pane.
    pub fn absorb(
        &mut self,
        pane: i64,
        summary: Summary,
        aggregates: &Aggregates,
        merger: &mut Merger,
    ) -> Result<(), WindowError> {
        let entry = self.panes.entry(pane).or_default();
        entry.sealed = Some(match entry.seal(aggregates, merger)? {
            None => Arc::new(summary),
            Some(before) => Arc::new(merger.merge(aggregates, &[before, Arc::new(summary)])?),
        });
        entry.is_changed = true;
        self.forget_spans_of(pane);
        Ok(())
    }

    fn forget_spans_of(&mut self, pane: i64) {
        for level in 1..=self.level_max {
            self.spans.remove(&(pane >> level << level, level));
        }
    }

    /// Puts back a pane as it was when it was taken.
    pub fn restore(&mut self, pane: i64, summary: Summary) {
        self.panes.insert(pane, Pane { sealed: Some(Arc::new(summary)), ..Pane::default() });
    }

    pub fn forget_before(&mut self, pane: i64) {
        while let Some(entry) = self.panes.first_entry()
            && *entry.key() < pane
        {
            entry.remove();
        }
        while let Some(entry) = self.spans.first_entry()
            && entry.key().0 < pane
        {
            entry.remove();
        }
    }

    /// From where the partition has to be read again to rebuild all panes.
    pub fn oldest(&self) -> Option<ReplayPoint> {
        let firsts = self.panes.values().flat_map(|pane| {
            pane.sealed
                .iter()
                .map(|summary| summary.origin.first)
                .chain(pane.open.iter().map(|segment| segment.origin.first))
        });
        firsts.min_by_key(|point| point.offset)
    }

    /// Keys of all panes; one that is in two counts twice.
    pub fn keys(&self) -> usize {
        self.panes.values().map(Pane::keys).sum()
    }

    pub fn bytes(&self) -> usize {
        let panes: usize = self.panes.values().map(Pane::bytes).sum();
        panes + self.spans.values().map(|summary| summary.bytes()).sum::<usize>()
    }

    pub fn mark_live(&self, live: &mut [bool]) {
        for pane in self.panes.values() {
            pane.sealed.iter().for_each(|summary| summary.mark_live(live));
            pane.open.iter().for_each(|segment| segment.mark_live(live));
        }
    }

    /// Keys have new ids: `renumbered` says which, `keys` how many there are.
    pub fn renumber(&mut self, renumbered: &[u32], keys: &Keys) {
        // A span's keys are those of its panes, so none of them is forgotten.
        for summary in self.panes.values_mut().filter_map(|pane| pane.sealed.as_mut()).chain(self.spans.values_mut()) {
            Arc::make_mut(summary).renumber(renumbered);
        }
        for pane in self.panes.values_mut() {
            if let Some(open) = &mut pane.open {
                open.renumber(renumbered, keys.len(), pane.sealed.as_deref());
            }
        }
    }
}

impl Pane {
    /// What rows have said until now; later ones begin a further segment.
    fn seal(&mut self, aggregates: &Aggregates, merger: &mut Merger) -> Result<Option<Arc<Summary>>, WindowError> {
        if let Some(open) = self.open.take() {
            let late = open.seal(aggregates)?;
            self.sealed = Some(Arc::new(match self.sealed.take() {
                None => late,
                Some(before) => merger.merge(aggregates, &[before, Arc::new(late)])?,
            }));
        }
        Ok(self.sealed.clone())
    }

    fn keys(&self) -> usize {
        self.sealed.as_ref().map_or(0, |summary| summary.ids.len()) + self.open.as_ref().map_or(0, OpenSegment::keys)
    }

    fn bytes(&self) -> usize {
        self.sealed.as_ref().map_or(0, |summary| summary.bytes()) + self.open.as_ref().map_or(0, OpenSegment::bytes)
    }
}
