//! Records that begin with the number of the schema that wrote them, as Confluent's serializers write them: a zero, four bytes,
//! and for protobuf the path to the message within its file.
//!
//! What a number means is asked of the registry once and kept, by each reader for itself, so that no lock is on the way of a
//! record. A number that the registry does not know is the sender's fault; a registry that does not answer is nobody's, and is
//! asked again until `PATIENCE` is over.
//! Limits: `KNOWN_MAX` numbers are kept, after which the oldest is asked for again.

use super::{
    protobuf::{MAIN, MessageConflict, compiled, merged_messages},
    registry::{Kind, Registered, Registry, RegistryError},
};
use amoskys_columns::{AvroSchema, merged_avro};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

const KNOWN_MAX: usize = 1024;
/// Shorter than a member of a group may be silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the registry did not know it may know by then.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
const MAGIC: u8 = 0;
/// A message's place within its file is not deeper.
const PATH_MAX: u64 = 32;

/// What a subject holds.
#[derive(Debug, Clone)]
pub enum Subject {
    Avro(Arc<AvroSchema>),
    /// All messages that the versions define, and the first of the file.
    Protobuf(DescriptorPool, Option<MessageDescriptor>),
    Json,
}

/// A subject of a registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the versions of subject `{subject}` are of two kinds, {older:?} and {newer:?}")]
    Kinds { subject: String, older: Kind, newer: Kind },
    #[error("subject `{subject}`: {detail}")]
    Schema { subject: String, detail: String },
    /// A field's type changed.
    #[error("{}", conflicts.join("; "))]
    Conflicts { conflicts: Vec<String> },
}

/// What wrote a record.
#[derive(Debug, Clone)]
pub enum Writer {
    /// A schema, as JSON.
    Avro(Arc<str>),
    Protobuf(DescriptorPool),
    Json,
}

/// The schemas of one stream's records.
#[derive(Debug, Clone)]
pub struct Framing {
    registry: Registry,
    subject: String,
    newest: u32,
    /// The message that the stream reads, where it is protobuf.
    message: Option<MessageDescriptor>,
    /// By number; `Err` says why it is of no use.
    known: BTreeMap<u32, Result<Writer, String>>,
    asked: VecDeque<u32>,
    /// Numbers that the registry did not know, and when that was.
    unknown: BTreeMap<u32, Instant>,
}

impl PartialEq for Framing {
    fn eq(&self, other: &Self) -> bool {
        self.words() == other.words()
    }
}

/// Why a record has no body.
#[derive(Debug)]
pub enum Unframed {
    /// The sender's fault.
    Bad(String),
    /// Nobody's: the registry does not answer.
    Unreachable(String),
}

/// A record without what is in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body<'a> {
    pub schema_id: u32,
    pub bytes: &'a [u8],
}

impl Framing {
    /// Reads all versions of a subject, and merges them into what reads them all.
    pub fn of_subject(url: &str, subject: &str) -> Result<(Self, Subject), SubjectError> {
        let registry = Registry::new(url);
        let versions = registry.versions(subject)?;
        let wrong = |detail: String| SubjectError::Schema { subject: subject.to_owned(), detail };
        let Some(newest) = versions.last() else { return Err(wrong("it has no version".into())) };
        if let Some(other) = versions.iter().find(|version| version.kind != newest.kind) {
            let (older, newer) = (other.kind, newest.kind);
            return Err(SubjectError::Kinds { subject: subject.to_owned(), older, newer });
        }
        let named = |version: &Registered| format!("version {} of `{subject}`", version.version);
        let content = match newest.kind {
            Kind::Json => Subject::Json,
            Kind::Avro => {
                let texts: Vec<(String, String)> =
                    versions.iter().map(|version| (named(version), version.text.clone())).collect();
                let text = merged_avro(&texts).map_err(|conflicts| conflicting(&conflicts))?;
                Subject::Avro(Arc::new(AvroSchema::parse(&text).map_err(|error| wrong(error.to_string()))?))
            }
            Kind::Protobuf => {
                let sets = versions.iter().map(|version| {
                    let set = compiled(&version.text, &version.references).map_err(&wrong)?;
                    Ok((named(version), set))
                });
                let pool =
                    merged_messages(sets.collect::<Result<_, SubjectError>>()?).map_err(|error| match error {
                        Ok(conflicts) => conflicting::<MessageConflict>(&conflicts),
                        Err(detail) => wrong(detail),
                    })?;
                let first = pool.get_file_by_name(MAIN).and_then(|file| file.messages().next());
                Subject::Protobuf(pool, first)
            }
        };
        let mut framing = Self {
            registry,
            subject: subject.to_owned(),
            newest: newest.id,
            message: None,
            known: BTreeMap::new(),
            asked: VecDeque::new(),
            unknown: BTreeMap::new(),
        };
        for version in &versions {
            framing.keep(version.id, writer(version));
        }
        Ok((framing, content))
    }

    /// The stream reads this message.
    pub fn reads(mut self, message: &MessageDescriptor) -> Self {
        self.message = Some(message.clone());
        self
    }

    /// Whose schemas they are, and which is the newest.
    pub fn words(&self) -> String {
        format!("{} {} {}", self.registry.url(), self.subject, self.newest)
    }

    /// What a record that is written now begins with.
    pub fn prefix(&self) -> Vec<u8> {
        let mut prefix = vec![MAGIC];
        prefix.extend(self.newest.to_be_bytes());
        if let Some(message) = &self.message {
            path_bytes(&path_of(message), &mut prefix);
        }
        prefix
    }

    /// What wrote records of this number.
    pub fn writer(&self, schema_id: u32) -> Option<&Writer> {
        self.known.get(&schema_id)?.as_ref().ok()
    }

