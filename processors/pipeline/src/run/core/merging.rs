//! Panes of groups that lie in many partitions: what all senders have come as far as is taken in the one order that it has.
//!
//! Deliberately not here: how pieces wait (`alignment`), what is sent (`shipment`).

use super::Core;
use crate::{
    run::{
        alignment::{Alignment, Arrived},
        emit::{Emission, Evidence},
        spans::{self, Spans},
        stages::Closed,
        task::TaskError,
    },
    sql::StreamFlow,
};
use amoskys_windows::{ReplayPoint, ShipTag, Watermark};

impl Core {
    /// Records of a flow of panes that were sent, in their order.
    pub fn process_panes(
        &mut self,
        flow: &StreamFlow,
        arrived: Vec<Arrived>,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        let (before, shed_before) = (self.stages.counters(), self.stages.shed_rows());
        let (records, mut shed_keys, mut whole_after_ns) = (arrived.len() as u64, 0, None);
        if let Some(alignment) = &mut self.alignment {
            for arrived in arrived {
                self.next_offset = self.next_offset.max(arrived.point.offset + 1);
                whole_after_ns = whole_after_ns.max(arrived.whole_after_ns);
                alignment.push(arrived);
            }
            shed_keys = alignment.take_shed_keys();
        }
        whole_after_ns.into_iter().for_each(|time_ns| self.tell_after(time_ns));
        self.end_merging_anew();
        self.take_aligned(flow, emissions)?;
        if self.replaying && self.merges_anew() {
            // These are missing once it has come as far.
            self.counters.shed_rows += shed_keys;
        }
        if !self.replaying {
            self.counters.records += records;
            self.counters.dropped_rows += self.stages.counters().dropped_rows - before.dropped_rows;
            self.counters.shed_rows += self.stages.shed_rows() - shed_before + shed_keys;
        }
        Ok(())
    }

    /// What a record stands for that comes now, as a place to read again from. Panes that were restored may hold pieces of
    /// records behind it, and who cannot restore them has to take those pieces again, so must not begin as far as they had
    /// come.
    pub fn place_of(&self, offset: i64) -> ReplayPoint {
        ReplayPoint { offset, watermark: self.reread.unwrap_or(self.watermark) }
    }

    /// A record of which nothing can be used.
    pub fn pass(&mut self, offset: i64) {
        self.next_offset = self.next_offset.max(offset + 1);
    }

    /// Takes what all sources have come as far as, in the one order that it has: pieces by their tags, windows as they end.
    fn take_aligned(&mut self, flow: &StreamFlow, emissions: &mut Vec<Emission>) -> Result<(), TaskError> {
        let through = self.through();
        loop {
            let Some(alignment) = &mut self.alignment else { return Ok(()) };
            let tag = alignment.next_tag(through);
            let closes_ns = self.stages.next_close_ns(flow).filter(|closes_ns| *closes_ns <= through.watermark_ns);
            let tag = tag.filter(|tag| closes_ns.is_none_or(|closes_ns| *tag <= ShipTag::at(closes_ns)));
            let Some(at_ns) = tag.map(|tag| tag.watermark_ns).or(closes_ns) else {
                self.watermark.advance_to(through.watermark_ns);
                return self.close(flow, self.watermark.time_ns, emissions);
            };
            let epoch = epoch_before(at_ns, flow);
            if epoch > self.epoch {
                self.epoch = epoch;
                let offset = alignment.oldest().map_or(self.next_offset, |point| point.offset);
                let time_ns = epoch.saturating_mul(flow.stream.replay_max_ns);
                self.seal(flow, ReplayPoint { offset, watermark: Watermark { time_ns, ..Watermark::default() } })?;
                continue;
            }
            match tag {
                Some(tag) => {
                    // Windows that ended before are without it, those too that nobody had rows in.
                    let before_ns = if tag.is_sealed { at_ns } else { at_ns.saturating_sub(1) };
                    self.close(flow, before_ns, emissions)?;
                    let Some(alignment) = &mut self.alignment else { return Ok(()) };
                    while let Some(piece) = alignment.take(tag) {
                        self.stages.absorb(&piece)?;
                    }
                }
                None => {
                    self.watermark.advance_to(at_ns);
                    self.close(flow, at_ns, emissions)?;
                }
            }
        }
    }

    pub fn alignment(&self) -> Option<&Alignment> {
        self.alignment.as_ref()
    }
}

/// Of a shuffle: the records of its streams that a window of these views comes from.
pub(super) fn sources(flow: &StreamFlow, views: &[usize], inputs: &[Option<Closed>]) -> Vec<Evidence> {
    let Some(shuffle) = &flow.shuffle else { return Vec::new() };
    let mut all = Spans::new();
    for closed in views.iter().filter_map(|&view| inputs[view].as_ref()) {
        spans::add_all(&mut all, &closed.spans);
    }
    spans::evidence(shuffle, &all)
}

/// Which multiple of `replay_max` lies before a time.
pub(super) fn epoch_before(time_ns: i64, flow: &StreamFlow) -> i64 {
    time_ns.saturating_sub(1).div_euclid(flow.stream.replay_max_ns)
}
