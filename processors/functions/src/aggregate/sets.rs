//! Which items each group holds, each once, for all groups at once: the sets behind exact distinct counts.
//!
//! What is added waits in flat lists, a few nanoseconds a row whatever the number of groups. When enough waits it is moved
//! beside what its group has, in one pass over all groups, and each group's repetitions are dropped by a table that holds
//! that group alone and so mostly stays in the nearest cache. A hash table of all groups at once would miss every cache at
//! every row, and when windows are merged at every value of every pane.
//!
//! What is told after [`Sets::settle`] is in the order in which items first came: it depends on what was added and in which
//! order, never on when it was settled. Hashes are seeded anew for every object, so nobody can send values that collide.
//!
//! Limits: 2^32 groups, 2^32 items of one group. What waits is at most [`WAITING_MIN`] or twice what is held, and what one
//! call adds on top; an item that waits takes 4 bytes beside itself.

use std::hash::{BuildHasher, RandomState};

/// Below this, what waits is not worth a pass over all groups.
const WAITING_MIN: usize = 32_768;

/// Something small that can be compared by its bits.
pub trait Item: Copy + Default + Eq + Send {
    fn bits(self) -> u64;
}

macro_rules! items {
    ($($number:ty),*) => {
        $(impl Item for $number {
            fn bits(self) -> u64 {
                u64::from(self)
            }
        })*
    };
}
items!(u8, u16, u32, u64);

#[derive(Debug)]
pub struct Sets<T> {
    /// Each group's items, one group after the other.
    items: Vec<T>,
    /// Where the items of each group end.
    ends: Vec<usize>,
    waiting: Vec<T>,
    whose: Whose,
    table: Table,
}

/// The groups of the items that wait.
#[derive(Debug)]
enum Whose {
    Each(Vec<u32>),
    /// Of this many after one another.
    Runs(Vec<(u32, u32)>),
}

impl<T: Item> Default for Sets<T> {
    fn default() -> Self {
        let (items, ends, waiting) = (Vec::new(), Vec::new(), Vec::new());
        Self { items, ends, waiting, whose: Whose::Each(Vec::new()), table: Table::default() }
    }
}

impl<T: Item> Sets<T> {
    /// Adds an item to each of `groups`, which are below `total`.
    pub fn add(&mut self, items: impl IntoIterator<Item = T>, groups: impl Iterator<Item = usize>, total: usize) {
        if let Whose::Runs(_) = self.whose {
            self.settle(total);
            self.whose = Whose::Each(Vec::new());
        }
        if let Whose::Each(whose) = &mut self.whose {
            self.waiting.extend(items);
            whose.extend(groups.map(|group| group as u32));
        }
        self.settle_if_due(total);
    }

    /// Adds to each group as many of the items as its length says, in their order.
    pub fn add_runs(
        &mut self,
        items: impl IntoIterator<Item = T>,
        groups_and_lengths: impl Iterator<Item = (usize, usize)>,
        total: usize,
    ) {
        if let Whose::Each(_) = self.whose {
            self.settle(total);
            self.whose = Whose::Runs(Vec::new());
        }
        if let Whose::Runs(whose) = &mut self.whose {
            self.waiting.extend(items);
            whose.extend(groups_and_lengths.map(|(group, length)| (group as u32, length as u32)));
        }
        self.settle_if_due(total);
    }

    fn settle_if_due(&mut self, total: usize) {
        if self.waiting.len() >= WAITING_MIN.max(self.items.len() * 2) {
            self.settle(total);
        }
    }

    /// Takes in what waits; there are `total` groups.
    pub fn settle(&mut self, total: usize) {
        let held = self.items.len();
        self.ends.resize(total.max(self.ends.len()), held);
        if self.waiting.is_empty() {
            return;
        }
        let mut all = vec![T::default(); held + self.waiting.len()];
        // How many of each group are held already, and where its last one is to be.
        let mut ends = self.gather(&mut all);
        let (mut from, mut kept, mut held_from) = (0, 0, 0);
        for (end, held_end) in ends.iter_mut().zip(&self.ends) {
            let past = *end;
            let known = held_end - held_from;
            held_from = *held_end;
            kept += self.table.distinct(&mut all, kept, (from, past), known);
            (from, *end) = (past, kept);
        }
        all.truncate(kept);
        (self.items, self.ends) = (all, ends);
        self.waiting.clear();
        match &mut self.whose {
            Whose::Each(whose) => whose.clear(),
            Whose::Runs(whose) => whose.clear(),
        }
    }

    /// Puts what is held and what waits into `all`, group by group; where each group's end there.
    fn gather(&self, all: &mut [T]) -> Vec<usize> {
        let mut places = vec![0; self.ends.len()];
        let mut from = 0;
        for (place, &end) in places.iter_mut().zip(&self.ends) {
            *place = end - from;
            from = end;
        }
        match &self.whose {
            Whose::Each(whose) => whose.iter().for_each(|&group| places[group as usize] += 1),
            Whose::Runs(whose) => whose.iter().for_each(|&(group, length)| places[group as usize] += length as usize),
        }
        let (mut at, mut from) = (0, 0);
        for (place, &end) in places.iter_mut().zip(&self.ends) {
            let held = &self.items[from..end];
            all[at..at + held.len()].copy_from_slice(held);
            let next = at + *place;
            *place = at + held.len();
            (at, from) = (next, end);
        }
        match &self.whose {
            Whose::Each(whose) => {
                for (&group, &item) in whose.iter().zip(&self.waiting) {
                    let place = &mut places[group as usize];
                    all[*place] = item;
                    *place += 1;
                }
            }
            Whose::Runs(whose) => {
                let mut from = 0;
                for &(group, length) in whose {
                    let (place, length) = (&mut places[group as usize], length as usize);
                    all[*place..*place + length].copy_from_slice(&self.waiting[from..from + length]);
                    *place += length;
                    from += length;
                }
            }
        }
        places
    }

