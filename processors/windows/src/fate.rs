//! What becomes of a row: which pane it goes to, and which outputs it is late for.
//!
//! Judged by the watermark that the row found. Neighbouring rows are mostly of the same few panes, so what is true of
//! a pane is worked out once and remembered for a few of them.

use crate::{Grid, Hop};

/// What became of rows of one output, since the operator was made.
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

/// Of a row, with the pane that it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    InTime(i64),
    /// A window of its pane has to be closed before it is added.
    Late(i64),
    /// No open window is left, for any output.
    Dropped,
    /// It lies between windows, for every output.
    Between,
}

impl Fate {
    pub fn pane(self) -> Option<i64> {
        match self {
            Fate::InTime(pane) | Fate::Late(pane) => Some(pane),
            Fate::Dropped | Fate::Between => None,
        }
    }

    /// At least one of its windows closed before it came.
    pub fn is_late(self) -> bool {
        matches!(self, Fate::Late(_) | Fate::Dropped)
    }
}

/// What is true of all rows of a pane.
#[derive(Debug, Clone, Copy)]
struct Place {
    pane: i64,
    start_ns: i64,
    end_ns: i64,
    /// End of the window that closes first, of all outputs; rows that found an earlier watermark are in time everywhere.
    first_end_ns: i64,
    /// In a window of every output.
    is_everywhere: bool,
}

const PLACES: usize = 4;

pub struct Judge {
    grid: Grid,
    hops: Vec<Hop>,
    places: [Option<Place>; PLACES],
    /// That of the row before.
    last: Option<Place>,
    /// One for each hop.
    pub counters: Vec<Counters>,
}

impl Judge {
    pub fn new(grid: Grid, hops: Vec<Hop>) -> Self {
        let counters = vec![Counters::default(); hops.len()];
        Self { grid, hops, places: [None; PLACES], last: None, counters }
    }

    /// Decides and counts.
    pub fn judge(&mut self, time_ns: i64, watermark_ns: i64) -> Fate {
        let place = match self.last {
            Some(last) if last.start_ns <= time_ns && time_ns < last.end_ns => last,
            _ => {
                let place = self.place(time_ns);
                self.last = Some(place);
                place
            }
        };
        if place.is_everywhere && watermark_ns < place.first_end_ns {
            return Fate::InTime(place.pane);
        }
        self.judge_each(place.pane, time_ns, watermark_ns)
    }

    fn place(&mut self, time_ns: i64) -> Place {
        let known = self.places.iter().flatten().find(|place| place.start_ns <= time_ns && time_ns < place.end_ns);
        if let Some(place) = known {
            return *place;
        }
        let pane = self.grid.pane_of(time_ns);
        let (start_ns, end_ns) = self.grid.bounds_ns(pane);
        let windows = self.hops.iter().map(|hop| (hop, hop.windows_at(time_ns)));
        let (inside, between): (Vec<_>, Vec<_>) = windows.partition(|(_, (first, last))| first <= last);
        let first_end_ns = inside.iter().map(|(hop, (first, _))| hop.bounds_ns(*first).1).min().unwrap_or(i64::MIN);
        let place = Place { pane, start_ns, end_ns, first_end_ns, is_everywhere: between.is_empty() };
        self.places[pane.rem_euclid(PLACES as i64) as usize] = Some(place);
        place
    }

    fn judge_each(&mut self, pane: i64, time_ns: i64, watermark_ns: i64) -> Fate {
        let (mut is_late, mut is_wanted) = (false, false);
        for (hop, counters) in self.hops.iter().zip(&mut self.counters) {
            let (first, last) = hop.windows_at(time_ns);
            if first > last {
                counters.gap_rows += 1;
                continue;
            }
            let late = hop.bounds_ns(first).1 <= watermark_ns;
            let dropped = hop.bounds_ns(last).1 <= watermark_ns;
            counters.late_rows += u64::from(late);
            counters.dropped_rows += u64::from(dropped);
            is_late |= late;
            is_wanted |= !dropped;
        }
        match (is_wanted, is_late) {
            (false, true) => Fate::Dropped,
            (false, false) => Fate::Between,
            (true, true) => Fate::Late(pane),
            (true, false) => Fate::InTime(pane),
        }
    }
}
