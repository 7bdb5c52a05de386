//! One protobuf message that reads what several versions of it wrote.
//!
//! It is the newest version with the fields of older ones added, in the message and in those that it holds: a field that was
//! removed is read from old records and null in new ones. A number or a name that now means another type is a conflict.
//! Limits: messages are the same where their full names are.

use prost_reflect::{
    DescriptorPool,
    prost_types::{
        DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, OneofDescriptorProto,
        field_descriptor_proto::Label,
    },
};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use std::collections::BTreeMap;

/// A field's type differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field} is `{older}` in {older_version} and `{newer}` in {newer_version}")]
pub struct MessageConflict {
    pub field: String,
    pub older: String,
    pub older_version: String,
    pub newer: String,
    pub newer_version: String,
}

/// The name by which a registry's text is compiled.
pub const MAIN: &str = "registered.proto";

/// A text, and those that it imports by their names.
struct Texts {
    main: String,
    references: BTreeMap<String, String>,
}

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = if name == MAIN { Some(&self.main) } else { self.references.get(name) };
        File::from_source(name, text.ok_or_else(|| protox::Error::file_not_found(name))?)
    }
}

/// Compiles a text and what it imports; an error says why not.
pub fn compiled(text: &str, references: &BTreeMap<String, String>) -> Result<FileDescriptorSet, String> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts { main: text.to_owned(), references: references.clone() });
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(MAIN).map_err(|error| error.to_string())?;
    Ok(compiler.file_descriptor_set())
}

/// The messages of all versions, the oldest first, each with what it is called.
///
/// # Errors
/// Every field whose type changed; or, alone, why the versions do not fit together.
pub fn merged_messages(
    versions: Vec<(String, FileDescriptorSet)>,
) -> Result<DescriptorPool, Result<Vec<MessageConflict>, String>> {
    let mut versions = versions.into_iter().rev();
    let Some((newest_name, mut newest)) = versions.next() else { return Ok(DescriptorPool::new()) };
    let mut conflicts = Vec::new();
    for (older_name, older) in versions {
        let mut merge = Merge { newer: &newest_name, older: &older_name, is_proto3: false, conflicts: &mut conflicts };
        for file in &mut newest.file {
            let Some(old) = older.file.iter().find(|old| old.name == file.name) else { continue };
            let package = file.package().to_owned();
            merge.is_proto3 = file.syntax() == "proto3";
            merge.all(&package, &mut file.message_type, &old.message_type);
            merge_enums(&mut file.enum_type, &old.enum_type);
        }
    }
    if !conflicts.is_empty() {
        return Err(Ok(conflicts));
    }
    DescriptorPool::from_file_descriptor_set(newest).map_err(|error| Err(error.to_string()))
}

struct Merge<'a> {
    newer: &'a str,
    older: &'a str,
    is_proto3: bool,
    conflicts: &'a mut Vec<MessageConflict>,
}

impl Merge<'_> {
    fn all(&mut self, within: &str, newer: &mut Vec<DescriptorProto>, older: &[DescriptorProto]) {
        for old in older {
            let full = if within.is_empty() { old.name().to_owned() } else { format!("{within}.{}", old.name()) };
            match newer.iter_mut().find(|new| new.name == old.name) {
                Some(new) => self.message(&full, new, old),
                // What a field that was removed may hold.
                None => newer.push(old.clone()),
            }
        }
    }

    fn message(&mut self, full: &str, newer: &mut DescriptorProto, older: &DescriptorProto) {
        self.all(full, &mut newer.nested_type, &older.nested_type);
        merge_enums(&mut newer.enum_type, &older.enum_type);
        for old in &older.field {
            let of_number = newer.field.iter().find(|new| new.number == old.number);
            let of_name = newer.field.iter().find(|new| new.name == old.name);
            match of_number.or(of_name) {
                Some(new) if of_number.is_some() && is_same_type(new, old) => {}
                Some(new) => self.conflicts.push(MessageConflict {
                    field: format!("{full}.{}", old.name()),
                    older: told(old),
                    older_version: self.older.to_owned(),
                    newer: told(new),
                    newer_version: self.newer.to_owned(),
                }),
                None => {
                    let removed = self.removed(old, newer);
                    newer.field.push(removed);
                }
            }
        }
        // Its number and name are kept for it.
        newer.reserved_range.clear();
        newer.reserved_name.clear();
    }

    /// A field that only old records have, so that it is null where it is absent.
    fn removed(&self, field: &FieldDescriptorProto, message: &mut DescriptorProto) -> FieldDescriptorProto {
        let mut field = field.clone();
        // Of a group of alternatives that may be another by now.
        field.oneof_index = None;
        field.proto3_optional = None;
        if self.is_proto3 && field.label() != Label::Repeated {
            // What `optional` means in a file: a group of this one alternative.
            field.oneof_index = i32::try_from(message.oneof_decl.len()).ok();
            field.proto3_optional = Some(true);
            let name = Some(format!("_removed_{}", field.name()));
            message.oneof_decl.push(OneofDescriptorProto { name, options: None });
        }
        field
    }
}

/// Enums that were removed, and values that were, so that old records still have names.
fn merge_enums(newer: &mut Vec<EnumDescriptorProto>, older: &[EnumDescriptorProto]) {
    for old in older {
        let Some(new) = newer.iter_mut().find(|new| new.name == old.name) else {
            newer.push(old.clone());
            continue;
        };
        for value in &old.value {
            if !new.value.iter().any(|known| known.number == value.number || known.name == value.name) {
                new.value.push(value.clone());
            }
        }
        new.reserved_range.clear();
        new.reserved_name.clear();
    }
}

fn is_same_type(new: &FieldDescriptorProto, old: &FieldDescriptorProto) -> bool {
    let is_list = |field: &FieldDescriptorProto| field.label() == Label::Repeated;
    new.r#type == old.r#type && new.type_name == old.type_name && is_list(new) == is_list(old)
}

/// As a `.proto` file says it.
fn told(field: &FieldDescriptorProto) -> String {
    let scalar = || field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase();
    let data_type = field.type_name.as_ref().map_or_else(scalar, |name| name.trim_start_matches('.').to_owned());
    let list = if field.label() == Label::Repeated { "repeated " } else { "" };
    format!("{list}{data_type} {} = {}", field.name(), field.number())
}
