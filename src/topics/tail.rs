//! `topics tail`: records printed as they come, decoded where their type is known.

use super::{
    BusArguments, EXIT_DONE,
    content::Content,
    partitions::{POLL, Patience, Span, Start, spans},
    render::Renderer,
};
use crate::print::Format;
use amoskys_bus::{Change, Reader, ReaderOptions, Record};
use std::{
    collections::HashMap,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// A look into a topic needs no deep queue.
const PREFETCH_BYTES_MAX: usize = 16 << 20;
/// Records between two looks at signals.
const BATCH_RECORDS_MAX: usize = 256;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Envelopes, alerts, feature rows, dead letters and agent status are told by the topic's name and decoded; other topics \
are shown as text or hex, unless --message names what their records are. Records of a partition come in order, those \
of different partitions as the log gives them. Without --follow it ends where the topic ended when it began.

SIGNATURES ARE NOT VERIFIED here: processors do that, and put what fails into the dead-letter topic.

Examples:
  export AMOSKYS_BUS=kafka://127.0.0.1:9092
  amoskys topics tail amoskys.alerts.v1 --follow
  amoskys topics tail amoskys.deadletter.v1 --from -10
  amoskys topics tail amoskys.telemetry.process.v1 --format json --max 100 |
      jq -c '.events[] | select(.exe_deleted) | {pid, exe}'
  amoskys topics tail my.alerts --message Alert --bus local:/var/lib/amoskys/log")]
pub struct TailArguments {
    /// The topic's name
    topic: String,
    #[command(flatten)]
    bus: BusArguments,
    /// earliest, latest (what comes from now on; implies --follow), an offset, or -N for N before the end
    /// [default: earliest, with --follow latest]
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    from: Option<Start>,
    /// Only this partition
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// End after this many records
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Go on with what is written from now on, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// What the records are, by protobuf message, e.g. Envelope or Alert
    #[arg(long, value_name = "NAME")]
    message: Option<String>,
    /// How records are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

pub fn tail(arguments: &TailArguments, out: &mut dyn Write, stop: &AtomicBool) -> anyhow::Result<u8> {
    let pool = amoskys_proto::pool()?;
    let content = Content::of(&arguments.topic, arguments.message.as_deref(), &pool)?;
    let renderer = Renderer::new(pool, content, arguments.format);
    let bus = arguments.bus.open(false)?;
    let mut reader = bus.reader(&ReaderOptions { prefetch_bytes_max: PREFETCH_BYTES_MAX, ..Default::default() })?;
    let follow = arguments.follow || arguments.from == Some(Start::Latest);
    let start = arguments.from.unwrap_or(if follow { Start::Latest } else { Start::Earliest });
    let spans = spans(bus.as_ref(), reader.as_mut(), &arguments.topic, arguments.partition, start)?;
    let mut left = Left::new(&spans, follow, arguments.max);
    for span in spans.iter().filter(|span| left.wants(span)) {
        reader.assign(&span.partition, span.begin)?;
    }
    let mut patience = Patience::new(follow, Instant::now());
    while !left.is_done() && !stop.load(Ordering::Relaxed) {
        step(reader.as_mut(), &mut left, &renderer, &mut patience, out)?;
    }
    Ok(EXIT_DONE)
}

/// One poll and what it brought, printed.
fn step(
    reader: &mut dyn Reader,
    left: &mut Left,
    renderer: &Renderer,
    patience: &mut Patience,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut printed: io::Result<()> = Ok(());
    let mut some = false;
    let polled = reader.poll(POLL, left.records_max(), &mut |record| {
        some = true;
        if printed.is_ok() && left.take(record) {
            printed = renderer.render(record, out);
        }
    });
    printed?;
    out.flush()?;
    match polled {
        Ok(changes) => {
            left.ended(&changes);
            if some {
                patience.heard(Instant::now());
            } else if !left.is_done() {
                patience.silent(Instant::now())?;
            }
            Ok(())
        }
        Err(error) => Ok(patience.failed(error, Instant::now())?),
    }
}

/// What there is still to print.
struct Left {
    /// The ends of partitions being read; `None` when following.
    ends: Option<HashMap<i32, i64>>,
    records: Option<u64>,
}

impl Left {
    fn new(spans: &[Span], follow: bool, records: Option<u64>) -> Self {
        let open = spans.iter().filter(|span| span.begin < span.end);
        let ends = open.map(|span| (span.partition.partition, span.end)).collect();
        Self { ends: (!follow).then_some(ends), records }
    }

    fn wants(&self, span: &Span) -> bool {
        self.ends.as_ref().is_none_or(|ends| ends.contains_key(&span.partition.partition))
    }

    fn is_done(&self) -> bool {
        self.records == Some(0) || self.ends.as_ref().is_some_and(HashMap::is_empty)
    }

    fn records_max(&self) -> usize {
        self.records.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX).min(BATCH_RECORDS_MAX)
    }

    /// Whether the record is one of those wanted; counts it.
    fn take(&mut self, record: &Record<'_>) -> bool {
        if let Some(ends) = &mut self.ends {
            let Some(end) = ends.get(&record.partition).copied() else { return false };
            if record.offset + 1 >= end {
                ends.remove(&record.partition);
            }
            if record.offset >= end {
                return false;
            }
        }
        match &mut self.records {
            Some(0) => false,
            Some(records) => {
                *records -= 1;
                true
            }
            None => true,
        }
    }

    /// Partitions whose last offsets hold no record (transactions leave such) are known to be done by their end.
    fn ended(&mut self, changes: &[Change]) {
        let Some(ends) = &mut self.ends else { return };
        for change in changes {
            if let Change::End { partition, .. } = change {
                ends.remove(&partition.partition);
            }
        }
    }
}
