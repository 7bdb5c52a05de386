//! How a demo went: numbers, whether what was staged was alerted and the time before it was quiet, and the exit code.
//!
//! Pure: what happened in, text or JSON out. Deliberately not here: collecting the numbers, the alerts' own blocks
//! (see `topics::alert`).

use super::stage::{Behaviour, Staged};
use amoskys_proto::v1::Alert;
use serde_json::{Value, json};
use std::fmt::Write;

/// What happened, counted by the demo.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Which log, and why that one.
    pub log: String,
    /// Topics that the demo made and that stay.
    pub topics_left: Vec<String>,
    pub events_read: u64,
    pub events_dropped: u64,
    pub rows_late: u64,
    pub windows_closed: u64,
    /// All alerts that were read from the log, in the order they came.
    pub alerts: Vec<Alert>,
    /// From an event to the moment its alert could be read, one for each alert where both are known.
    pub latencies_ms: Vec<u64>,
    /// What was made to happen.
    pub staged: Vec<Staged>,
    /// Event time at which the staging began, milliseconds since 1970; alerts about a time before it break the silence
    /// that there should have been. `None` when it never began.
    pub control_ended_ms: Option<i64>,
    /// The user ended it before its time.
    pub interrupted: bool,
}

/// What the alerts come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Each behaviour that should have been staged, with the detections that told it.
    pub detected: Vec<(Behaviour, Vec<String>)>,
    /// Detections and entities of alerts about the control period.
    pub false_alarms: Vec<String>,
    /// Alerts about neither: what else happened on this host meanwhile.
    pub others: usize,
    pub control_was_held: bool,
}

impl Verdict {
    /// Both behaviours were alerted and the control period, which there was, raised nothing.
    pub fn passed(&self) -> bool {
        self.control_was_held && self.false_alarms.is_empty() && self.detected.iter().all(|(_, by)| !by.is_empty())
    }
}

const BEHAVIOURS: [Behaviour; 2] = [Behaviour::DeletedProgram, Behaviour::DiscoveryBurst];

impl Summary {
    pub fn verdict(&self) -> Verdict {
        let mut detected = BEHAVIOURS.map(|behaviour| (behaviour, Vec::new()));
        let (mut false_alarms, mut others) = (Vec::new(), 0);
        for alert in &self.alerts {
            if self.is_about_control(alert) {
                false_alarms.push(format!("{} about {}", alert.detection, alert.entity));
                continue;
            }
            let staged = self.staged.iter().find(|staged| is_about(alert, staged));
            let Some(staged) = staged else {
                others += 1;
                continue;
            };
            let entry = detected.iter_mut().find(|(behaviour, _)| *behaviour == staged.behaviour);
            if let Some((_, by)) = entry
                && !by.contains(&alert.detection)
            {
                by.push(alert.detection.clone());
            }
        }
        let control_was_held = self.control_ended_ms.is_some();
        Verdict { detected: detected.to_vec(), false_alarms, others, control_was_held }
    }

