//! A partition that other SQL had read: what is told and sent again, from when on it counts, and how one core goes on for another.
//!
//! Its rows are read again as in any replay. What it sends to those who merge is of other SQL than what was sent before, so all of it is
//! sent again, up to where the partition had come, and that is told to all. Who merges begins anew: it waits for all that is sent
//! again, tells no window that was told, and commits nothing before it has come as far as was committed.
//!
//! Deliberately not here: from where to read again (`rewind`), when one core takes another's place (`worker::reload`).

use super::Core;
use crate::{
    run::{
        alignment::Alignment,
        emit::Emission,
        rewind::{Anew, SentAgain},
        task::TaskError,
    },
    sql::StreamFlow,
};
use amoskys_windows::{ShipTag, Watermark};

/// Of a partition that is merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merging {
    /// Claims of its senders are not known from what was committed: they were of other SQL, or of none. Until all are known.
    is_anew: bool,
    /// Windows that end after this have all rows of all senders.
    whole_after_ns: i64,
    /// Nothing is taken beyond it: what is ahead of the core whose place is to be taken could not be told.
    held_at_ns: i64,
}

impl Merging {
    pub(super) fn new(is_anew: bool) -> Self {
        Self { is_anew, whole_after_ns: i64::MIN, held_at_ns: i64::MAX }
    }
}

impl Core {
    /// Sends everything again, as other SQL had sent what is there; for each topic the end after which windows are whole. For a
    /// core that has read nothing.
    fn send_again(&mut self, whole_after_ns: SentAgain) {
        self.sends_again = Some(whole_after_ns);
        self.told_ns = i64::MIN;
    }

    /// Whether all has been read again, and everybody is to hear how far it had come.
    pub(super) fn claim_is_due(&self) -> bool {
        self.sends_again.is_some() && !self.replaying
    }

    /// Takes what is sent from its beginning, as other SQL had merged what was committed. For a core that has read nothing.
    fn merge_anew(&mut self) {
        let Some(alignment) = &mut self.alignment else { return };
        alignment.forget_claims();
        self.merging = Merging::new(true);
        self.watermark = Watermark::default();
        self.replaying = self.resume.time_ns > self.watermark.time_ns || self.next_offset < self.done_before;
    }

    /// Begins anew what has to be. For a core that has read nothing.
    pub fn begin_anew(&mut self, anew: Anew) {
        match anew {
            Anew::Nothing => {}
            Anew::Merging => self.merge_anew(),
            Anew::Sending(again) => self.send_again(again),
        }
    }

    /// What it has begun anew, and not ended.
    pub fn anew(&self) -> Anew {
        match &self.sends_again {
            Some(again) => Anew::Sending(again.clone()),
            None if self.merges_anew() => Anew::Merging,
            None => Anew::Nothing,
        }
    }

    /// Whether a replay goes on until all senders have come as far as was committed, wherever in the log that is.
    pub(super) fn merges_anew(&self) -> bool {
        self.merging.is_anew && self.alignment.is_some()
    }

    /// Windows up to here are told, or are not going to be.
    pub fn told_through_ns(&self) -> i64 {
        let here_ns = if self.replaying { self.resume.time_ns } else { self.watermark.time_ns };
        here_ns.max(self.published_through_ns)
    }

    /// Whether all is read again that had been, and senders have not come as far yet.
    pub fn waits_for_senders(&self) -> bool {
        self.replaying && self.merges_anew() && !self.reads_again()
    }

    /// Whether offsets are read again that were read before.
    pub fn reads_again(&self) -> bool {
        self.replaying && self.next_offset < self.done_before
    }

    /// Takes nothing beyond `time_ns`, which is how far another has come whose place is to be taken.
    pub fn hold_at(&mut self, time_ns: i64) {
        self.merging.held_at_ns = time_ns;
    }

    /// How far what was sent is to be taken. Who merges anew does not get ahead of what was committed: nothing beyond could be.
    pub(super) fn through(&self) -> ShipTag {
        let through = self.alignment.as_ref().map_or(ShipTag::NONE, Alignment::through);
        let committed_ns = if self.replaying && self.merges_anew() { self.resume.time_ns } else { i64::MAX };
        through.min(ShipTag::at(self.merging.held_at_ns.min(committed_ns)))
    }

    /// Only windows that end after this are whole, by the word of one that sends, and are told.
    pub(super) fn tell_after(&mut self, time_ns: i64) {
        self.merging.whole_after_ns = self.merging.whole_after_ns.max(time_ns);
        self.published_through_ns = self.published_through_ns.max(time_ns);
    }

    /// Ends the replay of one that merges anew, once all senders have come as far as was committed. What it closes from now on is new.
    pub(super) fn end_merging_anew(&mut self) {
        let Some(alignment) = self.alignment.as_ref().filter(|_| self.merging.is_anew) else { return };
        let (through, committed) = (alignment.through(), ShipTag::at(self.resume.time_ns));
        if self.next_offset >= self.done_before && through >= committed {
            self.replaying = false;
            self.merging.is_anew = through == ShipTag::NONE;
        }
    }

    /// Nothing is left between here and where it had been.
    pub(super) fn pass_to_the_end(&mut self) {
        self.next_offset = self.next_offset.max(self.done_before);
    }

    /// Whether it may take the place of `other`, having been handed the same records: who merges has to have come as far.
    pub fn has_come_as_far_as(&self, other: &Self) -> bool {
        let told = ShipTag::at(other.told_through_ns());
        let is_there = |alignment: &Alignment| !self.merging.is_anew || alignment.through() >= told;
        self.alignment.as_ref().is_none_or(is_there)
    }

    /// Goes on for another that has come as far: what that has told is told, and its watermark holds.
    pub fn take_over(
        &mut self,
        flow: &StreamFlow,
        other: &Self,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        self.done_before = other.next_offset.max(other.done_before);
        self.next_offset = other.next_offset;
        self.published_through_ns = other.told_through_ns().max(self.merging.whole_after_ns);
        self.resume = if other.replaying { other.resume } else { other.watermark };
        if self.sends_again.is_none() {
            self.told_ns = other.told_ns;
        }
        // What was left out meanwhile is missing from now on.
        let shed_rows = self.counters.shed_rows;
        self.counters = other.counters;
        self.counters.shed_rows += shed_rows;
        self.end_replay();
        self.merging.held_at_ns = i64::MAX;
        if self.claim_is_due() {
            self.close(flow, self.watermark.time_ns, emissions)?;
        }
        if self.alignment.is_some() { self.process_panes(flow, Vec::new(), emissions) } else { Ok(()) }
    }
}
