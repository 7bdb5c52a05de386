//! Group keys interned into dense ids.
//!
//! A hash table finds the id of a row's key ([`crate::table`], or DataFusion's for types that it does not take); beside
//! it the key's values are kept once as arrays, because DataFusion's table gives values back only by forgetting them. Ids are not stable for ever: [`Keys::compact`] forgets keys that no
//! pane holds any more and numbers the rest anew.

use crate::table::Table;
use arrow::{
    array::{ArrayRef, AsArray, UInt32Array},
    compute::{concat, take},
    datatypes::SchemaRef,
};
use datafusion::{
    error::Result,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};
use std::sync::Arc;

/// Copies what a view array borrows, so that a few kept keys do not hold on to whole batches.
fn own(array: ArrayRef) -> ArrayRef {
    if let Some(strings) = array.as_string_view_opt() {
        return Arc::new(strings.gc());
    }
    if let Some(bytes) = array.as_binary_view_opt() {
        return Arc::new(bytes.gc());
    }
    array
}

/// Marks a key without an id.
pub const ABSENT: u32 = u32::MAX;
/// Marks a key that is known and has no id here; below it are ids.
pub const KNOWN: u32 = u32::MAX - 1;

pub struct Keys {
    schema: SchemaRef,
    table: Finder,
    /// Values by id, in chunks that are joined when they are read.
    chunks: Vec<Vec<ArrayRef>>,
    len: usize,
    ids: Vec<u32>,
}

/// Finds ids.
enum Finder {
    Ours(Table),
    Theirs(Box<dyn GroupValues>, Vec<usize>),
}

impl Finder {
    fn new(schema: &SchemaRef) -> Result<Self> {
        Ok(match Table::new(schema) {
            Some(table) => Self::Ours(table),
            None => Self::Theirs(new_group_values(schema.clone(), &GroupOrdering::None)?, Vec::new()),
        })
    }

    /// Returns how many keys there are then.
    fn intern(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<usize> {
        match self {
            Self::Ours(table) => {
                table.intern(columns, rows, ids)?;
                Ok(table.len())
            }
            Self::Theirs(table, wide) => {
                table.intern(columns, wide)?;
                ids.clear();
                ids.extend(wide.iter().map(|&id| id as u32));
                Ok(table.len())
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Ours(table) => table.bytes(),
            Self::Theirs(table, _) => table.size(),
        }
    }
}

impl Keys {
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let table = Finder::new(&schema)?;
        Ok(Self { schema, table, chunks: Vec::new(), len: 0, ids: Vec::new() })
    }

    /// Ids given out and not forgotten: 0 to `len`, exclusive.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes held by the hash table and the values.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.chunks.iter().flatten().map(|array| array.get_array_memory_size()).sum::<usize>()
    }

    /// Id of each row's key. Without key columns every row has id 0.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize) -> Result<&[u32]> {
        if self.schema.fields().is_empty() {
            self.len = 1;
            self.ids.clear();
            self.ids.resize(rows, 0);
            return Ok(&self.ids);
        }
        let total = self.table.intern(columns, rows, &mut self.ids)?;
        if total > self.len {
            self.keep_new(columns, total)?;
        }
        Ok(&self.ids)
    }

    /// As above for `rows` rows from `from` on, or for those of them that are `kept`; the others' ids say nothing. The ids
    /// are those of [`Self::interned`].
    pub fn intern_some(&mut self, columns: &[ArrayRef], from: usize, rows: usize, kept: Option<&[u32]>) -> Result<()> {
        let Some(kept) = kept else {
            let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(from, rows)).collect();
            return self.intern(&columns, rows).map(drop);
        };
        let indices = UInt32Array::from(kept.to_vec());
        let columns = columns.iter().map(|column| take(column, &indices, None)).collect::<Result<Vec<_>, _>>()?;
        self.intern(&columns, kept.len())?;
        self.ids.resize(rows, 0);
        // Each to its row, from the last on: a row is never before its place among those kept.
        for (place, &row) in kept.iter().enumerate().rev() {
            self.ids[row as usize - from] = self.ids[place];
        }
        Ok(())
    }

    /// Ids of the rows that were interned last.
    pub fn interned(&self) -> &[u32] {
        &self.ids
    }

    fn keep_new(&mut self, columns: &[ArrayRef], total: usize) -> Result<()> {
        let mut first_row = vec![ABSENT; total - self.len];
        for (row, &id) in self.ids.iter().enumerate() {
            if let Some(new) = (id as usize).checked_sub(self.len)
                && first_row[new] == ABSENT
            {
                first_row[new] = row as u32;
            }
        }
        let rows = UInt32Array::from(first_row);
        self.chunks.push(columns.iter().map(|column| Ok(own(take(column, &rows, None)?))).collect::<Result<_>>()?);
        self.len = total;
        Ok(())
    }

    /// The key columns of the given ids, in their order.
    pub fn values(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        if self.chunks.len() > 1 {
            let joined = (0..self.schema.fields().len())
                .map(|column| concat(&self.chunks.iter().map(|chunk| chunk[column].as_ref()).collect::<Vec<_>>()))
                .collect::<Result<_, _>>()?;
            self.chunks = vec![joined];
        }
        let Some(columns) = self.chunks.first() else { return Ok(Vec::new()) };
        let ids = UInt32Array::from_iter_values(ids.iter().copied());
        columns.iter().map(|column| Ok(take(column, &ids, None)?)).collect()
    }

    /// Forgets all keys but the live ones. Returns each old id's new id, [`ABSENT`] for the forgotten.
    pub fn compact(&mut self, live: &[bool]) -> Result<Vec<u32>> {
        let kept: Vec<u32> = (0..self.len as u32).filter(|&id| live[id as usize]).collect();
        let mut renumbered = vec![ABSENT; self.len];
        if self.schema.fields().is_empty() {
            renumbered.fill(0);
            return Ok(renumbered);
        }
        let values = self.values(&kept)?;
        *self = Self::new(self.schema.clone())?;
        if !kept.is_empty() {
            let ids = self.intern(&values, kept.len())?;
            for (&old, &new) in kept.iter().zip(ids) {
                renumbered[old as usize] = new;
            }
        }
        Ok(renumbered)
    }
}
