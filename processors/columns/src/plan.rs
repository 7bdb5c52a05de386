//! What to do at each field key: a message type compiled into tables that the decoder walks with.
//!
//! A table is indexed by the key as it is on the wire (field number and wire type in one), so that finding a field,
//! checking its wire type and choosing the reading are one look-up. Field numbers beyond some hundreds are in a sorted
//! list. `compile` makes the tables.

use crate::error::{Fault, within};
use crate::names::EnumNames;
use crate::store::Slot;
use crate::views::Blank;

/// No such index.
pub(crate) const NONE: u16 = u16::MAX;

/// How the bytes of one value become a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    Varint32,
    Zigzag32,
    Fixed32,
    Varint64,
    Zigzag64,
    Fixed64,
    Bool,
    Enum,
    Text,
    Bytes,
    /// `google.protobuf.Timestamp` and `Duration`: seconds and nanoseconds into nanoseconds.
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Not in the message type: step over it.
    Unknown,
    /// In the message type, not asked for: step over it.
    Unused,
    /// A member, not asked for, of a oneof of which another is: unset that one, step over.
    UnusedMember,
    /// Declared with another wire type.
    WrongWire,
    Leaf,
    ListLeaf,
    PackedLeaf,
    Message,
    /// A repeated message or a map.
    ListMessage,
    /// A message between two keys, without a length (proto2's `group`).
    Group,
    ListGroup,
}

/// Which of the short cuts in [`crate::quick`] a field may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quick {
    No,
    SkipVarint,
    SkipLength,
    Varint32,
    Varint64,
    Text,
    Enum,
    Time,
}

/// What to do at a field key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    pub quick: Quick,
    pub action: Action,
    pub leaf: Leaf,
    /// Whether `present` or `oneof` is set.
    pub marks: bool,
    /// Index of the column in the store of its width.
    pub column: u16,
    /// Byte column that says whether the field is there.
    pub present: u16,
    /// Of the elements of a list or map.
    pub domain: u16,
    /// Message: its node. Enum: its names. Time: its stamp.
    pub extra: u16,
    pub oneof: u16,
    /// Which of the oneof's wanted members this is, from 1; [`NONE`] for the others.
    pub member: u16,
}

impl Op {
    pub(crate) const fn plain(action: Action) -> Self {
        Self {
            quick: Quick::No,
            action,
            leaf: Leaf::Bool,
            marks: false,
            column: NONE,
            present: NONE,
            domain: NONE,
            extra: NONE,
            oneof: NONE,
            member: NONE,
        }
    }
}

/// One message type.
#[derive(Debug)]
pub(crate) struct Node {
    /// By key, those of one byte.
    pub narrow: Box<[Op; 128]>,
    /// By key, for small field numbers.
    pub dense: Vec<Op>,
    /// The others, in the order of their keys.
    pub sparse: Vec<(u32, Op)>,
    pub names: Vec<(u32, String)>,
}

impl Node {
    /// What to do at a key.
    #[inline(always)]
    pub(crate) fn op(&self, key: u32) -> &Op {
        match self.dense.get(key as usize) {
            Some(op) => op,
            None => self.sparse(key),
        }
    }

    #[cold]
    #[inline(never)]
    fn sparse(&self, key: u32) -> &Op {
        const UNKNOWN: Op = Op::plain(Action::Unknown);
        self.sparse.binary_search_by_key(&key, |(key, _)| *key).map_or(&UNKNOWN, |at| &self.sparse[at].1)
    }

    /// Names the field that a fault came out of.
    #[cold]
    pub(crate) fn blame(&self, key: u32, fault: Fault) -> Fault {
        match self.names.iter().find(|(number, _)| *number == key >> 3) {
            Some((_, name)) => within(fault, name),
            None => fault,
        }
    }
}

/// A oneof: which member each row has, and what to blank when another takes its place.
#[derive(Debug)]
pub(crate) struct Oneof {
    /// Word column with [`Op::member`] of the member, 0 for none.
    pub which: u16,
    /// The columns of each wanted member.
    pub members: Vec<Vec<Slot>>,
}