    /// 0 only when the verdict is good and the demo ran to its end.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.interrupted || !self.verdict().passed())
    }

    fn is_about_control(&self, alert: &Alert) -> bool {
        let time_ms = alert.time.as_ref().map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000);
        // What never got as far as staging had nothing but control.
        time_ms.is_some_and(|time_ms| self.control_ended_ms.is_none_or(|ended_ms| time_ms <= ended_ms))
    }

    /// Several lines, each ended by a newline.
    pub fn to_text(&self) -> String {
        let verdict = self.verdict();
        let mut text = String::from("Summary\n");
        let mut row = |label: &str, value: String| {
            let _ = writeln!(text, "  {label:16}{value}");
        };
        row("events read", self.events_read.to_string());
        row("events dropped", self.events_dropped.to_string());
        row("late rows", self.rows_late.to_string());
        row("windows closed", self.windows_closed.to_string());
        row("alerts", self.alerts.len().to_string());
        row("event to alert", latency(&self.latencies_ms));
        if !self.topics_left.is_empty() {
            row("topics left", self.topics_left.join(" "));
        }
        if verdict.others > 0 {
            row("", format!("{} of the alerts are about other things on this host", verdict.others));
        }
        let mut check = |good: bool, what: String| {
            let _ = writeln!(text, "  {} {what}", if good { "ok  " } else { "FAIL" });
        };
        let control = match (verdict.control_was_held, verdict.false_alarms.len()) {
            (false, _) => "there was no whole control period".to_owned(),
            (true, 0) => "the control period before raised no alert".to_owned(),
            (true, count) => format!("the control period before raised {count}: {}", verdict.false_alarms.join("; ")),
        };
        check(verdict.control_was_held && verdict.false_alarms.is_empty(), control);
        for (behaviour, by) in &verdict.detected {
            let found = if by.is_empty() { "not alerted".to_owned() } else { format!("alerted by {}", by.join(", ")) };
            check(!by.is_empty(), format!("{}: {found}", behaviour.title()));
        }
        if self.interrupted {
            check(false, "interrupted before its end".to_owned());
        }
        text
    }

    /// One object; `passed` is true exactly when the exit code is 0.
    pub fn to_json(&self) -> Value {
        let verdict = self.verdict();
        let detected = verdict.detected.iter();
        let detected = detected.map(|(behaviour, by)| json!({"behaviour": behaviour, "detections": by}));
        json!({
            "log": self.log,
            "topics_left": self.topics_left,
            "events_read": self.events_read,
            "events_dropped": self.events_dropped,
            "rows_late": self.rows_late,
            "windows_closed": self.windows_closed,
            "alerts": self.alerts.len(),
            "alerts_other": verdict.others,
            "event_to_alert_ms": {
                "p50": percentile(&self.latencies_ms, 50),
                "p99": percentile(&self.latencies_ms, 99),
                "max": self.latencies_ms.iter().max(),
                "samples": self.latencies_ms.len(),
            },
            "staged": self.staged,
            "detected": detected.collect::<Vec<_>>(),
            "control_was_held": verdict.control_was_held,
            "false_alarms": verdict.false_alarms,
            "interrupted": self.interrupted,
            "passed": self.exit_code() == 0,
        })
    }
}

