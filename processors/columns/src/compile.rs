//! Compiles a message type and the columns wanted of it into the tables that the decoder walks with.

use std::sync::Arc;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::names::EnumNames;
use crate::plan::{Action, Columns, Leaf, NONE, Node, Oneof, Op, Plan, Quick, Shape};
use crate::schema::Type;
use crate::store::Slot;
use crate::views::Blank;
use crate::wire::{FIXED32, FIXED64, GROUP_START, LENGTH, VARINT};

/// Field numbers up to this one are looked up directly.
const DENSE_NUMBER_MAX: u32 = 511;

impl Plan {
    /// Compiles. `columns` must be fields that [`crate::schema::column_fields`] accepts.
    pub(crate) fn new(message: &MessageDescriptor, columns: &[FieldDescriptor]) -> Arc<Self> {
        let mut build = Build {
            nodes: Vec::new(),
            oneofs: Vec::new(),
            enums: Vec::new(),
            columns: Columns { domains: 1, ..Columns::default() },
        };
        let wanted: Vec<u32> = columns.iter().map(FieldDescriptor::number).collect();
        let (_, mut shapes) = build.node(message, 0, Some(&wanted));
        let shapes = wanted
            .iter()
            .filter_map(|number| {
                let at = shapes.iter().position(|(n, _)| n == number)?;
                Some(shapes.swap_remove(at).1)
            })
            .collect();
        // The root was given the first number when its compilation began.
        Arc::new(Self { nodes: build.nodes, oneofs: build.oneofs, enums: build.enums, columns: build.columns, shapes })
    }
}

struct Build {
    nodes: Vec<Node>,
    oneofs: Vec<Oneof>,
    enums: Vec<EnumNames>,
    columns: Columns,
}

impl Build {
    /// Compiles the fields of `message` into columns of `domain`; all of them, or those wanted.
    fn node(&mut self, message: &MessageDescriptor, domain: u16, wanted: Option<&[u32]>) -> (u16, Vec<(u32, Shape)>) {
        let index = self.nodes.len() as u16;
        self.nodes.push(table(Vec::new(), Vec::new()));
        let is_wanted = |number: u32| wanted.is_none_or(|wanted| wanted.contains(&number));
        let oneofs = self.oneofs_of(message, domain, is_wanted);
        let (mut keys, mut shapes) = (Vec::new(), Vec::new());
        for field in message.fields() {
            let number = field.number();
            let oneof = oneofs.iter().find(|(members, _)| members.contains(&number)).map_or(NONE, |(_, oneof)| *oneof);
            if is_wanted(number) {
                let before = Mark::of(&self.columns);
                let (mut op, shape) = self.field(&field, domain, oneof);
                if oneof != NONE {
                    let members = &mut self.oneofs[usize::from(oneof)].members;
                    members.push(before.slots_since(&self.columns, domain));
                    op.member = members.len() as u16;
                }
                shapes.push((number, shape));
                declare(&mut keys, &field, op);
            } else {
                let action = if oneof == NONE { Action::Unused } else { Action::UnusedMember };
                declare(&mut keys, &field, Op { oneof, marks: oneof != NONE, ..Op::plain(action) });
            }
        }
        let names = message.fields().map(|f| (f.number(), f.name().to_owned())).collect();
        self.nodes[usize::from(index)] = table(keys, names);
        (index, shapes)
    }

