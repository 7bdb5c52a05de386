//! Which records of which partitions the panes of a shuffle come from.
//!
//! A shuffle's own records are of no use to who asks what an alert was made of: where they stand depends on who came first, and
//! they are gone before long. So every pane remembers the records of the streams that were summed up into it. Kept with the
//! panes, so it is the same after a restart.
//! Limits: first and last record for each partition that sends; between them there are others.

use super::{alignment::Source, emit::Evidence};
use crate::sql::Shuffle;
use std::collections::BTreeMap;

/// First and last offset, by who sent.
pub type Spans = BTreeMap<Source, (i64, i64)>;

pub fn add(spans: &mut Spans, source: Source, (first, last): (i64, i64)) {
    let known = spans.entry(source).or_insert((first, last));
    *known = (known.0.min(first), known.1.max(last));
}

pub fn add_all(all: &mut Spans, spans: &Spans) {
    spans.iter().for_each(|(source, offsets)| add(all, *source, *offsets));
}

/// By the index of the panes in their flow, and the pane.
#[derive(Debug, Clone, Default)]
pub struct PaneSpans(BTreeMap<(usize, i64), Spans>);

impl PaneSpans {
    pub fn add(&mut self, panes: usize, pane: i64, spans: &Spans) {
        add_all(self.0.entry((panes, pane)).or_default(), spans);
    }

    pub fn of(&self, panes: usize, pane: i64) -> Option<&Spans> {
        self.0.get(&(panes, pane))
    }

    /// Of all panes `from..to`.
    pub fn over(&self, panes: usize, (from, to): (i64, i64)) -> Spans {
        let mut all = Spans::new();
        self.0.range((panes, from)..(panes, to)).for_each(|(_, spans)| add_all(&mut all, spans));
        all
    }

    pub fn forget_before(&mut self, panes: usize, first: i64) {
        while let Some((&id, _)) = self.0.range((panes, i64::MIN)..(panes, first)).next() {
            self.0.remove(&id);
        }
    }
}

/// As an alert tells it: by topic and partition, whichever panes they came through.
pub fn evidence(shuffle: &Shuffle, spans: &Spans) -> Vec<Evidence> {
    let mut found: BTreeMap<(&str, i32), (i64, i64)> = BTreeMap::new();
    for (source, &(first, last)) in spans {
        let Some(topic) = shuffle.sources.get(source.panes).and_then(Option::as_ref) else { continue };
        let known = found.entry((&topic.topic, source.partition)).or_insert((first, last));
        *known = (known.0.min(first), known.1.max(last));
    }
    let evidence = found.into_iter().map(|((topic, partition), (first_offset, last_offset))| Evidence {
        topic: topic.to_owned(),
        partition,
        first_offset,
        last_offset,
    });
    evidence.collect()
}
