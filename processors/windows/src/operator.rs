//! The windowed aggregates of one or more views with the same keys, over one partition.
//!
//! [`WindowOperator::push`] takes rows with the watermark that each of them found; it adds every row to its pane, once
//! for all views, and closes the windows that the watermark has passed. A row counts in every window that contains it
//! and ends after the watermark set by the rows before it. What the caller keeps: the watermark, and the order of rows.

use crate::{
    Aggregate, Grid, Hop, Origin, PaneBounds, PaneState, ReplayPoint, ShipTag, Shipped, WindowError,
    aggregates::Aggregates,
    fate::{Counters, Fate, Judge},
    keys::Keys,
    native::Feed,
    segment::{Batch, Merger, span},
    sessions::{Alike, Ended, Sessions, time_bounds},
    split::Split,
    tree::PaneTree,
};
use arrow::{
    array::{ArrayRef, Int64Array},
    datatypes::SchemaRef,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Rows of one partition, in order. All slices and arrays have one entry per row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub times_ns: &'a [i64],
    /// The watermark set by the rows before; never decreases.
    pub watermarks_ns: &'a [i64],
    /// What each row comes from: index into `records`, which are in the order of the log; never decreases.
    pub record_of_row: &'a [u32],
    pub records: &'a [Origin],
    pub keys: &'a [ArrayRef],
    /// What the aggregates refer to: arguments and filters.
    pub columns: &'a [ArrayRef],
}

/// One view: its windows, and which of the operator's aggregates it wants, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub hop: Hop,
    pub aggregates: Vec<usize>,
}

/// A window whose end the watermark has passed, with a row for each key that was alive in it. Or the sessions that are over by the
/// end of a pane.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedWindow {
    /// Index of the [`Output`] whose window this is.
    pub output: usize,
    /// Of sessions, start and end of the pane.
    pub start_ns: i64,
    pub end_ns: i64,
    /// Of sessions, those that begin and end together, for as many of the rows each, in the order of their ends and starts.
    pub sessions: Arc<Vec<Alike>>,
    /// The panes whose rows it has: first and one past the last.
    pub panes: (i64, i64),
    /// In the order of the keys' schema.
    pub keys: Vec<ArrayRef>,
    /// One array per aggregate of the output.
    pub values: Vec<ArrayRef>,
    pub rows: usize,
    /// All records that rows of this window's panes came from.
    pub origin: Origin,
}

pub struct WindowOperator {
    grid: Grid,
    outputs: Vec<Output>,
    aggregates: Aggregates,
    keys: Keys,
    tree: PaneTree,
    /// Of an operator of sessions that does not hand its panes over.
    sessions: Option<Sessions>,
    /// Of sessions, behind what the aggregates refer to: where the times of rows are.
    time_column: Option<usize>,
    merger: Merger,
    feed: Feed,
    judge: Judge,
    /// Rows of the last push that were late, in order.
    late: Vec<u32>,
    shed_rows: u64,
    closing: Duration,
    /// Every window that ends at or before this is closed.
    closed_through_ns: i64,
    /// Of an operator that hands its panes over instead of merging windows: those not yet taken.
    shipped: Option<Vec<Shipped>>,
}

impl WindowOperator {
    /// `keys` is the schema of [`Rows::keys`]. Windows that end at or before `closed_through_ns` are closed already.
    /// A row that would take its pane past `bounds` is left out.
    /// An error when the outputs' windows cannot share panes ([`Grid::shared`]) or there are none.
    pub fn new(
        outputs: Vec<Output>,
        keys: SchemaRef,
        mut aggregates: Vec<Aggregate>,
        bounds: PaneBounds,
        closed_through_ns: i64,
    ) -> Result<Self, WindowError> {
        let columns = aggregates.iter().flat_map(|of| of.arguments.iter().chain(&of.filter)).max();
        let time_column = columns.map_or(0, |last| last + 1);
        let times = [aggregates.len(), aggregates.len() + 1];
        let sessions = outputs.first().and_then(|output| Sessions::new(output.hop, times));
        let time_column = sessions.is_some().then_some(time_column);
        if let Some(column) = time_column {
            aggregates.extend(time_bounds(column)?);
        }
        let hops: Vec<Hop> = outputs.iter().map(|output| output.hop).collect();
        let grid = Grid::shared(&hops).ok_or_else(|| WindowError::internal("windows that cannot share panes"))?;
        let panes = |hop: &Hop| {
            let (from, to) = grid.panes_of(*hop, 0);
            to - from
        };
        let panes_max = hops.iter().map(panes).max().unwrap_or(1);
        Ok(Self {
            grid,
            outputs,
            aggregates: Aggregates::new(aggregates),
            keys: Keys::new(keys)?,
            tree: PaneTree::new(panes_max, bounds),
            sessions,
            time_column,
            merger: Merger::default(),
            feed: Feed::default(),
            judge: Judge::new(grid, hops),
            late: Vec::new(),
            shed_rows: 0,
            closing: Duration::ZERO,
            closed_through_ns,
            shipped: None,
        })
    }

