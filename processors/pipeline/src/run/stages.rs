//! The panes of one partition, those over the stream and those over other windows, and how windows cascade.
//!
//! Windows of one level close, and are the rows of the next. A window over windows is whole when the watermark has
//! passed its end by the view's delay; no row of it comes later, so nothing is late above the first level.

use super::{
    alignment::Piece,
    judge::Judged,
    spans::{PaneSpans, Spans},
    task::TaskError,
};
use crate::sql::{PanesSource, SharedPanes, StreamFlow, Template, WindowRows, behind};
use amoskys_windows::{
    Alike, ClosedWindow, Counters, Grid, Hop, Origin, PaneState, ReplayPoint, Rows, Shipped, WindowError,
    WindowOperator,
};
use arrow::{array::ArrayRef, record_batch::RecordBatch};
use datafusion::{error::DataFusionError, physical_expr::PhysicalExpr};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What closed at once: by the watermark that closes it, the window's end and its start; for each view its rows.
pub type Windows = BTreeMap<(i64, i64, i64), Vec<Option<Closed>>>;

/// A closed window of one view, as the queries above see it.
#[derive(Debug, Clone)]
pub struct Closed {
    pub batch: RecordBatch,
    /// Of sessions, all that were over at once, and where among them these are.
    pub among: Option<(RecordBatch, usize)>,
    pub origin: Origin,
    /// Of a shuffle: the records that were summed up.
    pub spans: Spans,
}

/// An operator for each of the flow's [`SharedPanes`].
pub struct Stages {
    stages: Vec<Stage>,
    /// By row of the last push, those that any of the stream's panes found late.
    late: Vec<u32>,
    /// Of a shuffle: what its panes come from.
    spans: PaneSpans,
}

struct Stage {
    operator: WindowOperator,
    /// Where the program's columns are in the stream's batch.
    columns: Vec<usize>,
    grid: Grid,
}

impl Stages {
    /// `closed_through_ns` is the watermark where reading begins.
    pub fn new(flow: &StreamFlow, closed_through_ns: i64) -> Result<Self, WindowError> {
        let bounds = flow.pane_bounds();
        let place = |name: &String| flow.columns.iter().position(|known| known == name);
        let stage = |shared: &SharedPanes| -> Result<Stage, WindowError> {
            let columns = match &shared.source {
                PanesSource::Stream(program) => program.columns.iter().filter_map(place).collect(),
                PanesSource::Windows(_) | PanesSource::Shipped => Vec::new(),
            };
            let hops: Vec<Hop> = shared.outputs.iter().map(|output| output.hop).collect();
            let grid = Grid::shared(&hops).unwrap_or(Grid::of(hops[0]));
            let operator = shared.operator(bounds, behind(closed_through_ns, shared.delay_ns()))?;
            Ok(Stage { operator, columns, grid })
        };
        let stages = flow.panes.iter().map(stage).collect::<Result<_, _>>()?;
        Ok(Self { stages, late: Vec::new(), spans: PaneSpans::default() })
    }

    pub fn operators(&self) -> impl Iterator<Item = &WindowOperator> {
        self.stages.iter().map(|stage| &stage.operator)
    }

    /// From where to read again to rebuild every open window.
    pub fn oldest(&self) -> Option<ReplayPoint> {
        self.operators().filter_map(WindowOperator::oldest).min_by_key(|point| point.offset)
    }

    /// The watermark that closes the next window.
    pub fn next_close_ns(&self, flow: &StreamFlow) -> Option<i64> {
        let closes = self
            .stages
            .iter()
            .zip(&flow.panes)
            .filter_map(|(stage, shared)| Some(stage.operator.next_end_ns()?.saturating_add(shared.delay_ns())));
        closes.min()
    }

    /// What became of the stream's rows, all views together.
    pub fn counters(&self) -> Counters {
        let all = self.operators().flat_map(WindowOperator::counters);
        all.fold(Counters::default(), |sum, counters| Counters {
            late_rows: sum.late_rows + counters.late_rows,
            dropped_rows: sum.dropped_rows + counters.dropped_rows,
            ..sum
        })
    }

    /// Rows left out because their pane was at its bounds, for each of the panes that would have had them.
    pub fn shed_rows(&self) -> u64 {
        self.operators().map(WindowOperator::shed_rows).sum()
    }

    /// Time spent on closing windows.
    pub fn closing(&self) -> Duration {
        self.operators().map(WindowOperator::closing).sum()
    }

    /// Which of the `rows` of the last push came after one of their windows had closed.
    pub fn late(&self, rows: usize) -> Vec<bool> {
        let mut late = vec![false; rows];
        self.late.iter().for_each(|&row| late[row as usize] = true);
        late
    }

    /// Adds rows of the stream and closes what the watermark behind them has passed.
    pub fn push(&mut self, flow: &StreamFlow, judged: &Judged, watermark_ns: i64) -> Result<Windows, TaskError> {
        self.late.clear();
        self.advance(flow, watermark_ns, Some(judged))
    }