/// How to make an array of what was decoded.
#[derive(Debug)]
pub(crate) enum Shape {
    Bool { column: u16, present: u16 },
    Word { column: u16, present: u16 },
    Long { column: u16, present: u16 },
    View { column: u16, present: u16 },
    Struct { children: Vec<Shape>, present: u16 },
    List { list: u16, element: Box<Shape> },
    Map { list: u16, key: Box<Shape>, value: Box<Shape> },
}

/// Which columns there are, by width, and what a row has in them before anything is read.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// Domain of each byte column (booleans and presence).
    pub bytes: Vec<u16>,
    /// Domain of each 32-bit column.
    pub words: Vec<u16>,
    /// Domain of each 64-bit column.
    pub longs: Vec<u16>,
    /// Domain of each view column, and its blank.
    pub views: Vec<(u16, Blank)>,
    /// Domain that each list is a column of, the domain of its elements, and for a map the column of its keys.
    pub lists: Vec<(u16, u16, Option<Slot>)>,
    /// Number of domains. Domain 0 is the rows.
    pub domains: u16,
    /// Number of times that may be merged from several occurrences.
    pub stamps: u16,
}

/// A message type and the columns wanted of it, compiled.
#[derive(Debug)]
pub(crate) struct Plan {
    pub nodes: Vec<Node>,
    pub oneofs: Vec<Oneof>,
    pub enums: Vec<EnumNames>,
    pub columns: Columns,
    /// One for each column of the schema.
    pub shapes: Vec<Shape>,
}

impl Shape {
    /// The same, null where another presence says so.
    pub(crate) fn shown(self, present: u16) -> Self {
        match self {
            Self::Bool { column, .. } => Self::Bool { column, present },
            Self::Word { column, .. } => Self::Word { column, present },
            Self::Long { column, .. } => Self::Long { column, present },
            Self::View { column, .. } => Self::View { column, present },
            Self::Struct { children, .. } => Self::Struct { children, present },
            list => list,
        }
    }

    pub(crate) fn slot(&self) -> Option<Slot> {
        match self {
            Self::Bool { column, .. } => Some(Slot::Byte(*column)),
            Self::Word { column, .. } => Some(Slot::Word(*column)),
            Self::Long { column, .. } => Some(Slot::Long(*column)),
            Self::View { column, .. } => Some(Slot::View(*column)),
            _ => None,
        }
    }
}

impl Columns {
    /// Bytes that a row of each domain takes, list offsets included.
    pub(crate) fn row_bytes(&self) -> Vec<usize> {
        let mut bytes = vec![0; usize::from(self.domains)];
        self.bytes.iter().for_each(|domain| bytes[usize::from(*domain)] += 1);
        self.words.iter().for_each(|domain| bytes[usize::from(*domain)] += 4);
        self.longs.iter().for_each(|domain| bytes[usize::from(*domain)] += 8);
        self.views.iter().for_each(|(domain, _)| bytes[usize::from(*domain)] += 16);
        self.lists.iter().for_each(|(domain, ..)| bytes[usize::from(*domain)] += 4);
        bytes
    }

    pub(crate) fn has_maps(&self) -> bool {
        self.lists.iter().any(|(.., key)| key.is_some())
    }

    pub(crate) fn byte(&mut self, domain: u16) -> u16 {
        self.bytes.push(domain);
        self.last_byte()
    }

    pub(crate) fn last_byte(&self) -> u16 {
        (self.bytes.len() - 1) as u16
    }

    pub(crate) fn word(&mut self, domain: u16) -> u16 {
        self.words.push(domain);
        (self.words.len() - 1) as u16
    }

    pub(crate) fn long(&mut self, domain: u16) -> u16 {
        self.longs.push(domain);
        (self.longs.len() - 1) as u16
    }

    pub(crate) fn view(&mut self, domain: u16, blank: Blank) -> u16 {
        self.views.push((domain, blank));
        (self.views.len() - 1) as u16
    }

    pub(crate) fn domain(&mut self) -> u16 {
        self.domains += 1;
        self.domains - 1
    }
}
