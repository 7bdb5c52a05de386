//! A hash table of group keys of numbers, times and texts, which nearly all views group by.
//!
//! A key is a record of words: one for a number, three for a text, which hold all of it up to 16 bytes. Rows are looked
//! up in blocks and in steps, so that the loads of many rows overlap: words and hashes, then slots, then records; what
//! is not found at once is looked for row by row, in order. Keys of other types stay with DataFusion's table
//! ([`crate::keys`]). The hash is seeded anew for each table, so nobody outside can choose keys that collide; ids do not
//! depend on it.

use crate::native::{Kind, Values};
use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewArray},
    datatypes::{DataType, Schema},
};
use datafusion::error::{DataFusionError, Result};
use std::hash::{BuildHasher, RandomState};

/// Rows that are looked up together.
const BLOCK: usize = 128;
/// Bits of the mask of null columns.
const COLUMNS_MAX: usize = 64;
const TEXT_WORDS: usize = 3;
/// Longest text that lies in its view.
const VIEW_BYTES_MAX: usize = 12;
/// Longest text that lies in its words.
const WORDS_BYTES_MAX: usize = 16;

pub struct Table {
    columns: Vec<Column>,
    /// Of a key: which columns are null, a bit for each, and the words of all columns.
    width: usize,
    records: Vec<u64>,
    hashes: Vec<u64>,
    /// The upper half of a hash, and its key's id and one; 0 where there is none. As many as a power of two.
    slots: Vec<u64>,
    seed: u64,
}

enum Column {
    Number(Kind),
    Text(Longs),
}

/// Texts that are longer than their words, by id.
#[derive(Default)]
struct Longs {
    /// Where each key's text begins; as far as there was a long one.
    starts: Vec<usize>,
    bytes: Vec<u8>,
}

/// Rows to look up: their records word by word, and their hashes.
struct Block {
    words: Vec<[u64; BLOCK]>,
    hashes: [u64; BLOCK],
    slots: [u64; BLOCK],
    first: usize,
    rows: usize,
    has_longs: bool,
}

