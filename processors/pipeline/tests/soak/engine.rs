//! A case through the engine, twice: undisturbed, and with everything that may be different about a run.

use crate::{
    Tried,
    common::{BASE_MS, Compacted, Kept, MS_NS, Out, lines, push},
    data::{Case, PARTITIONS, Row, Step},
};
use amoskys_bus::Position;
use amoskys_pipeline::{
    run::{Checkpoint, Emission, Task, Verify},
    sql::StreamFlow,
};
use arrow::util::display::array_value_to_string;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a partition wrote: for each view, window start (nanoseconds) and the values of a row.
pub type Written = Vec<Vec<(i64, Vec<String>)>>;

/// Rows of each partition of the undisturbed run; why not, when the other differs.
pub fn check(flow: &StreamFlow, case: &Case, tried: &Tried) -> Result<[Written; PARTITIONS], String> {
    let kept: [Vec<Kept>; PARTITIONS] = std::array::from_fn(|partition| {
        let record = |(offset, row): (usize, &Row)| row.record(offset as i64);
        case.rows[partition].iter().enumerate().map(record).collect()
    });
    let undisturbed: [Vec<Emission>; PARTITIONS] =
        std::array::from_fn(|partition| undisturbed(flow, partition, &kept[partition]));
    let disturbed = disturbed(flow, &kept, &case.steps, tried)?;
    for (partition, (one, other)) in undisturbed.iter().zip(&disturbed).enumerate() {
        for (view, (one, other)) in lines(flow, one).iter().zip(lines(flow, other)).enumerate() {
            let first = one.iter().zip(&other).find(|(one, other)| one != other);
            if *one != other {
                return Err(format!(
                    "partition {partition}, view {view}: {} rows undisturbed, {} disturbed; first difference: {first:?}",
                    one.len(),
                    other.len()
                ));
            }
        }
        tried.windows.fetch_add(one.len() as u64, Ordering::Relaxed);
    }
    Ok(undisturbed.map(|emissions| rows(flow, &emissions)))
}

pub fn smallest(flow: &StreamFlow, case: &Case) -> Case {
    case.smallest(|case| check(flow, case, &Tried::default()).is_err())
}

fn task(flow: &StreamFlow, partition: usize, checkpoint: Checkpoint) -> Task {
    Task::new(flow, "ev-topic", partition as i32, Verify::Off, checkpoint, None).expect("a task")
}

fn flush(task: &mut Task, flow: &StreamFlow, out: &mut Out) {
    task.flush(flow, &mut out.emissions, &mut out.dead).expect("computes");
    assert!(out.dead.is_empty(), "every record can be read: {:?}", out.dead[0]);
}

fn close(task: &mut Task, flow: &StreamFlow, out: &mut Out) {
    flush(task, flow, out);
    task.core.close_all(flow, &mut out.emissions).expect("closes");
}

/// Record by record; every window closed at the end.
fn undisturbed(flow: &StreamFlow, partition: usize, records: &[Kept]) -> Vec<Emission> {
    let (mut task, mut out) = (task(flow, partition, Checkpoint::start(0)), Out::default());
    for record in records {
        push(&mut task, flow, record, &mut out);
        flush(&mut task, flow, &mut out);
    }
    close(&mut task, flow, &mut out);
    out.emissions
}

/// A partition, its owner and its log.
struct Run<'a> {
    flow: &'a StreamFlow,
    partition: usize,
    records: &'a [Kept],
    task: Task,
    next: usize,
    /// The furthest that anybody has read: the clock counts only for who has read that far, as at a partition's end.
    furthest: usize,
    pending: Out,
    committed: Vec<Emission>,
    position: Option<Position>,
    compacted: Compacted,
    tried: &'a Tried,
}

