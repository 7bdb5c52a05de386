//! The state of the native aggregates while rows are added: a row of words for each group.
//!
//! Rows are aligned to cache lines, as far as the allocator gives them: nothing depends on it but speed.

use super::{column::Column, layout::Layout, sealed::Sealed};

/// Words of a cache line.
const LINE_WORDS: usize = 8;
/// Groups that are turned into columns at once.
const BLOCK: usize = 64;

#[derive(Debug)]
pub struct States {
    /// Rows of `stride` words from `base` on, one for each group.
    buffer: Vec<u64>,
    base: usize,
    stride: usize,
    groups: usize,
    /// For each lane, how many of the counter's rows had no value, for each group; empty while there was none.
    pub missing: Vec<Vec<u64>>,
}

impl States {
    /// Room for about so many groups.
    pub fn new(layout: &Layout, expected: usize) -> Self {
        let stride = match layout.width() {
            few if few <= LINE_WORDS => few.next_power_of_two(),
            many => many.next_multiple_of(LINE_WORDS),
        };
        let missing = vec![Vec::new(); layout.lanes.len()];
        let mut states = Self { buffer: Vec::new(), base: 0, stride, groups: 0, missing };
        if layout.width() > 0 && expected > 0 {
            states.reserve(expected);
        }
        states
    }

    /// Words from one group's row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// All rows.
    pub fn words(&mut self) -> &mut [u64] {
        &mut self.buffer[self.base..]
    }

    /// Makes room for `groups`, new ones blank.
    pub fn grow(&mut self, layout: &Layout, groups: usize) {
        if layout.width() > 0 && self.base + groups * self.stride > self.buffer.capacity() {
            self.reserve(groups.max(self.groups * 2));
        }
        while self.groups < groups {
            self.buffer.extend_from_slice(&layout.blank);
            self.buffer.resize(self.buffer.len() + self.stride - layout.width(), 0);
            self.groups += 1;
        }
        for missing in self.missing.iter_mut().filter(|missing| !missing.is_empty()) {
            missing.resize(groups, 0);
        }
    }

    /// The counts of a lane's missing values, for writing.
    pub fn missing_of(&mut self, lane: usize) -> &mut [u64] {
        self.missing[lane].resize(self.groups, 0);
        &mut self.missing[lane]
    }

    /// Moves all rows to where so many have room.
    fn reserve(&mut self, groups: usize) {
        let mut buffer: Vec<u64> = Vec::with_capacity(groups * self.stride + LINE_WORDS);
        let to_line = buffer.as_ptr().align_offset(LINE_WORDS * size_of::<u64>());
        let base = if to_line < LINE_WORDS { to_line } else { 0 };
        buffer.resize(base, 0);
        buffer.extend_from_slice(&self.buffer[self.base..]);
        (self.buffer, self.base) = (buffer, base);
    }

    /// A column for each word: what is only read is read word after word. Packed.
    pub fn seal(self, layout: &Layout) -> Sealed {
        let mut columns: Vec<Vec<u64>> = (0..layout.width()).map(|_| Vec::with_capacity(self.groups)).collect();
        if !columns.is_empty() {
            for rows in self.buffer[self.base..].chunks(BLOCK * self.stride) {
                for (word, column) in columns.iter_mut().enumerate() {
                    column.extend(rows.chunks_exact(self.stride).map(|row| row[word]));
                }
            }
        }
        let missing = self.missing.into_iter().map(|mut missing| {
            missing.shrink_to_fit();
            missing
        });
        let columns = columns.into_iter().map(Column::from).collect();
        Sealed { groups: self.groups, columns, missing: missing.collect() }.packed(layout)
    }

    pub fn bytes(&self) -> usize {
        let missing: usize = self.missing.iter().map(Vec::capacity).sum();
        (self.buffer.capacity() + missing) * size_of::<u64>()
    }
}