impl Table {
    /// None for keys of other types.
    pub fn new(schema: &Schema) -> Option<Self> {
        let column = |data_type: &DataType| match (data_type, Kind::of(data_type)) {
            (DataType::Utf8View, _) => Some(Column::Text(Longs::default())),
            // Equal doubles need not have equal bits.
            (_, Some(kind)) if kind != Kind::Float => Some(Column::Number(kind)),
            _ => None,
        };
        let columns = schema.fields().iter().map(|field| column(field.data_type())).collect::<Option<Vec<_>>>()?;
        let width = 1 + columns.iter().map(Column::words).sum::<usize>();
        // Odd, so that multiplying by it loses nothing.
        let (seed, slots) = (RandomState::new().hash_one(width) | 1, vec![0; 2 * BLOCK]);
        let table = Self { columns, width, records: Vec::new(), hashes: Vec::new(), slots, seed };
        (table.columns.len() <= COLUMNS_MAX).then_some(table)
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn bytes(&self) -> usize {
        let longs = self.columns.iter().map(|column| match column {
            Column::Number(_) => 0,
            Column::Text(longs) => longs.starts.capacity() * size_of::<usize>() + longs.bytes.capacity(),
        });
        let words = self.records.capacity() + self.hashes.capacity() + self.slots.capacity();
        longs.sum::<usize>() + words * size_of::<u64>()
    }

    /// The id of each row's key; new keys are given the next ones, in the order of rows.
    pub fn intern(&mut self, arrays: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        ids.reserve(rows);
        let input = self.input(arrays)?;
        let mut block = Block {
            words: vec![[0; BLOCK]; self.width],
            hashes: [0; BLOCK],
            slots: [0; BLOCK],
            first: 0,
            rows: 0,
            has_longs: false,
        };
        for first in (0..rows).step_by(BLOCK) {
            (block.first, block.rows) = (first, BLOCK.min(rows - first));
            block.read(&input, arrays, self.seed);
            self.look_up(&block.hashes, &mut block.slots);
            for row in 0..block.rows {
                let id = block.slots[row] as u32;
                // As many keys as ids: those of this block are given in the order of its rows.
                let is_found = self.is_key(id.wrapping_sub(1) as usize, &block, &input, row);
                ids.push(if is_found { id - 1 } else { self.find_or_add(&block, &input, row) });
            }
        }
        Ok(())
    }

    fn input<'a>(&self, arrays: &'a [ArrayRef]) -> Result<Vec<Input<'a>>> {
        let fault = || DataFusionError::Internal("a key that is no text".into());
        let inputs = self.columns.iter().zip(arrays).map(|(column, array)| match column {
            Column::Number(kind) => Ok(Input::Number(Values::of(array.as_ref(), *kind)?)),
            Column::Text(_) => Ok(Input::Text(array.as_string_view_opt().ok_or_else(fault)?)),
        });
        inputs.collect()
    }

    /// Where each hash is at once: in its slot or the next. 0 where it is not.
    fn look_up(&self, hashes: &[u64; BLOCK], slots: &mut [u64; BLOCK]) {
        let last = self.slots.len() - 1;
        for (slot, &hash) in slots.iter_mut().zip(hashes) {
            let at = hash as usize;
            let is_of = |found: u64| found >> 32 == hash >> 32;
            let (one, other) = (self.slots[at & last], self.slots[(at + 1) & last]);
            let other = if is_of(other) { other } else { 0 };
            *slot = if is_of(one) { one } else { other };
        }
    }

    #[inline(always)]
    fn is_key(&self, id: usize, block: &Block, input: &[Input<'_>], row: usize) -> bool {
        let at = id.saturating_mul(self.width);
        let Some(record) = self.records.get(at..at.saturating_add(self.width)) else { return false };
        let differs = record.iter().zip(&block.words).fold(0, |differs, (known, words)| differs | known ^ words[row]);
        differs == 0 && (!block.has_longs || self.has_texts(id, input, block.first + row, record[0]))
    }

    /// Whether the texts that are longer than their words are those of the key.
    #[inline(never)]
    fn has_texts(&self, id: usize, input: &[Input<'_>], row: usize, nulls: u64) -> bool {
        self.columns.iter().zip(input).enumerate().all(|(index, column)| match column {
            (Column::Text(longs), Input::Text(array)) if nulls >> index & 1 == 0 => match text(array, row).1 {
                long if long.len() > WORDS_BYTES_MAX => longs.is(id, long),
                _ => true,
            },
            _ => true,
        })
    }

    #[inline(never)]
    fn find_or_add(&mut self, block: &Block, input: &[Input<'_>], row: usize) -> u32 {
        let (hash, last) = (block.hashes[row], self.slots.len() - 1);
        let mut at = hash as usize & last;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let id = slot as u32 - 1;
            if slot >> 32 == hash >> 32 && self.is_key(id as usize, block, input, row) {
                return id;
            }
            at = (at + 1) & last;
        }
        let id = self.hashes.len();
        self.records.extend(block.words.iter().map(|words| words[row]));
        self.hashes.push(hash);
        for (column, input) in self.columns.iter_mut().zip(input) {
            if let (Column::Text(longs), Input::Text(array)) = (column, input)
                && array.is_valid(block.first + row)
            {
                longs.keep(id, text(array, block.first + row).1);
            }
        }
        self.slots[at] = slot(hash, id);
        if self.hashes.len() * 2 > self.slots.len() {
            self.widen();
        }
        id as u32
    }

    fn widen(&mut self) {
        let last = self.slots.len() * 2 - 1;
        self.slots.clear();
        self.slots.resize(last + 1, 0);
        for (id, &hash) in self.hashes.iter().enumerate() {
            let mut at = hash as usize & last;
            while self.slots[at] != 0 {
                at = (at + 1) & last;
            }
            self.slots[at] = slot(hash, id);
        }
    }
}

fn slot(hash: u64, id: usize) -> u64 {
    hash >> 32 << 32 | (id as u64 + 1)
}

/// One column of the rows to look up.
enum Input<'a> {
    Number(Values),
    Text(&'a StringViewArray),
}

impl Column {
    fn words(&self) -> usize {
        match self {
            Self::Number(_) => 1,
            Self::Text(_) => TEXT_WORDS,
        }
    }
}

impl Block {
    /// The records of its rows and their hashes. Values under nulls are 0.
    fn read(&mut self, input: &[Input<'_>], arrays: &[ArrayRef], seed: u64) {
        let (first, rows) = (self.first, self.rows);
        self.hashes = [seed; BLOCK];
        self.has_longs = false;
        self.words[0] = [0; BLOCK];
        let mut at = 1;
        for (index, (input, array)) in input.iter().zip(arrays).enumerate() {
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
            let is_null = |row: usize| nulls.is_some_and(|nulls| nulls.is_null(first + row));
            match input {
                Input::Number(values) => {
                    let words = &mut self.words[at];
                    values.read_run(first, &mut words[..rows]);
                    if nulls.is_some() {
                        (0..rows).filter(|&row| is_null(row)).for_each(|row| words[row] = 0);
                    }
                    self.hashes
                        .iter_mut()
                        .zip(&self.words[at])
                        .for_each(|(hash, word)| *hash = fold(*hash ^ word, seed));
                    at += 1;
                }
                Input::Text(array) => {
                    for row in 0..rows {
                        let (words, is_long) =
                            if is_null(row) { ([0; 3], false) } else { words(array, first + row, seed) };
                        self.has_longs |= is_long;
                        (0..TEXT_WORDS).for_each(|word| self.words[at + word][row] = words[word]);
                        let hash = &mut self.hashes[row];
                        *hash = fold(*hash ^ words[0] ^ words[2].rotate_left(32), seed ^ words[1]);
                    }
                    at += TEXT_WORDS;
                }
            }
            if nulls.is_some() {
                for row in (0..rows).filter(|&row| is_null(row)) {
                    self.words[0][row] |= 1 << index;
                    self.hashes[row] = fold(self.hashes[row] ^ (index as u64 + 1), seed);
                }
            }
        }
    }
}

impl Longs {
    fn keep(&mut self, id: usize, text: &[u8]) {
        if text.len() > WORDS_BYTES_MAX {
            self.starts.resize(id, 0);
            self.starts.push(self.bytes.len());
            self.bytes.extend_from_slice(text);
        }
    }

    fn is(&self, id: usize, text: &[u8]) -> bool {
        let start = self.starts.get(id).copied().unwrap_or(usize::MAX);
        self.bytes.get(start..start.saturating_add(text.len())) == Some(text)
    }
}

/// The view of a row's text, and its bytes when they are not all in there.
#[inline(always)]
fn text(array: &StringViewArray, row: usize) -> (u128, &[u8]) {
    let view = array.views()[row];
    let length = view as u32 as usize;
    if length <= VIEW_BYTES_MAX {
        return (view, &[]);
    }
    let (buffer, at) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
    (view, &array.data_buffers()[buffer][at..at + length])
}

/// A text's words: length and first bytes, and the others or, for one that is longer, its first bytes and a hash.
#[inline(always)]
fn words(array: &StringViewArray, row: usize, seed: u64) -> ([u64; TEXT_WORDS], bool) {
    let (view, long) = text(array, row);
    if long.is_empty() {
        return ([view as u64, (view >> 64) as u64, 0], false);
    }
    let (first, last) = ends(long);
    let is_long = long.len() > WORDS_BYTES_MAX;
    ([view as u64, first, if is_long { hash_long(long, seed) } else { last }], is_long)
}

/// The first and the last 8 bytes of at least as many.
#[inline(always)]
fn ends(bytes: &[u8]) -> (u64, u64) {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (word(bytes.first_chunk()), word(bytes.last_chunk()))
}

/// Of more than 16 bytes.
#[inline(always)]
fn hash_long(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed;
    for chunk in bytes[..bytes.len() - 1].chunks_exact(16) {
        let (one, other) = ends(chunk);
        hash = fold(hash ^ one, seed ^ other);
    }
    let (one, other) = ends(&bytes[bytes.len() - 16..]);
    fold(hash ^ one, seed ^ other)
}

/// The 128 bits of a product folded into 64: each bit of both goes into many of them.
#[inline(always)]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