    /// The oneofs of which at least one member is wanted, with their members' numbers.
    fn oneofs_of(
        &mut self,
        message: &MessageDescriptor,
        domain: u16,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Vec<(Vec<u32>, u16)> {
        let mut found = Vec::new();
        for oneof in message.oneofs() {
            let members: Vec<u32> = oneof.fields().map(|field| field.number()).collect();
            if members.len() > 1 && members.iter().any(|number| is_wanted(*number)) {
                let which = self.columns.word(domain);
                found.push((members, self.oneofs.len() as u16));
                self.oneofs.push(Oneof { which, members: Vec::new() });
            }
        }
        found
    }

    fn field(&mut self, field: &FieldDescriptor, domain: u16, oneof: u16) -> (Op, Shape) {
        if field.is_map() || field.is_list() {
            return self.list(field, domain);
        }
        let present = if field.supports_presence() { self.columns.byte(domain) } else { NONE };
        let (mut op, shape) = self.value(field, domain, present);
        op.present = present;
        op.oneof = oneof;
        op.marks = present != NONE || oneof != NONE;
        (op, shape)
    }

    fn list(&mut self, field: &FieldDescriptor, domain: u16) -> (Op, Shape) {
        let elements = self.columns.domain();
        let list = self.columns.lists.len() as u16;
        self.columns.lists.push((domain, elements, None));
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let (node, mut shapes) = self.node(&entry, elements, None);
            shapes.sort_by_key(|(number, _)| *number);
            let mut shapes = shapes.into_iter().map(|(_, shape)| shape);
            if let (Some(key), Some(value)) = (shapes.next(), shapes.next()) {
                self.columns.lists[usize::from(list)].2 = key.slot();
                let op = Op { extra: node, domain: elements, ..Op::plain(Action::ListMessage) };
                // An entry without key or value has their defaults.
                return (op, Shape::Map { list, key: key.shown(NONE).into(), value: value.shown(NONE).into() });
            }
        }
        let (mut op, element) = self.value(field, elements, NONE);
        op.action = match op.action {
            Action::Leaf => Action::ListLeaf,
            Action::Group => Action::ListGroup,
            _ => Action::ListMessage,
        };
        op.domain = elements;
        (op, Shape::List { list, element: element.into() })
    }

    /// One value in the columns of `domain`.
    fn value(&mut self, field: &FieldDescriptor, domain: u16, present: u16) -> (Op, Shape) {
        let kind = field.kind();
        match Type::of(&kind) {
            Type::Scalar(_) => self.scalar(&kind, domain, present),
            Type::Enum(descriptor) => {
                let names = EnumNames::new(&descriptor);
                // What an absent field stands for: the first value.
                let blank =
                    Blank { view: names.view(descriptor.default_value().number()), block: Some(names.block.clone()) };
                let column = self.columns.view(domain, blank);
                self.enums.push(names);
                let extra = (self.enums.len() - 1) as u16;
                (Op { leaf: Leaf::Enum, column, extra, ..Op::plain(Action::Leaf) }, Shape::View { column, present })
            }
            Type::Timestamp | Type::Duration => {
                let column = self.columns.long(domain);
                let extra = self.columns.stamps;
                self.columns.stamps += 1;
                (Op { leaf: Leaf::Time, column, extra, ..Op::plain(Action::Leaf) }, Shape::Long { column, present })
            }
            Type::Wrapper(_) | Type::Message(_) => {
                let (op, shape) = self.message(&kind, domain, present);
                (Op { action: if field.is_group() { Action::Group } else { op.action }, ..op }, shape)
            }
        }
    }

    fn message(&mut self, kind: &Kind, domain: u16, present: u16) -> (Op, Shape) {
        let Kind::Message(message) = kind else {
            return (Op::plain(Action::Unused), Shape::Struct { children: vec![], present });
        };
        let is_wrapper = matches!(Type::of(kind), Type::Wrapper(_));
        let (node, shapes) = self.node(message, domain, None);
        let mut children: Vec<Shape> = shapes.into_iter().map(|(_, shape)| shape).collect();
        let shape = match children.pop() {
            Some(value) if is_wrapper && children.is_empty() => value.shown(present),
            last => {
                children.extend(last);
                Shape::Struct { children, present }
            }
        };
        (Op { extra: node, ..Op::plain(Action::Message) }, shape)
    }

    fn scalar(&mut self, kind: &Kind, domain: u16, present: u16) -> (Op, Shape) {
        let leaf = match kind {
            Kind::Bool => Leaf::Bool,
            Kind::Int32 | Kind::Uint32 => Leaf::Varint32,
            Kind::Sint32 => Leaf::Zigzag32,
            Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => Leaf::Fixed32,
            Kind::Int64 | Kind::Uint64 => Leaf::Varint64,
            Kind::Sint64 => Leaf::Zigzag64,
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => Leaf::Fixed64,
            Kind::String => Leaf::Text,
            Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => Leaf::Bytes,
        };
        let columns = &mut self.columns;
        let (column, shape) = match leaf {
            Leaf::Bool => (columns.byte(domain), Shape::Bool { column: columns.last_byte(), present }),
            Leaf::Varint32 | Leaf::Zigzag32 | Leaf::Fixed32 => {
                let column = columns.word(domain);
                (column, Shape::Word { column, present })
            }
            Leaf::Varint64 | Leaf::Zigzag64 | Leaf::Fixed64 | Leaf::Time => {
                let column = columns.long(domain);
                (column, Shape::Long { column, present })
            }
            Leaf::Text | Leaf::Bytes | Leaf::Enum => {
                let column = columns.view(domain, Blank::default());
                (column, Shape::View { column, present })
            }
        };
        (Op { leaf, column, ..Op::plain(Action::Leaf) }, shape)
    }
}