    /// Seals all panes: what comes later is merged behind what is in them.
    pub fn seal(&mut self) -> Result<(), WindowError> {
        self.stages.iter_mut().try_for_each(|stage| stage.operator.seal())
    }

    /// Sealed panes that rows came for since the last call, with their index among the flow's.
    pub fn take_changed(&mut self) -> Result<Vec<(usize, PaneState)>, WindowError> {
        let mut changed = Vec::new();
        for (index, stage) in self.stages.iter_mut().enumerate() {
            changed.extend(stage.operator.take_changed()?.into_iter().map(|state| (index, state)));
        }
        Ok(changed)
    }

    /// For each of the flow's panes the first that an open window is left for.
    pub fn first_open_panes(&self) -> Vec<Option<i64>> {
        self.operators().map(WindowOperator::first_open_pane).collect()
    }

    /// What a pane comes from, in a shuffle.
    pub fn spans(&self, index: usize, pane: i64) -> Option<&Spans> {
        self.spans.of(index, pane)
    }

    /// Puts a pane back that was taken by [`Stages::take_changed`], with what it comes from.
    pub fn restore(&mut self, index: usize, state: &PaneState, spans: &Spans) -> Result<(), WindowError> {
        if !spans.is_empty() {
            self.spans.add(index, state.pane, spans);
        }
        self.stages.get_mut(index).map_or(Ok(()), |stage| stage.operator.restore(state))
    }

    /// Adds what a partition of a stream sent.
    pub fn absorb(&mut self, piece: &Piece) -> Result<(), WindowError> {
        let source = piece.id.source;
        let Some(stage) = self.stages.get_mut(source.panes) else { return Ok(()) };
        self.spans.add(source.panes, piece.id.pane, &Spans::from([(source, piece.offsets)]));
        stage.operator.absorb(&piece.state)
    }

    /// What is to be sent: of each of the flow's panes that are sent, those since the last call, and whether all are to hear how
    /// far they have come: where a window of any of them may have ended after `from_ns` and at or before `to_ns`. Who merges waits
    /// for all panes alike, so those of long windows would hold up short ones. `is_due`: they are to hear of it in any case.
    pub fn take_shipped(
        &mut self,
        flow: &StreamFlow,
        (from_ns, to_ns): (i64, i64),
        is_due: bool,
    ) -> Vec<(usize, Vec<Shipped>, bool)> {
        let ends = is_due || self.ships_within(flow, from_ns, to_ns);
        let ships =
            self.stages.iter_mut().zip(&flow.panes).enumerate().filter(|(_, (_, shared))| shared.ship.is_some());
        let taken = ships.map(|(index, (stage, _))| (index, stage.operator.take_shipped(), ends));
        taken.filter(|(_, shipped, ends)| *ends || !shipped.is_empty()).collect()
    }

    /// Whether a window of panes that are sent may end after `from_ns` and at or before `to_ns`.
    pub fn ships_within(&self, flow: &StreamFlow, from_ns: i64, to_ns: i64) -> bool {
        let ships = self.stages.iter().zip(&flow.panes).filter(|(_, shared)| shared.ship.is_some());
        ships.into_iter().any(|(stage, _)| stage.operator.ends_within(from_ns, to_ns))
    }

    /// Closes what the watermark has passed.
    pub fn close(&mut self, flow: &StreamFlow, watermark_ns: i64) -> Result<Windows, TaskError> {
        self.advance(flow, watermark_ns, None)
    }

