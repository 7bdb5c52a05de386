//! Group keys interned into dense ids.
//!
//! DataFusion's hash table finds the id of a row's key; beside it the key's values are kept once, because that table
//! gives values back only by forgetting them. Ids are not stable for ever: [`Keys::compact`] forgets keys that no
//! pane holds any more and numbers the rest anew.

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
    table: Box<dyn GroupValues>,
    /// Values by id, in chunks that are joined when they are read.
    chunks: Vec<Vec<ArrayRef>>,
    len: usize,
    scratch: Vec<usize>,
}

impl Keys {
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let table = new_group_values(schema.clone(), &GroupOrdering::None)?;
        Ok(Self { schema, table, chunks: Vec::new(), len: 0, scratch: Vec::new() })
    }

    /// Ids given out and not forgotten: 0 to `len`, exclusive.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes held by the hash table and the values.
    pub fn bytes(&self) -> usize {
        self.table.size() + self.chunks.iter().flatten().map(|array| array.get_array_memory_size()).sum::<usize>()
    }

    /// Id of each row's key. Without key columns every row has id 0.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize) -> Result<&[usize]> {
        if self.schema.fields().is_empty() {
            self.len = 1;
            self.scratch.clear();
            self.scratch.resize(rows, 0);
            return Ok(&self.scratch);
        }
        self.table.intern(columns, &mut self.scratch)?;
        let total = self.table.len();
        if total > self.len {
            self.keep_new(columns, total)?;
        }
        Ok(&self.scratch)
    }

    fn keep_new(&mut self, columns: &[ArrayRef], total: usize) -> Result<()> {
        let mut first_row = vec![ABSENT; total - self.len];
        for (row, &id) in self.scratch.iter().enumerate() {
            if id >= self.len && first_row[id - self.len] == ABSENT {
                first_row[id - self.len] = row as u32;
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
                renumbered[old as usize] = new as u32;
            }
        }
        Ok(renumbered)
    }
}
