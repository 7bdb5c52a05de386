//! Kafka's record batches (version 2), walked where they lie: checked by their CRC, unpacked where they are LZ4, records handed over as
//! slices. Pure: bytes in, records out.
//!
//! Deliberately not here: other compressions and the two older versions. A batch of those is [`Strange`], and librdkafka reads the
//! partition then (see `mod`).
//! Limits: an unpacked batch is at most [`UNPACKED_BYTES_MAX`].

use lz4_flex::{block::decompress_into, frame::FrameDecoder};
use std::{io::Read, ops::Range};

/// Up to where a batch's records begin.
const HEADER_BYTES: usize = 61;
/// Offset and length: what the length does not count.
const PREFIX_BYTES: usize = 12;
/// Up to the byte that tells the version, which is at the same place in all of them.
const VERSION_BYTES: usize = 17;
pub(super) const UNPACKED_BYTES_MAX: usize = 64 << 20;
const LZ4: u16 = 3;
const COMPRESSION: u16 = 7;
const LOG_APPEND_TIME: u16 = 1 << 3;
const IS_TRANSACTIONAL: u16 = 1 << 4;
const IS_CONTROL: u16 = 1 << 5;
/// What a transaction's marker says in its record's key, behind the version.
const ABORT: i16 = 0;

/// Why librdkafka has to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Strange(pub(crate) String);

fn strange(what: impl Into<String>) -> Strange {
    Strange(what.into())
}

/// A whole batch, of whatever version.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a>(&'a [u8]);

impl<'a> Batch<'a> {
    /// The batch that `bytes` begin with; `None` where it is not all there.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let length = u32::from_be_bytes(*bytes.get(8..PREFIX_BYTES)?.first_chunk()?) as usize;
        let whole = bytes.get(..length + PREFIX_BYTES)?;
        (whole.len() >= VERSION_BYTES).then_some(Self(whole))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    fn is_known(&self) -> bool {
        self.0[VERSION_BYTES - 1] == 2 && self.0.len() >= HEADER_BYTES
    }

    /// Only of a batch that is known, so that has its header.
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..].first_chunk().copied().unwrap_or([0; N])
    }

    fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.field(0))
    }

    /// The offset behind it, which is where reading goes on; `None` of a batch of another version.
    pub(super) fn past_offset(&self) -> Option<i64> {
        self.is_known().then(|| self.base_offset() + i64::from(i32::from_be_bytes(self.field(23))) + 1)
    }

    fn attributes(&self) -> u16 {
        u16::from_be_bytes(self.field(21))
    }

    fn producer_id(&self) -> i64 {
        i64::from_be_bytes(self.field(43))
    }
}

/// Where the whole batches that `bytes` begin with end, and the offset behind them; `None` where there is none of version 2.
pub(super) fn past_offset(bytes: &[u8]) -> Option<i64> {
    let (mut past, mut left) = (None, bytes);
    while let Some(batch) = Batch::first(left) {
        past = Some(batch.past_offset()?);
        left = &left[batch.bytes()..];
    }
    past
}

/// A transaction that was aborted: who made it, and where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// Which of the batches of one answer are of transactions that were aborted.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Those that begin further on, the next one last.
    later: Vec<Aborted>,
    /// Producers that are in one.
    open: Vec<i64>,
}

impl Transactions {
    pub(super) fn new(mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_by_key(|of| std::cmp::Reverse(of.first_offset));
        Self { later: aborted, open: Vec::new() }
    }

    /// Whether `batch`, the next in order, is of an aborted one.
    fn has_aborted(&mut self, batch: &Batch<'_>) -> bool {
        if batch.attributes() & IS_TRANSACTIONAL == 0 {
            return false;
        }
        let past = batch.past_offset().unwrap_or(i64::MAX);
        while let Some(begun) = self.later.pop_if(|of| of.first_offset < past) {
            self.open.push(begun.producer_id);
        }
        self.open.contains(&batch.producer_id())
    }