    /// The record's body, once it is known what wrote it.
    pub fn open<'a>(&mut self, record: &'a [u8]) -> Result<Body<'a>, Unframed> {
        let bad = |detail: &str| Unframed::Bad(detail.to_owned());
        let Some((&[MAGIC, a, b, c, d], bytes)) = record.split_first_chunk() else {
            return Err(bad("the record does not begin with the number of a schema (a zero and four bytes)"));
        };
        let schema_id = u32::from_be_bytes([a, b, c, d]);
        let is_to_be_asked = |since: &Instant| since.elapsed() >= ASKED_AGAIN_AFTER;
        if !self.known.contains_key(&schema_id) || self.unknown.get(&schema_id).is_some_and(is_to_be_asked) {
            let found = self.ask(schema_id)?;
            self.keep(schema_id, found);
        }
        match self.known.get(&schema_id) {
            Some(Ok(Writer::Protobuf(pool))) => {
                let mut bytes = bytes;
                let path =
                    take_path(&mut bytes).ok_or_else(|| bad("the path to the record's message does not read"))?;
                let name = name_at(pool, &path).ok_or_else(|| bad("the record's message is not in its schema"))?;
                match &self.message {
                    Some(message) if message.full_name() != name => {
                        Err(bad(&format!("the record holds {name}, the stream {}", message.full_name())))
                    }
                    _ => Ok(Body { schema_id, bytes }),
                }
            }
            Some(Err(detail)) => Err(bad(detail)),
            _ => Ok(Body { schema_id, bytes }),
        }
    }

    fn ask(&mut self, schema_id: u32) -> Result<Result<Writer, String>, Unframed> {
        self.unknown.remove(&schema_id);
        let since = Instant::now();
        loop {
            match self.registry.by_id(schema_id) {
                Ok(registered) => return Ok(writer(&registered)),
                Err(error @ RegistryError::Unknown { .. }) => {
                    self.unknown.insert(schema_id, Instant::now());
                    return Ok(Err(error.to_string()));
                }
                Err(error @ RegistryError::Unreachable { .. }) if since.elapsed() < PATIENCE => {
                    tracing::warn!("{error}; asking again for schema {schema_id}");
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(Unframed::Unreachable(error.to_string())),
            }
        }
    }

    fn keep(&mut self, schema_id: u32, writer: Result<Writer, String>) {
        if self.known.len() >= KNOWN_MAX
            && let Some(oldest) = self.asked.pop_front()
        {
            self.known.remove(&oldest);
            self.unknown.remove(&oldest);
        }
        if self.known.insert(schema_id, writer).is_none() {
            self.asked.push_back(schema_id);
        }
    }
}

fn conflicting<C: std::fmt::Display>(conflicts: &[C]) -> SubjectError {
    SubjectError::Conflicts { conflicts: conflicts.iter().map(C::to_string).collect() }
}

fn writer(registered: &Registered) -> Result<Writer, String> {
    match registered.kind {
        Kind::Avro => Ok(Writer::Avro(registered.text.as_str().into())),
        Kind::Json => Ok(Writer::Json),
        Kind::Protobuf => {
            let set = compiled(&registered.text, &registered.references)?;
            DescriptorPool::from_file_descriptor_set(set).map(Writer::Protobuf).map_err(|error| error.to_string())
        }
    }
}

/// Where a message is within its file: its place among the messages there, and so on inwards.
fn path_of(message: &MessageDescriptor) -> Vec<usize> {
    let mut path = Vec::new();
    let mut at = Some(message.clone());
    while let Some(message) = at {
        let parent = message.parent_message();
        let mut siblings: Box<dyn Iterator<Item = MessageDescriptor>> = match &parent {
            Some(parent) => Box::new(parent.child_messages()),
            None => Box::new(message.parent_file().messages().collect::<Vec<_>>().into_iter()),
        };
        path.push(siblings.position(|sibling| sibling == message).unwrap_or(0));
        drop(siblings);
        at = parent;
    }
    path.reverse();
    path
}

fn name_at(pool: &DescriptorPool, path: &[usize]) -> Option<String> {
    let (first, inner) = path.split_first()?;
    let mut message = pool.get_file_by_name(MAIN)?.messages().nth(*first)?;
    for index in inner {
        let child = message.child_messages().nth(*index)?;
        message = child;
    }
    Some(message.full_name().to_owned())
}

/// Zigzag numbers, how many and which; the first message of a file is a lone zero.
fn path_bytes(path: &[usize], bytes: &mut Vec<u8>) {
    if path == [0] {
        return bytes.push(0);
    }
    for number in std::iter::once(path.len()).chain(path.iter().copied()) {
        prost::encoding::encode_varint((number as u64) << 1, bytes);
    }
}

fn take_path(bytes: &mut &[u8]) -> Option<Vec<usize>> {
    let mut number = || {
        let zigzag = prost::encoding::decode_varint(bytes).ok()?;
        (zigzag & 1 == 0).then_some(zigzag >> 1)
    };
    match number()? {
        0 => Some(vec![0]),
        length @ 1..=PATH_MAX => (0..length).map(|_| usize::try_from(number()?).ok()).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_to_messages_come_back() {
        for path in [vec![0], vec![1], vec![0, 3], vec![200, 1, 0]] {
            let mut bytes = Vec::new();
            path_bytes(&path, &mut bytes);
            assert_eq!(bytes.len() == 1, path == [0]);
            let mut rest = bytes.as_slice();
            assert_eq!(take_path(&mut rest), Some(path));
            assert!(rest.is_empty());
        }
        assert_eq!(take_path(&mut [1u8].as_slice()), None);
        assert_eq!(take_path(&mut [0xfe, 0xff, 0xff, 0x0f].as_slice()), None);
    }
}
