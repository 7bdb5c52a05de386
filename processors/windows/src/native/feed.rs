//! Rows of a batch into the states of a pane, in one pass for all native aggregates.
//!
//! Rows are taken in blocks small enough for the states that they touch to stay in the first cache, and each lane is
//! updated for the whole block in a loop of its own, so that the loads of many keys overlap. Within a lane rows come in
//! their order, and no lane depends on another but for its counter, whose count with each row is kept: the result is that
//! of row after row.

use super::{
    input::Input,
    layout::{Kind, Lane, Layout},
    states::States,
};
use arrow::{buffer::BooleanBuffer, util::bit_iterator::BitIndexIterator};

/// Rows of a block; a power of two.
const BLOCK: usize = 128;

/// Which rows of the block, by their place in it.
#[derive(Clone)]
struct Chosen {
    rows: usize,
    /// All rows: the places are not written down.
    is_all: bool,
    places: [u8; BLOCK],
}

impl Chosen {
    const NONE: Self = Self { rows: 0, is_all: false, places: [0; BLOCK] };

    #[inline(always)]
    fn each(&self, mut take: impl FnMut(usize)) {
        if self.is_all {
            (0..self.rows.min(BLOCK)).for_each(take);
        } else {
            self.places[..self.rows.min(BLOCK)].iter().for_each(|&place| take(usize::from(place) % BLOCK));
        }
    }

    /// Chooses those of the rows from `first` on that pass a filter: most filters pass few rows.
    fn pick(&mut self, places: &[u8; SPAN], filter: &BooleanBuffer, first: usize, span: usize) {
        (self.rows, self.is_all) = (0, false);
        for at in BitIndexIterator::new(filter.values(), filter.offset() + first, span) {
            let place = places[at % SPAN];
            self.places[self.rows % BLOCK] = place;
            self.rows += usize::from(place != OTHER);
        }
    }

    /// Chooses of the first `rows` those that pass.
    #[inline(always)]
    fn choose(&mut self, rows: usize, mut passes: impl FnMut(usize) -> bool) {
        (self.rows, self.is_all) = (0, false);
        for place in 0..rows.min(BLOCK) {
            // Without a branch: whether a row passes cannot be foreseen.
            self.places[self.rows % BLOCK] = place as u8;
            self.rows += usize::from(passes(place));
        }
    }
}

/// Rows of a batch that a block of them may be spread over, for filters to be looked through by their bits.
const SPAN: usize = 8 * BLOCK;
/// A row of the span that is not of the block.
const OTHER: u8 = u8::MAX;

/// Memory for one block, kept from one to the next.
pub struct Feed {
    /// Place in the block of each row from the block's first on.
    places: [u8; SPAN],
    /// First word of each row's state.
    starts: [usize; BLOCK],
    columns: Vec<[u64; BLOCK]>,
    chosen: Vec<Chosen>,
    /// Of each counter: its count with each row; kept when moments need it.
    counts: Vec<[f64; BLOCK]>,
    /// Of a lane with missing values.
    present: Chosen,
    present_counts: [f64; BLOCK],
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            places: [OTHER; SPAN],
            starts: [0; BLOCK],
            columns: Vec::new(),
            chosen: Vec::new(),
            counts: Vec::new(),
            present: Chosen::NONE,
            present_counts: [0.0; BLOCK],
        }
    }
}

impl Feed {
    /// Adds `rows` of a batch to the states of their `groups`, of which there are `total` by then.
    pub fn add(
        &mut self,
        layout: &Layout,
        states: &mut States,
        input: &Input,
        (rows, groups): (&[u32], &[u32]),
        total: usize,
    ) {
        if layout.width() == 0 {
            return;
        }
        states.grow(layout, total);
        self.columns.resize(input.columns.len(), [0; BLOCK]);
        self.chosen.resize(layout.counters.len(), Chosen::NONE);
        self.counts.resize(layout.counters.len(), [0.0; BLOCK]);
        for (rows, groups) in rows.chunks(BLOCK).zip(groups.chunks(BLOCK)) {
            self.block(layout, states, input, rows, groups);
        }
    }

    /// Notes the places of rows, which ascend; over how many rows of the batch they are spread.
    fn spread(&mut self, rows: &[u32]) -> usize {
        let (first, last) = (rows[0], rows[rows.len() - 1]);
        let span = (last - first) as usize + 1;
        if span <= SPAN {
            self.places[..span].fill(OTHER);
            rows.iter().enumerate().for_each(|(place, &row)| self.places[(row - first) as usize % SPAN] = place as u8);
        }
        span
    }

    fn block(&mut self, layout: &Layout, states: &mut States, input: &Input, rows: &[u32], groups: &[u32]) {
        let stride = states.stride();
        for (start, &group) in self.starts.iter_mut().zip(groups) {
            *start = group as usize * stride;
        }
        for (words, values) in self.columns.iter_mut().zip(&input.columns) {
            values.read(rows, words);
        }
        let span = self.spread(rows);
        let words = states.words();
        for (index, (counter, filter)) in layout.counters.iter().zip(&input.filters).enumerate() {
            let (starts, counts, chosen) = (&self.starts, &mut self.counts[index], &mut self.chosen[index]);
            match filter {
                Some(filter) if span <= SPAN => chosen.pick(&self.places, filter, rows[0] as usize, span),
                Some(filter) => chosen.choose(rows.len(), |place| filter.value(rows[place] as usize)),
                None => (chosen.rows, chosen.is_all) = (rows.len(), true),
            }
            chosen.each(|place| {
                let count = &mut words[starts[place] + counter.word];
                *count += 1;
                // Below 2^53, where a double is exact.
                counts[place] = *count as i64 as f64;
            });
        }
        for (index, (lane, (column, nulls))) in layout.lanes.iter().zip(&input.lanes).enumerate() {
            let mut chosen = &self.chosen[lane.counter];
            let mut counts = &self.counts[lane.counter];
            if nulls.is_some() || !states.missing[index].is_empty() {
                let (missing, present_counts) = (states.missing_of(index), &mut self.present_counts);
                let mut is_chosen = [false; BLOCK];
                chosen.each(|place| {
                    let group = groups[place] as usize;
                    is_chosen[place] = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(rows[place] as usize));
                    missing[group] += u64::from(!is_chosen[place]);
                    present_counts[place] = counts[place] - missing[group] as i64 as f64;
                });
                self.present.choose(rows.len(), |place| is_chosen[place]);
                (chosen, counts) = (&self.present, &self.present_counts);
            }
            if let Some(column) = *column {
                fold_lane(lane, states.words(), &self.starts, &self.columns[column], chosen, counts);
            }
        }
    }
}