    /// Settled items, group by group, and where those of each group end.
    pub fn settled(&self) -> (&[T], &[usize]) {
        (&self.items, &self.ends)
    }

    /// Settled items of groups below `groups` go, the other groups are numbered from 0.
    pub fn forget_first(&mut self, groups: usize) {
        if groups >= self.ends.len() {
            *self = Self::default();
            return;
        }
        let first = if groups == 0 { 0 } else { self.ends[groups - 1] };
        self.items.drain(..first);
        self.ends.drain(..groups);
        self.ends.iter_mut().for_each(|end| *end -= first);
    }

    pub fn bytes(&self) -> usize {
        let whose = match &self.whose {
            Whose::Each(whose) => whose.capacity() * size_of::<u32>(),
            Whose::Runs(whose) => whose.capacity() * size_of::<(u32, u32)>(),
        };
        let items = (self.items.capacity() + self.waiting.capacity()) * size_of::<T>();
        items + whose + self.ends.capacity() * size_of::<usize>() + self.table.bytes()
    }
}

/// A hash table of one group's places at a time.
#[derive(Debug)]
pub struct Table {
    /// 0, or one more than the place of an item.
    slots: Vec<u32>,
    seed: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self { slots: Vec::new(), seed: RandomState::new().hash_one(0) }
    }
}

/// An odd number without a pattern.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

pub fn mix(bits: u64, seed: u64) -> usize {
    let product = u128::from(bits ^ seed) * u128::from(MULTIPLIER ^ seed | 1);
    (product as u64 ^ (product >> 64) as u64) as usize
}

impl Table {
    /// Moves the items in `from..past` of `all`, of which the first `known` differ, to `to` and leaves repetitions out; how many
    /// stay.
    fn distinct<T: Item>(&mut self, all: &mut [T], to: usize, (from, past): (usize, usize), known: usize) -> usize {
        let length = past - from;
        if length == known || length == 1 {
            all.copy_within(from..past, to);
            return length;
        }
        let slots = (length * 2).next_power_of_two();
        if self.slots.len() < slots {
            self.slots.resize(slots, 0);
        }
        let table = &mut self.slots[..slots];
        table.fill(0);
        let mut kept = 0;
        for index in from..past {
            let item = all[index];
            let mut slot = mix(item.bits(), self.seed) & (slots - 1);
            loop {
                let place = table[slot] as usize;
                if place == 0 {
                    all[to + kept] = item;
                    kept += 1;
                    table[slot] = kept as u32;
                    break;
                }
                if all[to + place - 1] == item {
                    break;
                }
                slot = (slot + 1) & (slots - 1);
            }
        }
        kept
    }

    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(added: &[(usize, u32)], groups: usize) -> Vec<Vec<u32>> {
        let mut sets = vec![Vec::new(); groups];
        for &(group, item) in added {
            if !sets[group].contains(&item) {
                sets[group].push(item);
            }
        }
        sets
    }

    fn told(sets: &Sets<u32>) -> Vec<Vec<u32>> {
        let (items, ends) = sets.settled();
        let mut from = 0;
        let group = |&end: &usize| items[std::mem::replace(&mut from, end)..end].to_vec();
        ends.iter().map(group).collect()
    }

    proptest! {
        #[test]
        fn holds_what_was_added_each_once_in_the_order_it_came(
            added in prop::collection::vec((0usize..30, 0u32..40), 0..2000),
            every in 1usize..2000,
            in_runs in prop::collection::vec(any::<bool>(), 1..5),
            gone in 0usize..32,
        ) {
            let mut sets = Sets::default();
            for (index, part) in added.chunks(every).enumerate() {
                let items = part.iter().map(|&(_, item)| item);
                if in_runs[index % in_runs.len()] {
                    sets.add_runs(items, part.iter().map(|&(group, _)| (group, 1)), 30);
                } else {
                    sets.add(items, part.iter().map(|&(group, _)| group), 30);
                }
                if index % 3 == 0 {
                    sets.settle(30);
                }
            }
            sets.settle(30);
            let expected = naive(&added, 30);
            prop_assert_eq!(&told(&sets), &expected);
            let mut merged = Sets::default();
            for _ in 0..2 {
                let (items, _) = sets.settled();
                let lengths = expected.iter().map(Vec::len).enumerate();
                merged.add_runs(items.to_vec(), lengths, 30);
            }
            merged.settle(30);
            prop_assert_eq!(&told(&merged), &expected);
            merged.forget_first(gone);
            prop_assert_eq!(&told(&merged), &expected[gone.min(30)..].to_vec());
        }
    }

    #[test]
    fn what_waits_is_bounded_by_what_is_held() {
        let mut sets = Sets::default();
        for from in 0..1000u32 {
            sets.add((from * 1000..from * 1000 + 1000).map(|row| row % 700), (0..1000).map(|_| 0), 1);
        }
        assert!(sets.bytes() < 3 * WAITING_MIN * (size_of::<u32>() * 4), "{}", sets.bytes());
    }
}
