//! Rows of one partition in, windows and rows out; no bytes. Panes that were sent are taken in [`merging`], what INSERTs make of
//! windows is in [`publishing`], what is done where other SQL had read in [`rebuilding`].

mod merging;
mod publishing;
mod rebuilding;

use super::{
    alignment::{Alignment, Source},
    decode::Taken,
    duplicates::Seen,
    emit::{Emission, Evidence},
    judge::{Judged, judge, parts},
    position::Checkpoint,
    rewind::SentAgain,
    shipment::Shipment,
    snapshot::{Restored, SnapshotRecord, Snapshots},
    stages::Stages,
    task::{TaskCounters, TaskError},
};
use crate::sql::{Failure, Failures, LATE_COLUMN, Query, StreamFlow};
use amoskys_windows::{ReplayPoint, ShipTag, Watermark, WindowOperator};
use arrow::{array::BooleanArray, record_batch::RecordBatch};
use merging::epoch_before;
use rebuilding::Merging;
use std::{sync::Arc, time::Duration};

/// The state of a partition: watermark, panes, and what is done already.
pub struct Core {
    topic: String,
    partition: i32,
    stages: Stages,
    /// Where the columns are that an INSERT of rows wants.
    row_columns: Vec<Option<Vec<usize>>>,
    watermark: Watermark,
    /// Kept where windows are longer than what may be read again.
    snapshots: Option<Snapshots>,
    /// The record that panes were last sealed before, until it is taken.
    sealed_before: Option<i64>,
    /// Which multiple of the stream's `replay_max` the watermark had passed when panes were sealed last.
    epoch: i64,
    next_offset: i64,
    /// Records before this have had their side effects.
    done_before: i64,
    /// What the watermark had passed here is published.
    published_through_ns: i64,
    resume: Watermark,
    replaying: bool,
    /// Where panes were restored that came from records which are read again: the watermark that reading those for them
    /// would begin with.
    reread: Option<Watermark>,
    /// Of a flow of panes that were sent: how far its sources have come, and what waits for them.
    alignment: Option<Alignment>,
    merging: Merging,
    /// While other SQL's records are read again and panes are sent: for each topic the end after which windows have all rows.
    sends_again: Option<SentAgain>,
    /// Up to where panes that are sent away have been, and everybody has been told.
    told_ns: i64,
    shipments: Vec<Shipment>,
    /// Time spent on what INSERTs make of windows.
    emitting: Duration,
    has_told_1970: bool,
    /// What expressions could not be computed for, until it is taken.
    failures: Failures,
    pub counters: TaskCounters,
}

impl Core {
    /// Goes on from the checkpoint's mark with what was `restored`, else from where it says to read again. `sources`: of a
    /// flow of panes that were sent, who sends them.
    pub fn new(
        flow: &StreamFlow,
        (topic, partition): (&str, i32),
        sources: &[Source],
        checkpoint: Checkpoint,
        restored: Option<&Restored>,
    ) -> Result<Self, TaskError> {
        let from = restored.map_or(checkpoint.replay, |restored| restored.mark.point);
        let replaying = from.offset < checkpoint.position;
        let alignment = flow.shuffle.is_some().then(|| {
            // Panes that were sealed at the mark have all that was sent up to it.
            let mut through = ShipTag { watermark_ns: from.watermark.time_ns, is_sealed: restored.is_some() };
            if !replaying {
                through = through.max(ShipTag::at(checkpoint.watermark.time_ns));
            }
            Alignment::new(sources.iter().copied(), through, flow.stream.bounds.state_bytes_max)
        });
        // The column that says whether a row is late stands behind the flow's.
        let known: Vec<&str> = flow.columns.iter().map(String::as_str).chain([LATE_COLUMN]).collect();
        let place = |name: &String| known.iter().position(|known| known == name);
        let row_columns = flow.inserts.iter().map(|insert| match &insert.query {
            Query::Rows(program) => Some(program.columns.iter().filter_map(place).collect()),
            Query::Windows { .. } => None,
        });
        let mut stages = Stages::new(flow, from.watermark.time_ns)?;
        for (index, state, spans) in restored.map_or(&[][..], |restored| &restored.panes) {
            stages.restore(*index, state, spans)?;
        }
        Ok(Self {
            topic: topic.to_owned(),
            partition,
            snapshots: flow.keeps_panes().then(|| restored.map(Snapshots::going_on_from).unwrap_or_default()),
            sealed_before: None,
            epoch: match (&flow.shuffle, restored) {
                (Some(_), None) => epoch_before(from.watermark.time_ns, flow),
                _ => from.watermark.time_ns.div_euclid(flow.stream.replay_max_ns),
            },
            stages,
            row_columns: row_columns.collect(),
            watermark: if replaying { from.watermark } else { checkpoint.watermark },
            next_offset: from.offset,
            done_before: checkpoint.position,
            published_through_ns: checkpoint.watermark.time_ns.max(checkpoint.told_ns),
            resume: checkpoint.watermark,
            replaying,
            reread: restored.filter(|_| replaying).map(|_| checkpoint.replay.watermark),
            alignment,
            // Whoever has committed nothing of windows knows of no claims.
            merging: Merging::new(checkpoint.watermark.time_ns == i64::MIN),
            sends_again: None,
            told_ns: checkpoint.watermark.time_ns,
            shipments: Vec::new(),
            emitting: Duration::ZERO,
            has_told_1970: false,
            failures: Failures::default(),
            counters: TaskCounters::default(),
        })
    }

