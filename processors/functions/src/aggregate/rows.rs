//! Which rows an aggregate looks at: those that its `FILTER` keeps and that are not null.

use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    buffer::{BooleanBuffer, NullBuffer},
    compute::filter,
};
use datafusion::common::Result;
use std::borrow::Cow;

/// The rows to look at; `None` is all of them.
fn kept(nulls: Option<NullBuffer>, filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let valid = nulls.filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.into_inner());
    let Some(filter) = filter else { return valid };
    let chosen = match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    };
    Some(valid.map_or(chosen.clone(), |valid| &valid & &chosen))
}

/// Calls with the row and group of each row to look at.
pub fn each(array: &dyn Array, groups: &[usize], filter: Option<&BooleanArray>, mut call: impl FnMut(usize, usize)) {
    match kept(array.logical_nulls(), filter) {
        None => groups.iter().enumerate().for_each(|(row, &group)| call(row, group)),
        Some(kept) => kept.set_indices().for_each(|row| call(row, groups[row])),
    }
}

/// The values and groups of the rows to look at.
pub fn only<'a>(
    array: &ArrayRef,
    groups: &'a [usize],
    chosen: Option<&BooleanArray>,
) -> Result<(ArrayRef, Cow<'a, [usize]>)> {
    let Some(kept) = kept(array.logical_nulls(), chosen) else {
        return Ok((array.clone(), Cow::Borrowed(groups)));
    };
    let groups = kept.set_indices().map(|row| groups[row]).collect();
    Ok((filter(array, &BooleanArray::new(kept, None))?, Cow::Owned(groups)))
}
