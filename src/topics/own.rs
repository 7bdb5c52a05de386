//! The topics that Amoskys itself reads and writes, and what any topic of its family is created with.

use amoskys_bus::TopicSpec;

pub const PROCESS_TELEMETRY: &str = "amoskys.telemetry.process.v1";
pub const SYSCALL_TELEMETRY: &str = "amoskys.telemetry.syscall.v1";
pub const SYSCALL_ACTIVITY: &str = "amoskys.telemetry.syscall_activity.v1";
pub const STATUS: &str = "amoskys.agent.status.v1";
pub const ALERTS: &str = "amoskys.alerts.v1";
pub const PROCESS_FEATURES: &str = "amoskys.features.process_activity.v1";
pub const PANES: &str = "amoskys.panes.v1";
pub const DEAD_LETTERS: &str = "amoskys.deadletter.v1";

/// Before the names of a demo's topics come this and a name of that demo's own.
pub const DEMO_FAMILY: &str = "amoskys.demo.";

/// The name that tells what is in a topic: a demo's own topics hold what those with the plain names do.
pub fn plain_name(topic: &str) -> &str {
    let of_demo = topic.strip_prefix(DEMO_FAMILY).and_then(|rest| rest.split_once('.'));
    of_demo.map_or(topic, |(_, plain)| plain)
}

/// Names of this family get [`default_settings`].
const FAMILY: &str = "amoskys.";

/// An envelope of 10 MiB with its key, headers and the log's framing.
const RECORD_BYTES_MAX: usize = (10 << 20) + 4096;

/// Amoskys' own topics, with replication 1.
///
/// What is keyed by host and grows with the number of hosts gets `partitions`, so that one host's telemetry, features
/// and alerts are in the same partition everywhere. What agents say of themselves and what could not be used is little
/// and has one partition.
pub fn own_topics(partitions: i32) -> Vec<TopicSpec> {
    let by_host = [PROCESS_TELEMETRY, SYSCALL_TELEMETRY, SYSCALL_ACTIVITY, PROCESS_FEATURES, ALERTS, PANES]
        .map(|name| (name, partitions));
    let few = [STATUS, DEAD_LETTERS].map(|name| (name, 1));
    let all = by_host.into_iter().chain(few);
    all.map(|(name, partitions)| TopicSpec {
        name: name.to_owned(),
        partitions,
        replication: 1,
        settings: default_settings(name),
    })
    .collect()
}

/// Settings of a topic of ours: the log's own clock (windows that nobody writes to are closed by it) and room for the
/// largest envelope; of panes only the last version of each is kept. None for topics of other families.
pub fn default_settings(topic: &str) -> Vec<(String, String)> {
    if !topic.starts_with(FAMILY) {
        return Vec::new();
    }
    let settings =
        [("message.timestamp.type", "LogAppendTime".to_owned()), ("max.message.bytes", RECORD_BYTES_MAX.to_string())];
    let compacted = (plain_name(topic) == PANES).then(|| ("cleanup.policy", "compact".to_owned()));
    settings.into_iter().chain(compacted).map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_keyed_by_host_is_partitioned_alike() {
        let topics = own_topics(12);
        let partitions = |name: &str| topics.iter().find(|topic| topic.name == name).map(|topic| topic.partitions);
        assert_eq!([PROCESS_TELEMETRY, SYSCALL_TELEMETRY, PROCESS_FEATURES, ALERTS].map(partitions), [Some(12); 4]);
        assert_eq!([STATUS, DEAD_LETTERS].map(partitions), [Some(1); 2]);
        assert!(topics.iter().all(|topic| topic.settings.iter().any(|(_, value)| value == "LogAppendTime")));
    }

    #[test]
    fn a_demos_topics_are_known_by_their_plain_names() {
        assert_eq!(plain_name("amoskys.demo.x7.amoskys.alerts.v1"), ALERTS);
        assert_eq!([ALERTS, "amoskys.demo.x", "orders"].map(plain_name), [ALERTS, "amoskys.demo.x", "orders"]);
    }

    #[test]
    fn other_peoples_topics_get_no_settings() {
        assert_eq!(default_settings("orders"), []);
        assert_eq!(default_settings("amoskys.features.mine.v1").len(), 2);
    }
}
