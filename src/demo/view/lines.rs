//! A running demo as plain lines, where standard output is no terminal. Pure.

use super::Snapshot;
use crate::topics::{alert::describe, text::visible};

/// What changed from `previous` to `now`: notes, the phase, each alert as a block of lines, and a line of numbers when
/// a second has begun and they are not what they were. Pass the snapshot of the last call as `previous`.
pub fn lines(previous: &Snapshot, now: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let clock = clock(now);
    // Notes first: they tell what led to the phase, and which log this is before anything else.
    lines.extend(now.notes.since(&previous.notes).map(|note| format!("{clock} {}", visible(note))));
    if previous.phase != now.phase {
        let left = now.phase_left.map(|left| format!(", {} s", left.as_secs_f64().ceil())).unwrap_or_default();
        lines.push(format!("{clock} {}{left}", now.phase.title()));
    }
    for seen in now.alerts.since(&previous.alerts) {
        let latency = seen.latency.map(|latency| format!(", {} ms after the event", latency.as_millis()));
        lines.push(format!("{clock} ALERT{}", latency.unwrap_or_default()));
        lines.extend(describe(&seen.alert).lines().map(|line| format!("      {line}")));
    }
    let is_new_second = previous.elapsed.as_secs() != now.elapsed.as_secs();
    if is_new_second && numbers(previous) != numbers(now) {
        lines.push(format!("{clock} {}", status(now)));
    }
    lines
}

fn numbers(now: &Snapshot) -> [u64; 5] {
    [now.events_read, now.events_dropped, now.rows_late, now.windows_closed, now.alerts.total()]
}

/// Minutes and seconds since the demo began.
fn clock(now: &Snapshot) -> String {
    let seconds = now.elapsed.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

fn status(now: &Snapshot) -> String {
    let rate = now.events_per_second.last().copied().unwrap_or(0);
    // One partition whose lag is not known makes the sum unknown.
    let lag: Option<u64> = now.partitions.iter().map(|partition| partition.lag_records).sum();
    let lag = lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
    let behind = now.partitions.iter().filter_map(|partition| partition.behind).max();
    let behind = behind.map(|behind| format!(", watermark {:.1} s behind", behind.as_secs_f64())).unwrap_or_default();
    let best = now.entities.first();
    let best = best.map(|best| format!(", top {} {:.2}", visible(&best.entity), best.score)).unwrap_or_default();
    format!(
        "{} events ({rate}/s), {} dropped, {} late, {} windows, {} alerts, lag {lag}{behind}{best}",
        now.events_read,
        now.events_dropped,
        now.rows_late,
        now.windows_closed,
        now.alerts.total(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::view::{EntityScore, PartitionState, Phase, SeenAlert};
    use std::time::Duration;

    #[test]
    fn only_what_changed_is_said() {
        let start = Snapshot::default();
        assert!(lines(&start, &start).is_empty());
        let mut now = Snapshot { phase: Phase::Control, phase_left: Some(Duration::from_secs(12)), ..start.clone() };
        now.notes.push("the agent sees \x1b".to_owned());
        assert_eq!(lines(&start, &now), ["00:00 the agent sees \\u001b", "00:00 control period, 12 s"]);
        assert!(lines(&now, &now).is_empty());
    }

    #[test]
    fn numbers_come_once_a_second_and_only_when_they_changed() {
        let start = Snapshot::default();
        let mut now = Snapshot { events_read: 10, elapsed: Duration::from_millis(900), ..start.clone() };
        assert!(lines(&start, &now).is_empty(), "the second has not ended");
        now.elapsed = Duration::from_millis(1000);
        now.events_per_second = vec![3, 7];
        now.entities = vec![EntityScore { entity: "sh 7".into(), score: 0.5 }];
        let behind = Some(Duration::from_millis(2500));
        now.partitions = vec![PartitionState { lag_records: Some(4), behind, ..Default::default() }];
        let expected = "00:01 10 events (7/s), 0 dropped, 0 late, 0 windows, 0 alerts, lag 4, watermark 2.5 s behind, top sh 7 0.50";
        assert_eq!(lines(&start, &now), [expected]);
        let later = Snapshot { elapsed: Duration::from_secs(2), ..now.clone() };
        assert!(lines(&now, &later).is_empty());
    }

    #[test]
    fn each_alert_is_a_block() {
        let start = Snapshot::default();
        let mut now = start.clone();
        let alert =
            amoskys_proto::v1::Alert { title: "something".into(), severity: "HIGH".into(), ..Default::default() };
        now.alerts.push(SeenAlert { alert, latency: Some(Duration::from_millis(812)) });
        let lines = lines(&start, &now);
        assert_eq!(lines[..2], ["00:00 ALERT, 812 ms after the event", "      HIGH 0.00  something"]);
    }
}
