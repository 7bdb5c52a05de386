//! Rows that share a record, for sinks whose records hold many.
//!
//! A record holds rows of one origin (a closed window, or a record of the stream) that belong to one partition of the sink, in their
//! order, up to a number of rows and of bytes. So what is in it depends on the SQL, the origin and the topic's number of
//! partitions alone, and never on when a processor looked, started or committed: computed again, it is the same record.
//!
//! Deliberately not here: ids, headers and the sink's prefix ([`super::emit`]), and the bytes (amoskys-columns).
//! Limits: a topic that gets more partitions cuts its records anew. A row of more than [`RECORD_BYTES`] has a record of its own.

use super::emit::Evidence;
use amoskys_bus::partition_for_key;
use amoskys_columns::ArrowEncoder;
use arrow::{
    array::{Array, StringArray, UInt32Array},
    error::ArrowError,
    record_batch::RecordBatch,
};
use std::{collections::BTreeMap, slice};

/// Records of more than this are cut in two. A quarter of what a broker takes at most when nobody has told it otherwise.
const RECORD_BYTES: usize = 256 << 10;

/// What is written as one record.
pub(super) struct Packed {
    pub rows: Rows,
    /// Where it belongs, when that is not for its key to say.
    pub partition: Option<i32>,
    pub payload: Vec<u8>,
}

/// Numbers of rows of an emission.
pub(super) enum Rows {
    /// It has a record of its own.
    One(u32),
    /// At least one.
    Many(UInt32Array),
}

impl Rows {
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(row) => slice::from_ref(row),
            Self::Many(rows) => rows.values(),
        }
    }

    pub fn first(&self) -> u32 {
        self.as_slice().first().copied().unwrap_or(0)
    }
}

impl Packed {
    pub fn of_one(row: u32, payload: Vec<u8>) -> Self {
        Self { rows: Rows::One(row), partition: None, payload }
    }
}

/// How rows are put into records.
pub(super) struct Way<'a> {
    pub encoder: &'a ArrowEncoder,
    pub rows_max: usize,
    /// Of the sink's topic; `None` where there is no topic.
    pub partitions: Option<i32>,
    /// A row's, which says the partition. Rows without one are in the first.
    pub keys: Option<&'a StringArray>,
}

impl Way<'_> {
    /// All rows. `evidence`: one for each row, or one for all of them.
    pub fn pack(&self, batch: &RecordBatch, evidence: &[Evidence]) -> Result<Vec<Packed>, ArrowError> {
        let rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let mut packed = Vec::new();
        let origin = |row: u32| evidence.get(row as usize).map(|evidence| evidence.first_offset);
        match evidence.len() {
            1 => self.pack_origin(batch, &rows, &mut packed)?,
            _ => rows
                .chunk_by(|&one, &other| origin(one) == origin(other))
                .try_for_each(|rows| self.pack_origin(batch, rows, &mut packed))?,
        }
        Ok(packed)
    }

    fn pack_origin(&self, batch: &RecordBatch, rows: &[u32], packed: &mut Vec<Packed>) -> Result<(), ArrowError> {
        let mut spread: BTreeMap<Option<i32>, Vec<u32>> = BTreeMap::new();
        match (self.partitions, self.keys) {
            (Some(partitions @ 2..), Some(keys)) => {
                for &row in rows {
                    let is_valid = keys.is_valid(row as usize);
                    let key = if is_valid { keys.value(row as usize).as_bytes() } else { b"" };
                    let partition = if is_valid { partition_for_key(key, partitions) } else { 0 };
                    spread.entry(Some(partition)).or_default().push(row);
                }
            }
            (Some(_), Some(_)) => drop(spread.insert(Some(0), rows.to_vec())),
            // Without a key a record may be anywhere.
            (_, None) | (None, _) => drop(spread.insert(None, rows.to_vec())),
        }
        for (partition, rows) in spread {
            for rows in rows.chunks(self.rows_max) {
                self.cut(batch, rows, partition, packed)?;
            }
        }
        Ok(())
    }

    /// One record of these rows, or as many as their bytes want.
    fn cut(
        &self,
        batch: &RecordBatch,
        rows: &[u32],
        partition: Option<i32>,
        packed: &mut Vec<Packed>,
    ) -> Result<(), ArrowError> {
        let numbers = UInt32Array::from(rows.to_vec());
        let payload = self.encoder.encode_together(batch, &numbers)?;
        if payload.len() > RECORD_BYTES && rows.len() > 1 {
            let (before, after) = rows.split_at(rows.len() / 2);
            self.cut(batch, before, partition, packed)?;
            return self.cut(batch, after, partition, packed);
        }
        packed.push(Packed { rows: Rows::Many(numbers), partition, payload });
        Ok(())
    }
}
