//! From where a partition has to be read again for windows that nobody has kept: by the log's times.
//!
//! A row is at most `max_skew` ahead of its record's log time, so what may be in a window that begins at T lies behind the first
//! record of T − `max_skew`, which is found by halving. Limits: for logs whose times do not go back (topics with
//! `LogAppendTime`); what the log does not keep any more is missing from the first windows.

use crate::sql::StreamFlow;
use amoskys_bus::{BusError, Change, Reader, TopicPartition};
use std::time::{Duration, Instant};

/// Each halves what may be read too much; all of them together take less than a member of a group may be silent.
const HALVINGS_MAX: usize = 12;
/// A log that answers nothing for so long is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The log time, in milliseconds since 1970, before which no record is in a window that is open at this watermark; `None` where
/// there are no windows, or no row has come.
pub fn needed_since_ms(flow: &StreamFlow, watermark_ns: i64) -> Option<i64> {
    if flow.views.is_empty() || watermark_ns == i64::MIN {
        return None;
    }
    let first_row_ns = watermark_ns.saturating_sub(flow.reach_ns());
    Some(first_row_ns.saturating_sub(flow.stream.rules.max_skew_ns).div_euclid(1_000_000))
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
