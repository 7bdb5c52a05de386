//! Walks the wire bytes of a record and writes what is wanted straight into columns.
//!
//! Follows protobuf where a record says something twice or not at all: the last value of a singular field counts,
//! repeated occurrences of a sub-message are merged, setting a member of a oneof unsets the others, lists may be packed
//! or not, unknown fields are skipped. What prost refuses in a wanted field is refused here. Fields that are not
//! wanted are stepped over: their wire type is checked, what is in them is not.
//!
//! Deliberately not here: envelopes and signatures, dead letters, JSON (see [`crate::JsonDecoder`]).
//! Limits: [`Limits`] per record; [`Layout::bytes_per_record_max`] says what they amount to. What a batch of many
//! records costs is in the hands of the caller, who finishes it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::assemble;
use crate::error::{DecodeError, Fault, What, fault, within};
use crate::layout::{Batch, Layout};
use crate::limits::Limits;
use crate::plan::{Action, Leaf, NONE, Node, Op, Plan};
use crate::quick;
use crate::store::{Stamp, Store};
use crate::text;
use crate::wire;

/// Turns records into rows. Push records until there are enough [`rows`](Decoder::rows), then
/// [`finish`](Decoder::finish) the batch and go on with the same decoder.
#[derive(Debug)]
pub struct Decoder {
    layout: Layout,
    limits: Limits,
    store: Store,
}

impl Decoder {
    pub fn new(layout: Layout, limits: Limits) -> Self {
        let store = Store::new(&layout.plan.columns);
        Self { layout, limits, store }
    }

    pub fn schema(&self) -> &SchemaRef {
        self.layout.schema()
    }

    /// Rows since the last [`finish`](Decoder::finish).
    pub fn rows(&self) -> usize {
        self.store.domains[0].len
    }

    /// Decodes a record and returns the number of rows it added: one, or for a batch message one for each event.
    ///
    /// After an error the decoder is as it was before.
    pub fn push(&mut self, record: &[u8]) -> Result<usize, DecodeError> {
        let before = self.store.mark();
        let mut walk = Walk {
            plan: &self.layout.plan,
            store: &mut self.store,
            record,
            elements_left: self.limits.elements_per_record_max,
            limits: &self.limits,
        };
        let result = walk.record(self.layout.batch.as_ref());
        match result {
            Ok(()) => Ok(self.store.domains[0].len - before),
            Err(fault) => {
                self.store.roll_back(before);
                Err(*fault)
            }
        }
    }

    /// The rows since the last call, as [`schema`](Decoder::schema) says; may be none. An error is a fault of this
    /// crate.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        assemble::batch(Arc::clone(self.layout.schema()), &self.layout.plan.shapes, &mut self.store)
    }
}

struct Walk<'a> {
    plan: &'a Plan,
    store: &'a mut Store,
    record: &'a [u8],
    elements_left: usize,
    limits: &'a Limits,
}

/// Position after what was read.
type Next = Result<usize, Fault>;

