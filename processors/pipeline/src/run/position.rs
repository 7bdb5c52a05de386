//! What a processor commits for a partition: from where to read again, and how far it had come.
//!
//! The committed offset is the oldest that still contributes to an open window. The metadata says the rest, so that a
//! new owner repeats exactly what the last one did: the watermark at that offset, the position reached (side effects of
//! the records before it are done) and the watermark there (windows up to it are published).

use super::snapshot::Mark;
use crate::sql::StreamFlow;
use amoskys_bus::Position;
use amoskys_windows::{ReplayPoint, Watermark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A partition's state between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Read again from here.
    pub replay: ReplayPoint,
    /// The next record whose side effects are not done.
    pub position: i64,
    pub watermark: Watermark,
    /// Windows that end up to here are not told, whatever the watermark: some of what they would hold was not sent. Nanoseconds.
    pub told_ns: i64,
    /// Where to go on from instead, by those whom it is all there for.
    pub mark: Option<Mark>,
}

/// The committed metadata is not ours, or from a version that this one does not know.
#[derive(Debug, thiserror::Error)]
#[error(
    "the position committed for {topic}/{partition} has metadata that is not understood ({detail}); commit a plain offset or choose another --group"
)]
pub struct PositionError {
    pub topic: String,
    pub partition: i32,
    pub detail: String,
}

/// Times in nanoseconds; absent before the first row or record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    v: u32,
    position: i64,
    watermark_ns: Option<i64>,
    log_time_ns: Option<i64>,
    replay_watermark_ns: Option<i64>,
    replay_log_time_ns: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told_ns: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<MarkMetadata>,
    /// Of what windows the position is, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    windows: Option<String>,
    /// What is sent through topics or taken from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<BTreeMap<String, String>>,
}

/// With which SQL a position was committed, by what of it decides where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenBy {
    /// Of the windows ([`crate::sql::StreamFlow::windows_digest`]).
    pub windows: u64,
    /// What is sent through topics or taken from them ([`crate::sql::StreamFlow::sent`]). Older processors did not say.
    pub sent: Option<BTreeMap<String, String>>,
}

impl WrittenBy {
    pub fn of(flow: &StreamFlow) -> Self {
        Self { windows: flow.windows_digest(), sent: Some(flow.sent()) }
    }
}

/// The offset is that of the mark then.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkMetadata {
    replay_offset: i64,
    watermark_ns: Option<i64>,
    log_time_ns: Option<i64>,
    items: u32,
    /// In hex.
    digest: String,
}

const VERSION: u32 = 1;

fn known(time_ns: i64) -> Option<i64> {
    (time_ns != i64::MIN).then_some(time_ns)
}

fn watermark(time_ns: Option<i64>, last_log_time_ns: Option<i64>) -> Watermark {
    Watermark { time_ns: time_ns.unwrap_or(i64::MIN), last_log_time_ns: last_log_time_ns.unwrap_or(i64::MIN) }
}

impl Checkpoint {
    /// The beginning of a partition that nobody has read.
    pub fn start(offset: i64) -> Self {
        let watermark = Watermark::default();
        let replay = ReplayPoint { offset, watermark };
        Self { replay, position: offset, watermark, told_ns: i64::MIN, mark: None }
    }

    pub fn encode_of(&self, by: &WrittenBy) -> Position {
        self.encoded(Some(by))
    }

    pub fn encode(&self) -> Position {
        self.encoded(None)
    }

    /// By which SQL a position was committed, where it says so.
    pub fn written_by(position: &Position) -> Option<WrittenBy> {
        let metadata: Metadata = serde_json::from_str(&position.metadata).ok()?;
        Some(WrittenBy { windows: u64::from_str_radix(&metadata.windows?, 16).ok()?, sent: metadata.sent })
    }

