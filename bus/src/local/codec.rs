//! Keys and values of the embedded log as bytes. Pure; what is read back was written by this file.
//!
//! A record's key is topic id, partition, offset, all big-endian, so that the order of keys is the order of offsets.
//! Limits: a header's name is at most 65,535 bytes, a record has at most 65,535 headers.

use crate::{Outgoing, Record};

/// Bytes of a record's fixed part: log time, length of the key, count of headers.
const FIXED_BYTES: usize = 8 + 4 + 2;
const NO_KEY: u32 = u32::MAX;

/// Key of a partition: the prefix of its records' keys.
pub(super) fn partition_key(topic_id: u32, partition: i32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&topic_id.to_be_bytes());
    key[4..].copy_from_slice(&(partition as u32).to_be_bytes());
    key
}

pub(super) fn record_key(topic_id: u32, partition: i32, offset: i64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&partition_key(topic_id, partition));
    key[8..].copy_from_slice(&(offset as u64).to_be_bytes());
    key
}

/// Key of where a partition's last record with a key is.
pub(super) fn latest_key(topic_id: u32, partition: i32, key: &[u8]) -> Vec<u8> {
    [&partition_key(topic_id, partition), key].concat()
}

/// The offset in a record's key; `None` for a key that is no record's.
pub(super) fn offset_of(key: &[u8]) -> Option<i64> {
    Some(u64::from_be_bytes(key.get(8..16)?.try_into().ok()?) as i64)
}

pub(super) fn encode_record(record: &Outgoing, log_time_ms: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIXED_BYTES + record.bytes() + record.headers.len() * 6);
    bytes.extend_from_slice(&log_time_ms.to_le_bytes());
    bytes.extend_from_slice(&record.key.as_ref().map_or(NO_KEY, |key| key.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(record.headers.len() as u16).to_le_bytes());
    bytes.extend_from_slice(record.key.as_deref().unwrap_or_default());
    for (name, value) in &record.headers {
        bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes.extend_from_slice(&record.payload);
    bytes
}

/// When the record was appended, without decoding the rest.
pub(super) fn log_time_ms_of(value: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(value.get(..8)?.try_into().ok()?))
}

/// Borrows a record from its value; `None` when the bytes are not of this form.
pub(super) fn decode_record<'a>(topic: &'a str, partition: i32, offset: i64, value: &'a [u8]) -> Option<Record<'a>> {
    let mut rest = Rest(value);
    let log_time_ms = i64::from_le_bytes(rest.take(8)?.try_into().ok()?);
    let key_bytes = rest.u32()?;
    let header_count = rest.u16()?;
    let key = if key_bytes == NO_KEY { None } else { Some(rest.take(key_bytes as usize)?) };
    let mut headers = Vec::with_capacity(usize::from(header_count).min(rest.0.len() / 6));
    for _ in 0..header_count {
        let name_bytes = rest.u16()?;
        let name = std::str::from_utf8(rest.take(usize::from(name_bytes))?).ok()?;
        let value_bytes = rest.u32()?;
        headers.push((name, rest.take(value_bytes as usize)?));
    }
    Some(Record { topic, partition, offset, log_time_ms, key, payload: rest.0, headers })
}

/// Key of what `group` committed for a partition.
pub(super) fn position_key(group: &str, topic: &str, partition: i32) -> Vec<u8> {
    let mut key = Vec::with_capacity(group.len() + topic.len() + 6);
    key.extend_from_slice(&(group.len() as u16).to_be_bytes());
    key.extend_from_slice(group.as_bytes());
    key.extend_from_slice(&(partition as u32).to_be_bytes());
    key.extend_from_slice(topic.as_bytes());
    key
}

/// Group, topic and partition of a position's key.
pub(super) fn decode_position_key(key: &[u8]) -> Option<(String, String, i32)> {
    let mut rest = Rest(key);
    let group_bytes = u16::from_be_bytes(rest.take(2)?.try_into().ok()?);
    let group = std::str::from_utf8(rest.take(usize::from(group_bytes))?).ok()?.to_owned();
    let partition = u32::from_be_bytes(rest.take(4)?.try_into().ok()?) as i32;
    Some((group, std::str::from_utf8(rest.0).ok()?.to_owned(), partition))
}

/// What is left of a value while it is taken apart.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(bytes)?;
        self.0 = tail;
        Some(head)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            headers in proptest::collection::vec(("[a-zé]{0,9}", proptest::collection::vec(any::<u8>(), 0..9)), 0..4),
            log_time_ms in any::<i64>(),
        ) {
            let written = Outgoing { topic: "t".into(), partition: None, key, payload, headers };
            let value = encode_record(&written, log_time_ms);
            let read = decode_record("t", 3, 7, &value).expect("decodes");
            prop_assert_eq!(log_time_ms_of(&value), Some(log_time_ms));
            prop_assert_eq!((read.topic, read.partition, read.offset, read.log_time_ms), ("t", 3, 7, log_time_ms));
            prop_assert_eq!(read.key, written.key.as_deref());
            prop_assert_eq!(read.payload, &written.payload[..]);
            let headers: Vec<_> = read.headers.iter().map(|(n, v)| (n.to_string(), v.to_vec())).collect();
            prop_assert_eq!(headers, written.headers);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_record("t", 0, 0, &value);
            let _ = decode_position_key(&value);
        }

        #[test]
        fn keys_sort_by_offset(a in 0..i64::MAX, b in 0..i64::MAX) {
            let (x, y) = (record_key(1, 2, a), record_key(1, 2, b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(offset_of(&x), Some(a));
        }
    }

    #[test]
    fn a_position_key_reads_back() {
        let key = position_key("group", "a.topic", 12);
        assert_eq!(decode_position_key(&key), Some(("group".into(), "a.topic".into(), 12)));
    }
}
