//! The rules of `buf breaking` in its category WIRE_JSON, of which WIRE is a part, and of FILE the one that a package
//! keeps its messages. Deliberately not here: services (there are none), options, comments, names of files.

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor,
};

/// What no longer fits, one line each: types of `before` whose names begin with `package`, looked up in `after`.
pub fn broken(before: &DescriptorPool, after: &DescriptorPool, package: &str) -> Vec<String> {
    let mut found = Vec::new();
    let ours = |name: &str| name.starts_with(package);
    for message in before.all_messages().filter(|m| ours(m.full_name()) && !m.is_map_entry()) {
        match after.get_message_by_name(message.full_name()) {
            Some(now) => self::message(&message, &now, &mut found),
            None => found.push(format!("message {} was removed or moved to another package", message.full_name())),
        }
    }
    for of in before.all_enums().filter(|e| ours(e.full_name())) {
        match after.get_enum_by_name(of.full_name()) {
            Some(now) => self::enumeration(&of, &now, &mut found),
            None => found.push(format!("enum {} was removed or moved to another package", of.full_name())),
        }
    }
    found
}

fn message(before: &MessageDescriptor, after: &MessageDescriptor, found: &mut Vec<String>) {
    let name = before.full_name();
    for field in before.fields() {
        match after.get_field(field.number()) {
            Some(now) => self::field(&field, &now, found),
            None => removed_field(&field, after, found),
        }
    }
    for range in before.reserved_ranges() {
        for number in range.clone().take_while(|number| *number < range.start + 10_000) {
            if !after.reserved_ranges().any(|now| now.contains(&number)) && after.get_field(number).is_some() {
                found.push(format!("{name}: number {number} was reserved and is used again"));
            } else if !after.reserved_ranges().any(|now| now.contains(&number)) {
                found.push(format!("{name}: number {number} is no longer reserved"));
            }
        }
    }
    for reserved in before.reserved_names() {
        if !after.reserved_names().any(|now| now == reserved) {
            found.push(format!("{name}: name {reserved:?} is no longer reserved"));
        }
    }
}

fn removed_field(field: &FieldDescriptor, after: &MessageDescriptor, found: &mut Vec<String>) {
    if !after.reserved_ranges().any(|range| range.contains(&field.number())) {
        found.push(format!("{} = {} was removed without reserving its number", field.full_name(), field.number()));
    }
    if !after.reserved_names().any(|name| name == field.name()) {
        found.push(format!("{} = {} was removed without reserving its name", field.full_name(), field.number()));
    }
}

fn field(before: &FieldDescriptor, after: &FieldDescriptor, found: &mut Vec<String>) {
    let name = before.full_name();
    if before.name() != after.name() {
        found.push(format!("{name} = {} is now called {:?}", before.number(), after.name()));
    }
    if before.json_name() != after.json_name() {
        found.push(format!("{name}: its name in JSON was {:?}, is {:?}", before.json_name(), after.json_name()));
    }
    let (was, is) = (cardinality(before), cardinality(after));
    if was != is {
        found.push(format!("{name}: was {was}, is {is}"));
    }
    let (was, is) = (oneof(before), oneof(after));
    if was != is {
        found.push(format!("{name}: was in oneof {was:?}, is in {is:?}"));
    }
    if before.is_map() && after.is_map() {
        entries(before, after, found);
    } else if type_name(&before.kind()) != type_name(&after.kind()) && !compatible(&before.kind(), &after.kind()) {
        found.push(format!("{name}: was {}, is {}", type_name(&before.kind()), type_name(&after.kind())));
    }
}

/// Key and value of maps: their entries have no name that lasts.
fn entries(before: &FieldDescriptor, after: &FieldDescriptor, found: &mut Vec<String>) {
    if let (Kind::Message(before), Kind::Message(after)) = (before.kind(), after.kind()) {
        field(&before.map_entry_key_field(), &after.map_entry_key_field(), found);
        field(&before.map_entry_value_field(), &after.map_entry_value_field(), found);
    }
}

fn cardinality(field: &FieldDescriptor) -> &'static str {
    match field.cardinality() {
        Cardinality::Repeated if field.is_map() => "a map",
        Cardinality::Repeated => "repeated",
        Cardinality::Required => "required",
        Cardinality::Optional if field.supports_presence() => "singular with presence",
        Cardinality::Optional => "singular",
    }
}

fn oneof(field: &FieldDescriptor) -> Option<String> {
    field.containing_oneof().filter(|oneof: &OneofDescriptor| !oneof.is_synthetic()).map(|o| o.name().to_owned())
}

/// Types that are the same on the wire and in JSON, as in Buf's FIELD_WIRE_JSON_COMPATIBLE_TYPE.
fn compatible(before: &Kind, after: &Kind) -> bool {
    let group = |kind: &Kind| match kind {
        Kind::Int32 | Kind::Uint32 => 1,
        Kind::Int64 | Kind::Uint64 => 2,
        Kind::Fixed32 | Kind::Sfixed32 => 3,
        Kind::Fixed64 | Kind::Sfixed64 => 4,
        _ => 0,
    };
    group(before) != 0 && group(before) == group(after)
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn enumeration(before: &EnumDescriptor, after: &EnumDescriptor, found: &mut Vec<String>) {
    let name = before.full_name();
    for value in before.values() {
        let (number, called) = (value.number(), value.name());
        let mut now = after.values().filter(|v| v.number() == number).peekable();
        if now.peek().is_none() {
            if !after.reserved_ranges().any(|range| range.contains(&number)) {
                found.push(format!("{name}: {called} = {number} was removed without reserving its number"));
            }
            if !after.reserved_names().any(|name| name == called) {
                found.push(format!("{name}: {called} = {number} was removed without reserving its name"));
            }
        } else if !now.any(|v| v.name() == called) {
            found.push(format!("{name}: {called} = {number} has another name"));
        }
    }
}
