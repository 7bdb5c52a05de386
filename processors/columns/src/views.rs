//! Strings and bytes as Arrow views: 16 bytes each, which hold short values and say where the bytes of long ones are.

use arrow::buffer::Buffer;

/// A block grows by at least this much.
pub(crate) const BLOCK_STEP_BYTES: usize = 4096;
/// Bytes of one column's long strings before the next block is begun; views address 32 bits of them.
const BLOCK_BYTES_MAX: usize = 1 << 30;

/// What a view column has in a row before anything is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blank {
    pub view: u128,
    /// The bytes that `view`, and others copied into the column, refer to as buffer 0.
    pub block: Option<Buffer>,
}

/// A view of at most 12 bytes.
pub(crate) fn inline_view(bytes: &[u8]) -> u128 {
    let mut raw = [0; 16];
    for (to, from) in raw[4..].iter_mut().zip(bytes) {
        *to = *from;
    }
    u128::from_le_bytes(raw) | bytes.len() as u128
}

/// A view of more than 12 bytes, which lie at `offset` of buffer `block`.
#[inline(always)]
pub(crate) fn long_view(bytes: &[u8], block: usize, offset: usize) -> u128 {
    let prefix = bytes.first_chunk().map_or(0, |four| u32::from_le_bytes(*four));
    bytes.len() as u128 | u128::from(prefix) << 32 | (block as u128) << 64 | (offset as u128) << 96
}

/// Strings or bytes.
#[derive(Debug, Default)]
pub(crate) struct Views {
    pub values: Vec<u128>,
    /// Bytes of long values, the block being filled; zeros from `used` on.
    block: Vec<u8>,
    used: usize,
    /// Blocks filled before it.
    full: Vec<Buffer>,
    pub blank: u128,
    shared: Option<Buffer>,
}

impl Views {
    pub(crate) fn new(blank: &Blank) -> Self {
        let shared = blank.block.clone().filter(|block| !block.is_empty());
        Self { blank: blank.view, shared, ..Self::default() }
    }

    /// Where long values are appended, for [`Views::roll_back`].
    #[inline(always)]
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.full.len(), self.used)
    }

    /// Forgets the long values appended since `mark`.
    pub(crate) fn roll_back(&mut self, (full, used): (usize, usize)) {
        if self.full.len() > full {
            // The block that the record began in was closed in the middle of it; its head stays as it is.
            self.full.truncate(full + 1);
            self.used = 0;
        } else {
            self.used = used;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.used = 0;
        self.full.clear();
    }

    /// Stores a value of more than 12 bytes and returns its view.
    #[inline(always)]
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> u128 {
        let offset = self.room(bytes.len());
        self.block[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.used = offset + bytes.len();
        long_view(bytes, self.full.len(), offset)
    }

    /// Stores the first `length` bytes of `chunk`, more than 12, and returns their view. A copy of a fixed size, some
    /// of it for nothing, is a few instructions; one of an odd size is a call.
    #[inline(always)]
    pub(crate) fn keep_part<const N: usize>(&mut self, chunk: &[u8; N], length: usize) -> u128 {
        let offset = self.room(N);
        if let Some(room) = self.block[offset..].first_chunk_mut::<N>() {
            *room = *chunk;
        }
        self.used = offset + length;
        long_view(chunk, self.full.len(), offset) & !u128::from(u32::MAX) | length as u128
    }

    /// Where the next value goes; there are at least `bytes` from there on.
    #[inline(always)]
    fn room(&mut self, bytes: usize) -> usize {
        if self.used + bytes > self.block.len() {
            self.make_room(bytes);
        }
        self.used
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, bytes: usize) {
        if self.used + bytes > BLOCK_BYTES_MAX {
            self.close_block();
        }
        let least = (self.used + bytes).next_multiple_of(BLOCK_STEP_BYTES);
        self.block.resize(least.max(self.block.len() + self.block.len() / 2), 0);
    }

    fn close_block(&mut self) {
        self.block.truncate(self.used);
        self.used = 0;
        self.full.push(Buffer::from_vec(std::mem::take(&mut self.block)));
    }

    /// Whether `view`, one of these, is of `bytes`.
    pub(crate) fn is(&self, view: u128, bytes: &[u8]) -> bool {
        match self.long(view) {
            Some(long) => long == bytes,
            None => bytes.len() <= 12 && view == inline_view(bytes),
        }
    }

    /// The bytes of a view, if they are not inline.
    pub(crate) fn long(&self, view: u128) -> Option<&[u8]> {
        let (length, block, offset) = (view as u32 as usize, (view >> 64) as u32 as usize, (view >> 96) as usize);
        let block = self.full.get(block).map_or(&self.block[..], Buffer::as_slice);
        if length <= 12 { None } else { block.get(offset..offset + length) }
    }

    /// Values, and the buffers they refer to.
    pub(crate) fn take(&mut self) -> (Vec<u128>, Vec<Buffer>) {
        let mut blocks = std::mem::take(&mut self.full);
        blocks.extend(self.shared.clone());
        if self.used > 0 {
            let bytes = self.block.len();
            self.close_block();
            blocks.append(&mut self.full);
            self.block.reserve_exact(bytes);
        }
        (std::mem::take(&mut self.values), blocks)
    }
}
