//! Which topics a demo uses, so that it neither reads nor writes what is somebody else's.
//!
//! On a log that has none of Amoskys' topics, their plain names; otherwise topics of its own, with a prefix. Pure.
//! Limits: two demos that begin on an empty log in the same moment may both take the plain names.

use crate::topics::{
    ALERTS, DEMO_FAMILY, PROCESS_FEATURES, PROCESS_TELEMETRY, STATUS, SYSCALL_TELEMETRY, default_settings, own_topics,
};
use amoskys_bus::{TopicInfo, TopicSpec};

/// The names of one demo's topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoTopics {
    /// Before each name; empty for the plain ones.
    prefix: String,
    /// Topics that the SQL names and that are none of Amoskys' own.
    others: Vec<String>,
}

impl DemoTopics {
    /// `there` is what the log has already, `used` what the SQL reads and writes, `random` what no other demo has:
    /// letters and digits.
    pub fn choose<'a>(there: &[TopicInfo], used: impl IntoIterator<Item = &'a str>, random: &str) -> Self {
        let own = own_topics(1);
        let others = used.into_iter().filter(|used| own.iter().all(|own| own.name != *used));
        let others: Vec<String> = others.map(str::to_owned).collect();
        let taken = |name: &String| there.iter().any(|topic| topic.name == *name);
        let taken = own.iter().map(|own| &own.name).chain(&others).any(taken);
        Self { prefix: if taken { format!("{DEMO_FAMILY}{random}.") } else { String::new() }, others }
    }

    /// The name of this demo's topic that stands for `plain`.
    pub fn name(&self, plain: &str) -> String {
        format!("{}{plain}", self.prefix)
    }

    /// All that the demo needs, one partition each.
    pub fn specs(&self) -> Vec<TopicSpec> {
        let others = self.others.iter().map(|name| TopicSpec {
            name: name.clone(),
            partitions: 1,
            replication: 1,
            settings: default_settings(name),
        });
        let all = own_topics(1).into_iter().chain(others);
        all.map(|topic| TopicSpec { name: self.name(&topic.name), ..topic }).collect()
    }

    pub fn telemetry(&self) -> String {
        self.name(PROCESS_TELEMETRY)
    }

    pub fn syscalls(&self) -> String {
        self.name(SYSCALL_TELEMETRY)
    }

    pub fn status(&self) -> String {
        self.name(STATUS)
    }

    pub fn alerts(&self) -> String {
        self.name(ALERTS)
    }

    pub fn features(&self) -> String {
        self.name(PROCESS_FEATURES)
    }

    /// What to tell the user, when the names are not the plain ones.
    pub fn note(&self) -> Option<String> {
        let note = || format!("topics: Amoskys is in use on this log, so the demo has its own, {}*", self.prefix);
        (!self.prefix.is_empty()).then(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::own::DEAD_LETTERS;

    fn there(names: &[&str]) -> Vec<TopicInfo> {
        names.iter().map(|name| TopicInfo { name: (*name).to_owned(), partitions: 4 }).collect()
    }

    #[test]
    fn plain_names_are_taken_only_where_they_are_free() {
        let free = DemoTopics::choose(&there(&["orders"]), [ALERTS], "x7");
        assert_eq!((free.alerts().as_str(), free.note()), (ALERTS, None));
        let taken = DemoTopics::choose(&there(&["orders", DEAD_LETTERS]), [ALERTS, "acme.starts"], "x7");
        assert_eq!(taken.alerts(), "amoskys.demo.x7.amoskys.alerts.v1");
        assert!(taken.note().expect("it is said").contains("amoskys.demo.x7.*"));
        let names: Vec<String> = taken.specs().into_iter().map(|topic| topic.name).collect();
        for name in [
            taken.telemetry(),
            taken.syscalls(),
            taken.status(),
            taken.alerts(),
            taken.features(),
            taken.name(DEAD_LETTERS),
        ] {
            assert!(names.contains(&name) && name.starts_with("amoskys.demo.x7."), "{name}");
        }
        assert!(names.contains(&"amoskys.demo.x7.acme.starts".to_owned()), "{names:?}");
        assert!(taken.specs().iter().all(|topic| topic.partitions == 1));
        let orders = DemoTopics::choose(&there(&["orders"]), ["orders"], "x7");
        assert_eq!(orders.name("orders"), "amoskys.demo.x7.orders", "what the SQL writes to is somebody's");
    }
}
