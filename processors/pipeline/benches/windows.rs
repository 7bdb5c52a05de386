//! Nanoseconds of CPU per event from envelope to closed window, by stage, without a log: one partition, batches of
//! 8,000 rows, 10,000 keys, 20 aggregates, windows that slide by a second and are 5 s to 1440 s long, and 1 to 20 views
//! (of 5 s, 6 s, 7 s …) that share panes; also a million keys, a key that half of the events are of, and sessions: of keys that
//! are always there, cut every minute, and of a million that seldom are, of which one row in six or so begins and ends one;
//! and an expression that cannot be computed for some of the rows.
//!
//! Run: `cargo bench --workspace --profile dev --bench windows -- [SECONDS_OF_EVENT_TIME] [NAME]`; NAME: only lines
//! with this in their name. First the stages, each
//! called by itself, then all of it as a worker calls it; "the rest" is what only the whole does: the watermark row by
//! row, slicing batches, the plan above the windows. "Close" is what emitting costs, and beside it, in milliseconds of
//! CPU, the median and the 99th percentile of one second's windows. Windows are full before the clock is read, of a
//! fifth of the events per second that are counted, so that filling 1440 s does not take for ever. Making the events is
//! not counted. Needs 8 GB of memory for 1440 s.

mod load;

use amoskys_bus::Record;
use amoskys_columns::{Decoder, Layout, Limits};
use amoskys_pipeline::{
    run::{Checkpoint, Task, Verify},
    sql::{Dataflow, Format, PanesSource, StreamFlow},
};
use amoskys_proto::{EnvelopeView, Signer};
use amoskys_windows::{PaneBounds, ReplayPoint, Rows, Watermark, WindowOperator};
use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::TimestampNanosecondType,
};
use load::{AGGREGATES, EVENTS_PER_ENVELOPE, EVENTS_PER_SECOND, Load, Population, TOPIC, plan, plan_over};
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
    /// Each time that windows closed.
    closings_ns: Vec<u64>,
    state_bytes: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let seconds: usize = arguments.first().map_or(20, |text| text.parse().expect("seconds of event time"));
    let wanted = arguments.get(1).map_or("", String::as_str);
    println!(
        "| windows | decode | row program | keys, panes | close | the rest | ns per event | one closing, p50, p99 | state |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let sizes = |views: u32| (5..5 + views).collect::<Vec<u32>>();
    let usual = Population::USUAL;
    let million = Population { hosts: 1_000, processes: 1_000, ..usual };
    let hot = Population { has_hot_key: true, ..usual };
    let sliding = |aggregates: &str, sizes_s: &[u32]| {
        (plan(aggregates, sizes_s, u32::MAX), *sizes_s.iter().max().expect("a size") as usize + 3)
    };
    let sessions = |gap_s: u32, longest_s: usize| {
        let window = format!("session(event_time, INTERVAL '{gap_s} seconds', INTERVAL '{longest_s} seconds')");
        (plan_over(AGGREGATES, &[window], u32::MAX), longest_s + 2 * gap_s as usize)
    };
    let failing = |divisor: &str| AGGREGATES.replace("max(flags)", &format!("max(flags / ({divisor}))"));
    let cases: [(&str, (Dataflow, usize), Population); 16] = [
        ("5 s/1 s, count alone", sliding("count(*) AS events", &[5]), usual),
        ("5 s/1 s", sliding(AGGREGATES, &[5]), usual),
        ("60 s/1 s", sliding(AGGREGATES, &[60]), usual),
        ("300 s/1 s", sliding(AGGREGATES, &[300]), usual),
        ("1440 s/1 s", sliding(AGGREGATES, &[1440]), usual),
        ("5 views, 5 to 9 s", sliding(AGGREGATES, &sizes(5)), usual),
        ("20 views, 5 to 24 s", sliding(AGGREGATES, &sizes(20)), usual),
        ("5 s/1 s, 1 M keys", sliding(AGGREGATES, &[5]), million),
        ("60 s/1 s, 1 M keys", sliding(AGGREGATES, &[60]), million),
        ("60 s/1 s, half of the events of one key", sliding(AGGREGATES, &[60]), hot),
        ("sessions, gap 5 s, cut every 60 s", sessions(5, 60), usual),
        ("sessions, gap 5 s, 1 M keys", sessions(5, 60), million),
        ("a division that fails for no row", sliding(&failing("1 + CAST(bytes AS BIGINT) % 1000"), &[5]), usual),
        ("a division that fails for 1 row in 1,000", sliding(&failing("CAST(bytes AS BIGINT) % 1000"), &[5]), usual),
        ("a division that fails for 1 row in 10", sliding(&failing("CAST(bytes AS BIGINT) % 10"), &[5]), usual),
        ("a division that fails for every row", sliding(&failing("CAST(bytes AS BIGINT) % 1"), &[5]), usual),
    ];
    for (name, (mut dataflow, warm_s), population) in cases.into_iter().filter(|(name, ..)| name.contains(wanted)) {
        let flow = dataflow.streams.pop().expect("a stream");
        let mut stages = measure(&flow, population, warm_s, seconds);
        let each = |ns: u64| ns as f64 / stages.events as f64;
        let parts = stages.decode_ns + stages.rows_ns + stages.panes_ns + stages.close_ns;
        stages.closings_ns.sort_unstable();
        let quantile = |of: usize| stages.closings_ns[(stages.closings_ns.len() - 1) * of / 100] as f64 / 1e6;
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | **{:.0}** | {:.1} ms, {:.1} ms | {} MB |",
            each(stages.decode_ns),
            each(stages.rows_ns),
            each(stages.panes_ns),
            each(stages.close_ns),
            each(stages.whole_ns) - each(parts),
            each(stages.whole_ns),
            quantile(50),
            quantile(99),
            stages.state_bytes / 1_000_000,
        );
    }
}