/// It names one of the behaviour's techniques, and one of its processes or its program.
fn is_about(alert: &Alert, staged: &Staged) -> bool {
    let of_behaviour = |technique: &str| {
        staged
            .behaviour
            .techniques()
            .iter()
            .any(|known| technique.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    let names_process = |word: &str| word.parse().is_ok_and(|pid: u32| staged.pids.contains(&pid));
    // The shell's path would fit any alert about a shell.
    let exe = staged.exe.display().to_string();
    let names_program = staged.behaviour == Behaviour::DeletedProgram && alert.entity.contains(&exe);
    alert.technique.split(',').map(str::trim).any(of_behaviour)
        && (names_program || alert.entity.split_whitespace().any(names_process))
}

const SAMPLES_FOR_P99: usize = 100;

fn latency(samples_ms: &[u64]) -> String {
    match (percentile(samples_ms, 50), percentile(samples_ms, 99)) {
        (Some(p50), Some(p99)) if samples_ms.len() >= SAMPLES_FOR_P99 => {
            format!("p50 {p50} ms, p99 {p99} ms of {}", samples_ms.len())
        }
        // The 99th percentile of a few is nothing but the greatest.
        (Some(p50), Some(max)) => format!("p50 {p50} ms, max {max} ms of {}", samples_ms.len()),
        _ => "-".to_owned(),
    }
}

/// The least sample that `percent` of all do not exceed.
fn percentile(samples: &[u64], percent: usize) -> Option<u64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(behaviour: Behaviour, pids: &[u32]) -> Staged {
        let exe = "/dev/shm/x/font-update".into();
        Staged { behaviour, pids: pids.to_vec(), exe, commands: vec![], began_ms: 0, note: None }
    }

    fn alert(detection: &str, technique: &str, entity: &str, seconds: i64) -> Alert {
        // Through its text form: the type is not one of this crate's dependencies.
        let time = format!("1970-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60).parse().ok();
        let (detection, technique, entity) = (detection.into(), technique.into(), entity.into());
        Alert { detection, technique, entity, time, ..Default::default() }
    }

    fn good() -> Summary {
        Summary {
            events_read: 1000,
            windows_closed: 60,
            alerts: vec![
                alert("exec_from_memory", "T1036.005", "pid 11 /dev/shm/x/font-update", 101),
                alert("running_binary_deleted", "T1070.004", "pid 11 /dev/shm/x/font-update", 105),
                alert("running_binary_deleted", "T1070.004", "pid 11 /dev/shm/x/font-update", 110),
                alert("discovery_burst", "T1057,T1082,T1033", "sh 20", 108),
            ],
            latencies_ms: vec![30, 10, 20, 40],
            staged: vec![staged(Behaviour::DeletedProgram, &[11]), staged(Behaviour::DiscoveryBurst, &[20, 21])],
            control_ended_ms: Some(100_000),
            ..Default::default()
        }
    }

    #[test]
    fn both_alerted_and_a_quiet_control_pass() {
        let summary = good();
        assert_eq!(summary.exit_code(), 0);
        let expected = "\
Summary
  events read     1000
  events dropped  0
  late rows       0
  windows closed  60
  alerts          4
  event to alert  p50 20 ms, max 40 ms of 4
  ok   the control period before raised no alert
  ok   a program run from memory and deleted while it runs: alerted by exec_from_memory, running_binary_deleted
  ok   a burst of discovery commands: alerted by discovery_burst
";
        assert_eq!(summary.to_text(), expected);
        let json = summary.to_json();
        assert_eq!((&json["passed"], &json["event_to_alert_ms"]["p99"]), (&true.into(), &40.into()));
        assert_eq!(json["detected"][1]["behaviour"], "discovery_burst");
    }

    #[test]
    fn an_alert_about_the_control_period_fails() {
        let mut summary = good();
        summary.alerts.push(alert("privilege_gained", "T1068", "pid 3 /bin/x", 99));
        assert_eq!(summary.exit_code(), 1);
        assert!(
            summary.to_text().contains("FAIL the control period before raised 1: privilege_gained about pid 3 /bin/x")
        );
    }

    #[test]
    fn what_is_not_alerted_fails_whatever_else_is() {
        let mut summary = good();
        summary.alerts.retain(|alert| alert.detection != "discovery_burst");
        summary.alerts.push(alert("discovery_burst", "T1057", "bash 999", 108));
        assert_eq!((summary.exit_code(), summary.verdict().others), (1, 1));
        assert!(summary.to_text().contains("FAIL a burst of discovery commands: not alerted"));
    }

    #[test]
    fn an_alert_of_another_technique_does_not_count() {
        let summary = good();
        let right = alert("d", "T1033", "sh 21", 108);
        assert!(is_about(&right, &summary.staged[1]));
        for (technique, entity) in [("T10331", "sh 21"), ("T1070.004", "sh 21"), ("T1033", "sh 2"), ("", "sh 21")] {
            assert!(!is_about(&alert("d", technique, entity, 108), &summary.staged[1]), "{technique} {entity}");
        }
    }

    #[test]
    fn an_early_end_fails() {
        let interrupted = Summary { interrupted: true, ..good() };
        assert_eq!(interrupted.exit_code(), 1);
        let nothing = Summary::default();
        assert_eq!(nothing.exit_code(), 1);
        assert!(nothing.to_text().contains("event to alert  -\n"));
        assert_eq!(nothing.to_json()["event_to_alert_ms"]["p50"], Value::Null);
    }

    #[test]
    fn topics_that_stay_are_named() {
        let summary = Summary { topics_left: vec!["a".into(), "b".into()], ..good() };
        assert!(summary.to_text().contains("  topics left     a b\n"), "{}", summary.to_text());
    }

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(
            (percentile(&samples, 50), percentile(&samples, 99), percentile(&[7], 99)),
            (Some(100), Some(198), Some(7))
        );
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(latency(&samples), "p50 100 ms, p99 198 ms of 200");
    }
}
