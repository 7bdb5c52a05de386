//! From where a partition has to be read again for windows that nobody has kept, by the log's times; and what of it is begun anew.
//!
//! A row is at most `max_skew` ahead of its record's log time, so what may be in a window that begins at T lies behind the first
//! record of T − `max_skew`, which is found by halving. What is sent to those who merge groups has to reach back as far as windows
//! that they have not told, which their own positions say.
//!
//! The watermark is not known where reading begins. It is what it was as soon as a row comes that is at least as late as any before could
//! be, and where panes are sealed depends on it; so reading begins `replay_max` earlier: a row of that time sets it, or there is
//! none, and panes were sealed in the gap. Thus what is computed, cut into panes and sent is the same whoever begins from where.
//!
//! Limits: for logs whose times do not go back (topics with `LogAppendTime`); what the log does not keep any more is missing
//! from the first windows.

use super::position::{Checkpoint, PositionError, WrittenBy};
use crate::sql::{Dataflow, StreamFlow, topic_digest};
use amoskys_bus::{BusError, Change, Position, Reader, TopicPartition};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Each halves what may be read too much; all of them together take less than a member of a group may be silent.
const HALVINGS_MAX: usize = 12;
/// A log that answers nothing for so long is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// For the first record its log time has to be known of the one before, and marks of transactions are no records.
const RECORDS_BEFORE: i64 = 64;

/// For each topic that groups are sent through, the end up to which windows need not be sent again.
pub type SentAgain = BTreeMap<String, i64>;

/// For each topic that groups are sent through, up to where windows are told in each of its partitions, as far as somebody has
/// committed that.
pub type Told = BTreeMap<String, Vec<Option<i64>>>;

/// What a partition that other SQL had read begins anew, as what is sent through topics is other than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anew {
    Nothing,
    /// Takes what is sent from its beginning.
    Merging,
    /// Sends again.
    Sending(SentAgain),
}

impl Anew {
    /// Of a flow, where what had been committed, or runs, is by other SQL and has told windows up to `told_ns`.
    pub fn of(flow: &StreamFlow, by: &WrittenBy, told: &Told, told_ns: i64) -> Self {
        let sent = flow.sent();
        let before = |topic: &str| by.sent.as_ref().map(|before| before.get(&topic_digest(topic)));
        let is_other = |topic: &str| before(topic) != Some(sent.get(&topic_digest(topic)));
        if flow.shuffle.is_some() {
            return if is_other(&flow.stream.topic) { Self::Merging } else { Self::Nothing };
        }
        let again = flow.ship_topics().into_iter().filter(|topic| is_other(topic)).map(|topic| {
            let since_ns = match before(topic) {
                // Nothing was sent there: it begins where this partition's windows do.
                Some(None) => told_ns,
                // All that nobody has told.
                _ => {
                    let all = told.get(topic).into_iter().flatten();
                    all.map(|told_ns| told_ns.unwrap_or(i64::MIN)).min().unwrap_or(i64::MIN)
                }
            };
            (topic.to_owned(), since_ns)
        });
        Self::sending(again.collect())
    }

    /// Also what the one whose place is taken had begun and not ended.
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Sending(mut mine), Self::Sending(others)) => {
                for (topic, since_ns) in others {
                    mine.entry(topic).and_modify(|known| *known = since_ns.min(*known)).or_insert(since_ns);
                }
                Self::Sending(mine)
            }
            (Self::Nothing, other) => other,
            (mine, _) => mine,
        }
    }

    fn sending(again: SentAgain) -> Self {
        if again.is_empty() { Self::Nothing } else { Self::Sending(again) }
    }
}

/// The log time, in milliseconds since 1970, before which no record decides anything about a window that ends after `told_ns`, or about
/// one that is sent again; `None` where there are no windows, or no row has come.
pub fn needed_since_ms(dataflow: &Dataflow, flow: &StreamFlow, told_ns: i64, anew: &Anew) -> Option<i64> {
    if flow.shuffle.is_none() && told_ns == i64::MIN {
        return None;
    }
    let own = flow.held_ns().map(|held_ns| told_ns.saturating_sub(held_ns));
    let again = match anew {
        Anew::Sending(again) => Some(again),
        Anew::Nothing | Anew::Merging => None,
    };
    let sent = again.into_iter().flatten().map(|(topic, &whole_after_ns)| {
        let reach_ns = merging(dataflow, topic).map_or(0, StreamFlow::reach_ns);
        whole_after_ns.saturating_sub(reach_ns)
    });
    let first_row_ns = own.into_iter().chain(sent).min()?;
    // Whoever merges goes by what senders say, not by a watermark of its own.
    let before_ns = if flow.shuffle.is_some() { 0 } else { flow.stream.replay_max_ns };
    let since_ns = first_row_ns.saturating_sub(max_skew_ns(dataflow, flow)).saturating_sub(before_ns);
    Some(since_ns.div_euclid(1_000_000))
}

