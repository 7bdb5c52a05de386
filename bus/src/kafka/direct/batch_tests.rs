//! Batches made here and read again: by chance, cut, damaged, with transactions that were aborted, and of kinds that are not known.

use super::*;
use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
use proptest::prelude::*;
use std::io::Write;

/// What a batch is made of.
#[derive(Debug, Clone, Default)]
struct Spec {
    base_offset: i64,
    attributes: u16,
    producer_id: i64,
    records: Vec<Made>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Made {
    offset_delta: i64,
    time_delta_ms: i64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut value = (value << 1 ^ value >> 63) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_sized(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn batch(spec: &Spec, block_mode: BlockMode) -> Vec<u8> {
    let mut records = Vec::new();
    for made in &spec.records {
        let mut record = vec![0];
        put_varint(&mut record, made.time_delta_ms);
        put_varint(&mut record, made.offset_delta);
        put_sized(&mut record, made.key.as_deref());
        put_sized(&mut record, made.payload.as_deref());
        put_varint(&mut record, made.headers.len() as i64);
        for (name, value) in &made.headers {
            put_sized(&mut record, Some(name.as_bytes()));
            put_sized(&mut record, value.as_deref());
        }
        put_varint(&mut records, record.len() as i64);
        records.extend(record);
    }
    if spec.attributes & COMPRESSION == LZ4 {
        let mut packer = FrameEncoder::with_frame_info(FrameInfo::new().block_mode(block_mode), Vec::new());
        packer.write_all(&records).expect("packed");
        records = packer.finish().expect("packed");
    }
    let last = spec.records.last().map_or(0, |made| made.offset_delta);
    let mut checked = Vec::new();
    checked.extend(spec.attributes.to_be_bytes());
    checked.extend((last as i32).to_be_bytes());
    checked.extend(1_000i64.to_be_bytes());
    checked.extend(9_000i64.to_be_bytes());
    checked.extend(spec.producer_id.to_be_bytes());
    checked.extend([0; 6]);
    checked.extend((spec.records.len() as u32).to_be_bytes());
    checked.extend(records);
    let mut whole = Vec::new();
    whole.extend(spec.base_offset.to_be_bytes());
    whole.extend((checked.len() as u32 + 9).to_be_bytes());
    whole.extend([0, 0, 0, 0, 2]);
    whole.extend(crc32c::crc32c(&checked).to_be_bytes());
    whole.extend(checked);
    whole
}

/// The marker of a transaction's end.
fn marker(base_offset: i64, producer_id: i64, kind: i16) -> Vec<u8> {
    let key = [0i16.to_be_bytes(), kind.to_be_bytes()].concat();
    let record = Made { key: Some(key), payload: Some(vec![0; 6]), ..Made::default() };
    let attributes = IS_CONTROL | IS_TRANSACTIONAL;
    batch(&Spec { base_offset, attributes, producer_id, records: vec![record] }, BlockMode::Independent)
}

/// All records that a reader gets of `bytes`, by offset.
fn read(bytes: &[u8], aborted: &[Aborted]) -> Result<Vec<(i64, i64, Made)>, Strange> {
    let (mut transactions, mut unpacked) = (Transactions::new(aborted.to_vec()), vec![0xaa; 100]);
    let (mut left, mut all) = (bytes, Vec::new());
    while let Some(batch) = Batch::first(left) {
        if let Some(mut records) = open(&batch, &mut transactions, &mut unpacked)? {
            let bytes = if records.is_unpacked { &unpacked[..] } else { &left[..batch.bytes()] };
            while let Some(raw) = records.next(bytes) {
                let raw = raw?;
                let headers = raw.headers();
                let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Some(value.to_vec())));
                let made = Made {
                    offset_delta: raw.offset_delta,
                    time_delta_ms: raw.time_delta_ms,
                    key: raw.key.map(<[u8]>::to_vec),
                    payload: Some(raw.payload.to_vec()),
                    headers: headers.collect(),
                };
                all.push((records.offset(&raw), records.log_time_ms(&raw), made));
            }
        }
        left = &left[batch.bytes()..];
    }
    Ok(all)
}

fn made() -> impl Strategy<Value = Made> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let headers = proptest::collection::vec(("[a-z]{0,5}", bytes()), 0..3);
    (any::<i32>(), bytes(), bytes(), headers).prop_map(|(time, key, payload, headers)| Made {
        offset_delta: 0,
        time_delta_ms: i64::from(time),
        key,
        payload,
        headers,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_packed(
        mut records in proptest::collection::vec((1i64..4, made()), 0..40),
        base_offset in 0i64..1 << 40,
        method in proptest::sample::select(vec![0, LZ4]),
        mode in proptest::sample::select(vec![BlockMode::Independent, BlockMode::Linked]),
        has_log_time: bool,
    ) {
        // Gaps, as compaction leaves them.
        let mut offset = -1;
        for (step, made) in &mut records {
            offset += *step;
            made.offset_delta = offset;
        }
        let records: Vec<Made> = records.into_iter().map(|(_, made)| made).collect();
        let attributes = method | if has_log_time { LOG_APPEND_TIME } else { 0 };
        let spec = Spec { base_offset, attributes, producer_id: -1, records: records.clone() };
        let bytes = batch(&spec, mode);
        let seen = read(&bytes, &[]).expect("read");
        prop_assert_eq!(seen.len(), records.len());
        for (mut made, (offset, time, seen)) in records.into_iter().zip(seen) {
            prop_assert_eq!(offset, base_offset + made.offset_delta);
            prop_assert_eq!(time, if has_log_time { 9_000 } else { 1_000 + made.time_delta_ms });
            // Null and nothing are told alike.
            made.payload = Some(made.payload.unwrap_or_default());
            made.headers.iter_mut().for_each(|(_, value)| *value = Some(value.take().unwrap_or_default()));
            prop_assert_eq!(made, seen);
        }
        // Cut anywhere it is not there yet; with a byte of its checked part changed it is strange.
        let cut = base_offset as usize % bytes.len();
        prop_assert!(Batch::first(&bytes[..cut]).is_none());
        let mut broken = bytes.clone();
        let at = 21 + cut % (bytes.len() - 21);
        broken[at] ^= 1;
        prop_assert!(read(&broken, &[]).is_err());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, &[]);
        let mut headed = vec![0; HEADER_BYTES];
        headed.extend(&bytes);
        let length = (headed.len() - PREFIX_BYTES) as u32;
        headed[8..12].copy_from_slice(&length.to_be_bytes());
        headed[16] = 2;
        // LZ4, or as it is.
        headed[22] = bytes.first().map_or(0, |byte| (byte & 1) * 3);
        headed[57..61].copy_from_slice(&7u32.to_be_bytes());
        let crc = crc32c::crc32c(&headed[21..]);
        headed[17..21].copy_from_slice(&crc.to_be_bytes());
        let _ = read(&headed, &[]);
    }
}

#[test]
fn records_of_aborted_transactions_are_left_out() {
    let of = |base_offset, producer_id, text: &str| {
        let record = Made { payload: Some(text.as_bytes().to_vec()), ..Made::default() };
        let attributes = if producer_id < 0 { 0 } else { IS_TRANSACTIONAL };
        batch(&Spec { base_offset, attributes, producer_id, records: vec![record] }, BlockMode::Independent)
    };
    let log = [
        of(0, 7, "aborted"),
        of(1, 8, "a"),
        of(2, -1, "b"),
        of(3, 7, "aborted"),
        marker(4, 7, ABORT),
        of(5, 7, "c"),
        marker(6, 8, 1),
        marker(7, 7, 1),
        of(8, 7, "aborted"),
        of(9, 7, "aborted"),
        marker(10, 7, ABORT),
        of(11, -1, "d"),
    ];
    let aborted = [(7, 8), (7, 0)].map(|(producer_id, first_offset)| Aborted { producer_id, first_offset });
    let texts = |from: usize| {
        let seen = read(&log[from..].concat(), &aborted).expect("read");
        seen.into_iter().map(|(.., made)| String::from_utf8(made.payload.expect("one")).expect("text")).collect()
    };
    let all: Vec<String> = texts(0);
    assert_eq!(all, ["a", "b", "c", "d"]);
    // The answer may begin in the middle of one.
    let later: Vec<String> = texts(3);
    assert_eq!(later, ["c", "d"]);
    assert_eq!(past_offset(&log.concat()), Some(12));
    assert_eq!(past_offset(&log[0][..20]), None);
}

#[test]
fn what_is_not_known_is_named() {
    let named = |attributes| {
        let bytes = batch(&Spec { attributes, records: vec![Made::default()], ..Spec::default() }, BlockMode::Linked);
        read(&bytes, &[]).expect_err("strange").0
    };
    assert_eq!(named(1), "records packed by gzip");
    assert_eq!(named(2), "records packed by Snappy");
    assert_eq!(named(4), "records packed by Zstandard");
    let mut old = batch(&Spec::default(), BlockMode::Linked);
    old[16] = 1;
    assert_eq!(read(&old, &[]).expect_err("strange").0, "records of version 1");
    assert_eq!(past_offset(&old), None);
}
