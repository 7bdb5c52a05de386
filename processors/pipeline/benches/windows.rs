//! Nanoseconds of CPU per event from envelope to closed window, by stage, without a log: one partition, batches of
//! 8,000 rows, 10,000 keys, 20 aggregates, windows of 5 s and of 60 s that slide by a second.
//!
//! Run: `cargo bench --workspace --profile dev --bench windows -- [SECONDS_OF_EVENT_TIME]`. First the stages, each
//! called by itself, then all of it as a worker calls it; "the rest" is what only the whole does: the watermark row by
//! row, slicing batches, the plan above the windows. Windows are full before the clock is read. Making the events is
//! not counted.

mod load;

use amoskys_bus::Record;
use amoskys_columns::{Decoder, Layout, Limits};
use amoskys_pipeline::{
    run::{Checkpoint, Task, Verify},
    sql::{Format, StreamFlow},
};
use amoskys_proto::{EnvelopeView, Signer};
use amoskys_windows::{ReplayPoint, Rows, Watermark, WindowOperator};
use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::TimestampNanosecondType,
};
use load::{AGGREGATES, EVENTS_PER_ENVELOPE, EVENTS_PER_SECOND, Load, TOPIC, plan};
use rustix::time::{ClockId, clock_gettime};

const ENVELOPES_PER_BATCH: usize = 16;
const ROWS_PER_BATCH: usize = ENVELOPES_PER_BATCH * EVENTS_PER_ENVELOPE;

/// CPU time that stages took, by their place in the table.
#[derive(Default)]
struct Stages {
    decode_ns: u64,
    rows_ns: u64,
    panes_ns: u64,
    close_ns: u64,
    whole_ns: u64,
    events: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let seconds: usize = arguments.first().map_or(20, |text| text.parse().expect("seconds of event time"));
    println!("| windows | aggregates | decode | row program | keys, panes | close | the rest | ns per event |");
    println!("|---|---|---|---|---|---|---|---|");
    for (size_s, aggregates, name) in [(5, "count(*) AS events", 1), (5, AGGREGATES, 20), (60, AGGREGATES, 20)] {
        let flow = plan(aggregates, size_s, u32::MAX).streams.pop().expect("a stream");
        let stages = measure(&flow, size_s as usize + 3, seconds);
        let each = |ns: u64| ns as f64 / stages.events as f64;
        let parts = stages.decode_ns + stages.rows_ns + stages.panes_ns + stages.close_ns;
        println!(
            "| {size_s} s/1 s | {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | **{:.0}** |",
            each(stages.decode_ns),
            each(stages.rows_ns),
            each(stages.panes_ns),
            each(stages.close_ns),
            each(stages.whole_ns) - each(parts),
            each(stages.whole_ns),
        );
    }
}

fn measure(flow: &StreamFlow, warm_s: usize, counted_s: usize) -> Stages {
    let mut stages = Stages::default();
    let mut load = Load::new(Signer::generate().expect("random bytes"), 1);
    let mut apart = Apart::new(flow);
    let mut task = Task::new(flow, TOPIC, 0, Verify::Off, Checkpoint::start(0)).expect("a task");
    let batches_per_second = EVENTS_PER_SECOND as usize / ROWS_PER_BATCH;
    for batch in 0..(warm_s + counted_s) * batches_per_second {
        let envelopes: Vec<Vec<u8>> = (0..ENVELOPES_PER_BATCH).map(|_| load.next_envelope().1).collect();
        if batch == warm_s * batches_per_second {
            stages = Stages::default();
        }
        apart.run(&envelopes, &mut stages);
        let offset = (batch * ENVELOPES_PER_BATCH) as i64;
        stages.whole_ns += timed(|| whole(flow, &mut task, &envelopes, offset)).1;
        stages.events += ROWS_PER_BATCH as u64;
    }
    assert!(task.core.counters.closed_windows as usize >= counted_s, "windows close");
    stages
}