/// The flow that merges what is sent through a topic; the last, while there are two.
fn merging<'a>(dataflow: &'a Dataflow, topic: &str) -> Option<&'a StreamFlow> {
    dataflow.streams.iter().rfind(|flow| flow.shuffle.is_some() && flow.stream.topic == topic)
}

/// How far a row may be ahead of its record, or of that which it was sent with.
fn max_skew_ns(dataflow: &Dataflow, flow: &StreamFlow) -> i64 {
    let Some(shuffle) = &flow.shuffle else { return flow.stream.rules.max_skew_ns };
    let sends = |of: &&StreamFlow| shuffle.streams.contains(&of.stream.name);
    dataflow.streams.iter().filter(sends).map(|of| of.stream.rules.max_skew_ns).max().unwrap_or(0)
}

/// Up to where windows are told in partitions of a topic, by what is committed for each.
pub fn told_by(topic: &str, committed: &[Option<Position>]) -> Result<Vec<Option<i64>>, PositionError> {
    let told = |(partition, position): (i32, &Option<Position>)| {
        let checkpoint =
            position.as_ref().map(|position| Checkpoint::decode(topic, partition, position)).transpose()?;
        Ok(checkpoint.map(|checkpoint| checkpoint.watermark.time_ns).filter(|told_ns| *told_ns > i64::MIN))
    };
    (0..).zip(committed).map(told).collect()
}

/// Where to begin so that what comes at this time or later is known as it is, a little before it.
pub fn begin_at(reader: &mut dyn Reader, partition: &TopicPartition, log_time_ms: i64) -> Result<i64, BusError> {
    let bounds = reader.bounds(partition)?;
    Ok(offset_at(reader, partition, bounds, log_time_ms)?.saturating_sub(RECORDS_BEFORE).max(bounds.0))
}

/// The first offset whose record the log got at this time or later, or one before it by at most a 4,096th of the partition; the
/// end where there is none.
fn offset_at(
    reader: &mut dyn Reader,
    partition: &TopicPartition,
    (mut low, mut high): (i64, i64),
    log_time_ms: i64,
) -> Result<i64, BusError> {
    for _ in 0..HALVINGS_MAX {
        if low >= high {
            break;
        }
        let middle = low + (high - low) / 2;
        match first_record(reader, partition, middle)? {
            Some((offset, time_ms)) if time_ms < log_time_ms => low = offset + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Offset and log time of the first record that is there from an offset on.
fn first_record(
    reader: &mut dyn Reader,
    partition: &TopicPartition,
    from: i64,
) -> Result<Option<(i64, i64)>, BusError> {
    reader.assign(partition, from)?;
    let since = Instant::now();
    loop {
        let mut found = None;
        let changes = reader.poll(Duration::from_millis(20), 1, &mut |record| {
            if record.offset >= from && found.is_none() {
                found = Some((record.offset, record.log_time_ms));
            }
        })?;
        let is_end =
            changes.iter().any(|change| matches!(change, Change::End { partition: of, .. } if of == partition));
        if found.is_some() || is_end {
            return Ok(found);
        }
        if since.elapsed() >= ANSWER_WITHIN {
            let detail = format!("nothing of {}/{} came", partition.topic, partition.partition);
            return Err(BusError::Failed { action: "looking for an offset by its time", detail, retryable: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amoskys_bus::{BusOptions, Outgoing, ProducerOptions, ReaderOptions, Security, TopicSpec};

    #[test]
    fn the_first_offset_of_a_time_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("local:{}", folder.path().join("log").display()).parse().expect("an address");
        let security = Security::default();
        let options = BusOptions { address, security, client_id: "test".into(), extra: Vec::new() };
        let bus = amoskys_bus::open(&options).expect("a log");
        let topic = TopicSpec { name: "t".into(), partitions: 1, replication: 1, settings: Vec::new() };
        bus.create_topic(&topic).expect("a topic");
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
        let at = |reader: &mut dyn Reader, time_ms: i64| {
            let bounds = reader.bounds(&partition).expect("bounds");
            offset_at(reader, &partition, bounds, time_ms).expect("found")
        };
        assert_eq!(at(reader.as_mut(), 0), 0, "nothing is there");
        let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
        for token in 0..40 {
            let record =
                Outgoing { topic: "t".into(), partition: Some(0), key: None, payload: vec![1], headers: Vec::new() };
            producer.send(record, token).expect("sent");
            let mut reports = Vec::new();
            while reports.is_empty() {
                producer.poll(Duration::from_millis(10), &mut reports);
            }
            // Several records share a time, and some times have none.
            std::thread::sleep(Duration::from_millis(token % 3));
        }
        let mut times = Vec::new();
        reader.assign(&partition, 0).expect("assigned");
        while times.len() < 40 {
            let on_record = &mut |record: &amoskys_bus::Record<'_>| times.push(record.log_time_ms);
            reader.poll(Duration::from_millis(10), 64, on_record).expect("polled");
        }
        for wanted in times[0] - 1..=times[39] + 1 {
            let expected = times.iter().position(|time| *time >= wanted).unwrap_or(40);
            let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
            assert_eq!(at(reader.as_mut(), wanted), expected as i64, "{wanted}");
        }
    }
}
