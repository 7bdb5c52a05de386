//! Groups that do not lie within a partition of their stream: the stream's partitions sum up their own rows and send the
//! panes to a topic whose partitions hold whole groups.
//!
//! The flow of the stream has the panes with a [`Ship`]; the flow of the topic has panes of the same aggregates whose source
//! is [`PanesSource::Shipped`], and everything above them. Deliberately not here: which groups are sent ([`super::distribute`]),
//! what is sent and when (`run::shipment`), how the senders are waited for (`run::alignment`).

use super::{
    Format, OnError, PanesSource, RECORD_ROWS_MAX, StateBounds, Stream, StreamFlow,
    distribute::Spread,
    panes::{Around, shared_panes},
    statics::StaticTable,
};
use amoskys_windows::WatermarkRules;
use arrow::datatypes::{Schema, TimeUnit};
use datafusion::{error::Result, logical_expr::LogicalPlan};
use std::sync::Arc;

/// Where panes are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ship {
    pub topic: String,
    /// Which panes of the topic's flow they are for.
    pub panes: usize,
    /// Key columns that decide the partition; none: one partition has all.
    pub key: Vec<usize>,
    /// Of all that decides what is sent to the topic, of all its panes: who finds another one cannot use it.
    pub digest: String,
}

/// What a flow of sent panes is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Shuffle {
    /// Behind the group's name in the topic's.
    pub name: String,
    /// Names of the streams, in order.
    pub streams: Vec<String>,
    /// Which windowed views it has, and by what they are sent.
    pub(super) spread: Vec<Spread>,
    /// Who sends to each of the flow's panes, by their index; `None` for panes over windows.
    pub sources: Vec<Option<ShipSource>>,
}

/// A stream whose partitions all send panes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShipSource {
    pub topic: String,
    pub digest: String,
}

impl Shuffle {
    pub(super) fn new(name: String, streams: Vec<String>) -> Self {
        Self { name, streams, spread: Vec::new(), sources: Vec::new() }
    }

    /// Whether views that are sent like this can be here: none is sent by something else already.
    pub(super) fn takes(&self, spread: &[Spread]) -> bool {
        let agrees = |one: &Spread| self.spread.iter().all(|known| known.aggregate != one.aggregate || known == one);
        spread.iter().all(agrees)
    }

    pub(super) fn add(&mut self, spread: &[Spread]) {
        for one in spread {
            if !self.spread.contains(one) {
                self.spread.push(one.clone());
            }
        }
    }
}

impl Stream {
    /// The topic of a shuffle as a stream of its own. Its bounds are the least of those of the `streams`, and what may be read
    /// again is what may be of each.
    pub(super) fn of_shuffle(name: &str, streams: &[&Stream]) -> Self {
        let least = |one: usize, other: usize| one.min(other);
        let bounds = streams.iter().map(|stream| stream.bounds).reduce(|one, other| StateBounds {
            keys_max: least(one.keys_max, other.keys_max),
            state_bytes_max: least(one.state_bytes_max, other.state_bytes_max),
        });
        let replay_max_ns = streams.iter().map(|stream| stream.replay_max_ns).min();
        Self {
            name: format!("shuffle of {name}"),
            topic: format!("amoskys.shuffle.{name}.v1"),
            format: Format::Panes,
            columns: Arc::new(Schema::empty()),
            event_time: None,
            event_time_unit: TimeUnit::Nanosecond,
            // Lateness, skew and idleness are judged where the rows are.
            rules: WatermarkRules { lateness_ns: 0, max_skew_ns: i64::MAX, idle_ns: None },
            bounds: bounds.unwrap_or_default(),
            replay_max_ns: replay_max_ns.unwrap_or(i64::MAX),
            framing: None,
            on_error: OnError::default(),
            record_rows_max: RECORD_ROWS_MAX,
            retention_ns: None,
            partition_key: None,
        }
    }
}

/// Lets the streams' flows send what the shuffled flow at `index` wants.
pub(super) fn connect(
    flows: &mut [StreamFlow],
    index: usize,
    around: Around<'_>,
    statics: &[Arc<StaticTable>],
) -> Result<()> {
    let panes = shared_panes(&flows[index].views, around)?;
    let sent = shared_panes(&flows[index].views, around)?;
    let topic = flows[index].stream.topic.clone();
    let mut sources = Vec::new();
    flows[index].panes = panes;
    let digest = digest(flows, index, statics)?;
    for (place, mut shared) in sent.into_iter().enumerate() {
        let PanesSource::Stream(program) = &shared.source else {
            sources.push(None);
            continue;
        };
        let flow = &mut flows[index];
        let key = flow.views[shared.views[0]].shuffle_key.clone().unwrap_or_default();
        flow.panes[place].source = PanesSource::Shipped;
        let stream = program.stream.clone();
        shared.views.clear();
        shared.ship = Some(Ship { topic: topic.clone(), panes: place, key, digest: digest.clone() });
        if let Some(sender) = flows.iter_mut().find(|flow| flow.shuffle.is_none() && flow.stream.name == stream) {
            sources.push(Some(ShipSource { topic: sender.stream.topic.clone(), digest: digest.clone() }));
            sender.panes.push(shared);
        }
    }
    if let Some(shuffle) = &mut flows[index].shuffle {
        shuffle.sources = sources;
    }
    Ok(())
}

/// All that decides what is sent to the flow at `index`, and where its groups go. One for all of its panes: who merges waits for
/// all alike, so where one of them is other than it was, all begin anew.
fn digest(flows: &[StreamFlow], index: usize, statics: &[Arc<StaticTable>]) -> Result<String> {
    let flow = &flows[index];
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{:?}", flow.fitted).as_bytes());
    // Those over windows, too: how far back is sent again depends on them.
    for shared in &flow.panes {
        hasher.update(format!("\n{:?} {}", shared.outputs, shared.delay_ns()).as_bytes());
        let stream = match &shared.source {
            PanesSource::Stream(program) => program.stream.as_str(),
            PanesSource::Windows(_) | PanesSource::Shipped => "",
        };
        let sender = flows.iter().find(|flow| flow.shuffle.is_none() && flow.stream.name == stream);
        if let Some(Stream { topic, rules, replay_max_ns, event_time, .. }) = sender.map(|flow| &flow.stream) {
            // Of how rows are judged and when panes are sealed.
            hasher.update(format!("{topic} {rules:?} {replay_max_ns} {event_time:?}").as_bytes());
        }
        for &view in &shared.views {
            let view = &flow.views[view];
            hasher.update(format!("{:?}", view.shuffle_key).as_bytes());
            let plan = LogicalPlan::Aggregate(view.aggregate.clone());
            hasher.update(plan.display_indent_schema().to_string().as_bytes());
            for table in statics {
                if table.is_in(&plan)? {
                    hasher.update(table.definition().as_bytes());
                }
            }
        }
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}
