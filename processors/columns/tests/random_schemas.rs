//! Random message types of proto2 and proto3, each with random messages, decoded by this crate and by prost-reflect: same
//! verdict, same values, whichever of the columns are asked for.
//!
//! Deliberately not here: damaged bytes (see `random`), recursive types and extensions, which have no columns.

mod support;

use amoskys_columns::{Decoder, Layout, Limits, What};
use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use std::fmt::Write as _;
use support::{Chance, all_columns, assert_row, wire};

const SCALARS: [&str; 15] = [
    "bool", "int32", "sint32", "uint32", "fixed32", "sfixed32", "int64", "sint64", "uint64", "fixed64", "sfixed64",
    "float", "double", "string", "bytes",
];
const KNOWN: [&str; 11] = [
    "Timestamp",
    "Duration",
    "BoolValue",
    "Int32Value",
    "Int64Value",
    "UInt32Value",
    "UInt64Value",
    "FloatValue",
    "DoubleValue",
    "StringValue",
    "BytesValue",
];
const MESSAGES: usize = 4;

/// A .proto file as it may be written by chance.
struct Writer<'a> {
    chance: Chance<'a>,
    is_proto2: bool,
    /// For names that are one of a kind.
    names: usize,
    text: String,
}

impl Writer<'_> {
    fn file(mut self) -> String {
        let syntax = if self.is_proto2 { "proto2" } else { "proto3" };
        self.put(&format!("syntax = \"{syntax}\";\npackage test;\n"));
        for import in ["timestamp", "duration", "wrappers"] {
            self.put(&format!("import \"google/protobuf/{import}.proto\";\n"));
        }
        // An enum of proto2 may begin with any number.
        let first = if self.is_proto2 { [0, 1, -5, 70_000][self.chance.below(4)] } else { 0 };
        self.put(&format!("enum E {{ FIRST = {first}; OTHER = 2; FAR = 70001; NEGATIVE = -6; }}\n"));
        for at in 0..MESSAGES {
            self.put(&format!("message M{at} {{\n"));
            self.fields(at, 2);
            self.put("}\n");
        }
        self.text
    }

    fn put(&mut self, text: &str) {
        let _ = write!(self.text, "{text}");
    }

    fn name(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    /// Of message `at`, which may hold later ones only; groups may nest `groups` deep.
    fn fields(&mut self, at: usize, groups: usize) {
        // Numbers in steps, so that some have keys of one byte, of two, and beyond what is looked up directly.
        let step = [1, 3, 90, 30_000][self.chance.below(4)];
        let mut number = self.chance.below(3) as u32;
        for _ in 0..1 + self.chance.below(6) {
            number += 1 + step * self.chance.below(2) as u32;
            self.field(at, groups, &mut number);
        }
    }

    fn field(&mut self, at: usize, groups: usize, number: &mut u32) {
        let name = self.name();
        match self.chance.below(8) {
            0 => {
                let key = SCALARS[..11][self.chance.below(11)];
                let key = if self.chance.below(3) == 0 { "string" } else { key };
                let value = self.type_of_value(at);
                self.put(&format!("  map<{key}, {value}> f{name} = {number};\n"));
            }
            1 => {
                self.put(&format!("  oneof o{name} {{\n"));
                for _ in 0..1 + self.chance.below(3) {
                    let (member, kind) = (self.name(), self.type_of_value(at));
                    self.put(&format!("    {kind} f{member} = {number};\n"));
                    *number += 1;
                }
                // The last number is the next field's.
                self.put("  }\n");
            }
            2 if self.is_proto2 && groups > 0 => {
                let label = self.label();
                self.put(&format!("  {label} group G{name} = {number} {{\n"));
                self.fields(at, groups - 1);
                self.put("  }\n");
            }
            _ => {
                let (label, kind) = (self.label(), self.type_of_value(at));
                let can_be_packed = label == "repeated" && (kind == "E" || SCALARS[..13].contains(&kind.as_str()));
                let options = match (can_be_packed, self.chance.below(3)) {
                    (true, 0) => " [packed = true]",
                    (true, 1) => " [packed = false]",
                    _ => "",
                };
                self.put(&format!("  {label} {kind} f{name} = {number}{options};\n"));
            }
        }
    }

    fn label(&mut self) -> &'static str {
        let labels = if self.is_proto2 { ["optional", "required", "repeated"] } else { ["", "optional", "repeated"] };
        labels[self.chance.below(3)]
    }

    fn type_of_value(&mut self, at: usize) -> String {
        let later = MESSAGES - 1 - at;
        match self.chance.below(6) {
            0 => "E".to_owned(),
            1 => format!("google.protobuf.{}", KNOWN[self.chance.below(KNOWN.len())]),
            2 if later > 0 => format!("M{}", at + 1 + self.chance.below(later)),
            _ => SCALARS[self.chance.below(SCALARS.len())].to_owned(),
        }
    }
}

fn message(file: &str) -> MessageDescriptor {
    struct OneFile(String);
    impl protox::file::FileResolver for OneFile {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match name {
                "test.proto" => protox::file::File::from_source(name, &self.0),
                name => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(OneFile(file.to_owned()));
    compiler.include_imports(true);
    compiler.open_file("test.proto").unwrap_or_else(|error| panic!("{error}\n{file}"));
    let pool = DescriptorPool::from_file_descriptor_set(compiler.file_descriptor_set()).expect("it is complete");
    pool.get_message_by_name("test.M0").expect("it has the message")
}

/// Some of the columns, in an order of their own.
fn some(columns: &[String], chance: &mut Chance<'_>) -> Vec<String> {
    let mut some: Vec<String> = columns.iter().filter(|_| chance.below(2) == 0).cloned().collect();
    if !some.is_empty() {
        let by = chance.below(some.len());
        some.rotate_left(by);
    }
    some
}

fn compare(message: &MessageDescriptor, columns: &[String], records: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut decoder = Decoder::new(Layout::new(message, &columns).expect("a layout"), Limits::default());
    let mut expected = Vec::new();
    for record in records {
        let theirs = DynamicMessage::decode(message.clone(), &record[..]).expect("the writer writes whole messages");
        match decoder.push(record) {
            Ok(rows) => {
                prop_assert_eq!(rows, 1);
                expected.push(theirs);
            }
            Err(ours) => prop_assert!(matches!(ours.what, What::TimeOutOfRange { .. }), "{ours}"),
        }
    }
    let batch = decoder.finish().expect("arrays fit the schema");
    prop_assert_eq!(batch.num_rows(), expected.len());
    prop_assert_eq!(batch.num_columns(), columns.len());
    expected.iter().enumerate().for_each(|(row, message)| assert_row(&batch, row, message));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_message_type(
        is_proto2 in any::<bool>(),
        schema in proptest::collection::vec(any::<u8>(), 0..200),
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6),
        choice in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let file = Writer { chance: Chance(&schema), is_proto2, names: 0, text: String::new() }.file();
        let message = message(&file);
        let records: Vec<Vec<u8>> = records.iter().map(|bytes| wire(&message, &mut Chance(bytes), 6)).collect();
        let columns = all_columns(&message);
        prop_assert_eq!(columns.len(), message.fields().len(), "{}", file);
        compare(&message, &columns, &records)?;
        compare(&message, &some(&columns, &mut Chance(&choice)), &records)?;
    }
}