fn fold_lane(
    lane: &Lane,
    words: &mut [u64],
    starts: &[usize; BLOCK],
    values: &[u64; BLOCK],
    chosen: &Chosen,
    counts: &[f64; BLOCK],
) {
    let (Some(kind), Some(first)) = (lane.kind, lane.sum.or(lane.min).or(lane.max).or(lane.moments)) else { return };
    let rows = Rows { first, starts, values, chosen, counts };
    match kind {
        Kind::Float => rows.fold(lane, words, add_floats, lesser_float, greater_float),
        Kind::Unsigned => rows.fold(lane, words, u64::wrapping_add, u64::min, u64::max),
        Kind::Signed => rows.fold(
            lane,
            words,
            u64::wrapping_add,
            |one, other| (one as i64).min(other as i64) as u64,
            |one, other| (one as i64).max(other as i64) as u64,
        ),
    }
}

/// Values of the block's rows, and where their states begin.
struct Rows<'a> {
    /// First word of the lane.
    first: usize,
    starts: &'a [usize; BLOCK],
    values: &'a [u64; BLOCK],
    chosen: &'a Chosen,
    counts: &'a [f64; BLOCK],
}

impl Rows<'_> {
    /// Into all words of a lane at once.
    #[inline(always)]
    fn fold(
        &self,
        lane: &Lane,
        words: &mut [u64],
        add: impl Fn(u64, u64) -> u64,
        lesser: impl Fn(u64, u64) -> u64,
        greater: impl Fn(u64, u64) -> u64,
    ) {
        match (lane.sum, lane.min, lane.max, lane.moments) {
            (Some(_), None, None, None) => self.each(words, |[sum], value, _| *sum = add(*sum, value)),
            (None, Some(_), None, None) => self.each(words, |[min], value, _| *min = lesser(*min, value)),
            (None, None, Some(_), None) => self.each(words, |[max], value, _| *max = greater(*max, value)),
            (None, Some(_), Some(_), None) => self.each(words, |[min, max], value, _| {
                *min = lesser(*min, value);
                *max = greater(*max, value);
            }),
            (Some(_), Some(_), Some(_), None) => self.each(words, |[sum, min, max], value, _| {
                *sum = add(*sum, value);
                *min = lesser(*min, value);
                *max = greater(*max, value);
            }),
            (Some(_), None, None, Some(_)) => self.each(words, |[sum, mean, squares], value, count| {
                *sum = add(*sum, value);
                add_moment(mean, squares, value, count);
            }),
            (sum, min, max, moments) => {
                if let Some(first) = sum {
                    Rows { first, ..*self }.each(words, |[sum], value, _| *sum = add(*sum, value));
                }
                if let Some(first) = min {
                    Rows { first, ..*self }.each(words, |[min], value, _| *min = lesser(*min, value));
                }
                if let Some(first) = max {
                    Rows { first, ..*self }.each(words, |[max], value, _| *max = greater(*max, value));
                }
                if let Some(first) = moments {
                    let rows = Rows { first, ..*self };
                    rows.each(words, |[mean, squares], value, count| add_moment(mean, squares, value, count));
                }
            }
        }
    }

    /// Hands over the lane's words for each row, its value, and its count.
    #[inline(always)]
    fn each<const N: usize>(&self, words: &mut [u64], change: impl Fn(&mut [u64; N], u64, f64)) {
        self.chosen.each(|place| {
            if let Some(state) = words[self.starts[place] + self.first..].first_chunk_mut() {
                change(state, self.values[place], self.counts[place]);
            }
        });
    }
}

/// DataFusion's recurrence; `count` is that with this value.
#[inline(always)]
fn add_moment(mean: &mut u64, squares: &mut u64, value: u64, count: f64) {
    let (known, value) = (f64::from_bits(*mean), f64::from_bits(value));
    let delta = value - known;
    let new = delta / count + known;
    *mean = new.to_bits();
    *squares = (f64::from_bits(*squares) + delta * (value - new)).to_bits();
}

#[inline(always)]
pub fn add_floats(one: u64, other: u64) -> u64 {
    (f64::from_bits(one) + f64::from_bits(other)).to_bits()
}

/// The new value when it is less or nothing can be said, as DataFusion decides: zeros of either sign are equal, and what
/// follows a NaN replaces it.
#[inline(always)]
pub fn lesser_float(known: u64, new: u64) -> u64 {
    if f64::from_bits(new) >= f64::from_bits(known) { known } else { new }
}

#[inline(always)]
pub fn greater_float(known: u64, new: u64) -> u64 {
    if f64::from_bits(new) <= f64::from_bits(known) { known } else { new }
}
