//! How topics and groups are called in JetStream. Pure; every name can be read back.
//!
//! | ours | JetStream |
//! |---|---|
//! | topic `a.b` | stream `a=b` (a stream's name cannot hold dots, a topic's cannot hold `=`) |
//! | partition 3 of it | subject `a.b.3` |
//! | the key `k` there, where the topic is compacted | subject `a.b.3.kaw`, by `base64` |
//! | its fence for one member | subject `a.b.fence-TOKEN`, see `fence` |
//! | group `g` | key-value bucket `amoskys-g`, that is stream `KV_amoskys-g` |
//!
//! Limits: a topic's name has no empty part (`a..b`), because a subject cannot; a group's name is at most
//! `GROUP_BYTES_MAX` bytes once escaped.

use crate::BusError;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};

/// Stream names are files of the server, which caps them at 255 bytes.
const GROUP_BYTES_MAX: usize = 200;
/// A subject is part of a line that the server caps at 4 KiB.
const KEY_BYTES_MAX: usize = 1024;

pub(super) fn stream_of(topic: &str) -> String {
    topic.replace('.', "=")
}

/// Everything of a topic: its partitions and fences.
pub(super) fn subjects_of(topic: &str) -> String {
    format!("{topic}.*")
}

pub(super) fn subject_of(topic: &str, partition: i32) -> String {
    format!("{topic}.{partition}")
}

/// Everything of a compacted topic.
pub(super) fn subjects_by_key_of(topic: &str) -> Vec<String> {
    vec![subjects_of(topic), format!("{topic}.*.*")]
}

/// All keys of a partition of a compacted topic.
pub(super) fn keys_of(topic: &str, partition: i32) -> String {
    format!("{topic}.{partition}.*")
}

pub(super) fn subject_of_key(topic: &str, partition: i32, key: &[u8]) -> Result<String, BusError> {
    if key.len() > KEY_BYTES_MAX {
        let detail = format!("a compacted topic on NATS takes keys of {KEY_BYTES_MAX} bytes, not {}", key.len());
        return Err(BusError::Misconfigured { detail });
    }
    // The letter is for a key that is empty.
    Ok(format!("{topic}.{partition}.k{}", BASE64.encode(key)))
}

pub(super) fn fence_of(topic: &str, token: &str) -> String {
    format!("{topic}.fence-{token}")
}

/// Why a name that Kafka takes cannot be a topic here.
pub(super) fn check_topic(name: &str) -> Result<(), BusError> {
    if name.split('.').any(str::is_empty) {
        let detail = format!("`{name}` is no name for a topic on NATS; leave no part between dots empty");
        return Err(BusError::Misconfigured { detail });
    }
    Ok(())
}

/// The bucket that holds a group: letters, digits and `-` as they are, the rest as `_` and two hex digits.
pub(super) fn bucket_of(group: &str) -> Result<String, BusError> {
    let mut escaped = String::with_capacity(group.len());
    for byte in group.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => escaped.push(char::from(byte)),
            other => escaped.push_str(&format!("_{other:02X}")),
        }
    }
    if escaped.is_empty() || escaped.len() > GROUP_BYTES_MAX {
        let detail = format!("`{group}` is no name for a group on NATS; use 1 to {GROUP_BYTES_MAX} bytes");
        return Err(BusError::Misconfigured { detail });
    }
    Ok(format!("amoskys-{escaped}"))
}

/// The stream under a key-value bucket.
pub(super) fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The subject of a key.
pub(super) fn key_subject(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

pub(super) fn position_key(topic: &str, partition: i32) -> String {
    format!("position.{topic}.{partition}")
}

pub(super) fn beat_key(token: &str) -> String {
    format!("beat.{token}")
}

pub(super) fn commit_key(token: &str) -> String {
    format!("commit.{token}")
}

pub(super) fn chunk_key(token: &str, index: usize) -> String {
    format!("commit.{token}.{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_stream_has_no_dots_and_is_its_own() {
        assert_eq!(stream_of("amoskys.telemetry.process.v1"), "amoskys=telemetry=process=v1");
        assert_ne!(stream_of("a.b"), stream_of("a_b"));
        assert_eq!(stream_of("a.b").replace('=', "."), "a.b");
    }

    #[test]
    fn topics_do_not_share_subjects() {
        // `a.*` takes one more part and no other, so neither of these is in the other.
        assert_eq!((subjects_of("a"), subjects_of("a.0")), ("a.*".to_owned(), "a.0.*".to_owned()));
        assert_eq!(subject_of("a.0", 1), "a.0.1");
    }

    #[test]
    fn a_key_has_a_subject_of_its_own() {
        let subject = |key: &[u8]| subject_of_key("a.b", 3, key).expect("a subject");
        assert_eq!((subject(b""), subject(b"k")), ("a.b.3.k".to_owned(), "a.b.3.kaw".to_owned()));
        assert!(subject(&[0xff; 9]).split('.').count() == 4, "no dots, whatever the key");
        subject_of_key("a.b", 3, &[0; 1025]).expect_err("refused");
    }

    #[test]
    fn groups_are_escaped_so_that_no_two_are_one() {
        assert_eq!(bucket_of("alerts-1").expect("a name"), "amoskys-alerts-1");
        assert_eq!(bucket_of("a.b_c é").expect("a name"), "amoskys-a_2Eb_5Fc_20_C3_A9");
        for wrong in ["".to_owned(), "x".repeat(201)] {
            bucket_of(&wrong).expect_err("refused");
        }
    }

    #[test]
    fn names_with_empty_parts_are_refused() {
        for wrong in ["a..b", ".a", "a."] {
            assert!(check_topic(wrong).expect_err("refused").to_string().contains(wrong));
        }
        check_topic("a.b-c_d").expect("a name");
    }
}
