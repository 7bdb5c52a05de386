//! Which rows of a batch go to which pane.
//!
//! Deliberately not here: which pane a row is in and whether it comes too late ([`crate::fate`]).

use std::collections::BTreeMap;

/// So many panes are looked through one after the other.
const FEW_PANES: usize = 8;

/// A pane and its rows.
type OfPane = (i64, Vec<u32>);

/// Rows by pane, in the order in which panes were met.
#[derive(Default)]
pub struct Split {
    panes: Vec<OfPane>,
    /// Places of panes, once they are more than a few.
    places: BTreeMap<i64, usize>,
    /// Places of the panes that the last rows were in: neighbours are mostly of one or two.
    last: usize,
    other: usize,
    rows: usize,
}

impl Split {
    /// Puts a row to its pane; rows ascend. `rows` is about how many there will be.
    #[inline]
    pub fn put(&mut self, row: usize, pane: i64, rows: usize) {
        self.rows += 1;
        if let Some((known, of_pane)) = self.panes.get_mut(self.last)
            && *known == pane
        {
            return of_pane.push(row as u32);
        }
        std::mem::swap(&mut self.last, &mut self.other);
        if self.panes.get(self.last).is_none_or(|(known, _)| *known != pane) {
            self.last = self.find(pane).unwrap_or_else(|| self.begin(pane, rows));
        }
        self.panes[self.last].1.push(row as u32);
    }

    /// Rows of each pane, panes in order of time.
    pub fn take(&mut self) -> Vec<OfPane> {
        let mut panes = std::mem::take(self).panes;
        panes.sort_unstable_by_key(|(pane, _)| *pane);
        panes
    }

    /// When not all of the `rows` from `from` on were put to a pane: which were.
    pub fn kept(&self, from: usize, rows: usize) -> Option<Vec<u32>> {
        if self.rows == rows {
            return None;
        }
        let mut is_kept = vec![false; rows];
        self.panes.iter().flat_map(|(_, rows)| rows).for_each(|&row| is_kept[row as usize - from] = true);
        Some((0..rows).filter(|&row| is_kept[row]).map(|row| (from + row) as u32).collect())
    }

    #[inline(never)]
    fn find(&self, pane: i64) -> Option<usize> {
        match self.panes.len() {
            0..=FEW_PANES => self.panes.iter().position(|(known, _)| *known == pane),
            _ => self.places.get(&pane).copied(),
        }
    }

    /// A further pane. Batches are mostly of few panes, so it is given room for its share of `rows`.
    #[cold]
    fn begin(&mut self, pane: i64, rows: usize) -> usize {
        let place = self.panes.len();
        self.panes.push((pane, Vec::with_capacity(rows / (place + 1))));
        self.places.insert(pane, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(panes: &[Option<i64>], from: usize) -> (Vec<OfPane>, Option<Vec<u32>>) {
        let mut split = Split::default();
        for (row, pane) in panes.iter().enumerate() {
            pane.iter().for_each(|&pane| split.put(from + row, pane, panes.len()));
        }
        let kept = split.kept(from, panes.len());
        (split.take(), kept)
    }

    #[test]
    fn rows_keep_their_order_and_panes_that_of_time() {
        let (split, kept) = split(&[Some(3), Some(-1), Some(3), Some(-1), Some(2)], 10);
        assert_eq!(split, [(-1, vec![11, 13]), (2, vec![14]), (3, vec![10, 12])]);
        assert_eq!(kept, None);
    }

    #[test]
    fn many_panes_are_told_apart() {
        let panes: Vec<Option<i64>> = (0..100).map(|row| Some(row * 7 % 50 - 20)).collect();
        let (split, _) = split(&panes, 0);
        assert_eq!(split.len(), 50);
        for (pane, rows) in &split {
            assert!(rows.len() == 2 && rows.iter().all(|&row| panes[row as usize] == Some(*pane)));
        }
        assert!(split.is_sorted());
    }

    #[test]
    fn tells_which_rows_are_in_a_pane_when_not_all_are() {
        assert_eq!(split(&[None, Some(5), None, Some(4)], 7), (vec![(4, vec![10]), (5, vec![8])], Some(vec![8, 10])));
        assert_eq!(split(&[None, None], 0), (Vec::new(), Some(Vec::new())));
    }
}
