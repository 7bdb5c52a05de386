//! Strings and bytes into views: up to 12 bytes lie in the view itself, longer ones in a block.

use crate::error::{Fault, What, fault};
use crate::views::{Views, inline_view};

/// Longest value that lies in its view.
const INLINE_BYTES_MAX: usize = 12;
/// Longest value that is copied as if it had this length.
const COPY_BYTES: usize = 32;
const HIGH_BITS: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;

/// The view of the string in `record[start..stop]`, checked to be UTF-8.
#[inline(always)]
pub(crate) fn view(record: &[u8], start: usize, stop: usize, views: &mut Views) -> Result<u128, Fault> {
    let length = stop - start;
    if length <= INLINE_BYTES_MAX {
        let bytes = short(record, start, stop);
        if bytes & HIGH_BITS != 0 && std::str::from_utf8(&record[start..stop]).is_err() {
            return Err(fault(start, What::NotUtf8));
        }
        return Ok(bytes << 32 | length as u128);
    }
    let bytes = &record[start..stop];
    if !is_ascii(bytes) && std::str::from_utf8(bytes).is_err() {
        return Err(fault(start, What::NotUtf8));
    }
    Ok(long(record, start, stop, views))
}

/// The view of `record[start..stop]`.
#[inline(always)]
pub(crate) fn bytes_view(record: &[u8], start: usize, stop: usize, views: &mut Views) -> u128 {
    let length = stop - start;
    if length <= INLINE_BYTES_MAX {
        return short(record, start, stop) << 32 | length as u128;
    }
    long(record, start, stop, views)
}

/// More than 12 bytes.
#[inline(always)]
fn long(record: &[u8], start: usize, stop: usize, views: &mut Views) -> u128 {
    match record[start..].first_chunk::<COPY_BYTES>() {
        Some(chunk) if stop - start <= COPY_BYTES => views.keep_part(chunk, stop - start),
        _ => views.keep(&record[start..stop]),
    }
}

/// At most 12 bytes as a number, the first lowest. One load where the record goes on, as it nearly always does.
#[inline(always)]
fn short(record: &[u8], start: usize, stop: usize) -> u128 {
    match record[start..].first_chunk() {
        Some(chunk) => u128::from_le_bytes(*chunk) & ((1 << (8 * (stop - start))) - 1),
        None => inline_view(&record[start..stop]) >> 32,
    }
}

/// Addresses, names and paths are ASCII and hardly longer than two words.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    match (bytes.len() <= 16, bytes.first_chunk(), bytes.last_chunk()) {
        (true, Some(first), Some(last)) => {
            (u64::from_le_bytes(*first) | u64::from_le_bytes(*last)) & HIGH_BITS as u64 == 0
        }
        _ => bytes.is_ascii(),
    }
}
