//! Which items each group holds, for all groups at once, as flat sorted columns.
//!
//! An entry is a group and an item of 32 bits in one number, so sorting brings every group's items together. What is
//! added waits in a plain list (a few nanoseconds a row, whatever the number of groups) and is sorted and merged in
//! when as much waits as is known, so each row is sorted and merged a constant number of times. With `COUNTED` each
//! entry also has how often it was added; without, a [`Tally`] is a set.
//!
//! What is told after [`Tally::settle`] depends on what was added alone, never on its order or when it was settled.
//!
//! Limits: 2^32 groups. 8 bytes an entry, 16 when counted, and 16 for each that waits; what waits is at most
//! [`WAITING_MIN`] or as many as there are entries, and what one call adds on top.

use std::ops::Range;

/// Below this, what waits is not worth merging.
const WAITING_MIN: usize = 16_384;

/// Sorted by comparing below this length.
const RADIX_MIN: usize = 512;
const DIGIT_BITS: u32 = 8;

#[derive(Debug, Default)]
pub struct Tally<const COUNTED: bool> {
    /// Sorted, each once.
    entries: Vec<u64>,
    /// Of each entry, when counted.
    counts: Vec<u64>,
    waiting: Vec<u64>,
    spare: Vec<u64>,
}

pub fn entry(group: usize, item: u32) -> u64 {
    (group as u64) << 32 | u64::from(item)
}

pub fn group_of(entry: u64) -> usize {
    (entry >> 32) as usize
}

pub fn item_of(entry: u64) -> u32 {
    entry as u32
}

impl<const COUNTED: bool> Tally<COUNTED> {
    pub fn add(&mut self, group: usize, item: u32) {
        self.waiting.push(entry(group, item));
    }

    /// Whether enough waits to be settled.
    pub fn is_due(&self) -> bool {
        self.waiting.len() >= WAITING_MIN.max(self.entries.len())
    }

    /// Merges in what waits.
    pub fn settle(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        sort(&mut self.waiting, &mut self.spare, |&entry| entry);
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut counts = Vec::new();
        if COUNTED {
            counts.reserve(waiting.len() / 4);
            let mut previous = None;
            for &entry in &waiting {
                match counts.last_mut() {
                    Some(count) if previous == Some(entry) => *count += 1,
                    _ => counts.push(1),
                }
                previous = Some(entry);
            }
        }
        waiting.dedup();
        self.merge(&waiting, &counts);
        waiting.clear();
        self.waiting = waiting;
    }

    /// Merges in a run that is sorted and has each entry once.
    fn merge(&mut self, run: &[u64], run_counts: &[u64]) {
        if self.entries.is_empty() {
            self.entries = run.to_vec();
            self.counts = run_counts.to_vec();
            return;
        }
        let most = self.entries.len() + run.len();
        let (mut entries, mut counts) = (vec![0; most], vec![0; if COUNTED { most } else { 0 }]);
        let (mut old, mut new, mut at) = (0, 0, 0);
        while old < self.entries.len() && new < run.len() {
            let (left, right) = (self.entries[old], run[new]);
            let (is_left, is_right) = (left <= right, right <= left);
            entries[at] = left.min(right);
            if COUNTED {
                // Without a branch: which of the two is next is anybody's guess.
                counts[at] = self.counts[old] * u64::from(is_left) + run_counts[new] * u64::from(is_right);
            }
            old += usize::from(is_left);
            new += usize::from(is_right);
            at += 1;
        }
        entries.truncate(at);
        entries.extend_from_slice(&self.entries[old..]);
        entries.extend_from_slice(&run[new..]);
        if COUNTED {
            counts.truncate(at);
            counts.extend_from_slice(&self.counts[old..]);
            counts.extend_from_slice(&run_counts[new..]);
        }
        (self.entries, self.counts) = (entries, counts);
    }