    /// Records before this have had their side effects.
    pub fn done_before(&self) -> i64 {
        self.done_before
    }

    /// Whether a record at `offset` is the first behind the replay.
    pub fn ends_replay(&self, offset: i64) -> bool {
        self.replaying && !self.merges_anew() && offset >= self.done_before
    }

    pub fn end_replay_at(&mut self, offset: i64) {
        if self.ends_replay(offset) {
            self.end_replay();
        }
    }

    /// The clock may have taken the last owner's watermark further than the records did.
    fn end_replay(&mut self) {
        self.replaying = false;
        self.reread = None;
        self.watermark.advance_to(self.resume.time_ns);
        self.watermark.last_log_time_ns = self.watermark.last_log_time_ns.max(self.resume.last_log_time_ns);
        if let Some(alignment) = &mut self.alignment {
            // Every source had come as far when that was committed.
            alignment.raise(ShipTag::at(self.resume.time_ns));
        }
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    pub fn is_replaying(&self) -> bool {
        self.replaying
    }

    /// Offsets still to be read again.
    pub fn replay_left(&self) -> u64 {
        if self.replaying { u64::try_from(self.done_before - self.next_offset).unwrap_or(0) } else { 0 }
    }

    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Time spent on closing windows and on what INSERTs make of them, since the core was made.
    pub fn emitting(&self) -> Duration {
        self.stages.closing() + self.emitting
    }

    /// Of the flow's shared panes, in their order.
    pub fn operators(&self) -> impl Iterator<Item = &WindowOperator> {
        self.stages.operators()
    }

    /// What to commit now. While replaying, what was committed last still holds.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        if self.replaying {
            return None;
        }
        let here = ReplayPoint { offset: self.next_offset, watermark: self.watermark };
        let oldest = self.stages.oldest().into_iter().chain(self.alignment.as_ref().and_then(Alignment::oldest));
        Some(Checkpoint {
            replay: oldest.min_by_key(|point| point.offset).unwrap_or(here),
            position: self.next_offset,
            watermark: self.watermark,
            told_ns: self.published_through_ns,
            mark: self.snapshots.as_ref().and_then(Snapshots::mark),
        })
    }

    /// Whether [`Core::anticipate`] is worth asking the log for: it would close a window, end a replay, or take the watermark
    /// on by some seconds.
    pub fn would_anticipate(&self, flow: &StreamFlow, now_ns: i64) -> bool {
        const FOLLOW_EVERY_NS: i64 = 5_000_000_000;
        let watermark = self.anticipated(flow, now_ns);
        let is_far = watermark.time_ns.saturating_sub(self.watermark.time_ns) >= FOLLOW_EVERY_NS;
        (self.replaying && (!self.merges_anew() || self.reads_again()))
            || is_far
            || self.stages.next_close_ns(flow).is_some_and(|closes_ns| closes_ns <= watermark.time_ns)
            || self.stages.ships_within(flow, self.told_ns, watermark.time_ns)
    }

    /// The watermark that the clock grants. Where others wait for this partition it is idle even if it never had a record.
    fn anticipated(&self, flow: &StreamFlow, now_ns: i64) -> Watermark {
        let mut watermark = self.watermark;
        if flow.ships() && watermark.last_log_time_ns == i64::MIN {
            watermark.last_log_time_ns = i64::MIN + 1;
        }
        watermark.anticipate(&flow.stream.rules, now_ns);
        Watermark { last_log_time_ns: self.watermark.last_log_time_ns, ..watermark }
    }

    /// Closes what the idle rule will close anyway. For a partition of which nothing was unread at `now_ns`.
    pub fn anticipate(
        &mut self,
        flow: &StreamFlow,
        now_ns: i64,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        if self.replaying && self.merges_anew() {
            self.pass_to_the_end();
            return self.process_panes(flow, Vec::new(), emissions);
        }
        if self.replaying {
            self.end_replay();
        }
        let before = self.watermark.time_ns;
        self.watermark = self.anticipated(flow, now_ns);
        let is_due = self.watermark.time_ns > before || self.claim_is_due();
        if is_due { self.close(flow, self.watermark.time_ns, emissions) } else { Ok(()) }
    }

    /// Closes every window: nothing more will come.
    pub fn close_all(&mut self, flow: &StreamFlow, emissions: &mut Vec<Emission>) -> Result<(), TaskError> {
        self.close(flow, i64::MAX, emissions)
    }

    fn close(&mut self, flow: &StreamFlow, watermark_ns: i64, emissions: &mut Vec<Emission>) -> Result<(), TaskError> {
        let windows = self.stages.close(flow, watermark_ns)?;
        self.emit_windows(flow, &windows, emissions)?;
        self.note_failures(flow);
        self.ship(flow, watermark_ns);
        Ok(())
    }

    /// What is computed again failed before.
    fn note_failures(&mut self, flow: &StreamFlow) {
        let failures = flow.failures.take();
        if !self.replaying {
            self.counters.failed_expressions += failures.iter().map(|failure| failure.rows).sum::<u64>();
            self.failures.add_all(failures);
        }
    }

    /// What expressions could not be computed for since the last call.
    pub fn take_failures(&self) -> Vec<Failure> {
        self.failures.take()
    }

    /// Without taking it.
    pub fn failures(&self) -> Vec<Failure> {
        self.failures.pending()
    }

    /// Notes what is to be sent; not what was sent before a restart.
    fn ship(&mut self, flow: &StreamFlow, watermark_ns: i64) {
        let (span_ns, is_due) = ((self.told_ns, watermark_ns), self.claim_is_due());
        for (panes, mut shipped, is_told_to_all) in self.stages.take_shipped(flow, span_ns, is_due) {
            let topic = flow.panes[panes].ship.as_ref().map(|ship| ship.topic.as_str());
            let whole_after_ns = topic.and_then(|topic| self.sends_again.as_ref()?.get(topic).copied());
            if whole_after_ns.is_none() {
                // Sealed for a record that is read again: it was sealed, and sent, when it first came.
                let replaying = self.replaying;
                let published_ns = self.published_through_ns;
                shipped.retain(|one| if one.tag.is_sealed { !replaying } else { one.tag.watermark_ns > published_ns });
            }
            let has_been_told = whole_after_ns.is_none() && self.replaying;
            if shipped.is_empty() && (!is_told_to_all || has_been_told) {
                continue;
            }
            let furthest = shipped.last().map_or(ShipTag::NONE, |one| one.tag);
            let claim = furthest.max(ShipTag::at(watermark_ns));
            self.shipments.push(Shipment { panes, claim, is_told_to_all, whole_after_ns, shipped });
        }
        if is_due {
            // That was the last.
            self.sends_again = None;
        }
        self.told_ns = self.told_ns.max(watermark_ns);
    }

    /// What is to be sent together with the next checkpoint.
    pub fn take_shipments(&mut self) -> Vec<Shipment> {
        std::mem::take(&mut self.shipments)
    }

    /// Rows of records in their order; `batch` has the flow's columns.
    pub fn process(
        &mut self,
        flow: &StreamFlow,
        batch: RecordBatch,
        taken: &[Taken],
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        let mut refused = TaskCounters::default();
        let judged = judge(flow, batch, taken, &mut self.watermark, &mut refused)?;
        if let Some(last) = taken.last() {
            self.next_offset = last.offset + 1;
        }
        self.look_at_times(flow, &judged.times_ns);
        let (before, shed_before) = (self.stages.counters(), self.stages.shed_rows());
        let rows = judged.batch.num_rows();
        for part in parts(flow, judged, taken, &mut self.epoch) {
            let passed = part.sealed_before.map_or(self.watermark, |point| point.watermark);
            let windows = self.stages.push(flow, &part.rows, passed.time_ns)?;
            if !self.replaying {
                self.emit_rows(flow, &part.rows, emissions)?;
            }
            self.emit_windows(flow, &windows, emissions)?;
            if let Some(point) = part.sealed_before {
                self.seal(flow, point)?;
            }
        }
        self.note_failures(flow);
        self.ship(flow, self.watermark.time_ns);
        if !self.replaying {
            let after = self.stages.counters();
            self.counters.late_rows += after.late_rows - before.late_rows;
            self.counters.dropped_rows += after.dropped_rows - before.dropped_rows;
            self.counters.shed_rows += self.stages.shed_rows() - shed_before;
            self.counters.rows_without_time += refused.rows_without_time;
            self.counters.quarantined_rows += refused.quarantined_rows;
            self.counters.records += taken.len() as u64;
            self.counters.duplicate_records += taken.iter().filter(|record| record.is_duplicate).count() as u64;
            self.counters.rows += rows as u64;
        }
        Ok(())
    }

    /// A number that was meant to count something else than nanoseconds is a time of 1970.
    fn look_at_times(&mut self, flow: &StreamFlow, times_ns: &[i64]) {
        const YEAR_NS: i64 = 365 * 86_400_000_000_000;
        let is_of_1970 = |time_ns: &i64| (1..YEAR_NS).contains(time_ns);
        if !self.has_told_1970 && flow.stream.event_time.is_some() && times_ns.first().is_some_and(is_of_1970) {
            self.has_told_1970 = true;
            tracing::warn!(
                stream = flow.stream.name,
                partition = self.partition,
                "event times are of 1970: a number for a TIMESTAMP counts nanoseconds, for TIMESTAMP(3) milliseconds, for TIMESTAMP(0) seconds"
            );
        }
    }

    /// While replaying nothing is kept: all that has changed is, at the first time after it.
    fn seal(&mut self, flow: &StreamFlow, point: ReplayPoint) -> Result<(), TaskError> {
        self.stages.seal()?;
        if let Some(snapshots) = self.snapshots.as_mut().filter(|_| !self.replaying) {
            let (changed, first_open) = (self.stages.take_changed()?, self.stages.first_open_panes());
            let with_spans = changed.into_iter().map(|(index, state)| {
                let spans = self.stages.spans(index, state.pane).cloned().unwrap_or_default();
                (index, state, spans)
            });
            snapshots.take(flow, point, with_spans.collect(), &first_open);
            self.sealed_before = Some(point.offset);
        }
        Ok(())
    }

    pub fn keeps_snapshots(&self) -> bool {
        self.snapshots.is_some()
    }

    /// The record that panes were sealed before since the last call, where they are kept: what is known of envelopes
    /// there is to be told by [`Core::tell_seen`].
    pub fn take_sealed_before(&mut self) -> Option<i64> {
        self.sealed_before.take()
    }

    pub fn tell_seen(&mut self, seen: Seen) {
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.tell_seen(seen);
        }
    }

    /// What has to be committed together with the next checkpoint.
    pub fn take_snapshot(&mut self, flow: &StreamFlow) -> Result<Vec<SnapshotRecord>, TaskError> {
        Ok(self.snapshots.as_mut().map_or(Ok(Vec::new()), |snapshots| snapshots.records(flow))?)
    }

    fn emit_rows(
        &mut self,
        flow: &StreamFlow,
        judged: &Judged,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        let mut rows = judged.batch.clone();
        if flow.tells_late {
            rows = with_late(&rows, self.stages.late(rows.num_rows()))?;
        }
        for (index, (insert, columns)) in flow.inserts.iter().zip(&self.row_columns).enumerate() {
            let (Query::Rows(program), Some(columns)) = (&insert.query, columns) else { continue };
            let kept = program.run(rows.project(columns)?)?;
            if kept.batch.num_rows() == 0 {
                continue;
            }
            let evidence = |row: usize| {
                let record = judged.records[judged.record_of_row[row] as usize].first.offset;
                self.evidence(record, record)
            };
            let evidence = match &kept.rows {
                Some(rows) => rows.values().iter().map(|&row| evidence(row as usize)).collect(),
                None => (0..kept.batch.num_rows()).map(evidence).collect(),
            };
            self.counters.emitted_rows += kept.batch.num_rows() as u64;
            emissions.push(Emission {
                insert: index,
                batch: kept.batch,
                window_ns: None,
                evidence,
                sources: Vec::new(),
                shed_rows: 0,
            });
        }
        Ok(())
    }

    fn evidence(&self, first_offset: i64, last_offset: i64) -> Evidence {
        Evidence { topic: self.topic.clone(), partition: self.partition, first_offset, last_offset }
    }
}

/// The rows and, behind their columns, whether each is late.
fn with_late(rows: &RecordBatch, late: Vec<bool>) -> Result<RecordBatch, TaskError> {
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(crate::sql::late_field()));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(BooleanArray::from(late)));
    Ok(RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?)
}
