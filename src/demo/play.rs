//! The course of a demo: control period, staging, waiting for the alerts.

use super::{
    display::Display,
    follow::{Followed, Seen},
    stage::{self, MemoryRun, Staged},
    summary::Summary,
    view::{EntityScore, PartitionState, Phase, SeenAlert, Snapshot},
};
use crate::{clock::now_ms, print, roles::StatusOf};
use amoskys_collectors::AgentHandle;
use amoskys_pipeline::run::Status;
use anyhow::Result;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long the host is watched before anything is staged.
const CONTROL: Duration = Duration::from_secs(8);
/// Between the end of the control period and the first staged event, so that their times cannot be confused.
const BREATH: Duration = Duration::from_millis(300);
/// Between the start of the staged program and its deletion.
const RUNNING: Duration = Duration::from_millis(700);
/// How long after the last expected alert further ones are waited for: that a program was deleted is seen by the next look at all processes, within 3 s; its window ends within a second and closes
/// 3 s after that, also when nothing else comes.
const AFTERMATH: Duration = Duration::from_secs(8);
/// How long the staged program runs; it is ended earlier when the demo is.
const LIFETIME: Duration = Duration::from_secs(30);
/// Seconds of history on the screen.
const SECONDS_SHOWN: usize = 120;

pub struct Demo {
    stop: Arc<AtomicBool>,
    status: StatusOf,
    followed: Followed,
    agent: AgentHandle,
    display: Display,
    began: Instant,
    ends: Instant,
    now: Snapshot,
    summary: Summary,
    scores: BTreeMap<String, f64>,
    second_began: (Instant, u64),
}

impl Demo {
    /// `now` is what there is to show before it begins.
    pub fn new(
        mut now: Snapshot,
        stop: Arc<AtomicBool>,
        status: StatusOf,
        followed: Followed,
        agent: AgentHandle,
        display: Display,
        longest: Duration,
    ) -> Self {
        let began = Instant::now();
        let of_agent = agent.status();
        now.notes.push(format!("agent: processes of this host, seen through {}", of_agent.process_source));
        let why = of_agent.syscall_problem.map(|problem| format!(", because {problem}")).unwrap_or_default();
        now.notes.push(match of_agent.syscall_source {
            "off" => format!("agent: system calls of this host, not seen{why}"),
            source => format!("agent: system calls of this host, seen through {source}{why}"),
        });
        let (summary, scores) = (Summary::default(), BTreeMap::new());
        Self {
            stop,
            status,
            followed,
            agent,
            display,
            began,
            ends: began + longest,
            now,
            summary,
            scores,
            second_began: (began, 0),
        }
    }

    pub fn note(&mut self, note: String) {
        self.now.notes.push(note);
    }

    /// Everything, to the summary. What was staged is gone when this returns.
    pub fn play(mut self, forever: bool) -> Result<Summary> {
        self.watch(Phase::Control, CONTROL, |_| false)?;
        if !self.over() {
            self.summary.control_ended_ms = Some(now_ms());
            self.watch(Phase::Staging, BREATH, |_| false)?;
            match self.stage() {
                Ok(_running) => {
                    let left = self.ends.saturating_duration_since(Instant::now());
                    self.watch(Phase::Waiting, left, |summary| summary.verdict().passed())?;
                    self.watch(Phase::Waiting, AFTERMATH, |_| false)?;
                }
                // Half-way; the summary says what was done until then.
                Err(_) if self.stop.load(Ordering::Relaxed) => {}
                Err(error) => return Err(error),
            }
        }
        if forever && !self.stop.load(Ordering::Relaxed) {
            const YEAR: Duration = Duration::from_secs(365 * 86_400);
            self.ends = Instant::now() + YEAR;
            self.watch(Phase::Running, YEAR, |_| false)?;
        } else {
            self.summary.interrupted = self.stop.load(Ordering::Relaxed);
        }
        self.end()
    }

    fn end(mut self) -> Result<Summary> {
        self.now.phase = Phase::Ending;
        self.agent.stop(Duration::from_secs(2));
        self.refresh();
        self.display.close(&self.now)?;
        self.summary.events_read = self.now.events_read;
        self.summary.rows_late = self.now.rows_late;
        self.summary.windows_closed = self.now.windows_closed;
        self.summary.events_dropped = self.agent.join().events_dropped;
        Ok(self.summary)
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || Instant::now() >= self.ends
    }