    /// Hands panes over ([`WindowOperator::take_shipped`]) as their windows close, and keeps and closes nothing itself.
    pub fn shipping(self) -> Self {
        Self { shipped: Some(Vec::new()), sessions: None, ..self }
    }

    /// Adds rows and closes windows up to `watermark_ns` (that after the last row), in the order in which they close.
    pub fn push(
        &mut self,
        rows: &Rows<'_>,
        watermark_ns: i64,
        closed: &mut Vec<ClosedWindow>,
    ) -> Result<(), WindowError> {
        self.settle()?;
        let columns;
        let mut rows = *rows;
        if let Some(column) = self.time_column {
            let times: ArrayRef = Arc::new(Int64Array::from(rows.times_ns.to_vec()));
            columns = rows.columns[..column].iter().cloned().chain([times]).collect::<Vec<_>>();
            rows.columns = &columns;
        }
        let rows = &rows;
        let count = rows.times_ns.len();
        let mut split = Split::default();
        let mut from = 0;
        self.late.clear();
        for row in 0..count {
            let watermark_ns = rows.watermarks_ns[row];
            let fate = self.judge.judge(rows.times_ns[row], watermark_ns.max(self.closed_through_ns));
            if fate.is_late() {
                self.late.push(row as u32);
            }
            if let Fate::Late(_) = fate
                && self.closed_through_ns < watermark_ns
            {
                // A window of this row's pane closes before the row: what came until here is all it gets.
                self.add(rows, from, row, &mut split)?;
                self.close(watermark_ns, closed)?;
                from = row;
            }
            if let Some(pane) = fate.pane() {
                split.put(row, pane, count);
            }
        }
        self.add(rows, from, count, &mut split)?;
        self.close(watermark_ns, closed)
    }

    /// Notes that what was computed from these records has no row at this time, and might have one if it were computed
    /// from only some of them: as long as a window that holds the time is open they have to be read again.
    pub fn note(&mut self, time_ns: i64, origin: Origin) -> Result<(), WindowError> {
        let is_open = |hop: &Hop| {
            let (first, last) = hop.windows_at(time_ns);
            first <= last && hop.bounds_ns(last).1 > self.closed_through_ns
        };
        if self.outputs.iter().any(|output| is_open(&output.hop)) {
            let open = self.tree.open(self.grid.pane_of(time_ns), &self.aggregates, origin)?;
            open.origin = open.origin.and(origin);
        }
        Ok(())
    }

    /// Closes all windows that end at or before the watermark; those that end together in the order of the outputs.
    pub fn close(&mut self, watermark_ns: i64, closed: &mut Vec<ClosedWindow>) -> Result<(), WindowError> {
        self.settle()?;
        // Asked only when there is something to time; nothing is decided by it.
        let mut begun: Option<Instant> = None;
        while let Some((end_ns, outputs)) = self.next_windows()
            && end_ns <= watermark_ns
        {
            begun.get_or_insert_with(Instant::now); // lint: allow clock (a measurement of its own work)
            if let (Some(_), Some((_, pane))) = (&self.sessions, outputs.first()) {
                self.end_sessions(*pane, end_ns, closed)?;
                self.closed_through(end_ns);
                continue;
            }
            for (output, window) in outputs {
                if self.shipped.is_some() {
                    let (from, to) = self.grid.panes_of(self.outputs[output].hop, window);
                    self.ship(ShipTag::at(end_ns), from, to)?;
                    self.judge.counters[output].closed_windows += 1;
                    continue;
                }
                let window = self.merge(output, window)?;
                // Panes that were only noted hold no rows.
                if window.rows > 0 {
                    self.judge.counters[output].closed_windows += 1;
                    closed.push(window);
                }
            }
            self.closed_through(end_ns);
        }
        self.closing += begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        self.closed_through(watermark_ns);
        self.compact()
    }

    /// Seals every pane: rows that come for it later begin a further segment, which is merged after this one. Floats are
    /// added in another order then, so a place for it is one that a replay of the same rows finds again.
    pub fn seal(&mut self) -> Result<(), WindowError> {
        self.merger.fit(self.keys.len());
        if self.shipped.is_some() {
            let tag = ShipTag { watermark_ns: self.closed_through_ns, is_sealed: true };
            return self.ship(tag, i64::MIN, i64::MAX);
        }
        self.tree.seal(&self.aggregates, &mut self.merger)
    }

