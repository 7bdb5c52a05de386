//! Sealed states of several panes or spans into one, as DataFusion's accumulators merge theirs.
//!
//! Word by word: a column of what is merged into stays in the cache while all parts go over it, in their order. What has
//! no value leaves what it is merged into as it is.

use super::{
    column::Column,
    feed::{add_floats, greater_float, lesser_float},
    layout::{Kind, Lane, Layout, Wanted},
    sealed::Sealed,
};

/// A part, and which of the merged groups each of its groups is. Groups are numbered in the order in which parts have
/// them, so those of the first part are as they are.
pub type Part<'a> = (&'a Sealed, &'a [u32]);

impl Sealed {
    /// Merges what is `wanted` of `parts` into `groups` groups.
    pub fn merge(layout: &Layout, wanted: &Wanted, parts: &[Part<'_>], groups: usize) -> Self {
        let columns = vec![Column::default(); layout.width()];
        let mut merged = Self { groups, columns, missing: vec![Vec::new(); layout.lanes.len()] };
        for &counter in &wanted.counters {
            let word = layout.counters[counter].word;
            merged.columns[word] = fold(layout, parts, groups, word, u64::wrapping_add);
        }
        for &index in &wanted.lanes {
            let lane = &layout.lanes[index];
            merged.merge_missing(index, parts);
            let words = [(lane.sum, add(lane)), (lane.min, lesser(lane)), (lane.max, greater(lane))];
            for (word, with) in words {
                let Some(word) = word else { continue };
                merged.columns[word] = match with {
                    With::Add => fold(layout, parts, groups, word, u64::wrapping_add),
                    With::AddFloat => fold(layout, parts, groups, word, add_floats),
                    With::Least => {
                        fold(layout, parts, groups, word, |one, other| (one as i64).min(other as i64) as u64)
                    }
                    With::Greatest => {
                        fold(layout, parts, groups, word, |one, other| (one as i64).max(other as i64) as u64)
                    }
                    With::LeastUnsigned => fold(layout, parts, groups, word, u64::min),
                    With::GreatestUnsigned => fold(layout, parts, groups, word, u64::max),
                    With::LeastFloat => fold_present(layout, parts, groups, (index, word), lesser_float),
                    With::GreatestFloat => fold_present(layout, parts, groups, (index, word), greater_float),
                };
            }
            if let Some(word) = lane.moments {
                [merged.columns[word], merged.columns[word + 1]] = merge_moments(layout, parts, groups, index, word);
            }
        }
        merged
    }

    fn merge_missing(&mut self, lane: usize, parts: &[Part<'_>]) {
        for (part, at) in parts.iter().filter(|(part, _)| !part.missing[lane].is_empty()) {
            let missing = &mut self.missing[lane];
            missing.resize(self.groups, 0);
            at.iter().zip(&part.missing[lane]).for_each(|(&group, more)| missing[group as usize] += more);
        }
    }
}

enum With {
    Add,
    AddFloat,
    Least,
    LeastUnsigned,
    LeastFloat,
    Greatest,
    GreatestUnsigned,
    GreatestFloat,
}

fn add(lane: &Lane) -> With {
    if lane.kind == Some(Kind::Float) { With::AddFloat } else { With::Add }
}

fn lesser(lane: &Lane) -> With {
    match lane.kind {
        Some(Kind::Float) => With::LeastFloat,
        Some(Kind::Unsigned) => With::LeastUnsigned,
        _ => With::Least,
    }
}

fn greater(lane: &Lane) -> With {
    match lane.kind {
        Some(Kind::Float) => With::GreatestFloat,
        Some(Kind::Unsigned) => With::GreatestUnsigned,
        _ => With::Greatest,
    }
}

/// The first part's column, the others merged into it. A sum begins with 0, a least value with the greatest, so what the
/// first part says is what merging it into nothing gives.
fn fold(layout: &Layout, parts: &[Part<'_>], groups: usize, word: usize, with: impl Fn(u64, u64) -> u64) -> Column {
    let mut column = Vec::with_capacity(groups);
    let mut parts = parts.iter();
    if let Some((first, _)) = parts.next() {
        first.columns[word].append_to(&mut column);
    }
    column.resize(groups, layout.blank[word]);
    for (part, at) in parts {
        part.columns[word].zip(at, |group, other| {
            let state = &mut column[group as usize];
            *state = with(*state, other);
        });
    }
    column.into()
}

/// The same for what would change with a state that no value was in: after a NaN everything counts.
fn fold_present(
    layout: &Layout,
    parts: &[Part<'_>],
    groups: usize,
    (lane, word): (usize, usize),
    with: impl Fn(u64, u64) -> u64,
) -> Column {
    let mut column = vec![layout.blank[word]; groups];
    for (part, at) in parts {
        let counts = part.counts(layout, lane);
        let mut counts = counts.iter();
        part.columns[word].zip(at, |group, other| {
            let state = &mut column[group as usize];
            let is_some = counts.next().is_some_and(|&count| count > 0);
            *state = if is_some { with(*state, other) } else { *state };
        });
    }
    column.into()
}

/// DataFusion's formula, in its order; but where there was nothing before, what comes is taken as it is and not rounded. So
/// what a group has does not depend on which other groups are beside it.
fn merge_moments(layout: &Layout, parts: &[Part<'_>], groups: usize, lane: usize, word: usize) -> [Column; 2] {
    // Count, mean and squares of a group lie together.
    let mut moments = vec![[0.0; 3]; groups];
    for (part, at) in parts {
        let counts = part.counts(layout, lane);
        let (means, squares) = (part.columns[word].words(), part.columns[word + 1].words());
        let others = means.iter().zip(squares.iter());
        for ((&group, &added), (&mean, &square)) in at.iter().zip(counts.iter()).zip(others) {
            if added == 0 {
                continue;
            }
            let [before, known_mean, squares] = moments[group as usize];
            let (mean, square) = (f64::from_bits(mean), f64::from_bits(square));
            // Below 2^53, where doubles count exactly.
            let added = added as i64 as f64;
            if before == 0.0 {
                moments[group as usize] = [added, mean, square];
                continue;
            }
            let both = before + added;
            let delta = known_mean - mean;
            moments[group as usize] = [
                both,
                known_mean * before / both + mean * added / both,
                squares + square + delta * delta * before * added / both,
            ];
        }
    }
    let column = |at: usize| moments.iter().map(|moments| f64::to_bits(moments[at])).collect();
    [column(1), column(2)]
}
