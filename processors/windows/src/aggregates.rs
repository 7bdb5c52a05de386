//! All aggregates of an operator, and which of them have accumulators of our own.

use crate::{
    Aggregate,
    native::{Layout, Wanted},
};

pub struct Aggregates {
    pub each: Vec<Aggregate>,
    /// Of those with accumulators of our own.
    pub layout: Layout,
    /// The others, by index.
    pub others: Vec<usize>,
    pub wanted: Wanted,
}

impl Aggregates {
    pub fn new(each: Vec<Aggregate>) -> Self {
        let layout = Layout::of(&each);
        let all: Vec<usize> = (0..each.len()).collect();
        let others = all.iter().copied().filter(|&index| !layout.is_native(index)).collect();
        let wanted = layout.wanted(&all);
        Self { each, layout, others, wanted }
    }

    /// Where among the others this one is.
    pub fn place_of_other(&self, index: usize) -> Option<usize> {
        self.others.binary_search(&index).ok()
    }

    pub fn len(&self) -> usize {
        self.each.len()
    }
}