    fn encoded(&self, by: Option<&WrittenBy>) -> Position {
        let metadata = Metadata {
            v: VERSION,
            position: self.position,
            watermark_ns: known(self.watermark.time_ns),
            log_time_ns: known(self.watermark.last_log_time_ns),
            replay_watermark_ns: known(self.replay.watermark.time_ns),
            replay_log_time_ns: known(self.replay.watermark.last_log_time_ns),
            told_ns: Some(self.told_ns).filter(|told_ns| *told_ns > self.watermark.time_ns),
            mark: self.mark.map(|mark| MarkMetadata {
                replay_offset: self.replay.offset,
                watermark_ns: known(mark.point.watermark.time_ns),
                log_time_ns: known(mark.point.watermark.last_log_time_ns),
                items: mark.items,
                digest: format!("{:016x}", mark.digest),
            }),
            windows: by.map(|by| format!("{:016x}", by.windows)),
            sent: by.and_then(|by| by.sent.clone()),
        };
        // Numbers always serialize.
        let metadata = serde_json::to_string(&metadata).unwrap_or_default();
        Position { offset: self.mark.map_or(self.replay.offset, |mark| mark.point.offset), metadata }
    }

    /// Empty metadata (an offset set by hand) starts there with nothing known.
    pub fn decode(topic: &str, partition: i32, position: &Position) -> Result<Self, PositionError> {
        if position.metadata.is_empty() {
            return Ok(Self::start(position.offset));
        }
        let refuse = |detail: String| PositionError { topic: topic.into(), partition, detail };
        let metadata: Metadata = serde_json::from_str(&position.metadata).map_err(|error| refuse(error.to_string()))?;
        if metadata.v != VERSION {
            return Err(refuse(format!("version {}", metadata.v)));
        }
        let replay = watermark(metadata.replay_watermark_ns, metadata.replay_log_time_ns);
        let replay_offset = metadata.mark.as_ref().map_or(position.offset, |mark| mark.replay_offset);
        let mark = metadata.mark.map(|mark| {
            let digest = u64::from_str_radix(&mark.digest, 16).map_err(|error| refuse(error.to_string()))?;
            let watermark = watermark(mark.watermark_ns, mark.log_time_ns);
            Ok(Mark { point: ReplayPoint { offset: position.offset, watermark }, items: mark.items, digest })
        });
        Ok(Self {
            replay: ReplayPoint { offset: replay_offset, watermark: replay },
            mark: mark.transpose()?,
            position: metadata.position,
            watermark: watermark(metadata.watermark_ns, metadata.log_time_ns),
            told_ns: metadata.told_ns.unwrap_or(i64::MIN),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_went() {
        let full = Checkpoint {
            replay: ReplayPoint { offset: 3, watermark: watermark(Some(-5), Some(7)) },
            position: 9,
            watermark: watermark(Some(11), Some(13)),
            told_ns: i64::MIN,
            mark: None,
        };
        let untold = Checkpoint { told_ns: 12, ..full };
        let mark = Mark {
            point: ReplayPoint { offset: 7, watermark: watermark(Some(8), None) },
            items: 5,
            digest: u64::MAX - 7,
        };
        let marked = Checkpoint { mark: Some(mark), ..full };
        assert_eq!(marked.encode().offset, 7);
        for checkpoint in [full, untold, marked, Checkpoint::start(0)] {
            assert_eq!(Checkpoint::decode("t", 0, &checkpoint.encode()).expect("ours"), checkpoint);
            assert!(checkpoint.encode().metadata.len() < 4096);
            for sent in [None, Some(BTreeMap::new()), Some(BTreeMap::from([("0a".to_owned(), "0b".to_owned())]))] {
                let by = WrittenBy { windows: 0xabc, sent };
                let told = checkpoint.encode_of(&by);
                assert_eq!(Checkpoint::decode("t", 0, &told).expect("ours"), checkpoint);
                assert_eq!(Checkpoint::written_by(&told), Some(by));
            }
            assert_eq!(Checkpoint::written_by(&checkpoint.encode()), None);
        }
    }

    #[test]
    fn strangers_are_refused_and_plain_offsets_taken() {
        let position = |metadata: &str| Position { offset: 4, metadata: metadata.into() };
        assert_eq!(Checkpoint::decode("t", 0, &position("")).expect("plain"), Checkpoint::start(4));
        assert!(Checkpoint::decode("t", 0, &position("spark")).is_err());
        let newer = Checkpoint::start(4).encode().metadata.replace("\"v\":1", "\"v\":2");
        assert!(Checkpoint::decode("t", 0, &position(&newer)).expect_err("newer").to_string().contains("version 2"));
    }
}