/// One after the other, so that only one of them holds state.
fn measure(flow: &StreamFlow, population: Population, warm_s: usize, counted_s: usize) -> Stages {
    let mut stages = Stages::default();
    let mut apart = Apart::new(flow);
    feed(population, warm_s, counted_s, |envelopes, _, counts| {
        if !counts {
            stages = Stages::default();
        }
        apart.run(envelopes, &mut stages);
        stages.events += ROWS_PER_BATCH as u64;
    });
    stages.state_bytes = apart.operator.bytes();
    drop(apart);
    let mut task = Task::new(flow, TOPIC, 0, Verify::Off, Checkpoint::start(0), None).expect("a task");
    feed(population, warm_s, counted_s, |envelopes, offset, counts| {
        let ((), ns) = timed(|| whole(flow, &mut task, envelopes, offset));
        stages.whole_ns += if counts { ns } else { 0 };
    });
    assert!(task.core.counters.closed_windows as usize >= counted_s, "windows close");
    stages
}

/// Hands over batches, their first offset, and whether they count.
fn feed(population: Population, warm_s: usize, counted_s: usize, mut take: impl FnMut(&[Vec<u8>], i64, bool)) {
    const SPARSER: u64 = 5;
    let mut load = Load::new(Signer::generate().expect("random bytes"), 1, population);
    let batches = |seconds: usize, per_second: u64| seconds * per_second as usize / ROWS_PER_BATCH;
    let warm = batches(warm_s, EVENTS_PER_SECOND / SPARSER);
    load.events_per_second = EVENTS_PER_SECOND / SPARSER;
    for batch in 0..warm + batches(counted_s, EVENTS_PER_SECOND) {
        if batch == warm {
            load.events_per_second = EVENTS_PER_SECOND;
        }
        let envelopes: Vec<Vec<u8>> = (0..ENVELOPES_PER_BATCH).map(|_| load.next_envelope().1).collect();
        take(&envelopes, (batch * ENVELOPES_PER_BATCH) as i64, batch >= warm);
    }
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
        let operator = flow.panes[0].operator(PaneBounds::NONE, i64::MIN).expect("an operator");
        Self { flow, decoder, operator, watermark: Watermark::default() }
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
        let shared = &self.flow.panes[0];
        let PanesSource::Stream(program) = &shared.source else { panic!("panes over the stream") };
        let ((keys, columns), ns) = timed(|| {
            let places = program.columns.iter().map(|name| batch.schema().index_of(name).expect("is decoded"));
            let places: Vec<usize> = places.collect();
            let kept = program.run(batch.project(&places).expect("columns")).expect("rows").batch;
            let evaluate = |expression: &std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>| -> ArrayRef {
                expression.evaluate(&kept).and_then(|value| value.into_array(kept.num_rows())).expect("a column")
            };
            let keys: Vec<ArrayRef> = shared.keys.iter().map(evaluate).collect();
            (keys, shared.columns.iter().map(evaluate).collect::<Vec<ArrayRef>>())
        });
        stages.rows_ns += ns;
        // The watermark of the last batch: nothing is late, so all windows close in `close`.
        let (before, watermarks_ns) = (self.watermark.time_ns, vec![self.watermark.time_ns; times_ns.len()]);
        let (records, record_of_row) =
            ([ReplayPoint { offset: 0, watermark: self.watermark }.into()], vec![0; times_ns.len()]);
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
        let ((), ns) = timed(|| self.operator.close(watermark_ns, &mut closed).expect("windows close"));
        stages.close_ns += ns;
        stages.closings_ns.extend((!closed.is_empty()).then_some(ns));
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
