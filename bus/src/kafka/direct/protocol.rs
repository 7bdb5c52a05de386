//! The two requests that reading needs, in Kafka's protocol: Fetch, version 11, and before it ApiVersions, version 0, which asks
//! whether the broker knows that one. Pure: values in, bytes out, and back.
//!
//! Version 11 is the last before topics are named by ids and before the answer's layout changes; brokers have it from 2.3 to at least 4.1.
//! Deliberately not here: fetch sessions, which save bytes of requests for a memory at the broker, and reading from followers.
//! Source: the message definitions in Kafka's `clients/src/main/resources/common/message`.

use super::batch::Aborted;
use std::ops::Range;

const FETCH: i16 = 1;
const FETCH_VERSION: i16 = 11;
const API_VERSIONS: i16 = 18;
const READ_COMMITTED: u8 = 1;
/// Bytes of the number that each request and answer begins with.
pub(super) const SIZE_BYTES: usize = 4;
/// Aborted transactions told of one partition; more are no answer.
const ABORTED_MAX: usize = 1 << 20;

/// A partition to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
}

/// How much, and how long to wait for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub wait_ms: i32,
    pub answer_bytes_max: i32,
    pub partition_bytes_max: i32,
}

fn begin(out: &mut Vec<u8>, kind: i16, version: i16, number: i32, client_id: &str) {
    out.clear();
    out.extend_from_slice(&[0; SIZE_BYTES]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
    put_text(out, client_id);
}

fn end(out: &mut [u8]) {
    let bytes = (out.len() - SIZE_BYTES) as u32;
    out[..SIZE_BYTES].copy_from_slice(&bytes.to_be_bytes());
}

/// Texts here are names of at most 249 bytes and the client's own.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = text.len().min(i16::MAX as usize);
    out.extend_from_slice(&(length as i16).to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..length]);
}

pub(super) fn ask_versions(out: &mut Vec<u8>, number: i32, client_id: &str) {
    begin(out, API_VERSIONS, 0, number, client_id);
    end(out);
}

/// Partitions in the order in which they are to be served; those of a topic that follow each other are asked for together.
pub(super) fn ask(out: &mut Vec<u8>, number: i32, client_id: &str, bounds: Bounds, asks: &[Ask<'_>]) {
    begin(out, FETCH, FETCH_VERSION, number, client_id);
    // No replica; answered as soon as there is a byte.
    for value in [-1, bounds.wait_ms, 1, bounds.answer_bytes_max] {
        out.extend_from_slice(&i32::to_be_bytes(value));
    }
    out.push(READ_COMMITTED);
    // No session, and none to be begun.
    out.extend_from_slice(&0i32.to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    let topics = || asks.chunk_by(|one, next| one.topic == next.topic);
    out.extend_from_slice(&(topics().count() as i32).to_be_bytes());
    for of_topic in topics() {
        put_text(out, of_topic[0].topic);
        out.extend_from_slice(&(of_topic.len() as i32).to_be_bytes());
        for ask in of_topic {
            out.extend_from_slice(&ask.partition.to_be_bytes());
            // Of which leader the client knows, and from where a replica has it: neither.
            out.extend_from_slice(&(-1i32).to_be_bytes());
            out.extend_from_slice(&ask.offset.to_be_bytes());
            out.extend_from_slice(&(-1i64).to_be_bytes());
            out.extend_from_slice(&bounds.partition_bytes_max.to_be_bytes());
        }
    }
    // Nothing to be forgotten, no rack.
    out.extend_from_slice(&0i32.to_be_bytes());
    put_text(out, "");
    end(out);
}

/// What an answer says of one partition. Ranges are of the answer's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub error: i16,
    pub high_watermark: i64,
    /// Where the first transaction that is still open begins, or the end: up to here it may be read.
    pub last_stable_offset: i64,
    pub aborted: Vec<Aborted>,
    pub records: Range<usize>,
}

/// What stands before the parts of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub number: i32,
    pub throttle_ms: i32,
    pub error: i16,
}

/// Reads an answer to [`ask`], without its size. `None` where it is none.
pub(super) fn read<'a>(answer: &'a [u8], on_part: &mut dyn FnMut(Part<'a>)) -> Option<Head> {
    let mut left = Left { bytes: answer, at: 0 };
    let head = Head { number: left.word()?, throttle_ms: left.word()?, error: left.short()? };
    let _session = left.word()?;
    for _ in 0..left.word()? {
        let topic = left.text()?;
        for _ in 0..left.word()? {
            let (partition, error) = (left.word()?, left.short()?);
            let (high_watermark, last_stable_offset) = (left.long()?, left.long()?);
            let _first_offset = left.long()?;
            let count = usize::try_from(left.word()?.max(0)).ok().filter(|count| *count <= ABORTED_MAX)?;
            let aborted = (0..count).map(|_| Some(Aborted { producer_id: left.long()?, first_offset: left.long()? }));
            let aborted = aborted.collect::<Option<_>>()?;
            let _preferred_replica = left.word()?;
            let bytes = usize::try_from(left.word()?.max(0)).ok()?;
            let records = left.at..left.at.checked_add(bytes)?;
            left.take(bytes)?;
            on_part(Part { topic, partition, error, high_watermark, last_stable_offset, aborted, records });
        }
    }
    Some(head)
}