    /// Settled entries, sorted.
    pub fn entries(&self) -> &[u64] {
        &self.entries
    }

    /// Where the settled entries of each group below `groups` are, in the order of groups.
    pub fn ranges(&self, groups: usize) -> Vec<Range<usize>> {
        let mut at = 0;
        let range = |group| {
            let from = at;
            while at < self.entries.len() && group_of(self.entries[at]) == group {
                at += 1;
            }
            from..at
        };
        (0..groups).map(range).collect()
    }

    /// Settled entries of groups below `groups` go, the other groups are numbered from 0.
    pub fn forget_first(&mut self, groups: usize) {
        let first = self.entries.partition_point(|&entry| group_of(entry) < groups);
        self.entries.drain(..first);
        self.counts.drain(..if COUNTED { first } else { 0 });
        self.entries.iter_mut().for_each(|known| *known -= entry(groups, 0));
    }

    pub fn bytes(&self) -> usize {
        let capacities = [&self.entries, &self.counts, &self.waiting, &self.spare].map(Vec::capacity);
        capacities.iter().sum::<usize>() * size_of::<u64>()
    }
}

impl Tally<false> {
    /// Adds entries, in any order but best sorted: many at once, for the memory is theirs until they are merged in.
    pub fn add_run(&mut self, mut run: Vec<u64>) {
        self.settle();
        sort(&mut run, &mut self.spare, |&entry| entry);
        run.dedup();
        self.merge(&run, &[]);
    }

    /// Offers each group with its settled entries; entries of those that it takes are no longer here.
    pub fn take_out(&mut self, mut takes: impl FnMut(usize, &[u64]) -> bool) {
        let (mut from, mut kept) = (0, 0);
        while from < self.entries.len() {
            let group = group_of(self.entries[from]);
            let length = self.entries[from..].iter().take_while(|&&entry| group_of(entry) == group).count();
            if !takes(group, &self.entries[from..from + length]) {
                if kept != from {
                    self.entries.copy_within(from..from + length, kept);
                }
                kept += length;
            }
            from += length;
        }
        self.entries.truncate(kept);
    }
}

impl Tally<true> {
    /// Counts of the settled entries.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Adds entries with their counts, in any order.
    pub fn add_counted(&mut self, mut run: Vec<(u64, u64)>) {
        self.settle();
        sort(&mut run, &mut Vec::new(), |&(entry, _)| entry);
        run.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            earlier.1 += if same { later.1 } else { 0 };
            same
        });
        let (entries, counts): (Vec<u64>, Vec<u64>) = run.into_iter().unzip();
        self.merge(&entries, &counts);
    }

    /// Gives the settled items of each group other items: `rule` makes from a group's entries the map to apply, which
    /// must keep their order; `None` leaves them.
    pub fn fold<M: Fn(u32) -> u32>(&mut self, rule: impl Fn(&[u64]) -> Option<M>) {
        let (mut from, mut kept) = (0, 0);
        while from < self.entries.len() {
            let group = group_of(self.entries[from]);
            let past = from + self.entries[from..].iter().take_while(|&&entry| group_of(entry) == group).count();
            let map = rule(&self.entries[from..past]);
            if map.is_none() && kept == from {
                // Nothing before it has moved.
                (from, kept) = (past, past);
                continue;
            }
            for index in from..past {
                let item = item_of(self.entries[index]);
                let mapped = entry(group, map.as_ref().map_or(item, |map| map(item)));
                let count = self.counts[index];
                if kept > 0 && self.entries[kept - 1] == mapped {
                    self.counts[kept - 1] += count;
                } else {
                    (self.entries[kept], self.counts[kept]) = (mapped, count);
                    kept += 1;
                }
            }
            from = past;
        }
        self.entries.truncate(kept);
        self.counts.truncate(kept);
    }
}

