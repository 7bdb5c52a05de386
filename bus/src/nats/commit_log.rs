//! What a member writes to its commit log: one entry, replaced by the next. Pure.
//!
//! An entry is a line of JSON and, for a commit that fits into one message, the commit after it; a larger one is in
//! chunks, named by their revisions. A commit is a line of JSON and the payloads of its outputs, one after the other.
//! A sealed entry is the one that it replaced, marked: nothing is lost by sealing.

use super::wire::{MESSAGE_ID, Wire};
use crate::{BusError, TopicPartition};
use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// The last thing in a member's commit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    v: u32,
    /// The commit's, empty before the first.
    pub id: String,
    /// When the entry that was sealed had been written (RFC 3339).
    pub sealed: Option<String>,
    /// Revisions of the chunks, when the commit is not in the entry.
    pub chunks: Option<Vec<u64>>,
    #[serde(skip)]
    pub commit: Bytes,
}

impl Entry {
    /// The first one: the member exists.
    pub(super) fn begin() -> Self {
        Self { v: VERSION, id: String::new(), sealed: None, chunks: None, commit: Bytes::new() }
    }

    pub(super) fn of_commit(id: &str, commit: Bytes) -> Self {
        Self { id: id.to_owned(), commit, ..Self::begin() }
    }

    pub(super) fn of_chunks(id: &str, chunks: Vec<u64>) -> Self {
        Self { id: id.to_owned(), chunks: Some(chunks), ..Self::begin() }
    }

    /// Without the commit, which is done.
    pub(super) fn emptied(self) -> Self {
        Self { sealed: self.sealed, ..Self::begin() }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, BusError> {
        let mut bytes = line(self)?;
        bytes.extend_from_slice(&self.commit);
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BusError> {
        let (mut entry, rest): (Self, _) = split(bytes)?;
        if entry.v != VERSION {
            return Err(damaged(&format!("version {}, only {VERSION} is known", entry.v)));
        }
        entry.commit = Bytes::copy_from_slice(rest);
        Ok(entry)
    }
}

/// Outputs and positions that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    #[serde(skip)]
    pub id: String,
    pub outputs: Vec<Output>,
    pub positions: Vec<NewPosition>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Output {
    pub topic: String,
    pub partition: i32,
    subject: String,
    headers: Vec<(String, String)>,
    payload_bytes: usize,
    #[serde(skip)]
    payload: Bytes,
}

/// A position, and the revision that it replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NewPosition {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub metadata: String,
    pub replaces: u64,
}

impl NewPosition {
    pub(super) fn of(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }
}

impl Output {
    pub(super) fn new(topic: &str, partition: i32, wire: Wire) -> Self {
        let text = |(name, values): (&async_nats::HeaderName, &Vec<async_nats::HeaderValue>)| {
            let name: &str = name.as_ref();
            values.iter().map(|value| (name.to_owned(), value.as_str().to_owned())).collect::<Vec<_>>()
        };
        Self {
            topic: topic.to_owned(),
            partition,
            subject: wire.subject,
            headers: wire.headers.iter().flat_map(text).collect(),
            payload_bytes: wire.payload.len(),
            payload: wire.payload,
        }
    }
}

impl Commit {
    pub(super) fn encode(&self) -> Result<Vec<u8>, BusError> {
        let mut bytes = line(self)?;
        for output in &self.outputs {
            bytes.extend_from_slice(&output.payload);
        }
        Ok(bytes)
    }

    pub(super) fn decode(id: &str, bytes: &Bytes) -> Result<Self, BusError> {
        let (mut commit, rest): (Self, _) = split(bytes)?;
        let mut at = bytes.len() - rest.len();
        for output in &mut commit.outputs {
            let end = at.checked_add(output.payload_bytes).filter(|end| *end <= bytes.len());
            let end = end.ok_or_else(|| damaged("it ends too soon"))?;
            output.payload = bytes.slice(at..end);
            at = end;
        }
        commit.id = id.to_owned();
        Ok(commit)
    }

    /// The message of an output: the same, with the same message id, whoever sends it and how often.
    pub(super) fn wire(&self, index: usize) -> Option<Wire> {
        let output = self.outputs.get(index)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &output.headers {
            headers.append(name.as_str(), value.as_str());
        }
        headers.insert(MESSAGE_ID, format!("{}-{index}", self.id));
        Some(Wire { subject: output.subject.clone(), headers, payload: output.payload.clone() })
    }

    /// Which output a message id is of.
    pub(super) fn index_of(&self, message_id: &str) -> Option<usize> {
        message_id.strip_prefix(self.id.as_str())?.strip_prefix('-')?.parse().ok()
    }
}

/// A committed position as stored; also says which commit wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredPosition {
    pub offset: i64,
    pub metadata: String,
    pub commit: String,
}

fn line(value: &impl Serialize) -> Result<Vec<u8>, BusError> {
    let mut bytes = serde_json::to_vec(value).map_err(|error| damaged(&error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn split<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), BusError> {
    // JSON holds no raw line feed.
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("it has no first line"))?;
    let (head, rest) = bytes.split_at(end);
    let value = serde_json::from_slice(head).map_err(|error| damaged(&error.to_string()))?;
    Ok((value, rest.get(1..).unwrap_or_default()))
}

pub(super) fn damaged(why: &str) -> BusError {
    BusError::Failed {
        action: "reading a commit log",
        detail: format!("{why}; it was written by another version, or by something else"),
        retryable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outgoing, nats::wire};
    use proptest::prelude::*;

    fn output(key: Option<Vec<u8>>, payload: Vec<u8>) -> Output {
        let record = Outgoing { topic: "t".into(), partition: None, key, payload, headers: Vec::new() };
        let headers = wire::headers_of(&record).expect("small");
        Output::new("t", 3, Wire { subject: "t.3".into(), headers, payload: record.payload.into() })
    }

    proptest! {
        #[test]
        fn a_commit_reads_back(
            outputs in proptest::collection::vec(
                (proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)), proptest::collection::vec(any::<u8>(), 0..99)),
                0..5,
            ),
            metadata in ".{0,20}",
        ) {
            let positions = vec![NewPosition { topic: "i".into(), partition: 0, offset: 7, metadata, replaces: 3 }];
            let outputs = outputs.into_iter().map(|(key, payload)| output(key, payload)).collect();
            let commit = Commit { id: "abc".into(), outputs, positions };
            let entry = Entry::of_commit("abc", commit.encode().expect("encodes").into());
            let read = Entry::decode(&entry.encode().expect("encodes")).expect("decodes");
            prop_assert_eq!(&read, &entry);
            prop_assert_eq!(Commit::decode(&read.id, &read.commit).expect("decodes"), commit);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Entry::decode(&bytes);
            let _ = Commit::decode("x", &bytes.into());
        }
    }

    #[test]
    fn an_output_is_the_same_message_every_time() {
        let outputs = vec![output(Some(b"k".to_vec()), b"one".to_vec()), output(None, b"two".to_vec())];
        let commit = Commit { id: "abc".into(), outputs, positions: Vec::new() };
        let wire = commit.wire(1).expect("there");
        assert_eq!(wire.headers.get(MESSAGE_ID).map(|id| id.as_str()), Some("abc-1"));
        assert_eq!((wire.subject.as_str(), &wire.payload[..]), ("t.3", &b"two"[..]));
        assert_eq!((commit.index_of("abc-1"), commit.index_of("abcd-1"), commit.index_of("x")), (Some(1), None, None));
        assert!(commit.wire(2).is_none());
    }
}