fn disturbed(
    flow: &StreamFlow,
    kept: &[Vec<Kept>; PARTITIONS],
    steps: &[Step],
    tried: &Tried,
) -> Result<[Vec<Emission>; PARTITIONS], String> {
    let mut runs: [Run<'_>; PARTITIONS] = std::array::from_fn(|partition| Run {
        flow,
        partition,
        records: &kept[partition],
        task: task(flow, partition, Checkpoint::start(0)),
        next: 0,
        furthest: 0,
        pending: Out::default(),
        committed: Vec::new(),
        position: None,
        compacted: Compacted::default(),
        tried,
    });
    // In turn, so that what they share is used by both.
    for (number, step) in steps.iter().enumerate() {
        runs[number % PARTITIONS].step(step)?;
    }
    runs.iter_mut().try_for_each(Run::finish)?;
    Ok(runs.map(|run| run.committed))
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Some(record) = self.records.get(self.next) else { return Ok(()) };
        push(&mut self.task, self.flow, record, &mut self.pending);
        self.furthest = self.furthest.max(self.next);
        if step.flush || step.commit || step.clock.is_some() {
            flush(&mut self.task, self.flow, &mut self.pending);
        }
        if let Some(clock) = step.clock.filter(|_| self.next == self.furthest) {
            let before = self.pending.emissions.len();
            let now_ns = self.clock_ns(clock);
            self.task
                .core
                .anticipate(self.flow, now_ns, &mut self.pending.emissions)
                .map_err(|error| error.to_string())?;
            count(&self.tried.sooner, self.pending.emissions.len() - before);
        }
        self.next += 1;
        if step.commit {
            self.commit()?;
        }
        if step.restart {
            self.restart();
        }
        Ok(())
    }

    /// What the clock may show before the next record: at most a second behind its log time.
    fn clock_ns(&self, part: f64) -> i64 {
        let now_ms = self.records[self.next].log_ms;
        let most_ms = self.records.get(self.next + 1).map_or(now_ms + 20_000, |next| next.log_ms + 1_000);
        (now_ms + ((most_ms - now_ms) as f64 * part) as i64) * MS_NS
    }

    /// Outputs since the last commit and the position together; nothing while replaying, as the worker does.
    fn commit(&mut self) -> Result<(), String> {
        let Some(checkpoint) = self.task.core.checkpoint() else {
            let is_silent = self.pending.emissions.is_empty();
            return if is_silent { Ok(()) } else { Err("a replay wrote something".into()) };
        };
        if checkpoint.replay.offset > checkpoint.position {
            return Err(format!("a checkpoint of the future: {checkpoint:?}"));
        }
        self.committed.append(&mut self.pending.emissions);
        self.position = Some(checkpoint.encode());
        self.compacted.write(self.task.core.take_snapshot(self.flow).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Killed: what was not committed is gone.
    fn restart(&mut self) {
        self.pending = Out::default();
        let decoded = self.position.as_ref().map(|position| Checkpoint::decode("ev-topic", 0, position).expect("ours"));
        let checkpoint = decoded.unwrap_or_else(|| Checkpoint::start(0));
        if self.next % 4 == 3 {
            // Somebody emptied the topic.
            self.compacted.clear();
        }
        let (task, from) = self.compacted.task(self.flow, self.partition as i32, checkpoint);
        count(&self.tried.restored, usize::from(from > checkpoint.replay.offset));
        (self.task, self.next) = (task, from as usize);
        count(&self.tried.restarts, 1);
        count(&self.tried.replays, usize::from(self.task.core.is_replaying()));
    }

    fn finish(&mut self) -> Result<(), String> {
        for record in &self.records[self.next..] {
            push(&mut self.task, self.flow, record, &mut self.pending);
        }
        flush(&mut self.task, self.flow, &mut self.pending);
        // As at the end of a partition.
        self.task.core.end_replay_at(self.records.len() as i64);
        close(&mut self.task, self.flow, &mut self.pending);
        self.commit()
    }
}

fn count(of: &AtomicU64, more: usize) {
    of.fetch_add(more as u64, Ordering::Relaxed);
}

/// The window itself is left out of the values.
fn rows(flow: &StreamFlow, emissions: &[Emission]) -> Written {
    let mut written = vec![Vec::new(); flow.inserts.len()];
    for emission in emissions {
        let (start_ns, _) = emission.window_ns.expect("of a window");
        let schema = emission.batch.schema();
        let columns: Vec<_> = emission.batch.columns().iter().zip(schema.fields()).collect();
        for row in 0..emission.batch.num_rows() {
            let values = columns.iter().filter(|(_, field)| !matches!(field.name().as_str(), "win" | "later"));
            let values = values.map(|(column, _)| array_value_to_string(column, row).expect("prints"));
            written[emission.insert].push((start_ns, values.collect()));
        }
    }
    written
}

/// Milliseconds since 1970 of a time after [`BASE_MS`].
pub fn absolute_ms(time_ms: i64) -> i64 {
    BASE_MS + time_ms
}
