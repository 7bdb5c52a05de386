//! A record as a NATS message and back. Pure.
//!
//! The payload is the record's payload, so that other NATS clients read and write the same. The key is in the header
//! `Amoskys-Key`, headers in `Amoskys-Headers` (`name=value&name=value`, in order): bytes that a NATS header cannot
//! hold are `%XX`. Headers of other producers come through as they are, but not those of NATS itself.
//! Limits: key and headers together at most `HEADER_BYTES_MAX` bytes once escaped (a server takes 65,535).

use crate::{Outgoing, Record};
use async_nats::{HeaderMap, Message};
use bytes::Bytes;

const KEY: &str = "Amoskys-Key";
const HEADERS: &str = "Amoskys-Headers";
pub(super) const MESSAGE_ID: &str = "Nats-Msg-Id";
pub(super) const HEADER_BYTES_MAX: usize = 60_000;

/// A message to be published.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: Bytes,
}

/// The record's key and headers; `None` when they are larger than a message takes.
pub(super) fn headers_of(record: &Outgoing) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    if let Some(key) = &record.key {
        let mut text = String::with_capacity(key.len());
        escape(key, &mut text);
        bytes += text.len();
        headers.insert(KEY, text);
    }
    if !record.headers.is_empty() {
        let mut text = String::new();
        for (name, value) in &record.headers {
            if !text.is_empty() {
                text.push('&');
            }
            escape(name.as_bytes(), &mut text);
            text.push('=');
            escape(value, &mut text);
        }
        bytes += text.len();
        headers.insert(HEADERS, text);
    }
    (bytes <= HEADER_BYTES_MAX).then_some(headers)
}

/// A message as it came from a consumer.
#[derive(Debug)]
pub(super) struct Delivered {
    pub offset: i64,
    /// Counts what this consumer delivered; a gap means that something was lost on the way.
    pub consumer_sequence: u64,
    pub log_time_ms: i64,
    /// Records of the partition after this one.
    pub pending: u64,
    key: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    payload: Bytes,
}

impl Delivered {
    /// `None` when the message is not from a consumer.
    pub(super) fn of(message: Message) -> Option<Self> {
        let (sequence, consumer_sequence, time_ns, pending) = delivery(message.reply.as_deref()?)?;
        let (key, headers) = message.headers.as_ref().map(taken_apart).unwrap_or_default();
        Some(Self {
            offset: sequence as i64 - 1,
            consumer_sequence,
            log_time_ms: time_ns / 1_000_000,
            pending,
            key,
            headers,
            payload: message.payload,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        self.payload.len() + self.key.as_ref().map_or(0, Vec::len) + headers + std::mem::size_of::<Self>()
    }

    pub(super) fn record<'a>(&'a self, topic: &'a str, partition: i32) -> Record<'a> {
        Record {
            topic,
            partition,
            offset: self.offset,
            log_time_ms: self.log_time_ms,
            key: self.key.as_deref(),
            payload: &self.payload,
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        }
    }
}

/// Stream sequence, consumer sequence, time and what is pending, of `$JS.ACK.…`.
fn delivery(reply: &str) -> Option<(u64, u64, i64, u64)> {
    let parts: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    // STREAM.CONSUMER.DELIVERED.SEQUENCE.CONSUMER_SEQUENCE.TIME.PENDING, or DOMAIN.ACCOUNT before and a token after.
    let first = if parts.len() > 7 { 2 } else { 0 };
    let number = |index: usize| parts.get(first + index)?.parse().ok();
    Some((number(3)?, number(4)?, i64::try_from(number(5)?).ok()?, number(6)?))
}

type KeyAndHeaders = (Option<Vec<u8>>, Vec<(String, Vec<u8>)>);

fn taken_apart(map: &HeaderMap) -> KeyAndHeaders {
    let key = map.get(KEY).map(|value| unescape(value.as_str()));
    let ours = map.get(HEADERS).map(|value| value.as_str()).unwrap_or_default();
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    for pair in ours.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        headers.push((String::from_utf8_lossy(&unescape(name)).into_owned(), unescape(value)));
    }
    let mut others: Vec<_> = map.iter().map(|(name, values)| (AsRef::<str>::as_ref(name), values)).collect();
    others.retain(|(name, _)| !name.starts_with("Nats-") && *name != KEY && *name != HEADERS);
    others.sort_by(|a, b| a.0.cmp(b.0));
    for (name, values) in others {
        headers.extend(values.iter().map(|value| (name.to_owned(), value.as_str().as_bytes().to_vec())));
    }
    (key, headers)
}

const HEX: [u8; 16] = *b"0123456789ABCDEF";

/// Visible ASCII stays, but for what separates.
fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'=' | b'&') {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// What is no escape stays as it is.
fn unescape(text: &str) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        match (byte, hex(bytes.get(index + 1)), hex(bytes.get(index + 2))) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                index += 3;
            }
            _ => {
                plain.push(*byte);
                index += 1;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outgoing(key: Option<Vec<u8>>, headers: Vec<(String, Vec<u8>)>) -> Outgoing {
        Outgoing { topic: "t".into(), partition: None, key, payload: Vec::new(), headers }
    }

    proptest! {
        #[test]
        fn any_key_and_headers_come_back(
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            headers in proptest::collection::vec(("[a-zé=&% ]{0,9}", proptest::collection::vec(any::<u8>(), 0..9)), 0..4),
        ) {
            // An empty list and one header that is empty both ways look alike; Kafka forbids neither, nobody needs it.
            prop_assume!(headers.len() != 1 || headers[0] != (String::new(), Vec::new()));
            let record = outgoing(key.clone(), headers.clone());
            let map = headers_of(&record).expect("small");
            prop_assert!(map.iter().all(|(_, values)| values.iter().all(|v| v.as_str().bytes().all(|b| b.is_ascii_graphic()))));
            prop_assert_eq!(taken_apart(&map), (key, headers));
        }

        #[test]
        fn any_text_is_unescaped_or_left(text in ".{0,30}") {
            let _ = unescape(&text);
            let _ = delivery(&text);
        }
    }

    #[test]
    fn other_producers_headers_come_through_and_those_of_nats_do_not() {
        let mut map = HeaderMap::new();
        map.append("Trace", "1");
        map.append("Trace", "2");
        map.insert(MESSAGE_ID, "x");
        assert_eq!(taken_apart(&map), (None, vec![("Trace".into(), b"1".to_vec()), ("Trace".into(), b"2".to_vec())]));
    }

    #[test]
    fn both_forms_of_a_delivery_are_read() {
        assert_eq!(delivery("$JS.ACK.s.c.1.42.7.1600000000000000000.9"), Some((42, 7, 1_600_000_000_000_000_000, 9)));
        assert_eq!(delivery("$JS.ACK.hub.AbC.s.c.1.42.7.16.9.tok"), Some((42, 7, 16, 9)));
        assert_eq!(delivery("_INBOX.x"), None);
    }

    #[test]
    fn too_many_headers_are_refused() {
        assert!(headers_of(&outgoing(Some(vec![0; 20_001]), Vec::new())).is_none());
    }
}
