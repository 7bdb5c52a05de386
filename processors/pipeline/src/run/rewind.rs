//! From where a partition has to be read again for windows that nobody has kept: by the log's times.
//!
//! A row is at most `max_skew` ahead of its record's log time, so what may be in a window that begins at T lies behind the first
//! record of T − `max_skew`, which is found by halving. What is sent to those who merge groups has to reach back as far as windows
//! that they have not told, which their own positions say. Limits: for logs whose times do not go back (topics with
//! `LogAppendTime`); what the log does not keep any more is missing from the first windows.

use super::position::{Checkpoint, PositionError};
use crate::sql::{Dataflow, StreamFlow};
use amoskys_bus::{BusError, Change, Position, Reader, TopicPartition};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Each halves what may be read too much; all of them together take less than a member of a group may be silent.
const HALVINGS_MAX: usize = 12;
/// A log that answers nothing for so long is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// For each topic that groups are sent through, the end up to which windows need not be sent again.
pub type SentAgain = BTreeMap<String, i64>;

/// The log time, in milliseconds since 1970, before which no record is in a window that ends after `told_ns`, or in one that is sent
/// again; `None` where there are no windows, or no row has come.
pub fn needed_since_ms(dataflow: &Dataflow, flow: &StreamFlow, told_ns: i64, again: &SentAgain) -> Option<i64> {
    if flow.shuffle.is_none() && told_ns == i64::MIN {
        return None;
    }
    let own = (!flow.views.is_empty()).then(|| told_ns.saturating_sub(flow.reach_ns()));
    let sent = again.iter().map(|(topic, &whole_after_ns)| {
        let reach_ns = merging(dataflow, topic).map_or(0, StreamFlow::reach_ns);
        whole_after_ns.saturating_sub(reach_ns)
    });
    let first_row_ns = own.into_iter().chain(sent).min()?;
    Some(first_row_ns.saturating_sub(max_skew_ns(dataflow, flow)).div_euclid(1_000_000))
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

/// Up to where windows are told in all partitions of a topic that groups are sent through, by their committed positions; `None` where there
/// are none.
pub fn told_in_all(topic: &str, committed: &[Option<Position>]) -> Result<Option<i64>, PositionError> {
    if committed.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut told_ns = i64::MAX;
    for (partition, position) in (0..).zip(committed) {
        let checkpoint =
            position.as_ref().map(|position| Checkpoint::decode(topic, partition, position)).transpose()?;
        told_ns = told_ns.min(checkpoint.map_or(i64::MIN, |checkpoint| checkpoint.watermark.time_ns));
    }
    Ok(Some(told_ns))
}

/// The first offset whose record the log got at this time or later, or one before it by at most a 4,096th of the partition; the
/// end where there is none.
pub fn offset_at(reader: &mut dyn Reader, partition: &TopicPartition, log_time_ms: i64) -> Result<i64, BusError> {
    let (mut low, mut high) = reader.bounds(partition)?;
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
        assert_eq!(offset_at(reader.as_mut(), &partition, 0).expect("found"), 0, "nothing is there");
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
            assert_eq!(offset_at(reader.as_mut(), &partition, wanted).expect("found"), expected as i64, "{wanted}");
        }
    }
}
