//! Which partitions of a topic are read, from where, and where they ended when the reading began.

use crate::cli::Misuse;
use amoskys_bus::{Bus, BusError, Reader, TopicPartition};
use std::{
    str::FromStr,
    time::{Duration, Instant},
};

/// How long a poll waits, which is how soon a signal is noticed.
pub const POLL: Duration = Duration::from_millis(200);
/// Pause after a failed poll that may work later.
const PAUSE: Duration = Duration::from_millis(500);
/// Without a record for this long, a reading that should come to an end fails.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Where to begin in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    Offset(i64),
    /// This many offsets before the end.
    Last(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<i64>()) {
            ("earliest", _) => Ok(Self::Earliest),
            ("latest", _) => Ok(Self::Latest),
            (_, Ok(offset @ 0..)) if !text.starts_with('-') => Ok(Self::Offset(offset)),
            (_, Ok(back)) if back != i64::MIN => Ok(Self::Last(-back)),
            _ => Err("write earliest, latest, an offset, or -N for N before the end".to_owned()),
        }
    }
}

impl Start {
    /// The offset, inside what is there.
    fn within(self, first: i64, end: i64) -> i64 {
        let wanted = match self {
            Self::Earliest => first,
            Self::Latest => end,
            Self::Offset(offset) => offset,
            Self::Last(back) => end.saturating_sub(back),
        };
        wanted.clamp(first, end.max(first))
    }
}

/// A partition to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub partition: TopicPartition,
    pub begin: i64,
    /// The offset after the last committed record when this was asked.
    pub end: i64,
}

/// The spans of all partitions of the topic, or of `only` one of them, by number.
pub fn spans(
    bus: &dyn Bus,
    reader: &mut dyn Reader,
    topic: &str,
    only: Option<i32>,
    start: Start,
) -> anyhow::Result<Vec<Span>> {
    let known = bus.topics()?.into_iter().find(|known| known.name == topic);
    let count = known.ok_or_else(|| BusError::UnknownTopic { topic: topic.to_owned() })?.partitions;
    if let Some(only) = only
        && !(0..count).contains(&only)
    {
        let has = format!("it has {count}, numbered from 0");
        anyhow::bail!(Misuse(format!("topic `{topic}` has no partition {only}; {has}")));
    }
    let wanted = (0..count).filter(|partition| only.is_none_or(|only| only == *partition));
    wanted
        .map(|partition| {
            let partition = TopicPartition { topic: topic.to_owned(), partition };
            let (first, end) = reader.bounds(&partition)?;
            if let Start::Offset(offset) = start
                && offset > end
            {
                let number = partition.partition;
                tracing::warn!("partition {number} of {topic} ends before offset {offset}: its next one is {end}");
            }
            Ok(Span { begin: start.within(first, end), end, partition })
        })
        .collect()
}

/// How long a reading bears with a log that gives nothing.
pub struct Patience {
    endless: bool,
    heard: Instant,
    told: bool,
}

impl Patience {
    /// `endless` when the reading has no end anyway.
    pub fn new(endless: bool, now: Instant) -> Self {
        Self { endless, heard: now, told: false }
    }

    /// Something came.
    pub fn heard(&mut self, now: Instant) {
        (self.heard, self.told) = (now, false);
    }

    /// Nothing came. An error when that has lasted too long.
    pub fn silent(&self, now: Instant) -> Result<(), BusError> {
        if self.endless || now.saturating_duration_since(self.heard) < SILENCE_MAX {
            return Ok(());
        }
        let detail =
            format!("no record came for {} s although there are more; is the log all right?", SILENCE_MAX.as_secs());
        Err(BusError::Failed { action: "reading", detail, retryable: true })
    }

    /// The log failed: waits a little if trying again may help, else gives the error back.
    pub fn failed(&mut self, error: BusError, now: Instant) -> Result<(), BusError> {
        if !error.retryable() || self.silent(now).is_err() {
            return Err(error);
        }
        if !self.told {
            tracing::warn!(%error, "the log does not answer; trying again");
            self.told = true;
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_parsed() {
        let parsed = ["earliest", "latest", "0", "17", "-5"].map(|text| text.parse::<Start>());
        assert_eq!(
            parsed.map(|start| start.expect("a start")),
            [Start::Earliest, Start::Latest, Start::Offset(0), Start::Offset(17), Start::Last(5)]
        );
        for wrong in ["", "first", "1.5", "--1", "-9223372036854775808"] {
            assert!(wrong.parse::<Start>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn starts_stay_inside_what_is_there() {
        let starts =
            [Start::Earliest, Start::Latest, Start::Offset(1), Start::Offset(99), Start::Last(3), Start::Last(50)];
        assert_eq!(starts.map(|start| start.within(10, 20)), [10, 20, 10, 20, 17, 10]);
        assert_eq!(starts.map(|start| start.within(7, 7)), [7; 6]);
    }

    #[test]
    fn patience_ends_unless_it_is_endless() {
        let start = Instant::now();
        let late = start + SILENCE_MAX;
        let mut patience = Patience::new(false, start);
        assert!(patience.silent(start).is_ok() && patience.silent(late).is_err());
        patience.heard(late);
        assert!(patience.silent(late).is_ok());
        assert!(Patience::new(true, start).silent(late).is_ok());
        let fatal = BusError::Unauthorised { detail: String::new() };
        assert!(patience.failed(fatal, late).is_err(), "waiting does not help");
    }
}