    /// `records` are those of a batch of control records: the marker of a transaction's end.
    fn mark(&mut self, batch: &Batch<'_>, records: &[u8]) -> Result<(), Strange> {
        let key = read_record(records, &mut 0).and_then(|record| record.key);
        let kind = key.and_then(|key| key.get(2..)?.first_chunk().copied().map(i16::from_be_bytes));
        let kind = kind.ok_or_else(|| strange("a marker that does not say what it marks"))?;
        if kind == ABORT {
            self.open.retain(|producer_id| *producer_id != batch.producer_id());
        }
        Ok(())
    }
}

/// Where the records of a batch lie, and what they have in common.
#[derive(Debug)]
pub(super) struct Records {
    /// In what was unpacked, else in the batch's own bytes.
    pub is_unpacked: bool,
    pub range: Range<usize>,
    pub left: u32,
    pub base_offset: i64,
    first_time_ms: i64,
    /// Of all of them, where the log says when.
    log_time_ms: Option<i64>,
}

/// Opens the next batch of an answer. `None`: it holds nothing for the reader.
pub(super) fn open(
    batch: &Batch<'_>,
    transactions: &mut Transactions,
    unpacked: &mut Vec<u8>,
) -> Result<Option<Records>, Strange> {
    if !batch.is_known() {
        return Err(strange(format!("records of version {}", batch.0[VERSION_BYTES - 1])));
    }
    if crc32c::crc32c(&batch.0[21..]) != u32::from_be_bytes(batch.field(17)) {
        return Err(strange("a batch whose checksum is wrong"));
    }
    let attributes = batch.attributes();
    if attributes & IS_CONTROL != 0 {
        transactions.mark(batch, &batch.0[HEADER_BYTES..])?;
        return Ok(None);
    }
    if transactions.has_aborted(batch) {
        return Ok(None);
    }
    let packed = HEADER_BYTES..batch.bytes();
    let (is_unpacked, range) = match attributes & COMPRESSION {
        0 => (false, packed),
        LZ4 => (true, 0..unpack(&batch.0[packed], unpacked)?),
        1 => return Err(strange("records packed by gzip")),
        2 => return Err(strange("records packed by Snappy")),
        4 => return Err(strange("records packed by Zstandard")),
        other => return Err(strange(format!("records packed by method {other}"))),
    };
    let max_time_ms = i64::from_be_bytes(batch.field(35));
    Ok(Some(Records {
        is_unpacked,
        range,
        left: u32::from_be_bytes(batch.field(57)),
        base_offset: batch.base_offset(),
        first_time_ms: i64::from_be_bytes(batch.field(27)),
        log_time_ms: (attributes & LOG_APPEND_TIME != 0).then_some(max_time_ms),
    }))
}

impl Records {
    /// The next one; `bytes` are those that [`Records::range`] is of. `None` after the last.
    #[inline]
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> Option<Result<Raw<'a>, Strange>> {
        self.left = self.left.checked_sub(1)?;
        let mut at = self.range.start;
        let record = bytes.get(..self.range.end).and_then(|bytes| read_record(bytes, &mut at));
        self.range.start = at;
        Some(record.ok_or_else(|| strange("a record that ends too soon")))
    }

    pub(super) fn offset(&self, record: &Raw<'_>) -> i64 {
        self.base_offset + record.offset_delta
    }

    pub(super) fn log_time_ms(&self, record: &Raw<'_>) -> i64 {
        self.log_time_ms.unwrap_or(self.first_time_ms + record.time_delta_ms)
    }
}

/// A record as it lies in its batch.
pub(super) struct Raw<'a> {
    pub offset_delta: i64,
    time_delta_ms: i64,
    pub key: Option<&'a [u8]>,
    pub payload: &'a [u8],
    /// Their number and what follows.
    headers: &'a [u8],
}

