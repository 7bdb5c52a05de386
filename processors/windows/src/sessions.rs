//! Sessions: the rows of a key of which each comes less than the gap after one before it.
//!
//! Panes are as long as the gap, so rows of a key in one pane are of one session, those of two panes that are not
//! neighbours never are, and those of neighbours are where the first of the later pane comes less than the gap after the
//! last of the earlier. So panes are gone through in order, once each when the watermark passes its end: of each key the
//! session that is open is merged with what its pane says, in this order, or ends. Which sessions are open is then just
//! the keys of the last pane.
//!
//! Sessions are cut at multiples of the longest since 1970, not when they become too long: so what a session is depends
//! on its own rows alone, and who reads again from the first of them finds the same.
//!
//! Deliberately not here: which rows are in time ([`crate::fate`]): those whose pane's end the watermark has not passed.
//! Limits: a session is told up to one gap after its end; one in the very last pane that there can be (gaps of nanoseconds, in the
//! year 2262) is never.

use crate::{
    Aggregate, Hop, Origin, ReplayPoint, WindowError,
    aggregates::Aggregates,
    segment::{Merger, Summary},
};
use arrow::{
    array::{AsArray, Int64Array},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use datafusion::{
    common::HashMap,
    error::Result,
    functions_aggregate::min_max::{max_udaf, min_udaf},
    logical_expr::AggregateUDF,
    physical_expr::{aggregate::AggregateExprBuilder, expressions::col},
};
use std::{collections::BTreeMap, sync::Arc};

pub struct Sessions {
    gap_ns: i64,
    panes_max: i64,
    /// Of the operator's aggregates: the least and the greatest time.
    times: [usize; 2],
    open: Option<Open>,
    /// Of panes, from the one before the first session's on: a window below of which no row is left now might give one that
    /// belongs to it, if it were computed from some of its records.
    origins: BTreeMap<i64, Origin>,
    /// Put back and not yet [settled](Sessions::settle): by first pane.
    restored: BTreeMap<i64, Arc<Summary>>,
}

/// The sessions that have rows in the last pane that was gone through.
struct Open {
    pane: i64,
    summary: Arc<Summary>,
    /// By place in the summary.
    first_panes: Vec<i64>,
}

/// Sessions that are over by the end of one pane, in the order of their ends and starts.
pub struct Ended {
    pub summary: Arc<Summary>,
    /// Those that begin and end together, one after the other.
    pub alike: Vec<Alike>,
}

/// Sessions of several keys that begin and end together.
#[derive(Debug, Clone, PartialEq)]
pub struct Alike {
    /// How many.
    pub rows: usize,
    /// The first row's time.
    pub start_ns: i64,
    /// The last row's time and the gap; where it is cut.
    pub end_ns: i64,
    /// First and one past the last that they have rows in.
    pub panes: (i64, i64),
    pub origin: Origin,
}

/// The least and the greatest of a column of times, which sessions need beside what is asked for.
pub fn time_bounds(column: usize) -> Result<[Aggregate; 2]> {
    let schema = Arc::new(Schema::new(vec![Field::new("time_ns", DataType::Int64, false)]));
    let of = |function: Arc<AggregateUDF>| -> Result<Aggregate> {
        let builder = AggregateExprBuilder::new(function, vec![col("time_ns", &schema)?]).schema(schema.clone());
        Ok(Aggregate::new(Arc::new(builder.alias("time_ns").build()?), vec![column], None))
    };
    Ok([of(min_udaf())?, of(max_udaf())?])
}

impl Sessions {
    /// `None` for windows of one length. `times` are the places of [`time_bounds`].
    pub fn new(hop: Hop, times: [usize; 2]) -> Option<Self> {
        let panes_max = hop.session_panes()?;
        Some(Self {
            gap_ns: hop.slide_ns(),
            panes_max,
            times,
            open: None,
            origins: BTreeMap::new(),
            restored: BTreeMap::new(),
        })
    }

    /// The pane by whose end open sessions end that have no rows in it, and after which nothing is of a pane that was only noted.
    pub fn next_pane(&self) -> Option<i64> {
        self.origins.keys().next_back().map(|pane| pane.saturating_add(1))
    }

    /// What is open, by the pane that it began in, with what that pane comes from; and where no session began in a pane,
    /// that alone.
    pub fn states(&self, aggregates: &Aggregates) -> Result<Vec<(i64, Summary)>> {
        let state = |(&pane, origin): (&i64, &Origin)| {
            let Some(open) = &self.open else { return Ok((pane, Summary::nothing(aggregates, *origin))) };
            let began = open.first_panes.iter().enumerate().filter(|(_, first)| **first == pane);
            let places: Vec<u32> = began.map(|(place, _)| place as u32).collect();
            Ok((pane, Summary { origin: *origin, ..open.summary.pick(&places)? }))
        };
        self.origins.iter().map(state).collect()
    }

    /// Puts back one of the [`Sessions::states`]. Before anything else is done all of them are to be, and
    /// [settled](Sessions::settle).
    pub fn restore(&mut self, pane: i64, state: Summary) {
        self.origins.insert(pane, state.origin);
        self.restored.insert(pane, Arc::new(state));
    }

    /// Makes one of what was put back, in the order in which it was before: by first pane.
    pub fn settle(&mut self, aggregates: &Aggregates, merger: &mut Merger) -> Result<()> {
        let restored = std::mem::take(&mut self.restored);
        let Some((&pane, _)) = restored.last_key_value() else { return Ok(()) };
        let first_panes = restored.iter().flat_map(|(&first, part)| vec![first; part.ids.len()]).collect();
        let parts: Vec<Arc<Summary>> = restored.into_values().collect();
        if parts.iter().all(|part| part.ids.is_empty()) {
            return Ok(());
        }
        self.open = Some(Open { pane, summary: Arc::new(merger.merge(aggregates, &parts)?), first_panes });
        Ok(())
    }

    /// Goes through a pane; `next_pane` is not left out.
    pub fn advance(
        &mut self,
        pane: i64,
        rows: Option<Arc<Summary>>,
        aggregates: &Aggregates,
        merger: &mut Merger,
    ) -> Result<Option<Ended>, WindowError> {
        if let Some(rows) = &rows {
            self.origins.insert(pane, rows.origin);
        }
        let rows = rows.filter(|rows| !rows.ids.is_empty());
        let before = self.open.take();
        let (mut continued, mut ended) = (Vec::new(), None);
        if let Some(open) = &before {
            let times = self.times_of(&open.summary, aggregates, merger)?;
            let lasts_ns = &times[1];
            let first_ns = self.first_times(rows.as_ref(), aggregates, merger)?;
            let is_cut = pane.rem_euclid(self.panes_max) == 0;
            let goes_on = |place: usize| {
                let first_ns = first_ns.get(&open.summary.ids[place]);
                first_ns.is_some_and(|first_ns| first_ns.saturating_sub(lasts_ns.value(place)) < self.gap_ns)
            };
            let places = 0..open.summary.ids.len() as u32;
            let (on, over): (Vec<u32>, Vec<u32>) = places.partition(|&place| !is_cut && goes_on(place as usize));
            ended = self.end(open, &times, &over, |place| is_cut && goes_on(place as usize))?;
            continued = on;
        }
        self.open = self.go_on(pane, before, &continued, rows, aggregates, merger)?;
        match &self.open {
            Some(open) => {
                let first = open.first_panes.iter().min().copied().unwrap_or(pane);
                self.origins = self.origins.split_off(&first.saturating_sub(1));
            }
            // A session may begin with the next pane.
            None => self.origins.retain(|noted, _| *noted == pane),
        }
        Ok(ended)
    }

    /// Sessions at `places` are over, those that `is_cut` at the end of their pane. `times`: of all that are open.
    fn end(
        &self,
        open: &Open,
        [starts_ns, lasts_ns]: &[Int64Array; 2],
        places: &[u32],
        is_cut: impl Fn(u32) -> bool,
    ) -> Result<Option<Ended>, WindowError> {
        if places.is_empty() {
            return Ok(None);
        }
        let past = open.pane.saturating_add(1);
        let end_ns = |place: u32| match is_cut(place) {
            true => past.saturating_mul(self.gap_ns),
            false => lasts_ns.value(place as usize).saturating_add(self.gap_ns),
        };
        let bounds = |&place: &u32| (end_ns(place), starts_ns.value(place as usize));
        let mut places = places.to_vec();
        // Those that are alike stay in the order of their keys.
        places.sort_by_cached_key(bounds);
        let mut alike = Vec::new();
        for places in places.chunk_by(|one, other| bounds(one) == bounds(other)) {
            let (end_ns, start_ns) = bounds(&places[0]);
            let panes = (open.first_panes[places[0] as usize], past);
            let origins = self.origins.range(panes.0..=open.pane).map(|(_, origin)| *origin);
            let origin = origins.reduce(Origin::and).ok_or_else(|| WindowError::internal("a session of no pane"))?;
            alike.push(Alike { rows: places.len(), start_ns, end_ns, panes, origin });
        }
        Ok(Some(Ended { summary: Arc::new(open.summary.pick(&places)?), alike }))
    }

    /// What is open behind `pane`: what it says of its keys, behind what those said that go on.
    fn go_on(
        &self,
        pane: i64,
        before: Option<Open>,
        continued: &[u32],
        rows: Option<Arc<Summary>>,
        aggregates: &Aggregates,
        merger: &mut Merger,
    ) -> Result<Option<Open>, WindowError> {
        let Some(rows) = rows else { return Ok(None) };
        let Some(before) = before.filter(|_| !continued.is_empty()) else {
            let first_panes = vec![pane; rows.ids.len()];
            return Ok(Some(Open { pane, summary: rows, first_panes }));
        };
        let first_pane_of = |&place: &u32| (before.summary.ids[place as usize], before.first_panes[place as usize]);
        let first_panes: HashMap<u32, i64> = continued.iter().map(first_pane_of).collect();
        let kept = match continued.len() == before.summary.ids.len() {
            true => before.summary,
            false => Arc::new(before.summary.pick(continued)?),
        };
        let parts = [kept, rows];
        let summary = Arc::new(merger.merge(aggregates, &parts)?);
        let first_panes = summary.ids.iter().map(|id| first_panes.get(id).copied().unwrap_or(pane)).collect();
        Ok(Some(Open { pane, summary, first_panes }))
    }

    /// Least and greatest time of each key, by its place.
    fn times_of(
        &self,
        summary: &Arc<Summary>,
        aggregates: &Aggregates,
        merger: &mut Merger,
    ) -> Result<[Int64Array; 2], WindowError> {
        let (ids, values) = merger.evaluate(aggregates, &self.times, std::slice::from_ref(summary))?;
        match values.as_slice() {
            [least, greatest] if ids == summary.ids => {
                Ok([least, greatest].map(|times| times.as_primitive::<Int64Type>().clone()))
            }
            _ => Err(WindowError::internal("times of other keys")),
        }
    }

    fn first_times(
        &self,
        rows: Option<&Arc<Summary>>,
        aggregates: &Aggregates,
        merger: &mut Merger,
    ) -> Result<HashMap<u32, i64>, WindowError> {
        let Some(rows) = rows else { return Ok(HashMap::new()) };
        let [first_ns, _] = self.times_of(rows, aggregates, merger)?;
        Ok(rows.ids.iter().copied().zip(first_ns.values().iter().copied()).collect())
    }

    /// The first pane that something open comes from.
    pub fn first_pane(&self) -> Option<i64> {
        self.origins.keys().next().copied()
    }

    /// From where the partition has to be read again to rebuild what is open.
    pub fn oldest(&self) -> Option<ReplayPoint> {
        self.origins.values().map(|origin| origin.first).min_by_key(|point| point.offset)
    }

    /// Sessions that are open.
    pub fn len(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.summary.ids.len())
    }

    pub fn bytes(&self) -> usize {
        let open =
            self.open.as_ref().map_or(0, |open| open.summary.bytes() + open.first_panes.capacity() * size_of::<i64>());
        open + self.origins.len() * size_of::<(i64, Origin)>()
    }

    pub fn mark_live(&self, live: &mut [bool]) {
        self.open.iter().for_each(|open| open.summary.mark_live(live));
    }

    pub fn renumber(&mut self, renumbered: &[u32]) {
        self.open.iter_mut().for_each(|open| Arc::make_mut(&mut open.summary).renumber(renumbered));
    }
}