impl Walk<'_> {
    fn record(&mut self, batch: Option<&Batch>) -> Result<(), Fault> {
        let bytes = self.record.len();
        if bytes > self.limits.record_bytes_max {
            return Err(fault(0, What::TooLarge { bytes, max: self.limits.record_bytes_max }));
        }
        match batch {
            Some(batch) => self.batch(batch),
            None => self.row(0, bytes),
        }
    }

    fn row(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        let Some(row) = self.store.open(0) else { return Err(fault(start, What::BatchFull)) };
        let plan = self.plan;
        self.fields(&plan.nodes[0], start, end, row)?;
        self.store.close(0);
        Ok(())
    }

    /// The events of a batch message.
    fn batch(&mut self, batch: &Batch) -> Result<(), Fault> {
        let end = self.record.len();
        let node = &batch.plan.nodes[0];
        let (mut pos, mut rows) = (0, 0);
        while pos < end {
            let (key, at) = wire::key(self.record, pos, end)?;
            if key == batch.key {
                if rows == self.limits.rows_per_record_max {
                    return Err(fault(pos, What::TooManyRows { max: rows }));
                }
                rows += 1;
                let first = wire::length(self.record, at, end).map_err(|fault| node.blame(key, fault))?;
                let second = self.next_event(batch.key, first.1, end);
                pos = match second.filter(|_| rows < self.limits.rows_per_record_max) {
                    Some(second) => {
                        rows += 1;
                        self.two_rows(first, second).map(|()| second.1)
                    }
                    None => self.row(first.0, first.1).map(|()| first.1),
                }
                .map_err(|fault| node.blame(key, fault))?;
            } else {
                let op = node.op(key);
                pos = match op.action {
                    Action::WrongWire => Err(wrong_wire(op, key, pos)),
                    _ => wire::skip(self.record, key, at, end, self.limits.group_depth_max),
                }
                .map_err(|fault| node.blame(key, fault))?;
            }
        }
        Ok(())
    }

    /// Where the event at `pos` is, if there is one; what is wrong with it is found by whoever comes to it.
    #[inline(always)]
    fn next_event(&self, event_key: u32, pos: usize, end: usize) -> Option<(usize, usize)> {
        if pos >= end {
            return None;
        }
        let (key, at) = wire::key(self.record, pos, end).ok()?;
        if key == event_key { wire::length(self.record, at, end).ok() } else { None }
    }

    /// Two events that follow each other, a field of one and a field of the other in turn: where a field begins is known only when the
    /// one before it has been looked at, and while the processor waits for that it can look at the other event's.
    ///
    /// A fault of the first comes before any of the second, as if they were read one after the other.
    fn two_rows(&mut self, first: (usize, usize), second: (usize, usize)) -> Result<(), Fault> {
        let Some(row) = self.store.open_two() else {
            self.row(first.0, first.1)?;
            return self.row(second.0, second.1);
        };
        let (record, node) = (self.record, &self.plan.nodes[0]);
        let ((mut pos, end), (mut other, other_end)) = (first, second);
        while pos < end && other < other_end {
            pos = match quick::field(self.plan, self.store, node, record, pos, end, row) {
                Some(next) => next,
                None if self.stands_alone(node, pos, end) => self.field(node, pos, end, row)?,
                None => break,
            };
            other = match quick::field(self.plan, self.store, node, record, other, other_end, row + 1) {
                Some(next) => next,
                None if self.stands_alone(node, other, other_end) => {
                    match self.field(node, other, other_end, row + 1) {
                        Ok(next) => next,
                        Err(fault) => {
                            self.fields(node, pos, end, row)?;
                            return Err(fault);
                        }
                    }
                }
                None => break,
            };
        }
        self.fields(node, pos, end, row)?;
        self.store.close(0);
        self.fields(node, other, other_end, row + 1)?;
        self.store.close(0);
        Ok(())
    }

    /// Whether the field at `pos` is written to its row and nowhere else, so that it may be read while another row is. Lists are not:
    /// their elements stand in the order of rows.
    #[inline(never)]
    fn stands_alone(&self, node: &Node, pos: usize, end: usize) -> bool {
        let Ok((key, _)) = wire::key(self.record, pos, end) else { return false };
        let op = node.op(key);
        match op.action {
            Action::Leaf => op.oneof == NONE,
            Action::Unknown | Action::Unused => true,
            _ => false,
        }
    }

    /// The fields of a message, into row `row` of the domain that its node was compiled for.
    fn fields(&mut self, node: &Node, mut pos: usize, end: usize, row: usize) -> Result<(), Fault> {
        let record = self.record;
        while pos < end {
            pos = match quick::field(self.plan, self.store, node, record, pos, end, row) {
                Some(next) => next,
                None => self.field(node, pos, end, row)?,
            };
        }
        Ok(())
    }

    /// Any field whatever.
    #[inline(never)]
    fn field(&mut self, node: &Node, pos: usize, end: usize, row: usize) -> Next {
        let (key, at) = wire::key(self.record, pos, end)?;
        let op = node.op(key);
        let next = match op.action {
            Action::Leaf => self.singular(op, at, end, row),
            _ => self.other(op, key, at, end, row),
        };
        next.map_err(|fault| node.blame(key, fault))
    }

    #[inline(always)]
    fn singular(&mut self, op: &Op, pos: usize, end: usize, row: usize) -> Next {
        if op.marks {
            self.appear(op, row);
        }
        self.leaf(op, pos, end, row)
    }

    /// Everything but a singular scalar.
    #[inline(never)]
    fn other(&mut self, op: &Op, key: u32, pos: usize, end: usize, row: usize) -> Next {
        match op.action {
            Action::Leaf => self.singular(op, pos, end, row),
            Action::Unknown | Action::Unused => self.skip(key, pos, end),
            Action::UnusedMember => {
                self.appear(op, row);
                self.skip(key, pos, end)
            }
            Action::WrongWire => Err(wrong_wire(op, key, pos)),
            Action::ListLeaf => {
                let element = self.element(op, pos)?;
                let next = self.leaf(op, pos, end, element)?;
                self.store.close(op.domain);
                Ok(next)
            }
            Action::PackedLeaf => self.packed(op, pos, end),
            Action::Message => {
                let (start, stop) = wire::length(self.record, pos, end)?;
                if op.marks {
                    self.appear(op, row);
                }
                let plan = self.plan;
                self.fields(&plan.nodes[usize::from(op.extra)], start, stop, row)?;
                Ok(stop)
            }
            Action::ListMessage => {
                let (start, stop) = wire::length(self.record, pos, end)?;
                let element = self.element(op, pos)?;
                let plan = self.plan;
                self.fields(&plan.nodes[usize::from(op.extra)], start, stop, element)?;
                self.store.close(op.domain);
                Ok(stop)
            }
            Action::Group => {
                if op.marks {
                    self.appear(op, row);
                }
                self.group(op, key, pos, end, row)
            }
            Action::ListGroup => {
                let element = self.element(op, pos)?;
                let next = self.group(op, key, pos, end, element)?;
                self.store.close(op.domain);
                Ok(next)
            }
        }
    }

    /// The fields of a message until the key that ends the group that `begun` began.
    fn group(&mut self, op: &Op, begun: u32, mut pos: usize, end: usize, row: usize) -> Next {
        let plan = self.plan;
        let node = &plan.nodes[usize::from(op.extra)];
        loop {
            let (key, at) = wire::key(self.record, pos, end)?;
            if key == wire::group_end(begun) {
                return Ok(at);
            }
            pos = self.field(node, pos, end, row)?;
        }
    }

    #[inline(always)]
    fn skip(&self, key: u32, pos: usize, end: usize) -> Next {
        wire::skip(self.record, key, pos, end, self.limits.group_depth_max)
    }

    fn packed(&mut self, op: &Op, pos: usize, end: usize) -> Next {
        let (mut pos, stop) = wire::length(self.record, pos, end)?;
        while pos < stop {
            let element = self.element(op, pos)?;
            pos = self.leaf(op, pos, stop, element)?;
            self.store.close(op.domain);
        }
        Ok(stop)
    }

    /// Begins an element of a list or map.
    fn element(&mut self, op: &Op, pos: usize) -> Result<usize, Fault> {
        if self.elements_left == 0 {
            return Err(fault(pos, What::TooManyElements { max: self.limits.elements_per_record_max }));
        }
        self.elements_left -= 1;
        self.store.open(op.domain).ok_or_else(|| fault(pos, What::BatchFull))
    }

    /// Marks a field as present, and the other members of its oneof as absent.
    #[inline(always)]
    fn appear(&mut self, op: &Op, row: usize) {
        if op.oneof != NONE {
            self.choose(op, row);
        }
        if op.present != NONE {
            self.store.bytes[usize::from(op.present)][row] |= 1;
        }
    }

    #[inline(never)]
    fn choose(&mut self, op: &Op, row: usize) {
        let plan = self.plan;
        let oneof = &plan.oneofs[usize::from(op.oneof)];
        let which = &mut self.store.words[usize::from(oneof.which)][row];
        let before = std::mem::replace(which, u32::from(op.member));
        if before != u32::from(op.member)
            && let Some(slots) = (before as usize).checked_sub(1).and_then(|at| oneof.members.get(at))
        {
            self.store.blank(slots, row);
        }
    }

    /// One value into its column.
    #[inline(always)]
    fn leaf(&mut self, op: &Op, pos: usize, end: usize, row: usize) -> Next {
        let record = self.record;
        let column = usize::from(op.column);
        match op.leaf {
            Leaf::Varint32 => {
                let (value, next) = wire::varint(record, pos, end)?;
                self.store.words[column][row] = value as u32;
                Ok(next)
            }
            Leaf::Varint64 => {
                let (value, next) = wire::varint(record, pos, end)?;
                self.store.longs[column][row] = value;
                Ok(next)
            }
            Leaf::Text => {
                let (start, stop) = wire::length(record, pos, end)?;
                let views = &mut self.store.views[column];
                views.values[row] = text::view(record, start, stop, views)?;
                Ok(stop)
            }
            Leaf::Enum => {
                let (value, next) = wire::varint(record, pos, end)?;
                self.store.views[column].values[row] = self.plan.enums[usize::from(op.extra)].view(value as i32);
                Ok(next)
            }
            Leaf::Time => self.time(op, pos, end, row),
            Leaf::Bool => {
                let (value, next) = wire::varint(record, pos, end)?;
                self.store.bytes[column][row] = u8::from(value != 0);
                Ok(next)
            }
            Leaf::Zigzag32 => {
                let (value, next) = wire::varint(record, pos, end)?;
                let value = value as u32;
                self.store.words[column][row] = (value >> 1) ^ (value & 1).wrapping_neg();
                Ok(next)
            }
            Leaf::Zigzag64 => {
                let (value, next) = wire::varint(record, pos, end)?;
                self.store.longs[column][row] = (value >> 1) ^ (value & 1).wrapping_neg();
                Ok(next)
            }
            Leaf::Fixed32 => {
                let (value, next) = wire::fixed32(record, pos, end)?;
                self.store.words[column][row] = value;
                Ok(next)
            }
            Leaf::Fixed64 => {
                let (value, next) = wire::fixed64(record, pos, end)?;
                self.store.longs[column][row] = value;
                Ok(next)
            }
            Leaf::Bytes => {
                let (start, stop) = wire::length(record, pos, end)?;
                let views = &mut self.store.views[column];
                views.values[row] = text::bytes_view(record, start, stop, views);
                Ok(stop)
            }
        }
    }

    /// A `google.protobuf.Timestamp` or `Duration`. One that comes again in the same row adds to the first.
    #[inline(never)]
    fn time(&mut self, op: &Op, pos: usize, end: usize, row: usize) -> Next {
        let record = self.record;
        let (mut pos, stop) = wire::length(record, pos, end)?;
        let start = pos;
        let kept = &mut self.store.stamps[usize::from(op.extra)][row & 1];
        let longs = &mut self.store.longs[usize::from(op.column)];
        let mut stamp = Stamp::default();
        if op.present != NONE {
            let present = &mut self.store.bytes[usize::from(op.present)][row];
            if *present & HAS_STAMP != 0 {
                stamp = *kept;
            }
            *present |= HAS_STAMP;
        }
        while pos < stop {
            let (key, at) = wire::key(record, pos, stop)?;
            pos = match key {
                SECONDS => {
                    let (value, next) = wire::varint(record, at, stop)?;
                    stamp.seconds = value as i64;
                    next
                }
                NANOS => {
                    let (value, next) = wire::varint(record, at, stop)?;
                    stamp.nanos = value as i32;
                    next
                }
                _ if key >> 3 == 1 || key >> 3 == 2 => {
                    let op = Op { extra: wire::VARINT as u16, ..Op::plain(Action::WrongWire) };
                    let name = if key >> 3 == 1 { "seconds" } else { "nanos" };
                    return Err(within(wrong_wire(&op, key, pos), name));
                }
                _ => wire::skip(record, key, at, stop, self.limits.group_depth_max)?,
            };
        }
        let Some(value) = stamp.nanoseconds() else {
            return Err(fault(start, What::TimeOutOfRange { seconds: stamp.seconds, nanos: stamp.nanos }));
        };
        *kept = stamp;
        longs[row] = value as u64;
        Ok(stop)
    }
}

/// Beside 1 in a presence byte: the column's stamp is of this row.
pub(crate) const HAS_STAMP: u8 = 2;
pub(crate) const SECONDS: u32 = 1 << 3 | wire::VARINT;
pub(crate) const NANOS: u32 = 2 << 3 | wire::VARINT;

#[cold]
fn wrong_wire(op: &Op, key: u32, pos: usize) -> Fault {
    let want = match u32::from(op.extra) {
        wire::VARINT => "Varint",
        wire::FIXED64 => "SixtyFourBit",
        wire::LENGTH => "LengthDelimited",
        wire::GROUP_START => "StartGroup",
        _ => "ThirtyTwoBit",
    };
    match wire::wire_type(key) {
        Some(got) => fault(pos, What::WireType { got, want }),
        None => fault(pos, What::BadKey { key: u64::from(key) }),
    }
}
