//! Where a handle stands in its partitions, and reading on from there. Shared by reader and member.

use super::{
    codec,
    log::{Core, Shared},
    store,
};
use crate::{BusError, Change, Record, TopicPartition};

/// One partition being read.
struct Cursor {
    of: TopicPartition,
    topic_id: u32,
    next: i64,
    /// The end that was last reported.
    end_reported: Option<i64>,
}

#[derive(Default)]
pub(super) struct Cursors {
    list: Vec<Cursor>,
    /// Who is served first, so that one busy partition does not starve the others.
    turn: usize,
}

/// What can be read of each cursor: its index and the partition's end.
pub(super) type Spans = Vec<(usize, i64)>;

impl Cursors {
    /// Starts or moves `of`. The partition must exist.
    pub(super) fn set(&mut self, of: &TopicPartition, topic_id: u32, offset: i64) {
        self.remove(of);
        self.list.push(Cursor { of: of.clone(), topic_id, next: offset, end_reported: None });
    }

    pub(super) fn remove(&mut self, of: &TopicPartition) {
        self.list.retain(|cursor| cursor.of != *of);
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// Cursors with something to hand over or an end to report.
    pub(super) fn spans(&mut self, shared: &Shared) -> Spans {
        self.turn = self.turn.wrapping_add(1);
        let count = self.list.len();
        let order = (0..count).map(|index| (index + self.turn) % count);
        order
            .filter_map(|index| {
                let cursor = self.list.get(index)?;
                let (_, state) = shared.partition(&cursor.of)?;
                (cursor.next < state.end || cursor.end_reported != Some(state.end)).then_some((index, state.end))
            })
            .collect()
    }

    /// Hands over at most `records_max` records of `spans`; says which of them are at their end then.
    pub(super) fn read(
        &mut self,
        core: &Core,
        spans: &Spans,
        records_max: usize,
        on_record: &mut dyn FnMut(&Record<'_>),
        changes: &mut Vec<Change>,
    ) -> Result<(), BusError> {
        let mut room = records_max;
        for (index, end) in spans {
            let Some(cursor) = self.list.get_mut(*index) else { continue };
            cursor.read(core, *end, &mut room, on_record)?;
            if cursor.next >= *end && cursor.end_reported != Some(*end) {
                cursor.end_reported = Some(*end);
                changes.push(Change::End { partition: cursor.of.clone(), offset: *end });
            }
        }
        Ok(())
    }
}

impl Cursor {
    fn read(
        &mut self,
        core: &Core,
        end: i64,
        room: &mut usize,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), BusError> {
        if *room == 0 || self.next >= end {
            return Ok(());
        }
        let (of, next) = (&self.of, &mut self.next);
        let mut stopped = false;
        core.store.scan(self.topic_id, of.partition, *next, end, &mut |offset, value| {
            if *room == 0 {
                stopped = true;
                return Ok(false);
            }
            let record = codec::decode_record(&of.topic, of.partition, offset, value);
            on_record(&record.ok_or_else(|| store::corrupt("a record"))?);
            (*room, *next) = (*room - 1, offset + 1);
            Ok(true)
        })?;
        if !stopped {
            // What was between the last record and the end has been trimmed meanwhile.
            *next = end;
        }
        Ok(())
    }
}
