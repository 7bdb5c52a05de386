//! The protobuf wire format, as strict as prost: keys, varints, lengths, skipping.
//!
//! Every function takes the whole record, a position and the end of the enclosing message, and returns the position
//! after what it read: positions stay offsets into the record, so that errors can name them, and reads of whole words
//! may look past the end of a message (never of the record).

use prost_reflect::prost::encoding::WireType;

use crate::error::{Fault, What, fault};

pub(crate) const VARINT: u32 = 0;
pub(crate) const FIXED64: u32 = 1;
pub(crate) const LENGTH: u32 = 2;
pub(crate) const GROUP_START: u32 = 3;
pub(crate) const GROUP_END: u32 = 4;
pub(crate) const FIXED32: u32 = 5;

/// Eight bytes from `pos`, if the record has them.
#[inline(always)]
pub(crate) fn word(record: &[u8], pos: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*record.get(pos..)?.first_chunk()?))
}

/// Reads a varint.
#[inline(always)]
pub(crate) fn varint(record: &[u8], pos: usize, end: usize) -> Result<(u64, usize), Fault> {
    match word(record, pos).and_then(short_varint) {
        // The eight bytes may be more than the message has, but not more than the record.
        Some((value, bytes)) if pos + bytes <= end => Ok((value, pos + bytes)),
        _ => varint_slow(record, pos, end),
    }
}

/// A varint of at most eight bytes at the beginning of `word`, and its length. Without a branch for each byte: lengths
/// of random values cannot be predicted.
#[inline(always)]
pub(crate) fn short_varint(word: u64) -> Option<(u64, usize)> {
    if word & 0x80 == 0 {
        return Some((word & 0x7f, 1));
    }
    let stop = !word & 0x8080_8080_8080_8080;
    let bytes = stop.trailing_zeros() as usize / 8 + 1;
    if stop == 0 { None } else { Some((squeeze(word & (stop ^ (stop - 1))), bytes)) }
}

/// Drops the top bit of each byte.
#[inline(always)]
pub(crate) fn squeeze(word: u64) -> u64 {
    let word = word & 0x7f7f_7f7f_7f7f_7f7f;
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    (word & 0x0000_0000_0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4)
}

/// Any length, anywhere. Negative numbers come here: they have ten bytes.
#[inline(never)]
fn varint_slow(record: &[u8], start: usize, end: usize) -> Result<(u64, usize), Fault> {
    let mut value = 0;
    for (count, &byte) in record[..end].iter().skip(start).take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * count);
        if byte < 0x80 {
            // The tenth byte has room for one bit.
            let fits = count < 9 || byte < 2;
            return if fits { Ok((value, start + count + 1)) } else { Err(fault(start, What::VarintTooLong)) };
        }
    }
    Err(fault(start, if end.saturating_sub(start) < 10 { What::Truncated } else { What::VarintTooLong }))
}

/// Reads a field key: field number and wire type in one, as they are on the wire.
#[inline(always)]
pub(crate) fn key(record: &[u8], pos: usize, end: usize) -> Result<(u32, usize), Fault> {
    let byte = record[pos];
    // Field numbers 1 to 15.
    if (8..0x80).contains(&byte) {
        return Ok((u32::from(byte), pos + 1));
    }
    let (key, next) = varint(record, pos, end)?;
    match u32::try_from(key) {
        Ok(narrow) if narrow >= 8 => Ok((narrow, next)),
        _ => Err(fault(pos, What::BadKey { key })),
    }
}

/// Reads a length; the value lies from the first to the second position returned.
#[inline(always)]
pub(crate) fn length(record: &[u8], pos: usize, end: usize) -> Result<(usize, usize), Fault> {
    let (length, start) = varint(record, pos, end)?;
    let left = end - start;
    if length > left as u64 {
        return Err(fault(pos, What::LengthBeyondEnd { length, left }));
    }
    Ok((start, start + length as usize))
}

/// Reads four bytes.
#[inline(always)]
pub(crate) fn fixed32(record: &[u8], pos: usize, end: usize) -> Result<(u32, usize), Fault> {
    match record[..end].get(pos..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => Ok((u32::from_le_bytes(*bytes), pos + 4)),
        None => Err(fault(pos, What::Truncated)),
    }
}

/// Reads eight bytes.
#[inline(always)]
pub(crate) fn fixed64(record: &[u8], pos: usize, end: usize) -> Result<(u64, usize), Fault> {
    match word(&record[..end], pos) {
        Some(word) => Ok((word, pos + 8)),
        None => Err(fault(pos, What::Truncated)),
    }
}

/// The key that ends the group which `begun` began.
pub(crate) fn group_end(begun: u32) -> u32 {
    begun & !7 | GROUP_END
}

/// Steps over the value of a field that nobody asked for. `depth_left` groups may nest in it.
#[inline(always)]
pub(crate) fn skip(record: &[u8], key: u32, pos: usize, end: usize, depth_left: usize) -> Result<usize, Fault> {
    match key & 7 {
        VARINT => Ok(varint(record, pos, end)?.1),
        FIXED64 => Ok(fixed64(record, pos, end)?.1),
        LENGTH => Ok(length(record, pos, end)?.1),
        GROUP_START => skip_group(record, key, pos, end, depth_left),
        FIXED32 => Ok(fixed32(record, pos, end)?.1),
        GROUP_END => Err(fault(pos, What::GroupEnd)),
        _ => Err(fault(pos, What::BadKey { key: u64::from(key) })),
    }
}

/// Steps over a group, however many others are in it, up to `depth_max` deep. Iterative, so that depth costs no stack.
#[cold]
fn skip_group(record: &[u8], key: u32, start: usize, end: usize, depth_max: usize) -> Result<usize, Fault> {
    let mut open = vec![key >> 3];
    let mut pos = start;
    while let Some(&group) = open.last() {
        if pos >= end {
            return Err(fault(pos, What::Truncated));
        }
        let (inner, next) = self::key(record, pos, end)?;
        pos = match inner & 7 {
            GROUP_START if open.len() >= depth_max => return Err(fault(pos, What::TooDeep { max: depth_max })),
            GROUP_START => {
                open.push(inner >> 3);
                next
            }
            GROUP_END if inner >> 3 == group => {
                open.pop();
                next
            }
            _ => skip(record, inner, next, end, 0)?,
        };
    }
    Ok(pos)
}

/// For error messages.
pub(crate) fn wire_type(key: u32) -> Option<WireType> {
    WireType::try_from(u64::from(key & 7)).ok()
}
