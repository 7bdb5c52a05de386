//! `amoskys process` as a child, what it says over HTTP, and what its group has committed.

use super::{Running, amoskys, exit_code, free_port, http_get, send, until};
use amoskys_bus::{Bus, Change, MemberOptions, Position};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

/// Killed (by its own id) and reaped when dropped.
pub struct Processor {
    running: Running,
    port: u16,
}

impl Processor {
    /// Signatures off, its HTTP on a free port; `set` adds to the command.
    pub fn start(sql: &Path, bus: &str, group: &str, set: impl FnOnce(&mut Command)) -> Self {
        let port = free_port();
        let mut command = amoskys();
        command.arg("process").arg(sql).args(["--bus", bus, "--group", group]);
        command.env("AMOSKYS_PROCESSOR_VERIFY", "off");
        for name in ["AMOSKYS_PROCESSOR_METRICS_PORT", "AMOSKYS_PROCESSOR_HEALTH_PORT"] {
            command.env(name, port.to_string());
        }
        set(&mut command);
        Self { running: Running(command.spawn().expect("the processor starts")), port }
    }

    /// Whether the answer was 200, and its body; `None` while it does not serve yet.
    pub fn get(&self, path: &str) -> Option<(bool, String)> {
        http_get(self.port, path)
    }

    pub fn state(&self) -> Option<Value> {
        serde_json::from_str(&self.get("/state")?.1).ok()
    }

    fn partitions(&self) -> Vec<Value> {
        self.state().unwrap_or_default()["partitions"].as_array().cloned().unwrap_or_default()
    }

    /// Partitions of a topic that it owns, each with its lag where that is known.
    pub fn owned(&self, topic: &str) -> BTreeMap<i64, Option<u64>> {
        let number = |of: &Value| of["partition"].as_i64().expect("a number");
        let partitions = self.partitions();
        let of_topic = partitions.iter().filter(|of| of["topic"] == topic);
        of_topic.map(|of| (number(of), of["lag_records"].as_u64())).collect()
    }

    /// Waits for `is_so`, as long as the processor runs.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        until(what, || {
            let ended = self.running.0.try_wait().expect("a child");
            assert!(ended.is_none(), "{what}: the processor ended with {ended:?}");
            is_so(self)
        });
    }

    /// Waits until every partition of `topic` is read up to its end, `ends[partition]`. What it made of that is
    /// committed then: its state is told after.
    pub fn until_read(&mut self, topic: &str, ends: &[i64]) {
        let expected: BTreeMap<i64, i64> = (0..).zip(ends.iter().copied()).collect();
        self.until(&format!("{topic} is read to its end"), |processor| {
            let partitions = processor.partitions();
            let of_topic = partitions.iter().filter(|of| of["topic"] == topic && of["replaying"] == false);
            let number = |value: &Value| value.as_i64().expect("a number");
            of_topic.map(|of| (number(&of["partition"]), number(&of["next_offset"]))).collect::<BTreeMap<_, _>>()
                == expected
        });
    }

    /// Waits until groups that were sent are merged, in all of so many partitions, up to a time. What it made of that is committed
    /// then.
    pub fn until_merged(&mut self, merging_partitions: usize, through_ns: i64) {
        self.until("groups that were sent are merged", |processor| {
            let is_done = |of: &&Value| {
                of["replaying"] == false && of["watermark_ns"].as_i64().is_some_and(|at| at >= through_ns)
            };
            let partitions = processor.partitions();
            partitions.iter().filter(|of| !of["waits"].is_null()).filter(is_done).count() == merging_partitions
        });
    }

    /// The least watermark of the partitions of streams; all have to be this one's.
    pub fn slowest_watermark_ns(&self) -> Option<i64> {
        let partitions = self.partitions();
        let reading = partitions.iter().filter(|of| of["waits"].is_null());
        reading.map(|of| of["watermark_ns"].as_i64()).min()?
    }

    /// To this process and no other; nothing happens to one that has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            send(&self.running, signal);
        }
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.running.0.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.running.0.try_wait().expect("a child")
    }

    /// Its exit code once it ends; `None` when a signal ended it.
    pub fn exit_code(mut self) -> Option<i32> {
        exit_code(&mut self.running, "the processor ends")
    }

    /// SIGTERM: it commits what it has read and ends with 0.
    pub fn terminate(mut self) {
        send(&self.running, Signal::TERM);
        assert_eq!(exit_code(&mut self.running, "the processor drains"), Some(0), "after SIGTERM");
    }
}

/// What a group has committed, by partition. Joins the group for a moment, so none of its members may run.
pub fn committed(bus: &dyn Bus, group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, Option<Position>> {
    let mut member = bus.member(&MemberOptions::new(group, vec![topic.to_owned()])).expect("a member");
    let mut positions = BTreeMap::new();
    until("the partitions are assigned", || {
        for change in member.poll(Duration::from_millis(20), 1, &mut |_| {}).expect("polls") {
            let Change::Assigned(assignments) = change else { continue };
            positions.extend(assignments.into_iter().map(|given| (given.partition.partition, given.committed)));
        }
        positions.len() == partitions as usize
    });
    member.leave().expect("leaves");
    positions
}