/// Whether the broker knows this Fetch, by its answer to [`ask_versions`]. `None` where that is none.
pub(super) fn knows_fetch(answer: &[u8]) -> Option<bool> {
    let mut left = Left { bytes: answer, at: 0 };
    let _number = left.word()?;
    if left.short()? != 0 {
        return Some(false);
    }
    for _ in 0..left.word()? {
        let (kind, from, to) = (left.short()?, left.short()?, left.short()?);
        if kind == FETCH {
            return Some((from..=to).contains(&FETCH_VERSION));
        }
    }
    Some(false)
}

/// What is left of an answer.
struct Left<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Left<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(bytes)?)?;
        self.at += bytes;
        Some(taken)
    }

    fn short(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn word(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(*self.take(8)?.first_chunk()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.short()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_is_asked() {
        let bounds = Bounds { wait_ms: 30, answer_bytes_max: 0x20_0000, partition_bytes_max: 0x10_0000 };
        let of = |topic, partition, offset| Ask { topic, partition, offset };
        let mut out = vec![9; 3];
        ask(&mut out, 5, "me", bounds, &[of("a", 1, 7), of("a", 0, 8), of("bc", 2, 9)]);
        let partition = |number: u8, offset: u8| {
            let mut bytes = vec![0, 0, 0, number, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, offset];
            bytes.extend([255; 8]);
            bytes.extend([0, 0x10, 0, 0]);
            bytes
        };
        let expected = [
            &b"\0\x01\0\x0b\0\0\0\x05\0\x02me\xff\xff\xff\xff\0\0\0\x1e\0\0\0\x01\0\x20\0\0\x01\0\0\0\0\xff\xff\xff\xff"[..],
            b"\0\0\0\x02\0\x01a\0\0\0\x02",
            &partition(1, 7),
            &partition(0, 8),
            b"\0\x02bc\0\0\0\x01",
            &partition(2, 9),
            b"\0\0\0\0\0\0",
        ]
        .concat();
        assert_eq!(out[..4], (expected.len() as u32).to_be_bytes());
        assert_eq!(out[4..], expected);
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let answer = [
            &b"\0\0\0\x05\0\0\0\x02\0\0\0\0\0\0"[..],
            b"\0\0\0\x01\0\x01a\0\0\0\x02",
            b"\0\0\0\x01\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0",
            b"\0\0\0\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x03\xff\xff\xff\xff\0\0\0\x03xyz",
            b"\0\0\0\0\0\x06\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ]
        .concat();
        let mut parts = Vec::new();
        let head = read(&answer, &mut |part| parts.push(part));
        assert_eq!(head, Some(Head { number: 5, throttle_ms: 2, error: 0 }));
        let at = answer.windows(3).position(|window| window == b"xyz").expect("there");
        let of = |partition, error, aborted, records| Part {
            topic: "a",
            partition,
            error,
            high_watermark: 9,
            last_stable_offset: 8,
            aborted,
            records,
        };
        let end = answer.len();
        let first = of(1, 0, vec![Aborted { producer_id: 7, first_offset: 3 }], at..at + 3);
        assert_eq!(parts, [first, of(0, 6, Vec::new(), end..end)]);
        for cut in 0..answer.len() {
            assert_eq!(read(&answer[..cut], &mut |_| {}), None, "{cut} bytes");
        }
    }

    #[test]
    fn a_broker_is_asked_what_it_knows() {
        let mut out = Vec::new();
        ask_versions(&mut out, 1, "me");
        assert_eq!(out, b"\0\0\0\x0c\0\x12\0\0\0\0\0\x01\0\x02me");
        let answer =
            |from: u8, to: u8| [&b"\0\0\0\x01\0\0\0\0\0\x02\0\0\0\0\0\x09\0\x01\0"[..], &[from, 0, to]].concat();
        assert_eq!(knows_fetch(&answer(4, 17)), Some(true));
        assert_eq!(knows_fetch(&answer(4, 10)), Some(false));
        assert_eq!(knows_fetch(&answer(12, 17)), Some(false));
        assert_eq!(knows_fetch(b"\0\0\0\x01\0\x23"), Some(false));
        assert_eq!(knows_fetch(b"\0\0\0\x01\0\0\0\0\0\x01"), None);
    }
}
