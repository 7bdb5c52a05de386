//! Record batches, version 2, walked in place: checked by their CRC, unpacked where they are LZ4, payloads handed over as
//! slices.
//!
//! Limits: no other compression than LZ4, and of its frames those whose blocks stand alone, which is what librdkafka and the Java client
//! write; an unpacked batch is at most `UNPACKED_BYTES_MAX`.

use crate::{client::broken, crc};
use std::io;

/// Up to where the records begin.
const HEADER_BYTES: usize = 61;
const UNPACKED_BYTES_MAX: usize = 64 << 20;
const LZ4: u16 = 3;
const IS_CONTROL: u16 = 1 << 5;

/// The whole batches in a partition's part of an answer; its end may be the beginning of one more.
pub struct Batches<'a>(&'a [u8]);

pub struct Batch<'a>(&'a [u8]);

impl<'a> Batches<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Batch<'a>;

    fn next(&mut self) -> Option<Batch<'a>> {
        let length = u32::from_be_bytes(*self.0.get(8..12)?.first_chunk()?) as usize + 12;
        let (batch, rest) = self.0.split_at_checked(length.max(HEADER_BYTES))?;
        self.0 = rest;
        Some(Batch(batch))
    }
}

impl Batch<'_> {
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        // `Batches` gives none that is shorter than its header.
        self.0[at..].first_chunk().copied().unwrap_or([0; N])
    }

    fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.field(0))
    }

    pub fn past_offset(&self) -> i64 {
        self.base_offset() + i64::from(i32::from_be_bytes(self.field(23))) + 1
    }

    fn attributes(&self) -> u16 {
        u16::from_be_bytes(self.field(21))
    }
}

/// Keeps the memory that unpacking needs.
#[derive(Default)]
pub struct Records {
    unpacked: Vec<u8>,
}

impl Records {
    /// Hands over the payload of each record at or after offset `from`.
    pub fn each(&mut self, batch: &Batch<'_>, from: i64, on_payload: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if batch.0[16] != 2 {
            return Err(broken("a batch of another version"));
        }
        if crc::crc32c(&batch.0[21..]) != u32::from_be_bytes(batch.field(17)) {
            return Err(broken("a batch that was altered"));
        }
        if batch.attributes() & IS_CONTROL != 0 {
            return Ok(());
        }
        let packed = &batch.0[HEADER_BYTES..];
        let records = match batch.attributes() & 7 {
            0 => packed,
            LZ4 => {
                unpack(packed, &mut self.unpacked)?;
                &self.unpacked
            }
            _ => return Err(broken("another compression than LZ4")),
        };
        let skip = from - batch.base_offset();
        walk(records, u32::from_be_bytes(batch.field(57)), skip, on_payload)
            .ok_or_else(|| broken("a record that ends too soon"))
    }
}

/// `None`: the records are not what they say.
fn walk(mut left: &[u8], count: u32, skip: i64, on_payload: &mut dyn FnMut(&[u8])) -> Option<()> {
    for _ in 0..count {
        let length = usize::try_from(varint(&mut left)?).ok()?;
        let (mut record, rest) = left.split_at_checked(length)?;
        left = rest;
        // Attributes.
        record = record.get(1..)?;
        // When it was, after the batch's first.
        varint(&mut record)?;
        let offset = varint(&mut record)?;
        let key = varint(&mut record)?;
        record = record.get(usize::try_from(key.max(0)).ok()?..)?;
        let payload = varint(&mut record)?;
        let payload = record.get(..usize::try_from(payload.max(0)).ok()?)?;
        if offset >= skip {
            on_payload(payload);
        }
    }
    Some(())
}

#[inline(always)]
fn varint(left: &mut &[u8]) -> Option<i64> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (&byte, rest) = left.split_first()?;
        *left = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

/// An LZ4 frame of blocks that stand alone.
fn unpack(frame: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let short = || broken("a frame that ends too soon");
    let (Some(&[0x04, 0x22, 0x4d, 0x18]), Some(&flags), Some(&sizes)) =
        (frame.first_chunk(), frame.get(4), frame.get(5))
    else {
        return Err(broken("no LZ4 frame"));
    };
    let (alone, block_checks, has_size, has_dictionary) =
        (flags & 0x20 != 0, flags & 0x10 != 0, flags & 0x08 != 0, flags & 0x01 != 0);
    if !alone || has_dictionary {
        return Err(broken("an LZ4 frame of blocks that need others"));
    }
    let block_bytes_max = 1 << (8 + 2 * (sizes >> 4 & 7));
    let mut at = 7 + if has_size { 8 } else { 0 };
    let mut used = 0;
    loop {
        let word = frame.get(at..).and_then(|left| left.first_chunk()).ok_or_else(short)?;
        let word = u32::from_le_bytes(*word);
        at += 4;
        let (length, is_plain) = ((word & 0x7fff_ffff) as usize, word >> 31 != 0);
        if length == 0 {
            break;
        }
        let block = frame.get(at..at + length).ok_or_else(short)?;
        at += length + if block_checks { 4 } else { 0 };
        if used + block_bytes_max > UNPACKED_BYTES_MAX {
            return Err(broken("a batch that unpacks to too much"));
        }
        if out.len() < used + block_bytes_max {
            out.resize(used + block_bytes_max, 0);
        }
        let room = &mut out[used..used + block_bytes_max];
        used += match is_plain {
            true => {
                room.get_mut(..length).ok_or_else(short)?.copy_from_slice(block);
                length
            }
            false => lz4_flex::block::decompress_into(block, room).map_err(io::Error::other)?,
        };
    }
    // What is behind belongs to an earlier batch: the walk goes by the number of records.
    Ok(())
}
