//! Where decoded values lie until a batch is finished: vectors by width, one entry per row.
//!
//! A *domain* is a set of columns with one length: domain 0 is the rows, each list has one for its elements. Columns
//! are filled with their blanks (zero, the empty string, an enum's first name) a step ahead of the rows, so that
//! writing a value is an indexed store, a value that comes twice overwrites the first, and an absent one costs
//! nothing. Everything at or beyond a domain's length (but the row being written, or the two) is blank; truncating restores that.

use std::collections::HashSet;

use crate::plan::Columns;
use crate::views::Views;

/// Rows are blanked this many at a time, while they fit into the cache.
pub(crate) const STEP_ROWS: usize = 256;
/// Elements that 32-bit list offsets can count, less a step.
const DOMAIN_ROWS_MAX: usize = i32::MAX as usize - STEP_ROWS;

/// One column, by width.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    Byte(u16),
    Word(u16),
    Long(u16),
    View(u16),
    List(u16),
}

/// Where the elements of each row begin and end.
#[derive(Debug)]
pub(crate) struct List {
    pub offsets: Vec<i32>,
    pub elements: u16,
    /// Elements that do not count: map entries whose key came again in the same row. Ascending.
    pub dead: Vec<u32>,
    key: Option<Slot>,
}

/// A set of columns with one length.
#[derive(Debug, Default)]
pub(crate) struct Domain {
    pub len: usize,
    /// Rows that are blanked.
    filled: usize,
    /// Rows of the last batch, to reserve at once.
    expected: usize,
    bytes: Vec<u16>,
    words: Vec<u16>,
    longs: Vec<u16>,
    views: Vec<u16>,
    lists: Vec<u16>,
}

/// Seconds and nanoseconds of the last time written to a column, in case another occurrence adds to them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stamp {
    pub seconds: i64,
    pub nanos: i32,
}

impl Stamp {
    /// In nanoseconds, if 64 bits hold them.
    #[inline(always)]
    pub(crate) fn nanoseconds(self) -> Option<i64> {
        i64::try_from(i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)).ok()
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    pub bytes: Vec<Vec<u8>>,
    pub words: Vec<Vec<u32>>,
    pub longs: Vec<Vec<u64>>,
    pub views: Vec<Views>,
    pub lists: Vec<List>,
    pub domains: Vec<Domain>,
    /// Of each time column, by whether the row's number is even or odd: two rows are written at once.
    pub stamps: Vec<[Stamp; 2]>,
    /// Length of each view column's blocks when the record began.
    marks: Vec<(usize, usize)>,
}

impl Store {
    pub(crate) fn new(columns: &Columns) -> Self {
        let mut domains: Vec<Domain> = (0..columns.domains).map(|_| Domain::default()).collect();
        let mut enter = |of: &[u16], list: fn(&mut Domain) -> &mut Vec<u16>| {
            for (at, domain) in of.iter().enumerate() {
                list(&mut domains[usize::from(*domain)]).push(at as u16);
            }
        };
        enter(&columns.bytes, |d| &mut d.bytes);
        enter(&columns.words, |d| &mut d.words);
        enter(&columns.longs, |d| &mut d.longs);
        enter(&columns.views.iter().map(|(domain, _)| *domain).collect::<Vec<_>>(), |d| &mut d.views);
        enter(&columns.lists.iter().map(|(domain, ..)| *domain).collect::<Vec<_>>(), |d| &mut d.lists);
        let views = columns.views.iter().map(|(_, blank)| Views::new(blank));
        let lists = columns.lists.iter().map(|(_, elements, key)| List {
            offsets: vec![0],
            elements: *elements,
            dead: Vec::new(),
            key: *key,
        });
        Self {
            bytes: vec![Vec::new(); columns.bytes.len()],
            words: vec![Vec::new(); columns.words.len()],
            longs: vec![Vec::new(); columns.longs.len()],
            views: views.collect(),
            lists: lists.collect(),
            domains,
            stamps: vec![[Stamp::default(); 2]; usize::from(columns.stamps)],
            marks: vec![(0, 0); columns.views.len()],
        }
    }

    /// Makes room for one more row and returns its index; `None` when the domain is full.
    #[inline(always)]
    pub(crate) fn open(&mut self, domain: u16) -> Option<usize> {
        let at = &self.domains[usize::from(domain)];
        let row = at.len;
        if row >= at.filled && !self.fill(domain) {
            return None;
        }
        Some(row)
    }

    /// As [`Store::open`] of the rows, and there is room for the row behind that as well.
    #[inline(always)]
    pub(crate) fn open_two(&mut self) -> Option<usize> {
        let row = self.open(0)?;
        if row + 1 >= self.domains[0].filled && !self.fill(0) {
            return None;
        }
        Some(row)
    }

    /// Blanks the next step of rows.
    #[cold]
    #[inline(never)]
    fn fill(&mut self, domain: u16) -> bool {
        let at = &mut self.domains[usize::from(domain)];
        if at.filled > DOMAIN_ROWS_MAX {
            return false;
        }
        at.filled += STEP_ROWS;
        let (filled, expected) = (at.filled, at.expected);
        at.bytes.iter().for_each(|column| grow(&mut self.bytes[usize::from(*column)], filled, expected, 0));
        at.words.iter().for_each(|column| grow(&mut self.words[usize::from(*column)], filled, expected, 0));
        at.longs.iter().for_each(|column| grow(&mut self.longs[usize::from(*column)], filled, expected, 0));
        for column in &at.views {
            let views = &mut self.views[usize::from(*column)];
            grow(&mut views.values, filled, expected, views.blank);
        }
        true
    }

