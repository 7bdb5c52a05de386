//! The state of the native aggregates of a sealed pane or a span of panes: a column for each word. Only read.
//!
//! What columns mean is in [`super::layout`], how they are merged in [`super::merge`].

use super::{column::Column, layout::Layout};
use arrow::buffer::ScalarBuffer;

#[derive(Debug, Clone, Default)]
pub struct Sealed {
    pub groups: usize,
    /// One for each word of [`Layout::blank`], with an entry for each group; empty where nobody asked for it.
    pub columns: Vec<Column>,
    /// For each lane, how many of the counter's rows had no value, for each group; empty when there was none.
    pub missing: Vec<Vec<u64>>,
}

impl Sealed {
    pub fn nothing(layout: &Layout) -> Self {
        let columns = vec![Column::default(); layout.width()];
        Self { groups: 0, columns, missing: vec![Vec::new(); layout.lanes.len()] }
    }

    /// How many values of a lane each group has seen.
    pub fn counts(&self, layout: &Layout, lane: usize) -> ScalarBuffer<u64> {
        let counted = self.columns[layout.counters[layout.lanes[lane].counter].word].words();
        match &self.missing[lane][..] {
            [] => counted,
            missing => counted.iter().zip(missing).map(|(counted, missing)| counted - missing).collect(),
        }
    }

    /// Some of its groups, by their place.
    pub fn pick(&self, groups: &[u32]) -> Self {
        let of = |words: &[u64]| groups.iter().map(|&group| words[group as usize]).collect::<Vec<u64>>();
        let column = |column: &Column| match column.words() {
            words if words.is_empty() => Column::default(),
            words => of(&words).into(),
        };
        let missing = |missing: &Vec<u64>| if missing.is_empty() { Vec::new() } else { of(missing) };
        Self {
            groups: groups.len(),
            columns: self.columns.iter().map(column).collect(),
            missing: self.missing.iter().map(missing).collect(),
        }
    }

    /// In as little memory as its values need, for being kept.
    pub fn packed(self, layout: &Layout) -> Self {
        let columns = self.columns.into_iter().zip(&layout.kinds).map(|(column, &kind)| column.pack(kind));
        Self { columns: columns.collect(), ..self }
    }

    pub fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::bytes).sum();
        columns + self.missing.iter().map(Vec::capacity).sum::<usize>() * size_of::<u64>()
    }
}