fn whole(flow: &StreamFlow, task: &mut Task, envelopes: &[Vec<u8>], first_offset: i64) {
    for (offset, payload) in (first_offset..).zip(envelopes) {
        let log_time_ms = 1_800_000_000_000;
        task.push(&Record { topic: TOPIC, partition: 0, offset, log_time_ms, key: None, payload, headers: Vec::new() });
    }
    let (mut emissions, mut dead) = (Vec::new(), Vec::new());
    task.flush(flow, &mut emissions, &mut dead).expect("rows are computed");
    assert!(dead.is_empty() && emissions.is_empty());
}

/// The stages, each called by itself.
struct Apart<'a> {
    flow: &'a StreamFlow,
    decoder: Decoder,
    operator: WindowOperator,
    watermark: Watermark,
}

impl<'a> Apart<'a> {
    fn new(flow: &'a StreamFlow) -> Self {
        let Format::Envelope { batch } = &flow.stream.format else { panic!("the stream is of envelopes") };
        let columns: Vec<&str> = flow.columns.iter().map(String::as_str).collect();
        let decoder = Decoder::new(Layout::batch(batch, &columns).expect("a layout"), Limits::default());
        let view = &flow.views[0];
        let operator = WindowOperator::new(view.hop, view.key_schema.clone(), view.aggregates.clone(), i64::MIN);
        Self { flow, decoder, operator: operator.expect("an operator"), watermark: Watermark::default() }
    }

    fn run(&mut self, envelopes: &[Vec<u8>], stages: &mut Stages) {
        let (batch, ns) = timed(|| {
            for envelope in envelopes {
                let envelope = EnvelopeView::parse(envelope).expect("an envelope");
                self.decoder.push(envelope.payload).expect("a payload");
            }
            self.decoder.finish().expect("a batch")
        });
        stages.decode_ns += ns;
        let times = batch.column_by_name("event_time").expect("event_time is decoded").clone();
        let times_ns = times.as_primitive::<TimestampNanosecondType>().values();
        let view = &self.flow.views[0];
        let ((keys, columns), ns) = timed(|| {
            let places = view.program.columns.iter().map(|name| batch.schema().index_of(name).expect("is decoded"));
            let places: Vec<usize> = places.collect();
            let kept = view.program.run(batch.project(&places).expect("columns")).expect("rows").batch;
            let evaluate = |expression: &std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>| -> ArrayRef {
                expression.evaluate(&kept).and_then(|value| value.into_array(kept.num_rows())).expect("a column")
            };
            let keys: Vec<ArrayRef> = view.keys.iter().map(evaluate).collect();
            (keys, view.columns.iter().map(evaluate).collect::<Vec<ArrayRef>>())
        });
        stages.rows_ns += ns;
        // The watermark of the last batch: nothing is late, so all windows close in `close`.
        let (before, watermarks_ns) = (self.watermark.time_ns, vec![self.watermark.time_ns; times_ns.len()]);
        let (records, record_of_row) =
            ([ReplayPoint { offset: 0, watermark: self.watermark }], vec![0; times_ns.len()]);
        let rows = Rows {
            times_ns,
            watermarks_ns: &watermarks_ns,
            record_of_row: &record_of_row,
            records: &records,
            keys: &keys,
            columns: &columns,
        };
        let mut closed = Vec::new();
        stages.panes_ns += timed(|| self.operator.push(&rows, before, &mut closed).expect("rows are added")).1;
        assert!(closed.is_empty());
        times_ns.iter().for_each(|&time_ns| self.watermark.observe(&self.flow.stream.rules, time_ns));
        let watermark_ns = self.watermark.time_ns;
        stages.close_ns += timed(|| self.operator.close(watermark_ns, &mut closed).expect("windows close")).1;
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let now = || clock_gettime(ClockId::ThreadCPUTime);
    let before = now();
    let result = work();
    let after = now();
    let ns = (after.tv_sec - before.tv_sec) * 1_000_000_000 + (after.tv_nsec - before.tv_nsec);
    (result, ns as u64)
}