    /// Ends the row being written: it now counts.
    #[inline(always)]
    pub(crate) fn close(&mut self, domain: u16) {
        let at = &mut self.domains[usize::from(domain)];
        at.len += 1;
        if !at.lists.is_empty() {
            self.close_lists(domain);
        }
    }

    fn close_lists(&mut self, domain: u16) {
        for at in 0..self.domains[usize::from(domain)].lists.len() {
            let list = usize::from(self.domains[usize::from(domain)].lists[at]);
            let end = self.domains[usize::from(self.lists[list].elements)].len;
            let start = self.lists[list].offsets.last().map_or(0, |start| *start as usize);
            if end - start > 1 && self.lists[list].key.is_some() {
                self.bury_repeated_keys(list, start, end);
            }
            self.lists[list].offsets.push(end as i32);
        }
    }

    /// Of map entries with equal keys only the last counts.
    fn bury_repeated_keys(&mut self, list: usize, start: usize, end: usize) {
        #[derive(PartialEq, Eq, Hash)]
        enum Key<'a> {
            Inline(u128),
            Long(&'a [u8]),
        }
        let Some(slot) = self.lists[list].key else { return };
        let key = |row: usize| match slot {
            Slot::Byte(column) => Key::Inline(self.bytes[usize::from(column)][row].into()),
            Slot::Word(column) => Key::Inline(self.words[usize::from(column)][row].into()),
            Slot::Long(column) => Key::Inline(self.longs[usize::from(column)][row].into()),
            Slot::View(column) => {
                let views = &self.views[usize::from(column)];
                views.long(views.values[row]).map_or(Key::Inline(views.values[row]), Key::Long)
            }
            Slot::List(_) => Key::Inline(row as u128),
        };
        let mut seen = HashSet::with_capacity(end - start);
        let mut dead: Vec<u32> =
            (start..end).rev().filter(|row| !seen.insert(key(*row))).map(|row| row as u32).collect();
        dead.reverse();
        self.lists[list].dead.extend(dead);
    }

    /// Remembers where the record begins, for [`Store::roll_back`]. Returns the number of rows.
    #[inline(always)]
    pub(crate) fn mark(&mut self) -> usize {
        for (mark, views) in self.marks.iter_mut().zip(&self.views) {
            *mark = views.mark();
        }
        self.domains[0].len
    }

    /// Undoes everything since [`Store::mark`], which had returned `rows`.
    #[cold]
    pub(crate) fn roll_back(&mut self, rows: usize) {
        self.truncate(0, rows);
        for (mark, views) in self.marks.iter().zip(&mut self.views) {
            views.roll_back(*mark);
        }
    }

    /// Makes a domain `len` rows long and blank beyond, as well as the elements of its lists.
    fn truncate(&mut self, domain: u16, len: usize) {
        let at = &mut self.domains[usize::from(domain)];
        // The row being written is not counted yet, nor is a second one (see `open_two`).
        let end = (at.len + 2).min(at.filled);
        at.len = len;
        let at = &self.domains[usize::from(domain)];
        if len < end {
            at.bytes.iter().for_each(|column| self.bytes[usize::from(*column)][len..end].fill(0));
            at.words.iter().for_each(|column| self.words[usize::from(*column)][len..end].fill(0));
            at.longs.iter().for_each(|column| self.longs[usize::from(*column)][len..end].fill(0));
            for column in &at.views {
                let views = &mut self.views[usize::from(*column)];
                views.values[len..end].fill(views.blank);
            }
        }
        for list in at.lists.clone() {
            self.lists[usize::from(list)].offsets.truncate(len + 1);
            self.clear_list(list);
        }
    }

    /// Drops the elements that belong to no counted row.
    fn clear_list(&mut self, list: u16) {
        let list = &mut self.lists[usize::from(list)];
        let start = list.offsets.last().map_or(0, |start| *start as usize);
        list.dead.truncate(list.dead.partition_point(|dead| (*dead as usize) < start));
        let elements = list.elements;
        self.truncate(elements, start);
    }

    /// Blanks some columns of the row being written, whose index is `row`.
    #[cold]
    pub(crate) fn blank(&mut self, slots: &[Slot], row: usize) {
        for slot in slots {
            match *slot {
                Slot::Byte(column) => self.bytes[usize::from(column)][row] = 0,
                Slot::Word(column) => self.words[usize::from(column)][row] = 0,
                Slot::Long(column) => self.longs[usize::from(column)][row] = 0,
                Slot::View(column) => {
                    let views = &mut self.views[usize::from(column)];
                    views.values[row] = views.blank;
                }
                Slot::List(list) => self.clear_list(list),
            }
        }
    }

    /// Begins an empty batch, once the columns were taken.
    pub(crate) fn reset(&mut self) {
        for domain in &mut self.domains {
            (domain.expected, domain.len, domain.filled) = (domain.len, 0, 0);
        }
        for list in &mut self.lists {
            list.offsets = vec![0];
            list.dead.clear();
        }
        self.bytes.iter_mut().for_each(Vec::clear);
        self.words.iter_mut().for_each(Vec::clear);
        self.longs.iter_mut().for_each(Vec::clear);
        self.views.iter_mut().for_each(Views::clear);
    }
}

#[inline]
fn grow<T: Copy>(values: &mut Vec<T>, filled: usize, expected: usize, blank: T) {
    if values.capacity() == 0 {
        values.reserve_exact(filled.max(expected.next_multiple_of(STEP_ROWS)));
    }
    values.resize(filled, blank);
}