/// Sorts by a key, digit by digit from the lowest, leaving out digits that are the same everywhere.
fn sort<T: Copy>(values: &mut Vec<T>, spare: &mut Vec<T>, key: impl Fn(&T) -> u64) {
    let Some(&first) = values.first() else { return };
    if values.is_sorted_by_key(&key) {
        return;
    }
    if values.len() < RADIX_MIN {
        values.sort_unstable_by_key(key);
        return;
    }
    spare.clear();
    spare.resize(values.len(), first);
    let mut differing = values.iter().fold(0, |bits, value| bits | (key(value) ^ key(&first)));
    while differing != 0 {
        let shift = differing.trailing_zeros();
        let digit = |value: &T| (key(value) >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut starts = [0usize; 1 << DIGIT_BITS];
        values.iter().for_each(|value| starts[digit(value)] += 1);
        let mut total = 0;
        for start in &mut starts {
            total += std::mem::replace(start, total);
        }
        for value in values.iter() {
            let start = &mut starts[digit(value)];
            spare[*start] = *value;
            *start += 1;
        }
        std::mem::swap(values, spare);
        differing &= u64::MAX.checked_shl(shift + DIGIT_BITS).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn settled(added: &[(usize, u32)], settle_every: usize) -> Tally<true> {
        let mut tally = Tally::default();
        for (index, &(group, item)) in added.iter().enumerate() {
            tally.add(group, item);
            if index % settle_every == 0 {
                tally.settle();
            }
        }
        tally.settle();
        tally
    }

    proptest! {
        #[test]
        fn counts_what_was_added(
            added in prop::collection::vec((0usize..70_000, 0u32..40), 0..2000),
            every in 1usize..2000,
        ) {
            let tally = settled(&added, every);
            let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
            added.iter().for_each(|&(group, item)| *expected.entry(entry(group, item)).or_default() += 1);
            prop_assert_eq!(tally.entries(), expected.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(tally.counts(), expected.values().copied().collect::<Vec<_>>());
            let mut merged: Tally<true> = Tally::default();
            for part in [&added[..added.len() / 3], &added[added.len() / 3..]] {
                let part = settled(part, every);
                let pairs = part.entries().iter().copied().zip(part.counts().iter().copied());
                merged.add_counted(pairs.rev().collect());
            }
            prop_assert_eq!(merged.entries(), tally.entries());
            prop_assert_eq!(merged.counts(), tally.counts());
        }

        #[test]
        fn sorts_any_numbers(values in prop::collection::vec(any::<u64>(), 0..3000), bits in 0u32..64) {
            let mut sorted: Vec<u64> = values.iter().map(|value| value >> bits).collect();
            let mut expected = sorted.clone();
            expected.sort_unstable();
            sort(&mut sorted, &mut Vec::new(), |&value| value);
            prop_assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn groups_are_found_forgotten_and_taken_out() {
        let mut set: Tally<false> = Tally::default();
        for (group, item) in [(0, 5), (2, 1), (2, 2), (2, 1), (5, 9)] {
            set.add(group, item);
        }
        set.settle();
        assert_eq!(set.ranges(6), [0..1, 1..1, 1..3, 3..3, 3..3, 3..4]);
        let mut large = Vec::new();
        set.take_out(|group, entries| {
            let takes = entries.len() > 1;
            takes.then(|| large.push((group, entries.len())));
            takes
        });
        assert_eq!((large, set.entries()), (vec![(2, 2)], &[entry(0, 5), entry(5, 9)][..]));
        set.forget_first(3);
        assert_eq!(set.entries(), [entry(2, 9)]);
    }

    #[test]
    fn what_waits_is_bounded_by_what_is_known() {
        let mut set: Tally<false> = Tally::default();
        for row in 0..1_000_000u32 {
            set.add(0, row % 1000);
            if set.is_due() {
                set.settle();
            }
        }
        assert!(set.bytes() < 6 * WAITING_MIN * size_of::<u64>(), "{}", set.bytes());
    }
}