    /// Panes that were handed over since the last call, in the order of their tags.
    pub fn take_shipped(&mut self) -> Vec<Shipped> {
        self.shipped.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn ship(&mut self, tag: ShipTag, from: i64, to: i64) -> Result<(), WindowError> {
        for pane in self.tree.between(from, to) {
            self.merger.fit(self.keys.len());
            let Some(summary) = self.tree.take(pane, &self.aggregates, &mut self.merger)? else { continue };
            let state = PaneState::of(pane, &summary, &self.aggregates, &mut self.keys)?;
            if let Some(shipped) = &mut self.shipped {
                shipped.push(Shipped { tag, state });
            }
        }
        Ok(())
    }

    /// Whether a window may end after `from_ns` and at or before `to_ns`.
    pub fn ends_within(&self, from_ns: i64, to_ns: i64) -> bool {
        let first = |hop: &Hop, time_ns: i64| hop.first_ending_after(time_ns);
        from_ns < to_ns && self.outputs.iter().any(|output| first(&output.hop, from_ns) < first(&output.hop, to_ns))
    }

    /// Adds what another partition handed over, behind what its pane holds. Keys that were left out because the pane is at
    /// its bounds are counted as rows that were shed; what no open window is left for is counted as dropped.
    pub fn absorb(&mut self, state: &PaneState) -> Result<(), WindowError> {
        if state.states.len() != self.aggregates.len() {
            return Err(WindowError::internal("a pane of other aggregates"));
        }
        if self.first_open_pane().is_none_or(|first| state.pane < first) {
            self.judge.counters.iter_mut().for_each(|counters| counters.dropped_rows += state.rows as u64);
            return Ok(());
        }
        let summary = state.summary(&self.aggregates, &mut self.keys)?;
        self.merger.fit(self.keys.len());
        let Some(kept) = self.tree.room(state.pane, &summary) else {
            return self.tree.absorb(state.pane, summary, &self.aggregates, &mut self.merger);
        };
        self.shed_rows += (state.rows - kept.len()) as u64;
        let summary = state.pick(&kept)?.summary(&self.aggregates, &mut self.keys)?;
        self.tree.absorb(state.pane, summary, &self.aggregates, &mut self.merger)?;
        // Keys that were left out are known all the same, until now.
        self.compact()
    }

    /// Sealed panes that rows came for since the last call, or since the operator was made. Of sessions, also all that is
    /// open, by the panes before [`WindowOperator::first_open_pane`] that it began in.
    pub fn take_changed(&mut self) -> Result<Vec<PaneState>, WindowError> {
        self.settle()?;
        let changed = self.tree.take_changed().into_iter();
        let mut states = Vec::new();
        for (pane, summary) in changed {
            states.push(PaneState::of(pane, &summary, &self.aggregates, &mut self.keys)?);
        }
        for (pane, summary) in
            self.sessions.as_ref().map_or(Ok(Vec::new()), |sessions| sessions.states(&self.aggregates))?
        {
            states.push(PaneState::of(pane, &summary, &self.aggregates, &mut self.keys)?);
        }
        Ok(states)
    }

    /// Puts a pane back as it was when it was taken, in an operator of the same outputs, keys and aggregates; nothing for
    /// a pane that no open window is left for. Of sessions, what is open must all be of the last time that it was taken.
    pub fn restore(&mut self, state: &PaneState) -> Result<(), WindowError> {
        let is_open = self.first_open_pane().is_some_and(|first| state.pane >= first);
        if !is_open && self.sessions.is_none() {
            return Ok(());
        }
        if state.states.len() != self.aggregates.len() {
            return Err(WindowError::internal("a pane of other aggregates"));
        }
        let summary = state.summary(&self.aggregates, &mut self.keys)?;
        match &mut self.sessions {
            Some(sessions) if !is_open => sessions.restore(state.pane, summary),
            _ => self.tree.restore(state.pane, summary),
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), WindowError> {
        let Some(sessions) = &mut self.sessions else { return Ok(()) };
        self.merger.fit(self.keys.len());
        Ok(sessions.settle(&self.aggregates, &mut self.merger)?)
    }

    /// The earliest end of a window that is open and holds rows.
    pub fn next_end_ns(&self) -> Option<i64> {
        if self.sessions.is_some() {
            return self.next_windows().map(|(end_ns, _)| end_ns);
        }
        self.outputs.iter().filter_map(|output| Some(output.hop.bounds_ns(self.next_window(output.hop)?).1)).min()
    }

    /// From where the partition has to be read again to rebuild all open windows; `None` when none is open.
    pub fn oldest(&self) -> Option<ReplayPoint> {
        let sessions = self.sessions.as_ref().and_then(Sessions::oldest);
        self.tree.oldest().into_iter().chain(sessions).min_by_key(|point| point.offset)
    }

    /// What became of rows, for each output.
    pub fn counters(&self) -> &[Counters] {
        &self.judge.counters
    }

    /// Which of the rows pushed last came after one of their windows had closed, whether another was open or not.
    pub fn late(&self) -> &[u32] {
        &self.late
    }

    /// Rows left out because their pane was at its bounds.
    pub fn shed_rows(&self) -> u64 {
        self.shed_rows
    }

    /// Summaries of panes, and of spans of them, that were read to be merged since the operator was made.
    pub fn merged_summaries(&self) -> u64 {
        self.merger.merged()
    }

    /// Time spent on closing windows since the operator was made.
    pub fn closing(&self) -> Duration {
        self.closing
    }

    pub fn panes(&self) -> usize {
        self.tree.len()
    }

    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Windows of an output that are open and may come out: from the first with rows to the last that has some now.
    /// Of sessions, those that have rows in panes that were gone through.
    pub fn open_windows(&self, output: usize) -> u64 {
        if let Some(sessions) = &self.sessions {
            return sessions.len() as u64;
        }
        let hop = self.outputs[output].hop;
        let Some((first, last)) = self.next_window(hop).zip(self.tree.last()) else { return 0 };
        let (_, last) = hop.windows_at(self.grid.bounds_ns(last).0);
        u64::try_from(last - first + 1).unwrap_or(0)
    }

    /// Bytes of state, as the accumulators and arrays report them.
    pub fn bytes(&self) -> usize {
        self.tree.bytes() + self.keys.bytes() + self.sessions.as_ref().map_or(0, Sessions::bytes)
    }

    /// Adds the rows from `from` to `to` as they were split.
    fn add(&mut self, rows: &Rows<'_>, from: usize, to: usize, split: &mut Split) -> Result<(), WindowError> {
        let kept = split.kept(from, to - from);
        let split = split.take();
        if split.is_empty() {
            return Ok(());
        }
        self.keys.intern_some(rows.keys, from, to - from, kept.as_deref())?;
        let keys = self.keys.len();
        let batch = Batch::new(&self.aggregates, rows.columns, (self.keys.interned(), from, keys))?;
        let mut shed_rows = 0;
        for (pane, of_pane) in split {
            let origin = origin(rows, of_pane[0] as usize, of_pane[of_pane.len() - 1] as usize);
            let open = self.tree.open(pane, &self.aggregates, origin)?;
            shed_rows += open.add(&self.aggregates, &batch, of_pane, &mut self.feed)?;
            open.origin = open.origin.and(origin);
        }
        if shed_rows > 0 {
            self.shed_rows += shed_rows as u64;
            // Keys that were left out are known all the same, until now.
            self.compact()?;
        }
        Ok(())
    }

    /// The earliest end of windows that are not closed and hold rows, and those windows by output. Of sessions, that of a pane
    /// that holds rows or by whose end some end.
    fn next_windows(&self) -> Option<(i64, Vec<(usize, i64)>)> {
        if let Some(sessions) = &self.sessions {
            let hop = self.outputs[0].hop;
            let pane = self.next_window(hop).into_iter().chain(sessions.next_pane()).min()?;
            return Some((hop.bounds_ns(pane).1, vec![(0, pane)]));
        }
        let mut next: Option<(i64, Vec<(usize, i64)>)> = None;
        for (index, output) in self.outputs.iter().enumerate() {
            let Some(window) = self.next_window(output.hop) else { continue };
            let (_, end_ns) = output.hop.bounds_ns(window);
            match &mut next {
                Some((earliest_ns, _)) if *earliest_ns < end_ns => {}
                Some((earliest_ns, windows)) if *earliest_ns == end_ns => windows.push((index, window)),
                _ => next = Some((end_ns, vec![(index, window)])),
            }
        }
        next
    }

    fn next_window(&self, hop: Hop) -> Option<i64> {
        let mut oldest_open = hop.first_ending_after(self.closed_through_ns);
        loop {
            let pane = self.tree.first_from(self.grid.panes_of(hop, oldest_open).0)?;
            let (first, last) = hop.windows_at(self.grid.bounds_ns(pane).0);
            if first.max(oldest_open) <= last {
                return Some(first.max(oldest_open));
            }
            // The pane is another output's: it lies between two windows of this one.
            oldest_open = last + 1;
        }
    }

    fn merge(&mut self, output: usize, window: i64) -> Result<ClosedWindow, WindowError> {
        let Output { hop, aggregates: wanted } = &self.outputs[output];
        let (from, to) = self.grid.panes_of(*hop, window);
        let (start_ns, end_ns) = hop.bounds_ns(window);
        self.merger.fit(self.keys.len());
        let tiles = self.tree.tiles(from, to, &self.aggregates, &mut self.merger)?;
        let origin = span(&tiles)?;
        let (ids, values) = self.merger.evaluate(&self.aggregates, wanted, &tiles)?;
        let (keys, rows) = (self.keys.values(&ids)?, ids.len());
        let (sessions, panes) = (Arc::default(), (from, to));
        Ok(ClosedWindow { output, start_ns, end_ns, sessions, panes, keys, values, rows, origin })
    }

    /// Takes the pane into the sessions, and hands over those that are over by its end.
    fn end_sessions(&mut self, pane: i64, end_ns: i64, closed: &mut Vec<ClosedWindow>) -> Result<(), WindowError> {
        let Some(sessions) = &mut self.sessions else { return Ok(()) };
        self.merger.fit(self.keys.len());
        let rows = self.tree.take(pane, &self.aggregates, &mut self.merger)?;
        let Some(ended) = sessions.advance(pane, rows, &self.aggregates, &mut self.merger)? else { return Ok(()) };
        let Ended { summary, alike } = ended;
        let panes = (alike.iter().map(|alike| alike.panes.0).min().unwrap_or(pane), pane);
        let origin = alike.iter().map(|alike| alike.origin).reduce(Origin::and);
        let origin = origin.ok_or_else(|| WindowError::internal("sessions of no record"))?;
        let (start_ns, sessions) = (self.grid.bounds_ns(pane).0, Arc::new(alike));
        for (output, Output { aggregates: wanted, .. }) in self.outputs.iter().enumerate() {
            let parts = std::slice::from_ref(&summary);
            let (ids, values) = self.merger.evaluate(&self.aggregates, wanted, parts)?;
            let (keys, rows, sessions) = (self.keys.values(&ids)?, ids.len(), sessions.clone());
            self.judge.counters[output].closed_windows += sessions.len() as u64;
            closed.push(ClosedWindow { output, start_ns, end_ns, sessions, panes, keys, values, rows, origin });
        }
        Ok(())
    }

    fn closed_through(&mut self, time_ns: i64) {
        if time_ns > self.closed_through_ns {
            self.closed_through_ns = time_ns;
            if let Some(first) = self.first_open_pane() {
                self.tree.forget_before(first);
            }
        }
    }

    /// Panes before it are in nothing that is open; those that are in open sessions have been gone through.
    pub fn first_held_pane(&self) -> Option<i64> {
        let sessions = self.sessions.as_ref().and_then(Sessions::first_pane);
        self.first_open_pane().into_iter().chain(sessions).min()
    }

    /// Panes before it are in closed windows alone, or have been gone through for sessions.
    pub fn first_open_pane(&self) -> Option<i64> {
        let first_of = |hop: Hop| self.grid.panes_of(hop, hop.first_ending_after(self.closed_through_ns)).0;
        self.outputs.iter().map(|output| first_of(output.hop)).min()
    }

    /// Forgets keys that no pane holds, once they are more than half of all.
    fn compact(&mut self) -> Result<(), WindowError> {
        const FEW: usize = 1024;
        let held = self.tree.keys() + self.sessions.as_ref().map_or(0, Sessions::len);
        if self.keys.len() < FEW.max(2 * held) {
            return Ok(());
        }
        let mut live = vec![false; self.keys.len()];
        self.tree.mark_live(&mut live);
        self.sessions.iter().for_each(|sessions| sessions.mark_live(&mut live));
        let renumbered = self.keys.compact(&live)?;
        self.tree.renumber(&renumbered, &self.keys);
        self.sessions.iter_mut().for_each(|sessions| sessions.renumber(&renumbered));
        self.merger = Merger::default();
        Ok(())
    }
}

/// What the rows from `first` to `last` come from.
fn origin(rows: &Rows<'_>, first: usize, last: usize) -> Origin {
    let (first, last) = (rows.record_of_row[first] as usize, rows.record_of_row[last] as usize);
    if first == last { rows.records[first] } else { rows.records[first].and(rows.records[last]) }
}