impl<'a> Raw<'a> {
    /// A name that is no UTF-8 is empty, as is a value that is null.
    pub(super) fn headers(&self) -> Vec<(&'a str, &'a [u8])> {
        let (bytes, mut at) = (self.headers, 0);
        let count = varint(bytes, &mut at).unwrap_or(0);
        let header = |_| {
            let name = sized(bytes, &mut at)?.unwrap_or_default();
            Some((std::str::from_utf8(name).unwrap_or_default(), sized(bytes, &mut at)?.unwrap_or_default()))
        };
        (0..count).map_while(header).collect()
    }
}

/// The record at `at`, which is behind it then. `None` where it is not what it says.
#[inline]
fn read_record<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Raw<'a>> {
    let length = usize::try_from(varint(bytes, at)?).ok()?;
    let record = bytes.get(*at..at.checked_add(length)?)?;
    *at += length;
    // Behind its attributes, which say nothing yet.
    let mut within = 1;
    let time_delta_ms = varint(record, &mut within)?;
    let offset_delta = varint(record, &mut within)?;
    let key = sized(record, &mut within)?;
    let payload = sized(record, &mut within)?.unwrap_or_default();
    Some(Raw { offset_delta, time_delta_ms, key, payload, headers: record.get(within..)? })
}

/// What a length stands before; `Some(None)` where that says null.
#[inline]
fn sized<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = varint(bytes, at)?;
    let Ok(length) = usize::try_from(length) else { return (length == -1).then_some(None) };
    let sized = bytes.get(*at..at.checked_add(length)?)?;
    *at += length;
    Some(Some(sized))
}

#[inline]
fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
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

/// Unpacks an LZ4 frame; how many bytes it is. What stands behind them in `out` is of earlier ones: setting it to zero each time
/// would cost as much as unpacking.
fn unpack(frame: &[u8], out: &mut Vec<u8>) -> Result<usize, Strange> {
    let short = || strange("an LZ4 frame that ends too soon");
    let (Some(&[0x04, 0x22, 0x4d, 0x18]), Some(&flags), Some(&sizes)) =
        (frame.first_chunk(), frame.get(4), frame.get(5))
    else {
        return Err(strange("no LZ4 frame"));
    };
    let (stands_alone, has_block_checks, has_size, has_dictionary) =
        (flags & 0x20 != 0, flags & 0x10 != 0, flags & 0x08 != 0, flags & 0x01 != 0);
    if !stands_alone || has_dictionary {
        return unpack_linked(frame, out);
    }
    let block_bytes_max = 1usize << (8 + 2 * (sizes >> 4 & 7));
    let mut at = 7 + if has_size { 8 } else { 0 };
    let mut used = 0;
    loop {
        let word = u32::from_le_bytes(*frame.get(at..).and_then(|left| left.first_chunk()).ok_or_else(short)?);
        at += 4;
        let (length, is_plain) = ((word & 0x7fff_ffff) as usize, word >> 31 != 0);
        if length == 0 {
            return Ok(used);
        }
        let block = frame.get(at..at + length).ok_or_else(short)?;
        at += length + if has_block_checks { 4 } else { 0 };
        if used + block_bytes_max > UNPACKED_BYTES_MAX {
            return Err(strange(format!("a batch that unpacks to more than {UNPACKED_BYTES_MAX} bytes")));
        }
        if out.len() < used + block_bytes_max {
            out.resize(used + block_bytes_max, 0);
        }
        let room = &mut out[used..used + block_bytes_max];
        used += if is_plain {
            room.get_mut(..length).ok_or_else(short)?.copy_from_slice(block);
            length
        } else {
            decompress_into(block, room).map_err(|error| strange(format!("an LZ4 block: {error}")))?
        };
    }
}

/// A frame whose blocks need those before them.
fn unpack_linked(frame: &[u8], out: &mut Vec<u8>) -> Result<usize, Strange> {
    out.clear();
    let limit = UNPACKED_BYTES_MAX as u64 + 1;
    let read = FrameDecoder::new(frame).take(limit).read_to_end(out);
    let bytes = read.map_err(|error| strange(format!("an LZ4 frame: {error}")))?;
    if bytes > UNPACKED_BYTES_MAX {
        return Err(strange(format!("a batch that unpacks to more than {UNPACKED_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