/// How many columns there were, to tell those added since.
struct Mark {
    bytes: usize,
    words: usize,
    longs: usize,
    views: usize,
    lists: usize,
}

impl Mark {
    fn of(columns: &Columns) -> Self {
        Self {
            bytes: columns.bytes.len(),
            words: columns.words.len(),
            longs: columns.longs.len(),
            views: columns.views.len(),
            lists: columns.lists.len(),
        }
    }

    /// Columns of `domain` itself; those of elements further down go with their lists.
    fn slots_since(&self, now: &Columns, domain: u16) -> Vec<Slot> {
        let own = |at: &(usize, u16)| at.1 == domain;
        let since = |from: usize, domains: &[u16]| -> Vec<u16> {
            let added = domains.iter().copied().enumerate().skip(from);
            added.filter(own).map(|(at, _)| at as u16).collect()
        };
        let views: Vec<u16> = now.views.iter().map(|(domain, _)| *domain).collect();
        let lists: Vec<u16> = now.lists.iter().map(|(domain, ..)| *domain).collect();
        let mut slots: Vec<Slot> = since(self.bytes, &now.bytes).into_iter().map(Slot::Byte).collect();
        slots.extend(since(self.words, &now.words).into_iter().map(Slot::Word));
        slots.extend(since(self.longs, &now.longs).into_iter().map(Slot::Long));
        slots.extend(since(self.views, &views).into_iter().map(Slot::View));
        slots.extend(since(self.lists, &lists).into_iter().map(Slot::List));
        slots
    }
}

/// The wire type that one value of the field has.
fn wire_of(kind: &Kind) -> u32 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED32,
        Kind::String | Kind::Bytes | Kind::Message(_) => LENGTH,
        _ => VARINT,
    }
}

/// Enters `op` at the field's key, and refusals at the keys that differ in wire type only.
fn declare(keys: &mut Vec<(u32, Op)>, field: &FieldDescriptor, op: Op) {
    let group = field.is_group();
    let wire = if group { GROUP_START } else { wire_of(&field.kind()) };
    for other in 0..8 {
        let op = if other == wire {
            op
        } else if other == LENGTH && field.is_list() && !group {
            // Packed or not, whatever the .proto file says.
            Op { action: if op.action == Action::ListLeaf { Action::PackedLeaf } else { op.action }, ..op }
        } else {
            Op { extra: wire as u16, ..Op::plain(Action::WrongWire) }
        };
        keys.push((field.number() << 3 | other, op));
    }
}

fn table(mut keys: Vec<(u32, Op)>, names: Vec<(u32, String)>) -> Node {
    keys.sort_by_key(|(key, _)| *key);
    let sparse = keys.split_off(keys.partition_point(|(key, _)| key >> 3 <= DENSE_NUMBER_MAX));
    let size = keys.last().map_or(0, |(key, _)| *key as usize + 1);
    let mut dense = vec![Op::plain(Action::Unknown); size];
    for (key, op) in keys {
        dense[key as usize] = op;
    }
    let mut narrow = Box::new([Op::plain(Action::Unknown); 128]);
    narrow.iter_mut().zip(&dense).for_each(|(narrow, op)| *narrow = *op);
    for (key, op) in narrow.iter_mut().enumerate() {
        op.quick = quick(key as u32, op);
    }
    Node { narrow, dense, sparse, names }
}

fn quick(key: u32, op: &Op) -> Quick {
    match (op.action, op.leaf, key & 7) {
        // Not field keys.
        _ if key < 8 => Quick::No,
        (Action::Unknown | Action::Unused, _, VARINT) => Quick::SkipVarint,
        (Action::Unknown | Action::Unused, _, LENGTH) => Quick::SkipLength,
        (Action::Leaf, Leaf::Time, _) if op.oneof == NONE && op.present != NONE => Quick::Time,
        (Action::Leaf, Leaf::Varint32, _) if !op.marks => Quick::Varint32,
        (Action::Leaf, Leaf::Varint64, _) if !op.marks => Quick::Varint64,
        (Action::Leaf, Leaf::Text, _) if !op.marks => Quick::Text,
        (Action::Leaf, Leaf::Enum, _) if !op.marks => Quick::Enum,
        _ => Quick::No,
    }
}
