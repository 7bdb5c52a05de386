//! Short cuts for what nearly every field is: a number, a short ASCII string or a time, of a small field number, not
//! at the very end of the record.
//!
//! A field is looked at through one window of 32 bytes, so that one check covers all reads. Whatever is unusual (and
//! whatever is wrong) is left to the general way in `decode`, which overwrites or rolls back what was written here.

use crate::decode::{HAS_STAMP, NANOS, SECONDS};
use crate::plan::{Node, Op, Plan, Quick};
use crate::store::{Stamp, Store};
use crate::wire::{short_varint, squeeze};

/// Bytes of the record that a field is seen through.
const WINDOW: usize = 32;
/// Where a string begins in it: after a key and a length of one byte each.
const TEXT_AT: usize = 2;
/// Longest string in it.
const TEXT_BYTES_MAX: usize = WINDOW - TEXT_AT;

/// Longest string that is in its view.
const INLINE_BYTES_MAX: usize = 12;

/// For each length of a string, the bits that must not be set for it to be ASCII.
const NOT_ASCII: [[u8; WINDOW]; TEXT_BYTES_MAX + 1] = {
    let mut masks = [[0; WINDOW]; TEXT_BYTES_MAX + 1];
    let mut length = 0;
    while length <= TEXT_BYTES_MAX {
        let mut at = 0;
        while at < length {
            masks[length][TEXT_AT + at] = 0x80;
            at += 1;
        }
        length += 1;
    }
    masks
};

/// Decodes the field at `pos`, if it is an ordinary one, and returns where the next begins.
#[inline(always)]
pub(crate) fn field(
    plan: &Plan,
    store: &mut Store,
    node: &Node,
    record: &[u8],
    pos: usize,
    end: usize,
    row: usize,
) -> Option<usize> {
    let window: &[u8; WINDOW] = record.get(pos..)?.first_chunk()?;
    let op = node.narrow.get(usize::from(window[0]))?;
    let next = match op.quick {
        Quick::Varint32 => {
            let (value, bytes) = varint(window)?;
            store.words[usize::from(op.column)][row] = value as u32;
            pos + 1 + bytes
        }
        Quick::Varint64 => {
            let (value, bytes) = varint(window)?;
            store.longs[usize::from(op.column)][row] = value;
            pos + 1 + bytes
        }
        Quick::Text => {
            let length = usize::from(window[1]);
            text(store, op, window, length, row)?;
            pos + TEXT_AT + length
        }
        Quick::Enum => {
            let (value, bytes) = varint(window)?;
            let view = plan.enums[usize::from(op.extra)].view(value as i32);
            store.views[usize::from(op.column)].values[row] = view;
            pos + 1 + bytes
        }
        Quick::Time => pos + TEXT_AT + time(store, op, window, row)?,
        Quick::SkipVarint => pos + 1 + varint(window)?.1,
        Quick::SkipLength => {
            let length = usize::from(window[1]);
            if length >= 0x80 {
                return None;
            }
            pos + TEXT_AT + length
        }
        Quick::No => return None,
    };
    if next <= end { Some(next) } else { None }
}

#[inline(always)]
fn varint(window: &[u8; WINDOW]) -> Option<(u64, usize)> {
    match short_varint(u64::from_le_bytes(*window[1..].first_chunk()?)) {
        None => long_varint(window),
        short => short,
    }
}

/// One of nine or ten bytes, as negative numbers are: error codes that calls return, for the most part.
#[inline(never)]
fn long_varint(window: &[u8; WINDOW]) -> Option<(u64, usize)> {
    let low = squeeze(u64::from_le_bytes(*window[1..].first_chunk()?));
    let (ninth, tenth) = (window[9], window[10]);
    let value = low | u64::from(ninth & 0x7f) << 56;
    match (ninth < 0x80, tenth) {
        (true, _) => Some((value, 9)),
        // The tenth has room for one bit.
        (false, 0 | 1) => Some((value | u64::from(tenth) << 63, 10)),
        _ => None,
    }
}

#[inline(always)]
fn text(store: &mut Store, op: &Op, window: &[u8; WINDOW], length: usize, row: usize) -> Option<()> {
    let not_ascii = NOT_ASCII.get(length)?;
    // All bytes, without a branch, so that it becomes a few vector instructions.
    if window.iter().zip(not_ascii).fold(0, |found, (byte, mask)| found | byte & mask) != 0 {
        return None;
    }
    let views = &mut store.views[usize::from(op.column)];
    views.values[row] = if length <= INLINE_BYTES_MAX {
        let bytes = u128::from_le_bytes(*window[TEXT_AT..].first_chunk()?);
        (bytes & ((1 << (8 * length)) - 1)) << 32 | length as u128
    } else {
        views.keep_part::<TEXT_BYTES_MAX>(window[TEXT_AT..].first_chunk()?, length)
    };
    Some(())
}

/// Seconds and nanoseconds, both there and in this order, as everybody writes them. Returns their length.
#[inline(always)]
fn time(store: &mut Store, op: &Op, window: &[u8; WINDOW], row: usize) -> Option<usize> {
    let bits = u128::from_le_bytes(*window[TEXT_AT..].first_chunk()?);
    let (seconds, seconds_bytes) = short_varint((bits >> 8) as u64)?;
    let rest = bits >> (8 + 8 * seconds_bytes);
    let (nanos, nanos_bytes) = short_varint((rest >> 8) as u64)?;
    let bytes = 2 + seconds_bytes + nanos_bytes;
    let as_expected = u32::from(bits as u8) == SECONDS && u32::from(rest as u8) == NANOS;
    if !as_expected || bytes != usize::from(window[1]) || bytes > 16 {
        return None;
    }
    // With both parts given, it does not matter whether the row had a time before.
    let stamp = Stamp { seconds: seconds as i64, nanos: nanos as i32 };
    store.longs[usize::from(op.column)][row] = stamp.nanoseconds()? as u64;
    store.stamps[usize::from(op.extra)][row & 1] = stamp;
    store.bytes[usize::from(op.present)][row] = 1 | HAS_STAMP;
    Some(bytes)
}