    fn stage(&mut self) -> Result<MemoryRun> {
        let run = MemoryRun::start(LIFETIME)?;
        self.announce(run.staged());
        self.watch(Phase::Staging, RUNNING, |_| false)?;
        run.delete_program()?;
        self.note(format!("deleted {}", run.staged().exe.display()));
        self.summary.staged.push(run.staged().clone());
        let burst = stage::discovery_burst(&self.stop)?;
        self.announce(&burst);
        self.summary.staged.push(burst);
        Ok(run)
    }

    fn announce(&mut self, staged: &Staged) {
        self.note(format!("staged: {} ({})", staged.behaviour.title(), staged.behaviour.techniques().join(", ")));
        self.note(format!("ran: {}", staged.commands.join("; ")));
        if let Some(note) = &staged.note {
            self.note(note.clone());
        }
    }

    /// Shows what comes, for `time` or until `enough`.
    fn watch(&mut self, phase: Phase, time: Duration, enough: impl Fn(&Summary) -> bool) -> Result<()> {
        let until = Instant::now() + time;
        self.now.phase = phase;
        while Instant::now() < until && !self.over() && !enough(&self.summary) {
            self.now.phase_left = Some(until.saturating_duration_since(Instant::now()));
            self.refresh();
            match self.display.show(&self.now) {
                Ok(false) => {}
                Ok(true) => self.stop.store(true, Ordering::Relaxed),
                // Nobody looks any more: ends in good order.
                Err(error) if print::is_closed(&error) => self.stop.store(true, Ordering::Relaxed),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn refresh(&mut self) {
        while let Ok(seen) = self.followed.seen.try_recv() {
            match seen {
                Seen::Alert(alert, read_ms) => self.take_alert(*alert, read_ms),
                Seen::Features(row) => {
                    if let Some(score) = row.features.get("score") {
                        self.scores.insert(row.entity, *score);
                    }
                }
            }
        }
        let status = self.status.now();
        self.now.elapsed = self.began.elapsed();
        self.now.events_read = status.rows;
        self.now.events_dropped = self.agent.status().events_dropped;
        self.now.rows_late = status.late_rows;
        self.now.windows_closed = status.closed_windows;
        self.now.partitions = partitions(&status);
        self.now.entities = best(&mut self.scores);
        while self.second_began.0.elapsed() >= Duration::from_secs(1) {
            self.now.events_per_second.push(status.rows.saturating_sub(self.second_began.1));
            let excess = self.now.events_per_second.len().saturating_sub(SECONDS_SHOWN);
            self.now.events_per_second.drain(..excess);
            self.second_began = (self.second_began.0 + Duration::from_secs(1), status.rows);
        }
    }

    fn take_alert(&mut self, alert: amoskys_proto::v1::Alert, read_ms: i64) {
        let event_ms = alert.time.as_ref().map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000);
        let latency_ms = event_ms.map(|event_ms| u64::try_from(read_ms - event_ms).unwrap_or(0));
        self.summary.latencies_ms.extend(latency_ms);
        self.now.alerts.push(SeenAlert { alert: alert.clone(), latency: latency_ms.map(Duration::from_millis) });
        let score = self.scores.entry(alert.entity.clone()).or_default();
        *score = score.max(alert.confidence);
        self.summary.alerts.push(alert);
    }
}

fn partitions(status: &Status) -> Vec<PartitionState> {
    let state = |partition: &amoskys_pipeline::run::PartitionStatus| {
        let watermark_ms = partition.watermark_ns.map(|ns| ns / 1_000_000);
        PartitionState {
            topic: partition.topic.clone(),
            partition: partition.partition,
            watermark_ms,
            behind: watermark_ms.map(|ms| Duration::from_millis(u64::try_from(now_ms() - ms).unwrap_or(0))),
            lag_records: partition.lag_records,
        }
    };
    status.partitions.iter().map(state).collect()
}

/// The entities with the highest scores; forgets the rest once they are many.
fn best(scores: &mut BTreeMap<String, f64>) -> Vec<EntityScore> {
    const KEPT: usize = 1000;
    const SHOWN: usize = 20;
    let mut entities: Vec<EntityScore> =
        scores.iter().map(|(entity, score)| EntityScore { entity: entity.clone(), score: *score }).collect();
    entities.sort_by(|one, other| other.score.total_cmp(&one.score));
    entities.truncate(SHOWN);
    if scores.len() > KEPT {
        *scores = entities.iter().map(|entity| (entity.entity.clone(), entity.score)).collect();
    }
    entities
}