    fn advance(&mut self, flow: &StreamFlow, watermark_ns: i64, judged: Option<&Judged>) -> Result<Windows, TaskError> {
        let mut windows = Windows::new();
        for (index, (stage, shared)) in self.stages.iter_mut().zip(&flow.panes).enumerate() {
            let mut closed = Vec::new();
            match (&shared.source, judged) {
                (PanesSource::Stream(program), Some(judged)) => {
                    let kept = program.run(judged.batch.project(&stage.columns)?)?;
                    let kept_rows = kept.rows.as_ref().map(|rows| rows.values().as_ref());
                    stage.push_rows(shared, judged, &kept.batch, kept_rows, watermark_ns, &mut closed)?;
                    let late = stage.operator.late().iter();
                    self.late.extend(late.map(|&row| kept_rows.map_or(row, |rows| rows[row as usize])));
                }
                (PanesSource::Stream(_), None) | (PanesSource::Shipped, _) => {
                    stage.operator.close(watermark_ns, &mut closed)?;
                }
                (PanesSource::Windows(rows), _) => {
                    for (&(_, end_ns, start_ns), inputs) in &windows {
                        stage.push_window(flow, shared, rows, (start_ns, end_ns), inputs)?;
                        if flow.shuffle.is_some() {
                            let pane = stage.grid.pane_of(rows.time_ns(start_ns, end_ns));
                            let below = rows.views.iter().filter_map(|&view| inputs[view].as_ref());
                            below.for_each(|closed| self.spans.add(index, pane, &closed.spans));
                        }
                    }
                    stage.operator.close(behind(watermark_ns, rows.delay_ns), &mut closed)?;
                }
            }
            for window in &closed {
                let view = shared.views[window.output];
                let closes_ns = window.end_ns.saturating_add(flow.views[view].delay_ns);
                let batch = flow.views[view].batch(window)?;
                let spans = |panes: (i64, i64)| match flow.shuffle {
                    None => Spans::new(),
                    Some(_) => self.spans.over(index, panes),
                };
                let mut put = |start_ns: i64, end_ns: i64, closed: Closed| {
                    let inputs = windows.entry((closes_ns, end_ns, start_ns));
                    inputs.or_insert_with(|| vec![None; flow.views.len()])[view] = Some(closed);
                };
                if window.sessions.is_empty() {
                    let (origin, spans) = (window.origin, spans(window.panes));
                    put(window.start_ns, window.end_ns, Closed { batch, among: None, origin, spans });
                    continue;
                }
                let mut from = 0;
                for Alike { rows, start_ns, end_ns, panes, origin } in window.sessions.iter() {
                    let (own, among) = (batch.slice(from, *rows), Some((batch.clone(), from)));
                    put(*start_ns, *end_ns, Closed { batch: own, among, origin: *origin, spans: spans(*panes) });
                    from += rows;
                }
            }
            if let (Some(_), Some(first)) = (&flow.shuffle, stage.operator.first_held_pane()) {
                self.spans.forget_before(index, first);
            }
        }
        Ok(windows)
    }
}

impl Stage {
    fn push_rows(
        &mut self,
        shared: &SharedPanes,
        judged: &Judged,
        batch: &RecordBatch,
        rows: Option<&[u32]>,
        watermark_ns: i64,
        closed: &mut Vec<ClosedWindow>,
    ) -> Result<(), TaskError> {
        let (keys, columns) = (evaluate(&shared.keys, batch)?, evaluate(&shared.columns, batch)?);
        let picked = rows.map(|rows| judged.pick(rows));
        let (times_ns, watermarks_ns, record_of_row) = match &picked {
            Some((times, watermarks, records)) => (times.as_slice(), watermarks.as_slice(), records.as_slice()),
            None => (judged.times_ns.as_slice(), judged.watermarks_ns.as_slice(), judged.record_of_row.as_slice()),
        };
        let rows =
            Rows { times_ns, watermarks_ns, record_of_row, records: &judged.records, keys: &keys, columns: &columns };
        Ok(self.operator.push(&rows, watermark_ns, closed)?)
    }

    /// Adds the rows of a closed window, if it is one of those that these panes are over.
    fn push_window(
        &mut self,
        flow: &StreamFlow,
        shared: &SharedPanes,
        source: &WindowRows,
        (start_ns, end_ns): (i64, i64),
        inputs: &[Option<Closed>],
    ) -> Result<(), TaskError> {
        let Some((batch, origin)) = rows_of(flow, &source.views, &source.template, inputs)? else { return Ok(()) };
        if batch.num_rows() == 0 {
            // Some of the records alone might give a row, so a restart must not begin among them.
            return Ok(self.operator.note(source.time_ns(start_ns, end_ns), origin)?);
        }
        let (keys, columns) = (evaluate(&shared.keys, &batch)?, evaluate(&shared.columns, &batch)?);
        let rows = Rows {
            times_ns: &vec![source.time_ns(start_ns, end_ns); batch.num_rows()],
            // What is closed already says which of its windows are open.
            watermarks_ns: &vec![i64::MIN; batch.num_rows()],
            record_of_row: &vec![0; batch.num_rows()],
            records: &[origin],
            keys: &keys,
            columns: &columns,
        };
        Ok(self.operator.push(&rows, i64::MIN, &mut Vec::new())?)
    }
}

/// What a plan makes of a window of these views, and the records that it comes from; `None` when no view has a row in it.
pub fn rows_of(
    flow: &StreamFlow,
    views: &[usize],
    template: &Template,
    inputs: &[Option<Closed>],
) -> Result<Option<(RecordBatch, Origin)>, DataFusionError> {
    let origins = views.iter().filter_map(|&view| Some(inputs[view].as_ref()?.origin));
    let Some(origin) = origins.reduce(Origin::and) else { return Ok(None) };
    // A view that has no row in it says nothing.
    let batch = |&view: &usize| inputs[view].as_ref().map_or_else(|| flow.views[view].empty(), |of| of.batch.clone());
    Ok(Some((template.run(views.iter().map(batch).collect())?, origin)))
}

fn evaluate(expressions: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>, DataFusionError> {
    expressions.iter().map(|expression| expression.evaluate(batch)?.into_array(batch.num_rows())).collect()
}
